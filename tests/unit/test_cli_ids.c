/* test_cli_ids.c - how people name runs, stages and refs; lines of a post-receive hook; paths of the API. */
#include "cli.h"
#include "hook_line.h"
#include <setjmp.h>
#include <cmocka.h>

#define SHA "0123456789abcdef0123456789abcdef01234567"
#define NIL "0000000000000000000000000000000000000000"

static void runs(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        int r;
        int64_t id, number;
        const char *project;
    } t[] = {
        {"12",                   0,       12, 0,  ""       },
        {"#3",                   0,       0,  3,  ""       },
        {"digits#3",             0,       0,  3,  "digits" },
        {"a.b-c_d#10",           0,       0,  10, "a.b-c_d"},
        {"0",                    -EINVAL, 0,  0,  ""       },
        {"",                     -EINVAL, 0,  0,  ""       },
        {"#",                    -EINVAL, 0,  0,  ""       },
        {"#0",                   -EINVAL, 0,  0,  ""       },
        {"digits#",              -EINVAL, 0,  0,  ""       },
        {"12x",                  -EINVAL, 0,  0,  ""       },
        {"-1",                   -EINVAL, 0,  0,  ""       },
        {"a/b#3",                -EINVAL, 0,  0,  ""       },
        {"#3#4",                 -EINVAL, 0,  0,  ""       },
        {"99999999999999999999", -EINVAL, 0,  0,  ""       },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct cli_run_ref ref = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        int r = cli_run_ref_parse(t[i].text, &ref, &err);
        if (r != t[i].r || ref.id != t[i].id || ref.number != t[i].number ||
            !ptl_str_eq(ref.project, t[i].project))
            fail_msg("'%s': %d, %lld, #%lld of '%s'", t[i].text, r, (long long)ref.id, (long long)ref.number,
                     ref.project);
        if (r < 0 && !strstr(err.text, "project#3"))
            fail_msg("'%s': %s", t[i].text, err.text);
    }
}

static void stages(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        int r;
        int64_t id;
        const char *run, *stage;
    } t[] = {
        {"44",                                   0,       44, "",         NULL                         },
        {"12/export",                            0,       0,  "12",       "export"                     },
        {"12/verify/android",                    0,       0,  "12",       "verify/android"             },
        {"digits#3/verify/android[backend=cpu]", 0,       0,  "digits#3", "verify/android[backend=cpu]"},
        {"#3/export",                            0,       0,  "#3",       "export"                     },
        {"/export",                              -EINVAL, 0,  "",         NULL                         },
        {"12/",                                  -EINVAL, 0,  "",         NULL                         },
        {"export",                               -EINVAL, 0,  "",         NULL                         },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        int64_t id = 0;
        char run[128] = "";
        const char *stage = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        int r = cli_stage_ref_parse(t[i].text, &id, run, &stage, &err);
        if (r != t[i].r || id != t[i].id || !ptl_str_eq(run, t[i].run) || !ptl_str_eq(stage, t[i].stage))
            fail_msg("'%s': %d, %lld, '%s', '%s'", t[i].text, r, (long long)id, run, stage ? stage : "-");
    }
}

static void refs(void **state PTL_UNUSED)
{
    PTL_FREE char *branch = cli_ref_name("release/1");
    PTL_FREE char *full = cli_ref_name("refs/tags/v1");
    assert_string_equal(branch, "refs/heads/release/1");
    assert_string_equal(full, "refs/tags/v1");
    assert_string_equal(cli_ref_short(branch), "release/1");
    assert_string_equal(cli_ref_short(full), "v1");
    assert_string_equal(cli_ref_short("refs/notes/x"), "refs/notes/x");
}

static void hook_lines(void **state PTL_UNUSED)
{
    static const struct {
        const char *line;
        int r;
        const char *ref;
    } t[] = {
        {NIL " " SHA " refs/heads/main\n",                                                  0,       "refs/heads/main"},
        {SHA " " NIL " refs/heads/gone",                                                    0,       "refs/heads/gone"},
        {SHA SHA " " SHA " refs/heads/main\n",                                              -EINVAL, NULL             },
        {SHA "0123456789abcdef01234567 " SHA "0123456789abcdef01234567 refs/tags/sha256\n", 0,
         "refs/tags/sha256"                                                                                           },
        {SHA " " SHA "\n",                                                                  -EINVAL, NULL             },
        {SHA " " SHA " \n",                                                                 -EINVAL, NULL             },
        {SHA " " SHA " HEAD\n",                                                             -EINVAL, NULL             },
        {SHA "  " SHA " refs/heads/main\n",                                                 -EINVAL, NULL             },
        {"0123 4567 refs/heads/main\n",                                                     -EINVAL, NULL             },
        {SHA " " SHA " refs/heads/a b\n",                                                   -EINVAL, NULL             },
        {"",                                                                                -EINVAL, NULL             },
        {"\n",                                                                              -EINVAL, NULL             },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct cli_hook_update u = {0};
        if (cli_hook_line(t[i].line, &u) != t[i].r || (t[i].ref && !ptl_str_eq(u.ref, t[i].ref)))
            fail_msg("%zu: %s", i, t[i].line);
        if (t[i].r < 0)
            assert_int_equal(u.ref[0], 0);
    }
    struct cli_hook_update u;
    assert_int_equal(cli_hook_line(NIL " " SHA " refs/heads/main\n", &u), 0);
    assert_string_equal(u.before, NIL);
    assert_string_equal(u.after, SHA);
    char longer[3000];
    snprintf(longer, sizeof(longer), NIL " " SHA " refs/heads/%02000d\n", 1);
    assert_int_equal(cli_hook_line(longer, &u), -EINVAL);
}

static void api_paths(void **state PTL_UNUSED)
{
    PTL_FREE char *p = cli_path("/api/v1/projects/{}/secrets/{}", "a/b", "K E?Y", NULL);
    assert_string_equal(p, "/api/v1/projects/a%2Fb/secrets/K%20E%3FY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs), cmocka_unit_test(stages),
                                       cmocka_unit_test(refs), cmocka_unit_test(hook_lines),
                                       cmocka_unit_test(api_paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
