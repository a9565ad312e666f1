/* server.h - HTTP in the daemon: evhttp listener (TLS off loopback), a table of routes, who may do what,
 * answers. Handlers parse, authorise, ask core or the store, and answer later; nothing here blocks. Loop
 * thread only, all of it. */
#ifndef PTL_SERVER_H
#define PTL_SERVER_H
#include "core.h"
#include <event2/buffer.h>

/* What a token may do. Roles are sets of these (auth.c). */
enum ptl_may {
    PTL_MAY_NOTHING = 0, /* open route */
    PTL_MAY_READ = 1 << 0,
    PTL_MAY_TRIGGER = 1 << 1, /* start, cancel, rerun, approve */
    PTL_MAY_MANAGE = 1 << 2,  /* projects, their secrets and webhooks, assignments */
    PTL_MAY_CURATE = 1 << 3,  /* the knowledge base */
    PTL_MAY_ADMIN = 1 << 4,   /* tokens, agents, audit */
    PTL_MAY_AGENT = 1 << 5,   /* an agent's own calls */
};

struct ptl_identity {
    unsigned may;
    int64_t token_id, agent_id; /* agent_id 0: a person */
    unsigned hosts;             /* an agent's: bits of the host kinds it was enrolled for; 0: any */
    int64_t session_id;         /* 0: showed the token itself, not a browser's cookie */
    char name[128];             /* of the token, for the audit log */
    char role[16];
    char project[64]; /* confined to this project; "" for all */
};

struct ptl_request;
typedef void ptl_handler(struct ptl_request *q);
struct ptl_route {
    const char *method, *pattern; /* "/api/v1/runs/{id}/cancel" */
    unsigned may;                 /* any one of these bits is enough; PTL_MAY_NOTHING: no token asked */
    ptl_handler *fn;
    const char *summary; /* for the OpenAPI document */
    const char
        *query; /* "state,ref,before,limit": accepted query parameters; others are refused; NULL: none */
    const char *body, *answer; /* schema names in openapi_schemas.json; NULL: none */
    size_t body_max;           /* bytes; 0: 1 MiB */
};
extern const struct ptl_route ptl_routes[]; /* routes.c */
extern const size_t ptl_routes_count;

struct ptl_server_options {
    const char *listen_address;     /* "127.0.0.1:8470", "[::1]:0", "0.0.0.0:8470" */
    const char *tls_cert, *tls_key; /* PEM; needed unless the address is loopback */
    const char *metrics_token;      /* NULL: /metrics asks for a token that may read */
    int64_t sse_heartbeat_ms;
};
struct ptl_server;
/* What ptl_server_new() would refuse before it binds: address, missing or wrong TLS files. For an early word
 * at start. */
PTL_NODISCARD int ptl_server_check(const struct ptl_server_options *o, struct ptl_error *err);
/* Binds and serves. `http` pool and everything else comes from core. */
PTL_NODISCARD int ptl_server_new(struct ptl_core *core, const struct ptl_server_options *o,
                                 struct ptl_server **ret, struct ptl_error *err);
void ptl_server_drain(struct ptl_server *s); /* no new connections; long polls and streams end now */
/* After the store is closed and core freed: nothing can answer late any more. */
struct ptl_server *ptl_server_free(struct ptl_server *s);
const char *ptl_server_address(const struct ptl_server *s); /* "http://127.0.0.1:8470" as bound */
struct ptl_core *ptl_server_core(struct ptl_server *s);
bool ptl_server_is_tls(const struct ptl_server *s); /* itself, or by its public URL behind a proxy */
const char *ptl_server_metrics_token(const struct ptl_server *s);

/* ---- a request, for handlers */
struct ptl_server *ptl_request_server(struct ptl_request *q);
struct ptl_core *ptl_request_core(struct ptl_request *q);
const struct ptl_identity *ptl_request_identity(const struct ptl_request *q);
const char *ptl_request_param(const struct ptl_request *q,
                              const char *name); /* "{name}" of the pattern, decoded; NULL: none */
int64_t ptl_request_param_id(const struct ptl_request *q,
                             const char *name); /* > 0; 0 when it is no number (answer 404) */
const char *ptl_request_query(const struct ptl_request *q, const char *name); /* decoded; NULL when absent */
int64_t ptl_request_query_i64(const struct ptl_request *q, const char *name, int64_t dflt, int64_t min,
                              int64_t max);
const char *ptl_request_header(const struct ptl_request *q, const char *name);
const char *ptl_request_id(const struct ptl_request *q);
const char *ptl_request_peer(const struct ptl_request *q); /* its address as the socket has it; "" unknown */
const char *ptl_request_pattern(const struct ptl_request *q); /* of its route */
struct evbuffer *ptl_request_body(struct ptl_request *q);
/* The body as bytes in one piece; valid until the answer. */
const void *ptl_request_bytes(struct ptl_request *q, size_t *ret_len);
/* The body as a JSON object, or NULL after having answered 400. Borrowed; lives as long as the request. */
const json_t *ptl_request_json(struct ptl_request *q);
/* True when this identity may see `project`; else answers 404 (not 403: existence is not told). */
bool ptl_request_may_project(struct ptl_request *q, const char *project);
/* Handlers keep their own things here until the answer; `gone` runs if the peer hangs up before. */
void ptl_request_set(struct ptl_request *q, void *data, void (*gone)(struct ptl_request *q));
void *ptl_request_get(struct ptl_request *q);

/* ---- answers: exactly one of these per request */
void ptl_answer_json(struct ptl_request *q, int status, const json_t *body); /* borrowed */
void ptl_answer_text(struct ptl_request *q, int status, const char *type, const char *body);
void ptl_answer_buffer(struct ptl_request *q, int status, const char *type,
                       struct evbuffer *body); /* drained */
void ptl_answer_problem(struct ptl_request *q, int status, const char *fmt, ...) PTL_PRINTF(3, 4);
/* A core or store outcome as status: 0 → `status` with answer, PTL_ABSENT 404, PTL_FULL 503, -ESTALE 409,
 * -EINVAL 422, … */
void ptl_answer_result(struct ptl_request *q, int status, int result, const json_t *answer,
                       const struct ptl_error *err);
void ptl_answer_header(struct ptl_request *q, const char *name, const char *value); /* before the answer */
/* ptl_core_fn whose ctx is the request: answers 200. */
void ptl_answer_core(void *ctx, int result, const json_t *answer, const struct ptl_error *err);
/* 410: retention took the log of attempt {id}. */
void ptl_answer_log_gone(struct ptl_request *q);
/* Streams: start, pieces, end. After the peer hung up `gone` has run and pieces are dropped; end must still
 * be called. */
void ptl_stream_start(struct ptl_request *q, const char *type);
void ptl_stream_piece(struct ptl_request *q, const void *data, size_t len);
size_t ptl_stream_waiting(struct ptl_request *q); /* bytes not yet taken by the peer */
void ptl_stream_end(struct ptl_request *q);

/* auth.c */
typedef void ptl_auth_fn(void *ctx, int status /* 0 ok, 401, 503 */, const struct ptl_identity *who);
void ptl_auth_token(struct ptl_server *s, const char *bearer, ptl_auth_fn *fn, void *ctx);
/* The same for the value of a browser's session cookie. */
void ptl_auth_session(struct ptl_server *s, const char *cookie, ptl_auth_fn *fn, void *ctx);
void ptl_auth_forget(struct ptl_server *s); /* after a revocation */
unsigned ptl_role_may(const char *role);    /* 0: no such role */
struct ptl_auth_cache;
struct ptl_auth_cache **ptl_server_auth_cache(struct ptl_server *s);
void ptl_auth_cache_free(struct ptl_auth_cache *c);
/* audit: what a person changed */
void ptl_audit(struct ptl_request *q, const char *action, const char *object,
               const json_t *detail /* borrowed; NULL */);

/* A browser's session ends when nobody used it for so long, and in any case after the second. */
enum { PTL_SESSION_IDLE_MS = 12 * 3600 * 1000, PTL_SESSION_MAX_MS = 14 * 24 * 3600 * 1000 };
/* session.c: browsers. A cookie stands for a token, so that event streams work and no script can read it. */
/* The session cookie of this request into ret (heap), or NULL. */
char *ptl_session_cookie(struct ptl_request *q);
/* The word that a page must send in X-Portolan-CSRF with every write. */
void ptl_session_csrf(const char *cookie, char ret_hex[33]);

/* routes_ui.c: what only the web UI asks for. */
void ptl_on_get_matrix(struct ptl_request *q);
void ptl_on_get_compare(struct ptl_request *q);

/* routes_login.c: a command is let in by a browser. */
void ptl_on_post_login_code(struct ptl_request *q);
void ptl_on_post_login_poll(struct ptl_request *q);
void ptl_on_get_login_code(struct ptl_request *q);
void ptl_on_post_login_approve(struct ptl_request *q);
void ptl_on_post_login_deny(struct ptl_request *q);
void ptl_on_post_replay(struct ptl_request *q);

/* web.c: the UI's files. True: `path` is one of them or a page of the UI, or, for somebody with a browser and
 * unless it is `taken` by a route, the UI's page that says that there is nothing; it has been answered. */
bool ptl_web_serve(struct ptl_request *q, const char *path, bool head, bool taken);

/* sse.c */
struct ptl_sse;
struct ptl_sse **ptl_server_sse(struct ptl_server *s);
int64_t ptl_server_sse_heartbeat_ms(const struct ptl_server *s);
void ptl_sse_doubt(struct ptl_sse *sse); /* every stream asks at once whether it still may; NULL: none */
void ptl_sse_stop(struct ptl_sse *sse);  /* ends its streams */
void ptl_sse_free(struct ptl_sse *sse);  /* after the store is closed */

/* openapi.c */
json_t *ptl_openapi(void); /* new reference */

/* handlers (routes_*.c) */
/* clang-format off */
/* routes_history.c */
#define PTL_HANDLERS_HISTORY(X) \
    X(get_failures) X(get_failures_csv) X(get_failure_facets) X(get_failure) X(get_similar) \
    X(get_saved_queries) X(post_saved_query) X(delete_saved_query) X(get_attempt_resolutions) \
    X(get_resolutions) X(get_resolution) X(patch_resolution) X(get_trends) X(get_trend_operators) \
    X(get_trend_toolchains)
#define PTL_HANDLERS(X) \
    X(get_health) X(get_ready) X(get_version) X(get_metrics) X(get_openapi) X(get_schema) \
    X(get_whoami) X(get_list) X(get_one) X(post_token) X(delete_token) X(post_enrol_token) \
    X(post_agent_state) X(post_project) X(patch_project) X(delete_project) X(put_secret) \
    X(delete_secret) X(post_push) X(post_hook) X(post_run) X(post_cancel) X(post_rerun) X(get_run) \
    X(get_why) X(get_preflight) X(post_approve) X(post_decline) X(get_log) X(get_report) X(get_job) X(get_events) \
    X(get_log_stream) X(get_badge) X(get_badge_json) X(get_cctray) X(post_lint) X(agent_enrol) \
    X(agent_claim) X(agent_heartbeat) X(agent_start) X(agent_log) X(agent_finish) X(head_blob) \
    X(put_blob) X(get_blob) X(post_session) X(get_session) X(delete_session) X(get_log_index) X(get_log_search)
/* routes_risk.c, routes_notify.c */
#define PTL_HANDLERS_RISK(X) \
    X(get_risk) X(get_backtest) X(get_board) X(get_assignments) X(post_assignment) X(get_assignment) \
    X(patch_assignment) X(post_assignment_comment) X(put_assignment_check) X(put_assignment_watch) \
    X(delete_assignment_watch) X(get_people) X(post_person) X(get_person) X(patch_person) \
    X(get_channels) X(post_channel) X(patch_channel) X(delete_channel) X(post_channel_test) \
    X(get_notify_deliveries)
/* routes_feedback.c */
#define PTL_HANDLERS_FEEDBACK(X) \
    X(get_attempt) X(post_feedback) X(delete_feedback) X(get_kb_apply) X(post_kb_apply) \
    X(get_kb_cases) X(post_kb_cases) X(get_kb_cases_export)
/* routes_kb.c */
#define PTL_HANDLERS_KB(X) \
    X(get_kb_challenges) X(get_kb_challenge) X(put_kb_entry) X(get_kb_indicators) X(post_kb_indicator) \
    X(get_kb_indicator) X(put_kb_indicator) X(post_kb_retire) X(post_kb_restore) X(post_kb_try) \
    X(get_kb_export) X(post_kb_import) X(get_kb_changes) X(get_kb_model) X(put_kb_model) \
    X(delete_kb_model)
/* clang-format on */
#define X(name) void ptl_on_##name(struct ptl_request *q);
PTL_HANDLERS_HISTORY(X)
PTL_HANDLERS(X)
PTL_HANDLERS_RISK(X)
PTL_HANDLERS_KB(X)
PTL_HANDLERS_FEEDBACK(X)
#undef X
#endif
