/* fuzz_adb.c - whatever an adb server may answer. The first byte chooses the call, the rest is everything the
 * server says before it closes. A thread is the server; the client's deadline is short, so a hang shows as
 * slowness and a wrong success as an abort: a command succeeds only with its exit packet, a pull only with
 * the size that was said. */
#include "adb.h"

#include <fcntl.h>
#include <portolan/clock.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/ptl-fuzz-adb-XXXXXX";
static char pulled[64], pushed[64];
static struct ptl_adb *adb;
static int listener;

struct answer {
    const uint8_t *data;
    size_t size;
};

static void *serve(void *arg)
{
    struct answer *a = arg;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return NULL;
    (void)!send(fd, a->data, a->size, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    char drop[4096];
    while (read(fd, drop, sizeof(drop)) > 0)
        ;
    close(fd);
    return NULL;
}

static void clean_up(void)
{
    unlink(pulled);
    unlink(pushed);
    PTL_FREE char *sock = ptl_xasprintf("%s/s", dir);
    unlink(sock);
    rmdir(dir);
    ptl_adb_free(adb);
}

static void start_once(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (adb)
        return;
    if (!mkdtemp(dir))
        abort();
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir);
    snprintf(pulled, sizeof(pulled), "%s/pulled", dir);
    snprintf(pushed, sizeof(pushed), "%s/pushed", dir);
    int fd = open(pushed, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    PTL_FREE char *address = ptl_xasprintf("unix:%s", sa.sun_path);
    if (fd < 0 || write(fd, "hello", 5) != 5 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(listener, 4) < 0 || ptl_adb_new(address, &adb, NULL) < 0)
        abort();
    close(fd);
    atexit(clean_up);
}

static void call(int which, const uint8_t *data, size_t size)
{
    struct ptl_adb_wait wait = {ptl_mono_ms() + 2000, NULL};
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_adb_device list[4];
    PTL_BUF out = PTL_BUF_MAX(1 << 20), features = PTL_BUF_MAX(1 << 20);
    struct stat st;
    size_t n = 0;
    int v = -1;
    switch (which % 7) {
    case 0:
        if (ptl_adb_shell_buf(adb, "x", "y", &wait, &out, &out, &v, &err) == 0 &&
            !memmem(data, size, "\3\1\0\0\0", 5))
            abort();
        break;
    case 1:
        unlink(pulled);
        if (ptl_adb_pull(adb, "x", "/f", pulled, 1 << 16, &wait, &err) == 0 &&
            (stat(pulled, &st) < 0 || st.st_size > 1 << 16))
            abort();
        break;
    case 2:
        if (ptl_adb_push(adb, "x", pushed, "/f", 0644, &wait, &err) == 0 && !memmem(data, size, "STAT", 4))
            abort();
        break;
    case 3:
        if (ptl_adb_devices(adb, &wait, list, 4, &n, &err) == 0 && n > 4)
            abort();
        break;
    case 4:
        v = ptl_adb_connect(adb, "x", &wait, &err);
        break;
    case 5:
        v = ptl_adb_features(adb, "x", &wait, &features, &err);
        break;
    default:
        if (ptl_adb_version(adb, &wait, &v, &err) == 0 && (v < 0 || v > 0xffff))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 17)
        return 0;
    start_once();
    struct answer a = {data + 1, size - 1};
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, &a) != 0)
        abort();
    call(data[0], data + 1, size - 1);
    pthread_join(thread, NULL);
    return 0;
}
