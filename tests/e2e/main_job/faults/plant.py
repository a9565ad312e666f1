"""Changes the exported model as faults in the field do: plant.py none|weights|transposed|constant|normalised|int64."""

import os
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def before_input(model: onnx.ModelProto, op: str, *more: str, **attributes: object) -> None:
    """A node between the graph's input and all that reads it."""
    name = model.graph.input[0].name
    for node in model.graph.node:
        for i, read in enumerate(node.input):
            if read == name:
                node.input[i] = "planted"
    model.graph.node.insert(0, helper.make_node(op, [name, *more], ["planted"], **attributes))


def floats(model: onnx.ModelProto, dimensions: int) -> list[onnx.TensorProto]:
    return [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == dimensions]


def replace(tensor: onnx.TensorProto, value: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))


def main() -> None:
    kind = sys.argv[1]
    model = onnx.load(Path(os.environ["PORTOLAN_INPUTS"]) / "model" / "model.onnx")
    if kind == "weights":  # of another training run, say: the right shape, other numbers
        tensor = max(floats(model, 4), key=lambda t: np.prod(t.dims))
        replace(tensor, numpy_helper.to_array(tensor)[::-1])
    elif kind == "transposed":
        before_input(model, "Transpose", perm=[0, 1, 3, 2])
    elif kind == "constant":
        for tensor in floats(model, 2):
            replace(tensor, np.zeros(tensor.dims, np.float32))
    elif kind == "normalised":  # the mean taken off once more
        before_input(model, "Sub", "mean")
        model.graph.initializer.append(numpy_helper.from_array(np.full((1,), 0.3, np.float32), "mean"))
    elif kind == "int64":
        before_input(model, "Cast", to=TensorProto.FLOAT)
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    elif kind != "none":
        sys.exit(f"plant.py: no fault is called {kind}")
    onnx.checker.check_model(model)
    out = Path(os.environ["PORTOLAN_OUTPUTS"]) / "model"
    out.mkdir(parents=True)
    onnx.save(model, out / "model.onnx")


if __name__ == "__main__":
    main()
