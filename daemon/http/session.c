/* session.c - browsers. A person's token is traded for a cookie: HttpOnly, so that no script can read it;
 * SameSite=Strict, so that other sites cannot use it; and sent by the browser itself, so that event streams
 * (EventSource knows no headers) are authorised too. What is kept is the cookie's SHA-256 beside the token it
 * stands for: whatever ends the token ends its sessions, on every daemon.
 *
 * Writes with a cookie carry a second word in X-Portolan-CSRF (server.c asks for it), made from the cookie,
 * which only a page of this origin could have read. Logging in wants that header too, with any value: a form
 * on another site cannot send it, so nobody is logged in as somebody else without his knowing. */
#include "body.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <stdio.h>

/* The prefix makes browsers refuse the cookie unless it is Secure, for the whole host and set by it. */
static const char *cookie_name(struct ptl_request *q)
{
    return ptl_server_is_tls(ptl_request_server(q)) ? "__Host-ptl_session" : "ptl_session";
}

char *ptl_session_cookie(struct ptl_request *q)
{
    const char *name = cookie_name(q), *p = ptl_request_header(q, "Cookie");
    size_t len = strlen(name);
    while (p && *p) {
        p += strspn(p, "; ");
        size_t n = strcspn(p, ";");
        if (n > len && strncmp(p, name, len) == 0 && p[len] == '=')
            return strndup(p + len + 1, n - len - 1);
        p += n;
    }
    return NULL;
}

void ptl_session_csrf(const char *cookie, char ret_hex[33])
{
    static const char what[] = "portolan csrf";
    char hex[PTL_SHA256_HEX];
    ptl_hmac_hex("sha256", cookie, strlen(cookie), what, sizeof(what) - 1, hex);
    memcpy(ret_hex, hex, 32);
    ret_hex[32] = 0;
}

static void set_cookie(struct ptl_request *q, const char *value, int64_t max_age_s)
{
    PTL_FREE char *text =
        ptl_xasprintf("%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s", cookie_name(q), value,
                      (long long)max_age_s, ptl_server_is_tls(ptl_request_server(q)) ? "; Secure" : "");
    ptl_answer_header(q, "Set-Cookie", text);
}

static json_t *session_json(const char *name, const char *role, const char *project, const char *cookie)
{
    static const struct {
        unsigned bit;
        const char *name;
    } bits[] = {
        {PTL_MAY_READ,    "read"   },
        {PTL_MAY_TRIGGER, "trigger"},
        {PTL_MAY_MANAGE,  "manage" },
        {PTL_MAY_CURATE,  "curate" },
        {PTL_MAY_ADMIN,   "admin"  }
    };
    char csrf[33];
    unsigned can = ptl_role_may(role);
    json_t *may = json_array();
    for (size_t i = 0; i < PTL_ARRAY_LEN(bits); i++)
        if (can & bits[i].bit)
            json_array_append_new(may, json_string(bits[i].name));
    ptl_session_csrf(cookie, csrf);
    return json_pack("{s:s,s:s,s:s,s:o,s:s,s:s}", "name", name, "role", role, "project", project, "may", may,
                     "csrf", csrf, "version", PTL_VERSION);
}

static void on_made(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    char *cookie = ptl_request_get(q);
    ptl_request_set(q, NULL, NULL);
    if (err) {
        ptl_answer_result(q, 201, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 401,
                           "this token opens nothing here: it is unknown, revoked or expired, or an agent's. "
                           "Ask an administrator for one ('portolan token create')");
    } else {
        PTL_JSON *o = session_json(ptl_row_str(rows, 0, "name"), ptl_row_str(rows, 0, "role"),
                                   ptl_row_str(rows, 0, "project"), cookie);
        set_cookie(q, cookie, PTL_SESSION_MAX_MS / 1000);
        ptl_answer_json(q, 201, o);
    }
    free(cookie);
}

void ptl_on_post_session(struct ptl_request *q)
{
    static const char *const keys[] = {"token", NULL};
    const char *token;
    if (!ptl_request_header(q, "X-Portolan-CSRF")) {
        ptl_answer_problem(
            q, 403, "logging in is for the web UI: send the header X-Portolan-CSRF; programs send the token");
        return;
    }
    const json_t *b = ptl_request_json(q);
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "token", true, 200, &token))
        return;
    char *cookie = ptl_token_new("session");
    char token_hash[PTL_SHA256_HEX], cookie_hash[PTL_SHA256_HEX];
    ptl_sha256_of(token, strlen(token), token_hash);
    ptl_sha256_of(cookie, strlen(cookie), cookie_hash);
    ptl_request_set(q, cookie, NULL);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, token_hash);
    ptl_args_str(&a, cookie_hash);
    ptl_args_i64(&a, PTL_SESSION_IDLE_MS);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_session_create, &a, on_made, q) != 0) {
        free(cookie);
        ptl_request_set(q, NULL, NULL);
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
    }
}

void ptl_on_get_session(struct ptl_request *q)
{
    const struct ptl_identity *who = ptl_request_identity(q);
    PTL_FREE char *cookie = ptl_session_cookie(q);
    if (!who->session_id || !cookie) {
        ptl_answer_problem(q, 404, "no browser session: this request showed a token; GET /api/v1/whoami");
        return;
    }
    PTL_JSON *o = session_json(who->name, who->role, who->project, cookie);
    ptl_answer_json(q, 200, o);
}

static void on_ended(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    ptl_auth_forget(ptl_request_server(q));
    set_cookie(q, "", 0);
    ptl_audit(q, "session.delete", "web session", NULL);
    ptl_answer_json(q, 200, NULL);
}

void ptl_on_delete_session(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_identity(q)->session_id);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_session_delete, &a, on_ended, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}
