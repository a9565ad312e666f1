/* rule.c - which limits apply: the default table by precision, changed by what the pipeline file expects.
 * Pure. A key that is not understood is an error, never ignored: it would be a gate that somebody believes in
 * and nobody checks. */
#include "compare-private.h"
#include <math.h>

static const struct defaults {
    const char *precision;
    double atol, rtol, cosine, top1;
} table[] = {
    {"fp32",    1e-5, 1e-3, NAN,   NAN },
    {"fp32opt", 1e-4, 1e-3, NAN,   NAN },
    {"fp16",    1e-3, 1e-2, NAN,   NAN },
    {"bf16",    1e-2, 5e-2, NAN,   NAN },
    {"int8w",   NAN,  NAN,  0.999, 0.99},
    {"int8",    NAN,  NAN,  0.99,  0.97},
};

static const struct defaults *defaults_of(const char *precision)
{
    static const char *const same[][2] = {
        {"float32",  "fp32"},
        {"float16",  "fp16"},
        {"bfloat16", "bf16"}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(same); i++)
        if (strcmp(precision, same[i][0]) == 0)
            precision = same[i][1];
    for (size_t i = 0; i < PTL_ARRAY_LEN(table); i++)
        if (strcmp(precision, table[i].precision) == 0)
            return &table[i];
    return NULL;
}

/* The keys of `expect` that budget.c reads. */
static bool is_budget_key(const char *key)
{
    static const char *const keys[] = {
        "latency_p50",    "latency_p95",       "load_time",     "first_latency", "peak_memory",
        "artifact_size",  "regression",        "load_ms",       "first_ms",      "latency_p50_ms",
        "latency_p95_ms", "peak_memory_bytes", "artifact_bytes"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static int word_of(const json_t *v, const char *key, const char *plain, const char *special, bool *ret,
                   struct ptl_error *err)
{
    const char *s = json_string_value(v);
    if (!s || (strcmp(s, plain) != 0 && strcmp(s, special) != 0))
        return ptl_error_set(err, -EINVAL, "expect.%s: expected '%s' or '%s'", key, plain, special);
    *ret = strcmp(s, special) == 0;
    return 0;
}

int cmp_rule_init(struct cmp_rule *ret, const json_t *job, const char *golden_precision,
                  struct ptl_error *err)
{
    const char *precision = ptl_json_str(job, "precision", "auto");
    if (strcmp(precision, "auto") == 0)
        precision = golden_precision && defaults_of(golden_precision) ? golden_precision : "fp32";
    const struct defaults *d = defaults_of(precision);
    if (!d)
        return ptl_error_set(err, -EINVAL,
                             "precision '%s': expected fp32, fp32opt, fp16, bf16, int8w, int8 or auto",
                             precision);

    struct cmp_rule rule = {.precision = d->precision,
                            .atol = d->atol,
                            .rtol = d->rtol,
                            .cosine = d->cosine,
                            .top1 = d->top1,
                            .max_abs = NAN,
                            .max_rel = NAN,
                            .mean_abs = NAN,
                            .whole_exact = isnan(d->cosine)};
    struct {
        const char *key;
        double *value;
        bool *asked;
        double max;
    } numbers[] = {
        {"atol",           &rule.atol,     &rule.atol_asked,   HUGE_VAL},
        {"rtol",           &rule.rtol,     &rule.rtol_asked,   HUGE_VAL},
        {"max_abs_error",  &rule.max_abs,  NULL,               HUGE_VAL},
        {"max_rel_error",  &rule.max_rel,  NULL,               HUGE_VAL},
        {"mean_abs_error", &rule.mean_abs, NULL,               HUGE_VAL},
        {"cosine",         &rule.cosine,   &rule.cosine_asked, 1       },
        {"top1_agreement", &rule.top1,     &rule.top1_asked,   1       },
    };

    const json_t *expect = json_object_get(job, "expect");
    const char *key;
    json_t *v;
    if (expect && !json_is_null(expect) && !json_is_object(expect))
        return ptl_error_set(err, -EINVAL, "expect: expected an object");
    json_object_foreach((json_t *)expect, key, v)
    {
        size_t i = 0;
        while (i < PTL_ARRAY_LEN(numbers) && strcmp(numbers[i].key, key) != 0)
            i++;
        if (i < PTL_ARRAY_LEN(numbers)) {
            double n = json_is_number(v) ? json_number_value(v) : -1;
            if (!(n >= 0 && n <= numbers[i].max))
                return ptl_error_set(err, -EINVAL, "expect.%s: expected a number %s", key,
                                     numbers[i].max > 1 ? "of at least 0" : "from 0 to 1");
            *numbers[i].value = n;
            if (numbers[i].asked)
                *numbers[i].asked = true;
            continue;
        }
        int r = 0;
        if (strcmp(key, "dtype") == 0)
            r = word_of(v, key, "exact", "compatible", &rule.dtype_compatible, err);
        else if (strcmp(key, "indicative") == 0)
            r = word_of(v, key, "told", "gate", &rule.gate_indicative, err);
        else if (!is_budget_key(key))
            r = ptl_error_set(err, -EINVAL, "expect.%s: unknown; it would never be checked", key);
        if (r < 0)
            return r;
    }

    if (rule.atol_asked || rule.rtol_asked) { /* the one not named is 0 where the table has none */
        rule.atol = isnan(rule.atol) ? 0 : rule.atol;
        rule.rtol = isnan(rule.rtol) ? 0 : rule.rtol;
    } else if (!isnan(rule.max_abs) || !isnan(rule.max_rel)) {
        rule.atol = rule.rtol = NAN;
    }
    *ret = rule;
    return 0;
}

struct cmp_rule cmp_rule_for(const struct cmp_rule *rule, const struct ptl_npy *ref)
{
    struct cmp_rule r = *rule;
    if (ptl_dtype_is_float(ref->dtype))
        return r;
    if (!r.atol_asked && !r.rtol_asked && r.whole_exact && isnan(r.max_abs) && isnan(r.max_rel))
        r.atol = r.rtol = 0;
    if (!r.cosine_asked)
        r.cosine = NAN; /* the angle between two lists of labels says nothing */
    return r;
}

static void add_limit(json_t *list, const char *name, double v, bool asked, const char *precision)
{
    if (isnan(v))
        return;
    char from[64];
    if (asked)
        snprintf(from, sizeof(from), "spec");
    else
        snprintf(from, sizeof(from), "default of %s", precision);
    json_array_append_new(list, json_pack("{s:s,s:f,s:s}", "name", name, "value", v, "from", from));
}

json_t *cmp_rule_limits(const struct cmp_rule *r)
{
    json_t *list = json_array();
    add_limit(list, "atol", r->atol, r->atol_asked, r->precision);
    add_limit(list, "rtol", r->rtol, r->rtol_asked, r->precision);
    add_limit(list, "max_abs_error", r->max_abs, true, "");
    add_limit(list, "max_rel_error", r->max_rel, true, "");
    add_limit(list, "mean_abs_error", r->mean_abs, true, "");
    add_limit(list, "cosine", r->cosine, r->cosine_asked, r->precision);
    add_limit(list, "top1_agreement", r->top1, r->top1_asked, r->precision);
    return list;
}
