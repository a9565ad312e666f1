/* core.c - puts core together: options, the git policy, the secret key, timers and wake-ups. Periodic work
 * runs in every daemon; the statements behind it skip rows that another daemon holds, so no leader is needed.
 */
#include "core-private.h"
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <fcntl.h>
#include <sys/stat.h>

static int load_key(struct ptl_core *core, struct ptl_error *err)
{
    PTL_FREE char *path = ptl_fs_join(core->o.state_dir, "secret.key");
    PTL_BUF b = PTL_BUF_MAX(4096);
    int r = ptl_fs_read(path, 32, &b, err);
    if (r == -ENOENT) {
        ptl_random(core->key, sizeof(core->key));
        r = ptl_fs_write_atomic(path, core->key, sizeof(core->key), 0600, err);
        if (r == 0)
            ptl_log_info("made %s: it opens the sealed secrets in the database; back it up", path);
        return r;
    }
    if (r < 0)
        return r;
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return ptl_error_set(err, -EPERM, "%s: readable by others (mode %o); expected 0600", path,
                             st.st_mode & 0777);
    if (b.len != sizeof(core->key))
        return ptl_error_set(err, -EINVAL, "%s: expected %zu bytes, it has %zu; restore it from your backup",
                             path, sizeof(core->key), b.len);
    memcpy(core->key, b.data, sizeof(core->key));
    return 0;
}

/* "a:b" or "a,b" → NULL-ended array; empty parts dropped. */
static char **split(const char *text, const char *separators)
{
    size_t n = 0;
    char **v = ptl_xcalloc(strlen(text) + 2, sizeof(*v));
    PTL_FREE char *copy = ptl_xstrdup(text);
    char *save = NULL;
    for (char *p = strtok_r(copy, separators, &save); p; p = strtok_r(NULL, separators, &save)) {
        while (*p == ' ')
            p++;
        if (*p)
            v[n++] = ptl_xstrdup(p);
    }
    return v;
}

static void split_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

static int make_policy(struct ptl_core *core, struct ptl_error *err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } schemes[] = {
        {"https", PTL_GIT_HTTPS},
        {"ssh",   PTL_GIT_SSH  },
        {"git",   PTL_GIT_GIT  },
        {"file",  PTL_GIT_FILE },
        {"http",  PTL_GIT_HTTP }
    };
    struct ptl_git_policy *p = &core->policy;
    char **names = split(core->o.git_schemes ? core->o.git_schemes : "https,ssh,file", ",");
    int r = 0;
    for (size_t i = 0; names[i] && r == 0; i++) {
        unsigned bit = 0;
        for (size_t k = 0; k < PTL_ARRAY_LEN(schemes); k++)
            if (ptl_str_eq(schemes[k].name, names[i]))
                bit = schemes[k].bit;
        if (!bit)
            r = ptl_error_set(err, -EINVAL, "git-schemes: '%s' is none of https, ssh, git, file, http",
                              names[i]);
        p->schemes |= bit;
    }
    split_free(names);
    if (core->o.git_hosts)
        core->hosts = split(core->o.git_hosts, ",");
    if (core->o.git_local_roots)
        core->roots = split(core->o.git_local_roots, ":");
    p->hosts = (const char *const *)core->hosts;
    p->local_roots = (const char *const *)core->roots;
    p->allow_private_addresses = core->o.allow_private_addresses;
    p->deadline_ms = core->o.prepare_timeout_ms;
    p->ssh_known_hosts = core->o.ssh_known_hosts;
    return r;
}

static unsigned host_bits(const char *host)
{
    enum ptl_host_kind k;
    return ptl_host_kind_parse(host, &k) == 0 ? 1u << k : ~0u;
}

static void on_queue(void *ctx, const char *payload)
{
    ptl_core_wake(ctx, host_bits(payload));
}

static void on_prepare(void *ctx, const char *payload PTL_UNUSED)
{
    struct ptl_core *core = ctx;
    if (!core->prepare_asked) {
        core->prepare_asked = true;
        ptl_loop_defer(core->loop, ptl_core_prepare_tick, core);
    }
}

static void on_preflight(void *ctx, const char *payload PTL_UNUSED)
{
    ptl_core_preflight_tick(ctx);
}

int ptl_core_new(struct ptl_loop *loop, struct ptl_store *store, struct ptl_http_pool *http,
                 const struct ptl_core_options *options, struct ptl_core **ret, struct ptl_error *err)
{
    struct ptl_core *core = ptl_xcalloc(1, sizeof(*core));
    core->loop = loop;
    core->store = store;
    core->http = http;
    core->o = *options;
    if (core->o.relabel_rate < 1)
        core->o.relabel_rate = 1;
    if (core->o.gate_wait_ms < 1)
        core->o.gate_wait_ms = 15 * 60 * 1000;
    core->o.state_dir = ptl_xstrdup(options->state_dir);
    core->o.public_url = ptl_xstrdup(options->public_url);
    core->o.git_local_roots = ptl_xstrdup(options->git_local_roots);
    core->o.git_hosts = ptl_xstrdup(options->git_hosts);
    core->o.git_schemes = ptl_xstrdup(options->git_schemes);
    core->o.ssh_known_hosts = ptl_xstrdup(options->ssh_known_hosts);
    static const char *const dirs[] = {"blobs", "uploads", "mirrors", "lfs", "submodules", "tmp"};
    int r = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(dirs) && r == 0; i++) {
        PTL_FREE char *d = ptl_fs_join(core->o.state_dir, dirs[i]);
        r = ptl_fs_mkdirs(d, 0700, err);
    }
    if (r == 0)
        r = load_key(core, err);
    if (r == 0)
        r = make_policy(core, err);
    if (r == 0)
        r = ptl_store_listen(store, "ptl_queue", on_queue, core);
    if (r == 0)
        r = ptl_store_listen(store, "ptl_prepare", on_prepare, core);
    if (r == 0)
        r = ptl_store_listen(store, "ptl_preflight", on_preflight, core);
    if (r == 0)
        r = ptl_core_relabel_new(core);
    if (r == 0)
        r = ptl_core_knowledge_new(core);
    if (r < 0) {
        ptl_core_free(core);
        return r;
    }
    static const struct {
        size_t offset;
        void (*fn)(void *);
        int64_t ms;
    } timers[] = {
        {offsetof(struct ptl_core, sweep_timer),     ptl_core_sweep_tick,     1000},
        {offsetof(struct ptl_core, queue_timer),     ptl_core_queue_tick,     1000},
        {offsetof(struct ptl_core, prepare_timer),   ptl_core_prepare_tick,   2000},
        {offsetof(struct ptl_core, poll_timer),      ptl_core_poll_tick,      1000},
        {offsetof(struct ptl_core, diagnose_timer),  ptl_core_diagnose_tick,  1000},
        {offsetof(struct ptl_core, risk_timer),      ptl_core_risk_tick,      5000},
        {offsetof(struct ptl_core, preflight_timer), ptl_core_preflight_tick, 2000},
        {offsetof(struct ptl_core, resolvers_timer), ptl_core_resolvers_tick, 5000}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(timers); i++) {
        struct ptl_timer *t = ptl_timer_new(loop, timers[i].fn, core);
        *(struct ptl_timer **)((char *)core + timers[i].offset) = t;
        ptl_timer_every(t, timers[i].ms);
    }
    ptl_core_sweep_begin(core);
    ptl_core_log_words_new(core);
    ptl_core_history_new(core);
    *ret = core;
    return 0;
}

void ptl_core_stop(struct ptl_core *core)
{
    struct ptl_timer **timers[] = {&core->sweep_timer,     &core->queue_timer,    &core->prepare_timer,
                                   &core->poll_timer,      &core->diagnose_timer, &core->risk_timer,
                                   &core->preflight_timer, &core->resolvers_timer};
    atomic_store(&core->stopping, true);
    for (size_t i = 0; i < PTL_ARRAY_LEN(timers); i++)
        *timers[i] = ptl_timer_free(*timers[i]);
    ptl_core_history_stop(core);
    ptl_core_log_words_stop(core);
    ptl_core_knowledge_stop(core);
    ptl_core_relabel_stop(core);
    ptl_core_claims_stop(core);
}

struct ptl_core *ptl_core_free(struct ptl_core *core)
{
    if (!core)
        return NULL;
    ptl_core_stop(core);
    ptl_core_knowledge_free(core);
    ptl_core_relabel_free(core);
    ptl_core_history_free(core);
    ptl_core_log_words_free(core);
    split_free(core->hosts);
    split_free(core->roots);
    free((char *)core->o.state_dir);
    free((char *)core->o.public_url);
    free((char *)core->o.git_local_roots);
    free((char *)core->o.git_hosts);
    free((char *)core->o.git_schemes);
    free((char *)core->o.ssh_known_hosts);
    explicit_bzero(core->key, sizeof(core->key));
    free(core);
    return NULL;
}

struct ptl_store *ptl_core_store(struct ptl_core *core)
{
    return core->store;
}

struct ptl_loop *ptl_core_loop(struct ptl_core *core)
{
    return core->loop;
}

struct ptl_http_pool *ptl_core_http(struct ptl_core *core)
{
    return core->http;
}

const struct ptl_core_options *ptl_core_options_of(const struct ptl_core *core)
{
    return &core->o;
}

void ptl_core_counters(const struct ptl_core *core, struct ptl_core_counters *ret)
{
    *ret = core->count;
}

int ptl_core_result_of(const struct ptl_error *err)
{
    return err->code == -EEXIST ? -ESTALE : err->code == -ENOENT ? PTL_ABSENT : err->code;
}

char *ptl_core_mirror_dir(const struct ptl_core *core, int64_t project_id)
{
    return ptl_xasprintf("%s/mirrors/%lld.git", core->o.state_dir, (long long)project_id);
}

void ptl_core_access_read(struct ptl_core *core, struct ptl_rows *rows, int row, struct ptl_core_access *ret)
{
    static const struct {
        const char *name;
        enum ptl_git_cred_kind kind;
    } kinds[] = {
        {"none",     PTL_GIT_CRED_NONE    },
        {"token",    PTL_GIT_CRED_TOKEN   },
        {"userpass", PTL_GIT_CRED_USERPASS},
        {"ssh_key",  PTL_GIT_CRED_SSH_KEY }
    };
    memset(ret, 0, sizeof(*ret));
    ret->url = ptl_xstrdup(ptl_row_str(rows, row, "url"));
    const char *kind = ptl_row_str(rows, row, "credential_kind");
    for (size_t i = 0; i < PTL_ARRAY_LEN(kinds); i++)
        if (ptl_str_eq(kind, kinds[i].name))
            ret->cred.kind = kinds[i].kind;
    ret->cred.user = ret->user = ptl_xstrdup(ptl_row_str(rows, row, "credential_user"));
    size_t len;
    const void *sealed = ptl_row_bytes(rows, row, "credential", &len);
    PTL_BUF plain = PTL_BUF_INIT;
    if (sealed && ptl_unseal(core, "credential", sealed, len, &plain) == 0)
        ret->cred.secret = ret->secret = ptl_buf_take(&plain, NULL);
}

void ptl_core_access_done(struct ptl_core_access *a)
{
    free(a->url);
    free(a->user);
    if (a->secret)
        explicit_bzero(a->secret, strlen(a->secret));
    free(a->secret);
}

/* The authority of a URL (host and port, no user), or of the scp form user@host:path. Length 0: a local path.
 */
static const char *authority(const char *url, size_t *ret_len)
{
    const char *p = strstr(url, "://");
    p = p ? p + 3 : url;
    size_t n = strcspn(p, "/?#");
    const char *at = memchr(p, '@', n);
    if (at) {
        n -= (size_t)(at + 1 - p);
        p = at + 1;
    }
    bool scp = !strstr(url, "://");
    if (scp) {
        const char *colon = memchr(p, ':', n);
        n = colon ? (size_t)(colon - p) : 0;
    }
    *ret_len = n;
    return p;
}

bool ptl_core_same_host(const char *a, const char *b)
{
    size_t la, lb;
    const char *ha = authority(a, &la), *hb = authority(b, &lb);
    return la > 0 && la == lb && strncasecmp(ha, hb, la) == 0;
}

static bool over_ssh(const char *url)
{
    static const char *const schemes[] = {"ssh://", "git+ssh://", "ssh+git://"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(schemes); i++)
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return !strstr(url, "://");
}

/* Asked for the repository, its LFS store and its submodules: what a .gitmodules names may be anywhere, and
 * the project's credential is for the project's own host only, and for the way it is reached: a key is of no
 * use over https, where a public submodule needs nothing. */
int ptl_core_access_fn(void *ctx, const char *url, struct ptl_git_credentials *ret)
{
    const struct ptl_core_access *a = ctx;
    if (a->url && ptl_core_same_host(a->url, url) && over_ssh(a->url) == over_ssh(url))
        *ret = a->cred;
    return 0;
}
