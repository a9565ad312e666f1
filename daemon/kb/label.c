/* label.c - matches words to titles of the taxonomy by the words in common. For labels that people gave to
 * questions before our ids were there; what is not clearly one node stays without one and is told. */
#include "label.h"
#include <ctype.h>
#include <stdio.h>

enum { WORDS_MAX = 16, WORD_MAX = 24 };
static const double NEAR = 0.5; /* of the words of both together, in common */

struct words {
    char w[WORDS_MAX][WORD_MAX];
    size_t n;
};

static bool is_small(const char *w)
{
    static const char *const small[] = {"a",   "an", "the", "of",   "to",   "in",  "into",
                                        "and", "or", "for", "from", "with", "code"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(small); i++)
        if (strcmp(w, small[i]) == 0)
            return true;
    return false;
}

/* "libraries", "library" and "loading", "load" are one word. Crude on purpose: both sides are treated alike.
 */
static void stem(char *w)
{
    size_t n = strlen(w);
    if (n > 5 && strcmp(w + n - 3, "ing") == 0)
        w[n -= 3] = 0;
    if (n > 4 && strcmp(w + n - 3, "ies") == 0) {
        w[n -= 3] = 0;
    } else {
        if (n > 3 && w[n - 1] == 's' && w[n - 2] != 's')
            w[--n] = 0;
        if (n > 3 && (w[n - 1] == 'e' || w[n - 1] == 'y'))
            w[--n] = 0;
    }
}

static void split(const char *text, size_t len, struct words *ret)
{
    ret->n = 0;
    for (size_t i = 0; i < len && ret->n < WORDS_MAX;) {
        char *w = ret->w[ret->n];
        size_t n = 0;
        while (i < len && !isalnum((unsigned char)text[i]))
            i++;
        for (; i < len && isalnum((unsigned char)text[i]); i++)
            if (n < WORD_MAX - 1)
                w[n++] = (char)tolower((unsigned char)text[i]);
        w[n] = 0;
        if (n == 0 || is_small(w))
            continue;
        stem(w);
        ret->n++;
    }
}

static bool same(const char *a, const char *b)
{
    const char *const one[] = {b, NULL};
    return strcmp(a, b) == 0 || (strlen(a) > 5 && strlen(b) > 5 && ptl_str_nearest(a, one) != NULL);
}

static double likeness(const struct words *a, const struct words *b)
{
    size_t common = 0;
    bool used[WORDS_MAX] = {false};
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            if (!used[k] && same(a->w[i], b->w[k])) {
                used[k] = true;
                common++;
                break;
            }
    size_t all = a->n + b->n - common;
    return all ? (double)common / (double)all : 0;
}

/* The child of `parent` whose title is nearest to the words; NULL: none is near, or two are as near. */
static const json_t *child(const json_t *nodes, const char *parent, const char *text, size_t len)
{
    struct words wanted, have;
    const json_t *best = NULL, *v;
    double top = 0, second = 0;
    size_t i;
    split(text, len, &wanted);
    json_array_foreach((json_t *)nodes, i, v)
    {
        const char *title = ptl_json_str(v, "title", "");
        if (!ptl_str_eq(ptl_json_str(v, "parent", NULL), parent))
            continue;
        split(title, strlen(title), &have);
        double x = likeness(&wanted, &have);
        if (x > top) {
            second = top;
            top = x;
            best = v;
        } else if (x > second) {
            second = x;
        }
    }
    return top >= NEAR && top > second ? best : NULL;
}

const char *ptl_kb_label_node(const json_t *nodes, const char *platform, const char *label)
{
    if (!platform || !label)
        return NULL;
    const char *dash = strstr(label, " - ");
    const json_t *inner = child(nodes, platform, label, dash ? (size_t)(dash - label) : strlen(label));
    const char *id = inner ? ptl_json_str(inner, "id", NULL) : NULL;
    if (!dash || !id)
        return id;
    const json_t *leaf = child(nodes, id, dash + 3, strlen(dash + 3));
    return leaf ? ptl_json_str(leaf, "id", NULL) : NULL;
}
