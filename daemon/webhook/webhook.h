/* webhook.h - one delivery of a forge's webhook: who sent it, does it prove that it knows the secret, which
 * pushes does it tell of. Pure: headers, raw body, secret and time in; no I/O, no clock, no logging. Any
 * thread; one ptl_webhook is used by one thread at a time.
 *
 * Three steps, in this order, and nothing of the body is interpreted before the second has passed:
 *   ptl_webhook_open    headers alone: forge, event, delivery id, is there a proof and has it the right form
 *   ptl_webhook_verify  the proof over the raw bytes, in constant time
 *   ptl_webhook_parse   the payload: pushes, or why there are none */
#ifndef PTL_WEBHOOK_H
#define PTL_WEBHOOK_H
#include <portolan/base.h>
#include <portolan/json.h>

enum ptl_forge {
    PTL_FORGE_NONE,
    PTL_FORGE_FORGEJO,
    PTL_FORGE_GITEA,
    PTL_FORGE_GITLAB,
    PTL_FORGE_GITHUB,
    PTL_FORGE_STANDARD /* Standard Webhooks: whatever a site's own tool sends */
};
const char *ptl_forge_name(enum ptl_forge forge); /* "github", …; "" for none */

enum {
    PTL_WEBHOOK_BODY_MAX = 8 << 20, /* bytes; the route refuses more with 413 */
    PTL_WEBHOOK_SKEW_S = 300,       /* of webhook-timestamp, both ways */
    PTL_WEBHOOK_PUSHES_MAX = 100,   /* in one Standard Webhooks delivery; forges send one */
    PTL_WEBHOOK_ID_MAX = 200,       /* with NUL */
};

/* Outcomes of the steps; 0 is "go on", negative is -ENOMEM. Each comes with a sentence. */
enum {
    PTL_WEBHOOK_MALFORMED = 10, /* say 400 */
    PTL_WEBHOOK_UNSIGNED =
        11,                  /* say 401; found in the request alone, so its sentence may be told to anyone */
    PTL_WEBHOOK_DENIED = 12, /* say 401; found by means of the secret: its sentence is for the log only */
};

/* What came in. Borrowed for the calls. */
struct ptl_webhook_request {
    /* Value of a header, its name compared without regard to case; NULL when absent. Called many times. */
    const char *(*header)(const void *ctx, const char *name);
    const void *header_ctx;
    const void *body; /* as received */
    size_t body_len;
    int64_t wall_s; /* now, seconds since 1970 */
};

struct ptl_webhook {
    enum ptl_forge forge;
    char event[64]; /* as the forge spells it: "push", "Push Hook" */
    char
        delivery_id[PTL_WEBHOOK_ID_MAX]; /* equal for repeats of one delivery, different for any two others */
    /* after ptl_webhook_parse: */
    json_t
        *pushes;       /* array of {"ref","before","after","pusher","forced","why_not"}, the form that
                        * delivery_add    takes; null where unknown; `why_not` is set where there is to be no run */
    char ignored[200]; /* why pushes is empty; "" when it is not */
    /* private */
    char *payload; /* the JSON text taken out of a form body; NULL: the body is the JSON text */
    size_t payload_len;
    bool signed_form;  /* GitLab: webhook-signature rather than X-Gitlab-Token */
    const char *proof; /* borrowed from the request: value of the header that proves */
    const char *proof_header;
};
#define PTL_WEBHOOK_INIT                                                                                     \
    {                                                                                                        \
        .forge = PTL_FORGE_NONE                                                                              \
    }
void ptl_webhook_done(struct ptl_webhook *w);

/* 0, PTL_WEBHOOK_MALFORMED, PTL_WEBHOOK_UNSIGNED or -ENOMEM. *w is as PTL_WEBHOOK_INIT before; done() after,
 * whatever comes back. */
PTL_NODISCARD int ptl_webhook_open(struct ptl_webhook *w, const struct ptl_webhook_request *in,
                                   struct ptl_error *err);
/* `secret` as the project has it; NULL or "": there is none, then the same work is done and the answer is
 * PTL_WEBHOOK_DENIED. A secret "whsec_<base64>" names the key's bytes where webhook-signature is used; any
 * other secret, and any other scheme, takes the text itself. 0, PTL_WEBHOOK_DENIED or -ENOMEM. */
PTL_NODISCARD int ptl_webhook_verify(struct ptl_webhook *w, const struct ptl_webhook_request *in,
                                     const char *secret, struct ptl_error *err);
/* 0, PTL_WEBHOOK_MALFORMED or -ENOMEM. */
PTL_NODISCARD int ptl_webhook_parse(struct ptl_webhook *w, const struct ptl_webhook_request *in,
                                    struct ptl_error *err);

/* True for a full name that git accepts as a ref ("refs/heads/x"; at most 1024 bytes, valid UTF-8 assumed).
 */
bool ptl_webhook_ref_is_valid(const char *ref);
#endif
