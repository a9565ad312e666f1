/* status.h - commit statuses, from the outbox in the database to the forge of each project.
 *
 * Every daemon posts; a row is claimed by one of them for a minute, which is longer than a call may take.
 * What was posted and never acknowledged to the database is posted again after that: forges take the repeat.
 */
#ifndef PTL_STATUS_H
#define PTL_STATUS_H
#include "core.h"

struct ptl_notify;
/* Starts listening and posting; borrows core with its loop, store and HTTP pool. NULL when the store cannot
 * listen (logged; statuses then stay in the outbox). Loop thread only. */
struct ptl_notify *ptl_notify_new(struct ptl_core *core);
/* Stops. Calls under way are forgotten: their rows are posted again later, by any daemon. To be freed before
 * the HTTP pool and the store are, without turning the loop in between. NULL ok; returns NULL. */
struct ptl_notify *ptl_notify_free(struct ptl_notify *n);

struct ptl_notify_counters {
    uint64_t posted;  /* taken by a forge, or there already */
    uint64_t skipped; /* never posted: overtaken by a later one, or equal to the one before */
    uint64_t retries; /* failed calls that are tried again */
    uint64_t given_up;
    unsigned running;
};
void ptl_notify_counters(const struct ptl_notify *n, struct ptl_notify_counters *ret);
#endif
