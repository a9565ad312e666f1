/* fuzz_webhook.c - any bytes as a delivery: first line the secret, then header lines, an empty line, the
 * body. The payload is read whether the proof fits or not, since a fuzzer cannot sign; what comes out must be
 * what the store may be given. */
#include "webhook.h"
#include <stdio.h>
#include <strings.h>

enum { HEADERS_MAX = 32 };
struct headers {
    char *names[HEADERS_MAX], *values[HEADERS_MAX];
    size_t n;
};

static const char *header(const void *ctx, const char *name)
{
    const struct headers *h = ctx;
    for (size_t i = 0; i < h->n; i++)
        if (strcasecmp(h->names[i], name) == 0)
            return h->values[i];
    return NULL;
}

static void check_push(const json_t *push)
{
    const char *ref = json_string_value(json_object_get(push, "ref"));
    const char *after = json_string_value(json_object_get(push, "after"));
    const char *why = json_string_value(json_object_get(push, "why_not"));
    const char *pusher = json_string_value(json_object_get(push, "pusher"));
    if (!ref || !ptl_webhook_ref_is_valid(ref) || (after && strlen(after) != 40) || (!after && !why) ||
        (pusher && strlen(pusher) > 128))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *split = size ? memmem(text, size, "\n\n", 2) : NULL;
    size_t head_len = split ? (size_t)(split - text) : size;
    PTL_FREE char *head = strndup(text, head_len);
    if (!head)
        abort();
    struct headers h = {.n = 0};
    char *save = NULL, *secret = strtok_r(head, "\n", &save);
    for (char *line; (line = strtok_r(NULL, "\n", &save)) != NULL && h.n < HEADERS_MAX;) {
        char *colon = strstr(line, ": ");
        if (!colon)
            continue;
        *colon = '\0';
        h.names[h.n] = line;
        h.values[h.n++] = colon + 2;
    }
    struct ptl_webhook_request in = {.header = header,
                                     .header_ctx = &h,
                                     .body = split ? split + 2 : text + size,
                                     .body_len = split ? size - head_len - 2 : 0,
                                     .wall_s = 1795424400};
    struct ptl_webhook w = PTL_WEBHOOK_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_webhook_open(&w, &in, &err);
    if (r == 0) {
        if (!w.delivery_id[0] || !w.event[0] || ptl_webhook_verify(&w, &in, NULL, &err) == 0)
            abort(); /* without a secret nothing is believed */
        (void)!ptl_webhook_verify(&w, &in, secret, &err);
    } else if (w.forge == PTL_FORGE_NONE) {
        w.forge = PTL_FORGE_GITHUB;
        memcpy(w.event, "push", 5);
    }
    r = ptl_webhook_parse(&w, &in, &err);
    if (r == 0 && (json_array_size(w.pushes) == 0) != (w.ignored[0] != '\0'))
        abort();
    for (size_t i = 0; i < json_array_size(w.pushes); i++)
        check_push(json_array_get(w.pushes, i));
    if (w.ignored[0]) {
        json_t *is_utf8 = json_string(w.ignored);
        if (!is_utf8)
            abort();
        json_decref(is_utf8);
    }
    ptl_webhook_done(&w);
    return 0;
}
