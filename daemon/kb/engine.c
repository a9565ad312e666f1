/* engine.c - compiles the knowledge base and scans a text with it: every pattern of every indicator and the
 * marks of lines in one Vectorscan database, one block scan. What the scan reports is the line; groups are
 * read later, on that line only, by the linear matcher. */
#include "kb-private.h"
#include "data.h"
#include <portolan/hash.h>
#include <ctype.h>
#include <limits.h>
#include <stdio.h>

/* Structure of logs, not knowledge about failures: so it is code. Caseless where said. */
static const struct {
    enum mark mark;
    bool caseless;
    const char *pattern;
} marks[] = {
    {MARK_ERROR,     true,
     "error|fatal|exception|fail(?:ed|ure|s)?\\b|panic|abort(?:ed|ing)|cannot |can.t |could not|unable to|denied|refused|not found|invalid|unsupported|"
     "not supported|undefined|unexpected|mismatch|missing|no such|killed|terminated|unknown|illegal|not a valid|must be|expected|timed out|out of memory"                                                                                                                                                                 },
    {MARK_ERROR,     false, "^(?:E|F)[/ ]|\\bERR!|\\bNaN\\b|^\\x01"                                                                                                                                                                                                                                                       },
    {MARK_WARNING,   true,  "\\bwarn(?:ing)?\\b|deprecat"                                                                                                                                                                                                                                                                 },
    {MARK_GOOD,      true,
     "build successful|build succeeded|^success$|installed successfully|successfully (?:built|installed|completed)|tests? passed|test build succeeded|compiled successfully|^done\\.?$|build complete"                                                                                                                    },
    {MARK_TRACE,     false, "^Traceback \\(most recent call last\\)"                                                                                                                                                                                                                                                      },
    {MARK_EXCEPTION, false, "^[A-Za-z_][\\w.$]*(?:Error|Exception|Interrupt|Exit)(?:: |$)"                                                                                                                                                                                                                                },
    {MARK_CHAIN,     false, "^During handling of the above exception|^The above exception was the direct cause"                                                                                                                                                                                                           },
    {MARK_CAUSED_BY, false, "^\\s*Caused by: "                                                                                                                                                                                                                                                                            },
    {MARK_PERSON,    false,
     "(?:^|[ (])I [a-z']+[ .,]|(?:^|[ (])(?:I'm|I've|I'd|I'll) |(?:^| )(?:[Hh]ow (?:to|do|does|can|should|could) |[Ii]s it possible|[Ii]s there (?:a|any) |[Cc]an (?:I|some|any|you|we)|[Aa]ny(?:one|body) |[Tt]hanks|[Ww]hat (?:is|are|would|should) |[Ww]e (?:are|have|use|want) |[Aa]ny (?:help|idea|suggestion))|^```"},
};

static unsigned bits_of(const json_t *list, const char *const *names)
{
    unsigned bits = 0;
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) for (unsigned k = 0; names[k];
                                        k++) if (ptl_str_eq(json_string_value(v), names[k])) bits |= 1u << k;
    return bits;
}
const char *const kb_platform_names[] = {"server", "mobile", "browser", NULL};
const char *const kb_stage_names[] = {"export", "convert", "verify", NULL};

int kb_node(const struct ptl_kb *kb, const char *id)
{
    const json_t *i = json_object_get(kb->node_index, id);
    return i ? (int)json_integer_value(i) : -1;
}

/* ---- nodes */
static int read_nodes(struct ptl_kb *kb)
{
    const json_t *list = json_object_get(kb->doc, "nodes");
    size_t i;
    json_t *v;
    kb->nodes = calloc(json_array_size(list) + 1, sizeof(*kb->nodes));
    if (!kb->nodes)
        return -ENOMEM;
    json_array_foreach(list, i, v)
    {
        struct node *n = &kb->nodes[kb->n_nodes];
        *n = (struct node){.json = v,
                           .id = ptl_json_str(v, "id", ""),
                           .parent = -1,
                           .platform = ON_UNKNOWN,
                           .answerable = true};
        const char *parent = ptl_json_str(v, "parent", NULL);
        const json_t *transient = json_object_get(v, "transient");
        n->transient = json_is_boolean(transient)                                  ? json_is_true(transient)
                       : ptl_str_eq(ptl_json_str(v, "taxonomy", ""), "deployment") ? 0
                                                                                   : -1;
        n->deployment = ptl_str_eq(ptl_json_str(v, "taxonomy", ""), "deployment");
        for (int k = 0; n->deployment && kb_platform_names[k]; k++)
            if (strncmp(n->id, kb_platform_names[k], strcspn(n->id, "/")) == 0)
                n->platform = k;
        n->share = ptl_json_num(v, "share", 0) / 100;
        if (parent && (n->parent = kb_node(kb, parent)) >= 0)
            kb->nodes[n->parent].answerable = false;
        if (!parent)
            n->answerable = false;
        json_object_set_new(kb->node_index, n->id, json_integer(kb->n_nodes++));
    }
    json_array_foreach(json_object_get(kb->doc, "entries"), i, v)
        json_object_set(kb->entries, ptl_json_str(v, "id", ""), v);
    return 0;
}

/* ---- indicators */
static struct weight *read_weights(const struct ptl_kb *kb, const json_t *map)
{
    struct weight *w = calloc(json_object_size(map) + 1, sizeof(*w));
    const char *id;
    json_t *v;
    int n = 0;
    if (!w)
        return NULL;
    json_object_foreach((json_t *)map, id, v)
    {
        int node = kb_node(kb, id);
        if (node >= 0)
            w[n++] = (struct weight){node, json_number_value(v)};
    }
    w[n].node = -1;
    return w;
}

/* The map that holds for a platform and stage: the most exact key. An unknown platform takes "any", else
 * everything that is written. */
static const json_t *weights_for(const json_t *weights, int platform, int stage)
{
    char key[40];
    const json_t *found;
    if (platform != ON_UNKNOWN && stage != IN_UNKNOWN) {
        snprintf(key, sizeof(key), "%s@%s", kb_platform_names[platform], kb_stage_names[stage]);
        if ((found = json_object_get(weights, key)))
            return found;
    }
    if (platform != ON_UNKNOWN && (found = json_object_get(weights, kb_platform_names[platform])))
        return found;
    if (stage != IN_UNKNOWN) {
        snprintf(key, sizeof(key), "@%s", kb_stage_names[stage]);
        if ((found = json_object_get(weights, key)))
            return found;
    }
    return json_object_get(weights, "any");
}

/* For an unknown platform: the largest weight any situation gives each node. */
static json_t *weights_anywhere(const json_t *weights)
{
    json_t *all = json_object(), *map, *v;
    const char *key, *id;
    json_object_foreach((json_t *)weights, key, map) json_object_foreach(map, id, v)
    {
        if (json_number_value(v) > json_number_value(json_object_get(all, id)))
            json_object_set(all, id, v);
    }
    return all;
}

static int read_all_weights(const struct ptl_kb *kb, struct indicator *in)
{
    const json_t *weights = json_object_get(in->json, "weights");
    const json_t *seen[(ON_UNKNOWN + 1) * (IN_UNKNOWN + 1)];
    PTL_JSON *anywhere = weights_anywhere(weights);
    in->own = calloc(PTL_ARRAY_LEN(seen), sizeof(*in->own));
    if (!in->own || !anywhere)
        return -ENOMEM;
    for (int p = 0; p <= ON_UNKNOWN; p++)
        for (int s = 0; s <= IN_UNKNOWN; s++) {
            const json_t *map = weights_for(weights, p, s);
            int k = 0;
            if (!map && p == ON_UNKNOWN)
                map = anywhere;
            if (!map)
                continue;
            while (k < in->n_own && seen[k] != map)
                k++;
            if (k == in->n_own) {
                seen[k] = map;
                if (!(in->own[in->n_own++] = read_weights(kb, map)))
                    return -ENOMEM;
            }
            in->weights[p][s] = in->own[k];
        }
    return 0;
}

static int add_pattern(struct ptl_kb *kb, int indicator, const char *pattern, bool caseless,
                       struct ptl_error *err)
{
    struct pattern *p = &kb->pat[kb->n_pat];
    p->indicator = indicator;
    int r = ptl_rex_new(pattern, caseless, &p->rex, err);
    if (r < 0)
        return ptl_error_prefix(err, r, "indicator %s", kb->ind[indicator].id);
    kb->n_pat++;
    return 0;
}

static int read_indicator(struct ptl_kb *kb, const json_t *j, struct ptl_error *err)
{
    static const char *const roles[] = {"cause", "consequence", "context", "generic", "benign", NULL};
    struct indicator *in = &kb->ind[kb->n_ind];
    const json_t *scope = json_object_get(j, "scope"), *transient = json_object_get(j, "transient");
    const json_t *near[2] = {json_object_get(j, "also"), json_object_get(j, "unless")};
    bool caseless = json_array_size(json_object_get(j, "flags")) > 0;
    const char *role = ptl_json_str(j, "role", "cause");
    *in = (struct indicator){.json = j,
                             .id = ptl_json_str(j, "id", "?"),
                             .specificity = ptl_json_num(j, "specificity", 0),
                             .first = kb->n_pat,
                             .transient = json_is_boolean(transient) ? json_is_true(transient) : -1,
                             .platforms = bits_of(json_object_get(scope, "platform"), kb_platform_names),
                             .stages = bits_of(json_object_get(scope, "stage"), kb_stage_names)};
    for (int k = 0; roles[k]; k++)
        if (strcmp(roles[k], role) == 0)
            in->role = (enum role)k;
    int id = kb->n_ind++;
    in->n_also = (int)json_array_size(near[0]);
    in->n_unless = (int)json_array_size(near[1]);
    in->within = calloc((size_t)(in->n_also + in->n_unless) + 1, sizeof(*in->within));
    if (!in->within)
        return ptl_error_set(err, -ENOMEM, "indicator %s: out of memory", in->id);
    int r = add_pattern(kb, id, ptl_json_str(j, "pattern", ""), caseless, err);
    for (int k = 0, n = 0; r == 0 && k < 2; k++)
        for (size_t i = 0; r == 0 && i < json_array_size(near[k]); i++) {
            const json_t *v = json_array_get(near[k], i);
            in->within[n++] = (int)ptl_json_i64(v, "within", 0);
            r = add_pattern(kb, id, ptl_json_str(v, "pattern", ""), caseless, err);
        }
    if (r == 0)
        r = read_all_weights(kb, in);
    return r;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(ptl_json_str(*(json_t *const *)a, "id", ""), ptl_json_str(*(json_t *const *)b, "id", ""));
}

/* Files and tables give them in different orders; the answer must not depend on it. */
static json_t *sorted(const json_t *list)
{
    size_t n = json_array_size(list), i;
    json_t **v = calloc(n + 1, sizeof(*v)), *out = json_array();
    for (i = 0; v && i < n; i++)
        v[i] = json_array_get(list, i);
    if (v)
        qsort(v, n, sizeof(*v), by_id);
    for (i = 0; v && i < n; i++)
        json_array_append(out, v[i]);
    free(v);
    return out;
}

static int read_indicators(struct ptl_kb *kb, struct ptl_error *err)
{
    json_object_set_new(kb->doc, "indicators", sorted(json_object_get(kb->doc, "indicators")));
    const json_t *list = json_object_get(kb->doc, "indicators");
    size_t i, patterns = 0;
    json_t *v;
    int r = 0;
    json_array_foreach(list, i, v) patterns +=
        1 + json_array_size(json_object_get(v, "also")) + json_array_size(json_object_get(v, "unless"));
    kb->ind = calloc(json_array_size(list) + 1, sizeof(*kb->ind));
    kb->pat = calloc(patterns + 1, sizeof(*kb->pat));
    if (!kb->ind || !kb->pat)
        return ptl_error_set(err, -ENOMEM, "knowledge base: out of memory");
    json_array_foreach(list, i, v) if (r == 0 && !ptl_json_flag(v, "retired", false)) r =
        read_indicator(kb, v, err);
    return r;
}

static const char *pattern_text(const struct ptl_kb *kb, int p)
{
    const struct indicator *in = &kb->ind[kb->pat[p].indicator];
    int k = p - in->first - 1;
    if (k < 0)
        return ptl_json_str(in->json, "pattern", "");
    const json_t *list = json_object_get(in->json, k < in->n_also ? "also" : "unless");
    return ptl_json_str(json_array_get(list, (size_t)(k < in->n_also ? k : k - in->n_also)), "pattern", "");
}

/* Bytes of the escape, class, dot or character at p; 0: a group, an anchor, a quantifier, the end. */
static size_t atom_at(const char *p)
{
    size_t n = 1;
    if (*p == '\\')
        return p[1] == 'b' || p[1] == 'B' || !p[1] ? 0 : p[1] == 'x' && p[2] && p[3] ? 4 : 2;
    if (*p == '[') {
        n += p[n] == '^';
        for (n += p[n] == ']'; p[n] && p[n] != ']'; n++)
            n += p[n] == '\\' && p[n + 1];
        return p[n] ? n + 1 : 0;
    }
    return *p && (unsigned char)*p < 0x80 && !strchr("()|^$*+?{}", *p);
}

/* Bytes of the quantifier at p that allows more than it demands; 0: none. */
static size_t repeat_at(const char *p, unsigned long *ret_least)
{
    size_t n = 1;
    *ret_least = *p == '+';
    if (*p == '{') {
        char *end;
        unsigned long most = *ret_least = strtoul(p + 1, &end, 10);
        if (end == p + 1 || (*end != ',' && *end != '}'))
            return 0;
        if (*end == ',')
            most = end[1] == '}' ? ULONG_MAX : strtoul(end + 1, &end, 10);
        n = strcspn(p, "}") + 1;
        if (most <= *ret_least || !p[n - 1])
            return 0;
    } else if (!*p || !strchr("*+?", *p)) {
        return 0;
    }
    return n + (p[n] == '?');
}

/* Is the group that opens at p followed by a quantifier? */
static bool is_repeated_group(const char *p)
{
    int depth = 0;
    do {
        size_t n = atom_at(p);
        depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
        p += n ? n : *p == '\\' ? 2 : 1;
    } while (*p && depth > 0);
    return *p && strchr("*+?{", *p);
}

/* A pattern without what it may begin with: "[a-z]{0,80}x" is found wherever "x" is, "[a-z]+x" wherever
 * "[a-z]x" is. What begins with a class begins almost everywhere, and a scan that must start there has no
 * text to look for. The first atom of every alternative at the pattern's start, so far as none of its groups
 * is repeated. Caller frees. */
static char *without_beginnings(const char *pattern)
{
    struct ptl_buf b = PTL_BUF_INIT;
    bool start = true, starts[32]; /* of each group that is open: did it open at the start? */
    size_t depth = 0;
    for (const char *p = pattern; *p;) {
        unsigned long least = 0;
        size_t n = atom_at(p), repeat = n ? repeat_at(p + n, &least) : 0, took = n ? n : *p == '\\' ? 2 : 1;
        if (start && repeat && least < 2 && p[n + repeat] && !strchr("|)", p[n + repeat])) {
            if (least)
                ptl_buf_add(&b, p, n);
            start = least == 0;
            p += n + repeat;
            continue;
        }
        if (*p == '(' && depth < PTL_ARRAY_LEN(starts)) {
            start = start && !is_repeated_group(p);
            starts[depth++] = start;
            took = p[1] != '?' ? 1 : p[2] == '<' ? strcspn(p, ">") + 1 : 3;
        } else if (*p == '(') { /* deeper than patterns go: leave the rest as it is */
            took = strlen(p);
        } else if (*p == '|') {
            start = depth ? starts[depth - 1] : true;
        } else {
            depth -= *p == ')' && depth > 0;
            start = false;
        }
        ptl_buf_add(&b, p, took);
        p += took;
    }
    return ptl_buf_take(&b, NULL);
}

/* What the scan looks for in place of a pattern: nothing of how it may begin, long bounded repeats without
 * their upper bound, and at the pattern's end with only as many as there must be. It finds all that the
 * pattern finds, and a little more, which confirm_all() takes away again; counting to two hundred in a
 * thousand places is what would make compiling it slow. Caller frees. */
static char *loosened(const char *whole)
{
    struct ptl_buf b = PTL_BUF_INIT;
    PTL_FREE char *pattern = without_beginnings(whole);
    bool class = false;
    for (const char *p = pattern ? pattern : ""; *p; p++) {
        char *end;
        if (*p == '\\' && p[1]) {
            ptl_buf_add(&b, p++, 2);
            continue;
        }
        class = class ? *p != ']' : *p == '[';
        unsigned long least = *p == '{' && !class ? strtoul(p + 1, &end, 10) : 0, most = least;
        if (*p != '{' || class || end == p + 1) {
            ptl_buf_putc(&b, *p);
            continue;
        }
        if (*end == ',')
            most = strtoul(end + 1, &end, 10);
        const char *rest = end + 1; /* behind the brace */
        rest += *rest == '?';
        bool last = rest[strspn(rest, ")")] == 0;
        if (most < 8)
            ptl_buf_add(&b, p, (size_t)(rest - p));
        else if (last && least)
            ptl_buf_printf(&b, "{%lu}", least < 8 ? least : 8);
        else
            ptl_buf_puts(&b, least ? "+" : last ? "?" : "*");
        p = rest - 1;
    }
    return ptl_buf_take(&b, NULL);
}

/* What the scan is made of. Ids of the scan: the marks first, then the patterns. */
static int patterns_of(const struct ptl_kb *kb, struct kb_patterns *p)
{
    size_t n_marks = PTL_ARRAY_LEN(marks), n = n_marks + (size_t)kb->n_pat;
    p->text = calloc(n, sizeof(*p->text));
    p->flags = calloc(n, sizeof(*p->flags));
    if (!p->text || !p->flags)
        return -ENOMEM;
    for (; p->n < n; p->n++) {
        size_t i = p->n;
        bool caseless =
            i < n_marks
                ? marks[i].caseless
                : json_array_size(json_object_get(kb->ind[kb->pat[i - n_marks].indicator].json, "flags")) > 0;
        p->text[i] =
            i < n_marks ? ptl_xstrdup(marks[i].pattern) : loosened(pattern_text(kb, (int)(i - n_marks)));
        if (!p->text[i])
            return -ENOMEM;
        p->flags[i] = HS_FLAG_MULTILINE | (caseless ? HS_FLAG_CASELESS : 0);
    }
    return 0;
}

/* Names whose pattern it is that Vectorscan refused. */
static int refused(const struct ptl_kb *kb, int r, int wrong, struct ptl_error *err)
{
    wrong -= (int)PTL_ARRAY_LEN(marks);
    return r == -EINVAL && wrong >= 0
               ? ptl_error_prefix(err, r, "indicator %s: its pattern is refused by Vectorscan",
                                  kb->ind[kb->pat[wrong].indicator].id)
               : r;
}

static int compile(struct ptl_kb *kb, const struct ptl_kb *like, const void *scan, size_t scan_len,
                   struct ptl_error *err)
{
    struct kb_patterns p = {0};
    int wrong = -1, r = patterns_of(kb, &p);
    if (r < 0) {
        kb_patterns_done(&p);
        return ptl_error_set(err, r, "the patterns cannot be compiled: out of memory");
    }
    return refused(kb, kb_parts_new(&p, like ? &like->parts : NULL, scan, scan_len, &kb->parts, &wrong, err),
                   wrong, err);
}

int ptl_kb_scan_data(const struct ptl_kb *kb, void **ret, size_t *ret_len, struct ptl_error *err)
{
    PTL_CLEANUP(kb_patterns_done) struct kb_patterns p = {0};
    int wrong = -1;
    if (patterns_of(kb, &p) < 0)
        return ptl_error_set(err, -ENOMEM, "the patterns cannot be compiled: out of memory");
    return refused(kb, kb_parts_data(&kb->parts, &p, ret, ret_len, &wrong, err), wrong, err);
}

static int make(json_t *doc, const void *model, size_t model_len, const char *model_from,
                const struct ptl_kb *like, const void *scan, size_t scan_len, struct ptl_kb **ret,
                struct ptl_error *err)
{
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = calloc(1, sizeof(*kb));
    if (!kb) {
        json_decref(doc);
        return ptl_error_set(err, -ENOMEM, "knowledge base: out of memory");
    }
    kb->doc = doc;
    kb->node_index = json_object();
    kb->entries = json_object();
    if (!kb->doc || !kb->node_index || !kb->entries)
        return ptl_error_set(err, -ENOMEM, "knowledge base: out of memory");
    int r = read_nodes(kb);
    if (r < 0)
        return ptl_error_set(err, r, "knowledge base: out of memory");
    if ((r = read_indicators(kb, err)) < 0 || (r = compile(kb, like, scan, scan_len, err)) < 0)
        return r;
    if (model && ((r = ptl_kb_model_new(model, model_len, model_from, &kb->model, err)) < 0 ||
                  (r = ptl_kb_model_bind(kb->model, kb->node_index, err)) < 0))
        return r;
    /* The numbers were fitted together with a text model; without one they would mislead. */
    kb_params_read(kb->model ? kb->doc : NULL, &kb->params);
    /* The answer depends on the indicators in force, the taxonomy, the model and the algorithm: so does the
     * hash. */
    PTL_FREE char *nodes = ptl_json_text(json_object_get(kb->doc, "nodes"));
    const json_t *params = json_object_get(kb->doc, "params");
    PTL_FREE char *numbers = params ? ptl_json_text(params) : ptl_xstrdup("");
    struct ptl_sha256 *sha = ptl_sha256_new();
    ptl_sha256_update(sha, PTL_KB_ALGORITHM, strlen(PTL_KB_ALGORITHM));
    ptl_sha256_update(sha, nodes, strlen(nodes));
    ptl_sha256_update(sha, numbers, strlen(numbers));
    for (int i = 0; i < kb->n_ind; i++) {
        PTL_FREE char *one = ptl_json_text(kb->ind[i].json);
        ptl_sha256_update(sha, one, strlen(one));
    }
    if (model)
        ptl_sha256_update(sha, model, model_len);
    ptl_sha256_hex(sha, kb->hash);
    ptl_sha256_free(sha);
    *ret = PTL_TAKE(kb);
    return 0;
}

int ptl_kb_new(const json_t *doc, const void *model, size_t model_len, struct ptl_kb **ret,
               struct ptl_error *err)
{
    return make(json_deep_copy(doc), model, model_len, NULL, NULL, NULL, 0, ret, err);
}

int ptl_kb_new_take(json_t *doc, const void *model, size_t model_len, const char *model_from,
                    const void *scan, size_t scan_len, struct ptl_kb **ret, struct ptl_error *err)
{
    return make(doc, model, model_len, model_from, NULL, scan, scan_len, ret, err);
}

int ptl_kb_new_like(json_t *doc, const void *model, size_t model_len, const char *model_from,
                    const struct ptl_kb *like, struct ptl_kb **ret, struct ptl_error *err)
{
    return make(doc, model, model_len, model_from, like, NULL, 0, ret, err);
}

const json_t *ptl_kb_doc(const struct ptl_kb *kb)
{
    return kb->doc;
}

struct ptl_kb *ptl_kb_free(struct ptl_kb *kb)
{
    if (!kb)
        return NULL;
    for (int i = 0; i < kb->n_ind; i++) {
        for (int k = 0; k < kb->ind[i].n_own; k++)
            free(kb->ind[i].own[k]);
        free(kb->ind[i].own);
        free(kb->ind[i].within);
    }
    for (int i = 0; i < kb->n_pat; i++)
        ptl_rex_free(kb->pat[i].rex);
    free(kb->ind);
    free(kb->pat);
    free(kb->nodes);
    kb_parts_done(&kb->parts);
    ptl_kb_model_free(kb->model);
    json_decref(kb->node_index);
    json_decref(kb->entries);
    json_decref(kb->doc);
    free(kb);
    return NULL;
}

const char *ptl_kb_hash(const struct ptl_kb *kb)
{
    return kb->hash;
}
size_t ptl_kb_count(const struct ptl_kb *kb)
{
    return (size_t)kb->n_ind;
}

/* ---- scan */
int kb_scan_init(const struct ptl_kb *kb, struct scan *s)
{
    *s = (struct scan){0};
    if (kb && !(s->hits = calloc((size_t)kb->n_pat + 1, sizeof(*s->hits))))
        return -ENOMEM;
    return ptl_kb_text_init(&s->text);
}

void kb_scan_done(const struct ptl_kb *kb, struct scan *s)
{
    for (int i = 0; kb && s->hits && i < kb->n_pat; i++)
        free(s->hits[i].line);
    free(s->hits);
    ptl_kb_text_done(&s->text);
}

struct scanning {
    const struct ptl_kb *kb;
    struct scan *s;
    size_t at; /* line of the last report: the next is near */
};

static int keep_hit(struct hits *h, uint32_t line)
{
    if (h->n && h->line[h->n - 1] == line)
        return 0;
    if (!h->line && !(h->line = malloc((HITS_FIRST + HITS_LAST) * sizeof(*h->line))))
        return -ENOMEM;
    h->count++;
    if (h->n == HITS_FIRST + HITS_LAST) {
        memmove(h->line + HITS_FIRST, h->line + HITS_FIRST + 1, (HITS_LAST - 1) * sizeof(*h->line));
        h->n--;
    }
    h->line[h->n++] = line;
    return 0;
}

static int on_match(void *ctx, uint32_t id, unsigned long long to)
{
    struct scanning *c = ctx;
    struct ptl_kb_text *t = &c->s->text;
    size_t line = ptl_kb_text_find(t, to ? to - 1 : 0, c->at);
    c->at = line;
    if (id < PTL_ARRAY_LEN(marks)) {
        t->lines[line].flags |= (uint16_t)(1u << marks[id].mark);
        return 0;
    }
    /* What silences a line must do so on every line, however many. */
    int p = (int)(id - PTL_ARRAY_LEN(marks));
    const struct indicator *in = &c->kb->ind[c->kb->pat[p].indicator];
    if (in->role >= ROLE_GENERIC && in->first == p && in->n_also + in->n_unless == 0)
        t->lines[line].flags |= in->role == ROLE_GENERIC ? LINE_GENERIC : LINE_BENIGN;
    return keep_hit(&c->s->hits[p], (uint32_t)line);
}

static bool confirm(const struct ptl_kb *kb, const struct scan *s, int pattern, uint32_t line,
                    struct ptl_rex_span *spans)
{
    const struct ptl_kb_line *l = &s->text.lines[line];
    return ptl_rex_match(kb->pat[pattern].rex, ptl_kb_line_text(&s->text, l), l->len, spans) == 1;
}

/* A pattern such as "a\s+b" may have run over a line's end: what does not match on its own line is no hit. */
static void confirm_all(const struct ptl_kb *kb, struct scan *s)
{
    struct ptl_rex_span spans[PTL_REX_GROUPS_MAX + 1];
    for (int p = 0; p < kb->n_pat; p++) {
        struct hits *h = &s->hits[p];
        int n = 0;
        for (int i = 0; i < h->n; i++)
            if (confirm(kb, s, p, h->line[i], spans))
                h->line[n++] = h->line[i];
        h->n = n;
    }
}

/* Four words or more that end as a question does. The last byte decides nearly always: cheaper to look at
 * than to scan for. */
static bool is_asking(const char *p, size_t len)
{
    const char *end = p + len, *space;
    if (len < 8 || end[-1] != '?' || end[-2] == '\'')
        return false;
    for (int words = 0; words < 3; words++, p = space + 1)
        if (!(space = memchr(p, ' ', (size_t)(end - p))) || space == p)
            return false;
    return end - p >= 2;
}

static void flag_lines(const struct ptl_kb *kb, struct scan *s)
{
    for (int i = 0; i < kb->n_ind; i++) {
        const struct indicator *in = &kb->ind[i];
        const struct hits *h = &s->hits[in->first];
        uint16_t flag = in->role == ROLE_GENERIC  ? LINE_GENERIC
                        : in->role == ROLE_BENIGN ? LINE_BENIGN
                                                  : LINE_HIT;
        for (int k = 0; k < h->n; k++)
            if (in->n_also + in->n_unless == 0 || kb_conditions(s, in, h->line[k]))
                s->text.lines[h->line[k]].flags |= flag;
    }
    for (size_t i = 0; i < s->text.n; i++)
        if (is_asking(ptl_kb_line_text(&s->text, &s->text.lines[i]), s->text.lines[i].len))
            s->text.lines[i].flags |= 1 << MARK_PERSON;
}

int kb_scan(const struct ptl_kb *kb, struct scan *s, struct ptl_error *err)
{
    struct scanning c = {.kb = kb, .s = s};
    if (s->text.n == 0)
        return 0;
    int r = kb_parts_scan(&kb->parts, s->text.buf.data, s->text.buf.len, on_match, &c);
    if (r < 0)
        return ptl_error_set(
            err, r, r == -ENOMEM ? "diagnosis: out of memory" : "diagnosis: the scan ended with %d", r);
    confirm_all(kb, s);
    flag_lines(kb, s);
    return 0;
}

bool kb_near(const struct scan *s, int pattern, uint32_t line, int within, uint32_t *ret_line)
{
    const struct hits *h = &s->hits[pattern];
    uint32_t best = 0, distance = UINT32_MAX;
    for (int i = 0; i < h->n; i++) {
        uint32_t d = h->line[i] > line ? h->line[i] - line : line - h->line[i];
        if (d < distance) {
            distance = d;
            best = h->line[i];
        }
    }
    if (distance == UINT32_MAX || (within > 0 && distance > (uint32_t)within))
        return false;
    *ret_line = best;
    return true;
}

static void put_groups(const struct ptl_kb *kb, const struct scan *s, int pattern, uint32_t line, json_t *ret,
                       struct ptl_rex_span *ret_span)
{
    struct ptl_rex_span spans[PTL_REX_GROUPS_MAX + 1];
    const char *text = ptl_kb_line_text(&s->text, &s->text.lines[line]);
    if (!confirm(kb, s, pattern, line, spans))
        return;
    if (ret_span)
        *ret_span = spans[0];
    for (int i = 1; ret && i <= ptl_rex_groups(kb->pat[pattern].rex); i++)
        if (spans[i].start >= 0 && spans[i].end > spans[i].start) {
            size_t n = (size_t)(spans[i].end - spans[i].start);
            PTL_FREE char *clean = ptl_json_text_utf8(text + spans[i].start, n < 300 ? n : 300);
            json_object_set_new(ret, ptl_rex_group_name(kb->pat[pattern].rex, i), json_string(clean));
        }
}

void kb_captures(const struct ptl_kb *kb, const struct scan *s, const struct indicator *in, uint32_t line,
                 json_t *ret, struct ptl_rex_span *ret_span)
{
    put_groups(kb, s, in->first, line, ret, ret_span);
    for (int k = 0; k < in->n_also; k++) {
        uint32_t at;
        if (kb_near(s, in->first + 1 + k, line, in->within[k], &at))
            put_groups(kb, s, in->first + 1 + k, at, ret, NULL);
    }
}
