/* wire.h - the words of the API that more than one program speaks: kinds, states, end reasons, as tables. No
 * I/O; any thread. */
#ifndef PORTOLAN_WIRE_H
#define PORTOLAN_WIRE_H
#include <portolan/base.h>
#include <portolan/json.h>

enum ptl_stage_kind { PTL_STAGE_EXPORT, PTL_STAGE_CONVERT, PTL_STAGE_VERIFY, PTL_STAGE_KIND_COUNT };
enum ptl_host_kind { PTL_HOST_SERVER, PTL_HOST_MOBILE, PTL_HOST_BROWSER, PTL_HOST_KIND_COUNT };
/* How an attempt ended. `exit` has an exit code (0 is success when the outputs exist), `signal` a signal
 * number; `setup` means that the stage's own work never began (workspace, toolchain, device, download);
 * `agent_lost` is said by the daemon. */
enum ptl_end_reason {
    PTL_END_EXIT,
    PTL_END_SIGNAL,
    PTL_END_TIMEOUT,
    PTL_END_OOM,
    PTL_END_CANCELLED,
    PTL_END_AGENT_LOST,
    PTL_END_SETUP,
    PTL_END_COUNT
};
enum ptl_stage_state {
    PTL_ST_WAITING, /* needs other stages */
    PTL_ST_GATED,   /* waits for a person */
    PTL_ST_QUEUED,  /* an agent may take it */
    PTL_ST_CLAIMED, /* leased, not yet started */
    PTL_ST_RUNNING,
    PTL_ST_DECIDING,   /* failed with retries left: its diagnosis decides; no agent holds it */
    PTL_ST_CANCELLING, /* the agent has been told; ends by deadline in any case */
    PTL_ST_GREEN,
    PTL_ST_RED,
    PTL_ST_CANCELLED,
    PTL_ST_SKIPPED, /* something it needs did not turn green */
    PTL_ST_COUNT
};
enum ptl_run_state {
    PTL_RUN_PREPARING, /* fetching, snapshot, planning */
    PTL_RUN_WAITING,   /* another run holds its concurrency group */
    PTL_RUN_RUNNING,
    PTL_RUN_GREEN,
    PTL_RUN_RED,
    PTL_RUN_CANCELLED,
    PTL_RUN_INVALID, /* no plan came about: repository or pipeline file; the message says why */
    PTL_RUN_COUNT
};
/* Each _name is never NULL for a valid value; each _parse returns 0, or -EINVAL with *ret untouched. */
const char *ptl_stage_kind_name(enum ptl_stage_kind v);
const char *ptl_host_kind_name(enum ptl_host_kind v);
const char *ptl_end_reason_name(enum ptl_end_reason v);
const char *ptl_stage_state_name(enum ptl_stage_state v);
const char *ptl_run_state_name(enum ptl_run_state v);
PTL_NODISCARD int ptl_stage_kind_parse(const char *s, enum ptl_stage_kind *ret);
PTL_NODISCARD int ptl_host_kind_parse(const char *s, enum ptl_host_kind *ret);
PTL_NODISCARD int ptl_end_reason_parse(const char *s, enum ptl_end_reason *ret);
PTL_NODISCARD int ptl_stage_state_parse(const char *s, enum ptl_stage_state *ret);
PTL_NODISCARD int ptl_run_state_parse(const char *s, enum ptl_run_state *ret);
bool ptl_stage_state_is_final(enum ptl_stage_state v);
bool ptl_run_state_is_final(enum ptl_run_state v);

enum {                                    /* bounds that both ends of the wire keep */
       PTL_WIRE_LOG_CHUNK_MAX = 1 << 20,  /* bytes in one log upload */
       PTL_WIRE_BODY_MAX = 8 << 20,       /* bytes of any JSON body */
       PTL_WIRE_BLOB_CHUNK_MAX = 8 << 20, /* bytes of one piece of a blob upload */
       PTL_WIRE_ARTIFACTS_MAX = 10000,    /* files of one stage */
       PTL_WIRE_CLAIMS_MAX = 64,          /* claims in one answer */
};

/* The result of an attempt as the agent reports it (result.json and the body of finish). Checks types and
 * bounds of what it uses: end_reason, exit_code, signal, ok, artifacts (safe relative paths, hex digests),
 * report. -EINVAL names the member. */
PTL_NODISCARD int ptl_wire_check_result(const json_t *result, struct ptl_error *err);
#endif
