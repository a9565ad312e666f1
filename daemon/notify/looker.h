/* looker.h - takes what is due from an outbox in the database: woken by NOTIFY and by a timer, one look at a
 * time, no more rows than there is room for. Loop thread only. */
#ifndef PTL_NOTIFY_LOOKER_H
#define PTL_NOTIFY_LOOKER_H
#include "core.h"

enum { PTL_LOOKER_MS = 2000 }; /* between looks without a wake-up */

struct ptl_looker_for {
    const char *what;            /* for the log: "statuses to post" */
    const char *channel;         /* of NOTIFY */
    enum ptl_sql claim;          /* $1 bigint limit */
    unsigned (*room)(void *ctx); /* how many rows may be claimed now; 0: none, the timer looks again */
    void (*rows)(void *ctx, struct ptl_rows *rows);
    void (*tick)(void *ctx); /* before each look of the timer, when the store is there; may be NULL */
};
struct ptl_looker;
/* NULL: it cannot listen (logged). `f` is kept, not copied. */
struct ptl_looker *ptl_looker_new(struct ptl_core *core, const struct ptl_looker_for *f, void *ctx);
void ptl_looker_wake(struct ptl_looker *l); /* what one turn of the loop brings is one look */
/* What is claimed and not yet given out comes back after its lease. NULL ok; returns NULL. */
struct ptl_looker *ptl_looker_free(struct ptl_looker *l);

uint32_t ptl_notify_dice(void);
#endif
