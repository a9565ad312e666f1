/* schema.c - the JSON Schema (draft 2020-12) of the pipeline file, for editors. Made from the parser's own
 * table, so that the two cannot differ in what keys there are; where the schema language is too weak for a
 * rule (needs, matrix, paths) it says less than the parser, never more. lib/spec/portolan.schema.json is this
 * function's output, kept for installing; a test holds the two together. Pure. */
#include "keys-private.h"
#include <portolan/spec.h>
#include <stdio.h>

#define TEMPLATE "\\$\\{\\{"

static json_t *type(const char *name)
{
    return json_pack("{s:s}", "type", name);
}

static json_t *text_pattern(const char *pattern)
{
    return json_pack("{s:s,s:s}", "type", "string", "pattern", pattern);
}

/* One of it, or a list of it. */
static json_t *one_or_list(json_t *one)
{
    return json_pack("{s:[O,{s:s,s:o}]}", "anyOf", one, "type", "array", "items", one);
}

static json_t *scalar_text(void)
{
    return json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean");
}

static json_t *words(const struct spec_word *w)
{
    json_t *list = json_array();
    for (; w->word; w++)
        json_array_append_new(list, json_string(w->word));
    return json_pack("{s:o}", "enum", list);
}

static json_t *number(const struct spec_key *k, const char *name)
{
    json_t *j = json_pack("{s:s,s:f}", "type", name, "minimum", k->min);
    if (k->max < 1e30)
        json_object_set_new(j, "maximum", json_real(k->max));
    if (strcmp(name, "integer") == 0)
        return j;
    /* to an editor that reads YAML 1.1, 1e-5 without a dot is text */
    return json_pack("{s:[o,o]}", "anyOf", j, text_pattern("^[0-9]+[eE][-+]?[0-9]+$"));
}

static json_t *reference(const struct spec_object *o)
{
    PTL_FREE char *at = ptl_xasprintf("#/$defs/%s", o->id);
    return json_pack("{s:s}", "$ref", at);
}

static json_t *axis_values(void)
{
    return json_pack("{s:s,s:i,s:o}", "type", "array", "minItems", 1, "items", scalar_text());
}

static json_t *combinations(void)
{
    return json_pack("{s:s,s:{s:s,s:o}}", "type", "array", "items", "type", "object", "additionalProperties",
                     scalar_text());
}

static json_t *matrix(void)
{
    return json_pack("{s:s,s:i,s:{s:o,s:o},s:o}", "type", "object", "minProperties", 1, "properties",
                     "include", combinations(), "exclude", combinations(), "additionalProperties",
                     axis_values());
}

static json_t *value(const struct spec_key *k)
{
    switch (k->type) {
    case T_TEXT:
        return json_pack("{s:[s,s]}", "type", "string", "number");
    case T_NAME:
        return json_pack("{s:[s,s],s:s}", "type", "string", "number", "pattern",
                         "^[A-Za-z0-9][A-Za-z0-9._-]*$|" TEMPLATE);
    case T_USES:
        return text_pattern("^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$|" TEMPLATE);
    case T_BOOL:
        return json_pack("{s:[o,o,o]}", "anyOf", type("boolean"), type("null"),
                         json_pack("{s:[s,s,s,s]}", "enum", "yes", "no", "on", "off"));
    case T_INT:
        return number(k, "integer");
    case T_NUMBER:
        return number(k, "number");
    case T_MINUTES:
        return json_pack("{s:s,s:f,s:f}", "type", "number", "exclusiveMinimum", 0.0, "maximum",
                         k->max / 60000);
    case T_DURATION:
        return json_pack("{s:[o,{s:s,s:i}]}", "anyOf", text_pattern("^ *[0-9]+(\\.[0-9]+)? *[A-Za-z]*"),
                         "type", "integer", "minimum", 0);
    case T_LATENCY:
        return text_pattern("^[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)? *(us|µs|ms|s|m)$");
    case T_SIZE:
        return json_pack("{s:[o,{s:s,s:i}]}", "anyOf",
                         text_pattern("^ *[0-9]+(\\.[0-9]+)? *([kKMGT]i?)?B? *$"), "type", "integer",
                         "minimum", 1);
    case T_WORD:
        return words(k->words);
    case T_WORDS: {
        json_t *one = words(k->words), *j = one_or_list(one);
        json_decref(one);
        return j;
    }
    case T_WHEN:
        return json_pack("{s:[o,o]}", "anyOf", words(k->words),
                         text_pattern("^risk *> *(0(\\.[0-9]+)?|\\.[0-9]+|[0-9]{1,2}(\\.[0-9]+)? *%)$"));
    case T_PEOPLE: {
        json_t *one = text_pattern("^[a-z0-9][a-z0-9._-]*$"), *j = one_or_list(one);
        json_decref(one);
        return j;
    }
    case T_STRINGS:
    case T_PATHS:
    case T_COMMANDS: {
        json_t *one = json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean"), *j = one_or_list(one);
        json_decref(one);
        return j;
    }
    case T_SECRETS: {
        json_t *one = text_pattern("^[A-Za-z_][A-Za-z0-9_]*$"), *j = one_or_list(one);
        json_decref(one);
        return j;
    }
    case T_LABELS: {
        json_t *one = scalar_text(), *j = one_or_list(one);
        json_decref(one);
        json_array_append_new(json_object_get(j, "anyOf"), json_pack("{s:s,s:o}", "type", "object",
                                                                     "additionalProperties", scalar_text()));
        return j;
    }
    case T_ENV:
        return json_pack("{s:[s,s],s:{s:s},s:{s:[s,s,s,s]}}", "type", "object", "null", "propertyNames",
                         "pattern", "^(?!PORTOLAN_)[A-Za-z_][A-Za-z0-9_]*$", "additionalProperties", "type",
                         "string", "number", "boolean", "null");
    case T_ANY:
        return json_pack("{s:[s,s]}", "type", "object", "null");
    case T_MATRIX:
        return matrix();
    case T_OBJECT:
        return reference(k->object);
    case T_OBJECTS: {
        json_t *one = reference(k->object), *j = one_or_list(one);
        json_decref(one);
        return j;
    }
    case T_MAP:
        return json_pack("{s:s,s:i,s:{s:s},s:o}", "type", "object", "minProperties", 1, "propertyNames",
                         "pattern", "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", "additionalProperties",
                         reference(k->object));
    }
    return json_object();
}

/* A key under its name and the same with '_' for '-', as the parser reads it. */
static void add_property(json_t *properties, const char *name, json_t *v)
{
    PTL_FREE char *other = ptl_xstrdup(name);
    json_object_set(properties, name, v);
    for (char *p = other; *p; p++)
        if (*p == '-')
            *p = '_';
    json_object_set(properties, other, v);
}

static json_t *either(const char *a, const char *b, const char *c)
{
    return json_pack("{s:[{s:[s]},{s:[s]},{s:[s]}]}", "anyOf", "required", a, "required", b, "required", c);
}

static json_t *map_form(const struct spec_object *o)
{
    json_t *properties = json_object(), *required = json_array();
    json_t *j =
        json_pack("{s:s,s:b,s:o}", "type", "object", "additionalProperties", false, "properties", properties);
    bool has_uses = false;
    for (size_t i = 0; i < o->n; i++) {
        const struct spec_key *k = &o->keys[i];
        json_t *v = value(k);
        json_object_set_new(v, "description", json_string(k->help));
        add_property(properties, k->name, v);
        json_decref(v);
        for (const char *const *a = k->aliases; a && *a; a++) {
            PTL_FREE char *same = ptl_xasprintf("the same as %s", k->name);
            v = value(k);
            json_object_set_new(v, "description", json_string(same));
            add_property(properties, *a, v);
            json_decref(v);
        }
        if (k->required)
            json_array_append_new(required, json_string(k->name));
        has_uses |= k->type == T_USES;
    }
    if (json_array_size(required))
        json_object_set(j, "required", required);
    json_decref(required);
    if (has_uses)
        json_object_set_new(
            j, "oneOf", json_pack("[{s:[s]},o]", "required", "uses", either("run", "script", "commands")));
    return j;
}

static json_t *definition(const struct spec_object *o)
{
    json_t *map = map_form(o), *forms = json_pack("[o]", map), *names = json_array();
    bool bare = json_object_get(map, "required") == NULL && json_object_get(map, "oneOf") == NULL;
    json_t *properties = json_object_get(map, "properties"), *v;
    const char *name;
    if (o->from_words)
        json_object_foreach(properties, name, v) json_array_append_new(names, json_string(name));
    if (o->from_words) {
        json_array_append_new(forms, json_pack("{s:O}", "enum", names));
        json_array_append_new(forms, json_pack("{s:s,s:{s:O}}", "type", "array", "items", "enum", names));
    }
    json_decref(names);
    for (size_t i = 0; o->scalar_key && i < o->n; i++)
        if (strcmp(o->keys[i].name, o->scalar_key) == 0)
            json_array_append_new(forms, value(&o->keys[i]));
    if (bare)
        json_array_append_new(forms, type("null"));
    json_t *j = json_array_size(forms) == 1 ? json_incref(map) : json_pack("{s:O}", "anyOf", forms);
    json_decref(forms);
    return j;
}

static void collect(json_t *defs, const struct spec_object *o)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct spec_object *below = o->keys[i].object;
        if (!below || json_object_get(defs, below->id))
            continue;
        json_object_set_new(defs, below->id, definition(below));
        collect(defs, below);
    }
}

json_t *ptl_spec_schema(void)
{
    json_t *schema = definition(&spec_root), *defs = json_object();
    collect(defs, &spec_root);
    json_object_set_new(schema, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(schema, "title", json_string("Portolan pipeline file (" PTL_SPEC_FILE_NAME ")"));
    json_object_set_new(schema, "$defs", defs);
    return schema;
}
