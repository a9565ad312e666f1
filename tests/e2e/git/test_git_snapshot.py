"""Snapshots: the same commit is the same file, raw blobs, hostile trees, links, submodules."""

import json
import os
import shutil

import pytest
from conftest import failed
from git_servers import HttpGit, git


def tree_commit(bare, *lines, message="made by hand"):
    """A commit of a tree with any entries; mktree would refuse some, so it is written as bytes."""
    data = b""
    for mode, name, sha in lines:
        data += mode.encode() + b" " + (name if isinstance(name, bytes) else name.encode()) + b"\0" + bytes.fromhex(sha)
    tree = git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", cwd=bare, input=data).decode()
    commit = git("commit-tree", tree, "-m", message, cwd=bare).decode()
    git("update-ref", "refs/heads/hand", commit, cwd=bare)
    return commit


def blob(bare, data):
    return git("hash-object", "-w", "--stdin", cwd=bare, input=data).decode()


def plain_tree(bare, sha):
    data = b"100644 x\0" + bytes.fromhex(sha)
    return git("hash-object", "-t", "tree", "-w", "--stdin", cwd=bare, input=data).decode()


def leftovers(site):
    return [p.name for p in site.path.iterdir() if p.name.endswith(".zst")]


def test_content(pushed):
    assert pushed.fetch(pushed.r)["r"] == 0
    s = pushed.snapshot(pushed.second)
    assert s["r"] == 0 and s["files"] == 3 and s["bytes"] == 18 and s["warnings"] == [], s
    assert pushed.members() == {"a.txt": b"changed\n", "c.txt": b"three\n", "dir/b.txt": b"two\n"}
    assert pushed.snapshot(pushed.first)["files"] == 2  # an older commit
    assert s["size"] != 0 and len(s["sha256"]) == 64


def test_same_commit_same_bytes(pushed):
    """Twice, from a second mirror, from a source that was repacked, and over http."""
    pushed.fetch(pushed.r)
    shas = [pushed.snapshot(pushed.second, out=f"{i}.zst")["sha256"] for i in range(2)]
    git("gc", "-q", "--aggressive", cwd=pushed.r)
    pushed.fetch(pushed.r, "n.git")
    shas.append(pushed.snapshot(pushed.second, "n.git", "n.zst")["sha256"])
    with HttpGit(pushed.repos) as s:
        pushed.fetch(f"{s.base}/ok/r.git", "o.git")
        shas.append(pushed.snapshot(pushed.second, "o.git", "o.zst")["sha256"])
    assert len(set(shas)) == 1
    assert (pushed.path / "0.zst").read_bytes() == (pushed.path / "o.zst").read_bytes()


def test_raw_blobs(pushed):
    """No line-end conversion, no ident, no filter, no export-ignore: attributes do not touch the bytes."""
    w = pushed.w
    w.write(".gitattributes", "*.txt text eol=crlf ident\n*.crlf text\nhidden export-ignore\nsub/** export-subst filter=evil\n")
    w.write("lf.txt", b"a\nb\n$Id$\n").write("hidden", "h").write("sub/v", "$Format:%H$").write("bin", bytes(range(256)) * 10)
    sha = w.commit("attributes")
    w.git("push", "-q", str(pushed.r), "main")
    raw = blob(pushed.r, b"kept\r\nas it is\n")
    git("update-index", "--add", "--cacheinfo", f"100644,{raw},x.crlf", cwd=w.path)
    pushed.fetch(pushed.r)
    assert pushed.snapshot(sha)["r"] == 0
    m = pushed.members()
    assert m["lf.txt"] == b"a\nb\n$Id$\n" and m["hidden"] == b"h" and m["sub/v"] == b"$Format:%H$" and m["bin"] == bytes(range(256)) * 10
    commit = tree_commit(pushed.r, ("100644", "x.crlf", raw))
    pushed.fetch(pushed.r)
    assert pushed.snapshot(commit)["r"] == 0
    assert pushed.members() == {"x.crlf": b"kept\r\nas it is\n"}


def test_unusual_names(pushed):
    names = ["with space", "new\nline", "tab\t", "back\\slash", "ümlaut", "日本語/ファイル", "'quote\"", "-dash", "~tilde", "a.b/c", "a/c", "a-b",
             "...", ".hidden", "..x", "x..", "*?[", "%s%n", "e\x1bsc", "nbsp\u00a0", "e\u0301", "\u00e9", "Case", "case", "x" * 255,
             "/".join(["deep"] * 100)]
    for n in names:
        pushed.w.write(n, n)
    raw = b"latin\xe4"
    pushed.w.write(raw, "l")
    sha = pushed.w.commit("names")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    assert pushed.snapshot(sha)["r"] == 0
    m = pushed.members()
    for n in names:
        assert m[n] == n.encode(), n
    assert m[os.fsdecode(raw)] == b"l"


def test_modes_and_links(pushed):
    w = pushed.w
    w.write("run.sh", "#!/bin/sh\n", 0o755)
    for name, target in (("in", "a.txt"), ("dir/up", "../a.txt"), ("out", "../x"), ("abs", "/mnt/data"), ("dir/far", "../../x"),
                         ("through", "dir/../a.txt"), ("dangling", "not/there")):
        os.symlink(target, w.path / name)
    sha = w.commit("links")
    w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    s = pushed.snapshot(sha)
    m = pushed.members()
    assert m["run.sh"] == (b"#!/bin/sh\n", "x")
    assert m["in"] == ("->", "a.txt") and m["dir/up"] == ("->", "../a.txt") and m["dangling"] == ("->", "not/there")
    assert not {"out", "abs", "dir/far", "through"} & set(m)
    assert len(s["warnings"]) == 4 and any('"abs" -> "/mnt/data"' in x for x in s["warnings"]), s


def test_ten_thousand_files(pushed):
    for i in range(10_000):
        pushed.w.write(f"d{i % 100}/f{i}", str(i))
    sha = pushed.w.commit("many")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    s = pushed.snapshot(sha)
    assert s["r"] == 0 and s["files"] == 10_003
    m = pushed.members()
    assert all(m[f"d{i % 100}/f{i}"] == str(i).encode() for i in range(10_000))
    failed(pushed.snapshot(sha, policy={"max_snapshot_files": 5000}, out="t.zst"), "EFBIG", "5000")
    assert leftovers(pushed) == ["s.tar.zst"]


def test_limits(pushed):
    pushed.w.write("big", b"x" * 100_000)
    sha = pushed.w.commit("big")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    failed(pushed.snapshot(sha, policy={"max_file_bytes": 99_999}), "EFBIG", '"big"', "100000")
    failed(pushed.snapshot(sha, policy={"max_snapshot_bytes": 100_001}), "EFBIG", "100001")
    failed(pushed.snapshot(sha, deadline_ms=-1), "ETIMEDOUT")
    assert leftovers(pushed) == []
    assert pushed.snapshot(sha, policy={"max_file_bytes": 100_000})["r"] == 0


def test_unknown_commit(pushed):
    pushed.fetch(pushed.r)
    failed(pushed.snapshot("1" * 40), "ENOENT", "1" * 40)
    failed(pushed.snapshot("main"), "EINVAL")
    tree = git("rev-parse", "main^{tree}", cwd=pushed.r).decode()
    assert pushed.snapshot(tree)["r"] < 0
    assert leftovers(pushed) == []


@pytest.mark.parametrize("name", ["..", ".", ".git", ".GIT", "a/b", "", "../../evil"])
def test_hostile_names(pushed, name):
    b = blob(pushed.r, b"evil")
    commit = tree_commit(pushed.r, ("100644", name, b))
    pushed.fetch(pushed.r)
    s = pushed.snapshot(commit)
    assert s["r"] < 0 and s["errno"] in ("EINVAL", "EBADMSG"), s
    commit = tree_commit(pushed.r, ("40000", name, plain_tree(pushed.r, b)))
    pushed.fetch(pushed.r)
    s = pushed.snapshot(commit)
    assert s["r"] < 0 and s["errno"] in ("EINVAL", "EBADMSG"), s
    assert leftovers(pushed) == []


def test_hostile_shapes(pushed):
    b, link = blob(pushed.r, b"evil"), blob(pushed.r, b"dir")
    sub = plain_tree(pushed.r, b)
    nul = blob(pushed.r, b"a\0/etc/passwd")
    for what, lines in {
        "twice": [("100644", "f", b), ("100755", "f", b)],
        "link and directory": [("120000", "f", link), ("100644", "f.a", b), ("40000", "f", sub)],
        "file and directory": [("100644", "f", b), ("40000", "f", sub)],
        "unknown mode": [("140000", "f", b)],
        "missing": [("100644", "f", "1" * 40)],
        "missing tree": [("40000", "f", "1" * 40)],
        "blob as tree": [("40000", "f", b)],
        "tree as blob": [("100644", "f", sub)],
    }.items():
        git("update-ref", "-d", "refs/heads/hand", cwd=pushed.r)
        commit = tree_commit(pushed.r, *lines)
        assert pushed.fetch(pushed.r)["r"] == 0
        s = pushed.snapshot(commit)
        assert s["r"] < 0 and s["errno"] == "EBADMSG", (what, s)
        assert leftovers(pushed) == []
    commit = tree_commit(pushed.r, ("120000", "l", nul), ("100644", "ok", b))
    pushed.fetch(pushed.r)
    s = pushed.snapshot(commit)
    assert s["r"] == 0 and len(s["warnings"]) == 1 and set(pushed.members()) == {"ok"}


def test_too_deep(pushed):
    t = plain_tree(pushed.r, blob(pushed.r, b"x"))
    for _ in range(300):
        t = git("hash-object", "-t", "tree", "-w", "--stdin", cwd=pushed.r, input=b"40000 d\0" + bytes.fromhex(t)).decode()
    commit = tree_commit(pushed.r, ("40000", "d", t))
    pushed.fetch(pushed.r)
    failed(pushed.snapshot(commit), "EFBIG", "deeper")


# ---- submodules ----


@pytest.fixture
def modules(pushed):
    """r.git with lib.git as the submodule vendor/lib, relative URL, and opt.git inside of lib.git."""
    opt, lib = pushed.work("opt"), pushed.work("lib")
    pushed.opt_sha = opt.write("o.txt", "o").commit("opt")
    opt.git("push", "-q", str(pushed.bare("opt.git")), "main")
    lib.write("l.txt", "l")
    lib.git("submodule", "add", "-q", "-b", "main", str(pushed.repos / "opt.git"), "opt")
    lib.git("config", "-f", ".gitmodules", "submodule.opt.url", "../opt.git")
    pushed.lib_sha = lib.commit("lib")
    lib.git("push", "-q", str(pushed.bare("lib.git")), "main")
    pushed.lib = lib
    pushed.w.git("submodule", "add", "-q", "-b", "main", str(pushed.repos / "lib.git"), "vendor/lib")
    pushed.w.git("config", "-f", ".gitmodules", "submodule.vendor/lib.url", "../lib.git")
    pushed.w.write("vendor/lib.txt", "sorts between the link and what is in it")
    pushed.sha = pushed.w.commit("with modules")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.sub = {"submodules": True, "submodule_dir": str(pushed.path / "modules")}
    return pushed


def with_url(site, url, key="vendor/lib"):
    site.w.git("config", "-f", ".gitmodules", f"submodule.{key}.url", url)
    sha = site.w.commit("url")
    site.w.git("push", "-q", str(site.r), "main")
    site.fetch(site.r)
    return sha


def test_submodules(modules):
    modules.fetch(modules.r)
    s = modules.snapshot(modules.sha, url=str(modules.r), **modules.sub)
    assert s["r"] == 0 and s["warnings"] == [], s
    m = modules.members()
    assert m["vendor/lib/l.txt"] == b"l" and m["vendor/lib/opt/o.txt"] == b"o" and m["vendor/lib.txt"].startswith(b"sorts")
    again = modules.snapshot(modules.sha, url=str(modules.r), out="t.zst", **modules.sub)
    assert again["sha256"] == s["sha256"]
    shutil.rmtree(modules.repos / "lib.git")  # what is held is not asked for again
    assert modules.snapshot(modules.sha, url=str(modules.r), out="u.zst", **modules.sub)["sha256"] == s["sha256"]


def test_submodules_over_http(modules):
    with HttpGit(modules.repos) as s:
        url = f"{s.base}/ok/r.git"
        modules.fetch(url)
        r = modules.snapshot(modules.sha, url=url, **modules.sub)
        assert r["r"] == 0 and modules.members()["vendor/lib/opt/o.txt"] == b"o", r


def test_submodules_off(modules):
    modules.fetch(modules.r)
    s = modules.snapshot(modules.sha, url=str(modules.r))
    assert s["r"] == 0 and len(s["warnings"]) == 1 and "vendor/lib" in s["warnings"][0]
    assert not any(n.startswith("vendor/lib/") for n in modules.members())


def test_submodule_refusals(modules):
    site = modules
    snap = lambda sha, **kw: site.snapshot(sha, url=kw.pop("url", str(site.r)), **{**site.sub, **kw})  # noqa: E731
    failed(snap(with_url(site, "../none.git")), "ENOENT", "vendor/lib", "none.git")
    failed(snap(with_url(site, "../../../../../../../../../../../etc.git")), "EINVAL", "../")
    failed(snap(with_url(site, "ext::sh -c id")), "EINVAL", "vendor/lib")
    failed(snap(with_url(site, "-oProxyCommand=id")), "EINVAL", "vendor/lib")
    failed(snap(with_url(site, "/etc")), "EPERM", "vendor/lib")
    failed(snap(with_url(site, "https://evil.org/x.git"), policy={"hosts": ["good.org"]}), "EPERM", "evil.org")
    failed(snap(with_url(site, "http://127.0.0.1:1/x.git"), policy={"allow_private_addresses": False}), "EPERM", "vendor/lib")
    failed(snap(with_url(site, "../r.git")), "ELOOP", "vendor/lib", "parents")
    sha = with_url(site, f"{site.repos}/lib.git")
    failed(snap(sha, url="https://example.org/a.git"), "EPERM", "local")  # a foreign repository may not name a local one
    failed(snap(sha, submodule_depth=1), "ELOOP", "vendor/lib/opt")
    assert snap(sha, submodule_depth=2)["r"] == 0


def test_submodule_cycle(modules):
    """opt.git points back to lib.git: told, not followed for ever."""
    opt = modules.path / "opt"
    git("submodule", "add", "-q", str(modules.repos / "lib.git"), "back", cwd=opt)
    git("config", "-f", ".gitmodules", "submodule.back.url", "../lib.git", cwd=opt)
    git("commit", "-qam", "back", cwd=opt)
    git("push", "-q", str(modules.repos / "opt.git"), "main", cwd=opt)
    git("pull", "-q", "origin", "main", cwd=modules.lib.path / "opt")
    modules.lib.commit("newer opt")
    modules.lib.git("push", "-q", str(modules.repos / "lib.git"), "main")
    git("pull", "-q", "origin", "main", cwd=modules.w.path / "vendor/lib")
    sha = modules.w.commit("newer lib")
    modules.w.git("push", "-q", str(modules.r), "main")
    modules.fetch(modules.r)
    failed(modules.snapshot(sha, url=str(modules.r), submodule_depth=10, **modules.sub), "ELOOP", "vendor/lib/opt/back")


def test_submodule_commit_gone(modules):
    modules.lib.git("commit", "-q", "--amend", "-m", "rewritten")
    modules.lib.git("push", "-q", "-f", str(modules.repos / "lib.git"), "main")
    git("gc", "-q", "--prune=now", cwd=modules.repos / "lib.git")
    modules.fetch(modules.r)
    failed(modules.snapshot(modules.sha, url=str(modules.r), **modules.sub), "ENOENT", "vendor/lib", modules.lib_sha)


def test_gitlink_without_gitmodules(modules):
    commit = tree_commit(modules.r, ("160000", "ghost", modules.lib_sha), ("100644", "x", blob(modules.r, b"x")))
    modules.fetch(modules.r)
    s = modules.snapshot(commit, url=str(modules.r), **modules.sub)
    assert s["r"] == 0 and "ghost" in s["warnings"][0] and set(modules.members()) == {"x"}, s


@pytest.mark.parametrize("text", ['[submodule "x', "[submodule]\npath", "[]\n", 'path = "unclosed\n[submodule "x"]', "[a]\nk=\\q\n", "\0\0\0", "[" * 5000,
                                  '[include]\n\tpath = /etc/passwd\n[submodule "x"]\n\tpath = vendor/lib\n\turl = \n'])
def test_odd_gitmodules(modules, text):
    commit = tree_commit(modules.r, ("100644", ".gitmodules", blob(modules.r, text.encode())), ("160000", "vendor", modules.lib_sha))
    modules.fetch(modules.r)
    s = modules.snapshot(commit, url=str(modules.r), **modules.sub)
    assert s["r"] == 0 or (s["errno"] == "EINVAL" and ".gitmodules" in s["error"]), s
    assert "root:" not in json.dumps(s)
