/* fuzz_kb_files.c - a folder with one file of any content: it is refused with problems, or what was imported
 * goes out as the same bytes and comes in again as no change; so it does when one of its objects is another
 * by then. The first byte chooses the file's name. */
#include "files.h"
#include "kb_small.h"
#include "../support/kb_tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ptl_kb_files nothing = {NULL, 0};
static json_t *doc;

static json_t *plan_of(const json_t *state, const json_t *files)
{
    PTL_JSON *problems = json_array();
    json_t *plan = NULL;
    int r = ptl_kb_files_plan(doc, &nothing, files, state, problems, &plan);
    if ((r < 0) != (json_array_size(problems) > 0) || (r < 0) != (plan == NULL))
        abort();
    return plan;
}

static size_t changes(const json_t *plan)
{
    return json_array_size(json_object_get(plan, "indicators")) +
           json_array_size(json_object_get(plan, "entries")) +
           json_array_size(json_object_get(plan, "retire"));
}

static json_t *folder_of(const json_t *state)
{
    json_t *list = NULL;
    if (ptl_kb_files_make(doc, &nothing, state, &list) < 0)
        abort();
    return list;
}

/* The folder of a state, taken in again, changes nothing. */
static void check_stable(const json_t *state)
{
    PTL_JSON *folder = folder_of(state);
    if (json_array_size(folder) == 0)
        return;
    PTL_JSON *plan = plan_of(state, folder);
    if (!plan || changes(plan) > 0)
        abort();
}

/* Somebody changes the first indicator, or retires it. */
static void check_changed(json_t *state)
{
    const char *id = NULL;
    json_t *v;
    json_object_foreach(json_object_get(state, "indicators"), id, v) break;
    if (!id)
        return;
    PTL_JSON *data = json_deep_copy(json_object_get(v, "data"));
    json_object_set_new(data, "summary", json_string("said: \"anew\" - # x: |\nand\n  - so on"));
    json_object_set(v, "data", data);
    check_stable(state);
    json_object_set_new(v, "retired", json_true());
    json_object_set_new(v, "by_person", json_true());
    check_stable(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"indicators/x.yml", "entries/x.yml", "indicators/deep/er.yml",
                                        "retired.yml"};
    if (!doc)
        doc = kb_small_doc();
    if (size < 1)
        return 0;
    const char *path = paths[data[0] % PTL_ARRAY_LEN(paths)];
    PTL_JSON *files = json_pack("[{s:s,s:s%}]", "path", path, "text", (const char *)data + 1, size - 1);
    if (!files || memchr(data + 1, 0, size - 1))
        return 0;
    PTL_JSON *state = kb_tables_new();
    PTL_JSON *plan = plan_of(state, files);
    if (plan) {
        kb_tables_apply(state, plan);
        PTL_JSON *folder = folder_of(state);
        const char *out = kb_tables_text(folder, path),
                   *in = ptl_json_str(json_array_get(files, 0), "text", "");
        if (strcmp(path, "retired.yml") != 0 && (!out || strcmp(out, in) != 0))
            abort();
        check_stable(state);
        check_changed(state);
    }
    PTL_BUF diff = PTL_BUF_MAX(1 << 20);
    PTL_FREE char *text = strndup((const char *)data + 1, size - 1);
    PTL_FREE char *half = strndup((const char *)data + 1, size / 2);
    ptl_kb_diff(text, half, &diff);
    return 0;
}
