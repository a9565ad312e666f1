/* preflight.h - what a repository, a plan and the models in them already say about stages that have not run:
 * cheap static checks, each naming the challenge it would end in, and how much memory a target will want. No
 * framework, no network; reads files below one directory. Findings never decide a run; they are shown before
 * it, and they move its risk. Any thread; blocking. */
#ifndef PORTOLAN_PREFLIGHT_H
#define PORTOLAN_PREFLIGHT_H
#include <portolan/base.h>
#include <portolan/json.h>

enum {
    PTL_PREFLIGHT_MAX = 200,           /* findings of one call; pairs of model and stage */
    PTL_PREFLIGHT_OPERATORS_MAX = 400, /* distinct operators of one model that are named in "takes" */
    PTL_PREFLIGHT_NAMED_MAX = 10000    /* and of all of them */
};

struct ptl_preflight_input {
    const char *dir;      /* the source snapshot, or the artifacts of one stage */
    const json_t *plan;   /* as ptl_spec_plan() gives it */
    const json_t *models; /* of `dir`, as ptl_model_find() gives them */
    const char *stage; /* NULL: `dir` is the source. Else the stage that made these models: who takes them is
                          checked */
    const json_t *toolchains; /* {"onnxruntime":{"onnxruntime":"1.32.0",…}…}: the oldest versions that agents
                                 have; NULL: unknown, and nothing that needs them is said */
    const json_t *agents;     /* [{"hosts":[…],"memory_bytes":n}…]; NULL: unknown */
};

/* 0 and *ret (caller's):
 * {"findings":[{"rule","severity":"error|warning|note","challenge_id","target"|null,"stage"|null,"path"|null,"message","remedy"}…
 *              errors first, then by place],
 *  "memory":[{"target","stage","path","estimate_bytes","limit_bytes"|null,"terms":[{"name","bytes","why"}…]}…],
 *  "models":[{"path","format","size_bytes","ops_total"…}…]   (what was looked at, shortened),
 *  "cuts":["what was not looked at"…],
 *  "takes":[{"stage","target"|null,"path","ops":["Conv2D"…],"unsupported":["Dilation2D"…]}…]   (which model
 * a stage is given, what is in it, and what of that the target surely lacks)}
 * error: this stage will fail so; warning: it will unless something is known that is not in the files; note:
 * worth knowing. Negative with err for I/O and -ENOMEM. */
PTL_NODISCARD int ptl_preflight(const struct ptl_preflight_input *in, json_t **ret, struct ptl_error *err);

/* Every rule, for help and tests: {"id","title"} each. Static. */
struct ptl_preflight_rule {
    const char *id, *title;
};
extern const struct ptl_preflight_rule ptl_preflight_rules[];
extern const size_t ptl_preflight_rules_count;

/* `agents`: [{"toolchains":{"onnxruntime":{"onnxruntime":"1.32.0"}}}…] -> ptl_preflight_input.toolchains: of
 * each package the oldest version that an agent has, because any of them may get the stage. New reference; no
 * I/O. */
json_t *ptl_preflight_toolchains(const json_t *agents);

/* How much memory verifying this model takes: base of the runtime, copies of the weights, and what flows
 * between for `batch` samples:
 *
 *   estimate = base(recipe) + copies(recipe) * weights_bytes + batch * activations_bytes
 *
 * The bases are the peaks of verifying models of 100 KiB (what `portolan exec deploy/examples/digits-keras`
 * and digits-pytorch print); litertjs/run's is taken to be onnxruntime-web's. A copy of the weights is the
 * file as read, or the tensors made of it. GET /api/v1/runs/{id}/preflight shows estimates beside what runs
 * then took. False: nothing is known of this recipe, or the numbers do not fit. *ret_terms (may be NULL) is
 * the caller's. */
bool ptl_preflight_memory(const char *recipe, const json_t *model, int64_t batch, int64_t *ret_bytes,
                          json_t **ret_terms);
#endif
