/* routes_failures.c - search for past failures, with facets and as CSV.
 *
 * A search looks at the newest failures first (failure_recent): what is asked for often is found there at
 * once. Only when that page stays short, what is asked for is rare and the index of terms (failure_find)
 * reads few rows. So neither frequent nor rare words cost more than a bounded set.
 *
 * in=log: the words are looked for in whole logs (failure_log), in the same way. Its vectors know no places,
 * so quoted texts are then looked for in the logs themselves, one after another, a bounded number a request;
 * the cursor goes on behind the last log looked into, so that nothing is lost by the bound. */
#include "body.h"
#include "rows.h"
#include "failure_filter.h"
#include <portolan/clock.h>
#include <float.h>
#include <stdio.h>

enum {
    LIMIT_DEFAULT = 50,
    LIMIT_MAX = 500,
    WINDOW = 3000,           /* failures looked at first: some 5 ms */
    WINDOW_WITHOUT = 200000, /* the same where no term can lead to rare ones */
    RANKED_MAX = 1000,       /* matches that are ordered by likeness */
    COST_BAND = 20000,       /* by cost: then among so many of the costliest, … */
    COST_MATCHES = 20000,    /* … then the costliest of so many that match */
    LOG_WINDOW = 300,        /* as WINDOW, of whole logs: their words are many, and read row by row */
    LOOK_LOGS = 100,         /* logs looked into for quoted texts, of one page … */
    LOOK_BYTES = 64 << 20,   /* … and how much of them */
    FACET_DENSE = 200,       /* matches among the newest from which on these alone are counted */
    FACET_WINDOW = 3000,
    FACET_ROWS = 2000, /* counted through the index of terms */
    FACET_VALUES = 100,
    CSV_ROWS = 50000,
    CSV_PAGE = 500,
    CSV_LOOKS = 10, /* so many times what one page looks into */
    CSV_WAITING = 1 << 20,
};
#define AT_MAX_US 253402300799000000 /* the end of the year 9999 */
enum sort { BY_TIME, BY_SIMILARITY, BY_COST };

struct search {
    struct ptl_request *q;
    struct ptl_failure_filter f;
    enum sort sort;
    int64_t limit;
    /* cursor: the last row given */
    bool behind;
    int64_t at_us, id, asked_us;
    char cost[40]; /* or rank: as the database wrote it, so that nothing is lost */
    int step;      /* 0: window, 1: the index of terms; by cost 1: a band, 2: all */
    /* quoted texts in whole logs: the page of candidates, and what of it stood the look */
    struct ptl_rows *rows;
    json_t *items;
    int row, looked;
    int64_t looked_bytes;
    bool page_full;
    /* csv */
    bool csv, gone, waiting; /* waiting: for the peer to read, with nothing else under way */
    int64_t rows_given;
    struct ptl_timer *wait;
};

static struct ptl_store *store_of(struct ptl_request *q)
{
    return ptl_core_store(ptl_request_core(q));
}

static void search_free(struct search *s)
{
    ptl_failure_filter_done(&s->f);
    ptl_timer_free(s->wait);
    ptl_rows_unref(s->rows);
    json_decref(s->items);
    free(s);
}

static const char *query_of(void *ctx, const char *name)
{
    return ptl_request_query(ctx, name);
}

/* False: answered. */
static bool read_filter(struct ptl_request *q, struct ptl_failure_filter *f)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *project = ptl_request_query(q, "project");
    if (project && *project && !ptl_request_may_project(q, project))
        return false;
    if (ptl_failure_filter_read(query_of, q, ptl_request_confined(q), ptl_wall_ms(), f, &err) < 0) {
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
static bool read_number(const char **p, char end, int64_t *ret)
{
    char *at = NULL;
    *ret = strtoll(*p, &at, 10);
    if (at == *p || *at != end || *ret < 0)
        return false;
    *p = at + (end != 0);
    return true;
}

/* False: answered. */
static bool read_cursor(struct search *s)
{
    static const char letters[] = {[BY_TIME] = 't', [BY_SIMILARITY] = 's', [BY_COST] = 'c'};
    const char *cursor = ptl_request_query(s->q, "cursor"), *p = cursor;
    int64_t step = 0;
    if (!cursor || !*cursor)
        return true;
    s->behind = true;
    bool good = *p++ == letters[s->sort];
    if (good && s->sort == BY_TIME) {
        good = read_number(&p, '_', &s->at_us);
    } else if (good) {
        size_t n = strspn(p, "0123456789.e+-");
        good = n > 0 && n < sizeof(s->cost) && p[n] == '_';
        memcpy(s->cost, p, good ? n : 0);
        p += good ? n + 1 : 0;
        if (good) {
            char *end;
            double cost = strtod(s->cost, &end);
            good = *end == 0 && cost >= -FLT_MAX && cost <= FLT_MAX;
        }
    }
    if (s->sort == BY_SIMILARITY)
        good = good && read_number(&p, '_', &s->id) && read_number(&p, '_', &s->asked_us) &&
               read_number(&p, 0, &step) && step <= 1;
    else
        good = good && read_number(&p, 0, &s->id);
    s->step = (int)step;
    if (good && s->id > 0 && s->at_us <= AT_MAX_US && s->asked_us <= AT_MAX_US)
        return true;
    ptl_answer_problem(s->q, 422, "cursor: not one of a list in this order; begin without it");
    return false;
}

static void ask(struct search *s);
static void csv_page(struct search *s, json_t *items, bool more, const char *cut);

static void ask_ranked(struct search *s);

static void next_page(struct search *s)
{
    if (s->sort == BY_SIMILARITY) {
        ask_ranked(s);
        return;
    }
    s->step = 0;
    ask(s);
}

static void answer_list(struct search *s, json_t *items, bool more, const char *cut)
{
    json_t *next = !more                ? json_null()
                   : s->sort == BY_COST ? json_sprintf("c%s_%lld", s->cost, (long long)s->id)
                   : s->sort == BY_TIME ? json_sprintf("t%lld_%lld", (long long)s->at_us, (long long)s->id)
                                        : json_sprintf("s%s_%lld_%lld_%d", s->cost, (long long)s->id,
                                                       (long long)s->asked_us, s->step);
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    if (cut)
        json_object_set_new(body, "cut", json_string(cut));
    ptl_answer_json(s->q, 200, body);
    search_free(s);
}

static void give(struct search *s, json_t *items, bool more, const char *cut)
{
    if (s->csv)
        csv_page(s, items, more, cut);
    else
        answer_list(s, items, more, cut && *cut ? cut : NULL);
}

static void fail(struct search *s, const struct ptl_error *err)
{
    if (s->wait) { /* a CSV, begun: what is missing must be seen in it */
        PTL_BUF b = PTL_BUF_INIT;
        ptl_buf_printf(&b, "# cut after %lld failures: %s\r\n", (long long)s->rows_given,
                       err ? "the database did not answer, ask again"
                           : "the database queue is full, ask again in a moment");
        if (!s->gone)
            ptl_stream_piece(s->q, b.data, b.len);
        ptl_stream_end(s->q);
    } else if (err)
        ptl_answer_result(s->q, 200, err->code, NULL, err);
    else
        ptl_answer_busy(s->q);
    search_free(s);
}

/* Is there a term that leads to few rows? */
static bool has_terms(const struct ptl_failure_filter *f)
{
    return json_object_size(f->terms) > 0 &&
           !(json_object_size(f->terms) == 1 && json_object_get(f->terms, "not"));
}

static json_t *take_item(struct search *s, struct ptl_rows *rows, int row)
{
    static const char *const inner[] = {"complete", "at_us", "cost",    "log_bytes",
                                        "ranked",   "rank",  "asked_us"};
    json_t *o = ptl_row_object(rows, row);
    for (size_t k = 0; k < PTL_ARRAY_LEN(inner); k++)
        json_object_del(o, inner[k]);
    s->id = ptl_row_i64(rows, row, "attempt_id");
    if (s->sort == BY_TIME)
        s->at_us = ptl_row_i64(rows, row, "at_us");
    else
        snprintf(s->cost, sizeof(s->cost), "%s",
                 ptl_row_str(rows, row, s->sort == BY_COST ? "cost" : "rank"));
    return o;
}

/* ---- quoted texts in whole logs */
static void look_next(struct search *s);

static void look_end(struct search *s, bool more, bool busy_logs)
{
    PTL_JSON *items = s->items;
    char cut[200] = "";
    s->items = NULL;
    s->rows = ptl_rows_unref(s->rows);
    if (busy_logs)
        snprintf(cut, sizeof(cut),
                 "many logs are being looked into just now: %d of these were, go on with the cursor",
                 s->looked);
    else if (more && (int64_t)json_array_size(items) < s->limit)
        snprintf(cut, sizeof(cut), "%d logs with these words were looked into, go on with the cursor",
                 s->looked);
    give(s, items, more, cut);
}

static void on_looked(void *ctx, int result, const json_t *answer, const struct ptl_error *err PTL_UNUSED)
{
    struct search *s = ctx;
    if (result == PTL_FULL || result == -EAGAIN) {
        if (s->looked == 0)
            fail(s, NULL);
        else
            look_end(s, true, true);
        return;
    }
    s->looked++;
    s->looked_bytes += ptl_row_i64(s->rows, s->row, "log_bytes");
    PTL_JSON *o = take_item(s, s->rows, s->row++);
    if (result == 0 && ptl_json_flag(answer, "all", false)) {
        json_object_set(o, "log_hits", json_object_get(answer, "hits"));
        json_array_append(s->items, o);
    }
    look_next(s);
}

static void look_next(struct search *s)
{
    int n = ptl_rows_count(s->rows);
    bool page_done = s->row >= n || s->row >= (int)s->limit, more = !page_done || s->page_full;
    int share = s->csv ? CSV_LOOKS : 1;
    if ((int64_t)json_array_size(s->items) == s->limit || s->looked >= share * LOOK_LOGS ||
        s->looked_bytes >= (int64_t)share * LOOK_BYTES || (page_done && !s->page_full)) {
        look_end(s, more, false);
    } else if (page_done) {
        s->behind = true;
        next_page(s);
    } else {
        ptl_core_log_find(ptl_request_core(s->q), ptl_row_i64(s->rows, s->row, "attempt_id"),
                          ptl_row_i64(s->rows, s->row, "log_bytes"), json_object_get(s->f.terms, "exact"),
                          on_looked, s);
    }
}

static void look(struct search *s, struct ptl_rows *rows, bool page_full)
{
    ptl_rows_unref(s->rows);
    s->rows = ptl_rows_ref(rows);
    s->row = 0;
    s->page_full = page_full;
    if (!s->items) {
        s->items = json_array();
        s->looked = 0;
        s->looked_bytes = 0;
    }
    look_next(s);
}

/* ---- pages */
static void on_page(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct search *s = ctx;
    if (err) {
        fail(s, err);
        return;
    }
    int n = ptl_rows_count(rows), full = (int)s->limit + 1;
    bool complete = n > 0 && ptl_row_bool(rows, 0, "complete"),
         found = n > 0 && !ptl_row_null(rows, 0, "attempt_id");
    if (!complete && n < full && s->step < (s->sort == BY_COST && has_terms(&s->f) ? 2 : 1)) {
        s->step++;
        ask(s);
        return;
    }
    if (found && s->f.in_log && json_object_get(s->f.terms, "exact")) {
        look(s, rows, n == full);
        return;
    }
    if (s->items) { /* nothing behind the last page looked into */
        look_end(s, false, false);
        return;
    }
    PTL_JSON *items = json_array();
    for (int i = 0; found && i < n && i < (int)s->limit; i++)
        json_array_append_new(items, take_item(s, rows, i));
    char cut[120] = "";
    if (s->step > 0 && !has_terms(&s->f) && n < full && !complete)
        snprintf(cut, sizeof(cut), "only the %d %s failures were looked at", WINDOW_WITHOUT,
                 s->sort == BY_COST ? "costliest" : "newest");
    else if (s->step == 2 && !complete)
        snprintf(cut, sizeof(cut),
                 "the costliest of %d that match, there are more: narrow the filters or the time",
                 COST_MATCHES);
    give(s, items, n == full, cut);
}

static enum ptl_sql statement_of(const struct search *s, bool terms)
{
    if (s->f.in_log)
        return terms ? PTL_SQL_failure_log_find : PTL_SQL_failure_log_recent;
    if (s->sort == BY_COST)
        return !terms         ? PTL_SQL_failure_costly
               : s->step == 1 ? PTL_SQL_failure_band_costly
                              : PTL_SQL_failure_find_costly;
    return terms ? PTL_SQL_failure_find : PTL_SQL_failure_recent;
}

static void ask(struct search *s)
{
    struct ptl_args a;
    bool terms = s->step > 0 && has_terms(&s->f);
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
        ptl_args_i64(&a, s->step > 0 ? WINDOW_WITHOUT : s->f.in_log ? LOG_WINDOW : WINDOW);
    else if (s->sort == BY_COST)
        ptl_args_i64(&a, s->step == 1 ? COST_BAND : COST_MATCHES);
    if (ptl_store_query(store_of(s->q), statement_of(s, terms), &a, on_page, s) != 0)
        fail(s, NULL);
}

/* ---- by likeness: ranked among a bounded set, which a cursor keeps as it was when the first page was asked
 * for, by that time and by the step that found it */

static void on_ranked(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct search *s = ctx;
    if (err) {
        fail(s, err);
        return;
    }
    int n = ptl_rows_count(rows), full = (int)s->limit + 1;
    int64_t ranked = ptl_row_i64(rows, 0, "ranked");
    if (!s->behind && s->step == 0 && ranked < RANKED_MAX / 4) {
        s->step = 1;
        ask_ranked(s);
        return;
    }
    PTL_JSON *items = json_array();
    s->asked_us = ptl_row_i64(rows, 0, "asked_us");
    for (int i = 0; i < n && i < (int)s->limit && !ptl_row_null(rows, i, "attempt_id"); i++)
        json_array_append_new(items, take_item(s, rows, i));
    char cut[120] = "";
    if (s->step == 0 || ranked == RANKED_MAX)
        snprintf(cut, sizeof(cut), "ranked among the newest %lld that match", (long long)ranked);
    give(s, items, n == full, cut);
}

static void ask_ranked(struct search *s)
{
    struct ptl_args a;
    put_filter(&a, &s->f);
    ptl_args_i64(&a, s->limit + 1);
    if (s->step == 0)
        ptl_args_i64(&a, WINDOW);
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, RANKED_MAX);
    ptl_args_str(&a, s->behind ? s->cost : NULL);
    ptl_args_i64(&a, s->id);
    if (s->behind)
        ptl_args_i64(&a, s->asked_us);
    else
        ptl_args_null(&a);
    if (ptl_store_query(store_of(s->q), PTL_SQL_failure_rank, &a, on_ranked, s) != 0)
        fail(s, NULL);
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
    } else if (s->f.in_log && s->sort != BY_TIME) {
        ptl_answer_problem(q, 422, "sort: what is found in whole logs (in=log) comes newest first");
    } else if (read_cursor(s)) {
        return s;
    }
    search_free(s);
    return NULL;
}

void ptl_on_get_failures(struct ptl_request *q)
{
    struct search *s = search_new(q);
    if (s)
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
    if (s->waiting) { /* the timer may come no more: the daemon stops */
        ptl_stream_end(q);
        search_free(s);
    }
}

static void csv_on(void *ctx)
{
    struct search *s = ctx;
    s->waiting = false;
    if (s->gone) {
        ptl_stream_end(s->q);
        search_free(s);
    } else if (ptl_stream_waiting(s->q) > CSV_WAITING) {
        s->waiting = true;
        ptl_timer_after(s->wait, 50);
    } else {
        next_page(s);
    }
}

static void csv_page(struct search *s, json_t *items, bool more, const char *cut)
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
    s->rows_given += (int64_t)json_array_size(items);
    s->behind = true;
    if (more && s->f.in_log && json_object_get(s->f.terms, "exact")) {
        more = false;
        ptl_buf_printf(&b, "# cut after %d logs looked into: narrow the filters or the time\r\n", s->looked);
    } else if (more && s->rows_given >= CSV_ROWS) {
        ptl_buf_printf(&b, "# cut after %d failures: narrow the filters or the time\r\n", CSV_ROWS);
    } else if (!more && *cut) {
        ptl_buf_printf(&b, "# %s\r\n", cut);
    }
    if (!s->gone)
        ptl_stream_piece(s->q, b.data, b.len);
    if (more && s->rows_given < CSV_ROWS && !s->gone) {
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
    s->behind = false; /* always the whole list */
    s->csv = true;
    s->limit = CSV_PAGE;
    ptl_request_set(q, s, csv_gone);
    next_page(s);
}

/* ---- facets
 * Filters of class facts alone are counted exactly from the classes, but agents, which classes do not know:
 * those among the newest failures, asked for at the same time on another connection. Else the newest
 * failures, and where these hold few that match, the index of terms, which looks at a bounded number. What
 * was cut is said in `note`. */
struct facets {
    struct ptl_request *q;
    struct ptl_failure_filter f;
    enum {
        STEP_CLASSES,
        STEP_WINDOW,
        STEP_WIDE, /* the window is the answer */
        STEP_TERMS,
        STEP_LOG
    } step;
    int asked; /* answers still to come */
    bool busy;
    struct ptl_error err;
    struct ptl_rows *classes, *among;
};

/* What an answer's rows say beside the lists. */
struct facets_told {
    int64_t total, since_us;
    bool complete;
};

static void facets_free(struct facets *x)
{
    ptl_failure_filter_done(&x->f);
    ptl_rows_unref(x->classes);
    ptl_rows_unref(x->among);
    free(x);
}

static json_t *facet_lists(void)
{
    return json_pack("{s:[],s:[],s:[],s:[],s:[],s:[],s:[]}", "challenge", "platform", "project", "kind",
                     "target", "tool", "agent");
}

/* Adds the rows of one facet, or of all (only NULL), to lists. */
static void read_facets(struct ptl_rows *rows, const char *only, json_t *lists, struct facets_told *told)
{
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        const char *facet = ptl_row_str(rows, i, "facet");
        int64_t count = ptl_row_i64(rows, i, "count");
        json_t *list = json_object_get(lists, facet);
        if (ptl_str_eq(facet, "complete"))
            told->complete = count != 0;
        else if (ptl_str_eq(facet, "since"))
            told->since_us = count;
        else if (ptl_str_eq(facet, "total") && !only)
            told->total = count;
        else if (list && (!only || ptl_str_eq(only, facet)))
            json_array_append_new(list, json_pack("{s:s?,s:I}", "value", ptl_row_str(rows, i, "value"),
                                                  "count", (json_int_t)count));
    }
}

static void facets_done(struct facets *x);

static void facets_answered(struct facets *x, struct ptl_rows **ret, struct ptl_rows *rows,
                            const struct ptl_error *err)
{
    if (err)
        x->err = *err;
    else
        *ret = ptl_rows_ref(rows);
    if (--x->asked == 0)
        facets_done(x);
}

static void on_classes(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct facets *x = ctx;
    facets_answered(x, &x->classes, rows, err);
}

static void on_among(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct facets *x = ctx;
    facets_answered(x, &x->among, rows, err);
}

static void facets_ask(struct facets *x, enum ptl_sql sql, struct ptl_args *a, ptl_rows_fn *fn)
{
    if (ptl_store_query(store_of(x->q), sql, a, fn, x) == 0)
        x->asked++;
    else
        x->busy = true;
}

static void ask_facets(struct facets *x)
{
    struct ptl_args a;
    if (x->step == STEP_CLASSES) {
        ptl_args_init(&a);
        ptl_args_json(&a, x->f.terms);
        if (x->f.resolved < 0)
            ptl_args_null(&a);
        else
            ptl_args_bool(&a, x->f.resolved);
        ptl_args_i64(&a, FACET_VALUES);
        facets_ask(x, PTL_SQL_failure_facets, &a, on_classes);
    }
    put_filter(&a, &x->f);
    ptl_args_i64(&a, x->step >= STEP_TERMS ? FACET_ROWS : FACET_WINDOW);
    ptl_args_i64(&a, FACET_VALUES);
    facets_ask(x,
               x->step == STEP_LOG     ? PTL_SQL_failure_log_facets
               : x->step == STEP_TERMS ? PTL_SQL_failure_facets_find
                                       : PTL_SQL_failure_facets_recent,
               &a, on_among);
    if (x->asked == 0)
        facets_done(x);
}

/* What was left out, in words; empty: nothing. True: the counts are of a part only. */
static bool facets_cut(const struct facets *x, const struct facets_told *told, char *note, size_t size)
{
    char since[32];
    const char *apart =
        x->step == STEP_LOG && json_object_get(x->f.terms, "exact")
            ? "logs with these words are counted: whether they stand together is seen in the list"
            : "";
    ptl_wall_rfc3339(told->since_us / 1000, since);
    if (told->complete)
        snprintf(note, size, "%s", apart);
    else if (x->step == STEP_CLASSES)
        snprintf(note, size, "agents are counted among the newest %d failures, since %s", FACET_WINDOW,
                 since);
    else if (x->step < STEP_TERMS)
        snprintf(note, size, "counted among the newest %d failures, since %s", FACET_WINDOW, since);
    else
        snprintf(note, size, "counted among %d of those that match, the oldest of %s; there may be more%s%s",
                 FACET_ROWS, since, *apart ? "; " : "", apart);
    return !told->complete && x->step != STEP_CLASSES;
}

static void facets_done(struct facets *x)
{
    struct facets_told told = {.complete = true};
    char note[300] = "";
    if (x->err.code || x->busy) {
        if (x->err.code)
            ptl_answer_result(x->q, 200, x->err.code, NULL, &x->err);
        else
            ptl_answer_busy(x->q);
        facets_free(x);
        return;
    }
    PTL_JSON *lists = facet_lists();
    if (x->classes)
        read_facets(x->classes, NULL, lists, &told);
    read_facets(x->among, x->classes ? "agent" : NULL, lists, &told);
    if (x->step == STEP_WINDOW && !told.complete) {
        x->step = told.total >= FACET_DENSE || !has_terms(&x->f) ? STEP_WIDE : STEP_TERMS;
        if (x->step == STEP_TERMS) {
            x->among = ptl_rows_unref(x->among);
            ask_facets(x);
            return;
        }
    }
    bool capped = facets_cut(x, &told, note, sizeof(note));
    PTL_JSON *body = json_pack("{s:I,s:b,s:o,s:O,s:s?}", "total", (json_int_t)told.total, "capped", capped,
                               "total_text", json_sprintf("%lld%s", (long long)told.total, capped ? "+" : ""),
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
    x->step = x->f.in_log ? STEP_LOG : x->f.classes_only ? STEP_CLASSES : STEP_WINDOW;
    ask_facets(x);
}
