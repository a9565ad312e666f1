"""Runs recipes as an agent would: the stage contract's environment, a read-only file system, no network, the real toolchains.

Owns the stage directories of these tests (pytest's tmp_path) and one shared export of the digits example. A test needs
nothing but Debian packages and what agents/toolchains/prepare installs; the first run downloads, later ones do not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "deploy/examples/digits-pytorch"
HERE = Path(__file__).resolve().parent


@lru_cache
def toolchain(name: str) -> Path:
    """Directory of an installed toolchain; installs it when it is not there."""
    done = subprocess.run([ROOT / "agents/toolchains/prepare", name], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


@dataclass
class Stage:
    """How one stage ended, and where its outputs are."""

    status: int
    log: str
    outputs: Path

    @property
    def sentence(self) -> str:
        """The one line that says why: the last that starts with "portolan: error:"."""
        lines = [line for line in self.log.splitlines() if line.startswith("portolan: error:")]
        assert lines, f"no sentence in the log:\n{self.log}"
        return lines[-1].removeprefix("portolan: error: ")

    def array(self, relative: str) -> np.ndarray:
        return np.load(self.outputs / relative, allow_pickle=False)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.outputs)) for path in self.outputs.rglob("*") if path.is_file())


def sandbox(work: Path, cwd: Path, environment: dict[str, str], scratch_bytes: int | None = None) -> list[str]:
    """bubblewrap in front of a command: everything read-only but `work`, own /tmp, no network, only these variables."""
    arguments = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                 "--tmpfs", "/tmp"]
    for seen in (ROOT, cwd, Path(environment["PORTOLAN_INPUTS"])):
        arguments += ["--ro-bind", str(seen), str(seen)]
    arguments += ["--bind", str(work), str(work)]
    if scratch_bytes:
        arguments += ["--size", str(scratch_bytes), "--tmpfs", str(work / "scratch")]
    arguments += ["--clearenv"]
    for key, value in environment.items():
        arguments += ["--setenv", key, value]
    return [*arguments, "--chdir", str(cwd)]


def recipe_of(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "agents/recipes" / name / "recipe.yml").read_text())


def environment_of(name: str, spec: dict[str, Any], work: Path, inputs: Path) -> dict[str, str]:
    home = toolchain(spec["toolchain"])
    described = yaml.safe_load((ROOT / "agents/toolchains" / spec["toolchain"] / "toolchain.yml").read_text())
    path = [str(home / entry) for entry in described["path"]]
    return {
        **{key: str(value).replace("{toolchain}", str(home)) for key, value in described["env"].items()},
        "PATH": ":".join([*path, "/usr/bin", "/bin"]), "HOME": str(work / "scratch"), "TMPDIR": str(work / "scratch"),
        "PORTOLAN_INPUTS": str(inputs), "PORTOLAN_OUTPUTS": str(work / "outputs"), "PORTOLAN_WITH": str(work / "with.json"),
        "PORTOLAN_RECIPE": str(ROOT / "agents/recipes" / name), "PORTOLAN_REPORT": str(work / "report.json"), "CI": "true",
    }


def run_stage(name: str, work: Path, *, source: Path, inputs: Path | None = None, scratch_bytes: int | None = None,
              **given: Any) -> Stage:
    """One stage of recipe `name` in the directory `work`, with the recipe's defaults under the given parameters."""
    spec = recipe_of(name)
    unknown = set(given) - set(spec["parameters"])
    assert not unknown, f"{name} has no parameter {unknown}"
    parameters = {key: about["default"] for key, about in spec["parameters"].items() if "default" in about}
    for folder in ("scratch", "outputs", "inputs"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "with.json").write_text(json.dumps({**parameters, **given}))
    environment = environment_of(name, spec, work, inputs or work / "inputs")
    command = [word.replace("{recipe}", environment["PORTOLAN_RECIPE"]) for word in spec["command"]]
    done = subprocess.run([*sandbox(work, source, environment, scratch_bytes), *command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=120)
    stage = Stage(done.returncode, done.stdout, work / "outputs")
    if done.returncode == 0:
        missing = [path for path in spec["outputs"] if not (stage.outputs / path).is_file()]
        assert not missing, f"exit status 0, but {missing} is not there:\n{done.stdout}"
    leftover = [path.name for path in stage.outputs.iterdir() if path.name.startswith(".")]
    assert not leftover, f"half-written outputs stayed: {leftover}"
    return stage


def run_model(model: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The model's answers by the real ONNX Runtime, in a process of the onnxruntime toolchain."""
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    feed, answer = folder / f"feed-{os.getpid()}.npz", folder / f"answer-{os.getpid()}.npz"
    try:
        np.savez(feed, **inputs)
        subprocess.run([toolchain("onnxruntime") / "bin/python3", HERE / "run_model.py", model, feed, answer], check=True,
                       env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}, timeout=60)
        with np.load(answer) as archive:
            return {name: archive[name] for name in archive.files}
    finally:
        feed.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)


def write_script(folder: Path, text: str) -> Path:
    """A repository with one export.py that starts with the usual imports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "export.py").write_text("import numpy as np\nimport torch\nfrom torch import nn\n"
                                      "def images(n=16, width=8):\n"
                                      "    return np.random.default_rng(0).normal(size=(n, width)).astype('float32')\n" + text)
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The digits example, exported once for all tests that only read it."""
    stage = run_stage("pytorch/onnx", tmp_path_factory.mktemp("digits"), source=DIGITS, script="export.py", outputs=["probabilities"])
    assert stage.status == 0, stage.log
    return stage


@pytest.fixture(scope="session")
def pipeline() -> dict[str, Any]:
    return yaml.safe_load((DIGITS / ".portolan.yml").read_text())


def words(stage: Stage, *patterns: str) -> None:
    """The stage failed, its sentence matches each pattern, and nothing was published for the next stage."""
    assert stage.status == 1, stage.log
    for pattern in patterns:
        assert re.search(pattern, stage.sentence), f"{pattern!r} is not in: {stage.sentence}"
    assert stage.files() == []
