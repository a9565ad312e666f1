/* test_failure_filter.c - what people type for a search becomes what the statements take, or a sentence that
 * names the parameter. */
#include "failure_filter.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static const int64_t NOW = 1764500000000; /* 2025-11-30T10:53:20Z */

/* "a=1&b=2", values as they are: from a NULL-ended list of pairs. */
static const char *get(void *ctx, const char *name)
{
    const char *const *pairs = ctx;
    for (; *pairs; pairs += 2)
        if (strcmp(pairs[0], name) == 0)
            return pairs[1];
    return NULL;
}

static void filters_become_terms(void **state PTL_UNUSED)
{
    static const struct {
        const char *pairs[9], *terms;
        bool words, classes_only;
    } t[] = {
        {{NULL},                                                                   "{}",                               false, true },
        {{"q", ""},                                                                "{}",                               false, true },
        {{"q", "unsupported op"},                                                  "{\"words\":\"unsupported op\"}",   true,  false},
        {{"q", "  a \"b c\"d -e -\"f g\" - -- "},
         "{\"exact\":[\"b c\"],\"not\":[\"e\",\"f g\"],\"words\":\"a d\"}",                                            true,
         false                                                                                                                     },
        {{"q", "\"open end"},                                                      "{\"exact\":[\"open end\"]}",       true,  false},
        {{"q", "-only"},                                                           "{\"not\":[\"only\"]}",             false, false},
        {{"q", "!! ::"},                                                           "{}",                               false, false},
        {{"challenge", "mobile", "platform", "mobile", "stage", "verify/android"},
         "{\"challenge\":\"mobile\",\"platform\":\"mobile\",\"stage\":\"verify/android\"}",                            false,
         true                                                                                                                      },
        {{"q", "a", "in", "log"},                                                  "{\"in\":\"log\",\"words\":\"a\"}", true,  false},
        {{"in", "log"},                                                            "{}",                               false, true },
        {{"q", "a", "in", "lines"},                                                "{\"words\":\"a\"}",                true,  false},
        {{"tool", "tensorflow"},                                                   "{\"tool\":\"tensorflow\"}",        false, false},
        {{"tool", "tf", "version", "2.16"},
         "{\"tool\":\"tf\",\"version\":{\"prefix\":\"2.16\",\"tool\":\"tf\"}}",                                        false,
         false                                                                                                                     },
        {{"tool", "tf", "version", ">=2.15, <2.18"},
         "{\"tool\":\"tf\",\"version\":{\"from\":\"2.15\",\"to\":\"2.18\",\"to_open\":true,\"tool\":\"tf\"}}",         false,
         false                                                                                                                     },
        {{"tool", "tf", "version", "==2.16.1"},
         "{\"tool\":\"tf\",\"version\":{\"from\":\"2.16.1\",\"to\":\"2.16.1\",\"tool\":\"tf\"}}",                      false,
         false                                                                                                                     },
        {{"tool", "tf", "version", ">2"},
         "{\"tool\":\"tf\",\"version\":{\"from\":\"2\",\"from_open\":true,\"tool\":\"tf\"}}",                          false,
         false                                                                                                                     },
        {{"project", "a"},                                                         "{\"project\":\"a\"}",              false, true },
        {{"since", "7d", "platform", "mobile"},                                    "{\"platform\":\"mobile\"}",        false, false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_failure_filter f;
        struct ptl_error err = PTL_ERROR_INIT;
        if (ptl_failure_filter_read(get, (void *)(uintptr_t)t[i].pairs, NULL, NOW, &f, &err) != 0)
            fail_msg("row %zu: %s", i, err.text);
        PTL_FREE char *text = ptl_json_text(f.terms);
        if (strcmp(text, t[i].terms) != 0 || f.words != t[i].words || f.classes_only != t[i].classes_only)
            fail_msg("row %zu: %s, words %d, classes only %d", i, text, f.words, f.classes_only);
        ptl_failure_filter_done(&f);
    }
}

static void a_confined_token_has_its_project(void **state PTL_UNUSED)
{
    const char *pairs[] = {"project", "other", NULL};
    struct ptl_failure_filter f;
    assert_int_equal(ptl_failure_filter_read(get, pairs, "own", NOW, &f, NULL), 0);
    assert_string_equal(ptl_json_str(f.terms, "project", ""), "own");
    ptl_failure_filter_done(&f);
}

static void mistakes_are_named(void **state PTL_UNUSED)
{
    static const struct {
        const char *pairs[5], *says;
    } t[] = {
        {{"q", "\"::\""},                     "letter or a digit"  },
        {{"version", "2.1"},                  "tool"               },
        {{"tool", "tf", "version", "new"},    "version: expected"  },
        {{"tool", "tf", "version", ">="},     "version: expected"  },
        {{"since", "yesterday"},              "since: expected"    },
        {{"until", "2026-13-01"},             "until: expected"    },
        {{"until", "2026-01-01Tx"},           "until: expected"    },
        {{"until", "1"},                      "until: expected"    },
        {{"until", "2026-02-29"},             "until: expected"    },
        {{"until", "2100-02-29"},             "until: expected"    },
        {{"since", "0000-01-01"},             "since: expected"    },
        {{"since", "2026-01-01T24:00:00Z"},   "since: expected"    },
        {{"since", "2026-01-01T10:60"},       "since: expected"    },
        {{"since", "2026-01-01T10:00:00Z+1"}, "since: expected"    },
        {{"since", "2026-01-01T10:00+99:00"}, "since: expected"    },
        {{"since", "2026-01-01T10:00:00."},   "since: expected"    },
        {{"q", "a\xff"},                      "q: expected text"   },
        {{"challenge", "\xff"},               "challenge: expected"},
        {{"project", "\xc3"},                 "project: expected"  },
        {{"tool", "tf", "version", "2.\xff"}, "version: expected"  },
        {{"in", "logs", "q", "a"},            "in: expected"       },
        {{"in", "log", "q", "-a"},            "must be there"      },
        {{"resolved", "maybe"},               "resolved: expected" },
        {{"q", "-a -b -c -d -e -f -g -h -i"}, "at most 8"          },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_failure_filter f;
        struct ptl_error err = PTL_ERROR_INIT;
        assert_int_equal(ptl_failure_filter_read(get, (void *)(uintptr_t)t[i].pairs, NULL, NOW, &f, &err),
                         -EINVAL);
        if (!strstr(err.text, t[i].says))
            fail_msg("row %zu says: %s", i, err.text);
    }
    char big[600];
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    const char *names[] = {"q", "challenge", "author"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(names); i++) {
        const char *pairs[] = {names[i], big, NULL};
        struct ptl_failure_filter f;
        assert_int_equal(ptl_failure_filter_read(get, pairs, NULL, NOW, &f, NULL), -EINVAL);
    }
}

static void times_are_absolute_or_so_long_ago(void **state PTL_UNUSED)
{
    static const char *const t[][2] = {
        {"1d",                        "2025-11-29T10:53:20.000Z" },
        {"36h",                       "2025-11-28T22:53:20.000Z" },
        {"2026-11-01",                "2026-11-01T00:00:00Z"     },
        {"2026-11-01T10:00:00Z",      "2026-11-01T10:00:00Z"     },
        {"2026-11-01 10:00:00+02:00", "2026-11-01 10:00:00+02:00"},
        {"2028-02-29",                "2028-02-29T00:00:00Z"     },
        {"2026-12-31T23:59",          "2026-12-31T23:59"         },
        {"2026-12-31T23:59-03:30",    "2026-12-31T23:59-03:30"   },
        {"2026-12-31T23:59:59.123Z",  "2026-12-31T23:59:59.123Z" },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        char got[40];
        struct ptl_error err = PTL_ERROR_INIT;
        if (ptl_failure_time(t[i][0], "since", NOW, got, &err) != 0)
            fail_msg("%s: %s", t[i][0], err.text);
        assert_string_equal(got, t[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_become_terms),
        cmocka_unit_test(a_confined_token_has_its_project),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(times_are_absolute_or_so_long_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
