/* support.c - see support.h. */
#include "support.h"

#include <ctype.h>
#include <dirent.h>
#include <portolan/proc.h>
#include <sys/stat.h>

char scratch[64];
char *phone_dir;

char *toolchain(const char *name)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF out = PTL_BUF_MAX(65536);
    const char *const argv[] = {PTL_SOURCE_DIR "/agents/toolchains/prepare", "--path", name, NULL};
    if (ptl_proc_capture(argv, 60000, &out, &err) != 0 || !out.len)
        return NULL;
    char *path = ptl_buf_take(&out, NULL);
    path[strcspn(path, "\n")] = '\0';
    PTL_FREE char *versions = ptl_fs_join(path, "versions.json");
    if (ptl_fs_exists(versions))
        return path;
    free(path);
    return NULL;
}

int scratch_setup(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    phone_dir = toolchain("phone-arm64");
    if (!phone_dir || ptl_device_possible(&err) != 0) {
        printf("skipped: %s\n",
               phone_dir ? err.text : "phone-arm64 is not installed (agents/toolchains/prepare phone-arm64)");
        exit(77);
    }
    strcpy(scratch, "/tmp/ptl-phone-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

int scratch_teardown(void **state PTL_UNUSED)
{
    free(phone_dir);
    return ptl_fs_remove_tree(scratch, NULL);
}

struct ptl_adb_wait in_ms(int64_t ms)
{
    return (struct ptl_adb_wait){ptl_mono_ms() + ms, NULL};
}

struct ptl_device *try_device(const char *profile, uint64_t memory_bytes, struct ptl_error *err)
{
    static int serial;
    struct ptl_device *dev = NULL;
    PTL_FREE char *dir = ptl_xasprintf("%s/device-%d", scratch, serial++);
    PTL_FREE char *python = ptl_fs_join(phone_dir, "python");
    struct ptl_device_bind bind = {python, "/data/local/tmp/python"};
    struct ptl_device_spec spec = {.phone_dir = phone_dir,
                                   .dir = dir,
                                   .profile = ptl_device_profile_find(profile),
                                   .memory_bytes = memory_bytes,
                                   .binds = &bind,
                                   .n_binds = 1};
    struct ptl_adb_wait wait = in_ms(60000);
    return ptl_device_start(&spec, &wait, &dev, err) == 0 ? dev : NULL;
}

struct ptl_device *start_device(const char *profile, uint64_t memory_bytes)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_device *dev = try_device(profile, memory_bytes, &err);
    if (!dev)
        fail_msg("%s did not start: %s", profile, err.text);
    return dev;
}

struct said on(struct ptl_device *dev, const char *command)
{
    struct said s = {.code = -1, .err = PTL_ERROR_INIT};
    PTL_BUF out = PTL_BUF_INIT, err_out = PTL_BUF_INIT;
    struct ptl_adb_wait wait = in_ms(30000);
    s.r = ptl_adb_shell_buf(ptl_device_adb(dev), ptl_device_serial(dev), command, &wait, &out, &err_out,
                            &s.code, &s.err);
    snprintf(s.out, sizeof(s.out), "%s", ptl_buf_str(&out));
    snprintf(s.err_out, sizeof(s.err_out), "%s", ptl_buf_str(&err_out));
    return s;
}

static bool file_has(const char *pid, const char *file, const char *text)
{
    PTL_FREE char *path = ptl_xasprintf("/proc/%s/%s", pid, file);
    PTL_BUF b = PTL_BUF_MAX(1 << 20);
    return ptl_fs_read(path, 1 << 20, &b, NULL) == 0 && b.len &&
           memmem(b.data, b.len, text, strlen(text)) != NULL;
}

int processes_with(const char *text)
{
    int n = 0;
    DIR *d = opendir("/proc");
    assert_non_null(d);
    struct dirent *e;
    while ((e = readdir(d)) != NULL)
        if (isdigit((unsigned char)e->d_name[0]) && atoi(e->d_name) != getpid() &&
            (file_has(e->d_name, "cmdline", text) || file_has(e->d_name, "environ", text)))
            n++;
    closedir(d);
    return n;
}

char *host_binfmt(void)
{
    struct ptl_buf b = PTL_BUF_INIT;
    DIR *d = opendir("/proc/sys/fs/binfmt_misc");
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        ptl_buf_printf(&b, "%s ", e->d_name);
    if (d)
        closedir(d);
    ptl_buf_puts(&b, "");
    return ptl_buf_take(&b, NULL);
}
