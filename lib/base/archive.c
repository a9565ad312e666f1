/* archive.c - deterministic .tar.zst out, hardened extraction in; the only user of libarchive.
 *
 * Writing: GNU tar headers (raw name bytes, no character conversion, so the locale cannot change a byte),
 * every field that is not content fixed, zstd level 3 on one thread. The same entries give the same file,
 * which is what lets a source snapshot be named by its SHA-256.
 *
 * Reading: libarchive only parses. Files are made here, relative to descriptors, never through a symbolic
 * link, and never over something that an earlier entry made: an archive cannot place a byte outside of its
 * directory whatever it says and in whatever order. Links are kept only when no chain of links of the archive
 * can lead out: a target is leading ".." parts that stay in the tree, then plain names (see
 * link_stays_inside). Umask applies to modes. Blocking; any thread; one thread per object. */
#include <portolan/archive.h>
#include <portolan/fs.h>
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    PATH_BYTES_MAX = 4095, /* what the kernel takes, less NUL */
    IO_BYTES = 256 * 1024,
    RATIO_FLOOR = 64 * 1024 * 1024, /* below it a ratio says nothing: a file of zeros is no bomb */
    TAR_TRAILER = 1024
};

/* Relative, not empty, no empty, "." or ".." part. Names themselves are free: what git can hold must be kept.
 */
static bool path_is_safe(const char *path)
{
    size_t len = strlen(path);
    if (len == 0 || len > PATH_BYTES_MAX)
        return false;
    for (const char *p = path;;) {
        size_t part = strcspn(p, "/");
        if (part == 0 || part > NAME_MAX || (part == 1 && p[0] == '.') ||
            (part == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (p[part] == '\0')
            return true;
        p += part + 1;
    }
}

/* Parents of an extracted link are real directories, so leading ".." parts count true levels; ".." behind a
 * name could start from wherever another link points and is therefore outside by definition ("a/b/p -> ..",
 * "q -> a/b/p/../.." would leave the tree though it looks like "a"). */
bool ptl_archive_link_stays_inside(const char *path, const char *target)
{
    if (target[0] == '\0' || target[0] == '/' || strlen(target) > PATH_BYTES_MAX)
        return false;
    size_t depth = 0;
    for (const char *p = path; *p; p++)
        depth += *p == '/';
    bool named = false;
    for (const char *p = target; *p;) {
        size_t part = strcspn(p, "/");
        if (part == 2 && p[0] == '.' && p[1] == '.') {
            if (named || depth == 0)
                return false;
            depth--;
        } else if (part > 0 && !(part == 1 && p[0] == '.')) {
            named = true;
        }
        p += part;
        p += *p == '/';
    }
    return true;
}

/* ---- writer ---- */

struct ptl_archive_writer {
    struct archive *a;
    char *path;
    char *last; /* path of the entry before, for the order */
    int fd;
    bool broken; /* an entry was cut in the middle: closing it would make a wrong archive look whole */
};

static struct ptl_archive_writer *writer_free(struct ptl_archive_writer *w)
{
    if (w->a)
        archive_write_free(w->a);
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w->last);
    free(w);
    return NULL;
}

static int writer_fail(struct ptl_archive_writer *w, const char *entry, struct ptl_error *err)
{
    int e = archive_errno(w->a);
    const char *why = archive_error_string(w->a);
    w->broken = true;
    /* libarchive says "Write error" and keeps to itself that the disk is full. */
    return ptl_error_set(err, e > 0 ? -e : -EIO, "archive %s: cannot write \"%s\": %s%s%s", w->path, entry,
                         why ? why : "unknown reason", e > 0 ? ": " : "", e > 0 ? strerror(e) : "");
}

int ptl_archive_writer_new(const char *path, struct ptl_archive_writer **ret, struct ptl_error *err)
{
    struct ptl_archive_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return ptl_error_set(err, -ENOMEM, "archive %s: out of memory", path);
    w->fd = -1;
    w->path = strdup(path);
    w->a = archive_write_new();
    int r = 0;
    if (!w->path || !w->a) {
        r = ptl_error_set(err, -ENOMEM, "archive %s: out of memory", path);
        goto fail;
    }
    if (archive_write_set_format_gnutar(w->a) != ARCHIVE_OK ||
        archive_write_add_filter_zstd(w->a) != ARCHIVE_OK ||
        archive_write_set_filter_option(w->a, "zstd", "compression-level", "3") != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(w->a, 0) != ARCHIVE_OK || /* zstd hands over large pieces itself */
        archive_write_set_bytes_in_last_block(w->a, 1) != ARCHIVE_OK) {
        const char *why = archive_error_string(w->a);
        r = ptl_error_set(err, -ENOTSUP, "archive %s: libarchive without tar or zstd: %s", path,
                          why ? why : "no reason given");
        goto fail;
    }
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (w->fd < 0) {
        r = ptl_error_set(err, -errno, "archive %s: cannot create it: %s", path, strerror(errno));
        goto fail;
    }
    if (archive_write_open_fd(w->a, w->fd) != ARCHIVE_OK) {
        r = writer_fail(w, "", err);
        unlink(path);
        goto fail;
    }
    *ret = w;
    return 0;
fail:
    writer_free(w);
    return r;
}

static int writer_take_path(struct ptl_archive_writer *w, const char *path, struct ptl_error *err)
{
    if (w->broken)
        return ptl_error_set(err, -EIO, "archive %s: an earlier entry failed, nothing more can be added",
                             w->path);
    if (!path_is_safe(path))
        return ptl_error_set(
            err, -EINVAL, "archive %s: entry \"%s\" is not a plain relative path (no \"..\", no empty part)",
            w->path, path);
    if (w->last && strcmp(w->last, path) >= 0)
        return ptl_error_set(err, -EINVAL,
                             "archive %s: entry \"%s\" comes after \"%s\", but entries must be in byte order",
                             w->path, path, w->last);
    char *copy = strdup(path);
    if (!copy)
        return ptl_error_set(err, -ENOMEM, "archive %s: out of memory", w->path);
    free(w->last);
    w->last = copy;
    return 0;
}

static int writer_header(struct ptl_archive_writer *w, const char *path, mode_t type, mode_t mode,
                         uint64_t size, const char *target, struct ptl_error *err)
{
    struct archive_entry *e = archive_entry_new();
    if (!e)
        return ptl_error_set(err, -ENOMEM, "archive %s: out of memory", w->path);
    archive_entry_copy_pathname(e, path);
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, mode);
    archive_entry_set_size(e, (int64_t)size);
    archive_entry_set_mtime(e, 0, 0);
    archive_entry_set_uid(e, 0);
    archive_entry_set_gid(e, 0);
    if (target)
        archive_entry_copy_symlink(e, target);
    int r = archive_write_header(w->a, e);
    archive_entry_free(e);
    return r == ARCHIVE_OK ? 0 : writer_fail(w, path, err);
}

static int writer_bytes(struct ptl_archive_writer *w, const char *path, const void *data, size_t len,
                        struct ptl_error *err)
{
    const char *p = data;
    while (len > 0) {
        la_ssize_t n = archive_write_data(w->a, p, len);
        if (n <= 0)
            return writer_fail(w, path, err);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int ptl_archive_add_data(struct ptl_archive_writer *w, const char *path, bool exec, const void *data,
                         size_t len, struct ptl_error *err)
{
    int r = writer_take_path(w, path, err);
    if (r == 0)
        r = writer_header(w, path, AE_IFREG, exec ? 0755 : 0644, len, NULL, err);
    if (r == 0)
        r = writer_bytes(w, path, data, len, err);
    return r;
}

int ptl_archive_add_file(struct ptl_archive_writer *w, const char *path, bool exec, const char *from_file,
                         struct ptl_error *err)
{
    PTL_CLOSE int fd = open(from_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return ptl_error_set(err, -errno, "archive %s: cannot read %s: %s", w->path, from_file,
                             strerror(errno));
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "archive %s: cannot read %s: %s", w->path, from_file,
                             strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ptl_error_set(err, -EINVAL, "archive %s: %s is not a regular file", w->path, from_file);
    PTL_FREE char *buf = malloc(IO_BYTES);
    if (!buf)
        return ptl_error_set(err, -ENOMEM, "archive %s: out of memory", w->path);
    int r = writer_take_path(w, path, err);
    if (r < 0)
        return r;
    uint64_t left = (uint64_t)st.st_size;
    r = writer_header(w, path, AE_IFREG, exec ? 0755 : 0644, left, NULL, err);
    while (r == 0 && left > 0) {
        ssize_t n = read(fd, buf, left < IO_BYTES ? (size_t)left : (size_t)IO_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            w->broken = true; /* the header promised more than there is */
            return ptl_error_set(err, n < 0 ? -errno : -EIO, "archive %s: %s %s", w->path, from_file,
                                 n < 0 ? strerror(errno) : "became shorter while it was read");
        }
        r = writer_bytes(w, path, buf, (size_t)n, err);
        left -= (uint64_t)n;
    }
    return r;
}

int ptl_archive_add_link(struct ptl_archive_writer *w, const char *path, const char *target,
                         struct ptl_error *err)
{
    if (!ptl_archive_link_stays_inside(path, target))
        return ptl_error_set(err, -EINVAL,
                             "archive %s: link \"%s\" points to \"%s\", which may be outside of the tree",
                             w->path, path, target);
    int r = writer_take_path(w, path, err);
    return r < 0 ? r : writer_header(w, path, AE_IFLNK, 0777, 0, target, err);
}

int ptl_archive_writer_close(struct ptl_archive_writer *w, struct ptl_error *err)
{
    int r = 0;
    if (w->broken)
        r = ptl_error_set(err, -EIO, "archive %s: an entry failed, the archive is not whole", w->path);
    else if (archive_write_close(w->a) != ARCHIVE_OK)
        r = writer_fail(w, w->last ? w->last : "", err);
    else if (fsync(w->fd) < 0)
        r = ptl_error_set(err, -errno, "archive %s: cannot flush it: %s", w->path, strerror(errno));
    if (r < 0)
        unlink(w->path);
    writer_free(w);
    return r;
}

void ptl_archive_writer_abort(struct ptl_archive_writer *w)
{
    if (!w)
        return;
    unlink(w->path);
    if (w->broken) /* else libarchive would fill the cut entry up with zeros first */
        archive_write_fail(w->a);
    writer_free(w);
}

/* ---- extraction ---- */

struct extraction {
    const char *archive;
    struct archive *a;
    int root_fd;
    char
        *parent; /* relative path of the directory open as parent_fd; entries come in runs of one directory */
    int parent_fd; /* -1: none */
    uint64_t max_bytes, max_files, bytes, files;
    struct ptl_error *err;
};

static int refuse(struct extraction *x, int code, const char *entry, const char *why)
{
    return ptl_error_set(x->err, code, "archive %s: entry \"%s\" refused: %s", x->archive, entry, why);
}

/* Opens (and makes) the directory of `rel`, one part at a time, never following a link. */
static int open_dir(struct extraction *x, const char *rel, const char *entry, int *ret_fd)
{
    int fd = fcntl(x->root_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return ptl_error_set(x->err, -errno, "archive %s: %s", x->archive, strerror(errno));
    char part[NAME_MAX + 1];
    while (*rel) {
        size_t n = strcspn(rel, "/");
        memcpy(part, rel, n); /* path_is_safe bounded it */
        part[n] = '\0';
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int sub = openat(fd, part, flags);
        if (sub < 0 && errno == ENOENT) {
            if (mkdirat(fd, part, 0755) == 0 || errno == EEXIST)
                sub = openat(fd, part, flags);
        }
        int e = errno;
        close(fd);
        if (sub < 0) {
            if (e == ELOOP || e == ENOTDIR)
                return refuse(x, -EINVAL, entry, "its directory is a link or a file of the same archive");
            return ptl_error_set(x->err, -e, "archive %s: cannot make the directory of \"%s\": %s",
                                 x->archive, entry, strerror(e));
        }
        fd = sub;
        rel += n;
        rel += *rel == '/';
    }
    *ret_fd = fd;
    return 0;
}

static int enter_parent(struct extraction *x, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    *ret_name = slash ? slash + 1 : path;
    if (x->parent_fd >= 0 && strlen(x->parent) == len && memcmp(x->parent, path, len) == 0)
        return 0;
    char *parent = strndup(path, len);
    if (!parent)
        return ptl_error_set(x->err, -ENOMEM, "archive %s: out of memory", x->archive);
    int fd = -1;
    int r = open_dir(x, parent, path, &fd);
    if (r < 0) {
        free(parent);
        return r;
    }
    if (x->parent_fd >= 0)
        close(x->parent_fd);
    free(x->parent);
    x->parent = parent;
    x->parent_fd = fd;
    return 0;
}

static int write_at(int fd, const char *data, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        len -= (size_t)n;
        at += n;
    }
    return 0;
}

static int extract_file(struct extraction *x, struct archive_entry *e, const char *path, const char *name)
{
    uint64_t declared = archive_entry_size_is_set(e) ? (uint64_t)archive_entry_size(e) : 0;
    uint64_t room = x->max_bytes - x->bytes;
    if (declared > room)
        return refuse(x, -E2BIG, path, "the archive holds more bytes than allowed");
    mode_t mode = (archive_entry_perm(e) & 0111) ? 0755 : 0644; /* set-id and sticky bits end here */
    PTL_CLOSE int fd = openat(x->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        if (errno == EEXIST || errno == ELOOP || errno == EISDIR)
            return refuse(x, -EINVAL, path, "the same path is there already");
        return ptl_error_set(x->err, -errno, "archive %s: cannot create \"%s\": %s", x->archive, path,
                             strerror(errno));
    }
    uint64_t end = 0;
    for (;;) {
        const void *data;
        size_t len;
        int64_t at;
        int r = archive_read_data_block(x->a, &data, &len, &at);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK) {
            const char *why = archive_error_string(x->a);
            return ptl_error_set(x->err, -EBADMSG,
                                 "archive %s: \"%s\" cannot be read, the archive is cut or damaged: %s",
                                 x->archive, path, why ? why : "unknown reason");
        }
        if (len == 0)
            continue;
        if (at < 0 || (uint64_t)at > room || len > room - (uint64_t)at)
            return refuse(x, -E2BIG, path, "the archive holds more bytes than allowed");
        r = write_at(fd, data, len, at);
        if (r < 0)
            return ptl_error_set(x->err, r, "archive %s: cannot write \"%s\": %s", x->archive, path,
                                 strerror(-r));
        if ((uint64_t)at + len > end)
            end = (uint64_t)at + len;
    }
    if (declared > end) { /* a hole at the end of a sparse entry */
        if (ftruncate(fd, (off_t)declared) < 0)
            return ptl_error_set(x->err, -errno, "archive %s: cannot write \"%s\": %s", x->archive, path,
                                 strerror(errno));
        end = declared;
    }
    x->bytes += end;
    return 0;
}

static int extract_link(struct extraction *x, struct archive_entry *e, const char *path, const char *name)
{
    const char *target = archive_entry_symlink(e);
    if (!target)
        target = archive_entry_symlink_utf8(e);
    if (!target || !ptl_archive_link_stays_inside(path, target))
        return refuse(x, -EINVAL, path, "it is a link that may lead out of the tree");
    if (symlinkat(target, x->parent_fd, name) < 0) {
        if (errno == EEXIST)
            return refuse(x, -EINVAL, path, "the same path is there already");
        return ptl_error_set(x->err, -errno, "archive %s: cannot make the link \"%s\": %s", x->archive, path,
                             strerror(errno));
    }
    return 0;
}

static int extract_entry(struct extraction *x, struct archive_entry *e)
{
    const char *raw = archive_entry_pathname(e);
    if (!raw)
        raw = archive_entry_pathname_utf8(e);
    if (!raw)
        return refuse(x, -EINVAL, "?", "its name cannot be read");
    PTL_FREE char *path = strdup(raw);
    if (!path)
        return ptl_error_set(x->err, -ENOMEM, "archive %s: out of memory", x->archive);
    mode_t type = archive_entry_filetype(e);
    bool hard = archive_entry_hardlink(e) != NULL || archive_entry_hardlink_utf8(e) != NULL;
    size_t len = strlen(path);
    if (type == AE_IFDIR && !hard) {
        while (len > 0 && path[len - 1] == '/')
            path[--len] = '\0';
        if (strcmp(path, ".") == 0)
            return 0; /* "tar -C dir ." names the root itself */
    }
    const char *rel = strncmp(path, "./", 2) == 0 ? path + 2 : path;
    if (!path_is_safe(rel))
        return refuse(x, -EINVAL, raw, "its path is absolute, holds \"..\" or an empty part, or is too long");
    if (hard)
        return refuse(x, -EINVAL, rel, "it is a hard link");
    if (++x->files > x->max_files)
        return refuse(x, -E2BIG, rel, "the archive holds more entries than allowed");
    const char *name;
    if (type == AE_IFDIR) {
        int fd = -1;
        int r = open_dir(x, rel, rel, &fd);
        if (r == 0)
            close(fd);
        return r;
    }
    if (type != AE_IFREG && type != AE_IFLNK)
        return refuse(x, -EINVAL, rel, "it is a device, a fifo, a socket or of unknown type");
    int r = enter_parent(x, rel, &name);
    if (r < 0)
        return r;
    return type == AE_IFREG ? extract_file(x, e, rel, name) : extract_link(x, e, rel, name);
}

/* A plain tar that ends on an entry's border reads as whole; only its trailer of zeros proves that it is. A
 * zstd frame proves it by itself. */
static bool has_trailer(int fd, uint64_t size)
{
    char tail[TAR_TRAILER];
    if (size < TAR_TRAILER || pread(fd, tail, sizeof(tail), (off_t)(size - TAR_TRAILER)) != TAR_TRAILER)
        return false;
    for (size_t i = 0; i < sizeof(tail); i++)
        if (tail[i])
            return false;
    return true;
}

static int extract_all(struct extraction *x, int fd, uint64_t file_size)
{
    x->a = archive_read_new();
    if (!x->a)
        return ptl_error_set(x->err, -ENOMEM, "archive %s: out of memory", x->archive);
    archive_read_support_filter_none(x->a);
    archive_read_support_filter_zstd(x->a);
    archive_read_support_format_tar(x->a);
    const char *why;
    if (archive_read_open_fd(x->a, fd, IO_BYTES) != ARCHIVE_OK) {
        why = archive_error_string(x->a);
        return ptl_error_set(x->err, -EBADMSG, "archive %s: not a .tar or .tar.zst: %s", x->archive,
                             why ? why : "unknown reason");
    }
    for (;;) {
        struct archive_entry *e;
        int r = archive_read_next_header(x->a, &e);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK &&
            r != ARCHIVE_WARN) { /* a warning is about a name's character set: bytes are used */
            why = archive_error_string(x->a);
            return ptl_error_set(x->err, -EBADMSG,
                                 "archive %s: cut, damaged or not a .tar.zst after %llu entries: %s",
                                 x->archive, (unsigned long long)x->files, why ? why : "unknown reason");
        }
        r = extract_entry(x, e);
        if (r < 0)
            return r;
    }
    if (archive_filter_count(x->a) <= 1 && !has_trailer(fd, file_size))
        return ptl_error_set(x->err, -EBADMSG,
                             "archive %s: cut after %llu entries, the end marker is missing", x->archive,
                             (unsigned long long)x->files);
    return 0;
}

int ptl_archive_extract(const char *archive, const char *dir, const struct ptl_archive_limits *limits,
                        struct ptl_error *err)
{
    struct extraction x = {.archive = archive, .parent_fd = -1, .err = err};
    x.max_bytes = limits && limits->max_bytes ? limits->max_bytes : 4ULL << 30;
    x.max_files = limits && limits->max_files ? limits->max_files : 200000;
    unsigned ratio = limits && limits->max_ratio ? limits->max_ratio : 1000;

    PTL_CLOSE int fd = open(archive, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ptl_error_set(err, -errno, "archive %s: cannot open it: %s", archive, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return ptl_error_set(err, -EINVAL, "archive %s: not a regular file", archive);
    /* The ratio as a byte limit, known before the first byte comes out. */
    uint64_t size = (uint64_t)st.st_size;
    if (size < UINT64_MAX / ratio) {
        uint64_t by_ratio = size * ratio;
        if (by_ratio < RATIO_FLOOR)
            by_ratio = RATIO_FLOOR;
        if (x.max_bytes > by_ratio)
            x.max_bytes = by_ratio;
    }
    PTL_CLOSE int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return ptl_error_set(err, -errno, "archive %s: cannot open the directory %s: %s", archive, dir,
                             strerror(errno));
    x.root_fd = root;
    int r = extract_all(&x, fd, size);
    if (x.a)
        archive_read_free(x.a);
    if (x.parent_fd >= 0)
        close(x.parent_fd);
    free(x.parent);
    return r;
}
