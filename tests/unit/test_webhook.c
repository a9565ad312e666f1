/* test_webhook.c - deliveries of every forge, right and wrong, against signatures that Python's hmac made
 * (tests/support/webhook_vectors.py); and the ref names against what git said. */
#include "webhook.h"
#include <setjmp.h>
#include <stdio.h>
#include <strings.h>
#include <cmocka.h>

struct header {
    const char *name, *value;
};
struct vector {
    const char *label;
    struct header headers[24];
    const char *body;
    size_t body_len;
    const char *secret;
    int64_t now_s;
    int expect;
    const char *forge, *event, *id, *says;
};
#include "test_webhook_vectors.h"

static const char *header(const void *ctx, const char *name)
{
    for (const struct header *h = ctx; h->name; h++)
        if (strcasecmp(h->name, name) == 0)
            return h->value;
    return NULL;
}

/* In a block of exactly its size, so that the address sanitizer sees a read behind it. */
static struct ptl_webhook_request request_of(const struct vector *v, char **ret_block)
{
    *ret_block = malloc(v->body_len ? v->body_len : 1);
    memcpy(*ret_block, v->body, v->body_len);
    return (struct ptl_webhook_request){.header = header,
                                        .header_ctx = v->headers,
                                        .body = *ret_block,
                                        .body_len = v->body_len,
                                        .wall_s = v->now_s};
}

static void check_text(const struct vector *v, const char *what, const char *got, const char *wanted)
{
    if (wanted && !ptl_str_eq(got, wanted))
        fail_msg("%s: %s is '%s', expected '%s'", v->label, what, got, wanted);
}

static void every_vector(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        char *block;
        struct ptl_webhook_request in = request_of(v, &block);
        struct ptl_webhook w = PTL_WEBHOOK_INIT;
        struct ptl_error err = PTL_ERROR_INIT;
        int r = ptl_webhook_open(&w, &in, &err);
        if (r == PTL_WEBHOOK_DENIED)
            fail_msg("%s: denied before the secret was there", v->label);
        if (r == 0)
            r = ptl_webhook_verify(&w, &in, v->secret, &err);
        if (r != v->expect)
            fail_msg("%s: %d, expected %d (%s)", v->label, r, v->expect, err.text);
        if ((r != 0) != (err.text[0] != '\0'))
            fail_msg("%s: outcome %d comes with '%s'", v->label, r, err.text);
        if (v->says && !strstr(err.text, v->says))
            fail_msg("%s: '%s' does not say '%s'", v->label, err.text, v->says);
        if (v->secret && strlen(v->secret) > 8 && strstr(err.text, v->secret))
            fail_msg("%s: the sentence holds the secret", v->label);
        check_text(v, "forge", ptl_forge_name(w.forge), v->forge);
        check_text(v, "event", w.event, v->event);
        check_text(v, "delivery id", w.delivery_id, v->id);
        ptl_webhook_done(&w);
        free(block);
    }
}

/* What one secret signed, no other opens: each good vector with each other vector's secret. */
static void no_secret_opens_another(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        if (v->expect != 0)
            continue;
        for (size_t k = 0; k < PTL_ARRAY_LEN(vectors); k++) {
            if (ptl_str_eq(vectors[k].secret, v->secret))
                continue;
            char *block;
            struct ptl_webhook_request in = request_of(v, &block);
            struct ptl_webhook w = PTL_WEBHOOK_INIT;
            struct ptl_error err = PTL_ERROR_INIT;
            assert_int_equal(ptl_webhook_open(&w, &in, &err), 0);
            if (ptl_webhook_verify(&w, &in, vectors[k].secret, &err) != PTL_WEBHOOK_DENIED)
                fail_msg("%s: opened with the secret of '%s'", v->label, vectors[k].label);
            ptl_webhook_done(&w);
            free(block);
        }
    }
}

/* Every single bit of a proof counts. */
static void every_bit_of_the_proof_counts(void **state PTL_UNUSED)
{
    static const char *const proofs[] = {"X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature",
                                         "X-Gitlab-Token", "webhook-signature"};
    int tried = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(vectors); i++) {
        if (vectors[i].expect != 0 || !strstr(vectors[i].label, ": a push"))
            continue;
        struct vector v = vectors[i];
        char flipped[128];
        struct header *h = NULL;
        for (size_t k = 0; k < PTL_ARRAY_LEN(proofs); k++)
            for (struct header *each = v.headers; each->name; each++)
                if (strcasecmp(each->name, proofs[k]) == 0)
                    h = each; /* the forge's own comes last in the list above */
        assert_non_null(h);
        if (ptl_str_eq(v.forge, "gitea") || ptl_str_eq(v.forge, "forgejo"))
            for (h = v.headers;
                 strcasecmp(h->name, v.forge[0] == 'g' ? "X-Gitea-Signature" : "X-Forgejo-Signature") != 0;)
                h++;
        const char *right = h->value;
        for (size_t bit = 0; bit < 8 * strlen(right); bit++) {
            snprintf(flipped, sizeof(flipped), "%s", right);
            flipped[bit / 8] = (char)(flipped[bit / 8] ^ (1 << bit % 8));
            if (!flipped[bit / 8])
                continue;
            h->value = flipped;
            char *block;
            struct ptl_webhook_request in = request_of(&v, &block);
            struct ptl_webhook w = PTL_WEBHOOK_INIT;
            struct ptl_error err = PTL_ERROR_INIT;
            int r = ptl_webhook_open(&w, &in, &err);
            if (r == 0)
                r = ptl_webhook_verify(&w, &in, v.secret, &err);
            if (r != PTL_WEBHOOK_DENIED && r != PTL_WEBHOOK_UNSIGNED)
                fail_msg("%s: bit %zu of the proof does not count (%d)", v.label, bit, r);
            ptl_webhook_done(&w);
            free(block);
            tried++;
        }
    }
    assert_true(tried > 2000);
}

static void a_large_body_is_covered_to_its_end(void **state PTL_UNUSED)
{
    /* python3 -c "import hmac; print(hmac.new(b'k', b'a' * (8 << 20), 'sha256').hexdigest())" */
    static const char mac[] = "sha256=e17162a647938cef8a152a5e6981cd2dd9c7d1558748c816934a8c1ac71316f9";
    static const struct header headers[] = {
        {"X-GitHub-Event",      "push"},
        {"X-GitHub-Delivery",   "1"   },
        {"X-Hub-Signature-256", mac   },
        {NULL,                  NULL  }
    };
    char *body = malloc(PTL_WEBHOOK_BODY_MAX);
    memset(body, 'a', PTL_WEBHOOK_BODY_MAX);
    struct ptl_webhook_request in = {
        .header = header, .header_ctx = headers, .body = body, .body_len = PTL_WEBHOOK_BODY_MAX};
    struct ptl_webhook w = PTL_WEBHOOK_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_webhook_open(&w, &in, &err), 0);
    assert_int_equal(ptl_webhook_verify(&w, &in, "k", &err), 0);
    body[PTL_WEBHOOK_BODY_MAX - 1] = 'b';
    assert_int_equal(ptl_webhook_verify(&w, &in, "k", &err), PTL_WEBHOOK_DENIED);
    ptl_webhook_done(&w);
    free(body);
}

static void ref_names_as_git_has_them(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(refs); i++)
        if (ptl_webhook_ref_is_valid(refs[i].ref) != refs[i].valid)
            fail_msg("'%s': git says %s", refs[i].ref, refs[i].valid ? "valid" : "not valid");
    char long_ref[2000] = "refs/heads/";
    memset(long_ref + 11, 'a', sizeof(long_ref) - 12);
    long_ref[1024] = '\0';
    assert_true(ptl_webhook_ref_is_valid(long_ref));
    long_ref[1024] = 'a';
    long_ref[1025] = '\0';
    assert_false(ptl_webhook_ref_is_valid(long_ref));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector),
        cmocka_unit_test(no_secret_opens_another),
        cmocka_unit_test(every_bit_of_the_proof_counts),
        cmocka_unit_test(a_large_body_is_covered_to_its_end),
        cmocka_unit_test(ref_names_as_git_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
