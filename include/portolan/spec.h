/* spec.h - the pipeline file .portolan.yml: text in, a normalised plan out, every fault with its place. Pure
 * but for ptl_spec_init(), which looks at a folder. Any thread; a parsed spec is never changed. */
#ifndef PORTOLAN_SPEC_H
#define PORTOLAN_SPEC_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <portolan/json.h>

#define PTL_SPEC_FILE_NAME ".portolan.yml"
enum { /* what is refused above */
       PTL_SPEC_MAX_BYTES = 1 << 20,
       PTL_SPEC_MAX_NODES = 20000, /* scalars, maps and lists, aliases counted as what they stand for */
       PTL_SPEC_MAX_DEPTH = 32,
       PTL_SPEC_MAX_STAGES = 500,
       PTL_SPEC_MAX_DIAGS = 50,
};

/* One finding. Lines and columns count from 1; columns count characters. */
struct ptl_spec_diag {
    unsigned line, column;
    bool is_warning;
    char *key;      /* "targets.web.verify.expct"; "" for the file itself */
    char *message;  /* "unknown key" */
    char *expected; /* "one of uses, run, with …"; may be NULL */
    char *nearest;  /* the right spelling, may be NULL */
};
struct ptl_spec_diags {
    char *file;
    struct ptl_spec_diag *list; /* in order of place */
    size_t n, errors;
    bool cut; /* more than PTL_SPEC_MAX_DIAGS, the rest was left out */
};
#define PTL_SPEC_DIAGS_INIT                                                                                  \
    {                                                                                                        \
        0                                                                                                    \
    }
void ptl_spec_diags_done(struct ptl_spec_diags *d);
/* "FILE:LINE:COLUMN: KEY: MESSAGE; expected …; did you mean 'x'?" one a line. Caller frees; never NULL. */
char *ptl_spec_diags_text(const struct ptl_spec_diags *d);
/* [{"file","line","column","severity":"error|warning","key","message","expected"|null,"nearest"|null}…];
 * caller's. */
json_t *ptl_spec_diags_json(const struct ptl_spec_diags *d);

struct ptl_spec; /* opaque */

/* 0 with *ret (caller's; diags may hold warnings); -EINVAL with at least one error in `diags`; -ENOMEM.
 * `diags` must be initialised and is emptied first; release with ptl_spec_diags_done() in every case. */
PTL_NODISCARD int ptl_spec_parse(const char *text, size_t len, const char *filename, struct ptl_spec **ret,
                                 struct ptl_spec_diags *diags);
struct ptl_spec *ptl_spec_free(struct ptl_spec *s); /* NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_spec, ptl_spec_free)

/* The plan, borrowed:
 * {"version":1,"model","name"|null,
 *  "on":{"push":{"branches":[globs],"tags":[globs],"paths":[globs]}|null,"manual":bool,"schedule":[{"cron","branch"|null}]},
 *  "concurrency":{"group"|null,"queue":"all|latest","cancel_in_progress":bool},
 *  "stages":[{"name":"verify/android[backend=cpu]","kind","target"|null,"host","uses"|"run":[lines],"toolchain"|null,
 *    "with":{},"env":{},"secrets":[],"labels":[],"needs":[names],"timeout_ms","queue_timeout_ms","total_timeout_ms",
 *    "grace_ms","retry":{"max","when":["agent_lost","setup","transient",…]},"network":bool,"outputs":[paths],
 *    "expect":{},"precision","manual":bool,"allow_failure":bool,"matrix":{axis:value},
 *    "model_from":"convert/…"|"export"|null,     the stage whose model/ files become inputs/model
 *    "model_uses":{"uses","with"}|null}…]}       that stage's recipe: its precision map decides precision
 * "auto" Stages are in topological order. A stage with `run` has shell command lines, run in order by one `sh
 * -e`. `expect` is as compare reads it: budgets under the metric's name, in ms and bytes (latency_p95_ms,
 * artifact_bytes). In "on"."push", an empty list of branches and of tags means every ref; see
 * ptl_spec_on_push(). */
const json_t *ptl_spec_plan(const struct ptl_spec *s);

/* Does a push of `ref` (refs/heads/…, refs/tags/…) start a run? As CI users know it: with only `branches`
 * named, tags do not start; with only `tags`, branches do not; neither: both do. `!glob` takes away again,
 * the last glob that matches decides. Path filters look at branches only, and not when changed_paths is NULL
 * (unknown: a new branch). *ret_why_not (may be NULL) gets a static sentence when false. */
bool ptl_spec_on_push(const struct ptl_spec *s, const char *ref, const char *const *changed_paths,
                      size_t n_paths, const char **ret_why_not);
/* The concurrency group for a run of `ref`: ${{ ref }} and ${{ branch }} filled in (the short name), lower
 * case, since names of groups are compared without case. NULL: no group. Caller frees. */
char *ptl_spec_group(const struct ptl_spec *s, const char *ref);
/* [skip ci], [ci skip], [no ci], [skip portolan] anywhere in the message, in any case. */
bool ptl_commit_message_skips(const char *message);

/* Checks `uses`, `with` and the stage's kind against known recipes (an array of recipe.yml as JSON) and adds
 * to diags. 0, or -EINVAL when there are errors. */
PTL_NODISCARD int ptl_spec_check_recipes(const struct ptl_spec *s, const json_t *recipes,
                                         struct ptl_spec_diags *diags);

/* The JSON Schema (draft 2020-12) of the pipeline file, from the same table as the parser. Caller's. */
json_t *ptl_spec_schema(void);

/* A starting pipeline file for the repository at repo_dir: looks for models and training or export scripts,
 * comments what it found, and passes ptl_spec_parse(). 0 with ret_yaml appended to; negative for I/O. */
PTL_NODISCARD int ptl_spec_init(const char *repo_dir, struct ptl_buf *ret_yaml, struct ptl_error *err);

/* Any YAML of the house's own (recipe.yml, toolchain.yml) as JSON, under the same bounds: plain true/false,
 * numbers and null are typed (a number that would not print the same again, such as 3.10, stays text), quoted
 * text is text. Duplicate keys, tags and second documents are refused. -EINVAL with "what:LINE:COLUMN: …". */
PTL_NODISCARD int ptl_yaml_parse(const char *text, size_t len, const char *what, json_t **ret,
                                 struct ptl_error *err);
/* The other way: appends what ptl_yaml_parse() reads back to the same. Short maps and lists stand on one
 * line, others in blocks that begin at column `indent`; `item`: as an item of a list ("- " before it). U+0000
 * does not occur. 0, or -E2BIG (deeper than PTL_SPEC_MAX_DEPTH, or more than the buffer takes). */
PTL_NODISCARD int ptl_yaml_write(const json_t *j, int indent, bool item, struct ptl_buf *ret);
#endif
