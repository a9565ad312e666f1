/* trigger.c - pushes that hooks, people and polls tell of. A forge's webhook goes through delivery_add
 * (daemon/http/webhook.c) because the delivery and its pushes are one fact. Polling: the first look at a
 * repository only notes its refs (nobody wants a run for every old branch). */
#include "core-private.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <stdio.h>

static const char ZERO[] = "0000000000000000000000000000000000000000";

int ptl_core_url_check(struct ptl_core *core, const char *url, struct ptl_error *err)
{
    return ptl_git_url_check(url, &core->policy, err);
}

bool ptl_core_ref_ok(const char *ref)
{
    return ptl_git_ref_is_valid(ref);
}

struct told {
    int64_t project_id;
    char ref[256]; /* for the log only: may be cut */
    ptl_core_fn *fn;
    void *ctx;
};

static void on_pushed(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                      const struct ptl_error *err)
{
    struct told *t = ctx;
    if (err) {
        if (t->fn)
            t->fn(t->ctx, ptl_core_result_of(err), NULL, err);
        else
            ptl_log_warning("project id=%lld: a push of %s that polling saw is not stored, the next poll "
                            "tells it again: %s",
                            (long long)t->project_id, t->ref, err->text);
    } else if (t->fn) {
        PTL_JSON *o = ptl_rows_count(rows[0]) ? ptl_row_object(rows[0], 0)
                                              : json_pack("{s:n,s:n,s:s}", "push_id", "run_id", "outcome",
                                                          "this push was told before");
        t->fn(t->ctx, 0, o, NULL);
    }
    free(t);
}

void ptl_core_push(struct ptl_core *core, int64_t project_id, const char *ref, const char *before,
                   const char *after, const char *source, const char *pusher, ptl_core_fn *fn, void *ctx)
{
    bool deleted = ptl_str_eq(after, ZERO);
    if (ptl_str_eq(before, ZERO))
        before = NULL;
    struct ptl_batch *b = ptl_batch_new(core->store);
    struct ptl_args a;
    struct told *t = ptl_xcalloc(1, sizeof(*t));
    *t = (struct told){.project_id = project_id, .fn = fn, .ctx = ctx};
    snprintf(t->ref, sizeof(t->ref), "%s", ref);
    ptl_args_init(&a);
    ptl_args_i64(&a, project_id);
    ptl_args_str(&a, ref);
    ptl_args_str(&a, before);
    ptl_args_str(&a, deleted ? NULL : after);
    ptl_args_str(&a, source);
    ptl_args_str(&a, pusher);
    ptl_args_bool(&a, false);
    ptl_args_str(&a, deleted ? "the ref was deleted: nothing to run" : NULL);
    ptl_batch_add(b, PTL_SQL_push_add, &a);
    /* What polling compares with moves along, in the same transaction: a push that is not kept is told again.
     * A person may ask for an old commit: that moves no ref. */
    if (after && !ptl_str_eq(source, "manual")) {
        PTL_JSON *told = json_pack("[{s:s,s:s?}]", "ref", ref, "after", deleted ? NULL : after);
        ptl_args_init(&a);
        ptl_args_i64(&a, project_id);
        ptl_args_json(&a, told);
        ptl_batch_add(b, PTL_SQL_ref_seen_follow, &a);
    }
    if (ptl_batch_run(b, on_pushed, t) != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, PTL_FULL, "the database queue is full, try again in a moment");
        if (fn)
            fn(ctx, PTL_FULL, NULL, &err);
        free(t);
    }
}

struct ref_now {
    char *ref, *sha;
};

struct poll {
    struct ptl_work work;
    struct ptl_core *core;
    int64_t project_id;
    char *project, *url;
    struct ptl_core_access access;
    struct ref_now *refs;
    size_t n, cap;
    bool first; /* nothing was seen before: note, start nothing */
    struct ptl_error err;
};

static void poll_free(struct poll *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->refs[i].ref);
        free(p->refs[i].sha);
    }
    free(p->refs);
    free(p->project);
    free(p->url);
    ptl_core_access_done(&p->access);
    free(p);
}

static int one_ref(void *ctx, const char *ref, const char *commit)
{
    struct poll *p = ctx;
    if (!*commit || !(ptl_str_starts(ref, "refs/heads/") || ptl_str_starts(ref, "refs/tags/")))
        return 0;
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        struct ref_now *more = reallocarray(p->refs, p->cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        p->refs = more;
    }
    p->refs[p->n++] = (struct ref_now){ptl_xstrdup(ref), ptl_xstrdup(commit)};
    return 0;
}

static void poll_run(struct ptl_work *w)
{
    struct poll *p = (struct poll *)w;
    PTL_FREE char *mirror = ptl_core_mirror_dir(p->core, p->project_id);
    struct ptl_git_call call = {.deadline_mono_ms = ptl_mono_ms() + p->core->o.prepare_timeout_ms,
                                .cancelled = &p->core->stopping};
    struct ptl_git_access access = {
        .policy = &p->core->policy, .credentials = ptl_core_access_fn, .credentials_ctx = &p->access};
    struct ptl_git_fetch_result fetched = {0};
    w->result = ptl_git_mirror_fetch(&call, mirror, p->url, &access, &fetched, &p->err);
    ptl_git_fetch_result_done(&fetched);
    if (w->result == -ENODATA) { /* no commits yet is an answer: no refs */
        w->result = 0;
        return;
    }
    if (w->result == 0)
        w->result = ptl_git_list_refs(&call, mirror, one_ref, p, &p->err);
}

static void note_poll(struct poll *p, const char *error)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, p->project_id);
    ptl_args_str(&a, error);
    (void)!ptl_store_query(p->core->store, PTL_SQL_project_poll_done, &a, NULL, NULL);
}

static void on_noted(void *ctx PTL_UNUSED, struct ptl_rows *const *rows PTL_UNUSED, size_t n PTL_UNUSED,
                     const struct ptl_error *err)
{
    if (err)
        ptl_log_warning("the refs of a first look are not stored, the next poll looks again: %s", err->text);
}

/* All refs of a first look and that it was made are one fact: half of them would make pushes of the rest. */
static void note_first(struct poll *p)
{
    enum { AT_ONCE = 1000 };
    struct ptl_batch *b = ptl_batch_new(p->core->store);
    struct ptl_args a;
    for (size_t i = 0; i < p->n;) {
        PTL_JSON *refs = json_array();
        for (size_t end = p->n - i < AT_ONCE ? p->n : i + AT_ONCE; i < end; i++)
            json_array_append_new(refs, json_pack("{s:s,s:s}", "ref", p->refs[i].ref, "sha", p->refs[i].sha));
        ptl_args_init(&a);
        ptl_args_i64(&a, p->project_id);
        ptl_args_json(&a, refs);
        ptl_batch_add(b, PTL_SQL_ref_seen_note, &a);
    }
    ptl_args_init(&a);
    ptl_args_i64(&a, p->project_id);
    ptl_args_str(&a, NULL);
    ptl_batch_add(b, PTL_SQL_project_poll_done, &a);
    if (ptl_batch_run(b, on_noted, NULL) != 0)
        ptl_log_warning("project=%s: the refs of the first look are not stored, the next poll looks again: "
                        "the database queue is full",
                        p->project);
}

/* Both lists are in the order of strcmp(), so one walk over the two is enough, however many refs there are:
 * this is the loop's thread. */
static void tell_differences(struct poll *p, struct ptl_rows *rows)
{
    int known = ptl_rows_count(rows), row = 0;
    for (size_t i = 0; i < p->n || row < known;) {
        const struct ref_now *now = i < p->n ? &p->refs[i] : NULL;
        const char *seen = row < known ? ptl_row_str(rows, row, "ref") : NULL;
        const char *before = seen ? ptl_row_str(rows, row, "sha") : NULL;
        int order = !now ? 1 : !seen ? -1 : strcmp(now->ref, seen);
        if (order < 0)
            ptl_core_push(p->core, p->project_id, now->ref, NULL, now->sha, "poll", "poll", NULL, NULL);
        else if (order > 0)
            ptl_core_push(p->core, p->project_id, seen, before, ZERO, "poll", "poll", NULL, NULL);
        else if (!ptl_str_eq(before, now->sha))
            ptl_core_push(p->core, p->project_id, now->ref, before, now->sha, "poll", "poll", NULL, NULL);
        i += order <= 0;
        row += order >= 0;
    }
    note_poll(p, NULL);
}

static void on_seen(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct poll *p = ctx;
    if (!err && p->first)
        note_first(p);
    else if (!err)
        tell_differences(p, rows);
    poll_free(p);
}

static void poll_done(struct ptl_work *w)
{
    struct poll *p = (struct poll *)w;
    struct ptl_core *core = p->core;
    core->polling--;
    if (w->result < 0) {
        if (w->result != -ECANCELED) {
            ptl_log_warning("project=%s: poll failed, the next one tries again: %s", p->project, p->err.text);
            note_poll(p, p->err.text);
        }
        poll_free(p);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, p->project_id);
    if (ptl_store_query(core->store, PTL_SQL_ref_seen_list, &a, on_seen, p) != 0)
        poll_free(p);
}

static void on_project(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    if (err || ptl_rows_count(rows) == 0) {
        core->polling--;
        return;
    }
    struct poll *p = ptl_xcalloc(1, sizeof(*p));
    p->work.run = poll_run;
    p->work.done = poll_done;
    p->core = core;
    p->project_id = ptl_row_i64(rows, 0, "id");
    p->project = ptl_xstrdup(ptl_row_str(rows, 0, "name"));
    p->url = ptl_xstrdup(ptl_row_str(rows, 0, "url"));
    p->first = ptl_row_null(rows, 0, "polled_at");
    ptl_core_access_read(core, rows, 0, &p->access);
    if (ptl_loop_submit(core->loop, &p->work) != 0) {
        core->polling--;
        poll_free(p);
    }
}

static void on_due(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->polling--;
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_null(&a);
        ptl_args_i64(&a, ptl_row_i64(rows, i, "id"));
        core->polling++;
        if (ptl_store_query(core->store, PTL_SQL_project_get, &a, on_project, core) != 0)
            core->polling--;
    }
}

void ptl_core_poll_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    enum { POLLING_MAX = 4 };
    unsigned busy = core->preparing + core->polling, most = core->o.git_work_max;
    most = most < POLLING_MAX + core->preparing ? most : POLLING_MAX + core->preparing;
    if (busy >= most || !ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, most - busy);
    core->polling++;
    if (ptl_store_query(core->store, PTL_SQL_project_poll_claim, &a, on_due, core) != 0)
        core->polling--;
}
