/* looker.c - see looker.h. */
#include "looker.h"
#include <portolan/hash.h>
#include <portolan/log.h>

/* Lives until the store has answered, whatever happened to the looker meanwhile. */
struct look {
    struct ptl_looker *looker;
};

struct ptl_looker {
    struct ptl_core *core;
    const struct ptl_looker_for *f;
    void *ctx;
    struct ptl_timer *every, *soon;
    struct look *look;
    bool again; /* woken while looking */
};

uint32_t ptl_notify_dice(void)
{
    uint32_t v;
    ptl_random(&v, sizeof(v));
    return v;
}

void ptl_looker_wake(struct ptl_looker *l)
{
    ptl_timer_after(l->soon, 0);
}

static void on_notify(void *ctx, const char *payload PTL_UNUSED)
{
    ptl_looker_wake(ctx);
}

static void on_claimed(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct look *look = ctx;
    struct ptl_looker *l = look->looker;
    free(look);
    if (!l)
        return;
    l->look = NULL;
    if (err)
        ptl_log_warning("%s: %s; the next look follows in %d s", l->f->what, err->text, PTL_LOOKER_MS / 1000);
    else
        l->f->rows(l->ctx, rows);
    if (l->again)
        ptl_looker_wake(l);
    l->again = false;
}

static void look(void *ctx)
{
    struct ptl_looker *l = ctx;
    if (l->look) {
        l->again = true;
        return;
    }
    unsigned room = ptl_store_is_ready(ptl_core_store(l->core)) ? l->f->room(l->ctx) : 0;
    if (!room)
        return; /* the end of what runs, or the timer, looks again */
    struct ptl_args a;
    ptl_args_init(&a);
    ptl_args_i64(&a, room);
    l->look = ptl_xcalloc(1, sizeof(*l->look));
    l->look->looker = l;
    if (ptl_store_query(ptl_core_store(l->core), l->f->claim, &a, on_claimed, l->look) != 0) {
        free(l->look);
        l->look = NULL;
    }
}

static void on_timer(void *ctx)
{
    struct ptl_looker *l = ctx;
    if (l->f->tick && ptl_store_is_ready(ptl_core_store(l->core)))
        l->f->tick(l->ctx);
    look(l);
}

struct ptl_looker *ptl_looker_new(struct ptl_core *core, const struct ptl_looker_for *f, void *ctx)
{
    struct ptl_looker *l = ptl_xcalloc(1, sizeof(*l));
    *l = (struct ptl_looker){.core = core, .f = f, .ctx = ctx};
    l->soon = ptl_timer_new(ptl_core_loop(core), look, l);
    l->every = ptl_timer_new(ptl_core_loop(core), on_timer, l);
    ptl_timer_every(l->every, PTL_LOOKER_MS);
    if (ptl_store_listen(ptl_core_store(core), f->channel, on_notify, l) < 0) {
        ptl_log_error("%s: cannot listen for them", f->what);
        return ptl_looker_free(l);
    }
    return l;
}

struct ptl_looker *ptl_looker_free(struct ptl_looker *l)
{
    if (!l)
        return NULL;
    ptl_timer_free(l->soon);
    ptl_timer_free(l->every);
    if (l->look)
        l->look->looker = NULL;
    free(l);
    return NULL;
}
