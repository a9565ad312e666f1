/* payload.c - the body of a delivery whose proof has been verified: pushes of refs, or the reason why there
 * are none. Reads what it needs, checks every value that goes on (ref, commits, name of the pusher), and
 * takes no address from it: what is fetched is the project's own URL, never the payload's clone_url.
 *
 * A push of one ref moves it from `before` to `after`; how many commits lie between does not matter here. */
#include "webhook-private.h"
#include <stdio.h>

enum { SHA_HEX = 40, REF_MAX = 1024, PUSHER_MAX = 128 };

/* ---- form bodies ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes in place of `out`, which has room for len bytes. Negative: a broken escape. */
static int64_t decode(const char *in, size_t len, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (in[i] == '+') {
            out[n++] = ' ';
        } else if (in[i] != '%') {
            out[n++] = in[i];
        } else {
            int hi = i + 2 < len ? hex_value(in[i + 1]) : -1, lo = i + 2 < len ? hex_value(in[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return -1;
            out[n++] = (char)(hi << 4 | lo);
            i += 2;
        }
    }
    return (int64_t)n;
}

int ptl_webhook_form_payload(const char *body, size_t len, char **ret, size_t *ret_len, struct ptl_error *err)
{
    static const char name[] = "payload=";
    const char *found = NULL;
    size_t found_len = 0;
    for (size_t at = 0; at < len;) {
        const char *amp = memchr(body + at, '&', len - at);
        size_t field = amp ? (size_t)(amp - body) - at : len - at;
        if (field >= strlen(name) && memcmp(body + at, name, strlen(name)) == 0) {
            if (found)
                return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "form body: two fields 'payload'");
            found = body + at + strlen(name);
            found_len = field - strlen(name);
        }
        at += field + 1;
    }
    if (!found)
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "form body: expected a field 'payload'");
    PTL_FREE char *out = malloc(found_len + 1);
    if (!out)
        return ptl_error_set(err, -ENOMEM, "webhook: out of memory");
    int64_t n = decode(found, found_len, out);
    if (n < 0)
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "form body: a '%%' without two hex digits");
    out[n] = '\0';
    *ret = PTL_TAKE(out);
    *ret_len = (size_t)n;
    return 0;
}

/* ---- values ---- */

static bool ends_in_lock(const char *ref, size_t end)
{
    return end >= 5 && memcmp(ref + end - 5, ".lock", 5) == 0;
}

/* The rules of git-check-ref-format(1), for a full name. */
bool ptl_webhook_ref_is_valid(const char *ref)
{
    size_t len = strlen(ref);
    if (len == 0 || len > REF_MAX || !ptl_str_starts(ref, "refs/") || ref[len - 1] == '/' ||
        ref[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)ref[i];
        char before = i ? ref[i - 1] : '/';
        if (c < 0x21 || c == 0x7f || strchr("~^:?*[\\", c))
            return false;
        if ((c == '/' && before == '/') || (c == '.' && (before == '.' || before == '/')) ||
            (c == '{' && before == '@'))
            return false;
        if ((c == '/' || i + 1 == len) && ends_in_lock(ref, c == '/' ? i : len))
            return false;
    }
    return true;
}

static bool is_sha(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    return n == SHA_HEX && s[n] == '\0';
}

static bool is_zero(const char *s)
{
    return s[strspn(s, "0")] == '\0';
}

/* 0 with *ret the commit, or NULL for all-zero, null and (when it may be) absent. */
static int read_sha(const json_t *payload, const char *key, bool required, const char **ret,
                    struct ptl_error *err)
{
    const json_t *v = json_object_get(payload, key);
    *ret = NULL;
    if (!required && (!v || json_is_null(v)))
        return 0;
    const char *s = json_string_value(v);
    if (!s || !is_sha(s))
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                             "payload.%s: expected a commit of 40 lower-case hex digits%s", key,
                             s && strlen(s) == 64 ? " (SHA-256 repositories cannot be read yet)" : "");
    *ret = is_zero(s) ? NULL : s;
    return 0;
}

/* The first of these members that is a string with something in it; `in` NULL: of the payload itself. */
struct member {
    const char *in, *key;
};
static const char *first_string(const json_t *payload, const struct member *m)
{
    for (; m->key; m++) {
        const char *s =
            json_string_value(json_object_get(m->in ? json_object_get(payload, m->in) : payload, m->key));
        if (s && *s)
            return s;
    }
    return NULL;
}

/* Copies as much as fits, cut between characters, control bytes replaced: for tables and log lines. */
static void copy_clean(char *ret, size_t size, const char *text)
{
    size_t n = strlen(text);
    if (n >= size)
        for (n = size - 1; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
            ;
    for (size_t i = 0; i < n; i++)
        ret[i] = (char)((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
    ret[n] = '\0';
}

/* ---- one push ---- */

static void neither_branch_nor_tag(char *ret, size_t size, const char *ref)
{
    char shown[100];
    copy_clean(shown, sizeof(shown), ref);
    snprintf(ret, size, "%s is neither a branch nor a tag", shown);
}

/* Appends to w->pushes; or writes into w->ignored why this is no push to remember. One of several is appended
 * with that reason instead, so that each has its answer. */
static int read_push(struct ptl_webhook *w, const json_t *payload, bool one_of_several, struct ptl_error *err)
{
    static const struct member pushers[] = {
        {"pusher",         "login"},
        {"pusher",                "username"},
        {"pusher","name"},
        {NULL,         "user_username"},
        {NULL,                "user_name"},
        {NULL,"pusher"},
        {0            }
    };
    static const struct member peeled[] = {
        {NULL,  "checkout_sha"},
        {"head_commit",     "id"},
        {0}
    };
    const char *ref = json_string_value(json_object_get(payload, "ref")), *before = NULL, *after = NULL;
    if (!ref || !ptl_webhook_ref_is_valid(ref))
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED,
                             "payload.ref: expected the full name of a ref, such as refs/heads/main");
    int r = read_sha(payload, "before", false, &before, err);
    if (r == 0)
        r = read_sha(payload, "after", true, &after, err);
    if (r != 0)
        return r;
    char why_not[200] = "";
    bool tag = ptl_str_starts(ref, "refs/tags/");
    if (!tag && !ptl_str_starts(ref, "refs/heads/"))
        neither_branch_nor_tag(why_not, sizeof(why_not), ref);
    else if (before && after && strcmp(before, after) == 0)
        snprintf(why_not, sizeof(why_not), "before and after are the same commit: a test delivery");
    if (why_not[0] && !one_of_several) {
        memcpy(w->ignored, why_not, sizeof(why_not));
        return 0;
    }
    /* An annotated tag moves to the tag object; the commit behind it is what runs, and what polling sees too.
     */
    const char *commit = tag && after ? first_string(payload, peeled) : NULL;
    if (commit && is_sha(commit) && !is_zero(commit))
        after = commit;
    bool deleted = !after || json_is_true(json_object_get(payload, "deleted"));
    if (deleted && !why_not[0])
        snprintf(why_not, sizeof(why_not), "the ref was deleted: nothing to run");
    const char *who = first_string(payload, pushers);
    char pusher[PUSHER_MAX];
    if (who)
        copy_clean(pusher, sizeof(pusher), who);
    json_t *push =
        json_pack("{s:s, s:s?, s:s?, s:s?, s:b, s:s?}", "ref", ref, "before", before, "after",
                  deleted ? NULL : after, "pusher", who ? pusher : NULL, "forced",
                  json_is_true(json_object_get(payload, "forced")), "why_not", why_not[0] ? why_not : NULL);
    if (json_array_append_new(w->pushes, push) < 0)
        return ptl_error_set(err, -ENOMEM, "webhook: out of memory");
    return 0;
}

/* ---- by forge ---- */

static void ignore_event(struct ptl_webhook *w)
{
    if (strcasecmp(w->event, "ping") == 0)
        snprintf(w->ignored, sizeof(w->ignored), "ping: the webhook and its secret work");
    else if (strcmp(w->event, "create") == 0)
        snprintf(w->ignored, sizeof(w->ignored), "event 'create': the push event tells the same");
    else
        snprintf(w->ignored, sizeof(w->ignored), "event '%s' starts no run; pushes of branches and tags do",
                 w->event);
}

static int parse_by_event(struct ptl_webhook *w, const json_t *payload, struct ptl_error *err)
{
    if (strcmp(w->event, "push") == 0)
        return read_push(w, payload, false, err);
    ignore_event(w);
    return 0;
}

/* System hooks and project hooks name the event differently in the header, and alike in the body. */
static int parse_gitlab(struct ptl_webhook *w, const json_t *payload, struct ptl_error *err)
{
    static const struct member kinds[] = {
        {NULL,          "object_kind"},
        {NULL,             "event_name"},
        {0}
    };
    const char *kind = first_string(payload, kinds);
    if (ptl_str_eq(kind, "push") || ptl_str_eq(kind, "tag_push"))
        return read_push(w, payload, false, err);
    ignore_event(w);
    return 0;
}

/* {"type":"push","data":{ref, before, after, pusher, forced}} or data.pushes, an array of these. */
static int parse_standard(struct ptl_webhook *w, const json_t *payload, struct ptl_error *err)
{
    const char *type = json_string_value(json_object_get(payload, "type"));
    if (!type || !*type)
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "payload.type: expected 'push' or 'ping'");
    snprintf(w->event, sizeof(w->event), "%.*s",
             (int)strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"), type);
    if (strcmp(type, "push") != 0) {
        ignore_event(w);
        return 0;
    }
    const json_t *data = json_object_get(payload, "data"), *many = json_object_get(data, "pushes");
    if (!json_is_object(data) || (many && !json_is_array(many)) ||
        json_array_size(many) > PTL_WEBHOOK_PUSHES_MAX)
        return ptl_error_set(
            err, PTL_WEBHOOK_MALFORMED,
            "payload.data: expected an object with ref, before and after, or with pushes, at most %d of them",
            PTL_WEBHOOK_PUSHES_MAX);
    if (!many)
        return read_push(w, data, false, err);
    int r = 0;
    for (size_t i = 0; i < json_array_size(many) && r == 0; i++)
        r = read_push(w, json_array_get(many, i), true, err);
    if (r == 0 && json_array_size(w->pushes) == 0)
        snprintf(w->ignored, sizeof(w->ignored), "no pushes in it");
    return r;
}

int ptl_webhook_parse(struct ptl_webhook *w, const struct ptl_webhook_request *in, struct ptl_error *err)
{
    PTL_JSON *payload = NULL;
    const char *text = w->payload ? w->payload : in->body;
    struct ptl_error why = PTL_ERROR_INIT;
    if (ptl_json_parse(text ? text : "", w->payload ? w->payload_len : in->body_len, "payload", &payload,
                       &why) < 0)
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "%s", why.text);
    if (!json_is_object(payload))
        return ptl_error_set(err, PTL_WEBHOOK_MALFORMED, "payload: expected a JSON object");
    json_decref(w->pushes);
    w->pushes = json_array();
    w->ignored[0] = '\0';
    if (!w->pushes)
        return ptl_error_set(err, -ENOMEM, "webhook: out of memory");
    int r = w->forge == PTL_FORGE_GITLAB     ? parse_gitlab(w, payload, err)
            : w->forge == PTL_FORGE_STANDARD ? parse_standard(w, payload, err)
                                             : parse_by_event(w, payload, err);
    if (r != 0) {
        json_decref(w->pushes);
        w->pushes = NULL;
    }
    return r;
}
