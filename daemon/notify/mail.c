/* mail.c - SMTP by libcurl, TLS wherever the mail leaves this machine. */
#include "mail.h"
#include "message.h"
#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

enum { TIMEOUT_MS = 20000, CONNECT_MS = 8000 };

static const char *host_of(const char *url, size_t *len)
{
    const char *p = strstr(url, "://");
    p = p ? p + 3 : url;
    *len = *p == '[' ? strcspn(p, "]") + 1 : strcspn(p, ":/");
    return p;
}

static bool is_loopback(const char *url)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t n;
    const char *host = host_of(url, &n);
    for (size_t i = 0; i < PTL_ARRAY_LEN(names); i++)
        if (strlen(names[i]) == n && strncasecmp(names[i], host, n) == 0)
            return true;
    return false;
}

int ptl_mail_check(const struct ptl_mail_server *s, struct ptl_error *err)
{
    size_t n;
    if (!ptl_str_starts(s->url, "smtp://") && !ptl_str_starts(s->url, "smtps://"))
        return ptl_error_set(err, -EINVAL,
                             "smtp-url = %.200s: expected smtp://HOST[:PORT] or smtps://HOST[:PORT]", s->url);
    (void)host_of(s->url, &n);
    if (n == 0 || strchr(s->url, '@'))
        return ptl_error_set(
            err, -EINVAL,
            "smtp-url = %.200s: expected a host and no user; user and password go into smtp-credentials-file",
            strchr(s->url, '@') ? "(with a user)" : s->url);
    if (!s->from || !ptl_mail_address_ok(s->from))
        return ptl_error_set(err, -EINVAL, "smtp-from = %.200s: expected the address that mails come from",
                             s->from ? s->from : "(not set)");
    return 0;
}

struct reading {
    const struct ptl_buf *text;
    size_t at;
};

static size_t on_read(char *data, size_t size, size_t n, void *arg)
{
    struct reading *r = arg;
    size_t want = size * n, left = r->text->len - r->at;
    if (want > left)
        want = left;
    memcpy(data, r->text->data + r->at, want);
    r->at += want;
    return want;
}

/* What went wrong, on whose side, and what to do about it. Only a refusal of this mailbox or this message is
 * for good: what is about us (a certificate, a login) is mended while the mail waits. */
static int explain(const struct ptl_mail_server *s, const char *to, CURLcode code, long answer,
                   const char *said, struct ptl_error *err)
{
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
        return ptl_error_set(
            err, -EIO,
            "%s: its certificate is not trusted: %s; smtp-ca-file names the authority, and the host must be one that the certificate is for",
            s->url, said);
    case CURLE_SSL_CACERT_BADFILE:
        return ptl_error_set(err, -EIO, "smtp-ca-file %s: %s", s->ca_file ? s->ca_file : "(the system's)",
                             said);
    case CURLE_USE_SSL_FAILED:
        return ptl_error_set(
            err, -EIO,
            "%s offers no TLS (STARTTLS), and mail leaves this machine only through TLS; smtps:// is the other way: %s",
            s->url, said);
    case CURLE_SSL_CONNECT_ERROR:
        return ptl_error_set(
            err, -EIO,
            "%s: no TLS could be agreed on: %s; smtps:// is for a port that begins with TLS, smtp:// for one that has STARTTLS",
            s->url, said);
    case CURLE_LOGIN_DENIED:
        return ptl_error_set(err, -EIO, "%s refuses the login%s%s%s: %s (the server's answer: %ld); %s",
                             s->url, s->user ? " of " : "", s->user ? s->user : "",
                             s->user ? "" : " of nobody", said, answer,
                             "smtp-credentials-file holds USER:PASSWORD");
    default:
        break;
    }
    if (answer == 530 || answer == 534 || answer == 535 || answer == 538)
        return ptl_error_set(err, -EIO, "%s wants a login (the server's answer: %ld): %s; %s", s->url, answer,
                             said, "smtp-credentials-file holds USER:PASSWORD");
    if (answer >= 550 && answer <= 559)
        return ptl_error_set(err, -EPERM, "%s refuses mail to %s: %s (the server's answer: %ld)", s->url, to,
                             said, answer);
    if (answer)
        return ptl_error_set(err, -EIO, "%s to %s: %s (the server's answer: %ld)", s->url, to, said, answer);
    return ptl_error_set(err, -EIO, "%s: %s", s->url, said);
}

int ptl_mail_send(const struct ptl_mail_server *s, const char *to, const struct ptl_buf *message,
                  struct ptl_error *err)
{
    CURL *e = curl_easy_init();
    if (!e)
        return ptl_error_set(err, -ENOMEM, "mail: out of memory");
    PTL_FREE char *rcpt = ptl_xasprintf("<%s>", to);
    PTL_FREE char *from = ptl_xasprintf("<%s>", s->from);
    struct curl_slist *list = curl_slist_append(NULL, rcpt);
    struct reading r = {.text = message};
    char said[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(e, CURLOPT_URL, s->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, said);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_USE_SSL, (long)(is_loopback(s->url) ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (s->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, s->ca_file);
    if (s->user) {
        curl_easy_setopt(e, CURLOPT_USERNAME, s->user);
        curl_easy_setopt(e, CURLOPT_PASSWORD, s->password ? s->password : "");
    }
    curl_easy_setopt(e, CURLOPT_MAIL_FROM, from);
    curl_easy_setopt(e, CURLOPT_MAIL_RCPT, list);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(e, CURLOPT_READDATA, &r);
    curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
    CURLcode code = curl_easy_perform(e);
    long answer = 0;
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &answer);
    curl_slist_free_all(list);
    curl_easy_cleanup(e);
    if (code == CURLE_OK)
        return 0;
    return explain(s, to, code, answer, *said ? said : curl_easy_strerror(code), err);
}
