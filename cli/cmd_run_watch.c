/* cmd_run_watch.c - portolan run watch: the event stream says when to look, the run itself says what is. So
 * nothing is missed by a break, and a burst of events costs one question. */
#include "watch.h"
#include <portolan/clock.h>
#include <portolan/wire.h>

enum { RETRY_MS = 300000, LOOK_MS = 60000, TICK_MS = 1000, CALM_MS = 200, DIAGNOSIS_MS = 10000 };

void cli_print_run(struct cli *c, const json_t *run)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *stage;
    cli_show_head(&b, run, c->width, c->color);
    ptl_buf_putc(&b, '\n');
    cli_show_stages(&b, run, c->width, c->color);
    json_array_foreach(json_object_get(run, "stages"), i,
                       stage) if (ptl_str_eq(ptl_json_str(stage, "state", ""), "red"))
        cli_show_red(&b, stage, false, c->width, c->color);
    cli_print_buf(c, &b);
}

static const json_t *same_stage(const json_t *run, int64_t id)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(run, "stages"), i, s) if (ptl_json_i64(s, "id", 0) == id) return s;
    return NULL;
}

static void print_change(struct cli *c, const char *name, const json_t *now)
{
    char clock[32], time[32] = "";
    const char *state = ptl_json_str(now, "state", "?"), *message = ptl_json_str(now, "message", NULL);
    int64_t ms = ptl_json_i64(now, "duration_ms", -1);
    enum ptl_stage_state s;
    bool final = ptl_stage_state_parse(state, &s) == 0 && ptl_stage_state_is_final(s);
    cli_time_local(ptl_wall_ms(), clock);
    if (final && ms >= 0)
        ptl_duration_format(ms, time);
    if (!message || !*message)
        message = ptl_json_str(now, "attempt_message", "");
    PTL_FREE char *shown = cli_clean(name);
    PTL_FREE char *why = cli_clean(ptl_str_eq(state, "green") || ptl_str_eq(state, "running") ? "" : message);
    PTL_BUF b = PTL_BUF_INIT;
    ptl_buf_printf(&b, "%s  %-24s ", clock + 11, shown);
    cli_styled(&b, cli_state_style(state), c->color, state);
    ptl_buf_printf(&b, "%s%s%s%s\n", *time ? "  " : "", time, *why ? "  " : "", why);
    cli_print_buf(c, &b);
}

static void json_change(struct cli *c, const char *what, const json_t *o)
{
    PTL_JSON *line =
        json_pack("{s:s,s:s?,s:s,s:O?}", "kind", what, "name", ptl_json_str(o, "name", NULL), "state",
                  ptl_json_str(o, "state", "?"), "message", json_object_get(o, "message"));
    PTL_FREE char *text = line ? ptl_json_text(line) : NULL;
    cli_print(c, "%s\n", text ? text : "{}");
}

/* Lines for what differs from the last look. */
static void print_changes(struct cli *c, const json_t *before, const json_t *now)
{
    size_t i;
    json_t *s;
    char name[128];
    json_array_foreach(json_object_get(now, "stages"), i, s)
    {
        const json_t *old = same_stage(before, ptl_json_i64(s, "id", 0));
        const char *state = ptl_json_str(s, "state", "?");
        if (ptl_str_eq(ptl_json_str(old, "state", NULL), state))
            continue;
        if (c->json)
            json_change(c, "stage", s);
        else if (old || !ptl_str_eq(state, "waiting")) /* waiting is where all begin: no news */
            print_change(c, ptl_json_str(s, "name", "?"), s);
    }
    if (!ptl_str_eq(ptl_json_str(before, "state", NULL), ptl_json_str(now, "state", "?"))) {
        cli_run_name(now, name);
        if (c->json)
            json_change(c, "run", now);
        else
            print_change(c, name, now);
    }
    fflush(c->out);
}

/* Redraws in place; only what fits on the screen could be drawn over. */
static size_t draw(struct cli *c, const json_t *run, size_t lines)
{
    PTL_BUF b = PTL_BUF_INIT;
    if (lines)
        ptl_buf_printf(&b, "\033[%zuA\033[J", lines);
    size_t from = b.len, n = 0;
    cli_show_head(&b, run, c->width, c->color);
    ptl_buf_putc(&b, '\n');
    cli_show_stages(&b, run, c->width, c->color);
    for (size_t i = from; i < b.len; i++)
        n += b.data[i] == '\n';
    cli_print_buf(c, &b);
    fflush(c->out);
    return n;
}

static bool can_redraw(const struct cli *c, const json_t *run)
{
    return c->out_tty && !c->json && !ptl_str_eq(getenv("TERM"), "dumb") &&
           (int)json_array_size(json_object_get(run, "stages")) + 12 < c->height;
}

/* The diagnosis of a red stage comes a moment after its end: worth a short wait, since it is what one came
 * for. */
static void await_diagnoses(struct cli *c, const char *path, json_t **run)
{
    int64_t deadline = ptl_mono_ms() + DIAGNOSIS_MS;
    while (ptl_mono_ms() < deadline) {
        size_t i;
        json_t *s;
        bool pending = false;
        json_array_foreach(json_object_get(*run, "stages"), i, s) pending |=
            ptl_str_eq(ptl_json_str(s, "state", ""), "red") &&
            ptl_str_eq(ptl_json_str(s, "diagnosis_state", ""), "pending");
        if (!pending)
            return;
        PTL_JSON *now = NULL;
        struct ptl_error err;
        cli_pause(CALM_MS);
        if (ptl_client_json(c->client, "GET", path, NULL, 30000, NULL, &now, &err) != 0)
            return;
        json_decref(*run);
        *run = PTL_TAKE(now);
    }
}

int cli_watch_run(struct cli *c, int64_t id, int64_t retry_ms, bool exit_status)
{
    PTL_JSON *run = NULL;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/runs/%lld", (long long)id);
    PTL_FREE char *events = ptl_xasprintf("/api/v1/runs/%lld/events", (long long)id);
    size_t lines = 0;
    int r = cli_get(c, path, &run), end = r ? 0 : cli_run_exit(run), stream_exit = 0;
    if (r)
        return r;
    struct cli_watch *w = end < 0 ? cli_watch_new(c, events, retry_ms) : NULL;
    print_changes(c, c->out_tty && !c->json ? run : NULL, run);
    while (end < 0) {
        bool tty = can_redraw(c, run);
        if (tty)
            lines = draw(c, run, lines);
        int64_t asked = ptl_mono_ms();
        int got = cli_watch_wait(w, tty ? TICK_MS : LOOK_MS, &stream_exit);
        if (got == 0 && tty)
            continue;
        if (got < 0 && stream_exit) {
            cli_watch_free(w);
            return stream_exit;
        }
        PTL_JSON *now = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        int status = 0, asking = ptl_client_json(c->client, "GET", path, NULL, 30000, &status, &now, &err);
        if (asking == 0) {
            if (!tty)
                print_changes(c, run, now);
            json_decref(run);
            run = PTL_TAKE(now);
            end = cli_run_exit(run);
        } else if (status == 401 || status == 403 || status == 404) {
            cli_watch_free(w);
            return cli_api_failed(c, asking, status, &err);
        }                         /* else the stream tells when the server is back, or gives up */
        if (got < 0 && end < 0) { /* it ended with the run, which runs again */
            cli_watch_free(w);
            w = cli_watch_new(c, events, retry_ms);
        }
        int64_t calm = CALM_MS - (ptl_mono_ms() - asked);
        if (calm > 0 && end < 0)
            cli_pause(calm); /* a busy run is asked for at most five times a second */
    }
    if (w)
        cli_watch_free(w);
    await_diagnoses(c, path, &run);
    if (lines)
        cli_print(c, "\033[%zuA\033[J", lines);
    if (!c->json) {
        if (!c->out_tty)
            cli_print(c, "\n");
        cli_print_run(c, run);
    } else {
        PTL_FREE char *text = ptl_json_text(run);
        cli_print(c, "%s\n", text);
    }
    return exit_status ? end : CLI_OK;
}

int cli_cmd_run_watch(struct cli *c)
{
    int64_t id;
    int r = cli_run_id(c, cli_arg(c, 0), &id);
    return r ? r : cli_watch_run(c, id, cli_int(c, "retry", RETRY_MS), cli_flag(c, "exit-status"));
}
