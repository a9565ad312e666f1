/* test_http.c - the HTTP client against an evhttp server on loopback: statuses, bounds, cancel, refused
 * hosts, event streams. */
#include <portolan/client.h>
#include <portolan/hash.h>
#include <portolan/fs.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static struct event_base *server_base;
static int server_port;
static pthread_t server_thread;
static char kept[64];
static size_t kept_len;

static void handle(struct evhttp_request *q, void *arg PTL_UNUSED)
{
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(q));
    struct evbuffer *out = evbuffer_new();
    int status = 200;
    if (ptl_str_eq(path, "/ok")) {
        evbuffer_add_printf(out, "{\"got\":%zu}", evbuffer_get_length(evhttp_request_get_input_buffer(q)));
    } else if (ptl_str_eq(path, "/big")) {
        for (int i = 0; i < 1000; i++)
            evbuffer_add_printf(out, "%01000d", i);
    } else if (ptl_str_eq(path, "/problem")) {
        status = 409;
        evbuffer_add_printf(
            out, "{\"title\":\"Stale fence\",\"detail\":\"attempt 3 was given to another agent\"}");
    } else if (ptl_str_eq(path, "/silent")) {
        evbuffer_free(out);
        return; /* never answered */
    } else if (ptl_str_eq(path, "/events")) {
        evbuffer_add_printf(
            out, ": beat\n\nid: 1\nevent: log\ndata: first\ndata: line two\n\nid: 2\ndata: {}\n\n");
    } else if (ptl_str_starts(path, "/api/v1/blobs/")) {
        struct evbuffer *in = evhttp_request_get_input_buffer(q);
        const char *range = evhttp_find_header(evhttp_request_get_input_headers(q), "Content-Range");
        if (evhttp_request_get_command(q) == EVHTTP_REQ_HEAD) {
            status = 404;
            if (kept_len)
                evhttp_add_header(evhttp_request_get_output_headers(q), "X-Portolan-Offset", "3");
        } else if (evhttp_request_get_command(q) == EVHTTP_REQ_PUT) {
            long long from = 0;
            if (range)
                sscanf(range, "bytes %lld-", &from);
            kept_len = (size_t)from + (size_t)evbuffer_remove(in, kept + from, sizeof(kept) - (size_t)from);
            status = kept_len < 11 ? 202 : 201;
            evbuffer_add_printf(out, "{\"next_offset\":%zu}", kept_len);
        } else {
            const char *r = evhttp_find_header(evhttp_request_get_input_headers(q), "Range");
            int from = 0;
            if (r)
                sscanf(r, "bytes=%d-", &from);
            status = r ? 206 : 200;
            evbuffer_add_printf(out, "%s", &"hello world"[from]);
        }
    } else {
        status = 404;
    }
    evhttp_send_reply(q, status, NULL, out);
    evbuffer_free(out);
}

static void *serve(void *arg)
{
    event_base_dispatch(server_base);
    return arg;
}

static int start(void **state PTL_UNUSED)
{
    ptl_http_global_init();
    struct ptl_loop *l = ptl_loop_new(1, 1); /* switches libevent to threads */
    ptl_loop_free(l);
    server_base = event_base_new();
    struct evhttp *h = evhttp_new(server_base);
    evhttp_set_allowed_methods(h, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_HEAD);
    evhttp_set_gencb(h, handle, NULL);
    struct evhttp_bound_socket *s = evhttp_bind_socket_with_handle(h, "127.0.0.1", 0);
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    getsockname(evhttp_bound_socket_get_fd(s), (struct sockaddr *)&ss, &len);
    server_port = (ss.__ss_padding[0] & 0xff) << 8 | (ss.__ss_padding[1] & 0xff);
    pthread_create(&server_thread, NULL, serve, NULL);
    return 0;
}

static struct ptl_client *client(void)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_client *c = NULL;
    PTL_FREE char *url = ptl_xasprintf("http://127.0.0.1:%d", server_port);
    struct ptl_client_options o = {.server = url, .token = "ptl_test_token"};
    if (ptl_client_new(&o, &c, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

static void statuses_become_results(void **state PTL_UNUSED)
{
    PTL_CLEANUP(ptl_client_freep) struct ptl_client *c = client();
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *body = json_pack("{s:i}", "a", 1), *j = NULL;
    int status = 0;
    assert_int_equal(ptl_client_json(c, "POST", "/ok", body, 5000, &status, &j, &err), 0);
    assert_int_equal(ptl_json_i64(j, "got", 0), 7);
    assert_int_equal(ptl_client_json(c, "GET", "/problem", NULL, 5000, &status, NULL, &err), -ESTALE);
    assert_int_equal(status, 409);
    assert_string_equal(err.text, "Stale fence: attempt 3 was given to another agent");
    assert_int_equal(ptl_client_json(c, "GET", "/nothing", NULL, 5000, NULL, NULL, &err), PTL_ABSENT);
    assert_int_equal(ptl_client_json(c, "GET", "/big", NULL, 5000, NULL, NULL, &err), -EPROTO);
}

static void answers_and_waits_are_bounded(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *big = ptl_xasprintf("http://user:secret@127.0.0.1:%d/big?token=hidden", server_port);
    struct ptl_http_request req = {.method = "GET", .url = big, .max_answer_bytes = 5000};
    struct ptl_http_answer a = {0};
    assert_int_equal(ptl_http_perform(&req, &a, &err), -E2BIG);
    assert_null(strstr(err.text, "secret"));
    assert_null(strstr(err.text, "hidden"));
    assert_int_equal(a.status, 200); /* nothing else came of it, nor is there anything to release */
    assert_null(a.body.data);
    assert_null(a.headers.data);
    PTL_FREE char *silent = ptl_xasprintf("http://127.0.0.1:%d/silent", server_port);
    req = (struct ptl_http_request){.method = "GET", .url = silent, .timeout_ms = 150};
    assert_int_equal(ptl_http_perform(&req, &a, &err), -ETIMEDOUT);
    ptl_http_answer_done(&a);
    req = (struct ptl_http_request){.method = "GET", .url = "file:///etc/passwd"};
    assert_int_equal(ptl_http_perform(&req, &a, &err), -EINVAL);
    ptl_http_answer_done(&a);
}

static void plain_http_is_for_loopback(void **state PTL_UNUSED)
{
    static const struct {
        const char *server;
        int result;
    } t[] = {
        {"https://portolan.example.org", 0      },
        {"http://127.0.0.1:80",          0      },
        {"http://localhost:8080/",       0      },
        {"http://[::1]:1",               0      },
        {"http://portolan.example.org",  -EACCES},
        {"http://127.0.0.1.evil.org",    -EACCES},
        {"ftp://127.0.0.1",              -EINVAL},
        {"http://127.0.0.1@evil.org",    -EINVAL},
        {"",                             -EINVAL}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_client *c = NULL;
        int r = ptl_client_new(&(struct ptl_client_options){.server = t[i].server}, &c, &err);
        if (r != t[i].result)
            fail_msg("%s: got %d (%s)", t[i].server, r, err.text);
        ptl_client_free(c);
    }
}

static int on_event(void *ctx, const char *id, const char *event, const char *data, size_t len)
{
    ptl_buf_printf(ctx, "[%s|%s|%.*s]", id, event, (int)len, data);
    return 0;
}

static void event_streams(void **state PTL_UNUSED)
{
    PTL_CLEANUP(ptl_client_freep) struct ptl_client *c = client();
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_client_events(c, "/events", NULL, on_event, &b, NULL, &err), PTL_ABSENT);
    assert_string_equal(ptl_buf_str(&b), "[1|log|first\nline two][2||{}]");
}

static void blobs_resume(void **state PTL_UNUSED)
{
    PTL_CLEANUP(ptl_client_freep) struct ptl_client *c = client();
    struct ptl_error err = PTL_ERROR_INIT;
    char sha[PTL_SHA256_HEX], name[] = "/tmp/ptl-blob-XXXXXX";
    ptl_sha256_of("hello world", 11, sha);
    int fd = mkstemp(name);
    assert_int_equal(ptl_fs_write_all(fd, "hello world", 11), 0);
    close(fd);
    kept_len = 3;
    memcpy(kept, "hel", 3);
    if (ptl_client_blob_upload(c, sha, name, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_memory_equal(kept, "hello world", 11);
    unlink(name);
    PTL_FREE char *part = ptl_xasprintf("%s.part", name);
    assert_int_equal(ptl_fs_write_atomic(part, "hello", 5, 0600, &err), 0);
    assert_int_equal(ptl_client_blob_download(c, sha, name, NULL, &err), 0);
    PTL_BUF b = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(name, 100, &b, &err), 0);
    assert_string_equal(ptl_buf_str(&b), "hello world");
    unlink(name);
    /* a damaged piece is thrown away and fetched anew */
    assert_int_equal(ptl_fs_write_atomic(part, "jello", 5, 0600, &err), 0);
    assert_int_equal(ptl_client_blob_download(c, sha, name, NULL, &err), 0);
    unlink(name);
    /* what has another digest is never put in place */
    ptl_sha256_of("other", 5, sha);
    assert_int_equal(ptl_client_blob_download(c, sha, name, NULL, &err), -EBADMSG);
    assert_false(ptl_fs_exists(name));
}

struct async {
    struct ptl_loop *loop;
    int results[3], n;
};

static void on_async(void *ctx, int result, int status PTL_UNUSED, const json_t *answer PTL_UNUSED,
                     const struct ptl_error *err PTL_UNUSED)
{
    struct async *a = ctx;
    a->results[a->n++] = result;
    if (a->n == 3)
        ptl_loop_stop(a->loop);
}

static void calls_on_the_loop(void **state PTL_UNUSED)
{
    PTL_CLEANUP(ptl_client_freep) struct ptl_client *c = client();
    struct async a = {.loop = ptl_loop_new(1, 1)};
    struct ptl_http_pool *pool = ptl_http_pool_new(a.loop, 3);
    struct ptl_http_call *silent = NULL;
    assert_int_equal(ptl_client_start(c, pool, "GET", "/silent", NULL, 60000, on_async, &a, &silent), 0);
    assert_int_equal(ptl_client_start(c, pool, "GET", "/ok", NULL, 5000, on_async, &a, NULL), 0);
    assert_int_equal(ptl_client_start(c, pool, "GET", "/problem", NULL, 5000, on_async, &a, NULL), 0);
    assert_int_equal(ptl_client_start(c, pool, "GET", "/ok", NULL, 5000, on_async, &a, NULL), PTL_FULL);
    ptl_http_call_cancel(silent);
    ptl_loop_run(a.loop);
    int cancelled = 0, ok = 0, stale = 0;
    for (int i = 0; i < 3; i++) {
        cancelled += a.results[i] == -ECANCELED;
        ok += a.results[i] == 0;
        stale += a.results[i] == -ESTALE;
    }
    assert_int_equal(cancelled, 1);
    assert_int_equal(ok, 1);
    assert_int_equal(stale, 1);
    ptl_http_pool_free(pool);
    ptl_loop_free(a.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(statuses_become_results),
                                       cmocka_unit_test(answers_and_waits_are_bounded),
                                       cmocka_unit_test(plain_http_is_for_loopback),
                                       cmocka_unit_test(event_streams),
                                       cmocka_unit_test(blobs_resume),
                                       cmocka_unit_test(calls_on_the_loop)};
    return cmocka_run_group_tests(tests, start, NULL);
}
