"""What recipes around ONNX share: open a model with the real ONNX Runtime, run a golden set through it, say what differs.

Owns no parameters and publishes nothing. Every refusal of the runtime becomes one sentence with the runtime's own words in
it; sessions run on one thread, so that the same model gives the same bits on every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import portolan_recipe as recipe

EXTERNAL_DATA_ABOVE = 1_900_000_000
"""One protobuf message ends at 2 GiB: weights of a larger model go into a file beside it."""

MODEL_NAMES = ("model.onnx", "model.ort")


def find_model(directory: Path, suffixes: tuple[str, ...] = (".onnx",)) -> Path:
    """The one model among the inputs: model.onnx (or model.ort), else the only file with one of the suffixes."""
    found = [directory / name for name in MODEL_NAMES if Path(name).suffix in suffixes and (directory / name).is_file()][:1]
    found = found or sorted(path for path in directory.rglob("*") if path.suffix in suffixes and path.is_file())
    if len(found) != 1:
        there = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
        recipe.fail(f"{len(found) or 'no'} files that end in {' or '.join(suffixes)} among the model's files "
                    f"({', '.join(there[:8]) or 'there are none'}): this recipe takes model.onnx of an export stage")
    with found[0].open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            recipe.fail(f"{found[0].name} is a Git LFS pointer and not the model: the LFS object was not fetched")
    return found[0]


def open_session(path: Path, *, optimize: bool = True) -> ort.InferenceSession:
    """A session on the CPU; an unknown operator, a wrong type or a broken file is one sentence."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise recipe.RecipeError(f"ONNX Runtime {ort.__version__} cannot load {path.name}: {_first_line(error)}") from error


def feed_for(session: ort.InferenceSession, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The golden inputs that the model asks for, in its order."""
    for node in session.get_inputs():
        if node.name not in inputs:
            recipe.fail(f"the golden set has no input \"{node.name}\" that the model needs; it has {', '.join(inputs)}")
    return {node.name: inputs[node.name] for node in session.get_inputs()}


def run_session(session: ort.InferenceSession, inputs: Mapping[str, np.ndarray], batch: int | None = None) -> dict[str, np.ndarray]:
    """All samples through the model: in one go, or in pieces of `batch` (a model with a fixed batch size names its own)."""
    samples = next(iter(inputs.values())).shape[0]
    fixed = [node.shape[0] for node in session.get_inputs() if node.shape and isinstance(node.shape[0], int)]
    step = batch or (fixed[0] if fixed else samples)
    if samples % step:
        recipe.fail(f"the model takes exactly {step} samples at a time and the golden set has {samples}")
    names = [node.name for node in session.get_outputs()]
    pieces: list[list[np.ndarray]] = []
    for start in range(0, samples, step):
        feed = {name: array[start:start + step] for name, array in inputs.items()}
        try:
            pieces.append(session.run(names, feed))
        except Exception as error:
            raise recipe.RecipeError(f"ONNX Runtime {ort.__version__} loads the model but cannot run it on golden samples "
                                     f"{start}..{start + step - 1}: {_first_line(error)}") from error
    return {name: np.concatenate([np.atleast_1d(piece[i]) for piece in pieces]) for i, name in enumerate(names)}


def difference(name: str, got: np.ndarray, expected: np.ndarray, atol: float, rtol: float) -> str | None:
    """What is wrong with one output by |got - expected| <= atol + rtol * |expected|, as words; None when nothing is."""
    if got.dtype != expected.dtype:
        return f"output \"{name}\" has dtype {got.dtype} and not {expected.dtype}"
    if got.shape != expected.shape:
        return f"output \"{name}\" has shape {list(got.shape)} and not {list(expected.shape)}"
    left, right = got.astype(np.float64), expected.astype(np.float64)
    error = np.abs(left - right)
    wrong = ~(error <= atol + rtol * np.abs(right))  # NaN is wrong too
    if not wrong.any():
        return None
    index = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    place = [int(i) for i in index]
    return (f"output \"{name}\": {int(wrong.sum())} of {wrong.size} values differ by more than {atol:g} + {rtol:g}*|expected|, "
            f"the worst at {place}: expected {right[index]:.6g}, got {left[index]:.6g}")


def agreement(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A converted model's answers against the original's: a line for each output, a failure for one that cannot be compared."""
    for name, reference in expected.items():
        value = got.get(name)
        if value is None or value.shape != reference.shape:
            found = "missing" if value is None else f"of shape {list(value.shape)}"
            recipe.fail(f"after the conversion output \"{name}\" is {found}; the original gave {list(reference.shape)}")
        if value.dtype.kind != "f":
            continue
        if not np.isfinite(value).all():
            recipe.fail(f"after the conversion output \"{name}\" has {int((~np.isfinite(value)).sum())} of {value.size} values "
                        "that are NaN or infinite on the golden inputs")
        words = f"\"{name}\" differs from the original by at most {np.abs(value.astype(np.float64) - reference).max():.4g}"
        if value.ndim == 2 and value.shape[1] > 1:
            words += f", top-1 agreement {(value.argmax(1) == reference.argmax(1)).mean():.4f}"
        yield words


def save_model(model: Any, path: Path) -> None:
    """Write an onnx.ModelProto; weights beside it in path + ".data" when one message cannot hold them."""
    import onnx  # not every toolchain that runs models has it

    if model.ByteSize() <= EXTERNAL_DATA_ABOVE:
        onnx.save_model(model, str(path))
        return
    onnx.save_model(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True,
                    location=f"{path.name}.data", size_threshold=1024)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:600]
