"""One site for all of the main job's tests: a daemon, three agents with the shipped toolchains, and every repository pushed at
once, so that the hosts work side by side while the tests wait for their own runs."""
from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "support"))
from portolan import BUILD, TOP, Site  # noqa: E402

TOOLCHAINS = ["tensorflow", "pytorch", "onnxruntime", "mlserver", "web", "chromium", "phone-arm64", "litert-arm64", "onnxruntime-arm64"]
EXAMPLES = ["digits-keras", "digits-pytorch", "unsupported-op"]


class MainJob(Site):
    """A site whose repositories tell the daemon of pushes by the hook that `portolan hook install` writes."""

    def command(self, *words: str) -> str:
        done = subprocess.run([str(BUILD / "cli" / "portolan"), "--server", self.url, "--token-file", str(self.dir / "state" / "admin.token"), *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"portolan {' '.join(words)}: {done.stderr}"
        return done.stdout

    def served(self, name: str, *folders: pathlib.Path) -> pathlib.Path:
        """A bare repository with its hook, registered; and a working clone of the folders' files, not committed yet."""
        bare, work = self.dir / "repos" / f"{name}.git", self.dir / "work" / name
        for at in (["--bare", "-b", "main", str(bare)], ["-b", "main", str(work)]):
            subprocess.run(["git", "init", "-q", *at], check=True)
        self.git(work, "remote", "add", "origin", str(bare))
        for folder in folders:
            shutil.copytree(folder, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        self.command("project", "add", name, str(bare))
        self.command("hook", "install", str(bare), "--project", name)
        return work

    def push(self, name: str, message: str) -> int:
        """Commit and push; the run that the hook says it started."""
        work = self.dir / "work" / name
        self.commit(work, message)
        done = subprocess.run(["git", "-C", str(work), "push", "origin", "main"], capture_output=True, text=True, check=True)
        said = re.search(r"remote: portolan: main starts run (\d+)", done.stderr)
        assert said, f"the hook said nothing of a run: {done.stderr}"
        return int(said[1])

    def planned(self, stage: int) -> dict:
        """A stage as the pipeline file planned it."""
        return self.ok("GET", f"/api/v1/stages/{stage}")["spec"]


@pytest.fixture(scope="session")
def toolchains() -> None:
    done = subprocess.run([str(TOP / "agents" / "toolchains" / "prepare"), *TOOLCHAINS], stdout=subprocess.DEVNULL)
    assert done.returncode == 0, "a toolchain could not be prepared; its message is above"


@pytest.fixture(scope="session")
def site(toolchains: None):
    s = MainJob(lease="30s", **{"claim-lease": "15s"})
    try:
        s.start_daemon()
        s.start_agent("server", "server", slots="2")
        s.start_agent("mobile", "mobile")
        s.start_agent("browser", "browser")
        yield s
    finally:
        s.close()


@pytest.fixture(scope="session")
def runs(site: MainJob) -> dict[str, int]:
    """Every repository, pushed once."""
    started = {}
    for name in EXAMPLES:
        site.served(name, TOP / "deploy" / "examples" / name)
        started[name] = site.push(name, f"Deploy {name}")
    site.served("faults", TOP / "deploy" / "examples" / "digits-pytorch", HERE / "faults")
    started["faults"] = site.push("faults", "Plant faults behind the export")
    fixtures = HERE.parent / "browser" / "fixtures"
    work = site.served("shards", HERE / "shards")
    shutil.copytree(fixtures / "golden", work / "golden")
    shutil.copytree(fixtures / "graph", work / "model")
    started["shards"] = site.push("shards", "Lose a piece of the weights")
    return started


@pytest.fixture(scope="session")
def ended(site: MainJob, runs: dict[str, int]):
    """ended(NAME): that run with its stages by name, once it is over and its red stages are diagnosed."""
    def look(name: str) -> dict:
        run = site.until(runs[name], "green", "red", "invalid", "cancelled", timeout=240)
        run["by_name"] = {stage["name"]: stage for stage in run["stages"]}
        return run
    return look


def pytest_assertrepr_compare(op, left, right):
    if isinstance(left, dict) and op == "==":
        return [json.dumps(left, indent=1)[:2000]]
    return None
