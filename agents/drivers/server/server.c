/* server.c - the server host: starts a real serving engine as a sandboxed child, waits until it says it is
 * ready, asks it with the golden inputs over HTTP, and writes what it answered to outputs/got.
 *
 * Runs in the attempt's process, blocking, single thread. Every wait looks at the deadline, the cancel flag
 * and at whether the engine still lives; the engine is stopped on every way out. One sample a request, so
 * that latencies mean something, unless the model has a fixed batch. With `with: {endpoint: URL}` an engine
 * that runs already is asked instead. */
#include "../driver.h"
#include "cgroup.h"
#include "protocol.h"
#include "recipe.h"
#include "sandbox.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <portolan/client.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/http.h>

#define FIXED_PORT     8501
#define START_TIMEOUT  60000
#define STOP_GRACE_MS  3000
#define READY_POLL_MS  100
#define ASK_TIMEOUT_MS 120000
#define REQUEST_MAX    ((size_t)256 << 20)
#define ANSWER_MAX     ((size_t)256 << 20)
#define STEADY_MIN     20
#define LATENCIES_MAX  1000

struct verify {
    const struct ptl_driver_job *job;
    struct ptl_driver_result *ret;
    struct ptl_serve_options options;
    struct ptl_serve_model model;
    struct ptl_tensors tensors;
    struct ptl_sandbox *engine; /* NULL: endpoint of somebody else */
    char base[512];             /* "http://127.0.0.1:8501" */
    char engine_name[128], engine_version[64];
    double load_ms, first_ms;
    bool has_load;
    json_t *latencies;
};

static void say(struct verify *v, const char *fmt, ...) PTL_PRINTF(2, 3);

static void say(struct verify *v, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    int at = snprintf(line, sizeof(line), "[portolan] ");
    va_start(ap, fmt);
    int n = vsnprintf(line + at, sizeof(line) - (size_t)at - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)at + (n > 0 ? (size_t)n : 0);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    (void)!ptl_fs_write_all(v->job->log_fd, line, len);
}

/* The verify failed: not a failure of the driver. Always returns 1: "ended". */
static int end_as(struct verify *v, enum ptl_end_reason reason, int exit_code, const char *fmt, ...)
    PTL_PRINTF(4, 5);

static int end_as(struct verify *v, enum ptl_end_reason reason, int exit_code, const char *fmt, ...)
{
    va_list ap;
    v->ret->end_reason = reason;
    v->ret->exit_code = exit_code;
    va_start(ap, fmt);
    vsnprintf(v->ret->message, sizeof(v->ret->message), fmt, ap);
    va_end(ap);
    return 1;
}

/* 0 go on, 1 ended: cancelled, out of time, or the engine is gone. `when`: "before it was ready". */
static int look(struct verify *v, const char *when)
{
    int status;
    if (*v->job->cancelled)
        return end_as(v, PTL_END_CANCELLED, 0, "cancelled");
    if (ptl_mono_ms() >= v->job->deadline_mono_ms)
        return end_as(v, PTL_END_TIMEOUT, 0, "time limit reached %s", when);
    if (!v->engine || ptl_sandbox_wait(v->engine, 0, &status) != 0)
        return 0;
    if (ptl_sandbox_was_oom(v->engine))
        return end_as(v, PTL_END_OOM, 0, "the serving engine ran out of memory %s", when);
    if (WIFSIGNALED(status)) {
        v->ret->signal = WTERMSIG(status);
        return end_as(v, PTL_END_SIGNAL, 0, "the serving engine ended by signal %d (%s) %s", WTERMSIG(status),
                      strsignal(WTERMSIG(status)), when);
    }
    if (*ptl_sandbox_start_error(v->engine))
        return end_as(v, PTL_END_EXIT, WEXITSTATUS(status), "%s", ptl_sandbox_start_error(v->engine));
    return end_as(v, PTL_END_EXIT, WEXITSTATUS(status) ? WEXITSTATUS(status) : 1,
                  "the serving engine ended with exit code %d %s; its own words are in the log above",
                  WEXITSTATUS(status), when);
}

/* ---- starting the engine ---- */

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    PTL_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return FIXED_PORT;
    return ntohs(a.sin_port);
}

enum { PAIRS_MAX = 240 };

/* {port}, {model_dir} … and every plain parameter of the stage. Values that had to be made are kept in
 * `made`. */
static void template_pairs(const struct verify *v, const char *port, const char *model_dir,
                           const char **pairs, char **made)
{
    const struct ptl_driver_job *job = v->job;
    const char *own[] = {"port",       port,
                         "model_dir",  model_dir,
                         "model_name", v->options.model_name,
                         "recipe",     job->recipe_dir,
                         "toolchain",  job->toolchain_dir ? job->toolchain_dir : "",
                         "scratch",    job->scratch_dir,
                         "src",        job->src_dir};
    size_t n = PTL_ARRAY_LEN(own), m = 0;
    const char *name;
    json_t *value;
    memcpy(pairs, own, sizeof(own));
    json_object_foreach((json_t *)job->with, name, value)
    {
        if (json_is_object(value) || json_is_array(value) || n + 2 >= PAIRS_MAX)
            continue;
        pairs[n++] = name;
        if (!json_is_string(value))
            made[m] = json_dumps(value, JSON_ENCODE_ANY);
        pairs[n++] = json_is_string(value) ? json_string_value(value) : made[m++];
    }
    pairs[n] = NULL;
}

static int start_engine(struct verify *v, const json_t *command, struct ptl_error *err)
{
    const struct ptl_driver_job *job = v->job;
    char port[16], name[PTL_CGROUP_NAME];
    const char *pairs[PAIRS_MAX + 1] = {0};
    char *made[PAIRS_MAX] = {0};
    char *argv[64] = {0};
    PTL_FREE char *model_dir = ptl_fs_join(job->inputs_dir, "model");
    PTL_FREE char *recipes = ptl_recipe_root();
    if (json_array_size(command) == 0 || json_array_size(command) >= PTL_ARRAY_LEN(argv))
        return ptl_error_set(err, -EINVAL, "recipe.yml: driver.command: expected 1 to %zu words",
                             PTL_ARRAY_LEN(argv) - 1);
    snprintf(port, sizeof(port), "%d", job->private_net ? FIXED_PORT : free_port());
    snprintf(v->base, sizeof(v->base), "http://127.0.0.1:%s", port);
    ptl_cgroup_name_for(job->attempt_dir, "engine", name);
    template_pairs(v, port, model_dir, pairs, made);
    for (size_t i = 0; i < json_array_size(command); i++) {
        const char *word = json_string_value(json_array_get(command, i));
        PTL_FREE char *number = word ? NULL : json_dumps(json_array_get(command, i), JSON_ENCODE_ANY);
        argv[i] = ptl_template(word ? word : number, pairs);
    }
    const char *ro[] = {job->inputs_dir, recipes, job->recipe_dir, job->toolchain_dir, NULL};
    const char *rw[] = {job->src_dir, job->scratch_dir, NULL};
    struct ptl_sandbox_spec spec = {
        .argv = (const char *const *)argv,
        .env = job->env,
        .cwd = job->src_dir,
        .ro_binds = ro,
        .rw_binds = rw,
        .network = true, /* the attempt's own, or, where the host has none to give, the host's loopback */
        .memory_bytes = job->memory_bytes,
        .stdout_fd = job->log_fd,
        .stderr_fd = job->log_fd,
        .cgroup_name = name,
        .deny_userns = true,
    };
    int r = ptl_sandbox_start(&spec, &v->engine, err);
    if (r == 0)
        say(v, "serving engine started: %s, port %s (%s)", argv[0], port, ptl_sandbox_how(v->engine));
    for (size_t i = 0; i < PTL_ARRAY_LEN(argv); i++)
        free(argv[i]);
    for (size_t i = 0; i < PAIRS_MAX; i++)
        free(made[i]);
    return r;
}

/* ---- asking ---- */

static int ask(struct verify *v, const char *method, const char *path, const struct ptl_buf *body,
               int64_t timeout_ms, struct ptl_http_answer *ret, struct ptl_error *err)
{
    static const char *const headers[] = {"Content-Type: application/json", "Accept: application/json",
                                          "Expect:", NULL};
    PTL_FREE char *url = ptl_xasprintf("%s%s", v->base, path);
    int64_t left = v->job->deadline_mono_ms - ptl_mono_ms();
    if (left < 1)
        left = 1;
    struct ptl_http_request req = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = body ? body->data : NULL,
        .body_len = body ? body->len : 0,
        .timeout_ms = left < timeout_ms ? left : timeout_ms,
        .connect_timeout_ms = 5000,
        .max_answer_bytes = ANSWER_MAX,
        .cancelled = v->job->cancelled,
    };
    return ptl_http_perform(&req, ret, err);
}

static int wait_ready(struct verify *v, const char *ready_path, int64_t start_timeout)
{
    int64_t started = ptl_mono_us(), give_up = ptl_mono_ms() + start_timeout;
    char last[600] = "it never answered";
    for (;;) {
        struct ptl_http_answer a = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        if (look(v, "before it was ready"))
            return 1;
        int r = ask(v, "GET", ready_path, NULL, 5000, &a, &err);
        bool ready =
            r == 0 && a.status == 200 && ptl_serve_is_ready(&v->options, ptl_buf_str(&a.body), a.body.len);
        if (r < 0) {
            snprintf(last, sizeof(last), "%.500s", err.text);
        } else {
            char text[300];
            ptl_serve_error_text(ptl_buf_str(&a.body), a.body.len, text, sizeof(text));
            snprintf(last, sizeof(last), "HTTP %d %s", a.status, text);
        }
        ptl_http_answer_done(&a);
        if (ready) {
            v->load_ms = (double)(ptl_mono_us() - started) / 1000.0;
            say(v, "serving engine ready after %.0f ms", v->load_ms);
            return 0;
        }
        if (ptl_mono_ms() >= give_up) {
            char limit[32];
            ptl_duration_format(start_timeout, limit);
            if (look(v, "before it was ready"))
                return 1;
            return end_as(v, PTL_END_EXIT, 1, "the serving engine was not ready after %s (GET %s: %s)", limit,
                          ready_path, last);
        }
        if (v->engine) { /* woken at once by the engine's death */
            int status;
            (void)!ptl_sandbox_wait(v->engine, READY_POLL_MS, &status);
        } else {
            poll(NULL, 0, READY_POLL_MS);
        }
    }
}

/* What the engine tells of itself and of the model. All of it is optional in practice. */
static void read_metadata(struct verify *v)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_http_answer a = {0};
    PTL_FREE char *path = ptl_serve_metadata_path(&v->options);
    PTL_JSON *answer = NULL;
    int r = ask(v, "GET", path, NULL, 10000, &a, &err);
    if (r == 0 && a.status == 200 && ptl_answer_json(ptl_buf_str(&a.body), a.body.len, &answer, &err) == 0)
        r = ptl_serve_metadata(&v->options, answer, &v->model, &err);
    else if (r == 0)
        r = ptl_error_set(&err, -EPROTO, "GET %s: HTTP %d", path, a.status);
    ptl_http_answer_done(&a);
    if (r < 0) {
        ptl_serve_model_done(&v->model);
        say(v, "no model metadata (%s): inputs are named as in the golden set", err.text);
    }
    if (v->options.protocol != PTL_SERVE_OIP_V2)
        return;
    PTL_JSON *about = NULL;
    if (ask(v, "GET", "/v2", NULL, 10000, &a, &err) == 0 && a.status == 200 &&
        ptl_answer_json(ptl_buf_str(&a.body), a.body.len, &about, NULL) == 0) {
        snprintf(v->engine_name, sizeof(v->engine_name), "%s", ptl_json_str(about, "name", ""));
        snprintf(v->engine_version, sizeof(v->engine_version), "%s", ptl_json_str(about, "version", ""));
    }
    ptl_http_answer_done(&a);
}

/* One inference. keep = 0: only the time is wanted. 0, 1 ended, or negative. */
static int infer(struct verify *v, const char *path, uint64_t first, uint64_t count, uint64_t keep,
                 double *ret_ms, struct ptl_error *err)
{
    PTL_BUF body = PTL_BUF_MAX(REQUEST_MAX);
    PTL_JSON *answer = NULL;
    struct ptl_http_answer a = {0};
    int r = ptl_serve_request(&v->options, &v->tensors, first, count, &body, err);
    if (r < 0)
        return end_as(v, PTL_END_EXIT, 1, "%s", err->text);
    int64_t t0 = ptl_mono_us();
    r = ask(v, "POST", path, &body, ASK_TIMEOUT_MS, &a, err);
    *ret_ms = (double)(ptl_mono_us() - t0) / 1000.0;
    if (r < 0) {
        int ended = look(v, "while it was asked");
        if (!ended && v->engine) { /* the connection broke: give its death a moment to be seen */
            int status;
            if (ptl_sandbox_wait(v->engine, 2000, &status) == 0)
                ended = look(v, "while it was asked");
        }
        return ended ? 1
                     : end_as(v, PTL_END_EXIT, 1, "POST %s, sample %llu: %s", path, (unsigned long long)first,
                              err->text);
    }
    if (a.status != 200) {
        char text[400];
        ptl_serve_error_text(ptl_buf_str(&a.body), a.body.len, text, sizeof(text));
        say(v, "POST %s, sample %llu: HTTP %d: %s", path, (unsigned long long)first, a.status, text);
        r = end_as(v, PTL_END_EXIT, 1, "the serving engine refused sample %llu with HTTP %d: %s",
                   (unsigned long long)first, a.status, text);
    } else if (keep &&
               ((r = ptl_answer_json(ptl_buf_str(&a.body), a.body.len, &answer, err)) < 0 ||
                (r = ptl_serve_answer(&v->options, &v->model, answer, &v->tensors, count, keep, err)) < 0)) {
        r = end_as(v, PTL_END_EXIT, 1, "sample %llu: %s", (unsigned long long)first, err->text);
    }
    ptl_http_answer_done(&a);
    return r;
}

static int ask_all(struct verify *v, struct ptl_error *err)
{
    PTL_FREE char *path = ptl_serve_infer_path(&v->options);
    uint64_t wanted = (uint64_t)ptl_json_i64(v->job->with, "batch", 0);
    uint64_t batch = v->model.batch ? v->model.batch : wanted ? wanted : 1, n = v->tensors.samples;
    double ms;
    int r;
    if (batch > n && !v->model.batch)
        batch = n;
    say(v, "asking for %llu samples, %llu a request", (unsigned long long)n, (unsigned long long)batch);
    for (uint64_t at = 0; at < n; at += batch) {
        uint64_t keep = n - at < batch ? n - at : batch;
        if (look(v, "while it was asked") ||
            (r = infer(v, path, at, v->model.batch ? batch : keep, keep, &ms, err)) > 0)
            return 1;
        if (at == 0)
            v->first_ms = ms;
        else if (json_array_size(v->latencies) < LATENCIES_MAX && keep == batch)
            json_array_append_new(v->latencies, json_real(ms));
    }
    for (uint64_t at = 0; json_array_size(v->latencies) < STEADY_MIN;
         at = (at + batch) % n) { /* small golden sets: once more around */
        uint64_t count = batch < n ? batch : v->model.batch ? batch : n;
        if (look(v, "while it was asked") || (r = infer(v, path, at, count, 0, &ms, err)) > 0)
            return 1;
        json_array_append_new(v->latencies, json_real(ms));
    }
    return 0;
}

/* ---- what came of it ---- */

struct size_sum {
    uint64_t bytes;
};

static int add_size(void *ctx, const struct ptl_fs_entry *e)
{
    ((struct size_sum *)ctx)->bytes += e->size_bytes;
    return 0;
}

static int save(struct verify *v, struct ptl_error *err)
{
    PTL_FREE char *got = ptl_fs_join(v->job->outputs_dir, "got");
    PTL_FREE char *manifest = ptl_fs_join(got, "manifest.json");
    PTL_FREE char *model_dir = ptl_fs_join(v->job->inputs_dir, "model");
    json_t *entries = NULL;
    struct size_sum size = {0};
    struct utsname u = {0};
    if (v->tensors.n_out == 0)
        return end_as(v, PTL_END_EXIT, 1, "the serving engine answered without any output");
    int r = ptl_tensors_save(&v->tensors, got, &entries, err);
    if (r < 0)
        return r;
    uname(&u);
    PTL_FREE char *device = ptl_xasprintf("%s, %ld cores", u.machine, sysconf(_SC_NPROCESSORS_ONLN));
    const char *protocol = v->options.protocol == PTL_SERVE_TF ? "tf-serving" : "oip-v2";
    json_t *metrics = json_object();
    if (v->has_load)
        json_object_set_new(metrics, "load_ms", json_real(v->load_ms));
    json_object_set_new(metrics, "first_ms", json_real(v->first_ms));
    json_object_set(metrics, "latency_ms", v->latencies);
    if (v->engine)
        v->ret->peak_memory_bytes = ptl_sandbox_peak_bytes(v->engine);
    if (v->ret->peak_memory_bytes)
        json_object_set_new(metrics, "peak_memory_bytes",
                            json_integer((json_int_t)v->ret->peak_memory_bytes));
    if (ptl_fs_is_dir(model_dir) && ptl_fs_walk(model_dir, 100000, add_size, &size, NULL) == 0)
        json_object_set_new(metrics, "artifact_bytes", json_integer((json_int_t)size.bytes));
    PTL_JSON *doc =
        json_pack("{s:i, s:o, s:{s:s, s:s, s:s, s:s, s:b}, s:o, s:[], s:O}", "version", 1, "outputs", entries,
                  "runtime", "name", *v->engine_name ? v->engine_name : protocol, "version",
                  v->engine_version, "device", v->engine ? device : "endpoint", "backend", protocol,
                  "indicative_latency", 0, "metrics", metrics, "console", "warnings", v->tensors.warnings);
    if (!doc)
        return ptl_error_set(err, -EINVAL, "the engine's name is not UTF-8");
    return ptl_json_save(manifest, doc, 0644, err);
}

static int read_options(struct verify *v, const json_t *driver, struct ptl_error *err)
{
    const char *protocol = ptl_json_str(driver, "protocol", ""),
               *form = ptl_json_str(v->job->with, "form", "");
    if (strcmp(protocol, "oip-v2") == 0)
        v->options.protocol = PTL_SERVE_OIP_V2;
    else if (strcmp(protocol, "tf-serving") == 0)
        v->options.protocol = PTL_SERVE_TF;
    else
        return ptl_error_set(
            err, -EINVAL, "recipe.yml: driver.protocol: expected oip-v2 or tf-serving, not \"%s\"", protocol);
    if (!*form)
        form = ptl_json_str(driver, "form", "row");
    v->options.form = strcmp(form, "column") == 0 ? PTL_TF_COLUMN : PTL_TF_ROW;
    v->options.model_name = ptl_json_str(v->job->with, "model_name", "model");
    v->options.signature_name = ptl_json_str(v->job->with, "signature", "");
    return 0;
}

/* 0, 1 ended, or negative. */
static int verify_with(struct verify *v, const json_t *driver, struct ptl_error *err)
{
    PTL_FREE char *golden = ptl_fs_join(v->job->inputs_dir, "golden");
    PTL_FREE char *model = ptl_fs_join(v->job->inputs_dir, "model");
    const char *endpoint = ptl_json_str(v->job->with, "endpoint", "");
    int64_t start_timeout = START_TIMEOUT;
    const json_t *wait = json_object_get(driver, "start_timeout");
    PTL_FREE char *model_name = ptl_url_encode(v->options.model_name);
    const char *const pairs[] = {"model_name", model_name, NULL};
    PTL_FREE char *ready =
        ptl_template(ptl_json_str(driver, "ready", "/v2/models/{model_name}/ready"), pairs);
    int r = ptl_tensors_load(golden, model, &v->tensors, err);
    if (r < 0)
        return end_as(v, PTL_END_EXIT, 1, "%s", err->text);
    if (json_is_string(wait) && ptl_duration_parse(json_string_value(wait), &start_timeout) < 0)
        return ptl_error_set(err, -EINVAL,
                             "recipe.yml: driver.start_timeout: expected a duration such as 60s");
    if (json_is_integer(wait))
        start_timeout = json_integer_value(wait) * 1000;
    if (*endpoint) {
        if (!ptl_json_flag(v->job->job, "network", false))
            return end_as(v, PTL_END_EXIT, 2,
                          "with.endpoint asks an engine over the network: the stage needs `network: true`");
        if (!ptl_str_starts(endpoint, "http://") && !ptl_str_starts(endpoint, "https://"))
            return end_as(v, PTL_END_EXIT, 2,
                          "with.endpoint: expected http://host:port or https://host:port");
        snprintf(v->base, sizeof(v->base), "%s", endpoint);
        while (ptl_str_ends(v->base, "/"))
            v->base[strlen(v->base) - 1] = 0;
    } else if ((r = start_engine(v, json_object_get(driver, "command"), err)) < 0) {
        return r;
    }
    v->has_load = v->engine != NULL;
    if (wait_ready(v, ready, start_timeout))
        return 1;
    read_metadata(v);
    if (ptl_tensors_map_inputs(&v->tensors, v->model.inputs, err) < 0)
        return end_as(v, PTL_END_EXIT, 1, "%s", err->text);
    r = ask_all(v, err);
    return r ? r : save(v, err);
}

static int server_run(const struct ptl_driver_job *job, struct ptl_driver_result *ret, struct ptl_error *err)
{
    struct verify v = {.job = job, .ret = ret, .latencies = json_array()};
    const json_t *driver = json_object_get(job->recipe, "driver");
    size_t i;
    json_t *w;
    *ret = (struct ptl_driver_result){.end_reason = PTL_END_EXIT};
    int r = read_options(&v, driver, err);
    if (r == 0)
        r = verify_with(&v, driver, err);
    json_array_foreach(v.tensors.warnings, i, w) say(&v, "warning: %s", json_string_value(w));
    if (v.engine) {
        ptl_sandbox_stop(v.engine, STOP_GRACE_MS, NULL);
        ret->peak_memory_bytes = ptl_sandbox_peak_bytes(v.engine);
        ptl_sandbox_free(v.engine);
    }
    json_decref(v.latencies);
    ptl_serve_model_done(&v.model);
    ptl_tensors_done(&v.tensors);
    return r < 0 ? r : 0;
}

static int server_inventory(json_t *ret_inventory, struct ptl_error *err)
{
    (void)err;
    (void)ret_inventory; /* cores, memory and toolchains are in every inventory */
    return 0;
}

const struct ptl_driver ptl_driver_server = {"server", server_inventory, server_run};
