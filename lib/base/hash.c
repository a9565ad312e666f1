/* hash.c - digests and MACs by OpenSSL, text forms of bytes, random tokens. */
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

struct ptl_sha256 {
    EVP_MD_CTX *ctx;
};

struct ptl_sha256 *ptl_sha256_new(void)
{
    struct ptl_sha256 *h = ptl_xcalloc(1, sizeof(*h));
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
        abort(); /* OpenSSL without SHA-256 or memory: nothing sensible is left */
    return h;
}

void ptl_sha256_update(struct ptl_sha256 *h, const void *data, size_t len)
{
    if (EVP_DigestUpdate(h->ctx, data, len) != 1)
        abort();
}

void ptl_sha256_hex(struct ptl_sha256 *h, char ret_hex[PTL_SHA256_HEX])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(h->ctx, md, &n) != 1 || n != PTL_SHA256_LEN)
        abort();
    ptl_hex(md, n, ret_hex);
}

void ptl_sha256_free(struct ptl_sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void ptl_sha256_of(const void *data, size_t len, char ret_hex[PTL_SHA256_HEX])
{
    struct ptl_sha256 *h = ptl_sha256_new();
    ptl_sha256_update(h, data, len);
    ptl_sha256_hex(h, ret_hex);
    ptl_sha256_free(h);
}

int ptl_sha256_file(const char *path, char ret_hex[PTL_SHA256_HEX], uint64_t *ret_size, struct ptl_error *err)
{
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
    PTL_CLEANUP(ptl_sha256_freep) struct ptl_sha256 *h = ptl_sha256_new();
    uint64_t size = 0;
    static const size_t chunk = 1 << 16;
    PTL_FREE unsigned char *block = malloc(chunk);
    if (!block)
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", path);
    for (;;) {
        ssize_t n = read(fd, block, chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ptl_error_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0)
            break;
        ptl_sha256_update(h, block, (size_t)n);
        size += (uint64_t)n;
    }
    ptl_sha256_hex(h, ret_hex);
    if (ret_size)
        *ret_size = size;
    return 0;
}

bool ptl_sha256_is_hex(const char *s)
{
    if (!s)
        return false;
    size_t i = 0;
    for (; s[i]; i++)
        if (i >= 64 || !((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return i == 64;
}

int ptl_hmac_raw(const char *md, const void *key, size_t key_len, const void *data, size_t len,
                 unsigned char ret[64])
{
    const EVP_MD *m = ptl_str_eq(md, "sha256") ? EVP_sha256() : ptl_str_eq(md, "sha1") ? EVP_sha1() : NULL;
    if (!m || key_len > INT32_MAX)
        return -EINVAL;
    unsigned char tmp[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    static const unsigned char empty[1];
    if (!HMAC(m, key_len ? key : empty, (int)key_len, data, len, tmp, &n))
        return -EINVAL;
    memcpy(ret, tmp, n);
    return (int)n;
}

int ptl_hmac_hex(const char *md, const void *key, size_t key_len, const void *data, size_t len,
                 char ret_hex[PTL_SHA256_HEX])
{
    unsigned char raw[64];
    int n = ptl_hmac_raw(md, key, key_len, data, len, raw);
    if (n < 0)
        return n;
    ptl_hex(raw, (size_t)n, ret_hex);
    return n;
}

bool ptl_secret_equal(const char *a, const char *b)
{
    if (!a || !b)
        return false;
    size_t la = strlen(a), lb = strlen(b);
    return la != 0 && la == lb && CRYPTO_memcmp(a, b, la) == 0;
}

void ptl_hex(const void *data, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[p[i] >> 4];
        ret[2 * i + 1] = digits[p[i] & 15];
    }
    ret[2 * len] = 0;
}

char *ptl_base64(const void *data, size_t len)
{
    if (len > (size_t)INT32_MAX / 2)
        return NULL;
    char *out = malloc(4 * ((len + 2) / 3) + 1);
    if (out)
        EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

char *ptl_base64url(const void *data, size_t len)
{
    char *s = ptl_base64(data, len);
    for (char *p = s; p && *p; p++) {
        if (*p == '+')
            *p = '-';
        else if (*p == '/')
            *p = '_';
        else if (*p == '=') {
            *p = 0;
            break;
        }
    }
    return s;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int ptl_base64_decode(const char *text, unsigned char **ret_data, size_t *ret_len)
{
    size_t n = strlen(text);
    while (n && text[n - 1] == '=')
        n--;
    if (n % 4 == 1)
        return -EINVAL;
    PTL_FREE unsigned char *out = malloc(n * 3 / 4 + 4);
    if (!out)
        return -ENOMEM;
    size_t len = 0;
    uint32_t acc = 0;
    int bits = 0;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(text[i]);
        if (v < 0)
            return -EINVAL;
        acc = (acc << 6) | (uint32_t)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[len++] = (unsigned char)(acc >> bits);
        }
    }
    *ret_data = PTL_TAKE(out);
    *ret_len = len;
    return 0;
}

void ptl_random(void *ret, size_t len)
{
    unsigned char *p = ret;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort(); /* a token without randomness must not exist */
        p += n;
        len -= (size_t)n;
    }
}

char *ptl_token_new(const char *kind)
{
    unsigned char raw[32];
    ptl_random(raw, sizeof(raw));
    PTL_FREE char *text = ptl_base64url(raw, sizeof(raw));
    OPENSSL_cleanse(raw, sizeof(raw));
    if (!text)
        abort();
    return ptl_xasprintf("ptl_%s_%s", kind, text);
}
