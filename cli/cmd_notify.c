/* cmd_notify.c - portolan notify channel add, list, set, remove, test; notify deliveries: how people are
 * told. A URL is a password to many services, so it is read from a file or standard input. */
#include "cli.h"
#include <portolan/fs.h>

enum { LIMIT = 50, URL_MAX = 2048 };

/* --url-file: one line, "-" for stdin. */
static int put_url(struct cli *c, json_t *body)
{
    const char *path = cli_text(c, "url-file");
    PTL_FREE char *url = NULL;
    PTL_BUF text = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = 0;
    if (!path)
        return 0;
    if (ptl_str_eq(path, "-"))
        r = cli_read_secret(c, "URL: ", URL_MAX, &url);
    else if (ptl_fs_read(path, URL_MAX, &text, &err) < 0)
        r = cli_fail(c, CLI_FAILED, "--url-file: %s", err.text);
    else
        url = ptl_buf_take(&text, NULL);
    if (r)
        return r;
    if (url)
        url[strcspn(url, "\r\n")] = 0;
    if (!url || !*url || json_object_set_new(body, "url", json_string(url)) < 0)
        return cli_fail(c, CLI_USAGE, "--url-file %s: expected one line with a URL", path);
    explicit_bzero(url, strlen(url));
    return 0;
}

static int common(struct cli *c, json_t *body)
{
    static const char *const options[] = {"address",  "digest",    "quiet-from",
                                          "quiet-to", "time-zone", "template"},
                             *const keys[] = {"address",  "digest",    "quiet_from",
                                              "quiet_to", "time_zone", "template"};
    json_t *events = json_array();
    for (size_t i = 0; i < PTL_ARRAY_LEN(options); i++)
        if (cli_text(c, options[i]))
            json_object_set_new(body, keys[i], json_string(cli_text(c, options[i])));
    if (cli_text(c, "digest-hour"))
        json_object_set_new(body, "digest_hour", json_integer(cli_int(c, "digest-hour", 9)));
    for (size_t i = 0; cli_texts(c, "event", i); i++)
        json_array_append_new(events, json_string(cli_texts(c, "event", i)));
    if (ptl_str_eq(json_string_value(json_array_get(events, 0)), "all"))
        json_array_clear(events);
    if (cli_text(c, "event"))
        json_object_set(body, "events", events);
    json_decref(events);
    return put_url(c, body);
}

static int told(struct cli *c, const json_t *a, const char *what)
{
    if (c->json)
        return cli_print_json(c, a);
    const char *person = ptl_json_str(a, "person", NULL), *project = ptl_json_str(a, "project", NULL),
               *secret = ptl_json_str(a, "secret", NULL);
    PTL_FREE char *address = cli_clean(ptl_json_str(a, "address", "?"));
    cli_print(c, "channel %s is %s: %s to %s, %s%s%s%s\n", ptl_json_str(a, "name", "?"), what,
              ptl_json_str(a, "kind", "?"), address, person ? "for " : "shared", person ? person : "",
              project ? ", of project " : "", project ? project : "");
    if (secret) {
        cli_print(c, "%s\n", secret);
        cli_note(c, "what it is signed with (Standard Webhooks); shown this once");
    }
    return 0;
}

int cli_cmd_notify_channel_add(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:s,s:s}", "name", cli_arg(c, 0), "kind",
                               cli_text(c, "kind") ? cli_text(c, "kind") : "email");
    if (!body)
        return cli_fail(c, CLI_USAGE, "NAME: expected UTF-8 text");
    if (!cli_flag(c, "shared"))
        json_object_set_new(body, "person",
                            json_string(cli_text(c, "person") ? cli_text(c, "person") : "me"));
    if (cli_project(c))
        json_object_set_new(body, "project", json_string(cli_project(c)));
    int r = common(c, body);
    if (!r)
        r = cli_call(c, "POST", "/api/v1/notify/channels", body, &answer);
    if (!r)
        r = told(c, answer, "there");
    if (!r)
        cli_note(c, "try it: portolan notify channel test %s", cli_arg(c, 0));
    return r;
}

int cli_cmd_notify_channel_set(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_object();
    PTL_FREE char *path = cli_path("/api/v1/notify/channels/{}", cli_arg(c, 0), NULL);
    int r = common(c, body);
    if (!r && json_object_size(body) == 0)
        r = cli_fail(c, CLI_USAGE, "nothing to change; see: portolan notify channel set --help");
    if (!r)
        r = cli_call(c, "PATCH", path, body, &answer);
    return r ? r : told(c, answer, "changed");
}

int cli_cmd_notify_channel_remove(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = cli_path("/api/v1/notify/channels/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "DELETE", path, NULL, &answer);
    if (!r && c->json)
        return cli_print_json(c, answer);
    if (!r)
        cli_print(c, "channel %s is gone: nothing is told through it any more\n", cli_arg(c, 0));
    return r;
}

int cli_cmd_notify_channel_test(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = cli_path("/api/v1/notify/channels/{}/test", cli_arg(c, 0), NULL);
    int r = cli_call(c, "POST", path, NULL, &answer);
    if (r)
        return r;
    int64_t id = ptl_json_i64(answer, "id", 0);
    PTL_FREE char *list = cli_path("/api/v1/notify/deliveries?limit=20&channel={}", cli_arg(c, 0), NULL);
    for (int i = 0; i < 40; i++) { /* as long as a call and its first repeat may take */
        PTL_JSON *got = NULL;
        size_t k;
        json_t *d;
        if ((r = cli_get(c, list, &got)))
            return r;
        json_array_foreach(
            json_object_get(got, "items"), k,
            d) if (ptl_json_i64(d, "id", 0) == id &&
                   (!ptl_str_eq(ptl_json_str(d, "state", ""), "open") || ptl_json_str(d, "last_error", NULL)))
        {
            bool sent = ptl_str_eq(ptl_json_str(d, "state", ""), "sent");
            if (c->json)
                return (r = cli_print_json(c, d)) ? r : sent ? CLI_OK : CLI_FAILED;
            PTL_FREE char *why = cli_clean(ptl_json_str(d, "last_error", ""));
            if (sent) {
                cli_print(c, "it was taken by the other side\n");
                return 0;
            }
            return cli_fail(c, CLI_FAILED, "it was not taken%s: %s",
                            ptl_str_eq(ptl_json_str(d, "state", ""), "open") ? " yet and is tried again" : "",
                            why);
        }
        cli_pause(500);
    }
    return cli_fail(c, CLI_FAILED, "it is still under way; see: portolan notify deliveries --channel %s",
                    cli_arg(c, 0));
}

static void channel_row(struct cli_table *t, const json_t *h)
{
    size_t k;
    json_t *e;
    PTL_BUF events = PTL_BUF_INIT;
    const char *from = ptl_json_str(h, "quiet_from", NULL);
    json_array_foreach(json_object_get(h, "events"), k, e)
        ptl_buf_printf(&events, "%s%s", k ? ", " : "", json_string_value(e));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(h, "name", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(h, "kind", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(h, "address", ""));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(h, "person", "all"));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(h, "project", ""));
    cli_table_cell(t, CLI_PLAIN, "%s", events.len ? ptl_buf_str(&events) : "all");
    cli_table_cell(t, CLI_PLAIN, "%s",
                   ptl_str_eq(ptl_json_str(h, "digest", ""), "none") ? "" : ptl_json_str(h, "digest", ""));
    if (from)
        cli_table_cell(t, CLI_PLAIN, "%s-%s %s", from, ptl_json_str(h, "quiet_to", ""),
                       ptl_json_str(h, "time_zone", ""));
    else
        cli_table_cell(t, CLI_PLAIN, "%s", "");
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(h, "sent", 0));
    const char *state = ptl_json_str(h, "state", "ok");
    cli_table_cell(t, ptl_str_eq(state, "ok") ? CLI_GREEN : CLI_RED, "%s", state);
    cli_table_cell(t, CLI_RED, "%s", ptl_json_str(h, "last_error", ""));
}

int cli_cmd_notify_channel_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"NAME",       false, true },
        {"KIND",       false, false},
        {"TO",         false, true },
        {"FOR",        false, true },
        {"PROJECT",    false, true },
        {"EVENTS",     false, true },
        {"DIGEST",     false, false},
        {"QUIET",      false, true },
        {"SENT",       true,  false},
        {"STATE",      false, false},
        {"LAST ERROR", false, true }
    };
    static const struct cli_listing listing = {
        columns, PTL_ARRAY_LEN(columns), channel_row, "after",
        "no channel yet; portolan notify channel add NAME --address YOU@EXAMPLE.ORG"};

    return cli_list_show(c, "/api/v1/notify/channels", &listing);
}

static void delivery_row(struct cli_table *t, const json_t *d)
{
    const char *state = ptl_json_str(d, "state", "?");
    char at[32];
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(d, "id", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(d, "channel", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(d, "event", "?"));
    cli_table_cell(t, CLI_PLAIN, "%s %s", ptl_json_str(d, "project", ""), ptl_json_str(d, "stage", ""));
    cli_table_cell(t,
                   ptl_str_eq(state, "sent")      ? CLI_GREEN
                   : ptl_str_eq(state, "gave_up") ? CLI_RED
                                                  : CLI_YELLOW,
                   "%s", state);
    cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(d, "tries", 0));
    cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(d, "created_at", at));
    cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(d, "last_error", ""));
}

int cli_cmd_notify_deliveries(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",      true,  false},
        {"CHANNEL", false, true },
        {"EVENT",   false, false},
        {"ABOUT",   false, true },
        {"STATE",   false, false},
        {"TRIES",   true,  false},
        {"AT",      false, false},
        {"ERROR",   false, true }
    };
    static const struct cli_listing listing = {columns, PTL_ARRAY_LEN(columns), delivery_row, "before", NULL};
    PTL_BUF url = PTL_BUF_INIT;
    ptl_buf_puts(&url, "/api/v1/notify/deliveries");
    if (cli_text(c, "channel")) {
        PTL_FREE char *q = cli_path("?channel={}", cli_text(c, "channel"), NULL);
        ptl_buf_puts(&url, q);
    }
    if (cli_text(c, "state"))
        ptl_buf_printf(&url, "%cstate=%s", strchr(ptl_buf_str(&url), '?') ? '&' : '?', cli_text(c, "state"));
    return cli_list_show(c, ptl_buf_str(&url), &listing);
}
