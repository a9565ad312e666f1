/* address.c - may the daemon send a project's token to this URL. A manager of one project writes status_url,
 * the daemon stands inside of the site's network: without a check he could have it knock at anything in
 * there.
 *
 * Checked: https (plain http only where private addresses are allowed), a host and nothing odd in it, no
 * user, query or fragment, no loopback name, and no private address in any spelling that a resolver takes for
 * an address (127.1, 0x7f000001, 017700000001, [::ffff:10.0.0.1] …). Left out: names. A name that resolves to
 * a private address passes here, because resolving blocks and the answer may be another one when the call is
 * made; the place to refuse it is the socket, as daemon/git's transport does, and lib's HTTP client has no
 * hook for that yet. What bounds the harm meanwhile: the call is always a POST of our small JSON to a path
 * that ends in /statuses/<sha>, TLS must verify for that name, redirects are not followed, and at most the
 * first line of the answer is shown to members of the project. */
#include "call.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum { URL_MAX = 2048, HOST_MAX = 253 };

static bool v4_is_private(uint32_t a) /* host order */
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } closed[] = {
        {0x00000000, 8 },
        {0x0a000000, 8 },
        {0x64400000, 10},
        {0x7f000000, 8 },
        {0xa9fe0000, 16},
        {0xac100000, 12},
        {0xc0000000, 24},
        {0xc0a80000, 16},
        {0xc6120000, 15},
        {0xe0000000, 3 }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(closed); i++)
        if ((a >> (32 - closed[i].bits)) == (closed[i].net >> (32 - closed[i].bits)))
            return true;
    return false;
}

static bool v6_is_private(const unsigned char a[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b};
    uint32_t low = (uint32_t)a[12] << 24 | (uint32_t)a[13] << 16 | (uint32_t)a[14] << 8 | a[15];
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
        return v4_is_private(low);
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
        return v4_is_private((uint32_t)a[2] << 24 | (uint32_t)a[3] << 16 | (uint32_t)a[4] << 8 | a[5]);
    return (a[0] & 0xe0) != 0x20; /* only 2000::/3 is global unicast */
}

/* inet_aton(3) takes every spelling of an IPv4 address that resolvers take; a name it does not. */
static bool host_is_private(const char *host, bool bracketed)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (bracketed)
        return inet_pton(AF_INET6, host, &v6) != 1 || v6_is_private(v6.s6_addr);
    if (inet_aton(host, &v4))
        return v4_is_private(ntohl(v4.s_addr));
    size_t n = strlen(host);
    return strcasecmp(host, "localhost") == 0 || (n > 10 && strcasecmp(host + n - 10, ".localhost") == 0);
}

/* The host of "…://HOST[:port][/…]", without brackets and the dot at its end. Returns the rest behind it, or
 * NULL. */
static const char *split_host(const char *at, char ret[HOST_MAX + 1], bool *ret_bracketed)
{
    *ret_bracketed = *at == '[';
    const char *from = *ret_bracketed ? at + 1 : at;
    size_t n =
        strspn(from, *ret_bracketed ? "0123456789abcdefABCDEF:."
                                    : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    if (n == 0 || n > HOST_MAX || (*ret_bracketed && from[n] != ']'))
        return NULL;
    memcpy(ret, from, n);
    ret[n] = '\0';
    const char *rest = from + n + (*ret_bracketed ? 1 : 0);
    while (n > 1 && ret[n - 1] == '.')
        ret[--n] = '\0';
    if (*rest == ':') {
        size_t digits = strspn(rest + 1, "0123456789");
        if (digits == 0 || digits > 5)
            return NULL;
        rest += 1 + digits;
    }
    return *rest == '\0' || *rest == '/' ? rest : NULL;
}

static int check(const char *what, const char *url, bool allow_query, bool allow_private,
                 struct ptl_error *err)
{
    bool https = strncasecmp(url, "https://", 8) == 0, http = strncasecmp(url, "http://", 7) == 0;
    size_t shown = allow_query ? strcspn(url, "?") : strlen(url); /* a query may hold a secret */
    if (shown > 200)
        shown = 200;
    if (!https && !(http && allow_private))
        return ptl_error_set(err, http ? -EPERM : -EINVAL,
                             "%s '%.*s': expected https://…, %s must not cross a network in clear%s", what,
                             (int)shown, url, allow_query ? "what is told" : "the token",
                             http ? " (http is possible where the setting allow-private-addresses is on)"
                                  : "");
    char host[HOST_MAX + 1];
    bool bracketed;
    const char *rest = split_host(url + (https ? 8 : 7), host, &bracketed);
    for (const char *p = url; *p && rest; p++)
        if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e ||
            strchr(allow_query ? "\\#\"<>" : "\\?#@\"<>", *p))
            rest = NULL;
    if (!rest || strlen(url) > URL_MAX)
        return ptl_error_set(err, -EINVAL,
                             "%s '%.*s': expected https://HOST[:PORT][/PATH], without user%s and fragment",
                             what, (int)shown, url, allow_query ? "" : ", query");
    if (!allow_private && host_is_private(host, bracketed))
        return ptl_error_set(
            err, -EPERM,
            "%s '%.*s': %s is a loopback or private address; the setting allow-private-addresses would permit it",
            what, (int)shown, url, host);
    return 0;
}

int ptl_notify_url_check(const char *url, bool allow_private, struct ptl_error *err)
{
    return check("status_url", url, false, allow_private, err);
}

int ptl_notify_hook_check(const char *url, bool allow_private, struct ptl_error *err)
{
    return check("url", url, true, allow_private, err);
}
