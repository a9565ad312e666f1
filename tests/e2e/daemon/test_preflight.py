"""Pre-flight in the life of a run: the source, what an export wrote, what it names, that it survives its daemon, and who may read it."""
from __future__ import annotations

import json
import pathlib

from portolan import lay_model, wait_for

WRITES = """
version: 1
model: toy
export:
  run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp -r made/. $PORTOLAN_OUTPUTS/model/"]
  outputs: [model/saved_model.pb]
targets:
  phone:
    host: mobile
    convert: {uses: tensorflow/tflite, with: {signature: score, quantize: int8}}
    verify: {uses: litert/run}
"""


def looked(site, run: int, looks: int) -> dict:
    def ask():
        answer = site.ok("GET", f"/api/v1/runs/{run}/preflight")
        return answer if len(answer["looks"]) >= looks and all(l["state"] != "pending" for l in answer["looks"]) else None
    return wait_for(f"{looks} looks of run {run}", ask, 60)


def with_model(site, name: str, pipeline: str, model: str) -> pathlib.Path:
    work = site.project(name, pipeline, {"README": "x"})
    lay_model(work, model)
    site.commit(work, "a model")
    site.git(work, "push", "-q", "origin", "main")
    return work


def test_source_and_artifacts_are_looked_at_and_name_their_challenge(site):
    with_model(site, "dilated", WRITES, "saved-model-named")
    run = site.run("dilated")
    site.until_stage(run, "export", "green")
    answer = looked(site, run, 2)
    by_rule = {(f["rule"], f["found_in"]): f for f in answer["items"]}
    plan = by_rule["representative-data", None]  # the plan alone says it, before anything ran
    assert plan["challenge_id"] == "mobile/model-conversion/model-quantization" and plan["stage"] == "convert/phone" and plan["severity"] == "error"
    graph = by_rule["op-unsupported", "export"]  # only the exported graph says it
    assert graph["challenge_id"] == "mobile/model-conversion/conversion-of-unsupported-models" and "Dilation2D" in graph["message"]
    export = next(l for l in answer["looks"] if l["stage"] == "export")
    assert export["models"][0]["format"] == "saved-model" and export["models"][0]["path"] == "model"
    events = [e for e in site.sql(f"SELECT kind || ' ' || (data ->> 'errors') FROM event WHERE run_id = {run} AND kind = 'preflight' ORDER BY id").splitlines()]
    known = json.loads(site.sql(f"SELECT preflight_of({run}, 'convert/phone')"))  # what a diagnosis of that stage reads
    assert [k["rule"] for k in known] == ["representative-data", "op-unsupported"] and "Dilation2D" in known[1]["message"]
    assert len(events) == 2 and all(int(e.split()[1]) >= 1 for e in events)


def test_a_clean_model_says_nothing_and_estimates_memory(site):
    pipeline = WRITES.replace("signature: score, quantize: int8", "signature: serving_default")
    with_model(site, "clean", pipeline, "saved-model")
    run = site.run("clean")
    site.until_stage(run, "export", "green")
    answer = looked(site, run, 2)
    assert answer["items"] == []
    assert answer["next"] is None


def test_memory_of_a_target_beside_its_limit(site):
    pipeline = """
version: 1
model: toy
export: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp made/dynamic.onnx $PORTOLAN_OUTPUTS/model/"], outputs: [model/dynamic.onnx]}
targets: {phone: {host: mobile, verify: {uses: onnxruntime/run, with: {device: wear-a53-512m}}}}
"""
    with_model(site, "memory", pipeline, "dynamic.onnx")
    run = site.run("memory")
    site.until_stage(run, "export", "green")
    memory = [m for l in looked(site, run, 2)["looks"] for m in l["memory"]]
    assert len(memory) == 1 and memory[0]["limit_bytes"] == 512 << 20
    assert memory[0]["estimate_bytes"] == sum(t["bytes"] for t in memory[0]["terms"]) and memory[0]["measured_bytes"] is None


def test_a_row_whose_daemon_died_is_taken_by_the_next_and_given_up_after_three(site):
    with_model(site, "orphan", WRITES, "saved-model-named")
    run = site.run("orphan")
    site.until_stage(run, "export", "green")
    looked(site, run, 2)
    # as a daemon leaves it that was killed over it: taken, its lease over
    site.sql(f"DELETE FROM preflight_finding WHERE run_id = {run}")
    site.sql(f"UPDATE preflight SET state = 'pending', until = now() - interval '1 second', done_at = NULL, tries = 1 WHERE run_id = {run} AND stage_id IS NOT NULL")
    assert {f["rule"] for f in looked(site, run, 2)["items"]} == {"op-unsupported"}
    site.sql(f"UPDATE preflight SET state = 'pending', until = NULL, tries = 3 WHERE run_id = {run} AND stage_id IS NOT NULL")
    answer = looked(site, run, 2)
    given_up = next(l for l in answer["looks"] if l["stage"] == "export")
    assert given_up["state"] == "failed" and "three tries" in given_up["message"]


def test_who_may_not_see_the_project_sees_no_findings(site):
    with_model(site, "mine", WRITES, "saved-model-named")
    site.project("other", WRITES, {"README": "x"})
    run = site.run("mine")
    wait_for("a plan", lambda: site.get(run)["number"], 30)
    token = site.ok("POST", "/api/v1/tokens", {"name": "confined", "role": "viewer", "project": "other"})["token"]
    assert site.call("GET", f"/api/v1/runs/{run}/preflight", token=token).status == 404
    assert site.call("GET", "/api/v1/runs/999999/preflight").status == 404
