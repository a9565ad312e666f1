/* spool.h - an attempt's log on disk: DIR/log grows up to half of its quota (the head), the newest bytes
 * beyond it live in DIR/log.tail, a ring in a mapped file, until the end; then the cut is told and the tail
 * follows. What was once in DIR/log never changes, so it can be shipped by offset while it grows. One thread.
 */
#ifndef PTL_AGENT_SPOOL_H
#define PTL_AGENT_SPOOL_H
#include <portolan/base.h>

#define PTL_SPOOL_DEFAULT ((uint64_t)64 << 20)
#define PTL_SPOOL_MIN     ((uint64_t)16 << 10)

struct ptl_spool;
/* quota_bytes: 0 = PTL_SPOOL_DEFAULT, never less than PTL_SPOOL_MIN. The log must not exist with content yet.
 */
PTL_NODISCARD int ptl_spool_open(const char *dir, uint64_t quota_bytes, struct ptl_spool **ret,
                                 struct ptl_error *err);
/* Never blocks on anything but the disk and never fails: what cannot be written is counted and told at the
 * end. */
void ptl_spool_write(struct ptl_spool *s, const void *data, size_t len);
/* Completes the log. Returns 0, or the first negative errno of writing (the rest was still tried). Frees s.
 */
int ptl_spool_close(struct ptl_spool *s);
/* Completes the log of a spool whose owner was killed. Harmless when there is nothing to do, or done twice.
 */
int ptl_spool_recover(const char *dir, struct ptl_error *err);
#endif
