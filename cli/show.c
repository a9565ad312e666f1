/* show.c - runs, stages and reports as people read them. Pure: takes the API's JSON, which `portolan exec`
 * makes too. */
#include "cli.h"
#include <math.h>
#include <portolan/clock.h>
#include <portolan/wire.h>

enum { CHALLENGES_SHOWN = 3, EVIDENCE_SHOWN = 4 };

void cli_run_name(const json_t *run, char ret[128])
{
    int64_t number = ptl_json_i64(run, "number", 0);
    if (number > 0)
        snprintf(ret, 128, "%s#%lld", ptl_json_str(run, "project", "run"), (long long)number);
    else
        snprintf(ret, 128, "run %lld", (long long)ptl_json_i64(run, "id", 0));
}

int cli_run_exit(const json_t *run)
{
    enum ptl_run_state state;
    if (ptl_run_state_parse(ptl_json_str(run, "state", ""), &state) < 0 || !ptl_run_state_is_final(state))
        return -1;
    return state == PTL_RUN_GREEN ? CLI_OK : CLI_FAILED;
}

/* How long something took or has been at it; "" when it has not begun. */
static void took(const json_t *o, char ret[32])
{
    int64_t began = cli_time_parse(ptl_json_str(o, "started_at", NULL)),
            ended = cli_time_parse(ptl_json_str(o, "ended_at", NULL));
    int64_t ms = ptl_json_i64(o, "duration_ms", -1);
    ret[0] = 0;
    if (ended >= 0 && ms >= 0) {
        ptl_duration_format(ms, ret);
    } else if (began >= 0) {
        ms = (ended >= 0 ? ended : ptl_wall_ms()) - began;
        ptl_duration_format(ms > 0 ? ms : 0, ret);
    }
}

static void field(struct ptl_buf *b, const char *name, const char *text, int width, bool color)
{
    PTL_FREE char *padded = ptl_xasprintf("%-9s", name);
    PTL_FREE char *clean = cli_clean(text);
    PTL_FREE char *cut = width > 0 ? cli_cut(clean, (size_t)width - 9) : ptl_xstrdup(clean);
    cli_styled(b, CLI_DIM, color, padded);
    ptl_buf_printf(b, "%s\n", cut);
}

void cli_show_head(struct ptl_buf *b, const json_t *run, int width, bool color)
{
    char name[128], time[32], at[32];
    int narrow = cli_run_exit(run) < 0 ? width : 0; /* an open run may be drawn over: no line may wrap */
    const char *state = ptl_json_str(run, "state", "?"), *sha = ptl_json_str(run, "commit_sha", NULL);
    const char *message = ptl_json_str(run, "commit_message", ""),
               *author = ptl_json_str(run, "commit_author", NULL);
    cli_run_name(run, name);
    took(run, time);
    cli_styled(b, CLI_BOLD, color, name);
    if (ptl_json_i64(run, "number", 0) > 0 && ptl_json_i64(run, "id", 0) > 0)
        ptl_buf_printf(b, " (run %lld)", (long long)ptl_json_i64(run, "id", 0));
    ptl_buf_puts(b, "  ");
    cli_styled(b, cli_state_style(state), color, state);
    ptl_buf_printf(b, "%s%s\n", *time ? "  " : "", time);
    if (sha) {
        PTL_FREE char *text = ptl_xasprintf("%.12s  %.*s", sha, (int)strcspn(message, "\n"), message);
        field(b, "commit", text, width, color);
    }
    if (author) {
        PTL_FREE char *text = ptl_xasprintf("%s  %s", author, cli_time_of(run, "commit_at", at));
        field(b, "author", text, width, color);
    }
    if (ptl_json_str(run, "trigger", NULL)) {
        PTL_FREE char *text =
            ptl_xasprintf("%s  by %s (%s)  %s", cli_ref_short(ptl_json_str(run, "ref", "-")),
                          ptl_json_str(run, "created_by", "?"), ptl_json_str(run, "trigger", "?"),
                          cli_time_of(run, "created_at", at));
        field(b, "ref", text, width, color);
    }
    if (ptl_json_str(run, "model", NULL))
        field(b, "model", ptl_json_str(run, "model", ""), width, color);
    if (ptl_json_str(run, "message", NULL))
        field(b, "message", ptl_json_str(run, "message", ""), narrow, color);
    if (ptl_json_str(run, "url", NULL))
        field(b, "url", ptl_json_str(run, "url", ""), narrow, color);
}

/* The worst value of a metric over the outputs of a report: largest error, smallest agreement. Text (nan) is
 * the worst. */
static json_t *worst(const json_t *report, const char *key, bool smallest)
{
    json_t *found = NULL, *o;
    size_t i;
    json_array_foreach(json_object_get(report, "outputs"), i, o)
    {
        json_t *v = json_object_get(o, key);
        if (json_is_string(v))
            return v;
        if (json_is_number(v) && (!found || (smallest ? json_number_value(v) < json_number_value(found)
                                                      : json_number_value(v) > json_number_value(found))))
            found = v;
    }
    return found;
}

static void put_numbers(struct cli_table *t, const json_t *stage, bool *indicative)
{
    const json_t *report = json_object_get(stage, "report"), *metrics = json_object_get(report, "metrics");
    json_t *size = json_object_get(metrics, "artifact_bytes");
    char text[32];
    bool told = ptl_json_flag(json_object_get(report, "runtime"), "indicative_latency", false);
    cli_number(worst(report, "max_abs_error", false), "error", text);
    cli_table_cell(t, CLI_PLAIN, "%s", text);
    cli_number(worst(report, "top1_agreement", true), "share", text);
    cli_table_cell(t, CLI_PLAIN, "%s", text);
    json_t *p95 = json_object_get(metrics, "latency_p95_ms");
    cli_number(p95, "ms", text);
    *indicative |= told && json_is_number(p95);
    cli_table_cell(t, CLI_PLAIN, "%s%s", told && json_is_number(p95) ? "~" : "", text);
    if (!json_is_number(size) && json_number_value(json_object_get(stage, "model_bytes")) > 0)
        size = json_object_get(stage, "model_bytes");
    cli_number(size, "bytes", text);
    cli_table_cell(t, CLI_PLAIN, "%s", text);
}

static const char *remark(const json_t *stage)
{
    const char *state = ptl_json_str(stage, "state", ""), *message = ptl_json_str(stage, "message", NULL);
    if (ptl_str_eq(state, "green"))
        return "";
    if (ptl_str_eq(state, "running") || ptl_str_eq(state, "claimed")) {
        const char *agent = ptl_json_str(stage, "agent_name", NULL);
        return agent ? agent : ptl_json_str(stage, "agent", "");
    }
    if (!message || !*message)
        message = ptl_json_str(stage, "attempt_message", NULL);
    return message ? message : "";
}

void cli_show_stages(struct ptl_buf *b, const json_t *run, int width, bool color)
{
    static const struct cli_column columns[] = {
        {"STAGE",   false, true },
        {"TARGET",  false, true },
        {"STATE",   false, false},
        {"TIME",    true,  false},
        {"MAX ABS", true,  false},
        {"TOP-1",   true,  false},
        {"P95",     true,  false},
        {"SIZE",    true,  false},
        {"ATTEMPT", true,  false},
        {"REMARK",  false, true },
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    bool indicative = false;
    size_t i;
    json_t *stage;
    json_array_foreach(json_object_get(run, "stages"), i, stage)
    {
        const char *state = ptl_json_str(stage, "state", "?");
        char time[32];
        took(stage, time);
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(stage, "name", "?"));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(stage, "target", ""));
        cli_table_cell(t, cli_state_style(state), "%s%s", state,
                       ptl_str_eq(state, "red") && ptl_json_flag(stage, "allow_failure", false) ? " (allowed)"
                                                                                                : "");
        cli_table_cell(t, CLI_PLAIN, "%s", time);
        put_numbers(t, stage, &indicative);
        if (ptl_json_i64(stage, "attempt_id", 0) > 0)
            cli_table_cell(t, CLI_DIM, "%lld", (long long)ptl_json_i64(stage, "attempt_id", 0));
        else
            cli_table_cell(t, CLI_DIM, "-");
        cli_table_cell(t, CLI_DIM, "%s", remark(stage));
    }
    if (cli_table_rows(t) == 0)
        return;
    cli_table_print(t, b, width, color);
    if (indicative)
        ptl_buf_puts(b, "~ indicative: not measured on real hardware of its kind, so not a gate\n");
}

static void put_clean(struct ptl_buf *b, const char *before, const char *text, const char *after)
{
    PTL_FREE char *clean = cli_clean(text);
    ptl_buf_printf(b, "%s%s%s", before, clean, after);
}

static void put_reasons(struct ptl_buf *b, const json_t *reasons, const char *indent)
{
    size_t i;
    json_t *r;
    json_array_foreach(reasons, i, r)
    {
        const char *output = ptl_json_str(r, "output", NULL);
        ptl_buf_printf(b, "%s- ", indent);
        if (output)
            put_clean(b, "", output, ": ");
        put_clean(b, "", json_is_string(r) ? json_string_value(r) : ptl_json_str(r, "text", ""), "");
        if (ptl_json_str(r, "code", NULL))
            put_clean(b, " (", ptl_json_str(r, "code", ""), ")");
        ptl_buf_putc(b, '\n');
    }
}

static void put_quote(struct ptl_buf *b, const json_t *evidence, int width, bool color)
{
    PTL_FREE char *clean = cli_clean(ptl_json_str(evidence, "text", ""));
    PTL_FREE char *quoted = ptl_xasprintf("%s", clean);
    char line[32] = "fact";
    if (ptl_json_i64(evidence, "line", 0) > 0)
        snprintf(line, sizeof(line), "line %lld", (long long)ptl_json_i64(evidence, "line", 0));
    PTL_FREE char *cut = width > 24 ? cli_cut(quoted, (size_t)width - 16) : ptl_xstrdup(quoted);
    ptl_buf_printf(b, "    %-9s | ", line);
    cli_styled(b, CLI_RED, color, cut);
    if (ptl_json_str(evidence, "stage", NULL))
        put_clean(b, "   [", ptl_json_str(evidence, "stage", ""), "]");
    if (ptl_json_str(evidence, "why", NULL)) {
        put_clean(b, "   (", ptl_json_str(evidence, "why", ""), ")");
    }
    ptl_buf_putc(b, '\n');
}

static void put_remedy(struct ptl_buf *b, const json_t *remedy)
{
    size_t i;
    json_t *command;
    if (!json_is_object(remedy))
        return;
    put_clean(b, "           remedy: ", ptl_json_str(remedy, "text", "-"), "\n");
    json_array_foreach(json_object_get(remedy, "commands"), i, command)
    {
        put_clean(b, "             $ ", json_is_string(command) ? json_string_value(command) : "", "\n");
    }
}

/* The likeliest challenges with their chance and what helps against the first one. */
static void put_challenges(struct ptl_buf *b, const json_t *challenges, bool color)
{
    size_t i;
    json_t *c;
    json_array_foreach(challenges, i, c)
    {
        char chance[32];
        const char *path = ptl_json_str(c, "path", NULL), *from = ptl_json_str(c, "came_in", NULL);
        if (i == CHALLENGES_SHOWN)
            break;
        snprintf(chance, sizeof(chance), "%.0f %%", 100 * ptl_json_num(c, "probability", 0));
        ptl_buf_printf(b, "    %6s ", chance);
        PTL_FREE char *name = cli_clean(path ? path : ptl_json_str(c, "id", "?"));
        cli_styled(b, i == 0 ? CLI_BOLD : CLI_PLAIN, color, name);
        if (path)
            put_clean(b, "  (", ptl_json_str(c, "id", "?"), ")");
        if (from)
            put_clean(b, ", came in at ", from, "");
        ptl_buf_putc(b, '\n');
        if (i == 0)
            put_remedy(b, json_object_get(c, "remedy"));
    }
}

static void put_words(struct ptl_buf *b, const char *title, const json_t *list)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) == 0)
        return;
    ptl_buf_puts(b, title);
    json_array_foreach(list, i, v)
    {
        put_clean(b, i ? "; " : "", json_is_string(v) ? json_string_value(v) : "?", "");
    }
    ptl_buf_putc(b, '\n');
}

static void put_diagnosis(struct ptl_buf *b, const json_t *stage, bool all, int width, bool color)
{
    const json_t *d = json_object_get(stage, "diagnosis");
    const char *state = ptl_json_str(stage, "diagnosis_state", "none");
    size_t i;
    json_t *e;
    if (ptl_str_eq(state, "pending"))
        ptl_buf_puts(b, "  diagnosis: being made; ask again in a moment\n");
    else if (ptl_str_eq(state, "failed"))
        ptl_buf_puts(b, "  diagnosis: failed itself; the log is complete all the same\n");
    if (!json_is_object(d))
        return;
    put_clean(b, "  diagnosis: ", ptl_json_str(d, "summary", "unclear"), "");
    if (ptl_str_eq(ptl_json_str(d, "verdict", ""), "unclear"))
        ptl_buf_puts(b, " [unclear]");
    if (ptl_json_flag(d, "transient", false))
        ptl_buf_puts(b, " [may pass when tried again]");
    ptl_buf_putc(b, '\n');
    put_challenges(b, json_object_get(d, "challenges"), color);
    const json_t *evidence = json_object_get(d, "evidence");
    json_array_foreach(evidence, i, e)
    {
        if (all || i < EVIDENCE_SHOWN)
            put_quote(b, e, width, color);
    }
    if (!all && json_array_size(evidence) > EVIDENCE_SHOWN)
        ptl_buf_printf(b, "    %zu more lines: portolan why\n", json_array_size(evidence) - EVIDENCE_SHOWN);
    put_words(b, "    nearest: ", json_object_get(d, "nearest"));
    put_words(b, "    would decide: ", json_object_get(d, "decide"));
    put_words(b, "    not looked at: ", json_object_get(d, "cuts"));
}

/* What a person said of it: the answer in force, whatever the diagnosis says. */
static void put_people(struct ptl_buf *b, const json_t *stage)
{
    const char *challenge = ptl_json_str(stage, "challenge_id", NULL);
    const json_t *words = json_object_get(stage, "feedback");
    size_t i;
    json_t *f = NULL;
    if (!ptl_str_eq(ptl_json_str(stage, "challenge_by", NULL), "person"))
        return;
    json_array_foreach(words, i, f) if (ptl_json_flag(f, "in_force", false)) break;
    put_clean(b, "  in force: ", challenge ? challenge : "no deployment challenge", ", ");
    put_clean(b, "said by ", i < json_array_size(words) ? ptl_json_str(f, "by_name", "a person") : "a person",
              "");
    if (i < json_array_size(words) && ptl_json_str(f, "comment", NULL))
        put_clean(b, ": ", ptl_json_str(f, "comment", ""), "");
    ptl_buf_putc(b, '\n');
}

static void put_retry(struct ptl_buf *b, const json_t *stage)
{
    const char *why = ptl_json_str(json_object_get(stage, "retry"), "why", NULL);
    if (why)
        put_clean(b, "  retry: ", why, "\n");
    else if (ptl_str_eq(ptl_json_str(stage, "state", ""), "deciding"))
        ptl_buf_puts(b, "  retry: the diagnosis decides\n");
}

/* What others were answered: only where the caller asked for it. */
static void put_help(struct ptl_buf *b, const json_t *stage)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(stage, "known_cases"), i, v)
    {
        put_clean(b, "  answered: ", ptl_json_str(v, "title", "?"), "");
        put_clean(b, "  ", ptl_json_str(v, "url", ""), "\n");
    }
}

void cli_show_red(struct ptl_buf *b, const json_t *stage, bool all, int width, bool color)
{
    const char *message = ptl_json_str(stage, "attempt_message", NULL),
               *name = ptl_json_str(stage, "name", "?");
    int64_t attempt = ptl_json_i64(stage, "attempt_id", 0);
    if (!message || !*message)
        message = ptl_json_str(stage, "message", "");
    PTL_FREE char *title = cli_clean(name);
    ptl_buf_putc(b, '\n');
    cli_styled(b, CLI_RED, color, title);
    put_clean(b, *message ? ": " : "", message, "\n");
    put_diagnosis(b, stage, all, width, color);
    put_people(b, stage);
    put_retry(b, stage);
    put_help(b, stage);
    put_reasons(b, json_object_get(json_object_get(stage, "report"), "reasons"), "  ");
    if (attempt <= 0)
        return;
    ptl_buf_printf(b, "  next: portolan logs %lld", (long long)attempt);
    if (json_is_object(json_object_get(stage, "report")))
        ptl_buf_printf(b, "; portolan report %lld", (long long)attempt);
    ptl_buf_printf(b, "; portolan reproduce %lld\n", (long long)attempt);
}

/* ---- reports ---- */

static void put_outputs(struct ptl_buf *b, const json_t *outputs, int width, bool color)
{
    static const struct cli_column columns[] = {
        {"OUTPUT",   false, true },
        {"VERDICT",  false, false},
        {"DTYPE",    false, false},
        {"SHAPE",    false, false},
        {"MAX ABS",  true,  false},
        {"MAX REL",  true,  false},
        {"MEAN ABS", true,  false},
        {"RMSE",     true,  false},
        {"COSINE",   true,  false},
        {"TOP-1",    true,  false},
        {"OUTSIDE",  true,  false},
    };
    static const struct {
        const char *key, *kind;
    } numbers[] = {
        {"max_abs_error",  "error" },
        {"max_rel_error",  "error" },
        {"mean_abs_error", "error" },
        {"rmse",           "error" },
        {"cosine",         "cosine"},
        {"top1_agreement", "share" }
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    size_t i, k;
    json_t *o, *v;
    json_array_foreach(outputs, i, o)
    {
        char text[32];
        const char *verdict = ptl_json_str(o, "verdict", "?");
        PTL_BUF shape = PTL_BUF_MAX(200);
        json_array_foreach(json_object_get(o, "shape"), k, v)
            ptl_buf_printf(&shape, "%s%lld", k ? "x" : "", (long long)json_integer_value(v));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "name", "?"));
        cli_table_cell(t, cli_state_style(verdict), "%s", verdict);
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(o, "dtype", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_buf_str(&shape));
        for (k = 0; k < PTL_ARRAY_LEN(numbers); k++) {
            cli_number(json_object_get(o, numbers[k].key), numbers[k].kind, text);
            cli_table_cell(t, CLI_PLAIN, "%s", text);
        }
        if (json_is_integer(json_object_get(o, "elements")))
            cli_table_cell(t, CLI_PLAIN, "%lld of %lld", (long long)ptl_json_i64(o, "mismatched", 0),
                           (long long)ptl_json_i64(o, "elements", 0));
        else
            cli_table_cell(t, CLI_PLAIN, "-");
    }
    if (cli_table_rows(t))
        cli_table_print(t, b, width, color);
}

static void put_worst(struct ptl_buf *b, const json_t *o)
{
    const json_t *w = json_object_get(o, "worst");
    char expected[32], got[32];
    size_t i;
    json_t *v;
    if (!json_is_object(w) || json_equal(json_object_get(w, "expected"), json_object_get(w, "got")))
        return;
    put_clean(b, "  worst of ", ptl_json_str(o, "name", "?"), "[");
    json_array_foreach(json_object_get(w, "index"), i, v)
        ptl_buf_printf(b, "%s%lld", i ? ", " : "", (long long)json_integer_value(v));
    cli_number(json_object_get(w, "expected"), "error", expected);
    cli_number(json_object_get(w, "got"), "error", got);
    ptl_buf_printf(b, "]: expected %s, got %s\n", expected, got);
}

static const char *unit_of(const char *name)
{
    return ptl_str_ends(name, "_bytes") || strstr(name, "size") || strstr(name, "memory") ? "bytes" : "ms";
}

static void put_budgets(struct ptl_buf *b, const json_t *budgets, int width, bool color)
{
    static const struct cli_column columns[] = {
        {"BUDGET",   false, true },
        {"VERDICT",  false, false},
        {"LIMIT",    true,  false},
        {"MEASURED", true,  false},
        {"",         false, false}
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    size_t i;
    json_t *v;
    json_array_foreach(budgets, i, v)
    {
        const char *name = ptl_json_str(v, "name", "?"), *verdict = ptl_json_str(v, "verdict", "?");
        char limit[32], measured[32];
        cli_number(json_object_get(v, "limit"), unit_of(name), limit);
        cli_number(json_object_get(v, "measured"), unit_of(name), measured);
        cli_table_cell(t, CLI_PLAIN, "%s", name);
        cli_table_cell(t, cli_state_style(verdict), "%s", verdict);
        cli_table_cell(t, CLI_PLAIN, "%s", limit);
        cli_table_cell(t, CLI_PLAIN, "%s", measured);
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_flag(v, "indicative", false) ? "indicative" : "");
    }
    if (cli_table_rows(t)) {
        ptl_buf_putc(b, '\n');
        cli_table_print(t, b, width, color);
    }
}

static void put_against(struct ptl_buf *b, const json_t *list, int width, bool color)
{
    static const struct cli_column columns[] = {
        {"AGAINST LAST GOOD", false, true },
        {"BEFORE",            true,  false},
        {"NOW",               true,  false},
        {"CHANGE",            true,  false}
    };
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        const char *name = ptl_json_str(v, "name", "?");
        char before[32], now[32];
        cli_number(json_object_get(v, "before"), unit_of(name), before);
        cli_number(json_object_get(v, "now"), unit_of(name), now);
        cli_table_cell(t, CLI_PLAIN, "%s", name);
        cli_table_cell(t, CLI_PLAIN, "%s", before);
        cli_table_cell(t, CLI_PLAIN, "%s", now);
        if (json_is_number(json_object_get(v, "change_pct")))
            cli_table_cell(t, CLI_PLAIN, "%+.1f %%", ptl_json_num(v, "change_pct", 0));
        else
            cli_table_cell(t, CLI_PLAIN, "-");
    }
    if (cli_table_rows(t)) {
        ptl_buf_putc(b, '\n');
        cli_table_print(t, b, width, color);
    }
}

static void put_metrics(struct ptl_buf *b, const json_t *report)
{
    static const struct {
        const char *key, *title, *kind;
    } list[] = {
        {"load_ms",           "load",        "ms"   },
        {"first_ms",          "first",       "ms"   },
        {"latency_p50_ms",    "p50",         "ms"   },
        {"latency_p95_ms",    "p95",         "ms"   },
        {"peak_memory_bytes", "peak memory", "bytes"},
        {"artifact_bytes",    "model",       "bytes"}
    };
    const json_t *metrics = json_object_get(report, "metrics"), *runtime = json_object_get(report, "runtime");
    char text[32];
    if (ptl_json_str(runtime, "name", NULL)) {
        put_clean(b, "on ", ptl_json_str(runtime, "name", ""), " ");
        put_clean(b, "", ptl_json_str(runtime, "version", ""), "");
        if (ptl_json_str(runtime, "backend", NULL))
            put_clean(b, ", backend ", ptl_json_str(runtime, "backend", ""), "");
        if (ptl_json_str(runtime, "device", NULL))
            put_clean(b, ", ", ptl_json_str(runtime, "device", ""), "");
        ptl_buf_puts(b, ptl_json_flag(runtime, "indicative_latency", false) ? "; latency is indicative\n"
                                                                            : "\n");
    }
    bool any = false;
    for (size_t i = 0; i < PTL_ARRAY_LEN(list); i++) {
        const json_t *v = json_object_get(metrics, list[i].key);
        if (!json_is_number(v))
            continue;
        cli_number(v, list[i].kind, text);
        ptl_buf_printf(b, "%s%s %s", any ? ", " : "", list[i].title, text);
        any = true;
    }
    if (any)
        ptl_buf_putc(b, '\n');
}

void cli_show_report(struct ptl_buf *b, const json_t *report, int width, bool color)
{
    const char *verdict = ptl_json_str(report, "verdict", "?");
    char atol[32], rtol[32];
    size_t i;
    json_t *o;
    PTL_FREE char *shown = cli_clean(verdict);
    cli_styled(b, cli_state_style(verdict), color, shown);
    ptl_buf_printf(b, ": %lld samples", (long long)ptl_json_i64(report, "samples", 0));
    put_clean(b, ", precision ", ptl_json_str(report, "precision", "?"), "");
    put_clean(b, ", outputs matched by ", ptl_json_str(report, "matched_by", "?"), "\n");
    if (json_is_number(json_object_get(report, "atol"))) {
        cli_number(json_object_get(report, "atol"), "error", atol);
        cli_number(json_object_get(report, "rtol"), "error", rtol);
        put_clean(b, "rule ", ptl_json_str(report, "rule", "?"), "");
        ptl_buf_printf(b, ", atol %s, rtol %s\n", atol, rtol);
    }
    put_metrics(b, report);
    put_reasons(b, json_object_get(report, "reasons"), "  ");
    ptl_buf_putc(b, '\n');
    put_outputs(b, json_object_get(report, "outputs"), width, color);
    json_array_foreach(json_object_get(report, "outputs"), i, o) put_worst(b, o);
    put_budgets(b, json_object_get(report, "budgets"), width, color);
    put_against(b, json_object_get(report, "against_last_good"), width, color);
    put_reasons(b, json_object_get(report, "notes"), "note ");
}
