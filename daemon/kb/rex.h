/* rex.h - a small linear-time regular expression matcher with named groups, for one bounded line at a time.
 * It reads the part of the syntax that Vectorscan reads too (migrations/kb/FORM.md): the scan finds lines,
 * this one finds where in the line and what the groups hold. No look-around, no back-references, so the time
 * is O(line × pattern) whatever the text. Pure; a compiled pattern is never changed: any thread. */
#ifndef PTL_KB_REX_H
#define PTL_KB_REX_H
#include <portolan/base.h>

enum {
    PTL_REX_PATTERN_MAX = 1000,
    PTL_REX_REPEAT_MAX = 255,
    PTL_REX_GROUPS_MAX = 10,
    PTL_REX_STEPS_MAX = 6000
};

struct ptl_rex;
/* -EINVAL with a sentence that names the place in the pattern. */
PTL_NODISCARD int ptl_rex_new(const char *pattern, bool caseless, struct ptl_rex **ret,
                              struct ptl_error *err);
struct ptl_rex *ptl_rex_free(struct ptl_rex *r); /* NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_rex, ptl_rex_free)
int ptl_rex_groups(const struct ptl_rex *r);                    /* capturing groups, 0..PTL_REX_GROUPS_MAX */
const char *ptl_rex_group_name(const struct ptl_rex *r, int i); /* i from 1; NULL: has no name */
/* The longest run of literal characters that every match must hold. */
int ptl_rex_literal(const struct ptl_rex *r);
bool ptl_rex_ends_open(const struct ptl_rex *r); /* ends in an unbounded repeat of anything */

struct ptl_rex_span {
    int start, end; /* bytes; -1: the group took no part */
};
/* The leftmost match, alternatives in the order written. ret[0] is the whole, ret[i] group i; room for
 * groups + 1. `len` at most 1 MiB. 1: matched, 0: not, -ENOMEM. */
PTL_NODISCARD int ptl_rex_match(const struct ptl_rex *r, const char *text, size_t len,
                                struct ptl_rex_span *ret);
#endif
