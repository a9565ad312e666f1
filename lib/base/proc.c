/* proc.c - children that lead their own process group, started with nothing open that they were not given,
 * and ended for sure: TERM, grace, KILL, reap. A pidfd stands for the child, so that a recycled pid is never
 * signalled. A list of the children that somebody will wait for tells them from orphans that were handed to
 * us. */
#include <portolan/clock.h>
#include <portolan/proc.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { OWN_MAX = 512, CHILDREN_TEXT_MAX = 1 << 16 };

/* Held over fork() too: a child that ends at once must not look like an orphan. */
static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t own[OWN_MAX];
static size_t n_own;

static size_t own_find(pid_t pid)
{
    size_t i = 0;
    while (i < n_own && own[i] != pid)
        i++;
    return i;
}

static pid_t fork_own(void)
{
    pid_t pid = -1;
    pthread_mutex_lock(&own_lock);
    if (n_own == OWN_MAX)
        errno = EAGAIN;
    else if ((pid = fork()) == 0)
        return 0; /* the lock's copy is nobody's: exec follows */
    if (pid > 0)
        own[n_own++] = pid;
    pthread_mutex_unlock(&own_lock);
    return pid;
}

static void own_forget(pid_t pid)
{
    pthread_mutex_lock(&own_lock);
    size_t i = own_find(pid);
    if (i < n_own)
        own[i] = own[--n_own];
    pthread_mutex_unlock(&own_lock);
}

static int reap_of_thread(const char *tid)
{
    char path[64];
    int reaped = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", tid);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    PTL_FREE char *text = ptl_xcalloc(1, CHILDREN_TEXT_MAX + 1);
    size_t len = 0;
    ssize_t n;
    while (len < CHILDREN_TEXT_MAX && (n = read(fd, text + len, CHILDREN_TEXT_MAX - len)) > 0)
        len += (size_t)n;
    for (char *at = text, *end;; at = end) { /* a number cut at the end is another time's, or no child */
        long pid = strtol(at, &end, 10);
        if (end == at)
            return reaped;
        if (pid > 0 && own_find((pid_t)pid) == n_own && waitpid((pid_t)pid, NULL, WNOHANG) > 0)
            reaped++;
    }
}

int ptl_proc_reap_orphans(void)
{
    int reaped = 0;
    DIR *d = opendir("/proc/self/task");
    if (!d)
        return 0;
    pthread_mutex_lock(&own_lock);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            reaped += reap_of_thread(e->d_name);
    pthread_mutex_unlock(&own_lock);
    closedir(d);
    return reaped;
}

static int pidfd_open_(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int place_fd(int fd, int want, int flags)
{
    int from = fd >= 0 ? fd : open("/dev/null", flags | O_CLOEXEC);
    if (from < 0)
        return -1;
    if (from == want)
        return fcntl(from, F_SETFD, 0);
    return dup2(from, want) < 0 ? -1 : 0;
}

_Noreturn static void child(const struct ptl_proc_spec *s, int report_fd, pid_t parent)
{
    int stage_fds[3] = {s->stdin_fd, s->stdout_fd, s->stderr_fd};
    /* Sources among 0..2 would be overwritten while placing: lift them first. */
    for (int i = 0; i < 3; i++)
        if (stage_fds[i] >= 0 && stage_fds[i] < 3 && stage_fds[i] != i)
            stage_fds[i] = fcntl(stage_fds[i], F_DUPFD, 10);
    if (report_fd < 3)
        report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, 10);
    if (s->new_session ? setsid() < 0 : setpgid(0, 0) < 0)
        goto fail;
    if (s->die_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(125);
    }
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (place_fd(stage_fds[0], 0, O_RDONLY) < 0 || place_fd(stage_fds[1], 1, O_WRONLY) < 0 ||
        place_fd(stage_fds[2], 2, O_WRONLY) < 0)
        goto fail;
    for (int i = 0; i < s->n_keep_fds; i++)
        (void)fcntl(s->keep_fds[i], F_SETFD, 0);
    if (s->cwd && chdir(s->cwd) < 0)
        goto fail;
    if (s->in_child && s->in_child(s->in_child_ctx) != 0)
        _exit(125);
    /* Everything else closes at exec: mark, then clear for the kept ones. */
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    for (int i = 0; i < s->n_keep_fds; i++)
        (void)fcntl(s->keep_fds[i], F_SETFD, 0);
    if (s->env)
        execvpe(s->argv[0], (char *const *)s->argv, (char *const *)s->env);
    else
        execvp(s->argv[0], (char *const *)s->argv);
fail:;
    int e = errno;
    ssize_t ignored PTL_UNUSED = write(report_fd, &e, sizeof(e));
    _exit(127);
}

int ptl_proc_start(const struct ptl_proc_spec *spec, struct ptl_proc *ret, struct ptl_error *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return ptl_error_set(err, -errno, "%s: no pipe: %s", spec->argv[0], strerror(errno));
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    pid_t parent = getpid();
    pid_t pid = fork_own();
    if (pid == 0)
        child(spec, report[1], parent);
    int fork_errno = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return ptl_error_set(err, -fork_errno, "%s: cannot fork: %s", spec->argv[0], strerror(fork_errno));
    }
    int e = 0;
    ssize_t n;
    do
        n = read(report[0], &e, sizeof(e));
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == sizeof(e)) {
        waitpid(pid, NULL, 0);
        own_forget(pid);
        return ptl_error_set(err, -e, "%s: cannot start: %s", spec->argv[0], strerror(e));
    }
    ret->pid = pid;
    ret->pidfd = pidfd_open_(pid);
    return 0;
}

int ptl_proc_wait(struct ptl_proc *p, int64_t timeout_ms, int *ret_status)
{
    if (p->pid <= 0)
        return -ECHILD;
    int64_t deadline = timeout_ms < 0 ? -1 : ptl_mono_ms() + timeout_ms;
    for (;;) {
        int status;
        pid_t got = waitpid(p->pid, &status, WNOHANG);
        if (got == p->pid) {
            own_forget(got);
            if (p->pidfd >= 0)
                close(p->pidfd);
            p->pid = -1;
            p->pidfd = -1;
            if (ret_status)
                *ret_status = status;
            return 0;
        }
        if (got < 0 && errno != EINTR)
            return -errno;
        int64_t left = deadline < 0 ? 1000 : deadline - ptl_mono_ms();
        if (left <= 0)
            return PTL_AGAIN;
        struct pollfd pfd = {.fd = p->pidfd, .events = POLLIN};
        int wait_ms = left > 1000 ? 1000 : (int)left;
        if (p->pidfd < 0 && wait_ms > 10)
            wait_ms = 10; /* no pidfd: a short poll stands in */
        int r = poll(&pfd, p->pidfd >= 0 ? 1 : 0, wait_ms);
        if (r < 0 && errno == EINTR && deadline >= 0)
            return PTL_AGAIN; /* a signal (cancel) came: let the caller look */
    }
}

void ptl_proc_stop(struct ptl_proc *p, int64_t grace_ms, int *ret_status)
{
    if (p->pid <= 0)
        return;
    int status = 0;
    pid_t group = p->pid;
    kill(-group, SIGTERM);
    int64_t deadline = ptl_mono_ms() + grace_ms;
    int r;
    do {
        int64_t left = deadline - ptl_mono_ms();
        r = ptl_proc_wait(p, left > 0 ? left : 0, &status);
    } while (r == PTL_AGAIN && ptl_mono_ms() < deadline);
    kill(-group, SIGKILL); /* also what the leader left behind in its group */
    if (r == PTL_AGAIN)
        r = ptl_proc_wait(p, -1, &status);
    if (ret_status && r == 0)
        *ret_status = status;
}

int ptl_proc_capture(const char *const *argv, int64_t timeout_ms, struct ptl_buf *ret_out,
                     struct ptl_error *err)
{
    int out[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return ptl_error_set(err, -errno, "%s: no pipe: %s", argv[0], strerror(errno));
    PTL_CLOSE int rd = out[0];
    struct ptl_proc_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = out[1], .stderr_fd = out[1]};
    struct ptl_proc p;
    int r = ptl_proc_start(&spec, &p, err);
    close(out[1]);
    if (r < 0)
        return r;
    int64_t deadline = ptl_mono_ms() + timeout_ms;
    char block[4096];
    for (;;) {
        int64_t left = deadline - ptl_mono_ms();
        struct pollfd pfd = {.fd = rd, .events = POLLIN};
        r = left > 0 ? poll(&pfd, 1, left > 60000 ? 60000 : (int)left) : 0;
        if (r < 0 && errno == EINTR)
            continue;
        if (r == 0 && ptl_mono_ms() >= deadline) {
            ptl_proc_stop(&p, 200, NULL);
            return ptl_error_set(err, -ETIMEDOUT, "%s: not finished after %lld ms, stopped", argv[0],
                                 (long long)timeout_ms);
        }
        if (r <= 0)
            continue;
        ssize_t n = read(rd, block, sizeof(block));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (ret_out)
            (void)ptl_buf_add(ret_out, block,
                              (size_t)n); /* past its bound: read on, so that the child does not block */
    }
    int status;
    int64_t left = deadline - ptl_mono_ms();
    r = ptl_proc_wait(&p, left > 0 ? left : 0, &status);
    if (r == PTL_AGAIN) {
        ptl_proc_stop(&p, 200, NULL);
        return ptl_error_set(err, -ETIMEDOUT, "%s: not finished after %lld ms, stopped", argv[0],
                             (long long)timeout_ms);
    }
    if (r < 0)
        return ptl_error_set(err, r, "%s: cannot be waited for: %s", argv[0], strerror(-r));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}
