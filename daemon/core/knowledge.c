/* knowledge.c - the knowledge base in force: loads what this program ships with into the database once,
 * compiles what the database holds on a worker, and does so again when anyone changes it (NOTIFY ptl_kb). A
 * diagnosis holds a reference to the one it began with. Loop thread; reading and compiling on the pool. When
 * the database's knowledge cannot be compiled, the one in force stays; without any, the one built in serves.
 */
#include "core-private.h"
#include "compiled.h"
#include "data.h"
#include "kb.h"
#include <limits.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>
#include <unistd.h>

enum { AGAIN_MS = 5000, ASKERS_WAIT_MS = 5000 };

struct ptl_core_kb {
    int refs;
    struct ptl_kb *kb;
    struct ptl_buf model; /* the database's own text model, as bytes; empty: the one built in */
};
/* Somebody who waits for a load that began after he asked. */
struct asker {
    struct asker *next;
    uint64_t wants;
    char *who;
    ptl_core_fn *fn;
    void *ctx;
};
struct ptl_core_knowledge {
    struct ptl_core *core;
    struct ptl_core_kb *now; /* NULL until the first is compiled */
    struct ptl_timer *timer; /* tries again */
    bool shipped;            /* what this program ships with is in the database */
    bool busy, again;        /* a load is under way; another is wanted behind it */
    uint64_t loads;          /* begun so far: one at a time */
    struct asker *askers;
    struct ptl_timer *patience; /* of askers */
    char read[PTL_SHA256_HEX];  /* of what `now` was compiled from; "": of nothing from the database */
};

/* One step on a worker: the files to a document, or a document to a compiled knowledge base. */
struct load {
    struct ptl_work work;
    struct ptl_core_knowledge *k;
    json_t *doc;
    struct ptl_buf model;
    struct ptl_core_kb *like; /* in force when this began; NULL: none yet. The loop's */
    struct ptl_kb *kb;
    json_t *problems;
    char read[PTL_SHA256_HEX], known[PTL_SHA256_HEX]; /* of what was read; of what is in force */
    bool builtin, same;
    struct ptl_error err;
};

struct ptl_core_kb *ptl_core_kb_ref(struct ptl_core *core)
{
    if (core->knowledge->now)
        core->knowledge->now->refs++;
    return core->knowledge->now;
}

struct ptl_core_kb *ptl_core_kb_unref(struct ptl_core_kb *kb)
{
    if (kb && --kb->refs == 0) {
        ptl_kb_free(kb->kb);
        ptl_buf_done(&kb->model);
        free(kb);
    }
    return NULL;
}

const void *ptl_core_kb_model(const struct ptl_core_kb *kb, size_t *ret_len)
{
    const struct ptl_kb_file *m = ptl_kb_file_find(&ptl_kb_files_builtin, "model/text.bin");
    *ret_len = kb->model.len ? kb->model.len : m ? m->len : 0;
    return kb->model.len ? ptl_buf_str(&kb->model) : m ? m->text : NULL;
}

const struct ptl_kb *ptl_core_kb_of(const struct ptl_core_kb *kb)
{
    return kb->kb;
}

static void load_free(struct load *l)
{
    json_decref(l->doc);
    json_decref(l->problems);
    ptl_buf_done(&l->model);
    ptl_kb_free(l->kb);
    ptl_core_kb_unref(l->like);
    free(l);
}

static void read_files(struct load *l)
{
    l->problems = json_array();
    if (ptl_kb_data_read(&ptl_kb_files_builtin, l->problems, &l->doc) < 0)
        l->work.result =
            ptl_error_set(&l->err, -ENOMEM, "the knowledge built in cannot be read: out of memory");
}

static void run_read(struct ptl_work *w)
{
    read_files((struct load *)w);
}

/* The scan compiled at build time (kb.bin, as `portolan diagnose` takes it): seconds of a processor are saved
 * for all that nobody added or changed. How much of it fits, kb itself sees. */
static void shipped_scan(struct ptl_buf *file, struct ptl_kb_compiled *ret)
{
    static const char *const places[] = {"kb/kb.bin", "../share/portolan/kb.bin"};
    char self[PATH_MAX];
    struct ptl_error ignored = PTL_ERROR_INIT;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;
    for (size_t i = 0; slash && i < PTL_ARRAY_LEN(places); i++) {
        PTL_FREE char *path = ptl_xasprintf("%.*s/%s", (int)(slash - self), self, places[i]);
        file->max = PTL_KB_COMPILED_MAX;
        ptl_buf_clear(file);
        if (ptl_fs_exists(path) && ptl_fs_read(path, PTL_KB_COMPILED_MAX, file, &ignored) == 0 &&
            ptl_kb_compiled_read(ptl_buf_str(file), file->len, path, ret, &ignored) == 0)
            return;
    }
    *ret = (struct ptl_kb_compiled){0};
}

static void run_compile(struct ptl_work *w)
{
    struct load *l = (struct load *)w;
    struct ptl_kb_compiled c = {0};
    PTL_BUF file = PTL_BUF_INIT;
    const struct ptl_kb_file *m = ptl_kb_file_find(&ptl_kb_files_builtin, "model/text.bin");
    const void *model = l->model.len ? ptl_buf_str(&l->model) : m ? m->text : NULL;
    size_t len = l->model.len ? l->model.len : m ? m->len : 0;
    const char *from = l->model.len ? "this database's own text model (portolan kb model show)"
                                    : "model/text.bin as built in";
    if (l->builtin) {
        read_files(l);
    } else { /* not for what is in force already */
        PTL_FREE char *text = json_dumps(l->doc, JSON_COMPACT | JSON_SORT_KEYS);
        struct ptl_sha256 *h = ptl_sha256_new();
        ptl_sha256_update(h, text ? text : "", text ? strlen(text) : 0);
        ptl_sha256_update(h, ptl_buf_str(&l->model), l->model.len);
        ptl_sha256_hex(h, l->read);
        ptl_sha256_free(h);
        l->same = text && strcmp(l->read, l->known) == 0;
    }
    if (w->result < 0 || l->same)
        return;
    if (l->like) {
        w->result =
            ptl_kb_new_like(PTL_TAKE(l->doc), model, len, from, ptl_core_kb_of(l->like), &l->kb, &l->err);
    } else {
        shipped_scan(&file, &c);
        w->result = ptl_kb_new_take(PTL_TAKE(l->doc), model, len, from, c.scan, c.scan_len, &l->kb, &l->err);
    }
}

static void begin(struct ptl_core_knowledge *k);

/* A person does not wait for a slow machine: what was asked for begins by itself. */
static void on_patience(void *ctx)
{
    struct ptl_core_knowledge *k = ctx;
    for (struct asker *a = k->askers; a; a = a->next)
        if (a->fn) {
            PTL_JSON *job = json_pack("{s:n,s:n,s:s,s:b}", "id", "kb", "asked_by", a->who, "forced", 1);
            a->fn(a->ctx, 0, job, NULL);
            a->fn = NULL;
        }
}

static void answer_askers(struct ptl_core_knowledge *k)
{
    for (struct asker **p = &k->askers, *a; (a = *p) != NULL;) {
        if (a->wants > k->loads) {
            p = &a->next;
            continue;
        }
        *p = a->next;
        ptl_core_relabel_begin(k->core, a->who, true, a->fn, a->ctx);
        free(a->who);
        free(a);
    }
}

static void finished(struct ptl_core_knowledge *k, bool well)
{
    k->busy = false;
    answer_askers(k);
    if (k->again && well) {
        k->again = false;
        begin(k);
    } else if (!well && k->timer) {
        ptl_timer_after(k->timer, AGAIN_MS);
    }
}

static struct load *load_new(struct ptl_core_knowledge *k, void (*run)(struct ptl_work *),
                             void (*done)(struct ptl_work *))
{
    struct load *l = ptl_xcalloc(1, sizeof(*l));
    l->work.run = run;
    l->work.done = done;
    l->k = k;
    return l;
}

static void submit(struct load *l)
{
    struct ptl_core_knowledge *k = l->k;
    if (ptl_loop_submit(k->core->loop, &l->work) != 0) {
        load_free(l);
        finished(k, false);
    }
}

static void on_compiled(struct ptl_work *w)
{
    struct load *l = (struct load *)w;
    struct ptl_core_knowledge *k = l->k;
    bool well = w->result == 0;
    if (well && l->same) {
        load_free(l);
        finished(k, true);
        return;
    }
    if (well) {
        memcpy(k->read, l->read, sizeof(k->read));
        struct ptl_core_kb *now = ptl_xcalloc(1, sizeof(*now));
        now->refs = 1;
        now->kb = PTL_TAKE(l->kb);
        now->model = l->model;
        l->model = (struct ptl_buf){0};
        ptl_core_kb_unref(k->now);
        k->now = now;
        ptl_log_info("kb: %zu indicators in force, knowledge %.12s%s", ptl_kb_count(now->kb),
                     ptl_kb_hash(now->kb), l->builtin ? " (as built in)" : "");
        ptl_core_relabel_begin(k->core, "portoland", false, NULL, NULL);
    } else if (w->result != -ECANCELED) {
        ptl_log_error("kb: %s; %s", l->err.text,
                      k->now ? "the knowledge in force stays" : "falling back to what is built in");
        if (!k->now && !l->builtin) {
            struct load *own = load_new(k, run_compile, on_compiled);
            own->builtin = true;
            load_free(l);
            submit(own);
            return;
        }
    }
    load_free(l);
    finished(k, true); /* trying the same again would fail the same way: the next change wakes */
}

static void on_read(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_knowledge *k = ctx;
    if (err) {
        if (err->code != -ECANCELED)
            ptl_log_warning("kb: cannot be read now, trying again in %d s: %s", AGAIN_MS / 1000, err->text);
        finished(k, false);
        return;
    }
    struct load *l = load_new(k, run_compile, on_compiled);
    size_t len;
    const void *model = ptl_row_bytes(rows, 0, "model", &len);
    l->doc = ptl_row_json(rows, 0, "doc");
    l->like = ptl_core_kb_ref(k->core);
    memcpy(l->known, k->read, sizeof(l->known));
    if (model)
        (void)!ptl_buf_add(&l->model, model, len);
    submit(l);
}

static void read_database(struct ptl_core_knowledge *k)
{
    if (ptl_store_query(k->core->store, PTL_SQL_kb_read, NULL, on_read, k) != 0)
        finished(k, false);
}

static void on_loaded(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct ptl_core_knowledge *k = ctx;
    if (err) {
        if (err->code != -ECANCELED)
            ptl_log_warning("kb: what ships cannot be loaded now, trying again in %d s: %s", AGAIN_MS / 1000,
                            err->text);
        finished(k, false);
        return;
    }
    if (ptl_row_bool(rows, 0, "loaded"))
        ptl_log_info("kb: loaded %lld indicators, %lld of them changed",
                     (long long)ptl_row_i64(rows, 0, "indicators"),
                     (long long)ptl_row_i64(rows, 0, "changed"));
    k->shipped = true;
    read_database(k);
}

static void on_files_read(struct ptl_work *w)
{
    struct load *l = (struct load *)w;
    struct ptl_core_knowledge *k = l->k;
    struct ptl_args a;
    if (w->result < 0) {
        if (w->result != -ECANCELED)
            ptl_log_error("kb: %s", l->err.text);
        load_free(l);
        finished(k, false);
        return;
    }
    if (json_array_size(l->problems))
        ptl_log_error("kb: %zu problems with the knowledge built in, the first: %s",
                      json_array_size(l->problems), json_string_value(json_array_get(l->problems, 0)));
    ptl_args_init(&a);
    ptl_args_json(&a, l->doc);
    ptl_args_str(&a, PTL_VERSION);
    load_free(l);
    if (ptl_store_query(k->core->store, PTL_SQL_kb_load, &a, on_loaded, k) != 0)
        finished(k, false);
}

static void begin(struct ptl_core_knowledge *k)
{
    if (k->busy) {
        k->again = true;
        return;
    }
    if (atomic_load(&k->core->stopping))
        return;
    k->busy = true;
    k->loads++;
    if (k->shipped)
        read_database(k);
    else
        submit(load_new(k, run_read, on_files_read));
}

static void on_timer(void *ctx)
{
    begin(ctx);
}

/* Also once when the LISTEN takes effect: that is the first load. */
static void on_changed(void *ctx, const char *payload PTL_UNUSED)
{
    begin(ctx);
}

void ptl_core_kb_apply(struct ptl_core *core, const char *who, ptl_core_fn *fn, void *ctx)
{
    struct ptl_core_knowledge *k = core->knowledge;
    struct asker *a = ptl_xcalloc(1, sizeof(*a));
    *a = (struct asker){k->askers, k->loads + 1, ptl_xstrdup(who), fn, ctx};
    k->askers = a;
    if (k->patience)
        ptl_timer_after(k->patience, ASKERS_WAIT_MS);
    begin(k);
}

int ptl_core_knowledge_new(struct ptl_core *core)
{
    struct ptl_core_knowledge *k = ptl_xcalloc(1, sizeof(*k));
    k->core = core;
    core->knowledge = k;
    k->timer = ptl_timer_new(core->loop, on_timer, k);
    k->patience = ptl_timer_new(core->loop, on_patience, k);
    return ptl_store_listen(core->store, "ptl_kb", on_changed, k);
}

void ptl_core_knowledge_stop(struct ptl_core *core)
{
    if (core->knowledge) {
        core->knowledge->timer = ptl_timer_free(core->knowledge->timer);
        core->knowledge->patience = ptl_timer_free(core->knowledge->patience);
    }
}

void ptl_core_knowledge_free(struct ptl_core *core)
{
    if (!core->knowledge)
        return;
    ptl_core_knowledge_stop(core);
    ptl_core_kb_unref(core->knowledge->now);
    for (struct asker *a = core->knowledge->askers, *next; a; a = next) {
        next = a->next;
        free(a->who);
        free(a);
    }
    free(core->knowledge);
    core->knowledge = NULL;
}
