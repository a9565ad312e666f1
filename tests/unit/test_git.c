/* test_git.c - the parts of daemon/git that need no server: addresses, URLs, .gitmodules, LFS pointers,
 * redaction; and that threads of one process may use one mirror together. The rest is in tests/e2e/git. */
#include "git-private.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <portolan/proc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* ---- URLs ---- */

static void test_url_parts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ptl_git_scheme scheme;
        const char *host, *user;
        unsigned port;
        const char *path, *shown;
    } v[] = {
        {"https://Git.Example.ORG/a/b.git", PTL_GIT_HTTPS, "git.example.org", NULL,  0,    "/a/b.git",
         "https://git.example.org/a/b.git"                                                                                           },
        {"https://u:p@h.org:8443/a%20b/",   PTL_GIT_HTTPS, "h.org",           "u",   8443, "/a b",
         "https://h.org:8443/a%20b"                                                                                                  },
        {"http://[::1]:80/x?t=secret#f",    PTL_GIT_HTTP,  "::1",             NULL,  80,   "/x",             "http://[::1]:80/x"     },
        {"git@h.org:a/b.git",               PTL_GIT_SSH,   "h.org",           "git", 0,    "a/b.git",        "h.org:a/b.git"         },
        {"h.org:~x/b",                      PTL_GIT_SSH,   "h.org",           NULL,  0,    "~x/b",           "h.org:~x/b"            },
        {"ssh://git@h.org:2222/~me/r",      PTL_GIT_SSH,   "h.org",           "git", 2222, "~me/r",          "ssh://h.org:2222/~me/r"},
        {"git+ssh://h.org/r",               PTL_GIT_SSH,   "h.org",           NULL,  0,    "/r",             "ssh://h.org/r"         },
        {"git://h.org/r%27s",               PTL_GIT_GIT,   "h.org",           NULL,  0,    "/r's",           "git://h.org/r%27s"     },
        {"/srv/git/r.git/",                 PTL_GIT_FILE,  NULL,              NULL,  0,    "/srv/git/r.git", "/srv/git/r.git"        },
        {"file:///srv/a%20b",               PTL_GIT_FILE,  NULL,              NULL,  0,    "/srv/a b",       "/srv/a b"              },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        struct git_url u = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        print_message("%s\n", v[i].text);
        assert_int_equal(git_url_parse(v[i].text, &u, &err), 0);
        assert_int_equal(u.scheme, v[i].scheme);
        assert_true(ptl_str_eq(u.host, v[i].host));
        assert_true(ptl_str_eq(u.user, v[i].user));
        assert_int_equal(u.port, v[i].port);
        assert_string_equal(u.path, v[i].path);
        assert_string_equal(u.shown, v[i].shown);
        git_url_done(&u);
    }
}

static void test_url_join(void **state)
{
    (void)state;
    static const struct {
        const char *base, *relative, *want; /* want NULL: refused */
    } v[] = {
        {"https://h/g/app.git",     "../lib.git",    "https://h/g/lib.git"    },
        {"https://h/g/app.git/",    "../lib.git",    "https://h/g/lib.git"    },
        {"https://h/g/app.git",     "../../o/lib",   "https://h/o/lib"        },
        {"https://h/g/app.git",     "./sub",         "https://h/g/app.git/sub"},
        {"https://h/g/app.git",     ".././../x",     "https://h/x"            },
        {"https://h/app",           "../../x",       NULL                     },
        {"https://h/app",           "../",           NULL                     },
        {"https://h",               "../x",          NULL                     },
        {"git@h:g/app.git",         "../lib.git",    "git@h:g/lib.git"        },
        {"git@h:app.git",           "../lib.git",    "git@h:lib.git"          },
        {"git@h:app.git",           "../../lib.git", NULL                     },
        {"/srv/app",                "../lib",        "/srv/lib"               },
        {"/app",                    "../../etc",     NULL                     },
        {"https://u:p@h/g/app?x=1", "../lib",        "https://u:p@h/g/lib"    },
        {"https://h/g/app",         "https://o/x",   "https://o/x"            },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        PTL_FREE char *got = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        print_message("%s + %s\n", v[i].base, v[i].relative);
        int r = git_url_join(v[i].base, v[i].relative, &got, &err);
        if (v[i].want) {
            assert_int_equal(r, 0);
            assert_string_equal(got, v[i].want);
        } else {
            assert_int_equal(r, -EINVAL);
        }
    }
}

static void test_redacted(void **state)
{
    (void)state;
    static const char *const v[][2] = {
        {"https://u:p@h/x",             "https://h/x"  },
        {"https://u:p@q@h/x?token=s#f", "https://h/x"  },
        {"git@h:x",                     "h:x"          },
        {"/srv/x@y",                    "/srv/x@y"     },
        {"https://h/x@y",               "https://h/x@y"},
        {"",                            ""             },
        {"u:p@h:x",                     "h:x"          },
        {"https://u:p@",                "https://"     },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        PTL_FREE char *got = ptl_git_url_redacted(v[i][0]);
        assert_string_equal(got, v[i][1]);
    }
    struct git_op op = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    git_op_secret(&op, "s3cret");
    git_op_secret(&op, "abc"); /* too short to be looked for */
    ptl_error_set(&err, -EIO, "at https://u:s3cret@h/x and s3crets3cret, abc, git://a@b c://d");
    git_op_scrub(&op, &err);
    assert_string_equal(err.text, "at https://h/x and ******, abc, git://b c://d");
    git_op_done(&op);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_public;
    } v[] = {
        {"8.8.8.8",              true },
        {"1.1.1.1",              true },
        {"9.255.255.255",        true },
        {"11.0.0.0",             true },
        {"172.15.255.255",       true },
        {"172.32.0.0",           true },
        {"192.167.255.255",      true },
        {"100.63.255.255",       true },
        {"100.128.0.0",          true },
        {"126.255.255.255",      true },
        {"223.255.255.255",      true },
        {"198.17.255.255",       true },
        {"0.0.0.0",              false},
        {"10.0.0.1",             false},
        {"100.64.0.0",           false},
        {"127.0.0.1",            false},
        {"127.255.255.255",      false},
        {"169.254.169.254",      false},
        {"172.16.0.0",           false},
        {"172.31.255.255",       false},
        {"192.168.0.1",          false},
        {"192.0.2.1",            false},
        {"198.18.0.1",           false},
        {"224.0.0.1",            false},
        {"255.255.255.255",      false},
        {"2606:4700::1111",      true },
        {"2001:4860:4860::8888", true },
        {"::",                   false},
        {"::1",                  false},
        {"::ffff:10.0.0.1",      false},
        {"::ffff:8.8.8.8",       true },
        {"64:ff9b::7f00:1",      false},
        {"64:ff9b::808:808",     true },
        {"fe80::1",              false},
        {"fc00::1",              false},
        {"fd12::1",              false},
        {"ff02::1",              false},
        {"2001:db8::1",          false},
        {"2002:7f00:1::",        false},
        {"2002:808:808::",       true },
        {"2001::1",              false},
        {"100::1",               false},
        {"4000::1",              false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        union {
            struct sockaddr sa;
            struct sockaddr_in v4;
            struct sockaddr_in6 v6;
        } a = {0};
        print_message("%s\n", v[i].text);
        if (inet_pton(AF_INET, v[i].text, &a.v4.sin_addr) == 1)
            a.sa.sa_family = AF_INET;
        else if (inet_pton(AF_INET6, v[i].text, &a.v6.sin6_addr) == 1)
            a.sa.sa_family = AF_INET6;
        assert_int_not_equal(a.sa.sa_family, AF_UNSPEC);
        assert_int_equal(git_address_is_public(&a.sa), v[i].is_public);
    }
}

/* ---- .gitmodules ---- */

static int collect(void *ctx, const char *section, const char *sub, const char *key, const char *value)
{
    return ptl_buf_printf(ctx, "%s|%s|%s=%s\n", section, sub, key, value);
}

static void test_ini(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* want NULL: refused */
    } v[] = {
        {"",                                                      ""                      },
        {"# c\n; d\n\n[a]\n",                                     ""                      },
        {"[submodule \"x/y\"]\n\tpath = x/y\n\tURL = ../z # c\n",
         "submodule|x/y|path=x/y\nsubmodule|x/y|url=../z\n"                               },
        {"[Lfs] url=http://h/x\r\n",                              "lfs||url=http://h/x\n" },
        {"[a \"q\\\"\\\\\"]k=v",                                  "a|q\"\\|k=v\n"         },
        {"[a.B]k=v",                                              "a|b|k=v\n"             },
        {"[a]k = \"v ; x\" ; c\n",                                "a||k=v ; x\n"          },
        {"[a]k = a \" b \" \n",                                   "a||k=a  b \n"          },
        {"[a]k = one\\\n two\nj=1\n",                             "a||k=one two\na||j=1\n"},
        {"[a]k = \\t\\\\\\\"\n",                                  "a||k=\t\\\"\n"         },
        {"[a]flag\n",                                             "a||flag=true\n"        },
        {"\xef\xbb\xbf[a]k=v\n",                                  "a||k=v\n"              },
        {"k=v\n",                                                 "||k=v\n"               },
        {"[a]k=\"x\ny\"\n",                                       NULL                    },
        {"[a]k=\\q\n",                                            NULL                    },
        {"[a\n",                                                  NULL                    },
        {"[]\n",                                                  NULL                    },
        {"[a \"x]\n",                                             NULL                    },
        {"= x\n",                                                 NULL                    },
        {"[a]k=x\\",                                              NULL                    },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        PTL_BUF got = PTL_BUF_INIT;
        struct ptl_error err = PTL_ERROR_INIT;
        print_message("%zu\n", i);
        int r = git_ini_parse(v[i].text, strlen(v[i].text), collect, &got, &err);
        if (v[i].want) {
            assert_int_equal(r, 0);
            assert_string_equal(ptl_buf_str(&got), v[i].want);
        } else {
            assert_int_equal(r, -EINVAL);
            assert_non_null(strstr(err.text, "line "));
        }
    }
}

static void test_lfs_pointers(void **state)
{
    (void)state;
#define OID "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define V   "version https://git-lfs.github.com/spec/v1\n"
    static const struct {
        const char *text;
        bool is;
    } v[] = {
        {V "oid sha256:" OID "\nsize 12345\n",                                      true },
        {V "ext-0-x sha256:" OID "\noid sha256:" OID "\nsize 0\n",                  true },
        {"version https://hawser.github.com/spec/v1\noid sha256:" OID "\nsize 1\n", true },
        {V "oid sha256:" OID "\n",                                                  false},
        {V "size 1\n",                                                              false},
        {V "oid sha256:" OID "\nsize 1",                                            false},
        {V "oid sha256:" OID "\nsize \n",                                           false},
        {V "oid sha256:" OID "\nsize 1x\n",                                         false},
        {V "oid sha256:" OID "\nsize -1\n",                                         false},
        {V "oid sha256:" OID "0\nsize 1\n",                                         false},
        {V "oid md5:" OID "\nsize 1\n",                                             false},
        {V "oid sha256:" OID "\nsize 1111111111111111111\n",                        false},
        {"oid sha256:" OID "\nsize 1\n" V,                                          false},
        {"",                                                                        false},
        {V,                                                                         false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        struct git_lfs_pointer p;
        print_message("%zu\n", i);
        assert_int_equal(git_lfs_parse(v[i].text, strlen(v[i].text), &p), v[i].is);
        if (v[i].is)
            assert_string_equal(p.oid, OID);
    }
    struct git_lfs_pointer p;
    assert_true(git_lfs_parse(v[0].text, strlen(v[0].text), &p));
    assert_int_equal(p.size, 12345);
}

static void test_ssh_quote(void **state)
{
    (void)state;
    static const char *const v[][2] = {
        {"a",              "'a'"             },
        {"it's",           "'it'\\''s'"      },
        {"$(x) `y` \\ \"", "'$(x) `y` \\ \"'"},
        {"a!b",            "'a'\\!'b'"       },
        {"",               "''"              }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        PTL_FREE char *got = git_ssh_quote(v[i][0]);
        assert_string_equal(got, v[i][1]);
    }
}

static void test_ref_names(void **state)
{
    (void)state;
    static const char *const good[] = {"main", "refs/heads/main", "feature/x-1", "v1.0", "a@b", "ümlaut"};
    static const char *const bad[] = {"",   "-x",   "a..b", "a b",  "a\x01",           "a~",  "a^",   "a:b",
                                      "a?", "a*",   "a[",   "a\\b", "a.lock",          "/a",  "a/",   "a//b",
                                      ".a", "a/.b", "a@{b", "a.",   "refs/heads/../x", "a\n", "a\x7f"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(good); i++)
        assert_true(ptl_git_ref_is_valid(good[i]));
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        print_message("%s\n", bad[i]);
        assert_false(ptl_git_ref_is_valid(bad[i]));
    }
    assert_false(ptl_git_ref_is_valid(NULL));
}

/* ---- threads ---- */

static char top[128], source[160], mirror[160];

static void run(const char *script)
{
    PTL_BUF out = PTL_BUF_MAX(65536);
    struct ptl_error err = PTL_ERROR_INIT;
    const char *const argv[] = {"sh", "-ec", script, "sh", source, NULL};
    int r = ptl_proc_capture(argv, 60000, &out, &err);
    if (r != 0)
        print_message("%s\n%s\n", err.text, ptl_buf_str(&out));
    assert_int_equal(r, 0);
}

static const char *roots[] = {top, NULL};
static const struct ptl_git_policy policy = {.schemes = PTL_GIT_FILE, .local_roots = roots};
static const struct ptl_git_access access_ = {.policy = &policy};
static atomic_int failures;
static atomic_bool stop;

static void *fetcher(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_git_fetch_result f = {0};
        if (ptl_git_mirror_fetch(NULL, mirror, source, &access_, &f, &err) < 0) {
            fprintf(stderr, "fetch: %s\n", err.text);
            atomic_fetch_add(&failures, 1);
        }
        ptl_git_fetch_result_done(&f);
    }
    return NULL;
}

static void *reader(void *arg)
{
    PTL_FREE char *out = ptl_xasprintf("%s/%d.zst", top, (int)(intptr_t)arg);
    for (int i = 0; i < 25; i++) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_git_commit c = {0};
        struct ptl_git_snapshot_options o = {.url = source};
        struct ptl_git_snapshot_result s = {0};
        if (ptl_git_resolve(NULL, mirror, "main", &c, &err) < 0 ||
            ptl_git_snapshot(NULL, mirror, c.sha, &o, &access_, out, &s, &err) < 0) {
            fprintf(stderr, "read: %s\n", err.text);
            atomic_fetch_add(&failures, 1);
        }
        ptl_git_commit_done(&c);
        ptl_git_snapshot_result_done(&s);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(top, sizeof(top), "%s/ptl-git-XXXXXX", tmp && strlen(tmp) < 90 ? tmp : "/tmp");
    assert_non_null(mkdtemp(top));
    snprintf(source, sizeof(source), "%s/r.git", top);
    snprintf(mirror, sizeof(mirror), "%s/m.git", top);
    run("git init -q --bare -b main \"$1\" && cd \"$1\" && git config gc.auto 0 && git config user.name x && git config user.email x@y &&"
        "t=$(echo hello | git hash-object -w --stdin) && t=$(printf '100644 blob %s\\ta\\n' $t | git mktree) &&"
        "git update-ref refs/heads/main $(git commit-tree $t -m one)");
    struct ptl_git_fetch_result f = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_git_mirror_fetch(NULL, mirror, source, &access_, &f, &err), 0);
    assert_true(f.created);
    ptl_git_fetch_result_done(&f);
    pthread_t t[5];
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&t[i], NULL, i < 2 ? fetcher : reader, (void *)(intptr_t)i), 0);
    for (int i = 0; i < 10; i++)
        run("cd \"$1\" && git update-ref refs/heads/main $(git commit-tree main^{tree} -p main -m more) && git repack -q -ad");
    for (int i = 2; i < 5; i++)
        pthread_join(t[i], NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(ptl_fs_remove_tree(top, &err), 0);
}

/* ---- what changed between two commits ---- */

static int rank_of(const char *path)
{
    return ptl_str_eq(path, ".portolan.yml") ? 0
           : ptl_str_ends(path, ".txt")      ? 1
           : ptl_str_ends(path, ".no")       ? 100
                                             : 50;
}

static bool in_order(const char *text, const char *const *parts)
{
    for (size_t i = 0; parts[i]; i++) {
        const char *at = strstr(text, parts[i]);
        if (!at) {
            print_message("not there, or too early: %s in\n%s\n", parts[i], text);
            return false;
        }
        text = at + strlen(parts[i]);
    }
    return true;
}

static void test_diff(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_git_commit before = {0}, after = {0};
    size_t cut = 0;
    snprintf(top, sizeof(top), "%s/ptl-git-XXXXXX", tmp && strlen(tmp) < 90 ? tmp : "/tmp");
    assert_non_null(mkdtemp(top));
    snprintf(source, sizeof(source), "%s/r", top);
    snprintf(mirror, sizeof(mirror), "%s/m.git", top);
    run("git init -q -b main \"$1\" && cd \"$1\" && git config user.name x && git config user.email x@y &&"
        "v=version\\ https://git-lfs.github.com/spec/v1; o=4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393;"
        "echo model: a > .portolan.yml; echo keras==3.0 > b.txt; echo 'print(1)' > a.py; head -c 5000 /dev/zero > weights.bin; echo x > left.no;"
        "printf '%s\\noid sha256:%s\\nsize 12345\\n' \"$v\" $o > big.h5; cp big.h5 gone.h5; echo plain > turned.h5; seq 1 3000 > long.csv;"
        "git add -A && git commit -qm one && git tag one;"
        "echo model: b > .portolan.yml; echo keras==3.1 > b.txt; echo 'print(2)' > a.py; head -c 6000 /dev/zero > weights.bin; echo y > left.no;"
        "n=$(echo $o | tr 4 5); printf '%s\\noid sha256:%s\\nsize 999\\n' \"$v\" $n > big.h5; git rm -q gone.h5; cp big.h5 turned.h5; cp big.h5 fresh.h5;"
        "seq 3001 6000 > long.csv; printf 'd' > \"$(printf 'a\\nb.py')\"; git add -A && git commit -qm two && git tag two");
    struct ptl_git_fetch_result f = {0};
    assert_int_equal(ptl_git_mirror_fetch(NULL, mirror, source, &access_, &f, &err), 0);
    ptl_git_fetch_result_done(&f);
    assert_int_equal(ptl_git_resolve(NULL, mirror, "one", &before, &err), 0);
    assert_int_equal(ptl_git_resolve(NULL, mirror, "two", &after, &err), 0);

    /* the whole of it, lowest rank first, then by name; what no reader can use is named */
    PTL_BUF all = PTL_BUF_MAX(1 << 20);
    assert_int_equal(
        ptl_git_diff(NULL, mirror, before.sha, after.sha, rank_of, 1 << 20, 1 << 20, &all, &cut, &err), 0);
    static const char *const order[] = {"a/.portolan.yml",
                                        "-model: a",
                                        "+model: b",
                                        "a/b.txt",
                                        "+keras==3.1",
                                        "a/a.py",
                                        "-print(1)",
                                        "+print(2)",
                                        "a/big.h5",
                                        "LFS objects 4d7a214614ab (12345 bytes) and 5d7a21561",
                                        " (999 bytes) differ",
                                        "a/fresh.h5",
                                        "new LFS object 5d7a",
                                        "a/gone.h5",
                                        "deleted LFS object 4d7a",
                                        "a/long.csv",
                                        "a/turned.h5",
                                        "now the LFS object 5d7a",
                                        "weights.bin",
                                        "Binary files",
                                        NULL};
    assert_true(in_order(ptl_buf_str(&all), order));
    assert_int_equal(cut, 0);
    static const char *const never[] = {"oid sha256", "left.no", "git-lfs.github.com", "a/a\nb.py", NULL};
    for (size_t i = 0; never[i]; i++)
        assert_null(strstr(ptl_buf_str(&all), never[i]));

    /* bounded in files: the long one is cut at a line's end, and told */
    PTL_BUF some = PTL_BUF_MAX(1 << 20);
    assert_int_equal(
        ptl_git_diff(NULL, mirror, before.sha, after.sha, rank_of, 600, 1 << 20, &some, &cut, &err), 0);
    assert_int_equal(cut, 1);
    assert_true(some.len < 6000 && strstr(ptl_buf_str(&some), "weights.bin") &&
                some.data[some.len - 1] == '\n');

    /* and in all: what comes first is there, the rest is counted */
    PTL_BUF few = PTL_BUF_MAX(1 << 20);
    assert_int_equal(
        ptl_git_diff(NULL, mirror, before.sha, after.sha, rank_of, 1 << 20, 300, &few, &cut, &err), 0);
    assert_true(few.len <= 300 && strstr(ptl_buf_str(&few), "+model: b") &&
                !strstr(ptl_buf_str(&few), "weights.bin"));
    assert_true(cut >= 8);

    /* nothing to compare with */
    PTL_BUF none = PTL_BUF_MAX(1 << 20);
    assert_int_equal(ptl_git_diff(NULL, mirror, "0123456789012345678901234567890123456789", after.sha,
                                  rank_of, 1 << 20, 1 << 20, &none, &cut, &err),
                     PTL_ABSENT);
    assert_int_equal(
        ptl_git_diff(NULL, mirror, NULL, after.sha, rank_of, 1 << 20, 1 << 20, &none, NULL, &err),
        PTL_ABSENT);
    assert_true(ptl_git_diff(NULL, mirror, before.sha, "0123456789012345678901234567890123456789", rank_of,
                             1 << 20, 1 << 20, &none, NULL, &err) < 0);
    assert_int_equal(
        ptl_git_diff(NULL, mirror, after.sha, after.sha, rank_of, 1 << 20, 1 << 20, &none, &cut, &err), 0);
    assert_int_equal(none.len, 0);
    atomic_bool cancelled = true;
    struct ptl_git_call gone = {.cancelled = &cancelled};
    assert_int_equal(
        ptl_git_diff(&gone, mirror, before.sha, after.sha, rank_of, 1 << 20, 1 << 20, &none, NULL, &err),
        -ECANCELED);
    ptl_git_commit_done(&before);
    ptl_git_commit_done(&after);
    assert_int_equal(ptl_fs_remove_tree(top, &err), 0);
}

/* ---- limits of a call ---- */

static void test_call_limits(void **state)
{
    (void)state;
    atomic_bool cancelled = true;
    struct ptl_git_call late = {.deadline_mono_ms = 1}, gone = {.cancelled = &cancelled};
    struct ptl_error err = PTL_ERROR_INIT;
    struct git_op op;
    git_op_init(&op, &late, NULL);
    assert_int_equal(git_op_check(&op, "x", &err), -ETIMEDOUT);
    assert_int_equal(git_op_tick(&op), 0);
    git_op_init(&op, &gone, NULL);
    assert_int_equal(git_op_check(&op, "x", &err), -ECANCELED);
    git_op_init(&op, NULL, NULL);
    assert_int_equal(git_op_check(&op, "x", &err), 0);
    assert_int_equal(git_op_tick(&op), GIT_TICK_MS);
}

static int group_setup(void **state)
{
    (void)state;
    struct ptl_error err = PTL_ERROR_INIT;
    return ptl_git_init(0, &err);
}

static int group_teardown(void **state)
{
    (void)state;
    ptl_git_shutdown();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_parts),   cmocka_unit_test(test_url_join),
        cmocka_unit_test(test_redacted),    cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_ini),         cmocka_unit_test(test_lfs_pointers),
        cmocka_unit_test(test_ssh_quote),   cmocka_unit_test(test_ref_names),
        cmocka_unit_test(test_call_limits), cmocka_unit_test(test_diff),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
