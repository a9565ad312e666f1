/* routes_kb.c - the knowledge base: the tree, entries, indicators, their history, trying one on past
 * failures, the folder of files in and out. Reading is everybody's who may read; counts and tries show a
 * confined token its own project only. Changing is a curator's whose token is not confined: what all projects
 * are judged by is nobody's single project's to change. Ids hold slashes, so they travel as query parameters.
 */
#include "body.h"
#include "rows.h"
#include "files.h"
#include <portolan/buf.h>
#include <portolan/hash.h>
#include <stdio.h>

enum { LIMIT = 50, LIMIT_MAX = 500, CHANGES_MAX = 100, TRY_DEFAULT = 200, TRY_MAX = 2000, YAML_MAX = 65536 };

static const char *only_project(struct ptl_request *q)
{
    const char *confined = ptl_request_confined(q);
    return confined ? confined : ptl_request_query(q, "project");
}

static bool may_change(struct ptl_request *q)
{
    const char *confined = ptl_request_identity(q)->project;
    if (!*confined)
        return true;
    ptl_answer_problem(
        q, 403,
        "this token is confined to project %s; the knowledge base is every project's: changing it takes a curator's token that is not confined",
        confined);
    return false;
}

/* The id of the query, or NULL after 422. */
static const char *id_of(struct ptl_request *q)
{
    const char *id = ptl_request_query(q, "id");
    if (id && *id && strlen(id) <= 200)
        return id;
    ptl_answer_problem(q, 422, "id: expected the id of %s as a query parameter",
                       strstr(ptl_request_pattern(q), "indicator")
                           ? "an indicator, such as tflite/builtin-op-version"
                           : "a challenge, such as mobile/model-conversion");
    return NULL;
}

static void answer_problems(struct ptl_request *q, const json_t *answer, const struct ptl_error *err)
{
    const json_t *problems = json_object_get(answer, "problems");
    PTL_BUF detail = PTL_BUF_MAX(4000);
    size_t i;
    json_t *v;
    json_array_foreach(problems, i,
                       v) if (ptl_buf_printf(&detail, "%s%s", i ? "; " : "", json_string_value(v)) < 0) break;
    PTL_FREE char *clean = ptl_json_text_utf8(detail.len ? ptl_buf_str(&detail) : err->text,
                                              detail.len ? detail.len : strlen(err->text));
    PTL_JSON *p =
        json_pack("{s:s,s:s,s:i,s:s,s:O,s:s}", "type", "about:blank", "title", "Unprocessable Content",
                  "status", 422, "detail", clean, "problems", problems, "request_id", ptl_request_id(q));
    PTL_FREE char *text = p ? json_dumps(p, JSON_COMPACT) : NULL;
    ptl_answer_text(q, 422, "application/problem+json", text ? text : "{}");
}

/* True when it was answered: not well-formed, or another failure. */
static bool refused(struct ptl_request *q, int result, const json_t *answer, const struct ptl_error *err)
{
    if (result == -EINVAL && json_array_size(json_object_get(answer, "problems")))
        answer_problems(q, answer, err);
    else if (result != 0)
        ptl_answer_result(q, 200, result, NULL, err);
    return result != 0;
}

/* ---- reading */
void ptl_on_get_kb_challenges(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, only_project(q));
    ptl_args_str(&a, ptl_request_query(q, "taxonomy"));
    ptl_args_str(&a, ptl_request_query(q, "q"));
    ptl_args_bool(&a, ptl_str_eq(ptl_request_query(q, "retired"), "true"));
    ptl_ask(q, PTL_SQL_kb_tree, &a, ptl_on_items);
}

static void set_etag(struct ptl_request *q, int64_t revision)
{
    char text[32];
    snprintf(text, sizeof(text), "\"%lld\"", (long long)revision);
    ptl_answer_header(q, "ETag", text);
}

static void on_challenge(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no challenge '%s'; all of them: GET /api/v1/kb/challenges",
                           ptl_request_query(q, "id"));
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        const json_t *entry = json_object_get(o, "entry");
        PTL_FREE char *yaml = json_is_object(entry) ? ptl_kb_entry_yaml(entry) : NULL;
        json_object_set_new(o, "entry_yaml", yaml ? json_string(yaml) : json_null());
        set_etag(q, ptl_row_i64(rows, 0, "entry_revision"));
        ptl_answer_json(q, 200, o);
    }
}

void ptl_on_get_kb_challenge(struct ptl_request *q)
{
    struct ptl_args a;
    const char *id = id_of(q);
    if (!id)
        return;
    ptl_args_init(&a);
    ptl_args_str(&a, id);
    ptl_args_str(&a, only_project(q));
    ptl_ask(q, PTL_SQL_kb_node, &a, on_challenge);
}

static void on_indicators(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    PTL_JSON *items = ptl_rows_array(rows);
    ptl_answer_page(q, items, "id", (size_t)ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX));
}

void ptl_on_get_kb_indicators(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_query(q, "q"));
    ptl_args_str(&a, ptl_request_query(q, "challenge"));
    ptl_args_str(&a, ptl_request_query(q, "area"));
    ptl_args_bool(&a, ptl_str_eq(ptl_request_query(q, "retired"), "true"));
    ptl_args_str(&a, ptl_request_query(q, "after"));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX) + 1);
    ptl_ask(q, PTL_SQL_kb_indicator_find, &a, on_indicators);
}

static void no_indicator(struct ptl_request *q, const char *id)
{
    ptl_answer_problem(q, 404, "no indicator '%s'; look for one: GET /api/v1/kb/indicators?q=WORDS", id);
}

static void on_indicator(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        no_indicator(q, ptl_request_query(q, "id"));
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        json_t *data = json_object_get(o, "data");
        PTL_FREE char *yaml = ptl_kb_indicator_yaml(data);
        json_object_set(o, "indicator", data);
        json_object_del(o, "data");
        json_object_set_new(o, "yaml", json_string(yaml));
        json_object_set_new(o, "retired", json_boolean(!ptl_row_null(rows, 0, "retired_at")));
        set_etag(q, ptl_row_i64(rows, 0, "revision"));
        ptl_answer_json(q, 200, o);
    }
}

static bool ask_indicator(struct ptl_request *q, const char *id, ptl_rows_fn *fn, void *ctx)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, id);
    return ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_kb_indicator_get, &a, fn, ctx) == 0;
}

void ptl_on_get_kb_indicator(struct ptl_request *q)
{
    const char *id = id_of(q);
    if (id && !ask_indicator(q, id, on_indicator, q))
        ptl_answer_busy(q);
}

static char *yaml_of_change(const char *object, const json_t *data)
{
    if (!json_is_object(data))
        return NULL;
    return ptl_str_starts(object, "entry ") ? ptl_kb_entry_yaml(data) : ptl_kb_indicator_yaml(data);
}

static void on_changes(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    size_t i;
    json_t *v;
    if (ptl_rows_failed(q, err))
        return;
    PTL_JSON *items = ptl_rows_array(rows);
    json_array_foreach(items, i, v)
    {
        const char *object = ptl_json_str(v, "object", "");
        PTL_BUF diff = PTL_BUF_MAX(1 << 20);
        PTL_FREE char *before = yaml_of_change(object, json_object_get(v, "before"));
        PTL_FREE char *after = yaml_of_change(object, json_object_get(v, "after"));
        bool edit = ptl_str_eq(ptl_json_str(v, "action", ""), "edit");
        if (after && (edit || before || ptl_str_eq(ptl_json_str(v, "action", ""), "add")))
            ptl_kb_diff(before, after, &diff);
        json_object_set_new(v, "diff", json_string(ptl_buf_str(&diff)));
    }
    ptl_answer_page(q, items, "id", (size_t)ptl_request_query_i64(q, "limit", LIMIT, 1, CHANGES_MAX));
}

void ptl_on_get_kb_changes(struct ptl_request *q)
{
    struct ptl_args a;
    int64_t before = ptl_request_query_i64(q, "before", 0, 0, INT64_MAX);
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_query(q, "object"));
    if (before)
        ptl_args_i64(&a, before);
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT, 1, CHANGES_MAX) + 1);
    ptl_ask(q, PTL_SQL_kb_change_list, &a, on_changes);
}

/* ---- one object changed */
struct saving {
    struct ptl_request *q;
    bool is_new, is_entry;
    int64_t expected; /* -1: any */
    char *id;         /* of the query; NULL: the object's own */
    json_t *data;     /* checked; null: an entry as it ships */
};

static void saving_free(struct saving *s)
{
    free(s->id);
    json_decref(s->data);
    free(s);
}

/* The revision that the change was made from: the member, or If-Match. False: 422 has been answered. */
static bool expected_of(struct ptl_request *q, const json_t *body, int64_t *ret)
{
    const json_t *v = json_object_get(body, "revision");
    const char *match = ptl_request_header(q, "If-Match");
    *ret = -1;
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *ret = json_integer_value(v);
    } else if (v && !json_is_null(v)) {
        ptl_answer_problem(q, 422, "body.revision: expected the number that reading it gave");
        return false;
    } else if (match && strcmp(match, "*") != 0) {
        char *end;
        const char *p = match + (*match == '"');
        *ret = strtoll(p, &end, 10);
        if (end == p || *ret < 0 || strcmp(end, *match == '"' ? "\"" : "") != 0) {
            ptl_answer_problem(q, 422, "If-Match: expected the ETag that reading it gave, such as \"3\"");
            return false;
        }
    }
    return true;
}

static void on_saved(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct saving *s = ctx;
    struct ptl_request *q = s->q;
    const char *what = s->is_entry ? "entry" : "indicator";
    if (err && ptl_str_eq(ptl_store_error_sqlstate(err), "PT409")) {
        ptl_answer_problem(q, 409, "%s: read it again and put the change on what is there now", err->text);
    } else if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no %s '%s'", s->is_entry ? "challenge" : what, s->id);
    } else if (ptl_row_i64(rows, 0, "revision") == 0) {
        ptl_answer_problem(q, 409, "%s %s came into being meanwhile: read it again", what, s->id);
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        PTL_FREE char *object = ptl_xasprintf("%s %s", what, s->id);
        bool changed = ptl_row_bool(rows, 0, "changed");
        if (changed)
            ptl_audit(q, s->is_entry ? "kb.entry" : s->is_new ? "kb.add" : "kb.edit", object, NULL);
        set_etag(q, ptl_row_i64(rows, 0, "revision"));
        ptl_answer_json(q, s->is_new && changed ? 201 : 200, o);
    }
    saving_free(s);
}

static void save(struct saving *s)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, s->id);
    ptl_args_json(&a, json_is_null(s->data) ? NULL : s->data);
    ptl_args_str(&a, ptl_request_identity(s->q)->name);
    if (s->expected >= 0)
        ptl_args_i64(&a, s->expected);
    else
        ptl_args_null(&a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(s->q)),
                        s->is_entry ? PTL_SQL_kb_entry_put : PTL_SQL_kb_indicator_save, &a, on_saved,
                        s) != 0) {
        ptl_answer_busy(s->q);
        saving_free(s);
    }
}

static void on_existing(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct saving *s = ctx;
    if (!err && ptl_rows_count(rows) > 0) {
        save(s);
        return;
    }
    if (err)
        ptl_answer_result(s->q, 200, err->code, NULL, err);
    else
        no_indicator(s->q, s->id);
    saving_free(s);
}

static void on_checked(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    struct saving *s = ctx;
    struct ptl_request *q = s->q;
    if (refused(q, result, answer, err)) {
        saving_free(s);
        return;
    }
    const char *id = ptl_json_str(answer, "id", "");
    s->data = json_incref(json_object_get(answer, "data"));
    if (s->id && !ptl_str_eq(s->id, id)) {
        ptl_answer_problem(
            q, 422, "its id is '%s', the one asked for '%s': an id is not changed; retire it and add another",
            id, s->id);
    } else if (!s->is_entry && !ptl_str_starts(id, "local/")) {
        ptl_answer_problem(
            q, 422,
            "%s: one's own indicators are called local/…; what ships is not edited: retire it and add one of your own",
            id);
    } else {
        if (!s->id)
            s->id = ptl_xstrdup(id);
        if (s->is_new || s->is_entry) {
            save(s);
            return;
        }
        if (ask_indicator(q, s->id, on_existing, s))
            return;
        ptl_answer_busy(q);
    }
    saving_free(s);
}

/* {"indicator"|"entry": object} or {"yaml": text}, as what the workers check. NULL: 422 has been answered. */
static json_t *object_of(struct ptl_request *q, const json_t *body, const char *key)
{
    const json_t *object = json_object_get(body, key);
    const char *yaml;
    if (!ptl_body_text(q, body, "yaml", false, YAML_MAX, &yaml))
        return NULL;
    if ((object != NULL && !json_is_null(object)) == (yaml != NULL)) {
        ptl_answer_problem(q, 422, "body: expected %s (an object) or yaml (the same as text)", key);
        return NULL;
    }
    return yaml ? json_pack("{s:s}", "yaml", yaml) : json_pack("{s:O}", "object", object);
}

static void change_one(struct ptl_request *q, bool is_new, bool is_entry)
{
    static const char *const keys[2][4] = {
        {"indicator", "yaml", "revision", NULL},
        {"entry",     "yaml", "revision", NULL}
    };
    const char *id = is_new ? NULL : id_of(q);
    const json_t *b;
    int64_t expected;
    if ((!is_new && !id) || !may_change(q) || !(b = ptl_request_json(q)) ||
        !ptl_body_only(q, b, keys[is_entry]) || !expected_of(q, b, &expected))
        return;
    bool as_shipped = is_entry && json_is_null(json_object_get(b, "entry")) && !json_object_get(b, "yaml");
    json_t *in = as_shipped ? NULL : object_of(q, b, keys[is_entry][0]);
    if (!in && !as_shipped)
        return;
    struct saving *s = ptl_xcalloc(1, sizeof(*s));
    *s = (struct saving){.q = q, .is_new = is_new, .is_entry = is_entry, .expected = is_new ? 0 : expected};
    s->id = id ? ptl_xstrdup(id) : NULL;
    if (as_shipped) {
        s->data = json_null();
        save(s);
        return;
    }
    ptl_core_curate(ptl_request_core(q), is_entry ? PTL_CURATE_ENTRY : PTL_CURATE_INDICATOR, in, on_checked,
                    s);
}

void ptl_on_post_kb_indicator(struct ptl_request *q)
{
    change_one(q, true, false);
}

void ptl_on_put_kb_indicator(struct ptl_request *q)
{
    change_one(q, false, false);
}

void ptl_on_put_kb_entry(struct ptl_request *q)
{
    change_one(q, false, true);
}

static void on_retired(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    const char *id = ptl_request_query(q, "id");
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        no_indicator(q, id);
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        PTL_FREE char *object = ptl_xasprintf("indicator %s", id);
        if (ptl_row_bool(rows, 0, "changed"))
            ptl_audit(q, ptl_row_bool(rows, 0, "retired") ? "kb.retire" : "kb.restore", object, NULL);
        ptl_answer_json(q, 200, o);
    }
}

static void set_retired(struct ptl_request *q, bool retired)
{
    struct ptl_args a;
    const char *id = id_of(q);
    if (!id || !may_change(q))
        return;
    ptl_args_init(&a);
    ptl_args_str(&a, id);
    ptl_args_bool(&a, retired);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_ask(q, PTL_SQL_kb_retire, &a, on_retired);
}

void ptl_on_post_kb_retire(struct ptl_request *q)
{
    set_retired(q, true);
}

void ptl_on_post_kb_restore(struct ptl_request *q)
{
    set_retired(q, false);
}

/* ---- trying */
struct trying {
    struct ptl_request *q;
    char *id;
    json_t *candidate;
    int64_t limit, before;
};

static void trying_free(struct trying *t)
{
    free(t->id);
    json_decref(t->candidate);
    free(t);
}

static void on_try_stored(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct trying *t = ctx;
    struct ptl_request *q = t->q;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0 && !t->candidate) {
        no_indicator(q, t->id);
    } else {
        PTL_JSON *stored = ptl_rows_count(rows) ? ptl_row_json(rows, 0, "data") : NULL;
        const char *project = ptl_json_str(ptl_request_json(q), "project", NULL),
                   *confined = ptl_request_identity(q)->project;
        const struct ptl_core_try what = {.id = t->id,
                                          .candidate = t->candidate,
                                          .stored = stored,
                                          .project = *confined ? confined : project,
                                          .limit = t->limit,
                                          .before = t->before};
        ptl_core_kb_try(ptl_request_core(q), &what, ptl_answer_core, q);
    }
    trying_free(t);
}

static void try_stored(struct trying *t)
{
    if (!ask_indicator(t->q, t->id, on_try_stored, t)) {
        ptl_answer_busy(t->q);
        trying_free(t);
    }
}

static void on_try_checked(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    struct trying *t = ctx;
    if (refused(t->q, result, answer, err)) {
        trying_free(t);
        return;
    }
    t->candidate = json_incref(json_object_get(answer, "data"));
    t->id = ptl_xstrdup(ptl_json_str(answer, "id", ""));
    try_stored(t);
}

void ptl_on_post_kb_try(struct ptl_request *q)
{
    static const char *const keys[] = {"indicator", "yaml", "id", "limit", "before", "project", NULL};
    const json_t *b = ptl_request_json(q);
    const char *id, *project;
    json_t *in = NULL;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "id", false, 200, &id) ||
        !ptl_body_text(q, b, "project", false, 63, &project) ||
        (project && !ptl_request_may_project(q, project)))
        return;
    int64_t limit = ptl_json_i64(b, "limit", TRY_DEFAULT), before = ptl_json_i64(b, "before", 0);
    if (limit < 1 || limit > TRY_MAX || before < 0) {
        ptl_answer_problem(q, 422, "body.limit: expected 1 to %d logs; body.before: an attempt", TRY_MAX);
        return;
    }
    if (!id && !(in = object_of(q, b, "indicator")))
        return;
    struct trying *t = ptl_xcalloc(1, sizeof(*t));
    *t = (struct trying){.q = q, .limit = limit, .before = before};
    if (id) {
        t->id = ptl_xstrdup(id);
        try_stored(t);
        return;
    }
    ptl_core_curate(ptl_request_core(q), PTL_CURATE_INDICATOR, in, on_try_checked, t);
}

/* ---- files */
static void on_state_for_export(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    ptl_core_curate(ptl_request_core(q), PTL_CURATE_FOLDER,
                    json_pack("{s:o}", "state", ptl_row_json(rows, 0, "state")), ptl_answer_core, q);
}

void ptl_on_get_kb_export(struct ptl_request *q)
{
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_kb_state, NULL, on_state_for_export,
                        q) != 0)
        ptl_answer_busy(q);
}

struct importing {
    struct ptl_request *q;
    json_t *answer;
};

static void on_imported(void *ctx, struct ptl_rows *const *rows PTL_UNUSED, size_t n PTL_UNUSED,
                        const struct ptl_error *err)
{
    struct importing *i = ctx;
    if (err && ptl_str_eq(ptl_store_error_sqlstate(err), "PT409")) {
        ptl_answer_problem(i->q, 409, "%s: somebody changed it meanwhile; nothing was imported, try again",
                           err->text);
    } else if (err) {
        ptl_answer_result(i->q, 200, err->code, NULL, err);
    } else {
        ptl_audit(i->q, "kb.import", "knowledge base", i->answer);
        ptl_answer_json(i->q, 200, i->answer);
    }
    json_decref(i->answer);
    free(i);
}

static void add_saves(struct ptl_batch *batch, enum ptl_sql sql, const json_t *list, const char *member,
                      const char *actor)
{
    size_t k;
    json_t *v;
    json_array_foreach(list, k, v)
    {
        struct ptl_args a;
        json_t *data = json_object_get(v, member);
        ptl_args_init(&a);
        ptl_args_str(&a, ptl_json_str(v, "id", ""));
        ptl_args_json(&a, json_is_null(data) ? NULL : data);
        ptl_args_str(&a, actor);
        ptl_args_i64(&a, ptl_json_i64(v, "revision", 0));
        ptl_batch_add(batch, sql, &a);
    }
}

static void add_file(struct ptl_batch *batch, const char *path, const char *text, const char *actor)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, path);
    ptl_args_str(&a, text);
    ptl_args_str(&a, actor);
    ptl_batch_add(batch, PTL_SQL_kb_file_put, &a);
}

static json_t *ids_of(const json_t *list)
{
    json_t *ids = json_array(), *v;
    size_t k;
    json_array_foreach(list, k, v) json_array_append(ids, json_object_get(v, "id"));
    return ids;
}

static void write_plan(struct ptl_request *q, const json_t *plan, json_t *answer /* taken */)
{
    const char *actor = ptl_request_identity(q)->name;
    struct ptl_batch *batch = ptl_batch_new(ptl_core_store(ptl_request_core(q)));
    size_t k;
    json_t *v;
    add_saves(batch, PTL_SQL_kb_indicator_save, json_object_get(plan, "indicators"), "data", actor);
    add_saves(batch, PTL_SQL_kb_entry_put, json_object_get(plan, "entries"), "entry", actor);
    json_array_foreach(json_object_get(plan, "retire"), k, v)
    {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_str(&a, json_string_value(v));
        ptl_args_bool(&a, true);
        ptl_args_str(&a, actor);
        ptl_batch_add(batch, PTL_SQL_kb_retire, &a);
    }
    json_array_foreach(json_object_get(plan, "keep"), k, v)
        add_file(batch, ptl_json_str(v, "path", ""), ptl_json_str(v, "text", ""), actor);
    json_array_foreach(json_object_get(plan, "forget"), k, v)
        add_file(batch, json_string_value(v), NULL, actor);
    if (ptl_batch_count(batch) == 0) {
        ptl_batch_free(batch);
        ptl_answer_json(q, 200, answer);
        json_decref(answer);
        return;
    }
    struct importing *i = ptl_xcalloc(1, sizeof(*i));
    *i = (struct importing){q, answer};
    if (ptl_batch_run(batch, on_imported, i) != 0) {
        ptl_answer_busy(q);
        json_decref(answer);
        free(i);
    }
}

static void on_planned(void *ctx, int result, const json_t *plan, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (refused(q, result, plan, err))
        return;
    bool dry = ptl_json_flag(ptl_request_json(q), "dry_run", false);
    json_t *added = json_array(), *edited = json_array(), *v;
    size_t k;
    json_array_foreach(json_object_get(plan, "indicators"), k, v)
        json_array_append(ptl_json_i64(v, "revision", 0) ? edited : added, json_object_get(v, "id"));
    json_t *answer = json_pack(
        "{s:o,s:o,s:o,s:O,s:I,s:O,s:O,s:b}", "added", added, "edited", edited, "entries",
        ids_of(json_object_get(plan, "entries")), "retired", json_object_get(plan, "retire"), "files",
        (json_int_t)json_array_size(json_object_get(plan, "keep")), "unchanged",
        json_object_get(plan, "unchanged"), "skipped", json_object_get(plan, "skipped"), "dry_run", dry);
    if (dry) {
        ptl_answer_json(q, 200, answer);
        json_decref(answer);
        return;
    }
    write_plan(q, plan, answer);
}

static void on_state_for_import(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    ptl_core_curate(ptl_request_core(q), PTL_CURATE_PLAN,
                    json_pack("{s:O,s:o}", "files", json_object_get(ptl_request_json(q), "files"), "state",
                              ptl_row_json(rows, 0, "state")),
                    on_planned, q);
}

void ptl_on_post_kb_import(struct ptl_request *q)
{
    static const char *const keys[] = {"files", "dry_run", NULL};
    const json_t *b = ptl_request_json(q);
    if (!b || !may_change(q) || !ptl_body_only(q, b, keys))
        return;
    size_t n = json_array_size(json_object_get(b, "files"));
    if (n == 0 || n > PTL_KB_IMPORT_FILES_MAX) {
        ptl_answer_problem(q, 422, "body.files: expected 1 to %d of {\"path\",\"text\"}",
                           PTL_KB_IMPORT_FILES_MAX);
        return;
    }
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_kb_state, NULL, on_state_for_import,
                        q) != 0)
        ptl_answer_busy(q);
}

/* ---- the text model */
static void on_model(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    size_t len = 0;
    const void *data = ptl_rows_count(rows) ? ptl_row_bytes(rows, 0, "data", &len) : NULL;
    PTL_JSON *o = ptl_rows_count(rows) ? ptl_row_object(rows, 0) : json_object();
    json_object_set_new(o, "own", json_boolean(ptl_rows_count(rows) > 0));
    json_object_del(o, "data");
    if (data) {
        PTL_FREE char *base64 = ptl_base64(data, len);
        json_object_set_new(o, "model", json_string(base64));
    }
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_kb_model(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_bool(&a, ptl_request_query_i64(q, "data", 0, 0, 1) == 1);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_kb_model_get, &a, on_model, q) != 0)
        ptl_answer_busy(q);
}

static void model_written(struct ptl_request *q, bool own, const struct ptl_error *err)
{
    if (ptl_rows_failed(q, err))
        return;
    ptl_audit(q, own ? "kb.model.set" : "kb.model.reset", "text model", NULL);
    PTL_JSON *o = json_pack("{s:b}", "own", own);
    ptl_answer_json(q, 200, o);
}

static void on_model_set(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    model_written(ctx, true, err);
}

static void on_model_reset(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    model_written(ctx, false, err);
}

static void put_model(struct ptl_request *q, const void *data, size_t len, int64_t cases)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_bytes(&a, data, len);
    ptl_args_i64(&a, cases);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_kb_model_put, &a,
                        data ? on_model_set : on_model_reset, q) != 0)
        ptl_answer_busy(q);
}

static void on_model_checked(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    unsigned char *bytes = NULL;
    size_t len = 0;
    const json_t *b = ptl_request_json(q);
    if (refused(q, result, answer, err))
        return;
    if (ptl_base64_decode(ptl_json_str(b, "model", ""), &bytes, &len) < 0) {
        ptl_answer_problem(q, 422, "body.model: not base64");
        return;
    }
    PTL_FREE unsigned char *owned = bytes;
    put_model(q, owned, len, ptl_json_i64(b, "cases", 0));
}

void ptl_on_put_kb_model(struct ptl_request *q)
{
    static const char *const keys[] = {"model", "cases", NULL};
    const json_t *b = ptl_request_json(q);
    if (!b || !may_change(q) || !ptl_body_only(q, b, keys))
        return;
    int64_t cases = ptl_json_i64(b, "cases", 0);
    if (!json_string_length(json_object_get(b, "model")) || cases < 0 || cases > 100000000) {
        ptl_answer_problem(
            q, 422,
            "body.model: expected a model made by portolan kb train, as base64; body.cases: how many it was made from");
        return;
    }
    ptl_core_curate(ptl_request_core(q), PTL_CURATE_MODEL,
                    json_pack("{s:O}", "model", json_object_get(b, "model")), on_model_checked, q);
}

void ptl_on_delete_kb_model(struct ptl_request *q)
{
    if (may_change(q))
        put_model(q, NULL, 0, 0);
}
