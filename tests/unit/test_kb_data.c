/* test_kb_data.c - the knowledge as data: the files of migrations/kb/ are well-formed, the deployment
 * taxonomy has the counts and sums of the paper, and every indicator has fixtures that it must match and near
 * misses that it must not. Reads the files of the source tree, not those built in, so that authors need not
 * build again. Arguments: areas or ids; only these are looked at then. */
#include "data.h"
#include "kb.h"
#include <portolan/buf.h>
#include <portolan/fs.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

static struct {
    struct ptl_kb_file *v;
    size_t n;
} files;
static json_t *doc;
static char **wanted;
static int n_wanted;

static int add_file(void *ctx PTL_UNUSED, const struct ptl_fs_entry *e)
{
    struct ptl_buf b = PTL_BUF_INIT;
    if (e->is_dir || !ptl_str_ends(e->path, ".yml"))
        return 0;
    assert_int_equal(ptl_fs_read(e->full, 4 << 20, &b, NULL), 0);
    files.v = realloc(files.v, (files.n + 1) * sizeof(*files.v));
    assert_non_null(files.v);
    size_t len;
    char *text = ptl_buf_take(&b, &len);
    files.v[files.n++] = (struct ptl_kb_file){ptl_xstrdup(e->path), text ? text : ptl_xstrdup(""), len};
    return 0;
}

static bool is_wanted(const char *id)
{
    for (int i = 0; i < n_wanted; i++) {
        size_t n = strlen(wanted[i]);
        if (strcmp(id, wanted[i]) == 0 || (strncmp(id, wanted[i], n) == 0 && id[n] == '/'))
            return true;
    }
    return n_wanted == 0;
}

/* With arguments, what is wrong in files without them is somebody else's work in progress. */
static bool is_ours(const char *problem)
{
    size_t n = strcspn(problem, ":");
    for (size_t i = 0; i < files.n && n_wanted; i++)
        for (int k = 0; strncmp(files.v[i].path, problem, n) == 0 && !files.v[i].path[n] && k < n_wanted; k++)
            if (strstr(files.v[i].text, wanted[k]))
                return true;
    return n_wanted == 0;
}

static void files_are_well_formed(void **state PTL_UNUSED)
{
    PTL_JSON *problems = json_array();
    size_t i, wrong = 0;
    json_t *v;
    int r = ptl_kb_data_read(&(struct ptl_kb_files){files.v, files.n}, problems, &doc);
    json_array_foreach(problems, i, v)
    {
        bool ours = is_ours(json_string_value(v));
        print_message("%s%s\n", ours ? "" : "(elsewhere) ", json_string_value(v));
        wrong += ours;
    }
    assert_int_equal(r, 0);
    if (wrong)
        fail_msg("%zu problems", wrong);
    print_message("%zu nodes, %zu entries, %zu indicators\n", json_array_size(json_object_get(doc, "nodes")),
                  json_array_size(json_object_get(doc, "entries")),
                  json_array_size(json_object_get(doc, "indicators")));
}

static void taxonomy_counts(void **state PTL_UNUSED)
{
    static const struct {
        const char *platform;
        int questions;
    } t[] = {
        {"server",  227},
        {"mobile",  231},
        {"browser", 124}
    };
    size_t i, k;
    json_t *v;
    int roots = 0, inner = 0, leaves = 0;
    if (!doc)
        skip();
    json_array_foreach(json_object_get(doc, "nodes"), i,
                       v) if (ptl_str_eq(ptl_json_str(v, "taxonomy", ""), "deployment"))
    {
        const char *kind = ptl_json_str(v, "kind", "");
        roots += ptl_str_eq(kind, "root");
        inner += ptl_str_eq(kind, "inner");
        leaves += ptl_str_eq(kind, "leaf");
    }
    assert_int_equal(roots, 3);
    assert_int_equal(inner, 25);
    assert_int_equal(leaves, 72);
    for (k = 0; k < PTL_ARRAY_LEN(t); k++) {
        double share = 0;
        int64_t questions = 0, said = 0;
        json_array_foreach(json_object_get(doc, "nodes"), i, v)
        {
            const char *id = ptl_json_str(v, "id", "");
            if (strcmp(id, t[k].platform) == 0)
                said = ptl_json_i64(v, "questions", 0);
            if (!ptl_str_starts(id, t[k].platform) || id[strlen(t[k].platform)] != '/')
                continue;
            if (json_object_get(v, "unanswered")) {
                share += ptl_json_num(v, "share", 0);
                questions += ptl_json_i64(v, "questions", 0);
            }
        }
        assert_int_equal(said, questions);
        assert_int_equal(questions, t[k].questions);
        if (share < 99.4 || share > 100.6)
            fail_msg("%s: the shares make %g", t[k].platform, share);
    }
}

/* ---- fixtures */
/* Cuts the leading "# key: value" lines off. */
static const char *headers(char *text, json_t *ret)
{
    while (text[0] == '#' && text[1] == ' ') {
        char *colon = strchr(text, ':'), *nl = strchr(text, '\n');
        if (!colon || !nl || colon > nl || strcspn(text + 2, " ") < (size_t)(colon - text - 2))
            break;
        *colon = *nl = 0;
        json_object_set_new(ret, text + 2, json_string(colon + 1 + strspn(colon + 1, " ")));
        text = nl + 1;
    }
    return text;
}

static struct ptl_kb *kb;

static bool accepted(const char *expect, const char *id)
{
    for (const char *p = expect; *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        if (strlen(id) == n && strncmp(p, id, n) == 0)
            return true;
        if (n == 4 && strncmp(p, "none", 4) == 0 &&
            (ptl_str_starts(id, "infra/") || ptl_str_starts(id, "program/") || ptl_str_starts(id, "fault/") ||
             !*id))
            return true;
        p += n;
    }
    return false;
}

/* Says what is wrong with an `expect`, or NULL. */
static const char *expect_wrong(const char *expect)
{
    for (const char *p = expect; *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", "), i;
        bool known = n == 4 && strncmp(p, "none", 4) == 0;
        json_t *v;
        json_array_foreach(json_object_get(doc, "nodes"), i, v)
        {
            const char *id = ptl_json_str(v, "id", "");
            known = known || (strlen(id) == n && strncmp(id, p, n) == 0);
        }
        if (!known)
            return "expect names a node that is in no taxonomy";
        p += n;
    }
    return NULL;
}

struct fixtures {
    const json_t *in;
    int yes, no, wrong;
};

/* What of an indicator's scope a fixture's headers do not say, or contradict; NULL: nothing. */
static const char *outside_of(const json_t *scope, const json_t *h)
{
    static const char *const keys[] = {"platform", "stage", "tool"};
    for (size_t k = 0; k < PTL_ARRAY_LEN(keys); k++) {
        const json_t *list = json_object_get(scope, keys[k]), *v;
        const char *said = ptl_json_str(h, keys[k], "");
        bool within = json_array_size(list) == 0;
        size_t i;
        json_array_foreach(list, i, v) within =
            within || (k < 2 ? strcmp(said, json_string_value(v)) == 0
                             : strcasestr(said, json_string_value(v)) != NULL);
        if (!within)
            return keys[k];
    }
    return NULL;
}

/* A yes must be heard where it is diagnosed, by a fixture of a situation that the scope names. */
static void check_heard(struct fixtures *f, const struct ptl_fs_entry *e, const json_t *h,
                        const json_t *facts, const char *log)
{
    const char *id = ptl_json_str(f->in, "id", ""), *role = ptl_json_str(f->in, "role", "cause");
    const char *outside = outside_of(json_object_get(f->in, "scope"), h);
    PTL_JSON *heard = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (outside) {
        print_message("%s: %s: its %s must be one that scope.%s names\n", id, e->path, outside, outside);
        f->wrong++;
    }
    if (ptl_kb_heard(kb, facts, log, strlen(log), &heard, &err) < 0)
        fail_msg("%s", err.text);
    bool speaks = strcmp(role, "generic") != 0 && strcmp(role, "benign") != 0;
    if (speaks && !json_object_get(heard, id)) {
        print_message("%s: %s: a diagnosis of this fixture does not hear it: scope, weights, or a line that "
                      "is silenced\n",
                      id, e->path);
        f->wrong++;
    }
}

static int try_fixture(void *ctx, const struct ptl_fs_entry *e)
{
    static const char *const known[] = {"expect", "platform", "stage", "tool", "end", "made", "facts", NULL};
    struct fixtures *f = ctx;
    PTL_BUF b = PTL_BUF_INIT;
    PTL_JSON *h = json_object();
    const char *key, *id = ptl_json_str(f->in, "id", "");
    json_t *v;
    bool yes = ptl_str_starts(e->path, "yes-"), no = ptl_str_starts(e->path, "no-");
    if (e->is_dir)
        return 0;
    if (!ptl_str_ends(e->path, ".log") || (!yes && !no)) {
        print_message("%s: %s: a fixture is called yes-*.log or no-*.log\n", id, e->path);
        f->wrong++;
        return 0;
    }
    assert_int_equal(ptl_fs_read(e->full, 1 << 20, &b, NULL), 0);
    ptl_buf_putc(&b, '\n');
    const char *log = headers(b.data, h);
    json_object_foreach(h, key, v)
    {
        int k = 0;
        while (known[k] && strcmp(known[k], key) != 0)
            k++;
        if (!known[k]) {
            print_message("%s: %s: unknown header '%s'\n", id, e->path, key);
            f->wrong++;
        }
    }
    f->yes += yes;
    f->no += no;
    PTL_JSON *facts = json_pack("{s:s?,s:s?,s:s?,s:s}", "platform", ptl_json_str(h, "platform", NULL), "kind",
                                ptl_json_str(h, "stage", NULL), "tool", ptl_json_str(h, "tool", NULL),
                                "end_reason", ptl_json_str(h, "end", "exit"));
    const char *more = ptl_json_str(h, "facts", NULL);
    PTL_JSON *extra = NULL;
    if (more && (ptl_json_parse(more, strlen(more), e->path, &extra, NULL) < 0 ||
                 json_object_update(facts, extra) < 0)) {
        print_message("%s: %s: facts is no JSON object\n", id, e->path);
        f->wrong++;
    }
    PTL_JSON *found = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_kb_matches(kb, facts, log, strlen(log), &found, &err) < 0)
        fail_msg("%s", err.text);
    if ((json_object_get(found, id) != NULL) != yes) {
        print_message("%s: %s: must %sbe matched\n", id, e->path, yes ? "" : "not ");
        f->wrong++;
    }
    if (yes)
        check_heard(f, e, h, facts, log);
    const char *expect = ptl_json_str(h, "expect", NULL);
    if (!expect)
        return 0;
    PTL_JSON *d = NULL;
    struct ptl_kb_log one = {.text = log, .len = strlen(log)};
    if (ptl_kb_diagnose(kb, facts, &one, 1, &d, &err) < 0)
        fail_msg("%s", err.text);
    const char *first = ptl_json_str(json_array_get(json_object_get(d, "ranked"), 0), "id", ""),
               *bad = expect_wrong(expect);
    if (bad || !accepted(expect, first)) {
        print_message("%s: %s: %s%s, the answer is %s\n", id, e->path, bad ? bad : "expected ",
                      bad ? "" : expect, first);
        f->wrong++;
    }
    return 0;
}

static void fixtures_hold(void **state PTL_UNUSED)
{
    size_t i;
    json_t *v;
    int wrong = 0, looked = 0;
    struct ptl_error err = PTL_ERROR_INIT;
    if (!doc)
        skip();
    /* Without the text model: the indicators must do it by themselves. */
    if (ptl_kb_new(doc, NULL, 0, &kb, &err) < 0)
        fail_msg("%s", err.text);
    json_array_foreach(json_object_get(doc, "indicators"), i, v)
    {
        const char *id = ptl_json_str(v, "id", "");
        PTL_FREE char *dir = ptl_xasprintf("%s/tests/kb/%s", PTL_SOURCE_DIR, id);
        struct fixtures f = {.in = v};
        if (!is_wanted(id))
            continue;
        looked++;
        if (ptl_fs_is_dir(dir))
            assert_int_equal(ptl_fs_walk(dir, 1000, try_fixture, &f, NULL), 0);
        if (!f.yes || !f.no) {
            print_message("%s: tests/kb/%s needs at least one yes-*.log and one no-*.log (has %d, %d)\n", id,
                          id, f.yes, f.no);
            f.wrong++;
        }
        wrong += f.wrong;
    }
    kb = ptl_kb_free(kb);
    print_message("%d indicators looked at\n", looked);
    if (wrong)
        fail_msg("%d problems with fixtures", wrong);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_well_formed),
                                       cmocka_unit_test(taxonomy_counts), cmocka_unit_test(fixtures_hold)};
    wanted = argv + 1;
    n_wanted = argc - 1;
    if (ptl_fs_walk(PTL_SOURCE_DIR "/migrations/kb", 10000, add_file, NULL, NULL) != 0)
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < files.n; i++) {
        free((char *)files.v[i].path);
        free((char *)files.v[i].text);
    }
    free(files.v);
    json_decref(doc);
    return r;
}
