/* attempt.c - one attempt, start to end, in a process of its own that survives its agent.
 *
 * Blocking, single thread but for the logger's. Order: job, network namespace, log, recipe, inputs,
 * parameters, toolchain, then the sandboxed command or the driver, then outputs, comparison, and last of all
 * result.json: who sees it, sees the whole log too. Every way to the end says which of the end reasons it
 * was; nothing is inferred from an exit code. It knows no server and no token. */
#include "attempt.h"
#include "attempt-private.h"
#include "cgroup.h"
#include "compare.h"
#include "logger.h"
#include "netns.h"
#include "outputs.h"
#include "sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>

#define JOB_MAX ((size_t)PTL_WIRE_BODY_MAX)
/* Of result.json: the daemon takes no more, with what is around it. */
#define RESULT_MAX      (PTL_WIRE_BODY_MAX - (64 << 10))
#define REPORT_MAX      ((size_t)4 << 20)
#define TIMEOUT_DEFAULT ((int64_t)3600 * 1000)
#define GRACE_DEFAULT   10000
#define GRACE_MAX       ((int64_t)300 * 1000)
#define DRAIN_MS        10000
/* How often a wait looks at the cancel flag when the signal came between look and sleep. */
#define LOOK_MS     200
#define SYSTEM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static atomic_int cancelled; /* set by a signal handler: lock-free, so allowed there */

static void on_term(int sig)
{
    (void)sig;
    cancelled = 1;
}

/* ---- the end ---- */

static void end_as(struct attempt *a, enum ptl_end_reason reason, const char *fmt, ...) PTL_PRINTF(3, 4);

/* First word counts: a later failure of an attempt that has already failed explains nothing. */
static void end_as(struct attempt *a, enum ptl_end_reason reason, const char *fmt, ...)
{
    if (a->ended)
        return;
    a->ended = true;
    a->end.end_reason = reason;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->end.message, sizeof(a->end.message), fmt, ap);
    va_end(ap);
}

/* A mistake in what the user asked for: the stage's own fault, so trying again on another host cannot help.
 */
static void end_as_user_error(struct attempt *a, const char *text)
{
    end_as(a, PTL_END_EXIT, "%s", text);
    a->end.exit_code = 2;
}

/* ---- pid file ---- */

static uint64_t start_ticks_of(int pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0)
        return 0;
    text[n] = 0;
    const char *after_name = strrchr(text, ')'); /* the name may hold blanks and brackets */
    unsigned long long ticks = 0;
    char state = 0;
    if (!after_name ||
        sscanf(after_name + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
               &ticks) != 2 ||
        state == 'Z' || state == 'X')
        return 0;
    return ticks;
}

int ptl_attempt_pid_read(const char *dir, struct ptl_attempt_pid *ret)
{
    PTL_FREE char *path = ptl_fs_join(dir, "pid");
    PTL_BUF text = PTL_BUF_INIT;
    unsigned long long ticks;
    int pid;
    if (ptl_fs_read(path, 4000, &text, NULL) < 0 || sscanf(ptl_buf_str(&text), "%d %llu", &pid, &ticks) != 2)
        return PTL_ABSENT;
    ret->pid = pid;
    ret->start_ticks = ticks;
    return 0;
}

bool ptl_attempt_pid_is_alive(const struct ptl_attempt_pid *p)
{
    return p->pid > 0 && p->start_ticks && start_ticks_of(p->pid) == p->start_ticks;
}

static int claim_dir(const struct attempt *a, struct ptl_error *err)
{
    struct ptl_attempt_pid other;
    PTL_FREE char *result = ptl_fs_join(a->dir, "result.json");
    PTL_FREE char *path = ptl_fs_join(a->dir, "pid");
    if (ptl_fs_exists(result))
        return ptl_error_set(err, -EEXIST, "%s: this attempt has ended already", result);
    if (ptl_attempt_pid_read(a->dir, &other) == 0 && other.pid != getpid() &&
        ptl_attempt_pid_is_alive(&other))
        return ptl_error_set(err, -EBUSY, "%s: process %d is at work on this attempt", a->dir, other.pid);
    PTL_FREE char *text =
        ptl_xasprintf("%d %llu\n", (int)getpid(), (unsigned long long)start_ticks_of((int)getpid()));
    return ptl_fs_write_atomic(path, text, strlen(text), 0600, err);
}

/* ---- job and log ---- */

static int load_job(struct attempt *a, struct ptl_error *err)
{
    PTL_FREE char *path = ptl_fs_join(a->dir, "job.json");
    int64_t number;
    const char *text;
    int r = ptl_json_load(path, JOB_MAX, &a->job, err);
    if (r == 0)
        r = ptl_json_req_i64(a->job, "job", "attempt_id", &number, err);
    if (r == 0)
        r = ptl_json_req_i64(a->job, "job", "fence", &number, err);
    if (r == 0)
        r = ptl_json_req_str(a->job, "job", "kind", &text, err);
    if (r == 0 && ptl_stage_kind_parse(text, &a->kind) < 0)
        r = ptl_error_set(err, -EINVAL, "job.kind: expected export, convert or verify, not \"%s\"", text);
    if (r < 0)
        return r;
    a->attempt_id = ptl_json_i64(a->job, "attempt_id", 0);
    a->fence = ptl_json_i64(a->job, "fence", 0);
    a->timeout_ms = ptl_json_i64(a->job, "timeout_ms", 0);
    if (a->timeout_ms <= 0)
        a->timeout_ms = TIMEOUT_DEFAULT;
    a->grace_ms = ptl_json_i64(a->job, "grace_ms", GRACE_DEFAULT);
    if (a->grace_ms < 0 || a->grace_ms > GRACE_MAX)
        a->grace_ms = GRACE_MAX;
    a->deadline_ms = ptl_mono_ms() + a->timeout_ms;
    a->network = ptl_json_flag(a->job, "network", false);
    const json_t *limits = json_object_get(a->job, "limits");
    int64_t memory = ptl_json_i64(limits, "memory_bytes", 0);
    const char *dflt = getenv("PORTOLAN_ATTEMPT_MEMORY");
    if (memory <= 0 && dflt && ptl_size_parse(dflt, &memory) < 0)
        memory = 0;
    a->memory_bytes = memory > 0 ? (uint64_t)memory : 0;
    size_t i;
    json_t *w;
    /* What the daemon has to say of it, such as: a secret is not released to it. */
    json_array_foreach(json_object_get(a->job, "warnings"), i, w)
    {
        if (json_is_string(w))
            json_array_append(a->warnings, w);
    }
    return 0;
}

static int open_log(struct attempt *a, struct ptl_error *err)
{
    PTL_CLEANUP(ptl_mask_freep) struct ptl_mask *mask = ptl_mask_new();
    const char *name;
    json_t *value;
    a->mask = ptl_mask_new();
    json_object_foreach(json_object_get(a->job, "secrets"), name, value)
    {
        int r = json_is_string(value) ? ptl_mask_add(mask, json_string_value(value)) : 0;
        if (r == 0 && json_is_string(value))
            r = ptl_mask_add(a->mask, json_string_value(value));
        if (r == PTL_ABSENT && *json_string_value(value)) {
            PTL_FREE char *text = ptl_xasprintf(
                "secret %s is shorter than %d bytes and is not masked in this log", name, PTL_MASK_MIN);
            json_array_append_new(a->warnings, json_string(text));
        } else if (r < 0) {
            return ptl_error_set(err, r, "secret %s is too long to be masked, so nothing is run with it",
                                 name);
        }
    }
    int64_t quota = ptl_json_i64(json_object_get(a->job, "limits"), "log_bytes", 0);
    struct ptl_spool *spool = NULL;
    int r = ptl_spool_open(a->dir, quota > 0 ? (uint64_t)quota : 0, &spool, err);
    return r < 0 ? r : ptl_logger_new(PTL_TAKE(mask), spool, &a->log, err);
}

static void say_versions(struct attempt *a)
{
    PTL_BUF line = PTL_BUF_MAX(1024);
    const char *name;
    json_t *value;
    if (!a->toolchain)
        return;
    json_object_foreach(a->toolchain->versions, name, value) if (json_is_string(value))(void)
        ptl_buf_printf(&line, "%s%s %s", line.len ? ", " : "", name, json_string_value(value));
    ptl_logger_line(a->log, "toolchain %s: %s", a->toolchain->name, ptl_buf_str(&line));
}

static void say_what(struct attempt *a)
{
    const char *uses = ptl_json_str(a->job, "uses", NULL);
    ptl_logger_line(a->log, "%s of %s at %.12s, run %lld, attempt %lld: %s%s",
                    ptl_json_str(a->job, "name", "stage"), ptl_json_str(a->job, "project", "?"),
                    ptl_json_str(a->job, "commit", "?"), (long long)ptl_json_i64(a->job, "run_number", 0),
                    (long long)a->attempt_id, uses ? "recipe " : "commands of the repository",
                    uses ? uses : "");
}

static void say_limits(struct attempt *a, const char *how)
{
    char time[32], memory[32];
    ptl_duration_format(a->timeout_ms, time);
    ptl_size_format((int64_t)a->memory_bytes, memory);
    ptl_logger_line(a->log, "sandbox %s, network %s, time limit %s, memory limit %s", how,
                    a->network       ? "of the host"
                    : a->private_net ? "none but loopback"
                                     : "none",
                    time, a->memory_bytes ? memory : "none");
}

/* ---- preparing ---- */

static int make_dirs(struct attempt *a, struct ptl_error *err)
{
    struct {
        char **path;
        const char *name;
    } dirs[] = {
        {&a->src,     "src"    },
        {&a->inputs,  "inputs" },
        {&a->outputs, "outputs"},
        {&a->scratch, "scratch"}
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(dirs); i++) {
        *dirs[i].path = ptl_fs_join(a->dir, dirs[i].name);
        int r = ptl_fs_mkdirs(*dirs[i].path, 0755, err);
        if (r < 0)
            return r;
    }
    PTL_FREE char *tmp = ptl_fs_join(a->scratch, "tmp");
    a->report_scratch = ptl_fs_join(a->scratch, "report.json");
    a->with_path = ptl_fs_join(a->dir, "with.json");
    return ptl_fs_mkdirs(tmp, 0755, err);
}

/* 0, or the attempt has ended. */
static int load_recipe(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *uses = ptl_json_str(a->job, "uses", NULL);
    const json_t *run = json_object_get(a->job, "run");
    a->recipes_root = ptl_recipe_root();
    if (!uses == !json_array_size(run)) {
        end_as_user_error(a, "the stage has neither `uses` nor `run`, or both");
        return -1;
    }
    if (!uses)
        return 0;
    if (ptl_recipe_load(a->recipes_root, uses, &a->recipe, &err) < 0) {
        end_as(a, PTL_END_SETUP, "%s", err.text);
        return -1;
    }
    if (a->recipe->kind != a->kind) {
        char text[256];
        snprintf(text, sizeof(text), "recipe %s does a %s, but this stage is a %s", uses,
                 ptl_stage_kind_name(a->recipe->kind), ptl_stage_kind_name(a->kind));
        end_as_user_error(a, text);
        return -1;
    }
    return 0;
}

static int check_inputs(struct attempt *a)
{
    const json_t *inputs = a->recipe ? json_object_get(a->recipe->doc, "inputs") : NULL;
    if (strcmp(ptl_json_str(inputs, "model", ""), "required") == 0 &&
        ptl_outputs_count(a->inputs, "model") == 0) {
        end_as(a, PTL_END_SETUP, "recipe %s needs a model, but no earlier stage published one",
               a->recipe->name);
        return -1;
    }
    if (strcmp(ptl_json_str(inputs, "golden", ""), "required") == 0 &&
        ptl_outputs_count(a->inputs, "golden") == 0) {
        end_as(a, PTL_END_SETUP,
               "recipe %s needs a golden set, but the export published none (outputs/golden)",
               a->recipe->name);
        return -1;
    }
    return 0;
}

static int check_with(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const json_t *with = json_object_get(a->job, "with");
    int r = 0;
    if (a->recipe) {
        PTL_FREE char *model = ptl_fs_join(a->inputs, "model");
        const char *const roots[] = {a->src, model, NULL};
        r = ptl_recipe_check_with(a->recipe, with, roots, &a->with, &err);
    } else {
        a->with = json_is_object(with) ? json_incref((json_t *)with) : json_object();
    }
    if (r == 0)
        r = ptl_json_save(a->with_path, a->with, 0644, &err);
    if (r < 0)
        end_as_user_error(a, err.text);
    return r;
}

static int find_toolchain(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *name = ptl_json_str(a->job, "toolchain", a->recipe ? a->recipe->toolchain : NULL);
    if (!name || !*name)
        return 0;
    int r = ptl_toolchain_find(name, &a->toolchain, &err);
    if (r < 0)
        end_as(a, PTL_END_SETUP, "%s", err.text);
    return r;
}

static void set_path(struct attempt *a)
{
    PTL_BUF path = PTL_BUF_MAX(65536);
    size_t i;
    json_t *item;
    const json_t *entries = a->toolchain ? json_object_get(a->toolchain->doc, "path") : NULL;
    json_array_foreach((json_t *)entries, i, item) if (json_is_string(item))(void)
        ptl_buf_printf(&path, "%s/%s:", a->toolchain->dir, json_string_value(item));
    (void)ptl_buf_puts(&path, SYSTEM_PATH);
    ptl_env_set(&a->env, "PATH", ptl_buf_str(&path));
}

static int set_all(struct attempt *a, const json_t *map, const char *what)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        PTL_FREE char *text = NULL;
        const char *s = json_string_value(value);
        if (!s && !json_is_null(value) && !json_is_object(value) && !json_is_array(value))
            s = text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        if (ptl_str_starts(name, "PORTOLAN_") || !s || ptl_env_set(&a->env, name, s) < 0) {
            char line[256];
            snprintf(line, sizeof(line),
                     "%s.%.100s: expected a plain value and a name of letters, digits and _ that does not "
                     "begin with PORTOLAN_",
                     what, name);
            end_as_user_error(a, line);
            return -1;
        }
    }
    return 0;
}

static int build_env(struct attempt *a)
{
    const char *recipe_dir = a->recipe ? a->recipe->dir : "", *commit = ptl_json_str(a->job, "commit", "");
    const char *ref = ptl_json_str(a->job, "ref", "");
    const char *target = ptl_json_str(a->job, "target", "");
    PTL_FREE char *tmp = ptl_fs_join(a->scratch, "tmp");
    PTL_FREE char *run = ptl_xasprintf("%lld", (long long)ptl_json_i64(a->job, "run_number", 0));
    set_path(a);
    const char *const base[] = {
        "HOME",
        a->scratch,
        "TMPDIR",
        tmp,
        "LANG",
        "C.UTF-8",
        "USER",
        "portolan",
        "LOGNAME",
        "portolan",
        "TERM",
        "dumb",
        "PYTHONUNBUFFERED",
        "1",
        "CI",
        "true",
        "CI_COMMIT_SHA",
        commit,
        "CI_COMMIT_REF",
        ref,
        "CI_WORKSPACE",
        a->src,
        "CI_PIPELINE_NUMBER",
        run,
        NULL,
    };
    for (size_t i = 0; base[i]; i += 2)
        ptl_env_set(&a->env, base[i], base[i + 1]);
    const char *key;
    json_t *value;
    json_object_foreach(a->toolchain ? json_object_get(a->toolchain->doc, "env") : NULL, key, value)
    {
        const char *const pairs[] = {"toolchain", a->toolchain->dir, NULL};
        PTL_FREE char *text = json_is_string(value) ? ptl_template(json_string_value(value), pairs)
                                                    : json_dumps(value, JSON_ENCODE_ANY);
        ptl_env_set(&a->env, key, text);
    }
    if (set_all(a, json_object_get(a->job, "env"), "env") < 0 ||
        set_all(a, json_object_get(a->job, "secrets"), "secrets") < 0)
        return -1;
    const char *const own[] = {
        "PORTOLAN_INPUTS",
        a->inputs,
        "PORTOLAN_OUTPUTS",
        a->outputs,
        "PORTOLAN_REPORT",
        a->report_scratch,
        "PORTOLAN_RECIPE",
        recipe_dir,
        "PORTOLAN_WITH",
        a->with_path,
        "PORTOLAN_STAGE",
        ptl_json_str(a->job, "name", ""),
        "PORTOLAN_TARGET",
        target,
        "PORTOLAN_RUN",
        run,
        "PORTOLAN_COMMIT",
        commit,
        "PORTOLAN_REF",
        ref,
        NULL,
    };
    for (size_t i = 0; own[i]; i += 2)
        ptl_env_set(&a->env, own[i], own[i + 1]);
    return 0;
}

/* ---- the command ---- */

/* Quotes for sh: '…' with every ' as '\''. */
static void quote(struct ptl_buf *out, const char *s)
{
    (void)ptl_buf_putc(out, '\'');
    for (; *s; s++)
        (void)(*s == '\'' ? ptl_buf_puts(out, "'\\''") : ptl_buf_putc(out, *s));
    (void)ptl_buf_putc(out, '\'');
}

/* `run` lines as one script for `sh -e`, each shown before it runs. */
static char *script_of(const json_t *run)
{
    PTL_BUF out = PTL_BUF_MAX(JOB_MAX * 8);
    size_t i;
    json_t *line;
    json_array_foreach((json_t *)run, i, line)
    {
        (void)ptl_buf_puts(&out, "printf '%s\\n' ");
        PTL_FREE char *shown = ptl_xasprintf("$ %s", json_string_value(line) ? json_string_value(line) : "");
        quote(&out, shown);
        (void)ptl_buf_printf(&out, "\n%s\n", json_string_value(line) ? json_string_value(line) : "false");
    }
    return ptl_buf_take(&out, NULL);
}

static char **argv_of(struct attempt *a)
{
    size_t n = a->recipe ? json_array_size(a->recipe->command) : 4;
    char **argv = ptl_xcalloc(n + 1, sizeof(*argv));
    if (!a->recipe) {
        argv[0] = ptl_xstrdup("/bin/sh");
        argv[1] = ptl_xstrdup("-e");
        argv[2] = ptl_xstrdup("-c");
        argv[3] = script_of(json_object_get(a->job, "run"));
        return argv;
    }
    const char *const pairs[] = {"recipe", a->recipe->dir, "toolchain", a->toolchain ? a->toolchain->dir : "",
                                 NULL};
    for (size_t i = 0; i < n; i++)
        argv[i] = ptl_template(json_string_value(json_array_get(a->recipe->command, i)), pairs);
    return argv;
}

static void free_argv(char **argv)
{
    for (size_t i = 0; argv[i]; i++)
        free(argv[i]);
    free(argv);
}

static void note_command_end(struct attempt *a, struct ptl_sandbox *s, int status)
{
    a->end.peak_memory_bytes = ptl_sandbox_peak_bytes(s);
    bool oom = ptl_sandbox_was_oom(s), bad = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (WIFEXITED(status))
        a->end.exit_code = WEXITSTATUS(status);
    else
        a->end.signal = WTERMSIG(status);
    if (oom && bad) {
        char limit[32];
        ptl_size_format((int64_t)a->memory_bytes, limit);
        end_as(a, PTL_END_OOM, "out of memory: the kernel killed a process of the stage at its limit of %s",
               a->memory_bytes ? limit : "the host");
    } else if (WIFSIGNALED(status)) {
        end_as(a, PTL_END_SIGNAL, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (*ptl_sandbox_start_error(s)) {
        end_as(a, PTL_END_EXIT, "%s", ptl_sandbox_start_error(s));
    } else if (bad) {
        end_as(a, PTL_END_EXIT, "ended with exit code %d", WEXITSTATUS(status));
    } else if (oom) {
        json_array_append_new(a->warnings,
                              json_string("the kernel killed a process of the stage for memory, yet it ended "
                                          "with exit code 0"));
    }
}

static void run_command(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    char name[PTL_CGROUP_NAME];
    ptl_cgroup_name_for(a->dir, "stage", name);
    const char *ro[5] = {a->inputs, a->with_path};
    const char *const rw[] = {a->src, a->outputs, a->scratch, NULL};
    size_t n = 2;
    if (a->recipe)
        ro[n++] = a->recipes_root; /* all of them: recipes share modules */
    if (a->toolchain)
        ro[n++] = a->toolchain->dir;
    char **argv = argv_of(a);
    struct ptl_sandbox_spec spec = {
        .argv = (const char *const *)argv,
        .env = (const char *const *)a->env.v,
        .cwd = a->src,
        .ro_binds = ro,
        .rw_binds = rw,
        .network = a->network || a->private_net,
        .memory_bytes = a->memory_bytes,
        .stdout_fd = ptl_logger_fd(a->log),
        .stderr_fd = ptl_logger_fd(a->log),
        .cgroup_name = name,
        .deny_userns = true,
    };
    PTL_CLEANUP(ptl_sandbox_freep) struct ptl_sandbox *s = NULL;
    int r = ptl_sandbox_start(&spec, &s, &err);
    free_argv(argv);
    if (r < 0) {
        end_as(a, PTL_END_SETUP, "%s", err.text);
        return;
    }
    snprintf(a->sandbox, sizeof(a->sandbox), "%s", ptl_sandbox_how(s));
    say_limits(a, a->sandbox);
    if (*ptl_sandbox_why_no_cgroup(s))
        ptl_logger_line(a->log, "no control group: %s; memory and processes are not limited",
                        ptl_sandbox_why_no_cgroup(s));
    int status = 0;
    for (;;) {
        int64_t left = a->deadline_ms - ptl_mono_ms();
        r = left > 0 ? ptl_sandbox_wait(s, left < LOOK_MS ? left : LOOK_MS, &status) : PTL_AGAIN;
        if (r != PTL_AGAIN)
            break;
        if (cancelled) {
            ptl_logger_line(a->log, "cancelled: the stage has %lld ms to end by itself",
                            (long long)a->grace_ms);
            ptl_sandbox_stop(s, a->grace_ms, &status);
            end_as(a, PTL_END_CANCELLED, "cancelled");
            break;
        }
        if (ptl_mono_ms() >= a->deadline_ms) {
            char limit[32];
            ptl_duration_format(a->timeout_ms, limit);
            ptl_logger_line(a->log, "time limit of %s reached: the stage has %lld ms to end by itself", limit,
                            (long long)a->grace_ms);
            ptl_sandbox_stop(s, a->grace_ms, &status);
            end_as(a, PTL_END_TIMEOUT, "not finished after its time limit of %s", limit);
            break;
        }
    }
    if (r < 0)
        end_as(a, PTL_END_SETUP, "the sandbox could not be waited for: %s", strerror(-r));
    else
        note_command_end(a, s, status);
}

/* ---- the driver ---- */

static void run_driver(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    const char *kind = ptl_json_str(a->recipe->driver, "kind", "");
    const struct ptl_driver *driver = ptl_driver_find(kind);
    if (!driver) {
        end_as(a, PTL_END_SETUP, "recipe %s wants the driver \"%s\", which this agent does not have",
               a->recipe->name, kind);
        return;
    }
    struct ptl_driver_job job = {
        .attempt_dir = a->dir,
        .inputs_dir = a->inputs,
        .outputs_dir = a->outputs,
        .src_dir = a->src,
        .scratch_dir = a->scratch,
        .recipe_dir = a->recipe->dir,
        .toolchain_dir = a->toolchain ? a->toolchain->dir : NULL,
        .job = a->job,
        .recipe = a->recipe->doc,
        .with = a->with,
        .env = (const char *const *)a->env.v,
        .log_fd = ptl_logger_fd(a->log),
        .deadline_mono_ms = a->deadline_ms,
        .memory_bytes = a->memory_bytes,
        .private_net = a->private_net,
        .cancelled = &cancelled,
    };
    const char *how = ptl_sandbox_probe(&err);
    snprintf(a->sandbox, sizeof(a->sandbox), "%s", how ? how : "none");
    say_limits(a, a->sandbox);
    struct ptl_driver_result result = {0};
    int r = driver->run(&job, &result, &err);
    if (r != 0) {
        enum ptl_end_reason reason = cancelled                         ? PTL_END_CANCELLED
                                     : ptl_mono_ms() >= a->deadline_ms ? PTL_END_TIMEOUT
                                                                       : PTL_END_SETUP;
        end_as(a, reason, "%s", *err.text ? err.text : "the driver could not be set up");
        return;
    }
    a->end.exit_code = result.exit_code;
    a->end.signal = result.signal;
    a->end.peak_memory_bytes = result.peak_memory_bytes;
    if (result.end_reason != PTL_END_EXIT || result.exit_code != 0)
        end_as(a, result.end_reason, "%s",
               *result.message ? result.message : "the driver ended the verify without saying why");
}

/* ---- afterwards ---- */

static void check_outputs(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int r = ptl_outputs_clean(a->outputs, a->warnings, &err);
    if (r < 0) {
        end_as(a, PTL_END_EXIT, "%s", err.text);
        return;
    }
    if (a->ended)
        return;
    if (a->recipe)
        r = ptl_outputs_check(a->outputs, json_object_get(a->recipe->doc, "outputs"), &err);
    if (r == 0)
        r = ptl_outputs_check(a->outputs, json_object_get(a->job, "outputs"), &err);
    if (r == 0 && a->kind != PTL_STAGE_VERIFY && ptl_outputs_count(a->outputs, "model") == 0)
        r = ptl_error_set(&err, -ENOENT, "exit 0, but nothing was published under $PORTOLAN_OUTPUTS/model");
    if (r < 0)
        end_as(a, PTL_END_EXIT, "%s", err.text);
    else if (a->kind == PTL_STAGE_EXPORT && ptl_outputs_count(a->outputs, "golden") == 0)
        json_array_append_new(
            a->warnings, json_string("the export published no golden set (outputs/golden); a verify of this "
                                     "run cannot compare anything"));
}

/* A report that a bare verify command wrote itself. The file was made by the stage: plain, bounded, or not at
 * all. */
static int own_report(struct attempt *a, struct ptl_error *err)
{
    PTL_CLOSE int fd = open(a->report_scratch, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return PTL_ABSENT;
    if ((uint64_t)st.st_size > REPORT_MAX)
        return ptl_error_set(err, -EFBIG, "the stage's report.json is larger than %zu bytes", REPORT_MAX);
    PTL_FREE char *text = malloc((size_t)st.st_size + 1);
    ssize_t n = text ? read(fd, text, (size_t)st.st_size) : -1;
    if (n < 0)
        return ptl_error_set(err, -EIO, "the stage's report.json cannot be read");
    int r = ptl_json_parse(text, (size_t)n, "the stage's report.json", &a->report, err);
    const char *verdict = ptl_json_str(a->report, "verdict", "");
    if (r == 0 && strcmp(verdict, "green") != 0 && strcmp(verdict, "red") != 0)
        r = ptl_error_set(err, -EINVAL, "the stage's report.json: verdict: expected green or red");
    return r;
}

/* `precision: auto` is what the recipe that made the model says of its parameters: an int8 model is not
 * judged by the limits of fp32. A model that a bare command made, or a recipe this agent does not have, stays
 * "auto" and gets compare's strictest. */
static void settle_precision(struct attempt *a)
{
    const json_t *made_by = json_object_get(a->job, "model_uses");
    const char *uses = ptl_json_str(made_by, "uses", NULL), *now = ptl_json_str(a->job, "precision", "auto");
    PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *recipe = NULL;
    PTL_JSON *with = NULL;
    if (!uses || strcmp(now, "auto") != 0 || ptl_recipe_load(a->recipes_root, uses, &recipe, NULL) < 0 ||
        ptl_recipe_check_with(recipe, json_object_get(made_by, "with"), NULL, &with, NULL) < 0)
        return;
    const char *precision = ptl_recipe_precision(recipe, with);
    if (precision) {
        json_object_set_new(a->job, "precision", json_string(precision));
        ptl_logger_line(a->log, "judged as %s: %s made this model", precision, uses);
    }
}

static void judge(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *golden = ptl_fs_join(a->inputs, "golden");
    PTL_FREE char *got = ptl_fs_join(a->outputs, "got");
    PTL_FREE char *report_path = ptl_fs_join(a->dir, "report.json");
    if (a->ended || a->kind != PTL_STAGE_VERIFY)
        return;
    settle_precision(a);
    int r = ptl_outputs_count(a->outputs, "got") > 0 ? ptl_compare_run(golden, got, a->job, &a->report, &err)
                                                     : own_report(a, &err);
    if (r == PTL_ABSENT) {
        end_as(
            a, PTL_END_EXIT,
            "the verify ended well but proved nothing: neither $PORTOLAN_OUTPUTS/got nor $PORTOLAN_REPORT was written");
        return;
    }
    if (r < 0) {
        end_as(a, PTL_END_EXIT, "could not compare: %s", err.text);
        return;
    }
    PTL_FREE char *text = ptl_compare_text(a->report);
    (void)!ptl_fs_write_all(ptl_logger_fd(a->log), text, strlen(text));
    if (ptl_json_save(report_path, a->report, 0644, &err) < 0)
        ptl_logger_line(a->log, "%s", err.text);
    if (strcmp(ptl_json_str(a->report, "verdict", ""), "green") == 0)
        return;
    const json_t *first = json_array_get(json_object_get(a->report, "reasons"), 0);
    end_as(a, PTL_END_EXIT, "verdict red: %s", ptl_json_str(first, "text", "see the report"));
}

static json_t *environment_of(const struct attempt *a)
{
    json_t *env =
        a->toolchain && a->toolchain->versions ? json_deep_copy(a->toolchain->versions) : json_object();
    struct utsname u;
    if (uname(&u) == 0) {
        json_object_set_new(env, "kernel", json_string(u.release));
        json_object_set_new(env, "arch", json_string(u.machine));
    }
    json_object_set_new(env, "portolan-agent", json_string(PTL_VERSION));
    return env;
}

static void set_utf8(json_t *o, const char *key, const char *text)
{
    PTL_FREE char *clean = ptl_json_text_utf8(text, strlen(text));
    json_object_set_new(o, key, json_string(clean));
}

static void into_buf(void *ctx, const char *data, size_t len)
{
    ptl_buf_add(ctx, data, len);
}

static char *masked_text(struct ptl_mask *m, const char *text, size_t len)
{
    PTL_BUF b = PTL_BUF_INIT;
    ptl_mask_feed(m, text, len, into_buf, &b);
    ptl_mask_end(m, into_buf, &b);
    return ptl_json_text_utf8(ptl_buf_str(&b), b.len); /* a cut may leave half of a letter */
}

/* Names are shown to whoever may see the run. */
static bool tells_secret(const struct attempt *a, const json_t *artifacts, struct ptl_error *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(artifacts, i, one)
    {
        const char *path = ptl_json_str(one, "path", "");
        PTL_FREE char *shown = a->mask ? masked_text(a->mask, path, strlen(path)) : NULL;
        if (shown && !ptl_str_eq(shown, path)) {
            ptl_error_set(
                err, -EPERM,
                "the name of output %s holds a secret of this stage, so nothing is published; name the "
                "file otherwise",
                shown);
            return true;
        }
    }
    return false;
}

/* Publishes what a stage produced when its own work succeeded: also for a red verdict, whose outputs are the
 * evidence. */
static json_t *artifacts_of(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    uint64_t model_bytes;
    json_t *list = NULL;
    if (a->ended && !a->report)
        return json_array();
    if (ptl_outputs_list(a->outputs, &list, &model_bytes, &err) == 0 && !tells_secret(a, list, &err))
        return list;
    json_decref(list);
    end_as(a, PTL_END_EXIT, "%s", err.text);
    return json_array();
}

/* A copy without the secrets: a stage's report and its errors are shown to more people than its log. */
static json_t *masked(struct ptl_mask *m, const json_t *v)
{
    const char *key;
    size_t i;
    json_t *one;
    if (json_is_string(v)) {
        PTL_FREE char *text = masked_text(m, json_string_value(v), json_string_length(v));
        return json_string(text);
    }
    json_t *copy = json_is_array(v) ? json_array() : json_is_object(v) ? json_object() : json_deep_copy(v);
    if (json_is_array(v)) {
        json_array_foreach(v, i, one) json_array_append_new(copy, masked(m, one));
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, one)
        {
            PTL_FREE char *name = masked_text(m, key, strlen(key));
            /* the one word that is ours: a secret named "green" must not take the verdict away */
            json_object_set_new(copy, name,
                                ptl_str_eq(key, "verdict") ? json_deep_copy(one) : masked(m, one));
        }
    }
    return copy;
}

static int write_result(struct attempt *a, struct ptl_error *err)
{
    PTL_FREE char *path = ptl_fs_join(a->dir, "result.json");
    PTL_JSON *r = json_object();
    const char *precision = a->recipe ? ptl_recipe_precision(a->recipe, a->with) : NULL;
    bool ok = !a->ended;
    json_object_set_new(r, "attempt_id", json_integer(a->attempt_id));
    json_object_set_new(r, "fence", json_integer(a->fence));
    json_object_set_new(r, "end_reason",
                        json_string(ptl_end_reason_name(ok ? PTL_END_EXIT : a->end.end_reason)));
    json_object_set_new(r, "exit_code", json_integer(a->end.exit_code));
    json_object_set_new(r, "signal", json_integer(a->end.signal));
    json_object_set_new(r, "ok", json_boolean(ok));
    PTL_FREE char *message =
        a->mask ? masked_text(a->mask, a->end.message, strlen(a->end.message)) : ptl_xstrdup(a->end.message);
    set_utf8(r, "message", message);
    json_object_set_new(r, "started_wall_ms", json_integer(a->started_wall_ms));
    json_object_set_new(r, "duration_ms", json_integer(ptl_mono_ms() - a->started_mono_ms));
    json_object_set_new(r, "peak_memory_bytes", json_integer((json_int_t)a->end.peak_memory_bytes));
    json_object_set_new(r, "sandbox", json_string(*a->sandbox ? a->sandbox : "none"));
    json_object_set_new(r, "environment", environment_of(a));
    json_object_set(r, "artifacts", a->artifacts);
    json_object_set_new(r, "report",
                        !a->report ? json_null()
                        : a->mask  ? masked(a->mask, a->report)
                                   : json_incref(a->report));
    json_object_set_new(r, "warnings", a->mask ? masked(a->mask, a->warnings) : json_incref(a->warnings));
    if (precision && a->kind != PTL_STAGE_VERIFY)
        json_object_set_new(r, "precision", json_string(precision));
    struct ptl_error why = PTL_ERROR_INIT;
    int bad = ptl_wire_check_result(r, &why);
    if (bad < 0) /* a bug of ours: said where it can be found, never hidden behind a green */
        return ptl_error_set(err, bad, "result of attempt %lld: %s", (long long)a->attempt_id, why.text);
    PTL_FREE char *text = ptl_json_text(r);
    if (strlen(text) > RESULT_MAX) { /* numbers may print longer than the stage wrote them */
        PTL_FREE char *large =
            ptl_xasprintf("the report has %zu bytes when it is printed, and %d are taken; write less into it",
                          strlen(text), RESULT_MAX);
        json_object_set_new(r, "report", json_null());
        json_object_set_new(r, "ok", json_false());
        json_object_set_new(r, "message", json_string(large));
        free(text);
        text = ptl_json_text(r);
    }
    int saved = ptl_fs_write_atomic(path, text, strlen(text), 0600, err);
    if (saved == -ENOSPC || saved == -EDQUOT) {
        /* The stage filled the disk, or another did: what it worked on is no longer needed, its end is. */
        const char *const spent[] = {a->scratch, a->src, a->inputs};
        for (size_t i = 0; i < PTL_ARRAY_LEN(spent); i++)
            (void)!ptl_fs_remove_tree(spent[i], &why);
        saved = ptl_fs_write_atomic(path, text, strlen(text), 0600, err);
    }
    return saved;
}

static void say_end(struct attempt *a)
{
    char took[32], peak[32];
    size_t i;
    json_t *w;
    ptl_duration_format(ptl_mono_ms() - a->started_mono_ms, took);
    ptl_size_format((int64_t)a->end.peak_memory_bytes, peak);
    json_array_foreach(a->warnings, i, w) ptl_logger_line(a->log, "warning: %s", json_string_value(w));
    json_array_foreach(a->artifacts, i, w) if (i < 20)
        ptl_logger_line(a->log, "published %s, %lld bytes", ptl_json_str(w, "path", ""),
                        (long long)ptl_json_i64(w, "size_bytes", 0));
    if (json_array_size(a->artifacts) > 20)
        ptl_logger_line(a->log, "published %zu more files", json_array_size(a->artifacts) - 20);
    ptl_logger_line(a->log, "%s%s after %s%s%s", a->ended ? "failed: " : "succeeded",
                    a->ended ? a->end.message : "", took, a->end.peak_memory_bytes ? ", peak memory " : "",
                    a->end.peak_memory_bytes ? peak : "");
}

static void run_stage(struct attempt *a)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (make_dirs(a, &err) < 0) {
        end_as(a, PTL_END_SETUP, "%s", err.text);
        return;
    }
    if (load_recipe(a) < 0 || find_toolchain(a) < 0 || check_inputs(a) < 0 || check_with(a) < 0 ||
        build_env(a) < 0)
        return;
    say_versions(a);
    PTL_FREE char *with = ptl_json_text(a->with);
    if (json_object_size(a->with))
        ptl_logger_line(a->log, "with %s", with);
    if (cancelled)
        end_as(a, PTL_END_CANCELLED, "cancelled before it began");
    else if (a->recipe && a->recipe->driver)
        run_driver(a);
    else
        run_command(a);
}

static void attempt_done(struct attempt *a)
{
    ptl_recipe_free(a->recipe);
    ptl_toolchain_free(a->toolchain);
    ptl_env_done(&a->env);
    json_decref(a->job);
    json_decref(a->with);
    json_decref(a->report);
    json_decref(a->artifacts);
    json_decref(a->warnings);
    ptl_mask_free(a->mask);
    char *const texts[] = {a->dir,     a->src,          a->inputs,         a->outputs,
                           a->scratch, a->recipes_root, a->report_scratch, a->with_path};
    for (size_t i = 0; i < PTL_ARRAY_LEN(texts); i++)
        free(texts[i]);
}

static int run_in(struct attempt *a, struct ptl_error *err)
{
    struct ptl_error why = PTL_ERROR_INIT;
    int r = claim_dir(a, err);
    if (r == 0)
        r = load_job(a, err);
    if (r < 0)
        return r;
    struct ptl_error no_net = PTL_ERROR_INIT;
    int net = a->network ? 0 : ptl_netns_enter_private(&no_net); /* before the logger's thread */
    a->private_net = !a->network && net == 0;
    r = open_log(a, &why);
    if (r < 0) { /* told in the result, the only place left */
        end_as(a, PTL_END_SETUP, "%s", why.text);
        a->artifacts = json_array();
        return write_result(a, err);
    }
    say_what(a);
    if (net < 0)
        ptl_logger_line(a->log, "%s; commands get none at all, engines share the host's loopback",
                        no_net.text);
    run_stage(a);
    check_outputs(a);
    judge(a);
    a->artifacts = artifacts_of(a);
    if (a->ended && !a->report) { /* listing may have failed: publish nothing of a failed stage */
        json_decref(a->artifacts);
        a->artifacts = json_array();
    }
    say_end(a);
    r = ptl_logger_close(a->log, DRAIN_MS);
    if (r < 0) {
        PTL_FREE char *text = ptl_xasprintf("the log is not complete: %s", strerror(-r));
        json_array_append_new(a->warnings, json_string(text));
    }
    return write_result(a, err);
}

int ptl_attempt_run(const char *dir, struct ptl_error *err)
{
    struct attempt a = {
        .started_wall_ms = ptl_wall_ms(), .started_mono_ms = ptl_mono_ms(), .warnings = json_array()};
    struct sigaction sa = {.sa_handler = on_term};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* adb servers and browsers leave orphans; they end with this process */
    a.dir = realpath(dir, NULL);
    if (!a.dir)
        return ptl_error_set(err, -errno, "%s: %s", dir, strerror(errno));
    int r = run_in(&a, err);
    attempt_done(&a);
    return r;
}
