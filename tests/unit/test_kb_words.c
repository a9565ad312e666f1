/* test_kb_words.c - the words of a whole log, bounded, those nearest its end first; and the lines that texts
 * stand in. */
#include "words.h"
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static struct ptl_kb_text text_of(const char *log)
{
    struct ptl_kb_text t;
    assert_int_equal(ptl_kb_text_init(&t), 0);
    assert_int_equal(ptl_kb_text_add(&t, 0, log, strlen(log)), 0);
    return t;
}

static void words_are_distinct_and_small(void **state PTL_UNUSED)
{
    static const struct {
        const char *log, *words;
    } t[] = {
        {"",                                       ""                         },
        {"--- ::\n",                               ""                         },
        {"Error: tf.nn.conv2d\nerror again\n",     "error again tf nn conv2d "},
        {"\x1b[31mError\x1b[0m of node 17\n",      "error of node 17 "        },
        {"10%\r20%\rdone\n",                       "done "                    },
        {"at 0123456789abcdef0123 and deadbeef\n", "at and deadbeef "         },
        {"Größe \xff x\n",                       "größe \xef\xbf\xbd x "  },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_kb_text text = text_of(t[i].log);
        size_t n;
        bool cut;
        PTL_FREE char *words = ptl_kb_log_words(&text, &n, &cut);
        if (strcmp(words, t[i].words) != 0 || cut)
            fail_msg("row %zu: '%s', cut %d", i, words, cut);
        ptl_kb_text_done(&text);
    }
}

/* 5000 words and 2000 numbers: the last ones stay, and it is said. */
static void too_many_are_cut_from_the_beginning(void **state PTL_UNUSED)
{
    PTL_BUF b = PTL_BUF_INIT;
    for (int i = 0; i < 5000; i++)
        ptl_buf_printf(&b, "word%d %d\n", i, i % 2000);
    struct ptl_kb_text text = text_of(ptl_buf_str(&b));
    size_t n;
    bool cut;
    PTL_FREE char *words = ptl_kb_log_words(&text, &n, &cut);
    assert_true(cut);
    assert_int_equal(n, PTL_KB_WORDS_MAX + PTL_KB_WORDS_NUMBERS_MAX);
    assert_non_null(strstr(words, "word4999 "));
    assert_non_null(strstr(words, "word2000 "));
    assert_null(strstr(words, "word1999 "));
    ptl_kb_text_done(&text);
}

static void lines_of_texts(void **state PTL_UNUSED)
{
    static const char log[] =
        "one\n\nLoading Model\nstep 1\nloading model again\nstep 2\nno op\nloading model\n";
    static const struct {
        const char *texts[4];
        size_t max;
        bool all;
        const char *lines;
    } t[] = {
        {{"loading model"},          5, true,  "3 5 8 "},
        {{"loading model"},          2, true,  "3 5 "  },
        {{"loading model", "no op"}, 2, true,  "3 7 "  },
        {{"loading model", "no op"}, 3, true,  "3 5 7 "},
        {{"step 2", "step 1"},       3, true,  "4 6 "  },
        {{"step", "absent"},         3, false, "4 6 "  },
        {{"absent"},                 3, false, ""      },
        {{"one\n"},                  3, false, ""      },
    };
    struct ptl_kb_text text = text_of(log);
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_BUF got = PTL_BUF_INIT;
        size_t n = 0, k;
        bool all;
        while (t[i].texts[n])
            n++;
        PTL_JSON *hits = ptl_kb_log_find(&text, t[i].texts, n, t[i].max, &all);
        json_t *h;
        json_array_foreach(hits, k, h) ptl_buf_printf(&got, "%lld ", (long long)ptl_json_i64(h, "line", 0));
        if (strcmp(ptl_buf_str(&got), t[i].lines) != 0 || all != t[i].all)
            fail_msg("row %zu: lines %s, all %d", i, ptl_buf_str(&got), all);
    }
    ptl_kb_text_done(&text);
}

static void a_long_line_is_shown_around_the_text(void **state PTL_UNUSED)
{
    PTL_BUF b = PTL_BUF_INIT;
    const char *texts[] = {"needle"};
    bool all;
    for (int i = 0; i < 500; i++)
        ptl_buf_puts(&b, "ä");
    ptl_buf_puts(&b, "needle");
    for (int i = 0; i < 500; i++)
        ptl_buf_puts(&b, "ö");
    struct ptl_kb_text text = text_of(ptl_buf_str(&b));
    PTL_JSON *hits = ptl_kb_log_find(&text, texts, 1, 3, &all);
    const char *line = ptl_json_str(json_array_get(hits, 0), "text", NULL);
    assert_non_null(line); /* jansson takes nothing but UTF-8 */
    assert_non_null(strstr(line, "needle"));
    assert_true(strlen(line) <= PTL_KB_FIND_TEXT_MAX);
    ptl_kb_text_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_distinct_and_small),
        cmocka_unit_test(too_many_are_cut_from_the_beginning),
        cmocka_unit_test(lines_of_texts),
        cmocka_unit_test(a_long_line_is_shown_around_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
