/* cmd_kb_train.c - portolan kb train: a text model from labelled cases. With files of cases, on this machine
 * alone; without, from what the server knows: its knowledge, the failures that people confirmed or corrected
 * and the known cases, beside the cases that ship. The training is portolan-kb's in both cases; the server
 * only hands out and takes in. */
#include "kb_tool.h"
#include <limits.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <unistd.h>

/* ---- the cases that ship */
static int one_file(void *ctx, const struct ptl_fs_entry *e)
{
    if (!e->is_dir && !e->is_link && ptl_str_ends(e->path, ".jsonl"))
        json_array_append_new(ctx, json_string(e->full));
    return 0;
}

/* Labelled by hand, beside the source tree or where they were installed. */
static int shipped_cases(struct cli *c, json_t *ret)
{
    static const char *const places[] = {"/../../../migrations/kb/cases", "/../share/portolan/cases"};
    char exe[PATH_MAX];
    struct ptl_error err = PTL_ERROR_INIT;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = 0;
    if (strrchr(exe, '/'))
        *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *dir = ptl_xasprintf("%s%s", exe, places[i]);
        if (!ptl_fs_is_dir(dir))
            continue;
        if (ptl_fs_walk(dir, 10000, one_file, ret, &err) < 0)
            return cli_fail(c, CLI_FAILED, "%s", err.text);
        return 0;
    }
    return cli_fail(
        c, CLI_ABSENT,
        "the cases that ship are neither in the source tree nor in ../share/portolan/cases; name files of cases");
}

/* Those that ship, unless --only, and those of the command line. */
static int case_files(struct cli *c, json_t *ret)
{
    int r = cli_flag(c, "only") ? 0 : shipped_cases(c, ret);
    for (size_t i = 0; r == 0 && cli_arg(c, i); i++) {
        if (!ptl_fs_exists(cli_arg(c, i)))
            return cli_fail(c, CLI_ABSENT, "%s: no such file", cli_arg(c, i));
        json_array_append_new(ret, json_string(cli_arg(c, i)));
    }
    if (r == 0 && json_array_size(ret) > CLI_ARGS_MAX)
        return cli_fail(c, CLI_USAGE, "more than %d files of cases: put some together", CLI_ARGS_MAX);
    return r;
}

/* ---- on this machine alone */
static int train_here(struct cli *c)
{
    struct cli_kb_call k = {
        .argv = {"portolan", "train"},
          .n = 2
    };
    PTL_JSON *paths = json_array();
    size_t i;
    json_t *v;
    if (cli_flag(c, "set"))
        return cli_fail(
            c, CLI_USAGE,
            "--set goes with the server's own cases, without CASES; or: portolan kb model set FILE");
    if (cli_flag(c, "only") && !cli_arg(c, 0))
        return cli_fail(c, CLI_USAGE, "--local --only needs CASES: files of labelled cases to train from");
    int r = case_files(c, paths);
    if (r)
        return r;
    cli_kb_add_option(&k, "--out", cli_text(c, "output") ? cli_text(c, "output") : "text.bin");
    cli_kb_add_option(&k, "--dir", cli_text(c, "dir"));
    cli_kb_add(&k, "--");
    json_array_foreach(paths, i, v) cli_kb_add(&k, json_string_value(v));
    return cli_kb_become(c, &k);
}

/* ---- with the server */
struct training {
    struct cli *c;
    char dir[PATH_MAX]; /* temporary, this user's alone: cases hold pieces of logs */
    char *house, *kb, *now, *out;
    json_t *told; /* what portolan-kb said of it */
};

static void training_done(struct training *t)
{
    if (t->dir[0])
        (void)!ptl_fs_remove_tree(t->dir, NULL);
    free(t->house);
    free(t->kb);
    free(t->now);
    free(t->out);
    json_decref(t->told);
}

/* The server's cases, its knowledge as it is in force, and its own text model when there is one. */
static int gather(struct training *t)
{
    struct cli *c = t->c;
    const char *tmp = getenv("TMPDIR");
    PTL_JSON *model = NULL;
    size_t files, written;
    unsigned char *bytes = NULL;
    size_t len = 0;
    struct ptl_error err = PTL_ERROR_INIT;
    snprintf(t->dir, sizeof(t->dir), "%s/portolan-train-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(t->dir)) {
        t->dir[0] = 0;
        return cli_fail(c, CLI_FAILED, "%s: no directory can be made in it: %s", tmp && *tmp ? tmp : "/tmp",
                        strerror(errno));
    }
    t->house = ptl_fs_join(t->dir, "house.jsonl");
    t->kb = ptl_fs_join(t->dir, "kb");
    t->out = ptl_fs_join(t->dir, "text.bin");
    int r = cli_kb_cases_to(c, t->house);
    if (r == 0)
        r = cli_kb_export_to(c, t->kb, &files, &written);
    if (r == 0)
        r = cli_call_within(c, 120000, "GET", "/api/v1/kb/model?data=1", NULL, &model);
    if (r || !ptl_json_flag(model, "own", false))
        return r;
    if (ptl_base64_decode(ptl_json_str(model, "model", ""), &bytes, &len) < 0 || len == 0) {
        free(bytes);
        return cli_fail(c, CLI_FAILED, "the server sent a text model that cannot be read");
    }
    t->now = ptl_fs_join(t->dir, "now.bin");
    r = ptl_fs_write_atomic(t->now, bytes, len, 0600, &err);
    free(bytes);
    return r < 0 ? cli_fail(c, CLI_FAILED, "%s", err.text) : 0;
}

static int compare(struct training *t)
{
    struct cli *c = t->c;
    struct cli_kb_call k = {
        .argv = {"portolan", "compare"},
          .n = 2
    };
    char folds[24];
    PTL_JSON *paths = json_array();
    size_t i;
    json_t *v;
    int r = case_files(c, paths);
    if (r)
        return r;
    snprintf(folds, sizeof(folds), "%lld", (long long)cli_int(c, "folds", 5));
    cli_kb_add_option(&k, "--folds", folds);
    cli_kb_add_option(&k, "--house", t->house);
    cli_kb_add_option(&k, "--before", t->now);
    cli_kb_add_option(&k, "--dir", cli_text(c, "dir") ? cli_text(c, "dir") : t->kb);
    cli_kb_add_option(&k, "--out", t->out);
    cli_kb_add(&k, "--");
    json_array_foreach(paths, i, v) cli_kb_add(&k, json_string_value(v));
    cli_note(c, "training %lld times; with the cases that ship that takes some minutes",
             2 * (long long)cli_int(c, "folds", 5) + 1);
    return cli_kb_ask(c, &k, &t->told);
}

static const char *name_of(const char *kind)
{
    return strcmp(kind, "feedback") == 0 ? "said by people"
           : strcmp(kind, "known") == 0  ? "known cases"
                                         : "that ship";
}

static void put_shares(struct cli_table *t, const json_t *kind, const char *way)
{
    const json_t *o = json_object_get(kind, way);
    double n = ptl_json_num(kind, "cases", 0);
    cli_table_cell(t, CLI_PLAIN, "%.1f %%", n > 0 ? 100 * ptl_json_num(o, "first", 0) / n : 0);
    cli_table_cell(t, CLI_PLAIN, "%.1f %%", n > 0 ? 100 * ptl_json_num(o, "three", 0) / n : 0);
}

static void show(struct training *t)
{
    static const struct cli_column columns[] = {
        {"CASES",   false, false},
        {"N",       true,  false},
        {"TEXTS",   true,  false},
        {"NOW",     true,  false},
        {"TOP 3",   true,  false},
        {"WITHOUT", true,  false},
        {"TOP 3",   true,  false},
        {"WITH",    true,  false},
        {"TOP 3",   true,  false},
        {"GAINED",  true,  false},
        {"LOST",    true,  false},
    };
    static const char *const order[] = {"feedback", "known", "shipped"};
    static const char *const ways[] = {"now", "without", "with"};
    struct cli *c = t->c;
    const json_t *kinds = json_object_get(t->told, "kinds");
    PTL_BUF b = PTL_BUF_INIT;
    PTL_CLEANUP(cli_table_freep)
    struct cli_table *table = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    int64_t texts = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(order); i++) {
        const json_t *k = json_object_get(kinds, order[i]);
        if (!k)
            continue;
        cli_table_cell(table, CLI_PLAIN, "%s", name_of(order[i]));
        cli_table_cell(table, CLI_PLAIN, "%lld", (long long)ptl_json_i64(k, "cases", 0));
        cli_table_cell(table, CLI_PLAIN, "%lld", (long long)ptl_json_i64(k, "texts", 0));
        for (size_t w = 0; w < PTL_ARRAY_LEN(ways); w++)
            put_shares(table, k, ways[w]);
        cli_table_cell(table, CLI_PLAIN, "%lld", (long long)ptl_json_i64(k, "gained", 0));
        cli_table_cell(table, CLI_PLAIN, "%lld", (long long)ptl_json_i64(k, "lost", 0));
        texts += i < 2 ? ptl_json_i64(k, "texts", 0) : 0;
    }
    cli_table_print(table, &b, c->width, c->color);
    cli_print_buf(c, &b);
    bool own = ptl_json_flag(t->told, "own_in_force", false);
    cli_print(
        c,
        "NOW: the model in force, %s.  WITHOUT, WITH this house's cases (said by people, known): trained anew,\n"
        "each case judged by a model that has not seen it nor a text like it (%lld parts).  GAINED, LOST: right first\n"
        "WITH and not NOW, and the other way round.\n",
        own ? "one's own, which may have seen all of them"
            : "the shipped one, which has seen those that ship and posts of the public data set",
        (long long)ptl_json_i64(t->told, "folds", 0));
    if (ptl_json_i64(t->told, "unknown", 0))
        cli_print(c, "%lld cases left out: their challenge is no longer in the taxonomies\n",
                  (long long)ptl_json_i64(t->told, "unknown", 0));
    if (texts < 20)
        cli_print(c, "%lld different texts of this house: that is little to judge by\n", (long long)texts);
}

static int64_t house_cases(const struct training *t)
{
    const json_t *kinds = json_object_get(t->told, "kinds");
    return ptl_json_i64(json_object_get(kinds, "feedback"), "cases", 0) +
           ptl_json_i64(json_object_get(kinds, "known"), "cases", 0);
}

/* The model where it was asked for, or here when it is not put in force. */
static int keep(struct training *t, const char **ret_file)
{
    struct cli *c = t->c;
    struct ptl_error err = PTL_ERROR_INIT;
    const char *file = cli_text(c, "output") ? cli_text(c, "output") : cli_flag(c, "set") ? NULL : "text.bin";
    *ret_file = file;
    if (file && ptl_fs_copy(t->out, file, 0644, &err) < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    return 0;
}

/* Minutes of training are not for nothing. */
static int may_set(struct cli *c)
{
    PTL_JSON *who = NULL;
    size_t i;
    json_t *v;
    int r = cli_flag(c, "set") ? cli_get(c, "/api/v1/whoami", &who) : 0;
    if (r || !who)
        return r;
    json_array_foreach(json_object_get(who, "may"), i,
                       v) if (ptl_str_eq(json_string_value(v), "curate")) return 0;
    PTL_FREE char *name = cli_clean(ptl_json_str(who, "name", "?"));
    return cli_fail(
        c, CLI_UNREACHED,
        "%s may not put a text model in force (role %s): --set needs a curator's token; without it the "
        "model is only made",
        name, ptl_json_str(who, "role", "?"));
}

static int train_with_server(struct cli *c)
{
    PTL_CLEANUP(training_done) struct training t = {.c = c};
    PTL_BUF house = PTL_BUF_INIT;
    PTL_JSON *answer = NULL;
    const char *file;
    int r = may_set(c);
    if (r == 0)
        r = gather(&t);
    if (r)
        return r;
    if (ptl_fs_read(t.house, (size_t)1 << 30, &house, NULL) < 0 || house.len == 0)
        return cli_fail(
            c, CLI_ABSENT,
            "%s has no labelled case to learn from: portolan feedback confirm and correct make some, portolan kb import-posts "
            "loads some; from the cases that ship alone: portolan kb train --local",
            c->server);
    if ((r = compare(&t)))
        return r;
    if (house_cases(&t) == 0)
        return cli_fail(c, CLI_ABSENT, "none of the server's cases names a challenge of the taxonomies");
    if ((r = keep(&t, &file)))
        return r;
    int64_t cases = ptl_json_i64(t.told, "cases", 0);
    if (cli_flag(c, "set") && (r = cli_kb_model_put(c, t.out, cases, &answer)))
        return r;
    if (c->json) {
        json_object_set_new(t.told, "set", json_boolean(cli_flag(c, "set")));
        if (file)
            json_object_set_new(t.told, "file", json_string(file));
        return cli_print_json(c, t.told);
    }
    show(&t);
    if (answer) {
        cli_print(c, "the new model is in force from the next failure on\n");
        cli_note(c, "past ones: portolan kb apply; back to what ships: portolan kb model reset");
    } else {
        cli_print(c, "%s is written, nothing is changed at the server\n", file);
        cli_note(c, "next: portolan kb model set %s --cases %lld", file, (long long)cases);
    }
    return 0;
}

int cli_cmd_kb_train(struct cli *c)
{
    return cli_arg(c, 0) || cli_flag(c, "local") ? train_here(c) : train_with_server(c);
}
