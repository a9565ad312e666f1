/* pgerror.h - what a SQLSTATE means for us: the code the caller sees, and what happens to the statement. Also
 * the retry policies. Pure. Private to the store. */
#ifndef PORTOLAN_STORE_PGERROR_H
#define PORTOLAN_STORE_PGERROR_H
#include <portolan/base.h>
#include <libpq-fe.h>

enum ptl_pg_fate {
    PTL_FATE_ANSWER, /* the statement's own fault: its caller gets the error */
    PTL_FATE_FINAL,  /* as ANSWER, and trying it apart from its neighbours would only cost again (timeouts) */
    PTL_FATE_RETRY,  /* rolled back through no fault of its own (deadlock, serialization): run it again */
    PTL_FATE_STALE,  /* this connection's prepared statements no longer fit the schema: connect anew, run it
                        again */
    PTL_FATE_LOST,   /* the session is over or will not do writes: connect anew */
    PTL_FATE_STARTING, /* only while connecting: the server is there and says "not yet" */
    PTL_FATE_PERSON,   /* only while connecting: wrong password, no such database, …: somebody must change
                          something */
};

struct ptl_store_error {
    struct ptl_error error; /* first: callbacks get its address */
    char sqlstate[6];
    char constraint[64];
    enum ptl_pg_fate fate;
};

/* Fills e from a failed result or, with res NULL, from the connection's last message. `what` starts the
 * sentence (statement name, "connect"). */
void ptl_pg_error(struct ptl_store_error *e, const char *what, const PGresult *res, const PGconn *conn);
enum ptl_pg_fate ptl_pg_classify(const char *sqlstate, int *ret_code);

/* How long to wait before try number `attempt` (0 is the first one again), jitter in it. `random` is any
 * number. -1: the policy's total is used up, give up. */
struct ptl_retry_policy {
    const char *name;
    int64_t first_ms, max_ms, total_ms; /* total 0: for ever */
    unsigned factor_pct,
        jitter_pct; /* delay grows by factor; a part up to jitter_pct of it is taken off by chance */
};
extern const struct ptl_retry_policy ptl_retry_startup, ptl_retry_main_loop, ptl_retry_starting,
    ptl_retry_person, ptl_retry_cluster;
int64_t ptl_retry_delay_ms(const struct ptl_retry_policy *policy, unsigned attempt, int64_t elapsed_ms,
                           uint32_t random);
uint32_t ptl_retry_random(void);
#endif
