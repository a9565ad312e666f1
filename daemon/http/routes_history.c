/* routes_history.c - of the past: what is similar, what turned stages green, trends, saved searches. The
 * search itself is in routes_failures.c. */
#include "body.h"
#include "rows.h"
#include "failure_filter.h"
#include <portolan/clock.h>
#include <stdio.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 500 };

/* ---- what belongs to an attempt: its project decides whether a confined token may see it */
struct of_attempt {
    enum ptl_sql sql;
    ptl_rows_fn *fn;
};

static void on_of_attempt(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                          const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    const struct of_attempt *o = ptl_request_get(q);
    if (ptl_rows_may_attempt(q, rows ? rows[0] : NULL, err))
        o->fn(q, rows[1], NULL);
}

/* Whose attempt it is and what is asked of it go out together: one way to the database and back, and what
 * the token may not see is not answered. */
static void ask_attempt(struct ptl_request *q, const struct of_attempt *o)
{
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(q)));
    struct ptl_args a;
    ptl_request_set(q, (void *)(uintptr_t)o, NULL);
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_batch_add(b, PTL_SQL_attempt_run, &a);
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (o->sql != PTL_SQL_failure_get) {
        ptl_args_str(&a, ptl_request_confined(q));
        ptl_args_i64(&a, ptl_request_query_i64(q, "limit", 20, 1, 100));
    }
    ptl_batch_add(b, o->sql, &a);
    if (ptl_batch_run(b, on_of_attempt, q) != 0)
        ptl_answer_busy(q);
}

static void on_failure(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "attempt %s is no failure: it went well, was cancelled, or still runs",
                           ptl_request_param(q, "id"));
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        ptl_answer_json(q, 200, o);
    }
}

void ptl_on_get_failure(struct ptl_request *q)
{
    static const struct of_attempt one = {PTL_SQL_failure_get, on_failure};
    ask_attempt(q, &one);
}

/* Why one failure is like another, in words. */
static json_t *why_similar(const json_t *o)
{
    json_t *why = json_array();
    double line = ptl_json_num(o, "line", 0), lines = ptl_json_num(o, "lines", 0);
    if (ptl_json_flag(o, "same_print", false))
        json_array_append_new(why,
                              json_string("the lines that say most are the same but for names and numbers"));
    else if (line >= 0.995)
        json_array_append_new(why, json_string("its best line is the same but for names and numbers"));
    else if (line > 0)
        json_array_append_new(why, json_sprintf("its best line is %.0f %% alike", line * 100));
    if (!ptl_json_flag(o, "same_print", false) && lines > 0)
        json_array_append_new(why,
                              json_sprintf("about %.0f %% of the words quoted are the same", lines * 100));
    if (ptl_json_flag(o, "same_challenge", false))
        json_array_append_new(
            why, json_sprintf("same challenge: %s",
                              ptl_json_str(o, "challenge_path", ptl_json_str(o, "challenge_id", "?"))));
    if (ptl_json_flag(o, "same_operator", false))
        json_array_append_new(why, json_sprintf("same operator: %s", ptl_json_str(o, "operator", "?")));
    if (ptl_json_flag(o, "same_tool", false))
        json_array_append_new(why, json_sprintf("same tool: %s", ptl_json_str(o, "tool", "?")));
    if (ptl_json_flag(o, "same_project", false))
        json_array_append_new(why, json_string("same project"));
    return why;
}

static void on_similar(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    static const char *const inner[] = {"line",      "lines",          "same_print",  "same_operator",
                                        "same_tool", "same_challenge", "same_project"};
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    json_t *items = json_array(), *groups = json_array(), *group = NULL;
    int64_t of = -1;
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        json_t *o = ptl_row_object(rows, i);
        int64_t template = ptl_json_i64(o, "template_id", 0);
        json_object_set_new(o, "why", why_similar(o));
        for (size_t k = 0; k < PTL_ARRAY_LEN(inner); k++)
            json_object_del(o, inner[k]);
        if (template != of || !group) {
            group = json_pack("{s:I,s:O,s:O,s:i,s:i}", "template_id", (json_int_t) template, "template",
                              json_object_get(o, "template"), "score", json_object_get(o, "score"), "shown",
                              0, "resolved", 0);
            json_array_append_new(groups, group);
            of = template;
        }
        json_object_set_new(group, "shown", json_integer(ptl_json_i64(group, "shown", 0) + 1));
        if (ptl_json_str(o, "resolved_at", NULL))
            json_object_set_new(group, "resolved", json_integer(ptl_json_i64(group, "resolved", 0) + 1));
        json_array_append_new(items, o);
    }
    PTL_JSON *body = json_pack("{s:o,s:o,s:n}", "items", items, "groups", groups, "next");
    ptl_answer_json(q, 200, body);
}

void ptl_on_get_similar(struct ptl_request *q)
{
    static const struct of_attempt similar = {PTL_SQL_failure_similar, on_similar};
    ask_attempt(q, &similar);
}

/* ---- saved searches */
void ptl_on_post_saved_query(struct ptl_request *q)
{
    static const char *const keys[] = {"name", "query", "shared", NULL};
    const json_t *body = ptl_request_json(q);
    const char *name, *query;
    if (!body || !ptl_body_only(q, body, keys) || !ptl_body_text(q, body, "name", true, 100, &name) ||
        !ptl_body_text(q, body, "query", true, 4000, &query))
        return;
    if (strpbrk(query, " \t\r\n#")) {
        ptl_answer_problem(
            q, 422,
            "body.query: expected the filters as they stand in a URL, as challenge=mobile&q=unsupported");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, ptl_request_confined(q));
    ptl_args_str(&a, name);
    ptl_args_str(&a, *query == '?' ? query + 1 : query);
    ptl_args_bool(&a, ptl_json_flag(body, "shared", false));
    ptl_write_one(
        q, PTL_SQL_saved_query_put, &a,
        (struct ptl_writing){.status = 201,
                             .action = "query.save",
                             .object = ptl_xasprintf("query %s", name),
                             .absent = "200 searches are saved under this name already; delete one first",
                             .absent_status = 409});
}

void ptl_on_delete_saved_query(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_write_one(q, PTL_SQL_saved_query_delete, &a,
                  (struct ptl_writing){.action = "query.delete",
                                       .object = ptl_xasprintf("query %s", ptl_request_param(q, "id")),
                                       .absent = "no such saved search of yours"});
}

void ptl_on_get_saved_queries(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, ptl_request_confined(q));
    ptl_ask(q, PTL_SQL_saved_query_list, &a, ptl_on_items);
}

/* ---- what turned it green */
static const char *const resolution_states[] = {"candidate", "confirmed", "rejected", NULL};

void ptl_on_get_attempt_resolutions(struct ptl_request *q)
{
    static const struct of_attempt resolutions = {PTL_SQL_resolution_of, ptl_on_items};
    ask_attempt(q, &resolutions);
}

static void on_resolutions(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    size_t limit = (size_t)ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX);
    if (ptl_rows_failed(q, err))
        return;
    PTL_JSON *items = ptl_rows_array(rows);
    ptl_answer_page(q, items, "id", limit);
}

static bool one_of(const char *const *choices, const char *value)
{
    for (size_t i = 0; choices[i]; i++)
        if (ptl_str_eq(choices[i], value))
            return true;
    return false;
}

/* A parameter that is there and says something: as in a search, an empty one is none. */
static const char *asked_for(struct ptl_request *q, const char *name)
{
    const char *value = ptl_request_query(q, name);
    return value && *value ? value : NULL;
}

/* The project to look at: the token's, else the query's. False: answered. */
static bool project_of(struct ptl_request *q, const char **ret)
{
    const char *asked = asked_for(q, "project");
    if (asked && !ptl_request_may_project(q, asked))
        return false;
    *ret = ptl_request_confined(q) ? ptl_request_confined(q) : asked;
    return true;
}

void ptl_on_get_resolutions(struct ptl_request *q)
{
    const char *project, *state = asked_for(q, "state");
    if (!project_of(q, &project))
        return;
    if (state && !one_of(resolution_states, state)) {
        ptl_answer_problem(q, 422, "state: expected candidate, confirmed or rejected; got '%.60s'", state);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_str(&a, asked_for(q, "challenge"));
    ptl_args_str(&a, state);
    ptl_args_i64(&a, ptl_request_query_i64(q, "before", 0, 0, INT64_MAX));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX) + 1);
    ptl_ask(q, PTL_SQL_resolution_list, &a, on_resolutions);
}

static void on_resolution(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no resolution %s", ptl_request_param(q, "id"));
    } else if (ptl_request_may_project(q, ptl_row_str(rows, 0, "project"))) {
        PTL_JSON *o = ptl_row_object(rows, 0);
        ptl_answer_json(q, 200, o);
    }
}

void ptl_on_get_resolution(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_ask(q, PTL_SQL_resolution_get, &a, on_resolution);
}

void ptl_on_patch_resolution(struct ptl_request *q)
{
    static const char *const keys[] = {"state", "note", NULL};
    const json_t *body = ptl_request_json(q);
    const char *state, *note = NULL;
    if (!body || !ptl_body_only(q, body, keys) || !ptl_body_text(q, body, "state", false, 20, &state))
        return;
    const json_t *said = json_object_get(body, "note");
    bool empty = json_is_string(said) && !*json_string_value(said);
    if (!empty && !ptl_body_text(q, body, "note", false, 4000, &note))
        return;
    if (state && !one_of(resolution_states, state)) {
        ptl_answer_problem(q, 422, "body.state: expected confirmed, rejected or candidate; got '%.60s'",
                           state);
        return;
    }
    if (!state && !said) {
        ptl_answer_problem(q, 422, "body: expected a state, a note, or both");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, state);
    ptl_args_bool(&a, said != NULL);
    ptl_args_str(&a, note);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, ptl_request_confined(q));
    ptl_write_one(q, PTL_SQL_resolution_decide, &a,
                  (struct ptl_writing){.action = state ? ptl_str_eq(state, "confirmed") ? "resolution.confirm"
                                                         : ptl_str_eq(state, "rejected") ? "resolution.reject"
                                                                                         : "resolution.reopen"
                                                       : "resolution.note",
                                       .object = ptl_xasprintf("resolution %s", ptl_request_param(q, "id")),
                                       .absent = "there is no such resolution"});
}

/* ---- trends */
/* So that no answer has more than some 15000 points. */
enum { TREND_DAYS_MAX = 100, TREND_WEEKS_MAX = 400, TREND_MONTHS_MAX = 3700 /* all in days */ };

void ptl_on_get_trends(struct ptl_request *q)
{
    static const char *const bys[] = {"challenge", "category", NULL}, *const intervals[] = {"day", "week",
                                                                                            "month", NULL};
    const char *project, *by = asked_for(q, "by"), *interval = asked_for(q, "interval"),
                         *since = asked_for(q, "since"), *until = asked_for(q, "until");
    char from[40], to[40] = "";
    struct ptl_error err = PTL_ERROR_INIT;
    int64_t now = ptl_wall_ms();
    if (!project_of(q, &project))
        return;
    by = by ? by : "challenge";
    interval = interval ? interval : "week";
    if (!one_of(bys, by) || !one_of(intervals, interval)) {
        ptl_answer_problem(q, 422, "expected by=challenge|category and interval=day|week|month");
        return;
    }
    if (ptl_failure_time(since ? since : "90d", "since", now, from, &err) < 0 ||
        (until && ptl_failure_time(until, "until", now, to, &err) < 0)) {
        ptl_answer_problem(q, 422, "%s", err.text);
        return;
    }
    char oldest[32];
    int days = ptl_str_eq(interval, "day")    ? TREND_DAYS_MAX
               : ptl_str_eq(interval, "week") ? TREND_WEEKS_MAX
                                              : TREND_MONTHS_MAX;
    ptl_wall_rfc3339(now - (int64_t)days * 86400000, oldest);
    if (strcmp(from, oldest) < 0) {
        ptl_answer_problem(
            q, 422, "since: %.10s is too long ago for interval=%s; at most since %.10s, or a longer interval",
            from, interval, oldest);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_bool(&a, ptl_str_eq(by, "category"));
    ptl_args_str(&a, interval);
    ptl_args_str(&a, from);
    ptl_args_str(&a, *to ? to : NULL);
    ptl_ask(q, PTL_SQL_trend, &a, ptl_on_items);
}

void ptl_on_get_trend_operators(struct ptl_request *q)
{
    const char *project;
    if (!project_of(q, &project))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_str(&a, asked_for(q, "platform"));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX));
    ptl_ask(q, PTL_SQL_trend_operators, &a, ptl_on_items);
}

void ptl_on_get_trend_toolchains(struct ptl_request *q)
{
    const char *project;
    if (!project_of(q, &project))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX));
    ptl_ask(q, PTL_SQL_trend_toolchains, &a, ptl_on_items);
}
