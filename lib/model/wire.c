/* wire.c - protobuf's wire format, read in place. */
#include "model-private.h"

struct pb pb_of(struct bytes b)
{
    const uint8_t *p = b.p ? b.p : (const uint8_t *)"";
    return (struct pb){p, p + (b.p ? b.n : 0), false};
}

static bool varint(struct pb *pb, uint64_t *ret)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70 && pb->p < pb->end; shift += 7) {
        uint8_t c = *pb->p++;
        if (shift < 64)
            v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *ret = v;
            return true;
        }
    }
    pb->bad = true;
    return false;
}

bool pb_next(struct pb *pb, struct pb_field *f)
{
    uint64_t key;
    if (pb->bad || pb->p >= pb->end || !varint(pb, &key))
        return false;
    size_t left;
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    f->b = (struct bytes){NULL, 0};
    f->value = 0;
    switch (f->wire) {
    case 0:
        if (!varint(pb, &f->value))
            return false;
        break;
    case 1:
    case 5:
        left = f->wire == 1 ? 8 : 4;
        if ((size_t)(pb->end - pb->p) < left)
            goto bad;
        for (size_t i = 0; i < left; i++)
            f->value |= (uint64_t)pb->p[i] << 8 * i;
        pb->p += left;
        break;
    case 2:
        if (!varint(pb, &f->value) || f->value > (uint64_t)(pb->end - pb->p))
            goto bad;
        f->b = (struct bytes){pb->p, (size_t)f->value};
        pb->p += f->value;
        break;
    default:
        goto bad;
    }
    if (f->number == 0)
        goto bad;
    return true;
bad:
    pb->bad = true;
    return false;
}

bool pb_is_message(struct bytes b)
{
    struct pb pb = pb_of(b);
    struct pb_field f;
    while (pb_next(&pb, &f))
        ;
    return !pb.bad;
}

struct bytes pb_bytes(struct bytes message, uint32_t number)
{
    struct pb pb = pb_of(message);
    struct pb_field f;
    struct bytes found = {NULL, 0};
    while (pb_next(&pb, &f))
        if (f.number == number && f.wire == 2)
            found = f.b;
    return found;
}

bool pb_varint(struct bytes message, uint32_t number, uint64_t *ret)
{
    struct pb pb = pb_of(message);
    struct pb_field f;
    bool found = false;
    while (pb_next(&pb, &f))
        if (f.number == number && f.wire == 0) {
            *ret = f.value;
            found = true;
        }
    return found;
}
