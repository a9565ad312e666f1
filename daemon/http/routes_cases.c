/* routes_cases.c - questions that others asked and the answers they got, beside our own failures.
 * Loop thread. */
#include "body.h"
#include "rows.h"
#include "label.h"
#include <stdio.h>

enum { CASES_MAX = 500, LIMIT = 50, LIMIT_MAX = 500, EXPORT_PAGE = 100, EXPORT_WAITING_MAX = 1 << 20 };

static bool may_change(struct ptl_request *q)
{
    if (!*ptl_request_identity(q)->project)
        return true;
    ptl_answer_problem(
        q, 403, "this token is confined to one project; known cases and the text model are every project's");
    return false;
}

/* ---- taking them in */
struct taking {
    struct ptl_request *q;
    json_t *cases;    /* checked, the nodes found */
    json_t *unplaced; /* label -> true */
};

static void taking_free(struct taking *t)
{
    json_decref(t->cases);
    json_decref(t->unplaced);
    free(t);
}

static void on_put(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct taking *t = ctx;
    struct ptl_request *q = t->q;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        json_t *unplaced = json_array(), *v;
        const char *label;
        json_object_foreach(t->unplaced, label, v) json_array_append_new(unplaced, json_string(label));
        json_object_set_new(o, "unplaced", unplaced);
        if (ptl_json_i64(o, "added", 0) + ptl_json_i64(o, "changed", 0) > 0)
            ptl_audit(q, "kb.cases", "known cases", o);
        ptl_answer_json(q, 200, o);
    }
    taking_free(t);
}

static void on_titles(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct taking *t = ctx;
    size_t i;
    json_t *c;
    if (err) {
        ptl_answer_result(t->q, 200, err->code, NULL, err);
        taking_free(t);
        return;
    }
    if (ptl_rows_count(rows) == 0) { /* no label would find its node */
        ptl_answer_problem(
            t->q, 503,
            "the knowledge base is still being loaded: the daemon has just begun; again in a moment");
        taking_free(t);
        return;
    }
    PTL_JSON *nodes = ptl_rows_array(rows);
    json_array_foreach(t->cases, i, c)
    {
        const char *label = json_string_value(json_array_get(json_object_get(c, "labels"), 0));
        const char *platform = ptl_json_str(c, "platform", NULL), *named = ptl_json_str(c, "challenge", NULL),
                   *found = NULL;
        size_t k;
        json_t *n;
        if (named) {
            json_array_foreach(nodes, k, n) if (ptl_str_eq(ptl_json_str(n, "id", ""), named)) found = named;
        } else if (label) {
            found = ptl_kb_label_node(nodes, platform, label);
        }
        if (!found && (named || label)) {
            PTL_FREE char *what = named ? ptl_xstrdup(named)
                                        : ptl_xasprintf("%s: %s", platform ? platform : "no platform", label);
            json_object_set_new(t->unplaced, what, json_true());
        }
        json_object_set_new(c, "challenge", found ? json_string(found) : json_null());
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_json(&a, t->cases);
    ptl_args_str(&a, ptl_request_identity(t->q)->name);
    if (ptl_store_query(ptl_core_store(ptl_request_core(t->q)), PTL_SQL_known_case_put, &a, on_put, t) != 0) {
        ptl_answer_busy(t->q);
        taking_free(t);
    }
}

static size_t characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static const char *text_fault(const json_t *c, const char *key, size_t max)
{
    const char *s = json_string_value(json_object_get(c, key));
    return !s || !*s || characters(s) > max ? key : NULL;
}

static bool texts_ok(const json_t *v)
{
    size_t i;
    json_t *s;
    if (!v || json_is_null(v))
        return true;
    json_array_foreach((json_t *)v, i, s) if (!json_is_string(s) || json_string_length(s) > 200) return false;
    return json_is_array(v) && json_array_size(v) <= 50;
}

/* The member that is wrong, or NULL. */
static const char *case_fault(const json_t *c)
{
    static const char *const platforms[] = {"server", "mobile", "browser"};
    const char *fault = NULL, *url = ptl_json_str(c, "url", ""),
               *platform = ptl_json_str(c, "platform", NULL);
    const json_t *answered = json_object_get(c, "answered");
    bool known = !platform;
    for (size_t i = 0; i < PTL_ARRAY_LEN(platforms); i++)
        known |= ptl_str_eq(platforms[i], platform);
    if (!json_is_object(c))
        return "(not an object)";
    if ((fault = text_fault(c, "id", 200)) || (fault = text_fault(c, "url", 2000)) ||
        (fault = text_fault(c, "title", 1000)) || (fault = text_fault(c, "text", 200000)))
        return fault;
    if (!ptl_str_starts(url, "https://") && !ptl_str_starts(url, "http://")) /* it becomes a link */
        return "url";
    return !known                                    ? "platform"
           : !texts_ok(json_object_get(c, "labels")) ? "labels"
           : !texts_ok(json_object_get(c, "tags"))   ? "tags"
           : answered && !json_is_boolean(answered)  ? "answered"
                                                     : NULL;
}

void ptl_on_post_kb_cases(struct ptl_request *q)
{
    static const char *const keys[] = {"cases", NULL};
    const json_t *b = ptl_request_json(q), *cases = json_object_get(b, "cases");
    size_t i;
    json_t *c;
    if (!b || !ptl_body_only(q, b, keys) || !may_change(q))
        return;
    if (!json_is_array(cases) || json_array_size(cases) > CASES_MAX) {
        ptl_answer_problem(q, 422, "body.cases: expected an array of at most %d cases", CASES_MAX);
        return;
    }
    json_array_foreach((json_t *)cases, i, c)
    {
        const char *fault = case_fault(c);
        if (fault) {
            ptl_answer_problem(
                q, 422,
                "body.cases[%zu].%s: missing, too long or of another form; see the schema KnownCases in /openapi.json",
                i, fault);
            return;
        }
    }
    struct taking *t = ptl_xcalloc(1, sizeof(*t));
    t->q = q;
    t->cases = json_deep_copy(cases);
    t->unplaced = json_object();
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_challenge_titles, NULL, on_titles, t) !=
        0) {
        ptl_answer_busy(q);
        taking_free(t);
    }
}

/* ---- looking at them */
static void on_cases(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (ptl_rows_failed(q, err))
        return;
    PTL_JSON *items = ptl_rows_array(rows);
    size_t limit = (size_t)ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX);
    ptl_answer_page(q, items, ptl_request_query(q, "q") ? NULL : "id", limit);
}

void ptl_on_get_kb_cases(struct ptl_request *q)
{
    const char *after = ptl_request_query(q, "after");
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_query(q, "challenge"));
    ptl_args_str(&a, ptl_request_query(q, "q"));
    ptl_args_str(&a, after ? after : "");
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX) + 1);
    ptl_ask(q, PTL_SQL_known_case_list, &a, on_cases);
}

/* ---- handing them out, a page after the other, as fast as the peer reads */
struct handing {
    struct ptl_request *q;
    struct ptl_timer *timer;
    char after[256];
    bool gone, waiting; /* waiting: for its timer alone */
};

static void handing_end(struct handing *h)
{
    ptl_timer_free(h->timer);
    ptl_stream_end(h->q);
    free(h);
}

static void hand_page(void *ctx);

static void on_page(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct handing *h = ctx;
    for (int i = 0; !err && !h->gone && i < ptl_rows_count(rows); i++) {
        PTL_JSON *o = ptl_row_object(rows, i);
        snprintf(h->after, sizeof(h->after), "%s", ptl_json_str(o, "key", ""));
        json_object_del(o, "key");
        PTL_FREE char *line = json_dumps(o, JSON_COMPACT);
        if (line) {
            ptl_stream_piece(h->q, line, strlen(line));
            ptl_stream_piece(h->q, "\n", 1);
        }
    }
    if (err || h->gone ||
        ptl_rows_count(rows) < EXPORT_PAGE) { /* broken off: the reader misses the last line, {"end":true} */
        if (!err && !h->gone)
            ptl_stream_piece(h->q, "{\"end\":true}\n", 13);
        handing_end(h);
        return;
    }
    hand_page(h);
}

static void wait_on(struct handing *h, int64_t ms)
{
    h->waiting = true;
    ptl_timer_after(h->timer, ms);
}

static void hand_page(void *ctx)
{
    struct handing *h = ctx;
    const char *project = ptl_request_identity(h->q)->project;
    h->waiting = false;
    if (h->gone) {
        handing_end(h);
        return;
    }
    if (ptl_stream_waiting(h->q) > EXPORT_WAITING_MAX) {
        wait_on(h, 50);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, h->after);
    ptl_args_i64(&a, EXPORT_PAGE);
    ptl_args_str(&a, *project ? project : NULL);
    if (ptl_store_query(ptl_core_store(ptl_request_core(h->q)), PTL_SQL_case_export, &a, on_page, h) != 0)
        wait_on(h, 200);
}

static void on_gone(struct ptl_request *q)
{
    struct handing *h = ptl_request_get(q);
    h->gone = true;
    if (h->waiting) /* the timer may come no more: the daemon stops */
        handing_end(h);
}

void ptl_on_get_kb_cases_export(struct ptl_request *q)
{
    struct handing *h = ptl_xcalloc(1, sizeof(*h));
    h->q = q;
    h->timer = ptl_timer_new(ptl_core_loop(ptl_request_core(q)), hand_page, h);
    ptl_request_set(q, h, on_gone);
    ptl_stream_start(q, "application/x-ndjson");
    hand_page(h);
}
