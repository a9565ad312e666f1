/* core-private.h - what the files of core share. */
#ifndef PTL_CORE_PRIVATE_H
#define PTL_CORE_PRIVATE_H
#include "core.h"
#include "git.h"

struct ptl_core {
    struct ptl_loop *loop;
    struct ptl_store *store;
    struct ptl_http_pool *http;
    struct ptl_core_options o; /* strings owned */
    unsigned char key[32];
    struct ptl_core_counters count;
    struct ptl_core_history *history;     /* history.c */
    bool history_busy;                    /* resolve.c: one at a time */
    struct ptl_core_log_words *log_words; /* log_words.c */
    atomic_bool stopping;
    /* git policy, built once */
    struct ptl_git_policy policy;
    char **hosts, **roots;
    /* dispatch */
    struct ptl_core_claim *claims;
    bool wake_planned;
    unsigned wake_hosts;  /* bits of ptl_host_kind */
    uint64_t turn;        /* counts claims asked of the database and wakes */
    int64_t advance[256]; /* runs to carry on at the end of this turn of the loop */
    size_t n_advance;
    /* periodic */
    struct ptl_timer *sweep_timer, *queue_timer, *prepare_timer, *poll_timer, *diagnose_timer, *risk_timer,
        *preflight_timer, *resolvers_timer;
    struct ptl_core_knowledge *knowledge;
    unsigned preparing, polling, diagnosing, trying, looking, finding, searching, comparing;
    bool prepare_asked, risk_busy, risk_again, resolvers_busy;
    struct ptl_core_relabel *relabel;
    unsigned ticks; /* of the sweep */
    /* The database's clock as last seen and when that was by one's own, which nobody sets; 0: not watched. */
    int64_t clock_db_ms, clock_mono_ms;
    int64_t jump_ms, jump_at_ms; /* by how much it was set forward so far, and when last, by itself */
    bool watching;
};

/* trigger.c */ void ptl_core_poll_tick(void *core);
/* prepare.c */ void ptl_core_prepare_tick(void *core);
enum { PTL_CORE_PREPARE_TRIES = 3 };
/* sweep.c */ void ptl_core_sweep_begin(struct ptl_core *core);
void ptl_core_sweep_tick(void *core);
/* history.c */ void ptl_core_history_new(struct ptl_core *core);
void ptl_core_history_stop(struct ptl_core *core); /* no new work */
void ptl_core_history_free(struct ptl_core *core);
/* log_words.c */ void ptl_core_log_words_new(struct ptl_core *core);
void ptl_core_log_words_stop(struct ptl_core *core);
void ptl_core_log_words_free(struct ptl_core *core);
void ptl_core_log_words_tick(void *core);
/* A whole log into `log`, which must outlive the call. `fn` runs exactly once, possibly from inside the call:
 * 0; PTL_ABSENT: some of it is missing or it is longer than a log may be, what is there is in it; -EAGAIN:
 * not now. */
typedef void ptl_core_log_fn(void *ctx, int result);
void ptl_core_log_fetch(struct ptl_core *core, int64_t attempt_id, int64_t log_bytes, struct ptl_buf *log,
                        ptl_core_log_fn *fn, void *ctx);
/* resolve.c */ void ptl_core_resolve_tick(struct ptl_core *core, unsigned tick);
/* diagnose.c */ void ptl_core_diagnose_tick(void *core);
/* risk.c */ void ptl_core_risk_tick(void *core);
void ptl_core_resolvers_tick(void *core);
/* [{name, kind, target, platform, spec}] of a plan, what risk_inputs.sql asks with. New reference. */
json_t *ptl_core_risk_cells(const json_t *plan);
/* What run_plan.sql takes, by position. `inputs` NULL: could not be read. New reference. */
json_t *ptl_core_risk_of_plan(const json_t *inputs, const json_t *plan, const json_t *facts);
/* preflight.c */ void ptl_core_preflight_tick(void *core);
void ptl_core_decide_sweep(struct ptl_core *core);
/* The way of one attempt, a row of diagnosis_claim or relabel_claim: with the knowledge in force (there must
 * be one), what people said counted in. `fn` runs exactly once, possibly from inside the call: 0 with the
 * answer (borrowed); PTL_ABSENT: `whole` and some of its log is gone; -EAGAIN: not now; else it failed and
 * `why` says how. */
typedef void ptl_core_diagnosed_fn(void *ctx, int64_t attempt_id, int result, json_t *answer,
                                   const char *why);
void ptl_core_diagnose_row(struct ptl_core *core, struct ptl_rows *rows, int row, bool whole,
                           ptl_core_diagnosed_fn *fn, void *ctx);
/* What a diagnosis reads of an attempt's row (diagnosis_claim.sql and its like). New reference. */
json_t *ptl_core_facts(const json_t *row);
/* knowledge.c: the knowledge base in force. A reference keeps it while another takes its place. */
struct ptl_core_kb;
struct ptl_kb;
int ptl_core_knowledge_new(struct ptl_core *core);
void ptl_core_knowledge_stop(struct ptl_core *core);
void ptl_core_knowledge_free(struct ptl_core *core);
struct ptl_core_kb *ptl_core_kb_ref(struct ptl_core *core); /* NULL: not compiled yet */
struct ptl_core_kb *ptl_core_kb_unref(struct ptl_core_kb *kb);
const struct ptl_kb *ptl_core_kb_of(const struct ptl_core_kb *kb);
/* The bytes of its text model, borrowed; NULL: none. */
const void *ptl_core_kb_model(const struct ptl_core_kb *kb, size_t *ret_len);
/* relabel.c */
int ptl_core_relabel_new(struct ptl_core *core);
void ptl_core_relabel_stop(struct ptl_core *core);
void ptl_core_relabel_free(struct ptl_core *core);
/* Under the knowledge in force. Not `forced`: only when that is not what was applied last. fn may be NULL. */
void ptl_core_relabel_begin(struct ptl_core *core, const char *who, bool forced, ptl_core_fn *fn, void *ctx);
/* dispatch.c */ void ptl_core_queue_tick(void *core);
void ptl_core_wake(struct ptl_core *core, unsigned hosts);
void ptl_core_claims_stop(struct ptl_core *core);
/* run.c */
void ptl_core_batch_advance(struct ptl_batch *batch,
                            int64_t run_id); /* adds release, settle, group_next, release */
char *ptl_core_mirror_dir(const struct ptl_core *core, int64_t project_id);
/* Answers with a store error as a core result. */
int ptl_core_result_of(const struct ptl_error *err);

/* changes.c: what changed between two commits. */
struct ptl_core_access;
struct ptl_core_changes {
    bool all;                       /* every file; else only specs, locks and scripts */
    json_t *commits, *files, *cuts; /* newest first; paths; sentences on what was left out */
    size_t commits_left, files_left, diff_cut;
    struct ptl_buf diff;
};
void ptl_core_changes_init(struct ptl_core_changes *c, bool all);
void ptl_core_changes_done(struct ptl_core_changes *c);
/* On a worker; fetches when the mirror lacks a commit. 0 also when `before` is gone: `cuts` says so. */
PTL_NODISCARD int ptl_core_changes_look(struct ptl_core *core, int64_t project_id,
                                        struct ptl_core_access *access, const char *before, const char *after,
                                        int64_t within_ms, struct ptl_core_changes *c, struct ptl_error *err);
char *ptl_core_changes_text(
    struct ptl_core_changes *c); /* the difference as UTF-8; caller frees; NULL: none */

/* Credentials of a project, opened for one worker call. */
struct ptl_core_access {
    struct ptl_git_credentials cred;
    char *url; /* the project's: its host is the only one that gets them */
    char *user, *secret;
};
void ptl_core_access_read(struct ptl_core *core, struct ptl_rows *rows, int row, struct ptl_core_access *ret);
void ptl_core_access_done(struct ptl_core_access *a);
bool ptl_core_same_host(const char *a, const char *b); /* URLs or scp forms; false for local paths */
int ptl_core_access_fn(void *ctx, const char *url,
                       struct ptl_git_credentials *ret); /* ctx: struct ptl_core_access */
#endif
