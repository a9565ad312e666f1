/* fuzz_npy.c - the .npy reader on any bytes: what it accepts must be readable to the last element, in every
 * order. */
#include "npy.h"
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile double sink; /* keeps the reads */

static void read_all(const struct ptl_npy *a)
{
    double run[100];
    uint64_t end = a->elements < 20000 ? a->elements : 20000;
    for (uint64_t at = 0; at < end;) {
        size_t n = end - at < 100 ? (size_t)(end - at) : 100;
        ptl_npy_read(a, at, n, run);
        sink = run[n - 1];
        at += n;
    }
    if (a->elements)
        sink = ptl_npy_at(a, a->elements - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ptl_npy a = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    char text[64];
    int r = ptl_npy_parse(data, size, &a, &err);
    if (r < 0) {
        if (!err.text[0] || a.data)
            abort(); /* a failure says why and touches nothing */
        return 0;
    }
    (void)ptl_npy_as_bfloat16(&a);
    ptl_npy_shape_text(&a, text, sizeof(text));
    read_all(&a);
    unsigned reversed[PTL_NPY_MAX_DIMS];
    for (unsigned k = 0; k < a.ndim; k++)
        reversed[k] = a.ndim - 1 - k;
    struct ptl_npy turned = ptl_npy_permuted(&a, reversed);
    read_all(&turned);
    if (a.elements && a.ndim) {
        struct ptl_npy slice = ptl_npy_slice(&a, 0, a.shape[0] - 1);
        read_all(&slice);
    }
    ptl_npy_done(&a);
    return 0;
}
