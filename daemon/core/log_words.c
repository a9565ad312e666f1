/* log_words.c - what is known of whole logs: their words, for failures to be found by (failure_log), and
 * where in a log quoted texts stand. Logs are read from the database piece by piece; cleaning, collecting and
 * looking happen on the pool, one log at a time. What is still to be read stands in failure_log_due: new
 * failures once their diagnosis is done, and, newest first, those from before there were words. Loop thread.
 */
#include "core-private.h"
#include "words.h"
#include <portolan/log.h>

enum {
    CHUNKS_AT_ONCE = 64,
    AT_ONCE = 8,     /* logs claimed together; read one after another */
    PAUSE_MS = 150,  /* between such batches: some 50 logs a second, so that a long past hinders nobody */
    FINDING_MAX = 4, /* logs being looked into for searches, of all clients */
    HITS_MAX = 3
};

/* ---- a whole log */
struct fetch {
    struct ptl_core *core;
    int64_t attempt_id, log_bytes;
    struct ptl_buf *log;
    ptl_core_log_fn *fn;
    void *ctx;
};

static void fetch_more(struct fetch *f);

static void fetched(struct fetch *f, int result)
{
    f->fn(f->ctx, result);
    free(f);
}

static void on_pieces(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct fetch *f = ctx;
    size_t before = f->log->len;
    if (err) {
        ptl_log_warning("attempt=%lld: its log cannot be read now: %s", (long long)f->attempt_id, err->text);
        fetched(f, -EAGAIN);
        return;
    }
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        size_t len;
        const char *p = ptl_row_bytes(rows, i, "data", &len);
        if (p && ptl_row_i64(rows, i, "start_offset") == (int64_t)f->log->len)
            (void)!ptl_buf_add(f->log, p, len);
    }
    if (f->log->len > before && (int64_t)f->log->len < f->log_bytes && !f->log->failed)
        fetch_more(f);
    else
        fetched(f, (int64_t)f->log->len < f->log_bytes ? PTL_ABSENT : 0);
}

static void fetch_more(struct fetch *f)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, f->attempt_id);
    ptl_args_i64(&a, (int64_t)f->log->len);
    ptl_args_i64(&a, CHUNKS_AT_ONCE);
    if (ptl_store_query(f->core->store, PTL_SQL_log_read, &a, on_pieces, f) != 0)
        fetched(f, -EAGAIN);
}

void ptl_core_log_fetch(struct ptl_core *core, int64_t attempt_id, int64_t log_bytes, struct ptl_buf *log,
                        ptl_core_log_fn *fn, void *ctx)
{
    struct fetch *f = ptl_xcalloc(1, sizeof(*f));
    *f = (struct fetch){core, attempt_id, log_bytes, log, fn, ctx};
    log->max = (size_t)core->o.log_max_bytes + (4 << 20);
    fetch_more(f);
}

/* ---- words */
struct ptl_core_log_words {
    struct ptl_work work;
    struct ptl_core *core;
    struct ptl_timer *timer;
    bool busy;
    struct ptl_rows *rows;
    int at;
    struct ptl_buf log;
    /* of the log at hand */
    char *words;
    size_t n;
    bool cut;
};

static void words_next(struct ptl_core_log_words *w);

static void words_clear(struct ptl_core_log_words *w)
{
    ptl_buf_done(&w->log);
    free(w->words);
    w->words = NULL;
}

/* What is claimed and not stored is claimed again when its lease is out. */
static void words_rest(struct ptl_core_log_words *w)
{
    bool more = w->rows && ptl_rows_count(w->rows) == AT_ONCE && w->at == AT_ONCE;
    words_clear(w);
    w->rows = ptl_rows_unref(w->rows);
    w->busy = false;
    if (more && w->timer)
        ptl_timer_after(w->timer, PAUSE_MS);
}

static void on_words_stored(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct ptl_core_log_words *w = ctx;
    if (err)
        ptl_log_warning("history: the words of a log are not stored now, again later: %s", err->text);
    else
        w->core->count.logs_worded++;
    words_clear(w);
    w->at++;
    words_next(w);
}

static void words_run(struct ptl_work *work)
{
    struct ptl_core_log_words *w = (struct ptl_core_log_words *)work;
    struct ptl_kb_text t;
    work->result = ptl_kb_text_init(&t);
    if (work->result == 0)
        work->result = ptl_kb_text_add(&t, 0, ptl_buf_str(&w->log), w->log.len);
    if (work->result == 0 && !(w->words = ptl_kb_log_words(&t, &w->n, &w->cut)))
        work->result = -ENOMEM;
    ptl_kb_text_done(&t);
}

static void words_found(struct ptl_work *work)
{
    struct ptl_core_log_words *w = (struct ptl_core_log_words *)work;
    struct ptl_args a;
    if (work->result != 0) {
        words_rest(w);
        return;
    }
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_row_i64(w->rows, w->at, "attempt_id"));
    ptl_args_str(&a, w->words);
    ptl_args_i64(&a, (int64_t)w->n);
    ptl_args_bool(&a, w->cut);
    if (ptl_store_query(w->core->store, PTL_SQL_log_words_store, &a, on_words_stored, w) != 0)
        words_rest(w);
}

static void on_words_log(void *ctx, int result)
{
    struct ptl_core_log_words *w = ctx;
    /* a log of which a part is missing has the words that are there */
    if (result < 0 || ptl_loop_submit(w->core->loop, &w->work) != 0)
        words_rest(w);
}

static void words_next(struct ptl_core_log_words *w)
{
    if (w->at < ptl_rows_count(w->rows) && !atomic_load(&w->core->stopping))
        ptl_core_log_fetch(w->core, ptl_row_i64(w->rows, w->at, "attempt_id"),
                           ptl_row_i64(w->rows, w->at, "log_bytes"), &w->log, on_words_log, w);
    else
        words_rest(w);
}

static void on_words_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_log_words *w = ctx;
    if (err || ptl_rows_count(rows) == 0) {
        w->busy = false;
        return;
    }
    w->rows = ptl_rows_ref(rows);
    w->at = 0;
    words_next(w);
}

void ptl_core_log_words_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    struct ptl_core_log_words *w = core->log_words;
    struct ptl_args a;
    if (w->busy || !w->timer || !ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    ptl_args_init(&a);
    ptl_args_i64(&a, AT_ONCE);
    w->busy = ptl_store_query(core->store, PTL_SQL_log_words_claim, &a, on_words_claimed, w) == 0;
}

void ptl_core_log_words_new(struct ptl_core *core)
{
    struct ptl_core_log_words *w = ptl_xcalloc(1, sizeof(*w));
    w->core = core;
    w->work.run = words_run;
    w->work.done = words_found;
    core->log_words = w;
    w->timer = ptl_timer_new(core->loop, ptl_core_log_words_tick, core);
}

void ptl_core_log_words_stop(struct ptl_core *core)
{
    if (core->log_words)
        core->log_words->timer = ptl_timer_free(core->log_words->timer);
}

void ptl_core_log_words_free(struct ptl_core *core)
{
    struct ptl_core_log_words *w = core->log_words;
    if (!w)
        return;
    ptl_core_log_words_stop(core);
    words_clear(w);
    ptl_rows_unref(w->rows);
    free(w);
    core->log_words = NULL;
}

/* ---- where texts stand */
struct finding {
    struct ptl_work work;
    struct ptl_core *core;
    struct ptl_buf log;
    const char **texts;
    json_t *list, *hits; /* list owns what texts point into */
    bool all;
    ptl_core_fn *fn;
    void *ctx;
};

static void found_end(struct finding *f, int result)
{
    PTL_JSON *answer =
        result == 0 ? json_pack("{s:b,s:O}", "all", f->all, "hits", f->hits ? f->hits : json_null()) : NULL;
    f->core->finding--;
    f->fn(f->ctx, result, answer, NULL);
    ptl_buf_done(&f->log);
    json_decref(f->list);
    json_decref(f->hits);
    free(f->texts);
    free(f);
}

static void find_run(struct ptl_work *work)
{
    struct finding *f = (struct finding *)work;
    struct ptl_kb_text t;
    work->result = ptl_kb_text_init(&t);
    if (work->result == 0)
        work->result = ptl_kb_text_add(&t, 0, ptl_buf_str(&f->log), f->log.len);
    if (work->result == 0 &&
        !(f->hits = ptl_kb_log_find(&t, f->texts, json_array_size(f->list), HITS_MAX, &f->all)))
        work->result = -ENOMEM;
    ptl_kb_text_done(&t);
}

static void find_done(struct ptl_work *work)
{
    found_end((struct finding *)work, work->result);
}

static void on_find_log(void *ctx, int result)
{
    struct finding *f = ctx;
    if (result != 0)
        found_end(f, result); /* some of it has gone */
    else if (ptl_loop_submit(f->core->loop, &f->work) != 0)
        found_end(f, PTL_FULL);
}

void ptl_core_log_find(struct ptl_core *core, int64_t attempt_id, int64_t log_bytes, json_t *texts,
                       ptl_core_fn *fn, void *ctx)
{
    if (core->finding >= FINDING_MAX) {
        fn(ctx, PTL_FULL, NULL, NULL);
        return;
    }
    struct finding *f = ptl_xcalloc(1, sizeof(*f));
    size_t i;
    json_t *text;
    core->finding++;
    f->work.run = find_run;
    f->work.done = find_done;
    f->core = core;
    f->fn = fn;
    f->ctx = ctx;
    f->list = json_incref(texts);
    f->texts = ptl_xcalloc(json_array_size(texts) + 1, sizeof(*f->texts));
    json_array_foreach(texts, i, text) f->texts[i] = json_string_value(text);
    ptl_core_log_fetch(core, attempt_id, log_bytes, &f->log, on_find_log, f);
}
