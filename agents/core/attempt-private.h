/* attempt-private.h - an attempt at work, shared by the files of the attempt runner. */
#ifndef PTL_AGENT_ATTEMPT_PRIVATE_H
#define PTL_AGENT_ATTEMPT_PRIVATE_H
#include "env.h"
#include "mask.h"
#include "recipe.h"
#include "toolchain.h"
#include "../drivers/driver.h"

struct ptl_logger;
struct attempt {
    char *dir, *src, *inputs, *outputs, *scratch, *recipes_root;
    char *report_scratch, *with_path;
    json_t *job, *with;
    enum ptl_stage_kind kind;
    int64_t attempt_id, fence;
    int64_t timeout_ms, grace_ms, deadline_ms;
    int64_t started_wall_ms, started_mono_ms;
    uint64_t memory_bytes;
    bool network, private_net;
    struct ptl_logger *log;
    struct ptl_mask *mask;           /* for what is reported; the logger has its own, for another thread */
    struct ptl_recipe *recipe;       /* NULL: bare commands */
    struct ptl_toolchain *toolchain; /* may be NULL */
    struct ptl_env env;
    bool ended; /* badly; `end` says how */
    struct ptl_driver_result end;
    char sandbox[32];
    json_t *report, *artifacts, *warnings;
};
/* The driver of that name, or NULL (drivers.c). */
const struct ptl_driver *ptl_driver_find(const char *name);
/* All drivers of this build, NULL-ended. */
const struct ptl_driver *const *ptl_driver_all(void);
#endif
