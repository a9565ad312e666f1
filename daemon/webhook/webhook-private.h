/* webhook-private.h - what webhook.c and payload.c share. */
#ifndef PTL_WEBHOOK_PRIVATE_H
#define PTL_WEBHOOK_PRIVATE_H
#include "webhook.h"

/* The value of `payload` in an application/x-www-form-urlencoded body, decoded. Exactly one is expected.
 * Caller frees. 0, PTL_WEBHOOK_MALFORMED or -ENOMEM. */
PTL_NODISCARD int ptl_webhook_form_payload(const char *body, size_t len, char **ret, size_t *ret_len,
                                           struct ptl_error *err);
#endif
