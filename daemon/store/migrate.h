/* migrate.h - brings a database to the schema this program knows. Forward only. Blocking; any thread.
 *
 * migrations/NNNN_name.sql are applied once each, in order of their number, each in one transaction, and
 * never edited after a release: the SHA-256 of what was applied is kept, and another one is refused. Files in
 * sub-folders (migrations/kb/…) are data: they come after all numbered ones, in byte order of their paths,
 * and are applied again whenever their content changed; so they must be safe to repeat. Data that a newer
 * program loaded is left as it is.
 *
 * Table schema_migration(version integer null for data, name text, sha256, program, applied_at). */
#ifndef PORTOLAN_STORE_MIGRATE_H
#define PORTOLAN_STORE_MIGRATE_H
#include <portolan/base.h>

struct ptl_migration {
    int version;      /* 1..9999; 0: data */
    const char *name; /* path without ".sql": "0001_base", "kb/taxonomy" */
    const char *file; /* for people: "migrations/0001_base.sql" */
    const char *sha256;
    const char *text; /* NUL-terminated */
    size_t len;
};
struct ptl_migration_set {
    const struct ptl_migration *v; /* numbered ones by number, then data by path */
    size_t n;
};
extern const struct ptl_migration_set ptl_migrations_builtin;

/* Several programs may call this at once on one database: an advisory lock lets one work and the others find
 * it done. -EINVAL with what to do when the database is newer than this program, an applied file differs, or
 * a number was skipped; a failing statement is named with file, line and column. ret_applied (NULL ok): how
 * many files were applied now. */
PTL_NODISCARD int ptl_migrate(const char *dsn, const struct ptl_migration_set *set, int *ret_applied,
                              struct ptl_error *err);
#endif
