/* Migrations: from zero, twice, at once by several programs, and every database that must be refused. Also:
 * the shipped ones apply, and every shipped statement can be prepared on what they make. */
#include "connect.h"
#include "migrate.h"
#include "pg.h"
#include "sql_set.h"
#include "store.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/wait.h>

static struct ptl_test_pg *pg;

enum { MAX = 8 };
struct built {
    struct ptl_migration v[MAX];
    char sha[MAX][PTL_SHA256_HEX], file[MAX][80];
    struct ptl_migration_set set;
};

static void add(struct built *b, int version, const char *name, const char *text)
{
    size_t i = b->set.n++;
    ptl_sha256_of(text, strlen(text), b->sha[i]);
    snprintf(b->file[i], sizeof(b->file[i]), "migrations/%s.sql", name);
    b->v[i] = (struct ptl_migration){version, name, b->file[i], b->sha[i], text, strlen(text)};
    b->set.v = b->v;
}

static void apply(const char *dsn, const struct ptl_migration_set *set, int wanted)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int n = -1;
    if (ptl_migrate(dsn, set, &n, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(n, wanted);
}

static void refuse(const char *dsn, const struct ptl_migration_set *set, const char *says)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int n = -1;
    if (ptl_migrate(dsn, set, &n, &err) >= 0 || !strstr(err.text, says))
        fail_msg("wanted a refusal that says '%s', got: %s", says, err.text);
    assert_int_equal(n, -1);
}

static void once_and_in_order(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built b = {0};
    add(&b, 1, "0001_a", "CREATE TABLE a (n int); INSERT INTO a VALUES (1);");
    add(&b, 2, "0002_b", "INSERT INTO a VALUES (2)");
    apply(dsn, &b.set, 2);
    apply(dsn, &b.set, 0);
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT string_agg(n::text, ',') FROM a"), "1,2");
    add(&b, 5, "0005_c", "INSERT INTO a VALUES (3)"); /* a gap is no harm */
    apply(dsn, &b.set, 1);
    assert_string_equal(
        ptl_test_sql_value(dsn, "SELECT string_agg(version::text || name, ',' ORDER BY version)"
                                " FROM schema_migration WHERE length(sha256) = 64 AND program = '" PTL_VERSION
                                "'"),
        "10001_a,20002_b,50005_c");
}

static void a_failing_file_leaves_nothing(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built b = {0};
    add(&b, 1, "0001_a", "CREATE TABLE a (n int)");
    add(&b, 2, "0002_b",
        "INSERT INTO a VALUES (1);\nCREATE TABLE b (n int);\nINSERT INTO a VALUES (1, 2);\n");
    refuse(dsn, &b.set, "migrations/0002_b.sql:3:");
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM a"), 0);
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT to_regclass('b')"), "");
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM schema_migration"),
                     1); /* the one before stays */
    b.set.n = 1;
    add(&b, 2, "0002_b", "INSERT INTO a VALUES (1)");
    apply(dsn, &b.set, 1); /* mended, it goes on from there */
}

static void own_transactions_are_refused(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built b = {0}, c = {0};
    add(&b, 1, "0001_a", "CREATE TABLE a (n int); COMMIT;");
    refuse(dsn, &b.set, "ends its own transaction");
    add(&c, 1, "0001_c", "CREATE TABLE c (n int); COPY c FROM STDIN;");
    refuse(dsn, &c.set, "COPY");
}

static void strange_databases_are_refused(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built ours = {0}, older = {0}, edited = {0}, other = {0}, late = {0};
    add(&ours, 1, "0001_a", "SELECT 1");
    add(&ours, 3, "0003_c", "SELECT 3");
    apply(dsn, &ours.set, 2);
    add(&older, 1, "0001_a", "SELECT 1");
    refuse(dsn, &older.set, "knows only up to 0001: start the newer program");
    add(&edited, 1, "0001_a", "SELECT 1 -- better");
    add(&edited, 3, "0003_c", "SELECT 3");
    refuse(dsn, &edited.set, "migrations/0001_a.sql was changed after it had been applied");
    add(&other, 1, "0001_x", "SELECT 1");
    add(&other, 3, "0003_c", "SELECT 3");
    refuse(dsn, &other.set, "another build");
    add(&late, 1, "0001_a", "SELECT 1");
    add(&late, 2, "0002_b", "CREATE TABLE late ()");
    add(&late, 3, "0003_c", "SELECT 3");
    refuse(dsn, &late.set, "migrations/0002_b.sql is missing in a database that already has number 0003");
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT to_regclass('late')"), "");
}

static void data_is_loaded_again_when_it_changed(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built b = {0}, c = {0};
    add(&b, 1, "0001_a", "CREATE TABLE kb (k text PRIMARY KEY, v text)");
    add(&b, 0, "kb/a", "INSERT INTO kb VALUES ('a', '1') ON CONFLICT (k) DO UPDATE SET v = excluded.v");
    add(&b, 0, "kb/b", "INSERT INTO kb VALUES ('b', '1') ON CONFLICT (k) DO UPDATE SET v = excluded.v");
    apply(dsn, &b.set, 3);
    apply(dsn, &b.set, 0);
    add(&c, 1, "0001_a", "CREATE TABLE kb (k text PRIMARY KEY, v text)");
    add(&c, 0, "kb/a", "INSERT INTO kb VALUES ('a', '2') ON CONFLICT (k) DO UPDATE SET v = excluded.v");
    add(&c, 0, "kb/b", b.v[2].text);
    apply(dsn, &c.set, 1);
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT string_agg(k || v, ',' ORDER BY k) FROM kb"),
                        "a2,b1");
    ptl_test_sql(dsn, "UPDATE schema_migration SET program = '99.10.0-rc1' WHERE name = 'kb/a'");
    apply(dsn, &b.set, 0); /* a newer program's data stays */
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT v FROM kb WHERE k = 'a'"), "2");
}

/* Several processes at once on an empty database. */
static void at_once(const char *dsn, const struct ptl_migration_set *set)
{
    enum { N = 6 };
    pid_t pids[N];
    for (int i = 0; i < N; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct ptl_error err = PTL_ERROR_INIT;
            int r = ptl_migrate(dsn, set, NULL, &err);
            if (r < 0)
                fprintf(stderr, "%s\n", err.text);
            _exit(r < 0);
        }
    }
    for (int i = 0; i < N; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
}

static void several_programs_at_once(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built b = {0};
    add(&b, 1, "0001_a", "CREATE TABLE a (n int); SELECT pg_sleep(0.1); INSERT INTO a VALUES (1)");
    add(&b, 2, "0002_b", "INSERT INTO a SELECT max(n) + 1 FROM a");
    add(&b, 0, "kb/a", "INSERT INTO a VALUES (99)");
    at_once(dsn, &b.set);
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT string_agg(n::text, ',' ORDER BY n) FROM a"),
                        "1,2,99");
}

static void killed_while_migrating_goes_on_later(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct built b = {0};
    add(&b, 1, "0001_a", "CREATE TABLE a (n int)");
    add(&b, 2, "0002_b", "INSERT INTO a VALUES (1); SELECT pg_sleep(600)");
    pid_t pid = fork();
    if (pid == 0)
        _exit(ptl_migrate(dsn, &b.set, NULL, NULL) < 0);
    ptl_test_sql_until(
        dsn, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO a VALUES (1); SELECT%'",
        "1");
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    /* Its server process sleeps on, holding the lock: an operator ends it. */
    ptl_test_sql(
        dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO a VALUES (1); SELECT%'");
    b.set.n = 1;
    add(&b, 2, "0002_b", "INSERT INTO a VALUES (7)");
    apply(dsn, &b.set, 1);
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT string_agg(n::text, ',') FROM a"), "7");
}

/* ---- what is shipped
 * -------------------------------------------------------------------------------------------- */

static void shipped_migrations_apply(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    assert_true(ptl_migrations_builtin.n > 0);
    apply(dsn, NULL, (int)ptl_migrations_builtin.n);
    apply(dsn, NULL, 0);
    const char *again = ptl_test_pg_database(pg);
    at_once(again, NULL);
    assert_int_equal(ptl_test_sql_i64(again, "SELECT count(*) FROM schema_migration"),
                     (int64_t)ptl_migrations_builtin.n);
}

/* Each statement alone, so that all that are wrong are named, not only the first. */
static void shipped_statements_prepare(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_migrate(dsn, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(ptl_sql_builtin.n, PTL_SQL_COUNT);
    assert_true(PTL_SQL_COUNT > 0);
    int wrong = 0;
    for (size_t i = 0; i < ptl_sql_builtin.n; i++) {
        struct ptl_sql_set one = {&ptl_sql_builtin.v[i], 1};
        struct ptl_sql_info info;
        struct ptl_store_error e = {0};
        PGconn *c = NULL;
        int r = ptl_sql_info_parse(&one.v[0], &info, &e.error);
        struct ptl_connect_spec spec = {.dsn = dsn,
                                        .role = PTL_SESSION_WRITE,
                                        .set = &one,
                                        .infos = &info,
                                        .statement_timeout_ms = 10000,
                                        .timeout_ms = 20000,
                                        .cancel_fd = -1};
        if (r == 0)
            r = ptl_connect(&spec, &c, &e);
        if (r < 0) {
            fprintf(stderr, "%s\n", e.error.text);
            wrong++;
        } else if (info.n_params > PTL_ARGS_MAX) {
            fprintf(stderr, "%s: %d parameters, at most %d\n", one.v[0].file, info.n_params, PTL_ARGS_MAX);
            wrong++;
        }
        PQfinish(c);
    }
    if (wrong)
        fail_msg("%d of %zu statements cannot be prepared", wrong, ptl_sql_builtin.n);
}

/* A statement that says @read is run, with nulls, in a read-only transaction: it must not be refused as a
 * write. */
static void shipped_reads_only_read(void **state PTL_UNUSED)
{
    const char *dsn = ptl_test_pg_database(pg);
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_migrate(dsn, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    PGconn *c = PQconnectdb(dsn);
    PQclear(PQexec(c, "SET default_transaction_read_only = on"));
    int wrong = 0, reads = 0;
    for (size_t i = 0; i < ptl_sql_builtin.n; i++) {
        const struct ptl_sql_text *t = &ptl_sql_builtin.v[i];
        const char *nulls[PTL_ARGS_MAX] = {0};
        struct ptl_sql_info info;
        if (ptl_sql_info_parse(t, &info, NULL) < 0 || !info.read)
            continue;
        reads++;
        PQclear(PQprepare(c, t->name, t->text, 0, NULL));
        PGresult *d = PQdescribePrepared(c, t->name);
        PGresult *r = PQexecPrepared(c, t->name, PQnparams(d), nulls, NULL, NULL, 0);
        const char *state_ = PQresultErrorField(r, PG_DIAG_SQLSTATE);
        if (state_ && strcmp(state_, "25006") == 0) {
            fprintf(stderr, "%s says @read and writes: %s", t->file, PQresultErrorMessage(r));
            wrong++;
        }
        PQclear(r);
        PQclear(d);
    }
    PQfinish(c);
    if (wrong)
        fail_msg("%d of %d reads write", wrong, reads);
}

static void store_opens_with_what_is_shipped(void **state PTL_UNUSED)
{
    struct ptl_loop *loop = ptl_loop_new(1, 10);
    struct ptl_store *store = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    char *dir = ptl_test_tmpdir();
    static const char *const settings[] = {"fsync=off", "shared_buffers=16MB", "logging_collector=off", NULL};
    struct ptl_store_options o = {.state_dir = dir, .postgres_settings = settings};
    for (int i = 0; i < 2; i++) { /* made, and found again */
        if (ptl_store_open(loop, &o, &store, &err) < 0)
            fail_msg("%s", err.text);
        assert_true(ptl_store_is_ready(store));
        store = ptl_store_close(store);
    }
    assert_int_equal(ptl_store_migrate(&o, &err), 0);
    ptl_loop_free(loop);
    PTL_FREE char *command = ptl_xasprintf("rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    free(dir);
}

static int start_pg(void **state PTL_UNUSED)
{
    pg = ptl_test_pg_start(NULL);
    return 0;
}

static int stop_pg(void **state PTL_UNUSED)
{
    pg = ptl_test_pg_stop(pg);
    return 0;
}

int main(void)
{
    ptl_log_init("test_store_migrate");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_and_in_order),
        cmocka_unit_test(a_failing_file_leaves_nothing),
        cmocka_unit_test(own_transactions_are_refused),
        cmocka_unit_test(strange_databases_are_refused),
        cmocka_unit_test(data_is_loaded_again_when_it_changed),
        cmocka_unit_test(several_programs_at_once),
        cmocka_unit_test(killed_while_migrating_goes_on_later),
        cmocka_unit_test(shipped_migrations_apply),
        cmocka_unit_test(shipped_statements_prepare),
        cmocka_unit_test(shipped_reads_only_read),
        cmocka_unit_test(store_opens_with_what_is_shipped),
    };
    return cmocka_run_group_tests(tests, start_pg, stop_pg);
}
