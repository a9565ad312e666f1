"""onnx/quantize: model.onnx in fewer bits, by ONNX Runtime's own quantization and float16 tools.

Names and types of inputs and outputs stay as they are, so no signature.json is needed. Owns the proof that something was
converted and that the result runs: a model in which no operator changed, that the runtime refuses, or that answers NaN is an
error here. How close it still is to the original is for verify to judge; the log says how close it is on this host.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.join(os.environ.get("PORTOLAN_RECIPE", os.path.dirname(__file__)), "..", "..", "common"))
import numpy as np
import onnx
import onnxruntime as ort
import portolan_onnx
import portolan_recipe as recipe
from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic,
                                      quantize_static)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

# Dynamic quantization turns a Conv into ConvInteger, which runtimes of earlier years refuse and which gains little: a
# convolution wants mode static, and stays as it is here unless the pipeline file names it under operators.
DYNAMIC_OPERATORS = ["MatMul", "Gemm", "LSTM", "Attention", "EmbedLayerNormalization"]
TYPES = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}


class Golden(CalibrationDataReader):
    """The golden inputs for calibration, in the batch size that the model takes (one sample when any will do)."""

    def __init__(self, inputs: dict[str, np.ndarray], batch: int) -> None:
        self.batches = self._walk(inputs, batch)

    @staticmethod
    def _walk(inputs: dict[str, np.ndarray], batch: int) -> Iterator[dict[str, np.ndarray]]:
        samples = next(iter(inputs.values())).shape[0]
        for start in range(0, samples - batch + 1, batch):
            yield {name: array[start:start + batch] for name, array in inputs.items()}

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def prepare(source: Path, prepared: Path, large: bool) -> None:
    """Shapes inferred and constants folded, as the quantization tool wants its input; symbolic shapes where it can."""
    for symbolic in (True, False):
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=not symbolic, save_as_external_data=large,
                              all_tensors_to_one_file=large)
            return
        except Exception as error:
            if not symbolic:
                raise recipe.RecipeError(f"the model cannot be prepared for quantization: {type(error).__name__}: {error}") from error
            recipe.note(f"finding: symbolic shape inference gave up ({type(error).__name__}: {error}); going on without")


def quantize(source: Path, target: Path, parameters: dict[str, Any], inputs: dict[str, np.ndarray], batch: int, large: bool) -> None:
    mode = parameters.get("mode", "static")
    common = {
        "per_channel": parameters.get("per_channel", True),
        "reduce_range": parameters.get("reduce_range", False),
        "weight_type": TYPES[parameters.get("weights", "int8")],
        "nodes_to_exclude": parameters.get("exclude") or [],
        "use_external_data_format": large,
    }
    operators = parameters.get("operators") or None
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        prepare(source, prepared, large)
        names = {node.name for node in onnx.load(str(prepared), load_external_data=False).graph.node}
        for name in common["nodes_to_exclude"]:
            if name not in names:
                recipe.note(f"finding: \"{name}\" was folded into its neighbours before quantization: excluding it changes nothing")
        if mode == "dynamic":
            # The dynamic quantizer splits every Gemm into a MatMul and an Add with names of its own before it looks at
            # names and types; without this, asking for Gemm or excluding one would silently do nothing.
            operators = operators or DYNAMIC_OPERATORS
            common["nodes_to_exclude"] = [*common["nodes_to_exclude"], *(f"{name}_MatMul" for name in common["nodes_to_exclude"])]
            quantize_dynamic(prepared, target, op_types_to_quantize=operators + ["MatMul"] * ("Gemm" in operators), **common)
        else:
            quantize_static(prepared, target, Golden(inputs, batch), quant_format=QuantFormat.QDQ, op_types_to_quantize=operators,
                            activation_type=TYPES[parameters.get("activations", "int8")],
                            calibrate_method=METHODS[parameters.get("calibration", "minmax")], **common)


def halve(source: Path, target: Path, parameters: dict[str, Any]) -> None:
    """float16 inside, float32 at the door; weights beyond float16's range are findings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True,
                                         node_block_list=parameters.get("exclude") or None)
    for warning in caught[:8]:
        recipe.note(f"finding: {warning.message}")
    if len(caught) > 8:
        recipe.note(f"finding: {len(caught) - 8} more warnings like these")
    portolan_onnx.save_model(model, target)


def forget_unused_domains(target: Path) -> None:
    """Drop operator sets that no node uses: the tool declares every one it knows, and an older runtime refuses those it
    does not know. Only the graph is rewritten; weights that lie beside it stay where they are."""
    model = onnx.load(str(target), load_external_data=False)
    used = {""}
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            used.add("" if node.domain == "ai.onnx" else node.domain)
            for attribute in node.attribute:
                graphs.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)
    used.update(node.domain for function in model.functions for node in function.node)
    kept = [entry for entry in model.opset_import if ("" if entry.domain == "ai.onnx" else entry.domain) in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    target.write_bytes(model.SerializeToString())


def operators_of(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def check_wishes(model: onnx.ModelProto, parameters: dict[str, Any]) -> None:
    """What the pipeline file asks for must be possible with this model."""
    nodes, operators = {node.name for node in model.graph.node}, operators_of(model)
    for name in parameters.get("exclude") or []:
        if name not in nodes:
            recipe.fail(f"exclude: the model has no node \"{name}\"; it has {', '.join(sorted(nodes)[:12])}")
    for name in parameters.get("operators") or []:
        if name not in operators:
            recipe.fail(f"operators: the model has no {name}; it has {', '.join(sorted(operators))}")
    done = [name for name in ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul") if name in operators]
    if done:
        recipe.fail(f"the model is quantized already ({operators[done[0]]} {done[0]} nodes): start from the float model")


def check_changed(before: onnx.ModelProto, after: onnx.ModelProto, mode: str) -> str:
    """What changed, as words; an error when nothing did."""
    if mode == "float16":
        halves = sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in after.graph.initializer)
        if not halves:
            recipe.fail("no weight became float16: the model has no float32 weights that could")
        return f"{halves} of {len(after.graph.initializer)} weights in float16"
    bytes_types = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    # Zero points are 8-bit tensors of one value, or one a channel; weights have two dimensions or more.
    weights = sum(tensor.data_type in bytes_types and len(tensor.dims) > 1 for tensor in after.graph.initializer)
    if not weights:
        there = ", ".join(f"{count} {name}" for name, count in operators_of(before).most_common(8))
        recipe.fail(f"nothing was quantized: no operator with constant weights that mode {mode} can convert ({there})")
    return f"{weights} weights in 8 bits"


@recipe.main
def run() -> None:
    parameters = recipe.params()
    mode = parameters.get("mode", "static")
    logging.disable(logging.WARNING)  # the tool suggests preparation that was done
    source = portolan_onnx.find_model(recipe.inputs_dir() / "model")
    inputs, expected, _ = recipe.read_golden()
    session = portolan_onnx.open_session(source)
    inputs = portolan_onnx.feed_for(session, inputs)
    shapes = [node.shape for node in session.get_inputs()]
    batch = next((shape[0] for shape in shapes if shape and isinstance(shape[0], int)), 1)
    before = onnx.load(str(source), load_external_data=False)
    check_wishes(before, parameters)
    size_before = sum(path.stat().st_size for path in source.parent.iterdir() if path.is_file())
    large = size_before > portolan_onnx.EXTERNAL_DATA_ABOVE

    with recipe.publish_dir("model") as published:
        target = published / "model.onnx"
        try:
            if mode == "float16":
                halve(source, target, parameters)
            else:
                quantize(source, target, parameters, inputs, batch, large)
        except recipe.RecipeError:
            raise
        except Exception as error:
            raise recipe.RecipeError(f"ONNX Runtime {ort.__version__} could not convert the model (mode {mode}): "
                                     f"{type(error).__name__}: {error}") from error
        forget_unused_domains(target)
        after = onnx.load(str(target), load_external_data=False)
        changed = check_changed(before, after, mode)
        got = portolan_onnx.run_session(portolan_onnx.open_session(target), inputs)
        size = sum(path.stat().st_size for path in published.iterdir())
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in after.opset_import)
        recipe.note(f"{changed}; {size_before} bytes before, {size} after; IR version {after.ir_version}, {opsets}")
        for line in portolan_onnx.agreement(got, expected):
            recipe.note(line)
