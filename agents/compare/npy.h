/* npy.h - reading .npy arrays that somebody else wrote.
 * Versions 1 to 3 of the format, C and Fortran order, little endian; float16/32/64, int8..64, uint8..64,
 * bool. A header that promises more or less than the file holds is refused. Any thread; an open array is not
 * changed. */
#ifndef PTL_NPY_H
#define PTL_NPY_H
#include <portolan/base.h>

enum {
    PTL_NPY_MAX_DIMS = 16,
    PTL_NPY_MAX_HEADER = 64 * 1024, /* bytes of the header text; numpy itself warns above 10,000 */
};
#define PTL_NPY_MAX_BYTES ((uint64_t)4 << 30) /* one file; a golden set of a gigabyte is already unusual */

enum ptl_dtype {
    PTL_DT_F16,
    PTL_DT_F32,
    PTL_DT_F64,
    PTL_DT_BF16, /* never in a header: numpy has none, files say uint16; see ptl_npy_as_bfloat16() */
    PTL_DT_I8,
    PTL_DT_I16,
    PTL_DT_I32,
    PTL_DT_I64,
    PTL_DT_U8,
    PTL_DT_U16,
    PTL_DT_U32,
    PTL_DT_U64,
    PTL_DT_BOOL,
};
const char *ptl_dtype_name(enum ptl_dtype t); /* "float32"; static */
bool ptl_dtype_is_float(enum ptl_dtype t);
bool ptl_dtype_from_name(const char *name, enum ptl_dtype *ret); /* false: not one of ours */

/* An array: the bytes and how to walk them. Strides count elements, so an axis permutation is only another
 * order of shape and strides over the same bytes (ptl_npy_permuted()). */
struct ptl_npy {
    const unsigned char *data; /* first element */
    enum ptl_dtype dtype;
    unsigned ndim;
    uint64_t shape[PTL_NPY_MAX_DIMS];
    uint64_t stride[PTL_NPY_MAX_DIMS];
    uint64_t elements; /* product of shape; 1 for a scalar */
    bool contiguous;   /* strides are those of C order */
    void *map;         /* the mapped file, NULL when the bytes are the caller's or another array's */
    size_t map_len;
};

/* Reads the header of `len` bytes; *ret borrows them. -EBADMSG with a sentence when they are not an array we
 * read. */
PTL_NODISCARD int ptl_npy_parse(const void *bytes, size_t len, struct ptl_npy *ret, struct ptl_error *err);
/* Maps the open regular file `fd` (stays the caller's). -EBADMSG as above, -EFBIG above PTL_NPY_MAX_BYTES;
 * other codes are the system's. Release with ptl_npy_done(). */
PTL_NODISCARD int ptl_npy_map(int fd, struct ptl_npy *ret, struct ptl_error *err);
void ptl_npy_done(struct ptl_npy *a); /* zeroed or done structs are fine */

/* Turns a uint16 array into bfloat16; false when it is anything else. */
bool ptl_npy_as_bfloat16(struct ptl_npy *a);
/* The same bytes with axes in another order: axis k of the result is axis perm[k] of `a`. Borrows from `a`.
 */
struct ptl_npy ptl_npy_permuted(const struct ptl_npy *a, const unsigned *perm);
/* The slice index `i` of one axis, which stays as an axis of length 1. Borrows from `a`. */
struct ptl_npy ptl_npy_slice(const struct ptl_npy *a, unsigned axis, uint64_t i);
/* Elements first..first+n-1 in the C order of shape, as doubles (64-bit integers above 2^53 are rounded). */
void ptl_npy_read(const struct ptl_npy *a, uint64_t first, size_t n, double *ret);
/* The element at a C-order position. */
double ptl_npy_at(const struct ptl_npy *a, uint64_t pos);
/* "[32, 8, 8, 3]" */
void ptl_npy_shape_text(const struct ptl_npy *a, char *ret, size_t size);
#endif
