/* tool.c - portolan-kb: the knowledge base without a daemon or a database. Compiles the files of
 * migrations/kb into one file, diagnoses logs with it, trains the text model from labelled cases, and tries
 * itself on them (tests/bench/diagnosis drives that). Main program; here its verbs and options, the work in
 * tool_*.c. */
#include "tool-private.h"
#include "compiled.h"
#include <portolan/fs.h>
#include <stdio.h>

static const char usage[] =
    "usage: portolan-kb VERB [options] [FILE …]\n"
    "  compile  [--dir migrations/kb] --out FILE          the knowledge in one file\n"
    "  diagnose [--platform P] [--stage S] [--tool T] [--end REASON] [--json] FILE|-   one log\n"
    "  train    --out FILE CASES.jsonl …                   the text model, from {\"id\",\"platform\",\"log\"|\"title\"+\"body\",\"label\",\"alternatives\"} a line\n"
    "  predict  CASES.jsonl …                              one {\"id\",\"ranked\",\"p\",\"state\",\"transient\"} a line\n"
    "  crossval [--folds 5] CASES.jsonl …                  the same, each case by a text model that has not seen its id\n"
    "  compare  --house CASES.jsonl [--before MODEL] --out FILE [CASES.jsonl …]  train with a house's own cases too; as JSON what that changes, cross-validated\n"
    "  matches  [--platform P] [--stage S] [--tool T] FILE …   which indicators speak, one line a file: where they are heard, and which are silent in this situation\n"
    "  speed    FILE …                                     megabytes a second of a whole diagnosis and of the scan alone\n"
    "options: --kb FILE (compiled; default: as built in)  --dir DIR (files instead)  --rules-only  --cost X  --min-cases N  --prune N  --entries W  --words W\n"
    "         --also CASES.jsonl (cases to learn from only; up to 8 times)\n"
    "         --held-out (indicators that speak on one case only are silent there)  --parts (what the scores are made of)\n";

const char *tool_program = "portolan-kb";

int tool_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", tool_program, what);
    return 1;
}

int tool_compile(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(tool_source_done) struct source s;
    int r = tool_source_open(o, &s, err);
    if (r < 0 || !o->out)
        return r < 0 ? r : ptl_error_set(err, -EINVAL, "--out FILE is missing");
    PTL_CLEANUP(ptl_kb_freep)
    struct ptl_kb *kb = tool_kb(o, &s, s.model, s.model_len, err); /* proves that it can be used */
    PTL_BUF b = PTL_BUF_MAX(PTL_KB_COMPILED_MAX);
    if (!kb)
        return -EINVAL;
    if ((r = ptl_kb_compiled_write(kb, s.key, s.model, s.model_len, &b, err)) < 0)
        return r;
    return ptl_fs_write_atomic(o->out, ptl_buf_str(&b), b.len, 0644, err);
}

static bool take_option(struct options *o, const char *name, const char *value)
{
    struct {
        const char *name;
        const char **to;
    } texts[] = {
        {"--dir",      &o->dir     },
        {"--kb",       &o->kb      },
        {"--out",      &o->out     },
        {"--platform", &o->platform},
        {"--stage",    &o->stage   },
        {"--tool",     &o->tool    },
        {"--end",      &o->end     },
        {"--house",    &o->house   },
        {"--before",   &o->before  }
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(texts); i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].to = value;
            return true;
        }
    if (strcmp(name, "--also") == 0 && o->n_also < (int)PTL_ARRAY_LEN(o->also))
        o->also[o->n_also++] = value;
    else if (strcmp(name, "--folds") == 0)
        o->folds = atoi(value);
    else if (strcmp(name, "--min-cases") == 0)
        o->min_cases = atoi(value);
    else if (strcmp(name, "--prune") == 0)
        o->prune = atoi(value);
    else if (strcmp(name, "--words") == 0)
        o->words = atof(value);
    else if (strcmp(name, "--entries") == 0)
        o->entries = atof(value);
    else if (strcmp(name, "--cost") == 0)
        o->cost = atof(value);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.verb = argc > 1 ? argv[1] : "", .folds = 5, .entries = 0.8, .words = 0.3};
    struct ptl_error err = PTL_ERROR_INIT;
    bool only_files = false;
    static const struct {
        const char *name;
        int (*run)(const struct options *o, struct ptl_error *err);
    } verbs[] = {
        {"compile",  tool_compile },
        {"diagnose", tool_diagnose},
        {"train",    tool_cases   },
        {"predict",  tool_cases   },
        {"crossval", tool_cases   },
        {"compare",  tool_compare },
        {"matches",  tool_files   },
        {"speed",    tool_files   }
    };
    if (argc > 0 && argv[0] && !ptl_str_ends(argv[0], "portolan-kb"))
        tool_program = argv[0];
    o.files = argv;
    for (int i = 2; i < argc; i++) {
        if (only_files || strncmp(argv[i], "--", 2) != 0)
            o.files[o.n_files++] = argv[i];
        else if (!argv[i][2]) /* -- */
            only_files = true;
        else if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (strcmp(argv[i], "--rules-only") == 0)
            o.rules_only = true;
        else if (strcmp(argv[i], "--text-only") == 0)
            o.text_only = true;
        else if (strcmp(argv[i], "--parts") == 0)
            o.parts = true;
        else if (strcmp(argv[i], "--held-out") == 0)
            o.held_out = true;
        else if (i + 1 >= argc || !take_option(&o, argv[i], argv[i + 1]))
            return fprintf(stderr, "%s: %s: not known, or without its value\n%s", tool_program, argv[i],
                           usage),
                   2;
        else
            i++;
    }
    if (o.folds < 2)
        o.folds = 2;
    for (size_t i = 0; i < PTL_ARRAY_LEN(verbs); i++)
        if (strcmp(o.verb, verbs[i].name) == 0)
            return verbs[i].run(&o, &err) < 0 ? tool_die(err.text[0] ? err.text : "failed") : 0;
    fputs(usage, stderr);
    return 2;
}
