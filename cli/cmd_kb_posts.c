/* cmd_kb_posts.c - portolan kb import-posts: questions that others asked, into the user's own database, a
 * batch at a time. */
#include "kb_tool.h"
#include "posts.h"
#include <portolan/fs.h>
#include <portolan/http.h>

enum { BATCH = 200, BATCH_BYTES = 4 << 20 };

struct sums {
    int64_t added, changed, same;
    json_t *unplaced; /* label -> true */
};

static int send(struct cli *c, json_t *batch, struct sums *s)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:O}", "cases", batch);
    size_t i;
    json_t *v;
    int r = json_array_size(batch) ? cli_call(c, "POST", "/api/v1/kb/cases", body, &answer) : 0;
    if (r)
        return r;
    s->added += ptl_json_i64(answer, "added", 0);
    s->changed += ptl_json_i64(answer, "changed", 0);
    s->same += ptl_json_i64(answer, "same", 0);
    json_array_foreach(json_object_get(answer, "unplaced"), i, v)
        json_object_set_new(s->unplaced, json_string_value(v), json_true());
    json_array_clear(batch);
    return 0;
}

static int send_all(struct cli *c, const json_t *cases, struct sums *s)
{
    PTL_JSON *batch = json_array();
    const char *id;
    size_t bytes = 0;
    json_t *v;
    int r = 0;
    json_object_foreach((json_t *)cases, id, v)
    {
        size_t size = json_string_length(json_object_get(v, "text")) + 2000;
        if (json_array_size(batch) == BATCH || bytes + size > BATCH_BYTES) {
            if ((r = send(c, batch, s)))
                return r;
            bytes = 0;
        }
        json_array_append(batch, v);
        bytes += size;
    }
    return send(c, batch, s);
}

int cli_cmd_kb_import_posts(struct cli *c)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_CLEANUP(cli_posts_done) struct cli_posts p = {0};
    PTL_JSON *unplaced = json_object();
    struct sums s = {.unplaced = unplaced};
    const char *label, *id;
    json_t *v;
    size_t labelled = 0;
    int r = cli_posts_read(cli_arg(c, 0), &p, &err);
    if (r < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    size_t n = json_object_size(p.cases);
    if (n == 0)
        return cli_fail(
            c, CLI_FAILED,
            "%s: no posts: expected files of JSON lines whose name says server, mobile or browser, or zips of such",
            cli_arg(c, 0));
    json_object_foreach(p.cases, id, v) labelled += json_array_size(json_object_get(v, "labels")) > 0;
    if (!cli_flag(c, "dry-run") && (r = send_all(c, p.cases, &s)))
        return r;
    PTL_JSON *o = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O}", "posts", (json_int_t)n, "labelled",
                            (json_int_t)labelled, "labels", (json_int_t)json_object_size(p.labels),
                            "broken_lines", (json_int_t)p.broken, "added", (json_int_t)s.added, "changed",
                            (json_int_t)s.changed, "same", (json_int_t)s.same, "unplaced", unplaced);
    if (c->json)
        return cli_print_json(c, o);
    cli_print(c, "%zu posts in %zu files, %zu of them with a label of %zu in %zu workbooks", n, p.files,
              labelled, json_object_size(p.labels), p.books);
    if (p.broken)
        cli_print(c, "; %zu lines were no posts", p.broken);
    cli_print(c, "\n");
    if (!cli_flag(c, "dry-run"))
        cli_print(c, "%lld added, %lld changed, %lld as they were\n", (long long)s.added,
                  (long long)s.changed, (long long)s.same);
    json_object_foreach(unplaced, label, v)
    {
        PTL_FREE char *clean = cli_clean(label);
        cli_warn(c, "no node fits the label '%s': its posts are found by words only", clean);
    }
    return 0;
}

/* ---- portolan kb cases list, export */
int cli_cmd_kb_cases_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",        false, false},
        {"CHALLENGE", false, true },
        {"ANSWERED",  false, false},
        {"TITLE",     false, true },
        {"URL",       false, false},
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    const char *words = cli_text(c, "words"), *challenge = cli_text(c, "challenge");
    PTL_FREE char *q = ptl_url_encode(words ? words : "");
    PTL_FREE char *of = ptl_url_encode(challenge ? challenge : "");
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/kb/cases%s%s%s%s%s", challenge || words ? "?" : "",
                      challenge ? "challenge=" : "", of, words ? challenge ? "&q=" : "q=" : "", q);
    int r = cli_list(c, path, "after", NULL, cli_int(c, "limit", 50), &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, v)
    {
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(v, "id", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(v, "challenge_id", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_flag(v, "answered", false) ? "yes" : "");
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(v, "title", ""));
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(v, "url", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    if (cli_table_rows(t) == 0)
        cli_note(c, "no known case; portolan kb import-posts DIR loads some");
    cli_note_more(c, list, "after");
    return 0;
}

enum { EXPORT_MAX = 1 << 30, EXPORT_MS = 600000 };
static const char END[] = "{\"end\":true}\n"; /* the server's last line: all is there */

int cli_kb_cases_to(struct cli *c, const char *file)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_http_request req = {.method = "GET", .timeout_ms = EXPORT_MS, .max_answer_bytes = EXPORT_MAX};
    struct ptl_http_answer a = {0};
    int r = cli_settle(c);
    if (r)
        return r;
    r = ptl_client_raw(c->client, "/api/v1/kb/cases/export", &req, &a, &err);
    size_t n = a.body.len, end = sizeof(END) - 1;
    if (r < 0 || a.status / 100 != 2) {
        int status = a.status;
        ptl_http_answer_done(&a);
        return cli_api_failed(c, r, status, &err);
    }
    if (n < end || memcmp(a.body.data + n - end, END, end) != 0)
        r = cli_fail(c, CLI_UNREACHED, "the server broke off in the middle; again in a moment");
    else if (ptl_str_eq(file, "-"))
        r = fwrite(ptl_buf_str(&a.body), 1, n - end, c->out) == n - end
                ? 0
                : cli_fail(c, CLI_FAILED, "standard output: cannot be written");
    else if (ptl_fs_write_atomic(file, ptl_buf_str(&a.body), n - end, 0600, &err) < 0)
        r = cli_fail(c, CLI_FAILED, "%s", err.text);
    ptl_http_answer_done(&a);
    return r;
}

int cli_cmd_kb_cases_export(struct cli *c)
{
    const char *file = cli_arg(c, 0);
    int r = cli_kb_cases_to(c, file);
    if (r == 0 && !ptl_str_eq(file, "-"))
        cli_note(c,
                 "next: portolan kb train %s, then portolan kb model set text.bin; without files, kb train "
                 "does all of it",
                 file);
    return r;
}
