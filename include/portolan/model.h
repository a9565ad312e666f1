/* model.h - what a model file says of itself, read from its bytes without any framework: ONNX, ORT format,
 * TFLite, SavedModel, frozen GraphDef, Keras archives and HDF5, TensorFlow.js, Torch archives and pickles,
 * safetensors, and what stands where a model should be (Git-LFS pointers, web pages). Headers and structure
 * only; weights are measured, never loaded. Any thread; blocking.
 *
 * Everything read comes from a repository nobody vouches for: sizes, depths and counts are bounded (the
 * bounds below), every cut is told in "cuts", and a file that contradicts itself is no error of ours but a
 * "problem" of the file. */
#ifndef PORTOLAN_MODEL_H
#define PORTOLAN_MODEL_H
#include <portolan/base.h>
#include <portolan/json.h>

enum {
    PTL_MODEL_FIND_MAX = 64,        /* models of one directory that are looked at */
    PTL_MODEL_ENTRIES_MAX = 200000, /* files of one directory that are walked over */
    PTL_MODEL_NODES_MAX =
        1000000, /* operators of one graph that are counted, functions and subgraphs included */
    PTL_MODEL_NAMES_MAX = 2000, /* distinct operators, inputs, layers, globals… of one kind that are named */
    PTL_MODEL_JSON_MAX = 64 << 20, /* bytes of a JSON part (model.json, config.json, model_config) */
    PTL_MODEL_DEPTH_MAX = 16,      /* graphs within graphs, models within models */
};

/* Reads `path` (a file, or the folder of a SavedModel) below `dir`. 0 and *ret (caller's), every member but
 * the first three may be absent:
 * {"format":"onnx|ort|tflite|saved-model|graphdef|keras|hdf5|tfjs-layers|tfjs-graph|torch|torchscript|pickle|safetensors|npz|lfs-pointer|
 *           html|unknown",
 *  "path","size_bytes"       (of the file, of all files of a folder, of model.json and its shards),
 *  "inputs":[{"name","dtype"|null,"shape":[n|null…]|null}…], "outputs":[…],   (numpy's dtype names; null:
 * free or unknown) "ops":{"Conv":12…}        (what an inference runs: of a SavedModel what its signatures
 * reach), "ops_total", "custom_ops":[…], "weights_bytes", "activations_bytes"   (of all tensors with a known
 * shape that are no weights, batch 1), "largest_tensor_bytes", "quantized":bool, "producer", "version" (of
 * the producer or framework, as written), onnx:
 * "ir_version","opsets":{"ai.onnx":17…},"external":[{"path","bytes"|null}…]
 *  tflite:"schema_version","op_versions":{"CONV_2D":5…},"min_runtime"|null,"signatures":{…}
 *  saved-model: "tags":[[…]…],"signatures":{"serving_default":{"inputs":[…],"outputs":[…]}},"variables":bool
 *  keras, hdf5, tfjs-layers:
 * "class","keras_version","layers":{"Dense":2…},"custom_objects":[…],"lambdas":n,"batch_shape":bool tfjs:
 * "shards":[{"path","expected_bytes"|null,"bytes"|null}…],"weights_expected_bytes" torch, torchscript,
 * pickle: "holds":"state_dict|module|program|object","globals":["torch._utils._rebuild_tensor_v2"…]
 *  npz (arrays, only when asked for by name): "inputs"
 *  "problems":["sentence"…], "cuts":["sentence"…]}
 * PTL_ABSENT: nothing here says that it is a model. Negative with err for I/O. */
PTL_NODISCARD int ptl_model_read(const char *dir, const char *path, json_t **ret, struct ptl_error *err);

/* Every model below `dir`, in byte order of paths, as an array of the above; a part of a model (a shard, a
 * variable, external data) is not one by itself. *ret_cut: more than PTL_MODEL_FIND_MAX models or
 * PTL_MODEL_ENTRIES_MAX files. */
PTL_NODISCARD int ptl_model_find(const char *dir, json_t **ret, bool *ret_cut, struct ptl_error *err);

/* Bytes of one element; 0: unknown or of no fixed size (strings). */
size_t ptl_model_dtype_bytes(const char *dtype);
#endif
