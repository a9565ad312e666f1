/* flat.h - flatbuffers read in place, every offset checked against the file. A table that does not fit is an
 * empty one. */
#ifndef PTL_MODEL_FLAT_H
#define PTL_MODEL_FLAT_H
#include "model-private.h"

struct flat {
    const uint8_t *base;
    size_t n;
    bool bad; /* sticky: an offset led out of the file */
};
struct flat_table {
    struct flat *f;
    size_t at, vtable; /* at 0: absent */
    uint16_t vsize;
};
struct flat_vector {
    struct flat *f;
    size_t at; /* of the first element */
    uint32_t n;
};
struct flat_table flat_root(struct flat *f);
int64_t flat_int(struct flat_table t, int field, int bytes, bool is_signed,
                 int64_t dflt);                           /* scalars of 1, 2, 4, 8 bytes */
struct bytes flat_string(struct flat_table t, int field); /* p NULL: absent */
struct flat_table flat_child(struct flat_table t, int field);
/* Elements of `bytes` each; of a vector of tables or strings 4. */
struct flat_vector flat_vector(struct flat_table t, int field, int bytes);
int64_t flat_at_int(struct flat_vector v, uint32_t i, int bytes, bool is_signed);
struct flat_table flat_at_table(struct flat_vector v, uint32_t i);
#endif
