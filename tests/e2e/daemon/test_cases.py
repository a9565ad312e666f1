"""Questions that others asked: loaded from a folder as their study published it, found by words, pointed at from failures of their challenge; and a text model trained on them."""
from __future__ import annotations

import json
import os
import subprocess
import zipfile

import pytest
from portolan import BUILD, patient, wait_for

UNSUPPORTED = "server/model-export/export-of-unsupported-models"


def portolan(site, *argv: str, code: int = 0, **env) -> str:
    done = subprocess.run([str(BUILD / "cli" / "portolan"), *argv], capture_output=True, text=True, timeout=patient(120),
                          env={**os.environ, "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": site.token, **env})
    assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if code else "")


@pytest.fixture(scope="module", autouse=True)
def loaded(site):
    wait_for("the knowledge that ships", lambda: site.ok("GET", "/api/v1/kb/apply")["kb"], 180)


# ---- a small folder in the form of the public one
def post(number: int, title: str, body: str, accepted: bool) -> str:
    return json.dumps({"Id": str(number), "PostTypeId": "1", "Title": title, "Body": body, "Tags": "<tensorflow><serving>", "CreationDate": "2018-05-08T00:05:24.433",
                       "answers": [{"Body": "no"}], **({"AcceptedAnswerId": "77"} if accepted else {})}) + "\n"


def workbook(path, sheets: dict[str, list[tuple[int, str]]], prolog: str = "") -> None:
    strings, rows = [], {}

    def at(text: str) -> int:
        if text not in strings:
            strings.append(text)
        return strings.index(text)
    for name, labels in sheets.items():
        cells = "".join(f'<row r="{i + 2}"><c r="A{i + 2}"><v>{i}</v></c><c r="B{i + 2}" t="s"><v>{at(f"https://stackoverflow.com/questions/{n}")}</v></c><c r="C{i + 2}" t="s"><v>{at(label)}</v></c></row>'
                        for i, (n, label) in enumerate(labels))
        rows[name] = f'<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c><c r="B1" t="s"><v>{at("url")}</v></c></row>{cells}'
    ns = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("xl/workbook.xml", f'<?xml version="1.0"?>{prolog}<workbook {ns} xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
                   + "".join(f'<sheet name="{n}" sheetId="{i + 7}" r:id="rId{i}"/>' for i, n in enumerate(sheets)) + "</sheets></workbook>")
        z.writestr("xl/_rels/workbook.xml.rels", "<Relationships>" + "".join(f'<Relationship Id="rId{i}" Target="worksheets/sheet{i}.xml"/>' for i in range(len(sheets))) + "</Relationships>")
        z.writestr("xl/sharedStrings.xml", f"<sst {ns}>" + "".join(f"<si><r><t>{s[:3]}</t></r><r><t>{s[3:]}</t></r></si>" for s in strings) + "</sst>")
        for i, name in enumerate(sheets):
            z.writestr(f"xl/worksheets/sheet{i}.xml", f"<worksheet {ns}><sheetData>{rows[name]}</sheetData></worksheet>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("posts")
    posts = (post(101, "The quern will not move when exported", "<p>It says:</p><pre><code>RuntimeError: the quern is unmoved &lt;by layer&gt;\n</code></pre>", True)
             + post(102, "Exporting a custom layer", "<p>something else entirely about layers</p>", True)
             + post(103, "The quern is unmoved, nobody knows", "<p>the quern is unmoved</p>", False)
             + post(104, "Without a label", "<p>the quern is unmoved</p>", True) + "not json\n")
    with zipfile.ZipFile(top / "Deployment-related Posts.zip", "w") as z:
        z.writestr("posts/dl_server_post.txt", posts)
        z.writestr("__MACOSX/posts/._dl_server_post.txt", "rubbish")
    (top / "dl_mobile_post.txt").write_text(post(201, "On a phone", "<p>slow</p>", True))
    label = "model export - export of unsupported model"
    workbook(top / "category.xlsx", {"server": [(101, label), (102, label), (103, label), (999, label)], "mobile": [(201, "frying - eggs")]})
    return top


def test_a_folder_is_loaded_once(site, folder):
    told = json.loads(portolan(site, "kb", "import-posts", str(folder), "--json"))
    assert told == {"posts": 5, "labelled": 4, "labels": 5, "broken_lines": 1, "added": 5, "changed": 0, "same": 0, "unplaced": {"mobile: frying - eggs": True}}
    again = json.loads(portolan(site, "kb", "import-posts", str(folder), "--json"))
    assert (again["added"], again["changed"], again["same"]) == (0, 0, 5)
    one = site.ok("GET", "/api/v1/kb/cases?challenge=server/model-export&q=quern+layer")["items"]
    assert [c["id"] for c in one] == ["so-101"]
    assert one[0]["challenge_id"] == UNSUPPORTED and one[0]["answered"] and one[0]["labels"] == ["model export - export of unsupported model"]
    assert "the quern is unmoved <by layer>" in one[0]["excerpt"] and "<p>" not in one[0]["excerpt"]
    pages, after = [], ""
    while after is not None:
        page = site.ok("GET", f"/api/v1/kb/cases?limit=2&after={after}")
        pages += [c["id"] for c in page["items"]]
        after = page["next"]
    assert pages == ["so-101", "so-102", "so-103", "so-104", "so-201"]
    assert sum(a["action"] == "kb.cases" for a in site.ok("GET", "/api/v1/audit")["items"]) == 1, "what changes nothing is no change"


def test_a_failure_points_at_answered_questions_of_its_challenge(site, folder):
    site.indicator("unmoved", "the quern is unmoved", UNSUPPORTED, transient=False)
    site.project("mill", """
version: 1
model: mill
export: {run: ["echo RuntimeError: the quern is unmoved >&2; exit 3"]}
targets:
  server: {host: server, verify: {run: ["true"]}}
""")
    run_id = site.run("mill")
    run = site.until(run_id, "red")
    attempt = site.ok("GET", f"/api/v1/attempts/{run['stages'][0]['attempt_id']}")
    assert [c["id"] for c in attempt["known_cases"]] == ["so-101", "so-102"], "answered ones only, the nearest first"
    assert attempt["known_cases"][0]["score"] > attempt["known_cases"][1]["score"]
    out = portolan(site, "why", str(run_id))
    assert "answered: The quern will not move when exported  https://stackoverflow.com/questions/101" in out
    assert "retry: not tried again: the same would happen" in out and "$ mend --unmoved" in out and "the quern is unmoved" in out
    # A person's word, from the command line, with the run's own names.
    said = portolan(site, "feedback", "correct", f"mill#{run['number']}/export", "server/serving/model-loading", "-m", "the other one")
    assert "the diagnosis said " + UNSUPPORTED in said
    out = portolan(site, "why", str(run_id))
    assert "in force: server/serving/model-loading, said by first admin: the other one" in out
    listed = json.loads(portolan(site, "feedback", "list", f"mill#{run['number']}/export", "--json"))["items"]
    assert listed[0]["in_force"]
    exported = [json.loads(line) for line in site.call("GET", "/api/v1/kb/cases/export").body.decode().splitlines()]
    assert exported[-1] == {"end": True}
    by_id = {c["id"]: c for c in exported[:-1]}
    own = by_id[f"attempt-{attempt['id']}"]
    assert own["label"] == "server/serving/model-loading" and own["platform"] == "server" and "the quern is unmoved" in own["log"]
    assert set(by_id) == {own["id"], "so-101", "so-102", "so-103"} and by_id["so-101"]["label"] == UNSUPPORTED
    portolan(site, "feedback", "undo", str(listed[0]["id"]))
    portolan(site, "feedback", "undo", str(listed[0]["id"]), code=4)
    assert "in force" not in portolan(site, "why", str(run_id))


def test_what_can_be_trained_on(site, tmp_path):
    portolan(site, "kb", "cases", "export", str(tmp_path / "cases.jsonl"))
    labels = {json.loads(line)["label"] for line in (tmp_path / "cases.jsonl").read_text().splitlines()}
    assert labels == {UNSUPPORTED}
    portolan(site, "kb", "train", str(tmp_path / "cases.jsonl"), "-o", str(tmp_path / "text.bin"))
    assert (tmp_path / "text.bin").stat().st_size > 1000
    assert "The quern will not move" in portolan(site, "kb", "cases", "list", "--words", "quern move")


def test_hostile_folders(site, tmp_path):
    def dry(code: int) -> str:
        return portolan(site, "kb", "import-posts", str(tmp_path), "--dry-run", code=code)
    assert "no posts" in dry(1)
    (tmp_path / "server.txt").write_text(post(1, "a", "b", True))
    dry(0)
    book = tmp_path / "labels.xlsx"
    workbook(book, {"server": [(1, "model update")]}, prolog='<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>')
    assert "labels.xlsx" in dry(1)
    book.write_bytes(b"PK\x03\x04 no zip at all")
    assert "labels.xlsx" in dry(1)
    workbook(book, {"server": [(1, "model update")]})
    good = book.read_bytes()
    for cut in range(30, len(good), 97):
        book.write_bytes(good[:cut])
        done = subprocess.run([str(BUILD / "cli" / "portolan"), "kb", "import-posts", str(tmp_path), "--dry-run"], capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 1), (cut, done.returncode, done.stderr)


def test_what_is_refused(site):
    curator = site.ok("POST", "/api/v1/tokens", {"name": "cy", "role": "curator"})["token"]
    alone = site.ok("POST", "/api/v1/tokens", {"name": "al", "role": "curator", "project": "mill"})["token"]
    good = {"id": "x-1", "url": "https://example.org/1", "title": "t", "text": "x"}
    def put(case, token=curator):
        return site.call("POST", "/api/v1/kb/cases", {"cases": [case]}, token=token).status
    assert put(good) == 200
    assert put(good, alone) == 403
    assert put(good, site.ok("POST", "/api/v1/tokens", {"name": "vi", "role": "member"})["token"]) == 403
    for wrong in ({"url": "javascript:alert(1)"}, {"title": ""}, {"id": "x" * 201}, {"platform": "toaster"}, {"labels": "x"}, {"answered": "yes"}, {"text": "x" * 200001}):
        assert put({**good, **wrong}) == 422, wrong
