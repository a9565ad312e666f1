/* diff.c - what a list of changed files means for one stage. Names only: what stands in the files is
 * pre-flight's business. */
#include "risk.h"
#include <stdio.h>

/* By the last part of the path. */
static const char *const environment[] = {"requirements*.txt", "constraints*.txt",
                                          "environment*.yml",  "environment*.yaml",
                                          "conda*.yml",        "conda*.yaml",
                                          "pyproject.toml",    "setup.py",
                                          "setup.cfg",         "Pipfile",
                                          "Pipfile.lock",      "poetry.lock",
                                          "uv.lock",           "pdm.lock",
                                          "Dockerfile*",       "package.json",
                                          "package-lock.json", "yarn.lock",
                                          "pnpm-lock.yaml",    "*.gradle",
                                          "*.gradle.kts",      "gradle.properties",
                                          "toolchain.yml",     ".tool-versions",
                                          ".python-version",   NULL};
static const char *const model[] = {"*.h5",         "*.hdf5",        "*.keras",   "*.pb",       "*.pbtxt",
                                    "*.onnx",       "*.tflite",      "*.pt",      "*.pth",      "*.ckpt",
                                    "*.ckpt.*",     "*.safetensors", "*.npz",     "model.json", "*.mlmodel",
                                    "*.caffemodel", "*.prototxt",    "*.weights", "weights*",   "model*.py",
                                    "net*.py",      "*_model.py",    NULL};
static const char *const script[] = {"*.py", "*.sh", "*.ipynb", "Makefile", NULL};

static bool fits(const char *const *globs, const char *path)
{
    const char *base = strrchr(path, '/');
    for (base = base ? base + 1 : path; *globs; globs++)
        if (ptl_str_glob(*globs, base))
            return true;
    return false;
}

/* Is a file named in a text, as a word of its own? "./to-tfjs.sh --x" names to-tfjs.sh. */
static bool names(const char *text, const char *path)
{
    size_t n = strlen(path);
    for (const char *p = text; (p = strstr(p, path)) != NULL; p++) {
        char before = p == text ? ' ' : p[-1], after = p[n];
        if (strchr(" \t/\"'=", before) && (after == '\0' || strchr(" \t\"';&|)", after)))
            return true;
    }
    return false;
}

static bool is_named(const json_t *v, const char *path)
{
    size_t i;
    json_t *e;
    const char *key;
    if (json_is_string(v))
        return names(json_string_value(v), path);
    if (json_is_array(v)) {
        json_array_foreach((json_t *)v, i, e) if (is_named(e, path)) return true;
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, e) if (is_named(e, path)) return true;
    }
    return false;
}

static void note(unsigned *bits, const char *examples[PTL_RISK_FACTORS], enum ptl_risk_factor f,
                 const char *path)
{
    *bits |= 1u << f;
    if (!examples[f])
        examples[f] = path;
}

unsigned ptl_risk_diff(const json_t *paths, const json_t *stage, const json_t *before,
                       const char *examples[PTL_RISK_FACTORS])
{
    bool is_export = ptl_str_eq(ptl_json_str(stage, "kind", ""), "export");
    unsigned bits = 0;
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)paths, i, v)
    {
        const char *path = json_string_value(v);
        if (!path)
            continue;
        if (is_named(json_object_get(stage, "with"), path) || is_named(json_object_get(stage, "run"), path) ||
            (is_export && fits(script, path)))
            note(&bits, examples, PTL_RISK_EXPORTER, path);
        if (fits(environment, path))
            note(&bits, examples, PTL_RISK_ENVIRONMENT, path);
        if (fits(model, path) ||
            (!is_export && fits(script, path) && !is_named(json_object_get(stage, "run"), path)))
            note(&bits, examples, PTL_RISK_MODEL, path);
        if (ptl_str_eq(path, ".portolan.yml") && !before)
            note(&bits, examples, PTL_RISK_SPEC, path);
    }
    if (before && !ptl_json_flag(before, "same", true))
        note(&bits, examples, PTL_RISK_SPEC, NULL);
    if (before && !ptl_json_flag(before, "same_toolchain", true))
        note(&bits, examples, PTL_RISK_ENVIRONMENT, NULL);
    if (json_array_size(paths) == 0 && !bits)
        note(&bits, examples, PTL_RISK_NOTHING, NULL);
    return bits;
}
