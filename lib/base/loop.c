/* loop.c - one libevent loop and one pool of worker threads. The loop thread owns every object here but the
 * two queues, which a mutex guards; finished work wakes the loop through an eventfd. */
#include <portolan/clock.h>
#include <portolan/log.h>
#include <portolan/loop.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

struct deferred {
    void (*fn)(void *ctx);
    void *ctx;
    struct deferred *next;
};

struct ptl_loop {
    struct event_base *base;
    struct event *term, *intr, *wake, *defer_event;
    void (*term_fn)(void *ctx);
    void *term_ctx;
    bool term_seen;
    struct deferred *deferred_first, **deferred_last;
    /* pool */
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t threads[64];
    unsigned n_threads, queue_max, waiting, running;
    bool closing;
    int wake_fd;
    struct ptl_work *todo_first, **todo_last;
    struct ptl_work *finished_first, **finished_last;
};

static void *worker(void *arg)
{
    struct ptl_loop *loop = arg;
    pthread_mutex_lock(&loop->lock);
    for (;;) {
        while (!loop->todo_first && !loop->closing)
            pthread_cond_wait(&loop->more, &loop->lock);
        struct ptl_work *w = loop->todo_first;
        if (!w)
            break;
        loop->todo_first = w->next;
        if (!loop->todo_first)
            loop->todo_last = &loop->todo_first;
        w->next = NULL;
        loop->waiting--;
        loop->running++;
        bool cancelled = loop->closing;
        pthread_mutex_unlock(&loop->lock);
        if (cancelled)
            w->result = -ECANCELED;
        else
            w->run(w);
        pthread_mutex_lock(&loop->lock);
        loop->running--;
        *loop->finished_last = w;
        loop->finished_last = &w->next;
        uint64_t one = 1;
        ssize_t ignored PTL_UNUSED =
            write(loop->wake_fd, &one, sizeof(one)); /* full counter: already awake */
    }
    pthread_mutex_unlock(&loop->lock);
    return NULL;
}

static void run_finished(struct ptl_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct ptl_work *w = loop->finished_first;
    loop->finished_first = NULL;
    loop->finished_last = &loop->finished_first;
    pthread_mutex_unlock(&loop->lock);
    while (w) {
        struct ptl_work *next = w->next;
        w->next = NULL;
        w->done(w);
        w = next;
    }
}

static void on_wake(evutil_socket_t fd, short what PTL_UNUSED, void *arg)
{
    uint64_t n;
    ssize_t ignored PTL_UNUSED = read(fd, &n, sizeof(n));
    run_finished(arg);
}

static void on_signal(evutil_socket_t sig, short what PTL_UNUSED, void *arg)
{
    struct ptl_loop *loop = arg;
    if (loop->term_fn && !loop->term_seen) {
        loop->term_seen = true;
        ptl_log_info("signal %d: stopping gracefully; a second one stops at once", (int)sig);
        loop->term_fn(loop->term_ctx);
        return;
    }
    ptl_log_info("signal %d: stopping", (int)sig);
    event_base_loopbreak(loop->base);
}

static void run_deferred(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct ptl_loop *loop = arg;
    struct deferred *d = loop->deferred_first; /* what a callback defers anew waits for the next turn */
    loop->deferred_first = NULL;
    loop->deferred_last = &loop->deferred_first;
    while (d) {
        struct deferred *next = d->next;
        d->fn(d->ctx);
        free(d);
        d = next;
    }
}

void ptl_loop_defer(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct deferred *d = ptl_xcalloc(1, sizeof(*d));
    d->fn = fn;
    d->ctx = ctx;
    bool first = loop->deferred_first == NULL;
    *loop->deferred_last = d;
    loop->deferred_last = &d->next;
    if (first)
        event_active(loop->defer_event, EV_TIMEOUT, 0); /* behind all that is ready now */
}

void ptl_loop_undefer(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct deferred **at = &loop->deferred_first;
    while (*at) {
        struct deferred *d = *at;
        if (d->fn == fn && d->ctx == ctx) {
            *at = d->next;
            free(d);
        } else {
            at = &d->next;
        }
    }
    loop->deferred_last = at;
}

struct ptl_loop *ptl_loop_new(unsigned threads, unsigned queue_max)
{
    signal(SIGPIPE, SIG_IGN);
    evthread_use_pthreads();
    struct ptl_loop *loop = ptl_xcalloc(1, sizeof(*loop));
    loop->todo_last = &loop->todo_first;
    loop->finished_last = &loop->finished_first;
    loop->deferred_last = &loop->deferred_first;
    loop->queue_max = queue_max;
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->more, NULL);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->base = event_base_new();
    if (loop->wake_fd < 0 || !loop->base || event_base_priority_init(loop->base, 3) < 0)
        goto fail;
    loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    loop->term = evsignal_new(loop->base, SIGTERM, on_signal, loop);
    loop->intr = evsignal_new(loop->base, SIGINT, on_signal, loop);
    loop->defer_event = event_new(loop->base, -1, 0, run_deferred, loop);
    if (!loop->wake || !loop->term || !loop->intr || !loop->defer_event)
        goto fail;
    event_priority_set(loop->defer_event,
                       1); /* the default one: a lower one would starve under steady traffic */
    event_priority_set(loop->term, 0);
    event_priority_set(loop->intr, 0);
    event_add(loop->wake, NULL);
    event_add(loop->term, NULL);
    event_add(loop->intr, NULL);
    if (threads < 1)
        threads = 1;
    if (threads > PTL_ARRAY_LEN(loop->threads))
        threads = PTL_ARRAY_LEN(loop->threads);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the loop thread */
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&loop->threads[i], NULL, worker, loop) != 0)
            break;
        loop->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (loop->n_threads == 0)
        goto fail;
    return loop;
fail:
    ptl_log_error("loop: the system refused an event loop or a thread: %s", strerror(errno));
    return ptl_loop_free(loop);
}

void ptl_loop_finish_work(struct ptl_loop *loop)
{
    if (!loop)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->closing = true;
    pthread_cond_broadcast(&loop->more);
    pthread_mutex_unlock(&loop->lock);
    for (unsigned i = 0; i < loop->n_threads; i++)
        pthread_join(loop->threads[i], NULL);
    loop->n_threads = 0;
    run_finished(loop);
}

struct ptl_loop *ptl_loop_free(struct ptl_loop *loop)
{
    if (!loop)
        return NULL;
    ptl_loop_finish_work(loop);
    while (loop->deferred_first && loop->base)
        run_deferred(-1, 0, loop);
    struct event *events[] = {loop->wake, loop->term, loop->intr, loop->defer_event};
    for (size_t i = 0; i < PTL_ARRAY_LEN(events); i++)
        if (events[i])
            event_free(events[i]);
    if (loop->base)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    pthread_cond_destroy(&loop->more);
    free(loop);
    return NULL;
}

struct event_base *ptl_loop_base(struct ptl_loop *loop)
{
    return loop->base;
}

int ptl_loop_run(struct ptl_loop *loop)
{
    return event_base_dispatch(loop->base) < 0 ? -EIO : 0;
}

void ptl_loop_stop(struct ptl_loop *loop)
{
    event_base_loopbreak(loop->base);
}

void ptl_loop_on_term(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    loop->term_fn = fn;
    loop->term_ctx = ctx;
}

int ptl_loop_submit(struct ptl_loop *loop, struct ptl_work *w)
{
    pthread_mutex_lock(&loop->lock);
    if (loop->closing || loop->waiting >= loop->queue_max) {
        pthread_mutex_unlock(&loop->lock);
        return PTL_FULL;
    }
    w->next = NULL;
    w->result = 0;
    *loop->todo_last = w;
    loop->todo_last = &w->next;
    loop->waiting++;
    pthread_cond_signal(&loop->more);
    pthread_mutex_unlock(&loop->lock);
    return 0;
}

void ptl_loop_work_counts(const struct ptl_loop *loop, unsigned *ret_waiting, unsigned *ret_running)
{
    pthread_mutex_lock((pthread_mutex_t *)&loop->lock);
    *ret_waiting = loop->waiting;
    *ret_running = loop->running;
    pthread_mutex_unlock((pthread_mutex_t *)&loop->lock);
}

struct ptl_timer {
    struct event *ev;
    void (*fn)(void *ctx);
    void *ctx;
    int64_t every_ms;
};

static void arm(struct ptl_timer *t, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    event_add(t->ev, &tv);
}

static void on_timer(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct ptl_timer *t = arg;
    if (t->every_ms)
        arm(t, t->every_ms);
    t->fn(t->ctx); /* last: it may free t */
}

struct ptl_timer *ptl_timer_new(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct ptl_timer *t = ptl_xcalloc(1, sizeof(*t));
    t->fn = fn;
    t->ctx = ctx;
    t->ev = evtimer_new(loop->base, on_timer, t);
    if (!t->ev)
        abort();
    return t;
}

struct ptl_timer *ptl_timer_free(struct ptl_timer *t)
{
    if (t) {
        event_free(t->ev);
        free(t);
    }
    return NULL;
}

void ptl_timer_after(struct ptl_timer *t, int64_t ms)
{
    t->every_ms = 0;
    arm(t, ms < 0 ? 0 : ms);
}

void ptl_timer_every(struct ptl_timer *t, int64_t ms)
{
    t->every_ms = ms < 1 ? 1 : ms;
    arm(t, t->every_ms);
}

void ptl_timer_stop(struct ptl_timer *t)
{
    t->every_ms = 0;
    event_del(t->ev);
}
