/* core.h - the life of runs, stages and attempts. The only module that decides; every fact it decides on is
 * read and written in one transaction of the store, so any number of daemons may run it side by side and any
 * of them may die at any instant.
 *
 * Loop thread only, all of it. Answers come through a ptl_core_fn, exactly once, later than the call: result
 * 0 with a JSON answer (borrowed; may be NULL), PTL_ABSENT (no such thing), PTL_FULL (busy: say 503), or
 * negative with err (-ESTALE: an old fence or a state that does not allow it; -EINVAL: bad input). */
#ifndef PTL_CORE_H
#define PTL_CORE_H
#include <portolan/base.h>
#include <portolan/http.h>
#include <portolan/json.h>
#include <portolan/loop.h>
#include <portolan/wire.h>
#include "store.h"

struct ptl_core_options {
    const char *state_dir;    /* blobs/, mirrors/, uploads/, secret.key; exists */
    const char *public_url;   /* how people reach this daemon, for links; may be NULL */
    int64_t lease_ms;         /* of a running attempt between heartbeats; 5000..600000 */
    int64_t claim_lease_ms;   /* from claim to the first sign of life */
    int64_t losses_max;       /* times that a stage is queued again after a lost agent or a failed set-up */
    int64_t log_max_bytes;    /* of one attempt */
    int64_t log_retention_ms; /* logs of runs that ended so long ago go, diagnoses stay; 0: never */
    int64_t log_retention_bytes;  /* of all logs together; 0: no limit */
    int64_t event_retention_ms;   /* events older than this are forgotten; runs, attempts and logs stay */
    int64_t prepare_timeout_ms;   /* fetch, plan and snapshot of one run */
    unsigned git_work_max;        /* prepares and polls at a time, 1 at least: they may wait for a forge on
                                   * their thread, and the rest of the daemon needs threads too */
    int64_t gate_wait_ms;         /* that a gate waits for its risk, before it asks a person */
    int64_t relabel_rate;         /* attempts of the past diagnosed anew a second, 1..1000 */
    bool allow_private_addresses; /* repositories and forges on loopback and private addresses */
    const char
        *git_local_roots;  /* colon-separated directories that file:// repositories may be in; may be NULL */
    const char *git_hosts; /* comma-separated globs; NULL: any */
    const char *git_schemes;     /* comma-separated of https, ssh, git, file, http; NULL: https,ssh,file */
    const char *ssh_known_hosts; /* may be NULL */
};

struct ptl_core;
typedef void ptl_core_fn(void *ctx, int result, const json_t *answer, const struct ptl_error *err);

PTL_NODISCARD int ptl_core_new(struct ptl_loop *loop, struct ptl_store *store, struct ptl_http_pool *http,
                               const struct ptl_core_options *options, struct ptl_core **ret,
                               struct ptl_error *err);
/* No new work: timers end, workers are told to give up, long polls are answered. What is under way still
 * answers through the store. */
void ptl_core_stop(struct ptl_core *core);
struct ptl_core *ptl_core_free(
    struct ptl_core *core); /* after the workers have ended and the store is closed */
struct ptl_store *ptl_core_store(struct ptl_core *core);
struct ptl_loop *ptl_core_loop(struct ptl_core *core);
struct ptl_http_pool *ptl_core_http(struct ptl_core *core);
const struct ptl_core_options *ptl_core_options_of(const struct ptl_core *core);

/* ---- secrets at rest (seal.c): AES-256-GCM under state_dir/secret.key; `what` is bound to the value, so
 * that a sealed value moved to another row does not open. */
PTL_NODISCARD int ptl_seal(struct ptl_core *core, const char *what, const char *plain, struct ptl_buf *ret);
PTL_NODISCARD int ptl_unseal(struct ptl_core *core, const char *what, const void *sealed, size_t len,
                             struct ptl_buf *ret /* NUL-ended */);

/* ---- blobs (blob.c): files named by their SHA-256, written once. The blocking ones are for worker threads;
 * any thread. */
char *ptl_blob_path(const struct ptl_core *core,
                    const char *sha256); /* caller frees; the file may be absent */
char *ptl_blob_upload_path(const struct ptl_core *core, const char *sha256);
/* Moves a complete, verified, synced file in. */
PTL_NODISCARD int ptl_blob_adopt(const struct ptl_core *core, const char *sha256, const char *file,
                                 struct ptl_error *err);

/* ---- what starts runs (trigger.c) */
/* May a repository at this URL be registered at all (scheme, host, local root)? No network. */
PTL_NODISCARD int ptl_core_url_check(struct ptl_core *core, const char *url, struct ptl_error *err);
bool ptl_core_ref_ok(const char *ref); /* a ref, branch or tag name git would accept */
/* A push told by a hook (source "hook") or a person. Creates the push and its run, answers
 * {"push_id","run_id","outcome"}; ref deletions and repeated pushes get an outcome and no run. `before`,
 * `after` may be NULL. */
void ptl_core_push(struct ptl_core *core, int64_t project_id, const char *ref, const char *before,
                   const char *after, const char *source, const char *pusher, ptl_core_fn *fn, void *ctx);

/* ---- runs (run.c) */
void ptl_core_run_cancel(struct ptl_core *core, int64_t run_id, const char *who, ptl_core_fn *fn, void *ctx);
void ptl_core_run_rerun(struct ptl_core *core, int64_t run_id, const char *who, ptl_core_fn *fn, void *ctx);
void ptl_core_stage_approve(struct ptl_core *core, int64_t stage_id, const char *who, bool approve,
                            const char *comment, ptl_core_fn *fn, void *ctx);
/* Releases, settles and starts what is due in this run and its concurrency group. Harmless to repeat. */
void ptl_core_run_advance(struct ptl_core *core, int64_t run_id);

/* ---- risk (risk.c): plays the newest 50000 outcomes back, each predicted from those before it; of
 * `project`, or of all (NULL). Answers as GET /api/v1/risk/backtest does. */
void ptl_core_risk_backtest(struct ptl_core *core, const char *project, ptl_core_fn *fn, void *ctx);

/* ---- compare (compare.c): a run, or its stage (NULL: the first red one), beside run `with_id` (0: the last
 * good one). `project`: only its runs, NULL: all. PTL_ABSENT: no such run or stage; PTL_FULL: at most 4 at a
 * time. Answers as GET /api/v1/runs/{id}/compare does; fn may run from inside the call. */
void ptl_core_compare(struct ptl_core *core, int64_t run_id, int64_t with_id, const char *stage,
                      const char *project, ptl_core_fn *fn, void *ctx);

/* ---- dispatch (dispatch.c) */
struct ptl_core_claim; /* a waiting long poll */
/* Answers {"claims":[job…]}: at once when something suits, else after wait_ms (0..60000) with an empty list.
 * A stage whose secrets cannot be read is queued again; PTL_FULL when nothing else was claimed.
 * Returns a handle valid until fn runs. */
struct ptl_core_claim *ptl_core_claim(struct ptl_core *core, int64_t agent_id, const json_t *inventory,
                                      int free_slots, int64_t wait_ms, ptl_core_fn *fn, void *ctx);
void ptl_core_claim_abandon(struct ptl_core_claim *claim); /* the agent hung up: fn will not run; what was
                                                              claimed meanwhile is given back */
void ptl_core_start(struct ptl_core *core, int64_t agent_id, int64_t attempt_id, int64_t fence,
                    ptl_core_fn *fn, void *ctx);
void ptl_core_heartbeat(struct ptl_core *core, int64_t agent_id, const json_t *attempts, ptl_core_fn *fn,
                        void *ctx);
void ptl_core_log_append(struct ptl_core *core, int64_t agent_id, int64_t attempt_id, int64_t fence,
                         int64_t offset, const void *data, size_t len, ptl_core_fn *fn, void *ctx);
void ptl_core_finish(struct ptl_core *core, int64_t agent_id, int64_t attempt_id, const json_t *result,
                     ptl_core_fn *fn, void *ctx);
/* Inventory as the agent sent it → bounded columns. -EINVAL names the member. Used by claim and enrolment. */
struct ptl_inventory {
    const char *hosts[8], *labels[64], *toolchains[64], *recipes[256];
    size_t n_hosts, n_labels, n_toolchains, n_recipes;
    int64_t slots;
};
PTL_NODISCARD int ptl_inventory_read(const json_t *inventory, struct ptl_inventory *ret,
                                     struct ptl_error *err); /* strings borrowed */

/* Puts what the stage's plan says (uses, with, run, expect …) into a job. */
void ptl_core_job_merge(json_t *job, const json_t *spec);
/* ---- history under the knowledge in force (relabel.c, knowledge.c): reads the knowledge once more first, so
 * that a change made a moment ago counts. Answers the job, a row of kb_apply; its id and kb null: it is still
 * being compiled (a slow machine), what was asked for begins by itself then. */
void ptl_core_kb_apply(struct ptl_core *core, const char *who, ptl_core_fn *fn, void *ctx);

/* A sentence for one row of stage_why. Caller frees. */
char *ptl_core_why_text(const json_t *row);

/* ---- the knowledge base (curate.c, try.c) */
enum ptl_core_curate {
    PTL_CURATE_INDICATOR, /* {"object"} or {"yaml"} → {"id","data"}: well-formed, or -EINVAL */
    PTL_CURATE_ENTRY,     /* likewise */
    PTL_CURATE_PLAN,   /* {"files","state"} → what an import would change (daemon/kb/files.h), or -EINVAL */
    PTL_CURATE_FOLDER, /* {"state"} → {"files"} */
    PTL_CURATE_MODEL,  /* {"model": base64} → {"bytes"}: one that this knowledge base can use, or -EINVAL */
};
/* On a worker. `in` is taken. -EINVAL: answer is {"problems":["FILE: OBJECT: sentence"…]} and err has the
 * first. PTL_FULL: nothing is compiled yet, or too much waits. */
void ptl_core_curate(struct ptl_core *core, enum ptl_core_curate what, json_t *in, ptl_core_fn *fn,
                     void *ctx);
/* What an indicator does to history before it is saved: {"indicator" (checked data or null: the stored
 * "id")}. Answers {"scanned","matched":[…], "gained","lost","contradicts","cut","next"}. At most 2 at a time,
 * else PTL_FULL. */
struct ptl_core_try {
    const char *id;          /* of the indicator; the stored one when `candidate` is NULL */
    const json_t *candidate; /* checked; borrowed for the call */
    const json_t *stored; /* data of the indicator of that id in the tables, or NULL; borrowed for the call */
    const char *project;  /* only its failures; NULL: all */
    int64_t limit, before; /* logs; only attempts before this id, 0: from the newest */
};
void ptl_core_kb_try(struct ptl_core *core, const struct ptl_core_try *what, ptl_core_fn *fn, void *ctx);

/* ---- whole logs (log_words.c): where texts (an array of at most 16, ASCII case aside) stand in one. Answers
 * {"all": each stands somewhere, "hits": [{"line","text"}…] at most 3}; PTL_ABSENT: some of the log is gone;
 * PTL_FULL: too many are being looked into; -EAGAIN: not now. */
void ptl_core_log_find(struct ptl_core *core, int64_t attempt_id, int64_t log_bytes, json_t *texts,
                       ptl_core_fn *fn, void *ctx);

/* ---- the lines of one log that hold a text (log_search.c), from a place on. `fn` is told piece by piece,
 * with lines or only how far it is, and at last once with `over`: nothing follows then, and the search is
 * gone. Never from inside the call. NULL: four logs are being searched already, or the database is full; `fn`
 * will not run. */
struct ptl_core_log_query {
    const char *text; /* UTF-8, 1 byte or more; borrowed for the call */
    bool caseless;
    int64_t offset, line; /* where a line begins, and its number from 0: the beginning, or where a cut was */
    int64_t limit;        /* lines; 1 or more */
};
struct ptl_core_log_hits {
    const int64_t *lines; /* from 0, ascending */
    size_t n;
    int64_t offset, line; /* looked through up to here, with so many newlines before */
    bool over, cut;       /* cut: the limit is reached, the next search begins at offset and line */
    int result;           /* of `over`: 0; -EAGAIN not now; -ECANCELED the daemon stops; other: it failed */
};
typedef void ptl_core_log_hits_fn(void *ctx, const struct ptl_core_log_hits *h);
struct ptl_core_log_search;
struct ptl_core_log_search *ptl_core_log_search(struct ptl_core *core, int64_t attempt_id,
                                                const struct ptl_core_log_query *q, ptl_core_log_hits_fn *fn,
                                                void *ctx);
/* Nobody wants it any more: `over` comes soon. */
void ptl_core_log_search_call_off(struct ptl_core_log_search *s);

/* What a diagnosis says of trying again. */
enum { PTL_VERDICTS = 3 };
#define PTL_VERDICT_NAMES                                                                                    \
    {                                                                                                        \
        "deterministic", "transient", "unclear"                                                              \
    }
struct ptl_core_counters {
    uint64_t claims, finishes, stale, log_bytes, runs_prepared, runs_invalid, agents_lost, diagnoses,
        diagnoses_failed;
    uint64_t retries[PTL_VERDICTS][2]; /* decisions by verdict: not tried again, tried again */
    uint64_t retry_saved_ms, relabelled, logs_worded;
    unsigned polls_waiting;
};
void ptl_core_counters(const struct ptl_core *core, struct ptl_core_counters *ret);
#endif
