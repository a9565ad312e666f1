/* clock.h - time and quantities as text. Any thread. */
#ifndef PORTOLAN_CLOCK_H
#define PORTOLAN_CLOCK_H
#include <portolan/base.h>

int64_t ptl_mono_ms(void); /* CLOCK_MONOTONIC; for deadlines */
int64_t ptl_mono_us(void);
int64_t ptl_wall_ms(void);                            /* since 1970, UTC; for what people read */
void ptl_wall_rfc3339(int64_t wall_ms, char ret[32]); /* 2026-11-23T06:47:00.123Z */

/* "250ms", "20s", "30m", "2h", "1d", "1h30m", or a bare number of seconds ("90"). 0..366 days.
 * Returns 0 or -EINVAL with ret untouched. */
PTL_NODISCARD int ptl_duration_parse(const char *text, int64_t *ret_ms);
void ptl_duration_format(int64_t ms, char ret[32]); /* "1h 02m", "3m 20s", "4.2 s", "20 ms" */
/* "200KiB", "1.5MB", "3GiB", "512" (bytes). Binary and decimal prefixes both. 0..2^62. */
PTL_NODISCARD int ptl_size_parse(const char *text, int64_t *ret_bytes);
void ptl_size_format(int64_t bytes, char ret[32]); /* "1.4 MiB" */
#endif
