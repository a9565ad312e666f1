"""Makes the fixtures of the mobile end-to-end tests: models of a few kB with golden sets from the framework that made them.

    TOOLCHAIN/tensorflow-*/bin/python3 make_models.py tflite models
    TOOLCHAIN/onnxruntime-*/bin/python3 make_models.py onnx models

digits.tflite       conv + dense, float32          digits-int8.tflite  the same, int8 inside and int8 at both ends
custom.tflite       one operator no runtime has    digits.onnx         the same network, float32
big.onnx            allocates about 1 GiB          golden/             16 samples, outputs of the framework
"""

import json
import pathlib
import sys

import numpy as np

SAMPLES = 16


def golden(out, inputs, outputs, framework):
    """The golden set as an export stage would leave it."""
    manifest = {"version": 1, "framework": framework, "samples": SAMPLES, "precision": "fp32", "inputs": [], "outputs": []}
    for kind, arrays in (("inputs", inputs), ("outputs", outputs)):
        (out / kind).mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(out / kind / (name + ".npy"), array)
            manifest[kind].append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "file": "%s/%s.npy" % (kind, name)})
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def samples():
    return np.random.default_rng(7).random((SAMPLES, 8, 8, 1), dtype=np.float32)


def weights():
    rng = np.random.default_rng(11)
    return (rng.normal(0, 0.4, (3, 3, 1, 4)).astype(np.float32), np.zeros(4, np.float32),
            rng.normal(0, 0.3, (144, 10)).astype(np.float32), rng.normal(0, 0.1, 10).astype(np.float32))


def tflite(out):
    import tensorflow as tf

    k1, b1, k2, b2 = [tf.constant(w) for w in weights()]

    class Digits(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
        def serve(self, image):
            x = tf.nn.relu(tf.nn.conv2d(image, k1, 1, "VALID") + b1)
            return {"probabilities": tf.nn.softmax(tf.reshape(x, [-1, 144]) @ k2 + b2)}

        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32, name="x")])
        def strange(self, x):
            return {"y": tf.raw_ops.Erfinv(x=tf.raw_ops.Betainc(a=x, b=x, x=x))}

    module, x = Digits(), samples()
    saved = "/tmp/portolan-digits"
    tf.saved_model.save(module, saved, signatures={"serving_default": module.serve})
    convert = tf.lite.TFLiteConverter.from_saved_model(saved)
    (out / "digits.tflite").write_bytes(convert.convert())
    convert = tf.lite.TFLiteConverter.from_saved_model(saved)
    convert.optimizations = [tf.lite.Optimize.DEFAULT]
    convert.representative_dataset = lambda: ({"image": x[i:i + 1]} for i in range(SAMPLES))
    convert.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    convert.inference_input_type = convert.inference_output_type = tf.int8
    (out / "digits-int8.tflite").write_bytes(convert.convert())
    convert = tf.lite.TFLiteConverter.from_concrete_functions([module.strange.get_concrete_function()], module)
    convert.allow_custom_ops = True
    (out / "custom.tflite").write_bytes(convert.convert())
    golden(out / "golden", {"image": x}, {"probabilities": module.serve(tf.constant(x))["probabilities"].numpy()}, "tensorflow " + tf.__version__)


def onnx(out):
    import onnx as o
    from onnx import TensorProto as T
    from onnx import helper as h
    from onnx import numpy_helper as nh

    k1, b1, k2, b2 = weights()
    # NHWC in, as the golden set has it; NCHW inside; NHWC again before the dense layer, so that k2 is the same matrix.
    nodes = [h.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), h.make_node("Conv", ["x", "k1", "b1"], ["c"]), h.make_node("Relu", ["c"], ["r"]),
             h.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 3, 1]), h.make_node("Reshape", ["t", "flat"], ["f"]),
             h.make_node("Gemm", ["f", "k2", "b2"], ["l"]), h.make_node("Softmax", ["l"], ["probabilities"], axis=1)]
    init = [nh.from_array(k1.transpose(3, 2, 0, 1).copy(), "k1"), nh.from_array(b1, "b1"), nh.from_array(k2, "k2"), nh.from_array(b2, "b2"),
            nh.from_array(np.array([-1, 144], np.int64), "flat")]
    graph = h.make_graph(nodes, "digits", [h.make_tensor_value_info("image", T.FLOAT, ["n", 8, 8, 1])],
                         [h.make_tensor_value_info("probabilities", T.FLOAT, ["n", 10])], init)
    save(o, h, graph, out / "digits.onnx")
    # The image is spread over a quarter of a milliard numbers: 1 GiB that is really written.
    nodes = [h.make_node("ReduceMean", ["image"], ["m"], keepdims=0), h.make_node("Expand", ["m", "shape"], ["e"]),
             h.make_node("Add", ["e", "m"], ["w"]), h.make_node("ReduceMax", ["w"], ["probabilities"], keepdims=0)]
    graph = h.make_graph(nodes, "big", [h.make_tensor_value_info("image", T.FLOAT, ["n", 8, 8, 1])],
                         [h.make_tensor_value_info("probabilities", T.FLOAT, [])], [nh.from_array(np.array([1 << 27], np.int64), "shape")])
    save(o, h, graph, out / "big.onnx")


def save(o, h, graph, path):
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], producer_name="portolan-fixture")
    model.ir_version = 8
    o.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    {"tflite": tflite, "onnx": onnx}[sys.argv[1]](pathlib.Path(sys.argv[2]))
