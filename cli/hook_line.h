/* hook_line.h - one line that git gives to a post-receive hook. Pure. */
#ifndef PTL_CLI_HOOK_LINE_H
#define PTL_CLI_HOOK_LINE_H
#include <portolan/base.h>

struct cli_hook_update {
    char before[65], after[65], ref[1024]; /* 40 or 64 hex digits; zeros for none */
};
/* "old new ref[\n]". 0, or -EINVAL with *ret untouched. */
PTL_NODISCARD int cli_hook_line(const char *line, struct cli_hook_update *ret);
#endif
