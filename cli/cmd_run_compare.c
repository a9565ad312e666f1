/* cmd_run_compare.c - portolan run compare RUN: what differs from the last good run, or from another. */
#include "cli.h"

enum { NAME_WIDTH = 12 };

static void put_side(struct ptl_buf *b, const char *title, const json_t *run)
{
    char at[32];
    PTL_FREE char *message = cli_clean(ptl_json_str(run, "message", ""));
    PTL_FREE char *ref = cli_clean(ptl_json_str(run, "ref", ""));
    char *end = message + strcspn(message, "\n");
    *end = 0;
    ptl_buf_printf(b, "%-*s #%lld  %.12s %s (%s%s%s)\n", NAME_WIDTH, title,
                   (long long)ptl_json_i64(run, "number", 0), ptl_json_str(run, "commit", "?"), message, ref,
                   ptl_json_str(run, "at", NULL) ? ", " : "",
                   ptl_json_str(run, "at", NULL) ? cli_time_of(run, "at", at) : "");
}

static void put_value(struct ptl_buf *b, const json_t *v)
{
    if (json_is_string(v)) {
        PTL_FREE char *text = cli_clean(json_string_value(v));
        ptl_buf_puts(b, text);
    } else if (json_is_number(v)) {
        ptl_buf_printf(b, "%.6g", json_number_value(v));
    } else {
        ptl_buf_puts(b, "none");
    }
}

/* "title  name before -> after", a line each. */
static size_t put_changes(struct ptl_buf *b, const char *title, const json_t *list, const char *name)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)list, i, v)
    {
        PTL_FREE char *what = cli_clean(ptl_json_str(v, name, "?"));
        ptl_buf_printf(b, "%-*s %s ", NAME_WIDTH, i ? "" : title, what);
        put_value(b, json_object_get(v, "before"));
        ptl_buf_puts(b, " -> ");
        put_value(b, json_object_get(v, "after"));
        ptl_buf_puts(b, "\n");
    }
    return i;
}

static size_t put_texts(struct ptl_buf *b, const char *title, const json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)list, i, v)
    {
        PTL_FREE char *text = cli_clean(json_string_value(v));
        ptl_buf_printf(b, "%-*s %s\n", NAME_WIDTH, i ? "" : title, text);
    }
    return i;
}

static size_t put_commits(struct ptl_buf *b, const json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)list, i, v)
    {
        PTL_FREE char *subject = cli_clean(ptl_json_str(v, "subject", ""));
        PTL_FREE char *author = cli_clean(ptl_json_str(v, "author", ""));
        ptl_buf_printf(b, "%-*s %.12s %s (%s)\n", NAME_WIDTH, i ? "" : "commits", ptl_json_str(v, "sha", ""),
                       subject, author);
    }
    return i;
}

int cli_cmd_run_compare(struct cli *c)
{
    PTL_JSON *o = NULL;
    PTL_BUF b = PTL_BUF_INIT, path = PTL_BUF_INIT;
    int64_t run_id, with_id = 0;
    int r = cli_run_id(c, cli_arg(c, 0), &run_id);
    if (r == 0 && cli_text(c, "with"))
        r = cli_run_id(c, cli_text(c, "with"), &with_id);
    if (r)
        return r;
    ptl_buf_printf(&path, "/api/v1/runs/%lld/compare?with=%lld", (long long)run_id, (long long)with_id);
    if (cli_text(c, "stage")) {
        PTL_FREE char *stage = cli_path("&stage={}", cli_text(c, "stage"), NULL);
        ptl_buf_puts(&path, stage);
    }
    if ((r = cli_get(c, ptl_buf_str(&path), &o)))
        return r;
    if (c->json)
        return cli_print_json(c, o);
    if (!json_is_object(json_object_get(o, "with")))
        return cli_fail(c, CLI_ABSENT, "%s", ptl_json_str(o, "why", "there is nothing to compare with"));
    put_side(&b, "this run", json_object_get(o, "run"));
    put_side(&b, with_id ? "beside" : "last good", json_object_get(o, "with"));
    if (ptl_json_str(o, "stage", NULL)) {
        PTL_FREE char *stage = cli_clean(ptl_json_str(o, "stage", ""));
        ptl_buf_printf(&b, "%-*s %s\n", NAME_WIDTH, "stage", stage);
    }
    size_t n = put_changes(&b, "where", json_object_get(o, "where"), "name");
    n += put_changes(&b, "environment", json_object_get(o, "environment"), "tool");
    put_changes(&b, "figures", json_object_get(o, "figures"), "name");
    n += put_commits(&b, json_object_get(o, "commits"));
    n += put_texts(&b, "files", json_object_get(o, "files"));
    put_texts(&b, "left out", json_object_get(o, "cuts"));
    if (n == 0)
        ptl_buf_puts(&b, "nothing that is known differs: the same commit, environment and agent\n");
    cli_print_buf(c, &b);
    cli_print_diff(c, ptl_json_str(o, "diff", NULL));
    return 0;
}
