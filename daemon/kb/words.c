/* words.c - a set of words by open addressing, filled from the last line to the first, so that of a log with
 * too many the words nearest its end are kept: that is where it failed. */
#include "words.h"
#include <ctype.h>

enum { SLOTS = 8192, TEXTS_MAX = 16 };
static_assert(SLOTS > 2 * (PTL_KB_WORDS_MAX + PTL_KB_WORDS_NUMBERS_MAX), "half of the slots stay empty");

struct set {
    struct ptl_buf text; /* "word word … " */
    struct {
        uint32_t at;
        uint8_t len; /* 0: empty */
    } slots[SLOTS];
    size_t words, numbers;
    bool cut;
};

static bool is_word(unsigned char c)
{
    return c >= 0x80 || isalnum(c);
}

static uint32_t hash_of(const char *word, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)word[i]) * 16777619u;
    return h ^ h >> 15;
}

/* A commit, a digest, an address: nobody looks for it by heart, and every log has others. */
static bool is_digest(const char *word, size_t len)
{
    size_t hex = 0, digits = 0;
    for (size_t i = 0; i < len; i++) {
        hex += isxdigit((unsigned char)word[i]) != 0;
        digits += isdigit((unsigned char)word[i]) != 0;
    }
    return hex == len && len >= 16 && digits > 0;
}

static void add(struct set *s, const char *raw, size_t len)
{
    char word[PTL_KB_WORD_BYTES_MAX];
    if (len > sizeof(word) || is_digest(raw, len))
        return;
    for (size_t i = 0; i < len; i++)
        word[i] = (char)((unsigned char)raw[i] < 0x80 ? tolower((unsigned char)raw[i]) : raw[i]);
    uint32_t i = hash_of(word, len) % SLOTS;
    while (s->slots[i].len) {
        if (s->slots[i].len == len && memcmp(s->text.data + s->slots[i].at, word, len) == 0)
            return;
        i = (i + 1) % SLOTS;
    }
    bool number = isdigit((unsigned char)word[0]);
    size_t *n = number ? &s->numbers : &s->words;
    if (*n == (number ? PTL_KB_WORDS_NUMBERS_MAX : PTL_KB_WORDS_MAX)) {
        s->cut = true;
        return;
    }
    s->slots[i].at = (uint32_t)s->text.len;
    s->slots[i].len = (uint8_t)len;
    (*n)++;
    ptl_buf_add(&s->text, word, len);
    ptl_buf_putc(&s->text, ' ');
}

static bool is_full(const struct set *s)
{
    return s->cut && s->words == PTL_KB_WORDS_MAX && s->numbers == PTL_KB_WORDS_NUMBERS_MAX;
}

char *ptl_kb_log_words(const struct ptl_kb_text *t, size_t *ret_n, bool *ret_cut)
{
    struct set *s = calloc(1, sizeof(*s));
    char *text = NULL;
    if (!s)
        return NULL;
    s->text.max = (size_t)1 << 20;
    for (size_t k = t->n; k > 0 && !is_full(s); k--) {
        const struct ptl_kb_line *l = &t->lines[k - 1];
        const char *p = ptl_kb_line_text(t, l), *end = p + l->len;
        while (p < end) {
            const char *begin = p;
            while (p < end && is_word((unsigned char)*p))
                p++;
            if (p > begin)
                add(s, begin, (size_t)(p - begin));
            else
                p++;
        }
    }
    if (!s->text.failed && (text = strdup(ptl_buf_str(&s->text)))) {
        *ret_n = s->words + s->numbers;
        *ret_cut = s->cut || json_array_size(t->cuts) > 0 || t->cut_lines > 0;
    }
    ptl_buf_done(&s->text);
    free(s);
    return text;
}

/* ---- where texts stand */
/* Of a long line, the part around what was found; never half of a letter. */
static json_t *shown(const char *line, size_t len, size_t at)
{
    size_t from = 0, n = len;
    if (n > PTL_KB_FIND_TEXT_MAX) {
        from = at > PTL_KB_FIND_TEXT_MAX / 3 ? at - PTL_KB_FIND_TEXT_MAX / 3 : 0;
        n = len - from < PTL_KB_FIND_TEXT_MAX ? len - from : PTL_KB_FIND_TEXT_MAX;
    }
    while (n > 0 && from > 0 && ((unsigned char)line[from] & 0xc0) == 0x80)
        from++, n--;
    while (n > 0 && from + n < len && ((unsigned char)line[from + n] & 0xc0) == 0x80)
        n--;
    return json_stringn(line + from, n);
}

static const char *find(const char *line, size_t len, const char *text, size_t n)
{
    int first[2] = {tolower((unsigned char)text[0]), toupper((unsigned char)text[0])};
    for (const char *p = line; (size_t)(line + len - p) >= n; p++)
        if (((unsigned char)*p == first[0] || (unsigned char)*p == first[1]) && strncasecmp(p, text, n) == 0)
            return p;
    return NULL;
}

json_t *ptl_kb_log_find(const struct ptl_kb_text *t, const char *const *texts, size_t n, size_t max,
                        bool *ret_all)
{
    size_t lines[TEXTS_MAX] = {0}, places[TEXTS_MAX] = {0}, missing = n > TEXTS_MAX ? TEXTS_MAX : n,
           sizes[TEXTS_MAX];
    struct hit {
        size_t line, at;
    } *more = calloc(max ? max : 1, sizeof(*more));
    size_t n_more = 0, used = 0;
    json_t *hits = json_array();
    n = missing;
    for (size_t k = 0; k < n; k++)
        sizes[k] = strlen(texts[k]);
    for (size_t i = 0; more && i < t->n && (missing > 0 || n_more < max); i++) {
        const char *line = ptl_kb_line_text(t, &t->lines[i]), *p = NULL;
        bool first = false;
        for (size_t k = 0; k < n; k++) {
            const char *here =
                lines[k] && (n_more == max || p) ? NULL : find(line, t->lines[i].len, texts[k], sizes[k]);
            p = p ? p : here;
            if (here && !lines[k]) {
                lines[k] = i + 1;
                places[k] = (size_t)(here - line);
                missing--;
                first = true;
            }
        }
        if (p && !first && n_more < max)
            more[n_more++] = (struct hit){i + 1, (size_t)(p - line)};
    }
    /* one list in the order of the log: the first line of each text, and of the others as many as fit */
    size_t firsts = 0;
    for (size_t k = 0; k < n; k++) {
        bool known = lines[k] == 0;
        for (size_t j = 0; j < k; j++)
            known |= lines[j] == lines[k];
        firsts += !known;
    }
    size_t rest = max > firsts ? max - firsts : 0;
    for (size_t last = 0, at = 0; hits && more && json_array_size(hits) < max; last = at) {
        size_t place = 0;
        at = SIZE_MAX;
        for (size_t k = 0; k < n; k++)
            if (lines[k] > last && lines[k] < at) {
                at = lines[k];
                place = places[k];
            }
        if (used < n_more && used < rest && more[used].line < at) {
            at = more[used].line;
            place = more[used++].at;
        }
        if (at == SIZE_MAX)
            break;
        const struct ptl_kb_line *l = &t->lines[at - 1];
        json_array_append_new(hits, json_pack("{s:I,s:o}", "line", (json_int_t)l->number, "text",
                                              shown(ptl_kb_line_text(t, l), l->len, place)));
    }
    *ret_all = missing == 0;
    if (!more) {
        json_decref(hits);
        hits = NULL;
    }
    free(more);
    return hits;
}
