"""A real portoland with its private PostgreSQL, real agents, real git repositories, for end-to-end tests.

Programs come from $PTL_BUILD (the CMake build directory). Everything lives below one temporary directory; every process is
ended by its own pid. Waits are for events with a deadline.
"""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from slow import PATIENCE, SANITIZED, no_report, patient

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PTL_BUILD", TOP / "build" / "dev"))
# What `portolan drill` names, which runs drills with what is installed.
DAEMON = os.environ.get("PTL_DAEMON") or str(BUILD / "daemon" / "portoland")
AGENT = os.environ.get("PTL_AGENT") or str(BUILD / "agents" / "portolan-agent")
RECIPES = os.environ.get("PTL_RECIPES") or str(TOP / "agents" / "recipes")
TOOLCHAINS = os.environ.get("PTL_TOOLCHAINS") or str(TOP / "agents" / "toolchains")
GIT_ENV = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
           "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}


def wait_for(what: str, check, timeout: float = 60.0, step: float = 0.05):
    """Polls `check` until it gives something true; fails naming `what`."""
    timeout = patient(timeout)
    deadline = time.monotonic() + timeout
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain for {what}; last: {got!r}")
        time.sleep(step)


class Answer:
    def __init__(self, status: int, headers, body: bytes):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def lay_model(work: pathlib.Path, model: str) -> pathlib.Path:
    """A model of tests/unit/models, a file or a folder, as made/ of a repository; what was there before is gone."""
    source, target = pathlib.Path(__file__).resolve().parents[1] / "unit" / "models" / model, work / "made"
    shutil.rmtree(target, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.mkdir()
        shutil.copy(source, target)
    return target


class Site:
    """One directory with a daemon, agents and repositories."""

    def __init__(self, **settings: str):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ptl-e2e-"))
        self.dir.chmod(0o755)
        self.settings = {"lease": f"{4 * PATIENCE:.0f}s", "claim-lease": f"{4 * PATIENCE:.0f}s", **settings}
        self.wrap: list[str] = []  # a command that the daemon is started by
        self.env: dict[str, str] = {}  # for the daemon, beside what is there
        self.socket: pathlib.Path | None = None  # of a PostgreSQL that is not the daemon's private one
        self.daemons: list[subprocess.Popen] = []
        self.agents: dict[str, subprocess.Popen] = {}
        self.url = ""
        self.token = ""
        (self.dir / "repos").mkdir()

    # -- daemon
    def start_daemon(self, name: str = "daemon", **more: str) -> subprocess.Popen:
        ready = self.dir / f"{name}.ready"
        ready.unlink(missing_ok=True)
        settings = {"state-dir": str(self.dir / "state"), "listen-address": "127.0.0.1:0", "ready-file": str(ready), "git-local-roots": str(self.dir / "repos"),
                    "allow-private-addresses": "true", **self.settings, **more}
        argv = [*self.wrap, DAEMON]
        for key, value in settings.items():
            argv += [f"--{key}", value]
        log = open(self.dir / f"{name}.log", "ab")
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, "PORTOLAN_LOG": os.environ.get("PORTOLAN_LOG", "info"), **self.env}, start_new_session=True)
        self.daemons.append(process)
        wait_for("the daemon to serve", lambda: process.poll() is not None or (ready.exists() and ready.read_text().strip()), 90)
        assert process.poll() is None, self.log(name)
        self.url = ready.read_text().strip()
        if not self.token:
            self.token = (self.dir / "state" / "admin.token").read_text().strip()
        return process

    def log(self, name: str = "daemon") -> str:
        return (self.dir / f"{name}.log").read_text(errors="replace")[-20000:]

    # -- API
    def call(self, method: str, path: str, body=None, token: str | None = None, headers: dict | None = None, raw: bytes | None = None, timeout: float = 30, url: str | None = None, context=None) -> Answer:
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        request = urllib.request.Request((url or self.url) + path, data=data, method=method)
        bearer = self.token if token is None else token
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for key, value in (headers or {}).items():
            request.add_header(key, value)
        try:
            with urllib.request.urlopen(request, timeout=patient(timeout), context=context) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def ok(self, method: str, path: str, body=None, **more):
        answer = self.call(method, path, body, **more)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer.status} {answer.body[:500]!r}"
        return answer.json if answer.body else None

    def sql(self, statement: str) -> str:
        """For assertions on facts and for planting faults in the database; the daemon never sees this."""
        import glob
        psql = sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]
        socket = self.socket or next(p.parent for p in (self.dir / "state" / "postgres").rglob(".s.PGSQL.*") if p.suffix != ".lock")
        done = subprocess.run([psql, "-h", str(socket), "-U", "portolan", "-d", "portolan", "-XAtc", statement], capture_output=True, text=True, cwd="/", timeout=30)
        assert done.returncode == 0, f"psql: {done.stderr}"
        return done.stdout.strip()

    # -- knowledge
    def indicator(self, slug: str, pattern: str, challenge: str, transient: bool | None = None, name: str = "daemon") -> None:
        """A new indicator of the user's own in the database, sure of itself; returns once it is in force. Tests of what is done with diagnoses must not hang on how good the shipped ones are."""
        def in_force() -> int:
            found = re.findall(r"(\d+) indicators in force", (self.dir / f"{name}.log").read_text(errors="replace"))
            return int(found[-1]) if found else 0
        wait_for("the knowledge that ships", in_force, 180)
        data = {"id": f"local/{slug}", "summary": f"the log says {slug}", "pattern": pattern, "flags": [], "also": [], "unless": [], "scope": {},
                "weights": {"any": {challenge: 1}}, "specificity": 1, "role": "cause", "transient": transient, "remedy": {"text": f"mend {slug}", "commands": [f"mend --{slug}"]}, "sources": ["a test"]}
        text = json.dumps(data).replace("'", "''")
        self.sql(f"INSERT INTO indicator (id, data, origin, updated_by) VALUES ('local/{slug}', '{text}', 'local', 'test')")
        count = int(self.sql("SELECT count(*) FROM indicator WHERE retired_at IS NULL"))
        wait_for(f"indicator {slug} in force", lambda: in_force() == count, 180)

    # -- repositories
    def repo(self, name: str, pipeline: str | None, files: dict[str, str] | None = None) -> pathlib.Path:
        """A bare repository repos/NAME.git and its working clone; returns the clone."""
        bare, work = self.dir / "repos" / f"{name}.git", self.dir / "work" / name
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True, env={**os.environ, **GIT_ENV})
        subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True, env={**os.environ, **GIT_ENV})
        self.git(work, "remote", "add", "origin", str(bare))
        if pipeline is not None:
            (work / ".portolan.yml").write_text(pipeline)
        for path, text in (files or {}).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        self.commit(work, "first")
        self.git(work, "push", "-q", "origin", "main")
        return work

    def git(self, work: pathlib.Path, *argv: str) -> str:
        done = subprocess.run(["git", "-C", str(work), *argv], capture_output=True, text=True, env={**os.environ, **GIT_ENV})
        assert done.returncode == 0, f"git {' '.join(argv)}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, work: pathlib.Path, message: str) -> str:
        self.git(work, "add", "-A")
        self.git(work, "commit", "-q", "--allow-empty", "-m", message)
        return self.git(work, "rev-parse", "HEAD")

    def project(self, name: str, pipeline: str | None, files: dict[str, str] | None = None, **more) -> pathlib.Path:
        work = self.repo(name, pipeline, files)
        self.ok("POST", "/api/v1/projects", {"name": name, "url": str(self.dir / "repos" / f"{name}.git"), **more})
        return work

    # -- agents
    def start_agent(self, name: str, hosts: str = "server", **settings: str) -> subprocess.Popen:
        argv = [AGENT, "run", "--server", self.url, "--name", name, "--hosts", hosts, "--state-dir", str(self.dir / f"agent-{name}"),
                "--recipes", RECIPES, "--toolchain-folders", TOOLCHAINS]
        for key, value in settings.items():
            argv += [f"--{key.replace('_', '-')}", value]
        if not (self.dir / f"agent-{name}").exists():
            argv += ["--enroll-token", self.ok("POST", "/api/v1/agents/enrol-tokens", {"name": name, "hosts": hosts.split(",")})["token"]]
        log = open(self.dir / f"agent-{name}.log", "ab")
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.agents[name] = process
        wait_for(f"agent {name} online", lambda: any(a["name"] == name and a["online"] for a in self.ok("GET", "/api/v1/agents")["items"]), 60)
        return process

    # -- runs
    def run(self, project: str, **body) -> int:
        return self.ok("POST", f"/api/v1/projects/{project}/runs", body)["run_id"]

    def get(self, run: int) -> dict:
        return self.ok("GET", f"/api/v1/runs/{run}")

    def stage(self, run: int, name: str) -> dict:
        return next(s for s in self.get(run)["stages"] if s["name"] == name)

    def until(self, run: int, *states: str, timeout: float = 90) -> dict:
        def look():
            got = self.get(run)
            if got["state"] in ("green", "red", "cancelled", "invalid") and got["state"] not in states:
                raise AssertionError(f"run {run} ended {got['state']}: {got['message']}")
            return got if got["state"] in states else None
        try:
            return wait_for(f"run {run} to be {' or '.join(states)}", look, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.get(run), indent=1)[:6000]}\n{self.log()}") from None

    def until_stage(self, run: int, name: str, *states: str, timeout: float = 60) -> dict:
        def look():
            got = [s for s in self.get(run)["stages"] if s["name"] == name]
            return got[0] if got and got[0]["state"] in states else None
        return wait_for(f"stage {name} of run {run} to be {' or '.join(states)}", look, timeout)

    def attempt_log(self, attempt: int) -> str:
        out, offset = b"", 0
        while True:
            answer = self.call("GET", f"/api/v1/attempts/{attempt}/log?offset={offset}")
            assert answer.status == 200, answer.body
            out += answer.body
            next_offset = int(answer.headers["X-Portolan-Next-Offset"])
            if next_offset == offset:
                return out.decode(errors="replace")
            offset = next_offset

    # -- the end
    def stop_agent(self, name: str, how: int = signal.SIGTERM, timeout: float = 30) -> None:
        process = self.agents.pop(name)
        if process.poll() is None:
            process.send_signal(how)
        process.wait(patient(timeout))

    def stop_daemons(self) -> None:
        for process in self.daemons:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(patient(30))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)

    def close(self) -> None:
        for name in list(self.agents):
            process = self.agents.pop(name)
            if process.poll() is None and SANITIZED:  # only a program that ends by itself tells what it leaked
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    pass
            if process.poll() is None:
                process.kill()
                process.wait(10)
        self.stop_daemons()
        said = {file.name: file.read_text(errors="replace") for file in self.dir.glob("*.log")}
        if os.environ.get("PTL_KEEP"):
            print(f"kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        for name, text in said.items():
            no_report(text, name)
