/* shape.c - how much a line says by its shape alone: what is quoted where no indicator speaks. Never a
 * verdict about a challenge. */
#include "kb.h"
#include <ctype.h>

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

/* A line of one of these shapes carries a cause; the best that fits decides. */
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

double ptl_kb_shape(const char *line, size_t len, const char **ret_why)
{
    char lower[1024];
    size_t n = len < sizeof(lower) - 1 ? len : sizeof(lower) - 1;
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)tolower((unsigned char)line[i]);
    lower[n] = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(generic); i++)
        if (strstr(lower, generic[i]))
            return 0;
    double score = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(shapes); i++)
        if (shapes[i].score > score && strstr(lower, shapes[i].word)) {
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
    bool marked = strstr(lower, "error") || strstr(lower, "fatal") || strstr(lower, "fail");
    if (!exception && marked && score < 0.5) {
        score = score < 0.3 ? 0.45 : 0.5;
        *ret_why = "a line that speaks of an error";
    }
    if (!marked && !exception && score <= 0.35)
        score = 0; /* a bare word such as "shape" in a harmless line */
    if (strstr(lower, "warning") && score > 0)
        score *= 0.5;
    return score;
}
