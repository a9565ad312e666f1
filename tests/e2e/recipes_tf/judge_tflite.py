"""Runs a .tflite with TensorFlow Lite's interpreter over a golden set; prints how far it is. Feeds by signature.json only."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

model, golden = Path(sys.argv[1]), Path(sys.argv[2])
signature = json.loads((model / "signature.json").read_text())
manifest = json.loads((golden / "manifest.json").read_text())
interpreter = tf.lite.Interpreter(str(model / "model.tflite"))
details = {d["name"]: d for d in interpreter.get_input_details()}
results = {d["name"]: d for d in interpreter.get_output_details()}
interpreter.allocate_tensors()
got: dict[str, list[np.ndarray]] = {}
for sample in range(manifest["samples"]):
    for entry in signature["inputs"]:
        recorded = next(i for i in manifest["inputs"] if i["name"] == entry["name"])
        value = np.load(golden / recorded["file"])[sample : sample + 1]
        if "quantization" in entry and entry["dtype"] != "float32":
            limits = np.iinfo(entry["dtype"])
            value = np.round(value / entry["quantization"]["scale"] + entry["quantization"]["zero_point"])
            value = np.clip(value, limits.min, limits.max)
        interpreter.set_tensor(details[entry["tensor"]]["index"], value.astype(entry["dtype"]))
    interpreter.invoke()
    for entry in signature["outputs"]:
        value = interpreter.get_tensor(results[entry["tensor"]]["index"])
        if "quantization" in entry and entry["dtype"] != "float32":
            value = (value.astype(np.float32) - entry["quantization"]["zero_point"]) * entry["quantization"]["scale"]
        got.setdefault(entry["name"], []).append(value)
report = {}
for recorded in manifest["outputs"]:
    want, have = np.load(golden / recorded["file"]), np.concatenate(got[recorded["name"]])
    report[recorded["name"]] = {"max_abs_error": float(np.abs(want - have).max()), "shape": list(have.shape),
                                "top1": float((want.argmax(-1) == have.argmax(-1)).mean())}
print(json.dumps(report))
