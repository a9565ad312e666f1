/* blob.c - blobs on disk: state_dir/blobs/ab/<sha256>, written once, never changed. What is on its way lies
 * in uploads/. */
#include "core-private.h"
#include <portolan/fs.h>
#include <stdio.h>

char *ptl_blob_path(const struct ptl_core *core, const char *sha256)
{
    return ptl_xasprintf("%s/blobs/%.2s/%s", core->o.state_dir, sha256, sha256);
}

char *ptl_blob_upload_path(const struct ptl_core *core, const char *sha256)
{
    return ptl_xasprintf("%s/uploads/%s.part", core->o.state_dir, sha256);
}

int ptl_blob_adopt(const struct ptl_core *core, const char *sha256, const char *file, struct ptl_error *err)
{
    PTL_FREE char *to = ptl_blob_path(core, sha256);
    PTL_FREE char *dir = ptl_xasprintf("%s/blobs/%.2s", core->o.state_dir, sha256);
    int r = ptl_fs_mkdirs(dir, 0700, err);
    if (r < 0)
        return r;
    if (ptl_fs_exists(to)) { /* the same bytes by name: one copy is enough */
        unlink(file);
        return 0;
    }
    if (rename(file, to) < 0)
        return ptl_error_set(err, -errno, "blob %.12s: cannot be put in place: %s", sha256, strerror(errno));
    /* Before the database says that it is there: a power cut must not take the name away. */
    if ((r = ptl_fs_sync_parent(to)) < 0 || (r = ptl_fs_sync_parent(dir)) < 0)
        return ptl_error_set(err, r, "blob %.12s: its directory cannot be written: %s", sha256, strerror(-r));
    return 0;
}
