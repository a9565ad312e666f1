/* server.c - the listener and the life of a request: match the route, authorise, hand over, answer once. A
 * request is owned here until its answer; when the peer hangs up first, `gone` tells the handler and the late
 * answer is dropped (evhttp frees it then). */
#include "server.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <portolan/wire.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

enum { PARAMS_MAX = 4, IDLE_TIMEOUT_S = 120, BODY_MAX = 1 << 20, EARLY_MAX = 64 << 10 };

struct ptl_server {
    struct ptl_core *core;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    SSL_CTX *tls;
    char *address, *metrics_token;
    int64_t sse_heartbeat_ms;
    struct ptl_auth_cache *auth;
    struct ptl_sse *sse;
    struct ptl_request *requests;
    bool draining;
};

struct ptl_request {
    struct ptl_server *server;
    struct ptl_request *next, **prev;
    struct evhttp_request *req;
    struct evhttp_connection *conn;
    const struct ptl_route *route;
    struct ptl_identity who;
    struct evkeyvalq query;
    bool has_query, is_gone, streaming, answered, listening;
    char *params[PARAMS_MAX];
    const char *param_names[PARAMS_MAX];
    size_t param_name_lens[PARAMS_MAX], n_params;
    json_t *json;
    char id[40];
    void *data;
    void (*gone)(struct ptl_request *q);
    int64_t started_us;
    unsigned audits; /* rows of the audit log on their way; the answer waits for them */
    struct evbuffer *held;
    char *held_type;
    int held_status;
};

static void request_free(struct ptl_request *q)
{
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    for (size_t i = 0; i < q->n_params; i++)
        free(q->params[i]);
    if (q->has_query)
        evhttp_clear_headers(&q->query);
    json_decref(q->json);
    free(q);
}

static void on_closed(struct evhttp_connection *conn PTL_UNUSED, void *arg)
{
    struct ptl_request *q = arg;
    q->is_gone = true;
    q->conn = NULL;
    if (q->gone)
        q->gone(q);
}

struct ptl_server *ptl_request_server(struct ptl_request *q)
{
    return q->server;
}

struct ptl_core *ptl_request_core(struct ptl_request *q)
{
    return q->server->core;
}

const struct ptl_identity *ptl_request_identity(const struct ptl_request *q)
{
    return &q->who;
}

const char *ptl_request_param(const struct ptl_request *q, const char *name)
{
    for (size_t i = 0; i < q->n_params; i++)
        if (strlen(name) == q->param_name_lens[i] &&
            memcmp(name, q->param_names[i], q->param_name_lens[i]) == 0)
            return q->params[i];
    return NULL;
}

static int64_t whole(const char *s)
{
    if (!s || !isdigit((unsigned char)*s) || strlen(s) > 18)
        return -1;
    char *end;
    int64_t v = strtoll(s, &end, 10);
    return *end ? -1 : v;
}

int64_t ptl_request_param_id(const struct ptl_request *q, const char *name)
{
    int64_t v = whole(ptl_request_param(q, name));
    return v > 0 ? v : 0;
}

const char *ptl_request_query(const struct ptl_request *q, const char *name)
{
    const char *v = q->has_query ? evhttp_find_header(&q->query, name) : NULL;
    return v && *v ? v : NULL;
}

int64_t ptl_request_query_i64(const struct ptl_request *q, const char *name, int64_t dflt, int64_t min,
                              int64_t max)
{
    int64_t v = whole(ptl_request_query(q, name));
    if (v < 0)
        v = dflt;
    return v < min ? min : v > max ? max : v;
}

const char *ptl_request_header(const struct ptl_request *q, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(q->req), name);
}

const char *ptl_request_peer(const struct ptl_request *q)
{
    char *address = NULL;
    ev_uint16_t port;
    struct evhttp_connection *c = q->req ? evhttp_request_get_connection(q->req) : NULL;
    if (c)
        evhttp_connection_get_peer(c, &address, &port);
    return address ? address : "";
}

const char *ptl_request_id(const struct ptl_request *q)
{
    return q->id;
}

const char *ptl_request_pattern(const struct ptl_request *q)
{
    return q->route->pattern;
}

struct evbuffer *ptl_request_body(struct ptl_request *q)
{
    return evhttp_request_get_input_buffer(q->req);
}

const void *ptl_request_bytes(struct ptl_request *q, size_t *ret_len)
{
    struct evbuffer *b = ptl_request_body(q);
    *ret_len = evbuffer_get_length(b);
    return *ret_len ? evbuffer_pullup(b, -1) : (const unsigned char *)"";
}

const json_t *ptl_request_json(struct ptl_request *q)
{
    if (q->json)
        return q->json;
    size_t len;
    const char *p = ptl_request_bytes(q, &len);
    struct ptl_error err = PTL_ERROR_INIT;
    if (len == 0) {
        ptl_answer_problem(q, 400, "expected a JSON object as the body");
        return NULL;
    }
    if (ptl_json_parse(p, len, "body", &q->json, &err) < 0) {
        ptl_answer_problem(q, 400, "%s", err.text);
        return NULL;
    }
    if (!json_is_object(q->json)) {
        ptl_answer_problem(q, 400, "body: expected a JSON object");
        return NULL;
    }
    return q->json;
}

bool ptl_request_may_project(struct ptl_request *q, const char *project)
{
    if (!q->who.project[0] || ptl_str_eq(q->who.project, project))
        return true;
    ptl_answer_problem(q, 404, "there is no such thing here, or this token is confined to another project");
    return false;
}

/* libevent stops reading while a request is answered, and so would not see that its peer hangs up: a dead
 * agent's long poll would be given stages. Reading goes on here with no callback but the one for errors; what
 * comes early waits in the buffer, up to a bound, for the next request. */
static void listen_for_hangup(struct ptl_request *q)
{
    if (q->listening || !q->conn)
        return;
    struct bufferevent *bev = evhttp_connection_get_bufferevent(q->conn);
    struct timeval tv = {.tv_sec = IDLE_TIMEOUT_S};
    bufferevent_event_cb on_error;
    void *arg;
    bufferevent_getcb(bev, NULL, NULL, &on_error, &arg);
    bufferevent_setcb(bev, NULL, NULL, on_error, arg);
    bufferevent_set_timeouts(bev, NULL, &tv);
    bufferevent_setwatermark(bev, EV_READ, 0, EARLY_MAX);
    bufferevent_enable(bev, EV_READ);
    q->listening = true;
}

void ptl_request_set(struct ptl_request *q, void *data, void (*gone)(struct ptl_request *q))
{
    q->data = data;
    q->gone = gone;
    if (gone)
        listen_for_hangup(q);
}

void *ptl_request_get(struct ptl_request *q)
{
    return q->data;
}

/* ---- answers ---- */

static void forget_connection(struct ptl_request *q)
{
    q->gone = NULL;
    if (!q->conn)
        return;
    evhttp_connection_set_closecb(q->conn, NULL, NULL);
    if (q->listening) { /* as libevent had it; the callbacks it sets again itself */
        struct bufferevent *bev = evhttp_connection_get_bufferevent(q->conn);
        struct timeval tv = {.tv_sec = IDLE_TIMEOUT_S};
        bufferevent_setwatermark(bev, EV_READ, 0, 0);
        bufferevent_set_timeouts(bev, &tv, &tv);
    }
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"                    },
        {201, "Created"               },
        {202, "Accepted"              },
        {204, "No Content"            },
        {206, "Partial Content"       },
        {304, "Not Modified"          },
        {400, "Bad Request"           },
        {401, "Unauthorized"          },
        {403, "Forbidden"             },
        {404, "Not Found"             },
        {410, "Gone"                  },
        {405, "Method Not Allowed"    },
        {409, "Conflict"              },
        {413, "Content Too Large"     },
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable" },
        {422, "Unprocessable Content" },
        {429, "Too Many Requests"     },
        {500, "Internal Server Error" },
        {503, "Service Unavailable"   }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status";
}

void ptl_answer_header(struct ptl_request *q, const char *name, const char *value)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return; /* never let data end a header */
    evhttp_add_header(evhttp_request_get_output_headers(q->req), name, value);
}

static void common_headers(struct ptl_request *q, const char *type)
{
    ptl_answer_header(q, "X-Request-Id", q->id);
    ptl_answer_header(q, "X-Content-Type-Options", "nosniff");
    struct evkeyvalq *out = evhttp_request_get_output_headers(q->req);
    if (type)
        ptl_answer_header(q, "Content-Type", type);
    if (!evhttp_find_header(out, "Cache-Control"))
        ptl_answer_header(q, "Cache-Control", "no-store");
}

static void send_reply(struct ptl_request *q, int status, const char *type, struct evbuffer *body)
{
    forget_connection(q);
    common_headers(q, type);
    ptl_log_debug("http: %s %s %d %lld us", q->route ? q->route->method : "-",
                  q->route ? q->route->pattern : "-", status, (long long)(ptl_mono_us() - q->started_us));
    evhttp_send_reply(q->req, status, reason(status), body); /* frees req when the peer is gone */
    request_free(q);
}

static void on_audited(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err)
        ptl_log_error("audit: what %s did by %s %s could not be written: %s", q->who.name, q->route->method,
                      q->route->pattern, err->text);
    if (--q->audits > 0 || !q->held)
        return;
    struct evbuffer *body = PTL_TAKE(q->held);
    PTL_FREE char *type = PTL_TAKE(q->held_type);
    send_reply(q, q->held_status, type, body);
    evbuffer_free(body);
}

/* Who hears that a change was made finds it in the audit log. */
void ptl_audit(struct ptl_request *q, const char *action, const char *object, const json_t *detail)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_str(&args, q->who.name);
    ptl_args_str(&args, action);
    ptl_args_str(&args, object);
    ptl_args_json(&args, detail);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_audit_add, &args, on_audited, q) == 0)
        q->audits++;
    else
        ptl_log_error("audit: %s of %s by %s could not be written: the database queue is full", action,
                      object, q->who.name);
}

void ptl_answer_buffer(struct ptl_request *q, int status, const char *type, struct evbuffer *body)
{
    if (q->answered) {
        ptl_log_error("http: a second answer to %s %s was dropped: a mistake in this program",
                      q->route ? q->route->method : "?", q->route ? q->route->pattern : "?");
        return;
    }
    q->answered = true;
    if (q->audits) {
        q->gone = NULL; /* its handler is done with it */
        q->held = evbuffer_new();
        evbuffer_add_buffer(q->held, body);
        q->held_type = ptl_xstrdup(type);
        q->held_status = status;
        return;
    }
    send_reply(q, status, type, body);
}

void ptl_answer_text(struct ptl_request *q, int status, const char *type, const char *body)
{
    struct evbuffer *b = evbuffer_new();
    evbuffer_add(b, body, strlen(body));
    ptl_answer_buffer(q, status, type, b);
    evbuffer_free(b);
}

void ptl_answer_json(struct ptl_request *q, int status, const json_t *body)
{
    if (!body) {
        ptl_answer_text(q, status, "application/json", "{}");
        return;
    }
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    ptl_answer_text(q, status, "application/json", text ? text : "null");
    free(text);
}

void ptl_answer_problem(struct ptl_request *q, int status, const char *fmt, ...)
{
    struct ptl_error detail = PTL_ERROR_INIT;
    char text[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ptl_error_set(&detail, -1, "%s", text);
    PTL_FREE char *clean = ptl_json_text_utf8(detail.text, strlen(detail.text));
    PTL_JSON *p = json_pack("{s:s,s:s,s:i,s:s,s:s}", "type", "about:blank", "title", reason(status), "status",
                            status, "detail", clean, "request_id", q->id);
    char *body = p ? json_dumps(p, JSON_COMPACT) : NULL;
    if (status == 401)
        ptl_answer_header(q, "WWW-Authenticate", "Bearer");
    if (status == 503 || status == 429)
        ptl_answer_header(q, "Retry-After", "1");
    ptl_answer_text(q, status, "application/problem+json", body ? body : "{}");
    free(body);
}

void ptl_answer_result(struct ptl_request *q, int status, int result, const json_t *answer,
                       const struct ptl_error *err)
{
    static const struct {
        int result, status;
    } map[] = {
        {PTL_ABSENT,  404},
        {PTL_FULL,    503},
        {-ESTALE,     409},
        {-EEXIST,     409},
        {-EINVAL,     422},
        {-ENOENT,     404},
        {-EPERM,      403},
        {-ETIMEDOUT,  503},
        {-ECONNRESET, 503},
        {-ECANCELED,  503},
        {-ENOSPC,     503},
        {-EDQUOT,     503},
        {-EFBIG,      413}
    };
    if (result == 0) {
        ptl_answer_json(q, status, answer);
        return;
    }
    int code = 500;
    for (size_t i = 0; i < PTL_ARRAY_LEN(map); i++)
        if (map[i].result == result)
            code = map[i].status;
    if (code == 500)
        ptl_log_error("http: request=%s %s: %s", q->id, q->route ? q->route->pattern : "?",
                      err ? err->text : "?");
    ptl_answer_problem(q, code, "%s", err && err->text[0] ? err->text : reason(code));
}

void ptl_answer_core(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    ptl_answer_result(ctx, 200, result, answer, err);
}

void ptl_stream_start(struct ptl_request *q, const char *type)
{
    q->streaming = true;
    common_headers(q, type);
    ptl_answer_header(q, "X-Accel-Buffering", "no");
    if (q->conn) { /* a stream may be silent for as long as it likes: only writes time out */
        struct timeval tv = {.tv_sec = IDLE_TIMEOUT_S};
        bufferevent_set_timeouts(evhttp_connection_get_bufferevent(q->conn), NULL, &tv);
    }
    evhttp_send_reply_start(q->req, 200, "OK");
}

void ptl_stream_piece(struct ptl_request *q, const void *data, size_t len)
{
    if (q->is_gone || len == 0)
        return;
    struct evbuffer *b = evbuffer_new();
    evbuffer_add(b, data, len);
    evhttp_send_reply_chunk(q->req, b);
    evbuffer_free(b);
}

size_t ptl_stream_waiting(struct ptl_request *q)
{
    return q->conn ? evbuffer_get_length(bufferevent_get_output(evhttp_connection_get_bufferevent(q->conn)))
                   : 0;
}

void ptl_stream_end(struct ptl_request *q)
{
    q->answered = true;
    forget_connection(q);
    evhttp_send_reply_end(q->req);
    request_free(q);
}

/* ---- routing ---- */

/* "/a/{x}/b" against a raw path; fills params (decoded). */
static bool match(struct ptl_request *q, const char *pattern, const char *path)
{
    size_t n = 0;
    const char *values[PARAMS_MAX];
    size_t lens[PARAMS_MAX];
    while (*pattern) {
        if (*pattern == '{') {
            const char *end = strchr(pattern, '}');
            size_t len = strcspn(path, "/"), suffix = strcspn(end + 1, "/{"); /* "{project}.svg" */
            if (len <= suffix || n == PARAMS_MAX || memcmp(path + len - suffix, end + 1, suffix) != 0)
                return false;
            len -= suffix;
            q->param_names[n] = pattern + 1;
            q->param_name_lens[n] = (size_t)(end - pattern - 1);
            values[n] = path;
            lens[n++] = len;
            path += len;
            pattern = end + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    if (*path)
        return false;
    for (size_t i = 0; i < n; i++) {
        PTL_FREE char *raw = strndup(values[i], lens[i]);
        q->params[q->n_params++] = raw ? evhttp_uridecode(raw, 0, NULL) : NULL;
    }
    return true;
}

static bool query_known(const char *accepted, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = accepted; p && *p;) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, name, n) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

/* A cookie is sent whoever made the browser ask; the word in the header only by a page that could read it. */
static bool csrf_fine(struct ptl_request *q)
{
    if (ptl_str_eq(q->route->method, "GET") || ptl_str_eq(q->route->method, "HEAD"))
        return true;
    PTL_FREE char *cookie = ptl_session_cookie(q);
    char word[33];
    if (!cookie)
        return false;
    ptl_session_csrf(cookie, word);
    return ptl_secret_equal(word, ptl_request_header(q, "X-Portolan-CSRF"));
}

static void authorised(void *ctx, int status, const struct ptl_identity *who)
{
    struct ptl_request *q = ctx;
    if (q->is_gone) {
        ptl_answer_problem(q, 503, "the peer is gone");
        return;
    }
    if (status == 503) {
        ptl_answer_problem(q, 503, "the database does not answer now; try again in a moment");
        return;
    }
    if (status) {
        ptl_answer_problem(
            q, 401,
            "no valid token: send 'Authorization: Bearer TOKEN' with one that is neither revoked nor expired");
        return;
    }
    q->who = *who;
    if (who->session_id && !csrf_fine(q)) {
        ptl_answer_problem(
            q, 403,
            "a write with a session cookie needs the header X-Portolan-CSRF with the word that "
            "GET /api/v1/session tells");
        return;
    }
    if (!(who->may & q->route->may)) {
        ptl_answer_problem(q, 403, "role '%s' of token '%s' may not do this",
                           who->role[0] ? who->role : "agent", who->name);
        return;
    }
    /* What only administrators do is about all projects: with it a confined token would unconfine itself. */
    if (who->project[0] && q->route->may == PTL_MAY_ADMIN) {
        ptl_answer_problem(q, 403, "token '%s' is confined to project '%s', and this is about all projects",
                           who->name, who->project);
        return;
    }
    q->route->fn(q);
}

static const char *method_name(enum evhttp_cmd_type c)
{
    switch (c) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    default:
        return "OTHER";
    }
}

static void set_request_id(struct ptl_request *q)
{
    const char *theirs = ptl_request_header(q, "X-Request-Id");
    bool fine = theirs && strlen(theirs) >= 8 && strlen(theirs) < sizeof(q->id);
    for (const char *p = theirs; fine && *p; p++)
        fine = isalnum((unsigned char)*p) || *p == '-' || *p == '_';
    if (fine) {
        snprintf(q->id, sizeof(q->id), "%s", theirs);
    } else {
        unsigned char raw[12];
        ptl_random(raw, sizeof(raw));
        ptl_hex(raw, sizeof(raw), q->id);
    }
}

static size_t body_max(const struct ptl_route *r)
{
    return r->body_max ? r->body_max : BODY_MAX;
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct ptl_server *s = arg;
    struct ptl_request *q = ptl_xcalloc(1, sizeof(*q));
    q->server = s;
    q->req = req;
    q->conn = evhttp_request_get_connection(req);
    q->started_us = ptl_mono_us();
    q->next = s->requests;
    if (q->next)
        q->next->prev = &q->next;
    q->prev = &s->requests;
    s->requests = q;
    set_request_id(q);
    if (q->conn)
        evhttp_connection_set_closecb(q->conn, on_closed, q);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL,
               *method = method_name(evhttp_request_get_command(req));
    bool other_method = false;
    if (!path || !*path)
        path = "/";
    for (size_t i = 0; i < ptl_routes_count && !q->route; i++) {
        const struct ptl_route *r = &ptl_routes[i];
        size_t before = q->n_params;
        if (!match(q, r->pattern, path))
            continue;
        if (ptl_str_eq(r->method, method)) {
            q->route = r;
        } else {
            other_method = true;
            while (q->n_params > before)
                free(q->params[--q->n_params]);
        }
    }
    if (!q->route && (ptl_str_eq(method, "GET") || ptl_str_eq(method, "HEAD")) &&
        ptl_web_serve(q, path, *method == 'H', other_method))
        return;
    if (!q->route) {
        ptl_answer_problem(q, other_method ? 405 : 404,
                           other_method
                               ? "%s is not possible here"
                               : "%s: there is nothing at this path; /openapi.json lists what there is",
                           method);
        return;
    }
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
    if (query) {
        if (evhttp_parse_query_str(query, &q->query) < 0) {
            ptl_answer_problem(q, 400, "the query string cannot be read");
            return;
        }
        q->has_query = true;
        for (struct evkeyval *kv = q->query.tqh_first; kv; kv = kv->next.tqe_next)
            if (!query_known(q->route->query, kv->key)) {
                ptl_answer_problem(q, 400, "unknown query parameter '%.60s'; expected %s", kv->key,
                                   q->route->query ? q->route->query : "none");
                return;
            }
    }
    size_t max = body_max(q->route);
    if (evbuffer_get_length(evhttp_request_get_input_buffer(req)) > max) {
        ptl_answer_problem(q, 413, "the body has more than %zu bytes", max);
        return;
    }
    if (s->draining && !ptl_str_eq(q->route->pattern, "/healthz")) {
        ptl_answer_problem(q, 503, "this daemon is stopping");
        return;
    }
    if (q->route->may == PTL_MAY_NOTHING) {
        q->route->fn(q);
        return;
    }
    const char *authorization = ptl_request_header(q, "Authorization");
    PTL_FREE char *cookie = authorization ? NULL : ptl_session_cookie(q);
    if (cookie) {
        ptl_auth_session(s, cookie, authorised, q);
        return;
    }
    ptl_auth_token(s, ptl_str_starts(authorization, "Bearer ") ? authorization + 7 : NULL, authorised, q);
}

/* ---- the listener ---- */

static struct bufferevent *tls_connection(struct event_base *base, void *arg)
{
    struct ptl_server *s = arg;
    SSL *ssl = SSL_new(s->tls);
    return ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                BEV_OPT_CLOSE_ON_FREE)
               : NULL;
}

static int load_tls(const struct ptl_server_options *o, SSL_CTX **ret, struct ptl_error *err)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls)
        return ptl_error_set(err, -ENOMEM, "tls: out of memory");
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_options(tls,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    int r = 0;
    if (SSL_CTX_use_certificate_chain_file(tls, o->tls_cert) != 1)
        r = ptl_error_set(err, -EINVAL, "tls-cert %s: not a readable PEM certificate chain (%s)", o->tls_cert,
                          ERR_reason_error_string(ERR_get_error()));
    else if (!o->tls_key || SSL_CTX_use_PrivateKey_file(tls, o->tls_key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(tls) != 1)
        r = ptl_error_set(err, -EINVAL, "tls-key %s: not a readable PEM key that fits %s",
                          o->tls_key ? o->tls_key : "(none given)", o->tls_cert);
    if (r < 0)
        SSL_CTX_free(tls);
    else
        *ret = tls;
    return r;
}

static int split_address(const char *text, char host[64], int *ret_port, bool *ret_loopback,
                         struct ptl_error *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (!colon || len == 0 || len >= 60 || whole(colon + 1) < 0 || whole(colon + 1) > 65535)
        return ptl_error_set(
            err, -EINVAL, "listen-address '%s': expected ADDRESS:PORT, such as 127.0.0.1:8470 or [::1]:8470",
            text);
    *ret_port = (int)whole(colon + 1);
    if (text[0] == '[')
        snprintf(host, 64, "%.*s", (int)len - 2, text + 1);
    else
        snprintf(host, 64, "%.*s", (int)len, text);
    struct in_addr a4;
    struct in6_addr a6;
    if (inet_pton(AF_INET, host, &a4) == 1)
        *ret_loopback = (ntohl(a4.s_addr) >> 24) == 127;
    else if (inet_pton(AF_INET6, host, &a6) == 1)
        *ret_loopback = IN6_IS_ADDR_LOOPBACK(&a6);
    else
        return ptl_error_set(err, -EINVAL, "listen-address '%s': '%s' is not a numeric address", text, host);
    return 0;
}

static int check(const struct ptl_server_options *o, char host[64], int *ret_port, SSL_CTX **ret_tls,
                 struct ptl_error *err)
{
    bool loopback = false;
    int r = split_address(o->listen_address, host, ret_port, &loopback, err);
    if (r < 0)
        return r;
    if (!loopback && (!o->tls_cert || !o->tls_key))
        return ptl_error_set(
            err, -EINVAL,
            "listen-address %s is not loopback: tokens would cross the network in clear; set tls-cert and tls-key",
            o->listen_address);
    return o->tls_cert ? load_tls(o, ret_tls, err) : 0;
}

int ptl_server_check(const struct ptl_server_options *o, struct ptl_error *err)
{
    char host[64];
    int port;
    SSL_CTX *tls = NULL;
    int r = check(o, host, &port, &tls, err);
    SSL_CTX_free(tls);
    return r;
}

int ptl_server_new(struct ptl_core *core, const struct ptl_server_options *o, struct ptl_server **ret,
                   struct ptl_error *err)
{
    char host[64];
    int port;
    SSL_CTX *tls = NULL;
    int r = check(o, host, &port, &tls, err);
    if (r < 0)
        return r;
    struct ptl_server *s = ptl_xcalloc(1, sizeof(*s));
    s->core = core;
    s->tls = tls;
    s->metrics_token = ptl_xstrdup(o->metrics_token);
    s->sse_heartbeat_ms = o->sse_heartbeat_ms;
    s->http = evhttp_new(ptl_loop_base(ptl_core_loop(core)));
    if (!s->http) {
        r = ptl_error_set(err, -ENOMEM, "http: out of memory");
        goto fail;
    }
    if (s->tls)
        evhttp_set_bevcb(s->http, tls_connection, s);
    evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_HEAD |
                                            EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(s->http, 64 << 10);
    size_t hard_max = 0; /* no route takes more: refused while it arrives */
    for (size_t i = 0; i < ptl_routes_count; i++)
        if (body_max(&ptl_routes[i]) > hard_max)
            hard_max = body_max(&ptl_routes[i]);
    evhttp_set_max_body_size(s->http, (ev_ssize_t)hard_max);
    evhttp_set_timeout(s->http, IDLE_TIMEOUT_S);
    evhttp_set_gencb(s->http, on_request, s);
    s->bound = evhttp_bind_socket_with_handle(s->http, host, (ev_uint16_t)port);
    if (!s->bound) {
        r = ptl_error_set(err, -errno, "listen-address %s: cannot listen there: %s", o->listen_address,
                          strerror(errno));
        goto fail;
    }
    /* Connections inherit it. Without it the last, short segment of an answer of several waits for the peer
     * to acknowledge the one before, which a peer may put off for 40 ms. */
    int on = 1;
    if (setsockopt(evhttp_bound_socket_get_fd(s->bound), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        ptl_log_warning("listen-address %s: answers may be late: TCP_NODELAY: %s", o->listen_address,
                        strerror(errno));
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(evhttp_bound_socket_get_fd(s->bound), (struct sockaddr *)&ss, &len) == 0)
        port = ss.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&ss)->sin6_port)
                                        : ntohs(((struct sockaddr_in *)&ss)->sin_port);
    s->address = ptl_xasprintf(strchr(host, ':') ? "%s://[%s]:%d" : "%s://%s:%d", s->tls ? "https" : "http",
                               host, port);
    *ret = s;
    return 0;
fail:
    ptl_server_free(s);
    return r;
}

void ptl_server_drain(struct ptl_server *s)
{
    s->draining = true;
    if (s->bound) {
        evhttp_del_accept_socket(s->http, s->bound);
        s->bound = NULL;
    }
    ptl_sse_stop(s->sse);
}

struct ptl_server *ptl_server_free(struct ptl_server *s)
{
    if (!s)
        return NULL;
    while (s->requests) { /* what nobody answered: told, then closed */
        struct ptl_request *q = s->requests;
        if (q->gone)
            q->gone(q);
        else
            ptl_answer_problem(q, 503, "this daemon is stopping");
        if (s->requests == q) { /* nothing runs any more that could end it: better lost than looped on */
            ptl_log_error("http: %s %s did not end with the daemon: a mistake in this program",
                          q->route->method, q->route->pattern);
            forget_connection(q);
            s->requests = q->next;
            if (q->next)
                q->next->prev = &s->requests;
        }
    }
    if (s->http)
        evhttp_free(s->http);
    ptl_sse_free(s->sse);
    ptl_auth_cache_free(s->auth);
    SSL_CTX_free(s->tls);
    free(s->address);
    free(s->metrics_token);
    free(s);
    return NULL;
}

const char *ptl_server_address(const struct ptl_server *s)
{
    return s->address;
}

struct ptl_core *ptl_server_core(struct ptl_server *s)
{
    return s->core;
}

bool ptl_server_is_tls(const struct ptl_server *s)
{
    return s->tls || ptl_str_starts(ptl_core_options_of(s->core)->public_url, "https://");
}

const char *ptl_server_metrics_token(const struct ptl_server *s)
{
    return s->metrics_token;
}

struct ptl_auth_cache **ptl_server_auth_cache(struct ptl_server *s)
{
    return &s->auth;
}

int64_t ptl_server_sse_heartbeat_ms(const struct ptl_server *s)
{
    return s->sse_heartbeat_ms;
}

struct ptl_sse **ptl_server_sse(struct ptl_server *s)
{
    return &s->sse;
}
