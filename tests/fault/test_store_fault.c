/* The store while things break: lost answers, killed sessions, a server that vanishes, is killed or falls
 * silent. The rule that every scenario checks: each caller is told exactly once, and what he is told is true
 * in the table. A proxy in a process of its own stands between the store and the server and loses on demand.
 */
#include "migrate.h"
#include "pg.h"
#include "sql_set.h"
#include "store.h"
#include "store-private.h" /* ptl_cluster_pid: whom to kill */
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ---- a line that can be cut
 * ------------------------------------------------------------------------------------- */

struct controls {
    atomic_int hold_answers; /* what the server says stays in the proxy */
    atomic_int hold_requests;
    atomic_int refuse; /* new connections are closed at once */
    atomic_int cut;    /* set: every connection is closed, then it is cleared */
};

struct line {
    int client, server; /* -1: free */
};
enum { LINES = 64 };

struct proxy {
    pid_t pid;
    char *dir, *dsn;
    struct controls *c;
};

static int unix_socket(const char *path, bool server)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r =
        server ? bind(fd, (struct sockaddr *)&a, sizeof(a)) : connect(fd, (struct sockaddr *)&a, sizeof(a));
    if (r == 0 && server)
        r = listen(fd, 64);
    if (r == 0)
        return fd;
    close(fd);
    return -1;
}

static void close_line(struct line *l)
{
    close(l->client);
    close(l->server);
    l->client = l->server = -1;
}

/* false: this side ended. Blocking writes are good enough for a test line. */
static bool carry(int from, int to)
{
    char block[65536];
    ssize_t n = read(from, block, sizeof(block));
    return n > 0 && ptl_fs_write_all(to, block, (size_t)n) == 0;
}

static void accept_one(int listener, const char *upstream, struct line *lines, const struct controls *c)
{
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int server = client >= 0 && !atomic_load(&c->refuse) ? unix_socket(upstream, false) : -1;
    for (int i = 0; server >= 0 && i < LINES; i++)
        if (lines[i].client < 0) {
            lines[i] = (struct line){client, server};
            return;
        }
    close(client);
    close(server);
}

_Noreturn static void run_proxy(int listener, const char *upstream, struct controls *c)
{
    struct line lines[LINES];
    for (int i = 0; i < LINES; i++)
        lines[i] = (struct line){-1, -1};
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        struct pollfd p[1 + 2 * LINES] = {
            {.fd = listener, .events = POLLIN}
        };
        for (int i = 0; i < LINES; i++) {
            p[1 + 2 * i] = (struct pollfd){.fd = atomic_load(&c->hold_requests) ? -1 : lines[i].client,
                                           .events = POLLIN};
            p[2 + 2 * i] =
                (struct pollfd){.fd = atomic_load(&c->hold_answers) ? -1 : lines[i].server, .events = POLLIN};
        }
        (void)poll(p, 1 + 2 * LINES, 2); /* short: the controls change behind its back */
        bool cut = atomic_load(&c->cut);
        for (int i = 0; i < LINES; i++) {
            struct line *l = &lines[i];
            if (l->client < 0)
                continue;
            if (cut || (p[1 + 2 * i].revents && !carry(l->client, l->server)) ||
                (p[2 + 2 * i].revents && !carry(l->server, l->client)))
                close_line(l);
        }
        if (cut)
            atomic_store(&c->cut, 0);
        if (p[0].revents)
            accept_one(listener, upstream, lines, c);
    }
}

static void start_proxy(struct proxy *x, const char *dsn)
{
    const char *host = strstr(dsn, "host='") + strlen("host='");
    PTL_FREE char *upstream = ptl_xasprintf("%.*s/.s.PGSQL.5432", (int)strcspn(host, "'"), host);
    x->dir = ptl_test_tmpdir();
    PTL_FREE char *path = ptl_xasprintf("%s/.s.PGSQL.5432", x->dir);
    x->dsn = ptl_xasprintf("%s host=%s", dsn, x->dir);
    x->c = mmap(NULL, sizeof(*x->c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int listener = unix_socket(path, true);
    assert_true(listener >= 0);
    x->pid = fork();
    if (x->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_proxy(listener, upstream, x->c);
    }
    close(listener);
}

static void stop_proxy(struct proxy *x)
{
    if (x->pid > 0) {
        kill(x->pid, SIGKILL);
        waitpid(x->pid, NULL, 0);
        munmap(x->c, sizeof(*x->c));
        assert_int_equal(ptl_fs_remove_tree(x->dir, NULL), 0);
    }
    free(x->dir);
    free(x->dsn);
    memset(x, 0, sizeof(*x));
}

static void cut(struct proxy *x)
{
    atomic_store(&x->c->cut, 1);
    int64_t deadline = ptl_mono_ms() + 10000;
    while (atomic_load(&x->c->cut)) {
        assert_true(ptl_mono_ms() < deadline);
        (void)poll(NULL, 0, 1); /* until the other process has seen it */
    }
}

/* ---- statements and answers
 * ------------------------------------------------------------------------------------ */

enum {
    Q_PUT,
    Q_UPSERT,
    Q_PUT_BYTES,
    Q_READ,
    Q_GATE,
    Q_READ_GATE,
    Q_SUICIDE,
    Q_NOTIFY,
    Q_RAISE,
    Q_UPDATE,
    Q_COUNT
};
#define SQL(name, text)                                                                                      \
    {                                                                                                        \
        name, name ".sql", text, sizeof(text) - 1                                                            \
    }
static const struct ptl_sql_text texts[] = {
    [Q_PUT] = SQL("put", "-- put: not repeatable\n-- @write\nINSERT INTO t (k) VALUES ($1) RETURNING k"),
    [Q_UPSERT] =
        SQL("upsert",
            "-- upsert: repeatable\n-- @write\n-- @repeatable\n"
            "INSERT INTO u (k) VALUES ($1) ON CONFLICT (k) DO UPDATE SET times = u.times + 1 RETURNING k"),
    [Q_PUT_BYTES] =
        SQL("put_bytes", "-- put_bytes: b\n-- @write\nINSERT INTO t (k, b) VALUES ($1, $2) RETURNING k"),
    [Q_READ] = SQL("read", "-- read: r\n-- @read\nSELECT $1::bigint AS k"),
    [Q_GATE] = SQL("gate", "-- gate: put, behind a lock\n-- @write\n"
                           "WITH g AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(1))\n"
                           "INSERT INTO t (k) SELECT $1 FROM g RETURNING k"),
    [Q_READ_GATE] =
        SQL("read_gate",
            "-- read_gate: r\n-- @read\nSELECT $1::bigint AS k FROM pg_advisory_xact_lock_shared(1)"),
    [Q_SUICIDE] =
        SQL("suicide", "-- suicide: ends its own session\n-- @write\n"
                       "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10), $1::bigint AS k"),
    [Q_NOTIFY] = SQL("notify", "-- notify: n\n-- @write\nSELECT pg_notify('c', $1)"),
    [Q_RAISE] = SQL("raise", "-- raise: r\n-- @write\nSELECT raise($1)"),
    [Q_UPDATE] = SQL("update", "-- update: u\n-- @write\nUPDATE u SET times = times + 1 WHERE k = $1"),
};
static_assert(PTL_ARRAY_LEN(texts) == Q_COUNT, "one text per name");
static const struct ptl_sql_set set = {texts, PTL_ARRAY_LEN(texts)};
static const struct ptl_migration_set no_migrations = {NULL, 0};
static const char schema[] =
    "CREATE TABLE t (n bigint GENERATED ALWAYS AS IDENTITY, k bigint, b bytea); CREATE TABLE u (k bigint PRIMARY KEY, times int NOT NULL DEFAULT 1);"
    "CREATE FUNCTION raise(state text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = state; END $$";

static struct ptl_test_pg *pg;
static struct ptl_loop *loop;
static struct ptl_store *store;
static const char *dsn;
static struct proxy proxy;

struct answer {
    int times;
    struct ptl_error err;
    char sqlstate[6];
    int64_t k;
};

static void on_answer(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct answer *a = ctx;
    a->times++;
    if (err) {
        a->err = *err;
        snprintf(a->sqlstate, sizeof(a->sqlstate), "%s", ptl_store_error_sqlstate(err));
    } else if (ptl_rows_count(rows) == 1) {
        a->k = ptl_row_i64(rows, 0, "k");
    }
}

struct answers {
    const struct answer *a;
    size_t n;
};

static bool all_answered(void *ctx)
{
    const struct answers *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (s->a[i].times == 0)
            return false;
    return true;
}

static void wait_all(const struct answer *a, size_t n)
{
    struct answers s = {a, n};
    ptl_test_turn_until(loop, all_answered, &s, 40000, "an answer");
    for (size_t i = 0; i < n; i++)
        assert_int_equal(a[i].times, 1);
}

static void ask(int sql, int64_t k, struct answer *a)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, k);
    assert_int_equal(ptl_store_query(store, (enum ptl_sql)sql, &args, on_answer, a), 0);
}

static void send_now(void)
{
    event_base_loop(ptl_loop_base(loop), EVLOOP_NONBLOCK);
}

/* Turns the loop until the statement gives `wanted`. */
struct look {
    const char *sql, *wanted;
};
static bool looks_so(void *ctx)
{
    const struct look *l = ctx;
    return strcmp(ptl_test_sql_value(dsn, l->sql), l->wanted) == 0;
}
static void nothing(void *ctx PTL_UNUSED)
{
}
static void turn_until_sql(const char *sql, const char *wanted)
{
    struct look l = {sql, wanted};
    struct ptl_timer *t = ptl_timer_new(loop, nothing, NULL);
    ptl_timer_every(t, 5); /* so that the loop wakes to look */
    ptl_test_turn_until(loop, looks_so, &l, 20000, sql);
    ptl_timer_free(t);
}

static bool all_up(void *ctx PTL_UNUSED)
{
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    return c.connected == c.connections;
}

static void open_store(const char *where, struct ptl_store_options o)
{
    struct ptl_error err = PTL_ERROR_INIT;
    o.dsn = where;
    o.statements = &set;
    o.migrations = &no_migrations;
    if (ptl_store_open(loop, &o, &store, &err) < 0)
        fail_msg("%s", err.text);
}

static int fresh(void **state PTL_UNUSED)
{
    loop = ptl_loop_new(1, 10);
    dsn = ptl_test_pg_database(pg);
    ptl_test_sql(dsn, schema);
    return 0;
}

static int direct(void **state)
{
    fresh(state);
    open_store(dsn, (struct ptl_store_options){0});
    return 0;
}

static int through_proxy(void **state)
{
    fresh(state);
    start_proxy(&proxy, dsn);
    open_store(proxy.dsn, (struct ptl_store_options){0});
    return 0;
}

static int gone(void **state PTL_UNUSED)
{
    store = ptl_store_close(store);
    loop = ptl_loop_free(loop);
    stop_proxy(&proxy);
    return 0;
}

#define BACKENDS "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'portoland'"

/* ---- the answer is lost
 * ---------------------------------------------------------------------------------------- */

static void answer_lost_after_the_commit(void **state PTL_UNUSED)
{
    struct answer a[4] = {0};
    struct ptl_store_counters c;
    atomic_store(&proxy.c->hold_answers, 1);
    ask(Q_PUT, 1, &a[0]); /* all in one transaction, which is committed */
    ask(Q_UPSERT, 2, &a[1]);
    ask(Q_PUT, 3, &a[2]);
    ask(Q_READ, 4, &a[3]);
    turn_until_sql("SELECT count(*) FROM t, u", "2");
    assert_int_equal(a[0].times + a[1].times + a[2].times + a[3].times, 0);
    cut(&proxy);
    atomic_store(&proxy.c->hold_answers, 0);
    wait_all(a, 4);
    assert_true(ptl_store_error_is_unknown(&a[0].err)); /* nobody may guess */
    assert_non_null(strstr(a[0].err.text, "outcome unknown"));
    assert_true(a[1].err.code == 0 && a[1].k == 2); /* safe to repeat, so it was */
    assert_true(ptl_store_error_is_unknown(&a[2].err));
    assert_true(a[3].err.code == 0 && a[3].k == 4);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 2); /* once each */
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT times FROM u"), 2);    /* twice, as allowed */
    ptl_store_counters(store, &c);
    assert_int_equal(c.unknown, 2);
    struct answer next = {0};
    ask(Q_PUT, 5, &next);
    wait_all(&next, 1);
    assert_int_equal(next.err.code, 0);
}

static void request_that_never_left_is_repeated(void **state PTL_UNUSED)
{
    struct answer a[2] = {0};
    struct ptl_args args;
    size_t n = 3 << 20; /* far above the socket's buffers: its end waits in this process */
    char *big = ptl_xcalloc(n, 1);
    atomic_store(&proxy.c->hold_requests, 1);
    ptl_args_init(&args);
    ptl_args_i64(&args, 1);
    ptl_args_bytes(&args, big, n);
    assert_int_equal(ptl_store_query(store, (enum ptl_sql)Q_PUT_BYTES, &args, on_answer, &a[0]), 0);
    ask(Q_PUT, 2, &a[1]);
    for (int i = 0; i < 10; i++)
        send_now();
    cut(&proxy);
    atomic_store(&proxy.c->hold_requests, 0);
    wait_all(a, 2);
    assert_int_equal(a[0].err.code, 0); /* not repeatable, and yet: it cannot have been done */
    assert_int_equal(a[1].err.code, 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 2);
    free(big);
}

/* ---- the session is killed
 * ------------------------------------------------------------------------------------- */

static void killed_while_it_ran_is_repeated(void **state PTL_UNUSED)
{
    struct answer a[4] = {0};
    PGconn *gate = PQconnectdb(dsn);
    PQclear(PQexec(gate, "SELECT pg_advisory_lock(1)"));
    ask(Q_PUT, 1, &a[0]);
    ask(Q_GATE, 2, &a[1]);
    ask(Q_READ_GATE, 3, &a[2]);
    turn_until_sql("SELECT count(*) " BACKENDS " AND wait_event_type = 'Lock'", "2");
    ask(Q_PUT, 4, &a[3]); /* waits behind them */
    ptl_test_sql(dsn, "SELECT pg_terminate_backend(pid) " BACKENDS);
    turn_until_sql("SELECT count(*) " BACKENDS " AND wait_event_type = 'Lock'",
                   "2"); /* they are back, and wait again */
    PQfinish(gate);
    wait_all(a, 4);
    for (int i = 0; i < 4; i++)
        assert_true(a[i].err.code == 0 && a[i].k == i + 1);
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT string_agg(k::text, ',' ORDER BY n) FROM t"),
                        "1,2,4");
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    assert_int_equal(c.unknown, 0); /* the server said goodbye before the end: known not to be done */
}

static void killed_while_idle_comes_back(void **state PTL_UNUSED)
{
    ptl_test_sql(dsn, "SELECT pg_terminate_backend(pid) " BACKENDS);
    struct answer a[2] = {0};
    ask(Q_PUT, 1, &a[0]);
    ask(Q_READ, 2, &a[1]);
    wait_all(a, 2);
    /* Sent into a session that was ending: the request may have been sent, its fate is then not known. */
    assert_true(a[0].err.code == 0 || ptl_store_error_is_unknown(&a[0].err));
    assert_int_equal(a[1].err.code, 0);
    ptl_test_turn_until(loop, all_up, NULL, 20000, "all connections up again");
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) " BACKENDS), 4);
}

static void what_kills_its_session_spares_its_neighbours(void **state PTL_UNUSED)
{
    struct answer a[5] = {0};
    for (int i = 0; i < 5; i++)
        ask(i == 2 ? Q_SUICIDE : Q_PUT, i, &a[i]);
    wait_all(a, 5);
    for (int i = 0; i < 5; i++)
        if (i == 2)
            assert_true(a[i].err.code == -EIO && strstr(a[i].err.text, "not done"));
        else
            assert_int_equal(a[i].err.code, 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 4);
}

static void demoted_server_is_left(void **state PTL_UNUSED)
{
    struct answer a[2] = {0};
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_str(&args, "25006"); /* what a standby says to a write, each time here */
    assert_int_equal(ptl_store_query(store, (enum ptl_sql)Q_RAISE, &args, on_answer, &a[0]), 0);
    ask(Q_PUT, 1, &a[1]);
    wait_all(a, 2);
    assert_string_equal(a[0].sqlstate, "25006");
    assert_int_equal(a[1].err.code, 0);
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    assert_true(c.reconnects >= 3); /* looked for another one */
}

static void deadlock_is_run_again(void **state PTL_UNUSED)
{
    struct answer a = {0}, neighbour = {0};
    ptl_test_sql(dsn, "INSERT INTO u (k) VALUES (1), (2)");
    PGconn *other = PQconnectdb(dsn);
    PQclear(PQexec(other, "SET deadlock_timeout = '60s'")); /* the victim is the store */
    PQclear(PQexec(other, "BEGIN; UPDATE u SET times = 100 WHERE k = 2"));
    ask(Q_PUT, 7, &neighbour);
    ask(Q_UPDATE, 1, &a); /* in one group: locks 1, then waits for 2 */
    struct answer b = {0};
    ask(Q_UPDATE, 2, &b);
    turn_until_sql("SELECT count(*) " BACKENDS " AND wait_event_type = 'Lock'", "1");
    PQsendQuery(other, "UPDATE u SET times = 100 WHERE k = 1");
    wait_all(&neighbour, 1); /* taken apart; alone it needs no lock */
    for (PGresult *r; (r = PQgetResult(other)) != NULL; PQclear(r))
        assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
    assert_int_equal(a.times + b.times,
                     0); /* their locks are the other side's now: they wait, nobody was told */
    PQclear(PQexec(other, "COMMIT"));
    wait_all(&a, 1);
    wait_all(&b, 1);
    assert_true(a.err.code == 0 && b.err.code == 0 && neighbour.err.code == 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT times FROM u WHERE k = 2"), 101);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 1);
    PQfinish(other);
}

/* ---- the server is away
 * ---------------------------------------------------------------------------------------- */

static void queued_work_survives_an_outage(void **state PTL_UNUSED)
{
    enum { N = 40 };
    struct answer a[N] = {0};
    struct ptl_store_counters c;
    atomic_store(&proxy.c->refuse, 1);
    cut(&proxy);
    for (int i = 0; i < N; i++) {
        send_now();
        ask(i % 4 == 3 ? Q_READ : Q_PUT, i, &a[i]);
    }
    ptl_store_counters(store, &c);
    while (c.connect_failures < 2) { /* it has tried in vain */
        event_base_loop(ptl_loop_base(loop), EVLOOP_ONCE);
        ptl_store_counters(store, &c);
    }
    assert_false(ptl_store_is_ready(store));
    assert_int_equal(c.connected, 0);
    atomic_store(&proxy.c->refuse, 0);
    wait_all(a, N);
    int done = 0;
    for (int i = 0; i < N; i++) {
        assert_true(a[i].err.code == 0 || (i % 4 != 3 && ptl_store_error_is_unknown(&a[i].err)));
        done += a[i].err.code == 0 && i % 4 != 3;
    }
    assert_true(done >= 20); /* at most the first few were sent into the cut line */
    assert_true(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t") >= done);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) - count(DISTINCT k) FROM t"), 0);
}

static bool is_down(void *ctx PTL_UNUSED)
{
    return !ptl_store_is_ready(store);
}

static void too_long_an_outage_is_told(void **state)
{
    fresh(state);
    start_proxy(&proxy, dsn);
    open_store(proxy.dsn, (struct ptl_store_options){.deadline_ms = 300});
    struct answer a[2] = {0};
    atomic_store(&proxy.c->refuse, 1);
    cut(&proxy);
    ptl_test_turn_until(loop, is_down, NULL, 20000, "the loss");
    ask(Q_PUT, 1, &a[0]);
    ask(Q_READ, 2, &a[1]);
    wait_all(a, 2);
    for (int i = 0; i < 2; i++)
        assert_true(a[i].err.code == -ETIMEDOUT && strstr(a[i].err.text, "nothing was done"));
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 0);
    gone(state);
}

static void silent_server_is_given_up(void **state)
{
    fresh(state);
    start_proxy(&proxy, dsn);
    open_store(proxy.dsn, (struct ptl_store_options){.statement_timeout_ms = 200});
    struct answer a[3] = {0};
    atomic_store(&proxy.c->hold_answers, 1);
    ask(Q_PUT, 1, &a[0]);
    ask(Q_READ, 2, &a[1]);
    ptl_test_turn_until(loop, is_down, NULL, 30000,
                        "giving the silent connection up"); /* no close came, only nothing */
    atomic_store(&proxy.c->hold_answers, 0);
    ask(Q_PUT, 3, &a[2]);
    wait_all(a, 3);
    assert_true(ptl_store_error_is_unknown(&a[0].err));
    assert_int_equal(a[1].err.code, 0);
    assert_int_equal(a[2].err.code, 0);
    gone(state);
}

static void close_while_the_server_is_away(void **state)
{
    fresh(state);
    start_proxy(&proxy, dsn);
    open_store(proxy.dsn, (struct ptl_store_options){0});
    struct answer a[2] = {0};
    atomic_store(&proxy.c->hold_requests, 1); /* accepted, never answered: the connector hangs in it */
    cut(&proxy);
    ptl_test_turn_until(loop, is_down, NULL, 20000, "the loss");
    ask(Q_PUT, 1, &a[0]);
    ask(Q_READ, 2, &a[1]);
    for (int i = 0; i < 10; i++)
        send_now();
    store = ptl_store_close(store);
    for (int i = 0; i < 2; i++)
        assert_true(a[i].times == 1 && a[i].err.code == -ECANCELED);
    gone(state);
}

/* ---- notifications
 * --------------------------------------------------------------------------------------------- */

struct heard {
    int empty, named;
};

static void on_payload(void *ctx, const char *payload)
{
    struct heard *h = ctx;
    if (*payload)
        h->named++;
    else
        h->empty++;
}

static bool heard_empty_once(void *ctx)
{
    return ((struct heard *)ctx)->empty >= 1;
}

static bool heard_empty_twice(void *ctx)
{
    return ((struct heard *)ctx)->empty >= 2;
}

static bool heard_named(void *ctx)
{
    return ((struct heard *)ctx)->named >= 1;
}

static void listening_goes_on_after_a_loss(void **state PTL_UNUSED)
{
    struct heard h = {0};
    assert_int_equal(ptl_store_listen(store, "c", on_payload, &h), 0);
    ptl_test_turn_until(loop, heard_empty_once, &h, 20000, "LISTEN in force");
    atomic_store(&proxy.c->refuse, 1);
    cut(&proxy);
    ptl_test_sql(dsn, "NOTIFY c, 'missed'");
    for (int i = 0; i < 20; i++)
        send_now();
    assert_int_equal(h.empty, 1);
    atomic_store(&proxy.c->refuse, 0);
    ptl_test_turn_until(loop, heard_empty_twice, &h, 20000, "the word that something may have been missed");
    assert_int_equal(h.named, 0);
    ptl_test_sql(dsn, "NOTIFY c, 'heard'");
    ptl_test_turn_until(loop, heard_named, &h, 20000, "a notification on the new connection");
    assert_int_equal(h.empty, 2);
}

/* ---- everything at once
 * ---------------------------------------------------------------------------------------- */

/* Answers against the table, after any number of accidents. */
static void check_truth(const struct answer *a, int n, const char *label)
{
    int unknown = 0;
    for (int i = 0; i < n; i++) {
        PTL_FREE char *sql = ptl_xasprintf("SELECT count(*) FROM t WHERE k = %d", i);
        int64_t rows = ptl_test_sql_i64(dsn, sql);
        bool maybe = ptl_store_error_is_unknown(&a[i].err);
        unknown += maybe;
        if (a[i].times != 1 || rows > 1 || (a[i].err.code == 0 && rows != 1) ||
            (a[i].err.code && !maybe && rows != 0))
            fail_msg("%s: %d: told %d times (%d %s), %d rows", label, i, a[i].times, a[i].err.code,
                     a[i].err.text, (int)rows);
    }
    fprintf(stderr, "%s: %d of %d unknown\n", label, unknown, n);
}

/* Turns the loop for about `ms`: not to wait for something, but to let accidents fall into the middle of
 * things. */
static void on_time(void *ctx)
{
    *(bool *)ctx = true;
}
static void turn_for(int64_t ms)
{
    bool over = false;
    struct ptl_timer *t = ptl_timer_new(loop, on_time, &over);
    ptl_timer_after(t, ms);
    while (!over)
        event_base_loop(ptl_loop_base(loop), EVLOOP_ONCE);
    ptl_timer_free(t);
}

static void accidents_at_random_tell_no_lies(void **state PTL_UNUSED)
{
    enum { ROUNDS = 60, N = 12 };
    static struct answer a[ROUNDS * N];
    memset(a, 0, sizeof(a));
    uint32_t x = 20261123;
    for (int round = 0; round < ROUNDS; round++) {
        x = x * 1664525u + 1013904223u;
        uint32_t dice = x >> 16;
        atomic_store(&proxy.c->hold_answers, dice % 3 == 0);
        atomic_store(&proxy.c->hold_requests, dice % 5 == 0);
        for (int i = 0; i < N; i++) {
            ask(Q_PUT, round * N + i, &a[round * N + i]);
            if (dice % (unsigned)(i + 2) == 0)
                turn_for(dice % 4);
        }
        turn_for(dice % 10);
        if (dice % 7 == 0)
            ptl_test_sql(dsn, "SELECT pg_terminate_backend(pid) " BACKENDS);
        else if (dice % 2 == 0)
            cut(&proxy);
        atomic_store(&proxy.c->hold_answers, 0);
        atomic_store(&proxy.c->hold_requests, 0);
        if (dice % 4 != 0)
            ptl_test_turn_until(loop, all_up, NULL, 20000, "all connections up again");
    }
    wait_all(a, ROUNDS * N);
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    fprintf(stderr, "%d reconnects, %d reruns\n", (int)c.reconnects, (int)c.reruns);
    check_truth(a, ROUNDS * N, "cuts and kills");
}

/* Every connection was lost and made again since `ctx`. */
static bool all_made_again(void *ctx)
{
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    return c.reconnects >= *(uint64_t *)ctx + c.connections + 1 && c.listening && all_up(NULL);
}

static void killed_server_is_started_again(void **state PTL_UNUSED)
{
    enum { ROUNDS = 3, N = 60 };
    static struct answer a[ROUNDS * N];
    memset(a, 0, sizeof(a));
    static const char *const settings[] = {"shared_buffers=16MB", "logging_collector=off", NULL};
    char *dir = ptl_test_tmpdir();
    struct ptl_error err = PTL_ERROR_INIT;
    loop = ptl_loop_new(1, 10);
    struct ptl_store_options o = {.state_dir = dir,
                                  .statements = &set,
                                  .migrations = &no_migrations,
                                  .no_migrate = true,
                                  .postgres_settings = settings};
    static const struct ptl_migration first = {1, "0001_t", "0001_t.sql", "x", schema, sizeof(schema) - 1};
    static const struct ptl_migration_set with_schema = {&first, 1};
    o.no_migrate = false;
    o.migrations = &with_schema;
    if (ptl_store_open(loop, &o, &store, &err) < 0)
        fail_msg("%s", err.text);
    dsn = ptl_store_dsn(store);
    struct heard h = {0};
    assert_int_equal(ptl_store_listen(store, "c", on_payload, &h), 0);
    ptl_test_turn_until(loop, heard_empty_once, &h, 20000, "LISTEN in force");
    struct ptl_store_counters c;
    for (int round = 0; round < ROUNDS; round++) {
        ptl_store_counters(store, &c);
        uint64_t before = c.reconnects;
        for (int i = 0; i < N; i++) {
            ask(Q_PUT, round * N + i, &a[round * N + i]);
            if (i % 7 == 0)
                send_now();
            if (i == N / 2) {
                pid_t pid = ptl_cluster_pid(store->cluster);
                if (round == 1) /* a server process dies: the server starts its others anew by itself */
                    pid = (pid_t)ptl_test_sql_i64(dsn, "SELECT pid " BACKENDS " LIMIT 1");
                assert_true(pid > 1);
                kill(pid, SIGKILL);
            }
        }
        wait_all(a, (size_t)((round + 1) * N));
        ptl_test_turn_until(loop, all_made_again, &before, 60000, "all connections lost and made again");
    }
    ptl_test_turn_until(loop, heard_empty_twice, &h, 20000, "LISTEN in force again");
    check_truth(a, ROUNDS * N, "killed servers");
    ptl_store_counters(store, &c);
    assert_int_equal(c.cluster_restarts, 2);
    store = ptl_store_close(store);
    loop = ptl_loop_free(loop);
    assert_int_equal(ptl_fs_remove_tree(dir, &err), 0);
    free(dir);
}

static int start_pg(void **state PTL_UNUSED)
{
    static const char *const settings[] = {"deadlock_timeout=100ms", NULL};
    pg = ptl_test_pg_start(settings);
    return 0;
}

static int stop_pg(void **state PTL_UNUSED)
{
    pg = ptl_test_pg_stop(pg);
    return 0;
}

#define DIRECT(f)  cmocka_unit_test_setup_teardown(f, direct, gone)
#define PROXIED(f) cmocka_unit_test_setup_teardown(f, through_proxy, gone)
int main(void)
{
    ptl_log_init("test_store_fault");
    const struct CMUnitTest tests[] = {
        PROXIED(answer_lost_after_the_commit),
        PROXIED(request_that_never_left_is_repeated),
        DIRECT(killed_while_it_ran_is_repeated),
        DIRECT(killed_while_idle_comes_back),
        DIRECT(what_kills_its_session_spares_its_neighbours),
        DIRECT(demoted_server_is_left),
        DIRECT(deadlock_is_run_again),
        PROXIED(queued_work_survives_an_outage),
        cmocka_unit_test(too_long_an_outage_is_told),
        cmocka_unit_test(silent_server_is_given_up),
        cmocka_unit_test(close_while_the_server_is_away),
        PROXIED(listening_goes_on_after_a_loss),
        PROXIED(accidents_at_random_tell_no_lies),
        cmocka_unit_test(killed_server_is_started_again),
    };
    return cmocka_run_group_tests(tests, start_pg, stop_pg);
}
