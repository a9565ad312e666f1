/* cgroup.h - one control group for one sandboxed child: memory, process and CPU ceilings, and counters that
 * can be believed. Speaks v1 (memory, cpu, pids hierarchies) and v2, whichever of them this process may write
 * to. Groups are made below this process's own group, so a site's ceilings on the agent hold for its stages
 * too. Blocking file I/O; any thread, one thread per group. */
#ifndef PTL_AGENT_CGROUP_H
#define PTL_AGENT_CGROUP_H
#include <portolan/base.h>
#include <sys/types.h>

struct ptl_cgroup; /* opaque; defined in cgroup.c */
struct ptl_cgroup_limits {
    uint64_t memory_bytes; /* 0 = none */
    unsigned cpu_pct;      /* of one core: 150 = one and a half cores; 0 = none */
    unsigned pids;         /* tasks, threads included; 0 = none */
};

/* Makes the group `name` (letters, digits, '-', '_', '.'; an empty group of that name is taken over) and sets
 * the limits. 0: caller owns *ret. PTL_ABSENT: this host does not allow it, err says why; negative: refused
 * limits or I/O. */
PTL_NODISCARD int ptl_cgroup_new(const char *name, const struct ptl_cgroup_limits *limits,
                                 struct ptl_cgroup **ret, struct ptl_error *err);
int ptl_cgroup_add(struct ptl_cgroup *cg, pid_t pid); /* 0 or negative errno */
/* Moves the calling process. Async-signal-safe: for ptl_proc_spec.in_child. 0 or negative errno. */
int ptl_cgroup_enter_self(struct ptl_cgroup *cg);

struct ptl_cgroup_usage {
    uint64_t peak_bytes; /* high-water mark of memory; 0 when the kernel does not tell */
    uint64_t oom_kills;  /* processes of this group that the kernel killed for memory */
};
int ptl_cgroup_usage(struct ptl_cgroup *cg, struct ptl_cgroup_usage *ret); /* 0 or negative errno */
int ptl_cgroup_kill(
    struct ptl_cgroup *cg); /* SIGKILL to every member until none is left (bounded); 0 or -EBUSY */
struct ptl_cgroup *ptl_cgroup_free(struct ptl_cgroup *cg); /* kills and removes; NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_cgroup, ptl_cgroup_free)

const char *ptl_cgroup_name(const struct ptl_cgroup *cg); /* "cgroup1" or "cgroup2"; static */

/* "cgroup1", "cgroup2", or NULL when the host allows neither (err, may be NULL, says why). Tries for real,
 * once. */
const char *ptl_cgroup_kind(struct ptl_error *err);
/* Name of a group of the attempt in `attempt_dir`: the same in every process, another for every directory,
 * however many agents share this host. `what`: "stage", "engine", "browser", …; "" gives the prefix for
 * ptl_cgroup_sweep(). */
enum { PTL_CGROUP_NAME = 64 };
void ptl_cgroup_name_for(const char *attempt_dir, const char *what, char ret[PTL_CGROUP_NAME]);
/* Removes groups whose name starts with `prefix` and their members: what a killed attempt process left
 * behind. */
void ptl_cgroup_sweep(const char *prefix);
/* Removes groups of ours that have been empty and there for more than an hour: nobody is left to know their
 * names. */
void ptl_cgroup_sweep_stale(void);
#endif
