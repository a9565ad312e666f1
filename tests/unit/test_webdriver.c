/* test_webdriver.c - the WebDriver client against a scripted server: what a good one says, and every way in
 * which one can be slow, silent, talkative or wrong. No browser, loopback only; waits end by events or by the
 * client's own deadlines. */
#include <webdriver.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/json.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

/* ---- the scripted server: one thread, one connection at a time, one step of the script for each request
 * ---- */

enum how { ANSWER, HANG, CLOSE, DRIP, HALF };
struct step {
    enum how how;
    int status;
    const char *body; /* raw bytes; JSON as a rule */
};
struct server {
    int listen_fd, stop[2];
    unsigned port;
    pthread_t thread;
    const struct step *steps;
    size_t n_steps, at;
    pthread_mutex_t lock;
    char request[8192]; /* of the last one: start line, blank, body */
};

static bool readable(struct server *s, int fd, int ms)
{
    struct pollfd p[2] = {
        {.fd = fd,         .events = POLLIN},
        {.fd = s->stop[0], .events = POLLIN}
    };
    return poll(p, 2, ms) > 0 && !p[1].revents && p[0].revents;
}

/* Reads a whole request; false at the end of the connection or of the test. */
static bool read_request(struct server *s, int fd)
{
    char text[65536];
    size_t n = 0;
    for (;;) {
        text[n] = 0;
        char *end = strstr(text, "\r\n\r\n");
        if (end) {
            const char *length = strcasestr(text, "content-length:");
            size_t want =
                (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
            if (n >= want) {
                pthread_mutex_lock(&s->lock);
                snprintf(s->request, sizeof(s->request), "%.*s %.4000s", (int)strcspn(text, "\r"), text,
                         end + 4);
                pthread_mutex_unlock(&s->lock);
                return true;
            }
        }
        if (!readable(s, fd, -1))
            return false;
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
}

static bool play(struct server *s, int fd, const struct step *step)
{
    PTL_BUF out = PTL_BUF_INIT;
    size_t len = strlen(step->body ? step->body : "");
    ptl_buf_printf(&out, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                   step->status, len, step->body ? step->body : "");
    switch (step->how) {
    case ANSWER:
        return ptl_fs_write_all(fd, out.data, out.len) == 0;
    case CLOSE:
        return false;
    case HALF:
        (void)!ptl_fs_write_all(fd, out.data, out.len - 1);
        return false;
    case HANG:
        readable(s, fd, -1); /* until the client goes or the test ends */
        return false;
    case DRIP:
        for (size_t i = 0; i < out.len; i++) {
            struct pollfd p = {.fd = s->stop[0], .events = POLLIN};
            if (poll(&p, 1, 20) > 0 || send(fd, out.data + i, 1, MSG_NOSIGNAL) < 0)
                return false;
        }
        return true;
    }
    return false;
}

static void *serve(void *ctx)
{
    struct server *s = ctx;
    while (readable(s, s->listen_fd, -1)) {
        int fd = accept(s->listen_fd, NULL, NULL);
        while (fd >= 0 && read_request(s, fd)) {
            const struct step *step = s->at < s->n_steps ? &s->steps[s->at++] : NULL;
            if (!step || !play(s, fd, step))
                break;
        }
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static void server_start(struct server *s, const struct step *steps, size_t n)
{
    *s = (struct server){.steps = steps, .n_steps = n};
    pthread_mutex_init(&s->lock, NULL);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(s->listen_fd, 8), 0);
    getsockname(s->listen_fd, (struct sockaddr *)&sa, &len);
    s->port = ntohs(sa.sin_port);
    assert_int_equal(pipe(s->stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    assert_int_equal(write(s->stop[1], "", 1), 1);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    close(s->stop[0]);
    close(s->stop[1]);
    pthread_mutex_destroy(&s->lock);
}

#define OPENED                                                                                               \
    "{\"value\":{\"sessionId\":\"abc-1\",\"capabilities\":{\"browserName\":\"chrome\",\"goog:processID\":4242}}}"
#define NULLED "{\"value\":null}"

static void expect_request(struct server *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    assert_string_equal(s->request, text);
    pthread_mutex_unlock(&s->lock);
}

static struct ptl_webdriver *client(const struct server *s, ptl_webdriver_guard_fn *guard, void *ctx)
{
    struct ptl_webdriver *wd = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *url = ptl_xasprintf("http://127.0.0.1:%u/", s->port);
    assert_int_equal(ptl_webdriver_new(url, guard, ctx, &wd, &err), 0);
    return wd;
}

static struct ptl_webdriver *opened(const struct server *s, ptl_webdriver_guard_fn *guard, void *ctx)
{
    struct ptl_webdriver *wd = client(s, guard, ctx);
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *caps = json_pack("{s:{}}", "alwaysMatch");
    if (ptl_webdriver_open(wd, caps, 10000, &err) != PTL_WD_OK)
        fail_msg("%s", err.text);
    return wd;
}

/* ---- tests ---- */

static void test_a_whole_session(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {ANSWER, 200, OPENED                                                  },
        {ANSWER, 200, NULLED                                                  },
        {ANSWER, 200, NULLED                                                  },
        {ANSWER, 200, "{\"value\":[\"ua\",true]}"                             },
        {ANSWER, 200, "{\"value\":{\"ok\":1}}"                                },
        {ANSWER, 200, "{\"value\":[{\"level\":\"SEVERE\",\"message\":\"m\"}]}"},
        {ANSWER, 200, "{\"value\":{\"usedSize\":7}}"                          },
        {ANSWER, 200, NULLED                                                  },
    };
    static const char *const requests[] = {
        "POST /session HTTP/1.1 {\"capabilities\":{\"alwaysMatch\":{}}}",
        "POST /session/abc-1/timeouts HTTP/1.1 {\"script\":5000,\"pageLoad\":3000}",
        "POST /session/abc-1/url HTTP/1.1 {\"url\":\"http://127.0.0.1/x\"}",
        "POST /session/abc-1/execute/sync HTTP/1.1 {\"script\":\"return 1\",\"args\":[]}",
        "POST /session/abc-1/execute/async HTTP/1.1 {\"script\":\"f()\",\"args\":[7]}",
        "POST /session/abc-1/se/log HTTP/1.1 {\"type\":\"browser\"}",
        "POST /session/abc-1/goog/cdp/execute HTTP/1.1 {\"cmd\":\"Runtime.getHeapUsage\",\"params\":{}}",
        "DELETE /session/abc-1 HTTP/1.1 ",
    };
    struct server s;
    setenv("http_proxy", "http://127.0.0.1:9", 1); /* a proxy must not be asked for our own loopback */
    server_start(&s, steps, PTL_ARRAY_LEN(steps));
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = opened(&s, NULL, NULL);
    assert_true(ptl_webdriver_is_open(wd));
    assert_int_equal(ptl_webdriver_browser_pid(wd), 4242);
    expect_request(&s, requests[0]);
    for (size_t i = 1; i < PTL_ARRAY_LEN(requests); i++) {
        PTL_JSON *value = NULL;
        PTL_JSON *args = json_pack("[i]", 7);
        int r = i == 1   ? ptl_webdriver_set_timeouts(wd, 5000, 3000, 10000, &err)
                : i == 2 ? ptl_webdriver_navigate(wd, "http://127.0.0.1/x", 10000, &err)
                : i == 3 ? ptl_webdriver_execute(wd, "return 1", NULL, 10000, &value, &err)
                : i == 4 ? ptl_webdriver_execute_async(wd, "f()", args, 10000, &value, &err)
                : i == 5 ? ptl_webdriver_drain_log(wd, "browser", 10000, &value, &err)
                : i == 6 ? ptl_webdriver_cdp(wd, "Runtime.getHeapUsage", NULL, 10000, &value, &err)
                         : ptl_webdriver_close(wd, 10000, &err);
        if (r != PTL_WD_OK)
            fail_msg("%zu: %s", i, err.text);
        expect_request(&s, requests[i]);
        assert_true(i < 3 || i == 7 || value != NULL);
    }
    assert_false(ptl_webdriver_is_open(wd));
    assert_int_equal(ptl_webdriver_close(wd, 10, &err), PTL_WD_OK); /* nothing to do, nothing sent */
    assert_int_equal(ptl_webdriver_navigate(wd, "http://x", 10, &err), PTL_WD_SESSION_LOST);
    server_stop(&s);
    unsetenv("http_proxy");
}

static void test_errors_are_mapped(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct step step;
        int outcome;
        const char *text;
    } cases[] = {
        {"script timeout",
         {ANSWER, 500,
          "{\"value\":{\"error\":\"script timeout\",\"message\":\"script timeout\\n  (Session info: x)\"}}"},
         PTL_WD_SCRIPT_TIMEOUT,                                                                                                                   "script timeout"            },
        {"page timeout",
         {ANSWER, 500, "{\"value\":{\"error\":\"timeout\",\"message\":\"Timed out receiving message\"}}"},
         PTL_WD_PAGE_TIMEOUT,                                                                                                                     "Timed out"                 },
        {"javascript",
         {ANSWER, 500, "{\"value\":{\"error\":\"javascript error\",\"message\":\"x is not defined\"}}"},
         PTL_WD_SCRIPT_ERROR,                                                                                                                     "x is not defined"          },
        {"tab crashed",
         {ANSWER, 500, "{\"value\":{\"error\":\"tab crashed\",\"message\":\"tab crashed\"}}"},
         PTL_WD_TAB_CRASHED,                                                                                                                      "tab crashed"               },
        {"crash in words",
         {ANSWER, 500,
          "{\"value\":{\"error\":\"unknown error\",\"message\":\"session deleted because of page crash\\nfrom renderer\"}}"},
         PTL_WD_TAB_CRASHED,                                                                                                                      "page crash | from renderer"},
        {"invalid session",
         {ANSWER, 404, "{\"value\":{\"error\":\"invalid session id\",\"message\":\"\"}}"},
         PTL_WD_SESSION_LOST,                                                                                                                     "invalid session id"        },
        {"disconnected",
         {ANSWER, 500,
          "{\"value\":{\"error\":\"unknown error\",\"message\":\"disconnected: not connected to DevTools\"}}"},
         PTL_WD_SESSION_LOST,                                                                                                                     "DevTools"                  },
        {"alert",
         {ANSWER, 500, "{\"value\":{\"error\":\"unexpected alert open\",\"message\":\"hello\"}}"},
         PTL_WD_ALERT_OPEN,                                                                                                                       "hello"                     },
        {"unsupported",
         {ANSWER, 404, "{\"value\":{\"error\":\"unknown command\",\"message\":\"no\"}}"},
         PTL_WD_UNSUPPORTED,                                                                                                                      "unknown command"           },
        {"other",
         {ANSWER, 400, "{\"value\":{\"error\":\"invalid argument\",\"message\":\"bad\\u0007\"}}"},
         PTL_WD_OTHER,                                                                                                                            "invalid argument"          },
        {"html of a proxy",       {ANSWER, 502, "<html>Bad gateway</html>"},                                                  PTL_WD_BAD_ANSWER,  "<html>"                    },
        {"error without error",   {ANSWER, 500, "{\"value\":{}}"},                                                            PTL_WD_BAD_ANSWER,  "HTTP 500"                  },
        {"success without value", {ANSWER, 200, "{}"},                                                                        PTL_WD_BAD_ANSWER,  "HTTP 200"                  },
        {"a list",                {ANSWER, 200, "[1]"},                                                                       PTL_WD_BAD_ANSWER,  ""                          },
        {"half JSON",             {ANSWER, 200, "{\"value\":"},                                                               PTL_WD_BAD_ANSWER,  "begins"                    },
        {"empty body",            {ANSWER, 200, ""},                                                                          PTL_WD_BAD_ANSWER,  ""                          },
        {"a redirect",            {ANSWER, 302, "{\"value\":1}"},                                                             PTL_WD_BAD_ANSWER,  "HTTP 302"                  },
        {"closed",                {CLOSE, 0, NULL},                                                                           PTL_WD_UNREACHABLE, "execute/sync"              },
        {"half answer",           {HALF, 200, NULLED},                                                                        PTL_WD_UNREACHABLE, "execute/sync"              },
        {"silence",               {HANG, 0, NULL},                                                                            PTL_WD_DEADLINE,    "within 300 ms"             },
        {"a byte now and then",   {DRIP, 200, NULLED},                                                                        PTL_WD_DEADLINE,    "within 300 ms"             },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        const struct step steps[] = {
            {ANSWER, 200, OPENED},
            cases[i].step
        };
        struct server s;
        server_start(&s, steps, 2);
        struct ptl_webdriver *wd = opened(&s, NULL, NULL);
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_JSON *value = NULL;
        bool waits = cases[i].step.how == HANG || cases[i].step.how == DRIP;
        int r = ptl_webdriver_execute(wd, "return 1", NULL, waits ? 300 : 20000, &value, &err);
        if (r != cases[i].outcome || !strstr(err.text, cases[i].text))
            fail_msg("%s: %s instead of %s: %s", cases[i].label, ptl_wd_outcome_name(r),
                     ptl_wd_outcome_name(cases[i].outcome), err.text);
        assert_null(value);
        assert_null(strstr(err.text, "abc-1")); /* ids make equal failures unlike */
        assert_null(strstr(err.text, "Session info"));
        ptl_webdriver_free(wd);
        server_stop(&s);
    }
}

static void test_sessions_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *label, *body;
        int status, outcome;
    } cases[] = {
        {"refused",
         "{\"value\":{\"error\":\"session not created\",\"message\":\"Chrome failed to start\\nfrom no sandbox\"}}",
         500,                                                                                                             PTL_WD_NOT_CREATED},
        {"no id",          "{\"value\":{\"capabilities\":{}}}",                                                      200, PTL_WD_BAD_ANSWER },
        {"id is a path",   "{\"value\":{\"sessionId\":\"../status\"}}",                                              200, PTL_WD_BAD_ANSWER },
        {"id is a number", "{\"value\":{\"sessionId\":5}}",                                                          200, PTL_WD_BAD_ANSWER },
        {"value is null",  NULLED,                                                                                   200, PTL_WD_BAD_ANSWER },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        const struct step steps[] = {
            {ANSWER, cases[i].status, cases[i].body}
        };
        struct server s;
        server_start(&s, steps, 1);
        PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = client(&s, NULL, NULL);
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_JSON *caps = json_object();
        int r = ptl_webdriver_open(wd, caps, 20000, &err);
        if (r != cases[i].outcome)
            fail_msg("%s: %s: %s", cases[i].label, ptl_wd_outcome_name(r), err.text);
        assert_false(ptl_webdriver_is_open(wd));
        server_stop(&s);
    }
}

static void test_answers_are_bounded(void **state)
{
    (void)state;
    PTL_FREE char *big = malloc(200001);
    memset(big, 'x', 200000);
    big[200000] = 0;
    PTL_FREE char *body = ptl_xasprintf("{\"value\":\"%s\"}", big);
    const struct step steps[] = {
        {ANSWER, 200, OPENED},
        {ANSWER, 200, body  },
        {ANSWER, 200, body  }
    };
    struct server s;
    server_start(&s, steps, 3);
    PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = opened(&s, NULL, NULL);
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *value = NULL;
    ptl_webdriver_set_max_answer(wd, 100000);
    assert_int_equal(ptl_webdriver_execute(wd, "", NULL, 20000, &value, &err), PTL_WD_BAD_ANSWER);
    assert_non_null(strstr(err.text, "larger than 100000 bytes"));
    ptl_webdriver_set_max_answer(wd, 1 << 20); /* and the connection is good for the next call */
    assert_int_equal(ptl_webdriver_execute(wd, "", NULL, 20000, &value, &err), PTL_WD_OK);
    assert_int_equal(json_string_length(value), 200000);
    server_stop(&s);
}

/* A page may print anything; the console must not be lost for it. */
static void test_odd_console_text_is_repaired(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expect;
    } cases[] = {
        {"nul \\u0000 end",                   "nul \xef\xbf\xbd end"                    },
        {"half \\ud800 pair",                 "half \xef\xbf\xbd pair"                  },
        {"low \\udc00 first",                 "low \xef\xbf\xbd first"                  },
        {"pair \\ud83d\\ude00 stays \\u0000", "pair \xf0\x9f\x98\x80 stays \xef\xbf\xbd"},
        {"escaped \\\\u0000 stays \\u0000",   "escaped \\u0000 stays \xef\xbf\xbd"      },
        {"bytes \xff\xfe",                    "bytes \xef\xbf\xbd\xef\xbf\xbd"          },
        {"two halves \\ud800\\ud800",         "two halves \xef\xbf\xbd\xef\xbf\xbd"     },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        PTL_FREE char *body =
            ptl_xasprintf("{\"value\":[{\"level\":\"INFO\",\"message\":\"%s\"}]}", cases[i].text);
        const struct step steps[] = {
            {ANSWER, 200, OPENED},
            {ANSWER, 200, body  }
        };
        struct server s;
        server_start(&s, steps, 2);
        PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = opened(&s, NULL, NULL);
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_JSON *entries = NULL;
        if (ptl_webdriver_drain_log(wd, "browser", 20000, &entries, &err) != PTL_WD_OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_string_equal(ptl_json_str(json_array_get(entries, 0), "message", ""), cases[i].expect);
        server_stop(&s);
    }
}

static int count_to(void *ctx)
{
    int *left = ctx;
    return --*left <= 0;
}

static void test_a_guard_cuts_short(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {ANSWER, 200, OPENED         },
        {HANG,   0,   NULL           },
        {ANSWER, 200, "{\"value\":2}"}
    };
    struct server s;
    int left = INT32_MAX;
    server_start(&s, steps, 3);
    PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = opened(&s, count_to, &left);
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *value = NULL;
    left = 3;
    assert_int_equal(ptl_webdriver_execute(wd, "", NULL, 3600000, &value, &err), PTL_WD_STOPPED);
    left = INT32_MAX; /* the late answer of a cut call is not taken for the next one's */
    assert_int_equal(ptl_webdriver_execute(wd, "", NULL, 20000, &value, &err), PTL_WD_OK);
    assert_int_equal(json_integer_value(value), 2);
    server_stop(&s);
}

static void test_delete_may_hang(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {ANSWER, 200, OPENED},
        {HANG,   0,   NULL  }
    };
    struct server s;
    server_start(&s, steps, 2);
    PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = opened(&s, NULL, NULL);
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_webdriver_close(wd, 200, &err), PTL_WD_DEADLINE);
    assert_false(ptl_webdriver_is_open(wd));
    server_stop(&s);
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "ftp://x", "127.0.0.1:9515", "file:///etc/passwd", NULL};
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_webdriver *wd = NULL;
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++)
        assert_int_equal(ptl_webdriver_new(bad[i], NULL, NULL, &wd, &err), -EINVAL);
    assert_null(wd);
    assert_int_equal(ptl_webdriver_new("http://127.0.0.1:1/", NULL, NULL, &wd, &err), 0);
    PTL_JSON *caps = json_object();
    assert_int_equal(ptl_webdriver_open(wd, caps, 20000, &err),
                     PTL_WD_UNREACHABLE); /* nobody listens on port 1 */
    ptl_webdriver_free(wd);
    ptl_webdriver_free(NULL);
    assert_string_equal(ptl_wd_outcome_name(PTL_WD_OK), "ok");
    assert_string_equal(ptl_wd_outcome_name(-5), "failed");
    assert_string_equal(ptl_wd_outcome_name(PTL_WD_BAD_ANSWER), "bad answer");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_session),
        cmocka_unit_test(test_errors_are_mapped),
        cmocka_unit_test(test_sessions_that_are_none),
        cmocka_unit_test(test_answers_are_bounded),
        cmocka_unit_test(test_odd_console_text_is_repaired),
        cmocka_unit_test(test_a_guard_cuts_short),
        cmocka_unit_test(test_delete_may_hang),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
