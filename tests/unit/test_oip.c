/* test_oip.c - Open Inference Protocol v2: requests from arrays, answers into arrays, and every way an answer
 * can be wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../agents/drivers/server/oip.h"
#include <math.h>
#include <stdio.h>
#include <portolan/fs.h>

static char dir[64];

static void set_input(struct ptl_tensors *t, const char *name, enum ptl_dtype dtype, const void *data,
                      unsigned ndim, const uint64_t *shape)
{
    struct ptl_tensor_in *in = &t->in[t->n_in++];
    memset(in, 0, sizeof(*in));
    snprintf(in->name, sizeof(in->name), "%s", name);
    snprintf(in->wire, sizeof(in->wire), "%s", name);
    in->a.data = data;
    in->a.dtype = dtype;
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
    if (!t->warnings)
        t->warnings = json_array();
}

static void requests_carry_shape_type_and_exact_values(void **state)
{
    (void)state;
    static const float f[] = {0.1f, -1, 3.4028235e38f, 1e-45f};
    static const double d[] = {0.1, 1e300};
    static const int64_t i[] = {9007199254740993, -9223372036854775807};
    static const unsigned char b[] = {1, 0};
    struct ptl_tensors t = {0};
    set_input(&t, "f", PTL_DT_F32, f, 2, (uint64_t[]){2, 2});
    set_input(&t, "d\"q", PTL_DT_F64, d, 1, (uint64_t[]){2});
    set_input(&t, "i", PTL_DT_I64, i, 2, (uint64_t[]){2, 1});
    set_input(&t, "b", PTL_DT_BOOL, b, 1, (uint64_t[]){2});
    PTL_BUF out = PTL_BUF_INIT;
    assert_int_equal(ptl_oip_request(&t, 0, 2, &out, NULL), 0);
    assert_string_equal(
        out.data,
        "{\"id\":\"0\",\"inputs\":[{\"name\":\"f\",\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":"
        "[0.100000001,-1.0,3.40282347e+38,1.40129846e-45]},{\"name\":\"d\\\"q\",\"shape\":[2],\"datatype\":\"FP64\","
        "\"data\":[0.10000000000000001,1.0000000000000001e+300]},{\"name\":\"i\",\"shape\":[2,1],\"datatype\":\"INT64\","
        "\"data\":[9007199254740993,-9223372036854775807]},{\"name\":\"b\",\"shape\":[2],\"datatype\":\"BOOL\","
        "\"data\":[true,false]}]}");
    ptl_buf_clear(&out);
    assert_int_equal(ptl_oip_request(&t, 1, 1, &out, NULL), 0); /* one sample of it */
    assert_non_null(
        strstr(out.data, "\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[3.40282347e+38,1.40129846e-45]"));
    ptl_buf_clear(&out);
    assert_int_equal(ptl_oip_request(&t, 1, 3, &out, NULL), 0); /* filled up with the last one */
    assert_non_null(strstr(
        out.data,
        "\"shape\":[3,1],\"datatype\":\"INT64\",\"data\":[-9223372036854775807,-9223372036854775807,"));
    ptl_tensors_done(&t);
}

static void values_without_a_word_in_json_are_refused(void **state)
{
    (void)state;
    static const float f[] = {1, NAN, INFINITY};
    struct ptl_tensors t = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF out = PTL_BUF_INIT;
    set_input(&t, "x", PTL_DT_F32, f, 1, (uint64_t[]){3});
    assert_int_equal(ptl_oip_request(&t, 0, 1, &out, &err), 0);
    assert_true(ptl_oip_request(&t, 1, 1, &out, &err) < 0);
    assert_non_null(strstr(err.text, "golden input x: holds NaN"));
    assert_true(ptl_oip_request(&t, 2, 1, &out, &err) < 0);
    assert_non_null(strstr(err.text, "infinity"));
    ptl_tensors_done(&t);
}

struct answer_case {
    const char *label, *text;
    uint64_t count;
    const char *error; /* NULL: taken */
};

#define OUT(shape, type, data)                                                                               \
    "{\"outputs\":[{\"name\":\"y\",\"shape\":" shape ",\"datatype\":\"" type "\",\"data\":" data "}]}"
static const struct answer_case answer_cases[] = {
    {"flat",               OUT("[1,3]",     "FP32",                               "[1,2.5,3]"),1, NULL},
    {"nested",                OUT("[2,2]",                               "FP32",                                                            "[[1,2],[3,4]]"),2, NULL},
    {"without batch axis",    OUT("[3]",                  "FP32","[1,2,3]"),1, NULL},
    {"scalar a sample",        OUT("[2]","INT64",                                    "[1,2]"),2, NULL},
    {"NaN",                    OUT("[1,2]",                   "FP32",                                       "[NaN,-Infinity]"),1, NULL},
    {"bool",                   OUT("[1,2]",                              "BOOL",                                                                  "[true,0]"),1, NULL},
    {"no outputs",              "{\"error\":\"x\"}",1,"no \"outputs\""},
    {"strings",               OUT("[1,1]", "BYTES",  "[\"a\"]"),1, "datatype \"BYTES\" cannot be compared"},
    {"too few values",                OUT("[1,3]",                               "FP32",                                                        "[1,2]"),1, "2 values for a shape of 3"},
    {"too many values",    OUT("[1,1]",                   "FP32",                                                          "[1,2]"),1, "2 values for a shape of 1"},
    {"wrong batch",          OUT("[3,1]",                        "FP32",                    "[1,2,3]"),                                                                                               2, "2 samples asked, axis 0 of the answer is 3"},
    {"word among numbers",OUT("[1,2]","FP32","[1,\"x\"]"),1, "do not fit"},
    {"fraction as integer",                    OUT("[1,1]",                   "INT32",                                         "[1.5]"),1, "a value that is no int32"},
    {"integer out of range",                   OUT("[1,1]",       "UINT8",                                           "[256]"),1, "a value that is no uint8"},
    {"negative dimension",              OUT("[1,-1]","FP32",            "[1]"),1, "a shape that cannot be"},
    {"overflowing shape", OUT("[4294967296,4294967296,4294967296]",            "FP32",                                                                      "[1]"), 1,
     "a shape that cannot be"},
    {"ragged",        OUT("[2,2]",                       "FP32",                                       "[[1,2],[3]]"),2, "do not fit"},
    {"binary",            "{\"outputs\":[{\"name\":\"y\",\"shape\":[1],\"datatype\":\"FP32\"}]}",                          1,
     "without shape or data"},
};

static void answers_are_taken_or_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(answer_cases); i++) {
        const struct answer_case *c = &answer_cases[i];
        struct ptl_tensors t = {.warnings = json_array()};
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_JSON *answer = NULL;
        if (ptl_answer_json(c->text, strlen(c->text), &answer, &err) < 0)
            fail_msg("%s: %s", c->label, err.text);
        int r = ptl_oip_answer(answer, &t, c->count, c->count, &err);
        if (c->error ? r >= 0 || !strstr(err.text, c->error) : r < 0)
            fail_msg("%s: %d \"%s\"", c->label, r, err.text);
        if (!c->error && (t.n_out != 1 || t.out[0].samples != c->count))
            fail_msg("%s: %zu outputs", c->label, t.n_out);
        ptl_tensors_done(&t);
    }
}

static void samples_gather_in_order_and_come_back_as_npy(void **state)
{
    (void)state;
    struct ptl_tensors t = {.warnings = json_array()};
    PTL_JSON *entries = NULL;
    for (int s = 0; s < 3; s++) {
        char text[200];
        int n = snprintf(text, sizeof(text), OUT("[1,2]", "FP32", "[%d,NaN]"), s);
        PTL_JSON *answer = NULL;
        assert_int_equal(ptl_answer_json(text, (size_t)n, &answer, NULL), 0);
        assert_int_equal(ptl_oip_answer(answer, &t, 1, 1, NULL), 0);
    }
    assert_int_equal(ptl_tensors_save(&t, dir, &entries, NULL), 0);
    const json_t *e = json_array_get(entries, 0);
    assert_string_equal(ptl_json_str(e, "name", ""), "y");
    assert_string_equal(ptl_json_str(e, "dtype", ""), "float32");
    PTL_FREE char *path = ptl_fs_join(dir, ptl_json_str(e, "file", ""));
    PTL_BUF bytes = PTL_BUF_INIT;
    struct ptl_npy a = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_fs_read(path, 1 << 20, &bytes, NULL), 0);
    if (ptl_npy_parse(bytes.data, bytes.len, &a, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(a.ndim, 2);
    assert_int_equal(a.shape[0], 3);
    assert_int_equal(a.shape[1], 2);
    assert_true(ptl_npy_at(&a, 4) == 2.0);
    assert_true(isnan(ptl_npy_at(&a, 5)));
    ptl_tensors_done(&t);
}

static void half_precision_is_rounded_to_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint16_t bits;
    } cases[] = {
        {"[1]",       0x3c00},
        {"[-2]",      0xc000},
        {"[65504]",   0x7bff},
        {"[65520]",   0x7c00},
        {"[0.1]",     0x2e66},
        {"[6e-8]",    0x0001},
        {"[0.00006]", 0x03ef},
        {"[0]",       0x0000},
        {"[2049]",    0x6800},
        {"[2051]",    0x6802},
        {"[null]",    0x7e00},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct ptl_tensor_out out = {.name = "h", .bytes = {.max = 100}};
        PTL_JSON *shape = json_pack("[i]", 1);
        PTL_JSON *data = json_loads(cases[i].text, 0, NULL);
        uint16_t got;
        assert_int_equal(ptl_tensor_take(&out, PTL_DT_F16, shape, data, 1, 1, NULL), 0);
        memcpy(&got, out.bytes.data, sizeof(got));
        if (got != cases[i].bits)
            fail_msg("%s gave 0x%04x", cases[i].text, got);
        ptl_buf_done(&out.bytes);
    }
}

static void metadata_names_inputs_and_the_fixed_batch(void **state)
{
    (void)state;
    PTL_JSON *answer = json_loads(
        "{\"name\":\"m\",\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[8,3]},"
        "{\"name\":\"b\",\"datatype\":\"FP32\",\"shape\":[8]}],\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP16\"}]}",
        0, NULL);
    struct ptl_serve_model m = {0};
    assert_int_equal(ptl_oip_metadata(answer, &m, NULL), 0);
    assert_int_equal(json_array_size(m.inputs), 2);
    assert_int_equal(m.batch, 8);
    assert_string_equal(ptl_json_str(m.output_dtypes, "y", ""), "float16");
    ptl_serve_model_done(&m);
    PTL_JSON *none = json_object();
    assert_true(ptl_oip_metadata(none, &m, NULL) < 0);
}

struct map_case {
    const char *label, *engine, *signature;
    const char *wire[2];
    bool warned;
    const char *error;
};

static const struct map_case map_cases[] = {
    {"by name",                                     "[\"a\",\"b\"]", NULL,                                                                                                     {"a", "b"}, false, NULL                                                   },
    {"by name, other order",                        "[\"b\",\"a\"]", NULL,                                                                                                     {"a", "b"}, false, NULL                                                   },
    {"engine does not tell",                        NULL,            NULL,                                                                                                     {"a", "b"}, false, NULL                                                   },
    {"by signature",
     "[\"serving_a:0\",\"serving_b:0\"]",                            "{\"inputs\":[{\"name\":\"b\",\"tensor\":\"serving_b:0\"},{\"name\":\"a\",\"tensor\":\"serving_a:0\"}]}",
     {"serving_a:0", "serving_b:0"},
     false,                                                                                                                                                                                       NULL                                                   },
    {"signature of tensors the engine has renamed",
     "[\"a\",\"b\"]",                                                "{\"inputs\":[{\"name\":\"a\",\"tensor\":\"x:0\"}]}",
     {"a", "b"},
     false,                                                                                                                                                                                       NULL                                                   },
    {"by position",                                 "[\"x\",\"y\"]", NULL,                                                                                                     {"x", "y"}, true,  NULL                                                   },
    {"counts differ",
     "[\"x\"]",                                                      NULL,
     {NULL, NULL},
     false,                                                                                                                                                                                       "the golden set has 2 inputs, the engine's model has 1"},
};

static void inputs_are_mapped_by_signature_name_or_position(void **state)
{
    (void)state;
    static const float f[] = {1};
    for (size_t i = 0; i < PTL_ARRAY_LEN(map_cases); i++) {
        const struct map_case *c = &map_cases[i];
        struct ptl_tensors t = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        set_input(&t, "a", PTL_DT_F32, f, 1, (uint64_t[]){1});
        set_input(&t, "b", PTL_DT_F32, f, 1, (uint64_t[]){1});
        t.signature = c->signature ? json_loads(c->signature, 0, NULL) : NULL;
        PTL_JSON *engine = c->engine ? json_loads(c->engine, 0, NULL) : NULL;
        int r = ptl_tensors_map_inputs(&t, engine, &err);
        if (c->error ? r >= 0 || !strstr(err.text, c->error) : r < 0)
            fail_msg("%s: %d \"%s\"", c->label, r, err.text);
        for (int k = 0; k < 2 && !c->error; k++)
            if (strcmp(t.in[k].wire, c->wire[k]) != 0)
                fail_msg("%s: %s is fed to %s", c->label, t.in[k].name, t.in[k].wire);
        if (c->warned != (json_array_size(t.warnings) > 0))
            fail_msg("%s: warnings", c->label);
        ptl_tensors_done(&t);
    }
}

static void a_golden_set_that_is_not_one_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *label, *manifest, *error;
    } cases[] = {
        {"no inputs",         "{\"inputs\":[]}",                                                         "0 inputs"                      },
        {"no list",           "{}",                                                                      "inputs"                        },
        {"outside",           "{\"inputs\":[{\"name\":\"x\",\"file\":\"../x.npy\"}]}",                   "no path below golden/"         },
        {"missing file",      "{\"inputs\":[{\"name\":\"x\",\"file\":\"x.npy\"}]}",                      "No such file"                  },
        {"no array",          "{\"inputs\":[{\"name\":\"x\",\"file\":\"manifest.json\"}]}",              "npy"                           },
        {"no name",           "{\"inputs\":[{\"file\":\"x.npy\"}]}",                                     "no usable name"                },
        {"different samples",
         "{\"inputs\":[{\"name\":\"x\",\"file\":\"two.npy\"},{\"name\":\"y\",\"file\":\"three.npy\"}]}", "input y has 3 samples, x has 2"},
        {"no samples",        "{\"inputs\":[{\"name\":\"x\",\"file\":\"scalar.npy\"}]}",                 "no samples"                    },
    };
    static const float f[] = {1, 2, 3};
    PTL_FREE char *manifest = ptl_fs_join(dir, "manifest.json");
    PTL_FREE char *two = ptl_fs_join(dir, "two.npy");
    PTL_FREE char *three = ptl_fs_join(dir, "three.npy");
    PTL_FREE char *scalar = ptl_fs_join(dir, "scalar.npy");
    assert_int_equal(ptl_npy_write(two, PTL_DT_F32, 1, (uint64_t[]){2}, f, 8, NULL), 0);
    assert_int_equal(ptl_npy_write(three, PTL_DT_F32, 1, (uint64_t[]){3}, f, 12, NULL), 0);
    assert_int_equal(ptl_npy_write(scalar, PTL_DT_F32, 0, NULL, f, 4, NULL), 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct ptl_tensors t;
        struct ptl_error err = PTL_ERROR_INIT;
        assert_int_equal(
            ptl_fs_write_atomic(manifest, cases[i].manifest, strlen(cases[i].manifest), 0644, NULL), 0);
        int r = ptl_tensors_load(dir, "/nonexistent", &t, &err);
        if (r >= 0 || !strstr(err.text, cases[i].error))
            fail_msg("%s: %d \"%s\"", cases[i].label, r, err.text);
    }
}

static void error_bodies_are_quoted_on_one_line(void **state)
{
    (void)state;
    char text[64];
    ptl_serve_error_text("{\"error\":\"bad\\nthing\"}", 22, text, sizeof(text));
    assert_string_equal(text, "bad thing");
    ptl_serve_error_text("<html>\x80 oops", 13, text, sizeof(text));
    assert_non_null(strstr(text, "oops"));
    ptl_serve_error_text("", 0, text, sizeof(text));
    assert_string_equal(text, "");
}

static int group_setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/ptl-oip-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return ptl_fs_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_carry_shape_type_and_exact_values),
        cmocka_unit_test(values_without_a_word_in_json_are_refused),
        cmocka_unit_test(answers_are_taken_or_refused_with_a_reason),
        cmocka_unit_test(samples_gather_in_order_and_come_back_as_npy),
        cmocka_unit_test(half_precision_is_rounded_to_nearest),
        cmocka_unit_test(metadata_names_inputs_and_the_fixed_batch),
        cmocka_unit_test(inputs_are_mapped_by_signature_name_or_position),
        cmocka_unit_test(a_golden_set_that_is_not_one_is_refused),
        cmocka_unit_test(error_bodies_are_quoted_on_one_line),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
