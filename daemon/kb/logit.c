/* logit.c - multinomial logistic regression where the score of a node is that of its own class plus that of
 * its kind, so that what is known of one platform serves the others, plus that of its category, so that a
 * rare leaf has its siblings' words. Adagrad (Duchi et al., JMLR 12, 2011) in a fixed order. */
#include "train-private.h"
#include <math.h>

enum { EPOCHS = 15 };
static const float RATE = 0.35f, DECAY = 3e-4f;
/* What an answer that an expert would accept too has of the whole. */
static const double ALSO_SHARE = 0.25;

struct state {
    float *w, *g; /* [feature][class] weights, sums of squared gradients */
    float b[PTL_KB_CLASSES_MAX], gb[PTL_KB_CLASSES_MAX];
};

static void step(float *w, float *g, float gradient)
{
    *g += gradient * gradient;
    *w -= RATE * gradient / sqrtf(*g + 1e-6f);
}

/* How far the answer is from the wanted one, by class. Returns the classes that differ by more than nothing,
 * in *ret_active. */
static int differences(const struct trainer *t, const struct row *r, const float *z, float *d,
                       int *ret_active)
{
    int platform = t->platform[r->label], n = 0;
    double p[PTL_KB_CLASSES_MAX], top = -1e30, sum = 0, share[PTL_KB_CLASSES_MAX] = {0};
    share[r->label] = 1;
    for (int i = 0; i < ALSO_MAX && r->also[i] >= 0; i++) {
        share[r->also[i]] = ALSO_SHARE;
        share[r->label] -= ALSO_SHARE;
    }
    for (int i = 0; i < t->n_nodes; i++) {
        /* An outside case does not tell its platform: every node competes. */
        bool in = platform == OUTSIDE || t->platform[i] == OUTSIDE || t->platform[i] == platform;
        double shared = (double)z[t->kind[i]] + (t->category[i] >= 0 ? (double)z[t->category[i]] : 0);
        p[i] = in ? (double)z[i] + shared : -1e30;
        top = p[i] > top ? p[i] : top;
    }
    for (int i = 0; i < t->n_nodes; i++)
        sum += p[i] = exp(p[i] - top);
    for (int i = 0; i < t->n_nodes; i++) {
        float e = (float)((p[i] / sum - share[i]) * r->weight);
        d[i] += e;
        d[t->kind[i]] += e;
        if (t->category[i] >= 0)
            d[t->category[i]] += e;
    }
    for (int i = 0; i < t->n_classes; i++)
        if (fabsf(d[i]) >= 1e-3f)
            ret_active[n++] = i;
    return n;
}

static void learn(const struct trainer *t, struct state *s, const struct row *r)
{
    size_t C = (size_t)t->n_classes;
    float z[PTL_KB_CLASSES_MAX], d[PTL_KB_CLASSES_MAX] = {0};
    int active[PTL_KB_CLASSES_MAX];
    memcpy(z, s->b, C * sizeof(*z));
    for (size_t k = 0; k < r->n; k++) {
        const float *w = s->w + r->at[k] * C, f = r->x[k];
        for (size_t i = 0; i < C; i++)
            z[i] += f * w[i];
    }
    int m = differences(t, r, z, d, active);
    for (int j = 0; j < m; j++)
        step(&s->b[active[j]], &s->gb[active[j]], d[active[j]]);
    for (size_t k = 0; k < r->n; k++) {
        float *w = s->w + r->at[k] * C, *g = s->g + r->at[k] * C, f = r->x[k];
        for (int j = 0; j < m; j++)
            step(&w[active[j]], &g[active[j]], d[active[j]] * f + DECAY * w[active[j]]);
    }
}

int kb_train_logit(const struct trainer *t, float *w, double *b)
{
    struct state s = {.w = w, .g = calloc(t->n_feat * (size_t)t->n_classes + 1, sizeof(float))};
    if (!s.g)
        return -ENOMEM;
    for (int e = 0; e < EPOCHS; e++)
        for (size_t k = 0; k < t->n; k++) /* a fixed walk that differs from epoch to epoch */
            learn(t, &s, &t->rows[(k * 7919 + (size_t)e * 104729) % t->n]);
    for (int i = 0; i < t->n_classes; i++)
        b[i] = (double)s.b[i];
    free(s.g);
    return 0;
}
