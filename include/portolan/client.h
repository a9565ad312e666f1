/* client.h - Portolan's API for agents and the command. Tokens go over https, or over http to loopback only.
 */
#ifndef PORTOLAN_CLIENT_H
#define PORTOLAN_CLIENT_H
#include <portolan/http.h>
#include <portolan/json.h>

struct ptl_client; /* immutable after new: any thread may call */
struct ptl_client_options {
    const char *server;  /* "https://host:port" or "http://127.0.0.1:port" */
    const char *token;   /* may be NULL before enrolment */
    const char *ca_file; /* may be NULL */
    const char *user_agent;
};
/* -EINVAL for a bad URL, -EACCES for plain http to a host that is not loopback. */
PTL_NODISCARD int ptl_client_new(const struct ptl_client_options *o, struct ptl_client **ret,
                                 struct ptl_error *err);
struct ptl_client *ptl_client_free(struct ptl_client *c);
PTL_DEFINE_FREEP(struct ptl_client, ptl_client_free)

/* One call, JSON both ways. `path` begins with "/". Returns 0 on 2xx with *ret (NULL allowed; JSON null when
 * the answer is empty); PTL_ABSENT on 404; otherwise negative: -EPERM 401/403, -ESTALE 409, -EINVAL 400/422,
 * -EAGAIN 429/503, -EPROTO others, or what ptl_http_perform returned. err holds the problem's title and
 * detail. ret_status (NULL allowed) is the HTTP status, 0 when none came. */
PTL_NODISCARD int ptl_client_json(struct ptl_client *c, const char *method, const char *path,
                                  const json_t *body, int64_t timeout_ms, int *ret_status, json_t **ret,
                                  struct ptl_error *err);
/* Raw call: fills `req->url`, token and CA, then ptl_http_perform. */
PTL_NODISCARD int ptl_client_raw(struct ptl_client *c, const char *path, struct ptl_http_request *req,
                                 struct ptl_http_answer *ret, struct ptl_error *err);
/* The same on the loop; `fn` gets the answer as JSON (borrowed; NULL when there is none) and result as
 * ptl_client_json returns it. */
typedef void ptl_client_fn(void *ctx, int result, int status, const json_t *answer,
                           const struct ptl_error *err);
PTL_NODISCARD int ptl_client_start(struct ptl_client *c, struct ptl_http_pool *pool, const char *method,
                                   const char *path, const json_t *body, int64_t timeout_ms,
                                   ptl_client_fn *fn, void *ctx, struct ptl_http_call **ret_call);
/* Blobs. download: into `to` (temporary beside it, resumed when present), verified against sha256, then
 * renamed. upload: HEAD first, then pieces with Content-Range from where the server stands. Both blocking;
 * worker threads. */
PTL_NODISCARD int ptl_client_blob_download(struct ptl_client *c, const char *sha256, const char *to,
                                           const atomic_int *cancelled, struct ptl_error *err);
PTL_NODISCARD int ptl_client_blob_upload(struct ptl_client *c, const char *sha256, const char *from,
                                         const atomic_int *cancelled, struct ptl_error *err);
/* Server-sent events of `path`: `fn` once an event (id and event may be ""), until it returns non-zero (then
 * 0) or the stream ends (PTL_ABSENT) or breaks (negative). `last_id` may be NULL. Blocking. */
typedef int ptl_client_event_fn(void *ctx, const char *id, const char *event, const char *data, size_t len);
PTL_NODISCARD int ptl_client_events(struct ptl_client *c, const char *path, const char *last_id,
                                    ptl_client_event_fn *fn, void *ctx, const atomic_int *cancelled,
                                    struct ptl_error *err);
char *ptl_url_encode(const char *s); /* one path or query component; caller frees */
#endif
