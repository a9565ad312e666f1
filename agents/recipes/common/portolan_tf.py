"""What the TensorFlow recipes share: Keras models of both generations, SavedModels and their signatures.

Owns: reading a SavedModel's signatures without loading it, loading .keras and .h5 files with the Keras that wrote them,
saving a Keras model with one named signature whose input and output names are the model's own.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import portolan_recipe as recipe
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

KERAS_H5 = Path("assets.extra") / "keras.h5"
"""Where an exported SavedModel carries a Keras 2 model for converters that need the layers (TF.js layers models)."""


# -- SavedModels ------------------------------------------------------------------------------------------------------


def is_saved_model(directory: Path) -> bool:
    return (directory / "saved_model.pb").is_file()


def signatures(directory: Path) -> dict[str, Any]:
    """SignatureDef by name of the meta graph tagged "serve"; internal ones left out."""
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((directory / "saved_model.pb").read_bytes())
    except Exception as error:
        raise recipe.RecipeError(f"saved_model.pb is not a SavedModel (truncated?): {error}") from error
    for graph in proto.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return {k: v for k, v in graph.signature_def.items() if not k.startswith("__saved_model")}
    tags = [list(graph.meta_info_def.tags) for graph in proto.meta_graphs]
    recipe.fail(f"the SavedModel has no meta graph tagged \"serve\"; its tags: {tags}")


def signature(directory: Path, name: str) -> Any:
    """The named SignatureDef, or a sentence with the names that are there."""
    found = signatures(directory)
    if name not in found:
        there = ", ".join(f"\"{k}\"" for k in sorted(found)) or "none"
        recipe.fail(f"the SavedModel has no signature \"{name}\"; it has: {there}. Set `signature:` or export with that name")
    if not found[name].inputs or not found[name].outputs:
        recipe.fail(f"signature \"{name}\" has no inputs or no outputs")
    return found[name]


def saved_model_input(name: str) -> Path:
    """The SavedModel among this stage's inputs whose signature `name` exists."""
    directory = recipe.inputs_dir() / "model"
    if not directory.is_dir():
        recipe.fail("there is no model among the inputs: the stage before this one published none")
    if not is_saved_model(directory):
        there = ", ".join(sorted(p.name for p in directory.iterdir())[:8]) or "nothing"
        recipe.fail(f"the model among the inputs is not a SavedModel (no saved_model.pb; there is: {there}); "
                    "export with keras/saved-model or write a SavedModel to $PORTOLAN_OUTPUTS/model")
    signature(directory, name)
    return directory


# -- Keras ------------------------------------------------------------------------------------------------------------


def keras_generation(model: Any) -> str:
    """"keras 3.x" or "tf_keras 2.x": which library built this model object."""
    module = type(model).__mro__
    for base in module:
        root = base.__module__.split(".")[0]
        if root in ("keras", "tf_keras") and base.__name__ in ("Model", "Functional", "Sequential"):
            import importlib

            return f"{root} {importlib.import_module(root).__version__}"
    recipe.fail(f"{type(model).__module__}.{type(model).__qualname__} is not a Keras model")


def is_legacy(model: Any) -> bool:
    return keras_generation(model).startswith("tf_keras")


def _file_version(path: Path) -> str:
    """keras_version that a .keras or .h5 file names, "" if none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "")
        return version.decode() if isinstance(version, bytes) else str(version)


def load_keras(path: Path) -> Any:
    """A .keras or .h5 file, by the Keras generation that wrote it (a Keras 2 file does not always load in Keras 3)."""
    recipe.refuse_lfs_pointer(path)
    try:
        version = _file_version(path)
    except Exception as error:
        raise recipe.RecipeError(f"{path.name} is neither a .keras archive nor an HDF5 file: {error}") from error
    if version.startswith(("1.", "2.")):
        import tf_keras as library
    else:
        import keras as library
    recipe.note(f"loading {path.name}, written by Keras {version or 'unknown'}, with {library.__name__} {library.__version__}")
    try:
        return library.models.load_model(path, compile=False)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise recipe.RecipeError(f"{library.__name__} {library.__version__} cannot load {path.name}: {first}") from error


def declared_inputs(model: Any) -> list[tuple[str, tuple[int | None, ...], str]] | None:
    """(name, shape, dtype) of each input in order; None when the model declares none (a subclassed model)."""
    try:
        tensors = list(model.inputs or [])
    except (AttributeError, ValueError):
        return None
    if not tensors:
        return None
    names = list(getattr(model, "input_names", None) or [])
    declared = []
    for number, tensor in enumerate(tensors):
        name = names[number] if number < len(names) else tensor.name.split(":")[0]
        declared.append((name, tuple(tensor.shape), str(getattr(tensor.dtype, "name", tensor.dtype))))
    return declared


def declared_outputs(model: Any) -> list[str]:
    """Names of the outputs in order, the layers' own; empty when the model does not say."""
    for holder in (model, getattr(model, "_functional", None)):
        names = getattr(holder, "output_names", None)
        if names:
            return [str(n) for n in names]
    return []


def fit_inputs(model: Any, golden: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Golden inputs in the model's order, names, shapes and dtypes; what does not fit is an error that says both sides.

    float64 given for float32 and int64 for int32 are numpy's defaults and are converted when no value changes kind.
    """
    declared = declared_inputs(model)
    if declared is None:
        return dict(golden)
    expected = [name for name, _, _ in declared]
    if sorted(expected) != sorted(golden):
        recipe.fail(f"golden inputs are named {sorted(golden)}, the model's inputs {sorted(expected)}: use the model's names")
    fitted: dict[str, np.ndarray] = {}
    for name, shape, dtype in declared:
        array = golden[name]
        if len(array.shape) != len(shape) or any(w is not None and w != g for w, g in zip(shape[1:], array.shape[1:])):
            recipe.fail(f"golden input \"{name}\" has shape {list(array.shape)}, the model wants "
                        f"{['samples', *shape[1:]]}".replace("'", ""))
        if array.dtype.name != dtype:
            if (array.dtype.name, dtype) not in (("float64", "float32"), ("int64", "int32")):
                recipe.fail(f"golden input \"{name}\" is {array.dtype.name}, the model wants {dtype}")
            with np.errstate(over="ignore"):
                converted = array.astype(dtype)
            if not np.isfinite(converted).all() or (dtype == "int32" and (converted != array).any()):
                recipe.fail(f"golden input \"{name}\" is {array.dtype.name} with values that do not fit {dtype}")
            recipe.note(f"golden input \"{name}\": {array.dtype.name} converted to {dtype}")
            array = converted
        fitted[name] = array
    return fitted


def call(model: Any, inputs: Mapping[str, Any], names: list[str] | None = None) -> dict[str, Any]:
    """The model's answer by output name, in inference mode. `names`: the caller's own output names, in order."""
    structure = getattr(model, "input", None) if declared_inputs(model) else None
    values = list(inputs.values())
    if isinstance(structure, Mapping) or (structure is None and len(values) > 1):
        argument: Any = dict(inputs)
    elif isinstance(structure, (list, tuple)) and (len(values) > 1 or len(structure) == 1):
        argument = values
    else:
        argument = values[0] if len(values) == 1 else values
    result = model(argument, training=False)
    if isinstance(result, Mapping):
        found = {str(k): v for k, v in result.items()}
    else:
        tensors = list(result) if isinstance(result, (list, tuple)) else [result]
        declared = declared_outputs(model)
        if len(declared) != len(tensors) or len(set(declared)) != len(declared):
            declared = [f"output_{i}" for i in range(len(tensors))]
        found = dict(zip(declared, tensors))
    if names:
        if len(names) != len(found):
            recipe.fail(f"`outputs:` names {len(names)} outputs, the model has {len(found)}: {', '.join(found)}")
        found = dict(zip(names, found.values()))
    return found


def input_specs(model: Any, golden: Mapping[str, np.ndarray]) -> dict[str, tf.TensorSpec]:
    """One TensorSpec an input: the declared shape (free dimensions stay free), else the golden one with a free axis 0."""
    declared = {name: (shape, dtype) for name, shape, dtype in declared_inputs(model) or []}
    specs = {}
    for name, array in golden.items():
        shape, dtype = declared.get(name, ((None, *array.shape[1:]), array.dtype.name))
        specs[name] = tf.TensorSpec((None, *shape[1:]) if shape[0] is None else shape, tf.as_dtype(dtype), name=name)
    return specs


def save(model: Any, golden: Mapping[str, np.ndarray], directory: Path, name: str, names: list[str] | None = None) -> None:
    """Write `directory` as a SavedModel whose only public signature is `name`, with the model's own input and output names."""
    specs = input_specs(model, golden)

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            # Keras 3 wraps its variables. Reached only through the wrapper they are saved and load again, but the TFLite
            # converter does not find their values and writes a model without weights; so name the plain ones too.
            self.weights = [getattr(v, "value", v) if not isinstance(v, tf.Variable) else v for v in model.variables]

    served = Served()
    order = list(specs)

    def answer(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = dict(zip(order, args)) | kwargs
        return call(model, {key: given[key] for key in order}, names)

    concrete = tf.function(answer, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(served, str(directory), signatures={name: concrete})
