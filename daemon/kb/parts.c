/* parts.c - see parts.h. As bytes: 64 digits of a digest over the patterns and Vectorscan's version, then
 * "N LEN\n" in 64 bytes, then LEN bytes of N patterns (flags, text, NUL), then from the next multiple of 64
 * Vectorscan's own. */
#include "parts.h"
#include <portolan/buf.h>
#include <portolan/hash.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
    /* As many patterns of its own are compiled beside a shared part: a tenth of a second or two. */
    OWN_MAX = 200,
    BLOCK = 64, /* what Vectorscan wants its bytes aligned to; digits of a digest */
    PATTERNS_MAX = 1 << 20
};

struct kb_part {
    atomic_int refs;
    struct kb_patterns patterns;
    hs_database_t *db;
    hs_scratch_t *scratch; /* for clones, never scanned with */
};

void kb_patterns_done(struct kb_patterns *p)
{
    for (size_t i = 0; p->text && i < p->n; i++)
        free(p->text[i]);
    free(p->text);
    free(p->flags);
    *p = (struct kb_patterns){0};
}

static int patterns_room(struct kb_patterns *p, size_t n)
{
    p->text = calloc(n + 1, sizeof(*p->text));
    p->flags = calloc(n + 1, sizeof(*p->flags));
    return p->text && p->flags ? 0 : -ENOMEM;
}

static struct kb_part *part_unref(struct kb_part *part)
{
    if (part && atomic_fetch_sub(&part->refs, 1) == 1) {
        kb_patterns_done(&part->patterns);
        hs_free_scratch(part->scratch);
        hs_free_database(part->db);
        free(part);
    }
    return NULL;
}
PTL_DEFINE_FREEP(struct kb_part, part_unref)

static int out_of_memory(struct ptl_error *err)
{
    return ptl_error_set(err, -ENOMEM, "the patterns cannot be compiled: out of memory");
}

/* For every processor of this architecture, so that it can be kept: what kb.bin holds is no other. */
static int compile(const struct kb_patterns *p, hs_database_t **ret, int *ret_wrong, struct ptl_error *err)
{
    static const hs_platform_info_t any = {.tune = HS_TUNE_FAMILY_GENERIC, .cpu_features = 0};
    hs_compile_error_t *wrong = NULL;
    PTL_FREE unsigned *ids = calloc(p->n + 1, sizeof(*ids));
    *ret_wrong = -1;
    if (!ids)
        return out_of_memory(err);
    for (size_t i = 0; i < p->n; i++)
        ids[i] = (unsigned)i;
    if (hs_compile_multi((const char *const *)p->text, p->flags, ids, (unsigned)p->n, HS_MODE_BLOCK, &any,
                         ret, &wrong) == HS_SUCCESS)
        return 0;
    *ret_wrong = wrong ? wrong->expression : -1;
    int r = wrong ? ptl_error_set(err, -EINVAL, "%s", wrong->message) : out_of_memory(err);
    hs_free_compile_error(wrong);
    return r;
}

/* `p` is taken on success. `db`: compiled already, taken in any case; NULL: not yet. */
static int part_new(struct kb_patterns *p, hs_database_t *db, struct kb_part **ret, int *ret_wrong,
                    struct ptl_error *err)
{
    PTL_CLEANUP(part_unrefp) struct kb_part *part = calloc(1, sizeof(*part));
    if (!part) {
        hs_free_database(db);
        return out_of_memory(err);
    }
    atomic_init(&part->refs, 1);
    part->db = db;
    int r = db ? 0 : compile(p, &part->db, ret_wrong, err);
    if (r == 0 && hs_alloc_scratch(part->db, &part->scratch) != HS_SUCCESS)
        r = out_of_memory(err);
    if (r < 0)
        return r;
    part->patterns = *p;
    *p = (struct kb_patterns){0};
    *ret = PTL_TAKE(part);
    return 0;
}

/* ---- as bytes */
static void digest_of(const struct kb_patterns *p, char ret[PTL_SHA256_HEX])
{
    struct ptl_sha256 *sha = ptl_sha256_new();
    ptl_sha256_update(sha, hs_version(), strlen(hs_version()));
    for (size_t i = 0; i < p->n; i++) {
        ptl_sha256_update(sha, p->text[i], strlen(p->text[i]) + 1);
        ptl_sha256_update(sha, &p->flags[i], sizeof(p->flags[i]));
    }
    ptl_sha256_hex(sha, ret);
    ptl_sha256_free(sha);
}

static size_t aligned(size_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

/* The same in the same order: its ids are the others'. */
static bool is_same(const struct kb_patterns *a, const struct kb_patterns *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = a->flags[i] == b->flags[i] && strcmp(a->text[i], b->text[i]) == 0;
    return same;
}

int kb_parts_data(const struct kb_parts *parts, const struct kb_patterns *p, void **ret, size_t *ret_len,
                  int *ret_wrong, struct ptl_error *err)
{
    static const char zeros[BLOCK];
    PTL_BUF b = PTL_BUF_INIT;
    PTL_BUF list = PTL_BUF_INIT;
    hs_database_t *own = NULL;
    char *bytes = NULL, digest[PTL_SHA256_HEX], head[BLOCK] = {0};
    size_t len = 0;
    bool have = parts && !parts->part[1] && is_same(&parts->part[0]->patterns, p);
    int r = have ? 0 : compile(p, &own, ret_wrong, err);
    if (r < 0)
        return r;
    if (hs_serialize_database(have ? parts->part[0]->db : own, &bytes, &len) != HS_SUCCESS)
        r = out_of_memory(err);
    hs_free_database(own);
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        ptl_buf_add(&list, &p->flags[i], sizeof(p->flags[i]));
        ptl_buf_add(&list, p->text[i], strlen(p->text[i]) + 1);
    }
    if (r == 0) {
        digest_of(p, digest);
        snprintf(head, sizeof(head), "%zu %zu\n", p->n, list.len);
        ptl_buf_add(&b, digest, BLOCK);
        ptl_buf_add(&b, head, BLOCK);
        ptl_buf_add(&b, list.data, list.len);
        ptl_buf_add(&b, zeros, aligned(b.len) - b.len);
        ptl_buf_add(&b, bytes, len);
        *ret = list.failed || b.failed ? NULL : ptl_buf_take(&b, ret_len);
        if (!*ret)
            r = out_of_memory(err);
    }
    free(bytes);
    return r;
}

/* 0: *ret is there or NULL: of another version, damaged, not for this processor. */
static int part_read(const char *bytes, size_t len, struct kb_part **ret, struct ptl_error *err)
{
    PTL_CLEANUP(kb_patterns_done) struct kb_patterns p = {0};
    char head[BLOCK + 1] = {0}, digest[PTL_SHA256_HEX];
    size_t n, list_len;
    hs_database_t *db = NULL;
    int ignored;
    *ret = NULL;
    if (!bytes || len < (size_t)2 * BLOCK)
        return 0;
    memcpy(head, bytes + BLOCK, BLOCK);
    if (sscanf(head, "%zu %zu", &n, &list_len) != 2 || n > PATTERNS_MAX || list_len > len - (size_t)2 * BLOCK)
        return 0;
    if (patterns_room(&p, n) < 0)
        return out_of_memory(err);
    const char *at = bytes + (size_t)2 * BLOCK, *end = at + list_len;
    for (; p.n < n; p.n++) {
        const char *text = at + sizeof(*p.flags), *nul;
        if ((size_t)(end - at) <= sizeof(*p.flags) || !(nul = memchr(text, 0, (size_t)(end - text))))
            return 0;
        memcpy(&p.flags[p.n], at, sizeof(*p.flags));
        p.text[p.n] = ptl_xstrdup(text);
        at = nul + 1;
    }
    digest_of(&p, digest);
    size_t begin = aligned((size_t)2 * BLOCK + list_len);
    if (at != end || begin > len || memcmp(bytes, digest, BLOCK) != 0 ||
        hs_deserialize_database(bytes + begin, len - begin, &db) != HS_SUCCESS)
        return 0;
    return part_new(&p, db, ret, &ignored, err);
}

/* ---- what two sets of patterns share */
struct entry {
    const char *text;
    unsigned flags;
    uint32_t id;
};

static int by_pattern(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int d = strcmp(x->text, y->text);
    return d ? d : (x->flags > y->flags) - (x->flags < y->flags);
}

static struct entry *sorted(const struct kb_patterns *p)
{
    struct entry *v = calloc(p->n + 1, sizeof(*v));
    for (size_t i = 0; v && i < p->n; i++)
        v[i] = (struct entry){p->text[i], p->flags[i], (uint32_t)i};
    if (v)
        qsort(v, p->n, sizeof(*v), by_pattern);
    return v;
}

/* Who of `p` each pattern of `shared` is, one for one also where the same stands there twice. The others of
 * `p` are marked in `own`. Returns how many those are; -ENOMEM. */
static int64_t match_up(const struct kb_patterns *p, const struct kb_patterns *shared, uint32_t *id_of,
                        bool *own)
{
    PTL_FREE struct entry *a = sorted(p);
    PTL_FREE struct entry *b = sorted(shared);
    int64_t n_own = 0;
    if (!a || !b)
        return -ENOMEM;
    for (size_t i = 0; i < shared->n; i++)
        id_of[i] = KB_NOBODY;
    for (size_t i = 0, k = 0; i < p->n; i++) {
        int d = 1;
        while (k < shared->n && (d = by_pattern(&b[k], &a[i])) < 0)
            k++;
        if (k < shared->n && d == 0) {
            id_of[b[k++].id] = a[i].id;
        } else {
            own[a[i].id] = true;
            n_own++;
        }
    }
    return n_own;
}

static uint32_t *ids_of_all(size_t n)
{
    uint32_t *v = calloc(n + 1, sizeof(*v));
    for (size_t i = 0; v && i < n; i++)
        v[i] = (uint32_t)i;
    return v;
}

/* The patterns marked in `own` as the second part. */
static int add_own(const struct kb_patterns *p, const bool *own, size_t n_own, struct kb_parts *parts,
                   int *ret_wrong, struct ptl_error *err)
{
    PTL_CLEANUP(kb_patterns_done) struct kb_patterns mine = {0};
    parts->id_of[1] = calloc(n_own + 1, sizeof(*parts->id_of[1]));
    if (!parts->id_of[1] || patterns_room(&mine, n_own) < 0)
        return out_of_memory(err);
    for (size_t i = 0; i < p->n; i++)
        if (own[i]) {
            parts->id_of[1][mine.n] = (uint32_t)i;
            mine.flags[mine.n] = p->flags[i];
            mine.text[mine.n++] = ptl_xstrdup(p->text[i]);
        }
    int r = part_new(&mine, NULL, &parts->part[1], ret_wrong, err);
    if (r < 0 && *ret_wrong >= 0)
        *ret_wrong = (int)parts->id_of[1][*ret_wrong];
    return r;
}

/* 1: done; 0: what is shared is of too little use. */
static int new_beside(const struct kb_patterns *p, struct kb_part *shared, struct kb_parts *parts,
                      int *ret_wrong, struct ptl_error *err)
{
    PTL_FREE bool *own = calloc(p->n + 1, sizeof(*own));
    PTL_FREE uint32_t *id_of = calloc(shared->patterns.n + 1, sizeof(*id_of));
    int64_t n = own && id_of ? match_up(p, &shared->patterns, id_of, own) : -ENOMEM;
    if (n < 0)
        return out_of_memory(err);
    /* Also when most of what would be scanned for is nobody's. */
    if (n > OWN_MAX || (int64_t)p->n - n < (int64_t)shared->patterns.n / 2)
        return 0;
    atomic_fetch_add(&shared->refs, 1);
    parts->part[0] = shared;
    parts->id_of[0] = PTL_TAKE(id_of);
    int r = n ? add_own(p, own, (size_t)n, parts, ret_wrong, err) : 0;
    return r < 0 ? r : 1;
}

int kb_parts_new(struct kb_patterns *p, const struct kb_parts *like, const void *bytes, size_t len,
                 struct kb_parts *ret, int *ret_wrong, struct ptl_error *err)
{
    PTL_CLEANUP(part_unrefp) struct kb_part *read = NULL;
    PTL_CLEANUP(kb_parts_done) struct kb_parts parts = {0};
    int r = 0;
    *ret_wrong = -1;
    if (like)
        r = new_beside(p, like->part[0], &parts, ret_wrong, err);
    if (r == 0 && (r = part_read(bytes, len, &read, err)) == 0 && read)
        r = new_beside(p, read, &parts, ret_wrong, err);
    if (r == 0) {
        parts.id_of[0] = ids_of_all(p->n);
        r = parts.id_of[0] ? part_new(p, NULL, &parts.part[0], ret_wrong, err) : out_of_memory(err);
    }
    kb_patterns_done(p);
    if (r < 0)
        return r;
    *ret = parts;
    parts = (struct kb_parts){0};
    return 0;
}

void kb_parts_done(struct kb_parts *parts)
{
    for (int i = 0; i < KB_PARTS; i++) {
        part_unref(parts->part[i]);
        free(parts->id_of[i]);
    }
    *parts = (struct kb_parts){0};
}

size_t kb_parts_own(const struct kb_parts *parts)
{
    return parts->part[1] ? parts->part[1]->patterns.n : 0;
}

/* ---- scanning */
struct scanning {
    const uint32_t *id_of;
    kb_parts_fn *fn;
    void *ctx;
    int ended;
};

static int on_match(unsigned id, unsigned long long from PTL_UNUSED, unsigned long long to,
                    unsigned flags PTL_UNUSED, void *ctx)
{
    struct scanning *s = ctx;
    if (s->id_of[id] != KB_NOBODY)
        s->ended = s->fn(s->ctx, s->id_of[id], to);
    return s->ended;
}

int kb_parts_scan(const struct kb_parts *parts, const char *text, size_t len, kb_parts_fn *fn, void *ctx)
{
    for (int i = 0; i < KB_PARTS && parts->part[i]; i++) {
        struct scanning s = {.id_of = parts->id_of[i], .fn = fn, .ctx = ctx};
        hs_scratch_t *scratch = NULL;
        if (hs_clone_scratch(parts->part[i]->scratch, &scratch) != HS_SUCCESS)
            return -ENOMEM;
        hs_error_t e = hs_scan(parts->part[i]->db, text, (unsigned)len, 0, scratch, on_match, &s);
        hs_free_scratch(scratch);
        if (e != HS_SUCCESS)
            return s.ended ? s.ended : -EIO;
    }
    return 0;
}
