/* files.c - the knowledge as a folder of files: what an import changes, what an export writes. A file is
 * split into the lines of its objects; an object that the tables hold as the file has it keeps its bytes. */
#include "files.h"
#include "kb.h"
#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/spec.h>

enum { DIFF_LINES_MAX = 2000, AROUND = 3 };
#define RETIRED "retired.yml"

/* ---- one object as YAML */
static const char *const indicator_order[] = {"id",        "summary", "pattern", "flags",       "also",
                                              "unless",    "scope",   "weights", "specificity", "role",
                                              "transient", "remedy",  "sources", "valid"};
static const char *const entry_order[] = {"id",       "about",        "symptoms",           "causes",
                                          "remedies", "dl_developer", "platform_developer", "decide",
                                          "sources",  "valid"};

static json_t *ordered(const json_t *j, const char *const *order, size_t n)
{
    json_t *out = json_object(), *v;
    const char *key;
    for (size_t i = 0; i < n; i++)
        if (json_object_get(j, order[i]))
            json_object_set(out, order[i], json_object_get(j, order[i]));
    json_object_foreach((json_t *)j, key, v) if (!json_object_get(out, key)) json_object_set(out, key, v);
    return out;
}

/* Without what reading a file fills in. */
static json_t *bare_indicator(const json_t *data)
{
    static const char *const empty[] = {"flags", "also", "unless", "scope"};
    static const char *const silent[] = {"weights", "sources", "specificity", "transient", "summary"};
    json_t *out = ordered(data, indicator_order, PTL_ARRAY_LEN(indicator_order));
    const char *role = ptl_json_str(data, "role", "cause");
    bool speaks = strcmp(role, "generic") != 0 && strcmp(role, "benign") != 0;
    json_object_del(out, "file");
    if (strcmp(role, "cause") == 0)
        json_object_del(out, "role");
    for (size_t i = 0; i < PTL_ARRAY_LEN(empty); i++) {
        const json_t *v = json_object_get(out, empty[i]);
        if (json_array_size(v) + json_object_size(v) == 0)
            json_object_del(out, empty[i]);
    }
    for (size_t i = 0; !speaks && i < PTL_ARRAY_LEN(silent); i++) {
        const json_t *v = json_object_get(out, silent[i]);
        if (json_is_null(v) || (json_is_number(v) && json_number_value(v) == 0) ||
            (json_is_string(v) && json_string_length(v) == 0) ||
            ((json_is_array(v) || json_is_object(v)) && json_array_size(v) + json_object_size(v) == 0))
            json_object_del(out, silent[i]);
    }
    return out;
}

static char *yaml_of(json_t *j /* taken */, int indent, bool item)
{
    PTL_BUF b = PTL_BUF_INIT;
    int r = ptl_yaml_write(j, indent, item, &b);
    char *text = r == 0 ? ptl_buf_take(&b, NULL) : NULL;
    json_decref(j);
    return text ? text : ptl_xstrdup("");
}

char *ptl_kb_indicator_yaml(const json_t *data)
{
    return yaml_of(bare_indicator(data), 0, false);
}

char *ptl_kb_entry_yaml(const json_t *entry)
{
    return yaml_of(ordered(entry, entry_order, PTL_ARRAY_LEN(entry_order)), 0, false);
}

/* ---- diff */
struct line {
    const char *p;
    size_t n;
};

static size_t lines_of(const char *text, struct line *v, size_t max)
{
    size_t n = 0;
    while (*text && n < max) {
        size_t len = strcspn(text, "\n");
        v[n++] = (struct line){text, len};
        text += len + (text[len] == '\n');
    }
    return n;
}

static void put_line(struct ptl_buf *b, char mark, const struct line *l)
{
    ptl_buf_putc(b, mark);
    ptl_buf_add(b, l->p, l->n);
    ptl_buf_putc(b, '\n');
}

static bool same_line(const struct line *a, const struct line *b)
{
    return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

/* Longest common run by the table of suffixes; printed with a few lines around each change. */
static void diff_lines(const struct line *a, size_t n, const struct line *b, size_t m, const uint16_t *lcs,
                       struct ptl_buf *ret)
{
    PTL_FREE char *mark = calloc(n + m + 1, 1);
    PTL_FREE const struct line **at = calloc(n + m + 1, sizeof(*at));
    size_t i = 0, j = 0, k = 0;
    if (!mark || !at)
        return;
    while (i < n || j < m) {
        if (i < n && j < m && same_line(&a[i], &b[j])) {
            mark[k] = ' ';
            at[k++] = &a[i++];
            j++;
        } else if (i < n && (j == m || lcs[(i + 1) * (m + 1) + j] >= lcs[i * (m + 1) + j + 1])) {
            mark[k] = '-';
            at[k++] = &a[i++];
        } else {
            mark[k] = '+';
            at[k++] = &b[j++];
        }
    }
    bool left_out = false;
    for (i = 0; i < k; i++) {
        bool near = mark[i] != ' ';
        for (j = i > AROUND ? i - AROUND : 0; !near && j < k && j <= i + AROUND; j++)
            near = mark[j] != ' ';
        if (near && left_out)
            ptl_buf_puts(ret, "...\n");
        left_out = !near;
        if (near)
            put_line(ret, mark[i], at[i]);
    }
}

void ptl_kb_diff(const char *a, const char *b, struct ptl_buf *ret)
{
    PTL_FREE struct line *va = calloc(DIFF_LINES_MAX + 1, sizeof(*va));
    PTL_FREE struct line *vb = calloc(DIFF_LINES_MAX + 1, sizeof(*vb));
    if (!va || !vb)
        return;
    size_t n = lines_of(a ? a : "", va, DIFF_LINES_MAX + 1), m = lines_of(b ? b : "", vb, DIFF_LINES_MAX + 1);
    bool large = n > DIFF_LINES_MAX || m > DIFF_LINES_MAX || n * m > (size_t)DIFF_LINES_MAX * 1000;
    PTL_FREE uint16_t *lcs = large ? NULL : calloc((n + 1) * (m + 1), sizeof(*lcs));
    for (size_t i = n; lcs && i-- > 0;)
        for (size_t j = m; j-- > 0;) {
            uint16_t down = lcs[(i + 1) * (m + 1) + j], right = lcs[i * (m + 1) + j + 1];
            lcs[i * (m + 1) + j] = same_line(&va[i], &vb[j]) ? (uint16_t)(lcs[(i + 1) * (m + 1) + j + 1] + 1)
                                   : down > right            ? down
                                                             : right;
        }
    if (lcs) {
        diff_lines(va, n, vb, m, lcs, ret);
        return;
    }
    for (size_t i = 0; i < n; i++)
        put_line(ret, '-', &va[i]);
    for (size_t i = 0; i < m; i++)
        put_line(ret, '+', &vb[i]);
}

/* ---- a file as the lines of its objects */
struct piece {
    size_t start, end, glue; /* [start, end) the object; [end, glue) blank lines and comments behind it */
};
struct pieces {
    struct piece *v;
    size_t n, cap;
    int indent; /* of the dashes */
};

static size_t next_line(const char *text, size_t at)
{
    size_t n = strcspn(text + at, "\n");
    return at + n + (text[at + n] == '\n');
}

static bool is_empty_line(const char *p)
{
    p += strspn(p, " \t");
    return *p == '\n' || *p == '\r' || *p == '#' || *p == 0;
}

static int add_piece(struct pieces *p, size_t start)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct piece *v = realloc(p->v, cap * sizeof(*v));
        if (!v)
            return -ENOMEM;
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = (struct piece){start, start, start};
    return 0;
}

/* Finds the items of the block list behind the line "KEY:". In a block list a line that begins with the
 * list's own indentation and a dash is an item: what continues one stands deeper. *ret->n 0: it is written
 * otherwise. */
static int split(const char *text, const char *key, struct pieces *ret)
{
    size_t n_key = strlen(key), at = 0;
    *ret = (struct pieces){.indent = -1};
    while (text[at] && !(strncmp(text + at, key, n_key) == 0 && text[at + n_key] == ':' &&
                         is_empty_line(text + at + n_key + 1)))
        at = next_line(text, at);
    for (at = text[at] ? next_line(text, at) : at; text[at]; at = next_line(text, at)) {
        int indent = (int)strspn(text + at, " ");
        const char *p = text + at + indent;
        bool dash = p[0] == '-' && (p[1] == ' ' || p[1] == '\n');
        struct piece *last = ret->n ? &ret->v[ret->n - 1] : NULL;
        size_t end = next_line(text, at);
        if (is_empty_line(text + at)) {
            if (last)
                last->glue = end;
            continue;
        }
        if (ret->indent < 0 && dash)
            ret->indent = indent;
        if (dash && indent == ret->indent) {
            if (add_piece(ret, at) < 0)
                return -ENOMEM;
            last = &ret->v[ret->n - 1];
        } else if (!last || indent <= ret->indent) {
            break; /* another key behind the list: it stays as it is */
        }
        last->end = last->glue = end;
    }
    return 0;
}

static bool is_list_file(const char *path, const char **ret_key)
{
    *ret_key = ptl_str_starts(path, "indicators/") ? "indicators"
               : ptl_str_starts(path, "entries/")  ? "entries"
                                                   : NULL;
    return *ret_key && ptl_str_ends(path, ".yml");
}

/* ---- objects */
static json_t *without_file(const json_t *data)
{
    json_t *j = json_copy((json_t *)data);
    json_object_del(j, "file");
    return j;
}

static bool same_data(const json_t *a, const json_t *b)
{
    PTL_JSON *x = without_file(a);
    PTL_JSON *y = without_file(b);
    return json_equal(x, y);
}

/* The item of a file as the tables would hold it; NULL: it is not well-formed (problems says why). */
static json_t *normalised(const json_t *doc, const char *key, const char *path, const json_t *item,
                          json_t *problems)
{
    json_t *out = NULL;
    int r = strcmp(key, "indicators") == 0 ? ptl_kb_indicator_check(doc, path, item, problems, &out)
                                           : ptl_kb_entry_check(doc, path, item, problems, &out);
    return r == 0 ? out : NULL;
}

static const json_t *in_force(const json_t *state, const char *key, const char *id)
{
    const json_t *o = json_object_get(json_object_get(state, key), id);
    return json_object_get(o, strcmp(key, "indicators") == 0 ? "data" : "entry");
}

/* ---- import */
struct plan {
    const json_t *doc, *state;
    const struct ptl_kb_files *shipped;
    json_t *problems, *out, *seen;
    size_t unchanged;
};

static void problem(struct plan *p, const char *path, const char *object, const char *text)
{
    PTL_FREE char *line =
        ptl_xasprintf("%.200s: %.200s%s%s", path, object ? object : "", object ? ": " : "", text);
    PTL_FREE char *clean = ptl_json_text_utf8(line, strlen(line));
    json_array_append_new(p->problems, json_string(clean));
}

static void plan_indicator(struct plan *p, const char *path, json_t *data)
{
    const char *id = ptl_json_str(data, "id", "");
    const json_t *now = json_object_get(json_object_get(p->state, "indicators"), id);
    json_object_set_new(data, "file", json_string(path));
    if (now && same_data(json_object_get(now, "data"), data)) {
        p->unchanged++;
    } else if (!ptl_str_starts(id, "local/")) {
        problem(
            p, path, id,
            now ? "what ships cannot be changed by an import: retire it and add one of your own called local/…"
                : "it does not ship with this version; one's own indicators are called local/…");
    } else {
        json_array_append_new(json_object_get(p->out, "indicators"),
                              json_pack("{s:s,s:O,s:I}", "id", id, "data", data, "revision",
                                        (json_int_t)ptl_json_i64(now, "revision", 0)));
    }
}

static void plan_entry(struct plan *p, const json_t *entry)
{
    const char *id = ptl_json_str(entry, "id", "");
    const json_t *now = json_object_get(json_object_get(p->state, "entries"), id);
    if (json_equal(json_object_get(now, "entry"), entry)) {
        p->unchanged++;
        return;
    }
    const json_t *shipped = json_object_get(now, "shipped");
    json_array_append_new(json_object_get(p->out, "entries"),
                          json_pack("{s:s,s:o,s:I}", "id", id, "entry",
                                    json_is_object(shipped) && json_equal(shipped, entry)
                                        ? json_null()
                                        : json_incref((json_t *)entry),
                                    "revision", (json_int_t)ptl_json_i64(now, "revision", 0)));
}

static void plan_list(struct plan *p, const char *path, const char *key, const char *text)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *doc = NULL;
    size_t i;
    json_t *v;
    if (ptl_yaml_parse(text, strlen(text), path, &doc, &err) < 0) {
        json_array_append_new(p->problems, json_string(err.text));
        return;
    }
    const json_t *list = json_object_get(doc, key);
    if (ptl_json_i64(doc, "version", 1) != 1 || !json_is_array(list))
        problem(p, path, NULL, "expected \"version: 1\" and a list of that folder's name");
    json_array_foreach(list, i, v)
    {
        PTL_JSON *data = normalised(p->doc, key, path, v, p->problems);
        const char *id = ptl_json_str(data, "id", NULL);
        PTL_FREE char *name = ptl_xasprintf("%s %s", key, id ? id : "");
        if (!id)
            continue;
        if (json_object_get(p->seen, name)) {
            problem(p, path, id, "it is in these files twice");
            continue;
        }
        json_object_set_new(p->seen, name, json_true());
        if (strcmp(key, "indicators") == 0)
            plan_indicator(p, path, data);
        else
            plan_entry(p, data);
    }
}

static void plan_retired(struct plan *p, const char *text)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *doc = NULL;
    size_t i;
    json_t *v;
    if (ptl_yaml_parse(text, strlen(text), RETIRED, &doc, &err) < 0) {
        json_array_append_new(p->problems, json_string(err.text));
        return;
    }
    json_array_foreach(json_object_get(doc, "retired"), i, v)
    {
        const char *id = json_is_string(v) ? json_string_value(v) : "?";
        const json_t *now = json_object_get(json_object_get(p->state, "indicators"), id);
        PTL_FREE char *name = ptl_xasprintf("indicators %s", id);
        if (!now && !json_object_get(p->seen, name))
            problem(p, RETIRED, id, "there is no such indicator");
        else if (ptl_json_flag(now, "retired", false))
            p->unchanged++;
        else
            json_array_append(json_object_get(p->out, "retire"), v);
    }
}

static void skip(struct plan *p, const char *path, const char *why)
{
    json_array_append_new(json_object_get(p->out, "skipped"), json_sprintf("%s: %s", path, why));
}

static void plan_file(struct plan *p, const char *path, const char *text, bool retired)
{
    const struct ptl_kb_file *shipped = ptl_kb_file_find(p->shipped, path);
    bool as_shipped =
        shipped && shipped->len == strlen(text) && memcmp(shipped->text, text, shipped->len) == 0;
    const char *key;
    bool list = is_list_file(path, &key), is_retired = strcmp(path, RETIRED) == 0;
    if (is_retired != retired)
        return;
    if (list)
        plan_list(p, path, key, text);
    else if (is_retired)
        plan_retired(p, text);
    else if (ptl_str_starts(path, "taxonomy/") && !as_shipped)
        problem(p, path, NULL, "taxonomies belong to the program and cannot be imported");
    else if (!as_shipped)
        skip(p, path,
             ptl_str_starts(path, "model/") ? "the text model and its numbers are not imported"
                                            : "not a file of the knowledge base");
    if (!list && !is_retired)
        return;
    const json_t *kept = json_object_get(json_object_get(p->state, "files"), path);
    if (as_shipped && kept)
        json_array_append_new(json_object_get(p->out, "forget"), json_string(path));
    else if (!as_shipped && !ptl_str_eq(json_string_value(kept), text))
        json_array_append_new(json_object_get(p->out, "keep"),
                              json_pack("{s:s,s:s}", "path", path, "text", text));
}

int ptl_kb_files_plan(const json_t *doc, const struct ptl_kb_files *shipped, const json_t *files,
                      const json_t *state, json_t *problems, json_t **ret)
{
    struct plan p = {.doc = doc, .state = state, .shipped = shipped, .problems = problems};
    PTL_JSON *out = json_pack("{s:[],s:[],s:[],s:[],s:[],s:[]}", "indicators", "entries", "retire", "keep",
                              "forget", "skipped");
    PTL_JSON *seen = json_object();
    size_t i, before = json_array_size(problems);
    json_t *v;
    if (!out || !seen)
        return -ENOMEM;
    p.out = out;
    p.seen = seen;
    if (json_array_size(files) > PTL_KB_IMPORT_FILES_MAX)
        problem(&p, "files", NULL, "more than 500: import them in parts");
    for (int retired = 0; retired < 2 && json_array_size(files) <= PTL_KB_IMPORT_FILES_MAX; retired++)
        json_array_foreach(files, i, v)
        {
            const char *path = ptl_json_str(v, "path", ""), *text = ptl_json_str(v, "text", NULL);
            if (!ptl_fs_is_safe_relative(path)) {
                if (!retired)
                    problem(&p, "files", NULL, "a path is relative, without . and ..");
            } else if (text) {
                plan_file(&p, path, text, retired);
            } else if (!retired) {
                skip(&p, path, "not text");
            }
        }
    size_t changes = json_array_size(json_object_get(out, "indicators")) +
                     json_array_size(json_object_get(out, "entries")) +
                     json_array_size(json_object_get(out, "retire"));
    if (changes > PTL_KB_IMPORT_CHANGES_MAX)
        problem(&p, "files", NULL, "more than 450 changes: import them in parts");
    if (json_array_size(problems) > before)
        return -EINVAL;
    json_object_set_new(out, "unchanged", json_integer((json_int_t)p.unchanged));
    *ret = json_incref(out);
    return 0;
}

/* ---- export */
struct folder {
    const json_t *doc, *state;
    json_t *texts;  /* path -> text */
    json_t *placed; /* "indicators ID", "entries ID" */
};

static void place(struct folder *f, const char *key, const char *id)
{
    PTL_FREE char *name = ptl_xasprintf("%s %s", key, id);
    json_object_set_new(f->placed, name, json_true());
}

static bool is_placed(const struct folder *f, const char *key, const char *id)
{
    PTL_FREE char *name = ptl_xasprintf("%s %s", key, id);
    return json_object_get(f->placed, name) != NULL;
}

static void put_item(struct ptl_buf *b, const char *key, const json_t *data, int indent)
{
    json_t *j = strcmp(key, "indicators") == 0 ? bare_indicator(data)
                                               : ordered(data, entry_order, PTL_ARRAY_LEN(entry_order));
    PTL_FREE char *text = yaml_of(j, indent, true);
    ptl_buf_puts(b, text);
}

/* Is this object to stand in this file? Not when another file has it already, or it is no more. */
static const json_t *to_write(const struct folder *f, const char *key, const char *id)
{
    const json_t *now = in_force(f->state, key, id);
    return json_is_object(now) && !is_placed(f, key, id) ? now : NULL;
}

/* Does the text hold what is to stand there, all of it and nothing else? */
static bool holds(const struct folder *f, const char *path, const char *key, const json_t *list,
                  const char *text)
{
    PTL_JSON *doc = NULL;
    PTL_JSON *problems = json_array();
    size_t i, want = 0, got = 0;
    json_t *v;
    json_array_foreach(list, i, v) want += to_write(f, key, ptl_json_str(v, "id", "")) != NULL;
    if (ptl_yaml_parse(text, strlen(text), path, &doc, NULL) < 0)
        return false;
    json_array_foreach(json_object_get(doc, key), i, v)
    {
        PTL_JSON *data = normalised(f->doc, key, path, v, problems);
        const json_t *now = data ? to_write(f, key, ptl_json_str(data, "id", "")) : NULL;
        if (!now || !same_data(now, data))
            return false;
        got++;
    }
    return got == want;
}

/* The objects of a list into `b`: those that are as `text` has them by its own lines (`p`; NULL: all are
 * written anew). Returns whether anything is another than in `text`. */
static bool compose(const struct folder *f, const char *path, const char *key, const char *text,
                    const json_t *list, const struct pieces *p, struct ptl_buf *b)
{
    bool changed = false;
    size_t i, at = 0;
    json_t *v;
    if (!p)
        ptl_buf_printf(b, "version: 1\n%s:\n", key);
    json_array_foreach(list, i, v)
    {
        const json_t *now = to_write(f, key, ptl_json_str(v, "id", ""));
        PTL_JSON *problems = json_array();
        PTL_JSON *data = now ? normalised(f->doc, key, path, v, problems) : NULL;
        bool same = data && same_data(now, data);
        if (p) {
            ptl_buf_add(b, text + at, p->v[i].start - at);
            at = p->v[i].end;
        }
        if (same && p)
            ptl_buf_add(b, text + p->v[i].start, p->v[i].end - p->v[i].start);
        else if (now)
            put_item(b, key, now, p ? p->indent : 2);
        changed = changed || !same;
    }
    if (p)
        ptl_buf_puts(b, text + at);
    return changed;
}

/* The file as it was read, with the lines of those objects that are others now written anew, and of those
 * that are no more left out. Where its lines cannot be told apart (a flow list, a quoted text that runs on at
 * the margin), all of it is written anew. */
static void write_list(struct folder *f, const char *path, const char *key, const char *text)
{
    struct pieces p = {0};
    PTL_JSON *doc = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    PTL_BUF anew = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    if (ptl_yaml_parse(text, strlen(text), path, &doc, NULL) < 0 || split(text, key, &p) < 0) {
        free(p.v);
        return;
    }
    const json_t *list = json_object_get(doc, key);
    bool whole = p.n == json_array_size(list),
         changed = compose(f, path, key, text, list, whole ? &p : NULL, &b);
    const char *out = changed ? ptl_buf_str(&b) : text;
    if (changed && whole && !holds(f, path, key, list, out)) {
        (void)compose(f, path, key, text, list, NULL, &anew);
        out = ptl_buf_str(&anew);
    }
    json_object_set_new(f->texts, path, json_string(out));
    json_array_foreach(list, i, v) place(f, key, ptl_json_str(v, "id", ""));
    free(p.v);
}

/* Objects that no file holds: into the file they say they are of, at its end, or into one of their own. */
static void append(struct folder *f, const char *key, const char *path, const json_t *data)
{
    const char *text = json_string_value(json_object_get(f->texts, path));
    struct pieces p = {.indent = 2};
    PTL_BUF b = PTL_BUF_INIT;
    if (text) {
        if (split(text, key, &p) < 0 || p.n == 0)
            p.indent = 2;
        ptl_buf_puts(&b, text);
        if (b.len && b.data[b.len - 1] != '\n')
            ptl_buf_putc(&b, '\n');
        free(p.v);
    } else {
        ptl_buf_printf(&b, "version: 1\n%s:\n", key);
    }
    put_item(&b, key, data, p.indent);
    json_object_set_new(f->texts, path, json_string(ptl_buf_str(&b)));
}

/* May an object of one's own be appended to this file? Not to one that ships, nor to one whose list does not
 * end it. */
static bool may_append(const struct folder *f, const struct ptl_kb_files *shipped, const char *key,
                       const char *path)
{
    const char *k, *text = json_string_value(json_object_get(f->texts, path));
    struct pieces p;
    if (!path || !ptl_fs_is_safe_relative(path) || !is_list_file(path, &k) || strcmp(k, key) != 0 ||
        ptl_kb_file_find(shipped, path))
        return false;
    if (!text)
        return true;
    bool fits = split(text, key, &p) == 0 && p.n > 0 && p.v[p.n - 1].glue == strlen(text);
    free(p.v);
    return fits;
}

static void write_rest(struct folder *f, const struct ptl_kb_files *shipped, const char *key)
{
    const char *id;
    json_t *v;
    PTL_FREE char *own = ptl_xasprintf("%s/local.yml", key);
    PTL_JSON *ids = json_array();
    size_t i;
    json_object_foreach(json_object_get(f->state, key), id, v)
    {
        const json_t *now = in_force(f->state, key, id);
        /* What ships no more and nobody retired is not a user's. */
        bool gone = ptl_json_flag(v, "retired", false) && !ptl_json_flag(v, "by_person", false);
        if (json_is_object(now) && !gone && !is_placed(f, key, id))
            json_array_append_new(ids, json_string(id));
    }
    json_array_foreach(ids, i, v)
    {
        const json_t *now = in_force(f->state, key, json_string_value(v));
        const char *file = ptl_json_str(now, "file", NULL);
        append(f, key, may_append(f, shipped, key, file) ? file : own, now);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char **sorted_keys(const json_t *object, size_t *ret_n)
{
    const char **v = calloc(json_object_size(object) + 1, sizeof(*v)), *key;
    json_t *x;
    *ret_n = 0;
    json_object_foreach((json_t *)object, key, x) if (v) v[(*ret_n)++] = key;
    if (v)
        qsort(v, *ret_n, sizeof(*v), by_text);
    return v;
}

static void write_retired(struct folder *f)
{
    PTL_JSON *want = json_object();
    PTL_JSON *kept = NULL;
    const char *id, *raw = json_string_value(json_object_get(json_object_get(f->state, "files"), RETIRED));
    json_t *v;
    size_t i, n, same = 0;
    json_object_foreach(json_object_get(f->state, "indicators"), id,
                        v) if (ptl_json_flag(v, "by_person", false) && ptl_json_flag(v, "retired", false))
        json_object_set_new(want, id, json_true());
    if (raw && ptl_yaml_parse(raw, strlen(raw), RETIRED, &kept, NULL) == 0) {
        const json_t *list = json_object_get(kept, "retired");
        json_array_foreach(list, i, v) same +=
            json_is_string(v) && json_object_get(want, json_string_value(v));
        if (same == json_object_size(want) && same == json_array_size(list)) {
            json_object_set_new(f->texts, RETIRED, json_string(raw));
            return;
        }
    }
    if (json_object_size(want) == 0)
        return;
    PTL_BUF b = PTL_BUF_INIT;
    PTL_FREE const char **ids = sorted_keys(want, &n);
    ptl_buf_puts(&b, "version: 1\nretired:\n");
    for (i = 0; ids && i < n; i++)
        ptl_buf_printf(&b, "  - %s\n", ids[i]);
    json_object_set_new(f->texts, RETIRED, json_string(ptl_buf_str(&b)));
}

int ptl_kb_files_make(const json_t *doc, const struct ptl_kb_files *shipped, const json_t *state,
                      json_t **ret)
{
    PTL_JSON *texts = json_object();
    PTL_JSON *placed = json_object();
    PTL_JSON *bytes = json_object();
    PTL_JSON *list = json_array();
    struct folder f = {doc, state, texts, placed};
    const json_t *kept = json_object_get(state, "files");
    const char *key;
    size_t n;
    /* One's own files first: an object that is in one of them is not looked for in a shipped one. */
    PTL_FREE const char **own = sorted_keys(kept, &n);
    if (!texts || !placed || !bytes || !list || !own)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (is_list_file(own[i], &key))
            write_list(&f, own[i], key, json_string_value(json_object_get(kept, own[i])));
    for (size_t i = 0; i < shipped->n; i++) {
        const struct ptl_kb_file *s = &shipped->v[i];
        if (json_object_get(texts, s->path))
            continue;
        if (is_list_file(s->path, &key)) {
            write_list(&f, s->path, key, s->text);
        } else if (ptl_str_ends(s->path, ".yml")) {
            json_object_set_new(texts, s->path, json_stringn(s->text, s->len));
        } else {
            PTL_FREE char *base64 = ptl_base64(s->text, s->len);
            json_object_set_new(bytes, s->path, json_string(base64 ? base64 : ""));
            json_object_set_new(texts, s->path, json_null());
        }
    }
    write_rest(&f, shipped, "indicators");
    write_rest(&f, shipped, "entries");
    write_retired(&f);
    PTL_FREE const char **paths = sorted_keys(texts, &n);
    for (size_t i = 0; paths && i < n; i++) {
        json_t *b = json_object_get(bytes, paths[i]);
        json_array_append_new(
            list, b ? json_pack("{s:s,s:O}", "path", paths[i], "base64", b)
                    : json_pack("{s:s,s:O}", "path", paths[i], "text", json_object_get(texts, paths[i])));
    }
    *ret = json_incref(list);
    return 0;
}
