/* store.c - what callers hand in, where it waits, which connection gets it, and what becomes of it when
 * things go wrong.
 *
 * Three queues wait: reads, writes, bulk writes. At the end of each turn of the loop the store tells callers
 * what is answered, then sends: each read as a transaction of its own to the read connection with the least
 * to do; writes as one group, one transaction, on the one connection of their lane, and never a second group
 * before the first is committed. So writes keep their order whatever fails, and the more comes in during one
 * commit the more shares the next.
 *
 * Loop thread only. Connections come back by reconnect.c; the private server is kept alive by cluster.c. */
#include "store-private.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>

enum {
    CONNECTIONS_DEFAULT = 4,
    QUEUE_DEFAULT = 10000,
    QUEUE_BYTES_MAX = 256 << 20, /* parameters of all that waits; log chunks are up to 1 MiB each */
    STATEMENT_TIMEOUT_DEFAULT_MS = 10000,
    DEADLINE_DEFAULT_MS = 30000,
    GROUP_STATEMENTS_MAX =
        256, /* measured gain flattens at about 100 a transaction; 256 bounds what one failure repeats */
    GROUP_BYTES_MAX =
        4 << 20,       /* about 40 ms of WAL on a plain disk: how long a claim may stand behind a group */
    READ_DEPTH = 4,    /* reads in flight on one connection */
    READ_SLOW_MS = 20, /* nothing more is put behind a read that already takes longer */
    LOSSES_MAX = 3,    /* tries that ended with the connection; then the statement itself is suspected */
    CONFLICTS_MAX = 5, /* deadlocks and serialization failures of one unit before its caller hears of it */
    RERUNS_MAX = 3,    /* how often a neighbour's failure may repeat a unit in company; then it goes alone */
    TICK_MS = 250,
    SILENCE_MS = 5000, /* above statement_timeout: the server should have spoken by itself */
};

const int64_t ptl_store_latency_bound_us[PTL_STORE_LATENCY_BUCKETS] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 500000, 1000000, 10000000, INT64_MAX,
};

/* ---- queues
 * ---------------------------------------------------------------------------------------------------- */

void ptl_queue_init(struct queue *q)
{
    *q = (struct queue){.last = &q->first};
}

void ptl_queue_push(struct queue *q, struct unit *u)
{
    u->next = NULL;
    *q->last = u;
    q->last = &u->next;
    q->n++;
}

struct unit *ptl_queue_pop(struct queue *q)
{
    struct unit *u = q->first;
    if (!u)
        return NULL;
    q->first = u->next;
    if (!q->first)
        q->last = &q->first;
    u->next = NULL;
    q->n--;
    return u;
}

void ptl_queue_push_front(struct queue *q, struct queue *more)
{
    if (!more->first)
        return;
    *more->last = q->first;
    if (!q->first)
        q->last = more->last;
    q->first = more->first;
    q->n += more->n;
    ptl_queue_init(more);
}

static struct queue *queue_of(struct ptl_store *s, const struct unit *u)
{
    return u->read ? &s->reads : u->bulk ? &s->bulk : &s->writes;
}

/* ---- units
 * ----------------------------------------------------------------------------------------------------- */

static void clear_results(struct unit *u)
{
    for (size_t i = 0; i < u->n; i++) {
        PQclear(u->stmts[i].res);
        u->stmts[i].res = NULL;
    }
}

static void free_unit(struct unit *u)
{
    clear_results(u);
    for (size_t i = 0; i < u->n; i++)
        ptl_args_done(&u->stmts[i].args);
    if (u->stmts != &u->one)
        free(u->stmts);
    free(u->error);
    free(u);
}

/* Its answer is an error. */
static void fail_unit(struct ptl_store *s, struct unit *u, const struct ptl_store_error *e)
{
    clear_results(u);
    if (!u->error)
        u->error = ptl_xcalloc(1, sizeof(*u->error));
    *u->error = *e;
    ptl_queue_push(&s->done, u);
}

static const char *name_of(const struct ptl_store *s, const struct unit *u)
{
    return u->n == 0 ? "empty batch" : s->set->v[u->stmts[0].sql].name;
}

static void fail_text(struct ptl_store *s, struct unit *u, int code, const char *text)
{
    struct ptl_store_error e = {0};
    ptl_error_set(&e.error, code, "%s: %s", name_of(s, u), text);
    fail_unit(s, u, &e);
}

static void fail_unknown(struct ptl_store *s, struct unit *u, const char *why)
{
    struct ptl_store_error e = {0};
    s->counters.unknown++;
    ptl_error_set(
        &e.error, -ECONNRESET,
        "%s: outcome unknown: the connection was lost before the answer (%s); it may or may not be in force",
        name_of(s, u), why);
    fail_unit(s, u, &e);
}

/* ---- telling the callers
 * --------------------------------------------------------------------------------------- */

static void count_answer(struct ptl_store *s, const struct unit *u)
{
    int64_t us = ptl_mono_us() - u->asked_us;
    struct ptl_store_counters *c = &s->counters;
    int bucket = 0;
    while (us > ptl_store_latency_bound_us[bucket])
        bucket++;
    c->latency[bucket]++;
    c->latency_sum_us += (uint64_t)us;
    c->statements += u->n;
    c->failed += u->error ? u->n : 0;
    for (size_t i = 0; i < u->n; i++) {
        struct ptl_store_statement_counters *b = &s->by_statement[u->stmts[i].sql];
        b->count++;
        b->failed += u->error != NULL;
        b->sum_us += (uint64_t)us;
        if ((uint64_t)us > b->max_us)
            b->max_us = (uint64_t)us;
    }
}

static void tell_batch(struct ptl_store *s, struct unit *u)
{
    struct ptl_rows **rows = NULL;
    if (!u->error) {
        rows = ptl_xcalloc(u->n + 1, sizeof(struct ptl_rows *));
        for (size_t i = 0; i < u->n; i++)
            rows[i] = ptl_rows_take(PTL_TAKE(u->stmts[i].res), s->set->v[u->stmts[i].sql].name);
    }
    if (u->batch_fn)
        u->batch_fn(u->ctx, rows, rows ? u->n : 0, u->error ? &u->error->error : NULL);
    for (size_t i = 0; rows && i < u->n; i++)
        ptl_rows_unref(rows[i]);
    free(rows);
}

static void tell_one(struct ptl_store *s, struct unit *u)
{
    struct ptl_rows *rows = NULL;
    if (!u->error)
        rows = ptl_rows_take(PTL_TAKE(u->one.res), s->set->v[u->one.sql].name);
    if (u->fn)
        u->fn(u->ctx, rows, u->error ? &u->error->error : NULL);
    ptl_rows_unref(rows);
}

static void tell(struct ptl_store *s, struct unit *u)
{
    count_answer(s, u);
    s->n_units--;
    s->bytes -= u->bytes;
    if (u->error && !u->fn && !u->batch_fn && u->error->error.code != -ECANCELED)
        ptl_log_warning("db: %s; nobody waits for this answer", u->error->error.text);
    ptl_store_error_current = u->error;
    if (u->is_batch)
        tell_batch(s, u);
    else
        tell_one(s, u);
    ptl_store_error_current = NULL;
    free_unit(u);
}

static void tell_all(struct ptl_store *s)
{
    for (struct unit *u; (u = ptl_queue_pop(&s->done)) != NULL;)
        tell(s, u);
}

/* ---- sending
 * --------------------------------------------------------------------------------------------------- */

static struct flight *new_flight(bool write)
{
    struct flight *f = ptl_xcalloc(1, sizeof(*f));
    ptl_queue_init(&f->units);
    f->write = write;
    return f;
}

/* As many waiting writes as may share one transaction. */
static struct flight *form_group(struct queue *q)
{
    struct flight *f = new_flight(true);
    size_t statements = 0, bytes = 0;
    for (struct unit *u; (u = q->first) != NULL;) {
        bool fits =
            statements + u->n <= GROUP_STATEMENTS_MAX && bytes + u->bytes <= GROUP_BYTES_MAX && !u->alone;
        if (f->units.first && !fits)
            break;
        ptl_queue_push(&f->units, ptl_queue_pop(q));
        statements += u->n;
        bytes += u->bytes;
        if (u->alone)
            break;
    }
    return f;
}

static void send_writes(struct ptl_store *s, struct conn *c, struct queue *q)
{
    if (q->first && c->pg && !c->stale && !c->broken && c->n_write_flights == 0)
        ptl_conn_send(c, form_group(q));
    (void)s;
}

static struct conn *reader(struct ptl_store *s, int64_t now)
{
    struct conn *best = NULL;
    for (unsigned i = 0; i < s->n_conns; i++) {
        struct conn *c = &s->conns[i];
        if (!c->reads || !c->pg || c->stale || c->broken || c->n_flights >= READ_DEPTH)
            continue;
        if (c->first && now - c->first->sent_ms > READ_SLOW_MS)
            continue;
        if (!best || c->n_flights < best->n_flights)
            best = c;
    }
    return best;
}

static void send_reads(struct ptl_store *s)
{
    int64_t now = ptl_mono_ms();
    for (struct conn *c; s->reads.first && (c = reader(s, now)) != NULL;) {
        struct flight *f = new_flight(false);
        ptl_queue_push(&f->units, ptl_queue_pop(&s->reads));
        ptl_conn_send(c, f);
    }
}

/* Sessions whose plans no longer fit, or whose server no longer takes writes, are closed once they owe
 * nothing. */
static void drop_stale(struct ptl_store *s)
{
    for (unsigned i = 0; i < s->n_conns; i++) {
        struct conn *c = &s->conns[i];
        if (c->stale && c->pg && !c->first) {
            ptl_conn_close(c);
            c->stale = false;
            ptl_reconnect_kick(s->reconnect, true);
        }
    }
}

static void on_turn(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct ptl_store *s = arg;
    tell_all(s);
    drop_stale(s);
    for (unsigned i = 0; i < s->n_conns; i++) {
        struct conn *c = &s->conns[i];
        if (c->writes)
            send_writes(s, c, c->bulk ? &s->bulk : &s->writes);
    }
    send_reads(s);
}

void ptl_store_wake(struct ptl_store *s)
{
    /* An event of the same priority as sockets, appended to what is active now: it runs when this turn's
     * other events have run, and cannot be starved by the next turn's. Not ptl_loop_defer(): this one can be
     * taken back at close. */
    event_active(s->turn, EV_TIMEOUT, 0);
}

/* ---- what came back
 * -------------------------------------------------------------------------------------------- */

static bool again_after_conflict(struct unit *u)
{
    u->alone = true;
    return ++u->conflicts <= CONFLICTS_MAX;
}

/* A flight that failed as a whole (rolled back, every unit of it): who is to blame is answered, the others go
 * again in their old order. */
static void settle_failed(struct ptl_store *s, struct conn *c, struct flight *f)
{
    struct unit *blamed = f->failed_unit;
    bool first = blamed && blamed == f->units.first, single = f->units.n == 1;
    enum ptl_pg_fate fate = f->error.fate;
    bool session = fate == PTL_FATE_STALE || fate == PTL_FATE_LOST;
    if (session && !c->stale) {
        c->stale = true;
        ptl_log_info("db: connection %s made anew: %s", c->name, f->error.error.text);
    }
    struct queue back;
    ptl_queue_init(&back);
    struct queue *q = f->units.first ? queue_of(s, f->units.first) : NULL;
    for (struct unit *u; (u = ptl_queue_pop(&f->units)) != NULL;) {
        bool answer;
        if (session)
            answer = ++u->losses > LOSSES_MAX;
        else if (fate == PTL_FATE_RETRY ||
                 !blamed) /* a failed commit names nobody: each shows alone what it does */
            answer = single && !(fate == PTL_FATE_RETRY && again_after_conflict(u));
        else
            answer = u == blamed && (single || first || fate == PTL_FATE_FINAL);
        if (answer) {
            fail_unit(s, u, &f->error);
            continue;
        }
        clear_results(u);
        if (u == blamed || fate == PTL_FATE_RETRY || !blamed || ++u->reruns >= RERUNS_MAX)
            u->alone = true;
        s->counters.reruns++;
        ptl_queue_push(&back, u);
    }
    if (q)
        ptl_queue_push_front(q, &back);
}

void ptl_store_flight_done(struct ptl_store *s, struct conn *c, struct flight *f)
{
    s->counters.transactions += f->write;
    if (f->failed)
        settle_failed(s, c, f);
    else
        for (struct unit *u; (u = ptl_queue_pop(&f->units)) != NULL;)
            ptl_queue_push(&s->done, u);
    free(f);
    ptl_store_wake(s);
}

/* Not in force for sure: its sync point never left us, or the server took leave before the last result. */
static bool is_not_done(const struct flight *f)
{
    return !f->write || !f->sent || (f->failed && f->failed_unit && f->error.sqlstate[0]);
}

static void settle_lost(struct ptl_store *s, struct flight *f, struct queue *back, const char *why)
{
    bool not_done = is_not_done(f);
    for (struct unit *u; (u = ptl_queue_pop(&f->units)) != NULL;) {
        clear_results(u);
        u->losses += f->sent;
        if (!not_done && !u->repeatable) {
            fail_unknown(s, u, why);
            continue;
        }
        u->maybe_done |= !not_done;
        if (u->losses > LOSSES_MAX) {
            if (u->maybe_done)
                fail_unknown(s, u, why);
            else
                fail_text(s, u, -EIO, "the connection was lost each time it ran; not done");
            continue;
        }
        u->alone = u->losses > 1; /* if it is what kills the server, its neighbours shall not pay */
        s->counters.reruns++;
        ptl_queue_push(back, u);
    }
    free(f);
}

void ptl_store_conn_lost(struct ptl_store *s, struct conn *c, const char *why)
{
    char reason[160], first_line[120];
    snprintf(first_line, sizeof(first_line), "%.*s", (int)strcspn(why, "\n"), why);
    if (!c->fatal[0] && c->first && c->first->failed)
        snprintf(c->fatal, sizeof(c->fatal), "%s", c->first->error.sqlstate);
    if (c->fatal[0])
        snprintf(reason, sizeof(reason), "SQLSTATE %s", c->fatal);
    else
        snprintf(reason, sizeof(reason), "%s", *first_line ? first_line : "closed");
    struct flight *f = c->first;
    c->first = NULL;
    c->last = &c->first;
    c->n_flights = c->n_write_flights = 0;
    c->stale = c->broken = false;
    ptl_conn_close(c);

    struct queue reads, writes, bulk;
    ptl_queue_init(&reads);
    ptl_queue_init(&writes);
    ptl_queue_init(&bulk);
    while (f) {
        struct flight *next = f->next;
        struct unit *u = f->units.first;
        settle_lost(s, f, u && u->read ? &reads : u && u->bulk ? &bulk : &writes, reason);
        f = next;
    }
    ptl_queue_push_front(&s->reads, &reads);
    ptl_queue_push_front(&s->writes, &writes);
    ptl_queue_push_front(&s->bulk, &bulk);
    /* One outage, one warning; the other connections' losses are details of it. */
    enum ptl_log_level level = ptl_reconnect_is_told(s->reconnect) ? PTL_LOG_DEBUG : PTL_LOG_WARNING;
    int64_t in_ms = ptl_reconnect_kick(s->reconnect, true);
    ptl_log(level, "db: lost connection %s (%s), %u queries queued, retrying in %.2f s", c->name, reason,
            s->reads.n + s->writes.n + s->bulk.n, (double)in_ms / 1000);
    ptl_store_wake(s);
}

/* ---- deadlines
 * ------------------------------------------------------------------------------------------------- */

static void expire(struct ptl_store *s, struct queue *q, int64_t now)
{
    /* One deadline for all, so the head is the oldest; what was put back in front is older still. */
    while (q->first && q->first->deadline_ms <= now) {
        struct unit *u = ptl_queue_pop(q);
        char text[96];
        s->counters.expired++;
        snprintf(text, sizeof(text), "waited %lld ms for the database, nothing was done",
                 (long long)(now - u->asked_us / 1000));
        if (u->maybe_done)
            fail_unknown(s, u, "and no connection came back in time to repeat it");
        else
            fail_text(s, u, -ETIMEDOUT, text);
    }
}

static void on_tick(void *arg)
{
    struct ptl_store *s = arg;
    int64_t now = ptl_mono_ms();
    expire(s, &s->reads, now);
    expire(s, &s->writes, now);
    expire(s, &s->bulk, now);
    for (unsigned i = 0; i < s->n_conns; i++) {
        struct conn *c = &s->conns[i];
        if (c->pg && c->first && now - c->progress_ms > s->statement_timeout_ms + SILENCE_MS)
            ptl_store_conn_lost(s, c, "silent past statement_timeout");
    }
    if (s->n_units == 0) {
        ptl_timer_stop(s->tick);
        s->ticking = false;
    }
    ptl_store_wake(s); /* also: a slow read may have ended the pause behind it */
}

/* ---- handing in
 * ------------------------------------------------------------------------------------------------ */

static void add_stmt(struct ptl_store *s, struct unit *u, struct stmt *st, int sql, struct ptl_args *args)
{
    const struct ptl_sql_info *info = &s->infos[sql];
    st->sql = sql;
    st->res = NULL;
    if (args)
        st->args = *args; /* owned now; args->buf must not be freed by the caller */
    else
        ptl_args_init(&st->args);
    u->bytes += st->args.buf.len;
    if (!info->read) {
        u->bulk = (u->read || u->bulk) && info->bulk;
        u->repeatable = (u->read || u->repeatable) && info->repeatable;
        u->read = false;
    }
}

/* -EINVAL and so on with text: it cannot run at all. */
static int check_stmt(const struct ptl_store *s, const struct stmt *st, struct ptl_error *err)
{
    const char *name = s->set->v[st->sql].name;
    int wanted = s->infos[st->sql].n_params;
    if (st->args.failed == -EILSEQ)
        return ptl_error_set(err, -EINVAL, "%s: a text parameter holds a NUL byte", name);
    if (st->args.failed)
        return ptl_error_set(err, -EINVAL, "%s: parameters cannot be built: %s", name,
                             strerror(-st->args.failed));
    if (wanted >= 0 && st->args.n != wanted)
        return ptl_error_set(err, -EINVAL, "%s: takes %d parameters, got %d", name, wanted, st->args.n);
    return 0;
}

static struct unit *new_unit(void)
{
    struct unit *u = ptl_xcalloc(1, sizeof(*u));
    u->stmts = &u->one;
    u->read = true; /* until a write is added */
    u->bytes = sizeof(*u);
    return u;
}

static int hand_in(struct ptl_store *s, struct unit *u)
{
    if (s->closing || s->n_units >= s->queue_max || s->bytes + u->bytes > QUEUE_BYTES_MAX) {
        s->counters.full++;
        free_unit(u);
        return PTL_FULL;
    }
    s->n_units++;
    s->bytes += u->bytes;
    u->asked_us = ptl_mono_us();
    u->deadline_ms = u->asked_us / 1000 + s->deadline_ms;
    if (s->n_conns < 3)
        u->bulk = false;
    struct ptl_store_error bad = {0};
    for (size_t i = 0; i < u->n && bad.error.code == 0; i++)
        (void)check_stmt(s, &u->stmts[i], &bad.error);
    if (bad.error.code)
        fail_unit(s, u, &bad);
    else
        ptl_queue_push(u->n ? queue_of(s, u) : &s->done, u);
    if (!s->ticking) {
        s->ticking = true;
        ptl_timer_every(s->tick, TICK_MS);
    }
    ptl_store_wake(s);
    return 0;
}

static int checked_sql(const struct ptl_store *s, int sql)
{
    if (sql < 0 || (size_t)sql >= s->set->n) {
        ptl_log_error("db: statement number %d does not exist", sql);
        abort();
    }
    return sql;
}

int ptl_store_query(struct ptl_store *s, enum ptl_sql sql, struct ptl_args *args, ptl_rows_fn *fn, void *ctx)
{
    struct unit *u = new_unit();
    u->n = 1;
    u->fn = fn;
    u->ctx = ctx;
    add_stmt(s, u, &u->one, checked_sql(s, (int)sql), args);
    return hand_in(s, u);
}

struct ptl_batch {
    struct ptl_store *store;
    struct unit *unit;
    size_t cap;
    bool too_many;
};

struct ptl_batch *ptl_batch_new(struct ptl_store *store)
{
    struct ptl_batch *b = ptl_xcalloc(1, sizeof(*b));
    b->store = store;
    b->unit = new_unit();
    b->unit->is_batch = true;
    return b;
}

struct ptl_batch *ptl_batch_free(struct ptl_batch *batch)
{
    if (batch && batch->unit)
        free_unit(batch->unit);
    free(batch);
    return NULL;
}

void ptl_batch_add(struct ptl_batch *b, enum ptl_sql sql, struct ptl_args *args)
{
    struct unit *u = b->unit;
    if (u->n >= PTL_BATCH_MAX) {
        b->too_many = true;
        if (args)
            ptl_args_done(args);
        return;
    }
    if (u->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 8;
        struct stmt *more = ptl_xcalloc(b->cap, sizeof(*more));
        memcpy(more, u->stmts, u->n * sizeof(*more));
        if (u->stmts != &u->one)
            free(u->stmts);
        u->stmts = more;
        u->bytes += b->cap * sizeof(*more) / 2;
    }
    add_stmt(b->store, u, &u->stmts[u->n], checked_sql(b->store, (int)sql), args);
    u->n++;
}

size_t ptl_batch_count(const struct ptl_batch *batch)
{
    return batch->unit->n;
}

int ptl_batch_run(struct ptl_batch *b, ptl_batch_fn *fn, void *ctx)
{
    struct unit *u = PTL_TAKE(b->unit);
    if (b->too_many && u->n > 0) /* check_stmt() tells the caller, later, as any other failure */
        u->stmts[0].args.failed = -E2BIG;
    u->batch_fn = fn;
    u->ctx = ctx;
    struct ptl_store *s = b->store;
    free(b);
    return hand_in(s, u);
}

/* ---- connections, as reconnect.c sees them
 * ---------------------------------------------------------------------- */

struct event_base *ptl_store_base(struct ptl_store *s)
{
    return ptl_loop_base(s->loop);
}

struct conn *ptl_store_next_down(struct ptl_store *s)
{
    for (unsigned i = 0; i < s->n_conns; i++)
        if (!s->conns[i].pg)
            return &s->conns[i];
    struct conn *l = ptl_listen_conn(s->listen);
    return ptl_listen_is_wanted(s->listen) && !l->pg ? l : NULL;
}

void ptl_store_connect_spec(const struct ptl_store *s, const struct conn *c, struct ptl_connect_spec *ret)
{
    *ret = (struct ptl_connect_spec){
        .dsn = s->dsn,
        .role = c->role,
        .set = s->set,
        .infos = s->infos,
        .statement_timeout_ms = s->statement_timeout_ms,
        .cancel_fd = -1,
    };
}

void ptl_store_conn_up(struct ptl_store *s, struct conn *c, PGconn *pg)
{
    if (ptl_conn_adopt(c, pg) < 0) {
        ptl_log_error("db: connection %s: the event loop refuses its socket", c->name);
        ptl_reconnect_kick(s->reconnect, true);
        return;
    }
    if (c == ptl_listen_conn(s->listen))
        ptl_listen_up(s->listen);
    ptl_store_wake(s);
}

int ptl_store_listen(struct ptl_store *s, const char *channel, void (*fn)(void *ctx, const char *payload),
                     void *ctx)
{
    int r = ptl_listen_add(s->listen, channel, fn, ctx);
    if (r == 0 && !ptl_listen_conn(s->listen)->pg)
        ptl_reconnect_kick(s->reconnect, false);
    return r;
}

/* ---- open and close
 * -------------------------------------------------------------------------------------------- */

static int parse_infos(struct ptl_store *s, struct ptl_error *err)
{
    s->infos = ptl_xcalloc(s->set->n + 1, sizeof(*s->infos));
    s->by_statement = ptl_xcalloc(s->set->n + 1, sizeof(*s->by_statement));
    for (size_t i = 0; i < s->set->n; i++) {
        s->by_statement[i].name = s->set->v[i].name;
        int r = ptl_sql_info_parse(&s->set->v[i], &s->infos[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Refused here, without quoting it: libpq's own message would, and there may be a password in it. */
static int check_dsn(const char *dsn, struct ptl_error *err)
{
    char *message = NULL;
    PQconninfoOption *o = PQconninfoParse(dsn, &message);
    bool plain_name = dsn[0] && !strpbrk(dsn, "=:/ "); /* libpq takes it as the name of a database */
    PQfreemem(message);
    if (!o && !plain_name)
        return ptl_error_set(err, -EINVAL,
                             "the database's connection string cannot be read (not shown, it may hold a "
                             "password): expected \"host=… dbname=… user=…\" or "
                             "\"postgresql://user@host/dbname\"");
    for (PQconninfoOption *p = o; p && p->keyword; p++)
        if (strcmp(p->keyword, "password") == 0 && p->val && strlen(p->val) >= 4)
            (void)ptl_log_mask(p->val);
    PQconninfoFree(o);
    return 0;
}

static int start_cluster(const struct ptl_store_options *o, struct ptl_embedded **ret, struct ptl_error *err)
{
    if (!o->state_dir)
        return ptl_error_set(err, -EINVAL, "store: neither a database nor a state directory was given");
    struct ptl_embedded_options eo = {.state_dir = o->state_dir, .settings = o->postgres_settings};
    return ptl_embedded_start(&eo, ret, err);
}

/* Waits, under the startup policy, until the database lets us in at all. */
static int wait_for_database(const char *dsn, struct ptl_error *err)
{
    int64_t started = ptl_mono_ms();
    unsigned refused = 0;
    for (unsigned attempt = 0;; attempt++) {
        struct ptl_connect_spec spec = {
            .dsn = dsn, .role = PTL_SESSION_PLAIN, .timeout_ms = 15000, .cancel_fd = -1};
        struct ptl_store_error e;
        PGconn *pg = NULL;
        int r = ptl_connect(&spec, &pg, &e);
        PQfinish(pg);
        if (r == 0)
            return 0;
        refused += !ptl_connect_may_retry(&e); /* once may be a server that just got ready */
        int64_t delay =
            ptl_retry_delay_ms(&ptl_retry_startup, attempt, ptl_mono_ms() - started, ptl_retry_random());
        if (delay < 0 || refused > 1) {
            if (err)
                *err = e.error;
            return e.error.code;
        }
        ptl_log_warning("db: %s; retrying in %.1f s", e.error.text, (double)delay / 1000);
        (void)poll(NULL, 0, (int)delay);
    }
}

static void name_conns(struct ptl_store *s)
{
    for (unsigned i = 0; i < s->n_conns; i++) {
        char name[24];
        bool write = i == 0, bulk = i == 1 && s->n_conns >= 3;
        if (write || bulk)
            snprintf(name, sizeof(name), "%s", write ? "write" : "bulk");
        else
            snprintf(name, sizeof(name), "read %u", i - (s->n_conns >= 3));
        struct conn *c = &s->conns[i];
        ptl_conn_init(c, s, write || bulk ? PTL_SESSION_WRITE : PTL_SESSION_READ, name);
        c->writes = write || bulk;
        c->bulk = bulk;
        c->reads = !c->writes || s->n_conns == 1;
    }
}

static int connect_all(struct ptl_store *s, struct ptl_error *err)
{
    for (unsigned i = 0; i < s->n_conns; i++) {
        struct ptl_connect_spec spec;
        struct ptl_store_error e;
        PGconn *pg = NULL;
        ptl_store_connect_spec(s, &s->conns[i], &spec);
        spec.timeout_ms = 15000;
        int r = ptl_connect(&spec, &pg, &e);
        if (r < 0) {
            if (err)
                *err = e.error;
            return r;
        }
        if (ptl_conn_adopt(&s->conns[i], pg) < 0)
            return ptl_error_set(err, -ENOMEM, "store: the event loop refuses a socket");
    }
    return 0;
}

static struct ptl_store *new_store(struct ptl_loop *loop, const struct ptl_store_options *o)
{
    struct ptl_store *s = ptl_xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->set = o->statements ? o->statements : &ptl_sql_builtin;
    s->queue_max = o->queue_max ? o->queue_max : QUEUE_DEFAULT;
    s->statement_timeout_ms =
        o->statement_timeout_ms > 0 ? o->statement_timeout_ms : STATEMENT_TIMEOUT_DEFAULT_MS;
    s->deadline_ms = o->deadline_ms > 0 ? o->deadline_ms : DEADLINE_DEFAULT_MS;
    s->n_conns = o->connections ? o->connections : CONNECTIONS_DEFAULT;
    if (s->n_conns > 64)
        s->n_conns = 64;
    s->conns = ptl_xcalloc(s->n_conns, sizeof(*s->conns));
    name_conns(s);
    ptl_queue_init(&s->reads);
    ptl_queue_init(&s->writes);
    ptl_queue_init(&s->bulk);
    ptl_queue_init(&s->done);
    s->listen = ptl_listen_new(s);
    s->tick = ptl_timer_new(loop, on_tick, s);
    s->turn = event_new(ptl_store_base(s), -1, 0, on_turn, s);
    return s;
}

int ptl_store_open(struct ptl_loop *loop, const struct ptl_store_options *o, struct ptl_store **ret,
                   struct ptl_error *err)
{
    if (!PQisthreadsafe())
        return ptl_error_set(err, -EINVAL, "store: this libpq was built without threads");
    struct ptl_embedded *embedded = NULL;
    struct ptl_store *s = new_store(loop, o);
    int r = s->turn ? parse_infos(s, err) : ptl_error_set(err, -ENOMEM, "store: out of memory");
    if (r == 0 && !o->dsn && (r = start_cluster(o, &embedded, err)) == 0)
        s->cluster = ptl_cluster_new(s, embedded);
    if (r == 0) {
        s->dsn = ptl_xstrdup(o->dsn ? o->dsn : ptl_embedded_dsn(embedded));
        r = check_dsn(s->dsn, err);
    }
    if (r == 0)
        r = wait_for_database(s->dsn, err);
    if (r == 0 && !o->no_migrate)
        r = ptl_migrate(s->dsn, o->migrations, NULL, err);
    if (r == 0 && !(s->reconnect = ptl_reconnect_new(s)))
        r = ptl_error_set(err, -ENOMEM, "store: out of memory or descriptors");
    if (r == 0)
        r = connect_all(s, err);
    if (r < 0) {
        ptl_store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void cancel_all(struct ptl_store *s, struct queue *q)
{
    for (struct unit *u; (u = ptl_queue_pop(q)) != NULL;)
        fail_text(s, u, -ECANCELED, "the store is closing");
}

struct ptl_store *ptl_store_close(struct ptl_store *s)
{
    if (!s)
        return NULL;
    s->closing = true;
    ptl_reconnect_free(s->reconnect);
    ptl_listen_free(s->listen);
    for (unsigned i = 0; i < s->n_conns; i++) {
        struct conn *c = &s->conns[i];
        ptl_conn_close(c);
        for (struct flight *f = c->first, *next; f; f = next) {
            next = f->next;
            cancel_all(s, &f->units);
            free(f);
        }
    }
    cancel_all(s, &s->reads);
    cancel_all(s, &s->writes);
    cancel_all(s, &s->bulk);
    tell_all(s);
    ptl_cluster_free(s->cluster);
    if (s->turn)
        event_free(s->turn);
    ptl_timer_free(s->tick);
    free(s->conns);
    free(s->infos);
    free(s->by_statement);
    free(s->dsn);
    free(s);
    return NULL;
}

int ptl_store_migrate(const struct ptl_store_options *o, struct ptl_error *err)
{
    struct ptl_embedded *embedded = NULL;
    int r = o->dsn ? check_dsn(o->dsn, err) : start_cluster(o, &embedded, err);
    const char *dsn = embedded ? ptl_embedded_dsn(embedded) : o->dsn;
    if (r == 0)
        r = wait_for_database(dsn, err);
    if (r == 0)
        r = ptl_migrate(dsn, o->migrations, NULL, err);
    ptl_embedded_stop(embedded);
    return r;
}

bool ptl_store_is_ready(const struct ptl_store *s)
{
    return s->conns[0].pg && !s->conns[0].stale && !s->conns[0].broken;
}

const char *ptl_store_dsn(const struct ptl_store *s)
{
    return s->dsn;
}

void ptl_store_counters(const struct ptl_store *s, struct ptl_store_counters *ret)
{
    *ret = s->counters;
    ret->queued = s->reads.n + s->writes.n + s->bulk.n;
    ret->running = s->n_units - ret->queued - s->done.n;
    ret->queued_bytes = s->bytes;
    ret->connections = s->n_conns;
    for (unsigned i = 0; i < s->n_conns; i++)
        ret->connected += s->conns[i].pg != NULL;
    ret->listening = ptl_listen_conn(s->listen)->pg != NULL;
}

void ptl_store_statement_counters(const struct ptl_store *s, enum ptl_sql sql,
                                  struct ptl_store_statement_counters *ret)
{
    *ret = s->by_statement[checked_sql(s, (int)sql)];
}
