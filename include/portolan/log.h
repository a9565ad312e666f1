/* log.h - one line per event on stderr: what happened, to which object, why, what happens next.
 * Any thread. Levels: error needs a person; warning was survived and says so; info is a state change worth
 * reading next month; debug is for the author. */
#ifndef PORTOLAN_LOG_H
#define PORTOLAN_LOG_H
#include <portolan/base.h>

enum ptl_log_level { PTL_LOG_ERROR, PTL_LOG_WARNING, PTL_LOG_INFO, PTL_LOG_DEBUG };

/* `program` is borrowed for ever. Text lines "2026-… level program: message"; journald "<3>…" prefixes when
 * $JOURNAL_STREAM is set. Level from $PORTOLAN_LOG (error|warning|info|debug), default info. */
void ptl_log_init(const char *program);
void ptl_log_set_level(enum ptl_log_level level);
/* Any later message has each occurrence of `secret` (>= 4 bytes) replaced by "***". At most 64 are kept;
 * returns -ENOSPC beyond that. Copies. */
int ptl_log_mask(const char *secret);
void ptl_log(enum ptl_log_level level, const char *fmt, ...) PTL_PRINTF(2, 3);
#define ptl_log_error(...)   ptl_log(PTL_LOG_ERROR, __VA_ARGS__)
#define ptl_log_warning(...) ptl_log(PTL_LOG_WARNING, __VA_ARGS__)
#define ptl_log_info(...)    ptl_log(PTL_LOG_INFO, __VA_ARGS__)
#define ptl_log_debug(...)   ptl_log(PTL_LOG_DEBUG, __VA_ARGS__)
#endif
