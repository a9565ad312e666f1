/* pageserver.c - a small static web server for one verify, on libevent's evhttp.
 *
 * Owns a listening socket, an event base and the thread that runs it. The only way in from the caller's
 * thread is one byte through a pipe ("stop"); counters are under a mutex. GET and HEAD with single byte
 * ranges; POST of outputs in pieces, each at the offset where the file ends, so that a repeated or reordered
 * piece is refused and never mixed in. Paths are decoded once, must be plain relative paths, and are opened
 * beneath the root's descriptor by the kernel (openat2), so no name and no link can reach outside. Every
 * answer carries the headers that make a page cross-origin isolated (wasm threads, precise memory) and
 * forbids type guessing, as a careful web host would; `faults` takes such care away, one by one. Leaves out:
 * keep-alive tuning, compression, caching. */
#include "pageserver.h"

#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
    MAX_EVENT_BYTES = 64 * 1024,
    MAX_EVENTS = 20000,     /* a page in a loop must not fill the disk through its console */
    IDLE_S = 60,            /* a connection without a whole request is closed */
    MAX_MODEL_FILES = 4096, /* shards remembered for counting; a 16 GB model in 4 MiB shards */
};

struct root {
    char *prefix;
    int fd;
};
struct model_file {
    char *path;
    uint64_t size_bytes;
    bool is_binary, was_served;
    unsigned shard; /* 1-based among the binary ones; 0 for others */
};
struct ptl_pageserver {
    struct ptl_pageserver_spec spec; /* pointers below replace its borrowed ones */
    char *token;
    struct root *roots;
    size_t n_roots;
    int got_fd;
    struct model_file *model;
    size_t n_model;
    unsigned events;
    uint64_t got_bytes;
    unsigned got_started;
    struct event_base *base;
    struct evhttp *http;
    struct event *stop;
    int stop_pipe[2];
    unsigned port;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* counts */
    struct ptl_pageserver_counts counts;
};

static const struct mime {
    const char *suffix, *type;
} mimes[] = {
    {".html",   "text/html; charset=utf-8"      },
    {".mjs",    "text/javascript; charset=utf-8"},
    {".js",     "text/javascript; charset=utf-8"},
    {".json",   "application/json"              },
    {".wasm",   "application/wasm"              },
    {".css",    "text/css; charset=utf-8"       },
    {".txt",    "text/plain; charset=utf-8"     },
    {".npy",    "application/octet-stream"      },
    {".bin",    "application/octet-stream"      },
    {".onnx",   "application/octet-stream"      },
    {".tflite", "application/octet-stream"      },
    {".png",    "image/png"                     },
    {".svg",    "image/svg+xml"                 },
};

const char *ptl_pageserver_mime(const char *path)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(mimes); i++)
        if (ptl_str_ends(path, mimes[i].suffix))
            return mimes[i].type;
    return "application/octet-stream";
}

/* ---- answers ---- */

static void common_headers(struct ptl_pageserver *s, struct evhttp_request *req)
{
    struct evkeyvalq *h = evhttp_request_get_output_headers(req);
    if (!s->spec.faults.drop_coop) {
        evhttp_add_header(h, "Cross-Origin-Opener-Policy", "same-origin");
        evhttp_add_header(h, "Cross-Origin-Embedder-Policy", "require-corp");
        evhttp_add_header(h, "Cross-Origin-Resource-Policy", "same-origin");
    }
    evhttp_add_header(h, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(h, "Cache-Control", "no-store");
    evhttp_add_header(h, "Referrer-Policy", "no-referrer");
}

static void refuse(struct ptl_pageserver *s, struct evhttp_request *req, int code, const char *path,
                   const char *why)
{
    char line[512], text[600];
    snprintf(line, sizeof(line), "%d %.300s%s%s", code, path, *why ? ": " : "", why);
    pthread_mutex_lock(&s->lock);
    s->counts.refused++;
    pthread_mutex_unlock(&s->lock);
    if (s->spec.on_refused)
        s->spec.on_refused(s->spec.ctx, line);
    struct evbuffer *body = evhttp_request_get_output_buffer(req);
    snprintf(text, sizeof(text), "%s\n", line);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "text/plain; charset=utf-8");
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
        evbuffer_add(body, text, strlen(text));
    evhttp_send_reply(req, code, NULL, NULL);
}

static void answer_empty(struct evhttp_request *req, int code)
{
    evhttp_send_reply(req, code, NULL, NULL);
}

/* ---- ranges ---- */

enum range { RANGE_NONE, RANGE_OK, RANGE_BAD };

/* One range of bytes ("bytes=2-5", "bytes=2-", "bytes=-5"). Several, or what is not understood, count as
 * none: RFC 9110 lets a server ignore Range. */
static enum range parse_range(const char *value, uint64_t size, uint64_t *ret_first, uint64_t *ret_count)
{
    if (!value || strncasecmp(value, "bytes=", 6) != 0 || strchr(value, ','))
        return RANGE_NONE;
    const char *p = value + 6;
    char *end;
    bool suffix = *p == '-';
    const char *digits = suffix ? p + 1 : p;
    if (*digits < '0' || *digits > '9')
        return RANGE_NONE;
    errno = 0;
    unsigned long long a = strtoull(digits, &end, 10), b = UINT64_MAX;
    if (errno)
        return RANGE_NONE;
    if (suffix) {
        if (*end)
            return RANGE_NONE;
        if (a == 0 || size == 0)
            return RANGE_BAD;
        *ret_first = a >= size ? 0 : size - a;
        *ret_count = size - *ret_first;
        return RANGE_OK;
    }
    if (*end != '-')
        return RANGE_NONE;
    if (end[1]) {
        if (end[1] < '0' || end[1] > '9')
            return RANGE_NONE;
        b = strtoull(end + 1, &end, 10);
        if (errno || *end || b < a)
            return RANGE_NONE;
    }
    if (a >= size)
        return RANGE_BAD;
    *ret_first = a;
    *ret_count = (b >= size ? size - 1 : b) - a + 1;
    return RANGE_OK;
}

/* ---- files ---- */

/* Opens a regular file beneath dirfd. Older kernels and filters without openat2: no links at all. */
static int open_beneath(int dirfd, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    PTL_FREE char *copy = strdup(path);
    PTL_CLOSE int dir = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    char *save = NULL;
    for (char *part = copy ? strtok_r(copy, "/", &save) : NULL; part;) {
        char *next = strtok_r(NULL, "/", &save);
        fd = openat(dir, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (next ? O_DIRECTORY : 0));
        if (fd < 0 || !next)
            return fd;
        close(dir);
        dir = fd;
        part = next;
    }
    return -1;
}

static struct model_file *model_file(struct ptl_pageserver *s, const struct root *root, const char *path)
{
    if (strcmp(root->prefix, "model") != 0)
        return NULL;
    for (size_t i = 0; i < s->n_model; i++)
        if (strcmp(s->model[i].path, path) == 0)
            return &s->model[i];
    return NULL;
}

static void count_model(struct ptl_pageserver *s, struct model_file *f)
{
    if (!f || f->was_served)
        return;
    f->was_served = true;
    pthread_mutex_lock(&s->lock);
    s->counts.model_bytes += f->size_bytes;
    s->counts.model_files += f->is_binary;
    pthread_mutex_unlock(&s->lock);
}

/* The whole of `size` bytes or the range asked for; body is filled by `fill` from `first`, `count` bytes. */
static void answer_bytes(struct ptl_pageserver *s, struct evhttp_request *req, const char *path, int fd,
                         const char *data, uint64_t size)
{
    struct evkeyvalq *h = evhttp_request_get_output_headers(req);
    uint64_t first = 0, count = size;
    char text[96];
    enum range range =
        parse_range(evhttp_find_header(evhttp_request_get_input_headers(req), "Range"), size, &first, &count);
    if (range == RANGE_BAD) {
        snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)size);
        evhttp_add_header(h, "Content-Range", text);
        refuse(s, req, 416, path, "range outside of the file");
        return;
    }
    evhttp_add_header(h, "Content-Type",
                      s->spec.faults.wrong_mime && ptl_str_ends(path, ".wasm") ? "text/plain"
                                                                               : ptl_pageserver_mime(path));
    evhttp_add_header(h, "Accept-Ranges", "bytes");
    if (range == RANGE_OK) {
        snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)first,
                 (unsigned long long)(first + count - 1), (unsigned long long)size);
        evhttp_add_header(h, "Content-Range", text);
    }
    snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
    evhttp_add_header(h, "Content-Length", text);
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD && count > 0) {
        struct evbuffer *body = evhttp_request_get_output_buffer(req);
        int own = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1; /* evbuffer closes it */
        int r = fd >= 0 ? (own < 0 ? -1 : evbuffer_add_file(body, own, (ev_off_t)first, (ev_off_t)count))
                        : evbuffer_add(body, data + first, (size_t)count);
        if (r < 0) {
            if (own >= 0)
                close(own);
            evhttp_remove_header(h, "Content-Length");
            evhttp_remove_header(h, "Content-Type");
            refuse(s, req, 500, path, "cannot be read");
            return;
        }
        pthread_mutex_lock(&s->lock);
        s->counts.served_bytes += count;
        pthread_mutex_unlock(&s->lock);
    }
    evhttp_send_reply(req, range == RANGE_OK ? 206 : 200, NULL, NULL);
}

static void get_file(struct ptl_pageserver *s, struct evhttp_request *req, const char *path)
{
    for (const struct ptl_pageserver_asset *a = s->spec.assets; a && a->path; a++)
        if (strcmp(a->path, path) == 0) {
            answer_bytes(s, req, path, -1, a->data, a->len);
            return;
        }
    const char *slash = strchr(path, '/');
    const struct root *root = NULL;
    for (size_t i = 0; slash && i < s->n_roots; i++)
        if (strlen(s->roots[i].prefix) == (size_t)(slash - path) &&
            strncmp(s->roots[i].prefix, path, (size_t)(slash - path)) == 0)
            root = &s->roots[i];
    if (!root || !ptl_fs_is_safe_relative(slash + 1)) {
        refuse(s, req, 404, path, "");
        return;
    }
    struct model_file *mf = model_file(s, root, slash + 1);
    if ((s->spec.faults.missing_wasm && ptl_str_ends(path, ".wasm")) ||
        (mf && mf->shard && mf->shard == s->spec.faults.missing_shard)) {
        refuse(s, req, 404, path, "");
        return;
    }
    PTL_CLOSE int fd = open_beneath(root->fd, slash + 1);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        refuse(s, req, 404, path, "");
        return;
    }
    uint64_t size = (uint64_t)st.st_size;
    if (mf && mf->shard && mf->shard == s->spec.faults.truncated_shard)
        size /= 2;
    if (evhttp_request_get_command(req) == EVHTTP_REQ_GET)
        count_model(s, mf);
    answer_bytes(s, req, path, fd, NULL, size);
}

/* ---- what the page sends back ---- */

static bool query_u64(const struct evkeyvalq *q, const char *key, uint64_t *ret)
{
    const char *v = evhttp_find_header(q, key);
    char *end;
    if (!v || *v < '0' || *v > '9')
        return false;
    errno = 0;
    *ret = strtoull(v, &end, 10);
    return !errno && !*end;
}

static bool is_got_name(const char *name)
{
    return ptl_fs_is_safe_relative(name) && !strchr(name, '/') && name[0] != '.' && strlen(name) <= 200 &&
           ptl_str_ends(name, ".npy");
}

static int no(const char **ret_why, int code, const char *why)
{
    *ret_why = why;
    return code;
}

/* Appends the body to NAME.part, which must be `offset` bytes long now; the piece that reaches `total` makes
 * it NAME. */
static int store_piece(struct ptl_pageserver *s, const char *name, uint64_t offset, uint64_t total,
                       struct evbuffer *body, const char **ret_why)
{
    char part[256];
    snprintf(part, sizeof(part), "%s.part", name);
    size_t len = evbuffer_get_length(body);
    struct stat st;
    if (fstatat(s->got_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return no(ret_why, 409, "is there already");
    if (len > total || offset > total - len)
        return no(ret_why, 400, "more bytes than its total");
    if (total > s->spec.max_got_bytes || s->got_bytes > s->spec.max_got_bytes - len)
        return no(ret_why, 413, "outputs are larger than allowed");
    if (offset == 0 && ++s->got_started > s->spec.max_got_files)
        return no(ret_why, 413, "more outputs than allowed");
    PTL_CLOSE int fd =
        openat(s->got_fd, part,
               O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_APPEND | (offset ? 0 : O_CREAT | O_EXCL), 0644);
    if (fd < 0 || fstat(fd, &st) < 0)
        return no(ret_why, 409, offset ? "its beginning was never sent" : "was begun before");
    if ((uint64_t)st.st_size != offset)
        return no(ret_why, 409, "this is not where it ends");
    while (evbuffer_get_length(body) > 0) {
        int n = evbuffer_write(body, fd);
        if (n <= 0)
            return no(ret_why, 507, "cannot be written");
        s->got_bytes += (uint64_t)n;
    }
    if (offset + len < total)
        return 202;
    if (renameat(s->got_fd, part, s->got_fd, name) < 0)
        return no(ret_why, 507, "cannot be renamed");
    pthread_mutex_lock(&s->lock);
    s->counts.got_files++;
    pthread_mutex_unlock(&s->lock);
    return 201;
}

static void post(struct ptl_pageserver *s, struct evhttp_request *req, const char *path, const char *query)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(req);
    size_t len = evbuffer_get_length(body);
    if (strcmp(path, "event") == 0) {
        if (len > MAX_EVENT_BYTES || !s->spec.on_event || s->events >= MAX_EVENTS) {
            refuse(s, req, len > MAX_EVENT_BYTES ? 413 : 429, path, "");
            return;
        }
        s->events++;
        PTL_FREE char *text = malloc(len + 1);
        if (text) {
            evbuffer_copyout(body, text, len);
            text[len] = 0;
            s->spec.on_event(s->spec.ctx, text, len);
        }
        answer_empty(req, text ? 204 : 500);
        return;
    }
    if (!ptl_str_starts(path, "got/") || s->got_fd < 0 || !is_got_name(path + 4)) {
        refuse(s, req, 404, path, "");
        return;
    }
    struct evkeyvalq q;
    uint64_t offset = 0, total = 0;
    const char *why = "offset and total must be numbers";
    int code = 400;
    if (evhttp_parse_query_str(query, &q) == 0) {
        if (query_u64(&q, "offset", &offset) && query_u64(&q, "total", &total))
            code = store_piece(s, path + 4, offset, total, body, &why);
        evhttp_clear_headers(&q);
    }
    if (code >= 400)
        refuse(s, req, code, path, why);
    else
        answer_empty(req, code);
}

/* ---- routing ---- */

static void on_request(struct evhttp_request *req, void *ctx)
{
    struct ptl_pageserver *s = ctx;
    const char *uri = evhttp_request_get_uri(req);
    PTL_FREE char *raw = strndup(uri, strcspn(uri, "?#"));
    const char *query = strchr(uri, '?');
    size_t len = 0;
    PTL_FREE char *path = raw ? evhttp_uridecode(raw, 0, &len) : NULL;
    common_headers(s, req);
    if (path && strcmp(path, "/favicon.ico") ==
                    0) { /* browsers ask by themselves; a 404 would look like a page's error */
        answer_empty(req, 204);
        return;
    }
    size_t token_len = strlen(s->token);
    if (!path || strlen(path) != len || path[0] != '/' || strncmp(path + 1, s->token, token_len) != 0 ||
        path[1 + token_len] != '/') {
        refuse(s, req, 404, "(outside)", "");
        return;
    }
    const char *rest = path + 2 + token_len;
    switch (evhttp_request_get_command(req)) {
    case EVHTTP_REQ_GET:
    case EVHTTP_REQ_HEAD:
        get_file(s, req, rest);
        return;
    case EVHTTP_REQ_POST:
        post(s, req, rest, query ? query + 1 : "");
        return;
    default:
        evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD, POST");
        refuse(s, req, 405, rest, "");
    }
}

/* ---- life ---- */

static void on_stop(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(((struct ptl_pageserver *)ctx)->base);
}

static void *serve(void *ctx)
{
    event_base_dispatch(((struct ptl_pageserver *)ctx)->base);
    return NULL;
}

struct collect {
    struct ptl_pageserver *s;
    size_t cap;
};
static int collect_model(void *ctx, const struct ptl_fs_entry *e)
{
    struct collect *c = ctx;
    struct ptl_pageserver *s = c->s;
    if (e->is_dir)
        return 0;
    if (s->n_model == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16;
        struct model_file *more = realloc(s->model, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        s->model = more;
        c->cap = cap;
    }
    s->model[s->n_model++] = (struct model_file){.path = ptl_xstrdup(e->path),
                                                 .size_bytes = e->size_bytes,
                                                 .is_binary = !ptl_str_ends(e->path, ".json")};
    return 0;
}
static int by_version(const void *a, const void *b)
{
    return strverscmp(((const struct model_file *)a)->path, ((const struct model_file *)b)->path);
}

static int open_roots(struct ptl_pageserver *s, const struct ptl_pageserver_root *roots,
                      struct ptl_error *err)
{
    size_t n = 0;
    while (roots && roots[n].prefix)
        n++;
    s->roots = ptl_xcalloc(n + 1, sizeof(*s->roots));
    for (size_t i = 0; i < n; i++) {
        int fd = open(roots[i].dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return ptl_error_set(err, -errno, "page server: cannot open the folder %s: %s", roots[i].dir,
                                 strerror(errno));
        s->roots[s->n_roots++] = (struct root){.prefix = ptl_xstrdup(roots[i].prefix), .fd = fd};
        if (strcmp(roots[i].prefix, "model") != 0)
            continue;
        struct collect c = {.s = s};
        int r = ptl_fs_walk(roots[i].dir, MAX_MODEL_FILES, collect_model, &c, err);
        if (r < 0)
            return r;
        if (s->n_model)
            qsort(s->model, s->n_model, sizeof(*s->model), by_version);
        unsigned shard = 0;
        for (size_t k = 0; k < s->n_model; k++)
            s->model[k].shard = s->model[k].is_binary ? ++shard : 0;
    }
    return 0;
}

static int listen_http(struct ptl_pageserver *s, const char *address, struct ptl_error *err)
{
    s->base = event_base_new();
    s->http = s->base ? evhttp_new(s->base) : NULL;
    if (!s->http || pipe2(s->stop_pipe, O_CLOEXEC) < 0 ||
        !(s->stop = event_new(s->base, s->stop_pipe[0], EV_READ, on_stop, s)) || event_add(s->stop, NULL) < 0)
        return ptl_error_set(err, -ENOMEM, "page server: out of memory or descriptors");
    evhttp_set_gencb(s->http, on_request, s);
    evhttp_set_timeout(s->http, IDLE_S);
    evhttp_set_max_headers_size(s->http, 16 * 1024);
    evhttp_set_max_body_size(s->http, (ev_ssize_t)s->spec.max_post_bytes);
    evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                            EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(s->http, address, 0);
    if (!bound)
        return ptl_error_set(err, -EADDRNOTAVAIL, "page server: cannot listen on %s: %s", address,
                             strerror(errno));
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&sa, &len) < 0)
        return ptl_error_set(err, -errno, "page server: %s", strerror(errno));
    s->port = sa.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&sa)->sin6_port)
                                       : ntohs(((struct sockaddr_in *)&sa)->sin_port);
    return 0;
}

int ptl_pageserver_start(const struct ptl_pageserver_spec *spec, struct ptl_pageserver **ret,
                         struct ptl_error *err)
{
    PTL_CLEANUP(ptl_pageserver_freep) struct ptl_pageserver *s = ptl_xcalloc(1, sizeof(*s));
    s->spec = *spec;
    s->got_fd = s->stop_pipe[0] = s->stop_pipe[1] = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->token = ptl_xstrdup(spec->token);
    s->spec.max_got_bytes = spec->max_got_bytes ? spec->max_got_bytes : 1ull << 30;
    s->spec.max_got_files = spec->max_got_files ? spec->max_got_files : 256;
    s->spec.max_post_bytes = spec->max_post_bytes ? spec->max_post_bytes : 16u << 20;
    int r = open_roots(s, spec->roots, err);
    if (r < 0)
        return r;
    if (spec->got_dir && (s->got_fd = open(spec->got_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return ptl_error_set(err, -errno, "page server: cannot open the folder %s: %s", spec->got_dir,
                             strerror(errno));
    r = listen_http(s, spec->bind ? spec->bind : "127.0.0.1", err);
    if (r < 0)
        return r;
    r = pthread_create(&s->thread, NULL, serve, s);
    if (r)
        return ptl_error_set(err, -r, "page server: cannot start its thread: %s", strerror(r));
    s->has_thread = true;
    *ret = PTL_TAKE(s);
    return 0;
}

struct ptl_pageserver *ptl_pageserver_free(struct ptl_pageserver *s)
{
    if (!s)
        return NULL;
    if (s->has_thread) {
        while (write(s->stop_pipe[1], "", 1) < 0 && errno == EINTR)
            ;
        pthread_join(s->thread, NULL);
    }
    if (s->http)
        evhttp_free(s->http);
    if (s->stop)
        event_free(s->stop);
    if (s->base)
        event_base_free(s->base);
    for (size_t i = 0; i < s->n_roots; i++) {
        free(s->roots[i].prefix);
        close(s->roots[i].fd);
    }
    for (size_t i = 0; i < s->n_model; i++)
        free(s->model[i].path);
    for (int i = 0; i < 2; i++)
        if (s->stop_pipe[i] >= 0)
            close(s->stop_pipe[i]);
    if (s->got_fd >= 0)
        close(s->got_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->roots);
    free(s->model);
    free(s->token);
    free(s);
    return NULL;
}

unsigned ptl_pageserver_port(const struct ptl_pageserver *s)
{
    return s->port;
}

void ptl_pageserver_counts(struct ptl_pageserver *s, struct ptl_pageserver_counts *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->counts;
    pthread_mutex_unlock(&s->lock);
}
