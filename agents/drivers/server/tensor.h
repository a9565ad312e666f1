/* tensor.h - golden inputs as a serving engine wants them, and its answers gathered into .npy files.
 * Axis 0 is the sample. Values go over JSON as text that reads back to the same bits. One thread. */
#ifndef PTL_DRIVER_TENSOR_H
#define PTL_DRIVER_TENSOR_H
#include <portolan/buf.h>
#include <portolan/json.h>
#include "../../compare/npy.h"

enum { PTL_TENSORS_MAX = 64, PTL_TENSOR_NAME = 128 };

struct ptl_tensor_in {
    char name[PTL_TENSOR_NAME]; /* in the golden set */
    char wire[PTL_TENSOR_NAME]; /* what the engine calls it */
    struct ptl_npy a;
    uint64_t sample_elements;
};
struct ptl_tensor_out {
    char name[PTL_TENSOR_NAME]; /* in outputs/got */
    enum ptl_dtype dtype;
    unsigned ndim; /* of one sample, without axis 0 */
    uint64_t shape[PTL_NPY_MAX_DIMS];
    uint64_t samples;
    struct ptl_buf bytes;
};
/* What one verify asks and gets. */
struct ptl_tensors {
    struct ptl_tensor_in in[PTL_TENSORS_MAX];
    size_t n_in;
    struct ptl_tensor_out out[PTL_TENSORS_MAX];
    size_t n_out;
    uint64_t samples;       /* of the golden set */
    json_t *golden_outputs; /* manifest's "outputs": names and dtypes */
    json_t *signature;      /* model/signature.json or NULL */
    json_t *warnings;       /* array of sentences */
};
/* Reads GOLDEN/manifest.json and its input arrays, and MODEL/signature.json when there is one. -EINVAL with
 * what is wrong. */
PTL_NODISCARD int ptl_tensors_load(const char *golden_dir, const char *model_dir, struct ptl_tensors *ret,
                                   struct ptl_error *err);
void ptl_tensors_done(struct ptl_tensors *t);
/* Sets each input's wire name: by signature.json, else by name, else by position (with a warning).
 * `engine_inputs` are the engine's own names (array of strings), NULL when it does not tell. -EINVAL when the
 * counts cannot fit. */
PTL_NODISCARD int ptl_tensors_map_inputs(struct ptl_tensors *t, const json_t *engine_inputs,
                                         struct ptl_error *err);
/* The golden name for an output that the engine calls `wire` (signature.json), else `wire`. Borrowed. */
const char *ptl_tensors_output_name(const struct ptl_tensors *t, const char *wire);

/* Appends values of samples first..first+count-1 (beyond the last: the last one again, to fill a fixed
 * batch): flat, or nested as the shape says, with or without axis 0. -EDOM when a value is not finite: JSON
 * has no words for those. */
PTL_NODISCARD int ptl_tensor_emit(struct ptl_buf *out, const struct ptl_tensor_in *in, uint64_t first,
                                  uint64_t count, bool nested, bool batch_axis, struct ptl_error *err);
/* The output of that (golden) name, made when new. NULL when there are too many. */
struct ptl_tensor_out *ptl_tensors_output(struct ptl_tensors *t, const char *name);
/* Appends `keep` samples out of an answer for `count`: `data` is flat or nested, `shape` (may be NULL: from
 * the nesting). null stands for NaN. -EPROTO when shape, nesting or dtype do not fit together or to the
 * answers before. */
PTL_NODISCARD int ptl_tensor_take(struct ptl_tensor_out *out, enum ptl_dtype dtype, const json_t *shape,
                                  const json_t *data, uint64_t count, uint64_t keep, struct ptl_error *err);
/* Writes DIR/<name>.npy for each output and returns manifest entries (array). */
PTL_NODISCARD int ptl_tensors_save(const struct ptl_tensors *t, const char *dir, json_t **ret_entries,
                                   struct ptl_error *err);
/* One .npy file, version 1, C order. */
PTL_NODISCARD int ptl_npy_write(const char *path, enum ptl_dtype dtype, unsigned ndim, const uint64_t *shape,
                                const void *data, size_t len, struct ptl_error *err);
/* Engines write NaN and Infinity bare, which is not JSON: those words outside of strings become null.
 * Caller's; may be NULL when it is not JSON for another reason (err). */
PTL_NODISCARD int ptl_answer_json(const char *text, size_t len, json_t **ret, struct ptl_error *err);
#endif
