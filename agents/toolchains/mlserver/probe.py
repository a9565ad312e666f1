"""Prints the versions of this toolchain as JSON; fails when one of its parts cannot be imported."""

import json
import platform

import mlserver
import mlserver.cli.main  # everything that `mlserver start` imports
import numpy
import onnxruntime

print(json.dumps({
    "python": platform.python_version(),
    "mlserver": mlserver.__version__,
    "onnxruntime": onnxruntime.__version__,
    "numpy": numpy.__version__,
}))
