/* http.c - libcurl under our limits: the only way this directory reaches the network by http, and the only
 * place where addresses are resolved.
 *
 * An answer is pulled: git_http_start() returns with the headers, git_http_read() with some of the body, and
 * libcurl runs only inside of these calls, so what it may have read ahead is bounded by one turn of it. Every
 * wait is cut into ticks that look at the deadline, at the caller's flag and at how long the server has been
 * silent (libgit2 1.5 has no socket time-outs at all, which is why its own transports are not used).
 *
 * Addresses are judged in the open-socket callback, with the address that is really going to be connected to:
 * neither an odd spelling of 127.0.0.1 nor a name that changes its mind between check and use gets through.
 * Redirects are never followed here; callers judge the new URL first. Blocking; one thread per client. */
#include "git-private.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

enum { CONNECT_TIMEOUT_MS = 30000 };

struct git_http {
    struct git_op *op;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    bool attached, headers_done, body_done;
    bool refused_private; /* set by open_socket */
    CURLcode result;
    struct ptl_buf in; /* received and not yet read */
    size_t in_off;
    int64_t last_byte; /* ptl_mono_ms() */
    char *what;
    char *location;
    char host[256];
};

/* ---- addresses ---- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct git_http *h = ctx;
    if (purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    if (!h->op->policy.allow_private_addresses && !h->op->policy.proxy &&
        !git_address_is_public(&address->addr)) {
        h->refused_private = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int refused_private(const char *what, const char *host, struct ptl_error *err)
{
    return ptl_error_set(
        err, -EPERM,
        "%s: the host \"%s\" is a loopback, link-local or private address, which the policy does not allow",
        what, host);
}

struct lookup { /* on the heap: an unanswered resolver keeps it */
    struct gaicb cb;
    struct addrinfo hints;
    char host[256];
};

/* getaddrinfo() with a deadline. Caller frees *ret with freeaddrinfo(). */
static int lookup_host(struct git_op *op, const char *host, const char *what, struct addrinfo **ret,
                       struct ptl_error *err)
{
    struct lookup *l = calloc(1, sizeof(*l));
    if (!l)
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", what);
    snprintf(l->host, sizeof(l->host), "%s", host);
    l->hints.ai_socktype = SOCK_STREAM;
    l->cb.ar_name = l->host;
    l->cb.ar_request = &l->hints;
    struct gaicb *list[1] = {&l->cb};
    int r = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    int64_t give_up = ptl_mono_ms() + CONNECT_TIMEOUT_MS;
    while (r == 0 && (r = gai_error(&l->cb)) == EAI_INPROGRESS) {
        int s = git_op_check(op, what, err);
        if (s == 0 && ptl_mono_ms() > give_up)
            s = ptl_error_set(err, -ETIMEDOUT, "%s: the name \"%s\" was not resolved within %d s", what, host,
                              CONNECT_TIMEOUT_MS / 1000);
        if (s < 0) {
            if (gai_cancel(&l->cb) == EAI_CANCELED)
                free(l); /* else the resolver's thread still writes to it; it is lost on purpose */
            return s;
        }
        struct timespec tick = {0, GIT_TICK_MS * 1000000L};
        (void)gai_suspend((const struct gaicb *const *)list, 1, &tick);
        r = 0;
    }
    if (r != 0) {
        ptl_error_set(err, r == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH,
                      "%s: the host \"%s\" cannot be resolved: %s", what, host, gai_strerror(r));
        free(l);
        return r == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
    }
    *ret = l->cb.ar_result;
    free(l);
    return 0;
}

int git_resolve_host(struct git_op *op, const char *host, const char *what, char *ret, size_t size,
                     struct ptl_error *err)
{
    *ret = '\0';
    if (op->policy.allow_private_addresses)
        return 0;
    struct addrinfo *list = NULL;
    int r = lookup_host(op, host, what, &list, err);
    if (r < 0)
        return r;
    for (struct addrinfo *a = list; a && !*ret; a = a->ai_next)
        if (git_address_is_public(a->ai_addr) &&
            getnameinfo(a->ai_addr, a->ai_addrlen, ret, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
            *ret = '\0';
    freeaddrinfo(list);
    return *ret ? 0 : refused_private(what, host, err);
}

static int wait_connected(struct git_op *op, int fd, const char *what, const char *host,
                          struct ptl_error *err)
{
    int64_t give_up = ptl_mono_ms() + CONNECT_TIMEOUT_MS;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = poll(&p, 1, git_op_tick(op));
        if (n > 0)
            break;
        int r = git_op_check(op, what, err);
        if (r < 0)
            return r;
        if (ptl_mono_ms() > give_up)
            return ptl_error_set(err, -ETIMEDOUT, "%s: no connection to \"%s\" within %d s", what, host,
                                 CONNECT_TIMEOUT_MS / 1000);
    }
    int e = 0;
    socklen_t len = sizeof(e);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
        e = errno;
    return e ? ptl_error_set(err, -e, "%s: cannot connect to \"%s\": %s", what, host, strerror(e)) : 0;
}

int git_tcp_connect(struct git_op *op, const char *host, unsigned port, const char *what, int *ret_fd,
                    struct ptl_error *err)
{
    struct addrinfo *list = NULL;
    int r = lookup_host(op, host, what, &list, err);
    if (r < 0)
        return r;
    bool any = false;
    r = -EHOSTUNREACH;
    for (struct addrinfo *a = list; a && r < 0 && r != -ECANCELED; a = a->ai_next) {
        if (!op->policy.allow_private_addresses && !git_address_is_public(a->ai_addr))
            continue;
        any = true;
        if (a->ai_family == AF_INET)
            ((struct sockaddr_in *)(void *)a->ai_addr)->sin_port = htons((uint16_t)port);
        else
            ((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_port = htons((uint16_t)port);
        PTL_CLOSE int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            r = ptl_error_set(err, -errno, "%s: no socket: %s", what, strerror(errno));
            continue;
        }
        if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
            r = ptl_error_set(err, -errno, "%s: cannot connect to \"%s\": %s", what, host, strerror(errno));
        else
            r = wait_connected(op, fd, what, host, err);
        if (r == 0) {
            *ret_fd = fd;
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return any ? r : refused_private(what, host, err);
}

/* ---- requests ---- */

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct git_http *h = ctx;
    size_t len = size * n;
    h->last_byte = ptl_mono_ms();
    if (len > 10 && strncasecmp(data, "location:", 9) == 0 && len < 4096) {
        size_t from = 9;
        while (from < len && data[from] == ' ')
            from++;
        while (len > from && (unsigned char)data[len - 1] <= ' ')
            len--;
        free(h->location);
        h->location = strndup(data + from, len - from);
        return size * n;
    }
    if (len <= 2 && (len == 0 || data[0] == '\r' || data[0] == '\n')) {
        long status = 0;
        (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200)
            h->headers_done = true;
    }
    return size * n;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct git_http *h = ctx;
    h->last_byte = ptl_mono_ms();
    h->headers_done = true;
    return ptl_buf_add(&h->in, data, size * n) == 0 ? size * n : 0;
}

int git_http_new(struct git_op *op, struct git_http **ret, struct ptl_error *err)
{
    PTL_CLEANUP(git_http_freep) struct git_http *h = calloc(1, sizeof(*h));
    if (!h)
        return ptl_error_set(err, -ENOMEM, "http: out of memory");
    h->op = op;
    h->in.max = GIT_SMALL_ANSWER_MAX; /* of one turn, far above what libcurl reads in one */
    h->multi = curl_multi_init();
    h->easy = curl_easy_init();
    if (!h->multi || !h->easy)
        return ptl_error_set(err, -ENOMEM, "http: libcurl gives no handle");
    *ret = PTL_TAKE(h);
    return 0;
}

static void detach(struct git_http *h)
{
    if (h->attached)
        curl_multi_remove_handle(h->multi, h->easy);
    h->attached = false;
    curl_slist_free_all(h->headers);
    h->headers = NULL;
}

struct git_http *git_http_free(struct git_http *h)
{
    if (!h)
        return NULL;
    detach(h);
    if (h->easy)
        curl_easy_cleanup(h->easy);
    if (h->multi)
        curl_multi_cleanup(h->multi);
    ptl_buf_done(&h->in);
    free(h->what);
    free(h->location);
    free(h);
    return NULL;
}

void git_http_answer_done(struct git_http_answer *a)
{
    free(a->location);
    a->location = NULL;
}

static bool add_header(struct git_http *h, const char *line)
{
    struct curl_slist *s = curl_slist_append(h->headers, line);
    if (s)
        h->headers = s;
    return s != NULL;
}

static bool set_credentials(struct git_http *h, const struct ptl_git_credentials *c)
{
    if (!c || c->kind == PTL_GIT_CRED_NONE)
        return true;
    if (c->kind == PTL_GIT_CRED_BEARER) {
        PTL_FREE char *line = NULL;
        return strpbrk(c->secret, "\r\n") == NULL &&
               asprintf(&line, "Authorization: Bearer %s", c->secret) > 0 && add_header(h, line);
    }
    const char *user = c->user ? c->user : c->kind == PTL_GIT_CRED_TOKEN ? "x-access-token" : "";
    return curl_easy_setopt(h->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
           curl_easy_setopt(h->easy, CURLOPT_USERNAME, user) == CURLE_OK &&
           curl_easy_setopt(h->easy, CURLOPT_PASSWORD, c->secret) == CURLE_OK;
}

static bool set_up(struct git_http *h, const struct git_http_request *rq)
{
    CURL *e = h->easy;
    const struct ptl_git_policy *p = &h->op->policy;
    curl_easy_reset(e);
    bool ok = curl_easy_setopt(e, CURLOPT_URL, rq->url) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_PROXY, p->proxy ? p->proxy : "") == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_USERAGENT, "portolan/" PTL_VERSION) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 64L * 1024) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, h) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_HEADERDATA, h) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_WRITEDATA, h) == CURLE_OK;
    if (ok && p->ca_file)
        ok = curl_easy_setopt(e, CURLOPT_CAINFO, p->ca_file) == CURLE_OK;
    if (ok && rq->compressed)
        ok = curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate") == CURLE_OK;
    if (ok && rq->body)
        ok = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len) == CURLE_OK &&
             curl_easy_setopt(e, CURLOPT_POSTFIELDS, rq->body) == CURLE_OK && add_header(h, "Expect:");
    for (const char *const *line = rq->headers; ok && line && *line; line++)
        ok = strpbrk(*line, "\r\n") == NULL && add_header(h, *line);
    ok = ok && set_credentials(h, rq->credentials);
    return ok && (!h->headers || curl_easy_setopt(e, CURLOPT_HTTPHEADER, h->headers) == CURLE_OK);
}

static int transfer_failed(struct git_http *h, struct ptl_error *err)
{
    if (h->refused_private)
        return refused_private(h->what, h->host, err);
    int code = -EIO;
    switch (h->result) {
    case CURLE_OPERATION_TIMEDOUT:
        code = -ETIMEDOUT;
        break;
    case CURLE_COULDNT_CONNECT:
        code = -ECONNREFUSED;
        break;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        code = -EHOSTUNREACH;
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        code = -EACCES;
        break;
    case CURLE_OUT_OF_MEMORY:
        code = -ENOMEM;
        break;
    default:
        break;
    }
    return ptl_error_set(err, code, "%s: the connection to \"%s\" failed: %s", h->what, h->host,
                         curl_easy_strerror(h->result));
}

/* Runs libcurl until headers, or a byte of the body, or the end has come. */
static int turn(struct git_http *h, bool want_body, struct ptl_error *err)
{
    h->last_byte = ptl_mono_ms(); /* the time since the last turn was ours, not the server's */
    for (;;) {
        int running = 0, left = 0;
        if (curl_multi_perform(h->multi, &running) != CURLM_OK)
            return ptl_error_set(err, -EIO, "%s: libcurl failed", h->what);
        for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));)
            if (m->msg == CURLMSG_DONE) {
                h->body_done = h->headers_done = true;
                h->result = m->data.result;
            }
        if (h->body_done && h->result != CURLE_OK && h->in.len == h->in_off)
            return transfer_failed(h, err);
        if (h->body_done || (want_body ? h->in.len > h->in_off : h->headers_done))
            return 0;
        int r = git_op_check(h->op, h->what, err);
        if (r < 0)
            return r;
        if (ptl_mono_ms() - h->last_byte > h->op->policy.idle_ms)
            return ptl_error_set(err, -ETIMEDOUT, "%s: the server \"%s\" sent nothing for %lld s", h->what,
                                 h->host, (long long)(h->op->policy.idle_ms + 999) / 1000);
        (void)curl_multi_poll(h->multi, NULL, 0, git_op_tick(h->op), NULL);
    }
}

int git_http_start(struct git_http *h, const struct git_http_request *rq, struct git_http_answer *ret,
                   struct ptl_error *err)
{
    detach(h);
    ptl_buf_clear(&h->in);
    h->in_off = 0;
    h->headers_done = h->body_done = h->refused_private = false;
    h->result = CURLE_OK;
    free(h->what);
    h->what = strdup(rq->what);
    free(h->location);
    h->location = NULL;
    h->last_byte = ptl_mono_ms();
    PTL_FREE char *shown = ptl_git_url_redacted(rq->url);
    const char *from = shown ? strstr(shown, "://") : NULL;
    snprintf(h->host, sizeof(h->host), "%.*s", from ? (int)strcspn(from + 3, "/") : 1, from ? from + 3 : "?");
    if (!h->what || !set_up(h, rq) || curl_multi_add_handle(h->multi, h->easy) != CURLM_OK)
        return ptl_error_set(err, -EINVAL, "%s: the request cannot be made", rq->what);
    h->attached = true;
    int r = turn(h, false, err);
    if (r < 0)
        return r;
    struct git_http_answer a = {.length = -1};
    curl_off_t length = -1;
    const char *type = NULL;
    (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &a.status);
    (void)curl_easy_getinfo(h->easy, CURLINFO_CONTENT_TYPE, &type);
    (void)curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    a.length = length;
    snprintf(a.content_type, sizeof(a.content_type), "%s", type ? type : "");
    if (h->location && a.status >= 300 && a.status < 400) {
        char drop[4096], *target = NULL; /* libcurl makes it absolute, when the transfer is over */
        for (size_t n = 0; n < 256; n++) {
            ssize_t got = git_http_read(h, drop, sizeof(drop), err);
            if (got < 0)
                return (int)got;
            if (got == 0)
                break;
        }
        if (curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &target) == CURLE_OK && target)
            a.location = strdup(target);
    }
    *ret = a;
    return 0;
}

ssize_t git_http_read(struct git_http *h, void *buf, size_t size, struct ptl_error *err)
{
    if (h->in.len == h->in_off) {
        ptl_buf_clear(&h->in);
        h->in_off = 0;
        int r = h->body_done ? (h->result == CURLE_OK ? 0 : transfer_failed(h, err)) : turn(h, true, err);
        if (r < 0)
            return r;
    }
    size_t n = h->in.len - h->in_off;
    if (n > size)
        n = size;
    if (n)
        memcpy(buf, h->in.data + h->in_off, n);
    h->in_off += n;
    return (ssize_t)n;
}
