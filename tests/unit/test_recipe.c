/* test_recipe.c - recipes: what recipe.yml may say, and what a pipeline file may pass. Each error must name
 * the place and help. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "recipe.h"
#include "toolchain.h"
#include "yamljson.h"
#include <stdio.h>
#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/proc.h>

static char root[64];

static void put(const char *path, const char *text)
{
    PTL_FREE char *full = ptl_fs_join(root, path);
    PTL_FREE char *folder = ptl_xstrdup(full);
    *strrchr(folder, '/') = 0;
    assert_int_equal(ptl_fs_mkdirs(folder, 0755, NULL), 0);
    assert_int_equal(ptl_fs_write_atomic(full, text, strlen(text), 0644, NULL), 0);
}

/* ---- YAML ---- */

struct yaml_case {
    const char *label, *text, *json, *error;
};

static const struct yaml_case yaml_cases[] = {
    {"types",                       "{a: 1, b: -2.5, c: true, d: null, e: x, f: '1', g: 1e3, h: 0x10, i: ~}",
     "{\"a\":1,\"b\":-2.5,\"c\":true,\"d\":null,\"e\":\"x\",\"f\":\"1\",\"g\":1000.0,\"h\":16,\"i\":null}",                                          NULL                               },
    {"words that look like others", "[none, no, yes, on, 2.19.1, 1_000, -, 2026-11-23]",
     "[\"none\",\"no\",\"yes\",\"on\",\"2.19.1\",\"1_000\",\"-\",\"2026-11-23\"]",                                                                   NULL                               },
    {"blocks",                      "a:\n  - b: 1\n  - [x, \"y z\"]\n",                                       "{\"a\":[{\"b\":1},[\"x\",\"y z\"]]}", NULL                               },
    {"duplicate key",               "a: 1\nb: 2\na: 3\n",                                                     NULL,                                  "t.yml:3:1: this key is here twice"},
    {"alias",                       "a: &x 1\nb: *x\n",                                                       NULL,                                  "t.yml:2:4: aliases"               },
    {"tag",                         "a: !!python/object x\n",                                                 NULL,                                  "t.yml:1:4: tags"                  },
    {"not closed",                  "a: [1, 2\nb: 3\n",                                                       NULL,                                  "t.yml:2"                          },
    {"tabs",                        "a:\n\t- 1\n",                                                            NULL,                                  "t.yml:2"                          },
    {"two documents",               "a: 1\n---\nb: 2\n",                                                      NULL,                                  "second document"                  },
    {"nothing",                     "# only a comment\n",                                                     NULL,                                  "is empty"                         },
    {"list as key",                 "? [a, b]\n: 1\n",                                                        NULL,                                  "a key must be a word"             },
};

static void yaml_is_read_as_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(yaml_cases); i++) {
        const struct yaml_case *c = &yaml_cases[i];
        PTL_JSON *got = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        int r = ptl_yaml_parse(c->text, strlen(c->text), "t.yml", &got, &err);
        if (c->error) {
            if (r >= 0 || !strstr(err.text, c->error))
                fail_msg("%s: %d \"%s\"", c->label, r, err.text);
            continue;
        }
        PTL_JSON *want = json_loads(c->json, JSON_DECODE_ANY, NULL);
        PTL_FREE char *text = got ? ptl_json_text(got) : ptl_xstrdup(err.text);
        if (r < 0 || !json_equal(got, want))
            fail_msg("%s: %s", c->label, text);
    }
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    PTL_JSON *got = NULL;
    assert_true(ptl_yaml_parse(deep, sizeof(deep), "t.yml", &got, NULL) < 0);
}

/* ---- recipe.yml ---- */

struct file_case {
    const char *label, *name, *text, *error;
};

static const struct file_case file_cases[] = {
    {"good",                   "f/good", "{name: f/good, kind: convert, command: [x]}",                                 NULL                                                            },
    {"name differs",           "f/a",    "{name: f/b, kind: convert, command: [x]}",                                    "does not match its folder \"f/a\""                             },
    {"no name",                "f/b",    "{kind: convert, command: [x]}",                                               "name"                                                          },
    {"bad kind",               "f/c",    "{name: f/c, kind: konvert, command: [x]}",
     "kind: expected export, convert or verify, not \"konvert\""                                                                                                                        },
    {"bad host",               "f/d",    "{name: f/d, kind: verify, host: phone, command: [x]}",
     "host: expected server, mobile or browser"                                                                                                                                         },
    {"key misspelt",           "f/e",    "{name: f/e, kind: convert, comand: [x]}",
     "unknown key \"comand\"; did you mean \"command\"?"                                                                                                                                },
    {"neither",                "f/f",    "{name: f/f, kind: convert}",                                                  "either command or driver"                                      },
    {"both",                   "f/g",    "{name: f/g, kind: verify, command: [x], driver: {kind: fake}}",
     "either command or driver"                                                                                                                                                         },
    {"driver without kind",    "f/h",    "{name: f/h, kind: verify, driver: {x: 1}}",                                   "driver.kind"                                                   },
    {"command of numbers",     "f/i",    "{name: f/i, kind: convert, command: [x, 1]}",
     "command[1]: expected a string"                                                                                                                                                    },
    {"empty command",          "f/j",    "{name: f/j, kind: convert, command: []}",                                     "command: is empty"                                             },
    {"type misspelt",          "f/k",    "{name: f/k, kind: convert, command: [x], parameters: {p: {type: interger}}}",
     "parameters.p.type: expected one of string, path, integer, number, boolean, enum, list; did you mean \"integer\"?"                                                                 },
    {"enum without values",    "f/l",    "{name: f/l, kind: convert, command: [x], parameters: {p: {type: enum}}}",
     "parameters.p.values: expected a list"                                                                                                                                             },
    {"parameter key misspelt", "f/m",
     "{name: f/m, kind: convert, command: [x], parameters: {p: {type: path, requierd: true}}}",                         "parameters.p.requierd: unknown key; did you mean \"required\"?"},
    {"not YAML",               "f/n",    "{name: [",                                                                    "recipe.yml:"                                                   },
    {"a list",                 "f/o",    "[1]",                                                                         "expected a mapping"                                            },
};

static void recipe_files_are_held_to_their_schema(void **state)
{
    (void)state;
    for (size_t i = 0; i < PTL_ARRAY_LEN(file_cases); i++) {
        const struct file_case *c = &file_cases[i];
        PTL_FREE char *path = ptl_fs_join(c->name, "recipe.yml");
        put(path, c->text);
        PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        int rc = ptl_recipe_load(root, c->name, &r, &err);
        if (!c->error ? rc < 0 : rc >= 0 || !strstr(err.text, c->error))
            fail_msg("%s: %d \"%s\"", c->label, rc, err.text);
        if (c->error && r)
            fail_msg("%s: a failure left something behind", c->label);
    }
}

static void broken_recipes_do_not_hide_the_good_ones(void **state)
{
    (void)state;
    PTL_JSON *names = NULL;
    PTL_JSON *broken = NULL;
    assert_int_equal(ptl_recipe_list(root, &names, &broken, NULL), 0);
    assert_true(json_array_size(names) >= 1);
    assert_string_equal(json_string_value(json_array_get(names, 0)), "f/good");
    assert_int_equal(json_array_size(broken), PTL_ARRAY_LEN(file_cases) - 1);
}

static void an_unknown_recipe_names_the_nearest(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_true(ptl_recipe_load(root, "f/goood", &r, &err) < 0);
    assert_non_null(strstr(err.text, "did you mean \"f/good\"?"));
    static const char *const bad[] = {"../f/good", "/etc", "", "f//good", "."};
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++)
        assert_true(ptl_recipe_load(root, bad[i], &r, &err) < 0);
}

/* ---- with ---- */

static const char with_recipe[] = "name: p/all\nkind: convert\ncommand: [x]\nparameters:\n"
                                  "  script:   {type: path, required: true, help: \"the file to run\"}\n"
                                  "  quantize: {type: enum, values: [none, float16, int8], default: none}\n"
                                  "  opset:    {type: integer, default: 17, min: 7, max: 20}\n"
                                  "  atol:     {type: number, default: 0.5, min: 0}\n"
                                  "  fast:     {type: boolean, default: false}\n"
                                  "  label:    {type: string, default: \"\"}\n"
                                  "  ops:      {type: list, default: []}\n"
                                  "precision: {from: quantize, map: {none: fp32, int8: int8}}\n";

struct with_case {
    const char *label, *with, *expected, *error;
};

#define DEFAULTS                                                                                             \
    "\"atol\":0.5,\"fast\":false,\"label\":\"\",\"opset\":17,\"ops\":[],\"quantize\":\"none\",\"script\":\"export.py\""
static const struct with_case with_cases[] = {
    {"defaults",                   "{\"script\":\"export.py\"}",                                                      "{" DEFAULTS "}", NULL                                                 },
    {"null means default",         "{\"script\":\"export.py\",\"opset\":null}",                                       "{" DEFAULTS "}", NULL                                                 },
    {"path with ./",               "{\"script\":\"./export.py\"}",                                                    "{" DEFAULTS "}", NULL                                                 },
    {"text for numbers",           "{\"script\":\"export.py\",\"opset\":\"17\",\"atol\":\"0.5\",\"fast\":\"false\"}",
     "{" DEFAULTS "}",                                                                                                                  NULL                                                 },
    {"whole real",                 "{\"script\":\"export.py\",\"opset\":17.0}",                                       "{" DEFAULTS "}", NULL                                                 },
    {"path among the model files", "{\"script\":\"model.json\"}",                                                     NULL,             NULL                                                 },
    {"path to a folder",           "{\"script\":\"sub\"}",                                                            NULL,             NULL                                                 },
    {"one for a list",             "{\"script\":\"export.py\",\"ops\":\"Conv\"}",                                     NULL,             NULL                                                 },
    {"missing",                    "{}",                                                                              NULL,             "with.script: recipe p/all needs it: the file to run"},
    {"unknown, near",              "{\"script\":\"export.py\",\"quantise\":\"int8\"}",                                NULL,
     "with.quantise: recipe p/all has no such parameter; did you mean \"quantize\"?"                                                                                                         },
    {"unknown, far",               "{\"script\":\"export.py\",\"zzzzzzzz\":1}",                                       NULL,             "it takes: script, quantize, opset"                  },
    {"enum misspelt",              "{\"script\":\"export.py\",\"quantize\":\"int 8\"}",                               NULL,
     "with.quantize: expected one of none, float16, int8, not \"int 8\"; did you mean \"int8\"?"                                                                                             },
    {"enum of a wrong type",       "{\"script\":\"export.py\",\"quantize\":[1]}",                                     NULL,
     "with.quantize: expected a string, not a list"                                                                                                                                          },
    {"integer as word",            "{\"script\":\"export.py\",\"opset\":\"high\"}",                                   NULL,
     "with.opset: expected an integer, not \"high\""                                                                                                                                         },
    {"integer with fraction",      "{\"script\":\"export.py\",\"opset\":17.5}",                                       NULL,
     "with.opset: expected an integer"                                                                                                                                                       },
    {"integer too small",          "{\"script\":\"export.py\",\"opset\":6}",                                          NULL,
     "with.opset: 6 is below the least allowed, 7"                                                                                                                                           },
    {"integer too large",          "{\"script\":\"export.py\",\"opset\":99}",                                         NULL,
     "with.opset: 99 is above the most allowed, 20"                                                                                                                                          },
    {"integer as boolean",         "{\"script\":\"export.py\",\"opset\":true}",                                       NULL,
     "with.opset: expected an integer, not a boolean"                                                                                                                                        },
    {"number as word",             "{\"script\":\"export.py\",\"atol\":\"1e-5x\"}",                                   NULL,
     "with.atol: expected a number, not \"1e-5x\""                                                                                                                                           },
    {"number negative",            "{\"script\":\"export.py\",\"atol\":-1}",                                          NULL,             "with.atol: -1 is below"                             },
    {"boolean as word",            "{\"script\":\"export.py\",\"fast\":\"yes\"}",                                     NULL,
     "with.fast: expected true or false, not \"yes\""                                                                                                                                        },
    {"boolean as number",          "{\"script\":\"export.py\",\"fast\":1}",                                           NULL,
     "with.fast: expected true or false, not 1"                                                                                                                                              },
    {"list of lists",              "{\"script\":\"export.py\",\"ops\":[[1]]}",                                        NULL,
     "with.ops[0]: expected a word or a number, not a list"                                                                                                                                  },
    {"list as mapping",            "{\"script\":\"export.py\",\"ops\":{}}",                                           NULL,
     "with.ops: expected a list, not a mapping"                                                                                                                                              },
    {"string as list",             "{\"script\":\"export.py\",\"label\":[]}",                                         NULL,
     "with.label: expected a string, not a list"                                                                                                                                             },
    {"path misspelt",              "{\"script\":\"exprt.py\"}",                                                       NULL,
     "with.script: there is no \"exprt.py\" in the repository or among the model files; "
     "did you mean \"export.py\"?"                                                                                                                                                           },
    {"path outside",               "{\"script\":\"../export.py\"}",                                                   NULL,
     "with.script: expected a relative path without \"..\""                                                                                                                                  },
    {"path absolute",              "{\"script\":\"/etc/passwd\"}",                                                    NULL,             "with.script: expected a relative path"              },
    {"path of a wrong type",       "{\"script\":5}",                                                                  NULL,             "with.script: expected a path, not 5"                },
    {"not a mapping",              "[1]",                                                                             NULL,             "with: expected a mapping of parameters, not a list" },
};

static void parameters_are_checked(void **state)
{
    (void)state;
    put("p/all/recipe.yml", with_recipe);
    put("src/export.py", "");
    put("src/sub/x", "");
    put("model/model.json", "{}");
    PTL_FREE char *src = ptl_fs_join(root, "src");
    PTL_FREE char *model = ptl_fs_join(root, "model");
    const char *const roots[] = {src, model, NULL};
    PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_recipe_load(root, "p/all", &r, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < PTL_ARRAY_LEN(with_cases); i++) {
        const struct with_case *c = &with_cases[i];
        PTL_JSON *with = json_loads(c->with, 0, NULL);
        PTL_JSON *got = NULL;
        err = (struct ptl_error)PTL_ERROR_INIT;
        assert_non_null(with);
        int rc = ptl_recipe_check_with(r, with, roots, &got, &err);
        if (c->error) {
            if (rc >= 0 || got || !strstr(err.text, c->error))
                fail_msg("%s: %d \"%s\"", c->label, rc, err.text);
            continue;
        }
        if (rc < 0)
            fail_msg("%s: %s", c->label, err.text);
        PTL_JSON *want = c->expected ? json_loads(c->expected, 0, NULL) : json_incref(got);
        PTL_FREE char *text = ptl_json_text(got);
        if (!json_equal(got, want))
            fail_msg("%s: %s", c->label, text);
    }
}

static void precision_comes_from_the_parameters(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
    assert_int_equal(ptl_recipe_load(root, "p/all", &r, NULL), 0);
    PTL_JSON *with = json_loads("{\"quantize\":\"int8\"}", 0, NULL);
    assert_string_equal(ptl_recipe_precision(r, with), "int8");
    json_object_set_new(with, "quantize", json_string("float16"));
    assert_null(ptl_recipe_precision(r, with)); /* the map does not say */
    json_object_set_new(r->doc, "precision", json_string("fp16"));
    assert_string_equal(ptl_recipe_precision(r, with), "fp16");
}

static void templates_fill_in_what_they_know(void **state)
{
    (void)state;
    const char *const pairs[] = {"port", "80", "recipe", "/r/{port}", NULL};
    static const char *const cases[][2] = {
        {"{recipe}/x.py", "/r/{port}/x.py"},
        {"--port={port}", "--port=80"     },
        {"{ports} {} {",  "{ports} {} {"  },
        {"",              ""              },
        {"{port}{port}",  "8080"          },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        PTL_FREE char *got = ptl_template(cases[i][0], pairs);
        assert_string_equal(got, cases[i][1]);
    }
}

/* ---- what is shipped ---- */

static void every_shipped_recipe_loads(void **state)
{
    (void)state;
    PTL_JSON *names = NULL;
    PTL_JSON *broken = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i;
    json_t *item;
    if (ptl_recipe_list(PTL_SOURCE_DIR "/agents/recipes", &names, &broken, &err) < 0)
        fail_msg("%s", err.text);
    if (json_array_size(broken))
        fail_msg("%s", json_string_value(json_array_get(broken, 0)));
    json_array_foreach(names, i, item)
    {
        PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
        PTL_CLEANUP(ptl_toolchain_freep) struct ptl_toolchain *t = NULL;
        const char *key;
        json_t *p;
        assert_int_equal(ptl_recipe_load(PTL_SOURCE_DIR "/agents/recipes", json_string_value(item), &r, &err),
                         0);
        if (r->toolchain && ptl_toolchain_load(r->toolchain, &t, &err) < 0)
            fail_msg("%s: %s", r->name, err.text);
        /* defaults must pass their own check */
        PTL_JSON *with = json_object();
        json_object_foreach(json_object_get(r->doc, "parameters"), key, p) if (json_object_get(p, "default"))
            json_object_set(with, key, json_object_get(p, "default"));
        else if (ptl_json_flag(p, "required", false)) json_object_set_new(with, key, json_string("x"));
        PTL_JSON *checked = NULL;
        if (ptl_recipe_check_with(r, with, NULL, &checked, &err) < 0)
            fail_msg("%s: %s", r->name, err.text);
    }
}

static void toolchain_directories_are_named_as_prepare_names_them(void **state)
{
    (void)state;
    PTL_JSON *names = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i;
    json_t *item;
    setenv("PORTOLAN_TOOLCHAINS", "/nowhere/toolchains", 1);
    if (ptl_toolchain_list(&names, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(json_array_size(names) > 0);
    json_array_foreach(names, i, item)
    {
        const char *argv[] = {PTL_SOURCE_DIR "/agents/toolchains/prepare", "--path", json_string_value(item),
                              NULL};
        PTL_BUF out = PTL_BUF_MAX(65536);
        PTL_CLEANUP(ptl_toolchain_freep) struct ptl_toolchain *t = NULL;
        assert_int_equal(ptl_proc_capture(argv, 60000, &out, NULL), 0);
        if (ptl_toolchain_load(json_string_value(item), &t, &err) < 0)
            fail_msg("%s", err.text);
        out.data[strcspn(out.data, "\n")] = 0;
        assert_string_equal(t->dir, out.data);
        assert_null(t->versions);
        struct ptl_toolchain *none = NULL;
        assert_true(ptl_toolchain_find(json_string_value(item), &none, &err) < 0);
        assert_non_null(strstr(err.text, "portolan-agent toolchain prepare"));
    }
    struct ptl_toolchain *t = NULL;
    assert_true(ptl_toolchain_load("tensorflov", &t, &err) < 0);
    assert_non_null(strstr(err.text, "did you mean \"tensorflow\"?"));
    unsetenv("PORTOLAN_TOOLCHAINS");
}

static int group_setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/ptl-recipe-XXXXXX");
    setenv("PORTOLAN_TOOLCHAIN_FOLDERS", PTL_SOURCE_DIR "/agents/toolchains", 1);
    return mkdtemp(root) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return ptl_fs_remove_tree(root, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_is_read_as_json),
        cmocka_unit_test(recipe_files_are_held_to_their_schema),
        cmocka_unit_test(broken_recipes_do_not_hide_the_good_ones),
        cmocka_unit_test(an_unknown_recipe_names_the_nearest),
        cmocka_unit_test(parameters_are_checked),
        cmocka_unit_test(precision_comes_from_the_parameters),
        cmocka_unit_test(templates_fill_in_what_they_know),
        cmocka_unit_test(every_shipped_recipe_loads),
        cmocka_unit_test(toolchain_directories_are_named_as_prepare_names_them),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
