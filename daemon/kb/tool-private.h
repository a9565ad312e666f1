/* tool-private.h - what the files of portolan-kb share: its options, the knowledge they work with, the cases
 * they train from and are tried on. */
#ifndef PTL_KB_TOOL_PRIVATE_H
#define PTL_KB_TOOL_PRIVATE_H
#include "kb-private.h"
#include <portolan/hash.h>

struct options {
    const char *verb, *dir, *kb, *out, *platform, *stage, *tool, *end, *house, *before;
    bool json, rules_only, text_only, parts, held_out;
    int folds, min_cases, prune;
    double cost, entries, words;
    char **files;
    int n_files;
    const char *also[8]; /* cases to learn from only */
    int n_also;
};

/* In messages: "portolan-kb", or what the command that runs it says in argv[0]. */
extern const char *tool_program;
int tool_die(const char *what); /* says it; 1 */

/* ---- tool_source.c: the knowledge, from wherever */
struct source {
    json_t *doc;
    const void *model, *scan; /* scan NULL: to be compiled */
    char *model_from;         /* in words */
    size_t model_len, scan_len;
    void *mapped, *owned; /* what model and scan point into */
    size_t mapped_len;
    char key[PTL_SHA256_HEX];
    struct ptl_kb_file *v;
    size_t n;
};
/* Sets *s in any case; tool_source_done() in any case. */
PTL_NODISCARD int tool_source_open(const struct options *o, struct source *s, struct ptl_error *err);
void tool_source_done(struct source *s);
/* With this text model (NULL: none). NULL, and err. */
struct ptl_kb *tool_kb(const struct options *o, const struct source *s, const void *model, size_t model_len,
                       struct ptl_error *err);

/* ---- tool_cases.c: labelled cases */
struct item {
    const char *file;
    bool only_learn, house;
    char fold_key[PTL_SHA256_HEX]; /* "": its id */
    json_t *j;
    char *text;
    json_t *facts;
};
struct items {
    struct item *v;
    size_t n, cap;
};
void tool_items_done(struct items *a);
/* What the command line names: to be judged, and (--also) to learn from only. */
PTL_NODISCARD int tool_read_items(const struct options *o, struct items *a, struct ptl_error *err);
PTL_NODISCARD int tool_read_file_items(const char *path, bool only_learn, struct items *a,
                                       struct ptl_error *err);
/* Cases made of the knowledge itself: -ENOMEM. */
PTL_NODISCARD int tool_add_entries(struct items *a, const json_t *doc, double weight);
PTL_NODISCARD int tool_add_indicators(struct items *a, const json_t *doc, double weight);
bool tool_is_made(const struct item *it); /* by those two: nothing to try it on */
/* One case an item, in their order; tool_cases_done() in any case. */
PTL_NODISCARD int tool_make_cases(const struct ptl_kb *kb, const struct items *a, struct ptl_kb_case **ret,
                                  struct ptl_error *err);
void tool_cases_done(struct ptl_kb_case *c, size_t n);
int tool_item_fold(const struct item *it, int folds);
/* From all cases but those of a fold (-1: none is left out) and, if so wanted, those of the house. `own`: see
 * hold_out(). Caller frees *model. */
PTL_NODISCARD int tool_train_without(const struct options *o, const struct items *a,
                                     const struct ptl_kb_case *all, const json_t *own, int fold,
                                     bool with_house, void **model, size_t *len, struct ptl_error *err);

/* ---- verbs */
int tool_compile(const struct options *o, struct ptl_error *err);
int tool_diagnose(const struct options *o, struct ptl_error *err); /* tool_log.c */
int tool_files(const struct options *o, struct ptl_error *err);    /* matches, speed: tool_log.c */
int tool_cases(const struct options *o, struct ptl_error *err);    /* train, predict, crossval */
int tool_compare(const struct options *o, struct ptl_error *err);  /* tool_house.c */
#endif
