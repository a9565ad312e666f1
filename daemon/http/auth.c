/* auth.c - tokens to identities. Only SHA-256 digests are looked up, so comparing them in the database's own
 * time tells nothing about a token. Answers are kept for two seconds, so that an agent's many calls cost one
 * look-up; a revocation here forgets them at once. */
#include "server.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <stdio.h>

enum { CACHE_SLOTS = 1024, CACHE_MS = 2000 };

static const struct {
    const char *role;
    unsigned may;
} roles[] = {
    {"viewer",  PTL_MAY_READ                                                                    },
    {"member",  PTL_MAY_READ | PTL_MAY_TRIGGER                                                  },
    {"manager", PTL_MAY_READ | PTL_MAY_TRIGGER | PTL_MAY_MANAGE                                 },
    {"curator", PTL_MAY_READ | PTL_MAY_TRIGGER | PTL_MAY_CURATE                                 },
    {"admin",   PTL_MAY_READ | PTL_MAY_TRIGGER | PTL_MAY_MANAGE | PTL_MAY_CURATE | PTL_MAY_ADMIN},
};

struct ptl_auth_cache {
    struct {
        char hash[PTL_SHA256_HEX];
        struct ptl_identity who;
        int64_t until_ms;
    } slots[CACHE_SLOTS];
};

unsigned ptl_role_may(const char *role)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(roles); i++)
        if (ptl_str_eq(roles[i].role, role))
            return roles[i].may;
    return 0;
}

struct asked {
    struct ptl_server *server;
    bool session;
    ptl_auth_fn *fn;
    void *ctx;
    char hash[PTL_SHA256_HEX];
};

static size_t slot_of(const char *hash)
{
    return strtoul((char[]){hash[0], hash[1], hash[2], hash[3], 0}, NULL, 16) % CACHE_SLOTS;
}

static unsigned hosts_of(struct ptl_rows *rows)
{
    PTL_JSON *hosts = ptl_row_array(rows, 0, "hosts");
    unsigned bits = 0;
    size_t i;
    json_t *v;
    json_array_foreach(hosts, i, v)
    {
        enum ptl_host_kind k;
        if (ptl_host_kind_parse(json_string_value(v), &k) == 0)
            bits |= 1u << k;
    }
    return bits;
}

static void on_token(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct asked *a = ctx;
    struct ptl_identity who = {0};
    int status = err ? 503 : ptl_rows_count(rows) == 0 ? 401 : 0;
    if (status == 0) {
        who.token_id = ptl_row_i64(rows, 0, "id");
        who.agent_id = ptl_row_i64(rows, 0, "agent_id");
        const char *name = ptl_row_str(rows, 0, "agent"), *role = ptl_row_str(rows, 0, "role"),
                   *project = ptl_row_str(rows, 0, "project");
        snprintf(who.name, sizeof(who.name), "%s", name ? name : ptl_row_str(rows, 0, "name"));
        snprintf(who.role, sizeof(who.role), "%s", role ? role : "");
        snprintf(who.project, sizeof(who.project), "%s", project ? project : "");
        who.may = who.agent_id ? PTL_MAY_AGENT : ptl_role_may(role);
        who.hosts = hosts_of(rows);
        if (a->session)
            who.session_id = ptl_row_i64(rows, 0, "session_id");
        if (ptl_row_bool(rows, 0, "stale")) {
            struct ptl_args args;
            ptl_args_init(&args);
            ptl_args_i64(&args, a->session ? who.session_id : who.token_id);
            if (a->session) {
                ptl_args_i64(&args, PTL_SESSION_IDLE_MS);
                ptl_args_i64(&args, PTL_SESSION_MAX_MS);
            }
            (void)!ptl_store_query(ptl_core_store(ptl_server_core(a->server)),
                                   a->session ? PTL_SQL_session_touch : PTL_SQL_token_touch, &args, NULL,
                                   NULL);
        }
        struct ptl_auth_cache **cache = ptl_server_auth_cache(a->server);
        if (!*cache)
            *cache = ptl_xcalloc(1, sizeof(**cache));
        size_t i = slot_of(a->hash);
        memcpy((*cache)->slots[i].hash, a->hash, sizeof(a->hash));
        (*cache)->slots[i].who = who;
        (*cache)->slots[i].until_ms = ptl_mono_ms() + CACHE_MS;
    } else if (err) {
        ptl_log_warning("auth: %s", err->text);
    }
    a->fn(a->ctx, status, &who);
    free(a);
}

static void look_up(struct ptl_server *s, bool session, const char *secret, ptl_auth_fn *fn, void *ctx)
{
    struct ptl_identity nobody = {0};
    if (!secret || strlen(secret) < 20 || strlen(secret) > 200) {
        fn(ctx, 401, &nobody);
        return;
    }
    struct asked *a = ptl_xcalloc(1, sizeof(*a));
    *a = (struct asked){.server = s, .session = session, .fn = fn, .ctx = ctx};
    ptl_sha256_of(secret, strlen(secret), a->hash);
    struct ptl_auth_cache *cache = *ptl_server_auth_cache(s);
    if (cache) {
        size_t i = slot_of(a->hash);
        if (cache->slots[i].until_ms > ptl_mono_ms() && ptl_str_eq(cache->slots[i].hash, a->hash) &&
            (cache->slots[i].who.session_id != 0) == session) {
            struct ptl_identity who = cache->slots[i].who;
            free(a);
            fn(ctx, 0, &who);
            return;
        }
    }
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_str(&args, a->hash);
    if (ptl_store_query(ptl_core_store(ptl_server_core(s)),
                        session ? PTL_SQL_session_by_hash : PTL_SQL_token_by_hash, &args, on_token, a) != 0) {
        free(a);
        fn(ctx, 503, &nobody);
    }
}

void ptl_auth_token(struct ptl_server *s, const char *bearer, ptl_auth_fn *fn, void *ctx)
{
    look_up(s, false, bearer, fn, ctx);
}

void ptl_auth_session(struct ptl_server *s, const char *cookie, ptl_auth_fn *fn, void *ctx)
{
    look_up(s, true, cookie, fn, ctx);
}

void ptl_auth_forget(struct ptl_server *s)
{
    struct ptl_auth_cache *c = *ptl_server_auth_cache(s);
    if (c)
        memset(c, 0, sizeof(*c));
    ptl_sse_doubt(*ptl_server_sse(s));
}

void ptl_auth_cache_free(struct ptl_auth_cache *c)
{
    free(c);
}
