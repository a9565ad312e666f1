/* cmd_events.c - portolan events, audit. */
#include "cli.h"

enum { RETRY_MS = 300000, LIMIT = 50 };

struct listening {
    struct cli *c;
    int64_t left; /* events to show; negative: all */
};

static int on_event(void *ctx, const char *id, const char *event, const char *data, size_t len)
{
    struct listening *l = ctx;
    struct cli *c = l->c;
    PTL_JSON *o = NULL;
    if (ptl_str_eq(event, "hello"))
        return 0; /* only says where the stream begins */
    if (ptl_json_parse(data, len, "event", &o, NULL) < 0 || !json_is_object(o))
        return 0;
    if (c->json) {
        json_object_set_new(o, "id", json_string(id));
        PTL_FREE char *text = ptl_json_text(o);
        cli_print(c, "%s\n", text);
    } else {
        const json_t *d = json_object_get(o, "data");
        const char *state = ptl_json_str(d, "state", "");
        char at[32];
        PTL_BUF b = PTL_BUF_INIT;
        PTL_FREE char *project = cli_clean(ptl_json_str(o, "project", "-"));
        PTL_FREE char *name = cli_clean(ptl_json_str(d, "name", event));
        PTL_FREE char *message = cli_clean(ptl_json_str(d, "message", ""));
        PTL_FREE char *shown_id = cli_clean(id);
        ptl_buf_printf(&b, "%-14s  %s  %s run %lld  %-24s ", shown_id, cli_time_of(o, "at", at), project,
                       (long long)ptl_json_i64(o, "run_id", 0), name);
        cli_styled(&b, cli_state_style(state), c->color, state);
        ptl_buf_printf(&b, "%s%s\n", *message ? "  " : "", message);
        cli_print_buf(c, &b);
    }
    fflush(c->out);
    if (l->left > 0)
        l->left--;
    return l->left == 0 || ferror(c->out);
}

int cli_cmd_events(struct cli *c)
{
    struct listening l = {.c = c, .left = cli_int(c, "count", -1)};
    const char *since = cli_text(c, "since"), *project = cli_project(c);
    PTL_BUF path = PTL_BUF_INIT;
    int64_t run = 0;
    int r = cli_text(c, "run") ? cli_run_id(c, cli_text(c, "run"), &run) : 0;
    if (r)
        return r;
    if (run)
        ptl_buf_printf(&path, "/api/v1/runs/%lld/events", (long long)run);
    else
        ptl_buf_puts(&path, "/api/v1/events");
    if (project && !run) {
        PTL_FREE char *value = ptl_url_encode(project);
        ptl_buf_printf(&path, "?project=%s", value);
    }
    if (since) {
        PTL_FREE char *value = ptl_url_encode(since);
        ptl_buf_printf(&path, "%csince=%s", strchr(ptl_buf_str(&path), '?') ? '&' : '?', value);
    }
    return cli_follow(c, ptl_buf_str(&path), cli_int(c, "retry", RETRY_MS), on_event, &l);
}

int cli_cmd_audit(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",     true,  false},
        {"AT",     false, false},
        {"WHO",    false, true },
        {"DID",    false, false},
        {"WHAT",   false, true },
        {"DETAIL", false, true }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *a;
    int r = cli_list(c, "/api/v1/audit", "before", cli_text(c, "before"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, a)
    {
        char at[32];
        json_t *detail = json_object_get(a, "detail");
        PTL_FREE char *text = json_object_size(detail) ? ptl_json_text(detail) : ptl_xstrdup("");
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(a, "id", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(a, "at", at));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "actor", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "action", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "object", ""));
        cli_table_cell(t, CLI_DIM, "%s", text);
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "before");
    return 0;
}
