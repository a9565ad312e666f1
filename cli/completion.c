/* completion.c - completion scripts, made from the table. They hold words, options and choices; names that
 * only the server knows are left to the person. Pure. */
#include "cli.h"

/* Words that can follow `words` ("" at first): verbs, nouns. Appends them separated by blanks. */
static void next_words(struct ptl_buf *b, const char *words)
{
    size_t n = strlen(words);
    char last[64] = "";
    for (size_t i = 0; i < cli_commands_count; i++) {
        const char *w = cli_commands[i].words;
        if (strncmp(w, words, n) != 0 || (n && w[n] != ' '))
            continue;
        w += n + (n > 0);
        size_t len = strcspn(w, " ");
        if (strlen(last) == len && strncmp(last, w, len) == 0)
            continue;
        snprintf(last, sizeof(last), "%.*s", (int)len, w);
        ptl_buf_printf(b, "%s%s", b->len && b->data[b->len - 1] != '\'' ? " " : "", last);
    }
}

static void put_options(struct ptl_buf *b, const struct cli_option *o)
{
    for (; o && o->name; o++)
        ptl_buf_printf(b, " --%s", o->name);
}

static bool is_file(enum cli_type t)
{
    return t == CLI_FILE || t == CLI_DIR;
}

/* Prefixes of commands, each once: "", "project", "project secret", … calls fn. */
static void each_prefix(struct ptl_buf *b, void (*fn)(struct ptl_buf *b, const char *prefix))
{
    char seen[4096] = "\n";
    fn(b, "");
    for (size_t i = 0; i < cli_commands_count; i++)
        for (const char *p = strchr(cli_commands[i].words, ' '); p; p = strchr(p + 1, ' ')) {
            PTL_FREE char *prefix =
                ptl_xasprintf("%.*s", (int)(p - cli_commands[i].words), cli_commands[i].words);
            PTL_FREE char *key = ptl_xasprintf("\n%s\n", prefix);
            if (strstr(seen, key))
                continue;
            strncat(seen, key + 1, sizeof(seen) - strlen(seen) - 1);
            fn(b, prefix);
        }
}

/* ---- bash ---- */

static void bash_prefix(struct ptl_buf *b, const char *prefix)
{
    ptl_buf_printf(b, "    '%s') words='", prefix);
    next_words(b, prefix);
    ptl_buf_puts(b, "' ;;\n");
}

static void bash_command(struct ptl_buf *b, const struct cli_command *c)
{
    ptl_buf_printf(b, "    '%s') opts='", c->words);
    put_options(b, c->options);
    ptl_buf_puts(b, "'");
    if (c->args[0].choices) {
        PTL_FREE char *list = ptl_xstrdup(c->args[0].choices);
        for (char *p = list; *p; p++)
            *p = *p == '|' ? ' ' : *p;
        ptl_buf_printf(b, "; words='%s'", list);
    } else if (c->args[0].name && is_file(c->args[0].type)) {
        ptl_buf_puts(b, "; files=1");
    }
    ptl_buf_puts(b, " ;;\n");
}

static void bash_values(struct ptl_buf *b, const char *words, const struct cli_option *o)
{
    for (; o && o->name; o++) {
        if (o->type == CLI_CHOICE) {
            PTL_FREE char *list = ptl_xstrdup(o->value);
            for (char *p = list; *p; p++)
                *p = *p == '|' ? ' ' : *p;
            ptl_buf_printf(b, "    '%s --%s') COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", words,
                           o->name, list);
        } else if (is_file(o->type)) {
            ptl_buf_printf(b, "    %s'%s --%s') COMPREPLY=($(compgen -%c -- \"$cur\")); return ;;\n",
                           *words == '*' ? "*" : "", *words == '*' ? words + 1 : words, o->name,
                           o->type == CLI_DIR ? 'd' : 'f');
        } else if (o->type != CLI_FLAG) {
            ptl_buf_printf(b, "    %s'%s --%s') return ;;\n", *words == '*' ? "*" : "",
                           *words == '*' ? words + 1 : words, o->name);
        }
    }
}

static void bash(struct ptl_buf *b)
{
    ptl_buf_puts(
        b,
        "# bash completion for portolan\n_portolan()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= opts= words= files= w i\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n        w=${COMP_WORDS[i]}\n        case $w in -*) continue ;; esac\n"
        "        case \"${cmd:+$cmd }$w\" in\n");
    for (size_t i = 0; i < cli_commands_count; i++) {
        const char *words = cli_commands[i].words;
        for (const char *p = strchr(words, ' '); p; p = strchr(p + 1, ' '))
            ptl_buf_printf(b, "%s'%.*s'", "            ", (int)(p - words), words),
                ptl_buf_puts(b, ") cmd=\"${cmd:+$cmd }$w\" ;;\n");
        ptl_buf_printf(b, "            '%s') cmd=\"${cmd:+$cmd }$w\" ;;\n", words);
    }
    ptl_buf_puts(b, "        esac\n    done\n    case \"$cmd $prev\" in\n");
    for (size_t i = 0; i < cli_commands_count; i++)
        bash_values(b, cli_commands[i].words, cli_commands[i].options);
    bash_values(b, "*", cli_globals);
    ptl_buf_puts(b, "    esac\n    case \"$cmd\" in\n");
    each_prefix(b, bash_prefix);
    for (size_t i = 0; i < cli_commands_count; i++)
        bash_command(b, &cli_commands[i]);
    ptl_buf_puts(b, "    esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W \"$opts");
    put_options(b, cli_globals);
    ptl_buf_puts(
        b,
        "\" -- \"$cur\")) ;;\n    *) if [ -n \"$files\" ]; then COMPREPLY=($(compgen -f -- \"$cur\")); else COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); fi ;;\n"
        "    esac\n}\ncomplete -F _portolan portolan\n");
}

/* ---- zsh ---- */

static void zsh_text(struct ptl_buf *b, const char *s)
{
    for (; *s; s++) { /* inside '…' of a spec, where [ ] : \ and ' mean something */
        if (*s == '\'')
            ptl_buf_puts(b, "'\\''");
        else if (strchr("[]:\\", *s))
            ptl_buf_printf(b, "\\%c", *s);
        else
            ptl_buf_putc(b, *s);
    }
}

static void zsh_action(struct ptl_buf *b, enum cli_type type, const char *name, const char *choices)
{
    ptl_buf_puts(b, ":");
    zsh_text(b, choices ? "value" : name);
    if (choices) {
        ptl_buf_puts(b, ":(");
        for (const char *p = choices; *p; p++)
            ptl_buf_putc(b, *p == '|' ? ' ' : *p);
        ptl_buf_puts(b, ")");
    } else {
        ptl_buf_puts(b, type == CLI_FILE ? ":_files" : type == CLI_DIR ? ":_files -/" : ": ");
    }
}

static void zsh_options(struct ptl_buf *b, const struct cli_option *o)
{
    for (; o && o->name; o++) {
        ptl_buf_printf(b, " \\\n            '%s--%s%s[", o->many ? "*" : "", o->name,
                       o->type == CLI_FLAG ? "" : "=");
        zsh_text(b, o->help);
        ptl_buf_puts(b, "]");
        if (o->type != CLI_FLAG)
            zsh_action(b, o->type, o->value, o->type == CLI_CHOICE ? o->value : NULL);
        ptl_buf_puts(b, "'");
    }
}

static void zsh_prefix(struct ptl_buf *b, const char *prefix)
{
    size_t n = strlen(prefix);
    char last[64] = "";
    ptl_buf_printf(b, "        '%s') _values 'command'", prefix);
    for (size_t i = 0; i < cli_commands_count; i++) {
        const char *w = cli_commands[i].words;
        if (strncmp(w, prefix, n) != 0 || (n && w[n] != ' '))
            continue;
        size_t skip = n + (n > 0), len = strcspn(w + skip, " ");
        if (strlen(last) == len && strncmp(last, w + skip, len) == 0)
            continue;
        snprintf(last, sizeof(last), "%.*s", (int)len, w + skip);
        PTL_FREE char *noun = ptl_xasprintf("%.*s", (int)(skip + len), w);
        ptl_buf_printf(b, " '%s[", last);
        zsh_text(b, w[skip + len] ? (cli_noun_summary(noun) ? cli_noun_summary(noun) : noun)
                                  : cli_commands[i].summary);
        ptl_buf_puts(b, "]'");
    }
    ptl_buf_puts(b, " ;;\n");
}

static void zsh(struct ptl_buf *b)
{
    ptl_buf_puts(
        b,
        "#compdef portolan\n_portolan()\n{\n    local cmd= w\n    integer i at=1\n    for ((i = 2; i < CURRENT; i++)); do\n        w=${words[i]}\n"
        "        [[ $w == -* ]] && continue\n        case \"${cmd:+$cmd }$w\" in\n");
    for (size_t i = 0; i < cli_commands_count; i++) {
        const char *words = cli_commands[i].words;
        for (const char *p = strchr(words, ' '); p; p = strchr(p + 1, ' '))
            ptl_buf_printf(b, "            '%.*s') cmd=\"${cmd:+$cmd }$w\"; at=i ;;\n", (int)(p - words),
                           words);
        ptl_buf_printf(b, "            '%s') cmd=\"${cmd:+$cmd }$w\"; at=i ;;\n", words);
    }
    ptl_buf_puts(b, "        esac\n    done\n    case \"$cmd\" in\n");
    each_prefix(b, zsh_prefix);
    for (size_t i = 0; i < cli_commands_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        ptl_buf_printf(
            b, "        '%s') shift $((at - 1)) words; (( CURRENT -= at - 1 ))\n            _arguments",
            c->words);
        zsh_options(b, c->options);
        zsh_options(b, cli_globals);
        for (size_t k = 0; k < PTL_ARRAY_LEN(c->args) && c->args[k].name; k++) {
            ptl_buf_printf(b, " \\\n            '%s%s", c->args[k].many ? "*" : "",
                           c->args[k].many       ? ""
                           : c->args[k].optional ? ":"
                                                 : "");
            zsh_action(b, c->args[k].type, c->args[k].name, c->args[k].choices);
            ptl_buf_puts(b, "'");
        }
        ptl_buf_puts(b, " ;;\n");
    }
    ptl_buf_puts(b, "    esac\n}\ncompdef _portolan portolan 2>/dev/null || _portolan \"$@\"\n");
}

/* ---- fish ---- */

static void fish_text(struct ptl_buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            ptl_buf_putc(b, '\\');
        ptl_buf_putc(b, *s);
    }
}

static void fish_options(struct ptl_buf *b, const char *condition, const struct cli_option *o)
{
    for (; o && o->name; o++) {
        ptl_buf_printf(b, "complete -c portolan%s -l %s", condition, o->name);
        if (o->letter)
            ptl_buf_printf(b, " -s %c", o->letter);
        if (o->type == CLI_CHOICE) {
            ptl_buf_puts(b, " -x -a '");
            for (const char *p = o->value; *p; p++)
                ptl_buf_putc(b, *p == '|' ? ' ' : *p);
            ptl_buf_puts(b, "'");
        } else if (o->type != CLI_FLAG) {
            ptl_buf_puts(b, is_file(o->type) ? " -r -F" : " -x");
        }
        ptl_buf_puts(b, " -d '");
        fish_text(b, o->help);
        ptl_buf_puts(b, "'\n");
    }
}

static void fish_prefix(struct ptl_buf *b, const char *prefix)
{
    PTL_BUF words = PTL_BUF_INIT;
    next_words(&words, prefix);
    ptl_buf_printf(b, "complete -c portolan -n '__portolan_at \"%s\"' -a '%s'\n", prefix,
                   ptl_buf_str(&words));
}

static void fish(struct ptl_buf *b)
{
    ptl_buf_puts(
        b,
        "# fish completion for portolan\nfunction __portolan_words\n    set -l words (commandline -opc | string match -v -- '-*')\n    string join ' ' -- $words[2..-1]\nend\n"
        "function __portolan_at\n    test (__portolan_words | string collect --allow-empty) = $argv[1]\nend\n"
        "function __portolan_in\n    set -l w (__portolan_words | string collect --allow-empty)\n    test \"$w\" = $argv[1]; or string match -q -- \"$argv[1] *\" \"$w\"\nend\n"
        "complete -c portolan -f\n");
    each_prefix(b, fish_prefix);
    fish_options(b, "", cli_globals);
    for (size_t i = 0; i < cli_commands_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        PTL_FREE char *condition = ptl_xasprintf(" -n '__portolan_in \"%s\"'", c->words);
        fish_options(b, condition, c->options);
        if (c->args[0].choices) {
            ptl_buf_printf(b, "complete -c portolan%s -a '", condition);
            for (const char *p = c->args[0].choices; *p; p++)
                ptl_buf_putc(b, *p == '|' ? ' ' : *p);
            ptl_buf_puts(b, "'\n");
        } else if (c->args[0].name && is_file(c->args[0].type)) {
            ptl_buf_printf(b, "complete -c portolan%s -F\n", condition);
        }
    }
}

int cli_completion(struct ptl_buf *b, const char *shell)
{
    if (ptl_str_eq(shell, "bash"))
        bash(b);
    else if (ptl_str_eq(shell, "zsh"))
        zsh(b);
    else if (ptl_str_eq(shell, "fish"))
        fish(b);
    else
        return -EINVAL;
    return 0;
}
