/* oip.h - Open Inference Protocol v2 (KServe, Triton, MLServer). Used by protocol.c. */
#ifndef PTL_DRIVER_OIP_H
#define PTL_DRIVER_OIP_H
#include "protocol.h"

bool ptl_oip_dtype(const char *name, enum ptl_dtype *ret); /* "FP32" → PTL_DT_F32; false: BYTES or unknown */
const char *ptl_oip_dtype_name(enum ptl_dtype t);
PTL_NODISCARD int ptl_oip_metadata(const json_t *answer, struct ptl_serve_model *ret, struct ptl_error *err);
PTL_NODISCARD int ptl_oip_request(const struct ptl_tensors *t, uint64_t first, uint64_t count,
                                  struct ptl_buf *ret, struct ptl_error *err);
PTL_NODISCARD int ptl_oip_answer(const json_t *answer, struct ptl_tensors *t, uint64_t count, uint64_t keep,
                                 struct ptl_error *err);
#endif
