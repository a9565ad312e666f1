/* compare.c - the gate itself: reads both manifests, pairs the outputs, asks measure.c for numbers, rule.c
 * for limits, hint.c for a guess and budget.c for the rest, and writes the report. The files come from a
 * stage that ran other people's code: paths are walked without following links, sizes are bounded, a manifest
 * that lies about its arrays is a fault of the run and ends in a red report, not in an error. Blocking;
 * called in the attempt process. */
#include "compare-private.h"
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <portolan/buf.h>
#include <portolan/fs.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    MAX_MANIFEST = 1 << 20,
    MAX_OUTPUTS = 256,
    MAX_NAME = 200, /* bytes of an output's name kept in sentences */
    MIN_REAL_SAMPLES = 8,
    MAX_CONSOLE = 20, /* lines quoted in the report */
};

struct output {
    const char *name;
    const char *dtype; /* as the manifest says; may be NULL */
    const json_t *entry;
    bool taken;
};

struct side {
    int dir_fd;
    json_t *manifest;
    struct output list[MAX_OUTPUTS];
    size_t n;
};

static void side_done(struct side *s)
{
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    json_decref(s->manifest);
}

/* ---- reading what the run left ---- */

/* Opens dir/rel without following any link. A negative errno is returned as it is. */
static int open_below(int dir_fd, const char *rel)
{
    char part[1025];
    int at = dup(dir_fd);
    if (at < 0)
        return -errno;
    for (const char *p = rel;;) {
        size_t n = strcspn(p, "/");
        if (n >= sizeof(part)) {
            close(at);
            return -ENAMETOOLONG;
        }
        memcpy(part, p, n);
        part[n] = '\0';
        bool last = p[n] == '\0';
        int next =
            openat(at, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        int r = -errno;
        close(at);
        if (next < 0)
            return r;
        if (last)
            return next;
        at = next;
        p += n + 1;
    }
}

static bool is_fault_of_run(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG || r == -EBADMSG ||
           r == -EFBIG || r == -EINVAL || r == -ENXIO || r == -EISDIR;
}

/* What came back was written by the stage a moment ago: that we may not read it is its fault as well. */
static bool is_fault_of_stage(int r)
{
    return is_fault_of_run(r) || r == -EACCES || r == -EPERM;
}

static int read_small(int fd, char *buf, size_t size, size_t *ret_len)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADMSG;
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, buf + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    if (len == size)
        return -EFBIG;
    *ret_len = len;
    return 0;
}

static int load_manifest(int dir_fd, json_t **ret, struct ptl_error *err)
{
    PTL_CLOSE int fd = open_below(dir_fd, "manifest.json");
    if (fd < 0)
        return ptl_error_set(err, fd, "manifest.json: %s", strerror(-fd));
    PTL_FREE char *text = malloc(MAX_MANIFEST + 1);
    if (!text)
        return ptl_error_set(err, -ENOMEM, "compare: out of memory");
    size_t len = 0;
    int r = read_small(fd, text, MAX_MANIFEST + 1, &len);
    if (r < 0)
        return ptl_error_set(err, r, "manifest.json: %s", r == -EFBIG ? "larger than 1 MiB" : strerror(-r));
    r = ptl_json_parse(text, len, "manifest.json", ret, err);
    if (r < 0 && r != -ENOMEM)
        err->code = r = -EBADMSG; /* not JSON: the run's fault, whatever the parser calls it */
    return r;
}

/* Fills s from dir. 0, or negative with a sentence; is_fault_of_run() tells whose fault it is. */
static int side_load(struct side *s, const char *dir, struct ptl_error *err)
{
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0) {
        int r = -errno;
        return ptl_error_set(err, r, "the folder is missing (%s)", strerror(-r));
    }
    int r = load_manifest(s->dir_fd, &s->manifest, err);
    if (r < 0)
        return r;
    if (!json_is_object(s->manifest) || ptl_json_i64(s->manifest, "version", 0) != 1)
        return ptl_error_set(err, -EBADMSG, "manifest.json: expected an object with \"version\": 1");
    json_t *outputs = json_object_get(s->manifest, "outputs");
    if (!json_is_array(outputs))
        return ptl_error_set(err, -EBADMSG, "manifest.json: expected a list \"outputs\"");
    if (json_array_size(outputs) > MAX_OUTPUTS)
        return ptl_error_set(err, -EBADMSG, "manifest.json: more than %d outputs", MAX_OUTPUTS);
    size_t i;
    json_t *e;
    json_array_foreach(outputs, i, e)
    {
        const char *name = ptl_json_str(e, "name", NULL), *file = ptl_json_str(e, "file", NULL);
        if (!name || !*name || strlen(name) > MAX_NAME || !file || !ptl_fs_is_safe_relative(file))
            return ptl_error_set(
                err, -EBADMSG,
                "manifest.json: outputs[%zu]: expected a name of at most %d bytes and a relative file", i,
                MAX_NAME);
        for (size_t k = 0; k < s->n; k++)
            if (strcmp(s->list[k].name, name) == 0)
                return ptl_error_set(err, -EBADMSG, "manifest.json: output '%s' is listed twice", name);
        s->list[s->n++] = (struct output){name, ptl_json_str(e, "dtype", NULL), e, false};
    }
    return 0;
}

static int load_array(const struct side *s, const char *file, struct ptl_npy *ret, struct ptl_error *err)
{
    PTL_CLOSE int fd = open_below(s->dir_fd, file);
    if (fd < 0)
        return ptl_error_set(err, fd, "%s: %s", file, strerror(-fd));
    int r = ptl_npy_map(fd, ret, err);
    return r < 0 ? ptl_error_prefix(err, r, "%s", file) : 0;
}

/* ---- words of the report ---- */

json_t *cmp_number(double v)
{
    if (isnan(v))
        return json_string("NaN");
    if (isinf(v))
        return json_string(v > 0 ? "Infinity" : "-Infinity");
    return json_real(v);
}

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *text_of(const char *fmt, va_list ap) PTL_PRINTF(1, 0);
static json_t *text_of(const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, ap);
    PTL_FREE char *clean = ptl_json_text_utf8(text, strlen(text)); /* the cut may have split a character */
    return json_string(clean);
}

void cmp_reason(json_t *reasons, const char *output, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    json_t *r = json_pack("{s:s,s:o}", "code", code, "text", text_of(fmt, ap));
    va_end(ap);
    if (r && output)
        json_object_set_new(r, "output", json_string(output));
    json_array_append_new(reasons, r);
}

static void note(json_t *notes, const char *fmt, ...) PTL_PRINTF(2, 3);
static void note(json_t *notes, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    json_array_append_new(notes, text_of(fmt, ap));
    va_end(ap);
}

static json_t *shape_json(const struct ptl_npy *a)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < a->ndim; k++)
        json_array_append_new(list, json_integer((json_int_t)a->shape[k]));
    return list;
}

/* ---- one output ---- */

struct pair {
    struct cmp_values ref, got;
};

static void pair_done(struct pair *p)
{
    ptl_npy_done(&p->ref.array);
    ptl_npy_done(&p->got.array);
}

/* What the manifest says of an array must be what the file is. */
static void check_entry(const char *whose, const struct output *o, struct ptl_npy *a, json_t *reasons)
{
    if (o->dtype && strcmp(o->dtype, "bfloat16") == 0)
        (void)ptl_npy_as_bfloat16(a);
    if (o->dtype && strcmp(o->dtype, ptl_dtype_name(a->dtype)) != 0)
        cmp_reason(reasons, o->name, "dtype", "the %s manifest says dtype %s, its file holds %s", whose,
                   o->dtype, ptl_dtype_name(a->dtype));
    const json_t *shape = json_object_get(o->entry, "shape");
    bool same = !shape || json_array_size(shape) == a->ndim;
    for (unsigned k = 0; shape && same && k < a->ndim; k++)
        same = (uint64_t)json_integer_value(json_array_get(shape, k)) == a->shape[k];
    if (!same) {
        char text[256];
        ptl_npy_shape_text(a, text, sizeof(text));
        cmp_reason(reasons, o->name, "shape", "the %s manifest's shape is not that of its file, %s", whose,
                   text);
    }
}

static void check_dtype(struct pair *p, const struct output *g, const struct cmp_rule *rule, json_t *reasons,
                        json_t *notes)
{
    enum ptl_dtype want = p->ref.array.dtype, have = p->got.array.dtype;
    const json_t *q = json_object_get(g->entry, "quantization");
    double scale = ptl_json_num(q, "scale", 0), zero = ptl_json_num(q, "zero_point", 0);
    if (want == have)
        return;
    if (ptl_dtype_is_float(want) && !ptl_dtype_is_float(have) && scale > 0 && isfinite(scale) &&
        isfinite(zero)) {
        p->got.scale = scale;
        p->got.zero = zero;
        note(notes, "%s: %s values dequantised with scale %.6g, zero point %.6g", g->name,
             ptl_dtype_name(have), scale, zero);
    } else if (rule->dtype_compatible && ptl_dtype_is_float(want) == ptl_dtype_is_float(have)) {
        note(notes, "%s: dtype %s instead of %s, allowed by dtype: compatible", g->name, ptl_dtype_name(have),
             ptl_dtype_name(want));
    } else {
        cmp_reason(reasons, g->name, "dtype", "dtype is %s, expected %s", ptl_dtype_name(have),
                   ptl_dtype_name(want));
    }
}

/* true when elements can be compared one by one */
static bool check_shape(const struct pair *p, const char *name, const struct cmp_rule *rule, json_t *reasons)
{
    const struct ptl_npy *r = &p->ref.array, *g = &p->got.array;
    unsigned differ = 0, first = 0;
    for (unsigned k = 0; r->ndim == g->ndim && k < r->ndim; k++)
        if (r->shape[k] != g->shape[k] && !differ++)
            first = k;
    if (r->ndim == g->ndim && !differ)
        return true;
    char want[256], have[256], why[256];
    ptl_npy_shape_text(r, want, sizeof(want));
    ptl_npy_shape_text(g, have, sizeof(have));
    if (r->ndim == g->ndim && r->ndim > 0 && differ == 1 && first == 0)
        cmp_reason(reasons, name, "samples",
                   "%" PRIu64 " samples came back, expected %" PRIu64 " (shape %s, expected %s)", g->shape[0],
                   r->shape[0], have, want);
    else if (cmp_hint(&p->ref, &p->got, rule, NULL, why, sizeof(why)) == 1)
        cmp_reason(reasons, name, "layout", "shape is %s, expected %s; it %s", have, want,
                   strncmp(why, "the shape ", 10) == 0 ? why + 10 : why);
    else
        cmp_reason(reasons, name, "shape", "shape is %s, expected %s%s", have, want,
                   r->elements == g->elements ? " (the same number of elements, so a reshape is missing)"
                                              : "");
    return false;
}

static bool is_more(double v, double limit)
{
    return !isnan(limit) && !(v <= limit);
}

static double task_accuracy(const struct cmp_values *v, const struct ptl_npy *labels)
{
    uint64_t rows = labels->elements, length = v->array.elements / rows, right = 0;
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t best = 0;
        double max = -HUGE_VAL;
        for (uint64_t k = 0; k < length; k++) {
            double x = ptl_npy_at(&v->array, i * length + k);
            if (x > max) {
                max = x;
                best = k;
            }
        }
        right += (double)best == ptl_npy_at(labels, i);
    }
    return (double)right / (double)rows;
}

/* The numbers against the limits: what is wrong is a reason each. */
static void check_numbers(const struct pair *p, const char *name, const struct cmp_rule *rule,
                          const struct cmp_measure *m, const double accuracy[2], json_t *reasons,
                          json_t *notes)
{
    if (m->ref_nan)
        cmp_reason(reasons, name, "nan",
                   "the golden output itself holds %" PRIu64 " NaN of %" PRIu64
                   " elements: the original model's",
                   m->ref_nan, m->elements);
    if (m->got_nan || m->got_inf)
        cmp_reason(reasons, name, "nan", "%" PRIu64 " NaN and %" PRIu64 " infinite of %" PRIu64 " elements",
                   m->got_nan, m->got_inf, m->elements);
    bool still = m->got_constant && !m->ref_constant, deaf = m->got_same_samples && !m->ref_same_samples;
    if (still)
        cmp_reason(reasons, name, "constant", "every element is %.9g; the original's are not all the same",
                   m->worst_got);
    else if (deaf)
        cmp_reason(reasons, name, "constant",
                   "every sample gives the same values, whatever the input; the original's differ");
    size_t before = json_array_size(reasons);
    if (!isnan(rule->atol) && m->mismatched > m->broken)
        cmp_reason(reasons, name, "tolerance",
                   "%" PRIu64 " of %" PRIu64
                   " elements are outside atol %.3g + rtol %.3g * |expected|; largest absolute "
                   "error %.6g",
                   m->mismatched - m->broken, m->elements, rule->atol, rule->rtol, m->max_abs);
    if (m->finite && is_more(m->max_abs, rule->max_abs))
        cmp_reason(reasons, name, "tolerance", "largest absolute error %.6g is above max_abs_error %.3g",
                   m->max_abs, rule->max_abs);
    if (m->finite && is_more(m->max_rel, rule->max_rel))
        cmp_reason(reasons, name, "tolerance", "largest relative error %.6g is above max_rel_error %.3g",
                   m->max_rel, rule->max_rel);
    if (m->finite && is_more(m->mean_abs, rule->mean_abs))
        cmp_reason(reasons, name, "tolerance", "mean absolute error %.6g is above mean_abs_error %.3g",
                   m->mean_abs, rule->mean_abs);
    if (m->finite && !isnan(rule->cosine) && !(m->cosine >= rule->cosine - 1e-9))
        cmp_reason(reasons, name, "cosine", "cosine %.6f is below %.6g", m->cosine, rule->cosine);
    if (!isnan(rule->top1) && isnan(m->top1)) {
        if (rule->top1_asked)
            note(notes, "%s: top-1 does not apply (the last axis holds no classes)", name);
    } else if (!isnan(rule->top1) && !(m->top1 >= rule->top1)) {
        bool kept = !rule->top1_asked && accuracy[0] > 0 && accuracy[1] >= 0.99 * accuracy[0];
        if (kept)
            note(
                notes,
                "%s: top-1 agreement %.4f is below %.4g, accepted: accuracy %.4f of the original's %.4f is kept",
                name, m->top1, rule->top1, accuracy[1], accuracy[0]);
        else
            cmp_reason(reasons, name, "top1",
                       "top-1 agrees for %" PRIu64 " of %" PRIu64 " (%.2f %%), expected at least %.4g %%",
                       m->rows_agree, m->rows, 100 * m->top1, 100 * rule->top1);
    }
    char why[512];
    int hint = json_array_size(reasons) > before ? cmp_hint(&p->ref, &p->got, rule, m, why, sizeof(why)) : 0;
    if (hint == 1)
        cmp_reason(reasons, name, "layout", "%s", why);
    else if (hint == 2)
        note(notes, "%s: %s", name, why);
}

static json_t *index_json(const struct ptl_npy *a, uint64_t pos)
{
    uint64_t index[PTL_NPY_MAX_DIMS] = {0};
    for (unsigned k = a->ndim; k-- > 0;) {
        index[k] = pos % a->shape[k];
        pos /= a->shape[k];
    }
    json_t *list = json_array();
    for (unsigned k = 0; k < a->ndim; k++)
        json_array_append_new(list, json_integer((json_int_t)index[k]));
    return list;
}

static void add_measure(json_t *out, const struct pair *p, const struct cmp_measure *m,
                        const double accuracy[2])
{
    json_object_set_new(out, "max_abs_error", number_or_null(m->max_abs));
    json_object_set_new(out, "max_rel_error", number_or_null(m->max_rel));
    json_object_set_new(out, "rel_floor", number_or_null(m->rel_floor));
    json_object_set_new(out, "mean_abs_error", number_or_null(m->mean_abs));
    json_object_set_new(out, "rmse", number_or_null(m->rmse));
    json_object_set_new(out, "cosine", number_or_null(m->cosine));
    json_object_set_new(out, "top1_agreement", number_or_null(m->top1));
    json_object_set_new(out, "mismatched", json_integer((json_int_t)m->mismatched));
    json_object_set_new(out, "elements", json_integer((json_int_t)m->elements));
    json_object_set_new(out, "nan", json_integer((json_int_t)m->got_nan));
    json_object_set_new(out, "inf", json_integer((json_int_t)m->got_inf));
    if (!isnan(accuracy[0]))
        json_object_set_new(out, "accuracy",
                            json_pack("{s:f,s:f}", "expected", accuracy[0], "got", accuracy[1]));
    if (!m->have_worst)
        return;
    json_t *w = json_pack("{s:o,s:o,s:o}", "index", index_json(&p->ref.array, m->worst_pos), "expected",
                          cmp_number(m->worst_ref), "got", cmp_number(m->worst_got));
    if (w && isfinite(m->worst_limit))
        json_object_set_new(w, "limit", json_real(m->worst_limit));
    json_object_set_new(out, "worst", w);
}

struct run {
    struct side *golden, *got;
    struct cmp_rule rule;
    json_t *outputs, *reasons, *notes;
    struct ptl_npy labels; /* elements 0: none */
    uint64_t samples, elements;
    size_t compared, deaf_golden;
};

static void measure_pair(struct run *run, struct pair *p, const char *name, json_t *out, json_t *reasons)
{
    struct cmp_rule rule = cmp_rule_for(&run->rule, &p->ref.array);
    struct cmp_measure m;
    double accuracy[2] = {NAN, NAN};
    const struct ptl_npy *r = &p->ref.array;
    cmp_measure(&p->ref, &p->got, &rule, &m);
    if (run->labels.elements && r->ndim == 2 && r->shape[1] > 1 && r->shape[0] == run->labels.elements &&
        ptl_dtype_is_float(r->dtype)) {
        accuracy[0] = task_accuracy(&p->ref, &run->labels);
        accuracy[1] = task_accuracy(&p->got, &run->labels);
    }
    check_numbers(p, name, &rule, &m, accuracy, reasons, run->notes);
    add_measure(out, p, &m, accuracy);
    run->compared++;
    run->elements += m.elements;
    run->deaf_golden += m.ref_constant || m.ref_same_samples;
    if (m.ref_constant || m.ref_same_samples)
        note(run->notes,
             "%s: the golden output is the same for every sample, so agreeing with it proves little", name);
}

/* Judges golden output `o` against `g` (NULL: missing). 0, or negative for I/O. */
static int compare_output(struct run *run, const struct output *o, const struct output *g,
                          struct ptl_error *err)
{
    PTL_CLEANUP(pair_done) struct pair p = {.ref = {.scale = 1}, .got = {.scale = 1}};
    json_t *reasons = json_array(), *out = json_pack("{s:s}", "name", o->name);
    bool comparable = false;
    int r = load_array(run->golden, ptl_json_str(o->entry, "file", ""), &p.ref.array, err);
    if (r < 0 && is_fault_of_run(r)) {
        cmp_reason(reasons, o->name, "empty_golden", "the golden output cannot be read: %s", err->text);
        r = 0;
    } else if (r == 0) {
        check_entry("golden", o, &p.ref.array, reasons);
        json_object_set_new(out, "dtype", json_string(ptl_dtype_name(p.ref.array.dtype)));
        json_object_set_new(out, "shape", shape_json(&p.ref.array));
        if (!g) {
            cmp_reason(reasons, o->name, "missing_output", "output '%s' did not come back", o->name);
        } else {
            r = load_array(run->got, ptl_json_str(g->entry, "file", ""), &p.got.array, err);
            comparable = r == 0;
            if (r < 0 && is_fault_of_stage(r)) {
                cmp_reason(reasons, o->name, "missing_output", "output '%s' cannot be read: %s", o->name,
                           err->text);
                r = 0;
            }
        }
    }
    if (r < 0) {
        json_decref(reasons);
        json_decref(out);
        return r;
    }
    if (comparable) {
        check_entry("outputs'", g, &p.got.array, reasons);
        json_object_set_new(out, "got_dtype", json_string(ptl_dtype_name(p.got.array.dtype)));
        json_object_set_new(out, "got_shape", shape_json(&p.got.array));
        check_dtype(&p, g, &run->rule, reasons, run->notes);
        if (p.ref.array.elements == 0)
            cmp_reason(reasons, o->name, "empty_golden", "the golden output holds no elements");
        else if (p.ref.array.ndim == 0 || p.ref.array.shape[0] != run->samples)
            cmp_reason(reasons, o->name, "samples",
                       "the golden output does not hold the manifest's %" PRIu64 " samples", run->samples);
        else if (check_shape(&p, o->name, &run->rule, reasons))
            measure_pair(run, &p, o->name, out, reasons);
    }
    json_object_set_new(out, "verdict", json_string(json_array_size(reasons) ? "red" : "green"));
    json_array_extend(run->reasons, reasons);
    json_object_set_new(out, "reasons", reasons);
    json_array_append_new(run->outputs, out);
    return 0;
}

/* ---- pairing ---- */

/* "probabilities:0" is the name some runtimes give "probabilities". */
static bool same_name(const char *want, const char *have)
{
    size_t n = strlen(want);
    if (strncmp(want, have, n) != 0)
        return false;
    if (have[n] == '\0')
        return true;
    return have[n] == ':' && have[n + 1] && have[n + 1 + strspn(have + n + 1, "0123456789")] == '\0';
}

static int compare_outputs(struct run *run, const char **ret_by, struct ptl_error *err)
{
    struct side *want = run->golden, *have = run->got;
    struct output *with[MAX_OUTPUTS] = {NULL};
    size_t named = 0;
    for (int loose = 0; loose < 2; loose++)
        for (size_t i = 0; i < want->n; i++)
            for (size_t k = 0; k < have->n && !with[i]; k++)
                if (!have->list[k].taken && (loose ? same_name(want->list[i].name, have->list[k].name)
                                                   : strcmp(want->list[i].name, have->list[k].name) == 0)) {
                    with[i] = &have->list[k];
                    have->list[k].taken = true;
                    named++;
                }
    bool by_position = named == 0 && want->n == have->n;
    for (size_t i = 0; by_position && i < want->n; i++) {
        with[i] = &have->list[i];
        have->list[i].taken = true;
        note(run->notes, "output '%s' was compared with '%s' by position, no name matches",
             want->list[i].name, have->list[i].name);
    }
    for (size_t i = 0; i < want->n; i++) {
        int r = compare_output(run, &want->list[i], with[i], err);
        if (r < 0)
            return r;
    }
    for (size_t k = 0; k < have->n; k++)
        if (!have->list[k].taken)
            cmp_reason(run->reasons, have->list[k].name, "extra_output",
                       "output '%s' came back, the golden set has no such output", have->list[k].name);
    *ret_by = by_position ? "position" : "name";
    return 0;
}

/* ---- the console ---- */

static bool is_error_line(const char *line)
{
    static const char *const starts[] = {"error:", "Error:", "E/", "[error]", "Uncaught ", "SEVERE"};
    line += strspn(line, " \t");
    for (size_t i = 0; i < PTL_ARRAY_LEN(starts); i++)
        if (ptl_str_starts(line, starts[i]))
            return true;
    return strstr(line, "ERROR") != NULL || strstr(line, "FATAL") != NULL;
}

static void check_console(const json_t *got, json_t *reasons, json_t *notes)
{
    size_t i, errors = 0, others = 0;
    json_t *v;
    json_array_foreach(json_object_get(got, "console"), i, v)
    {
        const char *line = json_string_value(v);
        if (line && !is_error_line(line))
            others++;
        else if (errors++ < MAX_CONSOLE)
            cmp_reason(reasons, NULL, "console", "the runtime's console says: %.300s",
                       line ? line : "(not text)");
    }
    if (errors > MAX_CONSOLE)
        note(notes, "%zu more error lines of the console are left out", errors - MAX_CONSOLE);
    if (others)
        note(notes, "%zu console lines without an error", others);
}

/* ---- all of it ---- */

static void load_labels(struct run *run)
{
    const char *file = ptl_json_str(run->golden->manifest, "labels", NULL);
    struct ptl_error err = PTL_ERROR_INIT;
    if (!file)
        return;
    int r = ptl_fs_is_safe_relative(file) ? load_array(run->golden, file, &run->labels, &err)
                                          : ptl_error_set(&err, -EINVAL, "labels: not a relative file");
    if (r < 0)
        note(run->notes, "the golden set's labels cannot be read and were not used: %s", err.text);
    else if (run->labels.ndim != 1 || ptl_dtype_is_float(run->labels.dtype)) {
        note(run->notes, "the golden set's labels are not one list of whole numbers and were not used");
        ptl_npy_done(&run->labels);
    }
}

static void red_everywhere(const struct side *golden, json_t *outputs, const char *code)
{
    for (size_t i = 0; i < golden->n; i++)
        json_array_append_new(outputs,
                              json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "name", golden->list[i].name, "verdict",
                                        "red", "reasons", "code", code, "text", "nothing to compare with"));
}

static int judge_outputs(struct run *run, json_t *report, const char *got_dir, struct ptl_error *err)
{
    struct side *golden = run->golden;
    int64_t samples = ptl_json_i64(golden->manifest, "samples", 0);
    if (golden->n == 0 || samples < 1) {
        cmp_reason(run->reasons, NULL, "empty_golden",
                   "the golden set holds %zu outputs of %" PRId64 " samples: nothing to compare with",
                   golden->n, samples);
        return 0;
    }
    run->samples = (uint64_t)samples;
    json_object_set_new(report, "samples", json_integer(samples));
    if (samples < MIN_REAL_SAMPLES)
        note(run->notes, "only %" PRId64 " samples in the golden set; at least %d real ones say something",
             samples, MIN_REAL_SAMPLES);

    int r = side_load(run->got, got_dir, err);
    if (r < 0 && is_fault_of_stage(r)) {
        cmp_reason(run->reasons, NULL, "missing_output", "the verify left no usable outputs: %s", err->text);
        red_everywhere(golden, run->outputs, "missing_output");
        return 0;
    }
    if (r < 0)
        return r;
    load_labels(run);
    const char *by = "name";
    r = compare_outputs(run, &by, err);
    if (r < 0)
        return r;
    json_object_set_new(report, "matched_by", json_string(by));
    check_console(run->got->manifest, run->reasons, run->notes);
    if (run->compared && run->deaf_golden == run->compared)
        cmp_reason(run->reasons, NULL, "constant",
                   "every golden output is the same for all samples: agreeing with it proves nothing");
    if (run->elements == 0 && json_array_size(run->reasons) == 0)
        cmp_reason(run->reasons, NULL, "empty_golden", "no element was compared");
    return 0;
}

static json_t *report_new(struct run *run)
{
    json_t *report = json_object();
    run->outputs = json_array();
    run->reasons = json_array();
    run->notes = json_array();
    json_object_set_new(report, "version", json_integer(1));
    json_object_set_new(report, "rule", json_string("|got-ref| <= atol + rtol*|ref|"));
    json_object_set_new(report, "samples", json_integer(0));
    json_object_set_new(report, "matched_by", json_string("name"));
    json_object_set_new(report, "outputs", run->outputs);
    json_object_set_new(report, "reasons", run->reasons);
    json_object_set_new(report, "notes", run->notes);
    return report;
}

static void run_free(struct run *run)
{
    if (run->golden)
        side_done(run->golden);
    if (run->got)
        side_done(run->got);
    free(run->golden);
    free(run->got);
    ptl_npy_done(&run->labels);
}

int ptl_compare_run(const char *golden_dir, const char *got_dir, const json_t *job, json_t **ret_report,
                    struct ptl_error *err)
{
    struct ptl_error local = PTL_ERROR_INIT;
    err = err ? err : &local;
    PTL_CLEANUP(run_free)
    struct run run = {.golden = calloc(1, sizeof(*run.golden)), .got = calloc(1, sizeof(*run.got))};
    if (!run.golden || !run.got)
        return ptl_error_set(err, -ENOMEM, "compare: out of memory");
    run.golden->dir_fd = run.got->dir_fd = -1;
    PTL_JSON *report = report_new(&run);

    int loaded = side_load(run.golden, golden_dir, err);
    if (loaded < 0 && !is_fault_of_run(loaded))
        return ptl_error_prefix(err, loaded, "golden set %s", golden_dir);
    if (loaded < 0)
        cmp_reason(run.reasons, NULL, "empty_golden", "the golden set is not usable: %s", err->text);
    int r = cmp_rule_init(&run.rule, job, ptl_json_str(run.golden->manifest, "precision", NULL), err);
    if (r < 0)
        return r;
    json_object_set_new(report, "precision", json_string(run.rule.precision));
    json_object_set_new(report, "atol", number_or_null(run.rule.atol));
    json_object_set_new(report, "rtol", number_or_null(run.rule.rtol));
    json_object_set_new(report, "limits", cmp_rule_limits(&run.rule));

    if (loaded == 0 && (r = judge_outputs(&run, report, got_dir, err)) < 0)
        return ptl_error_prefix(err, r, "compare");
    r = cmp_budgets(report, run.got->manifest, job, run.rule.gate_indicative, run.reasons, run.notes, err);
    if (r < 0)
        return r;
    const json_t *runtime = json_object_get(run.got->manifest, "runtime");
    json_object_set_new(report, "runtime", json_is_object(runtime) ? json_deep_copy(runtime) : json_object());
    json_object_set_new(report, "verdict", json_string(json_array_size(run.reasons) ? "red" : "green"));
    *err = (struct ptl_error)PTL_ERROR_INIT;
    *ret_report = PTL_TAKE(report);
    return 0;
}
