/* yamljson.h - a small YAML file (recipe.yml, toolchain.yml) as JSON. Plain scalars take the types of the
 * YAML 1.2 core schema; duplicate keys, aliases, tags and a second document are refused with file, line and
 * column. Blocking; any thread. */
#ifndef PTL_AGENT_YAML_H
#define PTL_AGENT_YAML_H
#include <portolan/json.h>

/* At most 1 MiB. 0 with *ret (caller's), or negative with "path:line:column: …". */
PTL_NODISCARD int ptl_yaml_load(const char *path, json_t **ret, struct ptl_error *err);
/* The same from memory; `what` names the text in errors. */
PTL_NODISCARD int ptl_yaml_parse(const char *text, size_t len, const char *what, json_t **ret,
                                 struct ptl_error *err);
#endif
