/* history.c - what keeps the past answerable: folds changes of failures into the counts, gives diagnoses from
 * before there were fingerprints theirs, looks at what turned stages green, lets old logs go. Every daemon
 * does it; rows that another one holds are skipped. */
#include "bands.h"
#include "core-private.h"
#include "template.h"
#include <portolan/log.h>

enum {
    EVERY_MS = 2000,
    FOLD_AT_ONCE = 20000,
    PRINT_AT_ONCE = 50,
    PRUNE_EVERY_TICKS = 5, /* while there is something to prune: one batch each time */
    PRUNE_ATTEMPTS = 200,
    PRUNE_BYTES = 256 << 20,
    PRINT_EVERY_TICKS = 15, /* of the history timer, 2 s each */
    SETTLE_AT = 60, /* changes: some 200 kB wait beside the index of terms, less than half of what fits */
    SETTLE_EVERY_TICKS = 30, /* fewer than that, but some */
};

struct ptl_core_history {
    struct ptl_timer *timer;
    bool folding, printing, settling, unsettling; /* unsettling: the database refuses it, autovacuum has to */
    unsigned ticks;
    int64_t fresh; /* changes folded since the indexes were settled */
};

/* ---- counts */
static void on_folded(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                      const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->history->folding = false;
    if (err)
        ptl_log_warning("history: counts are not folded now, readers add them up: %s", err->text);
    else
        core->history->fresh += ptl_row_i64(rows[0], 0, "folded");
}

static void on_settled(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->history->settling = false;
    if (!err)
        return;
    core->history->unsettling = err->code == -EPERM;
    ptl_log_warning("history: the indexes of words are not settled in the background%s: %s",
                    err->code == -EPERM ? ", who stores a failure will have to" : " just now", err->text);
}

static void settle(struct ptl_core *core)
{
    struct ptl_core_history *h = core->history;
    if (h->settling || h->unsettling ||
        (h->fresh < SETTLE_AT && (h->fresh == 0 || h->ticks % SETTLE_EVERY_TICKS != 0)))
        return;
    h->settling = ptl_store_query(core->store, PTL_SQL_failure_settle, NULL, on_settled, core) == 0;
    if (h->settling)
        h->fresh = 0;
}

static void fold(struct ptl_core *core)
{
    static const enum ptl_sql folds[] = {PTL_SQL_failure_fold, PTL_SQL_toolchain_fold};
    struct ptl_batch *b = ptl_batch_new(core->store);
    for (size_t i = 0; i < PTL_ARRAY_LEN(folds); i++) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, FOLD_AT_ONCE);
        ptl_batch_add(b, folds[i], &a);
    }
    core->history->folding = ptl_batch_run(b, on_folded, core) == 0;
}

/* ---- fingerprints of old diagnoses: over the lines they quote, best first */
static void print_one(struct ptl_core *core, int64_t attempt_id, const json_t *diagnosis)
{
    enum { LINES = 3 };
    char *templates[LINES] = {0}, print[PTL_KB_FINGERPRINT_HEX];
    const json_t *e;
    size_t n = 0;
    for (size_t i = 0; n < LINES && (e = json_array_get(json_object_get(diagnosis, "evidence"), i)); i++) {
        const char *text = ptl_json_str(e, "text", NULL);
        if (text)
            templates[n++] = ptl_kb_template(text, strlen(text));
    }
    if (n == 0) {
        const char *summary = ptl_json_str(diagnosis, "summary", "");
        templates[n++] = ptl_kb_template(summary, strlen(summary));
    }
    ptl_kb_fingerprint((const char *const *)templates, n, print);
    PTL_JSON *more = json_pack("{s:s,s:s,s:o}", "template", templates[0] ? templates[0] : "", "fingerprint",
                               print, "bands", ptl_kb_bands_of(diagnosis));
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, attempt_id);
    ptl_args_json(&a, more);
    (void)!ptl_store_query(core->store, PTL_SQL_failure_print, &a, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        free(templates[i]);
}

static void on_unprinted(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->history->printing = false;
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        PTL_JSON *diagnosis = ptl_row_json(rows, i, "diagnosis");
        print_one(core, ptl_row_i64(rows, i, "id"), diagnosis);
    }
}

static void print_old(struct ptl_core *core)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, PRINT_AT_ONCE);
    core->history->printing =
        ptl_store_query(core->store, PTL_SQL_failure_unprinted, &a, on_unprinted, core) == 0;
}

/* ---- logs that may go */
static void on_pruned(void *ctx PTL_UNUSED, struct ptl_rows *rows, const struct ptl_error *err)
{
    if (err)
        ptl_log_warning("history: old logs stay for now: %s", err->text);
    else if (ptl_row_i64(rows, 0, "pruned") > 0)
        ptl_log_info("history: %lld logs of %lld bytes let go by retention; their diagnoses stay",
                     (long long)ptl_row_i64(rows, 0, "pruned"), (long long)ptl_row_i64(rows, 0, "bytes"));
}

static void prune(struct ptl_core *core)
{
    struct ptl_args a;
    if (core->o.log_retention_ms == 0 && core->o.log_retention_bytes == 0)
        return;
    ptl_args_init(&a);
    ptl_args_i64(&a, core->o.log_retention_ms);
    ptl_args_i64(&a, core->o.log_retention_bytes);
    ptl_args_i64(&a, PRUNE_ATTEMPTS);
    ptl_args_i64(&a, PRUNE_BYTES);
    (void)!ptl_store_query(core->store, PTL_SQL_log_prune, &a, on_pruned, core);
}

static void tick(void *ctx)
{
    struct ptl_core *core = ctx;
    struct ptl_core_history *h = core->history;
    if (!ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    if (!h->folding)
        fold(core);
    settle(core);
    ptl_core_resolve_tick(core, h->ticks);
    ptl_core_log_words_tick(core);
    if (h->ticks % PRUNE_EVERY_TICKS == 0)
        prune(core);
    if (h->ticks++ % PRINT_EVERY_TICKS == 0 && !h->printing)
        print_old(core);
}

void ptl_core_history_new(struct ptl_core *core)
{
    core->history = ptl_xcalloc(1, sizeof(*core->history));
    core->history->timer = ptl_timer_new(core->loop, tick, core);
    ptl_timer_every(core->history->timer, EVERY_MS);
}

void ptl_core_history_stop(struct ptl_core *core)
{
    if (core->history)
        core->history->timer = ptl_timer_free(core->history->timer);
}

void ptl_core_history_free(struct ptl_core *core)
{
    free(core->history);
    core->history = NULL;
}
