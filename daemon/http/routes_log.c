/* routes_log.c - search in one log: a stream of JSON objects, one a line, so that a page shows the first
 * finds while the rest is looked through. Hanging up ends the search. Loop thread. */
#include "body.h"
#include "rows.h"
#include <portolan/json.h>
#include <stdio.h>

enum { TEXT_MAX = 200, LINES_DEFAULT = 5000, LINES_MAX = 100000 };

struct searching {
    struct ptl_request *q;
    struct ptl_core_log_search *search;
};

static void send_line(struct ptl_request *q, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    if (text) {
        ptl_stream_piece(q, text, strlen(text));
        ptl_stream_piece(q, "\n", 1);
    }
    free(text);
    json_decref(o);
}

static void on_hits(void *ctx, const struct ptl_core_log_hits *h)
{
    struct searching *s = ctx;
    json_t *lines = json_array();
    for (size_t i = 0; i < h->n; i++)
        json_array_append_new(lines, json_integer((json_int_t)h->lines[i]));
    json_t *o = json_pack("{s:o,s:I,s:I}", "lines", lines, "offset", (json_int_t)h->offset, "line",
                          (json_int_t)h->line);
    if (h->over) {
        json_object_set_new(o, "over", json_true());
        json_object_set_new(o, "cut", json_boolean(h->cut));
        if (h->result != 0)
            json_object_set_new(o, "error",
                                json_string(h->result == -ECANCELED
                                                ? "the daemon is stopping; search again in a moment"
                                            : h->result == -EAGAIN
                                                ? "the database does not answer now; search again in a moment"
                                                : "the log could not be read to its end"));
    }
    send_line(s->q, o);
    if (h->over) {
        ptl_stream_end(s->q);
        free(s);
    }
}

static void on_gone(struct ptl_request *q)
{
    struct searching *s = ptl_request_get(q);
    if (s)
        ptl_core_log_search_call_off(s->search);
}

static void on_attempt(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (!ptl_rows_may_attempt(q, rows, err))
        return;
    if (!ptl_row_null(rows, 0, "log_pruned_at")) {
        ptl_answer_log_gone(q);
        return;
    }
    struct ptl_core_log_query query = {
        .text = ptl_request_query(q, "q"),
        .caseless = !ptl_str_eq(ptl_request_query(q, "case"), "exact"),
        .offset = ptl_request_query_i64(q, "offset", 0, 0, INT64_MAX / 2),
        .line = ptl_request_query_i64(q, "line", 0, 0, INT64_MAX / 2),
        .limit = ptl_request_query_i64(q, "limit", LINES_DEFAULT, 1, LINES_MAX),
    };
    struct searching *s = ptl_xcalloc(1, sizeof(*s));
    s->q = q;
    s->search = ptl_core_log_search(ptl_request_core(q), ptl_request_param_id(q, "id"), &query, on_hits, s);
    if (!s->search) {
        free(s);
        ptl_answer_header(q, "Retry-After", "1");
        ptl_answer_problem(
            q, 503,
            "as many logs are being searched as this daemon searches at a time; try again in a moment");
        return;
    }
    ptl_request_set(q, s, on_gone);
    ptl_stream_start(q, "application/x-ndjson");
}

void ptl_on_get_log_search(struct ptl_request *q)
{
    const char *text = ptl_request_query(q, "q"), *fold = ptl_request_query(q, "case");
    size_t len = text ? strlen(text) : 0;
    if (len == 0 || len > TEXT_MAX || strpbrk(text, "\r\n")) {
        ptl_answer_problem(q, 422, "query.q: a text of 1 to %d bytes without a line break is wanted",
                           TEXT_MAX);
        return;
    }
    if (fold && !ptl_str_eq(fold, "exact") && !ptl_str_eq(fold, "any")) {
        ptl_answer_problem(
            q, 422, "query.case: 'any' (capital letters count for nothing) or 'exact' is wanted, not '%.40s'",
            fold);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_ask(q, PTL_SQL_attempt_get, &a, on_attempt);
}
