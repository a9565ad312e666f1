/* conn.c - one PostgreSQL session in pipeline mode on the loop: sends flights, matches results to statements
 * in order, says when a flight is whole or the connection is lost. It decides nothing about retries; store.c
 * does. */
#include "store-private.h"
#include <portolan/clock.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>

enum { STRAY_ENDS_MAX = 4 };

void ptl_conn_init(struct conn *c, struct ptl_store *store, enum ptl_session_role role, const char *name)
{
    memset(c, 0, sizeof(*c));
    c->store = store;
    c->role = role;
    c->last = &c->first;
    snprintf(c->name, sizeof(c->name), "%s", name);
}

static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_readable(evutil_socket_t fd, short what, void *arg);

/* What the server says outside any statement; a farewell carries the reason of the coming loss. */
static void on_notice(void *arg, const PGresult *res)
{
    struct conn *c = arg;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (state && severity && (strcmp(severity, "FATAL") == 0 || ptl_str_starts(state, "57P")))
        snprintf(c->fatal, sizeof(c->fatal), "%s", state);
}

int ptl_conn_adopt(struct conn *c, PGconn *pg)
{
    struct event_base *base = ptl_store_base(c->store);
    c->readable = event_new(base, PQsocket(pg), EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(base, PQsocket(pg), EV_WRITE, on_writable, c);
    c->pg = pg;
    c->stale = c->broken = c->unsent = false;
    c->fatal[0] = 0;
    c->progress_ms = ptl_mono_ms();
    PQsetNoticeReceiver(pg, on_notice, c);
    if (!c->readable || !c->writable || event_add(c->readable, NULL) < 0) {
        ptl_conn_close(c);
        return -ENOMEM;
    }
    return 0;
}

void ptl_conn_close(struct conn *c)
{
    if (c->readable)
        event_free(c->readable);
    if (c->writable)
        event_free(c->writable);
    c->readable = c->writable = NULL;
    if (c->pg)
        PQfinish(c->pg);
    c->pg = NULL;
}

/* ---- sending
 * --------------------------------------------------------------------------------------------------- */

/* The other end is gone. libpq swallows a failed write and reports success, so whether something was sent is
 * only known by looking first: what is written after this says true reaches nobody. */
static bool is_hung_up(const struct conn *c)
{
    struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLRDHUP};
    return p.fd < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)));
}

int ptl_conn_flush(struct conn *c)
{
    if (c->unsent && is_hung_up(c))
        return -EIO;
    int unsent = PQflush(c->pg);
    if (unsent < 0)
        return -EIO;
    c->unsent = unsent > 0;
    if (unsent > 0)
        return event_add(c->writable, NULL) < 0 ? -EIO : 0;
    for (struct flight *f = c->first; f; f = f->next)
        f->sent = true;
    return 0;
}

static int send_stmt(struct conn *c, const struct stmt *st)
{
    const char *values[PTL_ARGS_MAX];
    int lengths[PTL_ARGS_MAX], formats[PTL_ARGS_MAX];
    const struct ptl_args *a = &st->args;
    for (int i = 0; i < a->n; i++) {
        values[i] = a->v[i].null ? NULL : a->buf.data + a->v[i].offset;
        lengths[i] = (int)a->v[i].len;
        formats[i] = a->v[i].binary;
    }
    return PQsendQueryPrepared(c->pg, c->store->set->v[st->sql].name, a->n, values, lengths, formats, 0)
               ? 0
               : -EIO;
}

static int send_flight(struct conn *c, struct flight *f)
{
    if (is_hung_up(c))
        return -EIO;
    for (struct unit *u = f->units.first; u; u = u->next)
        for (size_t i = 0; i < u->n; i++)
            if (send_stmt(c, &u->stmts[i]) < 0)
                return -EIO;
    /* PQpipelineSync flushes too; what it could not send, the second flush sees. */
    return PQpipelineSync(c->pg) ? ptl_conn_flush(c) : -EIO;
}

void ptl_conn_send(struct conn *c, struct flight *f)
{
    f->next = NULL;
    f->unit = f->units.first;
    f->sent_ms = ptl_mono_ms();
    if (!c->first)
        c->progress_ms = f->sent_ms;
    *c->last = f;
    c->last = &f->next;
    c->n_flights++;
    c->n_write_flights += f->write;
    if (send_flight(c, f) < 0)
        ptl_conn_break(c);
}

/* Not lost from here: the caller is in the middle of handing out work. The event comes at once. */
void ptl_conn_break(struct conn *c)
{
    c->broken = true;
    event_active(c->readable, EV_READ, 0);
}

static void on_writable(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct conn *c = arg;
    c->progress_ms = ptl_mono_ms();
    if (ptl_conn_flush(c) < 0)
        ptl_store_conn_lost(c->store, c, PQerrorMessage(c->pg));
}

/* ---- receiving
 * ------------------------------------------------------------------------------------------------- */

static void next_stmt(struct flight *f)
{
    f->got = false;
    if (++f->stmt < f->unit->n)
        return;
    f->stmt = 0;
    f->unit = f->unit->next;
}

static void note_error(struct conn *c, struct flight *f, const PGresult *res)
{
    if (f->failed)
        return; /* the first one is the cause */
    f->failed = true;
    f->failed_unit = f->unit;
    const char *name = f->unit ? c->store->set->v[f->unit->stmts[f->stmt].sql].name : "commit";
    ptl_pg_error(&f->error, name, res, c->pg);
    if (c->role == PTL_SESSION_READ && strcmp(f->error.sqlstate, "25006") == 0)
        f->error.fate = PTL_FATE_ANSWER; /* a statement that says @read and writes; the server is well */
}

/* The result of a statement or its end (NULL). 0, or -EPROTO when it fits nothing. */
static int take_stmt_result(struct conn *c, struct flight *f, PGresult *res)
{
    if (!res) {
        if (f->got)
            next_stmt(f);
        else if (++f->strays > STRAY_ENDS_MAX)
            return -EPROTO;
        return 0;
    }
    struct stmt *st = &f->unit->stmts[f->stmt];
    switch (PQresultStatus(res)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        PQclear(st->res);
        st->res = res;
        f->got = true;
        return 0;
    case PGRES_PIPELINE_ABORTED:
        f->got = true;
        PQclear(res);
        return 0;
    case PGRES_FATAL_ERROR:
    case PGRES_NONFATAL_ERROR:
        /* Behind a whole result and before its end: libpq does not do that today. If it comes, it speaks of
         * the commit or of the session, and taking it for the statement's own would call a commit undone. */
        if (f->got && !f->failed && f->stmt + 1 == f->unit->n && !f->unit->next)
            f->unit = NULL;
        note_error(c, f, res);
        f->got = true;
        PQclear(res);
        return 0;
    default:
        PQclear(res);
        return -EPROTO;
    }
}

/* 1 when the flight is whole, 0, or -EPROTO. */
static int take_sync(struct conn *c, struct flight *f, PGresult *res)
{
    ExecStatusType status = res ? PQresultStatus(res) : PGRES_EMPTY_QUERY;
    if (status == PGRES_FATAL_ERROR)
        note_error(c, f, res);
    PQclear(res);
    if (status == PGRES_PIPELINE_SYNC)
        return 1;
    if (status == PGRES_FATAL_ERROR || !res)
        return ++f->strays > STRAY_ENDS_MAX ? -EPROTO : 0;
    return -EPROTO;
}

static int take(struct conn *c, struct flight *f, PGresult *res)
{
    return f->unit ? take_stmt_result(c, f, res) : take_sync(c, f, res);
}

/* Hands every whole flight on. Negative: the stream makes no sense any more, or the connection broke. */
static int pump(struct conn *c)
{
    while (c->first && !PQisBusy(c->pg)) {
        struct flight *f = c->first;
        PGresult *res = PQgetResult(c->pg);
        int r = take(c, f, res);
        if (r < 0)
            return r;
        if (r == 1) {
            c->first = f->next;
            if (!c->first)
                c->last = &c->first;
            c->n_flights--;
            c->n_write_flights -= f->write;
            ptl_store_flight_done(c->store, c, f);
        }
        if (PQstatus(c->pg) == CONNECTION_BAD && !res)
            return -EIO; /* what had been buffered is read */
    }
    if (!c->first)
        (void)PQisBusy(c->pg); /* parses what came unasked: a farewell goes to on_notice() */
    return PQstatus(c->pg) == CONNECTION_BAD ? -EIO : 0;
}

static void on_readable(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct conn *c = arg;
    c->progress_ms = ptl_mono_ms();
    bool alive = PQconsumeInput(c->pg) && !c->broken;
    if (c->role == PTL_SESSION_PLAIN)
        ptl_listen_readable(c->store->listen);
    else if (pump(c) < 0) /* also after a failed read: the server's last words may be in the buffer */
        alive = false;
    if (!alive || c->broken || ptl_conn_flush(c) < 0)
        ptl_store_conn_lost(c->store, c, PQerrorMessage(c->pg));
}
