/* message.h - what is told to people: one thing that happened (a row of notify_outbox) as a mail, a chat line
 * or a webhook, when it may be told, and what the answer of the other side means. Pure: no I/O, no clock; any
 * thread. */
#ifndef PTL_MESSAGE_H
#define PTL_MESSAGE_H
#include "call.h"
#include <portolan/buf.h>
#include <portolan/json.h>

/* The kinds a channel may name; NULL-ended. */
extern const char
    *const ptl_message_events[]; /* assigned reassigned due_soon overdue comment failed resolved gate test */

/* ---- when. Times are local seconds: seconds since 1970 as a clock on the wall there would count them. */
/* Seconds until quiet hours are over, 0 when it is not quiet. `from`, `to`: minutes of the day; from > to
 * runs over midnight; equal: never quiet. */
int64_t ptl_quiet_wait_s(int from, int to, int64_t now_local_s);
/* Seconds until what happened at `created_local_s` is in a digest: "none" at once, "hourly" at the next full
 * hour, "daily" at the next `hour` o'clock after it. 0: it is due. */
int64_t ptl_digest_wait_s(const char *digest, int hour, int64_t created_local_s, int64_t now_local_s);

/* ---- what */
struct ptl_message {
    const char *event;
    const json_t *data; /* as notify_stage() and assignment_told() of migrations/0006 write it */
};
struct ptl_message_for {
    const char *public_url; /* NULL: no links */
    const char *channel;    /* its name, for how to stop it */
};
/* One line, no control bytes; caller frees. */
char *ptl_message_title(const struct ptl_message *m);
/* Plain text, lines ended by \n: what, why with the quoted line, where to look; several become one. */
void ptl_message_text(const struct ptl_message *list, size_t n, const struct ptl_message_for *f,
                      struct ptl_buf *ret);
char *ptl_message_subject(const struct ptl_message *list, size_t n); /* caller frees */
/* JSON of a chat webhook. `template` NULL: {"text": "…"}; else a JSON text in whose strings {text} stands for
 * it. NULL when the template is no JSON. Caller frees. */
char *ptl_message_chat(const struct ptl_message *list, size_t n, const struct ptl_message_for *f,
                       const char *template);
/* Body of a webhook: {"type":"portolan.assigned","timestamp":…,"data":{…}}. Caller frees. */
char *ptl_message_webhook(const struct ptl_message *m, const struct ptl_message_for *f, const char *at);
/* "v1,BASE64" of the Standard Webhooks: HMAC-SHA256 over "ID.SECONDS.BODY" with the base64 part of "whsec_…".
 * Caller frees; NULL when the secret is not of that form. */
char *ptl_message_signature(const char *secret, const char *id, int64_t seconds, const char *body);

/* ---- mail */
/* One address and nothing else: no names, lists, blanks, control bytes. */
bool ptl_mail_address_ok(const char *address);
/* A whole message after RFC 5322, UTF-8 as quoted-printable, CRLF. `at_s`: its date. */
void ptl_mail_compose(const char *from, const char *to, const char *subject, const char *text,
                      const char *message_id, int64_t at_s, struct ptl_buf *ret);

enum {
    PTL_MESSAGE_TRY_S = 5 * 86400, /* as long as mail servers keep what they cannot deliver */
    PTL_MESSAGE_WAIT_MAX_MS = 60 * 60 * 1000,
};
/* How a channel and a message stand: failures in a row before this try, and seconds since its first one. */
struct ptl_message_tries {
    int64_t fails, tried_for_s;
};
/* Wait before the next try: doubles from 2 s to an hour, of which the upper half is thrown by `dice`. */
int64_t ptl_message_backoff_ms(int64_t fails, uint32_t dice);
/* What a receiver's HTTP answer means; as ptl_status_judge() for forges. A receiver that names a time is not
 * asked before it (an hour at most). */
void ptl_message_judge(int result, const struct ptl_http_answer *a, const struct ptl_error *err,
                       const struct ptl_message_tries *t, int64_t wall_s, uint32_t dice,
                       struct ptl_status_outcome *ret);
/* The same for a mail: 0, -EPERM (refused for good), or another failure. */
void ptl_message_judge_mail(int result, const struct ptl_error *err, const struct ptl_message_tries *t,
                            uint32_t dice, struct ptl_status_outcome *ret);

/* A webhook's URL as it may be shown: scheme, host and "…". Caller frees. */
char *ptl_message_shown_url(const char *url);
#endif
