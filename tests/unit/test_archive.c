/* test_archive.c - what goes in comes out the same, the same content is the same file, and a hostile archive
 * changes nothing outside of its directory and is refused with the entry named. Hostile archives are written
 * here byte by byte, because the writer under test refuses to make them. */
#include <portolan/archive.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <zstd.h>
#include <cmocka.h>

static char top[256]; /* fresh for each test: top/out is extracted into, top/canary must not change */

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(top, sizeof(top), "%s/ptl-archive-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(top))
        return -1;
    PTL_FREE char *out = ptl_fs_join(top, "out");
    PTL_FREE char *canary = ptl_fs_join(top, "canary");
    if (mkdir(out, 0755) < 0)
        return -1;
    return ptl_fs_write_atomic(canary, "alive", 5, 0644, NULL);
}

static int teardown(void **state)
{
    (void)state;
    return ptl_fs_remove_tree(top, NULL);
}

static char *at(const char *rel)
{
    return ptl_fs_join(top, rel);
}

static void assert_file(const char *rel, const char *want)
{
    PTL_FREE char *path = at(rel);
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(path, 1 << 20, &b, NULL), 0);
    assert_string_equal(ptl_buf_str(&b), want);
}

/* ---- hand-made tar ---- */

struct tar {
    char name[512];   /* "" ends a list */
    char type;        /* '0' file '1' hard link '2' link '3' char device '5' directory '6' fifo */
    const char *data; /* content, or target of a link */
    unsigned mode;
};

static void tar_header(struct ptl_buf *b, const struct tar *e)
{
    char h[512] = {0};
    bool link = e->type == '1' || e->type == '2';
    size_t len = link || !e->data ? 0 : strlen(e->data);
    memcpy(h, e->name, strnlen(e->name, 100));
    snprintf(h + 100, 8, "%07o", (e->mode ? e->mode : 0644) & 07777);
    snprintf(h + 108, 8, "%07o", 0u);
    snprintf(h + 116, 8, "%07o", 0u);
    snprintf(h + 124, 12, "%011o", (unsigned)len);
    snprintf(h + 136, 12, "%011o", 0u);
    memset(h + 148, ' ', 8);
    h[156] = e->type;
    if (link)
        memcpy(h + 157, e->data, strnlen(e->data, 100));
    memcpy(h + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(h); i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    ptl_buf_add(b, h, sizeof(h));
    if (len) {
        static const char zeros[512];
        ptl_buf_add(b, e->data, len);
        ptl_buf_add(b, zeros, (512 - len % 512) % 512);
    }
}

static void tar_make(struct ptl_buf *b, const struct tar *entries, bool trailer)
{
    static const char zeros[1024];
    for (; entries->name[0]; entries++)
        tar_header(b, entries);
    if (trailer)
        ptl_buf_add(b, zeros, sizeof(zeros));
}

static void save(const char *rel, const void *data, size_t len, bool zstd)
{
    PTL_FREE char *path = at(rel);
    if (!zstd) {
        assert_int_equal(ptl_fs_write_atomic(path, data, len, 0644, NULL), 0);
        return;
    }
    size_t cap = ZSTD_compressBound(len);
    PTL_FREE char *packed = malloc(cap);
    size_t n = ZSTD_compress(packed, cap, data, len, 3);
    assert_false(ZSTD_isError(n));
    assert_int_equal(ptl_fs_write_atomic(path, packed, n, 0644, NULL), 0);
}

static int extract(const char *rel, const struct ptl_archive_limits *limits, struct ptl_error *err)
{
    PTL_FREE char *archive = at(rel);
    PTL_FREE char *out = at("out");
    return ptl_archive_extract(archive, out, limits, err);
}

/* ---- there and back ---- */

static void write_sample(const char *rel)
{
    PTL_FREE char *path = at(rel);
    PTL_FREE char *from = at("from");
    struct ptl_archive_writer *w = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_fs_write_atomic(from, "from a file\n", 12, 0600, NULL), 0);
    assert_int_equal(ptl_archive_writer_new(path, &w, &err), 0);
    assert_int_equal(ptl_archive_add_data(w, "a.txt", false, "hello", 5, &err), 0);
    assert_int_equal(ptl_archive_add_data(w, "a/b", true, "#!/bin/sh\n", 10, &err), 0);
    assert_int_equal(ptl_archive_add_link(w, "a/link", "../a.txt", &err), 0);
    assert_int_equal(ptl_archive_add_data(w, "empty", false, NULL, 0, &err), 0);
    assert_int_equal(ptl_archive_add_file(w, "file", false, from, &err), 0);
    assert_int_equal(ptl_archive_add_data(w, "odd \n\\ \xc3\xa4 \xff name", false, "odd", 3, &err), 0);
    char longer[300];
    memset(longer, 'x', sizeof(longer));
    memcpy(longer + 100, "/", 1);
    memcpy(longer + 200, "/", 1);
    longer[299] = '\0';
    assert_int_equal(ptl_archive_add_data(w, longer, false, "long", 4, &err), 0);
    assert_int_equal(ptl_archive_writer_close(w, &err), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    write_sample("s.tar.zst");
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(extract("s.tar.zst", NULL, &err), 0);
    assert_file("out/a.txt", "hello");
    assert_file("out/a/link", "hello");
    assert_file("out/empty", "");
    assert_file("out/file", "from a file\n");
    assert_file("out/odd \n\\ \xc3\xa4 \xff name", "odd");
    struct stat st;
    PTL_FREE char *exec = at("out/a/b");
    assert_int_equal(stat(exec, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    PTL_FREE char *plain = at("out/a.txt");
    assert_int_equal(stat(plain, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_same_content_same_bytes(void **state)
{
    (void)state;
    char one[PTL_SHA256_HEX], two[PTL_SHA256_HEX];
    write_sample("1.tar.zst");
    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    mode_t before = umask(0077);
    write_sample("2.tar.zst");
    umask(before);
    PTL_FREE char *p1 = at("1.tar.zst");
    PTL_FREE char *p2 = at("2.tar.zst");
    assert_int_equal(ptl_sha256_file(p1, one, NULL, NULL), 0);
    assert_int_equal(ptl_sha256_file(p2, two, NULL, NULL), 0);
    assert_string_equal(one, two);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *label, *path, *target;
    } bad[] = {
        {"absolute",           "/etc/passwd", NULL         },
        {"parent",             "../x",        NULL         },
        {"inner parent",       "a/../x",      NULL         },
        {"dot",                "./x",         NULL         },
        {"empty part",         "a//x",        NULL         },
        {"trailing slash",     "a/",          NULL         },
        {"empty",              "",            NULL         },
        {"link out",           "l",           "../x"       },
        {"link absolute",      "l",           "/etc/passwd"},
        {"link up twice",      "a/l",         "../.."      },
        {"link empty",         "l",           ""           },
        {"link through names", "l",           "a/../b"     },
        {"before the last",    "a",           NULL         },
        {"same as the last",   "b",           NULL         },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        PTL_FREE char *path = at("w.tar.zst");
        struct ptl_archive_writer *w = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        print_message("%s\n", bad[i].label);
        assert_int_equal(ptl_archive_writer_new(path, &w, &err), 0);
        assert_int_equal(ptl_archive_add_data(w, "b", false, "x", 1, &err), 0);
        int r = bad[i].target ? ptl_archive_add_link(w, bad[i].path, bad[i].target, &err)
                              : ptl_archive_add_data(w, bad[i].path, false, "x", 1, &err);
        assert_int_equal(r, -EINVAL);
        ptl_archive_writer_abort(w);
        assert_false(ptl_fs_exists(path));
    }
}

static void test_links(void **state)
{
    (void)state;
    static const struct {
        const char *path, *target;
        bool inside;
    } v[] = {
        {"l",     "a",           true },
        {"a/l",   "../b",        true },
        {"a/b/l", "../../c",     true },
        {"l",     "./a/./b",     true },
        {"l",     "..",          false},
        {"a/l",   "../..",       false},
        {"l",     "/a",          false},
        {"l",     "",            false},
        {"a/b/p", "..",          true },
        {"q",     "a/b/p/../..", false},
        {"l",     "a/..",        false},
        {"l",     "a//b",        true },
        {"a/l",   "./../b",      true },
        {"a/l",   "..//..//x",   false},
        {"d/q",   "p/../../x",   false},
        {"d/q",   "a/../b",      false},
        {"l",     "...",         true },
        {"l",     "..a",         true },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        print_message("%s -> %s\n", v[i].path, v[i].target);
        assert_int_equal(ptl_archive_link_stays_inside(v[i].path, v[i].target), v[i].inside);
    }
}

/* ---- hostile ---- */

static const struct hostile {
    const char *label;
    struct tar e[4];
    int code;
    const char *says; /* in the sentence */
} hostile[] = {
    {"parent",             {{"../canary", '0', "dead", 0}},                                -EINVAL, "../canary"    },
    {"inner parent",       {{"a/../../canary", '0', "dead", 0}},                           -EINVAL, "canary"       },
    {"absolute",           {{"/tmp/ptl-absolute", '0', "dead", 0}},                        -EINVAL, "/tmp"         },
    {"link out",           {{"l", '2', "../canary", 0}},                                   -EINVAL, "\"l\""        },
    {"link absolute",      {{"l", '2', "/etc/passwd", 0}},                                 -EINVAL, "\"l\""        },
    {"link, then through",
     {{"l", '2', "d", 0}, {"d", '5', NULL, 0}, {"l/x", '0', "dead", 0}},
     -EINVAL,
     "l/x"                                                                                                         },
    {"link, then over",    {{"l", '2', "x", 0}, {"l", '0', "dead", 0}},                    -EINVAL, "there already"},
    {"file, then below",   {{"f", '0', "x", 0}, {"f/x", '0', "dead", 0}},                  -EINVAL, "f/x"          },
    {"file twice",         {{"f", '0', "x", 0}, {"f", '0', "y", 0}},                       -EINVAL, "there already"},
    {"directory link",     {{"d", '5', NULL, 0}, {"l", '2', "d", 0}, {"l", '5', NULL, 0}}, -EINVAL, "\"l\""        },
    {"chain of links",     {{"a/p", '2', "..", 0}, {"q", '2', "a/p/../canary", 0}},        -EINVAL, "\"q\""        },
    {"hard link out",      {{"h", '1', "../canary", 0}},                                   -EINVAL, "hard link"    },
    {"hard link in",       {{"f", '0', "x", 0}, {"h", '1', "f", 0}},                       -EINVAL, "hard link"    },
    {"device",             {{"null", '3', NULL, 0}},                                       -EINVAL, "device"       },
    {"fifo",               {{"pipe", '6', NULL, 0}},                                       -EINVAL, "fifo"         },
    {"directory parent",   {{"../d", '5', NULL, 0}},                                       -EINVAL, "../d"         },
    {"dot dot",            {{"..", '5', NULL, 0}},                                         -EINVAL, "\"..\""       },
    {"empty part",         {{"a//b", '0', "x", 0}},                                        -EINVAL, "a//b"         },
};

static void test_hostile(void **state)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(hostile); i++)
        for (int zstd = 0; zstd < 2; zstd++) {
            struct ptl_error err = PTL_ERROR_INIT;
            PTL_BUF b = PTL_BUF_INIT;
            print_message("%s%s\n", hostile[i].label, zstd ? " (zstd)" : "");
            tar_make(&b, hostile[i].e, true);
            save("h.tar", b.data, b.len, zstd);
            assert_int_equal(extract("h.tar", NULL, &err), hostile[i].code);
            assert_non_null(strstr(err.text, hostile[i].says));
            assert_file("canary", "alive");
            assert_false(ptl_fs_exists("/tmp/ptl-absolute"));
            assert_int_equal(teardown(state), 0);
            assert_int_equal(setup(state), 0);
        }
}

/* Links that an earlier program left in the directory are not followed either. */
static void test_planted_link(void **state)
{
    (void)state;
    static const struct tar e[] = {
        {"sub/canary", '0', "dead", 0},
        {"",           0,   NULL,   0}
    };
    PTL_FREE char *sub = at("out/sub");
    assert_int_equal(symlink("..", sub), 0);
    PTL_BUF b = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    tar_make(&b, e, true);
    save("h.tar", b.data, b.len, false);
    assert_int_equal(extract("h.tar", NULL, &err), -EINVAL);
    assert_file("canary", "alive");
}

static void test_modes_and_directories(void **state)
{
    (void)state;
    static const struct tar e[] = {
        {"./",       '5', NULL, 0755 },
        {"./d/",     '5', NULL, 0777 },
        {"./d/suid", '0', "x",  06755},
        {"",         0,   NULL, 0    }
    };
    PTL_BUF b = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    struct stat st;
    tar_make(&b, e, true);
    save("m.tar", b.data, b.len, false);
    assert_int_equal(extract("m.tar", NULL, &err), 0);
    PTL_FREE char *path = at("out/d/suid");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_damaged(void **state)
{
    (void)state;
    static const struct tar e[] = {
        {"a", '0', "aaaa", 0},
        {"b", '0', "bbbb", 0},
        {"",  0,   NULL,   0}
    };
    PTL_BUF b = PTL_BUF_INIT;
    tar_make(&b, e, true);
    write_sample("whole.tar.zst");
    PTL_BUF z = PTL_BUF_INIT;
    PTL_FREE char *whole = at("whole.tar.zst");
    assert_int_equal(ptl_fs_read(whole, 1 << 20, &z, NULL), 0);
    struct ptl_error err = PTL_ERROR_INIT;

    /* Cut at every byte: never accepted, never outside. The plain one is cut at 100 places, borders included.
     */
    for (size_t n = 0; n < z.len; n += 7) {
        save("cut", z.data, n, false);
        assert_true(extract("cut", NULL, &err) < 0);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
    for (size_t n = 0; n <= 2048; n += 128) {
        save("cut", b.data, n, false);
        assert_true(extract("cut", NULL, &err) < 0);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
    static const char noise[] = "\x28\xb5\x2f\xfd this is not zstd at all";
    static const char zip[] = "PK\x03\x04 a zip would need another reader";
    static const char gz[] = "\x1f\x8b\x08 nor is gzip known";
    save("noise", noise, sizeof(noise), false);
    assert_int_equal(extract("noise", NULL, &err), -EBADMSG);
    save("zip", zip, sizeof(zip), false);
    assert_int_equal(extract("zip", NULL, &err), -EBADMSG);
    save("gz", gz, sizeof(gz), false);
    assert_int_equal(extract("gz", NULL, &err), -EBADMSG);
    assert_int_equal(extract("absent", NULL, &err), -ENOENT);
    assert_int_equal(extract("out", NULL, &err), -EINVAL); /* a directory */
}

static void test_limits(void **state)
{
    (void)state;
    static const struct tar e[] = {
        {"a", '0', "aaaa", 0},
        {"b", '0', "bbbb", 0},
        {"",  0,   NULL,   0}
    };
    PTL_BUF b = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    tar_make(&b, e, true);
    save("l.tar", b.data, b.len, false);
    struct ptl_archive_limits bytes = {.max_bytes = 7}, files = {.max_files = 1},
                              fits = {.max_bytes = 8, .max_files = 2};
    assert_int_equal(extract("l.tar", &bytes, &err), -E2BIG);
    assert_non_null(strstr(err.text, "\"b\""));
    assert_int_equal(teardown(state), 0);
    assert_int_equal(setup(state), 0);
    save("l.tar", b.data, b.len, false);
    assert_int_equal(extract("l.tar", &files, &err), -E2BIG);
    assert_int_equal(teardown(state), 0);
    assert_int_equal(setup(state), 0);
    save("l.tar", b.data, b.len, false);
    assert_int_equal(extract("l.tar", &fits, &err), 0);
}

/* 80 MiB of zeros in a few kilobytes: refused by its ratio, and before the disk has it. */
static void test_bomb(void **state)
{
    (void)state;
    size_t len = 80u << 20;
    PTL_FREE char *zeros = calloc(1, len);
    PTL_FREE char *path = at("bomb.tar.zst");
    struct ptl_archive_writer *w = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_archive_writer_new(path, &w, &err), 0);
    assert_int_equal(ptl_archive_add_data(w, "zeros", false, zeros, len, &err), 0);
    assert_int_equal(ptl_archive_writer_close(w, &err), 0);
    assert_int_equal(extract("bomb.tar.zst", NULL, &err), -E2BIG);
    struct ptl_archive_limits generous = {.max_ratio = 1000000};
    assert_int_equal(extract("bomb.tar.zst", &generous, &err), 0);
}

static void test_file_that_shrinks_is_told(void **state)
{
    (void)state;
    PTL_FREE char *path = at("w.tar.zst");
    PTL_FREE char *dir = at("out");
    struct ptl_archive_writer *w = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_archive_writer_new(path, &w, &err), 0);
    assert_int_equal(ptl_archive_add_file(w, "d", false, dir, &err), -EINVAL);
    assert_int_equal(ptl_archive_add_file(w, "n", false, "/nonexistent/x", &err), -ENOENT);
    assert_int_equal(ptl_archive_add_data(w, "x", false, "x", 1, &err), 0);
    assert_int_equal(ptl_archive_writer_close(w, &err), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_round_trip),
        T(test_same_content_same_bytes),
        T(test_writer_refuses),
        T(test_links),
        T(test_hostile),
        T(test_planted_link),
        T(test_modes_and_directories),
        T(test_damaged),
        T(test_limits),
        T(test_bomb),
        T(test_file_that_shrinks_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
