/* wire.c - the words of the API as tables, and the check of what an agent reports. */
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/wire.h>

static const char *const stage_kinds[] = {"export", "convert", "verify"};
static const char *const host_kinds[] = {"server", "mobile", "browser"};
static const char *const end_reasons[] = {"exit",      "signal",     "timeout", "oom",
                                          "cancelled", "agent_lost", "setup"};
static const char *const stage_states[] = {"waiting", "gated",     "queued",     "claimed",
                                           "running", "deciding",  "cancelling", "green",
                                           "red",     "cancelled", "skipped"};
static const char *const run_states[] = {"preparing", "waiting",   "running", "green",
                                         "red",       "cancelled", "invalid"};
static_assert(PTL_ARRAY_LEN(stage_kinds) == PTL_STAGE_KIND_COUNT, "every kind has a name");
static_assert(PTL_ARRAY_LEN(host_kinds) == PTL_HOST_KIND_COUNT, "every kind has a name");
static_assert(PTL_ARRAY_LEN(end_reasons) == PTL_END_COUNT, "every reason has a name");
static_assert(PTL_ARRAY_LEN(stage_states) == PTL_ST_COUNT, "every state has a name");
static_assert(PTL_ARRAY_LEN(run_states) == PTL_RUN_COUNT, "every state has a name");

#define WORD(type, fn, table)                                                                                \
    const char *fn##_name(enum type v)                                                                       \
    {                                                                                                        \
        return (size_t)v < PTL_ARRAY_LEN(table) ? table[v] : "?";                                            \
    }                                                                                                        \
    int fn##_parse(const char *s, enum type *ret)                                                            \
    {                                                                                                        \
        for (size_t i = 0; s && i < PTL_ARRAY_LEN(table); i++)                                               \
            if (ptl_str_eq(table[i], s)) {                                                                   \
                *ret = (enum type)i;                                                                         \
                return 0;                                                                                    \
            }                                                                                                \
        return -EINVAL;                                                                                      \
    }
WORD(ptl_stage_kind, ptl_stage_kind, stage_kinds)
WORD(ptl_host_kind, ptl_host_kind, host_kinds)
WORD(ptl_end_reason, ptl_end_reason, end_reasons)
WORD(ptl_stage_state, ptl_stage_state, stage_states)
WORD(ptl_run_state, ptl_run_state, run_states)

bool ptl_stage_state_is_final(enum ptl_stage_state v)
{
    return v == PTL_ST_GREEN || v == PTL_ST_RED || v == PTL_ST_CANCELLED || v == PTL_ST_SKIPPED;
}

bool ptl_run_state_is_final(enum ptl_run_state v)
{
    return v == PTL_RUN_GREEN || v == PTL_RUN_RED || v == PTL_RUN_CANCELLED || v == PTL_RUN_INVALID;
}

int ptl_wire_check_result(const json_t *result, struct ptl_error *err)
{
    const char *text;
    enum ptl_end_reason reason;
    int r = ptl_json_req_str(result, "result", "end_reason", &text, err);
    if (r < 0)
        return r;
    if (ptl_end_reason_parse(text, &reason) < 0)
        return ptl_error_set(
            err, -EINVAL,
            "result.end_reason: '%s' is none of exit, signal, timeout, oom, cancelled, agent_lost, setup",
            text);
    int64_t code = ptl_json_i64(result, "exit_code", 0), sig = ptl_json_i64(result, "signal", 0);
    if (code < 0 || code > 255 || sig < 0 || sig > 128)
        return ptl_error_set(err, -EINVAL, "result.exit_code and result.signal: expected 0..255 and 0..128");
    if (!json_is_boolean(json_object_get(result, "ok")))
        return ptl_error_set(err, -EINVAL, "result.ok: expected true or false");
    if (ptl_json_flag(result, "ok", false) && (reason != PTL_END_EXIT || code != 0))
        return ptl_error_set(err, -EINVAL, "result.ok: true with end_reason %s and exit_code %d", text,
                             (int)code);
    const json_t *report = json_object_get(result, "report");
    if (report && !json_is_object(report) && !json_is_null(report))
        return ptl_error_set(err, -EINVAL, "result.report: expected an object or null");
    const json_t *artifacts = json_object_get(result, "artifacts");
    if (artifacts && !json_is_array(artifacts))
        return ptl_error_set(err, -EINVAL, "result.artifacts: expected an array");
    if (json_array_size(artifacts) > PTL_WIRE_ARTIFACTS_MAX)
        return ptl_error_set(err, -EINVAL, "result.artifacts: %zu files, at most %d",
                             json_array_size(artifacts), PTL_WIRE_ARTIFACTS_MAX);
    size_t i;
    json_t *a;
    json_array_foreach(artifacts, i, a)
    {
        const char *path = ptl_json_str(a, "path", ""), *sha = ptl_json_str(a, "sha256", NULL);
        if (!ptl_fs_is_safe_relative(path))
            return ptl_error_set(err, -EINVAL,
                                 "result.artifacts[%zu].path: '%.80s' is not a safe relative path", i, path);
        if (!ptl_sha256_is_hex(sha))
            return ptl_error_set(err, -EINVAL,
                                 "result.artifacts[%zu].sha256: expected 64 lower-case hex digits", i);
        if (ptl_json_i64(a, "size_bytes", -1) < 0)
            return ptl_error_set(err, -EINVAL, "result.artifacts[%zu].size_bytes: expected a whole number",
                                 i);
    }
    return 0;
}
