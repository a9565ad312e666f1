/* workdir.h - attempt directories made on this machine, and the agent's program at work in one (see the stage
 * contract: job.json, src/, inputs/, then outputs/, log, result.json). For exec and reproduce. */
#ifndef PTL_CLI_WORKDIR_H
#define PTL_CLI_WORKDIR_H
#include "cli.h"

/* "secrets" of a job from --secret NAME and the environment. An exit code. */
PTL_NODISCARD int cli_job_secrets(struct cli *c, json_t *job);
/* Copies a tree of regular files and inner links. */
PTL_NODISCARD int cli_copy_tree(struct cli *c, const char *from, const char *to);
/* Path of portolan-agent: $PORTOLAN_AGENT, beside this program, in PATH. NULL after having said so. Caller
 * frees. */
char *cli_agent_program(struct cli *c);
/* Runs `portolan-agent attempt DIR` to its end, showing the log as it grows with `prefix` on stderr unless
 * --quiet. 0 with *ret_result (result.json, caller's); an exit code when there is none. Ctrl-C stops the
 * attempt and waits for it: *ret_interrupted. `limit_ms` bounds the wait. */
PTL_NODISCARD int cli_attempt_run(struct cli *c, const char *agent, const char *dir, const char *prefix,
                                  int64_t limit_ms, json_t **ret_result, bool *ret_interrupted);
/* The last lines of DIR/log, cleaned and indented: what a red stage said. */
void cli_log_tail(struct ptl_buf *b, const char *dir, int width);
#endif
