/* cmd_failures.c - portolan failures search, show; portolan similar: the past, asked from a terminal. */
#include "cli.h"

enum { LIMIT = 50, PAGE_MAX = 500 };

/* The filters of the API under the names they have there; but --version is every command's own. */
static const char *const filters[] = {"challenge",  "taxonomy",     "platform", "target",  "stage",  "kind",
                                      "tool",       "tool-version", "operator", "branch",  "author", "agent",
                                      "end-reason", "since",        "until",    "resolved"};

static void put_filters(struct cli *c, struct ptl_buf *path)
{
    PTL_BUF words = PTL_BUF_INIT;
    for (size_t i = 0; cli_arg(c, i); i++)
        ptl_buf_printf(&words, "%s%s", i ? " " : "", cli_arg(c, i));
    cli_put_query(path, "q", ptl_buf_str(&words));
    cli_put_query(path, "in", cli_text(c, "in"));
    cli_put_query(path, "project", cli_project(c));
    for (size_t i = 0; i < PTL_ARRAY_LEN(filters); i++)
        cli_put_query(path, ptl_str_eq(filters[i], "tool-version") ? "version" : filters[i],
                      cli_text(c, filters[i]));
}

static void failure_row(struct cli_table *t, const json_t *f)
{
    char at[32];
    bool solved = ptl_json_str(f, "resolved_at", NULL) != NULL;
    const char *challenge = ptl_json_str(f, "challenge_id", NULL), *line = ptl_json_str(f, "key_line", NULL);
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(f, "attempt_id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(f, "at", at));
    cli_table_cell(t, CLI_PLAIN, "%s#%lld", ptl_json_str(f, "project", "?"),
                   (long long)ptl_json_i64(f, "run_number", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(f, "stage", "?"));
    cli_table_cell(t, challenge ? CLI_CYAN : CLI_DIM, "%s", challenge ? challenge : "unclear");
    cli_table_cell(t, solved ? CLI_GREEN : CLI_DIM, "%s", solved ? "resolved" : "");
    cli_table_cell(t, CLI_PLAIN, "%s", line ? line : ptl_json_str(f, "summary", ""));
}

static void print_failures(struct cli *c, const json_t *items)
{
    static const struct cli_column columns[] = {
        {"ATTEMPT",   true,  false},
        {"ENDED",     false, false},
        {"RUN",       false, true },
        {"STAGE",     false, true },
        {"CHALLENGE", false, true },
        {"",          false, false},
        {"LINE",      false, true }
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *f;
    json_array_foreach(items, i, f) failure_row(t, f);
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
}

/* Where in whole logs the quoted texts stand. */
static void print_hits(struct cli *c, const json_t *items)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i, k;
    json_t *f, *h;
    json_array_foreach(items, i, f)
    {
        json_array_foreach(json_object_get(f, "log_hits"), k, h)
        {
            PTL_FREE char *text = cli_clean(ptl_json_str(h, "text", ""));
            ptl_buf_printf(&b, "attempt %lld line %lld: %s\n", (long long)ptl_json_i64(f, "attempt_id", 0),
                           (long long)ptl_json_i64(h, "line", 0), text);
        }
    }
    cli_print_buf(c, &b);
}

static int csv(struct cli *c)
{
    PTL_BUF path = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_http_request req = {
        .method = "GET", .timeout_ms = 300000, .max_answer_bytes = (size_t)256 << 20};
    struct ptl_http_answer a = {0};
    ptl_buf_puts(&path, "/api/v1/failures.csv");
    put_filters(c, &path);
    cli_put_query(&path, "sort", cli_text(c, "sort"));
    int r = cli_settle(c);
    if (r)
        return r;
    r = ptl_client_raw(c->client, ptl_buf_str(&path), &req, &a, &err);
    int status = a.status;
    if (r == 0 && status / 100 == 2) {
        fwrite(ptl_buf_str(&a.body), 1, a.body.len, c->out);
        ptl_http_answer_done(&a);
        return ferror(c->out) ? CLI_FAILED : 0;
    }
    if (r == 0) {
        PTL_JSON *problem = json_loadb(ptl_buf_str(&a.body), a.body.len, 0, NULL);
        ptl_error_set(&err, -EPROTO, "%s", ptl_json_str(problem, "detail", "the server refused"));
    }
    ptl_http_answer_done(&a);
    return cli_api_failed(c, r, status, &err);
}

int cli_cmd_failures_search(struct cli *c)
{
    PTL_BUF path = PTL_BUF_INIT;
    PTL_JSON *list = NULL, *facets = NULL;
    if (cli_flag(c, "csv"))
        return csv(c);
    ptl_buf_puts(&path, "/api/v1/failures");
    put_filters(c, &path);
    cli_put_query(&path, "sort", cli_text(c, "sort"));
    int r =
        cli_list(c, ptl_buf_str(&path), "cursor", cli_text(c, "cursor"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    const json_t *items = json_object_get(list, "items");
    if (json_array_size(items) == 0) {
        cli_note(c, "no failure matches; fewer words or filters find more");
        return 0;
    }
    print_failures(c, items);
    print_hits(c, items);
    if (ptl_json_str(list, "cut", NULL))
        cli_note(c, "%s", ptl_json_str(list, "cut", ""));
    ptl_buf_clear(&path);
    ptl_buf_puts(&path, "/api/v1/failures/facets");
    put_filters(c, &path);
    if (!c->quiet && cli_get(c, ptl_buf_str(&path), &facets) == 0) {
        const char *note = ptl_json_str(facets, "note", NULL);
        cli_note(c, "%zu of %s%s%s%s", json_array_size(items), ptl_json_str(facets, "total_text", "?"),
                 note ? " (" : "", note ? note : "", note ? ")" : "");
    }
    cli_note_more(c, list, "cursor");
    return 0;
}

static void put_member(struct ptl_buf *b, const char *title, const char *value)
{
    PTL_FREE char *clean = cli_clean(value);
    if (value && *value)
        ptl_buf_printf(b, "%-12s %s\n", title, clean);
}

int cli_cmd_failures_show(struct cli *c)
{
    static const struct {
        const char *title, *key;
    } rows[] = {
        {"project",   "project"       },
        {"stage",     "stage"         },
        {"platform",  "platform"      },
        {"tool",      "tool"          },
        {"challenge", "challenge_path"},
        {"id",        "challenge_id"  },
        {"summary",   "summary"       },
        {"line",      "key_line"      },
        {"operator",  "operator"      },
        {"ended",     "end_reason"    },
        {"branch",    "branch"        },
        {"commit",    "commit_sha"    },
        {"author",    "author"        },
        {"agent",     "agent"         },
        {"template",  "template"      }
    };
    PTL_JSON *f = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    char at[32], id[32];
    int64_t attempt;
    int r = cli_attempt_id(c, cli_arg(c, 0), &attempt);
    if (r)
        return r;
    snprintf(id, sizeof(id), "%lld", (long long)attempt);
    PTL_FREE char *path = cli_path("/api/v1/attempts/{}/failure", id, NULL);
    r = cli_get(c, path, &f);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, f);
    put_member(&b, "at", cli_time_of(f, "at", at));
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++)
        put_member(&b, rows[i].title, ptl_json_str(f, rows[i].key, NULL));
    const char *version;
    json_t *v;
    json_object_foreach(json_object_get(f, "versions"), version, v)
    {
        PTL_FREE char *text = ptl_xasprintf("%s %s", version, json_string_value(v));
        put_member(&b, "with", text);
    }
    ptl_buf_printf(&b, "%-12s %.1f minutes\n", "cost", ptl_json_num(f, "cost_minutes", 0));
    put_member(&b, "resolved",
               ptl_json_str(f, "resolved_at", NULL) ? cli_time_of(f, "resolved_at", at) : "not yet");
    if (ptl_json_str(f, "log_pruned_at", NULL))
        put_member(&b, "log", "has gone by the retention that the server is set to");
    ptl_buf_printf(&b, "next: portolan similar %s; portolan resolution list --attempt %s\n", id, id);
    cli_print_buf(c, &b);
    return 0;
}

int cli_cmd_similar(struct cli *c)
{
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    char id[32], at[32];
    int64_t attempt, template = -1;
    size_t i, k;
    json_t *f, *w;
    int r = cli_attempt_id(c, cli_arg(c, 0), &attempt);
    if (r)
        return r;
    snprintf(id, sizeof(id), "%lld", (long long)attempt);
    PTL_FREE char *path = cli_path("/api/v1/attempts/{}/similar", id, NULL);
    PTL_FREE char *limited = ptl_xasprintf("%s?limit=%lld", path, (long long)cli_int(c, "limit", 20));
    r = cli_get(c, limited, &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    json_array_foreach(json_object_get(list, "items"), i, f)
    {
        int64_t of = ptl_json_i64(f, "template_id", 0);
        if (of != template) {
            PTL_FREE char *line = cli_clean(ptl_json_str(f, "template", "no line speaks"));
            if (i)
                ptl_buf_putc(&b, '\n');
            cli_styled(&b, CLI_BOLD, c->color, line);
            ptl_buf_putc(&b, '\n');
            template = of;
        }
        bool solved = ptl_json_str(f, "resolved_at", NULL) != NULL;
        PTL_FREE char *project = cli_clean(ptl_json_str(f, "project", "?"));
        PTL_FREE char *stage = cli_clean(ptl_json_str(f, "stage", "?"));
        ptl_buf_printf(&b, "  %lld  %s  %s#%lld %s  %.2f  ", (long long)ptl_json_i64(f, "attempt_id", 0),
                       cli_time_of(f, "at", at), project, (long long)ptl_json_i64(f, "run_number", 0), stage,
                       ptl_json_num(f, "score", 0));
        if (solved)
            cli_styled(&b, CLI_GREEN, c->color, "resolved  ");
        json_array_foreach(json_object_get(f, "why"), k, w)
        {
            PTL_FREE char *why = cli_clean(json_string_value(w));
            ptl_buf_printf(&b, "%s%s", k ? "; " : "", why);
        }
        ptl_buf_putc(&b, '\n');
    }
    cli_print_buf(c, &b);
    if (json_array_size(json_object_get(list, "items")) == 0)
        cli_note(c, "nothing like it is known: the first of its kind here");
    return 0;
}
