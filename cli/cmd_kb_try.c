/* cmd_kb_try.c - portolan kb try, apply: what an indicator would do to past failures, and doing it. */
#include "kb.h"
#include <portolan/fs.h>

enum { TRY_MS = 120000 }; /* a second knowledge base is compiled for it, on a machine that may be busy */

static const char *answer_or(const json_t *m, const char *key)
{
    return ptl_json_str(m, key, "unclear");
}

static void put_matches(struct cli *c, const json_t *matched)
{
    static const struct cli_column columns[] = {
        {"ATTEMPT", true,  false},
        {"STAGE",   false, true },
        {"BEFORE",  false, true },
        {"AFTER",   false, true },
        {"LINE",    true,  false},
        {"TEXT",    false, true }
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *m;
    json_array_foreach(matched, i, m)
    {
        bool same = ptl_json_flag(m, "same", false);
        const char *log = ptl_json_str(m, "log", NULL);
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(m, "attempt_id", 0));
        cli_table_cell(t, CLI_PLAIN, "%s#%lld %s", ptl_json_str(m, "project", "?"),
                       (long long)ptl_json_i64(m, "run_number", 0), ptl_json_str(m, "stage", "?"));
        cli_table_cell(t, same ? CLI_DIM : CLI_RED, "%s", answer_or(m, "before"));
        cli_table_cell(t, same ? CLI_DIM : CLI_GREEN, "%s", same ? "the same" : answer_or(m, "after"));
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(m, "line", 0));
        cli_table_cell(t, CLI_PLAIN, "%s%s%s", log ? log : "", log ? ": " : "",
                       ptl_json_str(m, "text", ptl_json_i64(m, "line", 0) ? "" : "(a fact of the attempt)"));
    }
    if (cli_table_rows(t))
        cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
}

/* "3 gained: 2 server/…, 1 …" */
static void put_tally(struct cli *c, const char *title, const json_t *list)
{
    PTL_JSON *count = json_object();
    PTL_BUF b = PTL_BUF_INIT;
    const char *id;
    size_t i;
    json_t *v;
    if (json_array_size(list) == 0)
        return;
    json_array_foreach(list, i, v)
    {
        id = ptl_json_str(v, "challenge", ptl_json_str(v, "said", "?"));
        json_object_set_new(count, id, json_integer(json_integer_value(json_object_get(count, id)) + 1));
    }
    ptl_buf_printf(&b, "%zu %s:", json_array_size(list), title);
    json_object_foreach(count, id, v)
    {
        PTL_FREE char *clean = cli_clean(id);
        ptl_buf_printf(&b, " %lld %s", (long long)json_integer_value(v), clean);
    }
    ptl_buf_putc(&b, '\n');
    cli_print_buf(c, &b);
}

int cli_cmd_kb_try(struct cli *c)
{
    const char *what = cli_arg(c, 0);
    PTL_JSON *body = json_object();
    PTL_JSON *doc = NULL;
    PTL_JSON *got = NULL;
    size_t n, i;
    json_t *v;
    int r;
    if (ptl_str_eq(what, "-") || ptl_fs_exists(what)) {
        if ((r = cli_kb_read_yaml(c, what, &doc)))
            return r;
        const json_t *object = cli_kb_objects(doc, 0, &n);
        if (n != 1)
            return cli_fail(c, CLI_USAGE, "%s holds %zu indicators; one at a time is tried", what, n);
        json_object_set(body, "indicator", (json_t *)(uintptr_t)object);
    } else {
        json_object_set_new(body, "id", json_string(what));
    }
    if (cli_text(c, "project"))
        json_object_set_new(body, "project", json_string(cli_text(c, "project")));
    json_object_set_new(body, "limit", json_integer(cli_int(c, "limit", 200)));
    if (cli_int(c, "before", 0))
        json_object_set_new(body, "before", json_integer(cli_int(c, "before", 0)));
    if ((r = cli_call_within(c, TRY_MS, "POST", "/api/v1/kb/try", body, &got)))
        return r;
    if (c->json)
        return cli_print_json(c, got);
    put_matches(c, json_object_get(got, "matched"));
    cli_print(c, "%lld past failures looked at, it speaks on %lld\n",
              (long long)ptl_json_i64(got, "scanned", 0), (long long)ptl_json_i64(got, "matched_count", 0));
    put_tally(c, "gained", json_object_get(got, "gained"));
    put_tally(c, "lost", json_object_get(got, "lost"));
    put_tally(c, "against what a person said", json_object_get(got, "contradicts"));
    json_array_foreach(json_object_get(got, "cut"), i, v) cli_note(c, "%s", json_string_value(v));
    if (json_is_integer(json_object_get(got, "next")))
        cli_note(c, "there are older failures: --before %lld goes on",
                 (long long)json_integer_value(json_object_get(got, "next")));
    return 0;
}

/* ---- apply */
static void put_progress(struct cli *c, const json_t *job)
{
    const char *state = ptl_json_str(job, "state", "?");
    int64_t total = ptl_json_i64(job, "total", -1), done = ptl_json_i64(job, "done", 0);
    if (ptl_str_eq(state, "none"))
        cli_print(c, "history was not labelled anew yet\n");
    else if (total < 0) /* a confined token is not told how many there are */
        cli_print(c, "%s\n", state);
    else
        cli_print(c, "%s: %lld of %lld past failures, %lld answers changed\n", state, (long long)done,
                  (long long)total, (long long)ptl_json_i64(job, "changed", 0));
    fflush(c->out);
}

static bool is_over(const json_t *job)
{
    return !ptl_str_eq(ptl_json_str(job, "state", ""), "running");
}

int cli_cmd_kb_apply(struct cli *c)
{
    PTL_JSON *got = NULL;
    int r = cli_flag(c, "status") ? cli_get(c, "/api/v1/kb/apply", &got)
                                  : cli_call(c, "POST", "/api/v1/kb/apply", NULL, &got);
    if (r)
        return r;
    PTL_JSON *job = json_incref(json_object_get(got, "job") ? json_object_get(got, "job") : got);
    if (!cli_flag(c, "watch"))
        return c->json ? cli_print_json(c, job) : (put_progress(c, job), 0);
    int64_t told = -1;
    while (!is_over(job)) {
        if (!c->json && ptl_json_i64(job, "done", 0) != told)
            put_progress(c, job);
        told = ptl_json_i64(job, "done", 0);
        cli_pause(1000);
        json_decref(job);
        job = NULL;
        if ((r = cli_get(c, "/api/v1/kb/apply", &job)))
            return r;
    }
    if (c->json)
        return cli_print_json(c, job);
    put_progress(c, job);
    return 0;
}
