/* curate.c - what curators' calls need done on a worker: one object or many files held to their form, the
 * folder of files written. Nothing here touches the database: the routes read before and write after. */
#include "core-private.h"
#include "data.h"
#include "files.h"
#include "kb.h"
#include <portolan/hash.h>
#include <portolan/spec.h>

struct job {
    struct ptl_work work;
    struct ptl_core_kb *kb;
    enum ptl_core_curate what;
    json_t *in, *out, *problems;
    ptl_core_fn *fn;
    void *ctx;
    struct ptl_error err;
};

static void check_one(struct job *j)
{
    const json_t *doc = ptl_kb_doc(ptl_core_kb_of(j->kb));
    const char *yaml = ptl_json_str(j->in, "yaml", NULL);
    PTL_JSON *parsed = NULL;
    PTL_JSON *data = NULL;
    if (yaml && ptl_yaml_parse(yaml, strlen(yaml), "yaml", &parsed, &j->err) < 0) {
        json_array_append_new(j->problems, json_string(j->err.text));
        j->work.result = -EINVAL;
        return;
    }
    const json_t *object = parsed ? parsed : json_object_get(j->in, "object");
    const json_t *list = json_object_get(object, j->what == PTL_CURATE_ENTRY ? "entries" : "indicators");
    if (json_array_size(list) == 1) /* a file with one object is as good as the object */
        object = json_array_get(list, 0);
    j->work.result = j->what == PTL_CURATE_ENTRY
                         ? ptl_kb_entry_check(doc, "entry", object, j->problems, &data)
                         : ptl_kb_indicator_check(doc, "indicator", object, j->problems, &data);
    if (j->work.result == 0)
        j->out = json_pack("{s:s,s:O}", "id", ptl_json_str(data, "id", ""), "data", data);
}

/* Used once with the knowledge in force: what cannot be read or speaks of no node of it is refused. */
static void check_model(struct job *j)
{
    unsigned char *bytes = NULL;
    size_t len = 0;
    struct ptl_kb *kb = NULL;
    int r = ptl_base64_decode(ptl_json_str(j->in, "model", ""), &bytes, &len);
    PTL_FREE unsigned char *owned = bytes;
    /* The model is on trial, not the patterns: nodes are enough. */
    PTL_JSON *doc = json_pack("{s:i,s:o,s:[],s:[],s:[]}", "version", 1, "nodes",
                              json_deep_copy(json_object_get(ptl_kb_doc(ptl_core_kb_of(j->kb)), "nodes")),
                              "links", "entries", "indicators");
    if (r < 0)
        ptl_error_set(&j->err, -EINVAL, "model: not base64");
    if (r == 0)
        r = ptl_kb_new(doc, owned, len, &kb, &j->err);
    ptl_kb_free(kb);
    j->work.result = r == -ENOMEM ? r : r < 0 ? -EINVAL : 0;
    if (r < 0)
        json_array_append_new(j->problems, json_string(j->err.text));
    else
        j->out = json_pack("{s:I}", "bytes", (json_int_t)len);
}

static void run(struct ptl_work *w)
{
    struct job *j = (struct job *)w;
    const json_t *doc = ptl_kb_doc(ptl_core_kb_of(j->kb)), *state = json_object_get(j->in, "state");
    json_t *files = NULL;
    switch (j->what) {
    case PTL_CURATE_INDICATOR:
    case PTL_CURATE_ENTRY:
        check_one(j);
        break;
    case PTL_CURATE_PLAN:
        w->result = ptl_kb_files_plan(doc, &ptl_kb_files_builtin, json_object_get(j->in, "files"), state,
                                      j->problems, &j->out);
        break;
    case PTL_CURATE_MODEL:
        check_model(j);
        break;
    case PTL_CURATE_FOLDER:
        w->result = ptl_kb_files_make(doc, &ptl_kb_files_builtin, state, &files);
        j->out = files ? json_pack("{s:o}", "files", files) : NULL;
        break;
    }
}

static void done(struct ptl_work *w)
{
    struct job *j = (struct job *)w;
    size_t n = json_array_size(j->problems);
    if (w->result == -EINVAL) {
        const char *first = json_string_value(json_array_get(j->problems, 0));
        PTL_JSON *answer = json_pack("{s:O}", "problems", j->problems);
        if (n > 1)
            ptl_error_set(&j->err, -EINVAL, "%zu problems, the first: %s", n, first);
        else
            ptl_error_set(&j->err, -EINVAL, "%s", first ? first : "not well-formed");
        j->fn(j->ctx, w->result, answer, &j->err);
    } else {
        if (w->result < 0)
            ptl_error_set(&j->err, w->result, "%s",
                          w->result == -ECANCELED ? "the daemon stops" : "out of memory");
        j->fn(j->ctx, w->result, j->out, w->result ? &j->err : NULL);
    }
    ptl_core_kb_unref(j->kb);
    json_decref(j->in);
    json_decref(j->out);
    json_decref(j->problems);
    free(j);
}

void ptl_core_curate(struct ptl_core *core, enum ptl_core_curate what, json_t *in, ptl_core_fn *fn, void *ctx)
{
    struct ptl_core_kb *kb = ptl_core_kb_ref(core);
    struct job *j = ptl_xcalloc(1, sizeof(*j));
    *j = (struct job){
        .work = {.run = run, .done = done},
          .kb = kb, .what = what, .in = in, .fn = fn, .ctx = ctx
    };
    j->problems = json_array();
    if (kb && ptl_loop_submit(core->loop, &j->work) == 0)
        return;
    ptl_error_set(&j->err, PTL_FULL, "%s, try again in a moment",
                  kb ? "too much waits for a worker" : "the knowledge base is being compiled");
    fn(ctx, PTL_FULL, NULL, &j->err);
    ptl_core_kb_unref(kb);
    json_decref(in);
    json_decref(j->problems);
    free(j);
}
