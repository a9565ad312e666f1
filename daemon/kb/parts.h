/* parts.h - what a knowledge base scans a text with, in two parts: the patterns it shares with another one,
 * compiled once for both, and those of its own. Compiling thousands of patterns takes seconds of a processor,
 * a hundred of them a tenth: so a person who edits or tries one indicator waits for that one only. What is
 * found does not depend on how the patterns are parted. A part is never changed and may be shared between
 * threads. */
#ifndef PTL_KB_PARTS_H
#define PTL_KB_PARTS_H
#include <portolan/base.h>
#include <hs/hs.h>

/* What is to be found. The order is that of the ids that scans report. */
struct kb_patterns {
    size_t n;
    char **text;
    unsigned *flags;
};
void kb_patterns_done(struct kb_patterns *p);

struct kb_part;
enum { KB_PARTS = 2 };
struct kb_parts {
    struct kb_part *part[KB_PARTS]; /* [0] is what others may share; [1] NULL: nothing of its own */
    uint32_t *id_of[KB_PARTS];      /* by the part's id: the place in the patterns asked for, or KB_NOBODY */
};
#define KB_NOBODY UINT32_MAX

/* `p` is taken in any case. Shared is what stands in `like` (NULL: none), else in `bytes` (kb_parts_data();
 * NULL: none), as far as it has the same patterns; where too little of it is of use, everything is compiled.
 * Bytes of another Vectorscan or for another processor are left alone. -EINVAL: *ret_wrong is the place of
 * the pattern that is refused, -1 none in particular; err says why. */
PTL_NODISCARD int kb_parts_new(struct kb_patterns *p, const struct kb_parts *like, const void *bytes,
                               size_t len, struct kb_parts *ret, int *ret_wrong, struct ptl_error *err);
void kb_parts_done(struct kb_parts *parts);
/* `p` as bytes to keep, good on every processor of this architecture; to be read again where they begin at a
 * multiple of 64. Compiled anew unless `parts` (may be NULL) are just these in one part. Caller frees. */
PTL_NODISCARD int kb_parts_data(const struct kb_parts *parts, const struct kb_patterns *p, void **ret,
                                size_t *ret_len, int *ret_wrong, struct ptl_error *err);
/* Calls `fn` as hs_scan() does, part by part, with ids of the patterns asked for. 0; -ENOMEM; or what `fn`
 * ended it with, or -EIO. */
typedef int kb_parts_fn(void *ctx, uint32_t id, unsigned long long to);
PTL_NODISCARD int kb_parts_scan(const struct kb_parts *parts, const char *text, size_t len, kb_parts_fn *fn,
                                void *ctx);
/* How many patterns were compiled for these parts alone. For tests. */
size_t kb_parts_own(const struct kb_parts *parts);
#endif
