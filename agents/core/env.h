/* env.h - a growing list of "K=V" for a child. Later values replace earlier ones. One thread. */
#ifndef PTL_AGENT_ENV_H
#define PTL_AGENT_ENV_H
#include <portolan/base.h>

struct ptl_env {
    char **v; /* NULL-ended once anything was set */
    size_t n, cap;
};
/* Names are [A-Za-z_][A-Za-z0-9_]*; others give -EINVAL and change nothing. */
int ptl_env_set(struct ptl_env *e, const char *name, const char *value);
const char *ptl_env_get(const struct ptl_env *e, const char *name); /* borrowed; NULL when unset */
void ptl_env_done(struct ptl_env *e); /* wipes: secrets may be among the values */
#endif
