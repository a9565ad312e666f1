/* mask.h - keeps secrets out of a log while it streams: every known form of every secret becomes "***".
 * Forms: the whole value, each of its lines, base64 (both alphabets, all three alignments, also broken into
 * lines), URL encoding. Finds them across any chunk border; holds back only bytes that may be the beginning
 * of one. Time is linear in the text, whatever the secrets are. One thread per mask. */
#ifndef PTL_AGENT_MASK_H
#define PTL_AGENT_MASK_H
#include <portolan/base.h>

/* Values shorter than this would blank out half of any log; ptl_mask_add() says so. */
enum { PTL_MASK_MIN = 4, PTL_MASK_SECRET_MAX = 64 * 1024, PTL_MASK_TOTAL_MAX = 1 << 20 };

struct ptl_mask;
struct ptl_mask *ptl_mask_new(void); /* aborts when out of memory */
struct ptl_mask *ptl_mask_free(struct ptl_mask *m);
PTL_DEFINE_FREEP(struct ptl_mask, ptl_mask_free)
/* Before the first feed. 0; PTL_ABSENT: too short to be masked; -E2BIG: this one or all together too long.
 * Copies. */
int ptl_mask_add(struct ptl_mask *m, const char *secret);
/* `sink` gets what is safe to be seen, in pieces, in order. */
typedef void ptl_mask_sink_fn(void *ctx, const char *data, size_t len);
void ptl_mask_feed(struct ptl_mask *m, const char *data, size_t len, ptl_mask_sink_fn *sink, void *ctx);
void ptl_mask_end(struct ptl_mask *m, ptl_mask_sink_fn *sink, void *ctx); /* lets go what was held back */
#endif
