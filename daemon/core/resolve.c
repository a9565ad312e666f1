/* resolve.c - what turned a stage green: for a green attempt after failures, what differs between the last
 * red one and it. Commits and files are read from the mirror on a worker; environment and agent are in the
 * database. The stage's own transaction leaves the row in resolution_due that this begins from, and what is
 * found is stored in one transaction with the failures that it resolves, so a daemon may die anywhere. */
#include "core-private.h"
#include <portolan/clock.h>
#include <portolan/log.h>

enum {
    TRIES_MAX = 3,
    GIT_MS = 90000, /* under the lease of resolution_claim */
    MISSED_EVERY_TICKS = 300,
    MISSED_FAILURES = 1000,
};

struct resolve {
    struct ptl_work work;
    struct ptl_core *core;
    int64_t green_id, red_id, project_id, tries;
    char *project, *stage, *red_commit, *green_commit;
    struct ptl_core_access access;
    json_t *environment, *agents;
    struct ptl_core_changes changes;
    struct ptl_error err;
};

static void resolve_free(struct resolve *v)
{
    char *strings[] = {v->project, v->stage, v->red_commit, v->green_commit};
    json_t *values[] = {v->environment, v->agents};
    for (size_t i = 0; i < PTL_ARRAY_LEN(strings); i++)
        free(strings[i]);
    for (size_t i = 0; i < PTL_ARRAY_LEN(values); i++)
        json_decref(values[i]);
    ptl_core_access_done(&v->access);
    ptl_core_changes_done(&v->changes);
    free(v);
}

/* ---- worker */
static void run(struct ptl_work *w)
{
    struct resolve *v = (struct resolve *)w;
    int r = ptl_core_changes_look(v->core, v->project_id, &v->access, v->red_commit, v->green_commit, GIT_MS,
                                  &v->changes, &v->err);
    w->result = atomic_load(&v->core->stopping) ? -ECANCELED : r < 0 ? r : 0;
}

/* ---- in words */
static const char *change_of(const struct resolve *v)
{
    return v->green_commit && v->red_commit && !ptl_str_eq(v->green_commit, v->red_commit) ? "commits"
           : json_array_size(v->environment)                                               ? "environment"
           : !ptl_str_eq(ptl_json_str(v->agents, "before", ""), ptl_json_str(v->agents, "after", ""))
               ? "agent"
               : "nothing";
}

static void put_environment(const struct resolve *v, struct ptl_buf *b)
{
    size_t i, said = 0;
    json_t *e;
    json_array_foreach(v->environment, i, e)
    {
        const char *tool = ptl_json_str(e, "tool", "");
        if (ptl_str_eq(tool, "kernel") || ptl_str_eq(tool, "arch") || said == 3)
            continue;
        ptl_buf_printf(b, "%s%s %s \xe2\x86\x92 %s",
                       said++   ? ", "
                       : b->len ? "; "
                                : "",
                       tool, ptl_json_str(e, "before", "none"), ptl_json_str(e, "after", "none"));
    }
}

static void put_summary(const struct resolve *v, const char *change, struct ptl_buf *b)
{
    const json_t *first = json_array_get(v->changes.commits, 0);
    size_t n = json_array_size(v->changes.commits) + v->changes.commits_left;
    const char *before = ptl_json_str(v->agents, "before", ""), *after = ptl_json_str(v->agents, "after", "");
    if (ptl_str_eq(change, "commits") && first)
        ptl_buf_printf(b,
                       n > 1 ? "%zu commits, the last \xe2\x80\x9c%s\xe2\x80\x9d by %s"
                             : "%zu commit: \xe2\x80\x9c%s\xe2\x80\x9d by %s",
                       n, ptl_json_str(first, "subject", ""), ptl_json_str(first, "author", "?"));
    else if (ptl_str_eq(change, "commits"))
        ptl_buf_printf(b, "another commit: %.12s after %.12s", v->green_commit, v->red_commit);
    put_environment(v, b);
    if (!ptl_str_eq(before, after))
        ptl_buf_printf(b, "%sagent %s \xe2\x86\x92 %s", b->len ? "; " : "", *before ? before : "?",
                       *after ? after : "?");
    if (b->len == 0)
        ptl_buf_puts(b, "nothing that is known: the same commit, environment and agent, tried again");
}

/* ---- loop */
static void on_stored(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct resolve *v = ctx;
    v->core->history_busy = false;
    if (err)
        ptl_log_warning(
            "project=%s stage=%s: what turned it green is not stored yet, another try follows: %s",
            v->project, v->stage, err->text);
    else if (ptl_rows_count(rows) > 0)
        ptl_log_info("project=%s stage=%s: green after %lld failures, what changed is resolution %lld",
                     v->project, v->stage, (long long)ptl_row_i64(rows, 0, "failures"),
                     (long long)ptl_row_i64(rows, 0, "id"));
    resolve_free(v);
}

static void store(struct resolve *v)
{
    struct ptl_args a;
    PTL_BUF summary = PTL_BUF_MAX(4000);
    const char *change = change_of(v);
    put_summary(v, change, &summary);
    PTL_FREE char *diff = ptl_core_changes_text(&v->changes);
    PTL_FREE char *said = ptl_json_text_utf8(ptl_buf_str(&summary), summary.len);
    ptl_args_init(&a);
    ptl_args_i64(&a, v->green_id);
    ptl_args_i64(&a, v->red_id);
    ptl_args_str(&a, change);
    ptl_args_str(&a, said);
    ptl_args_json(&a, v->changes.commits);
    ptl_args_json(&a, v->changes.files);
    ptl_args_str(&a, diff);
    ptl_args_json(&a, v->changes.cuts);
    ptl_args_json(&a, v->environment);
    ptl_args_json(&a, v->agents);
    if (ptl_store_query(v->core->store, PTL_SQL_resolution_store, &a, on_stored, v) != 0) {
        v->core->history_busy = false;
        resolve_free(v);
    }
}

static void done(struct ptl_work *w)
{
    struct resolve *v = (struct resolve *)w;
    if (w->result == 0 || (w->result != -ECANCELED && v->tries >= TRIES_MAX)) {
        if (w->result < 0) {
            json_array_append_new(v->changes.cuts,
                                  json_sprintf("the repository could not be read: %s", v->err.text));
            ptl_log_warning("project=%s stage=%s: what turned it green is kept without its commits: %s",
                            v->project, v->stage, v->err.text);
        }
        store(v);
        return;
    }
    v->core->history_busy = false; /* its lease runs out, then it is taken again */
    resolve_free(v);
}

static void finish(struct ptl_core *core, int64_t green_id, bool later)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, green_id);
    ptl_args_bool(&a, later);
    (void)!ptl_store_query(core->store, PTL_SQL_resolution_done, &a, NULL, NULL);
}

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->history_busy = false;
    if (err || ptl_rows_count(rows) == 0)
        return;
    int64_t green_id = ptl_row_i64(rows, 0, "green_attempt_id");
    if (ptl_row_bool(rows, 0, "wait") || ptl_row_null(rows, 0, "red_attempt_id")) {
        finish(core, green_id, ptl_row_bool(rows, 0, "wait"));
        return;
    }
    struct resolve *v = ptl_xcalloc(1, sizeof(*v));
    v->work.run = run;
    v->work.done = done;
    v->core = core;
    v->green_id = green_id;
    v->red_id = ptl_row_i64(rows, 0, "red_attempt_id");
    v->project_id = ptl_row_i64(rows, 0, "project_id");
    v->tries = ptl_row_i64(rows, 0, "tries");
    v->project = ptl_xstrdup(ptl_row_str(rows, 0, "project"));
    v->stage = ptl_xstrdup(ptl_row_str(rows, 0, "stage"));
    v->red_commit =
        ptl_row_null(rows, 0, "red_commit") ? NULL : ptl_xstrdup(ptl_row_str(rows, 0, "red_commit"));
    v->green_commit =
        ptl_row_null(rows, 0, "green_commit") ? NULL : ptl_xstrdup(ptl_row_str(rows, 0, "green_commit"));
    v->environment = ptl_row_json(rows, 0, "environment");
    v->agents = ptl_row_json(rows, 0, "agents");
    ptl_core_changes_init(&v->changes, false);
    core->history_busy = true;
    if (!ptl_str_eq(change_of(v), "commits")) {
        store(v);
        return;
    }
    ptl_core_access_read(core, rows, 0, &v->access);
    if (ptl_loop_submit(core->loop, &v->work) != 0) {
        core->history_busy = false;
        resolve_free(v);
    }
}

void ptl_core_resolve_tick(struct ptl_core *core, unsigned tick)
{
    if (tick % MISSED_EVERY_TICKS == 0) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, MISSED_FAILURES);
        (void)!ptl_store_query(core->store, PTL_SQL_resolution_missed, &a, NULL, NULL);
    }
    if (core->history_busy)
        return;
    core->history_busy = ptl_store_query(core->store, PTL_SQL_resolution_claim, NULL, on_claimed, core) == 0;
}
