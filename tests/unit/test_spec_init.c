/* test_spec_init.c - the starting pipeline file for repositories of several kinds: it names what is there,
 * passes the parser, and asks the shipped recipes only for what they have. */
#include <portolan/fs.h>
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include <sys/stat.h>

static json_t *recipes;

static int load_recipe(void *ctx, const struct ptl_fs_entry *e)
{
    (void)ctx;
    if (!ptl_str_ends(e->path, "/recipe.yml"))
        return 0;
    PTL_BUF text = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    json_t *j = NULL;
    if (ptl_fs_read(e->full, 1 << 20, &text, &err) < 0 ||
        ptl_yaml_parse(ptl_buf_str(&text), text.len, e->path, &j, &err) < 0)
        fail_msg("%s", err.text);
    json_array_append_new(recipes, j);
    return 0;
}

static int load_recipes(void **state)
{
    (void)state;
    recipes = json_array();
    return ptl_fs_walk(PTL_SOURCE_DIR "/agents/recipes", 100000, load_recipe, NULL, NULL);
}

static int drop_recipes(void **state)
{
    (void)state;
    json_decref(recipes);
    return 0;
}

static const struct repo {
    const char *label;
    struct {
        const char *path, *text;
    } files[6];
    const char *says[4]; /* must stand in the file */
} repos[] = {
  /* clang-format off */
    {"empty", {{NULL, NULL}}, {"model: empty", "# No model, and no script", "uses: keras/saved-model"}},
    {"keras-script",
     {{"train.py", "import os\nimport tensorflow as tf\nfrom tensorflow import keras\n"},
      {"tools/export.py", "from keras import layers\ndef build():\n  pass\ndef golden():\n  pass\n"},
      {"tests/test_model.py", "import keras\n"}},
     {"script: \"tools/export.py\"", "uses: tensorflow/tflite", "uses: tfjs/run"}                                                                   },
    {"keras-file",
     {{"weights/m.keras", "PK"}, {"data/golden.npz", "PK"}},
     {"model: \"weights/m.keras\"", "golden: \"data/golden.npz\""}                                                                                  },
    {"saved-model",
     {{"sm/saved_model.pb", "x"}, {"sm/variables/variables.index", "x"}},
     {"model: \"sm\"", "golden: \"golden.npz\""}                                                                                                    },
    {"saved-model-at-root", {{"saved_model.pb", "x"}}, {"model: \".\""}                                                        },
    {"torch-script",
     {{"net.py", "import torch\nimport torch.nn as nn\n"}, {"w.pt", "PK"}},
     {"script: \"net.py\"", "uses: pytorch/onnx", "The script needs load()", "Weights were found in w.pt"}                                          },
    {"onnx-file", {{"a/b/model.onnx", "x"}}, {"cp \"a/b/model.onnx\"", "uses: onnxruntime-web/run"}                  },
    {"tflite-file", {{"model.tflite", "x"}}, {"cp \"model.tflite\"", "uses: litertjs/run"}                           },
    {"hidden-and-foreign",
     {{".git/x.keras", "x"},
      {"node_modules/a.onnx", "x"},
      {"venv/lib/keras.py", "import keras\n"},
      {"a\"b.onnx", "x"},
      {"words.py", "# import torch\n"}},
     {"# No model, and no script"}                                                                                                                  },
    {"Näme with spaces", {{NULL, NULL}}, {"model: N-me-with-spaces"}                                             },
    {"123", {{NULL, NULL}}, {"model: model"}                                                        },
  /* clang-format on */
};

static void write_repo(const char *dir, const struct repo *r)
{
    assert_int_equal(ptl_fs_mkdirs(dir, 0700, NULL), 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(r->files) && r->files[i].path; i++) {
        PTL_FREE char *path = ptl_fs_join(dir, r->files[i].path);
        PTL_FREE char *parent = ptl_xstrdup(path);
        *strrchr(parent, '/') = '\0';
        assert_int_equal(ptl_fs_mkdirs(parent, 0700, NULL), 0);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(r->files[i].text, f);
        assert_int_equal(fclose(f), 0);
    }
}

static void check_file(const struct repo *r, const struct ptl_buf *yaml)
{
    struct ptl_spec *s = NULL;
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    int parsed = ptl_spec_parse(ptl_buf_str(yaml), yaml->len, r->label, &s, &diags);
    int fits = parsed < 0 ? parsed : ptl_spec_check_recipes(s, recipes, &diags);
    PTL_FREE char *text = ptl_spec_diags_text(&diags);
    if (parsed < 0 || fits < 0 || diags.n)
        fail_msg("%s%s", text, ptl_buf_str(yaml));
    for (size_t i = 0; i < PTL_ARRAY_LEN(r->says) && r->says[i]; i++)
        if (!strstr(ptl_buf_str(yaml), r->says[i]))
            fail_msg("%s: '%s' is not in\n%s", r->label, r->says[i], ptl_buf_str(yaml));
    ptl_spec_free(s);
    ptl_spec_diags_done(&diags);
}

static void every_kind_of_repository(void **state)
{
    (void)state;
    char root[] = "/tmp/ptl-test-init.XXXXXX";
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < PTL_ARRAY_LEN(repos); i++) {
        PTL_FREE char *dir = ptl_fs_join(root, repos[i].label);
        PTL_BUF yaml = PTL_BUF_INIT;
        struct ptl_error err = PTL_ERROR_INIT;
        write_repo(dir, &repos[i]);
        if (ptl_spec_init(dir, &yaml, &err) < 0)
            fail_msg("%s: %s", repos[i].label, err.text);
        check_file(&repos[i], &yaml);
    }
    assert_int_equal(ptl_fs_remove_tree(root, NULL), 0);
}

static void no_such_folder(void **state)
{
    (void)state;
    PTL_BUF yaml = PTL_BUF_INIT;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_spec_init("/nonexistent/repo", &yaml, &err), -ENOENT);
    assert_string_equal(err.text, "init: /nonexistent/repo: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_repository),
        cmocka_unit_test(no_such_folder),
    };
    return cmocka_run_group_tests(tests, load_recipes, drop_recipes);
}
