"""ONNX Runtime on the phone: one session on the CPU provider."""

import portolan_phone as phone

import onnxruntime as ort

NAME = "onnxruntime"
TYPES = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}  # the rest are numpy's own words


def version():
    return ort.__version__


def tensor(info):
    kind = info.type[len("tensor("):-1] if info.type.startswith("tensor(") else info.type
    return phone.Tensor(info.name, TYPES.get(kind, kind), [d if isinstance(d, int) else -1 for d in info.shape])


class Model:
    backend_name = "CPUExecutionProvider"
    aliases = {}

    def __init__(self, path, threads):
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors: warnings about a GPU that is not there are no finding
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [tensor(i) for i in self.session.get_inputs()]
        self.outputs = [tensor(o) for o in self.session.get_outputs()]

    def run(self, arrays):
        return self.session.run(None, {info.name: array for info, array in zip(self.inputs, arrays)})


def open(path, threads):  # noqa: A001 - the backend's contract
    return Model(path, threads)
