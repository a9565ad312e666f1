/* watch.h - following a run to its end, for run watch, run start and run rerun. */
#ifndef PTL_CLI_WATCH_H
#define PTL_CLI_WATCH_H
#include "cli.h"

/* Returns an exit code: with exit_status CLI_FAILED unless the run ends green, else CLI_OK once it has ended.
 */
PTL_NODISCARD int cli_watch_run(struct cli *c, int64_t id, int64_t retry_ms, bool exit_status);
/* Head, table, and what is known about red stages. */
void cli_print_run(struct cli *c, const json_t *run);
#endif
