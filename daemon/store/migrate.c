/* migrate.c - applies migrations over one plain session of its own, under a session-level advisory lock. What
 * was applied is compared before anything is changed; then each file runs in one transaction together with
 * its own record. */
#include "migrate.h"
#include "connect.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <stdio.h>

enum {
    CONNECT_MS = 15000,
    LOCK_MS = 600000, /* another program may be rewriting a large table; ours waits for it */
    FILE_MS = 3600000,
};
/* Any number, the same in every release. */
#define LOCK_SQL "SELECT pg_advisory_lock(7218306451)"

static const char make_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migration (version integer UNIQUE, name text PRIMARY KEY, sha256 text NOT NULL, "
    "program text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";
static const char select_applied[] =
    "SELECT coalesce(version, 0), name, sha256, program,"
    " string_to_array(regexp_replace(program, '[^0-9.].*$', ''), '.')::int[]"
    " > string_to_array(regexp_replace('" PTL_VERSION "', '[^0-9.].*$', ''), '.')::int[]"
    " FROM schema_migration ORDER BY version NULLS LAST, name";
static const char record[] =
    "INSERT INTO schema_migration (version, name, sha256, program) VALUES (nullif($1::int, 0), $2, $3, $4) "
    "ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, program = excluded.program, applied_at = now()";

struct session {
    PGconn *pg;
    PGresult *applied; /* rows of select_applied */
};

static int set_error(struct ptl_error *err, const struct ptl_store_error *e)
{
    if (err)
        *err = e->error;
    return e->error.code;
}

static int exec(struct session *s, const char *what, const char *sql, int64_t ms, struct ptl_error *err)
{
    struct ptl_store_error e;
    int r = ptl_connect_exec(s->pg, what, sql, -1, ptl_mono_ms() + ms, &e);
    return r < 0 ? set_error(err, &e) : 0;
}

static int read_applied(struct session *s, struct ptl_error *err)
{
    struct ptl_store_error e;
    int64_t deadline = ptl_mono_ms() + CONNECT_MS;
    PGresult *end = NULL;
    int r = -EIO;
    if (!PQsendQuery(s->pg, select_applied))
        ptl_pg_error(&e, "schema_migration", NULL, s->pg);
    else if ((r = ptl_connect_result(s->pg, -1, deadline, &s->applied, &e)) == 0 &&
             PQresultStatus(s->applied) != PGRES_TUPLES_OK) {
        ptl_pg_error(&e, "schema_migration", s->applied, s->pg);
        r = e.error.code;
    } else if (r == 0) {
        r = ptl_connect_result(s->pg, -1, deadline, &end, &e);
        PQclear(end);
    }
    return r < 0 ? set_error(err, &e) : 0;
}

/* The row of `name`, or -1. */
static int find_applied(const struct session *s, const char *name)
{
    for (int i = 0; i < PQntuples(s->applied); i++)
        if (strcmp(PQgetvalue(s->applied, i, 1), name) == 0)
            return i;
    return -1;
}

static const struct ptl_migration *find_known(const struct ptl_migration_set *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->v[i].name, name) == 0)
            return &set->v[i];
    return NULL;
}

static int highest_known(const struct ptl_migration_set *set)
{
    int high = 0;
    for (size_t i = 0; i < set->n; i++)
        if (set->v[i].version > high)
            high = set->v[i].version;
    return high;
}

/* Everything that was applied must be known, unchanged and without a hole before it. */
static int check_applied(const struct session *s, const struct ptl_migration_set *set, struct ptl_error *err)
{
    int known = highest_known(set), applied_high = 0;
    for (int i = 0; i < PQntuples(s->applied); i++) {
        int version = atoi(PQgetvalue(s->applied, i, 0));
        const char *name = PQgetvalue(s->applied, i, 1), *program = PQgetvalue(s->applied, i, 3);
        const struct ptl_migration *m = find_known(set, name);
        if (version == 0)
            continue;
        if (version > applied_high)
            applied_high = version;
        if (version > known)
            return ptl_error_set(
                err, -EINVAL,
                "the database has migration %s of portoland %s, this is portoland %s and knows "
                "only up to %04d: start the newer program, or restore the database from before "
                "its upgrade",
                name, program, PTL_VERSION, known);
        if (!m)
            return ptl_error_set(
                err, -EINVAL,
                "the database has migration %s, which this program never had: it is the database of "
                "another build; use that build or another database",
                name);
        if (strcmp(m->sha256, PQgetvalue(s->applied, i, 2)) != 0)
            return ptl_error_set(
                err, -EINVAL,
                "%s was changed after it had been applied (applied %.12s by portoland %s, here %.12s): "
                "an applied migration is never edited; put the old text back and write the change "
                "into a new file",
                m->file, PQgetvalue(s->applied, i, 2), program, m->sha256);
    }
    for (size_t i = 0; i < set->n; i++)
        if (set->v[i].version && set->v[i].version < applied_high && find_applied(s, set->v[i].name) < 0)
            return ptl_error_set(
                err, -EINVAL,
                "%s is missing in a database that already has number %04d: give it a number above that",
                set->v[i].file, applied_high);
    return 0;
}

static int put_record(struct session *s, const struct ptl_migration *m, struct ptl_error *err)
{
    char version[16];
    snprintf(version, sizeof(version), "%d", m->version);
    const char *values[] = {version, m->name, m->sha256, PTL_VERSION};
    struct ptl_store_error e;
    int64_t deadline = ptl_mono_ms() + CONNECT_MS;
    PGresult *res = NULL, *end = NULL;
    int r = -EIO;
    if (!PQsendQueryParams(s->pg, record, 4, NULL, values, NULL, NULL, 0)) {
        ptl_pg_error(&e, m->file, NULL, s->pg);
        return set_error(err, &e);
    }
    if ((r = ptl_connect_result(s->pg, -1, deadline, &res, &e)) == 0 &&
        PQresultStatus(res) != PGRES_COMMAND_OK) {
        ptl_pg_error(&e, m->file, res, s->pg);
        r = e.error.code;
    }
    if (r == 0)
        r = ptl_connect_result(s->pg, -1, deadline, &end, &e);
    PQclear(res);
    PQclear(end);
    return r < 0 ? set_error(err, &e) : 0;
}

/* The file as one simple query: the server parses it whole, so positions count from its first character. */
static int run_file(struct session *s, const struct ptl_migration *m, struct ptl_error *err)
{
    struct ptl_store_error e, later;
    int64_t deadline = ptl_mono_ms() + FILE_MS;
    if (!PQsendQuery(s->pg, m->text)) {
        ptl_pg_error(&e, m->file, NULL, s->pg);
        return set_error(err, &e);
    }
    int failed = 0;
    for (PGresult *res;;) {
        int r = ptl_connect_result(s->pg, -1, deadline, &res, failed ? &later : &e);
        if (r < 0 && !failed)
            failed = r;
        if (r < 0 || !res)
            break;
        ExecStatusType status = PQresultStatus(res);
        bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
        if (!ok && !failed) {
            char where[600];
            const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
            if (position)
                ptl_sql_where(m->file, m->text, atol(position), where, sizeof(where));
            else
                snprintf(where, sizeof(where), "%s", m->file);
            ptl_pg_error(&e, where, res, s->pg);
            failed = e.error.code;
        }
        PQclear(res);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) { /* nothing here can feed it */
            failed = ptl_error_set(&e.error, -EINVAL, "%s: COPY … FROM STDIN has no place in a migration",
                                   m->file);
            break;
        }
    }
    return failed ? set_error(err, &e) : 0;
}

static int apply(struct session *s, const struct ptl_migration *m, struct ptl_error *err)
{
    int64_t started = ptl_mono_ms();
    int r = exec(s, m->file, "BEGIN", CONNECT_MS, err);
    if (r == 0)
        r = run_file(s, m, err);
    if (r == 0 && PQtransactionStatus(s->pg) != PQTRANS_INTRANS)
        r = ptl_error_set(err, -EINVAL,
                          "%s: ends its own transaction; a migration runs inside one, without COMMIT",
                          m->file);
    if (r == 0)
        r = put_record(s, m, err);
    if (r == 0)
        r = exec(s, m->file, "COMMIT", FILE_MS, err);
    if (r < 0)
        return r; /* the session is closed without COMMIT: nothing of the file stays */
    ptl_log_info("db: applied %s in %lld ms", m->file, (long long)(ptl_mono_ms() - started));
    return 0;
}

/* Whether this data file is to be loaded: never before, or other content and not by a newer program. */
static bool is_due(const struct session *s, const struct ptl_migration *m)
{
    int i = find_applied(s, m->name);
    if (i < 0)
        return true;
    if (m->version || strcmp(PQgetvalue(s->applied, i, 2), m->sha256) == 0)
        return false;
    if (*PQgetvalue(s->applied, i, 4) == 't') {
        ptl_log_info("db: %s was loaded by the newer portoland %s, left as it is", m->file,
                     PQgetvalue(s->applied, i, 3));
        return false;
    }
    return true;
}

int ptl_migrate(const char *dsn, const struct ptl_migration_set *set, int *ret_applied, struct ptl_error *err)
{
    if (!set)
        set = &ptl_migrations_builtin;
    struct session s = {0};
    struct ptl_connect_spec spec = {
        .dsn = dsn, .role = PTL_SESSION_PLAIN, .timeout_ms = CONNECT_MS, .cancel_fd = -1};
    struct ptl_store_error e;
    int done = 0;
    int r = ptl_connect(&spec, &s.pg, &e);
    if (r < 0)
        return set_error(err, &e);
    r = exec(&s, "waiting for another program's migration", LOCK_SQL, LOCK_MS, err);
    if (r == 0)
        r = exec(&s, "schema_migration", make_table, CONNECT_MS, err);
    if (r == 0)
        r = read_applied(&s, err);
    if (r == 0)
        r = check_applied(&s, set, err);
    for (size_t i = 0; r == 0 && i < set->n; i++) {
        if (!is_due(&s, &set->v[i]))
            continue;
        r = apply(&s, &set->v[i], err);
        done += r == 0;
    }
    PQclear(s.applied);
    PQfinish(s.pg); /* gives the lock back */
    if (r == 0 && ret_applied)
        *ret_applied = done;
    return r;
}
