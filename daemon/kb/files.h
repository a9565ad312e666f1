/* files.h - between the knowledge in the tables and files that people read, review and keep in git: what a
 * folder holds and the tables do not, and the folder that says what the tables hold. Pure; any thread.
 *
 * Files go back as the bytes they came as: a file is only written anew where an object in it is another now,
 * and then only that object's lines.
 *
 * "state" is what the tables hold:
 * {"indicators":{ID:{"data","revision","retired":bool,"by_person":bool}},   by_person: a person retired it
 *  "entries":{NODE:{"entry","shipped","revision"}},                         shipped null: none ships
 *  "files":{PATH:TEXT}}                                                     files that were imported, as they
 * came */
#ifndef PTL_KB_FILES_H
#define PTL_KB_FILES_H
#include "data.h"
#include <portolan/buf.h>

enum { PTL_KB_IMPORT_FILES_MAX = 500, PTL_KB_IMPORT_CHANGES_MAX = 450 };

/* One object as YAML the way people write it: keys in the order of FORM.md, what is default left out. Caller
 * frees. */
char *ptl_kb_indicator_yaml(const json_t *data);
char *ptl_kb_entry_yaml(const json_t *entry);
/* Lines of `a` (NULL: nothing) that are not in `b` with '-', of `b` not in `a` with '+', three around them
 * with ' '; appended. Texts of more than 2000 lines are all taken away and all put there. */
void ptl_kb_diff(const char *a, const char *b, struct ptl_buf *ret);

/* What `files` ([{"path","text"}…]) would change: *ret = {"indicators":[{"id","data","revision" (0: new)}…],
 * "entries":[{"id","entry" (null: as shipped again),"revision"}…], "retire":[ids], "keep":[{"path","text"}…],
 * "forget":[paths], "unchanged":N objects, "skipped":["PATH: why"…]}.
 * -EINVAL with every problem as "FILE: OBJECT: sentence": nothing may be changed then. */
PTL_NODISCARD int ptl_kb_files_plan(const json_t *doc, const struct ptl_kb_files *shipped,
                                    const json_t *files, const json_t *state, json_t *problems, json_t **ret);
/* The folder: *ret = [{"path","text"} or {"path","base64"}…] in byte order of path. */
PTL_NODISCARD int ptl_kb_files_make(const json_t *doc, const struct ptl_kb_files *shipped,
                                    const json_t *state, json_t **ret);
#endif
