"""The repository's app on the phone: app.open(path, threads) gives an interpreter, app.run(interpreter, image) the answer."""

import sys

import portolan_phone as phone

import ai_edge_litert

sys.path.insert(0, "model")
import app  # noqa: E402

NAME = "litert"


def version():
    return ai_edge_litert.__version__


class App:
    backend_name = "xnnpack"
    aliases = {"inputs": {}, "outputs": {}}
    inputs = [phone.Tensor("image", "float32", [-1, 8, 8, 1])]
    outputs = [phone.Tensor("probabilities", "float32", [-1, 10])]

    def __init__(self, interpreter):
        self.interpreter = interpreter

    def run(self, arrays):
        return [app.run(self.interpreter, arrays[0])]


def open(path, threads):  # noqa: A001 - the backend's contract
    return App(app.open(path, threads))
