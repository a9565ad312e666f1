/* workdir.c - see workdir.h. Blocking. */
#include "workdir.h"
#include <fcntl.h>
#include <portolan/archive.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/proc.h>
#include <portolan/wire.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* How often the log is looked at while the attempt runs, and how long the agent's program may take to clean
 * up. */
enum { LOOK_MS = 100, STOP_GRACE_MS = 60000, FILES_MAX = 200000, TAIL_BYTES = 8192, TAIL_LINES = 12 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

int cli_job_secrets(struct cli *c, json_t *job)
{
    json_t *secrets = json_object();
    const char *name;
    json_object_set_new(job, "secrets", secrets);
    for (size_t i = 0; (name = cli_texts(c, "secret", i)); i++) {
        const char *value = getenv(name);
        if (!value)
            return cli_fail(c, CLI_USAGE, "--secret %s: the environment has no %s", name, name);
        if (json_object_set_new(secrets, name, json_string(value)) < 0)
            return cli_fail(c, CLI_USAGE, "--secret %s: the value is not UTF-8 text", name);
    }
    return 0;
}

struct copying {
    struct cli *c;
    const char *to;
};

static int copy_entry(void *ctx, const struct ptl_fs_entry *e)
{
    struct copying *p = ctx;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *to = ptl_fs_join(p->to, e->path);
    int r = cli_mkdirs_for(p->c, to);
    if (r)
        return r;
    if (e->is_link) {
        char target[4096];
        ssize_t n = readlink(e->full, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = 0;
        if (n <= 0 || !ptl_archive_link_stays_inside(e->path, target) || symlink(target, to) < 0)
            return cli_fail(p->c, CLI_FAILED, "%s: this link cannot be copied", e->full);
        return 0;
    }
    return ptl_fs_copy(e->full, to, e->is_exec ? 0755 : 0644, &err) < 0
               ? cli_fail(p->c, CLI_FAILED, "%s", err.text)
               : 0;
}

int cli_copy_tree(struct cli *c, const char *from, const char *to)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct copying p = {c, to};
    if (ptl_fs_mkdirs(to, 0755, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    int r = ptl_fs_walk(from, FILES_MAX, copy_entry, &p, &err);
    return r < 0 ? cli_fail(c, CLI_FAILED, "%s", err.text) : r;
}

char *cli_agent_program(struct cli *c)
{
    const char *named = getenv("PORTOLAN_AGENT");
    char *agent = named && *named ? ptl_xstrdup(named) : cli_find_program("portolan-agent");
    if (agent && access(agent, X_OK) == 0)
        return agent;
    cli_fail(
        c, CLI_FAILED,
        "portolan-agent was not found beside this program or in PATH; it does the stages' work. Install it, or name it in PORTOLAN_AGENT");
    free(agent);
    return NULL;
}

/* Shows what the log got since the last look, each line behind the prefix. */
struct tail {
    struct cli *c;
    const char *prefix;
    int fd;
    bool mid_line;
    struct cli_log_filter filter;
};

static void show_more(struct tail *t, const char *path)
{
    char piece[16384];
    ssize_t n;
    if (t->c->quiet)
        return;
    if (t->fd < 0)
        t->fd = open(path, O_RDONLY | O_CLOEXEC);
    while (t->fd >= 0 && (n = read(t->fd, piece, sizeof(piece))) > 0) {
        PTL_BUF b = PTL_BUF_INIT;
        cli_log_clean(&t->filter, piece, (size_t)n, &b);
        for (const char *p = ptl_buf_str(&b), *end = p + b.len; p < end;) {
            const char *nl = memchr(p, '\n', (size_t)(end - p));
            size_t len = (size_t)((nl ? nl + 1 : end) - p);
            fprintf(t->c->err, "%s%s%.*s", t->mid_line ? "" : t->prefix, t->mid_line ? "" : " | ", (int)len,
                    p);
            t->mid_line = !nl;
            p += len;
        }
    }
    fflush(t->c->err);
}

static int read_result(struct cli *c, const char *dir, int status, json_t **ret)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *path = ptl_fs_join(dir, "result.json");
    PTL_JSON *result = NULL;
    int r = ptl_json_load(path, PTL_WIRE_BODY_MAX, &result, &err);
    if (r == 0)
        r = ptl_wire_check_result(result, &err);
    if (r < 0 && WIFSIGNALED(status))
        return cli_fail(c, CLI_FAILED, "portolan-agent was ended by signal %d (%s) and left no result: %s",
                        WTERMSIG(status), strsignal(WTERMSIG(status)), err.text);
    if (r < 0)
        return cli_fail(c, CLI_FAILED, "portolan-agent ended with exit code %d and left no result: %s",
                        WIFEXITED(status) ? WEXITSTATUS(status) : -1, err.text);
    *ret = json_incref(result);
    return 0;
}

int cli_attempt_run(struct cli *c, const char *agent, const char *dir, const char *prefix, int64_t limit_ms,
                    json_t **ret_result, bool *ret_interrupted)
{
    const char *const argv[] = {agent, "attempt", dir, NULL};
    struct ptl_error err = PTL_ERROR_INIT;
    struct sigaction sa = {.sa_handler = on_interrupt}, old_int, old_term;
    struct ptl_proc_spec spec = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = STDERR_FILENO, .stderr_fd = STDERR_FILENO};
    struct ptl_proc proc;
    struct tail tail = {.c = c, .prefix = prefix, .fd = -1};
    PTL_FREE char *log = ptl_fs_join(dir, "log");
    int64_t deadline = ptl_mono_ms() + limit_ms;
    int status = 0, r;
    *ret_interrupted = false;
    interrupted = 0;
    sigaction(SIGINT, &sa, &old_int);
    sigaction(SIGTERM, &sa, &old_term);
    if (ptl_proc_start(&spec, &proc, &err) < 0) {
        r = cli_fail(c, CLI_FAILED, "%s", err.text);
    } else {
        while ((r = ptl_proc_wait(&proc, LOOK_MS, &status)) == PTL_AGAIN || r == -EINTR) {
            show_more(&tail, log);
            if (interrupted || ptl_mono_ms() > deadline) {
                cli_note(c, interrupted ? "interrupted: the stage is being stopped"
                                        : "the stage is over its time limits and is being stopped");
                ptl_proc_stop(&proc, STOP_GRACE_MS, &status);
                r = 0;
                break;
            }
        }
        show_more(&tail, log);
        if (tail.mid_line)
            fputc('\n', c->err);
        r = r < 0 ? cli_fail(c, CLI_FAILED, "portolan-agent could not be waited for: %s", strerror(-r))
                  : read_result(c, dir, status, ret_result);
    }
    *ret_interrupted = interrupted; /* also when it came outside of the wait, and the child ended of it */
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    if (tail.fd >= 0)
        close(tail.fd);
    return r;
}

void cli_log_tail(struct ptl_buf *b, const char *dir, int width)
{
    PTL_FREE char *path = ptl_fs_join(dir, "log");
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[TAIL_BYTES + 1];
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    off_t from = st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;
    ssize_t n = pread(fd, text, TAIL_BYTES, from);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0)
        return;
    text[n] = 0;
    size_t lines = 1, at = (size_t)n;
    while (at > 0 && !(text[at - 1] == '\n' && lines++ == TAIL_LINES))
        at--;
    char *save = NULL;
    for (char *line = strtok_r(text + at, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        PTL_FREE char *clean = cli_clean(line);
        PTL_FREE char *cut = width > 24 ? cli_cut(clean, (size_t)width - 6) : ptl_xstrdup(clean);
        ptl_buf_printf(b, "    | %s\n", cut);
    }
}
