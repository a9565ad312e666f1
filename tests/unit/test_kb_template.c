/* test_kb_template.c - what differs between two failures of one kind is masked, what makes them one kind
 * stays. */
#include "template.h"
#include "kb.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static void lines_become_templates(void **state PTL_UNUSED)
{
    static const struct {
        const char *line, *expect;
    } t[] = {
        {"ValueError: expected 3 channels, got 1",                                       "ValueError: expected <n> channels, got <n>"     },
        {"tensorflow 2.15.0 needs keras 3.0.5rc1",                                       "tensorflow <n> needs keras <n>"                 },
        {"torch==2.1.0+cu118 is not a supported wheel",                                  "torch==<n> is not a supported wheel"            },
        {"  File \"/home/ada/x/export.py\", line 12, in main",                           "File <q>, line <n>, in main"                    },
        {"cannot open /usr/lib/libfoo.so.2: no such file",                               "cannot open <path>: no such file"               },
        {"error in C:\\models\\a.onnx at byte 77",                                       "error in <path> at byte <n>"                    },
        {"read model.onnx, wrote ./out/model.tflite",                                    "read <path>, wrote <path>"                      },
        {"object at 0x7f3a12 was freed",                                                 "object at <hex> was freed"                      },
        {"commit 1a2b3c4d5e is missing",                                                 "commit <hex> is missing"                        },
        {"request 123e4567-e89b-12d3-a456-426614174000 failed",                          "request <hex> failed"                           },
        {"GET http://127.0.0.1:8501/v1/models/m:predict: 404",                           "GET <url>: <n>"                                 },
        {"2024-05-01 12:33:11,123 ERROR cannot convert",                                 "ERROR cannot convert"                           },
        {"[2024-05-01T12:33:11Z] cannot convert",                                        "cannot convert"                                 },
        {"W0000 00:00:17 cannot convert",                                                "W<n> cannot convert"                            },
        {"Input 0 of layer 'dense_3' is incompatible: expected shape=(None, 28, 28, 1)",
         "Input <n> of layer <q> is incompatible: expected shape=(None, <n>)"                                                             },
        {"got shape [1, 224, 224, 3]",                                                   "got shape [<n>]"                                },
        {"got shape [1,224,224,3] of float32",                                           "got shape [<n>] of float32"                     },
        {"node conv2d_17 uses Conv2D and relu6 with int8",                               "node conv2d_<n> uses Conv2D and relu6 with int8"},
        {"operator \xe2\x80\x98GridSample\xe2\x80\x99 is unsupported",                   "operator <q> is unsupported"                    },
        {"it doesn't fit and can't be split",                                            "it doesn't fit and can't be split"              },
        {"use float and/or double",                                                      "use float and/or double"                        },
        {"took 12ms, 3.5GiB, 1e-5, 98%",                                                 "took <n>"                                       },
        {"a\t b   c",                                                                    "a b c"                                          },
        {"12 34 56.7",                                                                   ""                                               },
        {"",                                                                             ""                                               },
        {"'x'",                                                                          ""                                               },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_FREE char *got = ptl_kb_template(t[i].line, strlen(t[i].line));
        if (!ptl_str_eq(got, t[i].expect))
            fail_msg("'%s': got '%s', expected '%s'", t[i].line, got, t[i].expect);
        PTL_FREE char *again = ptl_kb_template(got, strlen(got));
        if (*got && !ptl_str_eq(got, again))
            fail_msg("'%s' masked again is '%s'", got, again);
    }
}

static void kinds_stay_apart(void **state PTL_UNUSED)
{
    const char *a = "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'",
               *b = "Didn't find custom op for name 'GridSample'";
    PTL_FREE char *x = ptl_kb_template(a, strlen(a));
    PTL_FREE char *y = ptl_kb_template(b, strlen(b));
    assert_string_not_equal(x, y);
}

static void templates_are_bounded(void **state PTL_UNUSED)
{
    static char line[100000];
    for (size_t i = 0; i < sizeof(line); i++)
        line[i] = "word \xc3\xa4 "[i % 8];
    PTL_FREE char *got = ptl_kb_template(line, sizeof(line));
    assert_true(strlen(got) <= PTL_KB_TEMPLATE_MAX);
    assert_non_null(got);
    assert_true(((unsigned char)got[strlen(got) - 1] & 0xc0) != 0xc0); /* no half of a character */
    memset(line, '\'', sizeof(line));
    PTL_FREE char *quotes = ptl_kb_template(line, sizeof(line));
    assert_non_null(quotes);
    for (int c = 0; c < 256; c++) { /* every byte anywhere is survived */
        char any[3] = {(char)c, (char)(c + 1), (char)c};
        PTL_FREE char *some = ptl_kb_template(any, 3);
        assert_non_null(some);
    }
}

static void fingerprints(void **state PTL_UNUSED)
{
    char a[PTL_KB_FINGERPRINT_HEX], b[PTL_KB_FINGERPRINT_HEX];
    ptl_kb_fingerprint((const char *const[]){"one", "two"}, 2, a);
    assert_int_equal(strlen(a), 16);
    ptl_kb_fingerprint((const char *const[]){"onetwo"}, 1, b);
    assert_string_not_equal(a, b);
    ptl_kb_fingerprint((const char *const[]){"one", "", NULL, "two"}, 4, b);
    assert_string_equal(a, b);
    ptl_kb_fingerprint((const char *const[]){"", NULL}, 2, b);
    assert_string_equal(b, "");
}

/* Two runs of one failure, on other machines, of other models, at other times. */
static void a_diagnosis_carries_both(void **state PTL_UNUSED)
{
    static const char *const logs[] = {
        "loading /a/b/one.onnx\nRuntimeError: cannot convert node 'a_1' of version 3\n",
        "12:00:01 hello\nloading /c/two.onnx\n2024-01-01 10:00:00 RuntimeError: cannot convert node 'zz' of version 19\n",
        "KeyError: 'serving_default'\n"};
    char prints[3][32];
    for (size_t i = 0; i < 3; i++) {
        PTL_JSON *facts = json_pack("{s:s}", "end_reason", "exit");
        struct ptl_kb_log one = {.text = logs[i], .len = strlen(logs[i])};
        struct ptl_error err = PTL_ERROR_INIT;
        json_t *d = NULL;
        assert_int_equal(ptl_kb_diagnose(NULL, facts, &one, 1, &d, &err), 0);
        snprintf(prints[i], sizeof(prints[i]), "%s", ptl_json_str(d, "fingerprint", ""));
        assert_int_equal(strlen(prints[i]), 16);
        if (i < 2)
            assert_string_equal(ptl_json_str(d, "template", ""),
                                "RuntimeError: cannot convert node <q> of version <n>");
        json_decref(d);
    }
    assert_string_equal(prints[0], prints[1]);
    assert_string_not_equal(prints[0], prints[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_templates), cmocka_unit_test(kinds_stay_apart),
        cmocka_unit_test(templates_are_bounded), cmocka_unit_test(fingerprints),
        cmocka_unit_test(a_diagnosis_carries_both)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
