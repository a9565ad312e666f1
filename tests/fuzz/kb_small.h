/* kb_small.h - a small knowledge base for fuzz targets: every kind of node, role and condition that the
 * engine knows, and a text model trained from a few cases. */
#ifndef KB_SMALL_H
#define KB_SMALL_H
#include "kb.h"
#include "model.h"

static const char kb_small_text[] =
    "{\"version\":1,\"links\":[],\"entries\":[{\"id\":\"mobile/a/first\",\"about\":\"what alpha is\","
    "\"symptoms\":[\"alpha\"],\"causes\":[\"an old {tool}\"],\"remedies\":[{\"tool\":\"toco\",\"versions\":\">=1.2\","
    "\"text\":\"take {op}\",\"commands\":[\"pip install '{op}>={v|2}'\"]},{\"text\":\"wait\"}],"
    "\"dl_developer\":\"d\",\"platform_developer\":\"p\",\"decide\":[\"the whole log\"],\"sources\":[\"ours\"]}],"
    "\"nodes\":["
    "{\"id\":\"mobile\",\"taxonomy\":\"deployment\",\"kind\":\"root\",\"title\":\"M\"},"
    "{\"id\":\"mobile/a\",\"taxonomy\":\"deployment\",\"kind\":\"inner\",\"title\":\"a\",\"parent\":\"mobile\"},"
    "{\"id\":\"mobile/a/first\",\"taxonomy\":\"deployment\",\"kind\":\"leaf\",\"title\":\"f\",\"parent\":\"mobile/a\",\"share\":10},"
    "{\"id\":\"mobile/a/second\",\"taxonomy\":\"deployment\",\"kind\":\"leaf\",\"title\":\"s\",\"parent\":\"mobile/a\",\"share\":10},"
    "{\"id\":\"server\",\"taxonomy\":\"deployment\",\"kind\":\"root\",\"title\":\"S\"},"
    "{\"id\":\"server/s\",\"taxonomy\":\"deployment\",\"kind\":\"inner\",\"title\":\"s\",\"parent\":\"server\"},"
    "{\"id\":\"server/s/only\",\"taxonomy\":\"deployment\",\"kind\":\"leaf\",\"title\":\"o\",\"parent\":\"server/s\",\"share\":10},"
    "{\"id\":\"infra\",\"taxonomy\":\"job-failures\",\"kind\":\"root\",\"title\":\"I\"},"
    "{\"id\":\"infra/disk\",\"taxonomy\":\"job-failures\",\"kind\":\"leaf\",\"title\":\"d\",\"parent\":\"infra\",\"transient\":true}],"
    "\"indicators\":["
    "{\"id\":\"t/alpha\",\"pattern\":\"alpha (?<tool>[a-z]{1,40}) trouble\",\"weights\":{\"mobile\":{\"mobile/a/first\":0.9}},"
    "\"specificity\":0.9,\"summary\":\"alpha of {tool}\",\"transient\":false,\"remedy\":{\"text\":\"mend {tool}\",\"commands\":[\"mend {tool}\"]}},"
    "{\"id\":\"t/beta\",\"pattern\":\"beta trouble\",\"also\":[{\"pattern\":\"gamma (?<op>\\\\w+)\",\"within\":3}],"
    "\"unless\":[{\"pattern\":\"delta\\\\b\",\"within\":2},{\"pattern\":\"all is well\"}],\"flags\":[\"caseless\"],"
    "\"weights\":{\"any\":{\"mobile/a/second\":0.9,\"server/s/only\":0.4}},\"specificity\":0.9,\"summary\":\"beta on {op|no op}\"},"
    "{\"id\":\"t/disk\",\"pattern\":\"No space left on device\",\"weights\":{\"any\":{\"infra/disk\":1}},\"specificity\":1,"
    "\"summary\":\"the disk is full\",\"transient\":true},"
    "{\"id\":\"t/echo\",\"pattern\":\"echo trouble$\",\"role\":\"consequence\",\"weights\":{\"any\":{\"mobile/a/second\":0.95}},"
    "\"specificity\":0.95,\"summary\":\"echo\"},"
    "{\"id\":\"t/hint\",\"pattern\":\"^hint .*trouble\",\"role\":\"context\",\"weights\":{\"any\":{\"mobile/a/second\":0.9}},"
    "\"specificity\":0.9,\"summary\":\"hint\"},"
    "{\"id\":\"t/noise\",\"pattern\":\"trouble \\\\(ignored\\\\)\",\"role\":\"benign\",\"summary\":\"noise\"},"
    "{\"id\":\"t/plain\",\"pattern\":\"exit(?:ed)? with(?: code)? [1-9]\\\\d{0,2}\",\"role\":\"generic\",\"summary\":\"plain\"},"
    "{\"id\":\"t/op\",\"pattern\":\"no op (?<op>[A-Z]+) version (?<v>\\\\d+)\",\"scope\":{\"versions\":{\"tensorflow\":\"<2.0\"},"
    "\"tool\":[\"toco\"],\"platform\":[\"mobile\",\"server\"]},\"weights\":{\"mobile@verify\":{\"mobile/a/second\":0.9},"
    "\"mobile\":{\"mobile/a/first\":0.9},\"server\":{\"server/s/only\":0.9}},\"specificity\":0.9,\"summary\":\"{op} has no version {v} on {platform}\"},"
    "{\"id\":\"t/said\",\"pattern\":\"^\\\\x01(?:end|reason|report|preflight|signal)\\\\S* .*\",\"weights\":{\"any\":{\"server/s/only\":0.7}},"
    "\"specificity\":0.6,\"summary\":\"as the attempt says\"}]}";

static inline json_t *kb_small_doc(void)
{
    json_t *doc = json_loads(kb_small_text, 0, NULL);
    if (!doc)
        abort();
    return doc;
}

/* The bytes of a text model that knows two nodes by a few words. Caller frees. */
static inline void *kb_small_model(size_t *ret_len)
{
    static const struct {
        const char *label, *text;
    } t[] = {
        {"mobile/a/first",  "the alpha converter refused its graph" },
        {"mobile/a/second", "a second interpreter lacks an operator"},
        {"server/s/only",   "the serving daemon found no version"   },
        {"infra/disk",      "the volume is full and quota exceeded" },
    };
    struct ptl_kb_case cases[12] = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    void *model = NULL;
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        cases[i].label = t[i % 4].label;
        cases[i].weight = 1;
        ptl_kb_features_add(&cases[i].f, "", t[i % 4].text, strlen(t[i % 4].text), 1);
        ptl_kb_features_finish(&cases[i].f);
    }
    if (ptl_kb_train(cases, PTL_ARRAY_LEN(cases), &(struct ptl_kb_train_options){.min_cases = 1}, &model,
                     ret_len, &err) < 0)
        abort();
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        ptl_kb_features_done(&cases[i].f);
    return model;
}

/* `data` as edits of `base`: four bytes each, where (three) and what to exclusive-or there; where is behind
 * the end: cut there. Caller frees. */
static inline unsigned char *kb_edited(const void *base, size_t len, const uint8_t *data, size_t size,
                                       size_t *ret_len)
{
    unsigned char *b = malloc(len + 1);
    if (!b)
        abort();
    memcpy(b, base, len);
    for (; size >= 4; data += 4, size -= 4) {
        size_t at = (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16;
        if (at < len)
            b[at] ^= data[3];
        else if (len > 0)
            len = at % len;
    }
    *ret_len = len;
    return b;
}
#endif
