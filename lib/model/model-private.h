/* model-private.h - what the readers share: a mapped file, bounded little cursors over protobuf and
 * flatbuffers, and the facts being gathered. No reader allocates by a size that the file claims. */
#ifndef PTL_MODEL_PRIVATE_H
#define PTL_MODEL_PRIVATE_H
#include <portolan/buf.h>
#include <portolan/model.h>

struct bytes {
    const uint8_t *p;
    size_t n;
};
/* A regular file mapped for reading. */
struct mapping {
    struct bytes b;
    int fd;
};
PTL_NODISCARD int mapping_open(const char *path, struct mapping *ret, struct ptl_error *err);
void mapping_close(struct mapping *m);

/* ---- facts */
void fact_problem(json_t *facts, const char *fmt, ...) PTL_PRINTF(2, 3);
void fact_cut(json_t *facts, const char *fmt, ...) PTL_PRINTF(2, 3); /* the same sentence once */
/* facts[key][name] += n, bounded by PTL_MODEL_NAMES_MAX names. `name` need not be text. */
void fact_count(json_t *facts, const char *key, const char *name, size_t len, int64_t n);
/* Appends to the array facts[key] what is not in it yet, bounded. */
void fact_add(json_t *facts, const char *key, const char *name, size_t len);
void fact_plus(json_t *facts, const char *key, int64_t n); /* saturates */
/* Files beside the model that belong to it: path below its folder -> is there, how large. False: absent or
 * not inside. */
bool fact_part(const char *dir, const char *model_path, const char *part, char **ret_path,
               uint64_t *ret_bytes);
json_t *text_of(const uint8_t *p, size_t n); /* UTF-8 with U+FFFD for the rest, at most 400 bytes */
int64_t shape_elements(const json_t *shape, int64_t free_as); /* saturates; -1: no shape */
/* What a tensor of this type and shape weighs; 0 when unknown. */
int64_t tensor_bytes(const json_t *tensor);

/* ---- protobuf wire format */
struct pb {
    const uint8_t *p, *end;
    bool bad; /* sticky: a length or a varint that does not fit */
};
struct pb_field {
    uint32_t number;
    int wire;       /* 0 varint, 1 64-bit, 2 bytes, 5 32-bit */
    uint64_t value; /* of 0, 1 and 5 */
    struct bytes b; /* of 2 */
};
struct pb pb_of(struct bytes b);
bool pb_next(struct pb *pb, struct pb_field *f);              /* false at the end or when bad */
bool pb_is_message(struct bytes b);                           /* reads from end to end as fields */
struct bytes pb_bytes(struct bytes message, uint32_t number); /* last one; {NULL,0}: absent */
bool pb_varint(struct bytes message, uint32_t number, uint64_t *ret);

/* ---- one reader a format: fill facts; problems go into facts, I/O into err */
typedef int reader_fn(const char *dir, const char *path, struct bytes b, json_t *facts,
                      struct ptl_error *err);
reader_fn read_onnx, read_ort, read_tflite, read_saved_model, read_graphdef, read_hdf5, read_tfjs,
    read_safetensors, read_pickle, read_zip;

/* keras.c: a model's JSON configuration (Keras 2 or 3) into layers, custom_objects, … */
void keras_config(json_t *facts, const json_t *config, int depth);
/* torch.c: which classes and functions a pickle names. */
void pickle_globals(json_t *facts, struct bytes b);
#endif
