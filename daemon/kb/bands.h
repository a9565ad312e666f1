/* bands.h - MinHash bands over the words of a failure's quoted lines: failures that share many words share
 * bands, so an index of bands finds what is alike though its best line is another. Pure; any thread. */
#ifndef PTL_KB_BANDS_H
#define PTL_KB_BANDS_H
#include <portolan/json.h>

enum { PTL_KB_BANDS = 16 };
/* Over the words of `n` masked lines (template.h). Without a word of three letters: 0 and nothing is written;
 * else PTL_KB_BANDS. Two sets of words with the share J in common have about J * J * PTL_KB_BANDS bands in
 * common. */
int ptl_kb_bands(const char *const *lines, size_t n, int64_t ret[PTL_KB_BANDS]);
/* The same over the evidence of a diagnosis (kb.h), as its member "bands" has it: a new array, perhaps empty.
 */
json_t *ptl_kb_bands_of(const json_t *diagnosis);
#endif
