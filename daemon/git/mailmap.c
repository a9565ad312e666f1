/* mailmap.c - the names and addresses of a .mailmap applied to commit authors. Any thread. */
#include "git-private.h"
#include <git2.h>

struct ptl_git_mailmap {
    git_mailmap *map;
};

struct ptl_git_mailmap *ptl_git_mailmap_new(const char *text, size_t len)
{
    struct ptl_git_mailmap *m = len ? calloc(1, sizeof(*m)) : NULL;
    if (m && git_mailmap_from_buffer(&m->map, text, len) < 0) {
        free(m);
        return NULL;
    }
    return m;
}

void ptl_git_mailmap_free(struct ptl_git_mailmap *m)
{
    if (m)
        git_mailmap_free(m->map);
    free(m);
}

void ptl_git_mailmap_resolve(const struct ptl_git_mailmap *m, const char *name, const char *email,
                             char **ret_name, char **ret_email)
{
    const char *real_name = name, *real_email = email;
    if (m && name && email && git_mailmap_resolve(&real_name, &real_email, m->map, name, email) < 0) {
        real_name = name;
        real_email = email;
    }
    *ret_name = ptl_xstrdup(real_name ? real_name : "");
    *ret_email = ptl_xstrdup(real_email ? real_email : "");
}
