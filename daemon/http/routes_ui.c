/* routes_ui.c - what the web UI asks for first of all: where the lines of a log are, the matrix, a run beside
 * the last good one, deliveries once more. */
#include "body.h"
#include <stdio.h>

/* ---- where the lines of a log are ----
 *
 * Every piece of a log is stored with the count of its newlines, so the place of a line is found by adding
 * numbers, without reading the log. Pieces without a count (older than the column, or in part a repeat) are
 * read here a few at a time, counted and written back, so it is paid once. */

enum { PLACES_MAX = 8192, PLACES_DEFAULT = 4096, COUNT_PIECES = 8, COUNT_ROUNDS = 4096 };

struct indexing {
    struct ptl_request *q;
    int64_t attempt_id;
    int rounds;
    bool gone;
};

static void ask_index(struct indexing *x);

static void indexing_end(struct indexing *x)
{
    ptl_request_set(x->q, NULL, NULL);
    free(x);
}

static void problem(struct indexing *x, const struct ptl_error *err)
{
    struct ptl_request *q = x->q;
    indexing_end(x);
    if (err)
        ptl_answer_result(q, 200, err->code, NULL, err);
    else
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void on_counted(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    if (err)
        problem(ctx, err);
    else
        ask_index(ctx);
}

static void on_uncounted(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct indexing *x = ctx;
    if (err) {
        problem(x, err);
        return;
    }
    PTL_JSON *counts = json_array();
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        size_t len;
        const char *data = ptl_row_bytes(rows, i, "data", &len);
        json_array_append_new(counts,
                              json_pack("[I,I]", (json_int_t)ptl_row_i64(rows, i, "start_offset"),
                                        (json_int_t)ptl_count_byte(data ? data : "", data ? len : 0, '\n')));
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, x->attempt_id);
    ptl_args_json(&a, counts);
    if (ptl_store_query(ptl_core_store(ptl_request_core(x->q)), PTL_SQL_log_counted, &a, on_counted, x) != 0)
        problem(x, NULL);
}

static void on_index(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                     const struct ptl_error *err)
{
    struct indexing *x = ctx;
    struct ptl_request *q = x->q;
    if (err) {
        problem(x, err);
        return;
    }
    if (ptl_rows_count(rows[0]) == 0) {
        indexing_end(x);
        ptl_answer_problem(q, 404, "no attempt %s", ptl_request_param(q, "id"));
        return;
    }
    const char *project = ptl_row_str(rows[0], 0, "project"), *confined = ptl_request_identity(q)->project;
    if (*confined && !ptl_str_eq(confined, project)) {
        indexing_end(x);
        (void)ptl_request_may_project(q, project); /* answers */
        return;
    }
    if (!ptl_row_null(rows[0], 0, "log_pruned_at")) {
        indexing_end(x);
        ptl_answer_log_gone(q);
        return;
    }
    int places = ptl_rows_count(rows[1]);
    if (places && ptl_row_i64(rows[1], 0, "uncounted") > 0 && x->rounds++ < COUNT_ROUNDS && !x->gone) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, x->attempt_id);
        ptl_args_i64(&a, COUNT_PIECES);
        if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_log_uncounted, &a, on_uncounted,
                            x) != 0)
            problem(x, NULL);
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < places; i++)
        json_array_append_new(list, json_pack("[I,I]", (json_int_t)ptl_row_i64(rows[1], i, "start_offset"),
                                              (json_int_t)ptl_row_i64(rows[1], i, "lines")));
    PTL_JSON *o =
        json_pack("{s:I,s:I,s:b,s:b,s:o}", "bytes", (json_int_t)ptl_row_i64(rows[0], 0, "log_bytes"),
                  "newlines", (json_int_t)(places ? ptl_row_i64(rows[1], 0, "total") : 0), "complete",
                  (int)ptl_row_bool(rows[0], 0, "log_complete"), "ended",
                  (int)!ptl_row_null(rows[0], 0, "ended_at"), "places", list);
    indexing_end(x);
    ptl_answer_json(q, 200, o);
}

static void ask_index(struct indexing *x)
{
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(x->q)));
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, x->attempt_id);
    ptl_batch_add(b, PTL_SQL_attempt_get, &a);
    ptl_args_init(&a);
    ptl_args_i64(&a, x->attempt_id);
    ptl_args_i64(&a, ptl_request_query_i64(x->q, "places", PLACES_DEFAULT, 1, PLACES_MAX));
    ptl_batch_add(b, PTL_SQL_log_index, &a);
    if (ptl_batch_run(b, on_index, x) != 0)
        problem(x, NULL);
}

static void on_index_gone(struct ptl_request *q)
{
    struct indexing *x = ptl_request_get(q);
    if (x)
        x->gone = true; /* no more counting; the late answer is dropped */
}

void ptl_on_get_log_index(struct ptl_request *q)
{
    struct indexing *x = ptl_xcalloc(1, sizeof(*x));
    *x = (struct indexing){.q = q, .attempt_id = ptl_request_param_id(q, "id")};
    ptl_request_set(q, x, on_index_gone);
    ask_index(x);
}

/* ---- models by targets by stages ---- */

enum { MATRIX_PROJECTS = 50, MATRIX_PROJECTS_MAX = 200, MATRIX_RUNS = 20, MATRIX_RUNS_MAX = 100 };

static void on_matrix(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    int n = ptl_rows_count(rows);
    bool full = n && ptl_row_i64(rows, 0, "projects") ==
                         ptl_request_query_i64(q, "limit", MATRIX_PROJECTS, 1, MATRIX_PROJECTS_MAX);
    const char *last = full ? ptl_row_str(rows, n - 1, "project") : NULL;
    PTL_JSON *o = json_pack("{s:o,s:s?}", "items", ptl_rows_array(rows), "next", last);
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_matrix(struct ptl_request *q)
{
    const char *confined = ptl_request_identity(q)->project, *after = ptl_request_query(q, "after"),
               *project = *confined ? confined : ptl_request_query(q, "project");
    if (ptl_request_query(q, "project") && !ptl_request_may_project(q, ptl_request_query(q, "project")))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, after ? after : "");
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", MATRIX_PROJECTS, 1, MATRIX_PROJECTS_MAX));
    ptl_args_str(&a, project);
    ptl_args_str(&a, ptl_request_query(q, "ref"));
    ptl_args_i64(&a, ptl_request_query_i64(q, "runs", MATRIX_RUNS, 1, MATRIX_RUNS_MAX));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_matrix, &a, on_matrix, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* ---- beside the last good one ---- */

static void on_compared(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (result == PTL_ABSENT)
        ptl_answer_problem(q, 404, "%s%s", err && *err->text ? err->text : "no run ",
                           err && *err->text ? "" : ptl_request_param(q, "id"));
    else
        ptl_answer_result(q, 200, result, answer, err);
}

void ptl_on_get_compare(struct ptl_request *q)
{
    const char *confined = ptl_request_identity(q)->project, *stage = ptl_request_query(q, "stage");
    ptl_core_compare(ptl_request_core(q), ptl_request_param_id(q, "id"),
                     ptl_request_query_i64(q, "with", 0, 0, INT64_MAX), stage && *stage ? stage : NULL,
                     *confined ? confined : NULL, on_compared, q);
}

/* ---- a delivery once more ---- */

static void on_replayed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 202, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no delivery %s", ptl_request_param(q, "id"));
        return;
    }
    if (ptl_row_null(rows, 0, "ref")) {
        ptl_answer_problem(q, 422, "delivery %s %s", ptl_request_param(q, "id"),
                           ptl_row_null(rows, 0, "pushes")
                               ? "was received before its pushes were kept; start a run of the ref instead"
                               : "told of no push, so there is nothing to do once more");
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < ptl_rows_count(rows); i++)
        json_array_append_new(list, json_pack("{s:s,s:o,s:s?}", "ref", ptl_row_str(rows, i, "ref"), "run_id",
                                              ptl_row_null(rows, i, "run_id")
                                                  ? json_null()
                                                  : json_integer(ptl_row_i64(rows, i, "run_id")),
                                              "outcome", ptl_row_str(rows, i, "outcome")));
    PTL_JSON *o = json_pack("{s:o}", "pushes", list);
    PTL_FREE char *object =
        ptl_xasprintf("project %s delivery %s", ptl_row_str(rows, 0, "project"), ptl_request_param(q, "id"));
    ptl_audit(q, "delivery.replay", object, o);
    ptl_answer_json(q, 202, o);
}

void ptl_on_post_replay(struct ptl_request *q)
{
    const struct ptl_identity *who = ptl_request_identity(q);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, *who->project ? who->project : NULL);
    ptl_args_str(&a, who->name);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_delivery_replay, &a, on_replayed, q) !=
        0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}
