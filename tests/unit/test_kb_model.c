/* test_kb_model.c - the file of the text model: what training writes reads back, in the form of before too;
 * bytes that changed, or numbers that no training gives, are refused with the file's name. */
#include "model.h"
#include <portolan/buf.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static char *bytes; /* as trained */
static size_t len;
static json_t *nodes;

static int train(void **state PTL_UNUSED)
{
    static const char *const words[] = {"the converter refused its graph", "the server found no version"};
    static const char *const labels[] = {"mobile/a/first", "mobile/a/second"};
    struct ptl_kb_case cases[6] = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    void *made = NULL;
    nodes = json_pack("{s:i,s:i}", labels[0], 0, labels[1], 1);
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        cases[i].label = labels[i % 2];
        cases[i].weight = 1;
        ptl_kb_features_add(&cases[i].f, "", words[i % 2], strlen(words[i % 2]), 1);
        ptl_kb_features_finish(&cases[i].f);
    }
    int r = ptl_kb_train(cases, PTL_ARRAY_LEN(cases), &(struct ptl_kb_train_options){.min_cases = 1}, &made,
                         &len, &err);
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        ptl_kb_features_done(&cases[i].f);
    bytes = made;
    return r;
}

static int done(void **state PTL_UNUSED)
{
    free(bytes);
    json_decref(nodes);
    return 0;
}

static void scores_of(const void *data, size_t n, double ret[2])
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb_model *m = NULL;
    struct ptl_kb_features f = {0};
    static const char text[] = "the server found no version";
    ret[0] = ret[1] = 0;
    if (ptl_kb_model_new(data, n, "a file", &m, &err) < 0 || ptl_kb_model_bind(m, nodes, &err) < 0)
        fail_msg("%s", err.text);
    ptl_kb_features_add(&f, "", text, strlen(text), 1);
    ptl_kb_features_finish(&f);
    (void)ptl_kb_model_score(m, &f, ret, 2);
    ptl_kb_features_done(&f);
    ptl_kb_model_free(m);
}

static void refused(const char *label, const void *data, size_t n, const char *word)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb_model *m = NULL;
    int r = ptl_kb_model_new(data, n, "some/text.bin", &m, &err);
    ptl_kb_model_free(m);
    if (r >= 0)
        fail_msg("%s: taken", label);
    if (!ptl_str_starts(err.text, "some/text.bin: ") || !strstr(err.text, word))
        fail_msg("%s: refused with \"%s\"", label, err.text);
}

static void a_model_without_digest_says_the_same(void **state PTL_UNUSED)
{
    double now[2], before[2];
    PTL_BUF old = PTL_BUF_INIT;
    assert_memory_equal(bytes, "PTLKBM2\n", 8);
    ptl_buf_puts(&old, "PTLKBM1\n");
    ptl_buf_add(&old, bytes + PTL_KB_MODEL_SEAL, len - PTL_KB_MODEL_SEAL);
    scores_of(bytes, len, now);
    scores_of(old.data, old.len, before);
    assert_memory_equal(now, before, sizeof(now));
    if (!(now[1] > now[0] + 0.1))
        fail_msg("%g and %g for what only the second was said of", now[0], now[1]);
}

static void a_changed_byte_is_seen_wherever_it_is(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < len; i++) {
        PTL_FREE char *other = malloc(len);
        assert_non_null(other);
        memcpy(other, bytes, len);
        other[i] = (char)(other[i] ^ 4);
        refused("a bit", other, len, "");
        if (i >= 8)
            refused("a bit behind the magic", other, len, "digest");
    }
    for (size_t n = 0; n < len; n += n < 80 ? 1 : 7)
        refused("cut", bytes, n, "");
}

/* The file with another head, sealed anew: what someone would have to mean. */
static void refused_with(const char *label, const char *key, const char *value, const char *word)
{
    uint32_t n;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *head = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    char seal[PTL_KB_MODEL_SEAL] = {0};
    const char *at = bytes + PTL_KB_MODEL_SEAL;
    memcpy(&n, at, 4);
    assert_int_equal(ptl_json_parse(at + 4, n, "head", &head, &err), 0);
    json_object_set_new(head, key, json_loads(value, JSON_DECODE_ANY, NULL));
    PTL_FREE char *text = ptl_json_text(head);
    uint32_t m = (uint32_t)strlen(text);
    ptl_buf_add(&b, seal, sizeof(seal));
    ptl_buf_add(&b, &m, 4);
    ptl_buf_puts(&b, text);
    ptl_buf_add(&b, at + 4 + n, len - PTL_KB_MODEL_SEAL - 4 - n);
    ptl_kb_model_seal(b.data + sizeof(seal), b.len - sizeof(seal), b.data);
    refused(label, b.data, b.len, word);
}

static void numbers_that_make_no_score_are_refused(void **state PTL_UNUSED)
{
    uint32_t n;
    PTL_JSON *head = NULL;
    memcpy(&n, bytes + PTL_KB_MODEL_SEAL, 4);
    assert_int_equal(ptl_json_parse(bytes + PTL_KB_MODEL_SEAL + 4, n, "head", &head, NULL), 0);
    size_t classes = json_array_size(json_object_get(head, "classes"));
    static const char *const scales[] = {"1e308", "-0.01", "0", "11", "\"0.01\"", "null"},
                             *const biases[] = {"1e308", "-1e300", "1001", "\"1\"", "null"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(scales); i++)
        refused_with(scales[i], "scale", scales[i], "no number that training gives");
    for (size_t i = 0; i < PTL_ARRAY_LEN(biases); i++) {
        PTL_BUF list = PTL_BUF_INIT;
        for (size_t k = 0; k < classes; k++)
            ptl_buf_printf(&list, "%c%s", k ? ',' : '[', k + 1 < classes ? "0" : biases[i]);
        ptl_buf_puts(&list, "]");
        refused_with(biases[i], "bias", ptl_buf_str(&list), "no number that training gives");
    }
    refused_with("as many features as never", "features", "4000000", "cut off");
    refused_with("negative entries", "entries", "-5", "head");
    assert_false(ptl_kb_model_is_sane(0.0 / 0.0, NULL, 0));
    assert_false(ptl_kb_model_is_sane(1, (double[]){0, 0.0 / 0.0}, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_model_without_digest_says_the_same),
                                       cmocka_unit_test(a_changed_byte_is_seen_wherever_it_is),
                                       cmocka_unit_test(numbers_that_make_no_score_are_refused)};
    return cmocka_run_group_tests(tests, train, done);
}
