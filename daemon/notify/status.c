/* status.c - takes open statuses from the outbox and posts them, a few at a time.
 *
 * Order and "once": the database gives out only the oldest open row of a sha and context, and the next one
 * when that is settled, so two states of one context are never under way together, whatever number of daemons
 * post. A row that a later one makes pointless is not posted at all: a forge that was away for an hour gets
 * the present state, not the history. An equal repeat is not posted either. A call that was made and whose
 * result was not stored is made again.
 *
 * Woken by NOTIFY (each change of a run's state) and by a timer, which also serves retries. Loop thread only.
 * Leaves out: GitHub's Checks API (needs an App), and limits shared by several projects of one token (each
 * learns of it itself). */
#include "status.h"
#include "call.h"
#include "looker.h"
#include <portolan/clock.h>
#include <portolan/log.h>

enum {
    RUNNING_MAX = 16,   /* calls under way */
    TIMEOUT_MS = 20000, /* of a call: well below the minute for which a row is claimed */
    CONNECT_MS = 5000,
    ANSWER_MAX = 256 << 10,
    PAUSES = 64, /* projects whose forge said "slower"; beyond that the one that ends first is forgotten */
};

struct post {
    struct ptl_notify *notify; /* NULL: nobody waits for it any more */
    struct post *next, **prev;
    struct ptl_http_call *call;
    int64_t id, project_id, run_id, tries;
    char *project, *forge, *token, *what; /* what: "running of ci/portolan/digits at 0123456789ab" */
};

struct ptl_notify {
    struct ptl_core *core;
    struct ptl_looker *looker;
    struct post *posts;
    struct {
        int64_t project_id, until_ms;
    } pauses[PAUSES];
    struct ptl_notify_counters count;
};

/* ---- results ---- */

static const char *const verdicts[] = {
    [PTL_STATUS_SENT] = "sent", [PTL_STATUS_RETRY] = "retry", [PTL_STATUS_GIVE_UP] = "give_up"};

static void store_result(struct ptl_notify *n, int64_t id, const struct ptl_status_outcome *o)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, id);
    ptl_args_str(&a, verdicts[o->verdict]);
    ptl_args_str(&a, o->text[0] ? o->text : NULL);
    ptl_args_i64(&a, o->wait_ms);
    if (ptl_store_query(ptl_core_store(n->core), PTL_SQL_status_result, &a, NULL, NULL) != 0)
        ptl_log_warning(
            "status=%lld: the database queue is full, so its result is not noted; it is posted again in a minute",
            (long long)id);
    ptl_looker_wake(n->looker); /* writes keep their order: the next look sees this one settled */
}

static void pause_project(struct ptl_notify *n, int64_t project_id, int64_t ms)
{
    size_t at = 0;
    for (size_t i = 0; i < PAUSES; i++) {
        if (n->pauses[i].project_id == project_id) {
            at = i;
            break;
        }
        if (n->pauses[i].until_ms < n->pauses[at].until_ms)
            at = i;
    }
    n->pauses[at].project_id = project_id;
    n->pauses[at].until_ms = ptl_mono_ms() + ms;
}

static int64_t pause_left_ms(const struct ptl_notify *n, int64_t project_id)
{
    for (size_t i = 0; i < PAUSES; i++)
        if (n->pauses[i].project_id == project_id && n->pauses[i].until_ms > ptl_mono_ms())
            return n->pauses[i].until_ms - ptl_mono_ms();
    return 0;
}

static void settle(struct ptl_notify *n, const struct post *p, const struct ptl_status_outcome *o)
{
    char wait[32];
    switch (o->verdict) {
    case PTL_STATUS_SENT:
        n->count.posted++;
        ptl_log_debug("project=%s run=%lld: posted %s%s%s", p->project, (long long)p->run_id, p->what,
                      o->text[0] ? ": " : "", o->text);
        break;
    case PTL_STATUS_RETRY:
        n->count.retries++;
        ptl_duration_format(o->wait_ms, wait);
        ptl_log_warning("project=%s run=%lld: could not post %s (try %lld), again in %s: %s", p->project,
                        (long long)p->run_id, p->what, (long long)p->tries, wait, o->text);
        break;
    case PTL_STATUS_GIVE_UP:
        n->count.given_up++;
        ptl_log_error("project=%s run=%lld: gave up posting %s: %s", p->project, (long long)p->run_id,
                      p->what, o->text);
        break;
    }
    if (o->pause_ms > 0)
        pause_project(n, p->project_id, o->pause_ms);
    store_result(n, p->id, o);
}

/* ---- one post ---- */

static void post_free(struct post *p)
{
    if (p->prev) {
        *p->prev = p->next;
        if (p->next)
            p->next->prev = p->prev;
        p->notify->count.running--;
    }
    if (p->token)
        explicit_bzero(p->token, strlen(p->token));
    free(p->token);
    free(p->project);
    free(p->forge);
    free(p->what);
    free(p);
}

static void on_answer(void *ctx, int result, const struct ptl_http_answer *a, const struct ptl_error *err)
{
    struct post *p = ctx;
    if (p->notify) {
        struct ptl_status_outcome o;
        ptl_status_judge(p->forge, result, a, err, p->tries, ptl_wall_ms() / 1000, ptl_notify_dice(),
                         p->token, &o);
        settle(p->notify, p, &o);
    }
    post_free(p);
}

static void start(struct ptl_notify *n, struct post *p, const struct ptl_status *s)
{
    struct ptl_status_call c;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_status_outcome o = {.verdict = PTL_STATUS_GIVE_UP};
    int r = ptl_status_call_make(s, ptl_core_options_of(n->core)->allow_private_addresses, &c, &err);
    if (r == 0) {
        struct ptl_http_request req = {.method = "POST",
                                       .url = c.url,
                                       .headers = (const char *const *)c.headers,
                                       .body = c.body,
                                       .body_len = strlen(c.body),
                                       .timeout_ms = TIMEOUT_MS,
                                       .connect_timeout_ms = CONNECT_MS,
                                       .max_answer_bytes = ANSWER_MAX};
        r = ptl_http_start(ptl_core_http(n->core), &req, on_answer, p, &p->call);
        ptl_status_call_done(&c);
        if (r == 0) {
            p->next = n->posts;
            if (p->next)
                p->next->prev = &p->next;
            p->prev = &n->posts;
            n->posts = p;
            n->count.running++;
            return;
        }
        o.verdict = PTL_STATUS_RETRY;
        o.wait_ms = ptl_status_backoff_ms(1, ptl_notify_dice());
        ptl_error_set(&err, r, "this daemon has too many calls under way");
    }
    ptl_status_explain(&o, "%s", err.text);
    settle(n, p, &o);
    post_free(p);
}

/* True when the forge shows just this for this run already. GitLab refuses to enter an open state twice,
 * whatever the words. */
static bool is_repeat(struct ptl_rows *rows, int row, const char *forge)
{
    if (ptl_row_null(rows, row, "last_run_id") ||
        ptl_row_i64(rows, row, "last_run_id") != ptl_row_i64(rows, row, "run_id"))
        return false;
    const char *state = ptl_row_str(rows, row, "state"), *last = ptl_row_str(rows, row, "last_state");
    const char *spelled = ptl_status_spelling(forge, state);
    if (!spelled || !ptl_str_eq(spelled, ptl_status_spelling(forge, last)))
        return false;
    if (ptl_str_eq(forge, "gitlab") && (ptl_str_eq(spelled, "pending") || ptl_str_eq(spelled, "running")))
        return true;
    PTL_FREE char *text = ptl_status_text(forge, state, ptl_row_str(rows, row, "description"));
    PTL_FREE char *before = ptl_status_text(forge, last, ptl_row_str(rows, row, "last_description"));
    return ptl_str_eq(text, before);
}

/* Settles what needs no call; true when it did. */
static bool settle_without_call(struct ptl_notify *n, struct ptl_rows *rows, int row)
{
    int64_t id = ptl_row_i64(rows, row, "id"), pause = pause_left_ms(n, ptl_row_i64(rows, row, "project_id"));
    const char *forge = ptl_row_str(rows, row, "status_forge");
    struct ptl_status_outcome o = {.verdict = PTL_STATUS_GIVE_UP};
    if (!forge) {
        ptl_status_explain(&o, "the project names no forge any more");
    } else if (!ptl_row_null(rows, row, "newer_id")) {
        ptl_status_explain(&o, "not posted: overtaken by status %lld of the same commit and context",
                           (long long)ptl_row_i64(rows, row, "newer_id"));
    } else if (is_repeat(rows, row, forge)) {
        o.verdict = PTL_STATUS_SENT;
        ptl_status_explain(&o, "not posted: the forge shows it already");
    } else if (pause > 0) {
        o.verdict = PTL_STATUS_RETRY;
        o.wait_ms = pause + ptl_notify_dice() % 1000;
        ptl_status_explain(&o, "waits until the forge's limit for this project is lifted");
        store_result(n, id, &o);
        return true;
    } else {
        return false;
    }
    n->count.skipped++;
    store_result(n, id, &o);
    return true;
}

static void post_row(struct ptl_notify *n, struct ptl_rows *rows, int row)
{
    if (settle_without_call(n, rows, row))
        return;
    struct post *p = ptl_xcalloc(1, sizeof(*p));
    p->notify = n;
    p->id = ptl_row_i64(rows, row, "id");
    p->project_id = ptl_row_i64(rows, row, "project_id");
    p->run_id = ptl_row_i64(rows, row, "run_id");
    p->tries = ptl_row_i64(rows, row, "tries");
    p->project = ptl_xstrdup(ptl_row_str(rows, row, "project"));
    p->forge = ptl_xstrdup(ptl_row_str(rows, row, "status_forge"));
    p->what = ptl_xasprintf("'%s' of %s at %.12s", ptl_row_str(rows, row, "state"),
                            ptl_row_str(rows, row, "context"), ptl_row_str(rows, row, "sha"));
    size_t len;
    const void *sealed = ptl_row_bytes(rows, row, "status_token", &len);
    PTL_BUF plain = PTL_BUF_MAX(1 << 20);
    if (sealed && ptl_unseal(n->core, "status_token", sealed, len, &plain) == 0) {
        p->token = ptl_xstrdup(ptl_buf_str(&plain));
        explicit_bzero(plain.data, plain.len);
    } else if (sealed) {
        ptl_log_error(
            "project=%s: its status_token does not open with this daemon's secret.key; set it again",
            p->project);
    }
    struct ptl_status s = {.forge = p->forge,
                           .url = ptl_row_str(rows, row, "status_url"),
                           .repo = ptl_row_str(rows, row, "status_repo"),
                           .token = p->token,
                           .sha = ptl_row_str(rows, row, "sha"),
                           .ref = ptl_row_str(rows, row, "ref"),
                           .context = ptl_row_str(rows, row, "context"),
                           .state = ptl_row_str(rows, row, "state"),
                           .description = ptl_row_str(rows, row, "description"),
                           .public_url = ptl_core_options_of(n->core)->public_url,
                           .run_id = p->run_id};
    start(n, p, &s);
}

/* ---- looking ---- */

static unsigned room(void *ctx)
{
    const struct ptl_notify *n = ctx;
    return n->count.running >= RUNNING_MAX ? 0 : RUNNING_MAX - (unsigned)n->count.running;
}

static void on_rows(void *ctx, struct ptl_rows *rows)
{
    for (int i = 0; i < ptl_rows_count(rows); i++)
        post_row(ctx, rows, i);
}

struct ptl_notify *ptl_notify_new(struct ptl_core *core)
{
    static const struct ptl_looker_for statuses = {.what = "statuses to post",
                                                   .channel = "ptl_status",
                                                   .claim = PTL_SQL_status_claim,
                                                   .room = room,
                                                   .rows = on_rows};
    struct ptl_notify *n = ptl_xcalloc(1, sizeof(*n));
    n->core = core;
    n->looker = ptl_looker_new(core, &statuses, n);
    return n->looker ? n : ptl_notify_free(n);
}

struct ptl_notify *ptl_notify_free(struct ptl_notify *n)
{
    if (!n)
        return NULL;
    ptl_looker_free(n->looker);
    while (n->posts) { /* each frees itself when its call is answered or cancelled */
        struct post *p = n->posts;
        n->posts = p->next;
        p->notify = NULL;
        p->prev = NULL;
    }
    free(n);
    return NULL;
}

void ptl_notify_counters(const struct ptl_notify *n, struct ptl_notify_counters *ret)
{
    *ret = n->count;
}
