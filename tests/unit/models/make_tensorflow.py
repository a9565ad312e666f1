"""Fixtures of tests/unit/test_model.c and test_preflight.c that TensorFlow 2.19 makes (agents/toolchains/tensorflow).

    TOOLCHAIN/bin/python3 tests/unit/models/make_tensorflow.py tests/unit/models

Small on purpose: a few kilobytes each. Anything cut or changed by hand is made by the tests themselves from these.
"""
import json, os, pathlib, shutil, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
import keras

out = pathlib.Path(sys.argv[1])
tf.random.set_seed(1); keras.utils.set_random_seed(1)


def fresh(name):
    path = out / name
    if path.is_dir(): shutil.rmtree(path)
    elif path.exists(): path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def small():
    x = keras.Input((8, 8, 1), name="image")
    y = keras.layers.Conv2D(2, 3, activation="relu")(x)
    y = keras.layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, keras.layers.Dense(3, activation="softmax", name="probabilities")(y))


model = small()
model.save(fresh("keras3.keras"))
model.save(fresh("keras3.h5"))


@keras.saving.register_keras_serializable("mine")
class Double(keras.layers.Layer):
    def call(self, x): return x * 2


custom = keras.Sequential([keras.Input((4,)), Double(), keras.layers.Lambda(lambda v: v + 1, output_shape=(4,)), keras.layers.Dense(2)])
custom.save(fresh("keras3-custom.keras"))

# ---- SavedModels
model.export(str(fresh("saved-model")))
for extra in ("fingerprint.pb", "assets"):
    p = out / "saved-model" / extra
    shutil.rmtree(p) if p.is_dir() else p.unlink(missing_ok=True)


class Named(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float64, name="x")])
    def score(self, x): return {"y": tf.math.reduce_sum(tf.nn.dilation2d(tf.reshape(tf.cast(x, tf.float32), [-1, 2, 2, 1]), tf.ones([1, 1, 1]), [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1]), axis=[1, 2, 3])}


m = Named()
tf.saved_model.save(m, str(fresh("saved-model-named")), signatures={"score": m.score})

# ---- TFLite
conv = tf.lite.TFLiteConverter.from_saved_model(str(out / "saved-model"))
fresh("float.tflite").write_bytes(conv.convert())
conv = tf.lite.TFLiteConverter.from_saved_model(str(out / "saved-model"))
conv.optimizations = [tf.lite.Optimize.DEFAULT]
conv.representative_dataset = lambda: ([np.random.RandomState(i).rand(1, 8, 8, 1).astype(np.float32)] for i in range(8))
conv.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
conv.inference_input_type = conv.inference_output_type = tf.int8
fresh("int8.tflite").write_bytes(conv.convert())


@tf.function(input_signature=[tf.TensorSpec([2, 3], tf.int64), tf.TensorSpec([2, 3], tf.float32)])
def flex(i, x): return tf.cast(i, tf.float32) + tf.linalg.det(tf.reshape(tf.tile(x, [3, 1]), [2, 3, 3]))[0]


conv = tf.lite.TFLiteConverter.from_concrete_functions([flex.get_concrete_function()])
conv.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
fresh("flex-int64.tflite").write_bytes(conv.convert())

# ---- a frozen graph of the first TensorFlow's kind
g = tf.Graph()
with g.as_default():
    x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="input")
    tf.nn.softmax(tf.matmul(x, tf.constant(np.ones((4, 2), np.float32)), name="logits"), name="output")
fresh("frozen.pb").write_bytes(g.as_graph_def().SerializeToString())

# ---- TensorFlow.js: a graph model of the SavedModel, a layers model of Keras 2 and one of Keras 3
import subprocess
tool = [sys.executable, "-m", "tensorflowjs.converters.converter"]
subprocess.run(tool + ["--input_format=tf_saved_model", "--output_format=tfjs_graph_model", str(out / "saved-model"), str(fresh("tfjs-graph"))], check=True, stdout=subprocess.DEVNULL)
import tf_keras
k2 = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3, activation="relu"), tf_keras.layers.Dense(2)])
k2.save(fresh("keras2.h5"))
subprocess.run(tool + ["--input_format=keras", "--output_format=tfjs_layers_model", str(out / "keras2.h5"), str(fresh("tfjs-layers"))], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, TF_USE_LEGACY_KERAS="1"))
subprocess.run(tool + ["--input_format=keras", "--output_format=tfjs_layers_model", str(out / "keras3.h5"), str(fresh("tfjs-layers-keras3"))], check=False, stdout=subprocess.DEVNULL)
