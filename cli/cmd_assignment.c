/* cmd_assignment.c - portolan assign, take, handback; portolan assignment list, show, comment, done, due,
 * check, watch, unwatch. A thing that was given out is named by its own id or by its stage. */
#include "cli.h"
#include <portolan/clock.h>
#include <time.h>

enum { LIMIT = 50 };

/* "2d" from now, "2026-12-24" (the end of that day here) or a full time, as RFC 3339. Caller frees; NULL:
 * said. */
static char *due_time(struct cli *c, const char *text)
{
    char at[32];
    int64_t ms;
    struct tm tm = {.tm_isdst = -1};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (end && !*end) {
        tm.tm_hour = 23;
        tm.tm_min = 59;
        ptl_wall_rfc3339((int64_t)mktime(&tm) * 1000, at);
        return ptl_xstrdup(at);
    }
    if (cli_time_parse(text) >= 0)
        return ptl_xstrdup(text);
    if (ptl_duration_parse(text, &ms) == 0) {
        ptl_wall_rfc3339(ptl_wall_ms() + ms, at);
        return ptl_xstrdup(at);
    }
    cli_fail(c, CLI_USAGE,
             "--due %s: expected a day (2026-12-24), a time (2026-12-24T17:00:00Z) or how long from now (2d)",
             text);
    return NULL;
}

static int common(struct cli *c, json_t *body)
{
    if (cli_text(c, "comment"))
        json_object_set_new(body, "comment", json_string(cli_text(c, "comment")));
    if (cli_text(c, "due")) {
        PTL_FREE char *due = due_time(c, cli_text(c, "due"));
        if (!due)
            return CLI_USAGE;
        json_object_set_new(body, "due_at", json_string(due));
    }
    return 0;
}

/* The assignment that a person named: its id, or RUN/STAGE (the open one, else the newest). */
static int find(struct cli *c, const char *text, bool by_stage, json_t **ret)
{
    PTL_JSON *stage = NULL;
    PTL_JSON *list = NULL;
    int r;
    if (!by_stage && !strchr(text, '/')) {
        PTL_FREE char *path = cli_path("/api/v1/assignments/{}", text, NULL);
        return cli_get(c, path, ret);
    }
    if ((r = cli_stage_get(c, text, &stage)))
        return r;
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/assignments?limit=1&stage=%lld", (long long)ptl_json_i64(stage, "id", 0));
    if ((r = cli_get(c, path, &list)))
        return r;
    json_t *first = json_array_get(json_object_get(list, "items"), 0);
    if (!first)
        return cli_fail(c, CLI_ABSENT, "stage %s is with nobody; portolan take %s takes it", text, text);
    *ret = json_incref(first);
    return 0;
}

static int patch(struct cli *c, const json_t *assignment, json_t *body, json_t **ret)
{
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/assignments/%lld", (long long)ptl_json_i64(assignment, "id", 0));
    return cli_call(c, "PATCH", path, body, ret);
}

static int told(struct cli *c, const json_t *a)
{
    char at[32];
    if (c->json)
        return cli_print_json(c, a);
    const char *person = ptl_json_str(a, "person", NULL);
    PTL_FREE char *stage = cli_clean(ptl_json_str(a, "stage", "?"));
    cli_print(c, "assignment %lld: %s of %s#%lld is %s%s%s%s%s\n", (long long)ptl_json_i64(a, "id", 0), stage,
              ptl_json_str(a, "project", "?"), (long long)ptl_json_i64(a, "run_number", 0),
              ptl_str_eq(ptl_json_str(a, "state", ""), "free") ? "free again" : ptl_json_str(a, "state", "?"),
              person ? ", with " : "", person ? person : "", ptl_json_str(a, "due_at", NULL) ? ", due " : "",
              ptl_json_str(a, "due_at", NULL) ? cli_time_of(a, "due_at", at) : "");
    return 0;
}

static int give(struct cli *c, const char *person)
{
    PTL_JSON *stage = NULL;
    PTL_JSON *answer = NULL;
    int r = cli_stage_get(c, cli_arg(c, 0), &stage);
    if (r)
        return r;
    PTL_JSON *body = json_pack("{s:I}", "stage_id", (json_int_t)ptl_json_i64(stage, "id", 0));
    if (person)
        json_object_set_new(body, "person", json_string(person));
    if ((r = common(c, body)))
        return r;
    if (person && cli_flag(c, "reassign")) {
        PTL_JSON *open = NULL;
        if ((r = find(c, cli_arg(c, 0), true, &open)))
            return r;
        json_object_del(body, "stage_id");
        json_object_set_new(body, "action", json_string("reassign"));
        r = patch(c, open, body, &answer);
    } else {
        r = cli_call(c, "POST", "/api/v1/assignments", body, &answer);
    }
    return r ? r : told(c, answer);
}

int cli_cmd_assign(struct cli *c)
{
    return give(c, cli_arg(c, 1));
}

int cli_cmd_take(struct cli *c)
{
    return give(c, NULL);
}

static int act(struct cli *c, const char *action, bool by_stage)
{
    PTL_JSON *a = NULL;
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:s}", "action", action);
    int r = find(c, cli_arg(c, 0), by_stage, &a);
    if (!r)
        r = common(c, body);
    if (!r)
        r = patch(c, a, body, &answer);
    return r ? r : told(c, answer);
}

int cli_cmd_handback(struct cli *c)
{
    return act(c, "hand_back", true);
}

int cli_cmd_assignment_done(struct cli *c)
{
    return act(c, "done", false);
}

int cli_cmd_assignment_due(struct cli *c)
{
    PTL_JSON *a = NULL;
    PTL_JSON *answer = NULL;
    int r = find(c, cli_arg(c, 0), false, &a);
    if (r)
        return r;
    PTL_FREE char *due = ptl_str_eq(cli_arg(c, 1), "none") ? NULL : due_time(c, cli_arg(c, 1));
    if (!due && !ptl_str_eq(cli_arg(c, 1), "none"))
        return CLI_USAGE;
    PTL_JSON *body = json_pack("{s:s?}", "due_at", due);
    r = patch(c, a, body, &answer);
    return r ? r : told(c, answer);
}

static int below(struct cli *c, const char *method, const char *what, const json_t *body)
{
    PTL_JSON *a = NULL;
    PTL_JSON *answer = NULL;
    int r = find(c, cli_arg(c, 0), false, &a);
    if (r)
        return r;
    PTL_FREE char *path =
        ptl_xasprintf("/api/v1/assignments/%lld/%s", (long long)ptl_json_i64(a, "id", 0), what);
    r = cli_call(c, method, path, body, &answer);
    return r ? r : told(c, answer);
}

int cli_cmd_assignment_comment(struct cli *c)
{
    PTL_JSON *body = json_pack("{s:s}", "text", cli_arg(c, 1));
    return body ? below(c, "POST", "comments", body) : cli_fail(c, CLI_USAGE, "TEXT: expected UTF-8 text");
}

int cli_cmd_assignment_check(struct cli *c)
{
    PTL_JSON *body = json_pack("{s:b}", "done", !cli_flag(c, "undo"));
    char *end;
    long n = strtol(cli_arg(c, 1), &end, 10);
    if (*end || n < 1)
        return cli_fail(c, CLI_USAGE,
                        "'%s': expected the number of a point as assignment show counts them, from 1",
                        cli_arg(c, 1));
    PTL_FREE char *what = ptl_xasprintf("checklist/%ld", n - 1);
    return below(c, "PUT", what, body);
}

static int watch(struct cli *c, const char *method)
{
    PTL_FREE char *what = cli_text(c, "person") ? cli_path("watch?person={}", cli_text(c, "person"), NULL)
                                                : ptl_xstrdup("watch");
    return below(c, method, what, NULL);
}

int cli_cmd_assignment_watch(struct cli *c)
{
    return watch(c, "PUT");
}

int cli_cmd_assignment_unwatch(struct cli *c)
{
    return watch(c, "DELETE");
}

static void assignment_row(struct cli_table *t, const json_t *a)
{
    char at[32];
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(a, "id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s#%lld", ptl_json_str(a, "project", "?"),
                   (long long)ptl_json_i64(a, "run_number", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "stage", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "person", ""));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "state", ""));
    cli_table_cell(t, CLI_PLAIN, json_is_number(json_object_get(a, "p")) ? "%.0f %%" : "-",
                   ptl_json_num(a, "p", 0) * 100);
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(a, "due_at", at));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(a, "created_at", at));
}

int cli_cmd_assignment_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",    true,  false},
        {"RUN",   false, true },
        {"STAGE", false, true },
        {"WHO",   false, true },
        {"STATE", false, false},
        {"RISK",  true,  false},
        {"DUE",   false, false},
        {"SINCE", false, false}
    };
    static const struct cli_listing listing = {columns, PTL_ARRAY_LEN(columns), assignment_row, "before",
                                               "nothing is given out; see: portolan board"};
    PTL_BUF url = PTL_BUF_INIT;
    const char *state = cli_text(c, "state");
    ptl_buf_printf(&url, "/api/v1/assignments?state=%s", state ? state : "open");
    if (cli_text(c, "person")) {
        PTL_FREE char *q = cli_path("&person={}", cli_text(c, "person"), NULL);
        ptl_buf_puts(&url, q);
    }
    if (cli_project(c)) {
        PTL_FREE char *q = cli_path("&project={}", cli_project(c), NULL);
        ptl_buf_puts(&url, q);
    }
    return cli_list_show(c, ptl_buf_str(&url), &listing);
}

static void show_history(struct ptl_buf *b, const json_t *a)
{
    size_t i;
    json_t *h;
    ptl_buf_puts(b, "\nhistory\n");
    json_array_foreach(json_object_get(a, "history"), i, h)
    {
        char at[32];
        PTL_FREE char *text = cli_clean(ptl_json_str(h, "text", ""));
        PTL_FREE char *actor = cli_clean(ptl_json_str(h, "actor", "?"));
        const char *action = ptl_json_str(h, "action", "?"), *to = ptl_json_str(h, "person", NULL);
        bool names = to && (ptl_str_eq(action, "assigned") || ptl_str_eq(action, "reassigned"));
        ptl_buf_printf(b, "  %s  %s: %s%s%s%s%s\n", cli_time_of(h, "at", at), actor, action,
                       names ? " to " : "", names ? to : "", *text ? ": " : "", text);
    }
}

int cli_cmd_assignment_show(struct cli *c)
{
    PTL_JSON *found = NULL;
    PTL_JSON *a = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *p;
    char at[32];
    int r = find(c, cli_arg(c, 0), false, &found);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/assignments/%lld", (long long)ptl_json_i64(found, "id", 0));
    if ((r = cli_get(c, path, &a)))
        return r;
    if (c->json)
        return cli_print_json(c, a);
    told(c, a);
    const char *diagnosis = ptl_json_str(a, "diagnosis", NULL),
               *challenge = ptl_json_str(a, "challenge", NULL);
    if (diagnosis || challenge) {
        PTL_FREE char *clean = cli_clean(diagnosis ? diagnosis : challenge);
        ptl_buf_printf(&b, "%s: %s\n", diagnosis ? "why it failed" : "most likely trouble", clean);
    }
    ptl_buf_printf(&b, "given out by %s, %s\n", ptl_json_str(a, "created_by", "?"),
                   cli_time_of(a, "created_at", at));
    if (json_array_size(json_object_get(a, "checklist")))
        ptl_buf_puts(&b, "\nto go through\n");
    json_array_foreach(json_object_get(a, "checklist"), i, p)
    {
        PTL_FREE char *text = cli_clean(ptl_json_str(p, "text", ""));
        ptl_buf_printf(&b, "  %2zu [%c] %s\n", i + 1, ptl_json_flag(p, "done", false) ? 'x' : ' ', text);
    }
    show_history(&b, a);
    if (json_array_size(json_object_get(a, "watchers"))) {
        ptl_buf_puts(&b, "\nwatched by ");
        json_array_foreach(json_object_get(a, "watchers"), i, p)
            ptl_buf_printf(&b, "%s%s", i ? ", " : "", json_string_value(p));
        ptl_buf_puts(&b, "\n");
    }
    cli_print_buf(c, &b);
    return 0;
}
