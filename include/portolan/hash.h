/* hash.h - digests, MACs, text forms of bytes, random tokens. Any thread. OpenSSL underneath. */
#ifndef PORTOLAN_HASH_H
#define PORTOLAN_HASH_H
#include <portolan/base.h>

enum { PTL_SHA256_LEN = 32, PTL_SHA256_HEX = 65 /* with NUL */ };

struct ptl_sha256; /* a running digest; heap */
struct ptl_sha256 *ptl_sha256_new(void);
void ptl_sha256_update(struct ptl_sha256 *h, const void *data, size_t len);
void ptl_sha256_hex(struct ptl_sha256 *h, char ret_hex[PTL_SHA256_HEX]); /* ends the digest */
void ptl_sha256_free(struct ptl_sha256 *h);
PTL_DEFINE_FREEP(struct ptl_sha256, ptl_sha256_free)

void ptl_sha256_of(const void *data, size_t len, char ret_hex[PTL_SHA256_HEX]);
/* Reads the file once. Returns 0 or negative errno; ret_size (may be NULL) in bytes. */
PTL_NODISCARD int ptl_sha256_file(const char *path, char ret_hex[PTL_SHA256_HEX], uint64_t *ret_size,
                                  struct ptl_error *err);
bool ptl_sha256_is_hex(const char *s); /* exactly 64 lower-case hex digits */

/* `md` is "sha256" or "sha1"; writes lower-case hex (max 64 + NUL). Returns digest length in bytes, or
 * -EINVAL. */
int ptl_hmac_hex(const char *md, const void *key, size_t key_len, const void *data, size_t len,
                 char ret_hex[PTL_SHA256_HEX]);
int ptl_hmac_raw(const char *md, const void *key, size_t key_len, const void *data, size_t len,
                 unsigned char ret[64]);

/* True when both strings are equal; time depends on the lengths only. NULL never equals anything, and an
 * empty string never equals anything either: an absent signature must not pass. */
bool ptl_secret_equal(const char *a, const char *b);

void ptl_hex(const void *data, size_t len, char *ret); /* ret has room for 2*len+1 */
/* Base64 with padding. Caller frees; NULL when out of memory. */
char *ptl_base64(const void *data, size_t len);
char *ptl_base64url(const void *data, size_t len); /* URL alphabet, no padding */
/* Standard alphabet, padding optional. Caller frees *ret_data. Returns 0 or -EINVAL. */
PTL_NODISCARD int ptl_base64_decode(const char *text, unsigned char **ret_data, size_t *ret_len);

void ptl_random(void *ret, size_t len); /* getrandom; aborts if the kernel has none */
/* "ptl_<kind>_<43 base64url characters>" : 256 bits. Caller frees. */
char *ptl_token_new(const char *kind);
#endif
