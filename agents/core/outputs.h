/* outputs.h - what a stage left under outputs/: declared files are there, nothing is a link, everything has a
 * digest. The tree was written by somebody else's code; nothing in it is followed or opened that is not a
 * plain file. Blocking. */
#ifndef PTL_AGENT_OUTPUTS_H
#define PTL_AGENT_OUTPUTS_H
#include <portolan/json.h>

/* Removes links and other things that are not plain files; each gets a sentence in `warnings` (array). */
PTL_NODISCARD int ptl_outputs_clean(const char *dir, json_t *warnings, struct ptl_error *err);
/* 0 when every path of `declared` (array of strings; may hold * and **; NULL ok) names a file, or a folder
 * with a file in it. -ENOENT names what is missing and what is there instead. */
PTL_NODISCARD int ptl_outputs_check(const char *dir, const json_t *declared, struct ptl_error *err);
/* Number of files below dir/sub; 0 when there is no such folder. */
size_t ptl_outputs_count(const char *dir, const char *sub);
/* [{"path","sha256","size_bytes","exec"}] of every file, in byte order of the paths. *ret_bytes: sum of sizes
 * below model/. */
PTL_NODISCARD int ptl_outputs_list(const char *dir, json_t **ret, uint64_t *ret_model_bytes,
                                   struct ptl_error *err);
#endif
