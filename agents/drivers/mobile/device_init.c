/* device_init.c - the two processes that hold an embedded device: the keeper, which enters the namespaces and
 * waits, and process 1 in them, which sets them up, starts the adb server and adbd, starts adbd again when it
 * dies (as init does on a phone), reaps, and takes everything with it when it ends.
 *
 * Runs in children of fork() only. It owns nothing that the parent could still need, reports by lines on a
 * pipe, and ends when the parent's end of `go_fd` closes. Mount order matters and is: private propagation,
 * own /proc, own binfmt_misc. Leaves out: building the device's root (bubblewrap does), the ceilings (the
 * parent made the control group). */
#include "device-private.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <portolan/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A daemon that dies this often is broken, not unlucky. */
enum { RESTARTS_MAX = 8 };

static void say(const struct device_boot *b, const char *fmt, ...) PTL_PRINTF(2, 3);
static void say(const struct device_boot *b, const char *fmt, ...)
{
    char line[600];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;
    line[len++] = '\n';
    if (ptl_fs_write_all(b->say_fd, line, len) < 0)
        _exit(124); /* nobody listens any more */
}

static _Noreturn void fail(const struct device_boot *b, const char *what, int error)
{
    say(b, "E %s: %s", what, strerror(error));
    _exit(125);
}

/* ---- namespaces ---- */

static void mount_or_fail(const struct device_boot *b, const char *what, const char *target, const char *type,
                          unsigned long flags)
{
    if (mount("none", target, type, flags, NULL) < 0)
        fail(b, what, errno);
}

/* ELF, 64 bit, little endian, ET_EXEC or ET_DYN, machine 183. In the kernel's own escapes. */
#define MAGIC                                                                                                \
    "\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
#define MASK                                                                                                 \
    "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"

/* F: the emulator is opened now, so it need not exist in the device's root. P: programs keep their argv[0],
 * by which busybox knows what it is. */
static void register_emulator(const struct device_boot *b)
{
    PTL_FREE char *dir = ptl_xasprintf("%s/binfmt", b->dir);
    PTL_FREE char *reg = ptl_xasprintf("%s/register", dir);
    PTL_FREE char *rule =
        ptl_xasprintf(":portolan-arm64:M::" MAGIC ":" MASK ":%s/bin/qemu-aarch64:PF", b->phone_dir);
    mount_or_fail(b, "a private binfmt_misc is not allowed here (Linux 6.7 or newer is needed)", dir,
                  "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    PTL_CLOSE int fd = open(reg, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, rule, strlen(rule)) != (ssize_t)strlen(rule))
        fail(b, "registering the emulator", errno);
}

static void raise_loopback(const struct device_boot *b)
{
    PTL_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
        fail(b, "loopback", errno);
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        fail(b, "loopback up", errno);
}

static void set_cores(const struct device_boot *b)
{
    cpu_set_t have, want;
    CPU_ZERO(&want);
    if (sched_getaffinity(0, sizeof(have), &have) < 0)
        fail(b, "sched_getaffinity", errno);
    unsigned n = 0;
    for (int i = 0; i < CPU_SETSIZE && n < b->profile->cores; i++)
        if (CPU_ISSET(i, &have)) {
            CPU_SET(i, &want);
            n++;
        }
    if (sched_setaffinity(0, sizeof(want), &want) < 0)
        fail(b, "sched_setaffinity", errno);
}

static void set_namespaces_up(const struct device_boot *b)
{
    mount_or_fail(b, "private mounts", "/", NULL, MS_REC | MS_PRIVATE);
    mount_or_fail(b, "an own /proc is not allowed here", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    /* The adb server would take phones on this host's USB for itself. */
    if (access("/dev/bus/usb", F_OK) == 0)
        mount_or_fail(b, "hiding USB", "/dev/bus/usb", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    register_emulator(b);
    raise_loopback(b);
    if (sethostname(b->profile->name, strlen(b->profile->name)) < 0)
        fail(b, "sethostname", errno);
    set_cores(b);
}

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "name this machine's AUDIT_ARCH_ value"
#endif
#define X32_BIT 0x40000000u

/* adbd listens on vsock:5555 as well, which on a virtual machine leads to the hypervisor and which no network
 * namespace fences. socket(AF_VSOCK, …) is "address family not supported"; system calls of another
 * architecture (a program built for this host's 32-bit mode reaches socket() under another number) are "not
 * implemented". */
static int seccomp_memfd(void)
{
    static const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    int fd = memfd_create("seccomp", 0);
    if (fd < 0 || ptl_fs_write_all(fd, code, sizeof(code)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -1;
    return fd;
}

/* ---- programs ---- */

static void output_to(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int null = open("/dev/null", O_RDONLY);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(125);
}

static pid_t fork_child(const struct device_boot *b)
{
    pid_t pid = fork();
    if (pid < 0)
        fail(b, "fork", errno);
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (chdir(b->dir) < 0)
            _exit(125);
    }
    return pid;
}

/* The server's own socket: a plain `adb` somewhere would silently start a second server on a TCP port. */
static pid_t start_server(const struct device_boot *b)
{
    pid_t pid = fork_child(b);
    if (pid)
        return pid;
    PTL_FREE char *home = ptl_xasprintf("HOME=%s", b->dir);
    output_to("adb-server.log");
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    const char *const argv[] = {"adb", "-L", "localfilesystem:" DEVICE_SOCKET, "nodaemon", "server", NULL};
    const char *const env[] = {home, "PATH=/usr/bin:/bin", "ADB_MDNS=0", "LC_ALL=C", NULL};
    execve(b->adb, (char *const *)argv, (char *const *)env);
    _exit(127);
}

enum { ARGS_MAX = 128 };
struct args {
    const char *v[ARGS_MAX];
    size_t n;
};

static void args_add(struct args *a, const char *const *words)
{
    for (; *words; words++)
        if (a->n < ARGS_MAX - 1)
            a->v[a->n++] = *words;
}
#define ARGS(a, ...) args_add((a), (const char *const[]){__VA_ARGS__, NULL})

static pid_t start_adbd(const struct device_boot *b)
{
    pid_t pid = fork_child(b);
    if (pid)
        return pid;
    int fd = seccomp_memfd();
    if (fd < 0 || (b->cgroup && ptl_cgroup_enter_self(b->cgroup) < 0))
        _exit(125);
    char seccomp[16];
    snprintf(seccomp, sizeof(seccomp), "%d", fd);
    char *root = ptl_xasprintf("%s/root", b->phone_dir), *data = ptl_xasprintf("%s/data", b->dir);
    char *reserved = ptl_xasprintf("%llu", (unsigned long long)b->address_bytes);
    struct args a = {.n = 0};
    ARGS(&a, "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL", "--ro-bind",
         root, "/", "--proc", "/proc");
    ARGS(&a, "--dev", "/dev", "--ro-bind", "/sys", "/sys", "--tmpfs", "/dev/socket", "--tmpfs", "/tmp",
         "--bind", data, "/data", "--dir", "/data/local/tmp", "--chmod", "0771", "/data/local/tmp");
    for (size_t i = 0; i < b->n_binds; i++)
        ARGS(&a, "--ro-bind", b->binds[i].host, b->binds[i].device);
    ARGS(&a, "--clearenv", "--setenv", "QEMU_CPU", b->profile->cpu, "--setenv", "ADBD_PORT", DEVICE_PORT,
         "--setenv", "ORT_DISABLE_TELEMETRY", "1");
    ARGS(&a, "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "HOME", "/data/local/tmp",
         "--setenv", "TMPDIR", "/data/local/tmp");
    if (b->address_bytes)
        ARGS(&a, "--setenv", "QEMU_RESERVED_VA", reserved);
    ARGS(&a, "--seccomp", seccomp, "--chdir", "/", "/usr/lib/android-sdk/platform-tools/adbd");
    output_to("adbd.log");
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    fcntl(fd, F_SETFD, 0);
    execv(b->bwrap, (char *const *)a.v);
    _exit(127);
}

/* ---- life ---- */

/* Reaps everything that has ended. Ends the device when the server did. */
static void reap(const struct device_boot *b, pid_t server, pid_t *adbd, unsigned *restarts)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == server) {
            say(b, "E the adb server ended (wait status 0x%04x), see adb-server.log", (unsigned)status);
            _exit(125);
        }
        if (pid != *adbd)
            continue;
        say(b, "D %d", status);
        if (++*restarts > RESTARTS_MAX) {
            say(b, "E adbd ended %u times (wait status 0x%04x), see adbd.log", *restarts, (unsigned)status);
            _exit(125);
        }
        *adbd = start_adbd(b);
        say(b, "U %u", *restarts);
    }
}

static _Noreturn void live(const struct device_boot *b, int children)
{
    unsigned restarts = 0;
    pid_t server = start_server(b);
    pid_t adbd = start_adbd(b);
    say(b, "U 0");
    for (;;) {
        struct pollfd p[2] = {
            {.fd = b->go_fd, .events = POLLIN},
            {.fd = children, .events = POLLIN}
        };
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            fail(b, "poll", errno);
        if (p[0].revents)
            _exit(0); /* the parent closed its end, or is gone */
        struct signalfd_siginfo si;
        if (p[1].revents && read(children, &si, sizeof(si)) > 0)
            reap(b, server, &adbd, &restarts);
    }
}

static _Noreturn void init_main(const struct device_boot *b)
{
    sigset_t chld;
    prctl(PR_SET_PDEATHSIG,
          SIGKILL); /* the keeper's end is ours; the life line covers the moment before this */
    setsid();
    umask(022);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    int children = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0)
        fail(b, "signalfd", errno);
    set_namespaces_up(b);
    live(b, children);
}

_Noreturn void ptl_device_keep(const struct device_boot *b)
{
    sigset_t all;
    char go;
    int status = 0;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "portolan-phone");
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) <
        0) {
        say(b, "A this host does not allow the namespaces of an embedded device: %s", strerror(errno));
        _exit(125);
    }
    say(b, "N");
    if (read(b->go_fd, &go, 1) != 1)
        _exit(124); /* the parent went before it began */
    pid_t init = fork();
    if (init < 0)
        fail(b, "fork", errno);
    if (init == 0)
        init_main(b);
    say(b, "P %d", (int)init);
    close(b->say_fd);
    close(b->go_fd);
    /* Process 1 becomes waitable only after the kernel has ended every other process of its namespace. */
    while (waitpid(init, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 126);
}
