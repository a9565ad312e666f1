/* store.h - every fact of the daemon goes through here into PostgreSQL; the only module that knows libpq.
 *
 * A statement is a file daemon/store/sql/NAME.sql and is called as PTL_SQL_NAME. The first comment lines of
 * the file carry its directives:
 *     -- NAME: what it does.  $1 bigint agent, $2 …      (the name must be the file's)
 *     -- @read                 may run on any connection, read-only there, repeated freely; or
 *     -- @write [bulk]         keeps its order among all writes of its lane (`bulk`: a second lane, for large
 * or slow writes such as log chunks, so that they never stand in front of a claim)
 *     -- @repeatable           a write that may run twice with the effect of once: it is repeated by itself
 * when the connection was lost before the answer came
 *
 * Writes are group-committed: what waits in one turn of the loop (and what came while the last commit was on
 * its way) shares one transaction. When one of them fails, the group is taken apart and run again, so each
 * caller sees what he would have seen alone; only `now()` and the order of locks can tell the difference.
 *
 * Loop thread only, all of it. */
#ifndef PORTOLAN_DAEMON_STORE_H
#define PORTOLAN_DAEMON_STORE_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <portolan/json.h>
#include <portolan/loop.h>
#include "store_sql.h" /* generated: enum ptl_sql { PTL_SQL_…, PTL_SQL_COUNT } from the names of daemon/store/sql/NAME.sql */

struct ptl_store;
struct ptl_sql_set;       /* statements; sql_set.h. NULL means the built-in ones */
struct ptl_migration_set; /* migrations; migrate.h. NULL means the built-in ones */

struct ptl_store_options {
    const char *dsn;       /* libpq connection string or URI; NULL: a private cluster in state_dir/postgres */
    const char *state_dir; /* absolute; only read when dsn is NULL */
    unsigned connections;  /* 1..64; 0: default 4. One for writes, from 3 on one for bulk writes, the rest for
                            * reads;  one more is opened for LISTEN */
    unsigned queue_max;    /* statements waiting and running; 0: default 10000 */
    int64_t statement_timeout_ms; /* the server's statement_timeout; 0: default 10000 */
    int64_t
        deadline_ms; /* longest time a statement waits to be sent, reconnects included; 0: default 30000 */
    bool no_migrate; /* leave the schema as it is */
    const struct ptl_sql_set *statements;
    const struct ptl_migration_set *migrations;
    const char *const *postgres_settings; /* private cluster: further "name=value", NULL-ended; NULL: none
                                             (tests: fsync=off) */
};

/* Starts the private cluster when no dsn is given, applies migrations, connects, prepares every statement.
 * Blocks (at start only; at most about a minute). The options are copied. On failure nothing is left running
 * and err says which file and line when a statement or migration is at fault. */
PTL_NODISCARD int ptl_store_open(struct ptl_loop *loop, const struct ptl_store_options *options,
                                 struct ptl_store **ret, struct ptl_error *err);
/* Answers everything that waits with -ECANCELED (from inside this call), disconnects, stops the private
 * cluster (blocks for that, seconds). Not from inside a callback of the store. NULL ok; returns NULL. */
struct ptl_store *ptl_store_close(struct ptl_store *store);
/* What `portoland migrate` does: as open, but only the migrations. Blocks. */
PTL_NODISCARD int ptl_store_migrate(const struct ptl_store_options *options, struct ptl_error *err);
/* Connected, so that a write handed in now would be sent now. */
bool ptl_store_is_ready(const struct ptl_store *store);
const char *ptl_store_dsn(const struct ptl_store *store); /* borrowed; may hold a password: never print it */

/* ---- parameters
 * ----------------------------------------------------------------------------------------------- struct
 * ptl_args a; ptl_args_init(&a); ptl_args_i64(&a, id); ptl_args_str(&a, name); … in the order $1, $2, ….
 * Everything is copied. A failure (too many, out of memory, text with a NUL or not UTF-8 where text is meant)
 * sticks and comes out as the error of the statement. */
enum { PTL_ARGS_MAX = 32 };
struct ptl_arg {
    size_t offset, len; /* into buf; text is NUL-terminated there */
    bool null, binary;
};
struct ptl_args {
    struct ptl_buf buf;
    int n;
    int failed; /* sticky negative errno */
    struct ptl_arg v[PTL_ARGS_MAX];
};
void ptl_args_init(struct ptl_args *a);
void ptl_args_done(struct ptl_args *a); /* only for args that were never handed over */
void ptl_args_null(struct ptl_args *a);
void ptl_args_str(struct ptl_args *a, const char *s); /* NULL is SQL null */
void ptl_args_strn(struct ptl_args *a, const char *s, size_t len);
void ptl_args_i64(struct ptl_args *a, int64_t v);
void ptl_args_f64(struct ptl_args *a, double v);
void ptl_args_bool(struct ptl_args *a, bool v);
void ptl_args_json(struct ptl_args *a, const json_t *j); /* borrowed; NULL is SQL null. U+0000 is refused */
void ptl_args_bytes(struct ptl_args *a, const void *p, size_t len);      /* bytea; NULL is SQL null */
void ptl_args_i64_array(struct ptl_args *a, const int64_t *v, size_t n); /* bigint[]; n = 0: '{}' */
void ptl_args_text_array(struct ptl_args *a, const char *const *v,
                         size_t n); /* text[]; NULL elements are null */

/* ---- results
 * -------------------------------------------------------------------------------------------------- Columns
 * by name. A name the statement does not return, or a value of another form, is a mistake in this program: it
 * is logged and aborts. SQL null reads as 0, false, 0.0, NULL. */
struct ptl_rows;
struct ptl_rows *ptl_rows_ref(struct ptl_rows *r); /* to keep it after the callback */
struct ptl_rows *ptl_rows_unref(struct ptl_rows *r);
int ptl_rows_count(const struct ptl_rows *r);
int64_t ptl_rows_affected(const struct ptl_rows *r); /* rows inserted, updated, deleted or selected */
bool ptl_row_null(const struct ptl_rows *r, int row, const char *col);
int64_t ptl_row_i64(const struct ptl_rows *r, int row, const char *col);
double ptl_row_f64(const struct ptl_rows *r, int row, const char *col);
bool ptl_row_bool(const struct ptl_rows *r, int row, const char *col);
const char *ptl_row_str(const struct ptl_rows *r, int row, const char *col); /* borrowed from r */
/* bytea; borrowed from r; NULL with *ret_len 0 for null or when out of memory; a NUL byte follows it. */
const void *ptl_row_bytes(struct ptl_rows *r, int row, const char *col, size_t *ret_len);
json_t *ptl_row_json(const struct ptl_rows *r, int row,
                     const char *col); /* new reference; NULL for SQL null */
/* bigint[] / text[] of one dimension as a new JSON array; NULL for SQL null. */
json_t *ptl_row_array(const struct ptl_rows *r, int row, const char *col);
/* A row as an object of all its columns by their types (times as RFC 3339, bytea left out: never secrets);
 * all rows as an array. New references. */
json_t *ptl_row_object(const struct ptl_rows *r, int row);
json_t *ptl_rows_array(const struct ptl_rows *r);

/* Exactly once, on the loop thread, later than the call that asked. Either rows (borrowed) and err NULL, or
 * err and rows NULL. err is borrowed; its code is one of -EEXIST      a conflict:
 * ptl_store_error_is_conflict() -ECONNRESET  UNKNOWN: a write was sent, the connection lost before the
 * answer; it may or may not be in force -ETIMEDOUT   nothing was done: waited past deadline_ms or ran past
 * statement_timeout_ms -ECANCELED   nothing was done or unknown: the store was closed -ENOENT      a foreign
 * key does not exist, or SQLSTATE PT404 -EPERM       SQLSTATE PT403, or the database refuses the role -EINVAL
 * data the statement does not accept (22xxx, check and not-null constraints, PT400, PT422), bad args -ENOSPC
 * 53xxx: disk full, out of memory, too many connections -EIO         anything else */
typedef void ptl_rows_fn(void *ctx, struct ptl_rows *rows, const struct ptl_error *err);

/* One statement. `args` is consumed whatever comes back (NULL: no parameters). `fn` may be NULL: failures are
 * then logged. 0: fn will run. PTL_FULL: it will not, nothing was done; say "later" (503). */
PTL_NODISCARD int ptl_store_query(struct ptl_store *store, enum ptl_sql sql, struct ptl_args *args,
                                  ptl_rows_fn *fn, void *ctx);

/* Several statements, one transaction, one round trip, in the order added; all or none. On failure err names
 * the statement that failed. rows[i] answers the i-th. At most PTL_BATCH_MAX. All @read: a read; else it
 * takes the lane of its writes and is repeatable only if every write in it is. */
enum { PTL_BATCH_MAX = 1000 };
typedef void ptl_batch_fn(void *ctx, struct ptl_rows *const *rows, size_t n, const struct ptl_error *err);
struct ptl_batch;
struct ptl_batch *ptl_batch_new(struct ptl_store *store);  /* never NULL */
struct ptl_batch *ptl_batch_free(struct ptl_batch *batch); /* only for one that was never run */
void ptl_batch_add(struct ptl_batch *batch, enum ptl_sql sql, struct ptl_args *args); /* args consumed */
size_t ptl_batch_count(const struct ptl_batch *batch);
/* Consumes the batch whatever comes back. An empty batch answers with n = 0. 0, or PTL_FULL and fn will not
 * run. */
PTL_NODISCARD int ptl_batch_run(struct ptl_batch *batch, ptl_batch_fn *fn, void *ctx);

/* ---- what an error was
 * ----------------------------------------------------------------------------------------- */
/* unique or exclusion violation, serialization failure, deadlock, or a statement that raised SQLSTATE
 * 'PT409'. */
static inline bool ptl_store_error_is_conflict(const struct ptl_error *err)
{
    return err && err->code == -EEXIST;
}
/* the outcome of a write is not known. */
static inline bool ptl_store_error_is_unknown(const struct ptl_error *err)
{
    return err && err->code == -ECONNRESET;
}
/* SQLSTATE and constraint of the err that a callback was given: valid during the callback, and on that very
 * pointer, not on a copy; "" when there is none. */
const char *ptl_store_error_sqlstate(const struct ptl_error *err);
const char *ptl_store_error_constraint(const struct ptl_error *err);

/* ---- wake-ups
 * --------------------------------------------------------------------------------------------------- LISTEN
 * on `channel` ([a-z0-9_], at most 63) by a connection of its own. `fn` gets each payload; and "" when the
 * LISTEN first takes effect and after every reconnect, because notifications may have been missed: look for
 * yourself then. Stays until the store is closed. 0 or negative errno. */
PTL_NODISCARD int ptl_store_listen(struct ptl_store *store, const char *channel,
                                   void (*fn)(void *ctx, const char *payload), void *ctx);

/* ---- counters for /metrics
 * -------------------------------------------------------------------------------------- */
enum { PTL_STORE_LATENCY_BUCKETS = 14 };
extern const int64_t
    ptl_store_latency_bound_us[PTL_STORE_LATENCY_BUCKETS]; /* upper bounds; the last is INT64_MAX */
struct ptl_store_counters {
    unsigned queued, running;        /* now */
    size_t queued_bytes;             /* parameters of both */
    unsigned connections, connected; /* wanted, in use; without the one for LISTEN */
    bool listening;
    uint64_t statements, failed; /* answered; answered with an error */
    uint64_t transactions;       /* groups of writes that were committed or rolled back, reads not counted */
    uint64_t reruns;             /* units run again because a neighbour failed or the connection was lost */
    uint64_t full, expired, unknown; /* refused; past deadline_ms; answered with "unknown" */
    uint64_t reconnects, connect_failures, notifications, cluster_restarts;
    uint64_t latency[PTL_STORE_LATENCY_BUCKETS]; /* from the call to the answer */
    uint64_t latency_sum_us;
};
void ptl_store_counters(const struct ptl_store *store, struct ptl_store_counters *ret);
struct ptl_store_statement_counters {
    const char *name;
    uint64_t count, failed, sum_us, max_us;
};
/* `sql` 0..PTL_SQL_COUNT-1 */
void ptl_store_statement_counters(const struct ptl_store *store, enum ptl_sql sql,
                                  struct ptl_store_statement_counters *ret);
#endif
