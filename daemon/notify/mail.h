/* mail.h - one mail handed to an SMTP server by libcurl. Blocks: worker threads only. */
#ifndef PTL_MAIL_H
#define PTL_MAIL_H
#include <portolan/base.h>
#include <portolan/buf.h>

struct ptl_mail_server {
    const char *url;             /* smtp://host[:port] or smtps://host[:port] */
    const char *from;            /* address */
    const char *user, *password; /* NULL: none */
    const char *ca_file;         /* NULL: the system's */
};
/* A URL libcurl's SMTP takes, a host, an address as sender. */
PTL_NODISCARD int ptl_mail_check(const struct ptl_mail_server *s, struct ptl_error *err);
/* 0; negative: err says what the server said. -EPERM: it refuses for good (5xx). TLS is required but on
 * loopback. */
PTL_NODISCARD int ptl_mail_send(const struct ptl_mail_server *s, const char *to,
                                const struct ptl_buf *message, struct ptl_error *err);
#endif
