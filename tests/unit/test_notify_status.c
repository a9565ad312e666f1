/* test_notify_status.c - the outbox with the real store, core and HTTP client against the forge that tests
 * have (tests/support/forge.py): every state arrives, in order and once; refusals, limits, dead connections.
 */
#include "pg.h"
#include "status.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/wait.h>
#include <cmocka.h>

#define TOKEN "forge-token"
#define SHA   "0123456789abcdef0123456789abcdef01234567"
enum { LONG_MS = 40000 };

static struct ptl_test_pg *pg;
static pid_t forge_pid;
static int forge_in, forge_port;

/* ---- the forge: one process for all tests, reset by each ---- */

static int start_forge(void **state PTL_UNUSED)
{
    int in[2], out[2];
    ptl_http_global_init();
    pg = ptl_test_pg_start(NULL);
    if (pipe(in) < 0 || pipe(out) < 0)
        return -1;
    forge_pid = fork();
    if (forge_pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]); /* so that the forge sees its end when we go, however we go */
        close(out[0]);
        execlp("python3", "python3", "-B", PTL_SOURCE_DIR "/tests/support/forge.py", "serve", "--token",
               TOKEN, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    forge_in = in[1];
    FILE *f = fdopen(out[0], "r");
    if (!f || fscanf(f, "listening %d", &forge_port) != 1)
        return -1;
    fclose(f);
    return 0;
}

static int stop_forge(void **state PTL_UNUSED)
{
    close(forge_in);
    waitpid(forge_pid, NULL, 0);
    ptl_test_pg_stop(pg);
    return 0;
}

/* Control of the forge; blocks. Caller frees. */
static json_t *forge(const char *method, const char *path, const char *body)
{
    PTL_FREE char *url = ptl_xasprintf("http://127.0.0.1:%d/_/%s", forge_port, path);
    struct ptl_http_request req = {.method = method,
                                   .url = url,
                                   .body = body,
                                   .body_len = body ? strlen(body) : 0,
                                   .timeout_ms = LONG_MS};
    struct ptl_http_answer a = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    json_t *o = NULL;
    if (ptl_http_perform(&req, &a, &err) < 0 ||
        ptl_json_parse(ptl_buf_str(&a.body), a.body.len, path, &o, &err) < 0)
        fail_msg("forge: %s", err.text);
    ptl_http_answer_done(&a);
    return o;
}

static void script(const char *faults)
{
    PTL_FREE char *body = ptl_xasprintf("{\"faults\":%s}", faults);
    json_decref(forge("POST", "script", body));
}

/* ---- a daemon without its HTTP side ---- */

struct site {
    const char *dsn;
    char *dir;
    struct ptl_loop *loop;
    struct ptl_store *store;
    struct ptl_http_pool *http;
    struct ptl_core *core;
    struct ptl_notify *notify;
};

static void site_open(struct site *s, const char *dsn, const char *dir)
{
    struct ptl_error err = PTL_ERROR_INIT;
    *s = (struct site){.dsn = dsn, .dir = ptl_xstrdup(dir)};
    s->loop = ptl_loop_new(2, 64);
    struct ptl_store_options so = {.dsn = dsn, .state_dir = dir};
    if (ptl_store_open(s->loop, &so, &s->store, &err) < 0)
        fail_msg("%s", err.text);
    s->http = ptl_http_pool_new(s->loop, 64);
    struct ptl_core_options co = {.state_dir = dir,
                                  .public_url = "https://portolan.example",
                                  .lease_ms = 30000,
                                  .claim_lease_ms = 15000,
                                  .losses_max = 2,
                                  .log_max_bytes = 1 << 20,
                                  .prepare_timeout_ms = 60000,
                                  .allow_private_addresses = true};
    if (ptl_core_new(s->loop, s->store, s->http, &co, &s->core, &err) < 0)
        fail_msg("%s", err.text);
    s->notify = ptl_notify_new(s->core);
    assert_non_null(s->notify);
}

static void site_close(struct site *s)
{
    ptl_notify_free(s->notify);
    ptl_core_stop(s->core);
    ptl_http_pool_free(s->http);
    ptl_loop_finish_work(s->loop);
    ptl_store_close(s->store);
    ptl_core_free(s->core);
    ptl_loop_free(s->loop);
    free(s->dir);
}

static void site_new(struct site *s)
{
    json_decref(forge("POST", "reset", "{}"));
    char *dir = ptl_test_tmpdir();
    site_open(s, ptl_test_pg_database(pg), dir);
    free(dir);
}

static void site_end(struct site *s)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *dir = ptl_xstrdup(s->dir);
    site_close(s);
    if (ptl_fs_remove_tree(dir, &err) < 0)
        fail_msg("%s", err.text);
}

/* Project number n with a run: ids are what the empty database gives: 1, 2, … */
static void project(struct site *s, const char *kind, const char *token)
{
    static const char *const paths[][2] = {
        {"github", ""       },
        {"gitlab", "/api/v4"},
        {"gitea",  "/api/v1"}
    };
    const char *path = "";
    for (size_t i = 0; i < PTL_ARRAY_LEN(paths); i++)
        if (ptl_str_eq(paths[i][0], kind))
            path = paths[i][1];
    PTL_BUF sealed = PTL_BUF_INIT;
    assert_int_equal(ptl_seal(s->core, "status_token", token, &sealed), 0);
    PTL_FREE char *hex = ptl_xcalloc(2 * sealed.len + 1, 1);
    for (size_t i = 0; i < sealed.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)sealed.data[i]);
    PTL_FREE char *sql = ptl_xasprintf(
        "WITH p AS (INSERT INTO project (name, url, status_forge, status_url, status_repo, status_token) SELECT 'p' || (count(*) + 1), 'file:///x', '%s', 'http://127.0.0.1:%d%s', 'acme/digits', '\\x%s' FROM project RETURNING id) "
        "INSERT INTO run (project_id, ref, commit_sha, state, trigger, created_by, model, prepare_until) SELECT id, 'refs/heads/main', '" SHA
        "', 'preparing', 'manual', 't', 'digits', now() + interval '1 hour' FROM p",
        kind, forge_port, path, hex);
    ptl_test_sql(s->dsn, sql);
}

static void status(struct site *s, int run, const char *state)
{
    PTL_FREE char *sql = ptl_xasprintf(
        "INSERT INTO status_outbox (project_id, run_id, sha, context, state, description) SELECT project_id, id, commit_sha, 'ci/portolan/digits', '%s', 'as of %s' FROM run WHERE id = %d; NOTIFY ptl_status",
        state, state, run);
    ptl_test_sql(s->dsn, sql);
}

/* ---- waiting ---- */

struct settled {
    struct site *s;
    int64_t open;
};

static bool is_settled(void *ctx)
{
    struct settled *w = ctx;
    return ptl_test_sql_i64(
               w->s->dsn,
               "SELECT count(*) FROM status_outbox WHERE sent_at IS NULL AND gave_up_at IS NULL") <= w->open;
}

static void turn_until_open(struct site *s, int64_t open)
{
    struct settled w = {s, open};
    ptl_test_turn_until(s->loop, is_settled, &w, LONG_MS, "statuses to be settled");
}

struct sql_wait {
    struct site *s;
    const char *sql, *wanted;
};

static bool sql_says(void *ctx)
{
    struct sql_wait *w = ctx;
    return strcmp(ptl_test_sql_value(w->s->dsn, w->sql), w->wanted) == 0;
}

static void turn_until_sql(struct site *s, const char *sql, const char *wanted)
{
    struct sql_wait w = {s, sql, wanted};
    ptl_test_turn_until(s->loop, sql_says, &w, LONG_MS, sql);
}

/* The states that the forge was told, in order: "pending running success". */
static void check_told(const char *wanted)
{
    PTL_JSON *o = forge("GET", "calls", NULL);
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *call;
    json_array_foreach(json_object_get(o, "calls"), i, call)
    {
        ptl_buf_printf(&b, "%s%s:%lld", i ? " " : "",
                       ptl_json_str(json_object_get(call, "body"), "state", "?"),
                       (long long)ptl_json_i64(call, "status", -1));
    }
    assert_string_equal(ptl_buf_str(&b), wanted);
    assert_int_equal(ptl_json_i64(o, "overlaps", -1), 0);
}

static const char *sql_value(struct site *s, const char *sql)
{
    return ptl_test_sql_value(s->dsn, sql);
}

/* ---- tests ---- */

static void each_state_of_each_forge_once_and_in_order(void **state PTL_UNUSED)
{
    static const struct {
        const char *forge, *told;
    } rows[] = {
        {"github", "pending:201 pending:201 success:201"},
        {"gitlab", "pending:201 running:201 success:201"},
        {"gitea",  "pending:201 pending:201 success:201"}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        struct site s;
        site_new(&s);
        project(&s, rows[i].forge, TOKEN);
        static const char *const states[] = {"pending", "running", "success"};
        for (size_t k = 0; k < PTL_ARRAY_LEN(states); k++) {
            status(&s, 1, states[k]);
            turn_until_open(&s, 0);
        }
        check_told(rows[i].told);
        assert_string_equal(
            sql_value(
                &s,
                "SELECT string_agg(tries || '' || COALESCE(last_error, ''), ',' ORDER BY id) FROM status_outbox"),
            "1,1,1");
        struct ptl_notify_counters c;
        ptl_notify_counters(s.notify, &c);
        assert_int_equal(c.posted, 3);
        assert_int_equal(c.running + c.retries + c.given_up + c.skipped, 0);
        site_end(&s);
    }
}

/* While the forge holds the first call, two more states come: one is under way at a time, and of what waits
 * only the newest goes. */
static void one_at_a_time_and_only_the_newest(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "gitlab", TOKEN);
    script("[{\"hold\":true}]");
    status(&s, 1, "pending");
    turn_until_sql(&s, "SELECT count(*) FROM status_outbox WHERE sending_until IS NOT NULL", "1");
    status(&s, 1, "running");
    status(&s, 1, "failure");
    PTL_JSON *held = NULL;
    for (int64_t end = ptl_mono_ms() + LONG_MS;
         ptl_json_i64(held, "held", 0) != 1;) { /* our own loop carries the call there */
        assert_true(ptl_mono_ms() < end);
        event_base_loop(ptl_loop_base(s.loop), EVLOOP_NONBLOCK);
        json_decref(held);
        held = forge("GET", "calls", NULL);
    }
    json_decref(forge("POST", "release", "{}"));
    turn_until_open(&s, 0);
    check_told("pending:201 failed:201");
    assert_string_equal(sql_value(&s, "SELECT last_error FROM status_outbox WHERE state = 'running'"),
                        "not posted: overtaken by status 3 of the same commit and context");
    site_end(&s);
}

static void a_state_that_is_there_already_counts_as_posted(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "gitlab", TOKEN);
    status(&s, 1, "running");
    turn_until_open(&s, 0);
    /* The same run again: known here, so GitLab is not asked. */
    status(&s, 1, "running");
    turn_until_open(&s, 0);
    check_told("running:201");
    assert_string_equal(
        sql_value(&s, "SELECT last_error FROM status_outbox WHERE id = 2 AND sent_at IS NOT NULL"),
        "not posted: the forge shows it already");
    /* Another run of the same commit enters the same state: GitLab refuses, and that is fine. */
    ptl_test_sql(
        s.dsn,
        "INSERT INTO run (project_id, ref, commit_sha, state, trigger, created_by, model, prepare_until) SELECT 1, 'refs/heads/main', '" SHA
        "', 'preparing', 'manual', 't', 'digits', now() + interval '1 hour'");
    status(&s, 2, "running");
    turn_until_open(&s, 0);
    check_told("running:201 running:400");
    assert_non_null(
        strstr(sql_value(&s, "SELECT last_error FROM status_outbox WHERE id = 3 AND sent_at IS NOT NULL"),
               "Cannot transition status"));
    site_end(&s);
}

/* A row whose id is older than a posted one (its transaction ended later) is not posted over it. */
static void never_an_older_one_over_a_newer_one(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "github", TOKEN);
    ptl_test_sql(
        s.dsn,
        "INSERT INTO run (project_id, ref, commit_sha, state, trigger, created_by, model, prepare_until) SELECT 1, 'refs/heads/x', '" SHA
        "', 'preparing', 'manual', 't', 'digits', now() + interval '1 hour'");
    ptl_test_sql(s.dsn, "SELECT setval(pg_get_serial_sequence('status_outbox', 'id'), 10)");
    status(&s, 2, "pending");
    turn_until_open(&s, 0);
    ptl_test_sql(
        s.dsn,
        "INSERT INTO status_outbox (id, project_id, run_id, sha, context, state, description) OVERRIDING SYSTEM VALUE VALUES (5, 1, 1, '" SHA
        "', 'ci/portolan/digits', 'success', 'late'); NOTIFY ptl_status");
    turn_until_open(&s, 0);
    check_told("pending:201");
    assert_non_null(
        strstr(sql_value(&s, "SELECT last_error FROM status_outbox WHERE id = 5 AND gave_up_at IS NOT NULL"),
               "overtaken by status 11"));
    site_end(&s);
}

static void failures_are_tried_again(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "gitea", TOKEN);
    /* The drop comes first: on a connection that was used before, curl itself tries again when nothing came.
     */
    script("[{\"drop\":true},{\"status\":503},{\"status\":500}]");
    status(&s, 1, "success");
    for (int i = 0; i < 3; i++) { /* do not wait for the back-off: the next try is due now */
        PTL_FREE char *tried = ptl_xasprintf("%d", i + 1);
        turn_until_sql(
            &s,
            "SELECT tries FROM status_outbox WHERE last_error IS NOT NULL AND not_before > now() AND sending_until IS NULL",
            tried);
        ptl_test_sql(s.dsn,
                     "UPDATE status_outbox SET not_before = now(), last_error = NULL; NOTIFY ptl_status");
    }
    turn_until_open(&s, 0);
    check_told("success:0 success:503 success:500 success:201");
    site_end(&s);
}

static void refusals_that_repeating_will_not_change(void **state PTL_UNUSED)
{
    static const struct {
        const char *forge, *token, *fault, *says;
    } rows[] = {
        {"github", "wrong", "{}",                                                                                "answered 401: Bad credentials"  },
        {"gitlab", "wrong", "{}",                                                                                "answered 401: 401 Unauthorized" },
        {"gitea",  "wrong", "{}",                                                                                "answered 401: token is required"},
        {"github", TOKEN,
         "{\"status\":403,\"body\":{\"message\":\"Resource not accessible by personal access token\"}}",         "answered 403: Resource"         },
        {"gitlab", TOKEN,   "{\"status\":404,\"body\":{\"message\":\"404 Project Not Found\"}}",
         "answered 404"                                                                                                                           },
        {"github", TOKEN,   "{\"status\":422,\"body\":{\"message\":\"No commit found for SHA\"}}",
         "answered 422: No commit"                                                                                                                },
        {"github", TOKEN,   "{\"status\":307,\"headers\":{\"Location\":\"http://127.0.0.1:1/repositories/7\"}}",
         "redirects are not followed"                                                                                                             },
    };
    struct site s;
    site_new(&s);
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        PTL_FREE char *faults = ptl_xasprintf("[%s]", rows[i].fault);
        PTL_FREE char *sql = ptl_xasprintf(
            "SELECT last_error FROM status_outbox WHERE run_id = %zu AND gave_up_at IS NOT NULL AND tries = 1",
            i + 1);
        script(faults);
        project(&s, rows[i].forge, rows[i].token);
        status(&s, (int)i + 1, "success");
        turn_until_open(&s, 0);
        if (!strstr(sql_value(&s, sql), rows[i].says))
            fail_msg("%s: '%s'", rows[i].says, sql_value(&s, sql));
    }
    PTL_JSON *o = forge("GET", "calls", NULL);
    assert_int_equal(json_array_size(json_object_get(o, "calls")), PTL_ARRAY_LEN(rows));
    site_end(&s);
}

/* A forge that says "slower" is left in peace for this project; another project goes on. */
static void a_limit_stops_its_project_alone(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "github", TOKEN);
    project(&s, "gitea", TOKEN);
    script("[{\"status\":429,\"headers\":{\"Retry-After\":\"3000\"}}]");
    status(&s, 1, "running");
    turn_until_sql(
        &s, "SELECT not_before > now() + interval '2900 s' FROM status_outbox WHERE sending_until IS NULL",
        "t");
    ptl_test_sql(s.dsn, "UPDATE status_outbox SET not_before = now()"); /* an impatient hand */
    status(&s, 2, "success");
    turn_until_open(&s, 1);
    turn_until_sql(
        &s,
        "SELECT not_before > now() + interval '2800 s' FROM status_outbox WHERE run_id = 1 AND sending_until IS NULL AND last_error ~ 'limit'",
        "t");
    check_told("pending:429 success:201");
    site_end(&s);
}

static void a_limit_ends(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "github", TOKEN);
    script(
        "[{\"status\":403,\"headers\":{\"Retry-After\":\"1\"},\"body\":{\"message\":\"You have exceeded a secondary rate limit\"}}]");
    status(&s, 1, "success");
    turn_until_open(&s, 0);
    check_told("success:403 success:201");
    site_end(&s);
}

static void what_cannot_be_called_says_why(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "gitea", TOKEN);
    ptl_test_sql(s.dsn, "UPDATE project SET status_url = NULL");
    status(&s, 1, "success");
    turn_until_open(&s, 0);
    assert_non_null(strstr(sql_value(&s, "SELECT last_error FROM status_outbox WHERE gave_up_at IS NOT NULL"),
                           "status_url is not set"));
    ptl_test_sql(
        s.dsn,
        "DELETE FROM status_outbox; UPDATE project SET status_url = 'http://127.0.0.1:1', status_token = '\\x00'");
    status(&s, 1, "success");
    turn_until_open(&s, 0);
    assert_non_null(strstr(sql_value(&s, "SELECT last_error FROM status_outbox WHERE gave_up_at IS NOT NULL"),
                           "status_token"));
    ptl_test_sql(s.dsn, "DELETE FROM status_outbox; UPDATE project SET status_forge = NULL");
    status(&s, 1, "success");
    turn_until_open(&s, 0);
    assert_non_null(strstr(sql_value(&s, "SELECT last_error FROM status_outbox WHERE gave_up_at IS NOT NULL"),
                           "names no forge"));
    check_told("");
    site_end(&s);
}

/* A daemon that goes away in the middle of a call leaves nothing behind but a row that comes back. */
static void stopping_in_the_middle_of_a_call(void **state PTL_UNUSED)
{
    struct site s;
    site_new(&s);
    project(&s, "gitlab", TOKEN);
    script("[{\"hold\":true}]");
    status(&s, 1, "running");
    turn_until_sql(&s, "SELECT count(*) FROM status_outbox WHERE sending_until IS NOT NULL", "1");
    PTL_FREE char *dir = ptl_xstrdup(s.dir);
    const char *dsn = s.dsn;
    PTL_JSON *held = NULL;
    for (int64_t end = ptl_mono_ms() + LONG_MS; ptl_json_i64(held, "held", 0) != 1;) {
        assert_true(ptl_mono_ms() < end);
        event_base_loop(ptl_loop_base(s.loop), EVLOOP_NONBLOCK);
        json_decref(held);
        held = forge("GET", "calls", NULL);
    }
    site_close(&s);
    json_decref(forge("POST", "release", "{}"));
    assert_string_equal(
        ptl_test_sql_value(
            dsn, "SELECT count(*) FROM status_outbox WHERE sent_at IS NULL AND sending_until > now()"),
        "1");
    ptl_test_sql(dsn, "UPDATE status_outbox SET sending_until = now()"); /* the minute is over */
    site_open(&s, dsn, dir);
    turn_until_open(&s, 0);
    /* GitLab has had it the first time, whatever became of the answer. */
    check_told("running:201 running:400");
    site_end(&s);
}

/* Two daemons on one database: each status goes once. */
static void two_daemons_share_the_outbox(void **state PTL_UNUSED)
{
    struct site a, b;
    site_new(&a);
    site_open(&b, a.dsn, a.dir);
    project(&a, "github", TOKEN);
    ptl_test_sql(
        a.dsn,
        "INSERT INTO status_outbox (project_id, run_id, sha, context, state, description) SELECT 1, 1, lpad(to_hex(i), 40, '0'), 'c', 'success', 'x' FROM generate_series(1, 60) i; NOTIFY ptl_status");
    struct settled w = {&a, 0};
    for (int64_t end = ptl_mono_ms() + LONG_MS; !is_settled(&w);) {
        assert_true(ptl_mono_ms() < end);
        event_base_loop(ptl_loop_base(a.loop), EVLOOP_NONBLOCK);
        event_base_loop(ptl_loop_base(b.loop), EVLOOP_NONBLOCK);
    }
    PTL_JSON *o = forge("GET", "calls", NULL);
    assert_int_equal(json_array_size(json_object_get(o, "calls")), 60);
    assert_string_equal(
        sql_value(&a, "SELECT count(*) FROM status_outbox WHERE tries = 1 AND sent_at IS NOT NULL"), "60");
    struct ptl_notify_counters ca, cb;
    ptl_notify_counters(a.notify, &ca);
    ptl_notify_counters(b.notify, &cb);
    assert_int_equal(ca.posted + cb.posted, 60);
    site_close(&b);
    site_end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_of_each_forge_once_and_in_order),
        cmocka_unit_test(one_at_a_time_and_only_the_newest),
        cmocka_unit_test(a_state_that_is_there_already_counts_as_posted),
        cmocka_unit_test(never_an_older_one_over_a_newer_one),
        cmocka_unit_test(failures_are_tried_again),
        cmocka_unit_test(refusals_that_repeating_will_not_change),
        cmocka_unit_test(a_limit_stops_its_project_alone),
        cmocka_unit_test(a_limit_ends),
        cmocka_unit_test(what_cannot_be_called_says_why),
        cmocka_unit_test(stopping_in_the_middle_of_a_call),
        cmocka_unit_test(two_daemons_share_the_outbox),
    };
    return cmocka_run_group_tests(tests, start_forge, stop_forge);
}
