/* listen.c - notifications on a session of their own, so that no transaction delays them. Every (re)connect
 * and every new channel sends LISTEN for all channels again (harmless twice); those not yet told get one
 * empty payload when it is in force, because what was sent before is lost. */
#include "store-private.h"
#include <portolan/log.h>
#include <stdio.h>

struct channel {
    struct channel *next;
    char name[64];
    void (*fn)(void *ctx, const char *payload);
    void *ctx;
    bool sent, told; /* LISTEN is on its way on this session; in force and said so */
};

struct listen {
    struct ptl_store *store;
    struct conn conn;
    struct channel *first, **last;
    bool busy; /* a LISTEN command is running */
};

struct listen *ptl_listen_new(struct ptl_store *store)
{
    struct listen *l = ptl_xcalloc(1, sizeof(*l));
    l->store = store;
    l->last = &l->first;
    ptl_conn_init(&l->conn, store, PTL_SESSION_PLAIN, "listen");
    return l;
}

struct listen *ptl_listen_free(struct listen *l)
{
    if (!l)
        return NULL;
    ptl_conn_close(&l->conn);
    while (l->first) {
        struct channel *next = l->first->next;
        free(l->first);
        l->first = next;
    }
    free(l);
    return NULL;
}

struct conn *ptl_listen_conn(struct listen *l)
{
    return &l->conn;
}

bool ptl_listen_is_wanted(const struct listen *l)
{
    return l->first != NULL;
}

static void send_listens(struct listen *l)
{
    PTL_BUF sql = PTL_BUF_INIT;
    if (l->busy || !l->conn.pg)
        return;
    for (struct channel *c = l->first; c; c = c->next)
        if (!c->sent) {
            ptl_buf_printf(&sql, "LISTEN \"%s\";", c->name); /* the name was checked: no quote in it */
            c->sent = true;
        }
    if (sql.len == 0)
        return;
    l->busy = true;
    if (sql.failed || !PQsendQuery(l->conn.pg, sql.data) || ptl_conn_flush(&l->conn) < 0)
        ptl_conn_break(&l->conn);
}

void ptl_listen_up(struct listen *l)
{
    l->busy = false;
    for (struct channel *c = l->first; c; c = c->next)
        c->sent = c->told = false;
    send_listens(l);
}

int ptl_listen_add(struct listen *l, const char *channel, void (*fn)(void *ctx, const char *payload),
                   void *ctx)
{
    size_t n = strlen(channel);
    if (n == 0 || n > 63 || strspn(channel, "abcdefghijklmnopqrstuvwxyz0123456789_") != n)
        return -EINVAL;
    struct channel *c = ptl_xcalloc(1, sizeof(*c));
    memcpy(c->name, channel, n);
    c->fn = fn;
    c->ctx = ctx;
    *l->last = c;
    l->last = &c->next;
    send_listens(l);
    return 0;
}

static void tell_in_force(struct listen *l)
{
    /* A callback may add a channel at the end of the list; it is not `sent` yet, and so is left out here. */
    for (struct channel *c = l->first; c; c = c->next)
        if (c->sent && !c->told) {
            c->told = true;
            c->fn(c->ctx, "");
        }
}

void ptl_listen_readable(struct listen *l)
{
    PGconn *pg = l->conn.pg;
    while (l->busy && !PQisBusy(pg)) {
        PGresult *res = PQgetResult(pg);
        if (!res) {
            l->busy = false;
            if (PQstatus(pg) == CONNECTION_OK)
                tell_in_force(l);
            break;
        }
        if (PQresultStatus(res) == PGRES_FATAL_ERROR && PQstatus(pg) == CONNECTION_OK) {
            ptl_log_error("db: LISTEN failed: %s", PQresultErrorMessage(res));
            for (struct channel *c = l->first; c; c = c->next)
                c->sent = c->told; /* those not in force are sent again with the next connection */
        }
        PQclear(res);
    }
    for (PGnotify *n; (n = PQnotifies(pg)) != NULL; PQfreemem(n)) {
        l->store->counters.notifications++;
        for (struct channel *c = l->first; c; c = c->next)
            if (c->told && strcmp(c->name, n->relname) == 0)
                c->fn(c->ctx, n->extra);
    }
    send_listens(l);
}
