/* test_spec_schema.c - the schema that editors get and the parser that decides are one: the shipped file is
 * what the table gives, and every property in it is a key that the parser knows. `test_spec_schema --write`
 * renews the file. */
#include <portolan/fs.h>
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#define SCHEMA_FILE PTL_SOURCE_DIR "/lib/spec/portolan.schema.json"

static char *printed(void)
{
    PTL_JSON *schema = ptl_spec_schema();
    PTL_FREE char *text = json_dumps(schema, JSON_INDENT(1) | JSON_SORT_KEYS);
    return ptl_xasprintf("%s\n", text);
}

static void the_shipped_file_is_the_table(void **state)
{
    (void)state;
    PTL_FREE char *want = printed();
    PTL_BUF have = PTL_BUF_INIT;
    assert_int_equal(ptl_fs_read(SCHEMA_FILE, 4 << 20, &have, NULL), 0);
    if (strcmp(ptl_buf_str(&have), want) != 0)
        fail_msg("%s is not what the table gives; run %s --write", SCHEMA_FILE, "test_spec_schema");
}

/* The map form of a definition: itself, or the one among its forms that has properties. */
static const json_t *properties(const json_t *definition)
{
    size_t i;
    json_t *form;
    const json_t *p = json_object_get(definition, "properties");
    json_array_foreach(json_object_get(definition, "anyOf"), i, form) if (!p) p =
        json_object_get(form, "properties");
    return p;
}

/* Where a map of that kind stands in a file. */
static const struct {
    const char *id, *before, *after;
} places[] = {
  /* clang-format off */
    {"", "", ""},
    {"on", "on: {", "}"},
    {"push", "on: {push: {", "}}"},
    {"schedule", "on: {schedule: [{", "}]}"},
    {"concurrency", "concurrency: {", "}"},
    {"stage", "export: {", "}"},
    {"retry", "export: {retry: {", "}}"},
    {"target", "targets: {t: {", "}}"},
    {"verify", "targets: {t: {verify: {", "}}}"},
    {"expect", "targets: {t: {verify: {expect: {", "}}}}" },
    {"regression", "targets: {t: {verify: {expect: {regression: {", "}}}}}"},
  /* clang-format on */
};

static bool known(const char *before, const char *key, const char *after)
{
    struct ptl_spec *s = NULL;
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    PTL_FREE char *yaml = ptl_xasprintf("%s%s: 0%s\n", before, key, after);
    int r = ptl_spec_parse(yaml, strlen(yaml), "f", &s, &diags);
    bool told = false;
    assert_int_equal(r, -EINVAL);
    for (size_t i = 0; i < diags.n; i++) {
        const char *dot = strrchr(diags.list[i].key, '.');
        bool about = strcmp(dot ? dot + 1 : diags.list[i].key, key) == 0;
        told |= about && (ptl_str_starts(diags.list[i].message, "unknown key") ||
                          ptl_str_starts(diags.list[i].message, "not a key of"));
    }
    ptl_spec_diags_done(&diags);
    return !told;
}

static void every_property_is_a_key_of_the_parser(void **state)
{
    (void)state;
    PTL_JSON *schema = ptl_spec_schema();
    const json_t *defs = json_object_get(schema, "$defs");
    size_t seen = 0;
    assert_int_equal(json_object_size(defs) + 1, PTL_ARRAY_LEN(places));
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        const json_t *p = properties(places[i].id[0] ? json_object_get(defs, places[i].id) : schema);
        const char *key;
        json_t *v;
        assert_true(json_object_size(p) > 0);
        json_object_foreach((json_t *)p, key, v)
        {
            seen++;
            if (!known(places[i].before, key, places[i].after))
                fail_msg("%s: the schema has '%s', the parser does not", places[i].id, key);
            if (known(places[i].before, "no_such_key", places[i].after))
                fail_msg("%s: the parser takes anything", places[i].id);
            assert_true(ptl_json_str(v, "description", NULL) != NULL);
        }
    }
    assert_true(seen > 150);
}

/* And the other way: every name that an unknown key is answered with stands in the schema. */
static void every_key_of_the_parser_is_a_property(void **state)
{
    (void)state;
    PTL_JSON *schema = ptl_spec_schema();
    const json_t *defs = json_object_get(schema, "$defs");
    for (size_t i = 0; i < PTL_ARRAY_LEN(places); i++) {
        const json_t *p = properties(places[i].id[0] ? json_object_get(defs, places[i].id) : schema);
        struct ptl_spec *s = NULL;
        struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
        PTL_FREE char *yaml = ptl_xasprintf("%sno_such_key: 0%s\n", places[i].before, places[i].after);
        assert_int_equal(ptl_spec_parse(yaml, strlen(yaml), "f", &s, &diags), -EINVAL);
        const char *list = NULL;
        for (size_t k = 0; k < diags.n; k++)
            if (strcmp(diags.list[k].message, "unknown key") == 0)
                list = diags.list[k].expected;
        assert_non_null(list);
        PTL_FREE char *words = ptl_xstrdup(list + strlen("one of "));
        for (char *save = NULL, *w = strtok_r(words, ", ", &save); w; w = strtok_r(NULL, ", ", &save))
            if (!json_object_get(p, w))
                fail_msg("%s: the parser has '%s', the schema does not", places[i].id, w);
        ptl_spec_diags_done(&diags);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        PTL_FREE char *text = printed();
        return ptl_fs_write_atomic(SCHEMA_FILE, text, strlen(text), 0644, NULL) < 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_file_is_the_table),
        cmocka_unit_test(every_property_is_a_key_of_the_parser),
        cmocka_unit_test(every_key_of_the_parser_is_a_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
