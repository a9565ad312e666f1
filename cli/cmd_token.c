/* cmd_token.c - portolan token create, list, revoke. */
#include "cli.h"

enum { LIMIT = 50 };

int cli_cmd_token_create(struct cli *c)
{
    const char *role = cli_text(c, "role");
    PTL_JSON *body = json_pack("{s:s,s:s}", "name", cli_arg(c, 0), "role", role ? role : "viewer");
    PTL_JSON *answer = NULL;
    if (!body)
        return cli_fail(c, CLI_USAGE, "NAME: expected UTF-8 text");
    if (cli_text(c, "project"))
        json_object_set_new(body, "project", json_string(cli_text(c, "project")));
    if (cli_text(c, "expires-in"))
        json_object_set_new(body, "expires_in", json_string(cli_text(c, "expires-in")));
    int r = cli_call(c, "POST", "/api/v1/tokens", body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    char at[32];
    cli_print(c, "%s\n", ptl_json_str(answer, "token", "?"));
    fflush(c->out);
    cli_note(c, "token %lld, role %s, %s%s; it is shown this once", (long long)ptl_json_i64(answer, "id", 0),
             role ? role : "viewer", ptl_json_str(answer, "expires_at", NULL) ? "until " : "until revoked",
             ptl_json_str(answer, "expires_at", NULL) ? cli_time_of(answer, "expires_at", at) : "");
    return 0;
}

int cli_cmd_token_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",        true,  false},
        {"KIND",      false, false},
        {"NAME",      false, true },
        {"ROLE",      false, false},
        {"PROJECT",   false, true },
        {"AGENT",     false, true },
        {"BY",        false, true },
        {"LAST USED", false, false},
        {"EXPIRES",   false, false},
        {"REVOKED",   false, false}
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *k;
    int r = cli_list(c, "/api/v1/tokens", "after", cli_text(c, "after"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, k)
    {
        static const char *const texts[] = {"kind", "name", "role", "project", "agent", "created_by"},
                                 *const times[] = {"used_at", "expires_at", "revoked_at"};
        enum cli_style style = ptl_json_str(k, "revoked_at", NULL) ? CLI_DIM : CLI_PLAIN;
        char at[32];
        cli_table_cell(t, style, "%lld", (long long)ptl_json_i64(k, "id", 0));
        for (size_t j = 0; j < PTL_ARRAY_LEN(texts); j++)
            cli_table_cell(t, style, "%s", ptl_json_str(k, texts[j], ""));
        for (size_t j = 0; j < PTL_ARRAY_LEN(times); j++)
            cli_table_cell(t, style, "%s", cli_time_of(k, times[j], at));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "after");
    return 0;
}

int cli_cmd_token_revoke(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = cli_path("/api/v1/tokens/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "DELETE", path, NULL, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    PTL_FREE char *name = cli_clean(ptl_json_str(answer, "name", ""));
    cli_print(c, "token %s%s%s%s is revoked\n", cli_arg(c, 0), *name ? " (" : "", name, *name ? ")" : "");
    return 0;
}
