/* adb.c - the adb server protocol, client side.
 *
 * Owns: the bytes on the socket. A request is four hex digits of length and text; the answer begins with OKAY
 * or FAIL (FAIL: four hex digits and a sentence). host:* services answer with one counted text;
 * host:transport:SERIAL turns the connection into one to the device, which then takes one service:
 * `shell,v2,raw:` (packets of id u8, length u32 little endian) or `sync:` (requests of four letters and a
 * u32). Runs on the caller's thread and blocks in poll() only, for at most 100 ms between two looks at the
 * cancel flag. Promises: no answer of a device is believed before its last byte is there. In particular the
 * exit status of a command exists only in the exit packet; `adb shell` itself answers 0 when the device dies,
 * this does not. Leaves out: starting a server (device.c), authorisation (the server's), anything of the
 * device-side protocol. */
#include "adb.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

/* How often a wait looks at the cancel flag: a cancel is felt at once, and ten wake-ups a second cost
 * nothing. */
enum { POLL_SLICE_MS = 100, TREE_FILES_MAX = 50000, TREE_DEPTH_MAX = 32 };

struct ptl_adb {
    bool is_unix;
    char *path;          /* unix */
    char *host, port[8]; /* tcp */
    char *address;
};

/* One connection; the sentence names `what` it was for. */
struct link {
    int fd;
    const struct ptl_adb *adb;
    const struct ptl_adb_wait *wait;
    const char *what;
    struct ptl_error *err;
};

static void link_done(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

/* ---- address ---- */

int ptl_adb_new(const char *address, struct ptl_adb **ret, struct ptl_error *err)
{
    if (!address || !*address)
        address = "tcp:127.0.0.1:5037";
    PTL_CLEANUP(ptl_adb_freep) struct ptl_adb *adb = ptl_xcalloc(1, sizeof(*adb));
    adb->address = ptl_xstrdup(address);
    if (ptl_str_starts(address, "unix:") && address[5] == '/') {
        adb->is_unix = true;
        adb->path = ptl_xstrdup(address + 5);
    } else if (ptl_str_starts(address, "tcp:")) {
        const char *host = address + 4, *colon = strrchr(host, ':');
        char *end = NULL;
        long port = colon ? strtol(colon + 1, &end, 10) : 0;
        if (!colon || colon == host || *end || port < 1 || port > 65535)
            return ptl_error_set(err, -EINVAL, "adb server address \"%s\": expected tcp:HOST:PORT", address);
        adb->host = strndup(host, (size_t)(colon - host));
        if (!adb->host)
            return ptl_error_set(err, -ENOMEM, "adb: out of memory");
        snprintf(adb->port, sizeof(adb->port), "%ld", port);
    } else {
        return ptl_error_set(err, -EINVAL, "adb server address \"%s\": expected unix:/path or tcp:HOST:PORT",
                             address);
    }
    *ret = PTL_TAKE(adb);
    return 0;
}

struct ptl_adb *ptl_adb_free(struct ptl_adb *adb)
{
    if (adb) {
        free(adb->path);
        free(adb->host);
        free(adb->address);
        free(adb);
    }
    return NULL;
}

const char *ptl_adb_address(const struct ptl_adb *adb)
{
    return adb->address;
}

/* ---- bytes with a deadline ---- */

/* Waits until fd is ready for `events`. */
static int link_poll(struct link *l, short events)
{
    for (;;) {
        if (l->wait->cancelled && *l->wait->cancelled)
            return ptl_error_set(l->err, -ECANCELED, "adb: %s: cancelled", l->what);
        int64_t left = l->wait->deadline_mono_ms - ptl_mono_ms();
        if (left <= 0)
            return ptl_error_set(l->err, -ETIMEDOUT, "adb: %s: no answer before the deadline", l->what);
        struct pollfd p = {.fd = l->fd, .events = events};
        int n = poll(&p, 1, left < POLL_SLICE_MS ? (int)left : POLL_SLICE_MS);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return ptl_error_set(l->err, -errno, "adb: %s: poll: %s", l->what, strerror(errno));
    }
}

static int link_gone(struct link *l)
{
    return ptl_error_set(
        l->err, -ECONNRESET,
        "adb: %s: the connection ended before the answer was complete: the device or the adb server went away",
        l->what);
}

/* At most len bytes; 0 at end of stream. */
static ssize_t link_read_some(struct link *l, void *data, size_t len)
{
    for (;;) {
        int r = link_poll(l, POLLIN);
        if (r < 0)
            return r;
        ssize_t n = recv(l->fd, data, len, MSG_DONTWAIT);
        if (n >= 0)
            return n;
        if (errno == ECONNRESET || errno == EPIPE)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return ptl_error_set(l->err, -errno, "adb: %s: read: %s", l->what, strerror(errno));
    }
}

static int link_read(struct link *l, void *data, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = link_read_some(l, (char *)data + got, len - got);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return link_gone(l);
        got += (size_t)n;
    }
    return 0;
}

static int link_write(struct link *l, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        int r = link_poll(l, POLLOUT);
        if (r < 0)
            return r;
        ssize_t n = send(l->fd, (const char *)data + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EPIPE || errno == ECONNRESET)
            return link_gone(l);
        else if (errno != EAGAIN && errno != EINTR)
            return ptl_error_set(l->err, -errno, "adb: %s: write: %s", l->what, strerror(errno));
    }
    return 0;
}

/* ---- connecting ---- */

static int link_connect_to(struct link *l, const struct sockaddr *sa, socklen_t len, int family)
{
    link_done(l);
    l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return ptl_error_set(l->err, -errno, "adb: socket: %s", strerror(errno));
    if (connect(l->fd, sa, len) < 0) {
        if (errno != EINPROGRESS)
            return ptl_error_set(l->err, -errno, "adb: no server at %s: %s", l->adb->address,
                                 strerror(errno));
        int r = link_poll(l, POLLOUT);
        if (r < 0)
            return r;
        int e = 0;
        socklen_t elen = sizeof(e);
        if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &e, &elen) < 0 || e)
            return ptl_error_set(l->err, -(e ? e : EIO), "adb: no server at %s: %s", l->adb->address,
                                 strerror(e));
    }
    int one = 1;
    if (family != AF_UNIX && setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        return ptl_error_set(l->err, -errno, "adb: TCP_NODELAY: %s", strerror(errno));
    return 0;
}

/* A path longer than sun_path is reached through its directory's descriptor. */
static int link_connect_unix(struct link *l)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *path = l->adb->path;
    PTL_CLOSE int dir = -1;
    if (strlen(path) < sizeof(sa.sun_path)) {
        strcpy(sa.sun_path, path);
    } else {
        const char *slash = strrchr(path, '/');
        PTL_FREE char *parent = strndup(path, (size_t)(slash - path) + 1);
        if (!parent)
            return ptl_error_set(l->err, -ENOMEM, "adb: out of memory");
        dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return ptl_error_set(l->err, -errno, "adb: no server at %s: %s", l->adb->address,
                                 strerror(errno));
        if (snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", dir, slash + 1) >=
            (int)sizeof(sa.sun_path))
            return ptl_error_set(l->err, -ENAMETOOLONG, "adb: the socket's own name is too long: %s",
                                 slash + 1);
    }
    return link_connect_to(l, (const struct sockaddr *)&sa, sizeof(sa), AF_UNIX);
}

static int link_connect_tcp(struct link *l)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int g = getaddrinfo(l->adb->host, l->adb->port, &hints, &list);
    if (g)
        return ptl_error_set(l->err, -EHOSTUNREACH, "adb: host of %s: %s", l->adb->address, gai_strerror(g));
    int r = -EHOSTUNREACH;
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        r = link_connect_to(l, a->ai_addr, a->ai_addrlen, a->ai_family);
        if (r == 0 || r == -ECANCELED || r == -ETIMEDOUT)
            break;
    }
    freeaddrinfo(list);
    return r;
}

static int link_open(struct link *l, const struct ptl_adb *adb, const struct ptl_adb_wait *wait,
                     const char *what, struct ptl_error *err)
{
    *l = (struct link){.fd = -1, .adb = adb, .wait = wait, .what = what, .err = err};
    return adb->is_unix ? link_connect_unix(l) : link_connect_tcp(l);
}

/* ---- requests and counted answers ---- */

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static int link_counted(struct link *l, struct ptl_buf *ret)
{
    char head[4];
    int r = link_read(l, head, sizeof(head));
    if (r < 0)
        return r;
    int len = hex4(head);
    if (len < 0)
        return ptl_error_set(l->err, -EPROTO, "adb: %s: expected four hex digits, got \"%.4s\"", l->what,
                             head);
    r = ptl_buf_reserve(ret, (size_t)len);
    char piece[4096];
    while (r == 0 && len > 0) {
        size_t n = (size_t)len < sizeof(piece) ? (size_t)len : sizeof(piece);
        r = link_read(l, piece, n);
        if (r == 0)
            r = ptl_buf_add(ret, piece, n);
        len -= (int)n;
    }
    return r;
}

/* Reads OKAY, or FAIL with its sentence (-EREMOTEIO). */
static int link_status(struct link *l)
{
    char status[4];
    int r = link_read(l, status, sizeof(status));
    if (r < 0)
        return r;
    if (memcmp(status, "OKAY", 4) == 0)
        return 0;
    if (memcmp(status, "FAIL", 4) != 0)
        return ptl_error_set(l->err, -EPROTO, "adb: %s: expected OKAY or FAIL, got \"%.4s\"", l->what,
                             status);
    PTL_BUF text = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 1);
    r = link_counted(l, &text);
    if (r < 0)
        return r;
    return ptl_error_set(l->err, -EREMOTEIO, "adb: %s: %s", l->what,
                         text.len ? ptl_buf_str(&text) : "refused without a reason");
}

static int link_request(struct link *l, const char *fmt, const char *arg)
{
    PTL_BUF b = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 8);
    size_t len = strlen(fmt) + strlen(arg);
    if (len > PTL_ADB_REPLY_MAX)
        return ptl_error_set(l->err, -E2BIG, "adb: %s: request of %zu bytes, the protocol takes 65535",
                             l->what, len);
    ptl_buf_printf(&b, "%04zx%s%s", len, fmt, arg);
    if (b.failed)
        return ptl_error_set(l->err, b.failed, "adb: out of memory");
    int r = link_write(l, b.data, b.len);
    return r < 0 ? r : link_status(l);
}

/* One host service: request, OKAY, counted text. */
static int host_query(struct ptl_adb *adb, const char *service, const char *arg,
                      const struct ptl_adb_wait *wait, const char *what, struct ptl_buf *ret,
                      struct ptl_error *err)
{
    PTL_CLEANUP(link_done) struct link l;
    int r = link_open(&l, adb, wait, what, err);
    if (r == 0)
        r = link_request(&l, service, arg);
    if (r == 0)
        r = link_counted(&l, ret);
    return r;
}

/* A serial goes into a request line and into messages. */
static int serial_check(const char *serial, struct ptl_error *err)
{
    size_t n = serial ? strlen(serial) : 0;
    if (n == 0 || n > PTL_ADB_SERIAL_MAX)
        return ptl_error_set(err, -EINVAL, "device serial: expected 1..%d characters", PTL_ADB_SERIAL_MAX);
    for (const char *p = serial; *p; p++)
        if (*p <= ' ' || *p > '~')
            return ptl_error_set(
                err, -EINVAL, "device serial \"%s\": blanks and control characters are not allowed", serial);
    return 0;
}

int ptl_adb_version(struct ptl_adb *adb, const struct ptl_adb_wait *wait, int *ret, struct ptl_error *err)
{
    PTL_BUF text = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 1);
    int r = host_query(adb, "host:version", "", wait, "version of the server", &text, err);
    if (r < 0)
        return r;
    int v = text.len == 4 ? hex4(text.data) : -1;
    if (v < 0)
        return ptl_error_set(err, -EPROTO, "adb: the server's version is \"%.20s\", expected four hex digits",
                             ptl_buf_str(&text));
    *ret = v;
    return 0;
}

int ptl_adb_connect(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                    struct ptl_error *err)
{
    int r = serial_check(serial, err);
    if (r < 0)
        return r;
    PTL_BUF text = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 1);
    r = host_query(adb, "host:connect:", serial, wait, "connect", &text, err);
    if (r < 0)
        return r;
    if (ptl_str_starts(ptl_buf_str(&text), "connected") ||
        ptl_str_starts(ptl_buf_str(&text), "already connected"))
        return 0;
    ptl_error_set(err, -ECONNREFUSED, "adb: connect %s: %s", serial, ptl_buf_str(&text));
    return PTL_AGAIN;
}

int ptl_adb_disconnect(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                       struct ptl_error *err)
{
    int r = serial_check(serial, err);
    if (r < 0)
        return r;
    PTL_BUF text = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 1);
    return host_query(adb, "host:disconnect:", serial, wait, "disconnect", &text, err);
}

int ptl_adb_devices(struct ptl_adb *adb, const struct ptl_adb_wait *wait, struct ptl_adb_device *ret,
                    size_t max, size_t *ret_n, struct ptl_error *err)
{
    PTL_BUF text = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 1);
    int r = host_query(adb, "host:devices", "", wait, "list of devices", &text, err);
    if (r < 0)
        return r;
    size_t n = 0;
    char *save = NULL;
    for (char *line = strtok_r(text.data ? text.data : (char[1]){0}, "\n", &save); line && n < max;
         line = strtok_r(NULL, "\n", &save)) {
        char *tab = strchr(line, '\t');
        if (!tab || tab == line || tab - line > PTL_ADB_SERIAL_MAX)
            return ptl_error_set(err, -EPROTO, "adb: list of devices: \"%.40s\" is not \"serial<tab>state\"",
                                 line);
        *tab = '\0';
        snprintf(ret[n].serial, sizeof(ret[n].serial), "%s", line);
        snprintf(ret[n].state, sizeof(ret[n].state), "%s", tab + 1);
        n++;
    }
    *ret_n = n;
    return 0;
}

int ptl_adb_is_ready(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                     bool *ret_ready, char ret_state[32], struct ptl_error *err)
{
    enum { MAX = 256 };
    PTL_FREE struct ptl_adb_device *list = ptl_xcalloc(MAX, sizeof(*list));
    size_t n = 0;
    int r = ptl_adb_devices(adb, wait, list, MAX, &n, err);
    if (r < 0)
        return r;
    const char *state = "absent";
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].serial, serial) == 0)
            state = list[i].state;
    if (ret_state)
        snprintf(ret_state, 32, "%s", state);
    *ret_ready = strcmp(state, "device") == 0;
    return 0;
}

int ptl_adb_features(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                     struct ptl_buf *ret, struct ptl_error *err)
{
    int r = serial_check(serial, err);
    if (r < 0)
        return r;
    PTL_FREE char *service = ptl_xasprintf("host-serial:%s:features", serial);
    return host_query(adb, service, "", wait, "features", ret, err);
}

/* ---- a service on the device ---- */

static int link_device(struct link *l, struct ptl_adb *adb, const char *serial, const char *service,
                       const char *arg, const struct ptl_adb_wait *wait, const char *what,
                       struct ptl_error *err)
{
    l->fd = -1; /* so that link_done() of the caller is right when nothing was opened */
    int r = serial_check(serial, err);
    if (r == 0)
        r = link_open(l, adb, wait, what, err);
    if (r == 0)
        r = link_request(l, "host:transport:", serial);
    if (r == 0)
        r = link_request(l, service, arg);
    return r;
}

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

/* Packets of shell_v2 that the device sends. */
enum { SHELL_STDOUT = 1, SHELL_STDERR = 2, SHELL_EXIT = 3 };

static int shell_packets(struct link *l, uint64_t max_bytes, ptl_adb_out_fn *out, void *ctx, int *ret_exit)
{
    uint64_t total = 0;
    char piece[16 << 10];
    for (;;) {
        unsigned char head[5];
        int r = link_read(l, head, sizeof(head));
        if (r < 0)
            return r;
        uint32_t len = get_u32(head + 1);
        if (head[0] == SHELL_EXIT) {
            unsigned char code;
            if (len != 1)
                return ptl_error_set(l->err, -EPROTO, "adb: %s: exit packet of %u bytes, expected 1", l->what,
                                     len);
            r = link_read(l, &code, 1);
            if (r == 0)
                *ret_exit = code;
            return r;
        }
        if ((head[0] != SHELL_STDOUT && head[0] != SHELL_STDERR) || len > PTL_ADB_PACKET_MAX)
            return ptl_error_set(l->err, -EPROTO, "adb: %s: packet %u of %u bytes is none of shell_v2",
                                 l->what, head[0], len);
        total += len;
        if (total > max_bytes)
            return ptl_error_set(l->err, -EFBIG, "adb: %s: more than %llu bytes of output", l->what,
                                 (unsigned long long)max_bytes);
        while (len > 0) {
            size_t n = len < sizeof(piece) ? len : sizeof(piece);
            r = link_read(l, piece, n);
            if (r == 0 && out)
                r = out(ctx, head[0] == SHELL_STDERR, piece, n);
            if (r < 0)
                return r;
            len -= (uint32_t)n;
        }
    }
}

int ptl_adb_shell(struct ptl_adb *adb, const char *serial, const char *command,
                  const struct ptl_adb_wait *wait, uint64_t max_bytes, ptl_adb_out_fn *out, void *ctx,
                  int *ret_exit, struct ptl_error *err)
{
    PTL_CLEANUP(link_done) struct link l;
    int code = 0,
        r = link_device(&l, adb, serial, "shell,v2,raw:", command, wait, "command on the device", err);
    if (r == 0)
        r = shell_packets(&l, max_bytes, out, ctx, &code);
    if (r == 0)
        *ret_exit = code;
    return r;
}

struct shell_bufs {
    struct ptl_buf *out, *err_out;
};

static int shell_to_buf(void *ctx, bool is_stderr, const char *data, size_t len)
{
    struct shell_bufs *b = ctx;
    struct ptl_buf *to = is_stderr ? b->err_out : b->out;
    return to ? ptl_buf_add(to, data, len) : 0;
}

int ptl_adb_shell_buf(struct ptl_adb *adb, const char *serial, const char *command,
                      const struct ptl_adb_wait *wait, struct ptl_buf *out, struct ptl_buf *err_out,
                      int *ret_exit, struct ptl_error *err)
{
    struct shell_bufs b = {out, err_out};
    return ptl_adb_shell(adb, serial, command, wait, 1 << 20, shell_to_buf, &b, ret_exit, err);
}

int ptl_adb_quote(struct ptl_buf *b, const char *word)
{
    ptl_buf_putc(b, '\'');
    for (const char *p = word; *p; p++) {
        if (*p == '\'')
            ptl_buf_puts(b, "'\\''");
        else
            ptl_buf_putc(b, *p);
    }
    ptl_buf_putc(b, '\'');
    return b->failed;
}

/* ---- sync: ---- */

static int sync_request(struct link *l, const char id[4], const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len > PTL_ADB_PATH_MAX + 16)
        return ptl_error_set(l->err, -ENAMETOOLONG, "adb: %s: a path on the device has 1..%d bytes", l->what,
                             PTL_ADB_PATH_MAX);
    unsigned char head[8];
    memcpy(head, id, 4);
    put_u32(head + 4, (uint32_t)len);
    int r = link_write(l, head, sizeof(head));
    return r < 0 ? r : link_write(l, text, len);
}

/* The sentence of a sync FAIL of `len` bytes. */
static int sync_fail(struct link *l, const char *remote, uint32_t len)
{
    char text[512];
    size_t n = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
    int r = link_read(l, text, n);
    if (r < 0)
        return r;
    text[n] = '\0';
    return ptl_error_set(l->err, -EREMOTEIO, "adb: %s %s: %s", l->what, remote, text);
}

static int sync_stat(struct link *l, const char *remote, struct ptl_adb_stat *ret)
{
    int r = sync_request(l, "STAT", remote);
    unsigned char head[16];
    if (r == 0)
        r = link_read(l, head, 4);
    if (r < 0)
        return r;
    if (memcmp(head, "FAIL", 4) == 0) {
        r = link_read(l, head + 4, 4);
        return r < 0 ? r : sync_fail(l, remote, get_u32(head + 4));
    }
    if (memcmp(head, "STAT", 4) != 0)
        return ptl_error_set(l->err, -EPROTO, "adb: %s: expected STAT, got \"%.4s\"", l->what,
                             (const char *)head);
    r = link_read(l, head + 4, 12);
    if (r == 0)
        *ret = (struct ptl_adb_stat){get_u32(head + 4), get_u32(head + 8), get_u32(head + 12)};
    return r;
}

/* Sends the file; the device answers once, at the end (or early with FAIL, when it cannot go on). */
static int sync_send(struct link *l, int fd, const char *remote, mode_t mode, uint64_t *ret_bytes)
{
    if (strlen(remote) > PTL_ADB_PATH_MAX)
        return ptl_error_set(l->err, -ENAMETOOLONG, "adb: %s: the path has more than %d bytes", l->what,
                             PTL_ADB_PATH_MAX);
    PTL_FREE char *spec = ptl_xasprintf("%s,%u", remote, (unsigned)(S_IFREG | (mode & 0777)));
    int r = sync_request(l, "SEND", spec);
    PTL_FREE unsigned char *chunk = malloc(8 + PTL_ADB_SYNC_CHUNK);
    if (!chunk)
        return ptl_error_set(l->err, -ENOMEM, "adb: out of memory");
    uint64_t total = 0;
    while (r == 0) {
        ssize_t n = read(fd, chunk + 8, PTL_ADB_SYNC_CHUNK);
        if (n < 0)
            return ptl_error_set(l->err, -errno, "adb: %s: reading the local file: %s", l->what,
                                 strerror(errno));
        if (n == 0)
            break;
        memcpy(chunk, "DATA", 4);
        put_u32(chunk + 4, (uint32_t)n);
        r = link_write(l, chunk, 8 + (size_t)n);
        total += (uint64_t)n;
    }
    unsigned char tail[8];
    memcpy(tail, "DONE", 4);
    put_u32(tail + 4, (uint32_t)time(NULL));
    if (r == 0)
        r = link_write(l, tail, sizeof(tail));
    /* A device that stopped reading (disk full) has said why before it closed: look even when a write failed.
     */
    if (r < 0 && r != -ECONNRESET)
        return r;
    int r2 = link_read(l, tail, sizeof(tail));
    if (r2 < 0)
        return r2;
    if (memcmp(tail, "FAIL", 4) == 0)
        return sync_fail(l, remote, get_u32(tail + 4));
    if (memcmp(tail, "OKAY", 4) != 0)
        return ptl_error_set(l->err, -EPROTO, "adb: %s: expected OKAY or FAIL, got \"%.4s\"", l->what,
                             (const char *)tail);
    if (r < 0)
        return r;
    *ret_bytes = total;
    return 0;
}

/* Sends one local file and proves with STAT that all of it arrived. */
static int sync_push_file(struct link *l, const char *local, const char *remote, mode_t mode,
                          uint64_t *ret_bytes)
{
    PTL_CLOSE int fd = open(local, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return ptl_error_set(l->err, -errno, "adb: %s: %s: %s", l->what, local, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ptl_error_set(l->err, -EINVAL, "adb: %s: %s is not a regular file", l->what, local);
    uint64_t bytes = 0;
    int r = sync_send(l, fd, remote, mode, &bytes);
    struct ptl_adb_stat there = {0};
    if (r == 0)
        r = sync_stat(l, remote, &there);
    if (r < 0)
        return r;
    if (!S_ISREG(there.mode) || there.size_bytes != (uint32_t)bytes)
        return ptl_error_set(l->err, -EIO,
                             "adb: %s: %s has mode %o and %u bytes on the device after sending %llu", l->what,
                             remote, there.mode, there.size_bytes, (unsigned long long)bytes);
    if ((mode & 0100) && !(there.mode & 0100))
        return ptl_error_set(
            l->err, -EIO,
            "adb: %s: %s is not executable on the device (mode %o): its directory is mounted so", l->what,
            remote, there.mode & 07777);
    *ret_bytes = bytes;
    return 0;
}

int ptl_adb_stat(struct ptl_adb *adb, const char *serial, const char *remote, const struct ptl_adb_wait *wait,
                 struct ptl_adb_stat *ret, struct ptl_error *err)
{
    PTL_CLEANUP(link_done) struct link l;
    int r = link_device(&l, adb, serial, "sync:", "", wait, "stat", err);
    return r < 0 ? r : sync_stat(&l, remote, ret);
}

int ptl_adb_push(struct ptl_adb *adb, const char *serial, const char *local, const char *remote, mode_t mode,
                 const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    PTL_CLEANUP(link_done) struct link l;
    uint64_t bytes;
    int r = link_device(&l, adb, serial, "sync:", "", wait, "push", err);
    return r < 0 ? r : sync_push_file(&l, local, remote, mode, &bytes);
}

struct tree {
    struct link *link;
    unsigned files;
    uint64_t bytes;
};

static int push_dir(struct tree *t, const char *local, const char *remote, int depth);

static int push_entry(struct tree *t, const char *local, const char *remote, int depth)
{
    struct stat st;
    if (stat(local, &st) < 0)
        return ptl_error_set(t->link->err, -errno, "adb: push: %s: %s", local, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return push_dir(t, local, remote, depth + 1);
    if (++t->files > TREE_FILES_MAX)
        return ptl_error_set(t->link->err, -E2BIG, "adb: push: more than %d files below one directory",
                             TREE_FILES_MAX);
    uint64_t bytes = 0;
    int r = sync_push_file(t->link, local, remote, st.st_mode & 0777, &bytes);
    t->bytes += bytes;
    return r;
}

static int push_dir(struct tree *t, const char *local, const char *remote, int depth)
{
    if (depth > TREE_DEPTH_MAX)
        return ptl_error_set(t->link->err, -ELOOP, "adb: push: %s: more than %d directories deep", local,
                             TREE_DEPTH_MAX);
    DIR *d = opendir(local);
    if (!d)
        return ptl_error_set(t->link->err, -errno, "adb: push: %s: %s", local, strerror(errno));
    int r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        PTL_FREE char *from = ptl_fs_join(local, e->d_name);
        PTL_FREE char *to = ptl_fs_join(remote, e->d_name);
        r = push_entry(t, from, to, depth);
    }
    closedir(d);
    return r;
}

int ptl_adb_push_tree(struct ptl_adb *adb, const char *serial, const char *local, const char *remote,
                      const struct ptl_adb_wait *wait, unsigned *ret_files, uint64_t *ret_bytes,
                      struct ptl_error *err)
{
    PTL_CLEANUP(link_done) struct link l;
    int r = link_device(&l, adb, serial, "sync:", "", wait, "push", err);
    struct tree t = {.link = &l};
    if (r == 0)
        r = push_dir(&t, local, remote, 0);
    if (r == 0 && ret_files)
        *ret_files = t.files;
    if (r == 0 && ret_bytes)
        *ret_bytes = t.bytes;
    return r;
}

/* Receives DATA chunks into fd until DONE. */
static int sync_recv(struct link *l, int fd, const char *remote, uint64_t max_bytes, uint64_t *ret_bytes)
{
    int r = sync_request(l, "RECV", remote);
    PTL_FREE char *chunk = malloc(PTL_ADB_SYNC_CHUNK);
    if (!chunk)
        return ptl_error_set(l->err, -ENOMEM, "adb: out of memory");
    uint64_t total = 0;
    while (r == 0) {
        unsigned char head[8];
        r = link_read(l, head, sizeof(head));
        if (r < 0)
            break;
        uint32_t len = get_u32(head + 4);
        if (memcmp(head, "DONE", 4) == 0) {
            *ret_bytes = total;
            return 0;
        }
        if (memcmp(head, "FAIL", 4) == 0)
            return sync_fail(l, remote, len);
        if (memcmp(head, "DATA", 4) != 0 || len > PTL_ADB_SYNC_CHUNK)
            return ptl_error_set(l->err, -EPROTO, "adb: %s: chunk \"%.4s\" of %u bytes is none of sync",
                                 l->what, (const char *)head, len);
        total += len;
        if (total > max_bytes)
            return ptl_error_set(l->err, -EFBIG, "adb: %s: %s has more than %llu bytes", l->what, remote,
                                 (unsigned long long)max_bytes);
        r = link_read(l, chunk, len);
        if (r == 0)
            r = ptl_fs_write_all(fd, chunk, len);
        if (r < 0 && l->err && !l->err->code)
            ptl_error_set(l->err, r, "adb: %s: writing the local file: %s", l->what, strerror(-r));
    }
    return r;
}

static int pull_to(struct link *l, int fd, const char *remote, uint64_t max_bytes)
{
    struct ptl_adb_stat there;
    uint64_t bytes = 0;
    int r = sync_stat(l, remote, &there);
    if (r < 0)
        return r;
    if (there.mode == 0)
        return ptl_error_set(l->err, -ENOENT, "adb: pull: %s is not on the device", remote);
    if (!S_ISREG(there.mode))
        return ptl_error_set(l->err, -EINVAL, "adb: pull: %s is not a regular file (mode %o)", remote,
                             there.mode);
    r = sync_recv(l, fd, remote, max_bytes, &bytes);
    if (r == 0 && (uint32_t)bytes != there.size_bytes)
        return ptl_error_set(l->err, -EIO, "adb: pull: %s came with %llu bytes, the device said %u", remote,
                             (unsigned long long)bytes, there.size_bytes);
    return r;
}

int ptl_adb_pull(struct ptl_adb *adb, const char *serial, const char *remote, const char *local,
                 uint64_t max_bytes, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    PTL_CLEANUP(link_done) struct link l;
    int r = link_device(&l, adb, serial, "sync:", "", wait, "pull", err);
    if (r < 0)
        return r;
    PTL_FREE char *tmp = ptl_xasprintf("%s.partial", local);
    PTL_CLOSE int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return ptl_error_set(err, -errno, "adb: pull: %s: %s", tmp, strerror(errno));
    r = pull_to(&l, fd, remote, max_bytes);
    if (r == 0 && rename(tmp, local) < 0)
        r = ptl_error_set(err, -errno, "adb: pull: %s: %s", local, strerror(errno));
    if (r < 0)
        unlink(tmp);
    return r;
}
