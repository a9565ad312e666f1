/* fuzz_kb_rex.c - a pattern of an untrusted curator (the first line) on any text (the rest): refused with a
 * sentence, or it matches in bounds, its groups inside the whole, the same each time; compiling and matching
 * end in bounded time (the fuzzer's own limit judges). */
#include "rex.h"
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_spans(const struct ptl_rex *r, const struct ptl_rex_span *s, int len)
{
    if (s[0].start < 0 || s[0].end < s[0].start || s[0].end > len)
        abort();
    for (int i = 1; i <= ptl_rex_groups(r); i++) {
        const char *name = ptl_rex_group_name(r, i);
        if (!name || !*name)
            abort();
        if ((s[i].start < 0) != (s[i].end < 0) && s[i].start < 0)
            abort(); /* one that ended without having begun */
        if (s[i].start >= 0 && s[i].end >= 0 &&
            (s[i].end < s[i].start || s[i].start < s[0].start || s[i].end > s[0].end))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t n = newline ? (size_t)(newline - data) : size;
    char *pattern = strndup((const char *)data, n);
    if (!pattern)
        return 0;
    const char *text = newline ? (const char *)newline + 1 : "";
    size_t len = newline ? size - n - 1 : 0;
    for (int caseless = 0; caseless < 2; caseless++) {
        struct ptl_rex *r = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_rex_span a[PTL_REX_GROUPS_MAX + 1], b[PTL_REX_GROUPS_MAX + 1];
        int made = ptl_rex_new(pattern, caseless, &r, &err);
        if (made < 0) {
            if (r || !err.text[0])
                abort();
            continue;
        }
        if (ptl_rex_literal(r) < 0 || ptl_rex_groups(r) > PTL_REX_GROUPS_MAX)
            abort();
        (void)ptl_rex_ends_open(r);
        int m = ptl_rex_match(r, text, len, a), again = ptl_rex_match(r, text, len, b);
        if (m != again || (m == 1 && memcmp(a, b, ((size_t)ptl_rex_groups(r) + 1) * sizeof(*a)) != 0))
            abort();
        if (m == 1)
            check_spans(r, a, (int)len);
        ptl_rex_free(r);
    }
    free(pattern);
    return 0;
}
