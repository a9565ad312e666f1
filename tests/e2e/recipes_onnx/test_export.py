"""pytorch/onnx: what it publishes answers as the module does, and what it refuses is said in one sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import DIGITS, Stage, run_model, run_stage, words, write_script


def export(tmp_path: Path, text: str, **given: object) -> Stage:
    return run_stage("pytorch/onnx", tmp_path / "stage", source=write_script(tmp_path / "repo", text), script="export.py", **given)


def test_digits_answers_in_onnxruntime_as_in_torch(digits: Stage) -> None:
    assert digits.files() == ["golden/inputs/image.npy", "golden/labels.npy", "golden/manifest.json",
                              "golden/outputs/probabilities.npy", "model/model.onnx"]
    expected = digits.array("golden/outputs/probabilities.npy")
    got = run_model(digits.outputs / "model/model.onnx", {"image": digits.array("golden/inputs/image.npy")})
    assert list(got) == ["probabilities"]
    np.testing.assert_allclose(got["probabilities"], expected, rtol=0, atol=1e-6)
    assert (expected.argmax(1) == digits.array("golden/labels.npy")).mean() > 0.95
    manifest = json.loads((digits.outputs / "golden/manifest.json").read_text())
    assert manifest["samples"] == 64 and manifest["precision"] == "fp32" and manifest["framework"] == "torch 1.13.1"
    assert {"python", "torch", "onnx", "numpy", "onnxruntime"} <= set(manifest["environment"])


def test_same_source_gives_the_same_bytes(digits: Stage, tmp_path: Path) -> None:
    again = run_stage("pytorch/onnx", tmp_path, source=DIGITS, script="export.py", outputs=["probabilities"])
    for file in digits.files():
        first, second = ((stage.outputs / file).read_bytes() for stage in (digits, again))
        assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest(), file


def test_several_inputs_and_named_outputs(tmp_path: Path) -> None:
    stage = export(tmp_path, """
class Two(nn.Module):
    def forward(self, left, right, scale=2.0):
        return {"sum": left + scale * right.float(), "most": torch.argmax(left, dim=1)}
def load(): return Two()
def golden(): return {"right": np.arange(128, dtype="int64").reshape(16, 8), "left": images()}, np.arange(16)
""")
    assert stage.status == 0, stage.log
    assert "finding: load() returned the module in training mode" in stage.log
    inputs = {name: stage.array(f"golden/inputs/{name}.npy") for name in ("left", "right")}
    got = run_model(stage.outputs / "model/model.onnx", inputs)
    np.testing.assert_allclose(got["sum"], inputs["left"] + 2 * inputs["right"], rtol=1e-6)
    assert got["most"].dtype == np.int64 and (got["most"] == inputs["left"].argmax(1)).all()
    assert (stage.array("golden/labels.npy") == np.arange(16)).all()


def test_fixed_batch_and_golden_from_a_file(tmp_path: Path) -> None:
    folder = write_script(tmp_path / "repo", "def load(): return nn.Sequential(nn.Linear(8, 3), nn.Tanh()).eval()\n")
    np.savez(folder / "rows.npz", features=np.random.default_rng(1).normal(size=(9, 8)).astype("float32"))
    stage = run_stage("pytorch/onnx", tmp_path / "stage", source=folder, script="export.py", golden="rows.npz", dynamic_batch=False, opset=13)
    assert stage.status == 0, stage.log
    features = stage.array("golden/inputs/features.npy")
    got = run_model(stage.outputs / "model/model.onnx", {"features": features[4:5]})
    np.testing.assert_allclose(got["output"], stage.array("golden/outputs/output.npy")[4:5], atol=1e-6)
    assert "ai.onnx 13" in stage.log


BRANCH = """
class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x - 1
def load(): return Branch().eval()
"""


def test_a_branch_that_the_tracer_froze_is_red_with_its_line(tmp_path: Path) -> None:
    stage = export(tmp_path, BRANCH + """
def golden():
    x = np.abs(images()); x[12] = -x[12]
    return {"x": x}
""", dynamic_batch=False)
    words(stage, r"does not answer as the module does", r"output \"output\": 8 of 128 values differ", r"worst at \[12, \d\]",
          r"tracer warned of 1 place\(s\).*export\.py:9: Converting a tensor to a Python boolean")
    assert "TracerWarning: Converting a tensor to a Python boolean might cause the trace to be incorrect" in stage.log


def test_a_branch_that_golden_does_not_reach_is_a_finding(tmp_path: Path) -> None:
    stage = export(tmp_path, BRANCH + "def golden(): return {'x': np.abs(images())}\n", dynamic_batch=False)
    assert stage.status == 0, stage.log
    assert "portolan: finding: TracerWarning at export.py:9" in stage.log


def test_a_batch_size_that_the_tracer_froze(tmp_path: Path) -> None:
    words(export(tmp_path, """
class Frozen(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), 2, 4).sum(2)
def load(): return Frozen().eval()
def golden(): return {"x": images()}
"""), r"loads the model but cannot run it on golden samples 0\.\.15|does not answer as the module does")


def test_samples_that_lean_on_one_another(tmp_path: Path) -> None:
    words(export(tmp_path, """
class Leaning(nn.Module):
    def forward(self, x): return x - x.mean(0, keepdim=True)
def load(): return Leaning().eval()
def golden(): return {"x": images()}
"""), r"answered differently alone than in a batch", r"dynamic_batch: false")


@pytest.mark.parametrize("body,patterns", [
    ("torch.fft.rfft(x).real", [r"aten::fft_rfft", r"opset version 17 is not supported", r"torch 1\.13\.1, opset 17"]),
    ("nn.functional.dropout(x, 0.5, training=True)", [r"answers the same input differently each time", r"dropout"]),
    ("(x * 0) / 0", [r"outputs \"output\" has 128 of 128 values that are NaN or infinite", r"\[0, 0\]"]),
    ("x.mean()", [r"axis 0 must be the samples"]),
    ("x[:, :3] @ x", [r"cannot run on its golden inputs \(x \[16, 8\] torch.float32\)", r"mat1 and mat2 shapes"]),
    ("[x, 'text']", [r"returns str as \"output_1\""]),
], ids=["unsupported-operator", "dropout", "nan", "no-sample-axis", "wrong-shape", "not-a-tensor"])
def test_modules_that_cannot_be_exported(tmp_path: Path, body: str, patterns: list[str]) -> None:
    words(export(tmp_path, f"""
class Bad(nn.Module):
    def forward(self, x): return {body}
def load(): return Bad().eval()
def golden(): return {{"x": images()}}
"""), *patterns)


def test_operator_of_a_later_opset_is_named_with_it(tmp_path: Path) -> None:
    words(export(tmp_path, """
class Grid(nn.Module):
    def forward(self, x):
        return nn.functional.grid_sample(x.reshape(-1, 1, 2, 4), x.reshape(-1, 2, 2, 2), align_corners=False)
def load(): return Grid().eval()
def golden(): return {"x": images()}
""", opset=15), r"aten::grid_sampler", r"added in version 16")


def test_operator_that_only_the_exporter_knows(tmp_path: Path) -> None:
    words(export(tmp_path, """
class Hard(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 3
    @staticmethod
    def symbolic(g, x): return g.op("mydomain::HardThing", x)
class Module(nn.Module):
    def forward(self, x): return Hard.apply(x)
def load(): return Module().eval()
def golden(): return {"x": images()}
"""), r"ONNX Runtime 1\.32\.0 cannot load model\.onnx", r"mydomain:HardThing")


LINEAR = "def load(): return nn.Linear(8, 2).eval()\n"


@pytest.mark.parametrize("text,patterns", [
    ("def golden(): return {'x': images()}\n", [r"has no function load\(\)"]),
    ("def load(:\n", [r"failed while it was imported: SyntaxError"]),
    ("import no_such_module\n", [r"ModuleNotFoundError: No module named 'no_such_module'"]),
    ("def load(): return torch.zeros(3)\n", [r"load\(\) of \"export\.py\" returned Tensor; a torch\.nn\.Module is needed"]),
    ("def load(): return torch.load('missing.pt')\n", [r"load\(\) of \"export\.py\" failed: FileNotFoundError", r"missing\.pt"]),
    (LINEAR + "def golden(): return [1, 2]\n", [r"returned list; a mapping of input name to array"]),
    (LINEAR + "def golden(): return {'x': images(3)}\n", [r"3 samples; at least 8"]),
    (LINEAR + "def golden():\n    x = images(); x[2, 3] = np.nan\n    return {'x': x}\n", [r"inputs \"x\" has 1 of 128", r"\[2, 3\]"]),
    (LINEAR + "def golden(): return {'x': np.array(['a'] * 16)}\n", [r"dtype str"]),
], ids=["no-load", "syntax", "import", "no-module", "no-weights", "no-mapping", "few", "nan-input", "text-input"])
def test_scripts_that_cannot_be_used(tmp_path: Path, text: str, patterns: list[str]) -> None:
    words(export(tmp_path, text), *patterns)


def test_missing_script_names_its_neighbours(tmp_path: Path) -> None:
    words(run_stage("pytorch/onnx", tmp_path, source=DIGITS, script="exprt.py"), r"\"exprt\.py\" is not in the repository", r"export\.py")


def test_opset_out_of_range(tmp_path: Path) -> None:
    words(export(tmp_path, LINEAR + "def golden(): return {'x': images()}\n", opset=18), r"opset 18 .* \(7 to 17\)")


def test_weights_that_are_an_lfs_pointer(tmp_path: Path) -> None:
    folder = write_script(tmp_path / "repo", "def load(): return torch.load('weights.pt')\ndef golden(): return {'x': images()}\n")
    (folder / "weights.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 92143\n")
    words(run_stage("pytorch/onnx", tmp_path / "stage", source=folder, script="export.py"), r"weights\.pt is a Git LFS pointer")


def test_a_full_disk_publishes_nothing(tmp_path: Path) -> None:
    stage = export(tmp_path, "def load(): return nn.Linear(1024, 2048).eval()\ndef golden(): return {'x': images(width=1024)}\n",
                   scratch_bytes=2 << 20)
    words(stage, r"no space left on the device", r"nothing was published")
