/* routes_login.c - a command is let in by a browser (portolan login --web), as other programs' device flow:
 * the command asks for two words, prints the short one and asks again and again with the long one; a person
 * who is logged in, on this machine or another, approves the short one on the page /device. What is handed
 * over, once, is a token of that person with the same rights or less, which ends no later than the person's
 * own and is revoked with it. Codes live ten minutes; only so many are open at a time. Loop thread. */
#include "body.h"
#include <ctype.h>
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <stdio.h>

enum {
    CODE_MS = 10 * 60 * 1000,
    POLL_MS = 2000,
    OPEN_MAX = 100,
    OPEN_MAX_OF_PEER = 20, /* behind a proxy all commands are one peer */
    CODE_LETTERS = 8,
};
static const int64_t LIFETIME_MS = (int64_t)90 * 24 * 3600 * 1000,
                     LIFETIME_MAX_MS = (int64_t)366 * 24 * 3600 * 1000;
/* No vowels, so no words; nothing that is taken for a digit. 20^8 codes, and a guess needs a person's token
 * and gives away that person's rights only. */
static const char letters[] = "BCDFGHJKLMNPQRSTVWXZ";

static void busy(struct ptl_request *q)
{
    ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* "bcdf ghjk" → digest of "BCDFGHJK". False: no such code can be. */
static bool code_hash(const char *text, char ret[PTL_SHA256_HEX])
{
    char code[CODE_LETTERS];
    size_t n = 0;
    for (; text && *text; text++) {
        if (strchr("- ", *text))
            continue;
        if (n == CODE_LETTERS || !strchr(letters, toupper((unsigned char)*text)))
            return false;
        code[n++] = (char)toupper((unsigned char)*text);
    }
    if (n != CODE_LETTERS)
        return false;
    ptl_sha256_of(code, CODE_LETTERS, ret);
    return true;
}

static void no_such_code(struct ptl_request *q)
{
    ptl_answer_problem(
        q, 404,
        "no such code waits for approval: it was mistyped, decided on already, or is older than "
        "ten minutes; run 'portolan login --web' again for a new one");
}

/* ---- the command */

struct opening {
    char *device;
    char code[CODE_LETTERS + 1];
};

static void on_open(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    struct opening *o = ptl_request_get(q);
    ptl_request_set(q, NULL, NULL);
    if (err) {
        ptl_answer_result(q, 201, err->code, NULL, err);
    } else if (ptl_row_null(rows, 0, "id")) {
        ptl_answer_problem(q, 429, "too many codes wait for approval already; try again in some minutes");
    } else {
        PTL_FREE char *code = ptl_xasprintf("%.4s-%s", o->code, o->code + 4);
        PTL_FREE char *path = ptl_xasprintf("/device?code=%s", code);
        PTL_JSON *answer =
            json_pack("{s:s,s:s,s:s,s:i,s:f}", "device_code", o->device, "user_code", code, "path", path,
                      "expires_in", CODE_MS / 1000, "interval", POLL_MS / 1000.0);
        ptl_answer_json(q, 201, answer);
    }
    explicit_bzero(o->device, strlen(o->device));
    free(o->device);
    free(o);
}

void ptl_on_post_login_code(struct ptl_request *q)
{
    static const char *const keys[] = {"client", NULL};
    const json_t *b = ptl_request_json(q);
    const char *client;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "client", false, 100, &client))
        return;
    struct opening *o = ptl_xcalloc(1, sizeof(*o));
    char device[PTL_SHA256_HEX], user[PTL_SHA256_HEX];
    unsigned char raw[4 * CODE_LETTERS];
    o->device = ptl_token_new("login");
    ptl_random(raw, sizeof(raw));
    for (size_t i = 0; i < CODE_LETTERS; i++) { /* 32 bits a letter: the bias is below one in 10^8 */
        uint32_t v;
        memcpy(&v, raw + 4 * i, sizeof(v));
        o->code[i] = letters[v % (sizeof(letters) - 1)];
    }
    ptl_sha256_of(o->device, strlen(o->device), device);
    ptl_sha256_of(o->code, CODE_LETTERS, user);
    ptl_request_set(q, o, NULL);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, device);
    ptl_args_str(&a, user);
    ptl_args_str(&a, client ? client : "a command");
    ptl_args_str(&a, ptl_request_peer(q));
    ptl_args_i64(&a, CODE_MS);
    ptl_args_i64(&a, POLL_MS);
    ptl_args_i64(&a, OPEN_MAX);
    ptl_args_i64(&a, OPEN_MAX_OF_PEER);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_login_code_open, &a, on_open, q) != 0) {
        free(o->device);
        free(o);
        ptl_request_set(q, NULL, NULL);
        busy(q);
    }
}

static void on_polled(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    char *token = ptl_request_get(q);
    ptl_request_set(q, NULL, NULL);
    const char *said = err ? "" : ptl_row_str(rows, 0, "said");
    double interval = err ? 0 : (double)ptl_row_i64(rows, 0, "wait_ms") / 1000;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_str_eq(said, "approved")) {
        PTL_JSON *row = ptl_row_object(rows, 0);
        PTL_JSON *o =
            json_pack("{s:s,s:s,s:O,s:O,s:O,s:O}", "state", "approved", "token", token, "name",
                      json_object_get(row, "name"), "role", json_object_get(row, "role"), "project",
                      json_object_get(row, "project"), "expires_at", json_object_get(row, "expires_at"));
        ptl_answer_json(q, 200, o);
    } else if (ptl_str_eq(said, "pending") || ptl_str_eq(said, "slow_down")) {
        PTL_JSON *o = json_pack("{s:s,s:f}", "state", said, "interval", interval);
        ptl_answer_json(q, ptl_str_eq(said, "pending") ? 202 : 429, o);
    } else if (ptl_str_eq(said, "denied")) {
        ptl_answer_problem(q, 403, "the person who was asked said no");
    } else {
        ptl_answer_problem(q, 410,
                           "this code is over: it was used, or is older than ten minutes; begin again");
    }
    explicit_bzero(token, strlen(token));
    free(token);
}

void ptl_on_post_login_poll(struct ptl_request *q)
{
    static const char *const keys[] = {"device_code", NULL};
    const json_t *b = ptl_request_json(q);
    const char *device;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "device_code", true, 200, &device))
        return;
    char device_hash[PTL_SHA256_HEX], hash[PTL_SHA256_HEX];
    char *token = ptl_token_new("user");
    ptl_sha256_of(device, strlen(device), device_hash);
    ptl_sha256_of(token, strlen(token), hash);
    ptl_request_set(q, token, NULL);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, device_hash);
    ptl_args_str(&a, hash);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_login_code_poll, &a, on_polled, q) !=
        0) {
        free(token);
        ptl_request_set(q, NULL, NULL);
        busy(q);
    }
}

/* ---- the person */

static void on_code(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        no_such_code(q);
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        ptl_answer_json(q, 200, o);
    }
}

void ptl_on_get_login_code(struct ptl_request *q)
{
    char hash[PTL_SHA256_HEX];
    if (!code_hash(ptl_request_query(q, "code"), hash)) {
        no_such_code(q);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, hash);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_login_code_get, &a, on_code, q) != 0)
        busy(q);
}

static void on_decided(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        no_such_code(q);
        return;
    }
    PTL_JSON *o = ptl_row_object(rows, 0);
    PTL_FREE char *object =
        ptl_xasprintf("login of %s from %s", ptl_row_str(rows, 0, "client"), ptl_row_str(rows, 0, "address"));
    ptl_audit(q, ptl_str_eq(ptl_row_str(rows, 0, "state"), "approved") ? "login.approve" : "login.deny",
              object, NULL);
    ptl_answer_json(q, 200, o);
}

static void decide(struct ptl_request *q, bool approve)
{
    static const char *const keys[] = {"code", "role", "project", "expires_in", NULL}, *const no[] = {"code",
                                                                                                      NULL};
    const struct ptl_identity *who = ptl_request_identity(q);
    const json_t *b = ptl_request_json(q);
    const char *code, *role, *project, *expires;
    char hash[PTL_SHA256_HEX];
    int64_t lifetime = LIFETIME_MS;
    if (!b || !ptl_body_only(q, b, approve ? keys : no) || !ptl_body_text(q, b, "code", true, 40, &code) ||
        !ptl_body_text(q, b, "role", false, 20, &role) ||
        !ptl_body_text(q, b, "project", false, 64, &project) ||
        !ptl_body_text(q, b, "expires_in", false, 32, &expires))
        return;
    role = role ? role : who->role;
    unsigned may = ptl_role_may(role);
    if (!may) {
        ptl_answer_problem(q, 422, "body.role: '%s' is none of viewer, member, manager, curator, admin",
                           role);
        return;
    }
    if (may & ~who->may) {
        ptl_answer_problem(q, 403, "body.role: %s may do more than you may (%s)", role, who->role);
        return;
    }
    if (project && !ptl_request_may_project(q, project))
        return;
    if (expires &&
        (ptl_duration_parse(expires, &lifetime) < 0 || lifetime < 60000 || lifetime > LIFETIME_MAX_MS)) {
        ptl_answer_problem(q, 422, "body.expires_in: expected a duration such as 12h or 90d, at most 366d");
        return;
    }
    if (!code_hash(code, hash)) {
        no_such_code(q);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, hash);
    ptl_args_bool(&a, approve);
    ptl_args_i64(&a, who->token_id);
    ptl_args_str(&a, role);
    ptl_args_str(&a, project);
    ptl_args_i64(&a, lifetime);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_login_code_decide, &a, on_decided, q) !=
        0)
        busy(q);
}

void ptl_on_post_login_approve(struct ptl_request *q)
{
    decide(q, true);
}

void ptl_on_post_login_deny(struct ptl_request *q)
{
    decide(q, false);
}
