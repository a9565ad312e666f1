/* rows.c - reads one result by column names. Counted references over a PGresult; decoded bytea lives beside
 * it. A column that is not there, or that is read as what it is not, is a mistake between a .sql file and its
 * decoder: it aborts, because a silent 0 would be believed. */
#include "store-private.h"
#include <portolan/log.h>
#include <stdio.h>

struct ptl_rows {
    unsigned refs;
    PGresult *res;
    const char *statement; /* name; lives as long as the statement set */
    struct bytes {
        struct bytes *next;
        int row, col;
        size_t len;
        unsigned char data[];
    } * bytes;
};

struct ptl_rows *ptl_rows_take(PGresult *res, const char *statement)
{
    struct ptl_rows *r = ptl_xcalloc(1, sizeof(*r));
    r->refs = 1;
    r->res = res;
    r->statement = statement;
    return r;
}

struct ptl_rows *ptl_rows_ref(struct ptl_rows *r)
{
    r->refs++;
    return r;
}

struct ptl_rows *ptl_rows_unref(struct ptl_rows *r)
{
    if (!r || --r->refs > 0)
        return NULL;
    while (r->bytes) {
        struct bytes *next = r->bytes->next;
        free(r->bytes);
        r->bytes = next;
    }
    PQclear(r->res);
    free(r);
    return NULL;
}

_Noreturn static void mistake(const struct ptl_rows *r, int row, const char *col, const char *what)
{
    ptl_log_error(
        "db: statement %s, row %d, column '%s': %s; this program and its statement disagree, stopping here",
        r->statement, row, col, what);
    abort();
}

static int find(const struct ptl_rows *r, int row, const char *col)
{
    int n = PQnfields(r->res);
    if (row < 0 || row >= PQntuples(r->res))
        mistake(r, row, col, "no such row");
    for (int i = 0; i < n; i++)
        if (strcmp(PQfname(r->res, i), col) == 0)
            return i;
    mistake(r, row, col, "no such column");
}

int ptl_rows_count(const struct ptl_rows *r)
{
    return PQntuples(r->res);
}

int64_t ptl_rows_affected(const struct ptl_rows *r)
{
    return strtoll(PQcmdTuples(r->res), NULL, 10);
}

bool ptl_row_null(const struct ptl_rows *r, int row, const char *col)
{
    return PQgetisnull(r->res, row, find(r, row, col));
}

const char *ptl_row_str(const struct ptl_rows *r, int row, const char *col)
{
    int i = find(r, row, col);
    return PQgetisnull(r->res, row, i) ? NULL : PQgetvalue(r->res, row, i);
}

int64_t ptl_row_i64(const struct ptl_rows *r, int row, const char *col)
{
    const char *s = ptl_row_str(r, row, col);
    if (!s)
        return 0;
    char *end;
    errno = 0;
    int64_t v = strtoll(s, &end, 10);
    if (errno || end == s || *end)
        mistake(r, row, col, "not a whole number");
    return v;
}

double ptl_row_f64(const struct ptl_rows *r, int row, const char *col)
{
    const char *s = ptl_row_str(r, row, col);
    if (!s)
        return 0;
    char *end;
    double v = strtod(s, &end);
    if (end == s || *end)
        mistake(r, row, col, "not a number");
    return v;
}

bool ptl_row_bool(const struct ptl_rows *r, int row, const char *col)
{
    const char *s = ptl_row_str(r, row, col);
    if (!s)
        return false;
    if ((*s != 't' && *s != 'f') || s[1])
        mistake(r, row, col, "not a boolean");
    return *s == 't';
}

/* A digit's value and one; 0: no digit. A table: logs of hundreds of MiB come through here. */
static const unsigned char hex_digit[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

const void *ptl_row_bytes(struct ptl_rows *r, int row, const char *col, size_t *ret_len)
{
    int i = find(r, row, col);
    *ret_len = 0;
    if (PQgetisnull(r->res, row, i))
        return NULL;
    for (struct bytes *b = r->bytes; b; b = b->next)
        if (b->row == row && b->col == i) {
            *ret_len = b->len;
            return b->data;
        }
    const char *s = PQgetvalue(r->res, row, i);
    size_t len = (size_t)PQgetlength(r->res, row, i);
    if (len < 2 || s[0] != '\\' || s[1] != 'x' || len % 2)
        mistake(r, row, col, "not a bytea in hex form");
    struct bytes *b = malloc(sizeof(*b) + len / 2);
    if (!b)
        return NULL;
    b->len = len / 2 - 1;
    const unsigned char *digit = (const unsigned char *)s + 2;
    bool odd = false;
    for (size_t k = 0; k < b->len; k++) {
        unsigned high = hex_digit[digit[2 * k]], low = hex_digit[digit[2 * k + 1]];
        odd |= !high || !low;
        b->data[k] = (unsigned char)((high - 1) << 4 | ((low - 1) & 15));
    }
    if (odd)
        mistake(r, row, col, "not a bytea in hex form");
    b->data[b->len] = 0;
    b->row = row;
    b->col = i;
    b->next = r->bytes;
    r->bytes = b;
    *ret_len = b->len;
    return b->data;
}

json_t *ptl_row_json(const struct ptl_rows *r, int row, const char *col)
{
    const char *s = ptl_row_str(r, row, col);
    if (!s)
        return NULL;
    /* Not ptl_json_parse: a json column may hold a bare value. What jsonb can hold and jansson cannot (1e400)
     * is data, not a mistake of ours: told and read as null. */
    json_error_t e;
    json_t *j = json_loads(s, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!j)
        ptl_log_error("db: statement %s, row %d, column '%s': JSON that cannot be read (%s), taken as null",
                      r->statement, row, col, e.text);
    return j;
}

/* One element of an array literal; moves *p behind it. */
static json_t *array_element(const char **p, bool number)
{
    PTL_BUF text = PTL_BUF_INIT;
    bool quoted = **p == '"';
    if (quoted) {
        for (++*p; **p && **p != '"'; ++*p) {
            if (**p == '\\' && (*p)[1])
                ++*p;
            ptl_buf_putc(&text, **p);
        }
        if (**p == '"')
            ++*p;
    } else {
        size_t n = strcspn(*p, ",}");
        ptl_buf_add(&text, *p, n);
        *p += n;
    }
    const char *s = ptl_buf_str(&text);
    if (!quoted && strcmp(s, "NULL") == 0)
        return json_null();
    return number ? json_integer(strtoll(s, NULL, 10)) : json_string(s);
}

json_t *ptl_row_array(const struct ptl_rows *r, int row, const char *col)
{
    int i = find(r, row, col);
    if (PQgetisnull(r->res, row, i))
        return NULL;
    enum { INT2_ARRAY = 1005, INT4_ARRAY = 1007, INT8_ARRAY = 1016 }; /* fixed numbers of pg_type */
    Oid type = PQftype(r->res, i);
    bool number = type == INT2_ARRAY || type == INT4_ARRAY || type == INT8_ARRAY;
    const char *p = PQgetvalue(r->res, row, i);
    if (*p++ != '{' || *p == '{')
        mistake(r, row, col, "not an array of one dimension");
    json_t *a = json_array();
    while (*p && *p != '}') {
        json_array_append_new(a, array_element(&p, number));
        if (*p == ',')
            p++;
    }
    return a;
}

/* PostgreSQL's built-in type OIDs (pg_type.dat; stable). */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
    OID_JSONB = 3802
};

/* "2026-11-23 07:25:30.12+00" as RFC 3339. The session's time zone is UTC (connect.c). */
static json_t *json_time(const char *s)
{
    char t[64];
    snprintf(t, sizeof(t), "%s", s);
    char *space = strchr(t, ' '), *zone = strrchr(t, '+');
    if (space)
        *space = 'T';
    if (zone)
        strcpy(zone, "Z");
    return json_string(t);
}

json_t *ptl_row_object(const struct ptl_rows *r, int row)
{
    json_t *o = json_object();
    for (int i = 0; i < PQnfields(r->res); i++) {
        const char *name = PQfname(r->res, i), *s = PQgetvalue(r->res, row, i);
        json_t *v = NULL;
        if (PQgetisnull(r->res, row, i)) {
            json_object_set_new(o, name, json_null());
            continue;
        }
        switch (PQftype(r->res, i)) {
        case OID_BYTEA:
            continue; /* sealed secrets and log bytes have no place in an object that may be sent out */
        case OID_BOOL:
            v = json_boolean(*s == 't');
            break;
        case OID_INT2:
        case OID_INT4:
        case OID_INT8:
            v = json_integer(strtoll(s, NULL, 10));
            break;
        case OID_FLOAT4:
        case OID_FLOAT8:
        case OID_NUMERIC:
            v = json_real(strtod(s, NULL));
            if (!v)
                v = json_null(); /* NaN, infinity */
            break;
        case OID_JSON:
        case OID_JSONB:
            v = json_loads(s, JSON_DECODE_ANY, NULL);
            break;
        case OID_TEXT_ARRAY:
        case OID_INT8_ARRAY:
            v = ptl_row_array(r, row, name);
            break;
        case OID_TIMESTAMPTZ:
            v = json_time(s);
            break;
        default:
            v = json_string(s);
        }
        json_object_set_new(o, name, v ? v : json_null());
    }
    return o;
}

json_t *ptl_rows_array(const struct ptl_rows *r)
{
    json_t *a = json_array();
    for (int i = 0; i < ptl_rows_count(r); i++)
        json_array_append_new(a, ptl_row_object(r, i));
    return a;
}
