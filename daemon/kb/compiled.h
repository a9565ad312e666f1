/* compiled.h - a knowledge base as one file: what `portolan kb compile` writes and `portolan diagnose` reads
 * in a few milliseconds. Bytes in, bytes out; any thread.
 *
 * "portolan-kb 4 DIGEST KEY DOC MODEL SCAN\n", then so many bytes of the document (JSON), the text model (or
 * none) and the compiled scan, each beginning at a multiple of 64. KEY says what it was made from:
 * ptl_kb_files_key(). DIGEST is the SHA-256 of everything behind it: a file that a disk or a copy damaged is
 * told, not believed; against malice it is as good as the place the file came from. */
#ifndef PTL_KB_COMPILED_H
#define PTL_KB_COMPILED_H
#include "data.h"
#include <portolan/buf.h>
#include <portolan/hash.h>

enum { PTL_KB_COMPILED_MAX = 512 << 20 };

/* Of files and program: a compiled file with another key is not what this program would make of them. */
void ptl_kb_files_key(const struct ptl_kb_files *files, char ret[PTL_SHA256_HEX]);

struct ptl_kb;
/* `doc` and `model` are what `kb` was made of. */
PTL_NODISCARD int ptl_kb_compiled_write(const struct ptl_kb *kb, const char *key, const void *model,
                                        size_t model_len, struct ptl_buf *ret, struct ptl_error *err);
struct ptl_kb_compiled {
    char key[PTL_SHA256_HEX];
    const char *doc, *model, *scan; /* borrowed from the bytes; model NULL: none */
    size_t doc_len, model_len, scan_len;
};
/* -EINVAL: not such a file, cut, or damaged. `what` names it in the error. Nothing is copied. */
PTL_NODISCARD int ptl_kb_compiled_read(const void *data, size_t len, const char *what,
                                       struct ptl_kb_compiled *ret, struct ptl_error *err);
/* From bytes to use. */
PTL_NODISCARD int ptl_kb_compiled_open(const struct ptl_kb_compiled *c, const char *what, struct ptl_kb **ret,
                                       struct ptl_error *err);
#endif
