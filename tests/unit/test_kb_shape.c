/* test_kb_shape.c - the most specific line comes first, generic ones never, and what the facts say is said.
 */
#include "kb.h"
#include <setjmp.h>
#include <cmocka.h>

static json_t *diagnose(const char *facts_text, const char *log)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *facts = json_loads(facts_text, 0, NULL);
    json_t *d = NULL;
    struct ptl_kb_log one = {.text = log, .len = strlen(log)};
    assert_int_equal(ptl_kb_diagnose(NULL, facts, &one, 1, &d, &err), 0);
    return d;
}

static const char *first(const json_t *d)
{
    return ptl_json_str(json_array_get(json_object_get(d, "evidence"), 0), "text", "");
}

static void the_specific_line_wins(void **state PTL_UNUSED)
{
    static const struct {
        const char *label, *log, *expect;
    } t[] = {
        {"converter names the op",
         "INFO starting\nTraceback (most recent call last):\n  File \"x.py\", line 3\nConverterError: Some ops are not supported by the native TFLite runtime\n\tTF Select ops: Dilation2D\nerror: command failed with exit code 1\n",
         "ConverterError: Some ops are not supported by the native TFLite runtime"                                                                                                                                                                                                },
        {"cause before the chain",
         "ValueError: expected float32 input\nDuring handling of the above exception, another exception occurred:\nRuntimeError: export failed\n",
         "ValueError: expected float32 input"                                                                                                                                                                                                                                     },
        {"colours and carriage returns",
         "10%\r50%\r\x1b[31mImportError: No module named 'onnxscript'\x1b[0m\n",                                                                                                                                                       "ImportError: No module named 'onnxscript'"},
        {"a harmless word is no evidence", "input shape (1, 8)\nall good\n",                                                                                                                                                           ""                                         },
        {"generic lines are no evidence",  "Process completed with exit code 1.\nnpm ERR! code ELIFECYCLE\n",
         ""                                                                                                                                                                                                                                                                       },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *d = diagnose("{\"end_reason\":\"exit\",\"exit_code\":1}", t[i].log);
        if (!ptl_str_eq(first(d), t[i].expect))
            fail_msg("%s: got '%s'", t[i].label, first(d));
    }
}

static void places_are_exact(void **state PTL_UNUSED)
{
    const char *log = "one\ntwo\nKeyError: 'serving_default'\n";
    PTL_JSON *d = diagnose("{\"end_reason\":\"exit\"}", log);
    const json_t *e = json_array_get(json_object_get(d, "evidence"), 0);
    assert_int_equal(ptl_json_i64(e, "line", 0), 3);
    assert_int_equal(ptl_json_i64(e, "offset", 0), 8);
    assert_memory_equal(log + 8, "KeyError: 'serving_default'", (size_t)ptl_json_i64(e, "length", 0));
}

static void facts_are_said(void **state PTL_UNUSED)
{
    PTL_JSON *oom = diagnose("{\"end_reason\":\"oom\"}", "");
    assert_string_equal(ptl_json_str(oom, "verdict", ""), "stated");
    assert_false(ptl_json_flag(oom, "transient", true));
    PTL_JSON *lost = diagnose("{\"end_reason\":\"agent_lost\"}", "");
    assert_true(ptl_json_flag(lost, "transient", false));
    PTL_JSON *red = diagnose(
        "{\"end_reason\":\"exit\",\"report\":{\"verdict\":\"red\",\"reasons\":[{\"code\":\"nan\",\"text\":\"3 of 10 are NaN\"}]}}",
        "");
    assert_non_null(strstr(ptl_json_str(red, "summary", ""), "3 of 10 are NaN"));
    PTL_JSON *none = diagnose("{\"end_reason\":\"exit\"}", "");
    assert_string_equal(ptl_json_str(none, "verdict", ""), "unclear");
}

static void cuts_are_told(void **state PTL_UNUSED)
{
    static char log[20000];
    memset(log, 'x', sizeof(log) - 1);
    PTL_JSON *d = diagnose("{\"end_reason\":\"exit\"}", log);
    assert_int_equal(json_array_size(json_object_get(d, "cuts")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_specific_line_wins),
                                       cmocka_unit_test(places_are_exact), cmocka_unit_test(facts_are_said),
                                       cmocka_unit_test(cuts_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
