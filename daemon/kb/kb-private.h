/* kb-private.h - what the files of kb share: the compiled knowledge (engine.c), what a scan found, the
 * weighing (score.c), the answer (answer.c). */
#ifndef PTL_KB_PRIVATE_H
#define PTL_KB_PRIVATE_H
#include "kb.h"
#include "model.h"
#include "parts.h"
#include "rex.h"

enum role { ROLE_CAUSE, ROLE_CONSEQUENCE, ROLE_CONTEXT, ROLE_GENERIC, ROLE_BENIGN };
enum platform { ON_SERVER, ON_MOBILE, ON_BROWSER, ON_UNKNOWN };
enum stage { IN_EXPORT, IN_CONVERT, IN_VERIFY, IN_UNKNOWN };

/* Marks of lines, found by the same scan. */
enum mark {
    MARK_ERROR, /* speaks of something bad */
    MARK_WARNING,
    MARK_GOOD,      /* something ended well */
    MARK_TRACE,     /* a traceback begins */
    MARK_EXCEPTION, /* a line that begins with an exception's name */
    MARK_CHAIN,     /* what follows is a consequence of what came before */
    MARK_CAUSED_BY, /* this line is the cause of what came before */
    MARK_PERSON,    /* a person asks or tells, rather than a program */
    MARK_COUNT
};
/* Beside the marks in ptl_kb_line.flags. */
enum {
    LINE_GENERIC = 1 << MARK_COUNT,
    LINE_BENIGN = 2 << MARK_COUNT,
    LINE_FACT = 4 << MARK_COUNT,
    LINE_HIT = 8 << MARK_COUNT
};

struct weight {
    int node;
    double w;
};
struct indicator {
    const json_t *json; /* borrowed from kb->doc */
    const char *id;
    enum role role;
    double specificity;
    int transient;               /* -1 unknown */
    int first, n_also, n_unless; /* patterns: first is the main one, then also, then unless */
    int *within;                 /* of also and unless, lines; 0: anywhere */
    unsigned platforms, stages;  /* bits; 0: all */
    struct weight *weights[ON_UNKNOWN + 1]
                          [IN_UNKNOWN + 1]; /* ended by node -1; NULL: silent there; may be shared, see own */
    struct weight **own;
    int n_own;
};
struct pattern {
    int indicator;
    struct ptl_rex *rex;
};
struct node {
    const json_t *json; /* borrowed from kb->doc */
    const char *id;
    int parent;   /* -1 */
    int platform; /* ON_…, ON_UNKNOWN: not a deployment challenge */
    bool deployment,
        answerable; /* answerable: can be an answer by itself (a leaf, or an inner node without children) */
    double share;   /* of its platform's questions, 0..1 */
    int transient;
};
/* The weighing's numbers: migrations/kb/model/params.yml says what each does; defaults in score.c. */
struct params {
    double rules, text, text_alone, prior, prior_asked, prior_pasted, outside, asked, threshold, slope, shift,
        slope_asked, shift_asked, upstream;
};
struct ptl_kb {
    json_t *doc;
    struct params params;
    struct indicator *ind;
    int n_ind;
    struct pattern *pat;
    int n_pat;
    struct node *nodes;
    int n_nodes;
    json_t *node_index; /* id -> integer */
    json_t *entries;    /* id -> entry, borrowed values */
    struct kb_parts parts;
    struct ptl_kb_model *model;
    char hash[65];
};

/* Lines a pattern was found on: the first ones, and the last ones in a ring behind them. */
enum { HITS_FIRST = 40, HITS_LAST = 24 };
struct hits {
    uint32_t *line; /* indexes, ascending; room for HITS_FIRST + HITS_LAST */
    int n;
    uint64_t count; /* all of them */
};
struct scan {
    struct ptl_kb_text text;
    struct hits *hits; /* by pattern */
};
/* Fills lines' flags and hits. */
PTL_NODISCARD int kb_scan(const struct ptl_kb *kb, struct scan *s, struct ptl_error *err);
PTL_NODISCARD int kb_scan_init(const struct ptl_kb *kb, struct scan *s);
void kb_scan_done(const struct ptl_kb *kb, struct scan *s);
/* Puts what the groups of an indicator's patterns hold into `ret` (name -> text) and the main match's place
 * into *ret_span. */
void kb_captures(const struct ptl_kb *kb, const struct scan *s, const struct indicator *in, uint32_t line,
                 json_t *ret, struct ptl_rex_span *ret_span);
bool kb_near(const struct scan *s, int pattern, uint32_t line, int within, uint32_t *ret_line);
/* Not silenced by its line, and its `also` and `unless` hold there. */
bool kb_speaks(const struct scan *s, const struct indicator *in, uint32_t line);
bool kb_conditions(const struct scan *s, const struct indicator *in, uint32_t line);
int kb_node(const struct ptl_kb *kb, const char *id); /* -1: none */

struct situation {
    enum platform platform;
    enum stage stage;
    char tool[512]; /* lower case; "" unknown */
};
extern const char *const kb_platform_names[],
    *const kb_stage_names[]; /* NULL-ended; index ON_UNKNOWN, IN_UNKNOWN is that NULL */
struct evidence {
    int indicator; /* -1: none speaks, the line's own shape */
    uint32_t line;
    double strength; /* 0..1: specificity by place */
    struct ptl_rex_span span;
    const char *why; /* static; when there is no indicator */
};
struct contribution {
    int evidence;
    double s;
};
enum { CONTRIBUTIONS_MAX = 6 };
struct candidate {
    int node;
    double p, z, rules, text, prior;
    struct contribution by[CONTRIBUTIONS_MAX];
    int n_by;
};
struct weighing {
    struct situation at;
    struct evidence *ev;
    int n_ev, cap_ev;
    struct candidate *cand; /* every answerable node of the situation, likeliest first */
    int n_cand;
    bool unclear;
    bool asked;   /* a person asks, see score.c */
    double known; /* how much of the text its model knows */
};
void kb_params_read(const json_t *doc, struct params *ret);
void kb_situation(const json_t *facts, struct situation *ret);
PTL_NODISCARD int kb_weigh(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs,
                           size_t n_logs, struct scan *s, struct weighing *w);
/* Features of the text model, as training and use see them. */
PTL_NODISCARD int kb_features(const struct scan *s, const struct situation *at, struct ptl_kb_features *ret);
/* Text to weighing: the way of a diagnosis but for its answer. Both are to be released in every case. */
PTL_NODISCARD int kb_look(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs,
                          size_t n_logs, struct scan *s, struct weighing *w, struct ptl_error *err);
void kb_weighing_done(struct weighing *w);
json_t *kb_answer(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs, size_t n_logs,
                  const struct scan *s, const struct weighing *w);
#endif
