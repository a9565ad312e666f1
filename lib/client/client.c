/* client.c - Portolan's API over HTTP: JSON calls, blobs with resume, event streams. A client is immutable,
 * so any thread may use it. */
#include <portolan/client.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/wire.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct ptl_client {
    char *server, *authorization, *ca_file, *user_agent;
};

static bool is_loopback(const char *host, size_t len)
{
    char name[256];
    if (len >= sizeof(name))
        return false;
    memcpy(name, host, len);
    name[len] = 0;
    struct in_addr a;
    if (inet_pton(AF_INET, name, &a) == 1)
        return (ntohl(a.s_addr) >> 24) == 127;
    return ptl_str_eq(name, "localhost") || ptl_str_eq(name, "[::1]");
}

int ptl_client_new(const struct ptl_client_options *o, struct ptl_client **ret, struct ptl_error *err)
{
    const char *s = o->server ? o->server : "";
    bool tls = ptl_str_starts(s, "https://");
    if (!tls && !ptl_str_starts(s, "http://"))
        return ptl_error_set(
            err, -EINVAL,
            "server '%s': expected https://host[:port], or http://127.0.0.1:port on this machine", s);
    const char *host = s + (tls ? 8 : 7);
    size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    if (len == 0 || strchr(host, '@') || strchr(host, '?') || strchr(host, '#'))
        return ptl_error_set(err, -EINVAL,
                             "server '%s': expected https://host[:port] without user, query or fragment", s);
    if (!tls && !is_loopback(host, len))
        return ptl_error_set(
            err, -EACCES,
            "server '%s': plain http would show the token to the network; use https (http is for loopback only)",
            s);
    struct ptl_client *c = ptl_xcalloc(1, sizeof(*c));
    c->server = ptl_xstrdup(s);
    for (size_t n = strlen(c->server); n && c->server[n - 1] == '/';)
        c->server[--n] = 0;
    if (o->token)
        c->authorization = ptl_xasprintf("Authorization: Bearer %s", o->token);
    c->ca_file = ptl_xstrdup(o->ca_file);
    c->user_agent = ptl_xasprintf("User-Agent: %s", o->user_agent ? o->user_agent : "portolan/" PTL_VERSION);
    *ret = c;
    return 0;
}

struct ptl_client *ptl_client_free(struct ptl_client *c)
{
    if (c) {
        free(c->server);
        free(c->authorization);
        free(c->ca_file);
        free(c->user_agent);
        free(c);
    }
    return NULL;
}

enum { OWN_HEADERS = 8 };

static char *fill(struct ptl_client *c, const char *path, struct ptl_http_request *req,
                  const char *headers[OWN_HEADERS], size_t *n)
{
    char *url = ptl_xasprintf("%s%s", c->server, path);
    req->url = url;
    req->ca_file = c->ca_file;
    headers[(*n)++] = c->user_agent;
    if (c->authorization)
        headers[(*n)++] = c->authorization;
    for (size_t i = 0; req->headers && req->headers[i] && *n < OWN_HEADERS - 1; i++)
        headers[(*n)++] = req->headers[i];
    headers[*n] = NULL;
    req->headers = headers;
    return url;
}

int ptl_client_raw(struct ptl_client *c, const char *path, struct ptl_http_request *req,
                   struct ptl_http_answer *ret, struct ptl_error *err)
{
    const char *headers[OWN_HEADERS];
    size_t n = 0;
    PTL_FREE char *url PTL_UNUSED = fill(c, path, req, headers, &n);
    return ptl_http_perform(req, ret, err);
}

static int result_of(const struct ptl_http_answer *a, const char *method, const char *path, json_t **ret,
                     struct ptl_error *err)
{
    PTL_JSON *body = NULL;
    if (a->body.len)
        body = json_loadb(a->body.data, a->body.len, JSON_DECODE_ANY, NULL);
    int s = a->status;
    if (s >= 200 && s < 300) {
        if (a->body.len && !body)
            return ptl_error_set(err, -EPROTO,
                                 "%s %s: the server answered %d with something that is not JSON", method,
                                 path, s);
        if (ret)
            *ret = body ? PTL_TAKE(body) : json_null();
        return 0;
    }
    const char *title = ptl_json_str(body, "title", NULL), *detail = ptl_json_str(body, "detail", NULL);
    if (title || detail)
        ptl_error_set(err, -EPROTO, "%s%s%s", title ? title : "", title && detail ? ": " : "",
                      detail ? detail : "");
    else
        ptl_error_set(err, -EPROTO, "%s %s: the server answered %d", method, path, s);
    int r = s == 404               ? PTL_ABSENT
            : s == 401 || s == 403 ? -EPERM
            : s == 409             ? -ESTALE
            : s == 400 || s == 422 ? -EINVAL
            : s == 429 || s == 503 ? -EAGAIN
                                   : -EPROTO;
    if (err)
        err->code = r;
    return r;
}

int ptl_client_json(struct ptl_client *c, const char *method, const char *path, const json_t *body,
                    int64_t timeout_ms, int *ret_status, json_t **ret, struct ptl_error *err)
{
    static const char *const headers[] = {"Content-Type: application/json", "Accept: application/json", NULL};
    PTL_FREE char *text = body ? ptl_json_text(body) : NULL;
    struct ptl_http_request req = {.method = method,
                                   .headers = headers,
                                   .body = text,
                                   .body_len = text ? strlen(text) : 0,
                                   .timeout_ms = timeout_ms,
                                   .max_answer_bytes = 64 << 20};
    struct ptl_http_answer a = {0};
    int r = ptl_client_raw(c, path, &req, &a, err);
    if (ret_status)
        *ret_status = a.status;
    if (r == 0)
        r = result_of(&a, method, path, ret, err);
    ptl_http_answer_done(&a);
    return r;
}

struct started {
    ptl_client_fn *fn;
    void *ctx;
    char *method, *path;
};

static void on_answer(void *ctx, int result, const struct ptl_http_answer *a, const struct ptl_error *problem)
{
    struct started *s = ctx;
    struct ptl_error err = *problem;
    PTL_JSON *j = NULL;
    if (result == 0)
        result = result_of(a, s->method, s->path, &j, &err);
    s->fn(s->ctx, result, a ? a->status : 0, j, &err);
    free(s->method);
    free(s->path);
    free(s);
}

int ptl_client_start(struct ptl_client *c, struct ptl_http_pool *pool, const char *method, const char *path,
                     const json_t *body, int64_t timeout_ms, ptl_client_fn *fn, void *ctx,
                     struct ptl_http_call **ret_call)
{
    static const char *const json_headers[] = {"Content-Type: application/json", "Accept: application/json",
                                               NULL};
    PTL_FREE char *text = body ? ptl_json_text(body) : NULL;
    struct ptl_http_request req = {.method = method,
                                   .headers = json_headers,
                                   .body = text,
                                   .body_len = text ? strlen(text) : 0,
                                   .timeout_ms = timeout_ms,
                                   .max_answer_bytes = 64 << 20};
    const char *headers[OWN_HEADERS];
    size_t n = 0;
    PTL_FREE char *url PTL_UNUSED = fill(c, path, &req, headers, &n);
    struct started *s = ptl_xcalloc(1, sizeof(*s));
    *s = (struct started){.fn = fn, .ctx = ctx, .method = ptl_xstrdup(method), .path = ptl_xstrdup(path)};
    int r = ptl_http_start(pool, &req, on_answer, s, ret_call);
    if (r != 0) {
        free(s->method);
        free(s->path);
        free(s);
    }
    return r;
}

struct sink {
    int fd;
    int failed;
};

static int to_file(void *ctx, const void *data, size_t len)
{
    struct sink *s = ctx;
    s->failed = ptl_fs_write_all(s->fd, data, len);
    return s->failed;
}

int ptl_client_blob_download(struct ptl_client *c, const char *sha256, const char *to,
                             const atomic_int *cancelled, struct ptl_error *err)
{
    if (!ptl_sha256_is_hex(sha256))
        return ptl_error_set(err, -EINVAL, "blob '%.70s': not a SHA-256", sha256);
    PTL_FREE char *part = ptl_xasprintf("%s.part", to);
    PTL_FREE char *path = ptl_xasprintf("/api/v1/blobs/%s", sha256);
    for (int try = 0; try < 2; try++) {
        PTL_CLOSE int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
            return ptl_error_set(err, -errno, "%s: cannot write: %s", part, strerror(errno));
        if (lseek(fd, 0, SEEK_END) < 0)
            return ptl_error_set(err, -errno, "%s: cannot seek: %s", part, strerror(errno));
        char range[64];
        snprintf(range, sizeof(range), "Range: bytes=%lld-", (long long)st.st_size);
        const char *headers[] = {st.st_size ? range : NULL, NULL};
        struct sink sink = {.fd = fd};
        struct ptl_http_request req = {.method = "GET",
                                       .headers = headers,
                                       .timeout_ms = 3600 * 1000,
                                       .on_data = to_file,
                                       .on_data_ctx = &sink,
                                       .cancelled = cancelled};
        struct ptl_http_answer a = {0};
        int r = ptl_client_raw(c, path, &req, &a, err);
        int status = a.status;
        if (r == 0 && status != 206 && status / 100 == 2 && st.st_size)
            r = ptl_error_set(err, -EPROTO, "blob %.12s: the server ignored the range", sha256);
        else if (r == 0 && status / 100 != 2 && status != 416)
            r = result_of(&a, "GET", path, NULL, err);
        ptl_http_answer_done(&a);
        if (sink.failed < 0)
            return ptl_error_set(err, sink.failed, "%s: cannot write: %s", part, strerror(-sink.failed));
        if (r != 0)
            return r; /* the part stays: the next call goes on from it */
        char hex[PTL_SHA256_HEX];
        r = ptl_sha256_file(part, hex, NULL, err);
        if (r < 0)
            return r;
        if (ptl_str_eq(hex, sha256)) {
            if (fsync(fd) < 0 || rename(part, to) < 0)
                return ptl_error_set(err, -errno, "%s: cannot put in place: %s", to, strerror(errno));
            return 0;
        }
        unlink(part); /* damaged or an old piece: once more from the start */
    }
    return ptl_error_set(err, -EBADMSG, "blob %.12s: what arrived has another SHA-256, twice", sha256);
}

int ptl_client_blob_upload(struct ptl_client *c, const char *sha256, const char *from,
                           const atomic_int *cancelled, struct ptl_error *err)
{
    PTL_CLOSE int fd = open(from, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", from, strerror(errno));
    PTL_FREE char *path = ptl_xasprintf("/api/v1/blobs/%s", sha256);
    struct ptl_http_request head = {.method = "HEAD", .cancelled = cancelled};
    struct ptl_http_answer a = {0};
    int r = ptl_client_raw(c, path, &head, &a, err);
    int64_t at = 0;
    char value[64];
    if (r == 0 && a.status == 200) {
        ptl_http_answer_done(&a);
        return 0;
    }
    if (r == 0 && a.status == 404 && ptl_http_answer_header(&a, "X-Portolan-Offset", value, sizeof(value)))
        at = strtoll(value, NULL, 10);
    else if (r == 0 && a.status != 404)
        r = result_of(&a, "HEAD", path, NULL, err);
    ptl_http_answer_done(&a);
    if (r != 0)
        return r;
    int stuck = 0;
    if (at < 0 || at > st.st_size)
        at = 0;
    for (;;) {
        int64_t len = st.st_size - at;
        if (len > PTL_WIRE_BLOB_CHUNK_MAX)
            len = PTL_WIRE_BLOB_CHUNK_MAX;
        char range[96];
        snprintf(range, sizeof(range), "Content-Range: bytes %lld-%lld/%lld", (long long)at,
                 (long long)(at + len - 1), (long long)st.st_size);
        const char *headers[] = {"Content-Type: application/octet-stream", st.st_size ? range : NULL, NULL};
        struct ptl_http_request put = {
            .method = "PUT", .headers = headers, .timeout_ms = 300000, .cancelled = cancelled};
        if (len > 0) {
            put.body_fd = fd;
            put.body_offset = at;
            put.body_fd_len = len;
        }
        PTL_JSON *j = NULL;
        r = ptl_client_raw(c, path, &put, &a, err);
        int status = a.status;
        if (r == 0)
            r = result_of(&a, "PUT", path, &j, err);
        ptl_http_answer_done(&a);
        if (r != 0)
            return r;
        if (status != 202)
            return 0;
        int64_t next = ptl_json_i64(j, "next_offset", -1);
        if (next < 0 || next > st.st_size || (next <= at && ++stuck > 3))
            return ptl_error_set(err, -EPROTO, "blob %.12s: the server asks for offset %lld of %lld", sha256,
                                 (long long)next, (long long)st.st_size);
        at = next;
    }
}

/* text/event-stream parser; bounded line and event. */
struct stream {
    struct ptl_buf line, data;
    char id[128], event[64];
    ptl_client_event_fn *fn;
    void *ctx;
    int stopped;
};

static int end_line(struct stream *s)
{
    char *l = s->line.data ? s->line.data : (char *)"";
    size_t n = s->line.len;
    if (n && l[n - 1] == '\r')
        l[--n] = 0;
    int r = 0;
    if (n == 0) {
        if (s->data.len || s->event[0]) {
            size_t len = s->data.len ? s->data.len - 1 : 0;
            if (s->data.data)
                s->data.data[len] = 0;
            r = s->fn(s->ctx, s->id, s->event, ptl_buf_str(&s->data), len);
        }
        ptl_buf_clear(&s->data);
        s->event[0] = 0;
    } else if (l[0] != ':') {
        char *colon = strchr(l, ':');
        const char *value = colon ? colon + 1 + (colon[1] == ' ') : "";
        if (colon)
            *colon = 0;
        if (ptl_str_eq(l, "data")) {
            ptl_buf_puts(&s->data, value);
            ptl_buf_putc(&s->data, '\n');
        } else if (ptl_str_eq(l, "id")) {
            snprintf(s->id, sizeof(s->id), "%s", value);
        } else if (ptl_str_eq(l, "event")) {
            snprintf(s->event, sizeof(s->event), "%s", value);
        }
    }
    ptl_buf_clear(&s->line);
    return r;
}

static int on_stream(void *ctx, const void *data, size_t len)
{
    struct stream *s = ctx;
    const char *p = data, *end = p + len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (ptl_buf_add(&s->line, p, (size_t)((nl ? nl : end) - p)) < 0)
            return -1;
        if (!nl)
            break;
        if (end_line(s) != 0) {
            s->stopped = 1;
            return 1;
        }
        p = nl + 1;
    }
    return s->data.failed ? -1 : 0;
}

int ptl_client_events(struct ptl_client *c, const char *path, const char *last_id, ptl_client_event_fn *fn,
                      void *ctx, const atomic_int *cancelled, struct ptl_error *err)
{
    struct stream s = {.line = {.max = 4 << 20}, .data = {.max = 8 << 20}, .fn = fn, .ctx = ctx};
    char id_header[160];
    snprintf(id_header, sizeof(id_header), "Last-Event-ID: %s", last_id ? last_id : "");
    const char *headers[] = {"Accept: text/event-stream", last_id && *last_id ? id_header : NULL, NULL};
    struct ptl_http_request req = {.method = "GET",
                                   .headers = headers,
                                   .timeout_ms = 24LL * 3600 * 1000,
                                   .on_data = on_stream,
                                   .on_data_ctx = &s,
                                   .cancelled = cancelled};
    struct ptl_http_answer a = {0};
    int r = ptl_client_raw(c, path, &req, &a, err);
    if (s.stopped)
        r = 0;
    else if (r == 0)
        r = a.status / 100 == 2 ? PTL_ABSENT : result_of(&a, "GET", path, NULL, err);
    ptl_http_answer_done(&a);
    ptl_buf_done(&s.line);
    ptl_buf_done(&s.data);
    return r;
}

char *ptl_url_encode(const char *s)
{
    PTL_BUF b = PTL_BUF_INIT;
    for (const unsigned char *p = (const unsigned char *)s; *p; p++)
        if (isalnum(*p) || strchr("-._~", *p))
            ptl_buf_putc(&b, (char)*p);
        else
            ptl_buf_printf(&b, "%%%02X", *p);
    if (b.failed)
        abort();
    return ptl_buf_take(&b, NULL);
}
