"""What turned it green: kept with commits, differences and versions, shown to later failures, decided by people, found whatever died."""
from __future__ import annotations

import signal
import subprocess

import pytest
from portolan import BUILD, wait_for

from conftest import PIPELINE

LINE = "ModuleNotFoundError: No module named 'tf_keras_{}'\n"


def resolutions(past, attempt: int, token: str | None = None) -> list[dict]:
    return past.ok("GET", f"/api/v1/attempts/{attempt}/resolutions", **({"token": token} if token else {}))["items"]


def fixed(past, attempt: int) -> dict:
    """The resolution that resolved this failure."""
    wait_for(f"failure {attempt} to be resolved", lambda: past.ok("GET", f"/api/v1/attempts/{attempt}/failure")["resolved_at"], 60)
    failure = past.ok("GET", f"/api/v1/attempts/{attempt}/failure")
    return past.ok("GET", f"/api/v1/resolutions/{failure['resolution_id']}")


@pytest.fixture(scope="module")
def mended(past):
    """north: two failures of one kind, then three files changed and another version of a tool, then green."""
    work = past.dir / "work" / "north"
    (work / "requirements.txt").write_text("tensorflow==2.15.0\n")
    (work / "export.py").write_text("import tensorflow\n")
    (work / "photo.bin").write_bytes(bytes(range(256)))
    past.commit(work, "before")
    past.git(work, "push", "-q", "origin", "main")
    first = past.fail("north", LINE.format("a"), "verify/server", {"tensorflow": "2.15.0"})
    second = past.fail("north", LINE.format("b"), "verify/server", {"tensorflow": "2.15.0"})
    (work / "requirements.txt").write_text("tensorflow==2.16.1\ntf_keras==2.16.0\n")
    (work / ".portolan.yml").write_text(PIPELINE.replace("model: toy", "model: toy-2"))
    (work / "photo.bin").write_bytes(bytes(reversed(range(256))))
    past.commit(work, "Pin tf_keras beside tensorflow 2.16\n\nLong words that are not the subject.")
    past.git(work, "push", "-q", "origin", "main")
    past.end(past.run("north"), {}, {"tensorflow": "2.16.1"})
    return first, second, fixed(past, second)


def test_the_change_between_is_kept(past, mended):
    first, second, got = mended
    assert got["state"] == "candidate" and got["change"] == "commits" and got["failures"] == 2 and got["red_attempt_id"] == second
    assert [c["subject"] for c in got["commits"]] == ["Pin tf_keras beside tensorflow 2.16"] and got["commits"][0]["author"] == "Ada"
    assert set(got["files"]) == {".portolan.yml", "requirements.txt", "photo.bin"}
    assert "+tf_keras==2.16.0" in got["diff"] and "+model: toy-2" in got["diff"] and got["diff"].index(".portolan.yml") < got["diff"].index("requirements.txt")
    assert "photo.bin" not in got["diff"], "no spec, requirements or script"
    assert got["environment"] == [{"tool": "tensorflow", "before": "2.15.0", "after": "2.16.1"}]
    assert "Pin tf_keras" in got["summary"] and "tensorflow 2.15.0 → 2.16.1" in got["summary"] and got["minutes"] > 0
    one = past.ok("GET", f"/api/v1/attempts/{first}/failure")
    assert one["resolution_id"] == got["id"] and one["cost_minutes"] > 1.0 and one["resolved_at"] == got["green_at"]
    assert first in [i["attempt_id"] for i in past.failures("resolved=true")] and past.facets("resolved=true&project=north")["total"] == 2


def test_later_failures_show_it_until_it_is_rejected(past, mended):
    first, second, got = mended
    later = past.fail("south", LINE.format("other"), "verify/server")
    shown = resolutions(past, later)
    assert shown[0]["id"] == got["id"] and shown[0]["why"] == "the same line, but for names and numbers"
    south, north = past.viewer("south only", "south"), past.viewer("north only", "north")
    assert resolutions(past, later, south) == [], "another project's fix is not told to a confined token"
    assert past.call("GET", f"/api/v1/resolutions/{got['id']}", token=south).status == 404
    past.sql(f"""INSERT INTO resolution (project_id, stage, kind, target, ref, challenge_id, template_id, red_attempt_id, green_attempt_id, first_red_at, green_at, minutes, change, summary)
        SELECT p.id, r.stage, r.kind, r.target, r.ref, r.challenge_id, r.template_id, -i, -i, r.first_red_at, r.green_at, 1, 'nothing', 'theirs' FROM resolution r, project p, generate_series(1, 300) i WHERE r.id = {got['id']} AND p.name = 'south'""")
    again = past.fail("north", LINE.format("once more"), "verify/server")
    assert [r["id"] for r in resolutions(past, again, north)] == [got["id"]], "what is frequent elsewhere hides nothing from a confined token"
    assert {r["project"] for r in resolutions(past, again)} == {"south"}, "20 are shown, and the newest come first"
    past.sql("DELETE FROM resolution WHERE summary = 'theirs'")
    assert past.call("PATCH", f"/api/v1/resolutions/{got['id']}", {"state": "confirmed"}, token=past.viewer("south member", "south", "member")).status == 404
    assert past.call("PATCH", f"/api/v1/resolutions/{got['id']}", {"state": "confirmed"}, token=past.viewer("looker")).status == 403
    for body in ({}, {"state": "maybe"}, {"stat": "confirmed"}):
        assert past.call("PATCH", f"/api/v1/resolutions/{got['id']}", body).status == 422, body
    decided = past.ok("PATCH", f"/api/v1/resolutions/{got['id']}", {"state": "confirmed", "note": "Keras 2 lives in tf_keras now"})
    assert decided["state"] == "confirmed" and decided["decided_by"] == "first admin"
    assert any(a["action"] == "resolution.confirm" and a["object"] == f"resolution {got['id']}" for a in past.ok("GET", "/api/v1/audit")["items"])
    env = {"PORTOLAN_SERVER": past.url, "PORTOLAN_TOKEN": past.token, "PATH": "/usr/bin:/bin", "HOME": str(past.dir)}
    run = past.sql(f"SELECT run_id FROM failure WHERE attempt_id = {later}")
    why = subprocess.run([str(BUILD / "cli" / "portolan"), "why", run], capture_output=True, text=True, env=env, timeout=60)
    assert "what fixed it: Keras 2 lives in tf_keras now" in why.stdout, why.stdout + why.stderr
    listed = subprocess.run([str(BUILD / "cli" / "portolan"), "resolution", "list", "--attempt", str(later)], capture_output=True, text=True, env=env, timeout=60)
    assert listed.returncode == 0 and "confirmed" in listed.stdout
    one = subprocess.run([str(BUILD / "cli" / "portolan"), "resolution", "show", str(got["id"])], capture_output=True, text=True, env=env, timeout=60)
    assert "+tf_keras==2.16.0" in one.stdout and "tensorflow 2.15.0 -> 2.16.1" in one.stdout
    no = subprocess.run([str(BUILD / "cli" / "portolan"), "resolution", "reject", str(got["id"]), "--note", "it was the cache"], capture_output=True, text=True, env=env, timeout=60)
    assert no.returncode == 0, no.stderr
    assert resolutions(past, later) == []
    assert [r["id"] for r in past.ok("GET", "/api/v1/resolutions?state=rejected")["items"]] == [got["id"]]
    past.ok("PATCH", f"/api/v1/resolutions/{got['id']}", {"state": "candidate", "note": ""})
    assert past.ok("GET", f"/api/v1/resolutions/{got['id']}")["note"] is None


def test_green_elsewhere_mends_nothing_and_green_again_without_a_change_says_so(past, mended):
    work = past.dir / "work" / "south"
    past.git(work, "checkout", "-q", "-b", "side")
    past.git(work, "push", "-q", "origin", "side")
    red = past.fail("south", "OSError: [Errno 98] Address already in use: ('0.0.0.0', 8501)\n")
    past.end(past.run("south", ref="refs/heads/side"), {})
    assert past.ok("GET", f"/api/v1/attempts/{red}/failure")["resolved_at"] is None, "green on another branch"
    past.end(past.run("south"), {})
    got = fixed(past, red)
    assert got["change"] == "nothing" and got["commits"] == [] and "tried again" in got["summary"]
    wait_for("nothing to be left to look at", lambda: past.sql("SELECT count(*) FROM resolution_due") == "0", 30)


def test_each_kind_of_failure_before_it_gets_its_own(past, mended):
    one = past.fail("south", LINE.format("x"))
    other = past.fail("south", "OSError: [Errno 28] No space left on device: '/tmp/model.bin'\n")
    past.end(past.run("south"), {})
    assert fixed(past, one)["id"] != fixed(past, other)["id"]


def test_found_after_a_kill_and_once_only(own_past):
    past = own_past
    daemon = past.start_daemon()
    past.play()
    past.project("west", PIPELINE)
    red = past.fail("west", LINE.format("q"))
    work = past.dir / "work" / "west"
    (work / "fix.py").write_text("print('fixed')\n")
    past.commit(work, "fix")
    past.git(work, "push", "-q", "origin", "main")
    run = past.run("west")
    jobs: dict[str, dict] = {}
    while "verify/server" not in jobs:
        for job in past.ok("POST", "/api/v1/agent/claim", {"free_slots": 8, "wait_ms": 300, "inventory": past.inventory}, token=past.agent_token)["claims"]:
            jobs[job["name"]] = job
            if job["name"] != "verify/server":
                past.finish(job, None)
    past.finish(jobs["verify/server"], None)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(30)
    past.start_daemon("again")
    got = fixed(past, red)
    assert got["change"] == "commits" and [c["subject"] for c in got["commits"]] == ["fix"] and "+print('fixed')" in got["diff"]
    assert past.sql("SELECT count(*) FROM resolution") == "1"
    # and when even the note of it was lost: the sweep over open failures with a later green one
    past.sql("UPDATE failure SET resolved_at = NULL, resolution_id = NULL; DELETE FROM resolution; DELETE FROM resolution_due")
    past.daemons[-1].send_signal(signal.SIGKILL)
    past.daemons[-1].wait(30)
    past.start_daemon("third")
    assert fixed(past, red)["green_attempt_id"] == got["green_attempt_id"]
    assert past.sql("SELECT count(*) FROM resolution") == "1"
    wait_for("the counts to be folded", lambda: past.sql("SELECT count(*) FROM failure_delta") == "0", 30)
    assert past.sql("SELECT sum(failures) || ' ' || sum(resolved) FROM failure_total WHERE unit = 'day'") == "1 1"
    assert run > 0
