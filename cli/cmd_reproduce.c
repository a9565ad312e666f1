/* cmd_reproduce.c - portolan reproduce: an attempt directory with what the attempt had, to run it again here.
 */
#include "fetch.h"
#include "workdir.h"
#include <portolan/archive.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <sys/stat.h>

static int fetch_inputs(struct cli *c, const char *dir, const json_t *job, const char *name)
{
    PTL_FREE char *to = ptl_xasprintf("%s/inputs/%s", dir, name);
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(json_object_get(job, name), "files"), i, file)
    {
        int r = cli_fetch_file(c, to, file);
        if (r)
            return r;
    }
    return 0;
}

static int fetch_source(struct cli *c, const char *dir, const json_t *job)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *sha256 = ptl_json_str(json_object_get(job, "source"), "sha256", NULL);
    PTL_FREE char *src = ptl_fs_join(dir, "src");
    PTL_FREE char *archive = ptl_fs_join(dir, "source.tar.zst");
    if (!sha256)
        return cli_fail(c, CLI_ABSENT, "the server names no source snapshot for this attempt");
    PTL_JSON *file = json_pack("{s:s,s:s}", "path", "source.tar.zst", "sha256", sha256);
    int r = cli_fetch_file(c, dir, file);
    if (r)
        return r;
    if (ptl_fs_mkdirs(src, 0755, &err) < 0 || ptl_archive_extract(archive, src, NULL, &err) < 0)
        r = cli_fail(c, CLI_FAILED, "%s", err.text);
    unlink(archive);
    return r;
}

static int fetch_all(struct cli *c, const char *dir, const json_t *job)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *path = ptl_fs_join(dir, "job.json");
    int r = fetch_source(c, dir, job);
    if (r == 0)
        r = fetch_inputs(c, dir, job, "model");
    if (r == 0)
        r = fetch_inputs(c, dir, job, "golden");
    if (r == 0 && ptl_json_save(path, job, 0600, &err) < 0) /* last: a directory with a job is whole */
        r = cli_fail(c, CLI_FAILED, "%s", err.text);
    return r;
}

static void tell_secrets(struct cli *c, const json_t *job)
{
    PTL_JSON *stage = NULL;
    size_t i;
    json_t *name;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/stages/%lld", (long long)ptl_json_i64(job, "stage_id", 0));
    struct ptl_error err;
    if (ptl_client_json(c->client, "GET", path, NULL, 30000, NULL, &stage, &err) != 0)
        return;
    json_array_foreach(json_object_get(json_object_get(stage, "spec"), "secrets"), i,
                       name) if (json_is_string(name) &&
                                 !json_object_get(json_object_get(job, "secrets"), json_string_value(name)))
        cli_warn(
            c,
            "the stage asks for the secret %s, which is never downloaded; set it in the environment and give --secret %s",
            json_string_value(name), json_string_value(name));
}

static int run_it(struct cli *c, const char *agent, const char *dir, const json_t *job)
{
    PTL_JSON *result = NULL;
    bool stopped;
    int64_t limit = ptl_json_i64(job, "timeout_ms", 3600000) + ptl_json_i64(job, "grace_ms", 10000) + 60000;
    int r = cli_attempt_run(c, agent, dir, ptl_json_str(job, "name", "stage"), limit, &result, &stopped);
    if (r)
        return r;
    bool ok = ptl_json_flag(result, "ok", false);
    if (c->json) {
        cli_print_json(c, result);
    } else {
        PTL_BUF b = PTL_BUF_INIT;
        PTL_FREE char *message = cli_clean(ptl_json_str(result, "message", ""));
        if (json_is_object(json_object_get(result, "report")))
            cli_show_report(&b, json_object_get(result, "report"), c->width, c->color);
        cli_styled(&b, ok ? CLI_GREEN : CLI_RED, c->color, ok ? "green" : "red");
        ptl_buf_printf(&b, "%s%s\n", *message ? ": " : "", message);
        cli_print_buf(c, &b);
    }
    return ok ? CLI_OK : CLI_FAILED;
}

int cli_cmd_reproduce(struct cli *c)
{
    PTL_JSON *job = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    int64_t id;
    PTL_FREE char *agent = cli_flag(c, "run") ? cli_agent_program(c) : NULL;
    if (cli_flag(c, "run") && !agent)
        return CLI_FAILED;
    int r = cli_attempt_id(c, cli_arg(c, 0), &id);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/attempts/%lld/job", (long long)id);
    PTL_FREE char *dir = cli_text(c, "output") ? ptl_xstrdup(cli_text(c, "output"))
                                               : ptl_xasprintf("attempt-%lld", (long long)id);
    PTL_FREE char *job_path = ptl_fs_join(dir, "job.json");
    PTL_FREE char *src = ptl_fs_join(dir, "src");
    r = cli_get(c, path, &job);
    if (r == 0)
        r = cli_job_secrets(c, job);
    if (r)
        return r;
    if (ptl_fs_exists(job_path) || ptl_fs_exists(src))
        return cli_fail(c, CLI_CONFLICT,
                        "%s holds an attempt already; remove it, or choose another directory: -o DIR", dir);
    if (ptl_fs_mkdirs(dir, 0755, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    r = fetch_all(c, dir, job);
    if (r)
        return r;
    tell_secrets(c, job);
    PTL_FREE char *full = realpath(dir, NULL);
    if (agent)
        return run_it(c, agent, full ? full : dir, job);
    PTL_FREE char *found =
        getenv("PORTOLAN_AGENT") ? ptl_xstrdup(getenv("PORTOLAN_AGENT")) : cli_find_program("portolan-agent");
    if (c->json)
        return cli_print_json(c, job);
    cli_print(c, "%s attempt %s\n", found ? found : "portolan-agent", full ? full : dir);
    cli_note(c, "%s of %s at %.12s lies in %s; the line above runs it again, results come to %s/result.json",
             ptl_json_str(job, "name", "the stage"), ptl_json_str(job, "project", "?"),
             ptl_json_str(job, "commit", "?"), dir, dir);
    return 0;
}
