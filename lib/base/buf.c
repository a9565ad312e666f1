/* buf.c - a growing byte buffer with a hard bound and a sticky failure. */
#include <portolan/buf.h>
#include <stdio.h>

static const size_t DEFAULT_MAX = (size_t)1 << 30;

void ptl_buf_done(struct ptl_buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
    b->failed = 0;
}

void ptl_buf_clear(struct ptl_buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = 0;
}

static int fail(struct ptl_buf *b, int code)
{
    if (!b->failed)
        b->failed = code;
    return code;
}

int ptl_buf_reserve(struct ptl_buf *b, size_t more)
{
    size_t max = b->max ? b->max : DEFAULT_MAX;
    if (more > max || b->len > max - more)
        return fail(b, -E2BIG);
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    char *p = realloc(b->data, cap);
    if (!p)
        return fail(b, -ENOMEM);
    b->data = p;
    b->cap = cap;
    b->data[b->len] = 0;
    return 0;
}

int ptl_buf_add(struct ptl_buf *b, const void *data, size_t len)
{
    int r = ptl_buf_reserve(b, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return 0;
}

int ptl_buf_puts(struct ptl_buf *b, const char *s)
{
    return ptl_buf_add(b, s, strlen(s));
}

int ptl_buf_putc(struct ptl_buf *b, char c)
{
    return ptl_buf_add(b, &c, 1);
}

int ptl_buf_printf(struct ptl_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return fail(b, -EINVAL);
    int r = ptl_buf_reserve(b, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

char *ptl_buf_take(struct ptl_buf *b, size_t *ret_len)
{
    if (!b->data && ptl_buf_reserve(b, 0) < 0)
        return NULL;
    char *p = b->data;
    if (ret_len)
        *ret_len = b->len;
    b->data = NULL;
    b->len = b->cap = 0;
    b->failed = 0;
    return p;
}
