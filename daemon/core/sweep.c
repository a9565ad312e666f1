/* sweep.c - the clocks that nobody else keeps: leases, queue and total time, preparations of dead daemons,
 * runs left between two steps. Every daemon sweeps; rows that another one holds are skipped. */
#include "core-private.h"
#include <portolan/log.h>

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

static void query_i64(struct ptl_core *core, enum ptl_sql sql, int64_t v, ptl_rows_fn *fn)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, v);
    (void)!ptl_store_query(core->store, sql, &a, fn, core);
}

void ptl_core_sweep_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    if (!ptl_store_is_ready(core->store))
        return;
    query_i64(core, PTL_SQL_sweep_lost, core->o.losses_max, on_lost);
    (void)!ptl_store_query(core->store, PTL_SQL_sweep_clocks, NULL, on_swept, core);
    (void)!ptl_store_query(core->store, PTL_SQL_sweep_stuck, NULL, on_stuck, core);
    query_i64(core, PTL_SQL_sweep_prepare, 3, on_given_up);
}
