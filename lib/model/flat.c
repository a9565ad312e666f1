/* flat.c - see flat.h. */
#include "flat.h"

static uint64_t get(const struct flat *f, size_t at, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)f->base[at + (size_t)i] << 8 * i;
    return v;
}

static bool fits(struct flat *f, size_t at, size_t n)
{
    if (at <= f->n && n <= f->n - at)
        return true;
    f->bad = true;
    return false;
}

static struct flat_table table_at(struct flat *f, size_t at)
{
    struct flat_table t = {f, 0, 0, 0};
    if (at < 4 || !fits(f, at, 4))
        return t;
    int64_t back = (int32_t)get(f, at, 4), vtable = (int64_t)at - back;
    if (vtable < 0 || !fits(f, (size_t)vtable, 4)) {
        f->bad = true;
        return t;
    }
    uint16_t size = (uint16_t)get(f, (size_t)vtable, 2);
    if (size < 4 || !fits(f, (size_t)vtable, size))
        return t;
    return (struct flat_table){f, at, (size_t)vtable, size};
}

struct flat_table flat_root(struct flat *f)
{
    if (!fits(f, 0, 8))
        return (struct flat_table){f, 0, 0, 0};
    return table_at(f, (size_t)get(f, 0, 4));
}

/* Where a field lies; 0: absent. */
static size_t place(struct flat_table t, int field, size_t bytes)
{
    size_t slot = 4 + 2 * (size_t)field;
    if (!t.at || slot + 2 > t.vsize)
        return 0;
    uint16_t off = (uint16_t)get(t.f, t.vtable + slot, 2);
    return off && fits(t.f, t.at + off, bytes) ? t.at + off : 0;
}

static int64_t number(const struct flat *f, size_t at, int bytes, bool is_signed)
{
    uint64_t v = get(f, at, bytes);
    if (is_signed && bytes < 8 && v >> (8 * bytes - 1))
        v |= ~0ull << 8 * bytes;
    return (int64_t)v;
}

int64_t flat_int(struct flat_table t, int field, int bytes, bool is_signed, int64_t dflt)
{
    size_t at = place(t, field, (size_t)bytes);
    return at ? number(t.f, at, bytes, is_signed) : dflt;
}

static size_t follow(struct flat *f, size_t at)
{
    size_t to = at + (size_t)get(f, at, 4);
    return fits(f, to, 4) ? to : 0;
}

struct bytes flat_string(struct flat_table t, int field)
{
    size_t at = place(t, field, 4);
    if (!at || !(at = follow(t.f, at)))
        return (struct bytes){NULL, 0};
    size_t n = (size_t)get(t.f, at, 4);
    return fits(t.f, at + 4, n) ? (struct bytes){t.f->base + at + 4, n} : (struct bytes){NULL, 0};
}

struct flat_table flat_child(struct flat_table t, int field)
{
    size_t at = place(t, field, 4);
    return at && (at = follow(t.f, at)) ? table_at(t.f, at) : (struct flat_table){t.f, 0, 0, 0};
}

struct flat_vector flat_vector(struct flat_table t, int field, int bytes)
{
    size_t at = place(t, field, 4);
    struct flat_vector none = {t.f, 0, 0};
    if (!at || !(at = follow(t.f, at)))
        return none;
    uint32_t n = (uint32_t)get(t.f, at, 4);
    if ((uint64_t)n * (uint64_t)bytes > t.f->n || !fits(t.f, at + 4, (size_t)n * (size_t)bytes)) {
        t.f->bad = true;
        return none;
    }
    return (struct flat_vector){t.f, at + 4, n};
}

int64_t flat_at_int(struct flat_vector v, uint32_t i, int bytes, bool is_signed)
{
    return i < v.n ? number(v.f, v.at + (size_t)i * (size_t)bytes, bytes, is_signed) : 0;
}

struct flat_table flat_at_table(struct flat_vector v, uint32_t i)
{
    size_t at = i < v.n ? follow(v.f, v.at + 4 * (size_t)i) : 0;
    return at ? table_at(v.f, at) : (struct flat_table){v.f, 0, 0, 0};
}
