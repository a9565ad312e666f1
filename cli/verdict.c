/* verdict.c - a diagnosis as an engineer at a red stage reads it: what broke, in which category, the lines
 * that say so, what to do, whether trying again helps. Pure: takes the JSON of a diagnosis (daemon/kb/kb.h).
 */
#include "cli.h"

enum { QUOTES_SHOWN = 5, OTHERS_SHOWN = 2, NEAREST_SHOWN = 3 };

static void put_text(struct ptl_buf *b, const char *before, const char *text, const char *after)
{
    PTL_FREE char *clean = cli_clean(text);
    ptl_buf_printf(b, "%s%s%s", before, clean, after);
}

static void put_title(struct ptl_buf *b, const char *title, bool color)
{
    PTL_FREE char *padded = ptl_xasprintf("%-8s", title);
    cli_styled(b, CLI_DIM, color, padded);
}

static void put_quote(struct ptl_buf *b, const json_t *e, int width, bool color)
{
    int64_t line = ptl_json_i64(e, "line", 0);
    char number[16];
    PTL_FREE char *clean = cli_clean(ptl_json_str(e, "text", ""));
    PTL_FREE char *text = width > 20 ? cli_cut(clean, (size_t)width - 9) : ptl_xstrdup(clean);
    if (line)
        snprintf(number, sizeof(number), "%6lld", (long long)line);
    else
        snprintf(number, sizeof(number), "%6s", "fact"); /* of the attempt, not of its log */
    cli_styled(b, CLI_DIM, color, number);
    ptl_buf_puts(b, color ? " \xe2\x94\x82 " : " | ");
    ptl_buf_printf(b, "%s\n", text);
}

/* The lines that speak for one challenge; without any, the log's own most specific ones. */
static void put_quotes(struct ptl_buf *b, const json_t *d, const json_t *challenge, int width, bool color)
{
    const json_t *all = json_object_get(d, "evidence"), *own = json_object_get(challenge, "evidence");
    size_t i, shown = 0;
    json_t *v;
    json_array_foreach(own, i, v)
    {
        const json_t *e = json_array_get(all, (size_t)json_integer_value(v));
        if (e && shown++ < QUOTES_SHOWN)
            put_quote(b, e, width, color);
    }
    size_t most = shown ? 0 : own ? 1 : QUOTES_SHOWN;
    for (i = 0; i < most && i < json_array_size(all); i++)
        put_quote(b, json_array_get(all, i), width, color);
}

static void put_head(struct ptl_buf *b, const json_t *challenge, bool color)
{
    PTL_FREE char *path = cli_clean(ptl_json_str(challenge, "path", ptl_json_str(challenge, "id", "?")));
    cli_styled(b, CLI_BOLD, color, path);
    put_text(b, "  ", ptl_json_str(challenge, "id", "?"), "");
    ptl_buf_printf(b, "  %.0f %%\n", 100 * ptl_json_num(challenge, "probability", 0));
}

static void put_remedy(struct ptl_buf *b, const json_t *remedy, bool color)
{
    size_t i;
    json_t *v;
    if (!json_is_object(remedy))
        return;
    put_title(b, "do", color);
    put_text(b, "", ptl_json_str(remedy, "text", ""), "\n");
    json_array_foreach(json_object_get(remedy, "commands"), i, v)
        put_text(b, "        $ ", json_is_string(v) ? json_string_value(v) : "", "\n");
}

static void put_retry(struct ptl_buf *b, const json_t *d, bool color)
{
    const json_t *known = json_object_get(d, "transient_known"), *transient = json_object_get(d, "transient");
    bool unknown = json_is_false(known) || json_is_null(transient) || !transient;
    put_title(b, "retry", color);
    ptl_buf_puts(b, unknown                   ? "unknown: once at most; nothing says that it would pass\n"
                    : json_is_true(transient) ? "yes: the same may pass when it is tried again\n"
                                              : "no: the same, tried again, fails the same way\n");
}

static void put_list(struct ptl_buf *b, const char *title, const json_t *list, bool color)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        put_title(b, i ? "" : title, color);
        put_text(b, "", json_is_string(v) ? json_string_value(v) : "?", "\n");
    }
}

static void put_others(struct ptl_buf *b, const json_t *challenges, bool color)
{
    json_t *c;
    size_t i;
    json_array_foreach(challenges, i, c)
    {
        double p = ptl_json_num(c, "probability", 0);
        if (i == 0 || i > OTHERS_SHOWN || p < 0.03)
            continue;
        put_title(b, i == 1 ? "or" : "", color);
        ptl_buf_printf(b, "%2.0f %%  ", 100 * p);
        put_text(b, "", ptl_json_str(c, "path", "?"), "\n");
    }
}

static void show_diagnosed(struct ptl_buf *b, const json_t *d, int width, bool color)
{
    const json_t *challenges = json_object_get(d, "challenges"), *first = json_array_get(challenges, 0);
    const char *came_in = ptl_json_str(first, "came_in", NULL);
    put_head(b, first, color);
    put_text(b, "", ptl_json_str(d, "summary", ""), "\n");
    if (came_in)
        put_text(b, "the fault came in at ", came_in, "\n");
    ptl_buf_putc(b, '\n');
    put_quotes(b, d, first, width, color);
    ptl_buf_putc(b, '\n');
    put_remedy(b, json_object_get(first, "remedy"), color);
    put_retry(b, d, color);
    put_others(b, challenges, color);
}

static void show_unclear(struct ptl_buf *b, const json_t *d, int width, bool color)
{
    const json_t *challenges = json_object_get(d, "challenges");
    bool stated = ptl_str_eq(ptl_json_str(d, "verdict", ""), "stated");
    cli_styled(b, CLI_BOLD, color, stated ? "How it ended" : "Unclear");
    put_text(b, ": ", ptl_json_str(d, "summary", "nothing specific speaks"), "\n\n");
    put_quotes(b, d, NULL, width, color);
    if (json_array_size(json_object_get(d, "evidence")))
        ptl_buf_putc(b, '\n');
    for (size_t i = 0; i < NEAREST_SHOWN && i < json_array_size(challenges); i++) {
        const json_t *c = json_array_get(challenges, i);
        put_title(b, i ? "" : "nearest", color);
        ptl_buf_printf(b, "%2.0f %%  ", 100 * ptl_json_num(c, "probability", 0));
        put_text(b, "", ptl_json_str(c, "path", "?"), "");
        put_text(b, "  (", ptl_json_str(c, "id", "?"), ")\n");
    }
    put_list(b, "decides", json_object_get(d, "decide"), color);
    put_retry(b, d, color);
}

void cli_show_verdict(struct ptl_buf *b, const json_t *d, int width, bool color)
{
    if (ptl_str_eq(ptl_json_str(d, "state", ""), "diagnosed"))
        show_diagnosed(b, d, width, color);
    else
        show_unclear(b, d, width, color);
    put_list(b, "cut", json_object_get(d, "cuts"), color);
}
