/* http.c - one HTTP call by libcurl, blocking. Bounds every answer and wait; says in errors what was asked of
 * whom, never a credential or a query. */
#include "http-private.h"
#include <portolan/clock.h>
#include <stdio.h>

void ptl_http_global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void ptl_http_answer_done(struct ptl_http_answer *a)
{
    ptl_buf_done(&a->headers);
    ptl_buf_done(&a->body);
    a->status = 0;
}

bool ptl_http_answer_header(const struct ptl_http_answer *a, const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);
    bool found = false;
    for (const char *line = ptl_buf_str(&a->headers); line && *line;) {
        const char *end = strchrnul(line, '\n');
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *v = line + n + 1;
            while (*v == ' ' || *v == '\t')
                v++;
            size_t len = (size_t)(end - v);
            while (len && (v[len - 1] == '\r' || v[len - 1] == ' '))
                len--;
            snprintf(ret, size, "%.*s", (int)len, v);
            found = true; /* the last one wins: headers of an interim answer come before */
        }
        line = *end ? end + 1 : NULL;
    }
    return found;
}

/* scheme://host:port/path for messages: no userinfo, no query. */
static void shown_url(const char *url, char ret[256])
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t path = strcspn(host, "/?#");
    const char *at = memchr(host, '@', path);
    const char *rest = at ? at + 1 : host;
    snprintf(ret, 256, "%.*s%.*s", (int)(host - url), url, (int)strcspn(rest, "?#"), rest);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct ptl_http_transfer *t = arg;
    return ptl_buf_add(&t->answer.headers, data, size * n) < 0 ? 0 : size * n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct ptl_http_transfer *t = arg;
    size_t len = size * n;
    if (t->req.on_data) {
        long status = 0;
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200 && status < 300) {
            if (t->req.on_data(t->req.on_data_ctx, data, len) == 0)
                return len;
            ptl_error_set(&t->problem, -ECANCELED, "stopped by its receiver");
            return 0;
        }
    }
    if (ptl_buf_add(&t->answer.body, data, len) < 0) {
        ptl_error_set(&t->problem, t->answer.body.failed, "answer larger than %zu bytes", t->answer.body.max);
        return 0;
    }
    return len;
}

static size_t on_read(char *data, size_t size, size_t n, void *arg)
{
    struct ptl_http_transfer *t = arg;
    size_t want = size * n;
    if ((int64_t)want > t->body_left)
        want = (size_t)t->body_left;
    if (want == 0)
        return 0;
    ssize_t got = pread(t->req.body_fd, data, want, t->body_at);
    if (got <= 0) {
        ptl_error_set(&t->problem, got < 0 ? -errno : -EIO, "file to send ended early: %s",
                      got < 0 ? strerror(errno) : "it became shorter");
        return CURL_READFUNC_ABORT;
    }
    t->body_at += got;
    t->body_left -= got;
    return (size_t)got;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct ptl_http_transfer *t = arg;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    t->body_at = t->req.body_offset + offset;
    t->body_left = t->req.body_fd_len - offset;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    struct ptl_http_transfer *t = arg;
    return t->req.cancelled && *t->req.cancelled ? 1 : 0;
}

int ptl_http_transfer_init(struct ptl_http_transfer *t, const struct ptl_http_request *req,
                           struct ptl_error *err)
{
    memset(t, 0, sizeof(*t));
    t->req = *req;
    t->answer.headers.max = 64 << 10;
    t->answer.body.max = req->max_answer_bytes ? req->max_answer_bytes : (size_t)8 << 20;
    CURL *e = t->easy = curl_easy_init();
    if (!e)
        return ptl_error_set(err, -ENOMEM, "http: out of memory");
    for (size_t i = 0; req->headers && req->headers[i]; i++)
        t->headers = curl_slist_append(t->headers, req->headers[i]);
    t->headers = curl_slist_append(t->headers, "Expect:"); /* no 100-continue wait */
    curl_easy_setopt(e, CURLOPT_URL, req->url);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, ""); /* what the environment says must not see our tokens */
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (req->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, req->ca_file);
    if (req->unix_socket)
        curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, req->unix_socket);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(req->timeout_ms ? req->timeout_ms : 30000));
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(req->connect_timeout_ms ? req->connect_timeout_ms : 10000));
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    const char *m = req->method ? req->method : "GET";
    if (ptl_str_eq(m, "HEAD")) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (req->body_fd > 0) {
        t->body_at = req->body_offset;
        t->body_left = req->body_fd_len;
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(e, CURLOPT_READDATA, t);
        curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(e, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_fd_len);
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, m);
    } else if (req->body || ptl_str_eq(m, "POST") || ptl_str_eq(m, "PUT") || ptl_str_eq(m, "PATCH")) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body ? req->body : "");
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, m);
    } else {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, m);
    }
    return 0;
}

int ptl_http_transfer_result(struct ptl_http_transfer *t, CURLcode code, struct ptl_error *err)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (int)status;
    if (code == CURLE_OK)
        return 0;
    char url[256];
    shown_url(t->req.url, url);
    const char *why = t->problem.code    ? t->problem.text
                      : t->curl_error[0] ? t->curl_error
                                         : curl_easy_strerror(code);
    int r = t->problem.code                                                              ? t->problem.code
            : code == CURLE_OPERATION_TIMEDOUT                                           ? -ETIMEDOUT
            : code == CURLE_COULDNT_CONNECT                                              ? -ECONNREFUSED
            : code == CURLE_COULDNT_RESOLVE_HOST                                         ? -EHOSTUNREACH
            : code == CURLE_ABORTED_BY_CALLBACK                                          ? -ECANCELED
            : code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ? -EKEYREJECTED
            : code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL          ? -EINVAL
                                                                                         : -EIO;
    return ptl_error_set(err, r, "%s %s: %s", t->req.method ? t->req.method : "GET", url, why);
}

void ptl_http_transfer_done(struct ptl_http_transfer *t)
{
    if (t->easy)
        curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    ptl_http_answer_done(&t->answer);
}

int ptl_http_perform(const struct ptl_http_request *req, struct ptl_http_answer *ret, struct ptl_error *err)
{
    struct ptl_http_transfer t;
    int r = ptl_http_transfer_init(&t, req, err);
    if (r == 0)
        r = ptl_http_transfer_result(&t, curl_easy_perform(t.easy), err);
    *ret = (struct ptl_http_answer){.status = t.answer.status};
    if (r == 0) {
        *ret = t.answer;
        memset(&t.answer, 0, sizeof(t.answer));
    }
    ptl_http_transfer_done(&t);
    return r;
}
