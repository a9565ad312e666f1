"""Fails unless weights.pt still has the accuracy that the README states, on rows that training never saw.

    python3 check.py        # exit status 0, or 1 and a sentence
"""

from __future__ import annotations

import sys

import torch
from data import split
from export import golden, load

STATED = 0.98
"""Of 450 held-out rows."""


def main() -> None:
    _, images, _, labels = split()
    with torch.no_grad():
        right = int((load()(torch.from_numpy(images)).argmax(1).numpy() == labels).sum())
    print(f"accuracy on held-out rows: {right} of {len(labels)} = {right / len(labels):.4f}")
    if right / len(labels) < STATED:
        sys.exit(f"weights.pt answers {right / len(labels):.4f} of the held-out rows; the README states at least {STATED}")
    inputs, golden_labels = golden()
    if not (inputs["image"] == images[:64]).all() or not (golden_labels == labels[:64]).all():
        sys.exit("samples.npz is not the first 64 held-out rows: run train.py again")


if __name__ == "__main__":
    main()
