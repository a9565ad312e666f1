/* tfserving.c - TensorFlow Serving's REST API as text and JSON. Pure; the answers are outside data.
 *
 * The predict answer carries no types and, with a single output, no name: both come from the metadata call,
 * else from the golden set. */
#include "tfserving.h"

#include <stdio.h>

static const struct {
    const char *name;
    enum ptl_dtype dtype;
} tf_dtypes[] = {
    {"DT_FLOAT",    PTL_DT_F32 },
    {"DT_DOUBLE",   PTL_DT_F64 },
    {"DT_HALF",     PTL_DT_F16 },
    {"DT_BFLOAT16", PTL_DT_BF16},
    {"DT_INT8",     PTL_DT_I8  },
    {"DT_INT16",    PTL_DT_I16 },
    {"DT_INT32",    PTL_DT_I32 },
    {"DT_INT64",    PTL_DT_I64 },
    {"DT_UINT8",    PTL_DT_U8  },
    {"DT_UINT16",   PTL_DT_U16 },
    {"DT_UINT32",   PTL_DT_U32 },
    {"DT_UINT64",   PTL_DT_U64 },
    {"DT_BOOL",     PTL_DT_BOOL},
};

bool ptl_tf_is_ready(const char *body, size_t len)
{
    PTL_JSON *j = json_loadb(body, len, 0, NULL);
    const json_t *status = json_object_get(j, "model_version_status");
    size_t i;
    json_t *version;
    json_array_foreach((json_t *)status, i,
                       version) if (strcmp(ptl_json_str(version, "state", ""), "AVAILABLE") == 0) return true;
    return false;
}

static const json_t *signature_of(const json_t *answer, const char *name)
{
    /* metadata.signature_def.signature_def.<name>: the inner level is the message's own field */
    const json_t *defs = json_object_get(json_object_get(answer, "metadata"), "signature_def");
    const json_t *inner = json_object_get(defs, "signature_def");
    const json_t *all = inner ? inner : defs;
    const json_t *found = json_object_get(all, name && *name ? name : "serving_default");
    return found                        ? found
           : json_object_size(all) == 1 ? json_object_iter_value(json_object_iter((json_t *)all))
                                        : NULL;
}

int ptl_tf_metadata(const json_t *answer, const char *signature_name, struct ptl_serve_model *ret,
                    struct ptl_error *err)
{
    const json_t *signature = signature_of(answer, signature_name);
    const json_t *inputs = json_object_get(signature, "inputs");
    const char *name;
    json_t *entry;
    if (json_object_size(inputs) == 0)
        return ptl_error_set(err, -EPROTO, "model metadata: no signature \"%s\" with inputs",
                             signature_name && *signature_name ? signature_name : "serving_default");
    ret->inputs = json_array();
    ret->output_dtypes = json_object();
    json_object_foreach((json_t *)inputs, name, entry)
    {
        const json_t *dims = json_object_get(json_object_get(entry, "tensor_shape"), "dim");
        const char *size = ptl_json_str(json_array_get(dims, 0), "size", "-1");
        json_array_append_new(ret->inputs, json_string(name));
        if (atoll(size) > 1)
            ret->batch = (uint64_t)atoll(size);
    }
    json_object_foreach(json_object_get(signature, "outputs"), name,
                        entry) for (size_t i = 0; i < PTL_ARRAY_LEN(tf_dtypes);
                                    i++) if (strcmp(ptl_json_str(entry, "dtype", ""), tf_dtypes[i].name) == 0)
        json_object_set_new(ret->output_dtypes, name, json_string(ptl_dtype_name(tf_dtypes[i].dtype)));
    return 0;
}

static void put_key(struct ptl_buf *out, const char *s)
{
    PTL_JSON *j = json_string(s);
    PTL_FREE char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    (void)ptl_buf_printf(out, "%s:", text ? text : "\"\"");
}

/* One input: its value alone. Several: an object by name. */
static int put_inputs(struct ptl_buf *out, const struct ptl_tensors *t, uint64_t first, uint64_t count,
                      bool batch_axis, struct ptl_error *err)
{
    if (t->n_in == 1)
        return ptl_tensor_emit(out, &t->in[0], first, count, true, batch_axis, err);
    for (size_t i = 0; i < t->n_in; i++) {
        (void)ptl_buf_putc(out, i ? ',' : '{');
        put_key(out, t->in[i].wire);
        int r = ptl_tensor_emit(out, &t->in[i], first, count, true, batch_axis, err);
        if (r < 0)
            return r;
    }
    (void)ptl_buf_putc(out, '}');
    return 0;
}

int ptl_tf_request(const struct ptl_serve_options *o, const struct ptl_tensors *t, uint64_t first,
                   uint64_t count, struct ptl_buf *ret, struct ptl_error *err)
{
    int r = 0;
    (void)ptl_buf_putc(ret, '{');
    if (o->signature_name && *o->signature_name) {
        put_key(ret, "signature_name");
        PTL_JSON *j = json_string(o->signature_name);
        PTL_FREE char *text = json_dumps(j, JSON_ENCODE_ANY);
        (void)ptl_buf_printf(ret, "%s,", text);
    }
    if (o->form == PTL_TF_COLUMN) {
        put_key(ret, "inputs");
        r = put_inputs(ret, t, first, count, true, err);
    } else {
        (void)ptl_buf_puts(ret, "\"instances\":[");
        for (uint64_t s = 0; s < count && r == 0; s++) {
            if (s)
                (void)ptl_buf_putc(ret, ',');
            r = put_inputs(ret, t, first + s, 1, false, err);
        }
        (void)ptl_buf_putc(ret, ']');
    }
    (void)ptl_buf_putc(ret, '}');
    if (r < 0)
        return r;
    return ret->failed < 0 ? ptl_error_set(err, ret->failed, "request: more than %zu bytes", ret->max) : 0;
}

/* Type of an output: as the engine's metadata says, else as the golden set has it, else float32. */
static enum ptl_dtype dtype_of(const struct ptl_serve_model *model, const struct ptl_tensors *t,
                               const char *wire, const char *name)
{
    enum ptl_dtype dtype = PTL_DT_F32;
    size_t i;
    json_t *entry;
    const char *told = ptl_json_str(model->output_dtypes, wire, NULL);
    if (!told && !*wire && json_object_size(model->output_dtypes) == 1)
        told = json_string_value(json_object_iter_value(json_object_iter(model->output_dtypes)));
    if (told && ptl_dtype_from_name(told, &dtype))
        return dtype;
    json_array_foreach(t->golden_outputs, i,
                       entry) if (ptl_str_eq(ptl_json_str(entry, "name", NULL), name) &&
                                  ptl_dtype_from_name(ptl_json_str(entry, "dtype", ""), &dtype)) return dtype;
    return PTL_DT_F32;
}

static int take(const struct ptl_serve_model *model, struct ptl_tensors *t, const char *wire,
                const json_t *data, uint64_t count, uint64_t keep, struct ptl_error *err)
{
    const char *name = ptl_tensors_output_name(t, wire);
    if (!*wire) { /* the only output comes without its name */
        const char *only = json_object_iter_key(json_object_iter(model->output_dtypes));
        const json_t *golden =
            json_array_size(t->golden_outputs) == 1 ? json_array_get(t->golden_outputs, 0) : NULL;
        name = json_object_size(model->output_dtypes) == 1 ? ptl_tensors_output_name(t, only)
                                                           : ptl_json_str(golden, "name", "output");
    }
    struct ptl_tensor_out *out = ptl_tensors_output(t, name);
    if (!out)
        return ptl_error_set(err, -EPROTO, "more than %d outputs, or one with an overlong name",
                             PTL_TENSORS_MAX);
    return ptl_tensor_take(out, dtype_of(model, t, wire, name), NULL, data, count, keep, err);
}

/* [{"a": …, "b": …}, …] to {"a": […], "b": […]} */
static json_t *columns_of(const json_t *predictions)
{
    json_t *columns = json_object(), *row, *value;
    size_t i;
    const char *name;
    json_array_foreach((json_t *)predictions, i, row) json_object_foreach(row, name, value)
    {
        if (!json_object_get(columns, name))
            json_object_set_new(columns, name, json_array());
        json_array_append(json_object_get(columns, name), value);
    }
    return columns;
}

int ptl_tf_answer(const struct ptl_serve_model *model, const json_t *answer, struct ptl_tensors *t,
                  uint64_t count, uint64_t keep, struct ptl_error *err)
{
    const json_t *rows = json_object_get(answer, "predictions"),
                 *columns = json_object_get(answer, "outputs");
    PTL_JSON *made = NULL;
    const char *name;
    json_t *data;
    if (rows && (!json_is_array(rows) || json_array_size(rows) != count))
        return ptl_error_set(err, -EPROTO, "%llu instances sent, %zu predictions came back",
                             (unsigned long long)count, json_array_size(rows));
    if (!rows && !columns)
        return ptl_error_set(err, -EPROTO, "the engine's answer has neither \"predictions\" nor \"outputs\"");
    if (rows && json_is_object(json_array_get(rows, 0)))
        columns = made = columns_of(rows);
    if (!json_is_object(columns))
        return take(model, t, "", rows ? rows : columns, count, keep, err);
    json_object_foreach((json_t *)columns, name, data)
    {
        int r = take(model, t, name, data, count, keep, err);
        if (r < 0)
            return r;
    }
    return 0;
}
