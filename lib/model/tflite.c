/* tflite.c - TFLite (LiteRT) and ORT format by their published flatbuffer schemas. */
#include "flat.h"

static const char *const builtin_names[] = {
#include "tflite_ops.inc"
};

static const char *dtype_of(int64_t t)
{
    static const char *const names[] = {"float32", "float16",    "int32",  "uint8",     "int64",
                                        "string",  "bool",       "int16",  "complex64", "int8",
                                        "float64", "complex128", "uint64", "resource",  "variant",
                                        "uint32",  "uint16",     "int4",   "bfloat16"};
    return t >= 0 && (size_t)t < PTL_ARRAY_LEN(names) ? names[t] : NULL;
}

static json_t *shape_of(struct flat_table tensor)
{
    struct flat_vector shape = flat_vector(tensor, 0, 4), sig = flat_vector(tensor, 7, 4);
    json_t *a = json_array();
    for (uint32_t i = 0; i < shape.n && i < 64; i++) {
        int64_t d = sig.n == shape.n ? flat_at_int(sig, i, 4, true) : flat_at_int(shape, i, 4, true);
        json_array_append_new(a, d < 0 ? json_null() : json_integer(d));
    }
    return a;
}

static json_t *tensor_of(struct flat_table tensor)
{
    struct bytes name = flat_string(tensor, 3);
    const char *dtype = dtype_of(flat_int(tensor, 1, 1, true, 0));
    json_t *o = json_object();
    json_object_set_new(o, "name", text_of(name.p ? name.p : (const uint8_t *)"", name.n));
    json_object_set_new(o, "dtype", dtype ? json_string(dtype) : json_null());
    json_object_set_new(o, "shape", shape_of(tensor));
    return o;
}

static json_t *ends(struct flat_table graph, int field)
{
    struct flat_vector index = flat_vector(graph, field, 4), tensors = flat_vector(graph, 0, 4);
    json_t *a = json_array();
    for (uint32_t i = 0; i < index.n && i < PTL_MODEL_NAMES_MAX; i++)
        json_array_append_new(a, tensor_of(flat_at_table(tensors, (uint32_t)flat_at_int(index, i, 4, true))));
    return a;
}

static void operators(json_t *facts, struct flat_table graph, struct flat_vector codes, int64_t *total)
{
    struct flat_vector ops = flat_vector(graph, 3, 4);
    for (uint32_t i = 0; i < ops.n; i++) {
        if (++*total > PTL_MODEL_NODES_MAX) {
            fact_cut(facts, "operators: only the first %d are counted", PTL_MODEL_NODES_MAX);
            return;
        }
        struct flat_table code =
            flat_at_table(codes, (uint32_t)flat_int(flat_at_table(ops, i), 0, 4, false, 0));
        int64_t old = flat_int(code, 0, 1, true, 0), number = flat_int(code, 3, 4, true, 0);
        number = number > old ? number : old; /* the short field holds what is below 127, the long one all */
        struct bytes custom = flat_string(code, 1);
        if (number == 32 && custom.p) { /* CUSTOM */
            fact_count(facts, "ops", (const char *)custom.p, custom.n, 1);
            fact_add(facts, "custom_ops", (const char *)custom.p, custom.n);
            continue;
        }
        const char *name =
            number >= 0 && (size_t)number < PTL_ARRAY_LEN(builtin_names) ? builtin_names[number] : NULL;
        char other[32] = "BUILTIN_";
        if (!name) {
            snprintf(other, sizeof(other), "BUILTIN_%lld", (long long)number);
            name = other;
            fact_problem(facts,
                         "uses the builtin operator number %lld, which is newer than the schema read here",
                         (long long)number);
        }
        fact_count(facts, "ops", name, strlen(name), 1);
        json_t *versions = json_object_get(facts, "op_versions");
        int64_t v = flat_int(code, 2, 4, true, 1);
        if (v > ptl_json_i64(versions, name, 0) && json_object_size(versions) < PTL_MODEL_NAMES_MAX)
            json_object_set_new(versions, name, json_integer(v));
    }
}

/* *total: of all graphs, which a hostile file may let share one list. */
static void tensors(json_t *facts, struct flat_table graph, struct flat_vector buffers, bool *quantized,
                    int64_t *total)
{
    struct flat_vector all = flat_vector(graph, 0, 4);
    for (uint32_t i = 0; i < all.n; i++) {
        if (++*total > PTL_MODEL_NODES_MAX) {
            fact_cut(facts, "tensors: only the first %d are looked at", PTL_MODEL_NODES_MAX);
            return;
        }
        struct flat_table t = flat_at_table(all, i);
        struct flat_table buffer = flat_at_table(buffers, (uint32_t)flat_int(t, 2, 4, false, 0));
        bool weight = flat_vector(buffer, 0, 1).n > 0 || flat_int(buffer, 2, 8, false, 0) > 0;
        int64_t type = flat_int(t, 1, 1, true, 0);
        if ((type == 9 || type == 3) &&
            flat_vector(flat_child(t, 4), 2, 4).n > 0) /* int8, uint8 with scales */
            *quantized = true;
        if (weight)
            continue;
        PTL_JSON *o = tensor_of(t);
        int64_t bytes = tensor_bytes(o);
        fact_plus(facts, "activations_bytes", bytes);
        if (bytes > ptl_json_i64(facts, "largest_tensor_bytes", 0))
            json_object_set_new(facts, "largest_tensor_bytes", json_integer(bytes));
    }
}

static void metadata(json_t *facts, struct flat_table model, struct flat_vector buffers)
{
    struct flat_vector list = flat_vector(model, 6, 4);
    for (uint32_t i = 0; i < list.n && i < 1000; i++) {
        struct flat_table m = flat_at_table(list, i);
        struct bytes name = flat_string(m, 0);
        if (name.n != 19 || memcmp(name.p, "min_runtime_version", 19) != 0)
            continue;
        struct flat_vector data =
            flat_vector(flat_at_table(buffers, (uint32_t)flat_int(m, 1, 4, false, 0)), 0, 1);
        size_t n = 0;
        while (n < data.n && n < 32 && data.f->base[data.at + n])
            n++;
        if (n)
            json_object_set_new(facts, "min_runtime", text_of(data.f->base + data.at, n));
    }
}

int read_tflite(const char *dir PTL_UNUSED, const char *path PTL_UNUSED, struct bytes b, json_t *facts,
                struct ptl_error *err PTL_UNUSED)
{
    struct flat f = {b.p, b.n, false};
    struct flat_table model = flat_root(&f);
    struct flat_vector codes = flat_vector(model, 1, 4), graphs = flat_vector(model, 2, 4),
                       buffers = flat_vector(model, 4, 4);
    struct bytes about = flat_string(model, 3);
    bool quantized = false;
    int64_t total = 0, n_tensors = 0, weights = 0;
    json_object_set_new(facts, "schema_version", json_integer(flat_int(model, 0, 4, false, 0)));
    json_object_set_new(facts, "op_versions", json_object());
    if (about.n)
        json_object_set_new(facts, "producer", text_of(about.p, about.n));
    for (uint32_t i = 0; i < buffers.n; i++) {
        struct flat_table buffer = flat_at_table(buffers, i);
        int64_t outside = flat_int(buffer, 2, 8, false, 0); /* behind the flatbuffer: files above 2 GiB */
        weights += flat_vector(buffer, 0, 1).n + (outside > 0 && (uint64_t)outside <= b.n ? outside : 0);
    }
    json_object_set_new(facts, "weights_bytes", json_integer(weights));
    json_object_set_new(facts, "activations_bytes", json_integer(0));
    for (uint32_t i = 0; i < graphs.n && i < 1000; i++) {
        struct flat_table g = flat_at_table(graphs, i);
        operators(facts, g, codes, &total);
        tensors(facts, g, buffers, &quantized, &n_tensors);
        if (i == 0) {
            json_object_set_new(facts, "inputs", ends(g, 1));
            json_object_set_new(facts, "outputs", ends(g, 2));
        }
    }
    metadata(facts, model, buffers);
    json_t *signatures = json_object();
    json_object_set_new(facts, "signatures", signatures);
    struct flat_vector sigs = flat_vector(model, 7, 4);
    for (uint32_t i = 0; i < sigs.n && i < 100; i++) {
        struct bytes key = flat_string(flat_at_table(sigs, i), 2);
        PTL_JSON *name = text_of(key.p ? key.p : (const uint8_t *)"", key.n);
        json_object_set_new(signatures, json_string_value(name), json_object());
    }
    json_object_set_new(facts, "quantized", json_boolean(quantized));
    json_object_set_new(facts, "ops_total", json_integer(total));
    if (f.bad)
        fact_problem(facts, "is cut off or damaged: an offset leads out of its %zu bytes", b.n);
    else if (!graphs.n)
        fact_problem(facts, "has no subgraph: nothing to run");
    return 0;
}

int read_ort(const char *dir PTL_UNUSED, const char *path PTL_UNUSED, struct bytes b, json_t *facts,
             struct ptl_error *err PTL_UNUSED)
{
    struct flat f = {b.p, b.n, false};
    struct flat_table session = flat_root(&f);
    struct bytes version = flat_string(session, 0);
    if (version.n)
        json_object_set_new(facts, "version", text_of(version.p, version.n));
    struct flat_vector opsets = flat_vector(flat_child(session, 1), 1, 4);
    json_t *o = json_object();
    json_object_set_new(facts, "opsets", o);
    for (uint32_t i = 0; i < opsets.n && i < 100; i++) {
        struct flat_table t = flat_at_table(opsets, i);
        struct bytes domain = flat_string(t, 0);
        PTL_JSON *name = domain.n ? text_of(domain.p, domain.n) : json_string("ai.onnx");
        json_object_set_new(o, json_string_value(name), json_integer(flat_int(t, 1, 8, true, 0)));
    }
    if (f.bad)
        fact_problem(facts, "is cut off or damaged: an offset leads out of its %zu bytes", b.n);
    return 0;
}
