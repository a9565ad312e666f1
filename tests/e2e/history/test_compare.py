"""A red run beside the last good one: which one that is, what differs in commits, files, environment and figures, what is left out, who may see it."""
from __future__ import annotations

import subprocess

import pytest
from portolan import BUILD

from conftest import PIPELINE

LINE = "ModuleNotFoundError: No module named 'quern'\n"


def compare(past, run: int, query: str = "", **more):
    return past.ok("GET", f"/api/v1/runs/{run}/compare?{query}", **more)


@pytest.fixture(scope="module")
def voyage(past):
    """north: green, then half green, then red with another pipeline file, requirements, script, a binary file, a long one and another version of a tool."""
    work = past.dir / "work" / "north"
    (work / "requirements.txt").write_text("tensorflow==2.15.0\n")
    (work / "export.py").write_text("print('one')\n")
    (work / "photo.bin").write_bytes(bytes(range(256)))
    (work / "table.csv").write_text("".join(f"{i}\n" for i in range(9000)))
    past.commit(work, "before")
    past.git(work, "push", "-q", "origin", "main")
    green = past.run("north")
    past.end(green, {}, {"tensorflow": "2.15.0"})
    half = past.run("north")
    past.end(half, {"verify/android": LINE}, {"tensorflow": "2.15.1"})
    (work / ".portolan.yml").write_text(PIPELINE.replace("model: toy", "model: toy-2"))
    (work / "requirements.txt").write_text("tensorflow==2.16.1\n")
    (work / "export.py").write_text("print('two \x1b[2J')\n")
    (work / "photo.bin").write_bytes(bytes(reversed(range(256))))
    (work / "table.csv").write_text("".join(f"{i}\n" for i in range(9000, 18000)))
    past.commit(work, "Another tensorflow\n\nNot the subject.")
    past.git(work, "push", "-q", "origin", "main")
    red = past.run("north")
    past.end(red, {"verify/server": LINE, "verify/android": LINE}, {"tensorflow": "2.16.1"})
    return green, half, red


def test_the_last_good_one_of_the_stage(past, voyage):
    green, half, red = voyage
    got = compare(past, red, "stage=verify/server")
    assert got["with"]["id"] == half, "the stage was green there, though the run was not"
    assert compare(past, red, "stage=verify/android")["with"]["id"] == green
    assert compare(past, red)["stage"] == "verify/server", "the first red one when none is named"
    assert compare(past, red, f"stage=verify/server&with={green}")["with"]["id"] == green
    assert got["environment"] == [{"tool": "tensorflow", "before": "2.15.1", "after": "2.16.1"}] and got["where"] == []
    assert compare(past, half)["environment"] == [{"tool": "tensorflow", "before": "2.15.0", "after": "2.15.1"}]
    same = compare(past, half)
    assert same["with"]["id"] == green and same["run"]["commit"] == same["with"]["commit"] and same["diff"] is None and same["commits"] == [] and same["files"] == []


def test_what_the_commits_changed(past, voyage):
    green, half, red = voyage
    got = compare(past, red, "stage=verify/server")
    assert [c["subject"] for c in got["commits"]] == ["Another tensorflow"] and got["commits"][0]["author"] == "Ada"
    assert set(got["files"]) == {".portolan.yml", "requirements.txt", "export.py", "photo.bin", "table.csv"}
    at = [got["diff"].index(f"diff --git a/{name}") for name in (".portolan.yml", "requirements.txt", "export.py", "photo.bin", "table.csv")]
    assert at == sorted(at), "the pipeline file, what is installed, scripts, the rest"
    assert "-model: toy\n+model: toy-2\n" in got["diff"] and "Binary files a/photo.bin and b/photo.bin differ" in got["diff"]
    assert len(got["diff"]) < 64 << 10 and got["cuts"] == ["the difference of 1 files, in part or whole"]


def test_nothing_to_compare_with_is_said(past, voyage):
    first = past.run("south")
    past.end(first, {"verify/server": LINE})
    got = compare(past, first)
    assert got["with"] is None and "in no run before this one" in got["why"] and got["diff"] is None
    assert past.call("GET", f"/api/v1/runs/{first}/compare?stage=nothing").status == 404
    assert past.call("GET", "/api/v1/runs/999999/compare").status == 404
    other = compare(past, first, f"with={voyage[0]}")
    assert other["with"] is None and "no such run of this project" in other["why"], "another project's run is none"


def test_only_what_a_token_may_see(past, voyage):
    green, half, red = voyage
    south, north = past.viewer("south only", "south"), past.viewer("north only", "north")
    assert past.call("GET", f"/api/v1/runs/{red}/compare", token=south).status == 404
    assert compare(past, red, token=north)["with"]["id"] == half


def test_the_command(past, voyage):
    green, half, red = voyage
    env = {"PORTOLAN_SERVER": past.url, "PORTOLAN_TOKEN": past.token, "PATH": "/usr/bin:/bin", "HOME": str(past.dir)}
    done = subprocess.run([str(BUILD / "cli" / "portolan"), "run", "compare", str(red)], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    for words in ("last good", "environment  tensorflow 2.15.1 -> 2.16.1", "Another tensorflow (Ada)", "+tensorflow==2.16.1", "Binary files a/photo.bin", "left out     the difference of 1 files"):
        assert words in done.stdout, f"{words!r} is not in\n{done.stdout[:3000]}"
    assert "\x1b[2J" not in done.stdout, "what a file holds must not steer the terminal"
    none = subprocess.run([str(BUILD / "cli" / "portolan"), "run", "compare", str(green)], capture_output=True, text=True, env=env, timeout=60)
    assert none.returncode != 0 and "no run of this project before this one was green" in none.stderr
