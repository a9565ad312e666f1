/* matrix.c - axes multiplied, include and exclude applied, and values put into texts. The placeholder is the
 * one CI users know,
 * ${{ matrix.AXIS }}; beside it only ${{ target }} and ${{ model }}, everything else is refused, because a
 * placeholder that stays in a command is found at run time by somebody else. Pure. */
#include "check-private.h"
#include <inttypes.h>
#include <stdio.h>

enum { MAX_FILLED = 128 * 1024 }; /* bytes of one text after filling in */

char *spec_value_text(const json_t *v)
{
    char buf[40];
    if (json_is_string(v))
        return ptl_xstrdup(json_string_value(v));
    if (json_is_boolean(v))
        return ptl_xstrdup(json_is_true(v) ? "true" : "false");
    if (json_is_integer(v))
        return ptl_xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    double d = json_number_value(v);
    snprintf(buf, sizeof(buf), "%.15g", d);
    if (strtod(buf, NULL) != d)
        snprintf(buf, sizeof(buf), "%.17g", d);
    return ptl_xstrdup(buf);
}

static bool agrees(const json_t *combination, const json_t *entry, const json_t *axes)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)entry, key, v)
    {
        if (axes && !json_object_get(axes, key))
            continue; /* not an axis: a value that include adds */
        const json_t *have = json_object_get(combination, key);
        if (!have || !json_equal(have, v))
            return false;
    }
    return true;
}

static int multiply(json_t **list, const char *axis, const json_t *values, size_t max)
{
    json_t *next = json_array(), *old, *v;
    size_t i, k;
    json_array_foreach(*list, i, old) json_array_foreach(values, k, v)
    {
        if (json_array_size(next) >= max) {
            json_decref(next);
            return -E2BIG;
        }
        json_t *one = json_copy(old);
        json_object_set(one, axis, v);
        json_array_append_new(next, one);
    }
    json_decref(*list);
    *list = next;
    return 0;
}

static void exclude(json_t *list, const json_t *entries)
{
    size_t k;
    json_t *entry;
    json_array_foreach(entries, k, entry) for (size_t i = json_array_size(list); i-- > 0;)
    {
        if (agrees(json_array_get(list, i), entry, NULL))
            json_array_remove(list, i);
    }
}

/* As GitHub does it: an entry adds its values to every combination whose axes agree with it, else is one of
 * its own. */
static void include(json_t *list, const json_t *entries, const json_t *axes)
{
    size_t k, originals = json_array_size(list);
    json_t *entry;
    json_array_foreach(entries, k, entry)
    {
        bool used = false;
        for (size_t i = 0; i < originals; i++) {
            json_t *combination = json_array_get(list, i);
            if (agrees(combination, entry, axes)) {
                json_object_update(combination, entry);
                used = true;
            }
        }
        if (!used)
            json_array_append(list, entry);
    }
}

json_t *spec_combinations(const json_t *matrix, size_t max, struct ptl_spec_diags *diags,
                          const json_t *places, const char *place)
{
    const json_t *axes = json_object_get(matrix, "axes");
    const char *axis;
    json_t *values, *list = json_array(), *v;
    size_t i, k;
    bool faulty = json_object_size(axes) == 0;
    json_object_foreach((json_t *)axes, axis, values) faulty |= json_array_size(values) == 0;
    if (json_object_size(axes)) {
        json_array_append_new(list, json_object());
        json_object_foreach((json_t *)axes, axis, values)
        {
            if (multiply(&list, axis, values, max) == 0)
                continue;
            diag_at(diags, places, false, place, NULL, NULL,
                    "the axes multiply to more than %zu combinations", max);
            json_decref(list);
            return NULL;
        }
    }
    json_array_foreach(json_object_get(matrix, "exclude"), i, v)
    {
        json_object_foreach(v, axis, values) if (!json_object_get(axes, axis))
        {
            PTL_FREE char *at = ptl_xasprintf("%s.exclude[%zu].%s", place, i, axis);
            diag_at(diags, places, false, at, NULL, NULL,
                    "'%s' is no axis of this matrix, so nothing is excluded", axis);
        }
    }
    exclude(list, json_object_get(matrix, "exclude"));
    include(list, json_object_get(matrix, "include"), axes);
    if (json_array_size(list) == 0 && diags->errors && faulty) { /* told already, at the axis itself */
        json_decref(list);
        return NULL;
    }
    if (json_array_size(list) == 0 || json_array_size(list) > max) {
        diag_at(diags, places, false, place, NULL, NULL,
                json_array_size(list) ? "more than %zu combinations" : "no combination is left", max);
        json_decref(list);
        return NULL;
    }
    for (i = 0; i < json_array_size(list); i++)
        for (k = 0; k < i; k++)
            if (json_equal(json_array_get(list, i), json_array_get(list, k))) {
                diag_at(diags, places, false, place, NULL, NULL,
                        "the same combination twice (an include repeats one)");
                json_decref(list);
                return NULL;
            }
    return list;
}

/* ---- placeholders ---- */

struct fill {
    const struct spec_values *values;
    struct ptl_spec_diags *diags;
    const json_t *places;
    const char *place;
};

/* The value of the expression of `len` bytes, new reference; NULL with a finding. */
static json_t *look_up(const struct fill *f, const char *expr, size_t len)
{
    static const char expected[] = "${{ matrix.AXIS }}, ${{ target }} or ${{ model }}";
    char word[80];
    while (len && (*expr == ' ' || *expr == '\t')) {
        expr++;
        len--;
    }
    while (len && (expr[len - 1] == ' ' || expr[len - 1] == '\t'))
        len--;
    snprintf(word, sizeof(word), "%.*s", (int)(len < 70 ? len : 70), expr);
    if (ptl_str_starts(word, "matrix.")) {
        json_t *v = json_object_get(f->values->matrix, word + 7);
        if (v)
            return json_incref(v);
        const char *axes[40], *axis;
        json_t *value;
        size_t n = 0;
        json_object_foreach((json_t *)f->values->matrix, axis, value) if (n + 1 < PTL_ARRAY_LEN(axes))
            axes[n++] = axis;
        axes[n] = NULL;
        diag_at(f->diags, f->places, false, f->place, NULL, ptl_str_nearest(word + 7, axes),
                n ? "'${{ %s }}': the matrix has no such axis" : "'${{ %s }}': there is no matrix here",
                word);
        return NULL;
    }
    if (strcmp(word, "target") == 0 && f->values->target)
        return json_string(f->values->target);
    if (strcmp(word, "model") == 0)
        return json_string(f->values->model);
    diag_at(f->diags, f->places, false, f->place, expected, NULL, "'${{ %s }}' is not known", word);
    return NULL;
}

static json_t *fill_text(const struct fill *f, const char *s, bool typed)
{
    PTL_BUF b = PTL_BUF_MAX(MAX_FILLED);
    ptl_buf_puts(&b, "");
    for (const char *p = s; *p;) {
        const char *open = strstr(p, "${{"), *close = open ? strstr(open, "}}") : NULL;
        if (!open) {
            ptl_buf_puts(&b, p);
            break;
        }
        if (!close) {
            diag_at(f->diags, f->places, false, f->place, NULL, NULL, "'${{' without '}}'");
            return NULL;
        }
        ptl_buf_add(&b, p, (size_t)(open - p));
        json_t *v = look_up(f, open + 3, (size_t)(close - open - 3));
        if (!v)
            return NULL;
        if (typed && open == s && close[2] == '\0')
            return v;
        PTL_FREE char *text = spec_value_text(v);
        ptl_buf_puts(&b, text);
        json_decref(v);
        p = close + 2;
    }
    if (b.failed) {
        diag_at(f->diags, f->places, false, f->place, NULL, NULL,
                "the text is longer than %d bytes when filled in", MAX_FILLED);
        return NULL;
    }
    return json_string(ptl_buf_str(&b));
}

/* A matrix copies what it multiplies: the copies of all stages together have a bound. */
static bool pay(const struct fill *f, size_t bytes)
{
    if (bytes <= *f->values->budget) {
        *f->values->budget -= bytes;
        return true;
    }
    diag_at(f->diags, f->places, false, f->place, NULL, NULL,
            "the plan of all stages together becomes too large");
    return false;
}

static json_t *fill(const struct fill *f, const json_t *v, bool typed)
{
    json_t *ret, *child, *made;
    const char *key;
    size_t i;
    if (!pay(f, 32 + (json_is_string(v) ? json_string_length(v) : 0)))
        return NULL;
    if (json_is_string(v))
        return fill_text(f, json_string_value(v), typed);
    if (!json_is_object(v) && !json_is_array(v))
        return json_incref((json_t *)v);
    ret = json_is_object(v) ? json_object() : json_array();
    if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, child)
        {
            PTL_FREE char *at = ptl_xasprintf("%s.%s", f->place, key);
            struct fill deeper = *f;
            deeper.place = at;
            made = fill(&deeper, child, typed);
            if (!made || json_object_set_new(ret, key, made) < 0) {
                json_decref(ret);
                return NULL;
            }
        }
        return ret;
    }
    json_array_foreach(v, i, child)
    {
        PTL_FREE char *at = ptl_xasprintf("%s[%zu]", f->place, i);
        struct fill deeper = *f;
        deeper.place = at;
        made = fill(&deeper, child, typed);
        if (!made || json_array_append_new(ret, made) < 0) {
            json_decref(ret);
            return NULL;
        }
    }
    return ret;
}

json_t *spec_fill(const json_t *v, const struct spec_values *values, bool typed, struct ptl_spec_diags *diags,
                  const json_t *places, const char *place)
{
    struct fill f = {values, diags, places, place};
    return fill(&f, v, typed);
}
