/* test_life.c - the life of stages and runs is said in three places: core's table, the schema's guard, and
 * the "State:" lines of the SQL files. They agree, every statement that writes a state says so, and no rule
 * is one that nothing takes. */
#include "life.h"
#include <portolan/fs.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

enum { STAGE, RUN, KINDS };
static bool in_table[KINDS][16][16], in_schema[KINDS][16][16], in_sql[KINDS][16][16];

static int state_of(int kind, const char *name)
{
    enum ptl_stage_state s;
    enum ptl_run_state r;
    if (kind == STAGE)
        return ptl_stage_state_parse(name, &s) == 0 ? (int)s : -1;
    return ptl_run_state_parse(name, &r) == 0 ? (int)r : -1;
}

static const char *name_of(int kind, int state)
{
    return kind == STAGE ? ptl_stage_state_name((enum ptl_stage_state)state)
                         : ptl_run_state_name((enum ptl_run_state)state);
}

static void read_table(void)
{
    for (size_t i = 0; i < ptl_stage_rules_count; i++)
        in_table[STAGE][ptl_stage_rules[i].from][ptl_stage_rules[i].to] = true;
    for (size_t i = 0; i < ptl_run_rules_count; i++)
        in_table[RUN][ptl_run_rules[i].from][ptl_run_rules[i].to] = true;
}

/* The first migration makes the guard's tables, later ones may add edges. */
static int one_migration(void *ctx, const struct ptl_fs_entry *e)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF b = PTL_BUF_INIT;
    int *found = ctx;
    static const char *const heads[KINDS] = {"INSERT INTO stage_rule VALUES", "INSERT INTO run_rule VALUES"};
    if (!ptl_str_ends(e->path, ".sql") || ptl_fs_read(e->full, 1 << 20, &b, &err) < 0)
        return 0;
    for (int kind = 0; kind < KINDS; kind++) {
        char *p = strstr(b.data, heads[kind]), *end = p ? strchr(p, ';') : NULL;
        for (p = end ? strchr(p, '(') : NULL; p && p < end; p = strchr(p + 1, '(')) {
            char from[32], to[32];
            if (sscanf(p, "('%31[a-z]', '%31[a-z]')", from, to) != 2 || state_of(kind, from) < 0 ||
                state_of(kind, to) < 0)
                fail_msg("%s: '%.40s' is no edge between states", e->path, p);
            in_schema[kind][state_of(kind, from)][state_of(kind, to)] = true;
            ++*found;
        }
    }
    return 0;
}

static void read_schema(void)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int found = 0;
    if (ptl_fs_walk(PTL_SOURCE_DIR "/migrations", 1000, one_migration, &found, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(found > 30);
}

/* "a, b" into states; false when a word is none. */
static bool words(int kind, char *text, int *ret, size_t *n)
{
    char *save = NULL;
    *n = 0;
    for (char *w = strtok_r(text, ", ", &save); w; w = strtok_r(NULL, ", ", &save)) {
        int s = state_of(kind, w);
        if (s < 0)
            return false;
        ret[(*n)++] = s;
    }
    return *n > 0;
}

static void read_line(const char *file, char *line)
{
    int kind = -1;
    char *save = NULL;
    for (char *clause = strtok_r(line, ";.", &save); clause; clause = strtok_r(NULL, ";.", &save)) {
        while (*clause == ' ')
            clause++;
        if (!*clause)
            continue;
        if (strncmp(clause, "stage ", 6) == 0) {
            kind = STAGE;
            clause += 6;
        } else if (strncmp(clause, "run ", 4) == 0) {
            kind = RUN;
            clause += 4;
        }
        char *arrow = strstr(clause, " -> ");
        if (kind < 0 || !arrow)
            fail_msg("%s: 'State: %s' is not '(stage|run) a, b -> c, d'", file, clause);
        *arrow = 0;
        int from[16], to[16];
        size_t n_from, n_to;
        if (!words(kind, clause, from, &n_from) || !words(kind, arrow + 4, to, &n_to))
            fail_msg("%s: its State line names a state that does not exist", file);
        for (size_t i = 0; i < n_from; i++)
            for (size_t k = 0; k < n_to; k++)
                in_sql[kind][from[i]][to[k]] = true;
    }
}

static int one_file(void *ctx, const struct ptl_fs_entry *e)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF b = PTL_BUF_INIT;
    int *files = ctx;
    if (!ptl_str_ends(e->path, ".sql") || ptl_fs_read(e->full, 1 << 20, &b, &err) < 0)
        return 0;
    ++*files;
    bool says = false;
    bool writes = strstr(b.data, "UPDATE stage s SET state") || strstr(b.data, "UPDATE stage SET state") ||
                  strstr(b.data, "UPDATE run SET state") || strstr(b.data, "UPDATE run r SET state") ||
                  (strstr(b.data, "UPDATE run r SET") && strstr(b.data, "state = CASE")) ||
                  (strstr(b.data, "UPDATE run SET") && strstr(b.data, "state = CASE"));
    for (char *p = b.data; (p = strstr(p, "-- State: ")) != NULL;) {
        char line[512];
        snprintf(line, sizeof(line), "%.*s", (int)strcspn(p + 10, "\n"), p + 10);
        read_line(e->path, line);
        says = true;
        p += 10;
    }
    if (writes && !says)
        fail_msg("%s writes a state and has no 'State:' line", e->path);
    return 0;
}

static void the_three_agree(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    int files = 0;
    read_table();
    read_schema();
    assert_int_equal(ptl_fs_walk(PTL_SOURCE_DIR "/daemon/store/sql", 1000, one_file, &files, &err), 0);
    assert_true(files > 50);
    for (int kind = 0; kind < KINDS; kind++)
        for (int from = 0; from < (kind == STAGE ? PTL_ST_COUNT : PTL_RUN_COUNT); from++)
            for (int to = 0; to < (kind == STAGE ? PTL_ST_COUNT : PTL_RUN_COUNT); to++) {
                bool t = in_table[kind][from][to], m = in_schema[kind][from][to], s = in_sql[kind][from][to];
                if (t != m)
                    fail_msg("%s %s -> %s: %s core's table, %s the schema", kind == STAGE ? "stage" : "run",
                             name_of(kind, from), name_of(kind, to), t ? "in" : "not in",
                             m ? "in" : "not in");
                if (t != s)
                    fail_msg("%s %s -> %s: %s", kind == STAGE ? "stage" : "run", name_of(kind, from),
                             name_of(kind, to),
                             t ? "a rule that no statement takes" : "taken by a statement and no rule");
            }
}

static void final_states_are_final(void **state PTL_UNUSED)
{
    for (size_t i = 0; i < ptl_stage_rules_count; i++)
        if (ptl_stage_state_is_final(ptl_stage_rules[i].from))
            assert_string_equal(ptl_stage_rules[i].on, "rerun");
    for (int s = 0; s < PTL_ST_COUNT; s++)
        if (s != PTL_ST_WAITING) {
            bool reached = false;
            for (size_t i = 0; i < ptl_stage_rules_count; i++)
                reached |= (int)ptl_stage_rules[i].to == s;
            if (!reached)
                fail_msg("stage state %s is never reached", name_of(STAGE, s));
        }
}

static void the_diagram_names_every_rule(void **state PTL_UNUSED)
{
    PTL_BUF b = PTL_BUF_INIT;
    ptl_life_mermaid(&b);
    size_t arrows = 0;
    for (const char *p = ptl_buf_str(&b); (p = strstr(p, "-->")) != NULL; p++)
        arrows++;
    assert_int_equal(arrows, ptl_stage_rules_count + ptl_run_rules_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_three_agree),
                                       cmocka_unit_test(final_states_are_final),
                                       cmocka_unit_test(the_diagram_names_every_rule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
