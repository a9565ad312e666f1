"""http/oip-v2: MLServer, started by the recipe's own command in a sandbox without network, asked over its real protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE, Stage, environment_of, recipe_of, run_stage, sandbox, write_script

PORT = 9000


def serve(work: Path, model_dir: Path, asked: list[list[Any]], name: str = "digits") -> tuple[dict[str, Any], str]:
    """(what ask_oip.py saw, the engine's log)"""
    spec = recipe_of("http/oip-v2")
    (work / "scratch").mkdir(parents=True)
    (work / "requests.json").write_text(json.dumps(asked))
    environment = environment_of("http/oip-v2", spec, work, model_dir)
    places = {"{recipe}": environment["PORTOLAN_RECIPE"], "{port}": str(PORT), "{model_dir}": str(model_dir), "{model_name}": name}
    command = spec["driver"]["command"]
    for place, value in places.items():
        command = [word.replace(place, value) for word in command]
    assert spec["driver"]["ready"] == "/v2/models/{model_name}/ready"
    done = subprocess.run(
        [*sandbox(work, work, environment), "/usr/bin/python3", str(HERE / "ask_oip.py"), str(PORT), name,
         str(work / "requests.json"), str(work / "answers.json"), "--", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return json.loads((work / "answers.json").read_text()), done.stdout


def infer(name: str, **tensors: tuple[str, np.ndarray]) -> list[Any]:
    inputs = [{"name": key, "datatype": datatype, "shape": list(array.shape), "data": array.reshape(-1).tolist()}
              for key, (datatype, array) in tensors.items()]
    return ["POST", f"/v2/models/{name}/infer", {"id": "42", "inputs": inputs}]


def outputs(answer: list[Any], dtypes: dict[str, str]) -> dict[str, np.ndarray]:
    status, body = answer
    assert status == 200, body
    assert body["id"] == "42"
    return {entry["name"]: np.array(entry["data"], dtypes[entry["name"]]).reshape(entry["shape"]) for entry in body["outputs"]}


def test_digits_over_the_wire(digits: Stage, tmp_path: Path) -> None:
    image, expected = digits.array("golden/inputs/image.npy"), digits.array("golden/outputs/probabilities.npy")
    seen, log = serve(tmp_path / "work", digits.outputs / "model", [
        ["GET", "/v2/health/live"], ["GET", "/v2/health/ready"], ["GET", "/v2"], ["GET", "/v2/models/digits"],
        infer("digits", image=("FP32", image)), infer("digits", image=("FP32", image[3:4])),
    ])
    live, ready, server, model, whole, one = seen["answers"]
    assert live[0] == ready[0] == 200
    assert server[1]["name"] == "mlserver" and server[1]["version"] == "1.7.1"
    assert model[1]["platform"] == "onnx_onnxv1" and model[1]["versions"] == ["1"]
    assert model[1]["inputs"][0]["shape"] == [-1, 1, 8, 8] and model[1]["inputs"][0]["datatype"] == "FP32"
    assert model[1]["outputs"][0]["shape"] == [-1, 10]
    dtypes = {"probabilities": "float32"}
    np.testing.assert_allclose(outputs(whole, dtypes)["probabilities"], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs(one, dtypes)["probabilities"], expected[3:4], rtol=0, atol=1e-6)
    assert seen["children"] == [], "one process serves"
    assert seen["stopped"] == 0, log


@pytest.mark.parametrize("recipe,given,limit", [("onnx/ort", {}, 1e-5), ("onnx/quantize", {"mode": "static"}, 0.05)])
def test_converted_models_are_served_too(digits: Stage, tmp_path: Path, recipe: str, given: dict[str, Any], limit: float) -> None:
    (tmp_path / "repo").mkdir()
    converted = run_stage(recipe, tmp_path / "convert", source=tmp_path / "repo", inputs=digits.outputs, **given)
    assert converted.status == 0, converted.log
    image, expected = digits.array("golden/inputs/image.npy"), digits.array("golden/outputs/probabilities.npy")
    seen, log = serve(tmp_path / "work", converted.outputs / "model", [infer("digits", image=("FP32", image))])
    got = outputs(seen["answers"][0], {"probabilities": "float32"})["probabilities"]
    assert np.abs(got - expected).max() < limit, log


def test_every_datatype_keeps_name_shape_and_value(tmp_path: Path) -> None:
    source = write_script(tmp_path / "repo", """
class Types(nn.Module):
    def forward(self, whole, yes, real, small):
        return {"next": whole + 1, "no": ~yes, "half": (real / 2).half(), "double": real.double() * small, "flat": whole[:, 0]}
def load(): return Types().eval()
def golden():
    return {"whole": np.arange(32, dtype="int64").reshape(16, 2) + (1 << 53), "yes": np.arange(16).reshape(16, 1) % 2 == 0,
            "real": images(width=3), "small": np.full((16, 3), -7, dtype="int8")}
""")
    stage = run_stage("pytorch/onnx", tmp_path / "stage", source=source, script="export.py")
    assert stage.status == 0, stage.log
    feed = {name: stage.array(f"golden/inputs/{name}.npy") for name in ("whole", "yes", "real", "small")}
    datatypes = {"whole": "INT64", "yes": "BOOL", "real": "FP32", "small": "INT8"}
    seen, log = serve(tmp_path / "work", stage.outputs / "model",
                      [infer("types-1.0", **{name: (datatypes[name], array) for name, array in feed.items()})], name="types-1.0")
    dtypes = {"next": "int64", "no": "bool", "half": "float16", "double": "float64", "flat": "int64"}
    got = outputs(seen["answers"][0], dtypes)
    for name, dtype in dtypes.items():
        expected = stage.array(f"golden/outputs/{name}.npy")
        assert expected.dtype == dtype and got[name].shape == expected.shape, name
        assert (got[name] == expected).all(), name  # 2^53 + 1 too: no number went through a double


def test_answers_that_are_not_finite_are_null_on_the_wire(tmp_path: Path) -> None:
    source = write_script(tmp_path / "repo", "class Log(nn.Module):\n    def forward(self, x): return torch.log(x)\n"
                          "def load(): return Log().eval()\ndef golden(): return {'x': np.abs(images())}\n")
    stage = run_stage("pytorch/onnx", tmp_path / "stage", source=source, script="export.py")
    assert stage.status == 0, stage.log
    x = np.ones((1, 8), "float32")
    x[0, 2], x[0, 5] = -1, 0
    seen, log = serve(tmp_path / "work", stage.outputs / "model", [infer("digits", x=("FP32", x))])
    status, body = seen["answers"][0]
    assert status == 200, log
    assert body["outputs"][0]["data"] == [0, 0, None, 0, 0, None, 0, 0], "a reader must take null for NaN"


def test_bad_requests_are_refused_with_a_sentence(digits: Stage, tmp_path: Path) -> None:
    image = digits.array("golden/inputs/image.npy")[:1]
    wrong_shape = infer("digits", image=("FP32", image))
    wrong_shape[2]["inputs"][0]["shape"] = [1, 1, 8, 9]
    wanted = infer("digits", image=("FP32", image))
    wanted[2]["outputs"] = [{"name": "logits"}]
    cases = [
        (infer("digits", picture=("FP32", image)), 400, "the model has no input \"picture\"; it has: image"),
        (infer("digits", image=("FP64", image)), 400, "came as FP64; the model takes FP32"),
        (wrong_shape, 400, "does not fit [1, 1, 8, 9]"),
        (infer("digits", image=("FP32", image.reshape(1, 64))), 400, "Invalid rank for input: image"),
        (["POST", "/v2/models/digits/infer", {"inputs": []}], 400, "missing input: image"),
        (wanted, 400, "the model has no output \"logits\""),
        (infer("nobody", image=("FP32", image)), 404, "Model nobody not found"),
        (infer("digits", image=("FP32", image)), 200, None),
    ]
    seen, log = serve(tmp_path / "work", digits.outputs / "model", [request for request, _, _ in cases])
    for (_, status, text), answer in zip(cases, seen["answers"]):
        assert answer[0] == status, (text, answer)
        if text:
            assert text in answer[1]["error"], answer
    assert "Traceback" not in log


def test_a_model_that_cannot_be_loaded_ends_the_engine(digits: Stage, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(digits.outputs / "model", broken)
    (broken / "model.onnx").write_bytes((broken / "model.onnx").read_bytes()[:5000])
    seen, log = serve(tmp_path / "work", broken, [])
    assert "ended" in seen and seen["ended"] != "not ready in time", "it must not stay up without being ready"
    assert "portolan: error: ONNX Runtime 1.32.0 cannot load model.onnx" in log and "Protobuf parsing failed" in log


def test_no_model_among_the_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_bytes(b"x")
    seen, log = serve(tmp_path / "work", tmp_path / "model", [])
    assert seen["ended"] == 1
    assert "portolan: error: 0 ONNX models among the model's files (weights.bin)" in log
