/* device.c - the embedded device, seen from the attempt's process: profiles, start, readiness, counters, end.
 *
 * The device is a child with its own namespaces; device_init.c is what runs in it. This side
 * writes its id maps, makes its control group, reads its status lines, and speaks to it only by the adb
 * server's unix socket. Promises: ptl_device_free() returns when no process of the device is left. Runs on
 * one thread. */
#include "device-private.h"

#include <ctype.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Memory is the class's RAM as its owner sees it; cpu_pct keeps the order of speeds, nothing more. */
const struct ptl_device_profile ptl_device_profiles[] = {
  /* name              title                                              cpu            part   MB    cores
  cpu% */
    {"wear-a53-512m",    "watch class: Cortex-A53, 512 MB",             "cortex-a53",  0xd03, 512,  2, 100},
    {"entry-a53-2g",     "entry phone class: Cortex-A53, 2 GB",         "cortex-a53",  0xd03, 2048, 4, 100},
    {"mid-a55-3g",       "middle phone class: Cortex-A55, 3 GB",        "cortex-a55",  0xd05, 3072, 4, 150},
    {"high-a76-4g",      "high phone class: Cortex-A76, 4 GB",          "cortex-a76",  0xd0b, 4096, 4, 200},
    {"flagship-a710-8g", "flagship class: Cortex-A710 with SVE2, 8 GB", "cortex-a710", 0xd47, 8192, 8, 400},
    {NULL,               NULL,                                          NULL,          0,     0,    0, 0  },
};
const char ptl_device_profile_default[] = "high-a76-4g";

enum { PIDS_MAX = 512, START_MS = 60000, SPAWN_MS = 10000, RETRY_MS = 50 };

struct ptl_device {
    pid_t keeper, init; /* init: process 1 of the device; 0 until it said so */
    int init_pidfd, go_fd, say_fd;
    char *dir;
    const struct ptl_device_profile *profile;
    struct ptl_cgroup *cgroup;
    struct ptl_adb *adb;
    struct ptl_buf said; /* an unfinished status line */
    unsigned restarts;
    bool entered; /* the keeper is in its namespaces */
    bool refused; /* this host does not allow them */
    bool gone;    /* the child said why it could not go on, or ended */
    char last_words[600];
    char ceilings[300];
};

const struct ptl_device_profile *ptl_device_profile_find(const char *name)
{
    for (const struct ptl_device_profile *p = ptl_device_profiles; p->name; p++)
        if (ptl_str_eq(p->name, name))
            return p;
    return NULL;
}

char *ptl_device_profile_names(void)
{
    struct ptl_buf b = PTL_BUF_INIT;
    for (const struct ptl_device_profile *p = ptl_device_profiles; p->name; p++)
        ptl_buf_printf(&b, "%s%s", b.len ? ", " : "", p->name);
    return ptl_buf_take(&b, NULL);
}

/* ---- what the host must have ---- */

static char *find_program(const char *name)
{
    static const char *const dirs[] = {"/usr/bin", "/usr/local/bin", "/bin", NULL};
    for (const char *const *d = dirs; *d; d++) {
        char *path = ptl_fs_join(*d, name);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

int ptl_device_possible(struct ptl_error *err)
{
#ifndef __x86_64__
    ptl_error_set(err, -ENOTSUP,
                  "the embedded device is emulated on x86-64 hosts only; name a real device by its serial");
    return PTL_ABSENT;
#endif
    PTL_FREE char *adb = find_program("adb"), *bwrap = find_program("bwrap");
    if (!adb || !bwrap) {
        ptl_error_set(err, -ENOENT, "%s is missing: install the Debian package %s", adb ? "bwrap" : "adb",
                      adb ? "bubblewrap" : "adb");
        return PTL_ABSENT;
    }
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0);
    if (pid < 0) {
        ptl_error_set(
            err, -errno,
            "this host does not allow user namespaces (%s): see kernel.unprivileged_userns_clone and user.max_user_namespaces",
            strerror(errno));
        return PTL_ABSENT;
    }
    if (pid == 0)
        _exit(0);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

/* ---- status lines of the child ---- */

static void hear_line(struct ptl_device *dev, const char *line)
{
    if (line[0] == 'N') {
        dev->entered = true;
    } else if (line[0] == 'P') {
        dev->init = (pid_t)atoi(line + 2);
    } else if (line[0] == 'E' || line[0] == 'A') {
        dev->refused = line[0] == 'A';
        snprintf(dev->last_words, sizeof(dev->last_words), "%s", line + 2);
        dev->gone = true;
    } else if (line[0] == 'D') {
        int status = atoi(line + 2);
        snprintf(dev->last_words, sizeof(dev->last_words), "adbd ended (%s %d)",
                 WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    } else if (line[0] == 'U') {
        dev->restarts = (unsigned)atoi(line + 2);
    }
}

/* Takes in what the child said so far; never waits. */
static void hear(struct ptl_device *dev)
{
    char piece[512];
    ssize_t n;
    while ((n = read(dev->say_fd, piece, sizeof(piece))) > 0) {
        if (ptl_buf_add(&dev->said, piece, (size_t)n) < 0)
            ptl_buf_clear(&dev->said);
        char *at = dev->said.data, *nl;
        while (at && (nl = strchr(at, '\n')) != NULL) {
            *nl = '\0';
            hear_line(dev, at);
            at = nl + 1;
        }
        if (at) {
            size_t rest = strlen(at);
            memmove(dev->said.data, at, rest + 1);
            dev->said.len = rest;
        }
    }
    if (n == 0)
        dev->gone = true;
}

/* The last line of a log of the device, for messages. */
static void last_line(const struct ptl_device *dev, const char *file, char *ret, size_t size)
{
    PTL_FREE char *path = ptl_fs_join(dev->dir, file);
    PTL_BUF text = PTL_BUF_MAX(1 << 20);
    *ret = '\0';
    if (ptl_fs_read(path, 1 << 20, &text, NULL) < 0 || !text.len)
        return;
    char *end = text.data + text.len;
    while (end > text.data && isspace((unsigned char)end[-1]))
        *--end = '\0';
    char *nl = strrchr(text.data, '\n');
    snprintf(ret, size, "%s", nl ? nl + 1 : text.data);
}

static int gone_error(struct ptl_device *dev, struct ptl_error *err)
{
    char line[200];
    last_line(dev, "adbd.log", line, sizeof(line));
    return ptl_error_set(err, -ENODEV, "the device %s ended: %s%s%s", dev->profile->name,
                         dev->last_words[0] ? dev->last_words : "without a word",
                         line[0] ? "; its log ends: " : "", line);
}

/* ---- start ---- */

static int write_map(pid_t pid, const char *file, const char *text, struct ptl_error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    PTL_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

static int write_maps(pid_t pid, struct ptl_error *err)
{
    char uid[32], gid[32];
    snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)geteuid());
    snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getegid());
    int r = write_map(pid, "setgroups", "deny", err);
    if (r == 0)
        r = write_map(pid, "uid_map", uid, err);
    return r < 0 ? r : write_map(pid, "gid_map", gid, err);
}

static int make_dirs(const char *dir, struct ptl_error *err)
{
    static const char *const parts[] = {"data/local/tmp", "binfmt", NULL};
    int r = ptl_fs_mkdirs(dir, 0700, err);
    for (const char *const *p = parts; r == 0 && *p; p++) {
        PTL_FREE char *path = ptl_fs_join(dir, *p);
        r = ptl_fs_mkdirs(path, 0755, err);
    }
    return r;
}

/* Ceilings by control group; without one the emulator itself bounds each process's address space. */
static int make_ceilings(struct ptl_device *dev, const char *given, uint64_t bytes,
                         uint64_t *ret_address_bytes, struct ptl_error *err)
{
    unsigned char salt[4];
    char hex[9];
    ptl_random(salt, sizeof(salt));
    ptl_hex(salt, sizeof(salt), hex);
    PTL_FREE char *name =
        given ? ptl_xstrdup(given) : ptl_xasprintf("portolan-phone-%d-%s", (int)getpid(), hex);
    struct ptl_cgroup_limits limits = {
        .memory_bytes = bytes, .cpu_pct = dev->profile->cpu_pct, .pids = PIDS_MAX};
    struct ptl_error why = PTL_ERROR_INIT;
    int r = ptl_cgroup_new(name, &limits, &dev->cgroup, &why);
    unsigned long long mib = (unsigned long long)(bytes >> 20);
    if (r < 0) {
        if (err)
            *err = why;
        return r;
    }
    if (r == 0) {
        snprintf(dev->ceilings, sizeof(dev->ceilings), "%s: %llu MiB, %u %% of a core",
                 ptl_cgroup_name(dev->cgroup), mib, dev->profile->cpu_pct);
        return 0;
    }
    *ret_address_bytes = bytes;
    snprintf(dev->ceilings, sizeof(dev->ceilings),
             "address space of %llu MiB per process, no other ceiling (%.150s)", mib, why.text);
    return 0;
}

/* Waits until the keeper has said what makes *flag true. */
static int await_word(struct ptl_device *dev, bool (*is_said)(const struct ptl_device *),
                      struct ptl_error *err)
{
    int64_t deadline = ptl_mono_ms() + SPAWN_MS;
    for (;;) {
        hear(dev);
        if (is_said(dev))
            return 0;
        if (dev->gone) {
            ptl_error_set(err, -ENODEV, "device: %s",
                          dev->last_words[0] ? dev->last_words : "its keeper ended without a word");
            return dev->refused ? PTL_ABSENT : -ENODEV;
        }
        int64_t left = deadline - ptl_mono_ms();
        struct pollfd p = {.fd = dev->say_fd, .events = POLLIN};
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
            return ptl_error_set(err, -ETIMEDOUT, "device: its keeper did not answer");
    }
}

static bool has_entered(const struct ptl_device *dev)
{
    return dev->entered;
}

static bool has_init(const struct ptl_device *dev)
{
    return dev->init > 0;
}

/* fork(), not clone(): the attempt process has a thread that copies its log, and only fork() leaves malloc
 * usable. */
static int fork_keeper(struct ptl_device *dev, struct device_boot *boot, struct ptl_error *err)
{
    int go[2], words[2];
    if (pipe2(go, O_CLOEXEC) < 0)
        return ptl_error_set(err, -errno, "device: pipe: %s", strerror(errno));
    if (pipe2(words, O_CLOEXEC) < 0) {
        close(go[0]);
        close(go[1]);
        return ptl_error_set(err, -errno, "device: pipe: %s", strerror(errno));
    }
    dev->go_fd = go[1];
    dev->say_fd = words[0];
    boot->go_fd = go[0];
    boot->say_fd = words[1];
    fcntl(dev->say_fd, F_SETFL, O_NONBLOCK);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]); /* or the device would hold its own life line */
        close(words[0]);
        ptl_device_keep(boot);
    }
    int e = errno;
    close(go[0]);
    close(words[1]);
    if (pid < 0)
        return ptl_error_set(err, -e, "device: fork: %s", strerror(e));
    dev->keeper = pid;
    return 0;
}

static int spawn(struct ptl_device *dev, struct device_boot *boot, struct ptl_error *err)
{
    int r = fork_keeper(dev, boot, err);
    if (r == 0)
        r = await_word(dev, has_entered, err);
    if (r == 0)
        r = write_maps(dev->keeper, err);
    if (r == 0 && write(dev->go_fd, "g", 1) != 1)
        r = ptl_error_set(err, -EPIPE, "device: its keeper ended before it began");
    if (r == 0)
        r = await_word(dev, has_init, err);
    if (r != 0)
        return r;
    dev->init_pidfd = (int)syscall(SYS_pidfd_open, dev->init, 0);
    return dev->init_pidfd < 0 ? ptl_error_set(err, -errno, "device: pidfd_open: %s", strerror(errno)) : 0;
}

static void nap(const struct ptl_adb_wait *wait)
{
    /* Nothing announces that a server begins to listen: ask again soon. Bounded by the caller's deadline. */
    if (!wait->cancelled || !*wait->cancelled)
        poll(NULL, 0, RETRY_MS);
}

/* One try: connected, listed as usable, answers a command. 0 or PTL_AGAIN, or negative (cancel, deadline). */
static int try_connect(struct ptl_device *dev, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    bool ready = false;
    char state[32] = "";
    int r = ptl_adb_connect(dev->adb, DEVICE_SERIAL, wait, err);
    if (r == 0)
        r = ptl_adb_is_ready(dev->adb, DEVICE_SERIAL, wait, &ready, state, err);
    if (r == -ECANCELED || r == -ETIMEDOUT)
        return r;
    if (r != 0)
        return PTL_AGAIN; /* no server yet, connection refused, … */
    if (!ready) {
        ptl_error_set(err, -EAGAIN, "the adb server lists the device as \"%s\"", state);
        /* "offline" never becomes "device" again by itself. */
        r = strcmp(state, "offline") == 0 ? ptl_adb_disconnect(dev->adb, DEVICE_SERIAL, wait, err) : 0;
        return r == -ECANCELED || r == -ETIMEDOUT ? r : PTL_AGAIN;
    }
    int code = -1;
    /* A connection to a daemon that has just died is listed as "device" until something is sent over it. */
    struct ptl_adb_wait brief = {ptl_mono_ms() + 5000, wait->cancelled};
    if (brief.deadline_mono_ms > wait->deadline_mono_ms)
        brief.deadline_mono_ms = wait->deadline_mono_ms;
    r = ptl_adb_shell_buf(dev->adb, DEVICE_SERIAL, "true", &brief, NULL, NULL, &code, err);
    if (r == 0 && code == 0)
        return 0;
    if (r == -ECANCELED || ptl_mono_ms() >= wait->deadline_mono_ms)
        return r ? r : -ETIMEDOUT;
    if (r == 0)
        ptl_error_set(err, -EIO, "\"true\" ended with exit status %d on the device", code);
    r = ptl_adb_disconnect(dev->adb, DEVICE_SERIAL, wait, NULL);
    return r == -ECANCELED || r == -ETIMEDOUT ? r : PTL_AGAIN;
}

static int connect_until(struct ptl_device *dev, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    for (;;) {
        hear(dev);
        if (dev->gone)
            return gone_error(dev, err);
        struct ptl_error why = PTL_ERROR_INIT;
        int r = try_connect(dev, wait, &why);
        if (r == 0)
            return 0;
        if (r < 0 || ptl_mono_ms() >= wait->deadline_mono_ms) {
            char line[200];
            last_line(dev, "adbd.log", line, sizeof(line));
            return ptl_error_set(err, r < 0 ? r : -ETIMEDOUT, "the device %s did not come up: %s%s%s",
                                 dev->profile->name, why.text, line[0] ? "; its log ends: " : "", line);
        }
        nap(wait);
    }
}

/* The CPU model reaches the device by an environment variable; that it did is proved by what the device sees.
 */
static int check_cpu(struct ptl_device *dev, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    PTL_BUF out = PTL_BUF_MAX(4096);
    int code = 0;
    int r = ptl_adb_shell_buf(dev->adb, DEVICE_SERIAL, "uname -m; grep -m 1 'CPU part' /proc/cpuinfo", wait,
                              &out, NULL, &code, err);
    if (r < 0)
        return r;
    const char *text = ptl_buf_str(&out), *part = strstr(text, "0x");
    if (code != 0 || !ptl_str_starts(text, "aarch64") || !part ||
        strtoul(part, NULL, 16) != dev->profile->cpu_part)
        return ptl_error_set(err, -EIO, "the device %s says \"%s\" instead of aarch64, CPU part 0x%x (%s)",
                             dev->profile->name, text, dev->profile->cpu_part, dev->profile->cpu);
    return 0;
}

static int check_phone_dir(const char *dir, struct ptl_error *err)
{
    PTL_FREE char *qemu = ptl_fs_join(dir, "bin/qemu-aarch64");
    PTL_FREE char *adbd = ptl_fs_join(dir, "root/usr/lib/android-sdk/platform-tools/adbd");
    if (access(qemu, X_OK) == 0 && access(adbd, X_OK) == 0 && !strchr(dir, ':') && dir[0] == '/')
        return 0;
    ptl_error_set(err, -ENOENT, "no embedded device in \"%s\": run agents/toolchains/prepare phone-arm64",
                  dir);
    return PTL_ABSENT;
}

int ptl_device_start(const struct ptl_device_spec *spec, const struct ptl_adb_wait *wait,
                     struct ptl_device **ret, struct ptl_error *err)
{
    int r = check_phone_dir(spec->phone_dir, err);
    if (r == 0)
        r = ptl_device_possible(err);
    if (r != 0)
        return r;
    PTL_CLEANUP(ptl_device_freep) struct ptl_device *dev = ptl_xcalloc(1, sizeof(*dev));
    *dev = (struct ptl_device){
        .init_pidfd = -1, .go_fd = -1, .say_fd = -1, .profile = spec->profile, .said = PTL_BUF_MAX(64 << 10)};
    dev->dir = ptl_xstrdup(spec->dir);
    PTL_FREE char *adb = find_program("adb"), *bwrap = find_program("bwrap");
    PTL_FREE char *address = ptl_xasprintf("unix:%s/" DEVICE_SOCKET, spec->dir);
    struct device_boot boot = {.phone_dir = spec->phone_dir,
                               .dir = spec->dir,
                               .adb = adb,
                               .bwrap = bwrap,
                               .profile = spec->profile,
                               .binds = spec->binds,
                               .n_binds = spec->n_binds};
    uint64_t bytes = (uint64_t)spec->profile->memory_mb << 20;
    if (spec->memory_bytes && spec->memory_bytes < bytes)
        bytes = spec->memory_bytes;
    r = make_dirs(spec->dir, err);
    if (r == 0)
        r = ptl_adb_new(address, &dev->adb, err);
    if (r == 0)
        r = make_ceilings(dev, spec->cgroup_name, bytes, &boot.address_bytes, err);
    boot.cgroup = dev->cgroup;
    if (r == 0)
        r = spawn(dev, &boot, err);
    if (r != 0)
        return r;
    struct ptl_adb_wait start = {ptl_mono_ms() + START_MS, wait->cancelled};
    if (start.deadline_mono_ms > wait->deadline_mono_ms)
        start.deadline_mono_ms = wait->deadline_mono_ms;
    r = connect_until(dev, &start, err);
    if (r == 0)
        r = check_cpu(dev, &start, err);
    if (r == 0)
        *ret = PTL_TAKE(dev);
    return r;
}

int ptl_device_reconnect(struct ptl_device *dev, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    struct ptl_adb_wait again = {ptl_mono_ms() + START_MS, wait->cancelled};
    if (again.deadline_mono_ms > wait->deadline_mono_ms)
        again.deadline_mono_ms = wait->deadline_mono_ms;
    return connect_until(dev, &again, err);
}

/* ---- questions ---- */

struct ptl_adb *ptl_device_adb(struct ptl_device *dev)
{
    return dev->adb;
}

const char *ptl_device_serial(const struct ptl_device *dev PTL_UNUSED)
{
    return DEVICE_SERIAL;
}

const char *ptl_device_ceilings(const struct ptl_device *dev)
{
    return dev->ceilings;
}

unsigned ptl_device_restarts(struct ptl_device *dev)
{
    hear(dev);
    return dev->restarts;
}

static struct ptl_cgroup_usage usage_of(struct ptl_device *dev)
{
    struct ptl_cgroup_usage u = {0};
    if (dev->cgroup && ptl_cgroup_usage(dev->cgroup, &u) < 0)
        u = (struct ptl_cgroup_usage){0};
    return u;
}

uint64_t ptl_device_oom_kills(struct ptl_device *dev)
{
    return usage_of(dev).oom_kills;
}

uint64_t ptl_device_peak_bytes(struct ptl_device *dev)
{
    return usage_of(dev).peak_bytes;
}

pid_t ptl_device_pid(const struct ptl_device *dev)
{
    return dev->init;
}

/* ---- end ---- */

struct ptl_device *ptl_device_free(struct ptl_device *dev)
{
    if (!dev)
        return NULL;
    if (dev->go_fd >= 0)
        close(dev->go_fd);
    if (dev->init_pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, dev->init_pidfd, SIGKILL, NULL, 0);
        close(dev->init_pidfd);
    } else if (dev->keeper > 0) {
        kill(dev->keeper, SIGKILL); /* not yet waited for, so the number is still its own */
    }
    /* The keeper ends after process 1, and process 1 after everything else in the device. */
    while (dev->keeper > 0 && waitpid(dev->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    if (dev->say_fd >= 0)
        close(dev->say_fd);
    dev->cgroup = ptl_cgroup_free(dev->cgroup);
    ptl_adb_free(dev->adb);
    ptl_buf_done(&dev->said);
    struct ptl_error err = PTL_ERROR_INIT;
    if (dev->dir && ptl_fs_remove_tree(dev->dir, &err) < 0)
        ptl_log_warning("device: %s is left behind: %s", dev->dir, err.text);
    free(dev->dir);
    free(dev);
    return NULL;
}
