/* routes_read.c - routes that read: one table says which statement answers which path, with what parameters;
 * a few answers need more. */
#include "server.h"
#include "rows.h"
#include <portolan/client.h>
#include <portolan/hash.h>
#include <portolan/spec.h>
#include <stdio.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 500 };

/* Parameters, one letter and a name each: p text of the path, P number of the path, q text of the query, s
 * text of the query or "", b number of the query or 0, l the limit + 1 (one more tells whether there is a
 * next page), c the project the token is confined to, v the token's project or else the query's "project", n
 * SQL null. */
struct reading {
    const char *pattern;
    enum ptl_sql sql;
    const char *params;
    const char *cursor;     /* query parameter that goes on; NULL: one page */
    const char *cursor_col; /* its value in the last row */
};
static const struct reading lists[] = {
    {"/api/v1/tokens",                        PTL_SQL_token_list,          "b:after l",                           "after",  "id"  },
    {"/api/v1/audit",                         PTL_SQL_audit_list,          "b:before l",                          "before", "id"  },
    {"/api/v1/agents",                        PTL_SQL_agent_list,          "b:after l",                           "after",  "id"  },
    {"/api/v1/projects",                      PTL_SQL_project_list,        "s:after l c",                         "after",  "name"},
    {"/api/v1/projects/{project}/secrets",    PTL_SQL_project_secret_list, "p:project",                           NULL,     NULL  },
    {"/api/v1/projects/{project}/deliveries", PTL_SQL_delivery_list,       "p:project b:before l",                "before", "id"  },
    {"/api/v1/projects/{project}/pushes",     PTL_SQL_push_list,           "p:project b:before l",                "before", "id"  },
    {"/api/v1/runs",                          PTL_SQL_run_list,            "v q:state q:ref b:before l q:commit", "before", "id"  },
    {"/api/v1/runs/{id}/statuses",            PTL_SQL_status_list,         "P:id",                                NULL,     NULL  },
    {"/api/v1/stages/{id}/attempts",          PTL_SQL_attempt_list,        "P:id l",                              NULL,     NULL  },
    {"/api/v1/attempts/{id}/artifacts",       PTL_SQL_attempt_artifacts,   "P:id s:after l",                      "after",  "path"},
    {"/api/v1/attempts/{id}/feedback",        PTL_SQL_feedback_list,       "P:id l",                              NULL,     NULL  },
    {"/api/v1/attempts/{id}/diagnoses",       PTL_SQL_diagnosis_past_list, "P:id b:before l",                     "before", "id"  },
};
static const struct reading ones[] = {
    {"/api/v1/projects/{project}", PTL_SQL_project_get, "p:project n", NULL, NULL},
    {"/api/v1/stages/{id}",        PTL_SQL_stage_get,   "P:id",        NULL, NULL},
};

static const struct reading *find(const struct reading *table, size_t n, const char *pattern)
{
    for (size_t i = 0; i < n; i++)
        if (ptl_str_eq(table[i].pattern, pattern))
            return &table[i];
    return NULL;
}

static int64_t page_of(struct ptl_request *q)
{
    return ptl_request_query_i64(q, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX);
}

static void fill(struct ptl_request *q, const char *params, struct ptl_args *a)
{
    ptl_args_init(a);
    for (const char *p = params; *p;) {
        char name[32];
        size_t n = strcspn(p, " ");
        snprintf(name, sizeof(name), "%.*s", n > 2 ? (int)n - 2 : 0, n > 2 ? p + 2 : "");
        const char *confined = ptl_request_identity(q)->project;
        const char *text = *p == 'p' || *p == 'P' ? ptl_request_param(q, name)
                                                  : ptl_request_query(q, *p == 'v' ? "project" : name);
        switch (*p) {
        case 'p':
        case 'q':
            ptl_args_str(a, text);
            break;
        case 's':
            ptl_args_str(a, text ? text : "");
            break;
        case 'P':
            ptl_args_i64(a, ptl_request_param_id(q, name));
            break;
        case 'b':
            ptl_args_i64(a, ptl_request_query_i64(q, name, 0, 0, INT64_MAX));
            break;
        case 'l':
            ptl_args_i64(a, page_of(q) + 1);
            break;
        case 'c':
            ptl_args_str(a, *confined ? confined : NULL);
            break;
        case 'v':
            ptl_args_str(a, *confined ? confined : text);
            break;
        default:
            ptl_args_null(a);
        }
        p += n + (p[n] == ' ');
    }
}

static void on_list(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    const struct reading *r = ptl_request_get(q);
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    PTL_JSON *items = ptl_rows_array(rows);
    json_t *next = json_null();
    size_t limit = (size_t)page_of(q);
    if (r->cursor && json_array_size(items) > limit) {
        json_array_remove(items, json_array_size(items) - 1);
        json_t *last = json_object_get(json_array_get(items, json_array_size(items) - 1), r->cursor_col);
        next = json_incref(last);
        PTL_FREE char *value = json_is_integer(last)
                                   ? ptl_xasprintf("%lld", (long long)json_integer_value(last))
                                   : ptl_url_encode(json_string_value(last));
        PTL_FREE char *link = ptl_xasprintf("<?%s=%s&limit=%zu>; rel=\"next\"", r->cursor, value, limit);
        ptl_answer_header(q, "Link", link);
    }
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    ptl_answer_json(q, 200, body);
}

/* Paths below a run, stage or attempt: their project decides whether a confined token may see them. */
static void ask(struct ptl_request *q, const struct reading *r, ptl_rows_fn *fn)
{
    struct ptl_args a;
    fill(q, r->params, &a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), r->sql, &a, fn, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void on_project_of(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    const struct reading *r = ptl_request_get(q);
    if (err)
        ptl_answer_result(q, 200, err->code, NULL, err);
    else if (ptl_rows_count(rows) == 0 && ptl_str_starts(r->pattern, "/api/v1/runs"))
        ptl_answer_no_run(q);
    else if (ptl_rows_count(rows) == 0)
        ptl_answer_problem(q, 404, "no %s %s",
                           ptl_str_starts(r->pattern, "/api/v1/stages") ? "stage" : "attempt",
                           ptl_request_param(q, "id"));
    else if (ptl_request_may_project(q, ptl_row_str(rows, 0, "project")))
        ask(q, r, on_list);
}

void ptl_on_get_list(struct ptl_request *q)
{
    const struct reading *r = find(lists, PTL_ARRAY_LEN(lists), ptl_request_pattern(q));
    ptl_request_set(q, (void *)(uintptr_t)r, NULL);
    const char *project = ptl_request_param(q, "project");
    if (project && !ptl_request_may_project(q, project))
        return;
    if (!ptl_request_param(q, "id")) {
        ask(q, r, on_list);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    enum ptl_sql owner = ptl_str_starts(r->pattern, "/api/v1/runs")     ? PTL_SQL_run_get
                         : ptl_str_starts(r->pattern, "/api/v1/stages") ? PTL_SQL_stage_get
                                                                        : PTL_SQL_attempt_run;
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), owner, &a, on_project_of, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void on_one(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "there is no such thing here");
        return;
    }
    PTL_JSON *o = ptl_row_object(rows, 0);
    const char *project = ptl_json_str(o, "project", NULL);
    if (project && !ptl_request_may_project(q, project))
        return;
    json_object_del(o, "credential_user");
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_one(struct ptl_request *q)
{
    const struct reading *r = find(ones, PTL_ARRAY_LEN(ones), ptl_request_pattern(q));
    const char *project = ptl_request_param(q, "project");
    if (!project || ptl_request_may_project(q, project))
        ask(q, r, on_one);
}

static void on_run(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED, const struct ptl_error *err)
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
    PTL_JSON *run = ptl_row_object(rows[0], 0);
    if (!ptl_request_may_project(q, ptl_json_str(run, "project", "")))
        return;
    json_object_set_new(run, "stages", ptl_rows_array(rows[1]));
    const char *base = ptl_core_options_of(ptl_request_core(q))->public_url;
    if (base)
        json_object_set_new(run, "url",
                            json_sprintf("%s/runs/%lld", base, (long long)ptl_json_i64(run, "id", 0)));
    ptl_answer_json(q, 200, run);
}

void ptl_on_get_run(struct ptl_request *q)
{
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(q)));
    for (int i = 0; i < 2; i++) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, ptl_request_param_id(q, "id"));
        ptl_batch_add(b, i == 0 ? PTL_SQL_run_get : PTL_SQL_run_stages, &a);
    }
    if (ptl_batch_run(b, on_run, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void on_why(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    json_t *items = json_array();
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        json_t *o = ptl_row_object(rows, i);
        PTL_FREE char *why = ptl_core_why_text(o);
        json_object_set_new(o, "why", json_string(why));
        json_array_append_new(items, o);
    }
    PTL_JSON *body = json_pack("{s:o,s:n}", "items", items, "next");
    ptl_answer_json(q, 200, body);
}

void ptl_on_get_why(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_null(&a);
    if (ptl_request_param(q, "id"))
        ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, page_of(q));
    ptl_args_str(&a, ptl_request_confined(q));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_stage_why, &a, on_why, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void on_report(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0 || ptl_row_null(rows, 0, "report")) {
        ptl_answer_problem(q, 404, "attempt %s has no report: only a verify that could compare has one",
                           ptl_request_param(q, "id"));
    } else if (ptl_request_may_project(q, ptl_row_str(rows, 0, "project"))) {
        PTL_JSON *report = ptl_row_json(rows, 0, "report");
        ptl_answer_json(q, 200, report);
    }
}

void ptl_on_get_report(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_attempt_get, &a, on_report, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

static void on_job(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no attempt %s", ptl_request_param(q, "id"));
        return;
    }
    PTL_JSON *job = ptl_row_json(rows, 0, "job");
    PTL_JSON *spec = ptl_row_json(rows, 0, "spec");
    if (!ptl_request_may_project(q, ptl_json_str(job, "project", "")))
        return;
    ptl_core_job_merge(job, spec);
    ptl_answer_json(q, 200, job);
}

void ptl_on_get_job(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_attempt_job, &a, on_job, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* ---- the log ---- */

enum { LOG_PAGE_MAX = 4 << 20, LOG_CHUNKS = 64 };

void ptl_answer_log_gone(struct ptl_request *q)
{
    const char *id = ptl_request_param(q, "id");
    ptl_answer_problem(
        q, 410,
        "the log of attempt %s has gone by the retention that this server is set to; what its diagnosis quoted is kept: /api/v1/attempts/%s/failure",
        id, id);
}

static void on_log(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (!ptl_rows_may_attempt(q, rows ? rows[0] : NULL, err))
        return;
    if (!ptl_row_null(rows[0], 0, "log_pruned_at")) {
        ptl_answer_log_gone(q);
        return;
    }
    int64_t at = ptl_request_query_i64(q, "offset", 0, 0, INT64_MAX / 2),
            limit = ptl_request_query_i64(q, "limit", LOG_PAGE_MAX, 1, LOG_PAGE_MAX);
    struct evbuffer *out = evbuffer_new();
    for (int i = 0; i < ptl_rows_count(rows[1]) && limit > 0; i++) {
        size_t len;
        const char *data = ptl_row_bytes(rows[1], i, "data", &len);
        int64_t start = ptl_row_i64(rows[1], i, "start_offset");
        if (!data || start > at || start + (int64_t)len <= at)
            continue;
        size_t skip = (size_t)(at - start), take = len - skip;
        if ((int64_t)take > limit)
            take = (size_t)limit;
        evbuffer_add(out, data + skip, take);
        at += (int64_t)take;
        limit -= (int64_t)take;
    }
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)at);
    ptl_answer_header(q, "X-Portolan-Next-Offset", text);
    snprintf(text, sizeof(text), "%lld", (long long)ptl_row_i64(rows[0], 0, "log_bytes"));
    ptl_answer_header(q, "X-Portolan-Log-Bytes", text);
    ptl_answer_header(q, "X-Portolan-Log-Complete",
                      ptl_row_bool(rows[0], 0, "log_complete") && at >= ptl_row_i64(rows[0], 0, "log_bytes")
                          ? "true"
                          : "false");
    ptl_answer_buffer(q, 200, "text/plain; charset=utf-8", out);
    evbuffer_free(out);
}

void ptl_on_get_log(struct ptl_request *q)
{
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(q)));
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_batch_add(b, PTL_SQL_attempt_get, &a);
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_args_i64(&a, ptl_request_query_i64(q, "offset", 0, 0, INT64_MAX / 2));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LOG_PAGE_MAX, 1, LOG_PAGE_MAX));
    ptl_args_i64(&a, LOG_CHUNKS);
    ptl_batch_add(b, PTL_SQL_log_range, &a);
    if (ptl_batch_run(b, on_log, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* ---- health, metrics, badges ---- */

void ptl_on_get_health(struct ptl_request *q)
{
    ptl_answer_text(q, 200, "text/plain", "ok\n");
}

void ptl_on_get_ready(struct ptl_request *q)
{
    if (ptl_store_is_ready(ptl_core_store(ptl_request_core(q))))
        ptl_answer_text(q, 200, "text/plain", "ready\n");
    else
        ptl_answer_problem(q, 503, "the database is not connected");
}

void ptl_on_get_version(struct ptl_request *q)
{
    PTL_JSON *o = json_pack("{s:s,s:s}", "name", "portoland", "version", PTL_VERSION);
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_schema(struct ptl_request *q)
{
    PTL_JSON *o = ptl_spec_schema();
    ptl_answer_header(q, "Cache-Control", "max-age=3600");
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_openapi(struct ptl_request *q)
{
    PTL_JSON *o = ptl_openapi();
    ptl_answer_header(q, "Cache-Control", "max-age=300");
    ptl_answer_json(q, 200, o);
}

void ptl_on_get_whoami(struct ptl_request *q)
{
    static const struct {
        unsigned bit;
        const char *name;
    } bits[] = {
        {PTL_MAY_READ,    "read"   },
        {PTL_MAY_TRIGGER, "trigger"},
        {PTL_MAY_MANAGE,  "manage" },
        {PTL_MAY_CURATE,  "curate" },
        {PTL_MAY_ADMIN,   "admin"  },
        {PTL_MAY_AGENT,   "agent"  }
    };
    const struct ptl_identity *who = ptl_request_identity(q);
    json_t *may = json_array();
    for (size_t i = 0; i < PTL_ARRAY_LEN(bits); i++)
        if (who->may & bits[i].bit)
            json_array_append_new(may, json_string(bits[i].name));
    PTL_JSON *o = json_pack("{s:s,s:s,s:s,s:o}", "name", who->name, "role",
                            who->agent_id ? "agent" : who->role, "project", who->project, "may", may);
    ptl_answer_json(q, 200, o);
}

static void metric(struct ptl_buf *b, const char *name, const char *type, const char *help)
{
    ptl_buf_printf(b, "# HELP portolan_%s %s\n# TYPE portolan_%s %s\n", name, help, name, type);
}

static void one_metric(struct ptl_buf *b, const char *name, const char *type, const char *help, double v)
{
    metric(b, name, type, help);
    ptl_buf_printf(b, "portolan_%s %.17g\n", name, v);
}

static void on_metrics(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    struct ptl_core *core = ptl_request_core(q);
    PTL_BUF b = PTL_BUF_MAX(4 << 20);
    struct ptl_core_counters c;
    struct ptl_store_counters s;
    ptl_core_counters(core, &c);
    ptl_store_counters(ptl_core_store(core), &s);
    metric(&b, "build_info", "gauge", "version of the program");
    ptl_buf_printf(&b, "portolan_build_info{version=\"" PTL_VERSION "\"} 1\n");
    one_metric(&b, "db_up", "gauge", "1 when the database answers", err ? 0 : 1);
    static const struct {
        const char *name, *label, *type, *help;
    } kinds[] = {
        {"stages",               "state", "gauge", "open stages by state"          },
        {"runs",                 "state", "gauge", "open runs by state"            },
        {"agents_online",        "host",  "gauge", "agents by host kind"           },
        {"queue_oldest_seconds", "host",  "gauge", "age of the oldest queued stage"},
        {"status_outbox_open",   NULL,    "gauge", "commit statuses not yet posted"}
    };
    for (size_t k = 0; !err && k < PTL_ARRAY_LEN(kinds); k++) {
        metric(&b, kinds[k].name, kinds[k].type, kinds[k].help);
        for (int i = 0; i < ptl_rows_count(rows); i++) {
            const char *name = ptl_row_str(rows, i, "name"), *label = ptl_row_str(rows, i, "label");
            size_t len = strlen(kinds[k].name);
            if (strncmp(name, kinds[k].name, len) != 0)
                continue;
            if (!kinds[k].label)
                ptl_buf_printf(&b, "portolan_%s %.17g\n", kinds[k].name, ptl_row_f64(rows, i, "value"));
            else
                ptl_buf_printf(&b, "portolan_%s{%s=\"%s\"} %.17g\n", kinds[k].name, kinds[k].label,
                               *label ? label : name + len + 1, ptl_row_f64(rows, i, "value"));
        }
    }
    one_metric(&b, "claims_total", "counter", "stages given to agents by this daemon", (double)c.claims);
    one_metric(&b, "finishes_total", "counter", "attempts finished through this daemon", (double)c.finishes);
    one_metric(&b, "stale_fences_total", "counter", "writes of agents refused for an old fence",
               (double)c.stale);
    one_metric(&b, "agents_lost_total", "counter", "attempts whose agent was silent past its lease",
               (double)c.agents_lost);
    one_metric(&b, "log_bytes_total", "counter", "log bytes received", (double)c.log_bytes);
    one_metric(&b, "runs_prepared_total", "counter", "runs planned", (double)c.runs_prepared);
    one_metric(&b, "runs_invalid_total", "counter", "runs without a plan", (double)c.runs_invalid);
    one_metric(&b, "diagnoses_total", "counter", "failed attempts diagnosed", (double)c.diagnoses);
    one_metric(&b, "diagnoses_failed_total", "counter", "diagnoses that failed themselves",
               (double)c.diagnoses_failed);
    static const char *const verdicts[PTL_VERDICTS] = PTL_VERDICT_NAMES;
    metric(&b, "retry_decisions_total", "counter",
           "failed attempts with retries left, by what their diagnosis said and what was done");
    for (size_t k = 0; k < 2 * PTL_VERDICTS; k++)
        ptl_buf_printf(&b, "portolan_retry_decisions_total{verdict=\"%s\",retry=\"%s\"} %llu\n",
                       verdicts[k / 2], k % 2 ? "true" : "false",
                       (unsigned long long)c.retries[k / 2][k % 2]);
    one_metric(&b, "retry_saved_seconds_total", "counter",
               "duration of attempts that a retry would have taken in vain, estimated",
               (double)c.retry_saved_ms / 1000);
    one_metric(&b, "relabelled_total", "counter", "attempts of the past diagnosed anew under newer knowledge",
               (double)c.relabelled);
    one_metric(&b, "log_words_total", "counter", "logs of failures read for their words",
               (double)c.logs_worded);
    one_metric(&b, "long_polls", "gauge", "agents waiting for work", c.polls_waiting);
    one_metric(&b, "db_statements_total", "counter", "statements answered", (double)s.statements);
    one_metric(&b, "db_statements_failed_total", "counter", "statements answered with an error",
               (double)s.failed);
    one_metric(&b, "db_transactions_total", "counter",
               "write transactions; fewer than writes, because writes of one turn share one",
               (double)s.transactions);
    one_metric(&b, "db_reconnects_total", "counter", "connections made anew", (double)s.reconnects);
    one_metric(&b, "db_queue", "gauge", "statements waiting and running", s.queued + s.running);
    metric(&b, "db_statement_seconds", "histogram", "from the call to the answer");
    uint64_t sum = 0;
    for (int i = 0; i < PTL_STORE_LATENCY_BUCKETS; i++) {
        sum += s.latency[i];
        if (i < PTL_STORE_LATENCY_BUCKETS - 1)
            ptl_buf_printf(&b, "portolan_db_statement_seconds_bucket{le=\"%g\"} %llu\n",
                           (double)ptl_store_latency_bound_us[i] / 1e6, (unsigned long long)sum);
    }
    ptl_buf_printf(
        &b,
        "portolan_db_statement_seconds_bucket{le=\"+Inf\"} %llu\nportolan_db_statement_seconds_sum %g\nportolan_db_statement_seconds_count %llu\n",
        (unsigned long long)sum, (double)s.latency_sum_us / 1e6, (unsigned long long)sum);
    ptl_answer_text(q, 200, "text/plain; version=0.0.4", ptl_buf_str(&b));
}

static void metrics_allowed(void *ctx, int status, const struct ptl_identity *who)
{
    struct ptl_request *q = ctx;
    if (status == 503) {
        on_metrics(q, NULL, &(struct ptl_error){.code = -EIO}); /* the one page that must answer then */
        return;
    }
    if (status || !(who->may & PTL_MAY_READ)) {
        ptl_answer_problem(q, status ? 401 : 403, "metrics need the metrics token or a token that may read");
        return;
    }
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_metrics, NULL, on_metrics, q) != 0)
        on_metrics(q, NULL, &(struct ptl_error){.code = -EIO});
}

void ptl_on_get_metrics(struct ptl_request *q)
{
    const char *authorization = ptl_request_header(q, "Authorization"),
               *bearer = ptl_str_starts(authorization, "Bearer ") ? authorization + 7 : NULL;
    struct ptl_identity reader = {.may = PTL_MAY_READ};
    if (bearer && ptl_secret_equal(bearer, ptl_server_metrics_token(ptl_request_server(q))))
        metrics_allowed(q, 0, &reader);
    else
        ptl_auth_token(ptl_request_server(q), bearer, metrics_allowed, q);
}

static const char *badge_color(const char *state, bool hex)
{
    if (ptl_str_eq(state, "green"))
        return hex ? "#2e7d32" : "brightgreen";
    if (ptl_str_eq(state, "red") || ptl_str_eq(state, "invalid"))
        return hex ? "#c62828" : "red";
    return hex ? "#757575" : "lightgrey";
}

static void on_badge(struct ptl_request *q, struct ptl_rows *rows, const struct ptl_error *err, bool svg)
{
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    /* The same answer for an unknown project: a badge tells nobody what exists. */
    const char *state = ptl_rows_count(rows) ? ptl_row_str(rows, 0, "state") : "unknown";
    ptl_answer_header(q, "Cache-Control", "no-cache");
    if (!svg) {
        PTL_JSON *o = json_pack("{s:i,s:s,s:s,s:s}", "schemaVersion", 1, "label", "portolan", "message",
                                state, "color", badge_color(state, false));
        ptl_answer_json(q, 200, o);
        return;
    }
    int width = 14 + 7 * (int)strlen(state);
    PTL_FREE char *text = ptl_xasprintf(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"20\" role=\"img\" aria-label=\"portolan: %s\"><title>portolan: %s</title>"
        "<rect width=\"%d\" height=\"20\" rx=\"3\" fill=\"#455a64\"/><rect x=\"62\" width=\"%d\" height=\"20\" rx=\"3\" fill=\"%s\"/>"
        "<g fill=\"#fff\" font-family=\"Verdana,sans-serif\" font-size=\"11\"><text x=\"7\" y=\"14\">portolan</text><text x=\"69\" y=\"14\">%s</text></g></svg>",
        62 + width, state, state, 62 + width, width, badge_color(state, true), state);
    ptl_answer_text(q, 200, "image/svg+xml", text);
}

static void on_badge_svg(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    on_badge(ctx, rows, err, true);
}

static void on_badge_json(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    on_badge(ctx, rows, err, false);
}

static void badge(struct ptl_request *q, ptl_rows_fn *fn)
{
    const char *branch = ptl_request_query(q, "branch");
    PTL_FREE char *ref = branch ? ptl_xasprintf("refs/heads/%s", branch) : NULL;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_param(q, "project"));
    ptl_args_str(&a, ref);
    ptl_args_str(&a, ptl_request_query(q, "stage"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_badge_get, &a, fn, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

void ptl_on_get_badge(struct ptl_request *q)
{
    badge(q, on_badge_svg);
}

void ptl_on_get_badge_json(struct ptl_request *q)
{
    badge(q, on_badge_json);
}

static void on_cctray(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    PTL_BUF b = PTL_BUF_INIT;
    const char *base = ptl_core_options_of(ptl_request_core(q))->public_url;
    ptl_buf_puts(&b, "<Projects>\n");
    for (int i = 0; i < ptl_rows_count(rows); i++) { /* names hold no character that XML would need escaped */
        const char *state = ptl_row_str(rows, i, "last_run_state");
        bool open =
            ptl_str_eq(state, "running") || ptl_str_eq(state, "preparing") || ptl_str_eq(state, "waiting");
        ptl_buf_printf(
            &b,
            "  <Project name=\"%s\" activity=\"%s\" lastBuildStatus=\"%s\" lastBuildLabel=\"%lld\" webUrl=\"%s/runs/%lld\"/>\n",
            ptl_row_str(rows, i, "name"), open ? "Building" : "Sleeping",
            ptl_str_eq(state, "green")                                 ? "Success"
            : ptl_str_eq(state, "red") || ptl_str_eq(state, "invalid") ? "Failure"
                                                                       : "Unknown",
            (long long)ptl_row_i64(rows, i, "last_run_number"), base ? base : "",
            (long long)ptl_row_i64(rows, i, "last_run_id"));
    }
    ptl_buf_puts(&b, "</Projects>\n");
    ptl_answer_text(q, 200, "application/xml", ptl_buf_str(&b));
}

void ptl_on_get_cctray(struct ptl_request *q)
{
    const char *confined = ptl_request_identity(q)->project;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, "");
    ptl_args_i64(&a, 1000);
    ptl_args_str(&a, *confined ? confined : NULL);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_project_list, &a, on_cctray, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}
