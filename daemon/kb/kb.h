/* kb.h - from a failed attempt to a diagnosis. Pure: text and facts in, a JSON answer out; no I/O, no clock,
 * no state; any thread.
 *
 * This is the first form: end reason, comparison, and the most specific error lines of the log by position
 * and shape. The knowledge base of challenges plugs in behind the same call. */
#ifndef PTL_KB_H
#define PTL_KB_H
#include <portolan/json.h>

/* `facts`:
 * {"kind","host","target","uses","end_reason","exit_code","signal","message","report","environment","export_environment","warnings"}.
 * `log` need not be text and may be empty; lines above 8 KiB are cut, which is said.
 * Returns 0 and *ret (caller's):
 * {"version":1,"algorithm":"shape-1","verdict":"unclear"|"stated","summary":"one
 * sentence","transient":true|false|null,
 *  "evidence":[{"line":17,"offset":812,"length":64,"text":"…","score":0.9,"why":"exception with a
 * message"}…at most 8, best first], "challenges":[], "cuts":["…"]} or -ENOMEM. */
PTL_NODISCARD int ptl_kb_diagnose(const json_t *facts, const char *log, size_t log_len, json_t **ret,
                                  struct ptl_error *err);
enum {
    PTL_KB_LOG_MAX = 64 << 20
}; /* bytes looked at: the head half and the tail half of anything larger, which is said */
#endif
