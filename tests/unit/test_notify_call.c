/* test_notify_call.c - commit statuses in each forge's dialect, what their answers mean, how long to wait,
 * and where a token may not be sent. */
#include "call.h"
#include <portolan/json.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#define SHA "0123456789abcdef0123456789abcdef01234567"
enum { NOW = 1795424400 };

static struct ptl_status like(const char *forge)
{
    return (struct ptl_status){.forge = forge,
                               .url = "https://forge.example/base",
                               .repo = "acme/digits",
                               .token = "s3cret-t0ken",
                               .sha = SHA,
                               .ref = "refs/heads/main",
                               .context = "ci/portolan/digits",
                               .state = "running",
                               .description = "1 of 3 stages green",
                               .public_url = "https://portolan.example/",
                               .run_id = 12};
}

/* ---- the call ---- */

struct dialect_row {
    const char *forge, *url, *body, *headers[5];
};
static const struct dialect_row dialects[] = {
    {"github",
     "https://forge.example/base/repos/acme/digits/statuses/" SHA,
     "{\"state\":\"pending\",\"description\":\"running: 1 of 3 stages green\",\"context\":\"ci/portolan/digits\",\"target_url\":\"https://portolan.example/runs/12\"}",
     {"Authorization: Bearer s3cret-t0ken", "Accept: application/vnd.github+json",
      "X-GitHub-Api-Version: 2022-11-28", "Content-Type: application/json"} },
    {"gitlab",
     "https://forge.example/base/projects/acme%2Fdigits/statuses/" SHA,
     "{\"state\":\"running\",\"description\":\"1 of 3 stages green\",\"name\":\"ci/portolan/digits\",\"ref\":\"main\",\"target_url\":\"https://portolan.example/runs/12\"}",
     {"PRIVATE-TOKEN: s3cret-t0ken", "Content-Type: application/json"}      },
    {"gitea",
     "https://forge.example/base/repos/acme/digits/statuses/" SHA,
     "{\"state\":\"pending\",\"description\":\"running: 1 of 3 stages green\",\"context\":\"ci/portolan/digits\",\"target_url\":\"https://portolan.example/runs/12\"}",
     {"Authorization: token s3cret-t0ken", "Content-Type: application/json"}},
};

static bool has_header(const struct ptl_status_call *c, const char *wanted)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(c->headers) && c->headers[i]; i++)
        if (strcmp(c->headers[i], wanted) == 0)
            return true;
    return false;
}

static void each_forge_in_its_dialect(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(dialects); i++) {
        const struct dialect_row *t = &dialects[i];
        struct ptl_status s = like(t->forge);
        struct ptl_status_call c = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        if (ptl_status_call_make(&s, false, &c, &err) != 0)
            fail_msg("%s: %s", t->forge, err.text);
        assert_string_equal(c.url, t->url);
        PTL_JSON *wanted = json_loads(t->body, 0, NULL);
        PTL_JSON *got = json_loads(c.body, 0, NULL);
        if (!json_equal(wanted, got))
            fail_msg("%s: %s", t->forge, c.body);
        for (size_t k = 0; k < PTL_ARRAY_LEN(t->headers) && t->headers[k]; k++)
            if (!has_header(&c, t->headers[k]))
                fail_msg("%s: no header '%s'", t->forge, t->headers[k]);
        assert_true(has_header(&c, "User-Agent: portolan/" PTL_VERSION));
        ptl_status_call_done(&c);
        assert_null(c.url);
    }
}

static void states_are_spelled_as_the_forge_does(void **state PTL_UNUSED)
{
    static const struct {
        const char *ours, *github, *gitlab, *gitea;
    } rows[] = {
        {"pending",   "pending", "pending",  "pending"},
        {"running",   "pending", "running",  "pending"},
        {"success",   "success", "success",  "success"},
        {"failure",   "failure", "failed",   "failure"},
        {"error",     "error",   "failed",   "error"  },
        {"cancelled", "error",   "canceled", "error"  }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        assert_string_equal(ptl_status_spelling("github", rows[i].ours), rows[i].github);
        assert_string_equal(ptl_status_spelling("gitlab", rows[i].ours), rows[i].gitlab);
        assert_string_equal(ptl_status_spelling("gitea", rows[i].ours), rows[i].gitea);
    }
    assert_null(ptl_status_spelling("github", "green"));
    assert_null(ptl_status_spelling("bitbucket", "success"));
}

static size_t characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void descriptions_have_at_most_140_characters(void **state PTL_UNUSED)
{
    static const char *const units[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x97\xba"};
    for (size_t u = 0; u < PTL_ARRAY_LEN(units); u++)
        for (int n = 125; n < 150; n++) {
            char text[700] = "";
            for (int i = 0; i < n; i++)
                strcat(text, units[u]);
            PTL_FREE char *plain = ptl_status_text("gitlab", "cancelled", text);
            PTL_FREE char *lost = ptl_status_text("github", "cancelled", text);
            assert_int_equal(characters(plain), n > 140 ? 140 : n);
            assert_int_equal(characters(lost), n + 11 > 140 ? 140 : n + 11);
            assert_true((strstr(plain, "\xe2\x80\xa6") != NULL) == (n > 140));
            assert_memory_equal(lost, "cancelled: ", 11);
            PTL_JSON *is_utf8 = json_string(lost);
            assert_non_null(is_utf8);
        }
    PTL_FREE char *odd = ptl_status_text("github", "error",
                                         "a\nb\xff"
                                         "c\x1b");
    assert_string_equal(odd, "a b\xef\xbf\xbd"
                             "c ");
    PTL_FREE char *none = ptl_status_text("github", "success", NULL);
    assert_string_equal(none, "");
}

static void small_differences(void **state PTL_UNUSED)
{
    struct ptl_status_call c = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_status s = like("github");
    s.url = NULL;
    s.public_url = NULL;
    assert_int_equal(ptl_status_call_make(&s, false, &c, &err), 0);
    assert_string_equal(c.url, "https://api.github.com/repos/acme/digits/statuses/" SHA);
    assert_null(strstr(c.body, "target_url"));
    ptl_status_call_done(&c);

    s = like("gitlab");
    s.url = "https://gitlab.example/api/v4///";
    s.repo = "15";
    s.ref = "refs/tags/v1";
    assert_int_equal(ptl_status_call_make(&s, false, &c, &err), 0);
    assert_string_equal(c.url, "https://gitlab.example/api/v4/projects/15/statuses/" SHA);
    assert_non_null(strstr(c.body, "\"ref\":\"v1\""));
    ptl_status_call_done(&c);

    s = like("gitlab");
    s.repo = "group/sub group/name";
    s.ref = "0123456";
    assert_int_equal(ptl_status_call_make(&s, false, &c, &err), -EINVAL); /* a space is no path */
    s.repo = "group/sub.group/n\xc3\xa4me";
    assert_int_equal(ptl_status_call_make(&s, false, &c, &err), 0);
    assert_non_null(strstr(c.url, "/projects/group%2Fsub.group%2Fn%C3%A4me/statuses/"));
    assert_null(strstr(c.body, "\"ref\"")); /* a bare commit is no branch */
    ptl_status_call_done(&c);
}

struct bad_row {
    const char *label;
    struct ptl_status change; /* set members replace */
    int result;
    const char *says;
};

static void what_will_never_go_says_what_to_change(void **state PTL_UNUSED)
{
    static const struct bad_row rows[] = {
        {"no forge",                {.forge = "bitbucket"},              -EINVAL, "status_forge"},
        {"no state",                {.state = "green"},                  -EINVAL, "no state"    },
        {"http",                    {.url = "http://forge.example/api"}, -EPERM,  "https"       },
        {"private",                 {.url = "https://10.1.2.3/api"},     -EPERM,  "private"     },
        {"no scheme",               {.url = "forge.example"},            -EINVAL, "https"       },
        {"repo without owner",      {.repo = "digits"},                  -EINVAL, "owner/name"  },
        {"repo that climbs",        {.repo = "../admin"},                -EINVAL, "owner/name"  },
        {"repo that climbs behind", {.repo = "acme/.."},                 -EINVAL, "owner/name"  },
        {"repo with three parts",   {.repo = "a/b/c"},                   -EINVAL, "owner/name"  },
        {"repo with an empty part", {.repo = "a//b"},                    -EINVAL, "owner/name"  },
        {"repo with a line end",    {.repo = "a/b\r\nX: y"},             -EINVAL, "owner/name"  },
        {"token with a line end",   {.token = "abc\r\nX-Admin: 1"},      -EINVAL, "status_token"},
        {"empty token",             {.token = ""},                       -EINVAL, "not set"     },
        {"sha",                     {.sha = "HEAD"},                     -EINVAL, "no commit"   },
        {"sha with a path",         {.sha = "0123456/../../x"},          -EINVAL, "no commit"   },
        {"context that is no text", {.context = "\xff"},                 -EINVAL, "context"     },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        struct ptl_status s = like("github");
        const struct ptl_status *ch = &rows[i].change;
        s.forge = ch->forge ? ch->forge : s.forge;
        s.url = ch->url ? ch->url : s.url;
        s.repo = ch->repo ? ch->repo : s.repo;
        s.token = ch->token ? ch->token : s.token;
        s.sha = ch->sha ? ch->sha : s.sha;
        s.state = ch->state ? ch->state : s.state;
        s.context = ch->context ? ch->context : s.context;
        struct ptl_status_call c = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        int r = ptl_status_call_make(&s, false, &c, &err);
        if (r != rows[i].result || !strstr(err.text, rows[i].says) || c.url || c.body)
            fail_msg("%s: %d '%s'", rows[i].label, r, err.text);
        if (s.token[0] && strstr(err.text, s.token))
            fail_msg("%s: the sentence holds the token", rows[i].label);
    }
    struct ptl_status s = like("gitea");
    s.url = NULL;
    struct ptl_status_call c = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_status_call_make(&s, false, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/api/v1"));
}

static void where_a_token_may_go(void **state PTL_UNUSED)
{
    static const struct {
        const char *url;
        int strict, open; /* without and with allow_private */
    } rows[] = {
        {"https://forge.example",             0,       0      },
        {"HTTPS://forge.example:8443/api/v1", 0,       0      },
        {"https://8.8.8.8/",                  0,       0      },
        {"https://[2606:4700::1111]/api",     0,       0      },
        {"https://a.localhost.example/",      0,       0      },
        {"http://forge.example/",             -EPERM,  0      },
        {"https://localhost/",                -EPERM,  0      },
        {"https://LOCALHOST./",               -EPERM,  0      },
        {"https://x.localhost/",              -EPERM,  0      },
        {"https://127.0.0.1/",                -EPERM,  0      },
        {"https://127.0.0.1./",               -EPERM,  0      },
        {"https://127.1/",                    -EPERM,  0      },
        {"https://2130706433/",               -EPERM,  0      },
        {"https://0x7f000001/",               -EPERM,  0      },
        {"https://0x7f.1/",                   -EPERM,  0      },
        {"https://017700000001/",             -EPERM,  0      },
        {"https://0/",                        -EPERM,  0      },
        {"https://10.0.0.1:3000/",            -EPERM,  0      },
        {"https://172.16.0.1/",               -EPERM,  0      },
        {"https://172.32.0.1/",               0,       0      },
        {"https://192.168.1.1/",              -EPERM,  0      },
        {"https://169.254.169.254/latest",    -EPERM,  0      },
        {"https://100.64.0.1/",               -EPERM,  0      },
        {"https://255.255.255.255/",          -EPERM,  0      },
        {"https://[::1]/",                    -EPERM,  0      },
        {"https://[::]/",                     -EPERM,  0      },
        {"https://[::ffff:10.0.0.1]/",        -EPERM,  0      },
        {"https://[::ffff:8.8.8.8]/",         0,       0      },
        {"https://[64:ff9b::a00:1]/",         -EPERM,  0      },
        {"https://[2002:a00:1::]/",           -EPERM,  0      },
        {"https://[fe80::1]/",                -EPERM,  0      },
        {"https://[fd00::1]/",                -EPERM,  0      },
        {"https://[fe80::1%25eth0]/",         -EINVAL, -EINVAL},
        {"https://[::1/",                     -EINVAL, -EINVAL},
        {"https://user@forge.example/",       -EINVAL, -EINVAL},
        {"https://forge.example@10.0.0.1/",   -EINVAL, -EINVAL},
        {"https://forge.example?x",           -EINVAL, -EINVAL},
        {"https://forge.example/#x",          -EINVAL, -EINVAL},
        {"https://forge.example\\@10.0.0.1/", -EINVAL, -EINVAL},
        {"https://forge.example/a b",         -EINVAL, -EINVAL},
        {"https://forge.example/\r\nX: y",    -EINVAL, -EINVAL},
        {"https://forge.example:/",           -EINVAL, -EINVAL},
        {"https://forge.example:123456/",     -EINVAL, -EINVAL},
        {"https://forge.ex\xc3\xa4mple/",     -EINVAL, -EINVAL},
        {"https://",                          -EINVAL, -EINVAL},
        {"https:///x",                        -EINVAL, -EINVAL},
        {"file:///etc/passwd",                -EINVAL, -EINVAL},
        {"gopher://forge.example/",           -EINVAL, -EINVAL},
        {"",                                  -EINVAL, -EINVAL},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(rows); i++) {
        struct ptl_error err = PTL_ERROR_INIT;
        int strict = ptl_notify_url_check(rows[i].url, false, &err),
            open = ptl_notify_url_check(rows[i].url, true, &err);
        if (strict != rows[i].strict || open != rows[i].open)
            fail_msg("'%s': %d and %d, expected %d and %d", rows[i].url, strict, open, rows[i].strict,
                     rows[i].open);
    }
}

/* ---- answers ---- */

struct answer_row {
    const char *label, *forge;
    int status; /* 0: none came, `result` says why */
    int result;
    const char *headers, *body;
    int64_t tries;
    enum ptl_status_verdict verdict;
    int64_t wait_min_ms, wait_max_ms, pause_ms;
    const char *says;
};
#define TRANSITION                                                                                           \
    "{\"message\":\"Cannot transition status via :run from :running (Reason(s): Status cannot transition via \\\"run\\\")\"}"
static const struct answer_row answers[] = {
    {"201",                                              "github", 201, 0,             "",                                                               "{}",                                                1,                    PTL_STATUS_SENT,    0,       0,      0,       ""                                              },
    {"200",                                              "gitea",  200, 0,             "",                                                               "",                                                  1,                    PTL_STATUS_SENT,    0,       0,      0,       ""                                              },
    {"201, the last one allowed",                        "github", 201, 0,
     "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1795424430\r\n",                                                                                    "{}",                                                1,                    PTL_STATUS_SENT,    0,       0,      30000,
     ""                                                                                                                                                                                                                                                                                                                           },
    {"201, limit far away",                              "github", 201, 0,
     "X-RateLimit-Remaining: 4999\r\nX-RateLimit-Reset: 1795424430\r\n",                                                                                 "{}",                                                1,                    PTL_STATUS_SENT,    0,       0,      0,
     ""                                                                                                                                                                                                                                                                                                                           },
    {"gitlab: the state is there",                       "gitlab", 400, 0,             "",                                                               TRANSITION,                                          1,                    PTL_STATUS_SENT,    0,       0,      0,
     "Cannot transition"                                                                                                                                                                                                                                                                                                          },
    {"github: the same words mean nothing",              "github", 400, 0,             "",                                                               TRANSITION,                                          1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,
     "400"                                                                                                                                                                                                                                                                                                                        },
    {"gitlab: another 400",                              "gitlab", 400, 0,             "",                                                               "{\"error\":\"state does not have a valid value\"}", 1,
     PTL_STATUS_GIVE_UP,                                                                                                                                                                                                                                0,       0,      0,       "valid value"                                   },
    {"gitlab: a message that is an object",              "gitlab", 400, 0,             "",
     "{\"message\":{\"name\":[\"is too long\"]}}",                                                                                                                                                            1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,       "is too long"                                   },
    {"401",                                              "github", 401, 0,             "",                                                               "{\"message\":\"Bad credentials\"}",                 1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,
     "401: Bad credentials"                                                                                                                                                                                                                                                                                                       },
    {"403",                                              "gitea",  403, 0,             "",                                                               "{\"message\":\"no\"}",                              1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,       "403"                                           },
    {"403: primary limit",                               "github", 403, 0,             "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1795424410\r\n",
     "{\"message\":\"API rate limit exceeded\"}",                                                                                                                                                             1,                    PTL_STATUS_RETRY,   10000,   11000,  10000,   "rate limit"                                    },
    {"403: secondary limit with Retry-After",            "github", 403, 0,             "Retry-After: 7\r\n",
     "{\"message\":\"You have exceeded a secondary rate limit\"}",                                                                                                                                            1,                    PTL_STATUS_RETRY,   7000,    7700,   7000,
     "secondary"                                                                                                                                                                                                                                                                                                                  },
    {"403: secondary limit that says nothing: a minute", "github", 403, 0,             "X-RateLimit-Remaining: 20\r\n",
     "{\"message\":\"You have exceeded a secondary rate limit\"}",                                                                                                                                            1,                    PTL_STATUS_RETRY,   60000,   66000,  60000,
     ""                                                                                                                                                                                                                                                                                                                           },
    {"404",                                              "gitlab", 404, 0,             "",                                                               "{\"message\":\"404 Project Not Found\"}",           1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,
     "404 Project"                                                                                                                                                                                                                                                                                                                },
    {"422",                                              "github", 422, 0,             "",                                                               "{\"message\":\"Validation Failed\",\"errors\":[]}", 1,                    PTL_STATUS_GIVE_UP,
     0,                                                                                                                                                                                                                                                          0,      0,       "Validation"                                    },
    {"410",                                              "github", 410, 0,             "",                                                               "",                                                  1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,       "410"                                           },
    {"409 is a race",                                    "gitlab", 409, 0,             "",                                                               "",                                                  1,                    PTL_STATUS_RETRY,   1000,    2000,   0,       "409"                                           },
    {"429 with seconds",                                 "gitlab", 429, 0,             "retry-after: 5\r\n",                                             "",                                                  1,                    PTL_STATUS_RETRY,   5000,    5500,   5000,
     "429"                                                                                                                                                                                                                                                                                                                        },
    {"429 with a date",                                  "gitlab", 429, 0,             "Retry-After: Mon, 23 Nov 2026 09:00:20 GMT\r\n",                 "",                                                  1,
     PTL_STATUS_RETRY,                                                                                                                                                                                                                                  20000,   22000,  20000,   ""                                              },
    {"429 with a date gone by",                          "gitlab", 429, 0,             "Retry-After: Mon, 23 Nov 2026 08:00:00 GMT\r\n",                 "",                                                  1,
     PTL_STATUS_RETRY,                                                                                                                                                                                                                                  1000,    1100,   1000,    ""                                              },
    {"429 with GitLab's names",                          "gitlab", 429, 0,             "RateLimit-Remaining: 0\r\nRateLimit-Reset: 1795424403\r\n",
     "",                                                                                                                                                                                                      1,                    PTL_STATUS_RETRY,   3000,    3300,   3000,    ""                                              },
    {"429 without anything",                             "gitea",  429, 0,             "",                                                               "",                                                  1,                    PTL_STATUS_RETRY,   60000,   66000,  60000,   ""                                              },
    {"429 for a year",                                   "gitea",  429, 0,             "Retry-After: 31536000\r\n",                                      "",                                                  1,                    PTL_STATUS_RETRY,   3600000,
     3960000,                                                                                                                                                                                                                                                            3600000, ""                                              },
    {"429 with nonsense",                                "gitea",  429, 0,             "Retry-After: soon\r\n",                                          "",                                                  1,                    PTL_STATUS_RETRY,   60000,   66000,
     60000,                                                                                                                                                                                                                                                                       ""                                              },
    {"500",                                              "github", 500, 0,             "",                                                               "<html>oops</html>",                                 1,                    PTL_STATUS_RETRY,   1000,    2000,   0,       "500: <html>"                                   },
    {"502 on the fourth try",                            "github", 502, 0,             "",                                                               "",                                                  4,                    PTL_STATUS_RETRY,   8000,    16000,  0,       "502"                                           },
    {"503 with Retry-After",                             "github", 503, 0,             "Retry-After: 30\r\n",                                            "",                                                  1,                    PTL_STATUS_RETRY,   30000,   33000,
     30000,                                                                                                                                                                                                                                                                       ""                                              },
    {"503 on the last try",                              "github", 503, 0,             "",                                                               "",                                                  PTL_STATUS_TRIES_MAX, PTL_STATUS_GIVE_UP, 0,       900000, 0,
     "the last"                                                                                                                                                                                                                                                                                                                   },
    {"301",                                              "github", 301, 0,             "Location: https://api.github.com/repositories/1/statuses/x\r\n", "",                                                  1,
     PTL_STATUS_GIVE_UP,                                                                                                                                                                                                                                0,       0,      0,       "moved to https://api.github.com/repositories/1"},
    {"nobody there",                                     "github", 0,   -ECONNREFUSED, NULL,                                                             NULL,                                                1,                    PTL_STATUS_RETRY,   1000,    2000,   0,       "refused"                                       },
    {"no answer in time",                                "github", 0,   -ETIMEDOUT,    NULL,                                                             NULL,                                                20,                   PTL_STATUS_RETRY,   450000,  900000, 0,
     "refused"                                                                                                                                                                                                                                                                                                                    },
    {"a URL that curl does not read",                    "github", 0,   -EINVAL,       NULL,                                                             NULL,                                                1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,
     "refused"                                                                                                                                                                                                                                                                                                                    },
    {"the answer repeats the token",                     "github", 401, 0,             "",                                                               "{\"message\":\"bad token s3cret-t0ken\"}",          1,
     PTL_STATUS_GIVE_UP,                                                                                                                                                                                                                                0,       0,      0,       "repeats the token"                             },
    {"the answer is no UTF-8",                           "github", 404, 0,             "",                                                               "\xff\xfe\x01 gone",                                 1,                    PTL_STATUS_GIVE_UP, 0,       0,      0,
     "gone"                                                                                                                                                                                                                                                                                                                       },
};

static void what_an_answer_means(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(answers); i++) {
        const struct answer_row *t = &answers[i];
        for (uint64_t step = 0; step < 4; step++) {
            uint32_t dice = (uint32_t)(step * 0x55555555u);
            struct ptl_http_answer a = {.status = t->status};
            struct ptl_error err = PTL_ERROR_INIT;
            struct ptl_status_outcome o;
            if (t->headers)
                ptl_buf_printf(&a.headers, "HTTP/1.1 %d x\r\n%s\r\n", t->status, t->headers);
            if (t->body)
                ptl_buf_puts(&a.body, t->body);
            if (t->result)
                ptl_error_set(&err, t->result, "refused");
            ptl_status_judge(t->forge, t->result, t->result ? NULL : &a, &err, t->tries, NOW, dice,
                             "s3cret-t0ken", &o);
            if (o.verdict != t->verdict || o.wait_ms < t->wait_min_ms || o.wait_ms > t->wait_max_ms ||
                o.pause_ms != t->pause_ms || !strstr(o.text, t->says))
                fail_msg("%s: verdict %d, wait %lld, pause %lld, '%s'", t->label, o.verdict,
                         (long long)o.wait_ms, (long long)o.pause_ms, o.text);
            if (strstr(o.text, "s3cret"))
                fail_msg("%s: the token is in '%s'", t->label, o.text);
            PTL_JSON *is_utf8 = json_string(o.text);
            assert_non_null(is_utf8);
            ptl_http_answer_done(&a);
        }
    }
}

/* Whatever a forge answers, what is kept fits and is UTF-8. */
static void long_answers_are_cut(void **state PTL_UNUSED)
{
    for (int lead = 0; lead < 4; lead++) {
        struct ptl_http_answer a = {.status = 404};
        for (int i = 0; i < lead; i++)
            ptl_buf_putc(&a.body, 'x');
        for (int i = 0; i < 5000; i++)
            ptl_buf_puts(&a.body, i % 2 ? "\xff" : "\xe2\x82\xac");
        struct ptl_status_outcome o;
        ptl_status_judge("github", 0, &a, NULL, 1, NOW, 0, NULL, &o);
        PTL_JSON *is_utf8 = json_string(o.text);
        assert_non_null(is_utf8);
        assert_true(strlen(o.text) < sizeof(o.text));
        ptl_http_answer_done(&a);
    }
}

static void waits_double_with_jitter_and_have_a_bound(void **state PTL_UNUSED)
{
    int64_t whole = 2000, total = 0;
    for (int64_t tries = 1; tries < PTL_STATUS_TRIES_MAX; tries++) {
        int64_t low = ptl_status_backoff_ms(tries, 0), high = 0;
        for (uint32_t d = 0; d < 2000; d++) {
            int64_t w = ptl_status_backoff_ms(tries, d * 2654435761u);
            assert_in_range(w, (uintmax_t)(whole / 2), (uintmax_t)whole);
            high = w > high ? w : high;
        }
        assert_int_equal(low, whole / 2);
        assert_true(high > whole * 9 / 10); /* the dice reach both ends */
        total += whole;
        whole = whole * 2 > PTL_STATUS_WAIT_MAX_MS ? PTL_STATUS_WAIT_MAX_MS : whole * 2;
    }
    assert_in_range(total, 3 * 3600 * 1000, 5 * 3600 * 1000); /* "about four hours" */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_forge_in_its_dialect),
        cmocka_unit_test(states_are_spelled_as_the_forge_does),
        cmocka_unit_test(descriptions_have_at_most_140_characters),
        cmocka_unit_test(small_differences),
        cmocka_unit_test(what_will_never_go_says_what_to_change),
        cmocka_unit_test(where_a_token_may_go),
        cmocka_unit_test(what_an_answer_means),
        cmocka_unit_test(long_answers_are_cut),
        cmocka_unit_test(waits_double_with_jitter_and_have_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
