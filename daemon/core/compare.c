/* compare.c - a run, or one stage of it, beside the last good one: what the database knows (environment,
 * recipe, agent, figures) and what git knows (commits, files, their difference), the latter on a worker.
 * Reads only; a few at a time, since each holds a worker. */
#include "core-private.h"
#include <portolan/clock.h>

enum { COMPARING_MAX = 4, GIT_MS = 30000 };

struct compare {
    struct ptl_work work;
    struct ptl_core *core;
    ptl_core_fn *fn;
    void *ctx;
    int64_t project_id;
    char *before, *after;
    struct ptl_core_access access;
    struct ptl_core_changes changes;
    json_t *answer;
    struct ptl_error err;
};

static void compare_end(struct compare *c, int result, const struct ptl_error *err)
{
    c->core->comparing--;
    c->fn(c->ctx, result, result == 0 ? c->answer : NULL, err);
    free(c->before);
    free(c->after);
    ptl_core_access_done(&c->access);
    ptl_core_changes_done(&c->changes);
    json_decref(c->answer);
    free(c);
}

static void run(struct ptl_work *w)
{
    struct compare *c = (struct compare *)w;
    int r = ptl_core_changes_look(c->core, c->project_id, &c->access, c->before, c->after, GIT_MS,
                                  &c->changes, &c->err);
    w->result = atomic_load(&c->core->stopping) ? -ECANCELED : r;
}

static void done(struct ptl_work *w)
{
    struct compare *c = (struct compare *)w;
    if (w->result == -ECANCELED) {
        ptl_error_set(&c->err, PTL_FULL, "the daemon is stopping");
        compare_end(c, PTL_FULL, &c->err);
        return;
    }
    if (w->result < 0) /* what the database knows is worth having without it */
        json_array_append_new(c->changes.cuts,
                              json_sprintf("the repository could not be read: %s", c->err.text));
    PTL_FREE char *text = ptl_core_changes_text(&c->changes);
    json_object_set(c->answer, "commits", c->changes.commits);
    json_object_set(c->answer, "files", c->changes.files);
    json_object_set(c->answer, "cuts", c->changes.cuts);
    json_object_set_new(c->answer, "diff", text ? json_string(text) : json_null());
    compare_end(c, 0, NULL);
}

/* "Nothing to compare with", in words; or NULL. */
static const char *nothing(struct ptl_rows *rows, bool asked)
{
    if (ptl_row_null(rows, 0, "with_id"))
        return asked ? "there is no such run of this project to compare with"
               : ptl_row_null(rows, 0, "stage")
                   ? "no run of this project before this one was green (the newest 2000 were looked at)"
                   : "this stage was green in no run before this one (the newest 2000 of the project were looked at)";
    return NULL;
}

static json_t *side(struct ptl_rows *rows, const char *prefix)
{
    static const struct {
        const char *name, *mine, *with;
    } members[] = {
        {"id",         "id",             "with_id"        },
        {"number",     "number",         "with_number"    },
        {"ref",        "ref",            "with_ref"       },
        {"commit",     "commit_sha",     "with_commit"    },
        {"message",    "commit_message", "with_message"   },
        {"attempt_id", "attempt_id",     "with_attempt_id"},
        {"state",      NULL,             "with_state"     },
        {"at",         NULL,             "with_at"        },
    };
    json_t *o = json_object();
    PTL_JSON *row = ptl_row_object(rows, 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(members); i++) {
        const char *column = *prefix ? members[i].with : members[i].mine;
        if (column)
            json_object_set(o, members[i].name, json_object_get(row, column));
    }
    return o;
}

static void on_runs(void *ctx, struct ptl_rows *rows, const struct ptl_error *err)
{
    struct compare *c = ctx;
    if (err) {
        compare_end(c, ptl_core_result_of(err), err);
        return;
    }
    if (ptl_rows_count(rows) == 0) {
        compare_end(c, PTL_ABSENT, NULL);
        return;
    }
    const char *why = nothing(rows, json_is_true(json_object_get(c->answer, "asked")));
    json_object_del(c->answer, "asked");
    const char *stage = ptl_row_null(rows, 0, "stage") ? NULL : ptl_row_str(rows, 0, "stage");
    if (stage && !ptl_row_bool(rows, 0, "has_stage")) {
        ptl_error_set(&c->err, PTL_ABSENT, "this run has no stage %.100s", stage);
        compare_end(c, PTL_ABSENT, &c->err);
        return;
    }
    json_object_set_new(c->answer, "project", json_string(ptl_row_str(rows, 0, "project")));
    json_object_set_new(c->answer, "stage", stage ? json_string(stage) : json_null());
    json_object_set_new(c->answer, "run", side(rows, ""));
    json_object_set_new(c->answer, "with", why ? json_null() : side(rows, "with_"));
    json_object_set_new(c->answer, "why", why ? json_string(why) : json_null());
    json_object_set_new(c->answer, "environment", ptl_row_json(rows, 0, "environment"));
    json_object_set_new(c->answer, "where", ptl_row_json(rows, 0, "where_it_ran"));
    json_object_set_new(c->answer, "figures", ptl_row_json(rows, 0, "figures"));
    json_object_set(c->answer, "commits", c->changes.commits);
    json_object_set(c->answer, "files", c->changes.files);
    json_object_set(c->answer, "cuts", c->changes.cuts);
    json_object_set_new(c->answer, "diff", json_null());
    const char *before =
                   why || ptl_row_null(rows, 0, "with_commit") ? NULL : ptl_row_str(rows, 0, "with_commit"),
               *after = ptl_row_null(rows, 0, "commit_sha") ? NULL : ptl_row_str(rows, 0, "commit_sha");
    if (!before || !after || ptl_str_eq(before, after)) {
        compare_end(c, 0, NULL);
        return;
    }
    c->project_id = ptl_row_i64(rows, 0, "project_id");
    c->before = ptl_xstrdup(before);
    c->after = ptl_xstrdup(after);
    ptl_core_access_read(c->core, rows, 0, &c->access);
    if (ptl_loop_submit(c->core->loop, &c->work) != 0) {
        ptl_error_set(&c->err, PTL_FULL, "too much is being worked on, try again in a moment");
        compare_end(c, PTL_FULL, &c->err);
    }
}

void ptl_core_compare(struct ptl_core *core, int64_t run_id, int64_t with_id, const char *stage,
                      const char *project, ptl_core_fn *fn, void *ctx)
{
    struct compare *c = ptl_xcalloc(1, sizeof(*c));
    struct ptl_args a;
    *c = (struct compare){
        .work = {.run = run, .done = done},
          .core = core, .fn = fn, .ctx = ctx
    };
    ptl_core_changes_init(&c->changes, true);
    c->answer = json_pack("{s:b}", "asked", with_id > 0);
    core->comparing++;
    if (core->comparing > COMPARING_MAX) {
        ptl_error_set(&c->err, PTL_FULL, "%d comparisons are being made already, try again in a moment",
                      COMPARING_MAX);
        compare_end(c, PTL_FULL, &c->err);
        return;
    }
    ptl_args_init(&a);
    ptl_args_i64(&a, run_id);
    ptl_args_i64(&a, with_id);
    ptl_args_str(&a, stage);
    ptl_args_str(&a, project);
    if (ptl_store_query(core->store, PTL_SQL_compare_runs, &a, on_runs, c) != 0) {
        ptl_error_set(&c->err, PTL_FULL, "the database queue is full, try again in a moment");
        compare_end(c, PTL_FULL, &c->err);
    }
}
