/* cmd_resolution.c - portolan resolution list, show, confirm, reject: what turned stages green. */
#include "cli.h"
#include "resolution.h"

enum { LIMIT = 50 };

static void resolution_row(struct cli_table *t, const json_t *r)
{
    char at[32];
    const char *state = ptl_json_str(r, "state", "?"), *challenge = ptl_json_str(r, "challenge_id", NULL),
               *note = ptl_json_str(r, "note", NULL);
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(r, "id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(r, "green_at", at));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(r, "project", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(r, "stage", "?"));
    cli_table_cell(t, challenge ? CLI_CYAN : CLI_DIM, "%s", challenge ? challenge : "unclear");
    cli_table_cell(t, ptl_str_eq(state, "confirmed") ? CLI_GREEN : CLI_DIM, "%s", state);
    cli_table_cell(t, CLI_PLAIN, "%.1f", ptl_json_num(r, "minutes", 0) / 60);
    cli_table_cell(t, CLI_PLAIN, "%s", note ? note : ptl_json_str(r, "summary", ""));
}

void cli_put_resolution(struct ptl_buf *b, const json_t *r, const char *indent, bool color)
{
    const char *note = ptl_json_str(r, "note", NULL), *why = ptl_json_str(r, "why", NULL);
    PTL_FREE char *summary = cli_clean(ptl_json_str(r, "summary", ""));
    PTL_FREE char *clean_note = cli_clean(note);
    PTL_FREE char *clean_why = cli_clean(why);
    ptl_buf_puts(b, indent);
    cli_styled(b, CLI_GREEN, color,
               ptl_str_eq(ptl_json_str(r, "state", ""), "confirmed") ? "what fixed it: "
                                                                     : "what may have fixed it: ");
    ptl_buf_printf(b, "%s\n", note && *note ? clean_note : summary);
    if (note && *note)
        ptl_buf_printf(b, "%s  %s\n", indent, summary);
    ptl_buf_printf(b, "%s  %s%sgreen after %.1f h; portolan resolution show %lld\n", indent,
                   why ? clean_why : "", why ? "; " : "", ptl_json_num(r, "minutes", 0) / 60,
                   (long long)ptl_json_i64(r, "id", 0));
}

int cli_cmd_resolution_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",        true,  false},
        {"GREEN",     false, false},
        {"PROJECT",   false, true },
        {"STAGE",     false, true },
        {"CHALLENGE", false, true },
        {"STATE",     false, false},
        {"HOURS",     true,  false},
        {"CHANGE",    false, true }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT, path = PTL_BUF_INIT;
    size_t i;
    json_t *o;
    int r;
    if (cli_text(c, "attempt")) {
        int64_t attempt;
        r = cli_attempt_id(c, cli_text(c, "attempt"), &attempt);
        if (r)
            return r;
        ptl_buf_printf(&path, "/api/v1/attempts/%lld/resolutions", (long long)attempt);
        r = cli_get(c, ptl_buf_str(&path), &list);
    } else {
        const char *const query[][2] = {
            {"project",   cli_project(c)},
            { "challenge", cli_text(c,   "challenge")},
            { "state", cli_text(c,       "state")}
        };
        ptl_buf_puts(&path, "/api/v1/resolutions");
        for (i = 0; i < PTL_ARRAY_LEN(query); i++)
            if (query[i][1]) {
                PTL_FREE char *value = ptl_url_encode(query[i][1]);
                ptl_buf_printf(&path, "%c%s=%s", strchr(ptl_buf_str(&path), '?') ? '&' : '?', query[i][0],
                               value);
            }
        r = cli_list(c, ptl_buf_str(&path), "before", cli_text(c, "before"), cli_int(c, "limit", LIMIT),
                     &list);
    }
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, o) resolution_row(t, o);
    if (cli_table_rows(t) == 0) {
        cli_note(c, "none yet: one is kept whenever a stage turns green after it failed");
        return 0;
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "before");
    return 0;
}

static void put_list(struct ptl_buf *b, const char *title, const json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        PTL_FREE char *text = cli_clean(json_string_value(v));
        ptl_buf_printf(b, "%-10s %s\n", i ? "" : title, text);
    }
}

int cli_cmd_resolution_show(struct cli *c)
{
    PTL_JSON *o = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    PTL_FREE char *path = cli_path("/api/v1/resolutions/{}", cli_arg(c, 0), NULL);
    int r = cli_get(c, path, &o);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, o);
    PTL_FREE char *where = cli_clean(ptl_json_str(o, "stage", "?"));
    PTL_FREE char *project = cli_clean(ptl_json_str(o, "project", "?"));
    PTL_FREE char *challenge = cli_clean(ptl_json_str(o, "challenge_path", "unclear"));
    ptl_buf_printf(&b, "%s %s: %s\n%s; %lld failures, %.1f h; attempt %lld was red, %lld green\n", project,
                   where, challenge, ptl_json_str(o, "state", "?"), (long long)ptl_json_i64(o, "failures", 0),
                   ptl_json_num(o, "minutes", 0) / 60, (long long)ptl_json_i64(o, "red_attempt_id", 0),
                   (long long)ptl_json_i64(o, "green_attempt_id", 0));
    cli_put_resolution(&b, o, "", c->color);
    json_array_foreach(json_object_get(o, "commits"), i, v)
    {
        PTL_FREE char *subject = cli_clean(ptl_json_str(v, "subject", ""));
        PTL_FREE char *author = cli_clean(ptl_json_str(v, "author", ""));
        ptl_buf_printf(&b, "%-10s %.12s %s (%s)\n", i ? "" : "commits", ptl_json_str(v, "sha", ""), subject,
                       author);
    }
    put_list(&b, "files", json_object_get(o, "files"));
    json_array_foreach(json_object_get(o, "environment"), i, v)
    {
        PTL_FREE char *line =
            ptl_xasprintf("%s %s -> %s", ptl_json_str(v, "tool", "?"), ptl_json_str(v, "before", "none"),
                          ptl_json_str(v, "after", "none"));
        PTL_FREE char *text = cli_clean(line);
        ptl_buf_printf(&b, "%-10s %s\n", i ? "" : "tools", text);
    }
    put_list(&b, "left out", json_object_get(o, "cuts"));
    cli_print_buf(c, &b);
    cli_print_diff(c, ptl_json_str(o, "diff", NULL));
    return 0;
}

static int decide(struct cli *c, const char *state)
{
    PTL_JSON *body = json_pack("{s:s}", "state", state);
    PTL_JSON *answer = NULL;
    if (cli_text(c, "note"))
        json_object_set_new(body, "note", json_string(cli_text(c, "note")));
    PTL_FREE char *path = cli_path("/api/v1/resolutions/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "PATCH", path, body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "resolution %s is %s\n", cli_arg(c, 0), state);
    return 0;
}

int cli_cmd_resolution_confirm(struct cli *c)
{
    return decide(c, "confirmed");
}

int cli_cmd_resolution_reject(struct cli *c)
{
    return decide(c, "rejected");
}
