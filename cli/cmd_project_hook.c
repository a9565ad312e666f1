/* cmd_project_hook.c - portolan project hook: the webhook's address, and where each forge wants it. */
#include "cli.h"

int cli_cmd_project_hook(struct cli *c)
{
    PTL_JSON *project = NULL;
    const char *name = cli_arg(c, 0);
    PTL_FREE char *path = cli_path("/api/v1/projects/{}", name, NULL);
    PTL_FREE char *hook = cli_path("/hooks/{}", name, NULL);
    int r = cli_get(c, path, &project);
    if (r)
        return r;
    const char *base = cli_text(c, "url");
    PTL_FREE char *server = ptl_xstrdup(base ? base : c->server);
    for (size_t n = strlen(server); n && server[n - 1] == '/';)
        server[--n] = 0;
    PTL_FREE char *url = ptl_xasprintf("%s%s", server, hook);
    if (c->json) {
        PTL_JSON *o =
            json_pack("{s:s,s:s,s:s}", "project", name, "url", url, "content_type", "application/json");
        return cli_print_json(c, o);
    }
    cli_print(
        c,
        "Webhook of project %s\n\n"
        "  URL           %s\n"
        "  content type  application/json\n"
        "  secret        the one set by: portolan project set %s --webhook-secret-file FILE   (openssl rand -hex 32 makes one)\n"
        "  events        pushes (branches and tags)\n\n"
        "GitHub   Settings > Webhooks > Add webhook: Payload URL, Content type application/json, Secret, 'Just the push event'.\n"
        "         GitHub does not deliver again by itself; Recent Deliveries has Redeliver.\n"
        "GitLab   Settings > Webhooks > Add new webhook: URL, Secret token (or a signing token), Push events, Tag push events.\n"
        "Gitea    Settings > Webhooks > Add webhook > Gitea: Target URL, POST, application/json, Secret, Push events.\n"
        "         Gitea delivers to public addresses only by default. For a daemon on loopback or in a private network, its\n"
        "         app.ini needs:   [webhook]   ALLOWED_HOST_LIST = external,loopback,private   (or the daemon's host name)\n"
        "Forgejo  as Gitea, also the ALLOWED_HOST_LIST.\n\n"
        "What arrived and what came of it: portolan project deliveries %s\n"
        "A bare repository on this machine needs no forge: portolan hook install REPO --project %s\n",
        name, url, name, name, name);
    return 0;
}
