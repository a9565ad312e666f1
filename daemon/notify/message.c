/* message.c - words and forms of what people are told; see message.h. */
#include "message.h"
#include <portolan/clock.h>
#include <portolan/hash.h>
#include <stdio.h>
#include <time.h>

const char *const ptl_message_events[] = {"assigned", "reassigned", "due_soon", "overdue", "comment",
                                          "failed",   "resolved",   "gate",     "test",    NULL};

enum { DAY = 86400, TEXT_MAX = 256 << 10, QUOTE_MAX = 400 };

/* ---- when ---- */

int64_t ptl_quiet_wait_s(int from, int to, int64_t now)
{
    int64_t s = ((now % DAY) + DAY) % DAY, a = (int64_t)from * 60, b = (int64_t)to * 60;
    if (a == b)
        return 0;
    bool quiet = a < b ? s >= a && s < b : s >= a || s < b;
    return !quiet ? 0 : s < b ? b - s : DAY - s + b;
}

int64_t ptl_digest_wait_s(const char *digest, int hour, int64_t created, int64_t now)
{
    int64_t due = created;
    if (ptl_str_eq(digest, "hourly")) {
        due = created - ((created % 3600) + 3600) % 3600 + 3600;
    } else if (ptl_str_eq(digest, "daily")) {
        due = created - ((created % DAY) + DAY) % DAY + (int64_t)hour * 3600;
        if (due <= created)
            due += DAY;
    }
    return now >= due ? 0 : due - now;
}

/* ---- what ---- */

static const char *str(const struct ptl_message *m, const char *key)
{
    return ptl_json_str(m->data, key, "");
}

/* "digits#12 verify/android" */
static void where(const struct ptl_message *m, struct ptl_buf *b)
{
    ptl_buf_printf(b, "%s", str(m, "project"));
    if (ptl_json_i64(m->data, "run_number", 0))
        ptl_buf_printf(b, "#%lld", (long long)ptl_json_i64(m->data, "run_number", 0));
    ptl_buf_printf(b, " %s", str(m, "stage"));
}

/* One line without anything that could end a header or steer a terminal. */
static char *one_line(const char *s)
{
    char *clean = ptl_json_text_utf8(s, strlen(s));
    for (unsigned char *p = (unsigned char *)clean; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = ' ';
    return clean;
}

char *ptl_message_title(const struct ptl_message *m)
{
    PTL_BUF b = PTL_BUF_MAX(4096);
    const char *e = m->event, *person = str(m, "person"), *challenge = str(m, "challenge"),
               *action = str(m, "action");
    if (ptl_str_eq(e, "test"))
        return ptl_xstrdup("a test: this channel works");
    where(m, &b);
    if (ptl_str_eq(e, "assigned"))
        ptl_buf_printf(&b, ": given to %s", *person ? person : "you");
    else if (ptl_str_eq(e, "reassigned") && ptl_str_eq(action, "handed_back"))
        ptl_buf_printf(&b, ": handed back by %s", str(m, "actor"));
    else if (ptl_str_eq(e, "reassigned"))
        ptl_buf_printf(&b, ": now with %s", *person ? person : "nobody");
    else if (ptl_str_eq(e, "due_soon"))
        ptl_buf_puts(&b, ": due soon");
    else if (ptl_str_eq(e, "overdue"))
        ptl_buf_puts(&b, ": overdue");
    else if (ptl_str_eq(e, "comment"))
        ptl_buf_printf(&b, ": comment by %s", str(m, "actor"));
    else if (ptl_str_eq(e, "failed"))
        ptl_buf_printf(&b, " failed%s%s", *challenge ? ": " : "", challenge);
    else if (ptl_str_eq(e, "resolved"))
        ptl_buf_puts(&b, ptl_str_eq(action, "done") ? ": done" : ": green again, closed");
    else if (ptl_str_eq(e, "gate"))
        ptl_buf_puts(&b, " waits for an approval");
    return one_line(ptl_buf_str(&b));
}

static void paragraph(struct ptl_buf *b, const char *head, const char *text)
{
    if (!*text)
        return;
    PTL_FREE char *clean = ptl_json_text_utf8(text, strlen(text));
    ptl_buf_printf(b, "%s%s", head, *head ? " " : "");
    for (const char *p = clean; *p; p++)
        ptl_buf_putc(b, (unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t' ? *p : ' ');
    ptl_buf_putc(b, '\n');
}

static void one(const struct ptl_message *m, const struct ptl_message_for *f, struct ptl_buf *b)
{
    const char *e = m->event, *due = str(m, "due_at");
    PTL_FREE char *title = ptl_message_title(m);
    int64_t run = ptl_json_i64(m->data, "run_id", 0);
    ptl_buf_printf(b, "%s\n", title);
    if (ptl_str_eq(e, "assigned") || ptl_str_eq(e, "reassigned"))
        paragraph(b, "By:", str(m, "actor"));
    paragraph(b, ptl_str_eq(e, "comment") ? "" : "Said:", str(m, "text"));
    if (*due)
        ptl_buf_printf(b, "Due: %.10s %.5s UTC\n", due, strlen(due) > 15 ? due + 11 : "");
    if (ptl_str_eq(e, "gate")) {
        paragraph(b, "Why:", str(m, "gate_why"));
    } else if (!ptl_str_eq(e, "resolved") && !ptl_str_eq(e, "test")) {
        const char *why = str(m, "diagnosis"), *quote = str(m, "quote");
        paragraph(b, "Why it failed:",
                  *why                                 ? why
                  : ptl_str_eq(str(m, "state"), "red") ? str(m, "message")
                                                       : "");
        if (*quote) {
            PTL_FREE char *line = one_line(quote);
            char cut[QUOTE_MAX + 8];
            snprintf(cut, sizeof(cut), "%.*s%s", QUOTE_MAX, line, strlen(line) > QUOTE_MAX ? "…" : "");
            PTL_FREE char *clean = ptl_json_text_utf8(cut, strlen(cut));
            ptl_buf_printf(b, "> %s\n", clean);
            if (ptl_json_i64(m->data, "quote_line", 0))
                ptl_buf_printf(b, "  (line %lld of the log)\n",
                               (long long)ptl_json_i64(m->data, "quote_line", 0));
        }
        double risk = ptl_json_num(m->data, "risk", -1);
        if (risk >= 0 && !ptl_str_eq(str(m, "state"), "red"))
            ptl_buf_printf(b, "Risk: %.0f %%\n", risk * 100);
    }
    if (f->public_url && run > 0)
        ptl_buf_printf(b, "Look: %s/runs/%lld\n", f->public_url, (long long)run);
    else if (run > 0)
        ptl_buf_printf(b, "Look: portolan why %lld\n", (long long)run);
    if (ptl_str_eq(e, "gate") && ptl_json_i64(m->data, "stage_id", 0))
        ptl_buf_printf(b, "Let it go on: portolan stage approve %lld\n",
                       (long long)ptl_json_i64(m->data, "stage_id", 0));
}

void ptl_message_text(const struct ptl_message *list, size_t n, const struct ptl_message_for *f,
                      struct ptl_buf *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (i)
            ptl_buf_puts(ret, "\n");
        one(&list[i], f, ret);
    }
    ptl_buf_printf(
        ret,
        "\n--\nYou get this through the channel '%s' of Portolan. To get less of it: portolan notify channel set %s --help; to stop it: portolan notify channel remove %s\n",
        f->channel, f->channel, f->channel);
}

char *ptl_message_subject(const struct ptl_message *list, size_t n)
{
    if (n == 1)
        return ptl_message_title(&list[0]);
    PTL_BUF b = PTL_BUF_MAX(4096);
    ptl_buf_printf(&b, "%zu things:", n);
    bool first = true;
    for (const char *const *e = ptl_message_events; *e; e++) {
        size_t k = 0;
        for (size_t i = 0; i < n; i++)
            k += ptl_str_eq(list[i].event, *e);
        if (k) {
            PTL_FREE char *word = ptl_xstrdup(*e);
            for (char *p = word; *p; p++)
                *p = *p == '_' ? ' ' : *p;
            ptl_buf_printf(&b, "%s %zu %s", first ? "" : ",", k, word);
            first = false;
        }
    }
    return one_line(ptl_buf_str(&b));
}

static char *replaced(const char *s, const char *text)
{
    PTL_BUF b = PTL_BUF_MAX(TEXT_MAX);
    for (const char *at; (at = strstr(s, "{text}")) != NULL; s = at + 6) {
        ptl_buf_add(&b, s, (size_t)(at - s));
        ptl_buf_puts(&b, text);
    }
    ptl_buf_puts(&b, s);
    return ptl_buf_take(&b, NULL);
}

static json_t *filled(const json_t *v, const char *text, int depth)
{
    size_t i;
    json_t *e;
    const char *key;
    if (depth > 16)
        return json_null();
    if (json_is_string(v)) {
        PTL_FREE char *s = replaced(json_string_value(v), text);
        return s ? json_string(s) : json_null();
    }
    if (json_is_array(v)) {
        json_t *list = json_array();
        json_array_foreach((json_t *)v, i, e) json_array_append_new(list, filled(e, text, depth + 1));
        return list;
    }
    if (json_is_object(v)) {
        json_t *o = json_object();
        json_object_foreach((json_t *)v, key, e) json_object_set_new(o, key, filled(e, text, depth + 1));
        return o;
    }
    return json_incref((json_t *)v);
}

char *ptl_message_chat(const struct ptl_message *list, size_t n, const struct ptl_message_for *f,
                       const char *template)
{
    PTL_BUF text = PTL_BUF_MAX(TEXT_MAX);
    for (size_t i = 0; i < n; i++) {
        if (i)
            ptl_buf_puts(&text, "\n");
        one(&list[i], f, &text);
    }
    if (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = 0;
    PTL_JSON *form = json_loads(template ? template : "{\"text\":\"{text}\"}", 0, NULL);
    if (!form)
        return NULL;
    PTL_JSON *body = filled(form, ptl_buf_str(&text), 0);
    return ptl_json_text(body);
}

char *ptl_message_webhook(const struct ptl_message *m, const struct ptl_message_for *f, const char *at)
{
    PTL_FREE char *type = ptl_xasprintf("portolan.%s", m->event);
    PTL_FREE char *title = ptl_message_title(m);
    PTL_JSON *data = json_deep_copy(m->data);
    int64_t run = ptl_json_i64(data, "run_id", 0);
    json_object_set_new(data, "title", json_string(title));
    if (f->public_url && run > 0)
        json_object_set_new(data, "url", json_sprintf("%s/runs/%lld", f->public_url, (long long)run));
    PTL_JSON *body = json_pack("{s:s,s:s,s:O}", "type", type, "timestamp", at, "data", data);
    return ptl_json_text(body);
}

char *ptl_message_signature(const char *secret, const char *id, int64_t seconds, const char *body)
{
    unsigned char *key = NULL, mac[64];
    size_t len = 0;
    if (!ptl_str_starts(secret, "whsec_") || ptl_base64_decode(secret + 6, &key, &len) < 0)
        return NULL;
    PTL_FREE char *signed_text = ptl_xasprintf("%s.%lld.%s", id, (long long)seconds, body);
    int n = ptl_hmac_raw("sha256", key, len, signed_text, strlen(signed_text), mac);
    explicit_bzero(key, len);
    free(key);
    if (n < 0)
        return NULL;
    PTL_FREE char *text = ptl_base64(mac, (size_t)n);
    return ptl_xasprintf("v1,%s", text);
}

/* ---- mail ---- */

bool ptl_mail_address_ok(const char *a)
{
    const char *at = strchr(a, '@');
    if (!at || at == a || !at[1] || strchr(at + 1, '@') || strlen(a) > 254)
        return false;
    for (const unsigned char *p = (const unsigned char *)a; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f || strchr("<>()[],;:\\\"", *p))
            return false;
    return at[1] != '.' && at[1] != '-';
}

/* RFC 2047, in pieces of whole characters; plain where ASCII will do. */
static void header_text(const char *name, const char *value, struct ptl_buf *b)
{
    bool ascii = true;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        ascii &= *p < 0x80;
    ptl_buf_printf(b, "%s: ", name);
    if (ascii && strlen(value) < 900) {
        ptl_buf_printf(b, "%s\r\n", value);
        return;
    }
    for (const char *p = value; *p;) {
        size_t n = 0, limit = strlen(p) > 42 ? 42 : strlen(p);
        while (n < limit) {
            size_t next = n + 1;
            while (((unsigned char)p[next] & 0xc0) == 0x80)
                next++;
            if (next > limit)
                break;
            n = next;
        }
        PTL_FREE char *part = ptl_base64(p, n ? n : limit);
        ptl_buf_printf(b, "%s=?UTF-8?B?%s?=", p == value ? "" : "\r\n ", part);
        p += n ? n : limit;
    }
    ptl_buf_puts(b, "\r\n");
}

static void quoted_printable(const char *text, struct ptl_buf *b)
{
    size_t column = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '\n') {
            ptl_buf_puts(b, "\r\n");
            column = 0;
            continue;
        }
        bool blank_at_end = (*p == ' ' || *p == '\t') && (p[1] == '\n' || p[1] == 0);
        bool plain = (*p >= 0x20 && *p < 0x7f && *p != '=' && !blank_at_end) || (*p == '\t' && !blank_at_end);
        size_t width = plain ? 1 : 3;
        if (column + width > 75) {
            ptl_buf_puts(b, "=\r\n");
            column = 0;
        }
        if (plain)
            ptl_buf_putc(b, (char)*p);
        else
            ptl_buf_printf(b, "=%02X", *p);
        column += width;
    }
}

void ptl_mail_compose(const char *from, const char *to, const char *subject, const char *text,
                      const char *message_id, int64_t at_s, struct ptl_buf *ret)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"},
                             *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)at_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    ptl_buf_printf(ret, "From: Portolan <%s>\r\nTo: <%s>\r\n", from, to);
    header_text("Subject", subject, ret);
    ptl_buf_printf(ret, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\nMessage-ID: <%s>\r\n", days[tm.tm_wday],
                   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   message_id);
    ptl_buf_puts(
        ret,
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\n");
    quoted_printable(text, ret);
}

/* ---- what came back ---- */

int64_t ptl_message_backoff_ms(int64_t fails, uint32_t dice)
{
    int64_t whole = 2000;
    for (int64_t i = 0; i < fails && whole < PTL_MESSAGE_WAIT_MAX_MS; i++)
        whole *= 2;
    if (whole > PTL_MESSAGE_WAIT_MAX_MS)
        whole = PTL_MESSAGE_WAIT_MAX_MS;
    return whole / 2 + (int64_t)(dice % (uint64_t)(whole / 2 + 1));
}

static void judge_failure(bool for_good, const struct ptl_message_tries *t, uint32_t dice,
                          struct ptl_status_outcome *ret)
{
    ret->verdict = for_good || t->tried_for_s >= PTL_MESSAGE_TRY_S ? PTL_STATUS_GIVE_UP : PTL_STATUS_RETRY;
    ret->wait_ms = ptl_message_backoff_ms(t->fails, dice);
}

void ptl_message_judge(int result, const struct ptl_http_answer *a, const struct ptl_error *err,
                       const struct ptl_message_tries *t, int64_t wall_s, uint32_t dice,
                       struct ptl_status_outcome *ret)
{
    *ret = (struct ptl_status_outcome){.verdict = PTL_STATUS_SENT};
    if (result == 0 && a->status >= 200 && a->status < 300)
        return;
    if (result < 0) {
        ptl_status_explain(ret, "%s", err->text);
        judge_failure(false, t, dice, ret);
        return;
    }
    ptl_status_explain(ret, "it answered %d%s%.200s", a->status, a->body.len ? ": " : "",
                       ptl_buf_str(&a->body));
    /* other refusals than these it will repeat */
    judge_failure(a->status < 500 && a->status != 408 && a->status != 425 && a->status != 429, t, dice, ret);
    int64_t asked_ms = ptl_status_limit_wait_s(a, wall_s) * 1000;
    asked_ms = asked_ms > PTL_MESSAGE_WAIT_MAX_MS ? PTL_MESSAGE_WAIT_MAX_MS : asked_ms;
    if (asked_ms > ret->wait_ms)
        ret->wait_ms = asked_ms;
}

void ptl_message_judge_mail(int result, const struct ptl_error *err, const struct ptl_message_tries *t,
                            uint32_t dice, struct ptl_status_outcome *ret)
{
    *ret = (struct ptl_status_outcome){.verdict = PTL_STATUS_SENT};
    if (result == 0)
        return;
    ptl_status_explain(ret, "%s", err->text);
    judge_failure(result == -EPERM, t, dice, ret);
}

char *ptl_message_shown_url(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return ptl_xasprintf("%.*s%.*s/…", (int)(host - url), url, (int)strcspn(host, "/?#"), host);
}
