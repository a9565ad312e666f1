/* data.c - reads the reviewable files of the knowledge base and holds them to their form: known keys, types,
 * ranges, ids that exist, patterns that both matchers take, templates whose names are captured. Everything
 * found is reported, not only the first. No I/O. */
#include "data.h"
#include "rex.h"
#include <portolan/buf.h>
#include <portolan/hash.h>
#include <portolan/spec.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <hs/hs.h>

struct reader {
    const char *file;
    const char *object; /* id, or "entry 3" */
    json_t *problems;
    json_t *nodes_by_id; /* borrowed values */
    size_t found;        /* problems of this reader */
};

static void problem(struct reader *r, const char *fmt, ...) PTL_PRINTF(2, 3);
static void problem(struct reader *r, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    r->found++;
    PTL_FREE char *line =
        ptl_xasprintf("%s: %s%s%s", r->file, r->object ? r->object : "", r->object ? ": " : "", text);
    PTL_FREE char *clean = ptl_json_text_utf8(line, strlen(line));
    json_array_append_new(r->problems, json_string(clean));
}

/* ---- objects held to a table of keys */
enum type { T_STR, T_NUM, T_INT, T_BOOL_NULL, T_STRS, T_OBJ, T_LIST };
struct key {
    const char *name;
    enum type type;
    bool required;
};

static bool is_strings(const json_t *j)
{
    size_t i;
    const json_t *v;
    if (!json_is_array(j))
        return false;
    json_array_foreach(j, i, v) if (!json_is_string(v)) return false;
    return true;
}

/* 0.70 might be a version, so the reader of YAML leaves it a text; who meant a number is to be told. */
static const char *number_wanted(const json_t *v)
{
    const char *text = json_string_value(v);
    size_t n = text ? strlen(text) : 0;
    bool is_decimal = n > 2 && text[n - 1] == '0' && strchr(text, '.') &&
                      strspn(text + (*text == '-'), "0123456789.") == n - (*text == '-');
    return is_decimal ? "a number without zeros at its end (like 0.7; 0.70 is a text)" : "a number";
}

static const char *type_wanted(enum type t, const json_t *v)
{
    switch (t) {
    case T_STR:
        return json_is_string(v) ? NULL : "text (quote it when it looks like a number)";
    case T_NUM:
        return json_is_number(v) ? NULL : number_wanted(v);
    case T_INT:
        return json_is_integer(v) ? NULL : "a whole number";
    case T_BOOL_NULL:
        return json_is_boolean(v) || json_is_null(v) ? NULL : "true, false or null";
    case T_STRS:
        return is_strings(v) ? NULL : "a list of texts";
    case T_OBJ:
        return json_is_object(v) ? NULL : "a map";
    case T_LIST:
        return json_is_array(v) ? NULL : "a list";
    }
    return NULL;
}

static bool check_keys(struct reader *r, const json_t *obj, const struct key *keys, size_t n)
{
    const char *name, *wanted;
    json_t *v;
    size_t before = r->found;
    if (!json_is_object(obj)) {
        problem(r, "expected a map");
        return false;
    }
    json_object_foreach((json_t *)obj, name, v)
    {
        size_t i = 0;
        while (i < n && strcmp(keys[i].name, name) != 0)
            i++;
        if (i == n)
            problem(r, "unknown key '%s'", name);
        else if ((wanted = type_wanted(keys[i].type, v)))
            problem(r, "%s: expected %s", name, wanted);
    }
    for (size_t i = 0; i < n; i++)
        if (keys[i].required && !json_object_get(obj, keys[i].name))
            problem(r, "%s is missing", keys[i].name);
    return r->found == before;
}
#define CHECK_KEYS(r, obj, keys) check_keys(r, obj, keys, PTL_ARRAY_LEN(keys))

static bool is_slug(const char *s, size_t n)
{
    if (n == 0 || n > 80 || !(islower((unsigned char)s[0]) || isdigit((unsigned char)s[0])))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && s[i] != '-')
            return false;
    return true;
}

/* 1..max slugs with slashes between. */
static bool is_path(const char *s, int min, int max)
{
    int parts = 0;
    for (;; s++) {
        size_t n = strcspn(s, "/");
        if (!is_slug(s, n))
            return false;
        parts++;
        s += n;
        if (!*s)
            return parts >= min && parts <= max;
    }
}

static bool one_of(const char *s, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(s, *list) == 0)
            return true;
    return false;
}
static const char *const platforms[] = {"server", "mobile", "browser", NULL};
static const char *const stages[] = {"export", "convert", "verify", NULL};
static const char *const roles[] = {"cause", "consequence", "context", "generic", "benign", NULL};

static void check_list_of(struct reader *r, const json_t *list, const char *name, const char *const *of)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) if (json_is_string(v) && !one_of(json_string_value(v), of))
        problem(r, "%s: '%s' is not known", name, json_string_value(v));
}

static const struct key valid_keys[] = {
    {"from",  T_STR, false},
    {"until", T_STR, false},
    {"note",  T_STR, false}
};

static bool known_node(struct reader *r, const char *id)
{
    if (json_object_get(r->nodes_by_id, id))
        return true;
    problem(r, "'%s' is not a node of a taxonomy", id);
    return false;
}

/* ---- versions */
static int version_compare(const char *a, const char *b)
{
    while (*a || *b) {
        unsigned long x = strtoul(a, (char **)&a, 10), y = strtoul(b, (char **)&b, 10);
        if (x != y)
            return x < y ? -1 : 1;
        if (*a != '.' && *b != '.')
            return 0;
        a += *a == '.' && isdigit((unsigned char)a[1]);
        b += *b == '.' && isdigit((unsigned char)b[1]);
        if (!isdigit((unsigned char)*a) && !isdigit((unsigned char)*b))
            return 0;
        if (!isdigit((unsigned char)*a))
            a = "";
        if (!isdigit((unsigned char)*b))
            b = "";
    }
    return 0;
}

static bool range_part(const char **p, char op[3], char version[40])
{
    size_t n = strspn(*p, "<>=");
    if (n > 2)
        return false;
    memcpy(op, *p, n);
    op[n] = 0;
    *p += n;
    n = strspn(*p, "0123456789.*");
    if (n == 0 || n >= 40 || !isdigit((unsigned char)**p))
        return false;
    memcpy(version, *p, n);
    version[n] = 0;
    *p += n;
    *p += strspn(*p, " ,");
    if (strchr(version, '*')) /* "2.*" is a family: nothing is before or behind it */
        return ptl_str_ends(version, ".*") && strchr(version, '*')[1] == 0 &&
               one_of(op, (const char *const[]){"", "==", NULL});
    return one_of(op, (const char *const[]){"", "<", "<=", ">", ">=", "==", NULL});
}

bool ptl_kb_version_in(const char *version, const char *range)
{
    char op[3], v[40];
    version += *version == 'v';
    if (!isdigit((unsigned char)*version))
        return true;
    for (const char *p = range + strspn(range, " "); *p;) {
        if (!range_part(&p, op, v))
            return true;
        char *star = strstr(v, ".*");
        bool fits;
        if (star) {
            *star = 0;
            size_t n = strlen(v);
            fits = strncmp(version, v, n) == 0 && (version[n] == '.' || version[n] == 0);
        } else {
            int c = version_compare(version, v);
            fits = (c < 0 && op[0] == '<') || (c > 0 && op[0] == '>') ||
                   (c == 0 && (op[0] == 0 || op[0] == '=' || op[1] == '='));
        }
        if (!fits)
            return false;
    }
    return true;
}

static bool is_range(const char *range)
{
    char op[3], v[40];
    const char *p = range + strspn(range, " ");
    if (!*p)
        return false;
    while (*p)
        if (!range_part(&p, op, v))
            return false;
    return true;
}

/* ---- nodes */
static const struct key node_keys[] = {
    {"id",             T_STR,       true },
    {"kind",           T_STR,       true },
    {"title",          T_STR,       true },
    {"share",          T_NUM,       false},
    {"questions",      T_INT,       false},
    {"unanswered",     T_NUM,       false},
    {"median_minutes", T_NUM,       false},
    {"class",          T_STR,       false},
    {"transient",      T_BOOL_NULL, false},
    {"about",          T_STR,       false},
};
static const struct key link_keys[] = {
    {"from", T_STR, true},
    {"to",   T_STR, true},
    {"why",  T_STR, true}
};
static const struct key class_keys[] = {
    {"id",    T_STR, true},
    {"title", T_STR, true}
};
static const struct key taxonomy_keys[] = {
    {"version",  T_INT,  true },
    {"taxonomy", T_STR,  true },
    {"nodes",    T_LIST, true },
    {"links",    T_LIST, false},
    {"classes",  T_LIST, false}
};

static void read_node(struct reader *r, const char *taxonomy, const json_t *in, json_t *out)
{
    const char *id = ptl_json_str(in, "id", NULL);
    r->object = id;
    if (!CHECK_KEYS(r, in, node_keys))
        return;
    if (!is_path(id, 1, 3)) {
        problem(r, "a node's id is one to three words of a-z, 0-9 and - with / between");
        return;
    }
    if (!one_of(ptl_json_str(in, "kind", ""), (const char *const[]){"root", "inner", "leaf", NULL}))
        problem(r, "kind: expected root, inner or leaf");
    if (json_object_get(r->nodes_by_id, id)) {
        problem(r, "there are two nodes of this id");
        return;
    }
    json_t *node = json_copy((json_t *)in);
    const char *slash = strrchr(id, '/');
    json_object_set_new(node, "taxonomy", json_string(taxonomy));
    json_object_set_new(node, "parent", slash ? json_stringn(id, (size_t)(slash - id)) : json_null());
    if (slash && !json_object_get(r->nodes_by_id, json_string_value(json_object_get(node, "parent"))))
        problem(r, "its parent does not stand before it");
    json_object_set(r->nodes_by_id, id, node);
    json_array_append_new(out, node);
}

static void read_taxonomy(struct reader *r, const json_t *doc, json_t *nodes, json_t *links)
{
    size_t i;
    json_t *v;
    r->object = NULL;
    if (!CHECK_KEYS(r, doc, taxonomy_keys))
        return;
    json_array_foreach(json_object_get(doc, "classes"), i, v) CHECK_KEYS(r, v, class_keys);
    const char *name = ptl_json_str(doc, "taxonomy", "");
    json_array_foreach(json_object_get(doc, "nodes"), i, v) read_node(r, name, v, nodes);
    r->object = "links";
    json_array_foreach(json_object_get(doc, "links"), i, v) if (CHECK_KEYS(r, v, link_keys))
        json_array_append(links, v);
}

/* ---- entries */
static const struct key entry_keys[] = {
    {"id",                 T_STR,  true },
    {"about",              T_STR,  true },
    {"symptoms",           T_STRS, true },
    {"causes",             T_STRS, true },
    {"remedies",           T_LIST, true },
    {"dl_developer",       T_STR,  true },
    {"platform_developer", T_STR,  true },
    {"decide",             T_STR,  false},
    {"sources",            T_STRS, true },
    {"valid",              T_OBJ,  false},
};
static const struct key entry_remedy_keys[] = {
    {"tool",     T_STR,  false},
    {"versions", T_STR,  false},
    {"text",     T_STR,  true },
    {"commands", T_STRS, false}
};

static void read_entry(struct reader *r, const json_t *in, json_t *seen, json_t *out)
{
    size_t i;
    json_t *v;
    const char *id = r->object = ptl_json_str(in, "id", "an entry without id");
    if (!CHECK_KEYS(r, in, entry_keys) || !known_node(r, id))
        return;
    if (json_object_get(seen, id))
        problem(r, "there are two entries of this id");
    json_object_set_new(seen, id, json_true());
    json_array_foreach(json_object_get(in, "remedies"), i, v)
    {
        const char *range = ptl_json_str(v, "versions", NULL);
        if (CHECK_KEYS(r, v, entry_remedy_keys) && range && *range && !is_range(range))
            problem(r, "remedy %zu: versions '%s' is no range such as \">=1.2 <2.0\"", i + 1, range);
    }
    if (json_object_get(in, "valid"))
        CHECK_KEYS(r, json_object_get(in, "valid"), valid_keys);
    json_array_append(out, (json_t *)in);
}

/* ---- indicators */
static const struct key indicator_keys[] = {
    {"id",          T_STR,       true },
    {"summary",     T_STR,       false},
    {"pattern",     T_STR,       true },
    {"flags",       T_STRS,      false},
    {"also",        T_LIST,      false},
    {"unless",      T_LIST,      false},
    {"scope",       T_OBJ,       false},
    {"weights",     T_OBJ,       false},
    {"specificity", T_NUM,       false},
    {"role",        T_STR,       false},
    {"transient",   T_BOOL_NULL, false},
    {"remedy",      T_OBJ,       false},
    {"sources",     T_STRS,      false},
    {"valid",       T_OBJ,       false},
};
static const struct key near_keys[] = {
    {"pattern", T_STR, true },
    {"within",  T_INT, false}
};
static const struct key scope_keys[] = {
    {"platform", T_STRS, false},
    {"stage",    T_STRS, false},
    {"tool",     T_STRS, false},
    {"versions", T_OBJ,  false}
};
static const struct key remedy_keys[] = {
    {"text",     T_STR,  true },
    {"commands", T_STRS, false}
};

/* names: what may be captured, as keys of an object. */
static void check_pattern(struct reader *r, const char *what, const char *pattern, bool caseless, int literal,
                          json_t *names)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_CLEANUP(ptl_rex_freep) struct ptl_rex *rex = NULL;
    if (ptl_rex_new(pattern, caseless, &rex, &err) < 0) {
        problem(r, "%s: %s", what, err.text);
        return;
    }
    if (ptl_rex_literal(rex) < literal)
        problem(r, "%s: every match must hold %d or more literal characters in a row, here it is %d", what,
                literal, ptl_rex_literal(rex));
    if (ptl_rex_ends_open(rex))
        problem(r, "%s: ends in an unbounded repeat; leave it away or bound it", what);
    for (int i = 1; i <= ptl_rex_groups(rex); i++) {
        const char *name = ptl_rex_group_name(rex, i);
        if (json_object_get(names, name))
            problem(r, "%s: group %s is also in another pattern of this indicator", what, name);
        json_object_set_new(names, name, json_true());
    }
    hs_expr_info_t *info = NULL;
    hs_compile_error_t *wrong = NULL;
    unsigned flags = HS_FLAG_MULTILINE | (caseless ? HS_FLAG_CASELESS : 0);
    if (hs_expression_info(pattern, flags, &info, &wrong) != HS_SUCCESS) {
        problem(r, "%s: Vectorscan: %s", what, wrong ? wrong->message : "refused");
        hs_free_compile_error(wrong);
    } else {
        if (info->min_width == 0)
            problem(r, "%s: matches nothing at all", what);
        free(info);
    }
}

static void check_template(struct reader *r, const char *what, const char *text, const json_t *names)
{
    for (const char *p = text; (p = strchr(p, '{'));) {
        size_t n = strcspn(++p, "|}");
        char name[40];
        if (n >= sizeof(name) || !p[n] || !strchr(p, '}')) {
            problem(r, "%s: a { without its }", what);
            return;
        }
        memcpy(name, p, n);
        name[n] = 0;
        if (!json_object_get(names, name) &&
            !one_of(name, (const char *const[]){"platform", "stage", "tool", NULL}))
            problem(r, "%s: {%s} is captured by no pattern", what, name);
        p += n;
    }
}

static void check_near(struct reader *r, const char *what, const json_t *list, bool caseless, json_t *names)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (!CHECK_KEYS(r, v, near_keys))
            continue;
        int64_t within = ptl_json_i64(v, "within", 0);
        if (within < 0 || within > 1000)
            problem(r, "%s: within is 0 to 1000 lines", what);
        check_pattern(r, what, ptl_json_str(v, "pattern", ""), caseless, 2, names);
    }
    if (json_array_size(list) > 6)
        problem(r, "%s: at most 6", what);
}

static bool is_situation(const char *key)
{
    const char *at = strchr(key, '@');
    if (strcmp(key, "any") == 0)
        return true;
    if (at == key)
        return one_of(key + 1, stages);
    if (!at)
        return one_of(key, platforms);
    char platform[16];
    size_t n = (size_t)(at - key);
    if (n >= sizeof(platform))
        return false;
    memcpy(platform, key, n);
    platform[n] = 0;
    return one_of(platform, platforms) && one_of(at + 1, stages);
}

static void check_weights(struct reader *r, const json_t *weights)
{
    const char *key, *id;
    json_t *map, *w;
    if (json_object_size(weights) == 0)
        problem(r, "weights: names no node");
    json_object_foreach((json_t *)weights, key, map)
    {
        double sum = 0;
        if (!is_situation(key))
            problem(r, "weights: '%s' is not PLATFORM@STAGE, PLATFORM, @STAGE or any", key);
        if (!json_is_object(map)) {
            problem(r, "weights: %s: expected a map of nodes", key);
            continue;
        }
        json_object_foreach(map, id, w)
        {
            double x = json_number_value(w);
            known_node(r, id);
            if (!json_is_number(w) || x <= 0 || x > 1)
                problem(r, "weights: %s: %s: expected %s, above 0, at most 1", key, id, number_wanted(w));
            sum += x;
            size_t n = strcspn(key, "@"), m = strcspn(id, "/");
            const json_t *node = json_object_get(r->nodes_by_id, id);
            bool foreign = n > 0 && strcmp(key, "any") != 0 &&
                           ptl_str_eq(ptl_json_str(node, "taxonomy", ""), "deployment") &&
                           (n != m || strncmp(key, id, n) != 0);
            if (foreign)
                problem(r, "weights: %s: %s is of another platform", key, id);
        }
        if (sum > 1.0001)
            problem(r, "weights: %s: the sum is above 1", key);
    }
}

static void check_scope(struct reader *r, const json_t *scope)
{
    const char *tool;
    json_t *range;
    if (!CHECK_KEYS(r, scope, scope_keys))
        return;
    check_list_of(r, json_object_get(scope, "platform"), "scope.platform", platforms);
    check_list_of(r, json_object_get(scope, "stage"), "scope.stage", stages);
    json_object_foreach(json_object_get(scope, "versions"), tool, range)
    {
        if (!json_is_string(range) || !is_range(json_string_value(range)))
            problem(r, "scope.versions: %s: expected a range such as \">=1.2 <2.0\"", tool);
    }
}

static bool is_among(const json_t *list, const char *word, size_t n)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) if (json_string_length(v) == n &&
                                       memcmp(json_string_value(v), word, n) == 0) return true;
    return false;
}

/* Weights of a situation that the scope leaves out would never count, and say that their author meant
 * something else. */
static void check_weights_in_scope(struct reader *r, const json_t *weights, const json_t *scope)
{
    const char *key;
    json_t *map;
    const json_t *of_platform = json_object_get(scope, "platform"),
                 *of_stage = json_object_get(scope, "stage");
    json_object_foreach((json_t *)weights, key, map)
    {
        size_t n = strcspn(key, "@");
        const char *stage = key[n] ? key + n + 1 : "";
        if (strcmp(key, "any") == 0)
            continue;
        if ((n > 0 && json_array_size(of_platform) && !is_among(of_platform, key, n)) ||
            (*stage && json_array_size(of_stage) && !is_among(of_stage, stage, strlen(stage))))
            problem(r, "weights: %s is outside of the scope: widen that, or leave these away", key);
    }
}

static void set_default(json_t *obj, const char *key, json_t *value)
{
    if (!json_object_get(obj, key))
        json_object_set(obj, key, value);
    json_decref(value);
}

static json_t *read_indicator(struct reader *r, const json_t *in)
{
    r->object = ptl_json_str(in, "id", "an indicator without id");
    size_t before = r->found, i;
    json_t *v;
    if (!CHECK_KEYS(r, in, indicator_keys))
        return NULL;
    if (!is_path(r->object, 2, 2))
        problem(r, "an indicator's id is AREA/SLUG of a-z, 0-9 and -");
    bool caseless = false;
    json_array_foreach(json_object_get(in, "flags"), i, v)
    {
        if (strcmp(json_string_value(v), "caseless") != 0)
            problem(r, "flags: only caseless exists");
        caseless = true;
    }
    const char *role = ptl_json_str(in, "role", "cause");
    if (!one_of(role, roles))
        problem(r, "role: '%s' is none of cause, consequence, context, generic, benign", role);
    bool speaks = strcmp(role, "generic") != 0 && strcmp(role, "benign") != 0;
    json_t *names = json_object(), *unless = json_object();
    check_pattern(r, "pattern", ptl_json_str(in, "pattern", ""), caseless, 4, names);
    check_near(r, "also", json_object_get(in, "also"), caseless, names);
    check_near(r, "unless", json_object_get(in, "unless"), caseless, unless);
    if (json_object_get(in, "scope"))
        check_scope(r, json_object_get(in, "scope"));
    if (json_object_get(in, "valid"))
        CHECK_KEYS(r, json_object_get(in, "valid"), valid_keys);
    double specificity = ptl_json_num(in, "specificity", -1);
    if (speaks) {
        static const char *const needed[] = {"summary", "weights", "specificity", "transient", "sources"};
        for (i = 0; i < PTL_ARRAY_LEN(needed); i++)
            if (!json_object_get(in, needed[i]))
                problem(r, "%s is missing", needed[i]);
        if (json_object_get(in, "specificity") && (specificity <= 0 || specificity > 1))
            problem(r, "specificity: above 0, at most 1");
        if (json_object_get(in, "weights"))
            check_weights(r, json_object_get(in, "weights"));
        check_weights_in_scope(r, json_object_get(in, "weights"), json_object_get(in, "scope"));
    }
    check_template(r, "summary", ptl_json_str(in, "summary", ""), names);
    const json_t *remedy = json_object_get(in, "remedy");
    if (remedy && CHECK_KEYS(r, remedy, remedy_keys)) {
        check_template(r, "remedy", ptl_json_str(remedy, "text", ""), names);
        json_array_foreach(json_object_get(remedy, "commands"), i, v)
            check_template(r, "remedy", json_string_value(v), names);
    }
    json_decref(names);
    json_decref(unless);
    if (r->found != before)
        return NULL;
    json_t *out = json_deep_copy(in);
    set_default(out, "role", json_string("cause"));
    set_default(out, "flags", json_array());
    set_default(out, "also", json_array());
    set_default(out, "unless", json_array());
    set_default(out, "scope", json_object());
    set_default(out, "weights", json_object());
    set_default(out, "specificity", json_real(0));
    set_default(out, "transient", json_null());
    set_default(out, "summary", json_string(""));
    set_default(out, "sources", json_array());
    return out;
}

static const struct key indicators_keys[] = {
    {"version",    T_INT,  true},
    {"indicators", T_LIST, true}
};
static const struct key entries_keys[] = {
    {"version", T_INT,  true},
    {"entries", T_LIST, true}
};

/* ---- the whole */
const struct ptl_kb_file *ptl_kb_file_find(const struct ptl_kb_files *files, const char *path)
{
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(files->v[i].path, path) == 0)
            return &files->v[i];
    return NULL;
}

struct parts {
    json_t *nodes, *links, *entries, *indicators, *entries_seen, *indicators_seen, *params;
};

enum { PARAM_MAX = 100 }; /* of a number of the weighing: beyond it one term drowns all others */

static void read_params(struct reader *r, const json_t *doc, json_t *out)
{
    const char *key;
    json_t *v;
    if (!json_is_object(doc))
        problem(r, "expected a map");
    json_object_foreach((json_t *)doc, key, v)
    {
        if (strcmp(key, "version") != 0 && !ptl_kb_param_known(key))
            problem(r, "unknown key '%s'", key);
        else if (!json_is_number(v) || !(fabs(json_number_value(v)) <= PARAM_MAX))
            problem(r, "%s: expected %s, from -%d to %d", key, number_wanted(v), PARAM_MAX, PARAM_MAX);
        json_object_set(out, key, v);
    }
}

static void read_file(struct reader *r, const struct ptl_kb_file *f, bool taxonomies, struct parts *p)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *doc = NULL;
    size_t i;
    json_t *v;
    bool taxonomy = ptl_str_starts(f->path, "taxonomy/"), entries = ptl_str_starts(f->path, "entries/"),
         indicators = ptl_str_starts(f->path, "indicators/"),
         params = strcmp(f->path, "model/params.yml") == 0;
    if ((!taxonomy && !entries && !indicators && !params) || taxonomy != taxonomies)
        return;
    r->file = f->path;
    r->object = NULL;
    if (ptl_yaml_parse(f->text, f->len, f->path, &doc, &err) < 0) {
        json_array_append_new(r->problems, json_string(err.text));
        r->found++;
        return;
    }
    if (ptl_json_i64(doc, "version", 1) != 1)
        problem(r, "version: this program reads version 1");
    if (taxonomy) {
        read_taxonomy(r, doc, p->nodes, p->links);
    } else if (params) {
        read_params(r, doc, p->params);
    } else if (entries && CHECK_KEYS(r, doc, entries_keys)) {
        json_array_foreach(json_object_get(doc, "entries"), i, v)
            read_entry(r, v, p->entries_seen, p->entries);
    } else if (indicators && CHECK_KEYS(r, doc, indicators_keys)) {
        json_array_foreach(json_object_get(doc, "indicators"), i, v)
        {
            json_t *one = read_indicator(r, v);
            const char *id = ptl_json_str(one, "id", NULL);
            if (id && json_object_get(p->indicators_seen, id))
                problem(r, "there are two indicators of this id (the other is in %s)",
                        json_string_value(json_object_get(p->indicators_seen, id)));
            if (id) {
                json_object_set_new(one, "file", json_string(f->path));
                json_object_set_new(p->indicators_seen, id, json_string(f->path));
                json_array_append(p->indicators, one);
            }
            json_decref(one);
        }
    }
}

int ptl_kb_data_read(const struct ptl_kb_files *files, json_t *problems, json_t **ret)
{
    struct reader r = {.problems = problems, .nodes_by_id = json_object()};
    struct parts p = {json_array(),  json_array(),  json_array(), json_array(),
                      json_object(), json_object(), json_object()};
    struct ptl_sha256 *sha = ptl_sha256_new();
    char hash[PTL_SHA256_HEX];
    size_t i;
    json_t *v;
    for (i = 0; i < files->n; i++) {
        ptl_sha256_update(sha, files->v[i].path, strlen(files->v[i].path) + 1);
        ptl_sha256_update(sha, files->v[i].text, files->v[i].len);
        read_file(&r, &files->v[i], true, &p);
    }
    ptl_sha256_hex(sha, hash);
    ptl_sha256_free(sha);
    r.file = "taxonomy";
    json_array_foreach(p.links, i, v)
    {
        r.object = "links";
        known_node(&r, ptl_json_str(v, "from", ""));
        known_node(&r, ptl_json_str(v, "to", ""));
    }
    for (i = 0; i < files->n; i++)
        read_file(&r, &files->v[i], false, &p);
    json_decref(p.entries_seen);
    json_decref(p.indicators_seen);
    json_decref(r.nodes_by_id);
    json_t *doc =
        json_pack("{s:i,s:s,s:o,s:o,s:o,s:o,s:o}", "version", 1, "hash", hash, "params", p.params, "nodes",
                  p.nodes, "links", p.links, "entries", p.entries, "indicators", p.indicators);
    if (!doc)
        return -ENOMEM;
    *ret = doc;
    return 0;
}

int ptl_kb_indicator_check(const json_t *doc, const char *where, const json_t *indicator, json_t *problems,
                           json_t **ret)
{
    struct reader r = {.problems = problems, .nodes_by_id = json_object(), .file = where};
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(doc, "nodes"), i, v)
        json_object_set(r.nodes_by_id, ptl_json_str(v, "id", ""), v);
    json_t *one = json_is_object(indicator) ? read_indicator(&r, indicator) : NULL;
    if (!json_is_object(indicator))
        problem(&r, "expected a map");
    json_decref(r.nodes_by_id);
    if (!one)
        return -EINVAL;
    *ret = one;
    return 0;
}

int ptl_kb_entry_check(const json_t *doc, const char *where, const json_t *entry, json_t *problems,
                       json_t **ret)
{
    struct reader r = {.problems = problems, .nodes_by_id = json_object(), .file = where};
    PTL_JSON *seen = json_object();
    PTL_JSON *out = json_array();
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(doc, "nodes"), i, v)
        json_object_set(r.nodes_by_id, ptl_json_str(v, "id", ""), v);
    if (json_is_object(entry))
        read_entry(&r, entry, seen, out);
    else
        problem(&r, "expected a map");
    json_decref(r.nodes_by_id);
    if (r.found || json_array_size(out) != 1)
        return -EINVAL;
    *ret = json_incref(json_array_get(out, 0));
    return 0;
}
