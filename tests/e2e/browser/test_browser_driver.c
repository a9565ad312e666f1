/* test_browser_driver.c - the browser driver against the real Chromium: three runtimes green, and every known
 * way in which a browser fails silently, hangs or eats the machine. Each test has its own attempt directory,
 * and the whole program runs in its own network namespace with only a loopback device where the kernel allows
 * that. Waits are bounded by the driver's deadline; durations are only checked against "not as long as the
 * trap would take". */
#include <driver.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <cgroup.h>

#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/json.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char here[] = PTL_SOURCE_DIR "/tests/e2e/browser";
static const char recipes[] = PTL_SOURCE_DIR "/agents/recipes";
static bool has_own_net;
static pid_t test_pid;

struct attempt {
    char dir[256];
    json_t *job, *recipe, *with;
    struct ptl_driver_result result;
    struct ptl_error err;
    struct ptl_buf log;
    json_t *manifest; /* outputs/got/manifest.json or NULL */
    int rc;
    int64_t took_ms;
};

static char *toolchain;

static void find_toolchain(void)
{
    const char *named = getenv("PORTOLAN_WEB_TOOLCHAIN");
    if (named && *named) {
        toolchain = ptl_xstrdup(named);
        return;
    }
    FILE *p = popen(PTL_SOURCE_DIR "/agents/toolchains/prepare --path web", "r");
    char line[512] = "";
    if (p && fgets(line, sizeof(line), p))
        line[strcspn(line, "\n")] = 0;
    if (p)
        pclose(p);
    toolchain = ptl_xstrdup(line);
}

static char *at(const struct attempt *a, const char *path)
{
    return ptl_fs_join(a->dir, path);
}

static int copy_entry(void *ctx, const struct ptl_fs_entry *e)
{
    if (e->is_dir)
        return 0;
    PTL_FREE char *to = ptl_fs_join(ctx, e->path);
    PTL_FREE char *dir = ptl_xstrdup(to);
    *strrchr(dir, '/') = 0;
    assert_int_equal(ptl_fs_mkdirs(dir, 0755, NULL), 0);
    assert_int_equal(ptl_fs_copy(e->full, to, 0644, NULL), 0);
    return 0;
}

static void copy_tree(const char *from, const char *to)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_fs_walk(from, 1000, copy_entry, (void *)to, &err) != 0)
        fail_msg("%s", err.text);
}

static void begin(struct attempt *a, const char *model, const char *with_json)
{
    *a = (struct attempt){.err = PTL_ERROR_INIT};
    snprintf(a->dir, sizeof(a->dir), "/tmp/ptl-browser-XXXXXX");
    assert_non_null(mkdtemp(a->dir));
    static const char *const dirs[] = {"src", "inputs/model", "inputs/golden", "outputs", "scratch"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(dirs); i++) {
        PTL_FREE char *d = at(a, dirs[i]);
        assert_int_equal(ptl_fs_mkdirs(d, 0755, NULL), 0);
    }
    PTL_FREE char *fixtures = ptl_fs_join(here, "fixtures");
    PTL_FREE char *model_from = ptl_fs_join(fixtures, model), *golden_from = ptl_fs_join(fixtures, "golden");
    PTL_FREE char *model_to = at(a, "inputs/model"), *golden_to = at(a, "inputs/golden");
    copy_tree(model_from, model_to);
    copy_tree(golden_from, golden_to);
    a->job = json_pack("{s:i}", "attempt_id", (int)test_pid);
    a->recipe =
        json_pack("{s:{s:s,s:s,s:s}}", "driver", "kind", "browser", "page", "page.html", "run", "run.mjs");
    a->with = json_loads(with_json, 0, NULL);
    assert_non_null(a->with);
}

static void run_for(struct attempt *a, const char *recipe_dir, int64_t deadline_ms,
                    const atomic_int *cancelled)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    PTL_FREE char *inputs = at(a, "inputs"), *outputs = at(a, "outputs"), *src = at(a, "src"),
                  *scratch = at(a, "scratch");
    PTL_FREE char *log_path = at(a, "log");
    PTL_CLOSE int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int64_t began = ptl_mono_ms();
    struct ptl_driver_job job = {
        .attempt_dir = a->dir,
        .inputs_dir = inputs,
        .outputs_dir = outputs,
        .src_dir = src,
        .scratch_dir = scratch,
        .recipe_dir = recipe_dir,
        .toolchain_dir = toolchain,
        .job = a->job,
        .recipe = a->recipe,
        .with = a->with,
        .env = env,
        .log_fd = log_fd,
        .deadline_mono_ms = began + deadline_ms,
        .private_net = has_own_net,
        .cancelled = cancelled,
    };
    a->rc = ptl_driver_browser.run(&job, &a->result, &a->err);
    a->took_ms = ptl_mono_ms() - began;
    assert_int_equal(ptl_fs_read(log_path, 64 << 20, &a->log, NULL), 0);
    PTL_FREE char *manifest = at(a, "outputs/got/manifest.json");
    if (ptl_fs_exists(manifest))
        assert_int_equal(ptl_json_load(manifest, 4 << 20, &a->manifest, NULL), 0);
    if (getenv("PTL_TEST_VERBOSE"))
        fprintf(stderr, "--- rc %d, %s exit %d: %s | %s (%lld ms)\n%s---\n", a->rc,
                ptl_end_reason_name(a->result.end_reason), a->result.exit_code, a->result.message,
                a->err.text, (long long)a->took_ms, ptl_buf_str(&a->log));
}

static void run_in(struct attempt *a, const char *recipe, int64_t deadline_ms)
{
    static atomic_int never;
    PTL_FREE char *shipped = ptl_fs_join(recipes, recipe),
                  *mine = ptl_xasprintf("%s/recipes/%s", here, recipe);
    run_for(a, ptl_fs_is_dir(mine) ? mine : shipped, deadline_ms, &never);
}

static void show(const struct attempt *a)
{
    fprintf(stderr, "rc %d, %s, exit %d, message: %s\nerror: %s\nlog:\n%s\n", a->rc,
            ptl_end_reason_name(a->result.end_reason), a->result.exit_code, a->result.message, a->err.text,
            ptl_buf_str(&a->log));
}

#define expect(a, condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            show(a);                                                                                         \
            fail_msg("%s", #condition);                                                                      \
        }                                                                                                    \
    } while (0)
#define expect_in(a, text, part)                                                                             \
    do {                                                                                                     \
        if (!strstr(text, part)) {                                                                           \
            show(a);                                                                                         \
            fail_msg("\"%s\" is not in \"%s\"", part, text);                                                 \
        }                                                                                                    \
    } while (0)

/* Reads /proc/PID/NAME; 0 bytes when the process is gone or not ours. */
static size_t read_proc(const char *pid, const char *name, char *ret, size_t size)
{
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, ret, size) : 0;
    return n > 0 ? (size_t)n : 0;
}

static bool is_descendant(pid_t pid)
{
    for (int depth = 0; pid > 1 && depth < 64; depth++) {
        char text[1024], name[32];
        snprintf(name, sizeof(name), "%d", (int)pid);
        size_t n = read_proc(name, "stat", text, sizeof(text) - 1);
        text[n] = 0;
        const char *behind = strrchr(text, ')');
        int parent = 0;
        if (!behind || sscanf(behind + 1, " %*c %d", &parent) != 1)
            return false;
        if (parent == test_pid)
            return true;
        pid = parent;
    }
    return false;
}

/* Calls `fn` for every process of this program's browsers: by descent; by their home in the attempt
 * directory, or, as renderers overwrite their environment, by their cgroup. */
static unsigned each_browser_process(const char *dir, void (*fn)(pid_t pid, const char *command, size_t len))
{
    static char text[65536], command[65536];
    char group[PTL_CGROUP_NAME];
    unsigned found = 0;
    ptl_cgroup_name_for(dir, "browser", group);
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t pid = (pid_t)atoi(e->d_name);
        if (pid <= 0 || pid == test_pid || pid == getpid())
            continue;
        size_t n = read_proc(e->d_name, "environ", text, sizeof(text));
        bool is_ours = is_descendant(pid) || memmem(text, n, dir, strlen(dir)) != NULL;
        n = read_proc(e->d_name, "cgroup", text, sizeof(text));
        is_ours = is_ours || memmem(text, n, group, strlen(group)) != NULL;
        if (!is_ours)
            continue;
        found++;
        n = read_proc(e->d_name, "cmdline", command, sizeof(command));
        if (fn)
            fn(pid, command, n);
    }
    if (d)
        closedir(d);
    return found;
}

static void end(struct attempt *a)
{
    expect(a, each_browser_process(a->dir, NULL) == 0); /* chromedriver, browser, renderers, zygotes */
    PTL_FREE char *work = at(a, "scratch/browser");
    expect(a, !ptl_fs_exists(work)); /* 42 MB of profile each */
    assert_int_equal(ptl_fs_remove_tree(a->dir, NULL), 0);
    json_decref(a->job);
    json_decref(a->recipe);
    json_decref(a->with);
    json_decref(a->manifest);
    ptl_buf_done(&a->log);
}

/* Largest difference to the golden probabilities; they are float32 of shape [16, 10] behind a header. */
static double difference(const struct attempt *a)
{
    const json_t *o = json_array_get(json_object_get(a->manifest, "outputs"), 0);
    PTL_FREE char *got_path = ptl_xasprintf("%s/outputs/got/%s", a->dir, ptl_json_str(o, "file", "?"));
    PTL_FREE char *ref_path = at(a, "inputs/golden/outputs/probabilities.npy");
    PTL_BUF got = PTL_BUF_INIT;
    PTL_BUF ref = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(got_path, 1 << 20, &got, NULL), 0);
    assert_int_equal(ptl_fs_read(ref_path, 1 << 20, &ref, NULL), 0);
    expect(a, got.len == ref.len);
    double worst = 0;
    for (size_t i = ref.len - 16 * 10 * 4; i < ref.len; i += 4) {
        float x, y;
        memcpy(&x, got.data + i, 4);
        memcpy(&y, ref.data + i, 4);
        worst = fmax(worst, isnan(x) ? INFINITY : fabs((double)x - y));
    }
    return worst;
}

static void expect_green(struct attempt *a, const char *runtime, const char *backend)
{
    expect(a, a->rc == 0 && a->result.end_reason == PTL_END_EXIT && a->result.exit_code == 0);
    expect(a, a->manifest != NULL);
    const json_t *metrics = json_object_get(a->manifest, "metrics"),
                 *rt = json_object_get(a->manifest, "runtime");
    const json_t *o = json_array_get(json_object_get(a->manifest, "outputs"), 0);
    expect(a, json_array_size(json_object_get(a->manifest, "outputs")) == 1);
    expect(a, ptl_str_eq(ptl_json_str(o, "name", NULL), "probabilities"));
    expect(a, ptl_str_eq(ptl_json_str(o, "dtype", NULL), "float32"));
    expect(a, ptl_str_eq(ptl_json_str(rt, "name", NULL), runtime) &&
                  ptl_str_eq(ptl_json_str(rt, "backend", NULL), backend));
    expect(a, *ptl_json_str(rt, "version", "") != 0);
    expect_in(a, ptl_json_str(rt, "device", ""), "Chromium 1");
    expect(a, ptl_json_flag(rt, "indicative_latency", false));
    expect(a, json_array_size(json_object_get(metrics, "latency_ms")) >= 20);
    expect(a, ptl_json_num(metrics, "load_ms", 0) > 0 && ptl_json_num(metrics, "first_ms", -1) >= 0);
    expect(a, json_array_size(json_object_get(a->manifest, "console")) == 0);
    expect(a, difference(a) < 1e-5);
    if (strstr(ptl_buf_str(&a->log), "+cgroup"))
        expect(a, ptl_json_i64(metrics, "peak_memory_bytes", 0) > 50 << 20);
}

/* ---- green ---- */

static void test_tfjs(void **state)
{
    (void)state;
    static const struct {
        const char *model, *backend, *extra;
        int bytes, shards;
    } cases[] = {
        {"layers", "wasm",  "",               6399, 3},
        {"graph",  "wasm",  "",               0,    4},
        {"graph",  "wasm",  ",\"threads\":2", 0,    4},
        {"layers", "cpu",   "",               6399, 3},
        {"graph",  "webgl", "",               0,    4},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct attempt a;
        PTL_FREE char *with =
            ptl_xasprintf("{\"backend\":\"%s\",\"model\":\"model.json\",\"execute\":\"auto\"%s%s}",
                          cases[i].backend, *cases[i].extra ? "" : ",\"threads\":1", cases[i].extra);
        begin(&a, cases[i].model, with);
        run_in(&a, "tfjs/run", 90000);
        expect_green(&a, "tfjs", cases[i].backend);
        const json_t *metrics = json_object_get(a.manifest, "metrics");
        expect(&a, ptl_json_i64(metrics, "shards", 0) == cases[i].shards);
        if (cases[i].bytes)
            expect(&a, ptl_json_i64(metrics, "artifact_bytes", 0) == cases[i].bytes);
        end(&a);
    }
}

static void test_onnxruntime_web(void **state)
{
    (void)state;
    static const struct {
        const char *model, *with;
    } cases[] = {
        {"onnx",          "{\"threads\":1,\"optimize\":\"all\"}"              },
        {"onnx",          "{\"threads\":2,\"optimize\":\"basic\",\"batch\":0}"},
        {"onnx-external", "{\"threads\":1,\"optimize\":\"all\",\"batch\":5}"  },
        {"onnx-renamed",  "{\"threads\":1,\"optimize\":\"all\"}"              },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct attempt a;
        begin(&a, cases[i].model, cases[i].with);
        run_in(&a, "onnxruntime-web/run", 90000);
        expect_green(&a, "onnxruntime-web", "wasm");
        end(&a);
    }
}

static void test_litertjs(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "tflite", "{}");
    run_in(&a, "litertjs/run", 90000);
    expect_green(&a, "litertjs", "wasm");
    end(&a);
}

/* ---- the traps ---- */

static void test_hungry_tab_is_oom(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "graph", "{\"memory\":\"1GiB\"}");
    run_in(&a, "hog", 90000);
    expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_OOM);
    expect_in(&a, a.result.message, "1.0 GiB");
    expect(&a, a.took_ms < 60000);
    expect(&a, a.result.peak_memory_bytes <= (uint64_t)1300 << 20);
    expect(&a, a.manifest == NULL);
    end(&a);
}

static void test_busy_page_ends_at_the_deadline(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "graph", "{}");
    run_in(&a, "busy", 30000); /* enough for a browser to come up on a busy machine */
    expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_TIMEOUT);
    expect_in(&a, a.result.message, "load the model");
    expect(&a, a.took_ms < 150000); /* the loop runs for 300 s: the browser was killed over it */
    end(&a);
}

static atomic_int cancel_now;
static void on_alarm(int sig)
{
    (void)sig;
    cancel_now = 1;
}
static void test_cancel(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "graph", "{}");
    signal(SIGALRM, on_alarm);
    alarm(3);
    PTL_FREE char *dir = ptl_xasprintf("%s/recipes/busy", here);
    run_for(&a, dir, 60000, &cancel_now);
    expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_CANCELLED);
    expect(&a, a.took_ms < 20000);
    end(&a);
}

static void kill_renderer(pid_t pid, const char *command, size_t len)
{
    if (memmem(command, len, "--type=renderer", 15))
        kill(pid, SIGKILL);
}

/* A child that waits until the page has spoken and then kills the renderers of this attempt's browser. */
static pid_t start_renderer_killer(const char *dir)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    PTL_FREE char *log = ptl_fs_join(dir, "log");
    for (int i = 0; i < 600; i++) {
        PTL_BUF text = PTL_BUF_INIT;
        if (ptl_fs_read(log, 1 << 20, &text, NULL) == 0 && strstr(ptl_buf_str(&text), "the last words"))
            break;
        poll(NULL, 0, 50);
    }
    each_browser_process(dir, kill_renderer);
    _exit(0);
}

static void test_crashed_tab(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "graph", "{}");
    pid_t killer = start_renderer_killer(a.dir);
    run_in(&a, "crash", 60000);
    int status;
    waitpid(killer, &status, 0);
    expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_EXIT && a.result.exit_code == 1);
    expect_in(&a, a.result.message, "tab crashed");
    expect_in(&a, ptl_buf_str(&a.log), "the last words of the tab");
    expect(&a, a.took_ms < 45000);
    end(&a);
}

static void test_causes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *label, *recipe, *model, *with, *message, *log;
    } cases[] = {
        {"missing shard",                   "tfjs/run",            "layers",
         "{\"backend\":\"cpu\",\"model\":\"model.json\",\"faults\":[\"missing_shard=2\"]}",                                           "404 for model/group1-shard2of3.bin", "page server: 404 model/group1-shard2of3.bin"},
        {"missing shard of a graph model",  "tfjs/run",            "graph",
         "{\"backend\":\"wasm\",\"threads\":1,\"model\":\"model.json\",\"execute\":\"auto\",\"faults\":[\"missing_shard=3\"]}",
         "404 for model/group1-shard3of3.bin",                                                                                                                              "page server: 404"                           },
        {"truncated shard",                 "tfjs/run",            "layers",
         "{\"backend\":\"cpu\",\"model\":\"model.json\",\"faults\":[\"truncated_shard=3\"]}",                                         "",
         "failed in phase"                                                                                                                                                                                               },
        {"missing external data",           "onnxruntime-web/run", "onnx-external",
         "{\"threads\":1,\"optimize\":\"all\",\"faults\":[\"missing_shard=2\"]}",                                                     "404 for model/weights.bin",
         "page server: 404"                                                                                                                                                                                              },
        {"no such model",                   "tfjs/run",            "graph",         "{\"backend\":\"cpu\",\"model\":\"other.json\"}", "404 for",
         "page server: 404"                                                                                                                                                                                              },
        {"file URL",                        "tfjs/run",            "graph",
         "{\"backend\":\"cpu\",\"model\":\"model.json\",\"faults\":[\"file_url\"]}",                                                  "Not allowed to load local resource", "Failed to fetch"                            },
        {"other origin",                    "tfjs/run",            "graph",
         "{\"backend\":\"cpu\",\"model\":\"model.json\",\"faults\":[\"cross_origin\"]}",                                              "blocked by CORS",
         "Failed to fetch"                                                                                                                                                                                               },
        {"offline",                         "tfjs/run",            "graph",
         "{\"backend\":\"cpu\",\"model\":\"model.json\",\"faults\":[\"offline\"]}",                                                   "ERR_INTERNET_DISCONNECTED",          "fetch"                                      },
        {"wasm file absent",                "tfjs/run",            "graph",
         "{\"backend\":\"wasm\",\"threads\":1,\"model\":\"model.json\",\"faults\":[\"missing_wasm\"]}",                               "backend \"wasm\" did not start",     "page server: 404 toolchain/tfjs"            },
        {"wasm file absent, onnx",          "onnxruntime-web/run", "onnx",
         "{\"threads\":1,\"optimize\":\"all\",\"faults\":[\"missing_wasm\"]}",                                                        "no available backend found",
         "page server: 404"                                                                                                                                                                                              },
        {"threads without isolation",       "onnxruntime-web/run", "onnx",
         "{\"threads\":2,\"optimize\":\"all\",\"faults\":[\"drop_coop\"]}",                                                           "cross-origin isolated",
         "failed in phase"                                                                                                                                                                                               },
        {"threads without isolation, tfjs", "tfjs/run",            "graph",
         "{\"backend\":\"wasm\",\"threads\":2,\"model\":\"model.json\",\"faults\":[\"drop_coop\"]}",                                  "cross-origin isolated",              "failed in phase"                            },
        {"unknown operator",                "tfjs/run",            "unknown-op",
         "{\"backend\":\"cpu\",\"model\":\"model.json\",\"execute\":\"auto\"}",                                                       "XlaSharding",
         "failed in phase"                                                                                                                                                                                               },
        {"no model of that kind",           "onnxruntime-web/run", "graph",         "{\"threads\":1,\"optimize\":\"all\"}",
         "0 .onnx or .ort files",                                                                                                                                           "failed in phase"                            },
        {"resolves with nothing",           "garbage",             "graph",         "{\"answer\":\"nothing\"}",
         "resolved without any output",                                                                                                                                     "failed"                                     },
        {"resolves with too little",        "garbage",             "graph",         "{\"answer\":\"short\"}",
         "resolved with no usable tensor",                                                                                                                                  "failed"                                     },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct attempt a;
        fprintf(stderr, "  case: %s\n", cases[i].label);
        begin(&a, cases[i].model, cases[i].with);
        run_in(&a, cases[i].recipe, 90000);
        expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_EXIT && a.result.exit_code == 1);
        expect(&a, a.manifest == NULL);
        expect_in(&a, a.result.message, cases[i].message);
        expect_in(&a, ptl_buf_str(&a.log), cases[i].log);
        end(&a);
    }
}

static void test_wrong_mime_is_survived_and_told(void **state)
{
    (void)state;
    struct attempt a;
    begin(
        &a, "graph",
        "{\"backend\":\"wasm\",\"threads\":1,\"model\":\"model.json\",\"execute\":\"auto\",\"faults\":[\"wrong_mime\"]}");
    run_in(&a, "tfjs/run", 90000);
    expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_EXIT);
    expect_in(&a, ptl_buf_str(&a.log), "MIME");
    end(&a);
}

/* What a runtime only tells the console must reach the manifest, where the gate turns red for it; nothing
 * else may. */
static void test_garbage_and_the_console(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *console, *log;
        bool is_nan;
    } cases[] = {
        {"console_error",  "ERROR console-api: ERROR: Node number 3 (FlexAsinh) failed to prepare.",
         "console error",                                                                                                        false},
        {"nan",            NULL,                                                                     "10 of 160 elements",       true },
        {"info_only",      NULL,                                                                     "console warning",          false},
        {"rejected_aside", "weights were never uploaded",                                            "rejection (promise)",      false},
        {"logger",         NULL,                                                                     "plain words and 7 {\"a\"", false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct attempt a;
        PTL_FREE char *with = ptl_xasprintf("{\"answer\":\"%s\"}", cases[i].answer);
        fprintf(stderr, "  case: %s\n", cases[i].answer);
        begin(&a, "graph", with);
        run_in(&a, "garbage", 60000);
        expect(&a, a.rc == 0 && a.result.exit_code == 0 && a.manifest);
        const json_t *console = json_object_get(a.manifest, "console");
        expect(&a, (json_array_size(console) > 0) == (cases[i].console != NULL));
        if (cases[i].console)
            expect_in(&a, json_string_value(json_array_get(console, 0)), cases[i].console);
        expect_in(&a, ptl_buf_str(&a.log),
                  cases[i].is_nan ? "160 of 160 elements that are NaN" : cases[i].log);
        if (cases[i].is_nan)
            expect(&a, isinf(difference(&a)));
        end(&a);
    }
}

static void test_litertjs_garbage_is_told(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "tflite-custom", "{}");
    run_in(&a, "litertjs/run", 90000);
    expect(&a, a.rc == 0 && a.result.end_reason == PTL_END_EXIT);
    if (a.result.exit_code == 0)
        expect(&a, json_array_size(json_object_get(a.manifest, "console")) > 0);
    expect_in(&a, ptl_buf_str(&a.log), "Asinh");
    end(&a);
}

/* A chromedriver that somebody else runs, as a grid's node would be; as nobody, or its browser refuses its
 * sandbox. */
static pid_t start_foreign_driver(const char *home, unsigned *ret_port)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(125);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(fds[1], 1);
        close(fds[0]);
        setsid();
        setenv("HOME", home, 1);
        setenv("TMPDIR", home, 1);
        execlp("chromedriver", "chromedriver", "--port=0", NULL);
        _exit(127);
    }
    close(fds[1]);
    FILE *out = fdopen(fds[0], "r");
    char line[512];
    static const char said[] = "started successfully on port ";
    while (!*ret_port && out && fgets(line, sizeof(line), out))
        if (strstr(line, said))
            *ret_port = (unsigned)strtoul(strstr(line, said) + strlen(said), NULL, 10);
    return pid; /* the pipe stays open: it would be a closed stdout to chromedriver */
}

static void test_a_webdriver_url(void **state)
{
    (void)state;
    struct attempt a;
    unsigned port = 0;
    char home[] = "/tmp/ptl-grid-XXXXXX";
    assert_non_null(mkdtemp(home));
    assert_int_equal(chmod(home, 01777), 0);
    pid_t pid = start_foreign_driver(home, &port);
    assert_true(port > 0);
    PTL_FREE char *with =
        ptl_xasprintf("{\"webdriver\":\"http://127.0.0.1:%u\",\"threads\":1,\"optimize\":\"all\"}", port);
    begin(&a, "onnx", with);
    run_in(&a, "onnxruntime-web/run", 90000);
    kill(-pid, SIGKILL); /* its browser is in its session's group or ended by DELETE */
    int status;
    waitpid(pid, &status, 0);
    expect(&a, a.rc == 0 && a.result.exit_code == 0 && a.manifest);
    expect(&a, difference(&a) < 1e-5);
    expect(&a, !json_object_get(json_object_get(a.manifest, "metrics"),
                                "peak_memory_bytes")); /* not ours to measure */
    expect_in(&a, ptl_buf_str(&a.log), "isolated by its own host");
    end(&a);
    assert_int_equal(ptl_fs_remove_tree(home, NULL), 0);
}

static void test_setup_failures(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "graph", "{\"faults\":[\"mising_wasm\"]}");
    run_in(&a, "tfjs/run", 30000);
    expect(&a, a.rc < 0);
    expect_in(&a, a.err.text, "did you mean \"missing_wasm\"");
    end(&a);
    begin(&a, "graph", "{\"webdriver\":\"http://127.0.0.1:9\"}");
    run_in(&a, "tfjs/run", 30000);
    expect(&a, a.rc < 0);
    expect_in(&a, a.err.text, "POST /session");
    end(&a);
    setenv("PORTOLAN_CHROMEDRIVER", "/nonexistent/chromedriver", 1);
    begin(&a, "graph", "{}");
    run_in(&a, "tfjs/run", 30000);
    expect(&a, a.rc < 0);
    expect_in(&a, a.err.text, "prepare chromium");
    end(&a);
    PTL_JSON *inventory = json_object();
    assert_int_equal(ptl_driver_browser.inventory(inventory, &a.err), PTL_ABSENT);
    assert_non_null(strstr(a.err.text, "chromium-driver"));
    unsetenv("PORTOLAN_CHROMEDRIVER");
}

static void test_inventory(void **state)
{
    (void)state;
    PTL_JSON *inventory = json_object();
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_driver_browser.inventory(inventory, &err) != 0)
        fail_msg("%s", err.text);
    const json_t *device = json_array_get(json_object_get(inventory, "devices"), 0);
    assert_string_equal(ptl_json_str(device, "kind", ""), "browser");
    assert_int_equal(json_array_size(json_object_get(device, "backends")), 3);
    assert_true(strtol(ptl_json_str(device, "version", ""), NULL, 10) > 100);
}

/* The browser runs as somebody without rights, and with its own sandbox. */
static void test_isolation_is_told(void **state)
{
    (void)state;
    struct attempt a;
    begin(&a, "graph", "{\"backend\":\"cpu\",\"model\":\"model.json\",\"execute\":\"auto\"}");
    run_in(&a, "tfjs/run", 60000);
    expect(&a, a.rc == 0 && a.result.exit_code == 0);
    expect_in(&a, ptl_buf_str(&a.log), "isolated by bwrap");
    expect(&a, !strstr(ptl_buf_str(&a.log), "--no-sandbox"));
    end(&a);
}

/* A network of its own with nothing but loopback, as the agent gives it to an attempt. */
static bool enter_own_net(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    PTL_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_RUNNING};
    strcpy(ifr.ifr_name, "lo");
    return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
}

int main(void)
{
    find_toolchain();
    test_pid = getpid();
    has_own_net = enter_own_net();
    fprintf(stderr, "network: %s; toolchain: %s\n", has_own_net ? "own, loopback only" : "the host's",
            toolchain);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inventory),
        cmocka_unit_test(test_isolation_is_told),
        cmocka_unit_test(test_tfjs),
        cmocka_unit_test(test_onnxruntime_web),
        cmocka_unit_test(test_litertjs),
        cmocka_unit_test(test_hungry_tab_is_oom),
        cmocka_unit_test(test_busy_page_ends_at_the_deadline),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_crashed_tab),
        cmocka_unit_test(test_causes_are_named),
        cmocka_unit_test(test_wrong_mime_is_survived_and_told),
        cmocka_unit_test(test_garbage_and_the_console),
        cmocka_unit_test(test_litertjs_garbage_is_told),
        cmocka_unit_test(test_a_webdriver_url),
        cmocka_unit_test(test_setup_failures),
    };
    const char *only = getenv("PTL_TEST_FILTER");
    if (only)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
