/* pg.h - a private PostgreSQL for tests: a throw-away cluster made by the daemon's own embedded code, a fresh
 * database per test, and a side door to look and to disturb. Everything here stops the test program with a
 * sentence when it fails. Blocking; the thread that starts it must live as long as it does. */
#ifndef PORTOLAN_TESTS_PG_H
#define PORTOLAN_TESTS_PG_H
#include <portolan/base.h>
#include <portolan/loop.h>
#include <sys/types.h>

struct ptl_test_pg;
/* In a temporary directory, without fsync: about a second. `settings` are further "name=value" for the
 * server, NULL-ended; NULL: none. */
struct ptl_test_pg *ptl_test_pg_start(const char *const *settings);
struct ptl_test_pg *ptl_test_pg_stop(struct ptl_test_pg *pg); /* and removes the directory; NULL ok */
pid_t ptl_test_pg_pid(const struct ptl_test_pg *pg);
const char *ptl_test_pg_bin_dir(const struct ptl_test_pg *pg);
/* An empty database of a name not used before; its connection string, borrowed until stop. */
const char *ptl_test_pg_database(struct ptl_test_pg *pg);

/* Runs statements. */
void ptl_test_sql(const char *dsn, const char *sql);
/* First column of the first row, "" when there is no row or null; valid until the next call. */
const char *ptl_test_sql_value(const char *dsn, const char *sql);
int64_t ptl_test_sql_i64(const char *dsn, const char *sql);
/* Looks again and again until the statement gives `wanted`; fails after 20 s. */
void ptl_test_sql_until(const char *dsn, const char *sql, const char *wanted);

/* A temporary directory that any user may enter; caller removes it and frees the name. */
char *ptl_test_tmpdir(void);

/* Turns the loop until `is_done(ctx)`; fails with `what` after `ms`. */
void ptl_test_turn_until(struct ptl_loop *loop, bool (*is_done)(void *ctx), void *ctx, int64_t ms,
                         const char *what);
#endif
