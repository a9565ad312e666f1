/* oip.c - Open Inference Protocol v2 as text and JSON. Pure; the answers are outside data. */
#include "oip.h"

#include <stdio.h>

static const struct {
    const char *name;
    enum ptl_dtype dtype;
} oip_dtypes[] = {
    {"FP32",   PTL_DT_F32 },
    {"FP64",   PTL_DT_F64 },
    {"FP16",   PTL_DT_F16 },
    {"BF16",   PTL_DT_BF16},
    {"INT8",   PTL_DT_I8  },
    {"INT16",  PTL_DT_I16 },
    {"INT32",  PTL_DT_I32 },
    {"INT64",  PTL_DT_I64 },
    {"UINT8",  PTL_DT_U8  },
    {"UINT16", PTL_DT_U16 },
    {"UINT32", PTL_DT_U32 },
    {"UINT64", PTL_DT_U64 },
    {"BOOL",   PTL_DT_BOOL},
};

bool ptl_oip_dtype(const char *name, enum ptl_dtype *ret)
{
    for (size_t i = 0; name && i < PTL_ARRAY_LEN(oip_dtypes); i++)
        if (strcmp(oip_dtypes[i].name, name) == 0) {
            *ret = oip_dtypes[i].dtype;
            return true;
        }
    return false;
}

const char *ptl_oip_dtype_name(enum ptl_dtype t)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(oip_dtypes); i++)
        if (oip_dtypes[i].dtype == t)
            return oip_dtypes[i].name;
    return "FP32";
}

int ptl_oip_metadata(const json_t *answer, struct ptl_serve_model *ret, struct ptl_error *err)
{
    const json_t *inputs = json_object_get(answer, "inputs"), *outputs = json_object_get(answer, "outputs");
    size_t i;
    json_t *entry;
    enum ptl_dtype dtype;
    if (!json_is_array(inputs) || json_array_size(inputs) == 0)
        return ptl_error_set(err, -EPROTO, "model metadata: names no inputs");
    ret->inputs = json_array();
    ret->output_dtypes = json_object();
    json_array_foreach((json_t *)inputs, i, entry)
    {
        const json_t *axis = json_array_get(json_object_get(entry, "shape"), 0);
        json_array_append_new(ret->inputs, json_string(ptl_json_str(entry, "name", "")));
        if (json_is_integer(axis) && json_integer_value(axis) > 1)
            ret->batch = (uint64_t)json_integer_value(axis);
    }
    json_array_foreach((json_t *)outputs, i,
                       entry) if (ptl_oip_dtype(ptl_json_str(entry, "datatype", NULL), &dtype))
        json_object_set_new(ret->output_dtypes, ptl_json_str(entry, "name", ""),
                            json_string(ptl_dtype_name(dtype)));
    return 0;
}

static void put_string(struct ptl_buf *out, const char *s)
{
    PTL_JSON *j = json_string(s);
    PTL_FREE char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    (void)ptl_buf_puts(out, text ? text : "\"\"");
}

int ptl_oip_request(const struct ptl_tensors *t, uint64_t first, uint64_t count, struct ptl_buf *ret,
                    struct ptl_error *err)
{
    (void)ptl_buf_printf(ret, "{\"id\":\"%llu\",\"inputs\":[", (unsigned long long)first);
    for (size_t i = 0; i < t->n_in; i++) {
        const struct ptl_tensor_in *in = &t->in[i];
        (void)ptl_buf_puts(ret, i ? ",{\"name\":" : "{\"name\":");
        put_string(ret, in->wire);
        (void)ptl_buf_printf(ret, ",\"shape\":[%llu", (unsigned long long)count);
        for (unsigned d = 1; d < in->a.ndim; d++)
            (void)ptl_buf_printf(ret, ",%llu", (unsigned long long)in->a.shape[d]);
        (void)ptl_buf_printf(ret, "],\"datatype\":\"%s\",\"data\":", ptl_oip_dtype_name(in->a.dtype));
        int r = ptl_tensor_emit(ret, in, first, count, false, true, err);
        if (r < 0)
            return r;
        (void)ptl_buf_putc(ret, '}');
    }
    (void)ptl_buf_puts(ret, "]}");
    return ret->failed < 0 ? ptl_error_set(err, ret->failed, "request: more than %zu bytes", ret->max) : 0;
}

int ptl_oip_answer(const json_t *answer, struct ptl_tensors *t, uint64_t count, uint64_t keep,
                   struct ptl_error *err)
{
    const json_t *outputs = json_object_get(answer, "outputs");
    size_t i;
    json_t *entry;
    if (!json_is_array(outputs))
        return ptl_error_set(err, -EPROTO, "the engine's answer has no \"outputs\"");
    json_array_foreach((json_t *)outputs, i, entry)
    {
        const char *name = ptl_json_str(entry, "name", ""), *type = ptl_json_str(entry, "datatype", "");
        const json_t *shape = json_object_get(entry, "shape"), *data = json_object_get(entry, "data");
        enum ptl_dtype dtype;
        if (!ptl_oip_dtype(type, &dtype))
            return ptl_error_set(err, -EPROTO, "output %.100s: datatype \"%.20s\" cannot be compared", name,
                                 type);
        if (!json_is_array(shape) || !json_is_array(data))
            return ptl_error_set(err, -EPROTO,
                                 "output %.100s: without shape or data (binary answers are not asked for)",
                                 name);
        struct ptl_tensor_out *out = ptl_tensors_output(t, ptl_tensors_output_name(t, name));
        if (!out)
            return ptl_error_set(err, -EPROTO, "more than %d outputs, or one with an overlong name",
                                 PTL_TENSORS_MAX);
        int r = ptl_tensor_take(out, dtype, shape, data, count, keep, err);
        if (r < 0)
            return r;
    }
    return 0;
}
