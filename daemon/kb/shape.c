/* shape.c - the first diagnosis: what the facts say by themselves, and the lines of a log that say something
 * specific, by their shape and their place. Never a verdict about a challenge: that is the knowledge base's.
 * Linear in the log; a line is looked at once. */
#include "kb.h"
#include <portolan/buf.h>
#include <ctype.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 8192, TEXT_MAX = 400, BEST = 8 };

struct line {
    size_t number, offset, length;
    double score;
    const char *why;
    char text[TEXT_MAX + 1];
};

struct found {
    struct line best[BEST];
    size_t n, lines, cut_lines;
    bool after_chain; /* the line before announced that what follows is the consequence */
};

/* Says that something ended badly and nothing about why. */
static const char *const generic[] = {"command failed",
                                      "exit code",
                                      "exit status",
                                      "process completed",
                                      "returned non-zero",
                                      "non-zero exit",
                                      "build failed",
                                      "job failed",
                                      "traceback (most recent call last)",
                                      "error: command",
                                      "npm err! code elifecycle",
                                      "failed with error code",
                                      "errors occurred",
                                      "see above",
                                      "aborting",
                                      "stage failed"};
/* What follows is a consequence, what came before is the cause. */
static const char *const chains[] = {"during handling of the above exception",
                                     "the above exception was the direct cause"};

/* A line of one of these shapes carries a cause; the first that fits decides. */
static const struct {
    const char *word; /* lower case, anywhere */
    double score;
    const char *why;
} shapes[] = {
    {"is not a registered function/op",   0.95, "a runtime names an operator it does not have"        },
    {"didn't find op for builtin opcode", 0.95, "a runtime names an operator version it does not have"},
    {"ops are not supported",             0.95, "a converter names what it cannot convert"            },
    {"tf select ops:",                    0.95, "a converter names what it cannot convert"            },
    {"op is not supported",               0.9,  "an operator is not supported"                        },
    {"unsupported op",                    0.9,  "an operator is not supported"                        },
    {"unsupported model ir version",      0.95, "versions do not fit"                                 },
    {"unsupportedoperatorerror",          0.95, "an exporter names what it cannot export"             },
    {"is not supported",                  0.7,  "something is not supported"                          },
    {"no module named",                   0.9,  "a module is missing"                                 },
    {"cannot open shared object file",    0.9,  "a library is missing"                                },
    {"version `glibc",                    0.9,  "a library is of another version"                     },
    {"no space left on device",           0.95, "the disk is full"                                    },
    {"out of memory",                     0.85, "memory ran out"                                      },
    {"cannot allocate memory",            0.85, "memory ran out"                                      },
    {"cuda error",                        0.85, "the GPU reported an error"                           },
    {"connection refused",                0.7,  "nobody answers"                                      },
    {"permission denied",                 0.75, "access is refused"                                   },
    {"no such file or directory",         0.7,  "a file is missing"                                   },
    {"failed to fetch",                   0.6,  "a browser could not fetch something"                 },
    {"blocked by cors",                   0.95, "the browser refused a foreign origin"                },
    {"404",                               0.3,  "something was not found"                             },
    {"shape",                             0.35, "shapes are spoken of"                                },
    {"dtype",                             0.35, "data types are spoken of"                            },
    {"tracerwarning",                     0.3,  "the exporter froze something"                        },
};

static bool contains(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

/* "SomeError: message", "module.SomeException: message" at the start of the line. */
static bool is_exception(const char *lower)
{
    const char *p = lower;
    while (isalnum((unsigned char)*p) || *p == '_' || *p == '.')
        p++;
    size_t n = (size_t)(p - lower);
    bool named = (n > 5 && memcmp(p - 5, "error", 5) == 0) || (n > 9 && memcmp(p - 9, "exception", 9) == 0);
    return named && p[0] == ':' && p[1] == ' ' && p[2];
}

static double judge(const char *lower, const char **ret_why)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(generic); i++)
        if (contains(lower, generic[i]))
            return 0;
    double score = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(shapes); i++)
        if (contains(lower, shapes[i].word) && shapes[i].score > score) {
            score = shapes[i].score;
            *ret_why = shapes[i].why;
        }
    bool exception = is_exception(lower);
    if (exception && score < 0.8) {
        score = 0.8;
        *ret_why = "an exception with its message";
    } else if (exception) {
        score += 0.04;
    }
    bool marked = contains(lower, "error") || contains(lower, "fatal") || contains(lower, "fail");
    if (!exception && marked && score < 0.5) {
        score = score < 0.3 ? 0.45 : 0.5;
        *ret_why = "a line that speaks of an error";
    }
    if (!marked && !exception && score <= 0.35)
        score = 0; /* a bare word such as "shape" in a harmless line */
    if (contains(lower, "warning") && score > 0)
        score *= 0.5;
    return score;
}

static void keep(struct found *f, const struct line *l)
{
    for (size_t i = 0; i < f->n; i++)
        if (ptl_str_eq(f->best[i].text, l->text))
            return; /* said before: the first one stands */
    size_t at = f->n < BEST ? f->n++ : BEST - 1;
    if (at == BEST - 1 && f->n == BEST && f->best[at].score >= l->score && f->best[at].text[0])
        return;
    while (at > 0 && f->best[at - 1].score < l->score) {
        f->best[at] = f->best[at - 1];
        at--;
    }
    f->best[at] = *l;
}

/* Strips ANSI sequences and what a carriage return overwrote. Returns the length kept. */
static size_t clean(const char *p, size_t n, char *out, size_t max, bool *ret_cut)
{
    size_t k = 0;
    *ret_cut = false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == 0x1b && i + 1 < n && p[i + 1] == '[') {
            for (i += 2; i < n && !isalpha((unsigned char)p[i]); i++)
                ;
            continue;
        }
        if (c == '\r') {
            if (i + 1 < n)
                k = 0;
            continue;
        }
        if (k == max) {
            *ret_cut = true;
            break;
        }
        out[k++] = c < 0x20 ? ' ' : (char)c;
    }
    out[k] = 0;
    return k;
}

static void look(struct found *f, const char *log, size_t offset, size_t len)
{
    char text[LINE_MAX_BYTES + 1], lower[LINE_MAX_BYTES + 1];
    bool cut;
    f->lines++;
    size_t n = clean(log + offset, len, text, LINE_MAX_BYTES, &cut);
    f->cut_lines += cut;
    for (size_t i = 0; i <= n; i++)
        lower[i] = (char)tolower((unsigned char)text[i]);
    for (size_t i = 0; i < PTL_ARRAY_LEN(chains); i++)
        if (contains(lower, chains[i]))
            f->after_chain = true;
    struct line l = {.number = f->lines, .offset = offset, .length = len};
    l.score = judge(lower, &l.why);
    if (l.score <= 0)
        return;
    /* The first error after the last good line weighs more than its echoes; what a chain announced is an
     * echo. */
    l.score -= f->after_chain ? 0.15 : 0;
    l.score -= (double)(f->n < 20 ? f->n : 20) * 0.002;
    const char *start = text;
    while (*start == ' ')
        start++;
    snprintf(l.text, sizeof(l.text), "%.*s", TEXT_MAX, start);
    keep(f, &l);
}

/* What is known without reading the log. Caller frees; NULL: nothing. */
static char *from_facts(const json_t *facts, int *ret_transient)
{
    const char *reason = ptl_json_str(facts, "end_reason", ""),
               *message = ptl_json_str(facts, "message", NULL);
    *ret_transient = -1;
    if (ptl_str_eq(reason, "oom")) {
        *ret_transient = 0;
        return ptl_xstrdup("it was killed for memory: its cgroup counted an out-of-memory kill");
    }
    if (ptl_str_eq(reason, "timeout"))
        return ptl_xasprintf("it ran out of time%s%s", message ? ": " : "", message ? message : "");
    if (ptl_str_eq(reason, "agent_lost")) {
        *ret_transient = 1;
        return ptl_xstrdup("its agent was lost; the stage itself may be sound");
    }
    if (ptl_str_eq(reason, "setup")) {
        *ret_transient = 1;
        return ptl_xasprintf("it could not begin%s%s", message ? ": " : "", message ? message : "");
    }
    const json_t *report = json_object_get(facts, "report");
    if (ptl_str_eq(ptl_json_str(report, "verdict", ""), "red")) {
        const char *text = ptl_json_str(json_array_get(json_object_get(report, "reasons"), 0), "text", NULL);
        *ret_transient = 0;
        return ptl_xasprintf("the converted model ran and its answers differ%s%s", text ? ": " : "",
                             text ? text : "");
    }
    if (ptl_str_eq(reason, "signal"))
        return ptl_xasprintf("it was ended by signal %d", (int)ptl_json_i64(facts, "signal", 0));
    return NULL;
}

int ptl_kb_diagnose(const json_t *facts, const char *log, size_t log_len, json_t **ret, struct ptl_error *err)
{
    struct found *f = calloc(1, sizeof(*f));
    json_t *cuts = json_array(), *evidence = json_array();
    if (!f || !cuts || !evidence) {
        free(f);
        json_decref(cuts);
        json_decref(evidence);
        return ptl_error_set(err, -ENOMEM, "diagnosis: out of memory");
    }
    size_t skip_from = log_len, skip_to = log_len;
    if (log_len > PTL_KB_LOG_MAX) {
        skip_from = PTL_KB_LOG_MAX / 2;
        skip_to = log_len - PTL_KB_LOG_MAX / 2;
        json_array_append_new(
            cuts, json_sprintf("%zu bytes in the middle of the log were not looked at", skip_to - skip_from));
    }
    for (size_t at = 0; at < log_len;) {
        if (at >= skip_from && at < skip_to)
            at = skip_to;
        const char *nl = memchr(log + at, '\n', log_len - at);
        size_t end = nl ? (size_t)(nl - log) : log_len;
        look(f, log, at, end - at);
        at = end + 1;
    }
    if (f->cut_lines)
        json_array_append_new(
            cuts, json_sprintf("%zu lines were longer than %d bytes and were looked at up to there",
                               f->cut_lines, LINE_MAX_BYTES));
    for (size_t i = 0; i < f->n; i++) {
        PTL_FREE char *text = ptl_json_text_utf8(f->best[i].text, strlen(f->best[i].text));
        json_array_append_new(
            evidence, json_pack("{s:I,s:I,s:I,s:s,s:f,s:s}", "line", (json_int_t)f->best[i].number, "offset",
                                (json_int_t)f->best[i].offset, "length", (json_int_t)f->best[i].length,
                                "text", text, "score", f->best[i].score, "why", f->best[i].why));
    }
    int transient;
    PTL_FREE char *stated = from_facts(facts, &transient);
    const char *line = ptl_json_str(json_array_get(evidence, 0), "text", NULL);
    json_t *summary =
        stated ? json_string(stated)
        : line ? json_sprintf("the log's most specific line: %s", line)
               : json_string("nothing specific speaks: neither the way it ended nor a line of its log");
    *ret = json_pack("{s:i,s:s,s:s,s:o,s:o,s:o,s:[],s:o}", "version", 1, "algorithm", "shape-1", "verdict",
                     stated ? "stated" : "unclear", "summary", summary, "transient",
                     transient < 0 ? json_null() : json_boolean(transient), "evidence", evidence,
                     "challenges", "cuts", cuts);
    free(f);
    return *ret ? 0 : ptl_error_set(err, -ENOMEM, "diagnosis: out of memory");
}
