/* call.h - one commit status as an HTTP call of its forge, and what the forge's answer means. Pure: no I/O,
 * no clock, no logging; any thread. */
#ifndef PTL_NOTIFY_CALL_H
#define PTL_NOTIFY_CALL_H
#include <portolan/base.h>
#include <portolan/http.h>

enum {
    PTL_STATUS_TEXT_MAX = 140, /* characters of a description: GitHub refuses more */
    PTL_STATUS_TRIES_MAX = 24, /* about four hours with the waits below */
    PTL_STATUS_WAIT_MAX_MS = 15 * 60 * 1000,
    PTL_STATUS_LIMIT_MAX_MS = 60 * 60 * 1000, /* longest wait that a forge may ask for */
};

/* A row of the outbox. Borrowed; NULL where unknown. */
struct ptl_status {
    const char *forge; /* "github", "gitlab", "gitea" (also Forgejo) */
    const char *url;   /* base of the API; NULL: the public site of github or gitlab */
    const char *repo;  /* "owner/name"; GitLab also a project's number, or group/subgroup/name */
    const char *token;
    const char *sha, *ref, *context;
    const char *state; /* pending running success failure error cancelled */
    const char *description;
    const char *public_url; /* of this daemon, for the link; NULL: no link */
    int64_t run_id;
};

/* How the forge spells a state; NULL: no such forge or state. GitHub, Gitea and Forgejo have neither
 * "running" (they show it as pending) nor "cancelled" (error); the description says it there. */
const char *ptl_status_spelling(const char *forge, const char *state);
/* The description as posted: with what the spelling lost in front, valid UTF-8, at most PTL_STATUS_TEXT_MAX
 * characters, the cut shown by "…". Caller frees. */
char *ptl_status_text(const char *forge, const char *state, const char *description);

struct ptl_status_call {
    char *url, *body;
    char *headers[8]; /* NULL-ended; one holds the token: never log them */
};
/* 0; or -EINVAL / -EPERM: will never go, err says what to change in the project (never the token). *ret
 * untouched then. `allow_private`: plain http, loopback and private addresses are fine. */
PTL_NODISCARD int ptl_status_call_make(const struct ptl_status *s, bool allow_private,
                                       struct ptl_status_call *ret, struct ptl_error *err);
void ptl_status_call_done(struct ptl_status_call *c);

/* address.c: whether a forge's API may be at this URL. Policy without a look-up: scheme, form, and addresses
 * spelled out. */
PTL_NODISCARD int ptl_notify_url_check(const char *url, bool allow_private, struct ptl_error *err);

/* The same for where people want to be told: a query is fine, since chat services put their secret there. */
PTL_NODISCARD int ptl_notify_hook_check(const char *url, bool allow_private, struct ptl_error *err);

enum ptl_status_verdict { PTL_STATUS_SENT, PTL_STATUS_RETRY, PTL_STATUS_GIVE_UP };
struct ptl_status_outcome {
    enum ptl_status_verdict verdict;
    int64_t wait_ms;  /* before the next try */
    int64_t pause_ms; /* > 0: the forge's limit is used up; nothing for this project until then */
    char text[512];   /* for last_error; "" when all is well; valid UTF-8 */
};
/* Sets o->text: cut where it must be, control bytes replaced, UTF-8 whatever came in. */
void ptl_status_explain(struct ptl_status_outcome *o, const char *fmt, ...) PTL_PRINTF(2, 3);
/* `result` and `a`, `err` as ptl_http_fn gets them; `tries` counts this one (from 1); `wall_s` now; `dice`
 * any random number. `token`: is cut out of what the forge answers, should it repeat it. */
void ptl_status_judge(const char *forge, int result, const struct ptl_http_answer *a,
                      const struct ptl_error *err, int64_t tries, int64_t wall_s, uint32_t dice,
                      const char *token, struct ptl_status_outcome *ret);
/* Seconds until a limit is lifted, as the answer says it; -1: it says nothing. */
int64_t ptl_status_limit_wait_s(const struct ptl_http_answer *a, int64_t wall_s);
/* Wait before try number `tries` + 1: doubles from 2 s to 15 min, of which the upper half is thrown by
 * `dice`. */
int64_t ptl_status_backoff_ms(int64_t tries, uint32_t dice);
#endif
