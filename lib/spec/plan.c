/* plan.c - from the checked document to the plan: defaults filled in, targets multiplied by their matrix,
 * stages chained export → convert → verify, explicit needs resolved, everything in topological order. The
 * plan is what a daemon stores and what it works from; nothing of it refers back to the file. Pure. */
#include "check-private.h"
#include <ctype.h>
#include <inttypes.h>
#include <portolan/fs.h>
#include <stdio.h>

enum {
    MAX_NAME = 200,         /* bytes of a stage's name */
    MAX_COMBINATIONS = 256, /* of one target */
    TIMEOUT_MS = 60 * 60 * 1000,
    VERIFY_TIMEOUT_MS = 30 * 60 * 1000,
    QUEUE_TIMEOUT_MS = 24 * 60 * 60 * 1000,
    GRACE_MS = 10 * 1000,
    RETRY_MAX = 2,
    MAX_NEEDS = 100,
};
#define PLAN_BUDGET  ((size_t)6 << 20) /* bytes of filled-in values; the daemon takes JSON bodies of 8 MiB */
#define TOTAL_MAX_MS ((int64_t)30 * 24 * 60 * 60 * 1000)

struct stage {
    json_t *j; /* owned by plan.stages once ordered */
    const char *name;
    char base[80];         /* "verify/web": the name without the matrix */
    char target[64];       /* "" for export */
    char place[160];       /* of the stage in the document */
    bool is_last;          /* of its target: what "needs: web" means */
    const json_t *need[2]; /* explicit needs: the stage's, the target's when this is its first stage */
    char need_place[2][176];
};

struct plan {
    const json_t *doc, *places;
    struct ptl_spec_diags *diags;
    struct stage *stages; /* PTL_SPEC_MAX_STAGES of them */
    size_t n;
    bool full;
    const char *model;
    size_t budget;
};

static void fault(struct plan *p, const char *place, const char *expected, const char *fmt, ...)
    PTL_PRINTF(4, 5);
static void fault(struct plan *p, const char *place, const char *expected, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    diag_at(p->diags, p->places, false, place, expected, NULL, "%s", text);
}

/* ---- what a stage inherits ---- */

struct where { /* one stage of one combination, while it is made */
    const char *kind;
    const json_t *stage, *target, *combination;
    const char *target_name;
    char place[160], target_place[96];
    struct spec_values values;
};

static void fill_env(struct plan *p, const struct where *w, json_t *ret, const json_t *level,
                     const char *place)
{
    char at[200];
    const json_t *env = json_object_get(level, "env");
    if (!env)
        return;
    snprintf(at, sizeof(at), "%s%senv", place, *place ? "." : "");
    PTL_JSON *filled = spec_fill(env, &w->values, false, p->diags, p->places, at);
    if (filled)
        json_object_update(ret, filled);
}

static void unite(struct plan *p, const struct where *w, json_t *ret, const json_t *level, const char *key,
                  const char *place)
{
    char at[200];
    size_t i, k;
    json_t *v, *have;
    const json_t *list = json_object_get(level, key);
    if (!list)
        return;
    snprintf(at, sizeof(at), "%s%s%s", place, *place ? "." : "", key);
    PTL_JSON *filled = spec_fill(list, &w->values, false, p->diags, p->places, at);
    json_array_foreach(filled, i, v)
    {
        json_array_foreach(ret, k, have) if (json_equal(have, v)) break;
        if (k == json_array_size(ret))
            json_array_append(ret, v);
    }
}

static void inherit(struct plan *p, const struct where *w, json_t *j)
{
    json_t *env = json_object(), *secrets = json_array(), *labels = json_array();
    fill_env(p, w, env, p->doc, "");
    fill_env(p, w, env, w->target, w->target_place);
    fill_env(p, w, env, w->stage, w->place);
    unite(p, w, secrets, p->doc, "secrets", "");
    unite(p, w, secrets, w->target, "secrets", w->target_place);
    unite(p, w, secrets, w->stage, "secrets", w->place);
    unite(p, w, labels, p->doc, "labels", "");
    unite(p, w, labels, w->target, "labels", w->target_place);
    unite(p, w, labels, w->stage, "labels", w->place);
    json_object_set_new(j, "env", env);
    json_object_set_new(j, "secrets", secrets);
    json_object_set_new(j, "labels", labels);
}

/* ---- what a stage does ---- */

static json_t *filled(struct plan *p, const struct where *w, const char *key, bool typed)
{
    char at[200];
    const json_t *v = json_object_get(w->stage, key);
    if (!v)
        return NULL;
    snprintf(at, sizeof(at), "%s.%s", w->place, key);
    return spec_fill(v, &w->values, typed, p->diags, p->places, at);
}

static void fault_at_key(struct plan *p, const struct where *w, const char *key, const char *text)
{
    char at[200];
    snprintf(at, sizeof(at), "%s.%s", w->place, key);
    fault(p, at, NULL, "%s", text);
}

/* Stands in the file, perhaps with a value that was refused already. */
static bool is_given(const struct plan *p, const char *place, const char *key)
{
    char at[200];
    snprintf(at, sizeof(at), "%s.%s", place, key);
    return json_object_get(p->places, at) != NULL;
}

static void set_work(struct plan *p, const struct where *w, json_t *j)
{
    const json_t *uses = json_object_get(w->stage, "uses"), *run = json_object_get(w->stage, "run");
    if (uses && run)
        fault_at_key(p, w, "run", "a stage has a recipe (uses) or commands (run), not both");
    else if (!uses && !run && !is_given(p, w->place, "uses") && !is_given(p, w->place, "run"))
        fault(p, w->place, "uses: FAMILY/RECIPE or run: [COMMANDS]", "nothing to do");
    if (run && json_object_get(w->stage, "with"))
        fault_at_key(p, w, "with", "parameters are for recipes (uses); give commands what they need in env");
    if (uses && json_object_get(w->stage, "toolchain"))
        fault_at_key(p, w, "toolchain", "a recipe brings its own toolchain");
    if (uses && json_object_get(w->stage, "host"))
        fault_at_key(p, w, "host", "a recipe knows its host; only bare commands (run) may name one");

    json_t *v = filled(p, w, "uses", false);
    if (v && !spec_is_uses(json_string_value(v)))
        fault_at_key(p, w, "uses", "filled in, it is no recipe such as keras/saved-model");
    if (v)
        json_object_set_new(j, "uses", v);
    if ((v = filled(p, w, "run", false)))
        json_object_set_new(j, "run", v);
    v = filled(p, w, "toolchain", false);
    if (v && !spec_is_name(json_string_value(v), 64))
        fault_at_key(p, w, "toolchain", "filled in, it is no name of a toolchain");
    json_object_set_new(j, "toolchain", v ? v : json_null());
    v = filled(p, w, "with", true);
    json_object_set_new(j, "with", v ? v : json_object());

    v = filled(p, w, "outputs", false);
    size_t i;
    json_t *path;
    json_array_foreach(v, i, path) if (!ptl_fs_is_safe_relative(json_string_value(path)))
        fault_at_key(p, w, "outputs", "filled in, it is no path below the outputs folder");
    json_object_set_new(j, "outputs", v ? v : json_array());
}

static void set_clocks(struct plan *p, const struct where *w, json_t *j, bool verify)
{
    const json_t *s = w->stage, *retry = json_object_get(s, "retry"), *when = json_object_get(retry, "when");
    int64_t max = ptl_json_i64(retry, "max", RETRY_MAX);
    int64_t timeout = ptl_json_i64(s, "timeout_ms", verify ? VERIFY_TIMEOUT_MS : TIMEOUT_MS);
    int64_t queue = ptl_json_i64(s, "queue_timeout_ms", QUEUE_TIMEOUT_MS);
    int64_t total = ptl_json_i64(s, "total_timeout_ms", 0), all = (max + 1) * (timeout + queue);
    if (total && total < timeout)
        fault_at_key(p, w, "total_timeout_ms", "the total is shorter than the timeout of one attempt");
    if (!total)
        total = all < TOTAL_MAX_MS ? all : TOTAL_MAX_MS;
    json_object_set_new(j, "timeout_ms", json_integer(timeout));
    json_object_set_new(j, "queue_timeout_ms", json_integer(queue));
    json_object_set_new(j, "total_timeout_ms", json_integer(total));
    json_object_set_new(j, "grace_ms", json_integer(ptl_json_i64(s, "grace_ms", GRACE_MS)));
    json_t *reasons = json_array(), *v, *have;
    size_t i, k;
    json_array_foreach(when, i, v)
    {
        json_array_foreach(reasons, k, have) if (json_equal(have, v)) break;
        if (k == json_array_size(reasons))
            json_array_append(reasons, v);
    }
    if (!when) {
        json_decref(reasons);
        reasons = json_pack("[s,s,s]", "agent_lost", "setup", "transient");
        if (retry) /* who asks for retries wants one where nobody can tell */
            json_array_append_new(reasons, json_string("unclear"));
    }
    json_object_set_new(j, "retry", json_pack("{s:I,s:o}", "max", (json_int_t)max, "when", reasons));
}

/* ---- stages ---- */

static void stage_name(const char *base, const json_t *combination, struct ptl_buf *ret)
{
    const char *axis, *open = "[";
    json_t *v;
    ptl_buf_puts(ret, base);
    json_object_foreach((json_t *)combination, axis, v)
    {
        PTL_FREE char *text = spec_value_text(v);
        ptl_buf_printf(ret, "%s%s=%s", open, axis, text);
        open = ",";
    }
    if (*open == ',')
        ptl_buf_putc(ret, ']');
}

static const char *word_or(const json_t *a, const json_t *b, const char *key, const char *dflt)
{
    return ptl_json_str(a, key, ptl_json_str(b, key, dflt));
}

/* A gate of the stage's own, or the target's: one that stands on risk stands before each of the target's
 * stages, a manual one before the first (add_target_stage). */
static void set_gate(const struct where *w, json_t *j)
{
    const json_t *when = json_object_get(w->stage, "when"), *of_target = json_object_get(w->target, "when"),
                 *people = json_object_get(w->stage, "approvers");
    const json_t *above = json_object_get(when ? when : of_target, "risk_above");
    json_object_set_new(j, "manual",
                        json_boolean(json_is_string(when) && strcmp(json_string_value(when), "manual") == 0));
    if (above)
        json_object_set(j, "gate_risk", (json_t *)above);
    if (!people)
        people = json_object_get(w->target, "approvers");
    if (people)
        json_object_set(j, "approvers", (json_t *)people);
}

/* Approvers of nothing are a mistake that would be found out too late. */
static void check_approvers(struct plan *p, const json_t *level, const char *place, bool gated)
{
    char at[200];
    if (!json_object_get(level, "approvers") || gated)
        return;
    snprintf(at, sizeof(at), "%s.approvers", place);
    fault(p, at, "when: manual, or when: risk > 0.4, beside it",
          "approvers of a stage that waits for nobody");
}

static bool is_gated(const json_t *j)
{
    return ptl_json_flag(j, "manual", false) || json_object_get(j, "gate_risk");
}

/* Adds one stage behind `upstream` (NULL: none). Returns it, or NULL when it could not be made. */
static struct stage *add_stage(struct plan *p, struct where *w, const struct stage *upstream)
{
    bool verify = strcmp(w->kind, "verify") == 0;
    PTL_BUF name = PTL_BUF_INIT;
    struct stage *s = &p->stages[p->n];
    if (p->n == PTL_SPEC_MAX_STAGES) {
        if (!p->full)
            fault(p, w->place, NULL, "more than %d stages", PTL_SPEC_MAX_STAGES);
        p->full = true;
        return NULL;
    }
    *s = (struct stage){0};
    snprintf(s->base, sizeof(s->base), "%s%s%s", w->kind, w->target_name ? "/" : "",
             w->target_name ? w->target_name : "");
    snprintf(s->target, sizeof(s->target), "%s", w->target_name ? w->target_name : "");
    snprintf(s->place, sizeof(s->place), "%s", w->place);
    stage_name(s->base, w->combination, &name);
    if (name.len > MAX_NAME) {
        fault(p, w->place, NULL, "the stage's name with its matrix is longer than %d bytes", MAX_NAME);
        return NULL;
    }
    json_t *j = json_pack("{s:s,s:s}", "name", ptl_buf_str(&name), "kind", w->kind);
    s->j = j;
    s->name = ptl_json_str(j, "name", "");
    json_object_set_new(j, "target", w->target_name ? json_string(w->target_name) : json_null());
    json_object_set_new(j, "host",
                        json_string(word_or(w->stage, verify ? w->target : NULL, "host", "server")));
    set_work(p, w, j);
    inherit(p, w, j);
    json_object_set_new(j, "needs", upstream ? json_pack("[s]", upstream->name) : json_array());
    set_clocks(p, w, j, verify);
    json_object_set_new(j, "network", json_boolean(ptl_json_flag(w->stage, "network", false)));
    const json_t *expect = json_object_get(w->stage, "expect");
    json_object_set_new(j, "expect", expect ? json_deep_copy(expect) : json_object());
    json_object_set_new(j, "precision",
                        json_string(verify ? word_or(w->stage, w->target, "precision", "auto") : "auto"));
    set_gate(w, j);
    json_object_set_new(j, "allow_failure",
                        json_boolean(ptl_json_flag(w->stage, "allow_failure", false) ||
                                     ptl_json_flag(w->target, "allow_failure", false)));
    json_object_set_new(j, "matrix", w->combination ? json_deep_copy(w->combination) : json_object());
    json_object_set_new(j, "model_from", upstream ? json_string(upstream->name) : json_null());
    const char *recipe = upstream ? ptl_json_str(upstream->j, "uses", NULL) : NULL;
    json_object_set_new(j, "model_uses",
                        verify && recipe ? json_pack("{s:s,s:O}", "uses", recipe, "with",
                                                     json_object_get(upstream->j, "with"))
                                         : json_null());
    s->need[0] = json_object_get(w->stage, "needs");
    snprintf(s->need_place[0], sizeof(s->need_place[0]), "%s.needs", w->place);
    p->n++;
    return s;
}

static struct stage *add_target_stage(struct plan *p, struct where *w, const char *kind,
                                      const struct stage *upstream, bool *first)
{
    const json_t *stage = json_object_get(w->target, kind);
    w->kind = kind;
    w->stage = stage;
    snprintf(w->place, sizeof(w->place), "%s.%s", w->target_place, kind);
    struct stage *s = add_stage(p, w, upstream);
    if (s && *first) {
        s->need[1] = json_object_get(w->target, "needs");
        snprintf(s->need_place[1], sizeof(s->need_place[1]), "%s.needs", w->target_place);
        if (strcmp(ptl_json_str(w->target, "when", ""), "manual") == 0)
            json_object_set_new(s->j, "manual", json_true());
        *first = false;
    }
    if (s) {
        check_approvers(p, stage, w->place, is_gated(s->j));
        if (!is_gated(s->j))
            json_object_del(s->j, "approvers");
    }
    return s;
}

static void add_combination(struct plan *p, struct where *w, const struct stage *export)
{
    bool convert = json_object_get(w->target, "convert") != NULL,
         verify = json_object_get(w->target, "verify") != NULL;
    bool first = true;
    const struct stage *upstream = export;
    struct stage *s = NULL;
    w->values = (struct spec_values){w->combination, w->target_name, p->model, &p->budget};
    if (convert) {
        upstream = s = add_target_stage(p, w, "convert", export, &first);
        if (!s)
            return;
    }
    if (verify)
        s = add_target_stage(p, w, "verify", upstream, &first);
    if (s)
        s->is_last = true;
    if (s && json_object_get(w->target, "approvers")) {
        bool gated = false;
        for (size_t i = 0; i < p->n; i++)
            gated |= strcmp(p->stages[i].target, w->target_name) == 0 && is_gated(p->stages[i].j);
        check_approvers(p, w->target, w->target_place, gated);
    }
}

static void add_target(struct plan *p, const char *name, const json_t *target, const struct stage *export)
{
    struct where w = {.target = target, .target_name = name};
    const json_t *matrix = json_object_get(target, "matrix");
    size_t i;
    json_t *combination;
    snprintf(w.target_place, sizeof(w.target_place), "targets.%s", name);
    if (!is_given(p, w.target_place, "verify")) {
        bool nothing = !is_given(p, w.target_place, "convert");
        diag_at(p->diags, p->places, !nothing, w.target_place, nothing ? "convert, verify or both" : NULL,
                NULL, nothing ? "a target without stages" : "nothing verifies this target");
        if (nothing)
            return;
    }
    if (!matrix) {
        add_combination(p, &w, export);
        return;
    }
    char at[112];
    snprintf(at, sizeof(at), "%s.matrix", w.target_place);
    PTL_JSON *list = spec_combinations(matrix, MAX_COMBINATIONS, p->diags, p->places, at);
    json_array_foreach(list, i, combination)
    {
        w.combination = combination;
        add_combination(p, &w, export);
        if (p->full)
            return;
    }
}

/* ---- needs and order ---- */

/* Marks in row[] every stage that `word` means; false when it means none. */
static bool resolve(const struct plan *p, const char *word, bool *row)
{
    bool found = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct stage *s = &p->stages[i];
        if (strcmp(s->name, word) == 0 || strcmp(s->base, word) == 0 ||
            (s->is_last && strcmp(s->target, word) == 0)) {
            row[i] = true;
            found = true;
        }
    }
    return found;
}

static void resolve_list(struct plan *p, const json_t *list, const char *place, bool *row)
{
    const char *names[2 * PTL_SPEC_MAX_STAGES + 1];
    size_t i, n = 0;
    json_t *v;
    for (i = 0; i < p->n; i++) {
        names[n++] = p->stages[i].base;
        if (p->stages[i].target[0])
            names[n++] = p->stages[i].target;
    }
    names[n] = NULL;
    json_array_foreach(list, i, v)
    {
        char at[200];
        if (i == MAX_NEEDS)
            fault(p, place, NULL, "more than %d needs", MAX_NEEDS);
        if (i >= MAX_NEEDS || resolve(p, json_string_value(v), row) || p->diags->n == PTL_SPEC_MAX_DIAGS)
            continue;
        snprintf(at, sizeof(at), "%s[%zu]", place, i);
        diag_at(p->diags, p->places, false, at, "export, convert/TARGET, verify/TARGET or TARGET",
                ptl_str_nearest(json_string_value(v), names), "there is no stage or target '%.80s'",
                json_string_value(v));
    }
}

/* needs[i*n + k]: stage i waits for stage k. */
static void resolve_needs(struct plan *p, bool *needs)
{
    for (size_t i = 0; i < p->n; i++) {
        struct stage *s = &p->stages[i];
        bool *row = needs + i * p->n;
        const char *upstream = json_string_value(json_array_get(json_object_get(s->j, "needs"), 0));
        for (size_t k = 0; upstream && k < p->n; k++)
            row[k] = strcmp(p->stages[k].name, upstream) == 0;
        for (int k = 0; k < 2; k++)
            resolve_list(p, s->need[k], s->need_place[k], row);
        json_t *list = json_array();
        for (size_t k = 0; k < p->n; k++)
            if (row[k])
                json_array_append_new(list, json_string(p->stages[k].name));
        json_object_set_new(s->j, "needs", list);
    }
}

/* Every stage that is left waits for another one that is left: following them must come round. */
static void tell_cycle(struct plan *p, const bool *needs, const bool *done)
{
    size_t at = 0, order[PTL_SPEC_MAX_STAGES] = {0}, n = 0, start;
    bool seen[PTL_SPEC_MAX_STAGES] = {false};
    while (done[at])
        at++;
    while (!seen[at]) {
        seen[at] = true;
        order[n++] = at;
        size_t k = 0;
        while (done[k] || !needs[at * p->n + k])
            k++;
        at = k;
    }
    for (start = 0; order[start] != at; start++)
        continue;
    PTL_BUF text = PTL_BUF_INIT;
    const char *place = "";
    for (size_t i = start; i < n; i++) {
        struct stage *s = &p->stages[order[i]];
        ptl_buf_printf(&text, "%s needs ", s->name);
        for (int k = 0; k < 2 && !*place; k++)
            if (json_array_size(s->need[k]))
                place = s->need_place[k];
    }
    ptl_buf_puts(&text, p->stages[at].name);
    fault(p, place, NULL, "stages wait for each other: %.400s", ptl_buf_str(&text));
}

static json_t *in_order(struct plan *p, const bool *needs)
{
    json_t *list = json_array();
    bool done[PTL_SPEC_MAX_STAGES] = {false};
    for (size_t left = p->n; left > 0; left--) {
        size_t i = 0;
        for (; i < p->n; i++) { /* the first in the file's order that waits for nothing */
            size_t k = 0;
            while (k < p->n && !(needs[i * p->n + k] && !done[k]))
                k++;
            if (!done[i] && k == p->n)
                break;
        }
        if (i == p->n) {
            tell_cycle(p, needs, done);
            json_decref(list);
            return NULL;
        }
        done[i] = true;
        json_array_append(list, p->stages[i].j);
    }
    return list;
}

static json_t *plan_stages(struct plan *p)
{
    const char *name;
    json_t *target;
    const json_t *export_doc = json_object_get(p->doc, "export");
    struct where w = {
        .kind = "export",
        .stage = export_doc,
        .place = "export",
        .values = {.model = p->model, .budget = &p->budget}
    };
    const struct stage *export = export_doc ? add_stage(p, &w, NULL) : NULL;
    if (export) {
        check_approvers(p, export_doc, "export", is_gated(export->j));
        if (!is_gated(export->j))
            json_object_del(export->j, "approvers");
    }
    if (!export)
        return NULL;
    json_object_foreach(json_object_get(p->doc, "targets"), name, target) add_target(p, name, target, export);
    if (p->full)
        return NULL;
    PTL_FREE bool *needs = calloc(p->n * p->n, sizeof(*needs));
    if (!needs)
        return NULL;
    resolve_needs(p, needs);
    return in_order(p, needs);
}

/* ---- on, concurrency ---- */

/* "5", "*", "1-5", "*" "/" "15", "1,2,3": one field of a cron line */
static bool cron_field(const char *s, size_t len, unsigned min, unsigned max)
{
    const char *end = s + len;
    while (s < end) {
        unsigned v[2] = {min, max}, step = 1;
        if (*s == '*') {
            s++;
        } else {
            for (int k = 0; k < 2; k++) {
                if (s >= end || !isdigit((unsigned char)*s))
                    return false;
                for (v[k] = 0; s < end && isdigit((unsigned char)*s) && v[k] < 1000; s++)
                    v[k] = v[k] * 10 + (unsigned)(*s - '0');
                if (k == 0 && (s >= end || *s != '-')) {
                    v[1] = v[0];
                    break;
                }
                s += k == 0;
            }
        }
        if (s < end && *s == '/') {
            for (s++, step = 0; s < end && isdigit((unsigned char)*s) && step < 1000; s++)
                step = step * 10 + (unsigned)(*s - '0');
        }
        if (v[0] < min || v[1] > max || v[0] > v[1] || step == 0 || (s < end && *s != ',') ||
            (s + 1 == end && *s == ','))
            return false;
        s += s < end;
    }
    return len > 0;
}

static bool is_cron(const char *s)
{
    static const unsigned bounds[5][2] = {
        {0, 59},
        {0, 23},
        {1, 31},
        {1, 12},
        {0, 7 }
    };
    for (int i = 0; i < 5; i++) {
        s += strspn(s, " ");
        size_t len = strcspn(s, " ");
        if (!cron_field(s, len, bounds[i][0], bounds[i][1]))
            return false;
        s += len;
    }
    return s[strspn(s, " ")] == '\0';
}

/* One list of globs out of NAME and NAME-ignore; a list of nothing but '!' begins with everything. */
static json_t *globs(struct plan *p, const json_t *push, const char *name)
{
    char ignore[32], place[64], text[256];
    size_t i;
    json_t *v, *list = json_array();
    snprintf(ignore, sizeof(ignore), "%s_ignore", name);
    const json_t *want = json_object_get(push, name), *not = json_object_get(push, ignore);
    snprintf(place, sizeof(place), "on.push.%s", ignore);
    if (want && not )
        fault(p, place, NULL, "give %s or %s-ignore, not both; '!glob' in %s takes away", name, name, name);
    bool positive = false;
    json_array_foreach(want, i, v) positive |= json_string_value(v)[0] != '!';
    if ((json_array_size(want) && !positive) || json_array_size(not ))
        json_array_append_new(list, json_string("**"));
    json_array_foreach(want, i, v) json_array_append(list, v);
    json_array_foreach(not, i, v)
    {
        snprintf(text, sizeof(text), "!%.200s", json_string_value(v));
        PTL_FREE char *clean = ptl_json_text_utf8(text, strlen(text));
        json_array_append_new(list, json_string(clean));
    }
    return list;
}

static json_t *plan_on(struct plan *p)
{
    const json_t *on = json_object_get(p->doc, "on"), *push = json_object_get(on, "push");
    json_t *ret = json_object(), *schedule = json_array(), *v;
    size_t i;
    if (!on || push)
        json_object_set_new(ret, "push",
                            json_pack("{s:o,s:o,s:o}", "branches", globs(p, push, "branches"), "tags",
                                      globs(p, push, "tags"), "paths", globs(p, push, "paths")));
    else
        json_object_set_new(ret, "push", json_null());
    json_object_set_new(ret, "manual", json_boolean(ptl_json_flag(on, "manual", true)));
    json_array_foreach(json_object_get(on, "schedule"), i, v)
    {
        const char *cron = ptl_json_str(v, "cron", NULL), *branch = ptl_json_str(v, "branch", NULL);
        char place[64];
        snprintf(place, sizeof(place), "on.schedule[%zu].cron", i);
        if (cron && !is_cron(cron))
            fault(p, place,
                  "five fields 'minute hour day month weekday' of numbers, '*', ranges, lists and steps",
                  "'%.80s' is no cron line", cron);
        json_t *entry = json_pack("{s:s}", "cron", cron ? cron : "");
        json_object_set_new(entry, "branch", branch ? json_string(branch) : json_null());
        json_array_append_new(schedule, entry);
    }
    json_object_set_new(ret, "schedule", schedule);
    return ret;
}

static void check_group(struct plan *p, const char *group)
{
    static const char expected[] = "text in which ${{ ref }} and ${{ branch }} are filled in";
    for (const char *s = group; (s = strstr(s, "${{")); s += 3)
        if (!spec_group_word(s, NULL)) {
            fault(p, "concurrency.group", expected, "'%.80s' has a placeholder that is not known", group);
            return;
        }
}

static json_t *plan_concurrency(struct plan *p)
{
    const json_t *c = json_object_get(p->doc, "concurrency");
    const char *group = ptl_json_str(c, "group", NULL), *queue = ptl_json_str(c, "queue", NULL);
    bool cancel = ptl_json_flag(c, "cancel_in_progress", false);
    if (group)
        check_group(p, group);
    if (cancel && queue && strcmp(queue, "latest") != 0)
        fault(p, "concurrency.cancel_in_progress", "queue: latest",
              "cancelling what runs and letting every run have its turn exclude each other");
    json_t *ret = json_pack("{s:s,s:b}", "queue",
                            queue    ? queue
                            : cancel ? "latest"
                                     : "all",
                            "cancel_in_progress", cancel);
    json_object_set_new(ret, "group", group ? json_string(group) : json_null());
    return ret;
}

json_t *spec_plan(const json_t *doc, const json_t *places, struct ptl_spec_diags *diags, bool *no_memory)
{
    struct plan p = {.doc = doc,
                     .places = places,
                     .diags = diags,
                     .model = ptl_json_str(doc, "model", ""),
                     .budget = PLAN_BUDGET};
    PTL_FREE struct stage *stages = calloc(PTL_SPEC_MAX_STAGES, sizeof(*stages));
    p.stages = stages;
    if (!stages) {
        *no_memory = true;
        return NULL;
    }
    json_t *plan = json_pack("{s:i,s:s}", "version", 1, "model", p.model);
    const char *name = ptl_json_str(doc, "name", NULL);
    json_object_set_new(plan, "name", name ? json_string(name) : json_null());
    json_object_set_new(plan, "on", plan_on(&p));
    json_object_set_new(plan, "concurrency", plan_concurrency(&p));
    json_t *list = plan_stages(&p);
    for (size_t i = 0; i < p.n; i++)
        json_decref(stages[i].j);
    if (list)
        json_object_set_new(plan, "stages", list);
    if (!list || diags->errors) {
        *no_memory = !diags->errors;
        json_decref(plan);
        return NULL;
    }
    return plan;
}
