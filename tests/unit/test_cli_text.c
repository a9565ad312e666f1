/* test_cli_text.c - nothing from outside steers a terminal; tables are aligned in what a terminal shows. */
#include "cli.h"
#include <locale.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static void cleaned(void **state PTL_UNUSED)
{
    static const char *const t[][2] = {
        {"plain",                  "plain"             },
        {"a\x1b[31mb",             "a?[31mb"           },
        {"a\nb\tc\rd",             "a b c d"           },
        {"bell\a",                 "bell?"             },
        {"gr\xc3\xbc\xc3\x9f",     "gr\xc3\xbc\xc3\x9f"},
        {"c1 \xc2\x9b"
         "31m",           "c1 ?31m"           },
        {"bidi \xe2\x80\xae"
         "x",             "bidi ?x"           },
        {"cut \xe2\x82",           "cut ??"            },
        {"overlong \xc0\xaf",      "overlong ??"       },
        {"surrogate \xed\xa0\x80", "surrogate ???"     },
        {"",                       ""                  },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_FREE char *c = cli_clean(t[i][0]);
        assert_string_equal(c, t[i][1]);
    }
    PTL_FREE char *none = cli_clean(NULL);
    assert_string_equal(none, "");
}

static void measured_and_cut(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        size_t columns;
        const char *cut;
    } t[] = {
        {"abcdef",                               6, "abcdef"                              },
        {"abcdef",                               4, "abc\xe2\x80\xa6"                     },
        {"abcdef",                               1, "\xe2\x80\xa6"                        },
        {"abcdef",                               0, ""                                    },
        {"\xe6\xb8\xaf\xe6\xb8\xaf\xe6\xb8\xaf", 6,
         "\xe6\xb8\xaf\xe6\xb8\xaf\xe6\xb8\xaf"                                           }, /* wide: two columns each */
        {"\xe6\xb8\xaf\xe6\xb8\xaf\xe6\xb8\xaf", 5, "\xe6\xb8\xaf\xe6\xb8\xaf\xe2\x80\xa6"},
        {"\xe6\xb8\xaf\xe6\xb8\xaf\xe6\xb8\xaf", 4, "\xe6\xb8\xaf\xe2\x80\xa6"            },
        {"e\xcc\x81"
         "f",                           2,
         "e\xcc\x81"
         "f"                                                                              }, /* a combining accent takes none */
    };
    assert_int_equal(cli_width("\xe6\xb8\xaf"), 2);
    assert_int_equal(cli_width("e\xcc\x81"), 1);
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_FREE char *c = cli_cut(t[i].text, t[i].columns);
        if (!ptl_str_eq(c, t[i].cut))
            fail_msg("%zu: \"%s\"", i, c);
        assert_true(cli_width(c) <= t[i].columns);
    }
}

static char *filtered(const char *in, size_t piece)
{
    struct cli_log_filter f = {0};
    PTL_BUF b = PTL_BUF_INIT;
    for (size_t at = 0, n = strlen(in); at < n; at += piece)
        cli_log_clean(&f, in + at, at + piece > n ? n - at : piece, &b);
    char *s = ptl_buf_take(&b, NULL);
    return s ? s : ptl_xstrdup("");
}

static void logs_cannot_steer(void **state PTL_UNUSED)
{
    static const char *const t[][2] = {
        {"line\n",                            "line\n"                           },
        {"tab\there\n",                       "tab\there\n"                      },
        {"\x1b[1;31mred\x1b[0m\n",            "\x1b[1;31mred\x1b[0m\n"           },
        {"\x1b[2J\x1b[Hgone\n",               "?[2J?[Hgone\n"                    },
        {"\x1b]0;title\a\n",                  "?]0;title?\n"                     },
        {"10 %\r20 %\r\n",                    "10 %\n20 %\n"                     },
        {"win\r\nnext\r\n",                   "win\nnext\n"                      },
        {"gr\xc3\xbc\xc3\x9f \xe6\xb8\xaf\n", "gr\xc3\xbc\xc3\x9f \xe6\xb8\xaf\n"},
        {"bad \xff\xfe\n",                    "bad ??\n"                         },
        {"\x1b[999999999999999999999m\n",     "?[999999999999999999999m\n"       },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++)
        for (size_t piece = 1; piece < 9; piece++) { /* a piece may end anywhere */
            PTL_FREE char *s = filtered(t[i][0], piece);
            if (!ptl_str_eq(s, t[i][1]))
                fail_msg("%zu in pieces of %zu: \"%s\"", i, piece, s);
        }
}

static void times(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        int64_t ms;
    } t[] = {
        {"1970-01-01T00:00:01Z",      1000         },
        {"2026-11-23T07:25:30.12Z",   1795418730120},
        {"2026-11-23T07:25:30+00:00", 1795418730000},
        {"2026-11-23 07:25:30",       -1           },
        {"soon",                      -1           },
        {NULL,                        -1           },
    };
    char text[32];
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++)
        if (cli_time_parse(t[i].text) != t[i].ms)
            fail_msg("%s: %lld", t[i].text, (long long)cli_time_parse(t[i].text));
    cli_time_local(1795418730120, text);
    assert_string_equal(text, "2026-11-23 09:25:30"); /* main() sets a zone two hours east */
}

static void numbers(void **state PTL_UNUSED)
{
    static const struct {
        const char *json, *kind, *text;
    } t[] = {
        {"0.000023", "error",  "2.3e-05" },
        {"0.984",    "share",  "98.4 %"  },
        {"1",        "share",  "100 %"   },
        {"3.14159",  "ms",     "3.14 ms" },
        {"4200",     "ms",     "4.2 s"   },
        {"42240",    "bytes",  "41.2 KiB"},
        {"\"nan\"",  "error",  "nan"     },
        {"null",     "error",  "-"       },
        {"0.9991",   "cosine", "0.999100"},
    };
    char text[32];
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *v = json_loads(t[i].json, JSON_DECODE_ANY, NULL);
        cli_number(v, t[i].kind, text);
        assert_string_equal(text, t[i].text);
    }
    cli_number(NULL, "ms", text);
    assert_string_equal(text, "-");
}

static const struct cli_column columns[] = {
    {"NAME",  false, true },
    {"N",     true,  false},
    {"EMPTY", false, false},
    {"TEXT",  false, true }
};

static char *table(int width, bool color)
{
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    static const char *const rows[][4] = {
        {"export",       "1",   "", "short"                                },
        {"\xe6\xb8\xaf", "22",  "", "a text that is longer than the others"},
        {"x\x1b[2J",     "333", "", ""                                     }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < 4; k++)
            cli_table_cell(t, k == 0 ? CLI_GREEN : CLI_PLAIN, "%s", rows[i][k]);
    PTL_BUF b = PTL_BUF_INIT;
    cli_table_print(t, &b, width, color);
    return ptl_buf_take(&b, NULL);
}

static void tables(void **state PTL_UNUSED)
{
    PTL_FREE char *wide = table(0, false);
    assert_string_equal(wide, "NAME      N  TEXT\n"
                              "export    1  short\n"
                              "\xe6\xb8\xaf       22  a text that is longer than the others\n"
                              "x?[2J   333  -\n");
    PTL_FREE char *narrow = table(40, false);
    assert_string_equal(narrow, "NAME      N  TEXT\n"
                                "export    1  short\n"
                                "\xe6\xb8\xaf       22  a text that is longer than\xe2\x80\xa6\n"
                                "x?[2J   333  -\n");
    PTL_FREE char *colored = table(0, true);
    assert_non_null(strstr(colored, "\033[32mexport\033[0m"));
    PTL_CLEANUP(cli_table_freep) struct cli_table *empty = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    PTL_BUF b = PTL_BUF_INIT;
    cli_table_print(empty, &b, 0, false);
    assert_string_equal(ptl_buf_str(&b), "NAME  N  EMPTY  TEXT\n");
}

static void a_diagnosis_for_people(void **state PTL_UNUSED)
{
    PTL_JSON *stage = json_loads(
        "{\"name\":\"convert/android\",\"state\":\"red\",\"attempt_id\":9,\"attempt_message\":\"exit code "
        "1\",\"diagnosis_state\":\"done\",\"diagnosis\":{\"version\":2,\"verdict\":\"challenge\",\"summary\":\"an operator is "
        "missing\",\"transient\":false,\"challenges\":[{\"id\":\"mobile/op\",\"path\":\"Mobile > "
        "Conversion\",\"probability\":0.874,\"remedy\":{\"text\":\"allow select "
        "ops\",\"commands\":[\"x\\u001b[2J\"]},\"came_in\":\"export\"},{\"id\":\"b\",\"probability\":0.05},{\"id\":\"c\","
        "\"probability\":0.02},{\"id\":\"d\",\"probability\":0.01}],\"evidence\":[{\"line\":0,\"text\":\"exit code "
        "1\"},{\"line\":4,\"text\":\"op Dilation2D\",\"stage\":\"export\",\"why\":\"op-17\"}],\"nearest\":[\"e\",\"f\"],"
        "\"decide\":[\"the model file\"],\"cuts\":[]}}",
        0, NULL);
    PTL_BUF b = PTL_BUF_INIT;
    assert_non_null(stage);
    cli_show_red(&b, stage, true, 0, false);
    assert_string_equal(ptl_buf_str(&b), "\nconvert/android: exit code 1\n"
                                         "  diagnosis: an operator is missing\n"
                                         "      87 % Mobile > Conversion  (mobile/op), came in at export\n"
                                         "           remedy: allow select ops\n"
                                         "             $ x?[2J\n"
                                         "       5 % b\n"
                                         "       2 % c\n"
                                         "    fact      | exit code 1\n"
                                         "    line 4    | op Dilation2D   [export]   (op-17)\n"
                                         "    nearest: e; f\n"
                                         "    would decide: the model file\n"
                                         "  next: portolan logs 9; portolan reproduce 9\n");
}

static void what_is_made_of_a_diagnosis(void **state PTL_UNUSED)
{
    PTL_JSON *stage = json_loads(
        "{\"name\":\"s\",\"state\":\"red\",\"diagnosis_state\":\"done\",\"diagnosis\":{\"summary\":\"x\"},"
        "\"challenge_id\":\"mobile/op\",\"challenge_by\":\"person\",\"feedback\":[{\"in_force\":false,\"by_name\":\"eve\"},"
        "{\"in_force\":true,\"by_name\":\"ada\",\"comment\":\"seen \\u001b[2J before\"}],"
        "\"retry\":{\"retry\":false,\"why\":\"not tried again: in vain\"},"
        "\"known_cases\":[{\"title\":\"Why?\",\"url\":\"https://example.org/1\"}]}",
        0, NULL);
    PTL_BUF b = PTL_BUF_INIT;
    assert_non_null(stage);
    cli_show_red(&b, stage, true, 0, false);
    assert_string_equal(ptl_buf_str(&b), "\ns\n"
                                         "  diagnosis: x\n"
                                         "  in force: mobile/op, said by ada: seen ?[2J before\n"
                                         "  retry: not tried again: in vain\n"
                                         "  answered: Why?  https://example.org/1\n");
}

static void only_the_best_lines(void **state PTL_UNUSED)
{
    PTL_JSON *stage =
        json_loads("{\"name\":\"s\",\"diagnosis\":{\"evidence\":[{\"line\":1},{\"line\":2},{\"line\":3},{"
                   "\"line\":4},{\"line\":5},{\"line\":6}]}}",
                   0, NULL);
    PTL_BUF best = PTL_BUF_INIT, all = PTL_BUF_INIT;
    cli_show_red(&best, stage, false, 0, false);
    cli_show_red(&all, stage, true, 0, false);
    assert_non_null(strstr(ptl_buf_str(&best), "line 4 "));
    assert_null(strstr(ptl_buf_str(&best), "line 5 "));
    assert_non_null(strstr(ptl_buf_str(&best), "2 more lines: portolan why"));
    assert_non_null(strstr(ptl_buf_str(&all), "line 6 "));
}

static void a_run_for_people(void **state PTL_UNUSED)
{
    PTL_JSON *run = json_loads(
        "{\"id\":12,\"number\":3,\"project\":\"digits\",\"state\":\"red\",\"commit_sha\":\"1a2b3c4d5e6f00000000\",\"commit_message\":\"Fix\\nmore\",\"stages\":["
        "{\"id\":1,\"name\":\"export\",\"kind\":\"export\",\"target\":null,\"state\":\"green\",\"started_at\":\"2026-11-23T07:00:00Z\",\"ended_at\":\"2026-11-23T07:00:41.2Z\",\"duration_ms\":41200,\"attempt_id\":810,\"model_bytes\":100000,\"report\":null},"
        "{\"id\":2,\"name\":\"verify/android\",\"target\":\"android\",\"state\":\"red\",\"attempt_id\":812,\"attempt_message\":\"verdict red\",\"diagnosis_state\":\"done\","
        "\"diagnosis\":{\"summary\":\"outputs differ\",\"verdict\":\"stated\",\"evidence\":[{\"line\":17,\"text\":\"bad \\u001b[2J value\",\"why\":\"worst element\"}]},"
        "\"report\":{\"verdict\":\"red\",\"outputs\":[{\"name\":\"a\",\"max_abs_error\":0.1,\"top1_agreement\":1.0},{\"name\":\"b\",\"max_abs_error\":0.25,\"top1_agreement\":0.875}],"
        "\"metrics\":{\"latency_p95_ms\":0.9,\"artifact_bytes\":51234},\"runtime\":{\"name\":\"litert\",\"indicative_latency\":true},\"reasons\":[{\"code\":\"tolerance\",\"text\":\"too far\"}]}},"
        "{\"id\":3,\"name\":\"verify/web\",\"target\":\"web\",\"state\":\"skipped\",\"message\":\"needs convert/web\",\"attempt_id\":null}]}",
        0, NULL);
    assert_non_null(run);
    PTL_BUF b = PTL_BUF_INIT;
    cli_show_head(&b, run, 0, false);
    assert_string_equal(ptl_buf_str(&b), "digits#3 (run 12)  red\ncommit   1a2b3c4d5e6f  Fix\n");
    ptl_buf_clear(&b);
    cli_show_stages(&b, run, 0, false);
    assert_string_equal(
        ptl_buf_str(&b),
        "STAGE           TARGET   STATE      TIME  MAX ABS   TOP-1      P95      SIZE  ATTEMPT  REMARK\n"
        "export          -        green    41.2 s        -       -        -  97.7 KiB      810  -\n"
        "verify/android  android  red           -     0.25  87.5 %  ~0.9 ms  50.0 KiB      812  verdict red\n"
        "verify/web      web      skipped       -        -       -        -         -        -  needs convert/web\n"
        "~ indicative: not measured on real hardware of its kind, so not a gate\n");
    ptl_buf_clear(&b);
    cli_show_red(&b, json_array_get(json_object_get(run, "stages"), 1), true, 0, false);
    assert_string_equal(ptl_buf_str(&b),
                        "\nverify/android: verdict red\n"
                        "  diagnosis: outputs differ\n"
                        "    line 17   | bad ?[2J value   (worst element)\n"
                        "  - too far (tolerance)\n"
                        "  next: portolan logs 812; portolan report 812; portolan reproduce 812\n");
    assert_int_equal(cli_run_exit(run), CLI_FAILED);
    json_object_set_new(run, "state", json_string("running"));
    assert_int_equal(cli_run_exit(run), -1);
    json_object_set_new(run, "state", json_string("green"));
    assert_int_equal(cli_run_exit(run), CLI_OK);
}

int main(void)
{
    setenv("TZ", "EAST-2", 1);
    tzset();
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleaned),
        cmocka_unit_test(measured_and_cut),
        cmocka_unit_test(logs_cannot_steer),
        cmocka_unit_test(times),
        cmocka_unit_test(numbers),
        cmocka_unit_test(tables),
        cmocka_unit_test(a_run_for_people),
        cmocka_unit_test(a_diagnosis_for_people),
        cmocka_unit_test(what_is_made_of_a_diagnosis),
        cmocka_unit_test(only_the_best_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
