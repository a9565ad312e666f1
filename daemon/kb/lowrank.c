/* lowrank.c - softmax regression whose weights are a product, words × RANK times RANK × nodes: what is
 * learned of one node's words serves all nodes that lie the same way, so that rare words are not learned by
 * heart. A part of the words and of the RANK is left out at random at each look (Srivastava et al., JMLR 15,
 * 2014); steps as in Adam (Kingma and Ba, ICLR 2015), a word's only when it is seen. In the end the product
 * is multiplied out: whoever uses the model sees weights as of any linear learner. A walk in fixed order. */
#include "train-private.h"
#include <math.h>

enum { RANK = 128, BATCH = 256, EPOCHS = 8, STEPS_MIN = 2000 };
static const float RATE = 2e-3f, RATE_LEAST = 0.02f, /* of RATE, at the end */
    FIRST = 0.9f, SECOND = 0.999f,                   /* what Adam's means keep of the past */
    DROP_WORDS = 0.3f, DROP_RANK = 0.4f;
/* What an answer that an expert would accept too has of the whole. */
static const float ALSO_SHARE = 0.25f;
/* How far the first numbers are spread: words', and nodes'. */
static const float SPREAD_WORDS = 0.0866f, SPREAD_NODES = 0.0884f;

/* n vectors that are learned, `width` numbers each. */
struct learned {
    size_t n, width;
    float *value, *slope, *mean, *square; /* slope: of this batch; mean, square: Adam's */
    bool *touched;                        /* has a slope */
    uint32_t *list;                       /* those touched */
    size_t n_touched;
};
struct state {
    const struct trainer *t;
    struct learned words, nodes; /* a node's last number is its bias */
    uint32_t random;
    uint32_t *order; /* of rows */
    float step;      /* RATE as it is now, Adam's corrections in it */
};

static uint32_t next_random(struct state *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 17;
    s->random ^= s->random << 5;
    return s->random;
}

/* 0 .. 1 */
static float next_share(struct state *s)
{
    return (float)(next_random(s) >> 8) / 16777216.0f;
}

static bool learned_init(struct state *s, struct learned *l, size_t n, size_t width, float spread)
{
    size_t all = n * width + 1;
    *l = (struct learned){.n = n,
                          .width = width,
                          .value = calloc(all, sizeof(float)),
                          .slope = calloc(all, sizeof(float)),
                          .mean = calloc(all, sizeof(float)),
                          .square = calloc(all, sizeof(float)),
                          .touched = calloc(n + 1, sizeof(bool)),
                          .list = calloc(n + 1, sizeof(uint32_t))};
    if (!l->value || !l->slope || !l->mean || !l->square || !l->touched || !l->list)
        return false;
    for (size_t i = 0; i < n * width; i++)
        l->value[i] = (2 * next_share(s) - 1) * spread;
    return true;
}

static void learned_done(struct learned *l)
{
    free(l->value);
    free(l->slope);
    free(l->mean);
    free(l->square);
    free(l->touched);
    free(l->list);
}

static float *slope_of(struct learned *l, size_t i)
{
    if (!l->touched[i]) {
        l->touched[i] = true;
        l->list[l->n_touched++] = (uint32_t)i;
    }
    return l->slope + i * l->width;
}

static void learned_step(struct learned *l, float step)
{
    for (size_t k = 0; k < l->n_touched; k++) {
        size_t at = l->list[k] * l->width;
        float *restrict v = l->value + at, *restrict g = l->slope + at, *restrict m = l->mean + at,
                        *restrict q = l->square + at;
        for (size_t i = 0; i < l->width; i++) {
            m[i] = FIRST * m[i] + (1 - FIRST) * g[i];
            q[i] = SECOND * q[i] + (1 - SECOND) * g[i] * g[i];
            v[i] -= step * m[i] / (sqrtf(q[i]) + 1e-8f);
            g[i] = 0;
        }
        l->touched[l->list[k]] = false;
    }
    l->n_touched = 0;
}

/* In z the scores of all nodes, out how far each one's probability is from the wanted one, times the row's
 * weight. Only what competes with the row's label has any. */
static void differences(const struct trainer *t, const struct row *r, float *z)
{
    int platform = t->platform[r->label];
    float top = -INFINITY, sum = 0;
    bool in[PTL_KB_CLASSES_MAX];
    for (int i = 0; i < t->n_nodes; i++) {
        in[i] = platform == OUTSIDE || t->platform[i] == OUTSIDE || t->platform[i] == platform;
        top = in[i] && z[i] > top ? z[i] : top;
    }
    for (int i = 0; i < t->n_nodes; i++)
        sum += z[i] = in[i] ? expf(z[i] - top) : 0;
    for (int i = 0; i < t->n_nodes; i++)
        z[i] /= sum;
    z[r->label] -= 1;
    for (int a = 0; a < ALSO_MAX && r->also[a] >= 0; a++) {
        z[r->also[a]] -= ALSO_SHARE;
        z[r->label] += ALSO_SHARE;
    }
    for (int i = 0; i < t->n_nodes; i++)
        z[i] *= (float)r->weight;
}

static void look(struct state *s, const struct row *r, float *kept_words, float share)
{
    float h[RANK] = {0}, back[RANK] = {0}, kept[RANK], z[PTL_KB_CLASSES_MAX];
    for (size_t j = 0; j < r->n; j++) {
        const float *restrict e = s->words.value + (size_t)r->at[j] * RANK;
        float x = kept_words[j] = next_share(s) < DROP_WORDS ? 0 : r->x[j] / (1 - DROP_WORDS);
        for (int i = 0; x != 0 && i < RANK; i++)
            h[i] += x * e[i];
    }
    for (int i = 0; i < RANK; i++)
        h[i] *= kept[i] = next_share(s) < DROP_RANK ? 0 : 1 / (1 - DROP_RANK);
    for (int k = 0; k < s->t->n_nodes; k++) {
        const float *restrict o = s->nodes.value + (size_t)k * (RANK + 1);
        z[k] = o[RANK];
        for (int i = 0; i < RANK; i++)
            z[k] += o[i] * h[i];
    }
    differences(s->t, r, z);
    for (int k = 0; k < s->t->n_nodes; k++) {
        if (z[k] == 0)
            continue;
        const float *restrict o = s->nodes.value + (size_t)k * (RANK + 1);
        float *restrict g = slope_of(&s->nodes, (size_t)k), d = z[k] * share;
        for (int i = 0; i < RANK; i++) {
            g[i] += d * h[i];
            back[i] += d * o[i];
        }
        g[RANK] += d;
    }
    for (int i = 0; i < RANK; i++)
        back[i] *= kept[i];
    for (size_t j = 0; j < r->n; j++) {
        if (kept_words[j] == 0)
            continue;
        float *restrict g = slope_of(&s->words, r->at[j]), x = kept_words[j];
        for (int i = 0; i < RANK; i++)
            g[i] += x * back[i];
    }
}

static void shuffle(struct state *s)
{
    for (size_t n = s->t->n; n > 1; n--) {
        size_t k = next_random(s) % n;
        uint32_t keep = s->order[n - 1];
        s->order[n - 1] = s->order[k];
        s->order[k] = keep;
    }
}

static void learn(struct state *s, float *kept_words)
{
    size_t n = s->t->n, batch = n < BATCH ? n : BATCH, done = n;
    size_t steps = EPOCHS * ((n + batch - 1) / batch);
    steps = steps > STEPS_MIN ? steps : STEPS_MIN;
    for (size_t k = 0; k < steps; k++) {
        if (done >= n) {
            shuffle(s);
            done = 0;
        }
        size_t end = n - done < batch ? n : done + batch;
        float share = 1 / (float)(end - done), left = 1 - (float)k / (float)steps;
        for (; done < end; done++)
            look(s, &s->t->rows[s->order[done]], kept_words, share);
        left = left > RATE_LEAST ? left : RATE_LEAST;
        s->step = RATE * left * sqrtf(1 - powf(SECOND, (float)(k + 1))) / (1 - powf(FIRST, (float)(k + 1)));
        learned_step(&s->words, s->step);
        learned_step(&s->nodes, s->step);
    }
}

static void multiply_out(const struct state *s, float *w, double *b)
{
    size_t C = (size_t)s->t->n_classes;
    for (size_t k = 0; k < s->nodes.n; k++)
        b[k] = (double)s->nodes.value[k * (RANK + 1) + RANK];
    for (size_t f = 0; f < s->words.n; f++)
        for (size_t k = 0; k < s->nodes.n; k++) {
            const float *e = s->words.value + f * RANK, *o = s->nodes.value + k * (RANK + 1);
            float sum = 0;
            for (int i = 0; i < RANK; i++)
                sum += e[i] * o[i];
            w[f * C + k] = sum;
        }
}

int kb_train_lowrank(const struct trainer *t, float *w, double *b)
{
    struct state s = {.t = t, .random = 2463534242u, .order = calloc(t->n + 1, sizeof(uint32_t))};
    size_t most = 0;
    for (size_t i = 0; i < t->n; i++)
        most = t->rows[i].n > most ? t->rows[i].n : most;
    float *kept_words = calloc(most + 1, sizeof(*kept_words));
    bool ok = s.order && kept_words && learned_init(&s, &s.words, t->n_feat, RANK, SPREAD_WORDS);
    ok = ok && learned_init(&s, &s.nodes, (size_t)t->n_nodes, RANK + 1, SPREAD_NODES);
    for (size_t i = 0; ok && i < t->n; i++)
        s.order[i] = (uint32_t)i;
    if (ok) {
        learn(&s, kept_words);
        multiply_out(&s, w, b);
    }
    learned_done(&s.words);
    learned_done(&s.nodes);
    free(s.order);
    free(kept_words);
    return ok ? 0 : -ENOMEM;
}
