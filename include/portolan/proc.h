/* proc.h - start a child in its own process group and end it for sure. Blocking calls; any thread, but one
 * thread per child. */
#ifndef PORTOLAN_PROC_H
#define PORTOLAN_PROC_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <sys/types.h>

struct ptl_proc_spec {
    const char *const *argv; /* NULL-ended; argv[0] looked up in PATH of `env` or of this process */
    const char *const *env;  /* NULL-ended "K=V"; NULL inherits */
    const char *cwd;         /* NULL: unchanged */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
    int keep_fds[5];
    int n_keep_fds;             /* passed on under the same numbers */
    bool new_session;           /* setsid, else setpgid: either way the child leads its own group */
    bool die_with_parent;       /* PR_SET_PDEATHSIG SIGKILL */
    int (*in_child)(void *ctx); /* after fork, before exec: async-signal-safe work only; non-zero ends the
                                   child with 125 */
    void *in_child_ctx;
};
struct ptl_proc {
    pid_t pid;
    int pidfd;
};

/* Returns 0, or a negative errno when the program could not be started (exec failures included). */
PTL_NODISCARD int ptl_proc_start(const struct ptl_proc_spec *spec, struct ptl_proc *ret,
                                 struct ptl_error *err);
/* Waits at most timeout_ms (-1: for ever). Returns 0 and the wait status, PTL_AGAIN on timeout, or negative
 * errno. */
PTL_NODISCARD int ptl_proc_wait(struct ptl_proc *p, int64_t timeout_ms, int *ret_status);
/* SIGTERM to the group, grace, SIGKILL to the group, reap. Safe to call on an ended child. ret_status may be
 * NULL. */
void ptl_proc_stop(struct ptl_proc *p, int64_t grace_ms, int *ret_status);
/* For a child subreaper: reaps ended children that ptl_proc_start() did not start, such as what a killed
 * child left behind; those it did start stay for ptl_proc_wait(). Returns how many; 0 too where the kernel
 * does not list children (CONFIG_PROC_CHILDREN). A program that also forks by itself must not call it. */
int ptl_proc_reap_orphans(void);
/* Runs to the end, stdout and stderr (together) into ret_out (bounded by its max; the rest is read and
 * dropped). Returns the exit status 0..255, 256+signal, or negative errno (-ETIMEDOUT after timeout_ms, child
 * killed). */
PTL_NODISCARD int ptl_proc_capture(const char *const *argv, int64_t timeout_ms, struct ptl_buf *ret_out,
                                   struct ptl_error *err);
#endif
