/* http.h - an HTTP client over libcurl: blocking for worker threads and the command, asynchronous on a
 * ptl_loop. Never follows redirects, verifies TLS always, speaks http and https only, bounds every answer and
 * every wait. */
#ifndef PORTOLAN_HTTP_H
#define PORTOLAN_HTTP_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <portolan/loop.h>
#include <stdatomic.h>

struct ptl_http_request {
    const char *method; /* "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-ended; may be NULL */
    const void *body;
    size_t body_len; /* borrowed until the answer */
    int body_fd;
    int64_t body_offset, body_fd_len; /* instead of body when body_fd > 0: pread from offset */
    const char *ca_file;              /* PEM; NULL: the system's */
    const char *unix_socket;          /* path; NULL: TCP */
    int64_t timeout_ms;               /* whole call; 0: 30 s */
    int64_t connect_timeout_ms;       /* 0: 10 s */
    size_t max_answer_bytes;          /* 0: 8 MiB; more is -E2BIG */
    /* When set, the body of a 2xx answer goes here in pieces (not into answer.body); non-zero stops the call
     * with -ECANCELED. Runs on the thread that performs the call. */
    int (*on_data)(void *ctx, const void *data, size_t len);
    void *on_data_ctx;
    const atomic_int *cancelled; /* polled at least once a second; NULL: never */
};
struct ptl_http_answer {
    int status;             /* 100..599; 0 when none came */
    struct ptl_buf headers; /* raw lines, NUL-ended */
    struct ptl_buf body;
};
void ptl_http_answer_done(struct ptl_http_answer *a);
/* Value of a header (case-insensitive) copied into ret; false when absent. */
bool ptl_http_answer_header(const struct ptl_http_answer *a, const char *name, char *ret, size_t size);

void ptl_http_global_init(void); /* once, at program start, before threads */
/* Blocking; any thread. 0 when an answer with any status came; negative: none came (-ETIMEDOUT,
 * -ECONNREFUSED, -E2BIG, -ECANCELED, -EIO …) and err says what was asked of whom (URL without userinfo and
 * query) and why it failed; *ret then holds nothing but the status, if that had come. */
PTL_NODISCARD int ptl_http_perform(const struct ptl_http_request *req, struct ptl_http_answer *ret,
                                   struct ptl_error *err);

/* The same on the loop (multi-socket interface). */
struct ptl_http_pool; /* loop thread only */
struct ptl_http_pool *ptl_http_pool_new(struct ptl_loop *loop, unsigned max_running);
struct ptl_http_pool *ptl_http_pool_free(struct ptl_http_pool *p); /* open calls answer -ECANCELED */
typedef void ptl_http_fn(void *ctx, int result, const struct ptl_http_answer *a /* NULL when result < 0 */,
                         const struct ptl_error *err);
struct ptl_http_call;
/* Copies everything but a body_fd; `fn` runs once, later, on the loop thread. PTL_FULL: too many running or
 * waiting. */
PTL_NODISCARD int ptl_http_start(struct ptl_http_pool *p, const struct ptl_http_request *req, ptl_http_fn *fn,
                                 void *ctx, struct ptl_http_call **ret_call /* may be NULL */);
void ptl_http_call_cancel(
    struct ptl_http_call *call); /* its fn runs with -ECANCELED, later; call pointer dead once fn ran */
#endif
