"""Trying again is decided by the diagnosis: way of ending × what the diagnosis says × what the pipeline file allows; shown where people look; nothing lost when the daemon is killed between failure and decision."""
from __future__ import annotations

import json

import pytest
from portolan import wait_for

# What the log says, and what the knowledge makes of it.
DETERMINISTIC = "echo RuntimeError: the quern is unmoved >&2"
TRANSIENT = "echo RuntimeError: the sluice is shut today >&2"
UNCLEAR = "echo zounds >&2"


def teach(site) -> None:
    site.indicator("unmoved", "the quern is unmoved", "server/model-export/export-of-unsupported-models", transient=False)
    site.indicator("shut", "the sluice is shut", "server/serving/model-loading", transient=True)


@pytest.fixture(scope="module", autouse=True)
def taught(site):
    teach(site)




def pipeline(what: str, how: str, retry: str) -> str:
    return f"""
version: 1
model: again
export: {{run: [{json.dumps(what + "; " + how)}], retry: {retry}}}
targets:
  server: {{host: server, verify: {{run: ["true"]}}}}
"""


EXIT, SIGNAL = "exit 3", "kill -SEGV $$"
LATER = "sleep 1; exit 3"

# label, what, how it ends, retry of the file, attempts, then by attempt (oldest first): verdict, tried again
TABLE = [
    ("in vain, default", DETERMINISTIC, LATER, "2", [("deterministic", False)]),
    ("in vain, though the file names the way it ended", DETERMINISTIC, EXIT, "{max: 2, when: [exit]}", [("deterministic", False)]),
    ("in vain, but always", DETERMINISTIC, EXIT, "{max: 1, when: always}", [(None, True), (None, False)]),
    ("may pass, as often as allowed", TRANSIENT, EXIT, "2", [("transient", True), ("transient", True), (None, False)]),
    ("may pass, the file names the way it ended", TRANSIENT, EXIT, "{max: 1, when: [exit]}", [("transient", True), (None, False)]),
    ("may pass, the file names only what is unclear", TRANSIENT, EXIT, "{max: 2, when: [unclear]}", [("transient", False)]),
    ("may pass, the file allows none", TRANSIENT, EXIT, "0", [(None, False)]),
    ("unclear, once and no more", UNCLEAR, EXIT, "3", [("unclear", True), ("unclear", False)]),
    ("unclear, the file names the way it ended", UNCLEAR, EXIT, "{max: 3, when: [exit]}", [("unclear", True), ("unclear", False)]),
    ("unclear, the file names only what may pass", UNCLEAR, EXIT, "{max: 3, when: [transient]}", [("unclear", False)]),
    ("unclear by signal, the file names only exits", UNCLEAR, SIGNAL, "{max: 3, when: [exit]}", [(None, False)]),
]


def attempts(site, stage: int) -> list[dict]:
    return list(reversed(site.ok("GET", f"/api/v1/stages/{stage}/attempts")["items"]))


def test_the_table(site):
    runs, told = [], set()
    for i, (label, what, how, retry, _) in enumerate(TABLE):
        site.project(f"again{i}", pipeline(what, how, retry))
        runs.append(site.run(f"again{i}"))
    for run_id, (label, what, how, retry, expected) in zip(runs, TABLE):
        run = site.until(run_id, "red", timeout=180)
        tried = attempts(site, run["stages"][0]["id"])
        got = [(a["retry"]["verdict"], a["retry"]["retry"]) for a in tried]
        assert got == expected, f"{label}: {json.dumps([a['retry'] for a in tried], indent=1)}"
        assert all(a["retry"]["why"] for a in tried), label
        last = tried[-1]["retry"]
        if last["verdict"] == "deterministic":
            assert last["saved_ms"] == tried[-1]["duration_ms"] * 2, label
            assert ("saved" in last["why"]) == (last["saved_ms"] >= 1000) and "about 0" not in last["why"], f"{label}: {last}"
            told.add("saved" in last["why"])
        for a in tried:
            if a["retry"]["verdict"] and a["retry"]["retry"]:
                assert 0 < a["retry"]["delay_ms"] <= 450000, label
    assert told == {True, False}, "time saved is told where it is worth a word, and only there"
    metrics = site.call("GET", "/metrics").body.decode()
    counted = {line.split(" ")[0]: float(line.split(" ")[1]) for line in metrics.splitlines() if line.startswith("portolan_retry")}
    for verdict in ("deterministic", "transient", "unclear"):
        for again in (True, False):
            expected = sum(x == (verdict, again) for row in TABLE for x in row[4])
            assert counted[f'portolan_retry_decisions_total{{verdict="{verdict}",retry="{str(again).lower()}"}}'] == expected
    assert counted["portolan_retry_saved_seconds_total"] > 0


def test_a_decision_is_an_event_and_is_shown(site):
    site.project("told", pipeline(DETERMINISTIC, EXIT, "2"))
    run = site.until(site.run("told"), "red")
    told = json.loads(site.sql(f"SELECT data FROM event WHERE run_id = {run['id']} AND kind = 'retry'"))
    assert told["verdict"] == "deterministic" and told["retry"] is False
    assert run["stages"][0]["retry"]["why"] == told["why"]


# No diagnosis can be made while somebody else is said to be at it.
HOLD = """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.diagnosis_until := now() + interval '1 hour'; RETURN NEW; END $$;
CREATE TRIGGER hold BEFORE UPDATE OF ended_at ON attempt FOR EACH ROW WHEN (NEW.fence = 1) EXECUTE FUNCTION hold()"""
LET_GO = "DROP TRIGGER hold ON attempt; DROP FUNCTION hold()"


def test_killed_between_failure_and_decision(own_site):
    """The stage is in a state of its own, in the database: another daemon, or the same one again, diagnoses and decides."""
    site = own_site
    site.start_daemon()
    site.start_agent("one")
    teach(site)
    site.project("killed", pipeline(TRANSIENT, EXIT, "1"))
    site.sql(HOLD)
    run_id = site.run("killed")
    stage = site.until_stage(run_id, "export", "deciding")
    assert stage["retry"] is None and site.get(run_id)["state"] == "running"
    assert any("diagnosis decides" in w["why"] for w in site.ok("GET", f"/api/v1/runs/{run_id}/why")["items"])
    port = site.url.rsplit(":", 1)[1]
    site.daemons[-1].kill()
    site.daemons[-1].wait(10)
    site.start_daemon(**{"listen-address": f"127.0.0.1:{port}"})
    assert site.stage(run_id, "export")["state"] == "deciding"
    site.sql(LET_GO)
    site.sql("UPDATE attempt SET diagnosis_until = NULL WHERE diagnosis_state = 'pending'")
    run = site.until(run_id, "red", timeout=120)
    assert [a["retry"]["retry"] for a in attempts(site, run["stages"][0]["id"])] == [True, False]


def test_the_wait_for_a_diagnosis_is_bounded(site):
    site.project("late", pipeline(TRANSIENT, EXIT, "1"))
    site.sql(HOLD)
    run_id = site.run("late")
    stage = site.until_stage(run_id, "export", "deciding")
    site.sql(LET_GO)
    assert site.sql(f"SELECT decide_by - now() BETWEEN interval '4 minutes' AND interval '5 minutes' FROM stage WHERE id = {stage['id']}") == "t"
    site.sql(f"UPDATE stage SET decide_by = now() WHERE id = {stage['id']}")
    wait_for("a decision without a diagnosis", lambda: attempts(site, stage["id"])[0]["retry"])
    first = attempts(site, stage["id"])[0]["retry"]
    assert first["verdict"] == "unclear" and first["retry"] and "no diagnosis came in time" in first["why"]
    site.until(run_id, "red", timeout=120)


def test_cancelling_a_stage_that_waits_for_its_diagnosis(site):
    site.project("cancelled", pipeline(TRANSIENT, EXIT, "1"))
    site.sql(HOLD)
    run_id = site.run("cancelled")
    site.until_stage(run_id, "export", "deciding")
    site.sql(LET_GO)
    site.ok("POST", f"/api/v1/runs/{run_id}/cancel")
    site.until(run_id, "cancelled")
