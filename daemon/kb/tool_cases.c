/* tool_cases.c - labelled cases, as tests/bench/diagnosis and a house's own have them: read, made of the
 * knowledge itself, trained from, and tried on, each by a text model that has not seen its id if so wanted.
 */
#include "tool-private.h"
#include <portolan/fs.h>
#include <ctype.h>
#include <stdio.h>

void tool_items_done(struct items *a)
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

int tool_read_file_items(const char *path, bool only_learn, struct items *a, struct ptl_error *err)
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

int tool_read_items(const struct options *o, struct items *a, struct ptl_error *err)
{
    int r = 0;
    for (int i = 0; r == 0 && i < o->n_files; i++)
        r = tool_read_file_items(o->files[i], false, a, err);
    for (int i = 0; r == 0 && i < o->n_also; i++)
        r = tool_read_file_items(o->also[i], true, a, err);
    return r;
}

/* What the entries say of each node in words is a case of it too: symptoms as one would type them, causes,
 * and what to do. */
int tool_add_entries(struct items *a, const json_t *doc, double weight)
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
int tool_add_indicators(struct items *a, const json_t *doc, double weight)
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

int tool_item_fold(const struct item *it, int folds)
{
    return fold_of(it->fold_key[0] ? it->fold_key : ptl_json_str(it->j, "id", ""), folds);
}

int tool_make_cases(const struct ptl_kb *kb, const struct items *a, struct ptl_kb_case **ret,
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

void tool_cases_done(struct ptl_kb_case *c, size_t n)
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
int tool_train_without(const struct options *o, const struct items *a, const struct ptl_kb_case *all,
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
             (tool_item_fold(&a->v[i], o->folds) != fold &&
              !is_own_fixture(own, ptl_json_str(a->v[i].j, "id", ""), fold, o->folds))))
            c[n++] = all[i];
    int r = ptl_kb_train(
        c, n, &(struct ptl_kb_train_options){.cost = o->cost, .min_cases = o->min_cases, .prune = o->prune},
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

/* Made from the knowledge itself, so nothing to try it on. */
bool tool_is_made(const struct item *it)
{
    return strcmp(it->file, "entries") == 0 || strcmp(it->file, "indicators") == 0;
}

int tool_cases(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(tool_source_done) struct source s;
    PTL_CLEANUP(tool_items_done) struct items a = {0};
    struct ptl_kb_case *cases = NULL;
    void *model = NULL;
    size_t len = 0;
    int r = tool_source_open(o, &s, err);
    if (r == 0)
        r = tool_read_items(o, &a, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *bare = r == 0 ? tool_kb(o, &s, NULL, 0, err) : NULL;
    if (!bare)
        return r < 0 ? r : -EINVAL;
    size_t given = a.n;
    bool train = strcmp(o->verb, "train") == 0, crossval = strcmp(o->verb, "crossval") == 0;
    if ((train || crossval) && o->words > 0 && (r = tool_add_indicators(&a, s.doc, o->words)) < 0)
        return ptl_error_set(err, r, "out of memory");
    if ((train || crossval) && o->entries > 0 && (r = tool_add_entries(&a, s.doc, o->entries)) < 0)
        return ptl_error_set(err, r, "out of memory");
    PTL_JSON *own = json_object();
    if (o->held_out && (r = hold_out(bare, &a, own, err)) < 0)
        return r;
    if ((train || crossval) && (r = tool_make_cases(bare, &a, &cases, err)) < 0)
        goto out;
    if (train) {
        r = tool_train_without(o, &a, cases, own, -1, true, &model, &len, err);
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
            r = tool_train_without(o, &a, cases, own, fold, true, &model, &len, err);
        if (r == 0 && !(kb = tool_kb(o, &s, model, len, err)))
            r = -EINVAL;
        for (size_t i = 0; r == 0 && i < a.n; i++)
            if (!a.v[i].only_learn && !tool_is_made(&a.v[i]) && tool_item_fold(&a.v[i], o->folds) == fold)
                r = o->parts ? print_parts(kb, &a.v[i], err) : print_prediction(kb, &a.v[i], err);
        ptl_kb_free(kb);
        free(model);
        model = NULL;
    }
    if (r == 0 && strcmp(o->verb, "predict") == 0) {
        struct ptl_kb *kb = tool_kb(o, &s, s.model, s.model_len, err);
        for (size_t i = 0; kb && r == 0 && i < a.n; i++)
            r = o->parts ? print_parts(kb, &a.v[i], err) : print_prediction(kb, &a.v[i], err);
        r = kb ? r : -EINVAL;
        ptl_kb_free(kb);
    }
out:
    tool_cases_done(cases, a.n);
    free(model);
    return r;
}
