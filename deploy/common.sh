# common.sh - what deploy/quickstart and tests/run share: say which step failed and why, install Debian packages that are missing.
# Sourced by sh scripts that have set `self` (their name in messages).

say() { printf '%s: %s\n' "$self" "$*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else die "this needs root and there is no sudo: $*"; fi
}

# Packages named in deploy/packages for the groups given, that are not installed. A line "group command package…" is wanted only where the command is absent.
missing_packages() {
    for group in "$@"; do
        awk -v g="$group" '$1 == g' "$top/deploy/packages" | while read -r _ probe packages; do
            if [ "$probe" != - ] && command -v "$probe" >/dev/null; then continue; fi
            for package in $packages; do
                dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
            done
        done
    done
}

ensure_packages() {
    [ -r /etc/debian_version ] || die "this machine is not Debian; install what deploy/packages lists for: $*"
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    say "installing Debian packages: $missing"
    # shellcheck disable=SC2086  # a list of words is meant
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing >&2 ||
        { as_root apt-get -q update >&2 && as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing >&2; } ||
        die "apt-get could not install: $missing (its message is above; is a Debian mirror configured and reachable?)"
}
