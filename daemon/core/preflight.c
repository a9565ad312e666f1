/* preflight.c - looks at the source of every planned run, and at what every export and convert wrote, before
 * the next stage meets it: takes rows of `preflight` under a lease, reads the files on a worker (lib/model,
 * lib/preflight), stores what was found. Never decides a run; the one
 * thing that waits for it is a gate by risk, which it is to move. A daemon that dies over a row
 * is succeeded by another; a row that ends three of them is given up. */
#include "core-private.h"
#include <portolan/archive.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <portolan/model.h>
#include <portolan/preflight.h>

enum { LOOKING_MAX = 2, LEASE_MS = 5 * 60 * 1000 };
/* What is unpacked to be looked at; a larger source is told as a cut, and its runs go on as ever. */
static const uint64_t SOURCE_MAX_BYTES = (uint64_t)2 << 30;

struct look {
    struct ptl_work work;
    struct ptl_core *core;
    int64_t id, run_id;
    char *stage, *source_sha256;
    json_t *plan, *artifacts, *agents, *answer;
    struct ptl_error err;
};

static void look_free(struct look *l)
{
    free(l->stage);
    free(l->source_sha256);
    json_decref(l->plan);
    json_decref(l->artifacts);
    json_decref(l->agents);
    json_decref(l->answer);
    free(l);
}

/* The artifacts as a tree of hard links: nothing is copied, and no reader can write. */
static int lay_artifacts(struct look *l, const char *dir)
{
    size_t i;
    const json_t *a;
    json_array_foreach(l->artifacts, i, a)
    {
        const char *path = ptl_json_str(a, "path", ""), *sha256 = ptl_json_str(a, "sha256", "");
        if (!ptl_fs_is_safe_relative(path) || !ptl_str_starts(path, "model/"))
            continue;
        PTL_FREE char *to = ptl_fs_join(dir, path), *parent = ptl_xstrdup(to),
                      *blob = ptl_blob_path(l->core, sha256);
        *strrchr(parent, '/') = 0;
        int r = ptl_fs_mkdirs(parent, 0700, &l->err);
        if (r < 0)
            return r;
        if (link(blob, to) < 0 && errno != EEXIST)
            return ptl_error_set(&l->err, -errno, "artifact %s: its blob cannot be read: %s", path,
                                 strerror(errno));
    }
    return 0;
}

static int lay_source(struct look *l, const char *dir)
{
    PTL_FREE char *blob = ptl_blob_path(l->core, l->source_sha256);
    struct ptl_archive_limits limits = {.max_bytes = SOURCE_MAX_BYTES};
    return ptl_archive_extract(blob, dir, &limits, &l->err);
}

static void run(struct ptl_work *w)
{
    struct look *l = (struct look *)w;
    PTL_FREE char *dir = ptl_xasprintf("%s/tmp/preflight-%lld", l->core->o.state_dir, (long long)l->id);
    PTL_JSON *models = NULL, *toolchains = ptl_preflight_toolchains(l->agents);
    struct ptl_error ignored = PTL_ERROR_INIT;
    bool cut = false;
    int r = ptl_fs_remove_tree(dir, &l->err); /* of a daemon that died over it */
    if (r == 0)
        r = ptl_fs_mkdirs(dir, 0700, &l->err);
    if (r == 0)
        r = l->stage ? lay_artifacts(l, dir) : lay_source(l, dir);
    if (r == 0)
        r = ptl_model_find(dir, &models, &cut, &l->err);
    if (r == 0) {
        struct ptl_preflight_input in = {.dir = dir,
                                         .plan = l->plan,
                                         .models = models,
                                         .stage = l->stage,
                                         .toolchains = toolchains,
                                         .agents = l->agents};
        r = ptl_preflight(&in, &l->answer, &l->err);
    }
    if (r == 0 && cut)
        json_array_append_new(json_object_get(l->answer, "cuts"),
                              json_sprintf("only the first %d models were looked at", PTL_MODEL_FIND_MAX));
    (void)!ptl_fs_remove_tree(dir, &ignored);
    w->result = r;
}

struct stored {
    struct ptl_core *core;
    int64_t run_id;
};

static void on_stored(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct stored *s = ctx;
    if (err)
        ptl_log_warning("run=%lld: its pre-flight could not be stored, another try follows: %s",
                        (long long)s->run_id, err->text);
    else if (ptl_rows_count(rows) > 0 && ptl_row_i64(rows, 0, "errors") > 0)
        ptl_log_info("run=%lld: pre-flight: %lld errors, %lld warnings", (long long)s->run_id,
                     (long long)ptl_row_i64(rows, 0, "errors"), (long long)ptl_row_i64(rows, 0, "warnings"));
    if (!err)
        ptl_core_risk_tick(
            s->core); /* what it found moves the risk of what waits, and a gate may wait for it */
    free(s);
}

static void done(struct ptl_work *w)
{
    struct look *l = (struct look *)w;
    l->core->looking--;
    if (w->result != -ECANCELED) {
        struct ptl_args a;
        struct stored *s = ptl_xcalloc(1, sizeof(*s));
        *s = (struct stored){l->core, l->run_id};
        ptl_args_init(&a);
        ptl_args_i64(&a, l->id);
        ptl_args_json(&a, l->answer);
        ptl_args_str(&a, w->result < 0 ? l->err.text : NULL);
        if (w->result < 0)
            ptl_log_warning("run=%lld: pre-flight failed: %s", (long long)l->run_id, l->err.text);
        if (ptl_store_query(l->core->store, PTL_SQL_preflight_store, &a, on_stored, s) != 0)
            free(s); /* its lease runs out */
    }
    look_free(l);
}

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->looking--; /* the place held for the statement */
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        if (!ptl_str_eq(ptl_row_str(rows, i, "state"), "pending"))
            continue;
        struct look *l = ptl_xcalloc(1, sizeof(*l));
        l->work.run = run;
        l->work.done = done;
        l->core = core;
        l->id = ptl_row_i64(rows, i, "id");
        l->run_id = ptl_row_i64(rows, i, "run_id");
        l->stage = ptl_row_null(rows, i, "stage") ? NULL : ptl_xstrdup(ptl_row_str(rows, i, "stage"));
        l->source_sha256 = ptl_xstrdup(ptl_row_str(rows, i, "source_sha256"));
        l->plan = ptl_row_json(rows, i, "plan");
        l->artifacts = ptl_row_json(rows, i, "artifacts");
        l->agents = ptl_row_json(rows, i, "agents");
        core->looking++;
        if (ptl_loop_submit(core->loop, &l->work) != 0) {
            core->looking--;
            look_free(l); /* its lease runs out */
        }
    }
}

void ptl_core_preflight_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    if (core->looking >= LOOKING_MAX || !ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, LOOKING_MAX - core->looking);
    ptl_args_i64(&a, LEASE_MS);
    core->looking++;
    if (ptl_store_query(core->store, PTL_SQL_preflight_claim, &a, on_claimed, core) != 0)
        core->looking--;
}
