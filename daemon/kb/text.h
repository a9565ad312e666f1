/* text.h - logs as clean, bounded, numbered lines in one buffer, ready for one scan. Pure; any thread. */
#ifndef PTL_KB_TEXT_H
#define PTL_KB_TEXT_H
#include <portolan/buf.h>
#include <portolan/json.h>

enum {
    PTL_KB_LINE_MAX = 8192,     /* bytes of a line looked at: its first three quarters and its last quarter */
    PTL_KB_LINES_MAX = 2000000, /* lines of one log: the first and the last half */
    PTL_KB_LOG_MAX = 64 << 20,  /* bytes of one log: the first and the last half */
};

struct ptl_kb_line {
    uint32_t start, len; /* in the clean buffer, without the newline */
    uint32_t number;     /* from 1 in its log; 0: a fact, not a line */
    uint32_t length;     /* bytes in its log, without the newline */
    uint64_t offset;     /* bytes in its log */
    uint16_t flags;      /* the reader's */
    uint8_t source;      /* which log */
};
struct ptl_kb_text {
    struct ptl_buf buf;
    struct ptl_kb_line *lines; /* empty lines are left out */
    size_t n, cap;
    size_t cut_lines; /* longer than PTL_KB_LINE_MAX */
    json_t *cuts;     /* sentences: what was not looked at */
};
PTL_NODISCARD int ptl_kb_text_init(struct ptl_kb_text *t);
void ptl_kb_text_done(struct ptl_kb_text *t);
/* ANSI sequences and what a carriage return overwrote are taken out, control bytes become spaces, what is not
 * UTF-8 becomes U+FFFD. 0 or -ENOMEM. */
PTL_NODISCARD int ptl_kb_text_add(struct ptl_kb_text *t, uint8_t source, const char *log, size_t len);
/* A fact as a line: byte 1, then the text; no log can hold such a line. */
PTL_NODISCARD int ptl_kb_text_fact(struct ptl_kb_text *t, const char *fmt, ...) PTL_PRINTF(2, 3);
/* The line that holds byte `at` of the buffer (its newline counts to it). `hint`: where to begin; results
 * near it are found at once. */
size_t ptl_kb_text_find(const struct ptl_kb_text *t, uint64_t at, size_t hint);
static inline const char *ptl_kb_line_text(const struct ptl_kb_text *t, const struct ptl_kb_line *l)
{
    return t->buf.data + l->start;
}
#endif
