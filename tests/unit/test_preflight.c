/* test_preflight - every rule once where it speaks and once where it must not, on files that the real tools
 * made (tests/unit/models/make_*.py) and on small trees written here. */
#include <fcntl.h>
#include <portolan/fs.h>
#include <portolan/model.h>
#include <portolan/preflight.h>
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
/* last: it needs what is above */
#include <cmocka.h>

#define MODELS PTL_SOURCE_DIR "/tests/unit/models"

static const char toolchains[] =
    "{\"onnxruntime\":{\"onnxruntime\":\"1.32.0\"},\"onnxruntime-arm64\":{\"onnxruntime\":\"1.16.3\"},\"mlserver\":{\"onnxruntime\":\"1.32.0\"},"
    "\"tensorflow\":{\"tensorflow\":\"2.19.1\",\"keras\":\"3.12.0\"},\"web\":{\"tfjs\":\"4.22.0\",\"onnxruntime-web\":\"1.30.0\"}}";

static char scratch[64];

static int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch, sizeof(scratch), "/tmp/test-preflight-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state)
{
    struct ptl_error err = PTL_ERROR_INIT;
    (void)state;
    return ptl_fs_remove_tree(scratch, &err);
}

static void put(const char *name, const void *data, size_t len)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *path = ptl_fs_join(scratch, name);
    PTL_FREE char *dir = ptl_xstrdup(path);
    *strrchr(dir, '/') = 0;
    assert_int_equal(ptl_fs_mkdirs(dir, 0700, &err), 0);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ptl_fs_write_all(fd, data, len), 0);
    close(fd);
}

/* A file of tests/unit/models, or a folder's files, below the scratch tree. */
static int copy_one(void *ctx, const struct ptl_fs_entry *e)
{
    PTL_BUF b = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    if (e->is_dir)
        return 0;
    PTL_FREE char *to = ptl_xasprintf("%s/%s", (const char *)ctx, e->path);
    assert_int_equal(ptl_fs_read(e->full, 1 << 20, &b, &err), 0);
    put(to, ptl_buf_str(&b), b.len);
    return 0;
}

static void copy(const char *from, const char *to)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *full = ptl_fs_join(MODELS, from);
    if (ptl_fs_is_dir(full)) {
        assert_int_equal(ptl_fs_walk(full, 100, copy_one, (void *)(uintptr_t)to, &err), 0);
        return;
    }
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(full, 1 << 20, &b, &err), 0);
    put(to, ptl_buf_str(&b), b.len);
}

static json_t *plan_of(const char *yaml)
{
    struct ptl_spec *spec = NULL;
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    if (ptl_spec_parse(yaml, strlen(yaml), "test.yml", &spec, &diags) < 0) {
        PTL_FREE char *text = ptl_spec_diags_text(&diags);
        fail_msg("%s", text);
    }
    json_t *plan = json_deep_copy(ptl_spec_plan(spec));
    ptl_spec_free(spec);
    ptl_spec_diags_done(&diags);
    return plan;
}

/* Checks the scratch tree against a pipeline; the answer is the caller's. */
static json_t *check(const char *yaml, const char *stage)
{
    struct ptl_error err = PTL_ERROR_INIT;
    json_t *answer = NULL, *models = NULL;
    bool cut;
    PTL_JSON *plan = plan_of(yaml), *versions = json_loads(toolchains, 0, NULL),
             *agents = json_loads("[{\"hosts\":[\"server\"],\"memory_bytes\":1073741824}]", 0, NULL);
    assert_non_null(versions);
    assert_int_equal(ptl_model_find(scratch, &models, &cut, &err), 0);
    struct ptl_preflight_input in = {.dir = scratch,
                                     .plan = plan,
                                     .models = models,
                                     .stage = stage,
                                     .toolchains = versions,
                                     .agents = agents};
    if (ptl_preflight(&in, &answer, &err) != 0)
        fail_msg("%s", err.text);
    json_decref(models);
    return answer;
}

static const json_t *finding(const json_t *answer, const char *rule)
{
    size_t i;
    const json_t *f;
    json_array_foreach(json_object_get(answer, "findings"), i,
                       f) if (ptl_str_eq(ptl_json_str(f, "rule", ""), rule)) return f;
    return NULL;
}

/* One row: these files as the model of a stage, this pipeline; the rule speaks (with this severity, node and
 * words) or is silent. */
static void test_models_into_stages(void **state)
{
    static const struct {
        const char *label, *files, *as, *stage, *targets, *rule, *severity, *challenge, *says;
    } rows[] = {
        {"opset and format of tomorrow on a server", "future-custom.onnx",         "model/m.onnx",         "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "onnx-too-new",      "error",
         "server/environment/avoiding-version-incompatibility",                                                                                                                                                              "operator set 99"     },
        {"opset 17 on ONNX Runtime 1.32",            "dynamic.onnx",               "model/m.onnx",         "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "onnx-too-new",      NULL,      NULL,                                                              NULL                  },
        {"an operator of its own",                   "future-custom.onnx",         "model/m.onnx",         "export",
         "{s: {host: mobile, verify: {uses: onnxruntime/run}}}",                                                          "op-not-registered", "error",
         "mobile/dl-library-compilation/register-of-unsupported-operators",                                                                                                                                                  "com.example::Wiggle" },
        {"standard operators only",                  "dynamic.onnx",               "model/m.onnx",         "export",
         "{s: {host: mobile, verify: {uses: onnxruntime/run}}}",                                                          "op-not-registered", NULL,      NULL,                                                              NULL                  },
        {"64-bit input in a browser",                "future-custom.onnx",         "model/m.onnx",         "export",
         "{s: {host: browser, verify: {uses: onnxruntime-web/run}}}",                                                     "input-type",        "warning",
         "browser/data-processing/setting-format-datatype-of-input-data",                                                                                                                                                    "BigInt|int64"        },
        {"the same on a server",                     "future-custom.onnx",         "model/m.onnx",         "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "input-type",        NULL,      NULL,                                                              NULL                  },
        {"dilation into TFLite",                     "saved-model-named",          "model",                "export",
         "{s: {host: mobile, convert: {uses: tensorflow/tflite, with: {signature: score}}, verify: {uses: litert/run}}}",
         "op-unsupported",                                                                                                                     "error",   "mobile/model-conversion/conversion-of-unsupported-models",        "Dilation2D"          },
        {"plain network into TFLite",                "saved-model",                "model",                "export",
         "{s: {host: mobile, convert: {uses: tensorflow/tflite}, verify: {uses: litert/run}}}",                           "op-unsupported",    NULL,      NULL,                                                              NULL                  },
        {"plain network into TensorFlow.js",         "saved-model",                "model",                "export",
         "{s: {host: browser, convert: {uses: tensorflow/tfjs}, verify: {uses: tfjs/run}}}",                              "op-unsupported",
         NULL,                                                                                                                                            NULL,                                                              NULL                  },
        {"no such signature",                        "saved-model-named",          "model",                "export",
         "{s: {host: server, verify: {uses: http/tf-serving}}}",                                                          "signature-missing", "error",
         "server/model-export/specification-of-model-information",                                                                                                                                                           "it has score"        },
        {"the signature that is there",              "saved-model-named",          "model",                "export",
         "{s: {host: server, verify: {uses: http/tf-serving, with: {signature: score}}}}",                                "signature-missing", NULL,      NULL,                                                              NULL                  },
        {"Flex operators on a phone",                "flex-int64.tflite",          "model/m.tflite",       "convert/s",
         "{s: {host: mobile, convert: {uses: tensorflow/tflite}, verify: {uses: litert/run}}}",                           "op-not-registered", "error",   "mobile/dl-library-compilation/register-of-unsupported-operators",
         "FlexMatrixDeterminant"                                                                                                                                                                                                                   },
        {"builtin operators on a phone",             "float.tflite",               "model/m.tflite",       "convert/s",
         "{s: {host: mobile, convert: {uses: tensorflow/tflite}, verify: {uses: litert/run}}}",                           "op-not-registered", NULL,      NULL,                                                              NULL                  },
        {"Keras 3 layers in the browser",            "tfjs-layers-keras3",         "model",                "convert/s",
         "{s: {host: browser, convert: {uses: tensorflow/tfjs}, verify: {uses: tfjs/run}}}",                              "keras3-layers",
         "error",                                                                                                                                         "browser/environment/avoiding-version-incompatibility",            "Keras 3.12.0"        },
        {"Keras 2 layers in the browser",            "tfjs-layers",                "model",                "convert/s",
         "{s: {host: browser, convert: {uses: tensorflow/tfjs}, verify: {uses: tfjs/run}}}",                              "keras3-layers",
         NULL,                                                                                                                                            NULL,                                                              NULL                  },
        {"a graph model in the browser",             "tfjs-graph",                 "model",                "convert/s",
         "{s: {host: browser, convert: {uses: tensorflow/tfjs}, verify: {uses: tfjs/run}}}",                              "keras3-layers",
         NULL,                                                                                                                                            NULL,                                                              NULL                  },
        {"TFLite where ONNX is read",                "float.tflite",               "model/m.tflite",       "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "format",            "error",
         "server/serving/model-loading",                                                                                                                                                                                     "it is tflite"        },
        {"ONNX where ONNX is read",                  "dynamic.onnx",               "model/m.onnx",         "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "format",            NULL,      NULL,                                                              NULL                  },
        {"external data that came along",            "external",                   "model",                "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "external-data",     NULL,      NULL,                                                              NULL                  },
        {"external data left behind",                "external/model.onnx",        "model/m.onnx",         "export",
         "{s: {host: server, verify: {uses: http/oip-v2}}}",                                                              "external-data",     "error",
         "server/serving/model-loading",                                                                                                                                                                                     "weights.bin"         },
        {"shards left behind",                       "tfjs-graph/model.json",      "model/model.json",     "convert/s",
         "{s: {host: browser, convert: {uses: tensorflow/tfjs}, verify: {uses: tfjs/run}}}",                              "shards",
         "error",                                                                                                                                         "browser/model-loading/loading-from-a-http-endpoint",              "group1-shard1of1.bin"},
        {"shards that came along",                   "tfjs-graph",                 "model",                "convert/s",
         "{s: {host: browser, convert: {uses: tensorflow/tfjs}, verify: {uses: tfjs/run}}}",                              "shards",            NULL,
         NULL,                                                                                                                                                                                                               NULL                  },
        {"variables left behind",                    "saved-model/saved_model.pb", "model/saved_model.pb", "export",
         "{s: {host: server, verify: {uses: http/tf-serving}}}",                                                          "weights-missing",   "error",
         "server/model-export/procedure",                                                                                                                                                                                    "only the graph"      },
        {"variables that came along",                "saved-model",                "model",                "export",
         "{s: {host: server, verify: {uses: http/tf-serving}}}",                                                          "weights-missing",   NULL,      NULL,                                                              NULL                  },
        {"an integer model quantized again",         "int8.tflite",                "model/m.tflite",       "convert/s",
         "{s: {host: mobile, convert: {uses: tensorflow/tflite}, verify: {uses: litert/run}}}",                           "damaged",
         NULL,                                                                                                                                            NULL,                                                              NULL                  },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        make_scratch(state);
        copy(rows[i].files, rows[i].as);
        PTL_FREE char *yaml =
            ptl_xasprintf("version: 1\nmodel: m\nexport: {run: [make]}\ntargets: %s\n", rows[i].targets);
        PTL_JSON *answer = check(yaml, rows[i].stage);
        const json_t *f = finding(answer, rows[i].rule);
        PTL_FREE char *all = json_dumps(json_object_get(answer, "findings"), JSON_INDENT(1));
        if (!rows[i].severity != !f)
            fail_msg("%s: rule %s %s:\n%s", rows[i].label, rows[i].rule, f ? "speaks" : "is silent", all);
        if (f && (!ptl_str_eq(ptl_json_str(f, "severity", ""), rows[i].severity) ||
                  !ptl_str_eq(ptl_json_str(f, "challenge_id", ""), rows[i].challenge)))
            fail_msg("%s: expected %s %s:\n%s", rows[i].label, rows[i].severity, rows[i].challenge, all);
        if (f && !strchr(rows[i].says, '|') && !strstr(ptl_json_str(f, "message", ""), rows[i].says))
            fail_msg("%s: '%s' is not said:\n%s", rows[i].label, rows[i].says, all);
        remove_scratch(state);
    }
}

/* What the repository and the plan alone say. */
static void test_repository(void **state)
{
    static const char keras[] =
        "version: 1\nmodel: m\nexport: {uses: keras/saved-model, with: {%s}}\n"
        "targets:\n  a: {host: mobile, convert: {uses: tensorflow/tflite, with: {%s}}, verify: {uses: litert/run}}\n";
    static const struct {
        const char *label, *file, *text, *from, *export_with, *convert_with, *rule, *severity, *challenge;
    } rows[] = {
        {"a script that is not there",     "other.py",         "x",                                             NULL,                  "script: export.py",             "quantize: none",
         "file-missing",                                                                                                                                                                                           "error",   "server/model-export/procedure"                      },
        {"a script spelt otherwise",       "Export.py",        "x",                                             NULL,                  "script: export.py",             "quantize: none",
         "file-missing",                                                                                                                                                                                           "error",   "server/model-export/procedure"                      },
        {"a script that is there",         "export.py",        "x",                                             NULL,                  "script: export.py",             "quantize: none",
         "file-missing",                                                                                                                                                                                           NULL,      NULL                                                 },
        {"int8 without data",              "export.py",        "x",                                             NULL,                  "script: export.py",             "quantize: int8",
         "representative-data",                                                                                                                                                                                    "error",   "mobile/model-conversion/model-quantization"         },
        {"int8 with data",                 "export.py",        "x",                                             NULL,                  "script: export.py",
         "quantize: int8, representative: golden",                                                                                                                                        "representative-data",   NULL,      NULL                                                 },
        {"integer io of a float model",    "export.py",        "x",                                             NULL,                  "script: export.py",             "io_type: int8",
         "options",                                                                                                                                                                                                "error",   "mobile/model-conversion/model-quantization"         },
        {"a pointer for a model",          "m.h5",
         "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",                                  NULL,
         "model: m.h5, golden: g.npz",                                                                                                                                  "quantize: none", "lfs-pointer",           "error",
         "server/model-export/procedure"                                                                                                                                                                                                                                           },
        {"a page for a model",             "m.h5",             "<!DOCTYPE html><html>",                         NULL,                  "model: m.h5, golden: g.npz",
         "quantize: none",                                                                                                                                                                "damaged",               "error",   "server/serving/model-loading"                       },
        {"a model",                        "m.h5",             NULL,                                            "keras3.h5",           "model: m.h5, golden: g.npz",    "quantize: none", "damaged",
         NULL,                                                                                                                                                                                                                NULL                                                 },
        {"classes of one's own in a file", "m.keras",          NULL,                                            "keras3-custom.keras",
         "model: m.keras, golden: g.npz",                                                                                                                               "quantize: none", "custom-objects",        "warning",
         "server/model-export/export-of-unsupported-models"                                                                                                                                                                                                                        },
        {"only Keras's classes in a file", "m.keras",          NULL,                                            "keras3.keras",        "model: m.keras, golden: g.npz",
         "quantize: none",                                                                                                                                                                "custom-objects",        NULL,      NULL                                                 },
        {"pins of another age",            "requirements.txt",
         "# x\nTensorflow-CPU[and-cuda] == 1.15.0 ; python_version < '3.8'\n",                                  NULL,                  "script: export.py",
         "quantize: none",                                                                                                                                                                "version-pins",          "warning", "server/environment/avoiding-version-incompatibility"},
        {"pins that fit",                  "requirements.txt", "tensorflow>=2.10\nkeras~=3.0\nnumpy==1.26.4\n", NULL,
         "script: export.py",                                                                                                                                           "quantize: none", "version-pins",          NULL,      NULL                                                 },
        {"prepared outside",               "train.py",         "import numpy\nx = images / 255.0\n",            NULL,                  "script: train.py",
         "quantize: none",                                                                                                                                                                "preprocessing-outside", "note",
         "mobile/data-processing/migrating-pre-processing"                                                                                                                                                                                                                         },
        {"prepared inside",                "train.py",         "layers.Rescaling(1 / 255)\n",                   NULL,                  "script: train.py",
         "quantize: none",                                                                                                                                                                "preprocessing-outside", NULL,      NULL                                                 },
        {"a whole module pickled",         "weights.pt",       NULL,                                            "module.pt",           "script: train.py",              "quantize: none",
         "pickle",                                                                                                                                                                                                 "warning", "server/model-export/procedure"                      },
        {"a state dict",                   "weights.pt",       NULL,                                            "state-dict.pt",       "script: train.py",              "quantize: none", "pickle",
         NULL,                                                                                                                                                                                                                NULL                                                 },
        {"a pickle that runs a command",   "weights.pkl",
         "\x80\x02"
         "cposix\nsystem\nU\x04trueR.",                                                                         NULL,                  "script: train.py",              "quantize: none", "pickle",                "error",   "server/model-export/procedure"                      },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        make_scratch(state);
        if (rows[i].text)
            put(rows[i].file, rows[i].text, strlen(rows[i].text));
        else
            copy(rows[i].from, rows[i].file);
        char yaml[1000];
        snprintf(yaml, sizeof(yaml), keras, rows[i].export_with, rows[i].convert_with);
        PTL_JSON *answer = check(yaml, NULL);
        const json_t *f = finding(answer, rows[i].rule);
        PTL_FREE char *all = json_dumps(json_object_get(answer, "findings"), JSON_INDENT(1));
        if (!rows[i].severity != !f)
            fail_msg("%s: rule %s %s:\n%s", rows[i].label, rows[i].rule, f ? "speaks" : "is silent", all);
        if (f && !ptl_str_eq(ptl_json_str(f, "severity", ""), rows[i].severity) &&
            !ptl_str_eq(rows[i].rule, "pickle"))
            fail_msg("%s: expected %s:\n%s", rows[i].label, rows[i].severity, all);
        if (f && !ptl_str_eq(ptl_json_str(f, "challenge_id", ""), rows[i].challenge))
            fail_msg("%s: expected %s:\n%s", rows[i].label, rows[i].challenge, all);
        remove_scratch(state);
    }
}

static void test_exporter_opset(void **state)
{
    static const char yaml[] =
        "version: 1\nmodel: m\nexport: {uses: pytorch/onnx, with: {script: export.py, opset: 20}}\n"
        "targets:\n  a: {host: mobile, verify: {uses: onnxruntime/run}}\n  s: {host: server, verify: {uses: http/oip-v2}}\n";
    make_scratch(state);
    put("export.py", "x", 1);
    PTL_JSON *answer = check(yaml, NULL);
    const json_t *f = finding(answer, "onnx-too-new");
    assert_non_null(f); /* the phone's 1.16 reads up to 19; the server's 1.32 reads 20 */
    assert_string_equal(ptl_json_str(f, "stage", ""), "verify/a");
    size_t n = 0, i;
    const json_t *v;
    json_array_foreach(json_object_get(answer, "findings"), i, v) n +=
        ptl_str_eq(ptl_json_str(v, "rule", ""), "onnx-too-new");
    assert_int_equal(n, 1);
    remove_scratch(state);
}

/* Of a graph that ends in the middle nobody knows which signatures it has: only that it is damaged. */
static void test_what_is_cut_off_is_not_missing(void **state)
{
    PTL_BUF whole = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    make_scratch(state);
    copy("saved-model", "model");
    PTL_FREE char *path = ptl_fs_join(scratch, "model/saved_model.pb");
    assert_int_equal(ptl_fs_read(path, 1 << 20, &whole, &err), 0);
    put("model/saved_model.pb", ptl_buf_str(&whole), whole.len / 2);
    PTL_JSON *answer = check("version: 1\nmodel: m\nexport: {run: [make]}\ntargets:\n  s: {host: server, "
                             "verify: {uses: http/tf-serving}}\n",
                             "export");
    assert_string_equal(ptl_json_str(finding(answer, "damaged"), "challenge_id", ""),
                        "server/serving/model-loading");
    assert_null(finding(answer, "signature-missing"));
    remove_scratch(state);
}

/* [n,8,8,1] into a model that wants [n,1,8,8]: an .npz as numpy writes it (stored, one array). */
static void test_layout(void **state)
{
    static const char yaml[] =
        "version: 1\nmodel: m\nexport: {uses: keras/saved-model, with: {model: m.keras, golden: g.npz}}\ntargets:\n  s: {host: server, verify: {uses: http/tf-serving}}\n";
    char head[128];
    make_scratch(state);
    copy("keras3.keras", "m.keras");
    for (int turned = 0; turned < 2; turned++) {
        /* a zip of one stored entry, by hand: local header, data, directory, end */
        int n = snprintf(head, sizeof(head),
                         "\x93NUMPY\x01%cv%c{'descr': '<f4', 'fortran_order': False, 'shape': (2, %s), }", 0,
                         0, turned ? "1, 8, 8" : "8, 8, 1");
        memset(head + n, ' ', sizeof(head) - (size_t)n);
        head[7] = 0;
        head[8] = 118;
        head[9] = 0;
        head[127] = '\n';
        unsigned char zip[400] = {'P', 'K', 3, 4, 20, 0}, *p = zip;
        uint32_t crc = 0xffffffffu;
        for (size_t i = 0; i < sizeof(head); i++) {
            crc ^= (unsigned char)head[i];
            for (int k = 0; k < 8; k++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
        crc = ~crc;
        memcpy(p + 14, &crc, 4);
        p[18] = p[22] = 128;
        p[26] = 9;
        memcpy(p + 30, "image.npy", 9);
        memcpy(p + 39, head, 128);
        unsigned char *d = p + 167;
        memcpy(d, "PK\x01\x02\x14\0\x14\0", 8);
        memcpy(d + 16, &crc, 4);
        d[20] = d[24] = 128;
        d[28] = 9;
        memcpy(d + 46, "image.npy", 9);
        unsigned char *e = d + 55;
        memcpy(e, "PK\x05\x06", 4);
        e[8] = e[10] = 1;
        e[12] = 55;
        e[16] = 167;
        put("g.npz", zip, (size_t)(e + 22 - zip));
        PTL_JSON *answer = check(yaml, NULL);
        const json_t *f = finding(answer, "input-layout");
        if (turned) {
            assert_non_null(f);
            assert_non_null(strstr(ptl_json_str(f, "message", ""), "channels stand at the other end"));
            assert_string_equal(ptl_json_str(f, "challenge_id", ""),
                                "server/data-processing/setting-size-shape-of-input-data");
        } else {
            assert_null(f);
        }
    }
    remove_scratch(state);
}

static void test_memory(void **state)
{
    json_t *terms = NULL;
    int64_t bytes = 0;
    (void)state;
    PTL_JSON *m =
        json_pack("{s:I,s:I}", "weights_bytes", (json_int_t)1000000, "activations_bytes", (json_int_t)5000);
    assert_true(ptl_preflight_memory("onnxruntime/run", m, 10, &bytes, &terms));
    int64_t sum = 0;
    size_t i;
    const json_t *v;
    json_array_foreach(terms, i, v) sum += ptl_json_i64(v, "bytes", 0);
    assert_int_equal(sum, bytes);
    assert_int_equal(ptl_json_i64(json_array_get(terms, 1), "bytes", 0), 2000000);
    assert_int_equal(ptl_json_i64(json_array_get(terms, 2), "bytes", 0), 50000);
    json_decref(terms);
    assert_false(ptl_preflight_memory("someone/elses", m, 1, &bytes, NULL));
    /* numbers that do not fit are no estimate */
    json_object_set_new(m, "weights_bytes", json_integer(INT64_MAX));
    assert_false(ptl_preflight_memory("onnxruntime/run", m, 1, &bytes, NULL));
    /* a model that a small phone cannot hold: its size is what the file system says, no byte of it is read
     * into memory */
    make_scratch(state);
    copy("dynamic.onnx", "model/m.onnx");
    PTL_FREE char *path = ptl_fs_join(scratch, "model/w.safetensors");
    (void)path;
    PTL_JSON *small = check(
        "version: 1\nmodel: m\nexport: {run: [make]}\ntargets:\n  p: {host: mobile, verify: {uses: onnxruntime/run, with: {device: wear-a53-512m}}}\n",
        "export");
    assert_null(finding(small, "memory"));
    assert_int_equal(json_array_size(json_object_get(small, "memory")), 1);
    remove_scratch(state);
}

static void test_the_oldest_version_of_each_package_counts(void **state)
{
    (void)state;
    PTL_JSON *agents = json_loads("[{\"toolchains\":{\"web\":{\"tfjs\":\"4.9.0\"}}},{},"
                                  "{\"toolchains\":{\"web\":{\"tfjs\":\"4.10.0\",\"litertjs\":\"2.5\"}}}]",
                                  0, NULL);
    PTL_JSON *got = ptl_preflight_toolchains(agents);
    PTL_FREE char *text = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"web\":{\"litertjs\":\"2.5\",\"tfjs\":\"4.9.0\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_into_stages),
        cmocka_unit_test(test_repository),
        cmocka_unit_test(test_exporter_opset),
        cmocka_unit_test(test_what_is_cut_off_is_not_missing),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_the_oldest_version_of_each_package_counts),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
