#!/bin/sh
# cmake --install gives a tree that works from where it is: three programs, one library with its headers, recipes, toolchains, schema, units.
set -eu
build=$1
prefix=$(mktemp -d "${TMPDIR:-/tmp}/ptl-install-XXXXXX")
trap 'rm -rf "$prefix"' EXIT
DESTDIR='' cmake --install "$build" --prefix "$prefix" >"$prefix/install.log" 2>&1 || { cat "$prefix/install.log"; exit 1; }
for file in bin/portoland bin/portolan-agent bin/portolan include/portolan/base.h share/portolan/recipes/litert/run/recipe.yml share/portolan/toolchains/prepare; do
    [ -e "$prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done
[ "$(find "$prefix" -name '*.a' | wc -l)" = 1 ] || { echo "expected one static library, found:"; find "$prefix" -name '*.a'; exit 1; }
[ "$(find "$prefix/bin" -type f | wc -l)" = 3 ] || { echo "expected three programs, found:"; ls "$prefix/bin"; exit 1; }
for program in portoland portolan-agent portolan; do
    "$prefix/bin/$program" --version | grep -q "^$program [0-9]" || { echo "$program --version says something else"; exit 1; }
done
# The agent finds its recipes and toolchains beside itself; the command reads a pipeline file with them.
env -u PORTOLAN_RECIPES "$prefix/bin/portolan-agent" recipe list | grep -q 'tensorflow/tflite' || { echo "the installed agent does not find its recipes"; exit 1; }
mkdir "$prefix/repo"
printf 'version: 1\nmodel: m\nexport: {uses: keras/saved-model, with: {script: e.py}}\ntargets:\n  server: {host: server, verify: {uses: http/tf-serving}}\n' >"$prefix/repo/.portolan.yml"
"$prefix/bin/portolan" lint "$prefix/repo/.portolan.yml" || { echo "the installed command refuses a good pipeline file"; exit 1; }
sed -i 's/keras\/saved-model/keras\/saved-modle/' "$prefix/repo/.portolan.yml"
if "$prefix/bin/portolan" lint "$prefix/repo/.portolan.yml" >"$prefix/lint.log" 2>&1; then echo "an unknown recipe passed"; exit 1; fi
grep -q 'keras/saved-model' "$prefix/lint.log" || { echo "the nearest recipe is not named:"; cat "$prefix/lint.log"; exit 1; }
# The command diagnoses with what was installed, and finds the knowledge compiled.
printf "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '5'.\\n" >"$prefix/log"
env -u PORTOLAN_KB_TOOL "$prefix/bin/portolan" diagnose --platform mobile --stage verify --json "$prefix/log" | grep -q '"state": "diagnosed"' || { echo "the installed command does not diagnose"; exit 1; }
[ -s "$prefix/share/portolan/kb.bin" ] || { echo "not installed: share/portolan/kb.bin"; exit 1; }
# The drills came along with what they need.
(cd / && env -u PORTOLAN_DRILLS "$prefix/bin/portolan" drill coverage) | grep -q 'of 81 nodes are some drill' || { echo "the installed command does not find its drills"; exit 1; }
# A program against the one library.
cat >"$prefix/use.c" <<'C'
#include <portolan/hash.h>
#include <stdio.h>
int main(void)
{
    char hex[PTL_SHA256_HEX];
    ptl_sha256_of("abc", 3, hex);
    puts(hex);
    return 0;
}
C
cc -std=gnu17 -I"$prefix/include" "$prefix/use.c" "$(find "$prefix" -name '*.a')" $(pkg-config --libs jansson openssl) $PTL_TEST_LDFLAGS -lm -o "$prefix/use"
"$prefix/use" | grep -q '^ba7816bf8f01cfea' || { echo "a program linked with the installed library does not work"; exit 1; }
