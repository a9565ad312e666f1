/* cmd_project.c - portolan project add, list, show, set, remove, deliveries, pushes, and its secrets. */
#include "cli.h"
#include <portolan/fs.h>

enum { CREDENTIAL_MAX = 65536, LIMIT = 50 };

static void put(json_t *body, const char *key, const char *value)
{
    if (value)
        json_object_set_new(body, key, json_string(value));
}

/* A secret named by an option: a file (others may read it: it is the person's own choice where it lies), or
 * stdin. */
static int put_secret_file(struct cli *c, json_t *body, const char *key, const char *option)
{
    const char *path = cli_text(c, option);
    PTL_FREE char *value = NULL;
    PTL_BUF text = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = 0;
    if (!path)
        return 0;
    if (ptl_str_eq(path, "-")) {
        PTL_FREE char *prompt = ptl_xasprintf("%s: ", option);
        r = cli_read_secret(c, prompt, CREDENTIAL_MAX, &value);
    } else if (ptl_fs_read(path, CREDENTIAL_MAX, &text, &err) < 0) {
        r = cli_fail(c, CLI_FAILED, "--%s: %s", option, err.text);
    } else {
        while (!ptl_str_eq(key, "credential") && text.len &&
               text.data[text.len - 1] == '\n') /* keys keep their last newline */
            text.data[--text.len] = 0;
        value = ptl_buf_take(&text, NULL);
    }
    if (r)
        return r;
    if (!value || json_object_set_new(body, key, json_string(value)) < 0)
        return cli_fail(c, CLI_USAGE, "--%s %s: expected UTF-8 text, not empty", option, path);
    if (ptl_str_eq(key, "credential") && !ptl_str_eq(ptl_json_str(body, "credential_kind", ""), "ssh_key")) {
        value[strcspn(value, "\r\n")] = 0;
        json_object_set_new(body, key, json_string(value));
    }
    explicit_bzero(value, strlen(value));
    return 0;
}

static int project_body(struct cli *c, json_t *body)
{
    put(body, "default_branch", cli_text(c, "default-branch"));
    put(body, "poll", cli_text(c, "poll"));
    put(body, "credential_kind", cli_text(c, "credential-kind"));
    put(body, "credential_user", cli_text(c, "credential-user"));
    if (cli_text(c, "credential-file") && !cli_text(c, "credential-kind"))
        return cli_fail(c, CLI_USAGE, "--credential-file needs --credential-kind token, userpass or ssh_key");
    int r = put_secret_file(c, body, "credential", "credential-file");
    return r ? r : put_secret_file(c, body, "webhook_secret", "webhook-secret-file");
}

int cli_cmd_project_add(struct cli *c)
{
    PTL_JSON *body = json_pack("{s:s,s:s}", "name", cli_arg(c, 0), "url", cli_arg(c, 1));
    PTL_JSON *made = NULL;
    if (!body)
        return cli_fail(c, CLI_USAGE, "NAME and URL: expected UTF-8 text");
    int r = project_body(c, body);
    if (r == 0)
        r = cli_call(c, "POST", "/api/v1/projects", body, &made);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, made);
    cli_print(c, "project %s is registered\n", cli_arg(c, 0));
    if (!cli_text(c, "poll"))
        cli_note(
            c,
            "next: portolan project hook %s (a forge), portolan hook install REPO --project %s (a bare repository), or portolan project set %s --poll 1m",
            cli_arg(c, 0), cli_arg(c, 0), cli_arg(c, 0));
    return 0;
}

int cli_cmd_project_set(struct cli *c)
{
    PTL_JSON *body = json_object();
    PTL_JSON *answer = NULL;
    const char *forge = cli_text(c, "status-forge");
    int r = project_body(c, body);
    put(body, "url", cli_text(c, "url"));
    if (forge)
        put(body, "status_forge", ptl_str_eq(forge, "none") ? "" : forge);
    put(body, "status_url", cli_text(c, "status-url"));
    put(body, "status_repo", cli_text(c, "status-repo"));
    if (r == 0)
        r = put_secret_file(c, body, "status_token", "status-token-file");
    if (r == 0 && json_object_size(body) == 0)
        r = cli_fail(c, CLI_USAGE,
                     "project set: nothing to change was named; see: portolan project set --help");
    PTL_FREE char *path = cli_path("/api/v1/projects/{}", cli_arg(c, 0), NULL);
    if (r == 0)
        r = cli_call(c, "PATCH", path, body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "project %s is changed\n", cli_arg(c, 0));
    return 0;
}

static void project_row(struct cli_table *t, const json_t *p)
{
    int64_t number = ptl_json_i64(p, "last_run_number", 0), id = ptl_json_i64(p, "last_run_id", 0),
            poll = ptl_json_i64(p, "poll_interval_s", 0);
    const char *state = ptl_json_str(p, "last_run_state", "");
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "name", "?"));
    if (number)
        cli_table_cell(t, CLI_PLAIN, "#%lld (run %lld)", (long long)number, (long long)id);
    else if (id)
        cli_table_cell(t, CLI_PLAIN, "run %lld", (long long)id);
    else
        cli_table_cell(t, CLI_PLAIN, "-");
    cli_table_cell(t, cli_state_style(state), "%s", state);
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "default_branch", ""));
    if (poll)
        cli_table_cell(t, CLI_PLAIN, "%lld s", (long long)poll);
    else
        cli_table_cell(t, CLI_PLAIN, "-");
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "url", ""));
    cli_table_cell(t, CLI_RED, "%s", ptl_json_str(p, "poll_error", ""));
}

int cli_cmd_project_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"PROJECT",  false, false},
        {"LAST RUN", false, false},
        {"STATE",    false, false},
        {"BRANCH",   false, true },
        {"POLL",     true,  false},
        {"URL",      false, true },
        {"TROUBLE",  false, true }
    };
    static const struct cli_listing listing = {
        columns, PTL_ARRAY_LEN(columns), project_row, "after",
        "no project yet; the first one: portolan project add NAME URL"};

    return cli_list_show(c, "/api/v1/projects", &listing);
}

static void line(struct cli *c, const char *name, const char *text)
{
    PTL_FREE char *clean = cli_clean(text);
    if (*clean)
        cli_print(c, "%-16s%s\n", name, clean);
}

int cli_cmd_project_show(struct cli *c)
{
    PTL_JSON *p = NULL;
    PTL_FREE char *path = cli_path("/api/v1/projects/{}", cli_arg(c, 0), NULL);
    int64_t poll;
    char time[32];
    int r = cli_get(c, path, &p);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, p);
    line(c, "project", ptl_json_str(p, "name", "?"));
    line(c, "url", ptl_json_str(p, "url", ""));
    line(c, "default branch", ptl_json_str(p, "default_branch", ""));
    line(c, "credential", ptl_json_str(p, "credential_kind", "none"));
    poll = ptl_json_i64(p, "poll_interval_s", 0);
    if (poll)
        cli_print(c, "%-16severy %lld s\n", "poll", (long long)poll);
    line(c, "poll trouble", ptl_json_str(p, "poll_error", ""));
    line(c, "statuses", ptl_json_str(p, "status_forge", ""));
    line(c, "  api", ptl_json_str(p, "status_url", ""));
    line(c, "  repository", ptl_json_str(p, "status_repo", ""));
    line(c, "registered", cli_time_of(p, "created_at", time));
    return 0;
}

int cli_cmd_project_remove(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = cli_path("/api/v1/projects/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "DELETE", path, NULL, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "project %s is archived; its runs and logs stay\n", cli_arg(c, 0));
    return 0;
}

static void delivery_row(struct cli_table *t, const json_t *d)
{
    char time[32];
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(d, "id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(d, "received_at", time));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(d, "forge", ""));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(d, "event", ""));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(d, "outcome", ""));
    cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(d, "delivery_id", ""));
}

int cli_cmd_project_deliveries(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",       true,  false},
        {"RECEIVED", false, false},
        {"FORGE",    false, false},
        {"EVENT",    false, false},
        {"OUTCOME",  false, true },
        {"DELIVERY", false, true }
    };
    static const struct cli_listing listing = {columns, PTL_ARRAY_LEN(columns), delivery_row, "before", NULL};
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/deliveries", cli_arg(c, 0), NULL);
    return cli_list_show(c, path, &listing);
}

static void push_row(struct cli_table *t, const json_t *p)
{
    char time[32];
    int64_t run = ptl_json_i64(p, "run_id", 0);
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(p, "id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(p, "received_at", time));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_ref_short(ptl_json_str(p, "ref", "")));
    cli_table_cell(t, CLI_PLAIN, "%.12s", ptl_json_str(p, "after_sha", ""));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "source", ""));
    if (run)
        cli_table_cell(t, CLI_PLAIN, "run %lld (%s)", (long long)run, ptl_json_str(p, "state", "?"));
    else
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(p, "outcome", ""));
}

int cli_cmd_project_pushes(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",       true,  false},
        {"RECEIVED", false, false},
        {"REF",      false, true },
        {"COMMIT",   false, false},
        {"TOLD BY",  false, false},
        {"OUTCOME",  false, true }
    };
    static const struct cli_listing listing = {columns, PTL_ARRAY_LEN(columns), push_row, "before", NULL};
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/pushes", cli_arg(c, 0), NULL);
    return cli_list_show(c, path, &listing);
}

/* ---- secrets ---- */

static json_t *texts(struct cli *c, const char *option)
{
    json_t *list = json_array();
    const char *s;
    for (size_t i = 0; (s = cli_texts(c, option, i)); i++)
        json_array_append_new(list, json_string(s));
    return list;
}

int cli_cmd_project_secret_set(struct cli *c)
{
    PTL_FREE char *value = NULL;
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/secrets/{}", cli_arg(c, 0), cli_arg(c, 1), NULL);
    int r = cli_read_secret(c, "value: ", CREDENTIAL_MAX, &value);
    if (r)
        return r;
    PTL_JSON *body =
        json_pack("{s:s,s:o,s:o}", "value", value, "refs", texts(c, "ref"), "stages", texts(c, "stage"));
    explicit_bzero(value, strlen(value));
    if (!body)
        return cli_fail(c, CLI_USAGE, "the value is not UTF-8 text; encode it, for example with base64");
    r = cli_call(c, "PUT", path, body, NULL);
    if (r)
        return r;
    if (!c->json)
        cli_print(c, "secret %s of project %s is set\n", cli_arg(c, 1), cli_arg(c, 0));
    return 0;
}

static char *joined(const json_t *list, const char *none)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
        ptl_buf_printf(&b, "%s%s", i ? ", " : "", json_string_value(v) ? json_string_value(v) : "?");
    return b.len ? ptl_buf_take(&b, NULL) : ptl_xstrdup(none);
}

static void secret_row(struct cli_table *t, const json_t *s)
{
    char time[32];
    PTL_FREE char *refs = joined(json_object_get(s, "refs"), "every ref");
    PTL_FREE char *stages = joined(json_object_get(s, "stages"), "every stage that asks");
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(s, "name", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s", refs);
    cli_table_cell(t, CLI_PLAIN, "%s", stages);
    cli_table_cell(t, CLI_DIM, "%s", cli_time_of(s, "updated_at", time));
}

int cli_cmd_project_secret_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"SECRET", false, false},
        {"REFS",   false, true },
        {"STAGES", false, true },
        {"SET",    false, false}
    };
    static const struct cli_listing listing = {columns, PTL_ARRAY_LEN(columns), secret_row, NULL, NULL};
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/secrets", cli_arg(c, 0), NULL);
    return cli_list_show(c, path, &listing);
}

int cli_cmd_project_secret_remove(struct cli *c)
{
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/secrets/{}", cli_arg(c, 0), cli_arg(c, 1), NULL);
    int r = cli_call(c, "DELETE", path, NULL, NULL);
    if (r == 0 && !c->json)
        cli_print(c, "secret %s of project %s is forgotten\n", cli_arg(c, 1), cli_arg(c, 0));
    return r;
}
