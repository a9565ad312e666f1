/* git-private.h - what the files of daemon/git share; nothing here is for callers. */
#ifndef PTL_GIT_PRIVATE_H
#define PTL_GIT_PRIVATE_H
#include "git.h"
#include <curl/curl.h>
#include <git2.h>
#include <git2/sys/transport.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <sys/socket.h>

enum {
    GIT_TICK_MS = 200,                       /* how late a cancel may be seen while waiting */
    GIT_SMALL_ANSWER_MAX = 64 * 1024 * 1024, /* ref advertisements, LFS batch answers */
};

/* ---- url.c ---- */

struct git_url {
    enum ptl_git_scheme scheme;
    char *user, *password; /* from the userinfo, decoded; NULL */
    char *host;            /* lower case; IPv6 without brackets; NULL for local */
    unsigned port;         /* 0: the scheme's own */
    char *path;            /* as sent to the server; for local the absolute path */
    char *shown;           /* redacted, for people and for requests: no userinfo, no query */
    bool scp_like;         /* git@host:path - path relative to the home directory of the account */
};
PTL_NODISCARD int git_url_parse(const char *text, struct git_url *ret, struct ptl_error *err);
void git_url_done(struct git_url *u);
PTL_NODISCARD int git_url_allowed(const struct git_url *u, const struct ptl_git_policy *p,
                                  struct ptl_error *err);
/* "../lib.git" against "https://host/group/app.git". Caller frees *ret. */
PTL_NODISCARD int git_url_join(const char *base, const char *relative, char **ret, struct ptl_error *err);
bool git_address_is_public(const struct sockaddr *sa);

/* ---- op.c: one running call ---- */

struct git_op {
    const struct ptl_git_call *call;
    struct ptl_git_policy policy; /* defaults filled in */
    const struct ptl_git_access *access;
    int64_t deadline;     /* ptl_mono_ms() scale, never 0 */
    struct ptl_error why; /* the first cause, set below libgit2's callbacks */
    char *secrets[8];     /* copies, to be scrubbed from texts */
    size_t n_secrets;
};
void git_op_init(struct git_op *op, const struct ptl_git_call *call, const struct ptl_git_access *access);
void git_op_done(struct git_op *op);
/* 0, or -ETIMEDOUT / -ECANCELED with err naming `what`. */
PTL_NODISCARD int git_op_check(const struct git_op *op, const char *what, struct ptl_error *err);
/* ms until the deadline, at most GIT_TICK_MS, at least 0. */
int git_op_tick(const struct git_op *op);
/* Asks the caller's function, else takes the URL's userinfo; remembers the secrets. */
PTL_NODISCARD int git_op_credentials(struct git_op *op, const struct git_url *url,
                                     struct ptl_git_credentials *ret, struct ptl_error *err);
void git_op_secret(struct git_op *op, const char *secret);
/* Replaces secrets and "://user:pass@" in the text. */
void git_op_scrub(const struct git_op *op, struct ptl_error *err);
/* After a libgit2 call failed with r: op->why if set, else libgit2's own sentence; "what: …". */
int git_fail(struct git_op *op, int r, const char *what, struct ptl_error *err);

/* ---- http.c: libcurl with our limits ---- */

struct git_http; /* one keep-alive client */
struct git_http_request {
    const char *url;                               /* without userinfo */
    const char *what;                              /* for texts: the repository or the LFS object */
    const struct ptl_git_credentials *credentials; /* NULL or kind none: anonymous */
    const char *const *headers;                    /* NULL-ended "Name: value" */
    const void *body;                              /* POST when not NULL; borrowed until the answer is read */
    size_t body_len;
    bool compressed; /* ask for gzip */
};
struct git_http_answer {
    long status;
    char content_type[128];
    char *location; /* absolute; NULL without */
    int64_t length; /* -1 unknown */
};
PTL_NODISCARD int git_http_new(struct git_op *op, struct git_http **ret, struct ptl_error *err);
struct git_http *git_http_free(struct git_http *h);
PTL_DEFINE_FREEP(struct git_http, git_http_free)
/* Sends and waits for the answer's headers; ends the request before, if any. */
PTL_NODISCARD int git_http_start(struct git_http *h, const struct git_http_request *rq,
                                 struct git_http_answer *ret, struct ptl_error *err);
/* Up to `size` bytes of the body; 0 at its end. */
PTL_NODISCARD ssize_t git_http_read(struct git_http *h, void *buf, size_t size, struct ptl_error *err);
void git_http_answer_done(struct git_http_answer *a);
/* A connected, non-blocking TCP socket under the same address rules. Caller closes. */
PTL_NODISCARD int git_tcp_connect(struct git_op *op, const char *host, unsigned port, const char *what,
                                  int *ret_fd, struct ptl_error *err);
/* An address of the host that the policy allows, as text ("" with a policy that allows all: leave it to the
 * peer). */
PTL_NODISCARD int git_resolve_host(struct git_op *op, const char *host, const char *what, char *ret,
                                   size_t size, struct ptl_error *err);

/* ---- transport.c: libgit2 subtransports over the above ---- */

struct git_remote_ctx {
    struct git_op *op;
    const struct git_url *url;
    struct ptl_git_credentials credentials;
    git_smart_subtransport_definition definition;
};
/* For git_remote_callbacks.transport with a git_remote_ctx as its payload. */
int git_transport_make(git_transport **out, git_remote *owner, void *payload);
/* Runs `command` ("git-lfs-authenticate 'x' download") on the ssh host and collects stdout. */
PTL_NODISCARD int git_ssh_run(struct git_op *op, const struct git_url *url,
                              const struct ptl_git_credentials *cred, const char *command,
                              struct ptl_buf *ret, struct ptl_error *err);
/* Single quotes for the remote side's shell; caller frees. */
char *git_ssh_quote(const char *s);

/* ---- mirror.c, mirror_local.c, refs.c ---- */

struct git_tip {
    char *name;
    git_oid oid;
};
struct git_tips {
    struct git_tip *v;
    size_t n, cap;
    char *head; /* full name of the default branch; NULL unknown */
};
void git_tips_done(struct git_tips *t);
PTL_NODISCARD int git_tips_add(struct git_tips *t, const char *name, const git_oid *oid);
void git_tips_sort(struct git_tips *t);
/* refs/heads and refs/tags of an open repository, sorted. Returns 0 or libgit2's code. */
PTL_NODISCARD int git_tips_read(git_repository *repo, struct git_tips *ret);
bool git_tips_equal(const struct git_tips *a, const struct git_tips *b);
bool git_tips_wanted(const char *ref);

struct git_local_stats {
    uint64_t bytes, objects_files;
};
/* Copies packs, loose objects of the repository at `url` into dir/objects until the set is stable; fills
 * ret_tips. `have` (sorted, may be empty): when the source's tips equal it nothing is copied and
 * *ret_unchanged is set. */
PTL_NODISCARD int git_local_copy(struct git_op *op, const struct git_url *url, const char *dir,
                                 const struct git_tips *have, struct git_tips *ret_tips, bool *ret_unchanged,
                                 struct git_local_stats *ret_stats, struct ptl_error *err);
/* Deletes packs and loose objects of the mirror that the source does not hold any more, when they are the
 * larger part. */
void git_local_trim(const struct git_url *url, const char *mirror_dir);
PTL_NODISCARD int git_local_objects_dir(struct git_op *op, const struct git_url *url, char **ret_common_dir,
                                        struct ptl_error *err);

struct git_reader {
    git_repository *repo;
    int use_fd; /* shared lock: the mirror is not replaced or trimmed while it is open */
};
PTL_NODISCARD int git_reader_open(struct git_op *op, const char *mirror_dir, struct git_reader *ret,
                                  struct ptl_error *err);
void git_reader_done(struct git_reader *r);
/* Says that objects are missing or damaged: the next fetch makes the mirror anew. */
void git_mirror_mark_damaged(const char *mirror_dir);
PTL_NODISCARD int git_lock_file(struct git_op *op, const char *path, int how, const char *what, int *ret_fd,
                                struct ptl_error *err);
/* git_commit_lookup and git_tree_lookup for objects that anybody may have pushed: one that is larger than any
 * real one is refused before it is unpacked into memory. Return libgit2's codes. */
PTL_NODISCARD int git_get_commit(git_commit **ret, git_repository *repo, const git_oid *oid);
PTL_NODISCARD int git_get_tree(git_tree **ret, git_repository *repo, const git_oid *oid);
PTL_NODISCARD int git_get_any(git_object **ret, git_repository *repo, const git_oid *oid);
/* A full sha in text to an oid; -EINVAL with err. */
PTL_NODISCARD int git_sha_parse(const char *sha, git_oid *ret, struct ptl_error *err);

/* ---- ini.c: .gitmodules and .lfsconfig, untrusted ---- */

/* Calls fn for each "key = value" with the section ("submodule"), subsection (or "") and key, lower case
 * where git folds. */
typedef int git_ini_fn(void *ctx, const char *section, const char *sub, const char *key, const char *value);
PTL_NODISCARD int git_ini_parse(const char *text, size_t len, git_ini_fn *fn, void *ctx,
                                struct ptl_error *err);

/* ---- lfs.c ---- */

struct git_lfs_pointer {
    char oid[PTL_SHA256_HEX];
    uint64_t size;
};
bool git_lfs_parse(const char *data, size_t len, struct git_lfs_pointer *ret);
struct git_lfs_want {
    struct git_lfs_pointer ptr;
    const char *path; /* in the tree, for texts */
};
/* Makes sure that each object is in the store, verified. `lfsconfig_url` NULL or untrusted text. */
PTL_NODISCARD int git_lfs_fetch(struct git_op *op, const char *repo_url, const char *operator_url,
                                const char *lfsconfig_url, const char *store,
                                const struct git_lfs_want *wants, size_t n, uint64_t *ret_downloaded,
                                struct ptl_error *err);
char *git_lfs_store_path(const char *store, const char *oid); /* caller frees */
#endif
