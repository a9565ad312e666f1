/* model.c - which reader a file is for, by its first bytes first and its name second; and the walk that finds
 * all models of a folder. */
#include "model-private.h"
#include <portolan/fs.h>
#include <sys/stat.h>

/* In this order; `magic` at `at`, or only the name. A file whose name says a format that its bytes do not is
 * "unknown" of that name. */
static const struct format {
    const char *name;
    const char *suffix; /* NULL: any name */
    size_t at;
    const char *magic; /* NULL: any bytes */
    size_t magic_len;
    reader_fn *read; /* NULL: the name is all there is to say */
} formats[] = {
    {"lfs-pointer", NULL,             0, "version https://git-lfs", 23, NULL            },
    {"saved-model", "saved_model.pb", 0, NULL,                      0,  read_saved_model},
    {"tflite",      NULL,             4, "TFL3",                    4,  read_tflite     },
    {"ort",         NULL,             4, "ORTM",                    4,  read_ort        },
    {"hdf5",        NULL,             0, "\x89HDF\r\n\x1a\n",       8,  read_hdf5       },
    {"zip",         ".keras",         0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".pt",            0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".pth",           0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".ptl",           0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".pt2",           0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".ckpt",          0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".bin",           0, "PK\x03\x04",              4,  read_zip        },
    {"zip",         ".npz",           0, "PK\x03\x04",              4,  read_zip        },
    {"torch",       ".pt",            0, "\x80",                    1,  read_pickle     },
    {"torch",       ".pth",           0, "\x80",                    1,  read_pickle     },
    {"torch",       ".ckpt",          0, "\x80",                    1,  read_pickle     },
    {"pickle",      ".pkl",           0, "\x80",                    1,  read_pickle     },
    {"pickle",      ".pickle",        0, "\x80",                    1,  read_pickle     },
    {"pickle",      ".joblib",        0, "\x80",                    1,  read_pickle     },
    {"html",        NULL,             0, "<!DOCTYPE html",          14, NULL            },
    {"html",        NULL,             0, "<!doctype html",          14, NULL            },
    {"html",        NULL,             0, "<html",                   5,  NULL            },
    {"onnx",        ".onnx",          0, NULL,                      0,  read_onnx       },
    {"safetensors", ".safetensors",   0, NULL,                      0,  read_safetensors},
    {"tfjs",        "model.json",     0, NULL,                      0,  read_tfjs       },
    {"graphdef",    ".pb",            0, NULL,                      0,  read_graphdef   },
};
/* Names that promise a model. */
static const char *const suffixes[] = {".onnx", ".ort",  ".tflite", ".lite",   ".pb",          ".keras",
                                       ".h5",   ".hdf5", ".pt",     ".pth",    ".ptl",         ".pt2",
                                       ".ckpt", ".pkl",  ".pickle", ".joblib", ".safetensors", NULL};

static bool has_suffix(const char *path)
{
    for (size_t i = 0; suffixes[i]; i++)
        if (ptl_str_ends(path, suffixes[i]))
            return true;
    return false;
}

static bool is_named(const char *path, const char *suffix)
{
    if (suffix[0] == '.')
        return ptl_str_ends(path, suffix);
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, suffix) == 0;
}

static const struct format *format_of(const char *path, const void *head, size_t len)
{
    for (size_t i = 0; i < PTL_ARRAY_LEN(formats); i++) {
        const struct format *f = &formats[i];
        if (f->suffix && !is_named(path, f->suffix))
            continue;
        if (!f->suffix && !f->read && !has_suffix(path))
            continue; /* a pointer or a page is a model's only where a model is expected */
        if (f->magic &&
            (len < f->at + f->magic_len || memcmp((const char *)head + f->at, f->magic, f->magic_len) != 0))
            continue;
        return f;
    }
    return NULL;
}

static int graphdef_or_absent(struct bytes b)
{
    struct pb pb = pb_of(b);
    struct pb_field f;
    /* a NodeDef first: name and op are texts */
    return pb_next(&pb, &f) && f.number == 1 && f.wire == 2 && pb_is_message(f.b) && pb_bytes(f.b, 2).n
               ? 0
               : PTL_ABSENT;
}

int ptl_model_read(const char *dir, const char *path, json_t **ret, struct ptl_error *err)
{
    PTL_FREE char *given = ptl_fs_join(dir, path);
    bool folder = ptl_fs_is_dir(given);
    PTL_FREE char *full = folder ? ptl_fs_join(given, "saved_model.pb") : ptl_xstrdup(given);
    struct mapping m;
    if (folder && !ptl_fs_exists(full))
        return PTL_ABSENT;
    int r = mapping_open(full, &m, err);
    if (r < 0)
        return r;
    const struct format *f = format_of(folder ? "saved_model.pb" : path, m.b.p, m.b.n);
    PTL_JSON *facts = json_object();
    json_object_set_new(facts, "format", json_string(f ? f->name : "unknown"));
    json_object_set_new(facts, "path", text_of((const uint8_t *)path, strlen(path)));
    json_object_set_new(facts, "size_bytes", json_integer((json_int_t)m.b.n));
    if (f && f->read == read_saved_model && !folder) { /* by its file: the folder is the model */
        size_t n = strlen(path) - strlen("saved_model.pb");
        PTL_FREE char *at = ptl_xasprintf("%.*s", (int)(n ? n - 1 : 0), path);
        json_object_set_new(facts, "path", text_of((const uint8_t *)(*at ? at : "."), *at ? strlen(at) : 1));
        r = f->read(dir, *at ? at : ".", m.b, facts, err);
    } else if (f && f->read == read_graphdef && (r = graphdef_or_absent(m.b)) != 0) {
        /* some other protobuf */
    } else if (f && f->read) {
        r = f->read(dir, path, m.b, facts, err);
    } else if (!f && has_suffix(path)) {
        fact_problem(facts, m.b.n ? "does not begin as a file of its name should" : "is empty");
    } else if (!f) {
        r = PTL_ABSENT;
    }
    mapping_close(&m);
    if (r != 0)
        return r;
    *ret = PTL_TAKE(facts);
    return 0;
}

struct search {
    const char *dir;
    json_t *models;
    bool cut;
    struct ptl_error *err;
};

static int one_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct search *s = ctx;
    json_t *facts = NULL;
    struct ptl_error one = PTL_ERROR_INIT;
    if (e->is_dir || e->is_link ||
        !(has_suffix(e->path) || is_named(e->path, "model.json") || ptl_str_ends(e->path, ".bin")))
        return 0;
    if (ptl_str_ends(e->path, ".bin")) { /* Torch archives by that name; shards and blobs are not */
        struct mapping m;
        if (mapping_open(e->full, &m, &one) < 0)
            return 0;
        bool zip = m.b.n > 4 && memcmp(m.b.p, "PK\x03\x04", 4) == 0;
        mapping_close(&m);
        if (!zip)
            return 0;
    }
    if (json_array_size(s->models) >= PTL_MODEL_FIND_MAX) {
        s->cut = true;
        return 1;
    }
    int r = ptl_model_read(s->dir, e->path, &facts, &one);
    if (r == -ENOMEM) {
        *s->err = one;
        return r;
    }
    if (r == 0)
        json_array_append_new(s->models, facts);
    return 0; /* what cannot be opened is not read: the stage that needs it will say so */
}

int ptl_model_find(const char *dir, json_t **ret, bool *ret_cut, struct ptl_error *err)
{
    PTL_JSON *models = json_array();
    struct search s = {.dir = dir, .models = models, .err = err};
    int r = ptl_fs_walk(dir, PTL_MODEL_ENTRIES_MAX, one_file, &s, err);
    if (r == -E2BIG) {
        s.cut = true;
        r = 0;
    }
    if (r < 0)
        return r;
    *ret = PTL_TAKE(models);
    *ret_cut = s.cut;
    return 0;
}
