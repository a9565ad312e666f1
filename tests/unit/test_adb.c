/* test_adb.c - the adb client against a scripted server on a unix socket: right answers, and every way an
 * answer can be wrong. A script is what the server expects and sends on one connection; a thread plays it and
 * checks each byte. */
#include "adb.h"

#include <fcntl.h>
#include <poll.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

enum step_kind {
    END,  /* close */
    WANT, /* read exactly these bytes */
    SEND,
    SKIP,   /* read and drop `len` bytes (what a clock decides) */
    DRIP,   /* these bytes for ever, one at a time, until the client goes */
    STALL,  /* say nothing until the client goes */
    CANCEL, /* set the test's cancel flag, then as STALL */
};
struct step {
    enum step_kind kind;
    const char *data;
    size_t len;
};
#define W(s)                                                                                                 \
    {                                                                                                        \
        WANT, s, sizeof(s) - 1                                                                               \
    }
#define S(s)                                                                                                 \
    {                                                                                                        \
        SEND, s, sizeof(s) - 1                                                                               \
    }

static char dir[64], socket_path[100];
static struct ptl_adb *adb;
static atomic_int cancelled;

struct server {
    const struct step *script;
    int listener;
    pthread_t thread, client;
    char problem[200];
};

static void on_cancel(int sig PTL_UNUSED)
{
    cancelled = 1;
}

static void wait_for_hangup(int fd)
{
    char b[256];
    while (read(fd, b, sizeof(b)) > 0)
        ;
}

static void play_want(struct server *s, int fd, const struct step *st, size_t at)
{
    char got[4096];
    for (size_t n = 0; n < st->len;) {
        ssize_t r = read(fd, got + n, st->len - n);
        if (r <= 0) {
            snprintf(s->problem, sizeof(s->problem), "step %zu: the client closed after %zu of %zu bytes", at,
                     n, st->len);
            return;
        }
        n += (size_t)r;
    }
    if (st->kind == WANT && memcmp(got, st->data, st->len) != 0)
        snprintf(s->problem, sizeof(s->problem), "step %zu: wanted \"%.60s\", got \"%.*s\"", at, st->data,
                 (int)st->len, got);
}

static void play_drip(int fd, const struct step *st)
{
    for (size_t i = 0; send(fd, st->data + i % st->len, 1, MSG_NOSIGNAL) == 1; i++) {
        struct pollfd p = {.fd = fd, .events = POLLRDHUP};
        if (poll(&p, 1, 5) > 0)
            return;
    }
}

static void *play(void *arg)
{
    struct server *s = arg;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    for (size_t i = 0; fd >= 0 && !s->problem[0] && s->script[i].kind != END; i++) {
        const struct step *st = &s->script[i];
        if (st->kind == WANT || st->kind == SKIP)
            play_want(s, fd, st, i);
        else if (st->kind == SEND)
            (void)!send(fd, st->data, st->len, MSG_NOSIGNAL);
        else {
            if (st->kind == CANCEL)
                pthread_kill(s->client, SIGUSR1); /* as in an attempt process: a handler sets the flag */
            if (st->kind == DRIP)
                play_drip(fd, st);
            else
                wait_for_hangup(fd);
            break; /* nothing can follow: these scripts have no END */
        }
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void server_start(struct server *s, const struct step *script)
{
    *s = (struct server){.script = script, .client = pthread_self()};
    cancelled = 0;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    strcpy(sa.sun_path, socket_path);
    unlink(socket_path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, play, s), 0);
}

static void server_end(struct server *s, const char *label)
{
    shutdown(s->listener, SHUT_RDWR); /* when the client never connected */
    pthread_join(s->thread, NULL);
    close(s->listener);
    if (s->problem[0])
        fail_msg("%s: %s", label, s->problem);
}

static struct ptl_adb_wait in_ms(int64_t ms)
{
    return (struct ptl_adb_wait){ptl_mono_ms() + ms, &cancelled};
}

/* ---- commands ---- */

#define TRANSPORT W("0011host:transport:X1")
#define PREFIX    TRANSPORT, S("OKAY"), W("0013shell,v2,raw:run it"), S("OKAY")

struct shell_case {
    const char *label;
    struct step script[12];
    int64_t deadline_ms;
    int want, want_exit;
    const char *want_out, *want_err, *want_text;
};

static const struct shell_case shell_cases[] = {
    {"output and exit status",
     {PREFIX, S("\1\3\0\0\0abc"), S("\2\2\0\0\0er"), S("\1\1\0\0\0d"), S("\3\1\0\0\0\7"), {END, NULL, 0}},
     5000,                                                                                                       0,
     7,                                                                                                                            "abcd",
     "er",                                                                                                                                     ""         },
    {"exit status 0",                       {PREFIX, S("\3\1\0\0\0\0"), {END, NULL, 0}},                   5000, 0,           0,   "",     "", ""         },
    {"exit status 255",                     {PREFIX, S("\3\1\0\0\0\xff"), {END, NULL, 0}},                 5000, 0,           255, "",     "", ""         },
    {"packets cut anywhere by the network",
     {PREFIX, S("\1\3"), S("\0\0\0a"), S("bc\3"), S("\1\0\0\0"), S("\2"), {END, NULL, 0}},
     5000,                                                                                                       0,
     2,                                                                                                                            "abc",
     "",                                                                                                                                       ""         },
    {"an empty packet",                     {PREFIX, S("\1\0\0\0\0"), S("\3\1\0\0\0\0"), {END, NULL, 0}},  5000, 0,           0,   "",     "", ""         },
    {"the device dies before any output",
     {PREFIX, {END, NULL, 0}},
     5000,                                                                                                       -ECONNRESET,
     -1,
     "",                                                                                                                                   "",
     "went away"                                                                                                                                          },
    {"the device dies after output",
     {PREFIX, S("\1\6\0\0\0start\n"), {END, NULL, 0}},
     5000,                                                                                                       -ECONNRESET,
     -1,
     "start\n",                                                                                                                            "",
     "went away"                                                                                                                                          },
    {"the device dies in a packet",
     {PREFIX, S("\1\12\0\0\0sta"), {END, NULL, 0}},
     5000,                                                                                                       -ECONNRESET,
     -1,
     NULL,                                                                                                                                 "",
     "went away"                                                                                                                                          },
    {"the device dies in the exit packet",
     {PREFIX, S("\3\1\0\0\0"), {END, NULL, 0}},
     5000,                                                                                                       -ECONNRESET,
     -1,
     "",                                                                                                                                   "",
     "went away"                                                                                                                                          },
    {"an exit packet of two bytes",
     {PREFIX, S("\3\2\0\0\0\0\0"), {END, NULL, 0}},
     5000,                                                                                                       -EPROTO,
     -1,
     "",                                                                                                                                   "",
     "exit packet"                                                                                                                                        },
    {"a packet of 4 GiB",
     {PREFIX, S("\1\xff\xff\xff\xff"), {END, NULL, 0}},
     5000,                                                                                                       -EPROTO,
     -1,
     "",                                                                                                                                   "",
     "none of shell_v2"                                                                                                                                   },
    {"a packet of no known kind",
     {PREFIX, S("\11\1\0\0\0x"), {END, NULL, 0}},
     5000,                                                                                                       -EPROTO,
     -1,
     "",                                                                                                                                   "",
     "none of shell_v2"                                                                                                                                   },
    {"transport refused",
     {TRANSPORT, S("FAIL0015device 'X1' not found"), {END, NULL, 0}},
     5000,                                                                                                       -EREMOTEIO,
     -1,
     "",                                                                                                                                   "",
     "device 'X1' not found"                                                                                                                              },
    {"shell refused",
     {TRANSPORT, S("OKAY"), W("0013shell,v2,raw:run it"), S("FAIL0006closed"), {END, NULL, 0}},
     5000,                                                                                                       -EREMOTEIO,
     -1,
     "",                                                                                                                                   "",
     "closed"                                                                                                                                             },
    {"FAIL without a reason",
     {TRANSPORT, S("FAIL0000"), {END, NULL, 0}},
     5000,                                                                                                       -EREMOTEIO,
     -1,
     "",                                                                                                                                   "",
     "without a reason"                                                                                                                                   },
    {"FAIL with a length that is none",
     {TRANSPORT, S("FAILzzzz"), {END, NULL, 0}},
     5000,                                                                                                       -EPROTO,
     -1,
     "",                                                                                                                                   "",
     "four hex digits"                                                                                                                                    },
    {"FAIL cut",                            {TRANSPORT, S("FAIL00ffabc"), {END, NULL, 0}},                 5000, -ECONNRESET, -1,  "",     "", "went away"},
    {"neither OKAY nor FAIL",
     {TRANSPORT, S("HTTP/1.1 400"), {END, NULL, 0}},
     5000,                                                                                                       -EPROTO,
     -1,
     "",                                                                                                                                   "",
     "expected OKAY or FAIL"                                                                                                                              },
    {"the server closes at once",           {{END, NULL, 0}},                                              5000, -ECONNRESET, -1,  "",     "", "went away"},
    {"silence",                             {PREFIX, {STALL, NULL, 0}},                                    200,  -ETIMEDOUT,  -1,  "",     "", "deadline" },
    {"slow drip of output",                 {PREFIX, {DRIP, "\1\1\0\0\0x", 6}},                            300,  -ETIMEDOUT,  -1,  NULL,   "", "deadline" },
    {"slow drip of a status",               {TRANSPORT, {DRIP, "FAILffff", 8}},                            300,  -ETIMEDOUT,  -1,  "",     "", "deadline" },
    {"cancelled",
     {PREFIX, S("\1\1\0\0\0x"), {CANCEL, NULL, 0}},
     60000,                                                                                                      -ECANCELED,
     -1,
     NULL,                                                                                                                                 "",
     "cancelled"                                                                                                                                          },
};

static void test_shell(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(shell_cases); i++) {
        const struct shell_case *c = &shell_cases[i];
        struct server s;
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_BUF out = PTL_BUF_INIT, err_out = PTL_BUF_INIT;
        int code = -1;
        server_start(&s, c->script);
        struct ptl_adb_wait wait = in_ms(c->deadline_ms);
        int r = ptl_adb_shell_buf(adb, "X1", "run it", &wait, &out, &err_out, &code, &err);
        server_end(&s, c->label);
        if (r != c->want || code != c->want_exit)
            fail_msg("%s: returned %d exit %d, wanted %d exit %d (%s)", c->label, r, code, c->want,
                     c->want_exit, err.text);
        if ((c->want_out && strcmp(ptl_buf_str(&out), c->want_out) != 0) ||
            strcmp(ptl_buf_str(&err_out), c->want_err) != 0)
            fail_msg("%s: printed \"%s\" and \"%s\"", c->label, ptl_buf_str(&out), ptl_buf_str(&err_out));
        if (!strstr(err.text, c->want_text) || (r < 0 && err.code != r))
            fail_msg("%s: error %d \"%s\"", c->label, err.code, err.text);
    }
}

static void test_shell_output_bound(void **state PTL_UNUSED)
{
    static const struct step script[] = {
        PREFIX, S("\1\4\0\0\0abcd"), S("\1\4\0\0\0efgh"), {STALL, NULL, 0}
    };
    struct server s;
    struct ptl_error err = PTL_ERROR_INIT;
    int code = -1;
    server_start(&s, script);
    struct ptl_adb_wait wait = in_ms(5000);
    assert_int_equal(ptl_adb_shell(adb, "X1", "run it", &wait, 7, NULL, NULL, &code, &err), -EFBIG);
    server_end(&s, "bound");
    assert_int_equal(code, -1);
}

static int stop_at_once(void *ctx PTL_UNUSED, bool is_stderr PTL_UNUSED, const char *data PTL_UNUSED,
                        size_t len PTL_UNUSED)
{
    return -ENOSPC;
}

static void test_shell_callback_ends_it(void **state PTL_UNUSED)
{
    static const struct step script[] = {
        PREFIX, S("\1\4\0\0\0abcd"), {STALL, NULL, 0}
    };
    struct server s;
    struct ptl_error err = PTL_ERROR_INIT;
    int code = -1;
    server_start(&s, script);
    struct ptl_adb_wait wait = in_ms(5000);
    assert_int_equal(ptl_adb_shell(adb, "X1", "run it", &wait, 100, stop_at_once, NULL, &code, &err),
                     -ENOSPC);
    server_end(&s, "callback");
}

/* ---- host services ---- */

enum host_call { VERSION, CONNECT, DISCONNECT, READY, FEATURES };
struct host_case {
    const char *label;
    enum host_call call;
    struct step script[6];
    int want;
    int want_value; /* version, or ready */
    const char *want_text;
};

#define CONNECT_X1 W("000fhost:connect:X1")
#define DEVICES    W("000chost:devices"), S("OKAY")
static const struct host_case host_cases[] = {
    {"version",                      VERSION, {W("000chost:version"), S("OKAY00040029"), {END, NULL, 0}},                                          0, 0x29, ""},
    {"version that is none",
     VERSION,                                 {W("000chost:version"), S("OKAY0003abc"), {END, NULL, 0}},
     -EPROTO,
     -1,
     "four hex digits"                                                                                                                                        },
    {"connected",                    CONNECT, {CONNECT_X1, S("OKAY000fconnected to X1"), {END, NULL, 0}},                                          0, -1,   ""},
    {"already connected",
     CONNECT,                                 {CONNECT_X1, S("OKAY0017already connected to X1"), {END, NULL, 0}},
     0,                                                                                                                                               -1,
     ""                                                                                                                                                       },
    {"refused, and yet OKAY",
     CONNECT,                                 {CONNECT_X1, S("OKAY0037failed to connect to 'X1': Connection refused (longer.) "), {END, NULL, 0}},
     PTL_AGAIN,                                                                                                                                       -1,
     "Connection refused"                                                                                                                                     },
    {"an OKAY without a text",
     CONNECT,                                 {CONNECT_X1, S("OKAY0000"), {END, NULL, 0}},
     PTL_AGAIN,                                                                                                                                       -1,
     "connect X1"                                                                                                                                             },
    {"a text shorter than it says",
     CONNECT,                                 {CONNECT_X1, S("OKAY00ffconnected"), {END, NULL, 0}},
     -ECONNRESET,
     -1,
     "went away"                                                                                                                                              },
    {"a length with a sign",
     CONNECT,                                 {CONNECT_X1, S("OKAY-001x"), {END, NULL, 0}},
     -EPROTO,
     -1,
     "four hex digits"                                                                                                                                        },
    {"disconnect of an unknown one",
     DISCONNECT,                              {W("0012host:disconnect:X1"), S("FAIL0011no such device X1"), {END, NULL, 0}},
     -EREMOTEIO,
     -1,
     "no such device"                                                                                                                                         },
    {"ready",                        READY,   {DEVICES, S("001eother\tdevice\nX1\tdevice\nX12\tof\n"), {END, NULL, 0}},                            0, 1,    ""},
    {"offline",                      READY,   {DEVICES, S("000bX1\toffline\n"), {END, NULL, 0}},                                                   0, 0,    ""},
    {"no device at all",             READY,   {DEVICES, S("0000"), {END, NULL, 0}},                                                                0, 0,    ""},
    {"a list that is none",
     READY,                                   {DEVICES, S("0006X1 dev"), {END, NULL, 0}},
     -EPROTO,
     -1,
     "serial<tab>state"                                                                                                                                       },
    {"features",
     FEATURES,                                {W("0017host-serial:X1:features"), S("OKAY000cshell_v2,cmd"), {END, NULL, 0}},
     0,                                                                                                                                               -1,
     ""                                                                                                                                                       },
};

static int host_call(const struct host_case *c, const struct ptl_adb_wait *wait, int *ret_value,
                     struct ptl_error *err)
{
    bool ready = false;
    char state[32];
    PTL_BUF text = PTL_BUF_INIT;
    int r = -ENOSYS;
    switch (c->call) {
    case VERSION:
        return ptl_adb_version(adb, wait, ret_value, err);
    case CONNECT:
        return ptl_adb_connect(adb, "X1", wait, err);
    case DISCONNECT:
        return ptl_adb_disconnect(adb, "X1", wait, err);
    case READY:
        r = ptl_adb_is_ready(adb, "X1", wait, &ready, state, err);
        if (r == 0)
            *ret_value = ready;
        return r;
    case FEATURES:
        r = ptl_adb_features(adb, "X1", wait, &text, err);
        if (r == 0)
            assert_string_equal(ptl_buf_str(&text), "shell_v2,cmd");
    }
    return r;
}

static void test_host(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(host_cases); i++) {
        const struct host_case *c = &host_cases[i];
        struct server s;
        struct ptl_error err = PTL_ERROR_INIT;
        int value = -1;
        server_start(&s, c->script);
        struct ptl_adb_wait wait = in_ms(5000);
        int r = host_call(c, &wait, &value, &err);
        server_end(&s, c->label);
        if (r != c->want || value != c->want_value || !strstr(err.text, c->want_text))
            fail_msg("%s: returned %d value %d \"%s\"", c->label, r, value, err.text);
    }
}

/* ---- files ---- */

#define SYNC TRANSPORT, S("OKAY"), W("0005sync:"), S("OKAY")
#define STAT W("STAT\2\0\0\0/f")
#define IS_FILE(size, mode)                                                                                  \
    S("STAT" mode "\x81\0\0" size "\0\0\0"                                                                   \
      "\0\0\0\0") /* mode 0o1006xx little endian */
#define MODE_644 "\xa4"
#define MODE_755 "\xed"
#define MODE_600 "\x80"

struct file_case {
    const char *label;
    bool push;
    struct step script[14];
    int64_t deadline_ms;
    int want;
    const char *want_text;
};

/* A local file of "hello" is sent with mode 0755 to /f; /f of at most 8 bytes is fetched. */
#define SEND_F                                                                                               \
    W("SEND\10\0\0\0/f,33261"), W("DATA\5\0\0\0helloDONE"),                                                  \
    {                                                                                                        \
        SKIP, NULL, 4                                                                                        \
    }
#define RECV_F STAT, IS_FILE("\5", MODE_644), W("RECV\2\0\0\0/f")
static const struct file_case file_cases[] = {
    {"push",
     true,                                            {SYNC, SEND_F, S("OKAY\0\0\0\0"), STAT, IS_FILE("\5", MODE_755), {STALL, NULL, 0}},
     5000,                                                                                                                                               0,
     ""                                                                                                                                                                                                  },
    {"push refused",
     true,                                            {SYNC, SEND_F, S("FAIL\25\0\0\0Read-only file system"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EREMOTEIO,
     "Read-only file system"                                                                                                                                                                             },
    {"push arrives short",
     true,                                            {SYNC, SEND_F, S("OKAY\0\0\0\0"), STAT, IS_FILE("\4", MODE_755), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EIO,
     "4 bytes on the device"                                                                                                                                                                             },
    {"push loses its mode",
     true,                                            {SYNC, SEND_F, S("OKAY\0\0\0\0"), STAT, IS_FILE("\5", MODE_600), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EIO,
     "not executable"                                                                                                                                                                                    },
    {"push, then the file is not there",
     true,                                            {SYNC, SEND_F, S("OKAY\0\0\0\0"), STAT, S("STAT\0\0\0\0\0\0\0\0\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EIO,
     "has mode 0"                                                                                                                                                                                        },
    {"push, the device dies before its answer",
     true,                                            {SYNC, SEND_F, {END, NULL, 0}},
     5000,                                                                                                                                               -ECONNRESET,
     "went away"                                                                                                                                                                                         },
    {"push, an answer that is none",
     true,                                            {SYNC, SEND_F, S("WHAT\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EPROTO,
     "expected OKAY or FAIL"                                                                                                                                                                             },
    {"push, no answer",                         true, {SYNC, SEND_F, {STALL, NULL, 0}},                                                             200, -ETIMEDOUT,                           "deadline"},
    {"pull",
     false,                                           {SYNC, RECV_F, S("DATA\3\0\0\0hel"), S("DATA\2\0\0\0loDONE\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               0,
     ""                                                                                                                                                                                                  },
    {"pull of nothing",
     false,                                           {SYNC, STAT, S("STAT\0\0\0\0\0\0\0\0\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -ENOENT,
     "not on the device"                                                                                                                                                                                 },
    {"pull of a directory",
     false,                                           {SYNC, STAT, S("STAT\xed\x41\0\0\0\0\0\0\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EINVAL,
     "not a regular file"                                                                                                                                                                                },
    {"pull comes short",
     false,                                           {SYNC, RECV_F, S("DATA\4\0\0\0hellDONE\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EIO,
     "the device said 5"                                                                                                                                                                                 },
    {"pull comes long",
     false,                                           {SYNC, RECV_F, S("DATA\6\0\0\0hello!DONE\0\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EIO,
     "the device said 5"                                                                                                                                                                                 },
    {"pull above the bound",
     false,                                           {SYNC, RECV_F, S("DATA\11\0\0\0"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EFBIG,
     "more than 8 bytes"                                                                                                                                                                                 },
    {"pull, a chunk of 4 GiB",
     false,                                           {SYNC, RECV_F, S("DATA\xff\xff\xff\xff"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EPROTO,
     "none of sync"                                                                                                                                                                                      },
    {"pull, a chunk that is none",
     false,                                           {SYNC, RECV_F, S("GARB\1\0\0\0x"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EPROTO,
     "none of sync"                                                                                                                                                                                      },
    {"pull refused",
     false,                                           {SYNC, RECV_F, S("FAIL\21\0\0\0Permission denied"), {STALL, NULL, 0}},
     5000,                                                                                                                                               -EREMOTEIO,
     "Permission denied"                                                                                                                                                                                 },
    {"pull refused with a text of 4 GiB",
     false,                                           {SYNC, RECV_F, S("FAIL\xff\xff\xff\xffno"), {END, NULL, 0}},
     5000,                                                                                                                                               -ECONNRESET,
     "went away"                                                                                                                                                                                         },
    {"pull, the device dies in a chunk",
     false,                                           {SYNC, RECV_F, S("DATA\5\0\0\0he"), {END, NULL, 0}},
     5000,                                                                                                                                               -ECONNRESET,
     "went away"                                                                                                                                                                                         },
    {"pull, the device dies before DONE",
     false,                                           {SYNC, RECV_F, S("DATA\5\0\0\0hello"), {END, NULL, 0}},
     5000,                                                                                                                                               -ECONNRESET,
     "went away"                                                                                                                                                                                         },
    {"pull, slow drip",
     false,                                           {SYNC, RECV_F, {DRIP, "DATA\1\0\0\0x", 9}},
     300,                                                                                                                                                1 /* bound or deadline, see below */,
     ""                                                                                                                                                                                                  },
};

static void test_files(void **state PTL_UNUSED)
{
    PTL_FREE char *local = ptl_fs_join(dir, "local"), *got = ptl_fs_join(dir, "got");
    assert_int_equal(ptl_fs_write_atomic(local, "hello", 5, 0755, NULL), 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(file_cases); i++) {
        const struct file_case *c = &file_cases[i];
        struct server s;
        struct ptl_error err = PTL_ERROR_INIT;
        unlink(got);
        server_start(&s, c->script);
        struct ptl_adb_wait wait = in_ms(c->deadline_ms);
        int r = c->push ? ptl_adb_push(adb, "X1", local, "/f", 0755, &wait, &err)
                        : ptl_adb_pull(adb, "X1", "/f", got, 8, &wait, &err);
        server_end(&s, c->label);
        if (c->want == 1 ? r != -EFBIG && r != -ETIMEDOUT : r != c->want || !strstr(err.text, c->want_text))
            fail_msg("%s: returned %d \"%s\"", c->label, r, err.text);
        if (!c->push && ptl_fs_exists(got) != (r == 0))
            fail_msg("%s: returned %d and the local file is %s", c->label, r,
                     ptl_fs_exists(got) ? "there" : "absent");
    }
    PTL_FREE char *partial = ptl_fs_join(dir, "got.partial");
    assert_false(ptl_fs_exists(partial));
}

/* ---- addresses, names, words ---- */

static void test_addresses(void **state PTL_UNUSED)
{
    static const char *const bad[] = {"unix:relative", "tcp:localhost", "tcp::5037", "tcp:h:0",
                                      "tcp:h:65536",   "tcp:h:12x",     "http://x",  "unix:"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        struct ptl_adb *a = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        if (ptl_adb_new(bad[i], &a, &err) != -EINVAL || a)
            fail_msg("%s was taken for an address", bad[i]);
    }
    struct ptl_adb *a = NULL;
    assert_int_equal(ptl_adb_new(NULL, &a, NULL), 0);
    assert_string_equal(ptl_adb_address(a), "tcp:127.0.0.1:5037");
    ptl_adb_free(a);
}

static void test_nobody_listens(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_CLEANUP(ptl_adb_freep) struct ptl_adb *a = NULL;
    PTL_FREE char *path = ptl_xasprintf("unix:%s/absent.sock", dir);
    int version = 0;
    struct ptl_adb_wait wait = in_ms(5000);
    assert_int_equal(ptl_adb_new(path, &a, &err), 0);
    assert_int_equal(ptl_adb_version(a, &wait, &version, &err), -ENOENT);
    assert_non_null(strstr(err.text, "no server at unix:"));
}

/* A socket address holds 107 bytes; state directories are longer. */
static void test_long_socket_path(void **state PTL_UNUSED)
{
    PTL_FREE char *deep = ptl_xasprintf("%s/%0100d", dir, 7), *link_path = ptl_fs_join(deep, "s.sock");
    PTL_FREE char *address = ptl_xasprintf("unix:%s", link_path);
    static const struct step script[] = {
        W("000chost:version"), S("OKAY00040029"), {END, NULL, 0}
    };
    struct server s;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_CLEANUP(ptl_adb_freep) struct ptl_adb *a = NULL;
    int version = 0;
    assert_int_equal(ptl_fs_mkdirs(deep, 0700, NULL), 0);
    server_start(&s, script);
    assert_int_equal(symlink(socket_path, link_path), 0);
    assert_int_equal(ptl_adb_new(address, &a, NULL), 0);
    struct ptl_adb_wait wait = in_ms(5000);
    assert_int_equal(ptl_adb_version(a, &wait, &version, &err), 0);
    server_end(&s, "long path");
    assert_int_equal(version, 0x29);
}

static void test_names_are_checked(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_adb_wait wait = in_ms(1000);
    int code;
    char longer[200];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(ptl_adb_shell_buf(adb, "X1\nhost:kill", "true", &wait, NULL, NULL, &code, &err),
                     -EINVAL);
    assert_int_equal(ptl_adb_shell_buf(adb, "", "true", &wait, NULL, NULL, &code, &err), -EINVAL);
    assert_int_equal(ptl_adb_connect(adb, longer, &wait, &err), -EINVAL);
}

static void test_request_too_long(void **state PTL_UNUSED)
{
    static const struct step script[] = {
        TRANSPORT, S("OKAY"), {STALL, NULL, 0}
    };
    struct server s;
    struct ptl_error err = PTL_ERROR_INIT;
    int code = -1;
    PTL_FREE char *command = ptl_xcalloc(1, 70000);
    memset(command, 'x', 69999);
    server_start(&s, script);
    struct ptl_adb_wait wait = in_ms(5000);
    assert_int_equal(ptl_adb_shell_buf(adb, "X1", command, &wait, NULL, NULL, &code, &err), -E2BIG);
    server_end(&s, "long request");
}

static void test_quote(void **state PTL_UNUSED)
{
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_adb_quote(&b, "it's $(x) `y` \"z\""), 0);
    assert_string_equal(ptl_buf_str(&b), "'it'\\''s $(x) `y` \"z\"'");
}

static int setup(void **state PTL_UNUSED)
{
    strcpy(dir, "/tmp/ptl-adb-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    signal(SIGUSR1, on_cancel);
    snprintf(socket_path, sizeof(socket_path), "%s/adb.sock", dir);
    PTL_FREE char *address = ptl_xasprintf("unix:%s", socket_path);
    return ptl_adb_new(address, &adb, NULL);
}

static int teardown(void **state PTL_UNUSED)
{
    adb = ptl_adb_free(adb);
    return ptl_fs_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shell),
        cmocka_unit_test(test_shell_output_bound),
        cmocka_unit_test(test_shell_callback_ends_it),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_long_socket_path),
        cmocka_unit_test(test_names_are_checked),
        cmocka_unit_test(test_request_too_long),
        cmocka_unit_test(test_quote),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
