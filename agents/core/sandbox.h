/* sandbox.h - a child that sees only what it is given: bubblewrap namespaces, a cgroup where the host allows
 * one, no new privileges, no capabilities, a seccomp filter, and its end told exactly (exit code, signal,
 * killed for memory). Inside there are: /usr, /bin, /lib* read-only, a small made-up /etc, fresh /proc and
 * /dev, CPU facts of /sys, a tmpfs on /tmp, and the binds of the spec. The child is uid 1000 "portolan" in
 * its own user namespace, or (unprivileged) the host's uid 65534. Its processes all die with it, and it dies
 * with the thread that started it. Blocking; one thread per sandbox. */
#ifndef PTL_AGENT_SANDBOX_H
#define PTL_AGENT_SANDBOX_H
#include <portolan/base.h>
#include <sys/types.h>

struct ptl_sandbox_spec {
    const char *const *argv;     /* NULL-ended; argv[0] is looked up in PATH of env, inside the sandbox */
    const char *const *env;      /* NULL-ended "K=V": the whole environment; nothing is inherited */
    const char *cwd;             /* a path inside; NULL: "/" */
    const char *const *ro_binds; /* absolute host paths, NULL-ended (NULL: none), mounted at the same path */
    const char *const *rw_binds; /* the same, writable; mounted after ro_binds, so they may lie inside one */
    bool network; /* false: new empty netns; true: shares the caller's netns (the attempt's private one) */
    uint64_t memory_bytes;    /* ceiling of the cgroup; 0 = none */
    unsigned pids;            /* tasks; 0 = 4096 */
    unsigned cpu_pct;         /* of one core; 0 = none */
    int stdout_fd, stderr_fd; /* -1: /dev/null; borrowed */
    uint64_t tmp_bytes;       /* size of /tmp; 0 = 512 MiB */
    bool unprivileged; /* host uid/gid 65534 without a user namespace of ours, for programs that make their
                          own (Chromium). rw_binds must be writable for 65534. Same as false when not root. */
    const char *cgroup_name;      /* NULL: no cgroup is tried */
    bool deny_userns;             /* true: no user namespaces inside (bare stage commands need none) */
    const char *const *dev_binds; /* device files or directories, NULL-ended (NULL: none), e.g. /dev/kvm,
                                     /dev/dri, /dev/shm */
};
struct ptl_sandbox; /* a started sandboxed child: proc + cgroup + how it was isolated */

/* 0: runs; caller owns *ret. Negative: could not be set up, err says what is missing. A host without usable
 * bubblewrap is such a failure, unless $PORTOLAN_SANDBOX is "none". A missing cgroup is not:
 * ptl_sandbox_how() and _why_no_cgroup() tell. */
PTL_NODISCARD int ptl_sandbox_start(const struct ptl_sandbox_spec *spec, struct ptl_sandbox **ret,
                                    struct ptl_error *err);
/* Waits at most timeout_ms (-1: for ever). 0 and the wait status of the payload itself (WIFEXITED /
 * WIFSIGNALED are exact, not "128 + n"), PTL_AGAIN on timeout, or negative errno. May be called again after
 * the end. */
PTL_NODISCARD int ptl_sandbox_wait(struct ptl_sandbox *s, int64_t timeout_ms, int *ret_status);
/* SIGTERM to the payload's process group, grace_ms, then SIGKILL to everything inside; reaps. ret_status may
 * be NULL. */
void ptl_sandbox_stop(struct ptl_sandbox *s, int64_t grace_ms, int *ret_status);
/* True when the kernel killed a process inside for memory: the counter of the cgroup, never a guess. After
 * the end. */
bool ptl_sandbox_was_oom(struct ptl_sandbox *s);
uint64_t ptl_sandbox_peak_bytes(struct ptl_sandbox *s); /* cgroup high-water mark; 0 unknown */
const char *ptl_sandbox_how(
    const struct ptl_sandbox *s); /* "bwrap+cgroup1", "bwrap+cgroup2", "bwrap", "none+cgroup1", "none" */
const char *ptl_sandbox_why_no_cgroup(
    const struct ptl_sandbox *s); /* "" when there is one, else a sentence */
const char *ptl_sandbox_start_error(
    const struct ptl_sandbox *s);                   /* after the end with 126/127: why exec failed; else "" */
pid_t ptl_sandbox_pid(const struct ptl_sandbox *s); /* outer process: leads the process group; for logs */
struct ptl_sandbox *ptl_sandbox_free(struct ptl_sandbox *s); /* stops without grace; NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_sandbox, ptl_sandbox_free)

/* How a sandbox would be isolated here, tried for real once per process ("bwrap+cgroup1", …; "none" only when
 * allowed); NULL when stages cannot run here at all, with err. */
const char *ptl_sandbox_probe(struct ptl_error *err);
#endif
