/* seal.c - secrets at rest: nonce (12) | tag (16) | ciphertext, AES-256-GCM; `what` is additional
 * authenticated data. */
#include "core-private.h"
#include <portolan/hash.h>
#include <openssl/evp.h>

enum { NONCE = 12, TAG = 16 };

int ptl_seal(struct ptl_core *core, const char *what, const char *plain, struct ptl_buf *ret)
{
    unsigned char nonce[NONCE], tag[TAG];
    size_t len = strlen(plain);
    if (len > 1 << 20)
        return -E2BIG;
    PTL_FREE unsigned char *out = malloc(len + 1);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, r = -ENOMEM;
    ptl_random(nonce, sizeof(nonce));
    if (out && c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, core->key, nonce) == 1 &&
        EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)what, (int)strlen(what)) == 1 &&
        EVP_EncryptUpdate(c, out, &n, (const unsigned char *)plain, (int)len) == 1 &&
        EVP_EncryptFinal_ex(c, out + n, &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1) {
        ptl_buf_add(ret, nonce, NONCE);
        ptl_buf_add(ret, tag, TAG);
        ptl_buf_add(ret, out, len);
        r = ret->failed;
    }
    EVP_CIPHER_CTX_free(c);
    return r;
}

int ptl_unseal(struct ptl_core *core, const char *what, const void *sealed, size_t len, struct ptl_buf *ret)
{
    const unsigned char *in = sealed;
    if (len < NONCE + TAG || len > (1 << 20) + NONCE + TAG)
        return -EBADMSG;
    size_t body = len - NONCE - TAG;
    PTL_FREE unsigned char *out = malloc(body + 1);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, m = 0, r = -EBADMSG;
    if (out && c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, core->key, in) == 1 &&
        EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)what, (int)strlen(what)) == 1 &&
        EVP_DecryptUpdate(c, out, &n, in + NONCE + TAG, (int)body) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, (void *)(uintptr_t)(in + NONCE)) == 1 &&
        EVP_DecryptFinal_ex(c, out + n, &m) == 1)
        r = ptl_buf_add(ret, out, body);
    EVP_CIPHER_CTX_free(c);
    return r;
}
