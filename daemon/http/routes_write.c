/* routes_write.c - what people change: tokens, agents, projects, secrets, runs, gates. Each writes its line
 * into the audit log. */
#include "body.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <portolan/spec.h>
#include <ctype.h>
#include <stdio.h>

void ptl_on_post_token(struct ptl_request *q)
{
    static const char *const keys[] = {"name", "role", "project", "expires_in", NULL};
    const json_t *b = ptl_request_json(q);
    const char *name, *role, *project, *expires;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "name", true, 100, &name) ||
        !ptl_body_text(q, b, "role", true, 20, &role) ||
        !ptl_body_text(q, b, "project", false, 64, &project) ||
        !ptl_body_text(q, b, "expires_in", false, 32, &expires))
        return;
    int64_t lifetime = 0;
    if (!ptl_role_may(role)) {
        ptl_answer_problem(q, 422, "body.role: '%s' is none of viewer, member, manager, curator, admin",
                           role);
        return;
    }
    if (expires && (ptl_duration_parse(expires, &lifetime) < 0 || lifetime < 1000)) {
        ptl_answer_problem(q, 422, "body.expires_in: expected a duration such as 12h or 90d");
        return;
    }
    PTL_FREE char *token = ptl_token_new("user");
    char hash[PTL_SHA256_HEX];
    ptl_sha256_of(token, strlen(token), hash);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, hash);
    ptl_args_str(&a, "person");
    ptl_args_str(&a, name);
    ptl_args_str(&a, role);
    ptl_args_str(&a, project);
    ptl_args_text_array(&a, NULL, 0);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    if (lifetime)
        ptl_args_i64(&a, lifetime);
    else
        ptl_args_null(&a);
    ptl_write_one(q, PTL_SQL_token_create, &a,
                  (struct ptl_writing){.status = 201,
                                       .action = "token.create",
                                       .object = ptl_xasprintf("token %s (%s)", name, role),
                                       .extra = json_pack("{s:s}", "token", token),
                                       .absent = "body.project: no such project",
                                       .absent_status = 422});
}

void ptl_on_post_enrol_token(struct ptl_request *q)
{
    static const char *const keys[] = {"name", "hosts", "expires_in", NULL};
    const json_t *b = ptl_request_json(q);
    const char *name, *expires, *hosts[8];
    size_t n;
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "name", false, 100, &name) ||
        !ptl_body_texts(q, b, "hosts", hosts, 8, &n) ||
        !ptl_body_text(q, b, "expires_in", false, 32, &expires))
        return;
    int64_t lifetime = 3600 * 1000;
    if (expires && (ptl_duration_parse(expires, &lifetime) < 0 || lifetime < 1000)) {
        ptl_answer_problem(q, 422, "body.expires_in: expected a duration such as 1h");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        enum ptl_host_kind k;
        if (ptl_host_kind_parse(hosts[i], &k) < 0) {
            ptl_answer_problem(q, 422, "body.hosts: '%s' is none of server, mobile, browser", hosts[i]);
            return;
        }
    }
    PTL_FREE char *token = ptl_token_new("enrol");
    char hash[PTL_SHA256_HEX];
    ptl_sha256_of(token, strlen(token), hash);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, hash);
    ptl_args_str(&a, "enrol");
    ptl_args_str(&a, name ? name : "agent");
    ptl_args_null(&a);
    ptl_args_null(&a);
    ptl_args_text_array(&a, hosts, n);
    ptl_args_str(&a, ptl_request_identity(q)->name);
    ptl_args_i64(&a, lifetime);
    ptl_write_one(q, PTL_SQL_token_create, &a,
                  (struct ptl_writing){.status = 201,
                                       .action = "agent.enrol-token",
                                       .object = ptl_xasprintf("enrolment %s", name ? name : "agent"),
                                       .extra = json_pack("{s:s}", "token", token)});
}

void ptl_on_delete_token(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    ptl_write_one(q, PTL_SQL_token_revoke, &a,
                  (struct ptl_writing){.action = "token.revoke",
                                       .object = ptl_xasprintf("token %s", ptl_request_param(q, "id")),
                                       .forget_tokens = true,
                                       .absent = "no such token"});
}

void ptl_on_post_agent_state(struct ptl_request *q)
{
    static const struct {
        const char *verb, *state;
    } verbs[] = {
        {"activate", "active"  },
        {"drain",    "draining"},
        {"remove",   "removed" }
    };
    const char *state = NULL, *verb = ptl_request_param(q, "state");
    for (size_t i = 0; i < PTL_ARRAY_LEN(verbs); i++)
        if (ptl_str_eq(verbs[i].verb, verb))
            state = verbs[i].state;
    if (!state) {
        ptl_answer_problem(q, 404, "'%s' is none of activate, drain, remove", verb);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_param(q, "name"));
    ptl_args_str(&a, state);
    ptl_write_one(
        q, PTL_SQL_agent_set_state, &a,
        (struct ptl_writing){.action = "agent.state",
                             .object = ptl_xasprintf("agent %s: %s", ptl_request_param(q, "name"), state),
                             .forget_tokens = true,
                             .absent = "no such agent"});
}

static bool seal_arg(struct ptl_request *q, struct ptl_args *a, const char *what, const char *plain)
{
    if (!plain) {
        ptl_args_bytes(a, NULL, 0);
        return true;
    }
    PTL_BUF sealed = PTL_BUF_INIT;
    if (ptl_seal(ptl_request_core(q), what, plain, &sealed) < 0) {
        ptl_args_done(a);
        ptl_answer_problem(q, 500, "the secret could not be sealed");
        return false;
    }
    ptl_args_bytes(a, sealed.data, sealed.len);
    return true;
}

struct project_body {
    const char *name, *url, *branch, *cred_kind, *cred_user, *cred, *hook, *poll, *forge, *forge_url,
        *forge_repo, *forge_token;
    int64_t poll_s;
    bool has_poll;
};

static bool project_body(struct ptl_request *q, bool create, struct project_body *p)
{
    static const char *const keys[] = {"name",
                                       "url",
                                       "default_branch",
                                       "credential_kind",
                                       "credential_user",
                                       "credential",
                                       "webhook_secret",
                                       "poll",
                                       "status_forge",
                                       "status_url",
                                       "status_repo",
                                       "status_token",
                                       NULL};
    const json_t *b = ptl_request_json(q);
    if (!b || !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "name", create, 63, &p->name) ||
        !ptl_body_text(q, b, "url", create, 2048, &p->url) ||
        !ptl_body_text(q, b, "default_branch", false, 255, &p->branch) ||
        !ptl_body_text(q, b, "credential_kind", false, 20, &p->cred_kind) ||
        !ptl_body_text(q, b, "credential_user", false, 255, &p->cred_user) ||
        !ptl_body_text(q, b, "credential", false, 65536, &p->cred) ||
        !ptl_body_text(q, b, "webhook_secret", false, 4096, &p->hook) ||
        !ptl_body_text(q, b, "poll", false, 32, &p->poll) ||
        !ptl_body_text(q, b, "status_url", false, 2048, &p->forge_url) ||
        !ptl_body_text(q, b, "status_repo", false, 255, &p->forge_repo) ||
        !ptl_body_text(q, b, "status_token", false, 4096, &p->forge_token))
        return false;
    p->forge = ptl_json_str(b, "status_forge", NULL);
    for (const char *c = p->name; c && *c; c++)
        if (!(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
              (c > p->name && strchr("._-", *c)))) {
            ptl_answer_problem(
                q, 422,
                "body.name: '%s': expected lower-case letters, digits, '.', '_', '-', beginning with a letter or digit, at most 63",
                p->name);
            return false;
        }
    if (p->poll) {
        int64_t ms;
        if (ptl_duration_parse(p->poll, &ms) < 0 || (ms != 0 && (ms < 5000 || ms > 86400000))) {
            ptl_answer_problem(q, 422, "body.poll: expected 0 (off) or a duration from 5s to 1d");
            return false;
        }
        p->has_poll = true;
        p->poll_s = ms / 1000;
    }
    static const char *const kinds[] = {"none", "token", "userpass", "ssh_key"}, *const forges[] = {
                                                                                     "", "github", "gitlab",
                                                                                     "gitea"};
    bool kind_ok = !p->cred_kind, forge_ok = !p->forge;
    for (size_t i = 0; i < 4; i++) {
        kind_ok |= ptl_str_eq(kinds[i], p->cred_kind);
        forge_ok |= ptl_str_eq(forges[i], p->forge);
    }
    if (!kind_ok)
        ptl_answer_problem(q, 422, "body.credential_kind: expected none, token, userpass or ssh_key");
    else if (!forge_ok)
        ptl_answer_problem(
            q, 422, "body.status_forge: expected github, gitlab, gitea (also for Forgejo), or \"\" for none");
    struct ptl_error err = PTL_ERROR_INIT;
    if (kind_ok && forge_ok && p->url && ptl_core_url_check(ptl_request_core(q), p->url, &err) < 0) {
        ptl_answer_problem(q, 422, "body.url: %s", err.text);
        return false;
    }
    return kind_ok && forge_ok;
}

void ptl_on_post_project(struct ptl_request *q)
{
    struct project_body p = {0};
    struct ptl_args a;
    if (!project_body(q, true, &p) || !ptl_request_may_project(q, p.name))
        return;
    if (p.forge) {
        ptl_answer_problem(q, 422, "body.status_forge: set it with PATCH after the project is there");
        return;
    }
    ptl_args_init(&a);
    ptl_args_str(&a, p.name);
    ptl_args_str(&a, p.url);
    ptl_args_str(&a, p.branch);
    ptl_args_str(&a, p.cred_kind);
    ptl_args_str(&a, p.cred_user);
    if (!seal_arg(q, &a, "credential", p.cred) || !seal_arg(q, &a, "webhook_secret", p.hook))
        return;
    ptl_args_i64(&a, p.poll_s);
    PTL_FREE char *location = ptl_xasprintf("/api/v1/projects/%s", p.name);
    ptl_answer_header(q, "Location", location);
    ptl_write_one(q, PTL_SQL_project_create, &a,
                  (struct ptl_writing){.status = 201,
                                       .action = "project.create",
                                       .object = ptl_xasprintf("project %s", p.name)});
}

void ptl_on_patch_project(struct ptl_request *q)
{
    struct project_body p = {0};
    struct ptl_args a;
    const char *name = ptl_request_param(q, "project");
    if (!ptl_request_may_project(q, name) || !project_body(q, false, &p))
        return;
    ptl_args_init(&a);
    ptl_args_str(&a, name);
    ptl_args_str(&a, p.url);
    ptl_args_str(&a, p.branch);
    ptl_args_str(&a, p.cred_kind);
    ptl_args_str(&a, p.cred_user);
    if (!seal_arg(q, &a, "credential", p.cred) || !seal_arg(q, &a, "webhook_secret", p.hook))
        return;
    if (p.has_poll)
        ptl_args_i64(&a, p.poll_s);
    else
        ptl_args_null(&a);
    ptl_args_str(&a, p.forge);
    ptl_args_str(&a, p.forge_url);
    ptl_args_str(&a, p.forge_repo);
    if (!seal_arg(q, &a, "status_token", p.forge_token))
        return;
    ptl_write_one(q, PTL_SQL_project_update, &a,
                  (struct ptl_writing){.action = "project.update",
                                       .object = ptl_xasprintf("project %s", name),
                                       .absent = "no such project"});
}

void ptl_on_delete_project(struct ptl_request *q)
{
    const char *name = ptl_request_param(q, "project");
    struct ptl_args a;
    if (!ptl_request_may_project(q, name))
        return;
    ptl_args_init(&a);
    ptl_args_str(&a, name);
    ptl_write_one(q, PTL_SQL_project_archive, &a,
                  (struct ptl_writing){.action = "project.archive",
                                       .object = ptl_xasprintf("project %s", name),
                                       .absent = "no such project"});
}

void ptl_on_put_secret(struct ptl_request *q)
{
    static const char *const keys[] = {"value", "refs", "stages", NULL};
    const char *project = ptl_request_param(q, "project"), *name = ptl_request_param(q, "name"), *value,
               *refs[64], *stages[64];
    size_t n_refs, n_stages;
    struct ptl_args a;
    const json_t *b;
    if (!ptl_request_may_project(q, project) || !(b = ptl_request_json(q)) || !ptl_body_only(q, b, keys) ||
        !ptl_body_text(q, b, "value", true, 65536, &value) ||
        !ptl_body_texts(q, b, "refs", refs, 64, &n_refs) ||
        !ptl_body_texts(q, b, "stages", stages, 64, &n_stages))
        return;
    PTL_FREE char *what = ptl_xasprintf("secret %s", name);
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_str(&a, name);
    if (!seal_arg(q, &a, what, value))
        return;
    ptl_args_text_array(&a, refs, n_refs);
    ptl_args_text_array(&a, stages, n_stages);
    ptl_write_one(q, PTL_SQL_project_secret_put, &a,
                  (struct ptl_writing){.action = "secret.set",
                                       .object = ptl_xasprintf("project %s secret %s", project, name),
                                       .absent = "no such project"});
}

void ptl_on_delete_secret(struct ptl_request *q)
{
    const char *project = ptl_request_param(q, "project"), *name = ptl_request_param(q, "name");
    struct ptl_args a;
    if (!ptl_request_may_project(q, project))
        return;
    ptl_args_init(&a);
    ptl_args_str(&a, project);
    ptl_args_str(&a, name);
    ptl_write_one(q, PTL_SQL_project_secret_delete, &a,
                  (struct ptl_writing){.action = "secret.delete",
                                       .object = ptl_xasprintf("project %s secret %s", project, name),
                                       .absent = "no such secret"});
}

/* ---- runs ---- */

struct pushes {
    struct ptl_request *q;
    int64_t project_id;
    size_t open, kept;
    json_t *answers; /* in order of the request */
    bool single;
    int result; /* of the last that failed */
    struct ptl_error err;
};

/* Where nothing was kept the caller has to come again; where something was, each says how it went. */
static void pushes_done(struct pushes *p)
{
    if (--p->open > 0)
        return;
    PTL_JSON *body =
        p->single ? json_incref(json_array_get(p->answers, 0)) : json_pack("{s:O}", "pushes", p->answers);
    ptl_answer_result(p->q, 202, p->kept ? 0 : p->result, body, &p->err);
    json_decref(p->answers);
    free(p);
}

struct one_push {
    struct pushes *all;
    size_t at;
};

static void on_push(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    struct one_push *o = ctx;
    json_t *slot = json_array_get(o->all->answers, o->at);
    if (result == 0) {
        json_object_update(slot, (json_t *)answer);
        o->all->kept++;
    } else {
        json_object_set_new(slot, "error", json_string(err ? err->text : "failed"));
        o->all->result = result;
        if (err)
            o->all->err = *err;
    }
    pushes_done(o->all);
    free(o);
}

static bool is_sha(const char *s)
{
    size_t n = s ? strspn(s, "0123456789abcdef") : 0;
    return n == 40 && !s[40];
}

static void on_push_project(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(q, 404, "no project '%s'", ptl_request_param(q, "project"));
        return;
    }
    struct ptl_core *core = ptl_request_core(q);
    const json_t *b = ptl_request_json(q);
    const char *who = ptl_request_identity(q)->name;
    struct pushes *p = ptl_xcalloc(1, sizeof(*p));
    p->q = q;
    p->project_id = ptl_row_i64(rows, 0, "id");
    p->answers = json_array();
    p->open = 1;
    if (ptl_str_ends(ptl_request_pattern(q), "/runs")) {
        const char *commit = ptl_json_str(b, "commit", NULL), *ref = ptl_json_str(b, "ref", NULL);
        PTL_FREE char *branch = ptl_xasprintf("refs/heads/%s", ptl_row_str(rows, 0, "default_branch"));
        p->single = true;
        json_array_append_new(p->answers, json_object());
        struct one_push *o = ptl_xcalloc(1, sizeof(*o));
        *o = (struct one_push){p, 0};
        p->open++;
        ptl_audit(q, "run.start", ptl_request_param(q, "project"), b);
        ptl_core_push(core, p->project_id, ref ? ref : branch, NULL, commit, "manual", who, on_push, o);
    } else {
        size_t i;
        json_t *u;
        json_array_foreach(json_object_get(b, "updates"), i, u)
        {
            json_t *slot = json_object();
            json_object_set(slot, "ref", json_object_get(u, "ref"));
            json_array_append_new(p->answers, slot);
            struct one_push *o = ptl_xcalloc(1, sizeof(*o));
            *o = (struct one_push){p, i};
            p->open++;
            ptl_core_push(core, p->project_id, ptl_json_str(u, "ref", ""), ptl_json_str(u, "before", NULL),
                          ptl_json_str(u, "after", NULL), "hook", ptl_json_str(b, "pusher", who), on_push, o);
        }
    }
    pushes_done(p);
}

static void with_project(struct ptl_request *q)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_param(q, "project"));
    ptl_args_null(&a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_project_get, &a, on_push_project, q) !=
        0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

void ptl_on_post_push(struct ptl_request *q)
{
    static const char *const keys[] = {"updates", "pusher", NULL};
    const json_t *b;
    if (!ptl_request_may_project(q, ptl_request_param(q, "project")) || !(b = ptl_request_json(q)) ||
        !ptl_body_only(q, b, keys))
        return;
    const json_t *updates = json_object_get(b, "updates");
    size_t n = json_array_size(updates), i;
    json_t *u;
    if (n == 0 || n > 1000) {
        ptl_answer_problem(q, 422, "body.updates: expected 1 to 1000 of {\"ref\",\"before\",\"after\"}");
        return;
    }
    json_array_foreach((json_t *)updates, i, u)
    {
        if (!ptl_core_ref_ok(ptl_json_str(u, "ref", "")) || !is_sha(ptl_json_str(u, "after", NULL)) ||
            (json_object_get(u, "before") && !is_sha(ptl_json_str(u, "before", NULL)))) {
            ptl_answer_problem(
                q, 422, "body.updates[%zu]: expected ref as refs/…, before and after as 40 hex digits", i);
            return;
        }
    }
    with_project(q);
}

void ptl_on_post_run(struct ptl_request *q)
{
    static const char *const keys[] = {"ref", "commit", NULL};
    const json_t *b;
    const char *ref, *commit;
    if (!ptl_request_may_project(q, ptl_request_param(q, "project")) || !(b = ptl_request_json(q)) ||
        !ptl_body_only(q, b, keys) || !ptl_body_text(q, b, "ref", false, 255, &ref) ||
        !ptl_body_text(q, b, "commit", false, 40, &commit))
        return;
    if (ref && !ptl_core_ref_ok(ref)) {
        ptl_answer_problem(q, 422, "body.ref: '%s' is not a ref name git would accept", ref);
        return;
    }
    if (commit && !is_sha(commit)) {
        ptl_answer_problem(q, 422, "body.commit: expected 40 hex digits");
        return;
    }
    with_project(q);
}

/* Runs and stages: look whose they are, then do. */
static void do_it(struct ptl_request *q)
{
    const char *pattern = ptl_request_pattern(q), *who = ptl_request_identity(q)->name;
    struct ptl_core *core = ptl_request_core(q);
    int64_t id = ptl_request_param_id(q, "id");
    PTL_FREE char *object =
        ptl_xasprintf("%s %lld", ptl_str_starts(pattern, "/api/v1/runs") ? "run" : "stage", (long long)id);
    ptl_audit(q, strrchr(pattern, '/') + 1, object, NULL);
    if (ptl_str_ends(pattern, "/cancel"))
        ptl_core_run_cancel(core, id, who, ptl_answer_core, q);
    else if (ptl_str_ends(pattern, "/rerun"))
        ptl_core_run_rerun(core, id, who, ptl_answer_core, q);
    else
        ptl_core_stage_approve(core, id, who, ptl_str_ends(pattern, "/approve"),
                               ptl_json_str(ptl_request_get(q), "comment", NULL), ptl_answer_core, q);
}

static void on_owner(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err)
        ptl_answer_result(q, 200, err->code, NULL, err);
    else if (ptl_rows_count(rows) == 0)
        ptl_answer_problem(q, 404, "no %s %s",
                           ptl_str_starts(ptl_request_pattern(q), "/api/v1/runs") ? "run" : "stage",
                           ptl_request_param(q, "id"));
    else if (ptl_request_may_project(q, ptl_row_str(rows, 0, "project")))
        do_it(q);
}

static void owned(struct ptl_request *q, enum ptl_sql sql)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, ptl_request_param_id(q, "id"));
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), sql, &a, on_owner, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

void ptl_on_post_cancel(struct ptl_request *q)
{
    owned(q, PTL_SQL_run_get);
}

void ptl_on_post_rerun(struct ptl_request *q)
{
    owned(q, PTL_SQL_run_get);
}

static void gate(struct ptl_request *q)
{
    if (evbuffer_get_length(ptl_request_body(q))) {
        const json_t *b = ptl_request_json(q);
        if (!b)
            return;
        ptl_request_set(q, (void *)(uintptr_t)b, NULL);
    }
    owned(q, PTL_SQL_stage_get);
}

void ptl_on_post_approve(struct ptl_request *q)
{
    gate(q);
}

void ptl_on_post_decline(struct ptl_request *q)
{
    gate(q);
}

void ptl_on_post_lint(struct ptl_request *q)
{
    static const char *const keys[] = {"text", "file", NULL};
    const json_t *b = ptl_request_json(q);
    if (!b || !ptl_body_only(q, b, keys))
        return;
    const char *text = ptl_json_str(b, "text", NULL);
    if (!text) {
        ptl_answer_problem(q, 422, "body.text: expected the pipeline file as text");
        return;
    }
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    struct ptl_spec *spec = NULL;
    int r = ptl_spec_parse(text, strlen(text), ptl_json_str(b, "file", PTL_SPEC_FILE_NAME), &spec, &diags);
    PTL_JSON *o = json_pack("{s:b,s:o,s:o}", "ok", r == 0, "findings", ptl_spec_diags_json(&diags), "plan",
                            spec ? json_deep_copy(ptl_spec_plan(spec)) : json_null());
    ptl_spec_diags_done(&diags);
    ptl_spec_free(spec);
    ptl_answer_json(q, 200, o);
}
