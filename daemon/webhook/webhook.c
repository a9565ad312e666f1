/* webhook.c - who sent a delivery, and does it prove that it knows the project's secret.
 *
 * The forge is found by its own headers first: Forgejo sends Gitea's and GitHub's too, Gitea sends GitHub's,
 * so the order of the table decides. Exactly one scheme is then checked, never "any that passes": an attacker
 * who may pick headers picks among schemes that all need the secret.
 *
 * Promises: the proof is computed over the bytes as received (for Gitea and Forgejo form posts over the
 * decoded payload, because that is what these two sign) before anything in them is interpreted; comparing
 * takes the same time for any wrong value; an empty proof, an empty secret and a SHA-1 proof never pass.
 * Leaves out: remembering deliveries (the store's), and freshness of GitHub's, Gitea's and GitLab's unsigned
 * form, which carry no signed time: a captured delivery under a new delivery id passes here and ends at the
 * store, where the same push of the same ref is known. */
#include "webhook-private.h"
#include <portolan/buf.h>
#include <portolan/hash.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

static const char STANDARD_SECRET[] = "whsec_";
/* Any key does where there is no secret: the work is to be the same, the outcome is decided before. */
static const char NO_SECRET[] = "this project has no webhook secret, and nothing is accepted for it";

struct forge {
    enum ptl_forge forge;
    const char *name;
    const char *marks[3]; /* any of these headers tells the forge */
    const char *event, *id;
    const char *proofs[2]; /* the first that is present is the one to check, even when empty */
};
static const struct forge forges[] = {
    {PTL_FORGE_FORGEJO,
     "forgejo",  {"X-Forgejo-Event", "X-Forgejo-Delivery", "X-Forgejo-Signature"},
     "X-Forgejo-Event", "X-Forgejo-Delivery",
     {"X-Forgejo-Signature", "X-Gitea-Signature"}},
    {PTL_FORGE_GITEA,
     "gitea",    {"X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Signature"},
     "X-Gitea-Event",   "X-Gitea-Delivery",
     {"X-Gitea-Signature", NULL}                 },
    {PTL_FORGE_GITLAB,
     "gitlab",   {"X-Gitlab-Event", "X-Gitlab-Token", "X-Gitlab-Webhook-UUID"},
     "X-Gitlab-Event",  NULL,
     {"webhook-signature", "X-Gitlab-Token"}     },
    {PTL_FORGE_GITHUB,
     "github",   {"X-GitHub-Event", "X-GitHub-Delivery", "X-GitHub-Hook-ID"},
     "X-GitHub-Event",  "X-GitHub-Delivery",
     {"X-Hub-Signature-256", NULL}               },
    {PTL_FORGE_STANDARD,
     "standard", {"webhook-signature", "webhook-id", "webhook-timestamp"},
     NULL,              "webhook-id",
     {"webhook-signature", NULL}                 },
};

static const struct forge *find(enum ptl_forge forge)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(forges); i++)
        if (forges[i].forge == forge)
            return &forges[i];
    return NULL;
}

const char *ptl_forge_name(enum ptl_forge forge)
{
    const struct forge *f = find(forge);
    return f ? f->name : "";
}

void ptl_webhook_done(struct ptl_webhook *w)
{
    json_decref(w->pushes);
    free(w->payload);
    *w = (struct ptl_webhook)PTL_WEBHOOK_INIT;
}

static const char *header(const struct ptl_webhook_request *in, const char *name)
{
    return name ? in->header(in->header_ctx, name) : NULL;
}

static const struct forge *detect(const struct ptl_webhook_request *in)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(forges); i++)
        for (size_t k = 0; k < PTL_ARRAY_LEN(forges[i].marks); k++)
            if (header(in, forges[i].marks[k]))
                return &forges[i];
    return NULL;
}

/* ---- step 1: what the headers say ---- */

static bool is_lower_hex(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return true;
}

static bool is_id(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+/=-");
    return n > 0 && s[n] == '\0' && n < PTL_WEBHOOK_ID_MAX;
}

static int read_event(struct ptl_webhook *w, const struct forge *f, const char *value, struct ptl_error *err)
{
    if (!f->event) /* Standard Webhooks names the event in the body */
        value = "webhook";
    size_t n =
        value ? strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-") : 0;
    if (n == 0 || value[n] || n >= sizeof(w->event))
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                             "%s: expected the name of an event in letters, digits, "
                             "'_', '-' and '.', at most %zu of them; it %s",
                             f->event, sizeof(w->event) - 1, value ? "is something else" : "is missing");
    memcpy(w->event, value, n + 1);
    return 0;
}

/* GitLab keeps Idempotency-Key over retries from 17.4 on. Older ones: the event's UUID is shared by
 * deliveries that one delivery caused, so the body joins it; X-Gitlab-Webhook-UUID names the hook and never a
 * delivery. */
static int gitlab_id(struct ptl_webhook *w, const struct ptl_webhook_request *in, struct ptl_error *err)
{
    const char *id = w->signed_form ? header(in, "webhook-id") : header(in, "Idempotency-Key");
    if (id || w->signed_form) {
        if (!id || !is_id(id))
            return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                                 "%s: expected 1 to %d letters, digits and ._:+/=-",
                                 w->signed_form ? "webhook-id" : "Idempotency-Key", PTL_WEBHOOK_ID_MAX - 1);
        memcpy(w->delivery_id, id, strlen(id) + 1);
        return 0;
    }
    char hash[PTL_SHA256_HEX];
    ptl_sha256_of(in->body, in->body_len, hash);
    const char *uuid = header(in, "X-Gitlab-Event-UUID");
    if (uuid && is_id(uuid) && strlen(uuid) <= 64)
        snprintf(w->delivery_id, sizeof(w->delivery_id), "%s-%.16s", uuid, hash);
    else
        snprintf(w->delivery_id, sizeof(w->delivery_id), "body-%s", hash);
    return 0;
}

static int read_id(struct ptl_webhook *w, const struct forge *f, const struct ptl_webhook_request *in,
                   struct ptl_error *err)
{
    if (w->forge == PTL_FORGE_GITLAB)
        return gitlab_id(w, in, err);
    const char *id = header(in, f->id);
    if (!id || !is_id(id))
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                             "%s: expected 1 to %d letters, digits and ._:+/=-; "
                             "repeats of a delivery are told apart by it",
                             f->id, PTL_WEBHOOK_ID_MAX - 1);
    memcpy(w->delivery_id, id, strlen(id) + 1);
    return 0;
}

/* "<id>.<timestamp>.<body>" is what is signed. An id with a dot could be cut in two ways; none is sent. */
static int check_standard_form(const struct ptl_webhook *w, const struct ptl_webhook_request *in,
                               struct ptl_error *err)
{
    if (strchr(w->delivery_id, '.'))
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "webhook-id: a dot is not possible in it");
    const char *ts = header(in, "webhook-timestamp");
    size_t n = ts ? strspn(ts, "0123456789") : 0;
    if (n == 0 || n > 12 || ts[n])
        return ptl_error_set(err, PTL_WEBHOOK_UNSIGNED,
                             "webhook-timestamp: expected whole seconds since 1970");
    int64_t off = strtoll(ts, NULL, 10) - in->wall_s;
    if (off > PTL_WEBHOOK_SKEW_S || off < -PTL_WEBHOOK_SKEW_S)
        return ptl_error_set(err, PTL_WEBHOOK_UNSIGNED,
                             "webhook-timestamp is %lld s %s this daemon's clock; at most "
                             "%d s are allowed: send it anew, or look at the clocks",
                             (long long)(off < 0 ? -off : off), off < 0 ? "behind" : "ahead of",
                             PTL_WEBHOOK_SKEW_S);
    for (const char *p = w->proof; *p;) {
        p += strspn(p, " ");
        if (strncmp(p, "v1,", 3) == 0)
            return 0;
        p += strcspn(p, " ");
    }
    return ptl_error_set(err, PTL_WEBHOOK_UNSIGNED, "webhook-signature: expected at least one 'v1,<base64>'");
}

static int check_hex_form(const struct ptl_webhook *w, const char *prefix, struct ptl_error *err)
{
    size_t n = strlen(prefix);
    if (strncmp(w->proof, prefix, n) != 0 || strlen(w->proof) != n + 64 || !is_lower_hex(w->proof + n, 64))
        return ptl_error_set(err, PTL_WEBHOOK_UNSIGNED,
                             "%s: expected %s64 lower-case hex digits (HMAC-SHA256)", w->proof_header,
                             *prefix ? "'sha256=' and " : "");
    return 0;
}

static int check_proof(struct ptl_webhook *w, const struct ptl_webhook_request *in, struct ptl_error *err)
{
    if (!w->proof && w->forge == PTL_FORGE_GITHUB && header(in, "X-Hub-Signature"))
        return ptl_error_set(err, PTL_WEBHOOK_UNSIGNED,
                             "only X-Hub-Signature (SHA-1) came; expected "
                             "X-Hub-Signature-256, which every GitHub since 2020 sends beside it");
    if (!w->proof || !*w->proof)
        return ptl_error_set(
            err, PTL_WEBHOOK_UNSIGNED,
            "this delivery is not signed: %s is %s. Set one and the same secret in the webhook's "
            "settings at the forge and in this project (member webhook_secret of "
            "PATCH /api/v1/projects/NAME)",
            w->proof_header, w->proof ? "empty" : "missing");
    switch (w->forge) {
    case PTL_FORGE_GITHUB:
        return check_hex_form(w, "sha256=", err);
    case PTL_FORGE_FORGEJO:
    case PTL_FORGE_GITEA:
        return check_hex_form(w, "", err);
    case PTL_FORGE_GITLAB:
        return w->signed_form ? check_standard_form(w, in, err) : 0;
    case PTL_FORGE_STANDARD:
        return check_standard_form(w, in, err);
    case PTL_FORGE_NONE:
        break;
    }
    return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "no forge");
}

static bool type_is(const char *type, const char *wanted)
{
    size_t n = strlen(wanted);
    return strncasecmp(type, wanted, n) == 0 && (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static int read_form(struct ptl_webhook *w, const struct ptl_webhook_request *in, struct ptl_error *err)
{
    const char *type = header(in, "Content-Type");
    if (!type || type_is(type, "application/json"))
        return 0;
    if (type_is(type, "application/x-www-form-urlencoded"))
        return ptl_webhook_form_payload(in->body, in->body_len, &w->payload, &w->payload_len, err);
    return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                         "Content-Type '%.80s': expected application/json or "
                         "application/x-www-form-urlencoded",
                         type);
}

int ptl_webhook_open(struct ptl_webhook *w, const struct ptl_webhook_request *in, struct ptl_error *err)
{
    const struct forge *f = detect(in);
    if (!f)
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                             "no forge's header came with it: expected X-Forgejo-Event, "
                             "X-Gitea-Event, X-Gitlab-Event, X-GitHub-Event or webhook-id");
    w->forge = f->forge;
    for (size_t i = 0; i < PTL_ARRAY_LEN(f->proofs) && f->proofs[i] && !w->proof; i++)
        if ((w->proof = header(in, f->proofs[i])) != NULL)
            w->proof_header = f->proofs[i];
    if (!w->proof)
        w->proof_header = w->forge == PTL_FORGE_GITLAB ? "X-Gitlab-Token" : f->proofs[0];
    w->signed_form = ptl_str_eq(w->proof_header, "webhook-signature");
    int r = read_event(w, f, header(in, f->event), err);
    if (r == 0)
        r = read_id(w, f, in, err);
    if (r == 0)
        r = check_proof(w, in, err);
    if (r == 0)
        r = read_form(w, in, err);
    return r;
}

/* ---- step 2: the proof ---- */

static bool verify_hmac(const struct ptl_webhook *w, const struct ptl_webhook_request *in, const char *secret)
{
    /* GitHub signs what it sends; Gitea and Forgejo sign the payload, also when they send it as a form. */
    bool over_payload = w->forge != PTL_FORGE_GITHUB && w->payload;
    char hex[PTL_SHA256_HEX];
    if (ptl_hmac_hex("sha256", secret, strlen(secret), over_payload ? w->payload : in->body,
                     over_payload ? w->payload_len : in->body_len, hex) < 0)
        return false;
    return ptl_secret_equal(hex, w->forge == PTL_FORGE_GITHUB ? w->proof + strlen("sha256=") : w->proof);
}

/* Digests are compared, so that not even the secret's length shows in the time. */
static bool verify_token(const struct ptl_webhook *w, const char *secret)
{
    char ours[PTL_SHA256_HEX], theirs[PTL_SHA256_HEX];
    ptl_sha256_of(secret, strlen(secret), ours);
    ptl_sha256_of(w->proof, strlen(w->proof), theirs);
    return ptl_secret_equal(ours, theirs);
}

static int verify_standard(const struct ptl_webhook *w, const struct ptl_webhook_request *in,
                           const char *secret, bool *ret_match, struct ptl_error *err)
{
    PTL_FREE unsigned char *decoded = NULL;
    const void *key = secret;
    size_t key_len = strlen(secret);
    if (ptl_str_starts(secret, STANDARD_SECRET)) {
        if (ptl_base64_decode(secret + strlen(STANDARD_SECRET), &decoded, &key_len) < 0 || key_len == 0)
            return ptl_error_set(err, PTL_WEBHOOK_DENIED,
                                 "the project's webhook secret starts with 'whsec_' but what "
                                 "follows is not base64: set it again as it was shown");
        key = decoded;
    }
    PTL_BUF text = PTL_BUF_MAX(PTL_WEBHOOK_BODY_MAX + 1024);
    ptl_buf_printf(&text, "%s.%s.", w->delivery_id, header(in, "webhook-timestamp"));
    ptl_buf_add(&text, in->body, in->body_len);
    unsigned char mac[64];
    int n = text.failed ? text.failed : ptl_hmac_raw("sha256", key, key_len, text.data, text.len, mac);
    PTL_FREE char *ours = n > 0 ? ptl_base64(mac, (size_t)n) : NULL;
    if (!ours)
        return ptl_error_set(err, -ENOMEM, "webhook: out of memory");
    for (const char *p = w->proof; *p;) { /* several while keys are changed: any one is enough */
        p += strspn(p, " ");
        size_t len = strcspn(p, " ");
        char one[64]; /* a right one has 44 characters */
        if (strncmp(p, "v1,", 3) == 0 && len - 3 < sizeof(one)) {
            memcpy(one, p + 3, len - 3);
            one[len - 3] = '\0';
            *ret_match |= ptl_secret_equal(ours, one);
        }
        p += len;
    }
    return 0;
}

int ptl_webhook_verify(struct ptl_webhook *w, const struct ptl_webhook_request *in, const char *secret,
                       struct ptl_error *err)
{
    bool match = false, has_secret = secret && *secret;
    const char *key = has_secret ? secret : NO_SECRET;
    int r = 0;
    if (w->signed_form)
        r = verify_standard(w, in, key, &match, err);
    else if (w->forge == PTL_FORGE_GITLAB)
        match = verify_token(w, key);
    else
        match = verify_hmac(w, in, key);
    if (r != 0)
        return r;
    if (!has_secret)
        return ptl_error_set(err, PTL_WEBHOOK_DENIED, "the project has no webhook secret");
    if (!match)
        return ptl_error_set(err, PTL_WEBHOOK_DENIED,
                             "%s does not fit the project's webhook secret (over %zu bytes)", w->proof_header,
                             in->body_len);
    return 0;
}
