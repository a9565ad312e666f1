/* cmd_stage.c - portolan stage list, approve, decline; attempt list. */
#include "cli.h"
#include <portolan/clock.h>

enum { LIMIT = 50 };

int cli_cmd_stage_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"STAGE", true,  false},
        {"RUN",   false, true },
        {"NAME",  false, true },
        {"HOST",  false, false},
        {"STATE", false, false},
        {"SINCE", false, false},
        {"WHY",   false, true }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *s;
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/stages/pending?limit=%lld",
                      (long long)(cli_int(c, "limit", LIMIT) > 500 ? 500 : cli_int(c, "limit", LIMIT)));
    int r = cli_get(c, path, &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, s)
    {
        const char *state = ptl_json_str(s, "state", "?");
        char at[32];
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(s, "id", 0));
        cli_table_cell(t, CLI_PLAIN, "%s#%lld (run %lld)", ptl_json_str(s, "project", "?"),
                       (long long)ptl_json_i64(s, "run_number", 0), (long long)ptl_json_i64(s, "run_id", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "name", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "host", ""));
        cli_table_cell(t, cli_state_style(state), "%s", state);
        cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(s, "queued_at", at));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "why", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    if (cli_table_rows(t) == 0)
        cli_note(c, "no stage waits");
    else if ((int64_t)cli_table_rows(t) >= cli_int(c, "limit", LIMIT))
        cli_note(c, "only the first %zu are shown: --limit N shows more", cli_table_rows(t));
    return 0;
}

static int decide(struct cli *c, const char *verb, const char *done)
{
    PTL_JSON *stage = NULL;
    PTL_JSON *answer = NULL;
    const char *comment = cli_text(c, "comment");
    PTL_JSON *body = comment ? json_pack("{s:s}", "comment", comment) : NULL;
    int r = cli_stage_get(c, cli_arg(c, 0), &stage);
    if (r)
        return r;
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/stages/%lld/%s", (long long)ptl_json_i64(stage, "id", 0), verb);
    r = cli_call(c, "POST", path, body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "stage %s is %s\n", cli_arg(c, 0), done);
    return 0;
}

int cli_cmd_stage_approve(struct cli *c)
{
    return decide(c, "approve", "approved");
}

int cli_cmd_stage_decline(struct cli *c)
{
    return decide(c, "decline", "declined");
}

int cli_cmd_attempt_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ATTEMPT", true,  false},
        {"N",       true,  false},
        {"AGENT",   false, true },
        {"CLAIMED", false, false},
        {"TOOK",    true,  false},
        {"END",     false, false},
        {"LOG",     true,  false},
        {"MESSAGE", false, true }
    };
    PTL_JSON *stage = NULL;
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *a;
    int r = cli_stage_get(c, cli_arg(c, 0), &stage);
    if (r)
        return r;
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/stages/%lld/attempts?limit=%lld", (long long)ptl_json_i64(stage, "id", 0),
                      (long long)(cli_int(c, "limit", LIMIT) > 500 ? 500 : cli_int(c, "limit", LIMIT)));
    r = cli_list(c, path, NULL, NULL, LIMIT, &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, a)
    {
        const char *reason = ptl_json_str(a, "end_reason", NULL);
        bool ok = ptl_json_flag(a, "ok", false);
        char at[32], took[32] = "", size[32];
        if (json_is_integer(json_object_get(a, "duration_ms")))
            ptl_duration_format(ptl_json_i64(a, "duration_ms", 0), took);
        cli_number(json_object_get(a, "log_bytes"), "bytes", size);
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(a, "id", 0));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(a, "fence", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "agent_name", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(a, "claimed_at", at));
        cli_table_cell(t, CLI_PLAIN, "%s", took);
        if (!reason)
            cli_table_cell(t, CLI_CYAN, "open");
        else if (ptl_str_eq(reason, "exit"))
            cli_table_cell(t, ok ? CLI_GREEN : CLI_RED, "exit %lld",
                           (long long)ptl_json_i64(a, "exit_code", 0));
        else
            cli_table_cell(t, CLI_RED, "%s", reason);
        cli_table_cell(t, CLI_PLAIN, "%s", size);
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(a, "message", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    return 0;
}
