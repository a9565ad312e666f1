/* test_tfserving.c - TensorFlow Serving's REST API: row and column requests, answers with and without names
 * and types. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../agents/drivers/server/tfserving.h"
#include <stdio.h>

static const float values[] = {1, 2, 3, 4, 5, 6, 7, 8};

static void add_input(struct ptl_tensors *t, const char *name, unsigned ndim, const uint64_t *shape)
{
    struct ptl_tensor_in *in = &t->in[t->n_in++];
    memset(in, 0, sizeof(*in));
    snprintf(in->name, sizeof(in->name), "%s", name);
    snprintf(in->wire, sizeof(in->wire), "%s", name);
    in->a.data = (const unsigned char *)values;
    in->a.dtype = PTL_DT_F32;
    in->a.ndim = ndim;
    in->a.elements = 1;
    for (unsigned d = ndim; d-- > 0;) {
        in->a.shape[d] = shape[d];
        in->a.stride[d] = in->a.elements;
        in->a.elements *= shape[d];
    }
    in->a.contiguous = true;
    in->sample_elements = in->a.elements / shape[0];
    t->samples = shape[0];
}

static void check_request(const struct ptl_tensors *t, enum ptl_tf_form form, const char *signature,
                          uint64_t count, const char *expected)
{
    struct ptl_serve_options o = {
        .protocol = PTL_SERVE_TF, .form = form, .model_name = "m", .signature_name = signature};
    PTL_BUF out = PTL_BUF_INIT;
    assert_int_equal(ptl_tf_request(&o, t, 0, count, &out, NULL), 0);
    assert_string_equal(out.data, expected);
}

static void requests_in_row_and_column_form(void **state)
{
    (void)state;
    struct ptl_tensors one = {0}, two = {0};
    add_input(&one, "x", 3, (uint64_t[]){2, 2, 2});
    check_request(&one, PTL_TF_ROW, "", 2, "{\"instances\":[[[1.0,2.0],[3.0,4.0]],[[5.0,6.0],[7.0,8.0]]]}");
    check_request(&one, PTL_TF_COLUMN, "s", 1,
                  "{\"signature_name\":\"s\",\"inputs\":[[[1.0,2.0],[3.0,4.0]]]}");
    add_input(&two, "a", 2, (uint64_t[]){4, 2});
    add_input(&two, "b", 1, (uint64_t[]){4});
    check_request(&two, PTL_TF_ROW, "", 2,
                  "{\"instances\":[{\"a\":[1.0,2.0],\"b\":1.0},{\"a\":[3.0,4.0],\"b\":2.0}]}");
    check_request(&two, PTL_TF_COLUMN, "", 2, "{\"inputs\":{\"a\":[[1.0,2.0],[3.0,4.0]],\"b\":[1.0,2.0]}}");
}

static const char metadata[] =
    "{\"model_spec\":{\"name\":\"m\"},\"metadata\":{\"signature_def\":{\"signature_def\":{\"serving_default\":{"
    "\"inputs\":{\"x\":{\"dtype\":\"DT_FLOAT\",\"tensor_shape\":{\"dim\":[{\"size\":\"%s\"},{\"size\":\"2\"}]},\"name\":\"serving_default_x:0\"}},"
    "\"outputs\":{\"probs\":{\"dtype\":\"DT_DOUBLE\",\"name\":\"StatefulPartitionedCall:0\"}}}}}}}";

static void metadata_tells_names_types_and_batch(void **state)
{
    (void)state;
    static const char *const sizes[] = {"-1", "4"};
    for (int i = 0; i < 2; i++) {
        char text[1024];
        snprintf(text, sizeof(text), metadata, sizes[i]);
        PTL_JSON *answer = json_loads(text, 0, NULL);
        struct ptl_serve_model m = {0};
        assert_int_equal(ptl_tf_metadata(answer, "", &m, NULL), 0);
        assert_string_equal(json_string_value(json_array_get(m.inputs, 0)), "x");
        assert_string_equal(ptl_json_str(m.output_dtypes, "probs", ""), "float64");
        assert_int_equal(m.batch, i ? 4 : 0);
        ptl_serve_model_done(&m);
    }
    PTL_JSON *other = json_loads("{\"metadata\":{\"signature_def\":{\"a\":{},\"b\":{}}}}", 0, NULL);
    struct ptl_serve_model m = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    assert_true(ptl_tf_metadata(other, "c", &m, &err) < 0);
    assert_non_null(strstr(err.text, "no signature \"c\""));
}

struct answer_case {
    const char *label, *text;
    uint64_t count;
    bool with_metadata;
    const char *name; /* of the first output */
    enum ptl_dtype dtype;
    const char *error;
};

static const struct answer_case answer_cases[] = {
    {"rows, one output",         "{\"predictions\":[[1,2],[3,4]]}",                             2, false, "probs", PTL_DT_F32, NULL                                     },
    {"rows, type from metadata", "{\"predictions\":[[1,2],[3,4]]}",                             2, true,  "probs", PTL_DT_F64, NULL                                     },
    {"rows of scalars",          "{\"predictions\":[1,2,3]}",                                   3, false, "probs", PTL_DT_F32, NULL                                     },
    {"rows with names",          "{\"predictions\":[{\"u\":[1],\"v\":2},{\"u\":[3],\"v\":4}]}", 2, false, "u",
     PTL_DT_F32,                                                                                                               NULL                                     },
    {"column",                   "{\"outputs\":[[1,2]]}",                                       1, false, "probs", PTL_DT_F32, NULL                                     },
    {"column with names",        "{\"outputs\":{\"probs\":[[1,2]]}}",                           1, true,  "probs", PTL_DT_F64, NULL                                     },
    {"too few rows",             "{\"predictions\":[[1,2]]}",                                   2, false, NULL,    PTL_DT_F32,
     "2 instances sent, 1 predictions came back"                                                                                                                        },
    {"neither",                  "{\"error\":\"x\"}",                                           1, false, NULL,    PTL_DT_F32, "neither \"predictions\" nor \"outputs\""},
    {"ragged",                   "{\"predictions\":[[1,2],[3]]}",                               2, false, NULL,    PTL_DT_F32, "do not fit"                             },
    {"a row without the output", "{\"predictions\":[{\"u\":1},{\"v\":1}]}",                     2, false, NULL,    PTL_DT_F32,
     "samples asked"                                                                                                                                                    },
    {"words",                    "{\"predictions\":[\"cat\"]}",                                 1, false, NULL,    PTL_DT_F32, "do not fit"                             },
};

static void answers_are_taken_or_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(answer_cases); i++) {
        const struct answer_case *c = &answer_cases[i];
        struct ptl_tensors t = {.golden_outputs =
                                    json_loads("[{\"name\":\"probs\",\"dtype\":\"float32\"}]", 0, NULL)};
        struct ptl_serve_model m = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        if (c->with_metadata) {
            char text[1024];
            snprintf(text, sizeof(text), metadata, "-1");
            PTL_JSON *told = json_loads(text, 0, NULL);
            assert_int_equal(ptl_tf_metadata(told, "", &m, NULL), 0);
        }
        PTL_JSON *answer = json_loads(c->text, 0, NULL);
        int r = ptl_tf_answer(&m, answer, &t, c->count, c->count, &err);
        if (c->error ? r >= 0 || !strstr(err.text, c->error) : r < 0)
            fail_msg("%s: %d \"%s\"", c->label, r, err.text);
        if (!c->error && (strcmp(t.out[0].name, c->name) != 0 || t.out[0].dtype != c->dtype ||
                          t.out[0].samples != c->count))
            fail_msg("%s: %s %s %llu", c->label, t.out[0].name, ptl_dtype_name(t.out[0].dtype),
                     (unsigned long long)t.out[0].samples);
        ptl_tensors_done(&t);
        ptl_serve_model_done(&m);
    }
}

static void ready_means_available(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool ready;
    } cases[] = {
        {"{\"model_version_status\":[{\"version\":\"1\",\"state\":\"AVAILABLE\"}]}",                                           true },
        {"{\"model_version_status\":[{\"version\":\"2\",\"state\":\"LOADING\"},{\"version\":\"1\",\"state\":\"AVAILABLE\"}]}",
         true                                                                                                                       },
        {"{\"model_version_status\":[{\"version\":\"1\",\"state\":\"LOADING\"}]}",                                             false},
        {"{\"model_version_status\":[]}",                                                                                      false},
        {"<html>ok</html>",                                                                                                    false},
        {"",                                                                                                                   false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        if (ptl_tf_is_ready(cases[i].body, strlen(cases[i].body)) != cases[i].ready)
            fail_msg("%s", cases[i].body);
}

static void paths_are_escaped(void **state)
{
    (void)state;
    struct ptl_serve_options o = {.protocol = PTL_SERVE_TF, .model_name = "a b/c"};
    PTL_FREE char *predict = ptl_serve_infer_path(&o);
    PTL_FREE char *about = ptl_serve_metadata_path(&o);
    assert_string_equal(predict, "/v1/models/a%20b%2Fc:predict");
    assert_string_equal(about, "/v1/models/a%20b%2Fc/metadata");
    o.protocol = PTL_SERVE_OIP_V2;
    PTL_FREE char *infer = ptl_serve_infer_path(&o);
    assert_string_equal(infer, "/v2/models/a%20b%2Fc/infer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_in_row_and_column_form),
        cmocka_unit_test(metadata_tells_names_types_and_batch),
        cmocka_unit_test(answers_are_taken_or_refused_with_a_reason),
        cmocka_unit_test(ready_means_available),
        cmocka_unit_test(paths_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
