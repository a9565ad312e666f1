/* settings.h - settings as a table: name, type, default, limits, help. Read from a file ("name = value"
 * lines, '#' comments), then $PORTOLAN_<NAME>, then --name value. Loop start only. */
#ifndef PORTOLAN_SETTINGS_H
#define PORTOLAN_SETTINGS_H
#include <portolan/base.h>
#include <stdio.h>

enum ptl_setting_type {
    PTL_SET_STRING,
    PTL_SET_INT,
    PTL_SET_BOOL,
    PTL_SET_DURATION /* ms */,
    PTL_SET_SIZE /* bytes */
};

struct ptl_setting {
    const char *name; /* "listen-address": file key, --listen-address, PORTOLAN_LISTEN_ADDRESS */
    enum ptl_setting_type type;
    size_t offset;    /* of char* or int64_t (all numeric kinds and bool) in the settings struct */
    const char *dflt; /* text form; NULL leaves NULL / 0 */
    int64_t min, max; /* for numeric kinds; both 0: no limit */
    bool is_secret;   /* never printed */
    const char *help;
};
/* All defaults first, then file (may be NULL; absent file is an error), environment, argv. Stops at the first
 * argument that is not --name[=value]; *ret_index names it (may be NULL). Errors name file:line, the key and
 * the nearest right one. */
PTL_NODISCARD int ptl_settings_load(const struct ptl_setting *table, size_t n, void *settings,
                                    const char *file, int argc, char **argv, int *ret_index,
                                    struct ptl_error *err);
void ptl_settings_free(const struct ptl_setting *table, size_t n, void *settings); /* frees the strings */
void ptl_settings_help(const struct ptl_setting *table, size_t n, FILE *out);
#endif
