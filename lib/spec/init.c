/* init.c - looks at a repository and writes the pipeline file somebody would have written as a first try:
 * which framework, which script or model file, three targets. What it could not know stands in comments. It
 * reads names and the first kilobytes of Python files, runs nothing, follows no links and stops at a bound.
 * Blocking; any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <portolan/spec.h>
#include <stdio.h>
#include <sys/stat.h>

enum { MAX_ENTRIES = 5000, MAX_LEVELS = 5, HEAD = 64 * 1024, MAX_PATH = 400 };

struct found {
    char keras_script[MAX_PATH], torch_script[MAX_PATH];
    int keras_score, torch_score;
    char keras_model[MAX_PATH], saved_model[MAX_PATH], torch_model[MAX_PATH], onnx[MAX_PATH],
        tflite[MAX_PATH], golden[MAX_PATH];
    size_t entries;
    bool cut, imports_keras, imports_torch;
};

static void keep(char *slot, const char *path)
{
    if (!slot[0] || strlen(path) < strlen(slot)) /* the one nearest to the root */
        snprintf(slot, MAX_PATH, "%s", path);
}

/* A whole word of the text, as an import would write it. */
static bool imports(const char *text, const char *module)
{
    size_t n = strlen(module);
    for (const char *p = text; (p = strstr(p, module)); p += n) {
        const char *line = p;
        while (line > text && line[-1] != '\n')
            line--;
        line += strspn(line, " \t");
        if ((ptl_str_starts(line, "import ") || ptl_str_starts(line, "from ")) &&
            (p[-1] == ' ' || p[-1] == ',' || p[-1] == '.'))
            return true;
    }
    return false;
}

/* How much a script looks like one that a recipe can use: load() or build(), golden(), a telling name. */
static int score(const char *path, const char *text)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int s = 1;
    s += 8 * (strstr(text, "def golden(") != NULL);
    s += 4 * (strstr(text, "def load(") != NULL || strstr(text, "def build(") != NULL);
    s += 3 * (strncmp(name, "export", 6) == 0);
    s += 1 * (strstr(name, "model") != NULL || strstr(name, "train") != NULL);
    s -= 4 * (strstr(name, "test") != NULL);
    return s;
}

static void look_at_script(struct found *f, int dir, const char *name, const char *path)
{
    PTL_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    PTL_FREE char *text = malloc(HEAD + 1);
    ssize_t n = fd >= 0 && text ? read(fd, text, HEAD) : -1;
    if (n <= 0)
        return;
    text[n] = '\0';
    int s = score(path, text);
    bool torch = imports(text, "torch"), keras = imports(text, "keras") || imports(text, "tensorflow");
    f->imports_keras |= keras;
    f->imports_torch |= torch;
    if (keras && s > f->keras_score) {
        f->keras_score = s;
        snprintf(f->keras_script, MAX_PATH, "%s", path);
    }
    if (torch && s > f->torch_score) {
        f->torch_score = s;
        snprintf(f->torch_script, MAX_PATH, "%s", path);
    }
}

static void look_at_file(struct found *f, int dir, const char *name, const char *path)
{
    if (ptl_str_ends(name, ".py"))
        look_at_script(f, dir, name, path);
    else if (ptl_str_ends(name, ".keras") || ptl_str_ends(name, ".h5"))
        keep(f->keras_model, path);
    else if (strcmp(name, "saved_model.pb") == 0)
        keep(f->saved_model, path);
    else if (ptl_str_ends(name, ".pt") || ptl_str_ends(name, ".pth"))
        keep(f->torch_model, path);
    else if (ptl_str_ends(name, ".onnx"))
        keep(f->onnx, path);
    else if (ptl_str_ends(name, ".tflite"))
        keep(f->tflite, path);
    else if (ptl_str_ends(name, ".npz"))
        keep(f->golden, path);
}

/* Only what can stand in the file without quoting troubles is used. */
static bool plain_path(const char *path)
{
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        if (*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\' || *p >= 0x80 || *p == '$')
            return false;
    return true;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* bytes, so that the answer does not depend on the locale */
}

static int worth_a_look(const struct dirent *d)
{
    return d->d_name[0] != '.' && strcmp(d->d_name, "node_modules") != 0 &&
           strcmp(d->d_name, "__pycache__") != 0 && strcmp(d->d_name, "venv") != 0 &&
           strcmp(d->d_name, "build") != 0;
}

static int look(struct found *f, int dir, const char *prefix, int level, struct ptl_error *err)
{
    struct dirent **list;
    char path[MAX_PATH];
    int n = scandirat(dir, ".", &list, worth_a_look, by_name), r = 0;
    if (n < 0)
        return ptl_error_set(err, -errno, "init: %s: %m", *prefix ? prefix : ".");
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        struct stat st;
        int len = snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "/" : "", name);
        if (f->entries++ >= MAX_ENTRIES || len >= (int)sizeof(path)) {
            f->cut = true;
        } else if (r == 0 && plain_path(path) && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            if (S_ISREG(st.st_mode))
                look_at_file(f, dir, name, path);
            if (S_ISDIR(st.st_mode) && level < MAX_LEVELS) {
                PTL_CLOSE int below = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (below >= 0) /* a folder that we may not read is not ours to judge */
                    r = look(f, below, path, level + 1, err);
            }
        }
        free(list[i]);
    }
    free(list);
    return r;
}

static void put_head(struct ptl_buf *b, const struct found *f, const char *model)
{
    ptl_buf_puts(b, "# Portolan: from a git push to a server, a phone and a browser.\n"
                    "# Check this file with: portolan lint      Try it on this machine with: portolan exec\n"
                    "version: 1\n");
    ptl_buf_printf(b, "model: %s\n\n", model);
    ptl_buf_puts(
        b,
        "on:\n  push: {branches: [main, master, \"release/*\"]}   # globs; \"!wip/*\" takes away again\n\n");
    if (f->cut)
        ptl_buf_printf(b, "# This repository is large: only its first %d entries were looked at.\n",
                       MAX_ENTRIES);
}

static void put_keras(struct ptl_buf *b, const struct found *f)
{
    ptl_buf_puts(
        b,
        "export:                     # once, on a server: a SavedModel and its golden set\n  uses: keras/saved-model\n");
    bool script = f->keras_script[0] && (f->keras_score > 4 || (!f->keras_model[0] && !f->saved_model[0]));
    if (script) {
        ptl_buf_printf(b, "  with: {script: \"%s\"}\n", f->keras_script);
        if (f->keras_score <= 4)
            ptl_buf_puts(
                b,
                "  # The script needs build() or load(), which returns the model, and golden(), which returns real inputs.\n");
    } else {
        char model[MAX_PATH];
        snprintf(model, sizeof(model), "%s", f->keras_model[0] ? f->keras_model : f->saved_model);
        char *slash = strrchr(model, '/');
        if (!f->keras_model[0])
            snprintf(slash ? slash : model, 2, "%s", slash ? "" : "."); /* the folder of saved_model.pb */
        ptl_buf_printf(
            b,
            "  with:\n    model: \"%s\"\n    golden: \"%s\"   # one array per input; 8 real samples or more\n",
            model, f->golden[0] ? f->golden : "golden.npz");
    }
    ptl_buf_puts(
        b, "  timeout: 20m\n\n"
           "targets:\n"
           "  server:\n"
           "    host: server\n"
           "    verify: {uses: http/tf-serving, expect: {max_abs_error: 1e-4}}\n"
           "  android:\n"
           "    host: mobile\n"
           "    convert: {uses: tensorflow/tflite}     # with: {quantize: int8, representative: golden}\n"
           "    verify: {uses: litert/run}             # expect: {artifact_size: 5MiB}\n"
           "  web:\n"
           "    host: browser\n"
           "    convert: {uses: tensorflow/tfjs}\n"
           "    verify: {uses: tfjs/run, with: {backend: wasm}}\n");
}

static void put_onnx_targets(struct ptl_buf *b)
{
    ptl_buf_puts(b, "targets:\n"
                    "  server:\n"
                    "    host: server\n"
                    "    verify: {uses: http/oip-v2, expect: {max_abs_error: 1e-4}}\n"
                    "  android:\n"
                    "    host: mobile\n"
                    "    convert: {uses: onnx/quantize, with: {mode: dynamic}}\n"
                    "    verify: {uses: onnxruntime/run}        # expect: {artifact_size: 5MiB}\n"
                    "  web:\n"
                    "    host: browser\n"
                    "    verify: {uses: onnxruntime-web/run}\n");
}

static void put_torch(struct ptl_buf *b, const struct found *f)
{
    ptl_buf_puts(
        b,
        "export:                     # once, on a server: ONNX and the golden set of the original module\n  uses: pytorch/onnx\n");
    ptl_buf_printf(b, "  with: {script: \"%s\"}\n", f->torch_script[0] ? f->torch_script : "export.py");
    if (f->torch_score <= 4)
        ptl_buf_puts(
            b,
            "  # The script needs load(), which returns the module, and golden(), which returns real inputs.\n");
    if (f->torch_model[0])
        ptl_buf_printf(b, "  # Weights were found in %s.\n", f->torch_model);
    ptl_buf_puts(b, "  timeout: 20m\n\n");
    put_onnx_targets(b);
}

/* A model file and nothing that made it: the repository must bring its own golden set. */
static void put_file(struct ptl_buf *b, const char *model, bool tflite)
{
    ptl_buf_printf(
        b,
        "export:                     # the model is in the repository; golden/ must be too: manifest.json and .npy files\n"
        "  run:\n"
        "    - mkdir -p \"$PORTOLAN_OUTPUTS/model\"\n"
        "    - cp \"%s\" \"$PORTOLAN_OUTPUTS/model/\"\n"
        "    - cp -r golden \"$PORTOLAN_OUTPUTS/golden\"\n\n",
        model);
    if (!tflite) {
        put_onnx_targets(b);
        return;
    }
    ptl_buf_puts(b, "targets:\n"
                    "  android:\n"
                    "    host: mobile\n"
                    "    verify: {uses: litert/run}\n"
                    "  web:\n"
                    "    host: browser\n"
                    "    verify: {uses: litertjs/run}\n");
}

static void put_unknown(struct ptl_buf *b)
{
    ptl_buf_puts(
        b,
        "# No model, and no script that imports Keras, TensorFlow or PyTorch was found. Say how the model is made:\n"
        "export:\n"
        "  uses: keras/saved-model\n"
        "  with: {script: export.py}   # build() or load() returns the model, golden() real inputs\n\n"
        "targets:\n"
        "  server:\n"
        "    host: server\n"
        "    verify: {uses: http/tf-serving}\n");
}

/* The folder's name, as far as it can name a model. */
static void model_name(const char *repo_dir, char *ret, size_t size)
{
    PTL_FREE char *real = realpath(repo_dir, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL, *name = slash ? slash + 1 : "";
    size_t n = 0;
    for (; *name && n + 1 < size && n < 60; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                      (*name >= '0' && *name <= '9');
        if (letter)
            ret[n++] = *name;
        else if (n > 0 && ret[n - 1] != '-')
            ret[n++] = '-';
    }
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = '\0';
    if (n == 0 || strspn(ret, "0123456789") == n)
        snprintf(ret, size, "model");
}

int ptl_spec_init(const char *repo_dir, struct ptl_buf *ret_yaml, struct ptl_error *err)
{
    PTL_FREE struct found *f = calloc(1, sizeof(*f));
    PTL_CLOSE int dir = open(repo_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char model[80];
    if (!f)
        return ptl_error_set(err, -ENOMEM, "init: out of memory");
    if (dir < 0)
        return ptl_error_set(err, -errno, "init: %s: %m", repo_dir);
    int r = look(f, dir, "", 0, err);
    if (r < 0)
        return r;
    model_name(repo_dir, model, sizeof(model));
    put_head(ret_yaml, f, model);
    bool keras = f->keras_script[0] || f->keras_model[0] || f->saved_model[0];
    bool torch = f->torch_script[0] || f->torch_model[0];
    if (torch && (!keras || f->torch_score > f->keras_score))
        put_torch(ret_yaml, f);
    else if (keras)
        put_keras(ret_yaml, f);
    else if (f->onnx[0] || f->tflite[0])
        put_file(ret_yaml, f->onnx[0] ? f->onnx : f->tflite, !f->onnx[0]);
    else
        put_unknown(ret_yaml);
    return ret_yaml->failed ? ptl_error_set(err, ret_yaml->failed, "init: out of memory") : 0;
}
