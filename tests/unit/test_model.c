/* test_model - facts read from files that the real tools made (tests/unit/models/make_*.py), and from the
 * same files cut, bent and renamed. */
#include <fcntl.h>
#include <portolan/fs.h>
#include <portolan/model.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
/* last: it needs what is above */
#include <cmocka.h>

#define MODELS PTL_SOURCE_DIR "/tests/unit/models"

/* "key.key.0.key" of the facts as compact JSON; "" when absent. Caller frees. */
static char *at(const json_t *j, const char *path)
{
    char key[128];
    while (*path && j) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)n, path);
        j = json_is_array(j) ? json_array_get(j, (size_t)atoi(key)) : json_object_get(j, key);
        path += n + (path[n] == '.');
    }
    return j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
}

static json_t *read_model(const char *dir, const char *path)
{
    json_t *facts = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_model_read(dir, path, &facts, &err);
    if (r != 0)
        fail_msg("%s: %d %s", path, r, err.text);
    return facts;
}

static void test_facts(void **state)
{
    static const struct {
        const char *file, *path, *want;
    } rows[] = {
        {"dynamic.onnx",                  "format",                          "\"onnx\""                   },
        {"dynamic.onnx",                  "opsets.ai.onnx",                  ""                           }, /* a dot in the key */
        {"dynamic.onnx",                  "opsets",                          "{\"ai.onnx\":17}"           },
        {"dynamic.onnx",                  "inputs.0.shape",                  "[null,1,8,8]"               },
        {"dynamic.onnx",                  "inputs.0.dtype",                  "\"float32\""                },
        {"dynamic.onnx",                  "outputs.0.name",                  "\"scores\""                 },
        {"dynamic.onnx",                  "ops.Conv",                        "1"                          },
        {"dynamic.onnx",                  "weights_bytes",                   "116"                        }, /* (2*1*3*3 + 2 + 3*2 + 3) * 4 */
        {"dynamic.onnx",                  "problems",                        ""                           },
        {"future-custom.onnx",            "ir_version",                      "42"                         },
        {"future-custom.onnx",            "custom_ops",                      "[\"com.example::Wiggle\"]"  },
        {"future-custom.onnx",            "inputs.0.dtype",                  "\"int64\""                  },
        {"external/model.onnx",           "external.0.bytes",                "16384"                      },
        {"external/model.onnx",           "weights_bytes",                   "16384"                      },
        {"dynamic.ort",                   "format",                          "\"ort\""                    },
        {"float.tflite",                  "inputs.0.shape",                  "[null,8,8,1]"               },
        {"float.tflite",                  "op_versions.FULLY_CONNECTED",     "1"                          },
        {"float.tflite",                  "quantized",                       "false"                      },
        {"float.tflite",                  "signatures",                      "{\"serving_default\":{}}"   },
        {"int8.tflite",                   "quantized",                       "true"                       },
        {"int8.tflite",                   "inputs.0.dtype",                  "\"int8\""                   },
        {"int8.tflite",                   "op_versions.FULLY_CONNECTED",     "4"                          },
        {"int8.tflite",                   "min_runtime",                     "\"1.14.0\""                 },
        {"flex-int64.tflite",             "custom_ops",                      "[\"FlexMatrixDeterminant\"]"},
        {"saved-model",                   "tags",                            "[[\"serve\"]]"              },
        {"saved-model",                   "ops.Conv2D",                      "1"                          },
        {"saved-model",                   "ops.SaveV2",                      ""                           }, /* not reached by a signature */
        {"saved-model",                   "variables",                       "true"                       },
        {"saved-model",                   "problems",                        ""                           },
        {"saved-model-named",             "ops.Dilation2D",                  "1"                          }, /* inside of a function */
        {"saved-model-named",             "signatures.score.inputs.0.dtype", "\"float64\""                },
        {"frozen.pb",                     "ops.MatMul",                      "1"                          },
        {"keras3.keras",                  "keras_version",                   "\"3.12.0\""                 },
        {"keras3.keras",                  "layers.Conv2D",                   "1"                          },
        {"keras3.keras",                  "custom_objects",                  ""                           },
        {"keras3.keras",                  "inputs.0.shape",                  "[null,8,8,1]"               },
        {"keras3-custom.keras",           "custom_objects",                  "[\"mine>Double\"]"          },
        {"keras3-custom.keras",           "lambdas",                         "1"                          },
        {"keras3.h5",                     "keras_version",                   "\"3.12.0\""                 },
        {"keras3.h5",                     "batch_shape",                     "true"                       },
        {"keras2.h5",                     "keras_version",                   "\"2.19.0\""                 },
        {"keras2.h5",                     "layers.Dense",                    "2"                          },
        {"keras2.h5",                     "batch_shape",                     ""                           },
        {"tfjs-graph/model.json",         "format",                          "\"tfjs-graph\""             },
        {"tfjs-graph/model.json",         "ops.Conv2D",                      "1"                          },
        {"tfjs-graph/model.json",         "inputs.0.shape",                  "[null,8,8,1]"               },
        {"tfjs-graph/model.json",         "problems",                        ""                           },
        {"tfjs-layers/model.json",        "keras_version",                   "\"2.19.0\""                 },
        {"tfjs-layers-keras3/model.json", "keras_version",                   "\"3.12.0\""                 },
        {"tfjs-layers-keras3/model.json", "batch_shape",                     "true"                       },
        {"state-dict.pt",                 "holds",                           "\"state_dict\""             },
        {"state-dict-old.pth",            "holds",                           "\"state_dict\""             },
        {"module.pt",                     "holds",                           "\"module\""                 },
        {"module.pt",                     "globals.0",                       "\"__main__.Net\""           },
        {"program.pt",                    "format",                          "\"torchscript\""            },
    };
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        PTL_JSON *facts = read_model(MODELS, rows[i].file);
        PTL_FREE char *got = at(facts, rows[i].path);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s: %s is %s, expected %s", rows[i].file, rows[i].path, got, rows[i].want);
    }
}

static void test_find(void **state)
{
    (void)state;
    json_t *found = NULL;
    bool cut = true;
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i, shards = 0;
    json_t *v;
    assert_int_equal(ptl_model_find(MODELS, &found, &cut, &err), 0);
    assert_false(cut);
    assert_int_equal(json_array_size(found), 21);
    json_array_foreach(found, i, v) shards +=
        strstr(ptl_json_str(v, "path", ""), "shard") || strstr(ptl_json_str(v, "path", ""), "weights.bin");
    assert_int_equal(shards, 0); /* parts of models are not models */
    json_decref(found);
}

/* ---- the same files, spoilt */
static char scratch[64];

static int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch, sizeof(scratch), "/tmp/test-model-XXXXXX");
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
    PTL_FREE char *path = ptl_fs_join(scratch, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ptl_fs_write_all(fd, data, len), 0);
    close(fd);
}

static void test_problems(void **state)
{
    static const struct {
        const char *from;
        double keep; /* share of its bytes */
        const char *as, *format, *says;
    } rows[] = {
        {"dynamic.onnx",          0.5, "a.onnx",     "onnx",       "cut off"             },
        {"float.tflite",          0.4, "a.tflite",   "tflite",     "leads out"           },
        {"keras3.keras",          0.6, "a.keras",    "keras",      "damaged or cut-off"  },
        {"keras3.h5",             0.7, "a.h5",       "hdf5",       "is cut off"          },
        {"state-dict.pt",         0.5, "a.pt",       "unknown",    "damaged or cut-off"  },
        {"state-dict-old.pth",    0.3, "b.pth",      "torch",      "does not end"        },
        {"tfjs-graph/model.json", 1,   "model.json", "tfjs-graph", "is not there"        },
        {"external/model.onnx",   1,   "c.onnx",     "onnx",       "'weights.bin', which"},
        {"float.tflite",          1,   "d.h5",       "tflite",     NULL                  }, /* bytes before names */
        {"frozen.pb",             1,   "e.keras",    "unknown",    "does not begin"      },
        {"frozen.pb",             0,   "f.onnx",     "onnx",       "has no graph"        },
    };
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        PTL_BUF b = PTL_BUF_INIT;
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_FREE char *from = ptl_fs_join(MODELS, rows[i].from);
        assert_int_equal(ptl_fs_read(from, 1 << 20, &b, &err), 0);
        put(rows[i].as, ptl_buf_str(&b), (size_t)((double)b.len * rows[i].keep));
        PTL_JSON *facts = read_model(scratch, rows[i].as);
        PTL_FREE char *problems = at(facts, "problems");
        assert_string_equal(ptl_json_str(facts, "format", ""), rows[i].format);
        if (rows[i].says ? !strstr(problems, rows[i].says) : *problems)
            fail_msg("%s as %s: problems are %s, expected '%s'", rows[i].from, rows[i].as, problems,
                     rows[i].says ? rows[i].says : "none");
    }
}

static void test_not_models(void **state)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
                      page[] = "<!DOCTYPE html>\n<html>";
    json_t *facts = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    (void)state;
    put("w.onnx", lfs, sizeof(lfs) - 1);
    put("w.tflite", page, sizeof(page) - 1);
    put("notes.txt", lfs, sizeof(lfs) - 1);
    put("model.json", "{\"name\": \"something else\"}", 26);
    PTL_JSON *a = read_model(scratch, "w.onnx"), *b = read_model(scratch, "w.tflite");
    assert_string_equal(ptl_json_str(a, "format", ""), "lfs-pointer");
    assert_string_equal(ptl_json_str(b, "format", ""), "html");
    assert_int_equal(ptl_model_read(scratch, "notes.txt", &facts, &err), PTL_ABSENT);
    assert_int_equal(ptl_model_read(scratch, "model.json", &facts, &err), PTL_ABSENT);
    assert_true(ptl_model_read(scratch, "absent.onnx", &facts, &err) < 0);
    assert_non_null(strstr(err.text, "absent.onnx"));
}

/* No link leads the reader out of the tree, and no fifo holds it up. */
static void test_no_way_out(void **state)
{
    json_t *facts = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    (void)state;
    PTL_FREE char *link = ptl_fs_join(scratch, "l.onnx"), *fifo = ptl_fs_join(scratch, "p.onnx");
    assert_int_equal(symlink(MODELS "/dynamic.onnx", link), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_true(ptl_model_read(scratch, "l.onnx", &facts, &err) < 0);
    assert_true(ptl_model_read(scratch, "p.onnx", &facts, &err) < 0);
    /* external data outside of the model's folder is not looked at: the location is as long as '../w.bin'
     * needs */
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(MODELS "/external/model.onnx", 1 << 20, &b, &err), 0);
    char *at_name = memmem(b.data, b.len, "weights.bin", 11);
    assert_non_null(at_name);
    memcpy(at_name, "../../x.bin", 11);
    put("out.onnx", b.data, b.len);
    PTL_JSON *out = read_model(scratch, "out.onnx");
    PTL_FREE char *bytes = at(out, "external.0.bytes");
    assert_string_equal(bytes, "null");
}

static void le32(uint8_t *p, size_t at, uint32_t v)
{
    memcpy(p + at, &v, 4);
}

/* Three subgraphs that share one list of half a million tensors, all of them the same: small in bytes, not in
 * what there is to look at. */
static void test_shared_lists(void **state)
{
    (void)state;
    enum { TENSORS = 500000, GRAPHS = 3, MODEL = 40, LIST = 60, GRAPH = 90, ALL = 100 };
    size_t size = ALL + 4 + 4 * (size_t)TENSORS + 16, tensor = size - 8;
    uint8_t *p = calloc(size, 1);
    static const uint16_t of_model[] = {14, 8, 0, 0, 4, 0, 0}, of_graph[] = {6, 8, 4}, of_tensor[] = {4, 4};
    assert_non_null(p);
    le32(p, 0, MODEL);
    memcpy(p + 4, "TFL3", 4);
    memcpy(p + 20, of_model, sizeof(of_model)); /* the tables of fields stand before their tables */
    le32(p, MODEL, MODEL - 20);
    le32(p, MODEL + 4, LIST - (MODEL + 4));
    le32(p, LIST, GRAPHS);
    for (size_t k = 0; k < GRAPHS; k++)
        le32(p, LIST + 4 + 4 * k, (uint32_t)(GRAPH - (LIST + 4 + 4 * k)));
    memcpy(p + 80, of_graph, sizeof(of_graph));
    le32(p, GRAPH, GRAPH - 80);
    le32(p, GRAPH + 4, ALL - (GRAPH + 4));
    le32(p, ALL, TENSORS);
    for (size_t k = 0; k < TENSORS; k++)
        le32(p, ALL + 4 + 4 * k, (uint32_t)(tensor - (ALL + 4 + 4 * k)));
    memcpy(p + tensor - 4, of_tensor, sizeof(of_tensor));
    le32(p, tensor, 4);
    put("shared.tflite", p, size);
    free(p);
    PTL_JSON *facts = read_model(scratch, "shared.tflite");
    PTL_FREE char *cuts = at(facts, "cuts");
    assert_non_null(strstr(cuts, "tensors: only the first 1000000 are looked at"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test_setup_teardown(test_shared_lists, make_scratch, remove_scratch),
        cmocka_unit_test(test_find),
        cmocka_unit_test_setup_teardown(test_problems, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(test_not_models, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(test_no_way_out, make_scratch, remove_scratch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
