/* read.c - questions to a mirror: which commit, which refs, what changed, what does this file say.
 *
 * Each call opens the mirror, answers and closes it; nothing is cached between calls, so a mirror may be
 * replaced at any time between them. Revisions are looked up by name or sha only: git's revision operators
 * (@{…}, ^, ~, :path) are not understood, and therefore cannot be abused by a name that comes from a webhook.
 */
#include "git-private.h"
#include <ctype.h>
#include <stdio.h>

struct ask {
    struct git_op op;
    struct git_reader rd;
};

static int ask_begin(struct ask *a, const struct ptl_git_call *call, const char *mirror_dir,
                     struct ptl_error *err)
{
    *a = (struct ask){.rd = {.use_fd = -1}};
    git_op_init(&a->op, call, NULL);
    return git_reader_open(&a->op, mirror_dir, &a->rd, err);
}

static void ask_end(struct ask *a)
{
    git_reader_done(&a->rd);
    git_op_done(&a->op);
}

/* ---- commits ---- */

void ptl_git_commit_done(struct ptl_git_commit *c)
{
    free(c->author_name);
    free(c->author_email);
    free(c->message);
    free(c->parents);
    *c = (struct ptl_git_commit){0};
}

static char *clean(const char *s)
{
    char *copy = strdup(s ? s : "");
    for (char *p = copy; p && *p; p++)
        if (((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
            *p = '?';
    return copy;
}

static int commit_fill(git_commit *commit, struct ptl_git_commit *ret, struct ptl_error *err)
{
    struct ptl_git_commit c = {0};
    const git_signature *author = git_commit_author(commit);
    git_oid_tostr(c.sha, sizeof(c.sha), git_commit_id(commit));
    c.author_name = clean(author ? author->name : "");
    c.author_email = clean(author ? author->email : "");
    c.message = clean(git_commit_message(commit));
    c.time_wall_ms = (int64_t)git_commit_time(commit) * 1000;
    c.n_parents = git_commit_parentcount(commit);
    c.parents = calloc(c.n_parents ? c.n_parents : 1, sizeof(*c.parents));
    if (!c.author_name || !c.author_email || !c.message || !c.parents) {
        ptl_git_commit_done(&c);
        return ptl_error_set(err, -ENOMEM, "commit: out of memory");
    }
    for (size_t i = 0; i < c.n_parents; i++)
        git_oid_tostr(c.parents[i], sizeof(c.parents[i]), git_commit_parent_id(commit, (unsigned)i));
    *ret = c;
    return 0;
}

static bool is_hex(const char *s)
{
    size_t n = strlen(s);
    return n >= 4 && n <= GIT_OID_HEXSZ && strspn(s, "0123456789abcdefABCDEF") == n;
}

/* A branch named like an abbreviated sha is rare, and names are what people type: names first, but a full sha
 * is one. */
static int find_object(git_repository *repo, const char *rev, git_object **ret)
{
    static const char *const places[] = {"%s", "refs/heads/%s", "refs/tags/%s"};
    git_oid oid;
    if (strlen(rev) == GIT_OID_HEXSZ && is_hex(rev) && git_oid_fromstr(&oid, rev) == 0)
        return git_get_any(ret, repo, &oid);
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        char name[1200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(name, sizeof(name), places[i], rev);
#pragma GCC diagnostic pop
        if (i == 0 && strcmp(rev, "HEAD") != 0 && !ptl_str_starts(rev, "refs/"))
            continue;
        if (git_reference_name_to_id(&oid, repo, name) == 0)
            return git_get_any(ret, repo, &oid);
    }
    if (is_hex(rev) && git_oid_fromstrn(&oid, rev, strlen(rev)) == 0)
        return git_object_lookup_prefix(ret, repo, &oid, strlen(rev), GIT_OBJECT_ANY);
    git_error_set_str(GIT_ERROR_REFERENCE, "no such branch, tag or commit");
    return GIT_ENOTFOUND;
}

static int read_failed(struct ask *a, int r, const char *mirror_dir, const char *what, struct ptl_error *err)
{
    if (r == GIT_ENOTFOUND)
        return ptl_error_set(err, -ENOENT, "\"%s\": no such branch, tag or commit in this repository", what);
    if (r == GIT_EAMBIGUOUS)
        return ptl_error_set(err, -EINVAL, "\"%s\": several objects start with that, give more digits", what);
    r = git_fail(&a->op, r, what, err);
    if (r == -EBADMSG)
        git_mirror_mark_damaged(mirror_dir);
    return r;
}

/* The commit that a revision names, or its error told. */
static int find_commit(struct ask *a, const char *mirror_dir, const char *rev, git_commit **ret,
                       struct ptl_error *err)
{
    git_object *object = NULL, *commit = NULL;
    int r = find_object(a->rd.repo, rev, &object);
    if (r == 0)
        r = git_object_peel(&commit, object, GIT_OBJECT_COMMIT);
    git_object_free(object);
    if (r == GIT_EPEEL || r == GIT_EINVALIDSPEC)
        return ptl_error_set(err, -EINVAL, "\"%s\": names no commit", rev);
    if (r < 0)
        return read_failed(a, r, mirror_dir, rev, err);
    *ret = (git_commit *)commit;
    return 0;
}

int ptl_git_resolve(const struct ptl_git_call *call, const char *mirror_dir, const char *rev,
                    struct ptl_git_commit *ret, struct ptl_error *err)
{
    struct ask a;
    if (!rev || !(strcmp(rev, "HEAD") == 0 || ptl_git_ref_is_valid(rev))) {
        PTL_FREE char *shown = rev ? strndup(rev, 200) : NULL;
        for (char *p = shown; p && *p; p++)
            if (*p == '\n' || *p == '\t') /* an error's text may have them, a name in it not */
                *p = '?';
        return ptl_error_set(err, -EINVAL, "\"%s\": not the name of a branch, tag or commit",
                             shown ? shown : "");
    }
    int r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    git_commit *commit = NULL;
    r = find_commit(&a, mirror_dir, rev, &commit, err);
    if (r == 0)
        r = commit_fill(commit, ret, err);
    git_commit_free(commit);
    ask_end(&a);
    return r;
}

int ptl_git_is_on_ref(const struct ptl_git_call *call, const char *mirror_dir, const char *ref,
                      const char *sha, bool *ret, struct ptl_error *err)
{
    struct ask a;
    git_oid oid;
    if (!ptl_git_ref_is_valid(ref) || git_oid_fromstr(&oid, sha) != 0)
        return ptl_error_set(err, -EINVAL, "expected the name of a branch or tag, and a full commit id");
    int r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    git_commit *tip = NULL;
    r = find_commit(&a, mirror_dir, ref, &tip, err);
    if (r == 0 && git_oid_equal(git_commit_id(tip), &oid)) {
        r = 1;
    } else if (r == 0) {
        r = git_graph_descendant_of(a.rd.repo, git_commit_id(tip), &oid);
        r = r < 0 ? read_failed(&a, r, mirror_dir, sha, err) : r;
    }
    git_commit_free(tip);
    ask_end(&a);
    *ret = r > 0;
    return r < 0 ? r : 0;
}

int ptl_git_list_refs(const struct ptl_git_call *call, const char *mirror_dir, ptl_git_ref_fn *fn, void *ctx,
                      struct ptl_error *err)
{
    struct ask a;
    struct git_tips tips = {0};
    int r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    r = git_tips_read(a.rd.repo, &tips);
    if (r < 0)
        r = read_failed(&a, r, mirror_dir, mirror_dir, err);
    for (size_t i = 0; r == 0 && i < tips.n; i++) {
        char sha[PTL_GIT_SHA_HEX] = "";
        git_object *object = NULL, *commit = NULL;
        if (git_get_any(&object, a.rd.repo, &tips.v[i].oid) == 0 &&
            git_object_peel(&commit, object, GIT_OBJECT_COMMIT) == 0)
            git_oid_tostr(sha, sizeof(sha), git_object_id(commit));
        git_object_free(commit);
        git_object_free(object);
        r = git_op_check(&a.op, mirror_dir, err);
        if (r == 0)
            r = fn(ctx, tips.v[i].name, sha);
    }
    git_tips_done(&tips);
    ask_end(&a);
    return r;
}

/* ---- between two commits ---- */

/* 0, PTL_ABSENT when there is no base, negative. */
static int find_base(struct ask *a, const char *mirror_dir, const char *before, git_oid *ret,
                     struct ptl_error *err)
{
    if (!before || !*before || strspn(before, "0") == strlen(before))
        return PTL_ABSENT;
    int r = git_sha_parse(before, ret, err);
    if (r < 0)
        return r;
    git_commit *c = NULL;
    r = git_get_commit(&c, a->rd.repo, ret);
    git_commit_free(c);
    if (r == GIT_ENOTFOUND)
        return PTL_ABSENT;
    return r < 0 ? read_failed(a, r, mirror_dir, before, err) : 0;
}

struct paths {
    struct git_op *op;
    ptl_git_path_fn *fn;
    void *ctx;
    size_t left;
    int stopped;
    char *last;
    struct ptl_error *err;
};

static int on_path(struct paths *p, const char *path)
{
    if (p->last && strcmp(p->last, path) == 0) /* a changed file has the same path on both sides */
        return 0;
    if (p->left == 0) {
        p->stopped = PTL_FULL;
        return -1;
    }
    p->left--;
    p->stopped = git_op_check(p->op, "changed paths", p->err);
    if (p->stopped == 0)
        p->stopped = p->fn(p->ctx, path);
    free(p->last);
    p->last = strdup(path);
    return p->stopped ? -1 : 0;
}

static int on_delta(const git_diff_delta *delta, float progress, void *ctx)
{
    (void)progress;
    int r = on_path(ctx, delta->old_file.path);
    return r ? r : on_path(ctx, delta->new_file.path);
}

static int tree_of(git_repository *repo, const git_oid *oid, git_tree **ret)
{
    git_commit *c = NULL;
    int r = git_get_commit(&c, repo, oid);
    if (r == 0)
        r = git_get_tree(ret, repo, git_commit_tree_id(c));
    git_commit_free(c);
    return r;
}

int ptl_git_changed_paths(const struct ptl_git_call *call, const char *mirror_dir, const char *before,
                          const char *after, size_t max, ptl_git_path_fn *fn, void *ctx,
                          struct ptl_error *err)
{
    struct ask a;
    git_oid from, to;
    int r = git_sha_parse(after, &to, err);
    if (r < 0)
        return r;
    r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    git_tree *old_tree = NULL, *new_tree = NULL;
    git_diff *diff = NULL;
    r = find_base(&a, mirror_dir, before, &from, err);
    if (r == 0) {
        git_diff_options options;
        (void)git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
        options.flags = GIT_DIFF_SKIP_BINARY_CHECK;
        r = tree_of(a.rd.repo, &from, &old_tree);
        if (r == 0)
            r = tree_of(a.rd.repo, &to, &new_tree);
        if (r == 0)
            r = git_diff_tree_to_tree(&diff, a.rd.repo, old_tree, new_tree, &options);
        if (r < 0)
            r = read_failed(&a, r, mirror_dir, after, err);
    }
    if (r == 0) {
        struct paths p = {.op = &a.op, .fn = fn, .ctx = ctx, .left = max, .err = err};
        (void)git_diff_foreach(diff, on_delta, NULL, NULL, NULL, &p);
        r = p.stopped;
        free(p.last);
    }
    git_diff_free(diff);
    git_tree_free(old_tree);
    git_tree_free(new_tree);
    ask_end(&a);
    return r;
}

/* ---- differences ---- */

enum { DIFF_DELTAS_MAX = 10000, DIFF_FILE_MAX = 1 << 20, RANK_NONE = 100, LFS_POINTER_MAX = 1024 };

struct ranked {
    size_t delta;
    int rank;
    const char *path;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->rank != y->rank ? x->rank - y->rank : strcmp(x->path, y->path);
}

/* The LFS object that a side of a file points to, if it is a pointer. */
static bool pointer_of(git_repository *repo, const git_diff_file *file, struct git_lfs_pointer *ret)
{
    git_odb *odb = NULL;
    git_blob *blob = NULL;
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    bool is = false;
    if ((file->mode & 0170000) != 0100000)
        return false;
    if (git_repository_odb(&odb, repo) == 0 && git_odb_read_header(&size, &type, odb, &file->id) == 0 &&
        type == GIT_OBJECT_BLOB && size <= LFS_POINTER_MAX && git_blob_lookup(&blob, repo, &file->id) == 0)
        is = git_lfs_parse(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob), ret);
    git_blob_free(blob);
    git_odb_free(odb);
    return is;
}

/* A pointer's own lines say nothing to a reader: the objects are named, as git names binary files. False:
 * neither side is one. */
static bool put_lfs(git_repository *repo, const git_diff_delta *d, struct ptl_buf *b)
{
    struct git_lfs_pointer before, after;
    bool was = d->status != GIT_DELTA_ADDED && pointer_of(repo, &d->old_file, &before),
         is = d->status != GIT_DELTA_DELETED && pointer_of(repo, &d->new_file, &after);
    if (!was && !is)
        return false;
    PTL_FREE char *path = ptl_xstrdup(d->new_file.path ? d->new_file.path : d->old_file.path);
    for (char *c = path; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
    ptl_buf_printf(b, "diff --git a/%s b/%s\n", path, path);
    if (was && is)
        ptl_buf_printf(b, "LFS objects %.12s (%llu bytes) and %.12s (%llu bytes) differ\n", before.oid,
                       (unsigned long long)before.size, after.oid, (unsigned long long)after.size);
    else
        ptl_buf_printf(b, "%s LFS object %.12s (%llu bytes)\n",
                       d->status == GIT_DELTA_ADDED     ? "new"
                       : d->status == GIT_DELTA_DELETED ? "deleted"
                       : is                             ? "now the"
                                                        : "no more the",
                       is ? after.oid : before.oid, (unsigned long long)(is ? after.size : before.size));
    return true;
}

static int append_patch(git_repository *repo, git_diff *diff, size_t delta, size_t max_file, size_t max,
                        struct ptl_buf *ret, size_t *cut)
{
    git_patch *patch = NULL;
    git_buf text = {0};
    PTL_BUF own = PTL_BUF_MAX(64 << 10);
    int r = 0;
    bool lfs = put_lfs(repo, git_diff_get_delta(diff, delta), &own);
    if (!lfs)
        r = git_patch_from_diff(&patch, diff, delta);
    if (r == 0 && patch)
        r = git_patch_to_buf(&text, patch);
    const char *from = lfs ? ptl_buf_str(&own) : text.ptr;
    size_t size = lfs ? own.len : text.size;
    if (r == 0 && from) {
        size_t n = size < max_file ? size : max_file;
        if (ret->len >= max || n > max - ret->len)
            n = ret->len < max ? max - ret->len : 0;
        *cut += n < size;
        while (n > 0 && n < size && from[n - 1] != '\n') /* whole lines */
            n--;
        r = ptl_buf_add(ret, from, n);
    }
    git_buf_dispose(&text);
    git_patch_free(patch);
    return r;
}

static int append_ranked(struct ask *a, git_diff *diff, ptl_git_rank_fn *rank, size_t max_file, size_t max,
                         struct ptl_buf *ret, size_t *ret_cut, struct ptl_error *err)
{
    size_t all = git_diff_num_deltas(diff), n = 0, cut = 0;
    struct ranked *list = calloc(DIFF_DELTAS_MAX, sizeof(*list));
    if (!list)
        return ptl_error_set(err, -ENOMEM, "diff: out of memory");
    for (size_t i = 0; i < all; i++) {
        const git_diff_delta *d = git_diff_get_delta(diff, i);
        const char *path = d->new_file.path ? d->new_file.path : d->old_file.path;
        int of = path ? rank(path) : RANK_NONE;
        if (of < RANK_NONE && n < DIFF_DELTAS_MAX)
            list[n++] = (struct ranked){i, of, path};
        else
            cut += of < RANK_NONE;
    }
    qsort(list, n, sizeof(*list), by_rank);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (ret->len >= max)
            cut++;
        else if ((r = git_op_check(&a->op, "diff", err)) == 0 &&
                 append_patch(a->rd.repo, diff, list[i].delta, max_file, max, ret, &cut) < 0)
            cut++; /* an object that cannot be read: named among what was left out */
    free(list);
    if (r == 0 && ret_cut)
        *ret_cut = cut;
    return r;
}

int ptl_git_diff(const struct ptl_git_call *call, const char *mirror_dir, const char *before,
                 const char *after, ptl_git_rank_fn *rank, size_t max_file, size_t max, struct ptl_buf *ret,
                 size_t *ret_cut, struct ptl_error *err)
{
    struct ask a;
    git_oid from, to;
    git_tree *old_tree = NULL, *new_tree = NULL;
    git_diff *diff = NULL;
    int r = git_sha_parse(after, &to, err);
    if (r == 0)
        r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    r = find_base(&a, mirror_dir, before, &from, err);
    if (r == 0) {
        git_diff_options options;
        (void)git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
        options.max_size = DIFF_FILE_MAX;
        r = tree_of(a.rd.repo, &from, &old_tree);
        if (r == 0)
            r = tree_of(a.rd.repo, &to, &new_tree);
        if (r == 0)
            r = git_diff_tree_to_tree(&diff, a.rd.repo, old_tree, new_tree, &options);
        if (r < 0)
            r = read_failed(&a, r, mirror_dir, after, err);
    }
    if (r == 0)
        r = append_ranked(&a, diff, rank, max_file, max, ret, ret_cut, err);
    git_diff_free(diff);
    git_tree_free(old_tree);
    git_tree_free(new_tree);
    ask_end(&a);
    return r;
}

int ptl_git_log_between(const struct ptl_git_call *call, const char *mirror_dir, const char *before,
                        const char *after, size_t max, ptl_git_log_fn *fn, void *ctx, struct ptl_error *err)
{
    struct ask a;
    git_oid from, to, at;
    int r = git_sha_parse(after, &to, err);
    if (r < 0)
        return r;
    r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    git_revwalk *walk = NULL;
    r = find_base(&a, mirror_dir, before, &from, err);
    if (r == 0) {
        r = git_revwalk_new(&walk, a.rd.repo);
        if (r == 0)
            r = git_revwalk_sorting(walk, GIT_SORT_TIME);
        if (r == 0)
            r = git_revwalk_push(walk, &to);
        if (r == 0)
            r = git_revwalk_hide(walk, &from);
        if (r < 0)
            r = read_failed(&a, r, mirror_dir, after, err);
    }
    for (size_t n = 0; r == 0; n++) {
        r = git_revwalk_next(&at, walk);
        if (r == GIT_ITEROVER) {
            r = 0;
            break;
        }
        git_commit *commit = NULL;
        struct ptl_git_commit c = {0};
        if (r == 0)
            r = git_get_commit(&commit, a.rd.repo, &at);
        if (r < 0)
            r = read_failed(&a, r, mirror_dir, after, err);
        else if (n == max)
            r = PTL_FULL;
        else if ((r = git_op_check(&a.op, "log", err)) == 0 && (r = commit_fill(commit, &c, err)) == 0)
            r = fn(ctx, &c);
        ptl_git_commit_done(&c);
        git_commit_free(commit);
    }
    git_revwalk_free(walk);
    ask_end(&a);
    return r;
}

/* ---- one file ---- */

int ptl_git_read_file(const struct ptl_git_call *call, const char *mirror_dir, const char *commit,
                      const char *path, size_t max_bytes, struct ptl_buf *ret, struct ptl_error *err)
{
    struct ask a;
    git_oid oid;
    if (!ptl_fs_is_safe_relative(path))
        return ptl_error_set(err, -EINVAL, "\"%.200s\": a path inside of the repository is expected",
                             path ? path : "");
    int r = git_sha_parse(commit, &oid, err);
    if (r < 0)
        return r;
    r = ask_begin(&a, call, mirror_dir, err);
    if (r < 0)
        return r;
    git_tree *tree = NULL;
    git_tree_entry *entry = NULL;
    git_odb *odb = NULL;
    git_blob *blob = NULL;
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    r = tree_of(a.rd.repo, &oid, &tree);
    if (r < 0) {
        r = read_failed(&a, r, mirror_dir, commit, err);
        goto out;
    }
    r = git_tree_entry_bypath(&entry, tree, path);
    if (r == GIT_ENOTFOUND) {
        r = PTL_ABSENT;
        goto out;
    }
    if (r == 0 && (git_tree_entry_filemode(entry) & 0170000) != 0100000) {
        r = ptl_error_set(err, -EINVAL, "%s: not a regular file in commit %.12s", path, commit);
        goto out;
    }
    if (r == 0)
        r = git_repository_odb(&odb, a.rd.repo);
    if (r == 0)
        r = git_odb_read_header(&size, &type, odb, git_tree_entry_id(entry));
    if (r == 0 && size > max_bytes) {
        r = ptl_error_set(err, -EFBIG, "%s: %zu bytes in commit %.12s, at most %zu are read", path, size,
                          commit, max_bytes);
        goto out;
    }
    if (r == 0)
        r = git_blob_lookup(&blob, a.rd.repo, git_tree_entry_id(entry));
    if (r < 0)
        r = read_failed(&a, r == GIT_ENOTFOUND ? -1 : r, mirror_dir, path, err);
    else if (ptl_buf_add(ret, git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob)) < 0)
        r = ptl_error_set(err, -ENOMEM, "%s: out of memory", path);
out:
    git_blob_free(blob);
    git_odb_free(odb);
    git_tree_entry_free(entry);
    git_tree_free(tree);
    ask_end(&a);
    return r;
}
