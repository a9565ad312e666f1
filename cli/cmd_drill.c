/* cmd_drill.c - portolan drill list, run, coverage: faults seeded on purpose, run for real. The driver is a
 * Python program (it lays out repositories, pushes them, waits and judges; nothing of the product hangs on
 * it), taken from the source tree when this program is run from its build tree, else from where it was
 * installed. This command says where the daemon, the agent, recipes and toolchains are, and becomes it. */
#include "cli.h"
#include <limits.h>
#include <portolan/fs.h>

enum { ARGS_MAX = CLI_ARGS_MAX + 24 };

struct call {
    const char *argv[ARGS_MAX];
    size_t n;
};

static void add(struct call *k, const char *word)
{
    if (k->n < ARGS_MAX - 1)
        k->argv[k->n++] = word;
}

static char *below(const char *const *places, size_t n)
{
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (len <= 0)
        return NULL;
    exe[len] = 0;
    *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < n; i++) {
        PTL_FREE char *path = ptl_xasprintf("%s%s", exe, places[i]);
        char *real = realpath(path, NULL);
        if (real)
            return real;
    }
    return NULL;
}

static char *find_driver(void)
{
    static const char *const places[] = {"/../../../tests/drills/run", "/../share/portolan/drills/run"};
    const char *named = getenv("PORTOLAN_DRILLS");
    return named && *named ? ptl_fs_join(named, "run") : below(places, PTL_ARRAY_LEN(places));
}

static void say_where(const char *name, char *path /* taken */)
{
    if (path)
        setenv(name, path, 0);
    free(path);
}

static int become(struct cli *c, struct call *k, bool own_site)
{
    static const char *const recipes[] = {"/../../../agents/recipes", "/../share/portolan/recipes"},
                             *const toolchains[] = {"/../../../agents/toolchains",
                                                    "/../share/portolan/toolchains"};
    PTL_FREE char *driver = find_driver();
    if (!driver || !ptl_fs_exists(driver))
        return cli_fail(
            c, CLI_ABSENT,
            "the drills are neither in the source tree of this program nor in ../share/portolan/drills; name their folder in PORTOLAN_DRILLS");
    if (own_site) {
        PTL_FREE char *daemon = cli_find_program("portoland");
        PTL_FREE char *agent = cli_find_program("portolan-agent");
        if (!daemon || !agent)
            return cli_fail(
                c, CLI_ABSENT,
                "%s is neither beside this program nor in PATH; or use a running daemon: --server URL --repos DIR",
                daemon ? "portolan-agent" : "portoland");
        say_where("PTL_DAEMON", ptl_xstrdup(daemon));
        say_where("PTL_AGENT", ptl_xstrdup(agent));
    }
    say_where("PTL_RECIPES", below(recipes, PTL_ARRAY_LEN(recipes)));
    say_where("PTL_TOOLCHAINS", below(toolchains, PTL_ARRAY_LEN(toolchains)));
    k->argv[0] = "python3";
    k->argv[1] = "-B";
    k->argv[2] = driver;
    fflush(c->out);
    execvp("python3", (char *const *)(uintptr_t)k->argv);
    return cli_fail(c, CLI_FAILED, "drills need python3: %s", strerror(errno));
}

static void begin(struct cli *c, struct call *k, const char *verb)
{
    *k = (struct call){.n = 3}; /* python3 -B DRIVER */
    if (verb)
        add(k, verb);
    if (cli_flag(c, "fast"))
        add(k, "--fast");
    if (c->json) {
        add(k, "--json");
        add(k, "-");
    }
}

static void add_names(struct cli *c, struct call *k)
{
    if (cli_arg(c, 0))
        add(k, "--only");
    for (size_t i = 0; cli_arg(c, i); i++)
        add(k, cli_arg(c, i));
}

int cli_cmd_drill_list(struct cli *c)
{
    struct call k;
    begin(c, &k, "--list");
    add_names(c, &k);
    return become(c, &k, false);
}

int cli_cmd_drill_coverage(struct cli *c)
{
    struct call k;
    begin(c, &k, "--coverage");
    return become(c, &k, false);
}

int cli_cmd_drill_run(struct cli *c)
{
    static const char *const options[] = {"parallel", "timeout", "logs"};
    struct call k;
    const char *repos = cli_text(c, "repos"), *results = cli_text(c, "results"),
               *least = cli_text(c, "least");
    char seconds[24], share[24];
    begin(c, &k, NULL);
    for (size_t i = 0; i < PTL_ARRAY_LEN(options); i++) {
        const char *value = cli_text(c, options[i]);
        if (value && ptl_str_eq(options[i], "timeout")) {
            snprintf(seconds, sizeof(seconds), "%lld", (long long)(cli_int(c, "timeout", 600000) / 1000));
            value = seconds;
        }
        if (value) {
            add(&k, ptl_str_eq(options[i], "parallel")  ? "--parallel"
                    : ptl_str_eq(options[i], "timeout") ? "--timeout"
                                                        : "--logs");
            add(&k, value);
        }
    }
    if (results && !c->json) {
        add(&k, "--json");
        add(&k, results);
    }
    if (least) {
        snprintf(share, sizeof(share), "%.2f", (double)cli_int(c, "least", 0) / 100);
        add(&k, "--diagnosis");
        add(&k, share);
    }
    if (repos) {
        int r = cli_settle(c);
        if (r)
            return r;
        if (!ptl_fs_is_dir(repos))
            return cli_fail(c, CLI_ABSENT, "%s: no such directory", repos);
        if (!c->token)
            return cli_fail(c, CLI_UNREACHED, "no token for %s: portolan login, or --token-file", c->server);
        setenv("PORTOLAN_TOKEN", c->token, 1); /* not on a command line */
        add(&k, "--url");
        add(&k, c->server);
        add(&k, "--repos");
        add(&k, repos);
    } else if (cli_text(c, "server")) {
        return cli_fail(
            c, CLI_USAGE,
            "--server needs --repos DIR: a directory that the daemon may read repositories from (its git-local-roots) and that you may write to");
    }
    add_names(c, &k);
    return become(c, &k, !repos);
}
