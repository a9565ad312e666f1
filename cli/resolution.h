/* resolution.h - how a past fix is shown, in `resolution show` and in `why`. */
#ifndef CLI_RESOLUTION_H
#define CLI_RESOLUTION_H
#include "cli.h"
/* A few lines, each after `indent`. */
void cli_put_resolution(struct ptl_buf *b, const json_t *resolution, const char *indent, bool color);
#endif
