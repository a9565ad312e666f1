/* test_adb_phone.c - finding a real device by its serial, against a scripted adb server: what is taken for a
 * usable arm64 phone and what is refused, before anything is pushed to it. One script is several connections
 * in order. */
#include "mobile.h"

#include <fcntl.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

static char dir[64], socket_path[100];

/* One connection: what the client sends (requests in order) and the whole answer. */
struct talk {
    const char *want, *answer;
    size_t answer_len;
};
#define TALK(want, answer)                                                                                   \
    {                                                                                                        \
        want, answer, sizeof(answer) - 1                                                                     \
    }
#define SHELL(command) "0010host:transport:P" command

struct server {
    const struct talk *talks;
    size_t done;
    int listener;
    pthread_t thread;
    char problem[300];
};

/* Answers go out as the requests come in: OKAY after each request but the last, which gets the whole answer.
 */
static void play_one(struct server *s, int fd, const struct talk *t)
{
    char got[512];
    size_t want = strlen(t->want), n = 0;
    while (n < want) {
        ssize_t r = read(fd, got + n, want - n);
        if (r <= 0 || memcmp(got, t->want, n + (size_t)r) != 0) {
            snprintf(s->problem, sizeof(s->problem), "connection %zu: wanted \"%.100s\", got \"%.*s\"",
                     s->done, t->want, (int)(n + (r > 0 ? (size_t)r : 0)), got);
            return;
        }
        n += (size_t)r;
        if (n < want)
            (void)!send(fd, "OKAY", 4, MSG_NOSIGNAL); /* host:transport */
    }
    (void)!send(fd, t->answer, t->answer_len, MSG_NOSIGNAL);
    s->done++;
}

static void *play(void *arg)
{
    struct server *s = arg;
    while (s->talks[s->done].want && !s->problem[0]) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        play_one(s, fd, &s->talks[s->done]);
        close(fd);
    }
    return NULL;
}

struct phone_case {
    const char *label, *serial;
    struct talk talks[12];
    int want;
    const char *want_text;
};

#define DEVICES "000chost:devices"
#define EXIT_0  "\3\1\0\0\0\0"
/* clang-format off */
static const struct phone_case cases[] = {
    {"unauthorized until the end", "P", {TALK(DEVICES, "OKAY000fP\tunauthorized\n")}, -ENODEV, "confirm this computer on the phone's screen"},
    {"absent, not on the network", "P", {TALK(DEVICES, "OKAY0000")}, -ENODEV, "as \"absent\""},
    {"no shell_v2", "P", {TALK(DEVICES, "OKAY0009P\tdevice\n"), TALK("0016host-serial:P:features", "OKAY0003cmd")},
     -ENOTSUP, "no shell_v2"},
    {"no arm64", "P", {TALK(DEVICES, "OKAY0009P\tdevice\n"), TALK("0016host-serial:P:features", "OKAY000cshell_v2,cmd"),
     TALK("0010host:transport:P0015shell,v2,raw:uname -m", "OKAY\1\7\0\0\0x86_64\n" EXIT_0)}, -ENOEXEC, "is \"x86_64\""},
    {"offline on the network: disconnect, connect", "P:1",
     {TALK(DEVICES, "OKAY000cP:1\toffline\n"), TALK("0013host:disconnect:P:1", "OKAY0010disconnected P:1"),
      TALK("0010host:connect:P:1", "OKAY0010connected to P:1"), TALK(DEVICES, "OKAY000bP:1\tdevice\n"),
      TALK("0018host-serial:P:1:features", "OKAY0000")}, -ENOTSUP, "no shell_v2"},
    {"forgotten by the server: connect", "P:1",
     {TALK(DEVICES, "OKAY0000"), TALK("0010host:connect:P:1", "OKAY0010connected to P:1"), TALK(DEVICES, "OKAY000bP:1\tdevice\n"),
      TALK("0018host-serial:P:1:features", "OKAY0000")}, -ENOTSUP, "no shell_v2"},
    {"connect refused first, then not", "P:1",
     {TALK(DEVICES, "OKAY0000"), TALK("0010host:connect:P:1", "OKAY0016failed to connect: no."),
      TALK(DEVICES, "OKAY000bP:1\tdevice\n"), TALK("0018host-serial:P:1:features", "OKAY0000")}, -ENOTSUP, "no shell_v2"},
};
/* clang-format on */

static void run_case(const struct phone_case *c)
{
    struct server s = {.talks = c->talks};
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct ptl_error err = PTL_ERROR_INIT;
    strcpy(sa.sun_path, socket_path);
    unlink(socket_path);
    s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s.listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(s.listener, 8), 0);
    assert_int_equal(pthread_create(&s.thread, NULL, play, &s), 0);
    PTL_FREE char *address = ptl_xasprintf("unix:%s", socket_path);
    json_t *with = json_pack("{s:s, s:s}", "serial", c->serial, "adb_server", address);
    struct ptl_driver_job job = {
        .toolchain_dir = dir, .scratch_dir = dir, .with = with, .log_fd = STDERR_FILENO};
    /* The states that stay as they are answer once, then the server is gone and the deadline is what ends it.
     */
    struct ptl_adb_wait wait = {ptl_mono_ms() + 400, NULL};
    struct ptl_phone phone = {0};
    int r = ptl_phone_open(&job, &wait, &phone, &err);
    shutdown(s.listener, SHUT_RDWR);
    pthread_join(s.thread, NULL);
    close(s.listener);
    json_decref(with);
    if (s.problem[0])
        fail_msg("%s: %s", c->label, s.problem);
    if (r != c->want || !strstr(err.text, c->want_text))
        fail_msg("%s: returned %d \"%s\"", c->label, r, err.text);
}

static void test_real_devices(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        run_case(&cases[i]);
}

static void test_profiles(void **state PTL_UNUSED)
{
    assert_non_null(ptl_device_profile_find(ptl_device_profile_default));
    assert_null(ptl_device_profile_find(""));
    assert_null(ptl_device_profile_find(NULL));
    for (const struct ptl_device_profile *p = ptl_device_profiles; p->name; p++) {
        assert_true(ptl_str_starts(p->cpu, "cortex-")); /* named, never QEMU's default */
        assert_true(p->cpu_part && p->memory_mb >= 256 && p->cores && p->cpu_pct);
        assert_ptr_equal(ptl_device_profile_find(p->name), p);
    }
}

/* The recipes offer exactly the profiles that there are. */
static void test_recipes_name_the_profiles(void **state PTL_UNUSED)
{
    static const char *const recipes[] = {"litert/run", "onnxruntime/run"};
    PTL_FREE char *names = ptl_device_profile_names(),
                  *values = ptl_xasprintf("values: [%s], default: %s,", names, ptl_device_profile_default);
    for (size_t i = 0; i < PTL_ARRAY_LEN(recipes); i++) {
        PTL_FREE char *path = ptl_xasprintf(PTL_SOURCE_DIR "/agents/recipes/%s/recipe.yml", recipes[i]);
        PTL_BUF text = PTL_BUF_INIT;
        assert_int_equal(ptl_fs_read(path, 1 << 20, &text, NULL), 0);
        if (!strstr(ptl_buf_str(&text), values))
            fail_msg("%s does not offer \"%s\"", path, values);
    }
}

static int setup(void **state PTL_UNUSED)
{
    strcpy(dir, "/tmp/ptl-phone-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(socket_path, sizeof(socket_path), "%s/adb.sock", dir);
    PTL_FREE char *phone = ptl_fs_join(dir, "phone");
    return ptl_fs_mkdirs(phone, 0755, NULL);
}

static int teardown(void **state PTL_UNUSED)
{
    return ptl_fs_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_devices),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_recipes_name_the_profiles),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
