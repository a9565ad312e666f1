/* answer.c - the facts of an attempt as lines beside its log, the whole way of a diagnosis, and its answer as
 * JSON: a sentence with captured names filled in, quoted lines with their places, what to do, and when
 * nothing is sure, what would decide. */
#include "bands.h"
#include "kb-private.h"
#include "template.h"
#include <ctype.h>
#include <stdio.h>

enum {
    CHALLENGES_MAX = 8,
    EVIDENCE_MAX = 12,
    RANKED_MAX = 10,
    QUOTE_MAX = 400,
    SHAPE_LINES_MAX = 4000,
    SHAPES_KEPT = 8
};

/* ---- facts as lines: patterns of migrations/kb begin them with \x01 */
static int differences(struct ptl_kb_text *t, const json_t *there, const json_t *here)
{
    const char *tool;
    json_t *v;
    int r = 0;
    json_object_foreach((json_t *)there, tool, v)
    {
        const char *a = json_string_value(v), *b = ptl_json_str(here, tool, NULL);
        if (r == 0 && a && b && strcmp(a, b) != 0)
            r = ptl_kb_text_fact(t, "environment: %s export=%s here=%s", tool, a, b);
    }
    return r;
}

static int add_facts(struct ptl_kb_text *t, const json_t *facts)
{
    const char *end = ptl_json_str(facts, "end_reason", NULL),
               *message = ptl_json_str(facts, "message", NULL);
    const json_t *report = json_object_get(facts, "report"), *v, *x;
    size_t i, k;
    int r = 0;
    if (end && strcmp(end, "signal") == 0)
        r = ptl_kb_text_fact(t, "end: signal %d", (int)ptl_json_i64(facts, "signal", 0));
    else if (end && strcmp(end, "exit") == 0)
        r = ptl_kb_text_fact(t, "end: exit %d", (int)ptl_json_i64(facts, "exit_code", 0));
    else if (end)
        r = ptl_kb_text_fact(t, "end: %s", end);
    if (r == 0 && message && *message)
        r = ptl_kb_text_fact(t, "message: %s", message);
    if (r == 0 && report)
        r = ptl_kb_text_fact(t, "report: %s precision=%s", ptl_json_str(report, "verdict", "?"),
                             ptl_json_str(report, "precision", "?"));
    json_array_foreach(json_object_get(report, "reasons"), i, v) if (r == 0) r =
        ptl_kb_text_fact(t, "reason: %s: %s", ptl_json_str(v, "code", "?"), ptl_json_str(v, "text", ""));
    json_array_foreach(json_object_get(report, "outputs"), i,
                       v) if (!ptl_str_eq(ptl_json_str(v, "verdict", ""), "green"))
    {
        json_array_foreach(json_object_get(v, "reasons"), k, x) if (r == 0) r =
            ptl_kb_text_fact(t, "reason: %s: output %s: %s", ptl_json_str(x, "code", "?"),
                             ptl_json_str(v, "name", "?"), ptl_json_str(x, "text", ""));
        double cosine = ptl_json_num(v, "cosine", 2);
        if (r == 0 && cosine <= 1)
            r = ptl_kb_text_fact(t, "compared: output %s cosine=%.4f top1=%.3f", ptl_json_str(v, "name", "?"),
                                 cosine, ptl_json_num(v, "top1_agreement", -1));
    }
    json_array_foreach(json_object_get(report, "budgets"), i,
                       v) if (r == 0 && !ptl_str_eq(ptl_json_str(v, "verdict", ""), "green")) r =
        ptl_kb_text_fact(t, "budget: %s: %s", ptl_json_str(v, "name", "?"), ptl_json_str(v, "text", ""));
    json_array_foreach(json_object_get(facts, "warnings"), i, v) if (r == 0 && json_is_string(v)) r =
        ptl_kb_text_fact(t, "warning: %s", json_string_value(v));
    json_array_foreach(json_object_get(facts, "preflight"), i, v) if (r == 0) r =
        ptl_kb_text_fact(t, "preflight: %s %s: %s", ptl_json_str(v, "severity", "?"),
                         ptl_json_str(v, "rule", "?"), ptl_json_str(v, "message", ""));
    if (r == 0)
        r = differences(t, json_object_get(facts, "export_environment"),
                        json_object_get(facts, "environment"));
    return r;
}

/* ---- words */
/* Fills {name} and {name|otherwise}. Caller frees. */
static char *fill(const char *template, const json_t *names)
{
    struct ptl_buf b = PTL_BUF_MAX(4000);
    for (const char *p = template; *p;) {
        size_t n = strcspn(p, "{");
        ptl_buf_add(&b, p, n);
        p += n;
        if (!*p)
            break;
        const char *end = strchr(p, '}'), *bar = memchr(p, '|', end ? (size_t)(end - p) : 0);
        if (!end) {
            ptl_buf_puts(&b, p);
            break;
        }
        const char *stop = bar ? bar : end;
        PTL_FREE char *name = strndup(p + 1, (size_t)(stop - p - 1));
        const char *value = name ? ptl_json_str(names, name, NULL) : NULL;
        if (value && *value)
            ptl_buf_puts(&b, value);
        else if (bar)
            ptl_buf_add(&b, bar + 1, (size_t)(end - bar - 1));
        else
            ptl_buf_puts(&b, "…");
        p = end + 1;
    }
    char *text = ptl_buf_take(&b, NULL);
    return text ? text : ptl_xstrdup("");
}

static json_t *names_of(const struct ptl_kb *kb, const struct scan *s, const struct weighing *w,
                        struct evidence *e)
{
    json_t *names = json_object();
    const char *platform = kb_platform_names[w->at.platform], *stage = kb_stage_names[w->at.stage];
    json_object_set_new(names, "platform", json_string(platform ? platform : "target"));
    json_object_set_new(names, "stage", json_string(stage ? stage : "stage"));
    PTL_FREE char *tool = ptl_json_text_utf8(w->at.tool, strlen(w->at.tool));
    json_object_set_new(names, "tool", json_string(*tool ? tool : "the tool"));
    kb_captures(kb, s, &kb->ind[e->indicator], e->line, names, &e->span);
    return names;
}

static json_t *path_of(const struct ptl_kb *kb, int node)
{
    const char *titles[4];
    int n = 0;
    PTL_BUF b = PTL_BUF_INIT;
    for (int i = node; i >= 0 && n < 4; i = kb->nodes[i].parent)
        titles[n++] = ptl_json_str(kb->nodes[i].json, "title", "");
    while (n-- > 0)
        ptl_buf_printf(&b, "%s%s", titles[n], n ? " \xe2\x80\xba " : "");
    return json_string(ptl_buf_str(&b));
}

static json_t *quote(const struct scan *s, uint32_t line, size_t *ret_from)
{
    const struct ptl_kb_line *l = &s->text.lines[line];
    const char *p = ptl_kb_line_text(&s->text, l);
    size_t from = l->flags & LINE_FACT ? 1 : 0;
    while (from < l->len && p[from] == ' ')
        from++;
    size_t n = l->len - from;
    *ret_from = from;
    PTL_FREE char *text = ptl_json_text_utf8(p + from, n < QUOTE_MAX ? n : QUOTE_MAX);
    return json_string(text);
}

static const char *stage_name(const struct ptl_kb_log *logs, size_t n_logs, const struct ptl_kb_line *l)
{
    return l->source < n_logs ? logs[l->source].stage : NULL;
}

/* ---- evidence */
static json_t *evidence_json(const struct ptl_kb *kb, const struct ptl_kb_log *logs, size_t n_logs,
                             const struct scan *s, const struct weighing *w, struct evidence *e)
{
    const struct ptl_kb_line *l = &s->text.lines[e->line];
    size_t from;
    const char *stage = stage_name(logs, n_logs, l);
    PTL_FREE char *why = NULL;
    PTL_JSON *names = NULL;
    if (e->indicator >= 0) {
        names = names_of(kb, s, w, e);
        why = fill(ptl_json_str(kb->ind[e->indicator].json, "summary", ""), names);
    }
    json_t *text = quote(s, e->line, &from);
    json_t *j = json_pack("{s:I,s:I,s:I,s:o,s:f,s:s,s:s?,s:s?}", "line", (json_int_t)l->number, "offset",
                          (json_int_t)l->offset, "length", (json_int_t)l->length, "text", text, "score",
                          (double)(int)(e->strength * 1000 + 0.5) / 1000, "why", why ? why : e->why,
                          "indicator", e->indicator >= 0 ? kb->ind[e->indicator].id : NULL, "stage", stage);
    if (j && names) { /* what the indicator captured: the operator, versions, shapes */
        static const char *const always[] = {"platform", "stage", "tool"};
        for (size_t i = 0; i < PTL_ARRAY_LEN(always); i++)
            json_object_del(names, always[i]);
        if (json_object_size(names))
            json_object_set(j, "names", names);
    }
    if (j && e->indicator >= 0 && e->span.end > e->span.start && e->span.start >= (int)from) {
        json_object_set_new(j, "start", json_integer(e->span.start - (int)from));
        json_object_set_new(j, "end", json_integer(e->span.end - (int)from));
    }
    return j;
}

/* The most specific lines by shape, best first; what was found earlier wins among equals. */
static int shapes(const struct scan *s, struct evidence *best)
{
    int n = 0, looked = 0;
    bool chained = false;
    for (size_t i = 0; i < s->text.n && looked < SHAPE_LINES_MAX; i++) {
        const struct ptl_kb_line *l = &s->text.lines[i];
        const char *why = NULL;
        chained = chained || l->flags & 1 << MARK_CHAIN;
        if ((l->flags & (LINE_GENERIC | LINE_BENIGN | LINE_FACT)) ||
            !(l->flags & (1 << MARK_ERROR | 1 << MARK_EXCEPTION)) || l->source > 0)
            continue;
        looked++;
        double score = ptl_kb_shape(ptl_kb_line_text(&s->text, l), l->len, &why);
        if (score <= 0)
            continue;
        score -= (chained ? 0.15 : 0) + 0.002 * n;
        bool said = false;
        for (int k = 0; k < n; k++) {
            const struct ptl_kb_line *o = &s->text.lines[best[k].line];
            said = said || (o->len == l->len && memcmp(ptl_kb_line_text(&s->text, o),
                                                       ptl_kb_line_text(&s->text, l), l->len) == 0);
        }
        if (said || (n == SHAPES_KEPT && best[n - 1].strength >= score))
            continue;
        int at = n < SHAPES_KEPT ? n++ : SHAPES_KEPT - 1;
        for (; at > 0 && best[at - 1].strength < score; at--)
            best[at] = best[at - 1];
        best[at] = (struct evidence){.indicator = -1, .line = (uint32_t)i, .strength = score, .why = why};
    }
    return n;
}

struct shown {
    json_t *list;
    int of[512]; /* evidence of the weighing -> index in list + 1 */
    uint32_t lines[EVIDENCE_MAX];
    int n;
};

static int show(const struct ptl_kb *kb, const struct ptl_kb_log *logs, size_t n_logs, const struct scan *s,
                const struct weighing *w, struct shown *sh, int ev)
{
    if (ev < (int)PTL_ARRAY_LEN(sh->of) && sh->of[ev])
        return sh->of[ev] - 1;
    if (sh->n == EVIDENCE_MAX || ev >= (int)PTL_ARRAY_LEN(sh->of))
        return -1;
    json_array_append_new(sh->list, evidence_json(kb, logs, n_logs, s, w, &w->ev[ev]));
    sh->lines[sh->n] = w->ev[ev].line;
    sh->of[ev] = ++sh->n;
    return sh->n - 1;
}

static void show_shapes(const struct ptl_kb *kb, const struct ptl_kb_log *logs, size_t n_logs,
                        const struct scan *s, const struct weighing *w, struct shown *sh)
{
    struct evidence best[SHAPES_KEPT];
    int n = shapes(s, best);
    for (int i = 0; i < n && sh->n < EVIDENCE_MAX; i++) {
        bool there = false;
        for (int k = 0; k < sh->n; k++)
            there = there || sh->lines[k] == best[i].line;
        if (there)
            continue;
        best[i].strength *= sh->n ? 0.5 : 1;
        json_array_append_new(sh->list, evidence_json(kb, logs, n_logs, s, w, &best[i]));
        sh->lines[sh->n++] = best[i].line;
    }
}

/* ---- what failures of this kind have in common */
enum { PRINTED_MAX = 3 };

/* The lines that say most, whatever the ranking is: neither the prior nor what people said may change what a
 * failure is alike to. */
static size_t print_lines(const struct scan *s, const struct weighing *w, struct evidence *ret)
{
    struct evidence shape[SHAPES_KEPT];
    size_t n = 0;
    int n_shape;
    for (int i = 0; i < w->n_ev; i++) {
        const struct evidence *e = &w->ev[i];
        size_t at = 0;
        if (s->text.lines[e->line].flags & LINE_FACT)
            continue;
        for (size_t k = 0; k < n; k++)
            if (ret[k].line == e->line) /* several indicators on one line: the strongest stands for it */
                at = ret[k].strength >= e->strength ? SIZE_MAX : k + 1;
        if (at == SIZE_MAX)
            continue;
        if (at)
            ret[at - 1] = *e;
        else if (n < PRINTED_MAX)
            ret[n++] = *e;
        else if (ret[n - 1].strength < e->strength)
            ret[n - 1] = *e;
        for (size_t k = n; k-- > 1;)
            for (size_t j = k;
                 j > 0 && (ret[j].strength > ret[j - 1].strength ||
                           (ret[j].strength >= ret[j - 1].strength && ret[j].line < ret[j - 1].line));
                 j--) {
                struct evidence x = ret[j];
                ret[j] = ret[j - 1];
                ret[j - 1] = x;
            }
    }
    if (n == 0 && (n_shape = shapes(s, shape)) > 0)
        ret[n++] = shape[0];
    return n;
}

static void put_fingerprint(const struct scan *s, const struct weighing *w, const char *ended, json_t *answer)
{
    struct evidence best[PRINTED_MAX];
    char *templates[PRINTED_MAX] = {0}, print[PTL_KB_FINGERPRINT_HEX];
    size_t n = print_lines(s, w, best);
    for (size_t i = 0; i < n; i++)
        templates[i] = ptl_kb_template(ptl_kb_line_text(&s->text, &s->text.lines[best[i].line]),
                                       s->text.lines[best[i].line].len);
    if (n == 0 && ended) { /* no line speaks: how it ended does */
        templates[0] = ptl_kb_template(ended, strlen(ended));
        n = 1;
    }
    ptl_kb_fingerprint((const char *const *)templates, n, print);
    json_object_set_new(answer, "template", json_string(n && templates[0] ? templates[0] : ""));
    json_object_set_new(answer, "fingerprint", *print ? json_string(print) : json_null());
    for (size_t i = 0; i < n; i++)
        free(templates[i]);
}

/* ---- challenges */
static json_t *remedy_of(const struct ptl_kb *kb, const struct indicator *in, const char *node,
                         const json_t *names)
{
    const json_t *remedy = in ? json_object_get(in->json, "remedy") : NULL, *v;
    size_t i;
    if (remedy) {
        PTL_FREE char *text = fill(ptl_json_str(remedy, "text", ""), names);
        json_t *j = json_pack("{s:s,s:[]}", "text", text, "commands");
        json_array_foreach(json_object_get(remedy, "commands"), i, v)
        {
            PTL_FREE char *command = fill(json_string_value(v), names);
            json_array_append_new(json_object_get(j, "commands"), json_string(command));
        }
        return j;
    }
    const json_t *entry = json_object_get(kb->entries, node),
                 *first = json_array_get(json_object_get(entry, "remedies"), 0);
    if (!first)
        return json_null();
    const json_t *commands = json_object_get(first, "commands");
    return json_pack("{s:s,s:o}", "text", ptl_json_str(first, "text", ""), "commands",
                     commands ? json_deep_copy(commands) : json_array());
}

static json_t *tri(int v)
{
    return v < 0 ? json_null() : json_boolean(v);
}

static int transient_of(const struct ptl_kb *kb, const struct weighing *w, const struct candidate *c)
{
    for (int k = 0; k < c->n_by; k++) {
        const struct indicator *in = &kb->ind[w->ev[c->by[k].evidence].indicator];
        if (in->role == ROLE_CAUSE && in->transient >= 0)
            return in->transient;
    }
    return kb->nodes[c->node].transient;
}

/* Which of a candidate's evidence the sentence is made of: the strongest; or one hardly weaker that names
 * what the log names, where the strongest has only general words. */
static int spokesman(const struct ptl_kb *kb, const struct weighing *w, const struct candidate *c)
{
    for (int k = 0; k < c->n_by && c->by[k].s >= 0.8 * c->by[0].s; k++)
        if (strchr(ptl_json_str(kb->ind[w->ev[c->by[k].evidence].indicator].json, "summary", ""), '{'))
            return k;
    return 0;
}

static json_t *challenge_json(const struct ptl_kb *kb, const struct ptl_kb_log *logs, size_t n_logs,
                              const struct scan *s, const struct weighing *w, struct shown *sh,
                              const struct candidate *c)
{
    const struct node *n = &kb->nodes[c->node];
    const json_t *entry = json_object_get(kb->entries, n->id);
    json_t *indicators = json_array(), *evidence = json_array(), *remedy, *came_in = json_null();
    PTL_FREE char *summary = NULL;
    for (int k = 0; k < c->n_by; k++) {
        struct evidence *e = &w->ev[c->by[k].evidence];
        int index = show(kb, logs, n_logs, s, w, sh, c->by[k].evidence);
        json_array_append_new(indicators, json_string(kb->ind[e->indicator].id));
        if (index >= 0)
            json_array_append_new(evidence, json_integer(index));
    }
    if (c->n_by) {
        struct evidence *e = &w->ev[c->by[spokesman(kb, w, c)].evidence];
        PTL_JSON *names = names_of(kb, s, w, e);
        const char *stage = stage_name(logs, n_logs, &s->text.lines[e->line]);
        summary = fill(ptl_json_str(kb->ind[e->indicator].json, "summary", ""), names);
        remedy = remedy_of(kb, &kb->ind[e->indicator], n->id, names);
        if (stage) {
            json_decref(came_in);
            came_in = json_string(stage);
        }
    } else {
        summary = ptl_xasprintf(
            "the words of this log are those of past failures of this kind; no indicator names the cause");
        remedy = remedy_of(kb, NULL, n->id, NULL);
    }
    return json_pack("{s:s,s:o,s:f,s:s,s:o,s:o,s:o,s:o,s:s?,s:o}", "id", n->id, "path", path_of(kb, c->node),
                     "probability", (double)(int)(c->p * 10000 + 0.5) / 10000, "summary", summary,
                     "transient", tri(transient_of(kb, w, c)), "indicators", indicators, "evidence", evidence,
                     "remedy", remedy, "about", ptl_json_str(entry, "about", NULL), "came_in", came_in);
}

static json_t *ranked_json(const struct ptl_kb *kb, const struct scan *s, const struct weighing *w)
{
    json_t *list = json_array();
    for (int i = 0; i < w->n_cand && i < RANKED_MAX; i++) {
        const struct candidate *c = &w->cand[i];
        json_t *quotes = json_array();
        for (int k = 0; k < c->n_by && k < 3; k++) {
            size_t from;
            uint32_t line = w->ev[c->by[k].evidence].line;
            json_t *text = quote(s, line, &from);
            json_array_append_new(
                quotes, s->text.lines[line].number
                            ? json_sprintf("%u: %s", s->text.lines[line].number, json_string_value(text))
                            : json_incref(text));
            json_decref(text);
        }
        json_array_append_new(list, json_pack("{s:s,s:f,s:o}", "id", kb->nodes[c->node].id, "p",
                                              (double)(int)(c->p * 10000 + 0.5) / 10000, "evidence", quotes));
    }
    return list;
}

/* How it ended, in words: for what no candidate explains better. Caller frees; NULL: nothing to say. */
static char *how_it_ended(const json_t *facts, int *ret_transient)
{
    const char *reason = ptl_json_str(facts, "end_reason", ""),
               *message = ptl_json_str(facts, "message", NULL);
    const char *colon = message && *message ? ": " : "";
    *ret_transient = -1;
    if (!message)
        message = "";
    if (strcmp(reason, "oom") == 0) {
        *ret_transient = 0;
        return ptl_xstrdup("it was killed for memory: its cgroup counted an out-of-memory kill");
    }
    if (strcmp(reason, "timeout") == 0)
        return ptl_xasprintf("it ran out of time%s%s", colon, message);
    if (strcmp(reason, "agent_lost") == 0) {
        *ret_transient = 1;
        return ptl_xstrdup("its agent was lost; the stage itself may be sound");
    }
    if (strcmp(reason, "setup") == 0) {
        *ret_transient = 1;
        return ptl_xasprintf("it could not begin%s%s", colon, message);
    }
    const json_t *report = json_object_get(facts, "report");
    if (ptl_str_eq(ptl_json_str(report, "verdict", ""), "red")) {
        const char *text = ptl_json_str(json_array_get(json_object_get(report, "reasons"), 0), "text", NULL);
        *ret_transient = 0;
        return ptl_xasprintf("the converted model ran and its answers differ%s%s", text ? ": " : "",
                             text ? text : "");
    }
    if (strcmp(reason, "signal") == 0)
        return ptl_xasprintf("it was ended by signal %d", (int)ptl_json_i64(facts, "signal", 0));
    return NULL;
}

/* Is there anything of this attempt that an answer could rest on? Words alone are enough only for the model.
 */
static bool speaks(const struct ptl_kb *kb, const struct weighing *w)
{
    return w->n_cand && (w->cand[0].n_by > 0 || kb->model);
}

static void put_unclear(const struct ptl_kb *kb, const struct weighing *w, json_t *answer)
{
    json_t *nearest = json_array(), *decide = json_array();
    for (int i = 0; i < 3 && i < w->n_cand; i++) {
        const char *id = kb->nodes[w->cand[i].node].id,
                   *what = ptl_json_str(json_object_get(kb->entries, id), "decide", NULL);
        json_array_append_new(nearest, json_string(id));
        if (what)
            json_array_append_new(decide, json_string(what));
    }
    if (json_array_size(decide) == 0)
        json_array_append_new(
            decide,
            json_string(
                "a line of the log that names an operator, a version, a shape, a file or an address"));
    json_object_set_new(answer, "nearest", nearest);
    json_object_set_new(answer, "decide", decide);
}

json_t *kb_answer(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs, size_t n_logs,
                  const struct scan *s, const struct weighing *w)
{
    struct shown sh = {.list = json_array()};
    json_t *challenges = json_array(), *summary;
    int ended_transient, transient;
    PTL_FREE char *ended = how_it_ended(facts, &ended_transient);
    bool known = kb && speaks(kb, w) && !w->unclear;
    const char *verdict = known   ? kb->nodes[w->cand[0].node].deployment ? "challenge" : "stated"
                          : ended ? "stated"
                                  : "unclear";
    for (int i = 0; kb && i < w->n_cand && i < CHALLENGES_MAX && (i < 3 || w->cand[i].p > 0.01); i++)
        json_array_append_new(challenges, challenge_json(kb, logs, n_logs, s, w, &sh, &w->cand[i]));
    show_shapes(kb, logs, n_logs, s, w, &sh);
    const json_t *first = json_array_get(challenges, 0);
    const char *line = ptl_json_str(json_array_get(sh.list, 0), "text", NULL);
    if (known && w->cand[0].n_by) {
        summary = json_incref(json_object_get(first, "summary"));
        transient = transient_of(kb, w, &w->cand[0]);
    } else if (ended) {
        summary = json_string(ended);
        transient = ended_transient;
    } else {
        transient = known ? transient_of(kb, w, &w->cand[0]) : -1;
        summary =
            line ? json_sprintf("the log's most specific line: %s", line)
                 : json_string("nothing specific speaks: neither the way it ended nor a line of its log");
    }
    json_t *a = json_pack(
        "{s:i,s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:O}", "version", 2, "algorithm", PTL_KB_ALGORITHM, "kb",
        kb ? kb->hash : "", "state", known ? "diagnosed" : "unclear", "verdict", verdict, "summary", summary,
        "transient", tri(transient), "evidence", sh.list, "challenges", challenges, "cuts", s->text.cuts);
    if (!a)
        return NULL;
    const char *platform = kb_platform_names[w->at.platform], *stage = kb_stage_names[w->at.stage];
    json_object_set_new(a, "platform", platform ? json_string(platform) : json_null());
    json_object_set_new(a, "stage", stage ? json_string(stage) : json_null());
    json_object_set_new(a, "ranked", kb ? ranked_json(kb, s, w) : json_array());
    put_fingerprint(s, w, ended, a);
    json_object_set_new(a, "bands", ptl_kb_bands_of(a));
    if (!known && kb)
        put_unclear(kb, w, a);
    return a;
}

/* ---- the whole way */
static int read_texts(struct scan *s, const json_t *facts, const struct ptl_kb_log *logs, size_t n_logs)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n_logs; i++)
        r = ptl_kb_text_add(&s->text, (uint8_t)i, logs[i].text, logs[i].len);
    size_t before = s->text.n;
    if (r == 0)
        r = add_facts(&s->text, facts);
    for (size_t i = before; i < s->text.n; i++)
        s->text.lines[i].flags |= LINE_FACT;
    if (r == 0 && s->text.cut_lines)
        r = json_array_append_new(
                s->text.cuts,
                json_sprintf("%zu lines were longer than %d bytes; their middle was not looked at",
                             s->text.cut_lines, PTL_KB_LINE_MAX))
                ? -ENOMEM
                : 0;
    return r;
}

/* Without a knowledge base there is no scan: the marks that shapes need, the slow way. */
static void mark_plainly(struct scan *s)
{
    for (size_t i = 0; i < s->text.n; i++) {
        const char *p = ptl_kb_line_text(&s->text, &s->text.lines[i]);
        s->text.lines[i].flags |= 1 << MARK_ERROR;
        if (strncmp(p, "During handling of the above", 28) == 0 ||
            strncmp(p, "The above exception was the d", 29) == 0)
            s->text.lines[i].flags |= 1 << MARK_CHAIN;
    }
}

int kb_look(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs, size_t n_logs,
            struct scan *s, struct weighing *w, struct ptl_error *err)
{
    memset(w, 0, sizeof(*w));
    int r = kb_scan_init(kb, s);
    if (r == 0)
        r = read_texts(s, facts, logs, n_logs);
    if (r < 0)
        return ptl_error_set(err, r, "diagnosis: out of memory");
    if (!kb) {
        kb_situation(facts, &w->at);
        mark_plainly(s);
        return 0;
    }
    r = kb_scan(kb, s, err);
    if (r == 0 && (r = kb_weigh(kb, facts, logs, n_logs, s, w)) < 0)
        ptl_error_set(err, r, "diagnosis: out of memory");
    return r;
}

int ptl_kb_diagnose(const struct ptl_kb *kb, const json_t *facts, const struct ptl_kb_log *logs,
                    size_t n_logs, json_t **ret, struct ptl_error *err)
{
    struct scan s;
    struct weighing w;
    if (n_logs > PTL_KB_LOGS_MAX)
        n_logs = PTL_KB_LOGS_MAX;
    int r = kb_look(kb, facts, logs, n_logs, &s, &w, err);
    if (r == 0) {
        json_t *a = kb_answer(kb, facts, logs, n_logs, &s, &w);
        r = a ? 0 : ptl_error_set(err, -ENOMEM, "diagnosis: out of memory");
        if (a)
            *ret = a;
    }
    kb_weighing_done(&w);
    kb_scan_done(kb, &s);
    return r;
}

int ptl_kb_matches(const struct ptl_kb *kb, const json_t *facts, const char *log, size_t len, json_t **ret,
                   struct ptl_error *err)
{
    struct scan s;
    struct ptl_kb_log one = {.text = log, .len = len};
    int r = kb_scan_init(kb, &s);
    if (r == 0)
        r = read_texts(&s, facts, &one, 1);
    r = r < 0 ? ptl_error_set(err, r, "diagnosis: out of memory") : kb_scan(kb, &s, err);
    json_t *all = r == 0 ? json_object() : NULL;
    if (r == 0 && !all)
        r = ptl_error_set(err, -ENOMEM, "diagnosis: out of memory");
    for (int i = 0; all && i < kb->n_ind; i++) {
        const struct indicator *in = &kb->ind[i];
        const struct hits *h = &s.hits[in->first];
        json_t *lines = json_array();
        for (int k = 0; k < h->n; k++)
            if (in->role >= ROLE_GENERIC ? kb_conditions(&s, in, h->line[k]) : kb_speaks(&s, in, h->line[k]))
                json_array_append_new(lines, json_integer(s.text.lines[h->line[k]].number));
        if (json_array_size(lines))
            json_object_set(all, in->id, lines);
        json_decref(lines);
    }
    kb_scan_done(kb, &s);
    if (all)
        *ret = all;
    return r;
}

int ptl_kb_heard(const struct ptl_kb *kb, const json_t *facts, const char *log, size_t len, json_t **ret,
                 struct ptl_error *err)
{
    struct scan s;
    struct weighing w;
    struct ptl_kb_log one = {.text = log, .len = len};
    int r = kb_look(kb, facts, &one, 1, &s, &w, err);
    json_t *all = r == 0 ? json_object() : NULL;
    for (int i = 0; all && i < w.n_ev; i++) {
        const struct indicator *in = &kb->ind[w.ev[i].indicator];
        json_object_set_new(all, in->id,
                            json_pack("{s:i,s:f}", "line", (int)s.text.lines[w.ev[i].line].number, "weight",
                                      w.ev[i].strength / in->specificity));
    }
    kb_weighing_done(&w);
    kb_scan_done(kb, &s);
    if (all)
        *ret = all;
    return r < 0 || all ? r : ptl_error_set(err, -ENOMEM, "diagnosis: out of memory");
}
