/* base.c - errors, small string helpers. No state; any thread. */
#include <portolan/base.h>
#include <stdio.h>

/* A sentence often quotes a log line, a file name, a header: nothing in it may steer a terminal. */
static void clean_text(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
            *p = '?';
}

static void mark_cut(char *text, size_t size, int needed)
{
    if (needed >= (int)size) {
        static const char dots[] = "\xe2\x80\xa6"; /* … */
        size_t at = size - sizeof(dots);
        while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) /* never inside a UTF-8 sequence */
            at--;
        memcpy(text + at, dots, sizeof(dots));
    }
}

int ptl_error_set(struct ptl_error *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    err->code = code;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    mark_cut(err->text, sizeof(err->text), n);
    clean_text(err->text);
    return code;
}

int ptl_error_prefix(struct ptl_error *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    char old[sizeof(err->text)];
    memcpy(old, err->text, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    if (n < (int)sizeof(err->text)) {
        int more = snprintf(err->text + n, sizeof(err->text) - (size_t)n, ": %s", old);
        n += more;
    }
    mark_cut(err->text, sizeof(err->text), n);
    clean_text(err->text);
    if (!err->code)
        err->code = code;
    return err->code;
}

_Noreturn static void out_of_memory(void)
{
    fputs("out of memory\n", stderr);
    abort();
}

void *ptl_xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

char *ptl_xstrdup(const char *s)
{
    if (!s)
        return NULL;
    char *p = strdup(s);
    if (!p)
        out_of_memory();
    return p;
}

char *ptl_xasprintf(const char *fmt, ...)
{
    char *p = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory();
    return p;
}

bool ptl_str_starts(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

size_t ptl_count_byte(const void *data, size_t len, char c)
{
    size_t n = 0;
    const char *p = data, *end = p + len;
    while (len && (p = memchr(p, c, (size_t)(end - p))) != NULL) {
        n++;
        if (++p == end)
            break;
    }
    return n;
}

bool ptl_str_ends(const char *s, const char *suffix)
{
    if (!s)
        return false;
    size_t a = strlen(s), b = strlen(suffix);
    return a >= b && memcmp(s + a - b, suffix, b) == 0;
}

/* Damerau-Levenshtein (adjacent swaps count one), bounded: words of more than 63 bytes are never near
 * anything. */
static int edit_distance(const char *a, size_t la, const char *b, size_t lb)
{
    int d[65][65];
    for (size_t i = 0; i <= la; i++)
        d[i][0] = (int)i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= la; i++)
        for (size_t j = 1; j <= lb; j++) {
            int same = a[i - 1] == b[j - 1] ? 0 : 1;
            int v = d[i - 1][j - 1] + same;
            if (d[i - 1][j] + 1 < v)
                v = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < v)
                v = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < v)
                v = d[i - 2][j - 2] + 1;
            d[i][j] = v;
        }
    return d[la][lb];
}

const char *ptl_str_nearest(const char *word, const char *const *choices)
{
    size_t lw = word ? strlen(word) : 0;
    if (lw == 0 || lw > 63)
        return NULL;
    int limit = 1 + (int)lw / 4;
    if (limit > 3)
        limit = 3;
    const char *best = NULL;
    int best_d = limit + 1;
    for (size_t i = 0; choices[i]; i++) {
        size_t lc = strlen(choices[i]);
        if (lc > 63)
            continue;
        int d = edit_distance(word, lw, choices[i], lc);
        if (d < best_d) {
            best_d = d;
            best = choices[i];
        }
    }
    return best;
}

/* Two restart points instead of recursion: the last '**' and the last '*' after it. Work is bounded by the
 * product of the two lengths even for hostile patterns. */
bool ptl_str_glob(const char *p, const char *t)
{
    const char *star_p = NULL, *star_t = NULL;   /* last single star */
    const char *dstar_p = NULL, *dstar_t = NULL; /* last double star */
    for (;;) {
        if (p[0] == '*' && p[1] == '*') {
            p += 2;
            if (*p == '/') { /* "**" followed by "/" also matches nothing at all */
                const char *rest = p + 1;
                dstar_p = rest;
                dstar_t = t;
                star_p = NULL;
                p = rest;
                continue;
            }
            dstar_p = p;
            dstar_t = t;
            star_p = NULL;
            continue;
        }
        if (*p == '*') {
            star_p = ++p;
            star_t = t;
            continue;
        }
        if (*t == '\0' && *p == '\0')
            return true;
        if (*t && ((*p == '?' && *t != '/') || (*p == *t && *p))) {
            p++;
            t++;
            continue;
        }
        if (star_p && *star_t && *star_t != '/') {
            t = ++star_t;
            p = star_p;
            continue;
        }
        if (dstar_p && *dstar_t) {
            t = ++dstar_t;
            p = dstar_p;
            star_p = NULL;
            continue;
        }
        return false;
    }
}
