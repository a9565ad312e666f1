/* text.c - from raw logs to clean lines. One pass, one buffer; where something is left out it is said. */
#include "text.h"
#include <stdio.h>

int ptl_kb_text_init(struct ptl_kb_text *t)
{
    *t = (struct ptl_kb_text){.buf = PTL_BUF_MAX((size_t)1 << 30), .cuts = json_array()};
    return t->cuts ? 0 : -ENOMEM;
}

void ptl_kb_text_done(struct ptl_kb_text *t)
{
    ptl_buf_done(&t->buf);
    free(t->lines);
    json_decref(t->cuts);
    *t = (struct ptl_kb_text){0};
}

/* Length of the UTF-8 sequence at p, 0 when it is none. Overlong forms and surrogates are none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char first, last, second_min, second_max;
        size_t len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(forms); i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last)
            continue;
        if (n < forms[i].len || p[1] < forms[i].second_min || p[1] > forms[i].second_max)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

/* Bytes of the escape sequence at p (p[0] is ESC): CSI, OSC and its kin, or two bytes. */
static size_t escape_len(const unsigned char *p, size_t n)
{
    size_t i = 2;
    if (n < 2)
        return n;
    if (p[1] == '[') {
        while (i < n && (p[i] < 0x40 || p[i] > 0x7e))
            i++;
        return i < n ? i + 1 : n;
    }
    if (p[1] == ']' || p[1] == 'P' || p[1] == '_' || p[1] == '^') {
        while (i < n && p[i] != 7 && !(p[i] == 0x1b && i + 1 < n && p[i + 1] == '\\'))
            i++;
        return i >= n ? n : p[i] == 7 ? i + 1 : i + 2;
    }
    return 2;
}

/* Most bytes of a log are plain: from here on, how many need nothing done? */
static size_t plain_run(const unsigned char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= 0x20 && p[i] < 0x7f)
        i++;
    return i;
}

static void clean_part(struct ptl_buf *out, size_t line_start, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t run = plain_run(p + i, n - i);
        if (run) {
            ptl_buf_add(out, p + i, run);
            i += run;
            continue;
        }
        unsigned char c = p[i];
        if (c == 0x1b) {
            i += escape_len(p + i, n - i);
        } else if (c == '\r') {
            if (i + 1 < n && !out->failed)
                out->len = line_start; /* what follows overwrites it */
            i++;
        } else if (c == '\b') {
            if (out->len > line_start)
                out->len--;
            i++;
        } else if (c < 0x80) {
            ptl_buf_putc(out, ' ');
            i++;
        } else {
            size_t k = utf8_len(p + i, n - i);
            if (k)
                ptl_buf_add(out, p + i, k);
            else
                ptl_buf_puts(out, "\xef\xbf\xbd");
            i += k ? k : 1;
        }
    }
}

static struct ptl_kb_line *line_new(struct ptl_kb_text *t)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 1024;
        struct ptl_kb_line *lines = realloc(t->lines, cap * sizeof(*lines));
        if (!lines)
            return NULL;
        t->lines = lines;
        t->cap = cap;
    }
    t->lines[t->n] = (struct ptl_kb_line){.start = (uint32_t)t->buf.len};
    return &t->lines[t->n];
}

static int add_line(struct ptl_kb_text *t, uint8_t source, uint32_t number, const char *log, size_t offset,
                    size_t len)
{
    struct ptl_kb_line *l = line_new(t);
    if (!l)
        return -ENOMEM;
    const unsigned char *p = (const unsigned char *)log + offset;
    size_t n = len;
    while (n > 0 && p[n - 1] == '\r')
        n--;
    /* A progress bar is one line of thousands of overwritten ones: only its end was ever to be read. */
    const unsigned char *last = n > PTL_KB_LINE_MAX ? memrchr(p, '\r', n) : NULL;
    if (last) {
        n -= (size_t)(last + 1 - p);
        p = last + 1;
    }
    if (n > PTL_KB_LINE_MAX) {
        size_t head = PTL_KB_LINE_MAX * 3 / 4, tail = PTL_KB_LINE_MAX / 4;
        t->cut_lines++;
        clean_part(&t->buf, l->start, p, head);
        ptl_buf_puts(&t->buf, " \xe2\x80\xa6 ");
        clean_part(&t->buf, t->buf.len, p + n - tail, tail);
    } else {
        clean_part(&t->buf, l->start, p, n);
    }
    if (t->buf.failed)
        return -ENOMEM;
    size_t end = t->buf.len;
    while (end > l->start && t->buf.data[end - 1] == ' ')
        end--;
    t->buf.len = end;
    if (end == l->start)
        return 0; /* nothing there: not a line for us */
    l->len = (uint32_t)(end - l->start);
    l->number = number;
    l->offset = offset;
    l->length = (uint32_t)(len > UINT32_MAX ? UINT32_MAX : len);
    l->source = source;
    t->n++;
    return ptl_buf_putc(&t->buf, '\n');
}

static uint32_t count_lines(const char *p, size_t n)
{
    uint32_t lines = 0;
    for (const char *end = p + n; p < end; lines++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        p = nl ? nl + 1 : end;
    }
    return lines;
}

/* The bytes [*from, *to) in the middle that are left out: both ends have half of the bytes and lines allowed.
 */
static void choose_gap(const char *log, size_t len, size_t *from, size_t *to)
{
    size_t half = PTL_KB_LOG_MAX / 2, head = 0, tail = len;
    for (int lines = 0; head < len && head < half && lines < PTL_KB_LINES_MAX / 2; lines++) {
        const char *nl = memchr(log + head, '\n', len - head);
        size_t next = nl ? (size_t)(nl - log) + 1 : len;
        head = next < half ? next : half < len ? half : next;
    }
    for (int lines = 0; tail > head && len - tail < half && lines < PTL_KB_LINES_MAX / 2; lines++) {
        const char *nl = memrchr(log + head, '\n', tail - head - 1);
        size_t next = nl ? (size_t)(nl - log) + 1 : head;
        tail = len - next <= half ? next : len - half;
    }
    *from = head;
    *to = tail > head ? tail : head;
}

int ptl_kb_text_add(struct ptl_kb_text *t, uint8_t source, const char *log, size_t len)
{
    size_t from, to;
    uint32_t number = 0;
    choose_gap(log, len, &from, &to);
    if (from < to &&
        json_array_append_new(
            t->cuts, json_sprintf("%zu bytes in the middle of the log were not looked at", to - from)) < 0)
        return -ENOMEM;
    for (size_t at = 0; at < len;) {
        if (at == from && from < to) {
            number += count_lines(log + at, to - at);
            at = to;
            continue;
        }
        size_t limit = at < from ? from : len;
        const char *nl = memchr(log + at, '\n', limit - at);
        size_t end = nl ? (size_t)(nl - log) : limit;
        int r = add_line(t, source, ++number, log, at, end - at);
        if (r < 0)
            return r;
        at = nl ? end + 1 : end;
    }
    return 0;
}

int ptl_kb_text_fact(struct ptl_kb_text *t, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof(text))
        n = (int)sizeof(text) - 1;
    struct ptl_kb_line *l = line_new(t);
    if (!l || n <= 0)
        return l ? 0 : -ENOMEM;
    ptl_buf_putc(&t->buf, 1);
    clean_part(&t->buf, l->start + 1, (unsigned char *)text, (size_t)n);
    l->len = (uint32_t)(t->buf.len - l->start);
    t->n++;
    return ptl_buf_putc(&t->buf, '\n');
}

size_t ptl_kb_text_find(const struct ptl_kb_text *t, uint64_t at, size_t hint)
{
    size_t lo = 0, hi = t->n;
    if (hint < t->n && t->lines[hint].start <= at) {
        for (size_t k = hint; k < hint + 4 && k < t->n; k++)
            if (at <= (uint64_t)t->lines[k].start + t->lines[k].len)
                return k;
        lo = hint;
    }
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->lines[mid].start <= at)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}
