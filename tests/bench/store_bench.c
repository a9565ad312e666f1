/* store_bench.c - statements a second through the store beside what pgbench gets from the same server in the
 * same minute, fsync on. Prints figures and ratios; only the ratios mean something on another machine. Usage:
 * store_bench [seconds for each measurement, default 3] */
#include "migrate.h"
#include "pg.h"
#include "sql_set.h"
#include "store.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <portolan/proc.h>
#include <event2/event.h>
#include <stdio.h>

enum { Q_SELECT, Q_INSERT, Q_ONE };
#define SQL(name, text)                                                                                      \
    {                                                                                                        \
        name, name ".sql", text, sizeof(text) - 1                                                            \
    }
static const struct ptl_sql_text texts[] = {
    [Q_SELECT] = SQL("sel", "-- sel: one row by its key\n-- @read\nSELECT v FROM kv WHERE k = $1"),
    [Q_INSERT] = SQL(
        "ins",
        "-- ins: one durable row\n-- @write\nINSERT INTO ev (k, v) VALUES ($1, 'forty bytes of text, more or less, here')"),
    [Q_ONE] = SQL("one", "-- one: nothing\n-- @read\nSELECT $1::bigint"),
};
static const struct ptl_sql_set set = {texts, PTL_ARRAY_LEN(texts)};
static const struct ptl_migration_set none = {NULL, 0};
static const char schema[] =
    "CREATE TABLE kv (k bigint PRIMARY KEY, v text); INSERT INTO kv SELECT i, 'value ' || i FROM "
    "generate_series(1, 10000) i; CREATE TABLE ev (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "k bigint, v text); ANALYZE";

struct run {
    struct ptl_store *store;
    int sql;
    unsigned in_flight;
    int64_t until_ms, key;
    uint64_t done, failed;
};

static void ask(struct run *r);

static void on_answer(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct run *r = ctx;
    r->in_flight--;
    r->done++;
    r->failed += err != NULL;
    if (ptl_mono_ms() < r->until_ms)
        ask(r);
}

static void ask(struct run *r)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, ++r->key % 10000 + 1);
    if (ptl_store_query(r->store, (enum ptl_sql)r->sql, &args, on_answer, r) == 0)
        r->in_flight++;
}

/* `callers` who each ask again when they are answered, all in one loop. */
static double measure(struct ptl_loop *loop, struct ptl_store *store, int sql, unsigned callers,
                      int64_t seconds)
{
    int64_t started = ptl_mono_us();
    struct run r = {.store = store, .sql = sql, .until_ms = ptl_mono_ms() + seconds * 1000};
    for (unsigned i = 0; i < callers; i++)
        ask(&r);
    while (r.in_flight > 0)
        event_base_loop(ptl_loop_base(loop), EVLOOP_ONCE);
    if (r.failed)
        printf("  (%llu failed)\n", (unsigned long long)r.failed);
    return (double)r.done * 1e6 / (double)(ptl_mono_us() - started);
}

static double pgbench(const char *dsn, const char *dir, const char *script, unsigned clients, int64_t seconds)
{
    PTL_FREE char *file = ptl_fs_join(dir, "script.sql");
    PTL_FREE char *c = ptl_xasprintf("%u", clients);
    PTL_FREE char *t = ptl_xasprintf("%lld", (long long)seconds);
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_fs_write_atomic(file, script, strlen(script), 0644, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    const char *argv[] = {"pgbench", "-n", "-M", "prepared", "-f", file, "-c",
                          c,         "-j", "1",  "-T",       t,    dsn,  NULL};
    PTL_BUF out = PTL_BUF_INIT;
    int r = ptl_proc_capture(argv, seconds * 1000 + 30000, &out, &err);
    const char *tps = strstr(ptl_buf_str(&out), "tps = ");
    if (r != 0 || !tps) {
        fprintf(stderr, "pgbench: %d %s%s\n", r, err.text, ptl_buf_str(&out));
        exit(1);
    }
    return strtod(tps + strlen("tps = "), NULL);
}

int main(int argc, char **argv)
{
    int64_t seconds = argc > 1 ? strtoll(argv[1], NULL, 10) : 3;
    static const char *const durable[] = {"fsync=on", "full_page_writes=on", NULL};
    static const struct {
        const char *label, *script;
        int sql;
        unsigned callers;
    } runs[] = {
        {"SELECT 1",       "SELECT 1::bigint;\n",                                                            Q_ONE,    1  },
        {"SELECT 1",       "SELECT 1::bigint;\n",                                                            Q_ONE,    64 },
        {"row by key",     "\\set k random(1, 10000)\nSELECT v FROM kv WHERE k = :k;\n",                     Q_SELECT, 64 },
        {"durable insert", "INSERT INTO ev (k, v) VALUES (1, 'forty bytes of text, more or less, here');\n",
         Q_INSERT,                                                                                                     1  },
        {"durable insert", "INSERT INTO ev (k, v) VALUES (1, 'forty bytes of text, more or less, here');\n",
         Q_INSERT,                                                                                                     64 },
        {"durable insert", "INSERT INTO ev (k, v) VALUES (1, 'forty bytes of text, more or less, here');\n",
         Q_INSERT,                                                                                                     500},
    };
    ptl_log_init("store_bench");
    ptl_log_set_level(PTL_LOG_WARNING);
    struct ptl_test_pg *pg = ptl_test_pg_start(durable);
    struct ptl_loop *loop = ptl_loop_new(1, 10);
    const char *dsn = ptl_test_pg_database(pg);
    char *dir = ptl_test_tmpdir();
    ptl_test_sql(dsn, schema);
    struct ptl_store_options o = {.dsn = dsn, .statements = &set, .migrations = &none};
    struct ptl_store *store = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_store_open(loop, &o, &store, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%-16s %8s %14s %22s %7s\n", "what", "callers", "store, 1/s", "pgbench, 1/s (conns)", "ratio");
    for (size_t i = 0; i < PTL_ARRAY_LEN(runs); i++) {
        unsigned conns = runs[i].callers > 64 ? 64 : runs[i].callers;
        double peer = pgbench(dsn, dir, runs[i].script, conns, seconds);
        double ours = measure(loop, store, runs[i].sql, runs[i].callers, seconds);
        printf("%-16s %8u %14.0f %17.0f (%2u) %7.2f\n", runs[i].label, runs[i].callers, ours, peer, conns,
               ours / peer);
        fflush(stdout);
    }
    struct ptl_store_counters c;
    struct ptl_store_statement_counters w;
    ptl_store_counters(store, &c);
    ptl_store_statement_counters(store, (enum ptl_sql)Q_INSERT, &w);
    printf("writes a transaction, over all three: %.1f\n",
           (double)w.count / (double)(c.transactions ? c.transactions : 1));
    ptl_store_close(store);
    ptl_loop_free(loop);
    ptl_test_pg_stop(pg);
    if (ptl_fs_remove_tree(dir, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
    free(dir);
    return 0;
}
