/* test_agent_attempt.c - `portolan-agent attempt DIR` as the agent starts it: each end told apart, outputs
 * proved, secrets kept. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "attempt.h"
#include "sandbox.h"
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/proc.h>
#include <portolan/wire.h>

#define AGENT PTL_BINARY_DIR "/agents/portolan-agent"

static char root[64];
static char dir[128];
static bool has_cgroup;
static int serial;
static pid_t running[64]; /* a failed assertion must leave no process behind */
static size_t n_running;

static char *in_dir(const char *path)
{
    return ptl_fs_join(dir, path);
}

static void put(const char *path, const char *text, mode_t mode)
{
    PTL_FREE char *full = in_dir(path);
    PTL_FREE char *folder = ptl_xstrdup(full);
    *strrchr(folder, '/') = 0;
    assert_int_equal(ptl_fs_mkdirs(folder, 0755, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(full, text, strlen(text), mode, NULL), 0);
}

/* A new attempt directory; `job` holds the members that matter, without the outer braces. */
static void new_attempt(const char *job)
{
    snprintf(dir, sizeof(dir), "%s/%d", root, ++serial);
    PTL_FREE char *text = ptl_xasprintf(
        "{\"attempt_id\":%d,\"fence\":1,\"run_number\":3,\"project\":\"p\",\"name\":\"stage\",\"commit\":"
        "\"0123456789abcdef0123456789abcdef01234567\",\"ref\":\"refs/heads/main\",\"host\":\"server\",\"network\":false,%s}",
        700000 + getpid() % 1000 * 100 + serial, job);
    put("src/README", "hello\n", 0644);
    put("job.json", text, 0600);
}

static struct ptl_proc start(void)
{
    const char *argv[] = {AGENT, "attempt", dir, NULL};
    struct ptl_proc_spec spec = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .new_session = true};
    struct ptl_proc p;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_proc_start(&spec, &p, &err) < 0)
        fail_msg("%s", err.text);
    running[n_running++ % PTL_ARRAY_LEN(running)] = p.pid;
    return p;
}

static json_t *result_of(void)
{
    PTL_FREE char *path = in_dir("result.json");
    json_t *result = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_json_load(path, 1 << 20, &result, &err) < 0 || ptl_wire_check_result(result, &err) < 0)
        fail_msg("%s", err.text);
    return result;
}

static json_t *run(void)
{
    struct ptl_proc p = start();
    int status = -1;
    assert_int_equal(ptl_proc_wait(&p, 120000, &status), 0);
    assert_int_equal(status, 0);
    return result_of();
}

static char *log_text(void)
{
    PTL_FREE char *path = in_dir("log");
    PTL_BUF log = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(path, 8 << 20, &log, NULL), 0);
    return log.len ? ptl_buf_take(&log, NULL) : ptl_xstrdup("");
}

static void check_end(const char *label, const json_t *r, const char *reason, bool ok, const char *message)
{
    PTL_FREE char *log = log_text();
    if (strcmp(ptl_json_str(r, "end_reason", ""), reason) != 0 || ptl_json_flag(r, "ok", !ok) != ok ||
        !strstr(ptl_json_str(r, "message", ""), message))
        fail_msg("%s: %s, ok %d: \"%s\"\n%s", label, ptl_json_str(r, "end_reason", ""),
                 ptl_json_flag(r, "ok", false), ptl_json_str(r, "message", ""), log);
}

struct end_case {
    const char *label, *job, *reason;
    bool ok;
    const char *message;
    int exit_code, signal;
};

#define EXPORT(run) "\"kind\":\"export\",\"run\":[" run "]"
#define PUBLISH                                                                                              \
    "\"mkdir -p $PORTOLAN_OUTPUTS/model $PORTOLAN_OUTPUTS/golden; echo m > $PORTOLAN_OUTPUTS/model/m.bin; echo '{}' > $PORTOLAN_OUTPUTS/golden/manifest.json\""
static const struct end_case end_cases[] = {
    {"green",                                EXPORT(PUBLISH),                                                                                       "exit",    true,  "",                         0,   0 },
    {"exit code",                            EXPORT("\"exit 7\""),                                                                                  "exit",    false, "exit code 7",              7,   0 },
    {"exit code that looks like a signal",   EXPORT("\"exit 137\""),                                                                                "exit",    false, "exit code 137",            137, 0 },
    {"first failing line ends it",           EXPORT("\"false\"," PUBLISH),                                                                          "exit",    false, "exit code 1",              1,   0 },
    {"signal",                               EXPORT("\"kill -SEGV $$\""),                                                                           "signal",  false, "signal 11",                0,   11},
    {"killed from within",                   EXPORT("\"kill -KILL $$\""),                                                                           "signal",  false, "signal 9",                 0,   9 },
    {"timeout",                              EXPORT("\"sleep 1000\"") ",\"timeout_ms\":300,\"grace_ms\":2000",                                      "timeout", false,
     "time limit of 300 ms",                                                                                                                                                                      0,   15},
    {"timeout against a deaf stage",
     EXPORT(
         "\"trap '' TERM; (setsid sleep 1000 &); while :; do sleep 1000; done\"") ",\"timeout_ms\":300,\"grace_ms\":100",
     "timeout",                                                                                                                                                false, "time limit",               0,   9 },
    {"no such command",                      EXPORT("\"./not-there.sh\""),                                                                          "exit",    false, "exit code 127",            127, 0 },
    {"nothing published",                    EXPORT("\"true\""),                                                                                    "exit",    false,
     "nothing was published under $PORTOLAN_OUTPUTS/model",                                                                                                                                       0,   0 },
    {"declared output missing",              EXPORT(PUBLISH) ",\"outputs\":[\"model/other.bin\"]",                                                  "exit",    false,
     "declared output model/other.bin is missing; there is: golden/manifest.json, model/m.bin",                                                                                                   0,   0 },
    {"declared by pattern",                  EXPORT(PUBLISH) ",\"outputs\":[\"model/*.bin\",\"model\",\"golden/\"]",                                "exit",
     true,                                                                                                                                                            "",                         0,   0 },
    {"neither uses nor run",                 "\"kind\":\"export\"",                                                                                 "exit",    false, "neither `uses` nor `run`", 2,   0 },
    {"unknown recipe",                       "\"kind\":\"verify\",\"uses\":\"fake/rum\"",                                                           "setup",   false,
     "did you mean \"fake/run\"?",                                                                                                                                                                0,   0 },
    {"recipe of another kind",               "\"kind\":\"export\",\"uses\":\"fake/run\"",                                                           "exit",    false,
     "does a verify, but this stage is a export",                                                                                                                                                 2,   0 },
    {"bad parameter",                        "\"kind\":\"convert\",\"uses\":\"fake/copy\",\"with\":{\"txt\":\"x\"}",                                "exit",    false,
     "did you mean \"text\"?",                                                                                                                                                                    2,   0 },
    {"toolchain not there",                  "\"kind\":\"export\",\"run\":[\"true\"],\"toolchain\":\"no-such\"",                                    "setup",
     false,                                                                                                                                                           "no toolchain \"no-such\"", 0,   0 },
    {"no model for a recipe that needs one", "\"kind\":\"verify\",\"uses\":\"fake/run\"",                                                           "setup",   false,
     "needs a model",                                                                                                                                                                             0,   0 },
    {"reserved name",                        EXPORT("\"true\"") ",\"env\":{\"PORTOLAN_X\":\"1\"}",                                                  "exit",    false, "env.PORTOLAN_X",
     2,                                                                                                                                                                                                0 },
    {"recipe",                               "\"kind\":\"convert\",\"uses\":\"fake/copy\",\"with\":{\"text\":\"abc\"}",                             "exit",    true,  "",                         0,
     0                                                                                                                                                                                                   },
    {"recipe without its output",
     "\"kind\":\"convert\",\"uses\":\"fake/copy\",\"with\":{\"to\":\"model/elsewhere\"}",                                                           "exit",    false,
     "declared output model/out.txt is missing",                                                                                                                                                  0,   0 },
    {"a verify that proves nothing",         "\"kind\":\"verify\",\"run\":[\"true\"]",                                                              "exit",    false,
     "proved nothing",                                                                                                                                                                            0,   0 },
    {"own report, green",
     "\"kind\":\"verify\",\"run\":[\"echo '{\\\"verdict\\\":\\\"green\\\"}' > $PORTOLAN_REPORT\"]",                                                 "exit",
     true,                                                                                                                                                            "",                         0,   0 },
    {"own report, red",
     "\"kind\":\"verify\",\"run\":[\"echo '{\\\"verdict\\\":\\\"red\\\",\\\"reasons\\\":[{\\\"text\\\":\\\"off by 3\\\"}]}' > $PORTOLAN_REPORT\"]",
     "exit",                                                                                                                                                   false, "verdict red: off by 3",    0,   0 },
    {"own report, rubbish",                  "\"kind\":\"verify\",\"run\":[\"echo hello > $PORTOLAN_REPORT\"]",                                     "exit",    false,
     "report.json",                                                                                                                                                                               0,   0 },
    {"own report as a fifo",                 "\"kind\":\"verify\",\"run\":[\"mkfifo $PORTOLAN_REPORT\"]",                                           "exit",    false,
     "proved nothing",                                                                                                                                                                            0,   0 },
};

static void every_end_is_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(end_cases); i++) {
        const struct end_case *c = &end_cases[i];
        new_attempt(c->job);
        PTL_JSON *r = run();
        check_end(c->label, r, c->reason, c->ok, c->message);
        if (ptl_json_i64(r, "exit_code", -1) != c->exit_code || ptl_json_i64(r, "signal", -1) != c->signal)
            fail_msg("%s: exit code %d, signal %d", c->label, (int)ptl_json_i64(r, "exit_code", -1),
                     (int)ptl_json_i64(r, "signal", -1));
        if (!c->ok && json_array_size(json_object_get(r, "artifacts")) &&
            !json_is_object(json_object_get(r, "report")))
            fail_msg("%s: a failed stage published", c->label);
    }
}

static void out_of_memory_is_told_by_the_counters(void **state)
{
    (void)state;
    if (!has_cgroup) {
        print_message("SKIP: this host allows no control groups\n");
        skip();
    }
    new_attempt(EXPORT(
        "\"/usr/bin/python3 -c 'x = bytearray(300 << 20)'\"") ",\"limits\":{\"memory_bytes\":67108864}");
    PTL_JSON *r = run();
    check_end("oom", r, "oom", false, "out of memory");
    assert_true(ptl_json_i64(r, "peak_memory_bytes", 0) > 40 << 20);
    assert_non_null(strstr(ptl_json_str(r, "message", ""), "64.0 MiB"));
    /* one that lost a child for memory and went on */
    new_attempt(EXPORT(
        "\"/usr/bin/python3 -c 'x = bytearray(300 << 20)' || true\"," PUBLISH) ",\"limits\":{\"memory_bytes\":67108864}");
    PTL_JSON *survived = run();
    check_end("survived", survived, "exit", true, "");
    assert_int_equal(json_array_size(json_object_get(survived, "warnings")), 1);
}

static void wait_for_file(const char *path)
{
    PTL_FREE char *full = in_dir(path);
    int64_t deadline = ptl_mono_ms() + 60000;
    while (!ptl_fs_exists(full)) {
        if (ptl_mono_ms() > deadline)
            fail_msg("%s did not appear", path);
        poll(NULL, 0, 10);
    }
}

static void cancel_reaches_the_stage_and_gives_it_grace(void **state)
{
    (void)state;
    new_attempt(EXPORT(
        "\"trap 'touch cleaned; exit 3' TERM; touch begun; while :; do sleep 0.05; done\"") ",\"grace_ms\":60000");
    struct ptl_proc p = start();
    wait_for_file("src/begun");
    kill(p.pid, SIGTERM);
    int status;
    assert_int_equal(ptl_proc_wait(&p, 60000, &status), 0);
    PTL_JSON *r = result_of();
    check_end("cancel", r, "cancelled", false, "cancelled");
    wait_for_file("src/cleaned");
    assert_int_equal(ptl_json_i64(r, "exit_code", -1), 3);
}

static void cancel_kills_a_deaf_stage(void **state)
{
    (void)state;
    new_attempt(EXPORT("\"trap '' TERM; touch begun; while :; do sleep 1000; done\"") ",\"grace_ms\":50");
    struct ptl_proc p = start();
    wait_for_file("src/begun");
    kill(p.pid, SIGTERM);
    int status;
    assert_int_equal(ptl_proc_wait(&p, 60000, &status), 0);
    PTL_JSON *r = result_of();
    check_end("deaf", r, "cancelled", false, "cancelled");
    assert_int_equal(ptl_json_i64(r, "signal", -1), 9);
}

static void the_stage_sees_its_contract(void **state)
{
    (void)state;
    new_attempt(EXPORT(
        PUBLISH
        ",\"cat README; test -w $PORTOLAN_OUTPUTS && test -w $HOME && test -w $TMPDIR && echo writable;"
        "test -w $PORTOLAN_INPUTS || echo inputs-ro; cat $PORTOLAN_WITH; pwd; test $PWD = $CI_WORKSPACE && echo ws;"
        "echo $PORTOLAN_STAGE:$PORTOLAN_TARGET:$PORTOLAN_RUN:$PORTOLAN_REF:$CI:$CI_COMMIT_SHA:$GREETING;"
        "test -e $PORTOLAN_OUTPUTS/../job.json && echo LEAK-JOB; test -e $PORTOLAN_OUTPUTS/../result.json && echo LEAK;"
        "ip -o link 2>/dev/null | grep -v ' lo:' && echo LEAK-NET; cat /proc/net/dev | grep -c : \"") ",\"target\":\"web\",\"env\":{\"GREETING\":\"hi\",\"N\":5},\"with\":{\"k\":1}");
    PTL_JSON *r = run();
    PTL_FREE char *log = log_text();
    check_end("contract", r, "exit", true, "");
    static const char *const needles[] = {
        "hello\n",
        "writable\n",
        "inputs-ro\n",
        "\"k\": 1",
        "ws\n",
        "stage:web:3:refs/heads/main:true:0123456789abcdef0123456789abcdef01234567:hi\n",
        "[portolan] sandbox bwrap",
        "$ cat README",
        "network none but loopback"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(needles); i++)
        if (!strstr(log, needles[i]))
            fail_msg("\"%s\" is not in\n%s", needles[i], log);
    assert_null(strstr(log, "\nLEAK"));
}

static void other_attempts_and_the_agents_token_are_out_of_sight(void **state)
{
    (void)state;
    char job[1024];
    PTL_FREE char *token = ptl_fs_join(root, "agent.json");
    assert_int_equal(ptl_fs_write_atomic(token, "T0KEN", 5, 0600, NULL), 0);
    new_attempt(EXPORT(PUBLISH)); /* the neighbour */
    PTL_JSON *first PTL_UNUSED = run();
    check_end("the neighbour", first, "exit", true, "");
    snprintf(
        job, sizeof(job),
        EXPORT(
            "\"ls -a %s; cat %s %s/job.json || true; find / -xdev -name agent.json 2>/dev/null | grep . && echo FOUND;"
            "echo end\"," PUBLISH),
        root, token, dir);
    new_attempt(job);
    PTL_JSON *r = run();
    PTL_FREE char *log = log_text();
    check_end("neighbour", r, "exit", true, "");
    const char *from = strstr(log, "$ ls -a"), *body = strchr(from, '\n');
    if (strstr(body, "T0KEN") || strstr(body, "FOUND\n") || strstr(body, "attempt_id"))
        fail_msg("%s", log);
}

static void secrets_are_given_and_masked(void **state)
{
    (void)state;
    new_attempt(EXPORT(
        PUBLISH
        ",\"echo plain $KEY; echo \\\"$PEM\\\"; printf %s \\\"u:$KEY\\\" | base64; test \\\"$KEY\\\" = hunter2-is-secret && echo given; echo $PIN\"") ",\"secrets\":{\"KEY\":\"hunter2-is-secret\",\"PEM\":\"-----BEGIN-----\\nQUJDREVGR0hJSktM\\n-----END-----\",\"PIN\":\"123\"}");
    PTL_JSON *r = run();
    PTL_FREE char *log = log_text();
    check_end("secrets", r, "exit", true, "");
    static const char *const leaks[] = {"hunter2-is", "QUJDREVG", "aHVudGVyMi1pcy", "h1bnRlcjItaXMtc2Vjcm",
                                        "odW50ZXIyLWlzLXNlY3Jl"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(leaks); i++)
        if (strstr(log, leaks[i]))
            fail_msg("%s is in\n%s", leaks[i], log);
    assert_non_null(strstr(log, "plain ***\n"));
    assert_non_null(strstr(log, "given\n"));
    assert_non_null(strstr(log, "secret PIN is shorter than 4 bytes"));
    PTL_FREE char *text = ptl_json_text(r);
    assert_null(strstr(text, "hunter2"));
}

/* A report is shown to more people than a log, and in the end to a forge. */
static void secrets_are_not_reported(void **state)
{
    (void)state;
    new_attempt(
        "\"kind\":\"verify\",\"run\":[\"printf "
        "'{\\\"verdict\\\":\\\"red\\\",\\\"reasons\\\":[{\\\"text\\\":\\\"GET /?t=%s\\\"}],\\\"at\\\":{\\\"%s\\\":1}}' "
        "$KEY $KEY > $PORTOLAN_REPORT\"],\"secrets\":{\"KEY\":\"hunter2-is-secret\"}");
    PTL_JSON *r = run();
    check_end("a report with a secret", r, "exit", false, "verdict red: GET /?t=***");
    PTL_FREE char *text = ptl_json_text(r);
    assert_null(strstr(text, "hunter2"));
    assert_string_equal(ptl_json_str(json_object_get(r, "report"), "verdict", ""), "red");
    new_attempt(EXPORT(
        PUBLISH
        ",\"touch $PORTOLAN_OUTPUTS/model/for-$KEY.bin\"") ",\"secrets\":{\"KEY\":\"hunter2-is-secret\"}");
    PTL_JSON *named = run();
    check_end("an output named by a secret", named, "exit", false,
              "the name of output model/for-***.bin holds a secret");
    assert_int_equal(json_array_size(json_object_get(named, "artifacts")), 0);
    PTL_FREE char *all = ptl_json_text(named);
    assert_null(strstr(all, "hunter2"));
}

static void links_are_not_published(void **state)
{
    (void)state;
    new_attempt(EXPORT(
        PUBLISH
        ",\"ln -s /etc/passwd $PORTOLAN_OUTPUTS/model/passwd; ln -s / $PORTOLAN_OUTPUTS/model/all; mkfifo $PORTOLAN_OUTPUTS/model/pipe\""));
    PTL_JSON *r = run();
    check_end("links", r, "exit", true, "");
    assert_int_equal(json_array_size(json_object_get(r, "artifacts")), 2);
    assert_int_equal(json_array_size(json_object_get(r, "warnings")), 3);
    new_attempt(EXPORT(PUBLISH ",\"for i in $(seq 300); do ln -s / $PORTOLAN_OUTPUTS/model/$i; done\""));
    PTL_JSON *many = run();
    check_end("many links", many, "exit", true, "");
    assert_int_equal(json_array_size(json_object_get(many, "warnings")), 101);
    new_attempt(EXPORT(
        PUBLISH ",\"ln -s /etc/passwd $PORTOLAN_OUTPUTS/model/passwd\"") ",\"outputs\":[\"model/passwd\"]");
    PTL_JSON *declared = run();
    check_end("declared link", declared, "exit", false, "model/passwd is missing");
}

static void artifacts_carry_digest_size_and_mode(void **state)
{
    (void)state;
    new_attempt(EXPORT(
        PUBLISH ",\"printf abc > $PORTOLAN_OUTPUTS/model/run; chmod +x $PORTOLAN_OUTPUTS/model/run\""));
    PTL_JSON *r = run();
    const json_t *a = json_array_get(json_object_get(r, "artifacts"), 2);
    assert_string_equal(ptl_json_str(a, "path", ""), "model/run");
    assert_string_equal(ptl_json_str(a, "sha256", ""),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(ptl_json_i64(a, "size_bytes", 0), 3);
    assert_true(ptl_json_flag(a, "exec", false));
}

static void the_log_keeps_head_and_tail(void **state)
{
    (void)state;
    new_attempt(EXPORT(
        PUBLISH
        ",\"seq -f 'line %.0f of very many lines in this log' 100000\"") ",\"limits\":{\"log_bytes\":65536}");
    PTL_JSON *r = run();
    PTL_FREE char *log = log_text();
    check_end("log", r, "exit", true, "");
    assert_true(strlen(log) <= 65536);
    assert_non_null(strstr(log, "line 1 of"));
    assert_non_null(strstr(log, "[portolan] log cut here: "));
    assert_non_null(strstr(log, "line 100000 of"));
    assert_non_null(strstr(log, "[portolan] succeeded"));
}

static void odd_output_is_kept_as_it_is(void **state)
{
    (void)state;
    new_attempt(EXPORT(PUBLISH ",\"printf '50%%\\\\r100%%\\\\n\\\\377\\\\000x'\""));
    PTL_JSON *r = run();
    PTL_FREE char *path = in_dir("log");
    PTL_BUF log = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(path, 1 << 20, &log, NULL), 0);
    check_end("odd", r, "exit", true, "");
    assert_non_null(memmem(log.data, log.len, "50%\r100%\n\377\0x", 12));
}

/* ---- verify with the fake driver ---- */

static void put_golden(void)
{
    static const char npy[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (8, 2), }";
    char bytes[128 + 64];
    memset(bytes, ' ', sizeof(bytes));
    memcpy(bytes, npy, sizeof(npy) - 1);
    bytes[127] = '\n';
    for (int i = 0; i < 16; i++) {
        float f = (float)i * 0.25f + 0.1f;
        memcpy(bytes + 128 + i * 4, &f, 4);
    }
    put("inputs/model/m.bin", "model", 0644);
    put("inputs/golden/manifest.json",
        "{\"version\":1,\"samples\":8,\"precision\":\"fp32\",\"inputs\":[{\"name\":\"x\",\"dtype\":\"float32\",\"shape\":[8,2],\"file\":\"x.npy\"}],"
        "\"outputs\":[{\"name\":\"y\",\"dtype\":\"float32\",\"shape\":[8,2],\"file\":\"y.npy\"}]}",
        0644);
    for (int i = 0; i < 2; i++) {
        PTL_FREE char *path = in_dir(i ? "inputs/golden/x.npy" : "inputs/golden/y.npy");
        assert_int_equal(ptl_fs_write_atomic(path, bytes, sizeof(bytes), 0644, NULL), 0);
    }
}

static const struct {
    const char *fail_at, *reason;
    bool ok, report;
    const char *message;
} fake_cases[] = {
    {"none",        "exit",    true,  true,  ""                            },
    {"wrong",       "exit",    false, true,  "verdict red"                 },
    {"nan",         "exit",    false, true,  "verdict red"                 },
    {"constant",    "exit",    false, true,  "verdict red"                 },
    {"missing",     "exit",    false, true,  "verdict red"                 },
    {"console",     "exit",    false, true,  "verdict red"                 },
    {"nothing",     "exit",    false, false, "got/manifest.json is missing"},
    {"setup",       "setup",   false, false, "told to fail at setup"       },
    {"exit",        "exit",    false, false, "exit code 3"                 },
    {"signal",      "signal",  false, false, "signal 11"                   },
    {"oom",         "oom",     false, false, "ran out of memory"           },
    {"device_lost", "setup",   false, false, "device went away"            },
    {"hang",        "timeout", false, false, "time limit"                  },
};

static void a_drivers_every_end_is_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(fake_cases); i++) {
        char job[256];
        snprintf(job, sizeof(job),
                 "\"kind\":\"verify\",\"uses\":\"fake/run\",\"with\":{\"fail_at\":\"%s\"},\"timeout_ms\":%d",
                 fake_cases[i].fail_at, strcmp(fake_cases[i].fail_at, "hang") == 0 ? 300 : 60000);
        new_attempt(job);
        put_golden();
        PTL_JSON *r = run();
        check_end(fake_cases[i].fail_at, r, fake_cases[i].reason, fake_cases[i].ok, fake_cases[i].message);
        assert_int_equal(json_is_object(json_object_get(r, "report")), fake_cases[i].report);
        PTL_FREE char *report = in_dir("report.json");
        assert_int_equal(ptl_fs_exists(report), fake_cases[i].report);
    }
}

/* `precision: auto` is what the recipe that made the model says; what a bare command made stays auto. */
static void a_model_is_judged_as_its_recipe_made_it(void **state)
{
    (void)state;
    static const struct {
        const char *more, *precision;
    } t[] = {
        {"\"precision\":\"auto\",\"model_uses\":{\"uses\":\"fake/quantize\",\"with\":{\"mode\":\"int8\"}}",
         "int8"                                                                                                   },
        {"\"precision\":\"auto\",\"model_uses\":{\"uses\":\"fake/quantize\",\"with\":{}}",                  "fp32"},
        {"\"precision\":\"fp16\",\"model_uses\":{\"uses\":\"fake/quantize\",\"with\":{\"mode\":\"int8\"}}",
         "fp16"                                                                                                   },
        {"\"precision\":\"auto\",\"model_uses\":null",                                                      "fp32"},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        char job[512];
        snprintf(job, sizeof(job), "\"kind\":\"verify\",\"uses\":\"fake/run\",\"with\":{},%s", t[i].more);
        new_attempt(job);
        put_golden();
        PTL_JSON *r = run();
        check_end(t[i].more, r, "exit", true, "");
        assert_string_equal(ptl_json_str(json_object_get(r, "report"), "precision", ""), t[i].precision);
    }
}

static void a_driver_is_cancelled(void **state)
{
    (void)state;
    new_attempt("\"kind\":\"verify\",\"uses\":\"fake/run\",\"with\":{\"fail_at\":\"hang\"}");
    put_golden();
    struct ptl_proc p = start();
    wait_for_file("log");
    PTL_FREE char *path = in_dir("log");
    PTL_BUF log = PTL_BUF_INIT;
    while (!strstr(ptl_buf_str(&log), "device ready")) {
        ptl_buf_clear(&log);
        assert_int_equal(ptl_fs_read(path, 1 << 20, &log, NULL), 0);
        poll(NULL, 0, 10);
    }
    kill(p.pid, SIGTERM);
    int status;
    assert_int_equal(ptl_proc_wait(&p, 60000, &status), 0);
    PTL_JSON *r = result_of();
    check_end("hang", r, "cancelled", false, "cancelled");
}

/* ---- the directory ---- */

static void nobody_runs_an_attempt_twice(void **state)
{
    (void)state;
    new_attempt(EXPORT("\"touch begun; while ! test -e go; do sleep 0.05; done\"," PUBLISH));
    struct ptl_proc first = start();
    wait_for_file("src/begun");
    struct ptl_attempt_pid who;
    assert_int_equal(ptl_attempt_pid_read(dir, &who), 0);
    assert_int_equal(who.pid, first.pid);
    assert_true(ptl_attempt_pid_is_alive(&who));
    struct ptl_proc second = start();
    int status;
    assert_int_equal(ptl_proc_wait(&second, 60000, &status), 0);
    assert_int_equal(WEXITSTATUS(status), 1);
    put("src/go", "", 0644);
    assert_int_equal(ptl_proc_wait(&first, 60000, &status), 0);
    assert_int_equal(status, 0);
    assert_false(ptl_attempt_pid_is_alive(&who));
    who.pid = getpid(); /* a recycled pid has another start time */
    assert_false(ptl_attempt_pid_is_alive(&who));
    struct ptl_proc third = start();
    assert_int_equal(ptl_proc_wait(&third, 60000, &status), 0);
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void a_bad_job_is_refused(void **state)
{
    (void)state;
    static const char *const jobs[] = {"", "{", "[]", "{\"attempt_id\":1,\"fence\":1}",
                                       "{\"attempt_id\":1,\"fence\":1,\"kind\":\"x\"}"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(jobs); i++) {
        int status;
        new_attempt(EXPORT("\"true\""));
        put("job.json", jobs[i], 0600);
        struct ptl_proc p = start();
        assert_int_equal(ptl_proc_wait(&p, 60000, &status), 0);
        assert_int_equal(WEXITSTATUS(status), 1);
        PTL_FREE char *result = in_dir("result.json");
        assert_false(ptl_fs_exists(result));
    }
}

static void put_recipe(const char *name, const char *text)
{
    PTL_FREE char *folder = ptl_xasprintf("%s/recipes/%s", root, name);
    PTL_FREE char *path = ptl_fs_join(folder, "recipe.yml");
    assert_int_equal(ptl_fs_mkdirs(folder, 0755, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static int group_setup(void **state)
{
    (void)state;
    struct ptl_error err = PTL_ERROR_INIT;
    const char *how = ptl_sandbox_probe(&err);
    if (!how) {
        print_message("SKIP ALL: no sandbox on this host: %s\n", err.text);
        exit(0);
    }
    has_cgroup = strstr(how, "cgroup") != NULL;
    snprintf(root, sizeof(root), "/tmp/ptl-attempt-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    PTL_FREE char *recipes = ptl_fs_join(root, "recipes");
    put_recipe("fake/run",
               "name: fake/run\nkind: verify\nhost: server\ndriver: {kind: fake}\n"
               "parameters:\n  fail_at: {type: string, default: none}\n  lines: {type: integer, default: 0}\n"
               "  hold: {type: string, default: go}\ninputs: {model: required, golden: required}\n"
               "outputs: [got/manifest.json]\n");
    put_recipe(
        "fake/quantize",
        "name: fake/quantize\nkind: convert\ncommand: [\"true\"]\n"
        "parameters:\n  mode: {type: enum, values: [none, int8], default: none}\noutputs: [model/m.bin]\n"
        "precision: {from: mode, map: {none: fp32, int8: int8}}\n");
    put_recipe(
        "fake/copy",
        "name: fake/copy\nkind: convert\ncommand: [sh, -c, 'mkdir -p $PORTOLAN_OUTPUTS/model; "
        "T=$(sed -n \"s/.*\\\"to\\\": \\\"\\(.*\\)\\\".*/\\1/p\" $PORTOLAN_WITH); cp $PORTOLAN_WITH $PORTOLAN_OUTPUTS/$T; "
        "test -r {recipe}/recipe.yml']\n"
        "parameters:\n  text: {type: string, default: x}\n  to: {type: string, default: model/out.txt}\noutputs: [model/out.txt]\n");
    setenv("PORTOLAN_RECIPES", recipes, 1);
    setenv("PORTOLAN_TOOLCHAIN_FOLDERS", PTL_SOURCE_DIR "/agents/toolchains", 1);
    unsetenv("PORTOLAN_SANDBOX");
    return 0;
}

/* Whole numbers print as the stage wrote them, 0.1 as 0.10000000000000001: what is too much is said, and no
 * agent is called lost for it. */
static void a_large_report_is_taken_or_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *number;
        bool ok;
        const char *message;
    } t[] = {
        {"1",   true,  ""                                               },
        {"0.1", false, "bytes when it is printed, and 8323072 are taken"}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        char job[1000];
        snprintf(job, sizeof(job),
                 "\"kind\":\"verify\",\"run\":[\"(printf '{\\\"verdict\\\":\\\"green\\\",\\\"errors\\\":[0'; "
                 "yes ,%s | head -n 900000 | tr -d '\\\\n'; echo ']}') > $PORTOLAN_REPORT\"]",
                 t[i].number);
        new_attempt(job);
        struct ptl_proc p = start();
        int status = -1;
        PTL_JSON *r = NULL;
        PTL_FREE char *path = in_dir("result.json");
        struct ptl_error err = PTL_ERROR_INIT;
        assert_int_equal(ptl_proc_wait(&p, 120000, &status), 0);
        assert_int_equal(status, 0);
        if (ptl_json_load(path, PTL_WIRE_BODY_MAX, &r, &err) < 0 || ptl_wire_check_result(r, &err) < 0)
            fail_msg("%s", err.text);
        check_end(t[i].number, r, "exit", t[i].ok, t[i].message);
    }
}

/* The stage's own files fill the disk on which its end has to be written. */
static void a_full_disk_does_not_hide_the_end(void **state)
{
    (void)state;
    char before[sizeof(root)], small[sizeof(root)];
    snprintf(before, sizeof(before), "%s", root);
    if (snprintf(small, sizeof(small), "%s/small", root) >= (int)sizeof(small))
        fail_msg("%s: too long", root);
    assert_int_equal(mkdir(small, 0755), 0);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", small, "tmpfs", 0, "size=4m,mode=0755") < 0)
        skip(); /* only root may mount a small disk */
    snprintf(root, sizeof(root), "%s", small);
    new_attempt(EXPORT("\"dd if=/dev/zero of=fill bs=4k || exit 7\""));
    PTL_JSON *r = run();
    snprintf(root, sizeof(root), "%s", before);
    check_end("full disk", r, "exit", false, "exit code 7");
    PTL_FREE char *src = in_dir("src");
    assert_false(ptl_fs_exists(src));
    assert_int_equal(umount2(small, MNT_DETACH), 0);
}

static int kill_leftovers(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_running && i < PTL_ARRAY_LEN(running); i++)
        if (waitpid(running[i], NULL, WNOHANG) == 0) { /* still a child of ours, and alive */
            kill(-running[i], SIGKILL);
            waitpid(running[i], NULL, 0);
        }
    n_running = 0;
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    return ptl_fs_remove_tree(root, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_end_is_told_apart, kill_leftovers),
        cmocka_unit_test_teardown(out_of_memory_is_told_by_the_counters, kill_leftovers),
        cmocka_unit_test_teardown(cancel_reaches_the_stage_and_gives_it_grace, kill_leftovers),
        cmocka_unit_test_teardown(cancel_kills_a_deaf_stage, kill_leftovers),
        cmocka_unit_test_teardown(the_stage_sees_its_contract, kill_leftovers),
        cmocka_unit_test_teardown(other_attempts_and_the_agents_token_are_out_of_sight, kill_leftovers),
        cmocka_unit_test_teardown(secrets_are_given_and_masked, kill_leftovers),
        cmocka_unit_test_teardown(secrets_are_not_reported, kill_leftovers),
        cmocka_unit_test_teardown(links_are_not_published, kill_leftovers),
        cmocka_unit_test_teardown(artifacts_carry_digest_size_and_mode, kill_leftovers),
        cmocka_unit_test_teardown(the_log_keeps_head_and_tail, kill_leftovers),
        cmocka_unit_test_teardown(odd_output_is_kept_as_it_is, kill_leftovers),
        cmocka_unit_test_teardown(a_drivers_every_end_is_told_apart, kill_leftovers),
        cmocka_unit_test_teardown(a_model_is_judged_as_its_recipe_made_it, kill_leftovers),
        cmocka_unit_test_teardown(a_driver_is_cancelled, kill_leftovers),
        cmocka_unit_test_teardown(nobody_runs_an_attempt_twice, kill_leftovers),
        cmocka_unit_test_teardown(a_bad_job_is_refused, kill_leftovers),
        cmocka_unit_test_teardown(a_large_report_is_taken_or_refused_in_words, kill_leftovers),
        cmocka_unit_test_teardown(a_full_disk_does_not_hide_the_end, kill_leftovers),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
