/* cache.h - blobs on this agent's disk, by SHA-256: fetched once, verified on every use, oldest use evicted
 * first. Blocking; any thread. */
#ifndef PTL_AGENT_CACHE_H
#define PTL_AGENT_CACHE_H
#include <portolan/client.h>

struct ptl_cache;
PTL_NODISCARD int ptl_cache_new(const char *dir, uint64_t max_bytes, struct ptl_cache **ret,
                                struct ptl_error *err);
struct ptl_cache *ptl_cache_free(struct ptl_cache *c);
/* Puts the blob at `to` (must not exist; its folder must): a hard link when nobody inside a sandbox can write
 * to it
 * (`may_link`), else a copy. Downloads it when it is not here or is damaged; a broken download goes on where
 * it stopped. -ECANCELED when *cancelled became set. */
PTL_NODISCARD int ptl_cache_place(struct ptl_cache *c, struct ptl_client *client, const char *sha256,
                                  const char *to, bool exec, bool may_link, const atomic_int *cancelled,
                                  struct ptl_error *err);
/* Deletes the longest unused blobs until the rest fits. Blobs that are being fetched stay. */
void ptl_cache_trim(struct ptl_cache *c);
#endif
