/* diagnose.c - takes failed attempts whose log has arrived, lets kb look at the whole log on a worker, stores
 * the answer. A diagnosis that fails is a state of its own, never a verdict. */
#include "core-private.h"
#include "kb.h"
#include "data.h"
#include <portolan/log.h>
#include <pthread.h>

enum { DIAGNOSING_MAX = 2, CHUNKS_AT_ONCE = 64 };

struct diagnosis {
    struct ptl_work work;
    struct ptl_core *core;
    int64_t attempt_id, log_bytes;
    json_t *facts, *answer;
    struct ptl_buf log;
    struct ptl_error err;
};

static void diagnosis_free(struct diagnosis *d)
{
    json_decref(d->facts);
    json_decref(d->answer);
    ptl_buf_done(&d->log);
    free(d);
}

/* The knowledge this program was built with; compiled on the worker that needs it first. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct ptl_kb *builtin;
static void compile_builtin(void)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *doc = NULL;
    PTL_JSON *problems = json_array();
    const struct ptl_kb_file *model = ptl_kb_file_find(&ptl_kb_files_builtin, "model/text.bin");
    int r = ptl_kb_data_read(&ptl_kb_files_builtin, problems, &doc);
    if (json_array_size(problems))
        ptl_log_error("kb: %zu problems with the knowledge built in, the first: %s",
                      json_array_size(problems), json_string_value(json_array_get(problems, 0)));
    if (r < 0)
        ptl_log_error("kb: the knowledge built in cannot be read");
    else if (ptl_kb_new(doc, model ? model->text : NULL, model ? model->len : 0, &builtin, &err) < 0)
        ptl_log_error("kb: %s", err.text);
}

static void run(struct ptl_work *w)
{
    struct diagnosis *d = (struct diagnosis *)w;
    struct ptl_kb_log own = {.text = ptl_buf_str(&d->log), .len = d->log.len};
    pthread_once(&once, compile_builtin);
    w->result = ptl_kb_diagnose(builtin, d->facts, &own, 1, &d->answer, &d->err);
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
    if (err || ptl_loop_submit(d->core->loop, &d->work) != 0) {
        d->core->diagnosing--;
        diagnosis_free(d); /* its lease runs out, then it is taken again */
    }
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
        "kind",        "host",     "target", "uses",        "end_reason",         "exit_code",
        "signal",      "message",  "report", "environment", "export_environment", "warnings",
        "target_host", "toolchain"};
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
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, DIAGNOSING_MAX - core->diagnosing);
    core->diagnosing++;
    if (ptl_store_query(core->store, PTL_SQL_diagnosis_claim, &a, on_due, core) != 0)
        core->diagnosing--;
}
