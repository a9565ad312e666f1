/* git.h - mirrors of the registered repositories, and everything read out of them.
 *
 * All calls block and belong on worker threads; no handle is shared, so any number of threads may call at
 * once, also on the same mirror (a fetch takes the mirror's lock alone, readers keep going beside it).
 * ptl_git_init() comes first. Every call takes a `ptl_git_call`: the deadline and the flag by which another
 * thread ends it.
 *
 * Failures are negative errno with a sentence that names the repository without its credentials:
 *
 *   -ENOENT     no such repository, ref, commit or path
 *   -ENODATA    the repository has no commits yet
 *   -EACCES     credentials missing or refused, unknown host key, certificate not trusted
 *   -EPERM      the policy does not allow it
 *   -ETIMEDOUT  deadline passed, or the server was silent
 *   -ECANCELED  cancelled
 *   -EAGAIN     the server is overloaded or limits us
 *   -EFBIG      larger than the policy allows
 *   -EBADMSG    corrupt data, or a server that does not speak git
 *   -EINVAL     malformed name, revision or URL
 *   others      the system's (connection refused, disk full, …) */
#ifndef PTL_GIT_H
#define PTL_GIT_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <portolan/hash.h>
#include <stdatomic.h>

enum { PTL_GIT_SHA_HEX = 41 /* with NUL */ };

/* Process-wide set-up of libgit2 and libcurl. Main thread, before any other call, once. Deltas of a fetched
 * pack that unpack to more than max_object_bytes (0: 2 GiB) are refused, where libgit2 can (Debian 12's can).
 */
PTL_NODISCARD int ptl_git_init(uint64_t max_object_bytes, struct ptl_error *err);
void ptl_git_shutdown(void);

struct ptl_git_call {
    int64_t deadline_mono_ms;     /* ptl_mono_ms() scale; 0: the policy's deadline_ms from the call's start */
    const atomic_bool *cancelled; /* NULL: cannot be cancelled; seen within 200 ms of waiting */
};

/* ---- what is allowed ---- */

enum ptl_git_scheme {
    PTL_GIT_HTTPS = 1 << 0,
    PTL_GIT_SSH = 1 << 1,
    PTL_GIT_GIT = 1 << 2,  /* git://: neither secret nor authentic */
    PTL_GIT_FILE = 1 << 3, /* file:// and /absolute/path, inside of local_roots only */
    PTL_GIT_HTTP = 1 << 4, /* credentials in clear */
};

/* Borrowed for the call. 0 or NULL means the default named at the field. Host names are lower case; lists end
 * with NULL. Whoever can push to a local repository can have any other one below the same local_roots as a
 * submodule: give each tenant roots of his own. */
struct ptl_git_policy {
    unsigned schemes;               /* bits; HTTPS and SSH */
    const char *const *hosts;       /* globs; any host */
    const char *const *lfs_hosts;   /* globs of more hosts that may hold LFS objects; any host */
    const char *const *local_roots; /* absolute directories; no local repository at all */
    bool allow_private_addresses;   /* else hosts at loopback, link-local or private addresses are refused */
    uint64_t max_repo_bytes;        /* received in one fetch, and of a local source; 20 GiB */
    uint64_t max_file_bytes;        /* one file of a snapshot; git blobs are held in memory; 1 GiB */
    uint64_t max_snapshot_bytes;    /* all files of a snapshot; 4 GiB */
    uint64_t max_snapshot_files;    /* 200000 */
    uint64_t max_refs;              /* advertised by a server; 200000 */
    int64_t deadline_ms;            /* of one call; 15 minutes */
    int64_t idle_ms;                /* without one byte from the server; 60 s */
    const char *ssh_known_hosts;    /* a host key not in it is refused; /etc/ssh/ssh_known_hosts */
    const char *ssh_program;        /* "ssh" (OpenSSH; libssh2 of Debian 12 cannot sign rsa-sha2) */
    const char *ca_file;            /* PEM; the system's */
    const char *proxy;              /* for http(s); it, not we, then reaches the addresses; none */
};

/* 0 when a repository at `url` may be asked for at all: form, scheme, host, local root. No network. */
PTL_NODISCARD int ptl_git_url_check(const char *url, const struct ptl_git_policy *policy,
                                    struct ptl_error *err);
/* The URL as it may be shown: no user, password or query. Caller frees; NULL when out of memory. */
char *ptl_git_url_redacted(const char *url);

enum ptl_git_cred_kind {
    PTL_GIT_CRED_NONE,
    PTL_GIT_CRED_TOKEN,  /* Basic, the token as password; user NULL: "x-access-token", which forges take */
    PTL_GIT_CRED_BEARER, /* Authorization: Bearer */
    PTL_GIT_CRED_USERPASS,
    PTL_GIT_CRED_SSH_KEY_FILE, /* secret: path of a private key without passphrase */
    PTL_GIT_CRED_SSH_KEY,      /* secret: the private key itself; never touches the disk */
};
struct ptl_git_credentials {
    enum ptl_git_cred_kind kind;
    const char *user, *secret; /* borrowed until the API call that asked returns */
};
/* Asked for each repository and LFS endpoint with the redacted URL: look at it, it may be a submodule's on
 * another host. *ret is zeroed. Returns 0 or negative
 * (the call fails). */
typedef int ptl_git_cred_fn(void *ctx, const char *url, struct ptl_git_credentials *ret);

struct ptl_git_access {
    const struct ptl_git_policy *policy;
    ptl_git_cred_fn *credentials; /* NULL: none, except what the URL itself carries */
    void *credentials_ctx;
};

/* ---- mirrors ---- */

struct ptl_git_ref_change {
    char *ref;                                            /* full name */
    char before[PTL_GIT_SHA_HEX], after[PTL_GIT_SHA_HEX]; /* all zero: created, deleted */
};
struct ptl_git_fetch_result {
    uint64_t received_bytes, received_objects; /* over the wire, or copied from a local repository */
    bool created;                              /* there was no usable mirror before */
    bool repaired;                             /* there was one, damaged, and it was made anew */
    bool unchanged;                            /* nothing moved on the server */
    struct ptl_git_ref_change *changes;        /* in order of names; the first 10000 */
    size_t n_changes, n_changes_left_out;
};
void ptl_git_fetch_result_done(struct ptl_git_fetch_result *r);

/* Makes or updates the bare mirror `mirror_dir` (its parent exists; "<mirror_dir>.lock", ".use" and
 * ".partial" beside it belong to it too) so that refs/heads and refs/tags equal the repository's; HEAD names
 * its default branch. All refs change at one instant. A failure leaves the mirror as it was. */
PTL_NODISCARD int ptl_git_mirror_fetch(const struct ptl_git_call *call, const char *mirror_dir,
                                       const char *url, const struct ptl_git_access *access,
                                       struct ptl_git_fetch_result *ret, struct ptl_error *err);
/* Deletes a mirror after its readers and fetches are done. Absent is success. */
PTL_NODISCARD int ptl_git_mirror_remove(const struct ptl_git_call *call, const char *mirror_dir,
                                        struct ptl_error *err);

struct ptl_git_commit {
    char sha[PTL_GIT_SHA_HEX];
    char *author_name, *author_email; /* as in the repository, perhaps not UTF-8; */
    char *message;                    /* control bytes but newline and tab are '?' in all three */
    int64_t time_wall_ms;             /* of the committer */
    size_t n_parents;
    char (*parents)[PTL_GIT_SHA_HEX];
};
void ptl_git_commit_done(struct ptl_git_commit *c);

/* True for a name git would accept ("refs/heads/x", "main"): no "..", control bytes, space, ~^:?*[\, ".lock"
 * end. No I/O. */
bool ptl_git_ref_is_valid(const char *name);

/* `rev`: full or abbreviated (at least 4) sha, full ref name, branch or tag name, HEAD; tags are peeled.
 * Nothing of git's revision operators. Never fetches. */
PTL_NODISCARD int ptl_git_resolve(const struct ptl_git_call *call, const char *mirror_dir, const char *rev,
                                  struct ptl_git_commit *ret, struct ptl_error *err);

/* Is this commit (40 digits) what the branch or tag points to, or one of its ancestors? -ENOENT: no such ref.
 */
PTL_NODISCARD int ptl_git_is_on_ref(const struct ptl_git_call *call, const char *mirror_dir, const char *ref,
                                    const char *sha, bool *ret, struct ptl_error *err);

/* In order of names. Non-zero from `fn` stops and is returned. `commit` is the peeled tip, or "" when it is
 * no commit. */
typedef int ptl_git_ref_fn(void *ctx, const char *ref, const char *commit);
PTL_NODISCARD int ptl_git_list_refs(const struct ptl_git_call *call, const char *mirror_dir,
                                    ptl_git_ref_fn *fn, void *ctx, struct ptl_error *err);

/* Paths (bytes, perhaps not UTF-8) that differ between two commits, both sides of a rename. Returns 0,
 * PTL_FULL when cut after `max` paths, or PTL_ABSENT when `before` is all zero, NULL or not in the mirror
 * (new branch, forced push): then nothing is called and everything is to be taken as changed. Non-zero from
 * `fn` stops and is returned. */
typedef int ptl_git_path_fn(void *ctx, const char *path);
PTL_NODISCARD int ptl_git_changed_paths(const struct ptl_git_call *call, const char *mirror_dir,
                                        const char *before, const char *after, size_t max,
                                        ptl_git_path_fn *fn, void *ctx, struct ptl_error *err);

/* Appends the difference between two commits as `git diff` writes it, of those paths that `rank` gives a rank
 * below 100: lowest rank first, then by name. At most `max_file` bytes of one file and `max` of all: *ret_cut
 * counts the files that were cut or left out for it (may be NULL). Binary files, those above 1 MiB and LFS
 * pointers are named only. Returns 0, or PTL_ABSENT as ptl_git_changed_paths(). */
typedef int ptl_git_rank_fn(const char *path);
PTL_NODISCARD int ptl_git_diff(const struct ptl_git_call *call, const char *mirror_dir, const char *before,
                               const char *after, ptl_git_rank_fn *rank, size_t max_file, size_t max,
                               struct ptl_buf *ret, size_t *ret_cut, struct ptl_error *err);

/* Appends the file to `ret`. PTL_ABSENT: the commit has no such file. -EFBIG above max_bytes. */
PTL_NODISCARD int ptl_git_read_file(const struct ptl_git_call *call, const char *mirror_dir,
                                    const char *commit, const char *path, size_t max_bytes,
                                    struct ptl_buf *ret, struct ptl_error *err);

/* Commits reachable from `after` and not from `before`, newest first. Returns 0, PTL_FULL when cut after
 * `max`, PTL_ABSENT as ptl_git_changed_paths(). The commit is borrowed for the call of `fn`. */
typedef int ptl_git_log_fn(void *ctx, const struct ptl_git_commit *commit);
PTL_NODISCARD int ptl_git_log_between(const struct ptl_git_call *call, const char *mirror_dir,
                                      const char *before, const char *after, size_t max, ptl_git_log_fn *fn,
                                      void *ctx, struct ptl_error *err);

/* A .mailmap: who an author really is. NULL is a map that changes nothing. */
struct ptl_git_mailmap;
struct ptl_git_mailmap *ptl_git_mailmap_new(const char *text, size_t len); /* NULL: empty, or not one */
void ptl_git_mailmap_free(struct ptl_git_mailmap *map);
/* Both copies are the caller's and never NULL; an absent name is "". */
void ptl_git_mailmap_resolve(const struct ptl_git_mailmap *map, const char *name, const char *email,
                             char **ret_name, char **ret_email);

/* ---- snapshots ---- */

struct ptl_git_snapshot_options {
    const char *url;           /* the repository's: base of relative submodules and LFS; may carry userinfo */
    bool lfs;                  /* replace LFS pointers by objects; else they stay and a warning says so */
    const char *lfs_url;       /* the operator's endpoint; NULL: .lfsconfig, else derived from url */
    const char *lfs_store;     /* directory, kept between calls, one per project; needed with lfs */
    bool submodules;           /* else left out with a warning */
    const char *submodule_dir; /* directory of their mirrors, kept between calls; needed with submodules */
    unsigned submodule_depth;  /* 0: 3; at most 10 */
};
struct ptl_git_snapshot_result {
    char sha256[PTL_SHA256_HEX];
    uint64_t size_bytes; /* of the archive */
    uint64_t files, content_bytes, lfs_files, lfs_downloaded;
    char **warnings; /* sentences about what was left out; the first 20 */
    size_t n_warnings, n_warnings_left_out;
};
void ptl_git_snapshot_result_done(struct ptl_git_snapshot_result *r);

/* Writes the tree of `commit` (full sha) as a .tar.zst to `out_path`: blobs byte for byte (no line-end
 * conversion, no filters but LFS), links that stay in the tree. Same commit, same bytes. On failure nothing
 * is left at out_path. */
PTL_NODISCARD int ptl_git_snapshot(const struct ptl_git_call *call, const char *mirror_dir,
                                   const char *commit, const struct ptl_git_snapshot_options *options,
                                   const struct ptl_git_access *access, const char *out_path,
                                   struct ptl_git_snapshot_result *ret, struct ptl_error *err);
#endif
