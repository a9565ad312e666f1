/* op.c - one running call: its limits, its credentials, its first cause of failure; and the process-wide
 * set-up.
 *
 * Everything below libgit2's callbacks reports here, because libgit2 can only carry a number upward. The
 * first cause wins: what follows it ("early EOF", "failed to read") is its echo. Each struct belongs to one
 * thread. */
#include "git-private.h"
#include <ctype.h>

int ptl_git_init(uint64_t max_object_bytes, struct ptl_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return ptl_error_set(err, -EIO, "git: libcurl cannot be set up");
    if (git_libgit2_init() < 0)
        return ptl_error_set(err, -EIO, "git: libgit2 cannot be set up");
    /* No configuration of this host or account may change what a mirror does (insteadOf, proxies, credential
     * helpers). */
    static const git_config_level_t levels[] = {GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_GLOBAL,
                                                GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_PROGRAMDATA};
    for (size_t i = 0; i < PTL_ARRAY_LEN(levels); i++)
        (void)git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, (int)levels[i], "");
    (void)git_libgit2_opts(GIT_OPT_SET_TEMPLATE_PATH, "");
    /* Local sources belong to other accounts; policy's local_roots is what says that they may be read. */
    (void)git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    (void)git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)(64 << 20));
    (void)git_libgit2_opts(GIT_OPT_SET_MWINDOW_FILE_LIMIT, (size_t)256);
#ifdef PTL_GIT2_HAS_MAX_OBJECT /* against deltas that blow a few bytes up; Debian 12 has it by a security    \
                                  update */
    (void)git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECT_SIZE,
                           (size_t)(max_object_bytes ? max_object_bytes : 2ULL << 30));
#else
    (void)max_object_bytes;
#endif
    return 0;
}

void ptl_git_shutdown(void)
{
    git_libgit2_shutdown();
    curl_global_cleanup();
}

static const struct ptl_git_policy no_policy;

void git_op_init(struct git_op *op, const struct ptl_git_call *call, const struct ptl_git_access *access)
{
    *op = (struct git_op){.call = call, .access = access};
    struct ptl_git_policy *p = &op->policy;
    *p = access && access->policy ? *access->policy : no_policy;
    if (!p->max_repo_bytes)
        p->max_repo_bytes = 20ULL << 30;
    if (!p->max_file_bytes)
        p->max_file_bytes = 1ULL << 30;
    if (!p->max_snapshot_bytes)
        p->max_snapshot_bytes = 4ULL << 30;
    if (!p->max_snapshot_files)
        p->max_snapshot_files = 200000;
    if (!p->max_refs)
        p->max_refs = 200000;
    if (p->deadline_ms <= 0)
        p->deadline_ms = 15 * 60 * 1000;
    if (p->idle_ms <= 0)
        p->idle_ms = 60 * 1000;
    op->deadline = call && call->deadline_mono_ms ? call->deadline_mono_ms : ptl_mono_ms() + p->deadline_ms;
}

void git_op_done(struct git_op *op)
{
    for (size_t i = 0; i < op->n_secrets; i++) {
        explicit_bzero(op->secrets[i], strlen(op->secrets[i]));
        free(op->secrets[i]);
    }
    op->n_secrets = 0;
}

int git_op_check(const struct git_op *op, const char *what, struct ptl_error *err)
{
    if (op->call && op->call->cancelled && atomic_load_explicit(op->call->cancelled, memory_order_relaxed))
        return ptl_error_set(err, -ECANCELED, "%s: cancelled", what);
    if (ptl_mono_ms() >= op->deadline)
        return ptl_error_set(err, -ETIMEDOUT, "%s: not done within its deadline", what);
    return 0;
}

int git_op_tick(const struct git_op *op)
{
    int64_t left = op->deadline - ptl_mono_ms();
    return left < 0 ? 0 : left > GIT_TICK_MS ? GIT_TICK_MS : (int)left;
}

void git_op_secret(struct git_op *op, const char *secret)
{
    if (!secret || strlen(secret) < 4 || op->n_secrets == PTL_ARRAY_LEN(op->secrets))
        return;
    char *copy = strdup(secret);
    if (copy)
        op->secrets[op->n_secrets++] = copy;
}

int git_op_credentials(struct git_op *op, const struct git_url *url, struct ptl_git_credentials *ret,
                       struct ptl_error *err)
{
    struct ptl_git_credentials c = {0};
    if (op->access && op->access->credentials) {
        int r = op->access->credentials(op->access->credentials_ctx, url->shown, &c);
        if (r < 0)
            return ptl_error_set(err, r, "repository %s: its credentials cannot be had", url->shown);
    }
    if (c.kind == PTL_GIT_CRED_NONE && url->user &&
        (url->scheme == PTL_GIT_HTTPS || url->scheme == PTL_GIT_HTTP))
        c = (struct ptl_git_credentials){PTL_GIT_CRED_USERPASS, url->user,
                                         url->password ? url->password : ""};
    git_op_secret(op, url->password);
    bool http = url->scheme == PTL_GIT_HTTPS || url->scheme == PTL_GIT_HTTP;
    bool key = c.kind == PTL_GIT_CRED_SSH_KEY || c.kind == PTL_GIT_CRED_SSH_KEY_FILE;
    if (c.kind != PTL_GIT_CRED_NONE && !c.secret)
        return ptl_error_set(err, -EINVAL, "repository %s: credentials without a secret", url->shown);
    if ((http && key) || (url->scheme == PTL_GIT_SSH && c.kind != PTL_GIT_CRED_NONE && !key))
        return ptl_error_set(err, -EINVAL, "repository %s: %s", url->shown,
                             http ? "an SSH key is of no use over http; give a token or a password"
                                  : "over ssh only a key works; give an SSH key");
    if (c.kind != PTL_GIT_CRED_SSH_KEY_FILE)
        git_op_secret(op, c.secret);
    *ret = c;
    return 0;
}

static void blank_all(char *text, const char *what)
{
    size_t n = strlen(what);
    for (char *p = text; (p = strstr(p, what));) {
        memcpy(p, "***", 3); /* secrets have at least 4 bytes */
        memmove(p + 3, p + n, strlen(p + n) + 1);
        p += 3;
    }
}

void git_op_scrub(const struct git_op *op, struct ptl_error *err)
{
    if (!err)
        return;
    for (size_t i = 0; i < op->n_secrets; i++)
        blank_all(err->text, op->secrets[i]);
    for (char *p = err->text; (p = strstr(p, "://"));) {
        p += 3;
        size_t n = strcspn(p, "/?# \"'\t");
        for (size_t i = n; i-- > 0;)
            if (p[i] == '@') {
                memmove(p, p + i + 1, strlen(p + i + 1) + 1);
                break;
            }
    }
}

static int code_of(int r, int klass)
{
    switch (r) {
    case GIT_EEOF: /* the other side went away in the middle */
        return -EIO;
    case GIT_ENOTFOUND:
        return -ENOENT;
    case GIT_EAUTH:
        return -EACCES;
    case GIT_EINVALIDSPEC:
    case GIT_EAMBIGUOUS:
        return -EINVAL;
    default:
        break;
    }
    switch (klass) {
    case GIT_ERROR_NOMEMORY:
        return -ENOMEM;
    case GIT_ERROR_OS:
    case GIT_ERROR_FILESYSTEM:
        return -EIO;
    default: /* object database, zlib, indexer, protocol, parsers: the bytes are not what git writes */
        return -EBADMSG;
    }
}

int git_fail(struct git_op *op, int r, const char *what, struct ptl_error *err)
{
    const git_error *e = git_error_last();
    int code = code_of(r, e ? e->klass : 0);
    if (op->why.code) {
        code = op->why.code;
        ptl_error_set(err, code, "%s", op->why.text);
    } else {
        const char *text = e && e->message && *e->message ? e->message : "libgit2 gave no reason";
        if (strstr(text, "remote error: ") &&
            (strstr(text, "not exported") || strstr(text, "no such repository")))
            code = -ENOENT;
        ptl_error_set(err, code, "%s: %s", what, text);
    }
    git_op_scrub(op, err);
    return code;
}
