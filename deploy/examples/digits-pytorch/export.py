"""What recipe pytorch/onnx asks for: the module with its weights, and golden inputs that training never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from model import Digits

HERE = Path(__file__).parent


def load() -> torch.nn.Module:
    model = Digits()
    model.load_state_dict(torch.load(HERE / "weights.pt", map_location="cpu"))
    return model.eval()


def golden() -> tuple[dict[str, np.ndarray], np.ndarray]:
    with np.load(HERE / "samples.npz") as samples:
        return {"image": samples["image"]}, samples["labels"]
