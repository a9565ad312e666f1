/* test_webhook_payload.c - what a verified body says: pushes as delivery_add takes them, or the reason why
 * there are none; and everything that is refused. */
#include "webhook.h"
#include <portolan/buf.h>
#include <setjmp.h>
#include <stdio.h>
#include <strings.h>
#include <cmocka.h>

#define A    "1111111111111111111111111111111111111111"
#define B    "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a"
#define C    "3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b"
#define ZERO "0000000000000000000000000000000000000000"

/* Only ptl_webhook_parse is tried here: the delivery counts as verified. */
struct row {
    const char *label;
    enum ptl_forge forge;
    const char *event, *body;
    const char *pushes; /* JSON, or NULL: there are none */
    const char *says;   /* in the reason for ignoring, or in the error when `refused` */
    bool refused;
};

/* clang-format off */
#define PUSH(ref, before, after, pusher, forced, why)                                                                          \
    "{\"ref\":\"" ref "\",\"before\":" before ",\"after\":" after ",\"pusher\":" pusher ",\"forced\":" forced ",\"why_not\":" why \
    "}"
#define Q(s) "\"" s "\""
#define GONE Q("the ref was deleted: nothing to run")

static const struct row rows[] = {
    {"github: a push", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"deleted\":false,\"forced\":false,\"head_commit\":{\"id\":\"" B
     "\"},\"pusher\":{\"name\":\"ada\"}}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), Q("ada"), "false", "null") "]", NULL, false},
    {"github: several commits are one push", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"commits\":[{\"id\":\"" C "\"},{\"id\":\"" A "\"},{\"id\":\"" B "\"}]}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), "null", "false", "null") "]", NULL, false},
    {"github: a forced push", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"forced\":true,\"pusher\":{\"name\":\"ada\"}}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), Q("ada"), "true", "null") "]", NULL, false},
    {"github: a new branch", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/x\",\"before\":\"" ZERO "\",\"after\":\"" B "\",\"created\":true}",
     "[" PUSH("refs/heads/x", "null", Q(B), "null", "false", "null") "]", NULL, false},
    {"github: a deleted branch is remembered and not run", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/heads/x\",\"before\":\"" A "\",\"after\":\"" ZERO "\",\"deleted\":true,\"head_commit\":null}",
     "[" PUSH("refs/heads/x", Q(A), "null", "null", "false", GONE) "]", NULL, false},
    {"github: a light tag", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/tags/v1\",\"before\":\"" ZERO "\",\"after\":\"" B "\",\"head_commit\":{\"id\":\"" B "\"}}",
     "[" PUSH("refs/tags/v1", "null", Q(B), "null", "false", "null") "]", NULL, false},
    {"github: an annotated tag runs the commit behind it", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/tags/v1\",\"before\":\"" ZERO "\",\"after\":\"" C "\",\"head_commit\":{\"id\":\"" B "\"}}",
     "[" PUSH("refs/tags/v1", "null", Q(B), "null", "false", "null") "]", NULL, false},
    {"github: head_commit does not replace the tip of a branch", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"head_commit\":{\"id\":\"" C "\"}}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), "null", "false", "null") "]", NULL, false},
    {"gitea: a push", PTL_FORGE_GITEA, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"pusher\":{\"login\":\"ada\",\"full_name\":\"Ada L.\"}}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), Q("ada"), "false", "null") "]", NULL, false},
    {"forgejo: a push of a name with a slash", PTL_FORGE_FORGEJO, "push", "{\"ref\":\"refs/heads/release/1.2\",\"before\":\"" A "\",\"after\":\"" B "\"}",
     "[" PUSH("refs/heads/release/1.2", Q(A), Q(B), "null", "false", "null") "]", NULL, false},
    {"gitea: its test delivery moves nothing", PTL_FORGE_GITEA, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" A "\"}", NULL, "test delivery", false},
    {"gitlab: a push", PTL_FORGE_GITLAB, "Push Hook",
     "{\"object_kind\":\"push\",\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"checkout_sha\":\"" B "\",\"user_name\":\"Ada L.\",\"user_username\":\"ada\"}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), Q("ada"), "false", "null") "]", NULL, false},
    {"gitlab: a deleted branch has checkout_sha null", PTL_FORGE_GITLAB, "Push Hook",
     "{\"object_kind\":\"push\",\"ref\":\"refs/heads/x\",\"before\":\"" A "\",\"after\":\"" ZERO "\",\"checkout_sha\":null}",
     "[" PUSH("refs/heads/x", Q(A), "null", "null", "false", GONE) "]", NULL, false},
    {"gitlab: an annotated tag", PTL_FORGE_GITLAB, "Tag Push Hook",
     "{\"object_kind\":\"tag_push\",\"ref\":\"refs/tags/v1\",\"before\":\"" ZERO "\",\"after\":\"" C "\",\"checkout_sha\":\"" B "\"}",
     "[" PUSH("refs/tags/v1", "null", Q(B), "null", "false", "null") "]", NULL, false},
    {"gitlab: a deleted tag", PTL_FORGE_GITLAB, "Tag Push Hook",
     "{\"object_kind\":\"tag_push\",\"ref\":\"refs/tags/v1\",\"before\":\"" C "\",\"after\":\"" ZERO "\",\"checkout_sha\":null}",
     "[" PUSH("refs/tags/v1", Q(C), "null", "null", "false", GONE) "]", NULL, false},
    {"gitlab: checkout_sha null without a deletion", PTL_FORGE_GITLAB, "Tag Push Hook",
     "{\"object_kind\":\"tag_push\",\"ref\":\"refs/tags/v1\",\"before\":\"" ZERO "\",\"after\":\"" C "\",\"checkout_sha\":null}",
     "[" PUSH("refs/tags/v1", "null", Q(C), "null", "false", "null") "]", NULL, false},
    {"gitlab: a system hook tells of a push", PTL_FORGE_GITLAB, "System Hook", "{\"event_name\":\"push\",\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\"}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), "null", "false", "null") "]", NULL, false},
    {"gitlab: other system events", PTL_FORGE_GITLAB, "System Hook", "{\"event_name\":\"repository_update\",\"changes\":[]}", NULL, "System Hook", false},
    {"gitlab: a merge request", PTL_FORGE_GITLAB, "Merge Request Hook", "{\"object_kind\":\"merge_request\"}", NULL, "starts no run", false},
    {"standard: one push", PTL_FORGE_STANDARD, "webhook",
     "{\"type\":\"push\",\"data\":{\"ref\":\"refs/heads/main\",\"after\":\"" B "\",\"pusher\":\"ada\",\"forced\":true}}",
     "[" PUSH("refs/heads/main", "null", Q(B), Q("ada"), "true", "null") "]", NULL, false},
    {"standard: three pushes, each with its answer", PTL_FORGE_STANDARD, "webhook",
     "{\"type\":\"push\",\"data\":{\"pushes\":[{\"ref\":\"refs/heads/a\",\"before\":null,\"after\":\"" A "\"},{\"ref\":\"refs/notes/x\",\"after\":\"" B
     "\"},{\"ref\":\"refs/heads/b\",\"before\":\"" A "\",\"after\":\"" ZERO "\"}]}}",
     "[" PUSH("refs/heads/a", "null", Q(A), "null", "false", "null") "," PUSH("refs/notes/x", "null", Q(B), "null", "false",
     Q("refs/notes/x is neither a branch nor a tag")) "," PUSH("refs/heads/b", Q(A), "null", "null", "false", GONE) "]", NULL, false},
    {"standard: no pushes", PTL_FORGE_STANDARD, "webhook", "{\"type\":\"push\",\"data\":{\"pushes\":[]}}", NULL, "no pushes", false},
    {"standard: ping", PTL_FORGE_STANDARD, "webhook", "{\"type\":\"ping\"}", NULL, "ping", false},
    {"standard: another type", PTL_FORGE_STANDARD, "webhook", "{\"type\":\"user.created\",\"data\":{}}", NULL, "user.created", false},
    {"github: ping", PTL_FORGE_GITHUB, "ping", "{\"zen\":\"Keep it logically awesome.\",\"hook_id\":1}", NULL, "ping", false},
    {"github: issues", PTL_FORGE_GITHUB, "issues", "{}", NULL, "'issues' starts no run", false},
    {"gitea: create comes beside push", PTL_FORGE_GITEA, "create", "{\"ref\":\"x\",\"ref_type\":\"branch\"}", NULL, "the same", false},
    {"gitea: delete", PTL_FORGE_GITEA, "delete", "{\"ref\":\"x\",\"ref_type\":\"branch\"}", NULL, "starts no run", false},
    {"a pull request's ref", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/pull/1/head\",\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "neither a branch nor a tag", false},
    {"control bytes in a name", PTL_FORGE_GITHUB, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"pusher\":{\"name\":\"a\\u000ad\\u001b[31ma\"}}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), Q("a?d?[31ma"), "false", "null") "]", NULL, false},
    {"a name that is no text", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"pusher\":{\"name\":[1]}}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), "null", "false", "null") "]", NULL, false},
    {"forced that is no boolean", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "\",\"forced\":\"yes\"}",
     "[" PUSH("refs/heads/main", Q(A), Q(B), "null", "false", "null") "]", NULL, false},
    /* refused */
    {"empty body", PTL_FORGE_GITHUB, "push", "", NULL, "JSON", true},
    {"half a body", PTL_FORGE_GITHUB, "push", "{\"ref\":", NULL, "JSON", true},
    {"something behind the JSON", PTL_FORGE_GITHUB, "push", "{} {}", NULL, "JSON", true},
    {"an array", PTL_FORGE_GITHUB, "push", "[]", NULL, "object", true},
    {"not UTF-8", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/\xff\",\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "JSON", true},
    {"an escaped NUL", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/a\\u0000\",\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "JSON", true},
    {"a key twice", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/a\",\"ref\":\"refs/heads/b\",\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "JSON", true},
    {"no ref", PTL_FORGE_GITHUB, "push", "{\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "payload.ref", true},
    {"a short ref", PTL_FORGE_GITHUB, "push", "{\"ref\":\"main\",\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "payload.ref", true},
    {"a ref with ..", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/../../x\",\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "payload.ref", true},
    {"a ref that is a number", PTL_FORGE_GITHUB, "push", "{\"ref\":7,\"before\":\"" A "\",\"after\":\"" B "\"}", NULL, "payload.ref", true},
    {"no after", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\"}", NULL, "payload.after", true},
    {"after null", PTL_FORGE_GITLAB, "Push Hook", "{\"object_kind\":\"push\",\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":null}", NULL, "payload.after", true},
    {"after too short", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"2a2a\"}", NULL, "payload.after", true},
    {"after in upper case", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A\"}", NULL, "payload.after", true},
    {"after with an option in it", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"--upload-pack=touch /tmp/x 0123456789abcdef\"}", NULL, "payload.after", true},
    {"a SHA-256 repository", PTL_FORGE_GITEA, "push",
     "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B "222222222222222222222222\"}", NULL, "SHA-256", true},
    {"before is no commit", PTL_FORGE_GITHUB, "push", "{\"ref\":\"refs/heads/main\",\"before\":\"x\",\"after\":\"" B "\"}", NULL, "payload.before", true},
    {"standard: no type", PTL_FORGE_STANDARD, "webhook", "{\"data\":{}}", NULL, "payload.type", true},
    {"standard: no data", PTL_FORGE_STANDARD, "webhook", "{\"type\":\"push\"}", NULL, "payload.data", true},
    {"standard: pushes that are no array", PTL_FORGE_STANDARD, "webhook", "{\"type\":\"push\",\"data\":{\"pushes\":{}}}", NULL, "payload.data", true},
    {"standard: a bad one among good ones", PTL_FORGE_STANDARD, "webhook", "{\"type\":\"push\",\"data\":{\"pushes\":[{\"ref\":\"refs/heads/a\",\"after\":\"" A "\"},{\"ref\":\"x\"}]}}", NULL, "payload.ref", true},
};

/* clang-format on */

static const char *no_header(const void *ctx PTL_UNUSED, const char *name PTL_UNUSED)
{
    return NULL;
}

static int parse(struct ptl_webhook *w, const char *body, size_t len, struct ptl_error *err)
{
    char *block = malloc(len ? len : 1);
    memcpy(block, body, len);
    struct ptl_webhook_request in = {.header = no_header, .body = block, .body_len = len};
    int r = ptl_webhook_parse(w, &in, err);
    free(block);
    return r;
}

static void every_row(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        const struct row *t = &rows[i];
        struct ptl_webhook w = {.forge = t->forge};
        struct ptl_error err = PTL_ERROR_INIT;
        snprintf(w.event, sizeof(w.event), "%s", t->event);
        int r = parse(&w, t->body, strlen(t->body), &err);
        if (r != (t->refused ? PTL_WEBHOOK_MALFORMED : 0))
            fail_msg("%s: %d (%s)", t->label, r, err.text);
        if (t->refused) {
            if (!strstr(err.text, t->says) || w.pushes)
                fail_msg("%s: '%s' does not say '%s', or pushes are left", t->label, err.text, t->says);
        } else if (t->pushes) {
            PTL_JSON *wanted = json_loads(t->pushes, 0, NULL);
            PTL_FREE char *got = json_dumps(w.pushes, JSON_COMPACT);
            assert_non_null(wanted);
            if (!json_equal(wanted, w.pushes) || w.ignored[0])
                fail_msg("%s: %s %s", t->label, got, w.ignored);
        } else if (json_array_size(w.pushes) != 0 || !strstr(w.ignored, t->says)) {
            fail_msg("%s: ignored with '%s', expected '%s'", t->label, w.ignored, t->says);
        }
        ptl_webhook_done(&w);
    }
}

/* Long names are cut between characters, wherever the cut falls. */
static void long_names_stay_utf8(void **state PTL_UNUSED)
{
    for (int lead = 0; lead < 4; lead++) {
        char name[400] = "", body[1600], ref[400] = "refs/x/";
        for (int i = 0; i < lead; i++)
            strcat(name, "x");
        for (int i = 0; i < 60; i++)
            strcat(name, "\xe2\x82\xac");
        strcat(ref, name);
        snprintf(body, sizeof(body),
                 "{\"ref\":\"refs/heads/main\",\"before\":\"" A "\",\"after\":\"" B
                 "\",\"pusher\":{\"name\":\"%s\"}}",
                 name);
        struct ptl_webhook w = {.forge = PTL_FORGE_GITHUB, .event = "push"};
        struct ptl_error err = PTL_ERROR_INIT;
        assert_int_equal(parse(&w, body, strlen(body), &err), 0);
        const char *pusher = json_string_value(json_object_get(json_array_get(w.pushes, 0), "pusher"));
        assert_non_null(pusher);
        assert_true(strlen(pusher) > 120 && strlen(pusher) < 128);
        assert_memory_equal(pusher, name, strlen(pusher));
        snprintf(body, sizeof(body), "{\"ref\":\"%s\",\"before\":\"" A "\",\"after\":\"" B "\"}", ref);
        assert_int_equal(parse(&w, body, strlen(body), &err), 0);
        assert_int_equal(json_array_size(w.pushes), 0);
        PTL_JSON *is_utf8 = json_string(w.ignored);
        assert_non_null(is_utf8);
        assert_non_null(strstr(w.ignored, "neither"));
        ptl_webhook_done(&w);
    }
}

static void number_of_pushes_is_bounded(void **state PTL_UNUSED)
{
    for (int n = PTL_WEBHOOK_PUSHES_MAX; n <= PTL_WEBHOOK_PUSHES_MAX + 1; n++) {
        PTL_BUF b = PTL_BUF_INIT;
        ptl_buf_puts(&b, "{\"type\":\"push\",\"data\":{\"pushes\":[");
        for (int i = 0; i < n; i++)
            ptl_buf_printf(&b, "%s{\"ref\":\"refs/heads/b%d\",\"after\":\"" A "\"}", i ? "," : "", i);
        ptl_buf_puts(&b, "]}}");
        struct ptl_webhook w = {.forge = PTL_FORGE_STANDARD, .event = "webhook"};
        struct ptl_error err = PTL_ERROR_INIT;
        assert_int_equal(parse(&w, b.data, b.len, &err),
                         n > PTL_WEBHOOK_PUSHES_MAX ? PTL_WEBHOOK_MALFORMED : 0);
        assert_int_equal(json_array_size(w.pushes), n > PTL_WEBHOOK_PUSHES_MAX ? 0 : n);
        ptl_webhook_done(&w);
    }
}

static void deep_nesting_is_refused(void **state PTL_UNUSED)
{
    PTL_BUF b = PTL_BUF_INIT;
    for (int i = 0; i < 100000; i++)
        ptl_buf_putc(&b, '[');
    struct ptl_webhook w = {.forge = PTL_FORGE_GITHUB, .event = "push"};
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(parse(&w, b.data, b.len, &err), PTL_WEBHOOK_MALFORMED);
    ptl_webhook_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row),
        cmocka_unit_test(long_names_stay_utf8),
        cmocka_unit_test(number_of_pushes_is_bounded),
        cmocka_unit_test(deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
