/* connect.c - makes one PostgreSQL session, ready for work: connects, sets what our statements rely on,
 * prepares all of them in one pipeline. It blocks (with a deadline and a descriptor that cancels it), because
 * resolving a host name inside libpq blocks anyway and only its blocking call honours connect_timeout for
 * each of several hosts; the store runs it on a thread of its own and takes the finished session over. */
#include "connect.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <poll.h>
#include <stdio.h>

static void on_notice(void *ctx PTL_UNUSED, const char *message)
{
    ptl_log_debug("db: server says: %.*s", (int)strcspn(message, "\n"), message);
}

static int fail(struct ptl_store_error *err, int code, enum ptl_pg_fate fate, const char *text)
{
    memset(err, 0, sizeof(*err));
    err->fate = fate;
    return ptl_error_set(&err->error, code, "%s", text);
}

/* Waits for the socket. 0, or negative with err. */
static int wait_socket(PGconn *pg, short events, int cancel_fd, int64_t deadline, struct ptl_store_error *err)
{
    for (;;) {
        int64_t left = deadline - ptl_mono_ms();
        struct pollfd p[2] = {
            {.fd = PQsocket(pg), .events = events},
            {.fd = cancel_fd,    .events = POLLIN}
        };
        if (p[0].fd < 0)
            return fail(err, -EIO, PTL_FATE_LOST, "connection lost");
        int r = poll(p, 2, left > 0 ? (left > 60000 ? 60000 : (int)left) : 0); /* poll skips a negative fd */
        if (r < 0 && errno != EINTR)
            return fail(err, -errno, PTL_FATE_LOST, strerror(errno));
        if (r > 0 && p[1].revents)
            return fail(err, -ECANCELED, PTL_FATE_LOST, "the store is closing");
        if (r > 0 && p[0].revents)
            return 0;
        if (ptl_mono_ms() >= deadline)
            return fail(err, -ETIMEDOUT, PTL_FATE_LOST, "the database does not answer in time");
    }
}

int ptl_connect_result(PGconn *pg, int cancel_fd, int64_t deadline, PGresult **ret,
                       struct ptl_store_error *err)
{
    for (;;) {
        int unsent = PQflush(pg);
        if (unsent < 0) {
            ptl_pg_error(err, "connection", NULL, pg);
            return err->error.code;
        }
        if (!PQisBusy(pg)) {
            *ret = PQgetResult(pg);
            return 0;
        }
        int r = wait_socket(pg, (short)(POLLIN | (unsent ? POLLOUT : 0)), cancel_fd, deadline, err);
        if (r < 0)
            return r;
        if (!PQconsumeInput(pg)) {
            ptl_pg_error(err, "connection", NULL, pg);
            return err->error.code;
        }
    }
}

int ptl_connect_exec(PGconn *pg, const char *what, const char *sql, int cancel_fd, int64_t deadline,
                     struct ptl_store_error *err)
{
    if (!PQsendQuery(pg, sql)) {
        ptl_pg_error(err, what, NULL, pg);
        return err->error.code;
    }
    int failed = 0;
    for (;;) {
        PGresult *res;
        struct ptl_store_error later;
        int r = ptl_connect_result(pg, cancel_fd, deadline, &res, failed ? &later : err);
        if (r < 0)
            return failed ? failed : r;
        if (!res)
            return failed;
        if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK && !failed) {
            ptl_pg_error(err, what, res, pg);
            failed = err->error.code;
        }
        PQclear(res);
    }
}

/* libpq keeps no SQLSTATE of a refused connection and the message may be in any language. A server that
 * answers a ping but not us has refused us: password, database name, rights, or no free place. */
static void ask_why(const char *const *keys, const char *const *values, struct ptl_store_error *err)
{
    switch (PQpingParams(keys, values, 1)) {
    case PQPING_OK:
        err->fate = PTL_FATE_PERSON;
        break;
    case PQPING_REJECT:
        err->fate = PTL_FATE_STARTING;
        break;
    case PQPING_NO_RESPONSE:
    case PQPING_NO_ATTEMPT:
        break;
    }
}

static int start(const struct ptl_connect_spec *spec, PGconn **ret, struct ptl_store_error *err)
{
    /* Defaults stand before dbname, so that what the connection string says wins. TCP settings make a host
     * that vanished without a word known within half a minute; they mean nothing on a UNIX socket. The
     * blocking call is meant: only it goes on to the next host of a list after connect_timeout. */
    static const char *const keys[] = {"fallback_application_name",
                                       "client_encoding",
                                       "target_session_attrs",
                                       "connect_timeout",
                                       "keepalives_idle",
                                       "keepalives_interval",
                                       "keepalives_count",
                                       "tcp_user_timeout",
                                       "dbname",
                                       NULL};
    const char *values[] = {"portoland", "UTF8", "read-write", "5", "10", "5", "3", "30000", spec->dsn, NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    if (!pg)
        return fail(err, -ENOMEM, PTL_FATE_LOST, "out of memory");
    if (PQstatus(pg) != CONNECTION_OK) {
        ptl_pg_error(err, "connect", NULL, pg);
        PQfinish(pg);
        ask_why(keys, values, err);
        return err->error.code;
    }
    PQsetNoticeProcessor(pg, on_notice, NULL);
    *ret = pg;
    return 0;
}

static int settings(const struct ptl_connect_spec *spec, PGconn *pg, int64_t deadline,
                    struct ptl_store_error *err)
{
    char sql[512];
    bool plain = spec->role == PTL_SESSION_PLAIN;
    snprintf(
        sql, sizeof(sql),
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'hex';"
        "SET extra_float_digits = 1; SET standard_conforming_strings = on;"
        /* statements here take milliseconds; compiling one takes tens of them */
        "SET jit = off;"
        "SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = %lld;%s",
        plain ? 0LL : (long long)spec->statement_timeout_ms,
        spec->role == PTL_SESSION_READ ? "SET default_transaction_read_only = on;" : "");
    return ptl_connect_exec(pg, "session settings", sql, spec->cancel_fd, deadline, err);
}

static void prepare_failed(const struct ptl_sql_text *t, const PGresult *res, PGconn *pg,
                           struct ptl_store_error *err)
{
    char where[600];
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
    ptl_sql_where(t->file, t->text, position ? atol(position) : 1, where, sizeof(where));
    ptl_pg_error(err, where, res, pg);
    if (hint) {
        size_t n = strlen(err->error.text);
        snprintf(err->error.text + n, sizeof(err->error.text) - n, "; %.200s", hint);
    }
    if (err->fate != PTL_FATE_LOST)
        err->fate = PTL_FATE_PERSON;
}

static bool is_wanted(const struct ptl_connect_spec *spec, size_t i)
{
    return spec->role == PTL_SESSION_WRITE || spec->infos[i].read;
}

/* The result of one command of the pipeline; res NULL is -EIO with err. */
static int one_result(const struct ptl_connect_spec *spec, PGconn *pg, int64_t deadline, bool ends,
                      PGresult **ret, struct ptl_store_error *err)
{
    PGresult *end = NULL;
    int r = ptl_connect_result(pg, spec->cancel_fd, deadline, ret, err);
    if (r == 0 && ends)
        r = ptl_connect_result(pg, spec->cancel_fd, deadline, &end, err); /* the NULL behind it */
    PQclear(end);
    if (r < 0)
        return r;
    return *ret ? 0 : fail(err, -EIO, PTL_FATE_LOST, "connection lost while statements were prepared");
}

static int prepare(const struct ptl_connect_spec *spec, PGconn *pg, int64_t deadline,
                   struct ptl_store_error *err)
{
    bool ok = PQenterPipelineMode(pg);
    for (size_t i = 0; ok && i < spec->set->n; i++)
        if (is_wanted(spec, i))
            ok = PQsendPrepare(pg, spec->set->v[i].name, spec->set->v[i].text, 0, NULL) &&
                 PQsendDescribePrepared(pg, spec->set->v[i].name);
    if (!ok || !PQpipelineSync(pg)) {
        ptl_pg_error(err, "prepare", NULL, pg);
        return err->error.code;
    }
    int failed = 0;
    for (size_t i = 0; i < spec->set->n; i++) {
        for (int described = 0; described < 2 && is_wanted(spec, i); described++) {
            PGresult *res = NULL;
            struct ptl_store_error later;
            int r = one_result(spec, pg, deadline, true, &res, failed ? &later : err);
            if (r < 0) {
                PQclear(res);
                return failed ? failed : r;
            }
            if (!failed && PQresultStatus(res) != PGRES_COMMAND_OK) {
                prepare_failed(&spec->set->v[i], res, pg, err);
                failed = err->error.code;
            } else if (described && !failed) {
                spec->infos[i].n_params = PQnparams(res);
            }
            PQclear(res);
        }
    }
    if (failed)
        return failed; /* the session is thrown away, its sync need not be read */
    PGresult *sync = NULL;
    int r = one_result(spec, pg, deadline, false, &sync, err);
    if (r == 0 && PQresultStatus(sync) != PGRES_PIPELINE_SYNC) {
        ptl_pg_error(err, "prepare", sync, pg);
        r = err->error.code;
    }
    PQclear(sync);
    return r;
}

int ptl_connect(const struct ptl_connect_spec *spec, PGconn **ret, struct ptl_store_error *err)
{
    int64_t deadline = ptl_mono_ms() + spec->timeout_ms;
    PGconn *pg = NULL;
    int r = start(spec, &pg, err);
    if (r == 0 && PQsetnonblocking(pg, 1) != 0)
        r = fail(err, -EIO, PTL_FATE_LOST, "libpq refuses non-blocking mode");
    if (r == 0)
        r = settings(spec, pg, deadline, err);
    if (r == 0 && spec->role != PTL_SESSION_PLAIN)
        r = prepare(spec, pg, deadline, err);
    if (r < 0) {
        PQfinish(pg);
        return r;
    }
    *ret = pg;
    return 0;
}

bool ptl_connect_may_retry(const struct ptl_store_error *err)
{
    return (err->fate == PTL_FATE_LOST || err->fate == PTL_FATE_STARTING) && err->error.code != -ECANCELED;
}
