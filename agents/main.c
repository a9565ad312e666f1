/* main.c - portolan-agent: what the words on its command line do. Only this file exits. */
#include "attempt.h"
#include "agent.h"
#include "recipe.h"
#include "sandbox.h"
#include "toolchain.h"

#include <stdio.h>
#include <unistd.h>
#include <portolan/http.h>
#include <portolan/log.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *words;                 /* "recipe list" */
    int (*run)(int argc, char **argv); /* argv behind the words */
    const char *arguments, *help;
};

static int failed(const struct ptl_error *err)
{
    ptl_log_error("%s", err->text);
    return EXIT_FAILED;
}

static int cmd_attempt(int argc, char **argv)
{
    struct ptl_error err = PTL_ERROR_INIT;
    if (argc != 1) {
        fprintf(stderr, "usage: portolan-agent attempt DIR\n");
        return EXIT_USAGE;
    }
    return ptl_attempt_run(argv[0], &err) < 0 ? failed(&err) : EXIT_OK;
}

static int cmd_recipe_list(int argc, char **argv)
{
    (void)argv;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *root = ptl_recipe_root();
    PTL_JSON *names = NULL;
    PTL_JSON *broken = NULL;
    size_t i;
    json_t *item;
    if (argc > 0)
        return EXIT_USAGE;
    if (ptl_recipe_list(root, &names, &broken, &err) < 0)
        return failed(&err);
    json_array_foreach(names, i, item)
    {
        PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
        if (ptl_recipe_load(root, json_string_value(item), &r, NULL) == 0)
            printf("%-24s %-8s %-8s %s\n", r->name, ptl_stage_kind_name(r->kind), ptl_host_kind_name(r->host),
                   ptl_json_str(r->doc, "summary", ""));
    }
    json_array_foreach(broken, i, item) ptl_log_warning("left out: %s", json_string_value(item));
    return json_array_size(broken) ? EXIT_FAILED : EXIT_OK;
}

static int cmd_toolchain_list(int argc, char **argv)
{
    (void)argv;
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *names = NULL;
    size_t i;
    json_t *item;
    if (argc > 0)
        return EXIT_USAGE;
    if (ptl_toolchain_list(&names, &err) < 0)
        return failed(&err);
    json_array_foreach(names, i, item)
    {
        PTL_CLEANUP(ptl_toolchain_freep) struct ptl_toolchain *t = NULL;
        if (ptl_toolchain_load(json_string_value(item), &t, &err) < 0)
            ptl_log_warning("left out: %s", err.text);
        else
            printf("%-20s %-7s %s\n", t->name, t->versions ? "ready" : "absent", t->dir);
    }
    return EXIT_OK;
}

static int cmd_toolchain_prepare(int argc, char **argv)
{
    PTL_FREE char *folders = ptl_toolchain_folders();
    PTL_FREE char *script = ptl_xasprintf("%s/prepare", folders);
    char **args = ptl_xcalloc((size_t)argc + 2, sizeof(*args));
    if (argc == 0) {
        fprintf(stderr, "usage: portolan-agent toolchain prepare NAME...\n");
        return EXIT_USAGE;
    }
    args[0] = script;
    for (int i = 0; i < argc; i++)
        args[i + 1] = argv[i];
    execv(script, args);
    ptl_log_error("%s: cannot be started: %s", script, strerror(errno));
    return EXIT_FAILED;
}

static int usage(int argc, char **argv);

static const struct command commands[] = {
    {"run",               ptl_agent_cmd_run,       "[--SETTING VALUE]...",       "claim stages from the daemon and run them (default)"     },
    {"attempt",           cmd_attempt,             "DIR",                        "run the one attempt in DIR, from job.json to result.json"},
    {"inventory",         ptl_agent_cmd_inventory, "[--SETTING VALUE]...",
     "what this host offers, as the daemon will see it"                                                                                    },
    {"enroll",            ptl_agent_cmd_enroll,    "TOKEN [--SETTING VALUE]...",
     "trade a one-time token for the agent's own"                                                                                          },
    {"toolchain list",    cmd_toolchain_list,      "",                           "toolchains, and whether they are ready here"             },
    {"toolchain prepare", cmd_toolchain_prepare,   "NAME...",                    "install toolchains"                                      },
    {"recipe list",       cmd_recipe_list,         "",                           "recipes this agent can run"                              },
    {"help",              usage,                   "",                           "this text, and the settings"                             },
};

static int usage(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("portolan-agent " PTL_VERSION "\n\nusage: portolan-agent [COMMAND]\n\n");
    for (size_t i = 0; i < PTL_ARRAY_LEN(commands); i++)
        printf("  %-18s %-27s %s\n", commands[i].words, commands[i].arguments, commands[i].help);
    printf("\nsettings (--name value, PORTOLAN_NAME, or `name = value` in the file --config):\n");
    ptl_agent_settings_help(stdout);
    return EXIT_OK;
}

/* How many words of argv make up the command; 0 when it is another. */
static int matches(const struct command *c, int argc, char **argv)
{
    const char *space = strchr(c->words, ' ');
    size_t first = space ? (size_t)(space - c->words) : strlen(c->words);
    if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], c->words, first) != 0)
        return 0;
    if (!space)
        return 1;
    return argc >= 2 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
    ptl_log_init("portolan-agent");
    ptl_http_global_init();
    argc--;
    argv++;
    if (argc == 0 || argv[0][0] == '-') {
        if (argc && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0))
            return usage(0, NULL);
        if (argc && strcmp(argv[0], "--version") == 0) {
            puts("portolan-agent " PTL_VERSION);
            return EXIT_OK;
        }
        return ptl_agent_cmd_run(argc, argv);
    }
    for (size_t i = 0; i < PTL_ARRAY_LEN(commands); i++) {
        int n = matches(&commands[i], argc, argv);
        if (n)
            return commands[i].run(argc - n, argv + n);
    }
    const char *words[PTL_ARRAY_LEN(commands) + 1] = {0};
    for (size_t i = 0; i < PTL_ARRAY_LEN(commands); i++)
        words[i] = commands[i].words;
    const char *near = ptl_str_nearest(argv[0], words);
    fprintf(stderr, "portolan-agent: unknown command \"%s\"%s%s%s (portolan-agent help)\n", argv[0],
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return EXIT_USAGE;
}
