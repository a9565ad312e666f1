/* label.h - the node that a person's words for a category mean. Pure; any thread. */
#ifndef PTL_KB_LABEL_H
#define PTL_KB_LABEL_H
#include <portolan/json.h>

/* `nodes`: [{"id","parent","title"}…]. `label` as people write it, "inner - leaf" or one of the two: case,
 * endings, small words, separators and a slip of the pen do not matter ("enviroment - install/building
 * frameworks"). Below the root `platform` only. Returns the id, borrowed from `nodes`; NULL when nothing is
 * near enough or two are as near. */
const char *ptl_kb_label_node(const json_t *nodes, const char *platform, const char *label);
#endif
