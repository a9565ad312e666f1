"""keras/saved-model: the original model answers its golden inputs, then becomes a SavedModel that answers the same."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.join(os.environ["PORTOLAN_RECIPE"], "..", "..", "common"))
import portolan_recipe as recipe  # noqa: E402

import numpy as np  # noqa: E402
import portolan_tf as ptf  # noqa: E402
import tensorflow as tf  # noqa: E402

SAME_RTOL, SAME_ATOL = 1e-3, 1e-4
"""How far the SavedModel may be from the model it was made of: the same weights, only another graph."""


def golden_of_script(module: Any, script: str) -> tuple[dict[str, np.ndarray], Any]:
    if not hasattr(module, "golden"):
        recipe.fail(f"script: \"{script}\" has no golden(): it must return a mapping of input name to array, at least "
                    f"{recipe.MIN_SAMPLES} real samples, or give `golden: path.npz`")
    value = module.golden()
    inputs, labels = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    return recipe.check_arrays(inputs, "inputs"), labels


def golden_of_npz(path: str, input_names: list[str]) -> tuple[dict[str, np.ndarray], Any]:
    arrays = recipe.read_npz(path, "golden")
    labels = arrays.pop("labels", None) if "labels" not in input_names else None
    return recipe.check_arrays(arrays, "inputs"), labels


def model_of_script(module: Any, script: str) -> Any:
    for name in ("build", "load"):
        if hasattr(module, name):
            try:
                model = getattr(module, name)()
            except Exception as error:
                raise recipe.RecipeError(f"{name}() of \"{script}\" failed: {type(error).__name__}: {error}") from error
            if model is None:
                recipe.fail(f"{name}() of \"{script}\" returned nothing; it must return the Keras model")
            return model
    recipe.fail(f"script: \"{script}\" has neither build() nor load(): one must return the Keras model")


def check_same(what: str, first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    """Every output of both, within tolerance; the sentence names the worst element."""
    for name, expected in first.items():
        got = second[name]
        if got.shape != expected.shape:
            recipe.fail(f"{what}: output \"{name}\" has shape {list(got.shape)} instead of {list(expected.shape)}")
        left, right = got.astype(np.float64), expected.astype(np.float64)
        with np.errstate(invalid="ignore"):                    # inf - inf
            gap = np.abs(left - right)
        wrong = ~((gap <= SAME_ATOL + SAME_RTOL * np.abs(right)) | (left == right) | (np.isnan(left) & np.isnan(right)))
        if wrong.any():                                        # a NaN on one side only is wrong, and hides nothing else
            worst = np.where(wrong, np.where(np.isnan(gap), np.inf, gap), -1)
            index = tuple(int(i) for i in np.unravel_index(worst.argmax(), worst.shape))
            recipe.fail(f"{what}: output \"{name}\" differs by {gap[index]:.6g} at {list(index)} "
                        f"({expected[index]!r} and {got[index]!r})")


def export_keras(model: Any, golden: dict[str, np.ndarray], labels: Any, names: list[str], signature: str) -> None:
    framework = ptf.keras_generation(model)
    recipe.note(f"model: {framework}, {model.count_params() if model.built else '?'} parameters")
    inputs = ptf.fit_inputs(model, golden)

    def ask() -> dict[str, np.ndarray]:
        return {k: np.asarray(v) for k, v in ptf.call(model, {n: tf.constant(a) for n, a in inputs.items()}, names).items()}

    outputs = recipe.check_arrays(ask(), "outputs")
    check_same("the model answers the same inputs differently twice (dropout or random layers at inference?)", outputs, ask())
    recipe.write_golden(inputs, outputs, labels, framework, recipe.environment("tensorflow", framework.split()[0]))
    with recipe.publish_dir("model") as directory:
        ptf.save(model, inputs, directory, signature, names)
        if ptf.is_legacy(model):
            (directory / ptf.KERAS_H5).parent.mkdir(exist_ok=True)
            try:
                model.save(directory / ptf.KERAS_H5, include_optimizer=False)
            except (NotImplementedError, ValueError, TypeError) as error:  # a subclassed model has no layer topology
                recipe.note(f"no .h5 beside the SavedModel, so no TF.js layers model can be made: {error}")
                shutil.rmtree((directory / ptf.KERAS_H5).parent)
        check_saved(directory, signature, inputs, outputs)


def export_saved_model(source: Path, golden: dict[str, np.ndarray], labels: Any, signature: str) -> None:
    """A SavedModel of the repository is published as it is; its own signature is the original model."""
    wanted = ptf.signature(source, signature).inputs
    if sorted(wanted) != sorted(golden):
        recipe.fail(f"golden inputs are named {sorted(golden)}, the signature's inputs {sorted(wanted)}: use the signature's names")
    for name, info in wanted.items():
        dtype = tf.as_dtype(info.dtype).name
        if golden[name].dtype.name != dtype:
            recipe.fail(f"golden input \"{name}\" is {golden[name].dtype.name}, the signature wants {dtype}")
    outputs = recipe.check_arrays(ask_saved(source, signature, golden), "outputs")
    recipe.write_golden(golden, outputs, labels, f"tensorflow {tf.__version__}", recipe.environment("tensorflow"))
    with recipe.publish_dir("model") as directory:
        shutil.copytree(source, directory, dirs_exist_ok=True)


def ask_saved(directory: Path, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    loaded = tf.saved_model.load(str(directory))
    answer = loaded.signatures[signature](**{n: tf.constant(a) for n, a in inputs.items()})
    return {name: value.numpy() for name, value in answer.items()}


def check_saved(directory: Path, signature: str, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    there = ptf.signature(directory, signature)
    if sorted(there.inputs) != sorted(inputs) or sorted(there.outputs) != sorted(outputs):
        recipe.fail(f"the SavedModel's signature has inputs {sorted(there.inputs)} and outputs {sorted(there.outputs)} "
                    f"instead of {sorted(inputs)} and {sorted(outputs)}")
    check_same("the SavedModel does not answer like the model it was made of", outputs,
               ask_saved(directory, signature, inputs))
    recipe.note(f"SavedModel: signature \"{signature}\" answers like the model")


@recipe.main
def run() -> None:
    given = recipe.params()
    script, path, npz = (given.get(k) or "" for k in ("script", "model", "golden"))
    if bool(script) == bool(path):
        recipe.fail("give either `script:` (a Python file with build() and golden()) or `model:` (a .keras, .h5 or SavedModel)")
    if path and not npz:
        recipe.fail("`model:` needs `golden:`, an .npz of the repository with at least "
                    f"{recipe.MIN_SAMPLES} real samples of every model input")
    signature, names = given.get("signature") or "serving_default", list(given.get("outputs") or [])
    if script:
        module = recipe.load_script(script)
        golden, labels = golden_of_npz(npz, []) if npz else golden_of_script(module, script)
        export_keras(model_of_script(module, script), golden, labels, names, signature)
        return
    source = recipe.source_path(path, "model")
    if source.is_dir():
        if not ptf.is_saved_model(source):
            recipe.fail(f"model: \"{path}\" is a folder without saved_model.pb")
        export_saved_model(source, *golden_of_npz(npz, list(ptf.signature(source, signature).inputs)), signature)
    else:
        model = ptf.load_keras(source)
        declared = [name for name, _, _ in ptf.declared_inputs(model) or []]
        export_keras(model, *golden_of_npz(npz, declared), names, signature)
