/* check.c - walks the tree along the table of keys and gives a document in which every value has its type:
 * durations are milliseconds, sizes bytes, words the ones the plan uses. What belongs together (needs,
 * matrix, uses xor run) is plan.c's business. One wrong value does not hide the next: the walk goes on and
 * collects. Pure. */
#include "check-private.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <stdio.h>

enum { MAX_COMMANDS = 1000, MAX_LIST = 200, MAX_AXES = 8, MAX_AXIS_VALUES = 100 };

/* Where the walk is: the path as the file spells it, for people, and as the document spells it, for plan.c.
 */
struct path {
    char shown[240], place[240];
};

static struct path below(const struct path *p, const char *shown, const char *place)
{
    struct path q;
    snprintf(q.shown, sizeof(q.shown), "%.150s%s%.80s", p->shown, p->shown[0] ? "." : "", shown);
    snprintf(q.place, sizeof(q.place), "%.150s%s%.80s", p->place, p->place[0] ? "." : "", place);
    return q;
}

static struct path item(const struct path *p, size_t i)
{
    struct path q;
    snprintf(q.shown, sizeof(q.shown), "%.200s[%zu]", p->shown, i);
    snprintf(q.place, sizeof(q.place), "%.200s[%zu]", p->place, i);
    return q;
}

static void remember(struct check *c, const struct path *p, const struct yaml_node *n)
{
    char *shown = ptl_json_text_utf8(p->shown, strlen(p->shown)),
         *place = ptl_json_text_utf8(p->place, strlen(p->place));
    if (!json_object_get(c->places, place) &&
        json_object_set_new(c->places, place, json_pack("[i,i,s]", (int)n->line, (int)n->column, shown)) < 0)
        c->no_memory = true;
    free(shown);
    free(place);
}

/* Every fault of a value: what was found, what was expected. Returns NULL. */
static json_t *wrong(struct check *c, const struct yaml_node *n, const struct path *p, const char *expected,
                     const char *nearest)
{
    if (n->kind == YAML_SCALAR && yaml_is_null(n))
        diag_add(c->diags, n->line, n->column, false, p->shown, expected, nearest, "no value");
    else if (n->kind == YAML_SCALAR)
        diag_add(c->diags, n->line, n->column, false, p->shown, expected, nearest, "'%.80s' does not fit",
                 n->text);
    else
        diag_add(c->diags, n->line, n->column, false, p->shown, expected, nearest, "a %s does not fit",
                 n->kind == YAML_MAP ? "map" : "list");
    return NULL;
}

static json_t *made(struct check *c, json_t *j)
{
    if (!j)
        c->no_memory = true;
    return j;
}

/* ---- scalars ---- */

static const char *scalar(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && !yaml_is_null(n) ? n->text : NULL;
}

bool spec_is_name(const char *s, size_t max)
{
    size_t n = strlen(s);
    if (n == 0 || n > max || !isalnum((unsigned char)s[0]))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '.' && *s != '_' && *s != '-')
            return false;
    return true;
}

bool spec_is_uses(const char *s)
{
    char family[65];
    size_t n = strcspn(s, "/");
    if (s[n] != '/' || n >= sizeof(family))
        return false;
    memcpy(family, s, n);
    family[n] = '\0';
    return spec_is_name(family, 64) && spec_is_name(s + n + 1, 64);
}

static bool is_variable(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > 128 || isdigit((unsigned char)s[0]))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

static json_t *check_text(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                          const struct path *p)
{
    const char *s = scalar(n);
    char expected[160];
    if (s && strlen(s) >= (size_t)k->min && strlen(s) <= (size_t)k->max)
        return made(c, json_string(s));
    snprintf(expected, sizeof(expected), "text of %.0f to %.0f bytes", k->min, k->max);
    return wrong(c, n, p, expected, NULL);
}

static json_t *check_name(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                          const struct path *p)
{
    const char *s = scalar(n);
    char expected[160];
    bool templated = s && strstr(s, "${{") != NULL && strlen(s) <= 200; /* judged when filled in */
    if (k->type == T_USES) {
        if (s && spec_is_uses(s))
            return made(c, json_string(s));
        return templated ? made(c, json_string(s))
                         : wrong(c, n, p, "a recipe such as keras/saved-model", NULL);
    }
    if (s && (templated || spec_is_name(s, (size_t)k->max)))
        return made(c, json_string(s));
    snprintf(expected, sizeof(expected), "a name of letters, digits, '.', '_' and '-', at most %.0f long",
             k->max);
    return wrong(c, n, p, expected, NULL);
}

void spec_range_text(const struct spec_key *k, char ret[160])
{
    char a[32], b[32];
    if (k->type == T_DURATION || k->type == T_LATENCY) {
        ptl_duration_format((int64_t)k->min, a);
        ptl_duration_format((int64_t)k->max, b);
        snprintf(ret, 160, "a duration such as %s, from %s to %s",
                 k->type == T_LATENCY ? "20ms (with its unit)" : "20m", a, b);
    } else if (k->type == T_MINUTES) {
        snprintf(ret, 160, "minutes, at most %.0f", k->max / 60000);
    } else if (k->type == T_SIZE) {
        snprintf(ret, 160, "a size such as 200KiB");
    } else if (k->min == k->max) {
        snprintf(ret, 160, "%g", k->min);
    } else if (k->max >= 1e30) {
        snprintf(ret, 160, "a number of at least %g", k->min);
    } else {
        snprintf(ret, 160, "a %snumber from %g to %g", k->type == T_INT ? "whole " : "", k->min, k->max);
    }
}

/* "0.8ms", "500us", "2s"; -1 when it is none */
static double latency_ms(const char *s)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {
        {"ms",  1    },
        {"us",  1e-3 },
        {"µs", 1e-3 },
        {"s",   1000 },
        {"m",   60000}
    };
    if (!isdigit((unsigned char)*s) || s[1] == 'x' || s[1] == 'X')
        return -1;
    char *end;
    double v = strtod(s, &end);
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < PTL_ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].unit) == 0)
            return v * units[i].ms;
    return -1;
}

static json_t *check_quantity(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                              const struct path *p)
{
    const char *s = scalar(n);
    char expected[160];
    double v = -1;
    int64_t whole = -1;
    bool ok = false;
    if (s && k->type == T_DURATION && (ok = ptl_duration_parse(s, &whole) == 0))
        v = (double)whole;
    else if (s && k->type == T_SIZE && (ok = ptl_size_parse(s, &whole) == 0))
        v = (double)whole;
    else if (s && k->type == T_LATENCY)
        ok = (v = latency_ms(s)) >= 0;
    else if (s && k->type != T_DURATION && k->type != T_SIZE && (ok = yaml_is_number(n, &v)))
        v *= k->type == T_MINUTES ? 60000 : 1;
    if (ok && k->type == T_INT)
        ok = v == floor(v);
    if (!ok || v < k->min || (k->max > 0 && v > k->max)) {
        spec_range_text(k, expected);
        return wrong(c, n, p, expected, NULL);
    }
    if (k->type == T_NUMBER || k->type == T_LATENCY)
        return made(c, json_real(v));
    return made(c, json_integer(k->type == T_INT || k->type == T_MINUTES ? (json_int_t)v : whole));
}

static json_t *check_bool(struct check *c, const struct yaml_node *n, const struct path *p)
{
    bool v = true;
    if (yaml_is_null(n) || yaml_is_bool(n, &v))
        return made(c, json_boolean(v));
    return wrong(c, n, p, "true or false", NULL);
}

static const char *word_means(const struct spec_key *k, const char *s)
{
    for (const struct spec_word *w = k->words; s && w->word; w++)
        if (strcmp(w->word, s) == 0)
            return w->means;
    return NULL;
}

static json_t *wrong_word(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                          const struct path *p)
{
    const char *words[32];
    char expected[512];
    size_t count = 0, at = (size_t)snprintf(expected, sizeof(expected), "one of ");
    for (const struct spec_word *w = k->words; w->word && count + 1 < PTL_ARRAY_LEN(words); w++) {
        words[count++] = w->word;
        if (at < sizeof(expected))
            at += (size_t)snprintf(expected + at, sizeof(expected) - at, "%s%s", count > 1 ? ", " : "",
                                   w->word);
    }
    words[count] = NULL;
    return wrong(c, n, p, expected, n->kind == YAML_SCALAR ? ptl_str_nearest(n->text, words) : NULL);
}

static json_t *check_word(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                          const struct path *p)
{
    const char *means = word_means(k, scalar(n));
    if (!means)
        return wrong_word(c, k, n, p);
    bool yes = strcmp(means, "true") == 0;
    return made(c, yes || strcmp(means, "false") == 0 ? json_boolean(yes) : json_string(means));
}

/* "risk > 0.4", "risk>40%"; -1 when it is none */
static double risk_above(const char *s)
{
    if (!ptl_str_starts(s, "risk"))
        return -1;
    s += 4 + strspn(s + 4, " ");
    if (*s != '>')
        return -1;
    s += 1 + strspn(s + 1, " ");
    char *end;
    if (!isdigit((unsigned char)*s) && *s != '.')
        return -1;
    double v = strtod(s, &end);
    if (*end == '%') {
        v /= 100;
        end++;
    }
    return *end == '\0' && v >= 0 && v < 1 ? v : -1;
}

static json_t *check_when(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                          const struct path *p)
{
    const char *s = scalar(n), *means = word_means(k, s);
    double above = s ? risk_above(s) : -1;
    if (means)
        return made(c, json_string(means));
    if (above >= 0)
        return made(c, json_pack("{s:f}", "risk_above", above));
    static const char *const words[] = {"manual", "on-success", "risk > 0.4", NULL};
    return wrong(c, n, p, "manual, on-success, or risk > X with X from 0 to 1 (0.4 or 40%)",
                 s && ptl_str_starts(s, "risk") ? NULL
                 : s                            ? ptl_str_nearest(s, words)
                                                : NULL);
}

/* ---- lists ---- */

typedef void each_fn(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                     const struct path *p, json_t *list);

/* One value, or a list of them. */
static json_t *check_each(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                          const struct path *p, each_fn *fn)
{
    size_t max = k->type == T_COMMANDS ? MAX_COMMANDS : MAX_LIST;
    json_t *list = made(c, json_array());
    if (n->kind != YAML_LIST) {
        struct path q = item(p, 0);
        memcpy(q.shown, p->shown, sizeof(q.shown));
        remember(c, &q, n);
        if (!yaml_is_null(n))
            fn(c, k, n, &q, list);
        else
            wrong(c, n, p, "a value or a list", NULL);
        return list;
    }
    if (n->n > max)
        diag_add(c->diags, n->line, n->column, false, p->shown, NULL, NULL,
                 "%zu entries; at most %zu are read", n->n, max);
    for (size_t i = 0; i < n->n && i < max; i++) {
        struct path q = item(p, i);
        remember(c, &q, n->items[i]);
        fn(c, k, n->items[i], &q, list);
    }
    return list;
}

static void each_string(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                        const struct path *p, json_t *list)
{
    const char *s = scalar(n);
    char expected[160];
    if (s && *s && strlen(s) <= (size_t)k->max) {
        json_array_append_new(list, made(c, json_string(s)));
        return;
    }
    snprintf(expected, sizeof(expected), "%s of 1 to %.0f bytes",
             k->type == T_COMMANDS ? "a command line" : "text", k->max);
    wrong(c, n, p, expected, NULL);
}

static void each_path(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                      const struct path *p, json_t *list)
{
    (void)k;
    const char *s = scalar(n);
    if (s && ptl_fs_is_safe_relative(s))
        json_array_append_new(list, made(c, json_string(s)));
    else
        wrong(c, n, p, "a path below the outputs folder such as model/model.tflite", NULL);
}

static void each_secret(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                        const struct path *p, json_t *list)
{
    (void)k;
    const char *s = scalar(n);
    if (s && is_variable(s) && !ptl_str_starts(s, "PORTOLAN_"))
        json_array_append_new(list, made(c, json_string(s)));
    else
        wrong(c, n, p, "the name of a secret: letters, digits and '_', not beginning with PORTOLAN_", NULL);
}

static void each_word(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                      const struct path *p, json_t *list)
{
    const char *means = word_means(k, scalar(n));
    if (!means) {
        wrong_word(c, k, n, p);
        return;
    }
    while (*means) {
        size_t len = strcspn(means, ",");
        json_array_append_new(list, made(c, json_stringn(means, len)));
        means += len + (means[len] == ',');
    }
}

static void each_person(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                        const struct path *p, json_t *list)
{
    const char *s = scalar(n);
    bool fine = s && spec_is_name(s, (size_t)k->max);
    for (const char *q = s; fine && *q; q++)
        fine = !isupper((unsigned char)*q);
    if (fine)
        json_array_append_new(list, made(c, json_string(s)));
    else
        wrong(c, n, p, "the handle of a person such as ada-lovelace (portolan person list)", NULL);
}

static json_t *check_labels(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                            const struct path *p)
{
    if (n->kind != YAML_MAP)
        return check_each(c, k, n, p, each_string);
    json_t *list = made(c, json_array());
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *v = n->pairs[i].value;
        struct path q = below(p, n->pairs[i].key->text, n->pairs[i].key->text);
        const char *s = scalar(v);
        if (!s || strlen(s) + strlen(n->pairs[i].key->text) >= (size_t)k->max) {
            wrong(c, v, &q, "text", NULL);
            continue;
        }
        PTL_FREE char *label = ptl_xasprintf("%s=%s", n->pairs[i].key->text, s);
        json_array_append_new(list, made(c, json_string(label)));
    }
    return list;
}

static json_t *check_env(struct check *c, const struct yaml_node *n, const struct path *p)
{
    if (yaml_is_null(n))
        return made(c, json_object());
    if (n->kind != YAML_MAP)
        return wrong(c, n, p, "a map of variables", NULL);
    json_t *env = made(c, json_object());
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *key = n->pairs[i].key, *v = n->pairs[i].value;
        struct path q = below(p, key->text, key->text);
        remember(c, &q, v);
        if (!is_variable(key->text))
            diag_add(c->diags, key->line, key->column, false, q.shown, "letters, digits and '_'", NULL,
                     "not the name of a variable");
        else if (ptl_str_starts(key->text, "PORTOLAN_"))
            diag_add(c->diags, key->line, key->column, false, q.shown, NULL, NULL,
                     "names that begin with PORTOLAN_ are the system's own");
        else if (v->kind != YAML_SCALAR || strlen(v->text) > 32768)
            wrong(c, v, &q, "text of at most 32768 bytes", NULL);
        else
            json_object_set_new(env, key->text, made(c, json_string(yaml_is_null(v) ? "" : v->text)));
    }
    return env;
}

/* ---- matrix ---- */

static bool is_axis_value(const struct yaml_node *n)
{
    const char *s = scalar(n);
    if (!s || !*s || strlen(s) > 64)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f || strchr(",=[]", *s))
            return false;
    return !strstr(n->text, "${{");
}

static const char axis_value_expected[] = "a value of 1 to 64 bytes without ',', '=', '[' and ']'";

static bool check_axis_name(struct check *c, const struct yaml_node *key, const struct path *p)
{
    if (is_variable(key->text) && strlen(key->text) <= 32)
        return true;
    diag_add(c->diags, key->line, key->column, false, p->shown, "letters, digits and '_', at most 32", NULL,
             "not the name of an axis");
    return false;
}

static json_t *check_axis(struct check *c, const struct yaml_node *n, const struct path *p)
{
    if (n->kind != YAML_LIST || n->n == 0 || n->n > MAX_AXIS_VALUES)
        return wrong(c, n, p, "a list of 1 to 100 values", NULL);
    json_t *list = made(c, json_array());
    for (size_t i = 0; i < n->n; i++) {
        struct path q = item(p, i);
        remember(c, &q, n->items[i]);
        if (!is_axis_value(n->items[i])) {
            wrong(c, n->items[i], &q, axis_value_expected, NULL);
            continue;
        }
        json_t *v = made(c, yaml_scalar_json(n->items[i])), *other;
        size_t k;
        json_array_foreach(list, k, other) if (json_equal(other, v)) break;
        if (k < json_array_size(list)) {
            diag_add(c->diags, n->items[i]->line, n->items[i]->column, false, q.shown, NULL, NULL,
                     "'%s' is in this axis already", n->items[i]->text);
            json_decref(v);
        } else {
            json_array_append_new(list, v);
        }
    }
    return list;
}

/* include and exclude: a list of {axis: value} */
static json_t *check_combinations(struct check *c, const struct yaml_node *n, const struct path *p)
{
    if (n->kind != YAML_LIST || n->n > MAX_AXIS_VALUES)
        return wrong(c, n, p, "a list of at most 100 maps {axis: value}", NULL);
    json_t *list = made(c, json_array());
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *m = n->items[i];
        struct path q = item(p, i);
        remember(c, &q, m);
        if (m->kind != YAML_MAP || m->n == 0 || m->n > MAX_AXES) {
            wrong(c, m, &q, "a map of 1 to 8 axes {axis: value}", NULL);
            continue;
        }
        json_t *entry = made(c, json_object());
        for (size_t k = 0; k < m->n; k++) {
            struct path r = below(&q, m->pairs[k].key->text, m->pairs[k].key->text);
            remember(c, &r, m->pairs[k].key);
            if (!check_axis_name(c, m->pairs[k].key, &r))
                continue;
            if (!is_axis_value(m->pairs[k].value))
                wrong(c, m->pairs[k].value, &r, axis_value_expected, NULL);
            else
                json_object_set_new(entry, m->pairs[k].key->text,
                                    made(c, yaml_scalar_json(m->pairs[k].value)));
        }
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *check_matrix(struct check *c, const struct yaml_node *n, const struct path *p)
{
    if (n->kind != YAML_MAP || n->n == 0)
        return wrong(c, n, p, "a map of axes {axis: [values]}", NULL);
    json_t *axes = json_object(), *matrix = made(c, json_pack("{s:o}", "axes", axes));
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *key = n->pairs[i].key, *v = n->pairs[i].value;
        struct path q = below(p, key->text, key->text);
        bool include = strcmp(key->text, "include") == 0;
        remember(c, &q, key);
        if (include || strcmp(key->text, "exclude") == 0) {
            json_t *list = check_combinations(c, v, &q);
            if (list)
                json_object_set_new(matrix, key->text, list);
        } else if (json_object_size(axes) == MAX_AXES) {
            diag_add(c->diags, key->line, key->column, false, q.shown, NULL, NULL, "more than %d axes",
                     MAX_AXES);
        } else if (check_axis_name(c, key, &q)) {
            json_t *list = check_axis(c, v, &q);
            if (list)
                json_object_set_new(axes, key->text, list);
        }
    }
    return matrix;
}

/* ---- maps along the table ---- */

static json_t *check_object(struct check *c, const struct spec_object *o, const struct yaml_node *n,
                            const struct path *p);

static void each_object(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                        const struct path *p, json_t *list)
{
    json_t *v = check_object(c, k->object, n, p);
    if (v)
        json_array_append_new(list, v);
}

static json_t *check_map(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                         const struct path *p)
{
    char expected[160];
    if (n->kind != YAML_MAP || n->n == 0)
        return wrong(c, n, p, "a map with at least one name", NULL);
    json_t *map = made(c, json_object());
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *key = n->pairs[i].key;
        struct path q = below(p, key->text, key->text);
        remember(c, &q, key);
        if (!spec_is_name(key->text, (size_t)k->max) || strchr(key->text, '.')) {
            snprintf(expected, sizeof(expected), "letters, digits, '_' and '-', at most %.0f long", k->max);
            diag_add(c->diags, key->line, key->column, false, q.shown, expected, NULL,
                     "'%.80s' is no name for %s", key->text, k->object->what);
            continue;
        }
        json_t *v = check_object(c, k->object, n->pairs[i].value, &q);
        if (v)
            json_object_set_new(map, key->text, v);
    }
    return map;
}

static json_t *check_value(struct check *c, const struct spec_key *k, const struct yaml_node *n,
                           const struct path *p)
{
    switch (k->type) {
    case T_TEXT:
        return check_text(c, k, n, p);
    case T_NAME:
    case T_USES:
        return check_name(c, k, n, p);
    case T_BOOL:
        return check_bool(c, n, p);
    case T_INT:
    case T_NUMBER:
    case T_DURATION:
    case T_MINUTES:
    case T_LATENCY:
    case T_SIZE:
        return check_quantity(c, k, n, p);
    case T_WORD:
        return check_word(c, k, n, p);
    case T_WORDS:
        return check_each(c, k, n, p, each_word);
    case T_WHEN:
        return check_when(c, k, n, p);
    case T_PEOPLE:
        return check_each(c, k, n, p, each_person);
    case T_STRINGS:
    case T_COMMANDS:
        return check_each(c, k, n, p, each_string);
    case T_PATHS:
        return check_each(c, k, n, p, each_path);
    case T_SECRETS:
        return check_each(c, k, n, p, each_secret);
    case T_LABELS:
        return check_labels(c, k, n, p);
    case T_ENV:
        return check_env(c, n, p);
    case T_ANY:
        if (n->kind != YAML_MAP)
            return yaml_is_null(n) ? made(c, json_object()) : wrong(c, n, p, "a map of parameters", NULL);
        for (size_t i = 0; i < n->n; i++) {
            struct path q = below(p, n->pairs[i].key->text, n->pairs[i].key->text);
            remember(c, &q, n->pairs[i].key);
        }
        return made(c, yaml_to_json(n));
    case T_MATRIX:
        return check_matrix(c, n, p);
    case T_OBJECT:
        return check_object(c, k->object, n, p);
    case T_OBJECTS:
        return check_each(c, k, n, p, each_object);
    case T_MAP:
        return check_map(c, k, n, p);
    }
    return NULL;
}

static void unknown_key(struct check *c, const struct spec_object *o, const struct yaml_node *key,
                        const struct path *p)
{
    char list[600], expected[640];
    const char *advice = spec_key_foreign(o, key->text);
    if (advice) {
        diag_add(c->diags, key->line, key->column, false, p->shown, NULL, NULL, "not a key of %s: %s",
                 o->what, advice);
        return;
    }
    spec_key_list(o, list, sizeof(list));
    snprintf(expected, sizeof(expected), "one of %s", list);
    diag_add(c->diags, key->line, key->column, false, p->shown, expected, spec_key_nearest(o, key->text),
             "unknown key");
}

static void check_pair(struct check *c, const struct spec_object *o, const struct yaml_node *key,
                       const struct yaml_node *value, const struct path *p, json_t *ret, json_t *seen)
{
    const struct spec_key *k = spec_key_find(o, key->text);
    struct path q = below(p, key->text, k ? k->out : key->text);
    if (!k) {
        unknown_key(c, o, key, &q);
        const char *nearest = spec_key_foreign(o, key->text) ? NULL : spec_key_nearest(o, key->text);
        const struct spec_key *meant = nearest ? spec_key_find(o, nearest) : NULL;
        if (meant) { /* told once as misspelled, not again as missing */
            PTL_FREE char *mark = ptl_xasprintf("?%s", meant->out);
            struct path there = below(p, key->text, meant->out);
            json_object_set_new(seen, mark, json_true());
            remember(c, &there, key);
        }
        return;
    }
    const char *twin = ptl_json_str(seen, k->out, NULL);
    if (twin) {
        diag_add(c->diags, key->line, key->column, false, q.shown, NULL, NULL,
                 "means the same as '%s', which is given too", twin);
        return;
    }
    json_object_set_new(seen, k->out, made(c, json_string(key->text)));
    remember(c, &q, key);
    json_t *v = check_value(c, k, value, &q);
    if (v && json_object_set_new(ret, k->out, v) < 0)
        c->no_memory = true;
}

static json_t *check_object(struct check *c, const struct spec_object *o, const struct yaml_node *n,
                            const struct path *p)
{
    static struct yaml_node empty = {.kind = YAML_SCALAR, .plain = true, .text = (char *)""};
    char list[600], expected[700];
    PTL_JSON *seen = json_object();
    json_t *ret = json_object();
    if (!seen || !ret) {
        c->no_memory = true;
        json_decref(ret);
        return NULL;
    }
    if (n->kind == YAML_MAP) {
        for (size_t i = 0; i < n->n; i++)
            check_pair(c, o, n->pairs[i].key, n->pairs[i].value, p, ret, seen);
    } else if (o->from_words && (n->kind == YAML_LIST || scalar(n))) {
        for (size_t i = 0; i < (n->kind == YAML_LIST ? n->n : 1); i++) {
            const struct yaml_node *word = n->kind == YAML_LIST ? n->items[i] : n;
            struct yaml_node nothing = empty;
            nothing.line = word->line;
            nothing.column = word->column;
            if (word->kind == YAML_SCALAR)
                check_pair(c, o, word, &nothing, p, ret, seen);
            else
                wrong(c, word, p, "a word", NULL);
        }
    } else if (o->scalar_key && scalar(n)) {
        struct yaml_node key = {
            .kind = YAML_SCALAR, .line = n->line, .column = n->column, .text = (char *)o->scalar_key};
        check_pair(c, o, &key, n, p, ret, seen);
    } else if (!yaml_is_null(n)) {
        spec_key_list(o, list, sizeof(list));
        snprintf(expected, sizeof(expected), "a map with %s", list);
        wrong(c, n, p, expected, NULL);
        json_decref(ret);
        return NULL;
    }
    for (size_t i = 0; i < o->n; i++) {
        PTL_FREE char *mark = ptl_xasprintf("?%s", o->keys[i].out);
        if (o->keys[i].required && !json_object_get(seen, o->keys[i].out) && !json_object_get(seen, mark))
            diag_add(c->diags, n->line, n->column, false, p->shown, o->keys[i].help, NULL,
                     "the key '%s' is missing", o->keys[i].name);
    }
    return ret;
}

json_t *spec_check(struct check *c, const struct yaml_node *root)
{
    struct path p = {"", ""};
    remember(c, &p, root);
    return check_object(c, &spec_root, root, &p);
}
