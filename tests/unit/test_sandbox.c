/* test_sandbox.c - what a stage can see and do inside the sandbox, and how its end is told. Real bubblewrap.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sandbox.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>

static char work[64];   /* mounted read-write at its own path */
static char hidden[64]; /* a directory that is not mounted */
static bool has_cgroup;
static const char *const env_plain[] = {"PATH=/usr/bin:/bin", "HOME=/tmp", "MARK=seen", NULL};

struct outcome {
    int status;
    bool oom;
    uint64_t peak;
    char how[32], start_error[320];
    char out[16384];
};

/* Runs `script` with sh; stdout and stderr are collected. grace/stop: timeout_ms < 0 waits for the end. */
static void run_spec(struct ptl_sandbox_spec *spec, const char *script, struct outcome *ret)
{
    memset(ret, 0, sizeof(*ret));
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const char *rw[] = {work, NULL};
    if (!spec->argv)
        spec->argv = argv;
    if (!spec->rw_binds)
        spec->rw_binds = rw;
    if (!spec->env)
        spec->env = env_plain;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    spec->stdout_fd = spec->stderr_fd = fds[1];
    struct ptl_sandbox *s = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_sandbox_start(spec, &s, &err) < 0)
        fail_msg("%s", err.text);
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fds[0], ret->out + len, sizeof(ret->out) - 1 - len)) > 0)
        len += (size_t)n;
    close(fds[0]);
    assert_int_equal(ptl_sandbox_wait(s, 60000, &ret->status), 0);
    ret->oom = ptl_sandbox_was_oom(s);
    ret->peak = ptl_sandbox_peak_bytes(s);
    snprintf(ret->how, sizeof(ret->how), "%s", ptl_sandbox_how(s));
    snprintf(ret->start_error, sizeof(ret->start_error), "%s", ptl_sandbox_start_error(s));
    ptl_sandbox_free(s);
}

static void run_script(const char *script, struct outcome *ret)
{
    struct ptl_sandbox_spec spec = {0};
    run_spec(&spec, script, ret);
}

static void exit_code_is_told_exactly(void **state)
{
    (void)state;
    static const int codes[] = {0, 1, 2, 126, 137, 139, 143, 255};
    for (size_t i = 0; i < PTL_ARRAY_LEN(codes); i++) {
        struct outcome o;
        char script[32];
        snprintf(script, sizeof(script), "exit %d", codes[i]);
        run_script(script, &o);
        if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != codes[i])
            fail_msg("exit %d was told as wait status 0x%x", codes[i], (unsigned)o.status);
    }
}

static void signal_is_told_exactly(void **state)
{
    (void)state;
    static const int signals[] = {SIGSEGV, SIGKILL, SIGTERM, SIGABRT, SIGILL};
    for (size_t i = 0; i < PTL_ARRAY_LEN(signals); i++) {
        struct outcome o;
        char script[32];
        snprintf(script, sizeof(script), "kill -%d $$", signals[i]);
        run_script(script, &o);
        if (!WIFSIGNALED(o.status) || WTERMSIG(o.status) != signals[i])
            fail_msg("signal %d was told as wait status 0x%x", signals[i], (unsigned)o.status);
        assert_false(o.oom);
    }
}

static void missing_program_is_told(void **state)
{
    (void)state;
    const char *argv[] = {"no-such-program", NULL};
    struct ptl_sandbox_spec spec = {.argv = argv};
    struct outcome o;
    run_spec(&spec, NULL, &o);
    assert_true(WIFEXITED(o.status));
    assert_int_equal(WEXITSTATUS(o.status), 127);
    assert_non_null(strstr(o.start_error, "no-such-program"));
}

static void sees_only_what_it_is_given(void **state)
{
    (void)state;
    PTL_FREE char *secret = ptl_fs_join(hidden, "secret");
    assert_int_equal(ptl_fs_write_atomic(secret, "x", 1, 0644, NULL), 0);
    char script[2048];
    snprintf(
        script, sizeof(script),
        "test -e %s && echo LEAK-FILE; ls %s 2>/dev/null && echo LEAK-DIR; test -e /etc/shadow && echo LEAK-SHADOW;"
        "test -e /root && echo LEAK-ROOT; test -e /home && echo LEAK-HOME; test -e /var/lib && echo LEAK-VAR;"
        "test -e /proc/%d && echo LEAK-PROC; echo uid=$(id -u) name=$(id -un); ls /proc | grep -c '^[0-9]';"
        "touch /usr/x 2>/dev/null && echo LEAK-USR; touch /etc/x 2>/dev/null && echo WRITES-ETC;"
        "echo hello > %s/made && cat %s/made; echo MARK=$MARK; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status",
        secret, hidden, (int)getpid(), work, work);
    struct outcome o;
    run_script(script, &o);
    if (strstr(o.out, "LEAK"))
        fail_msg("%s", o.out);
    assert_non_null(strstr(o.out, "uid=1000 name=portolan"));
    assert_non_null(strstr(o.out, "hello"));
    assert_non_null(strstr(o.out, "MARK=seen"));
    assert_non_null(strstr(o.out, "CapEff:\t0000000000000000"));
    assert_non_null(strstr(o.out, "NoNewPrivs:\t1"));
    assert_non_null(strstr(o.out, "Seccomp:\t2"));
    PTL_FREE char *made = ptl_fs_join(work, "made");
    assert_true(ptl_fs_exists(made));
}

static void environment_is_not_inherited(void **state)
{
    (void)state;
    setenv("PORTOLAN_TOKEN_OF_AGENT", "must-not-be-seen", 1);
    struct outcome o;
    run_script("env; cat /proc/1/environ | tr '\\0' '\\n'", &o);
    assert_null(strstr(o.out, "must-not-be-seen"));
    unsetenv("PORTOLAN_TOKEN_OF_AGENT");
}

/* The loader would obey these in bubblewrap and in portolan-init, outside of the sandbox or before it is
 * shut. */
static void environment_is_the_payloads_alone(void **state)
{
    (void)state;
    PTL_FREE char *trace = ptl_fs_join(hidden, "loader");
    PTL_FREE char *output = ptl_xasprintf("LD_DEBUG_OUTPUT=%s", trace);
    const char *env[] = {"PATH=/usr/bin:/bin", "LD_DEBUG=statistics", output, "GREETING=hello\nthere", NULL};
    struct ptl_sandbox_spec spec = {.env = env};
    struct outcome o;
    run_spec(&spec, "echo $GREETING; tr '\\0' '\\n' </proc/1/environ | grep -c GREETING", &o);
    assert_non_null(strstr(o.out, "hello there\n"));
    assert_non_null(strstr(o.out, "\n0\n")); /* and not portolan-init's */
    DIR *d = opendir(hidden);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "loader", 6) == 0)
            fail_msg("%s: the environment of a stage was obeyed outside", e->d_name);
    closedir(d);
}

static void read_only_binds_are_read_only(void **state)
{
    (void)state;
    PTL_FREE char *file = ptl_fs_join(hidden, "data");
    assert_int_equal(ptl_fs_write_atomic(file, "data\n", 5, 0666, NULL), 0);
    const char *ro[] = {hidden, NULL};
    struct ptl_sandbox_spec spec = {.ro_binds = ro, .cwd = hidden};
    struct outcome o;
    run_spec(&spec, "pwd; cat data; echo no > data; touch new; rm data", &o);
    assert_non_null(strstr(o.out, hidden));
    assert_non_null(strstr(o.out, "data\n"));
    assert_non_null(strstr(o.out, "Read-only file system"));
    PTL_BUF text = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(file, 100, &text, NULL), 0);
    assert_string_equal(ptl_buf_str(&text), "data\n");
}

static int listen_on_loopback(unsigned *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void network_is_shared_only_when_asked(void **state)
{
    (void)state;
    unsigned port;
    int fd = listen_on_loopback(&port);
    char script[256];
    snprintf(
        script, sizeof(script),
        "/usr/bin/python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", %u), 5); print(\"connected\")' 2>&1",
        port);
    struct ptl_sandbox_spec spec = {.network = false};
    struct outcome o;
    run_spec(&spec, script, &o);
    assert_null(strstr(o.out, "connected"));
    assert_non_null(strstr(o.out, "refused"));
    spec = (struct ptl_sandbox_spec){.network = true};
    run_spec(&spec, script, &o);
    assert_non_null(strstr(o.out, "connected"));
    close(fd);
}

static void other_socket_families_are_refused(void **state)
{
    (void)state;
    struct outcome o;
    run_script("/usr/bin/python3 -c 'import socket\n"
               "for name, f in ((\"vsock\", 40), (\"alg\", 38), (\"packet\", 17)):\n"
               "  try: socket.socket(f, socket.SOCK_STREAM); print(name, \"OPEN\")\n"
               "  except OSError as e: print(name, e.errno)\n"
               "a, b = socket.socketpair(); print(\"unix ok\")' 2>&1",
               &o);
    assert_non_null(strstr(o.out, "vsock 97"));
    assert_non_null(strstr(o.out, "alg 97"));
    assert_non_null(strstr(o.out, "packet 97"));
    assert_non_null(strstr(o.out, "unix ok"));
}

static void user_namespaces_can_be_denied(void **state)
{
    (void)state;
    struct outcome o;
    struct ptl_sandbox_spec spec = {.deny_userns = true};
    run_spec(&spec,
             "unshare --user --map-root-user true && echo MADE; /usr/bin/python3 -c 'import threading; "
             "t = threading.Thread(target=print, args=(\"threads work\",)); t.start(); t.join()'",
             &o);
    assert_null(strstr(o.out, "MADE"));
    assert_non_null(strstr(o.out, "threads work"));
}

static void tmp_has_a_size(void **state)
{
    (void)state;
    struct ptl_sandbox_spec spec = {.tmp_bytes = (uint64_t)1 << 20};
    struct outcome o;
    run_spec(&spec, "dd if=/dev/zero of=/tmp/big bs=64k count=64 2>&1", &o);
    assert_non_null(strstr(o.out, "No space left on device"));
}

static void need_cgroup(void)
{
    if (!has_cgroup) {
        print_message("SKIP: this host allows no control groups\n");
        skip();
    }
}

static void out_of_memory_is_counted_not_guessed(void **state)
{
    (void)state;
    need_cgroup();
    char name[64];
    snprintf(name, sizeof(name), "portolan-test-%d-oom", (int)getpid());
    struct ptl_sandbox_spec spec = {.cgroup_name = name, .memory_bytes = (uint64_t)64 << 20};
    struct outcome o;
    run_spec(&spec, "exec /usr/bin/python3 -c 'x = bytearray(300 << 20)'", &o);
    assert_true(WIFSIGNALED(o.status));
    assert_true(o.oom);
    assert_true(o.peak > (uint64_t)40 << 20);
    spec = (struct ptl_sandbox_spec){.cgroup_name = name, .memory_bytes = (uint64_t)64 << 20};
    run_spec(&spec, "exit 137", &o);
    assert_false(o.oom);
    assert_true(WIFEXITED(o.status));
    spec = (struct ptl_sandbox_spec){.cgroup_name = name, .memory_bytes = (uint64_t)64 << 20};
    run_spec(&spec, "kill -9 $$", &o);
    assert_false(o.oom);
}

static void fork_bomb_is_bounded(void **state)
{
    (void)state;
    need_cgroup();
    char name[64];
    snprintf(name, sizeof(name), "portolan-test-%d-pids", (int)getpid());
    struct ptl_sandbox_spec spec = {.cgroup_name = name, .pids = 20};
    struct outcome o;
    run_spec(&spec, "for i in $(seq 60); do sleep 100 & done 2>&1; echo still here", &o);
    assert_non_null(strstr(o.out, "fork"));
}

/* A started sandbox whose script has printed "ready". */
static struct ptl_sandbox *start_ready(const char *script, int *ret_out)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const char *rw[] = {work, NULL};
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct ptl_sandbox_spec spec = {
        .argv = argv, .env = env_plain, .rw_binds = rw, .stdout_fd = fds[1], .stderr_fd = fds[1]};
    struct ptl_sandbox *s = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_sandbox_start(&spec, &s, &err) < 0)
        fail_msg("%s", err.text);
    close(fds[1]);
    char text[64] = {0};
    size_t len = 0;
    while (!strstr(text, "ready")) {
        ssize_t n = read(fds[0], text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            fail_msg("ended before it was ready");
        len += (size_t)n;
    }
    *ret_out = fds[0];
    return s;
}

/* True when nothing holds the pipe any more, that is, every process of the sandbox is gone. */
static bool pipe_is_closed(int fd)
{
    char block[4096];
    int64_t deadline = ptl_mono_ms() + 20000;
    while (ptl_mono_ms() < deadline) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 1000) > 0 && read(fd, block, sizeof(block)) == 0)
            return true;
    }
    return false;
}

static void wait_can_time_out(void **state)
{
    (void)state;
    int out;
    struct ptl_sandbox *s = start_ready("echo ready; sleep 1000", &out);
    int status = -1;
    assert_int_equal(ptl_sandbox_wait(s, 10, &status), PTL_AGAIN);
    assert_int_equal(status, -1);
    ptl_sandbox_free(s);
    assert_true(pipe_is_closed(out));
    close(out);
}

static void stop_lets_the_payload_clean_up(void **state)
{
    (void)state;
    int out;
    PTL_FREE char *cleaned = ptl_fs_join(work, "cleaned");
    char script[256];
    snprintf(script, sizeof(script), "trap 'touch %s; exit 9' TERM; echo ready; while :; do sleep 0.05; done",
             cleaned);
    struct ptl_sandbox *s = start_ready(script, &out);
    int status;
    ptl_sandbox_stop(s, 30000, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 9);
    assert_true(ptl_fs_exists(cleaned));
    ptl_sandbox_free(s);
    close(out);
}

static void stop_kills_what_ignores_sigterm_and_its_whole_group(void **state)
{
    (void)state;
    int out;
    struct ptl_sandbox *s =
        start_ready("trap '' TERM; (setsid sleep 1000 &); (nohup sleep 1000 &); sleep 1000 & echo ready; "
                    "while :; do sleep 1000; done",
                    &out);
    int status;
    ptl_sandbox_stop(s, 50, &status);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_true(pipe_is_closed(out)); /* the daemonized ones hold it too */
    ptl_sandbox_free(s);
    close(out);
}

static void background_children_end_with_the_payload(void **state)
{
    (void)state;
    int out;
    struct ptl_sandbox *s = start_ready("(setsid sleep 1000 &); echo ready; exit 0", &out);
    int status;
    assert_int_equal(ptl_sandbox_wait(s, 30000, &status), 0);
    assert_int_equal(status, 0);
    assert_true(pipe_is_closed(out));
    ptl_sandbox_free(s);
    close(out);
}

static void parents_death_takes_it_along(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int out;
        close(fds[0]);
        fcntl(fds[1], F_SETFD, FD_CLOEXEC);
        const char *argv[] = {"/bin/sh", "-c", "echo ready; sleep 1000", NULL};
        struct ptl_sandbox_spec spec = {
            .argv = argv, .env = env_plain, .stdout_fd = fds[1], .stderr_fd = fds[1]};
        struct ptl_sandbox *s = NULL;
        (void)out;
        _exit(ptl_sandbox_start(&spec, &s, NULL) < 0 ? 1 : (pause(), 0));
    }
    close(fds[1]);
    char text[16];
    assert_true(read(fds[0], text, sizeof(text)) > 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(pipe_is_closed(fds[0]));
    close(fds[0]);
}

static void setup_failures_have_a_sentence(void **state)
{
    (void)state;
    const char *argv[] = {"true", NULL};
    const char *absent[] = {"/no/such/dir", NULL};
    const char *relative[] = {"tmp", NULL};
    struct {
        const char *label;
        struct ptl_sandbox_spec spec;
        const char *says;
    } cases[] = {
        {"bind that does not exist", {.argv = argv, .ro_binds = absent},    "/no/such/dir"},
        {"relative bind",            {.argv = argv, .rw_binds = relative},  "absolute"    },
        {"cwd that does not exist",  {.argv = argv, .cwd = "/no/such/cwd"}, "/no/such/cwd"},
        {"no program",               {0},                                   "no program"  },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct ptl_sandbox *s = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        cases[i].spec.stdout_fd = cases[i].spec.stderr_fd = -1;
        int r = ptl_sandbox_start(&cases[i].spec, &s, &err);
        if (r >= 0 || s || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d \"%s\"", cases[i].label, r, err.text);
    }
    setenv("PORTOLAN_BWRAP", "/no/bwrap", 1);
    struct ptl_sandbox_spec spec = {.argv = argv, .stdout_fd = -1, .stderr_fd = -1};
    struct ptl_sandbox *s = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_true(ptl_sandbox_start(&spec, &s, &err) < 0);
    assert_non_null(strstr(err.text, "bubblewrap"));
    unsetenv("PORTOLAN_BWRAP");
}

static void unsandboxed_only_when_the_operator_says_so(void **state)
{
    (void)state;
    setenv("PORTOLAN_SANDBOX", "none", 1);
    struct outcome o;
    run_script("trap '' TERM; kill -TERM $$; exit 5", &o);
    assert_int_equal(WEXITSTATUS(o.status), 5);
    assert_string_equal(o.how, "none");
    unsetenv("PORTOLAN_SANDBOX");
}

static void unprivileged_is_a_real_nobody(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("SKIP: only root can become another user\n");
        skip();
    }
    assert_int_equal(chmod(work, 0777), 0);
    struct ptl_sandbox_spec spec = {.unprivileged = true};
    struct outcome o;
    char script[512];
    snprintf(script, sizeof(script),
             "id -u; cat /proc/self/uid_map; touch %s/by-nobody; unshare --user --map-root-user id -u; "
             "grep CapEff /proc/self/status",
             work);
    run_spec(&spec, script, &o);
    assert_true(ptl_str_starts(o.out, "65534\n"));
    assert_non_null(strstr(o.out, "\n0\n")); /* may make its own user namespace */
    assert_non_null(strstr(o.out, "CapEff:\t0000000000000000"));
    struct stat st;
    PTL_FREE char *made = ptl_fs_join(work, "by-nobody");
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_uid, 65534);
}

static int group_setup(void **state)
{
    (void)state;
    snprintf(work, sizeof(work), "/tmp/ptl-sandbox-XXXXXX");
    snprintf(hidden, sizeof(hidden), "/tmp/ptl-hidden-XXXXXX");
    if (!mkdtemp(work) || !mkdtemp(hidden))
        return -1;
    struct ptl_error err = PTL_ERROR_INIT;
    const char *how = ptl_sandbox_probe(&err);
    if (!how) {
        print_message("SKIP ALL: no sandbox on this host: %s\n", err.text);
        exit(0);
    }
    has_cgroup = strstr(how, "cgroup") != NULL;
    print_message("sandbox here: %s\n", how);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    return ptl_fs_remove_tree(work, NULL) || ptl_fs_remove_tree(hidden, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_code_is_told_exactly),
        cmocka_unit_test(signal_is_told_exactly),
        cmocka_unit_test(missing_program_is_told),
        cmocka_unit_test(sees_only_what_it_is_given),
        cmocka_unit_test(environment_is_not_inherited),
        cmocka_unit_test(environment_is_the_payloads_alone),
        cmocka_unit_test(read_only_binds_are_read_only),
        cmocka_unit_test(network_is_shared_only_when_asked),
        cmocka_unit_test(other_socket_families_are_refused),
        cmocka_unit_test(user_namespaces_can_be_denied),
        cmocka_unit_test(tmp_has_a_size),
        cmocka_unit_test(out_of_memory_is_counted_not_guessed),
        cmocka_unit_test(fork_bomb_is_bounded),
        cmocka_unit_test(wait_can_time_out),
        cmocka_unit_test(stop_lets_the_payload_clean_up),
        cmocka_unit_test(stop_kills_what_ignores_sigterm_and_its_whole_group),
        cmocka_unit_test(background_children_end_with_the_payload),
        cmocka_unit_test(parents_death_takes_it_along),
        cmocka_unit_test(setup_failures_have_a_sentence),
        cmocka_unit_test(unsandboxed_only_when_the_operator_says_so),
        cmocka_unit_test(unprivileged_is_a_real_nobody),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
