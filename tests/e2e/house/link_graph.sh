#!/bin/sh
# The link graph is the architecture: agents and the command know neither libpq nor libgit2, only the store's objects use libpq, only git's use libgit2, and
# kb does no I/O. Read from the built files.
set -eu
build=$1
bad=0
needs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
for program in agents/portolan-agent cli/portolan; do
    [ -x "$build/$program" ] || { echo "$program was not built"; exit 1; }
    for library in libpq libgit2; do
        if needs "$build/$program" | grep -q "^$library\."; then echo "$program needs $library"; bad=1; fi
    done
done
needs "$build/daemon/portoland" | grep -q '^libpq\.' || { echo "portoland does not need libpq: this test would see nothing"; bad=1; }
needs "$build/daemon/portoland" | grep -q '^libgit2\.' || { echo "portoland does not need libgit2: this test would see nothing"; bad=1; }
# Undefined symbols of every internal library but its owner.
only() { # symbol prefix, owner library
    for library in $(find "$build" -name 'lib*.a' ! -name "lib$2.a" ! -name 'libptl_test_*'); do
        if nm -u "$library" 2>/dev/null | grep -q "^ *U $1"; then echo "$(basename "$library") uses $1…, which is $2's"; bad=1; fi
    done
}
only PQ ptl_store
only git_ ptl_git
# kb is pure: no files, sockets, processes, clocks.
kb=$(find "$build" -name libptl_kb.a)
for symbol in open openat fopen read write socket connect fork execve clock_gettime time getenv; do
    if nm -u "$kb" | grep -qE "^ *U $symbol(64)?(@.*)?$"; then echo "libptl_kb.a uses $symbol: kb does no I/O"; bad=1; fi
done
exit $bad
