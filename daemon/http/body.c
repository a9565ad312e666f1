/* body.c - what handlers that change something share: reading a body's members, and the one statement whose
 * first row is the answer. Loop thread. */
#include "body.h"

static void on_written(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_writing *w = ctx;
    struct ptl_request *q = w->q;
    if (err) {
        if (ptl_store_error_is_conflict(err))
            ptl_answer_problem(q, 409, "%s exists already", w->object);
        else
            ptl_answer_result(q, w->status, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, w->absent_status, "%s", w->absent ? w->absent : "there is no such thing here");
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        if (w->extra)
            json_object_update(o, w->extra);
        if (w->action)
            ptl_audit(q, w->action, w->object, NULL);
        if (w->forget_tokens)
            ptl_auth_forget(ptl_request_server(q));
        ptl_answer_json(q, w->status, o);
    }
    free(w->object);
    json_decref(w->extra);
    free(w);
}

void ptl_write_one(struct ptl_request *q, enum ptl_sql sql, struct ptl_args *a, struct ptl_writing like)
{
    struct ptl_writing *w = ptl_xcalloc(1, sizeof(*w));
    *w = like;
    w->q = q;
    if (!w->status)
        w->status = 200;
    if (!w->absent_status)
        w->absent_status = 404;
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), sql, a, on_written, w) != 0) {
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
        free(w->object);
        json_decref(w->extra);
        free(w);
    }
}

/* Members that the body may have; others are refused with the nearest right one. */
bool ptl_body_only(struct ptl_request *q, const json_t *body, const char *const *keys)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)body, key, v)
    {
        (void)v;
        bool known = false;
        for (size_t i = 0; keys[i]; i++)
            known |= ptl_str_eq(keys[i], key);
        if (!known) {
            const char *near = ptl_str_nearest(key, keys);
            ptl_answer_problem(q, 422, "body.%.60s: not known here%s%s%s", key,
                               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
            return false;
        }
    }
    return true;
}

bool ptl_body_text(struct ptl_request *q, const json_t *body, const char *key, bool required, size_t max,
                   const char **ret)
{
    const json_t *v = json_object_get(body, key);
    *ret = json_string_value(v);
    if ((!v || json_is_null(v)) && !required)
        return true;
    if (!*ret || !**ret || strlen(*ret) > max) {
        ptl_answer_problem(q, 422, "body.%s: expected a text of 1 to %zu bytes", key, max);
        return false;
    }
    return true;
}

bool ptl_body_texts(struct ptl_request *q, const json_t *body, const char *key, const char **ret, size_t max,
                    size_t *n)
{
    const json_t *v = json_object_get(body, key);
    size_t i;
    json_t *e;
    *n = 0;
    if (!v || json_is_null(v))
        return true;
    bool fine = json_is_array(v) && json_array_size(v) <= max;
    json_array_foreach((json_t *)v, i,
                       e) if (fine && (fine = json_is_string(e) && json_string_length(e) <= 200))
        ret[(*n)++] = json_string_value(e);
    if (!fine)
        ptl_answer_problem(q, 422, "body.%s: expected an array of at most %zu texts", key, max);
    return fine;
}
