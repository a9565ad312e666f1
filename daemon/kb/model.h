/* model.h - a small linear model over hashed words: what labelled cases taught, where no indicator speaks.
 * Its weights are data, made by `portolan-kb train`. A read model is never changed, but for bind(): any
 * thread. */
#ifndef PTL_KB_MODEL_H
#define PTL_KB_MODEL_H
#include <portolan/json.h>

/* ---- features: hash of a word or pair -> weight; the same in training and use */
struct ptl_kb_feature {
    uint32_t hash;
    float value;
};
struct ptl_kb_features {
    struct ptl_kb_feature *v; /* open addressing, hash 0: free */
    size_t n, cap;
    bool failed; /* out of memory, or more than PTL_KB_FEATURES_MAX: the rest was left out */
};
enum {
    PTL_KB_FEATURES_MAX = 60000,
    PTL_KB_CLASSES_MAX = 250,
    /* Added to the squared length of a text before it is brought to length 1: a few harmless words stay small
     * (one rare word of an error line weighs about 30). */
    PTL_KB_FEATURES_FLOOR = 100
};
void ptl_kb_features_done(struct ptl_kb_features *f);
/* The words and pairs of neighbouring words of a clean line. `prefix` keeps kinds of lines apart ("" for the
 * log). */
void ptl_kb_features_add(struct ptl_kb_features *f, const char *prefix, const char *line, size_t len,
                         double weight);
/* Packs v[0..n) in order of hash and dampens counts; no adding after it. */
void ptl_kb_features_finish(struct ptl_kb_features *f);

/* ---- use */
struct ptl_kb_model;
/* -EINVAL: not such a file, damaged, or with numbers that would make no score. `what` names the file in the
 * error (NULL: nothing does). */
PTL_NODISCARD int ptl_kb_model_new(const void *data, size_t len, const char *what, struct ptl_kb_model **ret,
                                   struct ptl_error *err);
struct ptl_kb_model *ptl_kb_model_free(struct ptl_kb_model *m);
/* Once, before use: classes to the nodes of an index (id -> number). Classes of nodes that are not there are
 * left out; a class "kind:X" stands for every node whose kind is X, "category:X" for every leaf of X. */
PTL_NODISCARD int ptl_kb_model_bind(struct ptl_kb_model *m, const json_t *node_index, struct ptl_error *err);
/* Adds the score of each node (a log-probability but for a constant) to ret[node]; nodes that no class speaks
 * of get the least score of those that one speaks of. Returns the squared length of what
 * it knows of the text: below PTL_KB_FEATURES_FLOOR that is next to nothing. */
double ptl_kb_model_score(const struct ptl_kb_model *m, const struct ptl_kb_features *f, double *ret,
                          int n_nodes);
/* "mobile/model-conversion/conversion-of-unsupported-models" -> "unsupported-models": what nodes of different
 * platforms have in common. */
void ptl_kb_kind(const char *node, char ret[100]);
/* "mobile/model-conversion/conversion-of-unsupported-models" -> "mobile/model-conversion": what the leaves of
 * one category have in common; "" where a node is none of several. */
void ptl_kb_category(const char *node, char ret[100]);

/* ---- making one (train.c) */
enum { PTL_KB_MODEL_SEAL = 72 };
/* What a file begins with whose other bytes are `rest`: what it is, and their digest. */
void ptl_kb_model_seal(const void *rest, size_t len, char ret[PTL_KB_MODEL_SEAL]);
/* Numbers that reading accepts. */
bool ptl_kb_model_is_sane(double scale, const double *bias, size_t n);
struct ptl_kb_case {
    const char *label; /* borrowed */
    const char *alternatives[4];
    double weight;
    struct ptl_kb_features f; /* finished */
};
struct ptl_kb_train_options {
    double cost;   /* of a case on the wrong side; 0: default */
    int min_cases; /* a word counts when it is in so many cases; 0: default */
    int prune;     /* weights below so many units (of 127) are left out; 0: default */
};
/* Deterministic: same cases in the same order, same bytes. Caller frees *ret. */
PTL_NODISCARD int ptl_kb_train(const struct ptl_kb_case *cases, size_t n,
                               const struct ptl_kb_train_options *o, void **ret, size_t *ret_len,
                               struct ptl_error *err);
#endif
