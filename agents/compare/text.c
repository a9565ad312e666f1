/* text.c - the report as people read it in a log or a terminal: the verdict and why, a table of outputs, the
 * worst element of each, budgets, what changed since the last good run. Pure; knows only the JSON, so that
 * the daemon's stored reports print the same. */
#include "compare-private.h"
#include <inttypes.h>
#include <math.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <stdio.h>

/* Names come from model files: no control byte may reach a terminal. */
static void put_text(struct ptl_buf *b, const char *s)
{
    for (; *s; s++)
        ptl_buf_putc(b, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void put_padded(struct ptl_buf *b, const char *s, size_t width)
{
    size_t shown = 0;
    for (const char *p = s; *p; p++)
        shown += ((unsigned char)*p & 0xc0) != 0x80;
    put_text(b, s);
    for (; shown < width; shown++)
        ptl_buf_putc(b, ' ');
}

static const char *number(const json_t *v, const char *fmt, char *buf, size_t size)
{
    if (json_is_string(v))
        snprintf(buf, size, "%.20s", json_string_value(v));
    else if (!json_is_number(v))
        snprintf(buf, size, "-");
    else if (fmt[0] == 'p')
        snprintf(buf, size, "%.2f %%", 100 * json_number_value(v));
    else if (fmt[0] == 'c')
        snprintf(buf, size, "%.6f", json_number_value(v));
    else
        snprintf(buf, size, fmt[0] == 'w' ? "%.9g" : "%.3g", json_number_value(v));
    return buf;
}

static void put_outputs(struct ptl_buf *b, const json_t *outputs)
{
    static const struct {
        const char *title, *key, *fmt;
        size_t width;
    } columns[] = {
        {"max abs",  "max_abs_error",  "g", 10},
        {"max rel",  "max_rel_error",  "g", 10},
        {"mean abs", "mean_abs_error", "g", 10},
        {"rmse",     "rmse",           "g", 10},
        {"cosine",   "cosine",         "c", 10},
        {"top-1",    "top1_agreement", "p", 10},
    };
    size_t i, width = 6;
    json_t *o;
    json_array_foreach(outputs, i, o)
    {
        size_t n = strlen(ptl_json_str(o, "name", ""));
        width = n > width ? n : width;
    }
    width = width > 40 ? 40 : width;
    put_padded(b, "  output", width + 4);
    put_padded(b, "verdict", 9);
    for (size_t k = 0; k < PTL_ARRAY_LEN(columns); k++)
        put_padded(b, columns[k].title, columns[k].width);
    ptl_buf_puts(b, "outside\n");
    json_array_foreach(outputs, i, o)
    {
        char text[64];
        ptl_buf_puts(b, "  ");
        put_padded(b, ptl_json_str(o, "name", "?"), width + 2);
        put_padded(b, ptl_json_str(o, "verdict", "?"), 9);
        for (size_t k = 0; k < PTL_ARRAY_LEN(columns); k++)
            put_padded(b, number(json_object_get(o, columns[k].key), columns[k].fmt, text, sizeof(text)),
                       columns[k].width);
        if (json_object_get(o, "elements"))
            ptl_buf_printf(b, "%" PRId64 " of %" PRId64 "\n", ptl_json_i64(o, "mismatched", 0),
                           ptl_json_i64(o, "elements", 0));
        else
            ptl_buf_puts(b, "not compared\n");
    }
}

static void put_worst(struct ptl_buf *b, const json_t *o)
{
    const json_t *w = json_object_get(o, "worst");
    char text[64];
    size_t i;
    json_t *v;
    if (!json_is_object(w))
        return;
    double d = fabs(ptl_json_num(w, "got", NAN) - ptl_json_num(w, "expected", NAN));
    if (d == 0)
        return; /* all of them agree to the last bit */
    ptl_buf_puts(b, "  worst element of ");
    put_text(b, ptl_json_str(o, "name", "?"));
    ptl_buf_putc(b, '[');
    json_array_foreach(json_object_get(w, "index"), i, v)
        ptl_buf_printf(b, "%s%" PRId64, i ? ", " : "", (int64_t)json_integer_value(v));
    ptl_buf_printf(b, "]: expected %s", number(json_object_get(w, "expected"), "w", text, sizeof(text)));
    ptl_buf_printf(b, ", got %s", number(json_object_get(w, "got"), "w", text, sizeof(text)));
    if (isfinite(d))
        ptl_buf_printf(b, ", differs by %.6g", d);
    if (json_object_get(w, "limit"))
        ptl_buf_printf(b, ", limit %s", number(json_object_get(w, "limit"), "g", text, sizeof(text)));
    ptl_buf_putc(b, '\n');
}

static void put_list(struct ptl_buf *b, const char *title, const json_t *list, const char *mark)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) == 0)
        return;
    ptl_buf_printf(b, "%s\n", title);
    json_array_foreach(list, i, v)
    {
        const char *output = ptl_json_str(v, "output", NULL), *verdict = ptl_json_str(v, "verdict", NULL);
        const char *code = ptl_json_str(v, "code", NULL),
                   *text = json_is_string(v) ? json_string_value(v) : ptl_json_str(v, "text", "");
        ptl_buf_printf(b, "  %s ", mark);
        if (verdict)
            put_padded(b, verdict, 6);
        if (output) {
            put_text(b, output);
            ptl_buf_puts(b, ": ");
        }
        put_text(b, text);
        if (code)
            ptl_buf_printf(b, " (%s)", code);
        ptl_buf_putc(b, '\n');
    }
}

static void put_change(struct ptl_buf *b, const json_t *list)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) == 0)
        return;
    ptl_buf_puts(b, "against the last good run\n");
    json_array_foreach(list, i, v)
    {
        const char *name = ptl_json_str(v, "name", "?");
        double pair[2] = {ptl_json_num(v, "before", 0), ptl_json_num(v, "now", 0)};
        char text[2][40];
        for (int k = 0; k < 2; k++)
            if (ptl_str_ends(name, "_bytes"))
                ptl_size_format((int64_t)pair[k], text[k]);
            else
                snprintf(text[k], sizeof(text[k]), "%.4g ms", pair[k]);
        ptl_buf_puts(b, "  ");
        put_padded(b, name, 20);
        ptl_buf_printf(b, "%s -> %s", text[0], text[1]);
        if (json_is_number(json_object_get(v, "change_pct")))
            ptl_buf_printf(b, " (%+.1f %%)", ptl_json_num(v, "change_pct", 0));
        ptl_buf_putc(b, '\n');
    }
}

char *ptl_compare_text(const json_t *report)
{
    PTL_BUF b = PTL_BUF_MAX(4 << 20);
    const json_t *outputs = json_object_get(report, "outputs");
    const char *verdict = ptl_json_str(report, "verdict", "?");
    size_t i;
    json_t *o;
    ptl_buf_printf(&b, "verify: %s; %zu output%s, %" PRId64 " samples, precision %s, matched by %s\n",
                   verdict, json_array_size(outputs), json_array_size(outputs) == 1 ? "" : "s",
                   ptl_json_i64(report, "samples", 0), ptl_json_str(report, "precision", "?"),
                   ptl_json_str(report, "matched_by", "?"));
    char atol[32], rtol[32];
    if (json_is_number(json_object_get(report, "atol")))
        ptl_buf_printf(&b, "rule: %s, atol %s, rtol %s\n", ptl_json_str(report, "rule", "?"),
                       number(json_object_get(report, "atol"), "g", atol, sizeof(atol)),
                       number(json_object_get(report, "rtol"), "g", rtol, sizeof(rtol)));
    put_list(&b, "why it is red", json_object_get(report, "reasons"), "x");
    if (json_array_size(outputs))
        put_outputs(&b, outputs);
    json_array_foreach(outputs, i, o) put_worst(&b, o);
    put_list(&b, "budgets", json_object_get(report, "budgets"), "-");
    put_change(&b, json_object_get(report, "against_last_good"));
    put_list(&b, "notes", json_object_get(report, "notes"), "-");
    char *text = ptl_buf_take(&b, NULL);
    return text ? text : ptl_xstrdup(verdict);
}
