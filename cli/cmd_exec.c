/* cmd_exec.c - portolan exec: the pipeline of a working tree, on this machine, without a daemon. The same
 * plan, the same attempt directories and the same program per stage as a run has; only the placing and the
 * storing are left out. */
#include "workdir.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/spec.h>
#include <signal.h>
#include <sys/stat.h>

enum { LOG_BYTES = 64 << 20 };

struct exec {
    struct cli *c;
    char *root, *base, *source, *agent;
    const char *commit, *ref;
    struct ptl_spec *spec;
    const json_t *stages; /* of the plan */
    json_t *run;          /* as the API would tell it: what show.c prints */
    bool base_is_temporary, interrupted;
};

/* ---- plan ---- */

static int load_spec(struct exec *x)
{
    struct cli *c = x->c;
    PTL_BUF text = PTL_BUF_INIT;
    PTL_CLEANUP(ptl_spec_diags_done) struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    PTL_JSON *recipes = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *file = ptl_fs_join(x->root, PTL_SPEC_FILE_NAME);
    if (!ptl_fs_exists(file))
        return cli_fail(c, CLI_ABSENT, "%s: no such file; portolan init writes a first one", file);
    if (ptl_fs_read(file, PTL_SPEC_MAX_BYTES + 1, &text, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    int bad = ptl_spec_parse(ptl_buf_str(&text), text.len, file, &x->spec, &diags);
    PTL_FREE char *root = cli_recipes_root(c);
    if (bad == 0 && root) {
        if (cli_recipes_load(root, &recipes, &err) < 0)
            return cli_fail(c, CLI_FAILED, "%s", err.text);
        bad = ptl_spec_check_recipes(x->spec, recipes, &diags);
        if (cli_text(c, "recipes")) {
            PTL_FREE char *full = realpath(root, NULL);
            setenv("PORTOLAN_RECIPES", full ? full : root, 1); /* the agent's program looks there too */
        }
    }
    PTL_FREE char *findings = ptl_spec_diags_text(&diags);
    for (size_t n = strlen(findings); n && findings[n - 1] == '\n';)
        findings[--n] = 0;
    if (*findings)
        cli_note(c, "%s", findings);
    if (bad && c->quiet)
        cli_warn(c, "%s", findings);
    if (bad)
        return CLI_FAILED;
    x->stages = json_object_get(ptl_spec_plan(x->spec), "stages");
    return 0;
}

static json_t *by_name(const json_t *stages, const char *name)
{
    size_t i;
    json_t *s;
    json_array_foreach(stages, i, s) if (ptl_str_eq(ptl_json_str(s, "name", NULL), name)) return s;
    return NULL;
}

static json_t *first_export(const struct exec *x)
{
    size_t i;
    json_t *s;
    json_array_foreach(x->stages, i, s) if (ptl_str_eq(ptl_json_str(s, "kind", ""), "export")) return s;
    return NULL;
}

/* The target without its matrix: --target android takes every combination. */
static bool is_target(const char *have, const char *want)
{
    size_t n = strlen(want);
    return have && strncmp(have, want, n) == 0 && (have[n] == 0 || have[n] == '[');
}

static bool is_asked_for(const struct cli *c, const json_t *stage)
{
    const char *want, *name = ptl_json_str(stage, "name", "");
    if (!cli_text(c, "target") && !cli_text(c, "stage"))
        return true;
    for (size_t i = 0; (want = cli_texts(c, "stage", i)); i++)
        if (ptl_str_eq(want, name))
            return true;
    for (size_t i = 0; (want = cli_texts(c, "target", i)); i++)
        if (is_target(ptl_json_str(stage, "target", NULL), want))
            return true;
    return false;
}

static int no_such(struct cli *c, const struct exec *x, const char *option, const char *key, const char *want)
{
    size_t n = json_array_size(x->stages), at = 0;
    const char **have = ptl_xcalloc(n + 1, sizeof(*have));
    PTL_BUF list = PTL_BUF_MAX(600);
    for (size_t i = 0; i < n; i++) {
        const char *s = ptl_json_str(json_array_get(x->stages, i), key, NULL);
        bool known = !s;
        for (size_t k = 0; k < at; k++)
            known |= ptl_str_eq(have[k], s);
        if (known)
            continue;
        ptl_buf_printf(&list, "%s%s", at ? ", " : "", s);
        have[at++] = s;
    }
    const char *near = ptl_str_nearest(want, have);
    int r = cli_fail(c, CLI_ABSENT, "--%s %s: not in the pipeline file%s%s%s; it has %s", option, want,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                     at ? ptl_buf_str(&list) : "none");
    free(have);
    return r;
}

static int check_asked(const struct exec *x)
{
    const char *want;
    size_t k;
    json_t *s;
    for (size_t i = 0; (want = cli_texts(x->c, "stage", i)); i++)
        if (!by_name(x->stages, want))
            return no_such(x->c, x, "stage", "name", want);
    for (size_t i = 0; (want = cli_texts(x->c, "target", i)); i++) {
        bool found = false;
        json_array_foreach(x->stages, k, s) found |= is_target(ptl_json_str(s, "target", NULL), want);
        if (!found)
            return no_such(x->c, x, "target", "target", want);
    }
    return 0;
}

/* Marks a stage and all that it needs. */
static void choose(const struct exec *x, json_t *chosen, const json_t *stage)
{
    size_t i;
    json_t *need;
    const char *name = ptl_json_str(stage, "name", ""), *from = ptl_json_str(stage, "model_from", NULL);
    if (json_object_get(chosen, name))
        return;
    json_object_set_new(chosen, name, json_true());
    json_array_foreach(json_object_get(stage, "needs"), i, need)
        choose(x, chosen, by_name(x->stages, json_string_value(need)));
    if (from)
        choose(x, chosen, by_name(x->stages, from));
    if (ptl_str_eq(ptl_json_str(stage, "kind", ""), "verify") && first_export(x))
        choose(x, chosen, first_export(x));
}

/* The run as the API would tell it, every stage waiting. */
static int plan_run(struct exec *x)
{
    PTL_JSON *chosen = json_object();
    json_t *list = json_array(), *s;
    size_t i;
    int r = check_asked(x);
    json_array_foreach(x->stages, i, s) if (r == 0 && is_asked_for(x->c, s)) choose(x, chosen, s);
    json_array_foreach(x->stages, i, s) if (json_object_get(chosen, ptl_json_str(s, "name", "")))
    {
        json_t *one = json_pack("{s:O,s:O,s:O?,s:O?,s:s,s:b}", "name", json_object_get(s, "name"), "kind",
                                json_object_get(s, "kind"), "target", json_object_get(s, "target"), "host",
                                json_object_get(s, "host"), "state", "waiting", "allow_failure",
                                ptl_json_flag(s, "allow_failure", false));
        json_object_set_new(one, "id", json_integer((json_int_t)i + 1));
        json_array_append_new(list, one);
    }
    x->run = json_pack("{s:s,s:s,s:s,s:o}", "project", ptl_json_str(ptl_spec_plan(x->spec), "model", "model"),
                       "model", ptl_json_str(ptl_spec_plan(x->spec), "model", "model"), "state", "running",
                       "stages", list);
    if (x->commit)
        json_object_set_new(x->run, "commit_sha", json_string(x->commit));
    return r;
}

/* ---- one stage ---- */

static char *stage_dir(const struct exec *x, const json_t *planned)
{
    size_t at = 0;
    while (at < json_array_size(x->stages) && json_array_get(x->stages, at) != planned)
        at++;
    PTL_FREE char *name = ptl_xstrdup(ptl_json_str(planned, "name", "stage"));
    for (char *p = name; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
            *p = '-';
    return ptl_xasprintf("%s/%02zu-%s", x->base, at + 1, name);
}

/* outputs/<set> of one stage becomes inputs/<set> of another; the files go into the job as the daemon would
 * list them. */
static int give(struct exec *x, const char *dir, const json_t *from, const char *set, json_t *job)
{
    json_t *shown = by_name(json_object_get(x->run, "stages"), ptl_json_str(from, "name", "")), *a,
           *files = json_array();
    PTL_FREE char *source = stage_dir(x, from);
    PTL_FREE char *prefix = ptl_xasprintf("%s/", set);
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i;
    json_object_set_new(job, set, json_pack("{s:o}", "files", files));
    json_array_foreach(json_object_get(shown, "artifacts"), i, a)
    {
        const char *path = ptl_json_str(a, "path", "");
        if (!ptl_str_starts(path, prefix) || !ptl_fs_is_safe_relative(path))
            continue;
        PTL_FREE char *have = ptl_xasprintf("%s/outputs/%s", source, path);
        PTL_FREE char *to = ptl_xasprintf("%s/inputs/%s", dir, path);
        int r = cli_mkdirs_for(x->c, to);
        if (r)
            return r;
        if (ptl_fs_copy(have, to, ptl_json_flag(a, "exec", false) ? 0755 : 0644, &err) < 0)
            return cli_fail(x->c, CLI_FAILED, "%s", err.text);
        json_t *file = json_deep_copy(a);
        json_object_set_new(file, "path", json_string(path + strlen(prefix)));
        json_array_append_new(files, file);
    }
    return 0;
}

static json_t *job_of(struct exec *x, const json_t *planned, json_int_t id)
{
    static const char *const keys[] = {
        "kind",    "target",  "name",   "host",      "uses",   "run",        "with",       "toolchain", "env",
        "network", "outputs", "expect", "precision", "matrix", "model_uses", "timeout_ms", "grace_ms"};
    json_t *job = json_pack("{s:I,s:i,s:I,s:i,s:i,s:s,s:s,s:s,s:{s:i}}", "attempt_id", id, "fence", 1,
                            "stage_id", id, "run_id", 0, "run_number", 0, "project",
                            ptl_json_str(ptl_spec_plan(x->spec), "model", "model"), "commit",
                            x->commit ? x->commit : "0000000000000000000000000000000000000000", "ref",
                            x->ref ? x->ref : "", "limits", "log_bytes", LOG_BYTES);
    for (size_t i = 0; i < PTL_ARRAY_LEN(keys); i++) {
        json_t *v = json_object_get(planned, keys[i]);
        if (v && !json_is_null(v))
            json_object_set(job, keys[i], v);
    }
    return job;
}

/* Only the secrets that this stage asks for. */
static int stage_secrets(struct exec *x, json_t *job, const json_t *planned)
{
    PTL_JSON *all = json_object();
    json_t *given, *wanted = json_object(), *name;
    size_t i;
    int r = cli_job_secrets(x->c, all);
    json_object_set_new(job, "secrets", wanted);
    if (r)
        return r;
    given = json_object_get(all, "secrets");
    json_array_foreach(json_object_get(planned, "secrets"), i, name)
    {
        const char *key = json_string_value(name);
        json_t *value = key ? json_object_get(given, key) : NULL;
        if (value)
            json_object_set(wanted, key, value);
        else
            cli_warn(
                x->c,
                "%s asks for the secret %s and does not get it: --secret %s gives the value of the environment variable",
                ptl_json_str(planned, "name", "?"), key ? key : "?", key ? key : "?");
    }
    return 0;
}

static int make_dir(struct exec *x, const char *dir, const json_t *planned, json_int_t id)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *kind = ptl_json_str(planned, "kind", ""), *from = ptl_json_str(planned, "model_from", NULL);
    PTL_JSON *job = job_of(x, planned, id);
    PTL_FREE char *src = ptl_fs_join(dir, "src");
    PTL_FREE char *path = ptl_fs_join(dir, "job.json");
    int r = cli_copy_tree(x->c, x->source, src);
    if (r == 0 && from)
        r = give(x, dir, by_name(x->stages, from), "model", job);
    if (r == 0 && !ptl_str_eq(kind, "export") && first_export(x))
        r = give(x, dir, first_export(x), "golden", job);
    if (r == 0)
        r = stage_secrets(x, job, planned);
    if (r == 0 && ptl_json_save(path, job, 0600, &err) < 0)
        r = cli_fail(x->c, CLI_FAILED, "%s", err.text);
    return r;
}

static void note_result(json_t *shown, const json_t *result)
{
    static const char *const keys[] = {"ok",          "end_reason",        "exit_code",  "signal",
                                       "duration_ms", "peak_memory_bytes", "report",     "artifacts",
                                       "sandbox",     "warnings",          "environment"};
    char at[32];
    int64_t bytes = 0;
    size_t i;
    json_t *a;
    for (i = 0; i < PTL_ARRAY_LEN(keys); i++)
        json_object_set(shown, keys[i], json_object_get(result, keys[i]));
    json_array_foreach(json_object_get(result, "artifacts"), i,
                       a) if (ptl_str_starts(ptl_json_str(a, "path", ""), "model/") &&
                              !ptl_str_eq(ptl_json_str(a, "path", ""), "model/signature.json")) bytes +=
        ptl_json_i64(a, "size_bytes", 0);
    json_object_set_new(shown, "model_bytes", json_integer(bytes));
    json_object_set(shown, "attempt_message", json_object_get(result, "message"));
    ptl_wall_rfc3339(ptl_json_i64(result, "started_wall_ms", 0), at);
    json_object_set_new(shown, "started_at", json_string(at));
    ptl_wall_rfc3339(ptl_json_i64(result, "started_wall_ms", 0) + ptl_json_i64(result, "duration_ms", 0), at);
    json_object_set_new(shown, "ended_at", json_string(at));
    const char *reason = ptl_json_str(result, "end_reason", "");
    json_object_set_new(shown, "state",
                        json_string(ptl_json_flag(result, "ok", false) ? "green"
                                    : ptl_str_eq(reason, "cancelled")  ? "cancelled"
                                                                       : "red"));
}

/* What a stage needs and did not turn green, or NULL. */
static const json_t *obstacle(const struct exec *x, const json_t *planned)
{
    size_t i;
    json_t *need;
    json_array_foreach(json_object_get(planned, "needs"), i, need)
    {
        const json_t *s = by_name(json_object_get(x->run, "stages"), json_string_value(need));
        if (s && !ptl_str_eq(ptl_json_str(s, "state", ""), "green"))
            return s;
    }
    return NULL;
}

static int run_stage(struct exec *x, json_t *shown)
{
    const char *name = ptl_json_str(shown, "name", "?");
    const json_t *planned = by_name(x->stages, name), *in_the_way = obstacle(x, planned);
    PTL_JSON *result = NULL;
    bool stopped = false;
    if (x->interrupted || in_the_way) {
        json_object_set_new(shown, "state", json_string(x->interrupted ? "cancelled" : "skipped"));
        if (in_the_way)
            json_object_set_new(shown, "message",
                                json_sprintf("needs %s, which is %s", ptl_json_str(in_the_way, "name", "?"),
                                             ptl_json_str(in_the_way, "state", "?")));
        return 0;
    }
    if (ptl_json_flag(planned, "manual", false))
        cli_note(x->c, "%s is a manual gate: taken as approved here", name);
    PTL_FREE char *dir = stage_dir(x, planned);
    /* Names the control group too: must differ from what an agent on this machine uses, and from another
     * exec. */
    json_int_t id = (json_int_t)(ptl_wall_ms() * 1000 + ptl_json_i64(shown, "id", 0));
    int r = make_dir(x, dir, planned, id);
    if (r)
        return r;
    json_object_set_new(shown, "directory", json_string(dir));
    int64_t limit =
        ptl_json_i64(planned, "timeout_ms", 3600000) + ptl_json_i64(planned, "grace_ms", 10000) + 60000;
    r = cli_attempt_run(x->c, x->agent, dir, name, limit, &result, &stopped);
    x->interrupted |= stopped;
    if (r) {
        json_object_set_new(shown, "state", json_string("red"));
        json_object_set_new(shown, "message", json_string("portolan-agent left no result"));
        return 0;
    }
    note_result(shown, result);
    return 0;
}

/* ---- all of it ---- */

static int find_root(struct exec *x)
{
    const char *dir = cli_arg(x->c, 0) ? cli_arg(x->c, 0) : ".";
    const char *const top_args[] = {"rev-parse", "--show-toplevel", NULL},
                      *const head_args[] = {"rev-parse", "--verify", "--quiet", "HEAD", NULL},
                      *const ref_args[] = {"symbolic-ref", "--quiet", "HEAD", NULL};
    if (!ptl_fs_is_dir(dir))
        return cli_fail(x->c, CLI_ABSENT, "%s: no such directory", dir);
    x->root = realpath(dir, NULL);
    PTL_FREE char *file = ptl_fs_join(x->root, PTL_SPEC_FILE_NAME);
    char *top = ptl_fs_exists(file) ? NULL : cli_git(x->root, top_args);
    if (top) {
        free(x->root);
        x->root = top;
    }
    x->commit = cli_git(x->root, head_args);
    x->ref = cli_git(x->root, ref_args);
    return 0;
}

static int make_base(struct exec *x)
{
    const char *named = cli_text(x->c, "output"), *tmp = getenv("TMPDIR");
    struct ptl_error err = PTL_ERROR_INIT;
    size_t files = 0;
    if (named) {
        if (ptl_fs_exists(named))
            return cli_fail(x->c, CLI_CONFLICT, "%s is there already; remove it, or choose another directory",
                            named);
        if (ptl_fs_mkdirs(named, 0755, &err) < 0)
            return cli_fail(x->c, CLI_FAILED, "%s", err.text);
        x->base = realpath(named, NULL);
    } else {
        x->base = ptl_xasprintf("%s/portolan-exec-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(x->base) || chmod(x->base, 0755) < 0) /* stages may run as another user */
            return cli_fail(x->c, CLI_FAILED, "%s: cannot be made: %s", x->base, strerror(errno));
        x->base_is_temporary = true;
    }
    x->source = ptl_fs_join(x->base, "source");
    int r = cli_snapshot(x->c, x->root, x->source, &files);
    if (r == 0)
        cli_note(x->c, "%zu files of %s as they are now", files, x->root);
    return r;
}

static int settle(struct exec *x)
{
    size_t i;
    json_t *s;
    bool red = false;
    json_array_foreach(json_object_get(x->run, "stages"), i, s)
    {
        const char *state = ptl_json_str(s, "state", "");
        /* cancelled: somebody ended it from outside, whoever may fail */
        red |= ptl_str_eq(state, "cancelled") ||
               (ptl_str_eq(state, "red") && !ptl_json_flag(s, "allow_failure", false));
    }
    json_object_set_new(x->run, "state", json_string(x->interrupted ? "cancelled" : red ? "red" : "green"));
    return x->interrupted ? 130 : red ? CLI_FAILED : CLI_OK;
}

static void print_end(struct exec *x)
{
    struct cli *c = x->c;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *s;
    if (c->json) {
        cli_print_json(c, x->run);
        return;
    }
    cli_show_stages(&b, x->run, c->width, c->color);
    json_array_foreach(json_object_get(x->run, "stages"), i,
                       s) if (ptl_str_eq(ptl_json_str(s, "state", ""), "red"))
    {
        cli_show_red(&b, s, true, c->width, c->color);
        const char *dir = ptl_json_str(s, "directory", NULL);
        if (dir) {
            cli_log_tail(&b, dir, c->width);
            ptl_buf_printf(&b, "  log: %s/log\n", dir);
        }
    }
    cli_print_buf(c, &b);
}

static int all_stages(struct exec *x)
{
    size_t i;
    json_t *s;
    int r = make_base(x);
    json_array_foreach(json_object_get(x->run, "stages"), i, s)
    {
        if (r)
            return r;
        r = run_stage(x, s);
    }
    if (r)
        return r;
    r = settle(x);
    print_end(x);
    return r;
}

static int go(struct exec *x)
{
    int r = find_root(x);
    if (r == 0)
        r = load_spec(x);
    if (r == 0)
        r = plan_run(x);
    if (r)
        return r;
    if (cli_flag(x->c, "plan")) {
        print_end(x);
        return 0;
    }
    x->agent = cli_agent_program(x->c);
    return x->agent ? all_stages(x) : CLI_FAILED;
}

int cli_cmd_exec(struct cli *c)
{
    struct exec x = {.c = c};
    struct ptl_error err = PTL_ERROR_INIT;
    int r = go(&x);
    if (x.base_is_temporary && (r == CLI_OK && !cli_flag(c, "keep"))) {
        if (ptl_fs_remove_tree(x.base, &err) < 0)
            cli_warn(c, "%s", err.text);
    } else if (x.base) {
        cli_note(c, "attempt directories: %s", x.base);
    }
    json_decref(x.run);
    ptl_spec_free(x.spec);
    free((char *)(uintptr_t)x.commit);
    free((char *)(uintptr_t)x.ref);
    free(x.root);
    free(x.base);
    free(x.source);
    free(x.agent);
    return r;
}
