/* embedded.c - owns the private PostgreSQL of one state directory: finds the programs, makes the cluster,
 * starts it as a user that is not root, and sees to it that it ends with us. The data directory is known to
 * be ours alone by a lock that dies with the process that holds it; so whatever else runs on the data
 * directory was left behind and is ended first. Knows nothing of sessions or statements beyond creating the
 * role's database. */
#include "embedded.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <portolan/proc.h>
#include <libpq-fe.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

enum {
    MAJOR_MIN = 14, /* pipeline-friendly server, lz4 for TOAST */
    STOP_FAST_MS = 20000,
    STOP_IMMEDIATE_MS = 5000,
    STRAYS_MS = 10000, /* a left-behind server gets this long for its own shutdown, then SIGKILL */
};
#define ROLE "portolan"

struct ptl_embedded {
    char *state_dir, *dir, *data, *socket_dir, *bin_dir, *start_log;
    char *dsn, *maintenance_dsn;
    int lock_fd;
    int major;
    int64_t timeout_ms;
    int64_t strays_since_ms; /* 0: none seen */
    char **settings;         /* NULL-ended "name=value" */
    bool throw_away, drop;   /* drop: become `uid` in the child */
    uid_t uid;
    gid_t gid;
    char user[64]; /* name of uid */
    char self[64]; /* name of our own user: whom the server lets in */
    struct ptl_proc proc;
};

/* ---- which user
 * ------------------------------------------------------------------------------------------------ */

static int find_users(struct ptl_embedded *e, struct ptl_error *err)
{
    const struct passwd *pw = getpwuid(geteuid());
    if (!pw)
        return ptl_error_set(
            err, -ENOENT,
            "private PostgreSQL: user id %u has no name (no line in /etc/passwd), and the server needs "
            "one; give it a name or name a database of your own",
            (unsigned)geteuid());
    snprintf(e->self, sizeof(e->self), "%s", pw->pw_name);
    if (geteuid() != 0) {
        e->uid = geteuid();
        e->gid = getegid();
        snprintf(e->user, sizeof(e->user), "%s", pw->pw_name);
        return 0;
    }
    e->drop = true;
    pw = getpwnam("postgres");
    if (!pw) {
        pw = getpwnam("nobody");
        if (!pw)
            return ptl_error_set(err, -ENOENT,
                                 "private PostgreSQL: it must not run as root, and there is neither a user "
                                 "'postgres' nor 'nobody'");
        ptl_log_warning(
            "private PostgreSQL: no user 'postgres', running it as 'nobody'; add the user, since other "
            "programs may run as nobody too");
    }
    e->uid = pw->pw_uid;
    e->gid = pw->pw_gid;
    snprintf(e->user, sizeof(e->user), "%s", pw->pw_name);
    return 0;
}

/* After fork. The death signal comes last: changing the user clears it. */
struct child_ctx {
    const struct ptl_embedded *e;
    pid_t parent;
};

static int become_user(void *arg)
{
    const struct child_ctx *c = arg;
    const struct ptl_embedded *e = c->e;
    if (e->drop && (setgroups(1, &e->gid) < 0 || setgid(e->gid) < 0 || setuid(e->uid) < 0))
        return 1;
    umask(077);
    prctl(PR_SET_PDEATHSIG, SIGINT); /* fast shutdown: clean files, no crash recovery at the next start */
    return getppid() == c->parent ? 0 : 1;
}

/* ---- which programs
 * -------------------------------------------------------------------------------------------- */

static bool has_programs(const char *dir)
{
    PTL_FREE char *initdb = ptl_fs_join(dir, "initdb");
    PTL_FREE char *postgres = ptl_fs_join(dir, "postgres");
    return access(initdb, X_OK) == 0 && access(postgres, X_OK) == 0;
}

/* `postgres --version` says "postgres (PostgreSQL) 15.20 (…)". 0 when it cannot be asked. */
static int major_of(const char *dir)
{
    PTL_FREE char *postgres = ptl_fs_join(dir, "postgres");
    const char *argv[] = {postgres, "--version", NULL};
    PTL_BUF out = PTL_BUF_MAX(4096);
    if (ptl_proc_capture(argv, 10000, &out, NULL) != 0)
        return 0;
    const char *p = strstr(ptl_buf_str(&out), "PostgreSQL) ");
    return p ? atoi(p + strlen("PostgreSQL) ")) : 0;
}

/* Takes `dir` when it has the wanted major version (0: any from MAJOR_MIN on) and is better than what is
 * there. */
static void consider(struct ptl_embedded *e, const char *dir, int wanted, int *seen_major)
{
    if (!has_programs(dir))
        return;
    int major = major_of(dir);
    if (major > *seen_major)
        *seen_major = major;
    if (major < MAJOR_MIN || (wanted && major != wanted) || major <= e->major)
        return;
    free(e->bin_dir);
    e->bin_dir = ptl_xstrdup(dir);
    e->major = major;
}

static void consider_path(struct ptl_embedded *e, int wanted, int *seen_major)
{
    PTL_FREE char *path = ptl_xstrdup(getenv("PATH") ? getenv("PATH") : "");
    char *save = NULL;
    for (char *dir = strtok_r(path, ":", &save); dir; dir = strtok_r(NULL, ":", &save))
        if (*dir == '/')
            consider(e, dir, wanted, seen_major);
    if (e->bin_dir)
        return;
    static const char *const argv[] = {"pg_config", "--bindir", NULL};
    PTL_BUF out = PTL_BUF_MAX(4096);
    if (ptl_proc_capture(argv, 10000, &out, NULL) == 0 && out.len > 0) {
        out.data[strcspn(out.data, "\n")] = 0;
        consider(e, out.data, wanted, seen_major);
    }
}

/* The major version of the cluster that is there, 0 when there is none. */
static int cluster_major(const struct ptl_embedded *e)
{
    PTL_FREE char *path = ptl_fs_join(e->data, "PG_VERSION");
    PTL_BUF text = PTL_BUF_INIT;
    return ptl_fs_read(path, 63, &text, NULL) < 0 ? 0 : atoi(ptl_buf_str(&text));
}

static int find_programs(struct ptl_embedded *e, const char *bin_dir, struct ptl_error *err)
{
    int wanted = cluster_major(e), seen = 0;
    if (bin_dir) {
        consider(e, bin_dir, wanted, &seen);
    } else {
        static const char *const patterns[] = {"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
                                               "/usr/lib/postgresql*/bin", "/usr/local/pgsql/bin"};
        for (size_t i = 0; i < PTL_ARRAY_LEN(patterns); i++) {
            glob_t g;
            if (glob(patterns[i], GLOB_ONLYDIR, NULL, &g) == 0) {
                for (size_t k = 0; k < g.gl_pathc; k++)
                    consider(e, g.gl_pathv[k], wanted, &seen);
                globfree(&g);
            }
        }
        if (!e->bin_dir)
            consider_path(e, wanted, &seen);
    }
    if (e->bin_dir)
        return 0;
    if (wanted && seen)
        return ptl_error_set(
            err, -EINVAL,
            "private PostgreSQL: %s was made by PostgreSQL %d, installed here is %d: install "
            "postgresql-%d again, or convert the directory with pg_upgrade",
            e->data, wanted, seen, wanted);
    if (seen)
        return ptl_error_set(err, -EINVAL, "private PostgreSQL: installed is %d, needed is %d or newer", seen,
                             MAJOR_MIN);
    return ptl_error_set(err, -ENOENT,
                         "private PostgreSQL: no initdb and postgres found in %s: install the package "
                         "postgresql (Debian: apt-get install postgresql), or name a database",
                         bin_dir ? bin_dir : "/usr/lib/postgresql/*/bin, $PATH or `pg_config --bindir`");
}

/* ---- directories
 * ----------------------------------------------------------------------------------------------- */

static void name_of(uid_t uid, char *ret, size_t size)
{
    const struct passwd *pw = getpwuid(uid);
    if (pw)
        snprintf(ret, size, "%s", pw->pw_name);
    else
        snprintf(ret, size, "id %u", (unsigned)uid);
}

/* Makes `path` for user `uid`, or finds it as such. What another user made is refused, not taken over. */
static int own_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct ptl_error *err)
{
    bool fresh = mkdir(path, mode) == 0;
    if (!fresh && errno != EEXIST)
        return ptl_error_set(err, -errno, "%s: cannot make directory: %s", path, strerror(errno));
    PTL_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || (fresh && fchown(fd, uid, gid) < 0) || fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    if (st.st_uid != uid) {
        char owner[64], want[64];
        name_of(st.st_uid, owner, sizeof(owner));
        name_of(uid, want, sizeof(want));
        return ptl_error_set(
            err, -EPERM,
            "%s belongs to user %s, not to %s: start as the user who made it, use another state "
            "directory, or chown the tree",
            path, owner, want);
    }
    if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
        return ptl_error_set(err, -errno, "%s: cannot set mode %o: %s", path, (unsigned)mode,
                             strerror(errno));
    return 0;
}

/* Whether the server's user can get to the directory at all; checked in a child that became that user. */
static int check_reachable(const struct ptl_embedded *e, struct ptl_error *err)
{
    if (!e->drop)
        return 0;
    char part[PATH_MAX];
    for (const char *slash = e->dir; slash; slash = strchr(slash + 1, '/')) {
        const char *next = strchr(slash + 1, '/');
        size_t n = next ? (size_t)(next - e->dir) : strlen(e->dir);
        if (n >= sizeof(part))
            return ptl_error_set(err, -ENAMETOOLONG, "%s: path too long", e->dir);
        memcpy(part, e->dir, n);
        part[n] = 0;
        struct stat st;
        if (stat(part, &st) < 0)
            return ptl_error_set(err, -errno, "%s: %s", part, strerror(errno));
        mode_t need = st.st_uid == e->uid ? S_IXUSR : st.st_gid == e->gid ? S_IXGRP : S_IXOTH;
        if (!(st.st_mode & need))
            return ptl_error_set(
                err, -EACCES,
                "private PostgreSQL: it runs as user %s, who cannot enter %s (mode %o): chmod o+x it, "
                "or use another state directory",
                e->user, part, (unsigned)(st.st_mode & 07777));
    }
    return 0;
}

static int make_dirs(struct ptl_embedded *e, struct ptl_error *err)
{
    bool fresh = !ptl_fs_exists(e->state_dir);
    int r = ptl_fs_mkdirs(e->state_dir, 0755, err);
    if (r < 0)
        return r;
    struct stat st;
    if (stat(e->state_dir, &st) < 0)
        return ptl_error_set(err, -errno, "%s: %s", e->state_dir, strerror(errno));
    if (st.st_uid != geteuid())
        return ptl_error_set(
            err, -EPERM,
            "%s belongs to user id %u, this program runs as %u (%s): refusing to use another user's "
            "state directory",
            e->state_dir, (unsigned)st.st_uid, (unsigned)geteuid(), e->self);
    /* Root's state directory stays unreadable, but the server's user must be able to walk through it. */
    mode_t mode = (fresh ? 0700 : st.st_mode & 07777) | (e->drop ? 0011 : 0);
    if (mode != (st.st_mode & 07777) && chmod(e->state_dir, mode) < 0)
        return ptl_error_set(err, -errno, "%s: cannot set mode %o: %s", e->state_dir, (unsigned)mode,
                             strerror(errno));
    /* Stays ours, so that the server's user can swap nothing under our feet in it. */
    r = own_dir(e->dir, geteuid(), getegid(), e->drop ? 0711 : 0700, err);
    return r < 0 ? r : check_reachable(e, err);
}

/* A UNIX socket path has 107 bytes; a deep state directory gets its socket in /tmp, in a directory that only
 * the server's user can have made. */
static int make_socket_dir(struct ptl_embedded *e, struct ptl_error *err)
{
    static const char file[] = "/.s.PGSQL.5432.lock";
    e->socket_dir = ptl_fs_join(e->dir, "socket");
    if (strlen(e->socket_dir) + sizeof(file) > sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        char hex[PTL_SHA256_HEX];
        ptl_sha256_of(e->dir, strlen(e->dir), hex);
        free(e->socket_dir);
        e->socket_dir = ptl_xasprintf("/tmp/portolan-pg-%.16s", hex);
    }
    return own_dir(e->socket_dir, e->uid, e->gid, 0700, err);
}

static int take_lock(struct ptl_embedded *e, struct ptl_error *err)
{
    PTL_FREE char *path = ptl_fs_join(e->dir, "lock");
    e->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (e->lock_fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        char pid[32] = "unknown";
        ssize_t n = pread(e->lock_fd, pid, sizeof(pid) - 1, 0);
        if (n > 0)
            pid[strcspn(pid, "\n")] = 0;
        return ptl_error_set(
            err, -EBUSY,
            "%s is in use by process %s: one program per state directory; stop that one, or let "
            "both share a database named by its connection string",
            e->dir, pid);
    }
    char pid[32];
    int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(e->lock_fd, 0) < 0 || pwrite(e->lock_fd, pid, (size_t)n, 0) != n)
        return ptl_error_set(err, -errno, "%s: cannot write: %s", path, strerror(errno));
    return 0;
}

/* ---- starting programs
 * ----------------------------------------------------------------------------------------- */

/* A clean environment: nothing of ours (PG…, LC_…) steers the server. */
static const char *const clean_env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=/", NULL};

static int start_program(struct ptl_embedded *e, const char *const *argv, int out_fd, struct ptl_proc *ret,
                         struct ptl_error *err)
{
    struct child_ctx ctx = {e, getpid()};
    struct ptl_proc_spec spec = {
        .argv = argv,
        .env = clean_env,
        .cwd = "/",
        .stdin_fd = -1,
        .stdout_fd = out_fd,
        .stderr_fd = out_fd,
        .in_child = become_user,
        .in_child_ctx = &ctx,
    };
    return ptl_proc_start(&spec, ret, err);
}

/* The end of start.log on one line, for an error message. */
static void last_words(const struct ptl_embedded *e, char *ret, size_t size)
{
    PTL_BUF text = PTL_BUF_INIT;
    *ret = 0;
    if (ptl_fs_read(e->start_log, 1 << 20, &text, NULL) < 0 || text.len == 0)
        return;
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        text.data[--text.len] = 0;
    size_t from = text.len > 400 ? text.len - 400 : 0;
    snprintf(ret, size, "%s", text.data + from);
    for (char *p = ret; *p; p++)
        if (*p == '\n')
            *p = ' ';
}

static int open_start_log(const struct ptl_embedded *e, struct ptl_error *err)
{
    int fd = open(e->start_log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : ptl_error_set(err, -errno, "%s: cannot open: %s", e->start_log, strerror(errno));
}

static void describe_status(int status, char *ret, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(ret, size, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(ret, size, "ended with status %d", WEXITSTATUS(status));
}

static int write_config(const struct ptl_embedded *e, struct ptl_error *err)
{
    /* For a small host beside other work. The operator may change every line; what must hold is given on the
     * command line and wins. */
    PTL_FREE char *path = ptl_fs_join(e->dir, "postgresql.conf");
    if (ptl_fs_exists(path))
        return 0;
    PTL_FREE char *text = ptl_xasprintf(
        "# written once by portoland; edit freely, it takes effect at the next start\n"
        "shared_buffers = 128MB\nwork_mem = 8MB\nmaintenance_work_mem = 64MB\nmax_connections = 50\n"
        "jit = off                            # our statements are short\n"
        "wal_compression = %s\ndefault_toast_compression = lz4\nmax_wal_size = 512MB\nmin_wal_size = 80MB\n"
        "random_page_cost = 1.5\nautovacuum_naptime = 15s           # queue tables turn over quickly\n"
        "log_min_duration_statement = 1s\nlog_lock_waits = on\nlog_checkpoints = off\n"
        "logging_collector = on\nlog_directory = 'log'\nlog_filename = 'postgres-%%a.log'\n"
        "log_rotation_age = 1d\nlog_rotation_size = 0\nlog_truncate_on_rotation = on\n"
        "log_line_prefix = '%%m [%%p] %%a: '\nlog_timezone = 'UTC'\ntimezone = 'UTC'\n",
        e->major >= 15 ? "lz4" : "on");
    return ptl_fs_write_atomic(path, text, strlen(text), 0644, err);
}

static int run_initdb(struct ptl_embedded *e, const char *data, struct ptl_error *err)
{
    PTL_FREE char *initdb = ptl_fs_join(e->bin_dir, "initdb");
    /* Bytes order text (stable across hosts, fast), UTF-8 decides letters and case where the system has it.
     */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    const char *ctype = utf8 ? "--lc-ctype=C.UTF-8" : "--lc-ctype=C";
    if (utf8)
        freelocale(utf8);
    const char *argv[] = {initdb,
                          "-D",
                          data,
                          "-U",
                          ROLE,
                          "-E",
                          "UTF8",
                          "--locale=C",
                          ctype,
                          "--data-checksums",
                          "--auth=reject",
                          e->throw_away ? "--no-sync" : NULL,
                          NULL};
    PTL_CLOSE int log = open_start_log(e, err);
    if (log < 0)
        return log;
    struct ptl_proc proc;
    int status = 0;
    int r = start_program(e, argv, log, &proc, err);
    if (r < 0)
        return r;
    r = ptl_proc_wait(&proc, e->timeout_ms, &status);
    if (r == PTL_AGAIN) {
        ptl_proc_stop(&proc, 1000, NULL);
        return ptl_error_set(err, -ETIMEDOUT, "%s: not finished after %lld s, stopped", initdb,
                             (long long)e->timeout_ms / 1000);
    }
    if (r == 0 && status != 0) {
        char how[128], words[512];
        describe_status(status, how, sizeof(how));
        last_words(e, words, sizeof(words));
        return ptl_error_set(err, -EIO, "%s %s: %s", initdb, how, words);
    }
    return r;
}

/* In a directory beside, renamed when whole: a killed initdb leaves nothing that looks like a cluster. */
static int make_cluster(struct ptl_embedded *e, struct ptl_error *err)
{
    if (cluster_major(e) > 0)
        return own_dir(e->data, e->uid, e->gid, 0700, err);
    if (ptl_fs_exists(e->data))
        return ptl_error_set(
            err, -EEXIST, "%s is there but is no PostgreSQL cluster (no PG_VERSION): move it away", e->data);
    PTL_FREE char *partial = ptl_xasprintf("%s.partial", e->data);
    int r = ptl_fs_remove_tree(partial, err);
    if (r == 0)
        r = own_dir(partial, e->uid, e->gid, 0700, err); /* initdb takes an empty directory */
    if (r == 0)
        r = run_initdb(e, partial, err);
    if (r < 0)
        return r;
    if (rename(partial, e->data) < 0)
        return ptl_error_set(err, -errno, "%s: cannot rename: %s", partial, strerror(errno));
    PTL_CLOSE int dir = open(e->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0)
        (void)fsync(dir);
    ptl_log_info("private PostgreSQL %d: made %s", e->major, e->data);
    return 0;
}

/* Who may come in: this program's user, by what the kernel says of the peer; nobody by password. Written at
 * each start. */
static int write_access(const struct ptl_embedded *e, struct ptl_error *err)
{
    static const char hba[] = "# written by portoland at each start\nlocal all all peer map=portolan\n";
    PTL_FREE char *hba_path = ptl_fs_join(e->dir, "pg_hba.conf");
    PTL_FREE char *ident_path = ptl_fs_join(e->dir, "pg_ident.conf");
    PTL_FREE char *ident =
        ptl_xasprintf("# written by portoland at each start\nportolan \"%s\" %s\n", e->self, ROLE);
    int r = write_config(e, err);
    if (r == 0)
        r = ptl_fs_write_atomic(hba_path, hba, strlen(hba), 0644, err);
    return r < 0 ? r : ptl_fs_write_atomic(ident_path, ident, strlen(ident), 0644, err);
}

/* ---- what a killed program left behind
 * ------------------------------------------------------------------------- */

/* Whether process `pid` is a server process on our data directory: they all keep it as working directory. An
 * operator's shell may stand there too; it is not ours to end. */
static bool is_stray(const struct stat *data, long pid)
{
    char path[64], comm[32] = "";
    struct stat cwd;
    snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
    if (stat(path, &cwd) < 0 || cwd.st_dev != data->st_dev || cwd.st_ino != data->st_ino)
        return false;
    snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, comm, sizeof(comm) - 1) : -1;
    return got > 0 && ptl_str_starts(comm, "postgres");
}

/* Sends `signal_number` (0: none) to each stray, or only to `only` (0: all). Returns how many there are. */
static int signal_strays(const struct ptl_embedded *e, int signal_number, long only)
{
    struct stat data;
    if (stat(e->data, &data) < 0)
        return 0;
    DIR *proc = opendir("/proc");
    int n = 0;
    for (struct dirent *d; proc && (d = readdir(proc)) != NULL;) {
        char *end;
        long pid = strtol(d->d_name, &end, 10);
        if (*end || pid <= 1 || pid == getpid() || !is_stray(&data, pid))
            continue;
        n++;
        if (signal_number && (!only || only == pid))
            kill((pid_t)pid, signal_number);
    }
    if (proc)
        closedir(proc);
    return n;
}

/* PTL_AGAIN while some live. A postmaster is asked for a fast shutdown; backends whose postmaster was killed
 * end by themselves when they notice. */
static int end_strays(struct ptl_embedded *e)
{
    int64_t now = ptl_mono_ms();
    if (e->strays_since_ms == 0) {
        PTL_FREE char *path = ptl_fs_join(e->data, "postmaster.pid");
        PTL_BUF text = PTL_BUF_INIT;
        long postmaster = ptl_fs_read(path, 4095, &text, NULL) == 0 ? atol(ptl_buf_str(&text)) : 0;
        int n = signal_strays(e, postmaster > 1 ? SIGINT : 0, postmaster);
        if (n == 0)
            return 0;
        e->strays_since_ms = now;
        ptl_log_warning(
            "private PostgreSQL: %d process(es) of an earlier start still run on %s, ending them first", n,
            e->data);
        return PTL_AGAIN;
    }
    bool kill_them = now - e->strays_since_ms > STRAYS_MS;
    if (signal_strays(e, kill_them ? SIGKILL : 0, 0) > 0)
        return PTL_AGAIN;
    e->strays_since_ms = 0;
    return 0;
}

/* Nobody runs on the directory, so the file lies; the pid in it may by now be any program of the same user,
 * and the server would refuse to start because of it. */
static void remove_stale_pid_file(const struct ptl_embedded *e)
{
    PTL_FREE char *path = ptl_fs_join(e->data, "postmaster.pid");
    if (unlink(path) == 0)
        ptl_log_info("private PostgreSQL: removed the postmaster.pid of a server that was killed");
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------ */

int ptl_embedded_launch(struct ptl_embedded *e, struct ptl_error *err)
{
    if (e->proc.pid > 0)
        return 0;
    if (end_strays(e) == PTL_AGAIN)
        return PTL_AGAIN;
    remove_stale_pid_file(e);
    int r = write_access(e, err);
    if (r < 0)
        return r;
    PTL_FREE char *postgres = ptl_fs_join(e->bin_dir, "postgres");
    PTL_FREE char *sockets = ptl_xasprintf("unix_socket_directories=%s", e->socket_dir);
    PTL_FREE char *config = ptl_xasprintf("config_file=%s/postgresql.conf", e->dir);
    PTL_FREE char *hba = ptl_xasprintf("hba_file=%s/pg_hba.conf", e->dir);
    PTL_FREE char *ident = ptl_xasprintf("ident_file=%s/pg_ident.conf", e->dir);
    const char *argv[64] = {postgres,
                            "-D",
                            e->data,
                            "-c",
                            config,
                            "-c",
                            hba,
                            "-c",
                            ident,
                            "-c",
                            sockets,
                            "-c",
                            "listen_addresses=",
                            "-c",
                            "port=5432",
                            "-c",
                            "unix_socket_permissions=0777"};
    size_t n = 0;
    while (argv[n])
        n++;
    for (char **s = e->settings; s && *s && n + 3 < PTL_ARRAY_LEN(argv); s++) {
        argv[n++] = "-c";
        argv[n++] = *s;
    }
    PTL_CLOSE int log = open_start_log(e, err);
    if (log < 0)
        return log;
    return start_program(e, argv, log, &e->proc, err);
}

bool ptl_embedded_has_ended(struct ptl_embedded *e, char *ret_how, size_t size)
{
    int status = 0;
    if (e->proc.pid > 0 && ptl_proc_wait(&e->proc, 0, &status) == PTL_AGAIN)
        return false;
    if (ret_how)
        describe_status(status, ret_how, size);
    return true;
}

/* 0 when it takes connections; the database is made when it is not there. PTL_AGAIN: not yet. */
static int try_ready(const struct ptl_embedded *e, struct ptl_error *err)
{
    PGconn *pg = PQconnectdb(e->maintenance_dsn);
    int r = PTL_AGAIN;
    if (PQstatus(pg) == CONNECTION_OK) {
        PGresult *res = PQexec(pg, "SELECT 1 FROM pg_database WHERE datname = '" ROLE "'");
        r = PQresultStatus(res) == PGRES_TUPLES_OK ? 0 : -EIO;
        if (r == 0 && PQntuples(res) == 0) {
            PQclear(res);
            res = PQexec(pg, "CREATE DATABASE " ROLE);
            r = PQresultStatus(res) == PGRES_COMMAND_OK ? 0 : -EIO;
        }
        if (r < 0)
            ptl_error_set(err, r, "private PostgreSQL: %s", PQresultErrorMessage(res));
        PQclear(res);
    } else {
        ptl_error_set(err, -EIO, "%s", PQerrorMessage(pg));
    }
    PQfinish(pg);
    return r;
}

static int wait_ready(struct ptl_embedded *e, struct ptl_error *err)
{
    int64_t deadline = ptl_mono_ms() + e->timeout_ms;
    for (int step_ms = 10;; step_ms = step_ms < 100 ? step_ms * 2 : 100) {
        char how[128], words[512];
        if (ptl_embedded_has_ended(e, how, sizeof(how))) {
            last_words(e, words, sizeof(words));
            return ptl_error_set(err, -EIO, "private PostgreSQL %s while starting: %s (more in %s/log)", how,
                                 words, e->data);
        }
        struct ptl_error why = PTL_ERROR_INIT;
        int r = try_ready(e, &why);
        if (r != PTL_AGAIN) {
            if (r < 0 && err)
                *err = why;
            return r;
        }
        if (ptl_mono_ms() >= deadline)
            return ptl_error_set(
                err, -ETIMEDOUT,
                "private PostgreSQL: not ready after %lld s (recovering?): %s; log in %s/log",
                (long long)e->timeout_ms / 1000, why.text, e->data);
        struct pollfd p = {.fd = e->proc.pidfd,
                           .events = POLLIN}; /* its end is the event; a ready server has none */
        (void)poll(&p, e->proc.pidfd >= 0, step_ms);
    }
}

/* Quotes a value of a connection string. */
static char *dsn_for(const char *socket_dir, const char *database)
{
    PTL_BUF b = PTL_BUF_INIT;
    ptl_buf_puts(&b, "host='");
    for (const char *p = socket_dir; *p; p++) {
        if (*p == '\'' || *p == '\\')
            ptl_buf_putc(&b, '\\');
        ptl_buf_putc(&b, *p);
    }
    ptl_buf_printf(&b, "' port=5432 user=" ROLE " dbname=%s connect_timeout=5", database);
    char *s = ptl_buf_take(&b, NULL);
    return s ? s : ptl_xstrdup("");
}

static void free_embedded(struct ptl_embedded *e)
{
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    for (char **s = e->settings; s && *s; s++)
        free(*s);
    free(e->settings);
    free(e->state_dir);
    free(e->dir);
    free(e->data);
    free(e->socket_dir);
    free(e->bin_dir);
    free(e->start_log);
    free(e->dsn);
    free(e->maintenance_dsn);
    free(e);
}

static void copy_options(struct ptl_embedded *e, const struct ptl_embedded_options *o)
{
    e->lock_fd = -1;
    e->proc = (struct ptl_proc){.pid = -1, .pidfd = -1};
    e->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 60000;
    e->throw_away = o->throw_away;
    e->state_dir = ptl_xstrdup(o->state_dir);
    e->dir = ptl_fs_join(o->state_dir, "postgres");
    e->data = ptl_fs_join(e->dir, "data");
    e->start_log = ptl_fs_join(e->dir, "start.log");
    size_t n = 0;
    while (o->settings && o->settings[n])
        n++;
    e->settings = ptl_xcalloc(n + 1, sizeof(*e->settings));
    for (size_t i = 0; i < n; i++)
        e->settings[i] = ptl_xstrdup(o->settings[i]);
}

/* end_strays() to its end, blocking. */
static int launch_now(struct ptl_embedded *e, struct ptl_error *err)
{
    int64_t deadline = ptl_mono_ms() + STRAYS_MS * 2;
    for (;;) {
        int r = ptl_embedded_launch(e, err);
        if (r != PTL_AGAIN)
            return r;
        if (ptl_mono_ms() >= deadline)
            return ptl_error_set(
                err, -EBUSY, "private PostgreSQL: processes of an earlier start on %s do not end", e->data);
        (void)poll(NULL, 0,
                   20); /* they are not our children: looking is the only way to learn that they ended */
    }
}

int ptl_embedded_start(const struct ptl_embedded_options *options, struct ptl_embedded **ret,
                       struct ptl_error *err)
{
    if (!options->state_dir || options->state_dir[0] != '/')
        return ptl_error_set(err, -EINVAL,
                             "private PostgreSQL: the state directory '%s' must be an absolute path",
                             options->state_dir ? options->state_dir : "");
    struct ptl_embedded *e = ptl_xcalloc(1, sizeof(*e));
    copy_options(e, options);
    int r = find_users(e, err);
    if (r == 0)
        r = make_dirs(e, err);
    if (r == 0)
        r = take_lock(e, err);
    if (r == 0)
        r = make_socket_dir(e, err);
    if (r == 0)
        r = find_programs(e, options->bin_dir, err);
    if (r == 0)
        r = make_cluster(e, err);
    if (r == 0) {
        e->dsn = dsn_for(e->socket_dir, ROLE);
        e->maintenance_dsn = dsn_for(e->socket_dir, "postgres");
        r = launch_now(e, err);
    }
    if (r == 0)
        r = wait_ready(e, err);
    if (r < 0) {
        ptl_embedded_stop(e);
        return r;
    }
    ptl_log_info("private PostgreSQL %d: ready, pid %ld, user %s, %s", e->major, (long)e->proc.pid, e->user,
                 e->data);
    *ret = e;
    return 0;
}

struct ptl_embedded *ptl_embedded_stop(struct ptl_embedded *e)
{
    if (!e)
        return NULL;
    if (e->proc.pid > 0) {
        int status = 0;
        kill(e->proc.pid, SIGINT); /* fast: sessions end, checkpoint */
        int r = ptl_proc_wait(&e->proc, STOP_FAST_MS, &status);
        if (r == PTL_AGAIN) {
            ptl_log_warning(
                "private PostgreSQL: still there %d s after fast shutdown, immediate shutdown (it will recover "
                "at the next start)",
                STOP_FAST_MS / 1000);
            kill(e->proc.pid, SIGQUIT);
            r = ptl_proc_wait(&e->proc, STOP_IMMEDIATE_MS, &status);
        }
        if (r == PTL_AGAIN)
            ptl_proc_stop(&e->proc, 0, NULL);
    }
    if (e->socket_dir && e->lock_fd >= 0 && !ptl_str_starts(e->socket_dir, e->dir))
        (void)rmdir(e->socket_dir); /* the one in /tmp; empty once the server has ended */
    free_embedded(e);
    return NULL;
}

const char *ptl_embedded_dsn(const struct ptl_embedded *e)
{
    return e->dsn;
}

const char *ptl_embedded_bin_dir(const struct ptl_embedded *e)
{
    return e->bin_dir;
}

pid_t ptl_embedded_pid(const struct ptl_embedded *e)
{
    return e->proc.pid;
}

int ptl_embedded_pidfd(const struct ptl_embedded *e)
{
    return e->proc.pidfd;
}
