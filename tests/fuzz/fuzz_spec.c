/* fuzz_spec.c - the pipeline file on any bytes: it is refused with a place inside the text, or gives a plan
 * in which every stage comes behind what it needs. The questions a daemon asks of a plan are asked too. */
#include <portolan/spec.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_order(const json_t *plan)
{
    PTL_JSON *seen = json_object();
    size_t i, k;
    json_t *stage, *need;
    json_array_foreach(json_object_get(plan, "stages"), i, stage)
    {
        json_array_foreach(json_object_get(stage, "needs"), k,
                           need) if (!json_object_get(seen, json_string_value(need))) abort();
        const char *name = ptl_json_str(stage, "name", NULL);
        if (!name || json_object_get(seen, name)) /* two stages of one name would be one row */
            abort();
        json_object_set_new(seen, name, json_true());
        if (ptl_json_i64(stage, "timeout_ms", 0) < 1000 ||
            ptl_json_i64(stage, "total_timeout_ms", 0) < ptl_json_i64(stage, "timeout_ms", 0))
            abort();
    }
    if (i == 0 || i > PTL_SPEC_MAX_STAGES)
        abort();
}

static void ask(const struct ptl_spec *s)
{
    static const char *const paths[] = {"src/a.py", "docs/b.md"};
    const char *why = NULL;
    if (!ptl_spec_on_push(s, "refs/heads/main", paths, 2, &why) && !why)
        abort();
    free(ptl_spec_group(s, "refs/heads/main"));
    free(ptl_json_text(ptl_spec_plan(s)));
    PTL_JSON *recipes = json_pack("[{s:s,s:s,s:{s:{s:s,s:b}}}]", "name", "a/b", "kind", "verify",
                                  "parameters", "p", "type", "integer", "required", 1);
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    diags.file = ptl_xstrdup("f");
    int r = ptl_spec_check_recipes(s, recipes, &diags);
    if ((r < 0) != (diags.errors > 0))
        abort();
    ptl_spec_diags_done(&diags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ptl_spec *s = NULL;
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    int r = ptl_spec_parse((const char *)data, size, "f", &s, &diags);
    if ((r == 0) != (s != NULL) || (r < 0 && r != -EINVAL) || (r == -EINVAL && diags.errors == 0) ||
        (r == 0 && diags.errors))
        abort();
    for (size_t i = 0; i < diags.n; i++)
        if (diags.list[i].line < 1 || diags.list[i].column < 1 || !diags.list[i].message[0])
            abort();
    free(ptl_spec_diags_text(&diags));
    json_decref(ptl_spec_diags_json(&diags));
    if (s) {
        check_order(ptl_spec_plan(s));
        ask(s);
    }
    ptl_spec_free(s);
    ptl_spec_diags_done(&diags);
    return 0;
}
