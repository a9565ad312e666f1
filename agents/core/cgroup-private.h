/* cgroup-private.h - what the tests of cgroup.c may see: where the hierarchies of a host lie, from its own
 * text files. */
#ifndef PTL_AGENT_CGROUP_PRIVATE_H
#define PTL_AGENT_CGROUP_PRIVATE_H
#include "cgroup.h"

enum { CG_MEMORY, CG_CPU, CG_PIDS, CG_COUNT };

/* Directories below which groups may be made. v1: one per controller ("" when absent). v2: only `unified`. */
struct ptl_cgroup_layout {
    char v1[CG_COUNT][512];
    char unified[512];
};
/* `mountinfo` and `self` are the texts of /proc/self/mountinfo and /proc/self/cgroup. Pure. */
void ptl_cgroup_layout_parse(const char *mountinfo, const char *self, struct ptl_cgroup_layout *ret);
/* Makes a group in a given layout. kind 1 or 2. */
PTL_NODISCARD int ptl_cgroup_new_in(const struct ptl_cgroup_layout *layout, int kind, const char *name,
                                    const struct ptl_cgroup_limits *limits, struct ptl_cgroup **ret,
                                    struct ptl_error *err);
#endif
