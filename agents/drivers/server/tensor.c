/* tensor.c - see tensor.h. Reads files that another stage made, and answers that an engine made: both are
 * outside data. */
#include "tensor.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <portolan/fs.h>

#define MANIFEST_MAX ((size_t)4 << 20)
#define OUTPUT_MAX   ((size_t)1 << 30) /* bytes of one output over all samples */

static size_t dtype_size(enum ptl_dtype t)
{
    switch (t) {
    case PTL_DT_F64:
    case PTL_DT_I64:
    case PTL_DT_U64:
        return 8;
    case PTL_DT_F32:
    case PTL_DT_I32:
    case PTL_DT_U32:
        return 4;
    case PTL_DT_F16:
    case PTL_DT_BF16:
    case PTL_DT_I16:
    case PTL_DT_U16:
        return 2;
    default:
        return 1;
    }
}

/* ---- loading ---- */

static int load_input(struct ptl_tensor_in *in, const char *dir, const json_t *entry, size_t i,
                      struct ptl_error *err)
{
    const char *name = ptl_json_str(entry, "name", ""), *file = ptl_json_str(entry, "file", "");
    if (!*name || strlen(name) >= sizeof(in->name))
        return ptl_error_set(err, -EINVAL, "golden set: inputs[%zu] has no usable name", i);
    if (!ptl_fs_is_safe_relative(file))
        return ptl_error_set(err, -EINVAL, "golden set: input %s: \"%s\" is no path below golden/", name,
                             file);
    snprintf(in->name, sizeof(in->name), "%s", name);
    snprintf(in->wire, sizeof(in->wire), "%s", name);
    PTL_FREE char *path = ptl_fs_join(dir, file);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return ptl_error_set(err, -errno, "golden set: input %s: %s: %s", name, file, strerror(errno));
    int r = ptl_npy_map(fd, &in->a, err);
    if (r < 0)
        return ptl_error_prefix(err, r, "golden set: input %s: %s", name, file);
    if (strcmp(ptl_json_str(entry, "dtype", ""), "bfloat16") == 0)
        ptl_npy_as_bfloat16(&in->a);
    if (in->a.ndim == 0 || in->a.shape[0] == 0)
        return ptl_error_set(err, -EINVAL, "golden set: input %s has no samples (axis 0 is the sample)",
                             name);
    in->sample_elements = in->a.elements / in->a.shape[0];
    return 0;
}

static int load_all(const char *golden_dir, const char *model_dir, struct ptl_tensors *t,
                    struct ptl_error *err)
{
    PTL_FREE char *path = ptl_fs_join(golden_dir, "manifest.json");
    PTL_FREE char *signature = ptl_fs_join(model_dir, "signature.json");
    PTL_JSON *manifest = NULL;
    json_t *inputs, *entry;
    size_t i;
    int r = ptl_json_load(path, MANIFEST_MAX, &manifest, err);
    if (r == 0)
        r = ptl_json_req_arr(manifest, "golden/manifest.json", "inputs", &inputs, err);
    if (r < 0)
        return r;
    if (json_array_size(inputs) == 0 || json_array_size(inputs) > PTL_TENSORS_MAX)
        return ptl_error_set(err, -EINVAL, "golden set: %zu inputs; expected 1 to %d",
                             json_array_size(inputs), PTL_TENSORS_MAX);
    json_array_foreach(inputs, i, entry)
    {
        t->n_in = i + 1;
        if ((r = load_input(&t->in[i], golden_dir, entry, i, err)) < 0)
            return r;
        if (i && t->in[i].a.shape[0] != t->samples)
            return ptl_error_set(err, -EINVAL, "golden set: input %s has %llu samples, %s has %llu",
                                 t->in[i].name, (unsigned long long)t->in[i].a.shape[0], t->in[0].name,
                                 (unsigned long long)t->samples);
        t->samples = t->in[i].a.shape[0];
    }
    t->golden_outputs = json_incref(json_object_get(manifest, "outputs"));
    if (ptl_fs_exists(signature) && (r = ptl_json_load(signature, MANIFEST_MAX, &t->signature, err)) < 0)
        return r;
    return 0;
}

int ptl_tensors_load(const char *golden_dir, const char *model_dir, struct ptl_tensors *ret,
                     struct ptl_error *err)
{
    memset(ret, 0, sizeof(*ret));
    ret->warnings = json_array();
    int r = load_all(golden_dir, model_dir, ret, err);
    if (r < 0)
        ptl_tensors_done(ret);
    return r;
}

void ptl_tensors_done(struct ptl_tensors *t)
{
    for (size_t i = 0; i < t->n_in; i++)
        ptl_npy_done(&t->in[i].a);
    for (size_t i = 0; i < t->n_out; i++)
        ptl_buf_done(&t->out[i].bytes);
    json_decref(t->golden_outputs);
    json_decref(t->signature);
    json_decref(t->warnings);
    memset(t, 0, sizeof(*t));
}

/* ---- names ---- */

/* entry of signature.json[side] whose `key` is `value` */
static const json_t *signature_entry(const json_t *signature, const char *side, const char *key,
                                     const char *value)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(signature, side), i,
                       entry) if (ptl_str_eq(ptl_json_str(entry, key, NULL), value)) return entry;
    return NULL;
}

static bool list_has(const json_t *list, const char *word)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)list, i, item) if (ptl_str_eq(json_string_value(item), word)) return true;
    return false;
}

int ptl_tensors_map_inputs(struct ptl_tensors *t, const json_t *engine_inputs, struct ptl_error *err)
{
    size_t named = 0, n_engine = json_array_size(engine_inputs);
    for (size_t i = 0; i < t->n_in; i++) {
        struct ptl_tensor_in *in = &t->in[i];
        const json_t *entry = signature_entry(t->signature, "inputs", "name", in->name);
        const char *tensor = ptl_json_str(entry, "tensor", NULL);
        /* an engine may keep the golden name in front of the model's own tensor name: what it says itself
         * comes first */
        if (list_has(engine_inputs, in->name) || !tensor || (n_engine && !list_has(engine_inputs, tensor)))
            tensor = in->name;
        snprintf(in->wire, sizeof(in->wire), "%s", tensor);
        if (!n_engine || list_has(engine_inputs, in->wire))
            named++;
    }
    if (named == t->n_in)
        return 0;
    if (n_engine != t->n_in)
        return ptl_error_set(
            err, -EINVAL,
            "the golden set has %zu inputs, the engine's model has %zu, and the names do not match (\"%s\", \"%s\")",
            t->n_in, n_engine, t->in[0].name, json_string_value(json_array_get(engine_inputs, 0)));
    for (size_t i = 0; i < t->n_in; i++) {
        const char *wire = json_string_value(json_array_get(engine_inputs, i));
        PTL_FREE char *text =
            ptl_xasprintf("input %s is fed to %s by position: no name and no signature.json says so",
                          t->in[i].name, wire ? wire : "?");
        snprintf(t->in[i].wire, sizeof(t->in[i].wire), "%s", wire ? wire : "");
        json_array_append_new(t->warnings, json_string(text));
    }
    return 0;
}

const char *ptl_tensors_output_name(const struct ptl_tensors *t, const char *wire)
{
    size_t i;
    json_t *entry;
    json_array_foreach(t->golden_outputs, i, entry) if (ptl_str_eq(ptl_json_str(entry, "name", NULL),
                                                                   wire)) return wire; /* already golden */
    const json_t *mapped = signature_entry(t->signature, "outputs", "tensor", wire);
    return ptl_json_str(mapped, "name", wire);
}

/* ---- out to the engine ---- */

static int emit_value(struct ptl_buf *out, const struct ptl_npy *a, uint64_t pos, struct ptl_error *err)
{
    const unsigned char *at = a->data + pos * dtype_size(a->dtype);
    if (a->contiguous && a->dtype == PTL_DT_I64) { /* exact beyond 2^53 */
        int64_t v;
        memcpy(&v, at, sizeof(v));
        return ptl_buf_printf(out, "%lld", (long long)v);
    }
    if (a->contiguous && a->dtype == PTL_DT_U64) {
        uint64_t v;
        memcpy(&v, at, sizeof(v));
        return ptl_buf_printf(out, "%llu", (unsigned long long)v);
    }
    double v = ptl_npy_at(a, pos);
    if (!isfinite(v))
        return ptl_error_set(err, -EDOM, "holds %s, which cannot be sent as JSON",
                             isnan(v) ? "NaN" : "an infinity");
    if (a->dtype == PTL_DT_BOOL)
        return ptl_buf_puts(out, v != 0 ? "true" : "false");
    if (!ptl_dtype_is_float(a->dtype))
        return ptl_buf_printf(out, "%.0f", v);
    char text[40]; /* a fraction or exponent keeps strict engines from reading an integer */
    snprintf(text, sizeof(text), a->dtype == PTL_DT_F64 ? "%.17g" : "%.9g", v);
    int r = ptl_buf_puts(out, text);
    return r == 0 && !strpbrk(text, ".e") ? ptl_buf_puts(out, ".0") : r;
}

/* Values pos.. of a box of shape dims[axis..]; advances *pos. */
static int emit_nested(struct ptl_buf *out, const struct ptl_npy *a, unsigned axis, uint64_t *pos,
                       struct ptl_error *err)
{
    if (axis == a->ndim)
        return emit_value(out, a, (*pos)++, err);
    int r = ptl_buf_putc(out, '[');
    for (uint64_t i = 0; i < a->shape[axis] && r == 0; i++) {
        if (i)
            r = ptl_buf_putc(out, ',');
        if (r == 0)
            r = emit_nested(out, a, axis + 1, pos, err);
    }
    return r == 0 ? ptl_buf_putc(out, ']') : r;
}

int ptl_tensor_emit(struct ptl_buf *out, const struct ptl_tensor_in *in, uint64_t first, uint64_t count,
                    bool nested, bool batch_axis, struct ptl_error *err)
{
    int r = !nested || batch_axis ? ptl_buf_putc(out, '[') : 0;
    for (uint64_t s = 0; s < count && r == 0; s++) {
        uint64_t sample = first + s < in->a.shape[0] ? first + s : in->a.shape[0] - 1;
        uint64_t pos = sample * in->sample_elements, end = pos + in->sample_elements;
        if (s)
            r = ptl_buf_putc(out, ',');
        if (nested && r == 0) {
            r = emit_nested(out, &in->a, 1, &pos, err);
            continue;
        }
        for (; pos < end && r == 0; pos++) {
            r = emit_value(out, &in->a, pos, err);
            if (r == 0 && pos + 1 < end)
                r = ptl_buf_putc(out, ',');
        }
    }
    if (r == 0 && (!nested || batch_axis))
        r = ptl_buf_putc(out, ']');
    if (r == -EDOM)
        return ptl_error_prefix(err, r, "golden input %s", in->name);
    return r < 0 ? ptl_error_set(err, r, "golden input %s: a request of more than %zu bytes", in->name,
                                 out->max)
                 : 0;
}

/* ---- back from the engine ---- */

struct ptl_tensor_out *ptl_tensors_output(struct ptl_tensors *t, const char *name)
{
    for (size_t i = 0; i < t->n_out; i++)
        if (strcmp(t->out[i].name, name) == 0)
            return &t->out[i];
    if (t->n_out == PTL_TENSORS_MAX || strlen(name) >= PTL_TENSOR_NAME)
        return NULL;
    struct ptl_tensor_out *out = &t->out[t->n_out++];
    memset(out, 0, sizeof(*out));
    out->bytes.max = OUTPUT_MAX;
    snprintf(out->name, sizeof(out->name), "%s", name);
    return out;
}

static uint16_t to_half(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    if (isnan(v))
        return sign | 0x7e00u;
    float m = fabsf(v);
    if (m >= 65520.0f)
        return sign | 0x7c00u;
    if (m < 6.103515625e-05f) /* subnormal: units of 2^-24 */
        return (uint16_t)(sign | (uint16_t)lrintf(m * 16777216.0f));
    uint32_t b = bits & 0x7fffffffu;
    b += 0xfffu + ((b >> 13) & 1u); /* to nearest, ties to even */
    return (uint16_t)(sign | (uint16_t)((b - 0x38000000u) >> 13));
}

#define PUT_INT(type, lo, hi)                                                                                \
    do {                                                                                                     \
        if (v < (double)(lo) || v > (double)(hi) || v != floor(v))                                           \
            return -ERANGE;                                                                                  \
        type x = json_is_integer(item) ? (type)json_integer_value(item) : (type)v;                           \
        return ptl_buf_add(out, &x, sizeof(x));                                                              \
    } while (0)

static int put_value(struct ptl_buf *out, enum ptl_dtype dtype, const json_t *item)
{
    double v = json_is_boolean(item) ? (double)json_is_true(item)
               : json_is_null(item)  ? (double)NAN
                                     : json_number_value(item);
    float f = (float)v;
    if (!json_is_number(item) && !json_is_boolean(item) && !json_is_null(item))
        return -EPROTO;
    switch (dtype) {
    case PTL_DT_F64:
        return ptl_buf_add(out, &v, sizeof(v));
    case PTL_DT_F32:
        return ptl_buf_add(out, &f, sizeof(f));
    case PTL_DT_F16: {
        uint16_t h = to_half(f);
        return ptl_buf_add(out, &h, sizeof(h));
    }
    case PTL_DT_BF16: {
        uint32_t bits;
        memcpy(&bits, &f, sizeof(bits));
        uint16_t h = isnan(f) ? 0x7fc0 : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
        return ptl_buf_add(out, &h, sizeof(h));
    }
    case PTL_DT_BOOL: {
        unsigned char b = v != 0;
        return isnan(v) ? -ERANGE : ptl_buf_add(out, &b, 1);
    }
    case PTL_DT_I8:
        PUT_INT(int8_t, INT8_MIN, INT8_MAX);
    case PTL_DT_I16:
        PUT_INT(int16_t, INT16_MIN, INT16_MAX);
    case PTL_DT_I32:
        PUT_INT(int32_t, INT32_MIN, INT32_MAX);
    case PTL_DT_I64:
        PUT_INT(int64_t, -9223372036854775808.0, 9223372036854774784.0);
    case PTL_DT_U8:
        PUT_INT(uint8_t, 0, UINT8_MAX);
    case PTL_DT_U16:
        PUT_INT(uint16_t, 0, UINT16_MAX);
    case PTL_DT_U32:
        PUT_INT(uint32_t, 0, UINT32_MAX);
    case PTL_DT_U64:
        PUT_INT(uint64_t, 0, 18446744073709549568.0);
    }
    return -EPROTO;
}

/* Depth and extents of nested arrays by their first elements. */
static unsigned nested_shape(const json_t *data, uint64_t shape[PTL_NPY_MAX_DIMS])
{
    unsigned n = 0;
    while (json_is_array(data) && n < PTL_NPY_MAX_DIMS) {
        shape[n++] = json_array_size(data);
        data = json_array_get(data, 0);
    }
    return n;
}

static int put_nested(struct ptl_buf *out, enum ptl_dtype dtype, const json_t *data, const uint64_t *shape,
                      unsigned ndim)
{
    size_t i;
    json_t *item;
    if (ndim == 0)
        return json_is_array(data) ? -EPROTO : put_value(out, dtype, data);
    if (!json_is_array(data) || json_array_size(data) != shape[0])
        return -EPROTO;
    json_array_foreach((json_t *)data, i, item)
    {
        int r = put_nested(out, dtype, item, shape + 1, ndim - 1);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_flat(struct ptl_buf *out, enum ptl_dtype dtype, const json_t *data)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)data, i, item)
    {
        int r = put_value(out, dtype, item);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_shape(const struct ptl_tensor_out *out, const json_t *shape, const json_t *data,
                      uint64_t dims[PTL_NPY_MAX_DIMS], unsigned *ret_ndim, bool *ret_flat,
                      struct ptl_error *err)
{
    uint64_t nested[PTL_NPY_MAX_DIMS];
    unsigned depth = nested_shape(data, nested);
    if (!shape) {
        memcpy(dims, nested, sizeof(nested));
        *ret_ndim = depth;
        *ret_flat = false;
        return 0;
    }
    size_t i;
    json_t *item;
    uint64_t elements = 1;
    if (json_array_size(shape) > PTL_NPY_MAX_DIMS)
        return ptl_error_set(err, -EPROTO, "output %s: %zu dimensions", out->name, json_array_size(shape));
    json_array_foreach((json_t *)shape, i, item)
    {
        json_int_t d = json_integer_value(item);
        if (!json_is_integer(item) || d < 0 || (d > 0 && elements > OUTPUT_MAX / (uint64_t)d))
            return ptl_error_set(err, -EPROTO, "output %s: a shape that cannot be", out->name);
        dims[i] = (uint64_t)d;
        elements *= (uint64_t)d;
    }
    *ret_ndim = (unsigned)json_array_size(shape);
    *ret_flat = depth <= 1;
    if (depth <= 1 && json_array_size(data) != elements)
        return ptl_error_set(err, -EPROTO, "output %s: %zu values for a shape of %llu", out->name,
                             json_array_size(data), (unsigned long long)elements);
    return 0;
}

int ptl_tensor_take(struct ptl_tensor_out *out, enum ptl_dtype dtype, const json_t *shape, const json_t *data,
                    uint64_t count, uint64_t keep, struct ptl_error *err)
{
    uint64_t dims[PTL_NPY_MAX_DIMS];
    unsigned ndim = 0;
    bool flat = false;
    int r = take_shape(out, shape, data, dims, &ndim, &flat, err);
    if (r < 0)
        return r;
    PTL_BUF bytes = PTL_BUF_MAX(OUTPUT_MAX);
    r = flat ? put_flat(&bytes, dtype, data) : put_nested(&bytes, dtype, data, dims, ndim);
    if (r == -ERANGE)
        return ptl_error_set(err, -EPROTO, "output %s: a value that is no %s", out->name,
                             ptl_dtype_name(dtype));
    if (r < 0)
        return ptl_error_set(err, r == -ENOMEM || r == -E2BIG ? r : -EPROTO,
                             "output %s: nesting or values do not fit its shape", out->name);
    bool has_axis = ndim > 0 && dims[0] == count; /* else one sample without a batch axis */
    if (!has_axis && count != 1)
        return ptl_error_set(err, -EPROTO, "output %s: %llu samples asked, axis 0 of the answer is %llu",
                             out->name, (unsigned long long)count, (unsigned long long)(ndim ? dims[0] : 0));
    const uint64_t *rest = has_axis ? dims + 1 : dims;
    unsigned n_rest = has_axis ? ndim - 1 : ndim;
    if (out->samples &&
        (out->dtype != dtype || out->ndim != n_rest || memcmp(out->shape, rest, n_rest * sizeof(*rest)) != 0))
        return ptl_error_set(err, -EPROTO, "output %s: shape or type differs between samples", out->name);
    out->dtype = dtype;
    out->ndim = n_rest;
    memcpy(out->shape, rest, n_rest * sizeof(*rest));
    r = ptl_buf_add(&out->bytes, bytes.data, (size_t)(bytes.len / count * keep));
    if (r < 0)
        return ptl_error_set(err, r, "output %s: more than %zu bytes in all", out->name, OUTPUT_MAX);
    out->samples += keep;
    return 0;
}

int ptl_answer_json(const char *text, size_t len, json_t **ret, struct ptl_error *err)
{
    static const char *const words[] = {"-Infinity", "Infinity", "NaN"};
    PTL_FREE char *copy = malloc(len + 1);
    if (!copy)
        return ptl_error_set(err, -ENOMEM, "answer: out of memory");
    memcpy(copy, text, len);
    copy[len] = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && copy[i] == '\\')
            i++;
        else if (copy[i] == '"')
            quoted = !quoted;
        for (size_t w = 0; !quoted && w < PTL_ARRAY_LEN(words); w++) {
            size_t n = strlen(words[w]);
            if (i + n > len || strncmp(copy + i, words[w], n) != 0)
                continue;
            memset(copy + i, ' ', n);
            if (n >= 4)
                memcpy(copy + i, "null", 4);
            else
                memcpy(copy + i, "\x01\x01\x01", 3); /* "NaN" is one byte short of "null" */
        }
    }
    /* Second pass for NaN: the text grows, which is rare enough to pay for only then. */
    PTL_BUF wide = PTL_BUF_INIT;
    const char *use = copy;
    size_t use_len = len;
    if (memchr(copy, 1, len)) {
        for (size_t i = 0; i < len; i++) {
            if (copy[i] == 1 && i + 2 < len && copy[i + 1] == 1 && copy[i + 2] == 1) {
                (void)ptl_buf_puts(&wide, "null");
                i += 2;
            } else {
                (void)ptl_buf_putc(&wide, copy[i]);
            }
        }
        use = ptl_buf_str(&wide);
        use_len = wide.len;
    }
    return ptl_json_parse(use, use_len, "the engine's answer", ret, err);
}

/* ---- files ---- */

int ptl_npy_write(const char *path, enum ptl_dtype dtype, unsigned ndim, const uint64_t *shape,
                  const void *data, size_t len, struct ptl_error *err)
{
    static const char *const codes[] = {
        [PTL_DT_F16] = "<f2",  [PTL_DT_F32] = "<f4", [PTL_DT_F64] = "<f8", [PTL_DT_BF16] = "<u2",
        [PTL_DT_I8] = "|i1",   [PTL_DT_I16] = "<i2", [PTL_DT_I32] = "<i4", [PTL_DT_I64] = "<i8",
        [PTL_DT_U8] = "|u1",   [PTL_DT_U16] = "<u2", [PTL_DT_U32] = "<u4", [PTL_DT_U64] = "<u8",
        [PTL_DT_BOOL] = "|b1",
    };
    PTL_BUF head = PTL_BUF_INIT;
    (void)ptl_buf_printf(&head, "{'descr': '%s', 'fortran_order': False, 'shape': (", codes[dtype]);
    for (unsigned i = 0; i < ndim; i++)
        (void)ptl_buf_printf(&head, "%llu%s", (unsigned long long)shape[i],
                             i + 1 < ndim ? ", "
                             : ndim == 1  ? ","
                                          : "");
    (void)ptl_buf_puts(&head, "), }");
    while ((10 + head.len + 1) % 64)
        (void)ptl_buf_putc(&head, ' ');
    (void)ptl_buf_putc(&head, '\n');
    unsigned char magic[10] = {0x93,
                               'N',
                               'U',
                               'M',
                               'P',
                               'Y',
                               1,
                               0,
                               (unsigned char)(head.len & 0xff),
                               (unsigned char)(head.len >> 8)};
    PTL_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot write: %s", path, strerror(errno));
    int r = ptl_fs_write_all(fd, magic, sizeof(magic));
    if (r == 0)
        r = ptl_fs_write_all(fd, head.data, head.len);
    if (r == 0)
        r = ptl_fs_write_all(fd, data, len);
    return r < 0 ? ptl_error_set(err, r, "%s: cannot write: %s", path, strerror(-r)) : 0;
}

static void file_name(const char *name, size_t i, char *ret, size_t size)
{
    char clean[80];
    size_t n = 0;
    for (; name[n] && n < sizeof(clean) - 1; n++)
        clean[n] = isalnum((unsigned char)name[n]) || name[n] == '_' || name[n] == '-' ? name[n] : '_';
    clean[n] = 0;
    snprintf(ret, size, "%zu-%s.npy", i, clean);
}

int ptl_tensors_save(const struct ptl_tensors *t, const char *dir, json_t **ret_entries,
                     struct ptl_error *err)
{
    PTL_JSON *entries = json_array();
    int r = ptl_fs_mkdirs(dir, 0755, err);
    for (size_t i = 0; i < t->n_out && r == 0; i++) {
        const struct ptl_tensor_out *out = &t->out[i];
        uint64_t shape[PTL_NPY_MAX_DIMS + 1] = {out->samples};
        char file[128];
        file_name(out->name, i, file, sizeof(file));
        PTL_FREE char *path = ptl_fs_join(dir, file);
        memcpy(shape + 1, out->shape, out->ndim * sizeof(*shape));
        r = ptl_npy_write(path, out->dtype, out->ndim + 1, shape, ptl_buf_str(&out->bytes), out->bytes.len,
                          err);
        json_t *dims = json_array();
        for (unsigned d = 0; d <= out->ndim; d++)
            json_array_append_new(dims, json_integer((json_int_t)shape[d]));
        PTL_FREE char *name = ptl_json_text_utf8(out->name, strlen(out->name));
        json_array_append_new(entries, json_pack("{s:s, s:s, s:o, s:s}", "name", name, "dtype",
                                                 ptl_dtype_name(out->dtype), "shape", dims, "file", file));
    }
    if (r == 0)
        *ret_entries = PTL_TAKE(entries);
    return r;
}
