"""tensorflow/tflite: one signature of a SavedModel becomes model.tflite, with signature.json beside it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

sys.path.insert(0, os.path.join(os.environ["PORTOLAN_RECIPE"], "..", "..", "common"))
import portolan_recipe as recipe  # noqa: E402

import numpy as np  # noqa: E402

FEW_SAMPLES = 100
"""Below this many representative samples int8 ranges are often too narrow: worth a line in the log."""


def representative_arrays(source: str) -> dict[str, np.ndarray]:
    """Samples for calibration, checked before the slow part starts."""
    if not source:
        recipe.fail("quantize: int8 needs representative data to find the range of every tensor: "
                    "set `representative: golden` or give an .npz of the repository")
    arrays = recipe.read_golden()[0] if source == "golden" else recipe.read_npz(source, "representative")
    arrays = recipe.check_arrays(arrays, "inputs")
    samples = len(next(iter(arrays.values())))
    if samples < FEW_SAMPLES:
        recipe.note(f"warning: only {samples} representative samples; {FEW_SAMPLES} or more give better int8 ranges")
    return arrays


def feed(arrays: dict[str, np.ndarray], signature: Any) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """A generator of one-sample inputs by signature name, cast to what the signature wants."""
    import tensorflow as tf

    wanted = {name: tf.as_dtype(info.dtype).as_numpy_dtype for name, info in signature.inputs.items()}
    missing = sorted(set(wanted) - set(arrays))
    if missing:
        recipe.fail(f"the representative data has no array for input {', '.join(missing)}; it has: {', '.join(sorted(arrays))}")

    def generate() -> Iterator[dict[str, np.ndarray]]:
        for index in range(len(next(iter(arrays.values())))):
            yield {name: arrays[name][index : index + 1].astype(dtype) for name, dtype in wanted.items()}

    return generate


def refused(error: Exception) -> str:
    """The converter's message is pages of MLIR; the operators it names are what a person needs."""
    text = str(error)
    found = []
    for kind in ("TF Select", "Flex", "Custom"):
        for match in re.finditer(rf"{kind} ops: ([^\n]+)", text):
            found.append(f"{kind} ops: {match.group(1).strip()} (TFLite has no kernel for them: replace the operators, or set "
                         "allow_select_ops where the runtime carries the Flex delegate)")
    if not found:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        found = [next((line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__)[:400]]
    return "; ".join(dict.fromkeys(found))


def one_sample(details: dict[str, Any], golden: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first golden sample where name and type fit, else zeros."""
    sample = {}
    for name, tensor in details.items():
        array = golden.get(name)
        if array is None or tensor["dtype"] != array.dtype.type:
            array = np.zeros([max(int(d), 1) for d in tensor["shape"]], tensor["dtype"])
        sample[name] = array[:1]
    return sample


def describe(
    content: bytes, signature: str, golden: dict[str, np.ndarray]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the written model back with the runtime and run it once: tensors of the signature, types, quantization.

    One run tells a model whose weights were lost: the converter writes it without a word and it loads.
    """
    import tensorflow as tf

    if content[4:8] != b"TFL3":
        recipe.fail("what the converter wrote is not a TFLite flatbuffer")
    interpreter = tf.lite.Interpreter(model_content=content)
    there = interpreter.get_signature_list()
    if signature not in there:
        recipe.fail(f"the converted model lost its signature \"{signature}\"; it has: {', '.join(there) or 'none'}")
    try:
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(signature)
        runner(**one_sample(runner.get_input_details(), golden))
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        if "Flex delegate" not in first:
            hint = ""
            if "read_variable" in first:
                hint = (": the weights were not frozen into it. A Keras 3 model saved by tf.saved_model.save() has this; "
                        "use keras/saved-model or model.export()")
            raise recipe.RecipeError(f"the converter wrote a model that does not run ({first}){hint}") from error
        recipe.note("warning: the model was not run here, this interpreter has no Flex delegate; nor have most phones' runtimes")
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner(signature)

    def entries(details: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for name, tensor in details.items():
            shape = [int(d) for d in tensor["shape_signature"]] if len(tensor["shape_signature"]) else \
                [int(d) for d in tensor["shape"]]
            entry = {"name": name, "tensor": tensor["name"], "index": int(tensor["index"]),
                     "dtype": np.dtype(tensor["dtype"]).name, "shape": shape}
            scales = tensor["quantization_parameters"]["scales"]
            if len(scales) == 1:
                entry["quantization"] = {"scale": float(scales[0]),
                                         "zero_point": int(tensor["quantization_parameters"]["zero_points"][0])}
            found.append(entry)
        return found

    return entries(runner.get_input_details()), entries(runner.get_output_details())


@recipe.main
def run() -> None:
    given = recipe.params()
    quantize, io_type = given.get("quantize", "none"), given.get("io_type", "float32")
    signature = given.get("signature") or "serving_default"
    if io_type != "float32" and quantize != "int8":
        recipe.fail(f"io_type: {io_type} needs quantize: int8; with quantize: {quantize} inputs and outputs stay float32")
    arrays = representative_arrays(given.get("representative") or "") if quantize == "int8" else {}
    golden = recipe.read_golden()[0] if (recipe.inputs_dir() / "golden" / "manifest.json").is_file() else {}

    import portolan_tf as ptf
    import tensorflow as tf

    source = ptf.saved_model_input(signature)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[signature])
    builtins = tf.lite.OpsSet.TFLITE_BUILTINS
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = feed(arrays, ptf.signature(source, signature))
        builtins = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(io_type)
    converter.target_spec.supported_ops = [builtins]
    if given.get("allow_select_ops"):
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.SELECT_TF_OPS)
        recipe.note("warning: select ops are allowed; the target's runtime must carry the Flex delegate")

    recipe.note(f"TFLite converter of TensorFlow {tf.__version__}: signature {signature}, quantize {quantize}, io {io_type}")
    try:
        content = converter.convert()
    except Exception as error:  # ConverterError and what the calibrator throws; the traceback stays in the log
        raise recipe.RecipeError(f"the TFLite converter refused the model: {refused(error)}") from error
    inputs, outputs = describe(content, signature, golden)
    with recipe.publish_dir("model") as directory:
        (directory / "model.tflite").write_bytes(content)
        recipe.write_signature(directory, inputs, outputs, signature=signature, quantize=quantize)
    recipe.note(f"model.tflite: {len(content)} bytes")
