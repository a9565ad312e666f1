/* archive.h - source snapshots and artifact bundles: deterministic .tar.zst out, hardened extraction in.
 * Blocking; any thread. */
#ifndef PORTOLAN_ARCHIVE_H
#define PORTOLAN_ARCHIVE_H
#include <portolan/base.h>

struct ptl_archive_writer;
/* Entries must come in byte order of their paths (the writer refuses others with -EINVAL): same content, same
 * bytes: mtime 0, uid/gid 0, modes 0644/0755/0777 (links), zstd level 3, one thread. */
PTL_NODISCARD int ptl_archive_writer_new(const char *path, struct ptl_archive_writer **ret,
                                         struct ptl_error *err);
PTL_NODISCARD int ptl_archive_add_data(struct ptl_archive_writer *w, const char *path, bool exec,
                                       const void *data, size_t len, struct ptl_error *err);
PTL_NODISCARD int ptl_archive_add_file(struct ptl_archive_writer *w, const char *path, bool exec,
                                       const char *from_file, struct ptl_error *err);
PTL_NODISCARD int ptl_archive_add_link(struct ptl_archive_writer *w, const char *path, const char *target,
                                       struct ptl_error *err); /* symbolic */
PTL_NODISCARD int ptl_archive_writer_close(struct ptl_archive_writer *w,
                                           struct ptl_error *err); /* frees w in any case; fsyncs */
void ptl_archive_writer_abort(struct ptl_archive_writer *w);       /* frees w, removes the file */

/* True when a symbolic link at `path` to `target` can never lead out of the tree: relative, ".." only in
 * front and only as deep as the link lies. The writer and the extraction refuse every other link. No I/O. */
bool ptl_archive_link_stays_inside(const char *path, const char *target);

struct ptl_archive_limits {
    uint64_t max_bytes; /* extracted, in all; default 4 GiB when 0 */
    uint64_t max_files; /* default 200000 when 0 */
    unsigned max_ratio; /* extracted / compressed; default 1000 when 0; only checked above 64 MiB */
};
/* Extracts into the existing directory `dir`. Refused, with the entry named: absolute paths, "..", links
 * whose target leaves the tree, hard links, devices, fifos, sockets, entries through a link, set-id bits
 * (dropped), bombs, unknown compression (only zstd and none). On failure the files already written stay (the
 * caller removes the workspace). */
PTL_NODISCARD int ptl_archive_extract(const char *archive, const char *dir,
                                      const struct ptl_archive_limits *limits, struct ptl_error *err);
#endif
