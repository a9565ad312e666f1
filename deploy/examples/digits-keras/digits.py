"""The data and the network, shared by train.py, export.py and check.py."""

import gzip
from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent
WEIGHTS = HERE / "digits.weights.h5"
HELD_OUT = 360
"""The last rows of the data set are never trained on."""


def rows() -> tuple[np.ndarray, np.ndarray]:
    """All 1797 images as float32 [n, 8, 8, 1] in 0..1, and their digits."""
    with gzip.open(HERE / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int32)
    return (table[:, :64].astype(np.float32) / 16.0).reshape(-1, 8, 8, 1), table[:, 64]


def held_out() -> tuple[np.ndarray, np.ndarray]:
    images, digits = rows()
    return images[-HELD_OUT:], digits[-HELD_OUT:]


def network() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.3)(x)
    probabilities = keras.layers.Dense(10, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="digits")
