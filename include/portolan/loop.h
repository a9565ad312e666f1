/* loop.h - one event loop (libevent), one work pool. One loop thread owns all mutable shared state; what may
 * block (git, DNS, disk, compression, log scanning) runs on the pool and comes back as done(). */
#ifndef PORTOLAN_LOOP_H
#define PORTOLAN_LOOP_H
#include <portolan/base.h>
struct event_base;

struct ptl_loop;
/* `threads` 1..64 workers, `queue_max` waiting items. NULL when the system refuses (logged). */
struct ptl_loop *ptl_loop_new(unsigned threads, unsigned queue_max);
/* Ends the workers: queued work is cancelled, running work is waited for, each done() is called; nothing can
 * be submitted any more. ptl_loop_free() does it too; call it first when what done() touches is freed before
 * the loop is. */
void ptl_loop_finish_work(struct ptl_loop *loop);
struct ptl_loop *ptl_loop_free(struct ptl_loop *loop); /* joins the workers: queued work runs or is cancelled
                                                          with -ECANCELED, each done() is called */
struct event_base *ptl_loop_base(struct ptl_loop *loop);
int ptl_loop_run(
    struct ptl_loop *loop); /* until ptl_loop_stop; SIGTERM and SIGINT stop it; SIGPIPE ignored */
void ptl_loop_stop(struct ptl_loop *loop);
/* `fn` runs once on the loop thread when SIGTERM/SIGINT arrives, in place of stopping at once (graceful
 * stop). A second signal stops. */
void ptl_loop_on_term(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx);
/* `fn` at the end of the present turn of the loop: for batching what arrived in it. Loop thread only. */
void ptl_loop_defer(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx);
/* What was deferred with this and has not begun is forgotten: before ctx is freed. Not from a deferred call.
 */
void ptl_loop_undefer(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx);

struct ptl_timer; /* loop thread only */
struct ptl_timer *ptl_timer_new(struct ptl_loop *loop, void (*fn)(void *ctx), void *ctx);
struct ptl_timer *ptl_timer_free(struct ptl_timer *t);
void ptl_timer_after(struct ptl_timer *t, int64_t ms); /* once; replaces an earlier setting */
void ptl_timer_every(struct ptl_timer *t, int64_t ms);
void ptl_timer_stop(struct ptl_timer *t);

/* Work owned by one side at a time. Put ids in it, not pointers to loop objects. */
struct ptl_work {
    void (*run)(struct ptl_work *w); /* worker thread: may block, sees only *w */
    void (*done)(struct ptl_work
                     *w);  /* loop thread: exactly once, owns w again; result may be -ECANCELED at shutdown */
    int result;            /* 0 or negative errno, set by run() */
    struct ptl_work *next; /* the pool's */
};
/* 0: the pool owns w until done(). PTL_FULL: caller keeps w (503, or later). Loop thread only. */
PTL_NODISCARD int ptl_loop_submit(struct ptl_loop *loop, struct ptl_work *w);
void ptl_loop_work_counts(const struct ptl_loop *loop, unsigned *ret_waiting, unsigned *ret_running);
#endif
