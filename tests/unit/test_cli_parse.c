/* test_cli_parse.c - the table of commands is sound, and command lines are read as people mean them. */
#include "cli.h"
#include <setjmp.h>
#include <cmocka.h>

enum { WORDS = 16 };

static int parse(const char *line, struct cli_asked *ret, char **ret_copy, struct ptl_error *err)
{
    const char *argv[WORDS] = {"portolan"};
    int argc = 1;
    char *save = NULL;
    *ret_copy = ptl_xstrdup(line);
    for (char *w = strtok_r(*ret_copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = ptl_str_eq(w, "''") ? "" : w;
    return cli_parse(argc, argv, ret, err);
}

static void commands_and_arguments(void **state PTL_UNUSED)
{
    static const struct {
        const char *line, *command, *args[3];
        bool help, version;
    } t[] = {
        {"run list",                          "run list",           {0},                           0, 0},
        {"run show 12",                       "run show",           {"12"},                        0, 0},
        {"project secret set digits KEY",     "project secret set", {"digits", "KEY"},             0, 0},
        {"project hook digits",               "project hook",       {"digits"},                    0, 0},
        {"hook post-receive --project p",     "hook post-receive",  {0},                           0, 0},
        {"--server https://a run list",       "run list",           {0},                           0, 0},
        {"run --json show 12",                "run show",           {"12"},                        0, 0},
        {"logs -- -f",                        "logs",               {"-f"},                        0, 0},
        {"lint -",                            "lint",               {"-"},                         0, 0},
        {"artifacts get 812 model/a model/b", "artifacts get",      {"812", "model/a", "model/b"}, 0, 0},
        {"help project secret",               "help",               {"project", "secret"},         0, 0},
        {"run start run",                     "run start",          {"run"},                       0, 0},
        {"run --help",                        NULL,                 {0},                           1, 0},
        {"run show --help",                   "run show",           {0},                           1, 0},
        {"-h",                                NULL,                 {0},                           1, 0},
        {"--version",                         NULL,                 {0},                           0, 1},
        {"run",                               NULL,                 {0},                           0, 0},
        {"",                                  NULL,                 {0},                           0, 0},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct cli_asked a;
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_FREE char *copy = NULL;
        if (parse(t[i].line, &a, &copy, &err) != 0)
            fail_msg("%s: %s", t[i].line, err.text);
        if (!ptl_str_eq(a.command ? a.command->words : NULL, t[i].command))
            fail_msg("%s: command %s", t[i].line, a.command ? a.command->words : "none");
        for (size_t k = 0; k < 3; k++)
            if (!ptl_str_eq(k < a.n_args ? a.args[k] : NULL, t[i].args[k]))
                fail_msg("%s: argument %zu", t[i].line, k);
        assert_int_equal(a.help, t[i].help);
        assert_int_equal(a.version, t[i].version);
    }
}

static void options(void **state PTL_UNUSED)
{
    static const struct {
        const char *line, *option, *text;
        int64_t number;
    } t[] = {
        {"run list --limit 7",     "limit",  "7",     7     },
        {"run list --limit=7",     "limit",  "7",     7     },
        {"run list -n 7",          "limit",  "7",     7     },
        {"run list -n7",           "limit",  "7",     7     },
        {"run list --state green", "state",  "green", 0     },
        {"-sX run list",           "server", "X",     0     },
        {"run watch 1 --retry 2m", "retry",  "2m",    120000},
        {"logs 1 -f",              "follow", NULL,    0     },
        {"logs 1 --offset 0",      "offset", "0",     0     },
        {"run start p --ref=",     "ref",    "",      0     },
        {"run start p --ref -x",   "ref",    "-x",    0     },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct cli_asked a;
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_FREE char *copy = NULL;
        if (parse(t[i].line, &a, &copy, &err) != 0)
            fail_msg("%s: %s", t[i].line, err.text);
        const struct cli_set *s = cli_asked_get(&a, t[i].option);
        if (!s || !ptl_str_eq(s->text, t[i].text) || s->number != t[i].number)
            fail_msg("%s: %s", t[i].line, s ? "another value" : "not set");
    }
}

static void repeated_options_keep_their_order(void **state PTL_UNUSED)
{
    struct cli_asked a;
    struct ptl_error err;
    PTL_FREE char *copy = NULL;
    assert_int_equal(parse("project secret set p K --ref a --stage s --ref b", &a, &copy, &err), 0);
    struct cli c = {.asked = a};
    assert_string_equal(cli_texts(&c, "ref", 0), "a");
    assert_string_equal(cli_texts(&c, "ref", 1), "b");
    assert_null(cli_texts(&c, "ref", 2));
    assert_string_equal(cli_text(&c, "stage"), "s");
}

static void faults_name_the_right_spelling(void **state PTL_UNUSED)
{
    static const struct {
        const char *line, *said;
    } t[] = {
        {"runn list",                "did you mean 'run'?"                            },
        {"run lst",                  "unknown command 'run lst'; did you mean 'list'?"},
        {"project secret sett p K",  "did you mean 'set'?"                            },
        {"run list --limt 3",        "did you mean '--limit'?"                        },
        {"run list --serverr x",     "did you mean '--server'?"                       },
        {"run list --limit",         "--limit needs a value: --limit N"               },
        {"run list --limit x",       "expected a whole number"                        },
        {"run list --limit 0",       "from 1 to 100000"                               },
        {"run list --limit --json",  "needs a value"                                  },
        {"run list --state grene",   "did you mean 'green'?"                          },
        {"run list --json=1",        "takes no value"                                 },
        {"run list --json --json",   "given twice"                                    },
        {"run list -Z",              "unknown option '-Z'"                            },
        {"run show",                 "RUN is missing"                                 },
        {"run show 1 2",             "'2' is too much"                                },
        {"run watch 1 --retry soon", "expected a duration"                            },
        {"completion tcsh",          "expected one of bash|zsh|fish"                  },
        {"xyzzy",                    "unknown command 'xyzzy'"                        },
        {"''",                       "unknown command ''"                             },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct cli_asked a;
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_FREE char *copy = NULL;
        if (parse(t[i].line, &a, &copy, &err) != CLI_USAGE)
            fail_msg("%s: accepted", t[i].line);
        if (!strstr(err.text, t[i].said))
            fail_msg("%s: said \"%s\", not \"%s\"", t[i].line, err.text, t[i].said);
    }
}

static void bounds(void **state PTL_UNUSED)
{
    const char *argv[CLI_ARGS_MAX + CLI_OPTIONS_MAX + 10] = {"portolan", "artifacts", "get"};
    struct cli_asked a;
    struct ptl_error err = PTL_ERROR_INIT;
    for (int i = 3; i < CLI_ARGS_MAX + 4; i++)
        argv[i] = "x";
    assert_int_equal(cli_parse(CLI_ARGS_MAX + 3, argv, &a, &err), 0);
    assert_int_equal(cli_parse(CLI_ARGS_MAX + 4, argv, &a, &err), CLI_USAGE);
    const char *many[2 * CLI_OPTIONS_MAX + 10] = {"portolan", "project", "secret", "set", "p", "K"};
    for (int i = 0; i <= CLI_OPTIONS_MAX; i++)
        many[6 + i] = "--ref=x";
    assert_int_equal(cli_parse(6 + CLI_OPTIONS_MAX, many, &a, &err), 0);
    assert_int_equal(cli_parse(7 + CLI_OPTIONS_MAX, many, &a, &err), CLI_USAGE);
}

/* What parser, help and completion rely on. */
static void the_table_is_sound(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < cli_commands_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        assert_non_null(c->run);
        if (!c->summary || !*c->summary || strlen(c->words) >= sizeof((struct cli_asked){0}.words))
            fail_msg("%s: summary or length", c->words);
        for (size_t k = 0; k < cli_commands_count; k++) {
            size_t n = strlen(c->words);
            if (ptl_str_eq(c->args[0].name, "RUN"))
                continue; /* no run is called like a word: `risk 12`, `risk backtest` */
            if (k != i && strncmp(cli_commands[k].words, c->words, n) == 0 &&
                (cli_commands[k].words[n] == 0 || cli_commands[k].words[n] == ' '))
                fail_msg("%s: the same as, or in front of, %s", c->words, cli_commands[k].words);
        }
        const char *space = strchr(c->words, ' ');
        PTL_FREE char *noun = ptl_xasprintf("%.*s", space ? (int)(space - c->words) : 0, c->words);
        if (space && !cli_noun_summary(noun))
            fail_msg("%s: no line about the noun", c->words);
        bool optional = false;
        for (size_t k = 0; k < PTL_ARRAY_LEN(c->args) && c->args[k].name; k++) {
            if (optional && !c->args[k].optional)
                fail_msg("%s: an argument that must be given behind one that need not", c->words);
            optional = c->args[k].optional;
            if (c->args[k].many && k + 1 < PTL_ARRAY_LEN(c->args) && c->args[k + 1].name)
                fail_msg("%s: something behind %s...", c->words, c->args[k].name);
        }
        for (const struct cli_option *o = c->options; o && o->name; o++) {
            if (!o->help || (o->type == CLI_FLAG) != !o->value)
                fail_msg("%s --%s: help or placeholder", c->words, o->name);
            for (const struct cli_option *g = cli_globals; g->name; g++)
                if (ptl_str_eq(g->name, o->name) || (g->letter && g->letter == o->letter))
                    fail_msg("%s --%s: taken by a global option", c->words, o->name);
            for (const struct cli_option *other = o + 1; other->name; other++)
                if (ptl_str_eq(other->name, o->name) || (o->letter && other->letter == o->letter))
                    fail_msg("%s --%s: twice", c->words, o->name);
        }
    }
}

static void help_and_scripts_name_everything(void **state PTL_UNUSED)
{
    PTL_BUF help = PTL_BUF_INIT, man = PTL_BUF_INIT;
    cli_help(&help, "");
    cli_man(&man);
    for (size_t i = 0; i < cli_commands_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        if (!strstr(ptl_buf_str(&help), c->words))
            fail_msg("help leaves out %s", c->words);
        PTL_BUF own = PTL_BUF_INIT;
        cli_help(&own, c->words);
        for (const struct cli_option *o = c->options; o && o->name; o++)
            if (!strstr(ptl_buf_str(&own), o->name))
                fail_msg("help of %s leaves out --%s", c->words, o->name);
    }
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t s = 0; s < PTL_ARRAY_LEN(shells); s++) {
        PTL_BUF b = PTL_BUF_INIT;
        assert_int_equal(cli_completion(&b, shells[s]), 0);
        for (size_t i = 0; i < cli_commands_count; i++)
            for (const struct cli_option *o = cli_commands[i].options; o && o->name; o++)
                if (!strstr(ptl_buf_str(&b), o->name))
                    fail_msg("%s leaves out --%s", shells[s], o->name);
    }
    PTL_BUF none = PTL_BUF_INIT;
    assert_int_equal(cli_completion(&none, "tcsh"), -EINVAL);
    for (const char *line = ptl_buf_str(&help); line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t n = strcspn(line, "\n");
        assert_true(n == 0 || line[n - 1] != ' ');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_arguments),
        cmocka_unit_test(options),
        cmocka_unit_test(repeated_options_keep_their_order),
        cmocka_unit_test(faults_name_the_right_spelling),
        cmocka_unit_test(bounds),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(help_and_scripts_name_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
