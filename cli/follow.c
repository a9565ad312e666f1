/* follow.c - event streams that survive breaks. A stream is opened again where it stopped (Last-Event-ID);
 * each connection is renewed after two minutes, because a peer that vanished without a word (a sleeping
 * laptop, a forgotten NAT entry) would else never be noticed. cli_watch runs one on a thread of its own and
 * only says that something happened. */
#include "cli.h"
#include <portolan/clock.h>
#include <portolan/wire.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { RENEW_S = 120, PAUSE_MIN_MS = 250, PAUSE_MAX_MS = 5000 };

static atomic_int renew_now; /* set by SIGALRM: one stream a process */
static atomic_int stop_now;  /* set by cli_watch_free */

static void on_alarm(int sig)
{
    (void)sig;
    renew_now = 1;
}

struct follow {
    ptl_client_event_fn *fn;
    void *ctx;
    char last_id[128];
    bool stopped, moved;
};

static int on_event(void *ctx, const char *id, const char *event, const char *data, size_t len)
{
    struct follow *f = ctx;
    int r = f->fn(f->ctx, id, event, data, len);
    if (r) {
        f->stopped = true;
        return r;
    }
    if (*id)
        snprintf(f->last_id, sizeof(f->last_id), "%s", id);
    f->moved = true;
    return 0;
}

void cli_pause(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

int cli_follow(struct cli *c, const char *path, int64_t retry_ms, ptl_client_event_fn *fn, void *ctx)
{
    struct follow f = {.fn = fn, .ctx = ctx};
    struct sigaction sa = {.sa_handler = on_alarm};
    int64_t broken_since = 0, pause = PAUSE_MIN_MS;
    int r = cli_settle(c);
    if (r)
        return r;
    sigaction(SIGALRM, &sa, NULL);
    for (;;) {
        struct ptl_error err = PTL_ERROR_INIT;
        renew_now = 0;
        f.moved = false;
        alarm(RENEW_S);
        int64_t began = ptl_mono_ms();
        r = ptl_client_events(c->client, path, f.last_id, on_event, &f, &renew_now, &err);
        alarm(0);
        if (f.stopped || stop_now)
            return 0;
        if (r == PTL_ABSENT && err.code == PTL_ABSENT)
            return cli_api_failed(c, r, 404, &err);
        if (r == -EPERM || r == -EINVAL)
            return cli_api_failed(c, r, r == -EPERM ? 401 : 422, &err);
        int64_t now = ptl_mono_ms();
        if (renew_now || f.moved ||
            (r == PTL_ABSENT && now - began > PAUSE_MAX_MS)) { /* it worked until now */
            broken_since = 0;
            pause = PAUSE_MIN_MS;
            if (renew_now)
                continue;
        }
        if (!broken_since) {
            broken_since = now;
            if (retry_ms > 0 && r != PTL_ABSENT)
                cli_note(c, "connection lost (%s); trying again", err.text);
        }
        if (now + pause - broken_since > retry_ms) {
            if (r == PTL_ABSENT)
                ptl_error_set(&err, -EIO, "the server ends the stream each time");
            return cli_api_failed(c, r, 0, &err);
        }
        cli_pause(pause);
        pause = pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause * 2;
    }
}

struct cli_watch {
    struct cli *c;
    char *path;
    int64_t retry_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool happened, ended;
    int result;
};

/* {"kind":"run","data":{"state":"green"},…}: nothing follows, so that the thread need not be interrupted. */
static bool run_ended(const char *event, const char *data, size_t len)
{
    enum ptl_run_state state;
    PTL_JSON *j = NULL;
    if (!ptl_str_eq(event, "run") || ptl_json_parse(data, len, "event", &j, NULL) < 0)
        return false;
    const char *name = ptl_json_str(json_object_get(j, "data"), "state", "");
    return ptl_run_state_parse(name, &state) == 0 && ptl_run_state_is_final(state);
}

static int on_happened(void *ctx, const char *id, const char *event, const char *data, size_t len)
{
    struct cli_watch *w = ctx;
    (void)id;
    bool last = run_ended(event, data, len);
    pthread_mutex_lock(&w->lock);
    w->happened = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    return last;
}

static void *watch_thread(void *arg)
{
    struct cli_watch *w = arg;
    int r = cli_follow(w->c, w->path, w->retry_ms, on_happened, w);
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    w->result = r;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct cli_watch *cli_watch_new(struct cli *c, const char *path, int64_t retry_ms)
{
    struct cli_watch *w = ptl_xcalloc(1, sizeof(*w));
    pthread_condattr_t attr;
    *w = (struct cli_watch){.c = c, .path = ptl_xstrdup(path), .retry_ms = retry_ms};
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&w->thread, NULL, watch_thread, w) != 0) {
        cli_fail(c, CLI_FAILED, "no thread could be started to watch");
        abort();
    }
    return w;
}

int cli_watch_wait(struct cli_watch *w, int64_t timeout_ms, int *ret_exit)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->lock);
    int timed = 0;
    while (!w->happened && !w->ended && timed == 0)
        timed = pthread_cond_timedwait(&w->cond, &w->lock, &until);
    int r = w->happened ? 1 : w->ended ? -1 : 0;
    w->happened = false;
    if (r < 0)
        *ret_exit = w->result;
    pthread_mutex_unlock(&w->lock);
    return r;
}

void cli_watch_free(struct cli_watch *w)
{
    pthread_mutex_lock(&w->lock);
    bool ended = w->ended;
    pthread_mutex_unlock(&w->lock);
    stop_now = 1;
    if (!ended)
        renew_now = 1; /* libcurl looks at least once a second */
    pthread_join(w->thread, NULL);
    stop_now = 0;
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    free(w->path);
    free(w);
}
