/* kb.h - what the commands about the knowledge base share. */
#ifndef PTL_CLI_KB_H
#define PTL_CLI_KB_H
#include "cli.h"

/* An indicator or a challenge, whichever has this id. 0 or an exit code. */
PTL_NODISCARD int cli_kb_object(struct cli *c, const char *id, json_t **ret, bool *ret_is_indicator);
/* A YAML file, or standard input for "-". */
PTL_NODISCARD int cli_kb_read_yaml(struct cli *c, const char *file, json_t **ret);
/* The i-th object of a file: of its list, or the document itself. *ret_n: how many. */
const json_t *cli_kb_objects(const json_t *doc, size_t i, size_t *ret_n);
#endif
