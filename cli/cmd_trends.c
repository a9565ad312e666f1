/* cmd_trends.c - portolan trends: what fails how often, beside the paper's numbers; wanted operators; pairs
 * of toolchains that break. */
#include "cli.h"

static void put_query(struct ptl_buf *path, const char *name, const char *value)
{
    if (!value)
        return;
    PTL_FREE char *encoded = ptl_url_encode(value);
    ptl_buf_printf(path, "%c%s=%s", strchr(ptl_buf_str(path), '?') ? '&' : '?', name, encoded);
}

static void number_cell(struct cli_table *t, const json_t *o, const char *key, const char *form)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) {
        cli_table_cell(t, CLI_PLAIN, "-");
        return;
    }
    PTL_FREE char *text = ptl_xasprintf("%.1f", json_number_value(v));
    cli_table_cell(t, CLI_PLAIN, "%s%s", text, form);
}

/* The newest eight periods as bars. */
static void bars_cell(struct cli_table *t, const json_t *series)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    PTL_BUF b = PTL_BUF_INIT;
    size_t n = json_array_size(series), first = n > 12 ? n - 12 : 0;
    int64_t most = 1;
    for (size_t i = first; i < n; i++) {
        int64_t v = ptl_json_i64(json_array_get(series, i), "failures", 0);
        most = v > most ? v : most;
    }
    for (size_t i = first; i < n; i++) {
        int64_t v = ptl_json_i64(json_array_get(series, i), "failures", 0);
        ptl_buf_puts(&b, bars[v <= 0 ? 0 : v * 7 / most]);
    }
    cli_table_cell(t, CLI_CYAN, "%s", ptl_buf_str(&b));
}

static int challenges(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"CHALLENGE",       false, true },
        {"FAILURES",        true,  false},
        {"",                false, false},
        {"SHARE",           true,  false},
        {"PAPER",           true,  false},
        {"UNRESOLVED",      true,  false},
        {"PAPER NO ANSWER", true,  false},
        {"HOURS",           true,  false},
        {"PAPER HOURS",     true,  false}
    };
    PTL_BUF path = PTL_BUF_INIT, b = PTL_BUF_INIT;
    PTL_JSON *list = NULL;
    size_t i;
    json_t *o;
    ptl_buf_puts(&path, "/api/v1/trends");
    put_query(&path, "by", cli_text(c, "by"));
    put_query(&path, "interval", cli_text(c, "interval"));
    put_query(&path, "project", cli_project(c));
    put_query(&path, "since", cli_text(c, "since"));
    put_query(&path, "until", cli_text(c, "until"));
    int r = cli_get(c, ptl_buf_str(&path), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, o)
    {
        const json_t *paper = json_object_get(o, "paper");
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "id", "?"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, "failures", 0));
        bars_cell(t, json_object_get(o, "series"));
        number_cell(t, o, "share_of_platform", " %");
        number_cell(t, paper, "share", " %");
        number_cell(t, o, "unresolved_share", " %");
        number_cell(t, paper, "unanswered", " %");
        number_cell(t, o, "median_hours", "");
        number_cell(t, paper, "median_hours", "");
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note(
        c,
        "share: of the failures on the same platform, as the paper counts its questions; hours: half were resolved within");
    return 0;
}

static int operators(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"OPERATOR",   false, true },
        {"PROJECTS",   true,  false},
        {"FAILURES",   true,  false},
        {"UNRESOLVED", true,  false},
        {"LAST",       false, false},
        {"WHERE",      false, true }
    };
    PTL_BUF path = PTL_BUF_INIT, b = PTL_BUF_INIT;
    PTL_JSON *list = NULL;
    size_t i, k;
    json_t *o, *p;
    ptl_buf_puts(&path, "/api/v1/trends/operators");
    put_query(&path, "project", cli_project(c));
    int r = cli_get(c, ptl_buf_str(&path), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, o)
    {
        PTL_BUF where = PTL_BUF_INIT;
        json_array_foreach(json_object_get(o, "places"), k, p) if (k < 4)
            ptl_buf_printf(&where, "%s%s %s (%lld)", k ? ", " : "", ptl_json_str(p, "platform", "?"),
                           ptl_json_str(p, "tool", "?"), (long long)ptl_json_i64(p, "failures", 0));
        cli_table_cell(t, CLI_BOLD, "%s", ptl_json_str(o, "operator", "?"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, "projects", 0));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, "failures", 0));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, "unresolved", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "last_day", ""));
        cli_table_cell(t, CLI_DIM, "%s", ptl_buf_str(&where));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    return 0;
}

static int toolchains(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"MADE WITH",  false, true },
        {"USED WITH",  false, true },
        {"KIND",       false, false},
        {"FAILED",     true,  false},
        {"GREEN",      true,  false},
        {"SHARE",      true,  false},
        {"LAST GREEN", false, false}
    };
    PTL_BUF path = PTL_BUF_INIT, b = PTL_BUF_INIT;
    PTL_JSON *list = NULL;
    size_t i;
    json_t *o;
    ptl_buf_puts(&path, "/api/v1/trends/toolchains");
    put_query(&path, "project", cli_project(c));
    int r = cli_get(c, ptl_buf_str(&path), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, o)
    {
        bool never = ptl_json_flag(o, "never_green", false);
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "made_with", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "used_with", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "kind", "?"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, "failed", 0));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, "ok", 0));
        number_cell(t, o, "failed_share", " %");
        cli_table_cell(t, never ? CLI_RED : CLI_PLAIN, "%s",
                       never ? "never" : ptl_json_str(o, "last_green_day", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    return 0;
}

int cli_cmd_trends(struct cli *c)
{
    const char *what = cli_arg(c, 0);
    return ptl_str_eq(what, "operators")    ? operators(c)
           : ptl_str_eq(what, "toolchains") ? toolchains(c)
                                            : challenges(c);
}
