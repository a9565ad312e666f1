/* compiled.c - the file that `portolan kb compile` writes: document, text model and compiled scan in one
 * piece, so that the next program that wants them compiles nothing. No I/O: bytes in, bytes out. */
#include "compiled.h"
#include "kb.h"
#include <inttypes.h>
#include <stdio.h>

#define MAGIC "portolan-kb 4 "
enum { ALIGN = 64, HEAD_MAX = 256, DIGEST_AT = sizeof(MAGIC) - 1, DIGEST_LEN = PTL_SHA256_HEX - 1 };

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

void ptl_kb_files_key(const struct ptl_kb_files *files, char ret[PTL_SHA256_HEX])
{
    static const char program[] = PTL_VERSION " " PTL_KB_ALGORITHM;
    struct ptl_sha256 *sha = ptl_sha256_new();
    ptl_sha256_update(sha, program, sizeof(program));
    for (size_t i = 0; i < files->n; i++) {
        ptl_sha256_update(sha, files->v[i].path, strlen(files->v[i].path) + 1);
        ptl_sha256_update(sha, &files->v[i].len, sizeof(files->v[i].len));
        ptl_sha256_update(sha, files->v[i].text, files->v[i].len);
    }
    ptl_sha256_hex(sha, ret);
    ptl_sha256_free(sha);
}

static void put(struct ptl_buf *b, const void *data, size_t len)
{
    static const char zeros[ALIGN];
    ptl_buf_add(b, zeros, aligned(b->len) - b->len);
    ptl_buf_add(b, data, len);
}

/* Of everything behind the digest itself. */
static void digest_of(const char *data, size_t len, char ret[PTL_SHA256_HEX])
{
    ptl_sha256_of(data + DIGEST_AT + DIGEST_LEN, len - DIGEST_AT - DIGEST_LEN, ret);
}

int ptl_kb_compiled_write(const struct ptl_kb *kb, const char *key, const void *model, size_t model_len,
                          struct ptl_buf *ret, struct ptl_error *err)
{
    PTL_FREE void *scan = NULL;
    size_t scan_len = 0;
    int r = ptl_kb_scan_data(kb, &scan, &scan_len, err);
    if (r < 0)
        return r;
    PTL_FREE char *doc = ptl_json_text(ptl_kb_doc(kb));
    char digest[PTL_SHA256_HEX] = "0000000000000000000000000000000000000000000000000000000000000000";
    ptl_buf_printf(ret, MAGIC "%s %s %zu %zu %zu\n", digest, key, strlen(doc), model_len, scan_len);
    put(ret, doc, strlen(doc));
    put(ret, model ? model : "", model_len);
    put(ret, scan, scan_len);
    if (ret->failed)
        return ptl_error_set(err, ret->failed, "the compiled knowledge base is too large");
    digest_of(ret->data, ret->len, digest);
    memcpy(ret->data + DIGEST_AT, digest, DIGEST_LEN);
    return 0;
}

int ptl_kb_compiled_read(const void *data, size_t len, const char *what, struct ptl_kb_compiled *ret,
                         struct ptl_error *err)
{
    char head[HEAD_MAX], digest[PTL_SHA256_HEX], now[PTL_SHA256_HEX];
    struct ptl_kb_compiled c = {0};
    size_t n = len < sizeof(head) - 1 ? len : sizeof(head) - 1, sizes[3];
    memcpy(head, data, n);
    head[n] = 0;
    char *end = strchr(head, '\n');
    if (!end || sscanf(head, MAGIC "%64[0-9a-f] %64[0-9a-f] %zu %zu %zu", digest, c.key, &sizes[0], &sizes[1],
                       &sizes[2]) != 5)
        return ptl_error_set(err, -EINVAL, "%s: not made by portolan kb compile of this version", what);
    const char *at[3];
    size_t offset = (size_t)(end - head) + 1;
    for (int i = 0; i < 3; i++) {
        offset = aligned(offset);
        if (sizes[i] > PTL_KB_COMPILED_MAX || offset > len || sizes[i] > len - offset)
            return ptl_error_set(err, -EINVAL, "%s: it is cut: make it again with portolan kb compile", what);
        at[i] = (const char *)data + offset;
        offset += sizes[i];
    }
    /* The sizes end the file: what is longer was not written here either. */
    if (strlen(digest) == DIGEST_LEN)
        digest_of(data, len, now);
    if (offset != len || strlen(digest) != DIGEST_LEN || strcmp(digest, now) != 0)
        return ptl_error_set(err, -EINVAL, "%s: it is damaged: make it again with portolan kb compile", what);
    c.doc = at[0];
    c.doc_len = sizes[0];
    c.model = sizes[1] ? at[1] : NULL;
    c.model_len = sizes[1];
    c.scan = at[2];
    c.scan_len = sizes[2];
    *ret = c;
    return 0;
}

int ptl_kb_compiled_open(const struct ptl_kb_compiled *c, const char *what, struct ptl_kb **ret,
                         struct ptl_error *err)
{
    json_t *doc = NULL;
    int r = ptl_json_parse(c->doc, c->doc_len, what, &doc, err);
    return r < 0 ? r : ptl_kb_new_take(doc, c->model, c->model_len, what, c->scan, c->scan_len, ret, err);
}
