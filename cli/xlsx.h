/* xlsx.h - the cells of a workbook as text, row by row. For files people downloaded: bounded, no DTD, no
 * network. Pure but for memory. */
#ifndef PTL_CLI_XLSX_H
#define PTL_CLI_XLSX_H
#include <portolan/base.h>

enum { CLI_XLSX_COLUMNS = 16 }; /* what lies further right is left out */
/* `cells`: "" where nothing is. Return 0, or anything else to stop. */
typedef int cli_xlsx_row_fn(void *ctx, const char *sheet, size_t row,
                            const char *const cells[CLI_XLSX_COLUMNS]);
/* 0, -EINVAL (no workbook, damaged, or larger than the bounds: 32 MiB a part), -ENOMEM, or what fn returned.
 */
PTL_NODISCARD int cli_xlsx_read(const void *data, size_t len, cli_xlsx_row_fn *fn, void *ctx,
                                struct ptl_error *err);
#endif
