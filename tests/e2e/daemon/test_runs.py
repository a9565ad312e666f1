"""The life of runs through daemon, PostgreSQL and agent: green, red, skipped, retried, cancelled, gated, grouped, re-run; logs, artifacts, events."""
from __future__ import annotations

import hashlib
import json
import threading
import urllib.request

from portolan import patient, wait_for

THREE = """
version: 1
model: toy
export:
  run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp weights.txt $PORTOLAN_OUTPUTS/model/weights.txt", "echo exported"]
  outputs: [model/weights.txt]
targets:
  server:
    host: server
    convert: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "tr a-z A-Z < $PORTOLAN_INPUTS/model/weights.txt > $PORTOLAN_OUTPUTS/model/weights.txt"], outputs: [model/weights.txt]}
    verify: {run: ["grep -q HELLO $PORTOLAN_INPUTS/model/weights.txt", "echo verified", "echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}
"""


def test_a_run_of_three_stages_is_green_and_hands_artifacts_on(site):
    site.project("three", THREE, {"weights.txt": "hello\n"})
    run = site.until(site.run("three"), "green", "red")
    assert run["state"] == "green", run
    assert [s["state"] for s in run["stages"]] == ["green"] * 3
    convert = run["stages"][1]
    artifacts = site.ok("GET", f"/api/v1/attempts/{convert['attempt_id']}/artifacts")["items"]
    assert [a["path"] for a in artifacts] == ["model/weights.txt"]
    blob = site.call("GET", f"/api/v1/blobs/{artifacts[0]['sha256']}")
    assert blob.body == b"HELLO\n" and hashlib.sha256(blob.body).hexdigest() == artifacts[0]["sha256"]
    part = site.call("GET", f"/api/v1/blobs/{artifacts[0]['sha256']}", headers={"Range": "bytes=1-2"})
    assert part.status == 206 and part.body == b"EL"
    log = site.attempt_log(run["stages"][2]["attempt_id"])
    assert "verified" in log and "[portolan]" in log
    assert run["number"] >= 1 and len(run["commit_sha"]) == 40


def test_a_failure_is_red_diagnosed_and_what_needs_it_is_skipped(site):
    site.project("failing", THREE.replace("echo exported", "echo ValueError: layer mystery has no converter >&2; exit 3"), {"weights.txt": "hello\n"})
    run_id = site.run("failing")
    run = site.until(run_id, "green", "red")
    assert run["state"] == "red"
    export, convert, verify = run["stages"]
    assert (export["state"], export["end_reason"], export["exit_code"]) == ("red", "exit", 3)
    assert (convert["state"], verify["state"]) == ("skipped", "skipped")
    assert "export" in convert["message"]
    done = wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run_id, "export")), 30)
    quoted = done["diagnosis"]["evidence"][0]
    assert "layer mystery has no converter" in quoted["text"]
    log = site.attempt_log(export["attempt_id"])
    assert log.encode()[quoted["offset"]:].startswith(b"ValueError"), "the quoted place is the place in the log"


def test_missing_output_is_red_though_the_exit_code_is_zero(site):
    site.project("empty-handed", THREE.replace("cp weights.txt $PORTOLAN_OUTPUTS/model/weights.txt", "true"), {"weights.txt": "x"})
    run = site.until(site.run("empty-handed"), "green", "red")
    assert run["stages"][0]["state"] == "red"
    assert "model/weights.txt" in run["stages"][0]["message"]


def test_own_failures_are_retried_as_the_file_says_and_no_more(site):
    site.project("retrying", """
version: 1
model: retrying
export:
  run: ["echo try; exit 7"]
  retry: {max: 1, when: [always]}
targets:
  server: {host: server, verify: {run: ["true"]}}
""")
    run_id = site.run("retrying")
    run = site.until(run_id, "red", "green")
    attempts = site.ok("GET", f"/api/v1/stages/{run['stages'][0]['id']}/attempts")["items"]
    assert [a["fence"] for a in attempts] == [2, 1]
    assert all(a["exit_code"] == 7 for a in attempts)
    for attempt in attempts:
        assert "try" in site.attempt_log(attempt["id"]), "each attempt keeps its own log"


def test_what_cannot_be_set_up_is_tried_a_bounded_number_of_times(site):
    """An agent that says "setup" each time; the file's default retry names setup too, which once made it endless."""
    site.project("unready", "version: 1\nmodel: unready\nexport: {run: ['true'], labels: [unready]}\ntargets:\n  server: {host: server, verify: {run: ['true']}}\n")
    inventory = {"hosts": ["server"], "labels": ["unready"], "slots": 1}
    once = site.ok("POST", "/api/v1/agents/enrol-tokens", {"name": "unready", "hosts": ["server"]})["token"]
    token = site.ok("POST", "/api/v1/agent/enroll", {"token": once, "name": "unready", "inventory": inventory}, token="")["token"]
    run_id, tries = site.run("unready"), 0
    while site.get(run_id)["state"] in ("preparing", "waiting", "running"):
        for job in site.ok("POST", "/api/v1/agent/claim", {"free_slots": 1, "wait_ms": 2000, "inventory": inventory}, token=token)["claims"]:
            tries += 1
            assert tries < 6, "no end of tries"
            site.ok("POST", f"/api/v1/agent/attempts/{job['attempt_id']}/finish", {"fence": job["fence"], "end_reason": "setup", "ok": False, "message": "the toolchain is broken", "log_bytes": 0}, token=token)
    run = site.get(run_id)
    assert run["state"] == "red" and tries == 3, "the first and two more"
    assert run["stages"][0]["message"] == "the toolchain is broken"


def test_a_verify_that_proves_nothing_is_red(site):
    site.project("nothing", THREE[: THREE.rindex(", \"echo '{")] + "]}\n", {"weights.txt": "hello\n"})
    run = site.until(site.run("nothing"), "green", "red")
    assert run["stages"][2]["state"] == "red" and "proved nothing" in run["stages"][2]["message"]


def test_timeout_is_its_own_end_reason(site):
    site.project("slow", """
version: 1
model: slow
export: {run: ["sleep 60"], timeout: 1s}
targets:
  server: {host: server, verify: {run: ["true"]}}
""")
    run = site.until(site.run("slow"), "red", "green")
    assert run["stages"][0]["end_reason"] == "timeout"


LONG = """
version: 1
model: long
export: {run: ["trap 'echo got-term; exit 0' TERM; echo begun; for i in $(seq 600); do sleep 0.1; done"]}
targets:
  server: {host: server, verify: {run: ["true"]}}
"""


def test_cancel_ends_what_runs_and_what_waits(site):
    site.project("long", LONG)
    run_id = site.run("long")
    site.until_stage(run_id, "export", "running")
    site.ok("POST", f"/api/v1/runs/{run_id}/cancel")
    run = site.until(run_id, "cancelled", timeout=60)
    assert [s["state"] for s in run["stages"]] == ["cancelled", "cancelled"]
    assert run["stages"][0]["end_reason"] == "cancelled"
    again = site.call("POST", f"/api/v1/runs/{run_id}/cancel")
    assert again.status == 409, "cancelling what has ended is a conflict, said as such"


def test_rerun_begins_at_the_first_stage_that_is_not_green(site):
    site.project("rerun", THREE.replace("grep -q HELLO", "grep -q NEVER"), {"weights.txt": "hello\n"})
    run_id = site.run("rerun")
    run = site.until(run_id, "red")
    before = {s["name"]: s["fence"] for s in run["stages"]}
    site.ok("POST", f"/api/v1/runs/{run_id}/rerun")
    site.until(run_id, "running")
    run = site.until(run_id, "red")
    after = {s["name"]: s["fence"] for s in run["stages"]}
    assert after["export"] == before["export"] and after["convert/server"] == before["convert/server"], "green stages keep their artifacts"
    assert after["verify/server"] == before["verify/server"] + 1
    assert site.call("POST", f"/api/v1/runs/{run_id + 100000}/rerun").status == 404


def test_a_gate_waits_for_a_person(site):
    site.project("gated", THREE.replace("verify: {", "verify: {when: manual, "), {"weights.txt": "hello\n"})
    run_id = site.run("gated")
    stage = site.until_stage(run_id, "verify/server", "gated")
    why = site.ok("GET", f"/api/v1/runs/{run_id}/why")["items"]
    assert "waits for a person" in next(w["why"] for w in why if w["name"] == "verify/server")
    site.ok("POST", f"/api/v1/stages/{stage['id']}/approve", {"comment": "looked at it"})
    run = site.until(run_id, "green", "red")
    assert run["state"] == "green"
    approved = run["stages"][2]
    assert approved["approved_by"] == "first admin"
    assert site.call("POST", f"/api/v1/stages/{stage['id']}/approve").status == 409

    run_id = site.run("gated")
    stage = site.until_stage(run_id, "verify/server", "gated")
    site.ok("POST", f"/api/v1/stages/{stage['id']}/decline", {"comment": "not now"})
    run = site.until(run_id, "red")
    assert "declined by first admin: not now" in run["stages"][2]["message"]


def test_concurrency_groups_hold_back_and_the_newest_may_replace(site):
    head = "version: 1\nmodel: grouped\nconcurrency: {group: \"deploy\", queue: %s}\n"
    body = """
export: {run: ["sleep 600"]}
targets:
  server: {host: server, verify: {run: ["true"]}}
"""
    site.project("queue-all", head % "all" + body)
    first, second, third = (site.run("queue-all") for _ in range(3))
    site.until(first, "running")
    site.until(second, "waiting")
    site.until(third, "waiting")
    why = site.ok("GET", f"/api/v1/runs/{second}/why")["items"]
    assert "concurrency group 'deploy'" in why[0]["why"]
    site.ok("POST", f"/api/v1/runs/{first}/cancel")
    site.until(second, "running", timeout=60)
    assert site.get(third)["state"] == "waiting"
    site.ok("POST", f"/api/v1/runs/{third}/cancel")
    site.until(first, "cancelled", timeout=60)
    again = site.call("POST", f"/api/v1/runs/{first}/rerun")
    assert again.status == 409 and "another run of its concurrency group is running" in again.json["detail"], again.body
    assert (site.get(first)["state"], site.get(second)["state"]) == ("cancelled", "running")
    site.ok("POST", f"/api/v1/runs/{second}/cancel")
    site.until(second, "cancelled", timeout=60)
    site.ok("POST", f"/api/v1/runs/{first}/rerun")
    site.until(first, "running")
    site.ok("POST", f"/api/v1/runs/{first}/cancel")
    site.until(first, "cancelled", timeout=60)

    site.project("queue-latest", head % "latest" + body)
    first = site.run("queue-latest")
    site.until(first, "running")
    second, third = (site.run("queue-latest") for _ in range(2))
    site.until(third, "waiting")
    replaced = site.until(second, "cancelled")
    assert "superseded" in replaced["message"]
    for run in (third, first):
        site.ok("POST", f"/api/v1/runs/{run}/cancel")
        site.until(run, "cancelled", timeout=60)


def test_why_pending_names_the_reason(site):
    site.project("nobody", """
version: 1
model: nobody
export: {run: ["true"], labels: [quantum]}
targets:
  phone: {host: mobile, verify: {run: ["true"]}}
""")
    run_id = site.run("nobody")
    site.until_stage(run_id, "export", "queued")
    why = {w["name"]: w["why"] for w in site.ok("GET", f"/api/v1/runs/{run_id}/why")["items"]}
    assert "labels" in why["export"], why
    assert "export (queued)" in why["verify/phone"], why
    everywhere = site.ok("GET", "/api/v1/stages/pending")["items"]
    assert any(w["run_id"] == run_id for w in everywhere)
    site.ok("POST", f"/api/v1/runs/{run_id}/cancel")
    assert site.until(run_id, "cancelled")["stages"][0]["state"] == "cancelled"


def test_events_stream_and_resume_without_a_gap(site):
    site.project("streamed", THREE, {"weights.txt": "hello\n"})
    run_id = site.run("streamed")

    def read(last: str, stop_after: int | None) -> list[tuple[str, dict]]:
        request = urllib.request.Request(f"{site.url}/api/v1/runs/{run_id}/events?since=0", headers={"Authorization": f"Bearer {site.token}", "Accept": "text/event-stream"})
        if last:
            request.add_header("Last-Event-ID", last)
        events, event_id, kind = [], "", ""
        with urllib.request.urlopen(request, timeout=60) as stream:
            for raw in stream:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                    events.append((event_id, {"kind": kind, **data}))
                    if stop_after and len(events) == stop_after:
                        return events
                    if kind == "run" and data["data"].get("state") == "green":
                        return events
        return events

    whole = read("", None)
    first = read("", 4)
    rest = read(first[-1][0], None)
    assert [e[0] for e in first + rest] == [e[0] for e in whole], "a resumed stream goes on exactly where it broke"
    states = [e["data"]["state"] for _, e in whole if e["kind"] == "stage" and e["data"]["name"] == "export"]
    assert states == ["queued", "claimed", "running", "green"]


def test_a_log_streams_while_it_grows_and_ends(site):
    site.project("chatty", """
version: 1
model: chatty
export: {run: ["for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done"]}
targets:
  server: {host: server, verify: {run: ["true"]}}
""")
    run_id = site.run("chatty")
    attempt = site.until_stage(run_id, "export", "running", "green")["attempt_id"]
    text, ended = "", threading.Event()
    request = urllib.request.Request(f"{site.url}/api/v1/attempts/{attempt}/log/stream", headers={"Authorization": f"Bearer {site.token}"})
    with urllib.request.urlopen(request, timeout=60) as stream:
        kind = ""
        for raw in stream:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == "log":
                text += json.loads(line[6:])["text"]
            elif line.startswith("data: ") and kind == "end":
                ended.set()
                break
    assert ended.is_set() and [f"line {i}" in text for i in range(1, 6)] == [True] * 5
    assert text == site.attempt_log(attempt)


def test_lists_have_cursors(site):
    site.project("many", THREE, {"weights.txt": "hello\n"})
    runs = [site.run("many") for _ in range(5)]
    seen, before = [], ""
    while True:
        page = site.ok("GET", f"/api/v1/runs?project=many&limit=2{before}")
        seen += [r["id"] for r in page["items"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == sorted(runs, reverse=True)
    for run in runs:
        site.until(run, "green")


def test_the_queue_clock_and_the_total_clock_end_what_waits(site):
    site.project("clocks", """
version: 1
model: clocks
export: {run: ["true"], labels: [nowhere], queue-timeout: 1s}
targets:
  server: {host: server, verify: {run: ["true"]}}
""")
    run = site.until(site.run("clocks"), "red", "green")
    assert run["stages"][0]["state"] == "red" and "queue" in run["stages"][0]["message"], run["stages"][0]
    assert run["stages"][1]["state"] == "skipped"
    site.project("total", """
version: 1
model: total
export: {run: ["sleep 1; exit 5"], timeout: 2s, total-timeout: 3s, retry: {max: 10, when: [always]}}
targets:
  server: {host: server, verify: {run: ["true"]}}
""")
    run = site.until(site.run("total"), "red", "green")
    attempts = site.ok("GET", f"/api/v1/stages/{run['stages'][0]['id']}/attempts")["items"]
    assert run["stages"][0]["state"] == "red" and 1 <= len(attempts) < 10, "ten retries were allowed, three seconds were not"


NOWHERE = """
version: 1
model: nowhere
export: {run: ["true"], labels: [nowhere]}
targets:
  server: {host: server, verify: {run: ["true"]}}
"""


def test_the_clocks_end_what_waits_behind_thousands(site):
    site.project("crowd", NOWHERE)
    crowd = site.run("crowd")
    first = site.until_stage(crowd, "export", "queued")["id"]
    columns = site.sql("SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns WHERE table_name = 'stage' AND column_name NOT IN ('id', 'name') AND is_generated = 'NEVER'")
    site.sql(f"INSERT INTO stage (name, {columns}) SELECT 'export/' || i, {columns} FROM stage, generate_series(1, 5001) i WHERE id = {first}")
    site.project("behind", NOWHERE.replace("labels: [nowhere]", "labels: [nowhere], queue-timeout: 1s"))
    run = site.until(site.run("behind"), "red", "green")
    assert run["stages"][0]["state"] == "red" and "queue" in run["stages"][0]["message"], run["stages"][0]
    site.ok("POST", f"/api/v1/runs/{crowd}/cancel")
    site.until(crowd, "cancelled")


def test_a_removed_project_works_no_more(site):
    site.project("removed", NOWHERE)
    run = site.run("removed")
    site.until_stage(run, "export", "queued")
    site.ok("DELETE", "/api/v1/projects/removed")
    stages = wait_for("its run to end", lambda: site.sql(f"SELECT state FROM run WHERE id = {run}") == "cancelled" and site.sql(f"SELECT DISTINCT state || ': ' || message FROM stage WHERE run_id = {run}"), 20)
    assert stages == "cancelled: the project was removed", stages


def test_a_matrix_is_a_stage_for_each_value(site):
    site.project("matrix", """
version: 1
model: matrix
export: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "echo w > $PORTOLAN_OUTPUTS/model/w"]}
targets:
  server:
    host: server
    matrix: {mode: [a, b, c], exclude: [{mode: b}]}
    verify: {run: ["test ${{ matrix.mode }} = a", "echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}
""")
    run = site.until(site.run("matrix"), "red", "green")
    states = {s["name"]: s["state"] for s in run["stages"]}
    assert states == {"export": "green", "verify/server[mode=a]": "green", "verify/server[mode=c]": "red"}, states
    assert run["state"] == "red"


def test_failures_may_be_allowed(site):
    site.project("allowed", THREE.replace("grep -q HELLO", "grep -q NEVER").replace("verify: {", "verify: {allow-failure: true, "), {"weights.txt": "hello\\n"})
    run = site.until(site.run("allowed"), "red", "green")
    assert run["state"] == "green" and run["stages"][2]["state"] == "red"


def test_a_silent_stream_beats_as_often_as_the_setting_says(own_site):
    """So that a proxy with a short patience does not cut it. No agent is there: after its first events the stream has nothing to say."""
    site = own_site
    site.settings["sse-heartbeat"] = "1s"
    site.start_daemon()
    site.project("silent", THREE, {"weights.txt": "hello\n"})
    run_id = site.run("silent")
    request = urllib.request.Request(f"{site.url}/api/v1/runs/{run_id}/events?since=0", headers={"Authorization": f"Bearer {site.token}", "Accept": "text/event-stream"})
    beats = 0
    with urllib.request.urlopen(request, timeout=patient(10)) as stream:  # less than the 15 s that hold where nothing is set
        for raw in stream:
            beats += raw == b": beat\n"
            if beats == 2:
                break
    assert beats == 2, "the stream ended instead of waiting"
