/* cmd_person.c - portolan person list, show, add, set, merge: who is who. */
#include "cli.h"

enum { LIMIT = 50 };

static void texts(struct cli *c, json_t *body, const char *key, const char *option)
{
    json_t *list = json_array();
    for (size_t i = 0; cli_texts(c, option, i); i++)
        json_array_append_new(list, json_string(cli_texts(c, option, i)));
    if (json_array_size(list))
        json_object_set(body, key, list);
    json_decref(list);
}

static void text(struct cli *c, json_t *body, const char *key, const char *option)
{
    if (cli_text(c, option))
        json_object_set_new(body, key, json_string(cli_text(c, option)));
}

static void put_list(struct ptl_buf *b, const char *title, const json_t *list)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) == 0)
        return;
    ptl_buf_printf(b, "%-12s ", title);
    json_array_foreach((json_t *)list, i, v)
    {
        PTL_FREE char *clean = cli_clean(json_string_value(v));
        ptl_buf_printf(b, "%s%s", i ? ", " : "", clean);
    }
    ptl_buf_puts(b, "\n");
}

static int show(struct cli *c, const json_t *p)
{
    PTL_BUF b = PTL_BUF_INIT;
    if (c->json)
        return cli_print_json(c, p);
    PTL_FREE char *shown = cli_clean(ptl_json_str(p, "display_name", ""));
    ptl_buf_printf(&b, "%s (%s)\n", ptl_json_str(p, "name", "?"), shown);
    if (ptl_json_str(p, "forge_login", NULL)) {
        PTL_FREE char *login = cli_clean(ptl_json_str(p, "forge_login", ""));
        ptl_buf_printf(&b, "%-12s %s\n", "forge login", login);
    }
    put_list(&b, "addresses", json_object_get(p, "emails"));
    put_list(&b, "tokens", json_object_get(p, "tokens"));
    put_list(&b, "also called", json_object_get(p, "aliases"));
    put_list(&b, "projects", json_object_get(p, "projects"));
    if (ptl_json_str(p, "time_zone", NULL))
        ptl_buf_printf(&b, "%-12s %s\n", "time zone", ptl_json_str(p, "time_zone", ""));
    ptl_buf_printf(&b, "%-12s %lld\n%-12s %s\n", "assigned", (long long)ptl_json_i64(p, "assignments", 0),
                   "suggestions", ptl_json_flag(p, "suggestions", true) ? "on" : "off: never suggested");
    cli_print_buf(c, &b);
    return 0;
}

int cli_cmd_person_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"NAME",      false, true },
        {"SHOWN AS",  false, true },
        {"ADDRESSES", false, true },
        {"TOKENS",    false, true },
        {"PROJECTS",  false, true },
        {"ASSIGNED",  true,  false},
        {"SUGGESTED", false, false}
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i, k, m;
    json_t *p, *v;
    PTL_FREE char *path = cli_project(c) ? cli_path("/api/v1/people?project={}", cli_project(c), NULL)
                                         : ptl_xstrdup("/api/v1/people");
    int r = cli_list(c, path, "after", cli_text(c, "after"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, p)
    {
        static const char *const lists[] = {"emails", "tokens", "projects"};
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "name", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "display_name", ""));
        for (k = 0; k < 3; k++) {
            PTL_BUF all = PTL_BUF_INIT;
            json_array_foreach(json_object_get(p, lists[k]), m, v)
                ptl_buf_printf(&all, "%s%s", m ? ", " : "", json_string_value(v));
            cli_table_cell(t, CLI_PLAIN, "%s", ptl_buf_str(&all));
        }
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(p, "assignments", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_flag(p, "suggestions", true) ? "yes" : "no");
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "after");
    return 0;
}

int cli_cmd_person_show(struct cli *c)
{
    PTL_JSON *p = NULL;
    PTL_FREE char *path = cli_path("/api/v1/people/{}", cli_arg(c, 0), NULL);
    int r = cli_get(c, path, &p);
    return r ? r : show(c, p);
}

int cli_cmd_person_add(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:s}", "name", cli_arg(c, 0));
    if (!body)
        return cli_fail(c, CLI_USAGE, "NAME: expected UTF-8 text");
    text(c, body, "display_name", "display-name");
    text(c, body, "forge_login", "forge-login");
    texts(c, body, "emails", "add-email");
    texts(c, body, "tokens", "add-token");
    int r = cli_call(c, "POST", "/api/v1/people", body, &answer);
    return r ? r : show(c, answer);
}

int cli_cmd_person_set(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_object();
    text(c, body, "display_name", "display-name");
    text(c, body, "forge_login", "forge-login");
    texts(c, body, "add_emails", "add-email");
    texts(c, body, "remove_emails", "remove-email");
    texts(c, body, "add_tokens", "add-token");
    texts(c, body, "remove_tokens", "remove-token");
    if (cli_text(c, "time-zone"))
        json_object_set_new(
            body, "time_zone",
            json_string(ptl_str_eq(cli_text(c, "time-zone"), "none") ? "" : cli_text(c, "time-zone")));
    if (cli_text(c, "suggestions"))
        json_object_set_new(body, "suggestions", json_boolean(ptl_str_eq(cli_text(c, "suggestions"), "on")));
    if (json_object_size(body) == 0)
        return cli_fail(c, CLI_USAGE, "nothing to change; see: portolan person set --help");
    PTL_FREE char *path = cli_path("/api/v1/people/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "PATCH", path, body, &answer);
    return r ? r : show(c, answer);
}

int cli_cmd_person_merge(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:s}", "merge_into", cli_arg(c, 1));
    PTL_FREE char *path = cli_path("/api/v1/people/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "PATCH", path, body, &answer);
    return r ? r : show(c, answer);
}
