/* tool_house.c - a house's own cases: what training with them changes, cross-validated beside the model in
 * force, so that a person can judge it before it counts. */
#include "tool-private.h"
#include "compiled.h"
#include "template.h"
#include <portolan/fs.h>
#include <stdio.h>

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
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = tool_kb(o, s, model, len, err);
    int r = kb ? 0 : -EINVAL;
    for (size_t i = 0; r == 0 && i < a->n; i++)
        if (!tool_is_made(&a->v[i]) && (fold < 0 || tool_item_fold(&a->v[i], o->folds) == fold))
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
            if (tool_is_made(&a->v[i]) || strcmp(kind_of(&a->v[i]), name) != 0)
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
        r = tool_train_without(o, a, cases, own, fold, way == BY_WITH, &model, &len, err);
        if (r == 0)
            r = judge(o, s, a, model, len, fold, way, places, err);
    }
    return r;
}

static int read_house(const struct options *o, struct items *a, struct ptl_buf *before, struct ptl_error *err)
{
    int r = tool_read_items(o, a, err);
    size_t n = a->n;
    if (r == 0)
        r = tool_read_file_items(o->house, false, a, err);
    for (; r == 0 && n < a->n; n++)
        a->v[n].house = true;
    if (r == 0 && o->before)
        r = ptl_fs_read(o->before, PTL_KB_COMPILED_MAX, before, err);
    return r;
}

int tool_compare(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(tool_source_done) struct source s;
    PTL_CLEANUP(tool_items_done) struct items a = {0};
    PTL_BUF before = PTL_BUF_INIT;
    PTL_JSON *kinds = json_object();
    PTL_JSON *own = json_object();
    PTL_FREE void *model = NULL;
    PTL_FREE unsigned char *places = NULL;
    struct ptl_kb_case *cases = NULL;
    size_t len = 0, unknown = 0, given;
    int r = tool_source_open(o, &s, err);
    if (r == 0 && (!o->house || !o->out))
        r = ptl_error_set(err, -EINVAL, "compare: --house FILE and --out FILE");
    if (r == 0)
        r = read_house(o, &a, &before, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *bare = r == 0 ? tool_kb(o, &s, NULL, 0, err) : NULL;
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
    if ((r = tool_add_indicators(&a, s.doc, o->words)) < 0 ||
        (r = tool_add_entries(&a, s.doc, o->entries)) < 0)
        return ptl_error_set(err, r, "out of memory");
    places = calloc(a.n + 1, WAYS);
    if (!places)
        return ptl_error_set(err, -ENOMEM, "out of memory");
    r = tool_make_cases(bare, &a, &cases, err);
    if (r == 0)
        r = tool_train_without(o, &a, cases, own, -1, true, &model, &len, err);
    if (r == 0)
        r = judge(o, &s, &a, o->before ? ptl_buf_str(&before) : s.model, o->before ? before.len : s.model_len,
                  -1, BY_NOW, places, err);
    for (int fold = 0; r == 0 && fold < o->folds; fold++)
        r = judge_fold(o, &s, &a, cases, fold, places, err);
    tool_cases_done(cases, a.n);
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
