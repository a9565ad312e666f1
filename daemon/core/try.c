/* try.c - an indicator tried on history before it is saved: which past failures it would speak on, and whose
 * answer would be another. Attempt by attempt, newest first: its log and those of the stages it stands on are
 * read, scanned with this indicator alone, and only where it speaks the whole diagnosis is made twice,
 * without and with it. The second knowledge base is compiled when it is first needed. Nothing is written.
 *
 * Bounds: attempts, bytes and time of one call; each cut is told, and `next` goes on where it ended. */
#include "core-private.h"
#include "data.h"
#include "kb.h"
#include <portolan/clock.h>
#include <stdio.h>

enum {
    TRYING_MAX = 2,
    CHUNKS_AT_ONCE = 64,
    LOG_BYTES = 8 << 20, /* a longer log is not tried */
    UPSTREAM_MAX = 3,    /* as many and as much as a diagnosis reads */
    UPSTREAM_BYTES = 4 << 20,
    ALL_BYTES = 128 << 20, /* of one call */
    DEADLINE_MS = 12000,   /* well inside what clients wait */
    MATCHES_TOLD = 200,
    QUOTE_MAX = 400,
};

struct text {
    int64_t attempt_id, log_bytes, begin;
    char *stage, *kind;
    struct ptl_buf log;
};

struct trial {
    struct ptl_work work;
    struct ptl_core *core;
    struct ptl_core_kb *now;
    struct ptl_kb *alone,
        *other; /* this indicator (and the one it replaces) by itself; the other knowledge base */
    json_t *candidate, *replaced; /* replaced: the one of this id that is in force, or NULL */
    bool other_is_after;
    char *id, *project;
    int64_t limit, before, deadline_ms, bytes;
    ptl_core_fn *fn;
    void *ctx;
    /* the attempt under way */
    json_t *rows;
    size_t at;
    struct text log[1 + UPSTREAM_MAX];
    int n_logs, at_log;
    /* the answer */
    int64_t scanned, too_long, unread, n_matched, last_id;
    json_t *matched, *gained, *lost, *contradicts, *cut;
    bool more, ended;
    struct ptl_error err;
};

static const char replaced_id[] = "replaced/by-this";

static void logs_clear(struct trial *t)
{
    for (int i = 0; i < t->n_logs; i++) {
        ptl_buf_done(&t->log[i].log);
        free(t->log[i].stage);
        free(t->log[i].kind);
    }
    memset(t->log, 0, sizeof(t->log));
    t->n_logs = t->at_log = 0;
}

static void trial_free(struct trial *t)
{
    logs_clear(t);
    ptl_kb_free(t->alone);
    ptl_kb_free(t->other);
    ptl_core_kb_unref(t->now);
    json_decref(t->candidate);
    json_decref(t->replaced);
    json_decref(t->rows);
    json_decref(t->matched);
    json_decref(t->gained);
    json_decref(t->lost);
    json_decref(t->contradicts);
    json_decref(t->cut);
    free(t->id);
    free(t->project);
    free(t);
}

static void finish(struct trial *t, int result)
{
    PTL_JSON *answer = NULL;
    if (result == 0) {
        if (t->too_long)
            json_array_append_new(t->cut, json_sprintf("%lld logs longer than %d MiB were left out",
                                                       (long long)t->too_long, LOG_BYTES >> 20));
        if (t->unread)
            json_array_append_new(
                t->cut,
                json_sprintf("%lld logs are not there any more or could not be read", (long long)t->unread));
        if (t->n_matched > MATCHES_TOLD)
            json_array_append_new(t->cut, json_sprintf("%lld matched, the first %d are told",
                                                       (long long)t->n_matched, MATCHES_TOLD));
        answer = json_pack("{s:s,s:I,s:I,s:I,s:O,s:O,s:O,s:O,s:O,s:o}", "id", t->id, "scanned",
                           (json_int_t)t->scanned, "bytes", (json_int_t)t->bytes, "matched_count",
                           (json_int_t)t->n_matched, "matched", t->matched, "gained", t->gained, "lost",
                           t->lost, "contradicts", t->contradicts, "cut", t->cut, "next",
                           t->more ? json_integer((json_int_t)t->last_id) : json_null());
    }
    t->core->trying--;
    t->fn(t->ctx, result, answer, result ? &t->err : NULL);
    trial_free(t);
}

/* ---- on a worker */
static json_t *doc_with(const struct ptl_kb *kb, const char *without, const json_t *with)
{
    json_t *doc = json_deep_copy(ptl_kb_doc(kb)), *list = json_array(), *v;
    size_t i;
    json_array_foreach(json_object_get(doc, "indicators"), i,
                       v) if (!ptl_str_eq(ptl_json_str(v, "id", ""), without)) json_array_append(list, v);
    if (with)
        json_array_append_new(list, json_deep_copy(with));
    json_object_set_new(doc, "indicators", list);
    return doc;
}

static int prepare(struct trial *t)
{
    if (t->alone)
        return 0;
    const json_t *all = ptl_kb_doc(ptl_core_kb_of(t->now));
    json_t *doc = json_pack("{s:i,s:o,s:[],s:[],s:[]}", "version", 1, "nodes",
                            json_deep_copy(json_object_get(all, "nodes")), "links", "entries", "indicators"),
           *list = json_object_get(doc, "indicators");
    json_array_append_new(list, json_deep_copy(t->candidate));
    if (t->replaced) {
        json_t *old = json_deep_copy(t->replaced);
        json_object_set_new(old, "id", json_string(replaced_id));
        json_array_append_new(list, old);
    }
    return ptl_kb_new_take(doc, NULL, 0, NULL, NULL, 0, &t->alone, &t->err);
}

static int prepare_other(struct trial *t)
{
    size_t len;
    if (t->other)
        return 0;
    const void *model = ptl_core_kb_model(t->now, &len);
    int64_t began = ptl_mono_ms();
    const struct ptl_kb *now = ptl_core_kb_of(t->now);
    int r = ptl_kb_new_like(doc_with(now, t->id, t->other_is_after ? t->candidate : NULL), model, len,
                            "the text model in force", now, &t->other, &t->err);
    t->deadline_ms += ptl_mono_ms() - began; /* not the logs' time; once a call */
    return r;
}

/* A line of a log by its number, as a person may read it. Caller frees. */
static char *line_of(const struct ptl_buf *log, int64_t number)
{
    const char *p = ptl_buf_str(log), *end = p + log->len, *nl;
    while (number > 1 && (nl = memchr(p, '\n', (size_t)(end - p)))) {
        p = nl + 1;
        number--;
    }
    nl = memchr(p, '\n', (size_t)(end - p));
    size_t n = (size_t)((nl ? nl : end) - p);
    while (n && (p[n - 1] == '\r'))
        n--;
    return ptl_json_text_utf8(p, n > QUOTE_MAX ? QUOTE_MAX : n);
}

/* Where the indicator speaks: the first line of the first log, and how many lines. */
struct place {
    int log;
    int64_t line, lines;
};

static int look(struct trial *t, const struct ptl_kb *kb, const char *id, const json_t *facts,
                struct place *ret)
{
    *ret = (struct place){.log = -1};
    for (int i = 0; i < t->n_logs; i++) {
        PTL_JSON *all = NULL;
        PTL_JSON *own =
            i ? json_object() : json_incref((json_t *)facts); /* facts are lines of the attempt's own */
        if (i && t->log[i].kind) {
            json_object_set_new(own, "kind", json_string(t->log[i].kind));
        }
        int r = ptl_kb_matches(kb, own, ptl_buf_str(&t->log[i].log), t->log[i].log.len, &all, &t->err);
        if (r < 0)
            return r;
        const json_t *lines = json_object_get(all, id);
        if (json_array_size(lines) && ret->log < 0) {
            ret->log = i;
            ret->line = json_integer_value(json_array_get(lines, 0));
        }
        ret->lines += (int64_t)json_array_size(lines);
    }
    return 0;
}

static int answer_of(struct trial *t, const struct ptl_kb *kb, const json_t *facts, json_t **ret)
{
    struct ptl_kb_log logs[1 + UPSTREAM_MAX];
    for (int i = 0; i < t->n_logs; i++)
        logs[i] = (struct ptl_kb_log){.stage = t->log[i].stage,
                                      .kind = t->log[i].kind,
                                      .text = ptl_buf_str(&t->log[i].log),
                                      .len = t->log[i].log.len};
    return ptl_kb_diagnose(kb, facts, logs, (size_t)t->n_logs, ret, &t->err);
}

static const char *first_of(const json_t *diagnosis, double *ret_p)
{
    const json_t *first = json_array_get(json_object_get(diagnosis, "challenges"), 0);
    bool known = ptl_str_eq(ptl_json_str(diagnosis, "state", ""), "diagnosed");
    *ret_p = known ? ptl_json_num(first, "probability", 0) : 0;
    return known ? ptl_json_str(first, "id", NULL) : NULL;
}

/* Its line matched; whether that counts for anything in this situation is the scope's and the weights' to
 * say. */
static bool is_heard(const json_t *diagnosis, const char *id)
{
    size_t i, k;
    json_t *c, *v;
    json_array_foreach(json_object_get(diagnosis, "challenges"), i, c) json_array_foreach(
        json_object_get(c, "indicators"), k, v) if (ptl_str_eq(json_string_value(v), id)) return true;
    json_array_foreach(json_object_get(diagnosis, "evidence"), i,
                       v) if (ptl_str_eq(ptl_json_str(v, "indicator", NULL), id)) return true;
    return false;
}

static void tell(struct trial *t, const json_t *row, const struct place *where, const json_t *without,
                 const json_t *with)
{
    double p_before, p_after;
    const char *before = first_of(without, &p_before), *after = first_of(with, &p_after);
    const char *stated = ptl_json_str(row, "challenge_id", NULL),
               *by = ptl_json_str(row, "challenge_by", NULL);
    json_int_t id = (json_int_t)ptl_json_i64(row, "id", 0);
    bool same = ptl_str_eq(before, after);
    if (!same && after)
        json_array_append_new(t->gained, json_pack("{s:I,s:s}", "attempt_id", id, "challenge", after));
    if (!same && before)
        json_array_append_new(t->lost, json_pack("{s:I,s:s}", "attempt_id", id, "challenge", before));
    if (ptl_str_eq(by, "person") && !same && ptl_str_eq(stated, before))
        json_array_append_new(t->contradicts, json_pack("{s:I,s:s?}", "attempt_id", id, "said", stated));
    if (t->n_matched++ >= MATCHES_TOLD)
        return;
    PTL_FREE char *text = where->log >= 0 && where->line > 0 ? line_of(&t->log[where->log].log, where->line)
                                                             : NULL; /* else a fact */
    json_t *m = json_pack(
        "{s:I,s:O,s:O,s:O,s:O,s:O,s:O?,s:I,s:I,s:s?,s:s?,s:s?,s:f,s:s?,s:f,s:b,s:b,s:s?,s:s?}", "attempt_id",
        id, "run", json_object_get(row, "run_id"), "run_number", json_object_get(row, "run_number"),
        "project", json_object_get(row, "project"), "stage", json_object_get(row, "stage"), "kind",
        json_object_get(row, "kind"), "target", json_object_get(row, "target"), "line",
        (json_int_t)where->line, "lines", (json_int_t)where->lines, "text", text, "log",
        where->log > 0 ? t->log[where->log].stage : NULL, "before", before, "before_p", p_before, "after",
        after, "after_p", p_after, "same", same, "speaks", is_heard(with, t->id), "in_force", stated,
        "in_force_by", by);
    if (m)
        json_array_append_new(t->matched, m);
}

static void run(struct ptl_work *w)
{
    struct trial *t = (struct trial *)w;
    const json_t *row = json_array_get(t->rows, t->at);
    PTL_JSON *facts = ptl_core_facts(row);
    PTL_JSON *here = NULL;
    PTL_JSON *there = NULL;
    struct place where, old = {.log = -1};
    w->result = prepare(t);
    if (w->result == 0)
        w->result = look(t, t->alone, t->id, facts, &where);
    if (w->result == 0 && t->replaced)
        w->result = look(t, t->alone, replaced_id, facts, &old);
    if (w->result != 0 || (where.log < 0 && old.log < 0))
        return;
    const struct ptl_kb *now = ptl_core_kb_of(t->now);
    /* One in force that speaks for something is made silent by a fact: no second knowledge base is compiled.
     */
    bool by_fact = !t->other_is_after && json_object_size(json_object_get(t->candidate, "weights"));
    PTL_JSON *silenced = json_copy(facts);
    json_object_set_new(silenced, "silent", json_pack("[s]", t->id));
    if (!by_fact && (w->result = prepare_other(t)) < 0)
        return;
    if ((w->result = answer_of(t, now, facts, &here)) < 0 ||
        (w->result = answer_of(t, by_fact ? now : t->other, by_fact ? silenced : facts, &there)) < 0)
        return;
    /* Lines that other indicators take for noise are not lines it speaks on. */
    if ((w->result = look(t, t->other_is_after ? t->other : now, t->id, facts, &where)) < 0)
        return;
    if (where.log >= 0 || old.log >= 0)
        tell(t, row, where.log >= 0 ? &where : &old, t->other_is_after ? here : there,
             t->other_is_after ? there : here);
}

/* ---- on the loop */
static void next(struct trial *t);
static void read_log(struct trial *t);

static void done(struct ptl_work *w)
{
    struct trial *t = (struct trial *)w;
    if (w->result < 0) {
        if (!t->err.text[0])
            ptl_error_set(&t->err, w->result, "%s",
                          w->result == -ECANCELED ? "the daemon stops" : "out of memory");
        finish(t, w->result);
        return;
    }
    t->scanned++;
    t->at++;
    next(t);
}

static void scan(struct trial *t)
{
    for (int i = 0; i < t->n_logs; i++)
        t->bytes += (int64_t)t->log[i].log.len;
    if (ptl_loop_submit(t->core->loop, &t->work) != 0) {
        json_array_append_new(t->cut, json_string("too much waited for a worker: the rest was not tried"));
        t->more = true;
        finish(t, 0);
    }
}

static void on_log(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct trial *t = ctx;
    struct text *l = &t->log[t->at_log];
    size_t before = l->log.len;
    for (int i = 0; !err && i < ptl_rows_count(rows); i++) {
        size_t len;
        const char *p = ptl_row_bytes(rows, i, "data", &len);
        int64_t at = ptl_row_i64(rows, i, "start_offset"), wanted = l->begin + (int64_t)l->log.len;
        if (p && l->log.len == 0 && at < wanted && at + (int64_t)len > wanted) {
            p += wanted - at;
            len -= (size_t)(wanted - at);
            at = wanted;
        }
        if (p && at == wanted)
            (void)!ptl_buf_add(&l->log, p, len);
    }
    bool whole = l->begin + (int64_t)l->log.len >= l->log_bytes;
    if (err || l->log.failed || (l->log.len == before && !whole && t->at_log == 0 && l->log.len == 0)) {
        t->unread++;
        t->at++;
        next(t);
        return;
    }
    if (l->log.len == before || whole)
        t->at_log++;
    read_log(t);
}

static void on_upstream(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct trial *t = ctx;
    for (int i = 0; !err && i < ptl_rows_count(rows) && t->n_logs <= UPSTREAM_MAX; i++) {
        struct text *l = &t->log[t->n_logs++];
        l->attempt_id = ptl_row_i64(rows, i, "attempt_id");
        l->log_bytes = ptl_row_i64(rows, i, "log_bytes");
        l->stage = ptl_xstrdup(ptl_row_str(rows, i, "stage"));
        l->kind = ptl_xstrdup(ptl_row_str(rows, i, "kind"));
        l->log.max = UPSTREAM_BYTES + (2 << 20);
        l->begin = l->log_bytes > UPSTREAM_BYTES ? l->log_bytes - UPSTREAM_BYTES : 0;
    }
    read_log(t);
}

static void ask(struct trial *t, enum ptl_sql sql, struct ptl_args *a, ptl_rows_fn *fn)
{
    if (ptl_store_query(t->core->store, sql, a, fn, t) != 0) {
        ptl_error_set(&t->err, PTL_FULL, "the database queue is full, try again in a moment");
        finish(t, PTL_FULL);
    }
}

static void read_log(struct trial *t)
{
    struct ptl_args a;
    if (t->at_log >= t->n_logs) {
        scan(t);
        return;
    }
    const struct text *l = &t->log[t->at_log];
    ptl_args_init(&a);
    ptl_args_i64(&a, l->attempt_id);
    ptl_args_i64(&a, l->begin + (int64_t)l->log.len);
    ptl_args_i64(&a, CHUNKS_AT_ONCE);
    ask(t, PTL_SQL_log_read, &a, on_log);
}

static bool is_spent(struct trial *t)
{
    if (atomic_load(&t->core->stopping))
        return true;
    if (t->bytes >= ALL_BYTES)
        json_array_append_new(
            t->cut, json_sprintf("%d MiB of logs were read: the rest was not tried", ALL_BYTES >> 20));
    else if (ptl_mono_ms() >= t->deadline_ms)
        json_array_append_new(t->cut,
                              json_sprintf("%d s are over: the rest was not tried", DEADLINE_MS / 1000));
    else
        return false;
    return true;
}

static void next(struct trial *t)
{
    struct ptl_args a;
    logs_clear(t);
    for (; t->at < json_array_size(t->rows); t->at++) {
        const json_t *row = json_array_get(t->rows, t->at);
        if (t->scanned >= t->limit || is_spent(t)) {
            t->more = true;
            break;
        }
        t->last_id = ptl_json_i64(row, "id", 0);
        if (ptl_json_i64(row, "log_bytes", 0) > LOG_BYTES) {
            t->too_long++;
            continue;
        }
        t->n_logs = 1;
        t->log[0].attempt_id = t->last_id;
        t->log[0].log_bytes = ptl_json_i64(row, "log_bytes", 0);
        t->log[0].log.max = LOG_BYTES + (2 << 20);
        if (ptl_str_eq(ptl_json_str(row, "kind", ""), "export")) {
            read_log(t);
            return;
        }
        ptl_args_init(&a);
        ptl_args_i64(&a, t->last_id);
        ask(t, PTL_SQL_kb_upstream, &a, on_upstream);
        return;
    }
    finish(t, 0);
}

static void on_rows(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct trial *t = ctx;
    if (err) {
        t->err = *err;
        finish(t, err->code);
        return;
    }
    t->rows = ptl_rows_array(rows);
    if ((int64_t)json_array_size(t->rows) > t->limit)
        t->more = true;
    next(t);
}

static const json_t *indicator_in(const struct ptl_kb *kb, const char *id)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(ptl_kb_doc(kb), "indicators"), i,
                       v) if (ptl_str_eq(ptl_json_str(v, "id", ""), id)) return v;
    return NULL;
}

static void texts_arg(struct ptl_args *a, const json_t *list)
{
    const char *v[8];
    size_t n = 0, i;
    const json_t *s;
    json_array_foreach(list, i, s) if (n < PTL_ARRAY_LEN(v) && json_is_string(s)) v[n++] =
        json_string_value(s);
    ptl_args_text_array(a, v, n);
}

void ptl_core_kb_try(struct ptl_core *core, const struct ptl_core_try *what, ptl_core_fn *fn, void *ctx)
{
    struct ptl_core_kb *now = ptl_core_kb_ref(core);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_args a;
    if (!now || core->trying >= TRYING_MAX) {
        ptl_error_set(&err, PTL_FULL, "%s, try again in a moment",
                      now ? "two indicators are being tried already"
                          : "the knowledge base is being compiled");
        ptl_core_kb_unref(now);
        fn(ctx, PTL_FULL, NULL, &err);
        return;
    }
    /* In force as it is: what it does is the difference to a knowledge base without it. Else the difference
     * that it would make. */
    const json_t *in_force = indicator_in(ptl_core_kb_of(now), what->id);
    const json_t *candidate = what->candidate ? what->candidate : what->stored;
    bool as_it_is = in_force && (!what->candidate || json_equal(in_force, what->candidate));
    struct trial *t = ptl_xcalloc(1, sizeof(*t));
    *t = (struct trial){
        .work = {.run = run, .done = done},
          .core = core, .now = now, .fn = fn, .ctx = ctx
    };
    t->candidate = json_deep_copy(as_it_is ? in_force : candidate);
    t->replaced = as_it_is || !in_force ? NULL : json_deep_copy(in_force);
    t->other_is_after = !as_it_is;
    t->id = ptl_xstrdup(what->id);
    t->project = what->project ? ptl_xstrdup(what->project) : NULL;
    t->limit = what->limit;
    t->before = what->before;
    t->deadline_ms = ptl_mono_ms() + DEADLINE_MS;
    t->matched = json_array();
    t->gained = json_array();
    t->lost = json_array();
    t->contradicts = json_array();
    t->cut = json_array();
    core->trying++;
    /* What the scope leaves out need not be read, unless another version of it has another scope. */
    const json_t *scope = t->replaced ? NULL : json_object_get(t->candidate, "scope");
    ptl_args_init(&a);
    if (t->before)
        ptl_args_i64(&a, t->before);
    else
        ptl_args_null(&a);
    ptl_args_i64(&a, t->limit + 1);
    ptl_args_str(&a, t->project);
    texts_arg(&a, json_object_get(scope, "platform"));
    ask(t, PTL_SQL_kb_try_list, &a, on_rows);
}
