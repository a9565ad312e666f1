"""The server driver against an engine that can do everything wrong that engines do."""
import json
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest
from agent_daemon import wait_for
from agent_process import AGENT, RECIPES

SAMPLES, WIDTH = 10, 3
INPUT = [i * 0.25 - 3 for i in range(SAMPLES * WIDTH)]


def npy(values, shape) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))}), }}"
    head += " " * ((64 - (10 + len(head) + 1) % 64) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"<{len(values)}f", *values)


@pytest.fixture
def attempt(tmp_path):
    golden = tmp_path / "inputs/golden"
    golden.mkdir(parents=True)
    (tmp_path / "inputs/model").mkdir()
    (tmp_path / "inputs/model/weights").write_text("w")
    (golden / "x.npy").write_bytes(npy(INPUT, (SAMPLES, WIDTH)))
    (golden / "y.npy").write_bytes(npy([2 * x + 1 for x in INPUT], (SAMPLES, WIDTH)))
    (golden / "manifest.json").write_text(json.dumps({
        "version": 1, "framework": "none", "samples": SAMPLES, "precision": "fp32",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [SAMPLES, WIDTH], "file": "x.npy"}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [SAMPLES, WIDTH], "file": "y.npy"}]}))
    return Attempt(tmp_path)


class Attempt:
    def __init__(self, path):
        self.path = path
        self.process = None

    def start(self, recipe="serve/oip", job=None, **with_):
        doc = {"attempt_id": os.getpid() % 100000 + 500000, "fence": 1, "kind": "verify", "name": "verify/server", "uses": recipe,
               "with": with_, "network": False, "precision": "fp32", "timeout_ms": 60000, "grace_ms": 1000, **(job or {})}
        (self.path / "job.json").write_text(json.dumps(doc))
        environment = {**os.environ, "PORTOLAN_RECIPES": str(RECIPES)}
        self.process = subprocess.Popen([AGENT, "attempt", str(self.path)], env=environment, start_new_session=True)
        return self

    def result(self):
        assert self.process.wait(90) == 0
        return json.loads((self.path / "result.json").read_text())

    def run(self, *args, **kwargs):
        return self.start(*args, **kwargs).result()

    @property
    def log(self):
        return (self.path / "log").read_text(errors="replace")

    @property
    def got(self):
        return json.loads((self.path / "outputs/got/manifest.json").read_text())


@pytest.mark.parametrize("recipe,with_", [
    ("serve/oip", {}), ("serve/oip", {"mode": "slow"}), ("serve/oip", {"mode": "no-metadata"}), ("serve/oip", {"mode": "fixed-batch"}),
    ("serve/oip", {"mode": "no-batch-axis"}), ("serve/oip", {"batch": 4}), ("serve/oip", {"mode": "deaf"}),
    ("serve/tf", {}), ("serve/tf", {"mode": "loading"}), ("serve/tf", {"mode": "no-metadata"}), ("serve/tf", {"batch": 3}),
    ("serve/tf", {"mode": "column", "form": "column"}),
])
def test_green(attempt, recipe, with_):
    result = attempt.run(recipe, **with_)
    assert result["ok"], attempt.log
    report = result["report"]
    assert report["verdict"] == "green" and report["samples"] == SAMPLES
    assert report["outputs"][0]["max_abs_error"] == 0
    metrics = attempt.got["metrics"]
    assert metrics["load_ms"] > 0 and metrics["first_ms"] > 0 and 20 <= len(metrics["latency_ms"]) <= 1000
    assert metrics["artifact_bytes"] == 1
    assert result["peak_memory_bytes"] > 1 << 20 or "cgroup" not in result["sandbox"]
    if recipe == "serve/oip":
        assert attempt.got["runtime"]["name"] == "test-engine" and attempt.got["runtime"]["version"] == "1.2"


def test_names_by_signature(attempt):
    (attempt.path / "inputs/model/signature.json").write_text(json.dumps({
        "inputs": [{"name": "x", "tensor": "in_tensor:0"}], "outputs": [{"name": "y", "tensor": "out_tensor:0"}]}))
    result = attempt.run(mode="signature")
    assert result["ok"], attempt.log
    assert result["report"]["matched_by"] == "name" and attempt.got["warnings"] == []


def test_input_by_position_is_said(attempt):
    assert attempt.run(mode="position")["ok"]
    assert "by position" in attempt.got["warnings"][0] and "by position" in attempt.log


@pytest.mark.parametrize("mode,code", [("wrong", "tolerance"), ("nan", "nan")])
def test_red(attempt, mode, code):
    result = attempt.run(mode=mode, job={"precision": "fp32"})
    assert not result["ok"] and result["end_reason"] == "exit" and result["report"]["verdict"] == "red"
    assert code in {r["code"] for r in result["report"]["reasons"]}
    assert "got/manifest.json" in {a["path"] for a in result["artifacts"]}  # the evidence is kept


@pytest.mark.parametrize("mode,reason,words", [
    ("die", "exit", "ended with exit code 3 before it was ready"),
    ("never-ready", "exit", "not ready after 5.0 s (GET /v2/models/my%20model/ready: HTTP 503 still loading the model"),
    ("refuse", "exit", "refused sample 2 with HTTP 400: input rank 2 is not  what I want"),
    ("die-later", "signal", "ended by signal 11 (Segmentation fault) while it was asked"),
    ("rubbish", "exit", "sample 0: the engine's answer"),
])
def test_the_engine_fails(attempt, mode, reason, words):
    result = attempt.run(mode=mode)
    assert result["end_reason"] == reason and not result["ok"], result
    assert words in result["message"], result["message"]
    if mode.startswith("die"):
        assert "engine: " in attempt.log  # its own last words
    assert result["report"] is None


def test_the_engine_runs_out_of_memory(attempt):
    result = attempt.run(mode="oom", job={"limits": {"memory_bytes": 128 << 20}})
    if "cgroup" not in result["sandbox"]:
        pytest.skip("this host allows no control groups")
    assert result["end_reason"] == "oom", result


def test_time_limit_while_it_is_asked(attempt):
    result = attempt.run(mode="hang", job={"timeout_ms": 3000})
    assert result["end_reason"] == "timeout", result


def test_cancel_while_it_is_asked(attempt):
    attempt.start(mode="hang")
    wait_for(lambda: (attempt.path / "log").exists() and "asking for" in attempt.log, "the first question")
    attempt.process.send_signal(signal.SIGTERM)
    assert attempt.result()["end_reason"] == "cancelled"


@pytest.mark.parametrize("mode", ["good", "deaf", "hang"])
def test_no_engine_is_left_behind(attempt, mode):
    attempt.run(mode=mode, job={"timeout_ms": 3000 if mode == "hang" else 60000})
    marker = str(attempt.path).encode()
    left = [p for p in os.listdir("/proc") if p.isdigit() and marker in read(f"/proc/{p}/environ")]
    assert not left


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def test_values_json_cannot_say(attempt):
    values = list(INPUT)
    values[4] = float("nan")
    (attempt.path / "inputs/golden/x.npy").write_bytes(npy(values, (SAMPLES, WIDTH)))
    result = attempt.run()
    assert "golden input x: holds NaN" in result["message"], result


@pytest.fixture
def engine():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    process = subprocess.Popen([sys.executable, str(RECIPES / "serve/engine.py"), "oip", str(port), "m", "good"])

    def answers():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    wait_for(answers, "the engine")
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_endpoint_of_somebody_else(attempt, engine):
    result = attempt.run(endpoint=engine + "/", model_name="m", job={"network": True})
    assert result["ok"], attempt.log
    assert "load_ms" not in attempt.got["metrics"] and attempt.got["runtime"]["device"] == "endpoint"


def test_endpoint_needs_the_network(attempt, engine):
    result = attempt.run(endpoint=engine, model_name="m")
    assert result["exit_code"] == 2 and "network: true" in result["message"]


def test_endpoint_that_is_not_one(attempt):
    result = attempt.run(endpoint="ftp://x", job={"network": True})
    assert result["exit_code"] == 2 and "http://host:port" in result["message"]
