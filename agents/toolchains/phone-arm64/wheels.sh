# wheels.sh - sourced after ../common.sh by the toolchains whose files run on the phone (litert-arm64, onnxruntime-arm64).
# arm64 wheels are downloaded by this machine's pip, hash-locked, unpacked (a wheel is a zip file) and byte-compiled here;
# nothing of them is run by the host.

# ptl_phone: prepares the phone-arm64 toolchain and links it as $partial/phone: runtimes need its python and its emulator.
ptl_phone() {
    phone=$("$(dirname -- "$0")/../prepare" phone-arm64) || ptl_die "the phone-arm64 toolchain could not be prepared"
    ln -s "$phone" "$partial/phone"
}

# ptl_arm64_site LOCK: $partial/site holds the packages of the lock file for python 3.11 on arm64.
ptl_arm64_site() {
    wheels=$downloads/wheels-arm64
    mark=$wheels/.complete-$(sha256sum "$1" | cut -c1-16)
    mkdir -p "$wheels" "$partial/site"
    if [ ! -f "$mark" ]; then
        /usr/bin/python3 -m pip download -q --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
            --only-binary :all: --implementation cp --python-version 3.11 --abi cp311 --abi none \
            --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
            -d "$wheels" -r "$1" || ptl_die "pip could not download what $1 names"
        touch "$mark"
    fi
    # The hashes are checked again: the cache is a directory anyone of this account may have written to.
    /usr/bin/python3 - "$1" "$wheels" "$partial/site" <<'PY' || { rm -f "$mark"; ptl_die "a wheel of $1 is missing or damaged; the next try downloads again"; }
import glob, hashlib, re, sys, zipfile
lock, wheels, site = sys.argv[1:]
text = open(lock).read()
wanted = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", text))
pins = re.findall(r"^([a-z0-9_.-]+)==([^\s\\]+)", text, re.M)
have = {hashlib.sha256(open(w, "rb").read()).hexdigest(): w for w in glob.glob(wheels + "/*.whl")}
found = [have[h] for h in sorted(wanted) if h in have]
if len(found) < len(pins):
    sys.exit("wheels: %d packages locked, %d files with the locked hashes in %s" % (len(pins), len(found), wheels))
for w in found:
    with zipfile.ZipFile(w) as z:
        z.extractall(site)
PY
}

# ptl_arm64_finish PROBE_CODE NAME: byte-compiles, runs PROBE_CODE (prints one version) on the emulated python, finishes.
ptl_arm64_finish() {
    find "$partial/site" -name tests -type d -prune -exec rm -rf {} +
    # Files of a package that are not for Python 3.11 (templates, old syntax) do not compile and are never imported.
    /usr/bin/python3.11 -m compileall -qq --invalidation-mode unchecked-hash "$partial/site" || true
    find "$partial/site" -exec chmod u+rw,go+r {} +
    said=$(env -i QEMU_CPU=cortex-a76 PYTHONHOME="$phone/python" PYTHONPATH="$partial/site" ORT_DISABLE_TELEMETRY=1 TMPDIR=/tmp \
           "$phone/bin/qemu-aarch64" "$phone/python/lib/ld-linux-aarch64.so.1" --library-path "$phone/python/lib" \
           "$phone/python/bin/python3.11" -BSc "$1") || ptl_die "the runtime does not load on the emulated python: $said"
    du -sm "$partial/site" | sed 's/\t.*/ MB site/'
    ptl_finish "{\"python\":\"3.11\",$said}"
}
