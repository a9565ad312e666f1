/* cgroup.c - control groups of sandboxed children, v1 and v2.
 *
 * Owns the directories it makes: a v1 group is one directory in each of the memory, cpu and pids hierarchies,
 * a v2 group is one directory. They lie below the group this process is in, so what limits the agent limits
 * its stages. On v2 a group with children may not hold processes itself: the first use therefore moves this
 * process into a leaf named SELF_LEAF beside the children (systemd: Delegate=yes makes that possible).
 * Blocking, one thread per group. What cannot be limited here is reported, never guessed. */
#include "cgroup-private.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>

#define SELF_LEAF     "portolan.self"
#define CPU_PERIOD_US 100000
/* A killed group empties as fast as the kernel frees its memory; 10 s covers a 20 GiB process on a busy disk.
 */
#define EMPTY_WAIT_MS 10000

struct ptl_cgroup {
    int kind;                /* 1 or 2 */
    char dir[CG_COUNT][600]; /* v1: one per controller, "" when absent; v2: dir[CG_MEMORY] only */
    int procs_fd[CG_COUNT];  /* cgroup.procs of each, for enter_self; -1 when absent */
};

static const char *const controller_names[CG_COUNT] = {"memory", "cpu", "pids"};

/* ---- where the hierarchies are ---- */

static bool has_word(const char *list, size_t len, const char *word)
{
    size_t w = strlen(word);
    for (size_t at = 0; at + w <= len;) {
        const char *comma = memchr(list + at, ',', len - at);
        size_t n = comma ? (size_t)(comma - (list + at)) : len - at;
        if (n == w && memcmp(list + at, word, w) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

/* Path of this process in the hierarchy with `controller` ("" for v2), from lines "ID:list:path". */
static bool own_path(const char *self, const char *controller, char *ret, size_t size)
{
    for (const char *line = self; line && *line;) {
        const char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        const char *c1 = memchr(line, ':', len);
        const char *c2 = c1 ? memchr(c1 + 1, ':', len - (size_t)(c1 + 1 - line)) : NULL;
        if (c2) {
            size_t list_len = (size_t)(c2 - c1 - 1), path_len = len - (size_t)(c2 + 1 - line);
            bool match = *controller ? has_word(c1 + 1, list_len, controller) : list_len == 0;
            if (match && path_len < size) {
                memcpy(ret, c2 + 1, path_len);
                ret[path_len] = 0;
                return true;
            }
        }
        line = end ? end + 1 : NULL;
    }
    return false;
}

/* mount point + the part of `path` below the mounted root; our own leaf is left out. */
static void join_base(char ret[512], const char *mount_point, const char *root, const char *path)
{
    size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *below = strncmp(path, root, root_len) == 0 ? path + root_len : "";
    if (snprintf(ret, 512, "%s%s", mount_point, strcmp(below, "/") == 0 ? "" : below) >= 512) {
        ret[0] = 0;
        return;
    }
    if (ptl_str_ends(ret, "/" SELF_LEAF))
        ret[strlen(ret) - strlen("/" SELF_LEAF)] = 0;
}

void ptl_cgroup_layout_parse(const char *mountinfo, const char *self, struct ptl_cgroup_layout *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (const char *line = mountinfo; line && *line;) {
        const char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        char text[2048], root[512], mount_point[512], type[64], super[512], path[512];
        if (len < sizeof(text)) {
            memcpy(text, line, len);
            text[len] = 0;
            /* "36 35 98:0 ROOT MOUNTPOINT opts [optional...] - TYPE SOURCE SUPEROPTS" */
            const char *dash = strstr(text, " - ");
            if (dash && sscanf(text, "%*s %*s %*s %511s %511s", root, mount_point) == 2 &&
                sscanf(dash + 3, "%63s %*s %511s", type, super) == 2) {
                if (strcmp(type, "cgroup2") == 0 && own_path(self, "", path, sizeof(path)))
                    join_base(ret->unified, mount_point, root, path);
                for (int c = 0; c < CG_COUNT && strcmp(type, "cgroup") == 0; c++)
                    if (has_word(super, strlen(super), controller_names[c]) &&
                        own_path(self, controller_names[c], path, sizeof(path)))
                        join_base(ret->v1[c], mount_point, root, path);
            }
        }
        line = end ? end + 1 : NULL;
    }
}

static int read_layout(struct ptl_cgroup_layout *ret, struct ptl_error *err)
{
    PTL_BUF mounts = PTL_BUF_MAX(4 << 20);
    PTL_BUF self = PTL_BUF_MAX(1 << 20);
    int r = ptl_fs_read("/proc/self/mountinfo", 4 << 20, &mounts, err);
    if (r == 0)
        r = ptl_fs_read("/proc/self/cgroup", 1 << 20, &self, err);
    if (r == 0)
        ptl_cgroup_layout_parse(ptl_buf_str(&mounts), ptl_buf_str(&self), ret);
    return r;
}

/* ---- small file work ---- */

static int write_file(const char *dir, const char *file, const char *text)
{
    char path[700];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    PTL_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int write_u64(const char *dir, const char *file, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return write_file(dir, file, text);
}

static int read_file(const char *dir, const char *file, char *ret, size_t size)
{
    char path[700];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, ret, size - 1);
    if (n < 0)
        return -errno;
    ret[n] = 0;
    return 0;
}

/* Number after `key` at the start of a line ("oom_kill 3"), or of the file when key is "". */
static bool read_number(const char *dir, const char *file, const char *key, uint64_t *ret)
{
    char text[4096];
    if (read_file(dir, file, text, sizeof(text)) < 0)
        return false;
    size_t k = strlen(key);
    for (const char *line = text; line;) {
        if (strncmp(line, key, k) == 0 && (k == 0 || line[k] == ' ')) {
            char *end;
            *ret = strtoull(line + k, &end, 10);
            return end != line + k;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

static void nap_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* ---- making ---- */

static bool name_is_good(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > 64 || name[0] == '.')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len;
}

static bool has_members(const char *dir)
{
    char text[64];
    return read_file(dir, "cgroup.procs", text, sizeof(text)) == 0 && text[0];
}

static int make_dir(struct ptl_cgroup *cg, int c, const char *base, const char *name, struct ptl_error *err)
{
    char dir[600];
    snprintf(dir, sizeof(dir), "%s/%s", base, name);
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return ptl_error_set(err, -errno, "cannot make the control group %s: %s", dir, strerror(errno));
    if (has_members(dir)) /* somebody else's; freeing ours must not kill theirs */
        return ptl_error_set(err, -EBUSY, "the control group %s is in use by other processes", dir);
    memcpy(cg->dir[c], dir, sizeof(dir));
    char path[700];
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    cg->procs_fd[c] = open(path, O_WRONLY | O_CLOEXEC);
    if (cg->procs_fd[c] < 0)
        return ptl_error_set(err, -errno, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

static int limit_failed(struct ptl_error *err, int r, const char *what, const char *dir)
{
    return ptl_error_set(err, r, "cannot set the %s limit in %s: %s", what, dir, strerror(-r));
}

static int set_limits_v1(struct ptl_cgroup *cg, const struct ptl_cgroup_limits *l, struct ptl_error *err)
{
    const char *mem = cg->dir[CG_MEMORY], *cpu = cg->dir[CG_CPU], *pids = cg->dir[CG_PIDS];
    int r;
    if (l->memory_bytes) {
        write_file(mem, "memory.memsw.limit_in_bytes",
                   "-1"); /* a group taken over may have a lower old one */
        if ((r = write_u64(mem, "memory.limit_in_bytes", l->memory_bytes)) < 0)
            return limit_failed(err, r, "memory", mem);
        write_u64(mem, "memory.memsw.limit_in_bytes", l->memory_bytes); /* absent without swap accounting */
    }
    write_file(mem, "memory.max_usage_in_bytes", "0");
    if (l->cpu_pct && *cpu) {
        if ((r = write_u64(cpu, "cpu.cfs_period_us", CPU_PERIOD_US)) < 0 ||
            (r = write_u64(cpu, "cpu.cfs_quota_us", (uint64_t)l->cpu_pct * CPU_PERIOD_US / 100)) < 0)
            return limit_failed(err, r, "CPU", cpu);
    }
    if (l->pids && *pids && (r = write_u64(pids, "pids.max", l->pids)) < 0)
        return limit_failed(err, r, "process", pids);
    return 0;
}

static int set_limits_v2(struct ptl_cgroup *cg, const struct ptl_cgroup_limits *l, struct ptl_error *err)
{
    const char *dir = cg->dir[CG_MEMORY];
    int r;
    if (l->memory_bytes) {
        if ((r = write_u64(dir, "memory.max", l->memory_bytes)) < 0)
            return limit_failed(err, r, "memory", dir);
        write_u64(dir, "memory.swap.max", 0); /* absent without swap */
    }
    if (l->cpu_pct) {
        char text[64];
        snprintf(text, sizeof(text), "%llu %d", (unsigned long long)l->cpu_pct * CPU_PERIOD_US / 100,
                 CPU_PERIOD_US);
        if ((r = write_file(dir, "cpu.max", text)) < 0 && r != -ENOENT)
            return limit_failed(err, r, "CPU", dir);
    }
    if (l->pids && (r = write_u64(dir, "pids.max", l->pids)) < 0 && r != -ENOENT)
        return limit_failed(err, r, "process", dir);
    return 0;
}

/* v2: children of `base` get the controllers. Moves this process into a leaf first when it sits in `base`
 * itself. */
static int enable_controllers(const char *base, struct ptl_error *err)
{
    char text[1024];
    if (read_file(base, "cgroup.controllers", text, sizeof(text)) < 0 || !strstr(text, "memory"))
        return ptl_error_set(err, -ENOENT, "cgroup v2 at %s has no memory controller", base);
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "+memory%s%s", strstr(text, "pids") ? " +pids" : "",
             strstr(text, "cpu") ? " +cpu" : "");
    int r = write_file(base, "cgroup.subtree_control", wanted);
    if (r == -EBUSY || r == -EOPNOTSUPP) {
        char leaf[600];
        snprintf(leaf, sizeof(leaf), "%s/%s", base, SELF_LEAF);
        if ((mkdir(leaf, 0755) == 0 || errno == EEXIST) && write_file(leaf, "cgroup.procs", "0") == 0)
            r = write_file(base, "cgroup.subtree_control", wanted);
    }
    if (r < 0)
        return ptl_error_set(
            err, r, "cgroup v2 at %s is not delegated to this process (%s); for systemd set Delegate=yes",
            base, strerror(-r));
    return 0;
}

int ptl_cgroup_new_in(const struct ptl_cgroup_layout *layout, int kind, const char *name,
                      const struct ptl_cgroup_limits *limits, struct ptl_cgroup **ret, struct ptl_error *err)
{
    static const struct ptl_cgroup_limits none;
    if (!limits)
        limits = &none;
    if (!name_is_good(name))
        return ptl_error_set(err, -EINVAL, "\"%s\" is no name for a control group", name);
    PTL_CLEANUP(ptl_cgroup_freep) struct ptl_cgroup *cg = calloc(1, sizeof(*cg));
    if (!cg)
        return ptl_error_set(err, -ENOMEM, "control group: out of memory");
    cg->kind = kind;
    for (int c = 0; c < CG_COUNT; c++)
        cg->procs_fd[c] = -1;
    int r = 0;
    if (kind == 2) {
        r = make_dir(cg, CG_MEMORY, layout->unified, name, err);
    } else {
        for (int c = 0; c < CG_COUNT && r == 0; c++) {
            if (!layout->v1[c][0])
                continue;
            r = make_dir(cg, c, layout->v1[c], name, err);
            if (r < 0 && c != CG_MEMORY) { /* cpu and pids are welcome, memory is what stages die of */
                cg->dir[c][0] = 0;
                r = 0;
            }
        }
    }
    if (r == 0)
        r = kind == 2 ? set_limits_v2(cg, limits, err) : set_limits_v1(cg, limits, err);
    if (r < 0)
        return r;
    *ret = PTL_TAKE(cg);
    return 0;
}

/* Chooses and proves a hierarchy: 1, 2, or PTL_ABSENT-ish 0 with err. */
static int choose_kind(struct ptl_cgroup_layout *ret_layout, struct ptl_error *err)
{
    if (read_layout(ret_layout, err) < 0)
        return 0;
    if (ret_layout->v1[CG_MEMORY][0]) {
        if (access(ret_layout->v1[CG_MEMORY], W_OK) == 0)
            return 1;
        ptl_error_set(err, -errno, "control group %s is not writable: %s", ret_layout->v1[CG_MEMORY],
                      strerror(errno));
        return 0;
    }
    if (!ret_layout->unified[0]) {
        ptl_error_set(err, -ENOENT, "no cgroup file system is mounted");
        return 0;
    }
    return enable_controllers(ret_layout->unified, err) < 0 ? 0 : 2;
}

int ptl_cgroup_new(const char *name, const struct ptl_cgroup_limits *limits, struct ptl_cgroup **ret,
                   struct ptl_error *err)
{
    struct ptl_cgroup_layout layout;
    int kind = choose_kind(&layout, err);
    if (kind == 0)
        return PTL_ABSENT;
    int r = ptl_cgroup_new_in(&layout, kind, name, limits, ret, err);
    return r == -EACCES || r == -EPERM || r == -EROFS ? PTL_ABSENT : r;
}

const char *ptl_cgroup_kind(struct ptl_error *err)
{
    char name[64];
    snprintf(name, sizeof(name), "portolan-probe-%d", (int)getpid());
    struct ptl_cgroup *cg = NULL;
    if (ptl_cgroup_new(name, NULL, &cg, err) != 0)
        return NULL;
    const char *kind = ptl_cgroup_name(cg);
    ptl_cgroup_free(cg);
    return kind;
}

void ptl_cgroup_name_for(const char *attempt_dir, const char *what, char ret[PTL_CGROUP_NAME])
{
    char hex[PTL_SHA256_HEX];
    PTL_FREE char *real = realpath(attempt_dir, NULL);
    const char *dir = real ? real : attempt_dir;
    ptl_sha256_of(dir, strlen(dir), hex);
    snprintf(ret, PTL_CGROUP_NAME, "portolan-%.16s-%.20s", hex, what);
}

const char *ptl_cgroup_name(const struct ptl_cgroup *cg)
{
    return cg->kind == 1 ? "cgroup1" : "cgroup2";
}

/* ---- using ---- */

int ptl_cgroup_add(struct ptl_cgroup *cg, pid_t pid)
{
    for (int c = 0; c < CG_COUNT; c++) {
        if (cg->procs_fd[c] < 0)
            continue;
        char text[24];
        int len = snprintf(text, sizeof(text), "%d", (int)pid);
        if (write(cg->procs_fd[c], text, (size_t)len) < 0)
            return -errno;
    }
    return 0;
}

int ptl_cgroup_enter_self(struct ptl_cgroup *cg)
{
    for (int c = 0; c < CG_COUNT; c++)
        if (cg->procs_fd[c] >= 0 && write(cg->procs_fd[c], "0", 1) < 0)
            return -errno;
    return 0;
}

int ptl_cgroup_usage(struct ptl_cgroup *cg, struct ptl_cgroup_usage *ret)
{
    const char *dir = cg->dir[CG_MEMORY];
    struct ptl_cgroup_usage u = {0};
    bool ok;
    if (cg->kind == 1) {
        read_number(dir, "memory.max_usage_in_bytes", "", &u.peak_bytes);
        ok = read_number(dir, "memory.oom_control", "oom_kill", &u.oom_kills);
    } else {
        if (!read_number(dir, "memory.peak", "", &u.peak_bytes)) /* kernel 5.19 */
            u.peak_bytes = 0;
        ok = read_number(dir, "memory.events", "oom_kill", &u.oom_kills);
    }
    if (!ok)
        return -EIO;
    *ret = u;
    return 0;
}

/* SIGKILL to the members listed in `dir` right now. Returns how many there were, or negative errno. */
static int kill_members(const char *dir)
{
    char path[700];
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    int n = 0, pid;
    while (fscanf(f, "%d", &pid) == 1) {
        n++;
        if (pid > 0 && pid != getpid())
            kill(pid, SIGKILL);
    }
    fclose(f);
    return n;
}

static int kill_dir(const char *dir)
{
    int64_t deadline = ptl_mono_ms() + EMPTY_WAIT_MS;
    for (int nap = 1;; nap = nap < 50 ? nap * 2 : 50) {
        write_file(dir, "cgroup.kill", "1"); /* v2, kernel 5.14; absent elsewhere */
        int n = kill_members(dir);
        if (n <= 0)
            return n == -ENOENT ? 0 : n;
        if (ptl_mono_ms() > deadline)
            return -EBUSY;
        nap_ms(nap);
    }
}

int ptl_cgroup_kill(struct ptl_cgroup *cg)
{
    return kill_dir(cg->dir[CG_MEMORY]);
}

static void remove_dir(const char *dir)
{
    int64_t deadline = ptl_mono_ms() + EMPTY_WAIT_MS;
    while (rmdir(dir) < 0 && errno == EBUSY && ptl_mono_ms() < deadline)
        nap_ms(5); /* members are dead but not yet reaped */
}

struct ptl_cgroup *ptl_cgroup_free(struct ptl_cgroup *cg)
{
    if (!cg)
        return NULL;
    if (cg->dir[CG_MEMORY][0])
        kill_dir(cg->dir[CG_MEMORY]);
    for (int c = 0; c < CG_COUNT; c++) {
        if (cg->procs_fd[c] >= 0)
            close(cg->procs_fd[c]);
        if (cg->dir[c][0])
            remove_dir(cg->dir[c]);
    }
    free(cg);
    return NULL;
}

/* A fresh empty group may be another agent's that is about to enter it. */
#define STALE_S 3600

static bool is_stale(const char *dir)
{
    struct stat st;
    return stat(dir, &st) == 0 && time(NULL) - st.st_mtime > STALE_S && !has_members(dir);
}

static void sweep_dir(const char *base, const char *prefix, bool only_stale)
{
    DIR *d = *base ? opendir(base) : NULL;
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        if (!ptl_str_starts(e->d_name, prefix))
            continue;
        char dir[800];
        snprintf(dir, sizeof(dir), "%s/%s", base, e->d_name);
        if (only_stale) {
            if (is_stale(dir))
                rmdir(dir);
            continue;
        }
        kill_dir(dir);
        remove_dir(dir);
    }
    closedir(d);
}

static void sweep(const char *prefix, bool only_stale)
{
    struct ptl_cgroup_layout layout;
    if (!*prefix || read_layout(&layout, NULL) < 0)
        return;
    for (int c = 0; c < CG_COUNT; c++)
        sweep_dir(layout.v1[c], prefix, only_stale);
    sweep_dir(layout.unified, prefix, only_stale);
}

void ptl_cgroup_sweep(const char *prefix)
{
    sweep(prefix, false);
}

void ptl_cgroup_sweep_stale(void)
{
    sweep("portolan-", true);
}
