/* test_npy.c - the .npy reader: every dtype by known bytes, both orders, and headers that must be refused.
 * The bytes are built here by hand, so the reader is not tested against itself. */
#include "npy.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include <math.h>

struct blob {
    unsigned char bytes[4096];
    size_t len;
};

static void build(struct blob *b, unsigned version, const char *dict, const void *data, size_t n)
{
    size_t head = version == 1 ? 10 : 12, text = strlen(dict) + 1;
    assert_true(head + text + n <= sizeof(b->bytes));
    memcpy(b->bytes, "\x93NUMPY", 6);
    b->bytes[6] = (unsigned char)version;
    b->bytes[7] = 0;
    b->bytes[8] = (unsigned char)text;
    b->bytes[9] = (unsigned char)(text >> 8);
    b->bytes[10] = b->bytes[11] = 0;
    memcpy(b->bytes + head, dict, text - 1);
    b->bytes[head + text - 1] = '\n';
    if (n)
        memcpy(b->bytes + head + text, data, n);
    b->len = head + text + n;
}

static void every_dtype_decodes(void **state)
{
    (void)state;
    static const struct {
        const char *descr, *name;
        unsigned char bytes[16];
        size_t size;
        double want[2];
    } cases[] = {
  /* clang-format off */
        {"<f2", "float16", {0x00, 0xc0, 0xff, 0x7b}, 2, {-2, 65504}               },
        {"<f4", "float32", {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1}, 4, {1, -10}                  },
        {"<f8", "float64", {0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0}, 8, {1, -2}                   },
        {"|i1", "int8", {0x80, 0x7f}, 1, {-128, 127}               },
        {"<i2", "int16", {0xff, 0xff, 0x00, 0x01}, 2, {-1, 256}                 },
        {"<i4", "int32", {0xfe, 0xff, 0xff, 0xff, 0, 0, 1, 0}, 4, {-2, 65536}               },
        {"<i8",
         "int64", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1},
         8, {-1, 4294967296.0}        },
        {"|u1", "uint8", {0xff, 1}, 1, {255, 1}                  },
        {"<u2", "uint16", {0xff, 0xff, 1, 0}, 2, {65535, 1}                },
        {"<u4", "uint32", {0xff, 0xff, 0xff, 0xff, 1}, 4, {4294967295.0, 1}         },
        {"<u8", "uint64", {0, 0, 0, 0, 0, 0, 0, 0x80, 1}, 8, {9223372036854775808.0, 1}},
        {"|b1", "bool", {0, 7}, 1, {0, 1}                    },
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct blob b;
        struct ptl_npy a;
        struct ptl_error err = PTL_ERROR_INIT;
        char dict[128];
        double got[2];
        snprintf(dict, sizeof(dict), "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }",
                 cases[i].descr);
        build(&b, 1 + (i % 3), dict, cases[i].bytes, 2 * cases[i].size);
        if (ptl_npy_parse(b.bytes, b.len, &a, &err) < 0)
            fail_msg("%s: %s", cases[i].descr, err.text);
        assert_string_equal(ptl_dtype_name(a.dtype), cases[i].name);
        ptl_npy_read(&a, 0, 2, got);
        if (got[0] != cases[i].want[0] || got[1] != cases[i].want[1])
            fail_msg("%s: %g %g", cases[i].descr, got[0], got[1]);
    }
}

static void half_floats_to_the_edges(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        double want;
    } cases[] = {
  /* clang-format off */
        {0x0001, 0x1p-24},
        {0x03ff, 1023 * 0x1p-24},
        {0x0400, 0x1p-14},
        {0x3555, 0.333251953125},
        {0x8000, 0},
        {0x7c00, INFINITY      },
        {0xfc00, -INFINITY     },
        {0x7e00, NAN           }
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct blob b;
        struct ptl_npy a;
        build(&b, 1, "{'descr': '<f2', 'fortran_order': False, 'shape': ()}", &cases[i].bits, 2);
        assert_int_equal(ptl_npy_parse(b.bytes, b.len, &a, NULL), 0);
        double v = ptl_npy_at(&a, 0);
        if (isnan(cases[i].want) ? !isnan(v) : v != cases[i].want)
            fail_msg("%04x: got %g, want %g", cases[i].bits, v, cases[i].want);
    }
}

static void bfloat16_is_the_upper_half_of_a_float(void **state)
{
    (void)state;
    struct blob b;
    struct ptl_npy a;
    uint16_t bits[2] = {0x3f80, 0xc0a0};
    build(&b, 1, "{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}", bits, 4);
    assert_int_equal(ptl_npy_parse(b.bytes, b.len, &a, NULL), 0);
    assert_true(ptl_npy_as_bfloat16(&a));
    assert_true(ptl_npy_at(&a, 0) == 1 && ptl_npy_at(&a, 1) == -5);
    assert_false(ptl_npy_as_bfloat16(&a)); /* only once, only from uint16 */
}

static void orders_and_views(void **state)
{
    (void)state;
    struct blob c, f;
    struct ptl_npy a, b;
    unsigned char rows[24], columns[24];
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < 3; j++)
            for (unsigned k = 0; k < 4; k++) {
                rows[i * 12 + j * 4 + k] = (unsigned char)(100 * i + 10 * j + k);
                columns[k * 6 + j * 2 + i] = (unsigned char)(100 * i + 10 * j + k);
            }
    build(&c, 1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4)}", rows, 24);
    build(&f, 2, "{\"shape\": (2L, 3L, 4L), \"fortran_order\": True, \"descr\": \"|u1\"}", columns, 24);
    assert_int_equal(ptl_npy_parse(c.bytes, c.len, &a, NULL), 0);
    assert_int_equal(ptl_npy_parse(f.bytes, f.len, &b, NULL), 0);
    assert_true(a.contiguous && !b.contiguous);
    double x[24], y[24];
    ptl_npy_read(&a, 0, 24, x);
    ptl_npy_read(&b, 0, 24, y);
    for (size_t i = 0; i < 24; i++)
        assert_true(x[i] == y[i] && x[i] == rows[i]);
    ptl_npy_read(&b, 7, 5, y); /* from the middle */
    for (size_t i = 0; i < 5; i++)
        assert_true(y[i] == rows[7 + i]);

    struct ptl_npy t = ptl_npy_permuted(&a, (const unsigned[]){2, 0, 1}); /* t[k][i][j] = a[i][j][k] */
    assert_true(t.shape[0] == 4 && t.shape[1] == 2 && t.shape[2] == 3);
    assert_true(ptl_npy_at(&t, 1 * 6 + 1 * 3 + 2) == 121);
    struct ptl_npy s = ptl_npy_slice(&a, 1, 2); /* a[:, 2, :] */
    assert_true(s.elements == 8 && ptl_npy_at(&s, 5) == 121);
    char text[32];
    ptl_npy_shape_text(&a, text, sizeof(text));
    assert_string_equal(text, "[2, 3, 4]");
}

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *label, *dict, *says;
        size_t data;
    } cases[] = {
  /* clang-format off */
        {"code", "__import__('os').system('id')", "not a dictionary", 4},
        {"object", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "dtype '|O'", 4},
        {"complex", "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "dtype '<c8'", 8},
        {"big endian", "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "big endian", 4},
        {"structured", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "not a plain one",
         4},
        {"long dtype",
         "{'descr': '<f4444444444444444444444444444444444444', 'fortran_order': False, 'shape': (1,)}", "not a plain one", 4},
        {"negative", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "whole numbers", 4},
        {"float dim", "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}", "whole numbers", 4},
        {"list", "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}", "not a tuple", 4},
        {"huge dim", "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
         "below 2^32", 4},
        {"overflow", "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967295, 4294967295, 2)}",
         "2^32 elements", 4},
        {"too many", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
         "more than 16 dimensions", 4},
        {"short", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
         "ask for 8 bytes, the file holds 4", 4},
        {"long", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
         "ask for 4 bytes, the file holds 5", 5},
        {"order", "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", "neither True nor False", 4},
        {"twice", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "given twice",
         4},
        {"unknown key", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "unknown", 4},
        {"missing key", "{'descr': '<f4', 'shape': (1,)}", "lacks", 4},
        {"no end", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "does not end", 4},
        {"text behind", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1", "text behind", 4},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct blob b;
        struct ptl_npy a = {0};
        struct ptl_error err = PTL_ERROR_INIT;
        build(&b, 1, cases[i].dict, "\0\0\0\0\0\0\0\0", cases[i].data);
        int r = ptl_npy_parse(b.bytes, b.len, &a, &err);
        if (r != -EBADMSG || a.data || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d '%s', expected a refusal with '%s'", cases[i].label, r, err.text, cases[i].says);
    }
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    struct blob b;
    struct ptl_npy a = {0};
    float v[3] = {1, 2, 3};
    for (unsigned version = 1; version <= 3; version++) {
        build(&b, version, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", v, sizeof(v));
        for (size_t n = 0; n < b.len; n++) {
            unsigned char *exact = malloc(n ? n : 1); /* its own block: the sanitizer sees a read behind it */
            assert_non_null(exact);
            memcpy(exact, b.bytes, n);
            assert_int_equal(ptl_npy_parse(exact, n, &a, NULL), -EBADMSG);
            free(exact);
        }
        assert_int_equal(ptl_npy_parse(b.bytes, b.len, &a, NULL), 0);
    }
    b.bytes[6] = 4;
    assert_int_equal(ptl_npy_parse(b.bytes, b.len, &a, NULL), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_decodes),
        cmocka_unit_test(half_floats_to_the_edges),
        cmocka_unit_test(bfloat16_is_the_upper_half_of_a_float),
        cmocka_unit_test(orders_and_views),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(cut_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
