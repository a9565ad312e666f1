/* routes_risk.c - the future and who takes it: risk of stages, the board, assignments, people. What can be
 * refused is refused by the statements themselves, in words; here the body is read, the right is checked and
 * the answer is the thing as it now is. Loop thread. */
#include "body.h"
#include <portolan/clock.h>
#include <math.h>
#include <stdio.h>

enum { BOARD_DEFAULT = 50, BOARD_MAX = 200, TEXT_MAX = 4000 };

static const char *confined(struct ptl_request *q)
{
    const char *p = ptl_request_identity(q)->project;
    return *p ? p : NULL;
}

static bool manages(struct ptl_request *q)
{
    return ptl_request_identity(q)->may & (PTL_MAY_MANAGE | PTL_MAY_ADMIN);
}

static void busy(struct ptl_request *q)
{
    ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* A token of one project does not learn how others fare: counts over all projects are theirs too. */
static void cover(struct ptl_request *q, json_t *risk)
{
    static const char *const own[] = {"paper", "project", "bound", "diff_unknown", "hours", "failed"};
    size_t i;
    json_t *t;
    if (!confined(q))
        return;
    json_array_foreach(json_object_get(risk, "terms"), i, t)
    {
        bool fine = false;
        for (size_t k = 0; k < PTL_ARRAY_LEN(own); k++)
            fine |= ptl_str_eq(own[k], ptl_json_str(t, "name", ""));
        const char *what = ptl_json_str(t, "what", NULL);
        if (!fine && what)
            json_object_set_new(
                t, "why",
                json_sprintf("%s (weighed by counts over all projects, which a token of one is not shown)",
                             what));
        else if (!fine)
            json_object_set_new(
                t, "why",
                json_string(
                    "weighed over all projects of this installation; a token of one project is not shown the counts"));
    }
    json_object_del(risk, "bits");
}

/* ---- risk ---- */

static void answer_risk(struct ptl_request *q, json_t *o)
{
    json_t *risk = json_object_get(o, "risk");
    cover(q, risk);
    static const char *const up[] = {"terms", "likely", "facts"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(up); i++) {
        json_t *v = json_object_get(risk, up[i]);
        json_object_set_new(o, up[i], v ? json_incref(v) : i < 2 ? json_array() : json_null());
    }
    json_object_del(o, "risk");
}

static void on_stage_risk(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    bool one = ptl_str_starts(ptl_request_pattern(q), "/api/v1/stages");
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no %s %s", one ? "stage" : "run with stages", ptl_request_param(q, "id"));
        return;
    }
    if (!ptl_request_may_project(q, ptl_row_str(rows, 0, "project")))
        return;
    PTL_JSON *items = ptl_rows_array(rows);
    size_t i;
    json_t *o;
    json_array_foreach(items, i, o) answer_risk(q, o);
    PTL_JSON *list =
        one ? json_incref(json_array_get(items, 0)) : json_pack("{s:O,s:n}", "items", items, "next");
    ptl_answer_json(q, 200, list);
}

void ptl_on_get_risk(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)),
                        ptl_str_starts(ptl_request_pattern(q), "/api/v1/stages") ? PTL_SQL_stage_risk
                                                                                 : PTL_SQL_run_risk,
                        &a, on_stage_risk, q) != 0)
        busy(q);
}

void ptl_on_get_backtest(struct ptl_request *q)
{
    const char *project = confined(q) ? confined(q) : ptl_request_query(q, "project");
    ptl_core_risk_backtest(ptl_request_core(q), project, ptl_answer_core, q);
}

/* ---- the board ---- */

static void on_board(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    size_t limit = (size_t)ptl_request_query_i64(q, "limit", BOARD_DEFAULT, 1, BOARD_MAX), i;
    PTL_JSON *items = ptl_rows_array(rows);
    json_t *o, *next = json_null();
    if (json_array_size(items) > limit) {
        json_array_remove(items, json_array_size(items) - 1);
        o = json_array_get(items, json_array_size(items) - 1);
        next =
            json_sprintf("%.17g:%lld", ptl_json_num(o, "key", 0), (long long)ptl_json_i64(o, "stage_id", 0));
    }
    json_array_foreach(items, i, o)
    {
        json_object_del(o, "key");
        cover(q, json_object_get(o, "risk"));
    }
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    ptl_answer_json(q, 200, body);
}

static bool one_of(struct ptl_request *q, const char *name, const char *value, const char *const *words)
{
    PTL_BUF list = PTL_BUF_MAX(400);
    for (size_t i = 0; words[i]; i++) {
        if (!value || ptl_str_eq(value, words[i]))
            return true;
        ptl_buf_printf(&list, "%s%s", i ? ", " : "", words[i]);
    }
    ptl_answer_problem(q, 422, "%s: '%.60s' is none of %s", name, value, ptl_buf_str(&list));
    return false;
}

void ptl_on_get_board(struct ptl_request *q)
{
    static const char *const sorts[] = {"risk", "due", "age", NULL},
                             *const hosts[] = {"server", "mobile", "browser", NULL},
                             *const states[] = {"upcoming", "running", "red",     "waiting",
                                                "gated",    "queued",  "claimed", NULL};
    const char *sort = ptl_request_query(q, "sort"), *state = ptl_request_query(q, "state"),
               *host = ptl_request_query(q, "host"), *min = ptl_request_query(q, "min_risk"),
               *after = ptl_request_query(q, "after");
    char *end = NULL;
    double least = min ? strtod(min, &end) : 0, key = 0;
    if (!one_of(q, "sort", sort, sorts) || !one_of(q, "state", state, states) ||
        !one_of(q, "host", host, hosts))
        return;
    if (min && (end == min || *end || !(least >= 0 && least <= 1))) {
        ptl_answer_problem(q, 422, "min_risk: expected a number from 0 to 1");
        return;
    }
    long long id = 0;
    if (after && (sscanf(after, "%lf:%lld", &key, &id) != 2 || !isfinite(key) || id <= 0)) {
        ptl_answer_problem(q, 422, "after: expected the `next` of an earlier page");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_query(q, "project"));
    ptl_args_str(&a, host);
    ptl_args_str(&a, ptl_request_query(q, "target"));
    ptl_args_str(&a, ptl_request_query(q, "person"));
    ptl_args_str(&a, state);
    ptl_args_f64(&a, least);
    ptl_args_str(&a, sort ? sort : "risk");
    if (after)
        ptl_args_f64(&a, key);
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, id);
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", BOARD_DEFAULT, 1, BOARD_MAX) + 1);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, confined(q));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_board, &a, on_board, q) != 0)
        busy(q);
}

/* ---- writing, then answering with what is there now ---- */

struct doing {
    struct ptl_request *q;
    int status;
    const char *action;
    char *object;
    enum ptl_sql then; /* reads the thing by its id, or the person by `name` */
    char *name;
    json_t *detail;
};

static void doing_free(struct doing *d)
{
    free(d->object);
    free(d->name);
    json_decref(d->detail);
    free(d);
}

static void on_there(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct doing *d = ctx;
    if (err) {
        ptl_answer_result(d->q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(d->q, 404, "it was changed, and is not there for you to see");
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        ptl_answer_json(d->q, d->status, o);
    }
    doing_free(d);
}

static void read_assignment(struct ptl_request *q, struct ptl_args *a, int64_t id)
{
    ptl_args_init(a);
    ptl_args_i64(a, id);
    ptl_args_str(a, confined(q));
    ptl_args_str(a, ptl_request_identity(q)->name);
}

static void read_person(struct ptl_request *q, struct ptl_args *a, const char *name)
{
    ptl_args_init(a);
    ptl_args_str(a, "");
    ptl_args_i64(a, 1);
    ptl_args_str(a, confined(q));
    ptl_args_bool(a, manages(q));
    ptl_args_str(a, name);
}

static void on_done(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct doing *d = ctx;
    struct ptl_args a;
    if (err) {
        ptl_answer_result(d->q, 200, err->code, NULL, err);
        doing_free(d);
        return;
    }
    if (d->action)
        ptl_audit(d->q, d->action, d->object, d->detail);
    if (d->then == PTL_SQL_person_list)
        read_person(d->q, &a, d->name);
    else
        read_assignment(d->q, &a, ptl_rows_count(rows) ? ptl_row_i64(rows, 0, "id") : 0);
    if (ptl_store_query(ptl_core_store(ptl_request_core(d->q)), d->then, &a, on_there, d) != 0) {
        busy(d->q);
        doing_free(d);
    }
}

static void do_it(struct ptl_request *q, enum ptl_sql sql, struct ptl_args *a, struct doing like)
{
    struct doing *d = ptl_xcalloc(1, sizeof(*d));
    *d = like;
    d->q = q;
    if (!d->status)
        d->status = 200;
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), sql, a, on_done, d) != 0) {
        busy(q);
        doing_free(d);
    }
}

/* ---- assignments ---- */

static bool body_time(struct ptl_request *q, const json_t *b, const char *key, const char **ret)
{
    struct tm tm = {0};
    if (!ptl_body_text(q, b, key, false, 40, ret))
        return false;
    if (!*ret)
        return true;
    const char *end = strptime(*ret, "%Y-%m-%dT%H:%M:%S", &tm);
    if (end && *end == '.')
        end += 1 + strspn(end + 1, "0123456789");
    if (end && (ptl_str_eq(end, "Z") || (strchr("+-", *end) && strlen(end) == 6 && end[3] == ':' &&
                                         strspn(end + 1, "0123456789:") == 5)))
        return true;
    ptl_answer_problem(q, 422, "body.%s: '%.40s': expected a time such as 2026-12-24T17:00:00Z", key, *ret);
    return false;
}

static bool body_id(struct ptl_request *q, const json_t *b, const char *key, int64_t *ret)
{
    const json_t *v = json_object_get(b, key);
    *ret = json_integer_value(v);
    if (!v || json_is_null(v))
        return true;
    if (!json_is_integer(v) || *ret <= 0) {
        ptl_answer_problem(q, 422, "body.%s: expected an id, a whole number above 0", key);
        return false;
    }
    return true;
}

static void args_id(struct ptl_args *a, int64_t id)
{
    if (id > 0)
        ptl_args_i64(a, id);
    else
        ptl_args_null(a);
}

void ptl_on_post_assignment(struct ptl_request *q)
{
    static const char *const keys[] = {"stage_id", "attempt_id", "person", "due_at", "comment", NULL};
    const json_t *b = ptl_request_json(q);
    int64_t stage, attempt;
    const char *person, *due, *comment;
    if (!b || !ptl_body_only(q, b, keys) || !body_id(q, b, "stage_id", &stage) ||
        !body_id(q, b, "attempt_id", &attempt) || !ptl_body_text(q, b, "person", false, 63, &person) ||
        !body_time(q, b, "due_at", &due) || !ptl_body_text(q, b, "comment", false, TEXT_MAX, &comment))
        return;
    if (!stage == !attempt) {
        ptl_answer_problem(q, 422, "body: expected stage_id or attempt_id, one of the two");
        return;
    }
    if (ptl_str_eq(person, "me"))
        person = NULL;
    if (person && !manages(q)) {
        ptl_answer_problem(
            q, 403,
            "giving things to others takes role manager or admin; leave person out to take it yourself");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    args_id(&a, stage);
    args_id(&a, attempt);
    ptl_args_str(&a, person);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, due);
    ptl_args_str(&a, comment);
    ptl_args_str(&a, confined(q));
    do_it(q, PTL_SQL_assignment_give, &a,
          (struct doing){.status = 201,
                         .then = PTL_SQL_assignment_get,
                         .action = person ? "assignment.give" : "assignment.take",
                         .object = ptl_xasprintf("%s %lld", stage ? "stage" : "attempt",
                                                 (long long)(stage ? stage : attempt)),
                         .detail = json_deep_copy(b)});
}

void ptl_on_patch_assignment(struct ptl_request *q)
{
    static const char *const keys[] = {"action", "person", "due_at", "comment", NULL},
                             *const actions[] = {"reassign", "take", "hand_back", "done", "due", NULL};
    const json_t *b = ptl_request_json(q);
    const char *action, *person, *due, *comment;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "action", false, 20, &action) ||
        !ptl_body_text(q, b, "person", false, 63, &person) || !body_time(q, b, "due_at", &due) ||
        !ptl_body_text(q, b, "comment", false, TEXT_MAX, &comment) ||
        !one_of(q, "body.action", action, actions))
        return;
    if (!action && !json_object_get(b, "due_at")) {
        ptl_answer_problem(q, 422,
                           "body.action: expected reassign, take, hand_back, done, or a due_at alone");
        return;
    }
    if (ptl_str_eq(action, "reassign") && !person) {
        ptl_answer_problem(q, 422, "body.person: expected the handle of whoever is to have it");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, action ? action : "due");
    ptl_args_str(&a, person);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, due);
    ptl_args_str(&a, comment);
    ptl_args_bool(&a, manages(q));
    ptl_args_str(&a, confined(q));
    do_it(q, PTL_SQL_assignment_change, &a,
          (struct doing){.then = PTL_SQL_assignment_get,
                         .action = "assignment.change",
                         .object = ptl_xasprintf("assignment %s", ptl_request_param(q, "id")),
                         .detail = json_deep_copy(b)});
}

static void on_list(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    size_t limit = (size_t)ptl_request_query_i64(q, "limit", BOARD_DEFAULT, 1, 500);
    bool people = ptl_str_ends(ptl_request_pattern(q), "/people");
    PTL_JSON *items = ptl_rows_array(rows);
    json_t *next = json_null();
    if (json_array_size(items) > limit) {
        json_array_remove(items, json_array_size(items) - 1);
        next = json_incref(
            json_object_get(json_array_get(items, json_array_size(items) - 1), people ? "name" : "id"));
    }
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    ptl_answer_json(q, 200, body);
}

void ptl_on_get_assignments(struct ptl_request *q)
{
    static const char *const states[] = {"open", "assigned", "taken", "free", "done", "closed", NULL};
    const char *state = ptl_request_query(q, "state");
    if (!one_of(q, "state", state, states))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_query(q, "person"));
    ptl_args_str(&a, state);
    ptl_args_str(&a, confined(q) ? confined(q) : ptl_request_query(q, "project"));
    ptl_args_i64(&a, ptl_request_query_i64(q, "before", 0, 0, INT64_MAX));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", BOARD_DEFAULT, 1, 500) + 1);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_i64(&a, ptl_request_query_i64(q, "stage", 0, 0, INT64_MAX));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_assignment_list, &a, on_list, q) != 0)
        busy(q);
}

static void on_one(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    bool people = ptl_str_ends(ptl_request_pattern(q), "/people/{name}");
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no %s %s", people ? "person" : "assignment",
                           ptl_request_param(q, people ? "name" : "id"));
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        ptl_answer_json(q, 200, o);
    }
}

void ptl_on_get_assignment(struct ptl_request *q)
{
    struct ptl_args a;
    read_assignment(q, &a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_assignment_get, &a, on_one, q) != 0)
        busy(q);
}

void ptl_on_post_assignment_comment(struct ptl_request *q)
{
    static const char *const keys[] = {"text", NULL};
    const json_t *b = ptl_request_json(q);
    const char *text;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "text", true, TEXT_MAX, &text))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, text);
    ptl_args_str(&a, confined(q));
    do_it(q, PTL_SQL_assignment_comment, &a,
          (struct doing){.status = 201,
                         .then = PTL_SQL_assignment_get,
                         .action = "assignment.comment",
                         .object = ptl_xasprintf("assignment %s", ptl_request_param(q, "id"))});
}

void ptl_on_put_assignment_check(struct ptl_request *q)
{
    static const char *const keys[] = {"done", NULL};
    const json_t *b = ptl_request_json(q);
    const char *n = ptl_request_param(q, "n");
    if (!b || !ptl_body_only(q, b, keys))
        return;
    if (!json_is_boolean(json_object_get(b, "done"))) {
        ptl_answer_problem(q, 422, "body.done: expected true or false");
        return;
    }
    if (!*n || strlen(n) > 4 || strspn(n, "0123456789") != strlen(n)) {
        ptl_answer_problem(q, 404, "points of a list are numbered from 0");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_i64(&a, strtoll(n, NULL, 10));
    ptl_args_bool(&a, json_is_true(json_object_get(b, "done")));
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, confined(q));
    do_it(q, PTL_SQL_assignment_check, &a,
          (struct doing){.then = PTL_SQL_assignment_get,
                         .action = "assignment.check",
                         .object = ptl_xasprintf("assignment %s point %s", ptl_request_param(q, "id"), n)});
}

static void watch(struct ptl_request *q, enum ptl_sql sql)
{
    const char *person = ptl_request_query(q, "person");
    if (person && !manages(q)) {
        ptl_answer_problem(
            q, 403,
            "letting others watch takes role manager or admin; leave person out to watch it yourself");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, confined(q));
    ptl_args_str(&a, person);
    do_it(
        q, sql, &a,
        (struct doing){.then = PTL_SQL_assignment_get,
                       .action = sql == PTL_SQL_assignment_watch ? "assignment.watch" : "assignment.unwatch",
                       .object = ptl_xasprintf("assignment %s", ptl_request_param(q, "id")),
                       .detail = person ? json_pack("{s:s}", "person", person) : NULL});
}

void ptl_on_put_assignment_watch(struct ptl_request *q)
{
    watch(q, PTL_SQL_assignment_watch);
}

void ptl_on_delete_assignment_watch(struct ptl_request *q)
{
    watch(q, PTL_SQL_assignment_unwatch);
}

/* ---- people ---- */

void ptl_on_get_people(struct ptl_request *q)
{
    const char *after = ptl_request_query(q, "after");
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, after ? after : "");
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", BOARD_DEFAULT, 1, 500) + 1);
    ptl_args_str(&a, confined(q) ? confined(q) : ptl_request_query(q, "project"));
    ptl_args_bool(&a, manages(q));
    ptl_args_null(&a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_person_list, &a, on_list, q) != 0)
        busy(q);
}

void ptl_on_get_person(struct ptl_request *q)
{
    struct ptl_args a;
    read_person(q, &a, ptl_request_param(q, "name"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_person_list, &a, on_one, q) != 0)
        busy(q);
}

static bool body_emails(struct ptl_request *q, const json_t *b, const char *key, const char **ret, size_t max,
                        size_t *n)
{
    if (!ptl_body_texts(q, b, key, ret, max, n))
        return false;
    for (size_t i = 0; i < *n; i++) {
        const char *at = strchr(ret[i], '@');
        bool fine = at && at != ret[i] && at[1] && !strchr(at + 1, '@');
        for (const char *c = ret[i]; *c && fine; c++)
            fine = (unsigned char)*c > ' ' && *c != 0x7f && !strchr("<>,;\"", *c);
        if (!fine) {
            ptl_answer_problem(q, 422,
                               "body.%s[%zu]: '%.100s' is no address; expected one such as ada@example.org",
                               key, i, ret[i]);
            return false;
        }
    }
    return true;
}

void ptl_on_post_person(struct ptl_request *q)
{
    static const char *const keys[] = {"name", "display_name", "forge_login", "emails", "tokens", NULL};
    const json_t *b = ptl_request_json(q);
    const char *name, *shown, *login, *emails[32], *tokens[32];
    size_t n_emails, n_tokens;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "name", true, 63, &name) ||
        !ptl_body_text(q, b, "display_name", false, 200, &shown) ||
        !ptl_body_text(q, b, "forge_login", false, 100, &login) ||
        !body_emails(q, b, "emails", emails, 32, &n_emails) ||
        !ptl_body_texts(q, b, "tokens", tokens, 32, &n_tokens))
        return;
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(name) || strchr("._-", *name) ||
        ptl_str_eq(name, "me") || ptl_str_eq(name, "none")) {
        ptl_answer_problem(
            q, 422,
            "body.name: '%s': expected a handle of lower-case letters, digits, '.', '_', '-', beginning with a letter or digit; me and none are taken",
            name);
        return;
    }
    if (confined(q)) {
        ptl_answer_problem(q, 403,
                           "people are of all projects: adding one takes a token that is confined to none");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, name);
    ptl_args_str(&a, shown);
    ptl_args_str(&a, login);
    ptl_args_text_array(&a, emails, n_emails);
    ptl_args_text_array(&a, tokens, n_tokens);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    do_it(q, PTL_SQL_person_add, &a,
          (struct doing){.status = 201,
                         .then = PTL_SQL_person_list,
                         .name = ptl_xstrdup(name),
                         .action = "person.add",
                         .object = ptl_xasprintf("person %s", name),
                         .detail = json_deep_copy(b)});
}

void ptl_on_patch_person(struct ptl_request *q)
{
    static const char *const keys[] = {"display_name",  "forge_login", "suggestions",   "add_emails",
                                       "remove_emails", "add_tokens",  "remove_tokens", "time_zone",
                                       "merge_into",    NULL};
    const json_t *b = ptl_request_json(q), *suggest;
    const char *shown, *login, *zone, *into, *lists[4][32], *name = ptl_request_param(q, "name");
    size_t n[4];
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "display_name", false, 200, &shown) ||
        !ptl_body_text(q, b, "merge_into", false, 63, &into) ||
        !body_emails(q, b, "add_emails", lists[0], 32, &n[0]) ||
        !ptl_body_texts(q, b, "remove_emails", lists[1], 32, &n[1]) ||
        !ptl_body_texts(q, b, "add_tokens", lists[2], 32, &n[2]) ||
        !ptl_body_texts(q, b, "remove_tokens", lists[3], 32, &n[3]))
        return;
    login = json_string_value(json_object_get(b, "forge_login"));
    zone = json_string_value(json_object_get(b, "time_zone"));
    suggest = json_object_get(b, "suggestions");
    if ((suggest && !json_is_boolean(suggest)) || (login && strlen(login) > 100) ||
        (json_object_get(b, "time_zone") && (!zone || strlen(zone) > 60))) {
        ptl_answer_problem(q, 422,
                           suggest && !json_is_boolean(suggest) ? "body.suggestions: expected true or false"
                           : login && strlen(login) > 100
                               ? "body.forge_login: expected at most 100 bytes"
                               : "body.time_zone: expected a zone such as Europe/Vienna, or an empty text");
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    if (into) {
        if (!manages(q) || confined(q) || json_object_size(b) > 1) {
            ptl_args_done(&a);
            ptl_answer_problem(q, json_object_size(b) > 1 ? 422 : 403,
                               json_object_size(b) > 1 ? "body.merge_into: stands alone"
                                                       : "merging people takes a manager of all projects");
            return;
        }
        ptl_args_str(&a, name);
        ptl_args_str(&a, into);
        do_it(q, PTL_SQL_person_merge, &a,
              (struct doing){.then = PTL_SQL_person_list,
                             .name = ptl_xstrdup(into),
                             .action = "person.merge",
                             .object = ptl_xasprintf("person %s into %s", name, into)});
        return;
    }
    ptl_args_str(&a, name);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_bool(&a, manages(q));
    ptl_args_str(&a, shown);
    ptl_args_str(&a, login);
    if (suggest)
        ptl_args_bool(&a, json_is_true(suggest));
    else
        ptl_args_null(&a);
    for (size_t i = 0; i < 4; i++)
        ptl_args_text_array(&a, lists[i], n[i]);
    ptl_args_str(&a, confined(q));
    ptl_args_str(&a, zone);
    do_it(q, PTL_SQL_person_change, &a,
          (struct doing){.then = PTL_SQL_person_list,
                         .name = ptl_xstrdup(name),
                         .action = "person.change",
                         .object = ptl_xasprintf("person %s", name),
                         .detail = json_deep_copy(b)});
}
