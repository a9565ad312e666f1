"""tensorflow/tfjs: every form, judged by TensorFlow.js itself (the web toolchain's, in Node), and every refusal."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import models
import pytest
from conftest import EXAMPLES, HERE, Bench, Ended, prepare

CONVERT = "tensorflow/tfjs"
SOURCE = EXAMPLES / "digits-keras"


def judge(model: Path, golden: Path) -> dict[str, Any]:
    node = shutil.which("node")
    assert node, "node is needed to judge TF.js models"
    done = subprocess.run([node, HERE / "judge_tfjs.js", prepare("web") / "tfjs/tf.min.js", model, golden],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def weight_bytes(ended: Ended) -> int:
    return sum(p.stat().st_size for p in (ended.outputs / "model").glob("*.bin"))


@pytest.mark.parametrize(("quantize", "error", "size"), [
    ("none", 1e-5, 61_368), ("float16", 2e-3, 30_692), ("uint16", 1e-3, 30_692), ("uint8", 0.05, 15_354)])
def test_graph(bench: Bench, digits: Path, quantize: str, error: float, size: int) -> None:
    ended = bench.good(CONVERT, SOURCE, digits, format="graph", quantize=quantize)
    assert "+ tensorflowjs_converter" in ended.log and weight_bytes(ended) == size
    signature = ended.json("model/signature.json")
    assert signature["inputs"][0]["name"] == "image" and signature["inputs"][0]["dtype"] == "float32"
    report = judge(ended.outputs / "model", digits / "golden")["probabilities"]
    assert report["max_abs_error"] <= error and report["shape"] == [128, 10], report


def test_two_inputs(bench: Bench, repo: Any) -> None:
    exported = bench.good("keras/saved-model", repo(export_py=models.TWO), script="export.py")
    ended = bench.good(CONVERT, SOURCE, exported.outputs)
    report = judge(ended.outputs / "model", exported.outputs / "golden")
    assert set(report) == {"wide", "score"} and all(r["max_abs_error"] < 1e-5 for r in report.values()), report


def test_layers(bench: Bench, repo: Any, digits: Path) -> None:
    legacy = bench.good("keras/saved-model", repo(export_py=models.LEGACY), script="export.py").outputs
    for quantize, error in (("none", 1e-5), ("uint8", 0.1)):
        ended = bench.good(CONVERT, SOURCE, legacy, format="layers", quantize=quantize)
        assert ended.json("model/model.json")["format"] == "layers-model"
        assert judge(ended.outputs / "model", legacy / "golden")["probabilities"]["max_abs_error"] <= error
    said = bench.refused(CONVERT, SOURCE, digits, format="layers")
    assert "needs a Keras 2 model" in said and "Use format: graph" in said


def test_refusals(bench: Bench, repo: Any, digits: Path, tmp_path: Path) -> None:
    lgamma = bench.good("keras/saved-model", repo(export_py=models.LGAMMA), script="export.py").outputs
    ended = bench.run(CONVERT, SOURCE, lgamma)
    assert ended.code == 1 and "Unsupported Ops" in ended.error and "Lgamma" in ended.error
    assert "no signature \"other\"" in bench.refused(CONVERT, SOURCE, digits, signature="other")


def test_a_truncated_shard_is_not_published(bench: Bench, digits: Path, tmp_path: Path) -> None:
    """A converter that exits 0 and leaves too few bytes: planted before the real one in PATH."""
    fake = tmp_path / "tensorflowjs_converter"
    fake.write_text("#!/bin/sh\nset -e\nfor last; do :; done\n"
                    f"{bench.toolchain}/bin/tensorflowjs_converter \"$@\"\ntruncate -s -1 \"$last\"/group1-shard1of1.bin\n")
    fake.chmod(0o755)
    ended = bench.run(CONVERT, SOURCE, digits, path=str(tmp_path))
    assert ended.code == 1 and "hold 61367 bytes, their weights need 61368" in ended.error and ended.files() == []
