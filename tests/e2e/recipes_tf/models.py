"""Small models as the text of an export.py; every one differs from GOOD in one thing."""

GOOD = """
import keras
import numpy as np

def build():
    keras.utils.set_random_seed(1)
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(3, name="y")(x))

def golden():
    return {"x": np.random.default_rng(0).standard_normal((8, 4)).astype("float32")}
"""

NO_GOLDEN = GOOD.replace("def golden", "def not_golden")
NO_BUILD = GOOD.replace("def build", "def not_build")
FEW = GOOD.replace("(8, 4)", "(7, 4)")
NAN_INPUT = GOOD.replace('return {"x": np.random', 'return {"x": np.nan * np.random')
NAN_OUTPUT = GOOD.replace('keras.layers.Dense(3, name="y")(x)', 'keras.layers.Lambda(lambda t: keras.ops.log(-1 - t * t), name="y")(x)')
WRONG_NAME = GOOD.replace('return {"x"', 'return {"image"')
WRONG_SHAPE = GOOD.replace("(8, 4)", "(8, 5)")
CONSTANT = GOOD.replace('keras.layers.Dense(3, name="y")', 'keras.layers.Dense(3, kernel_initializer="zeros", name="y")')
STRINGS = GOOD.replace(".astype(\"float32\")", ".astype(str)")
RANDOM = GOOD.replace('keras.layers.Dense(3, name="y")(x)',
                      'keras.layers.Lambda(lambda t: t + keras.random.normal((1, 4)), name="y")(x)')
RAISES = GOOD.replace("    keras.utils.set_random_seed(1)", "    raise RuntimeError('the weights are of another world')")
NOT_KERAS = GOOD.replace("    keras.utils.set_random_seed(1)", "    return 42")
LGAMMA = GOOD.replace("keras.layers.Dense(3, name=\"y\")(x)",
                      "keras.layers.Dense(3, name=\"y\")(keras.layers.Lambda(lambda t: __import__('tensorflow').math.lgamma(t))(x))")

TWO = """
import keras
import numpy as np

def build():
    keras.utils.set_random_seed(2)
    right = keras.Input((2,), name="right")
    left = keras.Input((3,), name="left")
    both = keras.layers.Concatenate()([left, right])
    return keras.Model([right, left], [keras.layers.Dense(4, name="wide")(both), keras.layers.Dense(1, name="score")(right)])

def golden():
    rng = np.random.default_rng(3)
    return {"left": rng.standard_normal((9, 3)), "right": rng.standard_normal((9, 2))}
"""

LEGACY = """
import numpy as np
import tf_keras as keras

def build():
    keras.utils.set_random_seed(4)
    return keras.Sequential([
        keras.layers.Input((8, 8, 1), name="image"), keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax", name="probabilities")])

def golden():
    return {"image": np.random.default_rng(5).random((16, 8, 8, 1), dtype="float32")}
"""
