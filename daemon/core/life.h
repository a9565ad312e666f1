/* life.h - the life of stages and runs as tables: every change of state that any statement may make, on what
 * event, and why. The schema's guards hold the same edges; tests/unit/test_life.c compares the two, and the
 * "State:" lines of the SQL files with both. No I/O. */
#ifndef PTL_LIFE_H
#define PTL_LIFE_H
#include <portolan/wire.h>
#include <portolan/buf.h>

struct ptl_stage_rule {
    enum ptl_stage_state from, to;
    const char *on, *why;
};
struct ptl_run_rule {
    enum ptl_run_state from, to;
    const char *on, *why;
};
extern const struct ptl_stage_rule ptl_stage_rules[];
extern const size_t ptl_stage_rules_count;
extern const struct ptl_run_rule ptl_run_rules[];
extern const size_t ptl_run_rules_count;
bool ptl_stage_may(enum ptl_stage_state from, enum ptl_stage_state to);
bool ptl_run_may(enum ptl_run_state from, enum ptl_run_state to);
void ptl_life_mermaid(struct ptl_buf *ret); /* both as state diagrams, printed by `portoland diagram` */
#endif
