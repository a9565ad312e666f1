/* log_search.c - the lines of one log that hold a text. The log is read from the database in bounded pieces
 * and looked through on the pool, one piece at a time, while the next is on its way; what was found is told
 * piece by piece. Whoever asked may call it off at any time: it ends after the piece at hand. Loop thread. */
#include "core-private.h"
#include "line_find.h"
#include <portolan/log.h>

enum {
    PIECE_BYTES = 4 << 20, /* twice of it in memory, in PostgreSQL's hexadecimal form twice that */
    PIECE_ROWS = 4096,     /* a log that came in drops has small ones */
    SEARCHING_MAX = 4,     /* logs, of all clients: a search reads as fast as the database gives */
};

struct ptl_core_log_search {
    struct ptl_work work;
    struct ptl_core *core;
    struct ptl_line_find *find;
    int64_t attempt_id, ask_from, offset;
    struct ptl_rows *now, *next; /* being looked through; come already */
    bool asking, working, last, called_off;
    int result;
    /* what the worker found in `now` */
    int64_t *lines;
    size_t n, room, most;
    bool full;
    ptl_core_log_hits_fn *fn;
    void *ctx;
};

static void turn(struct ptl_core_log_search *s);

static bool found(void *ctx, int64_t line)
{
    struct ptl_core_log_search *s = ctx;
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 256;
        int64_t *more = realloc(s->lines, room * sizeof(*more));
        if (!more) {
            s->full = true; /* told as a cut, which it is */
            return false;
        }
        s->lines = more;
        s->room = room;
    }
    s->lines[s->n++] = line;
    s->full = s->n >= s->most;
    return !s->full;
}

static void run(struct ptl_work *work)
{
    struct ptl_core_log_search *s = (struct ptl_core_log_search *)work;
    int n = ptl_rows_count(s->now);
    for (int i = 0; i < n && !s->full; i++) {
        size_t len;
        const char *data = ptl_row_bytes(s->now, i, "data", &len);
        if (!data || ptl_row_i64(s->now, i, "start_offset") != s->offset) {
            work->result = data ? -EIO : -ENOMEM;
            return;
        }
        s->offset += (int64_t)ptl_line_find_feed(s->find, data, len, found, s);
    }
    if (n == 0)
        ptl_line_find_end(s->find, found, s);
    work->result = 0;
}

static void done(struct ptl_work *work)
{
    struct ptl_core_log_search *s = (struct ptl_core_log_search *)work;
    bool end = ptl_rows_count(s->now) == 0;
    s->working = false;
    s->now = ptl_rows_unref(s->now);
    if (work->result < 0 && !s->result)
        s->result = work->result;
    s->last = s->last || end || s->full;
    if (s->n && !s->called_off) {
        struct ptl_core_log_hits h = {
            .lines = s->lines, .n = s->n, .offset = s->offset, .line = ptl_line_find_line(s->find)};
        s->fn(s->ctx, &h);
    } else if (!s->called_off && !s->last && !s->result) {
        struct ptl_core_log_hits h = {.offset = s->offset, .line = ptl_line_find_line(s->find)};
        s->fn(s->ctx, &h); /* how far it is */
    }
    s->most -= s->n;
    s->n = 0;
    turn(s);
}

static void on_piece(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_log_search *s = ctx;
    s->asking = false;
    if (err) {
        ptl_log_warning("attempt=%lld: its log cannot be searched now: %s", (long long)s->attempt_id,
                        err->text);
        s->result = -EAGAIN;
    } else {
        int n = ptl_rows_count(rows);
        s->next = ptl_rows_ref(rows);
        if (n)
            s->ask_from = ptl_row_i64(rows, n - 1, "start_offset") + ptl_row_i64(rows, n - 1, "bytes");
    }
    turn(s);
}

static void ask(struct ptl_core_log_search *s)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, s->attempt_id);
    ptl_args_i64(&a, s->ask_from);
    ptl_args_i64(&a, PIECE_BYTES);
    ptl_args_i64(&a, PIECE_ROWS);
    if (ptl_store_query(s->core->store, PTL_SQL_log_search, &a, on_piece, s) == 0)
        s->asking = true;
    else
        s->result = -EAGAIN;
}

/* The next thing to do: look through what has come, ask for what comes then, or end. */
static void turn(struct ptl_core_log_search *s)
{
    if (atomic_load(&s->core->stopping) && !s->result)
        s->result = -ECANCELED;
    bool over = s->last || s->result || s->called_off;
    if (!over && !s->working && s->next) {
        s->now = s->next;
        s->next = NULL;
        bool end = ptl_rows_count(s->now) == 0;
        s->working = ptl_loop_submit(s->core->loop, &s->work) == 0;
        if (!s->working)
            s->result = -EAGAIN;
        else if (!end)
            ask(s);
        over = s->result != 0;
    } else if (!over && !s->working && !s->asking) {
        ask(s);
        over = s->result != 0;
    }
    if (!over || s->working || s->asking)
        return;
    struct ptl_core_log_hits h = {.offset = s->offset,
                                  .line = ptl_line_find_line(s->find),
                                  .over = true,
                                  .cut = s->full,
                                  .result = s->result};
    s->core->searching--;
    s->fn(s->ctx, &h);
    ptl_rows_unref(s->now);
    ptl_rows_unref(s->next);
    ptl_line_find_free(s->find);
    free(s->lines);
    free(s);
}

struct ptl_core_log_search *ptl_core_log_search(struct ptl_core *core, int64_t attempt_id,
                                                const struct ptl_core_log_query *q, ptl_core_log_hits_fn *fn,
                                                void *ctx)
{
    if (core->searching >= SEARCHING_MAX || atomic_load(&core->stopping))
        return NULL;
    struct ptl_core_log_search *s = ptl_xcalloc(1, sizeof(*s));
    *s = (struct ptl_core_log_search){
        .work = {.run = run, .done = done},
        .core = core,
        .attempt_id = attempt_id,
        .ask_from = q->offset,
        .offset = q->offset,
        .most = (size_t)q->limit,
        .fn = fn,
        .ctx = ctx,
        .find = ptl_line_find_new(q->text, strlen(q->text), q->caseless, q->line),
    };
    ask(s);
    if (!s->asking) { /* nothing was told yet, so nothing is */
        ptl_line_find_free(s->find);
        free(s);
        return NULL;
    }
    core->searching++;
    return s;
}

void ptl_core_log_search_call_off(struct ptl_core_log_search *s)
{
    s->called_off = true;
}
