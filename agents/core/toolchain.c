/* toolchain.c - finds installed toolchains by the same name that agents/toolchains/prepare gives them.
 * Installs nothing. */
#include "toolchain.h"
#include "recipe.h"
#include "yamljson.h"

#include <dirent.h>
#include <stdio.h>
#include <portolan/fs.h>
#include <portolan/hash.h>

enum { FILES_MAX = 10000 };

char *ptl_toolchain_folders(void)
{
    const char *named = getenv("PORTOLAN_TOOLCHAIN_FOLDERS");
    if (named && *named)
        return ptl_xstrdup(named);
    PTL_FREE char *recipes = ptl_recipe_root();
    PTL_FREE char *beside = ptl_fs_join(recipes, "../toolchains");
    char *real = realpath(beside, NULL);
    return real ? real : ptl_xstrdup(beside);
}

char *ptl_toolchain_root(void)
{
    const char *named = getenv("PORTOLAN_TOOLCHAINS");
    if (named && *named)
        return ptl_xstrdup(named);
    if (geteuid() == 0)
        return ptl_xstrdup("/var/cache/portolan/toolchains");
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache)
        return ptl_fs_join(cache, "portolan/toolchains");
    return ptl_fs_join(home && *home ? home : "/", ".cache/portolan/toolchains");
}

struct folder_hash {
    struct ptl_sha256 *sum;
    struct ptl_error *err;
};

static int hash_one(void *ctx, const struct ptl_fs_entry *e)
{
    struct folder_hash *h = ctx;
    char hex[PTL_SHA256_HEX];
    if (e->is_link || strstr(e->full, "/__pycache__/"))
        return 0;
    int r = ptl_sha256_file(e->full, hex, NULL, h->err);
    if (r < 0)
        return r;
    PTL_FREE char *line = ptl_xasprintf("%s  ./%s\n", hex, e->path);
    ptl_sha256_update(h->sum, line, strlen(line));
    return 0;
}

static int folder_name(const char *folder, const char *name, char **ret, struct ptl_error *err)
{
    PTL_CLEANUP(ptl_sha256_freep) struct ptl_sha256 *sum = ptl_sha256_new();
    struct folder_hash h = {.sum = sum, .err = err};
    char hex[PTL_SHA256_HEX];
    int r = ptl_fs_walk(folder, FILES_MAX, hash_one, &h, err);
    if (r < 0)
        return r;
    ptl_sha256_hex(sum, hex);
    PTL_FREE char *root = ptl_toolchain_root();
    *ret = ptl_xasprintf("%s/%s-%.12s", root, name, hex);
    return 0;
}

static int no_such_toolchain(const char *name, struct ptl_error *err)
{
    PTL_JSON *names = NULL;
    const char *near = NULL;
    const char **list = NULL;
    if (ptl_toolchain_list(&names, NULL) == 0) {
        size_t n = json_array_size(names);
        list = ptl_xcalloc(n + 1, sizeof(*list));
        for (size_t i = 0; i < n; i++)
            list[i] = json_string_value(json_array_get(names, i));
        near = ptl_str_nearest(name, list);
    }
    int r = near ? ptl_error_set(err, -ENOENT, "no toolchain \"%s\"; did you mean \"%s\"?", name, near)
                 : ptl_error_set(err, -ENOENT, "no toolchain \"%s\"", name);
    free(list);
    return r;
}

int ptl_toolchain_load(const char *name, struct ptl_toolchain **ret, struct ptl_error *err)
{
    if (!ptl_fs_is_safe_relative(name) || strchr(name, '/'))
        return ptl_error_set(err, -EINVAL, "\"%s\" is no toolchain name", name);
    PTL_CLEANUP(ptl_toolchain_freep) struct ptl_toolchain *t = ptl_xcalloc(1, sizeof(*t));
    PTL_FREE char *folders = ptl_toolchain_folders();
    t->name = ptl_xstrdup(name);
    t->folder = ptl_fs_join(folders, name);
    PTL_FREE char *file = ptl_fs_join(t->folder, "toolchain.yml");
    if (!ptl_fs_exists(file))
        return no_such_toolchain(name, err);
    int r = ptl_yaml_load(file, &t->doc, err);
    if (r == 0)
        r = folder_name(t->folder, name, &t->dir, err);
    if (r < 0)
        return r;
    PTL_FREE char *versions = ptl_fs_join(t->dir, "versions.json");
    if (ptl_fs_exists(versions) && (r = ptl_json_load(versions, 1 << 20, &t->versions, err)) < 0)
        return r;
    *ret = PTL_TAKE(t);
    return 0;
}

int ptl_toolchain_find(const char *name, struct ptl_toolchain **ret, struct ptl_error *err)
{
    PTL_CLEANUP(ptl_toolchain_freep) struct ptl_toolchain *t = NULL;
    int r = ptl_toolchain_load(name, &t, err);
    if (r < 0)
        return r;
    if (!t->versions)
        return ptl_error_set(
            err, -ENOENT,
            "toolchain %s is not prepared on this host (%s is absent); run: portolan-agent toolchain prepare %s",
            name, t->dir, name);
    *ret = PTL_TAKE(t);
    return 0;
}

struct ptl_toolchain *ptl_toolchain_free(struct ptl_toolchain *t)
{
    if (!t)
        return NULL;
    free(t->name);
    free(t->folder);
    free(t->dir);
    json_decref(t->doc);
    json_decref(t->versions);
    free(t);
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int ptl_toolchain_list(json_t **ret_names, struct ptl_error *err)
{
    PTL_FREE char *folders = ptl_toolchain_folders();
    DIR *d = opendir(folders);
    if (!d)
        return ptl_error_set(err, -errno, "%s: cannot list: %s", folders, strerror(errno));
    char *names[256];
    size_t n = 0;
    for (struct dirent *e; n < PTL_ARRAY_LEN(names) && (e = readdir(d));) {
        PTL_FREE char *file = ptl_xasprintf("%s/%s/toolchain.yml", folders, e->d_name);
        if (e->d_name[0] != '.' && ptl_fs_exists(file))
            names[n++] = ptl_xstrdup(e->d_name);
    }
    closedir(d);
    qsort(names, n, sizeof(names[0]), by_name);
    *ret_names = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(*ret_names, json_string(names[i]));
        free(names[i]);
    }
    return 0;
}
