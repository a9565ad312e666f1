/* files.c - what lies in the repository: models that are none, files that the pipeline names, pins, and
 * whether inputs are prepared where no target can see it. */
#include "preflight-private.h"
#include <ctype.h>
#include <portolan/fs.h>
#include <stdio.h>
#include <sys/stat.h>

enum { TEXT_MAX = 1 << 20, SCRIPTS_MAX = 200 };

/* ---- model files */
static bool is_wanted(const struct check *c, const char *path)
{
    size_t i;
    const json_t *s;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i, s)
    {
        const char *key;
        json_t *v;
        json_object_foreach(json_object_get(s, "with"), key, v)
        {
            (void)key;
            if (json_is_string(v) && ptl_str_eq(json_string_value(v), path))
                return true;
        }
    }
    return false;
}

static void one_model(struct check *c, const json_t *m)
{
    const char *format = ptl_json_str(m, "format", ""), *path = ptl_json_str(m, "path", "");
    struct place at = {NULL, m, ON_SERVER, NULL};
    /* a file that no stage names may be a test's own, broken on purpose */
    enum severity s = c->in->stage || is_wanted(c, path) ? SEV_ERROR : SEV_WARNING;
    size_t i;
    const json_t *v;
    if (ptl_str_eq(format, "lfs-pointer")) {
        emit(
            c, "lfs-pointer", s, KIND_PROCEDURE, &at,
            "git lfs install && git lfs pull before committing; push the objects with git lfs push --all origin",
            "it is a Git-LFS pointer of %lld bytes, not the model",
            (long long)ptl_json_i64(m, "size_bytes", 0));
        return;
    }
    if (ptl_str_eq(format, "html")) {
        emit(c, "damaged", s, KIND_LOADING, &at, "download it anew, logged in or from the file's raw address",
             "it is a web page, not a model: a download that was answered with a page");
        return;
    }
    json_array_foreach(json_object_get(m, "problems"), i, v)
    {
        const char *text = json_string_value(v);
        bool shard = strstr(text, "shard") || strstr(text, "address of their own"),
             outside = strstr(text, "file beside it"),
             graph = strstr(text, "only the graph") || strstr(text, "variables folder");
        if (shard)
            at.on = ON_BROWSER;
        emit(c,
             shard     ? "shards"
             : outside ? "external-data"
             : graph   ? "weights-missing"
                       : "damaged",
             s,
             shard   ? KIND_SHARDS
             : graph ? KIND_SAVING
                     : KIND_LOADING,
             &at,
             shard     ? "commit every file that model.json names, beside it"
             : outside ? "commit the data file beside the model, under the name that the model gives"
             : graph   ? "save the whole SavedModel folder, variables too"
                       : "save or copy it anew, and compare the sizes",
             "%s", text);
    }
    if (json_array_size(json_object_get(m, "globals"))) {
        static const char *const dangerous[] = {
            "posix.system",     "nt.system",        "os.system",     "os.popen",
            "subprocess.",      "builtins.eval",    "builtins.exec", "__builtin__.eval",
            "__builtin__.exec", "pty.spawn",        "socket.",       "runpy.",
            "webbrowser.",      "builtins.getattr", "importlib.",    NULL};
        json_array_foreach(json_object_get(m, "globals"), i,
                           v) for (size_t k = 0; dangerous[k];
                                   k++) if (ptl_str_starts(json_string_value(v), dangerous[k]))
            emit(c, "pickle", SEV_ERROR, KIND_SECURITY, &at,
                 "do not load it; ask who made it for safetensors or a state_dict",
                 "loading it would call %.80s: a pickle is a program", json_string_value(v));
        if (ptl_str_eq(ptl_json_str(m, "holds", ""), "module"))
            emit(
                c, "pickle", SEV_WARNING, KIND_SAVING, &at,
                "save model.state_dict() and build the module in the script, or export it as a program",
                "it is a pickled module: it loads only where the same classes can be imported, and only with weights_only=False");
    }
}

/* ---- files that the pipeline names */
struct hunt {
    const char *want;
    char found[300];
};
static int same_but_case(void *ctx, const struct ptl_fs_entry *e)
{
    struct hunt *h = ctx;
    if (strcasecmp(e->path, h->want) == 0) {
        snprintf(h->found, sizeof(h->found), "%s", e->path);
        return 1;
    }
    return 0;
}

static void named_files(struct check *c)
{
    static const struct {
        const char *recipe, *keys[4];
        enum kind kind;
    } table[] = {
        {"keras/saved-model", {"script", "model", "golden", NULL},  KIND_PROCEDURE   },
        {"pytorch/onnx",      {"script", "golden", NULL, NULL},     KIND_PROCEDURE   },
        {"tensorflow/tflite", {"representative", NULL, NULL, NULL}, KIND_QUANTIZATION},
    };
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i,
                       stage) for (size_t t = 0; t < PTL_ARRAY_LEN(table);
                                   t++) for (size_t k = 0;
                                             ptl_str_eq(ptl_json_str(stage, "uses", NULL), table[t].recipe) &&
                                             k < 4 && table[t].keys[k];
                                             k++)
    {
        const char *path = ptl_json_str(json_object_get(stage, "with"), table[t].keys[k], "");
        struct place at = {stage, NULL,
                           ptl_str_eq(table[t].recipe, "tensorflow/tflite") ? ON_MOBILE : ON_SERVER, NULL};
        if (!*path || ptl_str_eq(path, "golden") || !ptl_fs_is_safe_relative(path))
            continue;
        PTL_FREE char *full = ptl_fs_join(c->in->dir, path);
        if (ptl_fs_exists(full))
            continue;
        struct hunt h = {path, ""};
        struct ptl_error ignored = PTL_ERROR_INIT;
        (void)!ptl_fs_walk(c->in->dir, PTL_MODEL_ENTRIES_MAX, same_but_case, &h, &ignored);
        if (*h.found)
            emit(
                c, "file-missing", SEV_ERROR, table[t].kind, &at, "write it as it is spelt",
                "%s: '%.100s' is not in the repository; '%.100s' is: file names are spelt with capitals in mind here",
                table[t].keys[k], path, h.found);
        else
            emit(c, "file-missing", SEV_ERROR, table[t].kind, &at,
                 "commit it (is it in .gitignore?), or name the right path",
                 "%s: '%.100s' is not in the repository", table[t].keys[k], path);
    }
}

/* ---- pins against the toolchain */
struct pin {
    char name[64], op[3], version[32];
};
/* "tensorflow-cpu[and-cuda]==1.15.0 ; python_version < '3.8'  # why" */
static bool pin_of(const char *line, size_t len, struct pin *ret)
{
    size_t i = 0, n = 0;
    while (i < len && isspace((unsigned char)line[i]))
        i++;
    while (i < len && (isalnum((unsigned char)line[i]) || strchr("-_.", line[i])) &&
           n < sizeof(ret->name) - 1)
        ret->name[n++] = line[i] == '_' ? '-' : (char)tolower((unsigned char)line[i]), i++;
    ret->name[n] = 0;
    if (i < len && line[i] == '[')
        while (i < len && line[i++] != ']')
            ;
    while (i < len && line[i] == ' ')
        i++;
    if (!n || i + 2 > len || line[i + 1] != '=' || !strchr("=<>~", line[i]))
        return false;
    memcpy(ret->op, line + i, 2);
    ret->op[2] = 0;
    for (i += 2; i < len && line[i] == ' '; i++)
        ;
    for (n = 0; i < len && (isalnum((unsigned char)line[i]) || line[i] == '.' || line[i] == '*') &&
                n < sizeof(ret->version) - 1;
         i++)
        ret->version[n++] = line[i];
    ret->version[n] = 0;
    return n > 0 && isdigit((unsigned char)ret->version[0]);
}

static void one_pin(struct check *c, const struct pin *p, const char *file)
{
    static const char *const same[][2] = {
        {"tensorflow-cpu",  "tensorflow" },
        {"tensorflow-gpu",  "tensorflow" },
        {"tf-keras",        "tf-keras"   },
        {"onnxruntime-gpu", "onnxruntime"}
    };
    const char *name = p->name;
    for (size_t i = 0; i < PTL_ARRAY_LEN(same); i++)
        if (ptl_str_eq(name, same[i][0]))
            name = same[i][1];
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i, stage)
    {
        struct place at = {stage, NULL, ON_SERVER, trait_of(ptl_json_str(stage, "uses", NULL))};
        if (!at.trait || !ptl_str_eq(ptl_json_str(stage, "kind", ""), "export"))
            continue;
        const char *here = ptl_json_str(json_object_get(c->in->toolchains, at.trait->toolchain), name, NULL);
        if (!here)
            continue;
        int d = version_compare(here, p->version);
        bool fits = p->op[0] == '>'   ? d >= 0
                    : p->op[0] == '<' ? d <= 0
                                      : strtol(here, NULL, 10) == strtol(p->version, NULL, 10) &&
                                            (p->op[0] == '~' ? d >= 0 : true);
        if (!fits)
            emit(
                c, "version-pins", SEV_WARNING, KIND_VERSION, &at,
                "make the model run with the toolchain's version, or use a toolchain that has the pinned one",
                "%s wants %s%s%s, and the toolchain %s has %s %s", file, p->name, p->op, p->version,
                at.trait->toolchain, name, here);
    }
}

static void pins(struct check *c)
{
    static const char *const files[] = {"requirements.txt", "requirements/base.txt", "requirements/prod.txt",
                                        "requirements.in", "constraints.txt"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(files); i++) {
        PTL_BUF b = PTL_BUF_INIT;
        struct ptl_error ignored = PTL_ERROR_INIT;
        PTL_FREE char *full = ptl_fs_join(c->in->dir, files[i]);
        struct stat st;
        if (lstat(full, &st) < 0 || !S_ISREG(st.st_mode) || ptl_fs_read(full, TEXT_MAX, &b, &ignored) < 0)
            continue;
        struct pin p;
        for (const char *line = ptl_buf_str(&b), *end = line + b.len; line < end;) {
            const char *nl = memchr(line, '\n', (size_t)(end - line));
            size_t n = (size_t)((nl ? nl : end) - line);
            if (pin_of(line, n, &p))
                one_pin(c, &p, files[i]);
            line += n + 1;
        }
    }
}

/* ---- inputs prepared in scripts */
struct scripts {
    struct check *c;
    int n;
    char where[400]; /* "train.py:31" */
    char what[80];
    bool in_model; /* layers or wrappers that do it inside of the model */
};

static const struct {
    const char *text, *what;
} preparations[] = {
    {"transforms.Normalize(", "normalises with transforms.Normalize"},
    {"/ 255",                 "divides by 255"                      },
    {"/255",                  "divides by 255"                      },
    {"rescale=1",             "rescales with ImageDataGenerator"    },
    {"preprocess_input(",     "calls preprocess_input"              },
    {"StandardScaler(",       "scales with StandardScaler"          },
    {"/ 127.5",               "divides by 127.5"                    },
    {"/127.5",                "divides by 127.5"                    },
};
static const char *const inside[] = {"Rescaling(",         "layers.Normalization(",  "Normalization(",
                                     "TextVectorization(", "register_buffer(\"mean", "register_buffer('mean"};

static int one_script(void *ctx, const struct ptl_fs_entry *e)
{
    struct scripts *s = ctx;
    struct ptl_error ignored = PTL_ERROR_INIT;
    if (e->is_dir || e->is_link || !ptl_str_ends(e->path, ".py") || e->size_bytes > TEXT_MAX ||
        strstr(e->path, "test"))
        return 0;
    if (++s->n > SCRIPTS_MAX)
        return 1;
    PTL_BUF b = PTL_BUF_INIT;
    if (ptl_fs_read(e->full, TEXT_MAX, &b, &ignored) < 0)
        return 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(inside); i++)
        s->in_model = s->in_model || strstr(ptl_buf_str(&b), inside[i]);
    for (size_t i = 0; i < PTL_ARRAY_LEN(preparations) && !*s->where; i++) {
        const char *at = strstr(ptl_buf_str(&b), preparations[i].text);
        if (!at)
            continue;
        int line = 1;
        for (const char *p = ptl_buf_str(&b); p < at; p++)
            line += *p == '\n';
        snprintf(s->where, sizeof(s->where), "%s:%d", e->path, line);
        snprintf(s->what, sizeof(s->what), "%s", preparations[i].what);
    }
    return 0;
}

static void preprocessing(struct check *c)
{
    struct scripts s = {.c = c};
    struct ptl_error ignored = PTL_ERROR_INIT;
    (void)!ptl_fs_walk(c->in->dir, PTL_MODEL_ENTRIES_MAX, one_script, &s, &ignored);
    if (s.n > SCRIPTS_MAX)
        json_array_append_new(c->cuts, json_sprintf("only the first %d scripts were read", SCRIPTS_MAX));
    if (!*s.where || s.in_model)
        return;
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i, stage)
    {
        const char *host = ptl_json_str(stage, "host", "");
        if (!ptl_str_eq(ptl_json_str(stage, "kind", ""), "verify"))
            continue;
        struct place at = {stage, NULL,
                           ptl_str_eq(host, "mobile")    ? ON_MOBILE
                           : ptl_str_eq(host, "browser") ? ON_BROWSER
                                                         : ON_SERVER,
                           NULL};
        emit(
            c, "preprocessing-outside", SEV_NOTE, KIND_PREPROCESSING, &at,
            "put the step into the model (a Rescaling or Normalization layer), or make each app do exactly the same",
            "%s %s, outside of the model: the golden inputs are prepared already, so verify cannot see an app that forgets it",
            s.where, s.what);
    }
}

/* ---- golden inputs beside the model they are for */
static void golden_shapes(struct check *c)
{
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(c->in->plan, "stages"), i, stage)
    {
        const json_t *with = json_object_get(stage, "with"), *m, *model = NULL;
        PTL_JSON *golden = NULL;
        const char *model_path = ptl_json_str(with, "model", NULL),
                   *golden_path = ptl_json_str(with, "golden", NULL);
        size_t k;
        json_array_foreach(c->in->models, k, m) if (ptl_str_eq(ptl_json_str(m, "path", NULL), model_path))
            model = m;
        struct ptl_error ignored = PTL_ERROR_INIT;
        if (!model || !golden_path || !ptl_fs_is_safe_relative(golden_path) ||
            ptl_model_read(c->in->dir, golden_path, &golden, &ignored) != 0)
            continue;
        struct place at = {stage, golden, ON_SERVER, NULL};
        const json_t *want, *have;
        size_t a, b;
        json_array_foreach(json_object_get(model, "inputs"), a, want)
            json_array_foreach(json_object_get(golden, "inputs"), b, have)
        {
            const json_t *ws = json_object_get(want, "shape"), *hs = json_object_get(have, "shape");
            if (!ptl_str_eq(ptl_json_str(want, "name", ""), ptl_json_str(have, "name", "-")) ||
                !json_is_array(ws) || !json_is_array(hs))
                continue;
            size_t n = json_array_size(ws), d;
            bool same = n == json_array_size(hs);
            for (d = 1; same && d < n; d++)
                same = json_is_null(json_array_get(ws, d)) ||
                       json_equal(json_array_get(ws, d), json_array_get(hs, d));
            if (same)
                continue;
            /* [n,c,h,w] for [n,h,w,c], or the other way round */
            bool turned = n == 4 && json_array_size(hs) == 4 &&
                          ((json_equal(json_array_get(ws, 3), json_array_get(hs, 1)) &&
                            json_equal(json_array_get(ws, 1), json_array_get(hs, 2)) &&
                            json_equal(json_array_get(ws, 2), json_array_get(hs, 3))) ||
                           (json_equal(json_array_get(ws, 1), json_array_get(hs, 3)) &&
                            json_equal(json_array_get(ws, 2), json_array_get(hs, 1)) &&
                            json_equal(json_array_get(ws, 3), json_array_get(hs, 2))));
            PTL_FREE char *w = json_dumps(ws, JSON_COMPACT), *h = json_dumps(hs, JSON_COMPACT);
            emit(c, "input-layout", SEV_ERROR, KIND_SHAPE, &at,
                 turned ? "transpose the golden inputs, or export with the other layout"
                        : "make the golden inputs of the shape that the model takes",
                 "input '%.60s' is %s in the golden set and the model takes %s%s",
                 ptl_json_str(want, "name", ""), h, w, turned ? ": the channels stand at the other end" : "");
        }
    }
}

void check_files(struct check *c)
{
    size_t i;
    const json_t *m;
    json_array_foreach(c->in->models, i, m)
    {
        one_model(c, m);
        size_t k;
        const json_t *cut;
        json_array_foreach(json_object_get(m, "cuts"), k, cut) json_array_append_new(
            c->cuts, json_sprintf("%s: %s", ptl_json_str(m, "path", ""), json_string_value(cut)));
    }
    if (c->in->stage)
        return;
    named_files(c);
    pins(c);
    preprocessing(c);
    golden_shapes(c);
}
