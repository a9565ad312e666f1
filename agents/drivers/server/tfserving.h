/* tfserving.h - TensorFlow Serving's REST API, row and column form. Used by protocol.c. */
#ifndef PTL_DRIVER_TFSERVING_H
#define PTL_DRIVER_TFSERVING_H
#include "protocol.h"

bool ptl_tf_is_ready(const char *body, size_t len);
PTL_NODISCARD int ptl_tf_metadata(const json_t *answer, const char *signature_name,
                                  struct ptl_serve_model *ret, struct ptl_error *err);
PTL_NODISCARD int ptl_tf_request(const struct ptl_serve_options *o, const struct ptl_tensors *t,
                                 uint64_t first, uint64_t count, struct ptl_buf *ret, struct ptl_error *err);
PTL_NODISCARD int ptl_tf_answer(const struct ptl_serve_model *model, const json_t *answer,
                                struct ptl_tensors *t, uint64_t count, uint64_t keep, struct ptl_error *err);
#endif
