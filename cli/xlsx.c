/* xlsx.c - an .xlsx is a zip of XML parts: the workbook names sheets, its relations say in which part each
 * is, cells hold numbers of shared strings. libarchive and expat read; only what labels in a table need is
 * understood (no formulas, styles, dates). */
#include "xlsx.h"
#include <archive.h>
#include <archive_entry.h>
#include <expat.h>
#include <portolan/buf.h>
#include <stdio.h>

enum { PART_MAX = 32 << 20, PARTS_MAX = 64, SHEETS_MAX = 32, STRINGS_MAX = 1000000 };

struct part {
    char *name;
    struct ptl_buf data;
};
struct sheet {
    char *name, *relation, *part;
};
struct book {
    struct part parts[PARTS_MAX];
    size_t n_parts;
    struct sheet sheets[SHEETS_MAX];
    size_t n_sheets;
    char **strings;
    size_t n_strings, cap_strings;
    /* reading one part */
    XML_Parser parser;
    struct ptl_buf text;
    bool in_text, in_phonetic;
    const struct sheet *sheet;
    size_t row;
    int column;
    char type;
    struct ptl_buf cells[CLI_XLSX_COLUMNS];
    cli_xlsx_row_fn *fn;
    void *ctx;
    int result;
};

static void book_done(struct book *b)
{
    for (size_t i = 0; i < b->n_parts; i++) {
        free(b->parts[i].name);
        ptl_buf_done(&b->parts[i].data);
    }
    for (size_t i = 0; i < b->n_sheets; i++) {
        free(b->sheets[i].name);
        free(b->sheets[i].relation);
        free(b->sheets[i].part);
    }
    for (size_t i = 0; i < b->n_strings; i++)
        free(b->strings[i]);
    free(b->strings);
    ptl_buf_done(&b->text);
    for (size_t i = 0; i < CLI_XLSX_COLUMNS; i++)
        ptl_buf_done(&b->cells[i]);
}

/* ---- the zip */
static bool wanted(const char *name)
{
    return ptl_str_eq(name, "xl/workbook.xml") || ptl_str_eq(name, "xl/_rels/workbook.xml.rels") ||
           ptl_str_eq(name, "xl/sharedStrings.xml") || ptl_str_starts(name, "xl/worksheets/");
}

static int read_part(struct archive *a, struct ptl_buf *ret)
{
    char piece[16384];
    ssize_t n;
    while ((n = archive_read_data(a, piece, sizeof(piece))) > 0)
        if (ptl_buf_add(ret, piece, (size_t)n) < 0)
            return ret->failed == -ENOMEM ? -ENOMEM : -EINVAL;
    return n < 0 ? -EINVAL : 0;
}

static int read_zip(struct book *b, const void *data, size_t len, struct ptl_error *err)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    int r = 0, got;
    if (!a)
        return ptl_error_set(err, -ENOMEM, "workbook: out of memory");
    archive_read_support_format_zip(a);
    if (archive_read_open_memory(a, data, len) != ARCHIVE_OK)
        r = ptl_error_set(err, -EINVAL, "no workbook: %s", archive_error_string(a));
    while (r == 0 && (got = archive_read_next_header(a, &e)) != ARCHIVE_EOF) {
        const char *name = got < ARCHIVE_WARN ? NULL : archive_entry_pathname(e);
        if (!name) {
            r = ptl_error_set(err, -EINVAL, "workbook: its zip is damaged: %s",
                              archive_error_string(a) ? archive_error_string(a) : "no name");
            break;
        }
        if (!wanted(name) || b->n_parts == PARTS_MAX)
            continue;
        struct part *p = &b->parts[b->n_parts++];
        *p = (struct part){.name = ptl_xstrdup(name), .data = PTL_BUF_MAX(PART_MAX)};
        if ((r = read_part(a, &p->data)) < 0)
            ptl_error_set(err, r, "workbook: part '%s' is damaged or larger than %d MiB", name,
                          PART_MAX >> 20);
    }
    archive_read_free(a);
    return r;
}

/* ---- the XML */
static const char *attribute(const XML_Char **atts, const char *name)
{
    for (; *atts; atts += 2) {
        const char *colon = strrchr(atts[0], ':');
        if (strcmp(colon ? colon + 1 : atts[0], name) == 0)
            return atts[1];
    }
    return NULL;
}

static const char *local(const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

static void stop(struct book *b, int result)
{
    if (b->result == 0)
        b->result = result;
    XML_StopParser(b->parser, XML_FALSE);
}

static void XMLCALL on_text(void *ctx, const XML_Char *s, int len)
{
    struct book *b = ctx;
    if (b->in_text && !b->in_phonetic && ptl_buf_add(&b->text, s, (size_t)len) < 0)
        stop(b, -EINVAL);
}

/* Entities could be made to grow: a workbook has no DTD. */
static void XMLCALL on_doctype(void *ctx, const XML_Char *name PTL_UNUSED, const XML_Char *sysid PTL_UNUSED,
                               const XML_Char *pubid PTL_UNUSED, int has_internal PTL_UNUSED)
{
    stop(ctx, -EINVAL);
}

static int parse(struct book *b, const struct part *p, XML_StartElementHandler begin,
                 XML_EndElementHandler end, struct ptl_error *err)
{
    b->parser = XML_ParserCreate(NULL);
    if (!b->parser)
        return ptl_error_set(err, -ENOMEM, "workbook: out of memory");
    b->result = 0;
    b->in_text = b->in_phonetic = false;
    ptl_buf_clear(&b->text);
    XML_SetUserData(b->parser, b);
    XML_SetElementHandler(b->parser, begin, end);
    XML_SetCharacterDataHandler(b->parser, on_text);
    XML_SetStartDoctypeDeclHandler(b->parser, on_doctype);
    bool well = XML_Parse(b->parser, ptl_buf_str(&p->data), (int)p->data.len, 1) == XML_STATUS_OK;
    int r = b->result;
    if (!well && r <= 0)
        r = ptl_error_set(err, r < 0 ? r : -EINVAL, "workbook: %s, line %lu: %s", p->name,
                          (unsigned long)XML_GetCurrentLineNumber(b->parser),
                          r < 0 ? "not what a workbook holds" : XML_ErrorString(XML_GetErrorCode(b->parser)));
    XML_ParserFree(b->parser);
    b->parser = NULL;
    return r;
}

static void XMLCALL workbook_begin(void *ctx, const XML_Char *name, const XML_Char **atts)
{
    struct book *b = ctx;
    const char *title = attribute(atts, "name"), *id = NULL;
    if (strcmp(local(name), "sheet") != 0 || !title || b->n_sheets == SHEETS_MAX)
        return;
    for (const XML_Char **a = atts; *a; a += 2) /* r:id, not sheetId */
        if (strcmp(local(a[0]), "id") == 0)
            id = a[1];
    if (id)
        b->sheets[b->n_sheets++] = (struct sheet){.name = ptl_xstrdup(title), .relation = ptl_xstrdup(id)};
}

static void XMLCALL relations_begin(void *ctx, const XML_Char *name, const XML_Char **atts)
{
    struct book *b = ctx;
    const char *id = attribute(atts, "Id"), *target = attribute(atts, "Target");
    if (strcmp(local(name), "Relationship") != 0 || !id || !target)
        return;
    for (size_t i = 0; i < b->n_sheets; i++)
        if (ptl_str_eq(b->sheets[i].relation, id) && !b->sheets[i].part)
            b->sheets[i].part = *target == '/' ? ptl_xstrdup(target + 1) : ptl_xasprintf("xl/%s", target);
}

static void XMLCALL strings_begin(void *ctx, const XML_Char *name, const XML_Char **atts PTL_UNUSED)
{
    struct book *b = ctx;
    const char *n = local(name);
    if (strcmp(n, "si") == 0)
        ptl_buf_clear(&b->text);
    b->in_text |= strcmp(n, "t") == 0;
    b->in_phonetic |= strcmp(n, "rPh") == 0;
}

static void XMLCALL strings_end(void *ctx, const XML_Char *name)
{
    struct book *b = ctx;
    const char *n = local(name);
    if (strcmp(n, "t") == 0)
        b->in_text = false;
    if (strcmp(n, "rPh") == 0)
        b->in_phonetic = false;
    if (strcmp(n, "si") != 0)
        return;
    if (b->n_strings == b->cap_strings) {
        size_t cap = b->cap_strings ? 2 * b->cap_strings : 256;
        char **grown = cap > 2 * STRINGS_MAX ? NULL : realloc(b->strings, cap * sizeof(*grown));
        if (!grown) {
            stop(b, -ENOMEM);
            return;
        }
        b->strings = grown;
        b->cap_strings = cap;
    }
    b->strings[b->n_strings++] = ptl_xstrdup(ptl_buf_str(&b->text));
}

/* "C17" is column 2. */
static int column_of(const char *cell)
{
    int n = 0;
    for (; cell && *cell >= 'A' && *cell <= 'Z' && n < 1000; cell++)
        n = 26 * n + (*cell - 'A' + 1);
    return n - 1;
}

static void XMLCALL sheet_begin(void *ctx, const XML_Char *name, const XML_Char **atts)
{
    struct book *b = ctx;
    const char *n = local(name);
    if (strcmp(n, "row") == 0) {
        b->row++;
        b->column = -1;
        for (size_t i = 0; i < CLI_XLSX_COLUMNS; i++)
            ptl_buf_clear(&b->cells[i]);
    } else if (strcmp(n, "c") == 0) {
        const char *at = attribute(atts, "r"), *type = attribute(atts, "t");
        b->column = at ? column_of(at) : b->column + 1;
        b->type = type ? type[0] : 'n';
        ptl_buf_clear(&b->text);
        if (type && strcmp(type, "str") == 0)
            b->type = 'n'; /* text as it is */
    } else if (strcmp(n, "v") == 0 || strcmp(n, "t") == 0) {
        b->in_text = true;
    } else if (strcmp(n, "rPh") == 0) {
        b->in_phonetic = true;
    }
}

static void XMLCALL sheet_end(void *ctx, const XML_Char *name)
{
    struct book *b = ctx;
    const char *n = local(name), *cells[CLI_XLSX_COLUMNS];
    if (strcmp(n, "v") == 0 || strcmp(n, "t") == 0)
        b->in_text = false;
    if (strcmp(n, "rPh") == 0)
        b->in_phonetic = false;
    if (strcmp(n, "c") == 0 && b->column >= 0 && b->column < CLI_XLSX_COLUMNS) {
        const char *text = ptl_buf_str(&b->text);
        if (b->type == 's') {
            unsigned long long i = strtoull(text, NULL, 10);
            text = i < b->n_strings ? b->strings[i] : "";
        }
        if (ptl_buf_puts(&b->cells[b->column], text) < 0)
            stop(b, -ENOMEM);
    }
    if (strcmp(n, "row") != 0)
        return;
    for (size_t i = 0; i < CLI_XLSX_COLUMNS; i++)
        cells[i] = ptl_buf_str(&b->cells[i]);
    int r = b->fn(b->ctx, b->sheet->name, b->row, cells);
    if (r)
        stop(b, r);
}

static const struct part *find(const struct book *b, const char *name)
{
    for (size_t i = 0; name && i < b->n_parts; i++)
        if (ptl_str_eq(b->parts[i].name, name))
            return &b->parts[i];
    return NULL;
}

int cli_xlsx_read(const void *data, size_t len, cli_xlsx_row_fn *fn, void *ctx, struct ptl_error *err)
{
    struct book *b = ptl_xcalloc(1, sizeof(*b));
    b->text.max = 1 << 20;
    for (size_t i = 0; i < CLI_XLSX_COLUMNS; i++)
        b->cells[i].max = 1 << 20;
    b->fn = fn;
    b->ctx = ctx;
    int r = read_zip(b, data, len, err);
    const struct part *workbook = find(b, "xl/workbook.xml"),
                      *relations = find(b, "xl/_rels/workbook.xml.rels"),
                      *strings = find(b, "xl/sharedStrings.xml");
    if (r == 0 && (!workbook || !relations))
        r = ptl_error_set(err, -EINVAL, "no workbook: xl/workbook.xml and its relations are not in the file");
    if (r == 0)
        r = parse(b, workbook, workbook_begin, NULL, err);
    if (r == 0)
        r = parse(b, relations, relations_begin, NULL, err);
    if (r == 0 && strings)
        r = parse(b, strings, strings_begin, strings_end, err);
    for (size_t i = 0; r == 0 && i < b->n_sheets; i++) {
        const struct part *p = find(b, b->sheets[i].part);
        b->sheet = &b->sheets[i];
        b->row = 0;
        if (p)
            r = parse(b, p, sheet_begin, sheet_end, err);
    }
    book_done(b);
    free(b);
    return r;
}
