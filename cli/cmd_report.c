/* cmd_report.c - portolan report. */
#include "cli.h"

int cli_cmd_report(struct cli *c)
{
    PTL_JSON *report = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    int64_t id;
    int r = cli_attempt_id(c, cli_arg(c, 0), &id);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/attempts/%lld/report", (long long)id);
    r = cli_get(c, path, &report);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, report);
    cli_show_report(&b, report, c->width, c->color);
    cli_print_buf(c, &b);
    return 0;
}
