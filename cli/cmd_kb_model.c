/* cmd_kb_model.c - portolan kb model show, set, reset: the text model that a server diagnoses with, the
 * shipped one or one trained on this house's own cases. */
#include "kb_tool.h"
#include <portolan/fs.h>
#include <portolan/hash.h>

enum { MODEL_MAX = 20 << 20 };

int cli_cmd_kb_model_show(struct cli *c)
{
    PTL_JSON *o = NULL;
    char at[32];
    int r = cli_get(c, "/api/v1/kb/model", &o);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, o);
    if (!ptl_json_flag(o, "own", false)) {
        cli_print(c, "the text model that ships\n");
        return 0;
    }
    PTL_FREE char *by = cli_clean(ptl_json_str(o, "made_by", "?"));
    cli_print(c, "one's own: %lld bytes, set by %s at %s", (long long)ptl_json_i64(o, "bytes", 0), by,
              cli_time_of(o, "made_at", at));
    if (ptl_json_i64(o, "cases", 0))
        cli_print(c, ", from %lld cases", (long long)ptl_json_i64(o, "cases", 0));
    cli_print(c, "\n");
    return 0;
}

int cli_kb_model_put(struct cli *c, const char *file, int64_t cases, json_t **ret)
{
    PTL_BUF data = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    if (!ptl_fs_exists(file))
        return cli_fail(c, CLI_ABSENT, "%s: no such file; portolan kb train makes one", file);
    if (ptl_fs_read(file, MODEL_MAX, &data, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    PTL_FREE char *base64 = ptl_base64(ptl_buf_str(&data), data.len);
    PTL_JSON *body = json_pack("{s:s,s:I}", "model", base64 ? base64 : "", "cases", (json_int_t)cases);
    return cli_call_within(c, 120000, "PUT", "/api/v1/kb/model", body, ret);
}

int cli_cmd_kb_model_set(struct cli *c)
{
    const char *file = cli_arg(c, 0);
    PTL_JSON *answer = NULL;
    int r = cli_kb_model_put(c, file, cli_int(c, "cases", 0), &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "%s is in force from the next failure on\n", file);
    cli_note(c, "past ones: portolan kb apply; back to what ships: portolan kb model reset");
    return 0;
}

int cli_cmd_kb_model_reset(struct cli *c)
{
    PTL_JSON *answer = NULL;
    int r = cli_call(c, "DELETE", "/api/v1/kb/model", NULL, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "the text model that ships is in force\n");
    return 0;
}
