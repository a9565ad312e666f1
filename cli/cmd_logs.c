/* cmd_logs.c - portolan logs: the bytes of an attempt's log, whole or as it grows. The bytes always come from
 * the log itself by offset; the event stream only says that there are more, because an event is text and a
 * log need not be. */
#include "cli.h"

enum { RETRY_MS = 300000, TIMEOUT_MS = 60000, PAGE_MAX = 8 << 20 };

struct reading {
    struct cli *c;
    char *path; /* /api/v1/attempts/ID/log */
    int64_t offset;
    bool clean;
    struct cli_log_filter filter;
    int exit;
};

static int put(struct reading *l, const void *data, size_t len)
{
    PTL_BUF b = PTL_BUF_INIT;
    if (l->clean) {
        cli_log_clean(&l->filter, data, len, &b);
        cli_print_buf(l->c, &b);
    } else {
        fwrite(data, 1, len, l->c->out);
    }
    l->offset += (int64_t)len;
    return ferror(l->c->out) ? CLI_FAILED : 0;
}

/* Reads on from the offset until the server has no more now. */
static int read_on(struct reading *l, bool *ret_complete)
{
    for (;;) {
        struct ptl_error err = PTL_ERROR_INIT;
        struct ptl_http_request req = {
            .method = "GET", .timeout_ms = TIMEOUT_MS, .max_answer_bytes = PAGE_MAX};
        struct ptl_http_answer a = {0};
        char next[32] = "", complete[8] = "";
        PTL_FREE char *path = ptl_xasprintf("%s?offset=%lld", l->path, (long long)l->offset);
        int r = ptl_client_raw(l->c->client, path, &req, &a, &err);
        int status = a.status;
        if (r == 0 && status / 100 == 2) {
            ptl_http_answer_header(&a, "X-Portolan-Next-Offset", next, sizeof(next));
            ptl_http_answer_header(&a, "X-Portolan-Log-Complete", complete, sizeof(complete));
            int64_t to = *next ? strtoll(next, NULL, 10) : l->offset + (int64_t)a.body.len;
            bool moved = a.body.len > 0;
            r = put(l, ptl_buf_str(&a.body), a.body.len);
            if (to > l->offset) { /* a gap: bytes that the server does not have (any more) */
                cli_warn(l->c, "%lld bytes of the log are missing here", (long long)(to - l->offset));
                l->offset = to;
                moved = true;
            }
            ptl_http_answer_done(&a);
            if (r || !moved) {
                *ret_complete = ptl_str_eq(complete, "true");
                return r;
            }
            continue;
        }
        if (r == 0) { /* a problem document */
            PTL_JSON *problem = json_loadb(ptl_buf_str(&a.body), a.body.len, 0, NULL);
            ptl_error_set(
                &err, -EPROTO, "%s",
                ptl_json_str(problem, "detail", ptl_json_str(problem, "title", "the log cannot be read")));
        }
        ptl_http_answer_done(&a);
        return cli_api_failed(l->c, r, status, &err);
    }
}

static int on_event(void *ctx, const char *id, const char *event, const char *data, size_t len)
{
    struct reading *l = ctx;
    bool complete = false;
    (void)id;
    if (ptl_str_eq(event, "log")) {
        PTL_JSON *o = NULL;
        const char *text = NULL;
        if (ptl_json_parse(data, len, "event", &o, NULL) == 0)
            text = ptl_json_str(o, "text", NULL);
        int64_t next = ptl_json_i64(o, "next_offset", -1);
        /* Exact when nothing in it had to be replaced: then the length tells so. */
        if (text && next - l->offset == (int64_t)strlen(text) && !strstr(text, "\xef\xbf\xbd"))
            l->exit = put(l, text, strlen(text));
        else if (next > l->offset)
            l->exit = read_on(l, &complete);
    } else if (ptl_str_eq(event, "end")) {
        l->exit = read_on(l, &complete);
        complete = true;
    }
    fflush(l->c->out);
    return l->exit || complete || ferror(l->c->out);
}

int cli_cmd_logs(struct cli *c)
{
    struct reading l = {
        .c = c, .offset = cli_int(c, "offset", 0), .clean = c->out_tty && !cli_flag(c, "raw")};
    int64_t id;
    bool complete = false;
    int r = cli_attempt_id(c, cli_arg(c, 0), &id);
    if (r == 0)
        r = cli_settle(c);
    if (r)
        return r;
    PTL_FREE char *path = l.path = ptl_xasprintf("/api/v1/attempts/%lld/log", (long long)id);
    r = read_on(&l, &complete);
    fflush(c->out);
    if (r || complete)
        return r;
    if (!cli_flag(c, "follow")) {
        cli_note(c, "the attempt goes on; portolan logs -f %lld --offset %lld follows it", (long long)id,
                 (long long)l.offset);
        return 0;
    }
    PTL_FREE char *stream = ptl_xasprintf("%s/stream?offset=%lld", path, (long long)l.offset);
    r = cli_follow(c, stream, cli_int(c, "retry", RETRY_MS), on_event, &l);
    return r ? r : l.exit;
}
