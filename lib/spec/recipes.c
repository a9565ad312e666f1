/* recipes.c - does the pipeline file ask recipes for what they have? Checked apart from parsing, because only
 * an agent's host knows its recipes: lint and exec do, a daemon takes them from the agents' inventories when
 * it can. Pure. */
#include "check-private.h"
#include <stdio.h>

struct recipes {
    const json_t *plan, *places;
    const json_t *list;
    struct ptl_spec_diags *diags;
};

static const json_t *find(const json_t *list, const char *name)
{
    size_t i;
    json_t *r;
    json_array_foreach(list, i, r) if (ptl_str_eq(ptl_json_str(r, "name", NULL), name)) return r;
    return NULL;
}

static void fault(const struct recipes *c, const char *place, const char *expected, const char *nearest,
                  const char *fmt, ...) PTL_PRINTF(5, 6);
static void fault(const struct recipes *c, const char *place, const char *expected, const char *nearest,
                  const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    diag_at(c->diags, c->places, false, place, expected, nearest, "%s", text);
}

enum { MAX_CHOICES = 256 };

static size_t keys_of(const json_t *object, const char *words[MAX_CHOICES], char *text, size_t size)
{
    size_t n = 0, at = (size_t)snprintf(text, size, "one of ");
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v)
    {
        if (n + 1 == MAX_CHOICES)
            break;
        words[n] = key;
        if (at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%s", n ? ", " : "", key);
        n++;
    }
    words[n] = NULL;
    return n;
}

static void check_enum(const struct recipes *c, const json_t *values, const json_t *v, const char *place)
{
    const char *words[MAX_CHOICES];
    char expected[400];
    size_t i, n = 0, at = (size_t)snprintf(expected, sizeof(expected), "one of ");
    json_t *one;
    PTL_FREE char *text =
        json_is_string(v) || json_is_number(v) || json_is_boolean(v) ? spec_value_text(v) : NULL;
    json_array_foreach(values, i, one)
    {
        const char *word = json_string_value(one);
        if (!word || n + 1 == MAX_CHOICES)
            continue;
        if (text && strcmp(word, text) == 0)
            return;
        if (at < sizeof(expected))
            at += (size_t)snprintf(expected + at, sizeof(expected) - at, "%s%s", n ? ", " : "", word);
        words[n++] = word;
    }
    words[n] = NULL;
    fault(c, place, expected, text ? ptl_str_nearest(text, words) : NULL, "'%.80s' does not fit",
          text ? text : "(not a word)");
}

static void check_parameter(const struct recipes *c, const json_t *p, const json_t *v, const char *place)
{
    const char *type = ptl_json_str(p, "type", "string");
    bool scalar = json_is_string(v) || json_is_number(v) || json_is_boolean(v);
    const char *expected = NULL;
    char range[120];
    if (strcmp(type, "enum") == 0) {
        check_enum(c, json_object_get(p, "values"), v, place);
        return;
    }
    if ((strcmp(type, "string") == 0 || strcmp(type, "path") == 0) && !scalar)
        expected = "text";
    else if (strcmp(type, "integer") == 0 && !json_is_integer(v))
        expected = "a whole number";
    else if (strcmp(type, "number") == 0 && !json_is_number(v))
        expected = "a number";
    else if (strcmp(type, "boolean") == 0 && !json_is_boolean(v))
        expected = "true or false";
    else if (strcmp(type, "list") == 0 && !json_is_array(v))
        expected = "a list";
    if (expected) {
        fault(c, place, expected, NULL, "the value does not fit");
        return;
    }
    double n = json_number_value(v), min = ptl_json_num(p, "min", -1e308),
           max = ptl_json_num(p, "max", 1e308);
    if (json_is_number(v) && strcmp(type, "string") != 0 && (n < min || n > max)) {
        snprintf(range, sizeof(range),
                 min > -1e308 && max < 1e308 ? "a number from %g to %g" : "a number of at least %g", min,
                 max);
        if (min <= -1e308)
            snprintf(range, sizeof(range), "a number of at most %g", max);
        fault(c, place, range, NULL, "%g does not fit", n);
    }
}

static void check_stage(const struct recipes *c, const json_t *stage)
{
    const char *uses = ptl_json_str(stage, "uses", NULL), *kind = ptl_json_str(stage, "kind", "");
    const char *target = ptl_json_str(stage, "target", NULL), *host = ptl_json_str(stage, "host", "");
    char place[160], at[240], expected[500];
    const char *words[MAX_CHOICES];
    if (!uses)
        return;
    snprintf(place, sizeof(place), "%s%s%s%s", target ? "targets." : "", target ? target : "",
             target ? "." : "", kind);
    snprintf(at, sizeof(at), "%s.uses", place);
    const json_t *recipe = find(c->list, uses);
    if (!recipe) {
        size_t i, n = 0;
        json_t *r;
        json_array_foreach(c->list, i, r) if (n + 1 < MAX_CHOICES && ptl_json_str(r, "name", NULL))
            words[n++] = ptl_json_str(r, "name", NULL);
        words[n] = NULL;
        fault(c, at, NULL, ptl_str_nearest(uses, words), "there is no recipe '%.80s'", uses);
        return;
    }
    const char *its_kind = ptl_json_str(recipe, "kind", kind), *its_host = ptl_json_str(recipe, "host", host);
    if (strcmp(its_kind, kind) != 0)
        fault(c, at, NULL, NULL, "the recipe '%.80s' is for %s, not for %s", uses, its_kind, kind);
    else if (strcmp(its_host, host) != 0)
        fault(c, at, NULL, NULL, "the recipe '%.80s' runs on a %s host, this stage on a %s one", uses,
              its_host, host);

    const json_t *parameters = json_object_get(recipe, "parameters"), *with = json_object_get(stage, "with");
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)with, key, v)
    {
        const json_t *p = json_object_get(parameters, key);
        snprintf(at, sizeof(at), "%s.with.%.60s", place, key);
        if (p) {
            check_parameter(c, p, v, at);
            continue;
        }
        bool any = keys_of(parameters, words, expected, sizeof(expected)) > 0;
        fault(c, at, any ? expected : NULL, ptl_str_nearest(key, words),
              "the recipe '%.80s' has no such parameter", uses);
    }
    json_object_foreach((json_t *)parameters, key,
                        v) if (ptl_json_flag(v, "required", false) && !json_object_get(with, key))
    {
        snprintf(at, sizeof(at), "%s.with", place);
        fault(c, at, ptl_json_str(v, "help", NULL), NULL, "the recipe '%.80s' requires the parameter '%.60s'",
              uses, key);
    }
}

int spec_check_recipes(const json_t *plan, const json_t *places, const json_t *recipes,
                       struct ptl_spec_diags *diags)
{
    struct recipes c = {plan, places, recipes, diags};
    size_t i, before = diags->errors;
    json_t *stage;
    json_array_foreach(json_object_get(plan, "stages"), i, stage) check_stage(&c, stage);
    diags_sort(diags);
    return diags->errors > before ? -EINVAL : 0;
}
