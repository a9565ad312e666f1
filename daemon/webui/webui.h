/* webui.h - the files of the web UI as they were built into the program. Immutable; any thread. */
#ifndef PTL_WEBUI_H
#define PTL_WEBUI_H
#include <stdbool.h>
#include <stddef.h>

struct ptl_webui_file {
    const char *path; /* "/assets/main-ABCDEFGH.js" */
    const char *type; /* Content-Type */
    const char *etag; /* with its quotes */
    const unsigned char *raw, *gz;
    size_t raw_len, gz_len; /* gz_len 0: not kept compressed */
    bool immutable;         /* the name holds the hash of the content */
};
extern const struct ptl_webui_file ptl_webui_files[];
extern const size_t ptl_webui_files_count; /* 0: built without the UI */
#endif
