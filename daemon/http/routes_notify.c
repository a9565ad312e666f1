/* routes_notify.c - channels that people are told through, and what went through them. A channel's URL and
 * secret are sealed and never shown again; whoever does not manage sees and changes his own. Loop thread. */
#include "body.h"
#include "message.h"
#include <portolan/hash.h>
#include <stdio.h>

enum { LIMIT = 50, LIMIT_MAX = 500 };

static const char *confined(struct ptl_request *q)
{
    const char *p = ptl_request_identity(q)->project;
    return *p ? p : NULL;
}

static bool manages(struct ptl_request *q)
{
    return ptl_request_identity(q)->may & (PTL_MAY_MANAGE | PTL_MAY_ADMIN);
}

static void asker(struct ptl_request *q, struct ptl_args *a)
{
    ptl_args_str(a, ptl_request_identity(q)->name);
    ptl_args_bool(a, manages(q));
    ptl_args_str(a, confined(q));
}

static void busy(struct ptl_request *q)
{
    ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

/* ---- reading ---- */

static void on_list(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err) {
        ptl_answer_result(q, 200, err->code, NULL, err);
        return;
    }
    size_t limit = (size_t)ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX);
    PTL_JSON *items = ptl_rows_array(rows);
    json_t *next = json_null();
    if (json_array_size(items) > limit) {
        json_array_remove(items, json_array_size(items) - 1);
        next =
            json_incref(json_object_get(json_array_get(items, json_array_size(items) - 1),
                                        ptl_str_ends(ptl_request_pattern(q), "/channels") ? "name" : "id"));
    }
    PTL_JSON *body = json_pack("{s:O,s:o}", "items", items, "next", next);
    ptl_answer_json(q, 200, body);
}

void ptl_on_get_channels(struct ptl_request *q)
{
    const char *after = ptl_request_query(q, "after");
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, after ? after : "");
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX) + 1);
    asker(q, &a);
    ptl_args_null(&a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_notify_channel_list, &a, on_list, q) !=
        0)
        busy(q);
}

void ptl_on_get_notify_deliveries(struct ptl_request *q)
{
    const char *state = ptl_request_query(q, "state");
    if (state && !ptl_str_eq(state, "open") && !ptl_str_eq(state, "sent") && !ptl_str_eq(state, "gave_up")) {
        ptl_answer_problem(q, 422, "state: '%.40s' is none of open, sent, gave_up", state);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_query(q, "channel"));
    ptl_args_str(&a, state);
    ptl_args_i64(&a, ptl_request_query_i64(q, "before", 0, 0, INT64_MAX));
    ptl_args_i64(&a, ptl_request_query_i64(q, "limit", LIMIT, 1, LIMIT_MAX) + 1);
    asker(q, &a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_notify_delivery_list, &a, on_list, q) !=
        0)
        busy(q);
}

/* ---- writing ---- */

struct put {
    struct ptl_request *q;
    char *name, *secret; /* shown once, of a new webhook */
    bool change;
};

static void put_free(struct put *p)
{
    if (p->secret)
        explicit_bzero(p->secret, strlen(p->secret));
    free(p->secret);
    free(p->name);
    free(p);
}

static void on_there(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct put *p = ctx;
    if (err) {
        ptl_answer_result(p->q, 200, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(p->q, 404, "channel %s was stored, and is not there for you to see", p->name);
    } else {
        PTL_JSON *o = ptl_row_object(rows, 0);
        if (p->secret)
            json_object_set_new(o, "secret", json_string(p->secret));
        ptl_answer_json(p->q, p->change ? 200 : 201, o);
    }
    put_free(p);
}

static void on_put(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct put *p = ctx;
    struct ptl_args a;
    if (err) {
        ptl_answer_result(p->q, 200, err->code, NULL, err);
        put_free(p);
        return;
    }
    PTL_FREE char *object = ptl_xasprintf("channel %s", p->name);
    ptl_audit(p->q, p->change ? "notify.channel.change" : "notify.channel.add", object,
              NULL); /* the body holds secrets */
    ptl_args_init(&a);
    ptl_args_str(&a, "");
    ptl_args_i64(&a, 1);
    asker(p->q, &a);
    ptl_args_str(&a, p->name);
    if (ptl_store_query(ptl_core_store(ptl_request_core(p->q)), PTL_SQL_notify_channel_list, &a, on_there,
                        p) != 0) {
        busy(p->q);
        put_free(p);
    }
}

/* "22:00" → minutes; "off" → -1. */
static bool body_clock(struct ptl_request *q, const json_t *b, const char *key, int64_t *ret, bool *given)
{
    const char *s;
    int h, m;
    char end;
    *given = false;
    if (!ptl_body_text(q, b, key, false, 5, &s))
        return false;
    if (!s)
        return true;
    *given = true;
    *ret = -1;
    if (ptl_str_eq(s, "off"))
        return true;
    if (strlen(s) == 5 && sscanf(s, "%2d:%2d%c", &h, &m, &end) == 2 && h >= 0 && h < 24 && m >= 0 && m < 60) {
        *ret = h * 60 + m;
        return true;
    }
    ptl_answer_problem(q, 422, "body.%s: '%.10s': expected a time of the day such as 22:00, or off", key, s);
    return false;
}

static bool seal(struct ptl_request *q, struct ptl_args *a, const char *what, const char *plain)
{
    PTL_BUF sealed = PTL_BUF_INIT;
    if (!plain) {
        ptl_args_bytes(a, NULL, 0);
        return true;
    }
    if (ptl_seal(ptl_request_core(q), what, plain, &sealed) < 0) {
        ptl_args_done(a);
        ptl_answer_problem(q, 500, "the secret could not be sealed");
        return false;
    }
    ptl_args_bytes(a, sealed.data, sealed.len);
    return true;
}

static bool is_event(const char *s)
{
    for (const char *const *e = ptl_message_events; *e; e++)
        if (ptl_str_eq(*e, s))
            return true;
    return false;
}

struct channel {
    const char *name, *kind, *person, *project, *address, *url, *secret, *template, *digest, *zone,
        *events[16];
    size_t n_events;
    int64_t hour, from, to;
    bool has_events, has_hour, has_from, has_to;
};

static bool where_to(struct ptl_request *q, struct channel *c, bool change)
{
    bool mail = ptl_str_eq(c->kind, "email");
    struct ptl_error err = PTL_ERROR_INIT;
    if (!change && (mail ? !c->address || c->url : !c->url || c->address)) {
        ptl_answer_problem(q, 422,
                           mail ? "body.address: expected the e-mail address, and no url"
                                : "body.url: expected where to post, and no address");
        return false;
    }
    if (c->address && !ptl_mail_address_ok(c->address)) {
        ptl_answer_problem(q, 422,
                           "body.address: '%.100s': expected one e-mail address such as ada@example.org",
                           c->address);
        return false;
    }
    if (c->url && ptl_notify_hook_check(
                      c->url, ptl_core_options_of(ptl_request_core(q))->allow_private_addresses, &err) < 0) {
        ptl_answer_problem(q, 422, "body.%s", err.text);
        return false;
    }
    PTL_JSON *form = c->template && *c->template ? json_loads(c->template, 0, NULL) : NULL;
    if (c->template && *c->template && (!form || !strstr(c->template, "{text}"))) {
        ptl_answer_problem(
            q, 422,
            "body.template: expected JSON in whose strings {text} stands for the message, such as {\"msgtype\":\"m.text\",\"body\":\"{text}\"}");
        return false;
    }
    if (c->secret) {
        PTL_FREE char *probe = ptl_message_signature(c->secret, "x", 0, "");
        if (!probe) {
            ptl_answer_problem(
                q, 422,
                "body.secret: expected whsec_ and base64, as the Standard Webhooks have it; leave it out to have one made");
            return false;
        }
    }
    return true;
}

static bool channel_body(struct ptl_request *q, const json_t *b, bool change, struct channel *c)
{
    static const char *const keys[] = {"name",        "kind",       "person",   "project",   "address",
                                       "url",         "secret",     "template", "events",    "digest",
                                       "digest_hour", "quiet_from", "quiet_to", "time_zone", NULL},
                             *const changes[] = {"address",   "url",         "template",   "events",
                                                 "digest",    "digest_hour", "quiet_from", "quiet_to",
                                                 "time_zone", NULL};
    if (!b || !ptl_body_only(q, b, change ? changes : keys) ||
        !ptl_body_text(q, b, "name", !change, 63, &c->name) ||
        !ptl_body_text(q, b, "kind", !change, 20, &c->kind) ||
        !ptl_body_text(q, b, "person", false, 63, &c->person) ||
        !ptl_body_text(q, b, "project", false, 63, &c->project) ||
        !ptl_body_text(q, b, "address", false, 254, &c->address) ||
        !ptl_body_text(q, b, "url", false, 2048, &c->url) ||
        !ptl_body_text(q, b, "secret", false, 200, &c->secret) ||
        !ptl_body_texts(q, b, "events", c->events, 16, &c->n_events) ||
        !ptl_body_text(q, b, "digest", false, 10, &c->digest) ||
        !ptl_body_text(q, b, "time_zone", false, 60, &c->zone) ||
        !body_clock(q, b, "quiet_from", &c->from, &c->has_from) ||
        !body_clock(q, b, "quiet_to", &c->to, &c->has_to))
        return false;
    const json_t *template = json_object_get(b, "template"), *hour = json_object_get(b, "digest_hour");
    c->template = json_is_null(template) ? "" : json_string_value(template);
    c->has_events = json_object_get(b, "events") != NULL;
    c->has_hour = hour != NULL;
    c->hour = json_integer_value(hour);
    if (!change && strspn(c->name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(c->name)) {
        ptl_answer_problem(q, 422, "body.name: '%s': expected lower-case letters, digits, '.', '_', '-'",
                           c->name);
        return false;
    }
    if (!change && !ptl_str_eq(c->kind, "email") && !ptl_str_eq(c->kind, "chat") &&
        !ptl_str_eq(c->kind, "webhook")) {
        ptl_answer_problem(q, 422, "body.kind: '%s' is none of email, chat, webhook", c->kind);
        return false;
    }
    for (size_t i = 0; i < c->n_events; i++)
        if (!is_event(c->events[i])) {
            const char *near = ptl_str_nearest(c->events[i], ptl_message_events);
            ptl_answer_problem(
                q, 422,
                "body.events[%zu]: '%.40s' is none of assigned, reassigned, due_soon, overdue, comment, failed, resolved, gate%s%s%s",
                i, c->events[i], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
            return false;
        }
    if (c->digest && !ptl_str_eq(c->digest, "none") && !ptl_str_eq(c->digest, "hourly") &&
        !ptl_str_eq(c->digest, "daily")) {
        ptl_answer_problem(q, 422, "body.digest: '%s' is none of none, hourly, daily", c->digest);
        return false;
    }
    if (c->has_hour && (!json_is_integer(hour) || c->hour < 0 || c->hour > 23)) {
        ptl_answer_problem(q, 422, "body.digest_hour: expected a whole number from 0 to 23");
        return false;
    }
    if (c->has_from != c->has_to && !(c->has_from && c->from == -1)) {
        ptl_answer_problem(q, 422,
                           "body: quiet_from and quiet_to go together; quiet_from: off ends quiet hours");
        return false;
    }
    if ((template && !c->template) || (c->secret && !ptl_str_eq(c->kind, "webhook")) ||
        (c->template && *c->template && c->kind && !ptl_str_eq(c->kind, "chat"))) {
        ptl_answer_problem(q, 422,
                           template && !c->template ? "body.template: expected a text"
                                                    : "body: template is for chat, secret for webhooks");
        return false;
    }
    return where_to(q, c, change);
}

static void maybe_i64(struct ptl_args *a, bool given, int64_t v)
{
    if (given)
        ptl_args_i64(a, v);
    else
        ptl_args_null(a);
}

static void put_channel(struct ptl_request *q, bool change)
{
    struct channel c = {0};
    struct ptl_args a;
    if (!channel_body(q, ptl_request_json(q), change, &c))
        return;
    struct put *p = ptl_xcalloc(1, sizeof(*p));
    p->q = q;
    p->change = change;
    p->name = ptl_xstrdup(change ? ptl_request_param(q, "name") : c.name);
    if (ptl_str_eq(c.kind, "webhook")) {
        unsigned char bytes[24];
        ptl_random(bytes, sizeof(bytes));
        PTL_FREE char *text = ptl_base64(bytes, sizeof(bytes));
        p->secret = c.secret ? ptl_xstrdup(c.secret) : ptl_xasprintf("whsec_%s", text);
    }
    PTL_FREE char *shown = c.url ? ptl_message_shown_url(c.url) : ptl_xstrdup(c.address);
    ptl_args_init(&a);
    ptl_args_bool(&a, change);
    ptl_args_str(&a, p->name);
    ptl_args_str(&a, c.kind);
    ptl_args_str(&a, c.person);
    ptl_args_str(&a, c.project);
    ptl_args_str(&a, shown);
    if (!seal(q, &a, "notify url", c.url) || !seal(q, &a, "notify secret", p->secret)) {
        put_free(p);
        return;
    }
    ptl_args_str(&a, c.template);
    if (c.has_events)
        ptl_args_text_array(&a, c.events, c.n_events);
    else
        ptl_args_null(&a);
    ptl_args_str(&a, c.digest);
    maybe_i64(&a, c.has_hour, c.hour);
    maybe_i64(&a, c.has_from, c.from);
    maybe_i64(&a, c.has_to, c.to);
    ptl_args_str(&a, c.zone);
    asker(q, &a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_notify_channel_put, &a, on_put, p) !=
        0) {
        busy(q);
        put_free(p);
    }
}

void ptl_on_post_channel(struct ptl_request *q)
{
    put_channel(q, false);
}

void ptl_on_patch_channel(struct ptl_request *q)
{
    put_channel(q, true);
}

static void on_name(struct ptl_request *q, enum ptl_sql sql, const char *action, int status)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, ptl_request_param(q, "name"));
    asker(q, &a);
    ptl_write_one(q, sql, &a,
                  (struct ptl_writing){.status = status,
                                       .action = action,
                                       .object = ptl_xasprintf("channel %s", ptl_request_param(q, "name")),
                                       .absent = "no channel of that name that you may use"});
}

void ptl_on_delete_channel(struct ptl_request *q)
{
    on_name(q, PTL_SQL_notify_channel_remove, "notify.channel.remove", 200);
}

void ptl_on_post_channel_test(struct ptl_request *q)
{
    on_name(q, PTL_SQL_notify_channel_test, "notify.channel.test", 202);
}
