/* resolve.c - what turned a stage green: for a green attempt after failures, what differs between the last
 * red one and it. Commits and files are read from the mirror on a worker; environment and agent are in the
 * database. The stage's own transaction leaves the row in resolution_due that this begins from, and what is
 * found is stored in one transaction with the failures that it resolves, so a daemon may die anywhere. */
#include "core-private.h"
#include <portolan/clock.h>
#include <portolan/log.h>

enum {
    COMMITS_MAX = 20,
    FILES_MAX = 200,
    DIFF_MAX = 64 << 10,
    DIFF_FILE_MAX = 16 << 10,
    SUBJECT_MAX = 200,
    TRIES_MAX = 3,
    GIT_MS = 90000, /* under the lease of resolution_claim */
    MISSED_EVERY_TICKS = 300,
    MISSED_FAILURES = 1000,
};

struct resolve {
    struct ptl_work work;
    struct ptl_core *core;
    int64_t green_id, red_id, project_id, tries;
    char *project, *stage, *red_commit, *green_commit;
    struct ptl_core_access access;
    json_t *environment, *agents, *commits, *files, *cuts;
    size_t commits_left, files_left, diff_cut;
    struct ptl_buf diff;
    struct ptl_error err;
};

static void resolve_free(struct resolve *v)
{
    char *strings[] = {v->project, v->stage, v->red_commit, v->green_commit};
    json_t *values[] = {v->environment, v->agents, v->commits, v->files, v->cuts};
    for (size_t i = 0; i < PTL_ARRAY_LEN(strings); i++)
        free(strings[i]);
    for (size_t i = 0; i < PTL_ARRAY_LEN(values); i++)
        json_decref(values[i]);
    ptl_core_access_done(&v->access);
    ptl_buf_done(&v->diff);
    free(v);
}

/* ---- what to look into: the pipeline file, what is installed, then what is run */
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
    return ends_with_any(path, scripts) ? 3 : 100;
}

/* ---- worker */
static json_t *utf8(const char *s, size_t max)
{
    size_t n = strlen(s);
    PTL_FREE char *text = ptl_json_text_utf8(s, n < max ? n : max);
    return json_string(text);
}

static int one_commit(void *ctx, const struct ptl_git_commit *c)
{
    struct resolve *v = ctx;
    char at[32];
    if (json_array_size(v->commits) == COMMITS_MAX) {
        v->commits_left++;
        return 0;
    }
    ptl_wall_rfc3339(c->time_wall_ms, at);
    size_t n = strcspn(c->message, "\n");
    PTL_FREE char *subject = strndup(c->message, n < SUBJECT_MAX ? n : SUBJECT_MAX);
    json_array_append_new(v->commits, json_pack("{s:s,s:o,s:o,s:s}", "sha", c->sha, "subject",
                                                utf8(subject ? subject : "", SUBJECT_MAX), "author",
                                                utf8(c->author_name, SUBJECT_MAX), "at", at));
    return 0;
}

static int one_file(void *ctx, const char *path)
{
    struct resolve *v = ctx;
    if (json_array_size(v->files) < FILES_MAX)
        json_array_append_new(v->files, utf8(path, 400));
    else
        v->files_left++;
    return 0;
}

static int look(struct resolve *v, const struct ptl_git_call *call, const char *mirror)
{
    json_array_clear(v->commits);
    json_array_clear(v->files);
    ptl_buf_clear(&v->diff);
    v->commits_left = v->files_left = 0;
    int r = ptl_git_log_between(call, mirror, v->red_commit, v->green_commit, 10 * COMMITS_MAX, one_commit, v,
                                &v->err);
    if (r < 0 || r == PTL_ABSENT)
        return r;
    if (r == PTL_FULL)
        json_array_append_new(v->cuts, json_sprintf("commits before the newest %d", 10 * COMMITS_MAX));
    r = ptl_git_changed_paths(call, mirror, v->red_commit, v->green_commit, 10000, one_file, v, &v->err);
    if (r < 0)
        return r;
    return ptl_git_diff(call, mirror, v->red_commit, v->green_commit, rank, DIFF_FILE_MAX, DIFF_MAX, &v->diff,
                        &v->diff_cut, &v->err);
}

static void run(struct ptl_work *w)
{
    struct resolve *v = (struct resolve *)w;
    PTL_FREE char *mirror = ptl_core_mirror_dir(v->core, v->project_id);
    struct ptl_git_call call = {.deadline_mono_ms = ptl_mono_ms() + GIT_MS, .cancelled = &v->core->stopping};
    struct ptl_git_access access = {
        .policy = &v->core->policy, .credentials = ptl_core_access_fn, .credentials_ctx = &v->access};
    struct ptl_git_fetch_result fetched = {0};
    int r = look(v, &call, mirror);
    if (r < 0 || r == PTL_ABSENT) { /* this daemon's mirror may be old, or not there */
        r = ptl_git_mirror_fetch(&call, mirror, v->access.url, &access, &fetched, &v->err);
        ptl_git_fetch_result_done(&fetched);
        if (r == 0)
            r = look(v, &call, mirror);
    }
    if (r == PTL_ABSENT) {
        json_array_append_new(
            v->cuts,
            json_sprintf(
                "commit %.12s is not in the repository any more, so there is nothing to compare with",
                v->red_commit));
        r = 0;
    }
    w->result = atomic_load(&v->core->stopping) ? -ECANCELED : r < 0 ? r : 0;
}

/* ---- in words */
static const char *change_of(const struct resolve *v)
{
    return v->green_commit && v->red_commit && !ptl_str_eq(v->green_commit, v->red_commit) ? "commits"
           : json_array_size(v->environment)                                               ? "environment"
           : !ptl_str_eq(ptl_json_str(v->agents, "before", ""), ptl_json_str(v->agents, "after", ""))
               ? "agent"
               : "nothing";
}

static void put_environment(const struct resolve *v, struct ptl_buf *b)
{
    size_t i, said = 0;
    json_t *e;
    json_array_foreach(v->environment, i, e)
    {
        const char *tool = ptl_json_str(e, "tool", "");
        if (ptl_str_eq(tool, "kernel") || ptl_str_eq(tool, "arch") || said == 3)
            continue;
        ptl_buf_printf(b, "%s%s %s \xe2\x86\x92 %s",
                       said++   ? ", "
                       : b->len ? "; "
                                : "",
                       tool, ptl_json_str(e, "before", "none"), ptl_json_str(e, "after", "none"));
    }
}

static void put_summary(const struct resolve *v, const char *change, struct ptl_buf *b)
{
    const json_t *first = json_array_get(v->commits, 0);
    size_t n = json_array_size(v->commits) + v->commits_left;
    const char *before = ptl_json_str(v->agents, "before", ""), *after = ptl_json_str(v->agents, "after", "");
    if (ptl_str_eq(change, "commits") && first)
        ptl_buf_printf(b,
                       n > 1 ? "%zu commits, the last \xe2\x80\x9c%s\xe2\x80\x9d by %s"
                             : "%zu commit: \xe2\x80\x9c%s\xe2\x80\x9d by %s",
                       n, ptl_json_str(first, "subject", ""), ptl_json_str(first, "author", "?"));
    else if (ptl_str_eq(change, "commits"))
        ptl_buf_printf(b, "another commit: %.12s after %.12s", v->green_commit, v->red_commit);
    put_environment(v, b);
    if (!ptl_str_eq(before, after))
        ptl_buf_printf(b, "%sagent %s \xe2\x86\x92 %s", b->len ? "; " : "", *before ? before : "?",
                       *after ? after : "?");
    if (b->len == 0)
        ptl_buf_puts(b, "nothing that is known: the same commit, environment and agent, tried again");
}

/* ---- loop */
static void on_stored(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct resolve *v = ctx;
    v->core->history_busy = false;
    if (err)
        ptl_log_warning(
            "project=%s stage=%s: what turned it green is not stored yet, another try follows: %s",
            v->project, v->stage, err->text);
    else if (ptl_rows_count(rows) > 0)
        ptl_log_info("project=%s stage=%s: green after %lld failures, what changed is resolution %lld",
                     v->project, v->stage, (long long)ptl_row_i64(rows, 0, "failures"),
                     (long long)ptl_row_i64(rows, 0, "id"));
    resolve_free(v);
}

static void store(struct resolve *v)
{
    struct ptl_args a;
    PTL_BUF summary = PTL_BUF_MAX(4000);
    const char *change = change_of(v);
    put_summary(v, change, &summary);
    if (v->commits_left)
        json_array_append_new(v->cuts, json_sprintf("%zu more commits", v->commits_left));
    if (v->files_left)
        json_array_append_new(v->cuts, json_sprintf("%zu more files", v->files_left));
    if (v->diff_cut)
        json_array_append_new(v->cuts,
                              json_sprintf("the difference of %zu files, in part or whole", v->diff_cut));
    for (size_t i = 0; i < v->diff.len; i++)
        if (!v->diff.data[i])
            v->diff.data[i] = '?';
    PTL_FREE char *diff = ptl_json_text_utf8(ptl_buf_str(&v->diff), v->diff.len);
    PTL_FREE char *said = ptl_json_text_utf8(ptl_buf_str(&summary), summary.len);
    ptl_args_init(&a);
    ptl_args_i64(&a, v->green_id);
    ptl_args_i64(&a, v->red_id);
    ptl_args_str(&a, change);
    ptl_args_str(&a, said);
    ptl_args_json(&a, v->commits);
    ptl_args_json(&a, v->files);
    ptl_args_str(&a, v->diff.len ? diff : NULL);
    ptl_args_json(&a, v->cuts);
    ptl_args_json(&a, v->environment);
    ptl_args_json(&a, v->agents);
    if (ptl_store_query(v->core->store, PTL_SQL_resolution_store, &a, on_stored, v) != 0) {
        v->core->history_busy = false;
        resolve_free(v);
    }
}

static void done(struct ptl_work *w)
{
    struct resolve *v = (struct resolve *)w;
    if (w->result == 0 || (w->result != -ECANCELED && v->tries >= TRIES_MAX)) {
        if (w->result < 0) {
            json_array_append_new(v->cuts, json_sprintf("the repository could not be read: %s", v->err.text));
            ptl_log_warning("project=%s stage=%s: what turned it green is kept without its commits: %s",
                            v->project, v->stage, v->err.text);
        }
        store(v);
        return;
    }
    v->core->history_busy = false; /* its lease runs out, then it is taken again */
    resolve_free(v);
}

static void finish(struct ptl_core *core, int64_t green_id, bool later)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, green_id);
    ptl_args_bool(&a, later);
    (void)!ptl_store_query(core->store, PTL_SQL_resolution_done, &a, NULL, NULL);
}

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->history_busy = false;
    if (err || ptl_rows_count(rows) == 0)
        return;
    int64_t green_id = ptl_row_i64(rows, 0, "green_attempt_id");
    if (ptl_row_bool(rows, 0, "wait") || ptl_row_null(rows, 0, "red_attempt_id")) {
        finish(core, green_id, ptl_row_bool(rows, 0, "wait"));
        return;
    }
    struct resolve *v = ptl_xcalloc(1, sizeof(*v));
    v->work.run = run;
    v->work.done = done;
    v->core = core;
    v->green_id = green_id;
    v->red_id = ptl_row_i64(rows, 0, "red_attempt_id");
    v->project_id = ptl_row_i64(rows, 0, "project_id");
    v->tries = ptl_row_i64(rows, 0, "tries");
    v->project = ptl_xstrdup(ptl_row_str(rows, 0, "project"));
    v->stage = ptl_xstrdup(ptl_row_str(rows, 0, "stage"));
    v->red_commit =
        ptl_row_null(rows, 0, "red_commit") ? NULL : ptl_xstrdup(ptl_row_str(rows, 0, "red_commit"));
    v->green_commit =
        ptl_row_null(rows, 0, "green_commit") ? NULL : ptl_xstrdup(ptl_row_str(rows, 0, "green_commit"));
    v->environment = ptl_row_json(rows, 0, "environment");
    v->agents = ptl_row_json(rows, 0, "agents");
    v->commits = json_array();
    v->files = json_array();
    v->cuts = json_array();
    v->diff.max = DIFF_MAX + 4096;
    core->history_busy = true;
    if (!ptl_str_eq(change_of(v), "commits")) {
        store(v);
        return;
    }
    ptl_core_access_read(core, rows, 0, &v->access);
    if (ptl_loop_submit(core->loop, &v->work) != 0) {
        core->history_busy = false;
        resolve_free(v);
    }
}

void ptl_core_resolve_tick(struct ptl_core *core, unsigned tick)
{
    if (tick % MISSED_EVERY_TICKS == 0) {
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, MISSED_FAILURES);
        (void)!ptl_store_query(core->store, PTL_SQL_resolution_missed, &a, NULL, NULL);
    }
    if (core->history_busy)
        return;
    core->history_busy = ptl_store_query(core->store, PTL_SQL_resolution_claim, NULL, on_claimed, core) == 0;
}
