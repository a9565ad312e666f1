/* failure_filter.c - reads the filters of a search. What people type in `q`: words in any form ("quantized"
 * finds "quantization"), "quoted texts" as they stand, -words that must not be there. */
#include "failure_filter.h"
#include <portolan/clock.h>
#include <portolan/buf.h>
#include <ctype.h>
#include <stdio.h>

enum { VALUE_MAX = 200, QUERY_MAX = 500, QUOTES_MAX = 8 };

void ptl_failure_filter_done(struct ptl_failure_filter *f)
{
    json_decref(f->terms);
    *f = (struct ptl_failure_filter){0};
}

static bool has_word(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isalnum((unsigned char)s[i]) || (unsigned char)s[i] >= 0x80)
            return true;
    return false;
}

/* A filter that is no text would be left out, and what is found be taken for what was asked. */
static int check_text(const char *name, const char *value, size_t max, struct ptl_error *err)
{
    if (strlen(value) > max)
        return ptl_error_set(err, -EINVAL, "%s: expected at most %zu bytes", name, max);
    PTL_JSON *text = json_string(value);
    return text ? 0 : ptl_error_set(err, -EINVAL, "%s: expected text in UTF-8", name);
}

/* ---- q */
static int read_words(const char *q, struct ptl_failure_filter *f, struct ptl_error *err)
{
    PTL_BUF words = PTL_BUF_MAX(2 * QUERY_MAX);
    PTL_JSON *exact = json_array(), *without = json_array();
    int r = check_text("q", q, QUERY_MAX, err);
    if (r < 0)
        return r;
    for (const char *p = q; *p;) {
        if (isspace((unsigned char)*p)) {
            p++;
            continue;
        }
        bool minus = *p == '-' && p[1] && !isspace((unsigned char)p[1]);
        p += minus;
        if (*p == '"') {
            const char *end = strchr(p + 1, '"');
            size_t n = end ? (size_t)(end - p - 1) : strlen(p + 1);
            if (!has_word(p + 1, n))
                return ptl_error_set(err, -EINVAL,
                                     "q: a quoted text needs a letter or a digit, to be looked up by");
            if (json_array_size(exact) + json_array_size(without) == QUOTES_MAX)
                return ptl_error_set(err, -EINVAL, "q: at most %d quoted or excluded texts", QUOTES_MAX);
            json_array_append_new(minus ? without : exact, json_stringn(p + 1, n));
            p = end ? end + 1 : p + 1 + n;
            continue;
        }
        size_t n = strcspn(p, " \t\r\n\"");
        if (minus && json_array_size(exact) + json_array_size(without) == QUOTES_MAX)
            return ptl_error_set(err, -EINVAL, "q: at most %d quoted or excluded texts", QUOTES_MAX);
        if (minus && has_word(p, n)) {
            json_array_append_new(without, json_stringn(p, n));
        } else if (has_word(p, n)) {
            ptl_buf_putc(&words, ' ');
            ptl_buf_add(&words, p, n);
        }
        p += n;
    }
    if (words.len)
        json_object_set_new(f->terms, "words", json_string(ptl_buf_str(&words) + 1));
    if (json_array_size(exact))
        json_object_set(f->terms, "exact", exact);
    if (json_array_size(without))
        json_object_set(f->terms, "not", without);
    f->words = words.len || json_array_size(exact);
    return 0;
}

/* ---- version: "2.16" (all of 2.16), "==2.16.1", ">=2.15,<2.18" */
static int read_version(const char *text, const char *tool, struct ptl_failure_filter *f,
                        struct ptl_error *err)
{
    static const struct {
        const char *op, *key, *open;
    } ops[] = {
        {">=", "from",   NULL       },
        {"<=", "to",     NULL       },
        {"==", "same",   NULL       },
        {">",  "from",   "from_open"},
        {"<",  "to",     "to_open"  },
        {"=",  "same",   NULL       },
        {"",   "prefix", NULL       }
    };
    int r = check_text("version", text, VALUE_MAX, err);
    if (r < 0)
        return r;
    PTL_JSON *v = json_pack("{s:s}", "tool", tool);
    for (const char *p = text; *p;) {
        size_t skip = strspn(p, ", "), k = 0;
        p += skip;
        if (!*p)
            break;
        while (!ptl_str_starts(p, ops[k].op))
            k++;
        p += strlen(ops[k].op);
        p += strspn(p, " ");
        size_t n = strcspn(p, ", "), digits = strspn(p, "0123456789");
        if (n == 0 || n > 40 || digits == 0)
            return ptl_error_set(err, -EINVAL,
                                 "version: expected 2.16, ==2.16.1 or a range as >=2.15,<2.18; got '%.60s'",
                                 text);
        if (ptl_str_eq(ops[k].key, "same")) {
            json_object_set_new(v, "from", json_stringn(p, n));
            json_object_set_new(v, "to", json_stringn(p, n));
        } else {
            json_object_set_new(v, ops[k].key, json_stringn(p, n));
        }
        if (ops[k].open)
            json_object_set_new(v, ops[k].open, json_true());
        p += n;
    }
    if (json_object_size(v) > 1)
        json_object_set(f->terms, "version", v);
    return 0;
}

/* ---- times */
/* Two digits, at most `most`; -1: they are not. */
static int two_digits(const char *s, int most)
{
    if (!isdigit((unsigned char)s[0]) || !isdigit((unsigned char)s[1]))
        return -1;
    int v = (s[0] - '0') * 10 + s[1] - '0';
    return v <= most ? v : -1;
}

/* "2026-11-01", of a day that there is, in the years 1970 to 9999. */
static bool is_day(const char *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century = two_digits(s, 99), rest = century < 0 ? -1 : two_digits(s + 2, 99);
    if (rest < 0 || s[4] != '-')
        return false;
    int year = century * 100 + rest, month = two_digits(s + 5, 12);
    if (year < 1970 || month < 1 || s[7] != '-')
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return two_digits(s + 8, days[month - 1] + (month == 2 && leap)) >= 1;
}

/* "T10:00", "T10:00:00", "T10:00:00.123", each bare (UTC), with Z or with an offset as +01:00. */
static bool is_time_of_day(const char *s)
{
    if ((*s != 'T' && *s != ' ') || two_digits(s + 1, 23) < 0 || s[3] != ':' || two_digits(s + 4, 59) < 0)
        return false;
    s += 6;
    if (*s == ':') {
        if (two_digits(s + 1, 59) < 0)
            return false;
        s += 3;
        size_t digits = *s == '.' ? strspn(s + 1, "0123456789") : 0;
        if (*s == '.' && (digits < 1 || digits > 9))
            return false;
        s += digits ? digits + 1 : 0;
    }
    if (*s == '+' || *s == '-')
        return two_digits(s + 1, 14) >= 0 && s[3] == ':' && two_digits(s + 4, 59) >= 0 && !s[6];
    return !*s || (*s == 'Z' && !s[1]);
}

int ptl_failure_time(const char *text, const char *what, int64_t now_wall_ms, char ret[40],
                     struct ptl_error *err)
{
    int64_t ago;
    size_t n = strlen(text);
    if (n > 1 && isalpha((unsigned char)text[n - 1]) && text[n - 1] != 'Z' &&
        ptl_duration_parse(text, &ago) == 0) {
        ptl_wall_rfc3339(ago < now_wall_ms ? now_wall_ms - ago : 0, ret);
        return 0;
    }
    if (n < 10 || n > 35 || !is_day(text) || (n > 10 && !is_time_of_day(text + 10)))
        return ptl_error_set(
            err, -EINVAL,
            "%s: expected a time as 2026-11-01 or 2026-11-01T10:00:00Z, or so long ago as 7d; got '%.60s'",
            what, text);
    snprintf(ret, 40, "%s%s", text, n == 10 ? "T00:00:00Z" : "");
    return 0;
}

int ptl_failure_filter_read(ptl_failure_get_fn *get, void *ctx, const char *project, int64_t now_wall_ms,
                            struct ptl_failure_filter *ret, struct ptl_error *err)
{
    static const struct {
        const char *name;
        bool of_class;
    } plain[] = {
        {"challenge",  true },
        {"taxonomy",   true },
        {"platform",   true },
        {"target",     true },
        {"stage",      true },
        {"kind",       true },
        {"tool",       false},
        {"operator",   false},
        {"branch",     false},
        {"author",     false},
        {"agent",      false},
        {"end_reason", false}
    };
    struct ptl_failure_filter f = {.terms = json_object(), .resolved = -1, .classes_only = true};
    const char *v;
    int r = 0;
    for (size_t i = 0; r == 0 && i < PTL_ARRAY_LEN(plain); i++) {
        v = get(ctx, plain[i].name);
        if (!v || !*v)
            continue;
        r = check_text(plain[i].name, v, VALUE_MAX, err);
        json_object_set_new(f.terms, plain[i].name, json_string(v));
        f.classes_only &= plain[i].of_class;
    }
    if (!project)
        project = get(ctx, "project");
    if (project && *project && r == 0 && (r = check_text("project", project, VALUE_MAX, err)) == 0)
        json_object_set_new(f.terms, "project", json_string(project));
    if (r == 0 && (v = get(ctx, "q")) && *v) {
        r = read_words(v, &f, err);
        f.classes_only = false;
    }
    if (r == 0 && (v = get(ctx, "in")) && *v && !ptl_str_eq(v, "lines")) {
        f.in_log = ptl_str_eq(v, "log") && f.words;
        if (f.in_log)
            json_object_set_new(f.terms, "in", json_string("log"));
        else if (!ptl_str_eq(v, "log"))
            r = ptl_error_set(
                err, -EINVAL,
                "in: expected log (the whole log) or lines (those that the diagnosis quotes); got '%.60s'",
                v);
        else if (json_object_get(f.terms, "not"))
            r = ptl_error_set(err, -EINVAL,
                              "q: a search in whole logs needs a word that must be there, not only others");
    }
    if (r == 0 && (v = get(ctx, "version")) && *v) {
        const char *tool = get(ctx, "tool");
        f.classes_only = false;
        r = tool && *tool
                ? read_version(v, tool, &f, err)
                : ptl_error_set(err, -EINVAL,
                                "version: of what? Name the tool too, as tool=tensorflow&version=>=2.15");
    }
    if (r == 0 && (v = get(ctx, "since")) && *v)
        r = ptl_failure_time(v, "since", now_wall_ms, f.since, err);
    if (r == 0 && (v = get(ctx, "until")) && *v)
        r = ptl_failure_time(v, "until", now_wall_ms, f.until, err);
    f.classes_only &= !*f.since && !*f.until;
    if (r == 0 && (v = get(ctx, "resolved")) && *v) {
        f.resolved = ptl_str_eq(v, "true") ? 1 : ptl_str_eq(v, "false") ? 0 : -1;
        if (f.resolved < 0 && !ptl_str_eq(v, "any"))
            r = ptl_error_set(err, -EINVAL, "resolved: expected true, false or any; got '%.60s'", v);
    }
    if (r == 0)
        *ret = f;
    else
        ptl_failure_filter_done(&f);
    return r;
}
