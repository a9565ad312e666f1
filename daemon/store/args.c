/* args.c - builds the parameters of one statement in one buffer. Text form everywhere but bytea, which goes
 * as raw bytes. Failures stick, so that callers build a list without looking and the statement answers with
 * the error. */
#include "store.h"
#include <math.h>
#include <stdio.h>

enum {
    ARGS_BYTES_MAX = 64 << 20
}; /* far above a log chunk (1 MiB) or a stored pipeline file; bounds one statement */

void ptl_args_init(struct ptl_args *a)
{
    a->buf = (struct ptl_buf)PTL_BUF_MAX(ARGS_BYTES_MAX);
    a->n = 0;
    a->failed = 0;
}

void ptl_args_done(struct ptl_args *a)
{
    ptl_buf_done(&a->buf);
    a->n = 0;
}

static struct ptl_arg *next(struct ptl_args *a)
{
    if (a->n >= PTL_ARGS_MAX) {
        if (!a->failed)
            a->failed = -E2BIG;
        return NULL;
    }
    struct ptl_arg *v = &a->v[a->n++];
    *v = (struct ptl_arg){.offset = a->buf.len};
    return v;
}

/* What was appended since next() is the value; closes it with a NUL byte. */
static void end(struct ptl_args *a, struct ptl_arg *v)
{
    v->len = a->buf.len - v->offset;
    ptl_buf_putc(&a->buf, 0);
    if (a->buf.failed && !a->failed)
        a->failed = a->buf.failed;
}

void ptl_args_null(struct ptl_args *a)
{
    struct ptl_arg *v = next(a);
    if (v)
        v->null = true;
}

void ptl_args_strn(struct ptl_args *a, const char *s, size_t len)
{
    struct ptl_arg *v = next(a);
    if (!v)
        return;
    if (memchr(s, 0, len) && !a->failed)
        a->failed = -EILSEQ; /* text in PostgreSQL has no NUL; bytea does */
    ptl_buf_add(&a->buf, s, len);
    end(a, v);
}

void ptl_args_str(struct ptl_args *a, const char *s)
{
    if (s)
        ptl_args_strn(a, s, strlen(s));
    else
        ptl_args_null(a);
}

void ptl_args_i64(struct ptl_args *a, int64_t n)
{
    struct ptl_arg *v = next(a);
    if (!v)
        return;
    ptl_buf_printf(&a->buf, "%lld", (long long)n);
    end(a, v);
}

void ptl_args_f64(struct ptl_args *a, double d)
{
    struct ptl_arg *v = next(a);
    if (!v)
        return;
    if (isfinite(d))
        ptl_buf_printf(&a->buf, "%.17g", d);
    else
        ptl_buf_puts(&a->buf, isnan(d) ? "NaN" : d < 0 ? "-Infinity" : "Infinity");
    end(a, v);
}

void ptl_args_bool(struct ptl_args *a, bool b)
{
    ptl_args_strn(a, b ? "t" : "f", 1);
}

void ptl_args_json(struct ptl_args *a, const json_t *j)
{
    if (!j || json_is_null(j)) {
        ptl_args_null(a);
        return;
    }
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) {
        if (!a->failed)
            a->failed = -ENOMEM;
        ptl_args_null(a);
        return;
    }
    ptl_args_str(a, text);
    free(text);
}

void ptl_args_bytes(struct ptl_args *a, const void *p, size_t len)
{
    struct ptl_arg *v = next(a);
    if (!v)
        return;
    if (!p) {
        v->null = true;
        return;
    }
    v->binary = true;
    ptl_buf_add(&a->buf, p, len);
    end(a, v);
}

void ptl_args_i64_array(struct ptl_args *a, const int64_t *n, size_t count)
{
    struct ptl_arg *v = next(a);
    if (!v)
        return;
    ptl_buf_putc(&a->buf, '{');
    for (size_t i = 0; i < count; i++)
        ptl_buf_printf(&a->buf, i ? ",%lld" : "%lld", (long long)n[i]);
    ptl_buf_putc(&a->buf, '}');
    end(a, v);
}

void ptl_args_text_array(struct ptl_args *a, const char *const *s, size_t count)
{
    struct ptl_arg *v = next(a);
    if (!v)
        return;
    ptl_buf_putc(&a->buf, '{');
    for (size_t i = 0; i < count; i++) {
        if (i)
            ptl_buf_putc(&a->buf, ',');
        if (!s[i]) {
            ptl_buf_puts(&a->buf, "NULL");
            continue;
        }
        ptl_buf_putc(&a->buf, '"'); /* always quoted: then NULL, commas, braces and blanks are plain text */
        for (const char *p = s[i]; *p;) {
            size_t plain = strcspn(p, "\"\\");
            ptl_buf_add(&a->buf, p, plain);
            p += plain;
            if (*p) {
                ptl_buf_putc(&a->buf, '\\');
                ptl_buf_putc(&a->buf, *p++);
            }
        }
        ptl_buf_putc(&a->buf, '"');
    }
    ptl_buf_putc(&a->buf, '}');
    end(a, v);
}
