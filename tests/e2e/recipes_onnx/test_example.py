"""deploy/examples/digits-pytorch: its accuracy is as stated, its pipeline file names what exists."""

from __future__ import annotations

import subprocess
from typing import Any

from conftest import DIGITS, ROOT, recipe_of, toolchain


def test_stated_accuracy() -> None:
    done = subprocess.run([toolchain("pytorch") / "bin/python3", "check.py"], cwd=DIGITS, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "447 of 450 = 0.9933" in done.stdout and "447 of 450" in (DIGITS / "README.md").read_text()


def test_pipeline_names_recipes_and_parameters_that_exist(pipeline: dict[str, Any]) -> None:
    used = [pipeline["export"]]
    for target in pipeline["targets"].values():
        used += [target[kind] for kind in ("convert", "verify") if kind in target]
    assert {target["host"] for target in pipeline["targets"].values()} == {"server", "mobile", "browser"}
    for stage in used:
        spec = recipe_of(stage["uses"])
        assert set(stage.get("with", {})) <= set(spec["parameters"]), stage
        for key, value in stage.get("with", {}).items():
            values = spec["parameters"][key].get("values")
            assert values is None or value in values, (key, value)
        assert (ROOT / "agents/toolchains" / spec["toolchain"] / "toolchain.yml").is_file()
