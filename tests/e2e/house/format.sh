#!/bin/sh
# Every C file is as .clang-format says.
set -eu
cd "$1"
command -v clang-format >/dev/null || { echo "no clang-format here: skipped"; exit 77; }
find daemon agents cli lib include tests -name '*.[ch]' ! -path '*/build/*' -print0 | xargs -0 clang-format --dry-run --Werror 2>&1 | grep 'error:' | cut -d: -f1 | sort -u >"${TMPDIR:-/tmp}/ptl-format.$$" || true
n=$(wc -l <"${TMPDIR:-/tmp}/ptl-format.$$")
[ "$n" = 0 ] || { echo "$n files are not formatted (clang-format -i FILE):"; cat "${TMPDIR:-/tmp}/ptl-format.$$"; }
rm -f "${TMPDIR:-/tmp}/ptl-format.$$"
[ "$n" = 0 ]
