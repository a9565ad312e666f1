/* The store against a real PostgreSQL: values both ways, order, shared transactions, failures that stay with
 * their cause, bounds and deadlines, notifications. What happens when things are killed:
 * tests/fault/test_store_fault.c. */
#include "pg.h"
#include "sql_set.h"
#include "migrate.h"
#include "store.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <event2/event.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

enum {
    Q_ECHO,
    Q_BYTES,
    Q_PUT,
    Q_PUT_BULK,
    Q_ALL,
    Q_SLEEP,
    Q_READ_WRITES,
    Q_NOTIFY,
    Q_DEFERRED,
    Q_RAISE,
    Q_ADD,
    Q_STAR,
    Q_COUNT
};
#define SQL(name, text)                                                                                      \
    {                                                                                                        \
        name, name ".sql", text, sizeof(text) - 1                                                            \
    }
static const struct ptl_sql_text texts[] = {
    [Q_ECHO] = SQL(
        "echo",
        "-- echo: values as they are\n-- @read\n"
        "SELECT $1::bigint AS i, $2::text AS s, $3::boolean AS b, $4::double precision AS f, $5::jsonb AS j,\n"
        "       $6::bigint[] AS ia, $7::text[] AS ta, $8::interval::text AS iv"),
    [Q_BYTES] = SQL("bytes", "-- bytes: b\n-- @read\nSELECT $1::bytea AS b, length($1::bytea) AS n"),
    [Q_PUT] =
        SQL("put", "-- put: one row\n-- @write\n"
                   "INSERT INTO t (k, v) VALUES ($1, $2) RETURNING n, k, pg_current_xact_id()::text AS tx"),
    [Q_PUT_BULK] = SQL(
        "put_bulk", "-- put_bulk: one row\n-- @write bulk\nINSERT INTO t (k, v) VALUES ($1, $2) RETURNING n"),
    [Q_ALL] = SQL("all", "-- all: rows\n-- @read\nSELECT n, k FROM t ORDER BY n"),
    [Q_SLEEP] = SQL("sleep", "-- sleep: waits\n-- @write\nSELECT pg_sleep($1)"),
    [Q_READ_WRITES] =
        SQL("read_writes", "-- read_writes: says read and writes\n-- @read\nINSERT INTO t (k) VALUES (1)"),
    [Q_NOTIFY] = SQL("notify", "-- notify: n\n-- @write\nSELECT pg_notify($1, $2)"),
    [Q_DEFERRED] =
        SQL("deferred", "-- deferred: fails at commit\n-- @write\nINSERT INTO child (parent) VALUES ($1)"),
    [Q_RAISE] = SQL("raise", "-- raise: r\n-- @write\nSELECT raise($1)"),
    [Q_ADD] = SQL("add", "-- add: counts\n-- @write\nUPDATE counter SET n = n + 1 RETURNING n"),
    [Q_STAR] = SQL("star", "-- star: s\n-- @write\nSELECT * FROM shape"),
};
static const struct ptl_sql_set set = {texts, PTL_ARRAY_LEN(texts)};
static_assert(PTL_ARRAY_LEN(texts) == Q_COUNT, "one text per name");
static const struct ptl_migration_set no_migrations = {NULL, 0};
static const char schema[] =
    "CREATE TABLE t (n bigint GENERATED ALWAYS AS IDENTITY, k bigint UNIQUE, v text, b bytea);"
    "CREATE TABLE parent (id bigint PRIMARY KEY);"
    "CREATE TABLE child (parent bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TABLE counter (n bigint); INSERT INTO counter VALUES (0); CREATE TABLE shape (a int);"
    "CREATE FUNCTION raise(state text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = state; END $$";

static struct ptl_test_pg *pg;
static struct ptl_loop *loop;
static struct ptl_store *store;
static const char *dsn;

/* What one call was told. */
struct answer {
    int times;
    struct ptl_rows *rows;
    struct ptl_error err;
    char sqlstate[6], constraint[64];
    int order;
};
static int order;

static void on_answer(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct answer *a = ctx;
    a->times++;
    a->order = ++order;
    if (rows)
        a->rows = ptl_rows_ref(rows);
    if (err) {
        a->err = *err;
        snprintf(a->sqlstate, sizeof(a->sqlstate), "%s", ptl_store_error_sqlstate(err));
        snprintf(a->constraint, sizeof(a->constraint), "%s", ptl_store_error_constraint(err));
        assert_string_equal(ptl_store_error_sqlstate(&a->err), ""); /* not of a copy */
    }
    assert_true(!rows != !err);
}

static int ask(int sql, struct ptl_args *args, ptl_rows_fn *fn, void *ctx)
{
    return ptl_store_query(store, (enum ptl_sql)sql, args, fn, ctx);
}

struct set_of_answers {
    struct answer *a;
    size_t n;
};

static bool all_answered(void *ctx)
{
    const struct set_of_answers *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (s->a[i].times == 0)
            return false;
    return true;
}

static void wait_all(struct answer *a, size_t n)
{
    struct set_of_answers s = {a, n};
    ptl_test_turn_until(loop, all_answered, &s, 20000, "an answer");
    for (size_t i = 0; i < n; i++)
        assert_int_equal(a[i].times, 1);
}

static void wait_one(struct answer *a)
{
    wait_all(a, 1);
}

static void done(struct answer *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ptl_rows_unref(a[i].rows);
    memset(a, 0, n * sizeof(*a));
}

static void put_as(int sql, int64_t k, struct answer *a)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, k);
    ptl_args_str(&args, "v");
    assert_int_equal(ask(sql, &args, on_answer, a), 0);
    assert_int_equal(a->times, 0); /* never from inside the call */
}

static void put(int64_t k, struct answer *a)
{
    put_as(Q_PUT, k, a);
}

static void one_text(int sql, const char *text, struct answer *a)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_str(&args, text);
    assert_int_equal(ask(sql, &args, on_answer, a), 0);
}

static void open_store(const struct ptl_store_options *more)
{
    struct ptl_store_options o = more ? *more : (struct ptl_store_options){0};
    struct ptl_error err = PTL_ERROR_INIT;
    o.dsn = dsn;
    o.statements = &set;
    o.migrations = &no_migrations;
    if (ptl_store_open(loop, &o, &store, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(ptl_store_is_ready(store));
}

static int fresh(void **state PTL_UNUSED)
{
    loop = ptl_loop_new(1, 10);
    dsn = ptl_test_pg_database(pg);
    ptl_test_sql(dsn, schema);
    order = 0;
    store = NULL;
    return 0;
}

static int with_store(void **state)
{
    fresh(state);
    open_store(NULL);
    return 0;
}

static int gone(void **state PTL_UNUSED)
{
    store = ptl_store_close(store);
    loop = ptl_loop_free(loop);
    return 0;
}

/* ---- values
 * ---------------------------------------------------------------------------------------------------- */

static void values_come_back(void **state PTL_UNUSED)
{
    static const char *const words[] = {"a b", "q\"\\", NULL, "", "NULL", "{,}", "\xc3\xa4\n"};
    struct answer a[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct ptl_args args;
        PTL_JSON *j = json_pack("{s:[i,n,s]}", "k", 1, "\xe2\x82\xac");
        ptl_args_init(&args);
        if (i == 0) {
            ptl_args_i64(&args, INT64_MIN);
            ptl_args_str(&args, "it's \\ $1 \xf0\x9f\x9a\xa2");
            ptl_args_bool(&args, true);
            ptl_args_f64(&args, 0.1);
            ptl_args_json(&args, j);
            ptl_args_i64_array(&args, (const int64_t[]){INT64_MAX, -1, 0}, 3);
            ptl_args_text_array(&args, words, PTL_ARRAY_LEN(words));
            ptl_args_str(&args, "90 minutes");
        } else {
            for (int k = 0; k < 8; k++)
                ptl_args_null(&args);
        }
        assert_int_equal(ask(Q_ECHO, &args, on_answer, &a[i]), 0);
    }
    wait_all(a, 2);
    const struct ptl_rows *r = a[0].rows;
    assert_int_equal(ptl_rows_count(r), 1);
    assert_true(ptl_row_i64(r, 0, "i") == INT64_MIN);
    assert_string_equal(ptl_row_str(r, 0, "s"), "it's \\ $1 \xf0\x9f\x9a\xa2");
    assert_true(ptl_row_bool(r, 0, "b"));
    assert_true(ptl_row_f64(r, 0, "f") == 0.1);
    PTL_JSON *j = ptl_row_json(r, 0, "j");
    assert_string_equal(json_string_value(json_array_get(json_object_get(j, "k"), 2)), "\xe2\x82\xac");
    PTL_JSON *ia = ptl_row_array(r, 0, "ia");
    assert_true(json_integer_value(json_array_get(ia, 0)) == INT64_MAX && json_array_size(ia) == 3);
    PTL_JSON *ta = ptl_row_array(r, 0, "ta");
    assert_int_equal(json_array_size(ta), PTL_ARRAY_LEN(words));
    for (size_t i = 0; i < PTL_ARRAY_LEN(words); i++)
        if (words[i])
            assert_string_equal(json_string_value(json_array_get(ta, i)), words[i]);
        else
            assert_true(json_is_null(json_array_get(ta, i)));
    assert_string_equal(ptl_row_str(r, 0, "iv"), "PT1H30M");
    r = a[1].rows;
    static const char *const columns[] = {"i", "s", "b", "f", "j", "ia", "ta", "iv"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(columns); i++)
        assert_true(ptl_row_null(r, 0, columns[i]));
    assert_true(ptl_row_i64(r, 0, "i") == 0 && !ptl_row_str(r, 0, "s") && !ptl_row_bool(r, 0, "b"));
    assert_true(ptl_row_f64(r, 0, "f") == 0 && !ptl_row_json(r, 0, "j") && !ptl_row_array(r, 0, "ia"));
    done(a, 2);
}

static void big_bytes_come_back(void **state PTL_UNUSED)
{
    static const size_t sizes[] = {0, 1, 65536, 20 << 20}; /* the last is far above any socket buffer */
    for (size_t i = 0; i < PTL_ARRAY_LEN(sizes); i++) {
        struct answer a = {0};
        struct ptl_args args;
        unsigned char *p = ptl_xcalloc(sizes[i] + 1, 1);
        uint32_t x = 12345;
        for (size_t k = 0; k < sizes[i]; k++)
            p[k] = (unsigned char)((x = x * 1664525u + 1013904223u) >> 24);
        ptl_args_init(&args);
        ptl_args_bytes(&args, p, sizes[i]);
        assert_int_equal(ask(Q_BYTES, &args, on_answer, &a), 0);
        wait_one(&a);
        assert_int_equal(a.err.code, 0);
        size_t n;
        const void *got = ptl_row_bytes(a.rows, 0, "b", &n);
        assert_int_equal(n, sizes[i]);
        assert_int_equal(ptl_row_i64(a.rows, 0, "n"), sizes[i]);
        assert_memory_equal(got, p, n);
        assert_ptr_equal(ptl_row_bytes(a.rows, 0, "b", &n), got); /* decoded once */
        free(p);
        done(&a, 1);
    }
}

static void bad_calls_are_answered(void **state PTL_UNUSED)
{
    struct answer a[5] = {0};
    struct ptl_args args;
    assert_int_equal(ask(Q_PUT, NULL, on_answer, &a[0]), 0); /* too few */
    ptl_args_init(&args);
    ptl_args_strn(&args, "a\0b", 3);
    ptl_args_null(&args);
    assert_int_equal(ask(Q_PUT, &args, on_answer, &a[1]), 0);
    ptl_args_init(&args);
    ptl_args_str(&args, "no number");
    ptl_args_null(&args);
    assert_int_equal(ask(Q_PUT, &args, on_answer, &a[2]), 0);
    ptl_args_init(&args);
    ptl_args_i64(&args, 1);
    ptl_args_str(&args, "\xff no utf-8");
    assert_int_equal(ask(Q_PUT, &args, on_answer, &a[3]), 0);
    put(2, &a[4]);
    wait_all(a, 5);
    static const char *const says[] = {"put: takes 2 parameters, got 0", "NUL byte", "SQLSTATE 22P02",
                                       "SQLSTATE 22021"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(a[i].err.code, -EINVAL);
        if (!strstr(a[i].err.text, says[i]))
            fail_msg("%s", a[i].err.text);
    }
    assert_int_equal(a[4].err.code, 0);
    done(a, 5);
}

/* ---- order and sharing
 * ----------------------------------------------------------------------------------------- */

static void writes_of_one_turn_share_a_transaction(void **state PTL_UNUSED)
{
    enum { N = 50 };
    struct answer a[N] = {0};
    struct ptl_store_counters before, after;
    ptl_store_counters(store, &before);
    for (int i = 0; i < N; i++)
        put(i, &a[i]);
    wait_all(a, N);
    ptl_store_counters(store, &after);
    assert_int_equal(after.transactions - before.transactions, 1);
    for (int i = 0; i < N; i++) {
        assert_int_equal(a[i].order, i + 1);
        assert_int_equal(ptl_row_i64(a[i].rows, 0, "n"), i + 1); /* ran in the order of the calls */
        assert_string_equal(ptl_row_str(a[i].rows, 0, "tx"), ptl_row_str(a[0].rows, 0, "tx"));
    }
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(DISTINCT xmin::text) FROM t"),
                     1); /* as the server saw it */
    done(a, N);
}

static void what_comes_during_a_commit_shares_the_next(void **state PTL_UNUSED)
{
    enum { N = 20 };
    struct answer slow = {0}, a[N] = {0};
    struct ptl_store_counters before, after;
    one_text(Q_SLEEP, "0.2", &slow);
    event_base_loop(ptl_loop_base(loop), EVLOOP_NONBLOCK); /* it is sent */
    ptl_store_counters(store, &before);
    assert_int_equal(before.running, 1);
    for (int i = 0; i < N; i++) {
        put(i, &a[i]);
        event_base_loop(ptl_loop_base(loop), EVLOOP_NONBLOCK); /* each in a turn of its own */
    }
    wait_all(a, N);
    ptl_store_counters(store, &after);
    assert_int_equal(after.transactions - before.transactions, 2); /* the slow one, and one for all */
    assert_int_equal(slow.order, 1);
    done(a, N);
    done(&slow, 1);
}

static void large_groups_are_cut(void **state PTL_UNUSED)
{
    enum { N = 600 };
    static struct answer a[N];
    struct ptl_store_counters c;
    for (int i = 0; i < N; i++)
        put(i, &a[i]);
    wait_all(a, N);
    ptl_store_counters(store, &c);
    assert_int_equal(c.transactions, 3); /* 256 at most in one */
    for (int i = 0; i < N; i++)
        assert_int_equal(ptl_row_i64(a[i].rows, 0, "n"), i + 1);
    done(a, N);
}

static void reads_run_beside_a_slow_write(void **state PTL_UNUSED)
{
    struct answer slow = {0}, a = {0};
    one_text(Q_SLEEP, "0.3", &slow);
    event_base_loop(ptl_loop_base(loop), EVLOOP_NONBLOCK);
    assert_int_equal(ask(Q_ALL, NULL, on_answer, &a), 0);
    wait_one(&a);
    assert_int_equal(slow.times, 0);
    struct answer bulk = {0};
    put_as(Q_PUT_BULK, 1, &bulk); /* another lane */
    wait_one(&bulk);
    assert_int_equal(slow.times, 0);
    wait_one(&slow);
    done(&a, 1);
    done(&slow, 1);
    done(&bulk, 1);
}

static void one_connection_does_everything(void **state)
{
    fresh(state);
    open_store(&(struct ptl_store_options){.connections = 1});
    enum { N = 30 };
    struct answer a[N] = {0};
    for (int i = 0; i < N; i++)
        if (i % 3 == 2)
            assert_int_equal(ask(Q_ALL, NULL, on_answer, &a[i]), 0);
        else
            put_as(i % 3 ? Q_PUT_BULK : Q_PUT, i, &a[i]);
    wait_all(a, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(a[i].err.code, 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 20);
    done(a, N);
    gone(state);
}

/* ---- failures stay with their cause
 * ---------------------------------------------------------------------------- */

static void bad_row_spares_its_neighbours(void **state PTL_UNUSED)
{
    enum { N = 12 };
    static const bool bad[N] = {[0] = true, [5] = true, [6] = true, [11] = true};
    struct answer a[N] = {0};
    ptl_test_sql(dsn, "INSERT INTO t (k) VALUES (1000)");
    for (int i = 0; i < N; i++)
        put(bad[i] ? 1000 : i, &a[i]);
    wait_all(a, N);
    int64_t last = 0;
    for (int i = 0; i < N; i++) {
        if (bad[i]) {
            assert_true(ptl_store_error_is_conflict(&a[i].err));
            assert_string_equal(a[i].sqlstate, "23505");
            assert_string_equal(a[i].constraint, "t_k_key");
        } else {
            assert_int_equal(a[i].err.code, 0);
            assert_true(ptl_row_i64(a[i].rows, 0, "n") > last); /* and in order, across the new tries */
            last = ptl_row_i64(a[i].rows, 0, "n");
        }
    }
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 9);
    done(a, N);
}

static void conflict_inside_a_group_is_as_if_alone(void **state PTL_UNUSED)
{
    struct answer a[4] = {0};
    put(1, &a[0]);
    put(1, &a[1]); /* refused because of the first, which stays */
    put(2, &a[2]);
    put(1, &a[3]);
    wait_all(a, 4);
    assert_int_equal(a[0].err.code, 0);
    assert_int_equal(a[1].err.code, -EEXIST);
    assert_int_equal(a[2].err.code, 0);
    assert_int_equal(a[3].err.code, -EEXIST);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 2);
    done(a, 4);
}

static void many_bad_rows_cost_a_bounded_number_of_tries(void **state PTL_UNUSED)
{
    enum { N = 200 };
    static struct answer a[N];
    struct ptl_store_counters c;
    ptl_test_sql(dsn, "INSERT INTO t (k) VALUES (1)");
    for (int i = 0; i < N; i++)
        put(1, &a[i]);
    wait_all(a, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(a[i].err.code, -EEXIST);
    ptl_store_counters(store, &c);
    assert_true(c.reruns <= 3 * N);
    assert_int_equal(c.failed, N);
    done(a, N);
}

static void failure_at_commit_is_found(void **state PTL_UNUSED)
{
    struct answer a[4] = {0};
    put(1, &a[0]);
    one_text(Q_DEFERRED, "77", &a[1]); /* no such parent: known only when the transaction ends */
    put(2, &a[2]);
    ptl_test_sql(dsn, "INSERT INTO parent VALUES (5)");
    one_text(Q_DEFERRED, "5", &a[3]);
    wait_all(a, 4);
    assert_int_equal(a[0].err.code, 0);
    assert_int_equal(a[1].err.code, -ENOENT);
    assert_string_equal(a[1].sqlstate, "23503");
    assert_int_equal(a[2].err.code, 0);
    assert_int_equal(a[3].err.code, 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 2);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM child"), 1);
    done(a, 4);
}

static void our_own_sqlstates(void **state PTL_UNUSED)
{
    static const struct {
        const char *sqlstate;
        int code;
    } v[] = {
        {"PT409", -EEXIST},
        {"PT404", -ENOENT},
        {"PT403", -EPERM },
        {"PT422", -EINVAL},
        {"ZZ999", -EIO   }
    };
    struct answer a[PTL_ARRAY_LEN(v)] = {0};
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++)
        one_text(Q_RAISE, v[i].sqlstate, &a[i]);
    wait_all(a, PTL_ARRAY_LEN(v));
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        assert_int_equal(a[i].err.code, v[i].code);
        assert_string_equal(a[i].sqlstate, v[i].sqlstate);
    }
    done(a, PTL_ARRAY_LEN(v));
}

static void reads_cannot_write(void **state PTL_UNUSED)
{
    struct answer a = {0};
    assert_int_equal(ask(Q_READ_WRITES, NULL, on_answer, &a), 0);
    wait_one(&a);
    assert_string_equal(a.sqlstate, "25006");
    assert_int_equal(a.err.code, -EPERM);
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    assert_int_equal(c.connected, c.connections); /* and nobody takes the server for a standby */
    done(&a, 1);
}

/* ---- batches
 * --------------------------------------------------------------------------------------------------- */

struct batch_answer {
    int times, code;
    size_t n;
    int64_t first, last;
    char text[1024];
};

static void on_batch(void *ctx, struct ptl_rows *const *rows, size_t n, const struct ptl_error *err)
{
    struct batch_answer *b = ctx;
    b->times++;
    b->code = err ? err->code : 0;
    b->n = n;
    snprintf(b->text, sizeof(b->text), "%s", err ? err->text : "");
    if (n > 0) {
        b->first = ptl_row_i64(rows[0], 0, "n");
        b->last = ptl_row_i64(rows[n - 1], 0, "n");
    }
}

static bool batch_answered(void *ctx)
{
    return ((struct batch_answer *)ctx)->times > 0;
}

static void add_put(struct ptl_batch *b, int64_t k)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, k);
    ptl_args_null(&args);
    ptl_batch_add(b, (enum ptl_sql)Q_PUT, &args);
}

static void batches_are_all_or_nothing(void **state PTL_UNUSED)
{
    struct batch_answer good = {0}, bad = {0}, empty = {0}, many = {0};
    struct answer before = {0}, after = {0};
    struct ptl_batch *b = ptl_batch_new(store);
    put(100, &before);
    for (int i = 0; i < 20; i++)
        add_put(b, i);
    assert_int_equal(ptl_batch_count(b), 20);
    assert_int_equal(ptl_batch_run(b, on_batch, &good), 0);
    b = ptl_batch_new(store);
    add_put(b, 50);
    add_put(b, 100); /* is there */
    add_put(b, 51);
    assert_int_equal(ptl_batch_run(b, on_batch, &bad), 0);
    put(101, &after);
    assert_int_equal(ptl_batch_run(ptl_batch_new(store), on_batch, &empty), 0);
    b = ptl_batch_new(store);
    for (int i = 0; i <= PTL_BATCH_MAX; i++)
        add_put(b, 1000 + i);
    assert_int_equal(ptl_batch_run(b, on_batch, &many), 0);
    b = ptl_batch_new(store);
    add_put(b, 1);
    assert_null(ptl_batch_free(b));
    ptl_test_turn_until(loop, batch_answered, &good, 20000, "good batch");
    ptl_test_turn_until(loop, batch_answered, &bad, 20000, "bad batch");
    ptl_test_turn_until(loop, batch_answered, &empty, 20000, "empty batch");
    ptl_test_turn_until(loop, batch_answered, &many, 20000, "too large batch");
    wait_one(&after);
    assert_true(good.code == 0 && good.n == 20 && good.last == good.first + 19);
    assert_int_equal(bad.code, -EEXIST);
    assert_non_null(strstr(bad.text, "put: "));
    assert_true(empty.code == 0 && empty.n == 0);
    assert_int_equal(many.code, -EINVAL);
    assert_int_equal(after.err.code, 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 22);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t WHERE k IN (50, 51)"), 0);
    done(&before, 1);
    done(&after, 1);
}

/* ---- bounds and deadlines
 * -------------------------------------------------------------------------------------- */

static void queue_is_bounded(void **state)
{
    fresh(state);
    open_store(&(struct ptl_store_options){.queue_max = 5});
    struct answer a[6] = {0};
    for (int i = 0; i < 5; i++)
        put(i, &a[i]);
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_i64(&args, 9);
    ptl_args_null(&args);
    assert_int_equal(ask(Q_PUT, &args, on_answer, &a[5]), PTL_FULL);
    wait_all(a, 5);
    assert_int_equal(a[5].times, 0);
    put(9, &a[5]); /* there is room again */
    wait_one(&a[5]);
    struct ptl_store_counters c;
    ptl_store_counters(store, &c);
    assert_int_equal(c.full, 1);
    assert_true(c.queued == 0 && c.running == 0 && c.queued_bytes == 0);
    done(a, 6);
    gone(state);
}

static void slow_statement_is_stopped_by_the_server(void **state)
{
    fresh(state);
    open_store(&(struct ptl_store_options){.statement_timeout_ms = 100});
    struct answer a[3] = {0};
    put(1, &a[0]);
    one_text(Q_SLEEP, "60", &a[1]);
    put(2, &a[2]);
    wait_all(a, 3);
    assert_int_equal(a[0].err.code, 0);
    assert_int_equal(a[1].err.code, -ETIMEDOUT);
    assert_string_equal(a[1].sqlstate, "57014");
    assert_int_equal(a[2].err.code, 0);
    done(a, 3);
    gone(state);
}

static void waiting_has_a_deadline(void **state)
{
    fresh(state);
    open_store(&(struct ptl_store_options){.deadline_ms = 100});
    struct answer slow = {0}, a = {0};
    one_text(Q_SLEEP, "1", &slow);
    event_base_loop(ptl_loop_base(loop), EVLOOP_NONBLOCK);
    put(1, &a); /* stands behind it longer than it may */
    wait_one(&a);
    assert_int_equal(slow.times, 0);
    assert_int_equal(a.err.code, -ETIMEDOUT);
    assert_non_null(strstr(a.err.text, "nothing was done"));
    wait_one(&slow);
    assert_int_equal(slow.err.code, 0);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM t"), 0);
    done(&a, 1);
    done(&slow, 1);
    gone(state);
}

static void close_answers_everybody(void **state)
{
    fresh(state);
    open_store(NULL);
    struct answer a[4] = {0};
    one_text(Q_SLEEP, "30", &a[0]);
    event_base_loop(ptl_loop_base(loop), EVLOOP_NONBLOCK);
    put(1, &a[1]);
    assert_int_equal(ask(Q_ALL, NULL, on_answer, &a[2]), 0);
    assert_int_equal(ask(Q_PUT, NULL, on_answer, &a[3]), 0); /* already has its (bad) answer */
    store = ptl_store_close(store);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a[i].times, 1);
        assert_int_equal(a[i].err.code, -ECANCELED);
    }
    assert_int_equal(a[3].err.code, -EINVAL);
    gone(state);
}

static struct answer chained;
static void on_first(void *ctx PTL_UNUSED, struct ptl_rows *rows PTL_UNUSED,
                     const struct ptl_error *err PTL_UNUSED)
{
    put(2, &chained);
}

static void callbacks_may_ask_again(void **state PTL_UNUSED)
{
    struct ptl_args args;
    memset(&chained, 0, sizeof(chained));
    ptl_args_init(&args);
    ptl_args_i64(&args, 1);
    ptl_args_null(&args);
    assert_int_equal(ask(Q_PUT, &args, on_first, NULL), 0);
    wait_one(&chained);
    assert_int_equal(ptl_row_i64(chained.rows, 0, "n"), 2);
    done(&chained, 1);
    assert_int_equal(ask(Q_ADD, NULL, NULL, NULL), 0); /* nobody waits */
    struct answer a = {0};
    assert_int_equal(ask(Q_ADD, NULL, on_answer, &a), 0);
    wait_one(&a);
    assert_int_equal(ptl_row_i64(a.rows, 0, "n"), 2);
    done(&a, 1);
}

/* ---- the start
 * ------------------------------------------------------------------------------------------------- */

static int open_fails(const struct ptl_store_options *o, const char *says)
{
    struct ptl_store *s = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_store_open(loop, o, &s, &err);
    if (r == 0)
        ptl_store_close(s);
    if (r >= 0 || !strstr(err.text, says))
        fail_msg("wanted a failure that says '%s', got %d: %s", says, r, err.text);
    return r;
}

static void bad_statement_fails_the_start(void **state PTL_UNUSED)
{
    static const struct ptl_sql_text bad[] = {
        SQL("fine", "-- fine: f\n-- @read\nSELECT 1"),
        SQL("wrong", "-- wrong: \xc3\xa4\n-- @write\nUPDATE t\n   SET nosuch = 1"),
        SQL("also_wrong", "-- also_wrong: x\n-- @write\nSELECT 1; SELECT 2"),
    };
    static const struct ptl_sql_text undirected[] = {SQL("x", "-- x: f\nSELECT 1")};
    struct ptl_sql_set s = {bad, 3}, u = {undirected, 1};
    open_fails(&(struct ptl_store_options){.dsn = dsn, .statements = &s, .migrations = &no_migrations},
               "wrong.sql:4:8: ");
    open_fails(&(struct ptl_store_options){.dsn = dsn, .statements = &u, .migrations = &no_migrations},
               "x.sql: ");
    s.v = &bad[2];
    s.n = 1;
    open_fails(&(struct ptl_store_options){.dsn = dsn, .statements = &s, .migrations = &no_migrations},
               "also_wrong.sql:");
}

static void refusals_do_not_wait_a_minute(void **state PTL_UNUSED)
{
    int64_t before = ptl_mono_ms();
    PTL_FREE char *no_db = ptl_xasprintf("%s dbname=nosuch", dsn);
    open_fails(&(struct ptl_store_options){.dsn = no_db, .statements = &set}, "nosuch");
    PTL_FREE char *no_role = ptl_xasprintf("%s user=nobody_knows", dsn);
    open_fails(&(struct ptl_store_options){.dsn = no_role, .statements = &set}, "connect: ");
    open_fails(&(struct ptl_store_options){.dsn = "host=x password='hunter2", .statements = &set},
               "not shown");
    open_fails(&(struct ptl_store_options){.statements = &set}, "neither a database nor a state directory");
    assert_true(ptl_mono_ms() - before < 30000);
}

/* ---- notifications
 * --------------------------------------------------------------------------------------------- */

struct heard {
    int empty, named;
    char last[64];
};

static void on_payload(void *ctx, const char *payload)
{
    struct heard *h = ctx;
    if (*payload)
        h->named++;
    else
        h->empty++;
    snprintf(h->last, sizeof(h->last), "%s", payload);
}

static bool heard_empty(void *ctx)
{
    return ((struct heard *)ctx)->empty > 0;
}

static bool heard_named(void *ctx)
{
    return ((struct heard *)ctx)->named > 0;
}

static void notify(const char *channel, const char *payload)
{
    struct ptl_args args;
    ptl_args_init(&args);
    ptl_args_str(&args, channel);
    ptl_args_str(&args, payload);
    assert_int_equal(ask(Q_NOTIFY, &args, NULL, NULL), 0);
}

static void notifications_arrive(void **state PTL_UNUSED)
{
    struct heard a = {0}, a2 = {0}, b = {0};
    assert_int_equal(ptl_store_listen(store, "Bad Channel", on_payload, &a), -EINVAL);
    assert_int_equal(ptl_store_listen(store, "stage", on_payload, &a), 0);
    assert_int_equal(ptl_store_listen(store, "stage", on_payload, &a2), 0);
    assert_int_equal(a.empty, 0); /* later, never from inside */
    ptl_test_turn_until(loop, heard_empty, &a, 20000, "LISTEN in force");
    ptl_test_turn_until(loop, heard_empty, &a2, 20000, "second listener in force");
    notify("stage", "17");
    ptl_test_turn_until(loop, heard_named, &a, 20000, "notification");
    ptl_test_turn_until(loop, heard_named, &a2, 20000, "notification of the second listener");
    assert_string_equal(a.last, "17");
    assert_int_equal(ptl_store_listen(store, "log", on_payload, &b), 0); /* on a connection that is up */
    ptl_test_turn_until(loop, heard_empty, &b, 20000, "third listener in force");
    notify("log", "x");
    ptl_test_turn_until(loop, heard_named, &b, 20000, "notification of the third listener");
    assert_true(a.empty == 1 && a.named == 1 && b.empty == 1 && b.named == 1);
}

static void counters_count(void **state PTL_UNUSED)
{
    struct answer a[3] = {0};
    put(1, &a[0]);
    put(2, &a[1]);
    assert_int_equal(ask(Q_ALL, NULL, on_answer, &a[2]), 0);
    wait_all(a, 3);
    struct ptl_store_counters c;
    struct ptl_store_statement_counters p;
    ptl_store_counters(store, &c);
    ptl_store_statement_counters(store, (enum ptl_sql)Q_PUT, &p);
    uint64_t in_buckets = 0;
    for (int i = 0; i < PTL_STORE_LATENCY_BUCKETS; i++)
        in_buckets += c.latency[i];
    assert_int_equal(in_buckets, 3);
    assert_true(c.statements == 3 && c.failed == 0 && c.connections == 4 && c.connected == 4);
    assert_true(p.count == 2 && p.failed == 0 && p.sum_us >= p.max_us && p.max_us > 0);
    assert_string_equal(p.name, "put");
    done(a, 3);
}

static void changed_plan_is_made_anew(void **state PTL_UNUSED)
{
    struct answer a[3] = {0};
    assert_int_equal(ask(Q_STAR, NULL, on_answer, &a[0]), 0);
    wait_one(&a[0]);
    ptl_test_sql(
        dsn,
        "ALTER TABLE shape ADD b int; INSERT INTO shape VALUES (1, 2)"); /* a migration by a newer daemon */
    put(1, &a[1]);
    assert_int_equal(ask(Q_STAR, NULL, on_answer, &a[2]), 0);
    wait_all(a, 3);
    assert_int_equal(a[1].err.code, 0);
    assert_int_equal(a[2].err.code, 0);
    assert_int_equal(ptl_row_i64(a[2].rows, 0, "b"), 2);
    done(a, 3);
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

#define WITH_STORE(f) cmocka_unit_test_setup_teardown(f, with_store, gone)
int main(void)
{
    ptl_log_init("test_store");
    const struct CMUnitTest tests[] = {
        WITH_STORE(values_come_back),
        WITH_STORE(big_bytes_come_back),
        WITH_STORE(bad_calls_are_answered),
        WITH_STORE(writes_of_one_turn_share_a_transaction),
        WITH_STORE(what_comes_during_a_commit_shares_the_next),
        WITH_STORE(large_groups_are_cut),
        WITH_STORE(reads_run_beside_a_slow_write),
        cmocka_unit_test(one_connection_does_everything),
        WITH_STORE(bad_row_spares_its_neighbours),
        WITH_STORE(conflict_inside_a_group_is_as_if_alone),
        WITH_STORE(many_bad_rows_cost_a_bounded_number_of_tries),
        WITH_STORE(failure_at_commit_is_found),
        WITH_STORE(our_own_sqlstates),
        WITH_STORE(reads_cannot_write),
        WITH_STORE(batches_are_all_or_nothing),
        cmocka_unit_test(queue_is_bounded),
        cmocka_unit_test(slow_statement_is_stopped_by_the_server),
        cmocka_unit_test(waiting_has_a_deadline),
        cmocka_unit_test(close_answers_everybody),
        WITH_STORE(callbacks_may_ask_again),
        cmocka_unit_test_setup_teardown(bad_statement_fails_the_start, fresh, gone),
        cmocka_unit_test_setup_teardown(refusals_do_not_wait_a_minute, fresh, gone),
        WITH_STORE(notifications_arrive),
        WITH_STORE(counters_count),
        WITH_STORE(changed_plan_is_made_anew),
    };
    return cmocka_run_group_tests(tests, start_pg, stop_pg);
}
