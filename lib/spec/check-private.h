/* check-private.h - from a tree to a checked document: every value typed and in its range, every key known.
 */
#ifndef PTL_SPEC_CHECK_PRIVATE_H
#define PTL_SPEC_CHECK_PRIVATE_H
#include "keys-private.h"
#include "yaml-private.h"
#include <portolan/spec.h>

struct check {
    struct ptl_spec_diags *diags;
    json_t *places; /* "targets.web.verify.needs[0]" (names as in the document) → [line, column, path as
                       written] */
    bool no_memory;
};

/* The checked document (caller's), or NULL when it is not even a map. Errors are in c->diags. */
json_t *spec_check(struct check *c, const struct yaml_node *root);

void diags_reset(struct ptl_spec_diags *d, const char *file);
void diags_sort(struct ptl_spec_diags *d);
/* `expected`, `nearest` may be NULL. */
void diag_add(struct ptl_spec_diags *d, unsigned line, unsigned column, bool is_warning, const char *key,
              const char *expected, const char *nearest, const char *fmt, ...) PTL_PRINTF(8, 9);
/* At a place of the document; where nothing stands there, at the nearest place above. */
void diag_at(struct ptl_spec_diags *d, const json_t *places, bool is_warning, const char *place,
             const char *expected, const char *nearest, const char *fmt, ...) PTL_PRINTF(7, 8);

bool spec_is_name(const char *s, size_t max);
bool spec_is_uses(const char *s); /* family/name */

/* "from 1 s to 24h 00m", of a key with bounds */
void spec_range_text(const struct spec_key *k, char ret[160]);

/* The document to the plan: what belongs together, the matrix, the order. NULL when there are errors (in
 * diags) or, with *no_memory, when memory ran out. */
json_t *spec_plan(const json_t *doc, const json_t *places, struct ptl_spec_diags *diags, bool *no_memory);

/* Values of a matrix combination into texts: ${{ matrix.AXIS }}, ${{ target }}, ${{ model }}. */
struct spec_values {
    const json_t *matrix; /* {axis: value}, may be NULL */
    const char *target, *model;
    size_t *budget; /* bytes the filled-in copies may still take, over the whole plan; shared */
};
/* A copy of `v` with every text filled in; a text that is one placeholder and nothing else becomes the value
 * itself when `typed`. NULL with a finding at `place`. */
json_t *spec_fill(const json_t *v, const struct spec_values *values, bool typed, struct ptl_spec_diags *diags,
                  const json_t *places, const char *place);
char *spec_value_text(const json_t *v); /* a matrix value as text; caller frees */
/* [{axis: value}…] of a checked matrix, at most max; NULL with a finding. */
json_t *spec_combinations(const json_t *matrix, size_t max, struct ptl_spec_diags *diags,
                          const json_t *places, const char *place);
/* Is this ${{ ref }} or ${{ branch }} of a concurrency group? *ret_len (may be NULL) gets its length. */
bool spec_group_word(const char *s, size_t *ret_len);

/* Behind ptl_spec_check_recipes(). */
int spec_check_recipes(const json_t *plan, const json_t *places, const json_t *recipes,
                       struct ptl_spec_diags *diags);
#endif
