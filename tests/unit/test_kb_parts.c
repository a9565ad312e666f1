/* test_kb_parts.c - patterns in two parts find what they find in one: whoever is shared, added, gone, there
 * twice or moved; and what cannot be shared is compiled whole. */
#include "parts.h"
#include <portolan/buf.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

enum { MANY = 400 };

/* Patterns named by numbers: n finds "<n>". Each is ended by -1. */
static struct kb_patterns patterns(const int *numbers)
{
    struct kb_patterns p = {.text = calloc(MANY + 1, sizeof(*p.text)),
                            .flags = calloc(MANY + 1, sizeof(*p.flags))};
    assert_non_null(p.text);
    assert_non_null(p.flags);
    for (; numbers[p.n] >= 0; p.n++)
        p.text[p.n] = numbers[p.n] ? ptl_xasprintf("<%d>", numbers[p.n]) : ptl_xstrdup("a(");
    return p;
}

static struct kb_parts made(const int *numbers, const struct kb_parts *like, const void *bytes, size_t len)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct kb_patterns p = patterns(numbers);
    struct kb_parts parts = {0};
    int wrong;
    if (kb_parts_new(&p, like, bytes, len, &parts, &wrong, &err) < 0)
        fail_msg("%s", err.text);
    assert_null(p.text);
    return parts;
}

static int heard(void *ctx, uint32_t id, unsigned long long to PTL_UNUSED)
{
    unsigned char *seen = ctx;
    assert_true(id < MANY);
    seen[id]++;
    return 0;
}

/* Each pattern asked for is found as often as the text has it, under the id it was asked for with. */
static void check(const struct kb_parts *parts, const int *numbers)
{
    PTL_BUF text = PTL_BUF_INIT;
    unsigned char seen[MANY] = {0};
    for (int i = 1; i < 2 * MANY; i++)
        ptl_buf_printf(&text, "<%d>\n", i);
    assert_int_equal(kb_parts_scan(parts, text.data, text.len, heard, seen), 0);
    int n = 0;
    for (; numbers[n] >= 0; n++)
        assert_int_equal(seen[n], 1);
    for (; n < MANY; n++)
        assert_int_equal(seen[n], 0);
}

static void numbers_from(int *v, int first, int n)
{
    for (int i = 0; i < n; i++)
        v[i] = first + i;
    v[n] = -1;
}

static const int base[] = {1, 2, 3, 3, 4, 5, 6, 7, 8, -1};
static const struct {
    const char *what;
    int v[16];
    size_t own;
} shared[] = {
    {"the same",                    {1, 2, 3, 3, 4, 5, 6, 7, 8, -1},    0},
    {"in another order",            {8, 3, 7, 6, 5, 3, 4, 2, 1, -1},    0},
    {"one more",                    {1, 2, 3, 3, 4, 5, 6, 7, 8, 9, -1}, 1},
    {"one instead of another",      {1, 2, 3, 3, 4, 55, 6, 7, 8, -1},   1},
    {"two gone",                    {1, 3, 3, 4, 5, 6, 8, -1},          0},
    {"one of twins gone",           {1, 2, 3, 4, 5, 6, 7, 8, -1},       0},
    {"a third twin",                {3, 1, 3, 2, 3, 4, 5, 6, 7, 8, -1}, 1},
    {"too little left: all anew",   {1, 2, 9, -1},                      0},
    {"nothing in common: all anew", {20, 21, 22, -1},                   0},
};

static void what_is_shared_finds_the_same(void **state PTL_UNUSED)
{
    struct kb_parts old = made(base, NULL, NULL, 0);
    check(&old, base);
    for (size_t i = 0; i < PTL_ARRAY_LEN(shared); i++) {
        struct kb_parts parts = made(shared[i].v, &old, NULL, 0);
        print_message("    %s\n", shared[i].what);
        assert_int_equal(kb_parts_own(&parts), shared[i].own);
        check(&parts, shared[i].v);
        kb_parts_done(&parts);
    }
    kb_parts_done(&old);
}

static void a_part_outlives_whom_it_came_from(void **state PTL_UNUSED)
{
    static const int with[] = {1, 2, 3, 3, 4, 5, 6, 7, 8, 9, -1};
    struct kb_parts old = made(base, NULL, NULL, 0), young = made(with, &old, NULL, 0);
    kb_parts_done(&old);
    struct kb_parts again = made(base, &young, NULL, 0); /* what it shares is shared on, its own is not */
    kb_parts_done(&young);
    assert_int_equal(kb_parts_own(&again), 0);
    check(&again, base);
    kb_parts_done(&again);
}

static void many_of_its_own_are_compiled_together_with_the_rest(void **state PTL_UNUSED)
{
    int few[MANY + 1], more[MANY + 1], many[MANY + 1];
    numbers_from(few, 1, 100);
    numbers_from(more, 1, 300);
    numbers_from(many, 1, 301);
    struct kb_parts old = made(few, NULL, NULL, 0), beside = made(more, &old, NULL, 0),
                    whole = made(many, &old, NULL, 0);
    assert_int_equal(kb_parts_own(&beside), 200);
    assert_int_equal(kb_parts_own(&whole), 0);
    check(&beside, more);
    check(&whole, many);
    kb_parts_done(&old);
    kb_parts_done(&beside);
    kb_parts_done(&whole);
}

static void bytes_give_what_they_were_made_of(void **state PTL_UNUSED)
{
    static const int with[] = {9, 1, 2, 3, 3, 4, 5, 6, 7, 8, -1};
    struct ptl_error err = PTL_ERROR_INIT;
    struct kb_patterns p = patterns(base);
    PTL_FREE void *bytes = NULL;
    size_t len = 0;
    int wrong;
    assert_int_equal(kb_parts_data(NULL, &p, &bytes, &len, &wrong, &err), 0);
    /* Out of a part that is just these, and of others that have to be compiled together. */
    static const int fewer[] = {1, 2, 3, 3, 4, 5, 6, 7, -1}, turned[] = {2, 1, 3, 3, 4, 5, 6, 7, 8, -1};
    struct kb_parts from[] = {made(base, NULL, NULL, 0), made(fewer, NULL, NULL, 0),
                              made(turned, NULL, NULL, 0)};
    for (size_t i = 0; i < PTL_ARRAY_LEN(from); i++) {
        PTL_FREE void *again = NULL;
        size_t again_len = 0;
        assert_int_equal(kb_parts_data(&from[i], &p, &again, &again_len, &wrong, &err), 0);
        struct kb_parts back = made(base, NULL, again, again_len);
        assert_int_equal(kb_parts_own(&back), 0);
        check(&back, base);
        kb_parts_done(&back);
        kb_parts_done(&from[i]);
    }
    kb_patterns_done(&p);
    struct kb_parts parts = made(with, NULL, bytes, len);
    assert_int_equal(kb_parts_own(&parts), 1); /* one alone was compiled: the rest came from the bytes */
    check(&parts, with);
    kb_parts_done(&parts);
    /* Whatever is wrong with their beginning, they are left alone and everything is compiled. */
    PTL_FREE char *bad = malloc(len);
    assert_non_null(bad);
    for (size_t cut = 0; cut < 400 && cut < len; cut += 7) {
        PTL_FREE char *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, bytes, cut);
        parts = made(with, NULL, exact, cut);
        assert_int_equal(kb_parts_own(&parts), 0);
        kb_parts_done(&parts);
        memcpy(bad, bytes, len);
        bad[cut] ^= 1;
        parts = made(with, NULL, bad, len);
        check(&parts, with);
        kb_parts_done(&parts);
    }
}

static void the_refused_one_is_named_by_its_place(void **state PTL_UNUSED)
{
    static const int wrong_ones[] = {1, 2, 3, 3, 4, 9, 5, 6, 7, 0, 8, -1};
    struct kb_parts old = made(base, NULL, NULL, 0), none = {0};
    for (int beside = 0; beside < 2; beside++) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct kb_patterns p = patterns(wrong_ones);
        int wrong = -1;
        assert_int_equal(kb_parts_new(&p, beside ? &old : NULL, NULL, 0, &none, &wrong, &err), -EINVAL);
        assert_int_equal(wrong, 9);
        assert_true(err.text[0]);
        assert_null(none.part[0]);
    }
    kb_parts_done(&old);
}

static int enough(void *ctx, uint32_t id PTL_UNUSED, unsigned long long to PTL_UNUSED)
{
    return --*(int *)ctx > 0 ? 0 : -E2BIG;
}

static void who_listens_may_end_it(void **state PTL_UNUSED)
{
    static const int with[] = {1, 2, 3, 3, 4, 5, 6, 7, 8, 9, -1};
    struct kb_parts old = made(base, NULL, NULL, 0), parts = made(with, &old, NULL, 0);
    int n = 2;
    assert_int_equal(kb_parts_scan(&parts, "<1><2><3><9>", 12, enough, &n), -E2BIG);
    assert_int_equal(n, 0); /* the second part was not looked at either */
    kb_parts_done(&old);
    kb_parts_done(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shared_finds_the_same),
        cmocka_unit_test(a_part_outlives_whom_it_came_from),
        cmocka_unit_test(many_of_its_own_are_compiled_together_with_the_rest),
        cmocka_unit_test(bytes_give_what_they_were_made_of),
        cmocka_unit_test(the_refused_one_is_named_by_its_place),
        cmocka_unit_test(who_listens_may_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
