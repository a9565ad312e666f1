/* test_line_find.c - the lines of a log that hold a text: as a page shows lines, in pieces of any size, and
 * the same whatever the pieces. */
#include "line_find.h"
#include <portolan/buf.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

struct seen {
    char text[256];
    int n, most;
};

static bool note(void *ctx, int64_t line)
{
    struct seen *s = ctx;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof(s->text) - at, "%s%lld", at ? " " : "", (long long)line);
    return ++s->n < s->most;
}

static size_t find(const char *text, bool caseless, const char *log, size_t len, size_t piece, int most,
                   struct seen *ret)
{
    struct ptl_line_find *f = ptl_line_find_new(text, strlen(text), caseless, 0);
    size_t at = 0;
    *ret = (struct seen){.most = most};
    while (at < len) {
        size_t n = len - at < piece ? len - at : piece, took = ptl_line_find_feed(f, log + at, n, note, ret);
        at += took;
        if (took < n || ret->n == most)
            break;
    }
    if (at == len && ret->n < most)
        ptl_line_find_end(f, note, ret);
    ptl_line_find_free(f);
    return at;
}

#define ESC "\x1b"
static const struct {
    const char *label, *text, *log, *lines,
        *exact; /* lines without regard to capitals; `exact` NULL: the same */
} vectors[] = {
    {"first, last and none between",             "op",        "op\nno\nan op",                       "0 2",   NULL},
    {"capitals",                                 "Op",        "op\nOp\nOP\n",                        "0 1 2", "1" },
    {"capitals beyond ASCII",                    "ÄRGER Ж", "ärger ж\nÄRGER Ж\narger\n",       "0 1",   "1" },
    {"once a line, however often",               "aa",        "aaaa aaaa\naa",                       "0 1",   NULL},
    {"not across lines",                         "ab",        "a\nb\n",                              "",      NULL},
    {"an empty log",                             "a",         "",                                    "",      NULL},
    {"empty lines count",                        "x",         "\n\nx\n\nx",                          "2 4",   NULL},
    {"the colours between are not there",        "loss 0.5",
     "loss " ESC "[32m0.5" ESC "[0m\n" ESC "[1;38;5;12mloss 0.5\n",                                  "0 1",   NULL},
    {"the text of a colour is not found",        "[32m",      "loss " ESC "[32m0.5\nis [32m here\n", "1",     NULL},
    {"a link's address is not shown",            "example",
     ESC "]8;;http://example\x07text\n" ESC "]8;;http://example" ESC "\\text\nexample\n",            "2",     NULL},
    {"a sequence that never ends hides nothing", "seen",
     ESC "]0;seen\n" ESC "[12\xc3\xa9seen\n" ESC "Pseen\n",                                          "0 1 2", NULL},
    {"what begins anew within a sequence",       "seen",      ESC "]0;x" ESC "[1mseen\n",            "0",     NULL},
    {"what was overwritten is not shown",        "10%",       "10%\r60%\r100%\n10%\r\nx\r10%\n",     "1 2",   NULL},
    {"what overwrites is",                       "100%",      "10%\r60%\r100%\r\n",                  "0",     NULL},
    {"controls are not shown",                   "abc",
     "a\x01"
     "b\x7f"
     "c\na\tbc\n",                                                                                   "0",     NULL},
    {"nor what turns the direction",             "abc",
     "a\u202e"
     "bc\na\u2066"
     "bc\nab\u200e"
     "c\n",                                                                                          "0 1 2", NULL},
    {"a tab is shown",                           "a\tb",      "a\tb\na b\n",                         "0",     NULL},
    {"bytes that are no UTF-8",                  "ok",        "\xff\xfeok\n\xc3\n\xe2\x80ok\n",      "0 2",   NULL},
    {"two letters and a set",                    "b",         ESC "(Bb\n" ESC "(B\n" ESC "Mb\n",     "0 2",   NULL},
};

static void test_vectors(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(vectors); i++)
        for (size_t piece = 1; piece < 40; piece++)
            for (int caseless = 0; caseless < 2; caseless++) {
                struct seen s;
                const char *want = !caseless && vectors[i].exact ? vectors[i].exact : vectors[i].lines;
                find(vectors[i].text, caseless, vectors[i].log, strlen(vectors[i].log), piece, 100, &s);
                if (strcmp(s.text, want) != 0)
                    fail_msg("%s (%s, pieces of %zu): lines '%s', expected '%s'", vectors[i].label,
                             caseless ? "any" : "exact", piece, s.text, want);
            }
}

static void test_enough(void **state PTL_UNUSED)
{
    static const char log[] = "x\ny\nx\nx\nz\nx\n";
    struct seen s;
    /* where it stops is where the next search begins */
    size_t at = find("x", false, log, sizeof(log) - 1, 3, 2, &s);
    assert_string_equal(s.text, "0 2");
    assert_int_equal(at, 6);
    struct ptl_line_find *f = ptl_line_find_new("x", 1, false, 3);
    s = (struct seen){.most = 100};
    assert_int_equal(ptl_line_find_feed(f, log + at, sizeof(log) - 1 - at, note, &s), sizeof(log) - 1 - at);
    assert_string_equal(s.text, "3 5");
    assert_int_equal(ptl_line_find_line(f), 6);
    ptl_line_find_free(f);
}

/* A line of many MiB: found at its beginning, at its end, and across any place where it is cut. */
static void test_endless_line(void **state PTL_UNUSED)
{
    enum { LEN = (3 << 20) + 77 };
    char *log = ptl_xcalloc(1, LEN);
    static const size_t places[] = {0, (1 << 20) - 3, 1 << 20, (2 << 20) - 1, 2097152 + 1000, LEN - 6};
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++)
        for (int caseless = 0; caseless < 2; caseless++) {
            struct seen s;
            memset(log, '.', LEN);
            memcpy(log + places[i], "needle", 6);
            find(caseless ? "NEEDLE" : "needle", caseless, log, LEN, 100000, 100, &s);
            if (strcmp(s.text, "0") != 0)
                fail_msg("at %zu: lines '%s'", places[i], s.text);
            log[LEN - 7 - (places[i] > LEN - 100)] = '\r'; /* overwritten but for the last dots */
            log[LEN - 1] = places[i] > LEN - 100 ? 'e' : '.';
            find("needle", false, log, LEN, 65536, 100, &s);
            assert_string_equal(s.text, places[i] > LEN - 100 ? "0" : "");
        }
    free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_enough),
                                       cmocka_unit_test(test_endless_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
