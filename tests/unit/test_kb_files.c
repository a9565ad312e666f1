/* test_kb_files.c - the knowledge as a folder: what is imported and not changed goes out as the same bytes,
 * what ships too; a change touches the lines of its object only; nothing half-right is imported. */
#include "files.h"
#include "kb.h"
#include "../support/kb_tables.h"
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static json_t *doc; /* what ships */

static int set_up(void **s PTL_UNUSED)
{
    PTL_JSON *problems = json_array();
    return ptl_kb_data_read(&ptl_kb_files_builtin, problems, &doc) || json_array_size(problems);
}

static int tear_down(void **s PTL_UNUSED)
{
    json_decref(doc);
    return 0;
}

/* The tables right after the files were loaded. */
static json_t *state_new(void)
{
    json_t *state = kb_tables_new(), *v;
    size_t i;
    json_array_foreach(json_object_get(doc, "indicators"), i, v) json_object_set_new(
        json_object_get(state, "indicators"), ptl_json_str(v, "id", ""),
        json_pack("{s:O,s:i,s:b,s:b}", "data", v, "revision", 1, "retired", 0, "by_person", 0));
    json_array_foreach(json_object_get(doc, "entries"), i, v)
        json_object_set_new(json_object_get(state, "entries"), ptl_json_str(v, "id", ""),
                            json_pack("{s:O,s:O,s:i}", "entry", v, "shipped", v, "revision", 1));
    return state;
}

static json_t *plan(const json_t *state, const char *path, const char *text)
{
    PTL_JSON *files = json_pack("[{s:s,s:s}]", "path", path, "text", text);
    PTL_JSON *problems = json_array();
    json_t *out = NULL;
    if (ptl_kb_files_plan(doc, &ptl_kb_files_builtin, files, state, problems, &out) < 0)
        fail_msg("%s: %s", path, json_string_value(json_array_get(problems, 0)));
    return out;
}

static json_t *make(const json_t *state)
{
    json_t *out = NULL;
    assert_int_equal(ptl_kb_files_make(doc, &ptl_kb_files_builtin, state, &out), 0);
    return out;
}

static void every_object_as_yaml_reads_back(void **s PTL_UNUSED)
{
    for (int k = 0; k < 2; k++) {
        const char *key = k ? "entries" : "indicators";
        size_t i;
        json_t *v;
        json_array_foreach(json_object_get(doc, key), i, v)
        {
            PTL_FREE char *text = k ? ptl_kb_entry_yaml(v) : ptl_kb_indicator_yaml(v);
            PTL_JSON *back = NULL;
            PTL_JSON *checked = NULL;
            PTL_JSON *problems = json_array();
            PTL_JSON *want = json_copy(v);
            struct ptl_error err = PTL_ERROR_INIT;
            json_object_del(want, "file");
            if (ptl_yaml_parse(text, strlen(text), "yaml", &back, &err) < 0)
                fail_msg("%s: %s\n%s", ptl_json_str(v, "id", ""), err.text, text);
            int r = k ? ptl_kb_entry_check(doc, "yaml", back, problems, &checked)
                      : ptl_kb_indicator_check(doc, "yaml", back, problems, &checked);
            if (r < 0)
                fail_msg("%s: %s\n%s", ptl_json_str(v, "id", ""),
                         json_string_value(json_array_get(problems, 0)), text);
            if (!json_equal(checked, want))
                fail_msg("%s: another object:\n%s", ptl_json_str(v, "id", ""), text);
        }
        assert_true(i > 70);
    }
}

static void what_ships_goes_out_as_the_same_bytes(void **s PTL_UNUSED)
{
    PTL_JSON *state = state_new();
    PTL_JSON *files = make(state);
    assert_int_equal(json_array_size(files), ptl_kb_files_builtin.n);
    for (size_t i = 0; i < ptl_kb_files_builtin.n; i++) {
        const struct ptl_kb_file *f = &ptl_kb_files_builtin.v[i];
        const char *text = kb_tables_text(files, f->path);
        if (ptl_str_ends(f->path, ".yml") && !ptl_str_eq(text, f->text))
            fail_msg("%s: other bytes", f->path);
    }
    /* … and what went out comes in as nothing new. */
    PTL_JSON *problems = json_array();
    PTL_JSON *p = NULL;
    assert_int_equal(ptl_kb_files_plan(doc, &ptl_kb_files_builtin, files, state, problems, &p), 0);
    assert_int_equal(json_array_size(json_object_get(p, "indicators")), 0);
    assert_int_equal(json_array_size(json_object_get(p, "entries")), 0);
    assert_int_equal(json_array_size(json_object_get(p, "keep")), 0);
}

#define NODE "mobile/dl-integration-into-projects/avoiding-version-incompatibility"
static const char own[] = "# our house's words\nversion: 1\n\nindicators:\n"
                          "- id: local/widget   # the first\n"
                          "  pattern: \"WIDGET-77 refuses\"\n"
                          "  summary: >-\n    the widget\n    refuses\n"
                          "  weights:\n    mobile: {" NODE ": 0.9}\n"
                          "  specificity: 0.9\n  transient: false\n  sources: []\n"
                          "\n# the second one: seen in March\n"
                          "- {id: local/gadget, pattern: 'GADGET jammed', role: benign}\n"
                          "# the end\n";

static void what_is_imported_goes_out_as_the_same_bytes(void **s PTL_UNUSED)
{
    PTL_JSON *state = state_new();
    PTL_JSON *p = plan(state, "indicators/house.yml", own);
    assert_int_equal(json_array_size(json_object_get(p, "indicators")), 2);
    kb_tables_apply(state, p);
    PTL_JSON *files = make(state);
    assert_string_equal(kb_tables_text(files, "indicators/house.yml"), own);
    PTL_JSON *again = plan(state, "indicators/house.yml", own);
    assert_int_equal(json_array_size(json_object_get(again, "indicators")), 0);
    assert_int_equal(json_array_size(json_object_get(again, "keep")), 0);
    assert_int_equal(ptl_json_i64(again, "unchanged", 0), 2);
}

static void a_change_touches_its_own_lines_only(void **s PTL_UNUSED)
{
    PTL_JSON *state = state_new();
    PTL_JSON *p = plan(state, "indicators/house.yml", own);
    kb_tables_apply(state, p);
    json_t *data =
        json_object_get(json_object_get(json_object_get(state, "indicators"), "local/gadget"), "data");
    json_object_set_new(data, "pattern", json_string("GADGET is jammed"));
    PTL_JSON *files = make(state);
    PTL_FREE char *want =
        ptl_xasprintf("%.*s- id: local/gadget\n  pattern: GADGET is jammed\n  role: benign\n# the end\n",
                      (int)(strstr(own, "- {id") - own), own);
    assert_string_equal(kb_tables_text(files, "indicators/house.yml"), want);
    /* One more, that says it is of that file, goes to its end; one that says nothing into a file of its own.
     */
    json_object_set_new(json_object_get(state, "indicators"), "local/third",
                        json_pack("{s:{s:s,s:s,s:s,s:s},s:i,s:b,s:b}", "data", "id", "local/third", "pattern",
                                  "third thing", "role", "generic", "file", "indicators/house.yml",
                                  "revision", 1, "retired", 0, "by_person", 0));
    json_object_set_new(json_object_get(state, "indicators"), "local/fourth",
                        json_pack("{s:{s:s,s:s,s:s},s:i,s:b,s:b}", "data", "id", "local/fourth", "pattern",
                                  "fourth thing", "role", "generic", "revision", 1, "retired", 1, "by_person",
                                  1));
    PTL_JSON *more = make(state);
    PTL_FREE char *longer =
        ptl_xasprintf("%s- id: local/third\n  pattern: third thing\n  role: generic\n", want);
    assert_string_equal(kb_tables_text(more, "indicators/house.yml"), longer);
    assert_string_equal(
        kb_tables_text(more, "indicators/local.yml"),
        "version: 1\nindicators:\n  - id: local/fourth\n    pattern: fourth thing\n    role: generic\n");
    assert_string_equal(kb_tables_text(more, "retired.yml"), "version: 1\nretired:\n  - local/fourth\n");
    for (size_t i = 0; i < ptl_kb_files_builtin.n; i++)
        if (ptl_str_ends(ptl_kb_files_builtin.v[i].path, ".yml"))
            assert_string_equal(kb_tables_text(more, ptl_kb_files_builtin.v[i].path),
                                ptl_kb_files_builtin.v[i].text);
    /* All of it into empty tables, and out again: the same folder. */
    PTL_JSON *other = state_new();
    PTL_JSON *problems = json_array();
    PTL_JSON *all = NULL;
    if (ptl_kb_files_plan(doc, &ptl_kb_files_builtin, more, other, problems, &all) < 0)
        fail_msg("%s", json_string_value(json_array_get(problems, 0)));
    kb_tables_apply(other, all);
    PTL_JSON *out = make(other);
    assert_true(json_equal(out, more));
}

static void an_edited_entry_goes_out_in_its_file_and_comes_back(void **s PTL_UNUSED)
{
    PTL_JSON *state = state_new();
    const struct ptl_kb_file *f = ptl_kb_file_find(&ptl_kb_files_builtin, "entries/mobile.yml");
    json_t *now = json_object_get(json_object_get(state, "entries"), NODE);
    assert_non_null(now);
    json_t *entry = json_deep_copy(json_object_get(now, "entry"));
    json_object_set_new(entry, "about",
                        json_string("our own words: a runtime and a converter of other years"));
    json_object_set_new(now, "entry", entry);
    PTL_JSON *files = make(state);
    const char *text = kb_tables_text(files, "entries/mobile.yml");
    assert_non_null(strstr(text, "our own words"));
    assert_string_not_equal(text, f->text);
    size_t same = 0;
    while (text[same] && text[same] == f->text[same])
        same++;
    assert_int_equal(strncmp(f->text + same - 40, text + same - 40, 40), 0);
    /* Into other tables: an edit. The shipped file over it: as shipped again. */
    PTL_JSON *other = state_new();
    PTL_JSON *p = plan(other, "entries/mobile.yml", text);
    assert_int_equal(json_array_size(json_object_get(p, "entries")), 1);
    kb_tables_apply(other, p);
    PTL_JSON *out = make(other);
    assert_string_equal(kb_tables_text(out, "entries/mobile.yml"), text);
    PTL_JSON *back = plan(other, "entries/mobile.yml", f->text);
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(back, "entries"), 0), "entry")));
    kb_tables_apply(other, back);
    PTL_JSON *clean = make(other);
    assert_string_equal(kb_tables_text(clean, "entries/mobile.yml"), f->text);
}

static void nothing_half_right_is_imported(void **s PTL_UNUSED)
{
    static const struct {
        const char *label, *path, *text, *says;
    } t[] = {
        {"not YAML",        "indicators/x.yml",      "version: [",                                                                                                       "indicators/x.yml:"             },
        {"no list",         "indicators/x.yml",      "version: 1\nentries: []\n",                                                                                        "a list of that folder's name"  },
        {"not one's own",   "indicators/x.yml",
         "version: 1\nindicators:\n- {id: tflite/new-one, pattern: 'some words', role: generic}\n",                                                                      "local/"                        },
        {"bad pattern",     "indicators/x.yml",
         "version: 1\nindicators:\n- {id: local/x, pattern: 'a(', role: generic}\n",                                                                                     "local/x"                       },
        {"unknown key",     "indicators/x.yml",
         "version: 1\nindicators:\n- {id: local/x, pattern: 'some words', role: generic, colour: red}\n",                                                                "colour"                        },
        {"unknown node",    "indicators/x.yml",
         "version: 1\nindicators:\n- {id: local/x, pattern: 'some words', summary: s, weights: {any: {no/where: 1}}, specificity: 0.5, transient: null, sources: []}\n",
         "no/where"                                                                                                                                                                                      },
        {"twice",           "indicators/x.yml",
         "version: 1\nindicators:\n- {id: local/x, pattern: 'some words', role: generic}\n- {id: local/x, pattern: 'other words', role: generic}\n",
         "twice"                                                                                                                                                                                         },
        {"outside",         "../x.yml",              "version: 1\n",                                                                                                     "relative"                      },
        {"taxonomy",        "taxonomy/own.yml",      "version: 1\n",                                                                                                     "belong to the program"         },
        {"unknown retired", "retired.yml",           "version: 1\nretired: [no/such]\n",                                                                                 "no such indicator"             },
        {"shipped changed", "indicators/litert.yml",
         "version: 1\nindicators:\n- {id: litert/builtin-op-version, pattern: 'some words', role: generic}\n",                                                           "cannot be changed by an import"},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *state = state_new();
        PTL_JSON *files = json_pack("[{s:s,s:s},{s:s,s:s}]", "path", t[i].path, "text", t[i].text, "path",
                                    "indicators/good.yml", "text", own);
        PTL_JSON *problems = json_array();
        PTL_JSON *out = NULL;
        if (ptl_kb_files_plan(doc, &ptl_kb_files_builtin, files, state, problems, &out) != -EINVAL || out)
            fail_msg("%s: passed", t[i].label);
        if (!strstr(json_string_value(json_array_get(problems, 0)), t[i].says))
            fail_msg("%s: said %s", t[i].label, json_string_value(json_array_get(problems, 0)));
    }
}

static void differences_show_what_changed(void **s PTL_UNUSED)
{
    static const struct {
        const char *label, *a, *b, *want;
    } t[] = {
        {"new",                   NULL,                             "x\ny\n",                         "+x\n+y\n"        },
        {"gone",                  "x\n",                            NULL,                             "-x\n"            },
        {"same",                  "x\ny\n",                         "x\ny\n",                         ""                },
        {"one line",              "a\nb\nc\n",                      "a\nB\nc\n",                      " a\n-b\n+B\n c\n"},
        {"far apart",             "1\n2\n3\n4\n5\n6\n7\n8\n9\nx\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n",
         "+0\n 1\n 2\n 3\n...\n 7\n 8\n 9\n-x\n"                                                                        },
        {"no newline at the end", "a",                              "a\nb",                           " a\n+b\n"        },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_BUF b = PTL_BUF_INIT;
        ptl_kb_diff(t[i].a, t[i].b, &b);
        if (strcmp(ptl_buf_str(&b), t[i].want) != 0)
            fail_msg("%s:\n%s", t[i].label, ptl_buf_str(&b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_object_as_yaml_reads_back),
        cmocka_unit_test(what_ships_goes_out_as_the_same_bytes),
        cmocka_unit_test(what_is_imported_goes_out_as_the_same_bytes),
        cmocka_unit_test(a_change_touches_its_own_lines_only),
        cmocka_unit_test(an_edited_entry_goes_out_in_its_file_and_comes_back),
        cmocka_unit_test(nothing_half_right_is_imported),
        cmocka_unit_test(differences_show_what_changed),
    };
    return cmocka_run_group_tests_name("kb_files", tests, set_up, tear_down);
}
