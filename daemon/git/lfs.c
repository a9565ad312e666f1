/* lfs.c - Git LFS objects: pointers, the batch API with the basic transfer, and a store of verified objects.
 *
 * libgit2 knows nothing of LFS. The server is asked for a batch, tells for each object where it lies, and
 * from there it is read straight into the store: hashed while it comes, cut off when longer than the pointer
 * says, and renamed into place only when size and SHA-256 agree. Whatever the server says is untrusted:
 * places are judged by policy like any URL, and our credentials go to the endpoint's own origin only. An
 * endpoint from .lfsconfig is written by whoever can push, so it gets credentials only when it is on the
 * repository's own host.
 *
 * Store: <store>/aa/bb/<oid>; safe for several processes, because files appear whole. */
#include "git-private.h"
#include <fcntl.h>
#include <limits.h>
#include <portolan/json.h>
#include <stdio.h>
#include <sys/stat.h>

enum { BATCH = 100, REDIRECTS = 4, HEADERS_MAX = 16, ANSWER_MAX = 8 * 1024 * 1024 };

struct lfs {
    struct git_op *op;
    struct git_http *http;
    const char *store;
    char *endpoint;     /* "https://…/info/lfs" */
    struct git_url url; /* of the endpoint */
    struct ptl_git_credentials cred;
    char *ssh_headers[HEADERS_MAX + 1]; /* of git-lfs-authenticate, NULL-ended */
    struct ptl_error *err;
    char what[400];
};

/* ---- pointers ---- */

static const char *after(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}

/* The form git-lfs writes: version first, then keys in alphabetical order, one a line. Unknown keys
 * (extensions) are passed over. */
bool git_lfs_parse(const char *data, size_t len, struct git_lfs_pointer *ret)
{
    static const char *const versions[] = {"version https://git-lfs.github.com/spec/v1\n",
                                           "version https://hawser.github.com/spec/v1\n"};
    const char *p = NULL, *end = data + len;
    struct git_lfs_pointer ptr = {0};
    bool has_size = false;
    if (len >= 1024)
        return false;
    for (size_t i = 0; i < PTL_ARRAY_LEN(versions) && !p; i++)
        p = after(data, end, versions[i]);
    while (p && p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end)
            return false;
        const char *v;
        if ((v = after(p, line_end, "oid sha256:"))) {
            if (line_end - v != 64)
                return false;
            memcpy(ptr.oid, v, 64);
            if (!ptl_sha256_is_hex(ptr.oid))
                return false;
        } else if ((v = after(p, line_end, "size "))) {
            size_t digits = 0;
            for (; v < line_end && *v >= '0' && *v <= '9' && digits < 18; v++, digits++)
                ptr.size = ptr.size * 10 + (uint64_t)(*v - '0');
            if (digits == 0 || v != line_end)
                return false;
            has_size = true;
        }
        p = line_end + 1;
    }
    if (!p || !ptr.oid[0] || !has_size)
        return false;
    *ret = ptr;
    return true;
}

/* ---- store ---- */

char *git_lfs_store_path(const char *store, const char *oid)
{
    return ptl_xasprintf("%s/%.2s/%.2s/%s", store, oid, oid + 2, oid);
}

static bool store_has(struct lfs *l, const struct git_lfs_pointer *ptr)
{
    PTL_FREE char *path = git_lfs_store_path(l->store, ptr->oid);
    char hex[PTL_SHA256_HEX];
    uint64_t size = 0;
    struct ptl_error ignored = PTL_ERROR_INIT;
    if (!ptl_fs_exists(path))
        return false;
    if (ptl_sha256_file(path, hex, &size, &ignored) == 0 && size == ptr->size && strcmp(hex, ptr->oid) == 0)
        return true;
    unlink(path); /* the disk changed it; it is had again */
    return false;
}

struct incoming {
    int fd;
    char *tmp;
    struct ptl_sha256 *hash;
    uint64_t got;
};

static void incoming_abort(struct incoming *in)
{
    ptl_closep(&in->fd);
    if (in->tmp)
        unlink(in->tmp);
    free(in->tmp);
    if (in->hash)
        ptl_sha256_free(in->hash);
    *in = (struct incoming){.fd = -1};
}

static int incoming_begin(struct lfs *l, const struct git_lfs_want *w, struct incoming *in)
{
    *in = (struct incoming){.fd = -1};
    PTL_FREE char *dir = ptl_xasprintf("%s/%.2s/%.2s", l->store, w->ptr.oid, w->ptr.oid + 2);
    int r = ptl_fs_mkdirs(dir, 0755, l->err);
    if (r < 0)
        return r;
    in->tmp = ptl_xasprintf("%s/tmp-XXXXXX", dir);
    in->hash = ptl_sha256_new();
    in->fd = mkostemp(in->tmp, O_CLOEXEC);
    if (in->fd < 0) {
        r = ptl_error_set(l->err, -errno, "LFS store %s: cannot create a file: %s", dir, strerror(errno));
        free(in->tmp);
        in->tmp = NULL;
        incoming_abort(in);
    }
    return r;
}

static int incoming_add(struct lfs *l, const struct git_lfs_want *w, struct incoming *in, const void *data,
                        size_t n)
{
    in->got += n;
    if (in->got > w->ptr.size)
        return ptl_error_set(
            l->err, -EBADMSG,
            "LFS object %.12s of %s: the server sends more than the %llu bytes of the pointer", w->ptr.oid,
            w->path, (unsigned long long)w->ptr.size);
    ptl_sha256_update(in->hash, data, n);
    int r = ptl_fs_write_all(in->fd, data, n);
    return r < 0 ? ptl_error_set(l->err, r, "LFS store %s: cannot write: %s", l->store, strerror(-r)) : 0;
}

static int incoming_end(struct lfs *l, const struct git_lfs_want *w, struct incoming *in)
{
    char hex[PTL_SHA256_HEX];
    ptl_sha256_hex(in->hash, hex);
    if (in->got != w->ptr.size || strcmp(hex, w->ptr.oid) != 0)
        return ptl_error_set(
            l->err, -EBADMSG,
            "LFS object %.12s of %s: what came has %llu bytes and SHA-256 %.12s…, the pointer says %llu bytes",
            w->ptr.oid, w->path, (unsigned long long)in->got, hex, (unsigned long long)w->ptr.size);
    PTL_FREE char *path = git_lfs_store_path(l->store, w->ptr.oid);
    if (fchmod(in->fd, 0444) < 0 || rename(in->tmp, path) < 0)
        return ptl_error_set(l->err, -errno, "LFS store %s: cannot write: %s", path, strerror(errno));
    free(in->tmp);
    in->tmp = NULL;
    return 0;
}

/* ---- from a repository on this machine ---- */

static int copy_local(struct lfs *l, const char *common_dir, const struct git_lfs_want *w)
{
    char real[PATH_MAX];
    PTL_FREE char *from =
        ptl_xasprintf("%s/lfs/objects/%.2s/%.2s/%s", common_dir, w->ptr.oid, w->ptr.oid + 2, w->ptr.oid);
    if (!realpath(from, real))
        return ptl_error_set(l->err, -ENOENT,
                             "LFS object %s of %s: not in the repository's lfs/objects; git lfs push it",
                             w->ptr.oid, w->path);
    struct git_url u = {.scheme = PTL_GIT_FILE, .path = real, .shown = real};
    int r = git_url_allowed(&u, &l->op->policy, l->err);
    if (r < 0)
        return r;
    PTL_CLOSE int fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return ptl_error_set(l->err, -EIO, "LFS object %s of %s: cannot be read in the repository",
                             w->ptr.oid, w->path);
    struct incoming in;
    r = incoming_begin(l, w, &in);
    while (r == 0) {
        char buf[64 * 1024];
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = ptl_error_set(l->err, -errno, "LFS object %s of %s: %s", w->ptr.oid, w->path,
                              strerror(errno));
        if (n <= 0)
            break;
        r = incoming_add(l, w, &in, buf, (size_t)n);
        if (r == 0)
            r = git_op_check(l->op, w->path, l->err);
    }
    if (r == 0)
        r = incoming_end(l, w, &in);
    incoming_abort(&in);
    return r;
}

/* ---- from a server ---- */

static bool same_origin(const struct git_url *a, const struct git_url *b)
{
    return a->scheme == b->scheme && a->port == b->port && ptl_str_eq(a->host, b->host);
}

/* Objects often lie in a store behind the forge: its hosts have a list of their own. */
static int place_allowed(struct lfs *l, const struct git_url *u)
{
    const struct ptl_git_policy *p = &l->op->policy;
    struct ptl_git_policy any_host = *p;
    any_host.hosts = NULL;
    int r = git_url_allowed(u, &any_host, l->err);
    if (r < 0 || !p->hosts || !p->lfs_hosts || same_origin(u, &l->url))
        return r;
    for (int list = 0; list < 2; list++)
        for (const char *const *glob = list ? p->lfs_hosts : p->hosts; *glob; glob++)
            if (ptl_str_glob(*glob, u->host))
                return 0;
    return ptl_error_set(l->err, -EPERM,
                         "%s: the server sends us to the host \"%s\", which is not one of the allowed hosts",
                         l->what, u->host);
}

struct place {
    char *href; /* as given: signed URLs carry their proof in the query */
    char *headers[HEADERS_MAX + 1];
    size_t n_headers;
    bool has_authorization;
};

static void place_done(struct place *p)
{
    free(p->href);
    for (size_t i = 0; i < p->n_headers; i++)
        free(p->headers[i]);
    *p = (struct place){0};
}

static int headers_from(struct lfs *l, const json_t *object, char **headers, size_t *n, bool *ret_auth)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const char *text = json_string_value(value);
        if (*n == HEADERS_MAX || !text || strpbrk(text, "\r\n") || strpbrk(name, ": \r\n\t") || !*name)
            return ptl_error_set(l->err, -EBADMSG, "%s: a header in the server's answer is not one", l->what);
        headers[(*n)++] = ptl_xasprintf("%s: %s", name, text);
        if (strcasecmp(name, "authorization") == 0) {
            *ret_auth = true;
            git_op_secret(l->op, text);
        }
    }
    return 0;
}

static int read_object(struct lfs *l, struct incoming *in, const struct git_lfs_want *w)
{
    char buf[64 * 1024];
    for (;;) {
        ssize_t n = git_http_read(l->http, buf, sizeof(buf), l->err);
        if (n <= 0)
            return (int)n;
        int r = incoming_add(l, w, in, buf, (size_t)n);
        if (r < 0)
            return r;
    }
}

static int get_place(struct lfs *l, const struct place *place, const struct git_lfs_want *w,
                     struct git_http_answer *ret)
{
    PTL_FREE char *href = strdup(place->href);
    bool first = true, same = true;
    for (int i = 0; href && i <= REDIRECTS; i++) {
        struct git_url u = {0};
        int r = git_url_parse(href, &u, l->err);
        if (r == 0)
            r = place_allowed(l, &u);
        if (r == 0 && !(u.scheme & (PTL_GIT_HTTP | PTL_GIT_HTTPS)))
            r = ptl_error_set(l->err, -EPERM, "%s: the object's place is not http", l->what);
        if (r == 0 && l->url.scheme == PTL_GIT_HTTPS && u.scheme == PTL_GIT_HTTP)
            r = ptl_error_set(l->err, -EPERM, "%s: sent from https to http", l->what);
        if (r == 0)
            same = same && same_origin(&u, &l->url);
        git_url_done(&u);
        if (r < 0)
            return r;
        char what[600];
        snprintf(what, sizeof(what), "LFS object %.12s of %.400s", w->ptr.oid, w->path);
        struct git_http_request rq = {
            .url = href,
            .what = what,
            .headers = first ? (const char *const *)place->headers : NULL,
            .credentials = same && !place->has_authorization ? &l->cred : NULL,
        };
        r = git_http_start(l->http, &rq, ret, l->err);
        if (r < 0)
            return r;
        if (ret->status < 300 || ret->status >= 400)
            return 0;
        if (!ret->location)
            return ptl_error_set(l->err, -EBADMSG, "%s: HTTP %ld without a place to go to", what,
                                 ret->status);
        free(href);
        href = ret->location;
        ret->location = NULL;
        first = false; /* headers were meant for the first place */
    }
    return ptl_error_set(l->err, href ? -ELOOP : -ENOMEM, "%s: too many redirects", l->what);
}

static int download(struct lfs *l, const struct place *place, const struct git_lfs_want *w)
{
    struct git_http_answer a = {0};
    int r = get_place(l, place, w, &a);
    git_http_answer_done(&a);
    if (r < 0)
        return r;
    if (a.status != 200)
        return ptl_error_set(l->err,
                             a.status == 404                      ? -ENOENT
                             : a.status == 401 || a.status == 403 ? -EACCES
                                                                  : -EIO,
                             "LFS object %s of %s: the server answered HTTP %ld", w->ptr.oid, w->path,
                             a.status);
    struct incoming in;
    r = incoming_begin(l, w, &in);
    if (r == 0)
        r = read_object(l, &in, w);
    if (r == 0)
        r = incoming_end(l, w, &in);
    incoming_abort(&in);
    return r;
}

static int batch_object(struct lfs *l, const json_t *o, const struct git_lfs_want *wants, size_t n,
                        bool *done)
{
    const char *oid = ptl_json_str(o, "oid", "");
    size_t at = 0;
    while (at < n && strcmp(wants[at].ptr.oid, oid) != 0)
        at++;
    if (at == n || done[at])
        return 0; /* not asked for */
    const struct git_lfs_want *w = &wants[at];
    const json_t *error = json_object_get(o, "error");
    if (json_is_object(error)) {
        int64_t code = ptl_json_i64(error, "code", 0);
        return ptl_error_set(l->err, code == 404 || code == 410 ? -ENOENT : -EIO,
                             "LFS object %s of %s: the server has it not: %.200s (%lld)", w->ptr.oid, w->path,
                             ptl_json_str(error, "message", "no reason given"), (long long)code);
    }
    const json_t *action = json_object_get(json_object_get(o, "actions"), "download");
    const char *href = ptl_json_str(action, "href", NULL);
    if (!href)
        return ptl_error_set(l->err, -ENOENT,
                             "LFS object %s of %s: the server names no place to download it from", w->ptr.oid,
                             w->path);
    struct place place = {.href = ptl_xstrdup(href)};
    const json_t *headers = json_object_get(action, "header");
    int r = json_is_object(headers)
                ? headers_from(l, headers, place.headers, &place.n_headers, &place.has_authorization)
                : 0;
    if (r == 0)
        r = download(l, &place, w);
    place_done(&place);
    done[at] = r == 0;
    return r;
}

static int batch_refused(struct lfs *l, long status)
{
    bool had = l->cred.kind != PTL_GIT_CRED_NONE || l->ssh_headers[0];
    if (status == 401 || status == 403)
        return ptl_error_set(l->err, -EACCES, "%s: the LFS server %s (HTTP %ld)", l->what,
                             had ? "refused the credentials" : "asks for credentials", status);
    if (status == 404)
        return ptl_error_set(l->err, -ENOENT, "%s: no LFS server there for this repository (HTTP 404)",
                             l->what);
    return ptl_error_set(l->err, status == 429 || status == 503 ? -EAGAIN : -EIO,
                         "%s: the LFS server answered HTTP %ld", l->what, status);
}

static int batch_ask(struct lfs *l, const struct git_lfs_want *wants, size_t n, json_t **ret)
{
    PTL_JSON *ask = json_pack("{s:s, s:[s], s:s, s:[]}", "operation", "download", "transfers", "basic",
                              "hash_algo", "sha256", "objects");
    json_t *objects = json_object_get(ask, "objects");
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            objects, json_pack("{s:s, s:I}", "oid", wants[i].ptr.oid, "size", (json_int_t)wants[i].ptr.size));
    PTL_FREE char *body = ptl_json_text(ask);
    PTL_FREE char *url = ptl_xasprintf("%s/objects/batch", l->endpoint);
    const char *headers[HEADERS_MAX + 3] = {"Accept: application/vnd.git-lfs+json",
                                            "Content-Type: application/vnd.git-lfs+json"};
    for (size_t i = 0; l->ssh_headers[i]; i++)
        headers[i + 2] = l->ssh_headers[i];
    struct git_http_request rq = {.url = url,
                                  .what = l->what,
                                  .credentials = l->ssh_headers[0] ? NULL : &l->cred,
                                  .headers = headers,
                                  .body = body,
                                  .body_len = strlen(body),
                                  .compressed = true};
    struct git_http_answer a = {0};
    int r = git_http_start(l->http, &rq, &a, l->err);
    git_http_answer_done(&a);
    if (r < 0)
        return r;
    if (a.status != 200)
        return batch_refused(l, a.status);
    PTL_BUF text = PTL_BUF_MAX(ANSWER_MAX);
    char buf[16 * 1024];
    ssize_t got;
    while ((got = git_http_read(l->http, buf, sizeof(buf), l->err)) > 0)
        if (ptl_buf_add(&text, buf, (size_t)got) < 0)
            return ptl_error_set(l->err, -EFBIG, "%s: the LFS server's answer is too large", l->what);
    if (got < 0)
        return (int)got;
    r = ptl_json_parse(ptl_buf_str(&text), text.len, "LFS batch answer", ret, l->err);
    return r < 0 ? ptl_error_prefix(l->err, r, "%s", l->what) : 0;
}

static int batch(struct lfs *l, const struct git_lfs_want *wants, size_t n)
{
    PTL_JSON *answer = NULL;
    int r = batch_ask(l, wants, n, &answer);
    if (r < 0)
        return r;
    const char *transfer = ptl_json_str(answer, "transfer", "basic");
    if (strcmp(transfer, "basic") != 0)
        return ptl_error_set(l->err, -EBADMSG,
                             "%s: the LFS server insists on the transfer \"%.40s\", only basic is known",
                             l->what, transfer);
    bool done[BATCH] = {false};
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "objects"), i, o)
    {
        r = batch_object(l, o, wants, n, done);
        if (r < 0)
            return r;
    }
    for (i = 0; i < n; i++)
        if (!done[i])
            return ptl_error_set(l->err, -ENOENT,
                                 "LFS object %s of %s: the server's answer does not mention it",
                                 wants[i].ptr.oid, wants[i].path);
    return 0;
}

/* ---- where to ask ---- */

static char *derived(const struct git_url *repo)
{
    const char *end = ptl_str_ends(repo->shown, ".git") ? "" : ".git";
    if (repo->scheme == PTL_GIT_HTTP || repo->scheme == PTL_GIT_HTTPS)
        return ptl_xasprintf("%s%s/info/lfs", repo->shown, end);
    const char *path = repo->path;
    while (*path == '/')
        path++;
    bool v6 = strchr(repo->host, ':') != NULL;
    return ptl_xasprintf("https://%s%s%s/%s%s/info/lfs", v6 ? "[" : "", repo->host, v6 ? "]" : "", path, end);
}

/* Over ssh the server itself can say where its LFS is and hand out a short-lived token. Absent: guess over
 * https. */
static int ask_by_ssh(struct lfs *l, const struct git_url *repo)
{
    struct ptl_git_credentials cred = {0};
    int r = git_op_credentials(l->op, repo, &cred, l->err);
    if (r < 0)
        return r;
    const char *bare = repo->path;
    while (*bare == '/')
        bare++;
    PTL_FREE char *quoted = git_ssh_quote(repo->scp_like ? repo->path : bare);
    if (!quoted)
        return ptl_error_set(l->err, -ENOMEM, "%s: out of memory", l->what);
    PTL_FREE char *command = ptl_xasprintf("git-lfs-authenticate %s download", quoted);
    PTL_BUF out = PTL_BUF_MAX(64 * 1024);
    struct ptl_error ignored = PTL_ERROR_INIT;
    r = git_ssh_run(l->op, repo, &cred, command, &out, &ignored);
    if (r == -ETIMEDOUT || r == -ECANCELED)
        return ptl_error_set(l->err, r, "%s", ignored.text);
    PTL_JSON *answer = NULL;
    if (r < 0 || ptl_json_parse(ptl_buf_str(&out), out.len, "git-lfs-authenticate", &answer, &ignored) < 0 ||
        !ptl_json_str(answer, "href", NULL))
        return PTL_ABSENT;
    l->endpoint = ptl_xstrdup(ptl_json_str(answer, "href", ""));
    size_t n = 0;
    bool auth = false;
    const json_t *headers = json_object_get(answer, "header");
    return json_is_object(headers) ? headers_from(l, headers, l->ssh_headers, &n, &auth) : 0;
}

static int find_endpoint(struct lfs *l, const struct git_url *repo, const char *operator_url,
                         const char *lfsconfig_url)
{
    const char *given = operator_url ? operator_url : lfsconfig_url;
    int r = 0;
    if (given)
        l->endpoint = ptl_xstrdup(given);
    else if (repo->scheme == PTL_GIT_SSH)
        r = ask_by_ssh(l, repo);
    if (r < 0)
        return r;
    if (!l->endpoint)
        l->endpoint = derived(repo);
    r = git_url_parse(l->endpoint, &l->url, l->err);
    if (r == 0)
        r = git_url_allowed(&l->url, &l->op->policy, l->err);
    if (r < 0)
        return ptl_error_prefix(l->err, r, "LFS endpoint%s",
                                given && !operator_url ? " from .lfsconfig" : "");
    if (!(l->url.scheme & (PTL_GIT_HTTP | PTL_GIT_HTTPS)))
        return ptl_error_set(l->err, -EINVAL, "LFS endpoint %s: http or https is expected", l->url.shown);
    free(l->endpoint);
    l->endpoint = ptl_xstrdup(l->url.shown);
    snprintf(l->what, sizeof(l->what), "LFS of %.300s", l->url.shown);
    bool trusted = operator_url || ptl_str_eq(l->url.host, repo->host);
    bool downgrade = l->url.scheme == PTL_GIT_HTTP && repo->scheme != PTL_GIT_HTTP && !operator_url;
    if (!trusted || downgrade || l->ssh_headers[0])
        return 0;
    r = git_op_credentials(l->op, &l->url, &l->cred, l->err);
    if (r == 0 && l->cred.kind == PTL_GIT_CRED_NONE && repo->user && repo->password &&
        same_origin(repo, &l->url))
        l->cred = (struct ptl_git_credentials){PTL_GIT_CRED_USERPASS, repo->user, repo->password};
    return r;
}

static int fetch_missing(struct lfs *l, const struct git_url *repo, const char *operator_url,
                         const char *lfsconfig_url, const struct git_lfs_want *missing, size_t n)
{
    int r;
    snprintf(l->what, sizeof(l->what), "LFS of %.300s", repo->shown);
    if (repo->scheme == PTL_GIT_FILE && !operator_url && !lfsconfig_url) {
        PTL_FREE char *common = NULL;
        r = git_local_objects_dir(l->op, repo, &common, l->err);
        for (size_t i = 0; r == 0 && i < n; i++)
            r = copy_local(l, common, &missing[i]);
        return r;
    }
    r = find_endpoint(l, repo, operator_url, lfsconfig_url);
    if (r == 0)
        r = git_http_new(l->op, &l->http, l->err);
    for (size_t i = 0; r == 0 && i < n; i += BATCH)
        r = batch(l, missing + i, n - i < BATCH ? n - i : BATCH);
    return r;
}

static int by_oid(const void *a, const void *b)
{
    return strcmp(((const struct git_lfs_want *)a)->ptr.oid, ((const struct git_lfs_want *)b)->ptr.oid);
}

int git_lfs_fetch(struct git_op *op, const char *repo_url, const char *operator_url,
                  const char *lfsconfig_url, const char *store, const struct git_lfs_want *wants, size_t n,
                  uint64_t *ret_downloaded, struct ptl_error *err)
{
    struct lfs l = {.op = op, .store = store, .err = err};
    struct git_url repo = {0};
    PTL_FREE struct git_lfs_want *missing = calloc(n ? n : 1, sizeof(*missing));
    if (!missing)
        return ptl_error_set(err, -ENOMEM, "LFS: out of memory");
    int r = git_url_parse(repo_url, &repo, err);
    if (r < 0)
        return r;
    size_t m = 0;
    memcpy(missing, wants, n * sizeof(*missing));
    if (n > 1)
        qsort(missing, n, sizeof(*missing), by_oid);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (m > 0 && strcmp(missing[m - 1].ptr.oid, missing[i].ptr.oid) == 0)
            continue;
        r = git_op_check(op, "LFS", err);
        if (r == 0 && !store_has(&l, &missing[i].ptr))
            missing[m++] = missing[i];
    }
    if (r == 0 && m > 0)
        r = fetch_missing(&l, &repo, operator_url, lfsconfig_url, missing, m);
    if (r == 0)
        *ret_downloaded += m;
    else
        git_op_scrub(op, err);
    git_http_free(l.http);
    git_url_done(&l.url);
    git_url_done(&repo);
    free(l.endpoint);
    for (size_t i = 0; l.ssh_headers[i]; i++)
        free(l.ssh_headers[i]);
    return r;
}
