/* kb_tool.h - calls of portolan-kb, the program with the knowledge and Vectorscan in it. */
#ifndef PTL_CLI_KB_TOOL_H
#define PTL_CLI_KB_TOOL_H
#include "cli.h"

struct cli_kb_call {
    const char *argv[CLI_ARGS_MAX + 40]; /* borrowed */
    size_t n;
};
void cli_kb_add(struct cli_kb_call *k, const char *word);
void cli_kb_add_option(struct cli_kb_call *k, const char *name, const char *value); /* value NULL: nothing */
/* In place of this process: what it prints and how it ends is the answer. Returns only when it cannot. */
int cli_kb_become(struct cli *c, const struct cli_kb_call *k);
/* As a child: its standard output as JSON. 0 or an exit code. */
PTL_NODISCARD int cli_kb_ask(struct cli *c, const struct cli_kb_call *k, json_t **ret);

/* What the server knows, into files. 0 or an exit code. */
PTL_NODISCARD int cli_kb_export_to(struct cli *c, const char *dir, size_t *ret_files, size_t *ret_written);
PTL_NODISCARD int cli_kb_cases_to(struct cli *c, const char *file); /* JSON lines; "-": standard output */
/* Puts a text model in force at the server. */
PTL_NODISCARD int cli_kb_model_put(struct cli *c, const char *file, int64_t cases, json_t **ret);
#endif
