/* cmd_lint.c - portolan lint, init, schema: the pipeline file, on this machine only. */
#include "cli.h"
#include <fcntl.h>
#include <portolan/fs.h>
#include <portolan/spec.h>
#include <sys/stat.h>

static int read_file(struct cli *c, const char *file, struct ptl_buf *text)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_str_eq(file, "-")) {
        char piece[65536];
        size_t n;
        while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0 && text->len <= PTL_SPEC_MAX_BYTES)
            ptl_buf_add(text, piece, n);
        return 0;
    }
    if (!ptl_fs_exists(file))
        return cli_fail(c, CLI_ABSENT, "%s: no such file; portolan init writes a first one", file);
    return ptl_fs_read(file, PTL_SPEC_MAX_BYTES + 1, text, &err) < 0 ? cli_fail(c, CLI_FAILED, "%s", err.text)
                                                                     : 0;
}

int cli_cmd_lint(struct cli *c)
{
    const char *file = cli_arg(c, 0) ? cli_arg(c, 0) : PTL_SPEC_FILE_NAME;
    PTL_FREE char *inside = ptl_fs_is_dir(file) ? ptl_fs_join(file, PTL_SPEC_FILE_NAME) : NULL;
    PTL_BUF text = PTL_BUF_INIT;
    PTL_CLEANUP(ptl_spec_freep) struct ptl_spec *spec = NULL;
    PTL_CLEANUP(ptl_spec_diags_done) struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    PTL_JSON *recipes = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    file = inside ? inside : file;
    int r = read_file(c, file, &text);
    if (r)
        return r;
    int bad = ptl_spec_parse(ptl_buf_str(&text), text.len, ptl_str_eq(file, "-") ? "standard input" : file,
                             &spec, &diags);
    PTL_FREE char *root = cli_recipes_root(c);
    if (bad == 0 && root) {
        if (cli_recipes_load(root, &recipes, &err) < 0)
            return cli_fail(c, CLI_FAILED, "%s", err.text);
        bad = ptl_spec_check_recipes(spec, recipes, &diags);
    }
    if (c->json) {
        PTL_JSON *o = json_pack("{s:b,s:o,s:O?}", "ok", bad == 0, "findings", ptl_spec_diags_json(&diags),
                                "plan", spec ? ptl_spec_plan(spec) : NULL);
        cli_print_json(c, o);
        return bad ? CLI_FAILED : CLI_OK;
    }
    PTL_FREE char *findings = ptl_spec_diags_text(&diags);
    if (*findings)
        cli_print(c, "%s%s", findings, ptl_str_ends(findings, "\n") ? "" : "\n");
    if (diags.cut)
        cli_note(c, "more findings are left out");
    if (bad)
        return CLI_FAILED;
    const json_t *plan = ptl_spec_plan(spec);
    cli_print(c, "%s: model %s, %zu stages%s\n", file, ptl_json_str(plan, "model", "?"),
              json_array_size(json_object_get(plan, "stages")),
              diags.n ? "; warnings above" : ", nothing to complain about");
    if (!root)
        cli_note(
            c,
            "recipes and their parameters were not checked: no recipes folder is known here (--recipes DIR)");
    return 0;
}

int cli_cmd_init(struct cli *c)
{
    const char *dir = cli_arg(c, 0) ? cli_arg(c, 0) : ".";
    PTL_FREE char *file = ptl_fs_join(dir, PTL_SPEC_FILE_NAME);
    PTL_BUF text = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    if (!ptl_fs_is_dir(dir))
        return cli_fail(c, CLI_ABSENT, "%s: no such directory", dir);
    if (ptl_spec_init(dir, &text, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    if (cli_flag(c, "print")) {
        cli_print_buf(c, &text);
        return 0;
    }
    /* O_EXCL: a file that appears in between is not overwritten either */
    PTL_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST)
        return cli_fail(
            c, CLI_CONFLICT,
            "%s is there already and stays as it is; see what would be written: portolan init %s --print",
            file, dir);
    if (fd < 0)
        return cli_fail(c, CLI_FAILED, "%s: cannot be written: %s", file, strerror(errno));
    int r = ptl_fs_write_all(fd, ptl_buf_str(&text), text.len);
    if (r < 0)
        return cli_fail(c, CLI_FAILED, "%s: cannot be written: %s", file, strerror(-r));
    cli_print(c, "%s is written\n", file);
    cli_note(c, "next: read it, then: portolan lint %s; portolan exec %s", file, dir);
    return 0;
}

int cli_cmd_schema(struct cli *c)
{
    PTL_JSON *schema = ptl_spec_schema();
    return cli_print_json(c, schema);
}
