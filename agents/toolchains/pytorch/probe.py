"""Prints the versions of this toolchain as JSON; fails when one of its parts cannot be imported."""

import json
import platform

import numpy
import onnx
import onnxruntime
import sklearn
import torch

# Debian's build calls itself 1.13.0a0, though it is the 1.13.1 release: the package's version is the true one.
torch_version = torch.__version__
try:
    with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as status:
        for paragraph in status.read().split("\n\n"):
            if paragraph.startswith("Package: python3-torch\n"):
                torch_version = paragraph.split("\nVersion: ", 1)[1].split("\n", 1)[0].split("+")[0].split("-")[0]
except (OSError, IndexError):
    pass

print(json.dumps({
    "python": platform.python_version(),
    "torch": torch_version,
    "onnx": onnx.__version__,
    "onnxruntime": onnxruntime.__version__,
    "numpy": numpy.__version__,
    "scikit-learn": sklearn.__version__,
}))
