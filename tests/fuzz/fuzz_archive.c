/* fuzz_archive.c - any bytes as an archive: extraction ends, and nothing appears outside of its directory. */
#include <portolan/archive.h>
#include <portolan/fs.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char top[] = "/tmp/ptl-fuzz-archive-XXXXXX", out[64], path[64];
    int fd = memfd_create("archive", MFD_CLOEXEC);
    if (fd < 0 || !mkdtemp(top))
        abort();
    snprintf(out, sizeof(out), "%s/out", top);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (mkdir(out, 0755) < 0 || ptl_fs_write_all(fd, data, size) < 0)
        abort();
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_archive_limits limits = {.max_bytes = 1 << 20, .max_files = 100};
    int r = ptl_archive_extract(path, out, &limits, &err);
    if (r > 0 || (r < 0 && err.code != r))
        abort();
    close(fd);
    if (ptl_fs_remove_tree(out, &err) < 0 || rmdir(top) < 0) /* fails when something lies beside out */
        abort();
    return 0;
}
