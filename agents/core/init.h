/* init.h - what portolan-init tells the sandbox over its status pipe. */
#ifndef PTL_AGENT_INIT_H
#define PTL_AGENT_INIT_H
#include <stdint.h>

enum { PTL_INIT_STARTED = 1, PTL_INIT_ENDED, PTL_INIT_EXEC_FAILED };
struct ptl_init_message {
    int32_t kind;
    int32_t value; /* ENDED: wait status; EXEC_FAILED: errno */
};
#endif
