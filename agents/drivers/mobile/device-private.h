/* device-private.h - between device.c (the parent's side) and device_init.c (process 1 of the device). */
#ifndef PTL_MOBILE_DEVICE_PRIVATE_H
#define PTL_MOBILE_DEVICE_PRIVATE_H
#include "device.h"

#include "cgroup.h"

#include <assert.h>

/* adbd's port inside the device's own network namespace. Above 5585: the adb server searches 5555..5585 by
 * itself and would list the same device twice. */
#define DEVICE_PORT_NUMBER 6555
static_assert(DEVICE_PORT_NUMBER > 5585 && DEVICE_PORT_NUMBER < 32768,
              "the adb server would find the device a second time");
#define DEVICE_TEXT2(n) #n
#define DEVICE_TEXT(n)  DEVICE_TEXT2(n)
#define DEVICE_PORT     DEVICE_TEXT(DEVICE_PORT_NUMBER)
#define DEVICE_SERIAL   "127.0.0.1:" DEVICE_PORT
#define DEVICE_SOCKET   "adb.sock" /* in the device's directory */

struct device_boot {
    const char *phone_dir, *dir, *adb, *bwrap; /* absolute */
    const struct ptl_device_profile *profile;
    uint64_t
        address_bytes; /* ceiling of the address space per process when there is no control group; 0 = none */
    const struct ptl_device_bind *binds;
    size_t n_binds;
    struct ptl_cgroup *cgroup; /* NULL: none */
    int go_fd;  /* one byte: the parent has written the id maps; end of file: the parent is gone */
    int say_fd; /* lines to the parent: "N" in the namespaces, "P pid" process 1 lives, "U n" adbd started,
                   "D status" adbd ended, "A sentence" not allowed here, "E sentence" failed */
};

/* The keeper of a device: enters the namespaces, makes process 1 in them, waits for its end. Never returns.
 * Call in a child of fork(): a child of plain clone() could meet a lock of malloc held by another thread. */
_Noreturn void ptl_device_keep(const struct device_boot *boot);
#endif
