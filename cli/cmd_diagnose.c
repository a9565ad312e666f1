/* cmd_diagnose.c - portolan diagnose, kb compile: the knowledge base on this machine, without a server.
 *
 * The work is done by portolan-kb, which carries the knowledge and Vectorscan: this command stays small for
 * everything else, and hundreds of diagnoses in a row pay for one exec and one mapped file each. It is looked
 * for in $PORTOLAN_KB_TOOL, in the build tree, beside this program, and where it was installed. */
#include "kb_tool.h"
#include <fcntl.h>
#include <limits.h>
#include <portolan/client.h>
#include <portolan/fs.h>
#include <portolan/proc.h>

#ifndef PTL_LIBEXECDIR
#define PTL_LIBEXECDIR "libexec"
#endif
enum { ANSWER_MAX = 16 << 20, ARGS_MAX = PTL_ARRAY_LEN(((struct cli_kb_call *)0)->argv) };

static char *find_tool(void)
{
    static const char *const places[] = {"/../daemon/kb/portolan-kb",
                                         "/../" PTL_LIBEXECDIR "/portolan/portolan-kb", "/portolan-kb"};
    const char *named = getenv("PORTOLAN_KB_TOOL");
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (named && *named)
        return ptl_xstrdup(named);
    if (n <= 0)
        return NULL;
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        char *path = ptl_xasprintf("%s%s", exe, places[i]);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

void cli_kb_add(struct cli_kb_call *k, const char *word)
{
    if (k->n < ARGS_MAX - 1)
        k->argv[k->n++] = word;
}

void cli_kb_add_option(struct cli_kb_call *k, const char *name, const char *value)
{
    if (value) {
        cli_kb_add(k, name);
        cli_kb_add(k, value);
    }
}

static int no_tool(struct cli *c)
{
    return cli_fail(c, CLI_ABSENT,
                    "portolan-kb is neither beside this program nor in ../" PTL_LIBEXECDIR
                    "/portolan: install it, or name it in PORTOLAN_KB_TOOL");
}

int cli_kb_become(struct cli *c, const struct cli_kb_call *k)
{
    PTL_FREE char *tool = find_tool();
    if (!tool)
        return no_tool(c);
    fflush(c->out);
    execv(tool, (char *const *)(uintptr_t)k->argv);
    return cli_fail(c, CLI_FAILED, "%s cannot be started: %s", tool, strerror(errno));
}

int cli_kb_ask(struct cli *c, const struct cli_kb_call *k, json_t **ret)
{
    PTL_FREE char *tool = find_tool();
    PTL_BUF out = PTL_BUF_MAX(ANSWER_MAX);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_proc p;
    int fds[2], status = 0;
    ssize_t n;
    char piece[65536];
    if (!tool)
        return no_tool(c);
    if (pipe2(fds, O_CLOEXEC) < 0)
        return cli_fail(c, CLI_FAILED, "no pipe: %s", strerror(errno));
    const char *argv[ARGS_MAX + 1];
    memcpy(argv, k->argv, sizeof(k->argv));
    argv[0] = tool;
    struct ptl_proc_spec spec = {
        .argv = argv, .stdin_fd = STDIN_FILENO, .stdout_fd = fds[1], .stderr_fd = STDERR_FILENO};
    int r = ptl_proc_start(&spec, &p, &err);
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return cli_fail(c, CLI_FAILED, "%s cannot be started: %s", tool, err.text);
    }
    while ((n = read(fds[0], piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            ptl_buf_add(&out, piece, (size_t)n);
    close(fds[0]);
    if (ptl_proc_wait(&p, -1, &status) != 0 || status != 0)
        return WIFEXITED(status) && WEXITSTATUS(status)
                   ? WEXITSTATUS(status)
                   : cli_fail(c, CLI_FAILED, "%s ended by a signal", tool);
    if (ptl_json_parse(ptl_buf_str(&out), out.len, "portolan-kb", ret, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    return 0;
}

int cli_cmd_diagnose(struct cli *c)
{
    const char *file = cli_arg(c, 0) ? cli_arg(c, 0) : "-";
    struct cli_kb_call k = {
        .argv = {"portolan", "diagnose", "--json"},
          .n = 3
    };
    PTL_JSON *d = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    if (!ptl_str_eq(file, "-") && !ptl_fs_exists(file))
        return cli_fail(c, CLI_ABSENT, "%s: no such file; - reads standard input", file);
    cli_kb_add_option(&k, "--platform", cli_text(c, "platform"));
    cli_kb_add_option(&k, "--stage", cli_text(c, "stage"));
    cli_kb_add_option(&k, "--tool", cli_text(c, "tool"));
    cli_kb_add_option(&k, "--end", cli_text(c, "end"));
    cli_kb_add_option(&k, "--kb", cli_text(c, "kb"));
    cli_kb_add(&k, "--");
    cli_kb_add(&k, file);
    if (c->json)
        return cli_kb_become(c, &k);
    int r = cli_kb_ask(c, &k, &d);
    if (r)
        return r;
    cli_show_verdict(&b, d, c->width, c->color);
    cli_print_buf(c, &b);
    return 0;
}

int cli_cmd_kb_compile(struct cli *c)
{
    struct cli_kb_call k = {
        .argv = {"portolan", "compile"},
          .n = 2
    };
    cli_kb_add_option(&k, "--out", cli_text(c, "output") ? cli_text(c, "output") : "kb.bin");
    cli_kb_add_option(&k, "--dir", cli_arg(c, 0));
    return cli_kb_become(c, &k);
}
