/* relabel.c - history under the knowledge in force: when it changed, attempts of the past are diagnosed anew,
 * newest first, a bounded number a second, never while fresh failures wait. How far it is stands in the
 * database (kb_apply), so a daemon that dies loses at most one batch, which is done again; another one takes
 * over when its lease is out. Attempts whose log is gone keep their answer. Loop thread. */
#include "core-private.h"
#include "kb.h"
#include <portolan/hash.h>
#include <portolan/log.h>

enum { BATCH_MAX = 64, BATCHES_A_SECOND = 4, IDLE_MS = 2000 };

struct ptl_core_relabel {
    struct ptl_core *core;
    struct ptl_timer *timer;
    char holder[33];
    bool busy;
    /* the batch under way */
    struct ptl_rows *rows;
    int at;
    int64_t job, at_id, last_id, done, kept;
    json_t *answers;
};

static int64_t pace_ms(const struct ptl_core *core)
{
    return core->o.relabel_rate >= BATCHES_A_SECOND ? 1000 / BATCHES_A_SECOND : 1000 / core->o.relabel_rate;
}

static int64_t batch_size(const struct ptl_core *core)
{
    int64_t n = core->o.relabel_rate / BATCHES_A_SECOND;
    return n < 1 ? 1 : n > BATCH_MAX ? BATCH_MAX : n;
}

static void rest(struct ptl_core_relabel *r, int64_t ms)
{
    r->busy = false;
    r->rows = ptl_rows_unref(r->rows);
    json_decref(r->answers);
    r->answers = NULL;
    if (r->timer)
        ptl_timer_after(r->timer, ms);
}

static void on_stored(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_relabel *r = ctx;
    if (err)
        ptl_log_warning("kb: answers of the past could not be stored, again later: %s", err->text);
    else if (ptl_rows_count(rows) > 0)
        r->core->count.relabelled += (uint64_t)r->done;
    rest(r, err ? IDLE_MS : pace_ms(r->core));
}

static void store(struct ptl_core_relabel *r)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_json(&a, r->answers);
    ptl_args_i64(&a, r->job);
    ptl_args_i64(&a, r->at_id);
    ptl_args_i64(&a, r->last_id);
    ptl_args_i64(&a, r->done);
    ptl_args_i64(&a, r->kept);
    if (ptl_store_query(r->core->store, PTL_SQL_relabel_store, &a, on_stored, r) != 0)
        rest(r, IDLE_MS);
}

static void next(struct ptl_core_relabel *r);

static void diagnosed(void *ctx, int64_t attempt_id, int result, json_t *answer, const char *why)
{
    struct ptl_core_relabel *r = ctx;
    if (result == -EAGAIN) { /* shutting down, or the database is away: what is done so far counts */
        r->at = ptl_rows_count(r->rows);
        if (r->done)
            store(r);
        else
            rest(r, IDLE_MS);
        return;
    }
    if (result == 0)
        json_array_append_new(r->answers,
                              json_pack("{s:I,s:O}", "id", (json_int_t)attempt_id, "diagnosis", answer));
    else
        r->kept++;
    if (result < 0)
        ptl_log_warning("attempt=%lld: cannot be diagnosed anew, its answer stays: %s", (long long)attempt_id,
                        why);
    r->done++;
    r->last_id = attempt_id;
    r->at++;
    next(r);
}

/* One at a time: fresh failures find the workers free. */
static void next(struct ptl_core_relabel *r)
{
    if (r->at < ptl_rows_count(r->rows))
        ptl_core_diagnose_row(r->core, r->rows, r->at, true, diagnosed, r);
    else
        store(r);
}

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_relabel *r = ctx;
    if (err || ptl_rows_count(rows) == 0) {
        rest(r, IDLE_MS);
        return;
    }
    if (ptl_row_null(rows, 0, "id")) {
        ptl_log_info(
            "kb: history is labelled anew: %lld attempts, %lld answers changed, %lld kept because their log is gone",
            (long long)ptl_row_i64(rows, 0, "job_total"), (long long)ptl_row_i64(rows, 0, "job_changed"),
            (long long)ptl_row_i64(rows, 0, "job_kept"));
        rest(r, IDLE_MS);
        return;
    }
    r->rows = ptl_rows_ref(rows);
    r->job = ptl_row_i64(rows, 0, "job");
    r->at_id = ptl_row_i64(rows, 0, "at_id");
    r->at = 0;
    r->done = r->kept = 0;
    r->answers = json_array();
    next(r);
}

static void on_timer(void *ctx)
{
    struct ptl_core_relabel *r = ctx;
    struct ptl_core_kb *kb = ptl_core_kb_ref(r->core);
    if (r->busy || !kb || !ptl_store_is_ready(r->core->store)) {
        ptl_core_kb_unref(kb);
        if (!r->busy)
            rest(r, IDLE_MS);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_kb_hash(ptl_core_kb_of(kb)));
    ptl_args_i64(&a, batch_size(r->core));
    ptl_args_str(&a, r->holder);
    ptl_core_kb_unref(kb);
    r->busy = true;
    if (ptl_store_query(r->core->store, PTL_SQL_relabel_claim, &a, on_claimed, r) != 0)
        rest(r, IDLE_MS);
}

/* ---- beginning */
struct asking {
    struct ptl_core_relabel *r;
    ptl_core_fn *fn;
    void *ctx;
};

static void on_begun(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct asking *a = ctx;
    struct ptl_core_relabel *r = a->r;
    if (err && !a->fn && err->code != -ECANCELED)
        ptl_log_warning("kb: labelling history anew cannot begin now: %s", err->text);
    if (a->fn) {
        PTL_JSON *job = err ? NULL : ptl_row_object(rows, 0);
        a->fn(a->ctx, err ? ptl_core_result_of(err) : 0, job, err);
    }
    free(a);
    if (!err && r->timer && !r->busy)
        ptl_timer_after(r->timer, 1);
}

void ptl_core_relabel_begin(struct ptl_core *core, const char *who, bool forced, ptl_core_fn *fn, void *ctx)
{
    struct ptl_core_kb *kb = ptl_core_kb_ref(core);
    struct ptl_error err = PTL_ERROR_INIT;
    if (!kb) {
        ptl_error_set(&err, -EAGAIN,
                      "no knowledge is in force yet: the daemon has just begun; again in a moment");
        if (fn)
            fn(ctx, PTL_FULL, NULL, &err);
        return;
    }
    struct asking *asking = ptl_xcalloc(1, sizeof(*asking));
    *asking = (struct asking){core->relabel, fn, ctx};
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_kb_hash(ptl_core_kb_of(kb)));
    ptl_args_str(&a, who);
    ptl_args_bool(&a, forced);
    ptl_core_kb_unref(kb);
    if (ptl_store_query(core->store, PTL_SQL_relabel_begin, &a, on_begun, asking) != 0) {
        free(asking);
        if (fn)
            fn(ctx, PTL_FULL, NULL, NULL);
    }
}

int ptl_core_relabel_new(struct ptl_core *core)
{
    struct ptl_core_relabel *r = ptl_xcalloc(1, sizeof(*r));
    unsigned char random[16];
    r->core = core;
    core->relabel = r;
    ptl_random(random, sizeof(random));
    ptl_hex(random, sizeof(random), r->holder);
    r->timer = ptl_timer_new(core->loop, on_timer, r);
    ptl_timer_after(r->timer, IDLE_MS);
    return 0;
}

void ptl_core_relabel_stop(struct ptl_core *core)
{
    if (core->relabel)
        core->relabel->timer = ptl_timer_free(core->relabel->timer);
}

void ptl_core_relabel_free(struct ptl_core *core)
{
    if (!core->relabel)
        return;
    ptl_core_relabel_stop(core);
    ptl_rows_unref(core->relabel->rows);
    json_decref(core->relabel->answers);
    free(core->relabel);
    core->relabel = NULL;
}
