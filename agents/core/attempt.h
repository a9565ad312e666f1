/* attempt.h - runs one attempt in its directory, from job.json to result.json. */
#ifndef PTL_AGENT_ATTEMPT_H
#define PTL_AGENT_ATTEMPT_H
#include <portolan/base.h>
#include <portolan/json.h>

/* The body of `portolan-agent attempt DIR`: blocks until result.json is written. 0 then, whatever the result
 * says; negative when not even that was possible (err). Owns the process: signals, network namespace. Once
 * per process. */
PTL_NODISCARD int ptl_attempt_run(const char *dir, struct ptl_error *err);

/* Who runs an attempt: pid and start time, so that a recycled pid is never taken for it. */
struct ptl_attempt_pid {
    int pid;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat */
};
PTL_NODISCARD int ptl_attempt_pid_read(const char *dir,
                                       struct ptl_attempt_pid *ret); /* 0, or PTL_ABSENT when there is none */
bool ptl_attempt_pid_is_alive(const struct ptl_attempt_pid *p);
#endif
