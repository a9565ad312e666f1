/* risk.c - the numbers: posteriors, hours, playing back. What a diff means is in diff.c. Formula and sources
 * are in risk.h. */
#include "risk.h"
#include <math.h>
#include <stdio.h>

#define FIRST_RUN_FAILS 0.40 /* a guess, and worth PAPER_WEIGHT outcomes only */
#define PAPER_WEIGHT    4.0
#define OWN_PRIOR_MAX   5.0
#define CHALLENGE_PRIOR 10.0
#define FACTOR_WEIGHT   20.0
#define FACTOR_POWER    0.7
#define FACTOR_BOUND    8.0
#define FILES_LEAST     0.5
#define FILES_MOST      64.0
#define ERROR_WORTH     10.0
#define WARNING_WORTH   3.0
#define NODE_WEIGHT     20.0
#define PAPER_TIMES     2.0
#define PAPER_HOURS_MAX 336.0
#define PAPER_HOURS     24.0 /* where the paper has no time at all */
#define P_MIN           0.005

/* How often a factor is so before stages that fail, and before ones that do not: what is assumed until
 * counted. */
static const struct {
    const char *name;
    double red, ok;
    const char *words;
} factors[PTL_RISK_FACTORS] = {
    [PTL_RISK_EXPORTER] = {"exporter_changed",    0.45, 0.28, "a script of the stage changed"                   },
    [PTL_RISK_ENVIRONMENT] = {"environment_changed", 0.22, 0.09, "the environment changed"                         },
    [PTL_RISK_SPEC] = {"spec_changed",        0.22, 0.11, "the stage is described differently"              },
    [PTL_RISK_MODEL] = {"model_changed",       0.40, 0.27, "the model may have changed"                      },
    [PTL_RISK_NOTHING] = {"nothing_changed",     0.06, 0.14, "nothing in the repository changed"               },
    [PTL_RISK_OPERATORS] = {"new_operators",       0.12, 0.03, "operators that never came through on this target"},
    [PTL_RISK_FIRST] = {"first_time",          0.18, 0.08, "first time on this target"                       },
    [PTL_RISK_LAST_RED] = {"last_red",            0.40, 0.14, "its last outcome was red"                        },
    [PTL_RISK_ERROR] = {"preflight_error",     0.30, 0.01, "pre-flight says that it will fail"               },
    [PTL_RISK_WARNING] = {"preflight_warning",   0.25, 0.12, "pre-flight warns"                                },
};
static_assert(PTL_RISK_FACTORS == 10, "new factor: give it a name and defaults, and risk_inputs.sql its bit");

static bool is_of_files(int f)
{
    return f == PTL_RISK_ERROR || f == PTL_RISK_WARNING;
}

const char *ptl_risk_factor_name(enum ptl_risk_factor f)
{
    return (unsigned)f < PTL_RISK_FACTORS ? factors[f].name : "?";
}

/* Of a node's questions, which part strikes at which kind of stage. First row whose prefix fits. */
static const struct {
    const char *prefix;
    double export, convert, verify;
} strikes[] = {
    {"server/general-questions",             0.4, 0.2, 0.4},
    {"server/model-export",                  0.8, 0.2, 0  },
    {"server/environment",                   0.5, 0.1, 0.4},
    {"server/",                              0,   0,   1  },
    {"mobile/general-questions",             0,   0.5, 0.5},
    {"mobile/model-conversion",              0,   1,   0  },
    {"mobile/dl-library-compilation",        0,   0.3, 0.7},
    {"mobile/",                              0,   0,   1  },
    {"browser/general-questions",            0,   0.4, 0.6},
    {"browser/environment/avoiding-version", 0,   0.4, 0.6},
    {"browser/model-conversion",             0,   1,   0  },
    {"browser/",                             0,   0,   1  },
};

static double strike(const char *id, const char *kind)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(strikes); i++)
        if (ptl_str_starts(id, strikes[i].prefix))
            return ptl_str_eq(kind, "export")    ? strikes[i].export
                   : ptl_str_eq(kind, "convert") ? strikes[i].convert
                                                 : strikes[i].verify;
    return 0;
}

static bool is_on(const char *id, const char *platform)
{
    size_t n = strlen(platform);
    return strncmp(id, platform, n) == 0 && id[n] == '/';
}

double ptl_risk_stage_share(const json_t *nodes, const char *platform, const char *kind)
{
    double all = 0, here = 0;
    size_t i;
    json_t *n;
    json_array_foreach((json_t *)nodes, i, n)
    {
        const char *id = ptl_json_str(n, "id", "");
        double share = ptl_json_num(n, "share", 0);
        if (!is_on(id, platform) || share <= 0)
            continue;
        all += share;
        here += share * strike(id, kind);
    }
    return all > 0 ? here / all : -1;
}

double ptl_risk_base(double share)
{
    double m = FIRST_RUN_FAILS * (share < 0 ? 1.0 / 3 : share);
    return m < 0.01 ? 0.01 : m; /* nothing is impossible: the paper asked nobody about this */
}

static double ratio(const struct ptl_risk_evidence *e, int f, bool so)
{
    double red = (FACTOR_WEIGHT * factors[f].red + e->with_red[f]) / (FACTOR_WEIGHT + e->known_red[f]);
    double ok = (FACTOR_WEIGHT * factors[f].ok + e->with_ok[f]) / (FACTOR_WEIGHT + e->known_ok[f]);
    double l = so ? red / ok : (1 - red) / (1 - ok);
    return is_of_files(f) ? l : pow(l, FACTOR_POWER);
}

static double held(double v, double least, double most, bool *clipped)
{
    double within = v < least ? least : v > most ? most : v;
    *clipped |= within != v; /* it was set, not computed: equal means untouched */
    return within;
}

void ptl_risk_p(const struct ptl_risk_evidence *e, struct ptl_risk_steps *ret)
{
    double weight = PAPER_WEIGHT + e->org_n, product = 1, files = 1;
    ret->org = (PAPER_WEIGHT * e->base + e->org_red) / weight;
    if (weight > OWN_PRIOR_MAX)
        weight = OWN_PRIOR_MAX;
    ret->own = (weight * ret->org + e->own_red) / (weight + e->own_n);
    ret->rest = 1;
    for (int f = 0; f < PTL_RISK_FACTORS; f++) {
        bool so = e->bits >> f & 1;
        ret->ratio[f] = 1;
        if (!(e->known >> f & 1))
            continue;
        double l = ratio(e, f, so);
        if (so)
            ret->ratio[f] = l;
        else
            ret->rest *= l;
        *(is_of_files(f) ? &files : &product) *= l;
    }
    ret->clipped = false;
    product = held(product, 1 / FACTOR_BOUND, FACTOR_BOUND, &ret->clipped);
    files = held(files, FILES_LEAST, FILES_MOST, &ret->clipped);
    double odds = ret->own / (1 - ret->own) * product * files;
    ret->p = ret->own >= 1 ? 1 : odds / (1 + odds);
    ret->p = ret->p < P_MIN ? P_MIN : ret->p > 1 - P_MIN ? 1 - P_MIN : ret->p;
}

/* ---- one stage, with words ---- */

static double rounded(double v, double unit)
{
    return round(v / unit) * unit;
}

static void term(json_t *terms, const char *name, double value, const char *fmt, ...) PTL_PRINTF(4, 5);
static void term(json_t *terms, const char *name, double value, const char *fmt, ...)
{
    char why[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    PTL_FREE char *clean = ptl_json_text_utf8(why, strlen(why)); /* a path may have been cut in a character */
    json_array_append_new(
        terms, json_pack("{s:s,s:f,s:s}", "name", name, "value", rounded(value, 1e-4), "why", clean));
}

static const json_t *row_of(const json_t *rows, const char *k1, const char *v1, const char *k2,
                            const char *v2)
{
    size_t i;
    json_t *r;
    json_array_foreach((json_t *)rows, i, r) if (ptl_str_eq(ptl_json_str(r, k1, ""), v1) &&
                                                 (!k2 || ptl_str_eq(ptl_json_str(r, k2, ""), v2))) return r;
    return NULL;
}

static double number_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

struct candidate {
    const char *id, *title;
    double prior, org, own, said, q, hours, paper, n_hours;
    bool capped;
};

/* The candidate of a challenge, added when there is room; NULL: there is none. */
static struct candidate *candidate_of(struct candidate *cand, size_t *n, size_t max, const json_t *nodes,
                                      const char *id, const char *title)
{
    size_t k = 0;
    while (k < *n && !ptl_str_eq(cand[k].id, id))
        k++;
    if (k == max)
        return NULL;
    if (k == *n) {
        const json_t *node = row_of(nodes, "id", id, NULL, NULL);
        cand[(*n)++] = (struct candidate){.id = id,
                                          .title = ptl_json_str(node, "title", title),
                                          .paper = ptl_json_num(node, "minutes", 0) / 60};
    }
    return &cand[k];
}

/* Fills cand[] with the nodes that can strike here, those that did, and those that pre-flight names. Returns
 * how many. */
static size_t candidates(const json_t *inputs, const json_t *looked, const char *platform, const char *kind,
                         struct candidate *cand, size_t max)
{
    const json_t *nodes = json_object_get(inputs, "nodes"), *counts = json_object_get(inputs, "challenges"),
                 *hours = json_object_get(inputs, "hours");
    size_t n = 0, i;
    json_t *v;
    double share = 0, org = 0, own = 0;
    json_array_foreach((json_t *)nodes, i, v)
    {
        const char *id = ptl_json_str(v, "id", "");
        double s = ptl_json_num(v, "share", 0) * strike(id, kind);
        if (n == max || !is_on(id, platform) || s <= 0)
            continue;
        double minutes = ptl_json_num(v, "minutes", 0);
        cand[n++] = (struct candidate){
            .id = id, .title = ptl_json_str(v, "title", id), .prior = s, .paper = minutes / 60};
        share += s;
    }
    json_array_foreach((json_t *)counts, i, v)
    {
        const char *id = ptl_json_str(v, "id", "");
        if (!ptl_str_eq(ptl_json_str(v, "kind", ""), kind) ||
            !ptl_str_eq(ptl_json_str(v, "platform", ""), platform))
            continue;
        struct candidate *c = candidate_of(cand, &n, max, nodes, id, ptl_json_str(v, "title", id));
        if (!c)
            continue;
        org += c->org = ptl_json_num(v, "org", 0);
        own += c->own = ptl_json_num(v, "own", 0);
    }
    json_array_foreach(json_object_get(looked, "findings"), i, v)
    {
        const char *id = ptl_json_str(v, "challenge_id", "");
        struct candidate *c = *id ? candidate_of(cand, &n, max, nodes, id, id) : NULL;
        double worth = ptl_str_eq(ptl_json_str(v, "severity", ""), "error") ? ERROR_WORTH : WARNING_WORTH;
        if (!c || worth <= c->said)
            continue; /* said twice, it is still one thing */
        own += worth - c->said;
        c->said = worth;
    }
    double weight = NODE_WEIGHT + org;
    if (weight > CHALLENGE_PRIOR)
        weight = CHALLENGE_PRIOR;
    for (i = 0; i < n; i++) {
        struct candidate *c = &cand[i];
        double m = (NODE_WEIGHT * (share > 0 ? c->prior / share : 0) + c->org) / (NODE_WEIGHT + org);
        c->q = (weight * m + c->own + c->said) / (weight + own);
        const json_t *h = row_of(hours, "id", c->id, NULL, NULL);
        double paper = c->paper > 0 ? c->paper : PAPER_HOURS;
        c->capped = paper > PAPER_HOURS_MAX;
        c->n_hours = ptl_json_num(h, "n", 0);
        c->hours = exp((PAPER_TIMES * log(c->capped ? PAPER_HOURS_MAX : paper) + ptl_json_num(h, "ln", 0)) /
                       (PAPER_TIMES + c->n_hours));
    }
    return n;
}

static int by_q(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->q < y->q ? 1 : x->q > y->q ? -1 : strcmp(x->id, y->id);
}

enum { CANDIDATES_MAX = 256, LIKELY = 3 };

static double weigh_hours(const json_t *inputs, const json_t *looked, const char *platform, const char *kind,
                          json_t *terms, json_t *likely)
{
    struct candidate cand[CANDIDATES_MAX];
    size_t n = candidates(inputs, looked, platform, kind, cand, CANDIDATES_MAX);
    double sum = 0, q = 0;
    qsort(cand, n, sizeof(*cand), by_q);
    for (size_t i = 0; i < n; i++) {
        sum += cand[i].q * log(cand[i].hours);
        q += cand[i].q;
    }
    double hours = n && q > 0 ? exp(sum / q) : PAPER_HOURS;
    for (size_t i = 0; i < n && i < LIKELY; i++) {
        const struct candidate *c = &cand[i];
        double share = q > 0 ? c->q / q : 0;
        json_array_append_new(likely, json_pack("{s:s,s:s,s:f}", "challenge_id", c->id, "title", c->title,
                                                "p", rounded(share, 1e-4)));
        char paper[80];
        if (c->paper > 0)
            snprintf(paper, sizeof(paper), "%.3g h by the paper%s", c->paper,
                     c->capped ? " (counted as two weeks)" : "");
        else
            snprintf(paper, sizeof(paper), "no time in the paper (taken as a day)");
        term(
            terms, "challenge", share,
            "%s (%s): %.0f %% of what fails here; %sdiagnosed %.0f times here, %.0f of them in this project; %s, %.0f times resolved here: %.3g h",
            c->title, c->id, share * 100, c->said > 0 ? "pre-flight names it; " : "", c->org, c->own, paper,
            c->n_hours, c->hours);
    }
    return hours;
}

static void know(struct ptl_risk_evidence *e, enum ptl_risk_factor f, bool known, bool so)
{
    if (known)
        e->known |= 1u << f;
    if (known && so)
        e->bits |= 1u << f;
}

/* What is so, in words; `own`: without what other projects went through. */
static void say_what(int f, const char *example, const json_t *looked, bool own, char *ret, size_t size)
{
    static const struct {
        const char *why, *words;
    } bad[] = {
        {"unsupported", "the target lacks it"                       },
        {"failed",      "failed as unsupported on this platform"    },
        {"rare",        "rare among what runs on this platform here"}
    };
    const json_t *operators = json_object_get(looked, "operators"), *v;
    size_t at = 0, i, said = 0;
#define SAY(...)                                                                                             \
    do {                                                                                                     \
        if (at < size)                                                                                       \
            at += (size_t)snprintf(ret + at, size - at, __VA_ARGS__);                                        \
    } while (0)
    SAY("%s", factors[f].words);
    if (f == PTL_RISK_OPERATORS) {
        json_array_foreach(json_object_get(operators, "bad"), i, v)
        {
            const char *words = "";
            for (size_t k = 0; k < PTL_ARRAY_LEN(bad); k++)
                if (ptl_str_eq(bad[k].why, ptl_json_str(v, "why", "")) && (k == 0 || !own))
                    words = bad[k].words;
            SAY("%s%.60s%s%s%s", i ? ", " : ": ", ptl_json_str(v, "operator", "?"), *words ? " (" : "", words,
                *words ? ")" : "");
            said++;
        }
        if (ptl_json_i64(operators, "n", 0) > (int64_t)said)
            SAY(" and %lld more", (long long)(ptl_json_i64(operators, "n", 0) - (int64_t)said));
    } else if (is_of_files(f)) {
        const char *severity = f == PTL_RISK_ERROR ? "error" : "warning";
        int64_t n = ptl_json_i64(looked, f == PTL_RISK_ERROR ? "errors" : "warnings", 0);
        json_array_foreach(json_object_get(looked, "findings"), i,
                           v) if (!said && ptl_str_eq(ptl_json_str(v, "severity", ""), severity))
        {
            const char *path = ptl_json_str(v, "path", NULL);
            SAY(": %s, %.120s%s%.300s", ptl_json_str(v, "rule", "?"), path ? path : "", path ? ": " : "",
                ptl_json_str(v, "message", ""));
            said++;
        }
        if (n > 1)
            SAY(" (and %lld more)", (long long)(n - 1));
    } else if (example) {
        SAY(" (%.200s)", example);
    }
#undef SAY
}

json_t *ptl_risk_weigh(const json_t *inputs, const json_t *stage, const char *platform, const json_t *facts)
{
    const char *kind = ptl_json_str(stage, "kind", "verify"), *name = ptl_json_str(stage, "name", ""),
               *target = ptl_json_str(stage, "target", "");
    const json_t *org = row_of(json_object_get(inputs, "org"), "kind", kind, "platform", platform),
                 *own = row_of(json_object_get(inputs, "project"), "kind", kind, "target", target),
                 *before = row_of(json_object_get(inputs, "before"), "name", name, NULL, NULL),
                 *looked = row_of(json_object_get(inputs, "preflight"), "name", name, NULL, NULL),
                 *operators = json_object_get(looked, "operators"),
                 *counted = json_object_get(inputs, "factors"), *changed = json_object_get(facts, "changed");
    const char *examples[PTL_RISK_FACTORS] = {0};
    struct ptl_risk_evidence e = {.org_n = ptl_json_num(org, "n", 0),
                                  .org_red = ptl_json_num(org, "red", 0),
                                  .own_n = ptl_json_num(own, "n", 0),
                                  .own_red = ptl_json_num(own, "red", 0)};
    struct ptl_risk_steps s;
    double share = ptl_risk_stage_share(json_object_get(inputs, "nodes"), platform, kind);
    double runs = ptl_json_num(own, "runs", 0);
    json_t *terms = json_array(), *likely = json_array();
    e.base = ptl_risk_base(share);
    for (size_t f = 0; f < PTL_RISK_FACTORS; f++) {
        e.known_ok[f] = number_at(json_object_get(counted, "known_ok"), f);
        e.known_red[f] = number_at(json_object_get(counted, "known_red"), f);
        e.with_ok[f] = number_at(json_object_get(counted, "with_ok"), f);
        e.with_red[f] = number_at(json_object_get(counted, "with_red"), f);
    }
    if (json_is_array(changed)) {
        e.bits |= ptl_risk_diff(changed, stage, before, examples);
        e.known |= 1u << PTL_RISK_EXPORTER | 1u << PTL_RISK_ENVIRONMENT | 1u << PTL_RISK_SPEC |
                   1u << PTL_RISK_MODEL | 1u << PTL_RISK_NOTHING;
    }
    know(&e, PTL_RISK_OPERATORS, ptl_json_flag(operators, "known", false),
         ptl_json_i64(operators, "n", 0) > 0);
    know(&e, PTL_RISK_ERROR, ptl_json_flag(looked, "looked", false), ptl_json_i64(looked, "errors", 0) > 0);
    know(&e, PTL_RISK_WARNING, ptl_json_flag(looked, "looked", false),
         ptl_json_i64(looked, "warnings", 0) > 0);
    const json_t *last =
        json_object_get(before, "last_ok") && !json_is_null(json_object_get(before, "last_ok"))
            ? json_object_get(before, "last_ok")
            : json_object_get(own, "last_ok");
    e.known |= 1u << PTL_RISK_FIRST;
    if (runs < 1)
        e.bits |= 1u << PTL_RISK_FIRST;
    if (json_is_boolean(last)) {
        e.known |= 1u << PTL_RISK_LAST_RED;
        if (json_is_false(last))
            e.bits |= 1u << PTL_RISK_LAST_RED;
    }
    ptl_risk_p(&e, &s);

    if (share >= 0)
        term(
            terms, "paper", e.base,
            "prior, worth %.0f outcomes: %.2f (a first run fails somewhere) × %.1f %% of the paper's %s questions that fall to %s",
            PAPER_WEIGHT, FIRST_RUN_FAILS, share * 100, platform, kind);
    else
        term(terms, "paper", e.base,
             "prior, worth %.0f outcomes; the knowledge base is not loaded yet, so a third of %.2f",
             PAPER_WEIGHT, FIRST_RUN_FAILS);
    term(terms, "organisation", s.org, "%.0f of the newest %.0f %s stages for %s here were red", e.org_red,
         e.org_n, kind, platform);
    term(terms, "project", s.own,
         runs < 1
             ? "none of this project's %s stages%s%s has ended yet"
             : "this project's %s stages%s%s: %.1f of %.1f red, the newest counting most (%.0f outcomes)",
         kind, *target ? " of target " : "", target, e.own_red, e.own_n, runs);
    for (int f = 0; f < PTL_RISK_FACTORS; f++)
        if (e.bits >> f & 1) {
            char what[600];
            say_what(f, examples[f], looked, false, what, sizeof(what));
            term(terms, factors[f].name, s.ratio[f],
                 "odds × %.2f: %s (so before %.0f of %.0f red and %.0f of %.0f green outcomes here)",
                 s.ratio[f], what, e.with_red[f], e.known_red[f], e.with_ok[f], e.known_ok[f]);
            say_what(f, examples[f], looked, true, what, sizeof(what));
            PTL_FREE char *clean = ptl_json_text_utf8(what, strlen(what));
            json_object_set_new(json_array_get(terms, json_array_size(terms) - 1), "what",
                                json_string(clean));
        }
    if (fabs(s.rest - 1) > 1e-9) {
        char words[300] = "";
        for (int f = 0; f < PTL_RISK_FACTORS; f++)
            if (e.known >> f & 1 && !(e.bits >> f & 1))
                snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s", *words ? ", " : "",
                         factors[f].name);
        term(terms, "rest", s.rest, "odds × %.2f: not so: %s", s.rest, words);
    }
    if (!json_is_array(changed))
        term(terms, "diff_unknown", 1, "there is no earlier run to compare with, so the diff says nothing");
    if (s.clipped)
        term(
            terms, "bound", s.p,
            "together the factors are held within %.0f times either way, what pre-flight says within %.1f to %.0f",
            FACTOR_BOUND, FILES_LEAST, FILES_MOST);
    double hours = weigh_hours(inputs, looked, platform, kind, terms, likely);
    term(terms, "hours", hours,
         "typical time from red to green over what can fail here, weighed by how likely each is");
    return json_pack("{s:f,s:f,s:f,s:I,s:s,s:o,s:o,s:O?}", "p", rounded(s.p, 1e-6), "hours",
                     rounded(hours, 1e-4), "cost", rounded(s.p * hours, 1e-4), "bits",
                     (json_int_t)(e.bits | e.known << 16), "platform", platform, "terms", terms, "likely",
                     likely, "facts", facts);
}

/* ---- playing back ---- */

struct window {
    uint8_t *ring; /* 1: red */
    size_t n, at, red;
};

static void window_add(struct window *w, size_t max, bool red)
{
    if (w->n == max)
        w->red -= w->ring[w->at];
    else
        w->n++;
    w->ring[w->at] = red;
    w->red += red;
    w->at = (w->at + 1) % max;
}

struct factor_ring {
    struct ptl_risk_past *ring;
    size_t n, at;
    double known_ok[PTL_RISK_FACTORS], known_red[PTL_RISK_FACTORS], with_ok[PTL_RISK_FACTORS],
        with_red[PTL_RISK_FACTORS];
};

static void factor_count(struct factor_ring *r, const struct ptl_risk_past *p, double by)
{
    for (int f = 0; f < PTL_RISK_FACTORS; f++) {
        if (p->known >> f & 1)
            (p->ok ? r->known_ok : r->known_red)[f] += by;
        if (p->bits >> f & 1)
            (p->ok ? r->with_ok : r->with_red)[f] += by;
    }
}

static void factor_add(struct factor_ring *r, const struct ptl_risk_past *p)
{
    if (r->n == PTL_RISK_FACTOR_WINDOW)
        factor_count(r, &r->ring[r->at], -1);
    else
        r->n++;
    r->ring[r->at] = *p;
    factor_count(r, p, 1);
    r->at = (r->at + 1) % PTL_RISK_FACTOR_WINDOW;
}

static double log_loss(double p, bool red)
{
    p = p < 1e-6 ? 1e-6 : p > 1 - 1e-6 ? 1 - 1e-6 : p;
    return -log(red ? p : 1 - p);
}

static void judge(struct ptl_risk_score *b, double p, double base, bool red)
{
    size_t bin = (size_t)(p * PTL_RISK_BINS);
    bin = bin >= PTL_RISK_BINS ? PTL_RISK_BINS - 1 : bin;
    b->n++;
    b->red += red;
    b->brier += (p - red) * (p - red);
    b->brier_base += (base - red) * (base - red);
    b->log_loss += log_loss(p, red);
    b->log_loss_base += log_loss(base, red);
    b->bins[bin].n++;
    b->bins[bin].predicted += p;
    b->bins[bin].observed += red;
}

static void means(struct ptl_risk_score *b)
{
    double count = b->n ? (double)b->n : 1;
    for (size_t k = 0; k < PTL_RISK_BINS; k++)
        if (b->bins[k].n) {
            b->bins[k].predicted /= (double)b->bins[k].n;
            b->bins[k].observed /= (double)b->bins[k].n;
        }
    b->brier /= count;
    b->brier_base /= count;
    b->log_loss /= count;
    b->log_loss_base /= count;
}

/* The same evidence as if one term were not thought of. */
static struct ptl_risk_evidence without(const struct ptl_risk_evidence *e, int term)
{
    struct ptl_risk_evidence w = *e;
    if (term == PTL_RISK_WITHOUT_PAPER)
        w.base = ptl_risk_base(-1);
    else if (term == PTL_RISK_WITHOUT_ORG)
        w.org_n = w.org_red = 0;
    else if (term == PTL_RISK_WITHOUT_OWN)
        w.own_n = w.own_red = 0;
    else if (term == PTL_RISK_WITHOUT_FACTORS)
        w.known = w.bits = 0;
    else
        w.known &= ~(1u << (term - PTL_RISK_WITHOUT_FACTOR));
    w.bits &= w.known;
    return w;
}

static void judge_terms(struct ptl_risk_worth *terms, const struct ptl_risk_evidence *e, double p, bool red)
{
    for (int t = 0; t < PTL_RISK_TERMS; t++) {
        struct ptl_risk_evidence w = without(e, t);
        struct ptl_risk_steps s;
        ptl_risk_p(&w, &s);
        double off = (s.p - red) * (s.p - red), gain = off - (p - red) * (p - red);
        terms[t].so += t >= PTL_RISK_WITHOUT_FACTOR ? e->bits >> (t - PTL_RISK_WITHOUT_FACTOR) & 1
                                                    : fabs(s.p - p) > 1e-12;
        terms[t].brier += off;
        terms[t].gain += gain;
        terms[t].error += gain * gain; /* until the end: the sum of squares */
    }
}

static void worth(struct ptl_risk_worth *w, size_t n)
{
    double count = n ? (double)n : 1, mean = w->gain / count, variance = w->error / count - mean * mean;
    w->brier /= count;
    w->gain = mean;
    w->error = sqrt((variance > 0 ? variance : 0) / count);
}

int ptl_risk_backtest(const struct ptl_risk_past *past, size_t n, size_t cells, const double base[9],
                      struct ptl_risk_backtest *ret)
{
    struct {
        double n, red;
    } *own = calloc(cells + 1, sizeof(*own));
    struct window org[9] = {0};
    struct factor_ring factor = {.ring = calloc(PTL_RISK_FACTOR_WINDOW, sizeof(*factor.ring))};
    struct ptl_risk_backtest b = {0};
    struct {
        size_t seen, red;
    } so_far = {0}, on[PTL_RISK_PLATFORMS] = {0};
    int r = own && factor.ring ? 0 : -ENOMEM;
    for (size_t k = 0; k < 9 && r == 0; k++)
        r = (org[k].ring = calloc(PTL_RISK_ORG_WINDOW, 1)) ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && r == 0; i++) {
        const struct ptl_risk_past *p = &past[i];
        if (p->kind < 0 || p->kind > 8 || p->cell < 0 || (size_t)p->cell >= cells) {
            r = -EINVAL;
            break;
        }
        struct window *w = &org[p->kind];
        int platform = p->kind % PTL_RISK_PLATFORMS;
        struct ptl_risk_evidence e = {.base = base[p->kind],
                                      .org_n = (double)w->n,
                                      .org_red = (double)w->red,
                                      .own_n = own[p->cell].n,
                                      .own_red = own[p->cell].red,
                                      .bits = p->bits,
                                      .known = p->known};
        memcpy(e.known_ok, factor.known_ok, sizeof(e.known_ok));
        memcpy(e.known_red, factor.known_red, sizeof(e.known_red));
        memcpy(e.with_ok, factor.with_ok, sizeof(e.with_ok));
        memcpy(e.with_red, factor.with_red, sizeof(e.with_red));
        struct ptl_risk_steps s;
        ptl_risk_p(&e, &s);
        if (so_far.seen == 0) {
            b.skipped++;
        } else {
            double rate = (double)so_far.red / (double)so_far.seen;
            judge(&b.all, s.p, rate, !p->ok);
            judge(&b.platforms[platform], s.p,
                  on[platform].seen ? (double)on[platform].red / (double)on[platform].seen : rate, !p->ok);
            judge_terms(b.terms, &e, s.p, !p->ok);
        }
        so_far.seen++;
        so_far.red += !p->ok;
        on[platform].seen++;
        on[platform].red += !p->ok;
        window_add(w, PTL_RISK_ORG_WINDOW, !p->ok);
        own[p->cell].n = own[p->cell].n * PTL_RISK_DECAY + 1;
        own[p->cell].red = own[p->cell].red * PTL_RISK_DECAY + !p->ok;
        factor_add(&factor, p);
    }
    for (size_t k = 0; k < 9; k++)
        free(org[k].ring);
    free(own);
    free(factor.ring);
    if (r < 0)
        return r;
    for (size_t t = 0; t < PTL_RISK_TERMS; t++)
        worth(&b.terms[t], b.all.n);
    means(&b.all);
    for (size_t k = 0; k < PTL_RISK_PLATFORMS; k++)
        means(&b.platforms[k]);
    *ret = b;
    return 0;
}

static json_t *score_json(const struct ptl_risk_score *b)
{
    json_t *bins = json_array();
    for (size_t k = 0; k < PTL_RISK_BINS; k++)
        json_array_append_new(
            bins,
            json_pack("{s:f,s:f,s:I,s:o,s:o}", "from", (double)k / PTL_RISK_BINS, "to",
                      (double)(k + 1) / PTL_RISK_BINS, "n", (json_int_t)b->bins[k].n, "predicted",
                      b->bins[k].n ? json_real(rounded(b->bins[k].predicted, 1e-4)) : json_null(), "observed",
                      b->bins[k].n ? json_real(rounded(b->bins[k].observed, 1e-4)) : json_null()));
    double skill = b->n && b->brier_base > 0 ? 1 - b->brier / b->brier_base : 0;
    return json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:o}", "outcomes", (json_int_t)b->n, "red",
                     (json_int_t)b->red, "base_rate",
                     b->n ? rounded((double)b->red / (double)b->n, 1e-4) : 0.0, "brier",
                     rounded(b->brier, 1e-5), "brier_base_rate", rounded(b->brier_base, 1e-5), "log_loss",
                     rounded(b->log_loss, 1e-5), "log_loss_base_rate", rounded(b->log_loss_base, 1e-5),
                     "skill", rounded(skill, 1e-4), "reliability", bins);
}

json_t *ptl_risk_backtest_json(const struct ptl_risk_backtest *b)
{
    static const char *const platforms[] = {"server", "mobile", "browser"}, *const steps[] = {
                                                                                "paper", "organisation",
                                                                                "project", "all_factors"};
    json_t *o = score_json(&b->all), *list = json_array(), *terms = json_array();
    for (size_t k = 0; k < PTL_RISK_PLATFORMS; k++) {
        json_t *one = score_json(&b->platforms[k]);
        json_object_set_new(one, "platform", json_string(platforms[k]));
        json_array_append_new(list, one);
    }
    for (size_t t = 0; t < PTL_RISK_TERMS; t++) {
        const struct ptl_risk_worth *w = &b->terms[t];
        const char *verdict = w->gain > 2 * w->error    ? "earns"
                              : w->gain < -2 * w->error ? "costs"
                                                        : "cannot_tell";
        json_array_append_new(
            terms, json_pack("{s:s,s:I,s:f,s:f,s:f,s:s}", "name",
                             t < PTL_ARRAY_LEN(steps)
                                 ? steps[t]
                                 : ptl_risk_factor_name((enum ptl_risk_factor)(t - PTL_RISK_WITHOUT_FACTOR)),
                             "so", (json_int_t)w->so, "brier_without", rounded(w->brier, 1e-5), "gain",
                             rounded(w->gain, 1e-6), "error", rounded(w->error, 1e-6), "verdict", verdict));
    }
    json_object_set_new(o, "skipped", json_integer((json_int_t)b->skipped));
    json_object_set_new(o, "platforms", list);
    json_object_set_new(o, "terms", terms);
    return o;
}
