/* cmd_trends.c - portolan trends: what fails how often, beside the paper's numbers; wanted operators; pairs
 * of toolchains that break. Each view is a table of columns: their heads, and how a cell is made of an item.
 */
#include "cli.h"

typedef void cell_fn(struct cli_table *t, const json_t *item, const char *key);
struct column {
    struct cli_column head;
    cell_fn *cell;
    const char *key; /* of the item; the numbers of the paper are a member of it */
};
struct view {
    const char *name, *path, *note;
    const char *const *options; /* passed on */
    struct column columns[10];
};

static void text(struct cli_table *t, const json_t *o, const char *key)
{
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, key, ""));
}

static void bold(struct cli_table *t, const json_t *o, const char *key)
{
    cli_table_cell(t, CLI_BOLD, "%s", ptl_json_str(o, key, "?"));
}

static void count(struct cli_table *t, const json_t *o, const char *key)
{
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(o, key, 0));
}

static void number(struct cli_table *t, const json_t *o, const char *key, const char *unit)
{
    const json_t *v = json_object_get(o, key);
    if (json_is_number(v))
        cli_table_cell(t, CLI_PLAIN, "%.1f%s", json_number_value(v), unit);
    else
        cli_table_cell(t, CLI_PLAIN, "-");
}

static void percent(struct cli_table *t, const json_t *o, const char *key)
{
    number(t, o, key, " %");
}

static void hours(struct cli_table *t, const json_t *o, const char *key)
{
    number(t, o, key, "");
}

static void paper_percent(struct cli_table *t, const json_t *o, const char *key)
{
    number(t, json_object_get(o, "paper"), key, " %");
}

static void paper_hours(struct cli_table *t, const json_t *o, const char *key)
{
    number(t, json_object_get(o, "paper"), key, "");
}

/* The newest twelve periods as bars. */
static void bars(struct cli_table *t, const json_t *o, const char *key)
{
    static const char *const marks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const json_t *series = json_object_get(o, key);
    PTL_BUF b = PTL_BUF_INIT;
    size_t n = json_array_size(series), first = n > 12 ? n - 12 : 0;
    int64_t most = 1;
    for (size_t i = first; i < n; i++) {
        int64_t v = ptl_json_i64(json_array_get(series, i), "failures", 0);
        most = v > most ? v : most;
    }
    for (size_t i = first; i < n; i++) {
        int64_t v = ptl_json_i64(json_array_get(series, i), "failures", 0);
        ptl_buf_puts(&b, marks[v <= 0 ? 0 : v * 7 / most]);
    }
    cli_table_cell(t, CLI_CYAN, "%s", ptl_buf_str(&b));
}

static void places(struct cli_table *t, const json_t *o, const char *key)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(o, key), i, p) if (i < 4)
        ptl_buf_printf(&b, "%s%s %s (%lld)", i ? ", " : "", ptl_json_str(p, "platform", "?"),
                       ptl_json_str(p, "tool", "?"), (long long)ptl_json_i64(p, "failures", 0));
    cli_table_cell(t, CLI_DIM, "%s", ptl_buf_str(&b));
}

static void last_green(struct cli_table *t, const json_t *o, const char *key)
{
    bool never = ptl_json_flag(o, "never_green", false);
    cli_table_cell(t, never ? CLI_RED : CLI_PLAIN, "%s", never ? "never" : ptl_json_str(o, key, ""));
}

static const char *const over_time[] = {"by", "interval", "since", "until", NULL}, *const none[] = {NULL};
static const struct view views[] = {
    {"challenges",
     "/api/v1/trends",            "share: of the failures on the same platform, as the paper counts its questions; hours: half were resolved within",
     over_time, {
         {{"CHALLENGE", false, true}, text, "id"},
         {{"FAILURES", true, false}, count, "failures"},
         {{"", false, false}, bars, "series"},
         {{"SHARE", true, false}, percent, "share_of_platform"},
         {{"PAPER", true, false}, paper_percent, "share"},
         {{"UNRESOLVED", true, false}, percent, "unresolved_share"},
         {{"PAPER NO ANSWER", true, false}, paper_percent, "unanswered"},
         {{"HOURS", true, false}, hours, "median_hours"},
         {{"PAPER HOURS", true, false}, paper_hours, "median_hours"},
     }},
    {"operators",
     "/api/v1/trends/operators",  NULL,
     none,      {
         {{"OPERATOR", false, true}, bold, "operator"},
         {{"PROJECTS", true, false}, count, "projects"},
         {{"FAILURES", true, false}, count, "failures"},
         {{"UNRESOLVED", true, false}, count, "unresolved"},
         {{"LAST", false, false}, text, "last_day"},
         {{"WHERE", false, true}, places, "places"},
     }     },
    {"toolchains",
     "/api/v1/trends/toolchains", NULL,
     none,      {
         {{"MADE WITH", false, true}, text, "made_with"},
         {{"USED WITH", false, true}, text, "used_with"},
         {{"KIND", false, false}, text, "kind"},
         {{"FAILED", true, false}, count, "failed"},
         {{"GREEN", true, false}, count, "ok"},
         {{"SHARE", true, false}, percent, "failed_share"},
         {{"LAST GREEN", false, false}, last_green, "last_green_day"},
     }     },
};

int cli_cmd_trends(struct cli *c)
{
    const struct view *v = views;
    struct cli_column heads[PTL_ARRAY_LEN(v->columns)];
    PTL_BUF path = PTL_BUF_INIT, b = PTL_BUF_INIT;
    PTL_JSON *list = NULL;
    size_t n = 0, i;
    json_t *o;
    for (size_t k = 0; k < PTL_ARRAY_LEN(views); k++)
        if (ptl_str_eq(cli_arg(c, 0), views[k].name))
            v = &views[k];
    ptl_buf_puts(&path, v->path);
    cli_put_query(&path, "project", cli_project(c));
    for (size_t k = 0; v->options[k]; k++)
        cli_put_query(&path, v->options[k], cli_text(c, v->options[k]));
    int r = cli_get(c, ptl_buf_str(&path), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    for (; n < PTL_ARRAY_LEN(v->columns) && v->columns[n].cell; n++)
        heads[n] = v->columns[n].head;
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(heads, n);
    json_array_foreach(json_object_get(list, "items"), i, o)
    {
        for (size_t k = 0; k < n; k++)
            v->columns[k].cell(t, o, v->columns[k].key);
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    if (v->note)
        cli_note(c, "%s", v->note);
    return 0;
}
