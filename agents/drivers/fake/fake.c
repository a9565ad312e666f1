/* fake.c - the driver that does as it is told: with a perfect runtime (the golden outputs themselves) or a
 * failure at a named step. For faults that no real runtime can be asked to make. `with: {fail_at: STEP, hold:
 * FILE, lines: N}`.
 *
 *   none         answers with the golden outputs: green        wrong     the first element of every output is
 * off by 1: red setup        the device could not be had                   nan       the first element of
 * every output is NaN: red exit         exit code 3                                   constant  every element
 * the same: red signal       ended by SIGSEGV                              missing   one output is not there:
 * red oom          out of memory                                 console   ends well, but the console holds
 * an ERROR line: red device_lost  the device went away in the middle            nothing   ends well without
 * writing anything hang         waits for the deadline or a cancel            crash     the attempt process
 * itself dies hold         waits until the file `hold` exists in src/ (or cancel, deadline), then as none */
#include "../driver.h"
#include "../server/tensor.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <portolan/clock.h>
#include <portolan/fs.h>

static int ended(struct ptl_driver_result *ret, enum ptl_end_reason reason, int exit_code, int signal_number,
                 const char *text)
{
    *ret = (struct ptl_driver_result){.end_reason = reason, .exit_code = exit_code, .signal = signal_number};
    snprintf(ret->message, sizeof(ret->message), "%s", text);
    return 0;
}

/* 0: the file is there; 1: ended meanwhile. */
static int hold(const struct ptl_driver_job *job, struct ptl_driver_result *ret, const char *file)
{
    PTL_FREE char *path = ptl_fs_join(job->src_dir, *file ? file : "never");
    while (!*file || !ptl_fs_exists(path)) {
        if (*job->cancelled)
            return ended(ret, PTL_END_CANCELLED, 0, 0, "cancelled"), 1;
        if (ptl_mono_ms() >= job->deadline_mono_ms)
            return ended(ret, PTL_END_TIMEOUT, 0, 0, "fake: time limit reached"), 1;
        poll(NULL, 0, 20);
    }
    return 0;
}

static void spoil(struct ptl_npy *a, char *bytes, const char *how)
{
    size_t size = a->dtype == PTL_DT_F64 ? 8 : 4;
    if (a->dtype != PTL_DT_F32 && a->dtype != PTL_DT_F64)
        return;
    for (uint64_t i = 0; i < a->elements; i++) {
        double d = ptl_npy_at(a, i);
        if (i == 0 && strcmp(how, "wrong") == 0)
            d += 1;
        if (i == 0 && strcmp(how, "nan") == 0)
            d = NAN;
        if (strcmp(how, "constant") == 0)
            d = 0.5;
        float f = (float)d;
        memcpy(bytes + i * size, size == 8 ? (void *)&d : (void *)&f, size);
    }
}

static int copy_output(const struct ptl_driver_job *job, const json_t *entry, size_t i, const char *how,
                       json_t *entries, struct ptl_error *err)
{
    const char *file = ptl_json_str(entry, "file", "");
    char name[32];
    if (!ptl_fs_is_safe_relative(file))
        return ptl_error_set(err, -EINVAL, "fake: golden output %zu has no usable file", i);
    snprintf(name, sizeof(name), "out%zu.npy", i);
    PTL_FREE char *from = ptl_xasprintf("%s/golden/%s", job->inputs_dir, file);
    PTL_FREE char *to = ptl_xasprintf("%s/got/%s", job->outputs_dir, name);
    PTL_CLOSE int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct ptl_npy a = {0};
    if (fd < 0)
        return ptl_error_set(err, -errno, "fake: %s: %s", from, strerror(errno));
    int r = ptl_npy_map(fd, &a, err);
    if (r < 0)
        return r;
    size_t len = (size_t)((const unsigned char *)a.map + a.map_len - a.data);
    PTL_FREE char *bytes = malloc(len + 1);
    if (bytes)
        memcpy(bytes, a.data, len);
    if (bytes && a.contiguous)
        spoil(&a, bytes, how);
    r = bytes ? ptl_npy_write(to, a.dtype, a.ndim, a.shape, bytes, len, err) : -ENOMEM;
    ptl_npy_done(&a);
    json_t *copy = json_deep_copy(entry);
    json_object_set_new(copy, "file", json_string(name));
    json_array_append_new(entries, copy);
    return r;
}

static int answer(const struct ptl_driver_job *job, const char *how, struct ptl_error *err)
{
    PTL_FREE char *golden = ptl_fs_join(job->inputs_dir, "golden/manifest.json");
    PTL_FREE char *got = ptl_fs_join(job->outputs_dir, "got");
    PTL_FREE char *path = ptl_fs_join(got, "manifest.json");
    PTL_JSON *manifest = NULL;
    json_t *entries = json_array(), *entry, *latencies = json_array();
    size_t i;
    int r = ptl_json_load(golden, 4 << 20, &manifest, err);
    if (r == 0)
        r = ptl_fs_mkdirs(got, 0755, err);
    json_array_foreach(json_object_get(manifest, "outputs"), i,
                       entry) if (r == 0 && !(i == 0 && strcmp(how, "missing") == 0)) r =
        copy_output(job, entry, i, how, entries, err);
    for (int n = 0; n < 20; n++)
        json_array_append_new(latencies, json_real(1.0 + n * 0.01));
    PTL_JSON *doc =
        json_pack("{s:i, s:o, s:{s:s, s:s, s:s, s:s, s:b}, s:{s:f, s:f, s:o, s:i}, s:[]}", "version", 1,
                  "outputs", entries, "runtime", "name", "fake", "version", "1", "device", "none", "backend",
                  "golden", "indicative_latency", 1, "metrics", "load_ms", 1.0, "first_ms", 1.5, "latency_ms",
                  latencies, "peak_memory_bytes", 1 << 20, "console");
    if (strcmp(how, "console") == 0)
        json_array_append_new(json_object_get(doc, "console"), json_string("ERROR: fake: told to complain"));
    return r < 0 ? r : ptl_json_save(path, doc, 0644, err);
}

static int fake_run(const struct ptl_driver_job *job, struct ptl_driver_result *ret, struct ptl_error *err)
{
    const char *at = ptl_json_str(job->with, "fail_at", "none");
    int64_t lines = ptl_json_i64(job->with, "lines", 0);
    static const char start[] = "fake: device ready\n";
    (void)!ptl_fs_write_all(job->log_fd, start, sizeof(start) - 1);
    for (int64_t i = 0; i < lines; i++) {
        char line[96];
        int n = snprintf(line, sizeof(line), "fake: line %lld of %lld\n", (long long)i, (long long)lines);
        (void)!ptl_fs_write_all(job->log_fd, line, (size_t)n);
    }
    if (strcmp(at, "setup") == 0)
        return ptl_error_set(err, -ENODEV, "fake: no device: told to fail at setup");
    if (strcmp(at, "exit") == 0)
        return ended(ret, PTL_END_EXIT, 3, 0, "fake: the runner ended with exit code 3");
    if (strcmp(at, "signal") == 0)
        return ended(ret, PTL_END_SIGNAL, 0, SIGSEGV, "fake: the runner ended by signal 11");
    if (strcmp(at, "oom") == 0)
        return ended(ret, PTL_END_OOM, 0, 0, "fake: the runner ran out of memory");
    if (strcmp(at, "device_lost") == 0)
        return ended(ret, PTL_END_SETUP, 0, 0, "fake: the device went away in the middle of a command");
    if (strcmp(at, "crash") == 0)
        raise(SIGKILL);
    if (strcmp(at, "hang") == 0)
        return hold(job, ret, ""), 0;
    if (strcmp(at, "hold") == 0 && hold(job, ret, ptl_json_str(job->with, "hold", "go")))
        return 0;
    if (strcmp(at, "nothing") == 0)
        return ended(ret, PTL_END_EXIT, 0, 0, "");
    int r = answer(job, at, err);
    return r < 0 ? r : ended(ret, PTL_END_EXIT, 0, 0, "");
}

static int fake_inventory(json_t *ret_inventory, struct ptl_error *err)
{
    (void)ret_inventory;
    return ptl_error_set(err, PTL_ABSENT, "the fake device is for tests");
}

const struct ptl_driver ptl_driver_fake = {"fake", fake_inventory, fake_run};
