/* protocol.c - chooses between the two protocols. Pure. */
#include "protocol.h"
#include "oip.h"
#include "tfserving.h"

#include <stdio.h>
#include <portolan/client.h>

void ptl_serve_model_done(struct ptl_serve_model *m)
{
    json_decref(m->inputs);
    json_decref(m->output_dtypes);
    *m = (struct ptl_serve_model){0};
}

char *ptl_serve_metadata_path(const struct ptl_serve_options *o)
{
    PTL_FREE char *name = ptl_url_encode(o->model_name);
    return o->protocol == PTL_SERVE_TF ? ptl_xasprintf("/v1/models/%s/metadata", name)
                                       : ptl_xasprintf("/v2/models/%s", name);
}

char *ptl_serve_infer_path(const struct ptl_serve_options *o)
{
    PTL_FREE char *name = ptl_url_encode(o->model_name);
    return o->protocol == PTL_SERVE_TF ? ptl_xasprintf("/v1/models/%s:predict", name)
                                       : ptl_xasprintf("/v2/models/%s/infer", name);
}

int ptl_serve_metadata(const struct ptl_serve_options *o, const json_t *answer, struct ptl_serve_model *ret,
                       struct ptl_error *err)
{
    return o->protocol == PTL_SERVE_TF ? ptl_tf_metadata(answer, o->signature_name, ret, err)
                                       : ptl_oip_metadata(answer, ret, err);
}

bool ptl_serve_is_ready(const struct ptl_serve_options *o, const char *body, size_t len)
{
    return o->protocol == PTL_SERVE_TF ? ptl_tf_is_ready(body, len) : true;
}

int ptl_serve_request(const struct ptl_serve_options *o, const struct ptl_tensors *t, uint64_t first,
                      uint64_t count, struct ptl_buf *ret, struct ptl_error *err)
{
    return o->protocol == PTL_SERVE_TF ? ptl_tf_request(o, t, first, count, ret, err)
                                       : ptl_oip_request(t, first, count, ret, err);
}

int ptl_serve_answer(const struct ptl_serve_options *o, const struct ptl_serve_model *model,
                     const json_t *answer, struct ptl_tensors *t, uint64_t count, uint64_t keep,
                     struct ptl_error *err)
{
    return o->protocol == PTL_SERVE_TF ? ptl_tf_answer(model, answer, t, count, keep, err)
                                       : ptl_oip_answer(answer, t, count, keep, err);
}

void ptl_serve_error_text(const char *body, size_t len, char *ret, size_t size)
{
    PTL_JSON *j = json_loadb(body, len, 0, NULL);
    const char *error = ptl_json_str(j, "error", NULL);
    PTL_FREE char *clean = ptl_json_text_utf8(error ? error : body, error        ? strlen(error)
                                                                    : len < 2000 ? len
                                                                                 : 2000);
    snprintf(ret, size, "%s", clean);
    for (char *c = ret; *c; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
}
