/* netns.c - see netns.h. */
#include "netns.h"

#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <fcntl.h>
#include <portolan/fs.h>

static int lo_up(void)
{
    PTL_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq req = {0};
    snprintf(req.ifr_name, sizeof(req.ifr_name), "lo");
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &req) < 0)
        return -errno;
    req.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &req) < 0 ? -errno : 0;
}

static int write_map(const char *path, const char *text)
{
    PTL_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : ptl_fs_write_all(fd, text, strlen(text));
}

int ptl_netns_enter_private(struct ptl_error *err)
{
    char uids[64], gids[64];
    snprintf(uids, sizeof(uids), "%u %u 1\n", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(gids, sizeof(gids), "%u %u 1\n", (unsigned)getegid(), (unsigned)getegid());
    bool mapped = geteuid() != 0;
    if (unshare(CLONE_NEWNET | (mapped ? CLONE_NEWUSER : 0)) < 0)
        return ptl_error_set(err, -errno, "no network namespace of its own: %s", strerror(errno));
    if (mapped && (write_map("/proc/self/setgroups", "deny") < 0 ||
                   write_map("/proc/self/uid_map", uids) < 0 || write_map("/proc/self/gid_map", gids) < 0))
        return ptl_error_set(err, -EPERM, "no user mapping for a network namespace of its own: %s",
                             strerror(errno));
    int r = lo_up();
    return r < 0 ? ptl_error_set(err, r, "loopback cannot be brought up: %s", strerror(-r)) : 0;
}
