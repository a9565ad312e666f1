/* compare.h - the gate: golden set against what the target's own runtime gave.
 *
 * ptl_compare_run() reads GOLDEN/manifest.json and GOT/manifest.json with their .npy files, judges every
 * output, the budgets and the console, and returns the report (report.json of the stage contract). A passing
 * comparison of nothing is a failure: no golden set, no outputs, no elements all give a red report with the
 * reason named.
 *
 * The rule, elementwise: |got - ref| <= atol + rtol * |ref|; defaults by precision:
 *     fp32     atol 1e-5 rtol 1e-3        fp16   atol 1e-3 rtol 1e-2        int8w  cosine >= 0.999, top-1 >=
 * 0.99 fp32opt  atol 1e-4 rtol 1e-3        bf16   atol 1e-2 rtol 5e-2        int8   cosine >= 0.99,  top-1 >=
 * 0.97 `auto` is the golden manifest's own precision, else fp32. Outputs of whole numbers (labels, token ids)
 * are compared exactly under the fp rules, and as labels (share of equal elements >= top-1) under the int8
 * rules.
 *
 * What `expect` of the job changes: atol, rtol replace the defaults; max_abs_error or max_rel_error named
 * without atol/rtol switch the default elementwise rule off (the named limit is the rule then); cosine,
 * top1_agreement replace their defaults; mean_abs_error adds a limit; `dtype: compatible` lets float widths
 * (or integer widths) differ and says so. Under int8 a default top-1 that fails is still accepted when the
 * golden set has labels and the task accuracy kept 99 % of the original's. Every limit in force is in the
 * report with where it came from.
 *
 * Budgets: latency_p50, latency_p95, first_latency, load_time (duration text or milliseconds as a number,
 * also under the metric's own name latency_p95_ms …), peak_memory, artifact_size (size text or bytes), and
 * regression: {metric: factor} against the metrics of the last good report. When the runtime marks its
 * latency indicative (an emulator), latency_p50, latency_p95 and first_latency are told and do not gate,
 * unless `indicative: gate`; load, memory and size always gate. A budget that was asked for and not measured
 * is red.
 *
 * Reason codes: nan constant missing_output extra_output shape dtype layout tolerance cosine top1 budget
 * empty_golden console samples. Budget verdicts: green, red, told (over, but only indicative).
 * Blocking; any thread. */
#ifndef PTL_COMPARE_H
#define PTL_COMPARE_H
#include <portolan/base.h>
#include <portolan/json.h>

/* `job` may be NULL (defaults); used: precision, expect, baseline, model. 0 with *ret_report (caller's) whose
 * "verdict" is "green" or "red"; -EINVAL when the job's expect or precision is not understood; other
 * negative: I/O. */
PTL_NODISCARD int ptl_compare_run(const char *golden_dir, const char *got_dir, const json_t *job,
                                  json_t **ret_report, struct ptl_error *err);
/* The report for people: a verdict line, a table of outputs, worst elements, budgets, change against last
 * good. Caller frees; never NULL. Control bytes from outside are replaced. */
char *ptl_compare_text(const json_t *report);
#endif
