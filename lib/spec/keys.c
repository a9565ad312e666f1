/* keys.c - what may stand in a pipeline file, as data. Every bound that is refused and every word that is
 * understood is in these tables; adding a key here adds it to the parser and to the schema, and the plan
 * decides what it does. */
#include "keys-private.h"
#include <portolan/spec.h>
#include <stdio.h>

/* The tables are laid out by hand, one key a line. */
/* clang-format off */
#define LIST(...)                                                                                            \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }
#define KEYS(a) .keys = (a), .n = PTL_ARRAY_LEN(a)

#define MS_SECOND 1000.0
#define MS_MINUTE (60 * MS_SECOND)
#define MS_HOUR   (60 * MS_MINUTE)
#define MS_DAY    (24 * MS_HOUR)

static const struct spec_word hosts[] = {{"server", "server"}, {"mobile", "mobile"}, {"browser", "browser"}, {NULL, NULL}};
static const struct spec_word precisions[] = {
    {"auto",    "auto"   },
    {"fp32",    "fp32"   },
    {"fp32opt", "fp32opt"},
    {"fp16",    "fp16"   },
    {"bf16",    "bf16"   },
    {"int8w",   "int8w"  },
    {"int8",    "int8"   },
    {"float32", "fp32"   },
    {"float16", "fp16"   },
    {"bfloat16", "bf16"  },
    {NULL,      NULL     }
};
static const struct spec_word whens[] = {
    {"on-success", "on_success"},
    {"on_success", "on_success"},
    {"manual",     "manual"    },
    {NULL,         NULL        }
};
static const struct spec_word ignores[] = {{"ignore", "true"}, {"fail", "false"}, {NULL, NULL}};
static const struct spec_word queues[] = {
    {"all",    "all"   },
    {"latest", "latest"},
    {"max",    "all"   },
    {"single", "latest"},
    {NULL,     NULL    }
};
/* Our own end reasons first; then GitLab's words for the same. */
static const struct spec_word retries[] = {
    {"always",                   "always,agent_lost,setup,timeout,oom,signal,exit"},
    {"transient",                "transient"                               },
    {"unclear",                  "unclear"                                 },
    {"agent_lost",               "agent_lost"                              },
    {"setup",                    "setup"                                   },
    {"timeout",                  "timeout"                                 },
    {"oom",                      "oom"                                     },
    {"signal",                   "signal"                                  },
    {"exit",                     "exit"                                    },
    {"script_failure",           "exit"                                    },
    {"runner_system_failure",    "agent_lost,setup"                        },
    {"stuck_or_timeout_failure", "timeout,agent_lost"                      },
    {"job_execution_timeout",    "timeout"                                 },
    {"unknown_failure",          "signal,agent_lost"                       },
    {"api_failure",              "setup"                                   },
    {"scheduler_failure",        "agent_lost"                              },
    {"data_integrity_failure",   "setup"                                   },
    {NULL,                       NULL                                      }
};
static const struct spec_word dtype_words[] = {{"exact", "exact"}, {"compatible", "compatible"}, {NULL, NULL}};
static const struct spec_word indicative_words[] = {{"told", "told"}, {"gate", "gate"}, {NULL, NULL}};

/* ---- on ---- */

static const struct spec_key push_keys[] = {
    {.name = "branches", .out = "branches", .type = T_STRINGS, .max = 200, .aliases = LIST("branch"),
     .help = "globs of branches that start a run; '!glob' takes away again"},
    {.name = "branches-ignore", .out = "branches_ignore", .type = T_STRINGS, .max = 200,
     .help = "globs of branches that do not start a run"},
    {.name = "tags", .out = "tags", .type = T_STRINGS, .max = 200, .aliases = LIST("tag"),
     .help = "globs of tags that start a run"},
    {.name = "tags-ignore", .out = "tags_ignore", .type = T_STRINGS, .max = 200,
     .help = "globs of tags that do not start a run"},
    {.name = "paths", .out = "paths", .type = T_STRINGS, .max = 500, .aliases = LIST("path"),
     .help = "globs of changed files of which at least one must match"},
    {.name = "paths-ignore", .out = "paths_ignore", .type = T_STRINGS, .max = 500,
     .help = "globs of files whose changes alone start nothing"},
};
static const struct spec_object push_object = {.id = "push", .what = "push", KEYS(push_keys)};

static const struct spec_key schedule_keys[] = {
    {.name = "cron", .out = "cron", .type = T_TEXT, .min = 9, .max = 100, .required = true,
     .help = "minute hour day month weekday, UTC"},
    {.name = "branch", .out = "branch", .type = T_TEXT, .min = 1, .max = 200, .help = "the branch to run; default: the project's"},
};
static const struct spec_object schedule_object = {.id = "schedule", .what = "a schedule", KEYS(schedule_keys), .scalar_key = "cron"};

static const struct spec_key on_keys[] = {
    {.name = "push", .out = "push", .type = T_OBJECT, .object = &push_object, .help = "which pushes start a run"},
    {.name = "manual", .out = "manual", .type = T_BOOL, .aliases = LIST("workflow-dispatch"),
     .help = "whether people may start a run; default true"},
    {.name = "schedule", .out = "schedule", .type = T_OBJECTS, .object = &schedule_object, .aliases = LIST("cron"),
     .help = "cron lines that start a run"},
};
static const struct spec_foreign on_foreign[] = {
    {"pull_request", "runs are started by pushes; name the branches under push"},
    {"merge_request", "runs are started by pushes; name the branches under push"},
    {"event", "write on: [push, manual]"},
    {NULL, NULL}
};
static const struct spec_object on_object = {.id = "on", .what = "on", KEYS(on_keys), .from_words = true, .foreign = on_foreign};

/* ---- concurrency, retry, expect ---- */

static const struct spec_key concurrency_keys[] = {
    {.name = "group", .out = "group", .type = T_TEXT, .min = 1, .max = 200, .required = true,
     .help = "runs of one group wait for each other; ${{ ref }} and ${{ branch }} are filled in"},
    {.name = "queue", .out = "queue", .type = T_WORD, .words = queues,
     .help = "all: every waiting run gets its turn (default); latest: a newer one replaces those that wait"},
    {.name = "cancel-in-progress", .out = "cancel_in_progress", .type = T_BOOL, .aliases = LIST("interruptible"),
     .help = "a newer run cancels the one that is running; needs queue: latest"},
};
static const struct spec_object concurrency_object = {.id = "concurrency", .what = "concurrency", KEYS(concurrency_keys),
                                                      .scalar_key = "group"};

static const struct spec_key retry_keys[] = {
    {.name = "max", .out = "max", .type = T_INT, .min = 0, .max = 10, .aliases = LIST("limit"),
     .help = "how many more attempts at most; default 2"},
    {.name = "when", .out = "when", .type = T_WORDS, .words = retries,
     .help = "what is tried again: transient (the diagnosis says a retry can help), unclear (once), an end reason (exit, signal, timeout, oom: where the diagnosis does not say that it is in vain), always (whatever it says), agent_lost, setup; default agent_lost, setup, transient, and unclear where retry is given"},
};
static const struct spec_object retry_object = {.id = "retry", .what = "retry", KEYS(retry_keys), .scalar_key = "max"};

#define FACTOR(key, metric, text)                                                                            \
    {.name = key, .out = metric, .type = T_NUMBER, .min = 0.01, .max = 1000, .help = text " may grow by this factor"}
static const struct spec_key regression_keys[] = {
    FACTOR("latency_p50", "latency_p50_ms", "median latency"), FACTOR("latency_p95", "latency_p95_ms", "latency of the slowest 5 %"),
    FACTOR("first_latency", "first_ms", "first inference"),    FACTOR("load_time", "load_ms", "load time"),
    FACTOR("peak_memory", "peak_memory_bytes", "peak memory"), FACTOR("artifact_size", "artifact_bytes", "artifact size"),
};
static const struct spec_object regression_object = {.id = "regression", .what = "regression", KEYS(regression_keys)};

static const struct spec_key expect_keys[] = {
    {.name = "max_abs_error", .out = "max_abs_error", .type = T_NUMBER, .min = 0, .max = 1e30, .help = "largest |got - expected|"},
    {.name = "max_rel_error", .out = "max_rel_error", .type = T_NUMBER, .min = 0, .max = 1e30,
     .help = "largest |got - expected| / |expected|"},
    {.name = "mean_abs_error", .out = "mean_abs_error", .type = T_NUMBER, .min = 0, .max = 1e30, .help = "mean |got - expected|"},
    {.name = "atol", .out = "atol", .type = T_NUMBER, .min = 0, .max = 1e30, .help = "|got - expected| <= atol + rtol * |expected|"},
    {.name = "rtol", .out = "rtol", .type = T_NUMBER, .min = 0, .max = 1e30, .help = "|got - expected| <= atol + rtol * |expected|"},
    {.name = "cosine", .out = "cosine", .type = T_NUMBER, .min = 0, .max = 1, .help = "smallest cosine of an output"},
    {.name = "top1_agreement", .out = "top1_agreement", .type = T_NUMBER, .min = 0, .max = 1, .aliases = LIST("top1"),
     .help = "share of samples whose first class must be the original's"},
    {.name = "dtype", .out = "dtype", .type = T_WORD, .words = dtype_words,
     .help = "exact (default), or compatible: float widths, or integer widths, may differ"},
    {.name = "latency_p50", .out = "latency_p50_ms", .type = T_LATENCY, .max = MS_HOUR, .help = "median of steady inferences"},
    {.name = "latency_p95", .out = "latency_p95_ms", .type = T_LATENCY, .max = MS_HOUR, .help = "95 % of steady inferences"},
    {.name = "first_latency", .out = "first_ms", .type = T_LATENCY, .max = MS_HOUR, .help = "the first inference"},
    {.name = "load_time", .out = "load_ms", .type = T_LATENCY, .max = MS_HOUR, .help = "until the model is loaded"},
    {.name = "peak_memory", .out = "peak_memory_bytes", .type = T_SIZE, .min = 1, .help = "memory at its peak"},
    {.name = "artifact_size", .out = "artifact_bytes", .type = T_SIZE, .min = 1, .help = "bytes of the model files"},
    {.name = "indicative", .out = "indicative", .type = T_WORD, .words = indicative_words,
     .help = "an emulator's latency is told only (default), or gates all the same"},
    {.name = "regression", .out = "regression", .type = T_OBJECT, .object = &regression_object,
     .help = "factors against the last good run of this target"},
};
static const struct spec_object expect_object = {.id = "expect", .what = "expect", KEYS(expect_keys)};

/* ---- stages ---- */

#define COMMON_KEYS                                                                                          \
    {.name = "env", .out = "env", .type = T_ENV, .aliases = LIST("environment", "variables"),               \
     .help = "environment variables"},                                                                       \
    {.name = "secrets", .out = "secrets", .type = T_SECRETS, .help = "names of secrets to release as environment variables"}, \
    {.name = "labels", .out = "labels", .type = T_LABELS, .max = 100, .aliases = LIST("runs-on", "tags", "agents"),          \
     .help = "what an agent must offer to get it"}
#define ALLOW_FAILURE_KEYS                                                                                   \
    {.name = "allow-failure", .out = "allow_failure", .type = T_BOOL, .aliases = LIST("continue-on-error", "soft-fail"), \
     .help = "red here does not make the run red"},                                                          \
    {.name = "failure", .out = "allow_failure", .type = T_WORD, .words = ignores, .help = "ignore: the same as allow-failure"}
#define NEEDS_KEY                                                                                            \
    {.name = "needs", .out = "needs", .type = T_STRINGS, .max = 200, .aliases = LIST("depends-on"),          \
     .help = "stages (convert/web) or whole targets (web) that must be green before"}
#define WHEN_KEYS                                                                                            \
    {.name = "when", .out = "when", .type = T_WHEN, .words = whens,                                          \
     .help = "manual: waits until a person lets it go on; risk > 0.4: waits when its risk at planning is above that"}, \
    {.name = "approvers", .out = "approvers", .type = T_PEOPLE, .max = 63, .aliases = LIST("reviewers"),     \
     .help = "handles of the people who may let it go on; default: whoever may start runs"}
#define STAGE_KEYS                                                                                           \
    {.name = "uses", .out = "uses", .type = T_USES, .max = 100, .help = "a recipe: family/name"},            \
    {.name = "run", .out = "run", .type = T_COMMANDS, .max = 65536, .aliases = LIST("script", "commands"),   \
     .help = "shell command lines of the repository's own, instead of a recipe"},                            \
    {.name = "with", .out = "with", .type = T_ANY, .help = "parameters of the recipe"},                      \
    {.name = "toolchain", .out = "toolchain", .type = T_NAME, .max = 64, .help = "pinned frameworks for a bare command"}, \
    {.name = "host", .out = "host", .type = T_WORD, .words = hosts, .help = "where a bare command runs"},    \
    COMMON_KEYS,                                                                                             \
    {.name = "timeout", .out = "timeout_ms", .type = T_DURATION, .min = MS_SECOND, .max = MS_DAY,            \
     .help = "of one attempt; default 1h (verify: 30m)"},                                                    \
    {.name = "timeout-minutes", .out = "timeout_ms", .type = T_MINUTES, .min = MS_SECOND, .max = MS_DAY,     \
     .aliases = LIST("timeout-in-minutes"), .help = "the same as timeout, in minutes"},                      \
    {.name = "queue-timeout", .out = "queue_timeout_ms", .type = T_DURATION, .min = MS_SECOND, .max = 7 * MS_DAY, \
     .help = "how long to wait for an agent; default 24h"},                                                  \
    {.name = "total-timeout", .out = "total_timeout_ms", .type = T_DURATION, .min = MS_SECOND, .max = 30 * MS_DAY, \
     .help = "over all attempts, waiting included"},                                                         \
    {.name = "grace", .out = "grace_ms", .type = T_DURATION, .min = 0, .max = 10 * MS_MINUTE,                \
     .aliases = LIST("grace-period", "cancel-grace-period"), .help = "between SIGTERM and SIGKILL; default 10s"}, \
    {.name = "retry", .out = "retry", .type = T_OBJECT, .object = &retry_object, .help = "what is tried again, and how often"}, \
    {.name = "network", .out = "network", .type = T_BOOL, .help = "asks for network access; the server's policy decides"}, \
    {.name = "outputs", .out = "outputs", .type = T_PATHS, .max = 1000,                                      \
     .help = "files below $PORTOLAN_OUTPUTS that must exist after success"},                                 \
    NEEDS_KEY, WHEN_KEYS, ALLOW_FAILURE_KEYS

static const struct spec_foreign stage_foreign[] = {
    {"image", "a toolchain pins the frameworks: toolchain: NAME"},
    {"services", "a verify recipe starts the serving engine itself"},
    {"artifacts", "what a stage leaves below $PORTOLAN_OUTPUTS is kept; name files that must be there under outputs"},
    {"cache", "toolchains and inputs are kept by content; there is nothing to set"},
    {"steps", "one stage runs one recipe (uses) or one list of commands (run)"},
    {"parallel", "write a matrix on the target"},
    {NULL, NULL}
};
static const struct spec_key stage_keys[] = {STAGE_KEYS};
static const struct spec_object stage_object = {.id = "stage", .what = "a stage", KEYS(stage_keys), .foreign = stage_foreign};
static const struct spec_key verify_keys[] = {
    STAGE_KEYS,
    {.name = "expect", .out = "expect", .type = T_OBJECT, .object = &expect_object,
     .help = "limits and budgets; defaults go by precision"},
    {.name = "precision", .out = "precision", .type = T_WORD, .words = precisions, .help = "which default limits apply; default auto"},
};
static const struct spec_object verify_object = {.id = "verify", .what = "verify", KEYS(verify_keys), .foreign = stage_foreign};

static const struct spec_key target_keys[] = {
    {.name = "host", .out = "host", .type = T_WORD, .words = hosts, .required = true, .help = "what verify runs on"},
    {.name = "matrix", .out = "matrix", .type = T_MATRIX,
     .help = "axes whose values multiply the target; ${{ matrix.AXIS }} puts a value into a text"},
    {.name = "convert", .out = "convert", .type = T_OBJECT, .object = &stage_object, .help = "from the exported model to this target's"},
    {.name = "verify", .out = "verify", .type = T_OBJECT, .object = &verify_object, .help = "the gate on the target's own runtime"},
    {.name = "precision", .out = "precision", .type = T_WORD, .words = precisions, .help = "of the converted model; default auto"},
    COMMON_KEYS,
    NEEDS_KEY,
    WHEN_KEYS,
    ALLOW_FAILURE_KEYS,
};
static const struct spec_foreign target_foreign[] = {
    {"uses", "a target has stages: put it under convert or verify"},
    {"run", "a target has stages: put it under convert or verify"},
    {"export", "export is shared by all targets and stands at the top of the file"},
    {"expect", "limits stand under verify"},
    {NULL, NULL}
};
static const struct spec_object target_object = {.id = "target", .what = "a target", KEYS(target_keys), .foreign = target_foreign};

static const struct spec_key root_keys[] = {
    {.name = "version", .out = "version", .type = T_INT, .min = 1, .max = 1, .required = true, .help = "of this file's format: 1"},
    {.name = "model", .out = "model", .type = T_NAME, .max = 100, .required = true, .help = "the model's name"},
    {.name = "name", .out = "name", .type = T_TEXT, .min = 1, .max = 200, .help = "the pipeline's name for people"},
    {.name = "on", .out = "on", .type = T_OBJECT, .object = &on_object, .help = "what starts a run; default: every push"},
    COMMON_KEYS,
    {.name = "concurrency", .out = "concurrency", .type = T_OBJECT, .object = &concurrency_object, .aliases = LIST("resource-group"),
     .help = "runs that wait for each other"},
    {.name = "export", .out = "export", .type = T_OBJECT, .object = &stage_object, .required = true,
     .help = "once, on a server: the model in a portable form and its golden set"},
    {.name = "targets", .out = "targets", .type = T_MAP, .max = 63, .object = &target_object, .required = true,
     .help = "where the model must work"},
};
static const struct spec_foreign root_foreign[] = {
    {"jobs", "write export and targets"},
    {"stages", "write export and targets"},
    {"steps", "write export and targets"},
    {"pipeline", "write export and targets"},
    {"image", "a stage's toolchain pins the frameworks"},
    {"include", "YAML anchors and merge keys work inside this file"},
    {"extends", "YAML anchors and merge keys work inside this file"},
    {"when", "write on: {push: {branches: [...]}}"},
    {"matrix", "a matrix stands in a target"},
    {NULL, NULL}
};
const struct spec_object spec_root = {.id = "pipeline", .what = "the pipeline file", KEYS(root_keys), .foreign = root_foreign};

/* clang-format on */

/* ---- looking up ---- */

static bool same_key(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    return *a == *b;
}

const struct spec_key *spec_key_find(const struct spec_object *o, const char *name)
{
    for (size_t i = 0; i < o->n; i++) {
        if (same_key(o->keys[i].name, name))
            return &o->keys[i];
        for (const char *const *a = o->keys[i].aliases; a && *a; a++)
            if (same_key(*a, name))
                return &o->keys[i];
    }
    return NULL;
}

void spec_key_list(const struct spec_object *o, char *ret, size_t size)
{
    size_t at = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < o->n && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%s", i ? ", " : "", o->keys[i].name);
}

const char *spec_key_nearest(const struct spec_object *o, const char *name)
{
    const char *words[128];
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++) {
        words[n++] = o->keys[i].name;
        for (const char *const *a = o->keys[i].aliases; a && *a && n + 2 < PTL_ARRAY_LEN(words); a++)
            words[n++] = *a;
    }
    words[n] = NULL;
    return ptl_str_nearest(name, words);
}

const char *spec_key_foreign(const struct spec_object *o, const char *name)
{
    for (const struct spec_foreign *f = o->foreign; f && f->word; f++)
        if (same_key(f->word, name))
            return f->advice;
    return NULL;
}
