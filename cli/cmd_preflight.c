/* cmd_preflight.c - portolan preflight: what plan, files and models say before anything runs; here, or what
 * the server found for a run. */
#include "cli.h"
#include <portolan/fs.h>
#include <portolan/model.h>
#include <portolan/preflight.h>
#include <portolan/spec.h>

static enum cli_style style_of(const char *severity)
{
    return ptl_str_eq(severity, "error") ? CLI_RED : ptl_str_eq(severity, "warning") ? CLI_YELLOW : CLI_DIM;
}

static int put_findings(struct cli *c, const json_t *findings)
{
    int errors = 0;
    size_t i;
    const json_t *f;
    json_array_foreach(findings, i, f)
    {
        const char *severity = ptl_json_str(f, "severity", "?"), *stage = ptl_json_str(f, "stage", NULL),
                   *path = ptl_json_str(f, "path", NULL);
        PTL_BUF b = PTL_BUF_INIT;
        PTL_FREE char *message = cli_clean(ptl_json_str(f, "message", "")),
                      *remedy = cli_clean(ptl_json_str(f, "remedy", "")), *at = cli_clean(stage ? stage : ""),
                      *file = cli_clean(path ? path : "");
        errors += ptl_str_eq(severity, "error");
        cli_styled(&b, style_of(severity), c->color, severity);
        ptl_buf_printf(&b, "  %s%s%s%s%s\n", at, *at && *file ? ": " : "", file, *at || *file ? ": " : "",
                       message);
        ptl_buf_printf(&b, "    %s (%s)\n", ptl_json_str(f, "challenge_id", "?"),
                       ptl_json_str(f, "rule", "?"));
        if (*remedy)
            ptl_buf_printf(&b, "    do: %s\n", remedy);
        cli_print_buf(c, &b);
    }
    return errors;
}

static void put_memory(struct cli *c, const json_t *memory)
{
    static const struct cli_column columns[] = {
        {.title = "STAGE"},
        {                   .title = "MODEL"               },
        { .title = "ESTIMATE",                .right = true},
        {                   .title = "LIMIT",                .right = true},
        {                .title = "MEASURED",                .right = true}
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    const json_t *m;
    json_array_foreach(memory, i, m)
    {
        static const char *const numbers[] = {"estimate_bytes", "limit_bytes", "measured_bytes"};
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(m, "stage", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(m, "path", ""));
        for (size_t k = 0; k < PTL_ARRAY_LEN(numbers); k++) {
            char text[32];
            cli_number(json_object_get(m, numbers[k]), "bytes", text);
            cli_table_cell(t, CLI_PLAIN, "%s", text);
        }
    }
    if (!cli_table_rows(t))
        return;
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
}

static int of_run(struct cli *c, const char *id)
{
    PTL_JSON *run = NULL, *answer = NULL;
    char name[128];
    size_t i;
    const json_t *look;
    int r = cli_run_get(c, id, &run);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/runs/%lld/preflight", (long long)ptl_json_i64(run, "id", 0));
    if ((r = cli_get(c, path, &answer)))
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_run_name(run, name);
    int errors = put_findings(c, json_object_get(answer, "items"));
    bool looked = false;
    PTL_JSON *memory = json_array();
    json_array_foreach(json_object_get(answer, "looks"), i, look)
    {
        const char *state = ptl_json_str(look, "state", "");
        looked = looked || ptl_str_eq(state, "done");
        if (!ptl_str_eq(state, "done")) {
            PTL_FREE char *why = cli_clean(ptl_json_str(look, "message", "it waits for a worker"));
            cli_note(c, "%s: not looked at: %s", ptl_json_str(look, "stage", "the source"), why);
        }
        json_array_extend(memory, json_object_get(look, "memory"));
    }
    put_memory(c, memory);
    if (looked && json_array_size(json_object_get(answer, "items")) == 0)
        cli_print(c, "%s: nothing found before its stages ran\n", name);
    return errors ? CLI_FAILED : CLI_OK;
}

static int ask_agents(struct cli *c, json_t **agents, json_t **toolchains)
{
    PTL_JSON *answer = NULL;
    json_t *a;
    size_t i;
    int r = cli_get(c, "/api/v1/agents?limit=500", &answer);
    if (r)
        return r;
    *agents = json_array();
    json_array_foreach(json_object_get(answer, "items"), i, a)
    {
        json_t *inventory = json_object_get(a, "inventory");
        json_array_append_new(*agents, json_pack("{s:O?,s:O?,s:O?}", "hosts", json_object_get(a, "hosts"),
                                                 "memory_bytes", json_object_get(inventory, "memory_bytes"),
                                                 "toolchains", json_object_get(inventory, "toolchains")));
    }
    *toolchains = ptl_preflight_toolchains(*agents);
    return 0;
}

static int here(struct cli *c, const char *dir)
{
    PTL_BUF text = PTL_BUF_INIT;
    PTL_CLEANUP(ptl_spec_freep) struct ptl_spec *spec = NULL;
    PTL_CLEANUP(ptl_spec_diags_done) struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    PTL_JSON *models = NULL, *answer = NULL, *agents = NULL, *toolchains = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    bool cut = false;
    size_t i;
    const json_t *v;
    PTL_FREE char *file = ptl_fs_join(dir, PTL_SPEC_FILE_NAME);
    if (!ptl_fs_exists(file))
        return cli_fail(c, CLI_ABSENT, "%s: no such file; portolan init %s writes a first one", file, dir);
    if (ptl_fs_read(file, PTL_SPEC_MAX_BYTES + 1, &text, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    if (ptl_spec_parse(ptl_buf_str(&text), text.len, file, &spec, &diags) < 0) {
        PTL_FREE char *findings = ptl_spec_diags_text(&diags);
        return cli_fail(c, CLI_FAILED, "%s", findings);
    }
    if (cli_flag(c, "agents")) {
        int r = ask_agents(c, &agents, &toolchains);
        if (r)
            return r;
    }
    if (ptl_model_find(dir, &models, &cut, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    struct ptl_preflight_input in = {.dir = dir,
                                     .plan = ptl_spec_plan(spec),
                                     .models = models,
                                     .stage = cli_text(c, "stage"),
                                     .toolchains = toolchains,
                                     .agents = agents};
    if (ptl_preflight(&in, &answer, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    if (cut)
        json_array_append_new(json_object_get(answer, "cuts"),
                              json_sprintf("only the first %d models were looked at", PTL_MODEL_FIND_MAX));
    const json_t *findings = json_object_get(answer, "findings");
    int errors = 0;
    json_array_foreach(findings, i, v) errors += ptl_str_eq(ptl_json_str(v, "severity", ""), "error");
    if (c->json) {
        cli_print_json(c, answer);
        return errors ? CLI_FAILED : CLI_OK;
    }
    json_array_foreach(json_object_get(answer, "models"), i, v)
    {
        PTL_FREE char *path = cli_clean(ptl_json_str(v, "path", "?"));
        char size[32];
        cli_number(json_object_get(v, "size_bytes"), "bytes", size);
        cli_print(c, "%s: %s, %s\n", path, ptl_json_str(v, "format", "?"), size);
    }
    put_findings(c, findings);
    put_memory(c, json_object_get(answer, "memory"));
    json_array_foreach(json_object_get(answer, "cuts"), i, v)
    {
        PTL_FREE char *said = cli_clean(json_string_value(v));
        cli_note(c, "%s", said);
    }
    if (json_array_size(findings) == 0)
        cli_print(c, "%zu models, %zu stages: nothing found\n", json_array_size(models),
                  json_array_size(json_object_get(ptl_spec_plan(spec), "stages")));
    if (!cli_flag(c, "agents"))
        cli_note(
            c,
            "versions of the targets' runtimes are not looked at; --agents asks the server which its agents have");
    return errors ? CLI_FAILED : CLI_OK;
}

int cli_cmd_preflight(struct cli *c)
{
    const char *run = cli_text(c, "run");
    if (run && cli_arg(c, 0))
        return cli_fail(c, CLI_USAGE, "--run asks the server, DIR looks here: give one of them");
    return run ? of_run(c, run) : here(c, cli_arg(c, 0) ? cli_arg(c, 0) : ".");
}
