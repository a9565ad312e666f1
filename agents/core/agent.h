/* agent.h - the agent as a long-running process, and the commands that need its settings. */
#ifndef PTL_AGENT_AGENT_H
#define PTL_AGENT_AGENT_H
#include <stdio.h>

/* Bodies of `run`, `inventory` and `enroll`: argv behind the word; exit codes. Once per process. */
int ptl_agent_cmd_run(int argc, char **argv);
int ptl_agent_cmd_inventory(int argc, char **argv);
int ptl_agent_cmd_enroll(int argc, char **argv);
void ptl_agent_settings_help(FILE *out);
#endif
