#!/usr/bin/env python3
"""Mirrors of a local repository and over git://, against the git command, in the same run.

    tests/bench/git_local.py build/release/tests/e2e/git/git_probe [MiB] [commits]

Every line is a median of three and a ratio to git doing the same; the ratio is what counts. Default 200 MiB in 5,000 commits."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from git_servers import GIT_ENV, GitDaemon, git  # noqa: E402

PROBE = sys.argv[1]
MIB = int(sys.argv[2]) if len(sys.argv) > 2 else 200
COMMITS = int(sys.argv[3]) if len(sys.argv) > 3 else 5000
POLICY = {"schemes": ["file", "git"], "allow_private_addresses": True}


def make(repo):
    git("init", "-q", "--bare", "-b", "main", str(repo))
    size = MIB * 1024 * 1024 // COMMITS
    p = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=repo, stdin=subprocess.PIPE, env=GIT_ENV)
    for i in range(COMMITS):
        data = os.urandom(size)
        p.stdin.write(b"commit refs/heads/main\ncommitter C <c@example.org> %d +0000\ndata 2\nc\n" % (1700000000 + i)
                      + b"M 100644 inline d%d/f%d\ndata %d\n" % (i % 50, i % 500, size) + data + b"\n")
    p.stdin.close()
    assert p.wait() == 0


def one_more(repo, n):
    p = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=repo, stdin=subprocess.PIPE, env=GIT_ENV)
    p.communicate(b"commit refs/heads/main\ncommitter C <c@example.org> %d +0000\ndata 2\nm\nfrom refs/heads/main^0\n"
                  b"M 100644 inline more\ndata 5\n%05d\n" % (1800000000 + n, n))
    assert p.returncode == 0


def ours(mirror, url):
    ask = {"call": "fetch", "mirror": str(mirror), "url": str(url), "policy": {**POLICY, "local_roots": [str(top)]}}
    t = time.monotonic()
    out = subprocess.run([PROBE], input=json.dumps(ask).encode() + b"\n", capture_output=True, check=True)
    t = time.monotonic() - t
    answer = json.loads(out.stdout)
    assert answer["r"] == 0, answer
    return t, answer["max_rss_kib"] / 1024


def theirs(*args, cwd=None):
    t = time.monotonic()
    git(*args, cwd=cwd)
    return time.monotonic() - t


def line(what, a, b, rss=None):
    a, b = statistics.median(a), statistics.median(b)
    print(f"{what:46} {a:8.3f} s {b:8.3f} s   ratio {a / b:5.2f}" + (f"   {rss:.0f} MiB" if rss else ""), flush=True)


def rounds(n, mine, peer):
    """Alternating, so that both see the same machine."""
    a, b = [], []
    for i in range(n):
        a.append(mine(i))
        b.append(peer(i))
    return a, b


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    return path


with tempfile.TemporaryDirectory(prefix="ptl-bench-git-") as d:
    top = Path(d)
    repo = top / "r.git"
    make(repo)
    print(f"{MIB} MiB, {COMMITS} commits, {os.cpu_count()} cores" + " " * 20 + "ours      git")
    for how, flags in (("copying", ["--no-hardlinks"]), ("hard links", ["--local"])):
        line(f"clone of a path, git {how}", *rounds(
            3, lambda i: ours(fresh(top / "m.git"), repo)[0], lambda i: theirs("clone", "-q", "--mirror", *flags, str(repo), str(fresh(top / "g.git")))))
    line("clone of file://", *rounds(
        3, lambda i: ours(fresh(top / "m.git"), f"file://{repo}")[0],
        lambda i: theirs("clone", "-q", "--mirror", f"file://{repo}", str(fresh(top / "g.git")))))
    line("fetch of a path, no change", *rounds(5, lambda i: ours(top / "m.git", repo)[0], lambda i: theirs("fetch", "-q", "--prune", cwd=top / "g.git")))

    def step(n, fn):
        one_more(repo, n)
        return fn()

    line("fetch of a path, one commit", *rounds(
        5, lambda i: step(2 * i, lambda: ours(top / "m.git", repo)[0]), lambda i: step(2 * i + 1, lambda: theirs("fetch", "-q", "--prune", cwd=top / "g.git"))))
    with GitDaemon(top) as s:
        url = f"{s.base}/r.git"
        rss = []

        def clone(i):
            t, r = ours(fresh(top / "m.git"), url)
            rss.append(r)
            return t

        line("clone of git://", *rounds(3, clone, lambda i: theirs("clone", "-q", "--mirror", url, str(fresh(top / "g.git")))), max(rss))
        line("fetch of git://, no change", *rounds(5, lambda i: ours(top / "m.git", url)[0], lambda i: theirs("fetch", "-q", "--prune", cwd=top / "g.git")))
        line("fetch of git://, one commit", *rounds(
            5, lambda i: step(100 + 2 * i, lambda: ours(top / "m.git", url)[0]),
            lambda i: step(101 + 2 * i, lambda: theirs("fetch", "-q", "--prune", cwd=top / "g.git"))))
    head = git("rev-parse", "main", cwd=top / "m.git").decode()
    ask = {"call": "snapshot", "mirror": str(top / "m.git"), "commit": head, "out": str(top / "s.tar.zst"), "policy": POLICY}

    def snap(i):
        t = time.monotonic()
        out = json.loads(subprocess.run([PROBE], input=json.dumps(ask).encode() + b"\n", capture_output=True, check=True).stdout)
        assert out["r"] == 0, out
        return time.monotonic() - t

    def archive(i):
        t = time.monotonic()
        subprocess.run(f"git archive {head} | zstd -3 -q -f -o {top}/g.tar.zst", shell=True, check=True, cwd=repo, env=GIT_ENV)
        return time.monotonic() - t

    line("snapshot, git archive | zstd -3", *rounds(3, snap, archive))
