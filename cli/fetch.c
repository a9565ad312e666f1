/* fetch.c - blobs into files, verified, never outside of the directory asked for. */
#include "fetch.h"
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <sys/stat.h>

/* dir/a/b/c: may none of a, a/b be a link (which a stage could not have made, but somebody else here could).
 */
static int no_links(struct cli *c, const char *dir, const char *path)
{
    for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
        PTL_FREE char *part = ptl_xasprintf("%s/%.*s", dir, (int)(p - path), path);
        struct stat st;
        if (lstat(part, &st) == 0 && S_ISLNK(st.st_mode))
            return cli_fail(c, CLI_CONFLICT, "%s is a link: nothing is written through it", part);
    }
    return 0;
}

int cli_fetch_file(struct cli *c, const char *dir, const json_t *file)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *path = ptl_json_str(file, "path", ""), *sha256 = ptl_json_str(file, "sha256", "");
    char hex[PTL_SHA256_HEX];
    struct stat st;
    if (!ptl_fs_is_safe_relative(path))
        return cli_fail(c, CLI_FAILED, "'%.200s' is not a safe relative path: not written", path);
    if (!ptl_sha256_is_hex(sha256))
        return cli_fail(c, CLI_FAILED, "%s: the server names no SHA-256 for it", path);
    PTL_FREE char *to = ptl_fs_join(dir, path);
    int r = no_links(c, dir, path);
    if (r == 0)
        r = cli_mkdirs_for(c, to);
    if (r)
        return r;
    if (lstat(to, &st) == 0) {
        if (S_ISREG(st.st_mode) && ptl_sha256_file(to, hex, NULL, NULL) == 0 && ptl_str_eq(hex, sha256))
            return 0;
        return cli_fail(c, CLI_CONFLICT,
                        "%s is there already with other contents; remove it or choose another directory", to);
    }
    r = ptl_client_blob_download(c->client, sha256, to, NULL, &err);
    if (r != 0)
        return cli_api_failed(c, r,
                              r == PTL_ABSENT                 ? 404
                              : r == -EPERM                   ? 401
                              : r == -EBADMSG || r == -EPROTO ? 500
                                                              : 0,
                              &err);
    if (chmod(to, ptl_json_flag(file, "exec", false) ? 0755 : 0644) < 0)
        return cli_fail(c, CLI_FAILED, "%s: %s", to, strerror(errno));
    return 0;
}
