/* chromium.c - starts chromedriver in a sandbox and keeps watch over it.
 *
 * chromedriver starts the browser as its child, so one pid namespace and one cgroup hold both; killing the
 * sandbox ends them whatever state they are in, which neither DELETE /session nor a signal to the browser's
 * pid is sure to do. The port is chromedriver's own choice (--port=0), read from what it prints; its output
 * goes on being drained, or a talkative browser would stop at a full pipe. Where the host allows no cgroup,
 * the private memory of the processes is added up twice a second instead and the ceiling enforced from here:
 * later than the kernel would, but bounded. */
#include "chromium.h"

#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sandbox.h>

enum { WATCH_MS = 500, MAX_PARTIAL_LINE = 4096, MAX_TREE = 4096 };
static const char STARTED[] = "ChromeDriver was started successfully on port ";

struct ptl_chromium {
    struct ptl_sandbox *sandbox;
    char *work_dir;
    int out_fd; /* what chromedriver and the browser print */
    struct ptl_buf partial;
    void (*on_line)(void *ctx, const char *line);
    void *ctx;
    unsigned port;
    uint64_t memory_bytes;
    bool watches; /* no cgroup: this file keeps the ceiling */
    bool watch_killed;
    int64_t next_watch_ms;
    uint64_t peak_seen;
};

char *ptl_chromium_find(const char *variable, const char *const *names)
{
    const char *named = getenv(variable), *path = getenv("PATH");
    if (named && *named)
        return access(named, X_OK) == 0 ? realpath(named, NULL) : NULL;
    PTL_FREE char *dirs = ptl_xstrdup(path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
    for (size_t i = 0; names[i]; i++) {
        PTL_FREE char *copy = ptl_xstrdup(dirs);
        char *save = NULL;
        for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
            char *full = ptl_fs_join(dir, names[i]);
            char *real = full[0] == '/' && access(full, X_OK) == 0 && !ptl_fs_is_dir(full)
                             ? realpath(full, NULL)
                             : NULL;
            free(full);
            if (real)
                return real;
        }
    }
    return NULL;
}

/* ---- output ---- */

static void take_line(struct ptl_chromium *c, const char *line)
{
    const char *port = strstr(line, STARTED);
    if (port && !c->port)
        c->port = (unsigned)strtoul(port + strlen(STARTED), NULL, 10);
    if (c->on_line && *line)
        c->on_line(c->ctx, line);
}

static void drain(struct ptl_chromium *c)
{
    char piece[4096];
    for (int rounds = 0; rounds < 64; rounds++) { /* 256 KiB a time: a flood must not keep the caller here */
        ssize_t n = read(c->out_fd, piece, sizeof(piece));
        if (n <= 0)
            return;
        for (ssize_t i = 0; i < n; i++) {
            if (piece[i] != '\n' && c->partial.len < MAX_PARTIAL_LINE) {
                ptl_buf_putc(&c->partial, piece[i] ? piece[i] : '?');
            } else if (piece[i] == '\n') {
                take_line(c, ptl_buf_str(&c->partial));
                ptl_buf_clear(&c->partial);
            }
        }
    }
}

/* ---- memory without a cgroup ---- */

struct tree {
    pid_t pids[MAX_TREE], parents[MAX_TREE];
    bool is_in[MAX_TREE];
    size_t n;
};

static void read_processes(struct tree *t)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && t->n < MAX_TREE && (e = readdir(d))) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        char path[300], text[512];
        snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
        PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        if (n <= 0)
            continue;
        text[n] = 0;
        char *behind = strrchr(text, ')'); /* the name may hold anything */
        int parent;
        if (behind && sscanf(behind + 1, " %*c %d", &parent) == 1) {
            t->pids[t->n] = (pid_t)atoi(e->d_name);
            t->parents[t->n++] = (pid_t)parent;
        }
    }
    if (d)
        closedir(d);
}

static uint64_t private_bytes(pid_t pid)
{
    char path[64], text[128];
    unsigned long long resident = 0, shared = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    if (n <= 0)
        return 0;
    text[n] = 0;
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t tree_bytes(pid_t root)
{
    PTL_FREE struct tree *t = ptl_xcalloc(1, sizeof(*t));
    uint64_t sum = 0;
    read_processes(t);
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < t->n; i++) {
            if (t->is_in[i])
                continue;
            bool in = t->pids[i] == root;
            for (size_t k = 0; k < t->n && !in; k++)
                in = t->is_in[k] && t->pids[k] == t->parents[i];
            if (in) {
                t->is_in[i] = grew = true;
                sum += private_bytes(t->pids[i]);
            }
        }
    }
    return sum;
}

static void watch_memory(struct ptl_chromium *c)
{
    int64_t now = ptl_mono_ms();
    if (!c->watches || now < c->next_watch_ms)
        return;
    c->next_watch_ms = now + WATCH_MS;
    uint64_t bytes = tree_bytes(ptl_sandbox_pid(c->sandbox));
    if (bytes > c->peak_seen)
        c->peak_seen = bytes;
    if (c->memory_bytes && bytes > c->memory_bytes) {
        c->watch_killed = true;
        ptl_sandbox_stop(c->sandbox, 0, NULL);
    }
}

/* ---- life ---- */

static int make_work_dir(const char *dir, struct ptl_error *err)
{
    int r = ptl_fs_remove_tree(dir, err);
    r = r < 0 ? r
              : ptl_fs_mkdirs(dir, 0711, err); /* x: bubblewrap, without its capabilities, enters it too */
    if (r < 0)
        return r;
    if (geteuid() == 0 && chown(dir, 65534, 65534) < 0)
        return ptl_error_set(err, -errno, "chromium: cannot give %s to the browser's user: %s", dir,
                             strerror(errno));
    return 0;
}

/* Programs outside of /usr are not in the sandbox by themselves: their folder is mounted. */
static char *folder_to_mount(const char *program)
{
    const char *slash = program ? strrchr(program, '/') : NULL;
    if (!slash || slash == program || ptl_str_starts(program, "/usr/"))
        return NULL;
    return strndup(program, (size_t)(slash - program));
}

static int wait_for_port(struct ptl_chromium *c, const struct ptl_chromium_spec *spec, struct ptl_error *err)
{
    while (!c->port) {
        int64_t left = spec->deadline_mono_ms - ptl_mono_ms();
        if (left <= 0)
            return ptl_error_set(err, -ETIMEDOUT, "chromium: chromedriver did not say its port in time");
        if (spec->cancelled && *spec->cancelled)
            return ptl_error_set(err, -ECANCELED, "chromium: cancelled while chromedriver started");
        struct pollfd p = {.fd = c->out_fd, .events = POLLIN};
        poll(&p, 1, left < 100 ? (int)left : 100);
        int status;
        bool ended = ptl_sandbox_wait(c->sandbox, 0, &status) == 0;
        drain(c);
        if (ended && !c->port) {
            const char *why = ptl_sandbox_start_error(c->sandbox);
            return ptl_error_set(err, -ECHILD, "chromium: chromedriver ended before it listened: %s",
                                 *why ? why : "see the lines above");
        }
    }
    return 0;
}

int ptl_chromium_start(const struct ptl_chromium_spec *spec, struct ptl_chromium **ret, struct ptl_error *err)
{
    int r = make_work_dir(spec->work_dir, err);
    if (r < 0)
        return r;
    PTL_CLEANUP(ptl_chromium_freep) struct ptl_chromium *c = ptl_xcalloc(1, sizeof(*c));
    c->work_dir = ptl_xstrdup(spec->work_dir);
    c->on_line = spec->on_line;
    c->ctx = spec->ctx;
    c->memory_bytes = spec->memory_bytes;
    c->out_fd = -1;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return ptl_error_set(err, -errno, "chromium: %s", strerror(errno));
    c->out_fd = fds[0];
    PTL_CLOSE int in_fd = fds[1];
    fcntl(c->out_fd, F_SETFL, O_NONBLOCK);
    fcntl(c->out_fd, F_SETPIPE_SZ, 1 << 20);

    PTL_FREE char *home = ptl_xasprintf("HOME=%s", spec->work_dir);
    /* Chromium makes a UNIX socket below TMPDIR, whose path may have 107 bytes at most: in the sandbox /tmp
     * is its own, and short however deep the agent's state lies. */
    PTL_FREE char *tmp = ptl_xasprintf("TMPDIR=%s", ptl_sandbox_probe(NULL) ? "/tmp" : spec->work_dir);
    PTL_FREE char *path = ptl_xasprintf("PATH=%s", spec->path ? spec->path : "/usr/local/bin:/usr/bin:/bin");
    const char *const env[] = {
        home, tmp, path, "LANG=C.UTF-8", "TZ=UTC", "DBUS_SESSION_BUS_ADDRESS=disabled:", NULL};
    const char *const argv[] = {spec->chromedriver, "--port=0", "--enable-chrome-logs", NULL};
    const char *const rw[] = {spec->work_dir, NULL};
    PTL_FREE char *driver_dir = folder_to_mount(spec->chromedriver);
    PTL_FREE char *browser_dir = folder_to_mount(spec->browser);
    const char *ro[3] = {NULL};
    size_t n_ro = 0;
    if (driver_dir)
        ro[n_ro++] = driver_dir;
    if (browser_dir && !ptl_str_eq(browser_dir, driver_dir))
        ro[n_ro++] = browser_dir;
    struct ptl_sandbox_spec sandbox = {
        .argv = argv,
        .env = env,
        .cwd = spec->work_dir,
        .ro_binds = ro,
        .rw_binds = rw,
        .network =
            true, /* the attempt's own: WebDriver and the page server are reached through its loopback */
        .memory_bytes = spec->memory_bytes,
        .stdout_fd = in_fd,
        .stderr_fd = in_fd,
        .unprivileged = true,
        .cgroup_name = spec->cgroup_name,
    };
    r = ptl_sandbox_start(&sandbox, &c->sandbox, err);
    if (r < 0)
        return r;
    close(in_fd);
    in_fd = -1;
    c->watches = *ptl_sandbox_why_no_cgroup(c->sandbox) != 0;
    r = wait_for_port(c, spec, err);
    if (r < 0)
        return r;
    *ret = PTL_TAKE(c);
    return 0;
}

struct ptl_chromium *ptl_chromium_free(struct ptl_chromium *c)
{
    if (!c)
        return NULL;
    ptl_chromium_stop(c);
    ptl_sandbox_free(c->sandbox);
    int ignored PTL_UNUSED = ptl_fs_remove_tree(c->work_dir, NULL);
    if (c->out_fd >= 0)
        close(c->out_fd);
    ptl_buf_done(&c->partial);
    free(c->work_dir);
    free(c);
    return NULL;
}

unsigned ptl_chromium_port(const struct ptl_chromium *c)
{
    return c->port;
}
const char *ptl_chromium_how(const struct ptl_chromium *c)
{
    return ptl_sandbox_how(c->sandbox);
}

bool ptl_chromium_is_alive(struct ptl_chromium *c)
{
    int status;
    drain(c);
    watch_memory(c);
    return ptl_sandbox_wait(c->sandbox, 0, &status) == PTL_AGAIN;
}

void ptl_chromium_stop(struct ptl_chromium *c)
{
    if (c->sandbox)
        ptl_sandbox_stop(c->sandbox, 0, NULL);
    if (c->out_fd >= 0)
        drain(c);
}

bool ptl_chromium_was_oom(struct ptl_chromium *c)
{
    return c->watch_killed || ptl_sandbox_was_oom(c->sandbox);
}

uint64_t ptl_chromium_peak_bytes(const struct ptl_chromium *c)
{
    uint64_t peak = ptl_sandbox_peak_bytes(c->sandbox);
    return peak ? peak : c->peak_seen;
}
