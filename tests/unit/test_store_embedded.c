/* The private cluster: made, started, found again after every kind of death, refused where it must be. */
#include "embedded.h"
#include "pg.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const fast[] = {"fsync=off", "logging_collector=off", "shared_buffers=16MB", NULL};

static struct ptl_embedded *start(const char *dir)
{
    struct ptl_embedded_options o = {.state_dir = dir, .settings = fast, .throw_away = true};
    struct ptl_embedded *e = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_embedded_start(&o, &e, &err) < 0)
        fail_msg("%s", err.text);
    return e;
}

static int start_fails(const char *dir, const char *bin_dir, const char *says)
{
    struct ptl_embedded_options o = {
        .state_dir = dir, .bin_dir = bin_dir, .settings = fast, .throw_away = true};
    struct ptl_embedded *e = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_embedded_start(&o, &e, &err);
    if (r == 0)
        ptl_embedded_stop(e);
    if (r >= 0 || !strstr(err.text, says))
        fail_msg("wanted a failure that says '%s', got %d: %s", says, r, err.text);
    return r;
}

/* An orphan that the machine's process 1 has not reaped yet is dead all the same. */
static bool is_alive(pid_t pid)
{
    PTL_FREE char *path = ptl_xasprintf("/proc/%d/stat", (int)pid);
    PTL_BUF stat = PTL_BUF_INIT;
    if (kill(pid, 0) != 0 || ptl_fs_read(path, 4096, &stat, NULL) < 0)
        return false;
    const char *name_end = strrchr(ptl_buf_str(&stat), ')');
    return name_end && name_end[1] && name_end[2] != 'Z';
}

static void wait_gone(pid_t pid)
{
    int64_t deadline = ptl_mono_ms() + 20000;
    while (is_alive(pid)) {
        if (ptl_mono_ms() > deadline)
            fail_msg("process %d is still there", (int)pid);
        (void)poll(NULL, 0, 5); /* not our child: nothing tells */
    }
}

static void remove_dir(char *dir)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_fs_remove_tree(dir, &err) < 0)
        fail_msg("%s", err.text);
    free(dir);
}

static void made_and_found_again(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    struct ptl_embedded *e = start(dir);
    const char *dsn = ptl_embedded_dsn(e);
    ptl_test_sql(dsn, "CREATE TABLE t AS SELECT 7 AS n");
    assert_string_equal(ptl_test_sql_value(dsn, "SHOW data_checksums"), "on");
    assert_string_equal(ptl_test_sql_value(dsn, "SHOW listen_addresses"), "");
    assert_string_equal(ptl_test_sql_value(dsn, "SHOW jit"), "off");
    assert_string_equal(ptl_test_sql_value(dsn, "SHOW wal_compression"), "lz4");
    assert_string_equal(ptl_test_sql_value(dsn, "SHOW server_encoding"), "UTF8");
    assert_string_equal(ptl_test_sql_value(dsn, "SHOW lc_collate"), "C");
    assert_string_equal(ptl_test_sql_value(dsn, "SELECT lower('\xc3\x84')"), "\xc3\xa4");
    struct stat st;
    PTL_FREE char *data = ptl_fs_join(dir, "postgres/data");
    assert_int_equal(stat(data, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    if (geteuid() == 0)
        assert_int_not_equal(st.st_uid, 0); /* never as root */
    pid_t pid = ptl_embedded_pid(e);
    ptl_embedded_stop(e);
    assert_false(is_alive(pid));

    e = start(dir);
    assert_int_equal(ptl_test_sql_i64(ptl_embedded_dsn(e), "SELECT n FROM t"), 7);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

static void second_user_of_a_directory_is_refused(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    struct ptl_embedded *e = start(dir);
    char says[64];
    snprintf(says, sizeof(says), "in use by process %d", (int)getpid());
    assert_int_equal(start_fails(dir, NULL, says), -EBUSY);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

/* A child starts the cluster and is killed; returns the postmaster's pid. */
static pid_t start_in_child_and_kill_it(const char *dir)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        struct ptl_embedded *e = start(dir);
        ptl_test_sql(ptl_embedded_dsn(e), "CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS n");
        pid_t pid = ptl_embedded_pid(e);
        if (write(fds[1], &pid, sizeof(pid)) != sizeof(pid))
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    pid_t pid = -1;
    assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
    close(fds[0]);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return pid;
}

static void killed_program_leaves_no_server(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    pid_t pid = start_in_child_and_kill_it(dir);
    wait_gone(pid);
    struct ptl_embedded *e = start(dir);
    assert_int_equal(ptl_test_sql_i64(ptl_embedded_dsn(e), "SELECT n FROM kept"), 1);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

static void start_at_once_after_a_kill(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    start_in_child_and_kill_it(dir); /* the old server may be in the middle of its shutdown */
    struct ptl_embedded *e = start(dir);
    assert_int_equal(ptl_test_sql_i64(ptl_embedded_dsn(e), "SELECT n FROM kept"), 1);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

static void running_server_of_nobody_is_ended_first(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    struct ptl_embedded *e = start(dir);
    PTL_FREE char *postgres = ptl_fs_join(ptl_embedded_bin_dir(e), "postgres");
    PTL_FREE char *data = ptl_fs_join(dir, "postgres/data");
    PTL_FREE char *config = ptl_xasprintf("config_file=%s/postgres/postgresql.conf", dir);
    PTL_FREE char *sockets = ptl_xasprintf("unix_socket_directories=%s/postgres/socket", dir);
    PTL_FREE char *pid_file = ptl_fs_join(data, "postmaster.pid");
    ptl_embedded_stop(e);
    struct stat st;
    assert_int_equal(stat(data, &st), 0);
    pid_t old = fork(); /* without the death signal: as if it had got lost */
    if (old == 0) {
        if (setgid(st.st_gid) < 0 || setuid(st.st_uid) < 0)
            _exit(1);
        execl(postgres, postgres, "-D", data, "-c", config, "-c", sockets, "-c", "listen_addresses=", "-c",
              "logging_collector=off", (char *)NULL);
        _exit(1);
    }
    int64_t deadline = ptl_mono_ms() + 20000;
    PTL_BUF text = PTL_BUF_INIT;
    while (ptl_fs_read(pid_file, 4096, &text, NULL) < 0 || !strstr(ptl_buf_str(&text), "ready")) {
        assert_true(ptl_mono_ms() < deadline);
        ptl_buf_clear(&text);
        (void)poll(NULL, 0, 5);
    }
    e = start(dir);
    int status = -1;
    assert_int_equal(waitpid(old, &status, WNOHANG), old); /* it had ended before ours began */
    assert_int_equal(status, 0);                           /* by an orderly shutdown */
    assert_int_not_equal(ptl_embedded_pid(e), old);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

static void killed_postmaster_is_launched_again(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    struct ptl_embedded *e = start(dir);
    ptl_test_sql(ptl_embedded_dsn(e), "CREATE TABLE t AS SELECT 7 AS n");
    kill(ptl_embedded_pid(e), SIGKILL);
    struct pollfd p = {.fd = ptl_embedded_pidfd(e), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    char how[128];
    assert_true(ptl_embedded_has_ended(e, how, sizeof(how)));
    assert_non_null(strstr(how, "signal 9"));
    assert_int_equal(ptl_embedded_pid(e), -1);
    struct ptl_error err = PTL_ERROR_INIT;
    int64_t deadline = ptl_mono_ms() + 30000;
    int r;
    while ((r = ptl_embedded_launch(e, &err)) == PTL_AGAIN && ptl_mono_ms() < deadline)
        (void)poll(NULL, 0, 20);
    if (r != 0)
        fail_msg("%d %s", r, err.text);
    ptl_embedded_stop(e); /* while it recovers */
    e = start(dir);
    assert_int_equal(ptl_test_sql_i64(ptl_embedded_dsn(e), "SELECT n FROM t"), 7);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

static void lying_pid_file_is_seen_through(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    ptl_embedded_stop(start(dir));
    /* A live process of the server's user that is no server: what a reboot makes of an old pid. */
    struct stat st;
    PTL_FREE char *data = ptl_fs_join(dir, "postgres/data");
    PTL_FREE char *path = ptl_fs_join(data, "postmaster.pid");
    assert_int_equal(stat(data, &st), 0);
    pid_t other = fork();
    if (other == 0) {
        if (setuid(st.st_uid) < 0)
            _exit(1);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* after setuid, which clears it */
        for (;;)
            pause();
    }
    char text[512];
    int n = snprintf(text, sizeof(text), "%d\n%s\n1\n5432\n%s/postgres/socket\n\n  1 1\nready   \n",
                     (int)other, data, dir);
    assert_int_equal(ptl_fs_write_atomic(path, text, (size_t)n, 0600, NULL), 0);
    assert_int_equal(chown(path, st.st_uid, st.st_gid), 0);
    struct ptl_embedded *e = start(dir);
    assert_true(is_alive(other)); /* and it was left alone */
    ptl_embedded_stop(e);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    remove_dir(dir);
}

static void half_made_cluster_is_made_again(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    PTL_FREE char *partial = ptl_fs_join(dir, "postgres/data.partial/base");
    assert_int_equal(ptl_fs_mkdirs(partial, 0700, NULL), 0);
    ptl_embedded_stop(start(dir));
    remove_dir(dir);
}

static void other_major_version_is_refused(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    PTL_FREE char *data = ptl_fs_join(dir, "postgres/data");
    PTL_FREE char *version = ptl_fs_join(data, "PG_VERSION");
    assert_int_equal(ptl_fs_mkdirs(data, 0700, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(version, "9\n", 2, 0600, NULL), 0);
    start_fails(dir, NULL, "was made by PostgreSQL 9, installed here is");
    remove_dir(dir);
}

static void what_is_no_cluster_is_left_alone(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    PTL_FREE char *file = ptl_fs_join(dir, "postgres/data/precious");
    PTL_FREE char *data = ptl_fs_join(dir, "postgres/data");
    assert_int_equal(ptl_fs_mkdirs(data, 0700, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(file, "x", 1, 0600, NULL), 0);
    start_fails(dir, NULL, "is no PostgreSQL cluster");
    assert_true(ptl_fs_exists(file));
    remove_dir(dir);
}

static void no_programs_is_said(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    start_fails(dir, "/nonexistent", "apt-get install postgresql");
    start_fails("relative", NULL, "absolute path");
    remove_dir(dir);
}

static void others_directories_are_refused(void **state PTL_UNUSED)
{
    if (geteuid() != 0)
        skip(); /* only root can make directories of other users */
    char *dir = ptl_test_tmpdir();
    assert_int_equal(chown(dir, 12345, 12345), 0);
    assert_int_equal(start_fails(dir, NULL, "another user's state directory"), -EPERM);
    assert_int_equal(chown(dir, 0, 0), 0);
    ptl_embedded_stop(start(dir));
    PTL_FREE char *data = ptl_fs_join(dir, "postgres/data");
    assert_int_equal(chown(data, 12345, 12345), 0);
    assert_int_equal(start_fails(dir, NULL, "belongs to user id 12345"), -EPERM);
    remove_dir(dir);
}

static void closed_parent_is_said(void **state PTL_UNUSED)
{
    if (geteuid() != 0)
        skip();
    char *dir = ptl_test_tmpdir();
    assert_int_equal(chmod(dir, 0700), 0);
    PTL_FREE char *below = ptl_fs_join(dir, "state");
    start_fails(below, NULL, "cannot enter");
    remove_dir(dir);
}

static void long_path_gets_a_socket_elsewhere(void **state PTL_UNUSED)
{
    char *dir = ptl_test_tmpdir();
    PTL_FREE char *deep =
        ptl_xasprintf("%s/%s/%s", dir, "a-directory-with-a-long-name-a-directory-with-a-long-name",
                      "and-another-one-and-another-one-and-another-one");
    assert_int_equal(ptl_fs_mkdirs(deep, 0755, NULL), 0);
    struct ptl_embedded *e = start(deep);
    const char *socket_dir = strstr(ptl_embedded_dsn(e), "/tmp/portolan-pg-");
    assert_non_null(socket_dir);
    PTL_FREE char *copy = ptl_xasprintf("%.*s", (int)strcspn(socket_dir, "'"), socket_dir);
    assert_int_equal(ptl_test_sql_i64(ptl_embedded_dsn(e), "SELECT 1"), 1);
    ptl_embedded_stop(e);
    assert_false(ptl_fs_exists(copy)); /* nothing stays in /tmp */
    remove_dir(dir);
}

static void other_local_users_stay_outside(void **state PTL_UNUSED)
{
    if (geteuid() != 0)
        skip();
    char *dir = ptl_test_tmpdir();
    struct ptl_embedded *e = start(dir);
    PTL_FREE char *socket_dir = ptl_fs_join(dir, "postgres/socket");
    pid_t other = fork();
    if (other == 0) {
        if (setuid(65534) < 0)
            _exit(1);
        _exit(access(socket_dir, X_OK) == 0 ? 2 : 0);
    }
    int status;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    ptl_embedded_stop(e);
    remove_dir(dir);
}

int main(void)
{
    ptl_log_init("test_store_embedded");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_found_again),
        cmocka_unit_test(second_user_of_a_directory_is_refused),
        cmocka_unit_test(killed_program_leaves_no_server),
        cmocka_unit_test(start_at_once_after_a_kill),
        cmocka_unit_test(running_server_of_nobody_is_ended_first),
        cmocka_unit_test(killed_postmaster_is_launched_again),
        cmocka_unit_test(lying_pid_file_is_seen_through),
        cmocka_unit_test(half_made_cluster_is_made_again),
        cmocka_unit_test(other_major_version_is_refused),
        cmocka_unit_test(what_is_no_cluster_is_left_alone),
        cmocka_unit_test(no_programs_is_said),
        cmocka_unit_test(others_directories_are_refused),
        cmocka_unit_test(closed_parent_is_said),
        cmocka_unit_test(long_path_gets_a_socket_elsewhere),
        cmocka_unit_test(other_local_users_stay_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
