/* routes_feedback.c - what people say of diagnoses, and an attempt with all that is known of its failure.
 * Loop thread. */
#include "body.h"
#include <stdio.h>

static const char *confined(struct ptl_request *q)
{
    const char *project = ptl_request_identity(q)->project;
    return *project ? project : NULL;
}

/* ---- a word */
static void refuse(struct ptl_request *q, const char *why)
{
    static const struct {
        const char *why;
        int status;
        const char *text;
    } words[] = {
        {"absent",        404, "no attempt %s"                                                                                  },
        {"not_failed",    409, "attempt %s did not fail: there is nothing to say of its diagnosis"                              },
        {"not_diagnosed", 409,
         "attempt %s has no diagnosis that could be confirmed: name the challenge (verdict 'correct'), or say 'not_a_challenge'"},
        {"no_challenge",  422,
         "body.challenge: no such node of the knowledge base (attempt %s); portolan kb list lists them"                         },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(words); i++)
        if (ptl_str_eq(words[i].why, why)) {
            char text[400];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(text, sizeof(text), words[i].text, ptl_request_param(q, "id"));
#pragma GCC diagnostic pop
            ptl_answer_problem(q, words[i].status, "%s", text);
            return;
        }
    ptl_answer_problem(q, 409, "attempt %s: %s", ptl_request_param(q, "id"), why);
}

static void on_said(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 201, err->code, NULL, err);
        return;
    }
    const char *why = ptl_row_str(rows, 0, "why");
    if (why) {
        refuse(q, why);
        return;
    }
    PTL_JSON *o = ptl_row_object(rows, 0);
    PTL_FREE char *object = ptl_xasprintf("attempt %s", ptl_request_param(q, "id"));
    PTL_JSON *detail = json_pack("{s:O,s:O,s:O,s:O}", "feedback_id", json_object_get(o, "id"), "verdict",
                                 json_object_get(o, "verdict"), "challenge",
                                 json_object_get(o, "challenge_id"), "said", json_object_get(o, "said_id"));
    json_object_del(o, "why");
    ptl_audit(q, "feedback.add", object, detail);
    ptl_answer_json(q, 201, o);
}

void ptl_on_post_feedback(struct ptl_request *q)
{
    static const char *const keys[] = {"verdict", "challenge", "comment", NULL};
    static const char *const verdicts[] = {"confirm", "correct", "not_a_challenge", NULL};
    const json_t *b = ptl_request_json(q);
    const char *verdict, *challenge, *comment;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "verdict", true, 20, &verdict) ||
        !ptl_body_text(q, b, "challenge", false, 200, &challenge) ||
        !ptl_body_text(q, b, "comment", false, 4000, &comment))
        return;
    bool known = false;
    for (size_t i = 0; verdicts[i]; i++)
        known |= ptl_str_eq(verdicts[i], verdict);
    if (!known) {
        ptl_answer_problem(q, 422, "body.verdict: '%s' is none of confirm, correct, not_a_challenge",
                           verdict);
        return;
    }
    if (ptl_str_eq(verdict, "correct") != (challenge != NULL)) {
        ptl_answer_problem(q, 422, "body.challenge: %s",
                           challenge ? "only verdict 'correct' names one"
                                     : "verdict 'correct' needs the id of the right node");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, verdict);
    ptl_args_str(&a, challenge);
    ptl_args_str(&a, comment);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, confined(q));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_feedback_add, &a, on_said, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

void ptl_on_delete_feedback(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, confined(q));
    ptl_write_one(q, PTL_SQL_feedback_undo, &a,
                  (struct ptl_writing){.action = "feedback.undo",
                                       .object = ptl_xasprintf("feedback %s", ptl_request_param(q, "id")),
                                       .absent = "there is no such feedback, or it was undone before"});
}

/* ---- an attempt */
enum { CASES_SHOWN = 3, WORDS_SHOWN = 20 };

static void on_attempt(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                       const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows[0]) == 0) {
        ptl_answer_problem(q, 404, "no attempt %s", ptl_request_param(q, "id"));
        return;
    }
    if (!ptl_request_may_project(q, ptl_row_str(rows[0], 0, "project")))
        return;
    PTL_JSON *o = ptl_row_object(rows[0], 0);
    json_object_set_new(o, "feedback", ptl_rows_array(rows[1]));
    json_object_set_new(o, "known_cases", ptl_rows_array(rows[2]));
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_attempt(struct ptl_request *q)
{
    static const enum ptl_sql statements[] = {PTL_SQL_attempt_get, PTL_SQL_feedback_list,
                                              PTL_SQL_attempt_known_cases};
    static const int64_t limits[] = {0, WORDS_SHOWN, CASES_SHOWN};
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(q)));
    for (size_t i = 0; i < PTL_ARRAY_LEN(statements); i++) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, ptl_request_param_id(q, "id"));
        if (limits[i])
            ptl_args_i64(&a, limits[i]);
        ptl_batch_add(b, statements[i], &a);
    }
    if (ptl_batch_run(b, on_attempt, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* ---- history under the knowledge in force */
/* How many failures there are in all is not for a token that sees one project. */
static json_t *job_shown(struct ptl_request *q, const json_t *job)
{
    static const char *const counts[] = {"total", "done", "changed", "kept"};
    json_t *o = json_copy((json_t *)job);
    json_object_set_new(o, "state",
                        json_string(ptl_json_flag(job, "superseded", false) ? "superseded"
                                    : ptl_json_str(job, "ended_at", NULL)   ? "done"
                                                                            : "running"));
    json_object_del(o, "superseded");
    for (size_t i = 0; confined(q) && i < PTL_ARRAY_LEN(counts); i++)
        json_object_set_new(o, counts[i], json_null());
    return o;
}

static void on_apply_asked(void *ctx, int result, const json_t *job, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (result != 0) {
        ptl_answer_result(q, 202, result, NULL, err);
        return;
    }
    PTL_JSON *body = json_pack("{s:o}", "job", job_shown(q, job));
    PTL_FREE char *object = ptl_xasprintf("knowledge %.12s", ptl_json_str(job, "kb", "?"));
    ptl_audit(q, "kb.apply", object, NULL);
    ptl_answer_json(q, 202, body);
}

void ptl_on_post_kb_apply(struct ptl_request *q)
{
    if (confined(q))
        ptl_answer_problem(
            q, 403, "a token that is confined to one project cannot have the history of all labelled anew");
    else
        ptl_core_kb_apply(ptl_request_core(q), ptl_request_identity(q)->name, on_apply_asked, q);
}

static void on_apply(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    PTL_JSON *row = ptl_rows_count(rows) ? ptl_row_object(rows, 0) : NULL;
    PTL_JSON *o =
        row ? job_shown(q, row)
            : json_pack("{s:s,s:i,s:i,s:i,s:n}", "state", "none", "total", 0, "done", 0, "changed", 0, "kb");
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_kb_apply(struct ptl_request *q)
{
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_kb_apply_get, NULL, on_apply, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}
