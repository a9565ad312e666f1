/* fs.h - files and directories. Any thread; blocking. All paths are C strings of at most PATH_MAX. */
#ifndef PORTOLAN_FS_H
#define PORTOLAN_FS_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <sys/types.h>

PTL_NODISCARD int ptl_fs_mkdirs(const char *path, mode_t mode, struct ptl_error *err); /* like mkdir -p */
/* Removes a tree without following links, with bounded depth of open descriptors. Absent is success. */
PTL_NODISCARD int ptl_fs_remove_tree(const char *path, struct ptl_error *err);
/* Whole file into ret (appended). Files above max_bytes give -EFBIG. */
PTL_NODISCARD int ptl_fs_read(const char *path, size_t max_bytes, struct ptl_buf *ret, struct ptl_error *err);
/* fsync of the directory that holds `path`: a name made or moved there outlives a power cut. 0 or negative.
 */
PTL_NODISCARD int ptl_fs_sync_parent(const char *path);
/* Temporary file beside it, fsync, rename, fsync of the directory: readers see the old or the new, never
 * half. */
PTL_NODISCARD int ptl_fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                                      struct ptl_error *err);
/* Copy by reflink or copy_file_range, else read/write. Fails on anything but a regular file. */
PTL_NODISCARD int ptl_fs_copy(const char *from, const char *to, mode_t mode, struct ptl_error *err);
PTL_NODISCARD int ptl_fs_write_all(int fd, const void *data, size_t len); /* 0 or negative errno */
bool ptl_fs_exists(const char *path);
bool ptl_fs_is_dir(const char *path);
/* A path that may be joined below a directory: relative, not empty, no "." or ".." or empty parts, no NUL, no
 * backslash, no control bytes, at most 1024 bytes and 64 parts. */
bool ptl_fs_is_safe_relative(const char *path);
char *ptl_fs_join(const char *a, const char *b); /* caller frees; aborts when out of memory */

/* Visits every regular file below `dir` in byte order of its relative path. Links are reported with is_link.
 * `fn` returning non-zero stops the walk with that value. At most max_entries, else -E2BIG. */
struct ptl_fs_entry {
    const char *path; /* relative to dir; borrowed for the call */
    const char *full; /* dir/path */
    uint64_t size_bytes;
    bool is_link, is_dir, is_exec;
};
typedef int ptl_fs_walk_fn(void *ctx, const struct ptl_fs_entry *e);
PTL_NODISCARD int ptl_fs_walk(const char *dir, size_t max_entries, ptl_fs_walk_fn *fn, void *ctx,
                              struct ptl_error *err);
#endif
