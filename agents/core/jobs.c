/* jobs.c - the life of an attempt at this agent, phase by phase, on the loop thread.
 *
 *   fetch -> ready -> run -> settle -> publish -> finish -> gone
 *
 * Nothing here blocks: work goes to the pool, questions to the daemon are calls on the loop, and the attempt
 * itself is a process of its own that outlives this one. Whatever is on disk is enough to carry on after kill
 * -9: jobs_adopt() puts an attempt back into the phase that its directory shows. Every step may be repeated;
 * the daemon's fence makes that safe. */
#include "agent-private.h"
#include "attempt.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <portolan/proc.h>

#define CALL_TIMEOUT_MS 30000
#define FETCH_TRIES     8
/* Growth of a log is looked at this often: what a person watching feels as "live". */
#define SHIP_EVERY_MS 300
/* The attempt process itself needs this much beyond the stage's grace to write its result. */
#define KILL_AFTER_MS 30000

static const char *const phase_names[JOB_PHASE_COUNT] = {"fetch",   "fetch",   "run",    "publish",
                                                         "publish", "publish", "publish"};
static_assert(JOB_PHASE_COUNT == 7,
              "new phase: name it for the heartbeat, and handle it in advance() and jobs_adopt()");

int64_t backoff_next(struct backoff *b)
{
    uint32_t dice = 0;
    ptl_random(&dice, sizeof(dice));
    b->delay_ms = b->delay_ms == 0 ? b->base_ms : b->delay_ms * 2;
    if (b->delay_ms > b->max_ms)
        b->delay_ms = b->max_ms;
    return b->delay_ms / 2 + (int64_t)(dice % (uint32_t)(b->delay_ms / 2 + 1));
}

void backoff_reset(struct backoff *b)
{
    b->delay_ms = 0;
}

/* ---- the list ---- */

static struct job *job_find(struct agent *a, int64_t id, int64_t fence)
{
    for (struct job *j = a->jobs; j; j = j->next)
        if (j->id == id && j->fence == fence)
            return j;
    return NULL;
}

static struct job *job_new(struct agent *a, int64_t id, int64_t fence)
{
    struct job *j = ptl_xcalloc(1, sizeof(*j));
    j->agent = a;
    j->id = id;
    j->fence = fence;
    j->dir = ptl_xasprintf("%s/%lld-%lld", a->attempts_dir, (long long)id, (long long)fence);
    j->pidfd = -1;
    j->retry = j->ship_retry = j->start_retry = (struct backoff){.base_ms = 500, .max_ms = 20000};
    j->next = a->jobs;
    a->jobs = j;
    return j;
}

static void job_free(struct job *j)
{
    for (struct job **at = &j->agent->jobs; *at; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            break;
        }
    if (j->pid_event)
        event_free(j->pid_event);
    if (j->pidfd >= 0)
        close(j->pidfd);
    json_decref(j->result);
    free(j->dir);
    free(j);
}

static void advance(struct job *j);

static void enter(struct job *j, enum job_phase phase)
{
    j->phase = phase;
    j->busy = false;
    j->retry_at = 0;
    backoff_reset(&j->retry);
    if (phase == JOB_FINISH && j->agent->claim_retry.delay_ms == 0 && !j->agent->draining)
        ptl_timer_after(j->agent->claim_timer, 0); /* its slot is free */
    advance(j);
}

static void retry_later(struct job *j, const char *what, const struct ptl_error *err)
{
    int64_t ms = backoff_next(&j->retry);
    j->retry_at = ptl_mono_ms() + ms;
    ptl_log_warning("attempt=%lld: %s: %s; again in %lld ms", (long long)j->id, what, err->text,
                    (long long)ms);
}

/* ---- work items ---- */

static void work_done(struct ptl_work *work);

static bool submit(struct job *j, struct job_work *w)
{
    struct agent *a = j->agent;
    w->work.run = work_run;
    w->work.done = work_done;
    w->agent = a;
    w->client = a->client;
    w->cache = a->cache;
    w->id = j->id;
    w->fence = j->fence;
    w->dir = ptl_xstrdup(j->dir);
    if (ptl_loop_submit(a->loop, &w->work) != 0) {
        work_free(w);
        return false; /* the pool is full: the next tick tries again */
    }
    return true;
}

static void start_work(struct job *j, struct job_work *w)
{
    atomic_int *stop = &w->stop;
    if (submit(j, w)) {
        j->busy = true;
        j->stop = stop;
    }
}

static struct job_work *work_new(enum work_kind kind)
{
    struct job_work *w = ptl_xcalloc(1, sizeof(*w));
    w->kind = kind;
    return w;
}

static bool fetch_can_be_tried_again(int code)
{
    return code != -EBADMSG && code != -EINVAL && code != -ENOENT && code != -ENOSPC && code != -EPERM &&
           code != -ECANCELED;
}

static void fetch_done(struct job *j, const struct job_work *w)
{
    if (w->work.result == 0) {
        enter(j, JOB_READY);
        return;
    }
    if (!j->cancelled && fetch_can_be_tried_again(w->work.result) && ++j->tries < FETCH_TRIES) {
        retry_later(j, "fetching the workspace", &w->err);
        return;
    }
    if (!j->cancelled)
        ptl_log_error("attempt=%lld: workspace cannot be made: %s; the stage ends as setup failure",
                      (long long)j->id, w->err.text);
    j->failure = w->err;
    enter(j, JOB_SETTLE);
}

static void settle_done(struct job *j, const struct job_work *w)
{
    if (w->work.result < 0) {
        retry_later(j, "settling the result", &w->err);
        return;
    }
    json_decref(j->result);
    j->result = json_incref(w->result);
    j->log_bytes = w->log_bytes;
    ptl_log_info("attempt=%lld: ended: %s%s%s", (long long)j->id, ptl_json_str(j->result, "end_reason", "?"),
                 *ptl_json_str(j->result, "message", "") ? ": " : "", ptl_json_str(j->result, "message", ""));
    enter(j, JOB_PUBLISH);
}

/* The artifacts cannot be published: the result says so, and claims none. */
static void give_up_artifacts(struct job *j, const char *reason, const char *text)
{
    json_object_set_new(j->result, "ok", json_false());
    json_object_set_new(j->result, "end_reason", json_string(reason));
    json_object_set_new(j->result, "message", json_string(text));
    json_object_set_new(j->result, "artifacts", json_array());
}

static void publish_done(struct job *j, const struct job_work *w)
{
    if (w->work.result == 0) {
        enter(j, JOB_FINISH);
    } else if (j->cancelled) {
        give_up_artifacts(j, j->stopped_by_us ? "agent_lost" : "cancelled",
                          j->stopped_by_us ? "the agent was stopped while it published"
                                           : "cancelled while publishing");
        enter(j, JOB_FINISH);
    } else if (w->work.result == -EBADMSG || w->work.result == -ENOENT || w->work.result == -EINVAL) {
        ptl_log_error("attempt=%lld: %s", (long long)j->id, w->err.text);
        give_up_artifacts(j, "setup", w->err.text);
        enter(j, JOB_FINISH);
    } else {
        retry_later(j, "publishing", &w->err);
    }
}

static void ship_done(struct job *j, const struct job_work *w)
{
    j->shipping = false;
    if (w->work.result == 0) {
        j->log_offset = w->offset;
        backoff_reset(&j->ship_retry);
        j->ship_at = w->at_end ? ptl_mono_ms() + SHIP_EVERY_MS : 0;
        return;
    }
    j->log_offset = w->offset;
    if (w->work.result == -ESTALE) {
        jobs_lose(j->agent, j->id, j->fence, "its log is refused");
    } else if (w->work.result == -EINVAL) {
        ptl_log_error("attempt=%lld: %s: the rest of its log is not sent", (long long)j->id, w->err.text);
        j->log_given_up = true;
    } else {
        int64_t ms = backoff_next(&j->ship_retry);
        j->ship_at = ptl_mono_ms() + ms;
        ptl_log_debug("attempt=%lld: %s; again in %lld ms", (long long)j->id, w->err.text, (long long)ms);
    }
}

static void work_done(struct ptl_work *work)
{
    struct job_work *w = (struct job_work *)work;
    struct job *j = job_find(w->agent, w->id, w->fence);
    if (!j) {
        work_free(w);
        return;
    }
    if (w->kind != WORK_SHIP) {
        j->busy = false;
        j->stop = NULL;
    }
    if (work->result == -ECANCELED && j->agent->stopping) {
        j->shipping = false; /* going down: the directory keeps everything for the next start */
    } else if (w->kind == WORK_SHIP) {
        ship_done(j, w);
    } else if (w->kind == WORK_REMOVE) {
        if (work->result < 0)
            ptl_log_warning("attempt=%lld: %s", (long long)j->id, w->err.text);
        job_free(j);
        work_free(w);
        return;
    } else if (j->lost) {
        enter(j, JOB_GONE);
    } else if (w->kind == WORK_FETCH) {
        fetch_done(j, w);
    } else if (w->kind == WORK_SETTLE) {
        settle_done(j, w);
    } else {
        publish_done(j, w);
    }
    work_free(w);
    if (!j->agent->stopping)
        advance(j);
}

/* ---- calls to the daemon ---- */

struct call_ctx {
    struct agent *agent;
    int64_t id, fence;
};

static bool call(struct job *j, const char *verb, const json_t *body, ptl_client_fn *fn)
{
    struct call_ctx *ctx = ptl_xcalloc(1, sizeof(*ctx));
    PTL_FREE char *path = ptl_xasprintf("/api/v1/agent/attempts/%lld/%s", (long long)j->id, verb);
    *ctx = (struct call_ctx){j->agent, j->id, j->fence};
    if (ptl_client_start(j->agent->client, j->agent->http, "POST", path, body, CALL_TIMEOUT_MS, fn, ctx,
                         NULL) == 0)
        return true;
    free(ctx);
    return false;
}

static struct job *call_answered(void *ctx)
{
    struct call_ctx c = *(struct call_ctx *)ctx;
    free(ctx);
    return c.agent->stopping ? NULL : job_find(c.agent, c.id, c.fence);
}

static void start_answered(void *ctx, int result, int status, const json_t *answer,
                           const struct ptl_error *err)
{
    struct job *j = call_answered(ctx);
    (void)status;
    (void)answer;
    if (!j || j->start != START_SENT)
        return;
    if (result == 0) {
        j->start = START_DONE;
        advance(j);
        return;
    }
    j->start = START_NOT_SENT;
    if (result == -ESTALE || result == PTL_ABSENT) {
        jobs_lose(j->agent, j->id, j->fence, err->text);
        return;
    }
    j->start_at = ptl_mono_ms() + backoff_next(&j->start_retry);
    ptl_log_warning("attempt=%lld: start is not acknowledged: %s; asking again", (long long)j->id, err->text);
}

static void send_start(struct job *j)
{
    if (j->start != START_NOT_SENT || ptl_mono_ms() < j->start_at)
        return;
    PTL_JSON *body = json_pack("{s:I}", "fence", (json_int_t)j->fence);
    j->start = START_SENT;
    if (!call(j, "start", body, start_answered))
        j->start = START_NOT_SENT;
}

static void finish_answered(void *ctx, int result, int status, const json_t *answer,
                            const struct ptl_error *err)
{
    struct job *j = call_answered(ctx);
    (void)status;
    (void)answer;
    if (!j || j->phase != JOB_FINISH)
        return;
    j->busy = false;
    if (result == 0) {
        ptl_log_info("attempt=%lld: result acknowledged", (long long)j->id);
        enter(j, JOB_GONE);
    } else if (result == -ESTALE || result == PTL_ABSENT) {
        ptl_log_warning(
            "attempt=%lld: result refused, the daemon has given the stage to another attempt (%s); dropped",
            (long long)j->id, err->text);
        j->lost = true;
        enter(j, JOB_GONE);
    } else if (result == -EINVAL) {
        ptl_log_error("attempt=%lld: the daemon does not accept this result: %s", (long long)j->id,
                      err->text);
        if (j->refused) {
            enter(j, JOB_GONE);
            return;
        }
        PTL_FREE char *text = ptl_xasprintf("the daemon did not accept the agent's result: %s", err->text);
        j->refused = true; /* once more, with nothing in it that could be refused */
        give_up_artifacts(j, "setup", text);
        json_object_set_new(j->result, "report", json_null());
        json_object_set_new(j->result, "environment", json_object());
        json_object_set_new(j->result, "warnings", json_array());
        advance(j);
    } else {
        retry_later(j, "reporting the result", err);
    }
}

static void send_finish(struct job *j)
{
    PTL_JSON *body = json_deep_copy(j->result);
    json_object_set_new(body, "fence", json_integer(j->fence));
    json_object_set_new(body, "attempt_id", json_integer(j->id));
    json_object_set_new(body, "log_bytes", json_integer(j->log_bytes));
    j->busy = true;
    if (!call(j, "finish", body, finish_answered))
        j->busy = false;
}

/* ---- the attempt process ---- */

static void process_ended(struct job *j)
{
    if (j->pid_event) {
        event_free(j->pid_event);
        j->pid_event = NULL;
    }
    if (j->pidfd >= 0) {
        close(j->pidfd);
        j->pidfd = -1;
    }
    j->pid = 0;
    if (j->lost)
        enter(j, JOB_GONE);
    else if (j->phase == JOB_RUN)
        enter(j, JOB_SETTLE);
}

static bool process_is_gone(struct job *j)
{
    int status;
    if (j->is_child) {
        struct ptl_proc p = {.pid = j->pid, .pidfd = -1}; /* j->pidfd is closed with its event */
        int r = ptl_proc_wait(&p, 0, &status);
        if (r == 0) {
            j->exit_status = status;
            j->has_status = true;
        }
        return r == 0 || r == -ECHILD;
    }
    struct pollfd p = {.fd = j->pidfd, .events = POLLIN};
    if (j->pidfd >= 0)
        return poll(&p, 1, 0) > 0;
    struct ptl_attempt_pid who;
    return ptl_attempt_pid_read(j->dir, &who) != 0 || !ptl_attempt_pid_is_alive(&who);
}

static void on_pid(evutil_socket_t fd, short what, void *arg)
{
    struct job *j = arg;
    (void)fd;
    (void)what;
    if (process_is_gone(j))
        process_ended(j);
}

static void watch(struct job *j)
{
    if (j->pidfd < 0)
        return; /* the tick looks instead */
    j->pid_event = event_new(ptl_loop_base(j->agent->loop), j->pidfd, EV_READ, on_pid, j);
    if (j->pid_event)
        event_add(j->pid_event, NULL);
}

static void spawn(struct job *j)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *argv[] = {j->agent->exe, "attempt", j->dir, NULL};
    PTL_FREE char *words = ptl_fs_join(j->dir, "attempt.err");
    PTL_CLOSE int fd = open(words, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct ptl_proc_spec spec = {
        .argv = argv, .cwd = "/", .stdin_fd = -1, .stdout_fd = fd, .stderr_fd = fd, .new_session = true};
    struct ptl_proc proc;
    int r = ptl_proc_start(&spec, &proc, &err);
    if (r < 0) {
        j->failure = err;
        j->failure.code = r;
        enter(j, JOB_SETTLE);
        return;
    }
    j->pid = proc.pid;
    j->pidfd = proc.pidfd;
    j->is_child = true;
    ptl_log_info("attempt=%lld fence=%lld: running (pid %d)", (long long)j->id, (long long)j->fence,
                 (int)j->pid);
    watch(j);
    enter(j, JOB_RUN);
}

static void stop_process(struct job *j)
{
    if (j->pid <= 0 || j->kill_at)
        return;
    kill(j->pid, SIGTERM);
    j->kill_at = ptl_mono_ms() + j->grace_ms + KILL_AFTER_MS;
}

static void tend_process(struct job *j)
{
    if (process_is_gone(j)) {
        process_ended(j);
        return;
    }
    if (j->kill_at && ptl_mono_ms() > j->kill_at) {
        ptl_log_warning("attempt=%lld: process %d does not end, killing it", (long long)j->id, (int)j->pid);
        kill(-j->pid, SIGKILL);
        kill(j->pid, SIGKILL);
        j->kill_at = ptl_mono_ms() + KILL_AFTER_MS;
    }
}

/* ---- moving on ---- */

static void start_settle(struct job *j)
{
    struct job_work *w = work_new(WORK_SETTLE);
    w->err = j->failure;
    w->cancelled = j->cancelled;
    w->stopped_by_us = j->stopped_by_us;
    w->has_status = j->has_status;
    w->exit_status = j->exit_status;
    start_work(j, w);
}

static void start_publish(struct job *j)
{
    struct job_work *w = work_new(WORK_PUBLISH);
    if (json_array_size(json_object_get(j->result, "artifacts")) == 0) {
        work_free(w);
        enter(j, JOB_FINISH);
        return;
    }
    w->result = json_deep_copy(j->result); /* the worker's own */
    start_work(j, w);
}

static void start_remove(struct job *j)
{
    struct job_work *w = work_new(WORK_REMOVE);
    if (j->agent->set.keep)
        w->kept_dir =
            ptl_xasprintf("%s/%lld-%lld", j->agent->kept_dir, (long long)j->id, (long long)j->fence);
    start_work(j, w);
}

static void ship_log(struct job *j)
{
    bool final = j->phase >= JOB_PUBLISH;
    struct stat st;
    if (j->log_done || j->log_given_up || j->lost || j->shipping || j->start != START_DONE)
        return;
    if (j->phase < JOB_RUN || j->phase > JOB_FINISH)
        return;
    if (ptl_mono_ms() < j->ship_at &&
        !(final && j->ship_retry.delay_ms == 0)) /* at the end nothing is waited for */
        return;
    PTL_FREE char *path = ptl_fs_join(j->dir, "log");
    uint64_t size = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (final && j->log_offset >= size) {
        j->log_done = true;
        return;
    }
    if (j->log_offset >= size)
        return;
    struct job_work *w = work_new(WORK_SHIP);
    w->offset = j->log_offset;
    j->shipping = submit(j, w);
}

/* Does whatever this phase can do now. */
static void advance(struct job *j)
{
    if (j->agent->stopping)
        return;
    if (j->lost && j->phase != JOB_GONE && !j->busy && j->pid == 0) {
        enter(j, JOB_GONE);
        return;
    }
    send_start(j);
    ship_log(j);
    if (j->busy || ptl_mono_ms() < j->retry_at)
        return;
    switch (j->phase) {
    case JOB_FETCH:
        if (j->cancelled)
            enter(j, JOB_SETTLE);
        else
            start_work(j, work_new(WORK_FETCH));
        break;
    case JOB_READY:
        if (j->cancelled)
            enter(j, JOB_SETTLE);
        else if (j->start == START_DONE)
            spawn(j);
        break;
    case JOB_RUN:
        tend_process(j);
        break;
    case JOB_SETTLE:
        start_settle(j);
        break;
    case JOB_PUBLISH:
        start_publish(j);
        break;
    case JOB_FINISH:
        if (j->start == START_DONE && (j->log_done || j->log_given_up))
            send_finish(j);
        break;
    case JOB_GONE:
        if (!j->shipping)
            start_remove(j);
        break;
    case JOB_PHASE_COUNT:
        break;
    }
}

void jobs_tick(struct agent *a)
{
    for (struct job *j = a->jobs, *next; j; j = next) {
        next = j->next;
        advance(j);
    }
}

/* ---- from the daemon ---- */

void jobs_take(struct agent *a, const json_t *claim)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int64_t id, fence;
    if (ptl_json_req_i64(claim, "claim", "attempt_id", &id, &err) < 0 ||
        ptl_json_req_i64(claim, "claim", "fence", &fence, &err) < 0 || id < 0 || fence < 0) {
        ptl_log_error("a claim that cannot be read is left alone: %s", err.text);
        return;
    }
    if (job_find(a, id, fence))
        return; /* told twice */
    for (struct job *j = a->jobs; j; j = j->next)
        if (j->id == id && j->fence < fence)
            jobs_lose(a, id, j->fence, "claimed again with a newer fence");
    struct job *j = job_new(a, id, fence);
    j->grace_ms = ptl_json_i64(claim, "grace_ms", 10000);
    ptl_log_info("attempt=%lld fence=%lld: claimed %s of %s, run %lld", (long long)id, (long long)fence,
                 ptl_json_str(claim, "name", "?"), ptl_json_str(claim, "project", "?"),
                 (long long)ptl_json_i64(claim, "run_number", 0));
    struct job_work *w = work_new(WORK_FETCH);
    w->job_text = ptl_json_text(claim);
    send_start(j);
    start_work(j, w);
    if (!j->busy) { /* the pool is full, so there was no slot to claim for */
        ptl_log_error("attempt=%lld: no worker free; given back by not answering for it", (long long)id);
        job_free(j);
    }
}

void jobs_cancel(struct agent *a, int64_t id, int64_t fence, bool by_us)
{
    for (struct job *j = a->jobs; j; j = j->next) {
        if (j->id != id || j->fence != fence || j->cancelled || j->lost)
            continue;
        ptl_log_info("attempt=%lld: %s", (long long)id,
                     by_us ? "stopping it, this agent goes down" : "cancelled by the daemon");
        j->cancelled = true;
        j->stopped_by_us = by_us;
        if (j->stop && j->phase != JOB_SETTLE)
            *j->stop = 1;
        stop_process(j);
    }
}

void jobs_lose(struct agent *a, int64_t id, int64_t fence, const char *why)
{
    for (struct job *j = a->jobs; j; j = j->next) {
        if (j->id != id || j->fence != fence || j->lost)
            continue;
        ptl_log_warning("attempt=%lld fence=%lld: no longer this agent's (%s); stopped and dropped",
                        (long long)id, (long long)j->fence, why);
        j->lost = true;
        if (j->stop && j->phase != JOB_GONE)
            *j->stop = 1;
        stop_process(j);
    }
}

json_t *jobs_heartbeat(const struct agent *a)
{
    json_t *list = json_array();
    for (const struct job *j = a->jobs; j; j = j->next)
        if (j->phase != JOB_GONE && !j->lost)
            json_array_append_new(list, json_pack("{s:I, s:I, s:s}", "attempt_id", (json_int_t)j->id, "fence",
                                                  (json_int_t)j->fence, "phase", phase_names[j->phase]));
    return list;
}

/* A finished attempt that only waits to be reported holds no slot: its host is free. */
unsigned jobs_holding_slots(const struct agent *a)
{
    unsigned n = 0;
    for (const struct job *j = a->jobs; j; j = j->next)
        n += j->phase <= JOB_PUBLISH;
    return n;
}

bool jobs_any(const struct agent *a)
{
    return a->jobs != NULL;
}

void jobs_unwatch(struct agent *a)
{
    for (struct job *j = a->jobs; j; j = j->next)
        if (j->pid_event) {
            event_free(j->pid_event);
            j->pid_event = NULL;
        }
}

void jobs_free(struct agent *a)
{
    while (a->jobs)
        job_free(a->jobs);
}

/* ---- after a restart ---- */

static void adopt(struct agent *a, const char *name)
{
    long long id, fence;
    int used = 0;
    PTL_FREE char *dir = ptl_fs_join(a->attempts_dir, name);
    PTL_FREE char *job_path = ptl_fs_join(dir, "job.json");
    PTL_FREE char *result = ptl_fs_join(dir, "result.json");
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *claim = NULL;
    struct ptl_attempt_pid who;
    if (sscanf(name, "%lld-%lld%n", &id, &fence, &used) != 2 || name[used])
        return;
    struct job *j = job_new(a, id, fence);
    if (ptl_json_load(job_path, PTL_WIRE_BODY_MAX, &claim, &err) < 0) {
        ptl_log_warning("attempt=%lld: left over without a usable job.json, removed", id);
        j->lost = true;
        j->phase = JOB_GONE;
        return;
    }
    j->grace_ms = ptl_json_i64(claim, "grace_ms", 10000);
    if (ptl_fs_exists(result)) {
        j->phase = JOB_SETTLE;
        j->start = START_DONE;
        ptl_log_info("attempt=%lld fence=%lld: adopted, it had ended", id, fence);
    } else if (ptl_attempt_pid_read(dir, &who) == 0) {
        bool alive = ptl_attempt_pid_is_alive(&who);
        j->start = START_DONE;
        j->phase = alive ? JOB_RUN : JOB_SETTLE;
        if (alive) {
            j->pid = who.pid;
            j->pidfd = (int)syscall(SYS_pidfd_open, who.pid, 0);
            if (!ptl_attempt_pid_is_alive(
                    &who)) { /* ended between look and open: the descriptor may be another's */
                close(j->pidfd);
                j->pidfd = -1;
            }
            watch(j);
        }
        ptl_log_info("attempt=%lld fence=%lld: adopted, %s", id, fence,
                     alive ? "it is running" : "its process is gone");
    } else {
        j->phase = JOB_FETCH;
        ptl_log_info("attempt=%lld fence=%lld: adopted, it had not begun", id, fence);
    }
}

void jobs_adopt(struct agent *a)
{
    DIR *d = opendir(a->attempts_dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            adopt(a, e->d_name);
    closedir(d);
}
