/* posts.c - reads posts and labels. Posts are lines of Stack Exchange's own members (Id, Title, Body as HTML,
 * Tags, AcceptedAnswerId, CreationDate); the platform is in the file's name. Labels are rows "n, address,
 * label" on a sheet that is called as the platform. */
#include "posts.h"
#include "xlsx.h"
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <portolan/fs.h>
#include <stdio.h>

enum { FILE_MAX = 64 << 20, FILES_MAX = 2000, TEXT_MAX = 60000, TITLE_MAX = 1000, CASES_MAX = 200000 };

void cli_posts_done(struct cli_posts *p)
{
    json_decref(p->cases);
    json_decref(p->labels);
    *p = (struct cli_posts){0};
}

/* ---- HTML */
static size_t entity(const char *p, struct ptl_buf *ret)
{
    static const char *const names[][2] = {
        {"&lt;",   "<" },
        {"&gt;",   ">" },
        {"&amp;",  "&" },
        {"&quot;", "\""},
        {"&apos;", "'" },
        {"&nbsp;", " " }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(names); i++)
        if (ptl_str_starts(p, names[i][0])) {
            ptl_buf_puts(ret, names[i][1]);
            return strlen(names[i][0]);
        }
    if (p[1] == '#') {
        char *end;
        unsigned long c = p[2] == 'x' || p[2] == 'X' ? strtoul(p + 3, &end, 16) : strtoul(p + 2, &end, 10);
        if (*end == ';' && c >= 0x20 && c < 0x7f) {
            ptl_buf_putc(ret, (char)c);
            return (size_t)(end + 1 - p);
        }
        if (*end == ';') { /* beyond ASCII: a stand-in is enough for words */
            ptl_buf_putc(ret, '?');
            return (size_t)(end + 1 - p);
        }
    }
    ptl_buf_putc(ret, '&');
    return 1;
}

void cli_posts_plain(const char *html, struct ptl_buf *ret)
{
    static const char *const blocks[] = {"p",  "/p", "br",  "pre", "/pre", "li",         "/li", "h1",
                                         "h2", "h3", "/h1", "/h2", "/h3",  "blockquote", "div", "hr"};
    for (const char *p = html; *p && !ret->failed;) {
        if (*p == '&') {
            p += entity(p, ret);
            continue;
        }
        const char *end =
            *p == '<' && (isalpha((unsigned char)p[1]) || p[1] == '/' || p[1] == '!') ? strchr(p, '>') : NULL;
        if (!end) {
            ptl_buf_putc(ret, *p++);
            continue;
        }
        size_t n = strcspn(p + 1, " \t\n/>") + (p[1] == '/' ? 1 + strcspn(p + 2, " \t\n>") : 0);
        bool block = false;
        for (size_t i = 0; i < PTL_ARRAY_LEN(blocks); i++)
            block |= strlen(blocks[i]) == n && strncmp(blocks[i], p + 1, n) == 0;
        if (block && ret->len && ret->data[ret->len - 1] != '\n')
            ptl_buf_putc(ret, '\n');
        p = end + 1;
    }
}

/* ---- posts */
static const char *platform_in(const char *name)
{
    static const char *const platforms[] = {"server", "mobile", "browser"};
    const char *base = strrchr(name, '/');
    for (size_t i = 0; i < PTL_ARRAY_LEN(platforms); i++)
        if (strcasestr(base ? base + 1 : name, platforms[i]))
            return platforms[i];
    return NULL;
}

static json_t *bounded(const char *s, size_t max)
{
    size_t n = strlen(s);
    if (n > max)
        for (n = max; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80;)
            n--;
    return json_stringn(s, n);
}

static json_t *tags_of(const json_t *post)
{
    const char *tags = ptl_json_str(post, "Tags", ""); /* "<android><tensorflow>" */
    json_t *list = json_array();
    for (const char *p = strchr(tags, '<'); p && json_array_size(list) < 20; p = strchr(p + 1, '<')) {
        size_t n = strcspn(p + 1, ">");
        if (n > 0 && n < 100)
            json_array_append_new(list, json_stringn(p + 1, n));
    }
    return list;
}

static bool digits_only(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s) && strlen(s) < 20;
}

static bool take_post(struct cli_posts *ret, const json_t *post, const char *platform)
{
    const char *id = ptl_json_str(post, "Id", ""), *title = ptl_json_str(post, "Title", ""),
               *html = ptl_json_str(post, "Body", NULL);
    const char *asked = ptl_json_str(post, "CreationDate", NULL);
    if (!digits_only(id) || !html || !*title || !ptl_str_eq(ptl_json_str(post, "PostTypeId", "1"), "1"))
        return false;
    PTL_BUF text = PTL_BUF_MAX(8 << 20);
    cli_posts_plain(html, &text);
    PTL_FREE char *key = ptl_xasprintf("so-%s", id);
    json_t *c = json_pack(
        "{s:s,s:o,s:o,s:o,s:s,s:[],s:o,s:b,s:o}", "id", key, "url",
        json_sprintf("https://stackoverflow.com/questions/%s", id), "title", bounded(title, TITLE_MAX),
        "text", bounded(text.len ? ptl_buf_str(&text) : title, TEXT_MAX), "platform", platform, "labels",
        "tags", tags_of(post), "answered", ptl_json_str(post, "AcceptedAnswerId", NULL) != NULL, "asked_at",
        asked && strlen(asked) < 40 ? json_sprintf("%sZ", asked) : json_null());
    return c && json_object_size(ret->cases) < CASES_MAX && json_object_set_new(ret->cases, key, c) == 0;
}

static void take_lines(struct cli_posts *ret, const char *text, size_t len, const char *platform)
{
    for (const char *p = text, *end = text + len; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((nl ? nl : end) - p);
        PTL_JSON *post = n ? json_loadb(p, n, 0, NULL) : NULL;
        if (n > 1 && (!json_is_object(post) || !take_post(ret, post, platform)))
            ret->broken++;
        p += n + 1;
    }
    ret->files++;
}

/* ---- labels */
static int take_row(void *ctx, const char *sheet, size_t row PTL_UNUSED,
                    const char *const cells[CLI_XLSX_COLUMNS])
{
    struct cli_posts *p = ctx;
    const char *platform = platform_in(sheet), *url = NULL, *label = NULL;
    for (size_t i = 0; i < CLI_XLSX_COLUMNS; i++)
        if (!url && strstr(cells[i], "/questions/"))
            url = strstr(cells[i], "/questions/") + 11;
        else if (url && !label && *cells[i])
            label = cells[i];
    size_t n = url ? strspn(url, "0123456789") : 0;
    if (!platform || !label || n == 0 || n > 19 || strlen(label) > 200)
        return 0; /* the head, or a row that is none */
    PTL_FREE char *id = strndup(url, n);
    return json_object_set_new(p->labels, id, json_pack("{s:s,s:s}", "platform", platform, "label", label))
               ? -ENOMEM
               : 0;
}

/* ---- the folder */
static bool is_shadow(const char *path) /* what another system's archiver leaves beside files */
{
    const char *base = strrchr(path, '/');
    return strstr(path, "__MACOSX") || (base ? base[1] : path[0]) == '.';
}

static int take_file(struct cli_posts *ret, const char *name, const struct ptl_buf *data,
                     struct ptl_error *err);

static int take_zip(struct cli_posts *ret, const char *name, const struct ptl_buf *data,
                    struct ptl_error *err)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    int r = 0, got = ARCHIVE_OK;
    archive_read_support_format_zip(a);
    if (!a || archive_read_open_memory(a, ptl_buf_str(data), data->len) != ARCHIVE_OK)
        r = ptl_error_set(err, -EINVAL, "%s: no zip: %s", name,
                          a ? archive_error_string(a) : "out of memory");
    for (size_t files = 0; r == 0 && (got = archive_read_next_header(a, &e)) >= ARCHIVE_WARN &&
                           got != ARCHIVE_EOF && files < FILES_MAX;
         files++) {
        const char *inner = archive_entry_pathname(e);
        PTL_BUF b = PTL_BUF_MAX(FILE_MAX);
        char piece[16384];
        ssize_t n = 0;
        if (!inner || is_shadow(inner) || ptl_str_ends(inner, ".zip"))
            continue;
        while ((n = archive_read_data(a, piece, sizeof(piece))) > 0 && ptl_buf_add(&b, piece, (size_t)n) == 0)
            ;
        if (n < 0 || b.failed)
            r = ptl_error_set(err, -EINVAL, "%s: '%s' in it is damaged or larger than %d MiB", name, inner,
                              FILE_MAX >> 20);
        else
            r = take_file(ret, inner, &b, err);
    }
    if (r == 0 && got != ARCHIVE_EOF && got < ARCHIVE_WARN)
        r = ptl_error_set(err, -EINVAL, "%s: its zip is damaged: %s", name, archive_error_string(a));
    archive_read_free(a);
    return r;
}

static int take_file(struct cli_posts *ret, const char *name, const struct ptl_buf *data,
                     struct ptl_error *err)
{
    static const char *const posts[] = {".txt", ".json", ".jsonl", ".ndjson"};
    const char *platform = platform_in(name);
    if (ptl_str_ends(name, ".zip"))
        return take_zip(ret, name, data, err);
    if (ptl_str_ends(name, ".xlsx")) {
        int r = cli_xlsx_read(ptl_buf_str(data), data->len, take_row, ret, err);
        ret->books += r == 0;
        return r < 0 ? ptl_error_prefix(err, r, "%s", name) : r;
    }
    for (size_t i = 0; platform && i < PTL_ARRAY_LEN(posts); i++)
        if (ptl_str_ends(name, posts[i]))
            take_lines(ret, ptl_buf_str(data), data->len, platform);
    return 0;
}

struct walking {
    struct cli_posts *ret;
    struct ptl_error *err;
    int r;
};

static int on_file(void *ctx, const struct ptl_fs_entry *e)
{
    static const char *const kinds[] = {".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".zip"};
    struct walking *w = ctx;
    bool known = false;
    for (size_t i = 0; i < PTL_ARRAY_LEN(kinds); i++)
        known |= ptl_str_ends(e->path, kinds[i]);
    if (e->is_dir || e->is_link || !known || is_shadow(e->path))
        return 0;
    PTL_BUF b = PTL_BUF_INIT;
    w->r = ptl_fs_read(e->full, FILE_MAX, &b, w->err);
    if (w->r == 0)
        w->r = take_file(w->ret, e->full, &b, w->err);
    return w->r;
}

int cli_posts_read(const char *dir, struct cli_posts *ret, struct ptl_error *err)
{
    struct walking w = {ret, err, 0};
    *ret = (struct cli_posts){.cases = json_object(), .labels = json_object()};
    int r = ptl_fs_walk(dir, FILES_MAX, on_file, &w, err);
    if (w.r < 0)
        r = w.r;
    const char *id;
    json_t *label;
    json_object_foreach(ret->labels, id, label)
    {
        PTL_FREE char *key = ptl_xasprintf("so-%s", id);
        json_t *c = json_object_get(ret->cases, key);
        if (!c)
            continue;
        json_object_set(c, "platform",
                        json_object_get(label, "platform")); /* the sheet knows better than the file */
        json_array_append(json_object_get(c, "labels"), json_object_get(label, "label"));
    }
    if (r < 0)
        cli_posts_done(ret);
    return r;
}
