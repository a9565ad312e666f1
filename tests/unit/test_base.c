/* test_base.c - errors, text helpers, quantities, digests, files, settings, children. Table-driven where
 * there are tables. */
#include <fcntl.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/json.h>
#include <portolan/proc.h>
#include <portolan/settings.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char *temp_dir(void)
{
    char *dir = ptl_xasprintf("%s/ptl-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void remove_dir(char *dir)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_fs_remove_tree(dir, &err) < 0)
        fail_msg("%s", err.text);
    assert_false(ptl_fs_exists(dir));
    free(dir);
}

static void errors_are_clean_and_bounded(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_error_set(&err, -EINVAL, "bad \x1b[31m%s", "thing"), -EINVAL);
    assert_string_equal(err.text, "bad ?[31mthing");
    assert_int_equal(ptl_error_prefix(&err, -EIO, "run %d", 7), -EINVAL);
    assert_string_equal(err.text, "run 7: bad ?[31mthing");
    char big[4000];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = 0;
    ptl_error_set(&err, -EINVAL, "%s", big);
    assert_true(strlen(err.text) < sizeof(err.text));
    assert_true(ptl_str_ends(err.text, "\xe2\x80\xa6"));
}

static void globs(void **state PTL_UNUSED)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } t[] = {
        {"main",               "main",                                        true },
        {"main",               "main2",                                       false},
        {"release/*",          "release/1",                                   true },
        {"release/*",          "release/1/2",                                 false},
        {"release/**",         "release/1/2",                                 true },
        {"**/x.py",            "x.py",                                        true },
        {"**/x.py",            "a/b/x.py",                                    true },
        {"*.py",               "a/x.py",                                      false},
        {"v?",                 "v1",                                          true },
        {"v?",                 "v",                                           false},
        {"a?c",                "a/c",                                         false},
        {"*",                  "",                                            true },
        {"",                   "",                                            true },
        {"",                   "a",                                           false},
        {"a*b*c",              "aXbXbYc",                                     true },
        {"a/**/z",             "a/z",                                         true },
        {"a/**/z",             "a/b/c/z",                                     true },
        {"a/**/z",             "az",                                          false},
        {"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++)
        if (ptl_str_glob(t[i].pattern, t[i].text) != t[i].match)
            fail_msg("glob '%s' on '%s': expected %d", t[i].pattern, t[i].text, t[i].match);
}

static void nearest_spelling(void **state PTL_UNUSED)
{
    static const char *const keys[] = {"timeout", "targets", "verify", "version", NULL};
    assert_string_equal(ptl_str_nearest("timout", keys), "timeout");
    assert_string_equal(ptl_str_nearest("tragets", keys), "targets");
    assert_string_equal(ptl_str_nearest("verison", keys), "version");
    assert_null(ptl_str_nearest("pipeline", keys));
    assert_null(ptl_str_nearest("", keys));
}

static void durations_and_sizes(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        int64_t ms;
    } d[] = {
        {"250ms",                250     },
        {"20s",                  20000   },
        {"30m",                  1800000 },
        {"2h",                   7200000 },
        {"1d",                   86400000},
        {"1h30m",                5400000 },
        {"90",                   90000   },
        {"1.5s",                 1500    },
        {"0",                    0       },
        {"",                     -1      },
        {"5x",                   -1      },
        {"m",                    -1      },
        {"-5s",                  -1      },
        {"400d",                 -1      },
        {"1s 5",                 -1      },
        {"99999999999999999999", -1      }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(d); i++) {
        int64_t ms = -1;
        int r = ptl_duration_parse(d[i].text, &ms);
        if ((r < 0 ? -1 : ms) != d[i].ms)
            fail_msg("duration '%s': got %lld", d[i].text, (long long)ms);
    }
    static const struct {
        const char *text;
        int64_t bytes;
    } s[] = {
        {"200KiB",    204800    },
        {"1.5MB",     1500000   },
        {"3GiB",      3221225472},
        {"512",       512       },
        {"1 kB",      1000      },
        {"",          -1        },
        {"5 parsecs", -1        },
        {"1MiB 2",    -1        }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(s); i++) {
        int64_t b = -1;
        int r = ptl_size_parse(s[i].text, &b);
        if ((r < 0 ? -1 : b) != s[i].bytes)
            fail_msg("size '%s': got %lld", s[i].text, (long long)b);
    }
    char text[32];
    ptl_wall_rfc3339(1763880420123, text);
    assert_string_equal(text, "2025-11-23T06:47:00.123Z");
    ptl_size_format(1500000, text);
    assert_string_equal(text, "1.4 MiB");
}

/* FIPS 180-2 and RFC 4231 / RFC 2202 vectors. */
static void digests(void **state PTL_UNUSED)
{
    char hex[PTL_SHA256_HEX];
    ptl_sha256_of("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(ptl_hmac_hex("sha256", "Jefe", 4, "what do ya want for nothing?", 28, hex), 32);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(ptl_hmac_hex("sha1", "Jefe", 4, "what do ya want for nothing?", 28, hex), 20);
    assert_string_equal(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_int_equal(ptl_hmac_hex("md5", "k", 1, "", 0, hex), -EINVAL);
    assert_true(ptl_sha256_is_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_false(ptl_sha256_is_hex("BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_false(ptl_sha256_is_hex("../etc/passwd"));
    assert_true(ptl_secret_equal("abc", "abc"));
    assert_false(ptl_secret_equal("abc", "abd"));
    assert_false(ptl_secret_equal("", ""));
    assert_false(ptl_secret_equal(NULL, NULL));
}

static void base64(void **state PTL_UNUSED)
{
    static const struct {
        const char *raw, *text;
    } t[] = {
        {"",       ""        },
        {"f",      "Zg=="    },
        {"fo",     "Zm8="    },
        {"foo",    "Zm9v"    },
        {"foobar", "Zm9vYmFy"}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_FREE char *e = ptl_base64(t[i].raw, strlen(t[i].raw));
        assert_string_equal(e, t[i].text);
        PTL_FREE unsigned char *d = NULL;
        size_t n = 99;
        assert_int_equal(ptl_base64_decode(t[i].text, &d, &n), 0);
        assert_int_equal(n, strlen(t[i].raw));
        assert_memory_equal(d, t[i].raw, n);
    }
    unsigned char *d = NULL;
    size_t n;
    assert_int_equal(ptl_base64_decode("Z", &d, &n), -EINVAL);
    assert_int_equal(ptl_base64_decode("Zm9*", &d, &n), -EINVAL);
}

static void buffers_have_a_bound(void **state PTL_UNUSED)
{
    PTL_BUF b = PTL_BUF_MAX(8);
    assert_int_equal(ptl_buf_puts(&b, "12345"), 0);
    assert_int_equal(ptl_buf_puts(&b, "6789"), -E2BIG);
    assert_string_equal(ptl_buf_str(&b), "12345");
    assert_int_equal(b.failed, -E2BIG);
    assert_int_equal(ptl_buf_printf(&b, "%d", 678), 0);
    assert_string_equal(ptl_buf_str(&b), "12345678");
}

static void safe_paths(void **state PTL_UNUSED)
{
    static const char *const good[] = {"a", "a/b.c", "model/model.tflite", "..a/b", "a b/\xc3\xa9"};
    static const char *const bad[] = {"",   "/a",   "../a", "a/../b", "a//b", "./a",
                                      "a/", "a\\b", "a\nb", "..",     "."};
    for (size_t i = 0; i < PTL_ARRAY_LEN(good); i++)
        if (!ptl_fs_is_safe_relative(good[i]))
            fail_msg("'%s' should be safe", good[i]);
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++)
        if (ptl_fs_is_safe_relative(bad[i]))
            fail_msg("'%s' should be refused", bad[i]);
}

static int collect(void *ctx, const struct ptl_fs_entry *e)
{
    ptl_buf_printf(ctx, "%s%s ", e->path, e->is_link ? "@" : "");
    return 0;
}

static void trees(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    char *dir = temp_dir();
    PTL_FREE char *deep = ptl_fs_join(dir, "a/c");
    assert_int_equal(ptl_fs_mkdirs(deep, 0755, &err), 0);
    static const char *const files[] = {"a/c/x", "a-b", "a/b", "z"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(files); i++) {
        PTL_FREE char *f = ptl_fs_join(dir, files[i]);
        assert_int_equal(ptl_fs_write_atomic(f, files[i], strlen(files[i]), 0644, &err), 0);
    }
    char *outside = temp_dir();
    PTL_FREE char *precious = ptl_fs_join(outside, "precious");
    assert_int_equal(ptl_fs_write_atomic(precious, "x", 1, 0644, &err), 0);
    PTL_FREE char *link_path = ptl_fs_join(dir, "out");
    assert_int_equal(symlink(outside, link_path), 0);
    PTL_BUF names = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_walk(dir, 100, collect, &names, &err), 0);
    assert_string_equal(ptl_buf_str(&names), "a-b a/b a/c/x out@ z ");
    assert_int_equal(ptl_fs_walk(dir, 3, collect, &names, &err), -E2BIG);
    assert_int_equal(chmod(deep, 0), 0);
    remove_dir(dir);
    assert_true(ptl_fs_exists(precious)); /* the link was removed, not followed */
    PTL_BUF small = PTL_BUF_MAX(1);
    assert_int_equal(ptl_fs_read(precious, 100, &small, &err), 0); /* exactly as much as there is room for */
    PTL_BUF none = PTL_BUF_MAX(1);
    assert_int_equal(ptl_buf_putc(&none, 'y'), 0);
    assert_int_equal(ptl_fs_read(precious, 100, &none, &err), -E2BIG);
    PTL_BUF big = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(precious, 0, &big, &err), -EFBIG);
    remove_dir(outside);
}

struct sample {
    char *name;
    int64_t count, wait_ms, size, on;
};
static const struct ptl_setting table[] = {
    {"name",  PTL_SET_STRING,   offsetof(struct sample, name),    "n",     0, 0,  false, "a name"  },
    {"count", PTL_SET_INT,      offsetof(struct sample, count),   "3",     1, 10, false, "a count" },
    {"wait",  PTL_SET_DURATION, offsetof(struct sample, wait_ms), "5s",    0, 0,  false, "a wait"  },
    {"size",  PTL_SET_SIZE,     offsetof(struct sample, size),    "1MiB",  0, 0,  false, "a size"  },
    {"on",    PTL_SET_BOOL,     offsetof(struct sample, on),      "false", 0, 0,  false, "a switch"},
};

static void settings_from_everywhere(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    char *dir = temp_dir();
    PTL_FREE char *file = ptl_fs_join(dir, "conf");
    const char *text = "# comment\nname = \"from file\"\ncount=4\n";
    assert_int_equal(ptl_fs_write_atomic(file, text, strlen(text), 0600, &err), 0);
    setenv("PORTOLAN_COUNT", "5", 1);
    char wait[] = "--wait", two[] = "2m", on[] = "--on", yes[] = "yes", size[] = "--size=2KiB",
         again[] = "--on", verb[] = "verb";
    char *argv[] = {wait, two, on, yes, size, again, verb};
    struct sample s = {0};
    int at = 0;
    int r = ptl_settings_load(table, PTL_ARRAY_LEN(table), &s, file, 7, argv, &at, &err);
    unsetenv("PORTOLAN_COUNT");
    if (r < 0)
        fail_msg("%s", err.text);
    assert_string_equal(s.name, "from file");
    assert_int_equal(s.count, 5);
    assert_int_equal(s.wait_ms, 120000);
    assert_int_equal(s.size, 2048);
    assert_int_equal(s.on, 1);
    assert_int_equal(at, 6);
    static const struct {
        const char *line, *error;
    } bad[] = {
        {"cuont = 3",   ":1: no setting 'cuont'; did you mean 'count'?"         },
        {"count = 11",  ":1: count = 11: expected a value from 1 to 10"         },
        {"wait = soon", ":1: wait = soon: expected a duration such as 30s or 5m"},
        {"nonsense",    ":1: expected 'name = value'"                           }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        assert_int_equal(ptl_fs_write_atomic(file, bad[i].line, strlen(bad[i].line), 0600, &err), 0);
        assert_true(ptl_settings_load(table, PTL_ARRAY_LEN(table), &s, file, 0, NULL, NULL, &err) < 0);
        if (!strstr(err.text, bad[i].error))
            fail_msg("'%s': got '%s'", bad[i].line, err.text);
    }
    ptl_settings_free(table, PTL_ARRAY_LEN(table), &s);
    remove_dir(dir);
}

static void children_end(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF out = PTL_BUF_MAX(100);
    const char *hello[] = {"sh", "-c", "echo out; echo err >&2; exit 3", NULL};
    assert_int_equal(ptl_proc_capture(hello, 10000, &out, &err), 3);
    assert_non_null(strstr(ptl_buf_str(&out), "out"));
    assert_non_null(strstr(ptl_buf_str(&out), "err"));
    const char *absent[] = {"/nonexistent/program", NULL};
    assert_int_equal(ptl_proc_capture(absent, 1000, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/program"));
    const char *killed[] = {"sh", "-c", "kill -9 $$", NULL};
    assert_int_equal(ptl_proc_capture(killed, 10000, NULL, &err), 256 + SIGKILL);
    const char *endless[] = {"sh", "-c", "trap '' TERM; while :; do sleep 1; done", NULL};
    assert_int_equal(ptl_proc_capture(endless, 100, NULL, &err), -ETIMEDOUT);
    const char *flood[] = {"sh", "-c", "head -c 1000000 /dev/zero", NULL};
    PTL_BUF small = PTL_BUF_MAX(1000);
    assert_int_equal(ptl_proc_capture(flood, 20000, &small, &err), 0);
    assert_true(small.len <= 1000);
}

static void json_errors_name_the_place(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *j = NULL;
    assert_int_equal(ptl_json_parse("{\"a\":1,\"a\":2}", 13, "body", &j, &err), -EINVAL);
    assert_non_null(strstr(err.text, "body: not valid JSON at line 1"));
    assert_int_equal(ptl_json_parse("{\"a\":1}", 7, "body", &j, &err), 0);
    const char *s;
    assert_int_equal(ptl_json_req_str(j, "body", "a", &s, &err), -EINVAL);
    assert_string_equal(err.text, "body.a: expected a string");
    PTL_FREE char *u = ptl_json_text_utf8("a\xff\xc3\xa9\0z", 6);
    assert_string_equal(u, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbdz");
}

/* Deeper than descriptors go, and wide; what cannot be removed keeps nothing else. */
static void trees_of_any_depth_are_removed(void **state PTL_UNUSED)
{
    char *dir = temp_dir();
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 700; i++) {
        assert_int_equal(mkdirat(fd, ".removed-1", 0700), 0); /* a name it may think of itself */
        assert_int_equal(mkdirat(fd, "beside", 0700), 0);
        int file = openat(fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(file >= 0);
        close(file);
        int below = openat(fd, ".removed-1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(below >= 0);
        close(fd);
        fd = below;
    }
    close(fd);
    remove_dir(dir);
}

/* A grandchild outlives its parent and comes to us, as what a killed attempt leaves does. */
static void orphans_are_reaped_and_own_children_stay(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (access("/proc/thread-self/children", R_OK) != 0)
        skip(); /* a kernel without CONFIG_PROC_CHILDREN */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const char *argv[] = {"sh", "-c", "sleep 0.1 & exit 7", NULL};
    struct ptl_proc_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    struct ptl_proc p;
    assert_int_equal(ptl_proc_start(&spec, &p, &err), 0);
    int reaped = 0, status;
    for (int i = 0; i < 3000 && reaped == 0;
         i++) { /* its parent has long ended by then, and is not waited for */
        reaped = ptl_proc_reap_orphans();
        usleep(10000);
    }
    assert_int_equal(reaped, 1);
    assert_int_equal(ptl_proc_wait(&p, 30000, &status), 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(ptl_proc_reap_orphans(), 0);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_clean_and_bounded),
        cmocka_unit_test(globs),
        cmocka_unit_test(trees_of_any_depth_are_removed),
        cmocka_unit_test(nearest_spelling),
        cmocka_unit_test(durations_and_sizes),
        cmocka_unit_test(digests),
        cmocka_unit_test(base64),
        cmocka_unit_test(buffers_have_a_bound),
        cmocka_unit_test(safe_paths),
        cmocka_unit_test(trees),
        cmocka_unit_test(settings_from_everywhere),
        cmocka_unit_test(children_end),
        cmocka_unit_test(orphans_are_reaped_and_own_children_stay),
        cmocka_unit_test(json_errors_name_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
