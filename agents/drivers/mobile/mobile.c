/* mobile.c - the driver of the host kind "mobile": golden inputs and model to the device, the runner there,
 * outputs back.
 *
 * Runs on the attempt process's one thread, blocking, bounded by the job's deadline and its cancel flag. A
 * verify is good only on positive proof: the exit packet with status 0, a manifest, and every output it names
 * with the hash it names. A device that goes away in the middle is a failed attempt whatever was printed
 * before. Leaves out: judging the numbers (agents/compare), what a runtime's API looks like (the recipe's
 * backend). */
#include "mobile.h"

#include <ctype.h>
#include <limits.h>
#include <poll.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/json.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    CONSOLE_LINES_MAX = 50,
    LINE_MAX_BYTES = 4096,
    MODEL_FILES_MAX = 1000,
    JSON_MAX = 8 << 20,
    OUTPUT_MAX = INT_MAX, /* bytes of one pulled output */
};
static const uint64_t LOG_MAX = 64ull << 20;

/* ---- what goes to the device ---- */

struct payload {
    const char *inputs_dir;
    const char *model; /* below inputs/model */
    bool with_data;
    json_t *files; /* [{path, sha256, size_bytes}] on the device, relative to the work directory */
    uint64_t model_bytes;
    char first_match[1024];
    unsigned matches;
    const json_t *suffixes;
    struct ptl_error *err;
};

static int payload_add(struct payload *pl, const char *full, const char *remote, uint64_t *ret_size)
{
    char hex[PTL_SHA256_HEX];
    uint64_t size = 0;
    int r = ptl_sha256_file(full, hex, &size, pl->err);
    if (r < 0)
        return r;
    json_array_append_new(pl->files, json_pack("{s:s, s:s, s:s, s:I}", "path", remote, "local", full,
                                               "sha256", hex, "size_bytes", (json_int_t)size));
    if (ret_size)
        *ret_size = size;
    return 0;
}

static int model_match(void *ctx, const struct ptl_fs_entry *e)
{
    struct payload *pl = ctx;
    size_t i;
    const json_t *s;
    if (e->is_link || e->is_dir)
        return 0;
    json_array_foreach(pl->suffixes, i, s)
    {
        if (json_string_value(s) && ptl_str_ends(e->path, json_string_value(s))) {
            if (pl->matches++ == 0)
                snprintf(pl->first_match, sizeof(pl->first_match), "%s", e->path);
            break;
        }
    }
    return 0;
}

static int model_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct payload *pl = ctx;
    bool is_model = strcmp(e->path, pl->model) == 0, is_signature = strcmp(e->path, "signature.json") == 0;
    if (e->is_link || e->is_dir || (!is_model && !is_signature && !pl->with_data))
        return 0;
    PTL_FREE char *remote = ptl_fs_join("model", e->path);
    uint64_t size = 0;
    int r = payload_add(pl, e->full, remote, &size);
    if (r == 0 && !is_signature && !ptl_str_ends(e->path, ".json"))
        pl->model_bytes += size;
    return r;
}

/* Which file of inputs/model is the model: the parameter says, or there is exactly one of the runtime's kind.
 */
static int choose_model(struct payload *pl, const char *model_dir, const char *given)
{
    if (*given) {
        snprintf(pl->first_match, sizeof(pl->first_match), "%s", given);
        PTL_FREE char *full = ptl_fs_is_safe_relative(given) ? ptl_fs_join(model_dir, given) : NULL;
        if (!full || !ptl_fs_exists(full))
            return ptl_error_set(pl->err, -ENOENT, "model \"%s\" is not among the files of the stage before",
                                 given);
    } else {
        int r = ptl_fs_walk(model_dir, MODEL_FILES_MAX, model_match, pl, pl->err);
        if (r < 0)
            return r;
        PTL_FREE char *kinds = ptl_json_text(pl->suffixes);
        if (pl->matches != 1)
            return ptl_error_set(pl->err, -ENOENT,
                                 "%u files of the stage before end in %s, expected one; name it by `model`",
                                 pl->matches, kinds);
    }
    pl->model = pl->first_match;
    return 0;
}

static int collect_golden(struct payload *pl, const json_t *golden)
{
    json_t *inputs;
    int r = ptl_json_req_arr(golden, "golden/manifest.json", "inputs", &inputs, pl->err);
    size_t i;
    json_t *in;
    json_array_foreach(inputs, i, in)
    {
        const char *file = NULL;
        if (r == 0)
            r = ptl_json_req_str(in, "golden/manifest.json: inputs", "file", &file, pl->err);
        if (r < 0)
            return r;
        if (!ptl_fs_is_safe_relative(file))
            return ptl_error_set(pl->err, -EINVAL,
                                 "golden/manifest.json: \"%s\" is no path below the golden set", file);
        PTL_FREE char *local = ptl_xasprintf("%s/golden/%s", pl->inputs_dir, file);
        PTL_FREE char *remote = ptl_fs_join("golden", file);
        r = payload_add(pl, local, remote, NULL);
    }
    if (r == 0 && json_array_size(inputs) == 0)
        return ptl_error_set(pl->err, -EINVAL, "golden/manifest.json: the golden set has no inputs");
    return r;
}

/* A file of the recipe, pushed under its own name. */
static int collect_script(struct payload *pl, const struct ptl_driver_job *job, const json_t *keys,
                          const char *key, const char **ret_name)
{
    const char *file;
    char real[PATH_MAX];
    int r = ptl_json_req_str(keys, "recipe: driver", key, &file, pl->err);
    if (r < 0)
        return r;
    PTL_FREE char *full = ptl_fs_join(job->recipe_dir, file);
    if (!realpath(full, real))
        return ptl_error_set(pl->err, -errno, "recipe: driver.%s: %s: %s", key, full, strerror(errno));
    const char *slash = strrchr(file, '/');
    *ret_name = slash ? slash + 1 : file;
    return payload_add(pl, real, *ret_name, NULL);
}

/* A whole number among the parameters, within bounds that the recipe cannot state. */
static int bounded(const json_t *with, const char *name, int64_t dflt, int64_t min, int64_t max, int64_t *ret,
                   struct ptl_error *err)
{
    int64_t v = ptl_json_i64(with, name, dflt);
    if (v < min || v > max)
        return ptl_error_set(err, -EINVAL, "%s: %lld: expected %lld..%lld", name, (long long)v,
                             (long long)min, (long long)max);
    *ret = v;
    return 0;
}

/* What the runner is told; `files` without our own paths. */
static int job_for_device(const struct payload *pl, const struct ptl_driver_job *job, json_t *golden,
                          json_t *signature, json_t **ret, struct ptl_error *err)
{
    static const struct {
        const char *name;
        int64_t dflt, min, max;
    } numbers[] = {
        {"threads", 1,  1, 8    },
        {"batch",   1,  0, 65536},
        {"repeats", 30, 1, 1000 },
        {"warmup",  2,  1, 1000 },
    };
    json_t *outputs;
    int r = ptl_json_req_arr(golden, "golden/manifest.json", "outputs", &outputs, err);
    if (r < 0)
        return r;
    PTL_JSON *j = json_object();
    json_t *files = json_array(), *f;
    size_t i;
    json_object_set_new(j, "files", files);
    json_array_foreach(pl->files, i, f)
    {
        json_t *copy = json_copy(f);
        json_object_del(copy, "local");
        json_array_append_new(files, copy);
    }
    PTL_FREE char *model = ptl_fs_join("model", pl->model);
    json_object_set_new(j, "model", json_string(model));
    json_object_set(j, "inputs", json_object_get(golden, "inputs"));
    json_object_set(j, "outputs", outputs);
    json_object_set(j, "signature", signature ? signature : json_null());
    for (i = 0; i < PTL_ARRAY_LEN(numbers); i++) {
        int64_t v = 0;
        r = bounded(job->with, numbers[i].name, numbers[i].dflt, numbers[i].min, numbers[i].max, &v, err);
        if (r < 0)
            return r;
        json_object_set_new(j, numbers[i].name, json_integer(v));
    }
    *ret = PTL_TAKE(j);
    return 0;
}

/* ---- what comes back while it runs ---- */

struct output {
    int log_fd;
    struct ptl_buf line[2]; /* stdout, stderr: unfinished lines */
    json_t *console;        /* stderr lines in which the runtime reports errors */
    char last[400];         /* last line of stderr with text: the reason, when the runner fails */
    char exception[400];    /* the better reason: what a Python traceback ended in */
    bool in_traceback;
};

static bool is_console_error(const char *line)
{
    return ptl_str_starts(line, "ERROR") || strstr(line, "[E:onnxruntime") != NULL ||
           ptl_str_starts(line, "E0000");
}

/* An exception's text may have many lines; its first, the one after the indented frames, says most. */
static void note_reason(struct output *o, const char *line)
{
    snprintf(o->last, sizeof(o->last), "%s", line);
    if (ptl_str_starts(line, "Traceback (most recent call last)")) {
        o->in_traceback = true;
    } else if (o->in_traceback && line[0] != ' ') {
        snprintf(o->exception, sizeof(o->exception), "%s", line);
        o->in_traceback = false;
    }
}

static void output_line(struct output *o, bool is_stderr)
{
    struct ptl_buf *b = &o->line[is_stderr];
    ptl_buf_putc(b, '\n');
    if (ptl_fs_write_all(o->log_fd, ptl_buf_str(b), b->len) < 0)
        o->last[0] = '\0';
    if (b->len)
        b->data[--b->len] = '\0';
    if (is_stderr && b->len) {
        note_reason(o, b->data);
        if (is_console_error(b->data) && json_array_size(o->console) < CONSOLE_LINES_MAX) {
            PTL_FREE char *text = ptl_json_text_utf8(b->data, b->len);
            json_array_append_new(o->console, json_string(text));
        }
    }
    ptl_buf_clear(b);
}

/* Whole lines to the log; a line that does not end is cut at a bound. */
static int output_take(void *ctx, bool is_stderr, const char *data, size_t len)
{
    struct output *o = ctx;
    for (size_t i = 0; i < len; i++) {
        struct ptl_buf *b = &o->line[is_stderr];
        if (data[i] == '\n') {
            output_line(o, is_stderr);
            continue;
        }
        if (b->len >= LINE_MAX_BYTES)
            output_line(o, is_stderr);
        int r = ptl_buf_putc(b, data[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static void output_done(struct output *o)
{
    for (int i = 0; i < 2; i++) {
        if (o->line[i].len)
            output_line(o, i);
        ptl_buf_done(&o->line[i]);
    }
    json_decref(o->console);
    o->console = NULL;
}

/* ---- the steps ---- */

struct verify {
    const struct ptl_driver_job *job;
    struct ptl_adb_wait wait;
    const json_t *keys;                /* recipe's `driver` */
    json_t *golden, *signature, *told; /* told: what the runner gets */
    struct payload payload;
    const char *runner, *backend; /* names on the device */
    struct ptl_phone phone;
    struct output out;
    uint64_t oom_before;
};

static int prepare(struct verify *v, struct ptl_error *err)
{
    const struct ptl_driver_job *job = v->job;
    PTL_FREE char *golden = ptl_fs_join(job->inputs_dir, "golden/manifest.json");
    PTL_FREE char *model_dir = ptl_fs_join(job->inputs_dir, "model");
    PTL_FREE char *signature = ptl_fs_join(model_dir, "signature.json");
    v->keys = json_object_get(job->recipe, "driver");
    v->payload = (struct payload){.inputs_dir = job->inputs_dir,
                                  .files = json_array(),
                                  .suffixes = json_object_get(v->keys, "model_suffix"),
                                  .with_data = ptl_json_flag(v->keys, "model_data", false),
                                  .err = err};
    int r = ptl_json_load(golden, JSON_MAX, &v->golden, err);
    if (r == 0 && ptl_fs_exists(signature))
        r = ptl_json_load(signature, JSON_MAX, &v->signature, err);
    if (r == 0)
        r = choose_model(&v->payload, model_dir, ptl_json_str(job->with, "model", ""));
    if (r == 0)
        r = ptl_fs_walk(model_dir, MODEL_FILES_MAX, model_file, &v->payload, err);
    if (r == 0)
        r = collect_golden(&v->payload, v->golden);
    if (r == 0)
        r = collect_script(&v->payload, job, v->keys, "runner", &v->runner);
    if (r == 0)
        r = collect_script(&v->payload, job, v->keys, "backend", &v->backend);
    if (r == 0)
        r = job_for_device(&v->payload, job, v->golden, v->signature, &v->told, err);
    return r;
}

static int push_all(struct verify *v, struct ptl_error *err)
{
    size_t i;
    json_t *f;
    int r = 0;
    PTL_FREE char *job_file = ptl_fs_join(v->job->scratch_dir, "phone-job.json");
    PTL_FREE char *job_remote = ptl_fs_join(v->phone.work, "job.json");
    json_array_foreach(v->payload.files, i, f)
    {
        PTL_FREE char *remote = ptl_fs_join(v->phone.work, ptl_json_str(f, "path", ""));
        r = ptl_adb_push(v->phone.adb, v->phone.serial, ptl_json_str(f, "local", ""), remote, 0644, &v->wait,
                         err);
        if (r < 0)
            return r;
    }
    r = ptl_json_save(job_file, v->told, 0644, err);
    return r < 0 ? r : ptl_adb_push(v->phone.adb, v->phone.serial, job_file, job_remote, 0644, &v->wait, err);
}

/* Pushing is safe to repeat: once more over a new connection when the device went away in it. */
static int push_with_retry(struct verify *v, struct ptl_error *err)
{
    int r = push_all(v, err);
    if (r != -ECONNRESET && r != -EREMOTEIO)
        return r;
    ptl_mobile_log(v->job->log_fd, "device: %s; connecting again", err ? err->text : "lost");
    r = ptl_phone_reconnect(&v->phone, &v->wait, err);
    return r < 0 ? r : push_all(v, err);
}

static char *command_for(const struct verify *v)
{
    const struct ptl_phone *p = &v->phone;
    struct ptl_buf b = PTL_BUF_INIT;
    ptl_buf_puts(&b, "cd ");
    ptl_adb_quote(&b, p->work);
    ptl_buf_puts(&b,
                 " && mkdir -p got && export ORT_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1 LC_ALL=C TMPDIR=");
    ptl_adb_quote(&b, p->work);
    ptl_buf_puts(&b, " PYTHONHOME=");
    ptl_adb_quote(&b, p->python);
    ptl_buf_puts(&b, " PYTHONPATH=");
    ptl_adb_quote(&b, p->site);
    ptl_buf_printf(&b, " && exec %s/lib/ld-linux-aarch64.so.1 --library-path %s/lib %s/bin/python3.11 -BS ",
                   p->python, p->python, p->python);
    ptl_adb_quote(&b, v->runner);
    ptl_buf_puts(&b, " job.json ");
    ptl_adb_quote(&b, v->backend);
    ptl_buf_puts(&b, " got");
    return ptl_buf_take(&b, NULL);
}

static json_t *load_got(struct verify *v, const char *dir, struct ptl_error *err)
{
    PTL_FREE char *remote = ptl_fs_join(v->phone.work, "got/manifest.json");
    PTL_FREE char *local = ptl_fs_join(v->job->scratch_dir, "got-manifest.json");
    json_t *got = NULL;
    int r = ptl_fs_mkdirs(dir, 0755, err);
    if (r == 0)
        r = ptl_adb_pull(v->phone.adb, v->phone.serial, remote, local, JSON_MAX, &v->wait, err);
    if (r == 0)
        r = ptl_json_load(local, JSON_MAX, &got, err);
    return r < 0 ? NULL : got;
}

static int pull_output(struct verify *v, const char *dir, const json_t *out, struct ptl_error *err)
{
    const char *file, *sha;
    char hex[PTL_SHA256_HEX];
    int r = ptl_json_req_str(out, "the runner's manifest: outputs", "file", &file, err);
    if (r == 0)
        r = ptl_json_req_str(out, "the runner's manifest: outputs", "sha256", &sha, err);
    if (r < 0)
        return r;
    if (!ptl_fs_is_safe_relative(file) || strchr(file, '/'))
        return ptl_error_set(err, -EINVAL, "the runner's manifest: \"%s\" is no file name", file);
    PTL_FREE char *remote = ptl_xasprintf("%s/got/%s", v->phone.work, file);
    PTL_FREE char *local = ptl_fs_join(dir, file);
    r = ptl_adb_pull(v->phone.adb, v->phone.serial, remote, local, OUTPUT_MAX, &v->wait, err);
    if (r == 0)
        r = ptl_sha256_file(local, hex, NULL, err);
    if (r == 0 && strcmp(hex, sha) != 0)
        return ptl_error_set(err, -EIO,
                             "output %s has other bytes here than on the device (%.12s, expected %.12s)",
                             file, hex, sha);
    return r;
}

/* Outputs back, and the manifest completed by what only this side knows. */
static int pull_all(struct verify *v, struct ptl_error *err)
{
    PTL_FREE char *dir = ptl_fs_join(v->job->outputs_dir, "got");
    PTL_FREE char *path = ptl_fs_join(dir, "manifest.json");
    PTL_JSON *got = load_got(v, dir, err);
    if (!got)
        return err->code;
    json_t *outputs, *runtime, *metrics;
    int r = ptl_json_req_arr(got, "the runner's manifest", "outputs", &outputs, err);
    if (r == 0)
        r = ptl_json_req_obj(got, "the runner's manifest", "runtime", &runtime, err);
    if (r == 0)
        r = ptl_json_req_obj(got, "the runner's manifest", "metrics", &metrics, err);
    if (r < 0)
        return r;
    size_t i;
    json_t *out;
    json_array_foreach(outputs, i, out)
    {
        r = pull_output(v, dir, out, err);
        if (r < 0)
            return r;
        json_object_del(out, "sha256");
    }
    json_object_set_new(runtime, "name", json_string(ptl_json_str(v->keys, "runtime", "unnamed")));
    json_object_set_new(runtime, "device", json_string(v->phone.description));
    json_object_set_new(runtime, "indicative_latency", json_boolean(v->phone.indicative));
    json_object_set_new(metrics, "artifact_bytes", json_integer((json_int_t)v->payload.model_bytes));
    json_object_set(got, "console", v->out.console);
    return ptl_json_save(path, got, 0644, err);
}

/* ---- how it ended ---- */

static const char *signal_name(int signal)
{
    const char *name = sigabbrev_np(signal);
    return name ? name : "unknown";
}

static void end_by_memory(struct verify *v, struct ptl_driver_result *ret)
{
    char peak[32];
    ptl_size_format((int64_t)ret->peak_memory_bytes, peak);
    ret->end_reason = PTL_END_OOM;
    snprintf(ret->message, sizeof(ret->message), "killed for memory on the device: %s (peak %s)",
             ptl_device_ceilings(v->phone.embedded), peak);
}

static bool was_oom(struct verify *v)
{
    return v->phone.embedded && ptl_device_oom_kills(v->phone.embedded) > v->oom_before;
}

/* The shell of the device says 128 + n for a command that signal n ended; so does adbd itself. */
static void end_by_status(struct verify *v, int code, struct ptl_driver_result *ret)
{
    ret->end_reason = PTL_END_EXIT;
    ret->exit_code = code;
    if (code == 0)
        return;
    if (was_oom(v)) {
        end_by_memory(v, ret);
    } else if (code > 128 && code <= 128 + 31) {
        ret->end_reason = PTL_END_SIGNAL;
        ret->signal = code - 128;
        snprintf(ret->message, sizeof(ret->message), "the runtime was ended by signal SIG%s on the device%s",
                 signal_name(code - 128),
                 code - 128 == 4 ? ": an instruction that this CPU does not have" : "");
    } else {
        snprintf(ret->message, sizeof(ret->message), "the runtime ended with exit status %d: %.400s", code,
                 v->out.exception[0] ? v->out.exception
                 : v->out.last[0]    ? v->out.last
                                     : "without a word on stderr");
    }
}

/* No exit status: why. Returns 0 when *ret tells it, else `r` for a failure before the work began. */
static int end_without_status(struct verify *v, int r, bool began, struct ptl_driver_result *ret,
                              const struct ptl_error *err)
{
    if (r == -ECANCELED) {
        ret->end_reason = PTL_END_CANCELLED;
    } else if (r == -ETIMEDOUT && ptl_mono_ms() >= v->job->deadline_mono_ms) {
        ret->end_reason = PTL_END_TIMEOUT;
    } else if (!began) {
        return r;
    } else if (was_oom(v)) {
        end_by_memory(v, ret);
        return 0;
    } else {
        ret->end_reason = PTL_END_SETUP;
    }
    snprintf(ret->message, sizeof(ret->message), "%.500s", err->text);
    return 0;
}

/* Status 0 of a program that left no result, or a broken one, is no success: EX_SOFTWARE stands in its place.
 */
static int end_without_result(struct ptl_driver_result *ret, const struct ptl_error *err)
{
    ret->end_reason = PTL_END_EXIT;
    ret->exit_code = 70;
    snprintf(ret->message, sizeof(ret->message),
             "the runner ended with status 0 but its result is missing or broken: %.400s", err->text);
    return 0;
}

static int run_steps(struct verify *v, struct ptl_driver_result *ret, struct ptl_error *err)
{
    int code = -1;
    int r = prepare(v, err);
    if (r == 0)
        r = ptl_phone_open(v->job, &v->wait, &v->phone, err);
    if (r == 0)
        r = push_with_retry(v, err);
    if (r < 0)
        return end_without_status(v, r, false, ret, err);
    v->oom_before = v->phone.embedded ? ptl_device_oom_kills(v->phone.embedded) : 0;
    PTL_FREE char *command = command_for(v);
    r = ptl_adb_shell(v->phone.adb, v->phone.serial, command, &v->wait, LOG_MAX, output_take, &v->out, &code,
                      err);
    if (v->phone.embedded)
        ret->peak_memory_bytes = ptl_device_peak_bytes(v->phone.embedded);
    if (r < 0)
        return end_without_status(v, r, true, ret, err);
    end_by_status(v, code, ret);
    if (code != 0)
        return 0;
    r = pull_all(v, err);
    if (r == 0)
        return 0;
    if (r == -ENOENT || r == -EIO || r == -EINVAL)
        return end_without_result(ret, err);
    return end_without_status(v, r, true, ret, err);
}

static int mobile_run(const struct ptl_driver_job *job, struct ptl_driver_result *ret, struct ptl_error *err)
{
    struct ptl_error own = PTL_ERROR_INIT;
    struct verify v = {
        .job = job,
        .wait = {job->deadline_mono_ms,                 job->cancelled         },
        .out = { .log_fd = job->log_fd, .line = {PTL_BUF_INIT, PTL_BUF_INIT}, .console = json_array()}
    };
    struct ptl_driver_result result = {.end_reason = PTL_END_SETUP};
    int r = run_steps(&v, &result, &own);
    ptl_phone_done(&v.phone);
    output_done(&v.out);
    json_decref(v.payload.files);
    json_decref(v.golden);
    json_decref(v.signature);
    json_decref(v.told);
    if (r < 0) {
        if (err)
            *err = own;
        return r;
    }
    if (result.message[0])
        ptl_mobile_log(job->log_fd, "device: %s", result.message);
    *ret = result;
    return 0;
}

/* ---- what this host offers ---- */

static json_t *profile_json(const struct ptl_device_profile *p)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:{s:b, s:b, s:b, s:b}}", "name", p->name, "title",
                     p->title, "cpu", p->cpu, "emulated", 1, "memory_mb", (int)p->memory_mb, "cores",
                     (int)p->cores, "abilities", "shell_v2", 1, "getprop", 0, "logcat", 0, "apk", 0);
}

/* Real devices of a configured adb server ($PORTOLAN_ADB_SERVER); a server that does not answer adds none. */
static void add_real(json_t *devices)
{
    const char *server = getenv("PORTOLAN_ADB_SERVER");
    struct ptl_adb_device list[64];
    size_t n = 0;
    struct ptl_adb_wait wait = {ptl_mono_ms() + 2000, NULL};
    PTL_CLEANUP(ptl_adb_freep) struct ptl_adb *adb = NULL;
    if (!server || !*server || ptl_adb_new(server, &adb, NULL) < 0 ||
        ptl_adb_devices(adb, &wait, list, PTL_ARRAY_LEN(list), &n, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(devices,
                              json_pack("{s:s, s:s, s:b, s:s}", "serial", list[i].serial, "state",
                                        list[i].state, "emulated",
                                        ptl_str_starts(list[i].serial, "emulator-"), "adb_server", server));
}

static int mobile_inventory(json_t *ret_inventory, struct ptl_error *err)
{
    PTL_JSON *devices = json_array();
    struct ptl_error why = PTL_ERROR_INIT;
    PTL_FREE char *dir = ptl_phone_dir_find(NULL);
    add_real(devices);
    int r = ptl_device_possible(&why);
    if (r == 0 && !dir) {
        ptl_error_set(
            &why, -ENOENT,
            "the toolchain phone-arm64 is not installed: run agents/toolchains/prepare phone-arm64");
        r = PTL_ABSENT;
    }
    if (r == 0)
        for (const struct ptl_device_profile *p = ptl_device_profiles; p->name; p++)
            json_array_append_new(devices, profile_json(p));
    if (json_array_size(devices) == 0) {
        if (err)
            *err = why;
        return PTL_ABSENT;
    }
    json_t *have = json_object_get(ret_inventory, "devices");
    if (json_is_array(have))
        json_array_extend(have, devices);
    else
        json_object_set(ret_inventory, "devices", devices);
    return 0;
}

const struct ptl_driver ptl_driver_mobile = {"mobile", mobile_inventory, mobile_run};
