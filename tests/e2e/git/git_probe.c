/* git_probe.c - daemon/git for tests: one call as JSON on stdin, its answer as JSON on stdout.
 *
 *   {"call":"fetch","mirror":"…","url":"…","policy":{…},"credentials":{"kind":"token","user":"…","secret":"…"},"deadline_ms":…}
 * Answers always have "r"; on failure "errno" (name) and "error". "cancel_on_read" cancels from another
 * thread as soon as stdin of the probe is closed, which is how a test cancels without a clock. */
#include "git.h"
#include <errno.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/json.h>
#include <pthread.h>
#include <stdio.h>

static atomic_bool cancelled;
static const json_t *in;
static struct ptl_git_call call;

static const char *text(const json_t *j, const char *key)
{
    return ptl_json_str(j, key, NULL);
}

static const char **list(const json_t *j, const char *key)
{
    const json_t *a = json_object_get(j, key);
    if (!json_is_array(a))
        return NULL;
    const char **v = ptl_xcalloc(json_array_size(a) + 1, sizeof(*v));
    for (size_t i = 0; i < json_array_size(a); i++)
        v[i] = json_string_value(json_array_get(a, i));
    return v;
}

static unsigned schemes(const json_t *j)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {
        {"https", PTL_GIT_HTTPS},
        {"ssh",   PTL_GIT_SSH  },
        {"git",   PTL_GIT_GIT  },
        {"file",  PTL_GIT_FILE },
        {"http",  PTL_GIT_HTTP }
    };
    unsigned bits = 0;
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(j, "schemes"), i, s)
    {
        for (size_t k = 0; k < PTL_ARRAY_LEN(names); k++)
            if (strcmp(names[k].name, json_string_value(s)) == 0)
                bits |= names[k].bit;
    }
    return bits;
}

/* "credentials" may be an object, or a list of {"prefix":…,…} of which the first that fits the URL counts. */
static int credentials(void *ctx, const char *url, struct ptl_git_credentials *ret)
{
    static const char *const kinds[] = {"none", "token", "bearer", "userpass", "ssh_key_file", "ssh_key"};
    const json_t *c = ctx;
    if (json_is_array(c)) {
        size_t i;
        json_t *one;
        json_array_foreach((json_t *)(uintptr_t)c, i, one)
        {
            if (ptl_str_starts(url, ptl_json_str(one, "prefix", "?"))) {
                c = one;
                break;
            }
        }
    }
    for (size_t i = 0; i < PTL_ARRAY_LEN(kinds); i++)
        if (ptl_str_eq(kinds[i], ptl_json_str(c, "kind", "none")))
            ret->kind = (enum ptl_git_cred_kind)i;
    ret->user = text(c, "user");
    ret->secret = text(c, "secret");
    return 0;
}

static struct ptl_git_policy policy_of(const json_t *p)
{
    return (struct ptl_git_policy){
        .schemes = schemes(p),
        .hosts = list(p, "hosts"),
        .lfs_hosts = list(p, "lfs_hosts"),
        .local_roots = list(p, "local_roots"),
        .allow_private_addresses = ptl_json_flag(p, "allow_private_addresses", false),
        .max_repo_bytes = (uint64_t)ptl_json_i64(p, "max_repo_bytes", 0),
        .max_file_bytes = (uint64_t)ptl_json_i64(p, "max_file_bytes", 0),
        .max_snapshot_bytes = (uint64_t)ptl_json_i64(p, "max_snapshot_bytes", 0),
        .max_snapshot_files = (uint64_t)ptl_json_i64(p, "max_snapshot_files", 0),
        .max_refs = (uint64_t)ptl_json_i64(p, "max_refs", 0),
        .deadline_ms = ptl_json_i64(p, "deadline_ms", 0),
        .idle_ms = ptl_json_i64(p, "idle_ms", 0),
        .ssh_known_hosts = text(p, "ssh_known_hosts"),
        .ssh_program = text(p, "ssh_program"),
        .ca_file = text(p, "ca_file"),
        .proxy = text(p, "proxy"),
    };
}

static json_t *str(const char *s)
{
    PTL_FREE char *utf8 = ptl_json_text_utf8(s, strlen(s));
    return json_string(utf8);
}

static json_t *commit_json(const struct ptl_git_commit *c)
{
    json_t *parents = json_array();
    for (size_t i = 0; i < c->n_parents; i++)
        json_array_append_new(parents, json_string(c->parents[i]));
    return json_pack("{s:s, s:o, s:o, s:o, s:I, s:o}", "sha", c->sha, "author_name", str(c->author_name),
                     "author_email", str(c->author_email), "message", str(c->message), "time",
                     (json_int_t)c->time_wall_ms, "parents", parents);
}

static int on_ref(void *ctx, const char *ref, const char *commit)
{
    return json_array_append_new(ctx, json_pack("[o, s]", str(ref), commit));
}

static int on_path(void *ctx, const char *path)
{
    return json_array_append_new(ctx, str(path));
}

static int on_log(void *ctx, const struct ptl_git_commit *c)
{
    return json_array_append_new(ctx, commit_json(c));
}

static int do_fetch(const struct ptl_git_access *access, json_t *out, struct ptl_error *err)
{
    struct ptl_git_fetch_result f = {0};
    int r = ptl_git_mirror_fetch(&call, text(in, "mirror"), text(in, "url"), access, &f, err);
    if (r < 0)
        return r;
    json_t *changes = json_array();
    for (size_t i = 0; i < f.n_changes; i++)
        json_array_append_new(
            changes, json_pack("[o, s, s]", str(f.changes[i].ref), f.changes[i].before, f.changes[i].after));
    json_object_update_new(out,
                           json_pack("{s:I, s:I, s:b, s:b, s:b, s:o, s:I}", "bytes",
                                     (json_int_t)f.received_bytes, "objects", (json_int_t)f.received_objects,
                                     "created", f.created, "repaired", f.repaired, "unchanged", f.unchanged,
                                     "changes", changes, "left_out", (json_int_t)f.n_changes_left_out));
    ptl_git_fetch_result_done(&f);
    return r;
}

static int do_snapshot(const struct ptl_git_access *access, json_t *out, struct ptl_error *err)
{
    struct ptl_git_snapshot_options o = {
        .url = text(in, "url"),
        .lfs = ptl_json_flag(in, "lfs", false),
        .lfs_url = text(in, "lfs_url"),
        .lfs_store = text(in, "lfs_store"),
        .submodules = ptl_json_flag(in, "submodules", false),
        .submodule_dir = text(in, "submodule_dir"),
        .submodule_depth = (unsigned)ptl_json_i64(in, "submodule_depth", 0),
    };
    struct ptl_git_snapshot_result s = {0};
    int r =
        ptl_git_snapshot(&call, text(in, "mirror"), text(in, "commit"), &o, access, text(in, "out"), &s, err);
    if (r < 0)
        return r;
    json_t *warnings = json_array();
    for (size_t i = 0; i < s.n_warnings; i++)
        json_array_append_new(warnings, str(s.warnings[i]));
    json_object_update_new(out,
                           json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "sha256", s.sha256, "size",
                                     (json_int_t)s.size_bytes, "files", (json_int_t)s.files, "bytes",
                                     (json_int_t)s.content_bytes, "lfs_files", (json_int_t)s.lfs_files,
                                     "lfs_downloaded", (json_int_t)s.lfs_downloaded, "warnings", warnings));
    ptl_git_snapshot_result_done(&s);
    return r;
}

static int do_call(const char *name, const struct ptl_git_access *access, json_t *out, struct ptl_error *err)
{
    const char *mirror = text(in, "mirror"), *before = text(in, "before"), *after = text(in, "after");
    size_t max = (size_t)ptl_json_i64(in, "max", 100000);
    if (strcmp(name, "fetch") == 0)
        return do_fetch(access, out, err);
    if (strcmp(name, "snapshot") == 0)
        return do_snapshot(access, out, err);
    if (strcmp(name, "url_check") == 0)
        return ptl_git_url_check(text(in, "url"), access->policy, err);
    if (strcmp(name, "remove") == 0)
        return ptl_git_mirror_remove(&call, mirror, err);
    if (strcmp(name, "resolve") == 0) {
        struct ptl_git_commit c = {0};
        int r = ptl_git_resolve(&call, mirror, text(in, "rev"), &c, err);
        if (r == 0)
            json_object_set_new(out, "commit", commit_json(&c));
        ptl_git_commit_done(&c);
        return r;
    }
    if (strcmp(name, "read_file") == 0) {
        PTL_BUF b = PTL_BUF_INIT;
        int r = ptl_git_read_file(&call, mirror, text(in, "commit"), text(in, "path"), max, &b, err);
        PTL_FREE char *utf8 = ptl_json_text_utf8(ptl_buf_str(&b), b.len);
        json_object_set_new(out, "text", json_string(utf8));
        return r;
    }
    json_t *items = json_array();
    json_object_set_new(out, "items", items);
    if (strcmp(name, "list_refs") == 0)
        return ptl_git_list_refs(&call, mirror, on_ref, items, err);
    if (strcmp(name, "changed_paths") == 0)
        return ptl_git_changed_paths(&call, mirror, before, after, max, on_path, items, err);
    if (strcmp(name, "log_between") == 0)
        return ptl_git_log_between(&call, mirror, before, after, max, on_log, items, err);
    return ptl_error_set(err, -EINVAL, "unknown call \"%s\"", name);
}

static void *watch_stdin(void *arg)
{
    (void)arg;
    (void)getchar(); /* the end of stdin, or a byte */
    atomic_store(&cancelled, true);
    return NULL;
}

/* Of this program alone; getrusage() also counts what it was before exec. */
static long peak_kib(void)
{
    PTL_BUF b = PTL_BUF_INIT;
    const char *at = ptl_fs_read("/proc/self/status", 65536, &b, NULL) == 0 ? strstr(b.data, "VmHWM:") : NULL;
    return at ? strtol(at + 6, NULL, 10) : 0;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = getline(&line, &cap, stdin);
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *ask = NULL;
    if (n < 0 || ptl_json_parse(line, (size_t)n, "stdin", &ask, &err) < 0 ||
        ptl_git_init((uint64_t)ptl_json_i64(ask, "max_object_bytes", 0), &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    in = ask;
    struct ptl_git_policy policy = policy_of(json_object_get(ask, "policy"));
    struct ptl_git_access access = {&policy, credentials, json_object_get(ask, "credentials")};
    int64_t deadline_ms = ptl_json_i64(ask, "deadline_ms", 0);
    if (deadline_ms)
        call.deadline_mono_ms = ptl_mono_ms() + deadline_ms;
    call.cancelled = &cancelled;
    pthread_t watcher;
    if (ptl_json_flag(ask, "cancel_on_eof", false))
        pthread_create(&watcher, NULL, watch_stdin, NULL);
    PTL_JSON *out = json_object();
    int64_t begin = ptl_mono_us();
    int r = do_call(ptl_json_str(ask, "call", ""), &access, out, &err);
    json_object_set_new(out, "us", json_integer(ptl_mono_us() - begin));
    json_object_set_new(out, "r", json_integer(r));
    if (r < 0) {
        json_object_set_new(out, "errno", json_string(strerrorname_np(-r)));
        json_object_set_new(out, "error", str(err.text));
        if (err.code != r)
            json_object_set_new(out, "error_code", json_integer(err.code));
    }
    json_object_set_new(out, "max_rss_kib", json_integer(peak_kib()));
    PTL_FREE char *answer = ptl_json_text(out);
    puts(answer);
    free(line);
    free(policy.hosts ? (void *)(uintptr_t)policy.hosts : NULL);
    free(policy.lfs_hosts ? (void *)(uintptr_t)policy.lfs_hosts : NULL);
    free(policy.local_roots ? (void *)(uintptr_t)policy.local_roots : NULL);
    fflush(stdout);
    if (ptl_json_flag(ask, "cancel_on_eof", false))
        _exit(0); /* the watcher still reads */
    ptl_git_shutdown();
    return 0;
}
