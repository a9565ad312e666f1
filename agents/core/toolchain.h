/* toolchain.h - where a prepared toolchain lies on this host and what it adds to a stage's environment.
 * Directory: ROOT/<name>-<12 hex>, the hex over the files of the toolchain's folder, as
 * agents/toolchains/prepare computes it. Blocking file reads; any thread; immutable after loading. */
#ifndef PTL_AGENT_TOOLCHAIN_H
#define PTL_AGENT_TOOLCHAIN_H
#include <portolan/json.h>

struct ptl_toolchain {
    char *name, *folder,
        *dir;         /* folder: where toolchain.yml is; dir: where it is (to be) installed. Absolute. */
    json_t *doc;      /* toolchain.yml */
    json_t *versions; /* versions.json; NULL: not prepared on this host */
};
/* Folder of toolchain folders: $PORTOLAN_TOOLCHAIN_FOLDERS, else "toolchains" beside the recipes. Caller
 * frees. */
char *ptl_toolchain_folders(void);
/* Root of installed toolchains: $PORTOLAN_TOOLCHAINS, /var/cache/portolan/toolchains (root) or the user's
 * cache. Caller frees. */
char *ptl_toolchain_root(void);
/* 0 with *ret, prepared or not (versions tells); -ENOENT names the nearest; -EINVAL for a bad toolchain.yml.
 */
PTL_NODISCARD int ptl_toolchain_load(const char *name, struct ptl_toolchain **ret, struct ptl_error *err);
/* As load, and -ENOENT with what to run when it is not prepared on this host. */
PTL_NODISCARD int ptl_toolchain_find(const char *name, struct ptl_toolchain **ret, struct ptl_error *err);
struct ptl_toolchain *ptl_toolchain_free(struct ptl_toolchain *t);
PTL_DEFINE_FREEP(struct ptl_toolchain, ptl_toolchain_free)
/* Names of all toolchain folders, JSON array of strings in byte order. */
PTL_NODISCARD int ptl_toolchain_list(json_t **ret_names, struct ptl_error *err);
#endif
