/* transport.c - libgit2's smart protocol over our own connections: http(s) by http.c, git:// by a socket, ssh
 * by the OpenSSH program.
 *
 * libgit2 speaks the protocol and indexes the pack; what it cannot do in 1.5 is give up: its transports wait
 * for ever on a silent server. Here every read and write has the deadline of the call. The ssh program
 * instead of libssh2 because it checks known_hosts the way operators know, signs with rsa-sha2 (Debian 12's
 * libssh2 cannot, so RSA keys fail against current servers) and can be killed. No shell runs on this side:
 * the program gets an argument vector; the one word the remote shell reads is in single quotes. libgit2 never
 * sees the URL or a credential.
 *
 * A subtransport belongs to one call and one thread; it is freed with the remote. */
#include "git-private.h"
#include <fcntl.h>
#include <poll.h>
#include <portolan/proc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { STDERR_KEPT = 4096, REDIRECTS_MAX = 5, GIT_PORT = 9418 };

struct sub {
    git_smart_subtransport base; /* first: libgit2 hands back this address */
    struct git_remote_ctx *ctx;
    struct git_op *op;
    const char *what; /* "repository <shown>" */
    /* http */
    struct git_http *http;
    char *endpoint; /* where the advertisement came from, redirects included, without "/info/refs…" */
    const struct ptl_git_credentials *http_cred;
    /* git and ssh */
    int in_fd, out_fd, err_fd; /* -1: none; out_fd is always a socket, with git:// the same as in_fd */
    struct ptl_proc proc;
    bool has_proc;
    int key_fd;
    struct ptl_buf said; /* what ssh or the remote program wrote to stderr */
    git_smart_subtransport_stream *open_stream;
    char what_buf[320];
};

struct stream {
    git_smart_subtransport_stream base;
    struct sub *sub;
    git_smart_service_t action;
    struct ptl_buf body; /* http: the request, sent with the first read */
    bool sent;
    uint64_t received;
};

/* ---- common ---- */

/* The cause stays in op->why: libgit2 carries only the number. */
static int fail(struct sub *s)
{
    git_error_set_str(GIT_ERROR_NET, s->op->why.code ? s->op->why.text : "connection failed");
    return -1;
}

static int stream_new(struct sub *s, git_smart_service_t action, git_smart_subtransport_stream **ret,
                      int (*rd)(git_smart_subtransport_stream *, char *, size_t, size_t *),
                      int (*wr)(git_smart_subtransport_stream *, const char *, size_t));

static int too_much(struct stream *st, size_t n)
{
    struct sub *s = st->sub;
    st->received += n;
    if (st->action == GIT_SERVICE_UPLOADPACK_LS && s->ctx->definition.rpc &&
        st->received > GIT_SMALL_ANSWER_MAX) {
        ptl_error_set(&s->op->why, -EFBIG, "%s: the list of refs is larger than %d MiB", s->what,
                      GIT_SMALL_ANSWER_MAX >> 20);
        return -1;
    }
    if (st->received > s->op->policy.max_repo_bytes) {
        ptl_error_set(&s->op->why, -EFBIG, "%s: larger than the %llu bytes that are allowed", s->what,
                      (unsigned long long)s->op->policy.max_repo_bytes);
        return -1;
    }
    return 0;
}

/* ---- http ---- */

static int http_get_refs(struct sub *s, const char *endpoint, const struct ptl_git_credentials *cred,
                         struct git_http_answer *ret)
{
    PTL_FREE char *url = NULL;
    if (asprintf(&url, "%s/info/refs?service=git-upload-pack", endpoint) < 0) {
        url = NULL;
        return ptl_error_set(&s->op->why, -ENOMEM, "%s: out of memory", s->what);
    }
    static const char *const headers[] = {"Accept: application/x-git-upload-pack-advertisement, */*",
                                          "Pragma: no-cache", NULL};
    struct git_http_request rq = {
        .url = url, .what = s->what, .credentials = cred, .headers = headers, .compressed = true};
    return git_http_start(s->http, &rq, ret, &s->op->why);
}

static int http_refused(struct sub *s, const struct git_http_answer *a)
{
    bool had = s->http_cred && s->http_cred->kind != PTL_GIT_CRED_NONE;
    struct ptl_error *why = &s->op->why;
    switch (a->status) {
    case 401:
    case 403:
        return ptl_error_set(why, -EACCES, "%s: the server %s (HTTP %ld)", s->what,
                             had ? "refused the credentials; check the token's scope and expiry"
                                 : "asks for credentials and the project has none",
                             a->status);
    case 404:
    case 410:
        return ptl_error_set(why, -ENOENT,
                             "%s: no such repository on the server, or hidden from %s (HTTP %ld)", s->what,
                             had ? "these credentials" : "requests without credentials", a->status);
    case 429:
    case 503:
        return ptl_error_set(why, -EAGAIN, "%s: the server is overloaded or limits our requests (HTTP %ld)",
                             s->what, a->status);
    default:
        return ptl_error_set(why, a->status >= 500 ? -EIO : -EBADMSG, "%s: the server answered HTTP %ld",
                             s->what, a->status);
    }
}

/* A redirect may change the path on the same host, or go to another host that policy allows, which then gets
 * no credentials; from https to http never. */
static int http_follow(struct sub *s, const struct git_http_answer *a)
{
    struct ptl_error *why = &s->op->why;
    struct git_url from = {0}, to = {0};
    int r = 0;
    PTL_FREE char *shown = NULL;
    if (!a->location)
        return ptl_error_set(why, -EBADMSG, "%s: HTTP %ld without a place to go to", s->what, a->status);
    shown = ptl_git_url_redacted(a->location); /* drops "?service=…" too */
    size_t len = shown ? strlen(shown) : 0;
    if (len < 10 || strcmp(shown + len - 10, "/info/refs") != 0)
        return ptl_error_set(why, -EACCES,
                             "%s: the server sends us to \"%s\", which is no repository (a login page?)",
                             s->what, shown ? shown : "?");
    shown[len - 10] = '\0';
    r = git_url_parse(shown, &to, why);
    if (r == 0)
        r = git_url_parse(s->endpoint, &from, why);
    if (r == 0)
        r = git_url_allowed(&to, &s->op->policy, why);
    if (r == 0 && !(to.scheme & (PTL_GIT_HTTP | PTL_GIT_HTTPS)))
        r = ptl_error_set(why, -EPERM, "%s: redirected to \"%s\", which is not http", s->what, shown);
    if (r == 0 && from.scheme == PTL_GIT_HTTPS && to.scheme == PTL_GIT_HTTP)
        r = ptl_error_set(why, -EPERM, "%s: redirected from https to \"%s\"", s->what, shown);
    if (r == 0) {
        if (strcmp(from.host, to.host) != 0 || (from.port != to.port && from.scheme == to.scheme))
            s->http_cred = NULL;
        free(s->endpoint);
        s->endpoint = PTL_TAKE(shown);
    }
    git_url_done(&from);
    git_url_done(&to);
    return r;
}

static int http_list(struct sub *s)
{
    for (int i = 0; i <= REDIRECTS_MAX; i++) {
        struct git_http_answer a = {0};
        int r = http_get_refs(s, s->endpoint, s->http_cred, &a);
        if (r < 0)
            return r;
        if (a.status >= 300 && a.status < 400) {
            r = http_follow(s, &a);
            git_http_answer_done(&a);
            if (r < 0)
                return r;
            continue;
        }
        git_http_answer_done(&a);
        if (a.status != 200)
            return http_refused(s, &a);
        static const char type[] = "application/x-git-upload-pack-advertisement";
        if (strncasecmp(a.content_type, type, sizeof(type) - 1) != 0)
            return ptl_error_set(&s->op->why, -EBADMSG,
                                 "%s: something answers there, but it is no git server (Content-Type \"%s\")",
                                 s->what, a.content_type);
        return 0;
    }
    return ptl_error_set(&s->op->why, -ELOOP, "%s: more than %d redirects", s->what, REDIRECTS_MAX);
}

static int http_post(struct stream *st)
{
    struct sub *s = st->sub;
    PTL_FREE char *url = NULL;
    if (asprintf(&url, "%s/git-upload-pack", s->endpoint) < 0) {
        url = NULL;
        return ptl_error_set(&s->op->why, -ENOMEM, "%s: out of memory", s->what);
    }
    static const char *const headers[] = {"Content-Type: application/x-git-upload-pack-request",
                                          "Accept: application/x-git-upload-pack-result", NULL};
    struct git_http_request rq = {.url = url,
                                  .what = s->what,
                                  .credentials = s->http_cred,
                                  .headers = headers,
                                  .body = ptl_buf_str(&st->body),
                                  .body_len = st->body.len,
                                  .compressed = true};
    struct git_http_answer a = {0};
    int r = git_http_start(s->http, &rq, &a, &s->op->why);
    if (r < 0)
        return r;
    git_http_answer_done(&a);
    if (a.status != 200)
        return http_refused(s, &a);
    static const char type[] = "application/x-git-upload-pack-result";
    if (strncasecmp(a.content_type, type, sizeof(type) - 1) != 0)
        return ptl_error_set(&s->op->why, -EBADMSG, "%s: the answer is no git pack (Content-Type \"%s\")",
                             s->what, a.content_type);
    return 0;
}

static int http_read(git_smart_subtransport_stream *base, char *buf, size_t size, size_t *ret_n)
{
    struct stream *st = (struct stream *)base;
    struct sub *s = st->sub;
    *ret_n = 0;
    if (st->action == GIT_SERVICE_UPLOADPACK && !st->sent) {
        st->sent = true;
        if (http_post(st) < 0)
            return fail(s);
    }
    ssize_t n = git_http_read(s->http, buf, size, &s->op->why);
    if (n < 0 || too_much(st, (size_t)n) < 0)
        return fail(s);
    *ret_n = (size_t)n;
    return 0;
}

static int http_write(git_smart_subtransport_stream *base, const char *buf, size_t len)
{
    struct stream *st = (struct stream *)base;
    if (ptl_buf_add(&st->body, buf, len) < 0) {
        ptl_error_set(&st->sub->op->why, -ENOMEM, "%s: the request is too large", st->sub->what);
        return fail(st->sub);
    }
    return 0;
}

static int http_action(git_smart_subtransport_stream **out, git_smart_subtransport *base, const char *url,
                       git_smart_service_t action)
{
    struct sub *s = (struct sub *)base;
    (void)url;
    if (action != GIT_SERVICE_UPLOADPACK_LS && action != GIT_SERVICE_UPLOADPACK)
        return fail(s);
    if (action == GIT_SERVICE_UPLOADPACK_LS && http_list(s) < 0)
        return fail(s);
    return stream_new(s, action, out, http_read, http_write);
}

/* ---- sockets and pipes ---- */

static void keep_said(struct sub *s)
{
    char buf[1024];
    ssize_t n = read(s->err_fd, buf, sizeof(buf));
    if (n > 0) {
        (void)ptl_buf_add(&s->said, buf, (size_t)n); /* beyond its bound the rest is dropped */
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close(s->err_fd);
    s->err_fd = -1;
}

/* Waits until fd is ready for `events`; collects stderr meanwhile. 0, or negative with op->why set. */
static int wait_ready(struct sub *s, int fd, short events)
{
    int64_t since = ptl_mono_ms();
    for (;;) {
        struct pollfd p[2] = {
            {.fd = fd,        .events = events},
            {.fd = s->err_fd, .events = POLLIN}
        };
        int n = poll(p, 2, git_op_tick(s->op));
        if (n > 0 && p[1].revents)
            keep_said(s);
        if (n > 0 && p[0].revents)
            return 0;
        int r = git_op_check(s->op, s->what, &s->op->why);
        if (r < 0)
            return r;
        if (ptl_mono_ms() - since > s->op->policy.idle_ms)
            return ptl_error_set(&s->op->why, -ETIMEDOUT, "%s: the server sent nothing for %lld s", s->what,
                                 (long long)(s->op->policy.idle_ms + 999) / 1000);
    }
}

/* The sentence for a connection that ended early, from what ssh or the server's git wrote. */
static int ended(struct sub *s)
{
    while (s->err_fd >= 0) {
        struct pollfd p = {.fd = s->err_fd, .events = POLLIN};
        if (poll(&p, 1, 1000) <=
            0) /* the program closed stdout, so the rest of its words is already there or never */
            break;
        keep_said(s);
    }
    const char *said = ptl_buf_str(&s->said);
    const char *host = s->ctx->url->host;
    struct ptl_error *why = &s->op->why;
    if (why->code)
        return why->code;
    if (strstr(said, "Host key verification failed") || strstr(said, "host key is known for") ||
        strstr(said, "REMOTE HOST IDENTIFICATION HAS CHANGED"))
        return ptl_error_set(
            why, -EACCES, "%s: the host key of \"%s\" is %s; compare and put it into %s", s->what, host,
            strstr(said, "CHANGED") ? "another than the known one" : "not known",
            s->op->policy.ssh_known_hosts ? s->op->policy.ssh_known_hosts : "/etc/ssh/ssh_known_hosts");
    if (strstr(said, "Permission denied"))
        return ptl_error_set(why, -EACCES, "%s: the server refused the SSH key%s", s->what,
                             s->ctx->credentials.kind ? "" : " (the project has none)");
    if (strstr(said, "does not appear to be a git repository") || strstr(said, "not found") ||
        strstr(said, "does not exist"))
        return ptl_error_set(why, -ENOENT, "%s: no such repository on the server, or hidden from this key",
                             s->what);
    size_t n = s->said.len;
    while (n > 0 && (unsigned char)said[n - 1] <= ' ')
        n--;
    size_t from = n;
    while (from > 0 && said[from - 1] != '\n')
        from--;
    return ptl_error_set(why, -EIO, "%s: the server ended the connection%s%.*s", s->what, n ? ": " : "",
                         (int)(n - from), said + from);
}

static int raw_read(git_smart_subtransport_stream *base, char *buf, size_t size, size_t *ret_n)
{
    struct stream *st = (struct stream *)base;
    struct sub *s = st->sub;
    *ret_n = 0;
    for (;;) {
        if (wait_ready(s, s->in_fd, POLLIN) < 0)
            return fail(s);
        ssize_t n = read(s->in_fd, buf, size);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0)
            ptl_error_set(&s->op->why, -errno, "%s: the connection broke: %s", s->what, strerror(errno));
        if (n < 0 || too_much(st, (size_t)n) < 0)
            return fail(s);
        if (n == 0 && st->received == 0) { /* not one byte: the peer said why on stderr, or nothing */
            ended(s);
            return fail(s);
        }
        *ret_n = (size_t)n;
        return 0;
    }
}

static int write_bytes(struct sub *s, const char *buf, size_t len)
{
    while (len > 0) {
        int r = wait_ready(s, s->out_fd, POLLOUT);
        if (r < 0)
            return r;
        ssize_t n = send(s->out_fd, buf, len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0)
            return ended(s);
        buf += n;
        len -= (size_t)n;
    }
    return 0;
}

static int raw_write(git_smart_subtransport_stream *base, const char *buf, size_t len)
{
    struct stream *st = (struct stream *)base;
    return write_bytes(st->sub, buf, len) < 0 ? fail(st->sub) : 0;
}

/* ---- git:// ---- */

static int git_begin(struct sub *s)
{
    const struct git_url *u = s->ctx->url;
    int r = git_tcp_connect(s->op, u->host, u->port ? u->port : GIT_PORT, s->what, &s->in_fd, &s->op->why);
    if (r < 0)
        return r;
    s->out_fd = s->in_fd;
    char head[5];
    PTL_BUF line = PTL_BUF_MAX(8192);
    char port[16] = "";
    if (u->port)
        snprintf(port, sizeof(port), ":%u", u->port);
    ptl_buf_printf(&line, "0000git-upload-pack %s", u->path);
    ptl_buf_putc(&line, '\0');
    ptl_buf_printf(&line, "host=%s%s", u->host, port);
    ptl_buf_putc(&line, '\0');
    if (line.failed)
        return ptl_error_set(&s->op->why, -EINVAL, "%s: its path is too long", s->what);
    snprintf(head, sizeof(head), "%04x", (unsigned)line.len);
    memcpy(line.data, head, 4);
    return write_bytes(s, line.data, line.len);
}

/* ---- ssh ---- */

char *git_ssh_quote(const char *text)
{
    PTL_BUF b = PTL_BUF_MAX(16384);
    ptl_buf_putc(&b, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'' || *p == '!') { /* '!' as git does: csh expands it even inside of quotes */
            ptl_buf_puts(&b, "'\\");
            ptl_buf_putc(&b, *p);
            ptl_buf_putc(&b, '\'');
        } else {
            ptl_buf_putc(&b, *p);
        }
    }
    ptl_buf_putc(&b, '\'');
    return b.failed ? NULL : ptl_buf_take(&b, NULL);
}

/* The key as a file that only this process has: ssh opens it through /proc, and it is gone with the
 * descriptor. */
static int key_in_memory(struct sub *s, const char *key, char *ret_path, size_t size)
{
    s->key_fd = memfd_create("ssh-key", MFD_CLOEXEC);
    size_t len = strlen(key);
    bool newline = len > 0 && key[len - 1] == '\n'; /* OpenSSH wants the last line ended */
    if (s->key_fd < 0 || fchmod(s->key_fd, 0600) < 0 || ptl_fs_write_all(s->key_fd, key, len) < 0 ||
        (!newline && ptl_fs_write_all(s->key_fd, "\n", 1) < 0))
        return ptl_error_set(&s->op->why, -EIO, "%s: the SSH key cannot be handed to ssh", s->what);
    snprintf(ret_path, size, "/proc/%d/fd/%d", (int)getpid(), s->key_fd);
    return 0;
}

struct ssh_args {
    const char *v[64];
    size_t n;
    char *owned[16];
    size_t n_owned;
    bool failed;
};

static void ssh_add(struct ssh_args *a, const char *word)
{
    if (a->n + 1 < PTL_ARRAY_LEN(a->v))
        a->v[a->n++] = word;
    else
        a->failed = true;
}

static void ssh_option(struct ssh_args *a, const char *fmt, ...) PTL_PRINTF(2, 3);
static void ssh_option(struct ssh_args *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    if (a->n_owned == PTL_ARRAY_LEN(a->owned) || vasprintf(&text, fmt, ap) < 0)
        a->failed = true;
    else
        a->owned[a->n_owned++] = text;
    va_end(ap);
    ssh_add(a, "-o");
    ssh_add(a, a->failed ? "" : text);
}

static int ssh_spawn(struct sub *s, const char *command)
{
    const struct git_url *u = s->ctx->url;
    const struct ptl_git_policy *p = &s->op->policy;
    const struct ptl_git_credentials *c = &s->ctx->credentials;
    char address[128] = "", key[64];
    int r = git_resolve_host(s->op, u->host, s->what, address, sizeof(address), &s->op->why);
    if (r < 0)
        return r;
    static const char *const fixed[] = {"-T",
                                        "-x",
                                        "-a",
                                        "-F",
                                        "none",
                                        "-o",
                                        "BatchMode=yes",
                                        "-o",
                                        "StrictHostKeyChecking=yes",
                                        "-o",
                                        "UpdateHostKeys=no",
                                        "-o",
                                        "CheckHostIP=no",
                                        "-o",
                                        "IdentityAgent=none",
                                        "-o",
                                        "IdentitiesOnly=yes",
                                        "-o",
                                        "PreferredAuthentications=publickey",
                                        "-o",
                                        "ClearAllForwardings=yes",
                                        "-o",
                                        "PermitLocalCommand=no",
                                        "-o",
                                        "ControlPath=none",
                                        "-o",
                                        "ConnectTimeout=30",
                                        "-o",
                                        "ServerAliveInterval=15",
                                        "-o",
                                        "ServerAliveCountMax=4"};
    struct ssh_args a = {0};
    ssh_add(&a, p->ssh_program ? p->ssh_program : "ssh");
    for (size_t i = 0; i < PTL_ARRAY_LEN(fixed); i++)
        ssh_add(&a, fixed[i]);
    if (p->ssh_known_hosts) {
        ssh_option(&a, "UserKnownHostsFile=\"%s\"", p->ssh_known_hosts);
        ssh_option(&a, "GlobalKnownHostsFile=none");
    } else {
        ssh_option(&a, "UserKnownHostsFile=none");
    }
    if (*address) { /* the checked address, with the key still looked up under the name */
        ssh_option(&a, "HostName=%s", address);
        if (u->port && u->port != 22)
            ssh_option(&a, "HostKeyAlias=[%s]:%u", u->host, u->port);
        else
            ssh_option(&a, "HostKeyAlias=%s", u->host);
    }
    if (u->port)
        ssh_option(&a, "Port=%u", u->port);
    if (c->kind == PTL_GIT_CRED_SSH_KEY) {
        r = key_in_memory(s, c->secret, key, sizeof(key));
        if (r == 0)
            ssh_option(&a, "IdentityFile=%s", key);
    } else if (c->kind == PTL_GIT_CRED_SSH_KEY_FILE) {
        ssh_option(&a, "IdentityFile=\"%s\"", c->secret);
    } else {
        ssh_option(&a, "IdentityFile=none");
    }
    const char *user = c->kind && c->user ? c->user : u->user ? u->user : "git";
    ssh_option(&a, "User=%s", user);
    ssh_add(&a, "--");
    ssh_add(&a, u->host);
    ssh_add(&a, command);

    int in[2] = {-1, -1}, out[2] = {-1, -1}, er[2] = {-1, -1};
    if (r == 0 &&
        (a.failed ||
         socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0 || /* a pipe would raise SIGPIPE */
         pipe2(out, O_CLOEXEC) < 0 || pipe2(er, O_CLOEXEC) < 0))
        r = ptl_error_set(&s->op->why, -EMFILE, "%s: ssh cannot be started: no memory or descriptors",
                          s->what);
    if (r == 0) {
        static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent",
                                          "LC_ALL=C", NULL};
        struct ptl_proc_spec spec = {.argv = a.v,
                                     .env = env,
                                     .cwd = "/",
                                     .stdin_fd = in[0],
                                     .stdout_fd = out[1],
                                     .stderr_fd = er[1],
                                     .new_session = true};
        r = ptl_proc_start(&spec, &s->proc, &s->op->why);
        if (r < 0)
            ptl_error_prefix(&s->op->why, r, "%s: ssh cannot be started", s->what);
        else
            s->has_proc = true;
    }
    if (r == 0) {
        s->out_fd = in[1];
        s->in_fd = out[0];
        s->err_fd = er[0];
        in[1] = out[0] = er[0] = -1;
        (void)fcntl(s->out_fd, F_SETFL, O_NONBLOCK);
        (void)fcntl(s->in_fd, F_SETFL, O_NONBLOCK);
        (void)fcntl(s->err_fd, F_SETFL, O_NONBLOCK);
    }
    for (int i = 0; i < 2; i++) {
        ptl_closep(&in[i]);
        ptl_closep(&out[i]);
        ptl_closep(&er[i]);
    }
    for (size_t i = 0; i < a.n_owned; i++)
        free(a.owned[i]);
    return r;
}

static int ssh_begin(struct sub *s)
{
    PTL_FREE char *path = git_ssh_quote(s->ctx->url->path);
    PTL_FREE char *command = NULL;
    if (!path || asprintf(&command, "git-upload-pack %s", path) < 0) {
        command = NULL;
        return ptl_error_set(&s->op->why, -ENOMEM, "%s: out of memory", s->what);
    }
    return ssh_spawn(s, command);
}

static int raw_action(git_smart_subtransport_stream **out, git_smart_subtransport *base, const char *url,
                      git_smart_service_t action)
{
    struct sub *s = (struct sub *)base;
    (void)url;
    if (action == GIT_SERVICE_UPLOADPACK &&
        s->open_stream) { /* one conversation: the advertisement goes on */
        *out = s->open_stream;
        return 0;
    }
    if (action != GIT_SERVICE_UPLOADPACK_LS)
        return fail(s);
    if ((s->ctx->url->scheme == PTL_GIT_GIT ? git_begin(s) : ssh_begin(s)) < 0)
        return fail(s);
    int r = stream_new(s, action, out, raw_read, raw_write);
    if (r == 0)
        s->open_stream = *out;
    return r;
}

/* ---- life ---- */

static void sub_hang_up(struct sub *s)
{
    if (s->out_fd >= 0 && s->out_fd != s->in_fd)
        close(s->out_fd);
    ptl_closep(&s->in_fd);
    ptl_closep(&s->err_fd);
    ptl_closep(&s->key_fd);
    s->in_fd = s->out_fd = s->err_fd = s->key_fd = -1;
    if (s->has_proc)
        ptl_proc_stop(&s->proc, 2000, NULL); /* its pipes are closed: it ends by itself, or is made to */
    s->has_proc = false;
}

static int sub_close(git_smart_subtransport *base)
{
    sub_hang_up((struct sub *)base);
    return 0;
}

static void sub_free(git_smart_subtransport *base)
{
    struct sub *s = (struct sub *)base;
    sub_hang_up(s);
    git_http_free(s->http);
    free(s->endpoint);
    ptl_buf_done(&s->said);
    free(s);
}

static void stream_free(git_smart_subtransport_stream *base)
{
    struct stream *st = (struct stream *)base;
    if (st->sub->open_stream == base)
        st->sub->open_stream = NULL;
    ptl_buf_done(&st->body);
    free(st);
}

static int stream_new(struct sub *s, git_smart_service_t action, git_smart_subtransport_stream **ret,
                      int (*rd)(git_smart_subtransport_stream *, char *, size_t, size_t *),
                      int (*wr)(git_smart_subtransport_stream *, const char *, size_t))
{
    struct stream *st = calloc(1, sizeof(*st));
    if (!st) {
        ptl_error_set(&s->op->why, -ENOMEM, "%s: out of memory", s->what);
        return fail(s);
    }
    st->base = (git_smart_subtransport_stream){&s->base, rd, wr, stream_free};
    st->sub = s;
    st->action = action;
    st->body.max = GIT_SMALL_ANSWER_MAX;
    *ret = &st->base;
    return 0;
}

static struct sub *sub_new(struct git_remote_ctx *ctx)
{
    struct sub *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->ctx = ctx;
    s->op = ctx->op;
    s->in_fd = s->out_fd = s->err_fd = s->key_fd = -1;
    s->said.max = STDERR_KEPT;
    s->http_cred = &ctx->credentials;
    snprintf(s->what_buf, sizeof(s->what_buf), "repository %.300s", ctx->url->shown);
    s->what = s->what_buf;
    return s;
}

static int sub_make(git_smart_subtransport **out, git_transport *owner, void *param)
{
    struct git_remote_ctx *ctx = param;
    (void)owner;
    struct sub *s = sub_new(ctx);
    if (!s) {
        ptl_error_set(&ctx->op->why, -ENOMEM, "repository %s: out of memory", ctx->url->shown);
        return -1;
    }
    if (ctx->definition.rpc) {
        s->endpoint = strdup(ctx->url->shown);
        s->base = (git_smart_subtransport){http_action, sub_close, sub_free};
        if (!s->endpoint || git_http_new(s->op, &s->http, &s->op->why) < 0) {
            sub_free(&s->base);
            return -1;
        }
    } else {
        s->base = (git_smart_subtransport){raw_action, sub_close, sub_free};
    }
    *out = &s->base;
    return 0;
}

int git_transport_make(git_transport **out, git_remote *owner, void *payload)
{
    struct git_remote_ctx *ctx = payload;
    bool http = ctx->url->scheme == PTL_GIT_HTTP || ctx->url->scheme == PTL_GIT_HTTPS;
    ctx->definition = (git_smart_subtransport_definition){sub_make, http, ctx};
    return git_transport_smart(out, owner, &ctx->definition);
}

int git_ssh_run(struct git_op *op, const struct git_url *url, const struct ptl_git_credentials *cred,
                const char *command, struct ptl_buf *ret, struct ptl_error *err)
{
    struct git_remote_ctx ctx = {.op = op, .url = url, .credentials = *cred};
    struct sub *s = sub_new(&ctx);
    if (!s)
        return ptl_error_set(err, -ENOMEM, "repository %s: out of memory", url->shown);
    struct ptl_error before =
        op->why; /* this run's trouble is the caller's to weigh, not the call's first cause */
    op->why = (struct ptl_error)PTL_ERROR_INIT;
    int r = ssh_spawn(s, command);
    if (r == 0) {
        close(s->out_fd);
        s->out_fd = -1;
    }
    while (r == 0) {
        char buf[4096];
        r = wait_ready(s, s->in_fd, POLLIN);
        ssize_t n = r == 0 ? read(s->in_fd, buf, sizeof(buf)) : 0;
        if (r == 0 && n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (r < 0 || n <= 0)
            break;
        r = ptl_buf_add(ret, buf, (size_t)n);
    }
    int status = -1;
    if (r == 0 && ptl_proc_wait(&s->proc, 5000, &status) == 0 && status == 0) {
        s->has_proc = false; /* reaped */
    } else if (r == 0) {
        r = ended(s);
        if (r == 0)
            r = -EIO;
    }
    if (r < 0 && err && op->why.code)
        *err = op->why;
    op->why = before;
    sub_hang_up(s);
    ptl_buf_done(&s->said);
    free(s);
    return r;
}
