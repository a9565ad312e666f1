/* test_notify_message.c - what people are told: words, forms, when it may be told, and nothing that could be
 * smuggled in by a name. */
#include "message.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

enum { MIN = 60, HOUR = 3600, DAY = 86400, MONDAY = 20000 * DAY };

static void quiet_hours(void **state PTL_UNUSED)
{
    static const struct {
        const char *label;
        int from, to;
        int64_t now, wait;
    } cases[] = {
        {"none",                         0,    0,   MONDAY + 3 * HOUR,            0       },
        {"within the day, before",       600,  720, MONDAY + 600 * MIN - 1,       0       },
        {"within the day, first second", 600,  720, MONDAY + 600 * MIN,           2 * HOUR},
        {"within the day, last second",  600,  720, MONDAY + 720 * MIN - 1,       1       },
        {"within the day, over",         600,  720, MONDAY + 720 * MIN,           0       },
        {"over midnight, evening",       1320, 420, MONDAY + 23 * HOUR,           8 * HOUR},
        {"over midnight, morning",       1320, 420, MONDAY + 6 * HOUR + 30 * MIN, 30 * MIN},
        {"over midnight, at noon",       1320, 420, MONDAY + 12 * HOUR,           0       },
        {"before 1970",                  1320, 420, -HOUR,                        8 * HOUR},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        if (ptl_quiet_wait_s(cases[i].from, cases[i].to, cases[i].now) != cases[i].wait)
            fail_msg("%s: %lld s, expected %lld", cases[i].label,
                     (long long)ptl_quiet_wait_s(cases[i].from, cases[i].to, cases[i].now),
                     (long long)cases[i].wait);
}

static void digests(void **state PTL_UNUSED)
{
    static const struct {
        const char *label, *digest;
        int hour;
        int64_t created, now, wait;
    } cases[] = {
        {"none",                       "none",   9, MONDAY,             MONDAY,             0        },
        {"hourly, ten past",           "hourly", 9, MONDAY + 10 * MIN,  MONDAY + 10 * MIN,  50 * MIN },
        {"hourly, on the hour",        "hourly", 9, MONDAY,             MONDAY,             HOUR     },
        {"hourly, the hour is over",   "hourly", 9, MONDAY + 10 * MIN,  MONDAY + HOUR,      0        },
        {"daily, before nine",         "daily",  9, MONDAY + 8 * HOUR,  MONDAY + 8 * HOUR,  HOUR     },
        {"daily, at nine waits a day", "daily",  9, MONDAY + 9 * HOUR,  MONDAY + 9 * HOUR,  DAY      },
        {"daily, evening",             "daily",  9, MONDAY + 20 * HOUR, MONDAY + 21 * HOUR, 12 * HOUR},
        {"daily, due",                 "daily",  9, MONDAY + 20 * HOUR, MONDAY + 33 * HOUR, 0        },
        {"daily, long due",            "daily",  0, MONDAY,             MONDAY + 9 * DAY,   0        },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        if (ptl_digest_wait_s(cases[i].digest, cases[i].hour, cases[i].created, cases[i].now) !=
            cases[i].wait)
            fail_msg(
                "%s: %lld s, expected %lld", cases[i].label,
                (long long)ptl_digest_wait_s(cases[i].digest, cases[i].hour, cases[i].created, cases[i].now),
                (long long)cases[i].wait);
}

static json_t *parse(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j)
        fail_msg("%s in %s", e.text, text);
    return j;
}

static const char failed[] =
    "{\"project\":\"digits\",\"run_id\":7,\"run_number\":12,\"stage\":\"verify/android\",\"stage_id\":44,\"state\":\"red\",\"challenge\":\"Model quantization\",\"diagnosis\":\"op CONV_2D is unknown to this runtime\","
    "\"quote\":\"ERROR: Didn't find op\\u0007 for builtin\",\"quote_line\":31,\"message\":\"exit 1\"}";
static const struct ptl_message_for full = {"https://ci.example.org", "ada-mail"}, bare = {NULL, "ada-mail"};

static void words(void **state PTL_UNUSED)
{
    PTL_JSON *d = parse(failed);
    PTL_JSON *g = parse(
        "{\"project\":\"digits\",\"run_id\":7,\"run_number\":12,\"stage\":\"verify/web\",\"stage_id\":45,\"gate_why\":\"its risk of 0.52 is above the 0.4 that the pipeline file allows\",\"state\":\"gated\"}");
    PTL_JSON *a = parse(
        "{\"project\":\"digits\",\"run_id\":7,\"run_number\":12,\"stage\":\"verify/web\",\"state\":\"waiting\",\"person\":\"Ada\",\"actor\":\"mona\",\"text\":\"please\\nlook\",\"due_at\":\"2026-12-24T17:00:00+00:00\",\"risk\":0.52}");
    struct ptl_message list[] = {
        {"failed",   d},
        {"gate",     g},
        {"assigned", a}
    };
    PTL_FREE char *title = ptl_message_title(&list[0]);
    assert_string_equal(title, "digits#12 verify/android failed: Model quantization");
    PTL_BUF b = PTL_BUF_INIT;
    ptl_message_text(list, 1, &full, &b);
    assert_string_equal(
        ptl_buf_str(&b),
        "digits#12 verify/android failed: Model quantization\n"
        "Why it failed: op CONV_2D is unknown to this runtime\n"
        "> ERROR: Didn't find op  for builtin\n"
        "  (line 31 of the log)\n"
        "Look: https://ci.example.org/runs/7\n"
        "\n--\nYou get this through the channel 'ada-mail' of Portolan. To get less of it: portolan notify channel set ada-mail --help; to stop it: portolan notify channel remove ada-mail\n");
    ptl_buf_clear(&b);
    ptl_message_text(list + 1, 2, &bare, &b);
    assert_non_null(strstr(
        ptl_buf_str(&b),
        "digits#12 verify/web waits for an approval\nWhy: its risk of 0.52 is above the 0.4 that the pipeline file allows\nLook: portolan why 7\nLet it go on: portolan stage approve 45\n\n"
        "digits#12 verify/web: given to Ada\nBy: mona\nSaid: please\nlook\nDue: 2026-12-24 17:00 UTC\nRisk: 52 %\n"));
    PTL_FREE char *subject = ptl_message_subject(list, 3);
    assert_string_equal(subject, "3 things: 1 assigned, 1 failed, 1 gate");
}

static void forms(void **state PTL_UNUSED)
{
    PTL_JSON *d = parse(failed);
    struct ptl_message m = {"failed", d};
    PTL_FREE char *slack = ptl_message_chat(&m, 1, &full, NULL);
    PTL_JSON *s = parse(slack);
    assert_true(ptl_str_starts(ptl_json_str(s, "text", ""), "digits#12 verify/android failed"));
    PTL_FREE char *matrix = ptl_message_chat(
        &m, 1, &full, "{\"msgtype\":\"m.text\",\"body\":\"> {text}\",\"n\":[1,{\"x\":\"{text}\"}]}");
    PTL_JSON *x = parse(matrix);
    assert_string_equal(ptl_json_str(x, "msgtype", ""), "m.text");
    assert_true(ptl_str_starts(ptl_json_str(x, "body", ""), "> digits#12"));
    assert_null(ptl_message_chat(&m, 1, &full, "{text}"));
    PTL_FREE char *hook = ptl_message_webhook(&m, &full, "2026-11-30T12:00:00.000Z");
    PTL_JSON *h = parse(hook);
    assert_string_equal(ptl_json_str(h, "type", ""), "portolan.failed");
    assert_string_equal(ptl_json_str(json_object_get(h, "data"), "url", ""), "https://ci.example.org/runs/7");
    /* the vector of the Standard Webhooks' specification */
    PTL_FREE char *sig =
        ptl_message_signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
                              1614265330, "{\"test\": 2432232314}");
    assert_string_equal(sig, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_null(ptl_message_signature("secret", "m", 1, "x"));
    PTL_FREE char *shown = ptl_message_shown_url("https://hooks.example.org/services/T0/B0/secret?x=1");
    assert_string_equal(shown, "https://hooks.example.org/…");
}

static void mail(void **state PTL_UNUSED)
{
    static const struct {
        const char *address;
        bool fine;
    } addresses[] = {
        {"ada@example.org", true },
        {"a+b@x",           true },
        {"ada",             false},
        {"@x",              false},
        {"a@",              false},
        {"a@b@c",           false},
        {"a b@c",           false},
        {"a@b\r\nBcc: x@y", false},
        {"<a@b>",           false},
        {"a@b,c@d",         false},
        {"ä@b.c",          false},
        {"a@-b",            false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(addresses); i++)
        if (ptl_mail_address_ok(addresses[i].address) != addresses[i].fine)
            fail_msg("%s", addresses[i].address);
    PTL_BUF b = PTL_BUF_INIT;
    ptl_mail_compose("ci@example.org", "ada@example.org", "Grüße", "a = b\nümlaut \n.dot\n", "id@host", 0,
                     &b);
    assert_string_equal(
        ptl_buf_str(&b),
        "From: Portolan <ci@example.org>\r\nTo: <ada@example.org>\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"
        "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <id@host>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\na =3D b\r\n=C3=BCmlaut=20\r\n.dot\r\n");
    /* what a stage is called cannot end a header */
    PTL_JSON *d = parse("{\"project\":\"x\\r\\nBcc: evil@example.org\",\"stage\":\"s\"}");
    struct ptl_message m = {"failed", d};
    PTL_FREE char *subject = ptl_message_subject(&m, 1);
    assert_null(strpbrk(subject, "\r\n"));
    /* lines of a mail stay short, and a character is never cut */
    ptl_buf_clear(&b);
    char longer[2000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    ptl_mail_compose("a@b", "c@d", "ääääääääääääääääääääääääääääääääääääääää ääääääääääääääääääääääääää",
                     longer, "i@h", 0, &b);
    for (const char *line = ptl_buf_str(&b); line && *line;) {
        const char *end = strstr(line, "\r\n");
        assert_true((end ? (size_t)(end - line) : strlen(line)) <= 78);
        line = end ? end + 2 : NULL;
    }
}

static void answers(void **state PTL_UNUSED)
{
    static const struct {
        int status;
        int64_t tried_for_s;
        enum ptl_status_verdict verdict;
    } cases[] = {
        {200, 1,                     PTL_STATUS_SENT   },
        {204, 1,                     PTL_STATUS_SENT   },
        {302, 1,                     PTL_STATUS_GIVE_UP},
        {400, 1,                     PTL_STATUS_GIVE_UP},
        {404, 1,                     PTL_STATUS_GIVE_UP},
        {429, 1,                     PTL_STATUS_RETRY  },
        {500, 1,                     PTL_STATUS_RETRY  },
        {503, PTL_MESSAGE_TRY_S - 1, PTL_STATUS_RETRY  },
        {503, PTL_MESSAGE_TRY_S,     PTL_STATUS_GIVE_UP},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct ptl_http_answer a = {.status = cases[i].status};
        struct ptl_message_tries t = {.tried_for_s = cases[i].tried_for_s};
        struct ptl_status_outcome o;
        ptl_message_judge(0, &a, NULL, &t, 0, 1, &o);
        if (o.verdict != cases[i].verdict)
            fail_msg("%d after %lld s: %d", cases[i].status, (long long)cases[i].tried_for_s, o.verdict);
    }
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_status_outcome o;
    ptl_error_set(&err, -ECONNREFUSED, "refused");
    struct ptl_message_tries t = {0};
    ptl_message_judge(-ECONNREFUSED, NULL, &err, &t, 0, 1, &o);
    assert_int_equal(o.verdict, PTL_STATUS_RETRY);
    assert_string_equal(o.text, "refused");
    assert_true(o.wait_ms > 0);
    /* waits double, up to an hour, of which half is thrown */
    int64_t before = 0;
    for (t.fails = 0; t.fails < 5000; t.fails = t.fails * 2 + 1) {
        int64_t least = ptl_message_backoff_ms(t.fails, 0), most = ptl_message_backoff_ms(t.fails, 3599999);
        assert_true(least >= 1000 && most <= PTL_MESSAGE_WAIT_MAX_MS && least >= before);
        before = least;
    }
    assert_int_equal(before, PTL_MESSAGE_WAIT_MAX_MS / 2);
    /* mail: for good, for now, for too long */
    t = (struct ptl_message_tries){.fails = 3, .tried_for_s = 60};
    ptl_message_judge_mail(0, &err, &t, 1, &o);
    assert_int_equal(o.verdict, PTL_STATUS_SENT);
    ptl_message_judge_mail(-EPERM, &err, &t, 1, &o);
    assert_int_equal(o.verdict, PTL_STATUS_GIVE_UP);
    ptl_message_judge_mail(-EIO, &err, &t, 1, &o);
    assert_int_equal(o.verdict, PTL_STATUS_RETRY);
    t.tried_for_s = PTL_MESSAGE_TRY_S;
    ptl_message_judge_mail(-EIO, &err, &t, 1, &o);
    assert_int_equal(o.verdict, PTL_STATUS_GIVE_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quiet_hours), cmocka_unit_test(digests),
                                       cmocka_unit_test(words),       cmocka_unit_test(forms),
                                       cmocka_unit_test(mail),        cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
