"""Measures the committed weights on the held-out rows and fails when README.md states another accuracy."""

import re
import sys

import export
import model as m
import numpy as np

images, labels = m.rows()
images, labels = images[-m.HELD_OUT:], labels[-m.HELD_OUT:]
right = int((np.argmax(export.build().predict(images, verbose=0), axis=1) == labels).sum())
stated = re.search(r"(\d+) of (\d+) held-out", (m.HERE / "README.md").read_text(encoding="utf-8"))
print(f"{right} of {len(labels)} held-out images right ({right / len(labels):.4f})")
if not stated or (right, len(labels)) != (int(stated[1]), int(stated[2])):
    sys.exit(f"README.md states {stated[0] if stated else 'nothing'}")
