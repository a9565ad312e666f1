/* init.c - portolan-init, the first process inside a sandbox (pid 1 of its pid namespace).
 *
 * Gives up what privileges are left, shuts the door for system calls that no stage needs, starts the payload,
 * reaps orphans, and tells the exact end of the payload over a pipe: bubblewrap itself can only say "128 +
 * n", which a program may also choose as its exit code. When it exits, the kernel kills everything else in
 * the namespace. Uses nothing but libc, so that it runs wherever the host's /usr is mounted.
 *
 * The payload's environment comes over a descriptor, not as this program's own: what a stage sets
 * (LD_PRELOAD, LD_DEBUG_OUTPUT, GLIBC_TUNABLES …) would otherwise be obeyed by bubblewrap, which starts
 * outside, and here.
 *
 * usage: portolan-init STATUS_FD STDERR_FD ENV_FD UID NAMESPACE_INIT(0|1) DENY_USERNS(0|1) -- PROGRAM
 * [ARG...] ENV_FD: a file of "K=V\0" each. Messages on STATUS_FD: struct ptl_init_message, STARTED once, then
 * ENDED or EXEC_FAILED. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

static void tell(int fd, int32_t kind, int32_t value)
{
    struct ptl_init_message m = {.kind = kind, .value = value};
    ssize_t ignored __attribute__((unused)) =
        write(fd, &m, sizeof(m)); /* smaller than PIPE_BUF: whole or not */
}

#ifdef OUR_ARCH
#define LOAD(off)          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (off))
#define IF_EQ(k, yes, no)  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), (yes), (no))
#define IF_SET(k, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (k), (yes), (no))
#define RETURN(k)          BPF_STMT(BPF_RET | BPF_K, (k))
#define ALLOW              RETURN(SECCOMP_RET_ALLOW)
#define DENY(e)            RETURN(SECCOMP_RET_ERRNO | (e))

/* Kernel surface that a stage has no business with: module and kexec loading, tracing and profiling of the
 * kernel, key rings, clocks, and io_uring, which reaches files and sockets past this filter. Callers of
 * io_uring fall back on ENOSYS. */
static const int denied_calls[] = {
    __NR_add_key,
    __NR_keyctl,
    __NR_request_key,
    __NR_bpf,
    __NR_perf_event_open,
    __NR_userfaultfd,
    __NR_kexec_load,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_acct,
    __NR_swapon,
    __NR_swapoff,
    __NR_reboot,
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_quotactl,
    __NR_syslog,
    __NR_vhangup,
    __NR_open_by_handle_at,
    __NR_io_uring_setup,
    __NR_io_uring_enter,
    __NR_io_uring_register,
#ifdef __NR_kexec_file_load
    __NR_kexec_file_load,
#endif
#ifdef __NR_iopl
    __NR_iopl,
    __NR_ioperm,
#endif
};

static int shut_door(int deny_userns)
{
    struct sock_filter f[96];
    size_t n = 0;
    f[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, arch));
    f[n++] = (struct sock_filter)IF_EQ(OUR_ARCH, 1, 0);
    f[n++] = (struct sock_filter)DENY(ENOSYS); /* 32-bit entry points number their calls otherwise */
    f[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    f[n++] = (struct sock_filter)IF_SET(0x40000000u /* x32 */, 0, 1);
    f[n++] = (struct sock_filter)DENY(ENOSYS);
#endif
    for (size_t i = 0; i < sizeof(denied_calls) / sizeof(denied_calls[0]); i++) {
        f[n++] = (struct sock_filter)IF_EQ((unsigned)denied_calls[i], 0, 1);
        f[n++] = (struct sock_filter)DENY(ENOSYS);
    }
    if (deny_userns) { /* flags are the first argument of unshare and of clone; clone3 hides them in memory */
        f[n++] = (struct sock_filter)IF_EQ(__NR_clone3, 0, 1);
        f[n++] = (struct sock_filter)DENY(ENOSYS); /* libc falls back to clone */
        f[n++] = (struct sock_filter)IF_EQ(__NR_unshare, 1, 0);
        f[n++] = (struct sock_filter)IF_EQ(__NR_clone, 0, 4);
        f[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, args[0]));
        f[n++] = (struct sock_filter)IF_SET(CLONE_NEWUSER, 0, 1);
        f[n++] = (struct sock_filter)DENY(EPERM);
        f[n++] = (struct sock_filter)ALLOW;
    }
    /* Sockets: local, IPv4, IPv6 and netlink (interface lists). AF_VSOCK would reach the hypervisor past any
     * netns. */
    f[n++] = (struct sock_filter)IF_EQ(__NR_socket, 1, 0);
    f[n++] = (struct sock_filter)IF_EQ(__NR_socketpair, 0, 6);
    f[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, args[0]));
    f[n++] = (struct sock_filter)IF_EQ(AF_UNIX, 4, 0);
    f[n++] = (struct sock_filter)IF_EQ(AF_INET, 3, 0);
    f[n++] = (struct sock_filter)IF_EQ(AF_INET6, 2, 0);
    f[n++] = (struct sock_filter)IF_EQ(AF_NETLINK, 1, 0);
    f[n++] = (struct sock_filter)DENY(EAFNOSUPPORT);
    f[n++] = (struct sock_filter)ALLOW;
    struct sock_fprog prog = {.len = (unsigned short)n, .filter = f};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 ? -errno : 0;
}
#else
static int shut_door(int deny_userns)
{
    (void)deny_userns;
    return 0; /* no numbers known for this machine: the namespaces have to do */
}
#endif

static int drop_to(uid_t uid)
{
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        return -errno;
    return 0;
}

/* NULL and errno. Nothing here is ever freed: an exec follows. */
static char **read_environment(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return NULL;
    size_t size = (size_t)st.st_size, got = 0, n = 0;
    char *text = malloc(size + 1);
    while (text && got < size) {
        ssize_t r = pread(fd, text + got, size - got, (off_t)got);
        if (r <= 0 && !(r < 0 && errno == EINTR)) {
            errno = r == 0 ? EIO : errno;
            return NULL;
        }
        got += r > 0 ? (size_t)r : 0;
    }
    if (text)
        text[size] = '\0';
    for (size_t i = 0; text && i <= size; i++)
        n += text[i] == '\0';
    char **env = text ? calloc(n + 1, sizeof(*env)) : NULL;
    n = 0;
    for (size_t i = 0; env && i < size; i += strlen(text + i) + 1)
        env[n++] = text + i;
    return env;
}

_Noreturn static void payload(int status_fd, int deny_userns, char **env, char **argv)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int e = -shut_door(deny_userns);
    if (e == 0) {
        environ = env; /* whose PATH it is that execvp looks in */
        execvp(argv[0], argv);
        e = errno;
    }
    tell(status_fd, PTL_INIT_EXEC_FAILED, e);
    _exit(e == ENOENT ? 127 : 126);
}

int main(int argc, char **argv)
{
    if (argc < 9 || strcmp(argv[7], "--") != 0) {
        fprintf(stderr, "portolan-init is started by portolan-agent, not by hand\n");
        return 2;
    }
    int status_fd = atoi(argv[1]), stderr_fd = atoi(argv[2]), env_fd = atoi(argv[3]), uid = atoi(argv[4]);
    int is_init = atoi(argv[5]), deny_userns = atoi(argv[6]);
    fcntl(status_fd, F_SETFD, FD_CLOEXEC);
    char **env = read_environment(env_fd);
    if (!env) {
        fprintf(stderr, "portolan-init: no environment for the program: %s\n", strerror(errno));
        return 125;
    }
    close(env_fd);
    for (int i = 1; i < NSIG;
         i++) /* the end is the payload's to decide; from outside, SIGKILL always works */
        if (i != SIGCHLD && i != SIGKILL && i != SIGSTOP)
            signal(i, SIG_IGN);
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || (uid > 0 && drop_to((uid_t)uid) < 0)) {
        fprintf(stderr, "portolan-init: cannot give up privileges: %s\n", strerror(errno));
        return 125;
    }
    if (!is_init)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (stderr_fd >= 0 && stderr_fd != 2) {
        dup2(stderr_fd, 2);
        close(stderr_fd);
    }
    tell(status_fd, PTL_INIT_STARTED, 0);
    pid_t child = fork();
    if (child == 0)
        payload(status_fd, deny_userns, env, argv + 8);
    if (child < 0) {
        tell(status_fd, PTL_INIT_EXEC_FAILED, errno);
        return 126;
    }
    for (;;) {
        int status;
        pid_t pid = wait(&status);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return 125;
        if (pid != child)
            continue;
        tell(status_fd, PTL_INIT_ENDED, status);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}
