"""Long polls of agents: who hangs up gets nothing, who waits gets what is there, and one stage does not wake the world."""
from __future__ import annotations

import json
import socket
import threading

from portolan import wait_for

PIPELINE = "version: 1\nmodel: polled\nexport: {run: ['true'], labels: [polls]}\ntargets:\n  server: {host: server, verify: {run: ['true']}}\n"
INVENTORY = {"hosts": ["server"], "labels": ["polls"], "slots": 1}


def agent(site, name: str) -> str:
    once = site.ok("POST", "/api/v1/agents/enrol-tokens", {"name": name, "hosts": ["server"]})["token"]
    return site.ok("POST", "/api/v1/agent/enroll", {"token": once, "name": name, "inventory": INVENTORY}, token="")["token"]


class Poll:
    """A claim on a raw connection, so that a test can hang up or send early."""

    def __init__(self, site, token: str, wait_ms: int = 30000):
        self.token = token
        self.socket = socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1])))
        self.socket.settimeout(30)
        self.send("POST", "/api/v1/agent/claim", {"free_slots": 1, "wait_ms": wait_ms, "inventory": INVENTORY})
        self.rest = b""

    def send(self, method: str, path: str, body=None) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)

    def answer(self):
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.read()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")))
        while len(self.rest) < length:
            self.rest += self.read()
        body, self.rest = self.rest[:length], self.rest[length:]
        return int(head.split(b" ")[1]), json.loads(body)

    def read(self) -> bytes:
        got = self.socket.recv(65536)
        assert got, "the daemon hung up"
        return got


def counter(site, name: str) -> float:
    return next(float(line.rsplit(" ", 1)[1]) for line in site.call("GET", "/metrics").body.decode().splitlines() if line.startswith(name + " "))


def waiting(site, n: int) -> None:
    wait_for(f"{n} polls waiting", lambda: counter(site, "portolan_long_polls") == n, 20)


def test_who_hung_up_is_given_nothing(site):
    site.project("hung-up", PIPELINE)
    token, before = agent(site, "hung-up"), int(counter(site, "portolan_long_polls"))
    for _ in range(3):
        poll = Poll(site, token)
        waiting(site, before + 1)
        poll.socket.close()
        waiting(site, before)
    living = Poll(site, agent(site, "living"))
    waiting(site, before + 1)
    run = site.run("hung-up")
    status, got = living.answer()
    assert status == 200 and [job["run_id"] for job in got["claims"]] == [run]
    assert got["claims"][0]["fence"] == 1, "nobody had it before"
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    living.socket.close()


SECRETIVE = PIPELINE.replace("labels: [polls]", "labels: [polls], secrets: [KEY]")


def test_a_stage_is_not_handed_out_without_its_secrets(site):
    site.project("unread", SECRETIVE)
    site.ok("PUT", "/api/v1/projects/unread/secrets/KEY", {"value": "of the vault"})
    token, run = agent(site, "unread"), site.run("unread")
    site.until_stage(run, "export", "queued")
    site.sql("ALTER TABLE project_secret RENAME TO project_secret_away")
    try:
        status, got = Poll(site, token, wait_ms=0).answer()
    finally:
        site.sql("ALTER TABLE project_secret_away RENAME TO project_secret")
    assert status == 503 and "secrets of stage export could not be read" in got["detail"], got
    stage = site.until_stage(run, "export", "queued")
    assert "secrets could not be read" in stage["message"] and stage["losses"] == 0, stage
    status, got = Poll(site, token).answer()
    assert status == 200 and [(job["run_id"], job["fence"], job["secrets"]) for job in got["claims"]] == [(run, 2, {"KEY": "of the vault"})]
    site.ok("POST", f"/api/v1/runs/{run}/cancel")


def test_who_hangs_up_while_the_secrets_are_read_gives_the_stage_back(site):
    site.project("locked", SECRETIVE)
    site.ok("PUT", "/api/v1/projects/locked/secrets/KEY", {"value": "of the vault"})
    token, before, run = agent(site, "locked"), int(counter(site, "portolan_long_polls")), site.run("locked")
    site.until_stage(run, "export", "queued")
    # Long enough that the daemon sees who hung up, short enough that the lease does not run out first.
    lock = threading.Thread(target=site.sql, args=("BEGIN; LOCK TABLE project_secret; SELECT pg_sleep(2); COMMIT",))
    lock.start()
    wait_for("the lock", lambda: site.sql("SELECT count(*) FROM pg_locks WHERE relation = 'project_secret'::regclass AND mode = 'AccessExclusiveLock' AND granted") == "1", 10)
    poll = Poll(site, token)
    site.until_stage(run, "export", "claimed")
    poll.socket.close()
    lock.join()
    waiting(site, before)
    stage = site.until_stage(run, "export", "queued", timeout=5)
    assert "hung up" in stage["message"] and stage["losses"] == 0, stage
    status, got = Poll(site, token).answer()
    assert status == 200 and [(job["run_id"], job["fence"]) for job in got["claims"]] == [(run, 2)]
    site.ok("POST", f"/api/v1/runs/{run}/cancel")


def test_what_is_sent_while_a_poll_waits_is_answered_after_it(site):
    token = agent(site, "early")
    poll = Poll(site, token, wait_ms=500)
    poll.send("GET", "/api/v1/whoami")
    status, got = poll.answer()
    assert (status, got) == (200, {"claims": []})
    status, got = poll.answer()
    assert status == 200 and got["name"] == "early"
    poll.send("POST", "/api/v1/agent/heartbeat", {"attempts": [{"attempt_id": i, "fence": 1, "phase": "x" * 200} for i in range(900)]})
    status, got = poll.answer()
    assert status == 200 and len(got["lost"]) == 900, "a large body behind a poll comes through whole"
    poll.socket.close()


def test_one_stage_does_not_make_every_idle_agent_ask(site):
    site.project("herd", PIPELINE)
    token, before = agent(site, "herd"), int(counter(site, "portolan_long_polls"))
    polls = [Poll(site, token) for _ in range(200)]
    waiting(site, before + 200)
    wait_for("the database to be idle", lambda: counter(site, "portolan_db_queue") <= 1, 20)
    mark = counter(site, "portolan_db_statements_total")
    run = site.run("herd")
    waiting(site, before + 199)
    assert counter(site, "portolan_db_statements_total") - mark < 100, "200 idle polls, one stage"
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    for poll in polls:
        poll.socket.close()
    waiting(site, before)


def test_agents_that_drain_while_they_wait_keep_nothing_from_the_others(site):
    site.project("drained", PIPELINE)
    before = int(counter(site, "portolan_long_polls"))
    polls = [Poll(site, agent(site, name)) for name in ("drained-0", "drained-1", "drained-2", "willing", "drained-3", "drained-4", "drained-5")]
    waiting(site, before + 7)
    for i in range(6):
        site.ok("POST", f"/api/v1/agents/drained-{i}/drain")
    run = site.run("drained")
    status, got = polls[3].answer()
    assert status == 200 and [job["run_id"] for job in got["claims"]] == [run]
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    for poll in polls:
        poll.socket.close()
