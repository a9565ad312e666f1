/* json.c - jansson with our errors: what the text was, which member, what was expected. */
#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/json.h>

int ptl_json_parse(const char *text, size_t len, const char *what, json_t **ret, struct ptl_error *err)
{
    json_error_t je;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!j)
        return ptl_error_set(err, -EINVAL, "%s: not valid JSON at line %d, column %d: %s", what, je.line,
                             je.column, je.text);
    *ret = j;
    return 0;
}

int ptl_json_load(const char *path, size_t max_bytes, json_t **ret, struct ptl_error *err)
{
    PTL_BUF b = PTL_BUF_INIT;
    int r = ptl_fs_read(path, max_bytes, &b, err);
    return r < 0 ? r : ptl_json_parse(ptl_buf_str(&b), b.len, path, ret, err);
}

int ptl_json_save(const char *path, const json_t *j, mode_t mode, struct ptl_error *err)
{
    PTL_FREE char *text = json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!text)
        return ptl_error_set(err, -ENOMEM, "%s: out of memory or not encodable as JSON", path);
    return ptl_fs_write_atomic(path, text, strlen(text), mode, err);
}

char *ptl_json_text(const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!text)
        abort();
    return text;
}

/* Length of the valid UTF-8 sequence at p (n bytes there), or 0. NUL counts as invalid: PostgreSQL text has
 * none. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    if (p[0] == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xf0 && p[0] <= 0xf4  ? 4
                 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                                               : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

char *ptl_json_text_utf8(const char *bytes, size_t len)
{
    PTL_BUF b = PTL_BUF_INIT;
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence(p + i, len - i);
        if (n)
            ptl_buf_add(&b, p + i, n);
        else
            ptl_buf_add(&b, "\xef\xbf\xbd", 3);
        i += n ? n : 1;
    }
    if (b.failed)
        abort();
    return ptl_buf_take(&b, NULL);
}

const char *ptl_json_str(const json_t *j, const char *key, const char *dflt)
{
    const json_t *v = json_object_get(j, key);
    return json_is_string(v) ? json_string_value(v) : dflt;
}

int64_t ptl_json_i64(const json_t *j, const char *key, int64_t dflt)
{
    const json_t *v = json_object_get(j, key);
    return json_is_integer(v) ? json_integer_value(v) : dflt;
}

double ptl_json_num(const json_t *j, const char *key, double dflt)
{
    const json_t *v = json_object_get(j, key);
    return json_is_number(v) ? json_number_value(v) : dflt;
}

bool ptl_json_flag(const json_t *j, const char *key, bool dflt)
{
    const json_t *v = json_object_get(j, key);
    return json_is_boolean(v) ? json_is_true(v) : dflt;
}

static int expected(const char *what, const char *key, const char *kind, struct ptl_error *err)
{
    return ptl_error_set(err, -EINVAL, "%s.%s: expected %s", what, key, kind);
}

int ptl_json_req_str(const json_t *j, const char *what, const char *key, const char **ret,
                     struct ptl_error *err)
{
    json_t *v = json_object_get(j, key);
    if (!json_is_string(v))
        return expected(what, key, "a string", err);
    *ret = json_string_value(v);
    return 0;
}

int ptl_json_req_i64(const json_t *j, const char *what, const char *key, int64_t *ret, struct ptl_error *err)
{
    json_t *v = json_object_get(j, key);
    if (!json_is_integer(v))
        return expected(what, key, "a whole number", err);
    *ret = json_integer_value(v);
    return 0;
}

int ptl_json_req_obj(const json_t *j, const char *what, const char *key, json_t **ret, struct ptl_error *err)
{
    json_t *v = json_object_get(j, key);
    if (!json_is_object(v))
        return expected(what, key, "an object", err);
    *ret = v;
    return 0;
}

int ptl_json_req_arr(const json_t *j, const char *what, const char *key, json_t **ret, struct ptl_error *err)
{
    json_t *v = json_object_get(j, key);
    if (!json_is_array(v))
        return expected(what, key, "an array", err);
    *ret = v;
    return 0;
}
