/* planes.c - for each node a plane that parts its cases from all others (linear support vectors, one against
 * the rest, squared hinge loss) by dual coordinate descent: Hsieh et al., "A Dual Coordinate Descent Method
 * for Large-scale Linear SVM", ICML 2008, with its setting aside of what is settled. A walk in fixed order.
 */
#include "train-private.h"
#include <math.h>

enum { PASSES_MAX = 200 };
/* A plane stands when no multiplier would move by more than this. */
static const double TOLERANCE = 0.01;
/* From distances to log-probabilities: what made 834 unseen cases likeliest (mean -ln p at 2, 4, 5, 6,
 * 8: 1.51, .67, .57, .54, .58). */
static const double SHARPNESS = 6;

struct part {
    const struct row *row;
    int y;           /* 1: of the node, -1: not */
    double a, extra; /* the multiplier; 1 / (2 · cost of being on the wrong side) */
};

/* Who takes part where node k is parted from the others. A case whose expert would accept k too is on no
 * side. */
static size_t choose_parts(const struct trainer *t, int k, struct part *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct row *r = &t->rows[i];
        bool accepted = false;
        int here = t->platform[k], there = t->platform[r->label];
        for (int a = 0; a < ALSO_MAX && r->also[a] >= 0; a++)
            accepted = accepted || r->also[a] == k;
        if (accepted || !(r->weight > 0) || (here != OUTSIDE && there != OUTSIDE && there != here))
            continue;
        ret[n++] =
            (struct part){.row = r, .y = r->label == k ? 1 : -1, .extra = 1 / (2 * t->cost * r->weight)};
    }
    return n;
}

static double side_of(const struct row *r, const double *w, double b)
{
    double z = b;
    for (size_t j = 0; j < r->n; j++)
        z += w[r->at[j]] * (double)r->x[j];
    return z;
}

/* x · x, and 1 for the bias */
static double self_of(const struct row *r)
{
    double sum = 1;
    for (size_t j = 0; j < r->n; j++)
        sum += (double)r->x[j] * (double)r->x[j];
    return sum;
}

static void swap(struct part *a, struct part *b)
{
    struct part c = *a;
    *a = *b;
    *b = c;
}

/* w[n_feat] is zero before. Those that are far on their own side are set aside until the others are settled.
 */
static void part(struct part *v, size_t n, double *w, double *b)
{
    size_t active = n;
    double aside = INFINITY;
    uint32_t random = 2463534242u;
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        double most = -INFINITY, least = INFINITY;
        for (size_t s = 0; s + 1 < active; s++) {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            swap(&v[s], &v[s + random % (active - s)]);
        }
        for (size_t s = 0; s < active; s++) {
            struct part *p = &v[s];
            const struct row *r = p->row;
            double g = p->y * side_of(r, w, *b) - 1 + p->a * p->extra;
            if (p->a <= 0 && g > aside) {
                swap(&v[s--], &v[--active]);
                continue;
            }
            double pg = p->a <= 0 && g > 0 ? 0 : g;
            most = pg > most ? pg : most;
            least = pg < least ? pg : least;
            if (fabs(pg) < 1e-12)
                continue;
            double a = p->a - g / (self_of(r) + p->extra), d;
            a = a > 0 ? a : 0;
            d = (a - p->a) * p->y;
            p->a = a;
            *b += d;
            for (size_t j = 0; j < r->n; j++)
                w[r->at[j]] += d * (double)r->x[j];
        }
        if (active == 0 || most - least <= TOLERANCE) {
            if (active == n)
                return;
            active = n;
            aside = INFINITY;
        } else {
            aside = most > 0 ? most : INFINITY;
        }
    }
}

int kb_train_planes(const struct trainer *t, float *w, double *b)
{
    size_t C = (size_t)t->n_classes;
    struct part *v = malloc((t->n + 1) * sizeof(*v));
    double *one = malloc((t->n_feat + 1) * sizeof(*one));
    bool ok = v && one;
    for (int k = 0; ok && k < t->n_nodes; k++) {
        size_t n = choose_parts(t, k, v);
        memset(one, 0, (t->n_feat + 1) * sizeof(*one));
        part(v, n, one, &b[k]);
        for (size_t f = 0; f < t->n_feat; f++)
            w[f * C + (size_t)k] = (float)(SHARPNESS * one[f]);
        b[k] *= SHARPNESS;
    }
    free(v);
    free(one);
    return ok ? 0 : -ENOMEM;
}
