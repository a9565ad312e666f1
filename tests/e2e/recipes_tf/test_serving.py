"""http/tf-serving's server: the TF Serving REST protocol, what it answers and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import models
import pytest
from conftest import RECIPES, Bench

SERVE = RECIPES / "http/tf-serving/serve.py"


@contextmanager
def served(bench: Bench, model: Path, name: str) -> Iterator[str]:
    """The server on a port of its own choice; its base URL once it says that it listens. Ends by SIGTERM, with status 0."""
    environment = bench.environment("http/tf-serving", bench.scratch, bench.scratch)
    process = subprocess.Popen([bench.toolchain / "bin/python3", SERVE, "--port", "0", "--model-dir", model, "--name", name],
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        log = ""
        for line in process.stdout:
            log += line
            if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                assert "not TensorFlow Serving itself" in line
                break
        else:
            pytest.fail(f"the server did not start:\n{log}")
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield f"http://{found[1]}"
        process.terminate()
        assert process.wait(30) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        assert error.headers["Content-Type"] == "application/json"
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def golden(bench: Bench, digits: Path) -> tuple[list[Any], list[Any]]:
    text = bench.python("-c", "import json, numpy as n, sys; g = sys.argv[1]; print(json.dumps("
                        "[n.load(g + '/inputs/image.npy').tolist(), n.load(g + '/outputs/probabilities.npy').tolist()]))", digits / "golden")
    return tuple(json.loads(text))


def worst(got: list[Any], want: list[Any]) -> float:
    assert len(got) == len(want)
    return max(abs(g - w) for a, b in zip(got, want) for g, w in zip(a, b))


def test_protocol(bench: Bench, digits: Path, golden: tuple[list[Any], list[Any]]) -> None:
    images, probabilities = golden
    with served(bench, digits / "model", "digits") as base:
        model = f"{base}/v1/models/digits"
        state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        assert ask(model) == ask(f"{model}/versions/1") == (200, {"model_version_status": [state]})
        code, metadata = ask(f"{model}/metadata")
        inputs = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
        assert code == 200 and inputs["image"]["dtype"] == "DT_FLOAT"
        assert [d["size"] for d in inputs["image"]["tensor_shape"]["dim"]] == ["-1", "8", "8", "1"]

        # both forms, both ways of naming, whole set and one image
        predict = f"{model}:predict"
        for body, key in (({"instances": images}, "predictions"), ({"instances": [{"image": i} for i in images]}, "predictions"),
                          ({"inputs": images}, "outputs"), ({"inputs": {"image": images}}, "outputs"),
                          ({"signature_name": "serving_default", "inputs": images}, "outputs")):
            code, answer = ask(predict, body)
            assert code == 200 and list(answer) == [key] and worst(answer[key], probabilities) < 1e-5
        assert worst(ask(f"{model}/versions/1:predict", {"instances": images[:1]})[1]["predictions"], probabilities[:1]) < 1e-5

        one = images[0]
        for body, words in (
            (b"{", "JSON Parse error"), ([], "JSON object"), ({}, "Missing 'inputs' or 'instances'"),
            ({"instances": [one], "inputs": [one]}, "only one of"), ({"instances": []}, "non-empty list"),
            ({"instances": [one], "signature_name": "nope"}, "\"nope\" not found in signature def"),
            ({"instances": [one], "signature_name": 3}, "must be a string"),
            ({"inputs": {"picture": [one]}}, "Missing but required: {image}"),
            ({"instances": [{"picture": one}]}, "does not have named input: picture"),
            ({"instances": [one[:7]]}, "which has shape (None, 8, 8, 1)"),
            ({"instances": [[*one[:7], one[7][:3]]]}, "unexpected size: 3 at level: 2 expected size: 8"),
            ({"instances": [[[["a"]] * 8] * 8]}, "is not of expected type: float"),
            ({"instances": [[[[True]] * 8] * 8]}, "is not of expected type: float"),
            ({"instances": [[[[1e300]] * 8] * 8]}, "without loss of precision"),
            ({"instances": [[[[[1]]] * 8] * 8]}, "shape"),
        ):
            code, answer = ask(predict, body)
            assert code == 400 and list(answer) == ["error"] and words in answer["error"], (body, code, answer)
        assert ask(f"{base}/v1/models/other:predict", {"instances": [one]}) == \
            (404, {"error": "Servable not found for request: Latest(other)"})
        assert ask(f"{model}/versions/9:predict", {"instances": [one]}) == \
            (404, {"error": "Servable not found for request: Specific(digits, 9)"})
        assert ask(f"{base}/v1/models/other")[0] == 404 and ask(f"{base}/nothing")[0] == 404
        assert ask(f"{base}/v1/nothing")[0] == 400 and ask(f"{model}:classify", {})[0] == 501

        with ThreadPoolExecutor(8) as pool:  # the session is shared: answers must not be mixed up
            answers = list(pool.map(lambda i: ask(predict, {"instances": [images[i]]}), range(64)))
        assert worst([a["predictions"][0] for _, a in answers], probabilities[:64]) < 1e-5


def test_two_outputs_and_numbered_versions(bench: Bench, repo: Any, tmp_path: Path) -> None:
    exported = bench.good("keras/saved-model", repo(export_py=models.TWO), script="export.py")
    (tmp_path / "3").symlink_to(exported.outputs / "model")
    with served(bench, tmp_path, "two") as base:
        assert ask(f"{base}/v1/models/two")[1]["model_version_status"][0]["version"] == "3"
        rows = [{"left": [1.0, 2.0, 3.0], "right": [4.0, 5.0]}, {"left": [1, 2, 3], "right": [4, 5]}]
        code, answer = ask(f"{base}/v1/models/two:predict", {"instances": rows})
        assert code == 200 and [set(p) for p in answer["predictions"]] == [{"wide", "score"}] * 2
        assert worst([answer["predictions"][0]["wide"]], [answer["predictions"][1]["wide"]]) < 1e-6
        columns = {"left": [[1.0, 2.0, 3.0]], "right": [[4.0, 5.0]]}
        assert set(ask(f"{base}/v1/models/two:predict", {"inputs": columns})[1]["outputs"]) == {"wide", "score"}
        code, answer = ask(f"{base}/v1/models/two:predict", {"instances": [[1, 2, 3]]})
        assert code == 400 and "multiple input tensors" in answer["error"]
        code, answer = ask(f"{base}/v1/models/two:predict", {"inputs": {"left": [[1.0, 2.0, 3.0]] * 2, "right": [[4.0, 5.0]]}})
        assert code == 400, "the session's own refusal of two batch sizes"


def test_nothing_to_serve(bench: Bench, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    environment = bench.environment("http/tf-serving", bench.scratch, bench.scratch)

    def start() -> str:
        done = subprocess.run([bench.toolchain / "bin/python3", SERVE, "--port", "0", "--model-dir", tmp_path / "model"],
                              env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "no servable versions found" in start()
    (tmp_path / "model/saved_model.pb").write_bytes((digits / "model/saved_model.pb").read_bytes()[:5000])
    assert "portolan: error: TensorFlow cannot load the SavedModel" in start()
