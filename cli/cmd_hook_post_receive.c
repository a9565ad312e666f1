/* cmd_hook_post_receive.c - portolan hook post-receive: called by git with `old new ref` lines on standard
 * input. What it prints, the person who pushes reads as "remote: …". A daemon that is away never fails a
 * push: the exit code is 0. */
#include "cli.h"
#include "hook_line.h"

enum { UPDATES_MAX = 1000, LINE_MAX_BYTES = 4096, TIMEOUT_MS = 15000 };

int cli_hook_line(const char *line, struct cli_hook_update *ret)
{
    struct cli_hook_update u = {0};
    const char *p = line;
    char *const shas[] = {u.before, u.after};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strspn(p, "0123456789abcdef");
        if ((n != 40 && n != 64) || p[n] != ' ')
            return -EINVAL;
        memcpy(shas[i], p, n);
        p += n + 1;
    }
    size_t len = strcspn(p, "\n");
    if (!ptl_str_starts(p, "refs/") || len == 0 || len >= sizeof(u.ref) || memchr(p, ' ', len))
        return -EINVAL;
    memcpy(u.ref, p, len);
    *ret = u;
    return 0;
}

static json_t *read_updates(struct cli *c, size_t *left_out)
{
    json_t *list = json_array();
    char line[LINE_MAX_BYTES];
    *left_out = 0;
    while (fgets(line, sizeof(line), stdin)) {
        struct cli_hook_update u;
        if (line[0] == '\n')
            continue;
        if (cli_hook_line(line, &u) < 0) {
            line[strcspn(line, "\n")] = 0;
            cli_warn(c, "not told to the daemon: '%.200s' is no 'old new ref' line", line);
            continue;
        }
        if (!ptl_str_starts(u.ref, "refs/heads/") && !ptl_str_starts(u.ref, "refs/tags/"))
            continue; /* notes, pull requests: nothing that runs start from */
        json_t *o = json_pack("{s:s,s:s,s:s}", "ref", u.ref, "before", u.before, "after", u.after);
        if (!o || json_array_size(list) == UPDATES_MAX) {
            json_decref(o);
            ++*left_out;
        } else {
            json_array_append_new(list, o);
        }
    }
    return list;
}

static void tell_one(struct cli *c, const json_t *push)
{
    const char *ref = cli_ref_short(ptl_json_str(push, "ref", "?")),
               *error = ptl_json_str(push, "error", NULL);
    int64_t run = ptl_json_i64(push, "run_id", 0);
    PTL_FREE char *clean = cli_clean(ref);
    if (run) {
        cli_print(c, "portolan: %s starts run %lld; watch it: portolan run watch %lld\n", clean,
                  (long long)run, (long long)run);
        return;
    }
    PTL_FREE char *why = cli_clean(error ? error : ptl_json_str(push, "outcome", "no run"));
    cli_print(c, "portolan: %s: %s%s\n", clean, error ? "not taken: " : "", why);
}

int cli_cmd_hook_post_receive(struct cli *c)
{
    const char *project = cli_project(c);
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *answer = NULL;
    size_t i, left_out;
    json_t *push;
    int status = 0;
    PTL_JSON *updates = read_updates(c, &left_out);
    if (left_out)
        cli_warn(c, "%zu more updates are not told to the daemon", left_out);
    if (json_array_size(updates) == 0)
        return 0;
    if (!project) {
        cli_warn(c, "no project is named, so no run is started: portolan hook install REPO --project NAME");
        return 0;
    }
    if (cli_settle(c) != 0) {
        cli_warn(c, "the push is complete; only no run was started");
        return 0;
    }
    PTL_JSON *body = json_pack("{s:O}", "updates", updates);
    const char *pusher = getenv("GL_USERNAME")         ? getenv("GL_USERNAME")
                         : getenv("GITEA_PUSHER_NAME") ? getenv("GITEA_PUSHER_NAME")
                                                       : getenv("USER");
    if (pusher && *pusher)
        json_object_set_new(body, "pusher", json_string(pusher));
    PTL_FREE char *path = cli_path("/api/v1/projects/{}/pushes", project, NULL);
    int r = ptl_client_json(c->client, "POST", path, body, TIMEOUT_MS, &status, &answer, &err);
    if (r != 0) {
        cli_api_failed(c, r, status, &err);
        cli_warn(c, "the push is complete; only no run was started. Later: portolan run start %s", project);
        return 0;
    }
    json_array_foreach(json_object_get(answer, "pushes"), i, push) tell_one(c, push);
    return 0;
}
