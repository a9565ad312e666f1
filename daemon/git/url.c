/* url.c - what a repository's address may look like, and whether policy lets us go there.
 *
 * Addresses come from people, from webhooks and from .gitmodules of repositories that nobody here wrote. They
 * are parsed once, into parts, and only the parts are used afterwards: nothing that looks like an option,
 * carries control bytes or an unknown scheme gets further than here. The check of the network address itself
 * happens where the connection is made (http.c), because a name may resolve to something else a moment later.
 * No I/O but realpath(). */
#include "git-private.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>

enum { URL_BYTES_MAX = 8192 }; /* signed URLs of object stores are long */

static const struct {
    const char *name;
    enum ptl_git_scheme scheme;
} schemes[] = {
    {"https",   PTL_GIT_HTTPS},
    {"http",    PTL_GIT_HTTP },
    {"ssh",     PTL_GIT_SSH  },
    {"git+ssh", PTL_GIT_SSH  },
    {"ssh+git", PTL_GIT_SSH  },
    {"git",     PTL_GIT_GIT  },
};

static const char *scheme_name(enum ptl_git_scheme s)
{
    if (s == PTL_GIT_FILE)
        return "file";
    for (size_t i = 0; i < PTL_ARRAY_LEN(schemes); i++)
        if (schemes[i].scheme == s)
            return schemes[i].name;
    return "?";
}

void git_url_done(struct git_url *u)
{
    free(u->user);
    if (u->password)
        explicit_bzero(u->password, strlen(u->password));
    free(u->password);
    free(u->host);
    free(u->path);
    free(u->shown);
    *u = (struct git_url){0};
}

/* Without the userinfo the text can be quoted, so every complaint goes through here. */
static int bad_url(const char *text, struct ptl_error *err, const char *why)
{
    PTL_FREE char *shown = ptl_git_url_redacted(text);
    return ptl_error_set(err, -EINVAL, "repository URL \"%s\": %s", shown ? shown : "?", why);
}

static bool host_is_plain(const char *host)
{
    if (!*host || *host == '-' || strlen(host) > 253)
        return false;
    for (const char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_:", *p))
            return false;
    return true;
}

static bool user_is_plain(const char *user)
{
    if (!*user || *user == '-' || strlen(user) > 256)
        return false;
    for (const char *p = user; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-+", *p))
            return false;
    return true;
}

static char *lower(const char *s)
{
    char *c = strdup(s);
    for (char *p = c; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return c;
}

static char *percent_decode(const char *s)
{
    int len = 0;
    char *decoded = curl_easy_unescape(NULL, s, 0, &len);
    if (!decoded)
        return NULL;
    char *copy = memchr(decoded, '\0', (size_t)len) ? NULL : strdup(decoded); /* "%00" would hide the rest */
    curl_free(decoded);
    return copy;
}

static bool path_is_plain(const char *path)
{
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

static int parse_local(const char *text, const char *path, struct git_url *u, struct ptl_error *err)
{
    u->scheme = PTL_GIT_FILE;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    u->path = strndup(path, len);
    u->shown = u->path ? strdup(u->path) : NULL;
    if (!u->shown)
        return ptl_error_set(err, -ENOMEM, "repository URL: out of memory");
    PTL_FREE char *marked = NULL;
    if (asprintf(&marked, "%s/", u->path) < 0)
        return ptl_error_set(err, -ENOMEM, "repository URL: out of memory");
    if (u->path[0] != '/' || strstr(marked, "/../") || len >= PATH_MAX)
        return bad_url(text, err, "a local repository needs an absolute path without \"..\"");
    return 0;
}

static int parse_scp(const char *text, struct git_url *u, struct ptl_error *err)
{
    const char *colon = strchr(text, ':');
    const char *at = memchr(text, '@', (size_t)(colon - text));
    u->scheme = PTL_GIT_SSH;
    u->scp_like = true;
    PTL_FREE char *host = strndup(at ? at + 1 : text, (size_t)(colon - (at ? at + 1 : text)));
    u->user = at ? strndup(text, (size_t)(at - text)) : NULL;
    u->path = strdup(colon + 1);
    u->host = host ? lower(host) : NULL;
    if (!u->host || !u->path || (at && !u->user) || asprintf(&u->shown, "%s:%s", u->host, u->path) < 0) {
        u->shown = NULL;
        return ptl_error_set(err, -ENOMEM, "repository URL: out of memory");
    }
    if (!host_is_plain(u->host) || strchr(u->host, ':') || (u->user && !user_is_plain(u->user)))
        return bad_url(text, err, "expected git@host:path with a plain host and user name");
    if (!*u->path || *u->path == '-')
        return bad_url(text, err, "the path behind the colon is empty or starts with '-'");
    return 0;
}

static char *part_of(CURLU *cu, CURLUPart part, unsigned flags)
{
    char *v = NULL;
    if (curl_url_get(cu, part, &v, flags) != CURLUE_OK)
        return NULL;
    char *copy = strdup(v);
    curl_free(v);
    return copy;
}

static int parse_parts(CURLU *cu, const char *text, struct git_url *u, struct ptl_error *err)
{
    PTL_FREE char *scheme = part_of(cu, CURLUPART_SCHEME, 0);
    PTL_FREE char *host = part_of(cu, CURLUPART_HOST, 0);
    PTL_FREE char *port = part_of(cu, CURLUPART_PORT, 0);
    PTL_FREE char *path = part_of(cu, CURLUPART_PATH, 0);
    for (size_t i = 0; scheme && i < PTL_ARRAY_LEN(schemes); i++)
        if (strcasecmp(schemes[i].name, scheme) == 0)
            u->scheme = schemes[i].scheme;
    if (!u->scheme)
        return bad_url(text, err, "unknown scheme; https, ssh, git, file or http is expected");
    if (!host || !path)
        return bad_url(text, err, "no host or no path");
    size_t host_len = strlen(host);
    if (host_len > 2 && host[0] == '[') { /* IPv6 */
        memmove(host, host + 1, host_len - 2);
        host[host_len - 2] = '\0';
    }
    u->host = lower(host);
    u->user = part_of(cu, CURLUPART_USER, CURLU_URLDECODE);
    u->password = part_of(cu, CURLUPART_PASSWORD, CURLU_URLDECODE);
    u->port = port ? (unsigned)strtoul(port, NULL, 10) : 0;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    u->path = percent_decode(path);
    if (!u->host || !u->path || !path_is_plain(u->path) || strcmp(u->path, "/") == 0)
        return bad_url(text, err, "no path to a repository, or bytes in it that no path has");
    if (!host_is_plain(u->host) || u->port > 65535)
        return bad_url(text, err, "the host name or the port is not plain");
    bool v6 = strchr(u->host, ':') != NULL;
    char port_text[16] = "";
    if (u->port)
        snprintf(port_text, sizeof(port_text), ":%u", u->port);
    const char *name = scheme_name(u->scheme);
    if (asprintf(&u->shown, "%s://%s%s%s%s%s", name, v6 ? "[" : "", u->host, v6 ? "]" : "", port_text, path) <
        0) {
        u->shown = NULL;
        return ptl_error_set(err, -ENOMEM, "repository URL: out of memory");
    }
    if (u->scheme == PTL_GIT_SSH) {
        if (u->user && !user_is_plain(u->user))
            return bad_url(text, err, "the user name is not plain");
        if (strncmp(u->path, "/~", 2) == 0) /* ssh://host/~user/repo means the account's home */
            memmove(u->path, u->path + 1, strlen(u->path));
    }
    return 0;
}

static int parse_any(const char *text, struct git_url *u, struct ptl_error *err)
{
    if (!text || !*text || strlen(text) > URL_BYTES_MAX)
        return ptl_error_set(err, -EINVAL, "repository URL: empty or longer than %d bytes", URL_BYTES_MAX);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '\\') /* parsers disagree about a backslash */
            return bad_url(text, err,
                           "spaces, control bytes and backslashes are not allowed, write a space as %20");
    if (text[0] == '/')
        return parse_local(text, text, u, err);
    if (strncasecmp(text, "file://", 7) == 0) {
        const char *rest = text + 7;
        if (strncasecmp(rest, "localhost/", 10) == 0)
            rest += 9;
        PTL_FREE char *path = percent_decode(rest);
        return path ? parse_local(text, path, u, err) : bad_url(text, err, "the path cannot be decoded");
    }
    const char *colon = strchr(text, ':');
    if (colon && strncmp(colon, "://", 3) != 0 && colon != text &&
        !memchr(text, '/', (size_t)(colon - text)) && text[0] != '-' && strncmp(colon, "::", 2) != 0)
        return parse_scp(text, u, err);
    if (!colon || strncmp(colon, "://", 3) != 0)
        return bad_url(text, err, "expected https://…, ssh://…, git@host:path, git://…, file://… or /path");
    CURLU *cu = curl_url();
    if (!cu)
        return ptl_error_set(err, -ENOMEM, "repository URL: out of memory");
    int r = curl_url_set(cu, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK
                ? parse_parts(cu, text, u, err)
                : bad_url(text, err, "not a well-formed URL");
    curl_url_cleanup(cu);
    return r;
}

int git_url_parse(const char *text, struct git_url *ret, struct ptl_error *err)
{
    struct git_url u = {0};
    int r = parse_any(text, &u, err);
    if (r < 0) {
        git_url_done(&u);
        return r;
    }
    *ret = u;
    return 0;
}

/* Works on text that could not be parsed too: a complaint must not show a password because of a typing error.
 */
char *ptl_git_url_redacted(const char *url)
{
    char *copy = strdup(url ? url : "");
    if (!copy)
        return NULL;
    char *p = strstr(copy, "://");
    char *from = p ? p + 3 : copy;
    char *authority_end = from + strcspn(from, "/?#");
    char *at = NULL;
    for (char *q = from; q < authority_end; q++)
        if (*q == '@')
            at = q;
    if (at)
        memmove(from, at + 1, strlen(at + 1) + 1);
    if (p)
        copy[strcspn(copy, "?#")] = '\0';
    return copy;
}

/* ---- policy ---- */

static bool below(const char *path, const char *root)
{
    size_t n = strlen(root);
    while (n > 1 && root[n - 1] == '/')
        n--;
    return strncmp(path, root, n) == 0 && (path[n] == '\0' || path[n] == '/' || n == 1);
}

static int local_allowed(const struct git_url *u, const struct ptl_git_policy *p, struct ptl_error *err)
{
    char real[PATH_MAX], real_root[PATH_MAX];
    bool exists = realpath(u->path, real) != NULL;
    for (const char *const *root = p->local_roots; root && *root; root++) {
        if (below(u->path, *root) && !exists)
            return 0; /* "no such repository" is then the honest answer */
        if (exists && realpath(*root, real_root) && below(real, real_root))
            return 0;
    }
    return ptl_error_set(
        err, -EPERM, "repository %s: not inside of the directories from which local repositories are allowed",
        u->shown);
}

int git_url_allowed(const struct git_url *u, const struct ptl_git_policy *p, struct ptl_error *err)
{
    unsigned allowed = p->schemes ? p->schemes : PTL_GIT_HTTPS | PTL_GIT_SSH;
    if (!(allowed & u->scheme))
        return ptl_error_set(err, -EPERM, "repository %s: the scheme \"%s\" is not allowed here", u->shown,
                             scheme_name(u->scheme));
    if (u->scheme == PTL_GIT_FILE)
        return local_allowed(u, p, err);
    if (!p->hosts)
        return 0;
    for (const char *const *glob = p->hosts; *glob; glob++)
        if (ptl_str_glob(*glob, u->host))
            return 0;
    return ptl_error_set(err, -EPERM, "repository %s: the host \"%s\" is not one of the allowed hosts",
                         u->shown, u->host);
}

int ptl_git_url_check(const char *url, const struct ptl_git_policy *policy, struct ptl_error *err)
{
    struct git_url u = {0};
    int r = git_url_parse(url, &u, err);
    if (r == 0)
        r = git_url_allowed(&u, policy, err);
    git_url_done(&u);
    return r;
}

/* ---- relative addresses of submodules ---- */

int git_url_join(const char *base, const char *relative, char **ret, struct ptl_error *err)
{
    if (strncmp(relative, "./", 2) != 0 && strncmp(relative, "../", 3) != 0) {
        *ret = strdup(relative);
        return *ret ? 0 : ptl_error_set(err, -ENOMEM, "submodule URL: out of memory");
    }
    PTL_FREE char *work = strdup(base);
    if (!work)
        return ptl_error_set(err, -ENOMEM, "submodule URL: out of memory");
    char *scheme = strstr(work, "://");
    char *floor; /* the parts behind it may be taken away */
    if (scheme) {
        work[strcspn(work, "?#")] = '\0';
        floor = strchr(scheme + 3, '/');
    } else {
        floor = work[0] == '/' ? work : strchr(work, ':');
    }
    if (!floor)
        return bad_url(base, err, "no path that a relative submodule could start from");
    size_t len = strlen(work);
    while (len > 0 && work + len - 1 > floor && work[len - 1] == '/')
        work[--len] = '\0';
    for (;;) {
        if (strncmp(relative, "./", 2) == 0) {
            relative += 2;
            continue;
        }
        if (strncmp(relative, "../", 3) != 0)
            break;
        relative += 3;
        char *last = strrchr(floor + 1, '/');
        if (last)
            *last = '\0';
        else if (floor[1])
            floor[1] = '\0'; /* "host/x" or "git@host:x": only the root is left */
        else
            return ptl_error_set(err, -EINVAL,
                                 "submodule URL: more \"../\" than the repository's own path has parts");
    }
    if (!*relative)
        return ptl_error_set(err, -EINVAL, "submodule URL: nothing behind \"../\"");
    bool at_floor = floor[1] == '\0';
    if (asprintf(ret, "%s%s%s", work, at_floor ? "" : "/", relative) < 0)
        return ptl_error_set(err, -ENOMEM, "submodule URL: out of memory");
    return 0;
}

/* ---- addresses ---- */

static bool v4_is_public(uint32_t a) /* host order */
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } closed[] = {
        {0x00000000, 8 }, /* this network */
        {0x0a000000, 8 }, /* private */
        {0x64400000, 10}, /* carrier NAT */
        {0x7f000000, 8 }, /* loopback */
        {0xa9fe0000, 16}, /* link-local, cloud metadata */
        {0xac100000, 12}, /* private */
        {0xc0000000, 24}, /* protocol assignments */
        {0xc0000200, 24}, /* documentation */
        {0xc0a80000, 16}, /* private */
        {0xc6120000, 15}, /* benchmarks */
        {0xc6336400, 24}, /* documentation */
        {0xcb007100, 24}, /* documentation */
        {0xe0000000, 3 }, /* multicast, reserved, broadcast */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(closed); i++)
        if ((a >> (32 - closed[i].bits)) == (closed[i].net >> (32 - closed[i].bits)))
            return false;
    return true;
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool git_address_is_public(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return v4_is_public(ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr));
    if (sa->sa_family != AF_INET6)
        return false;
    const unsigned char *a = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr;
    static const unsigned char zeros[16], mapped[12] = {[10] = 0xff, [11] = 0xff},
                                          nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0 || memcmp(a, zeros, 12) == 0)
        return v4_is_public(be32(a + 12)); /* "::" and "::1" end up in 0/8 */
    if (a[0] == 0x20 && a[1] == 0x02)      /* 6to4 carries the IPv4 address */
        return v4_is_public(be32(a + 2));
    if ((a[0] & 0xe0) != 0x20) /* only 2000::/3 is global unicast */
        return false;
    return !(a[0] == 0x20 && a[1] == 0x01 && ((a[2] == 0x0d && a[3] == 0xb8) || (a[2] == 0 && a[3] == 0)));
}
