"""A digit classifier with a learned morphological dilation in it, and its data."""

import gzip
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
WEIGHTS = HERE / "dilation.weights.h5"
HELD_OUT = 360


class Dilation(keras.layers.Layer):
    """out[y, x, c] = max over the window of image + element: tf.nn.dilation2d, trained like any other layer.

    TensorFlow has the operator and its gradient. TFLite has no kernel for it.
    """

    def build(self, input_shape):
        self.element = self.add_weight(name="element", shape=(3, 3, input_shape[-1]), initializer="zeros")

    def call(self, image):
        return tf.nn.dilation2d(image, self.element, strides=(1, 1, 1, 1), padding="SAME", data_format="NHWC",
                                dilations=(1, 1, 1, 1))

    def compute_output_shape(self, input_shape):
        return input_shape


def rows() -> tuple[np.ndarray, np.ndarray]:
    with gzip.open(HERE / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int32)
    return (table[:, :64].astype(np.float32) / 16.0).reshape(-1, 8, 8, 1), table[:, 64]


def network() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = Dilation(name="dilation")(x)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    probabilities = keras.layers.Dense(10, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="dilated_digits")
