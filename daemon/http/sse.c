/* sse.c - server-sent events: what happens, from the event table, and logs as they grow. One reader of the
 * table per stream, woken by NOTIFY and by the heartbeat; ids are cursors, so that a stream resumes where it
 * broke. A peer that does not take its bytes is not fed further. Who may listen is looked up again and again:
 * a stream outlives the moment it was authorised in, and so must not outlive its token. */
#include "server.h"
#include "rows.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <stdio.h>

enum { MAY_MS = 15000, POLL_MS = 2000, BATCH = 200, WAITING_MAX = 1 << 20, LOG_CHUNKS = 16 };

struct stream {
    struct ptl_request *q;
    struct ptl_sse *sse;
    struct stream *next, **prev;
    bool is_log, asking, again, gone, ended;
    /* events */
    char txid[32];
    int64_t id, run_id;
    char project[64];
    /* log */
    int64_t attempt_id, offset;
    int64_t beat_ms, may_ms; /* may_ms: until then it need not be asked whether it still may */
};

struct ptl_sse {
    struct ptl_server *server;
    struct stream *streams;
    struct ptl_timer *timer;
    bool wake_planned;
};

static void ask(struct stream *s);

static void stream_free(struct stream *s)
{
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    free(s);
}

static void finish(struct stream *s)
{
    struct ptl_request *q = s->q;
    ptl_stream_end(q);
    stream_free(s);
}

static void on_gone(struct ptl_request *q)
{
    struct stream *s = ptl_request_get(q);
    s->gone = true;
    if (!s->asking)
        finish(s);
}

static void send_text(struct stream *s, struct ptl_buf *b)
{
    ptl_stream_piece(s->q, b->data, b->len);
    s->beat_ms = ptl_mono_ms();
}

static void on_events(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct stream *s = ctx;
    s->asking = false;
    if (s->gone || s->ended) {
        finish(s);
        return;
    }
    if (err)
        return; /* the next wake tries again */
    PTL_BUF b = PTL_BUF_INIT;
    int n = ptl_rows_count(rows);
    for (int i = 0; i < n; i++) {
        PTL_JSON *o = ptl_row_object(rows, i);
        snprintf(s->txid, sizeof(s->txid), "%s", ptl_row_str(rows, i, "txid"));
        s->id = ptl_row_i64(rows, i, "id");
        json_object_del(o, "txid");
        json_object_del(o, "id");
        char *text = json_dumps(o, JSON_COMPACT);
        ptl_buf_printf(&b, "id: %s-%lld\nevent: %s\ndata: %s\n\n", s->txid, (long long)s->id,
                       ptl_row_str(rows, i, "kind"), text ? text : "{}");
        free(text);
    }
    if (b.len)
        send_text(s, &b);
    if (n == BATCH || s->again)
        ask(s);
}

static void on_log(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED, const struct ptl_error *err)
{
    struct stream *s = ctx;
    s->asking = false;
    if (s->gone || s->ended) {
        finish(s);
        return;
    }
    if (err)
        return;
    PTL_BUF b = PTL_BUF_INIT;
    for (int i = 0; i < ptl_rows_count(rows[1]); i++) {
        size_t len;
        const char *data = ptl_row_bytes(rows[1], i, "data", &len);
        int64_t start = ptl_row_i64(rows[1], i, "start_offset");
        if (!data || start > s->offset || start + (int64_t)len <= s->offset)
            continue;
        size_t skip = (size_t)(s->offset - start);
        s->offset = start + (int64_t)len;
        PTL_FREE char *text = ptl_json_text_utf8(data + skip, len - skip);
        PTL_JSON *o = json_pack("{s:s,s:I}", "text", text, "next_offset", (json_int_t)s->offset);
        char *line = json_dumps(o, JSON_COMPACT);
        ptl_buf_printf(&b, "id: %lld\nevent: log\ndata: %s\n\n", (long long)s->offset, line ? line : "{}");
        free(line);
    }
    bool moved = b.len > 0, ended = ptl_rows_count(rows[0]) == 0 || !ptl_row_null(rows[0], 0, "ended_at");
    bool complete =
        ended && (ptl_rows_count(rows[0]) == 0 || s->offset >= ptl_row_i64(rows[0], 0, "log_bytes") ||
                  !ptl_row_null(rows[0], 0, "log_pruned_at"));
    if (complete && !moved)
        ptl_buf_printf(&b, "id: %lld\nevent: end\ndata: {\"next_offset\":%lld}\n\n", (long long)s->offset,
                       (long long)s->offset);
    if (b.len)
        send_text(s, &b);
    if (complete && !moved)
        finish(s);
    else if (moved || s->again)
        ask(s);
}

static void on_may(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct stream *s = ctx;
    s->asking = false;
    if (s->gone || s->ended || (!err && ptl_rows_count(rows) == 0)) {
        finish(s);
        return;
    }
    if (err)
        s->may_ms = 0; /* the next wake tries again; nothing is told before */
    else
        ask(s);
}

static void ask(struct stream *s)
{
    struct ptl_store *store = ptl_core_store(ptl_server_core(s->sse->server));
    if (s->asking) {
        s->again = true;
        return;
    }
    s->again = false;
    if (ptl_mono_ms() >= s->may_ms) {
        const struct ptl_identity *who = ptl_request_identity(s->q);
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, who->token_id);
        if (who->session_id)
            ptl_args_i64(&a, who->session_id);
        else
            ptl_args_null(&a);
        s->asking = ptl_store_query(store, PTL_SQL_token_live, &a, on_may, s) == 0;
        s->may_ms = s->asking ? ptl_mono_ms() + MAY_MS : 0;
        return;
    }
    if (ptl_stream_waiting(s->q) > WAITING_MAX)
        return; /* a slow peer: the timer looks again */
    struct ptl_args a;
    ptl_args_init(&a);
    if (s->is_log) {
        struct ptl_batch *b = ptl_batch_new(store);
        ptl_args_i64(&a, s->attempt_id);
        ptl_batch_add(b, PTL_SQL_attempt_get, &a);
        ptl_args_init(&a);
        ptl_args_i64(&a, s->attempt_id);
        ptl_args_i64(&a, s->offset);
        ptl_args_i64(&a, LOG_CHUNKS);
        ptl_batch_add(b, PTL_SQL_log_read, &a);
        s->asking = ptl_batch_run(b, on_log, s) == 0;
        return;
    }
    ptl_args_str(&a, s->txid);
    ptl_args_i64(&a, s->id);
    if (s->run_id)
        ptl_args_i64(&a, s->run_id);
    else
        ptl_args_null(&a);
    ptl_args_str(&a, s->project[0] ? s->project : NULL);
    ptl_args_i64(&a, BATCH);
    s->asking = ptl_store_query(store, PTL_SQL_event_after, &a, on_events, s) == 0;
}

static void wake_all(void *ctx)
{
    struct ptl_sse *sse = ctx;
    sse->wake_planned = false;
    for (struct stream *s = sse->streams, *next; s; s = next) {
        next = s->next;
        if (s->txid[0] || s->is_log)
            ask(s);
    }
}

static void on_notify(void *ctx, const char *payload PTL_UNUSED)
{
    struct ptl_sse *sse = ctx;
    if (!sse->wake_planned && sse->streams) {
        sse->wake_planned = true;
        ptl_loop_defer(ptl_core_loop(ptl_server_core(sse->server)), wake_all, sse);
    }
}

static void on_timer(void *ctx)
{
    struct ptl_sse *sse = ctx;
    int64_t now = ptl_mono_ms();
    for (struct stream *s = sse->streams; s; s = s->next)
        if (now - s->beat_ms > ptl_server_sse_heartbeat_ms(sse->server) && !s->gone) {
            ptl_stream_piece(s->q, ": beat\n\n", 8);
            s->beat_ms = now;
        }
    wake_all(sse);
}

static struct ptl_sse *sse_of(struct ptl_request *q)
{
    struct ptl_server *server = ptl_request_server(q);
    struct ptl_sse **sse = ptl_server_sse(server);
    if (!*sse) {
        *sse = ptl_xcalloc(1, sizeof(**sse));
        (*sse)->server = server;
        (*sse)->timer = ptl_timer_new(ptl_core_loop(ptl_server_core(server)), on_timer, *sse);
        ptl_timer_every((*sse)->timer, POLL_MS);
        (void)!ptl_store_listen(ptl_core_store(ptl_server_core(server)), "ptl_event", on_notify, *sse);
    }
    return *sse;
}

void ptl_sse_doubt(struct ptl_sse *sse)
{
    for (struct stream *s = sse ? sse->streams : NULL; s; s = s->next) {
        s->may_ms = 0;
        if (s->txid[0] || s->is_log)
            ask(s);
    }
}

void ptl_sse_stop(struct ptl_sse *sse)
{
    if (!sse)
        return;
    ptl_timer_free(sse->timer);
    sse->timer = NULL;
    for (struct stream *s = sse->streams, *next; s; s = next) {
        next = s->next;
        s->ended = true;
        if (!s->asking)
            finish(s);
    }
    /* sse itself stays until ptl_sse_free(): the store's LISTEN still points to it */
}

void ptl_sse_free(struct ptl_sse *sse)
{
    ptl_sse_stop(sse);
    free(sse);
}

static struct stream *begin(struct ptl_request *q)
{
    struct ptl_sse *sse = sse_of(q);
    struct stream *s = ptl_xcalloc(1, sizeof(*s));
    s->q = q;
    s->sse = sse;
    s->beat_ms = ptl_mono_ms();
    s->may_ms = s->beat_ms + MAY_MS;
    s->next = sse->streams;
    if (s->next)
        s->next->prev = &s->next;
    s->prev = &sse->streams;
    sse->streams = s;
    ptl_request_set(q, s, on_gone);
    return s;
}

static void on_head(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct stream *s = ctx;
    s->asking = false;
    if (s->gone || s->ended || err) {
        finish(s);
        return;
    }
    snprintf(s->txid, sizeof(s->txid), "%s", ptl_row_str(rows, 0, "txid"));
    char text[96];
    int n = snprintf(text, sizeof(text), "id: %s-0\nevent: hello\ndata: {}\n\n", s->txid);
    ptl_stream_piece(s->q, text, (size_t)n);
    ask(s);
}

static void start_events(struct ptl_request *q, int64_t run_id, const char *project)
{
    const char *since = ptl_request_header(q, "Last-Event-ID");
    unsigned long long txid;
    long long id;
    if (!since)
        since = ptl_request_query(q, "since");
    bool resume = since && sscanf(since, "%llu-%lld", &txid, &id) == 2;
    bool from_start = ptl_str_eq(since, "0");
    struct stream *s = begin(q);
    s->run_id = run_id;
    snprintf(s->project, sizeof(s->project), "%s", project ? project : "");
    ptl_stream_start(q, "text/event-stream");
    ptl_stream_piece(q, ": portolan\n\n", 12);
    if (resume || from_start) {
        snprintf(s->txid, sizeof(s->txid), "%llu", from_start ? 0 : txid);
        s->id = from_start ? 0 : id;
        ask(s);
        return;
    }
    s->asking =
        ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_event_head, NULL, on_head, s) == 0;
    if (!s->asking)
        finish(s);
}

static void on_run_of_events(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err)
        ptl_answer_result(q, 200, err->code, NULL, err);
    else if (ptl_rows_count(rows) == 0)
        ptl_answer_no_run(q);
    else if (ptl_request_may_project(q, ptl_row_str(rows, 0, "project")))
        start_events(q, ptl_request_param_id(q, "id"), NULL);
}

void ptl_on_get_events(struct ptl_request *q)
{
    if (ptl_request_param(q, "id")) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, ptl_request_param_id(q, "id"));
        if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_run_get, &a, on_run_of_events, q) !=
            0)
            ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
        return;
    }
    const char *confined = ptl_request_identity(q)->project;
    start_events(q, 0, *confined ? confined : ptl_request_query(q, "project"));
}

static void on_attempt_of_log(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (!ptl_rows_may_attempt(q, rows, err))
        return;
    const char *last = ptl_request_header(q, "Last-Event-ID");
    struct stream *s = begin(q);
    s->is_log = true;
    s->attempt_id = ptl_request_param_id(q, "id");
    s->offset = last ? strtoll(last, NULL, 10) : ptl_request_query_i64(q, "offset", 0, 0, INT64_MAX);
    if (s->offset < 0)
        s->offset = 0;
    ptl_stream_start(q, "text/event-stream");
    ptl_stream_piece(q, ": portolan\n\n", 12);
    ask(s);
}

void ptl_on_get_log_stream(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_attempt_run, &a, on_attempt_of_log, q) !=
        0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}
