/* protocol.h - the two wire protocols of serving engines as pure functions: text out, JSON in. */
#ifndef PTL_DRIVER_PROTOCOL_H
#define PTL_DRIVER_PROTOCOL_H
#include "tensor.h"

enum ptl_serve_protocol { PTL_SERVE_OIP_V2, PTL_SERVE_TF };
enum ptl_tf_form { PTL_TF_ROW, PTL_TF_COLUMN };

struct ptl_serve_options {
    enum ptl_serve_protocol protocol;
    enum ptl_tf_form form;
    const char *model_name;
    const char *signature_name; /* TF Serving; NULL or "": the engine's default */
};
/* What the engine says of its model: names of inputs in order, dtypes of outputs, the fixed batch if any. */
struct ptl_serve_model {
    json_t *inputs;        /* array of strings; NULL: not told */
    json_t *output_dtypes; /* {engine name: "float32"} */
    uint64_t batch;        /* 0: free or not told */
};
void ptl_serve_model_done(struct ptl_serve_model *m);

/* Path of the call for metadata, and of the one for inference. Caller frees. */
char *ptl_serve_metadata_path(const struct ptl_serve_options *o);
char *ptl_serve_infer_path(const struct ptl_serve_options *o);
/* Reads the metadata answer. -EPROTO: not understood (the caller goes on without). */
PTL_NODISCARD int ptl_serve_metadata(const struct ptl_serve_options *o, const json_t *answer,
                                     struct ptl_serve_model *ret, struct ptl_error *err);
/* Is the body of a 200 to the ready call really "ready"? (TF Serving answers 200 while the model is loading.)
 */
bool ptl_serve_is_ready(const struct ptl_serve_options *o, const char *body, size_t len);
/* Body of one inference over samples first..first+count-1. */
PTL_NODISCARD int ptl_serve_request(const struct ptl_serve_options *o, const struct ptl_tensors *t,
                                    uint64_t first, uint64_t count, struct ptl_buf *ret,
                                    struct ptl_error *err);
/* Takes the first `keep` samples of an answer to `count` into t->out. -EPROTO with what does not fit. */
PTL_NODISCARD int ptl_serve_answer(const struct ptl_serve_options *o, const struct ptl_serve_model *model,
                                   const json_t *answer, struct ptl_tensors *t, uint64_t count, uint64_t keep,
                                   struct ptl_error *err);
/* The engine's own words out of an error body ({"error": "…"}), else the body's beginning; one line, bounded.
 */
void ptl_serve_error_text(const char *body, size_t len, char *ret, size_t size);
#endif
