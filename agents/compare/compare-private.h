/* compare-private.h - shared by the files of agents/compare only. */
#ifndef PTL_COMPARE_PRIVATE_H
#define PTL_COMPARE_PRIVATE_H
#include "compare.h"
#include "npy.h"

/* Limits of one comparison. NAN: not asked for. */
struct cmp_rule {
    const char *precision;
    double atol, rtol; /* elementwise rule; both NAN: off */
    double max_abs, max_rel, mean_abs, cosine, top1;
    bool atol_asked, rtol_asked, cosine_asked, top1_asked; /* by the spec, not by the default table */
    bool dtype_compatible;
    bool gate_indicative;
    bool whole_exact; /* outputs of whole numbers must be equal unless atol/rtol were asked for */
};

/* -EINVAL: unknown precision or key. `golden_precision` may be NULL. */
PTL_NODISCARD int cmp_rule_init(struct cmp_rule *ret, const json_t *job, const char *golden_precision,
                                struct ptl_error *err);
json_t *cmp_rule_limits(const struct cmp_rule *rule); /* [{"name","value","from"}] */

/* The rule for one output: whole numbers are compared exactly. */
struct cmp_rule cmp_rule_for(const struct cmp_rule *rule, const struct ptl_npy *ref);

/* An array with an optional dequantisation: value = scale * (stored - zero). */
struct cmp_values {
    struct ptl_npy array;
    double scale, zero; /* 1, 0 for none */
};

struct cmp_measure {
    uint64_t elements, finite;
    uint64_t mismatched, broken; /* all that are wrong; of those, the ones where a side is not finite */
    uint64_t got_nan, got_inf, ref_nan;              /* infinities that the reference has too are no fault */
    uint64_t rows, rows_agree;                       /* top-1 */
    double max_abs, max_rel, mean_abs, rmse, cosine; /* over finite pairs; NAN when there are none */
    double top1;                                     /* NAN: does not apply */
    double fit_scale, fit_shift, fit_r2;             /* got ~ scale*ref + shift */
    double rel_floor;
    bool got_constant, got_same_samples, ref_constant, ref_same_samples;
    bool have_worst;
    uint64_t worst_pos;
    double worst_ref, worst_got, worst_limit; /* limit NAN when no elementwise rule */
};
/* Same number of elements in both; shapes are the caller's business, rows are ref's last axis. */
void cmp_measure(const struct cmp_values *ref, const struct cmp_values *got, const struct cmp_rule *rule,
                 struct cmp_measure *ret);
/* Elementwise only, stops at the first element outside. */
bool cmp_agrees(const struct cmp_values *ref, const struct cmp_values *got, double atol, double rtol);

/* Sentences that guess the cause of a difference. 0: none; 1: written, the order of elements is wrong
 * ("layout"); 2: written, only a hint. */
int cmp_hint(const struct cmp_values *ref, const struct cmp_values *got, const struct cmp_rule *rule,
             const struct cmp_measure *m, char *ret, size_t size);

/* Appends {"code","text"[,"output"]} to `reasons`. */
void cmp_reason(json_t *reasons, const char *output, const char *code, const char *fmt, ...) PTL_PRINTF(4, 5);
json_t *cmp_number(double v); /* real; "NaN", "Infinity", "-Infinity" as text, since JSON has none */

/* Adds "metrics", "budgets", "against_last_good" to the report, reasons and notes where a gate failed. */
PTL_NODISCARD int cmp_budgets(json_t *report, const json_t *got_manifest, const json_t *job,
                              bool gate_indicative, json_t *reasons, json_t *notes, struct ptl_error *err);
#endif
