/* life.c - the life of stages and runs. The tables are the program: SQL files name the edges they take, the
 * schema refuses all others. */
#include "life.h"

const struct ptl_stage_rule ptl_stage_rules[] = {
    {PTL_ST_WAITING,    PTL_ST_QUEUED,     "needs green",     "all that it needs is green"                        },
    {PTL_ST_WAITING,    PTL_ST_GATED,      "needs green",     "a person is asked first (when: manual or risk > X)"},
    {PTL_ST_WAITING,    PTL_ST_SKIPPED,    "need not green",  "something it needs did not turn green"             },
    {PTL_ST_WAITING,    PTL_ST_CANCELLED,  "cancel",          "a person or a newer run cancelled it"              },
    {PTL_ST_GATED,      PTL_ST_QUEUED,     "approve",         "a person approved it"                              },
    {PTL_ST_GATED,      PTL_ST_RED,        "decline",         "a person declined it"                              },
    {PTL_ST_GATED,      PTL_ST_CANCELLED,  "cancel",          "a person or a newer run cancelled it"              },
    {PTL_ST_QUEUED,     PTL_ST_CLAIMED,    "claim",           "an agent took it"                                  },
    {PTL_ST_QUEUED,     PTL_ST_RED,        "clock",           "its queue or total clock ran out"                  },
    {PTL_ST_QUEUED,     PTL_ST_CANCELLED,  "cancel",          "no agent held it"                                  },
    {PTL_ST_CLAIMED,    PTL_ST_RUNNING,    "start",           "the agent began"                                   },
    {PTL_ST_CLAIMED,    PTL_ST_GREEN,      "finish",          "the word of its start was lost, the result was not"},
    {PTL_ST_CLAIMED,    PTL_ST_QUEUED,     "lost or set-up",  "bounded retry of what is not the stage's fault"    },
    {PTL_ST_CLAIMED,    PTL_ST_RED,        "finish",          "it could not begin and may not try again"          },
    {PTL_ST_CLAIMED,    PTL_ST_CANCELLING, "cancel",          "the agent is told"                                 },
    {PTL_ST_RUNNING,    PTL_ST_GREEN,      "finish ok",       "exit 0, outputs present, verify within its budget" },
    {PTL_ST_RUNNING,    PTL_ST_RED,        "finish",          "it failed, or a clock ran out"                     },
    {PTL_ST_RUNNING,    PTL_ST_QUEUED,     "retry or lost",
     "its retry policy, a lost agent, or an agent that drained"                                                   },
    {PTL_ST_RUNNING,    PTL_ST_CANCELLING, "cancel",          "the agent is told"                                 },
    {PTL_ST_CLAIMED,    PTL_ST_DECIDING,   "finish",          "as below, when the word of its start was lost"     },
    {PTL_ST_RUNNING,    PTL_ST_DECIDING,   "finish",          "it failed with retries left: the diagnosis decides"},
    {PTL_ST_DECIDING,   PTL_ST_QUEUED,     "may pass",        "transient, or unclear for the first time"          },
    {PTL_ST_DECIDING,   PTL_ST_RED,        "in vain",         "deterministic, or unclear once more"               },
    {PTL_ST_DECIDING,   PTL_ST_CANCELLED,  "cancel",          "no agent held it"                                  },
    {PTL_ST_CANCELLING, PTL_ST_CANCELLED,  "finish or clock",
     "the agent ended it, or its time to do so is over"                                                           },
    {PTL_ST_RED,        PTL_ST_WAITING,    "rerun",           "a person runs it again"                            },
    {PTL_ST_CANCELLED,  PTL_ST_WAITING,    "rerun",           "a person runs it again"                            },
    {PTL_ST_SKIPPED,    PTL_ST_WAITING,    "rerun",           "a person runs it again"                            },
};
const size_t ptl_stage_rules_count = PTL_ARRAY_LEN(ptl_stage_rules);

const struct ptl_run_rule ptl_run_rules[] = {
    {PTL_RUN_PREPARING, PTL_RUN_WAITING,   "plan",       "fetched, read, planned"                                },
    {PTL_RUN_PREPARING, PTL_RUN_INVALID,   "no plan",    "the repository or the pipeline file does not allow one"},
    {PTL_RUN_PREPARING, PTL_RUN_CANCELLED, "cancel",     "a person cancelled it"                                 },
    {PTL_RUN_WAITING,   PTL_RUN_RUNNING,   "group free", "no other run of its group runs"                        },
    {PTL_RUN_WAITING,   PTL_RUN_CANCELLED, "cancel",     "a person or a newer run cancelled it"                  },
    {PTL_RUN_RUNNING,   PTL_RUN_GREEN,     "settle",     "every stage ended, nothing red"                        },
    {PTL_RUN_RUNNING,   PTL_RUN_RED,       "settle",     "every stage ended, something red"                      },
    {PTL_RUN_RUNNING,   PTL_RUN_CANCELLED, "settle",     "every stage ended, something cancelled"                },
    {PTL_RUN_RED,       PTL_RUN_RUNNING,   "rerun",      "a person runs it again"                                },
    {PTL_RUN_CANCELLED, PTL_RUN_RUNNING,   "rerun",      "a person runs it again"                                },
};
const size_t ptl_run_rules_count = PTL_ARRAY_LEN(ptl_run_rules);
static_assert(PTL_ST_COUNT == 11, "new stage state: extend ptl_stage_rules, the migration and the diagram");
static_assert(PTL_RUN_COUNT == 7, "new run state: extend ptl_run_rules, the migration and the diagram");

bool ptl_stage_may(enum ptl_stage_state from, enum ptl_stage_state to)
{
    for (size_t i = 0; i < ptl_stage_rules_count; i++)
        if (ptl_stage_rules[i].from == from && ptl_stage_rules[i].to == to)
            return true;
    return false;
}

bool ptl_run_may(enum ptl_run_state from, enum ptl_run_state to)
{
    for (size_t i = 0; i < ptl_run_rules_count; i++)
        if (ptl_run_rules[i].from == from && ptl_run_rules[i].to == to)
            return true;
    return false;
}

void ptl_life_mermaid(struct ptl_buf *ret)
{
    ptl_buf_puts(ret, "stateDiagram-v2\n  state \"stage\" as stage {\n");
    for (size_t i = 0; i < ptl_stage_rules_count; i++)
        ptl_buf_printf(ret, "    %s --> %s: %s\n", ptl_stage_state_name(ptl_stage_rules[i].from),
                       ptl_stage_state_name(ptl_stage_rules[i].to), ptl_stage_rules[i].on);
    ptl_buf_puts(ret, "  }\n  state \"run\" as run {\n");
    for (size_t i = 0; i < ptl_run_rules_count; i++)
        ptl_buf_printf(ret, "    run_%s --> run_%s: %s\n", ptl_run_state_name(ptl_run_rules[i].from),
                       ptl_run_state_name(ptl_run_rules[i].to), ptl_run_rules[i].on);
    ptl_buf_puts(ret, "  }\n");
}
