/* npy.c - the .npy reader. It trusts nothing: the header is a Python literal written by whoever ran the
 * stage, so it is read by a strict little parser that knows the three keys and nothing else, every dimension
 * is bounded before it is multiplied, and the number of bytes in the file must be exactly what the header
 * promises. Values are decoded to double on the way out, a run at a time; nothing is ever held as a second
 * copy of the array. */
#include "npy.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const struct dtype_info {
    const char *name, *descr; /* descr as numpy writes it, without the byte-order sign */
    unsigned char size;
    bool is_float;
} dtypes[] = {
    [PTL_DT_F16] = {"float16",  "f2", 2, true },
      [PTL_DT_F32] = {"float32",  "f4", 4, true },
    [PTL_DT_F64] = {"float64",  "f8", 8, true },
      [PTL_DT_BF16] = {"bfloat16", "",   2, true },
    [PTL_DT_I8] = {"int8",     "i1", 1, false},
      [PTL_DT_I16] = {"int16",    "i2", 2, false},
    [PTL_DT_I32] = {"int32",    "i4", 4, false},
      [PTL_DT_I64] = {"int64",    "i8", 8, false},
    [PTL_DT_U8] = {"uint8",    "u1", 1, false},
      [PTL_DT_U16] = {"uint16",   "u2", 2, false},
    [PTL_DT_U32] = {"uint32",   "u4", 4, false},
      [PTL_DT_U64] = {"uint64",   "u8", 8, false},
    [PTL_DT_BOOL] = {"bool",     "b1", 1, false},
};

const char *ptl_dtype_name(enum ptl_dtype t)
{
    return dtypes[t].name;
}

bool ptl_dtype_is_float(enum ptl_dtype t)
{
    return dtypes[t].is_float;
}

bool ptl_dtype_from_name(const char *name, enum ptl_dtype *ret)
{
    for (size_t i = 0; name && i < PTL_ARRAY_LEN(dtypes); i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *ret = (enum ptl_dtype)i;
            return true;
        }
    return false;
}

/* ---- the header: {'descr': '<f4', 'fortran_order': False, 'shape': (32, 10), } ---- */

struct scan {
    const char *p, *end;
};

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->p >= s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* A quoted word without escapes; 0 or -1. */
static int take_quoted(struct scan *s, char *ret, size_t size)
{
    skip_space(s);
    if (s->p >= s->end || (*s->p != '\'' && *s->p != '"'))
        return -1;
    char quote = *s->p++;
    size_t n = 0;
    while (s->p < s->end && *s->p != quote) {
        if (n + 1 >= size || *s->p < ' ' || *s->p == '\\')
            return -1;
        ret[n++] = *s->p++;
    }
    if (s->p >= s->end)
        return -1;
    s->p++;
    ret[n] = '\0';
    return 0;
}

static bool take_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    skip_space(s);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

static int take_dim(struct scan *s, uint64_t *ret)
{
    skip_space(s);
    const char *start = s->p;
    uint64_t v = 0;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        v = v * 10 + (uint64_t)(*s->p++ - '0');
        if (v > PTL_NPY_MAX_BYTES)
            return -1;
    }
    if (s->p == start)
        return -1;
    if (s->p < s->end && *s->p == 'L') /* Python 2 */
        s->p++;
    *ret = v;
    return 0;
}

static int take_shape(struct scan *s, struct ptl_npy *a, struct ptl_error *err)
{
    if (!take(s, '('))
        return ptl_error_set(err, -EBADMSG, "npy: shape is not a tuple of whole numbers");
    while (!take(s, ')')) {
        if (a->ndim == PTL_NPY_MAX_DIMS)
            return ptl_error_set(err, -EBADMSG, "npy: more than %d dimensions", PTL_NPY_MAX_DIMS);
        if (take_dim(s, &a->shape[a->ndim]) < 0)
            return ptl_error_set(err, -EBADMSG, "npy: shape is not a tuple of whole numbers below 2^32");
        a->ndim++;
        if (!take(s, ',') && (s->p >= s->end || *s->p != ')'))
            return ptl_error_set(err, -EBADMSG, "npy: shape is not a tuple of whole numbers");
    }
    return 0;
}

static int dtype_from_descr(const char *descr, enum ptl_dtype *ret, struct ptl_error *err)
{
    if (descr[0] == '>')
        return ptl_error_set(err, -EBADMSG,
                             "npy: dtype '%s' is big endian; save it with a little-endian dtype", descr);
    for (size_t i = 0; (descr[0] == '<' || descr[0] == '|' || descr[0] == '=') && i < PTL_ARRAY_LEN(dtypes);
         i++)
        if (dtypes[i].descr[0] && strcmp(dtypes[i].descr, descr + 1) == 0) {
            *ret = (enum ptl_dtype)i;
            return 0;
        }
    return ptl_error_set(err, -EBADMSG,
                         "npy: dtype '%s' is not one of float16/32/64, int8..64, uint8..64, bool", descr);
}

static int parse_dict(struct scan *s, struct ptl_npy *a, bool *fortran, struct ptl_error *err)
{
    enum { HAVE_DESCR = 1, HAVE_ORDER = 2, HAVE_SHAPE = 4 };
    unsigned have = 0;
    char word[32];

    if (!take(s, '{'))
        return ptl_error_set(err, -EBADMSG, "npy: the header is not a dictionary");
    while (!take(s, '}')) {
        if (take_quoted(s, word, sizeof(word)) < 0 || !take(s, ':'))
            return ptl_error_set(err, -EBADMSG, "npy: the header is not a dictionary of plain keys");
        unsigned bit = strcmp(word, "descr") == 0           ? HAVE_DESCR
                       : strcmp(word, "fortran_order") == 0 ? HAVE_ORDER
                       : strcmp(word, "shape") == 0         ? HAVE_SHAPE
                                                            : 0;
        if (!bit || (have & bit))
            return ptl_error_set(err, -EBADMSG, "npy: header key '%s' is %s", word,
                                 bit ? "given twice" : "unknown");
        have |= bit;
        int r = 0;
        if (bit == HAVE_SHAPE) {
            r = take_shape(s, a, err);
        } else if (bit == HAVE_ORDER) {
            *fortran = take_word(s, "True");
            if (!*fortran && !take_word(s, "False"))
                r = ptl_error_set(err, -EBADMSG, "npy: fortran_order is neither True nor False");
        } else if (take_quoted(s, word, sizeof(word)) < 0) {
            r = ptl_error_set(err, -EBADMSG,
                              "npy: dtype is not a plain one (structured, object or too long)");
        } else {
            r = dtype_from_descr(word, &a->dtype, err);
        }
        if (r < 0)
            return r;
        skip_space(s);
        if (!take(s, ',') && (s->p >= s->end || *s->p != '}'))
            return ptl_error_set(err, -EBADMSG, "npy: the header's dictionary does not end");
    }
    if (have != (HAVE_DESCR | HAVE_ORDER | HAVE_SHAPE))
        return ptl_error_set(err, -EBADMSG, "npy: the header lacks descr, fortran_order or shape");
    skip_space(s);
    if (s->p != s->end)
        return ptl_error_set(err, -EBADMSG, "npy: text behind the header's dictionary");
    return 0;
}

static void set_strides(struct ptl_npy *a, bool fortran)
{
    uint64_t step = 1;
    for (unsigned k = 0; k < a->ndim; k++) {
        unsigned axis = fortran ? k : a->ndim - 1 - k;
        a->stride[axis] = step;
        step *= a->shape[axis];
    }
    a->contiguous = !fortran || a->ndim < 2;
}

int ptl_npy_parse(const void *bytes, size_t len, struct ptl_npy *ret, struct ptl_error *err)
{
    const unsigned char *b = bytes;
    if (len < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
        return ptl_error_set(err, -EBADMSG, "npy: not an .npy file (no \\x93NUMPY at its start, %zu bytes)",
                             len);
    if (b[6] < 1 || b[6] > 3)
        return ptl_error_set(err, -EBADMSG, "npy: format version %u.%u is not 1, 2 or 3", b[6], b[7]);
    size_t head = b[6] == 1 ? 10 : 12;
    if (len < head)
        return ptl_error_set(err, -EBADMSG, "npy: cut off inside the header");
    size_t text_len = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        text_len |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (text_len > PTL_NPY_MAX_HEADER || text_len > len - head)
        return ptl_error_set(err, -EBADMSG, "npy: header length %zu is more than the file or %d bytes",
                             text_len, PTL_NPY_MAX_HEADER);

    struct ptl_npy a = {0};
    bool fortran = false;
    struct scan s = {(const char *)b + head, (const char *)b + head + text_len};
    int r = parse_dict(&s, &a, &fortran, err);
    if (r < 0)
        return r;

    a.elements = 1;
    for (unsigned k = 0; k < a.ndim; k++)
        if (__builtin_mul_overflow(a.elements, a.shape[k], &a.elements) || a.elements > PTL_NPY_MAX_BYTES)
            return ptl_error_set(err, -EBADMSG, "npy: shape holds more than 2^32 elements");
    uint64_t want = a.elements * dtypes[a.dtype].size, hold = len - head - text_len;
    if (want != hold)
        return ptl_error_set(err, -EBADMSG,
                             "npy: shape and dtype ask for %" PRIu64 " bytes, the file holds %" PRIu64, want,
                             hold);
    set_strides(&a, fortran);
    a.data = b + head + text_len;
    *ret = a;
    return 0;
}

int ptl_npy_map(int fd, struct ptl_npy *ret, struct ptl_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "npy: fstat: %m");
    if (!S_ISREG(st.st_mode))
        return ptl_error_set(err, -EBADMSG, "npy: not a regular file");
    if (st.st_size == 0)
        return ptl_error_set(err, -EBADMSG, "npy: the file is empty");
    if ((uint64_t)st.st_size > PTL_NPY_MAX_BYTES)
        return ptl_error_set(err, -EFBIG, "npy: %jd bytes is above the limit of 4 GiB", (intmax_t)st.st_size);
    size_t len = (size_t)st.st_size;
    void *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return ptl_error_set(err, -errno, "npy: mmap of %zu bytes: %m", len);
    int r = ptl_npy_parse(map, len, ret, err);
    if (r < 0) {
        munmap(map, len);
        return r;
    }
    (void)madvise(map, len, MADV_SEQUENTIAL);
    ret->map = map;
    ret->map_len = len;
    return 0;
}

void ptl_npy_done(struct ptl_npy *a)
{
    if (a->map)
        munmap(a->map, a->map_len);
    *a = (struct ptl_npy){0};
}

bool ptl_npy_as_bfloat16(struct ptl_npy *a)
{
    if (a->dtype != PTL_DT_U16)
        return false;
    a->dtype = PTL_DT_BF16;
    return true;
}

struct ptl_npy ptl_npy_permuted(const struct ptl_npy *a, const unsigned *perm)
{
    struct ptl_npy v = *a;
    v.map = NULL;
    v.contiguous = false;
    for (unsigned k = 0; k < a->ndim; k++) {
        v.shape[k] = a->shape[perm[k]];
        v.stride[k] = a->stride[perm[k]];
    }
    return v;
}

struct ptl_npy ptl_npy_slice(const struct ptl_npy *a, unsigned axis, uint64_t i)
{
    struct ptl_npy v = *a;
    v.map = NULL;
    v.contiguous = false;
    v.data += i * a->stride[axis] * dtypes[a->dtype].size;
    v.shape[axis] = 1;
    v.elements = a->elements / a->shape[axis];
    return v;
}

/* ---- values ---- */

static double half_to_double(uint16_t h)
{
    unsigned exp = (h >> 10) & 31, frac = h & 1023;
    double v = exp == 31 ? (frac ? (double)NAN : (double)INFINITY)
               : exp     ? ldexp(1024 + frac, (int)exp - 25)
                         : ldexp(frac, -24);
    return h & 0x8000 ? -v : v;
}

#define LOAD(T, at)                                                                                          \
    __extension__({                                                                                          \
        T load_v_;                                                                                           \
        memcpy(&load_v_, (at), sizeof(load_v_));                                                             \
        load_v_;                                                                                             \
    })

static double decode(enum ptl_dtype t, const unsigned char *at)
{
    switch (t) {
    case PTL_DT_F16:
        return half_to_double(LOAD(uint16_t, at));
    case PTL_DT_BF16: {
        uint32_t bits = (uint32_t)LOAD(uint16_t, at) << 16;
        return (double)LOAD(float, &bits);
    }
    case PTL_DT_F32:
        return (double)LOAD(float, at);
    case PTL_DT_F64:
        return LOAD(double, at);
    case PTL_DT_I8:
        return LOAD(int8_t, at);
    case PTL_DT_I16:
        return LOAD(int16_t, at);
    case PTL_DT_I32:
        return LOAD(int32_t, at);
    case PTL_DT_I64:
        return (double)LOAD(int64_t, at);
    case PTL_DT_U8:
        return LOAD(uint8_t, at);
    case PTL_DT_U16:
        return LOAD(uint16_t, at);
    case PTL_DT_U32:
        return LOAD(uint32_t, at);
    case PTL_DT_U64:
        return (double)LOAD(uint64_t, at);
    case PTL_DT_BOOL:
        return *at != 0;
    }
    return (double)NAN;
}

void ptl_npy_read(const struct ptl_npy *a, uint64_t first, size_t n, double *ret)
{
    size_t size = dtypes[a->dtype].size;
    if (a->contiguous) {
        const unsigned char *at = a->data + first * size;
        if (a->dtype == PTL_DT_F32) /* nearly every array; lets the compiler unroll it */
            for (size_t i = 0; i < n; i++)
                ret[i] = (double)LOAD(float, at + 4 * i);
        else
            for (size_t i = 0; i < n; i++)
                ret[i] = decode(a->dtype, at + size * i);
        return;
    }
    uint64_t index[PTL_NPY_MAX_DIMS] = {0}, rest = first, at = 0;
    for (unsigned k = a->ndim; k-- > 0;) {
        index[k] = rest % a->shape[k];
        rest /= a->shape[k];
        at += index[k] * a->stride[k];
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = decode(a->dtype, a->data + at * size);
        for (unsigned k = a->ndim; k-- > 0;) { /* the next index, last axis fastest */
            at += a->stride[k];
            if (++index[k] < a->shape[k])
                break;
            at -= a->stride[k] * a->shape[k];
            index[k] = 0;
        }
    }
}

double ptl_npy_at(const struct ptl_npy *a, uint64_t pos)
{
    double v;
    ptl_npy_read(a, pos, 1, &v);
    return v;
}

void ptl_npy_shape_text(const struct ptl_npy *a, char *ret, size_t size)
{
    size_t at = (size_t)snprintf(ret, size, "[");
    for (unsigned k = 0; k < a->ndim && at < size; k++)
        at += (size_t)snprintf(ret + at, size - at, "%s%" PRIu64, k ? ", " : "", a->shape[k]);
    if (at < size)
        snprintf(ret + at, size - at, "]");
}
