/* cmd_artifacts.c - portolan artifacts list, get. Names come from a stage: only safe relative paths are
 * written, below the directory asked for, and only bytes with the promised SHA-256. */
#include "cli.h"
#include "fetch.h"
#include <portolan/fs.h>
#include <portolan/wire.h>

enum { LIMIT = 50 };

static int list_of(struct cli *c, int64_t limit, json_t **ret, int64_t *ret_id)
{
    int r = cli_attempt_id(c, cli_arg(c, 0), ret_id);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/attempts/%lld/artifacts", (long long)*ret_id);
    return cli_list(c, path, "after", NULL, limit, ret);
}

int cli_cmd_artifacts_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"SIZE",    true,  false},
        {"SHA-256", false, false},
        {"PATH",    false, true }
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *a;
    int64_t id;
    int r = list_of(c, cli_int(c, "limit", LIMIT), &list, &id);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, a)
    {
        char size[32];
        cli_number(json_object_get(a, "size_bytes"), "bytes", size);
        cli_table_cell(t, CLI_PLAIN, "%s", size);
        cli_table_cell(t, CLI_DIM, "%.12s", ptl_json_str(a, "sha256", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(a, "path", "?"));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    cli_note_more(c, list, "after");
    if (cli_table_rows(t) == 0)
        cli_note(c, "attempt %lld published nothing", (long long)id);
    return 0;
}

/* Asked for: all, the file itself, or what lies below a folder. */
static bool is_wanted(const struct cli *c, const char *path)
{
    if (c->asked.n_args < 2)
        return true;
    for (size_t i = 1; i < c->asked.n_args; i++) {
        const char *want = c->asked.args[i];
        size_t n = strlen(want);
        while (n && want[n - 1] == '/')
            n--;
        if (strncmp(path, want, n) == 0 && (path[n] == 0 || path[n] == '/'))
            return true;
    }
    return false;
}

int cli_cmd_artifacts_get(struct cli *c)
{
    const char *dir = cli_text(c, "output") ? cli_text(c, "output") : ".";
    PTL_JSON *list = NULL;
    size_t i, got = 0;
    json_t *a;
    int64_t id, bytes = 0;
    int r = list_of(c, PTL_WIRE_ARTIFACTS_MAX, &list, &id);
    if (r)
        return r;
    json_array_foreach(json_object_get(list, "items"), i, a)
    {
        if (!is_wanted(c, ptl_json_str(a, "path", "")))
            continue;
        r = cli_fetch_file(c, dir, a);
        if (r)
            return r;
        cli_note(c, "%s/%s", dir, ptl_json_str(a, "path", ""));
        bytes += ptl_json_i64(a, "size_bytes", 0);
        got++;
    }
    if (got == 0)
        return cli_fail(c, CLI_ABSENT, "attempt %lld published nothing %s; see: portolan artifacts list %lld",
                        (long long)id, c->asked.n_args > 1 ? "with this path" : "", (long long)id);
    char size[32];
    PTL_JSON *sum = json_integer(bytes);
    cli_number(sum, "bytes", size);
    if (c->json)
        return cli_print_json(c, list);
    cli_print(c, "%zu file%s, %s, checked against SHA-256\n", got, got == 1 ? "" : "s", size);
    return 0;
}
