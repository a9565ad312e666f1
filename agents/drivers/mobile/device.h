/* device.h - the embedded device: a genuine arm64 adbd under user-mode QEMU, for hosts without a phone.
 *
 * One device = one child process that is process 1 of its own user, mount, pid, network, uts and ipc
 * namespaces. In them live a private binfmt_misc (QEMU with a named CPU model; the host's list of formats
 * stays as it is), an adb server that listens on a unix socket only, and adbd in a bubblewrap root without
 * capabilities, without AF_VSOCK, under the memory, CPU and process ceilings of a named profile. When process
 * 1 ends, the kernel ends everything in its pid namespace, and it ends when its parent does: nothing outlives
 * a device, and nothing of it is visible outside but its directory. No helper program: the child is this
 * program after fork(). A device also ends with the thread that called ptl_device_start().
 *
 * What it cannot tell (say so wherever results are shown): glibc instead of bionic, no NNAPI or GPU
 * delegates, no apk, no meaningful latency. */
#ifndef PTL_MOBILE_DEVICE_H
#define PTL_MOBILE_DEVICE_H
#include "adb.h"

struct ptl_device_profile {
    const char *name;  /* parameter `device` of a recipe */
    const char *title; /* for people */
    const char *cpu; /* QEMU's model; never its default, which is 6..8 times slower and claims SVE2 and SME */
    unsigned cpu_part;  /* what /proc/cpuinfo of the device must say: proof that the model took effect */
    unsigned memory_mb; /* ceiling of the control group */
    unsigned cores;     /* seen by the device; at most what the host has */
    unsigned cpu_pct;   /* of one host core, all processes of the device together */
};
extern const struct ptl_device_profile ptl_device_profiles[]; /* ends with name NULL */
extern const char ptl_device_profile_default[];
const struct ptl_device_profile *ptl_device_profile_find(const char *name); /* NULL: no such profile */
char *ptl_device_profile_names(void);                                       /* "a, b, c"; caller frees */

struct ptl_device_bind {
    const char *host, *device; /* a directory of the host, read-only below /data of the device */
};
struct ptl_device_spec {
    const char *phone_dir; /* the installed toolchain phone-arm64 */
    const char *dir;       /* scratch directory of the device; made, and removed by _free */
    const struct ptl_device_profile *profile;
    uint64_t memory_bytes; /* 0: the profile's; else the smaller of both */
    const char
        *cgroup_name; /* NULL: made up. A name that its agent sweeps, when this process is killed hard */
    const struct ptl_device_bind *binds;
    size_t n_binds;
};

struct ptl_device; /* a running device; opaque */

/* Whether this host can run one: programs, namespaces, kernel. 0, or PTL_ABSENT with what to install or
 * allow. */
int ptl_device_possible(struct ptl_error *err);

/* Starts the device and waits until it answers a command and has the CPU of its profile.
 * 0: caller owns *ret. PTL_ABSENT: this host does not allow it. Negative: failed; err quotes the device's own
 * words. */
PTL_NODISCARD int ptl_device_start(const struct ptl_device_spec *spec, const struct ptl_adb_wait *wait,
                                   struct ptl_device **ret, struct ptl_error *err);
struct ptl_adb *ptl_device_adb(struct ptl_device *dev);      /* borrowed */
const char *ptl_device_serial(const struct ptl_device *dev); /* static */
const char *ptl_device_ceilings(
    const struct ptl_device *dev); /* "cgroup1: 2048 MiB, 100 % cpu" or why not; borrowed */
/* After a lost connection: the server keeps a restarted device "offline" for ever, so disconnect, connect,
 * until it answers. -ENODEV when the device itself is gone. */
PTL_NODISCARD int ptl_device_reconnect(struct ptl_device *dev, const struct ptl_adb_wait *wait,
                                       struct ptl_error *err);
unsigned ptl_device_restarts(struct ptl_device *dev); /* how often adbd died and was started again */
/* Processes of the device that the kernel killed for memory; 0 without a control group. */
uint64_t ptl_device_oom_kills(struct ptl_device *dev);
uint64_t ptl_device_peak_bytes(struct ptl_device *dev); /* of all processes together; 0 unknown */
pid_t ptl_device_pid(const struct ptl_device *dev);     /* process 1 of the device, as this host sees it */
/* Ends every process of the device, waits for that, removes its directory. NULL ok; returns NULL. */
struct ptl_device *ptl_device_free(struct ptl_device *dev);
PTL_DEFINE_FREEP(struct ptl_device, ptl_device_free)
#endif
