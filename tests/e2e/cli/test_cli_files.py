"""Files that come from elsewhere (artifacts, attempts to reproduce) and the pipeline on this machine (exec)."""
import hashlib
import json
import os
import signal
import stat
import subprocess

import pytest

import standin
from standin import items, problem

AGENT = """#!/usr/bin/python3
# Stands in for `portolan-agent attempt DIR`: runs the commands, writes result.json.
import hashlib, json, os, pathlib, subprocess, sys, time
assert sys.argv[1] == "attempt"
d = pathlib.Path(sys.argv[2])
job = json.loads((d / "job.json").read_text())
began = time.time()
for sub in ("outputs", "scratch", "inputs"):
    (d / sub).mkdir(exist_ok=True)
env = {**os.environ, **job.get("secrets", {}), "PORTOLAN_INPUTS": str(d / "inputs"), "PORTOLAN_OUTPUTS": str(d / "outputs"), "PORTOLAN_REPORT": str(d / "report.json")}
with open(d / "log", "wb") as log:
    code = subprocess.run(["sh", "-ec", "\\n".join(job.get("run") or ["true"])], cwd=d / "src", env=env, stdout=log, stderr=log).returncode
artifacts = [{"path": str(f.relative_to(d / "outputs")), "sha256": hashlib.sha256(f.read_bytes()).hexdigest(), "size_bytes": f.stat().st_size, "exec": os.access(f, os.X_OK)}
             for f in sorted((d / "outputs").rglob("*")) if f.is_file()]
report = json.loads((d / "report.json").read_text()) if (d / "report.json").exists() else None
ok = code == 0 and (report or {}).get("verdict", "green") == "green"
(d / "result.json").write_text(json.dumps({"attempt_id": job["attempt_id"], "fence": job["fence"], "end_reason": "cancelled" if (d / "scratch/cancelled").exists() else "exit", "exit_code": code, "signal": 0, "ok": ok, "message": "" if ok else f"ended with exit code {code}",
    "started_wall_ms": int(began * 1000), "duration_ms": int((time.time() - began) * 1000), "peak_memory_bytes": 1, "sandbox": "none", "environment": {}, "artifacts": artifacts, "report": report, "warnings": []}))
"""


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Blobs:
    def __init__(self, server, **files):
        self.files, self.server = {}, server
        server.on("GET", "/api/v1/blobs/[0-9a-f]*", self.get)

    def add(self, data):
        self.files[sha(data)] = data
        return sha(data)

    def get(self, asked):
        data = self.files.get(asked.path.rsplit("/", 1)[1])
        if data is None:
            return 404, problem("Not Found", "no such blob")
        span = asked.headers.get("Range")
        if span:
            at = int(span[6:-1])
            return (206 if at < len(data) else 416), data[at:]
        return 200, data


def artifact(blobs, path, data, exec=False):
    return {"path": path, "sha256": blobs.add(data), "size_bytes": len(data), "exec": exec}


def test_artifacts(server, cli, tmp_path):
    blobs = Blobs(server)
    server.on("GET", "/api/v1/attempts/810/artifacts", items(artifact(blobs, "golden/manifest.json", b"{}"), artifact(blobs, "model/m.tflite", b"m" * 300000), artifact(blobs, "model/run.sh", b"#!", True)))
    assert "293.0 KiB" in cli("artifacts", "list", "810").ok().out
    assert "3 files, 293.0 KiB" in cli("artifacts", "get", "810", "-o", "all").ok().out
    assert (tmp_path / "all/model/m.tflite").read_bytes() == b"m" * 300000
    assert os.access(tmp_path / "all/model/run.sh", os.X_OK) and not os.access(tmp_path / "all/golden/manifest.json", os.X_OK)
    before = len(server.asked)
    cli("artifacts", "get", "810", "-o", "all").ok()  # what is there and right is kept
    assert len(server.asked) == before + 1
    cli("artifacts", "get", "810", "model/m.tflite", "golden", "-o", "some").ok()
    assert sorted(p.name for p in (tmp_path / "some").rglob("*") if p.is_file()) == ["m.tflite", "manifest.json"]
    cli("artifacts", "get", "810", "mod", "-o", "none").failed(4, "portolan artifacts list 810")
    (tmp_path / "all/golden/manifest.json").write_text("mine")
    cli("artifacts", "get", "810", "-o", "all").failed(5, "other contents")
    assert (tmp_path / "all/golden/manifest.json").read_text() == "mine"


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../out", "", "a//b", "a\x1b/b", "..", "a\\b"])
def test_artifacts_stay_inside(server, cli, tmp_path, path):
    blobs = Blobs(server)
    server.on("GET", "/api/v1/attempts/810/artifacts", items(artifact(blobs, path, b"x")))
    cli("artifacts", "get", "810", "-o", "d/e").failed(1, "not a safe relative path")
    assert not (tmp_path / "out").exists() and not (tmp_path / "d/out").exists()


def test_artifacts_through_a_link(server, cli, tmp_path):
    blobs = Blobs(server)
    server.on("GET", "/api/v1/attempts/810/artifacts", items(artifact(blobs, "model/x", b"x")))
    (tmp_path / "d").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "d/model").symlink_to(tmp_path / "elsewhere")
    cli("artifacts", "get", "810", "-o", "d").failed(5, "is a link")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_artifacts_with_wrong_bytes(server, cli, tmp_path):
    blobs = Blobs(server)
    one = artifact(blobs, "model/x", b"right")
    blobs.files[one["sha256"]] = b"wrong"
    server.on("GET", "/api/v1/attempts/810/artifacts", items(one))
    cli("artifacts", "get", "810", "-o", "d").failed(3, "another SHA-256")
    assert not (tmp_path / "d/model/x").exists()


@pytest.fixture
def agent(tmp_path, cli):
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    path.chmod(0o755)
    cli.env["PORTOLAN_AGENT"] = str(path)
    return path


def attempt(server, tmp_path, run):
    src = tmp_path / "snapshot"
    src.mkdir()
    (src / "verify.sh").write_text("#!/bin/sh\ncat $PORTOLAN_INPUTS/model/m $PORTOLAN_INPUTS/golden/manifest.json; echo $TOKEN\n")
    subprocess.run(["tar", "--zstd", "-cf", tmp_path / "s.tar.zst", "-C", src, "verify.sh"], check=True)
    blobs = Blobs(server)
    job = {"attempt_id": 812, "fence": 2, "stage_id": 44, "run_id": 12, "run_number": 3, "project": "digits", "kind": "verify", "target": "server", "name": "verify/server", "host": "server", "commit": "1a" * 20,
           "ref": "refs/heads/main", "source": {"sha256": blobs.add((tmp_path / "s.tar.zst").read_bytes()), "size_bytes": 1}, "run": run, "timeout_ms": 60000, "grace_ms": 1000,
           "model": {"files": [artifact(blobs, "m", b"model")]}, "golden": {"files": [artifact(blobs, "manifest.json", b"{}")]}}
    server.on("GET", "/api/v1/attempts/812/job", job)
    server.on("GET", "/api/v1/stages/44", {"id": 44, "spec": {"secrets": ["TOKEN"]}})
    return job


def test_reproduce(server, cli, agent, tmp_path):
    job = attempt(server, tmp_path, ["sh verify.sh"])
    done = cli("reproduce", "812").ok()
    assert done.out.endswith(f" attempt {tmp_path}/attempt-812\n") and "--secret TOKEN" in done.err
    d = tmp_path / "attempt-812"
    assert (d / "inputs/model/m").read_bytes() == b"model" and (d / "inputs/golden/manifest.json").exists() and (d / "src/verify.sh").exists()
    assert not (d / "source.tar.zst").exists() and stat.S_IMODE((d / "job.json").stat().st_mode) == 0o600
    assert json.loads((d / "job.json").read_text()) == {**job, "secrets": {}}
    cli("reproduce", "812").failed(5, "holds an attempt already")
    done = cli("reproduce", "812", "-o", "again", "--run", "--secret", "TOKEN", env={"TOKEN": "t0ken"}).ok()
    assert done.out == "green\n" and "verify/server | model{}t0ken" in done.err
    cli("reproduce", "812", "-o", "third", "--secret", "TOKEN").failed(2, "the environment has no TOKEN")
    assert not (tmp_path / "third").exists()
    server.on("GET", "/api/v1/attempts/9/job", (404, problem("Not Found", "no attempt 9")))
    cli("reproduce", "9").failed(4)


def test_reproduce_red(server, cli, agent, tmp_path):
    attempt(server, tmp_path, ["exit 3"])
    done = cli("reproduce", "812", "--run", "-q").failed(1)
    assert done.out == "red: ended with exit code 3\n"


def test_reproduce_bad_snapshot(server, cli, tmp_path):
    job = attempt(server, tmp_path, ["true"])
    blobs = Blobs(server)
    server.on("GET", "/api/v1/attempts/812/job", {**job, "source": {"sha256": blobs.add(b"no archive")}})
    cli("reproduce", "812").failed(1)
    assert not (tmp_path / "attempt-812/job.json").exists()


PIPELINE = """version: 1
model: digits
export: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model $PORTOLAN_OUTPUTS/golden", "cat data.txt > $PORTOLAN_OUTPUTS/model/m", "echo g > $PORTOLAN_OUTPUTS/golden/manifest.json"]}
targets:
  server:
    host: server
    convert: {run: ["mkdir $PORTOLAN_OUTPUTS/model", "tr a-z A-Z < $PORTOLAN_INPUTS/model/m > $PORTOLAN_OUTPUTS/model/big"]}
    verify: {run: ["test -e $PORTOLAN_INPUTS/golden/manifest.json", "cat $PORTOLAN_INPUTS/model/big", 'echo "{\\"verdict\\":\\"VERDICT\\",\\"outputs\\":[{\\"name\\":\\"y\\",\\"max_abs_error\\":0.5}]}" > $PORTOLAN_REPORT']}
  web:
    host: server
    verify: {run: ["echo \\"key $KEY other $OTHER\\""], secrets: [KEY], when: manual}
"""


@pytest.fixture
def repo(tmp_path):
    r = tmp_path / "repo"
    r.mkdir()
    (r / ".portolan.yml").write_text(PIPELINE.replace("VERDICT", "green"))
    (r / "data.txt").write_text("weights\n")
    (r / ".gitignore").write_text("*.ignored\n")
    (r / "x.ignored").write_text("")
    (r / "inner").symlink_to("data.txt")
    (r / "outer").symlink_to("/etc/passwd")
    subprocess.run(["git", "init", "-q", "-b", "main", r], check=True)
    subprocess.run(["git", "add", "-A"], cwd=r, check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"], cwd=r, check=True)
    (r / "data.txt").write_text("changed\n")
    (r / "new.txt").write_text("not committed\n")
    return r


@pytest.fixture
def exec_cli(alone, agent_alone):
    return alone


@pytest.fixture
def agent_alone(tmp_path, alone):
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    path.chmod(0o755)
    alone.env["PORTOLAN_AGENT"] = str(path)


def test_exec(exec_cli, repo, tmp_path):
    done = exec_cli("exec", repo, "-o", tmp_path / "out", "--secret", "KEY", env={"KEY": "k3y", "OTHER": ""}).ok()
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[:3] for line in lines] == [["STAGE", "TARGET", "STATE"], ["export", "-", "green"], ["convert/server", "server", "green"], ["verify/server", "server", "green"], ["verify/web", "web", "green"]]
    assert "0.5" in lines[3] and "verify/server | CHANGED" in done.err and "verify/web | key k3y other" in done.err and "taken as approved" in done.err
    src = sorted(p.name for p in (tmp_path / "out/source").iterdir())
    assert src == [".gitignore", ".portolan.yml", "data.txt", "inner", "new.txt"] and "outer is left out" in done.err
    job = json.loads((tmp_path / "out/03-verify-server/job.json").read_text())
    assert job["model"]["files"][0]["path"] == "big" and job["golden"]["files"][0]["path"] == "manifest.json" and job["ref"] == "refs/heads/main" and job["secrets"] == {}
    assert (repo / "data.txt").read_text() == "changed\n"
    exec_cli("exec", repo, "-o", tmp_path / "out").failed(5, "is there already")


def test_exec_red_and_skipped(exec_cli, repo, tmp_path):
    (repo / "data.txt").unlink()
    done = exec_cli("exec", cwd=repo).failed(1, "attempt directories: ")
    assert "needs export, which is red" in done.out and "ended with exit code" in done.out and "/01-export/log" in done.out
    assert "    | cat: data.txt: No such file" in done.out  # what it said last
    (repo / "data.txt").write_text("x")
    (repo / ".portolan.yml").write_text(PIPELINE.replace("VERDICT", "red"))
    done = exec_cli("exec", "--json", "-q", cwd=repo)
    assert done.code == 1 and done.json["state"] == "red" and [s["state"] for s in done.json["stages"]] == ["green", "green", "red", "green"], done


def test_exec_of_a_stage_that_was_ended_from_outside_is_no_success(exec_cli, repo):
    (repo / "data.txt").unlink()
    (repo / ".portolan.yml").write_text(PIPELINE.replace("cat data.txt", "touch ../scratch/cancelled; cat data.txt"))
    done = exec_cli("exec", "--json", "-q", cwd=repo)
    assert [s["state"] for s in done.json["stages"]][:2] == ["cancelled", "skipped"] and done.json["state"] != "green" and done.code == 1, done


def test_exec_parts(exec_cli, repo, tmp_path):
    stages = lambda *args: [line.split()[0] for line in exec_cli("exec", repo, "--plan", *args).ok().out.splitlines()[1:]]
    assert stages() == ["export", "convert/server", "verify/server", "verify/web"]
    assert stages("--target", "web") == ["export", "verify/web"]
    assert stages("--stage", "convert/server") == ["export", "convert/server"]
    assert stages("--target", "web", "--stage", "export") == ["export", "verify/web"]
    exec_cli("exec", repo, "--target", "servr").failed(4, "did you mean 'server'?")
    exec_cli("exec", repo, "--stage", "verify/wbe").failed(4, "did you mean 'verify/web'?")
    assert stages("--target", "server")[-1] == "verify/server"
    before = set(tmp_path.iterdir())
    exec_cli("exec", repo, "--target", "web", "-q").ok()
    assert set(tmp_path.iterdir()) == before  # nothing stays after green


def test_exec_finds_the_root_and_needs_no_git(exec_cli, repo, tmp_path):
    (repo / "sub").mkdir()
    exec_cli("exec", "--plan", cwd=repo / "sub").ok()
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / ".portolan.yml").write_text(PIPELINE.replace("VERDICT", "green"))
    (plain / "data.txt").write_text("x")
    done = exec_cli("exec", plain, "--target", "server").ok()
    assert "no git repository: every file" in done.err
    exec_cli("exec", tmp_path / "none").failed(4)
    (plain / ".portolan.yml").write_text("version: 1\nmodl: x\n")
    exec_cli("exec", plain).failed(1, "did you mean 'model'")
    (plain / ".portolan.yml").unlink()
    exec_cli("exec", plain).failed(4, "portolan init")


def test_exec_without_agent(alone, repo, tmp_path):
    alone("exec", repo, env={"PORTOLAN_AGENT": "/nonexistent"}).failed(1, "portolan-agent was not found")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    done = alone("exec", repo, "--target", "web", env={"PORTOLAN_AGENT": str(broken)}).failed(1, "exit code 7 and left no result")
    assert "red" in done.out


def command_lines():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                yield f.read()
        except OSError:
            pass  # it ended meanwhile


def test_exec_interrupted(exec_cli, repo, tmp_path):
    (repo / ".portolan.yml").write_text(PIPELINE.replace("VERDICT", "green").replace('"cat data.txt', '"echo begun; exec sleep 60", "cat data.txt'))
    process = subprocess.Popen([standin.CLI, "exec", repo, "-o", tmp_path / "o"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=exec_cli.env)
    for line in process.stderr:
        if "begun" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err, err
    assert not [line for line in command_lines() if b"agent.py" in line and str(tmp_path).encode() in line]
