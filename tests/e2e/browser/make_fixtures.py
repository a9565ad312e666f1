"""The ONNX and TFLite forms of the network in fixtures/weights.json (make_fixtures.mjs writes that), a few kB each.

Usage: ONNX_TOOLCHAIN/bin/python3 make_fixtures.py onnx      needs onnx, numpy
       TENSORFLOW_TOOLCHAIN/bin/python3 make_fixtures.py tflite    needs tensorflow
"""
import base64
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "fixtures"


def weights():
    table = json.loads((HERE / "weights.json").read_text())
    return {name: np.frombuffer(base64.b64decode(w["base64"]), "<f4").reshape(w["shape"]) for name, w in table.items()}


def make_onnx():
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def network(names):
        w = weights()
        tensors = [numpy_helper.from_array(w[old], new) for old, new in
                   (("dense/kernel", "w1"), ("dense/bias", "b1"), ("probabilities/kernel", "w2"), ("probabilities/bias", "b2"))]
        nodes = [helper.make_node("Flatten", [names[0]], ["flat"], axis=1),
                 helper.make_node("Gemm", ["flat", "w1", "b1"], ["h"]), helper.make_node("Relu", ["h"], ["hr"]),
                 helper.make_node("Gemm", ["hr", "w2", "b2"], ["o"]), helper.make_node("Softmax", ["o"], [names[1]], axis=1)]
        graph = helper.make_graph(nodes, "digits", [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["n", 8, 8, 1])],
                                  [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["n", 10])], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="portolan fixtures")
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model

    def save(folder, model, **how):
        (HERE / folder).mkdir(parents=True, exist_ok=True)
        for old in (HERE / folder).iterdir():
            old.unlink()
        onnx.save_model(model, str(HERE / folder / "model.onnx"), **how)

    save("onnx", network(("image", "probabilities")))
    save("onnx-external", network(("image", "probabilities")), save_as_external_data=True, all_tensors_to_one_file=True,
         location="weights.bin", size_threshold=0)
    save("onnx-renamed", network(("x", "y")))
    (HERE / "onnx-renamed" / "signature.json").write_text(json.dumps(
        {"inputs": [{"name": "image", "tensor": "x", "dtype": "float32", "shape": [-1, 8, 8, 1]}],
         "outputs": [{"name": "probabilities", "tensor": "y", "dtype": "float32", "shape": [-1, 10]}]}, indent=1) + "\n")


def make_tflite():
    import tensorflow as tf

    w = weights()
    k1, b1, k2, b2 = (tf.constant(w[n]) for n in ("dense/kernel", "dense/bias", "probabilities/kernel", "probabilities/bias"))

    def save(folder, fn):
        concrete = tf.function(fn).get_concrete_function(tf.TensorSpec([1, 8, 8, 1], tf.float32, name="image"))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        converter.allow_custom_ops = True
        (HERE / folder).mkdir(parents=True, exist_ok=True)
        (HERE / folder / "model.tflite").write_bytes(converter.convert())

    def network(image):
        hidden = tf.nn.relu(tf.matmul(tf.reshape(image, [-1, 64]), k1) + b1)
        return tf.nn.softmax(tf.matmul(hidden, k2) + b2)

    save("tflite", network)
    # An operator outside of the built-in ones: LiteRT.js cannot prepare it, may resolve all the same, and prints errors.
    save("tflite-custom", lambda image: network(tf.math.asinh(image) * 0 + image))


if __name__ == "__main__":
    {"onnx": make_onnx, "tflite": make_tflite}[sys.argv[1]]()
