/* cmd_login.c - portolan login, whoami. */
#include "cli.h"

enum { TOKEN_MAX = 4096 };

static void show_identity(struct cli *c, const json_t *who)
{
    PTL_BUF may = PTL_BUF_MAX(400);
    size_t i;
    json_t *m;
    PTL_FREE char *name = cli_clean(ptl_json_str(who, "name", "?"));
    PTL_FREE char *project = cli_clean(ptl_json_str(who, "project", ""));
    json_array_foreach(json_object_get(who, "may"), i, m)
        ptl_buf_printf(&may, "%s%s", i ? ", " : "", json_string_value(m));
    cli_print(c, "%s at %s, role %s%s%s; may %s\n", name, c->server, ptl_json_str(who, "role", "?"),
              *project ? ", project " : "", project, may.len ? ptl_buf_str(&may) : "nothing");
}

int cli_cmd_whoami(struct cli *c)
{
    PTL_JSON *who = NULL;
    int r = cli_get(c, "/api/v1/whoami", &who);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, who);
    show_identity(c, who);
    cli_note(c, "%s", c->token_origin ? c->token_origin : "");
    return 0;
}

int cli_cmd_login(struct cli *c)
{
    PTL_JSON *who = NULL;
    PTL_FREE char *path = NULL;
    int r = 0;
    if (!cli_text(c, "token") && !cli_text(c, "token-file") && !getenv("PORTOLAN_TOKEN") &&
        !getenv("PORTOLAN_TOKEN_FILE")) {
        PTL_FREE char *token = NULL;
        r = cli_read_secret(c, "token: ", TOKEN_MAX, &token);
        if (r)
            return r;
        setenv("PORTOLAN_TOKEN", token, 1); /* the level that counts for more than an older login */
        explicit_bzero(token, strlen(token));
    }
    r = cli_get(c, "/api/v1/whoami", &who);
    if (r == 0)
        r = cli_config_write(c, c->server, c->token, c->ca_file, &path);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, who);
    show_identity(c, who);
    cli_note(c, "remembered in %s", path);
    return 0;
}
