/* fuzz_kb_compiled.c - a damaged kb.bin: the input as a file, and as edits of a good one. What is not as it
 * was written is refused, whatever was damaged; what is opened diagnoses as before. */
#include "compiled.h"
#include "kb_small.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ptl_buf good = PTL_BUF_MAX(64 << 20);
static char hash[65];

static void make_good(void)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb *kb = NULL;
    size_t len = 0;
    void *model = kb_small_model(&len);
    char key[PTL_SHA256_HEX];
    ptl_sha256_of("key", 3, key);
    if (ptl_kb_new_take(kb_small_doc(), model, len, NULL, NULL, 0, &kb, &err) < 0 ||
        ptl_kb_compiled_write(kb, key, model, len, &good, &err) < 0)
        abort();
    snprintf(hash, sizeof(hash), "%s", ptl_kb_hash(kb));
    ptl_kb_free(kb);
    free(model);
}

/* 1: it was opened. */
static int try_open(const void *bytes, size_t len)
{
    struct ptl_kb_compiled c;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb *kb = NULL;
    if (ptl_kb_compiled_read(bytes, len, "kb.bin", &c, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (ptl_kb_compiled_open(&c, "kb.bin", &kb, &err) < 0)
        return 0;
    struct ptl_kb_log log = {.text = "alpha toco trouble\n", .len = 19};
    json_t *d = NULL;
    if (ptl_kb_diagnose(kb, NULL, &log, 1, &d, &err) < 0)
        abort();
    json_decref(d);
    if (strcmp(ptl_kb_hash(kb), hash) != 0)
        abort();
    ptl_kb_free(kb);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = 0;
    if (!good.len)
        make_good();
    (void)try_open(data, size);
    unsigned char *b = kb_edited(good.data, good.len, data, size, &len);
    unsigned char *exact = malloc(len ? len : 1);
    if (!exact)
        abort();
    memcpy(exact, b, len);
    bool same = len == good.len && memcmp(exact, good.data, len) == 0;
    if (try_open(exact, len) != same)
        abort();
    free(exact);
    free(b);
    return 0;
}
