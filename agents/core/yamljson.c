/* yamljson.c - libyaml events to jansson values, with a bound on depth and count. Pure but for the file read.
 */
#include "yamljson.h"

#include <math.h>
#include <yaml.h>
#include <portolan/buf.h>
#include <portolan/fs.h>

enum { DEPTH_MAX = 32, NODES_MAX = 20000, FILE_MAX = 1 << 20 };

struct reader {
    yaml_parser_t parser;
    const char *what;
    unsigned nodes;
    struct ptl_error *err;
};

static int fail_at(struct reader *r, const yaml_mark_t *at, const char *text)
{
    return ptl_error_set(r->err, -EINVAL, "%s:%zu:%zu: %s", r->what, at->line + 1, at->column + 1, text);
}

static int next(struct reader *r, yaml_event_t *ret)
{
    if (yaml_parser_parse(&r->parser, ret))
        return 0;
    yaml_mark_t at = r->parser.problem_mark;
    return fail_at(r, &at, r->parser.problem ? r->parser.problem : "is not YAML");
}

static json_t *plain_scalar(const char *s, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE"};
    static const char *const falses[] = {"false", "False", "FALSE"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(nulls); i++)
        if (strcmp(s, nulls[i]) == 0)
            return json_null();
    for (size_t i = 0; i < PTL_ARRAY_LEN(trues); i++) {
        if (strcmp(s, trues[i]) == 0)
            return json_true();
        if (strcmp(s, falses[i]) == 0)
            return json_false();
    }
    size_t sign = s[0] == '-' || s[0] == '+';
    bool digits = s[sign] && strspn(s + sign, "0123456789") == len - sign;
    char *end;
    if (digits || (strncmp(s, "0x", 2) == 0 && s[2])) {
        errno = 0;
        long long v = strtoll(s, &end, digits ? 10 : 16);
        if (!*end && errno == 0)
            return json_integer(v);
    }
    if (strspn(s, "+-.0123456789eE") == len && strpbrk(s, "0123456789")) {
        double d = strtod(s, &end);
        if (!*end && isfinite(d))
            return json_real(d);
    }
    return json_stringn(s, len);
}

static int read_scalar(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    const char *s = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    if (e->data.scalar.tag)
        return fail_at(r, &e->start_mark, "tags are not used here");
    if (memchr(s, 0, len))
        return fail_at(r, &e->start_mark, "a NUL byte");
    *ret = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(s, len) : json_stringn(s, len);
    return *ret ? 0 : fail_at(r, &e->start_mark, "not valid UTF-8");
}

static int read_node(struct reader *r, const yaml_event_t *e, int depth, json_t **ret);

static int read_sequence(struct reader *r, int depth, json_t **ret)
{
    PTL_JSON *list = json_array();
    for (;;) {
        yaml_event_t e;
        json_t *item = NULL;
        int rc = next(r, &e);
        if (rc < 0)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            *ret = PTL_TAKE(list);
            return 0;
        }
        rc = read_node(r, &e, depth, &item);
        yaml_event_delete(&e);
        if (rc < 0)
            return rc;
        json_array_append_new(list, item);
    }
}

static int read_mapping(struct reader *r, int depth, json_t **ret)
{
    PTL_JSON *map = json_object();
    for (;;) {
        yaml_event_t key, value;
        int rc = next(r, &key);
        if (rc < 0)
            return rc;
        if (key.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&key);
            *ret = PTL_TAKE(map);
            return 0;
        }
        json_t *item = NULL;
        const char *name = key.type == YAML_SCALAR_EVENT ? (const char *)key.data.scalar.value : NULL;
        if (!name)
            rc = fail_at(r, &key.start_mark, "a key must be a word");
        else if (json_object_get(map, name))
            rc = fail_at(r, &key.start_mark, "this key is here twice");
        if (rc == 0 && (rc = next(r, &value)) == 0) {
            rc = read_node(r, &value, depth, &item);
            yaml_event_delete(&value);
        }
        if (rc == 0 && json_object_set_new(map, name, item) < 0)
            rc = fail_at(r, &key.start_mark, "a key that is not UTF-8");
        yaml_event_delete(&key);
        if (rc < 0)
            return rc;
    }
}

static int read_node(struct reader *r, const yaml_event_t *e, int depth, json_t **ret)
{
    if (depth > DEPTH_MAX || ++r->nodes > NODES_MAX)
        return fail_at(r, &e->start_mark, "too deep or too long");
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, e, ret);
    case YAML_SEQUENCE_START_EVENT:
        return read_sequence(r, depth + 1, ret);
    case YAML_MAPPING_START_EVENT:
        return read_mapping(r, depth + 1, ret);
    case YAML_ALIAS_EVENT:
        return fail_at(r, &e->start_mark, "aliases are not used here");
    default:
        return fail_at(r, &e->start_mark, "unexpected end");
    }
}

static int read_document(struct reader *r, json_t **ret)
{
    yaml_event_t e;
    PTL_JSON *doc = NULL;
    int rc;
    bool done = false;
    while (!done) {
        if ((rc = next(r, &e)) < 0)
            return rc;
        if (e.type == YAML_STREAM_START_EVENT || e.type == YAML_DOCUMENT_START_EVENT ||
            e.type == YAML_DOCUMENT_END_EVENT)
            rc = 0;
        else if (e.type == YAML_STREAM_END_EVENT)
            done = true;
        else if (doc)
            rc = fail_at(r, &e.start_mark, "a second document");
        else
            rc = read_node(r, &e, 0, &doc);
        yaml_event_delete(&e);
        if (rc < 0)
            return rc;
    }
    if (!doc)
        return ptl_error_set(r->err, -EINVAL, "%s: is empty", r->what);
    *ret = PTL_TAKE(doc);
    return 0;
}

int ptl_yaml_parse(const char *text, size_t len, const char *what, json_t **ret, struct ptl_error *err)
{
    struct reader r = {.what = what, .err = err};
    if (!yaml_parser_initialize(&r.parser))
        return ptl_error_set(err, -ENOMEM, "%s: out of memory", what);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    int rc = read_document(&r, ret);
    yaml_parser_delete(&r.parser);
    return rc;
}

int ptl_yaml_load(const char *path, json_t **ret, struct ptl_error *err)
{
    PTL_BUF text = PTL_BUF_INIT;
    int r = ptl_fs_read(path, FILE_MAX, &text, err);
    return r < 0 ? r : ptl_yaml_parse(ptl_buf_str(&text), text.len, path, ret, err);
}
