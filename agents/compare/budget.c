/* budget.c - load time, latency, memory and bytes against their budgets and against the last good run. Pure.
 * A budget that was asked for and has no measurement is red: silence is not a pass. */
#include "compare-private.h"
#include <inttypes.h>
#include <math.h>
#include <portolan/clock.h>
#include <stdio.h>

enum { MIN_LATENCY_SAMPLES = 20, MAX_LATENCY_SAMPLES = 100000 };

static const struct metric {
    const char *name;     /* in "metrics" and as a normalised key of expect */
    const char *spec_key; /* in the pipeline file */
    const char *text;
    bool bytes;
    bool indicative; /* an emulator's number is told, not judged */
} metrics[] = {
    {"load_ms",           "load_time",     "load time",       false, false},
    {"first_ms",          "first_latency", "first inference", false, true },
    {"latency_p50_ms",    "latency_p50",   "latency p50",     false, true },
    {"latency_p95_ms",    "latency_p95",   "latency p95",     false, true },
    {"peak_memory_bytes", "peak_memory",   "peak memory",     true,  false},
    {"artifact_bytes",    "artifact_size", "artifact size",   true,  false},
};

static void quantity(const struct metric *m, double v, char ret[48])
{
    char text[32];
    if (m->bytes) {
        ptl_size_format(v < 4e18 ? (int64_t)v : INT64_MAX, text);
        snprintf(ret, 48, "%s", text);
    } else {
        snprintf(ret, 48, v < 10 ? "%.3g ms" : "%.4g ms", v);
    }
}

static bool number_ok(const json_t *v, double *ret)
{
    if (!json_is_number(v))
        return false;
    double n = json_number_value(v);
    if (!isfinite(n) || n < 0)
        return false;
    *ret = n;
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest sample that at least pct percent of samples do not exceed. */
static double percentile(const double *sorted, size_t n, unsigned pct)
{
    size_t rank = (n * pct + 99) / 100;
    return sorted[rank ? rank - 1 : 0];
}

static void note(json_t *notes, const char *fmt, ...) PTL_PRINTF(2, 3);
static void note(json_t *notes, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(notes, json_string(text));
}

static int take_latencies(json_t *ret, const json_t *list, json_t *notes, struct ptl_error *err)
{
    size_t n = json_array_size(list), used = 0;
    if (n == 0)
        return 0;
    if (n > MAX_LATENCY_SAMPLES) {
        note(notes, "only the first %d of %zu latency samples were used", MAX_LATENCY_SAMPLES, n);
        n = MAX_LATENCY_SAMPLES;
    }
    PTL_FREE double *v = malloc(n * sizeof(*v));
    if (!v)
        return ptl_error_set(err, -ENOMEM, "compare: out of memory for %zu latency samples", n);
    for (size_t i = 0; i < n; i++)
        used += number_ok(json_array_get(list, i), &v[used]);
    if (used < n)
        note(notes, "%zu of %zu latency samples are no numbers and were left out", n - used, n);
    if (used == 0)
        return 0;
    if (used < MIN_LATENCY_SAMPLES)
        note(notes, "only %zu latency samples; percentiles of fewer than %d say little", used,
             MIN_LATENCY_SAMPLES);
    qsort(v, used, sizeof(*v), by_value);
    json_object_set_new(ret, "latency_p50_ms", json_real(percentile(v, used, 50)));
    json_object_set_new(ret, "latency_p95_ms", json_real(percentile(v, used, 95)));
    return 0;
}

static void take_metric(json_t *ret, const json_t *from, const char *name, bool bytes)
{
    double v;
    if (number_ok(json_object_get(from, name), &v))
        json_object_set_new(ret, name, bytes && v < 9e15 ? json_integer((json_int_t)v) : json_real(v));
}

/* A budget in the form of the pipeline file or of the plan. 0; PTL_ABSENT when there is none. */
static int limit_of(const json_t *expect, const struct metric *m, double *ret, struct ptl_error *err)
{
    const char *key = m->name;
    const json_t *v = json_object_get(expect, key);
    if (!v)
        v = json_object_get(expect, key = m->spec_key);
    if (!v)
        return PTL_ABSENT;
    int64_t n = -1;
    const char *text = json_string_value(v);
    if (number_ok(v, ret))
        return 0;
    if (text && (m->bytes ? ptl_size_parse(text, &n) : ptl_duration_parse(text, &n)) == 0) {
        *ret = (double)n;
        return 0;
    }
    return ptl_error_set(err, -EINVAL, "expect.%s: expected a %s", key,
                         m->bytes ? "size such as 200KiB" : "duration such as 20ms");
}

struct judge {
    json_t *budgets, *reasons;
    const json_t *measured;
    bool indicative; /* latency is told only */
};

static void judge(struct judge *j, const struct metric *m, const char *prefix, double limit, const char *why)
{
    double now = NAN;
    bool have = number_ok(json_object_get(j->measured, m->name), &now);
    bool told = m->indicative && j->indicative;
    bool over = !have || now > limit;
    char limit_text[48], now_text[48], text[256];
    quantity(m, limit, limit_text);
    quantity(m, have ? now : 0, now_text);
    if (!have)
        snprintf(text, sizeof(text), "%s was not measured; the limit is %s%s", m->text, limit_text, why);
    else
        snprintf(text, sizeof(text), "%s %s is %s the limit of %s%s%s", m->text, now_text,
                 over ? "above" : "within", limit_text, why, told ? " (emulated: indicative)" : "");
    json_t *b = json_pack("{s:s+,s:f,s:s,s:b,s:s}", "name", prefix, m->name, "limit", limit, "verdict",
                          !over  ? "green"
                          : told ? "told"
                                 : "red",
                          "indicative", told, "text", text);
    if (b && have)
        json_object_set_new(b, "measured", json_real(now));
    else if (b)
        json_object_set_new(b, "measured", json_null());
    json_array_append_new(j->budgets, b);
    if (over && !told)
        cmp_reason(j->reasons, NULL, "budget", "%s", text);
}

static int judge_regressions(struct judge *j, const json_t *regression, const json_t *before, json_t *notes,
                             struct ptl_error *err)
{
    const char *key;
    json_t *v;
    if (regression && !json_is_object(regression))
        return ptl_error_set(err, -EINVAL, "expect.regression: expected {metric: factor}");
    json_object_foreach((json_t *)regression, key, v)
    {
        const struct metric *m = NULL;
        for (size_t i = 0; i < PTL_ARRAY_LEN(metrics); i++)
            if (strcmp(key, metrics[i].name) == 0 || strcmp(key, metrics[i].spec_key) == 0)
                m = &metrics[i];
        double factor, was;
        if (!m)
            return ptl_error_set(err, -EINVAL, "expect.regression.%s: unknown; it would never be checked",
                                 key);
        if (!number_ok(v, &factor) || factor == 0)
            return ptl_error_set(err, -EINVAL, "expect.regression.%s: expected a factor such as 1.5", key);
        if (!number_ok(json_object_get(before, m->name), &was)) {
            note(notes, "regression of %s: no last good value to compare with yet", m->text);
            continue;
        }
        char was_text[48], why[96];
        quantity(m, was, was_text);
        snprintf(why, sizeof(why), " (%.4g times the last good %s)", factor, was_text);
        judge(j, m, "regression.", was * factor, why);
    }
    return 0;
}

static json_t *against(const json_t *now, const json_t *before)
{
    json_t *list = json_array();
    for (size_t i = 0; i < PTL_ARRAY_LEN(metrics); i++) {
        double a, b;
        if (!number_ok(json_object_get(before, metrics[i].name), &a) ||
            !number_ok(json_object_get(now, metrics[i].name), &b))
            continue;
        json_t *row = json_pack("{s:s,s:f,s:f}", "name", metrics[i].name, "before", a, "now", b);
        if (row)
            json_object_set_new(row, "change_pct", a > 0 ? json_real(100 * (b - a) / a) : json_null());
        json_array_append_new(list, row);
    }
    return list;
}

static double model_bytes(const json_t *job)
{
    double sum = 0, v;
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(json_object_get(job, "model"), "files"), i, f) sum +=
        number_ok(json_object_get(f, "size_bytes"), &v) ? v : 0;
    return sum;
}

int cmp_budgets(json_t *report, const json_t *got_manifest, const json_t *job, bool gate_indicative,
                json_t *reasons, json_t *notes, struct ptl_error *err)
{
    const json_t *from = json_object_get(got_manifest, "metrics"),
                 *runtime = json_object_get(got_manifest, "runtime");
    const json_t *before = json_object_get(json_object_get(job, "baseline"), "metrics");
    const json_t *expect = json_object_get(job, "expect");
    json_t *measured = json_object();
    json_object_set_new(report, "metrics", measured);
    for (size_t i = 0; i < PTL_ARRAY_LEN(metrics); i++)
        take_metric(measured, from, metrics[i].name, metrics[i].bytes);
    int r = take_latencies(measured, json_object_get(from, "latency_ms"), notes, err);
    if (r < 0)
        return r;
    double bytes = model_bytes(job);
    if (!json_object_get(measured, "artifact_bytes") && bytes > 0 && bytes < 9e15)
        json_object_set_new(measured, "artifact_bytes", json_integer((json_int_t)bytes));

    struct judge j = {json_array(), reasons, measured,
                      ptl_json_flag(runtime, "indicative_latency", false) && !gate_indicative};
    json_object_set_new(report, "budgets", j.budgets);
    for (size_t i = 0; i < PTL_ARRAY_LEN(metrics); i++) {
        double limit = 0;
        r = limit_of(expect, &metrics[i], &limit, err);
        if (r < 0)
            return r;
        if (r == 0)
            judge(&j, &metrics[i], "", limit, "");
    }
    r = judge_regressions(&j, json_object_get(expect, "regression"), before, notes, err);
    if (r < 0)
        return r;
    json_object_set_new(report, "against_last_good", against(measured, before));
    return 0;
}
