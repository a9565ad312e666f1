/* sandbox.c - builds the bubblewrap command of one child, starts it in its cgroup, and tells its end.
 *
 * The chain is bwrap (outside, holds the pid namespace) -> portolan-init (pid 1 inside, see init.c) ->
 * payload. The first two ignore SIGTERM, so a signal to the process group reaches the payload alone and it
 * has its grace; SIGKILL to the group takes bwrap, and with it the namespace. Blocking; one thread per
 * sandbox. */
#include "sandbox.h"
#include "cgroup.h"
#include "init.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/proc.h>

#define PIDS_DEFAULT 4096
#define TMP_DEFAULT  ((uint64_t)512 << 20)
/* Set-up of the namespaces takes 60 ms on an idle machine; past this the host is broken, not busy. */
#define START_MAX_MS 30000
#define INSIDE_UID   "1000"
#define NOBODY       "65534"
#define INIT_INSIDE  "/run/portolan/init"

struct ptl_sandbox {
    struct ptl_proc proc;
    struct ptl_cgroup *cgroup;
    int message_fd; /* status pipe of portolan-init */
    int bwrap_fd;   /* bwrap's own stderr */
    pid_t group;
    bool namespaced;
    bool ended;
    int status;
    int exec_errno;
    bool was_oom;
    uint64_t peak_bytes;
    char how[32];
    char why_no_cgroup[256];
    char start_error[320];
    char program[128];
};

/* ---- the tools ---- */

static const char *find_bwrap(void)
{
    static const char *const places[] = {"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"};
    const char *named = getenv("PORTOLAN_BWRAP");
    if (named && *named)
        return access(named, X_OK) == 0 ? named : NULL;
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

/* portolan-init beside this program, in libexec below its prefix, or where the build put it. */
static char *find_init(void)
{
    const char *named = getenv("PORTOLAN_INIT");
    if (named && *named)
        return access(named, X_OK) == 0 ? ptl_xstrdup(named) : NULL;
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *slash = n > 0 ? (exe[n] = 0, strrchr(exe, '/')) : NULL;
    if (slash) {
        *slash = 0;
        static const char *const beside[] = {"portolan-init", "../libexec/portolan/portolan-init"};
        for (size_t i = 0; i < PTL_ARRAY_LEN(beside); i++) {
            char *path = ptl_fs_join(exe, beside[i]);
            char *real = realpath(path, NULL);
            free(path);
            if (real && access(real, X_OK) == 0)
                return real;
            free(real);
        }
    }
    static const char *const built[] = {PTL_INIT_BUILT, PTL_INIT_INSTALLED};
    for (size_t i = 0; i < PTL_ARRAY_LEN(built); i++)
        if (access(built[i], X_OK) == 0)
            return ptl_xstrdup(built[i]);
    return NULL;
}

static bool unsandboxed_is_allowed(void)
{
    return ptl_str_eq(getenv("PORTOLAN_SANDBOX"), "none");
}

/* ---- the command line ---- */

struct args {
    char **v;
    size_t n, cap;
};

static void args_add(struct args *a, const char *s)
{
    if (a->n + 2 > a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 128;
        char **v = ptl_xcalloc(cap, sizeof(*v));
        if (a->n)
            memcpy(v, a->v, a->n * sizeof(*v));
        free(a->v);
        a->v = v;
        a->cap = cap;
    }
    a->v[a->n++] = ptl_xstrdup(s);
}

static void args_add2(struct args *a, const char *s, const char *t)
{
    args_add(a, s);
    args_add(a, t);
}

static void args_add3(struct args *a, const char *s, const char *t, const char *u)
{
    args_add2(a, s, t);
    args_add(a, u);
}

static void args_num(struct args *a, long long n)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", n);
    args_add(a, text);
}

static void args_done(struct args *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->v[i]);
    free(a->v);
    *a = (struct args){0};
}

static void add_system(struct args *a)
{
    static const char *const roots[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
    args_add3(a, "--ro-bind", "/usr", "/usr");
    for (size_t i = 0; i < PTL_ARRAY_LEN(roots); i++) {
        char target[PATH_MAX];
        ssize_t n = readlink(roots[i], target, sizeof(target) - 1);
        if (n > 0) {
            target[n] = 0;
            args_add3(a, "--symlink", target, roots[i]);
        } else if (ptl_fs_is_dir(roots[i])) {
            args_add3(a, "--ro-bind", roots[i], roots[i]);
        }
    }
}

/* bubblewrap makes the missing parents of a mount point with mode 0700, which uid 65534 could not pass. */
static void add_parents(struct args *a, const char *path)
{
    char parent[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
        args_add2(a, "--perms", "0755");
        args_add2(a, "--dir", parent);
    }
}

/* The little of /etc that programs stumble without. Nothing that could hold a secret of the host. */
static void add_etc(struct args *a, bool network, int passwd_fd, int group_fd)
{
    static const char *const always[] = {
        "/etc/ld.so.cache", "/etc/ld.so.conf",    "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
        "/etc/timezone",    "/etc/nsswitch.conf", "/etc/mime.types",   "/etc/fonts",        "/etc/protocols",
        "/etc/services",    "/etc/hosts",         "/etc/python3.11",   "/etc/python3",      "/etc/chromium",
        "/etc/chromium.d",  "/etc/OpenCL",
    };
    static const char *const online[] = {"/etc/resolv.conf", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
                                         "/etc/ca-certificates.conf"};
    add_parents(a, "/etc/passwd");
    for (size_t i = 0; i < PTL_ARRAY_LEN(always); i++)
        args_add3(a, "--ro-bind-try", always[i], always[i]);
    for (size_t i = 0; network && i < PTL_ARRAY_LEN(online); i++)
        args_add3(a, "--ro-bind-try", online[i], online[i]);
    args_add3(a, "--perms", "0644", "--ro-bind-data");
    args_num(a, passwd_fd);
    args_add(a, "/etc/passwd");
    args_add3(a, "--perms", "0644", "--ro-bind-data");
    args_num(a, group_fd);
    args_add(a, "/etc/group");
}

static void add_binds(struct args *a, const char *option, const char *const *paths)
{
    for (size_t i = 0; paths && paths[i]; i++) {
        add_parents(a, paths[i]);
        args_add3(a, option, paths[i], paths[i]);
    }
}

static int text_fd(const char *name, const char *text)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ptl_fs_write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        close(fd);
        return -EIO;
    }
    return fd;
}

/* "K=V\0" each, for portolan-init: not as bwrap's environment, which it would obey outside of the sandbox,
 * and not as its arguments, which all of the host can read. */
static int environment_fd(const char *const *env)
{
    int fd = memfd_create("environment", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t i = 0; env && env[i]; i++)
        if (ptl_fs_write_all(fd, env[i], strlen(env[i]) + 1) < 0) {
            close(fd);
            return -EIO;
        }
    return fd;
}

static void add_init(struct args *a, const struct ptl_sandbox_spec *spec, int status_fd, int stderr_fd,
                     int env_fd, bool drop_uid, bool namespaced)
{
    args_num(a, status_fd);
    args_num(a, stderr_fd);
    args_num(a, env_fd);
    args_add(a, drop_uid ? NOBODY : "0");
    args_add(a, namespaced ? "1" : "0");
    args_add(a, spec->deny_userns ? "1" : "0");
    args_add(a, "--");
    for (size_t i = 0; spec->argv[i]; i++)
        args_add(a, spec->argv[i]);
}

static void bwrap_command(struct args *a, const char *bwrap, const char *init,
                          const struct ptl_sandbox_spec *spec, int status_fd, int stderr_fd, int env_fd,
                          int passwd_fd, int group_fd)
{
    bool drop_uid = spec->unprivileged && geteuid() == 0;
    args_add3(a, bwrap, "--unshare-pid", "--unshare-ipc");
    args_add3(a, "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent");
    args_add2(a, "--hostname", "portolan");
    args_add(a, "--as-pid-1");
    args_add2(a, "--cap-drop", "ALL");
    if (drop_uid) { /* for portolan-init, which spends them at once */
        args_add2(a, "--cap-add", "CAP_SETUID");
        args_add2(a, "--cap-add", "CAP_SETGID");
    } else {
        args_add3(a, "--unshare-user", "--uid", INSIDE_UID);
        args_add2(a, "--gid", INSIDE_UID);
    }
    if (!spec->network)
        args_add(a, "--unshare-net");
    add_system(a);
    args_add2(a, "--proc", "/proc");
    args_add2(a, "--dev", "/dev");
    add_parents(a, "/sys/devices/system");
    args_add3(a, "--ro-bind-try", "/sys/devices/system", "/sys/devices/system");
    args_add2(a, "--perms", "1777");
    args_add(a, "--size");
    args_num(a, (long long)(spec->tmp_bytes ? spec->tmp_bytes : TMP_DEFAULT));
    args_add2(a, "--tmpfs", "/tmp");
    add_parents(a, "/var/tmp");
    args_add3(a, "--symlink", "../tmp", "/var/tmp");
    add_etc(a, spec->network, passwd_fd, group_fd);
    args_add3(a, "--ro-bind", init, INIT_INSIDE);
    add_binds(a, "--ro-bind", spec->ro_binds);
    add_binds(a, "--bind", spec->rw_binds);
    add_binds(a, "--dev-bind", spec->dev_binds);
    args_add2(a, "--chdir", spec->cwd ? spec->cwd : "/");
    args_add2(a, "--", INIT_INSIDE);
    add_init(a, spec, status_fd, stderr_fd, env_fd, drop_uid, true);
}

/* ---- starting ---- */

static int in_child(void *ctx)
{
    struct ptl_cgroup *cg = ctx;
    signal(SIGTERM, SIG_IGN); /* stays so in bwrap and portolan-init; the payload gets its default back */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return cg && ptl_cgroup_enter_self(cg) < 0 ? 1 : 0;
}

/* Reads one message within timeout_ms. 1 message, 0 end of the pipe, PTL_AGAIN nothing yet. */
static int read_message(int fd, int64_t timeout_ms, struct ptl_init_message *ret)
{
    int64_t deadline = ptl_mono_ms() + timeout_ms;
    for (;;) {
        ssize_t n = read(fd, ret, sizeof(*ret));
        if (n == (ssize_t)sizeof(*ret))
            return 1;
        if (n >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        int64_t left = deadline - ptl_mono_ms();
        if (left <= 0)
            return PTL_AGAIN;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, (int)left);
    }
}

/* What bwrap printed before it gave up, on one line. */
static void bwrap_words(int fd, char *ret, size_t size)
{
    ssize_t n = fd >= 0 ? read(fd, ret, size - 1) : 0;
    ret[n > 0 ? n : 0] = 0;
    for (char *c = ret; *c; c++)
        if (*c == '\n')
            *c = c[1] ? ';' : 0;
}

/* The parent's ends are kept in *s, the child's ends returned. */
static int make_pipe(int *ret_read, int *ret_write)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *ret_read = fds[0];
    *ret_write = fds[1];
    return 0;
}

static int check_spec(const struct ptl_sandbox_spec *spec, struct ptl_error *err)
{
    if (!spec->argv || !spec->argv[0] || !spec->argv[0][0])
        return ptl_error_set(err, -EINVAL, "sandbox: no program to run");
    const char *const *const lists[] = {spec->ro_binds, spec->rw_binds, spec->dev_binds};
    for (size_t l = 0; l < PTL_ARRAY_LEN(lists); l++)
        for (size_t i = 0; lists[l] && lists[l][i]; i++) {
            if (lists[l][i][0] != '/')
                return ptl_error_set(err, -EINVAL, "sandbox: bind \"%s\" is not an absolute path",
                                     lists[l][i]);
            if (!ptl_fs_exists(lists[l][i]))
                return ptl_error_set(err, -ENOENT, "sandbox: %s is to be mounted but does not exist",
                                     lists[l][i]);
        }
    return 0;
}

static int join_cgroup(struct ptl_sandbox *s, const struct ptl_sandbox_spec *spec, struct ptl_error *err)
{
    if (!spec->cgroup_name) {
        snprintf(s->why_no_cgroup, sizeof(s->why_no_cgroup), "none was asked for");
        return 0;
    }
    struct ptl_cgroup_limits limits = {.memory_bytes = spec->memory_bytes,
                                       .cpu_pct = spec->cpu_pct,
                                       .pids = spec->pids ? spec->pids : PIDS_DEFAULT};
    struct ptl_error why = PTL_ERROR_INIT;
    int r = ptl_cgroup_new(spec->cgroup_name, &limits, &s->cgroup, &why);
    if (r == PTL_ABSENT) {
        snprintf(s->why_no_cgroup, sizeof(s->why_no_cgroup), "%.255s", why.text);
        return 0;
    }
    return r < 0 ? ptl_error_set(err, r, "%s", why.text) : 0;
}

static int start_failed(struct ptl_sandbox *s, bool namespaced, int got, struct ptl_error *err)
{
    char words[512];
    ptl_sandbox_stop(s, 0, NULL);
    bwrap_words(s->bwrap_fd, words, sizeof(words));
    if (got == PTL_AGAIN)
        return ptl_error_set(err, -ETIMEDOUT, "sandbox: not set up after %d s%s%s", START_MAX_MS / 1000,
                             *words ? ": " : "", words);
    if (!namespaced)
        return ptl_error_set(err, -EPERM, "sandbox: portolan-init did not start: %s",
                             *words ? words : "no reason given");
    return ptl_error_set(err, -EPERM, "sandbox: bubblewrap could not set it up: %s",
                         *words ? words : "no reason given");
}

int ptl_sandbox_start(const struct ptl_sandbox_spec *spec, struct ptl_sandbox **ret, struct ptl_error *err)
{
    int r = check_spec(spec, err);
    if (r < 0)
        return r;
    const char *bwrap = find_bwrap();
    bool namespaced = !unsandboxed_is_allowed();
    if (namespaced && !bwrap)
        return ptl_error_set(
            err, -ENOENT,
            "sandbox: bubblewrap (bwrap) is not installed; without it stages run only with PORTOLAN_SANDBOX=none");
    PTL_FREE char *init = find_init();
    if (!init)
        return ptl_error_set(
            err, -ENOENT,
            "sandbox: portolan-init was not found beside this program or in libexec/portolan; "
            "name it in PORTOLAN_INIT");
    PTL_CLEANUP(ptl_sandbox_freep) struct ptl_sandbox *s = calloc(1, sizeof(*s));
    if (!s)
        return ptl_error_set(err, -ENOMEM, "sandbox: out of memory");
    s->message_fd = s->bwrap_fd = -1;
    s->namespaced = namespaced;
    s->proc = (struct ptl_proc){.pid = -1, .pidfd = -1};
    snprintf(s->program, sizeof(s->program), "%s", spec->argv[0]);
    if ((r = join_cgroup(s, spec, err)) < 0)
        return r;
    snprintf(s->how, sizeof(s->how), "%s%s%s", namespaced ? "bwrap" : "none", s->cgroup ? "+" : "",
             s->cgroup ? ptl_cgroup_name(s->cgroup) : "");

    PTL_CLOSE int status_fd = -1;
    PTL_CLOSE int words_fd = -1;
    PTL_CLOSE int null_fd = -1;
    PTL_CLOSE int passwd_fd = text_fd("passwd", "root:x:0:0::/:/usr/sbin/nologin\n"
                                                "portolan:x:" INSIDE_UID ":" INSIDE_UID "::/tmp:/bin/sh\n"
                                                "nobody:x:" NOBODY ":" NOBODY "::/tmp:/bin/sh\n");
    PTL_CLOSE int group_fd =
        text_fd("group", "root:x:0:\nportolan:x:" INSIDE_UID ":\nnogroup:x:" NOBODY ":\n");
    PTL_CLOSE int env_fd = environment_fd(spec->env);
    if (passwd_fd < 0 || group_fd < 0 || env_fd < 0 || make_pipe(&s->message_fd, &status_fd) < 0 ||
        make_pipe(&s->bwrap_fd, &words_fd) < 0)
        return ptl_error_set(err, -EMFILE, "sandbox: no descriptors left: %s", strerror(errno));
    int stderr_fd = spec->stderr_fd;
    if (stderr_fd < 0)
        stderr_fd = null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    struct args a = {0};
    if (namespaced) {
        bwrap_command(&a, bwrap, init, spec, status_fd, stderr_fd, env_fd, passwd_fd, group_fd);
    } else {
        args_add(&a, init);
        add_init(&a, spec, status_fd, stderr_fd, env_fd, spec->unprivileged && geteuid() == 0, false);
    }
    static const char *const empty_env[] = {NULL};
    struct ptl_proc_spec proc = {
        .argv = (const char *const *)a.v,
        .env = empty_env,
        .cwd = namespaced ? "/" : spec->cwd,
        .stdin_fd = -1,
        .stdout_fd = spec->stdout_fd,
        .stderr_fd = words_fd,
        .keep_fds = {status_fd, stderr_fd, env_fd, passwd_fd, group_fd},
        .n_keep_fds = 5,
        .new_session = true,
        .die_with_parent = true,
        .in_child = in_child,
        .in_child_ctx = s->cgroup,
    };
    r = ptl_proc_start(&proc, &s->proc, err);
    args_done(&a);
    if (r < 0)
        return r;
    s->group = s->proc.pid;
    close(status_fd);
    status_fd = -1;
    close(words_fd);
    words_fd = -1;
    struct ptl_init_message m;
    int got = read_message(s->message_fd, START_MAX_MS, &m);
    if (got != 1 || m.kind != PTL_INIT_STARTED)
        return start_failed(s, namespaced, got, err);
    *ret = PTL_TAKE(s);
    return 0;
}

/* ---- the end ---- */

static void note_end(struct ptl_sandbox *s, int outer_status)
{
    s->ended = true;
    s->status = outer_status; /* when portolan-init itself was killed, bwrap's word is all there is */
    if (WIFEXITED(outer_status) && WEXITSTATUS(outer_status) == 128 + SIGKILL)
        s->status = SIGKILL; /* wait status of a process killed by that signal */
    struct ptl_init_message m;
    while (read_message(s->message_fd, 0, &m) == 1) {
        if (m.kind == PTL_INIT_ENDED)
            s->status = m.value;
        if (m.kind == PTL_INIT_EXEC_FAILED)
            s->exec_errno = m.value;
    }
    if (s->exec_errno)
        snprintf(s->start_error, sizeof(s->start_error), "%s: cannot be run: %s", s->program,
                 s->exec_errno == ENOENT ? "no such program (or its interpreter) in the sandbox"
                                         : strerror(s->exec_errno));
    if (!s->namespaced)
        kill(-s->group, SIGKILL); /* no pid namespace took them along */
    if (s->cgroup) {
        struct ptl_cgroup_usage u;
        ptl_cgroup_kill(s->cgroup);
        if (ptl_cgroup_usage(s->cgroup, &u) == 0) {
            s->peak_bytes = u.peak_bytes;
            s->was_oom = u.oom_kills > 0;
        }
    }
}

int ptl_sandbox_wait(struct ptl_sandbox *s, int64_t timeout_ms, int *ret_status)
{
    if (!s->ended) {
        int status;
        int r = ptl_proc_wait(&s->proc, timeout_ms, &status);
        if (r != 0)
            return r;
        note_end(s, status);
    }
    if (ret_status)
        *ret_status = s->status;
    return 0;
}

void ptl_sandbox_stop(struct ptl_sandbox *s, int64_t grace_ms, int *ret_status)
{
    if (!s->ended && s->proc.pid > 0) {
        int status = SIGKILL;
        ptl_proc_stop(&s->proc, grace_ms, &status);
        note_end(s, status);
    }
    if (ret_status)
        *ret_status = s->status;
}

bool ptl_sandbox_was_oom(struct ptl_sandbox *s)
{
    return s->was_oom;
}

uint64_t ptl_sandbox_peak_bytes(struct ptl_sandbox *s)
{
    struct ptl_cgroup_usage u;
    if (!s->ended && s->cgroup && ptl_cgroup_usage(s->cgroup, &u) == 0)
        return u.peak_bytes;
    return s->peak_bytes;
}

const char *ptl_sandbox_how(const struct ptl_sandbox *s)
{
    return s->how;
}

const char *ptl_sandbox_why_no_cgroup(const struct ptl_sandbox *s)
{
    return s->why_no_cgroup;
}

const char *ptl_sandbox_start_error(const struct ptl_sandbox *s)
{
    return s->start_error;
}

pid_t ptl_sandbox_pid(const struct ptl_sandbox *s)
{
    return s->group;
}

struct ptl_sandbox *ptl_sandbox_free(struct ptl_sandbox *s)
{
    if (!s)
        return NULL;
    ptl_sandbox_stop(s, 0, NULL);
    ptl_cgroup_free(s->cgroup);
    if (s->message_fd >= 0)
        close(s->message_fd);
    if (s->bwrap_fd >= 0)
        close(s->bwrap_fd);
    free(s);
    return NULL;
}

const char *ptl_sandbox_probe(struct ptl_error *err)
{
    static char how[32];
    if (how[0])
        return how;
    static const char *const argv[] = {"true", NULL};
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    char name[48];
    snprintf(name, sizeof(name), "portolan-probe-%d", (int)getpid());
    struct ptl_sandbox_spec spec = {.argv = argv,
                                    .env = env,
                                    .stdout_fd = -1,
                                    .stderr_fd = -1,
                                    .cgroup_name = name,
                                    .memory_bytes = (uint64_t)256 << 20};
    PTL_CLEANUP(ptl_sandbox_freep) struct ptl_sandbox *s = NULL;
    int r = ptl_sandbox_start(&spec, &s, err);
    if (r < 0)
        return NULL;
    int status = -1;
    ptl_sandbox_stop(s, START_MAX_MS, NULL);
    if (ptl_sandbox_wait(s, 0, &status) != 0 || (status != 0 && status != SIGTERM)) {
        ptl_error_set(err, -EPERM, "sandbox: a trial program ended with wait status %d", status);
        return NULL;
    }
    snprintf(how, sizeof(how), "%s", s->how);
    return how;
}
