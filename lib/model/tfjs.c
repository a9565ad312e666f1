/* tfjs.c - TensorFlow.js's model.json: layers or graph model, its shards and whether they are all there. */
#include "model-private.h"

static const char *tf_dtype(const char *t)
{
    static const char *const names[][2] = {
        {"DT_FLOAT",     "float32"  },
        {"DT_INT32",     "int32"    },
        {"DT_INT64",     "int64"    },
        {"DT_BOOL",      "bool"     },
        {"DT_STRING",    "string"   },
        {"DT_DOUBLE",    "float64"  },
        {"DT_UINT8",     "uint8"    },
        {"DT_HALF",      "float16"  },
        {"DT_COMPLEX64", "complex64"}
    };
    for (size_t i = 0; t && i < PTL_ARRAY_LEN(names); i++)
        if (strcmp(names[i][0], t) == 0)
            return names[i][1];
    return NULL;
}

static json_t *shape_of(const json_t *shape)
{
    const json_t *dims = json_object_get(shape, "dim"), *v;
    size_t i;
    if (!json_is_object(shape) || json_is_true(json_object_get(shape, "unknownRank")))
        return json_null();
    json_t *a = json_array();
    json_array_foreach(dims, i, v)
    {
        const json_t *s = json_object_get(v, "size");
        long long d = json_is_integer(s)  ? json_integer_value(s)
                      : json_is_string(s) ? strtoll(json_string_value(s), NULL, 10)
                                          : -1;
        if (i < 64)
            json_array_append_new(a, d < 0 ? json_null() : json_integer(d));
    }
    return a;
}

static void ends(json_t *facts, const json_t *signature, const char *key)
{
    const char *name;
    json_t *v, *a = json_array();
    json_object_foreach(json_object_get(signature, key), name, v)
    {
        const char *dtype = tf_dtype(ptl_json_str(v, "dtype", NULL));
        if (json_array_size(a) < PTL_MODEL_NAMES_MAX)
            json_array_append_new(a, json_pack("{s:o,s:s?,s:o}", "name",
                                               text_of((const uint8_t *)name, strlen(name)), "dtype", dtype,
                                               "shape", shape_of(json_object_get(v, "tensorShape"))));
    }
    json_object_set_new(facts, key, a);
}

static void graph_ops(json_t *facts, const json_t *nodes)
{
    size_t i;
    const json_t *v;
    json_array_foreach(nodes, i, v)
    {
        const char *op = ptl_json_str(v, "op", NULL);
        if (op)
            fact_count(facts, "ops", op, strlen(op), 1);
    }
    fact_plus(facts, "ops_total", (int64_t)json_array_size(nodes));
}

static int64_t weight_bytes(const json_t *w)
{
    PTL_JSON *t = json_pack("{s:O?,s:O?}", "shape", json_object_get(w, "shape"), "dtype",
                            json_object_get(w, "quantization")
                                ? json_object_get(json_object_get(w, "quantization"), "dtype")
                                : json_object_get(w, "dtype"));
    return tensor_bytes(t);
}

static void shards(const char *dir, const char *path, json_t *facts, const json_t *manifest)
{
    size_t g, i;
    const json_t *group, *v;
    json_t *list = json_array();
    int64_t all = 0;
    json_object_set_new(facts, "shards", list);
    json_array_foreach(manifest, g, group)
    {
        int64_t want = 0, have = 0;
        bool text = false, complete = true;
        json_array_foreach(json_object_get(group, "weights"), i, v)
        {
            if (ptl_str_eq(ptl_json_str(v, "dtype", ""), "string"))
                text = true; /* of no size that the manifest tells */
            want += weight_bytes(v);
        }
        json_array_foreach(json_object_get(group, "paths"), i, v)
        {
            const char *part = json_is_string(v) ? json_string_value(v) : "";
            PTL_FREE char *rel = NULL;
            uint64_t size = 0;
            bool there = fact_part(dir, path, part, &rel, &size);
            if (json_array_size(list) >= PTL_MODEL_NAMES_MAX) {
                fact_cut(facts, "shards: only the first %d are looked at", PTL_MODEL_NAMES_MAX);
                break;
            }
            json_array_append_new(list,
                                  json_pack("{s:o,s:o}", "path", text_of((const uint8_t *)part, strlen(part)),
                                            "bytes", there ? json_integer((json_int_t)size) : json_null()));
            complete = complete && there;
            have += (int64_t)size;
            if (there)
                fact_plus(facts, "size_bytes", (int64_t)size);
            else if (strstr(part, "://"))
                fact_problem(facts, "its weights are at an address of their own, '%.200s'", part);
            else
                fact_problem(facts, "the shard '%.200s' that its weightsManifest names is not there", part);
        }
        all += want;
        if (complete && !text && want != have && json_array_size(json_object_get(group, "paths")))
            fact_problem(
                facts,
                "its shards hold %lld bytes and its weightsManifest needs %lld: one of them is cut off or of another model",
                (long long)have, (long long)want);
    }
    json_object_set_new(facts, "weights_expected_bytes", json_integer(all));
    json_object_set_new(facts, "weights_bytes", json_integer(all));
}

int read_tfjs(const char *dir, const char *path, struct bytes b, json_t *facts, struct ptl_error *err)
{
    PTL_JSON *doc = NULL;
    if (b.n > PTL_MODEL_JSON_MAX) {
        fact_cut(facts, "model.json is larger than %d MiB and is not read", PTL_MODEL_JSON_MAX >> 20);
        return PTL_ABSENT;
    }
    doc = json_loadb((const char *)b.p, b.n, 0, NULL);
    const json_t *topology = json_object_get(doc, "modelTopology"),
                 *manifest = json_object_get(doc, "weightsManifest");
    if (!json_is_object(topology) && !json_is_array(manifest)) {
        (void)err;
        return PTL_ABSENT;
    }
    const json_t *nodes = json_object_get(topology, "node");
    bool graph = json_is_array(nodes) || ptl_str_eq(ptl_json_str(doc, "format", ""), "graph-model");
    json_object_set_new(facts, "format", json_string(graph ? "tfjs-graph" : "tfjs-layers"));
    const char *by = ptl_json_str(doc, "convertedBy", NULL), *made = ptl_json_str(doc, "generatedBy", NULL);
    if (by)
        json_object_set_new(facts, "producer", text_of((const uint8_t *)by, strlen(by)));
    if (made)
        json_object_set_new(facts, "version", text_of((const uint8_t *)made, strlen(made)));
    if (graph) {
        size_t i;
        const json_t *v;
        graph_ops(facts, nodes);
        json_array_foreach(json_object_get(json_object_get(topology, "library"), "function"), i, v)
            graph_ops(facts, json_object_get(v, "nodeDef"));
        const json_t *signature = json_object_get(doc, "signature");
        if (!signature)
            signature = json_object_get(json_object_get(doc, "userDefinedMetadata"), "signature");
        ends(facts, signature, "inputs");
        ends(facts, signature, "outputs");
    } else {
        const json_t *config =
            json_object_get(topology, "model_config") ? json_object_get(topology, "model_config") : topology;
        const char *v = ptl_json_str(topology, "keras_version", NULL);
        if (v)
            json_object_set_new(facts, "keras_version", text_of((const uint8_t *)v, strlen(v)));
        keras_config(facts, config, 0);
    }
    shards(dir, path, facts, manifest);
    return 0;
}
