/* test_kb_rex.c - the small matcher: what it finds, what its groups hold, what it refuses, and that hostile
 * pairs of pattern and text stay linear. */
#include "rex.h"
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

static void finds(void **state PTL_UNUSED)
{
    static const struct {
        const char *pattern, *text, *whole, *group; /* whole NULL: no match; group: of the first group */
        bool caseless;
    } t[] = {
        {"abc",                                         "xxabcx",                          "abc",             NULL,              false},
        {"abc",                                         "xxABcx",                          NULL,              NULL,              false},
        {"abc",                                         "xxABcx",                          "ABc",             NULL,              true },
        {"a.c",                                         "a\nc",                            NULL,              NULL,              false},
        {"op '(?<op>[A-Z_0-9]+)' version '(?<v>\\d+)'", "opcode op 'CONV_2D' version '5'",
         "op 'CONV_2D' version '5'",                                                                          "CONV_2D",         false},
        {"(?<a>a|ab)(?:c|bcd)d*",                       "abcd",                            "abcd",            "a",               false},
        {"x*?y",                                        "xxy",                             "xxy",             NULL,              false},
        {"(?<q>\".*?\")",                               "say \"a\" and \"b\"",             "\"a\"",           "\"a\"",           false},
        {"(?<q>\".*\")",                                "say \"a\" and \"b\"",             "\"a\" and \"b\"", "\"a\" and \"b\"", false},
        {"\\bgil\\b",                                   "vigil gil",                       "gil",             NULL,              false},
        {"^end$",                                       "the end",                         NULL,              NULL,              false},
        {"end$",                                        "the end",                         "end",             NULL,              false},
        {"[^a-z ]{2,3}",                                "ab 1234",                         "123",             NULL,              false},
        {"a{2}",                                        "caaat",                           "aa",              NULL,              false},
        {"a{2,}",                                       "caaat",                           "aaa",             NULL,              false},
        {"[]x-]+",                                      "ab]-x",                           "]-x",             NULL,              false},
        {"[\\d.]+\\s\\S",                               "v1.2 z",                          "1.2 z",           NULL,              false},
        {"colou?r(?<more>s)?",                          "color",                           "color",           "",                false},
        {"\\x41\\.\\{",                                 "A.{",                             "A.{",             NULL,              false},
        {"[^A]b",
         "\xc3\xa9"
         "b",                                                                              "\xa9"
         "b",                                                                                    NULL,              false},
        {"abcd|ab",                                     "abc",                             "ab",              NULL,              false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_rex *r = NULL;
        struct ptl_rex_span s[PTL_REX_GROUPS_MAX + 1];
        if (ptl_rex_new(t[i].pattern, t[i].caseless, &r, &err) < 0)
            fail_msg("%s: %s", t[i].pattern, err.text);
        int m = ptl_rex_match(r, t[i].text, strlen(t[i].text), s);
        if (m != (t[i].whole != NULL))
            fail_msg("%s on %s: %d", t[i].pattern, t[i].text, m);
        if (m && (s[0].end - s[0].start != (int)strlen(t[i].whole) ||
                  strncmp(t[i].text + s[0].start, t[i].whole, strlen(t[i].whole)) != 0))
            fail_msg("%s on %s: got %d..%d", t[i].pattern, t[i].text, s[0].start, s[0].end);
        if (m && t[i].group) {
            int n = s[1].start < 0 ? 0 : s[1].end - s[1].start;
            if (n != (int)strlen(t[i].group) ||
                (n && strncmp(t[i].text + s[1].start, t[i].group, (size_t)n) != 0))
                fail_msg("%s on %s: group %d..%d", t[i].pattern, t[i].text, s[1].start, s[1].end);
        }
        ptl_rex_free(r);
    }
}

static void refuses(void **state PTL_UNUSED)
{
    static const char *const t[] = {"",        "(",        ")",       "a)",          "[a",  "a**",
                                    "*a",      "(?=a)",    "(?<!a)b", "(?i)a",       "\\1", "(?<A>a)",
                                    "a{300}",  "a{2,1}",   "[z-a]",   "[[:alpha:]]", "a++", "(?<a>x)(?<a>y)",
                                    "\\Qa\\E", "\xc3\xa9", "a{",      "\\",          "[\\", "[a\\",
                                    "[a-\\"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_rex *r = NULL;
        if (ptl_rex_new(t[i], false, &r, &err) != -EINVAL || !err.text[0])
            fail_msg("'%s' was taken", t[i]);
    }
    PTL_FREE char *deep = calloc(1, 600);
    memset(deep, '(', 200);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_rex *r = NULL;
    assert_int_equal(ptl_rex_new(deep, false, &r, &err), -EINVAL);
    assert_int_equal(ptl_rex_new("((((a{255}){255}){255}){255})", false, &r, &err), -EINVAL);
    /* the same of nothing: it would take hours to write no instruction */
    assert_int_equal(ptl_rex_new("(((((?:){255}){255}){255}){255}){255}", false, &r, &err), -EINVAL);
    assert_int_equal(ptl_rex_new("((((a{0}){255}){255}){255}){255}", false, &r, &err), -EINVAL);
}

static void knows_its_rules(void **state PTL_UNUSED)
{
    static const struct {
        const char *pattern;
        int literal;
        bool open;
    } t[] = {
        {"Didn.t find op", 9, false},
        {"abc.*",          3, true },
        {"(?:abcd|xy)z",   2, false},
        {"abcd(?<x>\\d+)", 4, false},
        {"(?:word){2,}",   4, true },
        {"a?bcde[^ ]*",    4, true },
        {"[Ee]rror",       4, false}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_rex *r = NULL;
        assert_int_equal(ptl_rex_new(t[i].pattern, false, &r, NULL), 0);
        if (ptl_rex_literal(r) != t[i].literal || ptl_rex_ends_open(r) != t[i].open)
            fail_msg("%s: literal %d open %d", t[i].pattern, ptl_rex_literal(r), ptl_rex_ends_open(r));
        ptl_rex_free(r);
    }
}

/* A backtracking matcher would need 2^64 steps for each of these; this test ends or it does not. */
static void hostile_is_linear(void **state PTL_UNUSED)
{
    static const char *const t[] = {"(?:a+)+b", "(?:a|a)*b", "(?:a|aa)+$b", "(?:a*)*b", ".*.*.*.*=.*b"};
    enum { LEN = 8192 };
    char *text = malloc(LEN + 1);
    assert_non_null(text);
    memset(text, 'a', LEN);
    text[LEN] = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_rex *r = NULL;
        struct ptl_rex_span s[PTL_REX_GROUPS_MAX + 1];
        if (ptl_rex_new(t[i], false, &r, &err) < 0)
            fail_msg("%s: %s", t[i], err.text);
        assert_int_equal(ptl_rex_match(r, text, LEN, s), 0);
        ptl_rex_free(r);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds), cmocka_unit_test(refuses),
                                       cmocka_unit_test(knows_its_rules),
                                       cmocka_unit_test(hostile_is_linear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
