/* text.c - what came from outside, as text that a terminal may see: cleaned, measured, cut; times in the
 * local zone, numbers with their units. Pure but for the time zone and the locale's table of character
 * widths. */
#include "cli.h"
#include <math.h>
#include <portolan/clock.h>
#include <time.h>
#include <wchar.h>

/* One code point of UTF-8 at p (n bytes left): its length, or 0 when it is none. */
static size_t decode(const unsigned char *p, size_t n, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (p[0] >= 0xf5 || len == 0 || len > n)
        return 0;
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *ret = c;
    return len;
}

/* C0, DEL, C1, and what reorders the characters around it (a line must read as it is). */
static bool steers(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x061c || c == 0x2028 ||
           c == 0x2029;
}

char *cli_clean(const char *s)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t n = s ? strlen(s) : 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = decode((const unsigned char *)s + i, n - i, &c);
        if (len == 0)
            ptl_buf_putc(&b, '?');
        else if (c == '\n' || c == '\t' || c == '\r')
            ptl_buf_putc(&b, ' ');
        else if (steers(c))
            ptl_buf_putc(&b, '?');
        else
            ptl_buf_add(&b, s + i, len);
        i += len ? len : 1;
    }
    char *text = ptl_buf_take(&b, NULL);
    return text ? text : ptl_xstrdup("");
}

static size_t columns_of(uint32_t c)
{
    int w = wcwidth((wchar_t)c); /* needs a UTF-8 locale: cli_main sees to it */
    return w < 0 ? 1 : (size_t)w;
}

size_t cli_width(const char *s)
{
    size_t w = 0, n = strlen(s);
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = decode((const unsigned char *)s + i, n - i, &c);
        w += len ? columns_of(c) : 1;
        i += len ? len : 1;
    }
    return w;
}

char *cli_cut(const char *s, size_t columns)
{
    if (cli_width(s) <= columns)
        return ptl_xstrdup(s);
    size_t w = 0, n = strlen(s), i = 0;
    while (i < n && columns > 0) {
        uint32_t c = ' ';
        size_t len = decode((const unsigned char *)s + i, n - i, &c), cw = len ? columns_of(c) : 1;
        if (w + cw > columns - 1)
            break;
        w += cw;
        i += len ? len : 1;
    }
    return ptl_xasprintf("%.*s%s", (int)i, s, columns ? "\xe2\x80\xa6" : "");
}

/* ---- logs ---- */

static void put_cleaned(struct ptl_buf *b, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = decode(p + i, n - i, &c);
        if (len == 0 || (steers(c) && c != '\n' && c != '\t'))
            ptl_buf_putc(b, '?');
        else
            ptl_buf_add(b, p + i, len);
        i += len ? len : 1;
    }
}

/* The length of a colour sequence ESC [ digits ; … m at p; 0: it is none; SIZE_MAX: it may become one. */
static size_t colour(const unsigned char *p, size_t n, size_t max)
{
    if (n < 2)
        return SIZE_MAX;
    if (p[1] != '[')
        return 0;
    for (size_t i = 2; i < n && i < max; i++) {
        if (p[i] == 'm')
            return i + 1;
        if (p[i] != ';' && (p[i] < '0' || p[i] > '9'))
            return 0;
    }
    return n < max ? SIZE_MAX : 0;
}

/* How many bytes at the end of p are the begin of a character that is not whole yet. */
static size_t unfinished(const unsigned char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = p[n - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
        return want > back ? back : 0;
    }
    return 0;
}

void cli_log_clean(struct cli_log_filter *f, const void *data, size_t len, struct ptl_buf *ret)
{
    PTL_BUF in = PTL_BUF_INIT;
    ptl_buf_add(&in, f->held, f->n);
    ptl_buf_add(&in, data, len);
    f->n = 0;
    const unsigned char *p = (const unsigned char *)ptl_buf_str(&in);
    size_t n = in.len, from = 0, i = 0;
    while (i < n) {
        size_t c = p[i] == 0x1b ? colour(p + i, n - i, sizeof(f->held)) : 1;
        if (p[i] == 0x1b && c == SIZE_MAX)
            break;
        if (p[i] == 0x1b && c > 0) {
            put_cleaned(ret, p + from, i - from);
            ptl_buf_add(ret, p + i, c);
            from = i += c;
            f->after_cr = false;
        } else if (p[i] == '\r') { /* a lone one draws over what was read already: a new line instead */
            put_cleaned(ret, p + from, i - from);
            ptl_buf_putc(ret, '\n');
            from = ++i;
            f->after_cr = true;
        } else if (p[i] == '\n' && f->after_cr) {
            from = ++i;
            f->after_cr = false;
        } else {
            f->after_cr = false;
            i++;
        }
    }
    size_t keep = i < n ? n - i : unfinished(p + from, i - from);
    put_cleaned(ret, p + from, n - keep - from);
    memcpy(f->held, p + n - keep, keep);
    f->n = keep;
}

/* ---- times and numbers ---- */

int64_t cli_time_parse(const char *s)
{
    struct tm tm = {0};
    char *end = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!end)
        return -1;
    double part = 0;
    if (*end == '.')
        part = strtod(end, &end);
    if (!ptl_str_eq(end, "Z") && !ptl_str_eq(end, "+00:00"))
        return -1;
    return (int64_t)timegm(&tm) * 1000 + (int64_t)(part * 1000);
}

void cli_time_local(int64_t wall_ms, char ret[32])
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (!localtime_r(&t, &tm) || strftime(ret, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(ret, 32, "-");
}

const char *cli_time_of(const json_t *o, const char *key, char ret[32])
{
    int64_t t = cli_time_parse(ptl_json_str(o, key, NULL));
    if (t < 0)
        snprintf(ret, 32, "-");
    else
        cli_time_local(t, ret);
    return ret;
}

void cli_number(const json_t *v, const char *kind, char ret[32])
{
    if (json_is_string(v)) { /* "nan", "inf" */
        PTL_FREE char *text = cli_clean(json_string_value(v));
        snprintf(ret, 32, "%.20s", text);
        return;
    }
    double x = json_number_value(v);
    if (!json_is_number(v))
        snprintf(ret, 32, "-");
    else if (ptl_str_eq(kind, "share"))
        snprintf(ret, 32, "%.4g %%", 100 * x);
    else if (ptl_str_eq(kind, "bytes"))
        ptl_size_format((int64_t)x, ret);
    else if (ptl_str_eq(kind, "cosine"))
        snprintf(ret, 32, "%.6f", x);
    else if (ptl_str_eq(kind, "ms") && fabs(x) < 1000)
        snprintf(ret, 32, "%.3g ms", x);
    else if (ptl_str_eq(kind, "ms"))
        ptl_duration_format((int64_t)x, ret);
    else
        snprintf(ret, 32, "%.3g", x);
}
