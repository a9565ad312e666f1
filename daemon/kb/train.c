/* train.c - makes the text model: multinomial logistic regression over the hashed words of labelled cases,
 * where the score of a node is that of its own class plus that of its kind, so that what is known of one
 * platform serves the others, plus that of its category, so that a rare leaf has its siblings' words. Only
 * nodes of the case's platform and what is outside of all platforms compete. Adagrad in a fixed order: the
 * same cases give the same bytes. */
#include "model.h"
#include <math.h>
#include <portolan/buf.h>

struct trainer {
    const struct ptl_kb_case *cases;
    size_t n;
    char **names; /* classes: nodes first, then kinds and categories */
    int n_nodes, n_classes;
    int *kind;      /* node class -> kind class */
    int *category;  /* node class -> category class, -1: none */
    int *platform;  /* node class -> number of its first word */
    uint32_t *hash; /* kept features, ascending */
    float *idf;
    size_t n_feat;
    float *w, *g; /* [feature][class] weights and sums of squared gradients */
    float *b, *gb;
};

static int find_name(char **names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static int add_name(struct trainer *t, const char *name)
{
    int i = find_name(t->names, t->n_classes, name);
    if (i >= 0)
        return i;
    if (t->n_classes == PTL_KB_CLASSES_MAX)
        return -1;
    t->names[t->n_classes] = ptl_xstrdup(name);
    return t->n_classes++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int platform_of(const char *id)
{
    static const char *const names[] = {"server/", "mobile/", "browser/"};
    for (int i = 0; i < 3; i++)
        if (ptl_str_starts(id, names[i]))
            return i;
    return 3;
}

static int make_classes(struct trainer *t, struct ptl_error *err)
{
    t->names = ptl_xcalloc(PTL_KB_CLASSES_MAX + 1, sizeof(*t->names));
    for (size_t i = 0; i < t->n; i++)
        if (add_name(t, t->cases[i].label) < 0)
            return ptl_error_set(err, -E2BIG, "training: more than %d classes", PTL_KB_CLASSES_MAX);
    t->n_nodes = t->n_classes;
    qsort(t->names, (size_t)t->n_nodes, sizeof(*t->names), by_name);
    t->kind = ptl_xcalloc((size_t)t->n_nodes, sizeof(int));
    t->category = ptl_xcalloc((size_t)t->n_nodes, sizeof(int));
    t->platform = ptl_xcalloc((size_t)t->n_nodes, sizeof(int));
    for (int i = 0; i < t->n_nodes; i++) {
        char kind[100], category[100];
        ptl_kb_kind(t->names[i], kind);
        ptl_kb_category(t->names[i], category);
        PTL_FREE char *kind_name = ptl_xasprintf("kind:%s", kind);
        PTL_FREE char *category_name = ptl_xasprintf("category:%s", category);
        t->platform[i] = platform_of(t->names[i]);
        t->kind[i] = add_name(t, kind_name);
        t->category[i] = category[0] ? add_name(t, category_name) : -1;
        if (t->kind[i] < 0 || (category[0] && t->category[i] < 0))
            return ptl_error_set(err, -E2BIG, "training: more than %d classes", PTL_KB_CLASSES_MAX);
    }
    return 0;
}

static int by_hash(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int choose_features(struct trainer *t, int min_cases, struct ptl_error *err)
{
    size_t total = 0, k = 0;
    for (size_t i = 0; i < t->n; i++)
        total += t->cases[i].f.n;
    uint32_t *all = malloc((total + 1) * sizeof(*all));
    t->hash = malloc((total + 1) * sizeof(*t->hash));
    t->idf = malloc((total + 1) * sizeof(*t->idf));
    if (!all || !t->hash || !t->idf) {
        free(all);
        return ptl_error_set(err, -ENOMEM, "training: out of memory");
    }
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < t->cases[i].f.n; j++)
            all[k++] = t->cases[i].f.v[j].hash;
    qsort(all, total, sizeof(*all), by_hash);
    for (size_t i = 0, n; i < total; i += n) {
        for (n = 1; i + n < total && all[i + n] == all[i]; n++)
            ;
        if (n < (size_t)min_cases)
            continue;
        double idf = log((1.0 + (double)t->n) / (1.0 + (double)n)) + 0.3;
        t->hash[t->n_feat] = all[i];
        t->idf[t->n_feat++] = (float)(round(idf * 1000) / 1000);
    }
    free(all);
    return 0;
}

/* The kept features of a case, as indexes and unit-length values. Returns how many. */
static size_t vector(const struct trainer *t, const struct ptl_kb_case *c, uint32_t *at, float *x)
{
    size_t n = 0, i = 0;
    double norm = 0;
    for (size_t k = 0; k < c->f.n; k++) {
        while (i < t->n_feat && t->hash[i] < c->f.v[k].hash)
            i++;
        if (i == t->n_feat || t->hash[i] != c->f.v[k].hash)
            continue;
        at[n] = (uint32_t)i;
        x[n] = c->f.v[k].value * t->idf[i];
        norm += x[n] * x[n];
        n++;
    }
    for (size_t k = 0; k < n; k++)
        x[k] /= (float)sqrt(norm + PTL_KB_FEATURES_FLOOR);
    return n;
}

static void step(float *w, float *g, float grad, float rate)
{
    *g += grad * grad;
    *w -= rate * grad / sqrtf(*g + 1e-6f);
}

/* How far the answer is from the wanted one, by class. Returns the classes that differ by more than nothing,
 * in *ret_active. */
static int differences(const struct trainer *t, const struct ptl_kb_case *c, const float *z, float *d,
                       int *ret_active)
{
    int label = find_name(t->names, t->n_nodes, c->label), platform = t->platform[label], n = 0;
    double p[PTL_KB_CLASSES_MAX], top = -1e30, sum = 0, share[PTL_KB_CLASSES_MAX] = {0};
    share[label] = 1;
    for (int i = 0; i < 4 && c->alternatives[i]; i++) {
        int alt = find_name(t->names, t->n_nodes, c->alternatives[i]);
        if (alt >= 0 && alt != label) {
            share[alt] = 0.25;
            share[label] -= 0.25;
        }
    }
    for (int i = 0; i < t->n_nodes; i++) {
        /* An outside case does not tell its platform: every node competes. */
        bool in = platform == 3 || t->platform[i] == 3 || t->platform[i] == platform;
        double shared = (double)z[t->kind[i]] + (t->category[i] >= 0 ? (double)z[t->category[i]] : 0);
        p[i] = in ? (double)z[i] + shared : -1e30;
        top = p[i] > top ? p[i] : top;
    }
    for (int i = 0; i < t->n_nodes; i++)
        sum += p[i] = exp(p[i] - top);
    for (int i = 0; i < t->n_nodes; i++) {
        float e = (float)((p[i] / sum - share[i]) * c->weight);
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

static void learn(struct trainer *t, const struct ptl_kb_case *c, const uint32_t *at, const float *x,
                  size_t n, float rate, float decay)
{
    size_t C = (size_t)t->n_classes;
    float z[PTL_KB_CLASSES_MAX], d[PTL_KB_CLASSES_MAX] = {0};
    int active[PTL_KB_CLASSES_MAX];
    memcpy(z, t->b, C * sizeof(*z));
    for (size_t k = 0; k < n; k++) {
        const float *w = t->w + at[k] * C, f = x[k];
        for (size_t i = 0; i < C; i++)
            z[i] += f * w[i];
    }
    int m = differences(t, c, z, d, active);
    for (int j = 0; j < m; j++)
        step(&t->b[active[j]], &t->gb[active[j]], d[active[j]], rate);
    for (size_t k = 0; k < n; k++) {
        float *w = t->w + at[k] * C, *g = t->g + at[k] * C, f = x[k];
        for (int j = 0; j < m; j++)
            step(&w[active[j]], &g[active[j]], d[active[j]] * f + decay * w[active[j]], rate);
    }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* One weight in five thousand may be cut: a lone giant must not cost all others their digits. */
static double unit_of(const struct trainer *t)
{
    size_t n = t->n_feat * (size_t)t->n_classes, k = 0;
    float *size = malloc((n + 1) * sizeof(*size));
    if (!size)
        return 1e-3;
    for (size_t i = 0; i < n; i++)
        if (t->w[i] != 0)
            size[k++] = fabsf(t->w[i]);
    qsort(size, k, sizeof(*size), by_size);
    double unit = k ? (double)size[k - 1 - k / 5000] / 127 : 1e-3;
    free(size);
    return unit > 1e-6 ? unit : 1e-6;
}

static int write_model(const struct trainer *t, int prune, void **ret, size_t *ret_len, struct ptl_error *err)
{
    size_t C = (size_t)t->n_classes, entries = 0;
    PTL_BUF b = PTL_BUF_INIT, classes = PTL_BUF_INIT, weights = PTL_BUF_INIT;
    double scale = unit_of(t);
    uint32_t *first = calloc(t->n_feat + 1, sizeof(*first));
    uint16_t *idf = calloc(t->n_feat + 1, sizeof(*idf));
    if (!first || !idf) {
        free(first);
        free(idf);
        return ptl_error_set(err, -ENOMEM, "training: out of memory");
    }
    for (size_t f = 0; f < t->n_feat; f++) {
        first[f] = (uint32_t)entries;
        idf[f] = (uint16_t)lround((double)t->idf[f] * 1000);
        for (size_t c = 0; c < C; c++) {
            int q = (int)lround((double)t->w[f * C + c] / scale);
            if (abs(q) < prune)
                continue; /* together they move little, and are most of them */
            q = q > 127 ? 127 : q < -127 ? -127 : q;
            ptl_buf_putc(&classes, (char)c);
            ptl_buf_putc(&weights, (char)(int8_t)q);
            entries++;
        }
    }
    first[t->n_feat] = (uint32_t)entries;
    double bias[PTL_KB_CLASSES_MAX];
    for (size_t c = 0; c < C; c++)
        bias[c] = round((double)t->b[c] * 1000) / 1000;
    if (!ptl_kb_model_is_sane(scale, bias, C)) {
        free(first);
        free(idf);
        return ptl_error_set(err, -ERANGE,
                             "training: its weights ran away (scale %g): take a larger --decay or fewer "
                             "--epochs",
                             scale);
    }
    PTL_JSON *head = json_pack("{s:[],s:[],s:f,s:I,s:I}", "classes", "bias", "scale", scale, "features",
                               (json_int_t)t->n_feat, "entries", (json_int_t)entries);
    for (size_t c = 0; c < C; c++) {
        json_array_append_new(json_object_get(head, "classes"), json_string(t->names[c]));
        json_array_append_new(json_object_get(head, "bias"), json_real(bias[c]));
    }
    PTL_FREE char *text = ptl_json_text(head);
    uint32_t len = (uint32_t)strlen(text);
    char seal[PTL_KB_MODEL_SEAL] = {0};
    ptl_buf_add(&b, seal, sizeof(seal)); /* filled in when all is there */
    ptl_buf_add(&b, &len, 4);
    ptl_buf_add(&b, text, len);
    ptl_buf_add(&b, t->hash, 4 * t->n_feat);
    ptl_buf_add(&b, idf, 2 * t->n_feat);
    ptl_buf_add(&b, first, 4 * (t->n_feat + 1));
    ptl_buf_add(&b, ptl_buf_str(&classes), classes.len);
    ptl_buf_add(&b, ptl_buf_str(&weights), weights.len);
    free(first);
    free(idf);
    if (b.failed || classes.failed || weights.failed)
        return ptl_error_set(err, -ENOMEM, "training: out of memory");
    ptl_kb_model_seal(b.data + sizeof(seal), b.len - sizeof(seal), seal);
    memcpy(b.data, seal, sizeof(seal));
    *ret = ptl_buf_take(&b, ret_len);
    return 0;
}

static int run(struct trainer *t, const struct ptl_kb_train_options *o, struct ptl_error *err)
{
    size_t C = (size_t)t->n_classes, most = 0;
    t->w = calloc(t->n_feat * C + 1, sizeof(float));
    t->g = calloc(t->n_feat * C + 1, sizeof(float));
    t->b = calloc(C, sizeof(float));
    t->gb = calloc(C, sizeof(float));
    for (size_t i = 0; i < t->n; i++)
        most = t->cases[i].f.n > most ? t->cases[i].f.n : most;
    uint32_t *at = malloc((most + 1) * sizeof(*at));
    float *x = malloc((most + 1) * sizeof(*x));
    bool ok = t->w && t->g && t->b && t->gb && at && x;
    int epochs = o->epochs ? o->epochs : 15;
    for (int e = 0; ok && e < epochs; e++)
        for (size_t k = 0; k < t->n; k++) {
            /* A fixed walk that differs from epoch to epoch. */
            const struct ptl_kb_case *c = &t->cases[(k * 7919 + (size_t)e * 104729) % t->n];
            size_t n = vector(t, c, at, x);
            learn(t, c, at, x, n, 0.35f, o->decay > 0 ? (float)o->decay : 3e-4f);
        }
    free(at);
    free(x);
    return ok ? 0 : ptl_error_set(err, -ENOMEM, "training: out of memory");
}

int ptl_kb_train(const struct ptl_kb_case *cases, size_t n, const struct ptl_kb_train_options *o, void **ret,
                 size_t *ret_len, struct ptl_error *err)
{
    struct trainer t = {.cases = cases, .n = n};
    if (n == 0)
        return ptl_error_set(err, -EINVAL, "training: no labelled cases");
    int r = make_classes(&t, err);
    if (r == 0)
        r = choose_features(&t, o->min_cases ? o->min_cases : 3, err);
    if (r == 0)
        r = run(&t, o, err);
    if (r == 0)
        r = write_model(&t, o->prune ? o->prune : 28, ret, ret_len, err);
    for (int i = 0; t.names && i < t.n_classes; i++)
        free(t.names[i]);
    free(t.names);
    free(t.kind);
    free(t.category);
    free(t.platform);
    free(t.hash);
    free(t.idf);
    free(t.w);
    free(t.g);
    free(t.b);
    free(t.gb);
    return r;
}
