"""tensorflow/tfjs: a SavedModel through tensorflowjs_converter into model.json and shards, checked whole before publication.

The converter is run as the program that people know, its command line in the log.  It can exit 0 and leave files that no
browser loads, so the manifest is compared with the shards, and a Keras 3 topology is refused here: tfjs cannot read it.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.join(os.environ["PORTOLAN_RECIPE"], "..", "..", "common"))
import portolan_recipe as recipe  # noqa: E402

BYTES = {"float32": 4, "int32": 4, "complex64": 8, "bool": 1, "uint8": 1, "uint16": 2, "float16": 2}
DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_BOOL": "bool", "DT_INT64": "int64", "DT_DOUBLE": "float64",
          "DT_STRING": "string", "DT_UINT8": "uint8", "DT_INT8": "int8", "DT_HALF": "float16"}


def convert(arguments: list[str]) -> None:
    command = ["tensorflowjs_converter", *arguments]
    print("+ " + " ".join(shlex.quote(a) for a in command), flush=True)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    sys.stderr.write(done.stderr)
    sys.stderr.flush()
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raised = [i for i, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception): ", line)]
        last = " ".join(lines[raised[-1] if raised else -1 :]) or "it printed nothing"
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        recipe.fail(f"tensorflowjs_converter refused the model ({how}): {last[:400]}")


def check_shards(directory: Path, model: dict[str, Any]) -> int:
    """Every shard there, and as many bytes as the weights need; returns the total."""
    total = 0
    for group in model.get("weightsManifest", []):
        have = 0
        for name in group["paths"]:
            if "/" in name or not (directory / name).is_file():
                recipe.fail(f"model.json names the shard {name}, which was not written")
            have += (directory / name).stat().st_size
        want = 0
        for weight in group["weights"]:
            dtype = weight.get("quantization", {}).get("dtype", weight["dtype"])
            if dtype not in BYTES:
                want = -1  # strings have no fixed size
                break
            want += BYTES[dtype] * math.prod(weight["shape"])
        if want >= 0 and want != have:
            recipe.fail(f"the shards {', '.join(group['paths'])} hold {have} bytes, their weights need {want}")
        total += have
    return total


def graph_signature(model: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    signature = model.get("signature") or {}
    sides = []
    for side in ("inputs", "outputs"):
        entries = []
        for name, info in (signature.get(side) or {}).items():
            entries.append({
                "name": name, "tensor": info["name"], "dtype": DTYPES.get(info.get("dtype", ""), info.get("dtype", "")),
                "shape": [int(d.get("size", 0)) for d in info.get("tensorShape", {}).get("dim", [])],
            })
        if not entries:
            recipe.fail(f"model.json names no {side} in its signature")
        sides.append(entries)
    return sides[0], sides[1]


def layers_signature(h5: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """tfjs takes a layers model's tensors by position and by layer name; both are the Keras model's own."""
    import portolan_tf as ptf

    model = ptf.load_keras(h5)

    def entries(names: list[str], tensors: list[Any]) -> list[dict[str, Any]]:
        return [{"name": name, "tensor": name, "dtype": tensor.dtype.name,
                 "shape": [-1 if d is None else int(d) for d in tensor.shape]} for name, tensor in zip(names, tensors)]

    return entries(list(model.input_names), list(model.inputs)), entries(list(model.output_names), list(model.outputs))


def find_h5(source: Path) -> Path:
    h5 = source / "assets.extra" / "keras.h5"  # portolan_tf.KERAS_H5; not imported here: TensorFlow takes seconds
    if not h5.is_file():
        recipe.fail("format: layers needs a Keras 2 model with layer topology, exported from tf_keras by keras/saved-model; "
                    "the model among the inputs has none (Keras 3 writes a topology that tfjs cannot read: "
                    "\"An InputLayer should be passed either a batchInputShape or an inputShape\"). Use format: graph, "
                    "or build the model with tf_keras")
    return h5


@recipe.main
def run() -> None:
    given = recipe.params()
    kind, quantize = given.get("format", "graph"), given.get("quantize", "none")
    signature = given.get("signature") or "serving_default"
    source = recipe.inputs_dir() / "model"
    h5 = None
    if kind == "layers":
        h5 = find_h5(source)
    else:
        import portolan_tf as ptf

        ptf.saved_model_input(signature)
    options = [] if quantize == "none" else [f"--quantize_{quantize}=*"]
    with recipe.publish_dir("model") as directory:
        if h5:
            convert(["--input_format=keras", "--output_format=tfjs_layers_model", *options, str(h5), str(directory)])
        else:
            convert(["--input_format=tf_saved_model", "--output_format=tfjs_graph_model",
                     f"--signature_name={signature}", *options, str(source), str(directory)])
        file = directory / "model.json"
        if not file.is_file():
            recipe.fail("tensorflowjs_converter exited well and wrote no model.json")
        model = json.loads(file.read_text(encoding="utf-8"))
        total = check_shards(directory, model)
        inputs, outputs = layers_signature(h5) if h5 else graph_signature(model)
        recipe.write_signature(directory, inputs, outputs, signature=signature, format=kind, quantize=quantize)
    recipe.note(f"tfjs {kind} model: {total} bytes of weights")
