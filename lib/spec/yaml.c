/* yaml.c - libyaml's events into a tree with places. Pure. The text may be hostile: size, depth and number of
 * nodes are bounded while events arrive, an alias costs as many nodes as it stands for (so that ten anchors
 * of ten aliases each are refused at the bound and not at the end of memory), an anchor may not contain
 * itself, keys must be scalars and unique, only the core tags are known, one document only. Merge keys (<<)
 * are honoured. All nodes live in one list of blocks that is freed at once. */
#include "yaml-private.h"
#include <ctype.h>
#include <math.h>
#include <portolan/spec.h>
#include <stdio.h>
#include <yaml.h>

enum {
    BLOCK = 16 * 1024,
    MAX_ANCHORS = 1000,
    MAX_KEYS = 2000 /* of one map; twins are looked for one by one */
};

struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
};

struct yaml_tree {
    struct block *blocks;
    struct yaml_node *root;
};

struct anchor {
    char *name;
    struct yaml_node *node;
    bool open; /* still being built: an alias to it would be a cycle */
};

struct frame {
    struct yaml_node *node;
    struct yaml_node *key; /* map: the key that waits for its value */
    size_t cap;
    struct anchor *anchor;
};

struct build {
    struct yaml_tree *tree;
    struct yaml_fault *fault;
    struct frame stack[PTL_SPEC_MAX_DEPTH];
    size_t depth;
    struct anchor *anchors;
    size_t n_anchors;
    uint32_t nodes;
};

static void *tree_alloc(struct yaml_tree *t, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (!t->blocks || t->blocks->size - t->blocks->used < size) {
        size_t room = size > BLOCK ? size : BLOCK;
        struct block *b = malloc(sizeof(*b) + room);
        if (!b)
            return NULL;
        *b = (struct block){t->blocks, 0, room};
        t->blocks = b;
    }
    void *p = (char *)t->blocks->data + t->blocks->used;
    t->blocks->used += size;
    memset(p, 0, size);
    return p;
}

struct yaml_tree *yaml_tree_free(struct yaml_tree *t)
{
    if (!t)
        return NULL;
    while (t->blocks) {
        struct block *b = t->blocks;
        t->blocks = b->next;
        free(b);
    }
    free(t);
    return NULL;
}

const struct yaml_node *yaml_root(const struct yaml_tree *t)
{
    return t->root;
}

static int fault(struct build *b, yaml_mark_t at, const char *fmt, ...) PTL_PRINTF(3, 4);
static int fault(struct build *b, yaml_mark_t at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->fault->text, sizeof(b->fault->text), fmt, ap);
    va_end(ap);
    b->fault->line = (unsigned)at.line + 1;
    b->fault->column = (unsigned)at.column + 1;
    return -EINVAL;
}

/* A growing array inside the tree's blocks: doubled, the old one left behind (at most as much again). */
static void *grown(struct build *b, void *old, size_t n, size_t *cap, size_t each)
{
    if (n < *cap)
        return old;
    size_t next = *cap ? *cap * 2 : 8;
    void *p = tree_alloc(b->tree, next * each);
    if (!p)
        return NULL;
    if (n)
        memcpy(p, old, n * each);
    *cap = next;
    return p;
}

static const struct yaml_node *find(const struct yaml_node *map, const char *key)
{
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->pairs[i].key->text, key) == 0)
            return map->pairs[i].key;
    return NULL;
}

static int add_pair(struct build *b, struct frame *f, struct yaml_node *key, struct yaml_node *value)
{
    struct yaml_node *m = f->node;
    if (m->n == MAX_KEYS)
        return fault(b, (yaml_mark_t){.line = key->line - 1, .column = key->column - 1},
                     "more than %d keys in one map", MAX_KEYS);
    struct yaml_pair *p = grown(b, m->pairs, m->n, &f->cap, sizeof(*p));
    if (!p)
        return -ENOMEM;
    m->pairs = p;
    p[m->n++] = (struct yaml_pair){key, value};
    return 0;
}

static int merge_map(struct build *b, struct frame *f, struct yaml_node *from, yaml_mark_t at)
{
    if (from->kind != YAML_MAP)
        return fault(b, at, "'<<' takes a map, an alias of one or a list of them");
    for (size_t i = 0; i < from->n; i++) {
        if (find(f->node, from->pairs[i].key->text))
            continue; /* what is written out wins, and earlier merges win over later ones */
        if (++b->nodes > PTL_SPEC_MAX_NODES)
            return fault(b, at, "more than %d nodes", PTL_SPEC_MAX_NODES);
        int r = add_pair(b, f, from->pairs[i].key, from->pairs[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* At the end of a map: takes its '<<' pair out and merges what it names. */
static int merge(struct build *b, struct frame *f, yaml_mark_t at)
{
    struct yaml_node *m = f->node;
    size_t i = 0;
    while (i < m->n && !(m->pairs[i].key->plain && strcmp(m->pairs[i].key->text, "<<") == 0))
        i++;
    if (i == m->n)
        return 0;
    struct yaml_node *from = m->pairs[i].value;
    memmove(&m->pairs[i], &m->pairs[i + 1], (m->n - i - 1) * sizeof(m->pairs[0]));
    m->n--;
    if (from->kind != YAML_LIST)
        return merge_map(b, f, from, at);
    for (size_t k = 0; k < from->n; k++) {
        int r = merge_map(b, f, from->items[k], at);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A finished node goes to the frame that waits for it. */
static int place(struct build *b, struct yaml_node *n, yaml_mark_t at)
{
    if (b->depth == 0) {
        b->tree->root = n;
        return 0;
    }
    struct frame *f = &b->stack[b->depth - 1];
    if (b->depth + n->height > PTL_SPEC_MAX_DEPTH) /* an alias may be as deep as what holds it */
        return fault(b, at, "nested deeper than %d", PTL_SPEC_MAX_DEPTH);
    if (f->node->height < n->height + 1)
        f->node->height = n->height + 1;
    f->node->weight += n->weight; /* cannot overflow: both are below the bound on nodes */
    if (f->node->kind == YAML_LIST) {
        struct yaml_node **items = grown(b, f->node->items, f->node->n, &f->cap, sizeof(struct yaml_node *));
        if (!items)
            return -ENOMEM;
        f->node->items = items;
        items[f->node->n++] = n;
        return 0;
    }
    if (!f->key) {
        if (n->kind != YAML_SCALAR)
            return fault(b, at, "a key must be a word, not a %s", n->kind == YAML_MAP ? "map" : "list");
        const struct yaml_node *twin = find(f->node, n->text);
        if (twin)
            return fault(b, at, "key '%.80s' is given twice (first in line %u)", n->text, twin->line);
        f->key = n;
        return 0;
    }
    int r = add_pair(b, f, f->key, n);
    f->key = NULL;
    return r;
}

static struct yaml_node *node_new(struct build *b, enum yaml_kind kind, yaml_mark_t at)
{
    struct yaml_node *n = tree_alloc(b->tree, sizeof(*n));
    if (n)
        *n = (struct yaml_node){
            .kind = kind, .line = (unsigned)at.line + 1, .column = (unsigned)at.column + 1, .weight = 1};
    return n;
}

static int count(struct build *b, uint32_t weight, yaml_mark_t at)
{
    if (weight > PTL_SPEC_MAX_NODES - b->nodes)
        return fault(b, at, "more than %d nodes (aliases count as what they stand for)", PTL_SPEC_MAX_NODES);
    b->nodes += weight;
    return 0;
}

static int check_tag(struct build *b, const yaml_char_t *tag, yaml_mark_t at)
{
    static const char *const known[] = {"!",           YAML_STR_TAG,  YAML_INT_TAG, YAML_FLOAT_TAG,
                                        YAML_BOOL_TAG, YAML_NULL_TAG, YAML_MAP_TAG, YAML_SEQ_TAG};
    if (!tag)
        return 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(known); i++)
        if (strcmp((const char *)tag, known[i]) == 0)
            return 0;
    return fault(b, at, "the tag '%.60s' is not supported", (const char *)tag);
}

static int set_anchor(struct build *b, const yaml_char_t *name, struct yaml_node *n, bool open,
                      yaml_mark_t at, struct anchor **ret)
{
    *ret = NULL;
    if (!name)
        return 0;
    size_t i = 0;
    while (i < b->n_anchors && strcmp(b->anchors[i].name, (const char *)name) != 0)
        i++;
    if (i == b->n_anchors) { /* a name given again means the newer node from here on */
        if (i == MAX_ANCHORS)
            return fault(b, at, "more than %d anchors", MAX_ANCHORS);
        size_t len = strlen((const char *)name) + 1;
        char *copy = tree_alloc(b->tree, len);
        if (!copy)
            return -ENOMEM;
        b->anchors[i].name = memcpy(copy, name, len);
        b->n_anchors++;
    }
    b->anchors[i].node = n;
    b->anchors[i].open = open;
    *ret = &b->anchors[i];
    return 0;
}

static int on_scalar(struct build *b, const yaml_event_t *e)
{
    size_t len = e->data.scalar.length;
    int r = check_tag(b, e->data.scalar.tag, e->start_mark);
    if (r < 0 || (r = count(b, 1, e->start_mark)) < 0)
        return r;
    if (memchr(e->data.scalar.value, 0, len))
        return fault(b, e->start_mark, "a NUL character in a value");
    struct yaml_node *n = node_new(b, YAML_SCALAR, e->start_mark);
    if (!n || !(n->text = tree_alloc(b->tree, len + 1)))
        return -ENOMEM;
    memcpy(n->text, e->data.scalar.value, len);
    n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
               !(e->data.scalar.tag && strcmp((const char *)e->data.scalar.tag, YAML_STR_TAG) == 0);
    struct anchor *a;
    r = set_anchor(b, e->data.scalar.anchor, n, false, e->start_mark, &a);
    return r < 0 ? r : place(b, n, e->start_mark);
}

static int on_start(struct build *b, enum yaml_kind kind, const yaml_char_t *anchor, const yaml_char_t *tag,
                    yaml_mark_t at)
{
    int r = check_tag(b, tag, at);
    if (r < 0 || (r = count(b, 1, at)) < 0)
        return r;
    if (b->depth == PTL_SPEC_MAX_DEPTH)
        return fault(b, at, "nested deeper than %d", PTL_SPEC_MAX_DEPTH);
    struct yaml_node *n = node_new(b, kind, at);
    if (!n)
        return -ENOMEM;
    struct frame f = {.node = n};
    r = set_anchor(b, anchor, n, true, at, &f.anchor);
    if (r < 0)
        return r;
    b->stack[b->depth++] = f;
    return 0;
}

static int on_end(struct build *b, yaml_mark_t at)
{
    struct frame *f = &b->stack[b->depth - 1];
    int r = f->node->kind == YAML_MAP ? merge(b, f, at) : 0;
    if (r < 0)
        return r;
    if (f->anchor && f->anchor->node == f->node)
        f->anchor->open = false;
    struct yaml_node *n = f->node;
    b->depth--;
    return place(b, n, (yaml_mark_t){.line = n->line - 1, .column = n->column - 1});
}

static int on_alias(struct build *b, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    for (size_t i = 0; i < b->n_anchors; i++) {
        if (strcmp(b->anchors[i].name, name) != 0)
            continue;
        if (b->anchors[i].open)
            return fault(b, e->start_mark, "the anchor '%.60s' contains itself", name);
        int r = count(b, b->anchors[i].node->weight, e->start_mark);
        return r < 0 ? r : place(b, b->anchors[i].node, e->start_mark);
    }
    return fault(b, e->start_mark, "the alias '*%.60s' has no anchor before it", name);
}

static int on_event(struct build *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return b->tree->root ? fault(b, e->start_mark, "a second document; one is expected") : 0;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, e);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, YAML_MAP, e->data.mapping_start.anchor, e->data.mapping_start.tag, e->start_mark);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, YAML_LIST, e->data.sequence_start.anchor, e->data.sequence_start.tag,
                        e->start_mark);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return on_end(b, e->start_mark);
    case YAML_ALIAS_EVENT:
        return on_alias(b, e);
    default:
        return 0;
    }
}

static int parse_failed(struct build *b, const yaml_parser_t *p)
{
    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (p->error == YAML_READER_ERROR) {
        yaml_mark_t at = p->mark;
        return fault(b, at, "not UTF-8 text: %s", p->problem ? p->problem : "unreadable");
    }
    if (p->context)
        return fault(b, p->problem_mark, "not YAML: %s (%s in line %zu)",
                     p->problem ? p->problem : "unreadable", p->context, p->context_mark.line + 1);
    return fault(b, p->problem_mark, "not YAML: %s", p->problem ? p->problem : "unreadable");
}

int yaml_tree_parse(const char *text, size_t len, struct yaml_tree **ret, struct yaml_fault *ret_fault)
{
    struct build b = {.fault = ret_fault};
    yaml_parser_t parser;
    *ret_fault = (struct yaml_fault){.line = 1, .column = 1};
    if (len > PTL_SPEC_MAX_BYTES)
        return fault(&b, (yaml_mark_t){0}, "%zu bytes; at most %d are read", len, PTL_SPEC_MAX_BYTES);
    PTL_CLEANUP(yaml_tree_freep) struct yaml_tree *tree = calloc(1, sizeof(*tree));
    PTL_FREE struct anchor *anchors = calloc(MAX_ANCHORS, sizeof(*anchors));
    if (!tree || !anchors || !yaml_parser_initialize(&parser))
        return -ENOMEM;
    b.tree = tree;
    b.anchors = anchors;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int r = 0;
    for (bool end = false; r == 0 && !end;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&parser, &e)) {
            r = parse_failed(&b, &parser);
            break;
        }
        end = e.type == YAML_STREAM_END_EVENT;
        r = on_event(&b, &e);
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&parser);
    if (r == 0 && !tree->root)
        r = fault(&b, (yaml_mark_t){0}, "the file is empty");
    if (r == 0)
        *ret = PTL_TAKE(tree);
    return r;
}

/* ---- scalars ---- */

bool yaml_is_null(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && n->plain &&
           (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcasecmp(n->text, "null") == 0);
}

bool yaml_is_bool(const struct yaml_node *n, bool *ret)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        {"true",  true },
        {"false", false},
        {"yes",   true },
        {"no",    false},
        {"on",    true },
        {"off",   false}
    };
    for (size_t i = 0; n->kind == YAML_SCALAR && n->plain && i < PTL_ARRAY_LEN(words); i++)
        if (strcasecmp(n->text, words[i].word) == 0) {
            *ret = words[i].value;
            return true;
        }
    return false;
}

/* Decimal, optionally signed, fraction and exponent; no hex, octal, infinity or underscores. */
bool yaml_is_number(const struct yaml_node *n, double *ret)
{
    if (n->kind != YAML_SCALAR || !n->plain)
        return false;
    const char *p = n->text;
    size_t digits = 0;
    p += *p == '-' || *p == '+';
    for (; isdigit((unsigned char)*p); p++)
        digits++;
    if (*p == '.')
        for (p++; isdigit((unsigned char)*p); p++)
            digits++;
    if (!digits)
        return false;
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '-' || p[1] == '+' ? 2 : 1;
        if (!isdigit((unsigned char)*p))
            return false;
        while (isdigit((unsigned char)*p))
            p++;
    }
    double v = *p ? NAN : strtod(n->text, NULL);
    if (!isfinite(v))
        return false;
    *ret = v;
    return true;
}

/* Numbers that would not print the same again stay text: 3.10 is a version, 007 a name. */
json_t *yaml_scalar_json(const struct yaml_node *n)
{
    bool flag;
    double v;
    if (yaml_is_null(n))
        return json_null();
    if (n->plain && (strcasecmp(n->text, "true") == 0 || strcasecmp(n->text, "false") == 0) &&
        yaml_is_bool(n, &flag))
        return json_boolean(flag);
    if (!yaml_is_number(n, &v))
        return json_string(n->text);
    const char *digits = n->text + (n->text[0] == '-');
    bool whole = strspn(digits, "0123456789") == strlen(digits);
    if (digits[0] == '+' || (digits[0] == '0' && isdigit((unsigned char)digits[1])))
        return json_string(n->text);
    if (whole && strlen(digits) <= 18)
        return json_integer(strtoll(n->text, NULL, 10));
    size_t len = strlen(digits);
    bool trailing =
        strchr(digits, '.') && !strpbrk(digits, "eE") && digits[len - 1] == '0' && digits[len - 2] != '.';
    return whole || trailing ? json_string(n->text) : json_real(v);
}

json_t *yaml_to_json(const struct yaml_node *n)
{
    if (n->kind == YAML_SCALAR)
        return yaml_scalar_json(n);
    json_t *j = n->kind == YAML_MAP ? json_object() : json_array();
    for (size_t i = 0; j && i < n->n; i++) {
        json_t *v = yaml_to_json(n->kind == YAML_MAP ? n->pairs[i].value : n->items[i]);
        int r = n->kind == YAML_MAP ? json_object_set_new(j, n->pairs[i].key->text, v)
                                    : json_array_append_new(j, v);
        if (r < 0) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

int ptl_yaml_parse(const char *text, size_t len, const char *what, json_t **ret, struct ptl_error *err)
{
    PTL_CLEANUP(yaml_tree_freep) struct yaml_tree *tree = NULL;
    struct yaml_fault f;
    int r = yaml_tree_parse(text, len, &tree, &f);
    if (r == -EINVAL)
        return ptl_error_set(err, r, "%s:%u:%u: %s", what, f.line, f.column, f.text);
    json_t *j = r < 0 ? NULL : yaml_to_json(tree->root);
    if (!j)
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", what);
    *ret = j;
    return 0;
}
