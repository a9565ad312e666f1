/* tell.c - takes what is due from notify_outbox and tells it.
 *
 * The database decides who is told what (triggers of migration 0006) and once: a row a channel and happening.
 * Here it is decided when: quiet hours and digests move a row on, several that are due for one mail or chat
 * channel go out as one. Mails block and go on the pool, HTTP rides the loop. Woken by NOTIFY and by a timer,
 * which also serves retries, due dates and the forgetting of what is old. Loop thread. */
#include "tell.h"
#include "looker.h"
#include "mail.h"
#include "message.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    RUNNING_MAX = 8,
    CLAIM_MAX = 100,
    ONE_MAX = 50,   /* happenings in one digest */
    DUE_EVERY = 10, /* ticks of the looker */
    PRUNE_EVERY = 1800,
    TIMEOUT_MS = 20000,
    CONNECT_MS = 5000,
    ANSWER_MAX = 64 << 10,
};

/* What goes out as one. */
struct job {
    struct ptl_work work;  /* of a mail */
    struct ptl_tell *tell; /* NULL: nobody waits any more */
    struct job *next, **prev;
    struct ptl_mail_server server;
    int64_t ids[ONE_MAX], tries;
    struct ptl_message_tries stand;
    size_t n;
    char *channel, *to, *what;
    struct ptl_buf message;
    struct ptl_error err;
};

struct ptl_tell {
    struct ptl_core *core;
    struct ptl_looker *looker;
    struct job *jobs;
    unsigned running, ticks;
    char *smtp_url, *smtp_from, *smtp_user, *smtp_password, *smtp_ca, *host;
};

static void store_result(struct ptl_tell *t, const int64_t *ids, size_t n, const char *verdict,
                         const char *text, int64_t wait_ms)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64_array(&a, ids, n);
    ptl_args_str(&a, verdict);
    ptl_args_str(&a, text && *text ? text : NULL);
    ptl_args_i64(&a, wait_ms);
    if (ptl_store_query(ptl_core_store(t->core), PTL_SQL_notify_result, &a, NULL, NULL) != 0)
        ptl_log_warning(
            "notify=%lld: the database queue is full, so its result is not noted; it is told again later",
            (long long)ids[0]);
    ptl_looker_wake(t->looker);
}

static void job_free(struct job *j)
{
    if (j->prev) {
        *j->prev = j->next;
        if (j->next)
            j->next->prev = j->prev;
        j->tell->running--;
    }
    ptl_buf_done(&j->message);
    if (j->server.password)
        explicit_bzero((char *)(uintptr_t)j->server.password, strlen(j->server.password));
    free((char *)(uintptr_t)j->server.url);
    free((char *)(uintptr_t)j->server.from);
    free((char *)(uintptr_t)j->server.user);
    free((char *)(uintptr_t)j->server.password);
    free((char *)(uintptr_t)j->server.ca_file);
    free(j->channel);
    free(j->to);
    free(j->what);
    free(j);
}

static void link_job(struct ptl_tell *t, struct job *j)
{
    j->next = t->jobs;
    if (j->next)
        j->next->prev = &j->next;
    j->prev = &t->jobs;
    t->jobs = j;
    t->running++;
}

/* A chat's URL is its password: what went wrong names its host and no more, in the log and in the table. */
static void mask(const char *url, struct ptl_status_outcome *o)
{
    const char *host = url ? strstr(url, "://") : NULL;
    char text[sizeof(o->text)];
    if (!host)
        return;
    size_t origin = (size_t)(host + 3 - url) + strcspn(host + 3, "/?#");
    PTL_FREE char *prefix = strndup(url, origin);
    char *at = prefix ? strstr(o->text, prefix) : NULL;
    if (!at || !strchr("/?#", at[origin]) || !at[origin])
        return;
    const char *rest = at + strcspn(at, " "); /* to the end of the URL, which may have been cut */
    bool colon = rest[-1] == ':';
    snprintf(text, sizeof(text), "%.*s%s/\u2026%s%s", (int)(at - o->text), o->text, prefix, colon ? ":" : "",
             rest);
    memcpy(o->text, text, sizeof(text));
}

static void settle(struct job *j, const struct ptl_status_outcome *outcome)
{
    struct ptl_status_outcome own = *outcome, *o = &own;
    mask(j->to, o);
    static const char *const verdicts[] = {
        [PTL_STATUS_SENT] = "sent", [PTL_STATUS_RETRY] = "retry", [PTL_STATUS_GIVE_UP] = "give_up"};
    char wait[32];
    ptl_duration_format(o->wait_ms, wait);
    if (o->verdict == PTL_STATUS_SENT)
        ptl_log_debug("channel=%s: told %s", j->channel, j->what);
    else if (o->verdict == PTL_STATUS_RETRY)
        ptl_log_warning("channel=%s: could not tell '%s' (try %lld), again in %s: %s", j->channel, j->what,
                        (long long)j->tries, wait, o->text);
    else
        ptl_log_error("channel=%s: gave up telling '%s': %s", j->channel, j->what, o->text);
    store_result(j->tell, j->ids, j->n, verdicts[o->verdict], o->text, o->wait_ms);
}

/* ---- mail ---- */

static void mail_run(struct ptl_work *w)
{
    struct job *j = (struct job *)w;
    w->result = ptl_mail_send(&j->server, j->to, &j->message, &j->err);
}

static void mail_done(struct ptl_work *w)
{
    struct job *j = (struct job *)w;
    struct ptl_status_outcome o;
    if (j->tell && w->result != -ECANCELED) {
        ptl_message_judge_mail(w->result, &j->err, &j->stand, ptl_notify_dice(), &o);
        settle(j, &o);
    }
    job_free(j);
}

static void send_mail(struct ptl_tell *t, struct job *j, const struct ptl_message *list, size_t n,
                      const struct ptl_message_for *f, const char *to)
{
    struct ptl_status_outcome o = {.verdict = PTL_STATUS_RETRY};
    PTL_BUF text = PTL_BUF_MAX(1 << 20);
    if (!t->smtp_url) {
        struct ptl_error none = PTL_ERROR_INIT;
        ptl_error_set(&none, -ENOENT, "this daemon has no smtp-url, so no mail goes out");
        ptl_message_judge_mail(-ENOENT, &none, &j->stand, ptl_notify_dice(), &o);
        settle(j, &o);
        job_free(j);
        return;
    }
    PTL_FREE char *subject = ptl_message_subject(list, n);
    PTL_FREE char *full = ptl_xasprintf("[portolan] %s", subject);
    PTL_FREE char *id =
        ptl_xasprintf("notify-%lld-%lld@%s", (long long)j->ids[0], (long long)j->ids[j->n - 1], t->host);
    ptl_message_text(list, n, f, &text);
    ptl_mail_compose(t->smtp_from, to, full, ptl_buf_str(&text), id, ptl_wall_ms() / 1000, &j->message);
    j->to = ptl_xstrdup(to);
    j->server = (struct ptl_mail_server){.url = ptl_xstrdup(t->smtp_url),
                                         .from = ptl_xstrdup(t->smtp_from),
                                         .user = ptl_xstrdup(t->smtp_user),
                                         .password = ptl_xstrdup(t->smtp_password),
                                         .ca_file = ptl_xstrdup(t->smtp_ca)};
    j->work.run = mail_run;
    j->work.done = mail_done;
    if (ptl_loop_submit(ptl_core_loop(t->core), &j->work) == 0) {
        link_job(t, j);
        return;
    }
    o.wait_ms = ptl_status_backoff_ms(1, ptl_notify_dice());
    ptl_status_explain(&o, "this daemon's workers are busy");
    settle(j, &o);
    job_free(j);
}

/* ---- HTTP ---- */

static void on_answer(void *ctx, int result, const struct ptl_http_answer *a, const struct ptl_error *err)
{
    struct job *j = ctx;
    if (j->tell) {
        struct ptl_status_outcome o;
        ptl_message_judge(result, a, err, &j->stand, ptl_wall_ms() / 1000, ptl_notify_dice(), &o);
        settle(j, &o);
    }
    job_free(j);
}

static void post(struct ptl_tell *t, struct job *j, const char *url, const char *body,
                 const char *const *headers)
{
    struct ptl_status_outcome o = {.verdict = PTL_STATUS_GIVE_UP};
    struct ptl_error err = PTL_ERROR_INIT;
    j->to = ptl_xstrdup(url);
    int r = ptl_notify_hook_check(url, ptl_core_options_of(t->core)->allow_private_addresses, &err);
    if (r == 0) {
        struct ptl_http_request req = {.method = "POST",
                                       .url = url,
                                       .headers = headers,
                                       .body = body,
                                       .body_len = strlen(body),
                                       .timeout_ms = TIMEOUT_MS,
                                       .connect_timeout_ms = CONNECT_MS,
                                       .max_answer_bytes = ANSWER_MAX};
        r = ptl_http_start(ptl_core_http(t->core), &req, on_answer, j, NULL);
        if (r == 0) {
            link_job(t, j);
            return;
        }
        o.verdict = PTL_STATUS_RETRY;
        o.wait_ms = ptl_status_backoff_ms(1, ptl_notify_dice());
        ptl_error_set(&err, r, "this daemon has too many calls under way");
    }
    ptl_status_explain(&o, "%s", err.text);
    settle(j, &o);
    job_free(j);
}

static char *opened(struct ptl_tell *t, struct ptl_rows *rows, int row, const char *col, const char *what)
{
    size_t len;
    const void *sealed = ptl_row_bytes(rows, row, col, &len);
    PTL_BUF plain = PTL_BUF_MAX(1 << 20);
    if (!sealed || ptl_unseal(t->core, what, sealed, len, &plain) < 0)
        return NULL;
    char *text = ptl_xstrdup(ptl_buf_str(&plain));
    explicit_bzero(plain.data, plain.len);
    return text;
}

static void send_http(struct ptl_tell *t, struct job *j, struct ptl_rows *rows, int row,
                      const struct ptl_message *list, size_t n, const struct ptl_message_for *f)
{
    bool chat = ptl_str_eq(ptl_row_str(rows, row, "kind"), "chat");
    PTL_FREE char *url = opened(t, rows, row, "url", "notify url");
    PTL_FREE char *secret = opened(t, rows, row, "secret", "notify secret");
    struct ptl_status_outcome o = {.verdict = PTL_STATUS_GIVE_UP};
    char at[32];
    ptl_wall_rfc3339(ptl_wall_ms(), at);
    PTL_FREE char *body = chat ? ptl_message_chat(list, n, f, ptl_row_str(rows, row, "template"))
                               : ptl_message_webhook(&list[0], f, at);
    PTL_FREE char *id = ptl_xasprintf("msg_%lld", (long long)j->ids[0]);
    int64_t now = ptl_wall_ms() / 1000;
    PTL_FREE char *signature = secret && body ? ptl_message_signature(secret, id, now, body) : NULL;
    if (secret)
        explicit_bzero(secret, strlen(secret));
    if (!url || !body || (!chat && !signature)) {
        ptl_status_explain(
            &o, !url    ? "its URL does not open with this daemon's secret.key; set it again"
                : !body ? "its template is no JSON"
                        : "its secret does not open with this daemon's secret.key; make the channel anew");
        settle(j, &o);
        job_free(j);
        return;
    }
    PTL_FREE char *h1 = ptl_xasprintf("webhook-id: %s", id);
    PTL_FREE char *h2 = ptl_xasprintf("webhook-timestamp: %lld", (long long)now);
    PTL_FREE char *h3 = ptl_xasprintf("webhook-signature: %s", signature ? signature : "");
    const char *plain[] = {"Content-Type: application/json", "User-Agent: portolan/" PTL_VERSION, NULL},
               *hooked[] = {
                   "Content-Type: application/json", "User-Agent: portolan/" PTL_VERSION, h1, h2, h3, NULL};
    post(t, j, url, body, signature ? hooked : plain);
    explicit_bzero(url, strlen(url));
}

/* ---- looking ---- */

/* Seconds that a row has to wait yet, for its channel's quiet hours or digest. */
static int64_t wait_of(struct ptl_rows *rows, int i)
{
    int64_t now = ptl_row_i64(rows, i, "now_local"), created = ptl_row_i64(rows, i, "created_local");
    if (ptl_str_eq(ptl_row_str(rows, i, "event"), "test"))
        return 0;
    int64_t wait = ptl_digest_wait_s(ptl_row_str(rows, i, "digest"), (int)ptl_row_i64(rows, i, "digest_hour"),
                                     created, now);
    if (!ptl_row_null(rows, i, "quiet_from")) {
        int64_t quiet = ptl_quiet_wait_s((int)ptl_row_i64(rows, i, "quiet_from"),
                                         (int)ptl_row_i64(rows, i, "quiet_to"), now + wait);
        wait += quiet;
    }
    return wait;
}

static void tell_group(struct ptl_tell *t, struct ptl_rows *rows, const int *at, size_t n)
{
    struct ptl_message list[ONE_MAX];
    json_t *data[ONE_MAX];
    const char *kind = ptl_row_str(rows, at[0], "kind");
    struct ptl_message_for f = {.public_url = ptl_core_options_of(t->core)->public_url,
                                .channel = ptl_row_str(rows, at[0], "channel")};
    struct job *j = ptl_xcalloc(1, sizeof(*j));
    j->tell = t;
    j->channel = ptl_xstrdup(f.channel);
    j->message.max = 4 << 20;
    for (size_t i = 0; i < n; i++) {
        data[i] = ptl_row_json(rows, at[i], "data");
        list[i] = (struct ptl_message){ptl_row_str(rows, at[i], "event"), data[i]};
        j->ids[i] = ptl_row_i64(rows, at[i], "id");
        int64_t tries = ptl_row_i64(rows, at[i], "tries");
        int64_t tried_for_s = ptl_row_i64(rows, at[i], "tried_for_s");
        j->tries = tries > j->tries ? tries : j->tries;
        j->stand.fails = ptl_row_i64(rows, at[i], "fails");
        /* of several the newest decides: what is given up is given up together */
        if (i == 0 || tried_for_s < j->stand.tried_for_s)
            j->stand.tried_for_s = tried_for_s;
    }
    j->n = n;
    j->what = ptl_message_subject(list, n);
    if (ptl_str_eq(kind, "email"))
        send_mail(t, j, list, n, &f, ptl_row_str(rows, at[0], "address"));
    else
        send_http(t, j, rows, at[0], list, n, &f);
    for (size_t i = 0; i < n; i++)
        json_decref(data[i]);
}

static void tell_rows(struct ptl_tell *t, struct ptl_rows *rows)
{
    int n = ptl_rows_count(rows);
    for (int i = 0; i < n;) {
        int64_t channel = ptl_row_i64(rows, i, "channel_id");
        bool together = !ptl_str_eq(ptl_row_str(rows, i, "kind"), "webhook");
        int at[ONE_MAX];
        size_t k = 0;
        for (; i < n && ptl_row_i64(rows, i, "channel_id") == channel; i++) {
            int64_t wait = wait_of(rows, i);
            if (wait > 0) {
                int64_t id = ptl_row_i64(rows, i, "id");
                store_result(t, &id, 1, "defer", NULL, wait * 1000);
                continue;
            }
            at[k++] = i;
            if (k == ONE_MAX || !together) {
                tell_group(t, rows, at, k);
                k = 0;
            }
        }
        if (k)
            tell_group(t, rows, at, k);
    }
}

static unsigned room(void *ctx)
{
    const struct ptl_tell *t = ctx;
    return t->running >= RUNNING_MAX ? 0 : CLAIM_MAX;
}

static void on_rows(void *ctx, struct ptl_rows *rows)
{
    tell_rows(ctx, rows);
}

static void on_tick(void *ctx)
{
    struct ptl_tell *t = ctx;
    if (t->ticks % DUE_EVERY == 0)
        (void)!ptl_store_query(ptl_core_store(t->core), PTL_SQL_notify_due, NULL, NULL, NULL);
    if (t->ticks % PRUNE_EVERY == 0)
        (void)!ptl_store_query(ptl_core_store(t->core), PTL_SQL_notify_prune, NULL, NULL, NULL);
    t->ticks++;
}

static int read_credentials(struct ptl_tell *t, const char *path, struct ptl_error *err)
{
    PTL_BUF b = PTL_BUF_MAX(4096);
    struct stat st;
    int r = ptl_fs_read(path, 4096, &b, err);
    if (r < 0)
        return ptl_error_prefix(err, r, "smtp-credentials-file");
    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return ptl_error_set(err, -EPERM,
                             "smtp-credentials-file %s: readable by others (mode %o); expected 0600", path,
                             st.st_mode & 0777);
    b.data[strcspn(b.data, "\r\n")] = 0;
    char *colon = strchr(b.data, ':');
    if (!colon)
        return ptl_error_set(err, -EINVAL, "smtp-credentials-file %s: expected one line USER:PASSWORD", path);
    *colon = 0;
    t->smtp_user = ptl_xstrdup(b.data);
    t->smtp_password = ptl_xstrdup(colon + 1);
    ptl_log_mask(t->smtp_password);
    explicit_bzero(b.data, b.cap);
    return 0;
}

int ptl_tell_new(struct ptl_core *core, const struct ptl_tell_options *o, struct ptl_tell **ret,
                 struct ptl_error *err)
{
    static const struct ptl_looker_for notifications = {.what = "notifications",
                                                        .channel = "ptl_notify",
                                                        .claim = PTL_SQL_notify_claim,
                                                        .room = room,
                                                        .rows = on_rows,
                                                        .tick = on_tick};
    struct ptl_tell *t = ptl_xcalloc(1, sizeof(*t));
    int r = 0;
    t->core = core;
    if (o->smtp_url) {
        struct ptl_mail_server s = {.url = o->smtp_url, .from = o->smtp_from};
        r = ptl_mail_check(&s, err);
        t->smtp_url = ptl_xstrdup(o->smtp_url);
        t->smtp_from = ptl_xstrdup(o->smtp_from);
        t->smtp_ca = ptl_xstrdup(o->smtp_ca_file);
        t->host = ptl_xstrdup(r == 0 ? strchr(o->smtp_from, '@') + 1 : "");
        if (r == 0 && o->smtp_credentials_file)
            r = read_credentials(t, o->smtp_credentials_file, err);
    }
    if (r == 0 && !(t->looker = ptl_looker_new(core, &notifications, t)))
        r = ptl_error_set(err, -EIO, "notifications: cannot listen for them");
    if (r < 0)
        ptl_tell_free(t);
    else
        *ret = t;
    return r;
}

struct ptl_tell *ptl_tell_free(struct ptl_tell *t)
{
    if (!t)
        return NULL;
    ptl_looker_free(t->looker);
    while (t->jobs) { /* each frees itself when its answer or its worker comes back */
        struct job *j = t->jobs;
        t->jobs = j->next;
        j->tell = NULL;
        j->prev = NULL;
    }
    if (t->smtp_password)
        explicit_bzero(t->smtp_password, strlen(t->smtp_password));
    char *strings[] = {t->smtp_url, t->smtp_from, t->smtp_user, t->smtp_password, t->smtp_ca, t->host};
    for (size_t i = 0; i < PTL_ARRAY_LEN(strings); i++)
        free(strings[i]);
    free(t);
    return NULL;
}
