/* store-private.h - what the files of the store share. Loop thread only.
 *
 *   unit    what one caller asked: one statement, or a batch. Lives from the call to the answer.
 *   flight  units sent between two sync points of one connection, so one transaction; results come back in
 * order. conn    one session in pipeline mode and its flights. */
#ifndef PORTOLAN_STORE_PRIVATE_H
#define PORTOLAN_STORE_PRIVATE_H
#include "connect.h"
#include "embedded.h"
#include "migrate.h"
#include "pgerror.h"
#include "sql_set.h"
#include "store.h"
#include <portolan/loop.h>

struct event;

struct stmt {
    int sql;
    struct ptl_args args;
    PGresult *res;
};

struct unit {
    struct unit *next;
    struct stmt one, *stmts; /* stmts points at `one`, or at an array of a batch */
    size_t n;
    bool read, bulk, repeatable, is_batch;
    bool alone;      /* the next try shares its transaction with nobody */
    bool maybe_done; /* a @repeatable write whose first answer was lost */
    unsigned losses, conflicts, reruns;
    int64_t asked_us, deadline_ms; /* monotonic */
    size_t bytes;
    ptl_rows_fn *fn;
    ptl_batch_fn *batch_fn;
    void *ctx;
    struct ptl_store_error *error; /* NULL: answered with rows */
};

struct queue {
    struct unit *first, **last;
    unsigned n;
};
void ptl_queue_init(struct queue *q);
void ptl_queue_push(struct queue *q, struct unit *u);
void ptl_queue_push_front(struct queue *q,
                          struct queue *more); /* `more` keeps its order and is empty afterwards */
struct unit *ptl_queue_pop(struct queue *q);

struct flight {
    struct flight *next;
    struct queue units;
    bool write;
    bool sent; /* its sync point has left this process */
    int64_t sent_ms;
    struct unit *unit; /* whose result comes next; NULL: the sync point */
    size_t stmt;       /* which of its statements */
    bool got;          /* that statement's result is here, its end is not */
    unsigned strays;   /* ends without a result, a bounded few are tolerated */
    bool failed;       /* error, of failed_unit or, with that NULL, of the commit */
    struct unit *failed_unit;
    struct ptl_store_error error;
};

struct conn {
    struct ptl_store *store;
    char name[24]; /* for log lines: "write", "bulk", "read 1", "listen" */
    enum ptl_session_role role;
    bool reads, writes, bulk; /* what it takes */
    bool stale;               /* takes nothing new; reconnected when idle */
    bool broken;              /* libpq refused to send; treated as lost at the next event */
    bool unsent;              /* libpq still holds bytes that the socket would not take */
    PGconn *pg;               /* NULL: down */
    struct event *readable, *writable;
    struct flight *first, **last;
    unsigned n_flights, n_write_flights;
    int64_t progress_ms; /* when something last moved */
    char fatal[6];       /* SQLSTATE with which the server took leave */
};

/* conn.c */
void ptl_conn_init(struct conn *c, struct ptl_store *store, enum ptl_session_role role, const char *name);
/* Takes the session over. Negative when the loop refuses its socket; the session is closed then. */
PTL_NODISCARD int ptl_conn_adopt(struct conn *c, PGconn *pg);
void ptl_conn_send(struct conn *c,
                   struct flight *f); /* takes f; a failure comes back as a lost connection, later */
void ptl_conn_close(struct conn *c);  /* no callbacks; its flights stay for the caller to take */
int ptl_conn_flush(struct conn *c);   /* 0, or -EIO: lost */
void ptl_conn_break(struct conn *c);  /* counts as lost, from the next event on */

/* listen.c */
struct listen;
struct listen *ptl_listen_new(struct ptl_store *store);
struct listen *ptl_listen_free(struct listen *l);
struct conn *ptl_listen_conn(struct listen *l);
bool ptl_listen_is_wanted(const struct listen *l);
void ptl_listen_up(struct listen *l); /* its conn was adopted */
int ptl_listen_add(struct listen *l, const char *channel, void (*fn)(void *ctx, const char *payload),
                   void *ctx);
void ptl_listen_readable(struct listen *l); /* results and notifications may have come */

/* reconnect.c: gets lost connections back, one after the other, on a thread of its own */
struct reconnect;
struct reconnect *ptl_reconnect_new(struct ptl_store *store);
struct reconnect *ptl_reconnect_free(
    struct reconnect *r); /* waits for the thread: at most connect_timeout per host */
/* Something is down (`lost`: and was logged as such, so its return is logged too). In how many ms the next
 * try is. */
int64_t ptl_reconnect_kick(struct reconnect *r, bool lost);
bool ptl_reconnect_is_told(const struct reconnect *r); /* a loss was logged and its return was not yet */

/* cluster.c: keeps the private cluster running */
struct cluster;
struct cluster *ptl_cluster_new(struct ptl_store *store, struct ptl_embedded *take);
struct cluster *ptl_cluster_free(struct cluster *c); /* stops it */
pid_t ptl_cluster_pid(const struct cluster *c);

/* store.c */
struct ptl_store {
    struct ptl_loop *loop;
    char *dsn;
    const struct ptl_sql_set *set;
    struct ptl_sql_info *infos;
    unsigned queue_max;
    int64_t statement_timeout_ms, deadline_ms;
    bool closing;
    struct conn *conns; /* [0] takes the writes */
    unsigned n_conns;
    struct listen *listen;
    struct reconnect *reconnect;
    struct cluster *cluster;          /* NULL: somebody else's database */
    struct queue reads, writes, bulk; /* not sent */
    struct queue done;                /* answered, the callers not told */
    unsigned n_units;                 /* all of them, wherever */
    size_t bytes;
    struct event *turn; /* end of this turn of the loop */
    struct ptl_timer *tick;
    bool ticking;
    struct ptl_store_counters counters;
    struct ptl_store_statement_counters *by_statement;
};
void ptl_store_flight_done(struct ptl_store *s, struct conn *c, struct flight *f); /* takes f */
void ptl_store_conn_lost(struct ptl_store *s, struct conn *c, const char *why);
void ptl_store_wake(struct ptl_store *s);              /* deliver and dispatch at the end of this turn */
struct conn *ptl_store_next_down(struct ptl_store *s); /* the most urgent connection that is down, or NULL */
void ptl_store_connect_spec(const struct ptl_store *s, const struct conn *c, struct ptl_connect_spec *ret);
void ptl_store_conn_up(struct ptl_store *s, struct conn *c, PGconn *pg); /* takes pg */
struct event_base *ptl_store_base(struct ptl_store *s);

/* rows.c */
struct ptl_rows *ptl_rows_take(PGresult *res, const char *statement);
/* pgerror.c */
extern const struct ptl_store_error *ptl_store_error_current;
#endif
