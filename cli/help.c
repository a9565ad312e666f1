/* help.c - help texts and the manual page, made from the table. Pure. */
#include "cli.h"

static const struct {
    int code;
    const char *what;
} exits[] = {
    {CLI_OK,        "done; green"                                                                         },
    {CLI_FAILED,
     "the run or stage is not green, the file does not pass, or a local file could not be read or written"},
    {CLI_USAGE,     "the command line, or a value that the server refused"                                },
    {CLI_UNREACHED, "the server cannot be reached, is not trusted, is busy, or the token may not do this" },
    {CLI_ABSENT,    "there is no such thing"                                                              },
    {CLI_CONFLICT,  "it exists already, or its state does not allow this"                                 },
};

static const char ids[] =
    "RUN is a run's id (12), #3 with --project, or project#3. STAGE is a stage's id or RUN/STAGE (12/verify/android). "
    "ATTEMPT is an attempt's id, RUN/STAGE for its latest attempt, or RUN/STAGE@2 for its second.";

static void wrapped(struct ptl_buf *b, const char *text, size_t indent, size_t column)
{
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column + n > 96 && column > indent) {
            b->data[--b->len] = 0; /* the blank before */
            ptl_buf_printf(b, "\n%*s", (int)indent, "");
            column = indent;
        }
        ptl_buf_add(b, text, n);
        column += n;
        text += n;
        if (*text) {
            ptl_buf_putc(b, ' ');
            column++;
            text++;
        }
    }
    ptl_buf_putc(b, '\n');
}

static void usage_of(struct ptl_buf *b, const struct cli_command *c)
{
    ptl_buf_puts(b, c->words);
    for (size_t i = 0; i < PTL_ARRAY_LEN(c->args) && c->args[i].name; i++)
        ptl_buf_printf(b, c->args[i].optional ? " [%s%s]" : " %s%s",
                       c->args[i].choices ? c->args[i].choices : c->args[i].name,
                       c->args[i].many ? "..." : "");
}

static void option_line(struct ptl_buf *b, const struct cli_option *o)
{
    size_t before = b->len;
    if (o->letter)
        ptl_buf_printf(b, "  -%c, --%s", o->letter, o->name);
    else
        ptl_buf_printf(b, "      --%s", o->name);
    if (o->value)
        ptl_buf_printf(b, " %s", o->value);
    size_t used = b->len - before;
    if (used >= 30) {
        ptl_buf_putc(b, '\n');
        used = 0;
    }
    ptl_buf_printf(b, "%*s", (int)(30 - used), "");
    PTL_FREE char *help = ptl_xasprintf("%s%s", o->help, o->many ? " (may be repeated)" : "");
    wrapped(b, help, 30, 30);
}

static void list_command(struct ptl_buf *b, const struct cli_command *c)
{
    size_t before = b->len;
    ptl_buf_puts(b, "  ");
    usage_of(b, c);
    size_t used = b->len - before;
    if (used >= 36) {
        ptl_buf_putc(b, '\n');
        used = 0;
    }
    ptl_buf_printf(b, "%*s", (int)(36 - used), "");
    wrapped(b, c->summary, 36, 36);
}

static void help_all(struct ptl_buf *b)
{
    ptl_buf_puts(
        b,
        "portolan " PTL_VERSION
        ": models from a git push to a server, a phone and a browser\n\nusage: portolan NOUN VERB [OPTIONS]\n\n");
    for (size_t i = 0; i < cli_commands_count; i++)
        list_command(b, &cli_commands[i]);
    ptl_buf_puts(b, "\nEverywhere:\n");
    for (const struct cli_option *o = cli_globals; o->name; o++)
        option_line(b, o);
    ptl_buf_putc(b, '\n');
    wrapped(b, ids, 0, 0);
    ptl_buf_puts(b, "\nExit codes:\n");
    for (size_t i = 0; i < PTL_ARRAY_LEN(exits); i++)
        ptl_buf_printf(b, "  %d  %s\n", exits[i].code, exits[i].what);
    ptl_buf_puts(b, "\nportolan COMMAND --help tells more.\n");
}

static void help_command(struct ptl_buf *b, const struct cli_command *c)
{
    ptl_buf_puts(b, "usage: portolan ");
    usage_of(b, c);
    ptl_buf_printf(b, "%s\n\n", c->options ? " [OPTIONS]" : "");
    wrapped(b, c->summary, 0, 0);
    if (c->detail) {
        ptl_buf_putc(b, '\n');
        wrapped(b, c->detail, 0, 0);
    }
    if (c->options)
        ptl_buf_puts(b, "\nOptions:\n");
    for (const struct cli_option *o = c->options; o && o->name; o++)
        option_line(b, o);
    for (size_t i = 0; i < PTL_ARRAY_LEN(c->args) && c->args[i].name; i++)
        if (ptl_str_eq(c->args[i].name, "RUN") || ptl_str_eq(c->args[i].name, "ATTEMPT") ||
            ptl_str_eq(c->args[i].name, "STAGE")) {
            ptl_buf_putc(b, '\n');
            wrapped(b, ids, 0, 0);
            break;
        }
    ptl_buf_puts(
        b,
        "\nOptions that every command has: --server, --token-file, --ca-file, --json, --quiet (portolan help).\n");
}

void cli_help(struct ptl_buf *b, const char *words)
{
    size_t n = strlen(words);
    if (n == 0) {
        help_all(b);
        return;
    }
    for (size_t i = 0; i < cli_commands_count; i++)
        if (ptl_str_eq(cli_commands[i].words, words)) {
            help_command(b, &cli_commands[i]);
            return;
        }
    ptl_buf_printf(b, "portolan %s: %s\n\n", words, cli_noun_summary(words) ? cli_noun_summary(words) : "");
    for (size_t i = 0; i < cli_commands_count; i++)
        if (strncmp(cli_commands[i].words, words, n) == 0 && cli_commands[i].words[n] == ' ')
            list_command(b, &cli_commands[i]);
}

/* ---- the manual page ---- */

static void roff(struct ptl_buf *b, const char *text)
{
    bool line_start = b->len == 0 || b->data[b->len - 1] == '\n';
    for (const char *p = text; *p; p++) {
        if (line_start && (*p == '.' || *p == '\''))
            ptl_buf_puts(b, "\\&");
        line_start = *p == '\n';
        if (*p == '\\')
            ptl_buf_puts(b, "\\e");
        else if (*p == '-')
            ptl_buf_puts(b, "\\-");
        else if ((unsigned char)p[0] == 0xe2 && (unsigned char)p[1] == 0x80 && (unsigned char)p[2] == 0xa6) {
            ptl_buf_puts(b, "...");
            p += 2;
        } else
            ptl_buf_putc(b, *p);
    }
}

static void man_option(struct ptl_buf *b, const struct cli_option *o)
{
    ptl_buf_puts(b, ".TP\n");
    if (o->letter)
        ptl_buf_printf(b, "\\fB\\-%c\\fR, ", o->letter);
    PTL_FREE char *name = ptl_xasprintf("--%s", o->name);
    ptl_buf_puts(b, "\\fB");
    roff(b, name);
    ptl_buf_puts(b, "\\fR");
    if (o->value) {
        ptl_buf_puts(b, " \\fI");
        roff(b, o->value);
        ptl_buf_puts(b, "\\fR");
    }
    ptl_buf_putc(b, '\n');
    roff(b, o->help);
    ptl_buf_printf(b, "%s.\n", o->many ? " (may be repeated)" : "");
}

static void man_command(struct ptl_buf *b, const struct cli_command *c)
{
    PTL_BUF usage = PTL_BUF_INIT;
    usage_of(&usage, c);
    ptl_buf_puts(b, ".SS \"portolan ");
    roff(b, ptl_buf_str(&usage));
    ptl_buf_puts(b, "\"\n");
    PTL_FREE char *summary = ptl_xasprintf("%s.", c->summary);
    roff(b, summary);
    ptl_buf_putc(b, '\n');
    if (c->detail) {
        roff(b, c->detail);
        ptl_buf_putc(b, '\n');
    }
    for (const struct cli_option *o = c->options; o && o->name; o++)
        man_option(b, o);
}

void cli_man(struct ptl_buf *b)
{
    ptl_buf_puts(
        b,
        ".TH PORTOLAN 1 \"\" \"portolan " PTL_VERSION
        "\" \"User Commands\"\n.SH NAME\nportolan \\- take models from a git push to a server, a phone and a browser\n"
        ".SH SYNOPSIS\n.B portolan\n.I NOUN VERB\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n"
        "The command line of Portolan, over the API of a running\n.BR portoland .\n"
        "Results go to standard output, remarks and errors to standard error. Tables are aligned and coloured on a terminal only; NO_COLOR is honoured. Times are local.\n.PP\n");
    roff(b, ids);
    ptl_buf_puts(b, "\n.SH COMMANDS\n");
    for (size_t i = 0; i < cli_commands_count; i++)
        man_command(b, &cli_commands[i]);
    ptl_buf_puts(b, ".SH \"OPTIONS OF EVERY COMMAND\"\n");
    for (const struct cli_option *o = cli_globals; o->name; o++)
        man_option(b, o);
    ptl_buf_puts(b, ".SH \"EXIT STATUS\"\n");
    for (size_t i = 0; i < PTL_ARRAY_LEN(exits); i++) {
        ptl_buf_printf(b, ".TP\n.B %d\n", exits[i].code);
        roff(b, exits[i].what);
        ptl_buf_puts(b, ".\n");
    }
    ptl_buf_puts(
        b,
        ".SH ENVIRONMENT\n"
        ".TP\n.BR PORTOLAN_SERVER \", \" PORTOLAN_TOKEN \", \" PORTOLAN_TOKEN_FILE \", \" PORTOLAN_CA_FILE\nas the options; an option counts for more, the configuration file for less.\n"
        ".TP\n.B PORTOLAN_PROJECT\nthe project when none is named.\n"
        ".TP\n.B PORTOLAN_RECIPES\nfolder of recipes for lint and exec.\n"
        ".TP\n.B NO_COLOR\nno colours when it is not empty.\n"
        ".SH FILES\n.TP\n.I $XDG_CONFIG_HOME/portolan/config\nserver, token\\-file and ca\\-file as `name = value' lines; written by portolan login; mode 0600.\n"
        ".TP\n.I .portolan.yml\nthe pipeline file of a repository.\n.SH \"SEE ALSO\"\n.BR portoland (8),\n.BR portolan\\-agent (8)\n");
}
