/* diagnose.c - takes failed attempts whose log has arrived, lets kb look at the whole log on a worker, stores
 * the answer. A diagnosis that fails is a state of its own, never a verdict. */
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
    json_t *facts, *answer;
    struct ptl_buf log;
    struct ptl_core_kb *kb;
    struct upstream up[UPSTREAM_MAX];
    int n_up, at_up;
    struct ptl_error err;
};

static void diagnosis_free(struct diagnosis *d)
{
    json_decref(d->facts);
    json_decref(d->answer);
    ptl_buf_done(&d->log);
    ptl_core_kb_unref(d->kb);
    for (int i = 0; i < d->n_up; i++) {
        ptl_buf_done(&d->up[i].log);
        free(d->up[i].stage);
        free(d->up[i].kind);
    }
    free(d);
}

static void run(struct ptl_work *w)
{
    struct diagnosis *d = (struct diagnosis *)w;
    struct ptl_kb_log logs[1 + UPSTREAM_MAX] = {
        {.text = ptl_buf_str(&d->log), .len = d->log.len}
    };
    for (int i = 0; i < d->n_up; i++)
        logs[1 + i] =
            (struct ptl_kb_log){d->up[i].stage, d->up[i].kind, ptl_buf_str(&d->up[i].log), d->up[i].log.len};
    w->result =
        ptl_kb_diagnose(ptl_core_kb_of(d->kb), d->facts, logs, (size_t)(1 + d->n_up), &d->answer, &d->err);
}

static void store(struct diagnosis *d, const char *state)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, d->attempt_id);
    ptl_args_json(&a, d->answer);
    ptl_args_str(&a, state);
    (void)!ptl_store_query(d->core->store, PTL_SQL_diagnosis_store, &a, NULL, NULL);
}

static void done(struct ptl_work *w)
{
    struct diagnosis *d = (struct diagnosis *)w;
    d->core->diagnosing--;
    if (w->result == 0) {
        d->core->count.diagnoses++;
        store(d, "done");
        ptl_log_info("attempt=%lld: diagnosed: %s", (long long)d->attempt_id,
                     ptl_json_str(d->answer, "summary", ""));
    } else if (w->result != -ECANCELED) {
        d->core->count.diagnoses_failed++;
        ptl_log_warning("attempt=%lld: diagnosis failed: %s", (long long)d->attempt_id, d->err.text);
        store(d, "failed");
    }
    diagnosis_free(d);
}

static void read_more(struct diagnosis *d);

/* Its lease runs out, then it is taken again. */
static void give_up(struct diagnosis *d)
{
    d->core->diagnosing--;
    diagnosis_free(d);
}

static void begin_work(struct diagnosis *d)
{
    if (ptl_loop_submit(d->core->loop, &d->work) != 0)
        give_up(d);
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

static void on_log(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct diagnosis *d = ctx;
    int n = err ? 0 : ptl_rows_count(rows);
    size_t before = d->log.len;
    for (int i = 0; i < n; i++) {
        size_t len;
        const char *p = ptl_row_bytes(rows, i, "data", &len);
        int64_t at = ptl_row_i64(rows, i, "start_offset");
        if (p && at == (int64_t)d->log.len)
            (void)!ptl_buf_add(&d->log, p, len);
    }
    if (err)
        ptl_log_warning("attempt=%lld: its log cannot be read now, diagnosis waits: %s",
                        (long long)d->attempt_id, err->text);
    if (!err && d->log.len > before && (int64_t)d->log.len < d->log_bytes && !d->log.failed) {
        read_more(d);
        return;
    }
    if (err) {
        give_up(d);
        return;
    }
    ask_upstream(d);
}

static void read_more(struct diagnosis *d)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, d->attempt_id);
    ptl_args_i64(&a, (int64_t)d->log.len);
    ptl_args_i64(&a, CHUNKS_AT_ONCE);
    if (ptl_store_query(d->core->store, PTL_SQL_log_read, &a, on_log, d) != 0) {
        d->core->diagnosing--;
        diagnosis_free(d);
    }
}

static void on_due(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    static const char *const facts[] = {
        "kind",        "host",      "target", "uses",        "end_reason",         "exit_code",
        "signal",      "message",   "report", "environment", "export_environment", "warnings",
        "target_host", "toolchain", "counts"};
    struct ptl_core *core = ctx;
    core->diagnosing--;
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        PTL_JSON *row = ptl_row_object(rows, i);
        if (ptl_str_eq(ptl_json_str(row, "diagnosis_state", ""), "failed"))
            continue;
        struct diagnosis *d = ptl_xcalloc(1, sizeof(*d));
        d->work.run = run;
        d->work.done = done;
        d->core = core;
        d->kb = ptl_core_kb_ref(core);
        d->attempt_id = ptl_row_i64(rows, i, "id");
        d->log_bytes = ptl_row_i64(rows, i, "log_bytes");
        d->log.max = (size_t)core->o.log_max_bytes + (4 << 20);
        d->facts = json_object();
        for (size_t k = 0; k < PTL_ARRAY_LEN(facts); k++)
            json_object_set(d->facts, facts[k], json_object_get(row, facts[k]));
        core->diagnosing++;
        read_more(d);
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
