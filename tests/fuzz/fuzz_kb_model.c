/* fuzz_kb_model.c - a damaged text.bin: the input as a file, as edits of a good one, and as a head in front
 * of nothing. It is refused with a sentence, or gives scores for a text without reaching out of its tables.
 */
#include "kb_small.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NODES = 9 };
static void *good;
static size_t good_len;
static json_t *nodes;

static void use(const void *bytes, size_t len)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb_model *m = NULL;
    double scores[NODES] = {0};
    static const char text[] = "the alpha converter refused an operator of the serving daemon";
    if (ptl_kb_model_new(bytes, len, "m", &m, &err) < 0) {
        if (m || !err.text[0])
            abort();
        return;
    }
    if (ptl_kb_model_bind(m, nodes, &err) == 0) {
        struct ptl_kb_features f = {0};
        ptl_kb_features_add(&f, "", text, sizeof(text) - 1, 1);
        ptl_kb_features_finish(&f);
        (void)ptl_kb_model_score(m, &f, scores, NODES);
        ptl_kb_features_done(&f);
    }
    ptl_kb_model_free(m);
}

/* A head that says what the input says, with tables of the sizes it names filled from it: the arrays' checks
 * are reached without guessing JSON. */
static void use_tables(const uint8_t *data, size_t size)
{
    PTL_BUF b = PTL_BUF_INIT;
    if (size < 3)
        return;
    unsigned n = data[0] % 8, m = data[1] % 16, classes = data[2] % 4 + 1;
    PTL_JSON *head = json_pack("{s:[],s:[],s:f,s:i,s:i}", "classes", "bias", "scale", 0.01, "features",
                               (int)n, "entries", (int)m);
    const char *id = NULL;
    json_t *v;
    unsigned k = 0;
    json_object_foreach(nodes, id, v) if (k++ < classes)
    {
        json_array_append_new(json_object_get(head, "classes"), json_string(id));
        json_array_append_new(json_object_get(head, "bias"), json_real(-1));
    }
    PTL_FREE char *text = ptl_json_text(head);
    uint32_t head_len = (uint32_t)strlen(text);
    char seal[PTL_KB_MODEL_SEAL] = {0};
    ptl_buf_add(&b, seal, sizeof(seal));
    ptl_buf_add(&b, &head_len, 4);
    ptl_buf_puts(&b, text);
    size_t want = 4 * n + 2 * n + 4 * (n + 1) + 2 * m;
    for (size_t i = 0; i < want; i++)
        ptl_buf_putc(&b, 3 + i < size ? (char)data[3 + i] : 0);
    ptl_kb_model_seal(b.data + sizeof(seal), b.len - sizeof(seal), b.data);
    use(b.data, b.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!good) {
        PTL_JSON *doc = kb_small_doc();
        size_t i;
        const json_t *v;
        good = kb_small_model(&good_len);
        nodes = json_object();
        json_array_foreach(json_object_get(doc, "nodes"), i, v)
            json_object_set_new(nodes, ptl_json_str(v, "id", ""), json_integer((json_int_t)i));
    }
    size_t len = 0;
    unsigned char *b = kb_edited(good, good_len, data, size, &len);
    unsigned char *exact = malloc(len ? len : 1);
    if (!exact)
        abort();
    memcpy(exact, b, len);
    use(data, size);
    use(exact, len);
    if (len > PTL_KB_MODEL_SEAL) { /* the same damage by one who mends the digest */
        ptl_kb_model_seal(exact + PTL_KB_MODEL_SEAL, len - PTL_KB_MODEL_SEAL, (char *)exact);
        use(exact, len);
    }
    use_tables(data, size);
    free(exact);
    free(b);
    return 0;
}
