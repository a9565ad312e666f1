/* dispatch.c - stages to agents and back. A claim is a lease with a fence; every later write carries the
 * fence and is refused when it is old. Long polls wait here; a NOTIFY names the host kind that has work, and
 * a look at the queue once a second repairs lost ones. Polls that offer the same (kinds, labels, toolchains,
 * recipes) would all get the same answer, so a wake asks for two of them, and each that got something wakes
 * two more: one new stage costs a few statements, not one for each idle agent. */
#include "core-private.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <stdio.h>

struct ptl_core_claim {
    struct ptl_core *core;
    struct ptl_core_claim *next, **prev;
    int64_t agent_id;
    json_t *inventory;
    unsigned hosts;
    uint64_t offer;      /* hash of what the agent offers: equal ones suit the same stages */
    uint64_t asked_turn; /* when it asked last: who waits longest asks next */
    uint64_t woken_turn;
    int free_slots;
    struct ptl_timer *deadline;
    ptl_core_fn *fn;
    void *ctx;
    bool asking; /* a statement is under way */
    bool again;  /* woken meanwhile */
    bool abandoned, expired;
    /* assembling the answer */
    json_t *claims;
    unsigned open;           /* secret look-ups under way */
    struct ptl_error failed; /* the last one that did not succeed: its job was given back */
};

static void claim_free(struct ptl_core_claim *c)
{
    if (c->prev) {
        *c->prev = c->next;
        if (c->next)
            c->next->prev = c->prev;
        c->core->count.polls_waiting--;
    }
    ptl_timer_free(c->deadline);
    json_decref(c->inventory);
    json_decref(c->claims);
    free(c);
}

static int list(const json_t *inventory, const char *key, const char **ret, size_t max, size_t *n,
                struct ptl_error *err)
{
    const json_t *a = json_object_get(inventory, key), *v;
    size_t i;
    *n = 0;
    if (!a)
        return 0;
    if (!json_is_array(a))
        return ptl_error_set(err, -EINVAL, "inventory.%s: expected an array of strings", key);
    json_array_foreach(a, i, v)
    {
        const char *s = json_string_value(v);
        if (!s || !*s || strlen(s) > 200)
            return ptl_error_set(err, -EINVAL, "inventory.%s[%zu]: expected a string of 1 to 200 bytes", key,
                                 i);
        if (*n == max)
            return ptl_error_set(err, -EINVAL, "inventory.%s: more than %zu entries", key, max);
        ret[(*n)++] = s;
    }
    return 0;
}

int ptl_inventory_read(const json_t *inventory, struct ptl_inventory *ret, struct ptl_error *err)
{
    memset(ret, 0, sizeof(*ret));
    if (!json_is_object(inventory))
        return ptl_error_set(err, -EINVAL, "inventory: expected an object");
    int r = list(inventory, "hosts", ret->hosts, PTL_ARRAY_LEN(ret->hosts), &ret->n_hosts, err);
    if (r == 0)
        r = list(inventory, "labels", ret->labels, PTL_ARRAY_LEN(ret->labels), &ret->n_labels, err);
    if (r == 0)
        r = list(inventory, "recipes", ret->recipes, PTL_ARRAY_LEN(ret->recipes), &ret->n_recipes, err);
    if (r < 0)
        return r;
    if (ret->n_hosts == 0)
        return ptl_error_set(err, -EINVAL,
                             "inventory.hosts: expected at least one of server, mobile, browser");
    for (size_t i = 0; i < ret->n_hosts; i++) {
        enum ptl_host_kind k;
        if (ptl_host_kind_parse(ret->hosts[i], &k) < 0)
            return ptl_error_set(err, -EINVAL,
                                 "inventory.hosts[%zu]: '%s' is none of server, mobile, browser", i,
                                 ret->hosts[i]);
    }
    const json_t *tools = json_object_get(inventory, "toolchains");
    const char *name;
    json_t *v;
    if (tools && !json_is_object(tools))
        return ptl_error_set(err, -EINVAL, "inventory.toolchains: expected an object of name: versions");
    json_object_foreach((json_t *)tools, name, v)
    {
        (void)v;
        if (ret->n_toolchains == PTL_ARRAY_LEN(ret->toolchains))
            return ptl_error_set(err, -EINVAL, "inventory.toolchains: more than %zu",
                                 PTL_ARRAY_LEN(ret->toolchains));
        ret->toolchains[ret->n_toolchains++] = name;
    }
    ret->slots = ptl_json_i64(inventory, "slots", 1);
    if (ret->slots < 0 || ret->slots > 1024)
        return ptl_error_set(err, -EINVAL, "inventory.slots: expected 0 to 1024");
    return 0;
}

static void answer(struct ptl_core_claim *c, int result, const struct ptl_error *err)
{
    if (!c->abandoned) {
        PTL_JSON *body = result == 0
                             ? json_pack("{s:o}", "claims", c->claims ? json_incref(c->claims) : json_array())
                             : NULL;
        c->fn(c->ctx, result, body, err);
    }
    claim_free(c);
}

/* What the stage's plan says goes into the job under the same names. */
void ptl_core_job_merge(json_t *job, const json_t *spec)
{
    static const char *const keys[] = {"uses",    "run",    "with",      "toolchain", "env",       "network",
                                       "outputs", "expect", "precision", "matrix",    "model_uses"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(keys); i++) {
        json_t *v = json_object_get(spec, keys[i]);
        if (v && !json_is_null(v))
            json_object_set(job, keys[i], v);
    }
}

static void on_given_back(void *ctx PTL_UNUSED, int result, const json_t *answer_json PTL_UNUSED,
                          const struct ptl_error *err)
{
    if (result != 0)
        ptl_log_warning("claim: not given back, its lease will run out: %s", err ? err->text : "no reason");
}

/* What was claimed and does not reach the agent: another one may have the stage at once. */
static void give_back(struct ptl_core_claim *c, const json_t *job, const char *why)
{
    PTL_JSON *result = json_pack("{s:I,s:s,s:b,s:s}", "fence", (json_int_t)ptl_json_i64(job, "fence", 0),
                                 "end_reason", "cancelled", "ok", 0, "message", why);
    int64_t attempt = ptl_json_i64(job, "attempt_id", 0);
    ptl_log_info("attempt=%lld: given back by agent=%lld: %s", (long long)attempt, (long long)c->agent_id,
                 why);
    ptl_core_finish(c->core, c->agent_id, attempt, result, on_given_back, NULL);
}

static const char hung_up[] = "the agent hung up before it had the job";

/* One look-up fewer is under way; the last one answers with what there is. */
static void look_up_done(struct ptl_core_claim *c)
{
    size_t i;
    json_t *job;
    if (--c->open > 0)
        return;
    if (c->abandoned) {
        json_array_foreach(c->claims, i, job) give_back(c, job, hung_up);
    }
    if (c->failed.code && json_array_size(c->claims) == 0)
        answer(c, PTL_FULL, &c->failed);
    else
        answer(c, 0, NULL);
}

struct secrets_wanted {
    struct ptl_core_claim *claim;
    json_t *job; /* borrowed from claim->claims */
    json_t *names;
    char *ref, *stage;
};

static bool any_glob(const json_t *globs, const char *text)
{
    size_t i;
    json_t *g;
    if (json_array_size(globs) == 0)
        return true;
    json_array_foreach(globs, i, g)
    {
        const char *p = json_string_value(g);
        if (ptl_str_glob(p, text) || (ptl_str_starts(text, "refs/heads/") && ptl_str_glob(p, text + 11)) ||
            (ptl_str_starts(text, "refs/tags/") && ptl_str_glob(p, text + 10)))
            return true;
    }
    return false;
}

static void secrets_wanted_free(struct secrets_wanted *w)
{
    json_decref(w->names);
    free(w->ref);
    free(w->stage);
    free(w);
}

/* Without its secrets a stage would turn red for our trouble, or green with a default: nobody gets it so. */
static void keep_back(struct secrets_wanted *w, const struct ptl_error *err)
{
    struct ptl_core_claim *c = w->claim;
    PTL_FREE char *why = ptl_xasprintf("its secrets could not be read: %s", err->text);
    size_t i;
    json_t *job;
    ptl_error_set(&c->failed, PTL_FULL, "the secrets of stage %s could not be read, it is queued again: %s",
                  w->stage, err->text);
    ptl_log_warning("claim: %s", c->failed.text);
    give_back(c, w->job, why);
    json_array_foreach(c->claims, i, job)
    {
        if (job != w->job)
            continue;
        json_array_remove(c->claims, i);
        break;
    }
}

static void on_secrets(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct secrets_wanted *w = ctx;
    struct ptl_core_claim *c = w->claim;
    if (err) {
        keep_back(w, err);
        secrets_wanted_free(w);
        look_up_done(c);
        return;
    }
    json_t *values = json_object(), *warnings = json_array();
    size_t i;
    json_t *n;
    json_array_foreach(w->names, i, n)
    {
        const char *name = json_string_value(n), *why = "is not set for this project";
        for (int row = 0; row < ptl_rows_count(rows); row++) {
            if (!ptl_str_eq(ptl_row_str(rows, row, "name"), name))
                continue;
            PTL_JSON *refs = ptl_row_array(rows, row, "refs"), *stages = ptl_row_array(rows, row, "stages");
            if (!any_glob(refs, w->ref) || !any_glob(stages, w->stage)) {
                why = "is not released to this ref or stage";
                continue;
            }
            size_t len;
            const void *sealed = ptl_row_bytes(rows, row, "value", &len);
            PTL_FREE char *what = ptl_xasprintf("secret %s", name);
            PTL_BUF plain = PTL_BUF_INIT;
            if (sealed && ptl_unseal(c->core, what, sealed, len, &plain) == 0) {
                json_object_set_new(values, name, json_string(ptl_buf_str(&plain)));
                explicit_bzero(plain.data, plain.len);
                why = NULL;
            } else {
                why = "does not open with this daemon's secret.key";
            }
        }
        if (why) {
            PTL_FREE char *text = ptl_xasprintf("secret %s %s", name, why);
            json_array_append_new(warnings, json_string(text));
        }
    }
    json_object_set_new(w->job, "secrets", values);
    json_object_set_new(w->job, "warnings", warnings);
    secrets_wanted_free(w);
    look_up_done(c);
}

static void want_secrets(struct ptl_core_claim *c, struct ptl_rows *rows, int row, json_t *job, json_t *names)
{
    struct secrets_wanted *w = ptl_xcalloc(1, sizeof(*w));
    w->claim = c;
    w->job = job;
    w->names = json_incref(names);
    w->ref = ptl_xstrdup(ptl_row_str(rows, row, "ref"));
    w->stage = ptl_xstrdup(ptl_row_str(rows, row, "name"));
    const char *list_of[64];
    size_t n = 0, i;
    json_t *v;
    json_array_foreach(names, i, v) if (n < PTL_ARRAY_LEN(list_of) && json_is_string(v)) list_of[n++] =
        json_string_value(v);
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, ptl_row_i64(rows, row, "project_id"));
    ptl_args_text_array(&args, list_of, n);
    c->open++;
    if (ptl_store_query(c->core->store, PTL_SQL_project_secret_values, &args, on_secrets, w) != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, PTL_FULL, "the database queue is full");
        c->open++; /* on_secrets must not answer before the caller is done with c */
        on_secrets(w, NULL, &err);
        c->open--;
    }
}

static void try_claim(struct ptl_core_claim *c);
static void wake_offer(struct ptl_core *core, uint64_t offer);

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_claim *c = ctx;
    c->asking = false;
    if (err) {
        answer(c, ptl_core_result_of(err), err);
        return;
    }
    int n = ptl_rows_count(rows);
    if (n == 0) {
        if (c->abandoned || c->expired)
            answer(c, 0, NULL);
        else if (c->again)
            try_claim(c);
        return;
    }
    if (c->abandoned) {
        for (int i = 0; i < n; i++) {
            PTL_JSON *job = ptl_row_json(rows, i, "job");
            give_back(c, job, hung_up);
        }
        answer(c, 0, NULL);
        return;
    }
    c->core->count.claims += (uint64_t)n;
    c->claims = json_array();
    wake_offer(c->core, c->offer); /* there may be more */
    c->open = 1;
    for (int i = 0; i < n; i++) {
        json_t *job = ptl_row_json(rows, i, "job");
        PTL_JSON *spec = ptl_row_json(rows, i, "spec");
        ptl_core_job_merge(job, spec);
        json_object_set_new(job, "limits",
                            json_pack("{s:I}", "log_bytes", (json_int_t)c->core->o.log_max_bytes));
        json_array_append_new(c->claims, job);
        json_t *names = json_object_get(spec, "secrets");
        if (json_array_size(names))
            want_secrets(c, rows, i, job, names);
        ptl_log_info("stage=%lld attempt=%lld: claimed by agent=%lld",
                     (long long)ptl_row_i64(rows, i, "stage_id"),
                     (long long)ptl_row_i64(rows, i, "attempt_id"), (long long)c->agent_id);
    }
    look_up_done(c);
}

static void try_claim(struct ptl_core_claim *c)
{
    struct ptl_inventory inv;
    if (c->asking) {
        c->again = true;
        return;
    }
    if (ptl_inventory_read(c->inventory, &inv, NULL) < 0)
        return;
    c->again = false;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, c->agent_id);
    ptl_args_text_array(&a, inv.hosts, inv.n_hosts);
    ptl_args_text_array(&a, inv.labels, inv.n_labels);
    ptl_args_text_array(&a, inv.toolchains, inv.n_toolchains);
    ptl_args_text_array(&a, inv.recipes, inv.n_recipes);
    ptl_args_i64(&a, c->free_slots);
    ptl_args_i64(&a, c->core->o.claim_lease_ms);
    c->asked_turn = ++c->core->turn;
    if (ptl_store_query(c->core->store, PTL_SQL_stage_claim, &a, on_claimed, c) == 0)
        c->asking = true;
}

static void on_deadline(void *ctx)
{
    struct ptl_core_claim *c = ctx;
    c->expired = true;
    if (!c->asking && !c->claims) /* else what is under way answers */
        answer(c, 0, NULL);
}

static uint64_t offer_of(const json_t *inventory)
{
    static const char *const keys[] = {"hosts", "labels", "toolchains", "recipes"};
    char hex[PTL_SHA256_HEX];
    PTL_BUF b = PTL_BUF_INIT;
    for (size_t i = 0; i < PTL_ARRAY_LEN(keys); i++) {
        PTL_FREE char *text =
            json_dumps(json_object_get(inventory, keys[i]), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        ptl_buf_puts(&b, text ? text : "-");
        ptl_buf_putc(&b, '\n');
    }
    ptl_sha256_of(b.data, b.len, hex);
    hex[16] = 0;
    return strtoull(hex, NULL, 16);
}

static void on_seen(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    (void)ctx;
    if (err)
        ptl_log_warning("agent: last-seen not noted: %s", err->text);
}

struct ptl_core_claim *ptl_core_claim(struct ptl_core *core, int64_t agent_id, const json_t *inventory,
                                      int free_slots, int64_t wait_ms, ptl_core_fn *fn, void *ctx)
{
    struct ptl_core_claim *c = ptl_xcalloc(1, sizeof(*c));
    struct ptl_inventory inv;
    c->core = core;
    c->agent_id = agent_id;
    c->inventory = json_deep_copy(inventory);
    c->offer = offer_of(inventory);
    c->free_slots = free_slots > PTL_WIRE_CLAIMS_MAX ? PTL_WIRE_CLAIMS_MAX : free_slots;
    c->fn = fn;
    c->ctx = ctx;
    c->next = core->claims;
    if (c->next)
        c->next->prev = &c->next;
    c->prev = &core->claims;
    core->claims = c;
    core->count.polls_waiting++;
    c->deadline = ptl_timer_new(core->loop, on_deadline, c);
    ptl_timer_after(c->deadline, wait_ms < 0 ? 0 : wait_ms > 60000 ? 60000 : wait_ms);
    if (ptl_inventory_read(c->inventory, &inv, NULL) == 0) {
        for (size_t i = 0; i < inv.n_hosts; i++) {
            enum ptl_host_kind k;
            if (ptl_host_kind_parse(inv.hosts[i], &k) == 0)
                c->hosts |= 1u << k;
        }
        struct ptl_args a;
        ptl_args_init(&a);
        ptl_args_i64(&a, agent_id);
        ptl_args_text_array(&a, inv.hosts, inv.n_hosts);
        ptl_args_text_array(&a, inv.labels, inv.n_labels);
        ptl_args_text_array(&a, inv.toolchains, inv.n_toolchains);
        ptl_args_text_array(&a, inv.recipes, inv.n_recipes);
        ptl_args_i64(&a, inv.slots);
        ptl_args_json(&a, c->inventory);
        (void)!ptl_store_query(core->store, PTL_SQL_agent_seen, &a, on_seen, NULL);
        if (c->free_slots > 0)
            try_claim(c);
    }
    return c;
}

void ptl_core_claim_abandon(struct ptl_core_claim *c)
{
    c->abandoned = true;
    ptl_timer_stop(c->deadline);
    if (!c->asking && c->open == 0)
        claim_free(c);
}

void ptl_core_claims_stop(struct ptl_core *core)
{
    for (struct ptl_core_claim *c = core->claims, *next; c; c = next) {
        next = c->next;
        if (!c->asking && c->open == 0)
            answer(c, 0, NULL);
    }
}

/* Two, because one of them may belong to an agent that is draining, which gets nothing whatever there is. */
enum { WAKE_AT_ONCE = 2 };

static void wake_offer(struct ptl_core *core, uint64_t offer)
{
    struct ptl_core_claim *longest[WAKE_AT_ONCE] = {NULL};
    size_t n = 0;
    for (struct ptl_core_claim *c = core->claims; c; c = c->next) {
        if (c->offer != offer || c->abandoned || c->expired || c->free_slots <= 0 || c->claims || c->asking)
            continue;
        size_t at = n;
        for (; at > 0 && longest[at - 1]->asked_turn > c->asked_turn; at--)
            if (at < WAKE_AT_ONCE)
                longest[at] = longest[at - 1];
        if (at < WAKE_AT_ONCE)
            longest[at] = c;
        n += n < WAKE_AT_ONCE;
    }
    for (size_t i = 0; i < n; i++)
        try_claim(longest[i]);
}

static void wake_now(void *ctx)
{
    struct ptl_core *core = ctx;
    unsigned hosts = core->wake_hosts;
    uint64_t turn = ++core->turn;
    core->wake_planned = false;
    core->wake_hosts = 0;
    for (struct ptl_core_claim *c = core->claims; c; c = c->next) {
        if (!(c->hosts & hosts) || c->woken_turn == turn)
            continue;
        for (struct ptl_core_claim *same = c; same; same = same->next)
            if (same->offer == c->offer) {
                same->woken_turn = turn;
                same->again |= same->asking; /* what it asked may have been answered before the news */
            }
        wake_offer(core, c->offer);
    }
}

void ptl_core_wake(struct ptl_core *core, unsigned hosts)
{
    core->wake_hosts |= hosts;
    if (!core->wake_planned && core->claims) {
        core->wake_planned = true;
        ptl_loop_defer(core->loop, wake_now, core);
    }
}

static void on_queue_hosts(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core *core = ctx;
    unsigned hosts = 0;
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        enum ptl_host_kind k;
        if (ptl_host_kind_parse(ptl_row_str(rows, i, "host"), &k) == 0)
            hosts |= 1u << k;
    }
    if (hosts)
        ptl_core_wake(core, hosts);
}

void ptl_core_queue_tick(void *ctx)
{
    struct ptl_core *core = ctx;
    if (core->claims && ptl_store_is_ready(core->store))
        (void)!ptl_store_query(core->store, PTL_SQL_queue_hosts, NULL, on_queue_hosts, core);
}

/* ---- what agents say of their attempts ---- */

struct said {
    struct ptl_core *core;
    ptl_core_fn *fn;
    void *ctx;
    int64_t attempt_id;
    json_t *asked; /* heartbeat: what was asked */
    void (*answer)(struct said *s, struct ptl_rows *rows);
};

static void on_said(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct said *s = ctx;
    if (err)
        s->fn(s->ctx, ptl_core_result_of(err), NULL, err);
    else
        s->answer(s, rows);
    json_decref(s->asked);
    free(s);
}

static void say(struct ptl_core *core, enum ptl_sql sql, struct ptl_args *args, int64_t attempt_id,
                json_t *asked, void (*answer_fn)(struct said *, struct ptl_rows *), ptl_core_fn *fn,
                void *ctx)
{
    struct said *s = ptl_xcalloc(1, sizeof(*s));
    *s = (struct said){
        .core = core, .fn = fn, .ctx = ctx, .attempt_id = attempt_id, .asked = asked, .answer = answer_fn};
    if (ptl_store_query(core->store, sql, args, on_said, s) != 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        ptl_error_set(&err, PTL_FULL, "the database queue is full, try again in a moment");
        fn(ctx, PTL_FULL, NULL, &err);
        json_decref(asked);
        free(s);
    }
}

static void stale(struct said *s)
{
    struct ptl_error err = PTL_ERROR_INIT;
    s->core->count.stale++;
    ptl_error_set(&err, -ESTALE,
                  "attempt %lld is not this agent's any more: its lease ran out or the fence is old; drop it",
                  (long long)s->attempt_id);
    s->fn(s->ctx, -ESTALE, NULL, &err);
}

static void started(struct said *s, struct ptl_rows *rows)
{
    if (ptl_rows_count(rows) == 0) {
        stale(s);
        return;
    }
    PTL_JSON *o = json_pack("{s:b,s:I}", "cancel", ptl_str_eq(ptl_row_str(rows, 0, "state"), "cancelling"),
                            "lease_ms", (json_int_t)s->core->o.lease_ms);
    s->fn(s->ctx, 0, o, NULL);
}

void ptl_core_start(struct ptl_core *core, int64_t agent_id, int64_t attempt_id, int64_t fence,
                    ptl_core_fn *fn, void *ctx)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, attempt_id);
    ptl_args_i64(&a, fence);
    ptl_args_i64(&a, agent_id);
    ptl_args_i64(&a, core->o.lease_ms);
    say(core, PTL_SQL_stage_start, &a, attempt_id, NULL, started, fn, ctx);
}

static void beaten(struct said *s, struct ptl_rows *rows)
{
    json_t *cancel = json_array(), *lost = json_array();
    size_t i;
    json_t *asked;
    json_array_foreach(s->asked, i, asked)
    {
        int64_t id = ptl_json_i64(asked, "attempt_id", 0);
        bool held = false;
        for (int row = 0; row < ptl_rows_count(rows); row++) {
            if (ptl_row_i64(rows, row, "attempt_id") != id)
                continue;
            held = true;
            if (ptl_str_eq(ptl_row_str(rows, row, "state"), "cancelling"))
                json_array_append_new(cancel, json_integer(id));
        }
        if (!held)
            json_array_append_new(lost, json_integer(id));
    }
    PTL_JSON *o = json_pack("{s:o,s:o,s:I}", "cancel", cancel, "lost", lost, "lease_ms",
                            (json_int_t)s->core->o.lease_ms);
    s->fn(s->ctx, 0, o, NULL);
}

void ptl_core_heartbeat(struct ptl_core *core, int64_t agent_id, const json_t *attempts, ptl_core_fn *fn,
                        void *ctx)
{
    enum { MOST = 1024 };
    int64_t ids[MOST], fences[MOST];
    size_t n = 0, i;
    json_t *v;
    json_array_foreach((json_t *)attempts, i, v)
    {
        if (n == MOST)
            break;
        ids[n] = ptl_json_i64(v, "attempt_id", 0);
        fences[n++] = ptl_json_i64(v, "fence", 0);
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, agent_id);
    ptl_args_i64_array(&a, ids, n);
    ptl_args_i64_array(&a, fences, n);
    ptl_args_i64(&a, core->o.lease_ms);
    struct ptl_args touch;
    ptl_args_init(&touch);
    ptl_args_i64(&touch, agent_id);
    (void)!ptl_store_query(core->store, PTL_SQL_agent_touch, &touch, NULL, NULL);
    say(core, PTL_SQL_stage_heartbeat, &a, 0, json_deep_copy(attempts), beaten, fn, ctx);
}

static void appended(struct said *s, struct ptl_rows *rows)
{
    if (ptl_rows_count(rows) == 0) {
        stale(s);
        return;
    }
    PTL_JSON *o = json_pack("{s:I,s:b}", "next_offset", (json_int_t)ptl_row_i64(rows, 0, "next_offset"),
                            "full", ptl_row_bool(rows, 0, "full"));
    s->fn(s->ctx, 0, o, NULL);
}

void ptl_core_log_append(struct ptl_core *core, int64_t agent_id, int64_t attempt_id, int64_t fence,
                         int64_t offset, const void *data, size_t len, ptl_core_fn *fn, void *ctx)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, attempt_id);
    ptl_args_i64(&a, fence);
    ptl_args_i64(&a, agent_id);
    ptl_args_i64(&a, offset);
    ptl_args_bytes(&a, len ? data : "", len);
    ptl_args_i64(&a, core->o.log_max_bytes + (1 << 20)); /* the agent's own cut mark fits behind the quota */
    ptl_args_i64(&a, (int64_t)ptl_count_byte(data, len, '\n'));
    core->count.log_bytes += len;
    say(core, PTL_SQL_log_append, &a, attempt_id, NULL, appended, fn, ctx);
}

static void finished(struct said *s, struct ptl_rows *rows)
{
    if (ptl_rows_count(rows) == 0) {
        stale(s);
        return;
    }
    const char *result = ptl_row_str(rows, 0, "result");
    int64_t run_id = ptl_row_i64(rows, 0, "run_id");
    ptl_log_info("run=%lld attempt=%lld: finished (%s), stage is %s", (long long)run_id,
                 (long long)s->attempt_id, result, ptl_row_str(rows, 0, "state"));
    s->core->count.finishes++;
    if (ptl_str_eq(ptl_row_str(rows, 0, "state"), "deciding"))
        ptl_core_diagnose_tick(s->core); /* a person may be looking on */
    ptl_core_run_advance(s->core, run_id);
    PTL_JSON *o = json_pack("{s:s,s:s}", "result", result, "stage_state", ptl_row_str(rows, 0, "state"));
    s->fn(s->ctx, 0, o, NULL);
}

void ptl_core_finish(struct ptl_core *core, int64_t agent_id, int64_t attempt_id, const json_t *r,
                     ptl_core_fn *fn, void *ctx)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_wire_check_result(r, &err) < 0) {
        fn(ctx, -EINVAL, NULL, &err);
        return;
    }
    json_t *report = json_object_get(r, "report");
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, attempt_id);
    ptl_args_i64(&a, ptl_json_i64(r, "fence", 0));
    ptl_args_i64(&a, agent_id);
    ptl_args_bool(&a, ptl_json_flag(r, "ok", false));
    ptl_args_str(&a, ptl_json_str(r, "end_reason", "setup"));
    ptl_args_i64(&a, ptl_json_i64(r, "exit_code", 0));
    ptl_args_i64(&a, ptl_json_i64(r, "signal", 0));
    ptl_args_str(&a, ptl_json_str(r, "message", NULL));
    ptl_args_i64(&a, ptl_json_i64(r, "duration_ms", 0));
    ptl_args_i64(&a, ptl_json_i64(r, "peak_memory_bytes", 0));
    ptl_args_str(&a, ptl_json_str(r, "sandbox", NULL));
    ptl_args_json(&a, json_object_get(r, "environment"));
    ptl_args_json(&a, json_object_get(r, "warnings"));
    ptl_args_json(&a, json_is_null(report) ? NULL : report);
    ptl_args_i64(&a, ptl_json_i64(r, "log_bytes", 0));
    ptl_args_json(&a, json_object_get(r, "artifacts"));
    ptl_args_i64(&a, core->o.losses_max);
    say(core, PTL_SQL_attempt_finish, &a, attempt_id, NULL, finished, fn, ctx);
}

static char *risk_open_text(const json_t *row)
{
    char t[32];
    ptl_duration_format(ptl_json_i64(row, "risk_open_ms", 0), t);
    return ptl_xasprintf(
        "pre-flight looks at its model first, for %s now: the pipeline file lets it go on by "
        "its risk; when that cannot be weighed in time (setting gate-wait), a person is asked",
        t);
}

char *ptl_core_why_text(const json_t *row)
{
    const char *state = ptl_json_str(row, "state", ""), *host = ptl_json_str(row, "host", "?");
    int64_t agents = ptl_json_i64(row, "agents", 0), online = ptl_json_i64(row, "online", 0),
            kind = ptl_json_i64(row, "kind", 0), labelled = ptl_json_i64(row, "labelled", 0),
            equipped = ptl_json_i64(row, "equipped", 0), idle = ptl_json_i64(row, "idle", 0),
            ahead = ptl_json_i64(row, "ahead", 0), hold = ptl_json_i64(row, "hold_ms", 0);
    if (ptl_str_eq(ptl_json_str(row, "run_state", ""), "waiting"))
        return ptl_xasprintf("its run waits for run %s of concurrency group '%s'",
                             ptl_json_str(row, "group_holder", "(none now: it starts next)"),
                             ptl_json_str(row, "concurrency_group", "?"));
    if (ptl_str_eq(state, "waiting") && ptl_json_flag(row, "risk_open", false) &&
        !ptl_json_str(row, "open_needs", NULL))
        return risk_open_text(row);
    if (ptl_str_eq(state, "waiting"))
        return ptl_xasprintf("waits for %s", ptl_json_str(row, "open_needs", "its run to go on"));
    if (ptl_str_eq(state, "gated")) {
        const char *gate = ptl_json_str(row, "gate_why", NULL), *people = ptl_json_str(row, "approvers", "");
        return ptl_xasprintf("waits for %s%s%s: portolan stage approve %lld", *people ? people : "a person",
                             gate ? ", since " : "", gate ? gate : "", (long long)ptl_json_i64(row, "id", 0));
    }
    if (ptl_str_eq(state, "deciding"))
        return ptl_xstrdup("it failed; its diagnosis decides whether it is tried again");
    if (hold > 0) {
        char t[32];
        ptl_duration_format(hold, t);
        return ptl_xasprintf("held back for %s after a failed attempt (%s)", t,
                             ptl_json_str(row, "message", "no message"));
    }
    if (agents == 0)
        return ptl_xasprintf("no agent is enrolled; enrol one of host kind %s (portolan agent enrol)", host);
    if (online == 0)
        return ptl_xasprintf("none of %lld agents is online (no sign of life for 90 s, or draining)",
                             (long long)agents);
    if (kind == 0)
        return ptl_xasprintf("no online agent serves host kind %s (%lld online serve others)", host,
                             (long long)online);
    if (labelled == 0)
        return ptl_xasprintf("no online agent of host kind %s has all its labels", host);
    if (equipped == 0)
        return ptl_xasprintf(
            "no suitable agent has recipe %s with toolchain %s ready (portolan-agent toolchain prepare)",
            ptl_json_str(row, "uses", "-"), ptl_json_str(row, "toolchain", "-"));
    if (idle == 0)
        return ptl_xasprintf("all %lld suitable agents are busy; %lld stages of this host kind are ahead",
                             (long long)equipped, (long long)ahead);
    return ptl_xasprintf("%lld suitable agents are idle: it should be taken within seconds", (long long)idle);
}
