"""What every Python recipe shares: its parameters and directories, its errors, golden sets, publication by rename.

Owns the stage contract's Python side and nothing of any framework: needs the standard library and numpy only.
Use from a recipe's script:

    sys.path.insert(0, os.path.join(os.environ["PORTOLAN_RECIPE"], "..", "..", "common"))
    import portolan_recipe as recipe

    @recipe.main
    def run() -> None:
        with recipe.publish_dir("model") as model:          # outputs/model appears whole, or not at all
            convert(recipe.inputs_dir() / "model", model, recipe.params()["quantize"])

An expected failure is fail("one sentence that says what to change"): exit status 1 and one line in the log that starts with
"portolan: error:". Everything unexpected keeps its traceback, which is evidence.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

MIN_SAMPLES = 8
"""A golden set with fewer real inputs than this proves nothing."""

DTYPES = frozenset(
    "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool bfloat16".split()
)
"""What compare can read. bfloat16 is stored as uint16 and named in the manifest."""


class RecipeError(Exception):
    """An expected failure; its text is the sentence that the log shows."""


def fail(sentence: str) -> NoReturn:
    """End the stage with one sentence (what is wrong, what to change)."""
    raise RecipeError(sentence)


def note(sentence: str) -> None:
    """One progress line in the log, at once."""
    print(f"portolan: {sentence}", flush=True)


def main(run: Callable[[], None]) -> Callable[[], None]:
    """Decorator: run it now when the script is the program, turn RecipeError into its log line and exit status 1."""
    if run.__module__ != "__main__":
        return run
    try:
        run()
    except RecipeError as error:
        cause = error.__cause__
        if cause is not None:
            traceback.print_exception(cause)
        sys.stdout.flush()
        print(f"portolan: error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        traceback.print_exc()
        sys.stdout.flush()
        where = f" ({error.filename})" if error.filename else ""
        print(f"portolan: error: no space left on the device{where}: nothing was published", file=sys.stderr, flush=True)
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    return run


# -- the stage's environment ------------------------------------------------------------------------------------------


def _env_path(name: str) -> Path:
    value = os.environ.get(name)
    if not value:
        fail(f"${name} is not set: a recipe runs inside a stage (portolan exec runs one on this machine)")
    return Path(value)


def params() -> dict[str, Any]:
    """The checked parameters, defaults filled in by whoever started the stage."""
    path = _env_path("PORTOLAN_WITH")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot read the recipe's parameters from {path}: {error}") from error
    if not isinstance(value, dict):
        fail(f"the recipe's parameters in {path} are not a mapping")
    return value


def inputs_dir() -> Path:
    return _env_path("PORTOLAN_INPUTS")


def outputs_dir() -> Path:
    path = _env_path("PORTOLAN_OUTPUTS")
    path.mkdir(parents=True, exist_ok=True)
    return path


def source_path(relative: str, what: str) -> Path:
    """A file or folder of the repository; a stage's working directory is the source snapshot."""
    path = Path(relative)
    if path.is_absolute() or ".." in path.parts:
        fail(f"{what}: \"{relative}\" must be a path inside the repository")
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix == path.suffix) if path.parent.is_dir() else []
        hint = f"; there are: {', '.join(near[:8])}" if near else ""
        fail(f"{what}: \"{relative}\" is not in the repository at this commit{hint}")
    return path


def refuse_lfs_pointer(path: Path) -> None:
    """A pointer that Git LFS did not replace is no weights file, and frameworks' errors about it mislead."""
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            fail(f"\"{path.name}\" is a Git LFS pointer and not the file itself: the LFS object was not fetched")


def load_script(relative: str) -> Any:
    """Import a Python file of the repository, with its own folder importable; its exceptions keep their traceback."""
    path = source_path(relative, "script").resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(re.sub(r"\W", "_", path.stem), path)
    if spec is None or spec.loader is None:
        fail(f"script: \"{relative}\" is not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RecipeError(f"script: \"{relative}\" failed while it was imported: {type(error).__name__}: {error}") from error
    return module


def environment(*modules: str) -> dict[str, str]:
    """Versions of Python, numpy and the named modules that are already imported: what a golden set records."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for name in modules:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            found[name] = str(version)
    return found


# -- publication ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def publish_dir(name: str) -> Iterator[Path]:
    """outputs/NAME, built beside its place and renamed when the block ends well; gone when it does not.

    Refuses empty directories and empty files: an output of zero bytes is a truncated one.
    """
    final = outputs_dir() / name
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    partial.chmod(0o755)
    try:
        yield partial
        # A SavedModel keeps an empty fingerprint or variables folder in some versions: only files are judged.
        files = [p for p in partial.rglob("*") if p.is_file()]
        if not files:
            fail(f"nothing was written for {name}/")
        for path in files:
            if path.stat().st_size == 0 and path.name != "__init__.py":
                fail(f"{name}/{path.relative_to(partial)} is empty: not published")
            path.chmod(path.stat().st_mode | 0o444)  # some tools write through a private temporary file
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """A JSON file by rename; refuses NaN and Infinity, which are not JSON."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.rename(path)


# -- golden sets ------------------------------------------------------------------------------------------------------


def _file_name(name: str, taken: set[str]) -> str:
    """A tensor's name as a file name: tensors are called "a/b:0" too."""
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:80] or "tensor"
    candidate, number = stem, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate.lower())
    return f"{candidate}.npy"


def save_npy(path: Path, array: np.ndarray) -> None:
    """C order, little endian, and read back: a short write is an error here and not three stages later."""
    array = np.ascontiguousarray(array)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    if np.load(path, mmap_mode="r", allow_pickle=False).shape != array.shape:
        fail(f"{path.name} was not written whole")


def check_arrays(arrays: Mapping[str, Any], what: str) -> dict[str, np.ndarray]:
    """Golden inputs or outputs as arrays that compare can read: one sample axis, enough samples, no NaN."""
    if not isinstance(arrays, Mapping) or not arrays:
        fail(f"the golden set has no {what}: a mapping of tensor name to array with at least one entry is needed")
    checked: dict[str, np.ndarray] = {}
    samples: dict[str, int] = {}
    for name, value in arrays.items():
        if not isinstance(name, str) or not name:
            fail(f"golden {what}: {name!r} is no tensor name")
        array = np.asarray(value)
        if array.dtype.name not in DTYPES:
            fail(f"golden {what} \"{name}\" has dtype {array.dtype.name}; supported: {', '.join(sorted(DTYPES))}")
        if array.ndim == 0:
            fail(f"golden {what} \"{name}\" is a scalar; axis 0 must be the samples")
        if array.dtype.kind in "f" or array.dtype.name == "bfloat16":
            bad = ~np.isfinite(array.astype(np.float64))
            if bad.any():
                index = [int(i) for i in np.argwhere(bad)[0]]
                kind = "NaN" if np.isnan(array.astype(np.float64)[tuple(index)]) else "infinite"
                fail(f"golden {what} \"{name}\" has {int(bad.sum())} of {bad.size} values that are NaN or infinite, "
                     f"the first ({kind}) at {index}: such a set cannot judge a converted model")
        checked[name] = array
        samples[name] = array.shape[0]
    counts = sorted(set(samples.values()))
    if len(counts) != 1:
        listed = ", ".join(f"{name}: {count}" for name, count in samples.items())
        fail(f"golden {what} disagree on the number of samples along axis 0 ({listed})")
    if counts[0] < MIN_SAMPLES:
        fail(f"the golden set has {counts[0]} samples; at least {MIN_SAMPLES} real ones are needed")
    return checked


def write_golden(
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    labels: Any = None,
    framework: str = "",
    environment: Mapping[str, str] | None = None,
    precision: str = "fp32",
) -> None:
    """Publish outputs/golden: real inputs, what the original model answered, optional class labels, where it ran."""
    checked_inputs = check_arrays(inputs, "inputs")
    checked_outputs = check_arrays(outputs, "outputs")
    samples = next(iter(checked_inputs.values())).shape[0]
    for name, array in checked_outputs.items():
        if array.shape[0] != samples:
            fail(f"output \"{name}\" has {array.shape[0]} rows for {samples} golden samples: axis 0 must be the samples")
        if array.size > 1 and array.dtype.kind == "f" and (array == array.reshape(-1)[0]).all():
            fail(f"output \"{name}\" is the same value everywhere ({array.reshape(-1)[0]!r}): "
                 "the model or the golden inputs are not the real ones")
    manifest: dict[str, Any] = {
        "version": 1,
        "framework": framework,
        "samples": int(samples),
        "precision": precision,
        "inputs": [],
        "outputs": [],
        "environment": dict(environment or {}),
    }
    with publish_dir("golden") as golden:
        for kind, arrays in (("inputs", checked_inputs), ("outputs", checked_outputs)):
            (golden / kind).mkdir()
            taken: set[str] = set()
            for name, array in arrays.items():
                dtype = array.dtype.name
                file = f"{kind}/{_file_name(name, taken)}"
                save_npy(golden / file, array.view(np.uint16) if dtype == "bfloat16" else array)
                manifest[kind].append({"name": name, "dtype": dtype, "shape": list(array.shape), "file": file})
        if labels is not None:
            label_array = np.asarray(labels)
            if label_array.shape[:1] != (samples,) or label_array.dtype.kind not in "iu":
                fail(f"labels must be {samples} integers, one a sample, not {label_array.dtype} {label_array.shape}")
            save_npy(golden / "labels.npy", label_array)
            manifest["labels"] = "labels.npy"
        write_json(golden / "manifest.json", manifest)
    note(f"golden set: {samples} samples, inputs {', '.join(checked_inputs)}; outputs {', '.join(checked_outputs)}")


def read_golden(directory: Path | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """(inputs, outputs, manifest) of $PORTOLAN_INPUTS/golden or of the directory given."""
    directory = directory or inputs_dir() / "golden"
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail("there is no golden set among the inputs: the export stage must publish golden/manifest.json")
    except ValueError as error:
        raise RecipeError(f"golden/manifest.json is not JSON: {error}") from error
    arrays: list[dict[str, np.ndarray]] = []
    for kind in ("inputs", "outputs"):
        loaded: dict[str, np.ndarray] = {}
        for entry in manifest.get(kind, []):
            try:
                loaded[entry["name"]] = np.load(directory / entry["file"], allow_pickle=False)
            except (OSError, ValueError, KeyError) as error:
                raise RecipeError(f"golden {kind}: cannot read {entry}: {error}") from error
        arrays.append(loaded)
    return arrays[0], arrays[1], manifest


def read_npz(relative: str, what: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz of the repository, by name; pickles inside are refused."""
    path = source_path(relative, what)
    refuse_lfs_pointer(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RecipeError(f"{what}: \"{relative}\" is not a readable .npz: {error}") from error


def write_signature(model: Path, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], **more: Any) -> None:
    """model/signature.json: golden names to the converted model's tensors. Each entry: name, tensor, dtype, shape, …"""
    write_json(model / "signature.json", {"version": 1, "inputs": inputs, "outputs": outputs, **more})
