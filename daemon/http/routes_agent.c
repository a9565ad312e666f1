/* routes_agent.c - what agents say: enrolment, claims by long poll, heartbeats, logs, results, blobs. */
#include "server.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

static void put_inventory(struct ptl_args *a, const struct ptl_inventory *inv, const json_t *j)
{
    ptl_args_text_array(a, inv->hosts, inv->n_hosts);
    ptl_args_text_array(a, inv->labels, inv->n_labels);
    ptl_args_text_array(a, inv->toolchains, inv->n_toolchains);
    ptl_args_text_array(a, inv->recipes, inv->n_recipes);
    ptl_args_i64(a, inv->slots);
    ptl_args_json(a, j);
}

static void on_enrolled(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    char *token = ptl_request_get(q);
    if (err) {
        ptl_answer_result(q, 201, err->code, NULL, err);
    } else if (ptl_rows_count(rows) == 0) {
        ptl_answer_problem(
            q, 401,
            "this one-time token is unknown, used, expired, or not for these host kinds, or the name is that of "
            "an agent of other host kinds; ask for a new one: portolan agent enrol");
    } else {
        ptl_log_info("agent=%lld: enrolled", (long long)ptl_row_i64(rows, 0, "agent_id"));
        PTL_JSON *o =
            json_pack("{s:I,s:s}", "agent_id", (json_int_t)ptl_row_i64(rows, 0, "agent_id"), "token", token);
        ptl_answer_json(q, 201, o);
    }
    explicit_bzero(token, strlen(token));
    free(token);
}

void ptl_on_agent_enrol(struct ptl_request *q)
{
    const json_t *b = ptl_request_json(q);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_inventory inv;
    const char *one_time, *name;
    if (!b)
        return;
    json_t *inventory = json_object_get(b, "inventory");
    if (ptl_json_req_str(b, "body", "token", &one_time, &err) < 0 ||
        ptl_json_req_str(b, "body", "name", &name, &err) < 0 ||
        ptl_inventory_read(inventory, &inv, &err) < 0) {
        ptl_answer_problem(q, 422, "%s", err.text);
        return;
    }
    for (const char *p = name; *p; p++)
        if (!(isalnum((unsigned char)*p) || (p > name && strchr("._-", *p))) || p - name > 62) {
            ptl_answer_problem(q, 422, "body.name: expected letters, digits, '.', '_', '-', at most 63");
            return;
        }
    char *token = ptl_token_new("agent"), one_time_hash[PTL_SHA256_HEX], hash[PTL_SHA256_HEX];
    ptl_sha256_of(one_time, strlen(one_time), one_time_hash);
    ptl_sha256_of(token, strlen(token), hash);
    ptl_request_set(q, token, NULL);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, one_time_hash);
    ptl_args_str(&a, name);
    ptl_args_str(&a, hash);
    put_inventory(&a, &inv, inventory);
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)), PTL_SQL_agent_enrol, &a, on_enrolled, q) != 0) {
        free(token);
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
    }
}

/* An agent serves what it was enrolled for, whatever else works on its machine: the other kinds are taken out
 * of what it offers. */
static bool keep_enrolled_kinds(struct ptl_request *q, json_t *hosts)
{
    const struct ptl_identity *who = ptl_request_identity(q);
    enum ptl_host_kind k;
    for (size_t i = json_array_size(hosts); who->hosts && i-- > 0;)
        if (ptl_host_kind_parse(json_string_value(json_array_get(hosts, i)), &k) < 0 ||
            !(who->hosts & 1u << k))
            json_array_remove(hosts, i);
    if (json_array_size(hosts))
        return true;
    ptl_answer_problem(q, 403,
                       "agent %s was enrolled for none of the host kinds that it offers now; set its hosts "
                       "right, or enrol it anew: portolan agent enrol --host KIND",
                       who->name);
    return false;
}

static void claim_gone(struct ptl_request *q)
{
    struct ptl_core_claim *claim = ptl_request_get(q);
    ptl_request_set(q, NULL, NULL);
    if (claim) {
        ptl_core_claim_abandon(claim);
        ptl_answer_problem(q, 503, "the agent hung up"); /* frees the request; nobody reads it */
    }
}

static void on_claimed(void *ctx, int result, const json_t *answer, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    ptl_request_set(q, NULL, NULL);
    ptl_answer_result(q, 200, result, answer, err);
}

void ptl_on_agent_claim(struct ptl_request *q)
{
    const json_t *b = ptl_request_json(q);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_inventory inv;
    if (!b)
        return;
    json_t *inventory = json_object_get(b, "inventory");
    int64_t slots = ptl_json_i64(b, "free_slots", 1), wait = ptl_json_i64(b, "wait_ms", 0);
    if (ptl_inventory_read(inventory, &inv, &err) < 0 || slots < 0 || slots > 1024) {
        ptl_answer_problem(q, 422, "%s", err.text[0] ? err.text : "body.free_slots: expected 0 to 1024");
        return;
    }
    if (!keep_enrolled_kinds(q, json_object_get(inventory, "hosts")))
        return;
    ptl_request_set(q,
                    ptl_core_claim(ptl_request_core(q), ptl_request_identity(q)->agent_id, inventory,
                                   (int)slots, wait, on_claimed, q),
                    claim_gone);
}

void ptl_on_agent_heartbeat(struct ptl_request *q)
{
    const json_t *b = ptl_request_json(q);
    if (!b)
        return;
    const json_t *attempts = json_object_get(b, "attempts");
    if (!json_is_array(attempts) || json_array_size(attempts) > 1024) {
        ptl_answer_problem(q, 422,
                           "body.attempts: expected an array of at most 1024 {\"attempt_id\",\"fence\"}");
        return;
    }
    ptl_core_heartbeat(ptl_request_core(q), ptl_request_identity(q)->agent_id, attempts, ptl_answer_core, q);
}

void ptl_on_agent_start(struct ptl_request *q)
{
    const json_t *b = ptl_request_json(q);
    if (b)
        ptl_core_start(ptl_request_core(q), ptl_request_identity(q)->agent_id, ptl_request_param_id(q, "id"),
                       ptl_json_i64(b, "fence", 0), ptl_answer_core, q);
}

void ptl_on_agent_log(struct ptl_request *q)
{
    size_t len;
    const void *data = ptl_request_bytes(q, &len);
    ptl_core_log_append(ptl_request_core(q), ptl_request_identity(q)->agent_id, ptl_request_param_id(q, "id"),
                        ptl_request_query_i64(q, "fence", 0, 0, INT32_MAX),
                        ptl_request_query_i64(q, "offset", 0, 0, INT64_MAX), data, len, ptl_answer_core, q);
}

void ptl_on_agent_finish(struct ptl_request *q)
{
    const json_t *b = ptl_request_json(q);
    if (b)
        ptl_core_finish(ptl_request_core(q), ptl_request_identity(q)->agent_id, ptl_request_param_id(q, "id"),
                        b, ptl_answer_core, q);
}

/* ---- blobs ---- */

static const char *blob_name(struct ptl_request *q)
{
    const char *sha = ptl_request_param(q, "sha256");
    if (ptl_sha256_is_hex(sha))
        return sha;
    ptl_answer_problem(q, 404, "a blob is named by 64 lower-case hex digits");
    return NULL;
}

struct blob_job {
    struct ptl_work work;
    struct ptl_request *q;
    const struct ptl_core *core;
    char sha[PTL_SHA256_HEX];
    int64_t from, to, total; /* of this piece: [from, to) */
    void *data;
    size_t len;
    int64_t have; /* bytes kept of an unfinished upload */
    int64_t size; /* of the finished blob, -1: none */
    int fd;
    struct ptl_error err;
};

static void look(struct ptl_work *w)
{
    struct blob_job *j = (struct blob_job *)w;
    PTL_FREE char *path = ptl_blob_path(j->core, j->sha), *part = ptl_blob_upload_path(j->core, j->sha);
    struct stat st;
    j->fd = open(path, O_RDONLY | O_CLOEXEC);
    j->size = j->fd >= 0 && fstat(j->fd, &st) == 0 ? st.st_size : -1;
    j->have = j->size < 0 && stat(part, &st) == 0 ? st.st_size : 0;
}

static void looked_head(struct ptl_work *w)
{
    struct blob_job *j = (struct blob_job *)w;
    struct ptl_request *q = j->q;
    char text[32];
    if (j->fd >= 0)
        close(j->fd);
    if (j->size >= 0) {
        snprintf(text, sizeof(text), "%lld", (long long)j->size);
        ptl_answer_header(q, "Content-Length", text);
        ptl_answer_text(q, 200, "application/octet-stream", "");
    } else {
        if (j->have > 0) {
            snprintf(text, sizeof(text), "%lld", (long long)j->have);
            ptl_answer_header(q, "X-Portolan-Offset", text);
        }
        ptl_answer_text(q, 404, "application/problem+json", "");
    }
    free(j);
}

static void submit(struct ptl_request *q, const char *sha, void (*run)(struct ptl_work *),
                   void (*done)(struct ptl_work *), struct blob_job like)
{
    struct blob_job *j = ptl_xcalloc(1, sizeof(*j));
    *j = like;
    j->work.run = run;
    j->work.done = done;
    j->q = q;
    j->core = ptl_request_core(q);
    j->fd = -1;
    snprintf(j->sha, sizeof(j->sha), "%s", sha);
    if (ptl_loop_submit(ptl_core_loop(ptl_request_core(q)), &j->work) != 0) {
        ptl_answer_problem(q, 503, "busy, try again in a moment");
        free(j->data);
        free(j);
    }
}

/* Which blobs a token may read: an agent those of its attempts, a confined person those of his project, other
 * people all. */
static void with_read_right(struct ptl_request *q, const char *sha, ptl_rows_fn *fn)
{
    const struct ptl_identity *who = ptl_request_identity(q);
    struct ptl_args a;
    ptl_args_init(&a);
    if (who->agent_id) {
        ptl_args_i64(&a, who->agent_id);
        ptl_args_str(&a, sha);
    } else {
        ptl_args_str(&a, sha);
        ptl_args_str(&a, who->project);
    }
    if (ptl_store_query(ptl_core_store(ptl_request_core(q)),
                        who->agent_id ? PTL_SQL_blob_allowed : PTL_SQL_blob_project, &a, fn, q) != 0)
        ptl_answer_problem(q, 503, "the database queue is full, try again in a moment");
}

void ptl_on_head_blob(struct ptl_request *q)
{
    const char *sha = blob_name(q);
    /* Agents ask before they upload: that a digest they already know exists tells them nothing of its
     * content. */
    if (sha)
        submit(q, sha, look, looked_head, (struct blob_job){0});
}

static void looked_get(struct ptl_work *w)
{
    struct blob_job *j = (struct blob_job *)w;
    struct ptl_request *q = j->q;
    if (j->size < 0) {
        ptl_answer_problem(q, 404, "no blob %.12s…", j->sha);
        free(j);
        return;
    }
    int64_t from = 0, to = j->size;
    const char *range = ptl_request_header(q, "Range");
    long long a = 0, b = -1;
    int n = range ? sscanf(range, "bytes=%lld-%lld", &a, &b) : 0;
    if (n >= 1) {
        from = a;
        if (n == 2 && b + 1 < to)
            to = b + 1;
        char text[96];
        if (a < 0 || from >= j->size || to <= from) {
            snprintf(text, sizeof(text), "bytes */%lld", (long long)j->size);
            ptl_answer_header(q, "Content-Range", text);
            ptl_answer_problem(q, 416, "the blob has %lld bytes", (long long)j->size);
            close(j->fd);
            free(j);
            return;
        }
        snprintf(text, sizeof(text), "bytes %lld-%lld/%lld", (long long)from, (long long)to - 1,
                 (long long)j->size);
        ptl_answer_header(q, "Content-Range", text);
    }
    struct evbuffer *out = evbuffer_new();
    if (to > from && evbuffer_add_file(out, j->fd, from, to - from) < 0) { /* takes the descriptor over */
        close(j->fd);
        ptl_answer_problem(q, 500, "blob %.12s… cannot be read", j->sha);
    } else {
        if (to == from)
            close(j->fd);
        ptl_answer_header(q, "ETag", j->sha);
        ptl_answer_buffer(q, n >= 1 ? 206 : 200, "application/octet-stream", out);
    }
    evbuffer_free(out);
    free(j);
}

static void on_may_read(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_request *q = ctx;
    if (err)
        ptl_answer_result(q, 200, err->code, NULL, err);
    else if (!ptl_row_bool(rows, 0, "allowed"))
        ptl_answer_problem(q, 404, "no blob %.12s… that this token may read", ptl_request_param(q, "sha256"));
    else
        submit(q, ptl_request_param(q, "sha256"), look, looked_get, (struct blob_job){0});
}

void ptl_on_get_blob(struct ptl_request *q)
{
    const char *sha = blob_name(q);
    const struct ptl_identity *who = ptl_request_identity(q);
    if (!sha)
        return;
    if (who->agent_id || who->project[0])
        with_read_right(q, sha, on_may_read);
    else
        submit(q, sha, look, looked_get, (struct blob_job){0});
}

/* A piece goes to uploads/<sha>.part at its offset, under a lock; the last one is verified and moved in. */
static void put(struct ptl_work *w)
{
    struct blob_job *j = (struct blob_job *)w;
    PTL_FREE char *path = ptl_blob_path(j->core, j->sha), *part = ptl_blob_upload_path(j->core, j->sha);
    struct stat st, named;
    if (stat(path, &st) == 0) {
        j->size = st.st_size;
        return;
    }
    j->size = -1;
    PTL_CLOSE int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0) {
        w->result = ptl_error_set(&j->err, -errno, "blob %.12s: its upload cannot be opened: %s", j->sha,
                                  strerror(errno));
        return;
    }
    /* Another piece has just ended it: what is open is the blob itself by now, under its own name, or nothing
     * that has one. */
    if (stat(part, &named) < 0 || named.st_dev != st.st_dev || named.st_ino != st.st_ino) {
        w->result = ptl_error_set(&j->err, -ESTALE,
                                  "blob %.12s: finished or dropped by another upload, ask again", j->sha);
        return;
    }
    j->have = st.st_size;
    if (j->from > j->have)
        return; /* a gap: say where to go on */
    if (j->to > j->have) {
        size_t skip = (size_t)(j->have - j->from);
        ssize_t n = pwrite(fd, (char *)j->data + skip, j->len - skip, j->have);
        if (n < 0) {
            w->result =
                ptl_error_set(&j->err, -errno, "blob %.12s: cannot be written: %s", j->sha, strerror(errno));
            return;
        }
        j->have += n;
    }
    if (j->have < j->total)
        return;
    char hex[PTL_SHA256_HEX];
    if (fsync(fd) < 0) {
        w->result =
            ptl_error_set(&j->err, -errno, "blob %.12s: cannot be written: %s", j->sha, strerror(errno));
        return;
    }
    if ((w->result = ptl_sha256_file(part, hex, NULL, &j->err)) < 0)
        return;
    if (!ptl_str_eq(hex, j->sha)) {
        unlink(part);
        w->result = ptl_error_set(
            &j->err, -ESTALE,
            "blob %.12s: the %lld bytes sent have another SHA-256 (%.12s…); the upload was dropped, begin again",
            j->sha, (long long)j->have, hex);
        return;
    }
    w->result = ptl_blob_adopt(j->core, j->sha, part, &j->err);
    j->size = j->have;
}

static void put_done(struct ptl_work *w)
{
    struct blob_job *j = (struct blob_job *)w;
    if (w->result < 0) {
        ptl_answer_result(j->q, 200, w->result, NULL, &j->err);
    } else if (j->size >= 0) {
        PTL_JSON *o = json_pack("{s:I}", "size_bytes", (json_int_t)j->size);
        ptl_answer_json(j->q, 201, o);
    } else {
        PTL_JSON *o = json_pack("{s:I}", "next_offset", (json_int_t)j->have);
        ptl_answer_json(j->q, 202, o);
    }
    free(j->data);
    free(j);
}

void ptl_on_put_blob(struct ptl_request *q)
{
    const char *sha = blob_name(q);
    if (!sha)
        return;
    size_t len;
    const void *data = ptl_request_bytes(q, &len);
    long long from = 0, last = (long long)len - 1, total = (long long)len;
    const char *range = ptl_request_header(q, "Content-Range");
    if (range && (sscanf(range, "bytes %lld-%lld/%lld", &from, &last, &total) != 3 || from < 0 ||
                  last - from + 1 != (long long)len || last >= total || total > 1LL << 40)) {
        ptl_answer_problem(q, 400, "Content-Range: expected 'bytes FIRST-LAST/TOTAL' that fits the body");
        return;
    }
    struct blob_job like = {
        .from = from, .to = from + (long long)len, .total = total, .len = len, .data = malloc(len + 1)};
    if (!like.data) {
        ptl_answer_problem(q, 503, "out of memory, try again in a moment");
        return;
    }
    memcpy(like.data, data, len);
    submit(q, sha, put, put_done, like);
}
