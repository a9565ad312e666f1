/* driver.h - a host kind's way to run golden inputs on a target's runtime: one struct of functions.
 * Four exist: server, mobile, browser and fake (which can be told to fail at each step).
 * A driver's run() is blocking C code called in the attempt's own process (single thread). */
#ifndef PTL_AGENTS_DRIVERS_DRIVER_H
#define PTL_AGENTS_DRIVERS_DRIVER_H

#include <jansson.h>
#include <portolan/base.h>
#include <portolan/wire.h> /* enum ptl_end_reason */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ptl_driver_job {
    const char *attempt_dir, *inputs_dir, *outputs_dir, *src_dir, *scratch_dir; /* absolute */
    const char *recipe_dir, *toolchain_dir; /* absolute; toolchain_dir may be NULL */
    const json_t *job, *recipe, *with; /* borrowed; recipe = recipe.yml as JSON; with = checked parameters */
    const char *const *env;            /* environment for children, NULL-ended */
    int log_fd;                        /* the attempt's log; write whole lines */
    int64_t deadline_mono_ms;          /* ptl_mono_ms() scale */
    uint64_t memory_bytes;             /* ceiling, 0 = the driver's default */
    bool private_net;                  /* true: own netns, any loopback port is free */
    const atomic_int *cancelled;       /* set by SIGTERM; poll it in every wait */
};

struct ptl_driver_result {
    enum ptl_end_reason end_reason;
    int exit_code, signal;
    char message[512]; /* one sentence or empty */
    uint64_t peak_memory_bytes;
};

struct ptl_driver {
    const char *name; /* "server" "mobile" "browser" "fake" */
    /* Adds what this host offers to the object `ret_inventory`.
     * PTL_ABSENT: not available here, err says what to install. */
    int (*inventory)(json_t *ret_inventory, struct ptl_error *err);
    /* Runs golden inputs on the target's runtime, writes outputs/got/. 0 with *ret filled (also for a failed
     * verify); negative: setup failure with err. Blocks; returns by the deadline. */
    int (*run)(const struct ptl_driver_job *job, struct ptl_driver_result *ret, struct ptl_error *err);
};

extern const struct ptl_driver ptl_driver_server, ptl_driver_mobile, ptl_driver_browser, ptl_driver_fake;

#endif
