/* kb_tables.h - what the statements of `portolan kb import` do to the tables, on a JSON stand-in of them as
 * ptl_kb_files_plan() and ptl_kb_files_make() take it. For the tests of the knowledge as a folder. */
#ifndef KB_TABLES_H
#define KB_TABLES_H
#include <portolan/json.h>

static inline json_t *kb_tables_new(void)
{
    return json_pack("{s:{},s:{},s:{}}", "indicators", "entries", "files");
}

static inline void kb_tables_apply(json_t *state, const json_t *plan)
{
    json_t *indicators = json_object_get(state, "indicators"), *entries = json_object_get(state, "entries"),
           *files = json_object_get(state, "files"), *v;
    size_t i;
    json_array_foreach(json_object_get(plan, "indicators"), i, v) json_object_set_new(
        indicators, ptl_json_str(v, "id", ""),
        json_pack("{s:O,s:I,s:b,s:b}", "data", json_object_get(v, "data"), "revision",
                  (json_int_t)ptl_json_i64(v, "revision", 0) + 1, "retired", 0, "by_person", 0));
    json_array_foreach(json_object_get(plan, "entries"), i, v)
    {
        const char *id = ptl_json_str(v, "id", "");
        json_t *entry = json_object_get(v, "entry"), *now = json_object_get(entries, id);
        if (!now)
            json_object_set_new(entries, id,
                                now = json_pack("{s:n,s:n,s:i}", "entry", "shipped", "revision", 1));
        json_object_set(now, "entry", json_is_null(entry) ? json_object_get(now, "shipped") : entry);
    }
    json_array_foreach(json_object_get(plan, "retire"), i, v)
    {
        json_t *now = json_object_get(indicators, json_string_value(v));
        json_object_set_new(now, "retired", json_true());
        json_object_set_new(now, "by_person", json_true());
    }
    json_array_foreach(json_object_get(plan, "keep"), i, v)
        json_object_set(files, ptl_json_str(v, "path", ""), json_object_get(v, "text"));
    json_array_foreach(json_object_get(plan, "forget"), i, v) json_object_del(files, json_string_value(v));
}

/* The text of a file of a folder; NULL: there is none of that path. */
static inline const char *kb_tables_text(const json_t *folder, const char *path)
{
    size_t i;
    const json_t *v;
    json_array_foreach(folder, i, v) if (ptl_str_eq(ptl_json_str(v, "path", ""), path)) return ptl_json_str(
        v, "text", NULL);
    return NULL;
}
#endif
