/* fetch.h - one file by its SHA-256. */
#ifndef PTL_CLI_FETCH_H
#define PTL_CLI_FETCH_H
#include "cli.h"

/* {"path","sha256","exec"} → dir/path. The path must be safe and no directory on the way may be a link; a
 * file that is there with the right bytes is kept. An exit code. */
PTL_NODISCARD int cli_fetch_file(struct cli *c, const char *dir, const json_t *file);
#endif
