/* train-private.h - what the files of training share: train.c makes rows of kept features of the cases and
 * writes the file; logit.c, planes.c and lowrank.c make weights of the rows, each in its own way. */
#ifndef PTL_KB_TRAIN_PRIVATE_H
#define PTL_KB_TRAIN_PRIVATE_H
#include "model.h"

enum { ALSO_MAX = 4 };
struct row {            /* a case in kept features, of length 1 at most */
    const uint32_t *at; /* ascending */
    const float *x;
    size_t n;
    double weight;
    int label, also[ALSO_MAX]; /* nodes; -1: none */
};
struct trainer {
    const struct ptl_kb_case *cases;
    size_t n;
    double cost;  /* of a case on the wrong side of a plane */
    char **names; /* of classes: nodes first, then kinds and categories */
    int n_nodes, n_classes;
    int *kind;      /* node -> class of its kind */
    int *category;  /* node -> class of its category, -1: none */
    int *platform;  /* node -> number of its first word; OUTSIDE: of no platform */
    uint32_t *hash; /* kept features, ascending */
    float *idf;
    size_t n_feat;
    uint32_t *at; /* of all rows */
    float *x;
    struct row *rows; /* one a case */
};
enum { OUTSIDE = 3 };

/* Weights [feature][class] and biases, both zero before: their scores are log-probabilities but for a
 * constant. *t is only read: all may run at once. -ENOMEM. */
PTL_NODISCARD int kb_train_logit(const struct trainer *t, float *w, double *b);
PTL_NODISCARD int kb_train_planes(const struct trainer *t, float *w, double *b);
PTL_NODISCARD int kb_train_lowrank(const struct trainer *t, float *w, double *b);
#endif
