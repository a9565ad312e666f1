/* mask.c - streaming replacement of secrets by two Aho-Corasick automata.
 *
 * One automaton reads the raw bytes. The other reads the bytes without line breaks and indentation and knows
 * only long base64 forms, so that output of `base64` broken into lines is found too. A byte is let go when
 * neither automaton is inside a pattern that began at or before it. Covered stretches are kept as intervals,
 * so overlapping hits cost nothing. Pure: no I/O but the sink. One thread. */
#include "mask.h"

#include <ctype.h>
#include <stdio.h>
#include <portolan/buf.h>
#include <portolan/hash.h>

/* Base64 forms shorter than this are too likely to arise by chance from unrelated lines glued together. */
#define UNBROKEN_MIN 16
/* Between two base64 characters of one value: a line break and some indentation, no more. */
#define GAP_MAX 16

struct node {
    int32_t child, next, fail; /* first child, next sibling, where to go on a mismatch */
    uint32_t depth;
    uint32_t match; /* longest pattern that ends here; 0 none */
    unsigned char byte;
};

struct automaton {
    struct node *nodes;
    int32_t n, cap;
    int32_t root_goto[256];
    uint32_t depth_max;
    bool built;
    /* while streaming */
    int32_t state;
    uint64_t *at; /* raw offsets of the last depth_max bytes read; ring */
    uint64_t read;
};

struct interval {
    uint64_t from, to;
};

struct ptl_mask {
    struct automaton raw, unbroken;
    size_t total;
    unsigned gap;
    /* bytes from `base` on are still here */
    char *pending;
    size_t pending_len, pending_cap;
    uint64_t base;
    struct interval *hits; /* disjoint, ascending */
    size_t n_hits, hits_cap;
};

/* ---- building ---- */

static void *grow(void *old, size_t used, size_t cap, size_t item)
{
    void *p = ptl_xcalloc(cap, item);
    if (used)
        memcpy(p, old, used * item);
    free(old);
    return p;
}

static int32_t node_new(struct automaton *a)
{
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 256;
        a->nodes = grow(a->nodes, (size_t)a->n, (size_t)a->cap, sizeof(*a->nodes));
    }
    a->nodes[a->n] = (struct node){.child = -1, .next = -1};
    return a->n++;
}

static int32_t child_of(const struct automaton *a, int32_t node, unsigned char byte)
{
    if (node == 0)
        return a->root_goto[byte];
    for (int32_t c = a->nodes[node].child; c >= 0; c = a->nodes[c].next)
        if (a->nodes[c].byte == byte)
            return c;
    return -1;
}

static void automaton_init(struct automaton *a)
{
    memset(a, 0, sizeof(*a));
    node_new(a);
    for (int i = 0; i < 256; i++)
        a->root_goto[i] = -1;
}

static void add_pattern(struct automaton *a, const char *text, size_t len)
{
    int32_t at = 0;
    if (len < PTL_MASK_MIN)
        return;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        int32_t c = child_of(a, at, byte);
        if (c < 0) {
            c = node_new(a);
            a->nodes[c].byte = byte;
            a->nodes[c].depth = (uint32_t)i + 1;
            a->nodes[c].next = a->nodes[at].child;
            a->nodes[at].child = c;
            if (at == 0)
                a->root_goto[byte] = c;
        }
        at = c;
    }
    a->nodes[at].match = (uint32_t)len;
    if (len > a->depth_max)
        a->depth_max = (uint32_t)len;
}

static int32_t step(const struct automaton *a, int32_t state, unsigned char byte)
{
    for (;;) {
        int32_t c = child_of(a, state, byte);
        if (c >= 0)
            return c;
        if (state == 0)
            return 0;
        state = a->nodes[state].fail;
    }
}

/* Failure links, breadth first: each points to the longest proper suffix that is also a beginning of some
 * pattern. */
static void build(struct automaton *a)
{
    int32_t *queue = ptl_xcalloc((size_t)a->n, sizeof(*queue));
    int32_t head = 0, tail = 0;
    for (int32_t c = a->nodes[0].child; c >= 0; c = a->nodes[c].next)
        queue[tail++] = c;
    while (head < tail) {
        int32_t at = queue[head++];
        for (int32_t c = a->nodes[at].child; c >= 0; c = a->nodes[c].next) {
            int32_t f = step(a, a->nodes[at].fail, a->nodes[c].byte);
            a->nodes[c].fail = f;
            if (a->nodes[f].match > a->nodes[c].match)
                a->nodes[c].match = a->nodes[f].match;
            queue[tail++] = c;
        }
    }
    free(queue);
    a->at = ptl_xcalloc(a->depth_max + 1, sizeof(*a->at));
    a->built = true;
}

struct ptl_mask *ptl_mask_new(void)
{
    struct ptl_mask *m = ptl_xcalloc(1, sizeof(*m));
    automaton_init(&m->raw);
    automaton_init(&m->unbroken);
    return m;
}

struct ptl_mask *ptl_mask_free(struct ptl_mask *m)
{
    if (!m)
        return NULL;
    free(m->raw.nodes);
    free(m->raw.at);
    free(m->unbroken.nodes);
    free(m->unbroken.at);
    if (m->pending)
        explicit_bzero(m->pending, m->pending_cap);
    free(m->pending);
    free(m->hits);
    free(m);
    return NULL;
}

/* The characters of base64(prefix of `shift` bytes + secret + anything) that depend on the secret alone. */
static void add_base64(struct ptl_mask *m, const char *secret, size_t len, unsigned shift)
{
    unsigned char *bytes = ptl_xcalloc(len + shift + 1, 1);
    memcpy(bytes + shift, secret, len);
    PTL_FREE char *text = ptl_base64(bytes, len + shift);
    free(bytes);
    if (!text)
        return;
    size_t from = shift == 0 ? 0 : shift + 1, to = (len + shift) * 8 / 6;
    for (int url = 0; url < 2; url++) {
        if (url)
            for (char *c = text; *c; c++)
                *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
        if (to > from) {
            add_pattern(&m->raw, text + from, to - from);
            if (to - from >= UNBROKEN_MIN)
                add_pattern(&m->unbroken, text + from, to - from);
        }
    }
}

/* `keep`: characters that stay besides letters, digits and "-._"; encoders differ. */
static void add_url(struct ptl_mask *m, const char *secret, size_t len, const char *keep, bool upper,
                    bool plus)
{
    char *text = ptl_xcalloc(len * 3 + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)secret[i];
        if (isalnum(c) || strchr("-._", c) || (c && strchr(keep, c)))
            text[n++] = (char)c;
        else if (c == ' ' && plus)
            text[n++] = '+';
        else
            n += (size_t)sprintf(text + n, upper ? "%%%02X" : "%%%02x", c);
    }
    add_pattern(&m->raw, text, n);
    free(text);
}

static void add_lines(struct ptl_mask *m, const char *secret)
{
    for (const char *line = secret; *line;) {
        size_t len = strcspn(line, "\r\n");
        const char *from = line;
        size_t n = len;
        while (n && isspace((unsigned char)from[0])) {
            from++;
            n--;
        }
        while (n && isspace((unsigned char)from[n - 1]))
            n--;
        add_pattern(&m->raw, from, n);
        line += len;
        line += strspn(line, "\r\n");
    }
}

int ptl_mask_add(struct ptl_mask *m, const char *secret)
{
    size_t len = strlen(secret);
    if (m->raw.built || len > PTL_MASK_SECRET_MAX || m->total + len > PTL_MASK_TOTAL_MAX)
        return -E2BIG;
    if (len < PTL_MASK_MIN)
        return PTL_ABSENT;
    m->total += len;
    add_pattern(&m->raw, secret, len);
    add_lines(m, secret);
    for (unsigned shift = 0; shift < 3; shift++)
        add_base64(m, secret, len, shift);
    static const char *const keeps[] = {"", "~", "~/", "~!'()*", "*"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(keeps); i++)
        for (int variant = 0; variant < 4; variant++)
            add_url(m, secret, len, keeps[i], variant & 1, variant & 2);
    return 0;
}

/* ---- streaming ---- */

static void add_hit(struct ptl_mask *m, uint64_t from, uint64_t to)
{
    while (m->n_hits && m->hits[m->n_hits - 1].to > from) { /* overlaps the last one */
        if (m->hits[m->n_hits - 1].from < from)
            from = m->hits[m->n_hits - 1].from;
        m->n_hits--;
    }
    if (m->n_hits == m->hits_cap) {
        m->hits_cap = m->hits_cap ? m->hits_cap * 2 : 16;
        m->hits = grow(m->hits, m->n_hits, m->hits_cap, sizeof(*m->hits));
    }
    m->hits[m->n_hits++] = (struct interval){from, to};
}

static void read_byte(struct ptl_mask *m, struct automaton *a, unsigned char byte, uint64_t offset)
{
    if (a->depth_max == 0)
        return;
    a->at[a->read++ % (a->depth_max + 1)] = offset;
    a->state = step(a, a->state, byte);
    uint32_t len = a->nodes[a->state].match;
    if (len)
        add_hit(m, a->at[(a->read - len) % (a->depth_max + 1)], offset + 1);
}

/* Raw offset from which on the automaton is inside a possible pattern; `end` when it is in none. */
static uint64_t held_from(const struct automaton *a, uint64_t end)
{
    uint32_t depth = a->depth_max ? a->nodes[a->state].depth : 0;
    return depth ? a->at[(a->read - depth) % (a->depth_max + 1)] : end;
}

static void release(struct ptl_mask *m, uint64_t upto, ptl_mask_sink_fn *sink, void *ctx)
{
    uint64_t at = m->base;
    size_t h = 0;
    for (; h < m->n_hits && m->hits[h].from < upto; h++) {
        if (m->hits[h].to > upto) { /* it may yet grow together with what is held back */
            upto = m->hits[h].from;
            break;
        }
        if (m->hits[h].from > at)
            sink(ctx, m->pending + (at - m->base), (size_t)(m->hits[h].from - at));
        sink(ctx, "***", 3);
        at = m->hits[h].to;
    }
    if (upto > at) {
        sink(ctx, m->pending + (at - m->base), (size_t)(upto - at));
        at = upto;
    }
    if (h && m->n_hits > h)
        memmove(m->hits, m->hits + h, (m->n_hits - h) * sizeof(*m->hits));
    m->n_hits -= h;
    size_t gone = (size_t)(at - m->base);
    if (gone)
        memmove(m->pending, m->pending + gone, m->pending_len - gone);
    m->pending_len -= gone;
    m->base = at;
}

void ptl_mask_feed(struct ptl_mask *m, const char *data, size_t len, ptl_mask_sink_fn *sink, void *ctx)
{
    if (!m->raw.built) {
        build(&m->raw);
        build(&m->unbroken);
    }
    if (len == 0)
        return;
    if (m->raw.depth_max == 0) {
        sink(ctx, data, len);
        return;
    }
    if (m->pending_len + len > m->pending_cap) {
        m->pending_cap = (m->pending_len + len) * 2;
        m->pending = grow(m->pending, m->pending_len, m->pending_cap, 1);
    }
    uint64_t offset = m->base + m->pending_len;
    memcpy(m->pending + m->pending_len, data, len);
    m->pending_len += len;
    for (size_t i = 0; i < len; i++, offset++) {
        unsigned char byte = (unsigned char)data[i];
        read_byte(m, &m->raw, byte, offset);
        if (byte == '\n' || byte == '\r' || byte == ' ' || byte == '\t') {
            if (++m->gap > GAP_MAX)
                m->unbroken.state = 0;
        } else {
            m->gap = 0;
            read_byte(m, &m->unbroken, byte, offset);
        }
    }
    uint64_t raw = held_from(&m->raw, offset), unbroken = held_from(&m->unbroken, offset);
    release(m, raw < unbroken ? raw : unbroken, sink, ctx);
}

void ptl_mask_end(struct ptl_mask *m, ptl_mask_sink_fn *sink, void *ctx)
{
    if (m->raw.depth_max == 0)
        return;
    m->raw.state = m->unbroken.state = 0;
    release(m, m->base + m->pending_len, sink, ctx);
}
