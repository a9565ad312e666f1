"""Fixtures of the git suites: repositories made with the git command, and the probe that calls daemon/git."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from git_servers import GIT_ENV, git  # noqa: E402

PROBE = os.environ.get("PTL_GIT_PROBE", "git_probe")
ZERO = "0" * 40
OPEN = {"schemes": ["https", "http", "ssh", "git", "file"], "allow_private_addresses": True}


def probe(call, timeout=120, **args):
    """Runs one call; never raises for a refused one. The time-out is the test's own: the probe must not need it."""
    p = subprocess.run([PROBE], input=json.dumps({"call": call, **args}).encode() + b"\n", capture_output=True,
                       timeout=timeout * float(os.environ.get("PTL_PATIENCE") or 1), env={**os.environ, "HOME": "/nonexistent"})
    assert p.returncode == 0, (p.returncode, p.stderr.decode(errors="replace"))
    return json.loads(p.stdout)


class Work:
    """A working repository to push from."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir(parents=True)
        git("init", "-q", "-b", "main", cwd=self.path)

    def git(self, *args, **kw):
        return git(*args, cwd=self.path, **kw).decode()

    def write(self, name, data=b"", mode=None):
        p = os.path.join(os.fsencode(self.path), os.fsencode(name))
        os.makedirs(os.path.dirname(p), exist_ok=True)
        with open(p, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        if mode:
            os.chmod(p, mode)
        return self

    def commit(self, message="change", **env):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, env=env)
        return self.git("rev-parse", "HEAD")


class Site:
    """One test's directory: bare repositories below repos/, mirrors, archives."""

    def __init__(self, path):
        self.path = path
        self.repos = path / "repos"
        self.repos.mkdir()
        self.policy = {**OPEN, "local_roots": [str(self.repos)]}

    def work(self, name="work"):
        return Work(self.path / name)

    def bare(self, name="r.git"):
        p = self.repos / name
        git("init", "-q", "--bare", "-b", "main", str(p))
        return p

    def fetch(self, url, mirror="m.git", policy=None, **kw):
        return probe("fetch", mirror=str(self.path / mirror), url=str(url), policy={**self.policy, **(policy or {})}, **kw)

    def ask(self, call, mirror="m.git", **kw):
        return probe(call, mirror=str(self.path / mirror), **kw)

    def snapshot(self, commit, mirror="m.git", out="s.tar.zst", policy=None, **kw):
        return probe("snapshot", mirror=str(self.path / mirror), commit=commit, out=str(self.path / out),
                     policy={**self.policy, **(policy or {})}, **kw)

    def members(self, out="s.tar.zst"):
        """{name: bytes, or ("->", target)} of an archive, read by another implementation than the one under test."""
        raw = subprocess.run(["zstd", "-dcq", str(self.path / out)], capture_output=True, check=True).stdout
        found = {}
        with tarfile.open(fileobj=io.BytesIO(raw), encoding="utf-8", errors="surrogateescape") as t:
            for m in t:
                assert m.mtime == 0 and m.uid == 0 and m.gid == 0 and m.uname == "" and m.name not in found
                if m.issym():
                    found[m.name] = ("->", m.linkname)
                else:
                    assert m.isreg() and m.mode in (0o644, 0o755), (m.name, oct(m.mode))
                    found[m.name] = t.extractfile(m).read() if m.mode == 0o644 else (t.extractfile(m).read(), "x")
        assert list(found) == sorted(found, key=os.fsencode)
        return found


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def pushed(site):
    """site with repos/r.git that holds two commits on main, a branch and an annotated tag."""
    w = site.work()
    bare = site.bare()
    w.write("a.txt", "one\n").write("dir/b.txt", "two\n")
    site.first = w.commit("first")
    w.git("branch", "side")
    w.git("tag", "-a", "v1", "-m", "release")
    w.write("a.txt", "changed\n").write("c.txt", "three\n")
    site.second = w.commit("second")
    w.git("push", "-q", str(bare), "--all")
    w.git("push", "-q", str(bare), "--tags")
    site.w, site.r = w, bare
    return site


def failed(answer, errno, *words):
    """The call was refused with that errno, and the sentence holds the words."""
    assert answer["r"] < 0, answer
    assert answer["errno"] == errno, answer
    assert "error_code" not in answer, answer
    for word in words:
        assert str(word) in answer["error"], (word, answer["error"])
