/* pg.c - see pg.h. One cluster per test program, one side connection per question. */
#include "pg.h"
#include "embedded.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

struct ptl_test_pg {
    char *dir;
    struct ptl_embedded *embedded;
    char *dsns[256];
    unsigned n;
};

_Noreturn static void stop_with(const char *what, const char *why)
{
    fprintf(stderr, "tests/support/pg: %s: %s\n", what, why);
    abort();
}

char *ptl_test_tmpdir(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = ptl_xasprintf("%s/ptl-pg-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
        stop_with(dir, strerror(errno));
    return dir;
}

struct ptl_test_pg *ptl_test_pg_start(const char *const *settings)
{
    struct ptl_test_pg *pg = ptl_xcalloc(1, sizeof(*pg));
    const char *all[24] = {"fsync=off", "full_page_writes=off", "logging_collector=off",
                           "max_connections=100", "shared_buffers=32MB"};
    size_t n = 5;
    for (; settings && *settings && n < 23; settings++)
        all[n++] = *settings;
    pg->dir = ptl_test_tmpdir();
    struct ptl_embedded_options o = {.state_dir = pg->dir, .settings = all, .throw_away = true};
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_embedded_start(&o, &pg->embedded, &err) < 0)
        stop_with("start", err.text);
    return pg;
}

struct ptl_test_pg *ptl_test_pg_stop(struct ptl_test_pg *pg)
{
    if (!pg)
        return NULL;
    ptl_embedded_stop(pg->embedded);
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_fs_remove_tree(pg->dir, &err) < 0)
        stop_with("remove", err.text);
    for (unsigned i = 0; i < pg->n; i++)
        free(pg->dsns[i]);
    free(pg->dir);
    free(pg);
    return NULL;
}

pid_t ptl_test_pg_pid(const struct ptl_test_pg *pg)
{
    return ptl_embedded_pid(pg->embedded);
}

const char *ptl_test_pg_bin_dir(const struct ptl_test_pg *pg)
{
    return ptl_embedded_bin_dir(pg->embedded);
}

const char *ptl_test_pg_database(struct ptl_test_pg *pg)
{
    if (pg->n == PTL_ARRAY_LEN(pg->dsns))
        stop_with("database", "too many in one program");
    PTL_FREE char *sql = ptl_xasprintf("CREATE DATABASE t%u", pg->n);
    ptl_test_sql(ptl_embedded_dsn(pg->embedded), sql);
    pg->dsns[pg->n] = ptl_xasprintf("%s dbname=t%u", ptl_embedded_dsn(pg->embedded), pg->n);
    return pg->dsns[pg->n++];
}

static PGresult *run(const char *dsn, const char *sql, PGconn **ret)
{
    PGconn *c = PQconnectdb(dsn);
    if (PQstatus(c) != CONNECTION_OK)
        stop_with(sql, PQerrorMessage(c));
    PQclear(PQexec(c, "SET client_min_messages = warning"));
    PGresult *res = PQexec(c, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
        stop_with(sql, PQresultErrorMessage(res));
    *ret = c;
    return res;
}

void ptl_test_sql(const char *dsn, const char *sql)
{
    PGconn *c;
    PQclear(run(dsn, sql, &c));
    PQfinish(c);
}

const char *ptl_test_sql_value(const char *dsn, const char *sql)
{
    static char value[8192];
    PGconn *c;
    PGresult *res = run(dsn, sql, &c);
    snprintf(value, sizeof(value), "%s",
             PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    PQfinish(c);
    return value;
}

int64_t ptl_test_sql_i64(const char *dsn, const char *sql)
{
    return strtoll(ptl_test_sql_value(dsn, sql), NULL, 10);
}

void ptl_test_sql_until(const char *dsn, const char *sql, const char *wanted)
{
    int64_t deadline = ptl_mono_ms() + 20000;
    while (strcmp(ptl_test_sql_value(dsn, sql), wanted) != 0) {
        if (ptl_mono_ms() > deadline)
            stop_with(sql, "did not come true in 20 s");
        (void)poll(NULL, 0, 5); /* nothing tells us; the deadline bounds the looking */
    }
}

static void on_deadline(void *ctx)
{
    *(bool *)ctx = true;
}

void ptl_test_turn_until(struct ptl_loop *loop, bool (*is_done)(void *ctx), void *ctx, int64_t ms,
                         const char *what)
{
    bool late = false;
    struct ptl_timer *t = ptl_timer_new(loop, on_deadline, &late);
    ptl_timer_after(t, ms);
    while (!is_done(ctx)) {
        if (late)
            stop_with(what, "did not happen in time");
        if (event_base_loop(ptl_loop_base(loop), EVLOOP_ONCE) < 0)
            stop_with(what, "the loop failed");
    }
    ptl_timer_free(t);
}
