/* fuzz_git_text.c - what a repository or a webhook can hand to daemon/git as text: URLs, .gitmodules, LFS
 * pointers, ref names. The first byte chooses. Besides not crashing: an accepted URL has parts that cannot be
 * taken for options, and redaction never leaves userinfo. */
#include "git-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ignore(void *ctx, const char *section, const char *sub, const char *key, const char *value)
{
    (void)ctx;
    return strlen(section) + strlen(sub) + strlen(key) + strlen(value) > 100000 ? -1 : 0;
}

static void url(const char *text)
{
    struct git_url u = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *shown = ptl_git_url_redacted(text);
    const char *authority = shown ? strstr(shown, "://") : NULL;
    if (authority && memchr(authority, '@', 3 + strcspn(authority + 3, "/?#")))
        abort();
    if (git_url_parse(text, &u, &err) == 0) {
        if ((u.host && (*u.host == '-' || !*u.host)) || !u.path || *u.path == '-' ||
            (u.user && u.scheme == PTL_GIT_SSH && *u.user == '-'))
            abort();
        if (u.password && strlen(u.password) > 8 && strstr(u.shown, u.password) &&
            !strstr(u.path, u.password) && (!u.host || !strstr(u.host, u.password)))
            abort();
        static const struct ptl_git_policy none;
        (void)!git_url_allowed(&u, &none, &err);
        PTL_FREE char *joined = NULL;
        (void)!git_url_join(text, "../../x", &joined, &err);
    }
    git_url_done(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct ptl_error err = PTL_ERROR_INIT;
    if (!ready && ptl_git_init(0, &err) < 0)
        abort();
    ready = true;
    if (size == 0)
        return 0;
    PTL_FREE char *text = strndup((const char *)data + 1, size - 1);
    struct git_lfs_pointer ptr;
    switch (data[0] % 4) {
    case 0:
        url(text);
        break;
    case 1:
        (void)!git_ini_parse((const char *)data + 1, size - 1, ignore, NULL, &err);
        break;
    case 2:
        if (git_lfs_parse((const char *)data + 1, size - 1, &ptr) && !ptl_sha256_is_hex(ptr.oid))
            abort();
        break;
    default:
        (void)ptl_git_ref_is_valid(text);
        break;
    }
    return 0;
}
