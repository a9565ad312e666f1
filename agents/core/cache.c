/* cache.c - see cache.h.
 *
 * Two workers may want one blob: a lock per first hex digit (flock on a file of its own) lets one fetch and
 * the other find it. The time of last use is the file's mtime. Eviction is safe for whoever holds a hard
 * link. */
#include "cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>

/* A broken download is worth resuming for a day. */
#define PART_MAX_AGE_S 86400

struct ptl_cache {
    char *dir;
    uint64_t max_bytes;
};

int ptl_cache_new(const char *dir, uint64_t max_bytes, struct ptl_cache **ret, struct ptl_error *err)
{
    int r = ptl_fs_mkdirs(dir, 0700, err);
    if (r < 0)
        return r;
    struct ptl_cache *c = ptl_xcalloc(1, sizeof(*c));
    c->dir = ptl_xstrdup(dir);
    c->max_bytes = max_bytes;
    *ret = c;
    return 0;
}

struct ptl_cache *ptl_cache_free(struct ptl_cache *c)
{
    if (!c)
        return NULL;
    free(c->dir);
    free(c);
    return NULL;
}

static int lock(struct ptl_cache *c, char digit, bool wait, const atomic_int *cancelled)
{
    PTL_FREE char *path = ptl_xasprintf("%s/.lock-%c", c->dir, digit);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (!wait || (cancelled && *cancelled)) {
            close(fd);
            return cancelled && *cancelled ? -ECANCELED : -EWOULDBLOCK;
        }
        poll(NULL, 0, 50);
    }
    return fd;
}

/* 1: here and whole; 0: not here (a damaged one has been removed). */
static int have(const char *path, const char *sha256)
{
    char hex[PTL_SHA256_HEX];
    if (ptl_sha256_file(path, hex, NULL, NULL) < 0)
        return 0;
    if (ptl_str_eq(hex, sha256))
        return 1;
    ptl_log_warning("cache: blob %.12s is damaged on disk, fetching it again", sha256);
    unlink(path);
    return 0;
}

static int place(const char *path, const char *to, bool exec, bool may_link, struct ptl_error *err)
{
    if (may_link && !exec && link(path, to) == 0)
        return 0;
    return ptl_fs_copy(path, to, exec ? 0755 : 0644, err);
}

int ptl_cache_place(struct ptl_cache *c, struct ptl_client *client, const char *sha256, const char *to,
                    bool exec, bool may_link, const atomic_int *cancelled, struct ptl_error *err)
{
    if (!ptl_sha256_is_hex(sha256))
        return ptl_error_set(err, -EINVAL, "blob \"%.70s\": not a SHA-256", sha256 ? sha256 : "");
    PTL_FREE char *path = ptl_fs_join(c->dir, sha256);
    PTL_CLOSE int fd = lock(c, sha256[0], true, cancelled);
    if (fd < 0)
        return ptl_error_set(err, fd, "blob %.12s: cache cannot be locked: %s", sha256, strerror(-fd));
    int r = 0;
    if (!have(path, sha256))
        r = ptl_client_blob_download(client, sha256, path, cancelled, err);
    if (r == PTL_ABSENT)
        return ptl_error_set(err, -ENOENT, "blob %.12s is not on the server any more", sha256);
    if (r == 0) {
        utimensat(AT_FDCWD, path, NULL, 0);
        r = place(path, to, exec, may_link, err);
    }
    return r;
}

struct entry {
    char name[96];
    int64_t used;
    uint64_t size;
};

static int by_use(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->used < y->used ? -1 : x->used > y->used;
}

static void evict(struct ptl_cache *c, const struct entry *e, uint64_t *total)
{
    PTL_CLOSE int fd = lock(c, e->name[0], false, NULL);
    if (fd < 0)
        return;
    PTL_FREE char *path = ptl_fs_join(c->dir, e->name);
    if (unlink(path) == 0)
        *total -= e->size;
}

void ptl_cache_trim(struct ptl_cache *c)
{
    struct entry *list = NULL;
    size_t n = 0, cap = 0;
    uint64_t total = 0;
    DIR *d = opendir(c->dir);
    if (!d)
        return;
    time_t now = time(NULL);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        bool part = ptl_str_ends(e->d_name, ".part");
        if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(list->name) ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (part && now - st.st_mtime < PART_MAX_AGE_S)
            continue;
        if (n == cap) {
            cap = cap ? cap * 2 : 256;
            struct entry *more = realloc(list, cap * sizeof(*list));
            if (!more)
                break;
            list = more;
        }
        snprintf(list[n].name, sizeof(list[n].name), "%.95s", e->d_name);
        list[n].used = part ? 0 : (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        list[n].size = (uint64_t)st.st_size;
        total += list[n++].size;
    }
    closedir(d);
    if (n)
        qsort(list, n, sizeof(*list), by_use);
    for (size_t i = 0; i < n && (total > c->max_bytes || list[i].used == 0); i++)
        evict(c, &list[i], &total);
    free(list);
}
