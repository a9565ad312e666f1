/* bands.c - two minima a band, sixteen bands. A word is three or more letters or underscores: what the masks
 * left of numbers and names says nothing. */
#include "bands.h"
#include "template.h"
#include <ctype.h>

enum { ROWS = 2, LINES_MAX = 16, WORD_MAX = 64 };

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void add_word(const char *word, size_t len, uint64_t low[PTL_KB_BANDS * ROWS])
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len && i < WORD_MAX; i++)
        h = (h ^ (uint64_t)tolower((unsigned char)word[i])) * 0x100000001b3u;
    for (uint64_t k = 0; k < PTL_KB_BANDS * ROWS; k++) {
        uint64_t v = mix(h + (k + 1) * 0x9e3779b97f4a7c15u);
        low[k] = v < low[k] ? v : low[k];
    }
}

int ptl_kb_bands(const char *const *lines, size_t n, int64_t ret[PTL_KB_BANDS])
{
    uint64_t low[PTL_KB_BANDS * ROWS];
    bool any = false;
    memset(low, 0xff, sizeof(low));
    for (size_t i = 0; i < n; i++)
        for (const char *p = lines[i]; p && *p;) {
            size_t len = 0;
            if (*p == '<') { /* a mask */
                const char *end = strchr(p, '>');
                if (end && end - p < 8) {
                    p = end + 1;
                    continue;
                }
            }
            while (isalpha((unsigned char)p[len]) || p[len] == '_')
                len++;
            if (len >= 3) {
                add_word(p, len, low);
                any = true;
            }
            p += len ? len : 1;
        }
    for (int b = 0; any && b < PTL_KB_BANDS; b++) {
        uint64_t h = (uint64_t)b;
        for (int r = 0; r < ROWS; r++)
            h = mix(h ^ low[b * ROWS + r]);
        memcpy(&ret[b], &h, sizeof(h));
    }
    return any ? PTL_KB_BANDS : 0;
}

json_t *ptl_kb_bands_of(const json_t *diagnosis)
{
    char *lines[LINES_MAX];
    int64_t bands[PTL_KB_BANDS];
    size_t n = 0, i;
    json_t *e, *list = json_array();
    json_array_foreach(json_object_get(diagnosis, "evidence"), i, e)
    {
        const char *text = ptl_json_str(e, "text", NULL);
        if (text && n < LINES_MAX && (lines[n] = ptl_kb_template(text, strlen(text))))
            n++;
    }
    int got = ptl_kb_bands((const char *const *)lines, n, bands);
    for (int b = 0; b < got; b++)
        json_array_append_new(list, json_integer(bands[b]));
    for (i = 0; i < n; i++)
        free(lines[i]);
    return list;
}
