/* spool.c - head and tail of a log under a quota, safe against the death of its writer.
 *
 * The ring's header is in the mapped file, so whoever finds the directory later can complete the log.
 * head_bytes is written before the first byte of the tail is appended: completing twice first cuts the log
 * back to it, and gives the same bytes again. One thread; blocking file I/O. */
#include "spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <portolan/clock.h>
#include <portolan/fs.h>

#define MAGIC      0x314c4f4f50535450ull /* "PTSPOOL1" */
#define HEADER     4096
#define NOTICE_MAX 512
/* A tail should begin at a line; a line longer than this is cut in its middle instead of thrown away. */
#define LINE_MAX_SKIP 65536

struct ring {
    uint64_t magic, capacity, total; /* total: bytes ever written into it */
    uint64_t head_bytes;             /* length of DIR/log before the tail */
    uint64_t quota;
};

struct ptl_spool {
    char *dir;
    int fd;
    uint64_t quota, head_max, head_bytes, lost;
    int failed;
    struct ring *ring; /* NULL until the head is full */
    size_t map_len;
};

static char *ring_data(struct ring *r)
{
    return (char *)r + HEADER;
}

int ptl_spool_open(const char *dir, uint64_t quota_bytes, struct ptl_spool **ret, struct ptl_error *err)
{
    PTL_FREE char *path = ptl_fs_join(dir, "log");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    struct ptl_spool *s = ptl_xcalloc(1, sizeof(*s));
    s->dir = ptl_xstrdup(dir);
    s->fd = fd;
    s->quota = quota_bytes == 0              ? PTL_SPOOL_DEFAULT
               : quota_bytes < PTL_SPOOL_MIN ? PTL_SPOOL_MIN
                                             : quota_bytes;
    s->head_max = s->quota / 2;
    struct stat st;
    if (fstat(fd, &st) == 0)
        s->head_bytes = (uint64_t)st.st_size;
    *ret = s;
    return 0;
}

static void write_head(struct ptl_spool *s, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(s->fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (!s->failed)
                s->failed = -errno;
            s->lost += len;
            return;
        }
        s->head_bytes += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
}

static int open_ring(struct ptl_spool *s)
{
    PTL_FREE char *path = ptl_fs_join(s->dir, "log.tail");
    PTL_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint64_t capacity = s->quota - s->head_max - NOTICE_MAX;
    size_t len = (size_t)(HEADER + capacity);
    /* allocated, not only sized: a full disk must show here and not as SIGBUS later */
    int r = fd < 0 ? -errno : -posix_fallocate(fd, 0, (off_t)len);
    if (r < 0)
        return r;
    void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    s->ring = map;
    s->map_len = len;
    *s->ring =
        (struct ring){.magic = MAGIC, .capacity = capacity, .head_bytes = s->head_bytes, .quota = s->quota};
    return 0;
}

static void write_tail(struct ptl_spool *s, const char *data, size_t len)
{
    if (!s->ring) {
        int r = open_ring(s);
        if (r < 0) {
            if (!s->failed)
                s->failed = r;
            s->lost += len;
            return;
        }
    }
    struct ring *ring = s->ring;
    uint64_t cap = ring->capacity, total = ring->total;
    if (len > cap) { /* only its end will be left anyhow */
        total += len - cap;
        data += len - cap;
        len = (size_t)cap;
    }
    size_t at = (size_t)(total % cap), first = len < cap - at ? len : (size_t)(cap - at);
    memcpy(ring_data(ring) + at, data, first);
    memcpy(ring_data(ring), data + first, len - first);
    ring->total = total + len;
}

void ptl_spool_write(struct ptl_spool *s, const void *data, size_t len)
{
    const char *p = data;
    if (!s->failed && !s->ring && s->head_bytes < s->head_max) {
        size_t room = (size_t)(s->head_max - s->head_bytes);
        size_t n = len < room ? len : room;
        write_head(s, p, n);
        p += n;
        len -= n;
    }
    if (s->failed) /* a log with a hole nobody sees would be worse than one that ends */
        s->lost += len;
    else if (len)
        write_tail(s, p, len);
}

/* Appends notice and tail to the log behind `fd`, first cut back to the head. */
static int complete(struct ring *r, int fd)
{
    if (ftruncate(fd, (off_t)r->head_bytes) < 0)
        return -errno;
    uint64_t kept = r->total < r->capacity ? r->total : r->capacity;
    uint64_t dropped = r->total - kept;
    size_t start = (size_t)((r->total - kept) % r->capacity);
    const char *data = ring_data(r);
    if (dropped) {
        size_t skip = 0;
        while (skip < kept && skip < LINE_MAX_SKIP && data[(start + skip) % r->capacity] != '\n')
            skip++;
        skip = skip < kept && skip < LINE_MAX_SKIP ? skip + 1 : 0;
        start = (size_t)((start + skip) % r->capacity);
        kept -= skip;
        dropped += skip;
        char quota[32], notice[NOTICE_MAX];
        ptl_size_format((int64_t)r->quota, quota);
        int n = snprintf(
            notice, sizeof(notice),
            "\n[portolan] log cut here: %llu bytes left out, to keep within %s (head and tail are kept)\n",
            (unsigned long long)dropped, quota);
        int rc = ptl_fs_write_all(fd, notice, (size_t)n);
        if (rc < 0)
            return rc;
    }
    size_t first = kept < r->capacity - start ? (size_t)kept : (size_t)(r->capacity - start);
    int rc = ptl_fs_write_all(fd, data + start, first);
    return rc < 0 ? rc : ptl_fs_write_all(fd, data, (size_t)kept - first);
}

static void remove_ring(const char *dir)
{
    PTL_FREE char *path = ptl_fs_join(dir, "log.tail");
    unlink(path);
}

int ptl_spool_close(struct ptl_spool *s)
{
    int r = s->failed;
    if (s->ring) {
        int c = complete(s->ring, s->fd);
        if (r == 0)
            r = c;
        munmap(s->ring, s->map_len);
        if (c == 0)
            remove_ring(s->dir);
    }
    if (s->lost) {
        char notice[NOTICE_MAX];
        int n = snprintf(notice, sizeof(notice), "\n[portolan] %llu bytes of log could not be written: %s\n",
                         (unsigned long long)s->lost, strerror(-s->failed));
        (void)!ptl_fs_write_all(s->fd, notice, (size_t)n);
    }
    close(s->fd);
    free(s->dir);
    free(s);
    return r;
}

int ptl_spool_recover(const char *dir, struct ptl_error *err)
{
    PTL_FREE char *tail = ptl_fs_join(dir, "log.tail");
    PTL_FREE char *log = ptl_fs_join(dir, "log");
    PTL_CLOSE int fd = open(tail, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : ptl_error_set(err, -errno, "%s: cannot open: %s", tail, strerror(errno));
    struct stat st;
    struct ring head;
    if (fstat(fd, &st) < 0 || pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        head.magic != MAGIC || head.capacity == 0 || head.capacity > (uint64_t)st.st_size ||
        (uint64_t)st.st_size != HEADER + head.capacity) {
        remove_ring(dir); /* killed while it was being made: nothing was in it */
        return 0;
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return ptl_error_set(err, -errno, "%s: cannot map: %s", tail, strerror(errno));
    PTL_CLOSE int log_fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    int r = log_fd < 0 ? -errno : complete(map, log_fd);
    munmap(map, (size_t)st.st_size);
    if (r < 0)
        return ptl_error_set(err, r, "%s: cannot be completed: %s", log, strerror(-r));
    remove_ring(dir);
    return 0;
}
