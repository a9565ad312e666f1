/* preflight.c - walks plan and models, lets the rules look, sorts what they found. */
#include "preflight-private.h"
#include <ctype.h>
#include <stdio.h>

const struct ptl_preflight_rule ptl_preflight_rules[] = {
    {"onnx-too-new",          "an ONNX operator set or format newer than the runtime reads"              },
    {"op-unsupported",        "an operator that the target's converter or runtime does not have"         },
    {"op-not-registered",     "an operator of its own that the runtime would have to be given"           },
    {"keras3-layers",         "a Keras 3 topology for TensorFlow.js's layers loader, which reads Keras 2"},
    {"dynamic-shape",         "a free dimension where the target wants a fixed one"                      },
    {"input-type",            "inputs of a type that phones and browsers have no arrays for"             },
    {"input-layout",          "golden inputs and model disagree about shape or where the channels are"   },
    {"signature-missing",     "a signature or tag that is asked for and not in the SavedModel"           },
    {"too-large",             "a file above what its format or its target can hold"                      },
    {"external-data",         "weights beside the model that are not there"                              },
    {"shards",                "shards that are missing, cut off or at an address of their own"           },
    {"custom-objects",        "layers or classes of one's own, which the target cannot import"           },
    {"representative-data",   "full integer quantization without data to find ranges with"               },
    {"preprocessing-outside", "inputs are prepared in the training code and not in the model"            },
    {"lfs-pointer",           "a Git-LFS pointer where weights should be"                                },
    {"memory",                "more memory than the target has"                                          },
    {"version-pins",          "pins of the repository that contradict the toolchain"                     },
    {"pickle",                "a checkpoint that needs its classes, or would run code when loaded"       },
    {"damaged",               "a model file that is cut off, damaged, or no model at all"                },
    {"file-missing",          "a file that the pipeline names and the repository does not have"          },
    {"format",                "a model of a format that the stage does not read"                         },
    {"file-url",              "a file: address in what a browser will load"                              },
    {"options",               "options of a recipe that contradict each other"                           },
    {"weights-missing",       "a graph without its weights"                                              },
};
const size_t ptl_preflight_rules_count = PTL_ARRAY_LEN(ptl_preflight_rules);

static const char *const challenges[KIND_COUNT][3] = {
    [KIND_UNSUPPORTED] = {"server/model-export/export-of-unsupported-models",
                          "mobile/model-conversion/conversion-of-unsupported-models",                                              "browser/model-conversion/conversion-of-unsupported-models"    },
    [KIND_REGISTER] = {"server/model-export/export-of-unsupported-models",
                          "mobile/dl-library-compilation/register-of-unsupported-operators",                                       "browser/model-conversion/conversion-of-unsupported-models"    },
    [KIND_VERSION] = {"server/environment/avoiding-version-incompatibility",
                          "mobile/dl-integration-into-projects/avoiding-version-incompatibility",                                  "browser/environment/avoiding-version-incompatibility"         },
    [KIND_SHAPE] = {"server/data-processing/setting-size-shape-of-input-data",
                          "mobile/data-processing/setting-size-shape-of-input-data",                                               "browser/data-processing/setting-size-shape-of-input-data"     },
    [KIND_DTYPE] = {"server/data-processing/setting-format-datatype-of-input-data",
                          "mobile/data-processing/setting-format-datatype-of-input-data",                                          "browser/data-processing/setting-format-datatype-of-input-data"},
    [KIND_INFORMATION] = {"server/model-export/specification-of-model-information",
                          "mobile/model-conversion/specification-of-model-information",                                            "browser/model-conversion/specification-of-model-information"  },
    [KIND_LOADING] = {"server/serving/model-loading",
                          "mobile/dl-integration-into-projects/importing-loading-models",                                          "browser/model-loading/procedure"                              },
    [KIND_SHARDS] = {"server/serving/model-loading",
                          "mobile/dl-integration-into-projects/importing-loading-models",                                          "browser/model-loading/loading-from-a-http-endpoint"           },
    [KIND_QUANTIZATION] = {"server/model-export/model-quantization",
                          "mobile/model-conversion/model-quantization",                                                            "browser/model-conversion/procedure"                           },
    [KIND_PREPROCESSING] = {"server/data-processing/migrating-pre-processing",
                          "mobile/data-processing/migrating-pre-processing",                                                       "browser/data-processing/migrating-pre-processing"             },
    [KIND_LIMITS] = {"server/general-questions/limitations-of-platforms-frameworks",
                          "mobile/general-questions/limitations-of-frameworks",                                                    "browser/general-questions/limitations-of-frameworks"          },
    [KIND_SAVING] = {"server/model-export/procedure",                                "mobile/model-conversion/saving-models",
                          "browser/model-conversion/saving-models"                                                                                                                                },
    [KIND_SECURITY] = {"server/model-export/procedure",                                "mobile/model-security",                 "browser/model-security"                                       },
    [KIND_PROCEDURE] = {"server/model-export/procedure",                                "mobile/model-conversion/procedure",
                          "browser/model-conversion/procedure"                                                                                                                                    },
    [KIND_SPEED] = {"server/general-questions/limitations-of-platforms-frameworks", "mobile/inference-speed",
                          "browser/model-loading/improving-loading-speed"                                                                                                                         },
};

const char *challenge_of(enum kind kind, enum platform on)
{
    return challenges[kind][on];
}

/* base_mib: see ptl_preflight_memory(). */
static const struct trait traits[] = {
    {"keras/saved-model",   "tensorflow",        "tensorflow",      "keras hdf5 saved-model", ON_SERVER,  0,   0},
    {"pytorch/onnx",        "pytorch",           "torch",           "torch torchscript",      ON_SERVER,  0,   0},
    {"tensorflow/tflite",   "tensorflow",        "tensorflow",      "saved-model",            ON_SERVER,  0,   0},
    {"tensorflow/tfjs",     "tensorflow",        "tensorflowjs",    "saved-model",            ON_SERVER,  0,   0},
    {"onnx/quantize",       "onnxruntime",       "onnxruntime",     "onnx",                   ON_SERVER,  0,   0},
    {"onnx/ort",            "onnxruntime",       "onnxruntime",     "onnx",                   ON_SERVER,  0,   0},
    {"http/tf-serving",     "tensorflow",        "tensorflow",      "saved-model",            ON_SERVER,  200, 2},
    {"http/oip-v2",         "mlserver",          "onnxruntime",     "onnx",                   ON_SERVER,  290, 2},
    {"litert/run",          "litert-arm64",      "litert",          "tflite",                 ON_MOBILE,  100, 1},
    {"onnxruntime/run",     "onnxruntime-arm64", "onnxruntime",     "onnx ort",               ON_MOBILE,  155, 2},
    {"tfjs/run",            "web",               "tfjs",            "tfjs-graph tfjs-layers", ON_BROWSER, 240, 3},
    {"onnxruntime-web/run", "web",               "onnxruntime-web", "onnx ort",               ON_BROWSER, 245, 3},
    {"litertjs/run",        "web",               "litertjs",        "tflite",                 ON_BROWSER, 245, 3},
};

const struct trait *trait_of(const char *uses)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(traits); i++)
        if (ptl_str_eq(traits[i].uses, uses))
            return &traits[i];
    return NULL;
}

const char *runtime_version(const struct check *c, const struct trait *t)
{
    return t && t->runtime ? ptl_json_str(json_object_get(c->in->toolchains, t->toolchain), t->runtime, NULL)
                           : NULL;
}

const json_t *with_of(const struct place *at, const char *key)
{
    return json_object_get(json_object_get(at->stage, "with"), key);
}

const char *with_text(const struct place *at, const char *key, const char *dflt)
{
    const char *s = json_string_value(with_of(at, key));
    return s ? s : dflt;
}

int version_compare(const char *a, const char *b)
{
    while (*a || *b) {
        char *ea, *eb;
        long x = isdigit((unsigned char)*a) ? strtol(a, &ea, 10) : (ea = (char *)a, 0),
             y = isdigit((unsigned char)*b) ? strtol(b, &eb, 10) : (eb = (char *)b, 0);
        if (x != y)
            return x < y ? -1 : 1;
        a = ea;
        b = eb;
        if (*a != '.' && *b != '.')
            return 0; /* "2.0rc1" is as 2.0 here */
        a += *a == '.';
        b += *b == '.';
    }
    return 0;
}

void emit(struct check *c, const char *rule, enum severity s, enum kind kind, const struct place *at,
          const char *remedy, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warning", "note"};
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (json_array_size(c->findings) >= PTL_PREFLIGHT_MAX) {
        if (json_array_size(c->cuts) == 0 ||
            !strstr(json_string_value(json_array_get(c->cuts, json_array_size(c->cuts) - 1)), "findings"))
            json_array_append_new(c->cuts,
                                  json_sprintf("only the first %d findings are listed", PTL_PREFLIGHT_MAX));
        return;
    }
    const char *stage = ptl_json_str(at->stage, "name", NULL),
               *target = ptl_json_str(at->stage, "target", NULL),
               *path = ptl_json_str(at->model, "path", NULL);
    PTL_FREE char *clean = ptl_json_text_utf8(text, strlen(text));
    for (char *p = clean; *p; p++)
        if ((unsigned char)*p < 32 || *p == 127)
            *p = '?';
    json_t *f = json_pack("{s:s,s:s,s:s,s:s?,s:s?,s:s?,s:s,s:s}", "rule", rule, "severity", names[s],
                          "challenge_id", challenges[kind][at->on], "target", target, "stage", stage, "path",
                          path, "message", clean, "remedy", remedy);
    size_t i;
    const json_t *v;
    json_array_foreach(c->findings, i, v) if (json_equal(v, f))
    {
        json_decref(f);
        return;
    }
    json_array_append_new(c->findings, f);
}

json_t *ptl_preflight_toolchains(const json_t *agents)
{
    json_t *all = json_object(), *a, *versions, *v;
    const char *toolchain, *package;
    size_t i;
    json_array_foreach((json_t *)agents, i, a)
        json_object_foreach(json_object_get(a, "toolchains"), toolchain, versions)
    {
        json_t *into = json_object_get(all, toolchain);
        if (!into)
            json_object_set_new(all, toolchain, into = json_object());
        json_object_foreach(versions, package, v)
        {
            const char *now = ptl_json_str(into, package, NULL);
            if (json_is_string(v) && (!now || version_compare(json_string_value(v), now) < 0))
                json_object_set(into, package, v);
        }
    }
    return all;
}

bool ptl_preflight_memory(const char *recipe, const json_t *model, int64_t batch, int64_t *ret_bytes,
                          json_t **ret_terms)
{
    const struct trait *t = trait_of(recipe);
    if (!t || !t->base_mib)
        return false;
    int64_t weights = ptl_json_i64(model, "weights_bytes", ptl_json_i64(model, "size_bytes", 0)),
            flow = ptl_json_i64(model, "activations_bytes", 0), bytes, all;
    if (weights < 0 || flow < 0 || batch < 1 || __builtin_mul_overflow(weights, (int64_t)t->copies, &bytes) ||
        __builtin_mul_overflow(flow, batch, &flow) || __builtin_add_overflow(bytes, flow, &all) ||
        __builtin_add_overflow(all, (int64_t)t->base_mib << 20, &all))
        return false;
    *ret_bytes = all;
    if (ret_terms) {
        json_t *terms = json_array();
        json_array_append_new(terms, json_pack("{s:s,s:I,s:s}", "name", "runtime", "bytes",
                                               (json_int_t)t->base_mib << 20, "why",
                                               "measured of this recipe with a small model"));
        json_array_append_new(
            terms, json_pack("{s:s,s:I,s:o}", "name", "weights", "bytes", (json_int_t)bytes, "why",
                             json_sprintf("%d %s of %lld bytes", t->copies,
                                          t->copies == 1 ? "copy" : "copies", (long long)weights)));
        json_array_append_new(
            terms, json_pack("{s:s,s:I,s:o}", "name", "activations", "bytes", (json_int_t)flow, "why",
                             json_object_get(model, "activations_bytes")
                                 ? json_sprintf("tensors of known shape, batch %lld", (long long)batch)
                                 : json_string("unknown: the file does not tell the shapes")));
        *ret_terms = terms;
    }
    return true;
}

/* Phones by the classes that the mobile recipes know (their `device` parameter), in MiB of memory. */
static int64_t limit_of(const struct check *c, const struct place *at)
{
    static const struct {
        const char *name;
        int64_t mib;
    } devices[] = {
        {"wear-a53-512m",    512 },
        {"entry-a53-2g",     2048},
        {"mid-a55-3g",       3072},
        {"high-a76-4g",      4096},
        {"flagship-a710-8g", 8192}
    };
    if (at->on == ON_MOBILE) {
        const char *d = with_text(at, "device", "high-a76-4g");
        for (size_t i = 0; i < PTL_ARRAY_LEN(devices); i++)
            if (ptl_str_eq(devices[i].name, d))
                return devices[i].mib << 20;
        return 0;
    }
    if (at->on == ON_BROWSER)
        return (int64_t)2500
               << 20; /* the recipes' own ceiling; a page's 32-bit memory ends at 4 GiB in any case */
    int64_t most = 0;
    size_t i, k;
    const json_t *a, *h;
    json_array_foreach(c->in->agents, i, a)
        json_array_foreach(json_object_get(a, "hosts"), k, h) if (ptl_str_eq(json_string_value(h), "server"))
    {
        int64_t n = ptl_json_i64(a, "memory_bytes", 0);
        most = n > most ? n : most;
    }
    return most;
}

static void memory_of(struct check *c, const struct place *at)
{
    int64_t bytes, limit = limit_of(c, at);
    json_t *terms = NULL;
    if (!at->trait || !ptl_preflight_memory(at->trait->uses, at->model, 1, &bytes, &terms))
        return;
    json_array_append_new(c->memory, json_pack("{s:s?,s:s?,s:s?,s:I,s:o,s:o}", "target",
                                               ptl_json_str(at->stage, "target", NULL), "stage",
                                               ptl_json_str(at->stage, "name", NULL), "path",
                                               ptl_json_str(at->model, "path", NULL), "estimate_bytes",
                                               (json_int_t)bytes, "limit_bytes",
                                               limit ? json_integer(limit) : json_null(), "terms", terms));
    if (limit && bytes > limit)
        emit(c, "memory", bytes > limit + limit / 4 ? SEV_ERROR : SEV_WARNING, KIND_LIMITS, at,
             "use a smaller or quantized model, or a target with more memory",
             "running it takes about %lld MiB and the target has %lld MiB", (long long)(bytes >> 20),
             (long long)(limit >> 20));
}

static enum platform platform_of(const struct check *c, const json_t *stage)
{
    const char *host = ptl_json_str(stage, "host", "server"), *target = ptl_json_str(stage, "target", NULL);
    size_t i;
    const json_t *s;
    if (target && !ptl_str_eq(ptl_json_str(stage, "kind", ""),
                              "verify")) /* a convert runs on a server for its target */
        json_array_foreach(json_object_get(c->in->plan, "stages"), i,
                           s) if (ptl_str_eq(ptl_json_str(s, "target", NULL), target) &&
                                  ptl_str_eq(ptl_json_str(s, "kind", ""), "verify")) host =
            ptl_json_str(s, "host", host);
    return ptl_str_eq(host, "mobile") ? ON_MOBILE : ptl_str_eq(host, "browser") ? ON_BROWSER : ON_SERVER;
}

static struct place place_of(const struct check *c, const json_t *stage, const json_t *model)
{
    return (struct place){stage, model, platform_of(c, stage), trait_of(ptl_json_str(stage, "uses", NULL))};
}

/* Of several models in one folder, the one that this stage would take: the path it names, else one of a
 * format it reads. */
static bool takes(const struct place *at)
{
    const char *named = with_text(at, "model", ""), *path = ptl_json_str(at->model, "path", ""),
               *format = ptl_json_str(at->model, "format", "");
    if (*named && ptl_str_eq(ptl_json_str(at->stage, "kind", ""), "export"))
        return ptl_str_eq(named, path);
    if (ptl_str_eq(ptl_json_str(at->stage, "kind", ""), "export"))
        return false; /* it makes its model from a script: which file that loads, it does not say */
    if (*named && !ptl_str_eq(named, path) && !ptl_str_ends(path, named))
        return false;
    (void)format;
    return true;
}

/* Whose operators meet whom: what risk compares with what ran here before. */
static void takes_of(struct check *c, const struct place *at, const json_t *unsupported)
{
    json_t *names = json_array(), *v;
    const char *op;
    if (json_array_size(c->takes) >= PTL_PREFLIGHT_MAX) {
        json_decref(names);
        return;
    }
    json_object_foreach(json_object_get(at->model, "ops"), op,
                        v) if (json_array_size(names) < PTL_PREFLIGHT_OPERATORS_MAX)
        json_array_append_new(names, json_string(op));
    json_array_append_new(
        c->takes, json_pack("{s:s?,s:s?,s:s?,s:o,s:O}", "stage", ptl_json_str(at->stage, "name", NULL),
                            "target", ptl_json_str(at->stage, "target", NULL), "path",
                            ptl_json_str(at->model, "path", NULL), "ops", names, "unsupported", unsupported));
}

static void check_models(struct check *c)
{
    size_t i, k;
    const json_t *stage, *model;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i, stage)
    {
        const char *from = ptl_json_str(stage, "model_from", NULL);
        bool export = ptl_str_eq(ptl_json_str(stage, "kind", ""), "export");
        if (c->in->stage ? !ptl_str_eq(from, c->in->stage) : !export)
            continue;
        json_array_foreach(c->in->models, k, model)
        {
            struct place at = place_of(c, stage, model);
            if (!takes(&at))
                continue;
            PTL_JSON *unsupported = json_array();
            c->unsupported = unsupported;
            check_consumer(c, &at);
            c->unsupported = NULL;
            takes_of(c, &at, unsupported);
            if (ptl_str_eq(ptl_json_str(stage, "kind", ""), "verify"))
                memory_of(c, &at);
        }
    }
}

static int rank(const json_t *f)
{
    const char *s = ptl_json_str(f, "severity", "");
    return ptl_str_eq(s, "error") ? 0 : ptl_str_eq(s, "warning") ? 1 : 2;
}

/* Errors first; the order of the walk otherwise, which is that of the plan and of paths. */
static json_t *sorted(const json_t *findings)
{
    json_t *a = json_array(), *v;
    size_t i;
    for (int r = 0; r < 3; r++)
        json_array_foreach((json_t *)findings, i, v) if (rank(v) == r) json_array_append(a, v);
    return a;
}

static json_t *shortened(const json_t *models)
{
    static const char *const keys[] = {"path",    "format",        "size_bytes", "weights_bytes", "ops_total",
                                       "version", "keras_version", "ir_version", "quantized",     "inputs",
                                       "outputs", "custom_ops",    "problems",   "cuts"};
    json_t *a = json_array();
    size_t i;
    const json_t *m;
    json_array_foreach(models, i, m)
    {
        json_t *o = json_object();
        for (size_t k = 0; k < PTL_ARRAY_LEN(keys); k++)
            if (json_object_get(m, keys[k]))
                json_object_set(o, keys[k], json_object_get(m, keys[k]));
        json_array_append_new(a, o);
    }
    return a;
}

int ptl_preflight(const struct ptl_preflight_input *in, json_t **ret, struct ptl_error *err)
{
    PTL_JSON *findings = json_array(), *memory = json_array(), *cuts = json_array(), *takes = json_array();
    struct check c = {in, findings, memory, cuts, takes, 0, NULL};
    check_files(&c);
    check_models(&c);
    if (!in->stage)
        check_plan(&c);
    *ret = json_pack("{s:o,s:O,s:o,s:O,s:O}", "findings", sorted(findings), "memory", memory, "models",
                     shortened(in->models), "cuts", cuts, "takes", takes);
    return *ret ? 0 : ptl_error_set(err, -ENOMEM, "pre-flight: out of memory");
}
