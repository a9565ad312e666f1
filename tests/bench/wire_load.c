/* wire_load.c - load on a portoland over its own wire protocol, from one process and one thread, so that the
 * daemon and its PostgreSQL are what is measured and not agents' sandboxes. Four modes:
 *
 *   life  URL HOST STAGES CONNECTIONS TOKEN…   claim, start and finish STAGES stages; one agent a token, 64
 * slots each log   URL HOST CHUNK TOTAL CONNECTIONS TOKEN   claim CONNECTIONS stages, send TOTAL bytes of log
 * in chunks idle  URL HOST POLLS TOKEN                 hold POLLS long polls open until standard input ends
 *   get   URL PATH REQUESTS CONNECTIONS TOKEN  GET the same path again and again
 *
 * The inventory of the agents is read from $WIRE_LOAD_INVENTORY (JSON), so that polls weigh what real ones
 * weigh. Prints one JSON object; times in microseconds. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <jansson.h>
#include <portolan/base.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/json.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

enum { SLOTS = 64, HEAD_MAX = 65536 };

struct conn;
typedef void answer_fn(struct conn *c, int status, const char *body, size_t len);

/* A connection with at most one request on its way. */
struct conn {
    struct bufferevent *bev;
    struct agent *agent;
    struct conn *next_idle;
    answer_fn *fn;
    int64_t asked_us, attempt, fence, sent, began_us;
    int status;
    size_t want; /* bytes of the body, once the head is read */
    bool in_body;
};

struct todo {
    int64_t attempt, fence, claimed_us;
    bool started;
};

struct agent {
    const char *token;
    struct conn *claimer, *idle;
    struct todo todo[SLOTS * 4];
    unsigned head, n_todo, busy; /* busy: attempts claimed and not finished */
    bool asking;
};

struct times {
    int64_t *v;
    size_t n, cap;
};

static struct {
    struct event_base *base;
    struct sockaddr_in peer;
    const char *host;
    char *inventory;
    int64_t wanted, done, claims, claimed, errors, bytes, total;
    size_t chunk;
    char *text; /* a chunk of log */
    unsigned open;
    const char *path, *token;
    struct times claim, start, finish, life, request;
} g;

static void die(const char *what)
{
    fprintf(stderr, "wire_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void note(struct times *t, int64_t us)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4096;
        t->v = realloc(t->v, t->cap * sizeof(*t->v));
        if (!t->v)
            die("times");
    }
    t->v[t->n++] = us;
}

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static int64_t quantile(struct times *t, double q)
{
    if (t->n == 0)
        return 0;
    qsort(t->v, t->n, sizeof(*t->v), by_time);
    return t->v[(size_t)((double)(t->n - 1) * q)];
}

static void report_times(json_t *o, const char *name, struct times *t)
{
    if (t->n)
        json_object_set_new(o, name,
                            json_pack("{s:I,s:I,s:I,s:I}", "n", (json_int_t)t->n, "p50",
                                      (json_int_t)quantile(t, .5), "p95", (json_int_t)quantile(t, .95), "p99",
                                      (json_int_t)quantile(t, .99)));
}

/* ---- HTTP/1.1, just enough for our own daemon ---- */

static void on_read(struct bufferevent *bev, void *ctx)
{
    struct conn *c = ctx;
    struct evbuffer *in = bufferevent_get_input(bev);
    while (c->fn) {
        if (!c->in_body) {
            struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
            if (end.pos < 0)
                return;
            char head[HEAD_MAX];
            size_t len = (size_t)end.pos + 4;
            if (len >= sizeof(head))
                die("answer's head");
            evbuffer_remove(in, head, len);
            head[len] = 0;
            const char *size = strcasestr(head, "\r\nContent-Length:");
            c->status = atoi(head + 9);
            c->want = size ? strtoul(size + 17, NULL, 10) : 0;
            c->in_body = true;
        }
        if (evbuffer_get_length(in) < c->want)
            return;
        answer_fn *fn = c->fn;
        const char *body = c->want ? (const char *)evbuffer_pullup(in, (ev_ssize_t)c->want) : "";
        size_t len = c->want;
        c->fn = NULL;
        c->in_body = false;
        if (c->status >= 300) {
            if (g.errors++ < 5)
                fprintf(stderr, "wire_load: status %d: %.*s\n", c->status, (int)len, body);
        }
        fn(c, c->status, body, len);
        evbuffer_drain(in, len);
    }
}

static void on_event(struct bufferevent *bev PTL_UNUSED, short what, void *ctx PTL_UNUSED)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        fprintf(stderr, "wire_load: the daemon closed a connection\n");
        exit(1);
    }
}

static struct conn *conn_new(struct agent *a)
{
    struct conn *c = calloc(1, sizeof(*c));
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!c || fd < 0 || connect(fd, (struct sockaddr *)&g.peer, sizeof(g.peer)) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    evutil_make_socket_nonblocking(fd);
    c->agent = a;
    c->bev = bufferevent_socket_new(g.base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    return c;
}

static void ask(struct conn *c, const char *token, const char *method, const char *path, const void *body,
                size_t len, answer_fn *fn)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    c->fn = fn;
    c->asked_us = ptl_mono_us();
    evbuffer_add_printf(
        out, "%s %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
        method, path, token, len);
    if (len)
        evbuffer_add(out, body, len);
}

/* ---- life: claim, start, finish ---- */

static void claim(struct agent *a);

static void on_finished(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED,
                        size_t len PTL_UNUSED);
static void on_started(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED,
                       size_t len PTL_UNUSED);

static void finish(struct conn *c)
{
    char path[128], body[512];
    snprintf(path, sizeof(path), "/api/v1/agent/attempts/%lld/finish", (long long)c->attempt);
    int n = snprintf(
        body, sizeof(body),
        "{\"attempt_id\":%lld,\"fence\":%lld,\"end_reason\":\"exit\",\"exit_code\":0,\"signal\":0,\"ok\":true,"
        "\"message\":\"\",\"started_wall_ms\":0,\"duration_ms\":1,\"peak_memory_bytes\":1000000,\"sandbox\":"
        "\"none\",\"environment\":{},\"artifacts\":[],\"report\":{\"version\":1,\"verdict\":\"green\"},\"warnings\":[],\"log_bytes\":0}",
        (long long)c->attempt, (long long)c->fence);
    ask(c, c->agent->token, "POST", path, body, (size_t)n, on_finished);
}

static void feed(struct agent *a)
{
    while (a->n_todo && a->idle) {
        struct todo *t = &a->todo[a->head];
        struct conn *c = a->idle;
        a->idle = c->next_idle;
        a->head = (a->head + 1) % PTL_ARRAY_LEN(a->todo);
        a->n_todo--;
        c->attempt = t->attempt;
        c->fence = t->fence;
        c->began_us = t->claimed_us;
        char path[128], body[64];
        snprintf(path, sizeof(path), "/api/v1/agent/attempts/%lld/start", (long long)c->attempt);
        int n = snprintf(body, sizeof(body), "{\"fence\":%lld}", (long long)c->fence);
        ask(c, a->token, "POST", path, body, (size_t)n, on_started);
    }
}

static void on_started(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED,
                       size_t len PTL_UNUSED)
{
    note(&g.start, ptl_mono_us() - c->asked_us);
    finish(c);
}

static void on_finished(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED,
                        size_t len PTL_UNUSED)
{
    struct agent *a = c->agent;
    int64_t now = ptl_mono_us();
    note(&g.finish, now - c->asked_us);
    note(&g.life, now - c->began_us);
    a->busy--;
    c->next_idle = a->idle;
    a->idle = c;
    if (++g.done == g.wanted) {
        event_base_loopbreak(g.base);
        return;
    }
    feed(a);
    claim(a);
}

static void on_claimed(struct conn *c, int status PTL_UNUSED, const char *body, size_t len)
{
    struct agent *a = c->agent;
    json_error_t e;
    json_t *j = json_loadb(body, len, 0, &e), *job;
    size_t i;
    int64_t now = ptl_mono_us();
    a->asking = false;
    g.claims++;
    json_array_foreach(json_object_get(j, "claims"), i, job)
    {
        struct todo *t = &a->todo[(a->head + a->n_todo++) % PTL_ARRAY_LEN(a->todo)];
        *t = (struct todo){json_integer_value(json_object_get(job, "attempt_id")),
                           json_integer_value(json_object_get(job, "fence")), now, false};
        a->busy++;
        g.claimed++;
    }
    if (i)
        note(&g.claim, now - c->asked_us);
    json_decref(j);
    feed(a);
    claim(a);
}

static void put_claim(struct conn *c, const char *token, unsigned slots, unsigned wait_ms, answer_fn *fn)
{
    char head[96];
    int n = snprintf(head, sizeof(head), "{\"free_slots\":%u,\"wait_ms\":%u,\"inventory\":", slots, wait_ms);
    PTL_BUF b = PTL_BUF_INIT;
    ptl_buf_add(&b, head, (size_t)n);
    ptl_buf_puts(&b, g.inventory);
    ptl_buf_putc(&b, '}');
    ask(c, token, "POST", "/api/v1/agent/claim", ptl_buf_str(&b), b.len, fn);
}

/* As an agent with many slots does: asks when half of them are free. */
static void claim(struct agent *a)
{
    if (a->asking || a->busy > SLOTS / 2)
        return;
    a->asking = true;
    put_claim(a->claimer, a->token, SLOTS - a->busy, 20000, on_claimed);
}

static void life(int argc, char **argv)
{
    unsigned per_agent = (unsigned)atoi(argv[0]);
    g.wanted = atoll(g.path);
    int64_t began = ptl_mono_us();
    for (int i = 1; i < argc; i++) {
        struct agent *a = calloc(1, sizeof(*a));
        if (!a)
            die("agent");
        a->token = argv[i];
        a->claimer = conn_new(a);
        for (unsigned k = 0; k < per_agent; k++) {
            struct conn *c = conn_new(a);
            c->next_idle = a->idle;
            a->idle = c;
        }
        claim(a);
    }
    event_base_dispatch(g.base);
    double seconds = (double)(ptl_mono_us() - began) / 1e6;
    PTL_JSON *o = json_pack("{s:I,s:f,s:f,s:I,s:I,s:I}", "stages", (json_int_t)g.done, "seconds", seconds,
                            "per_second", (double)g.done / seconds, "claims", (json_int_t)g.claims, "claimed",
                            (json_int_t)g.claimed, "errors", (json_int_t)g.errors);
    report_times(o, "claim_us", &g.claim);
    report_times(o, "start_us", &g.start);
    report_times(o, "finish_us", &g.finish);
    report_times(o, "life_us", &g.life);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
}

/* ---- log ---- */

static void send_log(struct conn *c);

static void on_logged(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED,
                      size_t len PTL_UNUSED)
{
    note(&g.request, ptl_mono_us() - c->asked_us);
    c->sent += (int64_t)g.chunk;
    g.bytes += (int64_t)g.chunk;
    if (g.bytes < g.total && c->status == 200)
        send_log(c);
    else if (--g.open == 0)
        event_base_loopbreak(g.base);
}

static void send_log(struct conn *c)
{
    char path[160];
    snprintf(path, sizeof(path), "/api/v1/agent/attempts/%lld/log?fence=%lld&offset=%lld",
             (long long)c->attempt, (long long)c->fence, (long long)c->sent);
    ask(c, g.token, "PUT", path, g.text, g.chunk, on_logged);
}

static void on_claimed_for_log(struct conn *c, int status PTL_UNUSED, const char *body, size_t len)
{
    json_error_t e;
    json_t *j = json_loadb(body, len, 0, &e);
    json_t *job = json_array_get(json_object_get(j, "claims"), 0);
    if (!job) {
        fprintf(stderr, "wire_load: no stage to send a log for\n");
        exit(1);
    }
    c->attempt = json_integer_value(json_object_get(job, "attempt_id"));
    c->fence = json_integer_value(json_object_get(job, "fence"));
    json_decref(j);
    if (--g.open == 0)
        event_base_loopbreak(g.base);
}

/* Lines as converters print them: repeated in shape, not in content. */
static char *make_text(size_t size)
{
    char *text = malloc(size + 256);
    size_t n = 0;
    unsigned long seed = 88172645463325252UL;
    if (!text)
        die("text");
    while (n < size) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        n += (size_t)sprintf(text + n,
                             "2026-11-23 08:22:%02lu.%06lu: I tensorflow/core/layer_%lu.cc:%lu] converting "
                             "conv2d_%lu/kernel to int8, scale %.9g\n",
                             seed % 60, seed / 60 % 1000000, seed % 977, seed % 1999, seed % 317,
                             (double)(seed % 100000) / 3e6);
    }
    return text;
}

static void log_load(int argc PTL_UNUSED, char **argv)
{
    unsigned n = (unsigned)atoi(argv[1]);
    struct conn **conns = calloc(n, sizeof(*conns));
    g.chunk = strtoul(g.path, NULL, 10);
    g.total = atoll(argv[0]);
    g.token = argv[2];
    g.text = make_text(g.chunk);
    if (!conns)
        die("conns");
    for (unsigned i = 0; i < n; i++) {
        conns[i] = conn_new(NULL);
        g.open++;
        put_claim(conns[i], g.token, 1, 5000, on_claimed_for_log);
    }
    event_base_dispatch(g.base);
    int64_t began = ptl_mono_us();
    for (unsigned i = 0; i < n; i++, g.open++)
        send_log(conns[i]);
    event_base_dispatch(g.base);
    double seconds = (double)(ptl_mono_us() - began) / 1e6;
    PTL_JSON *o = json_pack("{s:I,s:f,s:f,s:I}", "bytes", (json_int_t)g.bytes, "seconds", seconds,
                            "bytes_per_second", (double)g.bytes / seconds, "errors", (json_int_t)g.errors);
    report_times(o, "put_us", &g.request);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
}

/* ---- idle ---- */

static void on_poll(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED, size_t len PTL_UNUSED)
{
    put_claim(c, g.token, 1, 60000, on_poll);
}

static void on_stdin(evutil_socket_t fd PTL_UNUSED, short what PTL_UNUSED, void *ctx PTL_UNUSED)
{
    event_base_loopbreak(g.base);
}

static void idle(int argc PTL_UNUSED, char **argv)
{
    unsigned n = (unsigned)atoi(g.path);
    g.token = argv[0];
    for (unsigned i = 0; i < n; i++) {
        put_claim(conn_new(NULL), g.token, 1, 60000, on_poll);
        event_base_loop(g.base, EVLOOP_NONBLOCK);
    }
    struct event *end = event_new(g.base, 0, EV_READ, on_stdin, NULL);
    event_add(end, NULL);
    printf("{\"polls\":%u}\n", n);
    fflush(stdout);
    event_base_dispatch(g.base);
}

/* ---- get ---- */

static void on_got(struct conn *c, int status PTL_UNUSED, const char *body PTL_UNUSED, size_t len)
{
    note(&g.request, ptl_mono_us() - c->asked_us);
    g.bytes += (int64_t)len;
    if (++g.done + g.open <= g.wanted)
        ask(c, g.token, "GET", g.path, NULL, 0, on_got);
    else if (--g.open == 0)
        event_base_loopbreak(g.base);
}

static void get(int argc PTL_UNUSED, char **argv)
{
    g.wanted = atoll(argv[0]);
    g.token = argv[2];
    int64_t began = ptl_mono_us();
    for (int i = 0; i < atoi(argv[1]); i++, g.open++)
        ask(conn_new(NULL), g.token, "GET", g.path, NULL, 0, on_got);
    event_base_dispatch(g.base);
    double seconds = (double)(ptl_mono_us() - began) / 1e6;
    PTL_JSON *o = json_pack("{s:I,s:f,s:f,s:I,s:I}", "requests", (json_int_t)g.done, "seconds", seconds,
                            "per_second", (double)g.done / seconds, "bytes_each",
                            (json_int_t)(g.done ? g.bytes / g.done : 0), "errors", (json_int_t)g.errors);
    report_times(o, "get_us", &g.request);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
}

static const struct {
    const char *name;
    void (*run)(int argc, char **argv);
    int least; /* words behind MODE URL HOST|PATH … */
} modes[] = {
    {"life", life,     2},
    {"log",  log_load, 3},
    {"idle", idle,     1},
    {"get",  get,      3}
};

int main(int argc, char **argv)
{
    const char *inventory = getenv("WIRE_LOAD_INVENTORY");
    for (size_t i = 0; i < PTL_ARRAY_LEN(modes); i++) {
        if (argc < 2 || strcmp(argv[1], modes[i].name) != 0)
            continue;
        bool with_host = strcmp(argv[1], "get") != 0;
        int rest = with_host ? 5 : 4;
        unsigned port;
        if (argc - rest < modes[i].least || sscanf(argv[2], "http://127.0.0.1:%u", &port) != 1)
            break;
        g.peer = (struct sockaddr_in){.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        g.host = with_host ? argv[3] : NULL;
        g.path = argv[with_host ? 4 : 3];
        g.inventory = inventory
                          ? ptl_xstrdup(inventory)
                          : ptl_xasprintf("{\"hosts\":[\"%s\"],\"slots\":64}", g.host ? g.host : "server");
        g.base = event_base_new();
        modes[i].run(argc - rest, argv + rest);
        return 0;
    }
    fprintf(stderr, "usage: see the top of tests/bench/wire_load.c\n");
    return 2;
}
