/* parse.c - the command line against the table of commands. Pure: reads argv, writes what was asked for,
 * names what is wrong with the nearest right spelling. Options may stand anywhere, also in front of the noun.
 */
#include "cli.h"
#include <portolan/clock.h>

enum { WORDS_MAX = 128 };

const struct cli_set *cli_asked_get(const struct cli_asked *a, const char *name)
{
    for (size_t i = a->n_set; i > 0; i--)
        if (ptl_str_eq(a->set[i - 1].option->name, name))
            return &a->set[i - 1];
    return NULL;
}

static bool next_word(const char *words, const char *so_far, char *ret, size_t size)
{
    size_t n = strlen(so_far);
    if (strncmp(words, so_far, n) != 0 || (n && words[n] != ' '))
        return false;
    const char *w = words + n + (n > 0);
    snprintf(ret, size, "%.*s", (int)strcspn(w, " "), w);
    return *ret != 0;
}

static const struct cli_command *find_command(const char *words)
{
    for (size_t i = 0; i < cli_commands_count; i++)
        if (ptl_str_eq(cli_commands[i].words, words))
            return &cli_commands[i];
    return NULL;
}

/* One more word of the command: true when some command goes on with it. */
static bool take_word(struct cli_asked *a, const char *word)
{
    char longer[sizeof(a->words)];
    int n = snprintf(longer, sizeof(longer), "%s%s%s", a->words, *a->words ? " " : "", word);
    if (n >= (int)sizeof(longer) || strchr(word, ' '))
        return false;
    for (size_t i = 0; i < cli_commands_count; i++) {
        const char *words = cli_commands[i].words;
        if (strncmp(words, longer, (size_t)n) == 0 && (words[n] == 0 || words[n] == ' ')) {
            memcpy(a->words, longer, sizeof(longer));
            a->command = find_command(a->words);
            return true;
        }
    }
    return false;
}

static int unknown_word(const struct cli_asked *a, const char *word, struct ptl_error *err)
{
    char buf[WORDS_MAX][32];
    const char *choices[WORDS_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < cli_commands_count && n < WORDS_MAX; i++)
        if (next_word(cli_commands[i].words, a->words, buf[n], sizeof(buf[n]))) {
            choices[n] = buf[n];
            n++;
        }
    choices[n] = NULL;
    const char *near = ptl_str_nearest(word, choices);
    ptl_error_set(err, -EINVAL, "unknown command '%s%s%s'%s%s%s; see: portolan help%s%s", a->words,
                  *a->words ? " " : "", word, near ? "; did you mean '" : "", near ? near : "",
                  near ? "'?" : "", *a->words ? " " : "", a->words);
    return CLI_USAGE;
}

static const struct cli_option *in_list(const struct cli_option *list, const char *name, size_t len,
                                        char letter)
{
    for (; list && list->name; list++)
        if (letter ? list->letter == letter : strlen(list->name) == len && memcmp(list->name, name, len) == 0)
            return list;
    return NULL;
}

static int unknown_option(const struct cli_asked *a, const char *shown, size_t len, struct ptl_error *err)
{
    const char *choices[WORDS_MAX + 1];
    size_t n = 0;
    const struct cli_option *const lists[] = {a->command ? a->command->options : NULL, cli_globals};
    for (size_t l = 0; l < 2; l++)
        for (const struct cli_option *o = lists[l]; o && o->name && n < WORDS_MAX; o++)
            choices[n++] = o->name;
    choices[n] = NULL;
    PTL_FREE char *name = ptl_xasprintf("%.*s", (int)len, shown);
    const char *near = ptl_str_starts(name, "--") ? ptl_str_nearest(name + 2, choices) : NULL;
    ptl_error_set(err, -EINVAL, "unknown option '%s'%s%s%s; see: portolan %s%s--help", name,
                  near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "", a->words,
                  *a->words ? " " : "");
    return CLI_USAGE;
}

static int choice_error(const struct cli_option *o, const char *text, struct ptl_error *err)
{
    const char *choices[32];
    size_t n = 0;
    PTL_FREE char *list = ptl_xstrdup(o->value);
    char *save = NULL;
    for (char *w = strtok_r(list, "|", &save); w && n < 31; w = strtok_r(NULL, "|", &save))
        choices[n++] = w;
    choices[n] = NULL;
    const char *near = ptl_str_nearest(text, choices);
    ptl_error_set(err, -EINVAL, "--%s %s: expected one of %s%s%s%s", o->name, text, o->value,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return CLI_USAGE;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = choices; *p;) {
        size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, text, n) == 0)
            return true;
        p += len + (p[len] == '|');
    }
    return false;
}

static int typed(const struct cli_option *o, const char *text, int64_t *ret, struct ptl_error *err)
{
    char *end = NULL;
    switch (o->type) {
    case CLI_INT:
        errno = 0;
        *ret = strtoll(text, &end, 10);
        if (end == text || *end || errno) {
            ptl_error_set(err, -EINVAL, "--%s %s: expected a whole number", o->name, text);
            return CLI_USAGE;
        }
        break;
    case CLI_DURATION:
        if (ptl_duration_parse(text, ret) < 0) {
            ptl_error_set(err, -EINVAL, "--%s %s: expected a duration such as 90s, 5m or 12h", o->name, text);
            return CLI_USAGE;
        }
        break;
    case CLI_CHOICE:
        if (!is_choice(o->value, text))
            return choice_error(o, text, err);
        break;
    default:
        break;
    }
    if ((o->min || o->max) && (*ret < o->min || *ret > o->max)) {
        const char *unit = o->type == CLI_DURATION ? " ms" : "";
        ptl_error_set(err, -ERANGE, "--%s %s: expected a value from %lld to %lld%s", o->name, text,
                      (long long)o->min, (long long)o->max, unit);
        return CLI_USAGE;
    }
    return 0;
}

static int keep(struct cli_asked *a, const struct cli_option *o, const char *text, struct ptl_error *err)
{
    int64_t number = 0;
    int r = text ? typed(o, text, &number, err) : 0;
    if (r)
        return r;
    if (!o->many && cli_asked_get(a, o->name)) {
        ptl_error_set(err, -EINVAL, "--%s is given twice", o->name);
        return CLI_USAGE;
    }
    if (a->n_set == CLI_OPTIONS_MAX) {
        ptl_error_set(err, -E2BIG, "more than %d options", CLI_OPTIONS_MAX);
        return CLI_USAGE;
    }
    a->set[a->n_set++] = (struct cli_set){o, text, number};
    return 0;
}

/* An option at argv[*at], with its value there or in the next word. */
static int take_option(struct cli_asked *a, int argc, const char *const *argv, int *at, struct ptl_error *err)
{
    const char *word = argv[*at], *equals = word[1] == '-' ? strchr(word, '=') : NULL, *value = NULL;
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    bool is_long = word[1] == '-';
    const struct cli_option *own = a->command ? a->command->options : NULL;
    const struct cli_option *o =
        is_long ? in_list(own, word + 2, len - 2, 0) : in_list(own, NULL, 0, word[1]);
    if (!o)
        o = is_long ? in_list(cli_globals, word + 2, len - 2, 0) : in_list(cli_globals, NULL, 0, word[1]);
    if (!o)
        return unknown_option(a, word, is_long ? len : 2, err);
    if (equals)
        value = equals + 1;
    else if (!is_long && word[2])
        value = word + 2;
    if (o->type == CLI_FLAG) {
        if (value) {
            ptl_error_set(err, -EINVAL, "--%s takes no value", o->name);
            return CLI_USAGE;
        }
        a->help |= ptl_str_eq(o->name, "help");
        a->version |= ptl_str_eq(o->name, "version");
        return keep(a, o, NULL, err);
    }
    if (!value && *at + 1 < argc && !ptl_str_starts(argv[*at + 1], "--"))
        value = argv[++*at];
    if (!value) {
        ptl_error_set(err, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name, o->value);
        return CLI_USAGE;
    }
    return keep(a, o, value, err);
}

static int check_args(const struct cli_asked *a, struct ptl_error *err)
{
    size_t want = 0, most = 0;
    const struct cli_arg *args = a->command->args;
    for (; most < PTL_ARRAY_LEN(a->command->args) && args[most].name; most++)
        want += !args[most].optional;
    bool any = most && args[most - 1].many;
    if (a->n_args < want) {
        ptl_error_set(err, -EINVAL, "%s: %s is missing; see: portolan %s --help", a->words,
                      args[a->n_args].name, a->words);
        return CLI_USAGE;
    }
    if (a->n_args > most && !any) {
        ptl_error_set(err, -EINVAL, "%s: '%s' is too much; see: portolan %s --help", a->words, a->args[most],
                      a->words);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < a->n_args && i < most; i++) {
        if (args[i].type == CLI_CHOICE && !is_choice(args[i].choices, a->args[i])) {
            ptl_error_set(err, -EINVAL, "%s '%s': expected one of %s", args[i].name, a->args[i],
                          args[i].choices);
            return CLI_USAGE;
        }
    }
    return 0;
}

int cli_parse(int argc, const char *const *argv, struct cli_asked *ret, struct ptl_error *err)
{
    memset(ret, 0, sizeof(*ret));
    bool only_args = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        int r = 0;
        if (!only_args && ptl_str_eq(word, "--")) {
            only_args = true;
        } else if (!only_args && word[0] == '-' && word[1]) {
            r = take_option(ret, argc, argv, &i, err);
        } else if (!only_args && ret->n_args == 0 && take_word(ret, word)) {
            continue;
        } else if (!ret->command) {
            r = unknown_word(ret, word, err);
        } else if (ret->n_args == CLI_ARGS_MAX) {
            ptl_error_set(err, -E2BIG, "more than %d arguments", CLI_ARGS_MAX);
            r = CLI_USAGE;
        } else {
            ret->args[ret->n_args++] = word;
        }
        if (r)
            return r;
    }
    return ret->command && !ret->help && !ret->version ? check_args(ret, err) : 0;
}
