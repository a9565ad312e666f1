"""keras/saved-model: what it publishes, and the sentence of every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import pytest
from conftest import EXAMPLES, Bench

EXPORT = "keras/saved-model"


def test_digits(bench: Bench, digits: Path) -> None:
    manifest = __import__("json").loads((digits / "golden/manifest.json").read_text())
    assert manifest["version"] == 1 and manifest["samples"] == 128 and manifest["precision"] == "fp32"
    assert manifest["framework"].startswith("keras 3.")
    assert manifest["inputs"] == [{"name": "image", "dtype": "float32", "shape": [128, 8, 8, 1], "file": "inputs/image.npy"}]
    assert manifest["outputs"][0]["name"] == "probabilities" and manifest["outputs"][0]["shape"] == [128, 10]
    assert set(manifest["environment"]) >= {"python", "tensorflow", "keras", "numpy"}
    assert (digits / "golden" / manifest["labels"]).is_file()
    assert not (digits / "model/assets.extra").exists(), "a Keras 3 model has no topology that TF.js can read"
    sizes = bench.python("-c", "import numpy as n, sys; g = sys.argv[1]; y = n.load(g + '/outputs/probabilities.npy'); "
                         "print((y.argmax(1) == n.load(g + '/labels.npy')).mean())", digits / "golden")
    assert float(sizes) > 0.95


def test_two_inputs_two_outputs_and_another_signature(bench: Bench, repo: Any) -> None:
    ended = bench.good(EXPORT, repo(export_py=models.TWO), script="export.py", signature="ask")
    manifest = ended.json("golden/manifest.json")
    assert [i["name"] for i in manifest["inputs"]] == ["right", "left"]
    assert {o["name"]: o["shape"] for o in manifest["outputs"]} == {"wide": [9, 4], "score": [9, 1]}
    assert "float64 converted to float32" in ended.log
    # The converters keep the names, and another signature than the default is found.
    converted = bench.good("tensorflow/tflite", Path("/"), ended.outputs, signature="ask")
    names = converted.json("model/signature.json")
    assert {i["name"] for i in names["inputs"]} == {"left", "right"} and {o["name"] for o in names["outputs"]} == {"wide", "score"}


def test_own_output_names(bench: Bench, repo: Any) -> None:
    ended = bench.good(EXPORT, repo(export_py=models.TWO), script="export.py", outputs=["a", "b"])
    assert [o["name"] for o in ended.json("golden/manifest.json")["outputs"]] == ["a", "b"]


def test_model_files(bench: Bench, tmp_path: Path) -> None:
    """A .keras, a Keras 2 .h5 and a SavedModel of the repository, with golden inputs from an .npz."""
    bench.python("-c", """
import keras, numpy as np, tf_keras, tensorflow as tf
x = keras.Input((4,), name="x"); m = keras.Model(x, keras.layers.Dense(3, name="y")(x)); m.save("three.keras")
m.export("saved", verbose=False)
two = tf_keras.Sequential([tf_keras.layers.Input((4,), name="x"), tf_keras.layers.Dense(3, name="y")]); two.save("two.h5")
np.savez("golden.npz", x=np.random.default_rng(0).random((8, 4), dtype="float32"), labels=np.arange(8))
name = list(tf.saved_model.load("saved").signatures["serving_default"].structured_input_signature[1])[0]
np.savez("saved.npz", **{name: np.random.default_rng(0).random((8, 4), dtype="float32")})
""", cwd=tmp_path)
    three = bench.good(EXPORT, tmp_path, model="three.keras", golden="golden.npz")
    assert three.json("golden/manifest.json")["framework"].startswith("keras 3.") and "golden/labels.npy" in three.files()
    two = bench.good(EXPORT, tmp_path, model="two.h5", golden="golden.npz")
    assert two.json("golden/manifest.json")["framework"].startswith("tf_keras 2.")
    assert "model/assets.extra/keras.h5" in two.files()
    saved = bench.good(EXPORT, tmp_path, model="saved", golden="saved.npz")
    assert saved.json("golden/manifest.json")["framework"].startswith("tensorflow 2.")
    (tmp_path / "pointer.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert "Git LFS pointer" in bench.refused(EXPORT, tmp_path, model="pointer.h5", golden="golden.npz")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "three.keras").read_bytes()[:500])
    assert "cut.keras is neither" in bench.refused(EXPORT, tmp_path, model="cut.keras", golden="golden.npz")
    assert "needs `golden:`" in bench.refused(EXPORT, tmp_path, model="three.keras")


@pytest.mark.parametrize(("text", "sentence"), [
    (models.NO_GOLDEN, "has no golden()"),
    (models.NO_BUILD, "has neither build() nor load()"),
    (models.FEW, "the golden set has 7 samples; at least 8"),
    (models.NAN_INPUT, "golden inputs \"x\" has 32 of 32 values that are NaN"),
    (models.NAN_OUTPUT, "golden outputs \"y\" has 32 of 32 values that are NaN"),
    (models.WRONG_NAME, "golden inputs are named ['image'], the model's inputs ['x']"),
    (models.WRONG_SHAPE, "has shape [8, 5], the model wants [samples, 4]"),
    (models.CONSTANT, "output \"y\" is the same value everywhere"),
    (models.STRINGS, "has dtype str"),
    (models.RANDOM, "answers the same inputs differently twice"),
    (models.NOT_KERAS, "is not a Keras model"),
], ids=lambda value: value[:24].strip() if "\n" not in value else "model")
def test_refusals(bench: Bench, repo: Any, text: str, sentence: str) -> None:
    assert sentence in bench.refused(EXPORT, repo(export_py=text), script="export.py")


def test_the_scripts_own_traceback_is_kept(bench: Bench, repo: Any) -> None:
    ended = bench.run(EXPORT, repo(export_py=models.RAISES), script="export.py")
    assert ended.code == 1 and "Traceback" in ended.log and "the weights are of another world" in ended.error
    assert "export.py\", line" in ended.log


def test_missing_script_names_what_is_there(bench: Bench) -> None:
    said = bench.refused(EXPORT, EXAMPLES / "digits-keras", script="exprot.py")
    assert "\"exprot.py\" is not in the repository" in said and "export.py" in said
    assert "inside the repository" in bench.refused(EXPORT, EXAMPLES / "digits-keras", script="../x.py")
    assert "either `script:`" in bench.refused(EXPORT, EXAMPLES / "digits-keras")
