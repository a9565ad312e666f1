/* logger.h - everything an attempt prints goes into one pipe, through the mask, into the spool: a thread of
 * its own, so that nothing that writes can pass the mask by. */
#ifndef PTL_AGENT_LOGGER_H
#define PTL_AGENT_LOGGER_H
#include "mask.h"
#include "spool.h"

struct ptl_logger;
/* Takes mask and spool in any case. On success the write end is ptl_logger_fd(): hand it to children. */
PTL_NODISCARD int ptl_logger_new(struct ptl_mask *mask, struct ptl_spool *spool, struct ptl_logger **ret,
                                 struct ptl_error *err);
int ptl_logger_fd(const struct ptl_logger *l); /* borrowed; blocking writes */
/* One line "[portolan] …". Any thread. */
void ptl_logger_line(struct ptl_logger *l, const char *fmt, ...) PTL_PRINTF(2, 3);
/* Closes our write end, waits for the rest to drain (at most drain_ms, should a stray child still hold the
 * pipe), completes the spool. Returns what ptl_spool_close() returned; -ETIMEDOUT when writers were left.
 * Frees l. */
int ptl_logger_close(struct ptl_logger *l, int64_t drain_ms);
#endif
