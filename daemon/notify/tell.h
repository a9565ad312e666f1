/* tell.h - tells people and programs what happened, from the outbox in the database to mail, chat and
 * webhooks.
 *
 * Every daemon tells; a row is claimed by one of them for a minute and a half, which is longer than a call or
 * a mail may take. What was told and not acknowledged to the database is told again after that, under the
 * same id. */
#ifndef PTL_TELL_H
#define PTL_TELL_H
#include "core.h"

struct ptl_tell_options {
    const char *smtp_url, *smtp_from, *smtp_credentials_file /* one line, USER:PASSWORD, 0600 */,
        *smtp_ca_file; /* may be NULL: then no mail goes out */
};
struct ptl_tell;
/* Starts listening and telling. -EINVAL, -EPERM: a setting is wrong, err says which. Loop thread only. */
PTL_NODISCARD int ptl_tell_new(struct ptl_core *core, const struct ptl_tell_options *o, struct ptl_tell **ret,
                               struct ptl_error *err);
/* Stops; what is under way is told again later by any daemon. Before the HTTP pool, the workers and the store
 * end. NULL ok; returns NULL. */
struct ptl_tell *ptl_tell_free(struct ptl_tell *t);
#endif
