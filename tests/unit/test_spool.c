/* test_spool.c - the log under its quota: head and tail kept, the cut told, and completed after its writer
 * was killed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "logger.h"
#include "spool.h"
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <portolan/buf.h>
#include <portolan/fs.h>

static char dir[64];

static void fresh(void)
{
    static const char *const names[] = {"log", "log.tail"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(names); i++) {
        PTL_FREE char *path = ptl_fs_join(dir, names[i]);
        unlink(path);
    }
}

static void read_log(struct ptl_buf *ret)
{
    PTL_FREE char *path = ptl_fs_join(dir, "log");
    PTL_FREE char *tail = ptl_fs_join(dir, "log.tail");
    ptl_buf_clear(ret);
    assert_int_equal(ptl_fs_read(path, 64 << 20, ret, NULL), 0);
    assert_false(ptl_fs_exists(tail));
}

static struct ptl_spool *open_spool(uint64_t quota)
{
    struct ptl_spool *s = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_spool_open(dir, quota, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static void write_lines(struct ptl_spool *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        char line[64];
        int n = snprintf(line, sizeof(line), "line %06d of the log\n", i);
        ptl_spool_write(s, line, (size_t)n);
    }
}

enum { LINE = 23 };

static void what_fits_is_untouched(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 8191, 8192, 8193, 12000, 15800};
    for (size_t i = 0; i < PTL_ARRAY_LEN(sizes); i++) {
        fresh();
        struct ptl_spool *s = open_spool(PTL_SPOOL_MIN);
        char *data = ptl_xcalloc(sizes[i] + 1, 1);
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (char)(k * 7);
        for (size_t at = 0; at < sizes[i]; at += 100) /* binary, no line ends */
            ptl_spool_write(s, data + at, sizes[i] - at < 100 ? sizes[i] - at : 100);
        assert_int_equal(ptl_spool_close(s), 0);
        PTL_BUF log = PTL_BUF_INIT;
        read_log(&log);
        if (log.len != sizes[i] || (sizes[i] && memcmp(log.data, data, sizes[i]) != 0))
            fail_msg("%zu bytes in, %zu out", sizes[i], log.len);
        free(data);
    }
}

/* Checks head, notice with the right number, tail with the last line. */
static void check_cut(const struct ptl_buf *log, int lines, uint64_t quota)
{
    unsigned long long told = 0;
    const char *notice = strstr(ptl_buf_str(log), "\n[portolan] log cut here: ");
    char last[64];
    if (!notice)
        fail_msg("the cut is not told");
    assert_int_equal(sscanf(notice, "\n[portolan] log cut here: %llu bytes left out", &told), 1);
    const char *behind = strchr(notice + 1, '\n') + 1;
    size_t head = (size_t)(notice - log->data), tail = log->len - (size_t)(behind - log->data);
    assert_true(ptl_str_starts(log->data, "line 000000 of the log\nline 000001"));
    assert_true(ptl_str_starts(behind, "line ")); /* begins at a line */
    snprintf(last, sizeof(last), "line %06d of the log\n", lines - 1);
    assert_true(ptl_str_ends(log->data, last));
    assert_int_equal(head + tail + told, (uint64_t)lines * LINE);
    assert_true(log->len <= quota);
    assert_int_equal(head, quota / 2);
    assert_true(tail > quota / 2 - 1024);
}

static void head_and_tail_are_kept_and_the_cut_told(void **state)
{
    (void)state;
    static const int lines[] = {720, 1000, 5000, 50000};
    for (size_t i = 0; i < PTL_ARRAY_LEN(lines); i++) {
        fresh();
        struct ptl_spool *s = open_spool(PTL_SPOOL_MIN);
        write_lines(s, 0, lines[i]);
        assert_int_equal(ptl_spool_close(s), 0);
        PTL_BUF log = PTL_BUF_INIT;
        read_log(&log);
        check_cut(&log, lines[i], PTL_SPOOL_MIN);
    }
}

static void one_endless_line_is_cut_in_its_middle(void **state)
{
    (void)state;
    fresh();
    struct ptl_spool *s = open_spool(1 << 20);
    char block[4096];
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < 1024; i++)
        ptl_spool_write(s, block, sizeof(block));
    ptl_spool_write(s, "END", 3);
    assert_int_equal(ptl_spool_close(s), 0);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    assert_true(log.len > (1 << 20) - 2048);
    assert_true(ptl_str_ends(log.data, "END"));
    assert_non_null(strstr(log.data, "log cut here"));
}

static void a_write_larger_than_the_tail_keeps_its_end(void **state)
{
    (void)state;
    fresh();
    struct ptl_spool *s = open_spool(PTL_SPOOL_MIN);
    char *big = ptl_xcalloc(100001, 1);
    memset(big, 'y', 100000);
    memcpy(big + 99990, "THE-FINISH", 10);
    ptl_spool_write(s, big, 100000);
    free(big);
    assert_int_equal(ptl_spool_close(s), 0);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    assert_true(ptl_str_ends(log.data, "THE-FINISH"));
}

static void what_was_shipped_stays_as_it_was(void **state)
{
    (void)state;
    fresh();
    PTL_BUF before = PTL_BUF_INIT;
    PTL_BUF after = PTL_BUF_INIT;
    PTL_FREE char *path = ptl_fs_join(dir, "log");
    struct ptl_spool *s = open_spool(PTL_SPOOL_MIN);
    write_lines(s, 0, 5000);
    assert_int_equal(ptl_fs_read(path, 1 << 20, &before, NULL), 0);
    write_lines(s, 5000, 6000);
    assert_int_equal(ptl_spool_close(s), 0);
    read_log(&after);
    assert_memory_equal(before.data, after.data, before.len);
}

static void a_killed_writer_leaves_a_log_that_can_be_completed(void **state)
{
    (void)state;
    fresh();
    pid_t pid = fork();
    if (pid == 0) {
        struct ptl_spool *s = NULL;
        if (ptl_spool_open(dir, PTL_SPOOL_MIN, &s, NULL) < 0)
            _exit(1);
        write_lines(s, 0, 3000);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_spool_recover(dir, &err) < 0)
        fail_msg("%s", err.text);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    check_cut(&log, 3000, PTL_SPOOL_MIN);
    assert_int_equal(ptl_spool_recover(dir, &err), 0); /* twice is harmless */
    PTL_BUF again = PTL_BUF_INIT;
    read_log(&again);
    assert_int_equal(again.len, log.len);
}

static void recovery_in_the_middle_of_completing_gives_the_same(void **state)
{
    (void)state;
    PTL_FREE char *path = ptl_fs_join(dir, "log");
    fresh();
    pid_t pid = fork();
    if (pid == 0) {
        struct ptl_spool *s = NULL;
        if (ptl_spool_open(dir, PTL_SPOOL_MIN, &s, NULL) < 0)
            _exit(1);
        write_lines(s, 0, 3000);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    FILE *f = fopen(path, "a"); /* as if completing had been cut short */
    fputs("\n[portolan] log cut he", f);
    fclose(f);
    assert_int_equal(ptl_spool_recover(dir, NULL), 0);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    check_cut(&log, 3000, PTL_SPOOL_MIN);
}

static void rubbish_instead_of_a_ring_is_dropped(void **state)
{
    (void)state;
    static const char *const rubbish[] = {"", "short",
                                          "PTSPOOL1 but nothing like a header follows here, or any ring"};
    PTL_FREE char *path = ptl_fs_join(dir, "log.tail");
    for (size_t i = 0; i < PTL_ARRAY_LEN(rubbish); i++) {
        fresh();
        assert_int_equal(ptl_fs_write_atomic(path, rubbish[i], strlen(rubbish[i]), 0600, NULL), 0);
        assert_int_equal(ptl_spool_recover(dir, NULL), 0);
        assert_false(ptl_fs_exists(path));
    }
}

static void a_full_disk_is_told_and_survived(void **state)
{
    (void)state;
    fresh();
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {4096, 4096}; /* writes beyond it fail as on a full disk */
        struct ptl_spool *s = NULL;
        signal(SIGXFSZ, SIG_IGN);
        if (ptl_spool_open(dir, 1 << 20, &s, NULL) < 0)
            _exit(1);
        write_lines(s, 0, 100);
        setrlimit(RLIMIT_FSIZE, &limit);
        write_lines(s, 100, 1000);
        _exit(ptl_spool_close(s) < 0 ? 7 : 8);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void the_logger_masks_and_keeps_order(void **state)
{
    (void)state;
    fresh();
    struct ptl_mask *mask = ptl_mask_new();
    struct ptl_logger *l = NULL;
    assert_int_equal(ptl_mask_add(mask, "hunter2-hunter2"), 0);
    assert_int_equal(ptl_logger_new(mask, open_spool(0), &l, NULL), 0);
    ptl_logger_line(l, "begins with %s", "hunter2-hunter2");
    pid_t pid = fork();
    if (pid == 0) {
        dprintf(ptl_logger_fd(l), "child: hunter2-");
        dprintf(ptl_logger_fd(l), "hunter2\r\n");
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    ptl_logger_line(l, "ends");
    assert_int_equal(ptl_logger_close(l, 10000), 0);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    assert_string_equal(log.data, "[portolan] begins with ***\nchild: ***\r\n[portolan] ends\n");
}

static void the_logger_does_not_wait_for_strays(void **state)
{
    (void)state;
    fresh();
    struct ptl_logger *l = NULL;
    int hold[2];
    assert_int_equal(pipe(hold), 0);
    assert_int_equal(ptl_logger_new(ptl_mask_new(), open_spool(0), &l, NULL), 0);
    ptl_logger_line(l, "hello");
    pid_t pid = fork();
    if (pid == 0) { /* holds the write end until the test lets go */
        char byte;
        close(hold[1]);
        (void)!read(hold[0], &byte, 1);
        _exit(0);
    }
    assert_int_equal(ptl_logger_close(l, 50), -ETIMEDOUT);
    close(hold[1]);
    waitpid(pid, NULL, 0);
    close(hold[0]);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    assert_string_equal(log.data, "[portolan] hello\n");
}

static int group_setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/ptl-spool-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return ptl_fs_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_is_untouched),
        cmocka_unit_test(head_and_tail_are_kept_and_the_cut_told),
        cmocka_unit_test(one_endless_line_is_cut_in_its_middle),
        cmocka_unit_test(a_write_larger_than_the_tail_keeps_its_end),
        cmocka_unit_test(what_was_shipped_stays_as_it_was),
        cmocka_unit_test(a_killed_writer_leaves_a_log_that_can_be_completed),
        cmocka_unit_test(recovery_in_the_middle_of_completing_gives_the_same),
        cmocka_unit_test(rubbish_instead_of_a_ring_is_dropped),
        cmocka_unit_test(a_full_disk_is_told_and_survived),
        cmocka_unit_test(the_logger_masks_and_keeps_order),
        cmocka_unit_test(the_logger_does_not_wait_for_strays),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
