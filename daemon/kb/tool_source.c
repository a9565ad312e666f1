/* tool_source.c - the knowledge that portolan-kb works with: a compiled file, a folder's files, or what is
 * built in, whose scan was compiled when the program was. Reads files; nothing is kept but what the source
 * points into. */
#include "tool-private.h"
#include "compiled.h"
#include "data.h"
#include <portolan/fs.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int add_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct source *s = ctx;
    struct ptl_buf b = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    if (e->is_dir || (!ptl_str_ends(e->path, ".yml") && !ptl_str_ends(e->path, ".bin")))
        return 0;
    if (ptl_fs_read(e->full, 64 << 20, &b, &err) < 0)
        return tool_die(err.text), -EIO;
    struct ptl_kb_file *v = realloc(s->v, (s->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    s->v = v;
    size_t len;
    char *text = ptl_buf_take(&b, &len);
    s->v[s->n++] = (struct ptl_kb_file){ptl_xstrdup(e->path), text ? text : ptl_xstrdup(""), len};
    return 0;
}

void tool_source_done(struct source *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free((char *)s->v[i].path);
        free((char *)s->v[i].text);
    }
    free(s->v);
    free(s->owned);
    free(s->model_from);
    if (s->mapped)
        munmap(s->mapped, s->mapped_len);
    json_decref(s->doc);
}

static int read_files(struct source *s, const struct ptl_kb_files *files, const char *where)
{
    PTL_JSON *problems = json_array();
    size_t i;
    json_t *v;
    int r = ptl_kb_data_read(files, problems, &s->doc);
    json_array_foreach(problems, i, v) fprintf(stderr, "left out: %s\n", json_string_value(v));
    const struct ptl_kb_file *m = ptl_kb_file_find(files, "model/text.bin");
    if (r == 0 && m && m->len) {
        s->model = m->text;
        s->model_len = m->len;
        s->model_from = ptl_xasprintf("%s/%s", where, m->path);
    }
    ptl_kb_files_key(files, s->key);
    return r;
}

/* PTL_ABSENT: made from other files, or by another program, than `key` says. */
static int read_compiled(struct source *s, const char *path, const char *key, struct ptl_error *err)
{
    struct ptl_kb_compiled c;
    struct stat st;
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > PTL_KB_COMPILED_MAX)
        return ptl_error_set(err, -EINVAL, "%s: not made by portolan kb compile", path);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    s->mapped = p;
    s->mapped_len = (size_t)st.st_size;
    int r = ptl_kb_compiled_read(p, s->mapped_len, path, &c, err);
    if (r == 0 && key && strcmp(key, c.key) != 0)
        r = PTL_ABSENT;
    if (r == 0)
        r = ptl_json_parse(c.doc, c.doc_len, path, &s->doc, err);
    if (r != 0)
        return r;
    s->model = c.model;
    s->model_len = c.model_len;
    s->model_from = ptl_xstrdup(path);
    s->scan = c.scan;
    s->scan_len = c.scan_len;
    memcpy(s->key, c.key, sizeof(s->key));
    return 0;
}

/* What is built in, compiled when the program was: beside it in the build tree, or where it was installed.
 * One that does not belong to this program, or cannot be read, is left alone. */
static bool read_shipped(struct source *s)
{
    static const char *const places[] = {"/kb.bin", "/../../share/portolan/kb.bin"};
    char exe[PATH_MAX], key[PTL_SHA256_HEX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return false;
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    ptl_kb_files_key(&ptl_kb_files_builtin, key);
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *path = ptl_xasprintf("%s%s", exe, places[i]);
        if (ptl_fs_exists(path) && read_compiled(s, path, key, NULL) == 0)
            return true;
        tool_source_done(s);
        *s = (struct source){0};
    }
    return false;
}

/* Of files, too, only what differs from the shipped ones needs to be compiled. */
static void take_shipped_scan(struct source *s)
{
    struct source shipped = {0};
    if (!read_shipped(&shipped))
        return;
    s->scan = shipped.scan;
    s->scan_len = shipped.scan_len;
    s->mapped = shipped.mapped;
    s->mapped_len = shipped.mapped_len;
    shipped.mapped = NULL;
    tool_source_done(&shipped);
}

int tool_source_open(const struct options *o, struct source *s, struct ptl_error *err)
{
    *s = (struct source){0};
    if (o->kb)
        return read_compiled(s, o->kb, NULL, err);
    if (!o->dir) {
        if (strcmp(o->verb, "compile") != 0 && read_shipped(s))
            return 0;
        if (read_files(s, &ptl_kb_files_builtin, "built in") < 0)
            return ptl_error_set(err, -EINVAL, "the knowledge built in is not well-formed");
        take_shipped_scan(s);
        return 0;
    }
    int r = ptl_fs_walk(o->dir, 10000, add_file, s, err);
    if (r == 0 && read_files(s, &(struct ptl_kb_files){s->v, s->n}, o->dir) < 0)
        r = ptl_error_set(err, -EINVAL, "%s is not well-formed", o->dir);
    if (r == 0 && json_array_size(json_object_get(s->doc, "nodes")) == 0)
        r = ptl_error_set(err, -EINVAL,
                          "%s: no taxonomy below it: expected a folder such as `portolan kb export` writes",
                          o->dir);
    if (r == 0)
        take_shipped_scan(s);
    return r;
}

struct ptl_kb *tool_kb(const struct options *o, const struct source *s, const void *model, size_t model_len,
                       struct ptl_error *err)
{
    struct ptl_kb *kb = NULL;
    bool with = model && !o->rules_only;
    const char *from = model == s->model ? s->model_from : o->before ? o->before : "the model just trained";
    if (ptl_kb_new_take(json_incref(s->doc), with ? model : NULL, with ? model_len : 0, from, s->scan,
                        s->scan_len, &kb, err) < 0)
        return NULL;
    if (o->text_only)
        kb->params.rules = 0;
    return kb;
}
