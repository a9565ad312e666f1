/* body.h - for handlers that change something: members of the body, and the one statement whose first row is
 * the answer. Loop thread only. */
#ifndef PTL_BODY_H
#define PTL_BODY_H
#include "server.h"

/* True when `body` has no other members than `keys` (NULL-ended); else 422 has been answered, with the
 * nearest right spelling. */
bool ptl_body_only(struct ptl_request *q, const json_t *body, const char *const *keys);
/* *ret: the member's text, borrowed; NULL when it is absent or null and not `required`. False: it is no text
 * of 1..max bytes and 422 has been answered. */
bool ptl_body_text(struct ptl_request *q, const json_t *body, const char *key, bool required, size_t max,
                   const char **ret);
/* At most `max` texts of at most 200 bytes into ret[], borrowed; absent: none. False: 422 has been answered.
 */
bool ptl_body_texts(struct ptl_request *q, const json_t *body, const char *key, const char **ret, size_t max,
                    size_t *n);

/* How ptl_write_one() answers. */
struct ptl_writing {
    struct ptl_request *q; /* set by ptl_write_one() */
    int status;            /* of success; 0: 200 */
    const char *action;    /* for the audit log; NULL: none */
    char *object;          /* heap; taken */
    json_t *extra;         /* members added to the answer; taken */
    const char *absent;    /* said when no row came */
    int absent_status;     /* 0: 404 */
    bool forget_tokens;
};
/* Runs the statement; its first row is the answer, none is `absent`, a conflict 409. Answers in any case. */
void ptl_write_one(struct ptl_request *q, enum ptl_sql sql, struct ptl_args *a, struct ptl_writing like);
#endif
