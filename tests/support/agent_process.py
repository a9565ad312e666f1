"""One portolan-agent for tests: its own state directory, recipes of the tests, and nothing left running afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import shutil
from pathlib import Path

from agent_daemon import ENROL, Daemon, wait_for
from slow import SANITIZED, no_report, patient

BUILD = Path(os.environ.get("PTL_BUILD", Path(__file__).resolve().parents[2] / "build/dev"))
AGENT = BUILD / "agents/portolan-agent"
RECIPES = Path(__file__).resolve().parent / "agent_recipes"

PUBLISH = 'mkdir -p "$PORTOLAN_OUTPUTS/model" "$PORTOLAN_OUTPUTS/golden"; echo weights > "$PORTOLAN_OUTPUTS/model/m.bin"; ' \
          'echo "{}" > "$PORTOLAN_OUTPUTS/golden/manifest.json"'


def hold(name: str) -> str:
    """A shell line that waits for a file in the stage's working directory."""
    return f"while ! test -e {name}; do sleep 0.05; done"


class Agent:
    def __init__(self, daemon: Daemon, **settings: str):
        self.daemon = daemon
        self.dir = Path(tempfile.mkdtemp(prefix="ptl-agent-"))
        self.state = self.dir / "state"
        self.settings = {"hosts": "server", "slots": "2", "claim_wait": "2s", "enroll_token": ENROL, **settings}
        self.process: subprocess.Popen | None = None
        self.errors = self.dir / "stderr"

    def environment(self) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith("PORTOLAN_")}
        return {**keep, "PORTOLAN_RECIPES": str(RECIPES), "PORTOLAN_LOG": "debug",
                "PORTOLAN_TOOLCHAIN_FOLDERS": str(self.dir), "PORTOLAN_TOOLCHAINS": str(self.dir / "toolchains"),
                **{f"PORTOLAN_{name.upper()}": value for name, value in self.settings.items()}}

    def arguments(self) -> list[str]:
        return ["--server", self.daemon.url, "--state-dir", str(self.state), "--name", "test-agent"]

    def start(self) -> "Agent":
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen([str(AGENT), "run", *self.arguments()], env=self.environment(),
                                            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        return self

    def log(self) -> str:
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def wait_log(self, text: str, seconds: float = 60.0):
        wait_for(lambda: text in self.log(), f"\"{text}\" in the agent's log:\n{self.log()[-2000:]}", seconds)

    def attempt_dir(self, attempt: int, fence: int = 1) -> Path:
        return self.state / "attempts" / f"{attempt}-{fence}"

    def wait_file(self, attempt: int, path: str, fence: int = 1) -> Path:
        file = self.attempt_dir(attempt, fence) / path
        wait_for(file.exists, f"{file}\n{self.log()[-2000:]}")
        return file

    def let_go(self, attempt: int, name: str = "go", fence: int = 1):
        (self.attempt_dir(attempt, fence) / "src" / name).touch()

    def pid_of(self, attempt: int, fence: int = 1) -> int:
        return int(self.wait_file(attempt, "pid", fence).read_text().split()[0])

    def kill(self):
        """kill -9: nothing can be put in order."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 60.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patient(seconds))

    def gone(self, attempt: int, fence: int = 1):
        wait_for(lambda: not self.attempt_dir(attempt, fence).exists(), f"removal of {attempt}-{fence}\n{self.log()[-2000:]}")

    def close(self):
        if self.process and self.process.poll() is None and SANITIZED:  # only one that ends by itself tells what it leaked
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        if self.process and self.process.poll() is None:
            self.kill()
        for file in self.state.glob("attempts/*/pid"):
            pid = int(file.read_text().split()[0])
            try: # only what is really ours: the pid may have been given to another process
                if str(self.state).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        said = self.errors.read_text(errors="replace") if self.errors.exists() else ""
        shutil.rmtree(self.dir, ignore_errors=True)
        no_report(said, "portolan-agent")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def body_of(log: bytes) -> list[str]:
    """The lines a stage printed, without the agent's own."""
    return [line for line in log.decode(errors="replace").splitlines() if not line.startswith(("[portolan]", "$ "))]


def state_json(agent: Agent) -> dict:
    return json.loads((agent.state / "agent.json").read_text())
