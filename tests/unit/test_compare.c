/* test_compare.c - the gate with real arrays on disk. The first test is green; every other plants one fault
 * that field experience knows and requires red with the right reason. A gate that lets one of these through
 * is worth nothing. */
#include "compare.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <portolan/fs.h>
#include <sys/stat.h>

enum { SAMPLES = 32, CLASSES = 10, H = 4, W = 4, C = 3, IMAGE = H * W * C };

struct fixture {
    char root[64], golden[96], got[96];
    float logits[SAMPLES * CLASSES], image[SAMPLES * IMAGE];
};

/* ---- writing what a run leaves ---- */

static void write_npy(const char *dir, const char *name, const char *descr, const char *shape,
                      const void *data, size_t size)
{
    char path[256], head[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int n = snprintf(head, sizeof(head), "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", descr,
                     shape);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite("\x93NUMPY\x01\x00", 1, 8, f);
    fputc(n & 255, f);
    fputc(n >> 8, f);
    fwrite(head, 1, (size_t)n, f);
    fwrite(data, 1, size, f);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static const char two_outputs[] =
    "[{\"name\":\"logits\",\"dtype\":\"float32\",\"shape\":[32,10],\"file\":\"logits.npy\"},"
    "{\"name\":\"image\",\"dtype\":\"float32\",\"shape\":[32,4,4,3],\"file\":\"image.npy\"}]";
static const char metrics[] =
    "\"metrics\":{\"load_ms\":12.5,\"first_ms\":3.0,\"latency_ms\":[1,2,3,4,5,6,7,8,9,10,11,12,13,"
    "14,15,16,17,18,19,20],\"peak_memory_bytes\":71000000,\"artifact_bytes\":51234}";

static void write_golden(struct fixture *f, const char *outputs, int samples)
{
    char text[2048];
    snprintf(text, sizeof(text), "{\"version\":1,\"samples\":%d,\"precision\":\"fp32\",\"outputs\":%s}",
             samples, outputs);
    write_text(f->golden, "manifest.json", text);
}

static void write_got(struct fixture *f, const char *outputs, const char *rest)
{
    char text[4096];
    snprintf(text, sizeof(text), "{\"version\":1,\"outputs\":%s%s%s}", outputs, *rest ? "," : "", rest);
    write_text(f->got, "manifest.json", text);
}

static void write_logits(const char *dir, const float *v)
{
    write_npy(dir, "logits.npy", "<f4", "(32, 10)", v, sizeof(float) * SAMPLES * CLASSES);
}

static void write_image(const char *dir, const float *v)
{
    write_npy(dir, "image.npy", "<f4", "(32, 4, 4, 3)", v, sizeof(float) * SAMPLES * IMAGE);
}

/* Numbers that look like a model's: repeatable, different for every sample, of both signs. */
static float wave(unsigned i, unsigned seed)
{
    return (float)(2.5 * sin(0.7 * i + seed) + 0.8 * cos(2.3 * i * (seed + 1)));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->root, sizeof(f->root), "/tmp/ptl-test-compare.XXXXXX");
    if (!mkdtemp(f->root))
        return -1;
    snprintf(f->golden, sizeof(f->golden), "%s/golden", f->root);
    snprintf(f->got, sizeof(f->got), "%s/got", f->root);
    mkdir(f->golden, 0700);
    mkdir(f->got, 0700);
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] = wave(i, 1);
    for (unsigned i = 0; i < SAMPLES * IMAGE; i++)
        f->image[i] = wave(i, 2);
    write_golden(f, two_outputs, SAMPLES);
    write_logits(f->golden, f->logits);
    write_image(f->golden, f->image);
    write_got(f, two_outputs, metrics);
    write_logits(f->got, f->logits);
    write_image(f->got, f->image);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int r = ptl_fs_remove_tree(f->root, NULL);
    free(f);
    return r;
}

static json_t *compare(struct fixture *f, const char *job)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *j = NULL;
    json_t *report = NULL;
    if (job && ptl_json_parse(job, strlen(job), "job", &j, &err) < 0)
        fail_msg("%s", err.text);
    int r = ptl_compare_run(f->golden, f->got, j, &report, &err);
    if (r < 0)
        fail_msg("no report: %s", err.text);
    return report;
}

/* Every reason's code, once each, sorted by appearance: "nan constant". */
static void codes_of(const json_t *report, char *ret, size_t size)
{
    size_t i, at = 0;
    json_t *v;
    ret[0] = '\0';
    json_array_foreach(json_object_get(report, "reasons"), i, v)
    {
        const char *code = ptl_json_str(v, "code", "?");
        if (!strstr(ret, code))
            at += (size_t)snprintf(ret + at, size - at, "%s%s", at ? " " : "", code);
    }
}

static void expect_report(json_t *report, const char *label, const char *verdict, const char *codes,
                          const char *says)
{
    char have[256];
    PTL_FREE char *text = ptl_compare_text(report);
    codes_of(report, have, sizeof(have));
    if (!ptl_str_eq(ptl_json_str(report, "verdict", NULL), verdict) || strcmp(have, codes) != 0 ||
        !strstr(text, says))
        fail_msg("%s: expected %s with [%s] and '%s', got [%s] in\n%s", label, verdict, codes, says, have,
                 text);
    json_decref(report);
}

static void expect(struct fixture *f, const char *job, const char *verdict, const char *codes,
                   const char *says)
{
    expect_report(compare(f, job), "", verdict, codes, says);
}

/* ---- green ---- */

static void the_same_is_green_and_carries_numbers(void **state)
{
    struct fixture *f = *state;
    f->logits[77] += 5e-6f;
    write_logits(f->got, f->logits);
    json_t *report = compare(f, NULL);
    json_t *first = json_array_get(json_object_get(report, "outputs"), 0);
    double max = ptl_json_num(first, "max_abs_error", -1);
    assert_true(max > 4e-6 && max < 6e-6);
    assert_true(ptl_json_num(first, "cosine", 0) > 0.999999 && ptl_json_num(first, "top1_agreement", 0) == 1);
    assert_int_equal(ptl_json_i64(first, "elements", 0), SAMPLES * CLASSES);
    assert_int_equal(ptl_json_i64(first, "mismatched", 9), 0);
    json_t *worst = json_object_get(first, "worst");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(worst, "index"), 0)), 7);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(worst, "index"), 1)), 7);
    assert_true(ptl_json_num(json_object_get(report, "metrics"), "latency_p95_ms", 0) == 19);
    assert_true(ptl_json_num(json_object_get(report, "metrics"), "latency_p50_ms", 0) == 10);
    assert_int_equal(ptl_json_i64(report, "samples", 0), 32);
    expect_report(report, "", "green", "",
                  "verify: green; 2 outputs, 32 samples, precision fp32, matched by name");
}

static void the_rule_is_relative_to_the_reference(void **state)
{
    struct fixture *f = *state;
    f->logits[0] = 1000; /* 1000.9 is inside 1e-5 + 1e-3*1000, 1001.1 is not */
    write_logits(f->golden, f->logits);
    f->logits[0] = 1000.9f;
    write_logits(f->got, f->logits);
    expect(f, NULL, "green", "", "");
    f->logits[0] = 1001.1f;
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "tolerance", "worst element of logits[0, 0]: expected 1000, got 1001.09998");
}

static void the_rule_goes_by_precision(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] *= 1.005f;
    write_logits(f->got, f->logits);
    expect(f, "{\"precision\":\"fp32\"}", "red", "tolerance", "nearly 1.005 * expected");
    expect(f, "{\"precision\":\"auto\"}", "red", "tolerance", "precision fp32");
    expect(f, "{\"precision\":\"fp16\"}", "green", "", "precision fp16");
    expect(f, "{\"precision\":\"bf16\"}", "green", "", "precision bf16");
    expect(f, "{\"precision\":\"int8\"}", "green", "", "precision int8");
    expect(f, "{\"precision\":\"fp32\",\"expect\":{\"max_abs_error\":0.1}}", "green", "", "");
    expect(f, "{\"precision\":\"fp32\",\"expect\":{\"max_abs_error\":0.001}}", "red", "tolerance",
           "above max_abs_error 0.001");
    expect(f, "{\"precision\":\"fp32\",\"expect\":{\"rtol\":0.01}}", "green", "", "");
    expect(f, "{\"precision\":\"fp16\",\"expect\":{\"mean_abs_error\":0.001}}", "red", "tolerance",
           "above mean_abs_error");
    expect(f, "{\"precision\":\"fp16\",\"expect\":{\"max_rel_error\":0.002}}", "red", "tolerance",
           "above max_rel_error");
    expect(f, "{\"precision\":\"int8\",\"expect\":{\"cosine\":1}}", "green", "", "");
}

static void names_by_position_are_told(void **state)
{
    struct fixture *f = *state;
    write_got(f, "[{\"name\":\"out0\",\"file\":\"logits.npy\"},{\"name\":\"out1\",\"file\":\"image.npy\"}]",
              "");
    expect(f, NULL, "green", "", "'logits' was compared with 'out0' by position");
    write_got(
        f, "[{\"name\":\"image:0\",\"file\":\"image.npy\"},{\"name\":\"logits:0\",\"file\":\"logits.npy\"}]",
        "");
    expect(f, NULL, "green", "", "matched by name");
}

static void bfloat16_and_dequantised_outputs(void **state)
{
    struct fixture *f = *state;
    uint16_t bf[SAMPLES * CLASSES];
    int8_t q[SAMPLES * CLASSES];
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++) {
        uint32_t bits;
        memcpy(&bits, &f->logits[i], 4);
        bf[i] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000;
        memcpy(&f->logits[i], &bits, 4);
        q[i] = (int8_t)lrint(f->logits[i] / 0.03 + 3);
    }
    const char *one = "[{\"name\":\"logits\",\"dtype\":\"float32\",\"file\":\"logits.npy\"}]";
    write_golden(f, one, SAMPLES);
    write_logits(f->golden, f->logits);
    write_npy(f->got, "logits.npy", "<u2", "(32, 10)", bf, sizeof(bf));
    write_got(f, "[{\"name\":\"logits\",\"dtype\":\"bfloat16\",\"file\":\"logits.npy\"}]", "");
    expect(f, "{\"precision\":\"bf16\"}", "red", "dtype", "dtype is bfloat16, expected float32");
    expect(f, "{\"expect\":{\"dtype\":\"compatible\"}}", "green", "", "allowed by dtype: compatible");
    write_npy(f->got, "logits.npy", "|i1", "(32, 10)", q, sizeof(q));
    write_got(
        f,
        "[{\"name\":\"logits\",\"file\":\"logits.npy\",\"quantization\":{\"scale\":0.03,\"zero_point\":3}}]",
        "");
    expect(f, "{\"precision\":\"int8\"}", "green", "", "dequantised with scale 0.03");
    write_got(f, "[{\"name\":\"logits\",\"file\":\"logits.npy\"}]", "");
    expect(f, "{\"precision\":\"int8\"}", "red", "dtype", "dtype is int8, expected float32");
}

/* ---- planted faults ---- */

static void wrong_weights(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] = wave(i, 7);
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "tolerance", "of 320 elements are outside");
    expect(f, "{\"precision\":\"int8\"}", "red", "cosine top1", "top-1 agrees for");
}

static void swapped_channels(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SAMPLES * IMAGE; i += C) {
        float t = f->image[i];
        f->image[i] = f->image[i + 2];
        f->image[i + 2] = t;
    }
    write_image(f->got, f->image);
    expect(f, NULL, "red", "tolerance layout",
           "channels look swapped along axis 3: in the order 2,1,0 they would agree (RGB/BGR)");
    expect(f, "{\"precision\":\"int8\"}", "red", "cosine top1 layout", "(RGB/BGR)");
}

static void shifted_normalisation(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SAMPLES * IMAGE; i++)
        f->image[i] = f->image[i] / 0.225f + 0.485f;
    write_image(f->got, f->image);
    expect(f, NULL, "red", "tolerance", "got is very nearly 4.44444 * expected +0.485");
}

static void constant_output(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] = 0.1f;
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "constant tolerance", "every element is 0.1");
    expect(f, "{\"expect\":{\"max_abs_error\":1000}}", "red", "constant",
           "every element is 0.1"); /* however wide the limits */
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] = wave(i % CLASSES, 3);
    write_logits(f->got, f->logits);
    expect(f, "{\"expect\":{\"max_abs_error\":1000}}", "red", "constant",
           "every sample gives the same values");
}

static void nan_and_infinity(void **state)
{
    struct fixture *f = *state;
    float was = f->logits[13];
    f->logits[13] = NAN;
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "nan", "worst element of logits[1, 3]: expected");
    expect(f, "{\"expect\":{\"max_abs_error\":1000}}", "red", "nan", "1 NaN and 0 infinite of 320");
    f->logits[13] = -INFINITY;
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "nan", "0 NaN and 1 infinite of 320");
    write_logits(f->golden, f->logits); /* the original masks it too */
    expect(f, NULL, "green", "", "");
    f->logits[13] = INFINITY;
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "nan", "0 NaN and 1 infinite");
    f->logits[13] = NAN;
    write_logits(f->golden, f->logits);
    f->logits[13] = was;
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "nan", "the golden output itself holds 1 NaN");
}

static void transposed_layout(void **state)
{
    struct fixture *f = *state;
    float t[SAMPLES * IMAGE];
    for (unsigned n = 0; n < SAMPLES; n++)
        for (unsigned p = 0; p < H * W; p++)
            for (unsigned c = 0; c < C; c++)
                t[n * IMAGE + c * H * W + p] = f->image[n * IMAGE + p * C + c];
    write_npy(f->got, "image.npy", "<f4", "(32, 3, 4, 4)", t, sizeof(t));
    write_got(
        f, "[{\"name\":\"logits\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"image.npy\"}]", "");
    expect(f, NULL, "red", "layout", "looks transposed: NCHW→NHWC would agree");
    t[0] += 1;
    write_npy(f->got, "image.npy", "<f4", "(32, 3, 4, 4)", t, sizeof(t));
    expect(f, NULL, "red", "layout",
           "it looks transposed (NCHW→NHWC), but the values do not agree then either");
    t[0] -= 1;
    write_image(
        f->got,
        t); /* the bytes of NCHW under the shape of NHWC: no axis order explains it, red all the same */
    expect(f, NULL, "red", "tolerance", "are outside");
    for (unsigned n = 0; n < SAMPLES; n++)
        for (unsigned h = 0; h < H; h++)
            for (unsigned w = 0; w < W; w++)
                memcpy(&t[n * IMAGE + (w * H + h) * C], &f->image[n * IMAGE + (h * W + w) * C],
                       C * sizeof(float));
    write_image(f->got, t);
    expect(f, NULL, "red", "tolerance layout", "looks transposed: NHWC→NWHC would agree");
}

static void wrong_shape(void **state)
{
    struct fixture *f = *state;
    write_got(
        f, "[{\"name\":\"logits\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"image.npy\"}]", "");
    write_npy(f->got, "logits.npy", "<f4", "(32, 10, 1)", f->logits, sizeof(f->logits));
    expect(f, NULL, "red", "shape", "shape is [32, 10, 1], expected [32, 10] (the same number of elements");
    write_npy(f->got, "logits.npy", "<f4", "(32, 9)", f->logits, sizeof(float) * 32 * 9);
    expect(f, NULL, "red", "shape", "shape is [32, 9], expected [32, 10]");
    write_logits(f->got, f->logits);
    write_got(f, two_outputs, "");
    write_npy(f->got, "logits.npy", "<f4", "(320,)", f->logits, sizeof(f->logits));
    expect(f, NULL, "red", "shape", "the outputs' manifest's shape is not that of its file, [320]");
}

static void wrong_dtype(void **state)
{
    struct fixture *f = *state;
    double d[SAMPLES * CLASSES];
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        d[i] = f->logits[i];
    write_npy(f->got, "logits.npy", "<f8", "(32, 10)", d, sizeof(d));
    expect(f, NULL, "red", "dtype", "the outputs' manifest says dtype float32, its file holds float64");
    write_got(
        f,
        "[{\"name\":\"logits\",\"dtype\":\"float64\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"image.npy\"}]",
        "");
    expect(f, NULL, "red", "dtype", "dtype is float64, expected float32");
}

static void missing_and_extra_outputs(void **state)
{
    struct fixture *f = *state;
    write_got(f, "[{\"name\":\"logits\",\"file\":\"logits.npy\"}]", "");
    expect(f, NULL, "red", "missing_output", "output 'image' did not come back");
    write_got(f,
              "[{\"name\":\"logits\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"image.npy\"},"
              "{\"name\":\"debug\",\"file\":\"image.npy\"}]",
              "");
    expect(f, NULL, "red", "extra_output", "output 'debug' came back");
    write_got(f, "[{\"name\":\"logits\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"gone.npy\"}]",
              "");
    expect(f, NULL, "red", "missing_output", "output 'image' cannot be read: gone.npy: No such file");
    write_got(f, "[]", "");
    expect(f, NULL, "red", "missing_output", "output 'logits' did not come back");
    write_text(f->got, "manifest.json", "{\"version\":1,");
    expect(f, NULL, "red", "missing_output", "the verify left no usable outputs: ");
    char path[128];
    snprintf(path, sizeof(path), "%s/manifest.json", f->got);
    assert_int_equal(unlink(path), 0);
    expect(f, NULL, "red", "missing_output", "manifest.json: No such file");
}

static void links_out_of_the_folder_are_not_followed(void **state)
{
    struct fixture *f = *state;
    char path[128], to[128];
    snprintf(path, sizeof(path), "%s/image.npy", f->got);
    snprintf(to, sizeof(to), "%s/image.npy", f->golden);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(to, path), 0); /* the cheapest way to a perfect score */
    expect(f, NULL, "red", "missing_output", "output 'image' cannot be read");
    write_got(
        f,
        "[{\"name\":\"logits\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"../golden/image.npy\"}]",
        "");
    expect(f, NULL, "red", "missing_output", "a relative file");
}

static void empty_golden_set(void **state)
{
    struct fixture *f = *state;
    write_golden(f, "[]", SAMPLES);
    expect(f, NULL, "red", "empty_golden", "holds 0 outputs of 32 samples");
    write_golden(f, two_outputs, 0);
    expect(f, NULL, "red", "empty_golden", "of 0 samples");
    write_text(f->golden, "manifest.json", "not json");
    expect(f, NULL, "red", "empty_golden", "the golden set is not usable");
    write_text(f->golden, "manifest.json", "{\"version\":2,\"outputs\":[]}");
    expect(f, NULL, "red", "empty_golden", "\"version\": 1");
    write_golden(f, two_outputs, SAMPLES);
    write_npy(f->golden, "logits.npy", "<f4", "(32, 10)", f->logits, 100);
    expect(f, NULL, "red", "empty_golden",
           "the golden output cannot be read: logits.npy: npy: shape and dtype ask for 1280");
    assert_int_equal(ptl_fs_remove_tree(f->golden, NULL), 0);
    expect(f, NULL, "red", "empty_golden", "the folder is missing");
}

static void comparison_of_nothing(void **state)
{
    struct fixture *f = *state;
    const char *none =
        "[{\"name\":\"boxes\",\"dtype\":\"float32\",\"shape\":[32,0,4],\"file\":\"boxes.npy\"}]";
    write_golden(f, none, SAMPLES);
    write_got(f, none, "");
    write_npy(f->golden, "boxes.npy", "<f4", "(32, 0, 4)", "", 0);
    write_npy(f->got, "boxes.npy", "<f4", "(32, 0, 4)", "", 0);
    expect(f, NULL, "red", "empty_golden", "the golden output holds no elements");
    const char *one = "[{\"name\":\"logits\",\"file\":\"logits.npy\"}]";
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] = 0.5f;
    write_golden(f, one, SAMPLES);
    write_got(f, one, "");
    write_logits(f->golden, f->logits);
    write_logits(f->got, f->logits);
    expect(f, NULL, "red", "constant",
           "every golden output is the same for all samples: agreeing with it proves nothing");
}

static void wrong_sample_count(void **state)
{
    struct fixture *f = *state;
    write_got(
        f, "[{\"name\":\"logits\",\"file\":\"logits.npy\"},{\"name\":\"image\",\"file\":\"image.npy\"}]", "");
    write_npy(f->got, "logits.npy", "<f4", "(31, 10)", f->logits, sizeof(float) * 31 * 10);
    expect(f, NULL, "red", "samples", "31 samples came back, expected 32");
    write_logits(f->got, f->logits);
    write_golden(f, two_outputs, 16);
    expect(f, NULL, "red", "samples", "does not hold the manifest's 16 samples");
}

static void few_samples_are_told(void **state)
{
    struct fixture *f = *state;
    const char *one = "[{\"name\":\"logits\",\"file\":\"logits.npy\"}]";
    write_golden(f, one, 4);
    write_got(f, one, "");
    write_npy(f->golden, "logits.npy", "<f4", "(4, 10)", f->logits, sizeof(float) * 40);
    write_npy(f->got, "logits.npy", "<f4", "(4, 10)", f->logits, sizeof(float) * 40);
    expect(f, NULL, "green", "", "only 4 samples in the golden set; at least 8");
}

static void labels_are_compared_as_labels(void **state)
{
    struct fixture *f = *state;
    int64_t ids[SAMPLES];
    for (unsigned i = 0; i < SAMPLES; i++)
        ids[i] = 5000 + i;
    const char *one = "[{\"name\":\"ids\",\"dtype\":\"int64\",\"file\":\"ids.npy\"}]";
    write_golden(f, one, SAMPLES);
    write_got(f, one, "");
    write_npy(f->golden, "ids.npy", "<i8", "(32,)", ids, sizeof(ids));
    write_npy(f->got, "ids.npy", "<i8", "(32,)", ids, sizeof(ids));
    expect(f, NULL, "green", "", "");
    ids[3]++; /* 0.02 % off is a different word */
    write_npy(f->got, "ids.npy", "<i8", "(32,)", ids, sizeof(ids));
    expect(f, NULL, "red", "tolerance", "1 of 32 elements");
    expect(f, "{\"expect\":{\"atol\":1}}", "green", "", "");
    expect(f, "{\"precision\":\"int8\"}", "red", "top1",
           "top-1 agrees for 31 of 32 (96.88 %), expected at least 97 %");
    expect(f, "{\"precision\":\"int8\",\"expect\":{\"top1_agreement\":0.9}}", "green", "", "");
}

static void task_accuracy_can_stand_in_for_top1(void **state)
{
    struct fixture *f = *state;
    int64_t labels[SAMPLES];
    const char *one = "[{\"name\":\"logits\",\"file\":\"logits.npy\"}]";
    for (unsigned i = 0; i < SAMPLES * CLASSES; i++)
        f->logits[i] = (float)sin(i) * 0.1f;
    for (unsigned s = 0; s < SAMPLES; s++) {
        labels[s] = s % CLASSES;
        f->logits[s * CLASSES + s % CLASSES] = 5;
    }
    f->logits[CLASSES] = 5.01f; /* the original is wrong about sample 1 … */
    write_text(f->golden, "manifest.json",
               "{\"version\":1,\"samples\":32,\"outputs\":[{\"name\":\"logits\",\"file\":\"logits.npy\"}],"
               "\"labels\":\"labels.npy\"}");
    write_npy(f->golden, "labels.npy", "<i8", "(32,)", labels, sizeof(labels));
    write_logits(f->golden, f->logits);
    f->logits[CLASSES] = 4.99f; /* … and the converted model right: less agreement, more accuracy */
    write_logits(f->got, f->logits);
    write_got(f, one, "");
    expect(f, "{\"precision\":\"int8\"}", "green", "",
           "accepted: accuracy 1.0000 of the original's 0.9688 is kept");
    expect(f, "{\"precision\":\"int8\",\"expect\":{\"top1_agreement\":0.97}}", "red", "top1", "31 of 32");
}

/* ---- budgets and the console ---- */

static void budgets(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *job, *verdict, *codes, *says;
    } cases[] = {
  /* clang-format off */
        {"{\"expect\":{\"latency_p95\":\"19ms\",\"load_time\":\"13ms\",\"artifact_size\":\"51KiB\"}}",
         "green", "", "latency p95 19 ms is within the limit of 19 ms"},
        {"{\"expect\":{\"latency_p95\":\"18ms\"}}", "red", "budget",
         "latency p95 19 ms is above the limit of 18 ms"},
        {"{\"expect\":{\"latency_p95_ms\":18.5}}", "red", "budget", "above the limit of 18.5 ms"},
        {"{\"expect\":{\"latency_p50\":\"9ms\"}}", "red", "budget", "latency p50 10 ms"},
        {"{\"expect\":{\"first_latency\":\"2ms\"}}", "red", "budget", "first inference 3 ms"},
        {"{\"expect\":{\"load_time\":\"12ms\"}}", "red", "budget",
         "load time 12.5 ms is above the limit of 12 ms"},
        {"{\"expect\":{\"artifact_size\":\"50KiB\"}}", "red", "budget", "artifact size 50.0 KiB is above"},
        {"{\"expect\":{\"artifact_size\":51234}}", "green", "", "within"},
        {"{\"expect\":{\"artifact_bytes\":51233}}", "red", "budget", "above"},
        {"{\"expect\":{\"peak_memory\":\"67MiB\"}}", "red", "budget",
         "peak memory 67.7 MiB is above the limit of 67.0 MiB"},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        expect_report(compare(f, cases[i].job), cases[i].job, cases[i].verdict, cases[i].codes,
                      cases[i].says);
    write_got(f, two_outputs, "");
    expect(f, "{\"expect\":{\"latency_p95\":\"20ms\"}}", "red", "budget", "latency p95 was not measured");
    expect(
        f,
        "{\"expect\":{\"artifact_size\":1000},\"model\":{\"files\":[{\"size_bytes\":600},{\"size_bytes\":500}]}}",
        "red", "budget", "artifact size 1.1 KiB");
}

static void emulated_latency_is_told_and_does_not_gate(void **state)
{
    struct fixture *f = *state;
    char rest[1024];
    snprintf(rest, sizeof(rest), "\"runtime\":{\"name\":\"litert\",\"indicative_latency\":true},%s", metrics);
    write_got(f, two_outputs, rest);
    expect(f, "{\"expect\":{\"latency_p95\":\"1ms\"}}", "green", "",
           "told  latency p95 19 ms is above the limit of 1 ms (emulated: indicative)");
    expect(f, "{\"expect\":{\"latency_p95\":\"1ms\",\"indicative\":\"gate\"}}", "red", "budget",
           "above the limit of 1 ms");
    expect(f, "{\"expect\":{\"load_time\":\"1ms\"}}", "red", "budget", "load time 12.5 ms is above");
    expect(f, "{\"expect\":{\"artifact_size\":1}}", "red", "budget", "artifact size");
}

static void regressions(void **state)
{
    struct fixture *f = *state;
#define BASE "\"baseline\":{\"metrics\":{\"latency_p95_ms\":10.0,\"artifact_bytes\":50000}}"
    expect(f, "{\"expect\":{\"regression\":{\"latency_p95\":1.5}}," BASE "}", "red", "budget",
           "latency p95 19 ms is above the limit of 15 ms (1.5 times the last good 10 ms)");
    expect(f, "{\"expect\":{\"regression\":{\"latency_p95\":2,\"artifact_size\":1.1}}," BASE "}", "green", "",
           "latency_p95_ms      10 ms -> 19 ms (+90.0 %)");
    expect(f, "{\"expect\":{\"regression\":{\"artifact_bytes\":1.01}}," BASE "}", "red", "budget",
           "artifact size 50.0 KiB is above");
    expect(f, "{\"expect\":{\"regression\":{\"load_time\":1.1}}," BASE "}", "green", "",
           "no last good value to compare with yet");
    expect(f, "{\"expect\":{\"regression\":{\"load_time\":1.1}},\"baseline\":null}", "green", "",
           "no last good value");
}

static void console_errors(void **state)
{
    struct fixture *f = *state;
    write_got(f, two_outputs, "\"console\":[\"INFO: created delegate\",\"ERROR: Op 17 failed to prepare\"]");
    expect(f, NULL, "red", "console", "the runtime's console says: ERROR: Op 17 failed to prepare");
    write_got(f, two_outputs, "\"console\":[\"INFO: created delegate\",\"warning: no errors found\"]");
    expect(f, NULL, "green", "", "2 console lines without an error");
    write_got(f, two_outputs, "\"console\":[\"Uncaught (in promise) TypeError: x\"]");
    expect(f, NULL, "red", "console", "Uncaught");
    write_got(f, two_outputs, "\"console\":[\"\\u001b[31mERROR\\u001b[0m bad\"]");
    expect(f, NULL, "red", "console", "?[31mERROR?[0m bad");
}

static void what_is_not_understood_is_an_error(void **state)
{
    struct fixture *f = *state;
    static const char *const jobs[][2] = {
        {"{\"expect\":{\"max_abs_eror\":1}}",                 "expect.max_abs_eror: unknown"                },
        {"{\"expect\":{\"max_abs_error\":\"1e-5\"}}",         "expect.max_abs_error: expected a number"     },
        {"{\"expect\":{\"cosine\":1.5}}",                     "expect.cosine: expected a number from 0 to 1"},
        {"{\"expect\":{\"latency_p95\":\"soon\"}}",           "expect.latency_p95: expected a duration"     },
        {"{\"expect\":{\"regression\":{\"speed\":2}}}",       "expect.regression.speed: unknown"            },
        {"{\"expect\":{\"regression\":{\"latency_p95\":0}}}", "expected a factor"                           },
        {"{\"expect\":{\"indicative\":true}}",                "expect.indicative: expected 'told' or 'gate'"},
        {"{\"expect\":[]}",                                   "expect: expected an object"                  },
        {"{\"precision\":\"int4\"}",                          "precision 'int4'"                            },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(jobs); i++) {
        PTL_JSON *job = NULL;
        json_t *report = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        assert_int_equal(ptl_json_parse(jobs[i][0], strlen(jobs[i][0]), "job", &job, &err), 0);
        int r = ptl_compare_run(f->golden, f->got, job, &report, &err);
        if (r != -EINVAL || report || !strstr(err.text, jobs[i][1]))
            fail_msg("%s: %d '%s'", jobs[i][0], r, err.text);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_same_is_green_and_carries_numbers),
        T(the_rule_is_relative_to_the_reference),
        T(the_rule_goes_by_precision),
        T(names_by_position_are_told),
        T(bfloat16_and_dequantised_outputs),
        T(wrong_weights),
        T(swapped_channels),
        T(shifted_normalisation),
        T(constant_output),
        T(nan_and_infinity),
        T(transposed_layout),
        T(wrong_shape),
        T(wrong_dtype),
        T(missing_and_extra_outputs),
        T(links_out_of_the_folder_are_not_followed),
        T(empty_golden_set),
        T(comparison_of_nothing),
        T(wrong_sample_count),
        T(few_samples_are_told),
        T(labels_are_compared_as_labels),
        T(task_accuracy_can_stand_in_for_top1),
        T(budgets),
        T(emulated_latency_is_told_and_does_not_gate),
        T(regressions),
        T(console_errors),
        T(what_is_not_understood_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
