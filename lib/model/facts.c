/* facts.c - the mapped file, and the bounded ways to add to the facts. */
#include "model-private.h"
#include <fcntl.h>
#include <portolan/fs.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int mapping_open(const char *path, struct mapping *ret, struct ptl_error *err)
{
    struct stat st;
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ptl_error_set(err, -EINVAL, "%s: is no regular file", path);
    *ret = (struct mapping){
        {(const uint8_t *)"", 0},
        -1
    };
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            return ptl_error_set(err, -errno, "%s: cannot be mapped: %s", path, strerror(errno));
        ret->b = (struct bytes){p, (size_t)st.st_size};
        ret->fd = fd;
        fd = -1;
    }
    return 0;
}

void mapping_close(struct mapping *m)
{
    if (m->fd >= 0) {
        munmap((void *)(uintptr_t)m->b.p, m->b.n);
        close(m->fd);
        m->fd = -1;
    }
}

json_t *text_of(const uint8_t *p, size_t n)
{
    PTL_FREE char *s = ptl_json_text_utf8((const char *)p, n < 400 ? n : 400);
    for (char *c = s; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127)
            *c = '?';
    return json_string(s);
}

static void sentence(json_t *facts, const char *key, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));
static void sentence(json_t *facts, const char *key, const char *fmt, va_list ap)
{
    char text[512];
    size_t i;
    json_t *v, *list = json_object_get(facts, key);
    vsnprintf(text, sizeof(text), fmt, ap);
    if (!list)
        json_object_set_new(facts, key, list = json_array());
    json_array_foreach(list, i, v) if (ptl_str_eq(json_string_value(v), text)) return;
    if (json_array_size(list) < 20)
        json_array_append_new(list, text_of((const uint8_t *)text, strlen(text)));
}

void fact_problem(json_t *facts, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    sentence(facts, "problems", fmt, ap);
    va_end(ap);
}

void fact_cut(json_t *facts, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    sentence(facts, "cuts", fmt, ap);
    va_end(ap);
}

void fact_plus(json_t *facts, const char *key, int64_t n)
{
    int64_t sum;
    if (__builtin_add_overflow(ptl_json_i64(facts, key, 0), n, &sum))
        sum = INT64_MAX;
    json_object_set_new(facts, key, json_integer(sum));
}

void fact_count(json_t *facts, const char *key, const char *name, size_t len, int64_t n)
{
    json_t *o = json_object_get(facts, key);
    PTL_JSON *t = text_of((const uint8_t *)name, len);
    const char *s = json_string_value(t);
    if (!s)
        return;
    if (!o)
        json_object_set_new(facts, key, o = json_object());
    if (!json_object_get(o, s) && json_object_size(o) >= PTL_MODEL_NAMES_MAX)
        fact_cut(facts, "%s: only the first %d names are counted", key, PTL_MODEL_NAMES_MAX);
    else
        fact_plus(o, s, n);
}

void fact_add(json_t *facts, const char *key, const char *name, size_t len)
{
    json_t *list = json_object_get(facts, key), *v;
    json_t *t = text_of((const uint8_t *)name, len);
    size_t i;
    if (!list)
        json_object_set_new(facts, key, list = json_array());
    json_array_foreach(list, i, v) if (json_equal(v, t))
    {
        json_decref(t);
        return;
    }
    if (json_array_size(list) < PTL_MODEL_NAMES_MAX) {
        json_array_append_new(list, t);
    } else {
        json_decref(t);
        fact_cut(facts, "%s: only the first %d are named", key, PTL_MODEL_NAMES_MAX);
    }
}

bool fact_part(const char *dir, const char *model_path, const char *part, char **ret_path,
               uint64_t *ret_bytes)
{
    struct stat st;
    const char *slash = strrchr(model_path, '/');
    if (!ptl_fs_is_safe_relative(part))
        return false;
    char *rel =
        slash ? ptl_xasprintf("%.*s/%s", (int)(slash - model_path), model_path, part) : ptl_xstrdup(part);
    PTL_FREE char *full = ptl_fs_join(dir, rel);
    bool there = lstat(full, &st) == 0 && S_ISREG(st.st_mode);
    if (there)
        *ret_bytes = (uint64_t)st.st_size;
    *ret_path = rel;
    return there;
}

int64_t shape_elements(const json_t *shape, int64_t free_as)
{
    int64_t n = 1;
    size_t i;
    const json_t *v;
    if (!json_is_array(shape))
        return -1;
    json_array_foreach(shape, i, v)
    {
        int64_t d = json_is_integer(v) ? json_integer_value(v) : free_as;
        if (d < 0 || __builtin_mul_overflow(n, d, &n))
            return -1;
    }
    return n;
}

size_t ptl_model_dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        size_t bytes;
    } types[] = {
        {"float32",    4 },
        {"float64",    8 },
        {"float16",    2 },
        {"bfloat16",   2 },
        {"int8",       1 },
        {"uint8",      1 },
        {"int16",      2 },
        {"uint16",     2 },
        {"int32",      4 },
        {"uint32",     4 },
        {"int64",      8 },
        {"uint64",     8 },
        {"bool",       1 },
        {"complex64",  8 },
        {"complex128", 16},
        {"int4",       1 },
        {"float8",     1 },
    };
    for (size_t i = 0; dtype && i < PTL_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, dtype) == 0)
            return types[i].bytes;
    return 0;
}

int64_t tensor_bytes(const json_t *tensor)
{
    int64_t n = shape_elements(json_object_get(tensor, "shape"), 1), bytes;
    int64_t each = (int64_t)ptl_model_dtype_bytes(ptl_json_str(tensor, "dtype", NULL));
    return n < 0 || __builtin_mul_overflow(n, each, &bytes) ? 0 : bytes;
}
