"""LiteRT on the phone: the interpreter with its XNNPACK kernels."""

import portolan_phone as phone

import numpy as np
import ai_edge_litert
from ai_edge_litert.interpreter import Interpreter

NAME = "litert"


def version():
    return ai_edge_litert.__version__


def tensor(details):
    scales, zeros = details["quantization_parameters"]["scales"], details["quantization_parameters"]["zero_points"]
    free = details.get("shape_signature", details["shape"])
    shape = [int(d) for d in (free if len(free) else details["shape"])]
    one = len(scales) == 1
    return phone.Tensor(details["name"], np.dtype(details["dtype"]).name, shape, float(scales[0]) if one else 0.0, int(zeros[0]) if one else 0)


class Model:
    backend_name = "xnnpack"

    def __init__(self, path, threads):
        self.interpreter = Interpreter(model_path=path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.aliases = {"inputs": {}, "outputs": {}}
        names = {d["index"]: d["name"] for d in self.interpreter.get_tensor_details()}
        for signature in list(self.interpreter.get_signature_list())[:1]:
            runner = self.interpreter.get_signature_runner(signature)
            self.aliases["inputs"] = {n: names[d["index"]] for n, d in runner.get_input_details().items()}
            self.aliases["outputs"] = {n: names[d["index"]] for n, d in runner.get_output_details().items()}
        self.read_details()

    def read_details(self):
        self.input_details, self.output_details = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.inputs, self.outputs = [tensor(d) for d in self.input_details], [tensor(d) for d in self.output_details]

    def fit(self, arrays):
        """Free dimensions take the size of what is fed; fixed ones are the interpreter's to refuse."""
        changed = False
        for array, details, info in zip(arrays, self.input_details, self.inputs):
            if list(array.shape) != list(details["shape"]) and -1 in info.shape:
                self.interpreter.resize_tensor_input(details["index"], array.shape)
                changed = True
        if changed:
            self.interpreter.allocate_tensors()
            self.input_details, self.output_details = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def run(self, arrays):
        self.fit(arrays)
        for array, details in zip(arrays, self.input_details):
            self.interpreter.set_tensor(details["index"], array)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(d["index"]) for d in self.output_details]


def open(path, threads):  # noqa: A001 - the backend's contract
    return Model(path, threads)
