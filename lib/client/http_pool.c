/* http_pool.c - HTTP calls on the event loop by libcurl's multi-socket interface. Loop thread only. A call's
 * fn never runs before ptl_http_start has returned. */
#include "http-private.h"
#include <portolan/log.h>
#include <event2/event.h>

struct ptl_http_call {
    struct ptl_http_transfer t;
    struct ptl_http_pool *pool;
    ptl_http_fn *fn;
    void *ctx;
    struct ptl_http_call *next, **prev;
    atomic_int cancelled;
    /* what the request borrowed, owned here */
    char *url, *method, *ca, *sock, *body;
    char **headers;
};

struct ptl_http_pool {
    struct ptl_loop *loop;
    CURLM *multi;
    struct event *timer;
    struct ptl_http_call *calls;
    unsigned running, max_running;
};

struct socket_watch {
    struct event *ev;
};

static void call_free(struct ptl_http_call *c)
{
    if (c->prev) {
        *c->prev = c->next;
        if (c->next)
            c->next->prev = c->prev;
        c->pool->running--;
    }
    ptl_http_transfer_done(&c->t);
    for (size_t i = 0; c->headers && c->headers[i]; i++)
        free(c->headers[i]);
    free(c->headers);
    free(c->url);
    free(c->method);
    free(c->ca);
    free(c->sock);
    free(c->body);
    free(c);
}

static void finish(struct ptl_http_call *c, CURLcode code)
{
    struct ptl_error err = PTL_ERROR_INIT;
    curl_multi_remove_handle(c->pool->multi, c->t.easy);
    int r = ptl_http_transfer_result(&c->t, code, &err);
    c->fn(c->ctx, r, r < 0 ? NULL : &c->t.answer, &err);
    call_free(c);
}

static void reap(struct ptl_http_pool *p)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(p->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct ptl_http_transfer *t = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        CURLcode code = m->data.result;
        finish((struct ptl_http_call *)t, code); /* t is the first member */
    }
}

static void on_socket_ready(evutil_socket_t fd, short what, void *arg)
{
    struct ptl_http_pool *p = arg;
    int running, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(p->multi, fd, flags, &running);
    reap(p);
}

static void on_timeout(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *arg)
{
    struct ptl_http_pool *p = arg;
    int running;
    curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    reap(p);
}

static int on_timer_wanted(CURLM *m PTL_UNUSED, long ms, void *arg)
{
    struct ptl_http_pool *p = arg;
    if (ms < 0) {
        event_del(p->timer);
        return 0;
    }
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    event_add(p->timer, &tv);
    return 0;
}

static int on_socket_wanted(CURL *e PTL_UNUSED, curl_socket_t s, int what, void *arg, void *sock)
{
    struct ptl_http_pool *p = arg;
    struct socket_watch *w = sock;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            event_free(w->ev);
            free(w);
            curl_multi_assign(p->multi, s, NULL);
        }
        return 0;
    }
    if (!w) {
        w = ptl_xcalloc(1, sizeof(*w));
        curl_multi_assign(p->multi, s, w);
    } else {
        event_free(w->ev);
    }
    short want = EV_PERSIST | (what != CURL_POLL_OUT ? EV_READ : 0) | (what != CURL_POLL_IN ? EV_WRITE : 0);
    w->ev = event_new(ptl_loop_base(p->loop), s, want, on_socket_ready, p);
    if (!w->ev)
        abort();
    event_add(w->ev, NULL);
    return 0;
}

struct ptl_http_pool *ptl_http_pool_new(struct ptl_loop *loop, unsigned max_running)
{
    struct ptl_http_pool *p = ptl_xcalloc(1, sizeof(*p));
    p->loop = loop;
    p->max_running = max_running ? max_running : 64;
    p->multi = curl_multi_init();
    p->timer = evtimer_new(ptl_loop_base(loop), on_timeout, p);
    if (!p->multi || !p->timer)
        abort();
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    return p;
}

static void cancel_now(void *arg);

struct ptl_http_pool *ptl_http_pool_free(struct ptl_http_pool *p)
{
    if (!p)
        return NULL;
    ptl_loop_undefer(p->loop, cancel_now, p);
    while (p->calls)
        finish(p->calls, CURLE_ABORTED_BY_CALLBACK);
    curl_multi_cleanup(p->multi);
    event_free(p->timer);
    free(p);
    return NULL;
}

int ptl_http_start(struct ptl_http_pool *p, const struct ptl_http_request *req, ptl_http_fn *fn, void *ctx,
                   struct ptl_http_call **ret_call)
{
    if (p->running >= p->max_running)
        return PTL_FULL;
    struct ptl_http_call *c = ptl_xcalloc(1, sizeof(*c));
    struct ptl_http_request own = *req;
    c->pool = p;
    c->fn = fn;
    c->ctx = ctx;
    own.url = c->url = ptl_xstrdup(req->url);
    own.method = c->method = ptl_xstrdup(req->method ? req->method : "GET");
    own.ca_file = c->ca = ptl_xstrdup(req->ca_file);
    own.unix_socket = c->sock = ptl_xstrdup(req->unix_socket);
    if (req->body) {
        c->body = malloc(req->body_len + 1);
        if (!c->body) {
            call_free(c);
            return -ENOMEM;
        }
        memcpy(c->body, req->body, req->body_len);
        own.body = c->body;
    }
    size_t n = 0;
    while (req->headers && req->headers[n])
        n++;
    c->headers = ptl_xcalloc(n + 1, sizeof(*c->headers));
    for (size_t i = 0; i < n; i++)
        c->headers[i] = ptl_xstrdup(req->headers[i]);
    own.headers = (const char *const *)c->headers;
    own.cancelled = &c->cancelled;
    int r = ptl_http_transfer_init(&c->t, &own, NULL);
    if (r < 0) {
        call_free(c);
        return r;
    }
    c->next = p->calls;
    if (c->next)
        c->next->prev = &c->next;
    c->prev = &p->calls;
    p->calls = c;
    p->running++;
    if (curl_multi_add_handle(p->multi, c->t.easy) != CURLM_OK) {
        call_free(c);
        return -ENOMEM;
    }
    if (ret_call)
        *ret_call = c;
    return 0;
}

static void cancel_now(void *arg)
{
    struct ptl_http_pool *p = arg;
    for (struct ptl_http_call *c = p->calls, *next; c; c = next) {
        next = c->next;
        if (c->cancelled)
            finish(c, CURLE_ABORTED_BY_CALLBACK);
    }
}

void ptl_http_call_cancel(struct ptl_http_call *call)
{
    call->cancelled = 1;
    ptl_loop_defer(call->pool->loop, cancel_now, call->pool);
}
