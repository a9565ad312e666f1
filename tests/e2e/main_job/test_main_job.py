"""Push → export → convert → verify on a server, on an emulated phone and in a browser, with the example repositories as shipped;
then the same hosts with faults planted in between, each of which must go red and say why."""
from __future__ import annotations

import json

import pytest
from portolan import wait_for


def numbers_of(stage: dict) -> dict:
    """The numbers that a person would look for, all there."""
    report = stage["report"]
    assert report["verdict"] == "green" and report["samples"] >= 32, json.dumps(report, indent=1)[:3000]
    output, metrics = report["outputs"][0], report["metrics"]
    for key in ("load_ms", "first_ms", "latency_p50_ms", "latency_p95_ms", "artifact_bytes"):
        assert metrics[key] > 0, f"{stage['name']}: {key}"
    assert output["elements"] >= 320 and output["mismatched"] == 0
    return {"max_abs_error": output["max_abs_error"], "top1_agreement": output["top1_agreement"], "latency_p95_ms": metrics["latency_p95_ms"], "artifact_bytes": metrics["artifact_bytes"]}


def assert_within(site, stage: dict) -> None:
    """What the pipeline file expects, checked once more here: the verdict is not taken at its word."""
    expect, got = site.planned(stage["id"])["expect"], numbers_of(stage)
    assert expect, f"{stage['name']} expects nothing"
    for key, limit in expect.items():
        assert got[key] >= limit if key == "top1_agreement" else got[key] <= limit, f"{stage['name']}: {key} {got[key]} against {limit}"
    runtime = stage["report"]["runtime"]
    assert runtime["name"]
    if stage["host"] != "server":
        assert runtime["indicative_latency"] is True, "an emulator's or headless browser's latency is marked"


@pytest.mark.parametrize("name, artifacts", [("digits-keras", ["saved_model.pb", "model.tflite", "model.json"]), ("digits-pytorch", ["model.onnx", "model.onnx", ".ort"])])
def test_one_model_on_three_hosts_is_green(site, ended, name: str, artifacts: list[str]):
    run = ended(name)
    assert run["state"] == "green", [(s["name"], s["state"], s["message"]) for s in run["stages"]]
    verifies = [s for s in run["stages"] if s["kind"] == "verify"]
    assert [s["host"] for s in verifies] == ["server", "mobile", "browser"]
    for stage in run["stages"]:
        assert (stage["state"], stage["end_reason"], stage["exit_code"]) == ("green", "exit", 0)
        assert stage["sandbox"] != "none"
    for stage, artifact in zip(verifies, artifacts):
        assert_within(site, stage)
        source = run["by_name"].get(f"convert/{stage['target']}", run["by_name"]["export"])
        published = site.ok("GET", f"/api/v1/attempts/{source['attempt_id']}/artifacts")["items"]
        assert any(a["path"].startswith("model/") and a["path"].endswith(artifact) for a in published), published
        assert sum(a["size_bytes"] for a in published if a["path"].startswith("model/")) >= stage["report"]["metrics"]["artifact_bytes"] > 0


def test_an_operator_without_a_kernel_is_red_in_the_converters_own_words(site, ended):
    run = ended("unsupported-op")
    assert run["state"] == "red"
    assert run["by_name"]["verify/server"]["state"] == "green", "the model itself is right"
    assert_within(site, run["by_name"]["verify/server"])
    assert run["by_name"]["verify/android"]["state"] == "skipped"
    convert = wait_for("the diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run["id"], "convert/android")), 60)
    assert (convert["state"], convert["end_reason"]) == ("red", "exit") and convert["exit_code"] != 0
    log = site.attempt_log(convert["attempt_id"]).encode()
    quoted = [e for e in convert["diagnosis"]["evidence"] if e.get("offset") is not None and e["line"]]  # line 0: what was known besides the log
    for e in quoted:
        assert log[e["offset"]:].lstrip().startswith(e["text"].encode()[:80]), f"the quoted place is not in the log: {e}"
    assert any("TF Select ops: Dilation2D" in e["text"] for e in quoted), convert["diagnosis"]
    assert "TF Select ops: Dilation2D" in site.command("why", str(run["id"])), "and the command quotes it"


def test_the_second_push_is_compared_with_the_last_good_run(site, ended):
    first = ended("digits-pytorch")
    run = site.until(site.push("digits-pytorch", "Say it again"), "green", "red", timeout=240)
    assert run["state"] == "green"
    for stage in (s for s in run["stages"] if s["kind"] == "verify"):
        before = first["by_name"][stage["name"]]["report"]["metrics"]
        against = {a["name"]: a for a in stage["report"]["against_last_good"]}
        assert against["artifact_bytes"]["before"] == before["artifact_bytes"] and abs(against["artifact_bytes"]["change_pct"]) < 1
        assert against["latency_p95_ms"]["before"] == pytest.approx(before["latency_p95_ms"])


def codes_of(stage: dict) -> set[str]:
    report = stage["report"]
    return {r["code"] for r in report["reasons"]} | {r["code"] for o in report["outputs"] for r in o.get("reasons", [])}


@pytest.mark.parametrize("fault, codes, words", [
    ("weights", {"tolerance"}, ""),
    ("transposed", {"tolerance"}, ""),
    ("constant", {"constant"}, "same"),
    ("heavy", {"budget"}, "artifact"),
    ("normalised", {"tolerance"}, ""),
])
def test_a_planted_fault_is_red_for_its_reason(ended, fault: str, codes: set[str], words: str):
    run = ended("faults")
    convert, verify = run["by_name"][f"convert/{fault}"], run["by_name"][f"verify/{fault}"]
    assert convert["state"] == "green", "the step that plants it does not fail"
    assert (verify["state"], verify["end_reason"]) == ("red", "exit"), verify["message"]
    report = verify["report"]
    assert report["verdict"] == "red" and codes <= codes_of(verify), json.dumps(report, indent=1)[:3000]
    assert words in json.dumps(report["reasons"]) + json.dumps(report["outputs"])
    if "tolerance" in codes:
        output = report["outputs"][0]
        assert output["max_abs_error"] > 0.05 and output["mismatched"] > 0
        worst = output["worst"]
        assert 0.05 < abs(worst["expected"] - worst["got"]) <= output["max_abs_error"] * 1.001, "the worst element is shown"


def test_a_type_that_the_golden_set_does_not_have_is_red_on_the_phone(site, ended):
    verify = ended("faults")["by_name"]["verify/int64"]
    assert verify["state"] == "red" and verify["end_reason"] == "exit"
    said = (verify["message"] or "") + site.attempt_log(verify["attempt_id"])
    assert "int64" in said and "float" in said, said[-2000:]


def test_the_step_that_plants_nothing_is_green(ended):
    run = ended("faults")
    assert run["state"] == "red"
    assert run["by_name"]["verify/none"]["state"] == "green", run["by_name"]["verify/none"]["message"]
    assert numbers_of(run["by_name"]["verify/none"])["max_abs_error"] < 1e-5


def test_a_truncated_shard_is_red_in_the_browser(site, ended):
    run = ended("shards")
    whole, truncated = run["by_name"]["verify/whole"], run["by_name"]["verify/truncated"]
    assert whole["state"] == "green", whole["message"]
    assert (truncated["state"], truncated["end_reason"]) == ("red", "exit")
    said = (truncated["message"] or "") + site.attempt_log(truncated["attempt_id"])
    assert "shard" in said or "weight" in said or "byte length" in said.lower(), said[-3000:]
