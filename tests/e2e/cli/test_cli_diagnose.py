"""portolan diagnose, kb compile, kb train: the knowledge base without a server, whatever the log is."""
import hashlib
import json
import os
import pathlib
import shutil

from standin import CLI

OLD_RUNTIME = "INFO: Created runtime\nERROR: Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'. An older version of this builtin might be supported.\nERROR: Registration failed.\n"
VERSIONS = "mobile/dl-integration-into-projects/avoiding-version-incompatibility"
TOOL = pathlib.Path(CLI).parent.parent / "daemon" / "kb" / "portolan-kb"


def answer(done):
    """The form that programs rely on."""
    got = done.ok().json
    assert got["state"] in ("diagnosed", "unclear")
    assert isinstance(got["transient"], bool)
    for r in got["ranked"]:
        assert isinstance(r["id"], str) and 0 <= r["p"] <= 1 and all(isinstance(e, str) for e in r["evidence"])
    assert [r["p"] for r in got["ranked"]] == sorted((r["p"] for r in got["ranked"]), reverse=True)
    return got


def test_a_log_from_a_file_and_from_standard_input(alone, tmp_path):
    (tmp_path / "log").write_text(OLD_RUNTIME)
    got = answer(alone("diagnose", "--platform", "mobile", "--stage", "verify", "--tool", "tflite", "log", "--json"))
    assert got["state"] == "diagnosed" and got["ranked"][0]["id"] == VERSIONS and got["transient"] is False
    assert got["ranked"][0]["evidence"][0].startswith("2: ERROR: Didn't find op")
    for again in (alone("diagnose", "--json", "--platform", "mobile", "--stage", "verify", "--tool", "tflite", "-", input=OLD_RUNTIME),
                  alone("--json", "diagnose", "--platform", "mobile", "--stage", "verify", "--tool", "tflite", input=OLD_RUNTIME)):
        assert answer(again) == got, "the same log, the same answer"


def test_people_read_what_broke_why_and_what_to_do(alone):
    out = alone("diagnose", "--platform", "mobile", "--stage", "verify", input=OLD_RUNTIME).ok().out
    assert out.startswith("Mobile deployment \u203a DL Integration into Projects")
    assert "no version 12 of the builtin operator FULLY_CONNECTED" in out
    assert "     2 | ERROR: Didn't find op" in out
    assert "\ndo      " in out and "\nretry   no" in out


def test_unclear_says_the_nearest_and_what_would_decide(alone):
    done = alone("diagnose", "--platform", "server", "--stage", "export", input="something went wrong\n").ok()
    assert done.out.startswith("Unclear") and "\nnearest " in done.out and "\ndecides " in done.out and "\nretry   unknown" in done.out


def test_any_bytes_are_a_log(alone, tmp_path):
    noise = bytes(range(256)) * 400
    for name, data in {"empty": b"", "newlines": b"\n" * 5000, "binary": noise, "nul": b"\0" * 5000, "crlf": OLD_RUNTIME.replace("\n", "\r\n").encode(), "one line": b"x" * 3_000_000,
                       "latin": "größe".encode("latin-1"), "utf16": OLD_RUNTIME.encode("utf-16")}.items():
        (tmp_path / "log").write_bytes(data)
        got = answer(alone("diagnose", "--json", "log"))
        answer(alone("diagnose", "--json", "--platform", "mobile", "--stage", "convert", "--tool", name + " \u2603 \x1b[31m", "log"))
        if name in ("empty", "newlines", "nul", "binary"):
            assert got["state"] == "unclear", name
    crlf = answer(alone("diagnose", "--json", "--platform", "mobile", "--stage", "verify", input=OLD_RUNTIME.replace("\n", "\r\n")))
    assert crlf["ranked"][0]["id"] == VERSIONS


def test_of_a_huge_log_both_ends_are_read_and_the_cut_is_told(alone, tmp_path):
    line = b"[123] INFO: compiling step of many, all is well so far and goes on\n"
    with open(tmp_path / "log", "wb") as f:
        for _ in range(75):
            f.write(line * (1 << 20 >> 6))
        f.write(OLD_RUNTIME.encode())
    got = answer(alone("diagnose", "--json", "--platform", "mobile", "--stage", "verify", "log"))
    assert got["ranked"][0]["id"] == VERSIONS
    assert any("bytes in the middle of the log were not looked at" in c for c in got["cuts"])


def test_platforms_and_stages_as_people_call_them(alone):
    want = answer(alone("diagnose", "--json", "--platform", "mobile", "--stage", "verify", input=OLD_RUNTIME))
    assert answer(alone("diagnose", "--json", "--platform", "Android", "--stage", "verify/android", input=OLD_RUNTIME)) == want
    done = alone("diagnose", "--json", "--platform", "toaster", "--stage", "bake", input=OLD_RUNTIME)
    assert "--platform toaster is none of" in done.err and "--stage bake is none of" in done.err
    assert answer(done) == answer(alone("diagnose", "--json", input=OLD_RUNTIME))


def test_what_is_not_there(alone, tmp_path):
    alone("diagnose", "absent.log").failed(4, "absent.log: no such file")
    alone("diagnose", "--kb", "absent.bin", "--json", input="x").failed(1, "absent.bin")
    (tmp_path / "bad.bin").write_text("portolan-kb 4 00 00 1 2 3\n")
    alone("diagnose", "--kb", "bad.bin", "--json", input="x").failed(1, "bad.bin")
    alone("diagnose", "--json", input="x", env={"PORTOLAN_KB_TOOL": "/nonexistent/tool"}).failed(1, "/nonexistent/tool")
    lonely = tmp_path / "alone" / "portolan"
    lonely.parent.mkdir()
    shutil.copy(CLI, lonely)
    import subprocess
    done = subprocess.run([str(lonely), "diagnose", "--json"], input=b"x", capture_output=True, env=alone.env)
    assert done.returncode == 4 and b"PORTOLAN_KB_TOOL" in done.stderr


def test_a_compiled_file_gives_the_same_answer_and_a_damaged_one_is_refused(alone, tmp_path):
    want = answer(alone("diagnose", "--json", "--platform", "mobile", "--stage", "verify", input=OLD_RUNTIME))
    alone("kb", "compile", "-o", "own.bin").ok()
    assert answer(alone("diagnose", "--json", "--kb", "own.bin", "--platform", "mobile", "--stage", "verify", input=OLD_RUNTIME)) == want
    data = (tmp_path / "own.bin").read_bytes()
    (tmp_path / "cut.bin").write_bytes(data[: len(data) // 2])
    alone("diagnose", "--json", "--kb", "cut.bin", input="x").failed(1, "it is cut")
    # One bit anywhere: in the head, the document, the space between, the text model, the scan.
    for at in (20, 90, len(data.partition(b"\n")[0]) + 3, 3000, len(data) // 2, len(data) - 5):
        (tmp_path / "bit.bin").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        alone("diagnose", "--json", "--kb", "bit.bin", input="x").failed(1, "bit.bin: ")
    (tmp_path / "longer.bin").write_bytes(data + b"x")
    alone("diagnose", "--json", "--kb", "longer.bin", input="x").failed(1, "it is damaged")
    # A scan that was made of other indicators is not trusted: the patterns are compiled, the answer is the same.
    head, _, rest = data.partition(b"\n")
    doc, model, scan = (int(n) for n in head.split()[4:])
    at = len(data) - scan
    other = data[:at] + b"0" * 64 + data[at + 64:]
    behind = len(b"portolan-kb 4 ") + 64
    (tmp_path / "other.bin").write_bytes(other[: behind - 64] + hashlib.sha256(other[behind:]).hexdigest().encode() + other[behind:])
    assert answer(alone("diagnose", "--json", "--kb", "other.bin", "--platform", "mobile", "--stage", "verify", input=OLD_RUNTIME)) == want


def test_knowledge_of_ones_own_files(alone, tmp_path):
    shipped = pathlib.Path(__file__).resolve().parents[3] / "migrations" / "kb"
    shutil.copytree(shipped, tmp_path / "own")
    (tmp_path / "own" / "indicators" / "local.yml").write_text(f"""version: 1
indicators:
  - id: local/widget
    summary: "the widget of this house refuses {{what}}"
    pattern: 'WIDGET-77 refuses (?<what>[a-z]+)'
    weights: {{mobile: {{{VERSIONS}: 0.95}}}}
    specificity: 0.95
    transient: true
    sources: ["ours"]
""")
    log = "WIDGET-77 refuses models today\n"
    assert answer(alone("diagnose", "--json", "--platform", "mobile", input=log))["state"] == "unclear"
    alone("kb", "compile", "own", "-o", "own.bin").ok()
    got = answer(alone("diagnose", "--json", "--platform", "mobile", "--kb", "own.bin", input=log))
    assert got["ranked"][0]["id"] == VERSIONS and got["transient"] is True and got["summary"] == "the widget of this house refuses models"
    alone("kb", "compile", "empty", "-o", "no.bin").failed(1)
    (tmp_path / "empty").mkdir()
    alone("kb", "compile", "empty", "-o", "no.bin").failed(1, "no taxonomy below it")


def test_a_text_model_from_cases_is_the_same_each_time(alone, tmp_path):
    cases = [{"id": f"{kind}-{i}", "platform": "mobile", "log": f"{word} trouble number {i}\n", "label": node} for i in range(12)
             for kind, word, node in (("a", "flibber", VERSIONS), ("b", "gazonk", "mobile/model-conversion/procedure"))]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
    for name in ("one.bin", "two.bin"):
        assert "24 cases" in alone("kb", "train", "--only", "-o", name, "cases.jsonl").ok().err
    assert (tmp_path / "one.bin").read_bytes() == (tmp_path / "two.bin").read_bytes()
    alone("kb", "train", "-o", "x.bin", "absent.jsonl").failed(4, "absent.jsonl")
    alone("kb", "train", "--local", "--only", "-o", "x.bin").failed(2, "--only needs CASES")
    alone("kb", "train", "--only", "--set", "cases.jsonl").failed(2, "kb model set FILE")


def test_the_whole_report_of_the_bench_in_one_command(tmp_path):
    """Which file is what, what counts as right, and the arithmetic; how good the answers are is not asked here."""
    import subprocess
    logs = [{"id": f"log-{i}", "platform": p, "stage": "verify", "log": log, "label": label}
            for i, (p, log, label) in enumerate([("mobile", OLD_RUNTIME, VERSIONS), ("mobile", OLD_RUNTIME, "mobile/model-conversion/procedure"), ("server", "OSError: [Errno 28] No space left on device\n", "infra/disk-full")])]
    noisy = [{**c, "log": "loading\n" * 20 + c["log"]} for c in logs[:2]]
    posts = [{"id": "post-1", "platform": "browser", "title": "How do I load a model?", "body": "It does not load.", "label": "browser/model-loading/procedure"}]
    for name, cases in (("logs", logs), ("noisy", noisy), ("posts", posts)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
    drilled = [{"name": "a", "expect": [VERSIONS], "ranked": [VERSIONS], "problem": ""}, {"name": "b", "expect": ["server/serving/procedure", "server/serving/model-loading"], "ranked": ["infra/x", "server/serving/model-loading"], "problem": ""},
               {"name": "c", "expect": ["browser/x"], "ranked": [], "problem": "it was green"}]
    (tmp_path / "drills.jsonl").write_text("".join(json.dumps(d) + "\n" for d in drilled))
    run = [pathlib.Path(__file__).resolve().parents[3] / "tests" / "bench" / "diagnosis" / "run", "--tool", TOOL, "--as-shipped", "--no-speed", "--drills", tmp_path / "drills.jsonl", *(tmp_path / f"{n}.jsonl" for n in ("logs", "noisy", "posts"))]
    done = subprocess.run([*map(str, run), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert [(f["file"], f["kind"], f["twin_of"]) for f in got["files"]] == [("logs.jsonl", "logs", None), ("noisy.jsonl", "noisy", "logs.jsonl"), ("posts.jsonl", "posts", None)]
    both = got["files"][0]["ways"]["both"]
    assert (both["all"]["deployment"], both["all"]["outside"], both["mobile"]["deployment"], both["browser"]["deployment"]) == (2, 1, 2, 0)
    assert both["all"]["leaf1"] == 0.5 and both["all"]["false"] == 0 and both["all"]["missed"] == 0, both
    assert sum(t["cases"] for t in got["files"][0]["calibration"]["both"]["table"]) == 3 and got["files"][1]["lost"]["both"]["leaf1"] == 0
    d = got["drills"]
    assert (d["drills"], d["came_out"], d["first"], d["three"], d["nodes"], d["earlier"]["covered"], d["earlier"]["of"]) == (3, 2, 1, 2, 2, 6, 92)
    assert "6 of 92" in subprocess.run(list(map(str, run)), capture_output=True, text=True).stdout
