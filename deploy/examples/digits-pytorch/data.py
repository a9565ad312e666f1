"""scikit-learn's handwritten digits, always split the same way: 1347 rows to learn from, 450 that training never sees."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, held-out images, training labels, held-out labels); images [N, 1, 8, 8], float32, 0..1."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return tuple(train_test_split(images, digits.target.astype(np.int64), test_size=450, stratify=digits.target, random_state=7))
