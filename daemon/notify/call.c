/* call.c - commit statuses in the dialects of GitHub, GitLab and Gitea (Forgejo's is Gitea's).
 *
 * A table per forge holds the path, the headers and the spelling of states. Judging an answer is one function
 * so that there is one place that knows GitLab's 400 for a state that is there already, GitHub's 403 that
 * means "slower", and which refusals no repetition will change. */
#include "call.h"
#include <portolan/json.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

struct dialect {
    const char *forge, *dflt_url;
    const char *collection; /* what the repository is in */
    const char *auth;       /* before the token */
    const char *more[2];    /* further headers */
    const char *name_key;   /* what the context is called */
    bool one_segment;       /* the repository is one path segment, and the call names the ref: GitLab */
    const char *states[6];  /* in the order of state_names */
};
static const char *const state_names[] = {"pending", "running", "success", "failure", "error", "cancelled"};
static const struct dialect dialects[] = {
    {.forge = "github",
     .dflt_url = "https://api.github.com",
     .collection = "repos",
     .auth = "Authorization: Bearer ",
     .more = {"Accept: application/vnd.github+json", "X-GitHub-Api-Version: 2022-11-28"},
     .name_key = "context",
     .states = {"pending", "pending", "success", "failure", "error", "error"}},
    {.forge = "gitlab",
     .dflt_url = "https://gitlab.com/api/v4",
     .collection = "projects",
     .auth = "PRIVATE-TOKEN: ",
     .name_key = "name",
     .one_segment = true,
     .states = {"pending", "running", "success", "failed", "failed", "canceled"}},
    {.forge = "gitea",
     .collection = "repos",
     .auth = "Authorization: token ",
     .more = {"Accept: application/json"},
     .name_key = "context",
     .states = {"pending", "pending", "success", "failure", "error", "error"}},
};

static const struct dialect *find(const char *forge)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(dialects); i++)
        if (ptl_str_eq(dialects[i].forge, forge))
            return &dialects[i];
    return NULL;
}

const char *ptl_status_spelling(const char *forge, const char *state)
{
    const struct dialect *d = find(forge);
    for (size_t i = 0; d && i < PTL_ARRAY_LEN(state_names); i++)
        if (ptl_str_eq(state_names[i], state))
            return d->states[i];
    return NULL;
}

/* At most `max` characters of valid UTF-8. */
static void cut_characters(char *text, size_t max)
{
    size_t seen = 0;
    for (char *p = text, *keep = text; *p; p++) {
        if (((unsigned char)*p & 0xc0) == 0x80)
            continue;
        if (seen == max - 1)
            keep = p; /* the place for "…" if there is one character too many */
        if (seen++ == max) {
            memcpy(keep, "\xe2\x80\xa6", 4);
            return;
        }
    }
}

char *ptl_status_text(const char *forge, const char *state, const char *description)
{
    const char *spelled = ptl_status_spelling(forge, state);
    bool lost =
        spelled && (ptl_str_eq(state, "running") || ptl_str_eq(state, "cancelled")) && spelled[0] != state[0];
    PTL_FREE char *all =
        ptl_xasprintf("%s%s%s", lost ? state : "", lost ? ": " : "", description ? description : "");
    PTL_FREE char *clean = ptl_json_text_utf8(all, strlen(all));
    /* the cut writes up to two bytes more than the character it replaces */
    char *ret = ptl_xcalloc(1, (clean ? strlen(clean) : 0) + 4);
    memcpy(ret, clean ? clean : "", clean ? strlen(clean) : 0);
    for (char *p = ret; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    cut_characters(ret, PTL_STATUS_TEXT_MAX);
    return ret;
}

/* Percent-encodes everything but unreserved characters; '/' stays where `segments`. */
static char *encode(const char *text, bool segments)
{
    static const char hex[] = "0123456789ABCDEF";
    char *ret = ptl_xcalloc(3 * strlen(text) + 1, 1), *out = ret;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-._~", *p) || (segments && *p == '/');
        if (plain) {
            *out++ = (char)*p;
        } else {
            *out++ = '%';
            *out++ = hex[*p >> 4];
            *out++ = hex[*p & 15];
        }
    }
    return ret;
}

/* owner/name (GitLab: a number, or two parts and more): no empty part, none of dots only, so that the path
 * stays in place. */
static bool repo_is_valid(const char *repo, bool whole)
{
    size_t parts = 0;
    for (const char *p = repo;;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || n > 255 || strspn(p, ".") == n)
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)p[i] < 0x21 || p[i] == 0x7f)
                return false;
        parts++;
        if (!p[n])
            break;
        p += n + 1;
    }
    return whole ? parts >= 2 || repo[strspn(repo, "0123456789")] == '\0' : parts == 2;
}

static bool sha_is_valid(const char *sha)
{
    size_t n = sha ? strspn(sha, "0123456789abcdef") : 0;
    return n >= 7 && n <= 64 && sha[n] == '\0';
}

/* A header value: visible ASCII. */
static bool token_is_valid(const char *token)
{
    for (const char *p = token; p && *p; p++)
        if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
            return false;
    return token && *token;
}

/* The short name that GitLab knows pipelines by; NULL for anything that is neither branch nor tag. */
static const char *short_ref(const char *ref)
{
    if (ptl_str_starts(ref, "refs/heads/"))
        return ref + strlen("refs/heads/");
    return ptl_str_starts(ref, "refs/tags/") ? ref + strlen("refs/tags/") : NULL;
}

static char *make_body(const struct dialect *d, const struct ptl_status *s)
{
    PTL_FREE char *text = ptl_status_text(s->forge, s->state, s->description);
    PTL_JSON *o = json_pack("{s:s, s:s, s:s}", "state", ptl_status_spelling(s->forge, s->state),
                            "description", text, d->name_key, s->context);
    if (o && s->public_url && *s->public_url) {
        size_t n = strlen(s->public_url);
        while (n && s->public_url[n - 1] == '/')
            n--;
        PTL_FREE char *link = ptl_xasprintf("%.*s/runs/%lld", (int)n, s->public_url, (long long)s->run_id);
        json_object_set_new(o, "target_url", json_string(link));
    }
    if (o && d->one_segment && short_ref(s->ref))
        json_object_set_new(o, "ref", json_string(short_ref(s->ref)));
    return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

int ptl_status_call_make(const struct ptl_status *s, bool allow_private, struct ptl_status_call *ret,
                         struct ptl_error *err)
{
    const struct dialect *d = find(s->forge);
    if (!d)
        return ptl_error_set(err, -EINVAL, "status_forge '%s': expected github, gitlab or gitea",
                             s->forge ? s->forge : "");
    if (!ptl_status_spelling(s->forge, s->state))
        return ptl_error_set(err, -EINVAL, "'%s' is no state of a status", s->state ? s->state : "");
    const char *base = s->url && *s->url ? s->url : d->dflt_url;
    if (!base)
        return ptl_error_set(err, -EINVAL,
                             "status_url is not set; for Gitea and Forgejo it is https://HOST/api/v1");
    int r = ptl_notify_url_check(base, allow_private, err);
    if (r < 0)
        return r;
    if (!s->repo || !repo_is_valid(s->repo, d->one_segment))
        return ptl_error_set(err, -EINVAL, "status_repo '%.100s': expected %s", s->repo ? s->repo : "",
                             d->one_segment ? "the project's number or its path group/name" : "owner/name");
    if (!sha_is_valid(s->sha))
        return ptl_error_set(err, -EINVAL, "'%.80s' is no commit", s->sha ? s->sha : "");
    if (!token_is_valid(s->token))
        return ptl_error_set(
            err, -EINVAL,
            s->token && *s->token
                ? "status_token: expected visible ASCII; it has other bytes, perhaps a line end"
                : "status_token is not set");
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        n--;
    struct ptl_status_call c = {.body = make_body(d, s)};
    if (!c.body)
        return ptl_error_set(err, -EINVAL, "context '%.60s' or ref cannot be put in JSON",
                             s->context ? s->context : "");
    PTL_FREE char *repo = encode(s->repo, !d->one_segment);
    c.url = ptl_xasprintf("%.*s/%s/%s/statuses/%s", (int)n, base, d->collection, repo, s->sha);
    size_t h = 0;
    c.headers[h++] = ptl_xasprintf("%s%s", d->auth, s->token);
    c.headers[h++] = ptl_xstrdup("Content-Type: application/json");
    c.headers[h++] = ptl_xstrdup("User-Agent: portolan/" PTL_VERSION); /* GitHub answers 403 without one */
    for (size_t i = 0; i < PTL_ARRAY_LEN(d->more) && d->more[i]; i++)
        c.headers[h++] = ptl_xstrdup(d->more[i]);
    *ret = c;
    return 0;
}

void ptl_status_call_done(struct ptl_status_call *c)
{
    free(c->url);
    free(c->body);
    for (size_t i = 0; i < PTL_ARRAY_LEN(c->headers); i++) {
        if (c->headers[i])
            explicit_bzero(c->headers[i], strlen(c->headers[i]));
        free(c->headers[i]);
    }
    memset(c, 0, sizeof(*c));
}

/* ---- what an answer means ---- */

int64_t ptl_status_backoff_ms(int64_t tries, uint32_t dice)
{
    int64_t whole = 2000;
    for (int64_t i = 1; i < tries && whole < PTL_STATUS_WAIT_MAX_MS; i++)
        whole *= 2;
    if (whole > PTL_STATUS_WAIT_MAX_MS)
        whole = PTL_STATUS_WAIT_MAX_MS;
    return whole / 2 + (int64_t)(dice % (uint64_t)(whole / 2 + 1));
}

/* A whole number of a header; -1 when absent or something else. */
static int64_t header_i64(const struct ptl_http_answer *a, const char *name)
{
    char v[64];
    if (!ptl_http_answer_header(a, name, v, sizeof(v)))
        return -1;
    size_t n = strspn(v, "0123456789");
    return n > 0 && n <= 15 && v[n] == '\0' ? strtoll(v, NULL, 10) : -1;
}

int64_t ptl_status_limit_wait_s(const struct ptl_http_answer *a, int64_t wall_s)
{
    char v[64];
    int64_t s = header_i64(a, "Retry-After");
    if (s < 0 && ptl_http_answer_header(a, "Retry-After", v, sizeof(v))) { /* the other form: a date */
        struct tm tm = {0};
        const char *end = strptime(v, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if (end && !*end)
            s = timegm(&tm) > wall_s ? timegm(&tm) - wall_s : 0;
    }
    if (s >= 0)
        return s;
    static const char *const left[] = {"X-RateLimit-Remaining", "RateLimit-Remaining"},
                             *const reset[] = {"X-RateLimit-Reset", "RateLimit-Reset"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(left); i++) {
        int64_t at = header_i64(a, reset[i]);
        if (header_i64(a, left[i]) == 0 && at >= 0)
            return at > wall_s ? at - wall_s : 0;
    }
    return -1;
}

static bool body_says(const struct ptl_http_answer *a, const char *words)
{
    return strcasestr(ptl_buf_str(&a->body), words) != NULL;
}

/* What the forge says in its answer: the message of its JSON, else the beginning of the text. Caller frees.
 */
static char *answer_text(const struct ptl_http_answer *a, const char *token)
{
    static const char *const keys[] = {"message", "error", "error_description"};
    PTL_JSON *o = json_loadb(ptl_buf_str(&a->body), a->body.len, 0, NULL);
    PTL_FREE char *dumped = NULL;
    const char *text = NULL;
    for (size_t i = 0; i < PTL_ARRAY_LEN(keys) && !text; i++) {
        const json_t *v = json_object_get(o, keys[i]);
        if (v && !json_is_null(v))
            text = json_is_string(v) ? json_string_value(v)
                                     : (dumped = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY));
    }
    if (!text)
        text = ptl_buf_str(&a->body);
    if (token && strlen(token) >= 4 && strstr(text, token))
        text = "(it repeats the token)";
    return ptl_json_text_utf8(text, strnlen(text, 200));
}

void ptl_status_explain(struct ptl_status_outcome *o, const char *fmt, ...)
{
    char text[sizeof(o->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    /* Cut or not, what goes into the table is UTF-8 and fits: what is not becomes U+FFFD, which is longer. */
    PTL_FREE char *clean = ptl_json_text_utf8(text, strlen(text));
    size_t n = clean ? strlen(clean) : 0, max = sizeof(o->text) - 1;
    if (n > max)
        for (n = max; n && ((unsigned char)clean[n] & 0xc0) == 0x80; n--)
            ;
    for (size_t i = 0; i < n; i++)
        o->text[i] = (char)((unsigned char)clean[i] < 0x20 || clean[i] == 0x7f ? ' ' : clean[i]);
    o->text[n] = '\0';
}

static void judge_limit(int64_t asked_s, uint32_t dice, struct ptl_status_outcome *o)
{
    int64_t ms = asked_s < 0 ? 60000 : asked_s * 1000; /* who does not say how long means at least a minute */
    ms = ms < 1000 ? 1000 : ms > PTL_STATUS_LIMIT_MAX_MS ? PTL_STATUS_LIMIT_MAX_MS : ms;
    o->verdict = PTL_STATUS_RETRY;
    o->wait_ms = ms + (int64_t)(dice % (uint64_t)(ms / 10 + 1));
    o->pause_ms = ms;
}

static void judge_refusal(const char *forge, const struct ptl_http_answer *a, int64_t wall_s, uint32_t dice,
                          const char *token, struct ptl_status_outcome *o)
{
    PTL_FREE char *said = answer_text(a, token);
    char location[200];
    int64_t asked = ptl_status_limit_wait_s(a, wall_s);
    ptl_status_explain(o, "answered %d: %s", a->status, said ? said : "");
    o->verdict = PTL_STATUS_GIVE_UP;
    switch (a->status) {
    case 400:
        if (ptl_str_eq(forge, "gitlab") && body_says(a, "Cannot transition status")) {
            o->verdict = PTL_STATUS_SENT; /* the state is there, or a later one is */
            return;
        }
        break;
    case 403: /* GitHub says "slower" with it, too */
        if (asked >= 0 || body_says(a, "rate limit"))
            judge_limit(asked, dice, o);
        break;
    case 429:
        judge_limit(asked, dice, o);
        break;
    case 408:
    case 409:
    case 423:
    case 425:
        o->verdict = PTL_STATUS_RETRY;
        break;
    default:
        if (a->status >= 500) {
            o->verdict = PTL_STATUS_RETRY;
            if (asked > 0) /* 503 with Retry-After: the whole forge rests */
                judge_limit(asked, dice, o);
        } else if (a->status >= 300 && a->status < 400 &&
                   ptl_http_answer_header(a, "Location", location, sizeof(location))) {
            ptl_status_explain(
                o,
                "answered %d: moved to %s; redirects are not followed with a token, set status_url or status_repo anew",
                a->status, location);
        }
    }
}

void ptl_status_judge(const char *forge, int result, const struct ptl_http_answer *a,
                      const struct ptl_error *err, int64_t tries, int64_t wall_s, uint32_t dice,
                      const char *token, struct ptl_status_outcome *ret)
{
    *ret = (struct ptl_status_outcome){.verdict = PTL_STATUS_SENT};
    if (result < 0 || !a) {
        ret->verdict = result == -EINVAL ? PTL_STATUS_GIVE_UP : PTL_STATUS_RETRY;
        ptl_status_explain(ret, "%s", err && err->text[0] ? err->text : "no answer came");
    } else if (a->status >= 200 && a->status < 300) {
        int64_t asked = ptl_status_limit_wait_s(a, wall_s);
        if (asked > 0) { /* this was the last one that the forge takes for now */
            struct ptl_status_outcome limit;
            judge_limit(asked, dice, &limit);
            ret->pause_ms = limit.pause_ms;
        }
        return;
    } else {
        judge_refusal(forge, a, wall_s, dice, token, ret);
    }
    if (ret->verdict != PTL_STATUS_RETRY)
        return;
    if (!ret->wait_ms)
        ret->wait_ms = ptl_status_backoff_ms(tries, dice);
    if (tries >= PTL_STATUS_TRIES_MAX) {
        ret->verdict = PTL_STATUS_GIVE_UP;
        size_t n = strlen(ret->text);
        snprintf(ret->text + n, sizeof(ret->text) - n, " (try %lld, the last)", (long long)tries);
    }
}
