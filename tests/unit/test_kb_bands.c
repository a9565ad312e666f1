/* test_kb_bands.c - texts that share words share bands, in proportion; masks and numbers do not count. */
#include "bands.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static int common(const char *a, const char *b)
{
    int64_t x[PTL_KB_BANDS], y[PTL_KB_BANDS];
    int n = 0;
    assert_int_equal(ptl_kb_bands(&a, 1, x), PTL_KB_BANDS);
    assert_int_equal(ptl_kb_bands(&b, 1, y), PTL_KB_BANDS);
    for (int i = 0; i < PTL_KB_BANDS; i++)
        n += x[i] == y[i];
    return n;
}

static void likeness_is_seen(void **state PTL_UNUSED)
{
    static const struct {
        const char *a, *b;
        int least, most;
    } t[] = {
        {"ValueError: expected <n> channels",                              "ValueError: expected <n> channels",            16, 16},
        {"valueerror EXPECTED channels",                                   "channels expected ValueError",                 16,
         16                                                                                                                      }, /* a set, whatever the case */
        {"no module named <q>",                                            "no module named <path> 17",                    16, 16},
        {"one two three four five six seven eight nine ten eleven twelve",
         "one two three four five six seven eight nine ten eleven dozen",                                                  7,  15},
        {"address already in use",                                         "cannot convert an operator that nobody knows", 0,  1 },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        int n = common(t[i].a, t[i].b);
        if (n < t[i].least || n > t[i].most)
            fail_msg("row %zu: %d bands in common", i, n);
    }
}

static void several_lines_are_one_set(void **state PTL_UNUSED)
{
    const char *two[] = {"first line here", "second line there"},
               *turned[] = {"second line there", "first line here"};
    int64_t x[PTL_KB_BANDS], y[PTL_KB_BANDS];
    assert_int_equal(ptl_kb_bands(two, 2, x), PTL_KB_BANDS);
    assert_int_equal(ptl_kb_bands(turned, 2, y), PTL_KB_BANDS);
    assert_memory_equal(x, y, sizeof(x));
}

static void nothing_has_no_bands(void **state PTL_UNUSED)
{
    const char *lines[] = {"", "12 <n> ab <path>", NULL};
    int64_t x[PTL_KB_BANDS];
    assert_int_equal(ptl_kb_bands(lines, 3, x), 0);
    assert_int_equal(ptl_kb_bands(NULL, 0, x), 0);
}

static void of_a_diagnosis(void **state PTL_UNUSED)
{
    PTL_JSON *d = json_pack("{s:[{s:s},{s:s},{s:n}]}", "evidence", "text", "RuntimeError: bad tensor 7",
                            "text", "node 12 failed", "text");
    PTL_JSON *bands = ptl_kb_bands_of(d), *none = json_object(), *empty = ptl_kb_bands_of(none);
    assert_int_equal(json_array_size(bands), PTL_KB_BANDS);
    assert_int_equal(json_array_size(empty), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likeness_is_seen),
        cmocka_unit_test(several_lines_are_one_set),
        cmocka_unit_test(nothing_has_no_bands),
        cmocka_unit_test(of_a_diagnosis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
