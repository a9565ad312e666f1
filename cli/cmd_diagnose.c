/* cmd_diagnose.c - portolan diagnose, kb compile, kb train: the knowledge base on this machine, without a
 * server.
 *
 * The work is done by portolan-kb, which carries the knowledge and Vectorscan: this command stays small for
 * everything else, and hundreds of diagnoses in a row pay for one exec and one mapped file each. It is looked
 * for in $PORTOLAN_KB_TOOL, in the build tree, beside this program, and where it was installed. */
#include "cli.h"
#include <fcntl.h>
#include <limits.h>
#include <portolan/client.h>
#include <portolan/fs.h>
#include <portolan/proc.h>

#ifndef PTL_LIBEXECDIR
#define PTL_LIBEXECDIR "libexec"
#endif
enum { ANSWER_MAX = 16 << 20, ARGS_MAX = CLI_ARGS_MAX + 40 };

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

struct call {
    const char *argv[ARGS_MAX];
    size_t n;
};

static void add(struct call *k, const char *word)
{
    if (k->n < ARGS_MAX - 1)
        k->argv[k->n++] = word;
}

static void add_option(struct call *k, const char *name, const char *value)
{
    if (value) {
        add(k, name);
        add(k, value);
    }
}

static int no_tool(struct cli *c)
{
    return cli_fail(c, CLI_ABSENT,
                    "portolan-kb is neither beside this program nor in ../" PTL_LIBEXECDIR
                    "/portolan: install it, or name it in PORTOLAN_KB_TOOL");
}

/* In place of this process: what it prints and how it ends is the answer. */
static int become(struct cli *c, const struct call *k)
{
    PTL_FREE char *tool = find_tool();
    if (!tool)
        return no_tool(c);
    fflush(c->out);
    execv(tool, (char *const *)(uintptr_t)k->argv);
    return cli_fail(c, CLI_FAILED, "%s cannot be started: %s", tool, strerror(errno));
}

/* As a child: its standard output as JSON. */
static int ask(struct cli *c, const struct call *k, json_t **ret)
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
    struct call k = {
        .argv = {"portolan", "diagnose", "--json"},
          .n = 3
    };
    PTL_JSON *d = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    if (!ptl_str_eq(file, "-") && !ptl_fs_exists(file))
        return cli_fail(c, CLI_ABSENT, "%s: no such file; - reads standard input", file);
    add_option(&k, "--platform", cli_text(c, "platform"));
    add_option(&k, "--stage", cli_text(c, "stage"));
    add_option(&k, "--tool", cli_text(c, "tool"));
    add_option(&k, "--end", cli_text(c, "end"));
    add_option(&k, "--kb", cli_text(c, "kb"));
    add(&k, "--");
    add(&k, file);
    if (c->json)
        return become(c, &k);
    int r = ask(c, &k, &d);
    if (r)
        return r;
    cli_show_verdict(&b, d, c->width, c->color);
    cli_print_buf(c, &b);
    return 0;
}

int cli_cmd_kb_compile(struct cli *c)
{
    struct call k = {
        .argv = {"portolan", "compile"},
          .n = 2
    };
    add_option(&k, "--out", cli_text(c, "output") ? cli_text(c, "output") : "kb.bin");
    add_option(&k, "--dir", cli_arg(c, 0));
    return become(c, &k);
}

/* ---- training */
struct cases {
    struct cli *c;
    json_t *paths;
};

static int one_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct cases *s = ctx;
    if (!e->is_dir && !e->is_link && ptl_str_ends(e->path, ".jsonl"))
        json_array_append_new(s->paths, json_string(e->full));
    return 0;
}

/* The cases that ship: labelled by hand, beside the source tree or where they were installed. */
static int shipped_cases(struct cli *c, json_t *ret)
{
    static const char *const places[] = {"/../../../migrations/kb/cases", "/../share/portolan/cases"};
    char exe[PATH_MAX];
    struct ptl_error err = PTL_ERROR_INIT;
    struct cases s = {c, ret};
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = 0;
    if (strrchr(exe, '/'))
        *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *dir = ptl_xasprintf("%s%s", exe, places[i]);
        if (!ptl_fs_is_dir(dir))
            continue;
        if (ptl_fs_walk(dir, 10000, one_file, &s, &err) < 0)
            return cli_fail(c, CLI_FAILED, "%s", err.text);
        return 0;
    }
    return cli_fail(
        c, CLI_ABSENT,
        "the cases that ship are neither in the source tree nor in ../share/portolan/cases; name files of cases");
}

int cli_cmd_kb_train(struct cli *c)
{
    struct call k = {
        .argv = {"portolan", "train"},
          .n = 2
    };
    PTL_JSON *paths = json_array();
    size_t i;
    json_t *v;
    bool only = cli_flag(c, "only");
    if (only && !cli_arg(c, 0))
        return cli_fail(c, CLI_USAGE,
                        "--only needs CASES: files of labelled cases to train from, without those that ship");
    int r = only ? 0 : shipped_cases(c, paths);
    if (r)
        return r;
    for (i = 0; cli_arg(c, i); i++) {
        if (!ptl_fs_exists(cli_arg(c, i)))
            return cli_fail(c, CLI_ABSENT, "%s: no such file", cli_arg(c, i));
        json_array_append_new(paths, json_string(cli_arg(c, i)));
    }
    if (json_array_size(paths) > CLI_ARGS_MAX)
        return cli_fail(c, CLI_USAGE, "more than %d files of cases: put some together", CLI_ARGS_MAX);
    add_option(&k, "--out", cli_text(c, "output") ? cli_text(c, "output") : "text.bin");
    add_option(&k, "--dir", cli_text(c, "dir"));
    add(&k, "--");
    json_array_foreach(paths, i, v) add(&k, json_string_value(v));
    return become(c, &k);
}
