/* risk.c - what daemon/risk needs from the database and gives back to it: the risk of the stages of a new
 * plan, of those that still wait when something ended since, and the playing back of history. Loop thread;
 * playing back on the pool. A run whose risk cannot be asked for is planned without: only a gate that stands
 * on it then closes, since nobody knows better. */
#include "core-private.h"
#include "risk.h"
#include <portolan/log.h>
#include <stdio.h>

enum {
    STALE_AT_ONCE = 24, /* some eight runs, each a look of 0.1 s at most: what is weighed anew must not crowd
                           out what runs */
    RESOLVERS_AT_ONCE = 10 /* challenges, each some 5 ms */
};

static const char *platform_of(const json_t *stages, const json_t *stage)
{
    const char *target = ptl_json_str(stage, "target", NULL), *kind = ptl_json_str(stage, "kind", "");
    size_t i;
    json_t *s;
    if (ptl_str_eq(kind, "export"))
        return "server";
    json_array_foreach(
        (json_t *)stages, i,
        s) if (target && ptl_str_eq(ptl_json_str(s, "target", ""), target) &&
               ptl_str_eq(ptl_json_str(s, "kind", ""), "verify")) return ptl_json_str(s, "host", "server");
    return ptl_json_str(stage, "host", "server");
}

json_t *ptl_core_risk_cells(const json_t *plan)
{
    const json_t *stages = json_object_get(plan, "stages");
    json_t *cells = json_array(), *s;
    size_t i;
    json_array_foreach((json_t *)stages, i, s) json_array_append_new(
        cells, json_pack("{s:O?,s:O?,s:O?,s:s,s:O}", "name", json_object_get(s, "name"), "kind",
                         json_object_get(s, "kind"), "target", json_object_get(s, "target"), "platform",
                         platform_of(stages, s), "spec", s));
    return cells;
}

/* The policy `when: risk > X` of a stage; the sentence why it waits, or NULL. */
static char *gate_why(const json_t *stage, const json_t *risk)
{
    const json_t *above = json_object_get(stage, "gate_risk");
    if (!json_is_number(above))
        return NULL;
    double limit = json_number_value(above), p = ptl_json_num(risk, "p", -1);
    if (!risk)
        return ptl_xasprintf(
            "its risk could not be weighed when it was planned, and the pipeline file lets it go on only up to %.3g",
            limit);
    return p > limit
               ? ptl_xasprintf("its risk of %.2f is above the %.3g that the pipeline file allows", p, limit)
               : NULL;
}

json_t *ptl_core_risk_of_plan(const json_t *inputs, const json_t *plan, const json_t *facts)
{
    const json_t *stages = json_object_get(plan, "stages");
    json_t *list = json_array(), *s;
    size_t i;
    json_array_foreach((json_t *)stages, i, s)
    {
        const char *platform = platform_of(stages, s);
        json_t *risk = inputs ? ptl_risk_weigh(inputs, s, platform, facts) : NULL;
        PTL_FREE char *why = gate_why(s, risk);
        json_array_append_new(list,
                              json_pack("{s:s,s:o*,s:I,s:s*}", "platform", platform, "risk", risk, "seen",
                                        (json_int_t)ptl_json_i64(inputs, "seen", 0), "gate_why", why));
    }
    return list;
}

/* ---- what waits while others end ---- */

struct stale {
    struct ptl_core *core;
    struct ptl_rows *rows;
    int from, to; /* rows of one project and ref */
};

static void next_group(struct stale *s);

static void on_put(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    if (err)
        ptl_log_warning("risk: what was weighed anew could not be stored, the next turn does it: %s",
                        err->text);
    for (int i = 0; !err && i < ptl_rows_count(rows); i++)
        ptl_core_run_advance(ctx, ptl_row_i64(rows, i, "run_id"));
}

static void idle(struct ptl_core *core)
{
    core->risk_busy = false;
    if (core->risk_again)
        ptl_core_risk_tick(core);
}

static void stale_free(struct stale *s)
{
    struct ptl_core *core = s->core;
    ptl_rows_unref(s->rows);
    free(s);
    idle(core);
}

static void on_inputs(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct stale *s = ctx;
    if (err || ptl_rows_count(rows) != 1) {
        if (err && err->code != -ECANCELED)
            ptl_log_warning("run=%lld: its risk could not be weighed anew, the next turn does it: %s",
                            (long long)ptl_row_i64(s->rows, s->from, "run_id"), err->text);
        s->from = s->to; /* the others need not wait for it */
        next_group(s);
        return;
    }
    PTL_JSON *inputs = ptl_row_object(rows, 0);
    PTL_JSON *list = json_array();
    for (int i = s->from; i < s->to; i++) {
        PTL_JSON *spec = ptl_row_json(s->rows, i, "spec");
        PTL_JSON *facts = ptl_row_json(s->rows, i, "facts");
        json_t *risk = ptl_risk_weigh(inputs, spec, ptl_row_str(s->rows, i, "platform"), facts);
        PTL_FREE char *why = gate_why(spec, risk);
        json_array_append_new(
            list, json_pack("{s:I,s:I,s:I,s:o,s:s?}", "id", (json_int_t)ptl_row_i64(s->rows, i, "id"), "seen",
                            (json_int_t)ptl_json_i64(inputs, "seen", 0), "looks",
                            (json_int_t)ptl_json_i64(inputs, "looks", 0), "risk", risk, "gate_why", why));
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_json(&a, list);
    (void)!ptl_store_query(s->core->store, PTL_SQL_risk_put, &a, on_put, s->core);
    s->from = s->to;
    next_group(s);
}

static void next_group(struct stale *s)
{
    int n = ptl_rows_count(s->rows);
    if (s->from >= n || atomic_load(&s->core->stopping)) {
        stale_free(s);
        return;
    }
    int64_t project = ptl_row_i64(s->rows, s->from, "project_id"),
            run = ptl_row_i64(s->rows, s->from, "run_id");
    PTL_JSON *cells = json_array();
    for (s->to = s->from; s->to < n && ptl_row_i64(s->rows, s->to, "run_id") == run; s->to++) {
        json_t *c = json_object();
        static const char *const keys[] = {"name", "kind", "target", "platform"};
        for (size_t k = 0; k < PTL_ARRAY_LEN(keys); k++)
            json_object_set_new(c, keys[k], json_string(ptl_row_str(s->rows, s->to, keys[k])));
        json_object_set_new(c, "spec", ptl_row_json(s->rows, s->to, "spec"));
        json_array_append_new(cells, c);
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, project);
    ptl_args_json(&a, cells);
    ptl_args_str(&a, ptl_row_str(s->rows, s->from, "ref"));
    ptl_args_i64(&a, run);
    if (ptl_store_query(s->core->store, PTL_SQL_risk_inputs, &a, on_inputs, s) != 0)
        stale_free(s);
}

static void on_stale(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    if (err || ptl_rows_count(rows) == 0) {
        core->risk_again = core->risk_again && !err;
        idle(core);
        return;
    }
    struct stale *s = ptl_xcalloc(1, sizeof(*s));
    *s = (struct stale){.core = core, .rows = ptl_rows_ref(rows)};
    next_group(s);
}

static void on_refreshed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    core->resolvers_busy = false;
    if (err)
        ptl_log_warning("who resolved what could not be brought up to date, the next turn does it: %s",
                        err->text);
    else if (ptl_row_i64(rows, 0, "challenges") == RESOLVERS_AT_ONCE)
        ptl_core_resolvers_tick(core);
}

void ptl_core_resolvers_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    struct ptl_args a;
    if (core->resolvers_busy || !ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    ptl_args_init(&a);
    ptl_args_i64(&a, RESOLVERS_AT_ONCE);
    core->resolvers_busy =
        ptl_store_query(core->store, PTL_SQL_resolver_refresh, &a, on_refreshed, core) == 0;
}

void ptl_core_risk_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    core->risk_again = core->risk_busy;
    if (core->risk_busy || !ptl_store_is_ready(core->store) || atomic_load(&core->stopping))
        return;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, STALE_AT_ONCE);
    core->risk_busy = ptl_store_query(core->store, PTL_SQL_risk_stale, &a, on_stale, core) == 0;
}

/* ---- playing back ---- */

struct backtest {
    struct ptl_work work;
    struct ptl_core *core;
    ptl_core_fn *fn;
    void *ctx;
    char *text; /* "kind cell bits ok;" each, oldest first */
    double base[9];
    json_t *head; /* what the answer begins with */
    json_t *answer;
    int64_t n, cells;
};

static void backtest_run(struct ptl_work *w)
{
    struct backtest *t = (struct backtest *)w;
    struct ptl_risk_past *past = calloc((size_t)t->n + 1, sizeof(*past));
    struct ptl_risk_backtest b;
    size_t n = 0;
    w->result = past ? 0 : -ENOMEM;
    for (const char *p = t->text; past && *p && n < (size_t)t->n;) {
        char *end;
        struct ptl_risk_past *o = &past[n];
        o->kind = (int32_t)strtol(p, &end, 10);
        o->cell = (int32_t)strtol(end, &end, 10);
        unsigned long bits = strtoul(end, &end, 10);
        o->bits = bits & 0xffff;
        o->known = (uint32_t)(bits >> 16);
        o->ok = strtol(end, &end, 10) != 0;
        if (*end != ';')
            break;
        n++;
        p = end + 1;
    }
    if (w->result == 0)
        w->result = ptl_risk_backtest(past, n, (size_t)t->cells, t->base, &b);
    if (w->result == 0)
        t->answer = ptl_risk_backtest_json(&b);
    free(past);
}

static void backtest_done(struct ptl_work *w)
{
    struct backtest *t = (struct backtest *)w;
    struct ptl_error err = PTL_ERROR_INIT;
    if (w->result == 0) {
        json_object_update(t->answer, t->head);
        t->fn(t->ctx, 0, t->answer, NULL);
    } else {
        ptl_error_set(&err, w->result, "history could not be played back: %s", strerror(-w->result));
        t->fn(t->ctx, w->result, NULL, &err);
    }
    json_decref(t->answer);
    json_decref(t->head);
    free(t->text);
    free(t);
}

static void on_past(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    static const char *const kinds[] = {"export", "convert", "verify"}, *const platforms[] = {
                                                                            "server", "mobile", "browser"};
    struct backtest *t = ctx;
    struct ptl_error full = PTL_ERROR_INIT;
    if (err) {
        t->fn(t->ctx, ptl_core_result_of(err), NULL, err);
        free(t);
        return;
    }
    PTL_JSON *nodes = ptl_row_json(rows, 0, "nodes");
    const char *text = ptl_row_str(rows, 0, "past");
    for (int k = 0; k < 9; k++)
        t->base[k] = ptl_risk_base(ptl_risk_stage_share(nodes, platforms[k % 3], kinds[k / 3]));
    t->text = ptl_xstrdup(text ? text : "");
    t->n = ptl_row_i64(rows, 0, "n");
    t->cells = ptl_row_i64(rows, 0, "cells");
    t->head = json_pack("{s:s?,s:b,s:s?,s:s?}", "project", ptl_row_str(rows, 0, "project"), "cut",
                        ptl_row_bool(rows, 0, "cut"), "from", ptl_row_str(rows, 0, "since"), "to",
                        ptl_row_str(rows, 0, "until"));
    t->work.run = backtest_run;
    t->work.done = backtest_done;
    if (ptl_loop_submit(t->core->loop, &t->work) != 0) {
        ptl_error_set(&full, PTL_FULL, "this daemon's workers are busy, try again in a moment");
        t->fn(t->ctx, PTL_FULL, NULL, &full);
        json_decref(t->head);
        free(t->text);
        free(t);
    }
}

void ptl_core_risk_backtest(struct ptl_core *core, const char *project, ptl_core_fn *fn, void *ctx)
{
    struct backtest *t = ptl_xcalloc(1, sizeof(*t));
    struct ptl_args a;
    *t = (struct backtest){.core = core, .fn = fn, .ctx = ctx};
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    if (ptl_store_query(core->store, PTL_SQL_risk_past, &a, on_past, t) != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, PTL_FULL, "the database queue is full, try again in a moment");
        free(t);
        fn(ctx, PTL_FULL, NULL, &err);
    }
}
