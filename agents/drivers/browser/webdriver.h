/* webdriver.h - a client of the W3C WebDriver protocol (and chromedriver's additions: console log, CDP) over
 * libcurl. Every call has its own deadline and a bounded answer, and can be cut short from outside by a
 * guard, because a WebDriver server keeps silent for as long as its browser is busy: neither its script
 * timeout nor DELETE can be relied on to come back. Blocking; one thread per client; curl is initialised on
 * first use. */
#ifndef PTL_BROWSER_WEBDRIVER_H
#define PTL_BROWSER_WEBDRIVER_H
#include <portolan/base.h>
#include <jansson.h>

/* What a call came to. 0 is success; each positive value is something the caller decides on, with a sentence
 * in err; negative is errno (out of memory, bad argument). */
enum ptl_wd_outcome {
    PTL_WD_OK = 0,
    PTL_WD_SCRIPT_TIMEOUT = 32, /* "script timeout": an asynchronous script did not call back in time */
    PTL_WD_PAGE_TIMEOUT,        /* "timeout": navigation did not end */
    PTL_WD_SCRIPT_ERROR,        /* "javascript error": the script threw */
    PTL_WD_TAB_CRASHED,         /* "tab crashed", or the session ended because of a page crash */
    PTL_WD_SESSION_LOST,        /* the browser or the window is gone: invalid session id, no such window,
                                   disconnected */
    PTL_WD_NOT_CREATED,         /* "session not created" */
    PTL_WD_ALERT_OPEN,          /* "unexpected alert open" */
    PTL_WD_UNSUPPORTED,         /* unknown command or method: another browser than Chromium */
    PTL_WD_OTHER,               /* any other error the server names; err quotes it */
    PTL_WD_DEADLINE,            /* no whole answer within the call's own deadline */
    PTL_WD_STOPPED,             /* the guard cut the call short */
    PTL_WD_UNREACHABLE,         /* no connection, or it closed without a whole answer */
    PTL_WD_BAD_ANSWER,          /* not JSON, not of WebDriver's form, or larger than the bound */
};
const char *ptl_wd_outcome_name(int outcome); /* "tab crashed", …; never NULL */

struct ptl_webdriver; /* opaque; defined in webdriver.c */

/* Non-zero cuts the running call short with PTL_WD_STOPPED. Called at least every 100 ms while a call waits,
 * on the caller's thread; must not use the client. */
typedef int ptl_webdriver_guard_fn(void *ctx);

/* `base_url` is http(s)://host[:port][/path], e.g. a chromedriver or a Selenium grid's hub; no request is
 * sent. `guard` may be NULL. Returns 0, -EINVAL or -ENOMEM. The caller owns *ret. */
PTL_NODISCARD int ptl_webdriver_new(const char *base_url, ptl_webdriver_guard_fn *guard, void *guard_ctx,
                                    struct ptl_webdriver **ret, struct ptl_error *err);
struct ptl_webdriver *ptl_webdriver_free(struct ptl_webdriver *wd); /* sends nothing; NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_webdriver, ptl_webdriver_free)

/* Largest answer read, in bytes (default 8 MiB). */
void ptl_webdriver_set_max_answer(struct ptl_webdriver *wd, size_t max_bytes);

/* In all calls: timeout_ms 1..2^31 counts from the call; ret_* are written on PTL_WD_OK only and then the
 * caller's. */

/* POST /session. `capabilities` is borrowed: the value of "capabilities" ({"alwaysMatch":{…}}). */
PTL_NODISCARD int ptl_webdriver_open(struct ptl_webdriver *wd, const json_t *capabilities, int64_t timeout_ms,
                                     struct ptl_error *err);
bool ptl_webdriver_is_open(const struct ptl_webdriver *wd);
const json_t *ptl_webdriver_capabilities(const struct ptl_webdriver *wd); /* borrowed; NULL before open */
/* "goog:processID" as the browser sees itself (in its own pid namespace, if it has one); 0 unknown. */
int64_t ptl_webdriver_browser_pid(const struct ptl_webdriver *wd);
/* DELETE /session/S. The session counts as closed whatever the outcome. PTL_WD_OK when none was open. */
int ptl_webdriver_close(struct ptl_webdriver *wd, int64_t timeout_ms, struct ptl_error *err);

PTL_NODISCARD int ptl_webdriver_set_timeouts(struct ptl_webdriver *wd, int64_t script_ms, int64_t page_ms,
                                             int64_t timeout_ms, struct ptl_error *err);
PTL_NODISCARD int ptl_webdriver_navigate(struct ptl_webdriver *wd, const char *url, int64_t timeout_ms,
                                         struct ptl_error *err);
/* `args` is a borrowed array or NULL. An asynchronous script calls arguments[arguments.length - 1](value). */
PTL_NODISCARD int ptl_webdriver_execute(struct ptl_webdriver *wd, const char *script, const json_t *args,
                                        int64_t timeout_ms, json_t **ret_value, struct ptl_error *err);
PTL_NODISCARD int ptl_webdriver_execute_async(struct ptl_webdriver *wd, const char *script,
                                              const json_t *args, int64_t timeout_ms, json_t **ret_value,
                                              struct ptl_error *err);
/* Drains a log ("browser": the console): an array of {level, message, source, timestamp}. */
PTL_NODISCARD int ptl_webdriver_drain_log(struct ptl_webdriver *wd, const char *type, int64_t timeout_ms,
                                          json_t **ret_entries, struct ptl_error *err);
/* A command of the Chrome DevTools Protocol; `params` borrowed or NULL. */
PTL_NODISCARD int ptl_webdriver_cdp(struct ptl_webdriver *wd, const char *cmd, const json_t *params,
                                    int64_t timeout_ms, json_t **ret_value, struct ptl_error *err);
/* Any command of the open session: `path` as in "/chromium/network_conditions", `body` borrowed or NULL. */
PTL_NODISCARD int ptl_webdriver_command(struct ptl_webdriver *wd, const char *method, const char *path,
                                        const json_t *body, int64_t timeout_ms, json_t **ret_value,
                                        struct ptl_error *err);
#endif
