#!/bin/sh
# sanitized.sh REPORTS COMMAND [ARGUMENT…] - runs COMMAND, whose programs are built with sanitizers, so that no report is lost:
# a daemon that leaks is told by its exit status and its standard error, and tests look at neither when they are done with it.
# Reports go to files REPORTS.<program>.<pid>; one of them is a failure whatever COMMAND says.
set -u
reports=$1
shift
mkdir -p "$(dirname "$reports")"
rm -f "$reports".*
where="log_path='$reports':log_exe_name=1"
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}$where"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}$where:print_stacktrace=1"
export TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}$where:suppressions='$(dirname "$0")/tsan.supp'"
"$@"
status=$?
for report in "$reports".*; do
    [ -s "$report" ] || continue
    echo "sanitized.sh: $report"
    head -c 20000 "$report"
    status=1
done
exit $status
