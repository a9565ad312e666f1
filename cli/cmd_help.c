/* cmd_help.c - portolan help, completion: both from the table of commands. */
#include "cli.h"

int cli_cmd_help(struct cli *c)
{
    PTL_BUF b = PTL_BUF_INIT, words = PTL_BUF_INIT;
    if (cli_flag(c, "man")) {
        cli_man(&b);
        cli_print_buf(c, &b);
        return 0;
    }
    for (size_t i = 0; i < c->asked.n_args; i++)
        ptl_buf_printf(&words, "%s%s", i ? " " : "", c->asked.args[i]);
    if (words.len) { /* the parser knows whether there is such a command, and the nearest one */
        const char *argv[CLI_ARGS_MAX + 3] = {"portolan"};
        struct cli_asked asked;
        struct ptl_error err = PTL_ERROR_INIT;
        int argc = 1;
        for (size_t i = 0; i < c->asked.n_args; i++)
            argv[argc++] = c->asked.args[i];
        argv[argc++] = "--help";
        if (cli_parse(argc, argv, &asked, &err))
            return cli_fail(c, CLI_USAGE, "%s", err.text);
        cli_help(&b, asked.words);
    } else {
        cli_help(&b, "");
    }
    cli_print_buf(c, &b);
    return 0;
}

int cli_cmd_completion(struct cli *c)
{
    PTL_BUF b = PTL_BUF_INIT;
    if (cli_completion(&b, cli_arg(c, 0)) < 0)
        return cli_fail(c, CLI_USAGE, "completion: expected bash, zsh or fish");
    cli_print_buf(c, &b);
    return 0;
}
