"""onnx/ort: model.onnx becomes model.ort by ONNX Runtime's own converter, with the operators it needs listed beside it.

Names and types of inputs and outputs stay as they are. Nothing is published that ONNX Runtime did not load and run on the
golden inputs with finite answers of the original's shape; how close they are is for verify to judge.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.join(os.environ.get("PORTOLAN_RECIPE", os.path.dirname(__file__)), "..", "..", "common"))
import onnxruntime as ort
import portolan_onnx
import portolan_recipe as recipe
from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

FLATBUFFER_LIMIT = 2**31 - 1


@recipe.main
def run() -> None:
    parameters = recipe.params()
    platform, level = parameters.get("platform", "any"), parameters.get("level", "all")
    source = portolan_onnx.find_model(recipe.inputs_dir() / "model")
    inputs, expected, _ = recipe.read_golden()
    # What does not fit is said before the converter's own words.
    inputs = portolan_onnx.feed_for(portolan_onnx.open_session(source), inputs)
    size = sum(path.stat().st_size for path in source.parent.iterdir() if path.is_file())
    if size > FLATBUFFER_LIMIT:
        recipe.fail(f"the model has {size} bytes; an ORT format file holds at most {FLATBUFFER_LIMIT}")

    os.environ["ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL"] = level
    with tempfile.TemporaryDirectory() as scratch, recipe.publish_dir("model") as published:
        converted = Path(scratch)
        try:
            convert_onnx_models_to_ort(source, output_dir=converted, optimization_styles=[OptimizationStyle.Fixed],
                                       target_platform=None if platform == "any" else platform)
        except Exception as error:
            raise recipe.RecipeError(f"ONNX Runtime {ort.__version__} could not convert the model to the ORT format: "
                                     f"{type(error).__name__}: {error}") from error
        found = list(converted.glob("*.ort"))
        if len(found) != 1:
            recipe.fail(f"the converter wrote {len(found)} .ort files for one model")
        shutil.copyfile(found[0], published / "model.ort")
        for config in converted.glob("*.config"):
            shutil.copyfile(config, published / "required_operators.config")
            recipe.note("operators that a reduced build must have: " + " ".join(
                line.strip() for line in config.read_text().splitlines() if line and not line.startswith("#")))

        got = portolan_onnx.run_session(portolan_onnx.open_session(published / "model.ort"), inputs)
        for line in portolan_onnx.agreement(got, expected):
            recipe.note(line)
        recipe.note(f"{size} bytes before, {(published / 'model.ort').stat().st_size} after")
