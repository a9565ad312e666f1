/* fuzz_kb_diagnose.c - a whole diagnosis of hostile logs with a small knowledge and text model. The first two
 * bytes choose the facts, a line "=== next" begins the log of a stage before. The answer is well-formed
 * whatever was printed, quotes what stands there, and is the same each time. */
#include "kb_small.h"
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ptl_kb *kb;

static json_t *facts_of(unsigned a, unsigned b)
{
    static const char *const platforms[] = {"mobile", "server", "browser", NULL, "nowhere"};
    static const char *const kinds[] = {"verify", "convert", "export", NULL};
    static const char *const ends[] = {NULL, "exit", "signal", "oom", "timeout", "setup", "agent_lost"};
    json_t *f = json_pack("{s:s*,s:s*,s:s*,s:i}", "platform", platforms[a % 5], "kind", kinds[a / 5 % 4],
                          "end_reason", ends[a / 20 % 7], "exit_code", (int)b);
    if (b & 1)
        json_object_set_new(f, "tool", json_string("toco 1.15"));
    if (b & 2)
        json_object_set_new(f, "environment", json_pack("{s:s,s:s}", "tensorflow", "1.15", "python", "3.9"));
    if (b & 4)
        json_object_set_new(f, "export_environment", json_pack("{s:s}", "tensorflow", "2.4"));
    if (b & 8)
        json_object_set_new(f, "counts", json_pack("{s:i,s:i}", "mobile/a/first", 7, "gone/node", 3));
    if (b & 16)
        json_object_set_new(f, "feedback", json_pack("{s:f}", "mobile/a/second", 0.7));
    if (b & 32)
        json_object_set_new(
            f, "report",
            json_loads(
                "{\"verdict\":\"red\",\"precision\":\"int8\",\"outputs\":[{\"name\":\"y\",\"verdict\":\"red\","
                "\"cosine\":0.3,\"reasons\":[{\"code\":\"nan\",\"text\":\"NaN\"}]}],\"budgets\":[3,{}]}",
                0, NULL));
    if (b & 64)
        json_object_set_new(
            f, "preflight",
            json_loads("[{\"severity\":\"error\",\"rule\":\"r\",\"message\":\"m\"},7]", 0, NULL));
    if (b & 128)
        json_object_set_new(f, "warnings", json_loads("[\"alpha toco trouble\",null]", 0, NULL));
    return f;
}

static void check(const json_t *d, const struct ptl_kb_log *logs, size_t n)
{
    size_t i;
    const json_t *v;
    double before = 2;
    const char *state = ptl_json_str(d, "state", "");
    if (strcmp(state, "diagnosed") != 0 && strcmp(state, "unclear") != 0)
        abort();
    json_array_foreach(json_object_get(d, "ranked"), i, v)
    {
        double p = ptl_json_num(v, "p", -1);
        if (!isfinite(p) || p < 0 || p > 1 || (i > 0 && p > before + 1e-9) || !ptl_json_str(v, "id", NULL))
            abort();
        before = p;
    }
    if (json_array_size(json_object_get(d, "challenges")) > 8 ||
        json_array_size(json_object_get(d, "evidence")) > 12)
        abort();
    json_array_foreach(json_object_get(d, "evidence"), i, v)
    {
        int64_t line = ptl_json_i64(v, "line", -1), offset = ptl_json_i64(v, "offset", -1),
                length = ptl_json_i64(v, "length", -1);
        if (line < 0 || (line > 0 && (offset < 0 || length < 0)))
            abort();
        size_t longest = 0;
        for (size_t k = 0; k < n; k++)
            longest = logs[k].len > longest ? logs[k].len : longest;
        if (line > 0 && (uint64_t)offset + (uint64_t)length > longest)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char next[] = "=== next\n";
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb_log logs[PTL_KB_LOGS_MAX];
    json_t *d[2] = {NULL, NULL};
    if (!kb) {
        size_t len = 0;
        void *model = kb_small_model(&len);
        if (ptl_kb_new_take(kb_small_doc(), model, len, NULL, NULL, 0, &kb, &err) < 0)
            abort();
        free(model);
    }
    if (size < 2)
        return 0;
    PTL_JSON *facts = facts_of(data[0], data[1]);
    const char *p = (const char *)data + 2, *end = (const char *)data + size;
    size_t n = 0;
    while (n < PTL_KB_LOGS_MAX) {
        const char *at = memmem(p, (size_t)(end - p), next, sizeof(next) - 1);
        const char *stop = at && n + 1 < PTL_KB_LOGS_MAX ? at : end;
        logs[n] = (struct ptl_kb_log){.stage = n ? "convert/x" : NULL,
                                      .kind = n ? "convert" : NULL,
                                      .text = p,
                                      .len = (size_t)(stop - p)};
        n++;
        if (stop == end)
            break;
        p = stop + sizeof(next) - 1;
    }
    for (int i = 0; i < 2; i++)
        if (ptl_kb_diagnose(kb, facts, logs, n, &d[i], &err) < 0)
            abort();
    check(d[0], logs, n);
    char *a = json_dumps(d[0], JSON_COMPACT | JSON_SORT_KEYS),
         *b = json_dumps(d[1], JSON_COMPACT | JSON_SORT_KEYS);
    if (!a || !b || strcmp(a, b) != 0)
        abort();
    free(a);
    free(b);
    json_decref(d[0]);
    json_decref(d[1]);
    return 0;
}
