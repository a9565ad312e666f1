/* risk.h - how likely is a planned stage to fail, and what would that cost: numbers in, numbers and their
 * reasons out. Pure: no I/O, no clock; any thread.
 *
 *   P(fail)  Beta posteriors, one level the prior of the next; m is a mean, s what it weighs in outcomes:
 *     paper         m0 = 0.40 · W,  s0 = 4.  W is the share of the platform's questions in Chen et al. 2020
 *                   (Figure 5) that fall to this kind of stage (an export counts as server). Shares of
 *                   questions are no failure rates: 0.40 is a guess at "a first run fails somewhere", worth
 *                   four outcomes, and counts take over.
 *     organisation  m1 = (s0·m0 + red) / (s0 + n)         newest 2000 outcomes of this kind and platform
 *     project       m2 = (s1·m1 + red') / (s1 + n'),  s1 = min(s0 + n, 5)
 *                   this project's newest 100 outcomes of the kind and target, each weighing 0.95 of the one
 *                   after it (half of the weight lies in the last fourteen)
 *     this diff     odds(p) = odds(m2) · B · F.  B = Π L^0.7 within 1/8 … 8; for each factor that is so
 *                   L = P(so | red) / P(so | green), for one that is not so L = P(not | red) / P(not |
 *                   green), from those of the newest 5000 outcomes for which it was known, each probability
 *                   with 20 outcomes of its default (risk.c). 0.7 because factors come together: counted in
 *                   full they would be counted twice. Factors of the diff are left out when it is not known,
 *                   those of operators and pre-flight until a model or a plan was looked at.
 *     pre-flight    F = Π L of its errors and its warnings within 1/2 … 64, counted likewise but in full: the
 *                   others say what such a change did before, these say what stands in the very files. Their
 *                   defaults are guesses (of what fails, pre-flight names three in ten; of what passes, one
 *                   in a hundred) that twenty outcomes outweigh.
 *   hours    exp(Σ q·ln h) over the challenges that can strike here: a typical time, not a mean, since the
 *            paper's times span five orders of magnitude.
 *     q             Dirichlet, as above: share of the node (worth 20), organisation's counts (worth at most
 *                   10), project's counts; what pre-flight names counts as ten of them (error) or three
 *     ln h          (2·ln(paper) + Σ ln(own hours)) / (2 + n): the paper's median time to an accepted answer,
 *                   at most two weeks, then our own from red to green
 *   cost     P(fail) · hours */
#ifndef PTL_RISK_H
#define PTL_RISK_H
#include <portolan/base.h>
#include <portolan/json.h>

/* Bits of stage.risk_bits. Append only: they are kept in the database. */
enum ptl_risk_factor {
    PTL_RISK_EXPORTER,    /* a script that makes or changes the model */
    PTL_RISK_ENVIRONMENT, /* pinned packages, toolchain */
    PTL_RISK_SPEC,        /* how the stage is described */
    PTL_RISK_MODEL,       /* graph or weights */
    PTL_RISK_NOTHING,     /* the very commit, or nothing in its tree, changed */
    PTL_RISK_OPERATORS,   /* operators that never came through on this target, and are unsupported, failed or
                             rare (migrations/0011_risk.sql, preflight_risk); only when known */
    PTL_RISK_FIRST,       /* no outcome of this kind and target in the project */
    PTL_RISK_LAST_RED,    /* its last outcome was red */
    PTL_RISK_ERROR,       /* pre-flight says that it will fail */
    PTL_RISK_WARNING,     /* pre-flight warns */
    PTL_RISK_FACTORS
};
const char *ptl_risk_factor_name(enum ptl_risk_factor f); /* "exporter_changed" */

enum {
    PTL_RISK_ORG_WINDOW = 2000,
    PTL_RISK_FACTOR_WINDOW = 5000,
    PTL_RISK_PROJECT_WINDOW = 100,
};
#define PTL_RISK_DECAY 0.95

struct ptl_risk_evidence {
    double base;           /* m0 */
    double org_n, org_red; /* outcomes */
    double own_n, own_red; /* decayed */
    unsigned bits, known;  /* bit f: factor f is so; it is known whether it is so */
    double known_ok[PTL_RISK_FACTORS], known_red[PTL_RISK_FACTORS]; /* outcomes for which it was known */
    double with_ok[PTL_RISK_FACTORS], with_red[PTL_RISK_FACTORS];
};
struct ptl_risk_steps {
    double org, own, p;             /* m1, m2, P(fail) */
    double ratio[PTL_RISK_FACTORS]; /* L^0.7 of what is so, L of pre-flight's; 1 for the others */
    double rest;                    /* the same, multiplied, of what is known and not so */
    bool clipped;                   /* a product was beyond its bounds */
};
void ptl_risk_p(const struct ptl_risk_evidence *e, struct ptl_risk_steps *ret);

/* W: of all shares of `nodes` ([{"id","share"}]) on `platform`, the part that strikes at stages of `kind`,
 * 0..1. Negative: the nodes tell nothing. */
double ptl_risk_stage_share(const json_t *nodes, const char *platform, const char *kind);
double ptl_risk_base(double stage_share); /* m0; for a negative share a third */

/* What changed for a stage. `paths`: files that differ (texts), NULL when unknown; `stage` as planned;
 * `before`:
 * {"same","same_toolchain"} of the same stage in the run compared with, NULL when there was none. Sets bits
 * of the first five factors; examples[f] borrows a path, or NULL. */
unsigned ptl_risk_diff(const json_t *paths, const json_t *stage, const json_t *before,
                       const char *examples[PTL_RISK_FACTORS]);

/* One stage. `inputs`: what risk_inputs.sql returns, as one object; `facts`: {"changed":[paths]|null,
 * "n_changed","base"|null}. New reference: {"p","hours","cost","bits","platform","terms":
 * [{"name","value","why","what"?}],"likely":[{"challenge_id","title","p"}],"facts"}; "what": the part of
 * "why" that tells of this project only. NULL only when out of memory. */
json_t *ptl_risk_weigh(const json_t *inputs, const json_t *stage, const char *platform, const json_t *facts);

/* ---- playing history back: each outcome is predicted from the ones before it */
struct ptl_risk_past {
    int32_t kind; /* 0..8: kind · 3 + platform, for the base and the organisation */
    int32_t cell; /* dense number of (project, kind, target) */
    uint32_t bits;
    uint32_t known; /* 0: of a time when nothing was noted */
    bool ok;
};
enum { PTL_RISK_BINS = 10, PTL_RISK_PLATFORMS = 3 /* server, mobile, browser */ };
struct ptl_risk_score {
    size_t n, red;
    double brier, brier_base; /* of ours; of saying the rate so far each time (of a platform: its own) */
    double log_loss, log_loss_base;
    struct {
        size_t n;
        double predicted, observed; /* means */
    } bins[PTL_RISK_BINS];          /* by prediction: 0..0.1, … */
};
/* What the prediction is worth without one of its terms: paper, organisation, project, all factors, and each
 * factor. */
enum {
    PTL_RISK_WITHOUT_PAPER,
    PTL_RISK_WITHOUT_ORG,
    PTL_RISK_WITHOUT_OWN,
    PTL_RISK_WITHOUT_FACTORS,
    PTL_RISK_WITHOUT_FACTOR, /* and on: one each */
    PTL_RISK_TERMS = PTL_RISK_WITHOUT_FACTOR + PTL_RISK_FACTORS
};
struct ptl_risk_worth {
    size_t so;    /* outcomes whose prediction it moved */
    double brier; /* without it */
    double gain;  /* mean of what it takes from the squared error; > 0: it earns its place */
    double error; /* standard error of that, outcomes taken for independent */
};
struct ptl_risk_backtest {
    struct ptl_risk_score all, platforms[PTL_RISK_PLATFORMS];
    struct ptl_risk_worth terms[PTL_RISK_TERMS];
    size_t skipped; /* the first ones, with nothing before them */
};
/* `base[k]`: m0 of kind k. `cells`: how many. -ENOMEM, or -EINVAL for a kind or cell out of range. */
PTL_NODISCARD int ptl_risk_backtest(const struct ptl_risk_past *past, size_t n, size_t cells,
                                    const double base[9], struct ptl_risk_backtest *ret);
json_t *ptl_risk_backtest_json(const struct ptl_risk_backtest *b); /* new reference */
#endif
