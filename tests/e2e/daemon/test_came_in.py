"""A verify that fails may be the victim of an earlier stage: what that one said competes on equal terms, and the answer names the stage where the fault came in."""
from __future__ import annotations

import os
import subprocess

from portolan import BUILD, wait_for

UNSUPPORTED = "server/model-export/export-of-unsupported-models"

PIPELINE = """
version: 1
model: quern
export:
  run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "echo w > $PORTOLAN_OUTPUTS/model/w", "echo layer 3 falls back: the quern is unmoved"]
  outputs: [model/w]
targets:
  server:
    host: server
    convert: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp $PORTOLAN_INPUTS/model/w $PORTOLAN_OUTPUTS/model/w"], outputs: [model/w]}
    verify: {run: ["echo zounds >&2; exit 1"], retry: 0}
"""


def test_the_stage_where_the_fault_came_in_is_named(site):
    site.indicator("unmoved", "the quern is unmoved", UNSUPPORTED, transient=False)
    site.project("quern", PIPELINE)
    run_id = site.run("quern")
    run = site.until(run_id, "red")
    assert [s["state"] for s in run["stages"]] == ["green", "green", "red"]
    name = run["stages"][2]["name"]
    stage = wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run_id, name)), 120)
    first = stage["diagnosis"]["challenges"][0]
    assert (first["id"], first["came_in"]) == (UNSUPPORTED, "export"), stage["diagnosis"]["challenges"][:2]
    quoted = stage["diagnosis"]["evidence"][first["evidence"][0]]
    assert quoted["stage"] == "export" and "the quern is unmoved" in quoted["text"]
    out = subprocess.run([str(BUILD / "cli" / "portolan"), "why", str(run_id)], capture_output=True, text=True, timeout=60,
                         env={**os.environ, "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": site.token}).stdout
    assert "came in at export" in out and "the quern is unmoved   [export]" in out, out
