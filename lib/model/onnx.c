/* onnx.c - ONNX by its published protobuf schema (onnx.proto3): opsets, operators of all graphs, inputs and
 * outputs, weights, external data. */
#include "model-private.h"
#include <portolan/fs.h>

static const char *dtype_of(uint64_t t)
{
    static const char *const names[] = {NULL,     "float32", "uint8",     "int8",       "uint16",   "int16",
                                        "int32",  "int64",   "string",    "bool",       "float16",  "float64",
                                        "uint32", "uint64",  "complex64", "complex128", "bfloat16", "float8",
                                        "float8", "float8",  "float8",    "int4",       "int4"};
    return t < PTL_ARRAY_LEN(names) ? names[t] : NULL;
}

static json_t *name_of(struct bytes b)
{
    return text_of(b.p, b.n);
}

/* ValueInfoProto -> {"name","dtype","shape"} */
static json_t *value_info(struct bytes b)
{
    struct bytes tensor = pb_bytes(pb_bytes(b, 2), 1);
    uint64_t type = 0;
    (void)pb_varint(tensor, 1, &type);
    json_t *o = json_object(), *shape = NULL;
    json_object_set_new(o, "name", name_of(pb_bytes(b, 1)));
    json_object_set_new(o, "dtype", dtype_of(type) ? json_string(dtype_of(type)) : json_null());
    struct pb pb = pb_of(tensor);
    struct pb_field f;
    while (pb_next(&pb, &f))
        if (f.number == 2 && f.wire == 2) {
            struct pb dims = pb_of(f.b);
            struct pb_field d;
            if (!shape)
                shape = json_array();
            while (pb_next(&dims, &d) && json_array_size(shape) < 64) {
                uint64_t value;
                if (d.number == 1 && d.wire == 2)
                    json_array_append_new(shape, pb_varint(d.b, 1, &value) && (int64_t)value > 0
                                                     ? json_integer((int64_t)value)
                                                     : json_null());
            }
        }
    json_object_set_new(o, "shape", shape ? shape : json_null());
    return o;
}

struct onnx {
    json_t *facts, *initializers; /* names of weights: an input of old models may be one */
    const char *dir, *path;
    int64_t nodes;
};

/* TensorProto: what it weighs, and where its bytes are when they are elsewhere. */
static void tensor(struct onnx *x, struct bytes b)
{
    struct pb pb = pb_of(b);
    struct pb_field f;
    uint64_t type = 0, external = 0;
    int64_t elements = 1;
    struct bytes location = {NULL, 0}, name = {NULL, 0};
    (void)pb_varint(b, 2, &type);
    (void)pb_varint(b, 14, &external);
    while (pb_next(&pb, &f)) {
        if (f.number == 1 && f.wire == 0) {
            if (__builtin_mul_overflow(elements, (int64_t)f.value, &elements))
                elements = 0;
        } else if (f.number == 1 && f.wire == 2) { /* packed */
            struct pb dims = pb_of(f.b);
            while (dims.p < dims.end && !dims.bad) {
                uint64_t v = 0;
                int shift = 0;
                while (dims.p < dims.end && shift < 64) {
                    v |= (uint64_t)(*dims.p & 0x7f) << shift;
                    shift += 7;
                    if (!(*dims.p++ & 0x80))
                        break;
                }
                if (__builtin_mul_overflow(elements, (int64_t)v, &elements))
                    elements = 0;
            }
        } else if (f.number == 8 && f.wire == 2) {
            name = f.b;
        } else if (f.number == 13 && f.wire == 2) {
            struct bytes key = pb_bytes(f.b, 1);
            if (key.n == 8 && memcmp(key.p, "location", 8) == 0)
                location = pb_bytes(f.b, 2);
        }
    }
    int64_t bytes;
    if (elements < 0 ||
        __builtin_mul_overflow(elements, (int64_t)ptl_model_dtype_bytes(dtype_of(type)), &bytes))
        bytes = 0;
    fact_plus(x->facts, "weights_bytes", bytes);
    if (name.n && name.n < 400 && json_object_size(x->initializers) < 100000) {
        PTL_JSON *key = name_of(name);
        json_object_set_new(x->initializers, json_string_value(key), json_true());
    }
    if (external == 1 || location.n) {
        json_t *list = json_object_get(x->facts, "external"), *o;
        size_t i;
        PTL_JSON *text = name_of(location);
        if (!list)
            json_object_set_new(x->facts, "external", list = json_array());
        json_array_foreach(list, i, o) if (json_equal(json_object_get(o, "location"), text)) return;
        if (json_array_size(list) >= 100) {
            fact_cut(x->facts, "external data: only the first 100 files are named");
            return;
        }
        PTL_FREE char *part = NULL;
        uint64_t size = 0;
        bool there = location.n && fact_part(x->dir, x->path, json_string_value(text), &part, &size);
        json_array_append_new(list, json_pack("{s:O,s:s?,s:o}", "location", text, "path", part, "bytes",
                                              there ? json_integer((json_int_t)size) : json_null()));
        if (there)
            fact_plus(x->facts, "size_bytes", (int64_t)size);
        else
            fact_problem(x->facts, "its weights are in a file beside it, '%s', which is not there",
                         json_string_value(text));
    }
}

static void graph(struct onnx *x, struct bytes b, int depth);

static void node(struct onnx *x, struct bytes b, int depth)
{
    struct bytes type = pb_bytes(b, 4), domain = pb_bytes(b, 7);
    struct pb pb = pb_of(b);
    struct pb_field f;
    bool own = domain.n && !(domain.n == 7 && memcmp(domain.p, "ai.onnx", 7) == 0);
    if (++x->nodes > PTL_MODEL_NODES_MAX) {
        fact_cut(x->facts, "operators: only the first %d are counted", PTL_MODEL_NODES_MAX);
        return;
    }
    if (type.n) {
        PTL_FREE char *full =
            own ? ptl_xasprintf("%.*s::%.*s", (int)(domain.n < 200 ? domain.n : 200), (const char *)domain.p,
                                (int)(type.n < 200 ? type.n : 200), (const char *)type.p)
                : NULL;
        fact_count(x->facts, "ops", full ? full : (const char *)type.p, full ? strlen(full) : type.n, 1);
        if (own && !(domain.n >= 10 && memcmp(domain.p, "ai.onnx.ml", 10) == 0) &&
            !(domain.n == 13 && memcmp(domain.p, "com.microsoft", 13) == 0))
            fact_add(x->facts, "custom_ops", full, strlen(full));
    }
    while (pb_next(&pb, &f))
        if (f.number == 5 && f.wire == 2) { /* attributes: graphs of If and Loop, constants */
            struct pb attr = pb_of(f.b);
            struct pb_field g;
            while (pb_next(&attr, &g)) {
                if ((g.number == 6 || g.number == 11) && g.wire == 2)
                    graph(x, g.b, depth + 1);
                else if (g.number == 5 && g.wire == 2)
                    tensor(x, g.b);
            }
        }
}

static void graph(struct onnx *x, struct bytes b, int depth)
{
    struct pb pb = pb_of(b);
    struct pb_field f;
    if (depth > PTL_MODEL_DEPTH_MAX) {
        fact_cut(x->facts, "graphs nested deeper than %d are not read", PTL_MODEL_DEPTH_MAX);
        return;
    }
    while (pb_next(&pb, &f)) {
        if (f.wire != 2)
            continue;
        if (f.number == 1)
            node(x, f.b, depth);
        else if (f.number == 5)
            tensor(x, f.b);
        else if (f.number == 13 && depth == 0) {
            PTL_JSON *v = value_info(f.b);
            int64_t bytes = tensor_bytes(v);
            fact_plus(x->facts, "activations_bytes", bytes);
            if (bytes > ptl_json_i64(x->facts, "largest_tensor_bytes", 0))
                json_object_set_new(x->facts, "largest_tensor_bytes", json_integer(bytes));
        }
    }
    if (pb.bad)
        fact_problem(x->facts, "is cut off or damaged inside of its graph");
}

static void ends(struct onnx *x, struct bytes b)
{
    struct pb pb = pb_of(b);
    struct pb_field f;
    json_t *in = json_array(), *out = json_array();
    json_object_set_new(x->facts, "inputs", in);
    json_object_set_new(x->facts, "outputs", out);
    while (pb_next(&pb, &f)) {
        if (f.wire != 2 || (f.number != 11 && f.number != 12) ||
            json_array_size(in) + json_array_size(out) > PTL_MODEL_NAMES_MAX)
            continue;
        json_t *v = value_info(f.b);
        if (f.number == 11 && json_object_get(x->initializers, ptl_json_str(v, "name", "")))
            json_decref(v);
        else
            json_array_append_new(f.number == 11 ? in : out, v);
    }
}

int read_onnx(const char *dir, const char *path, struct bytes b, json_t *facts,
              struct ptl_error *err PTL_UNUSED)
{
    PTL_JSON *initializers = json_object();
    struct onnx x = {.facts = facts, .initializers = initializers, .dir = dir, .path = path};
    struct pb pb = pb_of(b);
    struct pb_field f;
    uint64_t ir = 0;
    struct bytes g = {NULL, 0};
    json_t *opsets = json_object();
    json_object_set_new(facts, "opsets", opsets);
    json_object_set_new(facts, "weights_bytes", json_integer(0));
    while (pb_next(&pb, &f)) {
        if (f.number == 1 && f.wire == 0)
            ir = f.value;
        else if (f.number == 7 && f.wire == 2)
            g = f.b;
        else if (f.number == 2 && f.wire == 2)
            json_object_set_new(facts, "producer", name_of(f.b));
        else if (f.number == 3 && f.wire == 2)
            json_object_set_new(facts, "version", name_of(f.b));
        else if (f.number == 8 && f.wire == 2) {
            struct bytes domain = pb_bytes(f.b, 1);
            uint64_t v = 0;
            PTL_JSON *name = domain.n ? name_of(domain) : json_string("ai.onnx");
            (void)pb_varint(f.b, 2, &v);
            if (json_object_size(opsets) < 100)
                json_object_set_new(opsets, json_string_value(name), json_integer((json_int_t)v));
        } else if (f.number == 25 && f.wire == 2) { /* FunctionProto: its nodes are field 7 */
            struct pb fn = pb_of(f.b);
            struct pb_field n;
            while (pb_next(&fn, &n))
                if (n.number == 7 && n.wire == 2)
                    node(&x, n.b, 1);
        }
    }
    if (pb.bad)
        fact_problem(facts, "is cut off or damaged: its fields do not add up to %zu bytes", b.n);
    json_object_set_new(facts, "ir_version", json_integer((json_int_t)ir));
    if (g.p) {
        graph(&x, g, 0);
        ends(&x, g);
    } else {
        fact_problem(facts, "has no graph");
    }
    json_object_set_new(facts, "ops_total", json_integer(x.nodes));
    const json_t *ops = json_object_get(facts, "ops");
    json_object_set_new(
        facts, "quantized",
        json_boolean(json_object_get(ops, "QuantizeLinear") || json_object_get(ops, "DequantizeLinear") ||
                     json_object_get(ops, "DynamicQuantizeLinear") || json_object_get(ops, "QLinearConv") ||
                     json_object_get(ops, "MatMulInteger")));
    return 0;
}
