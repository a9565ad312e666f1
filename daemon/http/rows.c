/* rows.c - lists as answers. */
#include "rows.h"

void ptl_answer_busy(struct ptl_request *q)
{
    ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

const char *ptl_request_confined(struct ptl_request *q)
{
    const char *project = ptl_request_identity(q)->project;
    return *project ? project : NULL;
}

void ptl_ask(struct ptl_request *q, enum ptl_sql sql, struct ptl_args *a, ptl_rows_fn *fn)
{
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), sql, a, fn, q) != 0)
        ptl_answer_busy(q);
}

bool ptl_rows_failed(struct ptl_request *q, const struct ptl_error *err)
{
    if (err)
        ptl_answer_result(q, 200, err->code, NULL, err);
    return err != NULL;
}

bool ptl_rows_may_attempt(struct ptl_request *q, const struct ptl_rows *rows, const struct ptl_error *err)
{
    if (ptl_rows_failed(q, err))
        return false;
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no attempt %s", ptl_request_param(q, "id"));
        return false;
    }
    return ptl_request_may_project(q, ptl_row_str(rows, 0, "project"));
}

void ptl_on_items(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    PTL_JSON *body = json_pack("{s:o,s:n}", "items", ptl_rows_array(rows), "next");
    ptl_answer_json(q, 200, body);
}

void ptl_answer_page(struct ptl_request *q, json_t *items, const char *cursor, size_t limit)
{
    json_t *next = json_null();
    if (json_array_size(items) > limit) {
        json_array_remove(items, limit);
        if (cursor)
            next = json_incref(json_object_get(json_array_get(items, limit - 1), cursor));
    }
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    ptl_answer_json(q, 200, body);
}

static void on_dropped(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    const char *id = ptl_request_param(q, "id");
    if (ptl_rows_failed(q, err))
        return;
    if (ptl_rows_count(rows) == 0)
        ptl_answer_problem(q, 404, "no run %s", id);
    else if (ptl_request_may_project(q, ptl_row_str(rows, 0, "project")))
        ptl_answer_problem(q, 404, "no run %s: the push of %s to project %s starts none: %s", id,
                           ptl_row_str(rows, 0, "ref"), ptl_row_str(rows, 0, "project"),
                           ptl_row_str(rows, 0, "outcome"));
}

void ptl_answer_no_run(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_ask(q, PTL_SQL_run_dropped, &a, on_dropped);
}
