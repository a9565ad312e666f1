"""People's words on diagnoses: they are the answer in force at once, change the next diagnosis of a failure like it, and can be taken back."""
from __future__ import annotations

import pytest
from portolan import wait_for

UNSUPPORTED, LOADING, PARSING = "server/model-export/export-of-unsupported-models", "server/serving/model-loading", "server/data-processing/parsing-output"


def pipeline(text: str) -> str:
    return f"""
version: 1
model: said
export: {{run: ["echo {text} >&2; exit 3"], retry: 0}}
targets:
  server: {{host: server, verify: {{run: ["true"]}}}}
"""


@pytest.fixture(scope="module", autouse=True)
def taught(site):
    site.indicator("unmoved", "the quern is unmoved", UNSUPPORTED, transient=False)


def fail(site, project: str) -> dict:
    """One more failed run; its export once diagnosed."""
    run_id = site.run(project)
    site.until(run_id, "red")
    stage = wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run_id, "export")))
    return site.ok("GET", f"/api/v1/attempts/{stage['attempt_id']}")


def first(attempt: dict) -> str | None:
    return attempt["diagnosis"]["challenges"][0]["id"] if attempt["diagnosis"]["state"] == "diagnosed" else None


def say(site, attempt: dict, verdict: str, challenge: str | None = None, **more):
    body = {"verdict": verdict, **({"challenge": challenge} if challenge else {}), **({"comment": more.pop("comment")} if "comment" in more else {})}
    return site.call("POST", f"/api/v1/attempts/{attempt['id']}/feedback", body, **more)


def failures_counted(site, project: str, challenge: str) -> int:
    return int(site.sql(f"SELECT COALESCE(sum(failures), 0) FROM challenge_count n JOIN project p ON p.id = n.project_id WHERE p.name = '{project}' AND challenge_id = '{challenge}'"))


def test_a_correction_is_in_force_and_changes_the_next_answer_and_undo_restores_both(site):
    site.project("mill", pipeline("RuntimeError: the quern is unmoved"))
    one = fail(site, "mill")
    assert (first(one), one["challenge_id"], one["challenge_by"]) == (UNSUPPORTED, UNSUPPORTED, "diagnosis")
    assert failures_counted(site, "mill", UNSUPPORTED) == 1
    answer = say(site, one, "correct", LOADING, comment="the wheel was never loaded")
    assert answer.status == 201 and answer.json["said_id"] == UNSUPPORTED
    now = site.ok("GET", f"/api/v1/attempts/{one['id']}")
    assert (now["challenge_id"], now["challenge_by"]) == (LOADING, "person") and first(now) == UNSUPPORTED, "the diagnosis itself stays as it was"
    assert now["feedback"][0]["in_force"] and now["feedback"][0]["comment"] == "the wheel was never loaded"
    assert (failures_counted(site, "mill", UNSUPPORTED), failures_counted(site, "mill", LOADING)) == (0, 1)

    two = fail(site, "mill")
    assert two["fingerprint"] == one["fingerprint"]
    assert first(two) == LOADING, two["diagnosis"]["challenges"][:2]
    said = two["diagnosis"]["feedback"]
    assert said["words"][0]["attempt_id"] == one["id"] and said["nodes"][LOADING] > 0 > said["nodes"][UNSUPPORTED]

    undone = site.ok("DELETE", f"/api/v1/feedback/{answer.json['id']}")
    assert undone["undone_by"]
    back = site.ok("GET", f"/api/v1/attempts/{one['id']}")
    assert (back["challenge_id"], back["challenge_by"]) == (UNSUPPORTED, "diagnosis")
    three = fail(site, "mill")
    assert first(three) == UNSUPPORTED and "feedback" not in three["diagnosis"]
    assert site.call("DELETE", f"/api/v1/feedback/{answer.json['id']}").status == 404, "undone once"
    actions = [a["action"] for a in site.ok("GET", "/api/v1/audit")["items"] if a["object"] in (f"attempt {one['id']}", f"feedback {answer.json['id']}")]
    assert actions == ["feedback.undo", "feedback.add"]


def test_contradiction_weighs_nothing_and_a_confirmation_counts(site):
    site.project("doubt", pipeline("RuntimeError: the quern is unmoved here"))
    one, two = fail(site, "doubt"), fail(site, "doubt")
    wrong = say(site, one, "correct", PARSING).json
    right = say(site, two, "confirm").json
    assert right["challenge_id"] == UNSUPPORTED
    assert first(fail(site, "doubt")) == UNSUPPORTED
    site.ok("DELETE", f"/api/v1/feedback/{right['id']}")
    assert first(fail(site, "doubt")) == PARSING
    site.ok("DELETE", f"/api/v1/feedback/{wrong['id']}")


def test_other_projects_profit_half(site):
    site.project("lender", pipeline("RuntimeError: the quern is unmoved at all"))
    site.project("borrower", pipeline("RuntimeError: the quern is unmoved at all"))
    word = say(site, fail(site, "lender"), "confirm").json
    own, other = fail(site, "lender"), fail(site, "borrower")
    assert own["diagnosis"]["feedback"]["nodes"][UNSUPPORTED] > other["diagnosis"]["feedback"]["nodes"][UNSUPPORTED] > 0
    assert other["diagnosis"]["feedback"]["words"] == [], "which attempts of other projects is not told"
    site.ok("DELETE", f"/api/v1/feedback/{word['id']}")


def test_not_a_challenge(site):
    site.project("none", pipeline("RuntimeError: the quern is unmoved and no river"))
    one = fail(site, "none")
    word = say(site, one, "not_a_challenge").json
    now = site.ok("GET", f"/api/v1/attempts/{one['id']}")
    assert (now["challenge_id"], now["challenge_by"]) == (None, "person")
    two = fail(site, "none")
    assert not (first(two) or "").startswith(("server/", "mobile/", "browser/")), two["diagnosis"]["challenges"][:2]
    # The newest word counts; taken back, the one before it does again.
    newer = say(site, one, "confirm").json
    assert site.ok("GET", f"/api/v1/attempts/{one['id']}")["challenge_id"] == UNSUPPORTED
    site.ok("DELETE", f"/api/v1/feedback/{newer['id']}")
    assert site.ok("GET", f"/api/v1/attempts/{one['id']}")["challenge_by"] == "person"
    site.ok("DELETE", f"/api/v1/feedback/{word['id']}")


def test_what_is_refused(site):
    site.project("refused", pipeline("zounds"))
    one = fail(site, "refused")
    site.sql(f"UPDATE attempt SET diagnosis = jsonb_set(diagnosis, '{{state}}', '\"unclear\"') WHERE id = {one['id']}")  # whatever the shipped text model makes of the word
    viewer = site.ok("POST", "/api/v1/tokens", {"name": "eve", "role": "viewer"})["token"]
    member = site.ok("POST", "/api/v1/tokens", {"name": "mo", "role": "member"})["token"]
    stranger = site.ok("POST", "/api/v1/tokens", {"name": "cy", "role": "member", "project": "mill"})["token"]
    assert say(site, one, "confirm", token=viewer).status == 403
    assert say(site, one, "confirm", token=stranger).status == 404
    assert site.call("GET", f"/api/v1/attempts/{one['id']}/feedback", token=stranger).status == 404
    assert site.call("GET", f"/api/v1/attempts/{one['id']}/diagnoses", token=stranger).status == 404
    assert say(site, one, "confirm").status == 409, "nothing was diagnosed"
    assert say(site, one, "correct").status == 422
    assert say(site, one, "correct", "server/no-such-node").status == 422
    assert say(site, one, "confirm", LOADING).status == 422
    assert say(site, one, "praise").status == 422
    assert say(site, {"id": 987654321}, "confirm").status == 404
    word = say(site, one, "correct", LOADING, token=member)
    assert word.status == 201 and word.json["by_name"] == "mo"
    assert site.call("DELETE", f"/api/v1/feedback/{word.json['id']}", token=stranger).status == 404
    assert site.call("DELETE", f"/api/v1/feedback/{word.json['id']}", token=viewer).status == 403
    assert site.call("DELETE", f"/api/v1/feedback/{word.json['id']}", token=member).status == 200
