/* ini.c - reads .gitmodules and .lfsconfig as they lie in a commit.
 *
 * libgit2 has a parser for this format, but it follows include.path to files of this host and reads from a
 * file only; these two come from whoever can push. So: sections, subsections, "key = value" with quotes,
 * escapes, comments and continued lines, and nothing else. Linear in the input, no recursion, no I/O. */
#include "git-private.h"
#include <ctype.h>

enum { INI_BYTES_MAX = 256 * 1024, INI_WORD_MAX = 2048, INI_ENTRIES_MAX = 5000 };

struct ini {
    const char *p, *end;
    unsigned line;
    char section[INI_WORD_MAX], sub[INI_WORD_MAX], key[INI_WORD_MAX], value[INI_WORD_MAX];
    struct ptl_error *err;
};

static int bad(struct ini *s, const char *why)
{
    return ptl_error_set(s->err, -EINVAL, "line %u: %s", s->line, why);
}

static int peek(const struct ini *s)
{
    return s->p < s->end ? (unsigned char)*s->p : -1;
}

static void skip_line(struct ini *s)
{
    while (peek(s) >= 0 && peek(s) != '\n')
        s->p++;
}

static void skip_blank(struct ini *s)
{
    while (peek(s) == ' ' || peek(s) == '\t' || peek(s) == '\r')
        s->p++;
}

static bool put(char *word, size_t *n, int c)
{
    if (*n + 1 >= INI_WORD_MAX || c == 0)
        return false;
    word[(*n)++] = (char)c;
    word[*n] = '\0';
    return true;
}

/* [section], [section "sub"], [section.sub] */
static int read_header(struct ini *s)
{
    size_t n = 0, m = 0;
    s->section[0] = s->sub[0] = '\0';
    s->p++;
    skip_blank(s);
    for (int c; (c = peek(s)) >= 0 && (isalnum(c) || c == '-'); s->p++)
        if (!put(s->section, &n, tolower(c)))
            return bad(s, "the section's name is too long");
    if (peek(s) == '.')
        for (s->p++; peek(s) >= 0 && (isalnum(peek(s)) || strchr("-._/", peek(s))); s->p++)
            if (!put(s->sub, &m, tolower(peek(s))))
                return bad(s, "the section's name is too long");
    skip_blank(s);
    if (peek(s) == '"') {
        for (s->p++; peek(s) != '"'; s->p++) {
            if (peek(s) == '\\')
                s->p++;
            if (peek(s) < 0 || peek(s) == '\n' || !put(s->sub, &m, peek(s)))
                return bad(s, "a subsection's name without closing quote, or too long");
        }
        s->p++;
    }
    skip_blank(s);
    if (peek(s) != ']' || n == 0)
        return bad(s, "[section] or [section \"name\"] is expected");
    s->p++;
    return 0;
}

static int read_escape(struct ini *s, size_t *n, size_t *keep)
{
    s->p++;
    int c = peek(s);
    if (c == '\r' && s->p + 1 < s->end && s->p[1] == '\n')
        c = *++s->p;
    if (c == '\n') { /* the value goes on in the next line */
        s->line++;
        return 0;
    }
    static const char from[] = "ntb\"\\", to[] = "\n\t\b\"\\";
    const char *at = c > 0 ? strchr(from, c) : NULL;
    if (!at || !put(s->value, n, to[at - from]))
        return bad(s, "unknown escape in a value");
    *keep = *n;
    return 0;
}

static int read_value(struct ini *s)
{
    size_t n = 0, keep = 0; /* blanks behind `keep` are not part of the value */
    bool quoted = false;
    s->value[0] = '\0';
    for (int c; (c = peek(s)) >= 0 && c != '\n'; s->p++) {
        if (c == '"') {
            quoted = !quoted;
            keep = n;
        } else if (c == '\\') {
            int r = read_escape(s, &n, &keep);
            if (r < 0)
                return r;
        } else if (!quoted && (c == '#' || c == ';')) {
            skip_line(s);
            break;
        } else if (!put(s->value, &n, c)) {
            return bad(s, "a value with a NUL byte, or too long");
        } else if (quoted || !isspace(c)) {
            keep = n;
        }
    }
    if (quoted)
        return bad(s, "a quote is not closed");
    s->value[keep] = '\0';
    return 0;
}

static int read_entry(struct ini *s)
{
    size_t n = 0;
    s->key[0] = '\0';
    for (int c; (c = peek(s)) >= 0 && (isalnum(c) || c == '-'); s->p++)
        if (!put(s->key, &n, tolower(c)))
            return bad(s, "a key is too long");
    skip_blank(s);
    if (n == 0)
        return bad(s, "\"key = value\" is expected");
    if (peek(s) != '=') { /* a key alone means true */
        strcpy(s->value, "true");
        skip_line(s);
        return 0;
    }
    s->p++;
    skip_blank(s);
    return read_value(s);
}

int git_ini_parse(const char *text, size_t len, git_ini_fn *fn, void *ctx, struct ptl_error *err)
{
    if (len > INI_BYTES_MAX)
        return ptl_error_set(err, -EFBIG, "larger than %d KiB", INI_BYTES_MAX / 1024);
    PTL_FREE struct ini *s = calloc(1, sizeof(*s));
    if (!s)
        return ptl_error_set(err, -ENOMEM, "out of memory");
    *s = (struct ini){.p = text, .end = text + len, .line = 1, .err = err};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        s->p += 3;
    unsigned entries = 0;
    while (s->p < s->end) {
        int c = peek(s), r = 0;
        if (c == '\n') {
            s->line++;
            s->p++;
        } else if (isspace(c)) {
            s->p++;
        } else if (c == '#' || c == ';') {
            skip_line(s);
        } else if (c == '[') {
            r = read_header(s);
        } else if (++entries > INI_ENTRIES_MAX) {
            r = bad(s, "too many entries");
        } else if ((r = read_entry(s)) == 0) {
            r = fn(ctx, s->section, s->sub, s->key, s->value);
        }
        if (r)
            return r;
    }
    return 0;
}
