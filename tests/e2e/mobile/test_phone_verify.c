/* test_phone_verify.c - whole verify attempts by the driver on real devices: what is green, and how each
 * failure ends. */
#include "cgroup.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <portolan/json.h>
#include <signal.h>
#include <sys/stat.h>

#define MODELS PTL_SOURCE_DIR "/tests/e2e/mobile/models"

static char *litert_dir, *onnxruntime_dir;

struct attempt {
    const char *label, *recipe;        /* "litert/run" or "onnxruntime/run" */
    const char *model;                 /* file of MODELS, or NULL with `content` */
    const char *content, *name;        /* a made-up model file */
    const char *with;                  /* JSON */
    const char *backend;               /* in place of the recipe's: a file of backends/ */
    void (*spoil)(const char *inputs); /* changes the golden set */
    int64_t deadline_ms;               /* 0: 120 s */
    bool cancelled;
};

struct outcome {
    int r;
    struct ptl_driver_result result;
    struct ptl_error err;
    struct ptl_buf log;
    json_t *got; /* outputs/got/manifest.json or NULL */
    char dir[200];
};

static void outcome_done(struct outcome *o)
{
    ptl_buf_done(&o->log);
    json_decref(o->got);
    o->got = NULL;
}

static void copy_in(const char *from_dir, const char *file, const char *to)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *from = ptl_fs_join(from_dir, file);
    if (ptl_fs_copy(from, to, 0644, &err) < 0)
        fail_msg("%s", err.text);
}

/* inputs/ as the agent would leave them. */
static void make_inputs(const struct attempt *a, const char *inputs)
{
    static const char *const golden[] = {"golden/manifest.json", "golden/inputs/image.npy",
                                         "golden/outputs/probabilities.npy"};
    static const char *const dirs[] = {"model", "golden/inputs", "golden/outputs"};
    struct ptl_error err = PTL_ERROR_INIT;
    for (size_t i = 0; i < PTL_ARRAY_LEN(dirs); i++) {
        PTL_FREE char *dir = ptl_fs_join(inputs, dirs[i]);
        assert_int_equal(ptl_fs_mkdirs(dir, 0755, &err), 0);
    }
    for (size_t i = 0; i < PTL_ARRAY_LEN(golden); i++) {
        PTL_FREE char *to = ptl_fs_join(inputs, golden[i]);
        copy_in(MODELS, golden[i], to);
    }
    PTL_FREE char *model = ptl_xasprintf("%s/model/%s", inputs,
                                         a->name    ? a->name
                                         : a->model ? a->model
                                                    : "x");
    if (a->model)
        copy_in(MODELS, a->model, model);
    else if (a->content)
        assert_int_equal(ptl_fs_write_atomic(model, a->content, strlen(a->content), 0644, &err), 0);
    if (a->spoil)
        a->spoil(inputs);
}

/* The driver's keys as in the recipe's recipe.yml, which agent core reads; here only the part the driver
 * uses. */
static json_t *recipe_json(const struct attempt *a)
{
    bool litert = strcmp(a->recipe, "litert/run") == 0;
    PTL_FREE char *backend = a->backend
                                 ? ptl_xasprintf("../../../../tests/e2e/mobile/backends/%s", a->backend)
                                 : ptl_xstrdup("backend.py");
    return json_pack("{s:{s:s, s:s, s:s, s:s, s:o, s:b}}", "driver", "kind", "mobile", "runtime",
                     litert ? "litert" : "onnxruntime", "runner", "../../common/portolan_phone.py", "backend",
                     backend, "model_suffix", json_pack("[s]", litert ? ".tflite" : ".onnx"), "model_data",
                     !litert);
}

static struct outcome run(const struct attempt *a)
{
    static int serial;
    struct outcome o = {.err = PTL_ERROR_INIT, .log = PTL_BUF_INIT};
    snprintf(o.dir, sizeof(o.dir), "%s/attempt-%d", scratch, serial++);
    PTL_FREE char *inputs = ptl_fs_join(o.dir, "inputs"), *outputs = ptl_fs_join(o.dir, "outputs"),
                  *tmp = ptl_fs_join(o.dir, "scratch");
    PTL_FREE char *log = ptl_fs_join(o.dir, "log"),
                  *manifest = ptl_fs_join(o.dir, "outputs/got/manifest.json");
    PTL_FREE char *recipe_dir = ptl_fs_join(PTL_SOURCE_DIR "/agents/recipes", a->recipe);
    PTL_JSON *recipe = recipe_json(a), *with = json_loads(a->with ? a->with : "{}", 0, NULL),
             *job_json = json_object();
    assert_non_null(with);
    assert_int_equal(ptl_fs_mkdirs(outputs, 0755, NULL) + ptl_fs_mkdirs(tmp, 0755, NULL), 0);
    make_inputs(a, inputs);
    PTL_CLOSE int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    atomic_int cancelled = a->cancelled;
    const char *const env[] = {NULL};
    struct ptl_driver_job job = {
        .attempt_dir = o.dir,
        .inputs_dir = inputs,
        .outputs_dir = outputs,
        .src_dir = o.dir,
        .scratch_dir = tmp,
        .recipe_dir = recipe_dir,
        .toolchain_dir = strcmp(a->recipe, "litert/run") == 0 ? litert_dir : onnxruntime_dir,
        .job = job_json,
        .recipe = recipe,
        .with = with,
        .env = env,
        .log_fd = fd,
        .deadline_mono_ms = ptl_mono_ms() + (a->deadline_ms ? a->deadline_ms : 120000),
        .cancelled = &cancelled};
    o.r = ptl_driver_mobile.run(&job, &o.result, &o.err);
    (void)!ptl_fs_read(log, 1 << 20, &o.log, NULL);
    if (ptl_fs_exists(manifest) && ptl_json_load(manifest, 1 << 20, &o.got, &o.err) < 0)
        fail_msg("%s: %s", a->label, o.err.text);
    return o;
}

/* Rows of 10 float32 behind a version 1 header. */
static void read_rows(const char *path, float *ret, size_t n)
{
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(path, 1 << 20, &b, NULL), 0);
    assert_true(b.len > n * 4);
    assert_non_null(memmem(b.data, b.len, "'<f4'", 5));
    memcpy(ret, b.data + b.len - n * 4, n * 4);
}

static double worst_difference(const struct outcome *o)
{
    float want[160], got[160];
    const json_t *out = json_array_get(json_object_get(o->got, "outputs"), 0);
    assert_string_equal(ptl_json_str(out, "name", ""), "probabilities");
    PTL_FREE char *path = ptl_xasprintf("%s/outputs/got/%s", o->dir, ptl_json_str(out, "file", ""));
    read_rows(MODELS "/golden/outputs/probabilities.npy", want, 160);
    read_rows(path, got, 160);
    double worst = 0;
    for (int i = 0; i < 160; i++)
        worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
    return worst;
}

static void want_green(const struct attempt *a, double tolerance)
{
    struct outcome o = run(a);
    if (o.r != 0 || o.result.end_reason != PTL_END_EXIT || o.result.exit_code != 0 || !o.got)
        fail_msg("%s: returned %d (%s), %s, exit %d\n%s", a->label, o.r, o.err.text, o.result.message,
                 o.result.exit_code, ptl_buf_str(&o.log));
    double worst = worst_difference(&o);
    if (!(worst <= tolerance))
        fail_msg("%s: differs by %g", a->label, worst);
    const json_t *metrics = json_object_get(o.got, "metrics"), *runtime = json_object_get(o.got, "runtime");
    size_t n = json_array_size(json_object_get(metrics, "latency_ms"));
    assert_true(n >= 20 && n <= 1000);
    assert_true(ptl_json_num(metrics, "load_ms", 0) > 0 && ptl_json_num(metrics, "first_ms", 0) > 0);
    assert_true(ptl_json_i64(metrics, "peak_memory_bytes", 0) > 1 << 20);
    assert_true(ptl_json_i64(metrics, "artifact_bytes", 0) > 1000);
    assert_true(ptl_json_flag(runtime, "indicative_latency", false));
    assert_true(strlen(ptl_json_str(runtime, "version", "")) > 2 &&
                strlen(ptl_json_str(runtime, "device", "")) > 2);
    assert_true(json_is_array(json_object_get(o.got, "console")) &&
                json_array_size(json_object_get(o.got, "console")) == 0);
    printf("%s: worst difference %g, device peak %llu MiB, log:\n%s", a->label, worst,
           (unsigned long long)o.result.peak_memory_bytes >> 20, ptl_buf_str(&o.log));
    outcome_done(&o);
    assert_int_equal(processes_with(scratch), 0);
}

static void signature_of_another_name(const char *inputs)
{
    /* The converter renamed the input; the golden set keeps the first name. */
    static const char text[] =
        "{\"inputs\":[{\"name\":\"picture\",\"tensor\":\"image\"}],\"outputs\":[{\"name\":\"probabilities\",\"tensor\":\"probabilities\"}]}";
    PTL_FREE char *path = ptl_fs_join(inputs, "model/signature.json"),
                  *manifest = ptl_fs_join(inputs, "golden/manifest.json");
    PTL_JSON *golden = NULL;
    assert_int_equal(ptl_json_load(manifest, 1 << 20, &golden, NULL), 0);
    json_object_set_new(json_array_get(json_object_get(golden, "inputs"), 0), "name", json_string("picture"));
    assert_int_equal(ptl_json_save(manifest, golden, 0644, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

/* No name fits and the counts are equal: by position, with a warning in the log. */
static void name_of_no_tensor(const char *inputs)
{
    PTL_FREE char *manifest = ptl_fs_join(inputs, "golden/manifest.json");
    PTL_JSON *golden = NULL;
    assert_int_equal(ptl_json_load(manifest, 1 << 20, &golden, NULL), 0);
    json_object_set_new(json_array_get(json_object_get(golden, "inputs"), 0), "name", json_string("bild"));
    assert_int_equal(ptl_json_save(manifest, golden, 0644, NULL), 0);
}

/* clang-format off */
#define LITERT .recipe = "litert/run", .model = "digits.tflite"
#define ONNX   .recipe = "onnxruntime/run"
static const struct {
    struct attempt a;
    double tolerance;
} greens[] = {
    {{"TFLite, float", LITERT}, 1e-6},
    {{"TFLite, int8 at both ends", .recipe = "litert/run", .model = "digits-int8.tflite", .with = "{\"device\":\"entry-a53-2g\"}"}, 0.06},
    {{"TFLite, all samples at once", LITERT, .with = "{\"batch\":0,\"repeats\":25}"}, 1e-6},
    {{"ONNX, float", ONNX, .model = "digits.onnx"}, 1e-6},
    {{"ONNX, input by position", ONNX, .model = "digits.onnx", .spoil = name_of_no_tensor}, 1e-6},
    {{"ONNX, renamed input", ONNX, .model = "digits.onnx", .spoil = signature_of_another_name,
      .with = "{\"device\":\"mid-a55-3g\",\"threads\":2}"}, 1e-6},
};
/* clang-format on */

static void test_green(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(greens); i++)
        want_green(&greens[i].a, greens[i].tolerance);
}

/* ---- failures ---- */

static void edit_input(const char *inputs, const char *dtype, const char *npy_descr, size_t width)
{
    PTL_FREE char *manifest = ptl_fs_join(inputs, "golden/manifest.json"),
                  *path = ptl_fs_join(inputs, "golden/inputs/image.npy");
    PTL_JSON *golden = NULL;
    assert_int_equal(ptl_json_load(manifest, 1 << 20, &golden, NULL), 0);
    json_object_set_new(json_array_get(json_object_get(golden, "inputs"), 0), "dtype", json_string(dtype));
    assert_int_equal(ptl_json_save(manifest, golden, 0644, NULL), 0);
    PTL_BUF b = PTL_BUF_INIT;
    char header[118];
    snprintf(header, sizeof(header), "{'descr': '%s', 'fortran_order': False, 'shape': (16, 8, 8, 1), }",
             npy_descr);
    ptl_buf_add(&b, "\x93NUMPY\x01\0\x76\0", 10);
    ptl_buf_printf(&b, "%-117s\n", header);
    PTL_FREE char *zeros = ptl_xcalloc(16 * 64, width);
    ptl_buf_add(&b, zeros, 16 * 64 * width);
    assert_int_equal(ptl_fs_write_atomic(path, b.data, b.len, 0644, NULL), 0);
}

static void int64_input(const char *inputs)
{
    edit_input(inputs, "int64", "<i8", 8);
}

static void second_input(const char *inputs)
{
    PTL_FREE char *manifest = ptl_fs_join(inputs, "golden/manifest.json");
    PTL_JSON *golden = NULL;
    assert_int_equal(ptl_json_load(manifest, 1 << 20, &golden, NULL), 0);
    json_t *list = json_object_get(golden, "inputs");
    PTL_JSON *copy = json_deep_copy(json_array_get(list, 0));
    json_object_set_new(copy, "name", json_string("mask"));
    json_array_append(list, copy);
    assert_int_equal(ptl_json_save(manifest, golden, 0644, NULL), 0);
}

static void no_golden(const char *inputs)
{
    PTL_FREE char *manifest = ptl_fs_join(inputs, "golden/manifest.json");
    assert_int_equal(unlink(manifest), 0);
}

struct failure {
    struct attempt a;
    int want_r; /* 0: the result tells */
    enum ptl_end_reason want_reason;
    int want_code, want_signal; /* want_code -2: any */
    const char *want_log;       /* in the log, or in err when want_r < 0 */
};

/* clang-format off */
static const struct failure failures[] = {
    {{"a model of 0 bytes", .recipe = "litert/run", .content = "", .name = "model.tflite"}, 0, PTL_END_EXIT, 1, 0, "ValueError: "},
    {{"a model that is text", .recipe = "litert/run", .content = "version https://git-lfs.github.com/spec/v1\n", .name = "m.tflite"},
     0, PTL_END_EXIT, 1, 0, "not a valid Flatbuffer"},
    {{"an operator that the runtime lacks", .recipe = "litert/run", .model = "custom.tflite"},
     0, PTL_END_EXIT, 1, 0, "exit status 1: RuntimeError: Encountered unresolved custom op"},
    {{"int64 for float32, TFLite", LITERT, .spoil = int64_input}, 0, PTL_END_EXIT, 1, 0, "Got value of type INT64 but expected type FLOAT32"},
    {{"two golden inputs for one", LITERT, .spoil = second_input}, 0, PTL_END_EXIT, 1, 0, "input names do not fit"},
    {{"ONNX of 0 bytes", ONNX, .content = "", .name = "model.onnx"}, 0, PTL_END_EXIT, 1, 0, "onnxruntime"},
    {{"int64 for float32, ONNX", ONNX, .model = "digits.onnx", .spoil = int64_input}, 0, PTL_END_EXIT, 1, 0, "Unexpected input data type"},
    {{"more memory than the device has", ONNX, .model = "big.onnx", .with = "{\"memory\":\"300MiB\"}"},
     0, PTL_END_OOM, -2, 0, "killed for memory"},
    {{"an instruction that the CPU lacks", LITERT, .backend = "sigill.py", .with = "{\"device\":\"entry-a53-2g\"}"},
     0, PTL_END_SIGNAL, 132, SIGILL, "SIGILL"},
    {{"the device goes away", LITERT, .backend = "killer.py"}, 0, PTL_END_SETUP, 0, 0, "went away"},
    {{"status 0 and nothing written", LITERT, .backend = "silent.py"}, 0, PTL_END_EXIT, 70, 0, "manifest.json is not on the device"},
    {{"the deadline passes before the device is up", LITERT, .deadline_ms = 1}, 0, PTL_END_TIMEOUT, 0, 0, ""},
    {{"the deadline passes in an inference", LITERT, .backend = "sleeper.py", .deadline_ms = 6000}, 0, PTL_END_TIMEOUT, 0, 0, "deadline"},
    {{"cancelled", LITERT, .cancelled = true}, 0, PTL_END_CANCELLED, 0, 0, ""},
    {{"no model", .recipe = "litert/run"}, -ENOENT, PTL_END_SETUP, 0, 0, "expected one"},
    {{"a model of another kind", .recipe = "litert/run", .model = "digits.onnx"}, -ENOENT, PTL_END_SETUP, 0, 0, ".tflite"},
    {{"a model outside", LITERT, .with = "{\"model\":\"../x.tflite\"}"}, -ENOENT, PTL_END_SETUP, 0, 0, "not among the files"},
    {{"no golden set", LITERT, .spoil = no_golden}, -ENOENT, PTL_END_SETUP, 0, 0, "manifest.json"},
    {{"no such profile", LITERT, .with = "{\"device\":\"nokia\"}"}, -EINVAL, PTL_END_SETUP, 0, 0, "entry-a53-2g"},
    {{"threads out of range", LITERT, .with = "{\"threads\":99}"}, -EINVAL, PTL_END_SETUP, 0, 0, "expected 1..8"},
    {{"a real device without a server", LITERT, .with = "{\"serial\":\"X\",\"adb_server\":\"unix:/nonexistent\"}"},
     -ENOENT, PTL_END_SETUP, 0, 0, "no server at"},
};
/* clang-format on */

static void test_failures(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(failures); i++) {
        const struct failure *f = &failures[i];
        if (f->want_reason == PTL_END_OOM && !ptl_cgroup_kind(NULL)) {
            printf("%s: not tried, there is no control group here\n", f->a.label);
            continue;
        }
        struct outcome o = run(&f->a);
        bool ok = o.r == f->want_r;
        if (ok && o.r == 0)
            ok = o.result.end_reason == f->want_reason && o.result.signal == f->want_signal &&
                 (f->want_code == -2 || o.result.exit_code == f->want_code);
        const char *words = o.r < 0 ? o.err.text : ptl_buf_str(&o.log);
        if (!ok || !strstr(words, f->want_log) || o.got)
            fail_msg("%s: returned %d, %s, exit %d, signal %d, message \"%s\", manifest %s, said:\n%s",
                     f->a.label, o.r, o.r == 0 ? ptl_end_reason_name(o.result.end_reason) : "-",
                     o.result.exit_code, o.result.signal, o.result.message, o.got ? "written" : "absent",
                     words);
        printf("%s: %s\n", f->a.label, o.r < 0 ? o.err.text : o.result.message);
        outcome_done(&o);
        assert_int_equal(processes_with(scratch), 0);
    }
}

/* The dot-product instruction is there on a newer CPU: the fixture of "an instruction that the CPU lacks"
 * proves something. */
static void test_newer_cpu_has_it(void **state PTL_UNUSED)
{
    struct attempt a = {
        .label = "dotprod", .recipe = "litert/run", .model = "digits.tflite", .backend = "sigill.py"};
    struct outcome o = run(&a);
    assert_int_equal(o.r, 0);
    assert_int_equal(o.result.exit_code, 0);
    outcome_done(&o);
}

/* A device that somebody else's server knows: found by its serial, python pushed once, work directory
 * removed. */
static void test_by_serial(void **state PTL_UNUSED)
{
    struct ptl_device *dev = start_device("high-a76-4g", 0);
    PTL_FREE char *with = ptl_xasprintf("{\"serial\":\"%s\",\"adb_server\":\"%s\"}", ptl_device_serial(dev),
                                        ptl_adb_address(ptl_device_adb(dev)));
    struct attempt a = {.label = "by serial", .recipe = "litert/run", .model = "digits.tflite", .with = with};
    for (int i = 0; i < 2; i++) {
        struct outcome o = run(&a);
        if (o.r != 0 || o.result.exit_code != 0 || !o.got)
            fail_msg("returned %d %s %s\n%s", o.r, o.err.text, o.result.message, ptl_buf_str(&o.log));
        assert_true(worst_difference(&o) < 1e-6);
        assert_true((strstr(ptl_buf_str(&o.log), "pushed to") != NULL) == (i == 0));
        printf("%s", ptl_buf_str(&o.log));
        outcome_done(&o);
    }
    assert_int_equal(on(dev, "ls /data/local/tmp/portolan | grep -q attempt-").code, 1);
    ptl_device_free(dev);
}

static void test_inventory(void **state PTL_UNUSED)
{
    PTL_JSON *inventory = json_object();
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_driver_mobile.inventory(inventory, &err), 0);
    const json_t *devices = json_object_get(inventory, "devices");
    assert_true(json_array_size(devices) >= 5);
    assert_false(ptl_json_flag(json_object_get(json_array_get(devices, 0), "abilities"), "getprop", true));
}

static int setup(void **state)
{
    int r = scratch_setup(state);
    litert_dir = toolchain("litert-arm64");
    onnxruntime_dir = toolchain("onnxruntime-arm64");
    if (!litert_dir || !onnxruntime_dir) {
        printf("skipped: run agents/toolchains/prepare litert-arm64 onnxruntime-arm64\n");
        exit(77);
    }
    return r;
}

static int teardown(void **state)
{
    free(litert_dir);
    free(onnxruntime_dir);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_green),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_newer_cpu_has_it),
        cmocka_unit_test(test_by_serial),
        cmocka_unit_test(test_inventory),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, setup, teardown);
}
