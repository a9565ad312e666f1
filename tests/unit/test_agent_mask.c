/* test_agent_mask.c - no form of a secret passes the mask, whatever the chunks; nothing else is touched. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "mask.h"
#include <ctype.h>
#include <stdio.h>
#include <portolan/buf.h>
#include <portolan/hash.h>

static void to_buf(void *ctx, const char *data, size_t len)
{
    assert_int_equal(ptl_buf_add(ctx, data, len), 0);
}

/* Masks `text` fed in pieces of `chunk` bytes (0: all at once). Caller frees. */
static char *masked(const char *const *secrets, const char *text, size_t len, size_t chunk)
{
    PTL_CLEANUP(ptl_mask_freep) struct ptl_mask *m = ptl_mask_new();
    PTL_BUF out = PTL_BUF_INIT;
    for (size_t i = 0; secrets[i]; i++)
        assert_true(ptl_mask_add(m, secrets[i]) >= 0);
    ptl_mask_feed(m, NULL, 0, to_buf, &out); /* a stage may print nothing */
    for (size_t at = 0; at < len;) {
        size_t n = chunk && len - at > chunk ? chunk : len - at;
        ptl_mask_feed(m, text + at, n, to_buf, &out);
        at += n;
    }
    ptl_mask_end(m, to_buf, &out);
    return out.len ? ptl_buf_take(&out, NULL) : ptl_xstrdup("");
}

struct mask_case {
    const char *label, *secret, *text, *expected;
};

static const struct mask_case mask_cases[] = {
    {"plain",                             "s3cret-value",              "token=s3cret-value!\n",           "token=***!\n"       },
    {"at both ends",                      "s3cret",                    "s3cret and s3cret",               "*** and ***"        },
    {"twice without a gap",               "s3cret",                    "s3crets3cret.",                   "******."            },
    {"nothing to mask",                   "s3cret",                    "all is well\n",                   "all is well\n"      },
    {"a beginning that goes nowhere",     "s3cret",                    "s3cre s3cr s3 s\n",               "s3cre s3cr s3 s\n"  },
    {"a false start right before it",     "aabaac",                    "aabaabaac|",                      "aab***|"            },
    {"a beginning at the end of the log", "s3cret",                    "it ends with s3cre",              "it ends with s3cre" },
    {"by line",                           "first-line\nsecond-line\n", "x first-line y\nz second-line\n", "x *** y\nz ***\n"   },
    {"whole over lines",                  "first-line\nsecond-line",   "first-line\nsecond-line.",        "***."               },
    {"by line with CR",                   "alpha-one\r\nbeta-two\r\n", "beta-two\nalpha-one",             "***\n***"           },
    {"short lines stay readable",         "{\nlong-enough-line\n}",    "{ long-enough-line }",            "{ *** }"            },
    {"url",                               "p@ss/w rd",                 "https://u:p%40ss%2Fw%20rd@h/",    "https://u:***@h/"   },
    {"url lower case",                    "p@ss/w rd",                 "p%40ss%2fw%20rd",                 "***"                },
    {"url form",                          "p@ss/w rd",                 "pw=p%40ss%2Fw+rd&x",              "pw=***&x"           },
    {"url, slash kept",                   "p@ss/word",                 "p%40ss/word",                     "***"                },
    {"too short to be masked",            "abc",                       "abc abc",                         "abc abc"            },
    {"binary around it",                  "s3cret",                    "\x01\x02s3cret\xff\xfe",          "\x01\x02***\xff\xfe"},
};

static void forms_are_masked_in_any_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(mask_cases); i++) {
        const struct mask_case *c = &mask_cases[i];
        const char *secrets[] = {c->secret, NULL};
        for (size_t chunk = 0; chunk <= strlen(c->text); chunk++) {
            PTL_FREE char *got = masked(secrets, c->text, strlen(c->text), chunk);
            if (strcmp(got, c->expected) != 0)
                fail_msg("%s, chunks of %zu: \"%s\"", c->label, chunk, got);
        }
    }
}

static void overlapping_secrets_leave_nothing(void **state)
{
    (void)state;
    const char *secrets[] = {"abcdef", "defghi", "bcde", NULL};
    for (size_t chunk = 0; chunk < 12; chunk++) {
        PTL_FREE char *got = masked(secrets, "xabcdefghiy abcde", 17, chunk);
        assert_string_equal(got, "x***y a***");
    }
}

/* Longest run of `secret`'s base64 characters that is left in `text` after masking. */
static size_t longest_left(const char *text, const char *encoded)
{
    size_t best = 0, n = strlen(encoded);
    for (size_t at = 0; at < n; at++)
        for (size_t len = best + 1; at + len <= n; len++) {
            char part[512];
            memcpy(part, encoded + at, len);
            part[len] = 0;
            if (!strstr(text, part))
                break;
            best = len;
        }
    return best;
}

static void base64_is_masked_at_every_alignment(void **state)
{
    (void)state;
    const char *secret = "k3y/with?odd>bytes~and some length";
    const char *secrets[] = {secret, NULL};
    for (size_t before = 0; before < 7; before++)
        for (size_t after = 0; after < 4; after++)
            for (int url = 0; url < 2; url++) {
                char plain[128];
                snprintf(plain, sizeof(plain), "%.*s%s%.*s", (int)before, "user:pw", secret, (int)after,
                         "@end");
                PTL_FREE char *text =
                    url ? ptl_base64url(plain, strlen(plain)) : ptl_base64(plain, strlen(plain));
                PTL_FREE char *alone =
                    url ? ptl_base64url(secret, strlen(secret)) : ptl_base64(secret, strlen(secret));
                for (size_t chunk = 0; chunk < 9; chunk++) {
                    PTL_FREE char *got = masked(secrets, text, strlen(text), chunk);
                    if (!strstr(got, "***"))
                        fail_msg("before %zu after %zu: nothing masked in %s", before, after, text);
                    /* at most two characters at each side share bits with the neighbours */
                    if (strlen(got) > 3 + (before + after) * 2 + 8)
                        fail_msg("before %zu after %zu: too much is left: %s", before, after, got);
                    if (before == 0 && longest_left(got, alone) > 3)
                        fail_msg("after %zu: %s is left of %s", after, got, alone);
                }
            }
}

static void base64_broken_into_lines_is_masked(void **state)
{
    (void)state;
    const char *secret =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-the-end-of-a-long-key";
    const char *secrets[] = {secret, NULL};
    PTL_FREE char *encoded = ptl_base64(secret, strlen(secret));
    static const size_t widths[] = {64, 76, 60, 20};
    for (size_t w = 0; w < PTL_ARRAY_LEN(widths); w++)
        for (size_t chunk = 0; chunk < 5; chunk++) {
            PTL_BUF text = PTL_BUF_INIT;
            (void)ptl_buf_puts(&text, "data:\n");
            for (size_t at = 0; at < strlen(encoded); at += widths[w])
                (void)ptl_buf_printf(&text, "  %.*s\r\n", (int)widths[w], encoded + at);
            (void)ptl_buf_puts(&text, "end\n");
            PTL_FREE char *got = masked(secrets, text.data, text.len, chunk);
            if (longest_left(got, encoded) > 3)
                fail_msg("width %zu, chunk %zu: %s", widths[w], chunk, got);
            assert_non_null(strstr(got, "end\n"));
            assert_true(ptl_str_starts(got, "data:\n"));
        }
}

static void a_long_gap_is_not_held_back_for_ever(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_mask_freep) struct ptl_mask *m = ptl_mask_new();
    PTL_BUF out = PTL_BUF_INIT;
    PTL_FREE char *encoded = ptl_base64("0123456789abcdefghijklmnop", 26);
    assert_int_equal(ptl_mask_add(m, "0123456789abcdefghijklmnop"), 0);
    ptl_mask_feed(m, encoded, 20, to_buf, &out);
    assert_int_equal(out.len, 0); /* may yet become the secret */
    for (int i = 0; i < 100; i++)
        ptl_mask_feed(m, "\n", 1, to_buf, &out);
    assert_int_equal(out.len, 120);
}

static void several_secrets_at_once(void **state)
{
    (void)state;
    const char *secrets[] = {"alpha-secret", "beta-secret", "alpha", NULL};
    PTL_FREE char *got = masked(secrets, "alpha beta-secret alpha-secret beta", 35, 3);
    assert_string_equal(got, "*** *** *** beta");
}

/* The same by a slow and obvious way, for random texts over a small alphabet. */
static void agrees_with_a_simple_search(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    for (int round = 0; round < 400; round++) {
        char text[200], secret[2][12], expected[700];
        bool hit[200] = {false};
        for (int s = 0; s < 2; s++) {
            size_t n = 4 + (seed = seed * 1664525u + 1013904223u, (seed >> 16) % 6);
            for (size_t i = 0; i < n; i++)
                secret[s][i] = "ab"[(seed = seed * 1664525u + 1013904223u, (seed >> 16) & 1)];
            secret[s][n] = 0;
        }
        for (size_t i = 0; i < sizeof(text) - 1; i++)
            text[i] = "abab."[(seed = seed * 1664525u + 1013904223u, (seed >> 16) % 5)];
        text[sizeof(text) - 1] = 0;
        for (int s = 0; s < 2; s++)
            for (char *at = text; (at = strstr(at, secret[s])); at++)
                memset(hit + (at - text), true, strlen(secret[s]));
        size_t n = 0;
        for (size_t i = 0; text[i]; i++) {
            if (!hit[i])
                expected[n++] = text[i];
            else if (i == 0 || !hit[i - 1])
                n += (size_t)sprintf(expected + n, "***");
        }
        expected[n] = 0;
        const char *secrets[] = {secret[0], secret[1], NULL};
        PTL_FREE char *got = masked(secrets, text, strlen(text), (size_t)round % 17);
        /* "***" of neighbours may be one or two; the letters must agree */
        PTL_BUF a = PTL_BUF_INIT;
        PTL_BUF b = PTL_BUF_INIT;
        for (char *c = got; *c; c++)
            if (*c != '*')
                (void)ptl_buf_putc(&a, *c);
        for (char *c = expected; *c; c++)
            if (*c != '*')
                (void)ptl_buf_putc(&b, *c);
        if (strcmp(ptl_buf_str(&a), ptl_buf_str(&b)) != 0)
            fail_msg("round %d, secrets %s %s\n%s\n%s", round, secret[0], secret[1], got, expected);
    }
}

static void bounds_are_kept(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_mask_freep) struct ptl_mask *m = ptl_mask_new();
    char *big = ptl_xcalloc(PTL_MASK_SECRET_MAX + 2, 1);
    memset(big, 'x', PTL_MASK_SECRET_MAX + 1);
    assert_int_equal(ptl_mask_add(m, big), -E2BIG);
    assert_int_equal(ptl_mask_add(m, "abc"), PTL_ABSENT);
    assert_int_equal(ptl_mask_add(m, ""), PTL_ABSENT);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_masked_in_any_chunks),
        cmocka_unit_test(overlapping_secrets_leave_nothing),
        cmocka_unit_test(base64_is_masked_at_every_alignment),
        cmocka_unit_test(base64_broken_into_lines_is_masked),
        cmocka_unit_test(a_long_gap_is_not_held_back_for_ever),
        cmocka_unit_test(several_secrets_at_once),
        cmocka_unit_test(agrees_with_a_simple_search),
        cmocka_unit_test(bounds_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
