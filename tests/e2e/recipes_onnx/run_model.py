"""run_model.py MODEL FEED.npz ANSWER.npz: one run of the whole feed through ONNX Runtime, outputs by name."""

import sys

import numpy as np
import onnxruntime as ort

model, feed, answer = sys.argv[1:]
session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
names = [node.name for node in session.get_outputs()]
with np.load(feed) as archive:
    np.savez(answer, **dict(zip(names, session.run(names, dict(archive)))))
