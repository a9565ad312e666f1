/* recipe.c - loads recipe.yml, holds it to its schema, and checks what a pipeline file passes to it. Blocking
 * file reads; the checks themselves are pure. Errors are for the person who wrote `with:`, so they name the
 * key and what would do. */
#include "recipe.h"
#include "yamljson.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <portolan/buf.h>
#include <portolan/fs.h>

enum { PARAMETERS_MAX = 100, LIST_MAX = 1000, RECIPES_MAX = 20000 };

static const char *const recipe_keys[] = {
    "name",   "summary", "kind",    "host",      "toolchain", "command", "driver", "parameters",
    "inputs", "outputs", "network", "precision", "memory",    "timeout", "labels", NULL};
static const char *const parameter_keys[] = {"type", "values", "default", "required",
                                             "help", "min",    "max",     NULL};
static const char *const type_names[] = {"string",  "path", "integer", "number",
                                         "boolean", "enum", "list",    NULL};
static const char *const precisions[] = {"fp32", "fp32opt", "fp16", "bf16", "int8w", "int8", "auto", NULL};

static bool is_one_of(const char *word, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

/* "; did you mean \"x\"?" or nothing */
static const char *hint(const char *word, const char *const *list, char *buf, size_t size)
{
    const char *near = ptl_str_nearest(word, list);
    if (near)
        snprintf(buf, size, "; did you mean \"%s\"?", near);
    else
        buf[0] = 0;
    return buf;
}

static void join_words(const char *const *list, char *ret, size_t size)
{
    size_t at = 0;
    ret[0] = 0;
    for (size_t i = 0; list[i] && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%s", i ? ", " : "", list[i]);
}

/* ---- the file's schema ---- */

static int check_strings(const json_t *list, const char *what, const char *key, struct ptl_error *err)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list))
        return ptl_error_set(err, -EINVAL, "%s: %s: expected a list of strings", what, key);
    json_array_foreach(list, i, item) if (!json_is_string(item)) return ptl_error_set(
        err, -EINVAL, "%s: %s[%zu]: expected a string", what, key, i);
    return 0;
}

static int check_parameter(const char *what, const char *name, const json_t *p, struct ptl_error *err)
{
    char near[128], all[256];
    const char *key;
    json_t *value;
    if (!json_is_object(p))
        return ptl_error_set(err, -EINVAL, "%s: parameters.%s: expected a mapping with a type", what, name);
    json_object_foreach((json_t *)p, key, value) if (!is_one_of(key, parameter_keys)) return ptl_error_set(
        err, -EINVAL, "%s: parameters.%s.%s: unknown key%s", what, name, key,
        hint(key, parameter_keys, near, sizeof(near)));
    const char *type = ptl_json_str(p, "type", "");
    if (!is_one_of(type, type_names)) {
        join_words(type_names, all, sizeof(all));
        return ptl_error_set(err, -EINVAL, "%s: parameters.%s.type: expected one of %s%s", what, name, all,
                             hint(type, type_names, near, sizeof(near)));
    }
    if (strcmp(type, "enum") == 0) {
        char values[160];
        snprintf(values, sizeof(values), "parameters.%s.values", name);
        int r = check_strings(json_object_get(p, "values"), what, values, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_doc(const char *what, const char *name, json_t *doc, struct ptl_error *err)
{
    char near[128];
    const char *key, *text;
    json_t *value;
    int r = 0;
    if (!json_is_object(doc))
        return ptl_error_set(err, -EINVAL, "%s: expected a mapping", what);
    json_object_foreach(doc, key, value) if (!is_one_of(key, recipe_keys)) return ptl_error_set(
        err, -EINVAL, "%s: unknown key \"%s\"%s", what, key, hint(key, recipe_keys, near, sizeof(near)));
    if ((r = ptl_json_req_str(doc, what, "name", &text, err)) < 0)
        return r;
    if (strcmp(text, name) != 0)
        return ptl_error_set(err, -EINVAL, "%s: name: \"%s\" does not match its folder \"%s\"", what, text,
                             name);
    json_t *command = json_object_get(doc, "command"), *driver = json_object_get(doc, "driver");
    if (!command == !driver)
        return ptl_error_set(err, -EINVAL, "%s: expected either command or driver", what);
    if (command && (r = check_strings(command, what, "command", err)) < 0)
        return r;
    if (command && json_array_size(command) == 0)
        return ptl_error_set(err, -EINVAL, "%s: command: is empty", what);
    if (driver && !*ptl_json_str(driver, "kind", ""))
        return ptl_error_set(err, -EINVAL, "%s: driver.kind: expected server, mobile, browser or fake", what);
    value = json_object_get(doc, "outputs");
    if (value && (r = check_strings(value, what, "outputs", err)) < 0)
        return r;
    json_object_foreach(json_object_get(doc, "parameters"), key,
                        value) if ((r = check_parameter(what, key, value, err)) < 0) return r;
    if (json_object_size(json_object_get(doc, "parameters")) > PARAMETERS_MAX)
        return ptl_error_set(err, -EINVAL, "%s: more than %d parameters", what, PARAMETERS_MAX);
    return 0;
}

/* ---- loading ---- */

char *ptl_recipe_root(void)
{
    const char *named = getenv("PORTOLAN_RECIPES");
    if (named && *named) {
        char *real = realpath(named, NULL);
        return real ? real : ptl_xstrdup(named);
    }
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n > 0) {
        exe[n] = 0;
        char *slash = strrchr(exe, '/');
        PTL_FREE char *beside = ptl_xasprintf("%.*s/../share/portolan/recipes", (int)(slash - exe), exe);
        char *real = realpath(beside, NULL);
        if (real)
            return real;
    }
    return ptl_xstrdup(ptl_fs_is_dir(PTL_RECIPES_INSTALLED) ? PTL_RECIPES_INSTALLED : PTL_RECIPES_SOURCE);
}

static int no_such_recipe(const char *root, const char *name, struct ptl_error *err)
{
    PTL_JSON *names = NULL;
    char near[192] = "";
    if (ptl_recipe_list(root, &names, NULL, NULL) == 0) {
        size_t n = json_array_size(names);
        const char **list = ptl_xcalloc(n + 1, sizeof(*list));
        for (size_t i = 0; i < n; i++)
            list[i] = json_string_value(json_array_get(names, i));
        hint(name, list, near, sizeof(near));
        free(list);
    }
    return ptl_error_set(err, -ENOENT, "no recipe \"%s\" in %s%s", name, root, near);
}

int ptl_recipe_load(const char *root, const char *name, struct ptl_recipe **ret, struct ptl_error *err)
{
    if (!ptl_fs_is_safe_relative(name))
        return ptl_error_set(err, -EINVAL, "\"%s\" is no recipe name; expected family/name", name);
    PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = ptl_xcalloc(1, sizeof(*r));
    r->name = ptl_xstrdup(name);
    r->root = ptl_xstrdup(root);
    r->dir = ptl_fs_join(root, name);
    PTL_FREE char *file = ptl_fs_join(r->dir, "recipe.yml");
    if (!ptl_fs_exists(file))
        return no_such_recipe(root, name, err);
    int rc = ptl_yaml_load(file, &r->doc, err);
    if (rc == 0)
        rc = check_doc(file, name, r->doc, err);
    const char *kind = NULL, *host = NULL;
    if (rc == 0)
        rc = ptl_json_req_str(r->doc, file, "kind", &kind, err);
    if (rc < 0)
        return rc;
    host = ptl_json_str(r->doc, "host", "server");
    if (ptl_stage_kind_parse(kind, &r->kind) < 0)
        return ptl_error_set(err, -EINVAL, "%s: kind: expected export, convert or verify, not \"%s\"", file,
                             kind);
    if (ptl_host_kind_parse(host, &r->host) < 0)
        return ptl_error_set(err, -EINVAL, "%s: host: expected server, mobile or browser, not \"%s\"", file,
                             host);
    r->toolchain = ptl_json_str(r->doc, "toolchain", NULL);
    r->command = json_object_get(r->doc, "command");
    r->driver = json_object_get(r->doc, "driver");
    r->network = ptl_json_flag(r->doc, "network", false);
    *ret = PTL_TAKE(r);
    return 0;
}

struct ptl_recipe *ptl_recipe_free(struct ptl_recipe *r)
{
    if (!r)
        return NULL;
    free(r->name);
    free(r->root);
    free(r->dir);
    json_decref(r->doc);
    free(r);
    return NULL;
}

struct listing {
    const char *root;
    json_t *names, *broken;
};

static int list_one(void *ctx, const struct ptl_fs_entry *e)
{
    struct listing *l = ctx;
    if (!ptl_str_ends(e->path, "/recipe.yml"))
        return 0;
    PTL_FREE char *name = ptl_xstrdup(e->path);
    name[strlen(name) - strlen("/recipe.yml")] = 0;
    PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    if (ptl_recipe_load(l->root, name, &r, &err) == 0)
        json_array_append_new(l->names, json_string(name));
    else
        json_array_append_new(l->broken, json_string(err.text));
    return 0;
}

int ptl_recipe_list(const char *root, json_t **ret_names, json_t **ret_broken, struct ptl_error *err)
{
    PTL_JSON *names = json_array();
    PTL_JSON *broken = json_array();
    struct listing l = {.root = root, .names = names, .broken = broken};
    int r = ptl_fs_walk(root, RECIPES_MAX, list_one, &l, err);
    if (r < 0)
        return r;
    *ret_names = PTL_TAKE(names);
    if (ret_broken)
        *ret_broken = PTL_TAKE(broken);
    return 0;
}

/* ---- parameters ---- */

static const char *json_kind(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "a mapping";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "nothing";
    }
}

static int expected(const char *key, const char *what, const json_t *got, struct ptl_error *err)
{
    if (json_is_string(got))
        return ptl_error_set(err, -EINVAL, "with.%s: expected %s, not \"%s\"", key, what,
                             json_string_value(got));
    if (json_is_integer(got))
        return ptl_error_set(err, -EINVAL, "with.%s: expected %s, not %lld", key, what,
                             (long long)json_integer_value(got));
    return ptl_error_set(err, -EINVAL, "with.%s: expected %s, not %s", key, what, json_kind(got));
}

static int check_range(const char *key, const json_t *p, double v, struct ptl_error *err)
{
    const json_t *min = json_object_get(p, "min"), *max = json_object_get(p, "max");
    if (!isfinite(v))
        return ptl_error_set(err, -EINVAL, "with.%s: is not a finite number", key);
    if (json_is_number(min) && v < json_number_value(min))
        return ptl_error_set(err, -EINVAL, "with.%s: %g is below the least allowed, %g", key, v,
                             json_number_value(min));
    if (json_is_number(max) && v > json_number_value(max))
        return ptl_error_set(err, -EINVAL, "with.%s: %g is above the most allowed, %g", key, v,
                             json_number_value(max));
    return 0;
}

/* Pipeline files are YAML and their matrices give strings: "8" is accepted where 8 is meant. */
static int as_integer(const char *key, const json_t *p, const json_t *v, json_t **ret, struct ptl_error *err)
{
    long long n = json_integer_value(v);
    if (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)) &&
        fabs(json_real_value(v)) < 1e15) {
        n = (long long)json_real_value(v);
    } else if (json_is_string(v)) {
        char *end;
        errno = 0;
        n = strtoll(json_string_value(v), &end, 10);
        if (end == json_string_value(v) || *end || errno)
            return expected(key, "an integer", v, err);
    } else if (!json_is_integer(v)) {
        return expected(key, "an integer", v, err);
    }
    int r = check_range(key, p, (double)n, err);
    if (r == 0)
        *ret = json_integer(n);
    return r;
}

static int as_number(const char *key, const json_t *p, const json_t *v, json_t **ret, struct ptl_error *err)
{
    double d = json_number_value(v);
    if (json_is_string(v)) {
        char *end;
        d = strtod(json_string_value(v), &end);
        if (end == json_string_value(v) || *end)
            return expected(key, "a number", v, err);
    } else if (!json_is_number(v)) {
        return expected(key, "a number", v, err);
    }
    int r = check_range(key, p, d, err);
    if (r == 0)
        *ret = json_real(d);
    return r;
}

static int as_boolean(const char *key, const json_t *v, json_t **ret, struct ptl_error *err)
{
    const char *s = json_string_value(v);
    if (json_is_boolean(v))
        *ret = json_boolean(json_is_true(v));
    else if (s && (strcmp(s, "true") == 0 || strcmp(s, "false") == 0))
        *ret = json_boolean(strcmp(s, "true") == 0);
    else
        return expected(key, "true or false", v, err);
    return 0;
}

static int as_string(const char *key, const json_t *v, json_t **ret, struct ptl_error *err)
{
    if (json_is_string(v))
        *ret = json_string(json_string_value(v));
    else if (json_is_integer(v) || json_is_real(v)) { /* `version: 15` in YAML */
        PTL_FREE char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
        *ret = json_string(text);
    } else
        return expected(key, "a string", v, err);
    return 0;
}

static int as_enum(const char *key, const json_t *p, const json_t *v, json_t **ret, struct ptl_error *err)
{
    const json_t *values = json_object_get(p, "values");
    size_t n = json_array_size(values);
    const char **list = ptl_xcalloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = json_string_value(json_array_get(values, i));
    /* YAML reads `none` as a word but `null`, `true`, 8 as values; the choice is by its text */
    PTL_JSON *text = NULL;
    const char *s = json_is_boolean(v) ? (json_is_true(v) ? "true" : "false")
                    : json_is_null(v)  ? "null"
                                       : NULL;
    int r = s ? 0 : as_string(key, v, &text, err);
    if (text)
        s = json_string_value(text);
    if (r == 0 && !is_one_of(s, list)) {
        char all[512], near[128];
        join_words(list, all, sizeof(all));
        r = ptl_error_set(err, -EINVAL, "with.%s: expected one of %s, not \"%s\"%s", key, all, s,
                          hint(s, list, near, sizeof(near)));
    }
    if (r == 0)
        *ret = json_string(s);
    free(list);
    return r;
}

static int as_list(const char *key, const json_t *v, json_t **ret, struct ptl_error *err)
{
    size_t i;
    json_t *item;
    if (json_is_string(v) || json_is_number(v)) { /* one item may stand for a list of it */
        *ret = json_array();
        return json_array_append(*ret, (json_t *)v);
    }
    if (!json_is_array(v))
        return expected(key, "a list", v, err);
    if (json_array_size(v) > LIST_MAX)
        return ptl_error_set(err, -EINVAL, "with.%s: more than %d items", key, LIST_MAX);
    json_array_foreach(
        (json_t *)v, i,
        item) if (json_is_object(item) ||
                  json_is_array(
                      item)) return ptl_error_set(err, -EINVAL,
                                                  "with.%s[%zu]: expected a word or a number, not %s", key, i,
                                                  json_kind(item));
    *ret = json_deep_copy(v);
    return 0;
}

struct nearest_file {
    const char *want, *best;
    char text[256];
};

static int consider_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct nearest_file *n = ctx;
    const char *list[] = {e->path, NULL};
    if (!n->text[0] && ptl_str_nearest(n->want, list))
        snprintf(n->text, sizeof(n->text), "; did you mean \"%.200s\"?", e->path);
    return 0;
}

static int as_path(const char *key, const json_t *v, const char *const *roots, json_t **ret,
                   struct ptl_error *err)
{
    const char *s = json_string_value(v);
    if (!s)
        return expected(key, "a path", v, err);
    PTL_FREE char *clean = ptl_xstrdup(ptl_str_starts(s, "./") ? s + 2 : s);
    while (*clean && ptl_str_ends(clean, "/"))
        clean[strlen(clean) - 1] = 0;
    if (strcmp(clean, ".") != 0 && *clean && !ptl_fs_is_safe_relative(clean))
        return ptl_error_set(err, -EINVAL, "with.%s: expected a relative path without \"..\", not \"%s\"",
                             key, s);
    bool found = !roots || !*clean;
    for (size_t i = 0; !found && roots[i]; i++) {
        PTL_FREE char *full = ptl_fs_join(roots[i], clean);
        found = ptl_fs_exists(full);
    }
    if (!found) {
        struct nearest_file n = {.want = clean};
        for (size_t i = 0; roots[i] && !n.text[0]; i++)
            if (ptl_fs_is_dir(roots[i]) && ptl_fs_walk(roots[i], RECIPES_MAX, consider_file, &n, NULL) < 0)
                break; /* a hint, nothing more */
        return ptl_error_set(err, -EINVAL,
                             "with.%s: there is no \"%s\" in the repository or among the model files%s", key,
                             s, n.text);
    }
    *ret = json_string(clean);
    return 0;
}

static int check_value(const char *key, const json_t *p, const json_t *v, const char *const *roots,
                       json_t **ret, struct ptl_error *err)
{
    const char *type = ptl_json_str(p, "type", "");
    if (strcmp(type, "integer") == 0)
        return as_integer(key, p, v, ret, err);
    if (strcmp(type, "number") == 0)
        return as_number(key, p, v, ret, err);
    if (strcmp(type, "boolean") == 0)
        return as_boolean(key, v, ret, err);
    if (strcmp(type, "enum") == 0)
        return as_enum(key, p, v, ret, err);
    if (strcmp(type, "list") == 0)
        return as_list(key, v, ret, err);
    if (strcmp(type, "path") == 0)
        return as_path(key, v, roots, ret, err);
    return as_string(key, v, ret, err);
}

static int unknown_parameter(const struct ptl_recipe *r, const char *key, const json_t *parameters,
                             struct ptl_error *err)
{
    size_t n = json_object_size(parameters), i = 0;
    const char **list = ptl_xcalloc(n + 1, sizeof(*list));
    const char *name;
    json_t *p;
    json_object_foreach((json_t *)parameters, name, p) list[i++] = name;
    char near[128], all[512];
    join_words(list, all, sizeof(all));
    hint(key, list, near, sizeof(near));
    free(list);
    if (n == 0)
        return ptl_error_set(err, -EINVAL, "with.%s: recipe %s takes no parameters", key, r->name);
    return ptl_error_set(err, -EINVAL, "with.%s: recipe %s has no such parameter%s (it takes: %s)", key,
                         r->name, near, all);
}

int ptl_recipe_check_with(const struct ptl_recipe *r, const json_t *with, const char *const *path_roots,
                          json_t **ret_with, struct ptl_error *err)
{
    const json_t *parameters = json_object_get(r->doc, "parameters");
    PTL_JSON *out = json_object();
    const char *key;
    json_t *v, *p;
    if (with && !json_is_null(with) && !json_is_object(with))
        return ptl_error_set(err, -EINVAL, "with: expected a mapping of parameters, not %s", json_kind(with));
    json_object_foreach((json_t *)with, key,
                        v) if (!json_object_get(parameters, key)) return unknown_parameter(r, key, parameters,
                                                                                           err);
    json_object_foreach((json_t *)parameters, key, p)
    {
        json_t *value = NULL;
        v = json_object_get(with, key);
        if (v && json_is_null(v) && !(strcmp(ptl_json_str(p, "type", ""), "enum") == 0))
            v = NULL; /* `key:` with nothing behind it means the default */
        if (v) {
            int rc = check_value(key, p, v, path_roots, &value, err);
            if (rc < 0)
                return rc;
        } else if (json_object_get(p, "default")) {
            value = json_deep_copy(json_object_get(p, "default"));
        } else if (ptl_json_flag(p, "required", false)) {
            const char *help = ptl_json_str(p, "help", "");
            return ptl_error_set(err, -EINVAL, "with.%s: recipe %s needs it%s%s", key, r->name,
                                 *help ? ": " : "", help);
        }
        if (value)
            json_object_set_new(out, key, value);
    }
    *ret_with = PTL_TAKE(out);
    return 0;
}

const char *ptl_recipe_precision(const struct ptl_recipe *r, const json_t *with)
{
    const json_t *p = json_object_get(r->doc, "precision");
    const char *found = json_string_value(p);
    if (json_is_object(p)) {
        const char *value = ptl_json_str(with, ptl_json_str(p, "from", ""), NULL);
        found = value ? ptl_json_str(json_object_get(p, "map"), value, NULL) : NULL;
    }
    return found && is_one_of(found, precisions) ? found : NULL;
}

char *ptl_template(const char *text, const char *const *pairs)
{
    PTL_BUF out = PTL_BUF_MAX(1 << 20);
    for (const char *s = text; *s;) {
        size_t used = 0;
        for (size_t i = 0; *s == '{' && pairs[i] && pairs[i + 1]; i += 2) {
            size_t n = strlen(pairs[i]);
            if (strncmp(s + 1, pairs[i], n) == 0 && s[n + 1] == '}') {
                (void)ptl_buf_puts(&out, pairs[i + 1]);
                used = n + 2;
                break;
            }
        }
        if (!used) {
            (void)ptl_buf_putc(&out, *s);
            used = 1;
        }
        s += used;
    }
    return out.len ? ptl_buf_take(&out, NULL) : ptl_xstrdup("");
}
