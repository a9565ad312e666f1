"""History under newer knowledge: labelled anew in the background, old answers kept, people's words untouched, and no matter when the daemon is killed."""
from __future__ import annotations

from portolan import wait_for

# What no text model takes a nonsense sentence for.
STREAMING, LOADING = "server/serving/bidirectional-streaming", "server/serving/model-loading"


def pipeline(text: str) -> str:
    return f"""
version: 1
model: old
export: {{run: ["echo {text} >&2; exit 3"], retry: 0}}
targets:
  server: {{host: server, verify: {{run: ["true"]}}}}
"""


def fail(site, project: str) -> dict:
    run_id = site.run(project)
    site.until(run_id, "red")
    stage = wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run_id, "export")))
    return site.ok("GET", f"/api/v1/attempts/{stage['attempt_id']}")


def attempt(site, of: dict) -> dict:
    return site.ok("GET", f"/api/v1/attempts/{of['id']}")


def applied(site, timeout: float = 60) -> dict:
    """The job that applies the knowledge in force, once it has ended."""
    return wait_for("history to be labelled anew", lambda: (lambda j: j if j["state"] == "done" else None)(site.ok("GET", "/api/v1/kb/apply")), timeout)


def test_new_knowledge_goes_over_history_and_keeps_what_was(own_site):
    site = own_site
    site.start_daemon()
    site.start_agent("one")
    site.project("past", pipeline("RuntimeError: the quern is unmoved"))
    site.project("told", pipeline("RuntimeError: the quern is unmoved"))
    site.project("gone", pipeline("RuntimeError: the quern is unmoved"))
    old, told, gone = fail(site, "past"), fail(site, "told"), fail(site, "gone")
    assert old["challenge_id"] != STREAMING
    site.ok("POST", f"/api/v1/attempts/{told['id']}/feedback", {"verdict": "correct", "challenge": LOADING})
    site.sql(f"DELETE FROM log_chunk WHERE attempt_id = {gone['id']}")

    site.indicator("unmoved", "the quern is unmoved", STREAMING, transient=False)
    now = wait_for("the old failure under the new knowledge", lambda: (lambda a: a if a["challenge_id"] == STREAMING else None)(attempt(site, old)))
    assert now["challenge_id"] == STREAMING and now["diagnosis"]["kb"] != old["diagnosis"]["kb"]
    job = applied(site)
    assert (job["total"], job["done"], job["kept"], job["kb"], job["asked_by"]) == (3, 3, 1, now["diagnosis"]["kb"], "portoland")
    assert job["changed"] >= 1
    past = site.ok("GET", f"/api/v1/attempts/{old['id']}/diagnoses")["items"]
    assert [p["kb"] for p in past] == [old["diagnosis"]["kb"]] and past[0]["diagnosis"] == old["diagnosis"] and past[0]["challenge_id"] == old["challenge_id"]
    assert attempt(site, told)["challenge_id"] == LOADING, "a person's word is never overwritten"
    assert attempt(site, gone)["diagnosis"] == gone["diagnosis"], "no log, no new answer"
    assert "portolan_relabelled_total 3" in site.call("GET", "/metrics").body.decode()

    # Asked for: under the same knowledge too, because what people said has changed.
    viewer = site.ok("POST", "/api/v1/tokens", {"name": "vi", "role": "viewer"})["token"]
    alone = site.ok("POST", "/api/v1/tokens", {"name": "al", "role": "curator", "project": "past"})["token"]
    assert site.call("POST", "/api/v1/kb/apply", token=viewer).status == 403
    assert site.call("POST", "/api/v1/kb/apply", token=alone).status == 403
    assert site.ok("GET", "/api/v1/kb/apply", token=alone)["total"] is None, "how many failures all have is not for one project's token"
    answer = site.call("POST", "/api/v1/kb/apply")
    assert answer.status == 202 and answer.json["job"]["asked_by"] == "first admin"
    again = applied(site)
    assert again["id"] == answer.json["job"]["id"] != job["id"] and again["done"] == 3
    assert any(a["action"] == "kb.apply" for a in site.ok("GET", "/api/v1/audit")["items"])


def test_it_waits_while_fresh_failures_wait(own_site):
    site = own_site
    site.start_daemon()
    site.start_agent("one")
    site.project("past", pipeline("RuntimeError: the quern is unmoved"))
    old, fresh = fail(site, "past"), fail(site, "past")
    applied(site)
    site.sql(f"UPDATE attempt SET diagnosis_state = 'pending', diagnosis_until = now() + interval '1 hour' WHERE id = {fresh['id']}")
    site.indicator("unmoved", "the quern is unmoved", STREAMING)
    wait_for("the job", lambda: site.ok("GET", "/api/v1/kb/apply")["state"] == "running")
    job = site.ok("POST", "/api/v1/kb/apply")["job"]
    assert (job["state"], job["done"], attempt(site, old)["challenge_id"]) == ("running", 0, old["challenge_id"])
    site.sql(f"UPDATE attempt SET diagnosis_until = NULL WHERE id = {fresh['id']}")
    applied(site)
    assert attempt(site, old)["challenge_id"] == STREAMING


def test_killed_in_the_middle(own_site):
    """Slowed to one attempt a second, killed with some done and some not: the next daemon carries on where it was and every attempt is done once."""
    site = own_site
    site.start_daemon(**{"relabel-rate": "1"})
    site.start_agent("one")
    site.project("past", pipeline("RuntimeError: the quern is unmoved"))
    all_of_them = [fail(site, "past") for _ in range(5)]
    applied(site)
    site.indicator("unmoved", "the quern is unmoved", STREAMING)
    wait_for("some to be done", lambda: 0 < site.ok("GET", "/api/v1/kb/apply")["done"] < 5)
    port = site.url.rsplit(":", 1)[1]
    site.daemons[-1].kill()
    site.daemons[-1].wait(10)
    site.start_daemon(**{"listen-address": f"127.0.0.1:{port}"})
    job = applied(site, 120)
    assert (job["total"], job["done"], job["changed"]) == (5, 5, 5), job
    assert all(attempt(site, a)["challenge_id"] == STREAMING for a in all_of_them)
    assert all(len(site.ok("GET", f"/api/v1/attempts/{a['id']}/diagnoses")["items"]) == 1 for a in all_of_them), "each old answer was kept once"
    assert site.sql("SELECT count(*) FROM kb_apply WHERE NOT superseded AND total = 5") == "1"
