/* test_core_access.c - a project's credential is handed out for the project's own host and for no other,
 * however the other is spelt; and for one way to it, a key or a token. */
#include "core-private.h"
#include <setjmp.h>
#include <cmocka.h>

static void only_its_own_host(void **state PTL_UNUSED)
{
    static const struct {
        const char *project, *asked;
        bool same;
    } t[] = {
        {"https://forge.example/a/b.git", "https://forge.example/a/b.git",        true },
        {"https://forge.example/a/b.git", "https://FORGE.example/other",          true },
        {"https://user@forge.example/a",  "https://forge.example/a.git/info/lfs", true },
        {"https://forge.example:8443/a",  "https://forge.example:8443/b",         true },
        {"https://forge.example/a",       "https://forge.example:8443/b",         false},
        {"https://forge.example/a",       "https://forge.example.evil.org/b",     false},
        {"https://forge.example/a",       "https://forge.example@evil.org/b",     false},
        {"https://forge.example/a",       "https://evil.org/forge.example",       false},
        {"https://forge.example/a",       "https://evil.org?forge.example/",      false},
        {"git@forge.example:a/b.git",     "git@forge.example:c.git",              true },
        {"git@forge.example:a/b.git",     "git@evil.org:forge.example",           false},
        {"git@forge.example:a/b.git",     "ssh://git@forge.example/c.git",        true },
        {"git@forge.example:a/b.git",     "https://forge.example/c/d.git",        false},
        {"ssh://git@forge.example/a.git", "https://forge.example/a/info/lfs",     false},
        {"https://forge.example/a/b.git", "git@forge.example:c.git",              false},
        {"https://forge.example/a/b.git", "git+ssh://git@forge.example/c.git",    false},
        {"/srv/git/a.git",                "/srv/git/b.git",                       false},
        {"/srv/git/a.git",                "https://forge.example/b.git",          false},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_core_access a = {
            .url = (char *)(uintptr_t)t[i].project, .cred = {.kind = PTL_GIT_CRED_TOKEN, .secret = "s"}
        };
        struct ptl_git_credentials got = {0};
        assert_int_equal(ptl_core_access_fn(&a, t[i].asked, &got), 0);
        if ((got.kind == PTL_GIT_CRED_TOKEN) != t[i].same)
            fail_msg("project %s, asked for %s: %s", t[i].project, t[i].asked,
                     t[i].same ? "not given" : "given away");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_its_own_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
