"""pytorch/onnx: a module of the repository becomes model/model.onnx and a golden set of its own answers.

Owns the order of proof: the module answers the golden inputs (twice, and one by one), it is exported, the ONNX checker and
shape inference read the result, and ONNX Runtime must give the module's answers back. torch.onnx.export follows one
execution: what it could not follow it only warns of, so each TracerWarning is kept as a finding, and named as the likely
cause when the answers differ. Nothing is published before all of that has passed.
"""

from __future__ import annotations

import inspect
import json
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.join(os.environ.get("PORTOLAN_RECIPE", os.path.dirname(__file__)), "..", "..", "common"))
import numpy as np
import onnx
import portolan_onnx
import portolan_recipe as recipe
import torch

OPSETS = range(7, 18)


def torch_release() -> str:
    """torch's version as the toolchain knows it: Debian's build of 1.13.1 calls itself 1.13.0a0."""
    try:
        return json.loads((Path(sys.prefix) / "versions.json").read_text(encoding="utf-8"))["torch"]
    except (OSError, ValueError, KeyError):
        return torch.__version__


TORCH = torch_release()
WEIGHTS = {".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz", ".npy", ".pkl", ".onnx", ".h5"}
Arrays = dict[str, np.ndarray]


def call_script(module: Any, script: str, name: str) -> Any:
    """load() or golden() of the repository's script; its exception is evidence and becomes a sentence."""
    function = getattr(module, name, None)
    if not callable(function):
        recipe.fail(f"script: \"{script}\" has no function {name}(); this recipe calls load() -> torch.nn.Module and "
                    "golden() -> {input name: array}")
    try:
        return function()
    except Exception as error:
        pointers = lfs_pointers()
        why = f"; {', '.join(pointers)} is a Git LFS pointer and not the weights: the LFS object was not fetched" if pointers else ""
        if not why and "CUDA" in str(error) and "map_location" in str(error):
            why = "; this host has no GPU: pass map_location=\"cpu\" to torch.load"
        raise recipe.RecipeError(f"{name}() of \"{script}\" failed: {type(error).__name__}: {error}{why}") from error


def lfs_pointers() -> list[str]:
    """Weight files of the snapshot that are still Git LFS pointers (at most three names)."""
    found: list[str] = []
    for path in sorted(Path(".").rglob("*")):
        if path.suffix in WEIGHTS and path.is_file() and path.stat().st_size < 1024:
            if path.read_bytes().startswith(b"version https://git-lfs"):
                found.append(str(path))
    return found[:3]


def golden_inputs(module: Any, parameters: dict[str, Any]) -> tuple[Arrays, Any]:
    """Checked golden inputs in forward()'s order, and the labels if there are some."""
    script, file, order = parameters["script"], parameters.get("golden"), parameters.get("inputs") or []
    labels = None
    if file:
        where, golden = f"\"{file}\"", recipe.read_npz(file, "golden")
    else:
        where, golden = f"golden() of \"{script}\"", call_script(module, script, "golden")
    if isinstance(golden, tuple) and len(golden) == 2:
        golden, labels = golden
    if not isinstance(golden, Mapping):
        recipe.fail(f"{where} returned {type(golden).__name__}; a mapping of input name to array, or (mapping, labels) is needed")
    arrays = {name: value.detach().numpy() if isinstance(value, torch.Tensor) else value for name, value in golden.items()}
    if labels is None and "labels" not in order:
        labels = arrays.pop("labels", None)
    inputs = recipe.check_arrays(arrays, "inputs")
    for name, array in inputs.items():
        if array.dtype.name in ("uint16", "uint32", "uint64"):
            recipe.fail(f"golden input \"{name}\" is {array.dtype.name}, which torch {TORCH} has no tensor for")
    if order:
        if sorted(order) != sorted(inputs):
            recipe.fail(f"inputs says {', '.join(order)}, but {where} gives {', '.join(inputs)}")
        inputs = {name: inputs[name] for name in order}
    return inputs, labels


class Positional(torch.nn.Module):
    """The module as the exporter wants it: tensors in by position, a flat tuple of tensors out, names kept beside it."""

    def __init__(self, module: torch.nn.Module, inputs: list[str], by_keyword: bool) -> None:
        super().__init__()
        self.module = module
        self.inputs = inputs
        self.by_keyword = by_keyword
        self.outputs: list[str] = []
        self.returns_mapping = False

    def to_export(self) -> torch.nn.Module:
        """The bare module where that gives the same graph: its nodes then carry the names of its own parts."""
        in_order = not self.by_keyword or list(inspect.signature(self.module.forward).parameters)[:len(self.inputs)] == self.inputs
        return self.module if in_order and not self.returns_mapping else self

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = self.module(**dict(zip(self.inputs, tensors))) if self.by_keyword else self.module(*tensors)
        if isinstance(answer, Mapping):
            names, values = [str(key) for key in answer], list(answer.values())
        elif isinstance(answer, (tuple, list)):
            names, values = ["output"] + [f"output_{i}" for i in range(1, len(answer))], list(answer)
        else:
            names, values = ["output"], [answer]
        for name, value in zip(names, values):
            if not isinstance(value, torch.Tensor):
                recipe.fail(f"forward() returns {type(value).__name__} as \"{name}\"; tensors, a tuple or a dict of tensors are needed")
        self.outputs, self.returns_mapping = names, isinstance(answer, Mapping)
        return tuple(values)


def takes_keywords(module: torch.nn.Module, names: list[str]) -> bool:
    """Whether golden()'s names are forward()'s own; one input always goes by position."""
    try:
        parameters = set(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return False
    known = [name for name in names if name in parameters]
    if len(names) > 1 and known and len(known) < len(names):
        recipe.fail(f"the golden set names the inputs {', '.join(names)}, but forward() takes {', '.join(sorted(parameters))}: "
                    "use forward()'s names for all of them, or for none")
    return len(known) == len(names)


def answers(module: Positional, inputs: Arrays, batch: int) -> list[np.ndarray]:
    """What the original module says to the golden inputs, `batch` samples at a time."""
    samples = next(iter(inputs.values())).shape[0]
    pieces: list[tuple[torch.Tensor, ...]] = []
    for start in range(0, samples, batch):
        tensors = [torch.from_numpy(np.ascontiguousarray(array[start:start + batch])) for array in inputs.values()]
        try:
            pieces.append(module(*tensors))
        except recipe.RecipeError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{name} {list(t.shape)} {t.dtype}" for name, t in zip(inputs, tensors))
            raise recipe.RecipeError(f"the module cannot run on its golden inputs ({shapes}): "
                                     f"{type(error).__name__}: {error}") from error
    arrays: list[np.ndarray] = []
    for i, name in enumerate(module.outputs):
        values = [piece[i].detach() for piece in pieces]
        if any(value.dtype == torch.bfloat16 for value in values):
            recipe.fail(f"output \"{name}\" is bfloat16, which ONNX Runtime cannot compute on a CPU: convert the module by .float()")
        if any(value.dim() == 0 or value.shape[0] != min(batch, samples) for value in values):
            recipe.fail(f"output \"{name}\" has shape {list(values[0].shape)} for {min(batch, samples)} samples: "
                        "axis 0 must be the samples (a squeeze() or view() without the batch axis?)")
        arrays.append(torch.cat(values).numpy())
    return arrays


def prove_original(module: Positional, inputs: Arrays, dynamic: bool, atol: float, rtol: float) -> Arrays:
    """Golden outputs, after the module showed that it repeats itself and that samples do not lean on one another."""
    samples = next(iter(inputs.values())).shape[0]
    reference = answers(module, inputs, samples if dynamic else 1)
    again = answers(module, inputs, samples if dynamic else 1)
    for name, first, second in zip(module.outputs, reference, again):
        if not np.array_equal(first, second, equal_nan=True):
            worst = float(np.nanmax(np.abs(first.astype(np.float64) - second.astype(np.float64))))
            recipe.fail(f"the module answers the same input differently each time (output \"{name}\", by up to {worst:.6g}): "
                        "a dropout or a random operator is active, so nothing can be compared with it")
    outputs = recipe.check_arrays(dict(zip(module.outputs, reference)), "outputs")
    if dynamic:
        few = {name: array[:2] for name, array in inputs.items()}
        for name, alone in zip(module.outputs, answers(module, few, 1)):
            wrong = portolan_onnx.difference(name, alone, outputs[name][:2], atol, rtol)
            if wrong:
                recipe.fail(f"a sample is answered differently alone than in a batch: {wrong}; make the module independent "
                            "of its batch, or set dynamic_batch: false")
    return outputs


def export(module: Positional, inputs: Arrays, outputs: list[str], opset: int, dynamic: bool, path: Path) -> list[str]:
    """torch.onnx.export to `path`; returns what the tracer warned of, one line each."""
    traced = [torch.from_numpy(np.ascontiguousarray(array[:2 if dynamic else 1])) for array in inputs.values()]
    names = [*inputs, *outputs]
    found: list[str] = []
    show = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
        show(message, category, filename, lineno, *rest)  # torch's own words stay in the log
        if category.__name__ == "TracerWarning":
            where = os.path.relpath(filename) if filename.startswith(os.getcwd()) else filename
            found.append(f"{where}:{lineno}: {str(message).split('. ')[0]}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", torch.jit.TracerWarning)
        warnings.showwarning = keep
        try:
            torch.onnx.export(module.to_export(), tuple(traced), str(path), opset_version=opset, input_names=list(inputs),
                              output_names=outputs,
                              dynamic_axes={name: {0: "batch"} for name in names} if dynamic else None)
        except torch.onnx.errors.UnsupportedOperatorError as error:
            raise recipe.RecipeError(f"the model cannot be exported: {str(error).split(' Please feel free')[0]} "
                                     f"(torch {TORCH}, opset {opset})") from error
        except OSError:
            raise  # the disk is full, most likely: recipe.main has the sentence
        except Exception as error:
            raise recipe.RecipeError(f"torch {TORCH} could not export the model to opset {opset}: "
                                     f"{type(error).__name__}: {error}") from error
    return found


def check_exported(path: Path, final: Path) -> None:
    """The ONNX checker with full shape inference, then the file that is published (one file of weights if it is large)."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(str(path))
    except Exception as error:
        raise recipe.RecipeError(f"the exported file is no valid ONNX model: {error}") from error
    portolan_onnx.save_model(model, final)
    opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
    size = sum(file.stat().st_size for file in final.parent.iterdir())
    recipe.note(f"exported {len(model.graph.node)} nodes, IR version {model.ir_version}, {opsets}, {size} bytes")


def compare_exported(path: Path, inputs: Arrays, outputs: Arrays, dynamic: bool, atol: float, rtol: float, found: list[str]) -> None:
    """ONNX Runtime on the exported file must answer as the module did, in one batch and one by one."""
    session = portolan_onnx.open_session(path)
    lost = [name for name in inputs if name not in {node.name for node in session.get_inputs()}]
    if lost:
        recipe.fail(f"the exported model has no input \"{lost[0]}\": the module does not use it; leave it out of the golden set")
    for batch in (None, 1) if dynamic else (None,):
        got = portolan_onnx.run_session(session, inputs, batch)
        for name, expected in outputs.items():
            if name not in got:
                recipe.fail(f"the exported model has no output \"{name}\"; it has {', '.join(got)}")
            wrong = portolan_onnx.difference(name, got[name], expected, atol, rtol)
            if wrong:
                how = "one sample at a time" if batch == 1 else "the golden set in one batch" if dynamic else "one by one"
                cause = f"; the tracer warned of {len(found)} place(s) it could not follow, the first {found[0]}" if found else ""
                recipe.fail(f"the exported model does not answer as the module does ({how}): {wrong}{cause}")


@recipe.main
def run() -> None:
    parameters = recipe.params()
    script, opset, dynamic = parameters["script"], parameters.get("opset", 17), parameters.get("dynamic_batch", True)
    atol, rtol = float(parameters.get("atol", 1e-4)), float(parameters.get("rtol", 1e-3))
    if opset not in OPSETS:
        recipe.fail(f"opset {opset} is not among those that torch {TORCH} can export "
                    f"({OPSETS.start} to {OPSETS.stop - 1})")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)

    loaded = recipe.load_script(script)
    module = call_script(loaded, script, "load")
    if not isinstance(module, torch.nn.Module):
        recipe.fail(f"load() of \"{script}\" returned {type(module).__name__}; a torch.nn.Module is needed")
    if any(part.training for part in module.modules()):
        recipe.note("finding: load() returned the module in training mode; it is exported in eval mode")
        module.eval()
    module.cpu()
    inputs, labels = golden_inputs(loaded, parameters)

    wanted = parameters.get("outputs") or []
    with torch.no_grad():
        positional = Positional(module, list(inputs), takes_keywords(module, list(inputs)))
        outputs = prove_original(positional, inputs, dynamic, atol, rtol)
        if wanted and len(wanted) != len(outputs):
            recipe.fail(f"outputs has {len(wanted)} names ({', '.join(wanted)}); forward() returns {len(outputs)} tensors")
        clash = set(wanted or outputs) & set(inputs)
        if clash:
            recipe.fail(f"\"{sorted(clash)[0]}\" is the name of an input and of an output: set outputs")

        with tempfile.TemporaryDirectory() as scratch, recipe.publish_dir("model") as published:
            outputs = dict(zip(wanted, outputs.values())) if wanted else outputs
            found = export(positional, inputs, list(outputs), opset, dynamic, Path(scratch) / "model.onnx")
            for line in found:
                recipe.note(f"finding: TracerWarning at {line}")
            check_exported(Path(scratch) / "model.onnx", published / "model.onnx")
            compare_exported(published / "model.onnx", inputs, outputs, dynamic, atol, rtol, found)
    precisions = {torch.float16: "fp16", torch.bfloat16: "bf16"}
    kinds = {parameter.dtype for parameter in module.parameters()}
    recipe.write_golden(inputs, outputs, labels, framework=f"torch {TORCH}",
                        environment={**recipe.environment("onnx", "onnxruntime"), "torch": TORCH},
                        precision=next((word for kind, word in precisions.items() if kind in kinds), "fp32"))
