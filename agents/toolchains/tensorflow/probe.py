"""Prints the versions of this toolchain as JSON, from the packages' metadata: importing TensorFlow would take seconds."""

import importlib.metadata
import json
import platform

versions = {"python": platform.python_version()}
for name in ("tensorflow-cpu", "keras", "tf-keras", "tensorflowjs", "numpy", "h5py", "protobuf"):
    versions[name.removesuffix("-cpu")] = importlib.metadata.version(name)
print(json.dumps(versions))
