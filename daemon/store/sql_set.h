/* sql_set.h - a set of statements: the built-in one is made from daemon/store/sql/NAME.sql at build time,
 * tests bring their own. Pure; any thread. */
#ifndef PORTOLAN_STORE_SQL_SET_H
#define PORTOLAN_STORE_SQL_SET_H
#include <portolan/base.h>

struct ptl_sql_text {
    const char *name; /* prepared under this name */
    const char *file; /* for people: daemon/store/sql/NAME.sql */
    const char *text; /* NUL-terminated */
    size_t len;
};
struct ptl_sql_set {
    const struct ptl_sql_text *v; /* in the order of enum ptl_sql */
    size_t n;
};
extern const struct ptl_sql_set ptl_sql_builtin;

/* What the first comment lines of a statement say; see store.h. */
struct ptl_sql_info {
    bool read, bulk, repeatable;
    int n_params; /* filled in by the server's description at connect; -1 before */
};
/* 0, or -EINVAL with file and line: no header line with the file's name, neither @read nor @write, a
 * directive that is not known or makes no sense together with another. */
PTL_NODISCARD int ptl_sql_info_parse(const struct ptl_sql_text *t, struct ptl_sql_info *ret,
                                     struct ptl_error *err);
/* "file:line:column" of the character number `position` (from 1, as the server counts them; UTF-8) in `text`.
 */
void ptl_sql_where(const char *file, const char *text, long position, char *ret, size_t size);
#endif
