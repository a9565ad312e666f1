/* outputs.c - see outputs.h. Called after every process of the stage is gone, so what is checked stays so. */
#include "outputs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/wire.h>

enum { DEPTH_MAX = 64, ENTRIES_MAX = 200000, WARNINGS_MAX = 100 };

static int clean_dir(int dir_fd, const char *path, int depth, unsigned *left, json_t *warnings,
                     struct ptl_error *err)
{
    DIR *d = fdopendir(dir_fd);
    if (!d) {
        close(dir_fd);
        return ptl_error_set(err, -ENOMEM, "outputs: out of memory");
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISREG(st.st_mode))
            continue;
        PTL_FREE char *full = ptl_fs_join(path, e->d_name);
        if (--*left == 0 || depth > DEPTH_MAX)
            return closedir(d), ptl_error_set(err, -E2BIG, "outputs/%s: too many or too deep folders", path);
        if (S_ISDIR(st.st_mode)) {
            int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            r = fd < 0 ? ptl_error_set(err, -errno, "outputs/%s: cannot open: %s", full, strerror(errno))
                       : clean_dir(fd, full, depth + 1, left, warnings, err);
            continue;
        }
        if (unlinkat(dirfd(d), e->d_name, 0) < 0)
            r = ptl_error_set(err, -errno, "outputs/%s: is no plain file and cannot be removed: %s", full,
                              strerror(errno));
        PTL_FREE char *text =
            ptl_xasprintf("outputs/%s is %s and was not published; publish a copy of the file", full,
                          S_ISLNK(st.st_mode) ? "a symbolic link" : "no plain file");
        PTL_FREE char *utf8 = ptl_json_text_utf8(text, strlen(text));
        if (json_array_size(warnings) < WARNINGS_MAX)
            json_array_append_new(warnings, json_string(utf8));
        else if (json_array_size(warnings) == WARNINGS_MAX)
            json_array_append_new(warnings, json_string("… and more that were not published"));
    }
    closedir(d);
    return r;
}

int ptl_outputs_clean(const char *dir, json_t *warnings, struct ptl_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    unsigned left = ENTRIES_MAX;
    if (fd < 0)
        return ptl_error_set(err, -errno, "outputs: cannot open: %s", strerror(errno));
    return clean_dir(fd, "", 0, &left, warnings, err);
}

struct search {
    const char *pattern;
    bool found;
    char seen[256];
    size_t seen_len, n;
};

static int match_one(void *ctx, const struct ptl_fs_entry *e)
{
    struct search *s = ctx;
    size_t len = strlen(s->pattern);
    while (len && s->pattern[len - 1] == '/')
        len--;
    bool below = strncmp(e->path, s->pattern, len) == 0 && e->path[len] == '/';
    if (below || ptl_str_glob(s->pattern, e->path))
        s->found = true;
    if (++s->n <= 4 && s->seen_len < sizeof(s->seen))
        s->seen_len += (size_t)snprintf(s->seen + s->seen_len, sizeof(s->seen) - s->seen_len, "%s%.60s",
                                        s->n > 1 ? ", " : "", e->path);
    return 0;
}

int ptl_outputs_check(const char *dir, const json_t *declared, struct ptl_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)declared, i, item)
    {
        struct search s = {.pattern = json_string_value(item)};
        if (!s.pattern || !*s.pattern)
            continue;
        int r = ptl_fs_walk(dir, ENTRIES_MAX, match_one, &s, err);
        if (r < 0)
            return r;
        if (s.found)
            continue;
        if (s.n == 0)
            return ptl_error_set(err, -ENOENT,
                                 "exit 0, but the declared output %s is missing: nothing was published",
                                 s.pattern);
        return ptl_error_set(err, -ENOENT, "exit 0, but the declared output %s is missing; there is: %s%s",
                             s.pattern, s.seen, s.n > 4 ? ", …" : "");
    }
    return 0;
}

static int count_one(void *ctx, const struct ptl_fs_entry *e)
{
    (void)e;
    ++*(size_t *)ctx;
    return 0;
}

size_t ptl_outputs_count(const char *dir, const char *sub)
{
    PTL_FREE char *path = ptl_fs_join(dir, sub);
    size_t n = 0;
    if (!ptl_fs_is_dir(path) || ptl_fs_walk(path, ENTRIES_MAX, count_one, &n, NULL) < 0)
        return n;
    return n;
}

struct listing {
    json_t *list;
    uint64_t model_bytes;
    struct ptl_error *err;
};

static int list_one(void *ctx, const struct ptl_fs_entry *e)
{
    struct listing *l = ctx;
    char hex[PTL_SHA256_HEX];
    uint64_t size;
    if (e->is_link)
        return 0;
    if (!ptl_fs_is_safe_relative(e->path))
        return ptl_error_set(l->err, -EINVAL, "outputs: a file name that cannot be published: \"%s\"",
                             e->path);
    if (json_array_size(l->list) >= PTL_WIRE_ARTIFACTS_MAX)
        return ptl_error_set(l->err, -E2BIG, "outputs: more than %d files; pack them into an archive",
                             PTL_WIRE_ARTIFACTS_MAX);
    int r = ptl_sha256_file(e->full, hex, &size, l->err);
    if (r < 0)
        return r;
    json_t *item = json_pack("{s:s, s:s, s:I, s:b}", "path", e->path, "sha256", hex, "size_bytes",
                             (json_int_t)size, "exec", e->is_exec);
    if (!item)
        return ptl_error_set(l->err, -EINVAL, "outputs: a file name that is not UTF-8: \"%s\"", e->path);
    json_array_append_new(l->list, item);
    if (ptl_str_starts(e->path, "model/"))
        l->model_bytes += size;
    return 0;
}

int ptl_outputs_list(const char *dir, json_t **ret, uint64_t *ret_model_bytes, struct ptl_error *err)
{
    PTL_JSON *list = json_array();
    struct listing l = {.list = list, .err = err};
    int r = ptl_fs_walk(dir, ENTRIES_MAX, list_one, &l, err);
    if (r < 0)
        return r;
    *ret = PTL_TAKE(list);
    *ret_model_bytes = l.model_bytes;
    return 0;
}
