"""Prints the versions of this toolchain as JSON; fails when one of its parts cannot be imported."""

import json
import platform

import numpy
import onnx
import onnxruntime
import onnxruntime.quantization  # the tools have needs of their own

print(json.dumps({
    "python": platform.python_version(),
    "onnxruntime": onnxruntime.__version__,
    "onnx": onnx.__version__,
    "numpy": numpy.__version__,
}))
