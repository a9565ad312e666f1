/* agent.c - portolan-agent as a long-running process: settings, enrolment, the claim poll, the heartbeat, the
 * way down.
 *
 * One loop thread; the daemon is asked over the loop's HTTP pool, everything slow runs on worker threads
 * (work.c), attempts run in processes of their own (attempt.c). The daemon may be away for any time: claims
 * back off, heartbeats go on, logs and results wait on disk. */
#include "agent-private.h"
#include "cgroup.h"
#include "sandbox.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <portolan/proc.h>
#include <portolan/settings.h>

#define LEASE_DEFAULT_MS 30000
#define TICK_MS          200
#define REAP_MS          10000
#define ENROLL_TRIES     10
#define CALLS_MAX        256
/* Answers to a claim with nothing in it that come sooner than this would make a busy loop. */
#define CLAIM_MIN_MS 500

#define SETTING(n, t, f, d, lo, hi, h)                                                                       \
    {                                                                                                        \
        n, t, offsetof(struct agent_settings, f), d, lo, hi, false, h                                        \
    }
static const struct ptl_setting settings_table[] = {
    SETTING("server", PTL_SET_STRING, server, "http://127.0.0.1:8470", 0, 0,
            "URL of the daemon (https, or http on loopback)"),
    SETTING("ca-file", PTL_SET_STRING, ca_file, NULL, 0, 0,
            "PEM file of the authority that signed the daemon's certificate"),
    SETTING(
        "state-dir", PTL_SET_STRING, state_dir, NULL, 0, 0,
        "token, workspaces, cache (default /var/lib/portolan-agent for root, else ~/.local/state/portolan-agent)"),
    {"enroll-token", PTL_SET_STRING, offsetof(struct agent_settings, enroll_token), NULL, 0, 0, true,
       "one-time token, used when this agent has no token of its own yet"},
    SETTING("name", PTL_SET_STRING, name, NULL, 0, 0, "name shown to people (default: the host's name)"),
    SETTING("hosts", PTL_SET_STRING, hosts, "auto", 0, 0,
            "host kinds offered: server, mobile, browser; auto: all that work here"),
    SETTING("labels", PTL_SET_STRING, labels, "", 0, 0, "words that stages may ask for"),
    SETTING("slots", PTL_SET_INT, slots, "1", 1, PTL_WIRE_CLAIMS_MAX, "attempts at the same time"),
    SETTING("cache-size", PTL_SET_SIZE, cache_size, "20GiB", 0, 0, "snapshots and model files kept on disk"),
    SETTING("recipes", PTL_SET_STRING, recipes, NULL, 0, 0,
            "folder of recipes (default: the installed ones)"),
    SETTING("toolchain-folders", PTL_SET_STRING, toolchain_folders, NULL, 0, 0,
            "folder of toolchain folders (default: beside the recipes)"),
    SETTING("toolchains", PTL_SET_STRING, toolchains, NULL, 0, 0, "root of installed toolchains"),
    SETTING("attempt-memory", PTL_SET_SIZE, attempt_memory, "0", 0, 0,
            "memory ceiling of an attempt that names none; 0: none"),
    SETTING("sandbox", PTL_SET_STRING, sandbox, "require", 0, 0,
            "require: no stage runs without bubblewrap; none: stages run with this agent's rights"),
    SETTING("drain", PTL_SET_DURATION, drain_ms, "5m", 0, 86400000,
            "on SIGTERM, how long running attempts may still take"),
    SETTING("leave-running", PTL_SET_BOOL, leave_running, "false", 0, 0,
            "on SIGTERM, end at once and leave attempts to the next start of this agent"),
    SETTING("keep", PTL_SET_BOOL, keep, "false", 0, 0, "keep workspaces of reported attempts in STATE/kept"),
    SETTING("claim-wait", PTL_SET_DURATION, claim_wait_ms, "25s", 0, 300000,
            "how long one question for work may wait at the daemon"),
    SETTING("inventory-every", PTL_SET_DURATION, inventory_ms, "5m", 1000, 86400000,
            "how often this host is looked at anew"),
};

void ptl_agent_settings_help(FILE *out)
{
    ptl_settings_help(settings_table, PTL_ARRAY_LEN(settings_table), out);
}

/* ---- settings and state ---- */

static void set_default(char **at, char *value)
{
    if (*at && **at)
        free(value);
    else {
        free(*at);
        *at = value;
    }
}

static char *default_state_dir(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (geteuid() == 0)
        return ptl_xstrdup("/var/lib/portolan-agent");
    if (state && *state)
        return ptl_fs_join(state, "portolan-agent");
    return ptl_fs_join(home && *home ? home : "/tmp", ".local/state/portolan-agent");
}

static void export_setting(const char *name, const char *value)
{
    if (value && *value)
        setenv(name, value, 1);
}

/* `--config FILE` comes before all other settings. Exit code, or -1 to go on. */
static int load_settings(int argc, char **argv, struct agent_settings *ret)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *file = getenv("PORTOLAN_AGENT_CONFIG");
    int index = 0;
    if (argc >= 2 && strcmp(argv[0], "--config") == 0) {
        file = argv[1];
        argc -= 2;
        argv += 2;
    }
    memset(ret, 0, sizeof(*ret));
    int r = ptl_settings_load(settings_table, PTL_ARRAY_LEN(settings_table), ret, file && *file ? file : NULL,
                              argc, argv, &index, &err);
    if (r == 0 && index < argc)
        r = ptl_error_set(&err, -EINVAL, "\"%s\": expected --setting value (portolan-agent help)",
                          argv[index]);
    if (r == 0 && strcmp(ret->sandbox, "require") != 0 && strcmp(ret->sandbox, "none") != 0)
        r = ptl_error_set(&err, -EINVAL, "sandbox = %s: expected require or none", ret->sandbox);
    if (r < 0) {
        ptl_log_error("%s", err.text);
        return 2;
    }
    char host[HOST_NAME_MAX + 1] = "agent";
    gethostname(host, sizeof(host) - 1);
    set_default(&ret->name, ptl_xstrdup(host));
    set_default(&ret->state_dir, default_state_dir());
    /* what attempt processes read: they are started by us and know no settings */
    char memory[32];
    snprintf(memory, sizeof(memory), "%lld", (long long)ret->attempt_memory);
    export_setting("PORTOLAN_ATTEMPT_MEMORY", memory);
    export_setting("PORTOLAN_RECIPES", ret->recipes);
    export_setting("PORTOLAN_TOOLCHAINS", ret->toolchains);
    export_setting("PORTOLAN_TOOLCHAIN_FOLDERS", ret->toolchain_folders);
    if (strcmp(ret->sandbox, "none") == 0) {
        ptl_log_warning("sandbox = none: stages run with the rights of this agent");
        setenv("PORTOLAN_SANDBOX", "none", 1);
    } else {
        unsetenv("PORTOLAN_SANDBOX");
    }
    unsetenv("PORTOLAN_ENROLL_TOKEN"); /* no child needs it */
    return -1;
}

static void settings_done(struct agent_settings *set)
{
    ptl_settings_free(settings_table, PTL_ARRAY_LEN(settings_table), set);
}

static char *token_path(const struct agent_settings *set)
{
    return ptl_fs_join(set->state_dir, "agent.json");
}

/* 0 and the token (caller's), PTL_ABSENT when this agent has none, or negative. */
static int load_token(const struct agent_settings *set, char **ret_token, int64_t *ret_id,
                      struct ptl_error *err)
{
    PTL_FREE char *path = token_path(set);
    PTL_JSON *state = NULL;
    struct stat st;
    const char *token;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? PTL_ABSENT : ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (st.st_mode & 077)
        return ptl_error_set(err, -EPERM, "%s: others may read this agent's token; chmod 600 it", path);
    int r = ptl_json_load(path, 65536, &state, err);
    if (r == 0)
        r = ptl_json_req_str(state, path, "token", &token, err);
    if (r < 0)
        return r;
    *ret_token = ptl_xstrdup(token);
    *ret_id = ptl_json_i64(state, "agent_id", 0);
    return 0;
}

static int client_for(const struct agent_settings *set, const char *token, struct ptl_client **ret,
                      struct ptl_error *err)
{
    const struct ptl_client_options o = {.server = set->server,
                                         .token = token,
                                         .ca_file = set->ca_file,
                                         .user_agent = "portolan-agent/" PTL_VERSION};
    return ptl_client_new(&o, ret, err);
}

static int enroll(const struct agent_settings *set, const char *one_time, struct ptl_error *err)
{
    PTL_CLEANUP(ptl_client_freep) struct ptl_client *client = NULL;
    PTL_JSON *inventory = agent_inventory(set, true);
    PTL_JSON *body =
        json_pack("{s:s, s:s, s:O}", "token", one_time, "name", set->name, "inventory", inventory);
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = token_path(set);
    struct backoff wait = {.base_ms = 500, .max_ms = 10000};
    const char *token;
    int status = 0;
    int r = ptl_fs_mkdirs(set->state_dir, 0700, err);
    if (r == 0)
        r = client_for(set, NULL, &client, err);
    for (int i = 0; r == 0; i++) {
        r = ptl_client_json(client, "POST", "/api/v1/agent/enroll", body, 30000, &status, &answer, err);
        if (r == 0 || status != 0 ||
            i + 1 == ENROLL_TRIES) /* an answer is an answer: a one-time token is not tried twice */
            break;
        ptl_log_warning("enrolment: %s; trying again", err->text);
        struct timespec nap = {.tv_nsec = 1000000 * (backoff_next(&wait) % 1000)};
        nap.tv_sec = wait.delay_ms / 2000;
        nanosleep(&nap, NULL);
        r = 0;
    }
    if (r == PTL_ABSENT)
        r = -ENOENT;
    if (r == 0)
        r = ptl_json_req_str(answer, "enrolment", "token", &token, err);
    if (r < 0)
        return ptl_error_prefix(err, r, "enrolment at %s", set->server);
    PTL_JSON *state = json_pack("{s:s, s:s, s:s, s:I}", "token", token, "server", set->server, "name",
                                set->name, "agent_id", (json_int_t)ptl_json_i64(answer, "agent_id", 0));
    r = ptl_json_save(path, state, 0600, err);
    if (r == 0)
        ptl_log_info("enrolled as agent %lld at %s", (long long)ptl_json_i64(answer, "agent_id", 0),
                     set->server);
    return r;
}

/* ---- claim ---- */

static void claim_now(void *arg);

static void claim_answered(void *ctx, int result, int status, const json_t *answer,
                           const struct ptl_error *err)
{
    struct agent *a = ctx;
    const json_t *claims = json_object_get(answer, "claims");
    size_t i;
    json_t *claim;
    (void)status;
    a->claiming = false;
    a->claim_call = NULL;
    if (a->stopping || (a->draining && result < 0))
        return;
    if (result == 0) {
        if (a->claim_retry.delay_ms)
            ptl_log_info("the daemon answers again");
        backoff_reset(&a->claim_retry);
        a->told_denied = false;
        json_array_foreach((json_t *)claims, i, claim)
        {
            if (!a->draining) /* a claim that crossed our way down expires unanswered */
                jobs_take(a, claim);
        }
        if (json_array_size(claims) > 0)
            ptl_timer_after(a->beat_timer, 0); /* the first sign of life; its answer tells the true lease */
        bool soon = json_array_size(claims) > 0 || ptl_mono_ms() - a->claimed_at >= CLAIM_MIN_MS;
        ptl_timer_after(a->claim_timer, soon ? 0 : CLAIM_MIN_MS);
        return;
    }
    int64_t ms = backoff_next(&a->claim_retry);
    if (result == -EPERM && !a->told_denied) {
        a->told_denied = true;
        ptl_log_error("the daemon refuses this agent's token (%s); enroll it again", err->text);
    } else if (a->claim_retry.delay_ms == a->claim_retry.base_ms) {
        ptl_log_warning("no claims: %s; trying again, less and less often", err->text);
    }
    ptl_timer_after(a->claim_timer, ms);
}

static void claim_now(void *arg)
{
    struct agent *a = arg;
    unsigned held = jobs_holding_slots(a);
    if (a->claiming || a->draining || a->stopping || held >= (unsigned)a->set.slots)
        return;
    PTL_JSON *body = json_pack("{s:i, s:I, s:O}", "free_slots", (int)a->set.slots - (int)held, "wait_ms",
                               (json_int_t)a->set.claim_wait_ms, "inventory", a->inventory);
    a->claimed_at = ptl_mono_ms();
    a->claiming = ptl_client_start(a->client, a->http, "POST", "/api/v1/agent/claim", body,
                                   a->set.claim_wait_ms + 15000, claim_answered, a, &a->claim_call) == 0;
    if (!a->claiming)
        ptl_timer_after(a->claim_timer, 1000);
}

/* ---- heartbeat ---- */

static void each_id(struct agent *a, const json_t *ids, bool lost)
{
    size_t i, k;
    json_t *id, *sent;
    json_array_foreach((json_t *)ids, i, id)
    {
        json_array_foreach(a->beat, k, sent)
        {
            int64_t fence = ptl_json_i64(sent, "fence", -1);
            if (ptl_json_i64(sent, "attempt_id", -1) != json_integer_value(id))
                continue;
            if (lost)
                jobs_lose(a, json_integer_value(id), fence, "the daemon says so");
            else
                jobs_cancel(a, json_integer_value(id), fence, false);
        }
    }
}

static void beat_answered(void *ctx, int result, int status, const json_t *answer,
                          const struct ptl_error *err)
{
    struct agent *a = ctx;
    (void)status;
    a->beating = false;
    if (a->stopping)
        return;
    if (result != 0) {
        int64_t ms = backoff_next(&a->beat_retry);
        if (a->beat_retry.delay_ms == a->beat_retry.base_ms)
            ptl_log_warning("heartbeat: %s; attempts go on meanwhile", err->text);
        ptl_timer_after(a->beat_timer, ms);
        return;
    }
    backoff_reset(&a->beat_retry);
    int64_t lease = ptl_json_i64(answer, "lease_ms", a->lease_ms);
    if (lease >= 1000 && lease <= 3600000)
        a->lease_ms = lease;
    each_id(a, json_object_get(answer, "cancel"), false);
    each_id(a, json_object_get(answer, "lost"), true);
    jobs_tick(a);
    ptl_timer_after(a->beat_timer, a->lease_ms / 3);
}

static void beat(void *arg)
{
    struct agent *a = arg;
    PTL_JSON *list = jobs_heartbeat(a);
    if (a->beating || a->stopping)
        return;
    if (json_array_size(list) == 0) { /* the claim poll is sign of life enough */
        ptl_timer_after(a->beat_timer, a->lease_ms / 3);
        return;
    }
    PTL_JSON *body = json_pack("{s:O}", "attempts", list);
    json_decref(a->beat);
    a->beat = json_incref(list);
    a->beating = ptl_client_start(a->client, a->http, "POST", "/api/v1/agent/heartbeat", body,
                                  a->lease_ms / 2, beat_answered, a, NULL) == 0;
    if (!a->beating)
        ptl_timer_after(a->beat_timer, 1000);
}

/* ---- inventory ---- */

struct inventory_work {
    struct ptl_work work;
    struct agent *agent;
    const struct agent_settings *set; /* never changes */
    json_t *inventory;
};

static void inventory_run(struct ptl_work *work)
{
    struct inventory_work *w = (struct inventory_work *)work;
    w->inventory = agent_inventory(w->set, false);
}

static void inventory_done(struct ptl_work *work)
{
    struct inventory_work *w = (struct inventory_work *)work;
    w->agent->refreshing = false;
    if (w->inventory) {
        if (!json_equal(w->inventory, w->agent->inventory))
            ptl_log_info("what this host offers has changed; the next question for work tells it");
        json_decref(w->agent->inventory);
        w->agent->inventory = w->inventory;
    }
    free(w);
}

static void inventory_now(void *arg)
{
    struct agent *a = arg;
    if (a->refreshing || a->draining)
        return;
    struct inventory_work *w = ptl_xcalloc(1, sizeof(*w));
    w->work.run = inventory_run;
    w->work.done = inventory_done;
    w->agent = a;
    w->set = &a->set;
    a->refreshing = ptl_loop_submit(a->loop, &w->work) == 0;
    if (!a->refreshing)
        free(w);
}

/* A killed attempt leaves its payload's processes to this one, their subreaper. */
static void reap(void *arg PTL_UNUSED)
{
    int n = ptl_proc_reap_orphans();
    if (n)
        ptl_log_debug("%d orphans of ended attempts reaped", n);
}

/* ---- up and down ---- */

static void tick(void *arg)
{
    struct agent *a = arg;
    jobs_tick(a);
    if (!a->claiming && !a->draining && a->claim_retry.delay_ms == 0)
        claim_now(a); /* a slot may have become free */
    if (!a->draining)
        return;
    int64_t now = ptl_mono_ms();
    if (!jobs_any(a)) {
        ptl_loop_stop(a->loop);
    } else if (now > a->drain_until) {
        for (struct job *j = a->jobs; j; j = j->next)
            jobs_cancel(a, j->id, j->fence, true);
        if (now > a->drain_until + 60000) {
            ptl_log_warning("going down with unreported attempts; the next start reports them");
            ptl_loop_stop(a->loop);
        }
    }
}

static void on_term(void *arg)
{
    struct agent *a = arg;
    if (a->set.leave_running) {
        ptl_log_info("going down; attempts go on and are adopted by the next start");
        ptl_loop_stop(a->loop);
        return;
    }
    char limit[32];
    ptl_duration_format(a->set.drain_ms, limit);
    ptl_log_info("draining: no new claims, running attempts have %s; a second signal ends at once", limit);
    a->draining = true;
    a->drain_until = ptl_mono_ms() + a->set.drain_ms;
    if (a->claim_call)
        ptl_http_call_cancel(a->claim_call);
}

static int open_state(struct agent *a, int *ret_lock, struct ptl_error *err)
{
    PTL_FREE char *cache = ptl_fs_join(a->set.state_dir, "cache");
    PTL_FREE char *lock = ptl_fs_join(a->set.state_dir, "lock");
    char exe[PATH_MAX];
    a->attempts_dir = ptl_fs_join(a->set.state_dir, "attempts");
    a->kept_dir = ptl_fs_join(a->set.state_dir, "kept");
    int r = ptl_fs_mkdirs(a->set.state_dir, 0700, err);
    if (r == 0)
        r = ptl_fs_mkdirs(a->attempts_dir, 0700, err);
    if (r == 0 && a->set.keep)
        r = ptl_fs_mkdirs(a->kept_dir, 0700, err);
    if (r == 0)
        r = ptl_cache_new(cache, (uint64_t)a->set.cache_size, &a->cache, err);
    if (r < 0)
        return r;
    *ret_lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*ret_lock < 0 || flock(*ret_lock, LOCK_EX | LOCK_NB) < 0)
        return ptl_error_set(err, -EBUSY, "%s: another agent works with this state directory", lock);
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return ptl_error_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    exe[n] = 0;
    a->exe = ptl_xstrdup(exe);
    return 0;
}

static int agent_up(struct agent *a, int *ret_lock, struct ptl_error *err)
{
    int r = open_state(a, ret_lock, err);
    if (r == 0 && (r = load_token(&a->set, &a->token, &a->agent_id, err)) == PTL_ABSENT) {
        if (!a->set.enroll_token || !*a->set.enroll_token)
            r = ptl_error_set(err, -ENOENT,
                              "this agent is not enrolled: portolan-agent enroll TOKEN --server %s",
                              a->set.server);
        else if ((r = enroll(&a->set, a->set.enroll_token, err)) == 0)
            r = load_token(&a->set, &a->token, &a->agent_id, err);
    }
    if (r < 0)
        return r;
    ptl_log_mask(a->token);
    ptl_cgroup_sweep_stale();
    a->inventory = agent_inventory(&a->set, true);
    if (strcmp(ptl_json_str(a->inventory, "sandbox", ""), "unusable") == 0)
        return ptl_error_set(err, -EPERM, "no stage could run on this host; see above");
    if ((r = client_for(&a->set, a->token, &a->client, err)) < 0)
        return r;
    a->loop = ptl_loop_new((unsigned)a->set.slots * 2 + 2 > 64 ? 64 : (unsigned)a->set.slots * 2 + 2, 1024);
    a->http = a->loop ? ptl_http_pool_new(a->loop, CALLS_MAX) : NULL;
    if (!a->http)
        return ptl_error_set(err, -ENOMEM, "event loop: out of resources");
    a->tick = ptl_timer_new(a->loop, tick, a);
    a->claim_timer = ptl_timer_new(a->loop, claim_now, a);
    a->beat_timer = ptl_timer_new(a->loop, beat, a);
    a->inventory_timer = ptl_timer_new(a->loop, inventory_now, a);
    a->reap_timer = ptl_timer_new(a->loop, reap, a);
    a->lease_ms = LEASE_DEFAULT_MS;
    a->claim_retry = (struct backoff){.base_ms = 1000, .max_ms = 30000};
    a->beat_retry = (struct backoff){.base_ms = 1000, .max_ms = 5000};
    return 0;
}

static void agent_down(struct agent *a)
{
    a->stopping = true;
    for (struct job *j = a->jobs; j; j = j->next)
        if (j->stop)
            *j->stop = 1;
    ptl_timer_free(a->tick);
    ptl_timer_free(a->claim_timer);
    ptl_timer_free(a->beat_timer);
    ptl_timer_free(a->inventory_timer);
    ptl_timer_free(a->reap_timer);
    if (a->http)
        ptl_http_pool_free(a->http);
    if (a->loop) {
        jobs_unwatch(a); /* their events belong to the loop */
        ptl_loop_free(a->loop);
    }
    jobs_free(a);
    ptl_client_free(a->client);
    ptl_cache_free(a->cache);
    json_decref(a->inventory);
    json_decref(a->beat);
    free(a->attempts_dir);
    free(a->kept_dir);
    free(a->token);
    free(a->exe);
}

int ptl_agent_cmd_run(int argc, char **argv)
{
    struct agent a = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_CLOSE int lock = -1;
    int exit_code = load_settings(argc, argv, &a.set);
    if (exit_code >= 0)
        return settings_done(&a.set), exit_code;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int r = agent_up(&a, &lock, &err);
    if (r < 0) {
        ptl_log_error("%s", err.text);
    } else {
        PTL_FREE char *hosts = json_dumps(json_object_get(a.inventory, "hosts"), 0);
        ptl_log_info("agent %lld (%s) works for %s: hosts %s, %lld slots, sandbox %s, %zu recipes",
                     (long long)a.agent_id, a.set.name, a.set.server, hosts, (long long)a.set.slots,
                     ptl_json_str(a.inventory, "sandbox", "?"),
                     json_array_size(json_object_get(a.inventory, "recipes")));
        ptl_loop_on_term(a.loop, on_term, &a);
        jobs_adopt(&a);
        ptl_timer_every(a.tick, TICK_MS);
        ptl_timer_every(a.reap_timer, REAP_MS);
        ptl_timer_every(a.inventory_timer, a.set.inventory_ms);
        ptl_timer_after(a.beat_timer, 0); /* adopted attempts may be near the end of their lease */
        ptl_timer_after(a.claim_timer, 0);
        r = ptl_loop_run(a.loop);
    }
    agent_down(&a);
    settings_done(&a.set);
    return r < 0 ? 1 : 0;
}

int ptl_agent_cmd_inventory(int argc, char **argv)
{
    struct agent_settings set;
    int exit_code = load_settings(argc, argv, &set);
    if (exit_code < 0) {
        PTL_JSON *inventory = agent_inventory(&set, true);
        PTL_FREE char *text = json_dumps(inventory, JSON_INDENT(2) | JSON_SORT_KEYS);
        puts(text);
        exit_code = strcmp(ptl_json_str(inventory, "sandbox", ""), "unusable") == 0 ? 1 : 0;
    }
    settings_done(&set);
    return exit_code;
}

int ptl_agent_cmd_enroll(int argc, char **argv)
{
    struct agent_settings set;
    struct ptl_error err = PTL_ERROR_INIT;
    if (argc < 1 || argv[0][0] == '-') {
        fprintf(stderr, "usage: portolan-agent enroll TOKEN [--server URL] [--state-dir DIR]\n");
        return 2;
    }
    const char *one_time = argv[0];
    int exit_code = load_settings(argc - 1, argv + 1, &set);
    if (exit_code < 0) {
        exit_code = enroll(&set, one_time, &err) < 0;
        if (exit_code)
            ptl_log_error("%s", err.text);
    }
    settings_done(&set);
    return exit_code;
}
