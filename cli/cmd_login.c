/* cmd_login.c - portolan login, whoami. */
#include "cli.h"
#include <portolan/clock.h>
#include <unistd.h>

enum { TOKEN_MAX = 4096, CALL_MS = 15000, WAIT_MIN_MS = 500, WAIT_MAX_MS = 30000 };

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

/* ---- let in by a browser, which may be on another machine */

/* Asks until a person has decided, the code is over, or nothing was reached for the rest of its life. */
static int wait_for_approval(struct cli *c, const json_t *code, json_t **ret)
{
    PTL_JSON *body = json_pack("{s:s}", "device_code", ptl_json_str(code, "device_code", ""));
    int64_t wait_ms = (int64_t)(ptl_json_num(code, "interval", 2) * 1000),
            until = ptl_mono_ms() + ptl_json_i64(code, "expires_in", 600) * 1000;
    while (ptl_mono_ms() < until) {
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_JSON *answer = NULL;
        int status = 0;
        wait_ms = wait_ms < WAIT_MIN_MS ? WAIT_MIN_MS : wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : wait_ms;
        cli_pause(wait_ms);
        int r = ptl_client_json(c->client, "POST", "/api/v1/login/codes/poll", body, CALL_MS, &status,
                                &answer, &err);
        if (r == 0 && status == 200) {
            *ret = json_incref(answer);
            return 0;
        }
        if (r == 0) /* not yet */
            wait_ms = (int64_t)(ptl_json_num(answer, "interval", (double)wait_ms / 1000) * 1000);
        else if (status == 429) /* too often: the server waits longer each time, and so do we */
            wait_ms += 2000;
        else if (status == 0 || status == 503) /* restarting, or the line is down */
            wait_ms *= 2;
        else
            return cli_api_failed(c, r, status, &err);
    }
    return cli_fail(c, CLI_FAILED, "nobody approved it within its time; run portolan login --web again");
}

static int ask_for_code(struct cli *c, json_t **ret)
{
    char host[200] = "";
    struct ptl_error err = PTL_ERROR_INIT;
    int status = 0;
    const char *user = getenv("USER");
    if (gethostname(host, sizeof(host) - 1) < 0 || !*host)
        snprintf(host, sizeof(host), "a machine without a name");
    PTL_FREE char *client =
        ptl_xasprintf("portolan of %.30s at %.50s", user && *user ? user : "somebody", host);
    PTL_JSON *body = json_pack("{s:s}", "client", client);
    if (!body) /* a name that is no UTF-8 */
        body = json_pack("{s:s}", "client", "portolan");
    int r = ptl_client_json(c->client, "POST", "/api/v1/login/codes", body, CALL_MS, &status, ret, &err);
    return r ? cli_api_failed(c, r, status, &err) : 0;
}

static int login_web(struct cli *c)
{
    PTL_JSON *code = NULL;
    PTL_JSON *token = NULL;
    PTL_FREE char *path = NULL;
    int r = cli_settle(c);
    if (r == 0)
        r = ask_for_code(c, &code);
    if (r)
        return r;
    PTL_FREE char *where = cli_clean(ptl_json_str(code, "path", "/device"));
    PTL_FREE char *shown = cli_clean(ptl_json_str(code, "user_code", "?"));
    /* Said also when quiet: without it there is nothing to do. */
    fprintf(c->err,
            "Open this page in a browser, on any machine, and log in there if you are not:\n\n  %s%s\n\n"
            "Let it in if it shows this code:  %s\n\nWaiting, for %lld minutes at most …\n",
            c->server, where, shown, (long long)(ptl_json_i64(code, "expires_in", 600) + 59) / 60);
    fflush(c->err);
    if ((r = wait_for_approval(c, code, &token)))
        return r;
    const char *secret = ptl_json_str(token, "token", "");
    r = cli_config_write(c, c->server, secret, c->ca_file, &path);
    json_object_del(token, "token");
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, token);
    char at[32];
    PTL_FREE char *name = cli_clean(ptl_json_str(token, "name", "?"));
    const char *project = ptl_json_str(token, "project", NULL);
    cli_print(c, "%s at %s, role %s%s%s, until %s\n", name, c->server, ptl_json_str(token, "role", "?"),
              project ? ", project " : "", project ? project : "",
              ptl_json_str(token, "expires_at", NULL) ? cli_time_of(token, "expires_at", at) : "revoked");
    cli_note(c, "remembered in %s", path);
    return 0;
}

int cli_cmd_login(struct cli *c)
{
    PTL_JSON *who = NULL;
    PTL_FREE char *path = NULL;
    int r = 0;
    if (cli_flag(c, "web")) {
        if (cli_text(c, "token") || cli_text(c, "token-file"))
            return cli_fail(c, CLI_USAGE,
                            "--web gets a token by a browser; it does not go with --token or --token-file");
        return login_web(c);
    }
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
