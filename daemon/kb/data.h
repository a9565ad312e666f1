/* data.h - the files of migrations/kb/ (or a user's own) as one checked JSON document. Pure; any thread. The
 * form and its rules: migrations/kb/FORM.md. */
#ifndef PTL_KB_DATA_H
#define PTL_KB_DATA_H
#include <portolan/json.h>

struct ptl_kb_file {
    const char *path; /* "taxonomy/deployment.yml"; the first part decides what it must hold */
    const char *text;
    size_t len;
};
struct ptl_kb_files {
    const struct ptl_kb_file *v; /* in byte order of path */
    size_t n;
};
/* What was in migrations/kb/ when this program was built; files that are not YAML too (model/…). */
extern const struct ptl_kb_files ptl_kb_files_builtin;
/* NULL: there is none of that path. */
const struct ptl_kb_file *ptl_kb_file_find(const struct ptl_kb_files *files, const char *path);

/* 0 and *ret (caller's):
 * {"version":1,"hash":"<64 hex over the files>",
 *  "nodes":[{"id","taxonomy":"deployment|job-failures|faults","kind":"root|inner|leaf","parent"|null,"title",
 * and what the file says}…], "links":[{"from","to","why"}…], "entries":[…as in the form…], "indicators":[…as
 * in the form, every optional key filled in…]} -EINVAL and every problem found as "FILE: OBJECT: sentence"
 * appended to `problems` (an array), *ret untouched; -ENOMEM. Files outside taxonomy/, entries/, indicators/
 * and model/params.yml are left alone. */
PTL_NODISCARD int ptl_kb_data_read(const struct ptl_kb_files *files, json_t *problems, json_t **ret);

/* One indicator by itself, as a user adds it: checked against the nodes of `doc`, optional keys filled in.
 * -EINVAL with problems. */
PTL_NODISCARD int ptl_kb_indicator_check(const json_t *doc, const char *where, const json_t *indicator,
                                         json_t *problems, json_t **ret);
/* One entry by itself, as a curator edits it: likewise. */
PTL_NODISCARD int ptl_kb_entry_check(const json_t *doc, const char *where, const json_t *entry,
                                     json_t *problems, json_t **ret);
/* Is `version` within `range` (">=1.2", "<2.0 >=1.15", "2.*", "==1.4"; several parts: all of them)? Digits
 * and dots compared as numbers; what is no version is within. */
bool ptl_kb_version_in(const char *version, const char *range);
/* May model/params.yml set this number of the weighing? (score.c) */
bool ptl_kb_param_known(const char *name);
#endif
