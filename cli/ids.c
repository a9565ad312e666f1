/* ids.c - runs, stages and attempts as people name them: ids, "#3", "project#3", "RUN/STAGE". */
#include "cli.h"
#include <ctype.h>

enum { NUMBER_PAGES = 200, PAGE = 500 };

static int id_of(const char *text, int64_t *ret)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || text[n])
        return -EINVAL;
    *ret = strtoll(text, NULL, 10);
    return *ret > 0 ? 0 : -EINVAL;
}

int cli_run_ref_parse(const char *text, struct cli_run_ref *ret, struct ptl_error *err)
{
    struct cli_run_ref ref = {0};
    const char *hash = strchr(text, '#');
    size_t n = hash ? (size_t)(hash - text) : 0;
    if (hash && n < sizeof(ref.project) && id_of(hash + 1, &ref.number) == 0) {
        bool ok = true;
        for (size_t i = 0; i < n; i++)
            ok &= isalnum((unsigned char)text[i]) || strchr("._-", text[i]);
        if (ok) {
            memcpy(ref.project, text, n);
            *ret = ref;
            return 0;
        }
    }
    if (hash || id_of(text, &ref.id) < 0)
        return ptl_error_set(
            err, -EINVAL, "'%s' names no run; expected an id (12), a number of --project (#3), or project#3",
            text);
    *ret = ref;
    return 0;
}

int cli_stage_ref_parse(const char *text, int64_t *ret_id, char ret_run[128], const char **ret_stage,
                        struct ptl_error *err)
{
    const char *slash = strchr(text, '/');
    if (!slash && id_of(text, ret_id) == 0) {
        ret_run[0] = 0;
        *ret_stage = NULL;
        return 0;
    }
    if (!slash || slash == text || !slash[1] || slash - text >= 128)
        return ptl_error_set(err, -EINVAL,
                             "'%s': expected an id (44) or RUN/STAGE (12/verify/android, digits#3/export)",
                             text);
    snprintf(ret_run, 128, "%.*s", (int)(slash - text), text);
    *ret_stage = slash + 1;
    return 0;
}

const char *cli_project(struct cli *c)
{
    const char *p = cli_text(c, "project"), *env = getenv("PORTOLAN_PROJECT");
    return p ? p : env && *env ? env : NULL;
}

/* The API knows runs by id; a project's number is found in its list, newest first. */
static int find_number(struct cli *c, const char *project, int64_t number, int64_t *ret)
{
    char before[32] = "";
    PTL_FREE char *path = cli_path("/api/v1/runs?project={}", project, NULL);
    for (int page = 0; page < NUMBER_PAGES; page++) {
        PTL_JSON *list = NULL;
        size_t i;
        json_t *run;
        int r = cli_list(c, path, "before", *before ? before : NULL, page == 0 ? 50 : PAGE, &list);
        if (r)
            return r;
        json_array_foreach(json_object_get(list, "items"), i,
                           run) if (ptl_json_i64(run, "number", 0) == number)
        {
            *ret = ptl_json_i64(run, "id", 0);
            return 0;
        }
        int64_t next = ptl_json_i64(list, "next", 0);
        if (next <= 0)
            return cli_fail(c, CLI_ABSENT,
                            "project '%s' has no run #%lld; see: portolan run list --project %s", project,
                            (long long)number, project);
        snprintf(before, sizeof(before), "%lld", (long long)next);
    }
    return cli_fail(c, CLI_ABSENT, "run #%lld is not among the newest %d runs of '%s'; name it by its id",
                    (long long)number, NUMBER_PAGES * PAGE, project);
}

int cli_run_id(struct cli *c, const char *text, int64_t *ret)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct cli_run_ref ref;
    if (cli_run_ref_parse(text, &ref, &err) < 0)
        return cli_fail(c, CLI_USAGE, "%s", err.text);
    if (ref.id) {
        *ret = ref.id;
        return 0;
    }
    const char *project = ref.project[0] ? ref.project : cli_project(c);
    if (!project)
        return cli_fail(c, CLI_USAGE, "'%s' needs a project: --project NAME, PORTOLAN_PROJECT, or NAME#%lld",
                        text, (long long)ref.number);
    return find_number(c, project, ref.number, ret);
}

int cli_run_get(struct cli *c, const char *text, json_t **ret_run)
{
    int64_t id;
    int r = cli_run_id(c, text, &id);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/runs/%lld", (long long)id);
    return cli_get(c, path, ret_run);
}

static int no_such_stage(struct cli *c, const json_t *stages, const char *name)
{
    size_t n = json_array_size(stages), at = 0;
    const char **names = ptl_xcalloc(n + 1, sizeof(*names));
    PTL_BUF list = PTL_BUF_MAX(600);
    for (size_t i = 0; i < n; i++) {
        names[at++] = ptl_json_str(json_array_get(stages, i), "name", "");
        ptl_buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = ptl_str_nearest(name, names);
    int r = cli_fail(c, CLI_ABSENT, "the run has no stage '%s'%s%s%s; it has %s", name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                     n ? ptl_buf_str(&list) : "none yet");
    free(names);
    return r;
}

static int stage_of_run(struct cli *c, const char *run_text, const char *name, json_t **ret_stage)
{
    PTL_JSON *run = NULL;
    size_t i;
    json_t *stage;
    int r = cli_run_get(c, run_text, &run);
    if (r)
        return r;
    json_array_foreach(json_object_get(run, "stages"), i,
                       stage) if (ptl_str_eq(ptl_json_str(stage, "name", NULL), name))
    {
        *ret_stage = json_incref(stage);
        return 0;
    }
    return no_such_stage(c, json_object_get(run, "stages"), name);
}

int cli_stage_get(struct cli *c, const char *text, json_t **ret_stage)
{
    struct ptl_error err = PTL_ERROR_INIT;
    char run[128];
    const char *name;
    int64_t id;
    if (cli_stage_ref_parse(text, &id, run, &name, &err) < 0)
        return cli_fail(c, CLI_USAGE, "%s", err.text);
    if (!name) {
        *ret_stage = json_pack("{s:I}", "id", (json_int_t)id);
        return 0;
    }
    return stage_of_run(c, run, name, ret_stage);
}

static int attempt_by_fence(struct cli *c, const json_t *stage, const char *name, int64_t fence, int64_t *ret)
{
    PTL_JSON *list = NULL;
    size_t i;
    json_t *a;
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/stages/%lld/attempts?limit=%d", (long long)ptl_json_i64(stage, "id", 0), PAGE);
    int r = cli_list(c, path, NULL, NULL, PAGE, &list);
    if (r)
        return r;
    json_array_foreach(json_object_get(list, "items"), i, a) if (ptl_json_i64(a, "fence", 0) == fence)
    {
        *ret = ptl_json_i64(a, "id", 0);
        return 0;
    }
    return cli_fail(c, CLI_ABSENT, "stage %s has no attempt %lld; see: portolan attempt list", name,
                    (long long)fence);
}

int cli_attempt_id(struct cli *c, const char *text, int64_t *ret)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *stage = NULL;
    char run[128];
    const char *name;
    int64_t fence = 0;
    PTL_FREE char *copy = ptl_xstrdup(text);
    char *at = strrchr(copy, '@');
    if (at && id_of(at + 1, &fence) == 0)
        *at = 0;
    if (cli_stage_ref_parse(copy, ret, run, &name, &err) < 0)
        return cli_fail(c, CLI_USAGE, "%s", err.text);
    if (!name)
        return fence ? cli_fail(
                           c, CLI_USAGE,
                           "'%s': expected an attempt's id, or RUN/STAGE@N for the N-th attempt of a stage",
                           text)
                     : 0;
    int r = stage_of_run(c, run, name, &stage);
    if (r)
        return r;
    if (fence)
        return attempt_by_fence(c, stage, name, fence, ret);
    *ret = ptl_json_i64(stage, "attempt_id", 0);
    if (*ret <= 0)
        return cli_fail(c, CLI_ABSENT, "stage %s is %s and has had no attempt yet; see: portolan why %s",
                        name, ptl_json_str(stage, "state", "waiting"), run);
    return 0;
}

char *cli_ref_name(const char *ref)
{
    return ptl_str_starts(ref, "refs/") ? ptl_xstrdup(ref) : ptl_xasprintf("refs/heads/%s", ref);
}

const char *cli_ref_short(const char *ref)
{
    static const char *const prefixes[] = {"refs/heads/", "refs/tags/"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(prefixes); i++)
        if (ptl_str_starts(ref, prefixes[i]))
            return ref + strlen(prefixes[i]);
    return ref;
}
