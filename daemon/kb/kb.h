/* kb.h - from a failed attempt to a diagnosis. Pure: text and facts in, a JSON answer out; no I/O, no clock;
 * the same log, facts and knowledge give the same answer. A compiled knowledge base is never changed: any
 * thread, any number at once.
 *
 * How an answer comes about (engine.c has the order, score.c the formulas):
 *   clean lines -> one Vectorscan scan for every indicator -> each hit confirmed and its groups read on its
 * own line -> weight by place
 *   -> the facts of the attempt as further lines -> text model -> prior -> softmax over all nodes ->
 * calibration. */
#ifndef PTL_KB_H
#define PTL_KB_H
#include <portolan/json.h>
#include "text.h"

#define PTL_KB_ALGORITHM "kb-1"

struct ptl_kb;
/* `doc` as ptl_kb_data_read() gives it (the tables of the database give the same); indicators with "retired":
 * true are left out. `model`: the text model and the parameters (model.h), NULL: none. Everything is copied.
 * Takes about a millisecond for each indicator. -EINVAL names the indicator that Vectorscan refuses; -ENOMEM.
 */
PTL_NODISCARD int ptl_kb_new(const json_t *doc, const void *model, size_t model_len, struct ptl_kb **ret,
                             struct ptl_error *err);
/* The same with `doc` taken (in any case) instead of copied, and the compiled scan of another one
 * (ptl_kb_scan_data(); NULL: none): only patterns that are not in it are compiled, unless they are many. A
 * scan that does not fit this machine is left alone. `model_from` names the model in the error that refuses
 * it; NULL: nothing does. */
PTL_NODISCARD int ptl_kb_new_take(json_t *doc, const void *model, size_t model_len, const char *model_from,
                                  const void *scan, size_t scan_len, struct ptl_kb **ret,
                                  struct ptl_error *err);
/* The same with the scan of `like` (NULL: none), which stays as it is and may go before this one does: what a
 * person edits or tries is there in a fraction of a second. */
PTL_NODISCARD int ptl_kb_new_like(json_t *doc, const void *model, size_t model_len, const char *model_from,
                                  const struct ptl_kb *like, struct ptl_kb **ret, struct ptl_error *err);
/* Its scan as bytes to keep, good on every processor of this architecture. Caller frees. */
PTL_NODISCARD int ptl_kb_scan_data(const struct ptl_kb *kb, void **ret, size_t *ret_len,
                                   struct ptl_error *err);
const json_t *ptl_kb_doc(const struct ptl_kb *kb); /* what it was made of; borrowed, never changed */
struct ptl_kb *ptl_kb_free(struct ptl_kb *kb);     /* NULL ok; returns NULL */
const char *ptl_kb_hash(const struct ptl_kb *kb);  /* of everything an answer depends on; borrowed */
size_t ptl_kb_count(const struct ptl_kb *kb);      /* indicators in force */
PTL_DEFINE_FREEP(struct ptl_kb, ptl_kb_free)

struct ptl_kb_log {
    const char *stage; /* "verify/android"; NULL for the failed attempt's own */
    const char *kind;  /* export, convert, verify; NULL: the facts' */
    const char *text;  /* need not be text and may be empty */
    size_t len;
};
enum { PTL_KB_LOGS_MAX = 8 };

/* `facts` (every member may be absent):
 * {"kind","host","target","uses","toolchain","platform"|null (else host of a verify, "target_host", or
 * server),"tool","end_reason","exit_code",
 *  "signal","message","report","environment","export_environment","warnings":["…"],
 *  "preflight":[{"severity","rule","message"}…] (what was known of this stage before it ran: what the model's
 *  file says of itself comes in here, as findings of rules),
 *  "counts":{node id: this project's own past failures of it},"feedback":{node id: -1..1 for failures like
 * this one}} logs[0] is the failed attempt's own log, the others those of the stages it stands on. Returns 0
 * and *ret (caller's):
 * {"version":2,"algorithm":"kb-1","kb":"<hash>","state":"diagnosed"|"unclear",
 *  "verdict":"challenge"|"stated"|"unclear"      (stated: not a challenge but a known failure: infra/…,
 * program/…, or how it ended) "summary":"one sentence","transient":true|false|null,"platform","stage",
 *  "challenges":[{"id","path":"Mobile deployment ›
 * …","probability","summary","transient","indicators":[ids],"evidence":[index…],
 *                 "remedy":{"text","commands":[…]}|null,"about"|null,"came_in":"convert/android"|null}… at
 * most 8, likeliest first], "ranked":[{"id","p","evidence":["17: quoted line"…]}…],
 *  "evidence":[{"line":17,"offset":812,"length":64,"text":"…","score":0.9,"why":"…","indicator"|null,"stage"|null,"start","end","names":{what
 * the indicator captured}}… at most 12, best first] (line 0: a fact of the attempt, not a line),
 * "nearest":[ids],"decide":["what evidence would decide"…]  (when unclear), "cuts":["what was not looked
 * at"…], "template":"the best line, masked (template.h)","fingerprint":"16 hex digits over the best lines'
 * templates"|null} or -ENOMEM. `kb` NULL: lines by shape and place only, never a challenge. Template and
 * fingerprint depend on log, facts and indicators, never on counts or feedback. */
PTL_NODISCARD int ptl_kb_diagnose(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs,
                                  size_t n_logs, json_t **ret, struct ptl_error *err);

/* Which indicators speak on this log: {"id": [line numbers]} with those that are silent in this situation
 * too. For `kb try`, and to see where a pattern is found at all. */
PTL_NODISCARD int ptl_kb_matches(const struct ptl_kb *kb, const json_t *facts, const char *log, size_t len,
                                 json_t **ret, struct ptl_error *err);
/* Those a diagnosis listens to in this situation: in scope, with weights for its platform and stage, and not
 * silenced. {"id": {"line": the best one, "weight": of its specificity what place, tool and role leave,
 * 0..1}} */
PTL_NODISCARD int ptl_kb_heard(const struct ptl_kb *kb, const json_t *facts, const char *log, size_t len,
                               json_t **ret, struct ptl_error *err);

/* How specific a clean line is by its shape alone (shape.c): 0 nothing, else up to 1; *ret_why (static) is
 * written when above 0. */
double ptl_kb_shape(const char *line, size_t len, const char **ret_why);
#endif
