/* connect.h - make one session: connect, settings, prepare every statement. Blocking with a deadline; any
 * thread, since the session is handed over whole. Used at start by the loop thread and afterwards by the
 * store's connector thread. Private to the store. */
#ifndef PORTOLAN_STORE_CONNECT_H
#define PORTOLAN_STORE_CONNECT_H
#include "pgerror.h"
#include "sql_set.h"

enum ptl_session_role {
    PTL_SESSION_PLAIN, /* migrations, LISTEN: nothing prepared, no statement timeout */
    PTL_SESSION_READ,  /* @read statements only, the session is read-only */
    PTL_SESSION_WRITE, /* all statements */
};

struct ptl_connect_spec {
    const char *dsn;
    enum ptl_session_role role;
    const struct ptl_sql_set *set; /* NULL with PLAIN */
    struct ptl_sql_info *infos; /* set->n of them; n_params is filled in where it is -1, compared otherwise */
    int64_t statement_timeout_ms;
    int64_t timeout_ms; /* for the whole of it */
    int cancel_fd;      /* readable: give up with -ECANCELED; -1: none */
};

/* 0 and a session in non-blocking mode (pipeline mode unless PLAIN), or negative with everything in err: a
 * statement that cannot be prepared is named with file, line and column. */
PTL_NODISCARD int ptl_connect(const struct ptl_connect_spec *spec, PGconn **ret, struct ptl_store_error *err);
/* One result of what was sent; NULL when there is no more. -ETIMEDOUT, -ECANCELED or -EIO with err set. */
PTL_NODISCARD int ptl_connect_result(PGconn *pg, int cancel_fd, int64_t deadline_mono_ms, PGresult **ret,
                                     struct ptl_store_error *err);
/* Runs `sql` (may be several statements) and drops the rows. */
PTL_NODISCARD int ptl_connect_exec(PGconn *pg, const char *what, const char *sql, int cancel_fd,
                                   int64_t deadline_mono_ms, struct ptl_store_error *err);
/* Whether trying again can help, and under which policy; NULL: it cannot (startup). */
bool ptl_connect_may_retry(const struct ptl_store_error *err);
#endif
