"""tensorflow/tflite: every quantization, judged by the TensorFlow Lite interpreter, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models
import pytest
from conftest import EXAMPLES, HERE, Bench

CONVERT = "tensorflow/tflite"
SOURCE = EXAMPLES / "digits-keras"


@pytest.mark.parametrize(("given", "dtype", "error", "top1", "size"), [
    ({"quantize": "none"}, "float32", 1e-5, 1.0, (60_000, 80_000)),
    ({"quantize": "float16"}, "float32", 2e-3, 1.0, (30_000, 45_000)),
    ({"quantize": "dynamic"}, "float32", 0.05, 0.99, (16_000, 30_000)),
    ({"quantize": "int8", "representative": "golden"}, "float32", 0.06, 0.98, (16_000, 30_000)),
    ({"quantize": "int8", "representative": "golden", "io_type": "int8"}, "int8", 0.06, 0.98, (16_000, 30_000)),
    ({"quantize": "int8", "representative": "golden", "io_type": "uint8"}, "uint8", 0.06, 0.98, (16_000, 30_000)),
], ids=lambda value: "-".join(v for k, v in value.items() if k != "representative") if isinstance(value, dict) else "")
def test_modes(bench: Bench, digits: Path, given: dict[str, str], dtype: str, error: float, top1: float, size: tuple[int, int]) -> None:
    ended = bench.good(CONVERT, SOURCE, digits, **given)
    assert ended.files() == ["model/model.tflite", "model/signature.json"]
    signature = ended.json("model/signature.json")
    (image,), (answer,) = signature["inputs"], signature["outputs"]
    assert (image["name"], image["dtype"], image["shape"][1:]) == ("image", dtype, [8, 8, 1])
    assert (answer["name"], answer["dtype"]) == ("probabilities", dtype)
    assert ("quantization" in image) == (dtype != "float32")
    report = json.loads(bench.python(HERE / "judge_tflite.py", ended.outputs / "model", digits / "golden"))["probabilities"]
    assert report["max_abs_error"] <= error and report["top1"] >= top1, report
    if given["quantize"] != "none":
        assert report["max_abs_error"] > 1e-6, "quantization changed nothing: was it applied?"
    assert size[0] < (ended.outputs / "model/model.tflite").stat().st_size < size[1]


def test_refused_before_converting(bench: Bench, digits: Path, tmp_path: Path) -> None:
    ended = bench.run(CONVERT, SOURCE, digits, quantize="int8")
    assert "quantize: int8 needs representative data" in ended.error and ended.code == 1
    assert "TFLite converter of" not in ended.log, "the slow part must not have started"
    assert "needs quantize: int8" in bench.refused(CONVERT, SOURCE, digits, quantize="dynamic", io_type="int8")
    assert "\"calib.npz\" is not in the repository" in \
        bench.refused(CONVERT, SOURCE, digits, quantize="int8", representative="calib.npz")
    (tmp_path / "model").symlink_to(digits / "model")
    assert "no golden set among the inputs" in bench.refused(CONVERT, SOURCE, tmp_path, quantize="int8", representative="golden")


def test_representative_npz(bench: Bench, digits: Path, tmp_path: Path) -> None:
    bench.python("-c", "import numpy as n; r = n.random.default_rng(0).random((100, 8, 8, 1), dtype='float32'); "
                 "n.savez('good.npz', image=r); n.savez('other.npz', picture=r)", cwd=tmp_path)
    ended = bench.good(CONVERT, tmp_path, digits, quantize="int8", representative="good.npz")
    assert "representative samples; 100 or more" not in ended.log
    said = bench.refused(CONVERT, tmp_path, digits, quantize="int8", representative="other.npz")
    assert "no array for input image; it has: picture" in said


def test_wrong_models(bench: Bench, digits: Path, tmp_path: Path) -> None:
    said = bench.refused(CONVERT, SOURCE, digits, signature="predict")
    assert "no signature \"predict\"; it has: \"serving_default\"" in said
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.onnx").write_bytes(b"x")
    assert "not a SavedModel (no saved_model.pb; there is: model.onnx)" in bench.refused(CONVERT, SOURCE, tmp_path)


def test_operator_without_a_kernel(bench: Bench) -> None:
    """The example that a phone cannot run: the converter's own words stay in the log, the sentence names the operator."""
    source = EXAMPLES / "unsupported-op"
    exported = bench.good("keras/saved-model", source, script="export.py")
    ended = bench.run(CONVERT, source, exported.outputs)
    assert ended.code == 1 and "TF Select ops: Dilation2D" in ended.error
    assert "Some ops are not supported by the native TFLite runtime" in ended.log and "ConverterError" in ended.log
    allowed = bench.good(CONVERT, source, exported.outputs, allow_select_ops=True)
    assert "select ops are allowed" in allowed.log


def test_weights_that_were_not_frozen(bench: Bench, tmp_path: Path) -> None:
    """tf.saved_model.save() of a Keras 3 model converts without a word and cannot run: told at the converter."""
    bench.python("-c", models.GOOD + """
import tensorflow as tf
model = build()
call = tf.function(lambda x: {"y": model(x)}).get_concrete_function(x=tf.TensorSpec((None, 4), tf.float32, name="x"))
tf.saved_model.save(model, "model", signatures={"serving_default": call})
""", cwd=tmp_path)
    said = bench.refused(CONVERT, SOURCE, tmp_path)
    assert "does not run" in said and "READ_VARIABLE" in said and "not frozen" in said
