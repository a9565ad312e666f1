/* local.c - this machine: programs beside this one, the recipes folder, the working tree of a repository.
 * Blocking. */
#include "cli.h"
#include <fcntl.h>
#include <limits.h>
#include <portolan/archive.h>
#include <portolan/fs.h>
#include <portolan/proc.h>
#include <portolan/spec.h>
#include <sys/stat.h>

enum { GIT_TIMEOUT_MS = 120000, RECIPE_MAX = 1 << 20, FILES_MAX = 200000, LIST_MAX = 64 << 20 };

static char *exe_dir(void)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return NULL;
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    return ptl_xstrdup(exe);
}

char *cli_beside(const char *name)
{
    static const char *const places[] = {"", "/../agents", "/../daemon"}; /* installed; build tree */
    PTL_FREE char *dir = exe_dir();
    for (size_t i = 0; dir && i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *path = ptl_xasprintf("%s%s/%s", dir, places[i], name);
        char *real = realpath(path, NULL);
        if (real && access(real, X_OK) == 0)
            return real;
        free(real);
    }
    return NULL;
}

char *cli_find_program(const char *name)
{
    char *found = cli_beside(name);
    if (found)
        return found;
    const char *path = getenv("PATH");
    PTL_FREE char *copy = ptl_xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
    char *save = NULL;
    for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        char *file = ptl_fs_join(dir, name);
        if (access(file, X_OK) == 0 && !ptl_fs_is_dir(file))
            return file;
        free(file);
    }
    return NULL;
}

char *cli_git(const char *dir, const char *const *args)
{
    const char *argv[32] = {"git", "-C", dir};
    PTL_BUF out = PTL_BUF_MAX(65536);
    size_t n = 3;
    for (size_t i = 0; args[i] && n < PTL_ARRAY_LEN(argv) - 1; i++)
        argv[n++] = args[i];
    argv[n] = NULL;
    if (ptl_proc_capture(argv, GIT_TIMEOUT_MS, &out, NULL) != 0)
        return NULL;
    while (out.len && out.data[out.len - 1] == '\n')
        out.data[--out.len] = 0;
    return ptl_buf_take(&out, NULL);
}

int cli_mkdirs_for(struct cli *c, const char *file)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *dir = ptl_xstrdup(file);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir)
        return 0;
    *slash = 0;
    return ptl_fs_mkdirs(dir, 0755, &err) < 0 ? cli_fail(c, CLI_FAILED, "%s", err.text) : 0;
}

/* ---- recipes ---- */

struct recipes {
    json_t *list;
    struct ptl_error *err;
};

static int one_recipe(void *ctx, const struct ptl_fs_entry *e)
{
    struct recipes *r = ctx;
    PTL_BUF text = PTL_BUF_INIT;
    PTL_JSON *recipe = NULL;
    if (e->is_link || !ptl_str_ends(e->path, "/recipe.yml"))
        return 0;
    int n = ptl_fs_read(e->full, RECIPE_MAX, &text, r->err);
    if (n == 0)
        n = ptl_yaml_parse(ptl_buf_str(&text), text.len, e->full, &recipe, r->err);
    if (n == 0)
        json_array_append(r->list, recipe);
    return n;
}

int cli_recipes_load(const char *root, json_t **ret, struct ptl_error *err)
{
    PTL_JSON *list = json_array();
    struct recipes r = {list, err};
    int n = ptl_fs_walk(root, FILES_MAX, one_recipe, &r, err);
    if (n < 0)
        return n;
    if (json_array_size(list) == 0)
        return ptl_error_set(err, -ENOENT, "%s: no recipe.yml below it", root);
    *ret = json_incref(list);
    return 0;
}

char *cli_recipes_root(struct cli *c)
{
    static const char *const places[] = {
        "/../share/portolan/recipes", "/../../../agents/recipes"}; /* installed; build tree in the checkout */
    const char *named = cli_text(c, "recipes"), *env = getenv("PORTOLAN_RECIPES");
    if (!named && env && *env)
        named = env;
    if (named)
        return ptl_xstrdup(named);
    PTL_FREE char *dir = exe_dir();
    for (size_t i = 0; dir && i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *path = ptl_xasprintf("%s%s", dir, places[i]);
        char *real = realpath(path, NULL);
        if (real && ptl_fs_is_dir(real))
            return real;
        free(real);
    }
    return NULL;
}

/* ---- the working tree ---- */

struct snapshot {
    struct cli *c;
    const char *root, *to;
    size_t files;
};

static int copy_link(struct snapshot *s, const char *path, const char *from, const char *to)
{
    char target[PATH_MAX];
    ssize_t n = readlink(from, target, sizeof(target) - 1);
    if (n < 0)
        return cli_fail(s->c, CLI_FAILED, "%s: cannot be read: %s", from, strerror(errno));
    target[n] = 0;
    if (!ptl_archive_link_stays_inside(path, target)) {
        cli_warn(s->c, "%s is left out: its target %s lies outside of the repository", path, target);
        return 0;
    }
    if (symlink(target, to) < 0)
        return cli_fail(s->c, CLI_FAILED, "%s: cannot be made: %s", to, strerror(errno));
    s->files++;
    return 0;
}

static int copy_one(struct snapshot *s, const char *path)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct stat st;
    PTL_FREE char *from = ptl_fs_join(s->root, path);
    PTL_FREE char *to = ptl_fs_join(s->to, path);
    if (lstat(from, &st) < 0) /* tracked and deleted */
        return 0;
    if (S_ISDIR(st.st_mode)) {
        cli_warn(s->c, "submodule %s is left out", path);
        return 0;
    }
    if (!ptl_fs_is_safe_relative(path))
        return cli_fail(s->c, CLI_FAILED, "%s: such a name cannot be part of a snapshot", path);
    int r = cli_mkdirs_for(s->c, to);
    if (r || S_ISLNK(st.st_mode))
        return r ? r : copy_link(s, path, from, to);
    if (ptl_fs_copy(from, to, st.st_mode & 0100 ? 0755 : 0644, &err) < 0)
        return cli_fail(s->c, CLI_FAILED, "%s", err.text);
    s->files++;
    return 0;
}

static int plain_entry(void *ctx, const struct ptl_fs_entry *e)
{
    struct snapshot *s = ctx;
    if (ptl_str_starts(e->path, ".git/") || ptl_str_starts(e->full, s->to))
        return 0;
    return copy_one(s, e->path);
}

/* What git knows and what it does not ignore; NULL list: no git here. */
static int git_list(const char *root, struct ptl_buf *ret)
{
    const char *const argv[] = {
        "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", NULL};
    const char *const inside[] = {"rev-parse", "--is-inside-work-tree", NULL};
    PTL_FREE char *yes = cli_git(root, inside);
    return ptl_str_eq(yes, "true") && ptl_proc_capture(argv, GIT_TIMEOUT_MS, ret, NULL) == 0 && !ret->failed
               ? 0
               : -ENOENT;
}

int cli_snapshot(struct cli *c, const char *root, const char *to, size_t *ret_files)
{
    struct snapshot s = {.c = c, .root = root, .to = to};
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF list = PTL_BUF_MAX(LIST_MAX);
    int r = ptl_fs_mkdirs(to, 0755, &err) < 0 ? cli_fail(c, CLI_FAILED, "%s", err.text) : 0;
    if (r)
        return r;
    if (git_list(root, &list) == 0) {
        const char *last = NULL; /* a file in a merge conflict is listed once a side */
        for (const char *p = ptl_buf_str(&list), *end = p + list.len; p < end && r == 0; p += strlen(p) + 1) {
            if (!ptl_str_eq(p, last))
                r = copy_one(&s, p);
            last = p;
        }
    } else {
        cli_note(c, "%s is no git repository: every file in it is taken", root);
        r = ptl_fs_walk(root, FILES_MAX, plain_entry, &s, &err);
        if (r < 0)
            r = cli_fail(c, CLI_FAILED, "%s", err.text);
    }
    *ret_files = s.files;
    return r;
}
