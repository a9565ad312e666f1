/* support.h - what the mobile end-to-end tests share: installed toolchains, scratch directories, a started
 * device. */
#ifndef TESTS_MOBILE_SUPPORT_H
#define TESTS_MOBILE_SUPPORT_H
#include "device.h"
#include "mobile.h"

#include <portolan/clock.h>
#include <portolan/fs.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

extern char scratch[64]; /* one directory for the test program, removed at its end */
extern char *phone_dir;  /* installed toolchain */

/* Directory of an installed toolchain by `agents/toolchains/prepare --path`; NULL when it is not installed.
 */
char *toolchain(const char *name);
/* Exits with 77 (skipped) and a sentence when phone-arm64 is not installed. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

struct ptl_adb_wait in_ms(int64_t ms); /* not cancelled */
/* The phone's python is at /data/local/tmp/python. Fails the test when it does not come up. memory_bytes 0:
 * the profile's. */
struct ptl_device *start_device(const char *profile, uint64_t memory_bytes);
/* The same, but NULL with err: for a forked child, which must not run on into the other tests. */
struct ptl_device *try_device(const char *profile, uint64_t memory_bytes, struct ptl_error *err);
struct said {
    int r, code;
    char out[4096], err_out[4096];
    struct ptl_error err;
};
struct said on(struct ptl_device *dev, const char *command); /* one shell command, 30 s */
/* How many processes of this host have `text` in their command line or environment. */
int processes_with(const char *text);
/* Listing of the host's binfmt_misc, "" when it is not mounted. Caller frees. */
char *host_binfmt(void);
#endif
