/* What the store decides without a database: directives, positions, SQLSTATEs, delays, parameters. */
#include "pgerror.h"
#include "sql_set.h"
#include "store.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static void directives(void **state PTL_UNUSED)
{
    static const struct {
        const char *label, *text;
        int r;
        bool read, bulk, repeatable;
        const char *says;
    } v[] = {
        {"read",                  "-- x: reads.\n-- @read\nSELECT 1",                              0,       true,  false, false, NULL                        },
        {"write",                 "-- x: w\n-- @write\nSELECT 1",                                  0,       false, false, false, NULL                        },
        {"bulk",                  "-- x: w\n--   @write bulk\nSELECT 1",                           0,       false, true,  false, NULL                        },
        {"repeatable",            "-- x: w\n-- more words\n-- @write\n-- @repeatable\r\nSELECT 1", 0,       false, false, true,
         NULL                                                                                                                                                },
        {"no newline at the end", "-- x: w\n-- @read",                                             0,       true,  false, false, NULL                        },
        {"neither",               "-- x: w\nSELECT 1",                                             -EINVAL, 0,     0,     0,     "must say either"           },
        {"both",                  "-- x: w\n-- @read\n-- @write\nSELECT 1",                        -EINVAL, 0,     0,     0,     "must say either"           },
        {"other name",            "-- y: w\n-- @read\nSELECT 1",                                   -EINVAL, 0,     0,     0,     "f.sql:1: the first line"   },
        {"no header",             "SELECT 1",                                                      -EINVAL, 0,     0,     0,     "the first line"            },
        {"empty",                 "",                                                              -EINVAL, 0,     0,     0,     "the first line"            },
        {"unknown",               "-- x: w\n-- @raed\nSELECT 1",                                   -EINVAL, 0,     0,     0,     "f.sql:2: directive '@raed'"},
        {"nearest",               "-- x: w\n-- @repeatabel\nSELECT 1",                             -EINVAL, 0,     0,     0,     "nearest: @repeatable"      },
        {"unknown lane",          "-- x: w\n-- @write slow\nSELECT 1",                             -EINVAL, 0,     0,     0,     "'@write slow'"             },
        {"read repeatable",       "-- x: w\n-- @read\n-- @repeatable\nSELECT 1",                   -EINVAL, 0,     0,     0,     "is for writes"             },
        {"only in the head",      "-- x: w\n-- @read\nSELECT 1\n-- @write",                        0,       true,  false, false, NULL                        },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        struct ptl_sql_text t = {"x", "f.sql", v[i].text, strlen(v[i].text)};
        struct ptl_sql_info info = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        int r = ptl_sql_info_parse(&t, &info, &err);
        if (r != v[i].r || info.read != v[i].read || info.bulk != v[i].bulk ||
            info.repeatable != v[i].repeatable || (v[i].says && !strstr(err.text, v[i].says)))
            fail_msg("%s: r=%d read=%d bulk=%d repeatable=%d: %s", v[i].label, r, info.read, info.bulk,
                     info.repeatable, err.text);
    }
}

static void positions(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        long position;
        const char *where;
    } v[] = {
        {"SELECT x",                 8,  "f:1:8"},
        {"a\nb",                     1,  "f:1:1"},
        {"a\nb",                     3,  "f:2:1"},
        {"\xc3\xa4\n\xe2\x82\xac x", 5,  "f:2:3"},
        {"a",                        99, "f:1:2"},
        {"",                         1,  "f:1:1"},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        char where[64];
        ptl_sql_where("f", v[i].text, v[i].position, where, sizeof(where));
        assert_string_equal(where, v[i].where);
    }
}

static void classes(void **state PTL_UNUSED)
{
    static const struct {
        const char *sqlstate;
        int code;
        enum ptl_pg_fate fate;
    } v[] = {
        {"23505", -EEXIST,    PTL_FATE_ANSWER},
        {"PT409", -EEXIST,    PTL_FATE_ANSWER},
        {"40001", -EEXIST,    PTL_FATE_RETRY },
        {"40P01", -EEXIST,    PTL_FATE_RETRY },
        {"23503", -ENOENT,    PTL_FATE_ANSWER},
        {"22P02", -EINVAL,    PTL_FATE_ANSWER},
        {"57014", -ETIMEDOUT, PTL_FATE_FINAL },
        {"57P01", -EIO,       PTL_FATE_LOST  },
        {"08P01", -EIO,       PTL_FATE_ANSWER},
        {"08006", -EIO,       PTL_FATE_LOST  },
        {"28P01", -EPERM,     PTL_FATE_PERSON},
        {"53100", -ENOSPC,    PTL_FATE_ANSWER},
        {"25006", -EPERM,     PTL_FATE_LOST  },
        {"26000", -EIO,       PTL_FATE_STALE },
        {"XX000", -EIO,       PTL_FATE_ANSWER},
        {"PT422", -EINVAL,    PTL_FATE_ANSWER},
        {"",      -EIO,       PTL_FATE_ANSWER},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(v); i++) {
        int code = 0;
        enum ptl_pg_fate fate = ptl_pg_classify(v[i].sqlstate, &code);
        if (code != v[i].code || fate != v[i].fate)
            fail_msg("'%s': code %d fate %d", v[i].sqlstate, code, (int)fate);
    }
}

static void delays(void **state PTL_UNUSED)
{
    const struct ptl_retry_policy p = {"test", 100, 1000, 5000, 200, 50};
    assert_int_equal(ptl_retry_delay_ms(&p, 0, 0, 0), 100);
    assert_int_equal(ptl_retry_delay_ms(&p, 0, 0, 50), 50); /* all of the jitter */
    assert_int_equal(ptl_retry_delay_ms(&p, 1, 0, 0), 201);
    assert_int_equal(ptl_retry_delay_ms(&p, 60, 0, 0), 1000);
    assert_int_equal(ptl_retry_delay_ms(&p, 4000000000u, 0, 0), 1000);
    assert_int_equal(ptl_retry_delay_ms(&p, 0, 4901, 0), -1);
    for (uint32_t r = 0; r < 1000; r++) {
        int64_t d = ptl_retry_delay_ms(&ptl_retry_main_loop, 100, INT64_MAX / 2, r * 2654435761u);
        assert_true(d >= 5000 && d <= 10000); /* never gives up */
    }
}

static const char *text_of(const struct ptl_args *a, int i)
{
    return a->v[i].null ? "NULL" : a->buf.data + a->v[i].offset;
}

static void parameters(void **state PTL_UNUSED)
{
    struct ptl_args a;
    ptl_args_init(&a);
    PTL_JSON *j = json_pack("{s:s}", "k", "v\"");
    const char *const texts[] = {"a b", "q\"\\", NULL, "", "NULL", "{,}"};
    ptl_args_i64(&a, INT64_MIN);
    ptl_args_f64(&a, 0.1);
    ptl_args_f64(&a, -INFINITY);
    ptl_args_f64(&a, NAN);
    ptl_args_bool(&a, true);
    ptl_args_str(&a, NULL);
    ptl_args_json(&a, j);
    ptl_args_json(&a, json_null());
    ptl_args_bytes(&a, "\0\1", 2);
    ptl_args_bytes(&a, NULL, 0);
    ptl_args_i64_array(&a, (const int64_t[]){1, -2}, 2);
    ptl_args_i64_array(&a, NULL, 0);
    ptl_args_text_array(&a, texts, PTL_ARRAY_LEN(texts));
    ptl_args_strn(&a, "abc", 2);
    static const char *const wanted[] = {"-9223372036854775808",
                                         "0.10000000000000001",
                                         "-Infinity",
                                         "NaN",
                                         "t",
                                         "NULL",
                                         "{\"k\":\"v\\\"\"}",
                                         "NULL",
                                         "",
                                         "NULL",
                                         "{1,-2}",
                                         "{}",
                                         "{\"a b\",\"q\\\"\\\\\",NULL,\"\",\"NULL\",\"{,}\"}",
                                         "ab"};
    assert_int_equal(a.n, PTL_ARRAY_LEN(wanted));
    assert_int_equal(a.failed, 0);
    for (int i = 0; i < a.n; i++)
        assert_string_equal(text_of(&a, i), wanted[i]);
    assert_true(a.v[8].binary && a.v[8].len == 2 && !a.v[8].null);
    ptl_args_done(&a);
}

static void bad_parameters(void **state PTL_UNUSED)
{
    struct ptl_args a;
    ptl_args_init(&a);
    for (int i = 0; i <= PTL_ARGS_MAX; i++)
        ptl_args_i64(&a, i);
    assert_int_equal(a.n, PTL_ARGS_MAX);
    assert_int_equal(a.failed, -E2BIG);
    ptl_args_done(&a);
    ptl_args_init(&a);
    ptl_args_strn(&a, "a\0b", 3);
    assert_int_equal(a.failed, -EILSEQ);
    ptl_args_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directives), cmocka_unit_test(positions),  cmocka_unit_test(classes),
        cmocka_unit_test(delays),     cmocka_unit_test(parameters), cmocka_unit_test(bad_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
