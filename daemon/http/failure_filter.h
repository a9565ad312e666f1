/* failure_filter.h - the filters of a search for failures, from the query of a URL to what the statements
 * take. Every filter is in the URL, so that a search can be sent to somebody else. Pure but for the clock. */
#ifndef PTL_FAILURE_FILTER_H
#define PTL_FAILURE_FILTER_H
#include <portolan/json.h>

struct ptl_failure_filter {
    json_t *terms;             /* what failure_query() (migrations/0005_history.sql) takes; {} for none */
    char since[40], until[40]; /* RFC 3339; "" for none */
    int resolved;              /* -1 either, 0, 1 */
    bool words;                /* something to rank by */
    bool in_log;               /* the words are looked for in whole logs; there is one at least */
    bool classes_only;         /* nothing but facts that classes hold: counts can be exact */
};
void ptl_failure_filter_done(struct ptl_failure_filter *f);

/* `get` gives the value of a query parameter or NULL. Understood: q, in, challenge, taxonomy, platform,
 * target, stage, kind, project, tool, version, operator, branch, author, agent, end_reason, since, until,
 * resolved. `project` confines; NULL: as asked. -EINVAL with a sentence that names the parameter. */
typedef const char *ptl_failure_get_fn(void *ctx, const char *name);
PTL_NODISCARD int ptl_failure_filter_read(ptl_failure_get_fn *get, void *ctx, const char *project,
                                          int64_t now_wall_ms, struct ptl_failure_filter *ret,
                                          struct ptl_error *err);
/* "2026-11-01", "2026-11-01T10:00:00Z", or so long ago: "7d", "36h". */
PTL_NODISCARD int ptl_failure_time(const char *text, const char *what, int64_t now_wall_ms, char ret[40],
                                   struct ptl_error *err);
#endif
