/* score.c - from what was found to how likely each node is.
 *
 * strength of an evidence = specificity × place × tool × stage it is from (each at most 1)
 *
 * R(node) = Σ f_k · -ln(1 - strength_k · weight_k(node)), strongest first, f = 1, ½, ¼ … ; one contribution a
 * line
 *
 * T(node) = ln of the text model's probability
 *
 * P(node) = ln((A · share of the paper's questions + own past failures of the node) / (A + own past
 * failures)), A = 50
 *
 * z(node) = rules·R + text·T + prior·P, + outside where the node is not a deployment challenge; p =
 * softmax(z), the first one's p calibrated
 *
 * When a person asks, prior_asked stands for prior and asked for outside: people rarely ask about a full
 * disk, and seldom paste what says so. When nobody asks and no stage is known, prior_pasted stands for prior:
 * a pasted piece says less than a log.
 *
 * T of a node that an indicator is sure of is at least DOUBT_OF_SURE.
 * The paper's shares are of questions people asked, not of failures: a prior only, and a project's own counts
 * take over. */
#include "kb-private.h"
#include "data.h"
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

enum {
    PRIOR_WEIGHT = 50,
    ONLY_ASKED = 4,
    CHAIN_REACH = 300,
    CAUSED_REACH = 200,
    TEXT_LINES_MAX = 3000,
    PLAIN_LINES = 40
};
/* What people said of failures like this one, -1..1 a node. On the very same failure (0.67 for the right
 * node, as much against the wrong one) it outweighs the strongest rule; on one that is only of the same tool
 * it decides between equals. */
static const double FEEDBACK_WEIGHT = 12;
/* R of a line that says only that something failed: a consequence of specificity 0.45 and weight 0.8 makes
 * -ln(1 - 0.45 · 0.9 · 0.8) = 0.39. */
static const double HARDLY_SAID = 0.45;
/* What an indicator is sure of (strength × weight of .86 and more) the text model may doubt, but not rule out
 * because it has hardly ever seen that node: its say ends at one in seven. */
static const double SURE = 2, DOUBT_OF_SURE = -2;
static const double OUTSIDE_SHARE =
    0.2; /* of all failures, what is assumed not to be a deployment challenge at all */

/* What model/params.yml may set, and what holds where it does not: a number, or what another one is. */
static const struct param {
    const char *name;
    size_t at; /* in struct params */
    double otherwise;
    const char *same_as; /* an earlier one; NULL: otherwise */
} param_table[] = {
#define PARAM(name) #name, offsetof(struct params, name)
    {PARAM(rules),        2,    NULL   },
         {PARAM(text),         0.5,  NULL   },
         {PARAM(text_alone),   1,    NULL   },
    {PARAM(prior),        0.3,  NULL   },
         {PARAM(prior_asked),  0,    "prior"},
         {PARAM(prior_pasted), 0,    "prior"},
    {PARAM(outside),      0,    NULL   },
         {PARAM(asked),        -3,   NULL   },
         {PARAM(threshold),    0.2,  NULL   },
    {PARAM(slope),        1,    NULL   },
         {PARAM(shift),        0,    NULL   },
         {PARAM(slope_asked),  1,    NULL   },
    {PARAM(shift_asked),  0,    NULL   },
         {PARAM(upstream),     0.75, NULL   },
#undef PARAM
};

static const struct param *param_find(const char *name)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(param_table); i++)
        if (strcmp(param_table[i].name, name) == 0)
            return &param_table[i];
    return NULL;
}

bool ptl_kb_param_known(const char *name)
{
    return param_find(name);
}

void kb_params_read(const json_t *doc, struct params *ret)
{
    const json_t *given = json_object_get(doc, "params");
    for (size_t i = 0; i < PTL_ARRAY_LEN(param_table); i++) {
        const struct param *p = &param_table[i];
        double otherwise = p->otherwise;
        if (p->same_as)
            memcpy(&otherwise, (const char *)ret + param_find(p->same_as)->at, sizeof(otherwise));
        double v = ptl_json_num(given, p->name, otherwise);
        memcpy((char *)ret + p->at, &v, sizeof(v));
    }
}

/* ---- situation */
static int index_of(const char *const *names, const char *name)
{
    int i = 0;
    while (names[i] && !ptl_str_eq(names[i], name))
        i++;
    return i;
}

void kb_situation(const json_t *facts, struct situation *ret)
{
    const char *kind = ptl_json_str(facts, "kind", NULL), *host = ptl_json_str(facts, "host", NULL);
    const char *platform = ptl_json_str(facts, "platform", NULL);
    static const char *const tools[] = {"tool", "uses", "toolchain"};
    size_t n = 0;
    if (!platform && ptl_str_eq(kind, "verify"))
        platform = host;
    if (!platform)
        platform = ptl_json_str(facts, "target_host", NULL);
    if (!platform && host)
        platform = host; /* an export for all, or a command that says where it runs */
    ret->platform = (enum platform)index_of(kb_platform_names, platform);
    ret->stage = (enum stage)index_of(kb_stage_names, kind);
    ret->tool[0] = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(tools); i++) {
        const char *t = ptl_json_str(facts, tools[i], "");
        int k = snprintf(ret->tool + n, sizeof(ret->tool) - n, "%s%s", n && *t ? " " : "", t);
        n = k < 0 || n + (size_t)k >= sizeof(ret->tool) ? sizeof(ret->tool) - 1 : n + (size_t)k;
    }
    for (char *p = ret->tool; *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

/* ---- place */
struct place {
    uint32_t last_good[PTL_KB_LOGS_MAX]; /* line after which nothing went well any more; UINT32_MAX: none */
    bool after_good[PTL_KB_LOGS_MAX];    /* something speaks after it */
    uint32_t n_chain, n_caused;
    uint32_t chain[64], caused[64]; /* lines */
};

static void survey(const struct scan *s, struct place *p)
{
    memset(p, 0, sizeof(*p));
    memset(p->last_good, 0xff, sizeof(p->last_good));
    for (size_t i = 0; i < s->text.n; i++) {
        const struct ptl_kb_line *l = &s->text.lines[i];
        if (l->flags & LINE_FACT)
            continue;
        if ((l->flags & 1 << MARK_GOOD) && !(l->flags & 1 << MARK_ERROR)) {
            p->last_good[l->source] = (uint32_t)i;
            p->after_good[l->source] = false;
        } else if ((l->flags & (LINE_HIT | 1 << MARK_EXCEPTION)) &&
                   !(l->flags & (LINE_BENIGN | LINE_GENERIC))) {
            p->after_good[l->source] = true;
        }
        if ((l->flags & 1 << MARK_CHAIN) && p->n_chain < PTL_ARRAY_LEN(p->chain))
            p->chain[p->n_chain++] = (uint32_t)i;
        if ((l->flags & 1 << MARK_CAUSED_BY) && p->n_caused < PTL_ARRAY_LEN(p->caused))
            p->caused[p->n_caused++] = (uint32_t)i;
    }
}

/* The logs of several stages stand behind each other: what one says at its end is not about the next. */
static bool is_same_log(const struct scan *s, uint32_t a, uint32_t b)
{
    return s->text.lines[a].source == s->text.lines[b].source;
}

static double place_of(const struct ptl_kb *kb, const struct scan *s, const struct place *p, uint32_t line)
{
    const struct ptl_kb_line *l = &s->text.lines[line];
    double w = 1;
    if (l->flags & LINE_FACT)
        return 1;
    if ((l->flags & 1 << MARK_WARNING) && !(l->flags & (1 << MARK_ERROR | 1 << MARK_EXCEPTION)))
        w *= 0.85;
    if (p->last_good[l->source] != UINT32_MAX && line < p->last_good[l->source] && p->after_good[l->source])
        w *= 0.6; /* it went on and something ended well after this */
    for (uint32_t i = 0; i < p->n_chain; i++)
        if (line > p->chain[i] && line - p->chain[i] < CHAIN_REACH && is_same_log(s, line, p->chain[i])) {
            w *= 0.88; /* said while another error was being handled */
            break;
        }
    bool is_cause = l->flags & 1 << MARK_CAUSED_BY;
    for (uint32_t i = 0; i < p->n_caused && !is_cause; i++)
        if (line < p->caused[i] && p->caused[i] - line < CAUSED_REACH && is_same_log(s, line, p->caused[i])) {
            w *= 0.88; /* its own cause is named below */
            break;
        }
    if (l->source > 0)
        w *= kb->params.upstream; /* a stage that ended well: what it complained of may be harmless */
    return w;
}

/* ---- evidence */
static bool in_scope(const struct indicator *in, const struct situation *at, enum stage stage,
                     const json_t *facts)
{
    const char *tool;
    json_t *range;
    if (in->platforms && at->platform != ON_UNKNOWN && !(in->platforms >> at->platform & 1))
        return false;
    if (in->stages && stage != IN_UNKNOWN && !(in->stages >> stage & 1))
        return false;
    json_object_foreach(json_object_get(json_object_get(in->json, "scope"), "versions"), tool, range)
    {
        const char *v = ptl_json_str(json_object_get(facts, "environment"), tool, NULL);
        if (!v)
            v = ptl_json_str(json_object_get(facts, "export_environment"), tool, NULL);
        if (v && !ptl_kb_version_in(v, json_string_value(range)))
            return false;
    }
    return true;
}

static double tool_fit(const struct indicator *in, const struct situation *at)
{
    const json_t *tools = json_object_get(json_object_get(in->json, "scope"), "tool"), *v;
    size_t i;
    if (json_array_size(tools) == 0 || !at->tool[0])
        return 1;
    json_array_foreach(tools, i, v)
    {
        char low[64];
        const char *t = json_string_value(v);
        size_t n = 0;
        for (; t[n] && n < sizeof(low) - 1; n++)
            low[n] = (char)tolower((unsigned char)t[n]);
        low[n] = 0;
        if (strstr(at->tool, low))
            return 1;
    }
    return 0.5;
}

bool kb_speaks(const struct scan *s, const struct indicator *in, uint32_t line)
{
    return !(s->text.lines[line].flags & LINE_BENIGN) && kb_conditions(s, in, line);
}

bool kb_conditions(const struct scan *s, const struct indicator *in, uint32_t line)
{
    uint32_t at;
    for (int k = 0; k < in->n_also; k++)
        if (!kb_near(s, in->first + 1 + k, line, in->within[k], &at))
            return false;
    for (int k = 0; k < in->n_unless; k++)
        if (kb_near(s, in->first + 1 + in->n_also + k, line, in->within[in->n_also + k], &at))
            return false;
    return true;
}

static int add_evidence(struct weighing *w, const struct evidence *e)
{
    if (w->n_ev == w->cap_ev) {
        int cap = w->cap_ev ? 2 * w->cap_ev : 32;
        struct evidence *ev = realloc(w->ev, (size_t)cap * sizeof(*ev));
        if (!ev)
            return -ENOMEM;
        w->ev = ev;
        w->cap_ev = cap;
    }
    w->ev[w->n_ev++] = *e;
    return 0;
}

static enum stage stage_of(const struct scan *s, uint32_t line, const enum stage *stages)
{
    return stages[s->text.lines[line].source];
}

static bool is_silent(const json_t *silent, const char *id)
{
    size_t i;
    const json_t *v;
    json_array_foreach(silent, i, v) if (ptl_str_eq(json_string_value(v), id)) return true;
    return false;
}

static int gather(const struct ptl_kb *kb, const json_t *facts, const enum stage *stages,
                  const struct scan *s, const struct place *p, struct weighing *w)
{
    const json_t *silent = json_object_get(facts, "silent");
    for (int i = 0; i < kb->n_ind; i++) {
        const struct indicator *in = &kb->ind[i];
        const struct hits *h = &s->hits[in->first];
        struct evidence best = {.indicator = i, .strength = 0};
        if (in->role >= ROLE_GENERIC || h->n == 0 || is_silent(silent, in->id))
            continue;
        for (int k = 0; k < h->n; k++) {
            uint32_t line = h->line[k];
            enum stage stage = stage_of(s, line, stages);
            if (!in->weights[w->at.platform][stage] || !in_scope(in, &w->at, stage, facts) ||
                !kb_speaks(s, in, line))
                continue;
            double strength = in->specificity * place_of(kb, s, p, line) * tool_fit(in, &w->at);
            if (strength > best.strength + 1e-9) { /* of equal ones the first: later ones are echoes */
                best.strength = strength;
                best.line = line;
            }
        }
        if (best.strength > 0 && add_evidence(w, &best) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* What only follows from something counts where nothing better speaks; what is only context never counts
 * alone. */
static void settle_roles(const struct ptl_kb *kb, struct weighing *w)
{
    double cause = 0;
    for (int i = 0; i < w->n_ev; i++)
        if (kb->ind[w->ev[i].indicator].role == ROLE_CAUSE && w->ev[i].strength > cause)
            cause = w->ev[i].strength;
    for (int i = 0; i < w->n_ev; i++) {
        enum role role = kb->ind[w->ev[i].indicator].role;
        if (role == ROLE_CONSEQUENCE)
            w->ev[i].strength *= cause >= 0.45 ? 0.25 : 0.9;
        else if (role == ROLE_CONTEXT)
            w->ev[i].strength *= 0.35;
    }
}

/* ---- nodes */
static void contribute(struct candidate *c, const struct weighing *w, int evidence, double s)
{
    for (int i = 0; i < c->n_by; i++)
        if (w->ev[c->by[i].evidence].line ==
            w->ev[evidence].line) { /* two patterns on one line are one evidence */
            if (s > c->by[i].s)
                c->by[i] = (struct contribution){evidence, s};
            goto sort;
        }
    if (c->n_by < CONTRIBUTIONS_MAX)
        c->by[c->n_by++] = (struct contribution){evidence, s};
    else if (c->by[c->n_by - 1].s < s)
        c->by[c->n_by - 1] = (struct contribution){evidence, s};
sort:
    for (int i = c->n_by - 1; i > 0; i--)
        for (int k = i; k > 0 && c->by[k].s > c->by[k - 1].s; k--) {
            struct contribution x = c->by[k];
            c->by[k] = c->by[k - 1];
            c->by[k - 1] = x;
        }
}

static void rule_scores(const struct ptl_kb *kb, const enum stage *stages, const struct scan *s,
                        struct weighing *w, int *candidate_of)
{
    for (int i = 0; i < w->n_ev; i++) {
        const struct indicator *in = &kb->ind[w->ev[i].indicator];
        const struct weight *x = in->weights[w->at.platform][stage_of(s, w->ev[i].line, stages)];
        for (; x->node >= 0; x++)
            if (candidate_of[x->node] >= 0)
                contribute(&w->cand[candidate_of[x->node]], w, i, w->ev[i].strength * x->w);
    }
    for (int i = 0; i < w->n_cand; i++) {
        double f = 1;
        for (int k = 0; k < w->cand[i].n_by; k++, f /= 2) {
            double x = w->cand[i].by[k].s < 0.97 ? w->cand[i].by[k].s : 0.97;
            w->cand[i].rules += f * -log(1 - x);
        }
    }
}

static void prior_scores(const struct ptl_kb *kb, const json_t *facts, struct weighing *w)
{
    const json_t *counts = json_object_get(facts, "counts");
    double own = 0, outside = 0;
    const char *id;
    json_t *v;
    json_object_foreach((json_t *)counts, id, v) own += json_number_value(v);
    for (int i = 0; i < w->n_cand; i++)
        outside += !kb->nodes[w->cand[i].node].deployment;
    for (int i = 0; i < w->n_cand; i++) {
        const struct node *n = &kb->nodes[w->cand[i].node];
        double share = n->deployment ? n->share * (1 - OUTSIDE_SHARE) / (w->at.platform == ON_UNKNOWN ? 3 : 1)
                                     : OUTSIDE_SHARE / outside;
        double p = (PRIOR_WEIGHT * share + ptl_json_num(counts, n->id, 0)) / (PRIOR_WEIGHT + own);
        w->cand[i].prior = log(p > 1e-4 ? p : 1e-4);
    }
}

/* ---- text model */
static bool is_bad(const struct ptl_kb_line *l)
{
    return l->flags & (1 << MARK_ERROR | 1 << MARK_EXCEPTION | LINE_HIT) &&
           !(l->flags & (LINE_BENIGN | LINE_GENERIC));
}

/* A question of a person, with or without a log in it: then the first line says most, and what is not bad
 * counts too. Where a stage is known the text is its log: one line that ends in "?" makes it no question yet.
 */
static bool is_question(const struct scan *s, const struct situation *at)
{
    int lines = 0, needed = at->stage == IN_UNKNOWN ? 1 : 2;
    for (size_t i = 0; i < s->text.n && i < 200; i++) {
        const struct ptl_kb_line *l = &s->text.lines[i];
        if ((l->flags & 1 << MARK_PERSON) &&
            !(l->flags & (LINE_FACT | LINE_HIT | LINE_BENIGN | 1 << MARK_EXCEPTION)) && ++lines == needed)
            return true;
    }
    return false;
}

/* What a plain line of a log counts: a short log's plain lines tell facts ("BGR", "vocabulary 2.1"), those of
 * a long one would outvote the line that matters. */
static double plain_weight(const struct scan *s)
{
    size_t plain = 0;
    for (size_t i = 0; i < s->text.n; i++)
        plain += !(s->text.lines[i].flags & (LINE_BENIGN | LINE_GENERIC | LINE_FACT)) &&
                 s->text.lines[i].source == 0 && !is_bad(&s->text.lines[i]);
    double w = plain ? PLAIN_LINES / (double)plain : 1;
    return w > 1 ? 0.4 : w < 0.25 ? 0.1 : 0.4 * w;
}

static double text_weight(const struct scan *s, size_t i, bool question, bool any_bad, double plain)
{
    const struct ptl_kb_line *l = &s->text.lines[i];
    if (l->flags & (LINE_BENIGN | LINE_GENERIC))
        return 0;
    if (l->flags & LINE_FACT)
        return 0.5;
    if (l->source > 0)
        return l->flags & LINE_HIT ? 0.5 : 0;
    if (question && i == 0)
        return 3;
    if (l->flags & 1 << MARK_EXCEPTION)
        return 1.5;
    if (is_bad(l))
        return l->flags & 1 << MARK_WARNING ? 0.6 : 1;
    if (question)
        return l->flags & 1 << MARK_PERSON ? 1 : 0.4;
    if (!any_bad)
        return plain > 0.3 ? plain : 0.3;
    for (size_t k = 1; k <= 2 && k <= i; k++)
        if (is_bad(&s->text.lines[i - k]))
            return 0.4;
    return plain;
}

/* Whose code raised it: "frame: site-packages torch", "frame: own". Of the last traceback line before an
 * exception. */
static void add_frame(const struct scan *s, size_t i, struct ptl_kb_features *ret)
{
    for (size_t k = 1; k <= 8 && k <= i; k++) {
        const struct ptl_kb_line *l = &s->text.lines[i - k];
        const char *p = ptl_kb_line_text(&s->text, l), *end = p + l->len;
        size_t n = l->len;
        while (n && *p == ' ') {
            p++;
            n--;
        }
        if (n < 10 || memcmp(p, "File \"", 6) != 0)
            continue;
        const char *packages = memmem(p, n, "-packages/", 10), *name = packages ? packages + 10 : "own";
        size_t len = packages ? strcspn(name, "/\"\n") : 3;
        if (packages && name + len > end)
            len = (size_t)(end - name);
        if (!packages && memmem(p, n, "/lib/python", 11)) {
            name = "stdlib";
            len = 6;
        }
        ptl_kb_features_add(ret, "frame:", name, len, 1);
        return;
    }
}

int kb_features(const struct scan *s, const struct situation *at, struct ptl_kb_features *ret)
{
    size_t from = s->text.n > TEXT_LINES_MAX ? TEXT_LINES_MAX / 3 : s->text.n;
    size_t to = s->text.n > TEXT_LINES_MAX ? s->text.n - TEXT_LINES_MAX * 2 / 3 : s->text.n;
    bool question = is_question(s, at), any_bad = false;
    double plain = plain_weight(s);
    for (size_t i = 0; i < s->text.n; i++)
        any_bad = any_bad || (is_bad(&s->text.lines[i]) && !(s->text.lines[i].flags & LINE_FACT));
    for (size_t i = 0; i < s->text.n; i++) {
        if (i == from)
            i = to;
        if (i >= s->text.n)
            break;
        const struct ptl_kb_line *l = &s->text.lines[i];
        double w = text_weight(s, i, question, any_bad, plain);
        if (w > 0)
            ptl_kb_features_add(ret, "", ptl_kb_line_text(&s->text, l), l->len, w);
        if (question && i == 0)
            ptl_kb_features_add(ret, "title:", ptl_kb_line_text(&s->text, l), l->len, 1);
        if (l->flags & 1 << MARK_EXCEPTION)
            add_frame(s, i, ret);
    }
    ptl_kb_features_add(ret, "tool:", at->tool, strlen(at->tool), 1);
    if (at->stage != IN_UNKNOWN)
        ptl_kb_features_add(ret, "stage:", kb_stage_names[at->stage], strlen(kb_stage_names[at->stage]), 2);
    ptl_kb_features_finish(ret);
    return 0;
}

static int text_scores(const struct ptl_kb *kb, const struct scan *s, struct weighing *w)
{
    struct ptl_kb_features f = {0};
    double *z = calloc((size_t)kb->n_nodes + 1, sizeof(*z)), top = -1e30, sum = 0;
    if (!z)
        return -ENOMEM;
    (void)!kb_features(s, &w->at, &f);
    w->known = ptl_kb_model_score(kb->model, &f, z, kb->n_nodes);
    ptl_kb_features_done(&f);
    for (int i = 0; i < w->n_cand; i++)
        top = z[w->cand[i].node] > top ? z[w->cand[i].node] : top;
    for (int i = 0; i < w->n_cand; i++)
        sum += exp(z[w->cand[i].node] - top);
    for (int i = 0; i < w->n_cand; i++)
        w->cand[i].text = z[w->cand[i].node] - top - log(sum);
    free(z);
    return 0;
}

/* ---- the whole */
static int by_probability(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->z > y->z   ? -1
           : x->z < y->z ? 1
                         : x->node - y->node; /* no two equal: the order is the same everywhere */
}

static int make_candidates(const struct ptl_kb *kb, struct weighing *w, int *candidate_of)
{
    w->cand = calloc((size_t)kb->n_nodes + 1, sizeof(*w->cand));
    if (!w->cand)
        return -ENOMEM;
    for (int i = 0; i < kb->n_nodes; i++) {
        const struct node *n = &kb->nodes[i];
        candidate_of[i] = -1;
        if (!n->answerable ||
            (n->deployment && w->at.platform != ON_UNKNOWN && n->platform != (int)w->at.platform))
            continue;
        candidate_of[i] = w->n_cand;
        w->cand[w->n_cand++].node = i;
    }
    return 0;
}

/* People ask for the whole way and for what things mean; no stage ever died of it. */
static bool is_only_asked(const char *node)
{
    return ptl_str_ends(node, "/entire-procedure-of-deployment") ||
           ptl_str_ends(node, "/conceptual-questions");
}

static void softmax(const struct ptl_kb *kb, const json_t *facts, struct weighing *w)
{
    const struct params *k = &kb->params;
    const json_t *feedback = json_object_get(facts, "feedback");
    double sum = 0, best = 0;
    for (int i = 0; i < w->n_cand; i++)
        best = w->cand[i].rules > best ? w->cand[i].rules : best;
    /* Between "no indicator speaks" and "one is sure" the text model's weight goes over smoothly. */
    double alone = exp(-1.5 * best), text = k->text_alone * alone + k->text * (1 - alone);
    /* Of a text that the model hardly knows it says only what it saw most of. */
    if (w->known < PTL_KB_FEATURES_FLOOR)
        text *= w->known / PTL_KB_FEATURES_FLOOR;
    double outside = w->asked ? k->asked : k->outside;
    double prior = w->asked ? k->prior_asked : w->at.stage == IN_UNKNOWN ? k->prior_pasted : k->prior;
    for (int i = 0; i < w->n_cand; i++) {
        struct candidate *c = &w->cand[i];
        double said = c->rules >= SURE && c->text < DOUBT_OF_SURE ? DOUBT_OF_SURE : c->text;
        c->z = k->rules * c->rules + text * said + prior * c->prior +
               (kb->nodes[c->node].deployment ? 0 : outside) +
               FEEDBACK_WEIGHT * ptl_json_num(feedback, kb->nodes[c->node].id, 0);
        if (!w->asked && w->at.stage != IN_UNKNOWN && is_only_asked(kb->nodes[c->node].id))
            c->z -= ONLY_ASKED;
    }
    qsort(w->cand, (size_t)w->n_cand, sizeof(*w->cand), by_probability);
    for (int i = 0; i < w->n_cand; i++)
        sum += w->cand[i].p = exp(w->cand[i].z - w->cand[0].z);
    for (int i = 0; i < w->n_cand; i++)
        w->cand[i].p /= sum;
    double p = w->cand[0].p < 1 - 1e-9 ? w->cand[0].p : 1 - 1e-9;
    /* Where a person asks, or nobody knows which stage failed, the same score has been right less often. */
    bool vague = w->asked || w->at.stage == IN_UNKNOWN;
    double slope = vague ? k->slope_asked : k->slope, shift = vague ? k->shift_asked : k->shift;
    double q = 1 / (1 + exp(-(slope * log(p / (1 - p)) + shift)));
    /* Hardly a word that means anything, and no indicator that says more than that something failed: whatever
     * came first did so by habit, unless people said so of failures like this one. */
    bool habit = kb->model && best < HARDLY_SAID && w->known < PTL_KB_FEATURES_FLOOR &&
                 ptl_json_num(feedback, kb->nodes[w->cand[0].node].id, 0) <= 0;
    w->unclear = q < k->threshold || habit;
    for (int i = 1; i < w->n_cand; i++)
        w->cand[i].p *= (1 - q) / (1 - p);
    w->cand[0].p = q;
    /* Calibration may push the first below the second: then both get what they have together, halved. */
    if (w->n_cand > 1 && w->cand[1].p > w->cand[0].p)
        w->cand[0].p = w->cand[1].p = (w->cand[0].p + w->cand[1].p) / 2;
}

int kb_weigh(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs, size_t n_logs,
             struct scan *s, struct weighing *w)
{
    enum stage stages[PTL_KB_LOGS_MAX];
    struct place *place = malloc(sizeof(*place));
    int *candidate_of = calloc((size_t)kb->n_nodes + 1, sizeof(int));
    memset(w, 0, sizeof(*w));
    kb_situation(facts, &w->at);
    for (size_t i = 0; i < PTL_KB_LOGS_MAX; i++)
        stages[i] = i > 0 && i < n_logs && logs[i].kind ? (enum stage)index_of(kb_stage_names, logs[i].kind)
                                                        : w->at.stage;
    int r = place && candidate_of ? 0 : -ENOMEM;
    if (r == 0) {
        survey(s, place);
        r = make_candidates(kb, w, candidate_of);
    }
    if (r == 0)
        r = gather(kb, facts, stages, s, place, w);
    if (r == 0) {
        settle_roles(kb, w);
        rule_scores(kb, stages, s, w, candidate_of);
        prior_scores(kb, facts, w);
        r = kb->model ? text_scores(kb, s, w) : 0;
    }
    w->asked = is_question(s, &w->at);
    if (r == 0 && w->n_cand)
        softmax(kb, facts, w);
    free(place);
    free(candidate_of);
    if (r < 0)
        kb_weighing_done(w);
    return r;
}

void kb_weighing_done(struct weighing *w)
{
    free(w->ev);
    free(w->cand);
    memset(w, 0, sizeof(*w));
}
