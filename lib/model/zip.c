/* zip.c - the zip archives among the model files: Keras 3's .keras and Torch's archives, read with
 * libarchive. Names and sizes of all entries, contents of a few small ones. */
#include "model-private.h"
#include <archive.h>
#include <archive_entry.h>

enum { ENTRIES_MAX = 100000, PART_MAX = 64 << 20 };

static bool slurp(struct archive *a, struct ptl_buf *ret)
{
    char piece[65536];
    la_ssize_t n;
    ret->max = PART_MAX;
    while ((n = archive_read_data(a, piece, sizeof(piece))) > 0)
        if (ptl_buf_add(ret, piece, (size_t)n) < 0)
            return false;
    return n == 0;
}

static void keras(json_t *facts, const struct ptl_buf *config, const struct ptl_buf *metadata)
{
    struct ptl_error ignored = PTL_ERROR_INIT;
    PTL_JSON *c = NULL, *m = NULL;
    json_object_set_new(facts, "format", json_string("keras"));
    if (ptl_json_parse(ptl_buf_str(config), config->len, "config.json", &c, &ignored) < 0)
        fact_problem(facts, "its config.json cannot be read: %s", ignored.text);
    else
        keras_config(facts, c, 0);
    if (metadata->len &&
        ptl_json_parse(ptl_buf_str(metadata), metadata->len, "metadata.json", &m, &ignored) == 0) {
        const char *v = ptl_json_str(m, "keras_version", NULL);
        if (v)
            json_object_set_new(facts, "keras_version", text_of((const uint8_t *)v, strlen(v)));
    }
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* The head of an .npy file inside of an .npz: {'descr': '<f4', 'fortran_order': False, 'shape': (10, 8), } */
static json_t *npy_head(struct archive *a, const char *name)
{
    static const char *const types[][2] = {
        {"f4", "float32"},
        {"f8", "float64"},
        {"f2", "float16"},
        {"i8", "int64"  },
        {"i4", "int32"  },
        {"i2", "int16"  },
        {"i1", "int8"   },
        {"u1", "uint8"  },
        {"u2", "uint16" },
        {"u4", "uint32" },
        {"u8", "uint64" },
        {"b1", "bool"   }
    };
    char head[2048] = "";
    la_ssize_t n = archive_read_data(a, head, sizeof(head) - 1);
    if (n < 12 || memcmp(head, "\x93NUMPY", 6) != 0)
        return NULL;
    head[n] = 0;
    const char *text = head + (head[6] == 1 ? 10 : 12), *type = strstr(text, "'descr': '"),
               *shape = strstr(text, "'shape': (");
    if (!shape)
        return NULL;
    json_t *dims = json_array(), *o = json_object();
    for (const char *p = shape + 10; *p && *p != ')' && json_array_size(dims) < 64;) {
        char *end;
        long long d = strtoll(p, &end, 10);
        if (end == p)
            break;
        json_array_append_new(dims, json_integer(d));
        for (p = end; *p == ',' || *p == ' '; p++)
            ;
    }
    json_object_set_new(o, "name", text_of((const uint8_t *)name, strlen(name) - 4));
    json_object_set_new(o, "dtype", json_null());
    for (size_t i = 0; type && i < PTL_ARRAY_LEN(types); i++)
        if (strncmp(type + 11, types[i][0], 2) == 0)
            json_object_set_new(o, "dtype", json_string(types[i][1]));
    json_object_set_new(o, "shape", dims);
    return o;
}

int read_zip(const char *dir PTL_UNUSED, const char *path, struct bytes b, json_t *facts,
             struct ptl_error *err)
{
    PTL_BUF config = PTL_BUF_INIT, metadata = PTL_BUF_INIT, pickle = PTL_BUF_INIT;
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    bool code = false, weights_h5 = false, constants = false, has_pickle = false, has_config = false;
    int64_t weights = 0;
    PTL_JSON *arrays = json_array();
    int n = 0, r;
    if (!a)
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", path);
    archive_read_support_format_zip_seekable(a);
    r = archive_read_open_memory(a, b.p, b.n);
    while (r == ARCHIVE_OK && (r = archive_read_next_header(a, &e)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(e);
        int64_t size = archive_entry_size(e);
        if (++n > ENTRIES_MAX) {
            fact_cut(facts, "archive: only the first %d entries are looked at", ENTRIES_MAX);
            break;
        }
        if (!name)
            continue;
        const char *last = last_part(name);
        if (strcmp(name, "config.json") == 0) {
            has_config = slurp(a, &config);
        } else if (strcmp(name, "metadata.json") == 0) {
            (void)slurp(a, &metadata);
        } else if (ptl_str_ends(name, ".weights.h5")) {
            weights_h5 = true;
            weights += size > 0 ? size : 0;
        } else if (ptl_str_ends(path, ".npz")) {
            json_t *head = ptl_str_ends(name, ".npy") && json_array_size(arrays) < PTL_MODEL_NAMES_MAX
                               ? npy_head(a, name)
                               : NULL;
            if (head)
                json_array_append_new(arrays, head);
        } else if (strcmp(last, "data.pkl") == 0 && !has_pickle) {
            has_pickle = slurp(a, &pickle);
        } else if (strcmp(last, "constants.pkl") == 0) {
            constants = true;
        } else if (strstr(name, "/code/")) {
            code = true;
        } else if (strstr(name, "/data/") || strstr(name, "/constants/")) {
            weights += size > 0 ? size : 0;
        } else if (strcmp(last, ".model_version") == 0 || strcmp(last, "version") == 0) {
            PTL_BUF v = PTL_BUF_INIT;
            if (slurp(a, &v) && v.len && v.len < 40 && strcmp(last, "version") == 0)
                json_object_set_new(
                    facts, "archive_version",
                    text_of((const uint8_t *)ptl_buf_str(&v), strcspn(ptl_buf_str(&v), "\r\n")));
        }
    }
    if (r != ARCHIVE_EOF && r != ARCHIVE_OK)
        fact_problem(facts, "is a damaged or cut-off archive: %s",
                     archive_error_string(a) ? archive_error_string(a) : "it ends too early");
    archive_read_free(a);
    json_object_set_new(facts, "weights_bytes", json_integer(weights));
    if (ptl_str_ends(path, ".npz")) {
        json_object_set_new(facts, "format", json_string("npz"));
        json_object_set(facts, "inputs", arrays);
    } else if (has_config && weights_h5) {
        keras(facts, &config, &metadata);
    } else if (has_pickle || code) {
        json_object_set_new(facts, "format", json_string(code && constants ? "torchscript" : "torch"));
        if (has_pickle)
            pickle_globals(facts, (struct bytes){(const uint8_t *)ptl_buf_str(&pickle), pickle.len});
        if (code && constants)
            json_object_set_new(facts, "holds", json_string("program"));
    } else if (ptl_str_ends(path, ".keras")) {
        fact_problem(facts, "is no Keras archive: config.json or model.weights.h5 is missing");
        json_object_set_new(facts, "format", json_string("keras"));
    } else if (n == 0 && json_object_get(facts, "problems")) {
        json_object_set_new(facts, "format", json_string("unknown"));
    } else {
        return PTL_ABSENT; /* a zip that is no model */
    }
    return 0;
}
