/* cmd_kb_read.c - portolan kb list, show, history: what failures are known, what speaks for them, who changed
 * what. */
#include "kb.h"

enum { LIMIT = 50 };

/* ---- list */
static int depth_of(const char *id)
{
    int n = 0;
    for (; (id = strchr(id, '/')); id++)
        n++;
    return n;
}

static void put_share(struct cli_table *t, double share)
{
    if (share > 0)
        cli_table_cell(t, CLI_PLAIN, "%.1f %%", share);
    else
        cli_table_cell(t, CLI_PLAIN, "-");
}

static void put_count(struct cli_table *t, int64_t n)
{
    if (n)
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)n);
    else
        cli_table_cell(t, CLI_PLAIN, "-");
}

/* Failures of the root that a node stands below: what its own share is of. */
static int64_t root_failures(const json_t *items, const char *id)
{
    size_t i, n = strcspn(id, "/");
    json_t *v;
    json_array_foreach(items, i, v)
    {
        const char *other = ptl_json_str(v, "id", "");
        if (strlen(other) == n && strncmp(other, id, n) == 0)
            return ptl_json_i64(v, "failures", 0);
    }
    return 0;
}

static int list_challenges(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"CHALLENGE",  false, true },
        {"ID",         false, true },
        {"PAPER",      true,  false},
        {"HERE",       true,  false},
        {"FAILURES",   true,  false},
        {"RESOLVED",   true,  false},
        {"INDICATORS", true,  false}
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    PTL_BUF path = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    ptl_buf_printf(&path, "/api/v1/kb/challenges?retired=%s", cli_flag(c, "retired") ? "true" : "false");
    static const char *const names[][2] = {
        {"taxonomy", "taxonomy"},
        {"words",    "q"       },
        {"project",  "project" }
    };
    for (i = 0; i < PTL_ARRAY_LEN(names); i++) {
        PTL_FREE char *value = cli_text(c, names[i][0]) ? ptl_url_encode(cli_text(c, names[i][0])) : NULL;
        if (value)
            ptl_buf_printf(&path, "&%s=%s", names[i][1], value);
    }
    int r = cli_get(c, ptl_buf_str(&path), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    const json_t *items = json_object_get(list, "items");
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(items, i, v)
    {
        const char *id = ptl_json_str(v, "id", "?"), *kind = ptl_json_str(v, "kind", "");
        int64_t failures = ptl_json_i64(v, "failures", 0), all = root_failures(items, id);
        enum cli_style style = ptl_json_flag(v, "retired", false) ? CLI_DIM
                               : ptl_str_eq(kind, "root")         ? CLI_BOLD
                                                                  : CLI_PLAIN;
        cli_table_cell(t, style, "%*s%s", 2 * depth_of(id), "", ptl_json_str(v, "title", "?"));
        cli_table_cell(t, CLI_DIM, "%s", id);
        put_share(t, ptl_json_num(v, "share", 0));
        put_share(t, all ? 100.0 * (double)failures / (double)all : 0);
        put_count(t, failures);
        put_count(t, ptl_json_i64(v, "resolved", 0));
        put_count(t, ptl_json_i64(v, "indicators", 0));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note(
        c,
        "PAPER: share of the platform's questions (Chen et al. 2020); HERE: share of this installation's failures. One of them: portolan kb show ID");
    return 0;
}

static int list_indicators(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"INDICATOR", false, true },
        {"ROLE",      false, false},
        {"SURE",      true,  false},
        {"BY",        false, false},
        {"SAYS",      false, true }
    };
    static const char *const names[][2] = {
        {"words",     "q"        },
        {"challenge", "challenge"},
        {"area",      "area"     }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    PTL_BUF path = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    ptl_buf_printf(&path, "/api/v1/kb/indicators?retired=%s", cli_flag(c, "retired") ? "true" : "false");
    for (i = 0; i < PTL_ARRAY_LEN(names); i++) {
        PTL_FREE char *value = cli_text(c, names[i][0]) ? ptl_url_encode(cli_text(c, names[i][0])) : NULL;
        if (value)
            ptl_buf_printf(&path, "&%s=%s", names[i][1], value);
    }
    int r = cli_list(c, ptl_buf_str(&path), "after", cli_text(c, "after"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, v)
    {
        bool retired = ptl_json_flag(v, "retired", false);
        const char *summary = ptl_json_str(v, "summary", "");
        cli_table_cell(t, retired ? CLI_DIM : CLI_PLAIN, "%s%s", ptl_json_str(v, "id", "?"),
                       retired ? " (retired)" : "");
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(v, "role", "?"));
        if (ptl_json_num(v, "specificity", 0) > 0)
            cli_table_cell(t, CLI_PLAIN, "%.2f", ptl_json_num(v, "specificity", 0));
        else
            cli_table_cell(t, CLI_PLAIN, "-");
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(v, "updated_by", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", *summary ? summary : ptl_json_str(v, "pattern", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "after");
    return 0;
}

int cli_cmd_kb_list(struct cli *c)
{
    bool indicators = cli_flag(c, "indicators") || cli_text(c, "challenge") || cli_text(c, "area");
    return indicators ? list_indicators(c) : list_challenges(c);
}

/* ---- show */
static void put_field(struct ptl_buf *b, const char *name, const char *text, bool color)
{
    PTL_FREE char *padded = ptl_xasprintf("%-12s", name);
    PTL_FREE char *clean = cli_clean(text);
    cli_styled(b, CLI_DIM, color, padded);
    ptl_buf_printf(b, "%s\n", clean);
}

static void put_words(struct ptl_buf *b, const char *name, const json_t *list, bool color)
{
    PTL_BUF text = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
        ptl_buf_printf(&text, "%s%s", i ? "; " : "", json_is_string(v) ? json_string_value(v) : "?");
    if (text.len)
        put_field(b, name, ptl_buf_str(&text), color);
}

static void put_remedies(struct ptl_buf *b, const json_t *remedies, bool color)
{
    size_t i, k;
    json_t *r, *v;
    json_array_foreach(remedies, i, r)
    {
        const char *tool = ptl_json_str(r, "tool", NULL), *versions = ptl_json_str(r, "versions", NULL);
        PTL_FREE char *text =
            ptl_xasprintf("%s%s%s%s%s", tool ? tool : "", versions && *versions ? " " : "",
                          versions ? versions : "", tool ? ": " : "", ptl_json_str(r, "text", ""));
        put_field(b, i ? "" : "do", text, color);
        json_array_foreach(json_object_get(r, "commands"), k, v)
        {
            PTL_FREE char *command = ptl_xasprintf("$ %s", json_is_string(v) ? json_string_value(v) : "");
            put_field(b, "", command, color);
        }
    }
}

static void show_challenge(struct cli *c, const json_t *o)
{
    static const char *const texts[][2] = {
        {"what it is", "about"             },
        {"developer",  "dl_developer"      },
        {"platform",   "platform_developer"},
        {"decides",    "decide"            }
    };
    const json_t *entry = json_object_get(o, "entry");
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    PTL_FREE char *path = cli_clean(ptl_json_str(o, "path", ptl_json_str(o, "title", "?")));
    cli_styled(&b, CLI_BOLD, c->color, path);
    ptl_buf_printf(&b, "  %s%s\n", ptl_json_str(o, "id", "?"),
                   ptl_json_flag(o, "retired", false) ? " (retired)" : "");
    if (json_is_number(json_object_get(o, "share"))) {
        char minutes[32];
        snprintf(minutes, sizeof(minutes), "%.0f", ptl_json_num(o, "median_minutes", 0));
        PTL_FREE char *paper = ptl_xasprintf(
            "%.1f %% of its platform's questions (%lld), %.0f %% unanswered, %s minutes to an answer",
            ptl_json_num(o, "share", 0), (long long)ptl_json_i64(o, "questions", 0),
            ptl_json_num(o, "unanswered", 0), minutes);
        put_field(&b, "paper", paper, c->color);
    }
    PTL_FREE char *here =
        ptl_xasprintf("%lld failures, %lld resolved", (long long)ptl_json_i64(o, "failures", 0),
                      (long long)ptl_json_i64(o, "resolved", 0));
    put_field(&b, "here", here, c->color);
    for (i = 0; i < PTL_ARRAY_LEN(texts); i++)
        if (ptl_json_str(entry, texts[i][1], NULL))
            put_field(&b, texts[i][0], ptl_json_str(entry, texts[i][1], ""), c->color);
    put_words(&b, "looks like", json_object_get(entry, "symptoms"), c->color);
    put_words(&b, "because of", json_object_get(entry, "causes"), c->color);
    put_remedies(&b, json_object_get(entry, "remedies"), c->color);
    put_words(&b, "sources", json_object_get(entry, "sources"), c->color);
    json_array_foreach(json_object_get(o, "links"), i, v)
    {
        PTL_FREE char *link = ptl_xasprintf("%s -> %s: %s", ptl_json_str(v, "from", "?"),
                                            ptl_json_str(v, "to", "?"), ptl_json_str(v, "why", ""));
        put_field(&b, i ? "" : "see", link, c->color);
    }
    json_array_foreach(json_object_get(o, "cases"), i, v)
    {
        PTL_FREE char *link = ptl_xasprintf("%s%s  %s", ptl_json_str(v, "title", "?"),
                                            ptl_json_flag(v, "answered", false) ? " (answered)" : "",
                                            ptl_json_str(v, "url", ""));
        put_field(&b, i ? "" : "cases", link, c->color);
    }
    json_array_foreach(json_object_get(o, "indicators"), i, v)
    {
        PTL_FREE char *text =
            ptl_xasprintf("%s  %s", ptl_json_str(v, "id", "?"), ptl_json_str(v, "summary", ""));
        put_field(&b, i ? "" : "indicators", text, c->color);
    }
    if (ptl_json_flag(o, "entry_own", false))
        put_field(&b, "wording", "this house's own; as it ships again: portolan kb edit --as-shipped ID",
                  c->color);
    cli_print_buf(c, &b);
}

static void show_indicator(struct cli *c, const json_t *o)
{
    char at[32];
    PTL_BUF b = PTL_BUF_INIT;
    PTL_FREE char *head = ptl_xasprintf(
        "# %s, revision %lld, %s by %s%s%s\n", ptl_json_str(o, "origin", "?"),
        (long long)ptl_json_i64(o, "revision", 0), cli_time_of(o, "updated_at", at),
        ptl_json_str(o, "updated_by", "?"), ptl_json_flag(o, "retired", false) ? "; retired by " : "",
        ptl_json_flag(o, "retired", false) ? ptl_json_str(o, "retired_by", "?") : "");
    cli_styled(&b, CLI_DIM, c->color, head);
    for (const char *p = ptl_json_str(o, "yaml", ""); *p;) { /* line by line: a pattern may hold anything */
        size_t n = strcspn(p, "\n");
        PTL_FREE char *line = strndup(p, n);
        PTL_FREE char *clean = cli_clean(line ? line : "");
        ptl_buf_printf(&b, "%s\n", clean);
        p += n + (p[n] == '\n');
    }
    cli_print_buf(c, &b);
}

/* An indicator or, when there is none of that id, a challenge: their ids look alike. */
int cli_kb_object(struct cli *c, const char *id, json_t **ret, bool *ret_is_indicator)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int status = 0, r = cli_settle(c);
    if (r)
        return r;
    PTL_FREE char *indicator = cli_path("/api/v1/kb/indicator?id={}", id, NULL);
    PTL_FREE char *challenge = cli_path("/api/v1/kb/challenge?id={}", id, NULL);
    r = ptl_client_json(c->client, "GET", indicator, NULL, 30000, &status, ret, &err);
    *ret_is_indicator = r == 0;
    if (r != 0 && status == 404)
        r = ptl_client_json(c->client, "GET", challenge, NULL, 30000, &status, ret, &err);
    if (r == 0)
        return 0;
    if (status == 404)
        return cli_fail(
            c, CLI_ABSENT,
            "%s is neither an indicator nor a challenge; look: portolan kb list --words TEXT, portolan kb list --indicators",
            id);
    return cli_api_failed(c, r, status, &err);
}

int cli_cmd_kb_show(struct cli *c)
{
    PTL_JSON *o = NULL;
    bool indicator;
    int r = cli_kb_object(c, cli_arg(c, 0), &o, &indicator);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, o);
    if (cli_flag(c, "yaml")) {
        cli_print(c, "%s", ptl_json_str(o, indicator ? "yaml" : "entry_yaml", ""));
        return 0;
    }
    if (indicator)
        show_indicator(c, o);
    else
        show_challenge(c, o);
    return 0;
}

/* ---- history */
static void put_diff(struct ptl_buf *b, const char *diff, bool color)
{
    while (*diff) {
        size_t n = strcspn(diff, "\n");
        PTL_FREE char *line = strndup(diff, n);
        PTL_FREE char *clean = cli_clean(line ? line : "");
        ptl_buf_puts(b, "    ");
        cli_styled(b, *clean == '+' ? CLI_GREEN : *clean == '-' ? CLI_RED : CLI_PLAIN, color, clean);
        ptl_buf_putc(b, '\n');
        diff += n + (diff[n] == '\n');
    }
}

int cli_cmd_kb_history(struct cli *c)
{
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    PTL_FREE char *path = cli_arg(c, 0) ? cli_path("/api/v1/kb/changes?object={}", cli_arg(c, 0), NULL)
                                        : ptl_xstrdup("/api/v1/kb/changes");
    int r = cli_list(c, path, "before", cli_text(c, "before"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    json_array_foreach(json_object_get(list, "items"), i, v)
    {
        char at[32];
        PTL_FREE char *line =
            ptl_xasprintf("%s  %s  %s by %s", cli_time_of(v, "at", at), ptl_json_str(v, "object", "?"),
                          ptl_json_str(v, "action", "?"), ptl_json_str(v, "actor", "?"));
        PTL_FREE char *clean = cli_clean(line);
        cli_styled(&b, CLI_BOLD, c->color, clean);
        ptl_buf_putc(&b, '\n');
        if (cli_arg(c, 0) || !ptl_str_eq(ptl_json_str(v, "action", ""), "add"))
            put_diff(&b, ptl_json_str(v, "diff", ""), c->color);
    }
    cli_print_buf(c, &b);
    if (i == 0)
        cli_note(c, "no change yet");
    cli_note_more(c, list, "before");
    return 0;
}
