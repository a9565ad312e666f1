/* phone.c - one device for one attempt, whoever provides it: the embedded device, or a real phone (or
 * emulator) that an adb server knows by its serial. From here on there is no difference but where python
 * comes from: bound read-only into the embedded device, pushed once per toolchain version to a real one.
 * Owns: the device for the length of an attempt. Blocks; one thread. */
#include "mobile.h"
#include "cgroup.h"

#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/json.h>
#include <stdio.h>
#include <sys/stat.h>

#define BASE "/data/local/tmp/portolan"
enum { REAL_READY_MS = 30000, RETRY_MS = 200 };

void ptl_mobile_log(int fd, const char *fmt, ...)
{
    PTL_BUF b = PTL_BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    char line[1400];
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    ptl_buf_puts(&b, line);
    ptl_buf_putc(&b, '\n');
    if (!b.failed && ptl_fs_write_all(fd, b.data, b.len) < 0)
        return; /* the log's reader notices the gap; the attempt goes on */
}

/* The newest directory that `pattern` (of versions.json files) finds. */
static char *newest(const char *pattern)
{
    glob_t g;
    char *best = NULL;
    time_t best_time = 0;
    if (glob(pattern, 0, NULL, &g) != 0)
        return NULL;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct stat st;
        if (stat(g.gl_pathv[i], &st) < 0 || (best && st.st_mtime <= best_time))
            continue;
        free(best);
        best = ptl_xstrdup(g.gl_pathv[i]);
        best_time = st.st_mtime;
    }
    globfree(&g);
    if (best)
        *strrchr(best, '/') = '\0';
    return best;
}

#define PHONE_VERSIONS "phone-arm64-*/versions.json"

char *ptl_phone_dir_find(const char *toolchain_dir)
{
    char real[PATH_MAX];
    if (toolchain_dir) {
        PTL_FREE char *link = ptl_fs_join(toolchain_dir, "phone");
        PTL_FREE char *beside = ptl_xasprintf("%s/../" PHONE_VERSIONS, toolchain_dir);
        char *found = realpath(link, real) ? ptl_xstrdup(real) : newest(beside);
        if (found)
            return found;
    }
    const char *given = getenv("PORTOLAN_PHONE"), *root = getenv("PORTOLAN_TOOLCHAINS"),
               *home = getenv("HOME");
    if (given && *given)
        return realpath(given, real) ? ptl_xstrdup(real) : NULL;
    PTL_FREE char *pattern =
        root && *root    ? ptl_xasprintf("%s/" PHONE_VERSIONS, root)
        : geteuid() == 0 ? ptl_xstrdup("/var/cache/portolan/toolchains/" PHONE_VERSIONS)
                         : ptl_xasprintf("%s/.cache/portolan/toolchains/" PHONE_VERSIONS, home ? home : "");
    return newest(pattern);
}

/* ---- directories on the device ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void name_directories(struct ptl_phone *p, const char *phone_dir, const char *toolchain_dir)
{
    unsigned char salt[8];
    char hex[17];
    ptl_random(salt, sizeof(salt));
    ptl_hex(salt, sizeof(salt), hex);
    p->python = ptl_xasprintf(BASE "/%s/python", base_name(phone_dir));
    p->site = ptl_xasprintf(BASE "/%s/site", base_name(toolchain_dir));
    p->work = ptl_xasprintf(BASE "/attempt-%s", hex);
}

/* ---- the embedded device ---- */

static int embedded_profile(const json_t *with, const struct ptl_device_profile **ret, uint64_t *ret_memory,
                            struct ptl_error *err)
{
    const char *name = ptl_json_str(with, "device", ptl_device_profile_default);
    const char *memory = ptl_json_str(with, "memory", "");
    int64_t bytes = 0;
    *ret = ptl_device_profile_find(name);
    if (!*ret) {
        PTL_FREE char *names = ptl_device_profile_names();
        return ptl_error_set(err, -EINVAL, "device \"%s\": there are %s; name a real device by `serial`",
                             name, names);
    }
    if (*memory && (ptl_size_parse(memory, &bytes) < 0 || bytes < 64 << 20))
        return ptl_error_set(err, -EINVAL, "memory \"%s\": expected a size of at least 64MiB", memory);
    *ret_memory = (uint64_t)bytes;
    return 0;
}

static int open_embedded(const struct ptl_driver_job *job, const char *phone_dir,
                         const struct ptl_adb_wait *wait, struct ptl_phone *p, struct ptl_error *err)
{
    const struct ptl_device_profile *profile;
    uint64_t memory = 0;
    int r = embedded_profile(job->with, &profile, &memory, err);
    if (r < 0)
        return r;
    if (job->memory_bytes && (!memory || job->memory_bytes < memory))
        memory = job->memory_bytes;
    PTL_FREE char *python = ptl_fs_join(phone_dir, "python");
    PTL_FREE char *site = ptl_fs_join(job->toolchain_dir, "site");
    PTL_FREE char *dir = ptl_fs_join(job->scratch_dir, "phone");
    /* The agent sweeps every group of an attempt by this prefix, so a killed attempt process leaves none. */
    char group[PTL_CGROUP_NAME];
    ptl_cgroup_name_for(job->attempt_dir, "phone", group);
    struct ptl_device_bind binds[] = {
        {python, p->python},
        {site,   p->site  }
    };
    struct ptl_device_spec spec = {.phone_dir = phone_dir,
                                   .dir = dir,
                                   .profile = profile,
                                   .memory_bytes = memory,
                                   .cgroup_name = group,
                                   .binds = binds,
                                   .n_binds = 2};
    int64_t began = ptl_mono_ms();
    r = ptl_device_start(&spec, wait, &p->embedded, err);
    if (r != 0)
        return r == PTL_ABSENT ? -ENOTSUP : r;
    p->adb = ptl_device_adb(p->embedded);
    snprintf(p->serial, sizeof(p->serial), "%s", ptl_device_serial(p->embedded));
    snprintf(p->description, sizeof(p->description), "%s, %s (emulated, QEMU user mode)", profile->name,
             profile->title);
    p->indicative = true;
    ptl_mobile_log(job->log_fd, "device: %s is up after %lld ms: arm64 under QEMU, CPU %s, %s", profile->name,
                   (long long)(ptl_mono_ms() - began), profile->cpu, ptl_device_ceilings(p->embedded));
    return 0;
}

/* ---- a real device ---- */

/* One try to see `serial` usable. 0, PTL_AGAIN with err telling its state, or negative. */
static int real_try(struct ptl_phone *p, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    bool ready = false, by_net = strchr(p->serial, ':') != NULL;
    char state[32];
    int r = ptl_adb_is_ready(p->adb, p->serial, wait, &ready, state, err);
    if (r < 0 || ready)
        return r;
    if (by_net) { /* over the network the server forgets, or keeps "offline" for ever: again from the start */
        if (strcmp(state, "absent") != 0)
            r = ptl_adb_disconnect(p->adb, p->serial, wait, err);
        if (r == 0 || r == -EREMOTEIO)
            r = ptl_adb_connect(p->adb, p->serial, wait, err);
        if (r == 0)
            r = ptl_adb_is_ready(p->adb, p->serial, wait, &ready, state, err);
        if (r != 0 || ready)
            return r;
    }
    ptl_error_set(err, -ENODEV, "the adb server at %s lists device %s as \"%s\"%s", ptl_adb_address(p->adb),
                  p->serial, state,
                  strcmp(state, "unauthorized") == 0 ? ": confirm this computer on the phone's screen" : "");
    return PTL_AGAIN;
}

static int real_ready(struct ptl_phone *p, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    struct ptl_adb_wait brief = {ptl_mono_ms() + REAL_READY_MS, wait->cancelled};
    if (brief.deadline_mono_ms > wait->deadline_mono_ms)
        brief.deadline_mono_ms = wait->deadline_mono_ms;
    struct ptl_error state = {-ETIMEDOUT, "adb: no answer about the device"}; /* what it was when last seen */
    for (;;) {
        struct ptl_error why = PTL_ERROR_INIT;
        int r = real_try(p, &brief, &why);
        if (r == PTL_AGAIN)
            state = why;
        bool over = r == -ETIMEDOUT || (r == PTL_AGAIN && ptl_mono_ms() + RETRY_MS >= brief.deadline_mono_ms);
        if (over || r <= 0) {
            if (err && r != 0)
                *err = over ? state : why;
            return over ? state.code : r;
        }
        poll(NULL, 0, RETRY_MS); /* a phone that restarts announces nothing to us: ask again soon */
    }
}

/* First line of what a command prints, "" when it fails: for facts that not every device tells. */
static int ask(struct ptl_phone *p, const struct ptl_adb_wait *wait, const char *command, char *ret,
               size_t size, struct ptl_error *err)
{
    PTL_BUF out = PTL_BUF_MAX(64 << 10);
    int code = 0, r = ptl_adb_shell_buf(p->adb, p->serial, command, wait, &out, NULL, &code, err);
    if (r < 0)
        return r;
    char *nl = out.data ? strpbrk(out.data, "\r\n") : NULL;
    if (nl)
        *nl = '\0';
    snprintf(ret, size, "%s", code == 0 ? ptl_buf_str(&out) : "");
    return 0;
}

static int real_describe(struct ptl_phone *p, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    char machine[64], model[80] = "", release[40] = "", qemu[16] = "";
    int r = ask(p, wait, "uname -m", machine, sizeof(machine), err);
    if (r == 0 && strcmp(machine, "aarch64") != 0)
        return ptl_error_set(err, -ENOEXEC, "device %s is \"%s\"; these runtimes are built for aarch64",
                             p->serial, machine);
    if (r == 0)
        r = ask(p, wait, "getprop ro.product.model", model, sizeof(model), err);
    if (r == 0)
        r = ask(p, wait, "getprop ro.build.version.release", release, sizeof(release), err);
    if (r == 0)
        r = ask(p, wait, "getprop ro.boot.qemu", qemu, sizeof(qemu), err);
    if (r < 0)
        return r;
    p->indicative = strcmp(qemu, "1") == 0 || ptl_str_starts(p->serial, "emulator-") || !model[0];
    snprintf(p->description, sizeof(p->description), "%s%s%s (%s)", model[0] ? model : "arm64 device",
             release[0] ? ", Android " : "", release, p->serial);
    return 0;
}

/* Pushes a tree once: a marker file beside it is written last and looked for first. */
static int real_install(struct ptl_phone *p, int log_fd, const char *local, const char *remote,
                        const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    PTL_FREE char *marker = ptl_xasprintf("%s.complete", remote);
    PTL_FREE char *source = ptl_fs_join(local, "../versions.json");
    struct ptl_adb_stat st;
    int r = ptl_adb_stat(p->adb, p->serial, marker, wait, &st, err);
    if (r < 0 || st.mode != 0)
        return r;
    unsigned files = 0;
    uint64_t bytes = 0;
    int64_t began = ptl_mono_ms();
    r = ptl_adb_push_tree(p->adb, p->serial, local, remote, wait, &files, &bytes, err);
    if (r == 0)
        r = ptl_adb_push(p->adb, p->serial, source, marker, 0644, wait, err);
    if (r == 0)
        ptl_mobile_log(log_fd, "device: %u files, %llu KiB pushed to %s in %lld ms; kept for later attempts",
                       files, (unsigned long long)(bytes >> 10), remote, (long long)(ptl_mono_ms() - began));
    return r;
}

static int open_real(const struct ptl_driver_job *job, const char *phone_dir, const char *serial,
                     const struct ptl_adb_wait *wait, struct ptl_phone *p, struct ptl_error *err)
{
    const char *server = ptl_json_str(job->with, "adb_server", "");
    int r = ptl_adb_new(*server ? server : NULL, &p->own_adb, err);
    if (r < 0)
        return r;
    p->adb = p->own_adb;
    snprintf(p->serial, sizeof(p->serial), "%s", serial);
    r = real_ready(p, wait, err);
    PTL_BUF features = PTL_BUF_MAX(PTL_ADB_REPLY_MAX + 1);
    if (r == 0)
        r = ptl_adb_features(p->adb, p->serial, wait, &features, err);
    if (r == 0 && !strstr(ptl_buf_str(&features), "shell_v2"))
        return ptl_error_set(
            err, -ENOTSUP,
            "device %s has no shell_v2 (features: %.200s): without its exit packet a crash would look like success",
            serial, ptl_buf_str(&features));
    if (r == 0)
        r = real_describe(p, wait, err);
    PTL_FREE char *python = ptl_fs_join(phone_dir, "python");
    PTL_FREE char *site = ptl_fs_join(job->toolchain_dir, "site");
    if (r == 0)
        r = real_install(p, job->log_fd, python, p->python, wait, err);
    if (r == 0)
        r = real_install(p, job->log_fd, site, p->site, wait, err);
    if (r == 0)
        ptl_mobile_log(job->log_fd, "device: %s", p->description);
    return r;
}

/* ---- both ---- */

int ptl_phone_open(const struct ptl_driver_job *job, const struct ptl_adb_wait *wait, struct ptl_phone *ret,
                   struct ptl_error *err)
{
    if (!job->toolchain_dir)
        return ptl_error_set(
            err, -EINVAL, "the recipe names no toolchain; a mobile verify needs one with a site/ for arm64");
    PTL_FREE char *phone_dir = ptl_phone_dir_find(job->toolchain_dir);
    if (!phone_dir)
        return ptl_error_set(
            err, -ENOENT,
            "the toolchain phone-arm64 is not installed: run agents/toolchains/prepare phone-arm64");
    struct ptl_phone p = {0};
    name_directories(&p, phone_dir, job->toolchain_dir);
    const char *serial = ptl_json_str(job->with, "serial", "");
    int r = *serial ? open_real(job, phone_dir, serial, wait, &p, err)
                    : open_embedded(job, phone_dir, wait, &p, err);
    if (r < 0) {
        ptl_phone_done(&p);
        return r;
    }
    p.opened = true;
    *ret = p;
    return 0;
}

int ptl_phone_reconnect(struct ptl_phone *phone, const struct ptl_adb_wait *wait, struct ptl_error *err)
{
    return phone->embedded ? ptl_device_reconnect(phone->embedded, wait, err) : real_ready(phone, wait, err);
}

void ptl_phone_done(struct ptl_phone *phone)
{
    if (phone->own_adb && phone->opened) {
        PTL_BUF command = PTL_BUF_INIT;
        struct ptl_adb_wait wait = {ptl_mono_ms() + 5000, NULL};
        int code;
        ptl_buf_puts(&command, "rm -rf ");
        ptl_adb_quote(&command, phone->work);
        /* A device that is gone keeps its directory; the next attempt has another name. */
        if (ptl_adb_shell_buf(phone->adb, phone->serial, ptl_buf_str(&command), &wait, NULL, NULL, &code,
                              NULL) < 0)
            phone->adb = NULL;
    }
    ptl_device_free(phone->embedded);
    ptl_adb_free(phone->own_adb);
    free(phone->python);
    free(phone->site);
    free(phone->work);
    *phone = (struct ptl_phone){0};
}
