/* model.c - words to hashed features, features to scores. The file: "PTLKBM2\n", the SHA-256 of everything
 * behind it (64 hex digits), length of a JSON head (4 bytes), the head
 * {"classes":[…],"bias":[…],"scale":s,"features":n,"entries":m}, then little-endian arrays: hash[n] 4 bytes
 * ascending, idf[n] 2 bytes (thousandths), first[n+1] 4 bytes, class[m] 1 byte, weight[m] 1 byte signed, in
 * units of scale. "PTLKBM1\n" is the same without a digest: databases keep models of their own that were made
 * so. */
#include "model.h"
#include <portolan/hash.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>

/* ---- features */
void ptl_kb_features_done(struct ptl_kb_features *f)
{
    free(f->v);
    *f = (struct ptl_kb_features){0};
}

static uint32_t hash_bytes(uint32_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 16777619u;
    return h;
}

static uint32_t mix(uint32_t h)
{
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    h ^= h >> 16;
    return h ? h : 1;
}

static bool grow(struct ptl_kb_features *f)
{
    size_t cap = f->cap ? 2 * f->cap : 1024;
    struct ptl_kb_feature *v = calloc(cap, sizeof(*v));
    if (!v)
        return false;
    for (size_t i = 0; i < f->cap; i++)
        if (f->v[i].hash) {
            size_t k = f->v[i].hash & (cap - 1);
            while (v[k].hash)
                k = (k + 1) & (cap - 1);
            v[k] = f->v[i];
        }
    free(f->v);
    f->v = v;
    f->cap = cap;
    return true;
}

static void put(struct ptl_kb_features *f, uint32_t hash, double weight)
{
    if (f->failed)
        return;
    if (f->n >= PTL_KB_FEATURES_MAX || (2 * (f->n + 1) > f->cap && !grow(f))) {
        f->failed = true;
        return;
    }
    size_t k = hash & (f->cap - 1);
    while (f->v[k].hash && f->v[k].hash != hash)
        k = (k + 1) & (f->cap - 1);
    f->n += !f->v[k].hash;
    f->v[k].hash = hash;
    f->v[k].value += (float)weight;
}

struct words {
    struct ptl_kb_features *f;
    uint32_t seed, before; /* hash of the word before, 0: none */
    double weight;
};

static void add_word(struct words *w, const char *p, size_t n, bool part)
{
    char low[48];
    bool digits = true;
    if (n > sizeof(low))
        n = sizeof(low);
    for (size_t i = 0; i < n; i++) {
        low[i] = isdigit((unsigned char)p[i]) ? '0' : (char)tolower((unsigned char)p[i]);
        digits = digits && low[i] == '0';
    }
    if (digits)
        n = 1; /* a number is a number */
    if (n < 2 && !digits)
        return;
    uint32_t h = hash_bytes(w->seed, low, n);
    put(w->f, mix(h), digits ? w->weight * 0.3 : part ? w->weight * 0.6 : w->weight);
    if (n > 6) /* "unsupported", "unsupport…": what the ends of words do not tell */
        put(w->f, mix(hash_bytes(w->seed * 17 + 3, low, 6)), w->weight * 0.5);
    if (part)
        return;
    if (w->before)
        put(w->f, mix(hash_bytes(w->before * 31 + 7, low, n)), w->weight * 0.8);
    w->before = h;
}

/* Parts of snake_case and camelCase names, when there is more than one. */
static void add_parts(struct words *w, const char *p, size_t n)
{
    size_t start = 0, parts = 0;
    for (size_t i = 1; i <= n; i++) {
        bool edge =
            i == n || p[i] == '_' || (isupper((unsigned char)p[i]) && islower((unsigned char)p[i - 1]));
        if (!edge)
            continue;
        if (i == n && parts == 0)
            return;
        if (i - start > 2)
            add_word(w, p + start, i - start, true);
        parts++;
        start = i + (i < n && p[i] == '_');
    }
}

void ptl_kb_features_add(struct ptl_kb_features *f, const char *prefix, const char *line, size_t len,
                         double weight)
{
    struct words w = {.f = f, .seed = hash_bytes(2166136261u, prefix, strlen(prefix)), .weight = weight};
    if (len > 1200)
        len = 1200;
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)line[i];
        if (!isalnum(c) && c != '_') {
            if (c == ';' || c == '|')
                w.before = 0;
            i++;
            continue;
        }
        size_t n = 0;
        while (i + n < len && (isalnum((unsigned char)line[i + n]) || line[i + n] == '_'))
            n++;
        /* 0x7ffe… and long hexadecimal names say nothing twice. */
        bool hex = n > 11 || (n > 2 && line[i] == '0' && line[i + 1] == 'x');
        for (size_t k = 0; hex && k < n; k++)
            hex = isxdigit((unsigned char)line[i + k]) || (k == 1 && line[i + k] == 'x');
        if (!hex) {
            add_word(&w, line + i, n, false);
            add_parts(&w, line + i, n);
        }
        i += n;
    }
}

static int by_hash(const void *a, const void *b)
{
    uint32_t x = ((const struct ptl_kb_feature *)a)->hash, y = ((const struct ptl_kb_feature *)b)->hash;
    return x < y ? -1 : x > y;
}

void ptl_kb_features_finish(struct ptl_kb_features *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->cap; i++)
        if (f->v[i].hash)
            f->v[n++] = f->v[i];
    f->n = n;
    if (n)
        qsort(f->v, n, sizeof(*f->v), by_hash);
    for (size_t i = 0; i < n; i++)
        f->v[i].value = (float)(f->v[i].value < 1 ? f->v[i].value : 1 + log(f->v[i].value));
}

void ptl_kb_kind(const char *node, char ret[100])
{
    const char *slash = strrchr(node, '/'), *slug = slash ? slash + 1 : node;
    if (ptl_str_starts(node, "infra/") || ptl_str_starts(node, "program/") || ptl_str_starts(node, "fault/"))
        slug = NULL; /* what such failures share is that they are no deployment challenge */
    else if (strcmp(slug, "procedure") == 0)
        slug = strchr(node, '/') + 1;
    else if (ptl_str_ends(slug, "of-unsupported-models"))
        slug = "unsupported-models";
    else if (ptl_str_starts(slug, "limitations-of-"))
        slug = "limitations";
    if (slug)
        snprintf(ret, 100, "%s", slug);
    else
        snprintf(ret, 100, "%.*s", (int)strcspn(node, "/"), node);
}

void ptl_kb_category(const char *node, char ret[100])
{
    const char *first = strchr(node, '/'), *second = first ? strchr(first + 1, '/') : NULL;
    snprintf(ret, 100, "%.*s", second ? (int)(second - node) : 0, node);
}

/* ---- use */
/* Training gives scales of hundredths and biases of a few units; beyond these a score is no log-probability,
 * and sums of them need not be numbers. */
static const double SCALE_MAX = 10, BIAS_MAX = 1000;

struct ptl_kb_model {
    uint32_t n, m;
    uint32_t *hash, *first;
    uint16_t *idf;
    uint8_t *class_of;
    int8_t *weight;
    double scale, *bias;
    int n_classes;
    json_t *classes;
    int *kind_of;       /* node -> class of its kind, -1 */
    int *category_of;   /* node -> class of its category, -1 */
    int *class_of_node; /* node -> class, -1 */
    int n_nodes;
};

struct cursor {
    const unsigned char *p, *end;
};
static bool take(struct cursor *c, void *ret, size_t n)
{
    if ((size_t)(c->end - c->p) < n)
        return false;
    memcpy(ret, c->p, n);
    c->p += n;
    return true;
}

static int damaged(struct ptl_error *err, const char *what)
{
    return ptl_error_set(err, -EINVAL, "no text model to be used: %s; make it anew with portolan-kb train",
                         what);
}

bool ptl_kb_model_is_sane(double scale, const double *bias, size_t n)
{
    bool sane = scale > 0 && scale <= SCALE_MAX; /* no NaN is */
    for (size_t i = 0; i < n; i++)
        sane = sane && bias[i] >= -BIAS_MAX && bias[i] <= BIAS_MAX;
    return sane;
}

static int read_numbers(struct ptl_kb_model *m, const json_t *head, struct ptl_error *err)
{
    const json_t *bias = json_object_get(head, "bias"), *v;
    bool numbers = json_is_number(json_object_get(head, "scale"));
    size_t i;
    m->scale = ptl_json_num(head, "scale", 0);
    json_array_foreach(bias, i, v)
    {
        numbers = numbers && json_is_number(v);
        m->bias[i] = json_number_value(v);
    }
    if (!numbers || !ptl_kb_model_is_sane(m->scale, m->bias, (size_t)m->n_classes))
        return damaged(err, "its scale or a bias is no number that training gives");
    return 0;
}

/* `rest`: bytes behind the head, which the tables must fill; nothing is allocated that is not there. */
static int read_head(struct ptl_kb_model *m, const json_t *head, size_t rest, struct ptl_error *err)
{
    int64_t features = ptl_json_i64(head, "features", -1), entries = ptl_json_i64(head, "entries", -1);
    size_t classes = json_array_size(json_object_get(head, "classes"));
    if (classes < 1 || classes > PTL_KB_CLASSES_MAX || features < 0 || features > 5000000 || entries < 0 ||
        entries > 50000000 || json_array_size(json_object_get(head, "bias")) != classes)
        return damaged(err, "its head is not as it should be");
    if ((uint64_t)features * (4 + 2 + 4) + 4 + (uint64_t)entries * 2 != rest)
        return damaged(err, "it is cut off, or too long");
    m->classes = json_incref(json_object_get(head, "classes"));
    m->n_classes = (int)classes;
    m->n = (uint32_t)features;
    m->m = (uint32_t)entries;
    m->bias = calloc(classes, sizeof(*m->bias));
    m->hash = calloc(m->n + 1u, sizeof(*m->hash));
    m->idf = calloc(m->n + 1u, sizeof(*m->idf));
    m->first = calloc(m->n + 2u, sizeof(*m->first));
    m->class_of = calloc(m->m + 1u, 1);
    m->weight = calloc(m->m + 1u, 1);
    if (!m->bias || !m->hash || !m->idf || !m->first || !m->class_of || !m->weight)
        return ptl_error_set(err, -ENOMEM, "text model: out of memory");
    return read_numbers(m, head, err);
}

static int check_arrays(const struct ptl_kb_model *m, struct ptl_error *err)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (m->first[i] > m->first[i + 1] || (i && m->hash[i - 1] >= m->hash[i]))
            return damaged(err, "its tables are out of order");
    if (m->first[m->n] != m->m || m->first[0] != 0)
        return damaged(err, "its tables do not fit each other");
    for (uint32_t i = 0; i < m->m; i++)
        if (m->class_of[i] >= m->n_classes)
            return damaged(err, "it names a class that is not there");
    return 0;
}

static const char magic_plain[] = "PTLKBM1\n", magic_sealed[] = "PTLKBM2\n";
enum { MAGIC_LEN = sizeof(magic_sealed) - 1, DIGEST_LEN = PTL_SHA256_HEX - 1 };

void ptl_kb_model_seal(const void *rest, size_t len, char ret[PTL_KB_MODEL_SEAL])
{
    char digest[PTL_SHA256_HEX];
    ptl_sha256_of(rest, len, digest);
    memcpy(ret, magic_sealed, MAGIC_LEN);
    memcpy(ret + MAGIC_LEN, digest, DIGEST_LEN);
}

/* What stands before the head. */
static int read_seal(struct cursor *c, struct ptl_error *err)
{
    char magic[MAGIC_LEN], said[DIGEST_LEN], seal[PTL_KB_MODEL_SEAL];
    if (!take(c, magic, sizeof(magic)))
        return damaged(err, "this is no such file");
    if (memcmp(magic, magic_plain, sizeof(magic)) == 0)
        return 0;
    if (memcmp(magic, magic_sealed, sizeof(magic)) != 0)
        return damaged(err, "this is no such file");
    if (!take(c, said, sizeof(said)))
        return damaged(err, "it is cut off, or too long");
    ptl_kb_model_seal(c->p, (size_t)(c->end - c->p), seal);
    if (memcmp(said, seal + MAGIC_LEN, sizeof(said)) != 0)
        return damaged(err, "its bytes are not those that were written (its digest is another)");
    return 0;
}

static int read_model(struct ptl_kb_model *m, struct cursor *c, struct ptl_error *err)
{
    PTL_JSON *head = NULL;
    uint32_t head_len = 0;
    int r = read_seal(c, err);
    if (r < 0)
        return r;
    if (!take(c, &head_len, 4) || head_len > (size_t)(c->end - c->p))
        return damaged(err, "it is cut off, or too long");
    if ((r = ptl_json_parse((const char *)c->p, head_len, "its head", &head, err)) < 0)
        return r;
    c->p += head_len;
    if ((r = read_head(m, head, (size_t)(c->end - c->p), err)) < 0)
        return r;
    if (!take(c, m->hash, 4u * m->n) || !take(c, m->idf, 2u * m->n) || !take(c, m->first, 4u * (m->n + 1)) ||
        !take(c, m->class_of, m->m) || !take(c, m->weight, m->m) || c->p != c->end)
        return damaged(err, "it is cut off, or too long");
    return check_arrays(m, err);
}

int ptl_kb_model_new(const void *data, size_t len, const char *what, struct ptl_kb_model **ret,
                     struct ptl_error *err)
{
    struct cursor c = {data, (const unsigned char *)data + len};
    struct ptl_kb_model *m = calloc(1, sizeof(*m));
    int r = m ? read_model(m, &c, err) : ptl_error_set(err, -ENOMEM, "text model: out of memory");
    if (r < 0) {
        ptl_kb_model_free(m);
        return what ? ptl_error_prefix(err, r, "%s", what) : r;
    }
    *ret = m;
    return 0;
}

struct ptl_kb_model *ptl_kb_model_free(struct ptl_kb_model *m)
{
    if (m) {
        free(m->hash);
        free(m->first);
        free(m->idf);
        free(m->class_of);
        free(m->weight);
        free(m->bias);
        free(m->kind_of);
        free(m->category_of);
        free(m->class_of_node);
        json_decref(m->classes);
        free(m);
    }
    return NULL;
}

int ptl_kb_model_bind(struct ptl_kb_model *m, const json_t *node_index, struct ptl_error *err)
{
    const char *id;
    json_t *v;
    m->n_nodes = (int)json_object_size(node_index);
    m->kind_of = calloc((size_t)m->n_nodes + 1, sizeof(int));
    m->category_of = calloc((size_t)m->n_nodes + 1, sizeof(int));
    m->class_of_node = calloc((size_t)m->n_nodes + 1, sizeof(int));
    PTL_JSON *by_name = json_object();
    if (!m->kind_of || !m->category_of || !m->class_of_node || !by_name)
        return ptl_error_set(err, -ENOMEM, "text model: out of memory");
    for (int i = 0; i < m->n_classes; i++)
        json_object_set_new(by_name, json_string_value(json_array_get(m->classes, (size_t)i)),
                            json_integer(i));
    json_object_foreach((json_t *)node_index, id, v)
    {
        char kind[100], category[100];
        int node = (int)json_integer_value(v);
        ptl_kb_kind(id, kind);
        ptl_kb_category(id, category);
        PTL_FREE char *kind_name = ptl_xasprintf("kind:%s", kind);
        PTL_FREE char *category_name = ptl_xasprintf("category:%s", category);
        m->kind_of[node] = (int)ptl_json_i64(by_name, kind_name, -1);
        m->category_of[node] = (int)ptl_json_i64(by_name, category_name, -1);
        m->class_of_node[node] = (int)ptl_json_i64(by_name, id, -1);
    }
    return 0;
}

double ptl_kb_model_score(const struct ptl_kb_model *m, const struct ptl_kb_features *f, double *ret,
                          int n_nodes)
{
    double z[PTL_KB_CLASSES_MAX] = {0}, norm = 0, lowest = 0;
    uint32_t i = 0;
    for (size_t k = 0; k < f->n; k++) {
        while (i < m->n && m->hash[i] < f->v[k].hash)
            i++;
        if (i == m->n || m->hash[i] != f->v[k].hash)
            continue;
        double x = f->v[k].value * m->idf[i] / 1000.0;
        norm += x * x;
        for (uint32_t e = m->first[i]; e < m->first[i + 1]; e++)
            z[m->class_of[e]] += x * m->weight[e];
    }
    double known = norm;
    norm = m->scale / sqrt(norm + PTL_KB_FEATURES_FLOOR);
    for (int k = 0; k < m->n_classes; k++) {
        z[k] = z[k] * norm + m->bias[k];
    }
    /* What no case taught is as unlikely as the least likely of what was taught: its kind alone would promise
     * too much. */
    for (int n = 0; n < n_nodes && n < m->n_nodes; n++)
        if (m->class_of_node[n] >= 0) {
            double x = z[m->class_of_node[n]] + (m->kind_of[n] >= 0 ? z[m->kind_of[n]] : 0) +
                       (m->category_of[n] >= 0 ? z[m->category_of[n]] : 0);
            ret[n] += x;
            lowest = x < lowest ? x : lowest;
        }
    for (int n = 0; n < n_nodes && n < m->n_nodes; n++)
        if (m->class_of_node[n] < 0)
            ret[n] += lowest;
    return known;
}
