/* embedded.h - a private PostgreSQL in state_dir/postgres: made with initdb on first use, UNIX socket only,
 * ended with this program. Blocking calls. Start, launch and stop belong on one long-lived thread (the loop
 * thread): the kernel ends the server when the thread that started it ends.
 *
 *   state_dir/postgres/lock, postgresql.conf (the operator's to edit), pg_hba.conf, pg_ident.conf   ours, not
 * the server's state_dir/postgres/data      the cluster          state_dir/postgres/data/log    its log,
 * seven files, one a weekday state_dir/postgres/start.log what the server printed before its own log began
 *   state_dir/postgres/socket    its UNIX socket (in /tmp when the path would be too long for one) */
#ifndef PORTOLAN_STORE_EMBEDDED_H
#define PORTOLAN_STORE_EMBEDDED_H
#include <portolan/base.h>
#include <sys/types.h>

struct ptl_embedded_options {
    const char *state_dir;       /* absolute; made when absent (0700, or 0711 when started by root) */
    const char *bin_dir;         /* where initdb and postgres are; NULL: looked for */
    int64_t timeout_ms;          /* for initdb, and for getting ready; 0: default 60000 */
    const char *const *settings; /* further "name=value", NULL-ended; NULL: none */
    bool throw_away;             /* tests: initdb does not sync to disk */
};
struct ptl_embedded;

/* Locks the directory, makes the cluster when there is none, ends a server that a killed program left behind,
 * starts it and waits until it takes connections. Run by root it runs as user `postgres` (else `nobody`).
 * Fails with a sentence: no PostgreSQL installed, another major version made the data, in use by another
 * process, owned by somebody else. */
PTL_NODISCARD int ptl_embedded_start(const struct ptl_embedded_options *options, struct ptl_embedded **ret,
                                     struct ptl_error *err);
/* Fast shutdown, after 20 s immediate, after 5 s more SIGKILL; reaps, unlocks, frees. NULL ok; returns NULL.
 */
struct ptl_embedded *ptl_embedded_stop(struct ptl_embedded *e);

const char *ptl_embedded_dsn(const struct ptl_embedded *e); /* database and role `portolan`; borrowed */
const char *ptl_embedded_bin_dir(const struct ptl_embedded *e);
pid_t ptl_embedded_pid(const struct ptl_embedded *e); /* of the postmaster; -1 when it is not running */
int ptl_embedded_pidfd(const struct ptl_embedded *e); /* readable when it has ended; -1 */
/* Whether the server has ended; then reaped, and *ret_how (NULL ok) says how, as a sentence. Never waits. */
bool ptl_embedded_has_ended(struct ptl_embedded *e, char *ret_how, size_t size);
/* Starts the server again after it ended. Never waits: PTL_AGAIN while processes of the old one still live
 * (come back in 50 ms; from the tenth second on they are killed); 0 when started (not yet ready); or
 * negative. */
PTL_NODISCARD int ptl_embedded_launch(struct ptl_embedded *e, struct ptl_error *err);
#endif
