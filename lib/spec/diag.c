/* diag.c - the list of findings: bounded, in order of place, as text and as JSON. Texts quote what stands in
 * somebody else's file, so control bytes are replaced. */
#include "check-private.h"
#include <stdio.h>

void ptl_spec_diags_done(struct ptl_spec_diags *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->list[i].key);
        free(d->list[i].message);
        free(d->list[i].expected);
        free(d->list[i].nearest);
    }
    free(d->list);
    free(d->file);
    *d = (struct ptl_spec_diags)PTL_SPEC_DIAGS_INIT;
}

static char *clean_copy(const char *s)
{
    if (!s)
        return NULL;
    char *copy = ptl_json_text_utf8(s, strlen(s));
    for (unsigned char *p = (unsigned char *)copy; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
    return copy;
}

void diags_reset(struct ptl_spec_diags *d, const char *file)
{
    ptl_spec_diags_done(d);
    d->file = clean_copy(file ? file : PTL_SPEC_FILE_NAME);
}

static void add(struct ptl_spec_diags *d, unsigned line, unsigned column, bool is_warning, const char *key,
                const char *expected, const char *nearest, const char *fmt, va_list ap) PTL_PRINTF(8, 0);
static void add(struct ptl_spec_diags *d, unsigned line, unsigned column, bool is_warning, const char *key,
                const char *expected, const char *nearest, const char *fmt, va_list ap)
{
    char message[512];
    vsnprintf(message, sizeof(message), fmt, ap);
    PTL_FREE char *text = clean_copy(message);
    for (size_t i = 0; i < d->n; i++) /* a matrix meets the same fault once per combination */
        if (d->list[i].line == line && d->list[i].column == column && strcmp(d->list[i].message, text) == 0)
            return;
    d->errors += !is_warning;
    if (d->n == PTL_SPEC_MAX_DIAGS) {
        d->cut = true;
        return;
    }
    if (!d->list)
        d->list = ptl_xcalloc(PTL_SPEC_MAX_DIAGS, sizeof(*d->list));
    d->list[d->n++] = (struct ptl_spec_diag){
        line, column, is_warning, clean_copy(key), PTL_TAKE(text), clean_copy(expected), clean_copy(nearest)};
}

void diag_add(struct ptl_spec_diags *d, unsigned line, unsigned column, bool is_warning, const char *key,
              const char *expected, const char *nearest, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(d, line, column, is_warning, key, expected, nearest, fmt, ap);
    va_end(ap);
}

void diag_at(struct ptl_spec_diags *d, const json_t *places, bool is_warning, const char *place,
             const char *expected, const char *nearest, const char *fmt, ...)
{
    char at[512];
    const json_t *found = NULL;
    snprintf(at, sizeof(at), "%s", place);
    while (!(found = json_object_get(places, at)) && at[0]) {
        char *dot = strrchr(at, '.'), *bracket = strrchr(at, '[');
        char *cut = dot > bracket ? dot : bracket;
        if (cut)
            *cut = '\0';
        else
            at[0] = '\0';
    }
    va_list ap;
    va_start(ap, fmt);
    add(d, found ? (unsigned)json_integer_value(json_array_get(found, 0)) : 1,
        found ? (unsigned)json_integer_value(json_array_get(found, 1)) : 1, is_warning,
        found ? json_string_value(json_array_get(found, 2)) : place, expected, nearest, fmt, ap);
    va_end(ap);
}

static int by_place(const void *a, const void *b)
{
    const struct ptl_spec_diag *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return strcmp(x->message, y->message);
}

void diags_sort(struct ptl_spec_diags *d)
{
    if (d->n > 1)
        qsort(d->list, d->n, sizeof(*d->list), by_place);
}

char *ptl_spec_diags_text(const struct ptl_spec_diags *d)
{
    PTL_BUF b = PTL_BUF_INIT;
    for (size_t i = 0; i < d->n; i++) {
        const struct ptl_spec_diag *x = &d->list[i];
        ptl_buf_printf(&b, "%s:%u:%u: %s%s%s%s", d->file, x->line, x->column,
                       x->is_warning ? "warning: " : "", x->key, x->key[0] ? ": " : "", x->message);
        if (x->expected)
            ptl_buf_printf(&b, "; expected %s", x->expected);
        if (x->nearest)
            ptl_buf_printf(&b, "; did you mean '%s'?", x->nearest);
        ptl_buf_putc(&b, '\n');
    }
    if (d->cut)
        ptl_buf_printf(&b, "%s: more than %d findings, the rest is left out\n", d->file, PTL_SPEC_MAX_DIAGS);
    char *text = ptl_buf_take(&b, NULL);
    return text ? text : ptl_xstrdup("");
}

static json_t *text_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}

json_t *ptl_spec_diags_json(const struct ptl_spec_diags *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const struct ptl_spec_diag *x = &d->list[i];
        json_array_append_new(list, json_pack("{s:s,s:i,s:i,s:s,s:s,s:s,s:o,s:o}", "file", d->file, "line",
                                              (int)x->line, "column", (int)x->column, "severity",
                                              x->is_warning ? "warning" : "error", "key", x->key, "message",
                                              x->message, "expected", text_or_null(x->expected), "nearest",
                                              text_or_null(x->nearest)));
    }
    return list;
}
