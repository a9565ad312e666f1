/* webdriver.c - W3C WebDriver over libcurl's multi interface, driven by this file's own clock.
 *
 * Owns one curl handle and the id of at most one session. Runs on the caller's thread and blocks it, but
 * never longer than the deadline of the call: the transfer is polled in slices of at most 100 ms, between
 * which the guard may cut it short (the caller watches cancellation, memory counters and the browser's life
 * there). A cut transfer closes its connection, so a late answer of an old call is never taken for the answer
 * of the next. Error codes of the protocol become enum ptl_wd_outcome by one table. Answers are bounded, and
 * repaired before they are given up: a page may print NUL or half a surrogate pair to the console, which JSON
 * can spell and strict readers refuse. Leaves out: elements, windows, cookies, actions - nothing here clicks.
 */
#include "webdriver.h"

#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/json.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

enum { SLICE_MS = 100 }; /* how late a guard or a deadline may be noticed */
enum {
    DEFAULT_MAX_ANSWER = 8 * 1024 * 1024
}; /* console drains of a talkative runtime reach a few hundred kB */

struct ptl_webdriver {
    char *base; /* without trailing slash */
    char *session;
    json_t *capabilities;
    ptl_webdriver_guard_fn *guard;
    void *guard_ctx;
    size_t max_answer;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
};

/* The server's word for it, and what we make of it. Chromedriver says some of these in the message of
 * "unknown error". */
static const struct wd_code {
    const char *code;
    int outcome;
} wd_codes[] = {
    {"script timeout",        PTL_WD_SCRIPT_TIMEOUT},
    {"timeout",               PTL_WD_PAGE_TIMEOUT  },
    {"javascript error",      PTL_WD_SCRIPT_ERROR  },
    {"tab crashed",           PTL_WD_TAB_CRASHED   },
    {"invalid session id",    PTL_WD_SESSION_LOST  },
    {"no such window",        PTL_WD_SESSION_LOST  },
    {"disconnected",          PTL_WD_SESSION_LOST  },
    {"chrome not reachable",  PTL_WD_SESSION_LOST  },
    {"session not created",   PTL_WD_NOT_CREATED   },
    {"unexpected alert open", PTL_WD_ALERT_OPEN    },
    {"unknown command",       PTL_WD_UNSUPPORTED   },
    {"unknown method",        PTL_WD_UNSUPPORTED   },
    {"unsupported operation", PTL_WD_UNSUPPORTED   },
    {NULL,                    PTL_WD_OTHER         },
};
static const struct wd_code wd_phrases[] = {
  /* looked for in the message, for any code; the first that fits */
    {"page crash",                PTL_WD_TAB_CRASHED },
    {"tab crashed",               PTL_WD_TAB_CRASHED },
    {"target crashed",            PTL_WD_TAB_CRASHED },
    {"chrome not reachable",      PTL_WD_SESSION_LOST},
    {"not connected to DevTools", PTL_WD_SESSION_LOST},
    {"disconnected:",             PTL_WD_SESSION_LOST},
    {NULL,                        0                  },
};
static const char *const outcome_names[] = {
    [PTL_WD_SCRIPT_TIMEOUT - 32] = "script timeout",
    [PTL_WD_PAGE_TIMEOUT - 32] = "page load timeout",
    [PTL_WD_SCRIPT_ERROR - 32] = "javascript error",
    [PTL_WD_TAB_CRASHED - 32] = "tab crashed",
    [PTL_WD_SESSION_LOST - 32] = "session lost",
    [PTL_WD_NOT_CREATED - 32] = "session not created",
    [PTL_WD_ALERT_OPEN - 32] = "unexpected alert open",
    [PTL_WD_UNSUPPORTED - 32] = "command not supported",
    [PTL_WD_OTHER - 32] = "webdriver error",
    [PTL_WD_DEADLINE - 32] = "no answer in time",
    [PTL_WD_STOPPED - 32] = "stopped",
    [PTL_WD_UNREACHABLE - 32] = "unreachable",
    [PTL_WD_BAD_ANSWER - 32] = "bad answer",
};

const char *ptl_wd_outcome_name(int outcome)
{
    if (outcome == PTL_WD_OK)
        return "ok";
    int i = outcome - 32;
    return i >= 0 && (size_t)i < PTL_ARRAY_LEN(outcome_names) ? outcome_names[i] : "failed";
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool is_loopback_url(const char *url)
{
    const char *host = strstr(url, "://");
    return host && (ptl_str_starts(host + 3, "127.") || ptl_str_starts(host + 3, "localhost") ||
                    ptl_str_starts(host + 3, "[::1]"));
}

int ptl_webdriver_new(const char *base_url, ptl_webdriver_guard_fn *guard, void *guard_ctx,
                      struct ptl_webdriver **ret, struct ptl_error *err)
{
    if (!base_url || (!ptl_str_starts(base_url, "http://") && !ptl_str_starts(base_url, "https://")))
        return ptl_error_set(err, -EINVAL, "webdriver: \"%s\" is not an http:// or https:// URL",
                             base_url ? base_url : "");
    pthread_once(&curl_once, curl_start);
    PTL_CLEANUP(ptl_webdriver_freep) struct ptl_webdriver *wd = calloc(1, sizeof(*wd));
    if (!wd || !(wd->base = strdup(base_url)))
        return ptl_error_set(err, -ENOMEM, "webdriver: out of memory");
    for (size_t n = strlen(wd->base); n && wd->base[n - 1] == '/'; n--)
        wd->base[n - 1] = 0;
    wd->guard = guard;
    wd->guard_ctx = guard_ctx;
    wd->max_answer = DEFAULT_MAX_ANSWER;
    wd->multi = curl_multi_init();
    wd->easy = curl_easy_init();
    wd->headers = curl_slist_append(NULL, "Content-Type: application/json; charset=utf-8");
    struct curl_slist *more = wd->headers ? curl_slist_append(wd->headers, "Expect:") : NULL;
    if (!wd->multi || !wd->easy || !more)
        return ptl_error_set(err, -ENOMEM, "webdriver: out of memory");
    *ret = PTL_TAKE(wd);
    return 0;
}

struct ptl_webdriver *ptl_webdriver_free(struct ptl_webdriver *wd)
{
    if (!wd)
        return NULL;
    curl_easy_cleanup(wd->easy);
    curl_multi_cleanup(wd->multi);
    curl_slist_free_all(wd->headers);
    json_decref(wd->capabilities);
    free(wd->session);
    free(wd->base);
    free(wd);
    return NULL;
}

void ptl_webdriver_set_max_answer(struct ptl_webdriver *wd, size_t max_bytes)
{
    wd->max_answer = max_bytes;
}
bool ptl_webdriver_is_open(const struct ptl_webdriver *wd)
{
    return wd->session != NULL;
}
const json_t *ptl_webdriver_capabilities(const struct ptl_webdriver *wd)
{
    return wd->capabilities;
}
int64_t ptl_webdriver_browser_pid(const struct ptl_webdriver *wd)
{
    return wd->capabilities ? ptl_json_i64(wd->capabilities, "goog:processID", 0) : 0;
}

/* ---- one HTTP exchange ---- */

static size_t take_bytes(char *data, size_t size, size_t n, void *ctx)
{
    struct ptl_buf *answer = ctx;
    return ptl_buf_add(answer, data, size * n) < 0 ? 0 : size * n;
}

static int set_up(struct ptl_webdriver *wd, const char *method, const char *url, const char *body,
                  struct ptl_buf *answer)
{
    CURL *e = wd->easy;
    curl_easy_reset(e);
    CURLcode rc = curl_easy_setopt(e, CURLOPT_URL, url);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_HTTPHEADER, wd->headers);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_bytes);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_WRITEDATA, answer);
    if (!rc && is_loopback_url(url)) /* a proxy from the environment would ask itself for its own loopback */
        rc = curl_easy_setopt(e, CURLOPT_PROXY, "");
    if (!rc && strcmp(method, "POST") == 0) {
        rc = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        rc = rc ? rc : curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    } else if (!rc && strcmp(method, "GET") != 0) {
        rc = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
    }
    return rc ? -EINVAL : 0;
}

/* Drives the transfer until it ends, its time is over or the guard speaks. The handle is out of `multi`
 * afterwards. */
static int transfer(struct ptl_webdriver *wd, int64_t timeout_ms, CURLcode *ret_code)
{
    int64_t deadline = ptl_mono_ms() + timeout_ms;
    int outcome = PTL_WD_OK;
    if (curl_multi_add_handle(wd->multi, wd->easy) != CURLM_OK)
        return -ENOMEM;
    for (;;) {
        int running = 0;
        if (curl_multi_perform(wd->multi, &running) != CURLM_OK) {
            outcome = PTL_WD_UNREACHABLE;
            break;
        }
        if (!running) {
            int left = 0;
            CURLMsg *m = curl_multi_info_read(wd->multi, &left);
            *ret_code = m && m->msg == CURLMSG_DONE ? m->data.result : CURLE_GOT_NOTHING;
            break;
        }
        if (wd->guard && wd->guard(wd->guard_ctx) != 0) {
            outcome = PTL_WD_STOPPED;
            break;
        }
        int64_t left = deadline - ptl_mono_ms();
        if (left <= 0) {
            outcome = PTL_WD_DEADLINE;
            break;
        }
        curl_multi_poll(wd->multi, NULL, 0, left < SLICE_MS ? (int)left : SLICE_MS, NULL);
    }
    curl_multi_remove_handle(wd->multi, wd->easy);
    return outcome;
}

static bool hex4(const char *s, unsigned *ret)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        unsigned d = c >= '0' && c <= '9'                 ? (unsigned)(c - '0')
                     : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a' + 10)
                                                          : 16;
        if (d == 16)
            return false; /* also ends at the NUL behind the text */
        v = v << 4 | d;
    }
    *ret = v;
    return true;
}

/* Spells \u0000 and halves of surrogate pairs as U+FFFD, in place: the same length. */
static void repair_escapes(char *s)
{
    for (; *s; s++) {
        unsigned v, low;
        if (*s != '\\')
            continue;
        if (s[1] == 'u' && hex4(s + 2, &v)) {
            bool pair = v >= 0xd800 && v < 0xdc00 && s[6] == '\\' && s[7] == 'u' && hex4(s + 8, &low) &&
                        low >= 0xdc00 && low < 0xe000;
            if (!pair && (v == 0 || (v >= 0xd800 && v < 0xe000)))
                memcpy(s + 2, "fffd", 4);
            s += pair ? 11 : 5;
        } else if (s[1]) {
            s++; /* an escaped backslash must not start the next escape */
        }
    }
}

static int parse_answer(const struct ptl_buf *answer, json_t **ret, struct ptl_error *err)
{
    struct ptl_error first = PTL_ERROR_INIT;
    if (ptl_json_parse(ptl_buf_str(answer), answer->len, "webdriver answer", ret, &first) == 0)
        return PTL_WD_OK;
    PTL_FREE char *text = ptl_json_text_utf8(ptl_buf_str(answer), answer->len);
    if (!text)
        return ptl_error_set(err, -ENOMEM, "webdriver: out of memory");
    repair_escapes(text);
    if (ptl_json_parse(text, strlen(text), "webdriver answer", ret, NULL) == 0)
        return PTL_WD_OK;
    return ptl_error_set(err, PTL_WD_BAD_ANSWER, "%s; it begins \"%.80s\"", first.text, text);
}

static int map_error(const char *code, const char *message)
{
    for (size_t i = 0; wd_phrases[i].code; i++)
        if (strcasestr(message, wd_phrases[i].code))
            return wd_phrases[i].outcome;
    size_t i = 0;
    while (wd_codes[i].code && strcmp(wd_codes[i].code, code) != 0)
        i++;
    return wd_codes[i].outcome;
}

/* The message on one line: chromedriver puts the cause on later lines ("from unknown error: …"), and the
 * versions of everything behind it. */
static void one_line(const char *message, char *ret, size_t size)
{
    size_t n = 0;
    for (const char *p = message; *p && n + 4 < size;) {
        size_t len = strcspn(p, "\n");
        if (strncmp(p, "  (Session info", 15) != 0 && strncmp(p, "  (Driver info", 14) != 0 && len > 0)
            n += (size_t)snprintf(ret + n, size - n, "%s%.*s", n ? " | " : "", (int)(len > 2000 ? 2000 : len),
                                  p);
        p += len + (p[len] == '\n');
    }
    ret[n < size ? n : size - 1] = 0;
}

static int judge(long status, json_t *root, const char *what, json_t **ret_value, struct ptl_error *err)
{
    json_t *value = json_object_get(root, "value");
    if (status >= 200 && status < 300 && value) {
        if (ret_value)
            *ret_value = json_incref(value);
        return PTL_WD_OK;
    }
    const char *code = ptl_json_str(value, "error", NULL), *message = ptl_json_str(value, "message", "");
    if (!code)
        return ptl_error_set(err, PTL_WD_BAD_ANSWER,
                             "webdriver: %s was answered with HTTP %ld and no WebDriver error", what, status);
    int outcome = map_error(code, message);
    char line[700];
    one_line(message, line, sizeof(line));
    return ptl_error_set(err, outcome, "webdriver: %s: %s%s%s", what, code, *line ? ": " : "", line);
}

static int call(struct ptl_webdriver *wd, const char *method, const char *path, const char *label,
                const json_t *body, int64_t timeout_ms, json_t **ret_value, struct ptl_error *err)
{
    PTL_FREE char *url = ptl_xasprintf("%s%s", wd->base, path);
    PTL_FREE char *what = ptl_xasprintf("%s %s", method, label);
    PTL_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : strdup("{}");
    PTL_BUF answer = PTL_BUF_MAX(wd->max_answer);
    if (!text)
        return ptl_error_set(err, -EINVAL, "webdriver: %s: the body cannot be written as JSON", what);
    if (set_up(wd, method, url, text, &answer) < 0)
        return ptl_error_set(err, -EINVAL, "webdriver: curl refuses %s %s", method, url);
    CURLcode code = CURLE_OK;
    int outcome = transfer(wd, timeout_ms, &code);
    if (outcome == PTL_WD_DEADLINE)
        return ptl_error_set(err, outcome, "webdriver: no answer to %s within %lld ms", what,
                             (long long)timeout_ms);
    if (outcome == PTL_WD_STOPPED)
        return ptl_error_set(err, outcome, "webdriver: %s was cut short", what);
    if (outcome)
        return ptl_error_set(err, outcome, "webdriver: %s could not be sent", what);
    if (answer.failed == -E2BIG)
        return ptl_error_set(err, PTL_WD_BAD_ANSWER, "webdriver: the answer to %s is larger than %zu bytes",
                             what, wd->max_answer);
    if (answer.failed)
        return ptl_error_set(err, -ENOMEM, "webdriver: out of memory");
    if (code)
        return ptl_error_set(err, PTL_WD_UNREACHABLE, "webdriver: %s: %s", what, curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(wd->easy, CURLINFO_RESPONSE_CODE, &status);
    PTL_JSON *root = NULL;
    outcome = parse_answer(&answer, &root, err);
    if (outcome) {
        ptl_error_prefix(err, outcome, "%s (HTTP %ld)", what, status);
        return outcome;
    }
    return judge(status, root, what, ret_value, err);
}

static int session_call(struct ptl_webdriver *wd, const char *method, const char *path, const json_t *body,
                        int64_t timeout_ms, json_t **ret_value, struct ptl_error *err)
{
    if (!wd->session)
        return ptl_error_set(err, PTL_WD_SESSION_LOST, "webdriver: %s %s: no session is open", method, path);
    PTL_FREE char *full = ptl_xasprintf("/session/%s%s", wd->session, path);
    return call(wd, method, full, *path ? path : "/session", body, timeout_ms, ret_value, err);
}

/* ---- commands ---- */

/* The id goes into paths: what is not plain would be another path. */
static bool is_plain_id(const char *s)
{
    return s && *s && strlen(s) <= 256 &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == strlen(s) &&
           s[0] != '.';
}

int ptl_webdriver_open(struct ptl_webdriver *wd, const json_t *capabilities, int64_t timeout_ms,
                       struct ptl_error *err)
{
    if (wd->session)
        return ptl_error_set(err, -EBUSY, "webdriver: a session is open already");
    PTL_JSON *body = json_pack("{s:O}", "capabilities", capabilities);
    PTL_JSON *value = NULL;
    if (!body)
        return ptl_error_set(err, -ENOMEM, "webdriver: out of memory");
    int r = call(wd, "POST", "/session", "/session", body, timeout_ms, &value, err);
    if (r)
        return r;
    const char *id = ptl_json_str(value, "sessionId", NULL);
    if (!is_plain_id(id))
        return ptl_error_set(err, PTL_WD_BAD_ANSWER, "webdriver: the new session has no usable sessionId");
    wd->session = ptl_xstrdup(id);
    json_decref(wd->capabilities);
    wd->capabilities = json_incref(json_object_get(value, "capabilities"));
    return PTL_WD_OK;
}

int ptl_webdriver_close(struct ptl_webdriver *wd, int64_t timeout_ms, struct ptl_error *err)
{
    if (!wd->session)
        return PTL_WD_OK;
    int r = session_call(wd, "DELETE", "", NULL, timeout_ms, NULL, err);
    free(PTL_TAKE(wd->session));
    return r;
}

int ptl_webdriver_set_timeouts(struct ptl_webdriver *wd, int64_t script_ms, int64_t page_ms,
                               int64_t timeout_ms, struct ptl_error *err)
{
    PTL_JSON *body = json_pack("{s:I,s:I}", "script", (json_int_t)script_ms, "pageLoad", (json_int_t)page_ms);
    return session_call(wd, "POST", "/timeouts", body, timeout_ms, NULL, err);
}

int ptl_webdriver_navigate(struct ptl_webdriver *wd, const char *url, int64_t timeout_ms,
                           struct ptl_error *err)
{
    PTL_JSON *body = json_pack("{s:s}", "url", url);
    return session_call(wd, "POST", "/url", body, timeout_ms, NULL, err);
}

static int execute(struct ptl_webdriver *wd, const char *path, const char *script, const json_t *args,
                   int64_t timeout_ms, json_t **ret_value, struct ptl_error *err)
{
    PTL_JSON *body =
        json_pack("{s:s,s:o}", "script", script, "args", args ? json_deep_copy(args) : json_array());
    if (!body)
        return ptl_error_set(err, -EINVAL, "webdriver: the script is not UTF-8");
    return session_call(wd, "POST", path, body, timeout_ms, ret_value, err);
}

int ptl_webdriver_execute(struct ptl_webdriver *wd, const char *script, const json_t *args,
                          int64_t timeout_ms, json_t **ret_value, struct ptl_error *err)
{
    return execute(wd, "/execute/sync", script, args, timeout_ms, ret_value, err);
}

int ptl_webdriver_execute_async(struct ptl_webdriver *wd, const char *script, const json_t *args,
                                int64_t timeout_ms, json_t **ret_value, struct ptl_error *err)
{
    return execute(wd, "/execute/async", script, args, timeout_ms, ret_value, err);
}

int ptl_webdriver_drain_log(struct ptl_webdriver *wd, const char *type, int64_t timeout_ms,
                            json_t **ret_entries, struct ptl_error *err)
{
    PTL_JSON *body = json_pack("{s:s}", "type", type);
    PTL_JSON *value = NULL;
    int r = session_call(wd, "POST", "/se/log", body, timeout_ms, &value, err);
    if (r)
        return r;
    if (!json_is_array(value))
        return ptl_error_set(err, PTL_WD_BAD_ANSWER, "webdriver: the %s log is not a list", type);
    *ret_entries = PTL_TAKE(value);
    return PTL_WD_OK;
}

int ptl_webdriver_cdp(struct ptl_webdriver *wd, const char *cmd, const json_t *params, int64_t timeout_ms,
                      json_t **ret_value, struct ptl_error *err)
{
    PTL_JSON *body =
        json_pack("{s:s,s:o}", "cmd", cmd, "params", params ? json_deep_copy(params) : json_object());
    return session_call(wd, "POST", "/goog/cdp/execute", body, timeout_ms, ret_value, err);
}

int ptl_webdriver_command(struct ptl_webdriver *wd, const char *method, const char *path, const json_t *body,
                          int64_t timeout_ms, json_t **ret_value, struct ptl_error *err)
{
    return session_call(wd, method, path, body, timeout_ms, ret_value, err);
}
