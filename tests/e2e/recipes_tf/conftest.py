"""Runs a recipe as a stage would: the contract's environment, the toolchain first in PATH, no network, cwd = the source."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
RECIPES, TOOLCHAINS, EXAMPLES = ROOT / "agents/recipes", ROOT / "agents/toolchains", ROOT / "deploy/examples"
HERE = Path(__file__).resolve().parent


def prepare(name: str) -> Path:
    done = subprocess.run([TOOLCHAINS / "prepare", name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def offline() -> list[str]:
    """Words to put before a command so that it has no network, where this host lets us."""
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    return words if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0 else []


@dataclass
class Ended:
    code: int
    log: str
    outputs: Path

    @property
    def error(self) -> str:
        """The sentence that the recipe ended with."""
        lines = [line for line in self.log.splitlines() if line.startswith("portolan: error: ")]
        assert len(lines) == 1, self.log[-3000:]
        return lines[0].removeprefix("portolan: error: ")

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.outputs)) for p in self.outputs.rglob("*") if p.is_file())

    def json(self, path: str) -> Any:
        return json.loads((self.outputs / path).read_text())


class Bench:
    """One toolchain and as many stages as a test wants."""

    def __init__(self, toolchain: Path, scratch: Path) -> None:
        self.toolchain, self.scratch, self.count, self.prefix = toolchain, scratch, 0, offline()

    def environment(self, recipe: str, directory: Path, inputs: Path) -> dict[str, str]:
        return {
            "PATH": f"{self.toolchain}/bin:/usr/bin:/bin", "HOME": str(directory / "scratch"), "TMPDIR": str(directory / "scratch"),
            "PORTOLAN_RECIPE": str(RECIPES / recipe), "PORTOLAN_WITH": str(directory / "with.json"),
            "PORTOLAN_INPUTS": str(inputs), "PORTOLAN_OUTPUTS": str(directory / "outputs"), "CI": "true",
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", "CUDA_VISIBLE_DEVICES": "-1", "LANG": "C.UTF-8",
        }

    def run(self, recipe: str, source: Path, inputs: Path | None = None, path: str = "", **given: Any) -> Ended:
        """Run the recipe's own command line. `path` is put before everything else in PATH."""
        self.count += 1
        directory = self.scratch / f"stage-{self.count}"
        (directory / "scratch").mkdir(parents=True)
        (directory / "outputs").mkdir()
        (directory / "inputs").mkdir()
        (directory / "with.json").write_text(json.dumps(given))
        declared = re.search(r"^command: \[(.*)\]$", (RECIPES / recipe / "recipe.yml").read_text(), re.M)
        assert declared, "recipe.yml has no command on one line"
        command = [w.strip().strip('"').replace("{recipe}", str(RECIPES / recipe)) for w in declared[1].split(",")]
        environment = self.environment(recipe, directory, inputs or directory / "inputs")
        if path:
            environment["PATH"] = f"{path}:{environment['PATH']}"
        done = subprocess.run([*self.prefix, *command], cwd=source, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300, check=False)
        ended = Ended(done.returncode, done.stdout, directory / "outputs")
        assert not list(ended.outputs.glob(".*")), "a half-written directory was left among the outputs"
        return ended

    def good(self, recipe: str, source: Path, inputs: Path | None = None, **given: Any) -> Ended:
        ended = self.run(recipe, source, inputs, **given)
        assert ended.code == 0, ended.log[-4000:]
        declared = re.search(r"^outputs: \[(.*)\]$", (RECIPES / recipe / "recipe.yml").read_text(), re.M)
        for name in declared[1].split(",") if declared else []:
            assert (ended.outputs / name.strip()).is_file(), f"{name} is declared and was not published"
        return ended

    def refused(self, recipe: str, source: Path, inputs: Path | None = None, **given: Any) -> str:
        ended = self.run(recipe, source, inputs, **given)
        assert ended.code == 1, f"exit {ended.code}\n{ended.log[-4000:]}"
        assert ended.files() == [] or all(f.startswith("golden/") for f in ended.files()), "a failed stage published a model"
        return ended.error

    def python(self, *arguments: Any, cwd: Path | None = None) -> str:
        """A script under the toolchain's Python; its standard output."""
        environment = self.environment("keras/saved-model", self.scratch, self.scratch)
        done = subprocess.run([self.toolchain / "bin/python3", *map(str, arguments)], cwd=cwd or self.scratch, env=environment,
                              capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(prepare("tensorflow"), tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="session")
def digits(bench: Bench) -> Path:
    """The outputs of digits-keras' export, as the next stages' inputs."""
    return bench.good("keras/saved-model", EXAMPLES / "digits-keras", script="export.py").outputs


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """repo(**files): a folder with those files ("export.py" is spelt export_py)."""

    def make(**files: str) -> Path:
        directory = tmp_path_factory.mktemp("repo")
        for name, text in files.items():
            (directory / name.replace("_py", ".py").replace("_h5", ".h5")).write_text(text)
        return directory

    return make
