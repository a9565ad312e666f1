"""Streams: watching runs, following logs, events; breaks are resumed, ends are seen, a server that stays away is told."""
import base64
import json
import queue
import subprocess
import threading

import pytest

import standin
from standin import PATIENCE, event, items, problem

WAIT = 30 * PATIENCE


def run(state, *stages):
    return {"id": 12, "number": 3, "project": "digits", "state": state, "stages": [{"id": i + 1, "name": n, "state": s, "diagnosis_state": "none"} for i, (n, s) in enumerate(stages)]}


class Scripted:
    """The run's state changes when the test says so; each change is an event on the stream."""

    def __init__(self, server, now):
        self.now, self.queue, self.connected = now, queue.Queue(), threading.Event()
        self.ids = []
        server.on("GET", "/api/v1/runs/12", lambda asked: self.now)
        server.on("GET", "/api/v1/runs/12/events", lambda asked: self.stream(asked))

    def stream(self, asked):
        self.ids.append(asked.headers.get("Last-Event-ID"))
        self.connected.set()
        yield b": portolan\n\n" + (b"" if self.ids[-1] else event("hello", {}, "5-0"))
        while True:
            piece = self.queue.get(timeout=WAIT)
            if piece is None:
                return
            yield piece

    def becomes(self, now, kind="stage", id="6-1"):
        self.now = now
        self.queue.put(event(kind, {"data": {"state": now["state"]}}, id))


def watching(cli, *args):
    return subprocess.Popen([standin.CLI, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.env, cwd=cli.home)


@pytest.mark.parametrize("end,exit_status,code", [("green", False, 0), ("green", True, 0), ("red", False, 0), ("red", True, 1), ("cancelled", True, 1), ("invalid", True, 1)])
def test_watch_to_the_end(server, cli, end, exit_status, code):
    script = Scripted(server, run("running", ("export", "queued")))
    process = watching(cli, "run", "watch", "12", *(["--exit-status"] if exit_status else []))
    assert script.connected.wait(WAIT)
    lines = iter(process.stdout.readline, "")
    assert next(l for l in lines if "export" in l).split()[1:] == ["export", "queued"]
    script.becomes(run("running", ("export", "running")))
    assert next(l for l in lines if "export" in l).split()[1:] == ["export", "running"]
    script.becomes(run(end, ("export", "green")), "run")
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == code, err
    assert f"digits#3                 {end}" in out and "STAGE   STATE" in out and "\x1b" not in out


def test_watch_resumes(server, cli):
    script = Scripted(server, run("running", ("export", "queued")))
    process = watching(cli, "run", "watch", "12")
    assert script.connected.wait(WAIT)
    script.becomes(run("running", ("export", "running")), id="7-3")
    next(l for l in iter(process.stdout.readline, "") if "running" in l and "export" in l)
    script.connected.clear()
    script.queue.put(None)  # the connection breaks
    assert script.connected.wait(WAIT)
    script.becomes(run("green", ("export", "green")), "run")
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0 and "green" in out
    assert script.ids == [None, "7-3"]


def test_watch_of_what_has_ended(server, cli):
    server.on("GET", "/api/v1/runs/12", run("red", ("export", "red")))
    assert cli("run", "watch", "12", "--exit-status").code == 1
    assert "export" in cli("run", "watch", "12").ok().out
    assert server.of("GET", "/api/v1/runs/12/events") == []


def test_watch_waits_for_the_diagnosis(server, cli):
    pending, done = run("red", ("export", "red")), run("red", ("export", "red"))
    pending["stages"][0]["diagnosis_state"] = "pending"
    done["stages"][0].update(diagnosis_state="done", diagnosis={"summary": "it is the exporter", "evidence": []})
    server.on("GET", "/api/v1/runs/12", pending, pending, done)
    assert "it is the exporter" in cli("run", "watch", "12").ok().out


def test_watch_gives_up(server, cli):
    server.on("GET", "/api/v1/runs/12", run("running", ("export", "running")))
    server.on("GET", "/api/v1/runs/12/events", (503, problem("Busy", "later")))
    cli("run", "watch", "12", "--retry", "0").failed(3)
    server.on("GET", "/api/v1/runs/12/events", (404, problem("Not Found", "no run 12")))
    cli("run", "watch", "12").failed(4, "no run 12")
    server.on("GET", "/api/v1/runs/12/events", (403, problem("Forbidden", "not yours")))
    cli("run", "watch", "12").failed(3)
    server.on("GET", "/api/v1/runs/12/events", lambda a: iter([b": portolan\n\n"]))
    cli("run", "watch", "12", "--retry", "0").failed(3, "ends the stream each time")


def test_watch_as_json(server, cli):
    script = Scripted(server, run("running", ("export", "queued")))
    process = watching(cli, "run", "watch", "12", "--json")
    assert script.connected.wait(WAIT)
    script.becomes(run("green", ("export", "green")), "run")
    out, err = process.communicate(timeout=WAIT)
    lines = [json.loads(l) for l in out.splitlines()]
    assert {"kind": "stage", "name": "export", "state": "green"}.items() <= {k: v for l in lines for k, v in l.items() if l.get("state") == "green" and l.get("kind") == "stage"}.items()
    assert lines[-1]["stages"][0]["state"] == "green"


def test_start_and_watch(server, cli):
    server.on("POST", "/api/v1/projects/digits/runs", (202, {"push_id": 1, "run_id": 12, "outcome": None}))
    server.on("GET", "/api/v1/runs/12", run("red", ("export", "red")))
    assert cli("run", "start", "digits", "--watch").code == 1
    server.on("GET", "/api/v1/runs/12", run("green", ("export", "green")))
    cli("run", "start", "digits", "--watch").ok()
    server.on("POST", "/api/v1/runs/12/rerun", {"stages": 1})
    cli("run", "rerun", "12", "--watch").ok()


class Log:
    """An attempt's log that grows, over both ways to read it."""

    def __init__(self, server):
        self.data, self.done, self.queue, self.offsets, self.told_again = b"", False, queue.Queue(), [], 0
        self.connected = threading.Event()
        server.on("GET", "/api/v1/attempts/812/log", self.read)
        server.on("GET", "/api/v1/attempts/812/log/stream", self.stream)

    def read(self, asked):
        at = int(asked.query.split("=")[1])
        return 200, self.data[at:], {"X-Portolan-Next-Offset": str(len(self.data)), "X-Portolan-Log-Complete": "true" if self.done else "false"}

    def stream(self, asked):
        at = int(asked.headers.get("Last-Event-ID") or asked.query.split("=")[1])
        self.offsets.append(at)
        self.connected.set()

        def pieces():
            nonlocal at
            yield b": portolan\n\n"
            while True:
                what = self.queue.get(timeout=WAIT)
                if what == "break":
                    return
                if what == "end":
                    yield event("end", {"next_offset": len(self.data)}, len(self.data))
                    return
                yield event("log", {"text": self.data[at - self.told_again:].decode(errors="replace"), "next_offset": len(self.data)}, len(self.data))
                at = len(self.data)
        return pieces()

    def add(self, data):
        self.data += data
        self.queue.put("log")


def test_logs_follow_every_byte(server, cli):
    log = Log(server)
    log.data = b"first\n"
    process = subprocess.Popen([standin.CLI, "logs", "-f", "812"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli.env, cwd=cli.home)
    assert process.stdout.readline() == b"first\n"
    assert log.connected.wait(WAIT)
    log.add(b"second\n")
    assert process.stdout.readline() == b"second\n"
    log.told_again = 5  # a piece that begins before what was read already
    log.add(b"once\n")
    assert process.stdout.readline() == b"once\n"
    log.told_again = 0
    log.add(b"bytes \xff\xfe and half of \xc3\n")  # what an event cannot carry
    assert process.stdout.readline() == b"bytes \xff\xfe and half of \xc3\n"
    log.add(b"cut \xf0\x9f\x98\n")  # three bytes that become one character of three bytes
    assert process.stdout.readline() == b"cut \xf0\x9f\x98\n"
    log.connected.clear()
    log.queue.put("break")
    assert log.connected.wait(WAIT)
    log.add(b"after the break\n")
    assert process.stdout.readline() == b"after the break\n"
    log.data += b"last\n"
    log.done = True
    log.queue.put("end")
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0 and out == b"last\n", err
    assert log.offsets[0] == 6 and log.offsets[1] == log.data.index(b"after")


def test_logs_end_when_the_reader_leaves(server, cli):
    log = Log(server)
    log.data = b"first\n"
    process = subprocess.Popen([standin.CLI, "logs", "-f", "812"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli.env, cwd=cli.home)
    assert process.stdout.readline() == b"first\n"
    process.stdout.close()
    assert log.connected.wait(WAIT)
    log.add(b"second\n")
    assert process.wait(timeout=WAIT) in (0, 1)
    process.stderr.close()


def test_logs_of_nothing(server, cli):
    server.on("GET", "/api/v1/attempts/9/log", (404, problem("Not Found", "no attempt 9")))
    cli("logs", "9").failed(4, "no attempt 9")
    cli("logs", "-f", "9").failed(4, "no attempt 9")


def test_events(server, cli):
    def stream(asked):
        yield event("hello", {}, "5-0")
        yield event("stage", {"at": "2026-11-23T07:00:00Z", "project": "digits", "run_id": 12, "kind": "stage", "data": {"name": "export", "state": "green", "message": "x\x1b[2J"}}, "6-1")
        yield event("run", {"at": "2026-11-23T07:00:01Z", "project": "digits", "run_id": 12, "kind": "run", "data": {"state": "green"}}, "6-2")

    server.on("GET", "/api/v1/events", stream)
    out = cli("events", "--count", "2").ok().out.splitlines()
    assert len(out) == 2 and out[0].split()[:6] == ["6-1", "2026-11-23", "07:00:00", "digits", "run", "12"] and "x?[2J" in out[0]
    cli("events", "--count", "1", "--project", "digits", "--since", "6-1").ok()
    assert server.last().query == "project=digits&since=6-1"
    assert json.loads(cli("events", "--count", "1", "--json").ok().out)["id"] == "6-1"
    server.on("GET", "/api/v1/runs/12/events", stream)
    cli("events", "--run", "12", "--count", "1").ok()
    cli("events", "--retry", "0").failed(3)
