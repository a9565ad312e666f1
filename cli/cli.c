/* cli.c - one call of the command from argv to the exit code, and how handlers read what was asked for and
 * speak. Results go to stdout, everything else to stderr. */
#include "cli.h"
#include <locale.h>
#include <portolan/http.h>
#include <portolan/log.h>
#include <signal.h>
#include <sys/ioctl.h>

const char *cli_arg(const struct cli *c, size_t i)
{
    return i < c->asked.n_args ? c->asked.args[i] : NULL;
}

const char *cli_text(const struct cli *c, const char *option)
{
    const struct cli_set *s = cli_asked_get(&c->asked, option);
    return s ? s->text : NULL;
}

const char *cli_texts(const struct cli *c, const char *option, size_t i)
{
    for (size_t k = 0; k < c->asked.n_set; k++)
        if (ptl_str_eq(c->asked.set[k].option->name, option) && i-- == 0)
            return c->asked.set[k].text;
    return NULL;
}

bool cli_flag(const struct cli *c, const char *option)
{
    return cli_asked_get(&c->asked, option) != NULL;
}

int64_t cli_int(const struct cli *c, const char *option, int64_t dflt)
{
    const struct cli_set *s = cli_asked_get(&c->asked, option);
    return s ? s->number : dflt;
}

static void say(struct cli *c, const char *prefix, const char *fmt, va_list ap) PTL_PRINTF(3, 0);
static void say(struct cli *c, const char *prefix, const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    fflush(c->out);                                   /* the order in which a person reads both */
    for (char *line = text, *end; line; line = end) { /* sentences may quote what came from outside */
        end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        PTL_FREE char *clean = cli_clean(line);
        fprintf(c->err, "%s%s\n", prefix, clean);
        prefix = "";
    }
    free(text);
}

int cli_fail(struct cli *c, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c, "portolan: ", fmt, ap);
    va_end(ap);
    return code;
}

void cli_warn(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c, "portolan: warning: ", fmt, ap);
    va_end(ap);
}

void cli_note(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    if (c->quiet)
        return;
    va_start(ap, fmt);
    say(c, "", fmt, ap);
    va_end(ap);
}

void cli_print(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(c->out, fmt, ap);
    va_end(ap);
}

void cli_print_buf(struct cli *c, const struct ptl_buf *b)
{
    fwrite(ptl_buf_str(b), 1, b->len, c->out);
}

void cli_print_diff(struct cli *c, const char *diff)
{
    struct cli_log_filter filter = {0};
    PTL_BUF text = PTL_BUF_INIT;
    if (!diff)
        return;
    ptl_buf_putc(&text, '\n');
    cli_log_clean(&filter, diff, strlen(diff), &text);
    cli_print_buf(c, &text);
}

int cli_print_json(struct cli *c, const json_t *j)
{
    json_dumpf(j, c->out, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', c->out);
    return 0;
}

static void look_at_terminal(struct cli *c)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM"), *columns = getenv("COLUMNS");
    struct winsize w = {0};
    c->out_tty = isatty(fileno(c->out));
    c->color = c->out_tty && !(no_color && *no_color) && !ptl_str_eq(term, "dumb");
    if (!c->out_tty)
        return;
    (void)!ioctl(fileno(c->out), TIOCGWINSZ, &w);
    c->height = w.ws_row ? w.ws_row : 24;
    c->width = columns ? atoi(columns) : 0;
    if (c->width <= 0)
        c->width = w.ws_col;
    if (c->width <= 0)
        c->width = 80;
    else if (c->width < 40)
        c->width = 40;
}

static int show_help(const char *words, FILE *to)
{
    PTL_BUF b = PTL_BUF_INIT;
    cli_help(&b, words);
    fwrite(ptl_buf_str(&b), 1, b.len, to);
    return 0;
}

static int run(struct cli *c, int argc, const char *const *argv)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int r = cli_parse(argc, argv, &c->asked, &err);
    c->json = cli_flag(c, "json");
    c->quiet = cli_flag(c, "quiet");
    if (r)
        return cli_fail(c, r, "%s", err.text);
    if (c->asked.version) {
        cli_print(c, "portolan " PTL_VERSION "\n");
        return 0;
    }
    if (c->asked.help)
        return show_help(c->asked.words, c->out);
    if (!c->asked.command) {
        show_help(c->asked.words, c->err);
        return CLI_USAGE;
    }
    return c->asked.command->run(c);
}

int cli_main(int argc, const char *const *argv, FILE *out, FILE *err)
{
    struct cli c = {.out = out, .err = err};
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* numbers in requests and tables keep their point */
    if (MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN);
    ptl_log_init("portolan");
    ptl_http_global_init();
    look_at_terminal(&c);
    int r = run(&c, argc, argv);
    if ((fflush(out) != 0 || ferror(out)) && errno != EPIPE) /* a reader such as head may leave */
        r = cli_fail(&c, CLI_FAILED, "standard output could not be written: %s", strerror(errno));
    ptl_client_free(c.client);
    if (c.token)
        explicit_bzero(c.token, strlen(c.token));
    free(c.server);
    free(c.token);
    free(c.ca_file);
    free(c.token_origin);
    return r;
}
