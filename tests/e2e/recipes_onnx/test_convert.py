"""onnx/quantize and onnx/ort: what they publish runs in the real ONNX Runtime, close to the original; what they refuse is a sentence."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Stage, run_model, run_stage, words, write_script

IR_VERSION = 8
"""What torch 1.13 writes and what the runtimes of all three hosts read: a conversion must not raise it."""


def convert(name: str, inputs: Path, tmp_path: Path, **given: Any) -> Stage:
    (tmp_path / "repo").mkdir(exist_ok=True)
    return run_stage(name, tmp_path / "stage", source=tmp_path / "repo", inputs=inputs, **given)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A module without any weight: nothing in it can be quantized."""
    folder = tmp_path_factory.mktemp("plain")
    source = write_script(folder / "repo", "def load(): return nn.Softplus().eval()\ndef golden(): return {'x': images()}\n")
    stage = run_stage("pytorch/onnx", folder / "stage", source=source, script="export.py")
    assert stage.status == 0, stage.log
    return stage


@pytest.mark.parametrize("given,share,limit", [
    ({"mode": "static"}, 0.45, 0.05),
    ({"mode": "static", "calibration": "entropy", "per_channel": False, "activations": "uint8", "reduce_range": True}, 0.45, 0.2),
    ({"mode": "dynamic"}, 0.55, 0.02),
    ({"mode": "dynamic", "operators": ["Conv", "Gemm"], "weights": "uint8"}, 0.45, 0.05),
    ({"mode": "float16"}, 0.60, 0.005),
], ids=["static", "static-coarse", "dynamic", "dynamic-conv", "float16"])
def test_fewer_bits_answer_nearly_the_same(digits: Stage, tmp_path: Path, given: dict[str, Any], share: float, limit: float) -> None:
    stage = convert("onnx/quantize", digits.outputs, tmp_path, **given)
    assert stage.status == 0, stage.log
    model = stage.outputs / "model/model.onnx"
    assert model.stat().st_size < share * (digits.outputs / "model/model.onnx").stat().st_size
    got = run_model(model, {"image": digits.array("golden/inputs/image.npy")})
    expected = digits.array("golden/outputs/probabilities.npy")
    assert list(got) == ["probabilities"] and got["probabilities"].dtype == np.float32
    error = np.abs(got["probabilities"] - expected)
    assert 0 < error.max() < limit, "equal to the last bit would mean that nothing was converted"
    assert (got["probabilities"].argmax(1) == expected.argmax(1)).mean() >= 0.98
    assert f"IR version {IR_VERSION}, ai.onnx 17" in stage.log and "ai.onnx.preview" not in stage.log
    said = re.search(r"at most ([\d.e-]+), top-1 agreement", stage.log)
    assert said and float(said[1]) == pytest.approx(float(error.max()), rel=0.3), "the log's number is the measured one"


def test_excluded_nodes_stay_as_they_are(digits: Stage, tmp_path: Path) -> None:
    whole = convert("onnx/quantize", digits.outputs, tmp_path, mode="static")
    size = (whole.outputs / "model/model.onnx").stat().st_size
    spared = convert("onnx/quantize", digits.outputs, tmp_path, mode="static", exclude=["/classify/classify.2/Gemm"])
    assert spared.status == 0, spared.log
    assert (spared.outputs / "model/model.onnx").stat().st_size > size + 512 * 32 * 2
    assert "3 weights in 8 bits" in spared.log


def test_a_quantized_model_is_not_quantized_again(digits: Stage, tmp_path: Path) -> None:
    once = convert("onnx/quantize", digits.outputs, tmp_path / "once", mode="static") if (tmp_path / "once").mkdir() is None else None
    assert once and once.status == 0, once and once.log
    shutil.copytree(digits.outputs / "golden", tmp_path / "twice/golden")
    shutil.copytree(once.outputs / "model", tmp_path / "twice/model")
    words(convert("onnx/quantize", tmp_path / "twice", tmp_path, mode="dynamic"), r"quantized already \(\d+ QuantizeLinear nodes\)")


@pytest.mark.parametrize("given,patterns", [
    ({"mode": "dynamic", "exclude": ["nobody"]}, [r"no node \"nobody\"; it has .*/classify/classify\.2/Gemm"]),
    ({"operators": ["Convolution"]}, [r"the model has no Convolution; it has .*Conv"]),
    ({"mode": "dynamic", "exclude": ["/classify/classify.2/Gemm", "/classify/classify.4/Gemm"]},
     [r"nothing was quantized: no operator with constant weights that mode dynamic can convert \(.*2 Conv"]),
], ids=["unknown-node", "unknown-operator", "nothing-left"])
def test_wishes_that_the_model_cannot_meet(digits: Stage, tmp_path: Path, given: dict[str, Any], patterns: list[str]) -> None:
    words(convert("onnx/quantize", digits.outputs, tmp_path, **given), *patterns)


@pytest.mark.parametrize("mode,pattern", [("static", r"nothing was quantized"), ("dynamic", r"nothing was quantized"),
                                          ("float16", r"no weight became float16")])
def test_a_model_without_weights(plain: Stage, tmp_path: Path, mode: str, pattern: str) -> None:
    words(convert("onnx/quantize", plain.outputs, tmp_path, mode=mode), pattern)


@pytest.mark.parametrize("platform", ["any", "arm", "amd64"])
def test_the_ort_format_answers_as_the_model(digits: Stage, tmp_path: Path, platform: str) -> None:
    stage = convert("onnx/ort", digits.outputs, tmp_path, platform=platform)
    assert stage.status == 0, stage.log
    assert stage.files() == ["model/model.ort", "model/required_operators.config"]
    model = stage.outputs / "model/model.ort"
    assert model.read_bytes()[4:8] == b"ORTM"
    assert ("nchwc" in stage.log) == (platform == "amd64"), "only amd64 may bake in the blocked layout"
    got = run_model(model, {"image": digits.array("golden/inputs/image.npy")})
    np.testing.assert_allclose(got["probabilities"], digits.array("golden/outputs/probabilities.npy"), rtol=0, atol=1e-5)


def test_the_ort_format_of_a_quantized_model(digits: Stage, tmp_path: Path) -> None:
    first = convert("onnx/quantize", digits.outputs, tmp_path, mode="static")
    chain = tmp_path / "chain"
    shutil.copytree(digits.outputs / "golden", chain / "golden")
    shutil.copytree(first.outputs / "model", chain / "model")
    stage = convert("onnx/ort", chain, tmp_path)
    assert stage.status == 0, stage.log
    got = run_model(stage.outputs / "model/model.ort", {"image": digits.array("golden/inputs/image.npy")})
    expected = digits.array("golden/outputs/probabilities.npy")
    assert (got["probabilities"].argmax(1) == expected.argmax(1)).mean() >= 0.98


@pytest.fixture(params=["onnx/quantize", "onnx/ort"])
def recipe(request: pytest.FixtureRequest) -> str:
    return request.param


def spoiled(digits: Stage, folder: Path) -> Path:
    shutil.copytree(digits.outputs, folder)
    return folder


def test_a_truncated_model(digits: Stage, tmp_path: Path, recipe: str) -> None:
    inputs = spoiled(digits, tmp_path / "inputs")
    whole = (inputs / "model/model.onnx").read_bytes()
    (inputs / "model/model.onnx").write_bytes(whole[:len(whole) // 2])
    words(convert(recipe, inputs, tmp_path), r"ONNX Runtime 1\.32\.0 cannot load model\.onnx: .*Protobuf parsing failed")


def test_no_model_and_no_golden_set(digits: Stage, tmp_path: Path, recipe: str) -> None:
    inputs = spoiled(digits, tmp_path / "inputs")
    (inputs / "model/model.onnx").rename(inputs / "model/model.pt")
    words(convert(recipe, inputs, tmp_path), r"no files that end in \.onnx among the model's files \(model\.pt\)")
    (inputs / "model/model.pt").rename(inputs / "model/net.onnx")
    shutil.rmtree(inputs / "golden")
    words(convert(recipe, inputs, tmp_path), r"no golden set among the inputs")


def test_an_lfs_pointer_for_a_model(digits: Stage, tmp_path: Path, recipe: str) -> None:
    inputs = spoiled(digits, tmp_path / "inputs")
    (inputs / "model/model.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1\n")
    words(convert(recipe, inputs, tmp_path), r"model\.onnx is a Git LFS pointer")


def test_golden_inputs_of_another_model(digits: Stage, tmp_path: Path, recipe: str) -> None:
    inputs = spoiled(digits, tmp_path / "inputs")
    manifest = json.loads((inputs / "golden/manifest.json").read_text())
    manifest["inputs"][0]["name"] = "picture"
    (inputs / "golden/manifest.json").write_text(json.dumps(manifest))
    words(convert(recipe, inputs, tmp_path), r"golden set has no input \"image\" that the model needs; it has picture")
