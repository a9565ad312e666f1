/* main.c - portoland: settings, then store, core, http on one loop; stops in the other order. Only here does
 * the process exit. */
#include "core.h"
#include "life.h"
#include "server.h"
#include "store.h"
#include "git.h"
#ifdef PTL_WITH_NOTIFY
#include "status.h"
#include "tell.h"
#endif
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <portolan/settings.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

struct settings {
    char *state_dir, *dsn, *listen, *tls_cert, *tls_key, *public_url, *metrics_token, *bootstrap_file,
        *git_roots, *git_hosts, *git_schemes, *known_hosts, *ready_file, *smtp_url, *smtp_from, *smtp_login,
        *smtp_ca;
    int64_t db_connections, workers, lease, claim_lease, losses, log_max, log_retention, log_retention_size,
        event_retention, prepare_timeout, gate_wait, relabel_rate, allow_private, sse_heartbeat;
};
#define S(field) offsetof(struct settings, field)
static const struct ptl_setting table[] = {
    {"state-dir",               PTL_SET_STRING,   S(state_dir),          "/var/lib/portolan", 0,       0,              false,
     "blobs, mirrors, secret.key, and the private PostgreSQL"                                                                                                              },
    {"database",                PTL_SET_STRING,   S(dsn),                NULL,                0,       0,              true,
     "libpq connection string; none: a private PostgreSQL in state-dir"                                                                                                    },
    {"database-connections",    PTL_SET_INT,      S(db_connections),     "4",                 1,       64,             false, "connections to PostgreSQL"                  },
    {"listen-address",          PTL_SET_STRING,   S(listen),             "127.0.0.1:8470",    0,       0,              false,
     "numeric ADDRESS:PORT; port 0 takes a free one"                                                                                                                       },
    {"tls-cert",                PTL_SET_STRING,   S(tls_cert),           NULL,                0,       0,              false,
     "PEM certificate chain; needed off loopback"                                                                                                                          },
    {"tls-key",                 PTL_SET_STRING,   S(tls_key),            NULL,                0,       0,              false, "PEM private key"                            },
    {"public-url",              PTL_SET_STRING,   S(public_url),         NULL,                0,       0,              false,
     "how people reach this daemon, for links in statuses"                                                                                                                 },
    {"metrics-token",           PTL_SET_STRING,   S(metrics_token),      NULL,                0,       0,              true,  "bearer token for /metrics alone"            },
    {"bootstrap-token-file",    PTL_SET_STRING,   S(bootstrap_file),     NULL,                0,       0,              false,
     "where the first admin token is written (0600) while there is no admin; default state-dir/admin.token"                                                                },
    {"ready-file",              PTL_SET_STRING,   S(ready_file),         NULL,                0,       0,              false,
     "written with the address when the daemon serves"                                                                                                                     },
    {"workers",                 PTL_SET_INT,      S(workers),            "6",                 1,       64,             false,
     "threads for git (two fewer), disk, archives and diagnosis"                                                                                                           },
    {"lease",                   PTL_SET_DURATION, S(lease),              "30s",               2000,    600000,         false,
     "an agent silent for this long has lost its attempts"                                                                                                                 },
    {"claim-lease",             PTL_SET_DURATION, S(claim_lease),        "15s",               1000,    600000,         false,
     "from claim to the first sign of life"                                                                                                                                },
    {"losses-max",              PTL_SET_INT,      S(losses),             "2",                 0,       100,            false, "retries after a lost agent or failed set-up"},
    {"log-max",                 PTL_SET_SIZE,     S(log_max),            "64MiB",             65536,   1 << 30,        false,
     "bytes kept of one attempt's log; agents keep head and tail"                                                                                                          },
    {"event-retention",         PTL_SET_DURATION, S(event_retention),    "7d",                3600000, 31622400000,    false,
     "how far back event streams can resume; runs, attempts and logs stay"                                                                                                 },
    {"log-retention",           PTL_SET_DURATION, S(log_retention),      "0",                 0,       31622400000,    false,
     "logs of runs that ended so long ago are let go, their diagnoses and quoted lines stay; 0: never"                                                                     },
    {"log-retention-size",      PTL_SET_SIZE,     S(log_retention_size), "0",                 0,       INT64_MAX >> 1, false,
     "when all logs together are more, the oldest are let go; 0: no limit"                                                                                                 },
    {"prepare-timeout",         PTL_SET_DURATION, S(prepare_timeout),    "15m",               1000,    86400000,       false,
     "fetch, plan and snapshot of one run"                                                                                                                                 },
    {"gate-wait",               PTL_SET_DURATION, S(gate_wait),          "15m",               1000,    604800000,      false,
     "that a gate by risk waits for pre-flight, before it asks a person"                                                                                                   },
    {"relabel-rate",            PTL_SET_INT,      S(relabel_rate),       "20",                1,       1000,           false,
     "attempts of the past diagnosed anew a second when the knowledge changed"                                                                                             },
    {"git-schemes",             PTL_SET_STRING,   S(git_schemes),        "https,ssh,file",    0,       0,              false,
     "of https, ssh, git, file, http"                                                                                                                                      },
    {"git-hosts",               PTL_SET_STRING,   S(git_hosts),          NULL,                0,       0,              false,
     "comma-separated globs of hosts; none: any"                                                                                                                           },
    {"git-local-roots",         PTL_SET_STRING,   S(git_roots),          NULL,                0,       0,              false,
     "colon-separated directories that local repositories may be in; none: no local repositories"                                                                          },
    {"ssh-known-hosts",         PTL_SET_STRING,   S(known_hosts),        NULL,                0,       0,              false,
     "host keys of ssh repositories; default /etc/ssh/ssh_known_hosts"                                                                                                     },
    {"allow-private-addresses", PTL_SET_BOOL,     S(allow_private),      "false",             0,       0,              false,
     "repositories and forges on loopback and private networks"                                                                                                            },
    {"smtp-url",                PTL_SET_STRING,   S(smtp_url),           NULL,                0,       0,              false,
     "server that mails to people go through, smtp://HOST[:PORT] (TLS by STARTTLS, but on loopback) or smtps://…; none: no mail"                                         },
    {"smtp-from",               PTL_SET_STRING,   S(smtp_from),          NULL,                0,       0,              false, "address that mails come from"               },
    {"smtp-credentials-file",   PTL_SET_STRING,   S(smtp_login),         NULL,                0,       0,              false,
     "one line USER:PASSWORD for it, mode 0600"                                                                                                                            },
    {"smtp-ca-file",            PTL_SET_STRING,   S(smtp_ca),            NULL,                0,       0,              false,
     "PEM of the authority that signed its certificate"                                                                                                                    },
    {"sse-heartbeat",           PTL_SET_DURATION, S(sse_heartbeat),      "15s",               1000,    60000,          false,
     "comment lines on silent event streams"                                                                                                                               },
};

struct daemon {
    struct settings set;
    struct ptl_loop *loop;
    struct ptl_store *store;
    struct ptl_http_pool *http;
    struct ptl_core *core;
    struct ptl_server *server;
#ifdef PTL_WITH_NOTIFY
    struct ptl_notify *notify;
    struct ptl_tell *tell;
#endif
    struct ptl_timer *watchdog;
    char *token;
    int status;
};

/* sd_notify(3) by hand: one datagram; no libsystemd for two words. */
static void tell_systemd(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof(a.sun_path))
        return;
    memcpy(a.sun_path, path, strlen(path));
    if (path[0] == '@')
        a.sun_path[0] = 0;
    PTL_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)!sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

static void on_watchdog(void *ctx PTL_UNUSED)
{
    tell_systemd("WATCHDOG=1");
}

static void on_term(void *ctx)
{
    struct daemon *d = ctx;
    tell_systemd("STOPPING=1");
    ptl_server_drain(d->server);
    ptl_loop_stop(d->loop);
}

static void on_bootstrap(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct daemon *d = ctx;
    struct ptl_error e = PTL_ERROR_INIT;
    PTL_FREE char *path = d->set.bootstrap_file ? ptl_xstrdup(d->set.bootstrap_file)
                                                : ptl_fs_join(d->set.state_dir, "admin.token");
    if (err) {
        ptl_log_error("the first admin token could not be made: %s", err->text);
    } else if (ptl_rows_count(rows) > 0) {
        PTL_FREE char *line = ptl_xasprintf("%s\n", d->token);
        if (ptl_fs_write_atomic(path, line, strlen(line), 0600, &e) < 0)
            ptl_log_error("%s", e.text);
        else
            ptl_log_info(
                "there was no admin token: made one in %s; make people their own with 'portolan token create', then revoke it",
                path);
    }
    explicit_bzero(d->token, strlen(d->token));
    free(d->token);
    d->token = NULL;
    if (d->set.ready_file) {
        PTL_FREE char *line = ptl_xasprintf("%s\n", ptl_server_address(d->server));
        if (ptl_fs_write_atomic(d->set.ready_file, line, strlen(line), 0644, &e) < 0)
            ptl_log_error("%s", e.text);
    }
    tell_systemd("READY=1");
}

static void bootstrap(struct daemon *d)
{
    char hash[PTL_SHA256_HEX];
    d->token = ptl_token_new("user");
    ptl_sha256_of(d->token, strlen(d->token), hash);
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, hash);
    ptl_args_str(&a, "first admin");
    if (ptl_store_query(d->store, PTL_SQL_token_bootstrap, &a, on_bootstrap, d) != 0)
        ptl_log_error("the first admin token could not be asked for");
}

static struct ptl_store_options store_options(const struct settings *s)
{
    return (struct ptl_store_options){
        .dsn = s->dsn, .state_dir = s->state_dir, .connections = (unsigned)s->db_connections};
}

static int start(struct daemon *d, struct ptl_error *err)
{
    struct settings *s = &d->set;
    struct ptl_server_options ho = {.listen_address = s->listen,
                                    .tls_cert = s->tls_cert,
                                    .tls_key = s->tls_key,
                                    .metrics_token = s->metrics_token,
                                    .sse_heartbeat_ms = s->sse_heartbeat};
    int r = ptl_server_check(&ho, err); /* before a database is started for nothing */
    if (r == 0)
        r = ptl_fs_mkdirs(s->state_dir, 0711,
                          err); /* the private PostgreSQL's user must reach its own directory below */
    if (r < 0)
        return r;
    if (s->metrics_token)
        ptl_log_mask(s->metrics_token);
    if ((r = ptl_git_init(0, err)) < 0)
        return r;
    d->loop = ptl_loop_new((unsigned)s->workers, 4096);
    if (!d->loop)
        return ptl_error_set(err, -ENOMEM, "no event loop");
    struct ptl_store_options so = store_options(s);
    if ((r = ptl_store_open(d->loop, &so, &d->store, err)) < 0)
        return r;
    d->http = ptl_http_pool_new(d->loop, 64);
    struct ptl_core_options co = {.state_dir = s->state_dir,
                                  .public_url = s->public_url,
                                  .lease_ms = s->lease,
                                  .claim_lease_ms = s->claim_lease,
                                  .losses_max = s->losses,
                                  .log_max_bytes = s->log_max,
                                  .log_retention_ms = s->log_retention,
                                  .log_retention_bytes = s->log_retention_size,
                                  .event_retention_ms = s->event_retention,
                                  .prepare_timeout_ms = s->prepare_timeout,
                                  .git_work_max = s->workers > 3 ? (unsigned)s->workers - 2 : 1,
                                  .gate_wait_ms = s->gate_wait,
                                  .relabel_rate = s->relabel_rate,
                                  .allow_private_addresses = s->allow_private != 0,
                                  .git_local_roots = s->git_roots,
                                  .git_hosts = s->git_hosts,
                                  .git_schemes = s->git_schemes,
                                  .ssh_known_hosts = s->known_hosts};
    if ((r = ptl_core_new(d->loop, d->store, d->http, &co, &d->core, err)) < 0)
        return r;
    if ((r = ptl_server_new(d->core, &ho, &d->server, err)) < 0)
        return r;
#ifdef PTL_WITH_NOTIFY
    d->notify = ptl_notify_new(d->core);
    struct ptl_tell_options to = {.smtp_url = s->smtp_url,
                                  .smtp_from = s->smtp_from,
                                  .smtp_credentials_file = s->smtp_login,
                                  .smtp_ca_file = s->smtp_ca};
    if ((r = ptl_tell_new(d->core, &to, &d->tell, err)) < 0)
        return r;
#endif
    ptl_loop_on_term(d->loop, on_term, d);
    const char *usec = getenv("WATCHDOG_USEC");
    if (usec && strtoll(usec, NULL, 10) > 0) {
        d->watchdog = ptl_timer_new(d->loop, on_watchdog, NULL);
        ptl_timer_every(d->watchdog, strtoll(usec, NULL, 10) / 3000);
    }
    bootstrap(d);
    ptl_log_info("serving at %s, state in %s, %s PostgreSQL", ptl_server_address(d->server), s->state_dir,
                 s->dsn ? "a given" : "a private");
    return 0;
}

static void stop(struct daemon *d)
{
    ptl_timer_free(d->watchdog);
#ifdef PTL_WITH_NOTIFY
    ptl_tell_free(d->tell);
    ptl_notify_free(d->notify);
#endif
    if (d->core)
        ptl_core_stop(d->core);
    if (d->http)
        ptl_http_pool_free(d->http);
    ptl_loop_finish_work(d->loop);
    ptl_store_close(d->store);
    ptl_server_free(d->server);
    ptl_core_free(d->core);
    ptl_loop_free(d->loop);
    ptl_git_shutdown();
    if (d->set.ready_file)
        unlink(d->set.ready_file);
}

static void usage(FILE *out)
{
    fputs(
        "usage: portoland [--config FILE] [--setting value …] [serve|migrate|diagram|version]\n"
        "  serve     run the daemon (default)\n  migrate   bring the database's schema up to this program and stop\n"
        "  diagram   print the life of stages and runs as a Mermaid diagram\n\nsettings (file, then environment, then command line):\n",
        out);
    ptl_settings_help(table, PTL_ARRAY_LEN(table), out);
}

int main(int argc, char **argv)
{
    struct daemon d = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    const char *config = getenv("PORTOLAN_CONFIG");
    int first = 1, at = 0;
    ptl_log_init("portoland");
    ptl_http_global_init();
    if (argc > 1 && (ptl_str_eq(argv[1], "--help") || ptl_str_eq(argv[1], "-h"))) {
        usage(stdout);
        return 0;
    }
    if (argc > 1 && ptl_str_eq(argv[1], "--version")) {
        puts("portoland " PTL_VERSION);
        return 0;
    }
    if (argc > 2 && ptl_str_eq(argv[1], "--config")) {
        config = argv[2];
        first = 3;
    }
    int r =
        ptl_settings_load(table, PTL_ARRAY_LEN(table), &d.set, config, argc - first, argv + first, &at, &err);
    const char *verb = first + at < argc ? argv[first + at] : "serve";
    if (r == 0 && first + at + 1 < argc)
        r = ptl_error_set(&err, -EINVAL, "unexpected argument '%s' after '%s'", argv[first + at + 1], verb);
    if (r < 0) {
        fprintf(stderr, "portoland: %s\n", err.text);
        d.status = 2;
    } else if (ptl_str_eq(verb, "diagram")) {
        PTL_BUF b = PTL_BUF_INIT;
        ptl_life_mermaid(&b);
        fputs(ptl_buf_str(&b), stdout);
    } else if (ptl_str_eq(verb, "version")) {
        puts("portoland " PTL_VERSION);
    } else if (ptl_str_eq(verb, "migrate")) {
        struct ptl_store_options so = store_options(&d.set);
        if (ptl_store_migrate(&so, &err) < 0) {
            fprintf(stderr, "portoland: %s\n", err.text);
            d.status = 1;
        }
    } else if (ptl_str_eq(verb, "serve")) {
        if (start(&d, &err) < 0) {
            ptl_log_error("cannot start: %s", err.text);
            d.status = 1;
        } else if (ptl_loop_run(d.loop) < 0) {
            d.status = 1;
        }
        stop(&d);
    } else {
        fprintf(stderr, "portoland: '%s' is none of serve, migrate, diagram, version (--help)\n", verb);
        d.status = 2;
    }
    ptl_settings_free(table, PTL_ARRAY_LEN(table), &d.set);
    return d.status;
}
