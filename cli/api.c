/* api.c - calls to the server: what goes wrong becomes a sentence with the next step, and an exit code. */
#include "cli.h"

enum { TIMEOUT_MS = 30000, PAGE_MAX = 500, LIST_LIMIT = 50 };

char *cli_path(const char *pattern, ...)
{
    PTL_BUF b = PTL_BUF_INIT;
    va_list ap;
    va_start(ap, pattern);
    for (const char *p = pattern; *p; p++) {
        const char *value = p[0] == '{' && p[1] == '}' ? va_arg(ap, const char *) : NULL;
        if (!value) {
            ptl_buf_putc(&b, *p);
            continue;
        }
        PTL_FREE char *encoded = ptl_url_encode(value);
        ptl_buf_puts(&b, encoded);
        p++;
    }
    va_end(ap);
    return ptl_buf_take(&b, NULL);
}

static int unreached(struct cli *c, const struct ptl_error *err)
{
    if (err->code == -EKEYREJECTED)
        return cli_fail(
            c, CLI_UNREACHED,
            "%s\nThe server's certificate is not trusted; name the authority that signed it: --ca-file FILE (PORTOLAN_CA_FILE)",
            err->text);
    return cli_fail(
        c, CLI_UNREACHED,
        "%s\nIs portoland running at %s? Another server: --server URL, PORTOLAN_SERVER or portolan login",
        err->text, c->server);
}

/* Problem titles that only repeat the status. */
static const char *without_title(const char *text)
{
    static const char *const titles[] = {
        "Not Found: ",   "Gone: ",         "Conflict: ",  "Unprocessable Content: ",
        "Bad Request: ", "Unauthorized: ", "Forbidden: ", "Service Unavailable: "};
    for (size_t i = 0; i < PTL_ARRAY_LEN(titles); i++)
        if (ptl_str_starts(text, titles[i]))
            return text + strlen(titles[i]);
    return text;
}

int cli_api_failed(struct cli *c, int result, int status, const struct ptl_error *err)
{
    const char *said = without_title(err->text);
    const char *origin = c->token_origin ? c->token_origin : "no token was given";
    switch (status) {
    case 0:
        return unreached(c, err);
    case 401:
        return cli_fail(c, CLI_UNREACHED,
                        "%s\n%s; log in: portolan login --server %s, or give --token-file or PORTOLAN_TOKEN",
                        said, origin, c->server);
    case 403:
        return cli_fail(
            c, CLI_UNREACHED,
            "%s\n%s; what it may do: portolan whoami; a token with another role: portolan token create", said,
            origin);
    case 404:
    case 410:
        return cli_fail(c, CLI_ABSENT, "%s", said);
    case 409:
        return cli_fail(c, CLI_CONFLICT, "%s", said);
    case 400:
    case 413:
    case 422:
        return cli_fail(c, CLI_USAGE, "%s", said);
    default:
        (void)result;
        return cli_fail(c, CLI_UNREACHED,
                        "%s\nThe server answered %d; its log says more, or try again in a moment", said,
                        status);
    }
}

int cli_call_within(struct cli *c, int64_t timeout_ms, const char *method, const char *path,
                    const json_t *body, json_t **ret)
{
    struct ptl_error err = PTL_ERROR_INIT;
    json_t *answer = NULL;
    int status = 0, r = cli_settle(c);
    if (r)
        return r;
    r = ptl_client_json(c->client, method, path, body, timeout_ms, &status, &answer, &err);
    if (r != 0)
        return cli_api_failed(c, r, status, &err);
    if (ret)
        *ret = answer;
    else
        json_decref(answer);
    return 0;
}

int cli_call(struct cli *c, const char *method, const char *path, const json_t *body, json_t **ret)
{
    return cli_call_within(c, TIMEOUT_MS, method, path, body, ret);
}

int cli_get(struct cli *c, const char *path, json_t **ret)
{
    return cli_call(c, "GET", path, NULL, ret);
}

json_t *cli_get_quietly(struct cli *c, const char *path)
{
    struct ptl_error err = PTL_ERROR_INIT;
    json_t *answer = NULL;
    int status = 0;
    if (cli_settle(c) ||
        ptl_client_json(c->client, "GET", path, NULL, TIMEOUT_MS, &status, &answer, &err) != 0)
        return NULL;
    return answer;
}

void cli_put_query(struct ptl_buf *path, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    PTL_FREE char *encoded = ptl_url_encode(value);
    ptl_buf_putc(path, strchr(ptl_buf_str(path), '?') ? '&' : '?');
    for (const char *p = name; *p; p++)
        ptl_buf_putc(path, *p == '-' ? '_' : *p);
    ptl_buf_printf(path, "=%s", encoded);
}

int cli_list(struct cli *c, const char *path, const char *cursor, const char *start, int64_t limit,
             json_t **ret)
{
    PTL_JSON *all = json_array(), *cut = NULL;
    PTL_JSON *next = start ? json_string(start) : json_null();
    char join = strchr(path, '?') ? '&' : '?';
    bool go_on;
    do {
        PTL_JSON *page = NULL;
        int64_t left = limit - (int64_t)json_array_size(all);
        PTL_BUF url = PTL_BUF_INIT;
        ptl_buf_puts(&url, path);
        if (cursor)
            ptl_buf_printf(&url, "%climit=%lld", join, (long long)(left > PAGE_MAX ? PAGE_MAX : left));
        if (json_is_string(next)) {
            PTL_FREE char *value = ptl_url_encode(json_string_value(next));
            ptl_buf_printf(&url, "&%s=%s", cursor, value);
        } else if (json_is_integer(next)) {
            ptl_buf_printf(&url, "&%s=%lld", cursor, (long long)json_integer_value(next));
        }
        int r = cli_get(c, ptl_buf_str(&url), &page);
        if (r)
            return r;
        size_t before = json_array_size(all);
        json_array_extend(all, json_object_get(page, "items"));
        json_t *more = json_object_get(page, "next");
        json_decref(next);
        next = cursor && more ? json_incref(more) : json_null();
        /* a server that gave a page of nothing, or told of a cut and filled no page, has done its share:
         * whether to go on is the person's word */
        json_decref(cut);
        cut = json_incref(json_object_get(page, "cut"));
        int64_t got = (int64_t)(json_array_size(all) - before);
        go_on = got > 0 && (!cut || got >= (left > PAGE_MAX ? PAGE_MAX : left));
    } while (go_on && !json_is_null(next) && (int64_t)json_array_size(all) < limit);
    *ret = json_pack("{s:O,s:O,s:O*}", "items", all, "next", next, "cut", cut);
    return 0;
}

int cli_list_show(struct cli *c, const char *path, const struct cli_listing *l)
{
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *item;
    int r = l->cursor
                ? cli_list(c, path, l->cursor, cli_text(c, l->cursor), cli_int(c, "limit", LIST_LIMIT), &list)
                : cli_list(c, path, NULL, NULL, 1, &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(l->columns, l->n);
    json_array_foreach(json_object_get(list, "items"), i, item) l->row(t, item);
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    if (cli_table_rows(t) == 0 && l->none)
        cli_note(c, "%s", l->none);
    if (l->cursor)
        cli_note_more(c, list, l->cursor);
    return 0;
}

void cli_note_more(struct cli *c, const json_t *list, const char *cursor)
{
    const json_t *next = json_object_get(list, "next");
    size_t shown = json_array_size(json_object_get(list, "items"));
    if (json_is_string(next)) {
        cli_note(c, "There are more than these %zu: --limit N shows more, --%s %s goes on", shown, cursor,
                 json_string_value(next));
    } else if (json_is_integer(next)) {
        cli_note(c, "There are more than these %zu: --limit N shows more, --%s %lld goes on", shown, cursor,
                 (long long)json_integer_value(next));
    }
}
