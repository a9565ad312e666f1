"""Trends beside the paper's numbers, wanted operators, pairs of toolchains that break; the same by two daemons and after a correction."""
from __future__ import annotations

import subprocess

import pytest
from portolan import BUILD, wait_for

from conftest import PIPELINE

VERSION = "ERROR: Didn't find op for builtin opcode '{}' version '5'. An older version of this builtin might be supported.\nERROR: Registration failed.\n"


@pytest.fixture(scope="module")
def told(past):
    export = {"tensorflow": "2.19.1"}
    ids = []
    for project, op, runtime in (("north", "CONV_2D", "1.0.9"), ("north", "CONV_2D", "1.0.9"), ("south", "CONV_2D", "1.0.9"), ("south", "SOFTMAX", "1.2.0")):
        run = past.run(project)
        ids.append(past.end(run, {"verify/android": VERSION.format(op)}, environments={"export": export, "verify/android": {"ai-edge-litert": runtime}})["verify/android"])
    run = past.run("south")
    past.end(run, {}, environments={"export": export, "verify/android": {"ai-edge-litert": "1.2.0"}})
    wait_for("the last one to be resolved", lambda: past.ok("GET", f"/api/v1/attempts/{ids[3]}/failure")["resolved_at"], 60)
    return ids


def test_challenges_beside_the_paper(past, told):
    leaf = past.ok("GET", f"/api/v1/attempts/{told[0]}/failure")["challenge_id"]
    items = {i["id"]: i for i in past.ok("GET", "/api/v1/trends?since=7d&interval=day")["items"]}
    got, paper = items[leaf], past.sql(f"SELECT share FROM challenge WHERE id = '{leaf}'")
    assert got["failures"] == 4 and got["resolved"] == 2, "both of south: the green run ended either"
    assert got["share"] == 100.0 and got["unresolved_share"] == 50.0 and got["median_hours"] is not None and sum(p["failures"] for p in got["series"]) == 4
    assert got["paper"]["share"] == float(paper) and got["paper"]["unanswered"] is not None and " › " in got["path"]
    category = {i["id"]: i for i in past.ok("GET", "/api/v1/trends?by=category&since=7d&interval=month")["items"]}[leaf.rsplit("/", 1)[0]]
    assert category["failures"] == 4 and category["paper"]["questions"] > 0
    assert {i["id"]: i["failures"] for i in past.ok("GET", "/api/v1/trends?project=north")["items"]}[leaf] == 2
    north = past.viewer("north trends", "north")
    assert {i["id"]: i["failures"] for i in past.ok("GET", "/api/v1/trends", token=north)["items"]} == {leaf: 2}
    assert past.call("GET", "/api/v1/trends?project=south", token=north).status == 404
    for query in ("by=colour", "interval=hour", "since=long", "since=2001-01-01", "interval=day&since=2y"):
        assert past.call("GET", f"/api/v1/trends?{query}").status == 422, query


def test_wanted_operators(past, told):
    first, second = past.ok("GET", "/api/v1/trends/operators")["items"]
    assert (first["operator"], first["projects"], first["failures"], first["unresolved"]) == ("CONV_2D", 2, 3, 2)
    assert first["places"][0]["platform"] == "mobile" and first["places"][0]["tool"] == "command" and first["places"][0]["challenge_id"].startswith("mobile/")
    assert (second["operator"], second["failures"], second["unresolved"]) == ("SOFTMAX", 1, 0)
    assert [o["operator"] for o in past.ok("GET", "/api/v1/trends/operators?project=north")["items"]] == ["CONV_2D"]
    assert past.ok("GET", "/api/v1/trends/operators?platform=browser")["items"] == []


def test_toolchains_that_break(past, told):
    pairs = {(p["made_with"], p["used_with"]): p for p in past.ok("GET", "/api/v1/trends/toolchains")["items"]}
    never, often = pairs[("tensorflow 2.19.1", "ai-edge-litert 1.0.9")], pairs[("tensorflow 2.19.1", "ai-edge-litert 1.2.0")]
    assert (never["failed"], never["ok"], never["never_green"], never["failed_share"]) == (3, 0, True, 100.0)
    assert (often["failed"], often["ok"], often["never_green"], often["failed_share"]) == (1, 1, False, 50.0)
    assert list(pairs)[0] == ("tensorflow 2.19.1", "ai-edge-litert 1.0.9"), "what never went well first"


def test_counts_stay_exact_with_two_daemons_folding(past, told):
    before = past.ok("GET", "/api/v1/trends?since=7d")["items"]
    first = past.url
    socket = next(p.parent for p in (past.dir / "state" / "postgres").rglob(".s.PGSQL.*") if p.suffix != ".lock")
    past.start_daemon("second", database=f"host={socket} user=portolan dbname=portolan", **{"state-dir": str(past.dir / "second")})
    try:
        for i in range(6):
            past.sql(f"UPDATE attempt SET challenge_id = 'server/request/batching-request', challenge_by = 'person' WHERE id IN ({', '.join(map(str, told))})")
            past.sql(f"UPDATE attempt SET challenge_by = NULL WHERE id IN ({', '.join(map(str, told))})")
        assert past.ok("GET", "/api/v1/trends?since=7d")["items"] == before, "there and back again, partly folded"
        wait_for("the counts to be folded", lambda: past.sql("SELECT count(*) FROM failure_delta") == "0", 30)
        assert past.ok("GET", "/api/v1/trends?since=7d")["items"] == before
        assert past.sql("SELECT sum(failures) FROM failure_class") == past.sql("SELECT count(*) FROM failure") == past.sql("SELECT sum(failures) FROM failure_total WHERE unit = 'day'") == past.sql("SELECT sum(failures) FROM failure_day WHERE project_id > 0")
        assert past.sql("SELECT sum(failures) FROM failure_operator") == "4" and past.sql("SELECT sum(resolved) FROM failure_class") == "2"
    finally:
        past.url = first


def test_the_command_line(past, told):
    env = {"PORTOLAN_SERVER": past.url, "PORTOLAN_TOKEN": past.token, "PATH": "/usr/bin:/bin", "HOME": str(past.dir), "LANG": "C.UTF-8"}
    for what, word in (((), "mobile/"), (("--by", "category"), "mobile/"), (("operators",), "SOFTMAX"), (("toolchains",), "never")):
        done = subprocess.run([str(BUILD / "cli" / "portolan"), "trends", *what], capture_output=True, text=True, env=env, timeout=60)
        assert done.returncode == 0 and word in done.stdout, (what, done.stdout, done.stderr)
