/* words.h - the distinct words of a whole log, to be looked up by, and where in a log texts stand. Both read
 * the clean lines of text.h. Pure; any thread. */
#ifndef PTL_KB_WORDS_H
#define PTL_KB_WORDS_H
#include "text.h"

enum {
    PTL_KB_WORDS_MAX = 3000, /* words with a letter at their beginning; those nearest the end are kept */
    PTL_KB_WORDS_NUMBERS_MAX = 500, /* what begins with a digit: counts, sizes, ports */
    PTL_KB_WORD_BYTES_MAX = 64,     /* longer ones are digests, keys and pictures, not words */
    PTL_KB_FIND_TEXT_MAX = 300      /* bytes of a line shown */
};

/* A word is letters and digits in a row, small ones for ASCII: what failure_words() (migrations/0005) makes
 * of a text. Heap text, words separated by spaces, the caller's; NULL when out of memory. *ret_n: how many;
 * *ret_cut: there were more. */
char *ptl_kb_log_words(const struct ptl_kb_text *t, size_t *ret_n, bool *ret_cut);

/* The first `max` lines that hold one of `n` texts, ASCII case aside, as [{"line", "text"}]; each text gives
 * its first line before any gives a second. *ret_all: every text stands somewhere. NULL when out of memory.
 */
json_t *ptl_kb_log_find(const struct ptl_kb_text *t, const char *const *texts, size_t n, size_t max,
                        bool *ret_all);
#endif
