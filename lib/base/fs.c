/* fs.c - files and directories with errors that name them. Links are never followed below a tree that is
 * walked or removed. */
#include <portolan/fs.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 256 }; /* open descriptors while walking; deeper trees are refused, not followed */

int ptl_fs_mkdirs(const char *path, mode_t mode, struct ptl_error *err)
{
    size_t len = strlen(path);
    if (len == 0 || len >= PATH_MAX)
        return ptl_error_set(err, -ENAMETOOLONG, "cannot make directory: path of %zu bytes", len);
    PTL_FREE char *p = ptl_xstrdup(path);
    for (size_t i = 1; i <= len; i++) {
        if (p[i] != '/' && p[i] != 0)
            continue;
        char c = p[i];
        p[i] = 0;
        if (mkdir(p, mode) < 0 && errno != EEXIST)
            return ptl_error_set(err, -errno, "%s: cannot make directory: %s", p, strerror(errno));
        p[i] = c;
    }
    if (!ptl_fs_is_dir(path))
        return ptl_error_set(err, -ENOTDIR, "%s: is not a directory", path);
    return 0;
}

struct removal {
    int top_fd; /* of the tree's own directory; -1: not open yet */
    unsigned serial, moved;
};

/* A tree may be deeper than there are descriptors: what is too deep goes to the top, whose turn comes again.
 */
static int move_up(struct removal *rm, int dir_fd, const char *name, struct ptl_error *err)
{
    for (int tries = 0; tries < 1000; tries++) {
        char fresh[40];
        snprintf(fresh, sizeof(fresh), ".removed-%u", ++rm->serial);
        if (renameat2(dir_fd, name, rm->top_fd, fresh, RENAME_NOREPLACE) == 0 ||
            (errno == EINVAL && renameat(dir_fd, name, rm->top_fd, fresh) == 0)) { /* an old file system */
            rm->moved++;
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    return ptl_error_set(err, -errno, "%s: deeper than %d directories, and cannot be moved: %s", name,
                         DEPTH_MAX, strerror(errno));
}

static int open_to_remove(int dir_fd, const char *name, struct ptl_error *err)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 &&
        errno == EACCES) { /* a stage may have taken its own rights away; the owner may give them back */
        if (fchmodat(dir_fd, name, 0700, 0) == 0)
            fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot open to remove: %s", name, strerror(errno));
    if (fstat(fd, &st) == 0 && (st.st_mode & 0300) != 0300)
        (void)fchmod(fd, 0700);
    return fd;
}

/* After an error it goes on with the others; the first one is told. */
static int remove_below(struct removal *rm, int dir_fd, const char *name, int depth, struct ptl_error *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM && errno != EACCES)
        return ptl_error_set(err, -errno, "%s: cannot remove: %s", name, strerror(errno));
    if (depth >= DEPTH_MAX)
        return move_up(rm, dir_fd, name, err);
    int fd = open_to_remove(dir_fd, name, err), r = 0;
    if (fd < 0)
        return fd;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", name);
    }
    if (depth == 0)
        rm->top_fd = fd;
    unsigned moved;
    do {
        moved = rm->moved;
        rewinddir(d);
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            struct ptl_error later = PTL_ERROR_INIT;
            if (ptl_str_eq(e->d_name, ".") || ptl_str_eq(e->d_name, ".."))
                continue;
            int one = remove_below(rm, fd, e->d_name, depth + 1, r < 0 ? &later : err);
            r = r < 0 ? r : one;
        }
    } while (depth == 0 && rm->moved != moved);
    closedir(d);
    if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = ptl_error_set(err, -errno, "%s: cannot remove directory: %s", name, strerror(errno));
    return r;
}

int ptl_fs_remove_tree(const char *path, struct ptl_error *err)
{
    struct removal rm = {.top_fd = -1};
    int r = remove_below(&rm, AT_FDCWD, path, 0, err);
    return r < 0 ? ptl_error_prefix(err, r, "removing %s", path) : 0;
}

int ptl_fs_read(const char *path, size_t max_bytes, struct ptl_buf *ret, struct ptl_error *err)
{
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return ptl_error_set(err, -EISDIR, "%s: is a directory", path);
    size_t got = 0;
    for (;;) {
        size_t room = 65536, limit = ret->max ? ret->max : (size_t)1 << 30;
        if (room > limit - ret->len)
            room = limit -
                   ret->len; /* a small buffer takes small files; a byte more tells that it is too small */
        char probe;
        if (room && ptl_buf_reserve(ret, room) < 0)
            return ptl_error_set(err, ret->failed, "%s: out of memory", path);
        ssize_t n = read(fd, room ? ret->data + ret->len : &probe, room ? room : 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ptl_error_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0)
            return 0;
        if (!room)
            return ptl_error_set(err, -E2BIG, "%s: larger than the %zu bytes there is room for", path, limit);
        ret->len += (size_t)n;
        ret->data[ret->len] = 0;
        got += (size_t)n;
        if (got > max_bytes)
            return ptl_error_set(err, -EFBIG, "%s: larger than %zu bytes", path, max_bytes);
    }
}

int ptl_fs_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int ptl_fs_sync_parent(const char *path)
{
    PTL_FREE char *dir = ptl_xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *(slash == dir ? slash + 1 : slash) = 0;
    PTL_CLOSE int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

int ptl_fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct ptl_error *err)
{
    PTL_FREE char *tmp = ptl_xasprintf("%s.XXXXXX", path);
    PTL_CLOSE int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot make a temporary file beside it: %s", path,
                             strerror(errno));
    int r = ptl_fs_write_all(fd, data, len);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(tmp);
        return ptl_error_set(err, r, "%s: cannot write %zu bytes: %s", path, len, strerror(-r));
    }
    r = ptl_fs_sync_parent(path);
    return r < 0 ? ptl_error_set(err, r, "%s: written, but its directory cannot be synced: %s", path,
                                 strerror(-r))
                 : 0;
}

int ptl_fs_copy(const char *from, const char *to, mode_t mode, struct ptl_error *err)
{
    PTL_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (in < 0 || fstat(in, &st) < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", from, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ptl_error_set(err, -EINVAL, "%s: is not a regular file", from);
    PTL_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out < 0)
        return ptl_error_set(err, -errno, "%s: cannot create: %s", to, strerror(errno));
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0);
        if (n > 0)
            continue;
        if (n == 0)
            return 0;
        if (errno == EINTR)
            continue;
        break; /* EXDEV, EINVAL, ENOSYS: by hand, from where it stands */
    }
    PTL_FREE char *block = malloc(1 << 16);
    if (!block)
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", from);
    for (;;) {
        ssize_t n = read(in, block, 1 << 16);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ptl_error_set(err, -errno, "%s: cannot read: %s", from, strerror(errno));
        if (n == 0)
            return 0;
        int r = ptl_fs_write_all(out, block, (size_t)n);
        if (r < 0)
            return ptl_error_set(err, r, "%s: cannot write: %s", to, strerror(-r));
    }
}

bool ptl_fs_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool ptl_fs_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool ptl_fs_is_safe_relative(const char *path)
{
    size_t len = path ? strlen(path) : 0;
    if (len == 0 || len > 1024 || path[0] == '/')
        return false;
    int parts = 0;
    for (const char *p = path; *p;) {
        const char *end = strchrnul(p, '/');
        size_t n = (size_t)(end - p);
        if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.') ||
            ++parts > 64)
            return false;
        for (const char *c = p; c < end; c++)
            if ((unsigned char)*c < 0x20 || *c == '\\' || *c == 0x7f)
                return false;
        if (*end == '/' && end[1] == 0)
            return false;
        p = *end ? end + 1 : end;
    }
    return true;
}

char *ptl_fs_join(const char *a, const char *b)
{
    return ptl_xasprintf("%s%s%s", a, ptl_str_ends(a, "/") || !*a ? "" : "/", b);
}

struct walk {
    size_t left;
    ptl_fs_walk_fn *fn;
    void *ctx;
    struct ptl_error *err;
    size_t root_len;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int walk_dir(struct walk *w, const char *full, int depth)
{
    if (depth > DEPTH_MAX)
        return ptl_error_set(w->err, -ELOOP, "%s: deeper than %d directories", full, DEPTH_MAX);
    struct dirent **list = NULL;
    int n = scandir(full, &list, NULL, NULL);
    if (n < 0)
        return ptl_error_set(w->err, -errno, "%s: cannot list: %s", full, strerror(errno));
    int r = 0;
    /* Byte order of whole relative paths: a directory sorts as "name/", so that "a-b" comes before "a/c". */
    char **names = ptl_xcalloc((size_t)n + 1, sizeof(*names));
    size_t m = 0;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        if (!ptl_str_eq(name, ".") && !ptl_str_eq(name, "..")) {
            PTL_FREE char *path = ptl_fs_join(full, name);
            struct stat st;
            bool dir = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
            names[m++] = ptl_xasprintf("%s%s", name, dir ? "/" : "");
        }
        free(list[i]);
    }
    free(list);
    qsort(names, m, sizeof(*names), by_name);
    for (size_t i = 0; i < m && r == 0; i++) {
        size_t len = strlen(names[i]);
        bool dir = names[i][len - 1] == '/';
        if (dir)
            names[i][len - 1] = 0;
        PTL_FREE char *path = ptl_fs_join(full, names[i]);
        if (w->left-- == 0) {
            r = ptl_error_set(w->err, -E2BIG, "%s: too many files", full);
            break;
        }
        if (dir) {
            r = walk_dir(w, path, depth + 1);
            continue;
        }
        struct stat st;
        if (lstat(path, &st) < 0)
            continue; /* gone meanwhile */
        struct ptl_fs_entry e = {.path = path + w->root_len,
                                 .full = path,
                                 .size_bytes = (uint64_t)st.st_size,
                                 .is_link = S_ISLNK(st.st_mode),
                                 .is_exec = (st.st_mode & 0100) != 0};
        if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
            r = w->fn(w->ctx, &e);
        else
            r = ptl_error_set(w->err, -EINVAL, "%s: neither a file nor a directory", e.path);
    }
    for (size_t i = 0; i < m; i++)
        free(names[i]);
    free(names);
    return r;
}

int ptl_fs_walk(const char *dir, size_t max_entries, ptl_fs_walk_fn *fn, void *ctx, struct ptl_error *err)
{
    size_t len = strlen(dir);
    struct walk w = {.left = max_entries,
                     .fn = fn,
                     .ctx = ctx,
                     .err = err,
                     .root_len = len + (ptl_str_ends(dir, "/") ? 0 : 1)};
    return walk_dir(&w, dir, 0);
}
