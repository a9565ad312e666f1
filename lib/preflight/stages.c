/* stages.c - a model into a stage that will take it, and what the plan alone says. Every rule speaks only of
 * recipes that ship: what a repository's own commands do with a model is theirs to know. */
#include "preflight-private.h"
#include <stdio.h>

#define FORMAT(at) ptl_json_str((at)->model, "format", "")
static const int64_t TWO_GIB = (int64_t)1 << 31;

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; (p = strstr(p, word)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
            return true;
    return false;
}

static bool uses(const struct place *at, const char *recipe)
{
    return at->trait && ptl_str_eq(at->trait->uses, recipe);
}

/* Up to a few names of a JSON object's keys that `wrong` says yes to, as "A, B and 3 more"; 0: none. All of
 * them go into `all`, when there is one. */
static size_t list_names(const json_t *ops, bool (*wrong)(const char *op, const void *ctx), const void *ctx,
                         char *text, size_t size, json_t *all)
{
    const char *op;
    json_t *v;
    size_t n = 0, at = 0;
    json_object_foreach((json_t *)ops, op, v)
    {
        (void)v;
        if (!wrong(op, ctx))
            continue;
        if (n < 6)
            at += (size_t)snprintf(text + at, at < size ? size - at : 0, "%s%.60s", n ? ", " : "", op);
        if (all)
            json_array_append_new(all, json_string(op));
        n++;
    }
    if (n > 6)
        snprintf(text + at, at < size ? size - at : 0, " and %zu more", n - 6);
    return n;
}

/* ---- operators */
static bool not_tfjs(const char *op, const void *ctx)
{
    (void)ctx;
    return !ops_tfjs_knows(op);
}

static bool not_tflite(const char *op, const void *ctx)
{
    char has = ops_tflite_has(op);
    return has == 'c' || (has == 'f' && !*(const bool *)ctx);
}

static bool is_flex(const char *op, const void *ctx)
{
    (void)ctx;
    return ptl_str_starts(op, "Flex");
}

static bool is_custom_tflite(const char *op, const void *ctx)
{
    return !is_flex(op, ctx) && !ptl_str_eq(op, "TFLite_Detection_PostProcess");
}

static json_t *as_object(const json_t *list)
{
    json_t *o = json_object();
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) json_object_set_new(o, json_string_value(v), json_true());
    return o;
}

static void operators(struct check *c, const struct place *at)
{
    char names[500];
    const json_t *ops = json_object_get(at->model, "ops");
    PTL_JSON *custom = as_object(json_object_get(at->model, "custom_ops"));
    size_t n;
    if (uses(at, "tensorflow/tfjs") || (uses(at, "tfjs/run") && ptl_str_eq(FORMAT(at), "tfjs-graph"))) {
        if ((n = list_names(ops, not_tfjs, NULL, names, sizeof(names), c->unsupported)))
            emit(
                c, "op-unsupported", SEV_ERROR, KIND_UNSUPPORTED, at,
                "express it with operators that TensorFlow.js has, or run the model by ONNX Runtime Web or on a server",
                "TensorFlow.js has no %s", names);
    } else if (uses(at, "tensorflow/tflite")) {
        bool select = json_is_true(with_of(at, "allow_select_ops"));
        if ((n = list_names(ops, not_tflite, &select, names, sizeof(names), c->unsupported)))
            emit(
                c, "op-unsupported", SEV_ERROR, KIND_UNSUPPORTED, at,
                select
                    ? "express it with other operators, or register a custom one"
                    : "express it with other operators; allow_select_ops: true helps only where the runtime carries the Flex delegate",
                "TFLite has no builtin operator for %s", names);
    } else if (uses(at, "litert/run") || uses(at, "litertjs/run")) {
        if ((n = list_names(custom, is_flex, NULL, names, sizeof(names), c->unsupported)))
            emit(c, "op-not-registered", SEV_ERROR, KIND_REGISTER, at,
                 "convert without Select TF ops, or run it by a runtime that carries the Flex delegate",
                 "it needs the Flex delegate for %s, and this runtime has none", names);
        if ((n = list_names(custom, is_custom_tflite, NULL, names, sizeof(names), c->unsupported)))
            emit(c, "op-not-registered", SEV_ERROR, KIND_REGISTER, at,
                 "register the operator with the runtime, or express it with builtin ones",
                 "it needs the custom operator %s, which no shipped runtime registers", names);
    } else if (at->trait && has_word(at->trait->formats, "onnx")) {
        if (json_object_size(custom)) {
            (void)list_names(custom, is_custom_tflite, NULL, names, sizeof(names), c->unsupported);
            emit(
                c, "op-not-registered", SEV_ERROR, KIND_REGISTER, at,
                "export the operator as a function of standard ones, or give the runtime a library that implements it",
                "ONNX Runtime knows no operator %s", names);
        }
    }
}

/* ---- versions */
static void onnx_version(struct check *c, const struct place *at)
{
    const char *version = runtime_version(c, at->trait);
    struct onnx_limits l;
    if (!version || !at->trait || !has_word(at->trait->formats, "onnx") || !ptl_str_eq(FORMAT(at), "onnx") ||
        !ops_onnx_limits(version, &l))
        return;
    int64_t opset = ptl_json_i64(json_object_get(at->model, "opsets"), "ai.onnx", 0),
            ir = ptl_json_i64(at->model, "ir_version", 0);
    if (opset > l.opset_sure)
        emit(c, "onnx-too-new", opset > l.opset_most ? SEV_ERROR : SEV_WARNING, KIND_VERSION, at,
             "export with a lower opset, or use a newer runtime",
             "it is written for operator set %lld and %s %s reads up to %d", (long long)opset,
             at->trait->runtime, version, l.opset_sure);
    if (ir > l.ir_sure)
        emit(c, "onnx-too-new", ir > l.ir_most ? SEV_ERROR : SEV_WARNING, KIND_VERSION, at,
             "save it with an older onnx package, or set ir_version before saving",
             "its format is IR version %lld and %s %s reads up to %d", (long long)ir, at->trait->runtime,
             version, l.ir_sure);
}

static void keras3(struct check *c, const struct place *at)
{
    const char *v = ptl_json_str(at->model, "keras_version", NULL);
    bool new_topology =
        json_is_true(json_object_get(at->model, "batch_shape")) || (v && version_compare(v, "3") >= 0);
    if (new_topology &&
        ((uses(at, "tfjs/run") && ptl_str_eq(FORMAT(at), "tfjs-layers")) ||
         (uses(at, "tensorflow/tfjs") && ptl_str_eq(with_text(at, "format", "graph"), "layers"))))
        emit(c, "keras3-layers", SEV_ERROR, KIND_VERSION, at,
             "convert to a graph model (format: graph), or export from tf-keras (Keras 2)",
             "its topology is of Keras %s, and TensorFlow.js's layers loader reads that of Keras 2",
             v ? v : "3");
}

/* ---- inputs */
static bool is_dynamic(const json_t *tensor)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(tensor, "shape"), i, v) if (i > 0 && json_is_null(v)) return true;
    return false;
}

static void inputs(struct check *c, const struct place *at)
{
    size_t i;
    const json_t *t;
    if (!at->trait || !at->trait->base_mib)
        return; /* converts take what the framework gives */
    json_array_foreach(json_object_get(at->model, "inputs"), i, t)
    {
        const char *dtype = ptl_json_str(t, "dtype", ""), *name = ptl_json_str(t, "name", "");
        if (i >= 20)
            break;
        if (at->on == ON_BROWSER && ptl_str_eq(dtype, "string"))
            emit(c, "input-type", SEV_ERROR, KIND_DTYPE, at,
                 "turn text into numbers before the model, or leave that step out of the exported graph",
                 "input '%.80s' is text, and no browser runtime takes that", name);
        else if (at->on == ON_MOBILE && ptl_str_eq(dtype, "string"))
            emit(c, "input-type", SEV_WARNING, KIND_DTYPE, at, "turn text into numbers before the model",
                 "input '%.80s' is text; phones' runtimes need extra operators for it", name);
        else if (at->on != ON_SERVER && (ptl_str_eq(dtype, "int64") || ptl_str_eq(dtype, "uint64")))
            emit(c, "input-type", SEV_WARNING, KIND_DTYPE, at,
                 at->on == ON_BROWSER ? "give it a BigInt64Array, or cast inside of the model from int32"
                                      : "give it 64-bit numbers, or cast inside of the model from int32",
                 "input '%.80s' is %s; arrays of %s are 32 bits wide unless the app takes care", name, dtype,
                 at->on == ON_BROWSER ? "JavaScript" : "phones");
        else if (at->on != ON_SERVER && ptl_str_eq(dtype, "float64"))
            emit(c, "input-type", uses(at, "tfjs/run") ? SEV_ERROR : SEV_WARNING, KIND_DTYPE, at,
                 "export with float32 inputs", "input '%.80s' is float64, which %s", name,
                 at->on == ON_BROWSER ? "browser runtimes do not compute with"
                                      : "few operators of phones' runtimes have kernels for");
        if (is_dynamic(t)) {
            const char *backend = with_text(at, "delegate", with_text(at, "backend", ""));
            bool fixed = ptl_str_eq(backend, "nnapi") || ptl_str_eq(backend, "coreml") ||
                         ptl_str_eq(backend, "gpu") || ptl_str_eq(backend, "webnn") ||
                         ptl_str_eq(backend, "webgpu");
            if (fixed)
                emit(c, "dynamic-shape", SEV_WARNING, KIND_SHAPE, at,
                     "export with fixed dimensions for this target",
                     "input '%.80s' has a free dimension besides the batch, and %s wants fixed ones", name,
                     backend);
            else if (at->on == ON_MOBILE && ptl_str_eq(FORMAT(at), "tflite"))
                emit(c, "dynamic-shape", SEV_NOTE, KIND_SHAPE, at,
                     "resize the input before allocating tensors, or export with fixed dimensions",
                     "input '%.80s' has a free dimension besides the batch: the app must resize it first",
                     name);
        }
    }
}

/* ---- information the stage asks for */
/* What a reader that gave up half way did not see is not missing. */
static bool was_read_whole(const json_t *model)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(model, "problems"), i,
                       v) if (strstr(json_string_value(v), "cut off or damaged")) return false;
    return true;
}

static void signature(struct check *c, const struct place *at)
{
    const json_t *signatures = json_object_get(at->model, "signatures");
    const char *want = with_text(at, "signature", "serving_default"), *name;
    json_t *v;
    if (!ptl_str_eq(FORMAT(at), "saved-model") || !was_read_whole(at->model) ||
        !(uses(at, "http/tf-serving") || uses(at, "tensorflow/tflite") || uses(at, "tensorflow/tfjs")))
        return;
    size_t i;
    const json_t *tags;
    bool serve = false;
    json_array_foreach(json_object_get(at->model, "tags"), i, tags)
    {
        size_t k;
        const json_t *t;
        json_array_foreach(tags, k, t) serve = serve || ptl_str_eq(json_string_value(t), "serve");
    }
    if (!serve && json_array_size(json_object_get(at->model, "tags")))
        emit(c, "signature-missing", SEV_ERROR, KIND_INFORMATION, at, "export with the tag 'serve'",
             "no graph of it carries the tag 'serve'");
    if (json_object_get(signatures, want))
        return;
    char names[300] = "none";
    size_t used = 0;
    json_object_foreach((json_t *)signatures, name, v) if (used < sizeof(names) - 70) used +=
        (size_t)snprintf(names + used, sizeof(names) - used, "%s%.60s", used ? ", " : "", name);
    emit(c, "signature-missing", SEV_ERROR, KIND_INFORMATION, at,
         "name one that is there (with: signature: …), or export with this one",
         "it has no signature '%.60s'; it has %s", want, names);
}

static void formats(struct check *c, const struct place *at)
{
    const char *f = FORMAT(at);
    if (!at->trait || has_word(at->trait->formats, f) || ptl_str_eq(f, "unknown") ||
        ptl_str_eq(f, "lfs-pointer") || ptl_str_eq(f, "html"))
        return;
    /* A folder may hold more than what this stage takes: only when nothing there suits is it wrong. */
    size_t i;
    const json_t *m;
    json_array_foreach(c->in->models, i,
                       m) if (has_word(at->trait->formats, ptl_json_str(m, "format", ""))) return;
    emit(c, "format", SEV_ERROR, KIND_LOADING, at,
         "put the convert between that writes what this stage reads", "it is %s and %s reads %s", f,
         at->trait->uses, at->trait->formats);
}

/* What the plan says by itself; said once, of the source. */
static void options(struct check *c, const struct place *at)
{
    bool integers = ptl_str_eq(with_text(at, "quantize", "none"), "int8");
    if (!uses(at, "tensorflow/tflite"))
        return;
    if (integers && !*with_text(at, "representative", ""))
        emit(c, "representative-data", SEV_ERROR, KIND_QUANTIZATION, at,
             "with: {representative: golden}, or an .npz of real inputs",
             "quantize: int8 finds the ranges of activations from data, and none is named");
    if (!integers && !ptl_str_eq(with_text(at, "io_type", "float32"), "float32"))
        emit(c, "options", SEV_ERROR, KIND_QUANTIZATION, at, "quantize: int8, or io_type: float32",
             "io_type: %s needs quantize: int8", with_text(at, "io_type", ""));
}

static void quantized_twice(struct check *c, const struct place *at)
{
    if (uses(at, "onnx/quantize") && json_is_true(json_object_get(at->model, "quantized")))
        emit(c, "options", SEV_WARNING, KIND_QUANTIZATION, at, "quantize the float model",
             "the model is quantized already; quantizing it once more changes little but its error");
}

static void custom_objects(struct check *c, const struct place *at)
{
    const json_t *own = json_object_get(at->model, "custom_objects");
    bool loads =
        uses(at, "keras/saved-model") || (uses(at, "tfjs/run") && ptl_str_eq(FORMAT(at), "tfjs-layers"));
    if (!loads)
        return;
    if (json_array_size(own)) {
        char names[300];
        PTL_JSON *o = as_object(own);
        (void)list_names(o, is_custom_tflite, NULL, names, sizeof(names), NULL);
        emit(
            c, "custom-objects", at->on == ON_BROWSER ? SEV_ERROR : SEV_WARNING, KIND_UNSUPPORTED, at,
            at->on == ON_BROWSER
                ? "convert to a graph model, which needs no classes"
                : "give a script that defines and registers the class before loading, instead of the file alone",
            "it holds %s, which only the code that made it defines", names);
    }
    if (ptl_json_i64(at->model, "lambdas", 0))
        emit(c, "custom-objects", at->on == ON_BROWSER ? SEV_ERROR : SEV_WARNING, KIND_UNSUPPORTED, at,
             "write the function as a layer of Keras, or export from the script",
             "it holds %lld Lambda %s: Python byte code that no other runtime can read",
             (long long)ptl_json_i64(at->model, "lambdas", 0),
             ptl_json_i64(at->model, "lambdas", 0) == 1 ? "layer" : "layers");
}

static void sizes(struct check *c, const struct place *at)
{
    int64_t size = ptl_json_i64(at->model, "size_bytes", 0);
    bool outside = json_array_size(json_object_get(at->model, "external")) > 0;
    if (size >= TWO_GIB && !outside && (ptl_str_eq(FORMAT(at), "onnx") || ptl_str_eq(FORMAT(at), "graphdef")))
        emit(c, "too-large", SEV_ERROR, KIND_LOADING, at,
             "keep the weights in a file beside it (external data)",
             "a protobuf message ends at 2 GiB and it has %lld MiB", (long long)(size >> 20));
    if (size >= TWO_GIB && (ptl_str_eq(FORMAT(at), "tflite") || ptl_str_eq(FORMAT(at), "ort")))
        emit(c, "too-large", SEV_ERROR, KIND_LOADING, at, "quantize it, or split it",
             "a flatbuffer ends at 2 GiB and it has %lld MiB", (long long)(size >> 20));
    if (at->on == ON_BROWSER && at->trait && at->trait->base_mib) {
        if (size >= TWO_GIB)
            emit(c, "too-large", SEV_ERROR, KIND_LIMITS, at, "quantize it, or keep it on a server",
                 "browsers hold no array of %lld MiB", (long long)(size >> 20));
        else if (size >= (int64_t)100 << 20)
            emit(c, "too-large", SEV_WARNING, KIND_SPEED, at,
                 "quantize the weights (quantize: uint8 or float16), or serve it",
                 "every visitor downloads %lld MiB", (long long)(size >> 20));
    }
}

void check_consumer(struct check *c, const struct place *at)
{
    formats(c, at);
    operators(c, at);
    onnx_version(c, at);
    keras3(c, at);
    inputs(c, at);
    signature(c, at);
    quantized_twice(c, at);
    custom_objects(c, at);
    sizes(c, at);
}

/* ---- the plan alone */
void check_plan(struct check *c)
{
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i, stage)
    {
        const char *host = ptl_json_str(stage, "host", "server"), *endpoint;
        struct place at = {stage, NULL,
                           ptl_str_eq(host, "mobile")    ? ON_MOBILE
                           : ptl_str_eq(host, "browser") ? ON_BROWSER
                                                         : ON_SERVER,
                           trait_of(ptl_json_str(stage, "uses", NULL))};
        if (uses(&at, "tensorflow/tflite") && at.on == ON_SERVER)
            at.on = ON_MOBILE;
        options(c, &at);
        endpoint = with_text(&at, "endpoint", with_text(&at, "webdriver", ""));
        if (ptl_str_starts(endpoint, "file:"))
            emit(c, "file-url", SEV_ERROR, at.on == ON_BROWSER ? KIND_SHARDS : KIND_LOADING, &at,
                 "serve it over http", "'%.100s' is a file: address, which engines and browsers do not fetch",
                 endpoint);
        /* an exporter's opset against the runtimes of its targets */
        json_int_t opset = json_integer_value(with_of(&at, "opset"));
        if (opset && uses(&at, "pytorch/onnx")) {
            size_t k;
            const json_t *v;
            json_array_foreach(json_object_get(c->in->plan, "stages"), k, v)
            {
                struct place to = {v, NULL,
                                   ptl_str_eq(ptl_json_str(v, "host", ""), "mobile")    ? ON_MOBILE
                                   : ptl_str_eq(ptl_json_str(v, "host", ""), "browser") ? ON_BROWSER
                                                                                        : ON_SERVER,
                                   trait_of(ptl_json_str(v, "uses", NULL))};
                const char *version = runtime_version(c, to.trait);
                struct onnx_limits l;
                if (to.trait && version && has_word(to.trait->formats, "onnx") &&
                    ops_onnx_limits(version, &l) && opset > l.opset_sure)
                    emit(c, "onnx-too-new", opset > l.opset_most ? SEV_ERROR : SEV_WARNING, KIND_VERSION, &to,
                         "export with a lower opset, or use a newer runtime",
                         "the export asks for operator set %lld and %s %s reads up to %d", (long long)opset,
                         to.trait->runtime, version, l.opset_sure);
            }
        }
    }
}
