/* snapshot.c - one commit as a deterministic archive: blobs as they are, LFS objects in place of their
 * pointers, submodules in place of their links.
 *
 * First everything is listed and judged (names, sizes, counts), then LFS objects are had, then the archive is
 * written in byte order of the paths; so what is too large is refused before the first byte is downloaded. A
 * tree is untrusted: names that git itself would refuse to check out (".git", "..", a slash, one name twice)
 * refuse the snapshot. Links that may lead out of the tree are left out and told, because a model repository
 * with a link to somebody's data disk is common and harmless without it. Recursion is bounded by depth of
 * directories and of submodules. */
#include "git-private.h"
#include <limits.h>
#include <portolan/archive.h>
#include <stdio.h>

enum {
    WARNINGS_KEPT = 20,
    DIR_DEPTH_MAX = 128,
    SUBMODULES_MAX = 100,
    SUBMODULE_DEPTH = 3,
    SUBMODULE_DEPTH_MAX = 10,
    LFS_POINTER_MAX = 1024
};

enum kind { KIND_FILE, KIND_EXEC, KIND_LINK };

struct entry {
    char *path;
    git_oid oid;
    uint64_t size;
    unsigned source; /* which repository */
    enum kind kind;
    int64_t lfs; /* index into wants, -1: a plain blob */
};

/* One repository of the snapshot: the main one, then its submodules in the order they are met. */
struct source {
    struct git_reader rd;
    git_odb *odb;
    char *mirror_dir, *url; /* url NULL: unknown, then neither LFS nor relative submodules */
    git_oid commit;
    char *lfsconfig_url;
    int parent; /* -1: the main one */
    unsigned depth;
};

struct snap {
    struct git_op op;
    const struct ptl_git_snapshot_options *o;
    const struct ptl_git_access *access;
    struct entry *entries;
    size_t n, cap;
    struct git_lfs_pointer *wants;
    size_t n_wants, cap_wants;
    struct source *sources[SUBMODULES_MAX + 1];
    unsigned n_sources;
    struct ptl_git_snapshot_result result;
    struct ptl_error *err;
};

void ptl_git_snapshot_result_done(struct ptl_git_snapshot_result *r)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        free(r->warnings[i]);
    free(r->warnings);
    *r = (struct ptl_git_snapshot_result){0};
}

static void warn(struct snap *s, const char *fmt, ...) PTL_PRINTF(2, 3);
static void warn(struct snap *s, const char *fmt, ...)
{
    struct ptl_git_snapshot_result *r = &s->result;
    if (r->n_warnings == WARNINGS_KEPT) {
        r->n_warnings_left_out++;
        return;
    }
    if (!r->warnings)
        r->warnings = ptl_xcalloc(WARNINGS_KEPT, sizeof(*r->warnings));
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = ptl_xstrdup("a warning was lost, out of memory");
    va_end(ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    r->warnings[r->n_warnings++] = text;
}

static int no_memory(struct snap *s)
{
    return ptl_error_set(s->err, -ENOMEM, "snapshot: out of memory");
}

/* A libgit2 call on the mirror failed: the object is missing or damaged. */
static int damaged(struct snap *s, const struct source *src, int r, const char *path)
{
    char what[PATH_MAX + 64];
    snprintf(what, sizeof(what), "snapshot: \"%s\"", path);
    r = git_fail(&s->op, r, what, s->err);
    if (r == -ENOENT)
        r = s->err->code = -EBADMSG;
    if (r == -EBADMSG)
        git_mirror_mark_damaged(src->mirror_dir);
    return r;
}

/* ---- listing ---- */

static int add_entry(struct snap *s, const struct entry *e)
{
    const struct ptl_git_policy *p = &s->op.policy;
    if (s->n >= p->max_snapshot_files)
        return ptl_error_set(s->err, -EFBIG, "snapshot: more than the %llu files that are allowed",
                             (unsigned long long)p->max_snapshot_files);
    if (e->size > p->max_file_bytes)
        return ptl_error_set(s->err, -EFBIG, "snapshot: \"%s\" has %llu bytes, one file may have %llu",
                             e->path, (unsigned long long)e->size, (unsigned long long)p->max_file_bytes);
    s->result.content_bytes += e->size;
    if (s->result.content_bytes > p->max_snapshot_bytes)
        return ptl_error_set(s->err, -EFBIG, "snapshot: more than the %llu bytes that are allowed, at \"%s\"",
                             (unsigned long long)p->max_snapshot_bytes, e->path);
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct entry *v = reallocarray(s->entries, cap, sizeof(*v));
        if (!v)
            return no_memory(s);
        s->entries = v;
        s->cap = cap;
    }
    s->entries[s->n] = *e;
    s->entries[s->n].path = strdup(e->path);
    if (!s->entries[s->n].path)
        return no_memory(s);
    s->n++;
    return 0;
}

static bool name_is_plain(const char *name)
{
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcasecmp(name, ".git") != 0 &&
           !strchr(name, '/') && strlen(name) <= NAME_MAX;
}

static bool attribute_says_lfs(struct source *src, const char *path)
{
    const char *value = NULL;
    git_attr_options o = {.version = GIT_ATTR_OPTIONS_VERSION,
                          .flags = GIT_ATTR_CHECK_INDEX_ONLY | GIT_ATTR_CHECK_NO_SYSTEM |
                                   GIT_ATTR_CHECK_INCLUDE_COMMIT};
    git_oid_cpy(&o.attr_commit_id, &src->commit);
    return git_attr_get_ext(&value, src->rd.repo, &o, path, "filter") == 0 &&
           git_attr_value(value) == GIT_ATTR_VALUE_STRING && strcmp(value, "lfs") == 0;
}

static int add_want(struct snap *s, const struct git_lfs_pointer *ptr)
{
    if (s->n_wants == s->cap_wants) {
        size_t cap = s->cap_wants ? s->cap_wants * 2 : 64;
        struct git_lfs_pointer *v = reallocarray(s->wants, cap, sizeof(*v));
        if (!v)
            return no_memory(s);
        s->wants = v;
        s->cap_wants = cap;
    }
    s->wants[s->n_wants++] = *ptr;
    return 0;
}

/* `in_repo` is the path inside of this source's repository, e->path the one in the snapshot. */
static int add_blob(struct snap *s, struct source *src, struct entry *e, const char *in_repo)
{
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    int r = git_odb_read_header(&size, &type, src->odb, &e->oid);
    if (r < 0 || type != GIT_OBJECT_BLOB)
        return damaged(s, src, r < 0 ? r : -1, e->path);
    e->size = size;
    e->lfs = -1;
    if (e->kind == KIND_LINK || size >= LFS_POINTER_MAX)
        return add_entry(s, e);
    git_blob *blob = NULL;
    r = git_blob_lookup(&blob, src->rd.repo, &e->oid);
    if (r < 0)
        return damaged(s, src, r, e->path);
    struct git_lfs_pointer ptr;
    bool pointer = git_lfs_parse(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob), &ptr);
    git_blob_free(blob);
    if (pointer && !attribute_says_lfs(src, in_repo)) {
        warn(
            s,
            "\"%s\" looks like a Git LFS pointer, but .gitattributes has no filter=lfs for it: it stays a pointer",
            e->path);
    } else if (pointer && !s->o->lfs) {
        warn(s, "\"%s\" is a Git LFS pointer and LFS is off for this project: it stays a pointer", e->path);
    } else if (pointer) {
        if (!src->url)
            return ptl_error_set(s->err, -EINVAL,
                                 "snapshot: \"%s\" needs LFS, but the repository's URL is not known",
                                 e->path);
        r = add_want(s, &ptr);
        if (r < 0)
            return r;
        e->size = ptr.size;
        e->lfs = (int64_t)s->n_wants - 1;
    }
    return add_entry(s, e);
}

static int add_link(struct snap *s, struct source *src, struct entry *e)
{
    git_blob *blob = NULL;
    int r = git_blob_lookup(&blob, src->rd.repo, &e->oid);
    if (r < 0)
        return damaged(s, src, r, e->path);
    const char *raw = git_blob_rawcontent(blob);
    size_t len = (size_t)git_blob_rawsize(blob);
    PTL_FREE char *target = len < PATH_MAX && !memchr(raw, 0, len) ? strndup(raw, len) : NULL;
    git_blob_free(blob);
    if (!target || !ptl_archive_link_stays_inside(e->path, target)) {
        warn(s, "the link \"%s\" -> \"%.200s\" may lead out of the repository: left out", e->path,
             target ? target : "?");
        return 0;
    }
    return add_blob(s, src, e, "");
}

static int add_tree(struct snap *s, unsigned source, git_tree *tree, const char *prefix, size_t repo_at,
                    unsigned depth);
static int add_submodule(struct snap *s, unsigned source, const char *path, size_t repo_at,
                         const git_oid *commit);

static int add_tree_entry(struct snap *s, unsigned source, const git_tree_entry *te, const char *path,
                          size_t repo_at, unsigned depth)
{
    struct source *src = s->sources[source];
    struct entry e = {.path = (char *)(uintptr_t)path, .source = source};
    git_oid_cpy(&e.oid, git_tree_entry_id(te));
    unsigned mode = (unsigned)git_tree_entry_filemode_raw(te);
    git_tree *sub = NULL;
    int r;
    switch (mode & 0170000) {
    case 0040000:
        r = git_get_tree(&sub, src->rd.repo, &e.oid);
        if (r < 0)
            return damaged(s, src, r, path);
        r = add_tree(s, source, sub, path, repo_at, depth + 1);
        git_tree_free(sub);
        return r;
    case 0160000:
        return add_submodule(s, source, path, repo_at, &e.oid);
    case 0120000:
        e.kind = KIND_LINK;
        return add_link(s, src, &e);
    case 0100000:
        e.kind = (mode & 0111) ? KIND_EXEC : KIND_FILE;
        return add_blob(s, src, &e, path + repo_at);
    default:
        return ptl_error_set(s->err, -EBADMSG, "snapshot: \"%s\" has the unknown mode %o", path, mode);
    }
}

/* `repo_at`: where, in a snapshot path, the path inside of this repository begins. */
static int add_tree(struct snap *s, unsigned source, git_tree *tree, const char *prefix, size_t repo_at,
                    unsigned depth)
{
    if (depth > DIR_DEPTH_MAX)
        return ptl_error_set(s->err, -EFBIG, "snapshot: directories deeper than %d at \"%.200s\"",
                             DIR_DEPTH_MAX, prefix);
    size_t n = git_tree_entrycount(tree);
    for (size_t i = 0; i < n; i++) {
        const git_tree_entry *te = git_tree_entry_byindex(tree, i);
        const char *name = git_tree_entry_name(te);
        if (!name_is_plain(name))
            return ptl_error_set(
                s->err, -EINVAL,
                "snapshot: the tree \"%s\" holds the name \"%s\", which git would not check out", prefix,
                name);
        PTL_FREE char *path = NULL;
        if (asprintf(&path, "%s%s%s", prefix, *prefix ? "/" : "", name) < 0) {
            path = NULL;
            return no_memory(s);
        }
        int r = strlen(path) >= PATH_MAX
                    ? ptl_error_set(s->err, -EFBIG, "snapshot: a path longer than %d bytes below \"%.200s\"",
                                    PATH_MAX, prefix)
                    : git_op_check(&s->op, "snapshot", s->err);
        if (r == 0)
            r = add_tree_entry(s, source, te, path, repo_at, depth);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- repositories ---- */

static void source_free(struct source *src)
{
    if (!src)
        return;
    git_odb_free(src->odb);
    git_reader_done(&src->rd);
    free(src->mirror_dir);
    free(src->url);
    free(src->lfsconfig_url);
    free(src);
}

/* A small text file at the root of a source's commit. PTL_ABSENT without it. */
static int read_root_file(struct snap *s, struct source *src, git_tree *tree, const char *name,
                          git_blob **ret)
{
    const git_tree_entry *te = git_tree_entry_byname(tree, name);
    if (!te || git_tree_entry_type(te) != GIT_OBJECT_BLOB || git_tree_entry_filemode(te) == GIT_FILEMODE_LINK)
        return PTL_ABSENT;
    size_t size = 0;
    git_object_t type;
    int r = git_odb_read_header(&size, &type, src->odb, git_tree_entry_id(te));
    if (r == 0 && size > 256 * 1024)
        return ptl_error_set(s->err, -EFBIG, "snapshot: %s has %zu bytes", name, size);
    if (r == 0)
        r = git_blob_lookup(ret, src->rd.repo, git_tree_entry_id(te));
    return r < 0 ? damaged(s, src, r, name) : 0;
}

static int on_lfsconfig(void *ctx, const char *section, const char *sub, const char *key, const char *value)
{
    struct source *src = ctx;
    if (strcmp(section, "lfs") == 0 && !*sub && strcmp(key, "url") == 0) {
        free(src->lfsconfig_url);
        src->lfsconfig_url = strdup(value);
    }
    return 0;
}

static int open_source(struct snap *s, const char *mirror_dir, const char *url, const git_oid *commit,
                       int parent, git_tree **ret_tree)
{
    struct source *src = calloc(1, sizeof(*src));
    if (!src)
        return no_memory(s);
    src->rd.use_fd = -1;
    s->sources[s->n_sources++] = src;
    src->parent = parent;
    src->depth = parent < 0 ? 0 : s->sources[parent]->depth + 1;
    src->mirror_dir = strdup(mirror_dir);
    src->url = url ? strdup(url) : NULL;
    git_oid_cpy(&src->commit, commit);
    if (!src->mirror_dir || (url && !src->url))
        return no_memory(s);
    int r = git_reader_open(&s->op, mirror_dir, &src->rd, s->err);
    if (r < 0)
        return r;
    char sha[PTL_GIT_SHA_HEX];
    git_oid_tostr(sha, sizeof(sha), commit);
    git_commit *c = NULL;
    r = git_get_commit(&c, src->rd.repo, commit);
    if (r == GIT_ENOTFOUND)
        return ptl_error_set(s->err, -ENOENT,
                             "commit %s: not in the repository (any more): fetch it, or it was pushed away",
                             sha);
    if (r == 0)
        r = git_get_tree(ret_tree, src->rd.repo, git_commit_tree_id(c));
    git_commit_free(c);
    if (r == 0)
        r = git_repository_odb(&src->odb, src->rd.repo);
    if (r < 0)
        return damaged(s, src, r, sha);
    git_blob *blob = NULL;
    r = s->o->lfs ? read_root_file(s, src, *ret_tree, ".lfsconfig", &blob) : PTL_ABSENT;
    if (r == 0) {
        r = git_ini_parse(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob), on_lfsconfig, src,
                          s->err);
        if (r < 0)
            ptl_error_prefix(s->err, r, ".lfsconfig");
    }
    git_blob_free(blob);
    return r < 0 ? r : 0;
}

/* ---- submodules ---- */

struct module_search {
    const char *path; /* looked for */
    char *sub;        /* the subsection whose path it is */
    char *url;
    int pass;
};

static int on_module(void *ctx, const char *section, const char *sub, const char *key, const char *value)
{
    struct module_search *m = ctx;
    if (strcmp(section, "submodule") != 0)
        return 0;
    if (m->pass == 0 && strcmp(key, "path") == 0 && strcmp(value, m->path) == 0) {
        free(m->sub);
        m->sub = strdup(sub);
    }
    if (m->pass == 1 && m->sub && strcmp(key, "url") == 0 && strcmp(sub, m->sub) == 0) {
        free(m->url);
        m->url = strdup(value);
    }
    return 0;
}

/* 0 and the absolute URL, PTL_ABSENT: .gitmodules does not name this path. */
static int submodule_url(struct snap *s, struct source *src, const char *in_repo, char **ret)
{
    git_commit *c = NULL;
    git_tree *tree = NULL;
    git_blob *blob = NULL;
    int r = git_get_commit(&c, src->rd.repo, &src->commit);
    if (r == 0)
        r = git_get_tree(&tree, src->rd.repo, git_commit_tree_id(c));
    r = r < 0 ? damaged(s, src, r, ".gitmodules") : read_root_file(s, src, tree, ".gitmodules", &blob);
    struct module_search m = {.path = in_repo};
    for (m.pass = 0; r == 0 && m.pass < 2; m.pass++) {
        r = git_ini_parse(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob), on_module, &m, s->err);
        if (r < 0)
            ptl_error_prefix(s->err, r, ".gitmodules");
    }
    if (r == 0 && (!m.url || !*m.url))
        r = PTL_ABSENT;
    if (r == 0 && !src->url && m.url[0] == '.')
        r = ptl_error_set(s->err, -EINVAL,
                          "submodule \"%s\": its URL is relative, but the repository's URL is not known",
                          in_repo);
    if (r == 0)
        r = git_url_join(src->url ? src->url : "", m.url, ret, s->err);
    free(m.sub);
    free(m.url);
    git_blob_free(blob);
    git_tree_free(tree);
    git_commit_free(c);
    return r;
}

static int submodule_allowed(struct snap *s, unsigned parent, const char *path, const char *url,
                             char **ret_mirror)
{
    struct git_url u = {0};
    int r = git_url_parse(url, &u, s->err);
    bool parent_local = s->sources[parent]->url && (s->sources[parent]->url[0] == '/' ||
                                                    strncasecmp(s->sources[parent]->url, "file:", 5) == 0);
    if (r == 0 && u.scheme == PTL_GIT_FILE &&
        !parent_local) /* or any repository here could be read by naming it */
        r = ptl_error_set(s->err, -EPERM, "a repository from elsewhere may not name a local one");
    if (r == 0)
        r = git_url_allowed(&u, &s->op.policy, s->err);
    for (int i = (int)parent; r == 0 && i >= 0; i = s->sources[i]->parent) {
        PTL_FREE char *ancestor = s->sources[i]->url ? ptl_git_url_redacted(s->sources[i]->url) : NULL;
        PTL_FREE char *shown = ptl_git_url_redacted(url);
        if (ptl_str_eq(ancestor, shown))
            r = ptl_error_set(s->err, -ELOOP, "it is one of its own parents (%s)", shown);
    }
    if (r == 0) {
        char hex[PTL_SHA256_HEX];
        ptl_sha256_of(u.shown, strlen(u.shown), hex);
        *ret_mirror = ptl_xasprintf("%s/%.32s.git", s->o->submodule_dir, hex);
    }
    git_url_done(&u);
    return r < 0 ? ptl_error_prefix(s->err, r, "submodule \"%s\"", path) : 0;
}

static bool mirror_has(struct snap *s, const char *mirror, const git_oid *commit)
{
    struct git_reader rd = {.use_fd = -1};
    struct ptl_error ignored = PTL_ERROR_INIT;
    if (!ptl_fs_is_dir(mirror) || git_reader_open(&s->op, mirror, &rd, &ignored) < 0)
        return false;
    git_commit *c = NULL;
    bool has = git_get_commit(&c, rd.repo, commit) == 0;
    git_commit_free(c);
    git_reader_done(&rd);
    return has;
}

static int fetch_submodule(struct snap *s, const char *path, const char *mirror, const char *url,
                           const git_oid *commit)
{
    if (mirror_has(s, mirror, commit))
        return 0;
    struct ptl_git_call call = {.deadline_mono_ms = s->op.deadline,
                                .cancelled = s->op.call ? s->op.call->cancelled : NULL};
    struct ptl_git_fetch_result fetched = {0};
    int r = ptl_fs_mkdirs(s->o->submodule_dir, 0755, s->err);
    if (r == 0)
        r = ptl_git_mirror_fetch(&call, mirror, url, s->access, &fetched, s->err);
    ptl_git_fetch_result_done(&fetched);
    return r < 0 ? ptl_error_prefix(s->err, r, "submodule \"%s\"", path) : 0;
}

static int add_submodule(struct snap *s, unsigned source, const char *path, size_t repo_at,
                         const git_oid *commit)
{
    struct source *src = s->sources[source];
    unsigned most = s->o->submodule_depth ? s->o->submodule_depth : SUBMODULE_DEPTH;
    if (most > SUBMODULE_DEPTH_MAX)
        most = SUBMODULE_DEPTH_MAX;
    if (!s->o->submodules) {
        warn(s, "\"%s\" is a submodule and submodules are off for this project: left out", path);
        return 0;
    }
    PTL_FREE char *url = NULL;
    PTL_FREE char *mirror = NULL;
    int r = submodule_url(s, src, path + repo_at, &url);
    if (r == PTL_ABSENT) {
        warn(s, "\"%s\" is a submodule that .gitmodules does not name: left out", path);
        return 0;
    }
    if (r == 0)
        r = submodule_allowed(s, source, path, url, &mirror);
    if (r == 0 && (src->depth >= most || s->n_sources == PTL_ARRAY_LEN(s->sources)))
        r = ptl_error_set(s->err, -ELOOP,
                          "submodule \"%s\": deeper than %u levels or more than %d submodules", path, most,
                          SUBMODULES_MAX);
    if (r == 0)
        r = fetch_submodule(s, path, mirror, url, commit);
    if (r < 0)
        return r;
    git_tree *tree = NULL;
    unsigned at = s->n_sources;
    r = open_source(s, mirror, url, commit, (int)source, &tree);
    if (r < 0)
        ptl_error_prefix(s->err, r, "submodule \"%s\"", path);
    else
        r = add_tree(s, at, tree, path, strlen(path) + 1, 0);
    git_tree_free(tree);
    return r;
}

/* ---- order ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

/* Sorted, no path twice, and no file where another path needs a directory. */
static int put_in_order(struct snap *s)
{
    if (s->n > 1)
        qsort(s->entries, s->n, sizeof(*s->entries), by_path);
    const char *last_dir = "";
    size_t last_len = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct entry *e = &s->entries[i];
        if (i > 0 && strcmp(s->entries[i - 1].path, e->path) == 0)
            return ptl_error_set(s->err, -EBADMSG, "snapshot: the tree holds \"%s\" twice", e->path);
        const char *slash = strrchr(e->path, '/');
        size_t len = slash ? (size_t)(slash - e->path) : 0;
        if (len == last_len && memcmp(last_dir, e->path, len) == 0)
            continue;
        last_dir = e->path;
        last_len = len;
        PTL_FREE char *dir = strndup(e->path, len);
        if (!dir)
            return no_memory(s);
        while (*dir) {
            struct entry key = {.path = dir};
            if (bsearch(&key, s->entries, s->n, sizeof(key), by_path))
                return ptl_error_set(s->err, -EBADMSG,
                                     "snapshot: the tree holds \"%s\" as a file and as a directory", dir);
            char *up = strrchr(dir, '/');
            *(up ? up : dir) = '\0';
        }
    }
    return 0;
}

/* ---- LFS ---- */

static int fetch_lfs(struct snap *s)
{
    PTL_FREE struct git_lfs_want *v = calloc(s->n_wants ? s->n_wants : 1, sizeof(*v));
    if (!v)
        return no_memory(s);
    for (unsigned source = 0; source < s->n_sources; source++) {
        const struct source *src = s->sources[source];
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->entries[i].lfs >= 0 && s->entries[i].source == source)
                v[n++] = (struct git_lfs_want){s->wants[s->entries[i].lfs], s->entries[i].path};
        if (n == 0)
            continue;
        if (!s->o->lfs_store)
            return ptl_error_set(s->err, -EINVAL, "snapshot: LFS without a store");
        int r = git_lfs_fetch(&s->op, src->url, source == 0 ? s->o->lfs_url : NULL, src->lfsconfig_url,
                              s->o->lfs_store, v, n, &s->result.lfs_downloaded, s->err);
        if (r < 0)
            return r;
        s->result.lfs_files += n;
    }
    return 0;
}

/* ---- writing ---- */

static int write_entry(struct snap *s, struct ptl_archive_writer *w, const struct entry *e)
{
    struct source *src = s->sources[e->source];
    if (e->lfs >= 0) {
        PTL_FREE char *file = git_lfs_store_path(s->o->lfs_store, s->wants[e->lfs].oid);
        return ptl_archive_add_file(w, e->path, e->kind == KIND_EXEC, file, s->err);
    }
    git_blob *blob = NULL;
    int r = git_blob_lookup(&blob, src->rd.repo, &e->oid);
    if (r < 0)
        return damaged(s, src, r, e->path);
    const char *raw = git_blob_rawcontent(blob);
    size_t len = (size_t)git_blob_rawsize(blob);
    if (e->kind == KIND_LINK) {
        PTL_FREE char *target = strndup(raw, len);
        r = target ? ptl_archive_add_link(w, e->path, target, s->err) : no_memory(s);
    } else {
        r = ptl_archive_add_data(w, e->path, e->kind == KIND_EXEC, raw, len, s->err);
    }
    git_blob_free(blob);
    return r;
}

static int write_archive(struct snap *s, const char *out_path)
{
    struct ptl_archive_writer *w = NULL;
    int r = ptl_archive_writer_new(out_path, &w, s->err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < s->n; i++) {
        r = git_op_check(&s->op, "snapshot", s->err);
        if (r == 0)
            r = write_entry(s, w, &s->entries[i]);
    }
    if (r < 0) {
        ptl_archive_writer_abort(w);
        return r;
    }
    r = ptl_archive_writer_close(w, s->err);
    if (r == 0) {
        s->result.files = s->n;
        r = ptl_sha256_file(out_path, s->result.sha256, &s->result.size_bytes, s->err);
    }
    return r;
}

static int snapshot(struct snap *s, const char *mirror_dir, const char *commit, const char *out_path)
{
    git_oid oid;
    git_tree *tree = NULL;
    int r = git_sha_parse(commit, &oid, s->err);
    if (r == 0 && s->o->submodules && !s->o->submodule_dir)
        r = ptl_error_set(s->err, -EINVAL, "snapshot: submodules without a directory for their mirrors");
    if (r == 0)
        r = open_source(s, mirror_dir, s->o->url, &oid, -1, &tree);
    if (r == 0)
        r = add_tree(s, 0, tree, "", 0, 0);
    git_tree_free(tree);
    if (r == 0)
        r = put_in_order(s);
    if (r == 0 && s->n_wants)
        r = fetch_lfs(s);
    return r < 0 ? r : write_archive(s, out_path);
}

int ptl_git_snapshot(const struct ptl_git_call *call, const char *mirror_dir, const char *commit,
                     const struct ptl_git_snapshot_options *options, const struct ptl_git_access *access,
                     const char *out_path, struct ptl_git_snapshot_result *ret, struct ptl_error *err)
{
    struct ptl_error own = PTL_ERROR_INIT;
    PTL_FREE struct snap *s = calloc(1, sizeof(*s));
    if (!s)
        return ptl_error_set(err, -ENOMEM, "snapshot: out of memory");
    s->o = options;
    s->access = access;
    s->err = err ? err : &own;
    git_op_init(&s->op, call, access);
    int r = snapshot(s, mirror_dir, commit, out_path);
    if (r < 0) {
        git_op_scrub(&s->op, s->err);
    } else {
        *ret = s->result;
        s->result = (struct ptl_git_snapshot_result){0};
    }
    ptl_git_snapshot_result_done(&s->result);
    for (size_t i = 0; i < s->n; i++)
        free(s->entries[i].path);
    free(s->entries);
    free(s->wants);
    for (unsigned i = 0; i < s->n_sources; i++)
        source_free(s->sources[i]);
    git_op_done(&s->op);
    return r;
}
