/* pgerror.c - the table from SQLSTATE to outcome, and the retry policies. Every decision about trying again
 * is one of the rows below; nothing else in the store looks at a SQLSTATE. */
#include "store-private.h"
#include <portolan/hash.h>
#include <stdio.h>

struct rule {
    const char *prefix; /* of the SQLSTATE; the first row that fits decides */
    int code;
    enum ptl_pg_fate fate;
};

static const struct rule rules[] = {
    {"23505", -EEXIST,    PTL_FATE_ANSWER}, /* unique_violation */
    {"23P01", -EEXIST,    PTL_FATE_ANSWER}, /* exclusion_violation */
    {"23503", -ENOENT,    PTL_FATE_ANSWER}, /* foreign_key_violation */
    {"23",    -EINVAL,    PTL_FATE_ANSWER}, /* check, not null, … */
    {"22",    -EINVAL,    PTL_FATE_ANSWER}, /* data exception: a number out of range, text that is no json, … */
    {"40001", -EEXIST,    PTL_FATE_RETRY }, /* serialization_failure */
    {"40P01", -EEXIST,    PTL_FATE_RETRY }, /* deadlock_detected */
    {"40",    -EEXIST,    PTL_FATE_ANSWER},
    {"55P03", -ETIMEDOUT, PTL_FATE_FINAL }, /* lock_not_available: lock_timeout */
    {"57014", -ETIMEDOUT, PTL_FATE_FINAL }, /* query_canceled: statement_timeout, or an operator */
    {"PT409", -EEXIST,    PTL_FATE_ANSWER}, /* raised by our own statements and triggers */
    {"PT404", -ENOENT,    PTL_FATE_ANSWER},
    {"PT403", -EPERM,     PTL_FATE_ANSWER},
    {"PT4",   -EINVAL,    PTL_FATE_ANSWER},
    {"25006", -EPERM,     PTL_FATE_LOST  }, /* read_only_sql_transaction: this server was demoted */
    {"26000", -EIO,       PTL_FATE_STALE }, /* a pooler gave us another session */
    {"42501", -EPERM,     PTL_FATE_ANSWER}, /* insufficient_privilege */
    {"53",    -ENOSPC,    PTL_FATE_ANSWER},
    {"57P",   -EIO,       PTL_FATE_LOST  }, /* admin_shutdown, crash_shutdown, cannot_connect_now, idle timeouts */
    {"08P01", -EIO,       PTL_FATE_ANSWER}, /* protocol_violation: our mistake, not the line's */
    {"08",    -EIO,       PTL_FATE_LOST  },
    {"25P03", -EIO,       PTL_FATE_LOST  }, /* idle_in_transaction_session_timeout */
    {"28",    -EPERM,     PTL_FATE_PERSON}, /* wrong password or no rule in pg_hba.conf */
    {"3D000", -ENOENT,    PTL_FATE_PERSON}, /* no such database */
    {"",      -EIO,       PTL_FATE_ANSWER},
};

enum ptl_pg_fate ptl_pg_classify(const char *sqlstate, int *ret_code)
{
    const struct rule *r = rules;
    while (!ptl_str_starts(sqlstate, r->prefix))
        r++;
    *ret_code = r->code;
    return r->fate;
}

static void copy_field(char *ret, size_t size, const char *s)
{
    snprintf(ret, size, "%s", s ? s : "");
}

/* The server's words on one line. */
static void one_line(char *ret, size_t size, const char *s)
{
    size_t n = 0;
    for (; s && *s && n + 1 < size; s++)
        ret[n++] = *s == '\n' ? ' ' : *s;
    while (n > 0 && ret[n - 1] == ' ')
        n--;
    ret[n] = 0;
}

void ptl_pg_error(struct ptl_store_error *e, const char *what, const PGresult *res, const PGconn *conn)
{
    memset(e, 0, sizeof(*e));
    char text[600], detail[300];
    if (!res || PQresultStatus(res) != PGRES_FATAL_ERROR || !PQresultErrorField(res, PG_DIAG_SQLSTATE)) {
        const char *said = res ? PQresultErrorMessage(res) : "";
        one_line(text, sizeof(text), *said ? said : conn ? PQerrorMessage(conn) : "out of memory");
        e->fate = PTL_FATE_LOST; /* no SQLSTATE: libpq itself could not go on */
        ptl_error_set(&e->error, -EIO, "%s: %s", what, *text ? text : "connection lost");
        return;
    }
    copy_field(e->sqlstate, sizeof(e->sqlstate), PQresultErrorField(res, PG_DIAG_SQLSTATE));
    copy_field(e->constraint, sizeof(e->constraint), PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME));
    one_line(text, sizeof(text), PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
    one_line(detail, sizeof(detail), PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL));
    int code;
    e->fate = ptl_pg_classify(e->sqlstate, &code);
    const char *function = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
    if (ptl_str_eq(e->sqlstate, "0A000") && ptl_str_eq(function, "RevalidateCachedQuery"))
        e->fate = PTL_FATE_STALE; /* "cached plan must not change result type": a migration went by */
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (ptl_str_eq(severity, "FATAL") || ptl_str_eq(severity, "PANIC"))
        if (e->fate != PTL_FATE_PERSON)
            e->fate = PTL_FATE_LOST;
    if (ptl_str_starts(e->sqlstate, "PT")) /* a statement refused, in a sentence for people */
        ptl_error_set(&e->error, code, "%s", text);
    else
        ptl_error_set(&e->error, code, "%s: %s%s%s%s (SQLSTATE %s)", what, text, *detail ? " (" : "", detail,
                      *detail ? ")" : "", e->sqlstate);
}

/* The error that a callback is looking at, so that the side struct can be reached from its first member. */
const struct ptl_store_error *ptl_store_error_current;

const char *ptl_store_error_sqlstate(const struct ptl_error *err)
{
    const struct ptl_store_error *e = ptl_store_error_current;
    return e && err == &e->error ? e->sqlstate : "";
}

const char *ptl_store_error_constraint(const struct ptl_error *err)
{
    const struct ptl_store_error *e = ptl_store_error_current;
    return e && err == &e->error ? e->constraint : "";
}

/* A database that is being started beside us is worth a minute; then a person should read the message. */
const struct ptl_retry_policy ptl_retry_startup = {"startup", 100, 2000, 60000, 180, 40};
/* The daemon's life: at once, then slower; never gives up, since agents go on working meanwhile. */
const struct ptl_retry_policy ptl_retry_main_loop = {"main loop", 50, 10000, 0, 200, 50};
/* It said itself that it is about to be ready. */
const struct ptl_retry_policy ptl_retry_starting = {"server starting", 50, 500, 0, 200, 30};
/* Password, permission, schema: asking often helps nobody. */
const struct ptl_retry_policy ptl_retry_person = {"needs a person", 1000, 15000, 0, 200, 30};
/* The private cluster: a crash is worth an immediate restart, a crash loop is not. */
const struct ptl_retry_policy ptl_retry_cluster = {"private cluster", 20, 30000, 0, 300, 30};

int64_t ptl_retry_delay_ms(const struct ptl_retry_policy *policy, unsigned attempt, int64_t elapsed_ms,
                           uint32_t random)
{
    int64_t delay = policy->first_ms;
    for (unsigned i = 0; i < attempt && delay < policy->max_ms; i++)
        delay = delay * policy->factor_pct / 100 + 1;
    if (delay > policy->max_ms)
        delay = policy->max_ms;
    delay -= delay * (int64_t)(random % (policy->jitter_pct + 1)) / 100;
    if (policy->total_ms && elapsed_ms + delay > policy->total_ms)
        return -1;
    return delay;
}

uint32_t ptl_retry_random(void)
{
    uint32_t r;
    ptl_random(&r, sizeof(r));
    return r;
}
