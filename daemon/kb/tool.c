/* tool.c - portolan-kb: the knowledge base without a daemon or a database. Compiles the files of
 * migrations/kb into one file, diagnoses logs with it, trains the text model from labelled cases, and tries
 * itself on them (tests/bench/diagnosis drives that). Main program: reads and writes files. */
#include "compiled.h"
#include "data.h"
#include "kb.h"
#include "kb-private.h"
#include "template.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <fcntl.h>
#include <limits.h>
#include <ctype.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

struct options {
    const char *verb, *dir, *kb, *out, *platform, *stage, *tool, *end, *house, *before;
    bool json, rules_only, text_only, parts, held_out;
    int folds, epochs, min_cases, prune;
    double decay, entries, words;
    char **files;
    int n_files;
    const char *also[8]; /* cases to learn from only */
    int n_also;
};

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
    "options: --kb FILE (compiled; default: as built in)  --dir DIR (files instead)  --rules-only  --epochs N  --decay X  --min-cases N  --prune N  --entries W  --words W\n"
    "         --also CASES.jsonl (cases to learn from only; up to 8 times)\n"
    "         --held-out (indicators that speak on one case only are silent there)  --parts (what the scores are made of)\n";

static const char *program = "portolan-kb"; /* the command that runs it says so in argv[0] */

static int die(const char *what)
{
    fprintf(stderr, "%s: %s\n", program, what);
    return 1;
}

/* ---- the knowledge, from wherever */
struct source {
    json_t *doc;
    const void *model, *scan; /* scan NULL: to be compiled */
    char *model_from;         /* in words */
    size_t model_len, scan_len;
    void *mapped, *owned; /* what model and scan point into */
    size_t mapped_len;
    char key[PTL_SHA256_HEX];
    struct ptl_kb_file *v;
    size_t n;
};

static int add_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct source *s = ctx;
    struct ptl_buf b = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    if (e->is_dir || (!ptl_str_ends(e->path, ".yml") && !ptl_str_ends(e->path, ".bin")))
        return 0;
    if (ptl_fs_read(e->full, 64 << 20, &b, &err) < 0)
        return die(err.text), -EIO;
    struct ptl_kb_file *v = realloc(s->v, (s->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    s->v = v;
    size_t len;
    char *text = ptl_buf_take(&b, &len);
    s->v[s->n++] = (struct ptl_kb_file){ptl_xstrdup(e->path), text ? text : ptl_xstrdup(""), len};
    return 0;
}

static void source_done(struct source *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free((char *)s->v[i].path);
        free((char *)s->v[i].text);
    }
    free(s->v);
    free(s->owned);
    free(s->model_from);
    if (s->mapped)
        munmap(s->mapped, s->mapped_len);
    json_decref(s->doc);
}

static int read_files(struct source *s, const struct ptl_kb_files *files, const char *where)
{
    PTL_JSON *problems = json_array();
    size_t i;
    json_t *v;
    int r = ptl_kb_data_read(files, problems, &s->doc);
    json_array_foreach(problems, i, v) fprintf(stderr, "left out: %s\n", json_string_value(v));
    const struct ptl_kb_file *m = ptl_kb_file_find(files, "model/text.bin");
    if (r == 0 && m && m->len) {
        s->model = m->text;
        s->model_len = m->len;
        s->model_from = ptl_xasprintf("%s/%s", where, m->path);
    }
    ptl_kb_files_key(files, s->key);
    return r;
}

/* PTL_ABSENT: made from other files, or by another program, than `key` says. */
static int read_compiled(struct source *s, const char *path, const char *key, struct ptl_error *err)
{
    struct ptl_kb_compiled c;
    struct stat st;
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > PTL_KB_COMPILED_MAX)
        return ptl_error_set(err, -EINVAL, "%s: not made by portolan kb compile", path);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    s->mapped = p;
    s->mapped_len = (size_t)st.st_size;
    int r = ptl_kb_compiled_read(p, s->mapped_len, path, &c, err);
    if (r == 0 && key && strcmp(key, c.key) != 0)
        r = PTL_ABSENT;
    if (r == 0)
        r = ptl_json_parse(c.doc, c.doc_len, path, &s->doc, err);
    if (r != 0)
        return r;
    s->model = c.model;
    s->model_len = c.model_len;
    s->model_from = ptl_xstrdup(path);
    s->scan = c.scan;
    s->scan_len = c.scan_len;
    memcpy(s->key, c.key, sizeof(s->key));
    return 0;
}

/* What is built in, compiled when the program was: beside it in the build tree, or where it was installed.
 * One that does not belong to this program, or cannot be read, is left alone. */
static bool read_shipped(struct source *s)
{
    static const char *const places[] = {"/kb.bin", "/../../share/portolan/kb.bin"};
    char exe[PATH_MAX], key[PTL_SHA256_HEX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return false;
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    ptl_kb_files_key(&ptl_kb_files_builtin, key);
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *path = ptl_xasprintf("%s%s", exe, places[i]);
        if (ptl_fs_exists(path) && read_compiled(s, path, key, NULL) == 0)
            return true;
        source_done(s);
        *s = (struct source){0};
    }
    return false;
}

/* Of files, too, only what differs from the shipped ones needs to be compiled. */
static void take_shipped_scan(struct source *s)
{
    struct source shipped = {0};
    if (!read_shipped(&shipped))
        return;
    s->scan = shipped.scan;
    s->scan_len = shipped.scan_len;
    s->mapped = shipped.mapped;
    s->mapped_len = shipped.mapped_len;
    shipped.mapped = NULL;
    source_done(&shipped);
}

static int source_open(const struct options *o, struct source *s, struct ptl_error *err)
{
    *s = (struct source){0};
    if (o->kb)
        return read_compiled(s, o->kb, NULL, err);
    if (!o->dir) {
        if (strcmp(o->verb, "compile") != 0 && read_shipped(s))
            return 0;
        if (read_files(s, &ptl_kb_files_builtin, "built in") < 0)
            return ptl_error_set(err, -EINVAL, "the knowledge built in is not well-formed");
        take_shipped_scan(s);
        return 0;
    }
    int r = ptl_fs_walk(o->dir, 10000, add_file, s, err);
    if (r == 0 && read_files(s, &(struct ptl_kb_files){s->v, s->n}, o->dir) < 0)
        r = ptl_error_set(err, -EINVAL, "%s is not well-formed", o->dir);
    if (r == 0 && json_array_size(json_object_get(s->doc, "nodes")) == 0)
        r = ptl_error_set(err, -EINVAL,
                          "%s: no taxonomy below it: expected a folder such as `portolan kb export` writes",
                          o->dir);
    if (r == 0)
        take_shipped_scan(s);
    return r;
}

static struct ptl_kb *compile(const struct options *o, const struct source *s, const void *model,
                              size_t model_len, struct ptl_error *err)
{
    struct ptl_kb *kb = NULL;
    bool with = model && !o->rules_only;
    const char *from = model == s->model ? s->model_from : o->before ? o->before : "the model just trained";
    if (ptl_kb_new_take(json_incref(s->doc), with ? model : NULL, with ? model_len : 0, from, s->scan,
                        s->scan_len, &kb, err) < 0)
        return NULL;
    if (o->text_only)
        kb->params.rules = 0;
    return kb;
}

/* ---- cases */
struct item {
    const char *file;
    bool only_learn, house;
    char fold_key[PTL_SHA256_HEX]; /* "": its id */
    json_t *j;
    char *text;
    json_t *facts;
};
struct items {
    struct item *v;
    size_t n, cap;
};

static void items_done(struct items *a)
{
    for (size_t i = 0; i < a->n; i++) {
        json_decref(a->v[i].j);
        json_decref(a->v[i].facts);
        free(a->v[i].text);
    }
    free(a->v);
}

static int add_item(struct items *a, const char *file, json_t *j)
{
    if (a->n == a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 256;
        struct item *v = realloc(a->v, cap * sizeof(*v));
        if (!v)
            return -ENOMEM;
        a->v = v;
        a->cap = cap;
    }
    const char *log = ptl_json_str(j, "log", NULL), *platform = ptl_json_str(j, "platform", NULL),
               *stage = ptl_json_str(j, "stage", NULL);
    char *text = log ? ptl_xstrdup(log)
                     : ptl_xasprintf("%s\n%s\n", ptl_json_str(j, "title", ""), ptl_json_str(j, "body", ""));
    json_t *facts = json_pack("{s:s?,s:s?,s:s?}", "platform", platform, "kind", stage, "tool",
                              ptl_json_str(j, "tool", NULL));
    a->v[a->n++] = (struct item){.file = file, .j = j, .text = text, .facts = facts};
    return facts ? 0 : -ENOMEM;
}

static int read_file_items(const char *path, bool only_learn, struct items *a, struct ptl_error *err)
{
    PTL_BUF b = PTL_BUF_INIT;
    int r = ptl_fs_read(path, 1 << 30, &b, err);
    if (r < 0)
        return r;
    for (const char *p = ptl_buf_str(&b); *p;) {
        size_t n = strcspn(p, "\n");
        json_t *j = NULL;
        if (n && (r = ptl_json_parse(p, n, path, &j, err)) < 0)
            return r;
        if (j && (r = add_item(a, path, j)) < 0)
            return ptl_error_set(err, r, "out of memory");
        if (j)
            a->v[a->n - 1].only_learn = only_learn;
        p += n + (p[n] == '\n');
    }
    return 0;
}

static int read_items(const struct options *o, struct items *a, struct ptl_error *err)
{
    int r = 0;
    for (int i = 0; r == 0 && i < o->n_files; i++)
        r = read_file_items(o->files[i], false, a, err);
    for (int i = 0; r == 0 && i < o->n_also; i++)
        r = read_file_items(o->also[i], true, a, err);
    return r;
}

/* What the entries say of each node in words is a case of it too: symptoms as one would type them, causes,
 * and what to do. */
static int add_entries(struct items *a, const json_t *doc, double weight)
{
    size_t i, k;
    const json_t *e, *v;
    static const char *const lists[] = {"symptoms", "causes"};
    json_array_foreach(json_object_get(doc, "entries"), i, e)
    {
        PTL_BUF b = PTL_BUF_INIT;
        const char *id = ptl_json_str(e, "id", "");
        PTL_FREE char *platform = strndup(id, strcspn(id, "/"));
        ptl_buf_printf(&b, "%s\n", ptl_json_str(e, "about", ""));
        for (size_t l = 0; l < PTL_ARRAY_LEN(lists); l++)
            json_array_foreach(json_object_get(e, lists[l]), k, v)
                ptl_buf_printf(&b, "%s\n", json_string_value(v));
        json_array_foreach(json_object_get(e, "remedies"), k, v)
            ptl_buf_printf(&b, "%s %s\n", ptl_json_str(v, "tool", ""), ptl_json_str(v, "text", ""));
        ptl_buf_printf(&b, "%s\n%s\n", ptl_json_str(e, "dl_developer", ""),
                       ptl_json_str(e, "platform_developer", ""));
        json_array_foreach(json_object_get(e, "symptoms"), k, v)
        {
            PTL_FREE char *one = ptl_xasprintf("entry-%s-%zu", id, k);
            json_t *c = json_pack("{s:s,s:s,s:O,s:s,s:f}", "id", one, "platform", platform, "log", v, "label",
                                  id, "weight", weight * 0.4);
            if (!c || add_item(a, "entries", c) < 0)
                return -ENOMEM;
        }
        PTL_FREE char *name = ptl_xasprintf("entry-%s", id);
        json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:f}", "id", name, "platform", platform, "log",
                              ptl_buf_str(&b), "label", id, "weight", weight);
        if (!j || add_item(a, "entries", j) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* The words of a pattern: what is left when its syntax is taken out. Caller frees. */
static char *pattern_words(const char *p)
{
    struct ptl_buf b = PTL_BUF_INIT;
    for (; *p; p++) {
        if (*p == '\\' && p[1]) {
            p++;
            ptl_buf_putc(&b, ispunct((unsigned char)*p) ? *p : ' ');
        } else if (*p == '[') {
            p += strcspn(p, "]");
            ptl_buf_putc(&b, ' ');
            if (!*p)
                break;
        } else if (*p == '(' && p[1] == '?') {
            p += p[2] == '<' ? strcspn(p, ">") : 2;
            ptl_buf_putc(&b, ' ');
        } else if (*p == '{') {
            p += strcspn(p, "}");
        } else if (strchr("()|", *p)) {
            ptl_buf_putc(&b, '\n');
        } else if (!strchr(".?*+^$", *p)) {
            ptl_buf_putc(&b, *p);
        } else if (*p == '.') {
            ptl_buf_putc(&b, ' ');
        }
    }
    char *text = ptl_buf_take(&b, NULL);
    return text ? text : ptl_xstrdup("");
}

/* What an indicator looks for and says, as a case of the node it speaks for most on each platform. */
static int add_indicators(struct items *a, const json_t *doc, double weight)
{
    size_t i;
    const json_t *in;
    json_array_foreach(json_object_get(doc, "indicators"), i, in)
    {
        const char *id = ptl_json_str(in, "id", ""), *situation, *node;
        PTL_FREE char *name = ptl_xstrdup(id), *words = pattern_words(ptl_json_str(in, "pattern", ""));
        json_t *map, *w;
        *strchr(name, '/') = '-';
        json_object_foreach(json_object_get(in, "weights"), situation, map)
        {
            const char *best = NULL;
            double most = 0.3;
            json_object_foreach(map, node, w) if (json_number_value(w) > most)
            {
                most = json_number_value(w);
                best = node;
            }
            if (!best)
                continue;
            PTL_FREE char *case_id = ptl_xasprintf("fixture-%s-yes-words-%s", name, situation),
                          *text = ptl_xasprintf("%s\n%s", words, ptl_json_str(in, "summary", ""));
            PTL_FREE char *platform = strndup(best, strcspn(best, "/"));
            json_t *c = json_pack("{s:s,s:s,s:s,s:s,s:f}", "id", case_id, "platform", platform, "log", text,
                                  "label", best, "weight", weight * most);
            if (!c || add_item(a, "indicators", c) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

/* Features of an item by the marks and indicators of a knowledge base. */
static int item_features(const struct ptl_kb *kb, const struct item *it, struct ptl_kb_features *f,
                         struct ptl_error *err)
{
    struct scan s;
    struct situation at;
    kb_situation(it->facts, &at);
    int r = kb_scan_init(kb, &s);
    if (r == 0)
        r = ptl_kb_text_add(&s.text, 0, it->text, strlen(it->text));
    if (r == 0)
        r = kb_scan(kb, &s, err);
    if (r == 0)
        r = kb_features(&s, &at, f);
    kb_scan_done(kb, &s);
    return r;
}

/* Which part of the cases an id belongs to: the same id in several files is one case seen several times. */
static int fold_of(const char *id, int folds)
{
    char hex[PTL_SHA256_HEX];
    ptl_sha256_of(id, strlen(id), hex);
    return (int)(strtoul((char[]){hex[0], hex[1], hex[2], hex[3], hex[4], hex[5], 0}, NULL, 16) %
                 (unsigned)folds);
}

static int item_fold(const struct item *it, int folds)
{
    return fold_of(it->fold_key[0] ? it->fold_key : ptl_json_str(it->j, "id", ""), folds);
}

static int make_cases(const struct ptl_kb *kb, const struct items *a, struct ptl_kb_case **ret,
                      struct ptl_error *err)
{
    struct ptl_kb_case *c = calloc(a->n + 1, sizeof(*c));
    int r = c ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < a->n; i++) {
        const json_t *alt = json_object_get(a->v[i].j, "alternatives");
        c[i].label = ptl_json_str(a->v[i].j, "label", "");
        c[i].weight = ptl_json_num(a->v[i].j, "weight", 1);
        for (size_t k = 0; k < 4 && k < json_array_size(alt); k++)
            c[i].alternatives[k] = json_string_value(json_array_get(alt, k));
        r = item_features(kb, &a->v[i], &c[i].f, err);
    }
    *ret = c;
    return r;
}

static void cases_done(struct ptl_kb_case *c, size_t n)
{
    for (size_t i = 0; c && i < n; i++)
        ptl_kb_features_done(&c[i].f);
    free(c);
}

/* An indicator that speaks on one case only may have been written for it: it is silenced there, and its
 * fixtures are not trained on when that case is tried. So the estimate is of logs that nobody has looked at;
 * a little too low, since a good indicator may be alone too. */
static int hold_out(const struct ptl_kb *kb, struct items *a, json_t *own, struct ptl_error *err)
{
    PTL_JSON *speaks_on = json_object(); /* indicator -> id of its only case, or null */
    const char *ind;
    json_t *v;
    for (size_t i = 0; i < a->n; i++) {
        PTL_JSON *m = NULL;
        const char *id = ptl_json_str(a->v[i].j, "id", "");
        if (ptl_str_starts(id, "fixture-") || ptl_str_starts(id, "entry-"))
            continue;
        int r = ptl_kb_matches(kb, a->v[i].facts, a->v[i].text, strlen(a->v[i].text), &m, err);
        if (r < 0)
            return r;
        json_object_foreach(m, ind, v)
        {
            const json_t *other = json_object_get(speaks_on, ind);
            if (!other)
                json_object_set_new(speaks_on, ind, json_string(id));
            else if (!ptl_str_eq(json_string_value(other), id))
                json_object_set_new(speaks_on, ind, json_null());
        }
    }
    json_object_foreach(speaks_on, ind, v)
    {
        if (json_is_string(v)) {
            json_t *list = json_object_get(own, json_string_value(v));
            if (!list)
                json_object_set_new(own, json_string_value(v), list = json_array());
            json_array_append_new(list, json_string(ind));
        }
    }
    for (size_t i = 0; i < a->n; i++) {
        json_t *list = json_object_get(own, ptl_json_str(a->v[i].j, "id", ""));
        if (list)
            json_object_set(a->v[i].facts, "silent", list);
    }
    return 0;
}

/* Is this training case a fixture of an indicator that belongs to a case of the fold? */
static bool is_own_fixture(const json_t *own, const char *id, int fold, int folds)
{
    const char *owner;
    json_t *list, *v;
    size_t i;
    if (!ptl_str_starts(id, "fixture-"))
        return false;
    json_object_foreach((json_t *)own, owner, list)
    {
        if (fold_of(owner, folds) != fold)
            continue;
        json_array_foreach(list, i, v)
        {
            PTL_FREE char *name = ptl_xstrdup(json_string_value(v));
            char *slash = strchr(name, '/');
            if (slash)
                *slash = '-';
            size_t n = strlen(name);
            if (strncmp(id + 8, name, n) == 0 && id[8 + n] == '-' &&
                (ptl_str_starts(id + 9 + n, "yes-") || ptl_str_starts(id + 9 + n, "no-")))
                return true;
        }
    }
    return false;
}

/* From all cases but those of a fold (-1: none is left out) and, if so wanted, those of the house. */
static int train_without(const struct options *o, const struct items *a, const struct ptl_kb_case *all,
                         const json_t *own, int fold, bool with_house, void **model, size_t *len,
                         struct ptl_error *err)
{
    struct ptl_kb_case *c = calloc(a->n + 1, sizeof(*c));
    size_t n = 0;
    if (!c)
        return -ENOMEM;
    for (size_t i = 0; i < a->n; i++)
        if ((with_house || !a->v[i].house) &&
            (fold < 0 || ptl_str_starts(ptl_json_str(a->v[i].j, "id", ""), "entry-") ||
             (item_fold(&a->v[i], o->folds) != fold &&
              !is_own_fixture(own, ptl_json_str(a->v[i].j, "id", ""), fold, o->folds))))
            c[n++] = all[i];
    int r = ptl_kb_train(
        c, n,
        &(struct ptl_kb_train_options){
            .epochs = o->epochs, .decay = o->decay, .min_cases = o->min_cases, .prune = o->prune},
        model, len, err);
    free(c);
    return r;
}

/* What each candidate's score is made of, for fitting the weighing's numbers. */
static int print_parts(const struct ptl_kb *kb, const struct item *it, struct ptl_error *err)
{
    struct scan s;
    struct weighing w;
    struct ptl_kb_log log = {.text = it->text, .len = strlen(it->text)};
    int r = kb_look(kb, it->facts, &log, 1, &s, &w, err);
    PTL_JSON *list = json_array();
    for (int i = 0; r == 0 && i < w.n_cand; i++) {
        const struct candidate *c = &w.cand[i];
        json_array_append_new(list,
                              json_pack("[s,f,f,f]", kb->nodes[c->node].id, c->rules, c->text, c->prior));
    }
    PTL_JSON *out = json_pack("{s:s,s:s,s:b,s:b,s:O}", "file", it->file, "id", ptl_json_str(it->j, "id", ""),
                              "asked", w.asked, "vague", w.asked || w.at.stage == IN_UNKNOWN, "parts", list);
    PTL_FREE char *line = ptl_json_text(out);
    if (r == 0)
        puts(line);
    kb_weighing_done(&w);
    kb_scan_done(kb, &s);
    return r;
}

static int print_prediction(const struct ptl_kb *kb, const struct item *it, struct ptl_error *err)
{
    PTL_JSON *d = NULL;
    size_t i;
    const json_t *v;
    struct ptl_kb_log log = {.text = it->text, .len = strlen(it->text)};
    int r = ptl_kb_diagnose(kb, it->facts, &log, 1, &d, err);
    if (r < 0)
        return r;
    PTL_JSON *out =
        json_pack("{s:s,s:s,s:[],s:[],s:O,s:O,s:O}", "file", it->file, "id", ptl_json_str(it->j, "id", ""),
                  "ranked", "p", "state", json_object_get(d, "state"), "transient",
                  json_object_get(d, "transient"), "verdict", json_object_get(d, "verdict"));
    json_t *by = json_array();
    json_array_foreach(json_object_get(d, "ranked"), i, v)
    {
        json_array_append(json_object_get(out, "ranked"), json_object_get(v, "id"));
        json_array_append(json_object_get(out, "p"), json_object_get(v, "p"));
    }
    json_array_foreach(json_object_get(json_array_get(json_object_get(d, "challenges"), 0), "indicators"), i,
                       v) json_array_append(by, (json_t *)v);
    json_object_set_new(out, "indicators", by);
    PTL_FREE char *line = ptl_json_text(out);
    puts(line);
    return 0;
}

/* ---- verbs */
static int do_compile(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(source_done) struct source s;
    int r = source_open(o, &s, err);
    if (r < 0 || !o->out)
        return r < 0 ? r : ptl_error_set(err, -EINVAL, "--out FILE is missing");
    PTL_CLEANUP(ptl_kb_freep)
    struct ptl_kb *kb = compile(o, &s, s.model, s.model_len, err); /* proves that it can be used */
    PTL_BUF b = PTL_BUF_MAX(PTL_KB_COMPILED_MAX);
    if (!kb)
        return -EINVAL;
    if ((r = ptl_kb_compiled_write(kb, s.key, s.model, s.model_len, &b, err)) < 0)
        return r;
    return ptl_fs_write_atomic(o->out, ptl_buf_str(&b), b.len, 0644, err);
}

/* ---- one log */
enum { LOG_HEAD = 30 << 20, LOG_TAIL = 30 << 20 }; /* together less than a text may hold (text.h) */

/* A log of any size: its beginning and its end, when it is larger than both. *ret_cut: bytes left out
 * between. */
static int read_log(const char *path, struct ptl_buf *ret, uint64_t *ret_cut, struct ptl_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    PTL_CLOSE int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    PTL_FREE char *ring = NULL;
    static char piece[1 << 16];
    size_t at = 0;
    uint64_t behind = 0; /* bytes behind the head */
    ssize_t n;
    if (is_stdin)
        path = "standard input";
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    while ((n = read(fd, piece, sizeof(piece))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
        size_t got = (size_t)n, head = ret->len < LOG_HEAD ? LOG_HEAD - ret->len : 0;
        if (head > got)
            head = got;
        ptl_buf_add(ret, piece, head);
        behind += got - head;
        for (const char *p = piece + head; p < piece + got;) {
            if (!ring && !(ring = malloc(LOG_TAIL)))
                return ptl_error_set(err, -ENOMEM, "%s: out of memory", path);
            size_t rest = (size_t)(piece + got - p), room = LOG_TAIL - at, take = rest < room ? rest : room;
            memcpy(ring + at, p, take);
            at = (at + take) % LOG_TAIL;
            p += take;
        }
    }
    *ret_cut = behind > LOG_TAIL ? behind - LOG_TAIL : 0;
    if (*ret_cut) {
        ptl_buf_puts(ret, "\n");
        ptl_buf_add(ret, ring + at, LOG_TAIL - at);
        ptl_buf_add(ret, ring, at);
    } else if (behind) {
        ptl_buf_add(ret, ring, (size_t)behind);
    }
    return ret->failed ? ptl_error_set(err, ret->failed, "%s: out of memory", path) : 0;
}

/* What people call platforms and stages. NULL: not known. */
static const char *word_of(const char *said, const char *const words[][2])
{
    size_t n = said ? strcspn(said, "/@ ") : 0;
    for (; n && (*words)[0]; words++)
        if (strlen((*words)[0]) == n && strncasecmp((*words)[0], said, n) == 0)
            return (*words)[1];
    return NULL;
}

static const char *platform_of(const char *said)
{
    static const char *const words[][2] = {
        {"server",       "server" },
        {"cloud",        "server" },
        {"server/cloud", "server" },
        {"mobile",       "mobile" },
        {"android",      "mobile" },
        {"ios",          "mobile" },
        {"phone",        "mobile" },
        {"edge",         "mobile" },
        {"browser",      "browser"},
        {"web",          "browser"},
        {"javascript",   "browser"},
        {NULL,           NULL     },
    };
    const char *found = word_of(said, words);
    if (said && *said && !found)
        fprintf(stderr, "%s: --platform %s is none of server, mobile, browser: taken as unknown\n", program,
                said);
    return found;
}

static const char *stage_of(const char *said)
{
    static const char *const words[][2] = {
        {"export",     "export" },
        {"convert",    "convert"},
        {"conversion", "convert"},
        {"verify",     "verify" },
        {"serve",      "verify" },
        {"deploy",     "verify" },
        {"run",        "verify" },
        {NULL,         NULL     },
    };
    const char *found = word_of(said, words);
    if (said && *said && !found)
        fprintf(stderr, "%s: --stage %s is none of export, convert, verify: taken as unknown\n", program,
                said);
    return found;
}

static int do_diagnose(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(source_done) struct source s;
    PTL_BUF log = PTL_BUF_INIT;
    PTL_JSON *d = NULL;
    uint64_t cut = 0;
    int r = source_open(o, &s, err);
    if (r == 0 && o->n_files != 1)
        r = ptl_error_set(err, -EINVAL, "diagnose: one FILE, or -");
    if (r == 0)
        r = read_log(o->files[0], &log, &cut, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = r == 0 ? compile(o, &s, s.model, s.model_len, err) : NULL;
    if (!kb)
        return r < 0 ? r : -EINVAL;
    PTL_FREE char *tool = o->tool ? ptl_json_text_utf8(o->tool, strlen(o->tool)) : NULL;
    PTL_FREE char *end = o->end ? ptl_json_text_utf8(o->end, strlen(o->end)) : NULL;
    PTL_JSON *facts = json_pack("{s:s?,s:s?,s:s?,s:s?}", "platform", platform_of(o->platform), "kind",
                                stage_of(o->stage), "tool", tool, "end_reason", end);
    struct ptl_kb_log one = {.text = ptl_buf_str(&log), .len = log.len};
    if ((r = ptl_kb_diagnose(kb, facts, &one, 1, &d, err)) < 0)
        return r;
    if (cut)
        json_array_append_new(
            json_object_get(d, "cuts"),
            json_sprintf("%llu bytes in the middle of the log were not looked at; line numbers behind "
                         "them do not count them",
                         (unsigned long long)cut));
    if (o->json) {
        /* Programs that read it want a plain answer: what nobody knows is no promise that a retry helps. */
        json_object_set_new(d, "transient_known",
                            json_boolean(!json_is_null(json_object_get(d, "transient"))));
        json_object_set_new(d, "transient", json_boolean(ptl_json_flag(d, "transient", false)));
        PTL_FREE char *text = json_dumps(d, JSON_INDENT(1) | JSON_ENSURE_ASCII);
        puts(text);
        return 0;
    }
    size_t i;
    const json_t *v;
    printf("%s: %s\n", ptl_json_str(d, "verdict", ""), ptl_json_str(d, "summary", ""));
    json_array_foreach(json_object_get(d, "challenges"), i, v)
        printf("  %5.1f %%  %s  (%s)\n", 100 * ptl_json_num(v, "probability", 0), ptl_json_str(v, "id", ""),
               ptl_json_str(v, "path", ""));
    json_array_foreach(json_object_get(d, "evidence"), i, v)
        printf("  line %lld: %s\n      %s\n", (long long)ptl_json_i64(v, "line", 0),
               ptl_json_str(v, "text", ""), ptl_json_str(v, "why", ""));
    return 0;
}

/* Made from the knowledge itself, so nothing to try it on. */
static bool is_made(const struct item *it)
{
    return strcmp(it->file, "entries") == 0 || strcmp(it->file, "indicators") == 0;
}

static int do_cases(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(source_done) struct source s;
    PTL_CLEANUP(items_done) struct items a = {0};
    struct ptl_kb_case *cases = NULL;
    void *model = NULL;
    size_t len = 0;
    int r = source_open(o, &s, err);
    if (r == 0)
        r = read_items(o, &a, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *bare = r == 0 ? compile(o, &s, NULL, 0, err) : NULL;
    if (!bare)
        return r < 0 ? r : -EINVAL;
    size_t given = a.n;
    bool train = strcmp(o->verb, "train") == 0, crossval = strcmp(o->verb, "crossval") == 0;
    if ((train || crossval) && o->words > 0 && (r = add_indicators(&a, s.doc, o->words)) < 0)
        return ptl_error_set(err, r, "out of memory");
    if ((train || crossval) && o->entries > 0 && (r = add_entries(&a, s.doc, o->entries)) < 0)
        return ptl_error_set(err, r, "out of memory");
    PTL_JSON *own = json_object();
    if (o->held_out && (r = hold_out(bare, &a, own, err)) < 0)
        return r;
    if ((train || crossval) && (r = make_cases(bare, &a, &cases, err)) < 0)
        goto out;
    if (train) {
        r = train_without(o, &a, cases, own, -1, true, &model, &len, err);
        if (r == 0)
            r = o->out ? ptl_fs_write_atomic(o->out, model, len, 0644, err)
                       : ptl_error_set(err, -EINVAL, "--out FILE is missing");
        if (r == 0)
            fprintf(stderr, "%zu cases and %zu made of the knowledge itself, %zu bytes\n", given, a.n - given,
                    len);
    }
    for (int fold = 0; r == 0 && crossval && fold < o->folds; fold++) {
        struct ptl_kb *kb = NULL;
        if (!o->rules_only)
            r = train_without(o, &a, cases, own, fold, true, &model, &len, err);
        if (r == 0 && !(kb = compile(o, &s, model, len, err)))
            r = -EINVAL;
        for (size_t i = 0; r == 0 && i < a.n; i++)
            if (!a.v[i].only_learn && !is_made(&a.v[i]) && item_fold(&a.v[i], o->folds) == fold)
                r = o->parts ? print_parts(kb, &a.v[i], err) : print_prediction(kb, &a.v[i], err);
        ptl_kb_free(kb);
        free(model);
        model = NULL;
    }
    if (r == 0 && strcmp(o->verb, "predict") == 0) {
        struct ptl_kb *kb = compile(o, &s, s.model, s.model_len, err);
        for (size_t i = 0; kb && r == 0 && i < a.n; i++)
            r = o->parts ? print_parts(kb, &a.v[i], err) : print_prediction(kb, &a.v[i], err);
        r = kb ? r : -EINVAL;
        ptl_kb_free(kb);
    }
out:
    cases_done(cases, a.n);
    free(model);
    return r;
}

/* ---- a house's own cases: what training with them changes */
enum { BY_NOW, BY_WITHOUT, BY_WITH, WAYS };
static const char *const way_names[WAYS] = {"now", "without", "with"};
/* Many failures of one text, said the same of, are one case seen many times: they fall into one fold, and
 * together weigh no more than so many cases. */
enum { SAME_TEXT_MAX = 3 };

static const char *kind_of(const struct item *it)
{
    return !it->house ? "shipped" : ptl_json_str(it->j, "kind", "known");
}

/* The text with its numbers, names and places masked, so that two runs of one failure are the same. */
static void put_fold_key(struct item *it)
{
    struct ptl_sha256 *sha = ptl_sha256_new();
    for (const char *p = it->text; *p;) {
        size_t n = strcspn(p, "\n");
        PTL_FREE char *masked = ptl_kb_template(p, n);
        if (masked)
            ptl_sha256_update(sha, masked, strlen(masked) + 1);
        p += n + (p[n] == '\n');
    }
    ptl_sha256_hex(sha, it->fold_key);
    ptl_sha256_free(sha);
}

/* House cases of nodes that are no more are taken out: *ret_unknown. The others get their fold and weight;
 * ret_kinds: kind -> {"cases","texts"}. */
static int settle_house(const struct ptl_kb *kb, struct items *a, json_t *ret_kinds, size_t *ret_unknown)
{
    PTL_JSON *times = json_object();
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++) {
        struct item it = a->v[i];
        if (it.house && kb_node(kb, ptl_json_str(it.j, "label", "")) < 0) {
            json_decref(it.j);
            json_decref(it.facts);
            free(it.text);
            (*ret_unknown)++;
            continue;
        }
        a->v[n++] = it;
    }
    a->n = n;
    for (size_t i = 0; i < a->n; i++) {
        struct item *it = &a->v[i];
        json_t *kind = json_object_get(ret_kinds, kind_of(it));
        if (!kind)
            json_object_set_new(ret_kinds, kind_of(it),
                                kind = json_pack("{s:i,s:i}", "cases", 0, "texts", 0));
        int64_t before = 0;
        if (it->house) {
            put_fold_key(it);
            before = ptl_json_i64(times, it->fold_key, 0);
            json_object_set_new(times, it->fold_key, json_integer(before + 1));
        }
        json_object_set_new(kind, "cases", json_integer(ptl_json_i64(kind, "cases", 0) + 1));
        json_object_set_new(kind, "texts", json_integer(ptl_json_i64(kind, "texts", 0) + (before == 0)));
    }
    for (size_t i = 0; i < a->n; i++) {
        int64_t same = a->v[i].house ? ptl_json_i64(times, a->v[i].fold_key, 1) : 1;
        if (same > SAME_TEXT_MAX)
            json_object_set_new(a->v[i].j, "weight", json_real((double)SAME_TEXT_MAX / (double)same));
    }
    return times && ret_kinds ? 0 : -ENOMEM;
}

/* Is `id` what this case wants to hear? Below an inner node everything is. */
static bool is_accepted(const json_t *c, const char *id)
{
    const char *label = ptl_json_str(c, "label", "");
    size_t i, n = strlen(label);
    const json_t *v;
    if (strncmp(id, label, n) == 0 && (id[n] == 0 || id[n] == '/'))
        return true;
    json_array_foreach(json_object_get(c, "alternatives"), i,
                       v) if (ptl_str_eq(json_string_value(v), id)) return true;
    return false;
}

/* *ret: where the wanted answer stands, from 1; 0: nowhere. */
static int place_of(const struct ptl_kb *kb, const struct item *it, unsigned char *ret, struct ptl_error *err)
{
    PTL_JSON *d = NULL;
    struct ptl_kb_log log = {.text = it->text, .len = strlen(it->text)};
    size_t i;
    const json_t *v;
    int r = ptl_kb_diagnose(kb, it->facts, &log, 1, &d, err);
    *ret = 0;
    json_array_foreach(json_object_get(d, "ranked"), i,
                       v) if (!*ret && is_accepted(it->j, ptl_json_str(v, "id", ""))) *ret =
        (unsigned char)(i + 1);
    return r;
}

/* Judges the items of a fold (-1: all) with a model. `places`: WAYS an item. */
static int judge(const struct options *o, const struct source *s, const struct items *a, const void *model,
                 size_t len, int fold, int way, unsigned char *places, struct ptl_error *err)
{
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = compile(o, s, model, len, err);
    int r = kb ? 0 : -EINVAL;
    for (size_t i = 0; r == 0 && i < a->n; i++)
        if (!is_made(&a->v[i]) && (fold < 0 || item_fold(&a->v[i], o->folds) == fold))
            r = place_of(kb, &a->v[i], &places[i * WAYS + (size_t)way], err);
    return r;
}

/* What was judged, by kind: into each of `kinds` "now", "without", "with": {"first","three"} (how many), and
 * "gained", "lost": cases whose first answer is right with the house's cases and is not now, and the other
 * way round. */
static void sum_up(const struct items *a, const unsigned char *places, json_t *kinds)
{
    const char *name;
    json_t *kind;
    json_object_foreach(kinds, name, kind)
    {
        int first[WAYS] = {0}, three[WAYS] = {0}, gained = 0, lost = 0;
        for (size_t i = 0; i < a->n; i++) {
            const unsigned char *at = &places[i * WAYS];
            if (is_made(&a->v[i]) || strcmp(kind_of(&a->v[i]), name) != 0)
                continue;
            for (int w = 0; w < WAYS; w++) {
                first[w] += at[w] == 1;
                three[w] += at[w] >= 1 && at[w] <= 3;
            }
            gained += at[BY_WITH] == 1 && at[BY_NOW] != 1;
            lost += at[BY_WITH] != 1 && at[BY_NOW] == 1;
        }
        for (int w = 0; w < WAYS; w++)
            json_object_set_new(kind, way_names[w],
                                json_pack("{s:i,s:i}", "first", first[w], "three", three[w]));
        json_object_set_new(kind, "gained", json_integer(gained));
        json_object_set_new(kind, "lost", json_integer(lost));
    }
}

/* One pass of the cross-validation: with the house's cases, and without. */
static int judge_fold(const struct options *o, const struct source *s, const struct items *a,
                      const struct ptl_kb_case *cases, int fold, unsigned char *places, struct ptl_error *err)
{
    PTL_JSON *own = json_object();
    int r = 0;
    for (int way = BY_WITHOUT; r == 0 && way <= BY_WITH; way++) {
        PTL_FREE void *model = NULL;
        size_t len = 0;
        r = train_without(o, a, cases, own, fold, way == BY_WITH, &model, &len, err);
        if (r == 0)
            r = judge(o, s, a, model, len, fold, way, places, err);
    }
    return r;
}

static int read_house(const struct options *o, struct items *a, struct ptl_buf *before, struct ptl_error *err)
{
    int r = read_items(o, a, err);
    size_t n = a->n;
    if (r == 0)
        r = read_file_items(o->house, false, a, err);
    for (; r == 0 && n < a->n; n++)
        a->v[n].house = true;
    if (r == 0 && o->before)
        r = ptl_fs_read(o->before, PTL_KB_COMPILED_MAX, before, err);
    return r;
}

static int do_compare(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(source_done) struct source s;
    PTL_CLEANUP(items_done) struct items a = {0};
    PTL_BUF before = PTL_BUF_INIT;
    PTL_JSON *kinds = json_object();
    PTL_JSON *own = json_object();
    PTL_FREE void *model = NULL;
    PTL_FREE unsigned char *places = NULL;
    struct ptl_kb_case *cases = NULL;
    size_t len = 0, unknown = 0, given;
    int r = source_open(o, &s, err);
    if (r == 0 && (!o->house || !o->out))
        r = ptl_error_set(err, -EINVAL, "compare: --house FILE and --out FILE");
    if (r == 0)
        r = read_house(o, &a, &before, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *bare = r == 0 ? compile(o, &s, NULL, 0, err) : NULL;
    if (!bare)
        return r < 0 ? r : -EINVAL;
    /* The same indicators are used with a dozen models: their scan is compiled once. */
    if (!s.scan && (r = ptl_kb_scan_data(bare, &s.owned, &s.scan_len, err)) < 0)
        return r;
    if (!s.scan)
        s.scan = s.owned;
    if ((r = settle_house(bare, &a, kinds, &unknown)) < 0)
        return r;
    given = a.n;
    if ((r = add_indicators(&a, s.doc, o->words)) < 0 || (r = add_entries(&a, s.doc, o->entries)) < 0)
        return ptl_error_set(err, r, "out of memory");
    places = calloc(a.n + 1, WAYS);
    if (!places)
        return ptl_error_set(err, -ENOMEM, "out of memory");
    r = make_cases(bare, &a, &cases, err);
    if (r == 0)
        r = train_without(o, &a, cases, own, -1, true, &model, &len, err);
    if (r == 0)
        r = judge(o, &s, &a, o->before ? ptl_buf_str(&before) : s.model, o->before ? before.len : s.model_len,
                  -1, BY_NOW, places, err);
    for (int fold = 0; r == 0 && fold < o->folds; fold++)
        r = judge_fold(o, &s, &a, cases, fold, places, err);
    cases_done(cases, a.n);
    if (r == 0)
        r = ptl_fs_write_atomic(o->out, model, len, 0644, err);
    if (r < 0)
        return r;
    sum_up(&a, places, kinds);
    PTL_JSON *out =
        json_pack("{s:O,s:I,s:I,s:i,s:I,s:I,s:b}", "kinds", kinds, "cases", (json_int_t)given, "made",
                  (json_int_t)(a.n - given), "folds", o->folds, "unknown", (json_int_t)unknown, "bytes",
                  (json_int_t)len, "own_in_force", o->before != NULL);
    PTL_FREE char *text = ptl_json_text(out);
    puts(text);
    return 0;
}

/* What this process used of a processor: the figure that others on the machine do not change much. */
static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* {"heard": {id: {"line","weight"}}, "silent": {id: [lines]}}: silent for the situation's scope and weights,
 * or by their role. */
static int print_matches(const struct ptl_kb *kb, const json_t *facts, const char *file,
                         const struct ptl_buf *log, struct ptl_error *err)
{
    PTL_JSON *all = NULL;
    PTL_JSON *heard = NULL;
    const char *id;
    json_t *v;
    int r = ptl_kb_matches(kb, facts, ptl_buf_str(log), log->len, &all, err);
    if (r == 0)
        r = ptl_kb_heard(kb, facts, ptl_buf_str(log), log->len, &heard, err);
    if (r < 0)
        return r;
    json_object_foreach(heard, id, v) json_object_del(all, id);
    PTL_JSON *both = json_pack("{s:O,s:O}", "heard", heard, "silent", all);
    PTL_FREE char *text = ptl_json_text(both);
    printf("%s\t%s\n", file, text);
    return 0;
}

static int do_files(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(source_done) struct source s;
    int r = source_open(o, &s, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = r == 0 ? compile(o, &s, s.model, s.model_len, err) : NULL;
    if (!kb)
        return r < 0 ? r : -EINVAL;
    for (int i = 0; r == 0 && i < o->n_files; i++) {
        PTL_BUF log = PTL_BUF_INIT;
        PTL_JSON *out = NULL;
        PTL_JSON *facts =
            json_pack("{s:s?,s:s?,s:s?}", "platform", o->platform, "kind", o->stage, "tool", o->tool);
        if ((r = ptl_fs_read(o->files[i], (size_t)1 << 30, &log, err)) < 0)
            return r;
        int64_t start = ptl_mono_us(), cpu_start = cpu_us();
        if (strcmp(o->verb, "matches") == 0) {
            if ((r = print_matches(kb, facts, o->files[i], &log, err)) < 0)
                return r;
            continue;
        }
        if ((r = ptl_kb_matches(kb, facts, ptl_buf_str(&log), log.len, &out, err)) < 0)
            return r;
        int64_t scanned = ptl_mono_us(), cpu_scanned = cpu_us();
        struct ptl_kb_log one = {.text = ptl_buf_str(&log), .len = log.len};
        PTL_JSON *d = NULL;
        if ((r = ptl_kb_diagnose(kb, facts, &one, 1, &d, err)) < 0)
            return r;
        int64_t end = ptl_mono_us(), cpu_end = cpu_us();
        printf("{\"file\":\"%s\",\"bytes\":%zu,\"indicators\":%zu,\"scan_us\":%lld,\"diagnosis_us\":%lld,"
               "\"scan_cpu_us\":%lld,\"diagnosis_cpu_us\":%lld}\n",
               o->files[i], log.len, ptl_kb_count(kb), (long long)(scanned - start),
               (long long)(end - scanned), (long long)(cpu_scanned - cpu_start),
               (long long)(cpu_end - cpu_scanned));
    }
    return r;
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
    else if (strcmp(name, "--epochs") == 0)
        o->epochs = atoi(value);
    else if (strcmp(name, "--min-cases") == 0)
        o->min_cases = atoi(value);
    else if (strcmp(name, "--prune") == 0)
        o->prune = atoi(value);
    else if (strcmp(name, "--words") == 0)
        o->words = atof(value);
    else if (strcmp(name, "--entries") == 0)
        o->entries = atof(value);
    else if (strcmp(name, "--decay") == 0)
        o->decay = atof(value);
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
        {"compile",  do_compile },
        {"diagnose", do_diagnose},
        {"train",    do_cases   },
        {"predict",  do_cases   },
        {"crossval", do_cases   },
        {"compare",  do_compare },
        {"matches",  do_files   },
        {"speed",    do_files   }
    };
    if (argc > 0 && argv[0] && !ptl_str_ends(argv[0], "portolan-kb"))
        program = argv[0];
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
            return fprintf(stderr, "%s: %s: not known, or without its value\n%s", program, argv[i], usage), 2;
        else
            i++;
    }
    if (o.folds < 2)
        o.folds = 2;
    for (size_t i = 0; i < PTL_ARRAY_LEN(verbs); i++)
        if (strcmp(o.verb, verbs[i].name) == 0)
            return verbs[i].run(&o, &err) < 0 ? die(err.text[0] ? err.text : "failed") : 0;
    fputs(usage, stderr);
    return 2;
}
