/* cmd_risk.c - portolan risk RUN: how likely each stage is to fail and why that is thought; portolan risk
 * backtest: whether it was right; portolan board: what waits, runs or is red, by risk. */
#include "cli.h"

enum { LIMIT = 50 };

static void put_percent(struct cli_table *t, const json_t *v)
{
    double p = json_is_number(v) ? json_number_value(v) : -1;
    if (p < 0)
        cli_table_cell(t, CLI_DIM, "-");
    else
        cli_table_cell(t, p >= 0.5 ? CLI_RED : p >= 0.25 ? CLI_YELLOW : CLI_GREEN, "%.0f %%", p * 100);
}

static void put_hours(struct cli_table *t, const json_t *v)
{
    if (!json_is_number(v))
        cli_table_cell(t, CLI_DIM, "-");
    else if (json_number_value(v) < 10)
        cli_table_cell(t, CLI_PLAIN, "%.1f h", json_number_value(v));
    else
        cli_table_cell(t, CLI_PLAIN, "%.0f h", json_number_value(v));
}

static void show_terms(struct cli *c, const json_t *stage)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *t;
    PTL_FREE char *name = cli_clean(ptl_json_str(stage, "stage", "?"));
    cli_styled(&b, CLI_BOLD, c->color, name);
    if (!json_is_number(json_object_get(stage, "p"))) {
        ptl_buf_puts(&b,
                     ": not weighed: it was planned before risk was, or its risk could not be asked for\n");
        cli_print_buf(c, &b);
        return;
    }
    ptl_buf_printf(&b, ": %.1f %% to fail, then %.3g h; %.3g h at stake\n", ptl_json_num(stage, "p", 0) * 100,
                   ptl_json_num(stage, "hours", 0), ptl_json_num(stage, "cost", 0));
    const char *gate = ptl_json_str(stage, "gate_why", NULL);
    if (gate) {
        PTL_FREE char *clean = cli_clean(gate);
        ptl_buf_printf(&b, "  waits for a person: %s\n", clean);
    }
    json_array_foreach(json_object_get(stage, "terms"), i, t)
    {
        PTL_FREE char *why = cli_clean(ptl_json_str(t, "why", ""));
        ptl_buf_printf(&b, "  %-20s %8.3g  %s\n", ptl_json_str(t, "name", "?"), ptl_json_num(t, "value", 0),
                       why);
    }
    cli_print_buf(c, &b);
}

int cli_cmd_risk(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"STAGE",       false, true },
        {"STATE",       false, false},
        {"FAILS",       true,  false},
        {"THEN",        true,  false},
        {"AT STAKE",    true,  false},
        {"MOST LIKELY", false, true }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    int64_t id;
    size_t i;
    json_t *s;
    int r = cli_run_id(c, cli_arg(c, 0), &id);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/runs/%lld/risk", (long long)id);
    if ((r = cli_get(c, path, &list)))
        return r;
    if (c->json)
        return cli_print_json(c, list);
    if (cli_flag(c, "terms")) {
        json_array_foreach(json_object_get(list, "items"), i, s) show_terms(c, s);
        return 0;
    }
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, s)
    {
        const char *state = ptl_json_str(s, "state", "?");
        const json_t *likely = json_array_get(json_object_get(s, "likely"), 0);
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "stage", "?"));
        cli_table_cell(t, cli_state_style(state), "%s", state);
        put_percent(t, json_object_get(s, "p"));
        put_hours(t, json_object_get(s, "hours"));
        put_hours(t, json_object_get(s, "cost"));
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(likely, "title", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note(c, "every term of it: portolan risk %s --terms", cli_arg(c, 0));
    return 0;
}

static void put_skill(struct cli_table *t, const json_t *a)
{
    double skill = ptl_json_num(a, "skill", 0);
    cli_table_cell(t, skill > 0 ? CLI_GREEN : CLI_RED, "%.0f %% %s", skill < 0 ? -skill * 100 : skill * 100,
                   skill < 0 ? "worse" : "better");
}

/* By how likely it was said to be, over all and by platform. */
static void show_reliability(struct cli *c, const json_t *a, struct ptl_buf *b)
{
    static const struct cli_column columns[] = {
        {"PREDICTED", false, false},
        {"OUTCOMES",  true,  false},
        {"MEAN",      true,  false},
        {"WERE RED",  true,  false},
        {"SERVER",    true,  false},
        {"MOBILE",    true,  false},
        {"BROWSER",   true,  false}
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    const json_t *bins = json_object_get(a, "reliability"), *one;
    size_t i, k;
    json_t *bin;
    json_array_foreach((json_t *)bins, i, bin)
    {
        int64_t count = ptl_json_i64(bin, "n", 0);
        cli_table_cell(t, CLI_PLAIN, "%.0f-%.0f %%", ptl_json_num(bin, "from", 0) * 100,
                       ptl_json_num(bin, "to", 0) * 100);
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)count);
        cli_table_cell(t, CLI_PLAIN, count ? "%.1f %%" : "-", ptl_json_num(bin, "predicted", 0) * 100);
        cli_table_cell(t, CLI_PLAIN, count ? "%.1f %%" : "-", ptl_json_num(bin, "observed", 0) * 100);
        json_array_foreach(json_object_get(a, "platforms"), k, one)
        {
            const json_t *here = json_array_get(json_object_get(one, "reliability"), i);
            int64_t n = ptl_json_i64(here, "n", 0);
            if (n)
                cli_table_cell(t, CLI_PLAIN, "%.1f %% of %lld", ptl_json_num(here, "observed", 0) * 100,
                               (long long)n);
            else
                cli_table_cell(t, CLI_DIM, "-");
        }
    }
    cli_table_print(t, b, c->width, c->color);
}

static void show_platforms(struct cli *c, const json_t *a, struct ptl_buf *b)
{
    static const struct cli_column columns[] = {
        {"PLATFORM",    false, false},
        {"OUTCOMES",    true,  false},
        {"RED",         true,  false},
        {"BRIER",       true,  false},
        {"OF THE RATE", true,  false},
        {"OURS IS",     false, false}
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(a, "platforms"), i, one)
    {
        if (!ptl_json_i64(one, "outcomes", 0))
            continue;
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(one, "platform", "?"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(one, "outcomes", 0));
        cli_table_cell(t, CLI_PLAIN, "%.1f %%", ptl_json_num(one, "base_rate", 0) * 100);
        cli_table_cell(t, CLI_PLAIN, "%.4f", ptl_json_num(one, "brier", 0));
        cli_table_cell(t, CLI_PLAIN, "%.4f", ptl_json_num(one, "brier_base_rate", 0));
        put_skill(t, one);
    }
    ptl_buf_puts(b, "\n");
    cli_table_print(t, b, c->width, c->color);
}

/* Which terms earn their place. */
static void show_worth(struct cli *c, const json_t *a, struct ptl_buf *b)
{
    static const struct cli_column columns[] = {
        {"TERM",          false, false},
        {"WAS SO",        true,  false},
        {"BRIER WITHOUT", true,  false},
        {"GAIN",          true,  false},
        {"STD ERROR",     true,  false},
        {"SO IT",         false, false}
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(a, "terms"), i, w)
    {
        const char *verdict = ptl_json_str(w, "verdict", "");
        bool earns = ptl_str_eq(verdict, "earns"), costs = ptl_str_eq(verdict, "costs");
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(w, "name", "?"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(w, "so", 0));
        cli_table_cell(t, CLI_PLAIN, "%.5f", ptl_json_num(w, "brier_without", 0));
        cli_table_cell(t, CLI_PLAIN, "%+.5f", ptl_json_num(w, "gain", 0));
        cli_table_cell(t, CLI_DIM, "%.5f", ptl_json_num(w, "error", 0));
        cli_table_cell(t,
                       earns   ? CLI_GREEN
                       : costs ? CLI_RED
                               : CLI_DIM,
                       "%s",
                       earns   ? "earns its place"
                       : costs ? "does harm"
                               : "cannot be told yet");
    }
    ptl_buf_puts(b, "\n");
    cli_table_print(t, b, c->width, c->color);
}

int cli_cmd_risk_backtest(struct cli *c)
{
    PTL_JSON *a = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    PTL_FREE char *path = cli_project(c) ? cli_path("/api/v1/risk/backtest?project={}", cli_project(c), NULL)
                                         : ptl_xstrdup("/api/v1/risk/backtest");
    int r = cli_get(c, path, &a);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, a);
    int64_t n = ptl_json_i64(a, "outcomes", 0);
    if (n == 0) {
        cli_note(c, "no stage has ended twice yet: there is nothing to play back");
        return 0;
    }
    show_reliability(c, a, &b);
    double skill = ptl_json_num(a, "skill", 0);
    ptl_buf_printf(&b, "\n%lld outcomes, %lld of them red (%.1f %%), each predicted from those before it%s\n",
                   (long long)n, (long long)ptl_json_i64(a, "red", 0), ptl_json_num(a, "base_rate", 0) * 100,
                   ptl_json_flag(a, "cut", false) ? "; the newest 50000" : "");
    ptl_buf_printf(&b, "Brier score  %.4f; of always saying the rate so far %.4f: %.0f %% %s\n",
                   ptl_json_num(a, "brier", 0), ptl_json_num(a, "brier_base_rate", 0),
                   skill < 0 ? -skill * 100 : skill * 100, skill < 0 ? "worse" : "better");
    ptl_buf_printf(&b, "log loss     %.4f; of always saying the rate so far %.4f\n",
                   ptl_json_num(a, "log_loss", 0), ptl_json_num(a, "log_loss_base_rate", 0));
    show_platforms(c, a, &b);
    show_worth(c, a, &b);
    cli_print_buf(c, &b);
    cli_note(c,
             "GAIN: what the term takes from the squared error; beyond two standard errors it is believed");
    return 0;
}

int cli_cmd_board(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"STAGE",     true,  false},
        {"RUN",       false, true },
        {"NAME",      false, true },
        {"HOST",      false, false},
        {"STATE",     false, false},
        {"FAILS",     true,  false},
        {"AT STAKE",  true,  false},
        {"LIKELY",    false, true },
        {"WHO",       false, true },
        {"DUE",       false, false},
        {"SUGGESTED", false, true }
    };
    static const char *const filters[] = {"host", "target", "person", "state", "min-risk", "sort", "after"},
                             *const names[] = {"host",     "target", "person", "state",
                                               "min_risk", "sort",   "after"};
    PTL_JSON *list = NULL;
    PTL_BUF url = PTL_BUF_INIT, b = PTL_BUF_INIT;
    size_t i, k;
    json_t *s, *p;
    int64_t limit = cli_int(c, "limit", LIMIT);
    ptl_buf_printf(&url, "/api/v1/board?limit=%lld", (long long)(limit > 200 ? 200 : limit));
    if (cli_project(c)) {
        PTL_FREE char *q = cli_path("&project={}", cli_project(c), NULL);
        ptl_buf_puts(&url, q);
    }
    for (i = 0; i < PTL_ARRAY_LEN(filters); i++)
        if (cli_text(c, filters[i])) {
            PTL_FREE char *value = ptl_url_encode(cli_text(c, filters[i]));
            ptl_buf_printf(&url, "&%s=%s", names[i], value);
        }
    int r = cli_get(c, ptl_buf_str(&url), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, s)
    {
        const char *state = ptl_json_str(s, "state", "?");
        const json_t *risk = json_object_get(s, "risk"), *who = json_object_get(s, "assignment");
        char at[32];
        PTL_BUF people = PTL_BUF_INIT;
        json_array_foreach(json_object_get(s, "suggested"), k, p)
            ptl_buf_printf(&people, "%s%s", k ? ", " : "", ptl_json_str(p, "person", "?"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(s, "stage_id", 0));
        cli_table_cell(t, CLI_PLAIN, "%s#%lld", ptl_json_str(s, "project", "?"),
                       (long long)ptl_json_i64(s, "run_number", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "stage", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "host", ""));
        cli_table_cell(t, cli_state_style(state), "%s", state);
        put_percent(t, json_object_get(risk, "p"));
        put_hours(t, json_object_get(risk, "cost"));
        cli_table_cell(t, CLI_DIM, "%s",
                       ptl_json_str(json_array_get(json_object_get(s, "likely"), 0), "title", ""));
        if (json_is_object(who) && ptl_json_str(who, "person", NULL))
            cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(who, "person", ""));
        else
            cli_table_cell(t, CLI_YELLOW, "%s", json_is_object(who) ? "handed back" : "nobody");
        cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(who, "due_at", at));
        cli_table_cell(t, CLI_DIM, "%s",
                       json_is_object(who) && ptl_json_str(who, "person", NULL) ? "" : ptl_buf_str(&people));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    if (cli_table_rows(t) == 0)
        cli_note(c, "nothing waits, runs or is red%s",
                 ptl_buf_str(&url)[strlen("/api/v1/board?limit=50")] ? " that fits" : "");
    else
        cli_note(
            c,
            "take one: portolan take STAGE; give one: portolan assign STAGE PERSON; why suggested: --json");
    cli_note_more(c, list, "after");
    return 0;
}
