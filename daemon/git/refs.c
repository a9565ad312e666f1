/* refs.c - the tips of a mirror, and the readers' way into it.
 *
 * A mirror keeps all refs in its packed-refs file, never as loose files: a fetch replaces that one file by
 * rename, so readers see all refs of before or all of after, names that change from file to directory need no
 * care, and a thousand branches cost one write. Readers hold a shared lock on "<mirror>.use"; replacing or
 * trimming the mirror takes it alone. Nothing here keeps a handle between calls. */
#include "git-private.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { META_BYTES_MAX = 64 << 20 };

void git_tips_done(struct git_tips *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i].name);
    free(t->v);
    free(t->head);
    *t = (struct git_tips){0};
}

int git_tips_add(struct git_tips *t, const char *name, const git_oid *oid)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct git_tip *v = reallocarray(t->v, cap, sizeof(*v));
        if (!v)
            return -ENOMEM;
        t->v = v;
        t->cap = cap;
    }
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    t->v[t->n++] = (struct git_tip){copy, *oid};
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct git_tip *)a)->name, ((const struct git_tip *)b)->name);
}

void git_tips_sort(struct git_tips *t)
{
    if (t->n > 1)
        qsort(t->v, t->n, sizeof(*t->v), by_name);
}

bool git_tips_equal(const struct git_tips *a, const struct git_tips *b)
{
    if (a->n != b->n || !ptl_str_eq(a->head, b->head))
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i].name, b->v[i].name) != 0 || !git_oid_equal(&a->v[i].oid, &b->v[i].oid))
            return false;
    return true;
}

bool git_tips_wanted(const char *ref)
{
    return (ptl_str_starts(ref, "refs/heads/") || ptl_str_starts(ref, "refs/tags/")) &&
           ptl_git_ref_is_valid(ref);
}

bool ptl_git_ref_is_valid(const char *name)
{
    int valid = 0;
    if (!name || !*name || strlen(name) > 1024 || name[0] == '-')
        return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    char full[1100];
    snprintf(full, sizeof(full), "%s%s", strncmp(name, "refs/", 5) == 0 ? "" : "refs/heads/", name);
    return git_reference_name_is_valid(&valid, full) == 0 && valid;
}

int git_tips_read(git_repository *repo, struct git_tips *ret)
{
    struct git_tips t = {0};
    git_reference_iterator *it = NULL;
    git_reference *ref = NULL;
    int r = git_reference_iterator_new(&it, repo);
    while (r == 0 && (r = git_reference_next(&ref, it)) == 0) {
        const git_oid *oid = git_reference_target(ref);
        git_reference *direct = NULL;
        if (!oid && git_reference_resolve(&direct, ref) == 0) /* a symbolic ref among the branches */
            oid = git_reference_target(direct);
        if (oid && git_tips_wanted(git_reference_name(ref)) &&
            git_tips_add(&t, git_reference_name(ref), oid) < 0)
            r = -1;
        git_reference_free(direct);
        git_reference_free(ref);
    }
    git_reference_iterator_free(it);
    if (r == GIT_ITEROVER)
        r = 0;
    git_reference *head = NULL;
    if (r == 0 && git_reference_lookup(&head, repo, "HEAD") == 0) {
        const char *target = git_reference_symbolic_target(head);
        if (target)
            t.head = strdup(target);
        git_reference_free(head);
    }
    if (r < 0) {
        git_tips_done(&t);
        return r;
    }
    git_tips_sort(&t);
    *ret = t;
    return 0;
}

int git_lock_file(struct git_op *op, const char *path, int how, const char *what, int *ret_fd,
                  struct ptl_error *err)
{
    for (;;) {
        PTL_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return ptl_error_set(err, -errno, "%s: cannot open its lock %s: %s", what, path, strerror(errno));
        while (flock(fd, how | LOCK_NB) < 0) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                return ptl_error_set(err, -errno, "%s: cannot lock %s: %s", what, path, strerror(errno));
            int r = git_op_check(op, what, err);
            if (r < 0)
                return r;
            (void)poll(NULL, 0,
                       git_op_tick(op) < 20 ? git_op_tick(op) : 20); /* flock has no deadline of its own */
        }
        struct stat ours,
            there; /* a removed mirror takes its lock file along: then this one guards nothing */
        if (fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
            ours.st_dev == there.st_dev) {
            *ret_fd = fd;
            fd = -1;
            return 0;
        }
    }
}

int git_sha_parse(const char *sha, git_oid *ret, struct ptl_error *err)
{
    if (!sha || strlen(sha) != GIT_OID_HEXSZ || git_oid_fromstr(ret, sha) < 0)
        return ptl_error_set(err, -EINVAL, "commit \"%.64s\": 40 hexadecimal digits are expected",
                             sha ? sha : "");
    return 0;
}

static int check_size(git_repository *repo, const git_oid *oid)
{
    git_odb *odb = NULL;
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    int r = git_repository_odb(&odb, repo);
    if (r == 0)
        r = git_odb_read_header(&size, &type, odb, oid);
    git_odb_free(odb);
    if (r == 0 && type != GIT_OBJECT_BLOB && size > META_BYTES_MAX) {
        git_error_set_str(GIT_ERROR_OBJECT, "a commit, tag or directory of more than 64 MiB");
        return -1;
    }
    return r;
}

int git_get_commit(git_commit **ret, git_repository *repo, const git_oid *oid)
{
    int r = check_size(repo, oid);
    return r < 0 ? r : git_commit_lookup(ret, repo, oid);
}

int git_get_tree(git_tree **ret, git_repository *repo, const git_oid *oid)
{
    int r = check_size(repo, oid);
    return r < 0 ? r : git_tree_lookup(ret, repo, oid);
}

int git_get_any(git_object **ret, git_repository *repo, const git_oid *oid)
{
    int r = check_size(repo, oid);
    return r < 0 ? r : git_object_lookup(ret, repo, oid, GIT_OBJECT_ANY);
}

void git_reader_done(struct git_reader *r)
{
    git_repository_free(r->repo);
    r->repo = NULL;
    ptl_closep(&r->use_fd);
    r->use_fd = -1;
}

int git_reader_open(struct git_op *op, const char *mirror_dir, struct git_reader *ret, struct ptl_error *err)
{
    struct git_reader rd = {.use_fd = -1};
    PTL_FREE char *use = NULL;
    if (asprintf(&use, "%s.use", mirror_dir) < 0) {
        use = NULL;
        return ptl_error_set(err, -ENOMEM, "mirror %s: out of memory", mirror_dir);
    }
    if (!ptl_fs_is_dir(mirror_dir))
        return ptl_error_set(err, -ENOENT, "mirror %s: not there; fetch the repository first", mirror_dir);
    int r = git_lock_file(op, use, LOCK_SH, mirror_dir, &rd.use_fd, err);
    if (r < 0)
        return r;
    r = git_repository_open_bare(&rd.repo, mirror_dir);
    if (r < 0) {
        r = git_fail(op, r, mirror_dir, err);
        git_mirror_mark_damaged(mirror_dir);
        git_reader_done(&rd);
        return r;
    }
    *ret = rd;
    return 0;
}

void git_mirror_mark_damaged(const char *mirror_dir)
{
    PTL_FREE char *path = NULL;
    if (asprintf(&path, "%s/portolan-damaged", mirror_dir) < 0) {
        path = NULL;
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        close(fd);
}
