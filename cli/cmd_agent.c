/* cmd_agent.c - portolan agent list, enrol, drain, activate, remove. */
#include "cli.h"

enum { LIMIT = 50 };

static char *joined(const json_t *list)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
        ptl_buf_printf(&b, "%s%s", i ? ", " : "", json_string_value(v) ? json_string_value(v) : "?");
    return b.len ? ptl_buf_take(&b, NULL) : ptl_xstrdup("");
}

int cli_cmd_agent_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"AGENT",      false, true },
        {"HOSTS",      false, true },
        {"STATE",      false, false},
        {"BUSY",       true,  false},
        {"LAST SEEN",  false, false},
        {"VERSION",    false, false},
        {"SANDBOX",    false, false},
        {"TOOLCHAINS", false, true },
        {"LABELS",     false, true }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *a;
    int r = cli_list(c, "/api/v1/agents", "after", NULL, cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, a)
    {
        const char *state = ptl_json_str(a, "state", "?");
        bool online = ptl_json_flag(a, "online", false);
        const json_t *inventory = json_object_get(a, "inventory");
        char at[32];
        PTL_FREE char *hosts = joined(json_object_get(a, "hosts"));
        PTL_FREE char *toolchains = joined(json_object_get(a, "toolchains"));
        PTL_FREE char *labels = joined(json_object_get(a, "labels"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "name", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", hosts);
        cli_table_cell(t, online ? cli_state_style(state) : CLI_RED, "%s",
                       !online                       ? "away"
                       : ptl_str_eq(state, "active") ? "online"
                                                     : state);
        cli_table_cell(t, CLI_PLAIN, "%lld/%lld", (long long)ptl_json_i64(a, "running", 0),
                       (long long)ptl_json_i64(a, "slots", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(a, "last_seen_at", at));
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(inventory, "version", ""));
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(inventory, "sandbox", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", toolchains);
        cli_table_cell(t, CLI_PLAIN, "%s", labels);
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "after");
    if (cli_table_rows(t) == 0)
        cli_note(c, "no agent yet; the first one: portolan agent enrol");
    return 0;
}

int cli_cmd_agent_enrol(struct cli *c)
{
    PTL_JSON *body = json_object();
    PTL_JSON *answer = NULL;
    json_t *hosts = json_array();
    const char *host;
    for (size_t i = 0; (host = cli_texts(c, "host", i)); i++)
        json_array_append_new(hosts, json_string(host));
    if (cli_arg(c, 0))
        json_object_set_new(body, "name", json_string(cli_arg(c, 0)));
    json_object_set_new(body, "hosts", hosts);
    if (cli_text(c, "expires-in"))
        json_object_set_new(body, "expires_in", json_string(cli_text(c, "expires-in")));
    int r = cli_call(c, "POST", "/api/v1/agents/enrol-tokens", body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    char at[32];
    const char *token = ptl_json_str(answer, "token", "?");
    cli_print(c, "%s\n", token);
    fflush(c->out);
    cli_note(c, "This token makes one agent, until %s. On the agent's machine:",
             cli_time_of(answer, "expires_at", at));
    PTL_BUF kinds = PTL_BUF_MAX(100);
    for (size_t i = 0; (host = cli_texts(c, "host", i)); i++)
        ptl_buf_printf(&kinds, "%s%s", i ? "," : "", host);
    cli_note(c, "  portolan-agent enroll %s --server %s%s%s%s%s%s%s", token, c->server,
             cli_arg(c, 0) ? " --name " : "", cli_arg(c, 0) ? cli_arg(c, 0) : "",
             kinds.len ? " --hosts " : "", ptl_buf_str(&kinds), c->ca_file ? " --ca-file " : "",
             c->ca_file ? c->ca_file : "");
    cli_note(c, "  portolan-agent run --server %s", c->server);
    return 0;
}

static int set_state(struct cli *c, const char *verb, const char *done)
{
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = cli_path("/api/v1/agents/{}/{}", cli_arg(c, 0), verb, NULL);
    int r = cli_call(c, "POST", path, NULL, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "agent %s %s\n", cli_arg(c, 0), done);
    return 0;
}

int cli_cmd_agent_drain(struct cli *c)
{
    return set_state(c, "drain", "takes nothing new and ends what it does");
}

int cli_cmd_agent_activate(struct cli *c)
{
    return set_state(c, "activate", "takes stages again");
}

int cli_cmd_agent_remove(struct cli *c)
{
    return set_state(c, "remove", "is removed; its token opens nothing any more");
}
