"""Starts MLServer on one model directory: writes its two settings files, then becomes `mlserver start`.

Owns the settings and nothing else: one process (no worker pool), REST on 127.0.0.1 at the port asked for, gRPC on a port
that the kernel picks, no metrics endpoint, no tracing. The process that was started is the server itself: a signal to it
is a signal to the engine, and its exit is the engine's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path


def find_model(directory: Path) -> Path:
    """model.onnx, else model.ort, else the only .onnx or .ort there is."""
    for name in ("model.onnx", "model.ort"):
        if (directory / name).is_file():
            return directory / name
    found = sorted(path for path in directory.rglob("*") if path.suffix in (".onnx", ".ort"))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(path.relative_to(directory)) for path in found or sorted(directory.glob("*"))[:8])
    raise SystemExit(f"portolan: error: {len(found)} ONNX models among the model's files ({listed or 'none'}): "
                     "this engine serves model.onnx or model.ort")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", arguments.name):
        raise SystemExit(f"portolan: error: \"{arguments.name}\" is no model name: letters, digits, \".\", \"_\", \"-\"")
    model = find_model(arguments.model_dir.resolve())

    repository = Path(tempfile.mkdtemp(prefix="mlserver-"))
    (repository / "settings.json").write_text(json.dumps({
        "debug": False, "host": "127.0.0.1", "http_port": arguments.port, "grpc_port": 0, "parallel_workers": 0,
        "metrics_endpoint": None, "gzip_enabled": False, "cache_enabled": False,
    }))
    (repository / arguments.name).mkdir()  # the engine wants the folder to be called as the model is
    (repository / arguments.name / "model-settings.json").write_text(json.dumps({
        "name": arguments.name, "implementation": "ort_runtime.OnnxRuntime",
        "platform": "onnx_onnxv1", "versions": ["1"],
        "parameters": {"uri": str(model), "version": "1"},
    }))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MLSERVER_")},
        "PYTHONPATH": str(Path(__file__).resolve().parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OTEL_SDK_DISABLED": "true",
    }
    # The engine reads a file called .env of its working directory: a place of its own, never the repository's.
    os.chdir(repository)
    print(f"portolan: starting MLServer on 127.0.0.1:{arguments.port} with {model.name}", flush=True)
    engine = Path(sys.executable).with_name("mlserver")
    if not engine.exists():
        raise SystemExit(f"portolan: error: no mlserver beside {sys.executable}: start this with the toolchain's python3")
    os.execve(engine, [str(engine), "start", str(repository)], environment)


if __name__ == "__main__":
    main()
