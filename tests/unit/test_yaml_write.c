/* test_yaml_write.c - whatever JSON is written as YAML is read back as the same JSON, and looks as people
 * write. */
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static void round_trip(const char *label, const json_t *j, int indent, bool item)
{
    PTL_BUF b = PTL_BUF_INIT;
    PTL_JSON *back = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (item)
        ptl_buf_puts(&b, "list:\n");
    assert_int_equal(ptl_yaml_write(j, indent, item, &b), 0);
    if (ptl_yaml_parse(ptl_buf_str(&b), b.len, label, &back, &err) < 0)
        fail_msg("%s: %s\n%s", label, err.text, ptl_buf_str(&b));
    const json_t *got = item ? json_array_get(json_object_get(back, "list"), 0) : back;
    PTL_FREE char *want = ptl_json_text(j);
    PTL_FREE char *have = ptl_json_text(got);
    if (!json_equal(got, j))
        fail_msg("%s: wrote\n%sread back %s\nwanted %s", label, ptl_buf_str(&b), have, want);
}

static void values_survive(void **state PTL_UNUSED)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "a",
                                        "true",
                                        "No",
                                        "on",
                                        "~",
                                        "null",
                                        "1",
                                        "1.50",
                                        "-3",
                                        "007",
                                        "1e5",
                                        "a: b",
                                        "a #b",
                                        "- x",
                                        "#",
                                        "a'b",
                                        "it''s",
                                        "\"quoted\"",
                                        "back\\slash",
                                        "new\nline",
                                        "tab\there",
                                        "\x01report: red",
                                        "trailing ",
                                        "Didn.t find (?<op>[A-Z]+)",
                                        "[x]",
                                        "{y}",
                                        "a, b",
                                        "größer ›",
                                        "\xc2\x85next line",
                                        "\xe2\x80\xa8separator",
                                        ("\xef\xbb\xbf"
                                         "bom"),
                                        "\xf0\x9f\x9a\xa2 ship",
                                        "%",
                                        "@at",
                                        "`tick",
                                        "? key",
                                        "|",
                                        ">",
                                        "&anchor",
                                        "*alias",
                                        "!tag",
                                        "pip install 'x>=1'",
                                        "y",
                                        "N",
                                        "nan",
                                        ".5",
                                        "+1",
                                        "2020-01-01",
                                        "0x10",
                                        "1_000",
                                        "=",
                                        "<<"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(texts); i++) {
        PTL_JSON *j =
            json_pack("{s:s,s:[s,s],s:{s:[s]}}", "v", texts[i], "list", texts[i], "x", "deep", "k", texts[i]);
        PTL_JSON *key = json_object();
        round_trip(texts[i], j, 0, false);
        round_trip(texts[i], j, 2, true);
        if (*texts[i] && strcmp(texts[i], "<<") !=
                             0) { /* keys of the house's files are words; others must not break either */
            json_object_set_new(key, texts[i], json_integer(1));
            round_trip(texts[i], key, 0, false);
        }
    }
}

static void numbers_survive(void **state PTL_UNUSED)
{
    static const double reals[] = {0.0, 1.0, -1.0, 0.1, 0.95, 1.0 / 3, 1e-9, 1e21, 123456.75, -0.0625};
    for (size_t i = 0; i < PTL_ARRAY_LEN(reals); i++) {
        char label[40];
        snprintf(label, sizeof(label), "%.17g", reals[i]);
        PTL_JSON *j =
            json_pack("{s:f,s:i,s:b,s:n}", "real", reals[i], "int", (int)i - 3, "flag", i % 2, "none");
        round_trip(label, j, 0, false);
    }
}

static void long_and_deep_things_survive(void **state PTL_UNUSED)
{
    PTL_JSON *deep = json_string("bottom");
    PTL_JSON *wide = json_object();
    for (int i = 0; i < 20; i++) {
        json_t *up = i % 2 ? json_pack("[o]", deep)
                           : json_pack("{s:o,s:s}", "down", deep, "beside",
                                       "text that is long enough to need a line of its own");
        deep = up;
    }
    round_trip("deep", deep, 0, false);
    for (int i = 0; i < 60; i++) {
        char key[20];
        snprintf(key, sizeof(key), "key-%d", i);
        json_object_set_new(
            wide, key,
            json_pack("[{s:s,s:{}},[],[i,i]]", "pattern",
                      "a rather long pattern with spaces (?:and|or) more of it, so that it does not fit",
                      "empty", i, i));
    }
    round_trip("wide", wide, 4, true);
    PTL_JSON *abyss = json_array();
    PTL_BUF b = PTL_BUF_INIT;
    for (int i = 0; i < 100; i++)
        abyss = json_pack("[o]", abyss);
    assert_int_equal(ptl_yaml_write(abyss, 0, false, &b), -E2BIG);
}

static void it_looks_as_people_write(void **state PTL_UNUSED)
{
    PTL_JSON *j = json_pack("{s:s,s:s,s:{s:{s:f}},s:[s],s:[{s:s,s:i}]}", "id", "local/widget", "pattern",
                            "WIDGET-\\d+ (?<what>[a-z]+)", "weights", "any", "server/environment/x", 0.9,
                            "flags", "caseless", "also", "pattern", "refused", "within", 5);
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_yaml_write(j, 2, true, &b), 0);
    assert_string_equal(ptl_buf_str(&b), "  - id: local/widget\n"
                                         "    pattern: 'WIDGET-\\d+ (?<what>[a-z]+)'\n"
                                         "    weights: {any: {server/environment/x: 0.9}}\n"
                                         "    flags: [caseless]\n"
                                         "    also: [{pattern: refused, within: 5}]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_survive), cmocka_unit_test(numbers_survive),
                                       cmocka_unit_test(long_and_deep_things_survive),
                                       cmocka_unit_test(it_looks_as_people_write)};
    return cmocka_run_group_tests_name("yaml_write", tests, NULL, NULL);
}
