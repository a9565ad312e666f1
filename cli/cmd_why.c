/* cmd_why.c - portolan why RUN: what waits and for what, what is red and which lines say so. */
#include "cli.h"
#include "resolution.h"

enum { LIMIT = 500, FIX_MS = 10000, ASKED_MAX = 8 };

static void put_waiting(struct cli *c, const json_t *items)
{
    size_t i;
    json_t *s;
    json_array_foreach(items, i, s)
    {
        const char *state = ptl_json_str(s, "state", "waiting");
        PTL_BUF b = PTL_BUF_INIT;
        PTL_FREE char *name = cli_clean(ptl_json_str(s, "name", "?"));
        PTL_FREE char *why = cli_clean(ptl_json_str(s, "why", "?"));
        ptl_buf_printf(&b, "%s is ", name);
        cli_styled(&b, cli_state_style(state), c->color, state);
        ptl_buf_printf(&b, ": %s\n", why);
        cli_print_buf(c, &b);
    }
}

/* What fixed failures like it before: the likest one. An older server does not know, which is no reason to
 * fail. */
static void put_past_fix(struct cli *c, const json_t *stage, struct ptl_buf *b)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *list = NULL;
    int status = 0;
    int64_t attempt = ptl_json_i64(stage, "attempt_id", 0);
    PTL_FREE char *path = ptl_xasprintf("/api/v1/attempts/%lld/resolutions?limit=1", (long long)attempt);
    if (attempt <= 0 || ptl_client_json(c->client, "GET", path, NULL, FIX_MS, &status, &list, &err) != 0)
        return;
    const json_t *first = json_array_get(json_object_get(list, "items"), 0);
    if (first)
        cli_put_resolution(b, first, "  ", c->color);
}

/* What people said, what others were answered: beside the first red stages. */
static void ask_more(struct cli *c, json_t *stages)
{
    static const char *const members[] = {"feedback", "known_cases"};
    size_t i, asked = 0;
    json_t *s;
    json_array_foreach(stages, i, s)
    {
        int64_t id = ptl_json_i64(s, "attempt_id", 0);
        if (!ptl_str_eq(ptl_json_str(s, "state", ""), "red") || id <= 0 || asked++ == ASKED_MAX)
            continue;
        PTL_FREE char *one = ptl_xasprintf("/api/v1/attempts/%lld", (long long)id);
        PTL_JSON *attempt = cli_get_quietly(c, one);
        for (size_t k = 0; k < PTL_ARRAY_LEN(members); k++)
            if (json_object_get(attempt, members[k]))
                json_object_set(s, members[k], json_object_get(attempt, members[k]));
    }
}

int cli_cmd_why(struct cli *c)
{
    PTL_JSON *run = NULL;
    PTL_JSON *waiting = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i, told = 0;
    json_t *s;
    char name[128];
    int r = cli_run_get(c, cli_arg(c, 0), &run);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/runs/%lld/why", (long long)ptl_json_i64(run, "id", 0));
    r = cli_get(c, path, &waiting);
    if (r)
        return r;
    json_t *items = json_object_get(waiting, "items");
    ask_more(c, json_object_get(run, "stages"));
    if (c->json) {
        PTL_JSON *red = json_array();
        json_array_foreach(json_object_get(run, "stages"), i,
                           s) if (ptl_str_eq(ptl_json_str(s, "state", ""), "red")) json_array_append(red, s);
        PTL_JSON *o = json_pack("{s:O,s:O?,s:O,s:O}", "state", json_object_get(run, "state"), "message",
                                json_object_get(run, "message"), "waiting", items, "red", red);
        return cli_print_json(c, o);
    }
    cli_run_name(run, name);
    const char *state = ptl_json_str(run, "state", "?"), *message = ptl_json_str(run, "message", NULL);
    ptl_buf_printf(&b, "%s is ", name);
    cli_styled(&b, cli_state_style(state), c->color, state);
    PTL_FREE char *clean = cli_clean(message);
    ptl_buf_printf(&b, "%s%s\n", *clean ? ": " : "", clean);
    cli_print_buf(c, &b);
    ptl_buf_clear(&b);
    put_waiting(c, items);
    told = json_array_size(items);
    json_array_foreach(json_object_get(run, "stages"), i, s)
    {
        const char *of = ptl_json_str(s, "state", "");
        if (ptl_str_eq(of, "red")) {
            cli_show_red(&b, s, true, c->width, c->color);
            put_past_fix(c, s, &b);
            told++;
        } else if (ptl_str_eq(of, "skipped") || ptl_str_eq(of, "cancelled")) {
            PTL_FREE char *stage = cli_clean(ptl_json_str(s, "name", "?"));
            PTL_FREE char *why = cli_clean(ptl_json_str(s, "message", ""));
            ptl_buf_printf(&b, "%s is %s%s%s\n", stage, of, *why ? ": " : "", why);
            told++;
        }
    }
    cli_print_buf(c, &b);
    if (told == 0 && ptl_str_eq(state, "running"))
        cli_print(c, "no stage waits: all that is left runs now\n");
    else if (told == 0 && ptl_str_eq(state, "preparing"))
        cli_print(c, "the repository is being fetched and the pipeline file planned\n");
    return 0;
}
