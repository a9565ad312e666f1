/* mirror.c - makes and updates bare mirrors: locks, repair, refs; the objects come from transport.c or
 * mirror_local.c.
 *
 * A new mirror is built beside its place and moved in whole; an existing one gets objects first and then all
 * refs by one rename, so a process killed at any instant leaves either the old state or the new. What it may
 * leave besides are unnamed temporary files, which the next fetch removes. Damage (found here, or by a reader
 * that left a mark) is answered by building anew once. "<dir>.lock" is held by the one fetch, ".use" is
 * shared by readers and taken alone for the moment in which directories change places. */
#include "git-private.h"
#include <dirent.h>
#include <fcntl.h>
#include <git2/sys/odb_backend.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { CHANGES_KEPT = 10000, TIPS_CHECKED = 2000, SMALL_PACKS_MAX = 64, SMALL_PACK_BYTES = 16 << 20 };

static const char no_sha[] = "0000000000000000000000000000000000000000";

struct fetch {
    struct git_op op;
    struct git_url url;
    const char *dir;
    char *what, *partial, *old, *lock, *use;
    struct ptl_git_credentials credentials;
    struct ptl_git_fetch_result result;
    struct ptl_error *err;
};

void ptl_git_fetch_result_done(struct ptl_git_fetch_result *r)
{
    for (size_t i = 0; i < r->n_changes; i++)
        free(r->changes[i].ref);
    free(r->changes);
    *r = (struct ptl_git_fetch_result){0};
}

/* ---- what changed ---- */

static int note_change(struct ptl_git_fetch_result *r, const char *ref, const git_oid *before,
                       const git_oid *after)
{
    if (r->n_changes == CHANGES_KEPT) {
        r->n_changes_left_out++;
        return 0;
    }
    if ((r->n_changes & (r->n_changes - 1)) == 0) { /* grows at powers of two */
        size_t cap = r->n_changes ? r->n_changes * 2 : 1;
        struct ptl_git_ref_change *v = reallocarray(r->changes, cap, sizeof(*v));
        if (!v)
            return -ENOMEM;
        r->changes = v;
    }
    struct ptl_git_ref_change *c = &r->changes[r->n_changes];
    c->ref = strdup(ref);
    if (!c->ref)
        return -ENOMEM;
    memcpy(c->before, no_sha, sizeof(no_sha));
    memcpy(c->after, no_sha, sizeof(no_sha));
    if (before)
        git_oid_tostr(c->before, sizeof(c->before), before);
    if (after)
        git_oid_tostr(c->after, sizeof(c->after), after);
    r->n_changes++;
    return 0;
}

static int note_changes(struct fetch *f, const struct git_tips *have, const struct git_tips *now)
{
    size_t i = 0, k = 0;
    int r = 0;
    while (r == 0 && (i < have->n || k < now->n)) {
        int c = i == have->n ? 1 : k == now->n ? -1 : strcmp(have->v[i].name, now->v[k].name);
        if (c < 0) {
            r = note_change(&f->result, have->v[i].name, &have->v[i].oid, NULL);
            i++;
        } else if (c > 0) {
            r = note_change(&f->result, now->v[k].name, NULL, &now->v[k].oid);
            k++;
        } else {
            if (!git_oid_equal(&have->v[i].oid, &now->v[k].oid))
                r = note_change(&f->result, now->v[k].name, &have->v[i].oid, &now->v[k].oid);
            i++;
            k++;
        }
    }
    return r < 0 ? ptl_error_set(f->err, r, "%s: out of memory", f->what) : 0;
}

/* ---- refs on disk ---- */

static const char *default_branch(const struct git_tips *t)
{
    static const char *const usual[] = {"refs/heads/main", "refs/heads/master"};
    if (t->head && ptl_str_starts(t->head, "refs/heads/") && ptl_git_ref_is_valid(t->head))
        return t->head;
    for (size_t u = 0; u < PTL_ARRAY_LEN(usual); u++)
        for (size_t i = 0; i < t->n; i++)
            if (strcmp(t->v[i].name, usual[u]) == 0)
                return usual[u];
    for (size_t i = 0; i < t->n; i++)
        if (ptl_str_starts(t->v[i].name, "refs/heads/"))
            return t->v[i].name;
    return usual[0];
}

static int write_refs(struct fetch *f, const char *dir, const struct git_tips *t)
{
    PTL_BUF text = PTL_BUF_INIT;
    ptl_buf_puts(&text, "# pack-refs with: sorted \n");
    for (size_t i = 0; i < t->n; i++) {
        char sha[PTL_GIT_SHA_HEX];
        git_oid_tostr(sha, sizeof(sha), &t->v[i].oid);
        ptl_buf_printf(&text, "%s %s\n", sha, t->v[i].name);
    }
    if (text.failed)
        return ptl_error_set(f->err, text.failed, "%s: out of memory for its refs", f->what);
    PTL_FREE char *head_path = ptl_fs_join(dir, "HEAD");
    PTL_FREE char *refs_path = ptl_fs_join(dir, "packed-refs");
    PTL_FREE char *head = NULL;
    if (asprintf(&head, "ref: %s\n", default_branch(t)) < 0) {
        head = NULL;
        return ptl_error_set(f->err, -ENOMEM, "%s: out of memory", f->what);
    }
    int r = ptl_fs_write_atomic(refs_path, text.data, text.len, 0644, f->err);
    return r < 0 ? r : ptl_fs_write_atomic(head_path, head, strlen(head), 0644, f->err);
}

/* ---- objects over the wire ---- */

static int on_progress(const git_indexer_progress *p, void *payload)
{
    struct git_remote_ctx *ctx = payload;
    struct git_op *op = ctx->op;
    if (op->why.code)
        return -1;
    if (git_op_check(op, ctx->url->shown, &op->why) < 0)
        return -1;
    if (p->received_bytes > op->policy.max_repo_bytes) {
        ptl_error_set(&op->why, -EFBIG, "repository %s: larger than the %llu bytes that are allowed",
                      ctx->url->shown, (unsigned long long)op->policy.max_repo_bytes);
        return -1;
    }
    return 0;
}

static int read_advertised(struct fetch *f, git_remote *remote, struct git_tips *ret)
{
    const git_remote_head **heads = NULL;
    size_t n = 0;
    int r = git_remote_ls(&heads, &n, remote);
    if (r < 0)
        return git_fail(&f->op, r, f->what, f->err);
    if (n > f->op.policy.max_refs)
        return ptl_error_set(f->err, -EFBIG, "%s: %zu refs, more than the %llu that are allowed", f->what, n,
                             (unsigned long long)f->op.policy.max_refs);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(heads[i]->name, "HEAD") == 0 && heads[i]->symref_target && !ret->head)
            ret->head = strdup(heads[i]->symref_target);
        if (git_tips_wanted(heads[i]->name) && git_tips_add(ret, heads[i]->name, &heads[i]->oid) < 0)
            return ptl_error_set(f->err, -ENOMEM, "%s: out of memory for %zu refs", f->what, n);
    }
    git_tips_sort(ret);
    if (ret->n == 0)
        return ptl_error_set(f->err, -ENODATA, "%s: it is empty; push a commit first", f->what);
    return 0;
}

static bool tips_present(git_repository *repo, const struct git_tips *t)
{
    git_odb *odb = NULL;
    if (git_repository_odb(&odb, repo) < 0)
        return false;
    bool all = true;
    for (size_t i = 0; all && i < t->n && i < TIPS_CHECKED; i++)
        all = git_odb_exists(odb, &t->v[i].oid) == 1;
    git_odb_free(odb);
    return all;
}

static int fetch_remote(struct fetch *f, git_repository *repo, const struct git_tips *have,
                        struct git_tips *ret)
{
    struct git_remote_ctx ctx = {.op = &f->op, .url = &f->url, .credentials = f->credentials};
    git_remote *remote = NULL;
    /* A stand-in URL: libgit2 never learns the real one, so it cannot print or store it. Without insteadOf,
     * because looking for it costs 120 kB that libgit2 1.5 never gives back. */
    git_remote_create_options create;
    (void)git_remote_create_options_init(&create, GIT_REMOTE_CREATE_OPTIONS_VERSION);
    create.repository = repo;
    create.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
    int r = git_remote_create_with_opts(&remote, "https://mirror.invalid/", &create);
    if (r < 0)
        return git_fail(&f->op, r, f->what, f->err);
    git_remote_connect_options connect;
    git_fetch_options options;
    (void)git_remote_connect_options_init(&connect, GIT_REMOTE_CONNECT_OPTIONS_VERSION);
    (void)git_fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
    connect.callbacks.transport = git_transport_make;
    connect.callbacks.transfer_progress = on_progress;
    connect.callbacks.payload = &ctx;
    options.callbacks = connect.callbacks;
    options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE; /* tags have their own refspec */
    struct git_tips tips = {0};
    r = git_remote_connect_ext(remote, GIT_DIRECTION_FETCH, &connect);
    if (r < 0)
        r = git_fail(&f->op, r, f->what, f->err);
    else
        r = read_advertised(f, remote, &tips);
    if (r == 0 && git_tips_equal(&tips, have)) {
        f->result.unchanged = true;
    } else if (r == 0) {
        static char heads[] = "+refs/heads/*:refs/heads/*", tags[] = "+refs/tags/*:refs/tags/*";
        char *specs[] = {heads, tags};
        git_strarray refspecs = {specs, 2};
        r = git_remote_download(remote, &refspecs, &options);
        if (r < 0)
            r = git_fail(&f->op, r, f->what, f->err);
        const git_indexer_progress *p = git_remote_stats(remote);
        f->result.received_bytes = p->received_bytes;
        f->result.received_objects = p->received_objects;
    }
    (void)git_remote_disconnect(remote);
    git_remote_free(remote);
    if (r < 0)
        git_tips_done(&tips);
    else
        *ret = tips;
    return r;
}

/* ---- one mirror directory ---- */

/* What an interrupted fetch left in objects/pack. The lock is held: nobody writes there now. */
static void sweep(const char *dir)
{
    PTL_FREE char *path = ptl_fs_join(dir, "objects/pack");
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && !(ptl_str_starts(e->d_name, "pack-") &&
                                     (ptl_str_ends(e->d_name, ".pack") || ptl_str_ends(e->d_name, ".idx"))))
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

static int fill(struct fetch *f, git_repository *repo, const char *dir, const struct git_tips *have)
{
    struct git_tips now = {0};
    int r;
    if (f->url.scheme == PTL_GIT_FILE) {
        struct git_local_stats stats = {0};
        r = git_local_copy(&f->op, &f->url, dir, have, &now, &f->result.unchanged, &stats, f->err);
        f->result.received_bytes = stats.bytes;
        f->result.received_objects = stats.objects_files;
    } else {
        r = fetch_remote(f, repo, have, &now);
    }
    if (r < 0)
        return r;
    git_odb *odb = NULL;
    if (!f->result.unchanged && git_repository_odb(&odb, repo) == 0) {
        (void)git_odb_refresh(odb);
        git_odb_free(odb);
    }
    if (!tips_present(repo, &now))
        r = ptl_error_set(f->err, -EBADMSG, "%s: objects that its refs name are missing", f->what);
    if (r == 0 && !f->result.unchanged) {
        r = note_changes(f, have, &now);
        if (r == 0)
            r = write_refs(f, dir, &now);
    }
    git_tips_done(&now);
    return r;
}

static int build(struct fetch *f)
{
    static const struct git_tips none;
    git_repository *repo = NULL;
    int r = ptl_fs_remove_tree(f->partial, f->err);
    if (r < 0)
        return r;
    git_repository_init_options options;
    (void)git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
    options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKDIR;
    r = git_repository_init_ext(&repo, f->partial, &options);
    r = r < 0 ? git_fail(&f->op, r, f->partial, f->err) : fill(f, repo, f->partial, &none);
    git_repository_free(repo);
    PTL_CLOSE int use = -1;
    if (r == 0)
        r = git_lock_file(&f->op, f->use, LOCK_EX, f->what, &use, f->err);
    if (r == 0)
        r = ptl_fs_remove_tree(f->old, f->err);
    if (r == 0 && rename(f->dir, f->old) < 0 && errno != ENOENT)
        r = ptl_error_set(f->err, -errno, "%s: cannot move %s away: %s", f->what, f->dir, strerror(errno));
    if (r == 0 && rename(f->partial, f->dir) < 0)
        r = ptl_error_set(f->err, -errno, "%s: cannot move the mirror to %s: %s", f->what, f->dir,
                          strerror(errno));
    struct ptl_error ignored; /* what could not be removed is removed by the next fetch */
    (void)!ptl_fs_remove_tree(r == 0 ? f->old : f->partial, &ignored);
    return r;
}

/* Many pushes make many small packs, and every look-up asks each of them: now and then the small ones become
 * one. */
struct gather {
    git_packbuilder *pb;
    bool failed;
};

static int gather_one(const git_oid *id, void *ctx)
{
    struct gather *g = ctx;
    g->failed |= git_packbuilder_insert(g->pb, id, NULL) < 0;
    return g->failed ? -1 : 0;
}

static bool gather_pack(struct gather *g, const char *idx)
{
    git_odb *odb = NULL;
    git_odb_backend *backend = NULL;
    bool ok = git_odb_new(&odb) == 0 && git_odb_backend_one_pack(&backend, idx) == 0;
    if (ok && git_odb_add_backend(odb, backend, 1) < 0) {
        backend->free(backend);
        ok = false;
    }
    ok = ok && git_odb_foreach(odb, gather_one, g) == 0;
    git_odb_free(odb);
    return ok;
}

static void join_small_packs(struct fetch *f, git_repository *repo)
{
    PTL_FREE char *path = ptl_fs_join(f->dir, "objects/pack");
    char *names[512];
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && n < PTL_ARRAY_LEN(names) && (e = readdir(d));) {
        struct stat st;
        size_t len = strlen(e->d_name);
        if (len > 5 && ptl_str_ends(e->d_name, ".pack") &&
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size < SMALL_PACK_BYTES &&
            (names[n] = strndup(e->d_name, len - 5)))
            n++;
    }
    if (d)
        closedir(d);
    struct gather g = {0};
    if (n > SMALL_PACKS_MAX && git_packbuilder_new(&g.pb, repo) == 0) {
        bool ok = true;
        for (size_t i = 0; ok && i < n; i++) {
            PTL_FREE char *idx = NULL;
            ok = asprintf(&idx, "%s/%s.idx", path, names[i]) > 0 && gather_pack(&g, idx) &&
                 git_op_check(&f->op, f->what, NULL) == 0;
        }
        PTL_CLOSE int use = -1; /* readers may be about to open one of the old packs: then another time */
        ok = ok && git_packbuilder_write(g.pb, NULL, 0444, NULL, NULL) == 0;
        if (ok)
            use = open(f->use, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (ok && use >= 0 && flock(use, LOCK_EX | LOCK_NB) == 0) {
            char joined[80];
            snprintf(joined, sizeof(joined), "pack-%s", git_packbuilder_name(g.pb));
            for (size_t i = 0; i < n; i++) {
                PTL_FREE char *file = NULL;
                if (strcmp(names[i], joined) == 0 || asprintf(&file, "%s/%s.pack", path, names[i]) < 0)
                    continue;
                char *end = file + strlen(file) - 4;
                strcpy(end, "idx");
                unlink(file);
                strcpy(end, "pack");
                unlink(file);
            }
        }
        git_packbuilder_free(g.pb);
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
}

static void tidy(struct fetch *f, git_repository *repo)
{
    if (f->url.scheme != PTL_GIT_FILE) {
        join_small_packs(f, repo);
        return;
    }
    PTL_CLOSE int use = open(f->use, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (use >= 0 && flock(use, LOCK_EX | LOCK_NB) == 0)
        git_local_trim(&f->url, f->dir);
}

static int update(struct fetch *f, bool *ret_damaged)
{
    git_repository *repo = NULL;
    struct git_tips have = {0};
    PTL_FREE char *mark = ptl_fs_join(f->dir, "portolan-damaged");
    *ret_damaged = true;
    if (ptl_fs_exists(mark) || git_repository_open_bare(&repo, f->dir) < 0 ||
        git_tips_read(repo, &have) < 0) {
        git_repository_free(repo);
        return -EBADMSG;
    }
    sweep(f->dir);
    int r = fill(f, repo, f->dir, &have);
    /* Broken bytes without a cause from the wire: ours may be the broken ones. */
    *ret_damaged = r == -EBADMSG && !f->op.why.code;
    if (r == 0 && !f->result.unchanged)
        tidy(f, repo);
    git_tips_done(&have);
    git_repository_free(repo);
    return r;
}

static int fetch_locked(struct fetch *f)
{
    bool damaged = false, there = ptl_fs_is_dir(f->dir);
    int r = there ? update(f, &damaged) : 0;
    if (there && (r == 0 || !damaged))
        return r;
    ptl_git_fetch_result_done(&f->result);
    f->op.why = (struct ptl_error)PTL_ERROR_INIT;
    r = build(f);
    f->result.created = !there;
    f->result.repaired = there;
    return r;
}

static int fetch_init(struct fetch *f, const char *dir, const char *url)
{
    int r = git_url_parse(url, &f->url, f->err);
    if (r == 0)
        r = git_url_allowed(&f->url, &f->op.policy, f->err);
    if (r < 0)
        return r;
    f->dir = dir;
    if (asprintf(&f->what, "repository %s", f->url.shown) < 0 ||
        asprintf(&f->partial, "%s.partial", dir) < 0 || asprintf(&f->old, "%s.old", dir) < 0 ||
        asprintf(&f->lock, "%s.lock", dir) < 0 || asprintf(&f->use, "%s.use", dir) < 0)
        return ptl_error_set(f->err, -ENOMEM, "repository %s: out of memory", f->url.shown);
    return git_op_credentials(&f->op, &f->url, &f->credentials, f->err);
}

static void fetch_done(struct fetch *f)
{
    git_url_done(&f->url);
    free(f->what);
    free(f->partial);
    free(f->old);
    free(f->lock);
    free(f->use);
    ptl_git_fetch_result_done(&f->result);
    git_op_done(&f->op);
}

int ptl_git_mirror_fetch(const struct ptl_git_call *call, const char *mirror_dir, const char *url,
                         const struct ptl_git_access *access, struct ptl_git_fetch_result *ret,
                         struct ptl_error *err)
{
    struct ptl_error own = PTL_ERROR_INIT;
    struct fetch f = {.err = err ? err : &own};
    git_op_init(&f.op, call, access);
    PTL_CLOSE int lock = -1;
    int r = fetch_init(&f, mirror_dir, url);
    if (r == 0)
        r = git_lock_file(&f.op, f.lock, LOCK_EX, f.what, &lock, f.err);
    if (r == 0)
        r = fetch_locked(&f);
    if (r < 0) {
        git_op_scrub(&f.op, f.err);
    } else {
        *ret = f.result;
        f.result = (struct ptl_git_fetch_result){0};
    }
    fetch_done(&f);
    return r;
}

int ptl_git_mirror_remove(const struct ptl_git_call *call, const char *mirror_dir, struct ptl_error *err)
{
    struct git_op op;
    git_op_init(&op, call, NULL);
    PTL_CLOSE int lock_fd = -1, use_fd = -1;
    static const char *const ends[] = {"", ".partial", ".old", ".use", ".lock"};
    PTL_FREE char *lock = NULL;
    PTL_FREE char *use = NULL;
    int r = 0;
    if (asprintf(&lock, "%s.lock", mirror_dir) < 0 || asprintf(&use, "%s.use", mirror_dir) < 0)
        r = ptl_error_set(err, -ENOMEM, "mirror %s: out of memory", mirror_dir);
    if (r == 0)
        r = git_lock_file(&op, lock, LOCK_EX, mirror_dir, &lock_fd, err);
    if (r == 0)
        r = git_lock_file(&op, use, LOCK_EX, mirror_dir, &use_fd, err);
    for (size_t i = 0; r == 0 && i < PTL_ARRAY_LEN(ends); i++) {
        PTL_FREE char *path = NULL;
        if (asprintf(&path, "%s%s", mirror_dir, ends[i]) < 0)
            r = ptl_error_set(err, -ENOMEM, "mirror %s: out of memory", mirror_dir);
        else
            r = ptl_fs_remove_tree(path, err);
    }
    git_op_done(&op);
    return r;
}
