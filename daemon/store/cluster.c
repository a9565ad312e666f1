/* cluster.c - keeps the private cluster running while the store is open. Its end is an event on its pidfd; a
 * restart is started from the loop thread (the server dies with the thread that started it) and never waited
 * for: the connections find out by themselves when it is ready. */
#include "store-private.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <event2/event.h>

enum {
    STRAYS_RETRY_MS = 50,
    STEADY_MS = 60000, /* having run that long, the next crash is a new story */
};

struct cluster {
    struct ptl_store *store;
    struct ptl_embedded *embedded;
    struct event *ended;
    struct ptl_timer *restart;
    unsigned attempt;
    int64_t started_ms;
};

static void on_ended(evutil_socket_t fd, short what, void *arg);

static void watch(struct cluster *c)
{
    c->started_ms = ptl_mono_ms();
    c->ended = event_new(ptl_store_base(c->store), ptl_embedded_pidfd(c->embedded), EV_READ, on_ended, c);
    if (!c->ended || event_add(c->ended, NULL) < 0)
        ptl_log_error("private PostgreSQL: its end cannot be watched; restart this program when it dies");
}

static void schedule(struct cluster *c, const char *why)
{
    if (ptl_mono_ms() - c->started_ms > STEADY_MS)
        c->attempt = 0;
    int64_t delay = ptl_retry_delay_ms(&ptl_retry_cluster, c->attempt++, 0, ptl_retry_random());
    ptl_log_warning("private PostgreSQL %s, restarting in %.1f s (time %u)", why, (double)delay / 1000,
                    c->attempt);
    ptl_timer_after(c->restart, delay);
}

static void on_ended(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct cluster *c = arg;
    char how[128];
    if (!ptl_embedded_has_ended(c->embedded, how, sizeof(how))) {
        event_add(c->ended, NULL);
        return;
    }
    event_free(c->ended);
    c->ended = NULL;
    schedule(c, how);
}

static void on_restart(void *arg)
{
    struct cluster *c = arg;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_embedded_launch(c->embedded, &err);
    if (r == PTL_AGAIN) {
        ptl_timer_after(c->restart, STRAYS_RETRY_MS);
    } else if (r < 0) {
        ptl_log_error("%s", err.text);
        schedule(c, "cannot be started");
    } else {
        c->store->counters.cluster_restarts++;
        ptl_log_info("private PostgreSQL: started again, pid %ld", (long)ptl_embedded_pid(c->embedded));
        watch(c);
    }
}

struct cluster *ptl_cluster_new(struct ptl_store *store, struct ptl_embedded *take)
{
    struct cluster *c = ptl_xcalloc(1, sizeof(*c));
    c->store = store;
    c->embedded = take;
    c->restart = ptl_timer_new(store->loop, on_restart, c);
    watch(c);
    return c;
}

struct cluster *ptl_cluster_free(struct cluster *c)
{
    if (!c)
        return NULL;
    if (c->ended)
        event_free(c->ended);
    ptl_timer_free(c->restart);
    ptl_embedded_stop(c->embedded);
    free(c);
    return NULL;
}

pid_t ptl_cluster_pid(const struct cluster *c)
{
    return ptl_embedded_pid(c->embedded);
}
