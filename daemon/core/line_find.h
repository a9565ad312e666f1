/* line_find.h - the lines of a log that hold a text, as a page shows lines: without what a terminal would
 * obey, and of what overwrote itself by carriage returns only what stood in the end. A log comes in pieces of
 * any size. Time is linear in its bytes whatever the text is; memory has a bound: a line's first MiB is
 * looked at in one piece, what is longer in pieces that overlap by the text. Pure: any thread, one at a time.
 */
#ifndef PTL_LINE_FIND_H
#define PTL_LINE_FIND_H
#include <portolan/base.h>

struct ptl_line_find;
/* `line` counts from 0. False: enough, no more of this. */
typedef bool ptl_line_found_fn(void *ctx, int64_t line);

/* `text` (1 byte or more, UTF-8) is copied; `line` is the number of the first line that will come. */
struct ptl_line_find *ptl_line_find_new(const char *text, size_t len, bool caseless, int64_t line);
struct ptl_line_find *ptl_line_find_free(struct ptl_line_find *f); /* NULL ok; returns NULL */
/* Returns the bytes taken: all of them, or up to and with the newline of the line at which `fn` said enough.
 */
size_t ptl_line_find_feed(struct ptl_line_find *f, const char *data, size_t len, ptl_line_found_fn *fn,
                          void *ctx);
/* What stands behind the last newline is a line too. */
void ptl_line_find_end(struct ptl_line_find *f, ptl_line_found_fn *fn, void *ctx);
int64_t ptl_line_find_line(const struct ptl_line_find *f); /* newlines passed, with those before the first */
#endif
