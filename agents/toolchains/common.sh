# common.sh - sourced by the toolchains' `install` scripts: steps, a hash-locked virtual environment, the final rename.
# Expects: $1 = DEST (absolute); PORTOLAN_DOWNLOADS from prepare (or a default beside DEST).
# Use:   . "$(dirname "$0")/../common.sh"; ptl_begin "$1" 3; ptl_step "…"; …; ptl_finish '{"python":"3.11.2"}'
# Everything is built in $partial; DEST appears whole by one rename, with versions.json already in it.

ptl_die() { printf 'install: %s\n' "$*" >&2; exit 1; }

# ptl_begin DEST STEPS: start afresh in DEST.partial. Returns at once with exit 0 of the script when DEST is ready.
ptl_begin() {
    dest=$1 steps=$2 step=0 partial=$1.partial
    case $dest in /*) ;; *) ptl_die "DEST must be an absolute path, not \"$dest\"" ;; esac
    if [ -f "$dest/versions.json" ]; then echo "already there: $dest"; exit 0; fi
    downloads=${PORTOLAN_DOWNLOADS:-$(dirname -- "$dest")/.downloads}
    rm -rf "$partial" && mkdir -p "$partial" "$downloads" || ptl_die "cannot write $partial"
}

ptl_step() { step=$((step + 1)); printf 'step %d/%d: %s\n' "$step" "$steps" "$*"; }

# ptl_wheels LOCK: every file the hash-locked requirements name is in $downloads/wheels afterwards. Asks the network only
# when this very lock file was not downloaded before.
ptl_wheels() {
    wheels=$downloads/wheels
    mark=$wheels/.complete-$(sha256sum "$1" | cut -c1-16)
    [ -f "$mark" ] && return 0
    mkdir -p "$wheels"
    /usr/bin/python3 -m pip download -q --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: -d "$wheels" -r "$1" || ptl_die "pip could not download what $1 names"
    touch "$mark"
}

# ptl_venv LOCK: $partial becomes a virtual environment of Debian's Python with exactly the locked packages, no pip in it.
# Nothing is resolved (--no-deps): the lock file is the whole truth.
ptl_venv() {
    ptl_wheels "$1"
    /usr/bin/python3 -m venv --without-pip "$partial" || ptl_die "python3 -m venv failed (Debian package python3-venv)"
    /usr/bin/python3 -m pip --python "$partial/bin/python3" install -q --disable-pip-version-check --no-cache-dir \
        --no-index --find-links "$wheels" --no-deps --require-hashes --only-binary :all: --no-compile -r "$1" ||
        { rm -f "$mark"; ptl_die "pip could not install what $1 names; the next try downloads again"; }
}

# ptl_finish VERSIONS_JSON: rewrite the paths that a virtual environment keeps of its own place, write versions.json, rename.
ptl_finish() {
    for file in "$partial"/bin/*; do
        [ -f "$file" ] && [ ! -L "$file" ] && grep -Iq "$partial" "$file" && sed -i "s|$partial|$dest|g" "$file"
    done
    printf '%s\n' "$1" > "$partial/versions.json.tmp" && mv "$partial/versions.json.tmp" "$partial/versions.json" ||
        ptl_die "cannot write versions.json"
    rm -rf "$dest" && mv "$partial" "$dest" || ptl_die "cannot rename $partial to $dest"
}
