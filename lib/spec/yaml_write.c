/* yaml_write.c - JSON as YAML that people like to edit: what fits stands on one line, the rest in blocks;
 * text is quoted only where it must be. Pure. What it writes, ptl_yaml_parse() reads back to the same. */
#include <ctype.h>
#include <portolan/spec.h>
#include <stdio.h>

enum { WIDTH = 130, DEPTH_MAX = PTL_SPEC_MAX_DEPTH };

static bool is_plain(const char *s)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on",
                                        "off",  "y",     "n",    "nan", "inf"};
    size_t n = strlen(s);
    if (!isalpha((unsigned char)s[0]) || s[n - 1] == ' ' || n > 200)
        return false;
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(" _/.+-@", *p))
            return false;
    for (size_t i = 0; i < PTL_ARRAY_LEN(words); i++)
        if (strcasecmp(words[i], s) == 0)
            return false;
    return true;
}

/* One character of UTF-8 (jansson lets nothing else in). */
static unsigned code_at(const unsigned char *p, int *ret_len)
{
    int n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    unsigned c = n == 1 ? *p : *p & (0x3f >> (n - 1));
    for (int i = 1; i < n && p[i]; i++)
        c = c << 6 | (p[i] & 0x3f);
    *ret_len = n;
    return c;
}

/* Characters that YAML does not allow as they are, or that end a line for some readers. */
static bool must_be_escaped(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
           c == 0xffff;
}

static void put_string(struct ptl_buf *b, const char *s)
{
    bool escapes = false;
    int n;
    if (*s && is_plain(s)) {
        ptl_buf_puts(b, s);
        return;
    }
    for (const unsigned char *p = (const unsigned char *)s; *p; p += n)
        escapes |= must_be_escaped(code_at(p, &n));
    ptl_buf_putc(b, escapes ? '"' : '\'');
    for (const unsigned char *p = (const unsigned char *)s; *p; p += n) {
        unsigned c = code_at(p, &n);
        if (!escapes && c == '\'')
            ptl_buf_puts(b, "''");
        else if (escapes && (c == '"' || c == '\\'))
            ptl_buf_printf(b, "\\%c", (int)c);
        else if (c == '\n')
            ptl_buf_puts(b, "\\n");
        else if (must_be_escaped(c))
            ptl_buf_printf(b, "\\u%04x", c);
        else
            ptl_buf_add(b, p, (size_t)n);
    }
    ptl_buf_putc(b, escapes ? '"' : '\'');
}

static void put_real(struct ptl_buf *b, double v)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    ptl_buf_printf(b, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void put_scalar(struct ptl_buf *b, const json_t *j)
{
    if (json_is_string(j))
        put_string(b, json_string_value(j));
    else if (json_is_integer(j))
        ptl_buf_printf(b, "%lld", (long long)json_integer_value(j));
    else if (json_is_real(j))
        put_real(b, json_real_value(j));
    else
        ptl_buf_puts(b, json_is_true(j) ? "true" : json_is_false(j) ? "false" : "null");
}

static void put_flow(struct ptl_buf *b, const json_t *j, int depth)
{
    const char *key, *comma = "";
    json_t *v;
    size_t i;
    if (depth > DEPTH_MAX) {
        b->failed = b->failed ? b->failed : -E2BIG;
    } else if (json_is_object(j)) {
        ptl_buf_putc(b, '{');
        json_object_foreach((json_t *)j, key, v)
        {
            ptl_buf_puts(b, comma);
            put_string(b, key);
            ptl_buf_puts(b, ": ");
            put_flow(b, v, depth + 1);
            comma = ", ";
        }
        ptl_buf_putc(b, '}');
    } else if (json_is_array(j)) {
        ptl_buf_putc(b, '[');
        json_array_foreach(j, i, v)
        {
            ptl_buf_puts(b, comma);
            put_flow(b, v, depth + 1);
            comma = ", ";
        }
        ptl_buf_putc(b, ']');
    } else {
        put_scalar(b, j);
    }
}

static bool fits(const json_t *j, size_t room, int depth)
{
    PTL_BUF b = PTL_BUF_MAX(WIDTH);
    if (!json_is_object(j) && !json_is_array(j))
        return true;
    if (json_object_size(j) == 0 && json_array_size(j) == 0)
        return true;
    put_flow(&b, j, depth);
    return !b.failed && b.len <= room;
}

static void put_block(struct ptl_buf *b, const json_t *j, int indent, int depth, bool in_place);

/* What stands behind "key:" or "-". */
static void put_value(struct ptl_buf *b, const json_t *v, int indent, int depth, size_t used, bool after_dash)
{
    if (fits(v, WIDTH > used ? WIDTH - used : 0, depth)) {
        ptl_buf_putc(b, ' ');
        put_flow(b, v, depth);
        ptl_buf_putc(b, '\n');
    } else if (after_dash && json_is_object(v)) {
        ptl_buf_putc(b, ' ');
        put_block(b, v, indent + 2, depth + 1, true);
    } else {
        ptl_buf_putc(b, '\n');
        put_block(b, v, indent + 2, depth + 1, false);
    }
}

/* `in_place`: the first line's indentation is there already (behind a dash). */
static void put_block(struct ptl_buf *b, const json_t *j, int indent, int depth, bool in_place)
{
    const char *key;
    json_t *v;
    size_t i;
    if (depth > DEPTH_MAX) {
        b->failed = b->failed ? b->failed : -E2BIG;
        return;
    }
    json_object_foreach((json_t *)j, key, v)
    {
        if (!in_place)
            ptl_buf_printf(b, "%*s", indent, "");
        in_place = false;
        put_string(b, key);
        ptl_buf_putc(b, ':');
        put_value(b, v, indent, depth, (size_t)indent + strlen(key) + 2, false);
    }
    json_array_foreach(j, i, v)
    {
        ptl_buf_printf(b, "%*s-", indent, "");
        put_value(b, v, indent, depth, (size_t)indent + 2, true);
    }
}

int ptl_yaml_write(const json_t *j, int indent, bool item, struct ptl_buf *ret)
{
    if (item)
        ptl_buf_printf(ret, "%*s- ", indent, "");
    if ((json_is_object(j) && json_object_size(j)) || (json_is_array(j) && json_array_size(j))) {
        put_block(ret, j, item ? indent + 2 : indent, 0, item);
    } else {
        put_flow(ret, j, 0);
        ptl_buf_putc(ret, '\n');
    }
    return ret->failed;
}
