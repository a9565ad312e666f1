/* hint.c - why might two outputs differ? Tries the mistakes that conversions really make and says which of
 * them would make the outputs agree: another axis order (NCHW/NHWC), swapped channels, a linear shift or
 * scale (a normalisation constant lost or applied twice). Pure. Only guesses: a hint never turns anything
 * green. */
#include "compare-private.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Work bounds: a hint is worth about a second, not a minute. */
enum { HINT_MAX_CHANNELS = 64 };
#define HINT_MAX_ELEMENTS ((uint64_t)16 << 20)
#define HINT_MAX_WORK     ((uint64_t)256 << 20) /* element comparisons of the channel search */

static const struct order {
    unsigned ndim, perm[5]; /* axis k of what was expected is axis perm[k] of what came */
    const char *text;
} orders[] = {
    {4, {0, 2, 3, 1},    "NCHW→NHWC"                 },
    {4, {0, 3, 1, 2},    "NHWC→NCHW"                 },
    {4, {0, 2, 1, 3},    "NHWC→NWHC"                 },
    {4, {0, 1, 3, 2},    "NCHW→NCWH"                 },
    {3, {0, 2, 1},       "NCL→NLC"                   },
    {5, {0, 2, 3, 4, 1}, "NCDHW→NDHWC"               },
    {5, {0, 4, 1, 2, 3}, "NDHWC→NCDHW"               },
    {2, {1, 0},          "samples last→samples first"},
    {3, {1, 0, 2},       "time first→samples first"  },
};

static bool shape_is(const struct ptl_npy *a, const struct ptl_npy *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (unsigned k = 0; k < a->ndim; k++)
        if (a->shape[k] != b->shape[k])
            return false;
    return true;
}

/* The tolerance of a guess: the rule's own, or a tenth of the signal when the rule looks at angles only. */
static void guess_limits(const struct cmp_values *ref, const struct cmp_rule *rule, double *atol,
                         double *rtol)
{
    if (!isnan(rule->atol) && rule->atol + rule->rtol > 0) {
        *atol = rule->atol;
        *rtol = rule->rtol;
        return;
    }
    double sum = 0;
    uint64_t n = ref->array.elements < 4096 ? ref->array.elements : 4096;
    for (uint64_t i = 0; i < n; i++) {
        double v = fabs(ptl_npy_at(&ref->array, i));
        sum += isfinite(v) ? v : 0;
    }
    *atol = isnan(rule->max_abs) ? (n ? 0.1 * sum / (double)n : 0) : rule->max_abs;
    *rtol = isnan(rule->max_abs) ? 0.1 : 0;
}

static int hint_order(const struct cmp_values *ref, const struct cmp_values *got, double atol, double rtol,
                      char *ret, size_t size)
{
    const char *by_shape = NULL;
    for (size_t i = 0; i < PTL_ARRAY_LEN(orders); i++) {
        if (orders[i].ndim != got->array.ndim)
            continue;
        struct cmp_values turned = {ptl_npy_permuted(&got->array, orders[i].perm), got->scale, got->zero};
        if (!shape_is(&turned.array, &ref->array))
            continue;
        if (cmp_agrees(ref, &turned, atol, rtol)) {
            snprintf(ret, size, "looks transposed: %s would agree", orders[i].text);
            return 1;
        }
        if (!by_shape && !shape_is(&got->array, &ref->array))
            by_shape = orders[i].text;
    }
    if (!by_shape)
        return 0;
    snprintf(ret, size, "the shape looks transposed (%s), but the values do not agree then either", by_shape);
    return 1;
}

static int hint_channels(const struct cmp_values *ref, const struct cmp_values *got, unsigned axis,
                         double atol, double rtol, char *ret, size_t size)
{
    uint64_t channels = ref->array.shape[axis];
    if (channels < 2 || channels > HINT_MAX_CHANNELS || channels * ref->array.elements > HINT_MAX_WORK)
        return 0;
    unsigned char from[HINT_MAX_CHANNELS];
    bool taken[HINT_MAX_CHANNELS] = {false};
    unsigned moved = 0;
    for (unsigned i = 0; i < channels; i++) {
        struct cmp_values r = {ptl_npy_slice(&ref->array, axis, i), ref->scale, ref->zero};
        unsigned found = HINT_MAX_CHANNELS;
        for (unsigned k = 0; k < channels && found == HINT_MAX_CHANNELS; k++) {
            unsigned j = (unsigned)((i + k) % channels); /* its own place first */
            struct cmp_values g = {ptl_npy_slice(&got->array, axis, j), got->scale, got->zero};
            if (!taken[j] && cmp_agrees(&r, &g, atol, rtol))
                found = j;
        }
        if (found == HINT_MAX_CHANNELS)
            return 0;
        taken[found] = true;
        from[i] = (unsigned char)found;
        moved += found != i;
    }
    if (!moved)
        return 0;
    size_t at = (size_t)snprintf(ret, size, "channels look swapped along axis %u: in the order", axis);
    for (unsigned i = 0; i < channels && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%u", i ? "," : " ", from[i]);
    if (at < size)
        snprintf(ret + at, size - at, " they would agree%s",
                 channels == 3 && from[0] == 2 && from[1] == 1 ? " (RGB/BGR)" : "");
    return 1;
}

int cmp_hint(const struct cmp_values *ref, const struct cmp_values *got, const struct cmp_rule *rule,
             const struct cmp_measure *m, char *ret, size_t size)
{
    double atol, rtol;
    if (ref->array.elements != got->array.elements || ref->array.elements > HINT_MAX_ELEMENTS ||
        !ref->array.elements)
        return 0;
    guess_limits(ref, rule, &atol, &rtol);
    int r = hint_order(ref, got, atol, rtol, ret, size);
    if (r || !m || !shape_is(&ref->array, &got->array) || ref->array.ndim < 2)
        return r;
    if (m->got_nan || m->got_inf || m->got_constant)
        return 0;
    r = hint_channels(ref, got, ref->array.ndim - 1, atol, rtol, ret, size);
    if (!r && ref->array.ndim > 2)
        r = hint_channels(ref, got, 1, atol, rtol, ret, size);
    if (r)
        return r;
    bool moved = fabs(m->fit_scale - 1) > 1e-3 || fabs(m->fit_shift) > 1e-3 * (fabs(m->worst_ref) + m->rmse);
    if (moved && m->fit_r2 > 0.9999 && m->finite >= 8) {
        snprintf(
            ret, size,
            "got is very nearly %.6g * expected %+.6g: a scale or shift (normalisation constants) was lost or "
            "applied twice",
            m->fit_scale, m->fit_shift);
        return 2;
    }
    return 0;
}
