"""What starts runs, and what does not: hooks in the repository, webhooks, polling; branches, tags, paths, skip words, deletions, force pushes."""
from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import time
import uuid

from portolan import PATIENCE, wait_for

NOOP = """
version: 1
model: noop
%s
export: {run: ["true"], labels: [never]}
targets:
  server: {host: server, verify: {run: ["true"]}}
"""
ZERO = "0" * 40


def outcomes(site, project: str) -> list[str]:
    rows = site.sql(f"SELECT u.ref || ' ' || COALESCE(u.outcome, 'open') FROM push u JOIN project p ON p.id = u.project_id WHERE p.name = '{project}' ORDER BY u.id")
    return rows.splitlines()


def settled(site, project: str, n: int) -> list[str]:
    return wait_for(f"{n} pushes of {project} to have an outcome", lambda: (lambda o: o if len(o) >= n and not any(x.endswith(" open") for x in o) else None)(outcomes(site, project)), 30)


def tell(site, work, project: str, *updates: tuple[str, str, str]) -> list[dict]:
    """What a post-receive hook says."""
    return site.ok("POST", f"/api/v1/projects/{project}/pushes", {"updates": [{"before": b, "after": a, "ref": r} for b, a, r in updates]})["pushes"]


def test_filters_decide_from_the_file_at_that_commit(site):
    work = site.project("filtered", NOOP % "on: {push: {branches: [main, 'release/*', '!release/old'], tags: ['v*']}}")
    head = site.git(work, "rev-parse", "HEAD")
    for ref in ("main", "release/1", "release/old", "feature"):
        if ref != "main":
            site.git(work, "branch", ref)
        site.git(work, "push", "-q", "origin", ref)
    site.git(work, "tag", "v1")
    site.git(work, "tag", "nightly")
    site.git(work, "push", "-q", "origin", "v1", "nightly")
    told = tell(site, work, "filtered", *((ZERO, head, r) for r in ("refs/heads/main", "refs/heads/release/1", "refs/heads/release/old", "refs/heads/feature", "refs/tags/v1", "refs/tags/nightly")))
    got = dict(o.split(" ", 1) for o in settled(site, "filtered", 6))
    assert {r for r, o in got.items() if o == "run"} == {"refs/heads/main", "refs/heads/release/1", "refs/tags/v1"}, got
    assert all(len(o) > 8 for r, o in got.items() if o != "run"), "a reason, not just a no"
    runs = site.ok("GET", "/api/v1/runs?project=filtered")["items"]
    assert sorted(r["number"] for r in runs) == [1, 2, 3], "what is left out leaves no gap in the numbers"
    left_out = next(t for t in told if t["ref"] == "refs/heads/feature")
    pushes = site.ok("GET", "/api/v1/projects/filtered/pushes?limit=10")["items"]
    assert [(p["ref"], p["run_id"]) for p in pushes if p["ref"] == left_out["ref"]] == [(left_out["ref"], None)]
    assert {p["ref"]: p["outcome"] for p in pushes} == got, "who asks for pushes is told what came of each"
    for path in ("", "/preflight", "/events", "/statuses"):
        gone = site.call("GET", f"/api/v1/runs/{left_out['run_id']}{path}")
        assert gone.status == 404 and got[left_out["ref"]] in gone.json["detail"] and "refs/heads/feature" in gone.json["detail"], gone
    assert site.call("GET", "/api/v1/runs/999999").json["detail"] == "no run 999999"


def test_paths_look_at_what_changed(site):
    work = site.project("paths", NOOP % "on: {push: {branches: [main], paths: ['model/**']}}", {"model/w": "1", "docs/x": "1"})
    first = site.git(work, "rev-parse", "HEAD")
    (work / "docs" / "x").write_text("2")
    second = site.commit(work, "docs only")
    (work / "model" / "w").write_text("2")
    third = site.commit(work, "weights")
    site.git(work, "push", "-q", "origin", "main")
    tell(site, work, "paths", (first, second, "refs/heads/main"))
    tell(site, work, "paths", (second, third, "refs/heads/main"))
    got = settled(site, "paths", 2)
    assert got[0] != "refs/heads/main run" and "path" in got[0], got
    assert got[1] == "refs/heads/main run", got


def test_skip_words_deletions_repeats_and_force_pushes(site):
    work = site.project("words", NOOP % "")
    first = site.git(work, "rev-parse", "HEAD")
    skipped = site.commit(work, "tune [skip ci]")
    site.git(work, "push", "-q", "origin", "main")
    tell(site, work, "words", (first, skipped, "refs/heads/main"))
    assert "skip" in settled(site, "words", 1)[0]
    deleted = tell(site, work, "words", (skipped, ZERO, "refs/heads/gone"))
    assert deleted[0]["run_id"] is None and "deleted" in deleted[0]["outcome"]
    site.git(work, "reset", "-q", "--hard", first)
    forced = site.commit(work, "another history")
    site.git(work, "push", "-q", "--force", "origin", "main")
    one = tell(site, work, "words", (skipped, forced, "refs/heads/main"))
    again = tell(site, work, "words", (skipped, forced, "refs/heads/main"))
    assert one[0]["run_id"] and again[0]["run_id"] is None and "before" in again[0]["outcome"], (one, again)
    run = wait_for("the forced push's run to be planned", lambda: (lambda r: r if r["state"] == "running" else None)(site.get(one[0]["run_id"])), 30)
    assert run["commit_sha"] == forced


def test_several_refs_in_one_push_are_several_runs(site):
    work = site.project("several", NOOP % "")
    head = site.git(work, "rev-parse", "HEAD")
    site.git(work, "branch", "b2")
    site.git(work, "push", "-q", "origin", "b2")
    pushes = tell(site, work, "several", (ZERO, head, "refs/heads/main"), (ZERO, head, "refs/heads/b2"))
    assert len({p["run_id"] for p in pushes}) == 2


def test_polling_sees_pushes_deletions_and_not_the_past(site):
    work = site.project("polled", NOOP % "", poll="5s")
    wait_for("the first look", lambda: site.sql("SELECT count(*) FROM ref_seen r JOIN project p ON p.id = r.project_id WHERE p.name = 'polled'") == "1", 30)
    assert outcomes(site, "polled") == [], "what was there before is no push"
    head = site.commit(work, "new")
    site.git(work, "push", "-q", "origin", "main")
    runs = wait_for("the poll to see it", lambda: site.ok("GET", "/api/v1/runs?project=polled")["items"], 40)
    assert runs[0]["trigger"] == "poll" and runs[0]["commit_sha"] == head
    site.ok("PATCH", "/api/v1/projects/polled", {"url": str(site.dir / "repos" / "nothing.git")})
    error = wait_for("a failed poll to be told", lambda: site.ok("GET", "/api/v1/projects/polled")["poll_error"], 40)
    assert "nothing.git" in error
    site.ok("PATCH", "/api/v1/projects/polled", {"poll": "0"})


def test_polling_a_repository_of_very_many_refs_starts_nothing_and_keeps_nobody_waiting(site):
    work = site.repo("crowded", NOOP % "")
    head = site.git(work, "rev-parse", "HEAD")
    # Names that a collation of words orders otherwise than their bytes.
    names = sorted([f"refs/tags/{kind}{n:05}" for n in range(7000) for kind in ("v-", "V_", "va")] + ["refs/tags/gone", "refs/heads/moved"])
    packed = site.dir / "repos" / "crowded.git" / "packed-refs"
    packed.write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(f"{head} {name}\n" for name in names))
    site.ok("POST", "/api/v1/projects", {"name": "crowded", "url": str(site.dir / "repos" / "crowded.git"), "poll": "5s"})
    polled = lambda: site.sql("SELECT polled_at FROM project WHERE name = 'crowded'")  # noqa: E731
    wait_for("the first look", polled, 60)
    noted = site.sql("SELECT count(*), count(DISTINCT seen_at) FROM ref_seen r JOIN project p ON p.id = r.project_id WHERE p.name = 'crowded'")
    assert noted == f"{len(names) + 1}|1", "the first look is noted whole, at once"
    slowest = 0.0
    for what in ("the second look", "the third look"):
        last = polled()

        def seen():
            nonlocal slowest
            began = time.monotonic()
            site.call("GET", "/healthz", token="")
            slowest = max(slowest, time.monotonic() - began)
            return polled() != last

        wait_for(what, seen, 60)
    assert outcomes(site, "crowded") == []
    assert slowest < PATIENCE, f"nobody was answered for {slowest:.1f} s"
    new = site.commit(work, "new")
    site.git(work, "push", "-q", "origin", "main:moved", "main:fresh", ":refs/tags/gone")
    got = settled(site, "crowded", 3)
    assert sorted(o.split(" ")[0] for o in got) == ["refs/heads/fresh", "refs/heads/moved", "refs/tags/gone"], got
    assert {r["commit_sha"] for r in site.ok("GET", "/api/v1/runs?project=crowded")["items"]} == {new}
    site.ok("PATCH", "/api/v1/projects/crowded", {"poll": "0"})


def test_a_push_that_could_not_be_kept_is_no_success_and_is_told_again(site):
    work = site.project("unkept", NOOP % "", poll="5s")
    wait_for("the first look", lambda: site.sql("SELECT count(*) FROM ref_seen r JOIN project p ON p.id = r.project_id WHERE p.name = 'unkept'") == "1", 30)
    site.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no room' USING ERRCODE = '53100'; END$$;"
             "CREATE TRIGGER refuse BEFORE INSERT ON push FOR EACH ROW EXECUTE FUNCTION refuse()")
    try:
        head = site.commit(work, "new")
        site.git(work, "push", "-q", "origin", "main")
        for path, body in (("pushes", {"updates": [{"ref": "refs/heads/main", "after": head}]}), ("runs", {"ref": "refs/heads/main"})):
            answer = site.call("POST", f"/api/v1/projects/unkept/{path}", body)
            assert answer.status == 503 and b"no room" in answer.body, (path, answer.status, answer.body)
    finally:
        site.sql("DROP TRIGGER refuse ON push; DROP FUNCTION refuse()")
    runs = wait_for("a poll to tell it again", lambda: site.ok("GET", "/api/v1/runs?project=unkept")["items"], 40)
    assert runs[0]["commit_sha"] == head
    site.ok("PATCH", "/api/v1/projects/unkept", {"poll": "0"})


def test_a_run_of_an_old_commit_is_no_push(site):
    work = site.project("again", NOOP % "", poll="5s")
    old = site.git(work, "rev-parse", "HEAD")
    site.commit(work, "newer")
    site.git(work, "push", "-q", "origin", "main")
    project = "project_id = (SELECT id FROM project WHERE name = 'again')"
    wait_for("the newer commit to be seen", lambda: site.sql(f"SELECT count(*) FROM ref_seen WHERE {project} AND sha <> '{old}'") == "1", 30)
    seen, told = site.sql(f"SELECT sha FROM ref_seen WHERE {project}"), site.sql(f"SELECT count(*) FROM push WHERE {project} AND source = 'poll'")
    run = site.ok("POST", "/api/v1/projects/again/runs", {"commit": old})["run_id"]
    assert site.ok("GET", f"/api/v1/runs/{run}")["commit_sha"] == old
    polled = site.ok("GET", "/api/v1/projects/again")["polled_at"]
    wait_for("another poll", lambda: site.ok("GET", "/api/v1/projects/again")["polled_at"] != polled, 40)
    assert site.sql(f"SELECT sha FROM ref_seen WHERE {project}") == seen
    assert site.sql(f"SELECT count(*) FROM push WHERE {project} AND source = 'poll'") == told
    site.ok("PATCH", "/api/v1/projects/again", {"poll": "0"})


def test_the_first_push_into_an_empty_repository_is_seen(site):
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(site.dir / "repos" / "fresh.git")], check=True)
    site.ok("POST", "/api/v1/projects", {"name": "fresh", "url": str(site.dir / "repos" / "fresh.git"), "poll": "5s"})
    wait_for("the first look", lambda: site.ok("GET", "/api/v1/projects/fresh")["polled_at"], 30)
    assert site.ok("GET", "/api/v1/projects/fresh")["poll_error"] is None
    work = site.dir / "work" / "fresh"
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    (work / ".portolan.yml").write_text(NOOP % "")
    head = site.commit(work, "first")
    site.git(work, "push", "-q", str(site.dir / "repos" / "fresh.git"), "main")
    runs = wait_for("the poll to see it", lambda: site.ok("GET", "/api/v1/runs?project=fresh")["items"], 40)
    assert runs[0]["commit_sha"] == head
    site.ok("PATCH", "/api/v1/projects/fresh", {"poll": "0"})


def github(site, project: str, body: dict, secret: str, delivery: str, event: str = "push", signature: str | None = None):
    raw = json.dumps(body).encode()
    signed = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest() if signature is None else signature
    return site.call("POST", f"/hooks/{project}", raw=raw, token="", headers={"X-GitHub-Event": event, "X-GitHub-Delivery": delivery, "X-Hub-Signature-256": signed, "User-Agent": "GitHub-Hookshot/abc"})


def test_a_webhook_starts_a_run_once_and_only_when_it_is_signed(site):
    work = site.project("hooked", NOOP % "", webhook_secret="correct horse")
    head = site.git(work, "rev-parse", "HEAD")
    push = {"ref": "refs/heads/main", "before": ZERO, "after": head, "created": True, "deleted": False, "forced": False, "repository": {"full_name": "a/hooked", "clone_url": "https://example.org/a.git"},
            "head_commit": {"id": head, "message": "first"}, "commits": [], "pusher": {"name": "ada"}}
    delivery = str(uuid.uuid4())
    assert github(site, "hooked", push, "correct horse", delivery, event="ping").status == 200
    assert github(site, "hooked", push, "wrong", str(uuid.uuid4())).status == 401
    assert github(site, "hooked", push, "", str(uuid.uuid4()), signature="").status == 401
    assert github(site, "unknown-project", push, "correct horse", str(uuid.uuid4())).status == 401, "an unknown project answers as a wrong signature does"
    delivery = str(uuid.uuid4())
    first = github(site, "hooked", push, "correct horse", delivery)
    assert first.status == 202 and first.json["pushes"][0]["run_id"], first.body
    second = github(site, "hooked", push, "correct horse", delivery)
    assert 200 <= second.status < 300
    assert len(site.ok("GET", "/api/v1/runs?project=hooked")["items"]) == 1, "a repeated delivery has no second effect"
    deliveries = site.ok("GET", "/api/v1/projects/hooked/deliveries")["items"]
    assert {d["forge"] for d in deliveries} == {"github"}
    assert "correct horse" not in json.dumps(deliveries) + site.log(), "no secret is shown"
