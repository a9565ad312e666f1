/* sweep.c - the clocks that nobody else keeps: leases, queue and total time, preparations of dead daemons,
 * runs left between two steps. Every daemon sweeps; rows that another one holds are skipped. */
#include "core-private.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <sys/stat.h>

static void on_swept(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    if (err) {
        ptl_log_warning("sweep: %s", err->text);
        return;
    }
    for (int i = 0; i < ptl_rows_count(rows); i++) {
        int64_t run_id = ptl_row_i64(rows, i, "run_id");
        ptl_log_warning("run=%lld stage=%s: a clock ran out, now %s", (long long)run_id,
                        ptl_row_str(rows, i, "name"), ptl_row_str(rows, i, "state"));
        ptl_core_run_advance(core, run_id);
    }
}

static void on_lost(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    if (!err)
        core->count.agents_lost += (uint64_t)ptl_rows_count(rows);
    on_swept(ctx, rows, err);
}

static void on_stuck(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    for (int i = 0; !err && i < ptl_rows_count(rows); i++)
        ptl_core_run_advance(ctx, ptl_row_i64(rows, i, "id"));
}

static void on_given_up(void *ctx PTL_UNUSED, struct ptl_rows *rows, const struct ptl_error *err)
{
    for (int i = 0; !err && i < ptl_rows_count(rows); i++)
        ptl_log_error("run=%lld: given up after several tries to prepare it",
                      (long long)ptl_row_i64(rows, i, "id"));
}

static void on_gates(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    if (err)
        ptl_log_warning("gates that wait for their risk: %s", err->text);
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        int64_t run_id = ptl_row_i64(rows, i, "run_id");
        ptl_log_warning("run=%lld stage=%s: its risk could not be weighed in time, a person is asked",
                        (long long)run_id, ptl_row_str(rows, i, "name"));
        ptl_core_run_advance(ctx, run_id);
    }
}

static void sweep_gates(struct ptl_core *core)
{
    struct ptl_args a;
    char words[32];
    ptl_duration_format(core->o.gate_wait_ms, words);
    ptl_args_init(&a);
    ptl_args_i64(&a, core->o.gate_wait_ms);
    ptl_args_str(&a, words);
    (void)!ptl_store_query(core->store, PTL_SQL_sweep_gates, &a, on_gates, core);
}

static void query_i64(struct ptl_core *core, enum ptl_sql sql, int64_t v, ptl_rows_fn *fn)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, v);
    (void)!ptl_store_query(core->store, sql, &a, fn, core);
}

/* ---- leases ----
 * A lease ends by the database's clock, so that all daemons agree. Before anyone loses it, that clock is
 * compared with one's own: where it was set, or nobody watched it for a while (this daemon was away, the
 * database was), agents could not speak or were not heard, and all get their lease anew. */

struct watch {
    struct ptl_core *core;
    int64_t mono_ms, expected_ms; /* when it was asked; 0: not known */
};

/* An agent speaks three times in a lease: by half of one none is lost. */
static int64_t slack(const struct ptl_core *core)
{
    return core->o.lease_ms / 2;
}

static void on_watched(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    PTL_FREE struct watch *w = ctx;
    struct ptl_core *core = w->core;
    core->watching = false;
    if (err) {
        if (err->code != -ECANCELED)
            ptl_log_warning("sweep: %s", err->text);
        return;
    }
    int64_t at = ptl_row_i64(rows, 0, "at_ms"), renewed = ptl_row_i64(rows, 0, "renewed");
    bool set = w->expected_ms && llabs(at - w->expected_ms) > slack(core);
    if (set)
        ptl_log_warning("sweep: the database's clock went %+.1f s by itself: the leases of %lld stages begin "
                        "anew",
                        (double)(at - w->expected_ms) / 1000, (long long)renewed);
    else if (renewed)
        ptl_log_info("sweep: nobody watched for a while: the leases of %lld stages begin anew",
                     (long long)renewed);
    if (set && at > w->expected_ms) {
        core->jump_ms += at - w->expected_ms;
        core->jump_at_ms = at;
    }
    core->clock_db_ms = at;
    core->clock_mono_ms = w->mono_ms;
    query_i64(core, PTL_SQL_sweep_lost, core->o.losses_max, on_lost);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, core->jump_ms);
    ptl_args_i64(&a, core->jump_at_ms);
    (void)!ptl_store_query(core->store, PTL_SQL_sweep_clocks, &a, on_swept, core);
}

static void watch(struct ptl_core *core)
{
    struct ptl_args a;
    int64_t now = ptl_mono_ms(), gone = now - core->clock_mono_ms;
    if (core->watching)
        return;
    struct watch *w = ptl_xcalloc(1, sizeof(*w));
    *w = (struct watch){.core = core, .mono_ms = now};
    ptl_args_init(&a);
    if (core->clock_mono_ms && gone <= slack(core)) {
        w->expected_ms = core->clock_db_ms + gone;
        ptl_args_i64(&a, w->expected_ms);
    } else {
        ptl_args_null(&a);
    }
    ptl_args_i64(&a, slack(core));
    ptl_args_i64(&a, core->o.lease_ms);
    ptl_args_i64(&a, core->o.claim_lease_ms);
    core->watching = true;
    if (ptl_store_query(core->store, PTL_SQL_sweep_watch, &a, on_watched, w) != 0) {
        core->watching = false;
        free(w);
    }
}

/* ---- what has grown old ---- */

enum { TIDY_EVERY_TICKS = 600, EVENTS_AT_ONCE = 20000, FILES_MAX = 100000, STALE_FILE_S = 86400 };

struct tidy {
    struct ptl_work work;
    struct ptl_core *core;
    char *state_dir;
    unsigned removed;
};

static int tidy_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct tidy *t = ctx;
    struct stat st;
    if (lstat(e->full, &st) == 0 && st.st_mtime < (time_t)(ptl_wall_ms() / 1000 - STALE_FILE_S) &&
        unlink(e->full) == 0)
        t->removed++;
    return 0;
}

/* Uploads that nobody went on with, snapshots of a daemon that died over them. */
static void tidy_run(struct ptl_work *w)
{
    static const char *const dirs[] = {"uploads", "tmp"};
    struct tidy *t = (struct tidy *)w;
    for (size_t i = 0; i < PTL_ARRAY_LEN(dirs); i++) {
        PTL_FREE char *dir = ptl_fs_join(t->state_dir, dirs[i]);
        (void)!ptl_fs_walk(dir, FILES_MAX, tidy_file, t, NULL);
    }
}

static void tidy_done(struct ptl_work *w)
{
    struct tidy *t = (struct tidy *)w;
    if (t->removed)
        ptl_log_info("removed %u unfinished files older than a day", t->removed);
    free(t->state_dir);
    free(t);
}

static void prune_events(struct ptl_core *core);

static void on_pruned(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    if (err)
        ptl_log_warning("old events are not removed, the next try is in a while: %s", err->text);
    else if (ptl_row_i64(rows, 0, "pruned") >= EVENTS_AT_ONCE && !atomic_load(&core->stopping))
        prune_events(core); /* more came in than one piece */
}

static void prune_events(struct ptl_core *core)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, core->o.event_retention_ms);
    ptl_args_i64(&a, EVENTS_AT_ONCE);
    (void)!ptl_store_query(core->store, PTL_SQL_event_prune, &a, on_pruned, core);
}

static void tidy(struct ptl_core *core)
{
    prune_events(core);
    struct tidy *t = ptl_xcalloc(1, sizeof(*t));
    t->work.run = tidy_run;
    t->work.done = tidy_done;
    t->state_dir = ptl_xstrdup(core->o.state_dir);
    if (ptl_loop_submit(core->loop, &t->work) != 0) {
        free(t->state_dir);
        free(t);
    }
}

/* A clock that is set before the first look goes unnoticed, and stages would be held to it: so the first one
 * is not left to the first tick. */
void ptl_core_sweep_begin(struct ptl_core *core)
{
    if (ptl_store_is_ready(core->store))
        watch(core);
}

void ptl_core_sweep_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    if (!ptl_store_is_ready(core->store))
        return;
    if (core->ticks++ % TIDY_EVERY_TICKS == 0)
        tidy(core);
    watch(core);
    (void)!ptl_store_query(core->store, PTL_SQL_sweep_stuck, NULL, on_stuck, core);
    query_i64(core, PTL_SQL_sweep_prepare, PTL_CORE_PREPARE_TRIES, on_given_up);
    sweep_gates(core);
    ptl_core_decide_sweep(core);
}
