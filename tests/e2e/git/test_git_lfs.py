"""Git LFS: objects pushed by git-lfs itself to a real batch server, had again by ours; and servers that lie."""

import hashlib
import json
import os
import shutil
import subprocess
import urllib.parse

import pytest
from conftest import failed
from git_servers import GIT_ENV, HttpGit, SelfSigned, Sshd, git

pytestmark = pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs is not installed")
USERS, TOKENS = {"ada": "pa55word"}, ("tok-0123456789",)
SECRET = {"kind": "token", "secret": TOKENS[0]}
BIG = bytes(range(256)) * 4096  # 1 MiB


def pointer(data):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\nsize {len(data)}\n".encode()


@pytest.fixture
def lfs(site):
    """r.git with model.bin (1 MiB) and sub/deep/w.h5 in LFS, pushed by git lfs to the server."""
    store = site.path / "server-objects"
    store.mkdir()
    home = site.path / "home"
    home.mkdir()
    w, bare = site.work(), site.bare()
    with HttpGit(site.repos, USERS, TOKENS, lfs_store=store) as server:
        site.server, site.w, site.r, site.store = server, w, bare, store
        site.url = f"{server.base}/ok/r.git"
        site.env = {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / "gitconfig")}
        site.w.git("lfs", "install", "--local", env=site.env)
        w.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
        w.write("sub/deep/.gitattributes", "*.h5 filter=lfs diff=lfs merge=lfs -text\n")
        w.write("model.bin", BIG).write("sub/deep/w.h5", b"weights" * 1000).write("copy.bin", BIG).write("plain.txt", "p")
        w.write("other.h5", "not under an attribute")
        os.chmod(w.path / "copy.bin", 0o755)
        w.git("add", "-A", env=site.env)
        w.git("commit", "-q", "-m", "lfs", env=site.env)
        site.sha = w.git("rev-parse", "HEAD")
        push(site)
        server.requests.clear()
        assert site.fetch(site.url)["r"] == 0
        site.opt = {"lfs": True, "lfs_store": str(site.path / "lfs-cache"), "url": site.url}
        yield site


def push(site):
    url = f"http://ada:pa55word@127.0.0.1:{site.server.port}/ok/r.git"
    site.w.git("push", "-q", url, "main", env=site.env)  # its pre-push hook runs git lfs push
    return site.w.git("rev-parse", "HEAD")


def raw(site, name, data):
    """Puts bytes into the index as they are, past the LFS filter."""
    sha = site.w.git("hash-object", "-w", "--stdin", input=data if isinstance(data, bytes) else data.encode())
    site.w.git("update-index", "--add", "--cacheinfo", f"100644,{sha},{name}")


def raw_push(site):
    site.w.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "raw")
    site.w.git("-c", "core.hooksPath=/dev/null", "push", "-q", str(site.r), "main")
    assert site.fetch(site.url)["r"] == 0
    return site.w.git("rev-parse", "HEAD")


def test_objects_come(lfs):
    assert len(list(lfs.store.iterdir())) == 2  # git lfs push did put them there
    s = lfs.snapshot(lfs.sha, **lfs.opt)
    assert s["r"] == 0 and s["lfs_files"] == 3 and s["lfs_downloaded"] == 2 and s["warnings"] == [], s
    m = lfs.members()
    assert m["model.bin"] == BIG and m["copy.bin"] == (BIG, "x") and m["sub/deep/w.h5"] == b"weights" * 1000
    assert m["plain.txt"] == b"p" and m["other.h5"] == b"not under an attribute"
    lfs.server.requests.clear()
    again = lfs.snapshot(lfs.sha, out="t.zst", **lfs.opt)
    assert again["lfs_downloaded"] == 0 and again["sha256"] == s["sha256"] and lfs.server.requests == []
    fresh = lfs.snapshot(lfs.sha, out="u.zst", **{**lfs.opt, "lfs_store": str(lfs.path / "other-cache")})
    assert fresh["lfs_downloaded"] == 2 and fresh["sha256"] == s["sha256"]
    batch = [r for r in lfs.server.requests if r["path"].endswith("/objects/batch")]
    assert len(batch) == 1
    got = [r for r in lfs.server.requests if "/object/" in r["path"]]
    assert len(got) == 2 and all(r["headers"].get("X-Portolan-Test") == "kept" for r in got)


def test_git_lfs_reads_the_same(lfs):
    """The peer: git clone with git-lfs has the same bytes as the snapshot."""
    lfs.snapshot(lfs.sha, **lfs.opt)
    git("lfs", "install", env=lfs.env)
    git("clone", "-q", lfs.url, str(lfs.path / "peer"), env=lfs.env)
    for name, data in lfs.members().items():
        assert (lfs.path / "peer" / name).read_bytes() == (data if isinstance(data, bytes) else data[0]), name


def test_off(lfs):
    s = lfs.snapshot(lfs.sha, url=lfs.url)
    assert s["r"] == 0 and len(s["warnings"]) == 3
    assert lfs.members()["model.bin"] == pointer(BIG)


def test_pointer_without_attribute(lfs):
    raw(lfs, "stray.dat", pointer(b"stray"))
    sha = raw_push(lfs)
    s = lfs.snapshot(sha, **lfs.opt)
    assert s["r"] == 0 and "stray.dat" in s["warnings"][0] and lfs.members()["stray.dat"] == pointer(b"stray"), s


@pytest.mark.parametrize("text", [pointer(b"x")[:-8], pointer(b"x").replace(b"sha256:", b"sha256:XY"), pointer(b"x") + b"y" * 1100,
                                  pointer(b"x").replace(b"size 1", b"size -1"), pointer(b"x").replace(b"size 1", b"size 99999999999999999999"),
                                  pointer(b"x").upper(), b"version https://git-lfs.github.com/spec/v1\n"])
def test_not_quite_pointers(lfs, text):
    raw(lfs, "odd.bin", text)
    sha = raw_push(lfs)
    assert lfs.snapshot(sha, **lfs.opt)["r"] == 0
    assert lfs.members()["odd.bin"] == text


def test_missing_object(lfs):
    raw(lfs, "gone.bin", pointer(b"never pushed"))
    sha = raw_push(lfs)
    oid = hashlib.sha256(b"never pushed").hexdigest()
    failed(lfs.snapshot(sha, **lfs.opt), "ENOENT", "gone.bin", oid)
    assert not (lfs.path / "s.tar.zst").exists()


def test_empty_object(lfs):
    raw(lfs, "empty.bin", pointer(b""))
    sha = raw_push(lfs)
    (lfs.store / hashlib.sha256(b"").hexdigest()).write_bytes(b"")
    assert lfs.snapshot(sha, **lfs.opt)["r"] == 0
    assert lfs.members()["empty.bin"] == b""


def lying(lfs, **hooks):
    lfs.server.lfs_hooks = hooks
    s = lfs.snapshot(lfs.sha, **lfs.opt)
    lfs.server.lfs_hooks = {}
    return s


def test_lying_servers(lfs):
    failed(lying(lfs, **{"wrong-bytes": 1}), "EBADMSG", "SHA-256")
    failed(lying(lfs, **{"too-long": 1}), "EBADMSG", "more than")
    failed(lying(lfs, **{"no-action": 1}), "ENOENT", "no place")
    failed(lying(lfs, forget=1), "ENOENT", "does not mention")
    failed(lying(lfs, transfer="ssh"), "EBADMSG", "ssh")
    base = lfs.server.base
    for href, errno in (("file:///etc/passwd", "EPERM"), ("gopher://x/y", "EINVAL"), (f"{base}/status/500/x", "EIO"), ("", "EINVAL"),
                        (f"{base}/status/404/x", "ENOENT"), (f"{base}/status/403/x", "EACCES"), (f"{base}/loop/x", "ELOOP"),
                        ("/etc/passwd", "EPERM"), ("ssh://x/y", "EPERM")):
        s = lying(lfs, href=lambda oid, h, to=href: to)
        assert s["r"] < 0 and s["errno"] == errno, (href, s)
    for p in (lfs.path / "lfs-cache").rglob("*"):  # no lie was kept
        assert not p.is_file() or hashlib.sha256(p.read_bytes()).hexdigest() == p.name
    assert lying(lfs)["r"] == 0


def test_slow_objects(lfs):
    lfs.server.lfs_hooks = {"href": lambda oid, h: f"{lfs.server.base}/silent/x"}
    failed(lfs.snapshot(lfs.sha, policy={"idle_ms": 300}, **{**lfs.opt, "lfs_store": str(lfs.path / "c2")}), "ETIMEDOUT", "LFS object")
    failed(lfs.snapshot(lfs.sha, deadline_ms=400, **{**lfs.opt, "lfs_store": str(lfs.path / "c2")}), "ETIMEDOUT")


def test_objects_elsewhere_get_no_credentials(lfs):
    """By a redirect or by the batch answer, with and without a header of the server's own."""
    with HttpGit(lfs.repos, lfs_store=lfs.store) as cdn:
        target = urllib.parse.quote(f"{cdn.base}/ok/r.git/info/lfs/object", safe="")
        for href, bare in ((lambda oid, h: f"{lfs.server.base}/to/{target}/{oid}", False), (lambda oid, h: f"{lfs.server.base}/to/{target}/{oid}", True),
                           (lambda oid, h: f"{cdn.base}/ok/r.git/info/lfs/object/{oid}?sig=1", True)):
            lfs.server.lfs_hooks = {"href": href, **({"no-header": 1} if bare else {})}
            shutil.rmtree(lfs.path / "lfs-cache", ignore_errors=True)
            cdn.requests.clear()
            s = lfs.snapshot(lfs.sha, credentials=SECRET, **lfs.opt)
            assert s["r"] == 0, s
            assert len(cdn.requests) == 2 and not any("Authorization" in r["headers"] for r in cdn.requests)
    assert any("Authorization" in r["headers"] for r in lfs.server.requests)


def test_private_places(lfs):
    failed(lfs.snapshot(lfs.sha, policy={"allow_private_addresses": False}, **lfs.opt), "EPERM", "LFS")
    policy = {"hosts": ["127.0.0.1"], "lfs_hosts": ["*.store.example"]}
    s = lying(lfs, href=lambda oid, h: "https://evil.example/x")
    lfs.server.lfs_hooks = {"href": lambda oid, h: "https://evil.example/x"}
    failed(lfs.snapshot(lfs.sha, policy=policy, **lfs.opt), "EPERM", "evil.example")
    lfs.server.lfs_hooks = {}
    assert s["r"] < 0
    assert lfs.snapshot(lfs.sha, policy=policy, **lfs.opt)["r"] == 0


def test_credentials(lfs):
    url = f"{lfs.server.base}/auth/r.git"
    opt = {**lfs.opt, "url": url}
    failed(lfs.snapshot(lfs.sha, **opt), "EACCES", "asks for credentials")
    s = lfs.snapshot(lfs.sha, credentials={"kind": "token", "secret": "hunter2secret"}, **opt)
    failed(s, "EACCES", "refused")
    assert "hunter2" not in json.dumps(s)
    assert lfs.snapshot(lfs.sha, credentials=SECRET, **opt)["r"] == 0
    s = lfs.snapshot(lfs.sha, out="u.zst", **{**opt, "lfs_store": str(lfs.path / "c2"),
                                              "url": f"http://ada:pa55word@127.0.0.1:{lfs.server.port}/auth/r.git"})
    assert s["r"] == 0, s


def test_lfsconfig(lfs):
    """.lfsconfig moves the endpoint: judged by policy, and the project's token goes only to the repository's own host."""
    with HttpGit(lfs.repos, lfs_store=lfs.store) as other:
        raw(lfs, ".lfsconfig", f'[lfs]\n\turl = "{other.base}/ok/r.git/info/lfs"\n')
        sha = raw_push(lfs)
        lfs.server.requests.clear()
        s = lfs.snapshot(sha, credentials=SECRET, **lfs.opt)
        assert s["r"] == 0 and other.requests and not lfs.server.requests, s
        moved = lfs.snapshot(sha, out="v.zst", **{**lfs.opt, "lfs_store": str(lfs.path / "c3")}, lfs_url=f"{lfs.server.base}/ok/r.git/info/lfs")
        assert moved["r"] == 0 and lfs.server.requests  # the operator's word is above the repository's
    for text, errno in (('[lfs]\nurl = "file:///etc"', "EPERM"), ("[lfs]\nurl = https://evil.org/lfs", "EPERM"),
                        ('[lfs]\nurl = "unclosed', "EINVAL"), ("[lfs]\nurl = ext::sh", "EINVAL")):
        raw(lfs, ".lfsconfig", text)
        sha = raw_push(lfs)
        s = lfs.snapshot(sha, policy={"hosts": ["127.0.0.1"]}, **{**lfs.opt, "lfs_store": str(lfs.path / "c2")})
        assert s["r"] < 0 and s["errno"] == errno and "lfsconfig" in s["error"], (text, s)


def test_lfsconfig_on_another_host_gets_no_token(lfs):
    with HttpGit(lfs.repos, lfs_store=lfs.store) as other:
        raw(lfs, ".lfsconfig", f"[lfs]\n\turl = http://localhost:{other.port}/ok/r.git/info/lfs\n")
        sha = raw_push(lfs)
        lfs.snapshot(sha, credentials=SECRET, **lfs.opt)
        assert other.requests and not any("Authorization" in r["headers"] for r in other.requests)


def test_no_downgrade(lfs):
    """A repository had over https does not send its token or its objects over http."""
    with SelfSigned() as tls, HttpGit(lfs.repos, USERS, TOKENS, tls=tls, lfs_store=lfs.store) as secure:
        opt = {**lfs.opt, "url": f"{secure.base}/ok/r.git", "lfs_store": str(lfs.path / "c2")}
        policy = {"ca_file": tls.cert}
        secure.lfs_hooks = {"href": lambda oid, h: f"{lfs.server.base}/ok/r.git/info/lfs/object/{oid}"}
        failed(lfs.snapshot(lfs.sha, policy=policy, credentials=SECRET, **opt), "EPERM", "http")
        secure.lfs_hooks = {}
        assert lfs.snapshot(lfs.sha, policy=policy, credentials=SECRET, **opt)["r"] == 0


def test_limits(lfs):
    failed(lfs.snapshot(lfs.sha, policy={"max_file_bytes": 1_000_000}, **lfs.opt), "EFBIG", ".bin", "1048576")
    failed(lfs.snapshot(lfs.sha, policy={"max_snapshot_bytes": 1_500_000}, **lfs.opt), "EFBIG", "1500000")
    assert not (lfs.path / "lfs-cache").exists()  # told before anything was downloaded
    raw(lfs, "liar.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 9000000000000\n" % (b"a" * 64))
    sha = raw_push(lfs)
    failed(lfs.snapshot(sha, **lfs.opt), "EFBIG", "liar.bin")


def test_damaged_store_heals(lfs):
    s = lfs.snapshot(lfs.sha, **lfs.opt)
    for p in (lfs.path / "lfs-cache").rglob("*"):
        if p.is_file():
            p.chmod(0o644)
            p.write_bytes(p.read_bytes()[:-1] + b"!")
    again = lfs.snapshot(lfs.sha, out="t.zst", **lfs.opt)
    assert again["r"] == 0 and again["sha256"] == s["sha256"] and again["lfs_downloaded"] == 2


def test_many_objects(lfs):
    """More than one batch."""
    for i in range(230):
        lfs.w.write(f"many/{i}.bin", f"object {i}")
    lfs.w.git("add", "-A", env=lfs.env)
    lfs.w.git("commit", "-q", "-m", "many", env=lfs.env)
    sha = push(lfs)
    lfs.fetch(lfs.url)
    lfs.server.requests.clear()
    s = lfs.snapshot(sha, **lfs.opt)
    assert s["r"] == 0 and s["lfs_downloaded"] == 232
    assert len([r for r in lfs.server.requests if r["path"].endswith("batch")]) == 3
    assert lfs.members()["many/229.bin"] == b"object 229"


def test_local_repository(lfs):
    """A local bare repository keeps what git lfs pushed to it in lfs/objects."""
    lfs.w.git("push", "-q", str(lfs.r), "main", env=lfs.env)
    local = lfs.repos / "local.git"
    git("init", "-q", "--bare", "-b", "main", str(local))
    lfs.w.git("push", "-q", f"file://{local}", "main", env=lfs.env)
    assert (local / "lfs/objects").is_dir()
    opt = {**lfs.opt, "url": str(local), "lfs_store": str(lfs.path / "c2")}
    assert lfs.fetch(local, "l.git")["r"] == 0
    s = lfs.snapshot(lfs.sha, "l.git", **opt)
    assert s["r"] == 0 and lfs.members()["model.bin"] == BIG, s
    shutil.rmtree(local / "lfs")
    failed(lfs.snapshot(lfs.sha, "l.git", out="t.zst", **{**opt, "lfs_store": str(lfs.path / "c3")}), "ENOENT", "git lfs push")
    os.makedirs(local / "lfs")
    os.symlink("/etc", local / "lfs/objects")
    assert lfs.snapshot(lfs.sha, "l.git", out="t.zst", **{**opt, "lfs_store": str(lfs.path / "c3")})["r"] < 0


@pytest.mark.skipif(not Sshd.find(), reason="openssh-server is not installed")
def test_over_ssh(lfs):
    """git-lfs-authenticate on the server names the endpoint and hands out the header."""
    with Sshd() as sshd:
        tool = sshd.dir / "git-lfs-authenticate"
        answer = {"href": f"{lfs.server.base}/auth/r.git/info/lfs", "header": {"Authorization": f"Bearer {TOKENS[0]}"}}
        tool.write_text(f"#!/bin/sh\necho \"$@\" > {sshd.dir}/asked\necho '{json.dumps(answer)}'\n")
        tool.chmod(0o755)
        keys = sshd.dir / "authorized_keys"
        keys.write_text(f'environment="PATH={sshd.dir}:/usr/bin:/bin" ' + keys.read_text())
        with open(sshd.dir / "config", "a") as f:
            f.write("PermitUserEnvironment yes\n")
        sshd.process.send_signal(1)  # SIGHUP: reads its configuration again
        from git_servers import wait_port

        wait_port(sshd.port, sshd.process)
        cred = {"kind": "ssh_key", "secret": (sshd.dir / "client").read_text()}
        policy = {"ssh_known_hosts": str(sshd.known_hosts)}
        url = f"{sshd.base}{lfs.r}"
        f = lfs.fetch(url, "n.git", policy=policy, credentials=cred)
        assert f["r"] == 0, f
        s = lfs.snapshot(lfs.sha, "n.git", policy=policy, credentials=cred, **{**lfs.opt, "url": url, "lfs_store": str(lfs.path / "c2")})
        assert s["r"] == 0 and lfs.members()["model.bin"] == BIG, s
        assert (sshd.dir / "asked").read_text().strip() == f"{str(lfs.r).lstrip('/')} download"
