/* env.c - the environment of a child as a list. Pure. */
#include "env.h"

#include <ctype.h>

static bool name_is_good(const char *name)
{
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    return strlen(name) < 256;
}

static char **find(const struct ptl_env *e, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < e->n; i++)
        if (strncmp(e->v[i], name, len) == 0 && e->v[i][len] == '=')
            return &e->v[i];
    return NULL;
}

int ptl_env_set(struct ptl_env *e, const char *name, const char *value)
{
    if (!name_is_good(name))
        return -EINVAL;
    char *text = ptl_xasprintf("%s=%s", name, value);
    char **old = find(e, name);
    if (old) {
        explicit_bzero(*old, strlen(*old));
        free(*old);
        *old = text;
        return 0;
    }
    if (e->n + 2 > e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 64;
        char **v = ptl_xcalloc(cap, sizeof(*v));
        for (size_t i = 0; i < e->n; i++)
            v[i] = e->v[i];
        free(e->v);
        e->v = v;
        e->cap = cap;
    }
    e->v[e->n++] = text;
    e->v[e->n] = NULL;
    return 0;
}

const char *ptl_env_get(const struct ptl_env *e, const char *name)
{
    char **at = find(e, name);
    return at ? *at + strlen(name) + 1 : NULL;
}

void ptl_env_done(struct ptl_env *e)
{
    for (size_t i = 0; i < e->n; i++) {
        explicit_bzero(e->v[i], strlen(e->v[i]));
        free(e->v[i]);
    }
    free(e->v);
    *e = (struct ptl_env){0};
}
