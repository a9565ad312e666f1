/* preflight-private.h - what the rules share: the question, the answer being gathered, and the facts tables.
 */
#ifndef PTL_PREFLIGHT_PRIVATE_H
#define PTL_PREFLIGHT_PRIVATE_H
#include <portolan/model.h>
#include <portolan/preflight.h>

/* What a challenge is called on each platform. */
enum kind {
    KIND_UNSUPPORTED,
    KIND_REGISTER,
    KIND_VERSION,
    KIND_SHAPE,
    KIND_DTYPE,
    KIND_INFORMATION,
    KIND_LOADING,
    KIND_SHARDS,
    KIND_QUANTIZATION,
    KIND_PREPROCESSING,
    KIND_LIMITS,
    KIND_SAVING,
    KIND_SECURITY,
    KIND_PROCEDURE,
    KIND_SPEED,
    KIND_COUNT
};
enum severity { SEV_ERROR, SEV_WARNING, SEV_NOTE };
enum platform { ON_SERVER, ON_MOBILE, ON_BROWSER };

struct trait { /* what a shipped recipe takes and runs on; recipes of others are not judged */
    const char *uses, *toolchain;
    const char *runtime;  /* the package whose version decides; NULL: none */
    const char *formats;  /* "onnx ort", what it reads */
    enum platform on;     /* of a verify; a convert's is that of its target */
    int base_mib, copies; /* of a verify; base 0: a convert or export */
};
const struct trait *trait_of(const char *uses);

struct check {
    const struct ptl_preflight_input *in;
    json_t *findings, *memory, *cuts, *takes;
    size_t named;        /* operators in `takes` */
    json_t *unsupported; /* of the model and stage looked at: operators that it cannot have there */
};
struct place {
    const json_t *stage; /* of the plan; NULL: the repository itself */
    const json_t *model; /* facts; NULL: none */
    enum platform on;
    const struct trait *trait; /* NULL: not a shipped recipe */
};
void emit(struct check *c, const char *rule, enum severity s, enum kind kind, const struct place *at,
          const char *remedy, const char *fmt, ...) PTL_PRINTF(7, 8);
const char *challenge_of(enum kind kind, enum platform on);
/* Version of the runtime that this stage will meet; NULL: unknown. */
const char *runtime_version(const struct check *c, const struct trait *t);
const json_t *with_of(const struct place *at, const char *key);
const char *with_text(const struct place *at, const char *key, const char *dflt);
/* Compares as numbers part by part: <0, 0, >0. */
int version_compare(const char *a, const char *b);

/* ops.c: what converters and runtimes know, read from the real ones (lib/preflight/ops/make_*.py). */
bool ops_tfjs_knows(const char *tf_op);
/* 'b' a builtin of TFLite, 'f' only with Select TF ops, 'c' neither, 0 not known here. */
char ops_tflite_has(const char *tf_op);
/* The highest operator set and format that ONNX Runtime `version` surely reads, and the highest it can at
 * all; false: unknown. */
struct onnx_limits {
    int opset_sure, opset_most, ir_sure, ir_most;
};
bool ops_onnx_limits(const char *version, struct onnx_limits *ret);

void check_files(struct check *c); /* files.c: models and scripts of the source, pins, pre-processing */
void check_consumer(struct check *c, const struct place *at); /* stages.c: this model into this stage */
void check_plan(struct check *c); /* stages.c: what the plan says without any model */
#endif
