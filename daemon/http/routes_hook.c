/* routes_hook.c - POST /hooks/{project}: a forge tells of a push. Looks the project up, has the delivery
 * verified over its raw bytes (daemon/webhook), writes the delivery with its pushes and runs in one
 * transaction, answers. Fetching and planning come after the answer: forges wait 5 to 10 seconds and GitHub
 * never tries again.
 *
 * What a stranger can learn: nothing about which projects exist. What is wrong with the request itself (no
 * signature, an old timestamp) is said before any look-up. From there on an unknown project, a project
 * without a secret and a wrong signature take the same steps (one look-up, one opening of a sealed secret,
 * one proof over the whole body) and get the same 401 with the same words; the log has the difference. Not
 * evened out: the microsecond in which a row is decoded.
 *
 * Verifying and reading happen on the loop. A usual body has 20 kB: about a millisecond. The worst one, 8
 * MiB, was measured at 10 to 30 ms of HMAC for anyone who asks, and 400 to 700 ms of JSON for who has proven
 * himself; the largest that GitHub builds (2048 commits, some 2 MB) is a quarter of that. A worker would keep
 * the loop free and may be worse: git may hold all of them for minutes, and GitHub gives up after 10 s for
 * good. How often a stranger may ask is not limited here; a proxy in front can.
 *
 * When the peer hangs up early the delivery is recorded all the same; its repeat has the same id and is told
 * so. */
#include "server.h"
#include "webhook.h"
#include <portolan/clock.h>
#include <portolan/log.h>
#include <stdio.h>

struct hook {
    struct ptl_request *q;
    struct ptl_webhook w;
    int64_t project_id;
};

static struct hook *hook_free(struct hook *h)
{
    ptl_webhook_done(&h->w);
    free(h);
    return NULL;
}

static const char *header(const void *ctx, const char *name)
{
    const struct hook *h = ctx;
    return ptl_request_header(h->q, name);
}

static struct ptl_webhook_request request_of(const struct hook *h)
{
    struct ptl_webhook_request in = {.header = header, .header_ctx = h, .wall_s = ptl_wall_ms() / 1000};
    in.body = ptl_request_bytes(h->q, &in.body_len);
    return in;
}

static const char *project_of(const struct hook *h)
{
    const char *name = ptl_request_param(h->q, "project");
    return name ? name : "";
}

/* PostgreSQL is asked for names that a project can have; no other can exist. */
static bool is_project_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= 63 && s[n] == '\0';
}

static void refuse(struct hook *h)
{
    ptl_answer_problem(
        h->q, 401,
        "this delivery is not accepted: the project does not exist, or has no webhook secret, or the secret set at the forge is "
        "another one. Set the same secret in both places (here: webhook_secret of PATCH /api/v1/projects/NAME)");
    hook_free(h);
}

static json_t *answer_of(const struct hook *h, struct ptl_rows *rows)
{
    json_t *list = json_array();
    size_t i, n = (size_t)ptl_rows_count(rows);
    json_t *asked;
    PTL_FREE bool *used = ptl_xcalloc(n + 1, sizeof(*used));
    json_array_foreach(h->w.pushes, i, asked)
    {
        const char *ref = ptl_json_str(asked, "ref", ""), *after = ptl_json_str(asked, "after", NULL);
        size_t row = 0;
        while (row < n && (used[row] || !ptl_str_eq(ptl_row_str(rows, (int)row, "ref"), ref) ||
                           !ptl_str_eq(ptl_row_str(rows, (int)row, "after_sha"), after)))
            row++;
        bool is_new = row < n;
        used[row] = true; /* the last one stands for "none" */
        const char *outcome = is_new ? ptl_row_str(rows, (int)row, "outcome") : "this push was told before";
        json_t *run = is_new && !ptl_row_null(rows, (int)row, "run_id")
                          ? json_integer(ptl_row_i64(rows, (int)row, "run_id"))
                          : json_null();
        if (json_is_integer(run))
            ptl_log_info("project=%s run=%lld: pushed %s to %.12s (%s delivery %s)", project_of(h),
                         (long long)json_integer_value(run), ref, after, ptl_forge_name(h->w.forge),
                         h->w.delivery_id);
        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:s?}", "ref", ref, "run_id", run, "outcome", outcome));
    }
    return json_pack("{s:o}", "pushes", list);
}

static void on_recorded(void *ctx, struct ptl_rows *const *rows, size_t n PTL_UNUSED,
                        const struct ptl_error *err)
{
    struct hook *h = ctx;
    if (err) { /* also when nobody knows whether it was written: the repeat has the same delivery id */
        ptl_log_warning(
            "project=%s: %s delivery %s could not be recorded, the forge is told to come again: %s",
            project_of(h), ptl_forge_name(h->w.forge), h->w.delivery_id, err->text);
        ptl_answer_result(h->q, 202, err->code, NULL, err);
    } else if (ptl_row_bool(rows[0], 0, "duplicate") || h->w.ignored[0]) {
        PTL_JSON *o = json_pack("{s:s}", "ignored",
                                h->w.ignored[0] ? h->w.ignored : "this delivery was received before");
        ptl_answer_json(h->q, 200, o);
    } else {
        PTL_JSON *o = answer_of(h, rows[0]);
        ptl_answer_json(h->q, 202, o);
    }
    hook_free(h);
}

static void record(struct hook *h)
{
    struct ptl_batch *b = ptl_batch_new(ptl_core_store(ptl_request_core(h->q)));
    size_t pushes = json_array_size(h->w.pushes);
    char outcome[256];
    snprintf(outcome, sizeof(outcome), "%zu push%s", pushes, pushes == 1 ? "" : "es");
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, h->project_id);
    ptl_args_str(&a, ptl_forge_name(h->w.forge));
    ptl_args_str(&a, h->w.delivery_id);
    ptl_args_str(&a, h->w.event);
    ptl_args_str(&a, pushes ? outcome : h->w.ignored);
    ptl_args_json(&a, h->w.pushes);
    ptl_batch_add(b, PTL_SQL_delivery_add, &a);
    if (pushes) {
        ptl_args_init(&a);
        ptl_args_i64(&a, h->project_id);
        ptl_args_json(&a, h->w.pushes);
        ptl_batch_add(b, PTL_SQL_ref_seen_follow, &a);
    }
    if (ptl_batch_run(b, on_recorded, h) != 0) {
        ptl_answer_problem(h->q, 503, "the database queue is full, deliver it again in a moment");
        hook_free(h);
    }
}

/* Opens the project's secret; the same work is done on a decoy when there is none. */
static bool open_secret(struct hook *h, struct ptl_rows *rows, struct ptl_buf *ret)
{
    static const unsigned char decoy[12 + 16 + 32]; /* nonce, tag, a secret of usual length: never opens */
    size_t len = 0;
    const void *sealed = ptl_rows_count(rows) ? ptl_row_bytes(rows, 0, "webhook_secret", &len) : NULL;
    int r = ptl_unseal(ptl_request_core(h->q), "webhook_secret", sealed ? sealed : decoy,
                       sealed ? len : sizeof(decoy), ret);
    if (sealed && r < 0)
        ptl_log_error(
            "project=%s: its webhook secret does not open with this daemon's secret.key; set it again",
            project_of(h));
    return sealed && r == 0;
}

static void on_project(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct hook *h = ctx;
    if (err) {
        ptl_answer_result(h->q, 202, err->code, NULL, err);
        hook_free(h);
        return;
    }
    struct ptl_error why = PTL_ERROR_INIT;
    struct ptl_webhook_request in = request_of(h);
    PTL_BUF secret = PTL_BUF_MAX(1 << 20);
    bool has_secret = open_secret(h, rows, &secret);
    int r = ptl_webhook_verify(&h->w, &in, has_secret ? ptl_buf_str(&secret) : NULL, &why);
    if (secret.data)
        explicit_bzero(secret.data, secret.len);
    if (r == PTL_WEBHOOK_DENIED) {
        ptl_log_warning("project=%s: refused a %s delivery: %s", project_of(h), ptl_forge_name(h->w.forge),
                        ptl_rows_count(rows) ? why.text : "there is no such project");
        refuse(h);
        return;
    }
    if (r == 0)
        r = ptl_webhook_parse(&h->w, &in, &why);
    if (r != 0) {
        ptl_log_warning("project=%s: %s delivery %s cannot be read: %s", project_of(h),
                        ptl_forge_name(h->w.forge), h->w.delivery_id, why.text);
        ptl_answer_problem(h->q, r == PTL_WEBHOOK_MALFORMED ? 400 : 503, "%s", why.text);
        hook_free(h);
        return;
    }
    h->project_id = ptl_row_i64(rows, 0, "id");
    record(h);
}

void ptl_on_post_hook(struct ptl_request *q)
{
    struct hook *h = ptl_xcalloc(1, sizeof(*h));
    h->q = q;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_webhook_request in = request_of(h);
    int r = ptl_webhook_open(&h->w, &in, &err);
    if (r != 0) {
        ptl_answer_problem(q,
                           r == PTL_WEBHOOK_UNSIGNED    ? 401
                           : r == PTL_WEBHOOK_MALFORMED ? 400
                                                        : 503,
                           "%s", err.text);
        hook_free(h);
        return;
    }
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, is_project_name(project_of(h)) ? project_of(h) : NULL);
    ptl_args_null(&a);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_project_get, &a, on_project, h) != 0) {
        ptl_answer_problem(q, 503, "the database queue is full, deliver it again in a moment");
        hook_free(h);
    }
}
