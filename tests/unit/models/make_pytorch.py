"""Fixtures of tests/unit/test_model.c and test_preflight.c that PyTorch makes (agents/toolchains/pytorch).

    TOOLCHAIN/bin/python3 tests/unit/models/make_pytorch.py tests/unit/models
"""
import pathlib, sys
import torch, onnx
from onnx import helper, TensorProto, external_data_helper, numpy_helper
import numpy as np

out = pathlib.Path(sys.argv[1])
torch.manual_seed(1)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3)
        self.fc = torch.nn.Linear(2, 3)

    def forward(self, image):
        return self.fc(torch.relu(self.conv(image)).mean((2, 3)))


net = Net().eval()
torch.save(net.state_dict(), out / "state-dict.pt")
torch.save(net.state_dict(), out / "state-dict-old.pth", _use_new_zipfile_serialization=False)
torch.save(net, out / "module.pt")
torch.jit.trace(net, torch.zeros(1, 1, 8, 8)).save(str(out / "program.pt"))
torch.onnx.export(net, torch.zeros(1, 1, 8, 8), out / "dynamic.onnx", input_names=["image"], output_names=["scores"], opset_version=17, dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}})

# by hand, with the onnx package: an operator set and a format newer than any runtime, an operator of a domain of its own, 64-bit input
x = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 4])
y = helper.make_tensor_value_info("out", TensorProto.DOUBLE, ["batch", 4])
g = helper.make_graph([helper.make_node("Cast", ["ids"], ["c"], to=TensorProto.DOUBLE), helper.make_node("Wiggle", ["c"], ["out"], domain="com.example")], "g", [x], [y])
m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 99), helper.make_opsetid("com.example", 1)], producer_name="by hand")
m.ir_version = 42
onnx.save(m, out / "future-custom.onnx")

# external data, beside it
w = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
g = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
                      [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])], initializer=[w])
m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 13)])
(out / "external").mkdir(exist_ok=True)
for old in (out / "external").iterdir(): old.unlink()
onnx.save_model(m, str(out / "external" / "model.onnx"), save_as_external_data=True, all_tensors_to_one_file=True, location="weights.bin", size_threshold=0)
