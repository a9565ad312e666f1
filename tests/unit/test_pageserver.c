/* test_pageserver.c - the page server from outside, by libcurl over loopback: what it serves, what it must
 * never serve, what it takes back and within which bounds, and its fault switches. */
#include <pageserver.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <portolan/buf.h>
#include <portolan/fs.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

struct answer {
    long status;
    struct ptl_buf headers, body;
};
static void answer_done(struct answer *a)
{
    ptl_buf_done(&a->headers);
    ptl_buf_done(&a->body);
}
#define ANSWER PTL_CLEANUP(answer_done) struct answer

struct events {
    pthread_mutex_t lock;
    unsigned events, refused;
    char last[70000], last_refused[600];
};
static char dir[64];
static struct events seen;
static struct ptl_pageserver *server;

static size_t take(char *data, size_t size, size_t n, void *ctx)
{
    return ptl_buf_add(ctx, data, size * n) < 0 ? 0 : size * n;
}

static void on_event(void *ctx, const char *text, size_t len)
{
    struct events *e = ctx;
    pthread_mutex_lock(&e->lock);
    e->events++;
    assert_true(len < sizeof(e->last) && strlen(text) == len);
    memcpy(e->last, text, len + 1);
    pthread_mutex_unlock(&e->lock);
}
static void on_refused(void *ctx, const char *line)
{
    struct events *e = ctx;
    pthread_mutex_lock(&e->lock);
    e->refused++;
    snprintf(e->last_refused, sizeof(e->last_refused), "%s", line);
    pthread_mutex_unlock(&e->lock);
}

static void put(const char *path, const char *text, size_t len)
{
    PTL_FREE char *full = ptl_fs_join(dir, path);
    PTL_FREE char *parent = ptl_xstrdup(full);
    *strrchr(parent, '/') = 0;
    assert_int_equal(ptl_fs_mkdirs(parent, 0755, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(full, text, len, 0644, NULL), 0);
}
#define PUT(path, text) put(path, text, strlen(text))

static void start(struct ptl_pageserver_spec *spec)
{
    static char recipe[96], model[96], got[96];
    snprintf(recipe, sizeof(recipe), "%s/recipe", dir);
    snprintf(model, sizeof(model), "%s/model", dir);
    snprintf(got, sizeof(got), "%s/got", dir);
    const struct ptl_pageserver_root roots[] = {
        {"recipe", recipe},
        {"model",  model },
        {NULL,     NULL  }
    };
    static const struct ptl_pageserver_asset assets[] = {
        {"portolan/harness.mjs", "export {}", 9},
        {NULL,                   NULL,        0}
    };
    struct ptl_error err = PTL_ERROR_INIT;
    spec->token = "tok-en_1";
    spec->roots = roots;
    spec->assets = assets;
    spec->got_dir = got;
    spec->on_event = on_event;
    spec->on_refused = on_refused;
    spec->ctx = &seen;
    if (ptl_pageserver_start(spec, &server, &err) != 0)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/ptl-page-XXXXXX");
    assert_non_null(mkdtemp(dir));
    PUT("recipe/page.html", "<html>");
    PUT("recipe/run.mjs", "export const x = 1;");
    PUT("recipe/lib/a b.js", "spaces");
    PUT("recipe/empty.json", "");
    PUT("recipe/r.wasm", "\1asm");
    PUT("secret", "not for the page");
    PUT("model/model.json", "{}");
    for (int i = 1; i <= 12; i++) {
        char name[64];
        snprintf(name, sizeof(name), "model/group1-shard%dof12.bin", i);
        put(name, "0123456789", 10);
    }
    PUT("got/.keep", "");
    PTL_FREE char *out = ptl_fs_join(dir, "recipe/out.json"), *in = ptl_fs_join(dir, "recipe/in.mjs");
    PTL_FREE char *folder = ptl_fs_join(dir, "recipe/up");
    assert_int_equal(symlink("../secret", out), 0);
    assert_int_equal(symlink("run.mjs", in), 0);
    assert_int_equal(symlink("..", folder), 0);
    seen = (struct events){0};
    pthread_mutex_init(&seen.lock, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server = ptl_pageserver_free(server);
    pthread_mutex_destroy(&seen.lock);
    return ptl_fs_remove_tree(dir, NULL);
}

/* One request; `path` is sent as it is, behind "/TOKEN/" unless it begins with '/'. */
static void ask(const char *method, const char *path, const char *header, const void *body, size_t len,
                struct answer *ret)
{
    PTL_FREE char *url =
        path[0] == '/' ? ptl_xasprintf("http://127.0.0.1:%u%s", ptl_pageserver_port(server), path)
                       : ptl_xasprintf("http://127.0.0.1:%u/tok-en_1/%s", ptl_pageserver_port(server), path);
    CURL *e = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (header)
        headers = curl_slist_append(headers, header);
    *ret = (struct answer){0};
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, &ret->body);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, &ret->headers);
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    } else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
    }
    curl_easy_perform(e);
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &ret->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(e);
}
static void get(const char *path, struct answer *ret)
{
    ask("GET", path, NULL, NULL, 0, ret);
}

static void expect_header(const struct answer *a, const char *line)
{
    if (!strcasestr(ptl_buf_str(&a->headers), line))
        fail_msg("no \"%s\" in:\n%s", line, ptl_buf_str(&a->headers));
}

/* ---- serving ---- */

static void test_files_and_types(void **state)
{
    (void)state;
    static const struct {
        const char *path, *type, *body;
    } cases[] = {
        {"recipe/page.html",            "text/html; charset=utf-8",       "<html>"             },
        {"recipe/run.mjs",              "text/javascript; charset=utf-8", "export const x = 1;"},
        {"recipe/in.mjs",               "text/javascript; charset=utf-8", "export const x = 1;"},
        {"recipe/lib/a%20b.js",         "text/javascript; charset=utf-8", "spaces"             },
        {"recipe/empty.json",           "application/json",               ""                   },
        {"recipe/r.wasm",               "application/wasm",               "\1asm"              },
        {"portolan/harness.mjs",        "text/javascript; charset=utf-8", "export {}"          },
        {"model/model.json?x=1#y",      "application/json",               "{}"                 },
        {"model/group1-shard1of12.bin", "application/octet-stream",       "0123456789"         },
    };
    start(&(struct ptl_pageserver_spec){0});
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        ANSWER a;
        get(cases[i].path, &a);
        if (a.status != 200 || strcmp(ptl_buf_str(&a.body), cases[i].body) != 0)
            fail_msg("%s: %ld %s", cases[i].path, a.status, ptl_buf_str(&a.body));
        PTL_FREE char *type = ptl_xasprintf("Content-Type: %s\r\n", cases[i].type);
        expect_header(&a, type);
        expect_header(&a, "Cross-Origin-Opener-Policy: same-origin\r\n");
        expect_header(&a, "Cross-Origin-Embedder-Policy: require-corp\r\n");
        expect_header(&a, "X-Content-Type-Options: nosniff\r\n");
        expect_header(&a, "Cache-Control: no-store\r\n");
    }
    ANSWER icon;
    get("/favicon.ico", &icon);
    assert_int_equal(icon.status, 204);
    assert_int_equal(seen.refused, 0);
}

static void test_nothing_else_is_served(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "secret",
        "recipe",
        "recipe/",
        "recipe/lib",
        "recipe/lib/",
        "recipe/absent.js",
        "nothing/page.html",
        "recipe//page.html",
        "recipe/../secret",
        "recipe/%2e%2e/secret",
        "recipe/..%2fsecret",
        "recipe/%2e%2e%2fsecret",
        "recipe/lib/../../secret",
        "recipe/./page.html",
        "recipe/out.json",
        "recipe/up/secret",
        "recipe/up/recipe/page.html",
        "recipe/..\\secret",
        "recipe/page.html%00.mjs",
        "recipe/page.html/",
        "recipe/%2fetc/passwd",
        "recipe//etc/passwd",
        "portolan/early.js",
        "portolan/",
        "",
        "got/.keep",
        "/",
        "/recipe/page.html",
        "/tok-en_2/recipe/page.html",
        "/tok-en_1recipe/page.html",
        "/tok-en_1",
        "/%74ok-en_1x/recipe/page.html",
        "/../tok-en_1/recipe/page.html",
    };
    start(&(struct ptl_pageserver_spec){0});
    for (size_t i = 0; i < PTL_ARRAY_LEN(paths); i++) {
        ANSWER a;
        get(paths[i], &a);
        if (a.status != 404 && a.status != 400)
            fail_msg("\"%s\": %ld %s", paths[i], a.status, ptl_buf_str(&a.body));
        assert_null(strstr(ptl_buf_str(&a.body), "not for the page"));
    }
}

static void test_head_and_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        long status;
        const char *body, *content_range;
    } cases[] = {
        {"Range: bytes=2-5",                      206, "2345",       "bytes 2-5/10"},
        {"Range: bytes=8-",                       206, "89",         "bytes 8-9/10"},
        {"Range: bytes=-3",                       206, "789",        "bytes 7-9/10"},
        {"Range: bytes=-99",                      206, "0123456789", "bytes 0-9/10"},
        {"Range: bytes=0-99",                     206, "0123456789", "bytes 0-9/10"},
        {"Range: bytes=9-9",                      206, "9",          "bytes 9-9/10"},
        {"Range: bytes=10-",                      416, NULL,         "bytes */10"  },
        {"Range: bytes=-0",                       416, NULL,         "bytes */10"  },
        {"Range: bytes=5-2",                      200, "0123456789", NULL          },
        {"Range: bytes=0-1,4-5",                  200, "0123456789", NULL          },
        {"Range: bytes=x-1",                      200, "0123456789", NULL          },
        {"Range: bytes=1-x",                      200, "0123456789", NULL          },
        {"Range: bytes=",                         200, "0123456789", NULL          },
        {"Range: bytes=-",                        200, "0123456789", NULL          },
        {"Range: lines=1-2",                      200, "0123456789", NULL          },
        {"Range: bytes=99999999999999999999999-", 200, "0123456789", NULL          },
    };
    start(&(struct ptl_pageserver_spec){0});
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        ANSWER a;
        ask("GET", "model/group1-shard3of12.bin", cases[i].range, NULL, 0, &a);
        if (a.status != cases[i].status ||
            (cases[i].body && strcmp(ptl_buf_str(&a.body), cases[i].body) != 0))
            fail_msg("%s: %ld \"%s\"", cases[i].range, a.status, ptl_buf_str(&a.body));
        if (cases[i].content_range)
            expect_header(&a, cases[i].content_range);
    }
    ANSWER head;
    ask("HEAD", "model/group1-shard3of12.bin", NULL, NULL, 0, &head);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.body.len, 0);
    expect_header(&head, "Content-Length: 10\r\n");
    static const char *const methods[] = {"PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(methods); i++) {
        ANSWER a;
        ask(methods[i], "model/model.json", NULL, NULL, 0, &a);
        if (a.status < 400)
            fail_msg("%s: %ld", methods[i], a.status);
    }
}

static void test_counts(void **state)
{
    (void)state;
    start(&(struct ptl_pageserver_spec){0});
    static const char *const paths[] = {"model/model.json", "model/group1-shard1of12.bin",
                                        "model/group1-shard2of12.bin", "model/group1-shard2of12.bin",
                                        "recipe/run.mjs"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(paths); i++) {
        ANSWER a;
        get(paths[i], &a);
    }
    ANSWER head;
    ask("HEAD", "model/group1-shard9of12.bin", NULL, NULL, 0, &head); /* asked about, not downloaded */
    struct ptl_pageserver_counts c;
    ptl_pageserver_counts(server, &c);
    assert_int_equal(c.model_bytes, 22); /* each file once */
    assert_int_equal(c.model_files, 2);
    assert_int_equal(c.served_bytes, 2 + 30 + 19);
    assert_int_equal(c.refused, 0);
}

/* ---- taking back ---- */

static long post(const char *path, const char *text, size_t len)
{
    ANSWER a;
    ask("POST", path, NULL, text, len, &a);
    return a.status;
}

static void expect_got(const char *name, const char *text)
{
    PTL_FREE char *path = ptl_xasprintf("%s/got/%s", dir, name);
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(path, 1 << 20, &b, NULL), 0);
    assert_string_equal(ptl_buf_str(&b), text);
}

static void test_outputs_arrive_in_pieces(void **state)
{
    (void)state;
    start(&(struct ptl_pageserver_spec){.max_got_bytes = 100, .max_got_files = 4, .max_post_bytes = 50});
    assert_int_equal(post("got/a.npy?offset=0&total=6", "abcdef", 6), 201);
    expect_got("a.npy", "abcdef");
    assert_int_equal(post("got/b.npy?offset=0&total=6", "abc", 3), 202);
    assert_int_equal(post("got/b.npy?offset=0&total=6", "abc", 3), 409);  /* said twice */
    assert_int_equal(post("got/b.npy?offset=2&total=6", "xyz", 3), 409);  /* not where it ends */
    assert_int_equal(post("got/b.npy?offset=3&total=6", "defg", 4), 400); /* more than its total */
    assert_int_equal(post("got/c.npy?offset=3&total=6", "def", 3), 409);  /* no beginning */
    assert_int_equal(post("got/b.npy?offset=3&total=6", "def", 3), 201);
    expect_got("b.npy", "abcdef");
    assert_int_equal(post("got/b.npy?offset=6&total=9", "ghi", 3), 409); /* whole is whole */
    assert_int_equal(post("got/a.npy?offset=0&total=3", "abc", 3), 409);
    struct ptl_pageserver_counts c;
    ptl_pageserver_counts(server, &c);
    assert_int_equal(c.got_files, 2);
}

static void test_outputs_are_bounded(void **state)
{
    (void)state;
    char big[101];
    memset(big, 'x', sizeof(big));
    start(&(struct ptl_pageserver_spec){.max_got_bytes = 100, .max_got_files = 2, .max_post_bytes = 50});
    assert_int_equal(post("got/a.npy?offset=0&total=101", big, 40), 413); /* its total is too much already */
    assert_int_equal(post("got/a.npy?offset=0&total=51", big, 51), 413);  /* one request is too much */
    assert_int_equal(post("got/a.npy?offset=0&total=50", big, 50), 201);
    assert_int_equal(post("got/b.npy?offset=0&total=60", big, 50), 202);
    assert_int_equal(post("got/b.npy?offset=50&total=60", big, 10), 413); /* all together are too much */
    PTL_FREE char *half = ptl_xasprintf("%s/got/b.npy", dir);
    assert_false(ptl_fs_exists(half)); /* never a half output under its name */
}

static void test_output_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "got/x.txt?offset=0&total=1",
        "got/../x.npy?offset=0&total=1",
        "got/%2e%2e%2fx.npy?offset=0&total=1",
        "got/a/b.npy?offset=0&total=1",
        "got/.npy?offset=0&total=1",
        "got/.x.npy?offset=0&total=1",
        "got/?offset=0&total=1",
        "got/x.npy%00?offset=0&total=1",
        "model/x.npy?offset=0&total=1",
        "got/x.npy",
        "got/x.npy?offset=-1&total=1",
        "got/x.npy?offset=0&total=a",
        "got/x.npy?offset=0",
        "got/x.npy?offset=18446744073709551615&total=1",
        "got/x.npy?offset=0&total=99999999999999999999",
        "/got/x.npy?offset=0&total=1",
    };
    start(&(struct ptl_pageserver_spec){0});
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        long status = post(bad[i], "x", 1);
        if (status < 400)
            fail_msg("%s: %ld", bad[i], status);
    }
    PTL_FREE char *outside = ptl_fs_join(dir, "x.npy");
    assert_false(ptl_fs_exists(outside));
    assert_int_equal(post("got/many%20words.npy?offset=0&total=1", "x", 1), 201);
    expect_got("many words.npy", "x");
}

static void test_events(void **state)
{
    (void)state;
    PTL_FREE char *big = malloc(65537);
    memset(big, 'y', 65537);
    start(&(struct ptl_pageserver_spec){0});
    assert_int_equal(post("event", "{\"kind\":\"phase\"}", 16), 204);
    assert_string_equal(seen.last, "{\"kind\":\"phase\"}");
    assert_int_equal(post("event", big, 65536), 204);
    assert_int_equal(post("event", big, 65537), 413);
    assert_int_equal(post("/event", "x", 1), 404);
    assert_int_equal(seen.events, 2);
    assert_int_equal(seen.refused, 2);
}

/* ---- drills ---- */

static void test_faults(void **state)
{
    (void)state;
    ANSWER a, b, c, d;
    start(&(struct ptl_pageserver_spec){
        .faults = {.drop_coop = true, .wrong_mime = true, .missing_shard = 10, .truncated_shard = 2}
    });
    get("recipe/r.wasm", &a);
    expect_header(&a, "Content-Type: text/plain\r\n");
    assert_null(strcasestr(ptl_buf_str(&a.headers), "Cross-Origin"));
    get("model/group1-shard10of12.bin", &b); /* the tenth by number, not by byte order */
    assert_int_equal(b.status, 404);
    assert_string_equal(seen.last_refused, "404 model/group1-shard10of12.bin");
    get("model/group1-shard2of12.bin", &c);
    assert_int_equal(c.status, 200);
    assert_string_equal(ptl_buf_str(&c.body), "01234");
    expect_header(&c, "Content-Length: 5\r\n");
    get("model/model.json", &d); /* counted apart from shards */
    assert_int_equal(d.status, 200);
    server = ptl_pageserver_free(server);
    ANSWER e;
    start(&(struct ptl_pageserver_spec){.faults = {.missing_wasm = true}});
    get("recipe/r.wasm", &e);
    assert_int_equal(e.status, 404);
}

static void test_bad_folders(void **state)
{
    (void)state;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_pageserver *s = NULL;
    const struct ptl_pageserver_root roots[] = {
        {"recipe", "/nonexistent/folder"},
        {NULL,     NULL                 }
    };
    assert_int_equal(
        ptl_pageserver_start(&(struct ptl_pageserver_spec){.token = "t", .roots = roots}, &s, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/folder"));
    assert_int_equal(
        ptl_pageserver_start(&(struct ptl_pageserver_spec){.token = "t", .bind = "not an address"}, &s, &err),
        -EADDRNOTAVAIL);
    assert_null(s);
    assert_null(ptl_pageserver_free(NULL));
    assert_string_equal(ptl_pageserver_mime("x/y.wasm"), "application/wasm");
    assert_string_equal(ptl_pageserver_mime("x.unknown"), "application/octet-stream");
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_and_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_else_is_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_head_and_ranges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_outputs_arrive_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_outputs_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_output_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_folders, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
