/* test_phone.c - the embedded device for real: each trap of its parts, and that nothing of it is left. */
#include "cgroup.h"
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <portolan/hash.h>
#include <portolan/proc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PYTHON                                                                                               \
    "PYTHONHOME=/data/local/tmp/python /data/local/tmp/python/lib/ld-linux-aarch64.so.1 --library-path /data/local/tmp/python/lib /data/local/tmp/python/bin/python3.11 -BS "

/* Streams, exit statuses, signals: what the protocol promises, through a genuine adbd. */
static void test_commands(void **state PTL_UNUSED)
{
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    struct said s = on(dev, "echo out; echo err >&2; exit 7");
    assert_int_equal(s.r, 0);
    assert_int_equal(s.code, 7);
    assert_string_equal(s.out, "out\n");
    assert_string_equal(s.err_out, "err\n");
    assert_int_equal(on(dev, "kill -9 $$").code, 137);
    assert_int_equal(on(dev, "no-such-program").code, 127);
    /* Flag P: applets of busybox know their own name. Flag F: the emulator is nowhere in the device's root.
     */
    assert_int_equal(on(dev, "sh -c 'uname -m | grep -q aarch64'").code, 0);
    assert_int_not_equal(on(dev, "touch /x").code, 0); /* the system is read-only */
    s = on(dev, "echo $QEMU_CPU $ORT_DISABLE_TELEMETRY; grep -c ^Cap.*0000000000000000 /proc/self/status");
    assert_non_null(strstr(s.out, "cortex-a53 1\n4\n")); /* Inh Prm Eff Amb */
    ptl_device_free(dev);
}

/* adbd would listen on vsock too; its own log says why it does not. And the port search finds no second name
 * for it. */
static void test_fences(void **state PTL_UNUSED)
{
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    struct ptl_adb_device list[8];
    size_t n = 0;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_adb_wait wait = in_ms(10000);
    assert_int_equal(ptl_adb_devices(ptl_device_adb(dev), &wait, list, 8, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].serial, ptl_device_serial(dev));
    struct said s =
        on(dev, "cat /proc/net/dev | grep -c :; cat /proc/net/tcp /proc/net/tcp6 | grep -c ' 0A '");
    assert_string_equal(s.out, "1\n1\n"); /* loopback only; one listener, adbd's own */
    s = on(dev,
           PYTHON "-c 'import socket; socket.socket(socket.AF_UNIX); socket.socket(40, socket.SOCK_STREAM)'");
    assert_int_equal(s.code, 1);
    assert_non_null(strstr(s.err_out, "Address family not supported"));
    ptl_device_free(dev);
}

/* "adb shell" answers 0 when adbd dies in the middle. Then the server keeps the restarted device "offline".
 */
static void test_adbd_dies_and_comes_back(void **state PTL_UNUSED)
{
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    struct ptl_error err = PTL_ERROR_INIT;
    for (unsigned i = 1; i <= 3; i++) {
        struct said s = on(dev, "echo start; kill -9 $PPID; sleep 20; echo end");
        assert_int_equal(s.r, -ECONNRESET);
        assert_int_equal(s.code, -1);
        assert_null(strstr(s.out, "end"));
        struct ptl_adb_wait wait = in_ms(30000);
        int r = ptl_device_reconnect(dev, &wait, &err);
        if (r != 0)
            fail_msg("after death %u: %s", i, err.text);
        assert_int_equal(on(dev, "exit 3").code, 3);
        assert_int_equal(ptl_device_restarts(dev), i);
    }
    ptl_device_free(dev);
}

/* The server says OKAY to a connect that failed. */
static void test_connect_refused_is_no_success(void **state PTL_UNUSED)
{
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_adb_wait wait = in_ms(30000);
    assert_int_equal(ptl_adb_connect(ptl_device_adb(dev), "127.0.0.1:6999", &wait, &err), PTL_AGAIN);
    assert_non_null(strstr(err.text, "refused"));
    ptl_device_free(dev);
}

/* Two devices at once: each its own CPU model (proved by ptl_device_start), memory, name, network and
 * processes. */
static void test_two_at_once(void **state PTL_UNUSED)
{
    struct ptl_device *small = start_device("entry-a53-2g", 96 << 20),
                      *big = start_device("flagship-a710-8g", 0);
    assert_string_equal(on(small, "hostname").out, "entry-a53-2g\n");
    assert_string_equal(on(big, "hostname").out, "flagship-a710-8g\n");
    assert_int_equal(on(small, "grep -qw sve2 /proc/cpuinfo").code, 1);
    assert_int_equal(on(big, "grep -qw sve2 /proc/cpuinfo").code, 0);
    assert_int_equal(on(small, "grep -qw asimddp /proc/cpuinfo").code, 1);
    /* The same 150 MB in memory: one is killed for it, the other is not. */
    const char *hog = "dd if=/dev/zero of=/tmp/x bs=1000000 count=150 2>/dev/null && wc -c < /tmp/x";
    if (ptl_str_starts(ptl_device_ceilings(small), "cgroup")) {
        struct said s = on(small, hog);
        assert_true(s.r != 0 || s.code != 0);
        assert_true(ptl_device_oom_kills(small) > 0);
        assert_true(ptl_device_peak_bytes(small) <= 96 << 20);
    }
    assert_string_equal(on(big, hog).out, "150000000\n");
    assert_int_equal(ptl_device_oom_kills(big), 0);
    ptl_device_free(small);
    assert_int_equal(on(big, "true").code, 0); /* the end of one is not the end of the other */
    ptl_device_free(big);
}

static void test_deadline_and_cancel(void **state PTL_UNUSED)
{
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    struct ptl_error err = PTL_ERROR_INIT;
    int code = -1;
    atomic_int cancelled = 1;
    struct ptl_adb_wait brief = in_ms(300), gone = {ptl_mono_ms() + 30000, &cancelled};
    assert_int_equal(ptl_adb_shell_buf(ptl_device_adb(dev), ptl_device_serial(dev), "sleep 60", &brief, NULL,
                                       NULL, &code, &err),
                     -ETIMEDOUT);
    assert_int_equal(ptl_adb_shell_buf(ptl_device_adb(dev), ptl_device_serial(dev), "sleep 60", &gone, NULL,
                                       NULL, &code, &err),
                     -ECANCELED);
    /* Closing the connection ended the commands on the device (that a command is gone is asked until it is).
     */
    int64_t deadline = ptl_mono_ms() + 20000;
    while (on(dev, "pidof sleep").code == 0 && ptl_mono_ms() < deadline)
        ;
    assert_int_equal(on(dev, "pidof sleep").code, 1);
    ptl_device_free(dev);
}

static char *make_file(const char *name, size_t len)
{
    char *path = ptl_fs_join(scratch, name);
    PTL_FREE char *data = malloc(len);
    assert_non_null(data);
    ptl_random(data, len);
    assert_int_equal(ptl_fs_write_atomic(path, data, len, 0644, NULL), 0);
    return path;
}

static void test_files(void **state PTL_UNUSED)
{
    enum { LEN = 5000001 };
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    struct ptl_adb *adb = ptl_device_adb(dev);
    const char *serial = ptl_device_serial(dev);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_adb_wait wait = in_ms(60000);
    PTL_FREE char *there = make_file("there", LEN), *back = ptl_fs_join(scratch, "back");
    assert_int_equal(ptl_adb_push(adb, serial, there, "/data/local/tmp/deep/er/f", 0755, &wait, &err), 0);
    assert_int_equal(on(dev, "test -x /data/local/tmp/deep/er/f").code, 0);
    assert_int_equal(ptl_adb_pull(adb, serial, "/data/local/tmp/deep/er/f", back, LEN, &wait, &err), 0);
    char a[PTL_SHA256_HEX], b[PTL_SHA256_HEX];
    assert_int_equal(ptl_sha256_file(there, a, NULL, &err), 0);
    assert_int_equal(ptl_sha256_file(back, b, NULL, &err), 0);
    assert_string_equal(a, b);
    assert_int_equal(unlink(back), 0);
    assert_int_equal(ptl_adb_pull(adb, serial, "/data/local/tmp/deep/er/f", back, LEN - 1, &wait, &err),
                     -EFBIG);
    assert_int_equal(ptl_adb_pull(adb, serial, "/data/local/tmp/absent", back, LEN, &wait, &err), -ENOENT);
    assert_false(ptl_fs_exists(back));
    assert_int_equal(ptl_adb_push(adb, serial, there, "/usr/f", 0644, &wait, &err), -EREMOTEIO);
    assert_non_null(strstr(err.text, "Read-only file system"));
    /* An empty file, and a tree over one connection. */
    PTL_FREE char *tree = ptl_fs_join(scratch, "tree"), *one = ptl_fs_join(scratch, "tree/sub/one"),
                  *empty = ptl_fs_join(scratch, "tree/empty");
    PTL_FREE char *sub = ptl_fs_join(scratch, "tree/sub");
    assert_int_equal(ptl_fs_mkdirs(sub, 0755, &err), 0);
    assert_int_equal(ptl_fs_write_atomic(one, "1", 1, 0755, &err), 0);
    assert_int_equal(ptl_fs_write_atomic(empty, "", 0, 0644, &err), 0);
    unsigned files = 0;
    uint64_t bytes = 99;
    assert_int_equal(
        ptl_adb_push_tree(adb, serial, tree, "/data/local/tmp/tree", &wait, &files, &bytes, &err), 0);
    assert_int_equal(files, 2);
    assert_int_equal(bytes, 1);
    assert_int_equal(on(dev, "cd /data/local/tmp/tree && test -f empty -a ! -s empty -a -x sub/one").code, 0);
    ptl_device_free(dev);
}

static bool group_exists(void)
{
    PTL_FREE char *name = ptl_xasprintf("portolan-phone-%d-*", (int)getpid());
    const char *const argv[] = {"/usr/bin/find", "/sys/fs/cgroup", "-type", "d", "-name", name, NULL};
    PTL_BUF out = PTL_BUF_INIT;
    (void)!ptl_proc_capture(argv, 20000, &out, NULL);
    return out.len > 0 && strstr(out.data, "portolan-phone-") != NULL;
}

/* While it runs and after: the host's list of binary formats is what it was; afterwards no process, group or
 * file. */
static void test_nothing_is_left(void **state PTL_UNUSED)
{
    PTL_FREE char *before = host_binfmt();
    struct ptl_device *dev = start_device("entry-a53-2g", 0);
    pid_t init = ptl_device_pid(dev);
    assert_int_equal(
        on(dev,
           "(trap '' TERM HUP; sleep 1000; true) </dev/null >/dev/null 2>&1 & sleep 1000 </dev/null >/dev/null 2>&1 & exit 0")
            .code,
        0);
    PTL_FREE char *during = host_binfmt();
    assert_string_equal(during, before);
    assert_true(processes_with(scratch) > 0);
    assert_true(group_exists() == (ptl_str_starts(ptl_device_ceilings(dev), "cgroup")));
    ptl_device_free(dev);
    PTL_FREE char *after = host_binfmt();
    assert_string_equal(after, before);
    assert_int_equal(processes_with(scratch), 0);
    assert_int_equal(kill(init, 0), -1);
    assert_false(group_exists());
    PTL_FREE char *dir = ptl_fs_join(scratch, "device-0");
    assert_false(ptl_fs_exists(dir));
}

/* A parent that is killed hard (an attempt process by its agent) takes the device with it. */
static void test_dies_with_its_parent(void **state PTL_UNUSED)
{
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* so that this program can wait for the orphan */
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_device *dev = try_device("entry-a53-2g", 0, &err);
        pid_t init = dev ? ptl_device_pid(dev) : -1;
        _exit(dev && write(ready[1], &init, sizeof(init)) == sizeof(init) ? (pause(), 0) : 1);
    }
    close(ready[1]); /* a child that fails is read as the end of the pipe */
    pid_t init = -1;
    assert_int_equal(read(ready[0], &init, sizeof(init)), sizeof(init));
    int pidfd = (int)syscall(SYS_pidfd_open, init, 0);
    assert_true(pidfd >= 0);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    while (waitpid(-1, NULL, 0) > 0) /* keeper and process 1, ours since their parents are gone */
        ;
    assert_int_equal(processes_with(scratch), 0);
    PTL_FREE char *prefix = ptl_xasprintf("portolan-phone-%d-", (int)parent);
    ptl_cgroup_sweep(
        prefix); /* empty groups have no one left to remove them; agents do this for their attempts */
    close(pidfd);
    close(ready[0]);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* The device's own words are in the error when it cannot come up. */
static void test_does_not_start(void **state PTL_UNUSED)
{
    struct ptl_device *dev = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *broken = ptl_fs_join(scratch, "broken"), *bin = ptl_fs_join(broken, "bin/qemu-aarch64");
    PTL_FREE char *tools = ptl_fs_join(broken, "root/usr/lib/android-sdk/platform-tools"),
                  *adbd = ptl_fs_join(tools, "adbd");
    PTL_FREE char *bin_dir = ptl_fs_join(broken, "bin"), *dir = ptl_fs_join(scratch, "never"),
                  *real = ptl_fs_join(phone_dir, "bin/qemu-aarch64");
    struct ptl_device_spec spec = {
        .phone_dir = "/nonexistent", .dir = dir, .profile = ptl_device_profile_find("entry-a53-2g")};
    struct ptl_adb_wait wait = in_ms(60000);
    assert_int_equal(ptl_device_start(&spec, &wait, &dev, &err), PTL_ABSENT);
    assert_non_null(strstr(err.text, "prepare phone-arm64"));
    assert_int_equal(ptl_fs_mkdirs(tools, 0755, &err), 0);
    assert_int_equal(ptl_fs_mkdirs(bin_dir, 0755, &err), 0);
    assert_int_equal(symlink(real, bin), 0);
    assert_int_equal(ptl_fs_write_atomic(adbd, "no program", 10, 0755, &err), 0);
    spec.phone_dir = broken;
    int r = ptl_device_start(&spec, &wait, &dev, &err);
    assert_int_equal(r, -ENODEV);
    assert_non_null(strstr(err.text, "adbd ended"));
    assert_null(dev);
    assert_int_equal(processes_with(scratch), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_fences),
        cmocka_unit_test(test_adbd_dies_and_comes_back),
        cmocka_unit_test(test_connect_refused_is_no_success),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_deadline_and_cancel),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_dies_with_its_parent),
        cmocka_unit_test(test_does_not_start),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
