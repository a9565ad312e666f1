#!/bin/sh
# run.sh BUILD_DIR SCRIPT [ARGS…] - installs the locked test packages below the build folder, once per lock file, and runs a script with them.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$1
script=$2
shift 2
pack=$build/tests/webui-packages
if ! cmp -s "$here/package-lock.json" "$pack/package-lock.json"; then
    mkdir -p "$pack"
    cp "$here/package.json" "$here/.npmrc" "$pack/"
    cp "$here/package-lock.json" "$pack/package-lock.json.new"
    (cd "$pack" && mv package-lock.json.new package-lock.json && npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error) || {
        rm -f "$pack/package-lock.json"
        echo "the test packages could not be installed; npm's message is above" >&2
        exit 1
    }
fi
exec env PTL_BUILD="$build" PTL_NODE="$pack" PTL_SHOTS="$build/tests/webui-shots" node "$here/$script" "$@"
