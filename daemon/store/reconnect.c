/* reconnect.c - gets lost connections back. One at a time, the write connection first, on a thread made for
 * the attempt, so that name resolution and a silent host never hold the loop; the thread sees only its job
 * and hands a finished session over. One connection failing holds the others back too: they go to the same
 * server. */
#include "store-private.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

enum { CONNECT_MS = 15000 };

struct job { /* the thread's while running, ours otherwise */
    struct ptl_connect_spec spec;
    struct ptl_sql_info *infos; /* its own copy: the thread writes to it */
    int done_fd;
    PGconn *pg;
    struct ptl_store_error error;
};

struct reconnect {
    struct ptl_store *store;
    struct job job;
    struct conn *conn; /* for whom the thread runs; NULL: no thread */
    pthread_t thread;
    int done_fd, cancel_fd;
    struct event *done;
    struct ptl_timer *again;
    int64_t again_at_ms; /* 0: not set */
    unsigned attempt;
    bool told; /* the loss was logged, so the return is too */
};

static void *attempt_thread(void *arg)
{
    struct job *j = arg;
    if (ptl_connect(&j->spec, &j->pg, &j->error) < 0)
        j->pg = NULL;
    uint64_t one = 1;
    ssize_t ignored PTL_UNUSED = write(j->done_fd, &one, sizeof(one));
    return NULL;
}

static void wait_and_try(struct reconnect *r, const struct ptl_retry_policy *policy)
{
    int64_t delay = ptl_retry_delay_ms(policy, r->attempt++, 0, ptl_retry_random());
    r->again_at_ms = ptl_mono_ms() + delay;
    ptl_timer_after(r->again, delay);
}

static void failed(struct reconnect *r)
{
    const struct ptl_store_error *e = &r->job.error;
    bool retry = ptl_connect_may_retry(e);
    r->store->counters.connect_failures++;
    r->told = true;
    wait_and_try(r, !retry                         ? &ptl_retry_person
                    : e->fate == PTL_FATE_STARTING ? &ptl_retry_starting
                                                   : &ptl_retry_main_loop);
    double in = (double)(r->again_at_ms - ptl_mono_ms()) / 1000;
    unsigned queued = r->store->reads.n + r->store->writes.n + r->store->bulk.n;
    if (retry)
        ptl_log_warning("db: cannot connect: %s; %u queries queued, retrying in %.1f s", e->error.text,
                        queued, in);
    else
        ptl_log_error(
            "db: the server refuses us: %s; somebody must look; %u queries queued, retrying in %.1f s",
            e->error.text, queued, in);
}

static void try_next(struct reconnect *r)
{
    struct ptl_store *s = r->store;
    if (r->conn || s->closing)
        return;
    struct conn *c = ptl_store_next_down(s);
    if (!c) {
        if (r->told)
            ptl_log_info("db: all connections are back, %u queries queued",
                         s->reads.n + s->writes.n + s->bulk.n);
        r->told = false;
        return;
    }
    r->job = (struct job){.infos = r->job.infos, .done_fd = r->done_fd};
    ptl_store_connect_spec(s, c, &r->job.spec);
    memcpy(r->job.infos, s->infos, s->set->n * sizeof(*s->infos));
    r->job.spec.infos = r->job.infos;
    r->job.spec.timeout_ms = CONNECT_MS;
    r->job.spec.cancel_fd = r->cancel_fd;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the loop thread */
    int e = pthread_create(&r->thread, NULL, attempt_thread, &r->job);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e != 0) {
        ptl_error_set(&r->job.error.error, -e, "no thread: %s", strerror(e));
        r->job.error.fate = PTL_FATE_LOST;
        failed(r);
        return;
    }
    r->conn = c;
}

static void on_done(evutil_socket_t fd, short what PTL_UNUSED, void *arg)
{
    struct reconnect *r = arg;
    uint64_t n;
    if (read(fd, &n, sizeof(n)) < 0 || !r->conn)
        return;
    pthread_join(r->thread, NULL);
    struct conn *c = r->conn;
    r->conn = NULL;
    if (!r->job.pg) {
        failed(r);
        return;
    }
    r->attempt = 0;
    r->store->counters.reconnects++;
    ptl_store_conn_up(r->store, c, r->job.pg);
    r->job.pg = NULL;
    try_next(r);
}

static void on_again(void *arg)
{
    struct reconnect *r = arg;
    r->again_at_ms = 0;
    try_next(r);
}

int64_t ptl_reconnect_kick(struct reconnect *r, bool lost)
{
    r->told |= lost;
    if (r->conn)
        return 0;
    if (!r->again_at_ms)
        wait_and_try(r, &ptl_retry_main_loop);
    int64_t left = r->again_at_ms - ptl_mono_ms();
    return left > 0 ? left : 0;
}

bool ptl_reconnect_is_told(const struct reconnect *r)
{
    return r->told;
}

struct reconnect *ptl_reconnect_new(struct ptl_store *store)
{
    struct reconnect *r = ptl_xcalloc(1, sizeof(*r));
    r->store = store;
    r->job.infos = ptl_xcalloc(store->set->n + 1, sizeof(*r->job.infos));
    r->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->again = ptl_timer_new(store->loop, on_again, r);
    if (r->done_fd >= 0)
        r->done = event_new(ptl_store_base(store), r->done_fd, EV_READ | EV_PERSIST, on_done, r);
    if (r->cancel_fd < 0 || !r->done || event_add(r->done, NULL) < 0)
        return ptl_reconnect_free(r);
    return r;
}

struct reconnect *ptl_reconnect_free(struct reconnect *r)
{
    if (!r)
        return NULL;
    if (r->conn) {
        uint64_t one = 1;
        ssize_t ignored PTL_UNUSED = write(r->cancel_fd, &one, sizeof(one));
        pthread_join(r->thread, NULL);
        PQfinish(r->job.pg);
    }
    ptl_timer_free(r->again);
    if (r->done)
        event_free(r->done);
    if (r->done_fd >= 0)
        close(r->done_fd);
    if (r->cancel_fd >= 0)
        close(r->cancel_fd);
    free(r->job.infos);
    free(r);
    return NULL;
}
