/* line_find.c - see line_find.h. A plain line (no escapes, no controls, within one piece) is looked at where
 * it lies; any other goes through a small state machine into a buffer. What may be an escape sequence stands
 * in the buffer as text until it is whole, so that one that never ends hides nothing: the page shows it too.
 */
#include "line_find.h"
#include <ctype.h>
#include <locale.h>
#include <portolan/buf.h>
#include <string.h>
#include <wctype.h>

enum { LINE_MAX_BYTES = 1 << 20 };
enum state { TEXT, ESC, INTERMEDIATE, CSI, OSC, OSC_ESC, STRING, STRING_ESC };

struct ptl_line_find {
    struct ptl_buf text, line, folded;
    locale_t locale; /* for capital letters beyond ASCII; 0: only those of ASCII */
    int64_t at;
    enum state state;
    size_t mark; /* in `line`: where what may be a sequence began */
    bool caseless, high, hit, returned;
};

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* One code point at p[0..n), or its first byte alone where it is no UTF-8. */
static size_t code_point(const unsigned char *p, size_t n, wint_t *ret)
{
    size_t len = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
    wint_t c = len == 4 ? p[0] & 7 : len == 3 ? p[0] & 15 : len == 2 ? p[0] & 31 : p[0];
    if (len > n || p[0] >= 0xf5)
        len = 1;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            len = 1;
            break;
        }
        c = c << 6 | (p[i] & 0x3f);
    }
    *ret = len == 1 ? p[0] : c;
    return len;
}

static void add_code_point(struct ptl_buf *b, wint_t c)
{
    char out[4];
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    (void)!ptl_buf_add(b, out, n);
}

static void fold(struct ptl_line_find *f, const char *data, size_t n, struct ptl_buf *ret)
{
    const unsigned char *p = (const unsigned char *)data;
    ptl_buf_clear(ret);
    for (size_t i = 0, len; i < n; i += len) {
        wint_t c;
        len = code_point(p + i, n - i, &c);
        if (len == 1)
            (void)!ptl_buf_putc(ret, (char)lower(p[i]));
        else if (f->locale)
            add_code_point(ret, towlower_l(c, f->locale));
        else
            (void)!ptl_buf_add(ret, p + i, len);
    }
}

struct ptl_line_find *ptl_line_find_new(const char *text, size_t len, bool caseless, int64_t line)
{
    struct ptl_line_find *f = ptl_xcalloc(1, sizeof(*f));
    f->caseless = caseless;
    f->at = line;
    if (caseless) {
        f->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        fold(f, text, len, &f->text);
    } else {
        (void)!ptl_buf_add(&f->text, text, len);
    }
    return f;
}

struct ptl_line_find *ptl_line_find_free(struct ptl_line_find *f)
{
    if (!f)
        return NULL;
    if (f->locale)
        freelocale(f->locale);
    ptl_buf_done(&f->text);
    ptl_buf_done(&f->line);
    ptl_buf_done(&f->folded);
    free(f);
    return NULL;
}

static bool holds(const struct ptl_line_find *f, const char *p, size_t n)
{
    return n >= f->text.len && memmem(p, n, f->text.data, f->text.len) != NULL;
}

/* Looks at the buffer and, unless the line is over, keeps of it what a find across its end needs. */
static void look(struct ptl_line_find *f, bool over)
{
    struct ptl_buf *b = &f->line;
    if (f->caseless && f->high) {
        fold(f, ptl_buf_str(b), b->len, &f->folded);
        f->hit = f->hit || holds(f, ptl_buf_str(&f->folded), f->folded.len);
    } else {
        f->hit = f->hit || (b->len && holds(f, b->data, b->len));
    }
    size_t keep = over ? 0 : 4 * f->text.len; /* folding makes at most four bytes of one */
    if (keep && keep < b->len)
        memmove(b->data, b->data + b->len - keep, keep);
    if (keep < b->len)
        b->len = keep;
}

static void line_clear(struct ptl_line_find *f)
{
    ptl_buf_clear(&f->line);
    f->state = TEXT;
    f->high = f->hit = f->returned = false;
}

/* A byte of text, or of what may turn out to be none. */
static void put(struct ptl_line_find *f, unsigned char c)
{
    struct ptl_buf *b = &f->line;
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return;
    if (b->len >= LINE_MAX_BYTES) {
        f->state = TEXT; /* a sequence of a MiB is none */
        look(f, false);
    }
    f->high = f->high || c >= 0x80;
    (void)!ptl_buf_putc(b, (char)(f->caseless ? lower(c) : c));
    if (b->len >= 3 && (unsigned char)b->data[b->len - 3] == 0xe2) { /* what turns the reading direction */
        unsigned char second = (unsigned char)b->data[b->len - 2];
        if ((second == 0x80 && (c == 0x8e || c == 0x8f || (c >= 0xaa && c <= 0xae))) ||
            (second == 0x81 && c >= 0xa6 && c <= 0xa9))
            b->len -= 3;
    }
}

static void sequence_begins(struct ptl_line_find *f)
{
    f->state = ESC;
    f->mark = f->line.len;
}

static void sequence_ends(struct ptl_line_find *f)
{
    if (f->mark < f->line.len)
        f->line.len = f->mark;
    f->state = TEXT;
}

static void step(struct ptl_line_find *f, unsigned char c)
{
    if (c == '\r') {
        f->returned = true;
        f->state = TEXT;
        return;
    }
    if (f->returned)
        line_clear(f); /* what comes now overwrites it */
    switch (f->state) {
    case ESC:
        f->state = TEXT;
        if (c == '[')
            f->state = CSI;
        else if (c == ']')
            f->state = OSC;
        else if (strchr("PX^_", c) && c)
            f->state = STRING;
        else if (c >= 0x20 && c < 0x30) {
            f->state = INTERMEDIATE;
            put(f, c);
        } else if (c == 0x1b)
            sequence_begins(f);
        else if (c < 0x30 || c > 0x7e)
            put(f, c);
        return;
    case INTERMEDIATE:
    case CSI:
        if (c >= (f->state == CSI ? 0x40 : 0x30) && c <= 0x7e) {
            sequence_ends(f);
        } else if (c >= 0x20 && c < 0x40) {
            put(f, c);
        } else {
            f->state = TEXT;
            step(f, c); /* it was none */
        }
        return;
    case OSC:
    case STRING:
        if (c == 0x07 && f->state == OSC)
            sequence_ends(f);
        else if (c == 0x1b)
            f->state = f->state == OSC ? OSC_ESC : STRING_ESC;
        else
            put(f, c);
        return;
    case OSC_ESC:
    case STRING_ESC:
        if (c == '\\') {
            sequence_ends(f);
        } else {
            sequence_begins(f);
            step(f, c);
        }
        return;
    case TEXT:
        if (c == 0x1b)
            sequence_begins(f);
        else
            put(f, c);
        return;
    }
}

/* True when the page shows these bytes as they are. */
static bool plain(const char *p, size_t n)
{
    unsigned odd = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        odd |= (unsigned)((c < 0x20 && c != '\t') || c >= 0x7f);
    }
    return !odd;
}

/* A plain line where it lies. */
static void whole(struct ptl_line_find *f, const char *p, size_t n)
{
    if (!f->caseless) {
        f->hit = holds(f, p, n);
        return;
    }
    if (ptl_buf_reserve(&f->line, n + 1) != 0)
        return;
    for (size_t i = 0; i < n; i++)
        f->line.data[i] = (char)lower((unsigned char)p[i]);
    f->hit = holds(f, f->line.data, n);
}

static bool line_ends(struct ptl_line_find *f, ptl_line_found_fn *fn, void *ctx)
{
    bool more = !f->hit || fn(ctx, f->at);
    f->at++;
    line_clear(f);
    return more;
}

size_t ptl_line_find_feed(struct ptl_line_find *f, const char *data, size_t len, ptl_line_found_fn *fn,
                          void *ctx)
{
    for (size_t at = 0; at < len;) {
        const char *p = data + at, *newline = memchr(p, '\n', len - at);
        size_t n = newline ? (size_t)(newline - p) : len - at;
        bool fresh = f->line.len == 0 && f->state == TEXT && !f->returned && !f->hit;
        if (newline && fresh && n <= LINE_MAX_BYTES && plain(p, n)) {
            whole(f, p, n);
        } else {
            for (size_t i = 0; i < n; i++)
                step(f, (unsigned char)p[i]);
            if (newline)
                look(f, true);
        }
        at += n + (newline != NULL);
        if (newline && !line_ends(f, fn, ctx))
            return at;
    }
    return len;
}

void ptl_line_find_end(struct ptl_line_find *f, ptl_line_found_fn *fn, void *ctx)
{
    look(f, true);
    if (f->hit)
        fn(ctx, f->at);
    line_clear(f);
}

int64_t ptl_line_find_line(const struct ptl_line_find *f)
{
    return f->at;
}
