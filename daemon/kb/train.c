/* train.c - makes the text model of labelled cases: hashed words in, a file of weights out. The weights are
 * those of three learners: logit.c spreads what it learned over platforms and siblings and hardly errs far,
 * planes.c parts what is alike, lowrank.c learns rare words with those that lie alike. On 1119 logs that none
 * had seen (right first / mean -ln p, the text alone): the first two, half each, .890 / 1.01; with the third
 * .896 / .93. On 351 whole posts (5-fold, right first / among three): .573 / .778, with the third .584 /
 * .792. Only nodes of the case's platform and what is outside of all platforms compete. All is done in a
 * fixed order: the same cases give the same bytes. */
#include "train-private.h"
#include <math.h>
#include <portolan/buf.h>
#include <pthread.h>

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

static void choose_answers(const struct trainer *t, const struct ptl_kb_case *c, struct row *ret)
{
    int n = 0;
    ret->weight = c->weight;
    ret->label = find_name(t->names, t->n_nodes, c->label);
    for (int i = 0; i < ALSO_MAX; i++)
        ret->also[i] = -1;
    for (int i = 0; i < ALSO_MAX && c->alternatives[i]; i++) {
        int also = find_name(t->names, t->n_nodes, c->alternatives[i]);
        if (also >= 0 && also != ret->label)
            ret->also[n++] = also;
    }
}

static int make_rows(struct trainer *t, struct ptl_error *err)
{
    size_t total = 0, used = 0;
    for (size_t i = 0; i < t->n; i++)
        total += t->cases[i].f.n;
    t->at = malloc((total + 1) * sizeof(*t->at));
    t->x = malloc((total + 1) * sizeof(*t->x));
    t->rows = calloc(t->n, sizeof(*t->rows));
    if (!t->at || !t->x || !t->rows)
        return ptl_error_set(err, -ENOMEM, "training: out of memory");
    for (size_t i = 0; i < t->n; i++) {
        const struct ptl_kb_features *f = &t->cases[i].f;
        struct row *row = &t->rows[i];
        double norm = 0;
        size_t k = 0;
        choose_answers(t, &t->cases[i], row);
        row->at = t->at + used;
        row->x = t->x + used;
        for (size_t j = 0; j < f->n; j++) {
            while (k < t->n_feat && t->hash[k] < f->v[j].hash)
                k++;
            if (k == t->n_feat || t->hash[k] != f->v[j].hash)
                continue;
            t->at[used + row->n] = (uint32_t)k;
            t->x[used + row->n] = f->v[j].value * t->idf[k];
            norm += (double)t->x[used + row->n] * (double)t->x[used + row->n];
            row->n++;
        }
        for (size_t j = 0; j < row->n; j++)
            t->x[used + j] /= (float)sqrt(norm + PTL_KB_FEATURES_FLOOR);
        used += row->n;
    }
    return 0;
}

/* ---- all learners at once */
static const struct learner {
    int (*learn)(const struct trainer *t, float *w, double *b);
    float share;
} learners[] = {
    {kb_train_logit,   0.25f},
    {kb_train_planes,  0.25f},
    {kb_train_lowrank, 0.5f },
};
struct lesson {
    const struct learner *by;
    const struct trainer *t;
    float *w;
    double b[PTL_KB_CLASSES_MAX];
    pthread_t thread;
    bool apart;
    int r;
};

static void *lesson_thread(void *userdata)
{
    struct lesson *l = userdata;
    l->r = l->by->learn(l->t, l->w, l->b);
    return NULL;
}

/* *ret_w: [feature][class]; caller frees it in any case. */
static int learn(const struct trainer *t, float **ret_w, double *ret_b, struct ptl_error *err)
{
    size_t n = t->n_feat * (size_t)t->n_classes;
    struct lesson lessons[PTL_ARRAY_LEN(learners)] = {0};
    float *sum = *ret_w = calloc(n + 1, sizeof(float));
    int r = sum ? 0 : -ENOMEM;
    for (size_t k = 0; k < PTL_ARRAY_LEN(lessons); k++) {
        struct lesson *l = &lessons[k];
        l->by = &learners[k];
        l->t = t;
        l->w = calloc(n + 1, sizeof(float));
        l->r = l->w ? 0 : -ENOMEM;
        l->apart = l->w && pthread_create(&l->thread, NULL, lesson_thread, l) == 0;
    }
    for (size_t k = 0; k < PTL_ARRAY_LEN(lessons); k++) {
        struct lesson *l = &lessons[k];
        if (l->apart)
            pthread_join(l->thread, NULL);
        else if (l->w)
            lesson_thread(l);
        r = r < 0 ? r : l->r;
        for (size_t i = 0; r == 0 && i < n; i++)
            sum[i] += l->by->share * l->w[i];
        for (int i = 0; r == 0 && i < t->n_classes; i++)
            ret_b[i] += (double)l->by->share * l->b[i];
        free(l->w);
    }
    return r < 0 ? ptl_error_set(err, r, "training: out of memory") : 0;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* One weight in five thousand may be cut: a lone giant must not cost all others their digits. */
static double unit_of(const struct trainer *t, const float *w)
{
    size_t n = t->n_feat * (size_t)t->n_classes, k = 0;
    float *size = malloc((n + 1) * sizeof(*size));
    if (!size)
        return 1e-3;
    for (size_t i = 0; i < n; i++)
        if (w[i] != 0)
            size[k++] = fabsf(w[i]);
    qsort(size, k, sizeof(*size), by_size);
    double unit = k ? (double)size[k - 1 - k / 5000] / 127 : 1e-3;
    free(size);
    return unit > 1e-6 ? unit : 1e-6;
}

static int write_model(const struct trainer *t, const float *w, const double *b_of, int prune, void **ret,
                       size_t *ret_len, struct ptl_error *err)
{
    size_t C = (size_t)t->n_classes, entries = 0;
    PTL_BUF b = PTL_BUF_INIT, classes = PTL_BUF_INIT, weights = PTL_BUF_INIT;
    double scale = unit_of(t, w);
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
            int q = (int)lround((double)w[f * C + c] / scale);
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
        bias[c] = round(b_of[c] * 1000) / 1000;
    if (!ptl_kb_model_is_sane(scale, bias, C)) {
        free(first);
        free(idf);
        return ptl_error_set(err, -ERANGE, "training: its weights ran away (scale %g): take a smaller --cost",
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

int ptl_kb_train(const struct ptl_kb_case *cases, size_t n, const struct ptl_kb_train_options *o, void **ret,
                 size_t *ret_len, struct ptl_error *err)
{
    struct trainer t = {.cases = cases, .n = n, .cost = o->cost > 0 ? o->cost : 0.5};
    double b[PTL_KB_CLASSES_MAX] = {0};
    float *w = NULL;
    if (n == 0)
        return ptl_error_set(err, -EINVAL, "training: no labelled cases");
    int r = make_classes(&t, err);
    if (r == 0)
        r = choose_features(&t, o->min_cases ? o->min_cases : 3, err);
    if (r == 0)
        r = make_rows(&t, err);
    if (r == 0)
        r = learn(&t, &w, b, err);
    if (r == 0)
        r = write_model(&t, w, b, o->prune ? o->prune : 12, ret, ret_len, err);
    for (int i = 0; t.names && i < t.n_classes; i++)
        free(t.names[i]);
    free(t.names);
    free(t.kind);
    free(t.category);
    free(t.platform);
    free(t.hash);
    free(t.idf);
    free(t.at);
    free(t.x);
    free(t.rows);
    free(w);
    return r;
}
