/* routes_history.c - the past: search for failures, their facets and CSV, what is similar, what turned stages
 * green, trends, saved searches.
 *
 * A search looks at the newest failures first (failure_recent): what is asked for often is found there at
 * once. Only when that page stays short, what is asked for is rare and the index of terms (failure_find)
 * reads few rows. So neither frequent nor rare words cost more than a bounded set. */
#include "body.h"
#include "failure_filter.h"
#include <portolan/clock.h>
#include <stdio.h>

enum {
    LIMIT_DEFAULT = 50,
    LIMIT_MAX = 500,
    WINDOW = 3000,           /* failures looked at first: some 5 ms */
    MONTHS = 3,              /* then through the index of terms, in the months before */
    WINDOW_WITHOUT = 200000, /* the same where no term can lead to rare ones */
    RANKED_MAX = 1000,       /* matches that are ordered by likeness */
    FACET_DENSE = 300,       /* matches among the newest from which on these alone are counted */
    FACET_WINDOW = 5000,
    FACET_ROWS = 3000, /* counted through the index of terms */
    FACET_VALUES = 100,
    CSV_ROWS = 50000,
    CSV_PAGE = 500,
    CSV_WAITING = 1 << 20,
};
enum sort { BY_TIME, BY_SIMILARITY, BY_COST };

struct search {
    struct ptl_request *q;
    struct ptl_failure_filter f;
    enum sort sort;
    int64_t limit;
    /* cursor: the last row given */
    bool behind;
    int64_t at_us, id;
    char cost[40];
    int step; /* 0: window, 1: index of terms in the months before, 2: everywhere */
    /* csv */
    bool csv, gone;
    int64_t rows;
    struct ptl_timer *wait;
};

static struct ptl_store *store_of(struct ptl_request *q)
{
    return ptl_core_store(ptl_request_core(q));
}

static void busy(struct ptl_request *q)
{
    ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void search_free(struct search *s)
{
    ptl_failure_filter_done(&s->f);
    ptl_timer_free(s->wait);
    free(s);
}

static const char *query_of(void *ctx, const char *name)
{
    return ptl_request_query(ctx, name);
}

static const char *confined(struct ptl_request *q)
{
    const char *project = ptl_request_identity(q)->project;
    return *project ? project : NULL;
}

/* False: answered. */
static bool read_filter(struct ptl_request *q, struct ptl_failure_filter *f)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *project = ptl_request_query(q, "project");
    if (project && *project && !ptl_request_may_project(q, project))
        return false;
    if (ptl_failure_filter_read(query_of, q, confined(q), ptl_wall_ms(), f, &err) < 0) {
        ptl_answer_problem(q, 422, "%s", err.text);
        return false;
    }
    return true;
}

static void put_filter(struct ptl_args *a, const struct ptl_failure_filter *f)
{
    ptl_args_init(a);
    ptl_args_json(a, f->terms);
    ptl_args_str(a, *f->since ? f->since : NULL);
    ptl_args_str(a, *f->until ? f->until : NULL);
    if (f->resolved < 0)
        ptl_args_null(a);
    else
        ptl_args_bool(a, f->resolved);
}

/* ---- the list */
static bool read_cursor(struct search *s)
{
    const char *cursor = ptl_request_query(s->q, "cursor");
    char letter = s->sort == BY_COST ? 'c' : 't', *end = NULL;
    if (!cursor || !*cursor)
        return true;
    s->behind = true;
    if (cursor[0] == letter && s->sort == BY_TIME) {
        s->at_us = strtoll(cursor + 1, &end, 10);
    } else if (cursor[0] == letter && s->sort == BY_COST) {
        (void)!strtod(cursor + 1, &end);
        if (end && end - cursor - 1 < (ptrdiff_t)sizeof(s->cost))
            memcpy(s->cost, cursor + 1, (size_t)(end - cursor - 1));
    }
    if (end && end > cursor + 1 && *end == '_') {
        s->id = strtoll(end + 1, &end, 10);
        if (*end == 0 && s->id > 0 && strspn(s->cost, "0123456789.e+-") == strlen(s->cost))
            return true;
    }
    ptl_answer_problem(s->q, 422, "cursor: not one of a list in this order; begin without it");
    return false;
}

static void next_page(struct search *s);
static void csv_page(struct search *s, json_t *items, bool more);

static void ask(struct search *s);

static void answer_list(struct search *s, json_t *items, bool more, const char *cut)
{
    json_t *next = more ? s->sort == BY_COST
                              ? json_sprintf("c%s_%lld", s->cost, (long long)s->id)
                              : json_sprintf("t%lld_%lld", (long long)s->at_us, (long long)s->id)
                        : json_null();
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    if (cut)
        json_object_set_new(body, "cut", json_string(cut));
    ptl_answer_json(s->q, 200, body);
    search_free(s);
}

/* Is there a term that leads to few rows? */
static bool has_terms(const struct search *s)
{
    return json_object_size(s->f.terms) > 0 &&
           !(json_object_size(s->f.terms) == 1 && json_object_get(s->f.terms, "not"));
}

static void on_page(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct search *s = ctx;
    if (err) {
        if (s->csv && s->rows)
            ptl_stream_end(s->q);
        else
            ptl_answer_result(s->q, 200, err->code, NULL, err);
        search_free(s);
        return;
    }
    int n = ptl_rows_count(rows), full = (int)s->limit + 1;
    bool complete = n > 0 && ptl_row_bool(rows, 0, "complete"),
         found = n > 0 && !ptl_row_null(rows, 0, "attempt_id");
    if (s->step < 2 && !complete && n < full) {
        s->step = s->step == 0 && has_terms(s) && s->sort == BY_TIME ? 1 : 2;
        ask(s);
        return;
    }
    PTL_JSON *items = json_array();
    for (int i = 0; found && i < n && i < (int)s->limit; i++) {
        json_t *o = ptl_row_object(rows, i);
        json_object_del(o, "complete");
        json_object_del(o, "at_us");
        json_object_del(o, "cost");
        json_array_append_new(items, o);
        s->id = ptl_row_i64(rows, i, "attempt_id");
        if (s->sort == BY_TIME)
            s->at_us = ptl_row_i64(rows, i, "at_us");
        else
            snprintf(s->cost, sizeof(s->cost), "%s", ptl_row_str(rows, i, "cost"));
    }
    char cut[120] = "";
    if (s->step == 2 && !has_terms(s) && n < full && !complete)
        snprintf(cut, sizeof(cut), "only the %d %s failures were looked at", WINDOW_WITHOUT,
                 s->sort == BY_COST ? "costliest" : "newest");
    if (s->csv)
        csv_page(s, items, n == full);
    else
        answer_list(s, items, n == full, *cut ? cut : NULL);
}

/* How far back the index of terms is asked. */
static void put_months(struct ptl_args *a, int step)
{
    if (step == 1)
        ptl_args_i64(a, MONTHS);
    else
        ptl_args_null(a);
}

static void ask(struct search *s)
{
    struct ptl_args a;
    bool terms = s->step > 0 && has_terms(s);
    put_filter(&a, &s->f);
    if (s->sort == BY_COST)
        ptl_args_str(&a, s->behind ? s->cost : NULL);
    else if (s->behind)
        ptl_args_i64(&a, s->at_us);
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, s->behind ? s->id : INT64_MAX);
    ptl_args_i64(&a, s->limit + 1);
    if (!terms)
        ptl_args_i64(&a, s->step == 0 ? WINDOW : WINDOW_WITHOUT);
    else if (s->sort == BY_TIME)
        put_months(&a, s->step);
    enum ptl_sql sql = s->sort == BY_COST ? terms ? PTL_SQL_failure_find_costly : PTL_SQL_failure_costly
                       : terms            ? PTL_SQL_failure_find
                                          : PTL_SQL_failure_recent;
    if (ptl_store_query(store_of(s->q), sql, &a, on_page, s) != 0) {
        if (s->csv && s->rows)
            ptl_stream_end(s->q);
        else
            busy(s->q);
        search_free(s);
    }
}

static void next_page(struct search *s)
{
    s->step = 0;
    ask(s);
}

/* ---- by likeness: one page, ranked among a bounded set */
static void ask_ranked(struct search *s);

static void on_ranked(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct search *s = ctx;
    if (err) {
        ptl_answer_result(s->q, 200, err->code, NULL, err);
        search_free(s);
        return;
    }
    int n = ptl_rows_count(rows);
    int64_t ranked = n > 0 ? ptl_row_i64(rows, 0, "ranked") : 0;
    if (s->step < 2 && ranked < RANKED_MAX / 4) {
        s->step++;
        ask_ranked(s);
        return;
    }
    PTL_JSON *items = json_array();
    for (int i = 0; i < n && !ptl_row_null(rows, i, "attempt_id"); i++) {
        json_t *o = ptl_row_object(rows, i);
        json_object_del(o, "complete");
        json_object_del(o, "ranked");
        json_array_append_new(items, o);
    }
    char cut[120] = "";
    if (s->step < 2 || ranked == RANKED_MAX)
        snprintf(cut, sizeof(cut), "ranked among the newest %lld that match", (long long)ranked);
    answer_list(s, items, false, *cut ? cut : NULL);
}

static void ask_ranked(struct search *s)
{
    struct ptl_args a;
    put_filter(&a, &s->f);
    ptl_args_i64(&a, s->limit);
    if (s->step == 0)
        ptl_args_i64(&a, WINDOW);
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, RANKED_MAX);
    put_months(&a, s->step);
    if (ptl_store_query(store_of(s->q), PTL_SQL_failure_rank, &a, on_ranked, s) == 0)
        return;
    busy(s->q);
    search_free(s);
}

/* NULL: answered. */
static struct search *search_new(struct ptl_request *q)
{
    static const char *const names[] = {"time", "similarity", "cost", NULL};
    struct search *s = ptl_xcalloc(1, sizeof(*s));
    const char *sort = ptl_request_query(q, "sort");
    s->q = q;
    s->limit = ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX);
    if (!read_filter(q, &s->f)) {
        free(s);
        return NULL;
    }
    while (sort && *sort && names[s->sort] && !ptl_str_eq(names[s->sort], sort))
        s->sort++;
    if (!names[s->sort]) {
        ptl_answer_problem(q, 422, "sort: expected time, similarity or cost; got '%.60s'", sort);
    } else if (s->sort == BY_SIMILARITY && !s->f.words) {
        ptl_answer_problem(q, 422, "sort=similarity: to what? Give words in q");
    } else if (s->sort == BY_SIMILARITY || read_cursor(s)) {
        return s;
    }
    search_free(s);
    return NULL;
}

void ptl_on_get_failures(struct ptl_request *q)
{
    struct search *s = search_new(q);
    if (s && s->sort == BY_SIMILARITY)
        ask_ranked(s);
    else if (s)
        next_page(s);
}

/* ---- CSV */
static const char *const csv_columns[] = {
    "attempt_id",    "project",  "run_number", "stage",        "kind",           "target",
    "platform",      "tool",     "at",         "challenge_id", "challenge_path", "probability",
    "summary",       "key_line", "operator",   "end_reason",   "cost_minutes",   "resolved_at",
    "resolution_id", "branch",   "commit_sha", "author",       "agent"};

/* Quoted as RFC 4180 says; a text that a spreadsheet would take for a formula gets an apostrophe. */
static void csv_cell(struct ptl_buf *b, const json_t *v)
{
    char number[40];
    const char *text = json_string_value(v);
    if (json_is_integer(v)) {
        snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
        text = number;
    } else if (json_is_real(v)) {
        snprintf(number, sizeof(number), "%.6g", json_real_value(v));
        text = number;
    }
    if (!text)
        return;
    bool formula = json_is_string(v) && *text && strchr("=+-@\t\r", *text);
    if (!formula && !strpbrk(text, ",\"\r\n")) {
        ptl_buf_puts(b, text);
        return;
    }
    ptl_buf_puts(b, formula ? "\"'" : "\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            ptl_buf_putc(b, '"');
        ptl_buf_putc(b, *p);
    }
    ptl_buf_putc(b, '"');
}

static void csv_gone(struct ptl_request *q)
{
    struct search *s = ptl_request_get(q);
    s->gone = true;
}

static void csv_on(void *ctx)
{
    struct search *s = ctx;
    if (s->gone) {
        ptl_stream_end(s->q);
        search_free(s);
    } else if (ptl_stream_waiting(s->q) > CSV_WAITING) {
        ptl_timer_after(s->wait, 50);
    } else {
        next_page(s);
    }
}

static void csv_page(struct search *s, json_t *items, bool more)
{
    PTL_BUF b = PTL_BUF_MAX(16 << 20);
    size_t i;
    json_t *o;
    if (!s->wait) {
        s->wait = ptl_timer_new(ptl_core_loop(ptl_request_core(s->q)), csv_on, s);
        ptl_answer_header(s->q, "Content-Disposition", "attachment; filename=\"failures.csv\"");
        ptl_stream_start(s->q, "text/csv; charset=utf-8");
        for (i = 0; i < PTL_ARRAY_LEN(csv_columns); i++)
            ptl_buf_printf(&b, "%s%s", i ? "," : "", csv_columns[i]);
        ptl_buf_puts(&b, "\r\n");
    }
    json_array_foreach(items, i, o)
    {
        for (size_t k = 0; k < PTL_ARRAY_LEN(csv_columns); k++) {
            if (k)
                ptl_buf_putc(&b, ',');
            csv_cell(&b, json_object_get(o, csv_columns[k]));
        }
        ptl_buf_puts(&b, "\r\n");
    }
    s->rows += (int64_t)json_array_size(items);
    s->behind = true;
    if (more && s->rows >= CSV_ROWS)
        ptl_buf_printf(&b, "# cut after %d failures: narrow the filters or the time\r\n", CSV_ROWS);
    if (!s->gone)
        ptl_stream_piece(s->q, b.data, b.len);
    if (more && s->rows < CSV_ROWS && !s->gone) {
        csv_on(s);
        return;
    }
    ptl_stream_end(s->q);
    search_free(s);
}

void ptl_on_get_failures_csv(struct ptl_request *q)
{
    struct search *s = search_new(q);
    if (!s)
        return;
    if (s->sort == BY_SIMILARITY) {
        ptl_answer_problem(q, 422, "sort: a CSV goes by time or cost");
        search_free(s);
        return;
    }
    s->csv = true;
    s->limit = CSV_PAGE;
    ptl_request_set(q, s, csv_gone);
    next_page(s);
}

/* ---- facets */
struct facets {
    struct ptl_request *q;
    struct ptl_failure_filter f;
    enum { STEP_CLASSES, STEP_WINDOW, STEP_WIDE /* the window is the answer */, STEP_TERMS } step;
};

static void facets_free(struct facets *x)
{
    ptl_failure_filter_done(&x->f);
    free(x);
}

static json_t *facet_lists(void)
{
    return json_pack("{s:[],s:[],s:[],s:[],s:[],s:[],s:[]}", "challenge", "platform", "project", "kind",
                     "target", "tool", "agent");
}

/* Adds the rows of known facets to lists; *ret_* take what else they say. */
static void read_facets(struct ptl_rows *rows, const char *only, json_t *lists, int64_t *ret_total,
                        bool *ret_complete, int64_t *ret_since_us)
{
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        const char *facet = ptl_row_str(rows, i, "facet");
        int64_t count = ptl_row_i64(rows, i, "count");
        json_t *list = json_object_get(lists, facet);
        if (ptl_str_eq(facet, "complete"))
            *ret_complete = count != 0;
        else if (ptl_str_eq(facet, "since"))
            *ret_since_us = count;
        else if (ptl_str_eq(facet, "total") && !only)
            *ret_total = count;
        else if (list && (!only || ptl_str_eq(only, facet)))
            json_array_append_new(list, json_pack("{s:s?,s:I}", "value", ptl_row_str(rows, i, "value"),
                                                  "count", (json_int_t)count));
    }
}

static void on_facets(void *ctx, struct ptl_rows *const *rows, size_t n, const struct ptl_error *err);

static void ask_facets(struct facets *x)
{
    struct ptl_batch *b = ptl_batch_new(store_of(x->q));
    struct ptl_args a;
    if (x->step == STEP_CLASSES) {
        ptl_args_init(&a);
        ptl_args_json(&a, x->f.terms);
        if (x->f.resolved < 0)
            ptl_args_null(&a);
        else
            ptl_args_bool(&a, x->f.resolved);
        ptl_args_i64(&a, FACET_VALUES);
        ptl_batch_add(b, PTL_SQL_failure_facets, &a);
    }
    put_filter(&a, &x->f);
    ptl_args_i64(&a, x->step == STEP_TERMS ? FACET_ROWS + 1 : FACET_WINDOW);
    ptl_args_i64(&a, FACET_VALUES);
    ptl_batch_add(b, x->step == STEP_TERMS ? PTL_SQL_failure_facets_find : PTL_SQL_failure_facets_recent, &a);
    if (ptl_batch_run(b, on_facets, x) != 0) {
        busy(x->q);
        facets_free(x);
    }
}

static void on_facets(void *ctx, struct ptl_rows *const *rows, size_t n, const struct ptl_error *err)
{
    struct facets *x = ctx;
    int64_t total = 0, since_us = 0;
    bool complete = true;
    char note[200] = "", since[32];
    if (err) {
        ptl_answer_result(x->q, 200, err->code, NULL, err);
        facets_free(x);
        return;
    }
    PTL_JSON *lists = facet_lists();
    if (x->step == STEP_CLASSES)
        read_facets(rows[0], NULL, lists, &total, &complete, &since_us);
    read_facets(rows[n - 1], x->step == STEP_CLASSES ? "agent" : NULL, lists, &total, &complete, &since_us);
    bool terms = json_object_size(x->f.terms) > 0 &&
                 !(json_object_size(x->f.terms) == 1 && json_object_get(x->f.terms, "not"));
    if (x->step == STEP_WINDOW && !complete) {
        x->step = total >= FACET_DENSE || !terms ? STEP_WIDE : STEP_TERMS;
        if (x->step == STEP_TERMS) {
            ask_facets(x);
            return;
        }
    }
    bool capped = false;
    ptl_wall_rfc3339(since_us / 1000, since);
    if (x->step == STEP_CLASSES && !complete) {
        snprintf(note, sizeof(note), "agents are counted among the newest %d failures, since %s",
                 FACET_WINDOW, since);
    } else if (x->step == STEP_WIDE && !complete) {
        capped = true;
        snprintf(note, sizeof(note), "counted among the newest %d failures, since %s", FACET_WINDOW, since);
    } else if (x->step == STEP_TERMS && !complete) {
        capped = true;
        snprintf(note, sizeof(note), "counted among the first %d found that have these words and facts",
                 FACET_ROWS);
    }
    PTL_JSON *body = json_pack("{s:I,s:b,s:o,s:O,s:s?}", "total", (json_int_t)total, "capped", capped,
                               "total_text", json_sprintf("%lld%s", (long long)total, capped ? "+" : ""),
                               "facets", lists, "note", *note ? note : NULL);
    ptl_answer_json(x->q, 200, body);
    facets_free(x);
}

void ptl_on_get_failure_facets(struct ptl_request *q)
{
    struct facets *x = ptl_xcalloc(1, sizeof(*x));
    x->q = q;
    if (!read_filter(q, &x->f)) {
        free(x);
        return;
    }
    x->step = x->f.classes_only ? STEP_CLASSES : STEP_WINDOW;
    ask_facets(x);
}

/* ---- what belongs to an attempt: its project decides whether a confined token may see it */
struct of_attempt {
    enum ptl_sql sql;
    ptl_rows_fn *fn;
};

static void on_attempt_project(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    const struct of_attempt *o = ptl_request_get(q);
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no attempt %s", ptl_request_param(q, "id"));
        return;
    }
    if (!ptl_request_may_project(q, ptl_row_str(rows, 0, "project")))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (o->sql != PTL_SQL_failure_get) {
        ptl_args_str(&a, confined(q));
        ptl_args_i64(&a, ptl_request_query_i64(q, "limit", 20, 1, 100));
    }
    if (ptl_store_query(store_of(q), o->sql, &a, o->fn, q) != 0)
        busy(q);
}

static void ask_attempt(struct ptl_request *q, const struct of_attempt *o)
{
    struct ptl_args a;
    ptl_request_set(q, (void *)(uintptr_t)o, NULL);
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(store_of(q), PTL_SQL_attempt_run, &a, on_attempt_project, q) != 0)
        busy(q);
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
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
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
    ptl_args_str(&a, confined(q));
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

static void on_items(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    PTL_JSON *body = json_pack("{s:o,s:n}", "items", ptl_rows_array(rows), "next");
    ptl_answer_json(q, 200, body);
}

void ptl_on_get_saved_queries(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_str(&a, confined(q));
    if (ptl_store_query(store_of(q), PTL_SQL_saved_query_list, &a, on_items, q) != 0)
        busy(q);
}

/* ---- what turned it green */
static const char *const resolution_states[] = {"candidate", "confirmed", "rejected", NULL};

void ptl_on_get_attempt_resolutions(struct ptl_request *q)
{
    static const struct of_attempt resolutions = {PTL_SQL_resolution_of, on_items};
    ask_attempt(q, &resolutions);
}

static void on_resolutions(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    size_t limit = (size_t)ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX);
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    PTL_JSON *items = ptl_rows_array(rows);
    json_t *next = json_null();
    if (json_array_size(items) > limit) {
        json_array_remove(items, limit);
        next = json_incref(json_object_get(json_array_get(items, limit - 1), "id"));
    }
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    ptl_answer_json(q, 200, body);
}

static bool one_of(const char *const *choices, const char *value)
{
    for (size_t i = 0; choices[i]; i++)
        if (ptl_str_eq(choices[i], value))
            return true;
    return false;
}

/* The project to look at: the token's, else the query's. False: answered. */
static bool project_of(struct ptl_request *q, const char **ret)
{
    const char *asked = ptl_request_query(q, "project");
    if (asked && *asked && !ptl_request_may_project(q, asked))
        return false;
    *ret = confined(q) ? confined(q) : asked && *asked ? asked : NULL;
    return true;
}

void ptl_on_get_resolutions(struct ptl_request *q)
{
    const char *project, *state = ptl_request_query(q, "state");
    if (!project_of(q, &project))
        return;
    if (state && !one_of(resolution_states, state)) {
        ptl_answer_problem(q, 422, "state: expected candidate, confirmed or rejected; got '%.60s'", state);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_str(&a, ptl_request_query(q, "challenge"));
    ptl_args_str(&a, state);
    ptl_args_i64(&a, ptl_request_query_i64(q, "before", 0, 0, INT64_MAX));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX) + 1);
    if (ptl_store_query(store_of(q), PTL_SQL_resolution_list, &a, on_resolutions, q) != 0)
        busy(q);
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
    if (ptl_store_query(store_of(q), PTL_SQL_resolution_get, &a, on_resolution, q) != 0)
        busy(q);
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
    ptl_args_str(&a, confined(q));
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
    const char *project, *by = ptl_request_query(q, "by"), *interval = ptl_request_query(q, "interval"),
                         *since = ptl_request_query(q, "since"), *until = ptl_request_query(q, "until");
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
        (until && *until && ptl_failure_time(until, "until", now, to, &err) < 0)) {
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
    if (ptl_store_query(store_of(q), PTL_SQL_trend, &a, on_items, q) != 0)
        busy(q);
}

void ptl_on_get_trend_operators(struct ptl_request *q)
{
    const char *project;
    if (!project_of(q, &project))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_str(&a, ptl_request_query(q, "platform"));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX));
    if (ptl_store_query(store_of(q), PTL_SQL_trend_operators, &a, on_items, q) != 0)
        busy(q);
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
    if (ptl_store_query(store_of(q), PTL_SQL_trend_toolchains, &a, on_items, q) != 0)
        busy(q);
}
