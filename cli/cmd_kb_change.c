/* cmd_kb_change.c - portolan kb add, edit, retire, restore: a curator's changes, one object at a time. What
 * was read is told with its revision, so that a change never undoes another curator's. */
#include "kb.h"
#include <fcntl.h>
#include <portolan/fs.h>
#include <portolan/spec.h>
#include <spawn.h>
#include <sys/wait.h>

enum { FILE_MAX = 1 << 20 };
extern char **environ;

int cli_kb_read_yaml(struct cli *c, const char *file, json_t **ret)
{
    PTL_BUF text = PTL_BUF_MAX(FILE_MAX);
    struct ptl_error err = PTL_ERROR_INIT;
    const char *name = ptl_str_eq(file, "-") ? "standard input" : file;
    if (ptl_str_eq(file, "-")) {
        char piece[65536];
        size_t n;
        while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0 && ptl_buf_add(&text, piece, n) == 0)
            ;
        if (text.failed)
            return cli_fail(c, CLI_FAILED, "standard input is larger than %d KiB", FILE_MAX >> 10);
    } else if (!ptl_fs_exists(file)) {
        return cli_fail(c, CLI_ABSENT, "%s: no such file", file);
    } else if (ptl_fs_read(file, FILE_MAX, &text, &err) < 0) {
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    }
    if (ptl_yaml_parse(ptl_buf_str(&text), text.len, name, ret, &err) < 0)
        return cli_fail(c, CLI_USAGE, "%s", err.text);
    return 0;
}

const json_t *cli_kb_objects(const json_t *doc, size_t i, size_t *ret_n)
{
    const json_t *list = json_object_get(doc, "indicators");
    if (!list)
        list = json_object_get(doc, "entries");
    *ret_n = list ? json_array_size(list) : 1;
    return list ? json_array_get(list, i) : doc;
}

int cli_cmd_kb_add(struct cli *c)
{
    PTL_JSON *doc = NULL;
    PTL_JSON *answers = json_array();
    size_t n;
    int r = cli_kb_read_yaml(c, cli_arg(c, 0), &doc);
    if (r)
        return r;
    cli_kb_objects(doc, 0, &n);
    if (n == 0)
        return cli_fail(c, CLI_USAGE, "%s holds no indicator", cli_arg(c, 0));
    for (size_t i = 0; i < n; i++) {
        PTL_JSON *body = json_pack("{s:O}", "indicator", cli_kb_objects(doc, i, &n));
        json_t *answer = NULL;
        r = cli_call(c, "POST", "/api/v1/kb/indicators", body, &answer);
        if (r)
            return r;
        json_array_append_new(answers, answer);
        if (!c->json)
            cli_print(c, "%s is %s\n", ptl_json_str(answer, "id", "?"),
                      ptl_json_flag(answer, "changed", false) ? "added" : "there already, just so");
    }
    if (c->json)
        return cli_print_json(c, answers);
    cli_note(c, "it speaks from the next failure on; past ones: portolan kb apply");
    return 0;
}

static int put(struct cli *c, const char *id, bool indicator, json_t *object /* taken; NULL: as it ships */,
               int64_t revision)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:o}", indicator ? "indicator" : "entry", object ? object : json_null());
    PTL_FREE char *path =
        cli_path(indicator ? "/api/v1/kb/indicator?id={}" : "/api/v1/kb/entry?id={}", id, NULL);
    if (revision >= 0)
        json_object_set_new(body, "revision", json_integer(revision));
    int r = cli_call(c, "PUT", path, body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "%s is %s, revision %lld\n", id,
              ptl_json_flag(answer, "changed", false) ? "changed" : "as it was",
              (long long)ptl_json_i64(answer, "revision", 0));
    return 0;
}

/* The person's editor on a file, in this terminal. */
static int run_editor(struct cli *c, const char *file)
{
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    PTL_FREE char *line = ptl_xasprintf("%s \"$1\"", editor); /* as git does: an editor may have options */
    char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", line,
                          (char *)(uintptr_t) "sh", (char *)(uintptr_t)file,  NULL};
    pid_t pid;
    int status = 0, r = posix_spawnp(&pid, "sh", NULL, NULL, argv, environ);
    if (r != 0)
        return cli_fail(c, CLI_FAILED, "the editor '%s' cannot be started: %s", editor, strerror(r));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return cli_fail(c, CLI_FAILED, "the editor '%s' failed: nothing was changed", editor);
    return 0;
}

static int edit_by_hand(struct cli *c, const char *id, bool indicator, const json_t *now, int64_t revision)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF after = PTL_BUF_MAX(FILE_MAX);
    PTL_JSON *object = NULL;
    const char *tmp = getenv("TMPDIR"), *text = ptl_json_str(now, indicator ? "yaml" : "entry_yaml", "");
    if (!isatty(STDIN_FILENO) || !c->out_tty)
        return cli_fail(
            c, CLI_USAGE,
            "no terminal for an editor; give the new text: portolan kb show --yaml %s > FILE, then portolan kb edit %s FILE",
            id, id);
    PTL_FREE char *file = ptl_xasprintf("%s/portolan-kb-XXXXXX.yml", tmp && *tmp ? tmp : "/tmp");
    PTL_CLOSE int fd = mkostemps(file, 4, O_CLOEXEC);
    if (fd < 0 || ptl_fs_write_all(fd, text, strlen(text)) < 0)
        return cli_fail(c, CLI_FAILED, "%s cannot be written: %s", file, strerror(errno));
    int r = run_editor(c, file);
    if (r == 0 && ptl_fs_read(file, FILE_MAX, &after, &err) < 0)
        r = cli_fail(c, CLI_FAILED, "%s", err.text);
    if (r == 0 && ptl_str_eq(ptl_buf_str(&after), text)) {
        cli_note(c, "nothing was changed");
        unlink(file);
        return 0;
    }
    if (r == 0 && ptl_yaml_parse(ptl_buf_str(&after), after.len, file, &object, &err) < 0)
        r = cli_fail(c, CLI_USAGE, "%s", err.text);
    if (r == 0)
        r = put(c, id, indicator, json_incref(object), revision);
    if (r == 0)
        unlink(file);
    else if (after.len)
        cli_note(c, "your text is kept: %s; mend it, then: portolan kb edit %s %s", file, id, file);
    return r;
}

int cli_cmd_kb_edit(struct cli *c)
{
    const char *id = cli_arg(c, 0), *file = cli_arg(c, 1);
    PTL_JSON *now = NULL;
    PTL_JSON *doc = NULL;
    bool indicator;
    size_t n;
    int r = cli_kb_object(c, id, &now, &indicator);
    if (r)
        return r;
    int64_t revision =
        cli_int(c, "revision", ptl_json_i64(now, indicator ? "revision" : "entry_revision", -1));
    if (indicator && !ptl_str_eq(ptl_json_str(now, "origin", ""), "local"))
        return cli_fail(
            c, CLI_USAGE,
            "%s ships with the program and is not edited: portolan kb retire %s, and add one of your own called local/…",
            id, id);
    if (cli_flag(c, "as-shipped"))
        return indicator ? cli_fail(c, CLI_USAGE, "--as-shipped is for challenges; this is an indicator")
                         : put(c, id, false, NULL, revision);
    if (!file)
        return edit_by_hand(c, id, indicator, now, revision);
    if ((r = cli_kb_read_yaml(c, file, &doc)))
        return r;
    const json_t *object = cli_kb_objects(doc, 0, &n);
    if (n != 1)
        return cli_fail(c, CLI_USAGE, "%s: expected one object; many at once: portolan kb import DIR", file);
    return put(c, id, indicator, json_incref((json_t *)(uintptr_t)object), revision);
}

static int set_retired(struct cli *c, const char *verb, const char *done)
{
    PTL_JSON *answers = json_array();
    for (size_t i = 0; cli_arg(c, i); i++) {
        json_t *answer = NULL;
        PTL_FREE char *pattern = ptl_xasprintf("/api/v1/kb/indicator/%s?id={}", verb);
        PTL_FREE char *path = cli_path(pattern, cli_arg(c, i), NULL);
        int r = cli_call(c, "POST", path, NULL, &answer);
        if (r)
            return r;
        json_array_append_new(answers, answer);
        if (!c->json)
            cli_print(c, "%s %s%s\n", cli_arg(c, i),
                      ptl_json_flag(answer, "changed", false) ? "" : "already ", done);
    }
    return c->json ? cli_print_json(c, answers) : 0;
}

int cli_cmd_kb_retire(struct cli *c)
{
    return set_retired(c, "retire", "is silent");
}

int cli_cmd_kb_restore(struct cli *c)
{
    return set_retired(c, "restore", "speaks");
}
