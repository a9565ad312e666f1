/* sql_set.c - reads the directives in the first comment lines of a statement, and finds the line and column
 * of a position that the server complains about. Pure functions. */
#include "sql_set.h"
#include <stdio.h>

static bool word_is(const char *at, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(at, word, len) == 0;
}

/* One comment line without its "--". */
static int parse_directive(const struct ptl_sql_text *t, int line, const char *at, size_t len,
                           struct ptl_sql_info *info, bool *write, struct ptl_error *err)
{
    static const char *const known[] = {"@read", "@write", "@repeatable", NULL};
    size_t n = strcspn(at, " \t\r\n");
    if (n > len)
        n = len;
    const char *rest = at + n;
    size_t rest_len = len - n;
    while (rest_len > 0 && (*rest == ' ' || *rest == '\t'))
        rest++, rest_len--;
    while (rest_len > 0 && (rest[rest_len - 1] == ' ' || rest[rest_len - 1] == '\r'))
        rest_len--;
    if (word_is(at, n, "@read") && rest_len == 0) {
        info->read = true;
    } else if (word_is(at, n, "@write") && (rest_len == 0 || word_is(rest, rest_len, "bulk"))) {
        *write = true;
        info->bulk = rest_len > 0;
    } else if (word_is(at, n, "@repeatable") && rest_len == 0) {
        info->repeatable = true;
    } else {
        char word[32];
        snprintf(word, sizeof(word), "%.*s", (int)n, at);
        const char *near = ptl_str_nearest(word, known);
        return ptl_error_set(err, -EINVAL,
                             "%s:%d: directive '%.*s' is not known here: @read, @write, @write bulk or "
                             "@repeatable alone on its line%s%s",
                             t->file, line, (int)(len > 60 ? 60 : len), at, near ? "; nearest: " : "",
                             near ? near : "");
    }
    return 0;
}

int ptl_sql_info_parse(const struct ptl_sql_text *t, struct ptl_sql_info *ret, struct ptl_error *err)
{
    struct ptl_sql_info info = {.n_params = -1};
    bool write = false;
    const char *p = t->text, *end = t->text + t->len;
    int line = 1;
    size_t name_len = strlen(t->name);
    if (strlen(t->text) != t->len)
        return ptl_error_set(err, -EINVAL, "%s: holds a NUL byte", t->file);
    for (; p < end; line++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol)
            eol = end;
        const char *at = p;
        while (at < eol && (*at == ' ' || *at == '\t'))
            at++;
        if (eol - at < 2 || at[0] != '-' || at[1] != '-')
            break;
        at += 2;
        while (at < eol && *at == ' ')
            at++;
        size_t len = (size_t)(eol - at);
        if (line == 1 && !(len > name_len && memcmp(at, t->name, name_len) == 0 && at[name_len] == ':'))
            return ptl_error_set(err, -EINVAL,
                                 "%s:1: the first line must be '-- %s: what it does', as the file is called",
                                 t->file, t->name);
        if (len > 0 && *at == '@') {
            int r = parse_directive(t, line, at, len, &info, &write, err);
            if (r < 0)
                return r;
        }
        p = eol < end ? eol + 1 : end;
    }
    if (line == 1)
        return ptl_error_set(err, -EINVAL, "%s:1: the first line must be '-- %s: what it does'", t->file,
                             t->name);
    if (info.read == write)
        return ptl_error_set(
            err, -EINVAL, "%s: its first comment lines must say either '-- @read' or '-- @write'", t->file);
    if (info.read && info.repeatable)
        return ptl_error_set(err, -EINVAL, "%s: '-- @repeatable' is for writes; a read always is", t->file);
    *ret = info;
    return 0;
}

void ptl_sql_where(const char *file, const char *text, long position, char *ret, size_t size)
{
    long line = 1, column = 1;
    for (const unsigned char *p = (const unsigned char *)text; *p && position > 1; p++) {
        if ((*p & 0xc0) == 0x80) /* inside a character */
            continue;
        position--;
        if (*p == '\n')
            line++, column = 1;
        else
            column++;
    }
    snprintf(ret, size, "%s:%ld:%ld", file, line, column);
}
