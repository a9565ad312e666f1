/* diagnose.c - takes failed attempts whose log has arrived, lets kb look at the whole log on a worker, stores
 * the answer, and lets the answer decide whether a stage that waits for it is tried again. A diagnosis that
 * fails is a state of its own, never a verdict. The way of one attempt (its log, those of the stages it
 * stands on, kb, what people said of failures like it, kb once more where they said something) is shared with
 * relabel.c. Loop thread; kb on the pool. */
#include "core-private.h"
#include "kb.h"
#include <portolan/log.h>

enum {
    DIAGNOSING_MAX = 2,
    CHUNKS_AT_ONCE = 64,
    UPSTREAM_MAX = 3,
    UPSTREAM_BYTES =
        4 << 20, /* of the end of each: a stage that ended well says what matters late or in its warnings */
};

/* A stage that the failed one stands on: where the fault may have come in. */
struct upstream {
    int64_t attempt_id, log_bytes, begin;
    char *stage, *kind;
    struct ptl_buf log;
};

struct diagnosis {
    struct ptl_work work;
    struct ptl_core *core;
    int64_t attempt_id, log_bytes;
    json_t *facts, *answer, *said; /* said: what people said of failures like this; NULL: not asked yet */
    struct ptl_buf log;
    struct ptl_core_kb *kb;
    struct upstream up[UPSTREAM_MAX];
    int n_up, at_up;
    bool whole; /* only with all of its log */
    ptl_core_diagnosed_fn *fn;
    void *ctx;
    struct ptl_error err;
};

/* Exactly once, at the end of every way. Takes `d` apart. */
static void end(struct diagnosis *d, int result)
{
    d->fn(d->ctx, d->attempt_id, result, result == 0 ? d->answer : NULL, d->err.text);
    json_decref(d->facts);
    json_decref(d->answer);
    json_decref(d->said);
    ptl_buf_done(&d->log);
    ptl_core_kb_unref(d->kb);
    for (int i = 0; i < d->n_up; i++) {
        ptl_buf_done(&d->up[i].log);
        free(d->up[i].stage);
        free(d->up[i].kind);
    }
    free(d);
}

/* Not now: its lease runs out, then it is taken again. */
static void give_up(struct diagnosis *d)
{
    end(d, -EAGAIN);
}

static void run(struct ptl_work *w)
{
    struct diagnosis *d = (struct diagnosis *)w;
    struct ptl_kb_log logs[1 + UPSTREAM_MAX] = {
        {.text = ptl_buf_str(&d->log), .len = d->log.len}
    };
    json_decref(d->answer);
    d->answer = NULL;
    for (int i = 0; i < d->n_up; i++)
        logs[1 + i] =
            (struct ptl_kb_log){d->up[i].stage, d->up[i].kind, ptl_buf_str(&d->up[i].log), d->up[i].log.len};
    w->result =
        ptl_kb_diagnose(ptl_core_kb_of(d->kb), d->facts, logs, (size_t)(1 + d->n_up), &d->answer, &d->err);
}

static void begin_work(struct diagnosis *d)
{
    if (ptl_loop_submit(d->core->loop, &d->work) != 0)
        give_up(d);
}

/* ---- what people said of failures like this: known only now that its fingerprint is */
static void on_said(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct diagnosis *d = ctx;
    PTL_JSON *nodes = err ? NULL : ptl_row_json(rows, 0, "feedback");
    if (err)
        ptl_log_warning(
            "attempt=%lld: what people said of failures like it cannot be read, diagnosed without: %s",
            (long long)d->attempt_id, err->text);
    if (json_object_size(nodes) == 0) {
        end(d, 0);
        return;
    }
    d->said = json_pack("{s:O,s:o}", "nodes", nodes, "words", ptl_row_json(rows, 0, "told"));
    json_object_set(d->facts, "feedback", nodes);
    begin_work(d);
}

static void ask_people(struct diagnosis *d)
{
    struct ptl_args a;
    PTL_JSON *indicators = json_array();
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(d->answer, "evidence"), i, e)
    {
        const char *id = ptl_json_str(e, "indicator", NULL);
        if (id)
            json_array_append_new(indicators, json_string(id));
    }
    ptl_args_init(&a);
    ptl_args_i64(&a, d->attempt_id);
    ptl_args_str(&a, ptl_json_str(d->answer, "fingerprint", NULL));
    ptl_args_str(&a, ptl_json_str(d->answer, "template", NULL));
    ptl_args_json(&a, indicators);
    if (ptl_store_query(d->core->store, PTL_SQL_feedback_like, &a, on_said, d) != 0)
        end(d, 0);
}

static void worked(struct ptl_work *w)
{
    struct diagnosis *d = (struct diagnosis *)w;
    if (w->result == 0 && d->said) {
        json_object_set(d->answer, "feedback", d->said);
        end(d, 0);
    } else if (w->result == 0) {
        ask_people(d);
    } else {
        end(d, w->result == -ECANCELED ? -EAGAIN : w->result);
    }
}

/* ---- what the stages before it said; without them the diagnosis is still one */
static void read_upstream(struct diagnosis *d);

static void on_upstream_log(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct diagnosis *d = ctx;
    struct upstream *u = &d->up[d->at_up];
    int n = err ? 0 : ptl_rows_count(rows);
    size_t before = u->log.len;
    for (int i = 0; i < n; i++) {
        size_t len;
        const char *p = ptl_row_bytes(rows, i, "data", &len);
        int64_t at = ptl_row_i64(rows, i, "start_offset"), next = u->begin + (int64_t)u->log.len;
        if (p && u->log.len == 0 && at < next &&
            at + (int64_t)len > next) { /* the piece that the wanted part begins in */
            p += next - at;
            len -= (size_t)(next - at);
            at = next;
        }
        if (p && at == next)
            (void)!ptl_buf_add(&u->log, p, len);
    }
    if (u->log.len == before || u->begin + (int64_t)u->log.len >= u->log_bytes || u->log.failed)
        d->at_up++;
    read_upstream(d);
}

static void read_upstream(struct diagnosis *d)
{
    struct ptl_args a;
    if (d->at_up == d->n_up) {
        begin_work(d);
        return;
    }
    const struct upstream *u = &d->up[d->at_up];
    ptl_args_init(&a);
    ptl_args_i64(&a, u->attempt_id);
    ptl_args_i64(&a, u->begin + (int64_t)u->log.len);
    ptl_args_i64(&a, CHUNKS_AT_ONCE);
    if (ptl_store_query(d->core->store, PTL_SQL_log_read, &a, on_upstream_log, d) != 0)
        give_up(d);
}

static void on_upstream(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct diagnosis *d = ctx;
    for (int i = 0; !err && i < ptl_rows_count(rows) && d->n_up < UPSTREAM_MAX; i++) {
        struct upstream *u = &d->up[d->n_up++];
        u->attempt_id = ptl_row_i64(rows, i, "attempt_id");
        u->log_bytes = ptl_row_i64(rows, i, "log_bytes");
        u->stage = ptl_xstrdup(ptl_row_str(rows, i, "stage"));
        u->kind = ptl_xstrdup(ptl_row_str(rows, i, "kind"));
        u->log.max = UPSTREAM_BYTES + (2 << 20);
        u->begin = u->log_bytes > UPSTREAM_BYTES ? u->log_bytes - UPSTREAM_BYTES : 0;
    }
    if (err)
        ptl_log_warning("attempt=%lld: the stages before it cannot be read, diagnosed without: %s",
                        (long long)d->attempt_id, err->text);
    read_upstream(d);
}

static void ask_upstream(struct diagnosis *d)
{
    struct ptl_args a;
    if (!ptl_str_eq(ptl_json_str(d->facts, "kind", ""), "verify") &&
        !ptl_str_eq(ptl_json_str(d->facts, "kind", ""), "convert")) {
        begin_work(d);
        return;
    }
    ptl_args_init(&a);
    ptl_args_i64(&a, d->attempt_id);
    if (ptl_store_query(d->core->store, PTL_SQL_kb_upstream, &a, on_upstream, d) != 0)
        begin_work(d);
}

static void on_log(void *ctx, int result)
{
    struct diagnosis *d = ctx;
    if (result < 0)
        give_up(d);
    else if (result == PTL_ABSENT && d->whole)
        end(d, PTL_ABSENT);
    else
        ask_upstream(d);
}

json_t *ptl_core_facts(const json_t *row)
{
    static const char *const facts[] = {
        "kind",      "host",    "target",   "uses",        "end_reason",         "exit_code",
        "signal",    "message", "report",   "environment", "export_environment", "target_host",
        "toolchain", "counts",  "warnings", "preflight"};
    json_t *j = json_object();
    for (size_t k = 0; k < PTL_ARRAY_LEN(facts); k++)
        json_object_set(j, facts[k], json_object_get(row, facts[k]));
    return j;
}

void ptl_core_diagnose_row(struct ptl_core *core, struct ptl_rows *rows, int row, bool whole,
                           ptl_core_diagnosed_fn *fn, void *ctx)
{
    PTL_JSON *o = ptl_row_object(rows, row);
    struct diagnosis *d = ptl_xcalloc(1, sizeof(*d));
    d->work.run = run;
    d->work.done = worked;
    d->core = core;
    d->kb = ptl_core_kb_ref(core);
    d->attempt_id = ptl_row_i64(rows, row, "id");
    d->log_bytes = ptl_row_i64(rows, row, "log_bytes");
    d->whole = whole;
    d->fn = fn;
    d->ctx = ctx;
    d->facts = ptl_core_facts(o);
    ptl_core_log_fetch(core, d->attempt_id, d->log_bytes, &d->log, on_log, d);
}

/* ---- trying again */
static void on_decided(struct ptl_core *core, struct ptl_rows *rows)
{
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        static const char *const verdicts[PTL_VERDICTS] = PTL_VERDICT_NAMES;
        bool again = ptl_row_bool(rows, i, "again");
        for (size_t k = 0; k < PTL_VERDICTS; k++)
            core->count.retries[k][again] += ptl_str_eq(ptl_row_str(rows, i, "verdict"), verdicts[k]);
        core->count.retry_saved_ms += (uint64_t)ptl_row_i64(rows, i, "saved_ms");
        ptl_log_info("run=%lld stage=%s attempt=%lld: %s", (long long)ptl_row_i64(rows, i, "run_id"),
                     ptl_row_str(rows, i, "name"), (long long)ptl_row_i64(rows, i, "attempt_id"),
                     ptl_row_str(rows, i, "why"));
        ptl_core_run_advance(core, ptl_row_i64(rows, i, "run_id"));
    }
}

static void on_swept(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    if (!err)
        on_decided(ctx, rows);
}

/* A daemon may have died between a diagnosis and its decision, or none came in time. */
void ptl_core_decide_sweep(struct ptl_core *core)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_null(&a);
    (void)!ptl_store_query(core->store, PTL_SQL_stage_decide, &a, on_swept, core);
}

static void on_stored(void *ctx, struct ptl_rows *const *rows, size_t n, const struct ptl_error *err)
{
    if (err)
        ptl_log_warning("a diagnosis could not be stored, it will be made again: %s", err->text);
    else if (n == 2)
        on_decided(ctx, rows[1]);
    ptl_core_diagnose_tick(ctx); /* there may be more */
}

/* ---- fresh failures */
static void diagnosed(void *ctx, int64_t attempt_id, int result, json_t *answer, const char *why)
{
    struct ptl_core *core = ctx;
    core->diagnosing--;
    if (result == -EAGAIN)
        return;
    if (result == 0) {
        core->count.diagnoses++;
        ptl_log_info("attempt=%lld: diagnosed: %s", (long long)attempt_id,
                     ptl_json_str(answer, "summary", ""));
    } else {
        core->count.diagnoses_failed++;
        ptl_log_warning("attempt=%lld: diagnosis failed: %s", (long long)attempt_id, why);
    }
    struct ptl_batch *b = ptl_batch_new(core->store);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, attempt_id);
    ptl_args_json(&a, answer);
    ptl_args_str(&a, result == 0 ? "done" : "failed");
    ptl_batch_add(b, PTL_SQL_diagnosis_store, &a);
    ptl_args_init(&a);
    ptl_args_i64(&a, attempt_id);
    ptl_batch_add(b, PTL_SQL_stage_decide, &a);
    (void)!ptl_batch_run(b, on_stored, core);
}

static void on_due(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->diagnosing--;
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        if (ptl_str_eq(ptl_row_str(rows, i, "diagnosis_state"), "failed"))
            continue;
        core->diagnosing++;
        ptl_core_diagnose_row(core, rows, i, false, diagnosed, core);
    }
}

void ptl_core_diagnose_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    if (core->diagnosing >= DIAGNOSING_MAX || !ptl_store_is_ready(core->store) ||
        atomic_load(&core->stopping))
        return;
    struct ptl_core_kb *kb = ptl_core_kb_ref(core);
    if (!kb)
        return; /* not compiled yet */
    ptl_core_kb_unref(kb);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, DIAGNOSING_MAX - core->diagnosing);
    core->diagnosing++;
    if (ptl_store_query(core->store, PTL_SQL_diagnosis_claim, &a, on_due, core) != 0)
        core->diagnosing--;
}
