/* netns.h - a network of one's own: only loopback, up. Before the first thread of the process. */
#ifndef PTL_AGENT_NETNS_H
#define PTL_AGENT_NETNS_H
#include <portolan/base.h>

/* Moves this process into a new network namespace (through a user namespace when it is not root) and brings
 * lo up. 0, or negative with why not; then the process is where it was. */
PTL_NODISCARD int ptl_netns_enter_private(struct ptl_error *err);
#endif
