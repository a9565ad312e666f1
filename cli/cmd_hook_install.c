/* cmd_hook_install.c - portolan hook install REPO: a post-receive hook that tells the daemon what was pushed.
 * A hook that was there is kept beside it and runs first with the same input. Doing it again is harmless. */
#include "cli.h"
#include <limits.h>
#include <portolan/fs.h>
#include <sys/stat.h>

#define MARK   "# portolan post-receive hook"
#define BEFORE "post-receive.before-portolan"
enum { HOOK_MAX = 65536 };

static void quote(struct ptl_buf *b, const char *s)
{
    ptl_buf_putc(b, '\'');
    for (; *s; s++)
        (void)(*s == '\'' ? ptl_buf_puts(b, "'\\''") : ptl_buf_putc(b, *s));
    ptl_buf_putc(b, '\'');
}

static void put_option(struct ptl_buf *b, const char *name, const char *value, bool is_path)
{
    PTL_FREE char *full = is_path && value ? realpath(value, NULL) : NULL;
    if (!value)
        return;
    ptl_buf_printf(b, " --%s ", name);
    quote(b, full ? full : value);
}

static void script(struct cli *c, const char *project, struct ptl_buf *b)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = 0;
    ptl_buf_puts(b, "#!/bin/sh\n" MARK ", written by: portolan hook install\n"
                    "# The hook that was here before, if any, is " BEFORE " and runs first.\n"
                    "input=$(cat)\n"
                    "status=0\n"
                    "before=$(dirname \"$0\")/" BEFORE "\n"
                    "if [ -x \"$before\" ]; then\n"
                    "    printf '%s\\n' \"$input\" | \"$before\" \"$@\" || status=$?\n"
                    "fi\n"
                    "portolan=");
    quote(b, n > 0 ? exe : "portolan");
    ptl_buf_puts(b, "\n[ -x \"$portolan\" ] || portolan=portolan\n"
                    "printf '%s\\n' \"$input\" | \"$portolan\" hook post-receive --project ");
    quote(b, project);
    put_option(b, "server", cli_text(c, "server"), false);
    put_option(b, "token-file", cli_text(c, "token-file"), true);
    put_option(b, "ca-file", cli_text(c, "ca-file"), true);
    ptl_buf_puts(b, " || true\nexit $status\n");
}

static bool is_git_dir(const char *dir)
{
    static const char *const parts[] = {"HEAD", "objects", "refs"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(parts); i++) {
        PTL_FREE char *path = ptl_fs_join(dir, parts[i]);
        if (!ptl_fs_exists(path))
            return false;
    }
    return true;
}

/* The repository's hooks directory, or an exit code. */
static int hooks_dir(struct cli *c, const char *repo, char **ret)
{
    PTL_FREE char *dot_git = ptl_fs_join(repo, ".git");
    const char *const bare_args[] = {"rev-parse", "--is-bare-repository", NULL}, *const path_args[] = {
                                                                                     "rev-parse",
                                                                                     "--git-path", "hooks",
                                                                                     NULL};
    if (!ptl_fs_is_dir(repo))
        return cli_fail(c, CLI_ABSENT, "%s: no such directory", repo);
    bool inside = is_git_dir(repo), work_tree = !inside && ptl_fs_exists(dot_git);
    if (!inside && !work_tree)
        return cli_fail(c, CLI_ABSENT, "%s: no git repository; a bare one is made by: git init --bare %s",
                        repo, repo);
    PTL_FREE char *bare = cli_git(repo, bare_args);
    if ((work_tree || ptl_str_eq(bare, "false")) && !cli_flag(c, "force"))
        return cli_fail(
            c, CLI_USAGE,
            "%s has a working tree; people push to bare repositories. If it really receives pushes: --force",
            repo);
    PTL_FREE char *path = cli_git(repo, path_args); /* knows core.hooksPath */
    if (!path || !*path)
        *ret = ptl_fs_join(inside ? repo : dot_git, "hooks");
    else
        *ret = path[0] == '/' ? ptl_xstrdup(path) : ptl_fs_join(repo, path);
    return 0;
}

/* 0: ours, 1: somebody else's, 2: none. */
static int whose(const char *hook, struct ptl_buf *text)
{
    struct stat st;
    if (lstat(hook, &st) < 0)
        return 2;
    return ptl_fs_read(hook, HOOK_MAX, text, NULL) == 0 && strstr(ptl_buf_str(text), MARK) ? 0 : 1;
}

int cli_cmd_hook_install(struct cli *c)
{
    const char *project = cli_project(c), *repo = cli_arg(c, 0);
    PTL_FREE char *dir = NULL;
    PTL_BUF wanted = PTL_BUF_INIT, there = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    struct stat st;
    if (!project)
        return cli_fail(c, CLI_USAGE, "hook install: which project? --project NAME");
    if (ptl_str_eq(cli_text(c, "token-file"), "-"))
        return cli_fail(c, CLI_USAGE,
                        "hook install: the hook reads the token later, from a file: --token-file FILE");
    int r = hooks_dir(c, repo, &dir);
    if (r)
        return r;
    PTL_FREE char *hook = ptl_fs_join(dir, "post-receive");
    PTL_FREE char *before = ptl_fs_join(dir, BEFORE);
    script(c, project, &wanted);
    int owner = whose(hook, &there);
    if (owner == 0 && ptl_str_eq(ptl_buf_str(&wanted), ptl_buf_str(&there)) && stat(hook, &st) == 0 &&
        (st.st_mode & 0111)) {
        cli_print(c, "%s is up to date\n", hook);
        return 0;
    }
    if (owner == 1 && lstat(before, &st) == 0)
        return cli_fail(
            c, CLI_CONFLICT,
            "%s is not ours, and %s is taken by an earlier one; merge the two by hand and try again", hook,
            before);
    if (ptl_fs_mkdirs(dir, 0755, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    if (owner == 1 && rename(hook, before) < 0)
        return cli_fail(c, CLI_FAILED, "%s: cannot be kept as %s: %s", hook, before, strerror(errno));
    if (ptl_fs_write_atomic(hook, ptl_buf_str(&wanted), wanted.len, 0755, &err) < 0) {
        if (owner == 1 && rename(before, hook) < 0) /* as it was */
            cli_warn(c, "%s: the hook that was there is %s now", hook, before);
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    }
    cli_print(c, "%s tells %s's pushes to the daemon%s\n", hook, project,
              owner == 1 ? "; the hook that was there is kept and runs first" : "");
    if (!cli_text(c, "token-file"))
        cli_note(
            c,
            "the user that git runs as needs: portolan login (or give --server and --token-file to hook install)");
    return 0;
}
