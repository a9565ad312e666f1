/* test_browser_console.c - how serious a console line is, which lines become evidence against a runtime, and
 * the bounds. */
#include <console.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/json.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

static void test_judge(void **state)
{
    (void)state;
    static const struct {
        const char *level, *text;
        enum ptl_console_level expect;
    } cases[] = {
        {"error",   "something",                                                                             PTL_CONSOLE_ERROR  },
        {"SEVERE",  "something",                                                                             PTL_CONSOLE_ERROR  },
        {"warn",    "something",                                                                             PTL_CONSOLE_WARNING},
        {"WARNING", "something",                                                                             PTL_CONSOLE_WARNING},
        {"log",     "something",                                                                             PTL_CONSOLE_INFO   },
        {"DEBUG",   "something",                                                                             PTL_CONSOLE_DEBUG  },
        {"log",     "ERROR: Encountered unresolved custom op: Asinh.",                                       PTL_CONSOLE_ERROR  },
        {"error",   "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",                               PTL_CONSOLE_INFO   },
        {"error",   "WARNING: [npu_registry.cc:34] NPU accelerator could not be loaded",                     PTL_CONSOLE_WARNING},
        {"error",   "\033[0;93m2026-11-23 07:00:00.1 [W:onnxruntime:, graph.cc:1 CleanUp] Removing x\033[m",
         PTL_CONSOLE_WARNING                                                                                                    },
        {"warn",    "2026-11-23 07:00:00.1 [E:onnxruntime:, sequential_executor.cc:1] failed",
         PTL_CONSOLE_ERROR                                                                                                      },
        {"error",   "W0000 00:00:17.500000   12 cpu.cc:1] slow",                                             PTL_CONSOLE_WARNING},
        {"error",   "I1123 07:01:02.000000   12 x.cc:1] fine",                                               PTL_CONSOLE_INFO   },
        {"log",     "E0000 00:00:17.500000   12 cpu.cc:1] bad",                                              PTL_CONSOLE_ERROR  },
        {"error",   "Information about INFO: in the middle",                                                 PTL_CONSOLE_ERROR  },
        {"SEVERE",  "http://127.0.0.1:1/t/recipe/run.mjs 12:7 \"INFO: fine\"",                               PTL_CONSOLE_INFO   },
        {"INFO",    "http://127.0.0.1:1/t/recipe/run.mjs 12:7 \"\\u001b[31mERROR: bad\"",                    PTL_CONSOLE_ERROR  },
        {"error",   "",                                                                                      PTL_CONSOLE_ERROR  },
        {"",        "x",                                                                                     PTL_CONSOLE_INFO   },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        enum ptl_console_level got = ptl_console_judge(cases[i].level, cases[i].text);
        if (got != cases[i].expect)
            fail_msg("%s \"%s\": %s", cases[i].level, cases[i].text, ptl_console_level_name(got));
    }
}

static int log_fd;
static struct ptl_console *console(size_t budget)
{
    log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(log_fd >= 0);
    return ptl_console_new(log_fd, budget, "http://127.0.0.1:5/a-token-of-ours/");
}
static void read_log(struct ptl_buf *ret)
{
    char piece[4096];
    off_t at = 0;
    for (ssize_t n; (n = pread(log_fd, piece, sizeof(piece), at)) > 0; at += n)
        assert_int_equal(ptl_buf_add(ret, piece, (size_t)n), 0);
    close(log_fd);
}
static void event(struct ptl_console *c, const char *kind, const char *level, const char *text,
                  const char *source)
{
    PTL_JSON *e =
        json_pack("{s:s,s:s,s:s,s:s}", "kind", kind, "level", level, "text", text, "source", source);
    PTL_FREE char *s = ptl_json_text(e);
    ptl_console_add_event(c, s, strlen(s));
}

static void test_what_becomes_evidence(void **state)
{
    (void)state;
    struct ptl_console *c = console(1 << 20);
    event(c, "phase", "info", "load the model", "verify");
    event(c, "console", "error", "Node number 3 failed to prepare", "run.mjs:3");
    event(c, "console", "error", "INFO: fine", "run.mjs:4");
    event(c, "console", "error", "Node number 3 failed to prepare", "run.mjs:3"); /* at every inference */
    event(c, "error", "error", "TypeError: x\n    at http://127.0.0.1:5/a-token-of-ours/recipe/run.mjs:1:2",
          "page");
    event(c, "rejection", "error", "late", "promise");
    event(c, "warning", "warn", "two samples only", "verify");
    ptl_console_add_event(c, "not json \033[31m", 14);
    PTL_JSON *drained = json_pack(
        "[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s},{s:i}]", "level", "SEVERE", "source", "network",
        "message", "http://127.0.0.1:5/a-token-of-ours/x.bin - Failed to load resource: 404", "level",
        "SEVERE", "source", "javascript", "message", "Access to fetch at 'y' has been blocked by CORS policy",
        "level", "SEVERE", "source", "worker", "message", "Uncaught RuntimeError: unreachable", "level", 5);
    ptl_console_add_drained(c, drained);
    PTL_JSON *errors = ptl_console_errors(c);
    PTL_FREE char *text = ptl_json_text(errors);
    assert_string_equal(
        text,
        "[\"ERROR console-api: Node number 3 failed to prepare\",\"ERROR page: TypeError: x | at "
        "recipe/run.mjs:1:2\",\"ERROR promise: late\",\"ERROR worker: Uncaught RuntimeError: unreachable\"]");
    PTL_FREE char *cause = ptl_console_network_cause(c), *phase = ptl_console_phase(c);
    assert_string_equal(cause, "x.bin - Failed to load resource: 404");
    assert_string_equal(phase, "load the model");
    PTL_JSON *warnings = ptl_console_warnings(c);
    assert_string_equal(json_string_value(json_array_get(warnings, 0)), "two samples only");
    ptl_console_say(c, "line %d\nof two", 1);
    PTL_FREE char *other =
        ptl_console_tidy(c, "GET http://localhost:5/a-token-of-ours/x\n  a-token-of-ours\a");
    assert_string_equal(other, "GET http://localhost:5/x | a-token-of-ours");
    ptl_console_free(c);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    assert_non_null(strstr(ptl_buf_str(&log), "page: load the model\n"));
    assert_non_null(strstr(ptl_buf_str(&log), "console info (console-api): INFO: fine [run.mjs:4]\n"));
    assert_non_null(strstr(ptl_buf_str(&log), "browser: line 1 | of two\n"));
    assert_non_null(strstr(ptl_buf_str(&log), "(unreadable): not json \n"));
    assert_non_null(strstr(ptl_buf_str(&log), "left out of this log: 1 repetitions"));
    assert_null(strchr(ptl_buf_str(&log), 033));
    assert_null(strstr(ptl_buf_str(&log), "127.0.0.1"));
}

static void test_bounds(void **state)
{
    (void)state;
    struct ptl_console *c = console(20000);
    PTL_FREE char *big = malloc(100001);
    memset(big, 'x', 100000);
    big[100000] = 0;
    event(c, "console", "error", big, "a");
    for (int i = 0; i < 200; i++) {
        char text[300];
        snprintf(text, sizeof(text), "error %d %0200d", i, i);
        event(c, "console", "error", text, "a");
        event(c, "warning", "warn", text, "a");
    }
    PTL_JSON *errors = ptl_console_errors(c);
    PTL_JSON *warnings = ptl_console_warnings(c);
    assert_int_equal(json_array_size(errors), 51);
    assert_string_equal(json_string_value(json_array_get(errors, 50)), "ERROR … and 151 errors more");
    assert_true(json_string_length(json_array_get(errors, 0)) < 4200);
    assert_int_equal(json_array_size(warnings), 100);
    ptl_console_free(c);
    PTL_BUF log = PTL_BUF_INIT;
    read_log(&log);
    assert_true(log.len < 20200);
    assert_non_null(strstr(ptl_buf_str(&log), "(96000 bytes more)"));
    assert_non_null(strstr(ptl_buf_str(&log), "lines past its bound"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_what_becomes_evidence),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
