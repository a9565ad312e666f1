/* routes_preflight.c - what pre-flight found for a run. */
#include "rows.h"

static void on_preflight(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                         const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows[0]) == 0) {
        ptl_answer_no_run(q);
        return;
    }
    if (!ptl_request_may_project(q, ptl_row_str(rows[0], 0, "project")))
        return;
    PTL_JSON *body = json_pack("{s:o,s:n,s:o}", "items", ptl_rows_array(rows[1]), "next", "looks",
                               ptl_rows_array(rows[2]));
    ptl_answer_json(q, 200, body);
}

void ptl_on_get_preflight(struct ptl_request *q)
{
    static const enum ptl_sql statements[] = {PTL_SQL_run_get, PTL_SQL_preflight_list,
                                              PTL_SQL_preflight_looks};
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(q)));
    for (size_t i = 0; i < PTL_ARRAY_LEN(statements); i++) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, ptl_request_param_id(q, "id"));
        ptl_batch_add(b, statements[i], &a);
    }
    if (ptl_batch_run(b, on_preflight, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}
