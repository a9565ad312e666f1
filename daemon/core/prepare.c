/* prepare.c - from a push to a plan: fetch the mirror, find the commit, read and check the pipeline file,
 * apply its filters, make the source snapshot; then one transaction puts the stages in. The slow half runs on
 * a worker; a daemon that dies over it is succeeded by another after its lease, and what a forge or a disk
 * refuses for a moment is asked for again after a while, both together at most three times. */
#include "core-private.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <portolan/spec.h>

enum {
    PREPARING_MAX = 4,
    CHANGED_PATHS_MAX = 10000,
    AUTHOR_COMMITS_MAX = 500, /* looked at between a run and the one before it */
    MAILMAP_MAX = 1 << 20,
};

/* After the first try, after the second: a hiccup, a forge that starts anew. */
static const int64_t try_again_ms[PTL_CORE_PREPARE_TRIES - 1] = {15000, 120000};

struct prepare {
    struct ptl_work work;
    struct ptl_core *core;
    /* asked */
    int64_t run_id, project_id;
    int64_t tries; /* with this one */
    char *project, *url, *default_branch, *ref, *sha, *before, *base, *trigger;
    struct ptl_core_access access;
    /* found */
    enum { FOUND_PLAN, FOUND_NO_RUN, FOUND_INVALID, FOUND_TROUBLE } outcome;
    char *message; /* why there is no plan (yet) or no run */
    char *pipeline, *group;
    struct ptl_git_commit commit;
    json_t *plan;
    json_t *facts;   /* what differs from the run it is compared with; as daemon/risk reads it */
    json_t *authors; /* [{name, email, commits}] of the commits since then */
    struct ptl_git_snapshot_result snapshot;
};

static void prepare_free(struct prepare *p)
{
    char *strings[] = {p->project, p->url,     p->default_branch, p->ref,   p->sha, p->before,
                       p->trigger, p->message, p->pipeline,       p->group, p->base};
    for (size_t i = 0; i < PTL_ARRAY_LEN(strings); i++)
        free(strings[i]);
    ptl_core_access_done(&p->access);
    ptl_git_commit_done(&p->commit);
    ptl_git_snapshot_result_done(&p->snapshot);
    json_decref(p->plan);
    json_decref(p->facts);
    json_decref(p->authors);
    free(p);
}

static void invalid(struct prepare *p, const char *fmt, ...) PTL_PRINTF(2, 3);
static void invalid(struct prepare *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    p->outcome = FOUND_INVALID;
    p->message = text;
}

/* As invalid(), but for what says nothing of the commit and may have passed by the next try. */
static void trouble(struct prepare *p, int code)
{
    static const int passing[] = {-EAGAIN,       -ETIMEDOUT,  -EHOSTUNREACH, -ENETUNREACH,
                                  -ECONNREFUSED, -ECONNRESET, -EIO,          -ENOSPC};
    for (size_t i = 0; i < PTL_ARRAY_LEN(passing) && p->tries < PTL_CORE_PREPARE_TRIES; i++)
        if (code == passing[i])
            p->outcome = FOUND_TROUBLE;
}

static int one_path(void *ctx, const char *path)
{
    json_t *text = json_string(path); /* NULL: not UTF-8 */
    json_array_append_new(ctx, text ? text : json_string("?"));
    return 0;
}

/* True when the pipeline file does not ask for a run of this push; message says why. */
static bool filtered(struct prepare *p, const struct ptl_spec *spec, const struct ptl_git_call *call,
                     const char *mirror)
{
    if (ptl_str_eq(p->trigger, "manual"))
        return false;
    if (ptl_commit_message_skips(p->commit.message)) {
        p->message = ptl_xstrdup("the commit message says to skip it");
        return true;
    }
    PTL_JSON *paths = json_array();
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_git_changed_paths(call, mirror, p->before, p->commit.sha, CHANGED_PATHS_MAX, one_path, paths,
                                  &err);
    size_t n = json_array_size(paths), i;
    json_t *v;
    PTL_FREE const char **list = ptl_xcalloc(n + 1, sizeof(*list));
    json_array_foreach(paths, i, v) list[i] = json_string_value(v);
    const char *why = NULL;
    /* Unknown or cut lists count as "everything may have changed". */
    if (ptl_spec_on_push(spec, p->ref, r == 0 ? list : NULL, r == 0 ? n : 0, &why))
        return false;
    p->message = ptl_xstrdup(why ? why : "the pipeline file's `on` leaves this push out");
    return true;
}

static void plan(struct prepare *p, const struct ptl_git_call *call, const char *mirror)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF text = PTL_BUF_INIT;
    int r =
        ptl_git_read_file(call, mirror, p->commit.sha, PTL_SPEC_FILE_NAME, PTL_SPEC_MAX_BYTES, &text, &err);
    if (r == PTL_ABSENT) {
        invalid(p,
                "no " PTL_SPEC_FILE_NAME
                " at commit %.12s; `portolan init` in the repository writes one by looking at it",
                p->commit.sha);
        return;
    }
    if (r < 0) {
        invalid(p, PTL_SPEC_FILE_NAME ": %s", err.text);
        return;
    }
    p->pipeline = ptl_json_text_utf8(ptl_buf_str(&text), text.len);
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    PTL_CLEANUP(ptl_spec_freep) struct ptl_spec *spec = NULL;
    r = ptl_spec_parse(ptl_buf_str(&text), text.len, PTL_SPEC_FILE_NAME, &spec, &diags);
    if (r < 0) {
        PTL_FREE char *found = ptl_spec_diags_text(&diags);
        invalid(p, "%s", found);
    } else if (filtered(p, spec, call, mirror)) {
        p->outcome = FOUND_NO_RUN;
    } else {
        p->plan = json_deep_copy(ptl_spec_plan(spec));
        p->group = ptl_spec_group(spec, p->ref);
    }
    ptl_spec_diags_done(&diags);
}

struct authors {
    json_t *list;
    const struct ptl_git_mailmap *map;
};

static int one_commit(void *ctx, const struct ptl_git_commit *c)
{
    struct authors *a = ctx;
    size_t i;
    json_t *v;
    char *name, *email;
    ptl_git_mailmap_resolve(a->map, c->author_name, c->author_email, &name, &email);
    PTL_FREE char *name_text = ptl_json_text_utf8(name, strlen(name));
    PTL_FREE char *email_text = ptl_json_text_utf8(email, strlen(email));
    free(name);
    free(email);
    json_array_foreach(a->list, i, v) if (strcasecmp(ptl_json_str(v, "email", ""), email_text) == 0)
    {
        json_object_set_new(v, "commits", json_integer(ptl_json_i64(v, "commits", 0) + 1));
        return 0;
    }
    json_array_append_new(a->list,
                          json_pack("{s:s,s:s,s:i}", "name", name_text, "email", email_text, "commits", 1));
    return 0;
}

/* What is new against the run it is compared with: files by name, people by their commits. Whatever cannot be
 * found out stays unknown; a run does not fail over it. */
static void compare(struct prepare *p, const struct ptl_git_call *call, const char *mirror)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF text = PTL_BUF_INIT;
    json_t *paths = json_array();
    struct authors a = {.list = json_array()};
    int r = p->base ? ptl_git_changed_paths(call, mirror, p->base, p->commit.sha, CHANGED_PATHS_MAX, one_path,
                                            paths, &err)
                    : PTL_ABSENT;
    bool known = r == 0 || r == PTL_FULL;
    p->facts = json_pack("{s:s?,s:O?,s:I}", "base", known ? p->base : NULL, "changed", known ? paths : NULL,
                         "n_changed", (json_int_t)json_array_size(paths));
    json_decref(paths);
    if (ptl_git_read_file(call, mirror, p->commit.sha, ".mailmap", MAILMAP_MAX, &text, &err) != 0)
        ptl_buf_clear(&text);
    struct ptl_git_mailmap *map = ptl_git_mailmap_new(ptl_buf_str(&text), text.len);
    a.map = map;
    r = p->base ? ptl_git_log_between(call, mirror, p->base, p->commit.sha, AUTHOR_COMMITS_MAX, one_commit,
                                      &a, &err)
                : PTL_ABSENT;
    if (r != 0 && r != PTL_FULL)
        one_commit(&a, &p->commit);
    ptl_git_mailmap_free(map);
    p->authors = a.list;
}

static void snapshot(struct prepare *p, const struct ptl_git_call *call, const char *mirror,
                     const struct ptl_git_access *access)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *lfs = ptl_xasprintf("%s/lfs/%lld", p->core->o.state_dir, (long long)p->project_id);
    PTL_FREE char *subs = ptl_xasprintf("%s/submodules/%lld", p->core->o.state_dir, (long long)p->project_id);
    PTL_FREE char *out = ptl_xasprintf("%s/tmp/run-%lld.tar.zst", p->core->o.state_dir, (long long)p->run_id);
    struct ptl_git_snapshot_options o = {
        .url = p->url, .lfs = true, .lfs_store = lfs, .submodules = true, .submodule_dir = subs};
    int r = ptl_fs_mkdirs(lfs, 0700, &err);
    if (r == 0)
        r = ptl_fs_mkdirs(subs, 0700, &err);
    if (r == 0)
        r = ptl_git_snapshot(call, mirror, p->commit.sha, &o, access, out, &p->snapshot, &err);
    if (r == 0)
        r = ptl_blob_adopt(p->core, p->snapshot.sha256, out, &err);
    if (r < 0) {
        unlink(out);
        invalid(p, "source snapshot of %.12s: %s", p->commit.sha, err.text);
        trouble(p, r);
    }
}

/* Forges and polls read the refs themselves. */
static bool is_somebodys_word(const char *trigger)
{
    return ptl_str_eq(trigger, "manual") || ptl_str_eq(trigger, "hook");
}

/* Secrets are released by ref: whoever may start runs must not get those of a protected branch for a commit
 * that is not on it. */
static bool is_where_it_is_said_to_be(struct prepare *p, const struct ptl_git_call *call, const char *mirror)
{
    struct ptl_error err = PTL_ERROR_INIT;
    bool on_it = false;
    int r = ptl_git_is_on_ref(call, mirror, p->ref, p->commit.sha, &on_it, &err);
    if (r < 0)
        invalid(p, "commit %.12s was told to be on %s: %s", p->commit.sha, p->ref, err.text);
    else if (!on_it)
        invalid(p, "commit %.12s is not on %s (any more); start the run with a branch or tag that has it",
                p->commit.sha, p->ref);
    return p->outcome != FOUND_INVALID;
}

static void run(struct ptl_work *w)
{
    struct prepare *p = (struct prepare *)w;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *mirror = ptl_core_mirror_dir(p->core, p->project_id);
    struct ptl_git_call call = {.deadline_mono_ms = ptl_mono_ms() + p->core->o.prepare_timeout_ms,
                                .cancelled = &p->core->stopping};
    struct ptl_git_access access = {
        .policy = &p->core->policy, .credentials = ptl_core_access_fn, .credentials_ctx = &p->access};
    struct ptl_git_fetch_result fetched = {0};
    int r = ptl_git_mirror_fetch(&call, mirror, p->url, &access, &fetched, &err);
    ptl_git_fetch_result_done(&fetched);
    if (r == -ECANCELED) {
        w->result = r;
        return;
    }
    if (r < 0) {
        invalid(p, "%s", err.text);
        trouble(p, r);
        return;
    }
    const char *rev = p->sha ? p->sha : p->ref;
    r = ptl_git_resolve(&call, mirror, rev, &p->commit, &err);
    if (r < 0) {
        invalid(p, "%s", err.text);
        trouble(p, r);
        return;
    }
    if (p->sha && is_somebodys_word(p->trigger) && !is_where_it_is_said_to_be(p, &call, mirror))
        return;
    plan(p, &call, mirror);
    if (p->outcome == FOUND_PLAN)
        compare(p, &call, mirror);
    if (p->outcome == FOUND_PLAN)
        snapshot(p, &call, mirror, &access);
    if (atomic_load(&p->core->stopping))
        w->result = -ECANCELED; /* the lease runs out and another daemon takes over */
}

static void on_stored(void *ctx, struct ptl_rows *const *rows PTL_UNUSED, size_t n PTL_UNUSED,
                      const struct ptl_error *err)
{
    int64_t *run_id = ctx;
    if (err)
        ptl_log_warning("run=%lld: its plan could not be stored, another try follows: %s", (long long)*run_id,
                        err->text);
    free(run_id);
}

static void add_id(struct ptl_batch *b, enum ptl_sql sql, int64_t id)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, id);
    ptl_batch_add(b, sql, &a);
}

static void store_plan(struct prepare *p, struct ptl_batch *b, const json_t *risks)
{
    const json_t *conc = json_object_get(p->plan, "concurrency");
    PTL_FREE char *author = ptl_xasprintf("%s <%s>", p->commit.author_name ? p->commit.author_name : "?",
                                          p->commit.author_email ? p->commit.author_email : "");
    PTL_FREE char *author_text = ptl_json_text_utf8(author, strlen(author));
    PTL_FREE char *message = ptl_json_text_utf8(p->commit.message ? p->commit.message : "",
                                                p->commit.message ? strlen(p->commit.message) : 0);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, p->run_id);
    ptl_args_str(&a, p->commit.sha);
    ptl_args_str(&a, message);
    ptl_args_str(&a, author_text);
    ptl_args_i64(&a, p->commit.time_wall_ms / 1000);
    ptl_args_str(&a, ptl_json_str(p->plan, "model", NULL));
    ptl_args_str(&a, p->pipeline);
    ptl_args_json(&a, p->plan);
    ptl_args_str(&a, p->snapshot.sha256);
    ptl_args_i64(&a, (int64_t)p->snapshot.size_bytes);
    ptl_args_str(&a, p->group);
    ptl_args_str(&a, ptl_json_str(conc, "queue", "all"));
    ptl_args_bool(&a, ptl_json_flag(conc, "cancel_in_progress", false));
    ptl_args_json(&a, risks);
    ptl_batch_add(b, PTL_SQL_run_plan, &a);
    ptl_args_init(&a);
    ptl_args_i64(&a, p->run_id);
    ptl_args_json(&a, p->authors);
    ptl_batch_add(b, PTL_SQL_run_authors, &a);
    add_id(b, PTL_SQL_run_plan_sources, p->run_id);
    add_id(b, PTL_SQL_run_lock, p->run_id); /* now with its group known */
    add_id(b, PTL_SQL_run_supersede, p->run_id);
    ptl_core_batch_advance(b, p->run_id);
}

static void store(struct prepare *p, struct ptl_batch *b)
{
    struct ptl_core *core = p->core;
    int64_t *id = ptl_xcalloc(1, sizeof(*id));
    *id = p->run_id;
    if (ptl_batch_run(b, on_stored, id) != 0) {
        ptl_log_warning("run=%lld: the database queue is full; another try follows", (long long)p->run_id);
        free(id);
    }
    prepare_free(p);
    ptl_core_prepare_tick(core); /* there may be more than one tick's worth */
}

/* The plan goes in together with the risk of its stages: a gate that stands on it must be there before
 * anything is let go. */
static void on_risk(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct prepare *p = ctx;
    if (err && err->code == -ECANCELED) { /* the daemon stops: another one takes over after the lease */
        prepare_free(p);
        return;
    }
    struct ptl_batch *b = ptl_batch_new(p->core->store);
    PTL_JSON *inputs = err || ptl_rows_count(rows) != 1 ? NULL : ptl_row_object(rows, 0);
    if (err)
        ptl_log_warning("run=%lld: its risk cannot be weighed, planned without: %s", (long long)p->run_id,
                        err->text);
    PTL_JSON *risks = ptl_core_risk_of_plan(inputs, p->plan, p->facts);
    add_id(b, PTL_SQL_run_lock, p->run_id);
    store_plan(p, b, risks);
    p->core->count.runs_prepared++;
    ptl_log_info("run=%lld project=%s: planned %zu stages for commit %.12s", (long long)p->run_id, p->project,
                 json_array_size(json_object_get(p->plan, "stages")), p->commit.sha);
    store(p, b);
}

static void weigh(struct prepare *p)
{
    PTL_JSON *cells = ptl_core_risk_cells(p->plan);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, p->project_id);
    ptl_args_json(&a, cells);
    ptl_args_str(&a, p->ref);
    ptl_args_i64(&a, p->run_id);
    if (ptl_store_query(p->core->store, PTL_SQL_risk_inputs, &a, on_risk, p) != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, PTL_FULL, "the database queue is full");
        on_risk(p, NULL, &err);
    }
}

static void done(struct ptl_work *w)
{
    struct prepare *p = (struct prepare *)w;
    struct ptl_core *core = p->core;
    core->preparing--;
    if (w->result == -ECANCELED) {
        prepare_free(p);
        return;
    }
    if (p->outcome == FOUND_PLAN) {
        weigh(p);
        return;
    }
    struct ptl_batch *b = ptl_batch_new(core->store);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, p->run_id);
    if (p->outcome == FOUND_TROUBLE) {
        int64_t wait_ms = try_again_ms[p->tries - 1];
        char words[32];
        ptl_duration_format(wait_ms, words);
        PTL_FREE char *told = ptl_xasprintf("%s; it is tried again after %s (%lld of %d tries so far)",
                                            p->message ? p->message : "out of memory", words,
                                            (long long)p->tries, PTL_CORE_PREPARE_TRIES);
        ptl_args_i64(&a, p->tries);
        ptl_args_i64(&a, wait_ms);
        ptl_args_str(&a, told);
        ptl_batch_add(b, PTL_SQL_run_prepare_later, &a);
        ptl_log_warning("run=%lld project=%s: %s", (long long)p->run_id, p->project, told);
    } else if (p->outcome == FOUND_NO_RUN) {
        ptl_args_str(&a, p->message);
        ptl_batch_add(b, PTL_SQL_run_drop, &a);
        ptl_log_info("run=%lld project=%s: no run of %s: %s", (long long)p->run_id, p->project, p->ref,
                     p->message);
    } else {
        ptl_args_str(&a, p->message ? p->message : "out of memory");
        ptl_args_str(&a, p->commit.sha[0] ? p->commit.sha : NULL);
        ptl_args_str(&a, p->pipeline);
        ptl_batch_add(b, PTL_SQL_run_invalid, &a);
        core->count.runs_invalid++;
        ptl_log_info("run=%lld project=%s: invalid: %s", (long long)p->run_id, p->project, p->message);
    }
    store(p, b);
}

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->preparing--; /* the place held for the statement */
    if (err) {
        ptl_log_warning("runs to prepare: %s", err->text);
        return;
    }
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        struct prepare *p = ptl_xcalloc(1, sizeof(*p));
        p->work.run = run;
        p->work.done = done;
        p->core = core;
        p->run_id = ptl_row_i64(rows, i, "id");
        p->project_id = ptl_row_i64(rows, i, "project_id");
        p->tries = ptl_row_i64(rows, i, "prepare_tries");
        p->project = ptl_xstrdup(ptl_row_str(rows, i, "project"));
        p->url = ptl_xstrdup(ptl_row_str(rows, i, "url"));
        p->default_branch = ptl_xstrdup(ptl_row_str(rows, i, "default_branch"));
        p->ref = ptl_xstrdup(ptl_row_str(rows, i, "ref"));
        p->sha = ptl_xstrdup(ptl_row_str(rows, i, "commit_sha"));
        p->before = ptl_xstrdup(ptl_row_str(rows, i, "before_sha"));
        p->base = ptl_xstrdup(ptl_row_str(rows, i, "base_sha"));
        p->trigger = ptl_xstrdup(ptl_row_str(rows, i, "trigger"));
        ptl_core_access_read(core, rows, i, &p->access);
        core->preparing++;
        if (ptl_loop_submit(core->loop, &p->work) != 0) {
            core->preparing--;
            prepare_free(p); /* its lease runs out */
        }
    }
}

void ptl_core_prepare_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    core->prepare_asked = false;
    unsigned busy = core->preparing + core->polling, most = core->o.git_work_max;
    most = most < PREPARING_MAX + core->polling ? most : PREPARING_MAX + core->polling;
    if (busy >= most || !ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, most - busy);
    ptl_args_i64(&a, core->o.prepare_timeout_ms + 60000);
    core->preparing++;
    if (ptl_store_query(core->store, PTL_SQL_run_prepare_claim, &a, on_claimed, core) != 0)
        core->preparing--;
}
