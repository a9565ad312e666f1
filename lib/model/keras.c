/* keras.c - Keras models by their configuration: .keras archives, HDF5 files, and the topology inside of a
 * model.json. HDF5 is not parsed: its model_config stands in one piece in the file (an attribute's value), so
 * it is found by how it begins and read to its closing brace; the library that could do more is large, and
 * not made for files from strangers. */
#include "model-private.h"

/* Modules whose classes every Keras knows. */
static bool is_builtin_module(const char *m)
{
    static const char *const known[] = {"keras",    "tf_keras", "tensorflow.keras", "tensorflow.python.keras",
                                        "builtins", NULL};
    for (size_t i = 0; known[i]; i++) {
        size_t n = strlen(known[i]);
        if (strncmp(m, known[i], n) == 0 && (m[n] == 0 || m[n] == '.'))
            return true;
    }
    return false;
}

static const char *const keras2_layers[] = {"InputLayer",
                                            "Dense",
                                            "Activation",
                                            "Embedding",
                                            "Masking",
                                            "Lambda",
                                            "Permute",
                                            "RepeatVector",
                                            "Reshape",
                                            "Flatten",
                                            "Dropout",
                                            "Cropping1D",
                                            "Cropping2D",
                                            "Cropping3D",
                                            "Conv1D",
                                            "Conv2D",
                                            "Conv3D",
                                            "Conv1DTranspose",
                                            "Conv2DTranspose",
                                            "Conv3DTranspose",
                                            "SeparableConv1D",
                                            "SeparableConv2D",
                                            "DepthwiseConv1D",
                                            "DepthwiseConv2D",
                                            "MaxPooling1D",
                                            "MaxPooling2D",
                                            "MaxPooling3D",
                                            "AveragePooling1D",
                                            "AveragePooling2D",
                                            "AveragePooling3D",
                                            "GlobalMaxPooling1D",
                                            "GlobalMaxPooling2D",
                                            "GlobalMaxPooling3D",
                                            "GlobalAveragePooling1D",
                                            "GlobalAveragePooling2D",
                                            "GlobalAveragePooling3D",
                                            "UpSampling1D",
                                            "UpSampling2D",
                                            "UpSampling3D",
                                            "ZeroPadding1D",
                                            "ZeroPadding2D",
                                            "ZeroPadding3D",
                                            "LSTM",
                                            "GRU",
                                            "SimpleRNN",
                                            "RNN",
                                            "ConvLSTM1D",
                                            "ConvLSTM2D",
                                            "ConvLSTM3D",
                                            "Bidirectional",
                                            "TimeDistributed",
                                            "LSTMCell",
                                            "GRUCell",
                                            "SimpleRNNCell",
                                            "StackedRNNCells",
                                            "BatchNormalization",
                                            "SyncBatchNormalization",
                                            "LayerNormalization",
                                            "GroupNormalization",
                                            "UnitNormalization",
                                            "SpectralNormalization",
                                            "SpatialDropout1D",
                                            "SpatialDropout2D",
                                            "SpatialDropout3D",
                                            "GaussianDropout",
                                            "GaussianNoise",
                                            "AlphaDropout",
                                            "ActivityRegularization",
                                            "Attention",
                                            "AdditiveAttention",
                                            "MultiHeadAttention",
                                            "Add",
                                            "Subtract",
                                            "Multiply",
                                            "Average",
                                            "Maximum",
                                            "Minimum",
                                            "Concatenate",
                                            "Dot",
                                            "ReLU",
                                            "LeakyReLU",
                                            "PReLU",
                                            "ELU",
                                            "ThresholdedReLU",
                                            "Softmax",
                                            "LocallyConnected1D",
                                            "LocallyConnected2D",
                                            "Rescaling",
                                            "Resizing",
                                            "Normalization",
                                            "CenterCrop",
                                            "RandomCrop",
                                            "RandomFlip",
                                            "RandomRotation",
                                            "RandomTranslation",
                                            "RandomZoom",
                                            "RandomContrast",
                                            "RandomBrightness",
                                            "CategoryEncoding",
                                            "Discretization",
                                            "Hashing",
                                            "IntegerLookup",
                                            "StringLookup",
                                            "TextVectorization",
                                            "Sequential",
                                            "Model",
                                            "Functional",
                                            "TFOpLambda",
                                            "SlicingOpLambda",
                                            "TensorFlowOpLayer",
                                            "EinsumDense",
                                            "Identity",
                                            "CuDNNLSTM",
                                            "CuDNNGRU",
                                            "HashedCrossing",
                                            "Wrapper",
                                            "Cast",
                                            NULL};

static bool is_known_layer(const char *name)
{
    for (size_t i = 0; keras2_layers[i]; i++)
        if (strcmp(keras2_layers[i], name) == 0)
            return true;
    return false;
}

static void one_layer(json_t *facts, const json_t *layer, int depth)
{
    const char *name = ptl_json_str(layer, "class_name", NULL), *module = ptl_json_str(layer, "module", NULL),
               *registered = ptl_json_str(layer, "registered_name", NULL);
    const json_t *config = json_object_get(layer, "config");
    if (!name)
        return;
    fact_count(facts, "layers", name, strlen(name), 1);
    if (strcmp(name, "Lambda") == 0)
        fact_plus(facts, "lambdas", 1);
    bool own = module ? !is_builtin_module(module) : !is_known_layer(name);
    if (own) {
        const char *shown = registered && *registered ? registered : name;
        fact_add(facts, "custom_objects", shown, strlen(shown));
    }
    if (json_object_get(config, "batch_shape"))
        json_object_set_new(facts, "batch_shape", json_true());
    if (strcmp(name, "InputLayer") == 0) {
        const json_t *shape = json_object_get(config, "batch_shape");
        if (!shape)
            shape = json_object_get(config, "batch_input_shape");
        json_t *list = json_object_get(facts, "inputs"), *dims = json_null(), *v;
        size_t i;
        if (json_is_array(shape) && json_array_size(shape) < 64) {
            dims = json_array();
            json_array_foreach(shape, i, v)
                json_array_append_new(dims, json_is_integer(v) ? json_incref(v) : json_null());
        }
        if (!list)
            json_object_set_new(facts, "inputs", list = json_array());
        const json_t *dtype = json_object_get(config, "dtype");
        if (json_is_object(dtype)) /* Keras 3: a policy */
            dtype = json_object_get(json_object_get(dtype, "config"), "name");
        const char *input = ptl_json_str(config, "name", ""),
                   *type = json_is_string(dtype) ? json_string_value(dtype) : "float32";
        if (json_array_size(list) < PTL_MODEL_NAMES_MAX)
            json_array_append_new(
                list, json_pack("{s:o,s:o,s:o}", "name", text_of((const uint8_t *)input, strlen(input)),
                                "dtype", text_of((const uint8_t *)type, strlen(type)), "shape", dims));
        else
            json_decref(dims);
    }
    /* wrappers and models within models */
    const json_t *inner = json_object_get(config, "layer");
    if (json_is_object(inner) && depth < PTL_MODEL_DEPTH_MAX)
        one_layer(facts, inner, depth + 1);
    if (json_is_array(json_object_get(config, "layers")) && depth < PTL_MODEL_DEPTH_MAX)
        keras_config(facts, layer, depth + 1);
    else if (depth >= PTL_MODEL_DEPTH_MAX)
        fact_cut(facts, "models nested deeper than %d are not read", PTL_MODEL_DEPTH_MAX);
}

void keras_config(json_t *facts, const json_t *model, int depth)
{
    const json_t *config = json_object_get(model, "config"),
                 *layers = json_is_array(config) ? config : json_object_get(config, "layers"), *v;
    size_t i;
    if (depth == 0) {
        const char *name = ptl_json_str(model, "class_name", NULL),
                   *module = ptl_json_str(model, "module", NULL);
        if (name)
            json_object_set_new(facts, "class", text_of((const uint8_t *)name, strlen(name)));
        if (name && module && !is_builtin_module(module)) {
            const char *registered = ptl_json_str(model, "registered_name", NULL);
            fact_add(facts, "custom_objects", registered ? registered : name,
                     strlen(registered ? registered : name));
        }
        json_object_set_new(facts, "layers", json_object());
    }
    json_array_foreach(layers, i, v)
    {
        if (i >= PTL_MODEL_NODES_MAX / 100) {
            fact_cut(facts, "layers: only the first %d are counted", PTL_MODEL_NODES_MAX / 100);
            break;
        }
        one_layer(facts, v, depth);
    }
}

/* From its '{' to the '}' that closes it; 0: it does not close within max bytes. */
static size_t json_span(const uint8_t *p, size_t n)
{
    int depth = 0;
    bool text = false;
    for (size_t i = 0; i < n && i < PTL_MODEL_JSON_MAX; i++) {
        if (text) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == '"')
                text = false;
            else if (p[i] == 0)
                return 0;
        } else if (p[i] == '"') {
            text = true;
        } else if (p[i] == '{') {
            depth++;
        } else if (p[i] == '}' && --depth == 0) {
            return i + 1;
        } else if (p[i] == 0) {
            return 0;
        }
    }
    return 0;
}

static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* Object `index` of the global heap collection at `at` (HDF5 file format, III.E). */
static struct bytes heap_object(struct bytes b, uint64_t at, uint32_t index)
{
    struct bytes none = {NULL, 0};
    if (at > b.n || b.n - at < 16 || memcmp(b.p + at, "GCOL", 4) != 0)
        return none;
    uint64_t end = at + little(b.p + at + 8, 8);
    if (end > b.n || end < at)
        end = b.n;
    for (uint64_t o = at + 16; o + 16 <= end;) {
        uint64_t size = little(b.p + o + 8, 8);
        if (size > end - o - 16)
            return none;
        if (little(b.p + o, 2) == index)
            return (struct bytes){b.p + o + 16, (size_t)size};
        o += 16 + (size + 7) / 8 * 8;
    }
    return none;
}

/* A short text attribute: behind its name stand type and space, then length, heap address and index of the
 * value. */
static struct bytes heap_text(struct bytes b, const char *name)
{
    size_t n = strlen(name) + 1; /* with its NUL: the name ends there */
    const uint8_t *p = b.p;
    for (int tries = 0; tries < 20 && (p = memmem(p, b.n - (size_t)(p - b.p), name, n)); tries++, p++)
        for (size_t at = (size_t)(p - b.p) + n; at + 16 <= b.n && at < (size_t)(p - b.p) + n + 80; at++) {
            uint64_t len = little(b.p + at, 4), heap = little(b.p + at + 4, 8);
            if (len == 0 || len > 64 || heap == 0 || heap > b.n)
                continue;
            struct bytes value = heap_object(b, heap, (uint32_t)little(b.p + at + 12, 4));
            if (value.n == len)
                return value;
        }
    return (struct bytes){NULL, 0};
}

int read_hdf5(const char *dir PTL_UNUSED, const char *path PTL_UNUSED, struct bytes b, json_t *facts,
              struct ptl_error *err PTL_UNUSED)
{
    static const char *const begins[] = {"{\"class_name\":", "{\"module\":"};
    json_object_set_new(facts, "weights_bytes", json_integer((json_int_t)b.n));
    /* superblock 0 and 1: end-of-file address at 40; 2 and 3: at 28, for offsets of 8 bytes */
    if (b.n > 96) {
        size_t at = b.p[8] < 2 ? (b.p[8] == 1 ? 44 : 40) : 28;
        uint64_t end = 0;
        bool wide = b.p[8] < 2 ? b.p[13] == 8 : b.p[9] == 8;
        for (int i = 0; i < 8; i++)
            end |= (uint64_t)b.p[at + (size_t)i] << 8 * i;
        if (wide && end > b.n && end < (uint64_t)1 << 48)
            fact_problem(facts, "is cut off: it says it has %llu bytes and has %zu", (unsigned long long)end,
                         b.n);
    }
    for (size_t k = 0; k < PTL_ARRAY_LEN(begins) && !json_object_get(facts, "class"); k++) {
        const uint8_t *p = b.p;
        for (int tries = 0;
             tries < 20 && (p = memmem(p, b.n - (size_t)(p - b.p), begins[k], strlen(begins[k])));
             tries++, p++) {
            size_t n = json_span(p, b.n - (size_t)(p - b.p));
            PTL_JSON *config = n ? json_loadb((const char *)p, n, 0, NULL) : NULL;
            if (json_is_object(json_object_get(config, "config")) ||
                json_is_array(json_object_get(config, "config"))) {
                keras_config(facts, config, 0);
                break;
            }
        }
    }
    struct bytes v = heap_text(b, "keras_version");
    if (v.n)
        json_object_set_new(facts, "keras_version", text_of(v.p, v.n));
    return 0;
}
