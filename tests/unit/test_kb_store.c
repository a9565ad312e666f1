/* test_kb_store.c - the knowledge base in PostgreSQL: what ships is loaded once and again when it changed,
 * what people added and retired survives, every change is in the history, and the engine made from the tables
 * is the engine made from the files. */
#include "data.h"
#include "kb.h"
#include "pg.h"
#include "store.h"
#include <setjmp.h>
#include <cmocka.h>

static struct ptl_test_pg *pg;
static struct ptl_loop *loop;
static struct ptl_store *store;
static const char *dsn;
static json_t *shipped;

struct answer {
    bool done;
    int code;
    struct ptl_rows *rows;
};

static void on_answer(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct answer *a = ctx;
    a->done = true;
    a->code = err ? err->code : 0;
    a->rows = rows ? ptl_rows_ref(rows) : NULL;
    if (err)
        print_message("%s\n", err->text);
}
static bool is_done(void *ctx)
{
    return ((struct answer *)ctx)->done;
}

static struct answer ask(enum ptl_sql sql, struct ptl_args *args)
{
    struct answer a = {0};
    assert_int_equal(ptl_store_query(store, sql, args, on_answer, &a), 0);
    ptl_test_turn_until(loop, is_done, &a, 20000, "a statement");
    assert_int_equal(a.code, 0);
    return a;
}

static struct answer load(const json_t *doc, const char *program)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_json(&a, doc);
    ptl_args_str(&a, program);
    return ask(PTL_SQL_kb_load, &a);
}

static json_t *read_doc(void)
{
    struct answer a = ask(PTL_SQL_kb_read, NULL);
    json_t *doc = ptl_row_json(a.rows, 0, "doc");
    ptl_rows_unref(a.rows);
    return doc;
}

static json_t *some_indicator(const char *id, const char *pattern)
{
    return json_pack("{s:s,s:s,s:s,s:{s:{s:f}},s:f,s:n,s:[s]}", "id", id, "summary", "said {what}", "pattern",
                     pattern, "weights", "any", "infra/network", 0.5, "specificity", 0.5, "transient",
                     "sources", "a test");
}

static void put_local(const char *id, const char *pattern, const char *actor)
{
    PTL_JSON *in = some_indicator(id, pattern), *problems = json_array();
    json_t *out = NULL;
    struct ptl_args a;
    assert_int_equal(ptl_kb_indicator_check(shipped, "request", in, problems, &out), 0);
    ptl_args_init(&a);
    ptl_args_str(&a, id);
    ptl_args_json(&a, out);
    ptl_args_str(&a, actor);
    ptl_args_null(&a);
    json_decref(out);
    struct answer r = ask(PTL_SQL_kb_indicator_save, &a);
    assert_int_equal(ptl_rows_count(r.rows), 1);
    ptl_rows_unref(r.rows);
}

static int retire(const char *id, bool retired, const char *actor)
{
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, id);
    ptl_args_bool(&a, retired);
    ptl_args_str(&a, actor);
    struct answer r = ask(PTL_SQL_kb_retire, &a);
    int n = ptl_rows_count(r.rows) && ptl_row_bool(r.rows, 0, "changed");
    ptl_rows_unref(r.rows);
    return n;
}

static size_t find(const json_t *doc, const char *id)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(doc, "indicators"), i,
                       v) if (ptl_str_eq(ptl_json_str(v, "id", ""), id)) return i;
    return SIZE_MAX;
}

static int open_store(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    dsn = ptl_test_pg_database(pg);
    struct ptl_store_options o = {.dsn = dsn};
    if (ptl_store_open(loop, &o, &store, &err) < 0)
        fail_msg("%s", err.text);
    struct answer a = load(shipped, "0.1.0");
    assert_true(ptl_row_bool(a.rows, 0, "loaded"));
    ptl_rows_unref(a.rows);
    return 0;
}
static int close_store(void **state PTL_UNUSED)
{
    store = ptl_store_close(store);
    return 0;
}

static void the_tables_give_the_files(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb *from_files = NULL, *from_tables = NULL;
    PTL_JSON *doc = read_doc();
    assert_int_equal(ptl_kb_new(shipped, NULL, 0, &from_files, &err), 0);
    if (ptl_kb_new(doc, NULL, 0, &from_tables, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(ptl_kb_hash(from_files), ptl_kb_hash(from_tables));
    ptl_kb_free(from_files);
    ptl_kb_free(from_tables);
    assert_int_equal(
        ptl_test_sql_i64(dsn,
                         "SELECT count(*) FROM challenge WHERE taxonomy = 'deployment' AND kind = 'leaf'"),
        72);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM challenge_link"),
                     (int64_t)json_array_size(json_object_get(shipped, "links")));
}

static void the_same_again_does_nothing(void **state PTL_UNUSED)
{
    int64_t changes = ptl_test_sql_i64(dsn, "SELECT count(*) FROM kb_change");
    struct answer a = load(shipped, "0.1.0");
    assert_false(ptl_row_bool(a.rows, 0, "loaded"));
    ptl_rows_unref(a.rows);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM kb_change"), changes);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM kb_version"), 1);
}

static void peoples_changes_survive(void **state PTL_UNUSED)
{
    PTL_JSON *next = json_deep_copy(shipped);
    json_t *list = json_object_get(next, "indicators");
    PTL_FREE char *gone = ptl_xstrdup(ptl_json_str(json_array_get(list, 0), "id", "")),
                  *edited = ptl_xstrdup(ptl_json_str(json_array_get(list, 1), "id", "")),
                  *retired = ptl_xstrdup(ptl_json_str(json_array_get(list, 2), "id", ""));
    put_local("local/mine", "said (?<what>word)s", "ada");
    assert_int_equal(retire(retired, true, "ada"), 1);
    assert_int_equal(retire(retired, true, "ada"), 0); /* it is so already */
    json_object_set_new(next, "hash", json_string("another"));
    json_object_set_new(json_array_get(list, 1), "specificity", json_real(0.123));
    json_object_set_new(json_array_get(list, 2), "specificity", json_real(0.321));
    json_array_remove(list, 0);
    struct answer a = load(next, "0.1.0");
    assert_true(ptl_row_bool(a.rows, 0, "loaded"));
    assert_int_equal(ptl_row_i64(a.rows, 0, "changed"), 3);
    ptl_rows_unref(a.rows);
    PTL_JSON *doc = read_doc();
    assert_true(find(doc, "local/mine") != SIZE_MAX);
    assert_true(find(doc, gone) == SIZE_MAX);
    assert_true(find(doc, retired) == SIZE_MAX);
    assert_true(ptl_json_num(json_array_get(json_object_get(doc, "indicators"), find(doc, edited)),
                             "specificity", 0) == 0.123);
    /* What ships again speaks again; what a person retired does not. */
    a = load(shipped, "0.1.0");
    ptl_rows_unref(a.rows);
    PTL_JSON *back = read_doc();
    assert_true(find(back, gone) != SIZE_MAX);
    assert_true(find(back, retired) == SIZE_MAX);
    assert_int_equal(retire(retired, false, "ada"), 1);
    PTL_JSON *all = read_doc();
    assert_true(find(all, retired) != SIZE_MAX);
}

static void an_older_program_changes_nothing(void **state PTL_UNUSED)
{
    PTL_JSON *old = json_deep_copy(shipped);
    json_object_set_new(old, "hash", json_string("older"));
    json_array_clear(json_object_get(old, "indicators"));
    struct answer a = load(old, "0.0.9");
    assert_false(ptl_row_bool(a.rows, 0, "loaded"));
    ptl_rows_unref(a.rows);
    PTL_JSON *doc = read_doc();
    assert_int_equal(json_array_size(json_object_get(doc, "indicators")),
                     json_array_size(json_object_get(shipped, "indicators")));
}

static void every_change_is_told(void **state PTL_UNUSED)
{
    put_local("local/a", "first (?<what>pattern)", "ada");
    put_local("local/a", "second (?<what>pattern)", "bob");
    put_local("local/a", "second (?<what>pattern)", "eve"); /* the same: no change */
    retire("local/a", true, "cleo");
    retire("local/a", false, "dan");
    assert_string_equal(
        ptl_test_sql_value(
            dsn,
            "SELECT string_agg(actor || ' ' || action, ', ' ORDER BY id) FROM kb_change WHERE object = 'indicator local/a'"),
        "ada add, bob edit, cleo retire, dan restore");
    assert_string_equal(
        ptl_test_sql_value(
            dsn,
            "SELECT (before ->> 'pattern') || ' -> ' || (after ->> 'pattern') FROM kb_change WHERE object = 'indicator local/a' AND action = 'edit'"),
        "first (?<what>pattern) -> second (?<what>pattern)");
}

static void changed(void *ctx, const char *payload PTL_UNUSED)
{
    ++*(int *)ctx;
}
static bool once(void *ctx)
{
    return *(int *)ctx >= 1;
}
static bool twice(void *ctx)
{
    return *(int *)ctx >= 2;
}
static void a_change_wakes(void **state PTL_UNUSED)
{
    static int times;
    times = 0;
    assert_int_equal(ptl_store_listen(store, "ptl_kb", changed, &times), 0);
    ptl_test_turn_until(loop, once, &times, 20000, "the LISTEN");
    put_local("local/wakes", "some (?<what>pattern)", "ada");
    ptl_test_turn_until(loop, twice, &times, 20000, "two notifications");
}

/* What ships cannot be edited in the tables, and a person's own cannot take a shipped one's name. */
static void shipped_ones_are_not_overwritten(void **state PTL_UNUSED)
{
    const char *id = ptl_json_str(json_array_get(json_object_get(shipped, "indicators"), 0), "id", "");
    PTL_JSON *in = some_indicator(id, "mine now");
    struct ptl_args a;
    struct answer r = {0};
    ptl_args_init(&a);
    ptl_args_str(&a, id);
    ptl_args_json(&a, in);
    ptl_args_str(&a, "eve");
    ptl_args_null(&a);
    assert_int_equal(ptl_store_query(store, PTL_SQL_kb_indicator_save, &a, on_answer, &r), 0);
    ptl_test_turn_until(loop, is_done, &r, 20000, "a statement");
    assert_int_equal(r.code, -EINVAL);
}

/* An entry in one's own words outlives a newer program's, which waits behind it; one that is as shipped
 * follows. */
static void own_entries_stay(void **state PTL_UNUSED)
{
    static const char own[] = "server/model-export/procedure", other[] = "mobile/model-conversion/procedure";
    PTL_JSON *doc = json_deep_copy(shipped);
    PTL_JSON *mine = json_pack("{s:s,s:s}", "id", own, "about", "our words");
    size_t i;
    json_t *v;
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_str(&a, own);
    ptl_args_json(&a, mine);
    ptl_args_str(&a, "ada");
    ptl_args_i64(&a, 1);
    struct answer r = ask(PTL_SQL_kb_entry_put, &a);
    assert_true(ptl_row_bool(r.rows, 0, "changed"));
    ptl_rows_unref(r.rows);
    json_object_set_new(doc, "hash", json_string("newer files"));
    json_array_foreach(json_object_get(doc, "entries"), i,
                       v) if (ptl_str_eq(ptl_json_str(v, "id", ""), own) ||
                              ptl_str_eq(ptl_json_str(v, "id", ""), other))
        json_object_set_new(v, "about", json_string("newer words"));
    r = load(doc, "0.1.0");
    ptl_rows_unref(r.rows);
    assert_int_equal(
        ptl_test_sql_i64(
            dsn,
            "SELECT count(*) FROM challenge WHERE entry ->> 'about' = 'our words' AND entry_shipped ->> 'about' = 'newer words'"),
        1);
    assert_int_equal(
        ptl_test_sql_i64(
            dsn, "SELECT count(*) FROM challenge WHERE entry ->> 'about' = 'newer words' AND NOT entry_own"),
        1);
    ptl_args_init(&a);
    ptl_args_str(&a, own);
    ptl_args_json(&a, NULL);
    ptl_args_str(&a, "ada");
    ptl_args_null(&a);
    r = ask(PTL_SQL_kb_entry_put, &a);
    ptl_rows_unref(r.rows);
    assert_int_equal(
        ptl_test_sql_i64(dsn, "SELECT count(*) FROM challenge WHERE entry ->> 'about' = 'newer words'"), 2);
    assert_int_equal(
        ptl_test_sql_i64(
            dsn,
            "SELECT count(*) FROM kb_change WHERE object LIKE 'entry %' AND actor IN ('ada', 'portoland')"),
        3);
}

static void the_rest_answers(void **state PTL_UNUSED)
{
    struct ptl_args a;
    struct answer r;
    ptl_args_init(&a);
    ptl_args_bytes(&a, "model", 5);
    ptl_args_i64(&a, 12);
    ptl_args_str(&a, "ada");
    r = ask(PTL_SQL_kb_model_put, &a);
    ptl_rows_unref(r.rows);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT length(data) FROM kb_model"), 5);
    ptl_args_init(&a);
    ptl_args_bytes(&a, NULL, 0);
    ptl_args_i64(&a, 0);
    ptl_args_str(&a, "ada");
    r = ask(PTL_SQL_kb_model_put, &a);
    ptl_rows_unref(r.rows);
    assert_int_equal(ptl_test_sql_i64(dsn, "SELECT count(*) FROM kb_model"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_tables_give_the_files, open_store, close_store),
        cmocka_unit_test_setup_teardown(the_same_again_does_nothing, open_store, close_store),
        cmocka_unit_test_setup_teardown(peoples_changes_survive, open_store, close_store),
        cmocka_unit_test_setup_teardown(an_older_program_changes_nothing, open_store, close_store),
        cmocka_unit_test_setup_teardown(every_change_is_told, open_store, close_store),
        cmocka_unit_test_setup_teardown(a_change_wakes, open_store, close_store),
        cmocka_unit_test_setup_teardown(shipped_ones_are_not_overwritten, open_store, close_store),
        cmocka_unit_test_setup_teardown(own_entries_stay, open_store, close_store),
        cmocka_unit_test_setup_teardown(the_rest_answers, open_store, close_store),
    };
    PTL_JSON *problems = json_array();
    if (ptl_kb_data_read(&ptl_kb_files_builtin, problems, &shipped) < 0)
        return 1;
    pg = ptl_test_pg_start(NULL);
    loop = ptl_loop_new(1, 64);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    ptl_loop_free(loop);
    ptl_test_pg_stop(pg);
    json_decref(shipped);
    return r;
}
