/* test_cgroup.c - control groups: where they lie is read from texts (any layout), what they do from this
 * host's kernel. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cgroup-private.h"
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <portolan/buf.h>
#include <portolan/fs.h>

struct layout_case {
    const char *label, *mountinfo, *self;
    const char *memory, *cpu, *pids, *unified;
};

static const struct layout_case layout_cases[] = {
    {"v1 with an empty v2 beside it",
     "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
     "31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
     "32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
     "33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",                                            "8:pids:/\n4:memory:/job/7\n1:cpu:/\n0::/\n", "/sys/fs/cgroup/memory/job/7", "/sys/fs/cgroup/cpu",
     "/sys/fs/cgroup/pids",                                                                                                                                                                                                                "/sys/fs/cgroup/unified"               },
    {"v2 only, a systemd service",
     "29 23 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",                         "0::/system.slice/portolan-agent.service\n",  "",                            "",                                      "",
     "/sys/fs/cgroup/system.slice/portolan-agent.service"                                                                                                                                                                                                                         },
    {"v2 after this process moved into its leaf",       "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
     "0::/system.slice/a.service/portolan.self\n",                                                                                                             "",                            "",                                      "", "/sys/fs/cgroup/system.slice/a.service"},
    {"v1, cpu and cpuacct mounted together",
     "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",                              "3:cpu,cpuacct:/user.slice\n",                "",                            "/sys/fs/cgroup/cpu,cpuacct/user.slice", "", ""                                     },
    {"a container: the mount shows a part of the tree",
     "30 24 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",                              "4:memory:/docker/abc/inner\n",               "/sys/fs/cgroup/memory/inner", "",                                      "", ""                                     },
    {"nothing mounted",                                 "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n",                 "0::/\n",                                     "",                            "",                                      "", ""                                     },
    {"rubbish",                                         "x\n\n - \n1 2 3\n",                                     ":::\n\nabc",                                 "",                            "",                                      "", ""                                     },
};

static void layout_is_read_from_proc(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(layout_cases); i++) {
        const struct layout_case *c = &layout_cases[i];
        struct ptl_cgroup_layout l;
        ptl_cgroup_layout_parse(c->mountinfo, c->self, &l);
        if (strcmp(l.v1[CG_MEMORY], c->memory) || strcmp(l.v1[CG_CPU], c->cpu) ||
            strcmp(l.v1[CG_PIDS], c->pids) || strcmp(l.unified, c->unified))
            fail_msg("%s: memory=%s cpu=%s pids=%s unified=%s", c->label, l.v1[CG_MEMORY], l.v1[CG_CPU],
                     l.v1[CG_PIDS], l.unified);
    }
}

static struct ptl_cgroup *new_or_skip(const char *suffix, const struct ptl_cgroup_limits *limits)
{
    char name[64];
    snprintf(name, sizeof(name), "portolan-test-%d-%s", (int)getpid(), suffix);
    struct ptl_cgroup *cg = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_cgroup_new(name, limits, &cg, &err);
    if (r == PTL_ABSENT) {
        print_message("SKIP: this host allows no control groups: %s\n", err.text);
        skip();
    }
    if (r < 0)
        fail_msg("%s", err.text);
    return cg;
}

static pid_t start_in(struct ptl_cgroup *cg, void (*fn)(void))
{
    int inside[2];
    char byte;
    assert_int_equal(pipe(inside), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (ptl_cgroup_enter_self(cg) < 0 || write(inside[1], "x", 1) != 1)
            _exit(99);
        fn();
        _exit(0);
    }
    close(inside[1]);
    assert_int_equal(read(inside[0], &byte, 1), 1);
    close(inside[0]);
    return pid;
}

static void eat_memory(void)
{
    size_t size = (size_t)256 << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; p != MAP_FAILED && i < size; i += 4096)
        p[i] = 1;
}

static void fork_many(void)
{
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        if (pid < 0)
            _exit(errno == EAGAIN ? 7 : 8);
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
}

static void wait_forever(void)
{
    signal(SIGTERM, SIG_IGN);
    for (;;)
        pause();
}

static void memory_limit_kills_and_is_counted(void **state)
{
    (void)state;
    struct ptl_cgroup *cg =
        new_or_skip("mem", &(struct ptl_cgroup_limits){.memory_bytes = (uint64_t)64 << 20});
    int status = 0;
    assert_int_equal(waitpid(start_in(cg, eat_memory), &status, 0) > 0, 1);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    struct ptl_cgroup_usage u;
    assert_int_equal(ptl_cgroup_usage(cg, &u), 0);
    assert_true(u.oom_kills >= 1);
    assert_true(u.peak_bytes > (uint64_t)32 << 20);
    assert_true(u.peak_bytes <= (uint64_t)64 << 20);
    assert_null(ptl_cgroup_free(cg));
}

static void a_quiet_end_counts_no_kill(void **state)
{
    (void)state;
    struct ptl_cgroup *cg =
        new_or_skip("quiet", &(struct ptl_cgroup_limits){.memory_bytes = (uint64_t)64 << 20});
    int status = -1;
    pid_t pid = start_in(cg, wait_forever);
    kill(pid, SIGKILL); /* 137 as well, but nobody ran out of memory */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    struct ptl_cgroup_usage u;
    assert_int_equal(ptl_cgroup_usage(cg, &u), 0);
    assert_int_equal(u.oom_kills, 0);
    ptl_cgroup_free(cg);
}

static void process_limit_holds(void **state)
{
    (void)state;
    struct ptl_cgroup *cg = new_or_skip("pids", &(struct ptl_cgroup_limits){.pids = 10});
    int status = 0;
    pid_t pid = start_in(cg, fork_many);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    ptl_cgroup_free(cg);
}

static void free_kills_what_ignores_sigterm(void **state)
{
    (void)state;
    struct ptl_cgroup *cg = new_or_skip("kill", NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        wait_forever();
    assert_int_equal(ptl_cgroup_add(cg, pid), 0);
    signal(SIGCHLD, SIG_IGN); /* reaped at once, so that the group empties while free() waits */
    ptl_cgroup_free(cg);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    signal(SIGCHLD, SIG_DFL);
}

static void sweep_removes_what_a_killed_process_left(void **state)
{
    (void)state;
    struct ptl_cgroup *left = new_or_skip("sweep", NULL); /* never freed by its owner */
    pid_t pid = start_in(left, wait_forever);
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "portolan-test-%d-sweep", (int)getpid());
    signal(SIGCHLD, SIG_IGN);
    ptl_cgroup_sweep(prefix);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(kill(pid, 0), -1);
    struct ptl_cgroup_usage u;
    assert_int_not_equal(ptl_cgroup_usage(left, &u), 0);
    ptl_cgroup_free(left);
}

static void a_group_in_use_is_left_alone(void **state)
{
    (void)state;
    struct ptl_cgroup *mine = new_or_skip("used", NULL), *other = NULL;
    pid_t pid = start_in(mine, wait_forever);
    char name[64];
    struct ptl_error err = PTL_ERROR_INIT;
    snprintf(name, sizeof(name), "portolan-test-%d-used", (int)getpid());
    assert_int_equal(ptl_cgroup_new(name, NULL, &other, &err), -EBUSY);
    assert_null(other);
    int status;
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0); /* and it lives */
    signal(SIGCHLD, SIG_IGN);
    ptl_cgroup_free(mine);
    signal(SIGCHLD, SIG_DFL);
}

static void names_differ_by_directory(void **state)
{
    (void)state;
    char a[PTL_CGROUP_NAME], b[PTL_CGROUP_NAME], c[PTL_CGROUP_NAME], prefix[PTL_CGROUP_NAME];
    ptl_cgroup_name_for("/tmp/1-1", "stage", a);
    ptl_cgroup_name_for("/tmp/1-12", "stage", b);
    ptl_cgroup_name_for("/tmp/./1-1", "engine", c);
    ptl_cgroup_name_for("/tmp/1-1", "", prefix);
    assert_string_not_equal(a, b);
    assert_true(ptl_str_starts(a, prefix));
    assert_false(ptl_str_starts(b, prefix));
    assert_true(ptl_str_ends(c, "-engine"));
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", "a/b", "../x", "a b", "x\n"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        struct ptl_cgroup *cg = NULL;
        int r = ptl_cgroup_new(bad[i], NULL, &cg, NULL);
        if (r != -EINVAL && r != PTL_ABSENT)
            fail_msg("\"%s\" gave %d", bad[i], r);
        assert_null(cg);
    }
}

/* Where v2 is mounted without controllers (hybrid hosts), its kill and membership can still be proved. */
static void v2_kills_and_removes(void **state)
{
    (void)state;
    PTL_BUF mounts = PTL_BUF_INIT;
    PTL_BUF self = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read("/proc/self/mountinfo", 1 << 20, &mounts, NULL), 0);
    assert_int_equal(ptl_fs_read("/proc/self/cgroup", 1 << 20, &self, NULL), 0);
    struct ptl_cgroup_layout l;
    ptl_cgroup_layout_parse(ptl_buf_str(&mounts), ptl_buf_str(&self), &l);
    char name[64];
    snprintf(name, sizeof(name), "portolan-test-%d-v2", (int)getpid());
    struct ptl_cgroup *cg = NULL;
    if (!l.unified[0] || ptl_cgroup_new_in(&l, 2, name, NULL, &cg, NULL) != 0) {
        print_message("SKIP: no writable cgroup v2 hierarchy\n");
        skip();
    }
    pid_t pid = start_in(cg, wait_forever);
    int status;
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(ptl_cgroup_kill(cg), 0);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(kill(pid, 0), -1);
    ptl_cgroup_free(cg);
    PTL_FREE char *dir = ptl_fs_join(l.unified, name);
    assert_false(ptl_fs_exists(dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_is_read_from_proc),
        cmocka_unit_test(memory_limit_kills_and_is_counted),
        cmocka_unit_test(a_quiet_end_counts_no_kill),
        cmocka_unit_test(process_limit_holds),
        cmocka_unit_test(free_kills_what_ignores_sigterm),
        cmocka_unit_test(sweep_removes_what_a_killed_process_left),
        cmocka_unit_test(a_group_in_use_is_left_alone),
        cmocka_unit_test(names_differ_by_directory),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(v2_kills_and_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
