/* logger.c - the thread between an attempt's output pipe and its spool. The thread owns mask and spool; it
 * ends at the end of the pipe, or when close() has waited long enough. */
#include "logger.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <portolan/clock.h>
#include <portolan/fs.h>

struct ptl_logger {
    struct ptl_mask *mask;
    struct ptl_spool *spool;
    int rd, wr, stop_fd;
    int64_t stop_at; /* set before stop_fd is signalled */
    bool timed_out;
    pthread_t thread;
};

static void to_spool(void *ctx, const char *data, size_t len)
{
    ptl_spool_write(ctx, data, len);
}

static void *logger_main(void *arg)
{
    struct ptl_logger *l = arg;
    static const size_t block_size = 65536;
    char *block = ptl_xcalloc(1, block_size);
    bool stopping = false;
    for (;;) {
        struct pollfd p[2] = {
            {.fd = l->rd,                      .events = POLLIN},
            {.fd = stopping ? -1 : l->stop_fd, .events = POLLIN}
        };
        int64_t left = stopping ? l->stop_at - ptl_mono_ms() : -1;
        if (stopping && left < 0)
            left = 0;
        int n = poll(p, 2, (int)left);
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0 && p[1].revents) {
            uint64_t one;
            (void)!read(l->stop_fd, &one, sizeof(one)); /* orders stop_at before what follows */
            stopping = true;
        }
        if (n > 0 && p[0].revents) {
            ssize_t got = read(l->rd, block, block_size);
            if (got > 0)
                ptl_mask_feed(l->mask, block, (size_t)got, to_spool, l->spool);
            else if (got == 0 || (errno != EINTR && errno != EAGAIN))
                break;
        } else if (n == 0 && stopping) {
            l->timed_out = true;
            break;
        }
    }
    ptl_mask_end(l->mask, to_spool, l->spool);
    free(block);
    return NULL;
}

int ptl_logger_new(struct ptl_mask *mask, struct ptl_spool *spool, struct ptl_logger **ret,
                   struct ptl_error *err)
{
    struct ptl_logger *l = ptl_xcalloc(1, sizeof(*l));
    int fds[2] = {-1, -1};
    l->mask = mask;
    l->spool = spool;
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = l->stop_fd < 0 || pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
    l->rd = fds[0];
    l->wr = fds[1];
    if (r == 0)
        r = -pthread_create(&l->thread, NULL, logger_main, l);
    if (r < 0) {
        if (fds[0] >= 0) {
            close(fds[0]);
            close(fds[1]);
        }
        if (l->stop_fd >= 0)
            close(l->stop_fd);
        ptl_mask_free(mask);
        (void)ptl_spool_close(spool);
        free(l);
        return ptl_error_set(err, r, "log: cannot start its thread: %s", strerror(-r));
    }
    *ret = l;
    return 0;
}

int ptl_logger_fd(const struct ptl_logger *l)
{
    return l->wr;
}

void ptl_logger_line(struct ptl_logger *l, const char *fmt, ...)
{
    char line[2048];
    int at = snprintf(line, sizeof(line), "[portolan] ");
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + at, sizeof(line) - (size_t)at - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)at + (n < 0 ? 0 : (size_t)n);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    (void)!ptl_fs_write_all(l->wr, line, len);
}

int ptl_logger_close(struct ptl_logger *l, int64_t drain_ms)
{
    close(l->wr);
    l->stop_at = ptl_mono_ms() + drain_ms;
    uint64_t one = 1;
    (void)!write(l->stop_fd, &one, sizeof(one));
    pthread_join(l->thread, NULL);
    int r = ptl_spool_close(l->spool);
    if (r == 0 && l->timed_out)
        r = -ETIMEDOUT;
    ptl_mask_free(l->mask);
    close(l->rd);
    close(l->stop_fd);
    free(l);
    return r;
}
