"""Mirrors of local repositories, and everything that can be asked of a mirror."""

import os
import random
import shutil
import subprocess
import threading

import pytest
from conftest import OPEN, ZERO, failed, probe
from git_servers import git


def refs(site, mirror="m.git"):
    r = site.ask("list_refs", mirror)
    assert r["r"] == 0, r
    return dict(r["items"])


@pytest.mark.parametrize("form", ["{r}", "file://{r}", "file://localhost{r}", "{r}/"])
def test_first_fetch(pushed, form):
    f = pushed.fetch(form.format(r=pushed.r))
    assert f["r"] == 0 and f["created"] and not f["repaired"] and not f["unchanged"], f
    assert sorted(c[0] for c in f["changes"]) == ["refs/heads/main", "refs/heads/side", "refs/tags/v1"]
    assert all(c[1] == ZERO for c in f["changes"])
    assert refs(pushed) == {"refs/heads/main": pushed.second, "refs/heads/side": pushed.first, "refs/tags/v1": pushed.first}
    git("fsck", "--full", "--strict", cwd=pushed.path / "m.git")  # git itself takes it for a repository
    assert git("rev-parse", "main", cwd=pushed.path / "m.git").decode() == pushed.second


def test_no_change(pushed):
    pushed.fetch(pushed.r)
    f = pushed.fetch(pushed.r)
    assert f["r"] == 0 and f["unchanged"] and f["changes"] == [] and f["bytes"] == 0


def test_incremental_force_delete(pushed):
    w, r = pushed.w, str(pushed.r)
    pushed.fetch(r)
    third = (w.write("d.txt", "four\n"), w.commit("third"))[1]
    w.git("push", "-q", r, "main")
    f = pushed.fetch(r)
    assert f["changes"] == [["refs/heads/main", pushed.second, third]], f
    w.git("reset", "-q", "--hard", pushed.first)
    forced = (w.write("e.txt", "other\n"), w.commit("other"))[1]
    w.git("push", "-q", "-f", r, "main")
    w.git("push", "-q", r, ":side")
    f = pushed.fetch(r)
    assert f["changes"] == [["refs/heads/main", third, forced], ["refs/heads/side", pushed.first, ZERO]], f
    assert set(refs(pushed)) == {"refs/heads/main", "refs/tags/v1"}
    assert pushed.ask("resolve", rev="main")["commit"]["parents"] == [pushed.first]
    failed(pushed.ask("resolve", rev="side"), "ENOENT", "side")


def test_branch_becomes_directory(pushed):
    r = str(pushed.r)
    pushed.fetch(r)
    pushed.w.git("push", "-q", r, ":side")
    pushed.w.git("push", "-q", r, "main:refs/heads/side/deep/er")
    assert pushed.fetch(r)["r"] == 0
    assert refs(pushed)["refs/heads/side/deep/er"] == pushed.second
    pushed.w.git("push", "-q", r, ":side/deep/er")
    pushed.w.git("push", "-q", r, "main:refs/heads/side")
    assert pushed.fetch(r)["r"] == 0
    assert refs(pushed)["refs/heads/side"] == pushed.second


def test_tag_moves_and_goes(pushed):
    r = str(pushed.r)
    pushed.fetch(r)
    pushed.w.git("tag", "-f", "v1", pushed.second)
    pushed.w.git("push", "-q", "-f", r, "v1")
    assert pushed.fetch(r)["r"] == 0
    assert refs(pushed)["refs/tags/v1"] == pushed.second
    pushed.w.git("push", "-q", r, ":refs/tags/v1")
    assert pushed.fetch(r)["r"] == 0
    assert "refs/tags/v1" not in refs(pushed)


def test_worktree_and_packed_source(pushed):
    git("gc", "-q", cwd=pushed.r)
    assert pushed.fetch(pushed.r)["r"] == 0
    f = pushed.fetch(pushed.path / "work", "n.git", policy={"local_roots": [str(pushed.path)]})
    assert f["r"] == 0 and refs(pushed, "n.git")["refs/heads/main"] == pushed.second


def test_source_that_borrows_objects(pushed):
    borrower = pushed.repos / "borrower.git"
    git("clone", "-q", "--bare", "--shared", str(pushed.r), str(borrower))
    assert pushed.fetch(borrower)["r"] == 0
    git("fsck", "--full", cwd=pushed.path / "m.git")
    outside = pushed.path / "outside.git"
    shutil.copytree(pushed.r, outside)
    (borrower / "objects/info/alternates").write_text(f"{outside}/objects\n")
    failed(pushed.fetch(borrower, "n.git"), "EPERM", outside)
    (borrower / "objects/info/alternates").write_text("/nowhere/objects\n")
    failed(pushed.fetch(borrower, "n.git"), "EBADMSG", "/nowhere")


def test_outside_of_roots(pushed):
    outside = pushed.path / "outside.git"
    shutil.copytree(pushed.r, outside)
    failed(pushed.fetch(outside), "EPERM", "outside.git")
    os.symlink(outside, pushed.repos / "link.git")
    failed(pushed.fetch(pushed.repos / "link.git"), "EPERM", "link.git")
    failed(pushed.fetch(f"{pushed.repos}/../outside.git"), "EINVAL")
    failed(pushed.fetch(f"file://{pushed.repos}/%2e%2e/outside.git"), "EINVAL")
    failed(pushed.fetch(pushed.r, policy={"local_roots": []}), "EPERM")
    failed(pushed.fetch(pushed.r, policy={"local_roots": [str(pushed.repos) + "x"]}), "EPERM")
    (pushed.repos / "gitfile").mkdir()
    (pushed.repos / "gitfile/.git").write_text(f"gitdir: {outside}\n")
    failed(pushed.fetch(pushed.repos / "gitfile"), "EPERM")
    objects_link = pushed.repos / "objlink.git"
    shutil.copytree(pushed.r, objects_link)
    shutil.rmtree(objects_link / "objects")
    os.symlink(outside / "objects", objects_link / "objects")
    assert pushed.fetch(objects_link)["r"] < 0
    assert not (pushed.path / "m.git").exists()


def test_pack_that_is_a_link(pushed):
    secret = pushed.path / "secret"
    secret.write_text("root:x:0:0")
    (pushed.r / "objects/pack").mkdir(exist_ok=True)
    os.symlink(secret, pushed.r / "objects/pack/pack-1111111111111111111111111111111111111111.pack")
    (pushed.r / "objects/pack/pack-1111111111111111111111111111111111111111.idx").write_bytes(b"x")
    assert pushed.fetch(pushed.r)["r"] < 0
    assert not (pushed.path / "m.git").exists()


def test_missing_empty_not_git(site):
    failed(site.fetch(site.repos / "none.git"), "ENOENT", "none.git")
    failed(site.fetch(site.bare()), "ENODATA", "r.git", "empty")
    (site.repos / "plain").mkdir()
    failed(site.fetch(site.repos / "plain"), "ENOENT", "plain")
    assert not (site.path / "m.git").exists() and not (site.path / "m.git.partial").exists()


def test_corrupt_source(pushed):
    git("gc", "-q", cwd=pushed.r)
    pack = next((pushed.r / "objects/pack").glob("*.pack"))
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    for i in range(40, len(data) - 30, 3):
        data[i] ^= 0xA5
    pack.write_bytes(data)
    f = pushed.fetch(pushed.r)
    if f["r"] == 0:  # copied as it is: every read checks, and says so
        s = pushed.snapshot(pushed.second)
        failed(s, "EBADMSG")
        assert not (pushed.path / "s.tar.zst").exists()
        assert (pushed.path / "m.git/portolan-damaged").exists()
    else:
        failed(f, "EBADMSG", "r.git")


def test_refs_to_missing_objects(pushed):
    (pushed.r / "refs/heads/ghost").write_text("1" * 40 + "\n")
    failed(pushed.fetch(pushed.r), "EBADMSG", "r.git", "missing")


def test_too_large(pushed):
    pushed.w.write("big", os.urandom(300_000)).commit("big")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    failed(pushed.fetch(pushed.r, policy={"max_repo_bytes": 100_000}), "EFBIG", "r.git")
    failed(pushed.fetch(pushed.r, policy={"max_refs": 1}), "EFBIG", "refs")
    assert not (pushed.path / "m.git").exists()


def test_damaged_mirror_is_made_anew(pushed):
    m = pushed.path / "m.git"
    for damage in (
        lambda: (m / "HEAD").unlink(),
        lambda: (m / "packed-refs").write_text("nonsense\n"),
        lambda: shutil.rmtree(m / "objects"),
        lambda: [p.unlink() for p in m.glob("objects/??/*")],
        lambda: (m / "portolan-damaged").touch(),
        lambda: (shutil.rmtree(m), m.mkdir()),
    ):
        assert pushed.fetch(pushed.r)["r"] == 0
        damage()
        f = pushed.fetch(pushed.r)
        assert f["r"] == 0 and f["repaired"], f
        git("fsck", "--full", cwd=m)
        assert refs(pushed)["refs/heads/main"] == pushed.second
    leftovers = [p.name for p in pushed.path.iterdir() if p.name.startswith("m.git.") and p.suffix in (".partial", ".old")]
    assert leftovers == []


def test_left_by_a_killed_fetch(pushed):
    m = pushed.path / "m.git"
    shutil.copytree(pushed.r, pushed.path / "m.git.partial")
    (pushed.path / "m.git.partial/objects/garbage").write_text("x")
    assert pushed.fetch(pushed.r)["created"]
    (m / "objects/pack").mkdir(exist_ok=True)
    (m / "objects/pack/pack-xyz.pack.tmp").write_text("half")
    (m / "objects/pack/tmp_pack_abc").write_text("half")
    pushed.w.commit("more")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    assert pushed.fetch(pushed.r)["r"] == 0
    assert [p.name for p in (m / "objects/pack").iterdir() if "tmp" in p.name] == []


def test_killed_at_any_time(pushed):
    """SIGKILL in the middle, many times: the mirror is absent or whole, and the next fetch succeeds."""
    import json
    from conftest import PROBE

    for i in range(300):
        pushed.w.write(f"many/{i}", os.urandom(2000))
    last = pushed.w.commit("many")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    ask = json.dumps({"call": "fetch", "mirror": str(pushed.path / "m.git"), "url": str(pushed.r), "policy": pushed.policy})
    rng = random.Random(7)
    for _ in range(12):
        p = subprocess.Popen([PROBE], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        p.stdin.write(ask.encode() + b"\n")
        p.stdin.flush()
        try:
            p.wait(rng.random() * 0.05)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        p.stdin.close()
        if (pushed.path / "m.git").exists():
            assert pushed.ask("resolve", rev="main")["commit"]["sha"] == last
    assert pushed.fetch(pushed.r)["r"] == 0
    git("fsck", "--full", cwd=pushed.path / "m.git")


def test_many_at_once(pushed):
    """Fetches, snapshots and pushes of one repository together: each answer is whole."""
    answers, stop = [], threading.Event()

    def loop(fn):
        while not stop.is_set():
            answers.append(fn())

    assert pushed.fetch(pushed.r)["r"] == 0
    threads = [threading.Thread(target=loop, args=(fn,)) for fn in (
        lambda: pushed.fetch(pushed.r),
        lambda: pushed.fetch(pushed.r),
        lambda: pushed.snapshot(pushed.first, out="a.zst"),
        lambda: pushed.ask("list_refs"),
    )]
    for t in threads:
        t.start()
    try:
        for i in range(12):
            pushed.w.write(f"n{i}", str(i))
            last = pushed.w.commit(f"n{i}")
            pushed.w.git("push", "-q", str(pushed.r), "main")
            if i % 4 == 3:
                git("gc", "-q", "--prune=now", cwd=pushed.r)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert [a for a in answers if a["r"] != 0] == []
    assert pushed.fetch(pushed.r)["r"] == 0
    assert refs(pushed)["refs/heads/main"] == last
    git("fsck", "--full", cwd=pushed.path / "m.git")


def test_repacked_source_does_not_grow_the_mirror(pushed):
    size = 6_000_000
    for i in range(6):
        pushed.w.write("weights", os.urandom(size))
        last = pushed.w.commit(f"w{i}")
        pushed.w.git("push", "-q", str(pushed.r), "main")
        git("repack", "-q", "-adf", cwd=pushed.r)
        assert pushed.fetch(pushed.r)["r"] == 0
    held = sum(p.stat().st_size for p in (pushed.path / "m.git/objects").rglob("*") if p.is_file())
    live = sum(p.stat().st_size for p in (pushed.r / "objects").rglob("*") if p.is_file())
    assert held < 2 * live + (17 << 20), (held, live)
    git("fsck", "--full", cwd=pushed.path / "m.git")
    assert pushed.snapshot(last)["r"] == 0


def test_remove(pushed):
    pushed.fetch(pushed.r)
    assert pushed.ask("remove")["r"] == 0
    assert [p.name for p in pushed.path.iterdir() if p.name.startswith("m.git")] == []
    assert pushed.ask("remove")["r"] == 0
    failed(pushed.ask("resolve", rev="main"), "ENOENT", "m.git")


# ---- questions ----


def test_resolve(pushed):
    pushed.fetch(pushed.r)
    for rev in ("main", "refs/heads/main", "HEAD", pushed.second, pushed.second[:10], pushed.second.upper()):
        c = pushed.ask("resolve", rev=rev)
        assert c["r"] == 0 and c["commit"]["sha"] == pushed.second, (rev, c)
    c = pushed.ask("resolve", rev="v1")["commit"]  # an annotated tag is peeled
    assert c["sha"] == pushed.first and c["parents"] == [] and c["message"] == "first\n"
    assert (c["author_name"], c["author_email"]) == ("Ada Author", "ada@example.org")
    assert c["time"] == 1767323046000  # the committer's
    tree = pushed.w.git("rev-parse", "HEAD^{tree}")
    failed(pushed.ask("resolve", rev=tree), "EINVAL", "no commit")


@pytest.mark.parametrize("rev", ["", "..", "a..b", "main^", "main~1", "main@{1}", "@{-1}", ":a.txt", "-x", "a b", "a\nb", "a\x1b[0m",
                                 "refs/heads/../../HEAD", "/etc/passwd", "refs/heads/x.lock", "a" * 2000, "^main", "*", "main:a.txt"])
def test_bad_revisions(pushed, rev):
    pushed.fetch(pushed.r)
    r = pushed.ask("resolve", rev=rev)
    assert r["r"] < 0 and r["errno"] in ("EINVAL", "ENOENT"), r
    assert all(ch >= " " for ch in r["error"])


def test_odd_texts_in_commits(pushed):
    pushed.w.git("commit", "-q", "--allow-empty", "-m", "esc \x1b[31m red\r\n\nbody \x07", "--cleanup=verbatim",
                 env={"GIT_AUTHOR_NAME": "N\x1b[0mame", "GIT_AUTHOR_EMAIL": "a@b"})
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    c = pushed.ask("resolve", rev="main")["commit"]
    assert "\x1b" not in c["message"] + c["author_name"] and "\x07" not in c["message"] and "\n\nbody" in c["message"]


def test_changed_paths(pushed):
    pushed.fetch(pushed.r)
    ask = lambda **kw: pushed.ask("changed_paths", **kw)  # noqa: E731
    r = ask(before=pushed.first, after=pushed.second)
    assert r["r"] == 0 and r["items"] == ["a.txt", "c.txt"], r
    assert ask(before=pushed.second, after=pushed.first)["items"] == ["a.txt", "c.txt"]
    assert ask(before=pushed.first, after=pushed.first)["items"] == []
    r = ask(before=pushed.first, after=pushed.second, max=1)
    assert r["r"] == 1 and r["items"] == ["a.txt"], r  # PTL_FULL
    for base in (ZERO, None, "1" * 40, ""):
        r = ask(before=base, after=pushed.second)
        assert r["r"] == 2 and r["items"] == [], r  # PTL_ABSENT
    failed(ask(before=pushed.first, after="1" * 40), "ENOENT")
    failed(ask(before="main", after=pushed.second), "EINVAL")
    failed(ask(before=pushed.first, after="HEAD"), "EINVAL")


def test_changed_paths_rename(pushed):
    pushed.w.git("mv", "dir/b.txt", "moved.txt")
    third = pushed.w.commit("move")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    assert pushed.ask("changed_paths", before=pushed.second, after=third)["items"] == ["dir/b.txt", "moved.txt"]


def test_read_file(pushed):
    pushed.w.write(".portolan.yml", "version: 1\n")
    os.symlink("a.txt", pushed.path / "work/link")
    third = pushed.w.commit("spec")
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    ask = lambda path, **kw: pushed.ask("read_file", commit=third, path=path, **kw)  # noqa: E731
    assert ask(".portolan.yml")["text"] == "version: 1\n"
    assert ask("dir/b.txt")["text"] == "two\n"
    assert ask("none.yml")["r"] == 2 and ask("dir/none")["r"] == 2 and ask("a.txt/x")["r"] == 2
    failed(ask("a.txt", max=3), "EFBIG", "a.txt")
    failed(ask("link"), "EINVAL", "link")
    failed(ask("dir"), "EINVAL")
    for bad in ("../x", "/etc/passwd", "", "dir/../a.txt", "a\nb"):
        failed(ask(bad), "EINVAL")


def test_log_between(pushed):
    commits = [pushed.w.commit(f"c{i}", GIT_COMMITTER_DATE=f"2026-02-0{i + 1}T00:00:00Z") for i in range(4)]
    pushed.w.git("push", "-q", str(pushed.r), "main")
    pushed.fetch(pushed.r)
    ask = lambda **kw: pushed.ask("log_between", **kw)  # noqa: E731
    r = ask(before=pushed.second, after=commits[-1])
    assert r["r"] == 0 and [c["sha"] for c in r["items"]] == commits[::-1]
    r = ask(before=pushed.second, after=commits[-1], max=2)
    assert r["r"] == 1 and len(r["items"]) == 2
    assert ask(before=pushed.second, after=commits[-1], max=4)["r"] == 0
    assert ask(before=ZERO, after=commits[-1])["r"] == 2


def test_many_refs(site):
    w = site.work()
    sha = w.commit("x")
    bare = site.bare()
    w.git("push", "-q", str(bare), "main")
    (bare / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" +
                                      "".join(f"{sha} refs/heads/b{i:05d}\n" for i in range(12000)))
    f = site.fetch(bare)
    assert f["r"] == 0 and len(f["changes"]) == 10000 and f["left_out"] == 2001, (f["r"], f.get("left_out"))
    assert len(refs(site)) == 12001
    assert site.fetch(bare)["unchanged"]


# ---- URLs ----


@pytest.mark.parametrize("url", ["", "x", "ext::sh -c id", "https://", "https://host", "https://host/", "javascript://x",
                                 "ssh://-oProxyCommand=id/x", "-oProxyCommand=id:x", "git@-host:x", "git@host:-x", "https://a b/c",
                                 "https://host/a\nb", "git://host/%00x", "ssh://us er@host/x", "https://ho%73t$/x", "ftp://host/x",
                                 "fd::17/foo", "https://host:99999/x", "user@:x", "file://relative/x", "rel/ative", "https://host/%0d%0ax"])
def test_bad_urls(url):
    r = probe("url_check", url=url, policy={**OPEN, "local_roots": ["/"]})
    assert r["r"] < 0 and r["errno"] == "EINVAL", r


@pytest.mark.parametrize("url,ok", [("https://git.example.org/a/b.git", True), ("https://GIT.Example.org/a", True),
                                    ("git@git.example.org:a/b.git", True), ("ssh://git@git.example.org:2222/a/b", True),
                                    ("https://evil.org/a", False), ("https://git.example.org.evil.org/a", False),
                                    ("https://git.example.org@evil.org/a", False), ("http://git.example.org/a", False),
                                    ("git://git.example.org/a", False), ("/srv/git/a", False), ("https://evil.org\\@git.example.org/a", False)])
def test_policy(url, ok):
    r = probe("url_check", url=url, policy={"schemes": ["https", "ssh"], "hosts": ["*.example.org"]})
    assert (r["r"] == 0) == ok, r


def test_no_secret_in_texts():
    r = probe("url_check", url="https://user:hunter2secret@evil.org/a?token=hunter2secret", policy={"schemes": ["https"], "hosts": ["good.org"]})
    assert r["r"] < 0 and "hunter2" not in r["error"] and "user" not in r["error"], r
    r = probe("url_check", url="htps://user:hunter2secret@evil.org/a", policy={})
    assert r["r"] < 0 and "hunter2" not in r["error"], r
