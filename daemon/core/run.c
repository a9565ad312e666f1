/* run.c - what people do to runs, and the batch that carries a run on after any change. Each is one
 * transaction under the run's lock. */
#include "core-private.h"
#include <portolan/log.h>

struct asked {
    struct ptl_core *core;
    ptl_core_fn *fn;
    void *ctx;
    const char *what;
    int64_t id;
    size_t result_at;    /* which statement of the batch has the answer */
    const char *refused; /* what its having no row means; NULL: the state of what was named */
};

static struct asked *ask(struct ptl_core *core, const char *what, int64_t id, size_t at, ptl_core_fn *fn,
                         void *ctx)
{
    struct asked *a = ptl_xcalloc(1, sizeof(*a));
    *a = (struct asked){core, fn, ctx, what, id, at, NULL};
    return a;
}

static void add_i64(struct ptl_batch *batch, enum ptl_sql sql, int64_t v)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, v);
    ptl_batch_add(batch, sql, &args);
}

void ptl_core_batch_advance(struct ptl_batch *batch, int64_t run_id)
{
    add_i64(batch, PTL_SQL_run_release, run_id);
    add_i64(batch, PTL_SQL_run_settle, run_id);
    add_i64(batch, PTL_SQL_run_group_next, run_id);
    add_i64(batch, PTL_SQL_run_release, run_id);
    add_i64(batch, PTL_SQL_run_settle, run_id); /* a run whose every stage is skipped at once */
}

static void on_batch(void *ctx, struct ptl_rows *const *rows, size_t n, const struct ptl_error *err)
{
    struct asked *a = ctx;
    if (err) {
        ptl_log_warning("run=%lld: %s: %s", (long long)a->id, a->what, err->text);
        if (a->fn)
            a->fn(a->ctx, ptl_core_result_of(err), NULL, err);
    } else if (a->fn) {
        PTL_JSON *answer = NULL;
        struct ptl_error none = PTL_ERROR_INIT;
        int result = 0;
        if (a->result_at < n) {
            if (ptl_rows_count(rows[a->result_at]) == 0)
                result = ptl_error_set(&none, -ESTALE, "%s: %s", a->what,
                                       a->refused ? a->refused
                                                  : "its state does not allow that any more, or it does not "
                                                    "exist");
            else
                answer = ptl_row_object(rows[a->result_at], 0);
        }
        a->fn(a->ctx, result, answer, result ? &none : NULL);
    }
    free(a);
}

static void run_batch(struct ptl_batch *batch, struct asked *a)
{
    int r = ptl_batch_run(batch, on_batch, a);
    if (r != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, r, "%s: the database queue is full, try again in a moment", a->what);
        if (a->fn)
            a->fn(a->ctx, PTL_FULL, NULL, &err);
        free(a);
    }
}

static void advance_now(void *ctx)
{
    struct ptl_core *core = ctx;
    size_t n = core->n_advance;
    core->n_advance = 0;
    for (size_t i = 0; i < n; i++) {
        struct ptl_batch *b = ptl_batch_new(core->store);
        add_i64(b, PTL_SQL_run_lock, core->advance[i]);
        ptl_core_batch_advance(b, core->advance[i]);
        run_batch(b, ask(core, "advance", core->advance[i], SIZE_MAX, NULL, NULL));
    }
}

/* At the end of this turn of the loop, once a run: a group commit answers many finishes of one run at once.
 * Should the daemon die before, sweep_stuck finds the run. */
void ptl_core_run_advance(struct ptl_core *core, int64_t run_id)
{
    for (size_t i = 0; i < core->n_advance; i++)
        if (core->advance[i] == run_id)
            return;
    if (core->n_advance == PTL_ARRAY_LEN(core->advance))
        advance_now(core);
    core->advance[core->n_advance++] = run_id;
    if (core->n_advance == 1)
        ptl_loop_defer(core->loop, advance_now, core);
}

void ptl_core_run_cancel(struct ptl_core *core, int64_t run_id, const char *who, ptl_core_fn *fn, void *ctx)
{
    struct ptl_batch *b = ptl_batch_new(core->store);
    add_i64(b, PTL_SQL_run_lock, run_id);
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, run_id);
    ptl_args_str(&args, who);
    ptl_batch_add(b, PTL_SQL_run_cancel, &args);
    ptl_core_batch_advance(b, run_id);
    run_batch(b, ask(core, "cancel", run_id, 1, fn, ctx));
}

void ptl_core_run_rerun(struct ptl_core *core, int64_t run_id, const char *who, ptl_core_fn *fn, void *ctx)
{
    struct ptl_batch *b = ptl_batch_new(core->store);
    add_i64(b, PTL_SQL_run_lock, run_id);
    add_i64(b, PTL_SQL_run_rerun, run_id);
    ptl_core_batch_advance(b, run_id);
    ptl_log_info("run=%lld: rerun asked by %s", (long long)run_id, who);
    struct asked *a = ask(core, "rerun", run_id, 1, fn, ctx);
    a->refused =
        "its state does not allow that, or another run of its concurrency group is running: ask again "
        "when that one has ended";
    run_batch(b, a);
}

struct approval {
    struct ptl_core *core;
    ptl_core_fn *fn;
    void *ctx;
};

static void on_approved(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct approval *a = ctx;
    if (err) {
        a->fn(a->ctx, ptl_core_result_of(err), NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        struct ptl_error e = PTL_ERROR_INIT;
        ptl_error_set(&e, -ESTALE, "this stage does not wait for an approval");
        a->fn(a->ctx, -ESTALE, NULL, &e);
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        ptl_core_run_advance(a->core, ptl_row_i64(rows, 0, "run_id"));
        a->fn(a->ctx, 0, o, NULL);
    }
    free(a);
}

void ptl_core_stage_approve(struct ptl_core *core, int64_t stage_id, const char *who, bool approve,
                            const char *comment, ptl_core_fn *fn, void *ctx)
{
    struct approval *a = ptl_xcalloc(1, sizeof(*a));
    *a = (struct approval){core, fn, ctx};
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, stage_id);
    ptl_args_str(&args, who);
    ptl_args_bool(&args, approve);
    ptl_args_str(&args, comment);
    if (ptl_store_query(core->store, PTL_SQL_stage_approve, &args, on_approved, a) != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, PTL_FULL, "the database queue is full, try again in a moment");
        fn(ctx, PTL_FULL, NULL, &err);
        free(a);
    }
}
