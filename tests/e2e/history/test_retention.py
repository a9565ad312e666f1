"""Logs go by age or by size; diagnosis, quoted lines and template stay; runs in progress keep theirs."""
from __future__ import annotations

import subprocess

from portolan import BUILD, wait_for

from conftest import PIPELINE

LINE = "ModuleNotFoundError: No module named 'tflite_support_{}'\n"


def test_by_age_and_by_size(own_past):
    past = own_past
    past.start_daemon()
    past.play()
    past.project("attic", PIPELINE)
    old = past.fail("attic", LINE.format("old"))
    new = past.fail("attic", "x" * 5000 + "\n" + LINE.format("new"))
    open_run = past.run("attic")
    jobs: list[dict] = []
    wait_for("a job of the open run", lambda: jobs.extend(past.ok("POST", "/api/v1/agent/claim", {"free_slots": 1, "wait_ms": 300, "inventory": past.inventory}, token=past.agent_token)["claims"]) or jobs, 60)
    past.finish(jobs[0], None)   # its export has ended, the run goes on
    assert past.get(open_run)["state"] == "running"
    past.sql(f"UPDATE attempt SET ended_at = ended_at - interval '40 days' WHERE id IN ({old}, {jobs[0]['attempt_id']})")
    # Many more of the run that does not end, all older: they hinder nobody.
    past.sql("INSERT INTO attempt (stage_id, fence, agent_name, ended_at, ok, end_reason, diagnosis_state, log_bytes) "
             f"SELECT stage_id, 1000 + i, 'many', ended_at - interval '1 day', true, 'exit', 'none', 10 FROM attempt, generate_series(1, 2000) i WHERE id = {jobs[0]['attempt_id']}")
    past.daemons[-1].terminate()
    past.daemons[-1].wait(30)
    past.start_daemon("by-age", **{"log-retention": "30d"})
    gone = wait_for("the old log to go", lambda: (lambda a: a if a.status == 410 else None)(past.call("GET", f"/api/v1/attempts/{old}/log")), 60)
    assert "retention" in gone.json["detail"] and past.sql(f"SELECT count(*) FROM log_chunk WHERE attempt_id = {old}") == "0"
    assert past.call("GET", f"/api/v1/attempts/{new}/log").status == 200
    assert past.call("GET", f"/api/v1/attempts/{jobs[0]['attempt_id']}/log").status == 200, "a run in progress keeps its logs however old"
    kept = past.ok("GET", f"/api/v1/attempts/{old}/failure")
    assert "tflite_support_old" in kept["key_line"] and kept["template"] and kept["log_pruned_at"]
    assert past.ok("GET", f"/api/v1/attempts/{old}")["diagnosis"]["evidence"]
    assert [i["attempt_id"] for i in past.failures("q=tflite_support_old")] == [old]
    assert past.ok("GET", f"/api/v1/attempts/{new}/similar")["items"][0]["attempt_id"] == old
    stream = past.call("GET", f"/api/v1/attempts/{old}/log/stream").body.decode()
    assert "event: end" in stream, "a stream of what has gone ends"
    logs = subprocess.run([str(BUILD / "cli" / "portolan"), "logs", str(old)], capture_output=True, text=True, timeout=60, env={"PORTOLAN_SERVER": past.url, "PORTOLAN_TOKEN": past.token, "PATH": "/usr/bin:/bin", "HOME": str(past.dir)})
    assert logs.returncode == 4 and "retention" in logs.stderr, logs.stderr
    past.daemons[-1].terminate()
    past.daemons[-1].wait(30)
    past.start_daemon("by-size", **{"log-retention-size": "1000"})
    wait_for("the big log to go", lambda: past.call("GET", f"/api/v1/attempts/{new}/log").status == 410, 60)
    assert past.call("GET", f"/api/v1/attempts/{jobs[0]['attempt_id']}/log").status == 200
