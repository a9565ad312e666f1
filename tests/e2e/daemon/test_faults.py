"""Kill anything: nothing is lost, nothing runs twice with effect. Each test has a site of its own, because it breaks it."""
from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from git_servers import HttpGit, free_port
from portolan import patient, wait_for

STEPS = """
version: 1
model: steady
export:
  run: ["for i in $(seq 1 60); do echo step $i; sleep 0.1; done", "mkdir -p $PORTOLAN_OUTPUTS/model", "echo w > $PORTOLAN_OUTPUTS/model/w"]
  outputs: [model/w]
targets:
  server: {host: server, verify: {run: ["cat $PORTOLAN_INPUTS/model/w", "echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}}
"""


def lines_of(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("step ")]


WHOLE = [f"step {i}" for i in range(1, 61)]


def one_run(site, name: str = "steady", pipeline: str = STEPS) -> int:
    site.start_daemon()
    site.start_agent("one")
    site.project(name, pipeline)
    run = site.run(name)
    site.until_stage(run, "export", "running")
    return run


def test_the_daemon_is_killed_while_a_stage_runs(own_site):
    site = own_site
    run = one_run(site)
    port = site.url.rsplit(":", 1)[1]
    site.daemons[-1].kill()
    site.daemons[-1].wait(10)
    site.start_daemon(**{"listen-address": f"127.0.0.1:{port}"})
    got = site.until(run, "green", "red")
    assert got["state"] == "green", got
    export = got["stages"][0]
    assert export["fence"] == 1, "the attempt went on; it was not run a second time"
    assert lines_of(site.attempt_log(export["attempt_id"])) == WHOLE, "no byte of the log lost or doubled"


def test_postgresql_is_killed_while_a_stage_runs(own_site):
    site = own_site
    run = one_run(site)
    pid = int(next((site.dir / "state" / "postgres").rglob("postmaster.pid")).read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    wait_for("the cluster to be back", lambda: site.call("GET", "/readyz", token="").status == 200, 60)
    got = site.until(run, "green", "red")
    assert got["state"] == "green", got
    assert lines_of(site.attempt_log(got["stages"][0]["attempt_id"])) == WHOLE


def test_the_agent_is_killed_and_comes_back(own_site):
    """kill -9 of the agent alone: its attempt goes on and the next agent process adopts it, within the lease."""
    site = own_site
    site.settings["lease"] = "60s"  # a busy machine needs half a minute to look at its toolchains
    run = one_run(site)
    os.kill(site.agents["one"].pid, signal.SIGKILL)
    site.agents.pop("one").wait(10)
    site.start_agent("one")
    got = site.until(run, "green", "red", timeout=150)
    assert got["state"] == "green", got
    assert got["stages"][0]["fence"] == 1
    assert lines_of(site.attempt_log(got["stages"][0]["attempt_id"])) == WHOLE


def tree(pid: int) -> list[int]:
    out = [pid]
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                out += tree(int(entry.name))
    return out


def vanish(site, agent: str) -> None:
    """The agent with all its processes, as when a host loses its power."""
    for pid in tree(site.agents[agent].pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    site.agents.pop(agent).wait(10)


def test_an_agent_that_vanishes_loses_its_attempt_in_seconds_and_another_takes_over(own_site):
    site = own_site
    run = one_run(site)
    first = site.stage(run, "export")
    wait_for("something of its log to arrive", lambda: "step 1" in site.attempt_log(first["attempt_id"]), 30)
    vanish(site, "one")
    site.start_agent("two")
    got = site.until(run, "green", "red", timeout=120)
    assert got["state"] == "green", got
    attempts = site.ok("GET", f"/api/v1/stages/{got['stages'][0]['id']}/attempts")["items"]
    assert [(a["fence"], a["end_reason"]) for a in attempts] == [(2, "exit"), (1, "agent_lost")]
    assert "step 1" in site.attempt_log(first["attempt_id"]), "what the lost attempt had said is kept"


def test_a_pipeline_may_ask_for_tries_that_the_daemon_does_not_give_by_itself(own_site):
    site = own_site
    site.settings["losses-max"] = "0"
    run = one_run(site, pipeline=STEPS.replace("export:\n", "export:\n  retry: {max: 1, when: [agent_lost]}\n"))
    for agent, state in (("one", "queued"), ("two", "red")):
        vanish(site, agent)
        site.until_stage(run, "export", state)
        if state == "queued":
            site.start_agent("two")
            site.until_stage(run, "export", "running")
    assert "silent" in site.stage(run, "export")["message"]


def test_a_frozen_agent_is_refused_by_its_old_fence(own_site):
    """SIGSTOP past the lease, then SIGCONT: the stage has gone to another agent, and the late result changes nothing."""
    site = own_site
    run = one_run(site)
    frozen = site.agents["one"]
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        site.start_agent("two")
        got = site.until(run, "green", "red", timeout=120)
        assert got["state"] == "green" and got["stages"][0]["fence"] == 2
        export = site.stage(run, "export")
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    wait_for("the thawed agent to drop its attempt", lambda: "dropped" in site.log("agent-one") or "lost" in site.log("agent-one") or "409" in site.log("agent-one"), 60)
    after = site.stage(run, "export")
    assert (after["fence"], after["attempt_id"], after["state"]) == (2, export["attempt_id"], "green")
    attempts = site.ok("GET", f"/api/v1/stages/{after['id']}/attempts")["items"]
    assert [(a["fence"], a["end_reason"]) for a in attempts] == [(2, "exit"), (1, "agent_lost")]


def test_cancel_ends_although_the_agent_is_gone(own_site):
    site = own_site
    run = one_run(site)
    vanish(site, "one")
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    got = site.until(run, "cancelled", timeout=60)
    assert [s["state"] for s in got["stages"]] == ["cancelled", "cancelled"]


def test_a_repository_that_goes_away_gives_a_clear_failed_run(own_site):
    site = own_site
    site.start_daemon()
    site.project("gone", STEPS)
    subprocess.run(["mv", str(site.dir / "repos" / "gone.git"), str(site.dir / "repos" / "moved.git")], check=True)
    got = site.until(site.run("gone"), "invalid")
    assert "gone.git" in got["message"] and got["number"] == 1
    site.project("empty", None)
    subprocess.run(["rm", "-rf", str(site.dir / "repos" / "empty.git")], check=True)
    subprocess.run(["git", "init", "-q", "--bare", str(site.dir / "repos" / "empty.git")], check=True)
    got = site.until(site.run("empty"), "invalid")
    assert "no commits" in got["message"] or "empty" in got["message"], got["message"]


def test_a_forge_that_is_away_for_a_moment_makes_no_run_invalid(own_site):
    site = own_site
    site.start_daemon(**{"git-schemes": "http,file"})
    site.repo("busy", STEPS)
    with HttpGit(site.dir / "repos") as forge:
        site.ok("POST", "/api/v1/projects", {"name": "busy", "url": f"{forge.base}/busy/1/busy.git"})
        run = site.run("busy")
        got = wait_for("the trouble to be told", lambda: (lambda r: r if r["message"] else None)(site.get(run)), 30)
        assert got["state"] == "preparing" and "HTTP 503" in got["message"] and "1 of 3 tries" in got["message"], got
        got = site.until(run, "running", "invalid")
        assert got["state"] == "running" and got["message"] is None and forge.busy == 1, got
    # One that stays away: the third try is the last, and says what it was.
    site.ok("PATCH", "/api/v1/projects/busy", {"url": f"http://127.0.0.1:{free_port()}/busy.git"})
    run = site.run("busy")
    for tries in ("1 of 3 tries", "2 of 3 tries"):
        wait_for(tries, lambda: tries in (site.get(run)["message"] or ""), 30)
        site.sql(f"UPDATE run SET prepare_until = now() WHERE id = {run}")
    got = site.until(run, "invalid")
    assert "failed" in got["message"] and "tries" not in got["message"], got["message"]


def test_a_silent_forge_does_not_take_all_threads(own_site):
    site = own_site
    site.start_daemon(**{"git-schemes": "http,file", "workers": "4"})
    with HttpGit(site.dir / "repos") as forge:
        for n in range(6):
            site.ok("POST", "/api/v1/projects", {"name": f"silent-{n}", "url": f"{forge.base}/silent/{n}.git"})
            site.run(f"silent-{n}")
        asked = lambda: sum("/silent/" in str(r) for r in forge.requests)  # noqa: E731
        wait_for("as many to wait for the forge as may", lambda: asked() >= 2, 30)
        time.sleep(patient(2))  # until more would have asked it
        assert site.call("HEAD", f"/api/v1/blobs/{'0' * 64}").status == 404, "what needs a thread is answered"
        assert asked() == 2, "threads less two wait for forges"


def test_without_a_pipeline_file_the_run_says_how_to_add_one(own_site):
    site = own_site
    site.start_daemon()
    site.project("bare", None, {"model.py": "import torch\n"})
    got = site.until(site.run("bare"), "invalid")
    assert "portolan init" in got["message"]
    site.project("typo", "version: 1\nmodel: m\nexprot: {run: [\"true\"]}\n")
    got = site.until(site.run("typo"), "invalid")
    assert ".portolan.yml:3:1" in got["message"] and "export" in got["message"]


def test_two_daemons_share_one_database(own_site):
    """Both serve the same private cluster: the second by the first one's connection string. Each run is prepared and each stage claimed once."""
    site = own_site
    site.start_daemon()
    socket = next(p.parent for p in (site.dir / "state" / "postgres").rglob(".s.PGSQL.*") if p.suffix != ".lock")
    first = site.url
    second_dir = site.dir / "state"
    site.start_daemon("second", database=f"host={socket} user=portolan dbname=portolan", **{"state-dir": str(second_dir)})
    second = site.url
    assert first != second
    site.start_agent("near-second", slots="2")
    site.url = first
    site.start_agent("near-first", slots="2")
    site.project("both", STEPS.replace("seq 1 60", "seq 1 3"))
    runs = []
    for i in range(6):
        site.url = first if i % 2 else second
        runs.append(site.run("both"))
    for run in runs:
        got = site.until(run, "green", "red", timeout=120)
        assert got["state"] == "green", got
        assert [s["fence"] for s in got["stages"]] == [1, 1], "no stage was given out twice"
    assert sorted(site.get(r)["number"] for r in runs) == list(range(1, 7))


def test_what_has_grown_old_is_tidied_away_and_nothing_else(own_site):
    site = own_site
    site.start_daemon()
    site.project("aged", STEPS)
    run = site.run("aged")
    site.until(run, "running")
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    site.until(run, "cancelled")
    # More than one piece of them, and each of the daemon's looks takes one piece at least.
    site.sql("INSERT INTO event (project_id, kind, data) SELECT e.project_id, e.kind, e.data FROM (SELECT * FROM event LIMIT 1) e, generate_series(1, 45000)")
    newest = int(site.sql("SELECT max(id) FROM event"))
    site.sql(f"UPDATE event SET at = now() - interval '30 days' WHERE id < {newest}")
    old, young = site.dir / "state" / "uploads" / ("a" * 64 + ".part"), site.dir / "state" / "uploads" / ("b" * 64 + ".part")
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    site.daemons[-1].terminate()
    site.daemons[-1].wait(30)
    site.start_daemon()
    wait_for("old events to go", lambda: site.sql("SELECT count(*) FROM event") == "1", 30)
    wait_for("the old upload to go", lambda: not old.exists(), 30)
    assert young.exists() and site.get(run)["state"] == "cancelled"


def test_a_daemon_stops_while_nobody_reads_its_downloads(own_site):
    site = own_site
    daemon = site.start_daemon()
    site.project("idle", STEPS)
    run = site.run("idle")
    site.until_stage(run, "export", "queued")
    site.sql("INSERT INTO known_case (id, url, title, challenge_id, text, imported_by) SELECT 'x-' || i, 'https://example.org/' || i, 't', 'x', repeat('x', 100000), 'a test' FROM generate_series(1, 120) i")
    site.sql("INSERT INTO attempt (stage_id, fence, agent_name, ended_at, ok, end_reason, diagnosis_state, log_pruned_at) "
             f"SELECT s.id, 1000 + i, 'many', now() - i * interval '1 minute', false, 'exit', 'done', now() FROM stage s, generate_series(1, 1500) i WHERE s.run_id = {run} AND s.name = 'export'")
    site.sql("SELECT count(failure_refresh(id)) FROM attempt WHERE agent_name = 'many'")
    site.sql("UPDATE failure SET key_line = repeat('x', 8000)")
    readers = []
    for path in ("/api/v1/kb/cases/export", "/api/v1/failures.csv"):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", int(site.url.rsplit(":", 1)[1])))
        reader.settimeout(patient(30))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token}\r\n\r\n".encode())
        assert reader.recv(100).startswith(b"HTTP/1.1 200"), path
        readers.append(reader)
    time.sleep(patient(2))  # until what is sent waits for its reader
    daemon.terminate()
    try:
        daemon.wait(patient(20))
    except subprocess.TimeoutExpired:
        daemon.kill()
        raise
    assert daemon.returncode == 0 and "did not end with the daemon" not in site.log()


def test_a_piece_that_waited_for_its_turn_leaves_the_finished_blob_alone(own_site):
    site = own_site
    site.start_daemon()
    inventory = {"hosts": ["server"]}
    once = site.ok("POST", "/api/v1/agents/enrol-tokens", {"name": "sender", "hosts": ["server"]})["token"]
    sender = site.ok("POST", "/api/v1/agent/enroll", {"token": once, "name": "sender", "inventory": inventory}, token="")["token"]
    data = b"whole" * 1000
    sha = hashlib.sha256(data).hexdigest()

    def piece(first: int, part: bytes, total: int):
        return site.call("PUT", f"/api/v1/blobs/{sha}", raw=part, token=sender, headers={"Content-Range": f"bytes {first}-{first + len(part) - 1}/{total}"})
    assert piece(0, data[:2000], 5000).json == {"next_offset": 2000}
    part, blob = site.dir / "state" / "uploads" / f"{sha}.part", site.dir / "state" / "blobs" / sha[:2] / sha
    got = []
    with open(part, "r+b") as first:  # as one that sends it whole
        fcntl.flock(first, fcntl.LOCK_EX)
        late = threading.Thread(target=lambda: got.append(piece(2000, data[2000:] + b"more", 9000)))
        late.start()
        wait_for("the second to wait", lambda: any("->" in line and f":{part.stat().st_ino} " in line for line in pathlib.Path("/proc/locks").read_text().splitlines()), 20)
        first.seek(2000)
        first.write(data[2000:])
        first.flush()
        blob.parent.mkdir(exist_ok=True)
        part.rename(blob)
    late.join()
    assert blob.read_bytes() == data
    assert got[0].status == 409 and b"ask again" in got[0].body, got[0].body
    assert piece(2000, data[2000:], 5000).json == {"size_bytes": 5000}, "it asks again, and it is there"
