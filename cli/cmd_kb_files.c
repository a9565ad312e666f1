/* cmd_kb_files.c - portolan kb export, import: the knowledge as a folder that people review and keep in git.
 */
#include "kb_tool.h"
#include <portolan/fs.h>
#include <portolan/hash.h>

enum { FILE_MAX = 1 << 20, FILES_MAX = 2000 };

static int write_one(struct cli *c, const char *dir, const json_t *file, size_t *written)
{
    const char *path = ptl_json_str(file, "path", ""), *text = ptl_json_str(file, "text", NULL),
               *base64 = ptl_json_str(file, "base64", NULL);
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF now = PTL_BUF_INIT;
    unsigned char *bytes = NULL;
    size_t len = text ? strlen(text) : 0;
    if (!ptl_fs_is_safe_relative(path) || (!text && !base64) ||
        (base64 && ptl_base64_decode(base64, &bytes, &len) < 0))
        return cli_fail(c, CLI_FAILED, "the server sent a file that cannot be written: '%s'", path);
    PTL_FREE unsigned char *owned = bytes;
    PTL_FREE char *full = ptl_fs_join(dir, path);
    const void *data = text ? (const void *)text : owned;
    int r = cli_mkdirs_for(c, full);
    if (r)
        return r;
    if (ptl_fs_exists(full) && ptl_fs_read(full, (size_t)256 << 20, &now, &err) == 0 && now.len == len &&
        memcmp(ptl_buf_str(&now), data, len) == 0)
        return 0; /* its time stays, too */
    if (ptl_fs_write_atomic(full, data, len, 0644, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    (*written)++;
    return 0;
}

static int write_all(struct cli *c, const char *dir, const json_t *files, size_t *ret_written)
{
    size_t i;
    json_t *v;
    int r;
    json_array_foreach(files, i, v) if ((r = write_one(c, dir, v, ret_written))) return r;
    return 0;
}

int cli_kb_export_to(struct cli *c, const char *dir, size_t *ret_files, size_t *ret_written)
{
    PTL_JSON *got = NULL;
    int r = cli_call_within(c, 120000, "GET", "/api/v1/kb/export", NULL, &got);
    *ret_files = json_array_size(json_object_get(got, "files"));
    return r ? r : write_all(c, dir, json_object_get(got, "files"), ret_written);
}

int cli_cmd_kb_export(struct cli *c)
{
    const char *dir = cli_arg(c, 0);
    PTL_JSON *got = NULL;
    size_t written = 0;
    int r = cli_call_within(c, 120000, "GET", "/api/v1/kb/export", NULL, &got);
    if (r)
        return r;
    if (c->json && !dir)
        return cli_print_json(c, got);
    if (!dir)
        return cli_fail(c, CLI_USAGE,
                        "DIR is missing: where to write the files; or --json for standard output");
    const json_t *files = json_object_get(got, "files");
    if ((r = write_all(c, dir, files, &written)))
        return r;
    if (c->json) {
        PTL_JSON *o = json_pack("{s:I,s:I}", "files", (json_int_t)json_array_size(files), "written",
                                (json_int_t)written);
        return cli_print_json(c, o);
    }
    cli_print(c, "%zu files in %s, %zu of them new or changed\n", json_array_size(files), dir, written);
    return 0;
}

struct reading {
    struct cli *c;
    json_t *files;
    int failed;
};

static int one_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct reading *r = ctx;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF text = PTL_BUF_INIT;
    if (e->is_dir || e->is_link || !ptl_str_ends(e->path, ".yml") || *e->path == '.' || strstr(e->path, "/."))
        return 0;
    if (ptl_fs_read(e->full, FILE_MAX, &text, &err) < 0)
        return r->failed = cli_fail(r->c, CLI_FAILED, "%s", err.text);
    json_t *file = json_pack("{s:s,s:s%}", "path", e->path, "text", ptl_buf_str(&text), text.len);
    if (!file)
        return r->failed = cli_fail(r->c, CLI_USAGE, "%s: not UTF-8 text", e->full);
    json_array_append_new(r->files, file);
    return 0;
}

static void tell(struct cli *c, const char *what, const json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        PTL_FREE char *clean = cli_clean(json_is_string(v) ? json_string_value(v) : "?");
        cli_print(c, "%-8s %s\n", what, clean);
    }
}

int cli_cmd_kb_import(struct cli *c)
{
    const char *dir = cli_arg(c, 0);
    PTL_JSON *files = json_array();
    PTL_JSON *got = NULL;
    struct reading reading = {c, files, 0};
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i;
    json_t *v;
    if (!ptl_fs_is_dir(dir))
        return cli_fail(c, CLI_ABSENT, "%s: no such directory; kb export writes one", dir);
    int r = ptl_fs_walk(dir, FILES_MAX, one_file, &reading, &err);
    if (reading.failed)
        return reading.failed;
    if (r < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    if (json_array_size(files) == 0)
        return cli_fail(c, CLI_USAGE, "%s holds no .yml file", dir);
    PTL_JSON *body = json_pack("{s:O,s:b}", "files", files, "dry_run", cli_flag(c, "dry-run"));
    if ((r = cli_call_within(c, 120000, "POST", "/api/v1/kb/import", body, &got)))
        return r;
    if (c->json)
        return cli_print_json(c, got);
    tell(c, "added", json_object_get(got, "added"));
    tell(c, "edited", json_object_get(got, "edited"));
    tell(c, "entry", json_object_get(got, "entries"));
    tell(c, "retired", json_object_get(got, "retired"));
    size_t changes =
        json_array_size(json_object_get(got, "added")) + json_array_size(json_object_get(got, "edited")) +
        json_array_size(json_object_get(got, "entries")) + json_array_size(json_object_get(got, "retired"));
    cli_print(c, "%zu changes%s, %lld objects as they were\n", changes,
              cli_flag(c, "dry-run") ? " would be made" : "", (long long)ptl_json_i64(got, "unchanged", 0));
    json_array_foreach(json_object_get(got, "skipped"), i, v)
        cli_note(c, "left alone: %s", json_string_value(v));
    if (changes && !cli_flag(c, "dry-run"))
        cli_note(c, "in force from the next failure on; past ones: portolan kb apply");
    return 0;
}
