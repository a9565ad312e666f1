/* changes.c - what changed between two commits of a project: the commits, the files, and the difference of
 * what decides how a model is made, the pipeline file first, then what is installed, then what is run. Runs
 * on a worker and blocks there; everything it gathers is bounded, and what was left out is told. */
#include "core-private.h"
#include <portolan/clock.h>

enum {
    COMMITS_MAX = 20,
    FILES_MAX = 200,
    DIFF_MAX = 64 << 10,
    DIFF_FILE_MAX = 16 << 10,
    SUBJECT_MAX = 200,
    RANK_REST = 50,
    RANK_NONE = 100,
};

void ptl_core_changes_init(struct ptl_core_changes *c, bool all)
{
    *c = (struct ptl_core_changes){.all = all,
                                   .commits = json_array(),
                                   .files = json_array(),
                                   .cuts = json_array(),
                                   .diff = {.max = DIFF_MAX + 4096}};
}

void ptl_core_changes_done(struct ptl_core_changes *c)
{
    json_decref(c->commits);
    json_decref(c->files);
    json_decref(c->cuts);
    ptl_buf_done(&c->diff);
}

/* ---- what to look into */
static bool ends_with_any(const char *path, const char *const *ends)
{
    for (size_t i = 0; ends[i]; i++)
        if (ptl_str_ends(path, ends[i]))
            return true;
    return false;
}

static int rank(const char *path)
{
    static const char *const locks[] = {
        ".lock",      "package.json", "package-lock.json", "Pipfile",          "pyproject.toml",
        "setup.cfg",  "setup.py",     "environment.yml",   "environment.yaml", "constraints.txt",
        "Dockerfile", "build.gradle", "build.gradle.kts",  "CMakeLists.txt",   NULL};
    static const char *const scripts[] = {".py",   ".sh",  ".js",   ".mjs",  ".ts", ".cfg",
                                          ".toml", ".yml", ".yaml", ".json", NULL};
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (ptl_str_eq(path, ".portolan.yml"))
        return 0;
    if (ptl_str_starts(name, "requirements"))
        return 1;
    if (ends_with_any(path, locks))
        return ptl_str_ends(path, ".lock") || ptl_str_ends(path, "-lock.json") ? 4 : 2;
    return ends_with_any(path, scripts) ? 3 : RANK_NONE;
}

static int rank_all(const char *path)
{
    int r = rank(path);
    return r < RANK_NONE ? r : RANK_REST;
}

/* ---- gathering */
static json_t *utf8(const char *s, size_t max)
{
    size_t n = strlen(s);
    PTL_FREE char *text = ptl_json_text_utf8(s, n < max ? n : max);
    return json_string(text);
}

static int one_commit(void *ctx, const struct ptl_git_commit *commit)
{
    struct ptl_core_changes *c = ctx;
    char at[32];
    if (json_array_size(c->commits) == COMMITS_MAX) {
        c->commits_left++;
        return 0;
    }
    ptl_wall_rfc3339(commit->time_wall_ms, at);
    size_t n = strcspn(commit->message, "\n");
    PTL_FREE char *subject = strndup(commit->message, n < SUBJECT_MAX ? n : SUBJECT_MAX);
    json_array_append_new(c->commits, json_pack("{s:s,s:o,s:o,s:s}", "sha", commit->sha, "subject",
                                                utf8(subject ? subject : "", SUBJECT_MAX), "author",
                                                utf8(commit->author_name, SUBJECT_MAX), "at", at));
    return 0;
}

static int one_file(void *ctx, const char *path)
{
    struct ptl_core_changes *c = ctx;
    if (json_array_size(c->files) < FILES_MAX)
        json_array_append_new(c->files, utf8(path, 400));
    else
        c->files_left++;
    return 0;
}

static int look(struct ptl_core_changes *c, const struct ptl_git_call *call, const char *mirror,
                const char *before, const char *after, struct ptl_error *err)
{
    json_array_clear(c->commits);
    json_array_clear(c->files);
    json_array_clear(c->cuts);
    ptl_buf_clear(&c->diff);
    c->commits_left = c->files_left = c->diff_cut = 0;
    int r = ptl_git_log_between(call, mirror, before, after, 10 * COMMITS_MAX, one_commit, c, err);
    if (r < 0 || r == PTL_ABSENT)
        return r;
    if (r == PTL_FULL)
        json_array_append_new(c->cuts, json_sprintf("commits before the newest %d", 10 * COMMITS_MAX));
    r = ptl_git_changed_paths(call, mirror, before, after, 10000, one_file, c, err);
    if (r < 0)
        return r;
    return ptl_git_diff(call, mirror, before, after, c->all ? rank_all : rank, DIFF_FILE_MAX, DIFF_MAX,
                        &c->diff, &c->diff_cut, err);
}

int ptl_core_changes_look(struct ptl_core *core, int64_t project_id, struct ptl_core_access *access,
                          const char *before, const char *after, int64_t within_ms,
                          struct ptl_core_changes *c, struct ptl_error *err)
{
    PTL_FREE char *mirror = ptl_core_mirror_dir(core, project_id);
    struct ptl_git_call call = {.deadline_mono_ms = ptl_mono_ms() + within_ms, .cancelled = &core->stopping};
    struct ptl_git_access git = {
        .policy = &core->policy, .credentials = ptl_core_access_fn, .credentials_ctx = access};
    struct ptl_git_fetch_result fetched = {0};
    int r = look(c, &call, mirror, before, after, err);
    if (r < 0 || r == PTL_ABSENT) { /* this daemon's mirror may be old, or not there */
        r = ptl_git_mirror_fetch(&call, mirror, access->url, &git, &fetched, err);
        ptl_git_fetch_result_done(&fetched);
        if (r == 0)
            r = look(c, &call, mirror, before, after, err);
    }
    if (r == PTL_ABSENT)
        json_array_append_new(
            c->cuts,
            json_sprintf(
                "commit %.12s is not in the repository any more, so there is nothing to compare with",
                before));
    if (c->commits_left)
        json_array_append_new(c->cuts, json_sprintf("%zu more commits", c->commits_left));
    if (c->files_left)
        json_array_append_new(c->cuts, json_sprintf("%zu more files", c->files_left));
    if (c->diff_cut)
        json_array_append_new(c->cuts,
                              json_sprintf("the difference of %zu files, in part or whole", c->diff_cut));
    return r < 0 ? r : 0;
}

char *ptl_core_changes_text(struct ptl_core_changes *c)
{
    for (size_t i = 0; i < c->diff.len; i++)
        if (!c->diff.data[i])
            c->diff.data[i] = '?';
    return c->diff.len ? ptl_json_text_utf8(ptl_buf_str(&c->diff), c->diff.len) : NULL;
}
