/* mirror_local.c - a repository on this machine: its packs and loose objects are copied as files.
 *
 * libgit2's local transport repacks object by object (102 s where cp takes 0.3 s), alternates would tie the
 * mirror to a directory that may be collected or moved, and hard links would let the source's owner cut a
 * file that we have mapped. Copies (reflinks where the file system has them) have none of this. Objects are
 * immutable and every read of libgit2 checks their hash, so a copied lie is found when it is used.
 *
 * The source may be pushed to, repacked and pruned while we read. Refs are read first, then files are copied
 * until two looks at the list of packs agree: whatever the refs named was, at each instant, in a file that
 * the last list holds or that we already have; a tip that is missing all the same (pruned between) starts the
 * round again. Nothing of the source is executed, no link in it is followed out of the allowed roots. */
#include "git-private.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { ROUNDS_MAX = 8, ALTERNATES_MAX = 8, PACKS_MAX = 20000 };

struct copy {
    struct git_op *op;
    const char *shown;
    char *to; /* mirror's objects directory */
    struct git_local_stats stats;
    struct ptl_error *err;
    bool moved; /* something vanished or appeared while we looked: another round */
};

static int fail_os(struct copy *c, const char *what, const char *path)
{
    int e = errno;
    return ptl_error_set(c->err, -e, "repository %s: %s %s: %s", c->shown, what, path, strerror(e));
}

/* to/rel by way of a temporary name. PTL_ABSENT: the source is gone. */
static int copy_file(struct copy *c, int from_dir, const char *name, const char *rel)
{
    int r = git_op_check(c->op, c->shown, c->err);
    if (r < 0)
        return r;
    PTL_FREE char *to = ptl_fs_join(c->to, rel);
    if (ptl_fs_exists(to))
        return 0;
    PTL_CLOSE int in = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (in < 0 && errno == ENOENT)
        return PTL_ABSENT;
    struct stat st;
    if (in < 0 || fstat(in, &st) < 0)
        return fail_os(c, "cannot read", name);
    if (!S_ISREG(st.st_mode))
        return ptl_error_set(c->err, -EBADMSG, "repository %s: %s is not a regular file", c->shown, name);
    if (c->stats.bytes + (uint64_t)st.st_size > c->op->policy.max_repo_bytes)
        return ptl_error_set(c->err, -EFBIG, "repository %s: larger than the %llu bytes that are allowed",
                             c->shown, (unsigned long long)c->op->policy.max_repo_bytes);
    PTL_FREE char *tmp = NULL;
    if (asprintf(&tmp, "%s.tmp", to) < 0) {
        tmp = NULL;
        return ptl_error_set(c->err, -ENOMEM, "repository %s: out of memory", c->shown);
    }
    PTL_CLOSE int out = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (out < 0)
        return fail_os(c, "cannot write", tmp);
    uint64_t done = 0;
    char buf[64 * 1024];
    bool by_kernel = true;
    for (;;) {
        ssize_t n = -1;
        if (by_kernel) { /* reflink or in-kernel copy, in pieces so that a deadline is seen */
            n = copy_file_range(in, NULL, out, NULL, 16 << 20, 0);
            if (n < 0 && done == 0)
                by_kernel = false;
        }
        if (!by_kernel) {
            n = read(in, buf, sizeof(buf));
            if (n > 0 && ptl_fs_write_all(out, buf, (size_t)n) < 0) {
                r = fail_os(c, "cannot write", tmp);
                break;
            }
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = fail_os(c, "cannot copy", name);
        if (n > 0)
            done += (uint64_t)n;
        if (n <= 0 || (r = git_op_check(c->op, c->shown, c->err)) < 0)
            break;
    }
    if (r == 0 && done != (uint64_t)st.st_size)
        r = ptl_error_set(c->err, -EBADMSG, "repository %s: %s changed its size while it was copied",
                          c->shown, name);
    if (r == 0 && rename(tmp, to) < 0)
        r = fail_os(c, "cannot write", to);
    if (r < 0) {
        unlink(tmp);
        return r;
    }
    c->stats.bytes += done;
    c->stats.objects_files++;
    return 0;
}

/* ---- packs ---- */

struct names {
    char **v;
    size_t n;
};

static void names_done(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct names){0};
}

static int cmp_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_pack_idx(const char *name)
{
    size_t n = strlen(name);
    return n > 9 && n < 200 && strncmp(name, "pack-", 5) == 0 && strcmp(name + n - 4, ".idx") == 0;
}

/* Stems ("pack-…") of complete packs, sorted. An index is written last, so it stands for both files. */
static int list_packs(int dir_fd, struct names *ret)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int e = errno;
        ptl_closep(&fd);
        return -e;
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        if (!is_pack_idx(e->d_name))
            continue;
        char **v = reallocarray(ret->v, ret->n + 1, sizeof(*v));
        char *stem = strndup(e->d_name, strlen(e->d_name) - 4);
        if (v)
            ret->v = v;
        if (v && stem && ret->n < PACKS_MAX) {
            ret->v[ret->n++] = stem;
        } else {
            free(stem);
            r = ret->n < PACKS_MAX ? -ENOMEM : -E2BIG;
        }
    }
    closedir(d);
    if (r == 0 && ret->n > 1)
        qsort(ret->v, ret->n, sizeof(*ret->v), cmp_names);
    return r;
}

static bool names_equal(const struct names *a, const struct names *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i]) != 0)
            return false;
    return true;
}

static int copy_packs(struct copy *c, int pack_fd, struct names *ret)
{
    int r = list_packs(pack_fd, ret);
    if (r < 0)
        return ptl_error_set(c->err, r, "repository %s: cannot list its packs: %s", c->shown, strerror(-r));
    static const char *const ends[] = {".pack", ".idx"}; /* the index last: libgit2 finds packs by it */
    for (size_t i = 0; i < ret->n; i++)
        for (size_t k = 0; k < PTL_ARRAY_LEN(ends); k++) {
            char name[256], rel[300];
            snprintf(name, sizeof(name), "%s%s", ret->v[i], ends[k]);
            snprintf(rel, sizeof(rel), "pack/%s", name);
            r = copy_file(c, pack_fd, name, rel);
            if (r < 0)
                return r;
            if (r == PTL_ABSENT) {
                c->moved = true;
                break;
            }
        }
    return 0;
}

/* ---- loose objects ---- */

static bool all_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static int copy_loose_dir(struct copy *c, int objects_fd, const char *sub)
{
    int fd = openat(objects_fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : fail_os(c, "cannot open objects/", sub);
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return ptl_error_set(c->err, -ENOMEM, "repository %s: out of memory", c->shown);
    }
    PTL_FREE char *made = ptl_fs_join(c->to, sub);
    int r = 0;
    bool dir_there = false;
    for (struct dirent *e; r >= 0 && (e = readdir(d));) {
        if (!all_hex(e->d_name, GIT_OID_HEXSZ - 2))
            continue;
        if (!dir_there && mkdir(made, 0755) < 0 && errno != EEXIST)
            r = fail_os(c, "cannot make", made);
        dir_there = true;
        char rel[64];
        snprintf(rel, sizeof(rel), "%.2s/%.38s", sub, e->d_name);
        if (r >= 0)
            r = copy_file(c, dirfd(d), e->d_name,
                          rel); /* absent: packed meanwhile, and that pack is in the next list */
    }
    closedir(d);
    return r < 0 ? r : 0;
}

/* ---- one object directory, and those it borrows from ---- */

static int copy_objects(struct copy *c, const char *objects, unsigned depth);

static int copy_alternates(struct copy *c, const char *objects, unsigned depth)
{
    PTL_FREE char *path = ptl_fs_join(objects, "info/alternates");
    PTL_BUF text = PTL_BUF_INIT;
    if (!ptl_fs_exists(path))
        return 0;
    if (depth >= ALTERNATES_MAX)
        return ptl_error_set(c->err, -ELOOP, "repository %s: its alternates go deeper than %d", c->shown,
                             ALTERNATES_MAX);
    int r = ptl_fs_read(path, 64 * 1024, &text, c->err);
    char *save = NULL;
    for (char *line = r < 0 || !text.data ? NULL : strtok_r(text.data, "\n", &save); line && r == 0;
         line = strtok_r(NULL, "\n", &save)) {
        if (!*line || *line == '#')
            continue;
        PTL_FREE char *joined = *line == '/' ? strdup(line) : ptl_fs_join(objects, line);
        char real[PATH_MAX];
        if (!joined || !realpath(joined, real))
            return ptl_error_set(c->err, -EBADMSG,
                                 "repository %s: it borrows objects from %s, which is not there", c->shown,
                                 line);
        struct git_url u = {.scheme = PTL_GIT_FILE, .path = real, .shown = real};
        r = git_url_allowed(&u, &c->op->policy, c->err);
        if (r == 0)
            r = copy_objects(c, real, depth + 1);
    }
    return r;
}

static int copy_objects(struct copy *c, const char *objects, unsigned depth)
{
    char real[PATH_MAX];
    if (!realpath(objects, real))
        return fail_os(c, "cannot open", objects);
    struct git_url u = {.scheme = PTL_GIT_FILE, .path = real, .shown = real};
    int r = git_url_allowed(&u, &c->op->policy, c->err);
    if (r < 0)
        return r;
    PTL_CLOSE int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_os(c, "cannot open", objects);
    PTL_CLOSE int pack_fd = openat(fd, "pack", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct names before = {0}, after = {0};
    if (pack_fd >= 0)
        r = copy_packs(c, pack_fd, &before);
    for (unsigned i = 0; r == 0 && i < 256; i++) {
        char sub[3];
        snprintf(sub, sizeof(sub), "%02x", i);
        r = copy_loose_dir(c, fd, sub);
    }
    if (r == 0 && pack_fd >= 0) {
        r = list_packs(pack_fd, &after);
        if (r < 0)
            r = ptl_error_set(c->err, r, "repository %s: cannot list its packs: %s", c->shown, strerror(-r));
        else if (!names_equal(&before, &after))
            c->moved = true;
    }
    names_done(&before);
    names_done(&after);
    return r < 0 ? r : copy_alternates(c, real, depth);
}

/* ---- the whole ---- */

static int open_source(struct git_op *op, const struct git_url *url, git_repository **ret,
                       struct ptl_error *err)
{
    if (!ptl_fs_is_dir(url->path))
        return ptl_error_set(err, -ENOENT, "repository %s: no such directory", url->shown);
    int r = git_repository_open_ext(ret, url->path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
    if (r == GIT_ENOTFOUND)
        return ptl_error_set(err, -ENOENT, "repository %s: the directory is no git repository", url->shown);
    if (r < 0)
        return git_fail(op, r, url->shown, err);
    struct git_url common = {.scheme = PTL_GIT_FILE, .shown = url->shown};
    char real[PATH_MAX]; /* a ".git" file may point anywhere */
    common.path = realpath(git_repository_commondir(*ret), real) ? real : url->path;
    r = git_url_allowed(&common, &op->policy, err);
    if (r < 0) {
        git_repository_free(*ret);
        *ret = NULL;
    }
    return r;
}

int git_local_objects_dir(struct git_op *op, const struct git_url *url, char **ret_common_dir,
                          struct ptl_error *err)
{
    git_repository *repo = NULL;
    int r = open_source(op, url, &repo, err);
    if (r < 0)
        return r;
    *ret_common_dir = strdup(git_repository_commondir(repo));
    git_repository_free(repo);
    return *ret_common_dir ? 0 : ptl_error_set(err, -ENOMEM, "repository %s: out of memory", url->shown);
}

static bool tips_present(const char *dir, const struct git_tips *tips)
{
    PTL_FREE char *objects = ptl_fs_join(dir, "objects");
    git_odb *odb = NULL;
    bool all = git_odb_open(&odb, objects) == 0;
    for (size_t i = 0; all && i < tips->n; i++)
        all = git_odb_exists(odb, &tips->v[i].oid) == 1;
    git_odb_free(odb);
    return all;
}

static int one_round(struct copy *c, const struct git_url *url, const char *dir, const struct git_tips *have,
                     struct git_tips *ret, bool *ret_unchanged)
{
    git_repository *repo = NULL;
    c->moved = false;
    int r = open_source(c->op, url, &repo, c->err);
    if (r < 0)
        return r;
    struct git_tips tips = {0};
    r = git_tips_read(repo, &tips);
    PTL_FREE char *objects = ptl_fs_join(git_repository_commondir(repo), "objects");
    if (r < 0)
        r = git_fail(c->op, r, url->shown, c->err);
    else if (tips.n > c->op->policy.max_refs)
        r = ptl_error_set(c->err, -EFBIG, "repository %s: %zu refs, more than are allowed", url->shown,
                          tips.n);
    else if (tips.n == 0)
        r = ptl_error_set(c->err, -ENODATA, "repository %s: it is empty; push a commit first", url->shown);
    else if (git_tips_equal(&tips, have))
        *ret_unchanged = true;
    else
        r = copy_objects(c, objects, 0);
    git_repository_free(repo);
    if (r == 0 && !*ret_unchanged && !c->moved && !tips_present(dir, &tips))
        c->moved = true;
    if (r < 0 || c->moved) {
        git_tips_done(&tips);
        return r;
    }
    *ret = tips;
    return 0;
}

int git_local_copy(struct git_op *op, const struct git_url *url, const char *dir, const struct git_tips *have,
                   struct git_tips *ret_tips, bool *ret_unchanged, struct git_local_stats *ret_stats,
                   struct ptl_error *err)
{
    struct copy c = {.op = op, .shown = url->shown, .err = err, .to = ptl_fs_join(dir, "objects")};
    PTL_FREE char *pack = ptl_fs_join(c.to, "pack");
    int r = ptl_fs_mkdirs(pack, 0755, err);
    *ret_unchanged = false;
    for (int i = 0; r == 0; i++) {
        r = one_round(&c, url, dir, have, ret_tips, ret_unchanged);
        if (r < 0 || !c.moved)
            break;
        if (i == ROUNDS_MAX)
            r = ptl_error_set(
                err, -EBADMSG,
                "repository %s: objects that its refs name are missing, or it never stood still", url->shown);
    }
    *ret_stats = c.stats;
    free(c.to);
    return r;
}

/* ---- trimming ---- */

static uint64_t dir_bytes(int dir_fd, const struct names *packs)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < packs->n; i++) {
        char name[256];
        struct stat st;
        snprintf(name, sizeof(name), "%s.pack", packs->v[i]);
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            sum += (uint64_t)st.st_size;
    }
    return sum;
}

/* When the source is repacked its whole content comes again under a new name. The old packs go once they hold
 * more than what is live; loose objects stay (small, and some hold commits that a forced push left behind).
 * The caller holds the mirror alone. Only for a source without alternates, whose list of packs is the whole
 * truth. */
void git_local_trim(const struct git_url *url, const char *mirror_dir)
{
    git_repository *repo = NULL;
    if (git_repository_open_ext(&repo, url->path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) < 0)
        return;
    PTL_FREE char *objects = ptl_fs_join(git_repository_commondir(repo), "objects");
    git_repository_free(repo);
    PTL_FREE char *alternates = ptl_fs_join(objects, "info/alternates");
    PTL_FREE char *theirs_dir = ptl_fs_join(objects, "pack");
    PTL_FREE char *ours_dir = ptl_fs_join(mirror_dir, "objects/pack");
    PTL_CLOSE int theirs_fd = open(theirs_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    PTL_CLOSE int ours_fd = open(ours_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct names theirs = {0}, ours = {0};
    if (!ptl_fs_exists(alternates) && theirs_fd >= 0 && ours_fd >= 0 && list_packs(theirs_fd, &theirs) == 0 &&
        list_packs(ours_fd, &ours) == 0) {
        uint64_t live = dir_bytes(theirs_fd, &theirs), held = dir_bytes(ours_fd, &ours);
        bool many = ours.n > theirs.n + 50, whole = true;
        for (size_t i = 0; i < theirs.n && whole;
             i++) /* repacked again since the copy: what we hold is still needed */
            whole = ours.n && bsearch(&theirs.v[i], ours.v, ours.n, sizeof(*ours.v), cmp_names) != NULL;
        for (size_t i = 0; whole && (held > 2 * live + (16 << 20) || many) && i < ours.n; i++) {
            char name[256];
            if (theirs.n && bsearch(&ours.v[i], theirs.v, theirs.n, sizeof(*theirs.v), cmp_names))
                continue;
            snprintf(name, sizeof(name), "%s.idx", ours.v[i]);
            unlinkat(ours_fd, name, 0);
            snprintf(name, sizeof(name), "%s.pack", ours.v[i]);
            unlinkat(ours_fd, name, 0);
        }
    }
    names_done(&theirs);
    names_done(&ours);
}
