/* measure.c - the numbers: one pass over two arrays, a few thousand elements at a time, sums in long double.
 * Pure; nothing is decided here. Relative errors divide by max(|ref|, floor), floor = atol (or 1e-3 of the
 * largest |ref| when there is no elementwise rule): dividing by a reference of 0 would turn noise into
 * infinity. */
#include "compare-private.h"
#include <math.h>

enum { RUN = 2048 }; /* elements decoded at a time: two runs of doubles stay inside the first-level cache */

static void read_values(const struct cmp_values *v, uint64_t first, size_t n, double *ret)
{
    ptl_npy_read(&v->array, first, n, ret);
    if (v->scale != 1 || v->zero != 0)
        for (size_t i = 0; i < n; i++)
            ret[i] = v->scale * (ret[i] - v->zero);
}

static size_t run_of(uint64_t first, uint64_t end)
{
    return end - first < RUN ? (size_t)(end - first) : RUN;
}

static double largest_abs(const struct cmp_values *v)
{
    double run[RUN], max = 0;
    for (uint64_t at = 0, end = v->array.elements; at < end;) {
        size_t n = run_of(at, end);
        read_values(v, at, n, run);
        for (size_t i = 0; i < n; i++)
            if (isfinite(run[i]) && fabs(run[i]) > max)
                max = fabs(run[i]);
        at += n;
    }
    return max;
}

/* Does every sample (index of axis 0) hold the same values as the first? Ends at the first difference, so it
 * costs a few elements for a model that looks at its input. */
static bool same_samples(const struct ptl_npy *a)
{
    if (a->ndim == 0 || a->shape[0] < 2 || a->elements == 0)
        return false;
    uint64_t each = a->elements / a->shape[0];
    double first[RUN], run[RUN];
    for (uint64_t s = 1; s < a->shape[0]; s++)
        for (uint64_t at = 0; at < each;) {
            size_t n = run_of(at, each);
            ptl_npy_read(a, at, n, first);
            ptl_npy_read(a, s * each + at, n, run);
            for (size_t i = 0; i < n; i++)
                if (first[i] != run[i])
                    return false;
            at += n;
        }
    return true;
}

struct sums {
    long double dot, rr, gg, r, g, abs, sq;
};

struct row {
    uint64_t at, length;
    double got_max, ref_there, ref_max;
    bool broken;
};

static void row_step(struct row *row, double r, double g, struct cmp_measure *m)
{
    if (row->length < 2)
        return;
    if (row->at == 0)
        *row = (struct row){.length = row->length, .got_max = g, .ref_there = r, .ref_max = r};
    row->broken |= isnan(g) || isnan(r);
    if (g > row->got_max) {
        row->got_max = g;
        row->ref_there = r;
    }
    if (r > row->ref_max)
        row->ref_max = r;
    if (++row->at ==
        row->length) { /* the class that got prefers must be a best one of ref: fair when ref has ties */
        m->rows++;
        m->rows_agree += !row->broken && row->ref_there == row->ref_max;
        row->at = 0;
    }
}

static void worst_step(struct cmp_measure *m, double *worst, double score, uint64_t pos, double r, double g,
                       double limit)
{
    if (m->have_worst && !(score > *worst))
        return;
    *worst = score;
    m->have_worst = true;
    m->worst_pos = pos;
    m->worst_ref = r;
    m->worst_got = g;
    m->worst_limit = limit;
}

void cmp_measure(const struct cmp_values *ref, const struct cmp_values *got, const struct cmp_rule *rule,
                 struct cmp_measure *ret)
{
    struct cmp_measure m = {.elements = ref->array.elements, .got_constant = true, .ref_constant = true};
    bool elementwise = !isnan(rule->atol);
    struct sums s = {0};
    double r[RUN], g[RUN], r0 = 0, g0 = 0, worst = -1;
    struct row row = {.length = ref->array.ndim ? ref->array.shape[ref->array.ndim - 1] : 0};
    uint64_t equal = 0;

    m.rel_floor = elementwise && rule->atol > 0 ? rule->atol : 1e-3 * largest_abs(ref);
    m.max_abs = m.max_rel = -1;
    for (uint64_t at = 0; at < m.elements;) {
        size_t n = run_of(at, m.elements);
        read_values(ref, at, n, r);
        read_values(got, at, n, g);
        if (at == 0) {
            r0 = r[0];
            g0 = g[0];
        }
        for (size_t i = 0; i < n; i++) {
            m.ref_constant &= r[i] == r0;
            m.got_constant &= g[i] == g0;
            row_step(&row, r[i], g[i], &m);
            equal += r[i] == g[i];
            double limit = elementwise ? rule->atol + rule->rtol * fabs(r[i]) : NAN;
            if (!isfinite(g[i]) || !isfinite(r[i])) {
                m.ref_nan += isnan(r[i]) != 0;
                if (isinf(g[i]) && g[i] == r[i]) /* a masked logit, the same in both */
                    continue;
                m.got_nan += isnan(g[i]) != 0;
                m.got_inf += isinf(g[i]) != 0;
                m.mismatched++;
                m.broken++;
                worst_step(&m, &worst, HUGE_VAL, at + i, r[i], g[i], limit);
                continue;
            }
            double d = fabs(g[i] - r[i]), den = fabs(r[i]) > m.rel_floor ? fabs(r[i]) : m.rel_floor;
            double rel = d > 0 ? d / den : 0;
            m.finite++;
            m.max_abs = d > m.max_abs ? d : m.max_abs;
            m.max_rel = rel > m.max_rel ? rel : m.max_rel;
            bool outside = elementwise && !(d <= limit);
            m.mismatched += outside;
            worst_step(&m, &worst, elementwise ? (limit > 0 ? d / limit : (d > 0 ? HUGE_VAL : 0)) : d, at + i,
                       r[i], g[i], limit);
            s.dot += (long double)r[i] * g[i];
            s.rr += (long double)r[i] * r[i];
            s.gg += (long double)g[i] * g[i];
            s.r += r[i];
            s.g += g[i];
            s.abs += d;
            s.sq += (long double)d * d;
        }
        at += n;
    }

    double none = NAN;
    long double c = (long double)m.finite;
    m.mean_abs = m.finite ? (double)(s.abs / c) : none;
    m.rmse = m.finite ? (double)sqrtl(s.sq / c) : none;
    if (!m.finite) {
        m.max_abs = m.max_rel = none;
        m.cosine = none;
    } else if (s.rr == 0 || s.gg == 0) {
        m.cosine = s.rr == s.gg ? 1 : 0;
    } else {
        double cosine = (double)(s.dot / sqrtl(s.rr) / sqrtl(s.gg));
        m.cosine = cosine > 1 ? 1 : cosine;
    }
    if (m.finite > 2) {
        long double vr = s.rr - s.r * s.r / c, vg = s.gg - s.g * s.g / c, cov = s.dot - s.r * s.g / c;
        m.fit_scale = vr > 0 ? (double)(cov / vr) : 0;
        m.fit_shift = (double)(s.g / c - m.fit_scale * (s.r / c));
        m.fit_r2 = vr > 0 && vg > 0 ? (double)(cov * cov / vr / vg) : 0;
    }
    if (!ptl_dtype_is_float(ref->array.dtype)) { /* labels: the share of equal ones */
        m.rows = m.elements;
        m.rows_agree = equal;
    }
    m.top1 = m.rows ? (double)m.rows_agree / (double)m.rows : none;
    m.got_constant &= m.elements > 1;
    m.ref_constant &= m.elements > 1;
    m.got_same_samples = same_samples(&got->array);
    m.ref_same_samples = same_samples(&ref->array);
    *ret = m;
}

bool cmp_agrees(const struct cmp_values *ref, const struct cmp_values *got, double atol, double rtol)
{
    double r[RUN], g[RUN];
    for (uint64_t at = 0, end = ref->array.elements; at < end;) {
        size_t n = run_of(at, end);
        read_values(ref, at, n, r);
        read_values(got, at, n, g);
        for (size_t i = 0; i < n; i++)
            if (!(fabs(g[i] - r[i]) <= atol + rtol * fabs(r[i])) && r[i] != g[i])
                return false;
        at += n;
    }
    return true;
}
