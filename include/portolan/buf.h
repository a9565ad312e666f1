/* buf.h - a growing byte buffer with a hard bound. Always NUL-terminated behind `len`. Not shared between
 * threads. */
#ifndef PORTOLAN_BUF_H
#define PORTOLAN_BUF_H
#include <portolan/base.h>

struct ptl_buf {
    char *data; /* NULL while empty and never written; else data[len] == 0 */
    size_t len, cap;
    size_t max; /* bytes; 0 means 1 GiB */
    int failed; /* sticky: first -ENOMEM or -E2BIG of any append, so that chains check once at the end */
};
#define PTL_BUF_INIT                                                                                         \
    {                                                                                                        \
        0                                                                                                    \
    }
#define PTL_BUF_MAX(n)                                                                                       \
    {                                                                                                        \
        .max = (n)                                                                                           \
    }

void ptl_buf_done(struct ptl_buf *b);  /* frees the contents, leaves it empty and usable */
void ptl_buf_clear(struct ptl_buf *b); /* len = 0, keeps the memory */
/* Appends return 0 or a negative errno, with nothing appended then; the failure also sticks in b->failed. */
int ptl_buf_add(struct ptl_buf *b, const void *data, size_t len);
int ptl_buf_puts(struct ptl_buf *b, const char *s);
int ptl_buf_putc(struct ptl_buf *b, char c);
int ptl_buf_printf(struct ptl_buf *b, const char *fmt, ...) PTL_PRINTF(2, 3);
int ptl_buf_reserve(struct ptl_buf *b, size_t more); /* room for `more` bytes behind len */
/* Hands the bytes over (caller frees; never NULL unless out of memory) and empties b. ret_len may be NULL. */
char *ptl_buf_take(struct ptl_buf *b, size_t *ret_len);
static inline const char *ptl_buf_str(const struct ptl_buf *b)
{
    return b->data ? b->data : "";
}
#define PTL_BUF PTL_CLEANUP(ptl_buf_done) struct ptl_buf
#endif
