/* device-private.h - between device.c (the parent's side) and device_init.c (process 1 of the device). */
#ifndef PTL_MOBILE_DEVICE_PRIVATE_H
#define PTL_MOBILE_DEVICE_PRIVATE_H
#include "device.h"

#include "cgroup.h"

/* adbd's port inside the device's own network namespace. Above 5585: the adb server searches 5555..5585 by
 * itself and would list the same device twice. */
#define DEVICE_PORT   "6555"
#define DEVICE_SERIAL "127.0.0.1:" DEVICE_PORT
#define DEVICE_SOCKET "adb.sock" /* in the device's directory */

struct device_boot {
    const char *phone_dir, *dir, *adb, *bwrap; /* absolute */
    const struct ptl_device_profile *profile;
    uint64_t
        address_bytes; /* ceiling of the address space per process when there is no control group; 0 = none */
    const struct ptl_device_bind *binds;
    size_t n_binds;
    struct ptl_cgroup *cgroup; /* NULL: none */
    int go_fd;  /* one byte: the parent has written the id maps; end of file: the parent is gone */
    int say_fd; /* lines to the parent: "E sentence", "U n" adbd started, "D status" adbd ended */
};

/* Process 1 of the device. Never returns. */
_Noreturn void ptl_device_init(const struct device_boot *boot);
#endif
