"""Mirrors over http(s): git's own http-backend, and servers that misbehave."""

import json
import subprocess
import urllib.parse

import pytest
from conftest import PROBE, failed, probe
from git_servers import HttpGit, SelfSigned, git

USERS = {"ada": "pa55word"}
TOKENS = ("tok-0123456789",)


@pytest.fixture
def server(pushed):
    with HttpGit(pushed.repos, USERS, TOKENS) as s:
        yield s


def test_clone_update_nochange(pushed, server):
    url = f"{server.base}/ok/r.git"
    f = pushed.fetch(url)
    assert f["r"] == 0 and f["created"] and f["objects"] == 10, f
    git("fsck", "--full", "--strict", cwd=pushed.path / "m.git")
    assert pushed.ask("resolve", rev="main")["commit"]["sha"] == pushed.second
    before = len(server.requests)
    f = pushed.fetch(url)
    assert f["unchanged"], f
    assert len(server.requests) == before + 1  # one round trip
    pushed.w.write("new.txt", "n").commit("third")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.w.git("push", "-q", str(pushed.r), ":side")
    f = pushed.fetch(url)
    assert f["r"] == 0 and f["objects"] == 3 and [c[0] for c in f["changes"]] == ["refs/heads/main", "refs/heads/side"], f
    pushed.w.git("reset", "-q", "--hard", pushed.first)
    pushed.w.write("forced", "f").commit("forced")
    pushed.w.git("push", "-q", "-f", str(pushed.r), "main")
    assert pushed.fetch(url)["r"] == 0
    git("fsck", "--full", cwd=pushed.path / "m.git")
    assert pushed.ask("resolve", rev="main")["commit"]["parents"] == [pushed.first]


def test_default_branch(pushed, server):
    git("symbolic-ref", "HEAD", "refs/heads/side", cwd=pushed.r)
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0
    assert pushed.ask("resolve", rev="HEAD")["commit"]["sha"] == pushed.first
    git("symbolic-ref", "HEAD", "refs/heads/main", cwd=pushed.r)
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0
    assert pushed.ask("resolve", rev="HEAD")["commit"]["sha"] == pushed.second


@pytest.mark.parametrize("cred", [{"kind": "userpass", "user": "ada", "secret": "pa55word"}, {"kind": "token", "secret": TOKENS[0]},
                                  {"kind": "token", "user": "oauth2", "secret": TOKENS[0]}, {"kind": "bearer", "secret": TOKENS[0]}])
def test_credentials(pushed, server, cred):
    assert pushed.fetch(f"{server.base}/auth/r.git", credentials=cred)["r"] == 0


def test_credentials_in_the_url(pushed, server):
    url = f"http://ada:pa55word@127.0.0.1:{server.port}/auth/r.git"
    assert pushed.fetch(url)["r"] == 0
    for p in (pushed.path / "m.git").rglob("*"):
        assert not p.is_file() or b"pa55word" not in p.read_bytes(), p


def test_wrong_credentials_are_not_told(pushed, server):
    f = pushed.fetch(f"{server.base}/auth/r.git", credentials={"kind": "userpass", "user": "ada", "secret": "hunter2secret"})
    failed(f, "EACCES", "/auth/r.git", "refused")
    assert "hunter2" not in json.dumps(f)
    failed(pushed.fetch(f"{server.base}/auth/r.git"), "EACCES", "asks for credentials")
    f = pushed.fetch(f"http://ada:hunter2secret@127.0.0.1:{server.port}/auth/r.git")
    failed(f, "EACCES")
    assert "hunter2" not in json.dumps(f)
    failed(pushed.fetch(f"{server.base}/auth/r.git", credentials={"kind": "ssh_key", "secret": "x"}), "EINVAL", "SSH key")


def test_missing_empty(pushed, server):
    failed(pushed.fetch(f"{server.base}/ok/none.git"), "ENOENT", "/ok/none.git")
    pushed.bare("empty.git")
    failed(pushed.fetch(f"{server.base}/ok/empty.git"), "ENODATA", "/ok/empty.git", "empty")
    assert not (pushed.path / "m.git").exists()


@pytest.mark.parametrize("where,errno", [("html", "EBADMSG"), ("garbage", "EBADMSG"), ("status/500", "EIO"), ("status/418", "EBADMSG"),
                                         ("status/429", "EAGAIN"), ("status/503", "EAGAIN"), ("status/403", "EACCES"), ("loop", "ELOOP"),
                                         ("cut-pack", None)])
def test_misbehaving(pushed, server, where, errno):
    f = pushed.fetch(f"{server.base}/{where}/r.git")
    assert f["r"] < 0 and (errno is None or f["errno"] == errno), f
    assert f"/{where}/r.git" in f["error"], f
    assert not (pushed.path / "m.git").exists()


@pytest.mark.parametrize("where", ["silent", "stall", "stall-pack"])
def test_slow_server(pushed, server, where):
    f = pushed.fetch(f"{server.base}/{where}/r.git", policy={"idle_ms": 300})
    failed(f, "ETIMEDOUT", f"/{where}/r.git", "nothing")
    f = pushed.fetch(f"{server.base}/{where}/r.git", deadline_ms=300)
    failed(f, "ETIMEDOUT", f"/{where}/r.git", "deadline")
    assert not (pushed.path / "m.git").exists() and not (pushed.path / "m.git.partial").exists()


def test_a_failed_update_leaves_the_mirror(pushed, server):
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0
    pushed.w.write("big", bytes(range(256)) * 4000).commit("third")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    for where in ("stall-pack", "cut-pack", "status/500", "garbage", "html"):
        assert pushed.fetch(f"{server.base}/{where}/r.git", policy={"idle_ms": 300})["r"] < 0
        assert pushed.ask("resolve", rev="main")["commit"]["sha"] == pushed.second
    git("fsck", "--full", cwd=pushed.path / "m.git")
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0


def test_cancel(pushed, server):
    ask = {"call": "fetch", "mirror": str(pushed.path / "m.git"), "url": f"{server.base}/stall-pack/r.git", "policy": pushed.policy,
           "cancel_on_eof": True}
    p = subprocess.Popen([PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(json.dumps(ask).encode() + b"\n")
    p.stdin.flush()
    while not any(r["method"] == "POST" for r in server.requests):  # it is in the middle of the pack
        assert p.poll() is None
    p.stdin.close()
    failed(json.loads(p.stdout.read()), "ECANCELED", "/stall-pack/r.git")
    p.wait(10)


def test_huge(pushed, server):
    import os

    pushed.w.write("big", os.urandom(2_000_000)).commit("big")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    failed(pushed.fetch(f"{server.base}/ok/r.git", policy={"max_repo_bytes": 500_000}), "EFBIG", "/ok/r.git", "500000")
    failed(pushed.fetch(f"{server.base}/flood/r.git"), "EFBIG", "/flood/r.git")
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0


def test_blob_bomb(pushed, server):
    """100 MB of zeros in a few kilobytes of pack: never in memory, and no snapshot of it."""
    pushed.w.write("zeros", b"\0" * 100_000_000)
    sha = pushed.w.commit("bomb")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    f = pushed.fetch(f"{server.base}/ok/r.git")
    assert f["r"] == 0 and f["max_rss_kib"] < 80_000, f
    s = pushed.snapshot(sha, policy={"max_file_bytes": 10_000_000})
    failed(s, "EFBIG", "zeros", "100000000")
    assert s["max_rss_kib"] < 80_000, s


def test_delta_bomb(pushed, server):
    """A delta of 20 kB that unpacks to 128 MB."""
    import hashlib
    import struct
    import zlib

    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    def head(kind, n):
        out, n = [kind << 4 | n & 15], n >> 4
        while n:
            out[-1] |= 128
            out.append(n & 127)
            n >>= 7
        return bytes(out)

    base, pieces = b"x" * 65536, 2048
    delta = varint(len(base)) + varint(len(base) * pieces) + (b"\x80" * pieces)  # copy offset 0, size 0x10000
    pack = b"PACK" + struct.pack(">II", 2, 2) + head(3, len(base)) + zlib.compress(base)
    base_sha = hashlib.sha1(b"blob %d\0" % len(base) + base).digest()
    pack += head(7, len(delta)) + base_sha + zlib.compress(delta)
    pack += hashlib.sha1(pack).digest()
    git("index-pack", "--stdin", cwd=pushed.r, input=pack)
    bomb = hashlib.sha1(b"blob %d\0" % (len(base) * pieces) + base * pieces).hexdigest()
    tree = git("mktree", cwd=pushed.r, input=f"100644 blob {bomb}\tbomb\n100644 blob {base_sha.hex()}\tbase\n".encode()).decode()
    commit = git("commit-tree", tree, "-m", "bomb", cwd=pushed.r).decode()
    git("update-ref", "refs/heads/bomb", commit, cwd=pushed.r)
    f = pushed.fetch(f"{server.base}/ok/r.git", max_object_bytes=50_000_000)
    failed(f, "EBADMSG", "/ok/r.git")
    assert f["max_rss_kib"] < 100_000, f
    assert not (pushed.path / "m.git").exists()


def test_commit_bomb(pushed, server):
    git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", cwd=pushed.r,
        input=b"tree %b\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\n" % git("rev-parse", "main^{tree}", cwd=pushed.r)
        + b"x" * 100_000_000)
    sha = next(line.split()[0] for line in git("cat-file", "--batch-check", "--batch-all-objects", cwd=pushed.r).decode().split("\n")
               if int(line.split()[2]) > 90_000_000)
    git("update-ref", "refs/heads/bomb", sha, cwd=pushed.r)
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0
    for ask in (pushed.ask("resolve", rev="bomb"), pushed.snapshot(sha)):
        failed(ask, "EBADMSG", "64 MiB")
        assert ask["max_rss_kib"] < 80_000, ask
    assert pushed.ask("list_refs")["r"] == 0


# ---- redirects and addresses ----


def test_redirects(pushed, server):
    assert pushed.fetch(f"{server.base}/moved/r.git")["r"] == 0
    target = urllib.parse.quote(f"{server.base}/ok", safe="")
    assert pushed.fetch(f"{server.base}/to/{target}/r.git", "n.git")["r"] == 0
    target = urllib.parse.quote("https://gitlab.example.org/login", safe="")
    failed(pushed.fetch(f"{server.base}/to/{target}/r.git", "o.git", policy={"hosts": ["127.0.0.1"]}), "EPERM", "gitlab.example.org")
    target = urllib.parse.quote("file:///etc", safe="")
    assert pushed.fetch(f"{server.base}/to/{target}/r.git", "o.git")["r"] < 0


def test_redirect_to_other_host_gets_no_credentials(pushed, server):
    with HttpGit(pushed.repos, USERS, TOKENS) as other:
        target = urllib.parse.quote(f"{other.base}/ok", safe="")
        f = pushed.fetch(f"{server.base}/to/{target}/r.git", credentials={"kind": "token", "secret": TOKENS[0]})
        assert f["r"] == 0
        assert "Authorization" in server.requests[0]["headers"]
        assert other.requests and not any("Authorization" in r["headers"] for r in other.requests)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::1]",
                                  "[::ffff:127.0.0.1]"])
def test_private_addresses(pushed, server, host):
    f = pushed.fetch(f"http://{host}:{server.port}/ok/r.git", policy={"allow_private_addresses": False})
    assert f["r"] < 0 and f["errno"] in ("EPERM", "EINVAL"), f
    assert server.requests == []


@pytest.mark.parametrize("address", ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]",
                                     "[::]", "[64:ff9b::a00:1]", "[2002:a00:1::]", "224.0.0.1"])
def test_more_private_addresses(pushed, address):
    for url in (f"http://{address}/r.git", f"git://{address}/r.git", f"ssh://{address}/r.git"):
        failed(pushed.fetch(url, policy={"allow_private_addresses": False}), "EPERM", "private")


def test_redirect_to_private_address(pushed, server):
    """Allowed to the first hop only by being the proxy here: the second is judged like the first."""
    target = urllib.parse.quote("http://169.254.169.254/latest", safe="")
    f = pushed.fetch(f"{server.base}/to/{target}/r.git", policy={"allow_private_addresses": False})
    failed(f, "EPERM")


# ---- TLS ----


def test_tls(pushed):
    with SelfSigned() as tls, HttpGit(pushed.repos, USERS, TOKENS, tls=tls) as s:
        url = f"{s.base}/ok/r.git"
        failed(pushed.fetch(url), "EACCES", "127.0.0.1")  # nobody signed it
        assert pushed.fetch(url, policy={"ca_file": tls.cert})["r"] == 0
        failed(pushed.fetch(f"https://localhost:{s.port}/ok/r.git", "n.git", policy={"ca_file": tls.cert}), "EACCES")  # another name
        target = urllib.parse.quote(f"http://127.0.0.1:{s.port}/ok", safe="")
        failed(pushed.fetch(f"{s.base}/to/{target}/r.git", "n.git", policy={"ca_file": tls.cert}), "EPERM", "https")


def test_pushes_work_against_our_server(pushed, server):
    """The test server is a real one: git itself pushes to it and clones from it."""
    url = f"http://ada:pa55word@127.0.0.1:{server.port}/ok/r.git"
    sha = pushed.w.write("p.txt", "p").commit("pushed over http")
    pushed.w.git("push", "-q", url, "main")
    assert pushed.fetch(f"{server.base}/ok/r.git")["r"] == 0
    assert pushed.ask("resolve", rev="main")["commit"]["sha"] == sha


def test_many_small_packs_are_joined(pushed, server):
    url = f"{server.base}/ok/r.git"
    assert pushed.fetch(url)["r"] == 0
    for i in range(70):
        pushed.w.write("n.txt", str(i)).commit(str(i))
        pushed.w.git("push", "-q", str(pushed.r), "main")
        assert pushed.fetch(url)["r"] == 0
    packs = list((pushed.path / "m.git/objects/pack").glob("*.pack"))
    assert len(packs) < 30, len(packs)
    git("fsck", "--full", cwd=pushed.path / "m.git")
    assert pushed.snapshot(pushed.w.git("rev-parse", "HEAD"))["r"] == 0
