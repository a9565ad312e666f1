/* tensorflow.c - SavedModel and GraphDef by TensorFlow's published protobuf schemas: tags, signatures, and
 * the operators that a signature reaches (what saves, restores and trains stands in the same file and is
 * never served). */
#include "model-private.h"
#include <portolan/fs.h>
#include <sys/stat.h>

static const char *dtype_of(uint64_t t)
{
    static const char *const names[] = {NULL,         "float32", "float64",   "int32",   "uint8",   "int16",
                                        "int8",       "string",  "complex64", "int64",   "bool",    "qint8",
                                        "quint8",     "qint32",  "bfloat16",  "qint16",  "quint16", "uint16",
                                        "complex128", "float16", "resource",  "variant", "uint32",  "uint64"};
    return t < PTL_ARRAY_LEN(names) ? names[t] : NULL;
}

/* ---- the graph: nodes by name, functions by name */
struct node {
    struct bytes b, name;
    uint32_t next; /* in its bucket, + 1 */
    bool seen;
};
struct graph {
    struct node *nodes;
    uint32_t n, *bucket, n_buckets;
};
enum { LOOK_MAX = 100000000 }; /* comparisons of a call with the functions there are: about a second */
struct reach {
    json_t *facts;
    struct graph main;
    struct bytes *fn, *fn_name; /* FunctionDef and its name */
    bool *fn_seen;
    uint32_t n_fn;
    int64_t total, looked_at;
    uint32_t *stack, n_stack, cap_stack;
};

static uint32_t hash(struct bytes b)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < b.n; i++)
        h = (h ^ b.p[i]) * 16777619u;
    return h;
}

static bool same(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static int graph_of(struct bytes def, struct graph *g)
{
    struct pb pb = pb_of(def);
    struct pb_field f;
    uint32_t n = 0;
    while (pb_next(&pb, &f))
        n += f.number == 1 && f.wire == 2 && n < PTL_MODEL_NODES_MAX;
    g->nodes = calloc(n + 1u, sizeof(*g->nodes));
    for (g->n_buckets = 64; g->n_buckets < 2 * n; g->n_buckets *= 2)
        ;
    g->bucket = calloc(g->n_buckets, sizeof(*g->bucket));
    if (!g->nodes || !g->bucket)
        return -ENOMEM;
    pb = pb_of(def);
    while (pb_next(&pb, &f) && g->n < n)
        if (f.number == 1 && f.wire == 2) {
            struct node *x = &g->nodes[g->n++];
            x->b = f.b;
            x->name = pb_bytes(f.b, 1);
            uint32_t *head = &g->bucket[hash(x->name) & (g->n_buckets - 1)];
            x->next = *head;
            *head = g->n;
        }
    return 0;
}

static uint32_t find(const struct graph *g, struct bytes name) /* + 1; 0: none */
{
    uint32_t at = g->bucket[hash(name) & (g->n_buckets - 1)];
    while (at && !same(g->nodes[at - 1].name, name))
        at = g->nodes[at - 1].next;
    return at;
}

/* "^node", "node:1" -> "node" */
static struct bytes input_name(struct bytes b)
{
    if (b.n && b.p[0] == '^') {
        b.p++;
        b.n--;
    }
    const uint8_t *colon = memchr(b.p ? b.p : (const uint8_t *)"", ':', b.n);
    if (colon)
        b.n = (size_t)(colon - b.p);
    return b;
}

static void push(struct reach *r, struct bytes name)
{
    uint32_t at = find(&r->main, input_name(name));
    if (!at || r->main.nodes[at - 1].seen)
        return;
    r->main.nodes[at - 1].seen = true;
    if (r->n_stack < r->cap_stack)
        r->stack[r->n_stack++] = at - 1;
}

static void function(struct reach *r, struct bytes name, int depth);

/* Counts the operator and walks into the functions that its attributes name. */
static void count(struct reach *r, struct bytes def, int depth)
{
    struct bytes op = pb_bytes(def, 2);
    if (++r->total > PTL_MODEL_NODES_MAX) {
        fact_cut(r->facts, "operators: only the first %d are counted", PTL_MODEL_NODES_MAX);
        return;
    }
    if (op.n)
        fact_count(r->facts, "ops", (const char *)op.p, op.n, 1);
    struct pb pb = pb_of(def);
    struct pb_field f;
    while (pb_next(&pb, &f))
        if (f.number == 5 && f.wire == 2) {
            struct bytes value = pb_bytes(f.b, 2), fn = pb_bytes(value, 10), list = pb_bytes(value, 1);
            if (fn.n)
                function(r, pb_bytes(fn, 1), depth + 1);
            struct pb items = pb_of(list);
            struct pb_field i;
            while (list.n && pb_next(&items, &i))
                if (i.number == 9 && i.wire == 2) /* list(func): branches of Case */
                    function(r, pb_bytes(i.b, 1), depth + 1);
        }
}

static void function(struct reach *r, struct bytes name, int depth)
{
    if (depth > 64) {
        fact_cut(r->facts, "functions that call deeper than 64 are not read");
        return;
    }
    if (r->looked_at > LOOK_MAX)
        return;
    if ((r->looked_at += r->n_fn) > LOOK_MAX) {
        fact_cut(r->facts, "functions: there are more calls than are followed");
        return;
    }
    for (uint32_t i = 0; i < r->n_fn; i++)
        if (!r->fn_seen[i] && same(r->fn_name[i], name)) {
            struct pb pb = pb_of(r->fn[i]);
            struct pb_field f;
            r->fn_seen[i] = true;
            while (pb_next(&pb, &f))
                if (f.number == 3 && f.wire == 2)
                    count(r, f.b, depth);
            return;
        }
}

static int functions_of(struct bytes library, struct reach *r)
{
    struct pb pb = pb_of(library);
    struct pb_field f;
    uint32_t n = 0;
    while (pb_next(&pb, &f))
        n += f.number == 1 && f.wire == 2 && n < 100000;
    r->fn = calloc(n + 1u, sizeof(*r->fn));
    r->fn_name = calloc(n + 1u, sizeof(*r->fn_name));
    r->fn_seen = calloc(n + 1u, sizeof(*r->fn_seen));
    if (!r->fn || !r->fn_name || !r->fn_seen)
        return -ENOMEM;
    pb = pb_of(library);
    while (pb_next(&pb, &f) && r->n_fn < n)
        if (f.number == 1 && f.wire == 2) {
            r->fn[r->n_fn] = f.b;
            r->fn_name[r->n_fn++] = pb_bytes(pb_bytes(f.b, 1), 1);
        }
    return 0;
}

static void reach_done(struct reach *r)
{
    free(r->main.nodes);
    free(r->main.bucket);
    free(r->fn);
    free(r->fn_name);
    free(r->fn_seen);
    free(r->stack);
}

/* Operators that the tensors of `outputs` (an array of names) stand on; NULL: all of the graph. */
static int reach_from(json_t *facts, struct bytes graph_def, const json_t *outputs)
{
    struct reach r = {.facts = facts};
    size_t i;
    const json_t *v;
    int e = graph_of(graph_def, &r.main);
    if (e == 0)
        e = functions_of(pb_bytes(graph_def, 2), &r);
    r.cap_stack = r.main.n + 1;
    if (e == 0 && !(r.stack = calloc(r.cap_stack, sizeof(*r.stack))))
        e = -ENOMEM;
    if (e == 0 && outputs)
        json_array_foreach(outputs, i, v)
            push(&r, (struct bytes){(const uint8_t *)json_string_value(v), json_string_length(v)});
    for (uint32_t k = 0; e == 0 && !outputs && k < r.main.n; k++)
        count(&r, r.main.nodes[k].b, 0);
    while (e == 0 && r.n_stack) {
        struct bytes def = r.main.nodes[r.stack[--r.n_stack]].b;
        struct pb pb = pb_of(def);
        struct pb_field f;
        count(&r, def, 0);
        while (pb_next(&pb, &f))
            if (f.number == 3 && f.wire == 2)
                push(&r, f.b);
    }
    json_object_set_new(facts, "ops_total", json_integer(r.total));
    reach_done(&r);
    return e;
}

/* ---- signatures */
static json_t *tensor_info(struct bytes entry, json_t *names)
{
    struct bytes info = pb_bytes(entry, 2), shape = pb_bytes(info, 3), name = pb_bytes(info, 1);
    uint64_t dtype = 0, unknown = 0;
    json_t *o = json_object(), *dims = json_array();
    (void)pb_varint(info, 2, &dtype);
    (void)pb_varint(shape, 3, &unknown);
    struct pb pb = pb_of(shape);
    struct pb_field f;
    while (shape.p && pb_next(&pb, &f) && json_array_size(dims) < 64)
        if (f.number == 2 && f.wire == 2) {
            uint64_t size = 0;
            (void)pb_varint(f.b, 1, &size);
            json_array_append_new(dims, (int64_t)size < 0 ? json_null() : json_integer((json_int_t)size));
        }
    if (names && name.n)
        json_array_append_new(names, text_of(name.p, name.n));
    struct bytes key = pb_bytes(entry, 1);
    json_object_set_new(o, "name", text_of(key.p ? key.p : (const uint8_t *)"", key.n));
    json_object_set_new(o, "dtype", dtype_of(dtype) ? json_string(dtype_of(dtype)) : json_null());
    if (unknown) {
        json_decref(dims);
        dims = json_null();
    }
    json_object_set_new(o, "shape", dims);
    return o;
}

static void signature(json_t *facts, struct bytes entry, json_t *names)
{
    struct bytes key = pb_bytes(entry, 1), def = pb_bytes(entry, 2);
    json_t *signatures = json_object_get(facts, "signatures"), *s = json_object(), *in = json_array(),
           *out = json_array();
    PTL_JSON *name = text_of(key.p ? key.p : (const uint8_t *)"", key.n);
    struct pb pb = pb_of(def);
    struct pb_field f;
    bool init = ptl_str_eq(json_string_value(name), "__saved_model_init_op");
    while (pb_next(&pb, &f) && json_array_size(in) + json_array_size(out) < PTL_MODEL_NAMES_MAX) {
        if (f.number == 1 && f.wire == 2)
            json_array_append_new(in, tensor_info(f.b, NULL));
        else if (f.number == 2 && f.wire == 2)
            json_array_append_new(out, tensor_info(f.b, init ? NULL : names));
    }
    json_object_set_new(s, "inputs", in);
    json_object_set_new(s, "outputs", out);
    if (!init && json_object_size(signatures) < 100)
        json_object_set_new(signatures, json_string_value(name), s);
    else
        json_decref(s);
}

static void meta_graph(json_t *facts, struct bytes b, json_t *names)
{
    struct pb pb = pb_of(pb_bytes(b, 1));
    struct pb_field f;
    json_t *tags = json_array();
    while (pb_next(&pb, &f)) {
        if (f.number == 4 && f.wire == 2 && json_array_size(tags) < 20)
            json_array_append_new(tags, text_of(f.b.p, f.b.n));
        else if (f.number == 5 && f.wire == 2)
            json_object_set_new(facts, "version", text_of(f.b.p, f.b.n));
    }
    json_array_append_new(json_object_get(facts, "tags"), tags);
    pb = pb_of(b);
    while (pb_next(&pb, &f))
        if (f.number == 5 && f.wire == 2)
            signature(facts, f.b, names);
}

/* Inputs and outputs of the signature that is served by default, or the only one. */
static void main_signature(json_t *facts)
{
    json_t *signatures = json_object_get(facts, "signatures"),
           *s = json_object_get(signatures, "serving_default");
    if (!s && json_object_size(signatures) == 1)
        s = json_object_iter_value(json_object_iter(signatures));
    if (s) {
        json_object_set(facts, "inputs", json_object_get(s, "inputs"));
        json_object_set(facts, "outputs", json_object_get(s, "outputs"));
    }
}

static void variables(const char *dir, const char *path, json_t *facts)
{
    PTL_FREE char *folder = ptl_xasprintf("%s/%s/variables", dir, path);
    struct stat st;
    int64_t total = 0;
    bool index = false, data = false;
    for (int i = -1; i < 1000; i++) {
        /* one shard is by far the most common; the name tells how many there are, so try those that exist */
        PTL_FREE char *file = i < 0 ? ptl_xasprintf("%s/variables.index", folder)
                                    : ptl_xasprintf("%s/variables.data-%05d-of-00001", folder, i);
        if (lstat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            index = index || i < 0;
            data = data || i >= 0;
            total += st.st_size;
        } else if (i >= 0) {
            break;
        }
    }
    for (int of = 2; !data && of <= 64; of++)
        for (int i = 0; i < of; i++) {
            PTL_FREE char *file = ptl_xasprintf("%s/variables.data-%05d-of-%05d", folder, i, of);
            if (lstat(file, &st) == 0 && S_ISREG(st.st_mode))
                total += st.st_size;
            else if (i > 0 || total == 0)
                break;
            if (i == of - 1)
                data = true;
        }
    json_object_set_new(facts, "variables", json_boolean(index && data));
    json_object_set_new(facts, "weights_bytes", json_integer(total));
    fact_plus(facts, "size_bytes", total);
    if (index != data)
        fact_problem(facts, "its variables folder lacks %s", index ? "a data shard" : "variables.index");
}

int read_saved_model(const char *dir, const char *path, struct bytes b, json_t *facts, struct ptl_error *err)
{
    struct pb pb = pb_of(b);
    struct pb_field f;
    PTL_JSON *names = json_array();
    struct bytes first = {NULL, 0};
    int n = 0, r = 0;
    json_object_set_new(facts, "tags", json_array());
    json_object_set_new(facts, "signatures", json_object());
    while (pb_next(&pb, &f))
        if (f.number == 2 && f.wire == 2 && n++ < 20) {
            meta_graph(facts, f.b, names);
            if (!first.p)
                first = f.b;
        }
    if (pb.bad)
        fact_problem(facts, "its saved_model.pb is cut off or damaged");
    else if (!first.p)
        fact_problem(facts, "its saved_model.pb has no graph");
    main_signature(facts);
    if (first.p)
        r = reach_from(facts, pb_bytes(first, 2), names);
    variables(dir, path, facts);
    const json_t *ops = json_object_get(facts, "ops");
    bool reads = json_object_get(ops, "ReadVariableOp") || json_object_get(ops, "VarHandleOp") ||
                 json_object_get(ops, "VariableV2");
    if (reads && !json_is_true(json_object_get(facts, "variables")))
        fact_problem(
            facts,
            "reads variables, but its variables folder is missing or incomplete: only the graph is here, not the weights");
    return r < 0 ? ptl_error_set(err, r, "%s: out of memory", path) : 0;
}

int read_graphdef(const char *dir PTL_UNUSED, const char *path, struct bytes b, json_t *facts,
                  struct ptl_error *err)
{
    int r = reach_from(facts, b, NULL);
    if (!pb_is_message(b))
        fact_problem(facts, "is cut off or damaged");
    json_object_set_new(facts, "weights_bytes", json_integer((json_int_t)b.n));
    return r < 0 ? ptl_error_set(err, r, "%s: out of memory", path) : 0;
}
