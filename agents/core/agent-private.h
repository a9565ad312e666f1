/* agent-private.h - the running agent, shared by the files that make it up. All of it lives on the loop
 * thread; what the pool works on is copied into work items (struct job_work) that carry an id, never a
 * pointer back. */
#ifndef PTL_AGENT_AGENT_PRIVATE_H
#define PTL_AGENT_AGENT_PRIVATE_H
#include "agent.h"
#include "cache.h"
#include <sys/types.h>
#include <portolan/client.h>
#include <portolan/loop.h>
#include <portolan/wire.h>

struct event;

struct agent_settings {
    char *server, *ca_file, *state_dir, *enroll_token, *name, *hosts, *labels, *recipes, *toolchains,
        *toolchain_folders, *sandbox;
    int64_t slots, cache_size, attempt_memory, drain_ms, claim_wait_ms, inventory_ms, keep, leave_running;
};

/* Retry delays: doubling from `base` to `max`, each with a random share of half, so that agents do not march
 * in step. */
struct backoff {
    int64_t base_ms, max_ms, delay_ms;
};
int64_t backoff_next(struct backoff *b);
void backoff_reset(struct backoff *b);

/* Where an attempt stands at this agent. Each phase has one thing under way at most, besides shipping the
 * log. */
enum job_phase {
    JOB_FETCH,   /* worker: source and inputs into the workspace */
    JOB_READY,   /* waits for the daemon to acknowledge the start */
    JOB_RUN,     /* the attempt process is at work */
    JOB_SETTLE,  /* worker: read result.json, or say what is known without one */
    JOB_PUBLISH, /* worker: artifacts to the daemon; the rest of the log too */
    JOB_FINISH,  /* the daemon is told; kept until it has acknowledged */
    JOB_GONE,    /* acknowledged or lost; worker: removing the directory */
    JOB_PHASE_COUNT
};
enum start_state { START_NOT_SENT, START_SENT, START_DONE };

struct job {
    struct agent *agent;
    struct job *next;
    int64_t id, fence;
    char *dir;
    enum job_phase phase;
    enum start_state start;
    int64_t grace_ms;
    bool busy;          /* a work item or call of this phase is under way */
    bool cancelled;     /* the daemon (or a drain) asked for it; told to the process once */
    bool stopped_by_us; /* …because this agent is going down: not the user's cancel */
    bool lost;          /* the daemon gave it to somebody else: nothing of it is wanted */
    bool refused;       /* the daemon did not understand the result once */
    atomic_int *stop;   /* seen by the work item under way; owned by it */
    pid_t pid;          /* attempt process; 0 none */
    bool is_child;
    int exit_status;
    bool has_status;
    int pidfd;
    struct event *pid_event;
    int64_t kill_at;  /* SIGKILL when still alive then; 0: not set */
    int64_t retry_at; /* not before; 0: now */
    struct backoff retry;
    unsigned tries; /* of fetching */
    int64_t start_at;
    struct backoff start_retry;
    struct ptl_error failure; /* why fetching failed; goes into the result */
    /* log */
    uint64_t log_offset;
    bool shipping, log_done, log_given_up;
    int64_t ship_at;
    struct backoff ship_retry;
    json_t *result;
    int64_t log_bytes;
};

struct agent {
    struct agent_settings set;
    char *token, *attempts_dir, *kept_dir, *exe;
    int64_t agent_id;
    struct ptl_cache *cache;
    struct ptl_client *client;
    struct ptl_loop *loop;
    struct ptl_http_pool *http;
    struct ptl_timer *tick, *claim_timer, *beat_timer, *inventory_timer, *reap_timer;
    struct job *jobs;
    json_t *inventory;
    json_t *beat; /* attempts named in the heartbeat under way: its answer speaks of these only */
    struct ptl_http_call *claim_call;
    bool claiming, beating, refreshing, draining, stopping, told_denied;
    int64_t lease_ms, drain_until, claimed_at;
    struct backoff claim_retry, beat_retry;
};

/* inventory.c: any thread; blocking (asks the drivers). Caller's. */
json_t *agent_inventory(const struct agent_settings *set, bool verbose);

/* jobs.c: loop thread. */
void jobs_adopt(struct agent *a);                     /* what an earlier agent process left on disk */
void jobs_take(struct agent *a, const json_t *claim); /* a claim of the daemon's */
void jobs_tick(struct agent *a);                      /* moves on whatever can */
void jobs_cancel(struct agent *a, int64_t id, int64_t fence, bool by_us);
void jobs_lose(struct agent *a, int64_t id, int64_t fence, const char *why);
json_t *jobs_heartbeat(const struct agent *a); /* [{"attempt_id","fence","phase"}] */
unsigned jobs_holding_slots(const struct agent *a);
bool jobs_any(const struct agent *a);
void jobs_unwatch(struct agent *a); /* before the loop goes */
void jobs_free(struct agent *a);

/* work.c: what the pool does for a job. */
enum work_kind { WORK_FETCH, WORK_SETTLE, WORK_PUBLISH, WORK_SHIP, WORK_REMOVE };
struct job_work {
    struct ptl_work work;
    enum work_kind kind;
    struct agent *agent; /* loop side only; the worker uses the immutable parts below */
    struct ptl_client *client;
    struct ptl_cache *cache;
    int64_t id, fence;
    char *dir, *kept_dir; /* kept_dir: moved there instead of removed */
    char *job_text;       /* FETCH of a fresh claim: becomes job.json */
    atomic_int stop;
    /* SETTLE */
    bool cancelled, stopped_by_us, has_status;
    int exit_status;
    /* in and out */
    uint64_t offset;
    json_t *result;
    int64_t log_bytes;
    bool at_end; /* SHIP: the file had no more bytes than were taken */
    struct ptl_error err;
};
void work_run(struct ptl_work *w);
struct job_work *work_free(struct job_work *w);
#endif
