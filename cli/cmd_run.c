/* cmd_run.c - portolan run start, list, show, cancel, rerun. */
#include "cli.h"
#include "watch.h"

enum { LIMIT = 50, RETRY_MS = 300000 };

/* A commit as 40 digits: as given, or as git here resolves it. */
static int full_sha(struct cli *c, const char *text, char **ret)
{
    if (strlen(text) == 40 && strspn(text, "0123456789abcdef") == 40) {
        *ret = ptl_xstrdup(text);
        return 0;
    }
    PTL_FREE char *spec = ptl_xasprintf("%s^{commit}", text);
    const char *const args[] = {"rev-parse", "--verify", "--quiet", "--end-of-options", spec, NULL};
    PTL_FREE char *sha = cli_git(".", args);
    if (!sha || strlen(sha) != 40)
        return cli_fail(
            c, CLI_USAGE,
            "--commit %s: expected 40 hex digits, or something that git in this directory can resolve", text);
    *ret = PTL_TAKE(sha);
    return 0;
}

int cli_cmd_run_start(struct cli *c)
{
    const char *project = cli_arg(c, 0) ? cli_arg(c, 0) : cli_project(c), *ref = cli_text(c, "ref"),
               *tag = cli_text(c, "tag");
    PTL_FREE char *sha = NULL;
    PTL_JSON *body = json_object();
    PTL_JSON *answer = NULL;
    int r = 0;
    if (!project)
        return cli_fail(
            c, CLI_USAGE,
            "run start: which project? portolan run start PROJECT, --project or PORTOLAN_PROJECT");
    if (ref && tag)
        return cli_fail(c, CLI_USAGE, "run start: --ref or --tag, not both");
    PTL_FREE char *name = tag ? ptl_xasprintf("refs/tags/%s", tag) : ref ? cli_ref_name(ref) : NULL;
    if (name)
        json_object_set_new(body, "ref", json_string(name));
    if (cli_text(c, "commit") && (r = full_sha(c, cli_text(c, "commit"), &sha)) == 0)
        json_object_set_new(body, "commit", json_string(sha));
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/runs", project, NULL);
    if (r == 0)
        r = cli_call(c, "POST", path, body, &answer);
    if (r)
        return r;
    int64_t id = ptl_json_i64(answer, "run_id", 0);
    if (ptl_json_str(answer, "error", NULL))
        return cli_fail(c, CLI_UNREACHED, "%s", ptl_json_str(answer, "error", ""));
    if (!id)
        return cli_fail(c, CLI_CONFLICT, "no run was started: %s",
                        ptl_json_str(answer, "outcome", "the server did not say why"));
    if (c->json && !cli_flag(c, "watch"))
        return cli_print_json(c, answer);
    if (!c->json)
        cli_print(c, "run %lld is started\n", (long long)id);
    if (cli_flag(c, "watch"))
        return cli_watch_run(c, id, cli_int(c, "retry", RETRY_MS), true);
    cli_note(c, "watch it: portolan run watch %lld", (long long)id);
    return 0;
}

static void run_row(struct cli_table *t, const json_t *run)
{
    char at[32], name[128];
    const char *state = ptl_json_str(run, "state", "?"), *sha = ptl_json_str(run, "commit_sha", "");
    const char *message = ptl_json_str(run, "message", NULL),
               *subject = ptl_json_str(run, "commit_message", "");
    cli_run_name(run, name);
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(run, "id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s",
                   ptl_json_i64(run, "number", 0) > 0 ? name : ptl_json_str(run, "project", "?"));
    cli_table_cell(t, cli_state_style(state), "%s", state);
    cli_table_cell(t, CLI_PLAIN, "%lld/%lld", (long long)ptl_json_i64(run, "green", 0),
                   (long long)ptl_json_i64(run, "stages", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_ref_short(ptl_json_str(run, "ref", "")));
    cli_table_cell(t, CLI_PLAIN, "%.12s", sha);
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(run, "created_at", at));
    cli_table_cell(t, CLI_DIM, "%s", message && *message ? message : subject);
}

int cli_cmd_run_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"RUN",     true,  false},
        {"NAME",    false, true },
        {"STATE",   false, false},
        {"GREEN",   true,  false},
        {"REF",     false, true },
        {"COMMIT",  false, false},
        {"CREATED", false, false},
        {"MESSAGE", false, true },
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT, path = PTL_BUF_INIT;
    size_t i;
    json_t *run;
    PTL_FREE char *ref = cli_text(c, "ref") ? cli_ref_name(cli_text(c, "ref")) : NULL;
    const char *const query[][2] = {
        {"project",   cli_project(c)},
        {        "state", cli_text(c,       "state")},
        {        "ref",        ref              },
        { "commit",  cli_text(c,                "commit")}
    };
    ptl_buf_puts(&path, "/api/v1/runs");
    for (i = 0; i < PTL_ARRAY_LEN(query); i++)
        if (query[i][1]) {
            PTL_FREE char *value = ptl_url_encode(query[i][1]);
            ptl_buf_printf(&path, "%c%s=%s", strchr(ptl_buf_str(&path), '?') ? '&' : '?', query[i][0], value);
        }
    int r =
        cli_list(c, ptl_buf_str(&path), "before", cli_text(c, "before"), cli_int(c, "limit", LIMIT), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, run) run_row(t, run);
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "before");
    return 0;
}

int cli_cmd_run_show(struct cli *c)
{
    PTL_JSON *run = NULL;
    int r = cli_run_get(c, cli_arg(c, 0), &run);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, run);
    cli_print_run(c, run);
    return 0;
}

static int change(struct cli *c, const char *verb, const char *done, int64_t *ret_id)
{
    PTL_JSON *answer = NULL;
    int r = cli_run_id(c, cli_arg(c, 0), ret_id);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/runs/%lld/%s", (long long)*ret_id, verb);
    r = cli_call(c, "POST", path, NULL, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_flag(c, "watch") ? 0 : cli_print_json(c, answer);
    cli_print(c, "run %lld %s\n", (long long)*ret_id, done);
    return 0;
}

int cli_cmd_run_cancel(struct cli *c)
{
    int64_t id;
    return change(c, "cancel", "is cancelled; what runs is given its grace time to end", &id);
}

int cli_cmd_run_rerun(struct cli *c)
{
    int64_t id;
    int r = change(c, "rerun", "runs again from the first stage that is not green", &id);
    return r || !cli_flag(c, "watch") ? r : cli_watch_run(c, id, cli_int(c, "retry", RETRY_MS), true);
}
