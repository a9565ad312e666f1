/* browser.c - the browser host's driver: serves a recipe's page with the model and the golden inputs, drives
 * a browser through WebDriver to run them, and publishes what came back as outputs/got.
 *
 * Runs in the attempt's process, blocks, and is back by the deadline: every wait goes through guard(), which
 * looks at the clock, at cancellation and at the life of chromedriver ten times a second. Past the deadline
 * nothing is asked of the browser any more, it is killed: a busy page answers neither a script timeout nor
 * DELETE. A verify counts as run only on positive proof: the page said ok, each output it names has arrived
 * whole, and the kernel killed nothing for memory. Whether the outputs are right is the comparison's
 * business, not this file's. Two ways to a browser: an own chromedriver and Chromium (chromium.c), or any
 * WebDriver URL (parameter "webdriver"). */
#include <driver.h>
#include "browser-private.h"
#include "cgroup.h"
#include "chromium.h"
#include "console.h"
#include "webdriver.h"

#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/json.h>
#include <portolan/proc.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    SESSION_MS = 60000, /* cold start of Chromium on a busy machine: seconds; then something is wrong */
    PAGE_MS = 60000,    /* the page and the runtime's scripts; the model is loaded by the script */
    CALL_MS = 10000,    /* small calls to an idle browser */
    CLOSE_MS = 3000,    /* politeness; the kill comes in any case */
    LAST_CALL_MS = 250, /* within the time kept back before the deadline */
    LATENCY_BUDGET_MS = 15000,
    SAID_MAX = 30, /* lines of the browser's own output shown after a bad end */
    MANIFEST_MAX = 4 << 20,
    LOG_BUDGET = 8 << 20, /* what a page may print into the attempt's log */
    DEFAULT_MEMORY_MB =
        2500 /* a phone's browser gets less, a desktop's more; the tab of B3 asked for 10 GB */
};

static const char *const browser_names[] = {"chromium", "chromium-browser", "google-chrome", NULL};
static const char *const driver_names[] = {"chromedriver", NULL};
static const char INSTALL_HINT[] =
    "install them with agents/toolchains/prepare chromium (Debian packages chromium and "
    "chromium-driver)";

struct verify {
    const struct ptl_driver_job *job;
    struct ptl_console *console;
    struct ptl_pageserver *server;
    struct ptl_chromium *chromium; /* NULL: a WebDriver URL is used */
    struct ptl_webdriver *wd;
    const char *browser; /* program; NULL with a WebDriver URL */
    char *base_url;      /* http://HOST:PORT/TOKEN/ */
    char *device;        /* "Chromium 156.0… (headless, linux)" */
    json_t *golden, *signature, *model_files, *versions;
    struct ptl_pageserver_faults faults;
    bool model_from_file, model_cross_origin, offline;
    char *file_base, *cross_base;
    char *said[SAID_MAX]; /* a ring: the browser's own last lines */
    unsigned n_said;
    bool drained;
    bool is_closing;        /* the guard lets one last short call through */
    int64_t stop_asking_ms; /* before the deadline by what killing and writing take */
    enum { CUT_NONE, CUT_DEADLINE, CUT_CANCELLED, CUT_BROWSER_GONE } cut;
};

/* ---- the guard of every wait ---- */

static int guard(void *ctx)
{
    struct verify *v = ctx;
    if (v->is_closing)
        return 0;
    if (v->job->cancelled && *v->job->cancelled)
        v->cut = CUT_CANCELLED;
    else if (ptl_mono_ms() >= v->stop_asking_ms)
        v->cut = CUT_DEADLINE;
    else if (v->chromium && !ptl_chromium_is_alive(v->chromium))
        v->cut = CUT_BROWSER_GONE;
    return v->cut != CUT_NONE;
}

static int64_t at_most(const struct verify *v, int64_t ms)
{
    int64_t left = v->stop_asking_ms - ptl_mono_ms();
    return left < 1 ? 1 : left < ms ? left : ms;
}

/* ---- parameters and inputs ---- */

static const char *param(const struct verify *v, const char *name, const char *dflt)
{
    const char *s = ptl_json_str(v->job->with, name, NULL);
    return s && *s ? s : dflt;
}

static int read_fault(struct verify *v, const char *word, struct ptl_error *err)
{
    static const char *const known[] = {"drop_coop",       "wrong_mime",        "missing_wasm",
                                        "missing_shard=N", "truncated_shard=N", "file_url",
                                        "cross_origin",    "offline",           NULL};
    if (strcmp(word, "drop_coop") == 0)
        v->faults.drop_coop = true;
    else if (strcmp(word, "wrong_mime") == 0)
        v->faults.wrong_mime = true;
    else if (strcmp(word, "missing_wasm") == 0)
        v->faults.missing_wasm = true;
    else if (strcmp(word, "file_url") == 0)
        v->model_from_file = true;
    else if (strcmp(word, "cross_origin") == 0)
        v->model_cross_origin = true;
    else if (strcmp(word, "offline") == 0)
        v->offline = true;
    else if (sscanf(word, "missing_shard=%u", &v->faults.missing_shard) != 1 &&
             sscanf(word, "truncated_shard=%u", &v->faults.truncated_shard) != 1) {
        const char *near = ptl_str_nearest(word, known);
        return ptl_error_set(err, -EINVAL, "browser: parameter \"faults\": \"%s\" is no fault switch%s%s%s",
                             word, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    return 0;
}

static int read_faults(struct verify *v, struct ptl_error *err)
{
    const json_t *list = json_object_get(v->job->with, "faults");
    size_t i;
    const json_t *e;
    json_array_foreach(list, i, e)
    {
        int r = read_fault(v, json_is_string(e) ? json_string_value(e) : "", err);
        if (r < 0)
            return r;
        ptl_console_say(v->console, "drill: fault switch %s is on", json_string_value(e));
    }
    return 0;
}

static int collect_name(void *ctx, const struct ptl_fs_entry *e)
{
    return e->is_dir ? 0 : json_array_append_new(ctx, json_string(e->path));
}

static int load_inputs(struct verify *v, const char *model_dir, const char *golden_dir, struct ptl_error *err)
{
    PTL_FREE char *manifest = ptl_fs_join(golden_dir, "manifest.json");
    PTL_FREE char *signature = ptl_fs_join(model_dir, "signature.json");
    int r = ptl_json_load(manifest, MANIFEST_MAX, &v->golden, err);
    if (r < 0)
        return ptl_error_prefix(err, r, "browser: the golden set");
    if (ptl_fs_exists(signature) && (r = ptl_json_load(signature, MANIFEST_MAX, &v->signature, err)) < 0)
        return ptl_error_prefix(err, r, "browser: the model's signature.json");
    if (v->job->toolchain_dir) {
        PTL_FREE char *versions = ptl_fs_join(v->job->toolchain_dir, "versions.json");
        int ignored PTL_UNUSED =
            ptl_json_load(versions, 65536, &v->versions, NULL); /* for runtimes that do not say theirs */
    }
    v->model_files = json_array();
    r = ptl_fs_walk(model_dir, 10000, collect_name, v->model_files, err);
    if (r)
        return r < 0 ? ptl_error_prefix(err, r, "browser: the model files") : -ENOMEM;
    if (json_array_size(v->model_files) == 0)
        return ptl_error_set(err, -ENOENT, "browser: there are no model files in %s", model_dir);
    return 0;
}

static uint64_t memory_ceiling(const struct verify *v)
{
    int64_t bytes = 0;
    const char *text = param(v, "memory", NULL);
    if (!text || ptl_size_parse(text, &bytes) < 0 || bytes <= 0)
        bytes = (int64_t)DEFAULT_MEMORY_MB << 20;
    uint64_t ceiling = (uint64_t)bytes;
    return v->job->memory_bytes && v->job->memory_bytes < ceiling ? v->job->memory_bytes : ceiling;
}

/* ---- the page server ---- */

static void on_event(void *ctx, const char *text, size_t len)
{
    ptl_console_add_event(((struct verify *)ctx)->console, text, len);
}
static void on_refused(void *ctx, const char *line)
{
    ptl_console_say(((struct verify *)ctx)->console, "page server: %s", line);
}

static int start_server(struct verify *v, const char *model_dir, const char *golden_dir, const char *got_dir,
                        struct ptl_error *err)
{
    const char *host = param(v, "page_host", NULL);
    PTL_FREE char *token = ptl_token_new("page");
    const struct ptl_pageserver_root roots[] = {
        {"recipe",                                   v->job->recipe_dir   },
        {"model",                                    model_dir            },
        {"golden",                                   golden_dir           },
        {v->job->toolchain_dir ? "toolchain" : NULL, v->job->toolchain_dir},
        {NULL,                                       NULL                 },
    };
    struct ptl_pageserver_spec spec = {
        .bind = host ? "0.0.0.0" : "127.0.0.1",
        .token = token,
        .roots = roots,
        .assets = ptl_browser_assets,
        .got_dir = got_dir,
        .faults = v->faults,
        .on_event = on_event,
        .on_refused = on_refused,
        .ctx = v,
    };
    int r = ptl_pageserver_start(&spec, &v->server, err);
    if (r < 0)
        return r;
    unsigned port = ptl_pageserver_port(v->server);
    v->base_url = ptl_xasprintf("http://%s:%u/%s/", host ? host : "127.0.0.1", port, token);
    v->file_base = ptl_xasprintf("file://%s/", model_dir);
    v->cross_base = ptl_xasprintf("http://localhost:%u/%s/model/", port, token);
    ptl_console_set_base(v->console, v->base_url);
    return 0;
}

/* ---- the browser ---- */

/* What chromedriver and the browser print is mostly the absence of desktop services, on every headless
 * machine. The last lines of the rest are kept, and shown when the run does not end well: they say why a
 * browser did not start, and repeat the console of a page whose console could not be drained any more. */
static void on_browser_line(void *ctx, const char *line)
{
    static const char *const usual[] = {
        "security-considerations",
        "Only local connections",
        "Starting ChromeDriver",
        "was started successfully",
        "DevTools listening",
        "D-Bus",
        "dbus",
        "DBus",
        "vaapi",
        "Slow network is detected",
        "chrome://",
        "called with multiple threads in process gpu-process",
        "drmGetDevices",
    };
    struct verify *v = ctx;
    for (size_t i = 0; i < PTL_ARRAY_LEN(usual); i++)
        if (strstr(line, usual[i]))
            return;
    free(v->said[v->n_said % SAID_MAX]);
    v->said[v->n_said++ % SAID_MAX] = ptl_xstrdup(line);
}

static void show_browser_lines(struct verify *v, bool drained)
{
    unsigned n = v->n_said < SAID_MAX ? v->n_said : SAID_MAX;
    for (unsigned i = v->n_said - n; i < v->n_said; i++)
        if (!drained || !strstr(v->said[i % SAID_MAX], ":CONSOLE:"))
            ptl_console_say(v->console, "chromium: %s", v->said[i % SAID_MAX]);
}

static int start_browser(struct verify *v, struct ptl_error *err)
{
    PTL_FREE char *driver = ptl_chromium_find("PORTOLAN_CHROMEDRIVER", driver_names);
    PTL_FREE char *work = ptl_fs_join(v->job->scratch_dir, "browser");
    /* begins as the attempt's own group does, so that the agent's sweep after a lost attempt finds it */
    char cgroup[PTL_CGROUP_NAME];
    ptl_cgroup_name_for(v->job->attempt_dir, "browser", cgroup);
    if (!driver || !v->browser)
        return ptl_error_set(err, -ENOENT, "browser: no %s on this host; %s",
                             driver ? "chromium" : "chromedriver", INSTALL_HINT);
    struct ptl_chromium_spec spec = {
        .chromedriver = driver,
        .browser = v->browser,
        .work_dir = work,
        .memory_bytes = memory_ceiling(v),
        .cgroup_name = cgroup,
        .deadline_mono_ms = v->stop_asking_ms,
        .cancelled = v->job->cancelled,
        .on_line = on_browser_line,
        .ctx = v,
    };
    return ptl_chromium_start(&spec, &v->chromium, err);
}

static json_t *capabilities(const struct verify *v, bool sandboxed)
{
    static const char *const always[] = {
        "--headless=new",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-breakpad",
        "--disable-domain-reliability",
        "--metrics-recording-only",
        "--no-pings",
        "--mute-audio",
        "--password-store=basic",
        "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        "--enable-unsafe-swiftshader", /* WebGL without a GPU; the page is the recipe's own */
        "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
    };
    json_t *args = json_array();
    for (size_t i = 0; i < PTL_ARRAY_LEN(always); i++)
        json_array_append_new(args, json_string(always[i]));
    if (!sandboxed)
        json_array_append_new(args, json_string("--no-sandbox"));
    json_t *options = json_pack("{s:o}", "args", args);
    if (v->browser)
        json_object_set_new(options, "binary", json_string(v->browser));
    return json_pack("{s:{s:s,s:o,s:{s:s}}}", "alwaysMatch", "browserName", "chrome", "goog:chromeOptions",
                     options, "goog:loggingPrefs", "browser", "ALL");
}

/* The browser's own sandbox stays on wherever it can: it is what stands between a model's code and this
 * host's kernel. */
static int open_session(struct verify *v, struct ptl_error *err)
{
    PTL_FREE char *own =
        v->chromium ? ptl_xasprintf("http://127.0.0.1:%u", ptl_chromium_port(v->chromium)) : NULL;
    int r = ptl_webdriver_new(own ? own : param(v, "webdriver", ""), guard, v, &v->wd, err);
    if (r < 0)
        return r;
    PTL_JSON *with_sandbox = capabilities(v, true);
    r = ptl_webdriver_open(v->wd, with_sandbox, at_most(v, SESSION_MS), err);
    if (r == PTL_WD_NOT_CREATED && v->chromium && !ptl_chromium_was_oom(v->chromium)) {
        ptl_console_say(
            v->console,
            "the browser did not start with its own sandbox (%s); trying without it (--no-sandbox)",
            err->text);
        PTL_JSON *without = capabilities(v, false);
        r = ptl_webdriver_open(v->wd, without, at_most(v, SESSION_MS), err);
    }
    if (r)
        return r;
    const json_t *caps = ptl_webdriver_capabilities(v->wd);
    v->device = ptl_xasprintf(
        "%s %s (headless, %s)", v->browser ? "Chromium" : ptl_json_str(caps, "browserName", "browser"),
        ptl_json_str(caps, "browserVersion", "?"), ptl_json_str(caps, "platformName", "?"));
    ptl_console_say(v->console, "%s, browser process %lld, isolated by %s", v->device,
                    (long long)ptl_webdriver_browser_pid(v->wd),
                    v->chromium ? ptl_chromium_how(v->chromium) : "its own host");
    return ptl_webdriver_set_timeouts(v->wd, at_most(v, INT32_MAX), at_most(v, PAGE_MS), at_most(v, CALL_MS),
                                      err);
}

static int go_offline(struct verify *v, struct ptl_error *err)
{
    PTL_JSON *body =
        json_pack("{s:{s:b,s:i,s:i}}", "network_conditions", "offline", 1, "latency", 0, "throughput", 0);
    return ptl_webdriver_command(v->wd, "POST", "/chromium/network_conditions", body, at_most(v, CALL_MS),
                                 NULL, err);
}

/* Opens the page and runs the harness in it to its end. PTL_WD_OK: *ret_summary is what the page says. */
static int run_page(struct verify *v, json_t **ret_summary, struct ptl_error *err)
{
    static const char script[] =
        "const cfg = arguments[0], done = arguments[arguments.length - 1];"
        "import(cfg.base + 'portolan/harness.mjs').then((h) => h.main(cfg))"
        ".then(done, (e) => done({ok: false, error: {phase: 'load the harness', text: String(e)}}));";
    const json_t *driver = json_object_get(v->job->recipe, "driver");
    PTL_FREE char *url = ptl_xasprintf("%srecipe/%s", v->base_url, ptl_json_str(driver, "page", "page.html"));
    int r = ptl_webdriver_navigate(v->wd, url, at_most(v, PAGE_MS + CALL_MS), err);
    if (!r && v->offline)
        r = go_offline(v, err);
    if (r)
        return r;
    int64_t left = at_most(v, INT32_MAX);
    const char *model_base = v->model_from_file ? v->file_base : v->model_cross_origin ? v->cross_base : NULL;
    PTL_JSON *args =
        json_pack("[{s:s,s:s,s:O,s:O,s:O,s:O*,s:O*,s:s*,s:I}]", "base", v->base_url, "run",
                  ptl_json_str(driver, "run", "run.mjs"), "params", v->job->with, "golden", v->golden,
                  "model_files", v->model_files, "signature", v->signature, "versions", v->versions,
                  "model_base", model_base, "latency_budget_ms",
                  (json_int_t)(left * 2 / 5 < LATENCY_BUDGET_MS ? left * 2 / 5 : LATENCY_BUDGET_MS));
    if (!args)
        return ptl_error_set(err, -EINVAL, "browser: the page's configuration cannot be written as JSON");
    return ptl_webdriver_execute_async(v->wd, script, args, left, ret_summary, err);
}

/* What the browser itself noted and no script can see: why a request failed, what workers printed. */
static void drain_console(struct verify *v)
{
    PTL_JSON *entries = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_webdriver_drain_log(v->wd, "browser", at_most(v, CALL_MS), &entries, &err);
    v->drained = r == PTL_WD_OK;
    if (v->drained)
        ptl_console_add_drained(v->console, entries);
    else
        ptl_console_say(v->console, "the console could not be drained: %s", err.text);
}

/* ---- the result ---- */

static void conclude(struct ptl_driver_result *ret, enum ptl_end_reason reason, int exit_code,
                     const char *fmt, ...) PTL_PRINTF(4, 5);
static void conclude(struct ptl_driver_result *ret, enum ptl_end_reason reason, int exit_code,
                     const char *fmt, ...)
{
    va_list ap;
    ret->end_reason = reason;
    ret->exit_code = exit_code;
    va_start(ap, fmt);
    vsnprintf(ret->message, sizeof(ret->message), fmt, ap);
    va_end(ap);
    PTL_FREE char *clean =
        ptl_json_text_utf8(ret->message, strlen(ret->message)); /* a cut may halve a character */
    if (clean)
        snprintf(ret->message, sizeof(ret->message), "%s", clean);
}

static bool is_output_name(const char *file)
{
    return file && ptl_fs_is_safe_relative(file) && !strchr(file, '/');
}

/* Every output the page names is there, and there is at least one. */
static bool outputs_arrived(const json_t *outputs, const char *got_dir, char *ret_why, size_t size)
{
    size_t i;
    const json_t *o;
    if (json_array_size(outputs) == 0) {
        snprintf(ret_why, size, "the page reports success without any output");
        return false;
    }
    json_array_foreach(outputs, i, o)
    {
        const char *file = ptl_json_str(o, "file", NULL), *name = ptl_json_str(o, "name", "?");
        PTL_FREE char *path = is_output_name(file) ? ptl_fs_join(got_dir, file) : NULL;
        if (!path || !ptl_fs_exists(path)) {
            snprintf(ret_why, size, "output %.100s was reported but did not arrive", name);
            return false;
        }
    }
    return true;
}

static int write_manifest(struct verify *v, const json_t *summary, const char *got_dir, uint64_t peak,
                          struct ptl_error *err)
{
    struct ptl_pageserver_counts counts;
    ptl_pageserver_counts(v->server, &counts);
    PTL_JSON *runtime = json_copy(json_object_get(summary, "runtime"));
    PTL_JSON *metrics = json_copy(json_object_get(summary, "metrics"));
    if (!json_is_object(runtime) || !json_is_object(metrics))
        return ptl_error_set(err, -EPROTO, "browser: the page's summary has no runtime or no metrics");
    json_object_set_new(runtime, "device", json_string(v->device));
    json_object_set_new(runtime, "indicative_latency", json_true());
    if (peak)
        json_object_set_new(metrics, "peak_memory_bytes", json_integer((json_int_t)peak));
    json_object_set_new(metrics, "artifact_bytes", json_integer((json_int_t)counts.model_bytes));
    json_object_set_new(metrics, "shards", json_integer(counts.model_files));
    json_object_set_new(metrics, "served_bytes", json_integer((json_int_t)counts.served_bytes));
    PTL_JSON *manifest =
        json_pack("{s:i,s:O,s:O,s:O,s:o,s:o}", "version", 1, "outputs", json_object_get(summary, "outputs"),
                  "runtime", runtime, "metrics", metrics, "console", ptl_console_errors(v->console),
                  "warnings", ptl_console_warnings(v->console));
    PTL_FREE char *path = ptl_fs_join(got_dir, "manifest.json");
    if (!manifest)
        return ptl_error_set(err, -ENOMEM, "browser: the summary cannot be written as JSON");
    return ptl_json_save(path, manifest, 0644, err);
}

/* The page ran to its end and says that it failed. */
static void conclude_failed(struct verify *v, const json_t *summary, struct ptl_driver_result *ret)
{
    const json_t *error = json_object_get(summary, "error"), *downloads = json_object_get(error, "downloads");
    PTL_FREE char *text =
        ptl_console_tidy(v->console, ptl_json_str(error, "text", "the page failed and did not say why"));
    PTL_FREE char *cause = ptl_console_network_cause(v->console);
    PTL_BUF gone = PTL_BUF_INIT;
    size_t i;
    const json_t *d;
    json_array_foreach(downloads, i, d)
    {
        PTL_FREE char *one = ptl_console_tidy(v->console, json_is_string(d) ? json_string_value(d) : "?");
        if (i < 4)
            ptl_buf_printf(&gone, "%s%s", i ? "; " : " Downloads that failed: ", one);
    }
    if (json_array_size(downloads) > 4)
        ptl_buf_printf(&gone, "; and %zu more", json_array_size(downloads) - 4);
    /* one text for CORS, file: and offline; only the browser knows which */
    PTL_FREE char *browser_says =
        *cause && strstr(text, "fetch") ? ptl_xasprintf(" The browser says: %s.", cause) : NULL;
    bool ends = ptl_str_ends(text, ".") || (!browser_says && !gone.len);
    ptl_console_say(v->console, "failed in phase \"%s\": %s%s%s", ptl_json_str(error, "phase", "?"), text,
                    ends ? "" : ".", ptl_buf_str(&gone));
    const char *stack = ptl_json_str(error, "stack", "");
    if (*stack)
        ptl_console_say(v->console, "stack: %s", stack);
    conclude(ret, PTL_END_EXIT, 1, "%s%s%s%s", text, ends ? "" : ".", browser_says ? browser_says : "",
             ptl_buf_str(&gone));
}

/* WebDriver did not bring a summary: by the deadline, by a crash, by a kill. */
static void conclude_cut(struct verify *v, int outcome, const struct ptl_error *err,
                         struct ptl_driver_result *ret)
{
    PTL_FREE char *phase = ptl_console_phase(v->console);
    const char *in = *phase ? phase : "start";
    if (v->cut == CUT_CANCELLED)
        conclude(ret, PTL_END_CANCELLED, 1, "cancelled while the page was in phase \"%s\"", in);
    else if (v->cut == CUT_DEADLINE || outcome == PTL_WD_DEADLINE || outcome == PTL_WD_SCRIPT_TIMEOUT ||
             (outcome == PTL_WD_PAGE_TIMEOUT && ptl_mono_ms() >= v->stop_asking_ms))
        conclude(ret, PTL_END_TIMEOUT, 1, "not finished by the deadline; the page was in phase \"%s\"", in);
    else if (outcome == PTL_WD_TAB_CRASHED)
        conclude(ret, PTL_END_EXIT, 1, "the tab crashed in phase \"%s\"; nothing was killed for memory", in);
    else if (v->cut == CUT_BROWSER_GONE)
        conclude(ret, PTL_END_EXIT, 1, "chromedriver ended while the page was in phase \"%s\"", in);
    else
        conclude(ret, PTL_END_EXIT, 1, "%s (phase \"%s\")", err->text, in);
}

static int judge(struct verify *v, int outcome, const json_t *summary, const struct ptl_error *wd_err,
                 const char *got_dir, struct ptl_driver_result *ret, struct ptl_error *err)
{
    char why[256];
    uint64_t ceiling = memory_ceiling(v);
    bool oom = v->chromium && ptl_chromium_was_oom(v->chromium);
    ret->peak_memory_bytes = v->chromium ? ptl_chromium_peak_bytes(v->chromium) : 0;
    if (oom && v->cut != CUT_CANCELLED) {
        char limit[32];
        PTL_FREE char *phase = ptl_console_phase(v->console);
        ptl_size_format((int64_t)ceiling, limit);
        conclude(ret, PTL_END_OOM, 1,
                 "a browser process was killed for memory: the ceiling is %s; the page was in phase \"%s\"",
                 limit, *phase ? phase : "start");
    } else if (outcome != PTL_WD_OK) {
        conclude_cut(v, outcome, wd_err, ret);
    } else if (!ptl_json_flag(summary, "ok", false)) {
        conclude_failed(v, summary, ret);
    } else if (!outputs_arrived(json_object_get(summary, "outputs"), got_dir, why, sizeof(why))) {
        conclude(ret, PTL_END_EXIT, 1, "%s", why);
    } else {
        int r = write_manifest(v, summary, got_dir, ret->peak_memory_bytes, err);
        if (r < 0)
            return r;
        conclude(ret, PTL_END_EXIT, 0, "%s", "");
    }
    if (*ret->message)
        ptl_console_say(v->console, "%s: %s", ptl_end_reason_name(ret->end_reason), ret->message);
    return 0;
}

static int run_verify(struct verify *v, struct ptl_driver_result *ret, struct ptl_error *err)
{
    PTL_FREE char *model_dir = ptl_fs_join(v->job->inputs_dir, "model");
    PTL_FREE char *golden_dir = ptl_fs_join(v->job->inputs_dir, "golden");
    PTL_FREE char *got_dir = ptl_fs_join(v->job->outputs_dir, "got");
    PTL_JSON *summary = NULL;
    struct ptl_error wd_err = PTL_ERROR_INIT;
    int r = read_faults(v, err);
    r = r < 0 ? r : load_inputs(v, model_dir, golden_dir, err);
    r = r < 0 ? r : ptl_fs_remove_tree(got_dir, err);
    r = r < 0 ? r : ptl_fs_mkdirs(got_dir, 0755, err);
    r = r < 0 ? r : start_server(v, model_dir, golden_dir, got_dir, err);
    if (r < 0)
        return r;
    int outcome = 0;
    if (!param(v, "webdriver", NULL))
        outcome = start_browser(v, &wd_err);
    if (!outcome)
        outcome = open_session(v, &wd_err);
    if (outcome && v->cut == CUT_NONE && outcome != -ETIMEDOUT && outcome != -ECANCELED &&
        !(v->chromium &&
          ptl_chromium_was_oom(v->chromium))) /* no browser: the stage's own work never began */
        return ptl_error_set(err, outcome < 0 ? outcome : -EIO, "%s", wd_err.text);
    if (outcome == -ETIMEDOUT)
        v->cut = CUT_DEADLINE;
    if (outcome == -ECANCELED)
        v->cut = CUT_CANCELLED;
    if (!outcome)
        outcome = run_page(v, &summary, &wd_err);
    if (v->cut == CUT_NONE && v->wd && ptl_webdriver_is_open(v->wd) && outcome != PTL_WD_TAB_CRASHED) {
        drain_console(v);
        ptl_webdriver_close(v->wd, at_most(v, CLOSE_MS), NULL);
    }
    if (v->chromium) {
        ptl_chromium_stop(v->chromium);
    } else if (v->wd && ptl_webdriver_is_open(
                            v->wd)) { /* somebody else's: asked to end it, whether or not it answers */
        v->is_closing = true;
        ptl_webdriver_close(v->wd, LAST_CALL_MS, NULL);
    }
    return judge(v, outcome, summary, &wd_err, got_dir, ret, err);
}

static int browser_run(const struct ptl_driver_job *job, struct ptl_driver_result *ret, struct ptl_error *err)
{
    int64_t now = ptl_mono_ms(), reserve = (job->deadline_mono_ms - now) / 20;
    reserve = reserve < 300 ? 300 : reserve > 3000 ? 3000 : reserve;
    *ret = (struct ptl_driver_result){.end_reason = PTL_END_SETUP};
    PTL_CLEANUP(ptl_console_freep)
    struct ptl_console *console = ptl_console_new(job->log_fd, LOG_BUDGET, NULL);
    PTL_FREE char *browser = ptl_chromium_find("PORTOLAN_CHROMIUM", browser_names);
    struct verify v = {.job = job, .console = console, .stop_asking_ms = job->deadline_mono_ms - reserve};
    if (!param(&v, "webdriver", NULL))
        v.browser = browser;
    int r = run_verify(&v, ret, err);
    if (v.chromium)
        ptl_chromium_stop(v.chromium);
    if (r < 0 || ret->end_reason != PTL_END_EXIT || ret->exit_code != 0)
        show_browser_lines(&v, v.drained);
    ptl_webdriver_free(v.wd);
    ptl_chromium_free(v.chromium);
    for (size_t i = 0; i < SAID_MAX; i++)
        free(v.said[i]);
    ptl_pageserver_free(v.server);
    json_decref(v.golden);
    json_decref(v.signature);
    json_decref(v.model_files);
    json_decref(v.versions);
    free(v.base_url);
    free(v.file_base);
    free(v.cross_base);
    free(v.device);
    return r;
}

/* ---- what this host offers ---- */

/* The second-from-left word that begins with a digit: "Chromium 156.0.8078.79 built on …", "ChromeDriver
 * 156.0…". */
static int version_of(const char *program, char *ret, size_t size, struct ptl_error *err)
{
    const char *const argv[] = {program, "--version", NULL};
    PTL_BUF out = PTL_BUF_MAX(64 * 1024);
    int r = ptl_proc_capture(argv, 20000, &out, err);
    if (r < 0)
        return r;
    for (const char *line = ptl_buf_str(&out); line && *line;) {
        const char *p = strstr(line, "hrom"); /* the launcher of Debian may complain before the version */
        const char *digits = p ? strpbrk(p, "0123456789\n") : NULL;
        if (digits && *digits != '\n' && strchr(digits, '.')) {
            size_t n = strspn(digits, "0123456789.");
            snprintf(ret, size, "%.*s", (int)(n < size ? n : size - 1), digits);
            if (strchr(ret, '.'))
                return 0;
        }
        line = p ? p + 4 : NULL;
    }
    return ptl_error_set(err, -EPROTO, "%s --version does not say a version", program);
}

static int browser_inventory(json_t *ret_inventory, struct ptl_error *err)
{
    PTL_FREE char *browser = ptl_chromium_find("PORTOLAN_CHROMIUM", browser_names);
    PTL_FREE char *driver = ptl_chromium_find("PORTOLAN_CHROMEDRIVER", driver_names);
    char browser_version[64], driver_version[64];
    if (!browser || !driver)
        return ptl_error_set(err, PTL_ABSENT, "browser: no %s on this host; %s",
                             browser ? "chromedriver" : "chromium", INSTALL_HINT);
    int r = version_of(browser, browser_version, sizeof(browser_version), err);
    r = r < 0 ? r : version_of(driver, driver_version, sizeof(driver_version), err);
    if (r < 0)
        return ptl_error_set(err, PTL_ABSENT, "browser: %s cannot be run here; %s", browser, INSTALL_HINT);
    if (strcspn(browser_version, ".") != strcspn(driver_version, ".") ||
        strncmp(browser_version, driver_version, strcspn(browser_version, ".")) != 0)
        return ptl_error_set(err, PTL_ABSENT,
                             "browser: chromium %s and chromedriver %s do not belong together; %s",
                             browser_version, driver_version, INSTALL_HINT);
    json_t *device =
        json_pack("{s:s,s:s,s:s,s:s,s:[s,s,s]}", "kind", "browser", "name", "chromium", "version",
                  browser_version, "chromedriver", driver_version, "backends", "wasm", "webgl", "cpu");
    json_t *devices = json_object_get(ret_inventory, "devices");
    if (!json_is_array(devices)) {
        devices = json_array();
        json_object_set_new(ret_inventory, "devices", devices);
    }
    json_array_append_new(devices, device);
    json_t *toolchains = json_object_get(ret_inventory, "toolchains");
    if (!json_is_object(toolchains)) {
        toolchains = json_object();
        json_object_set_new(ret_inventory, "toolchains", toolchains);
    }
    json_object_set_new(toolchains, "chromium",
                        json_pack("{s:s,s:s}", "chromium", browser_version, "chromedriver", driver_version));
    return 0;
}

const struct ptl_driver ptl_driver_browser = {
    .name = "browser", .inventory = browser_inventory, .run = browser_run};
