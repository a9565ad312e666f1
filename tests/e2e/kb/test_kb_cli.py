"""The commands about the knowledge base against the real daemon: reading, a curator's changes, the editor, tries, folders, history."""
from __future__ import annotations

import filecmp
import json
import os
import pathlib
import pty
import select
import subprocess

from conftest import PIPELINE, Cli
from portolan import BUILD, wait_for

KB = pathlib.Path(__file__).resolve().parents[3] / "migrations" / "kb"
NODE = "server/serving/bidirectional-streaming"   # what no text model takes such a sentence for
ENTRY = "mobile/dl-integration-into-projects/avoiding-version-incompatibility"


def widget(id, **more):
    lines = {"id": id, "summary": '"the widget refuses {what}"', "pattern": "'WIDGET-77 refuses (?<what>[a-z]+)'", "weights": f"{{any: {{{NODE}: 0.95}}}}", "specificity": "0.95", "transient": "false",
             "sources": "[ours]", **more}
    return "".join(f"{k}: {v}\n" for k, v in lines.items())


def on_a_terminal(cli, *args, env):
    """The command with a terminal of its own; exit code and what it showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cli.home)
        os.execve(str(BUILD / "cli" / "portolan"), ["portolan", *args], {**cli.env, "TERM": "dumb", **env})
    out = b""
    while True:
        ready, _, _ = select.select([fd], [], [], 60)
        assert ready, out
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode(errors="replace")


def test_the_tree_and_one_node_and_one_indicator(cli):
    tree = cli("kb", "list").stdout
    assert "\nMobile deployment" in tree and "\n  Model Conversion" in tree and ENTRY in tree and "47." not in tree.split("\n")[0]
    leaf = next(line for line in tree.splitlines() if ENTRY in line)
    assert leaf.startswith("    Avoiding version incompatibility") and "%" in leaf
    node = cli("kb", "show", ENTRY).stdout
    assert node.startswith("Mobile deployment › DL Integration into Projects › Avoiding version incompatibility") and "\ndo          " in node and "litert/builtin-op-version" in node
    assert "litert/builtin-op-version" in cli("kb", "list", "--challenge", ENTRY, "--limit", "500").stdout
    assert "litert/builtin-op-version" in cli("kb", "list", "--indicators", "--words", "builtin operator", "-n", "100").stdout
    shown = cli("kb", "show", "litert/builtin-op-version").stdout
    assert shown.startswith("# shipped, revision 1") and "\npattern: " in shown
    assert "neither an indicator nor a challenge" in cli("kb", "show", "no/where", code=4).stderr
    assert json.loads(cli("kb", "list", "--json", "--taxonomy", "faults").stdout)["items"]


def test_add_try_edit_retire_restore_history(site, cli, tmp_path):
    (tmp_path / "w.yml").write_text(widget("local/cli"))
    tried = cli("kb", "try", "w.yml").stdout
    assert "WIDGET-77 refuses models today" in tried and NODE in tried and "past failures looked at, it speaks on " in tried and "gained: " in tried
    cli("kb", "show", "local/cli", code=4)
    assert "local/cli is added" in cli("kb", "add", "w.yml").stdout
    assert "there already" in cli("kb", "add", "-", input=widget("local/cli")).stdout
    (tmp_path / "w2.yml").write_text(widget("local/cli", specificity="0.5"))
    assert "local/cli is changed, revision 2" in cli("kb", "edit", "local/cli", "w2.yml").stdout
    assert "revision 2" in cli("kb", "edit", "local/cli", "w.yml", "--revision", "1", code=5).stderr
    assert "specificity: 0.5" in cli("kb", "show", "local/cli", "--yaml").stdout
    assert "WIDGET-77 refuses models today" in cli("kb", "try", "local/cli").stdout
    assert "local/cli is silent" in cli("kb", "retire", "local/cli").stdout
    assert "already is silent" in cli("kb", "retire", "local/cli").stdout
    assert "(retired)" in cli("kb", "list", "--area", "local", "--retired").stdout
    cli("kb", "restore", "local/cli")
    history = cli("kb", "history", "local/cli").stdout
    assert [line.split("  ")[-1] for line in history.splitlines() if not line.startswith(" ")] == ["restore by Cora", "retire by Cora", "edit by Cora", "add by Cora"]
    assert "    -specificity: 0.95\n    +specificity: 0.5\n" in history
    assert "local/bad" in cli("kb", "add", "-", input=widget("local/bad", pattern="'a('"), code=2).stderr
    assert "standard input:" in cli("kb", "add", "-", input="id: [", code=2).stderr
    assert "ships with the program" in cli("kb", "edit", "litert/builtin-op-version", "w.yml", code=2).stderr
    Cli(tmp_path, site, site.viewer)("kb", "retire", "local/cli", code=3)
    cli("kb", "retire", "local/cli")


def test_the_editor_opens_on_the_yaml_and_a_late_change_is_not_lost(site, cli, tmp_path):
    cli("kb", "add", "-", input=widget("local/edited"))
    assert "no terminal" in cli("kb", "edit", "local/edited", code=2).stderr
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/specificity: 0.95/specificity: 0.8/' \"$2\"\n")
    editor.chmod(0o755)
    code, out = on_a_terminal(cli, "kb", "edit", "local/edited", env={"EDITOR": f"{editor} -w"})
    assert code == 0 and "revision 2" in out, out
    assert "specificity: 0.8" in cli("kb", "show", "local/edited").stdout
    code, out = on_a_terminal(cli, "kb", "edit", "local/edited", env={"EDITOR": "true"})
    assert code == 0 and "nothing was changed" in out
    code, out = on_a_terminal(cli, "kb", "edit", "local/edited", env={"EDITOR": "false"})
    assert code == 1 and "nothing was changed" in out
    # While the editor is open, somebody else writes.
    other = widget("local/edited", specificity="0.7")
    (tmp_path / "other.yml").write_text(other)
    editor.write_text(f"#!/bin/sh\nsed -i 's/specificity: 0.8/specificity: 0.6/' \"$1\"\n{BUILD}/cli/portolan kb edit local/edited {tmp_path}/other.yml\n")
    code, out = on_a_terminal(cli, "kb", "edit", "local/edited", env={"EDITOR": str(editor), "TMPDIR": str(tmp_path)})
    assert code == 5 and "your text is kept: " in out, out
    assert any("specificity: 0.6" in p.read_text() for p in tmp_path.glob("portolan-kb-*.yml"))
    assert "specificity: 0.7" in cli("kb", "show", "local/edited").stdout
    # What is known about a challenge, the same way.
    editor.write_text("#!/bin/sh\nsed -i 's/^about: .*/about: words of this house/' \"$1\"\n")
    code, out = on_a_terminal(cli, "kb", "edit", ENTRY, env={"EDITOR": str(editor)})
    assert code == 0, out
    assert "what it is  words of this house" in cli("kb", "show", ENTRY).stdout
    cli("kb", "edit", ENTRY, "--as-shipped")
    assert "words of this house" not in cli("kb", "show", ENTRY).stdout
    cli("kb", "retire", "local/edited")


def test_a_folder_goes_out_in_and_out_again(cli, tmp_path):
    cli("kb", "export", "out")
    for file in KB.rglob("*.yml"):
        assert filecmp.cmp(file, tmp_path / "out" / file.relative_to(KB), shallow=False), file
    house = tmp_path / "out" / "indicators" / "house.yml"
    house.write_text("# ours\nversion: 1\nindicators:\n- " + widget("local/folder").strip().replace("\n", "\n  ") + "\n# the end\n")
    assert "added    local/folder" in cli("kb", "import", "out", "--dry-run").stdout
    cli("kb", "show", "local/folder", code=4)
    assert "1 changes, " in cli("kb", "import", "out").stdout
    assert "0 changes, " in cli("kb", "import", "out").stdout
    cli("kb", "export", "again")
    assert (tmp_path / "again" / "indicators" / "house.yml").read_bytes() == house.read_bytes()
    assert "0 of them new or changed" in cli("kb", "export", "again").stdout
    house.write_text(house.read_text().replace("WIDGET-77", "WIDGET-(", 1))
    assert "local/folder" in cli("kb", "import", "out", code=2).stderr
    # What was exported is a knowledge base that diagnoses without a server.
    cli("kb", "compile", "again", "-o", "own.bin")
    got = json.loads(cli("diagnose", "--json", "--kb", "own.bin", "--platform", "server", "--stage", "export", input="WIDGET-77 refuses models\n").stdout)
    assert got["state"] == "diagnosed" and got["ranked"][0]["id"] == NODE
    assert "no such directory" in cli("kb", "import", "absent", code=4).stderr
    cli("kb", "retire", "local/folder")
    assert subprocess.run(["grep", "-q", "local/folder", str(tmp_path / "again" / "retired.yml")]).returncode != 0


def test_a_text_model_of_ones_own_is_put_in_force_and_taken_back(site, cli, tmp_path):
    cases = [{"id": f"{word}-{i}", "platform": "server", "log": f"{word} trouble number {i}\n", "label": node} for i in range(12) for word, node in (("flibber", NODE), ("gazonk", ENTRY))]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
    assert "ships" in cli("kb", "model", "show").stdout
    cli("kb", "train", "--only", "cases.jsonl", "-o", "own.bin")
    assert "in force" in cli("kb", "model", "set", "own.bin", "--cases", "24").stdout
    assert "set by Cora" in cli("kb", "model", "show").stdout and "from 24 cases" in cli("kb", "model", "show").stdout
    assert "24" in cli("kb", "model", "show", "--json").stdout
    (tmp_path / "bad.bin").write_text("no model")
    refused = cli("kb", "model", "set", "bad.bin", code=2).stderr
    (tmp_path / "bad.bin").write_bytes(b"no model" * (19 << 17))
    assert cli("kb", "model", "set", "bad.bin", code=2).stderr == refused, "a large one is looked at too"
    Cli(tmp_path, site, site.viewer)("kb", "model", "reset", code=3)
    cli("kb", "model", "reset")
    assert json.loads(cli("kb", "model", "show", "--json").stdout) == {"own": False}
    wait_for("the audit log", lambda: [a["action"] for a in site.ok("GET", "/api/v1/audit?limit=10")["items"] if a["object"] == "text model"] == ["kb.model.reset", "kb.model.set"])


TRAINED = "server/model-export/model-quantization"  # which nothing would guess from words of mills
QUERN = "loading\nRuntimeError: the quern of mill {n} is unmoved and the sluice stands dry\ngiving up\n"


def said_of_querns(site):
    """Failures that no indicator knows, each said to be something by a person; the attempts."""
    attempts = []
    for n in range(3):
        name = f"quern-{n}"
        site.project(name, PIPELINE.format(), {"said.txt": QUERN.format(n=n)})
        attempts.append(site.again(name))
        site.ok("POST", f"/api/v1/attempts/{attempts[-1]}/feedback", {"verdict": "correct", "challenge": TRAINED}, token=site.curator)
    return attempts


def test_training_from_the_server_says_what_changes_and_sets_only_when_told(site, cli, tmp_path):
    assert "no labelled case" in cli("kb", "train", code=4).stderr
    attempts = said_of_querns(site)  # three of one text
    # Failures of other words, which the others teach something about.
    for n, words in enumerate(("sluice stands dry, quern unmoved by the stream", "the quern is unmoved, sluice dry since noon", "dry sluice: unmoved is the quern", "the stream left the sluice dry, the quern unmoved")):
        name = f"sluice-{n}"
        site.project(name, PIPELINE.format(), {"said.txt": f"RuntimeError: {words}\n"})
        site.ok("POST", f"/api/v1/attempts/{site.again(name)}/feedback", {"verdict": "correct", "challenge": TRAINED}, token=site.curator)
    assert "needs a curator" in Cli(tmp_path, site, site.viewer)("kb", "train", "--only", "--set", code=3).stderr
    shown = cli("kb", "train", "--only", "--folds", "3", timeout=900).stdout
    row = next(line.split() for line in shown.splitlines() if line.startswith("said by people"))
    assert row[3:5] == ["7", "5"], shown
    now, with_them, gained, lost = float(row[5]), float(row[13]), int(row[-2]), int(row[-1])
    assert now == 0 < with_them == round(100 * gained / 7, 1) and lost == 0, shown
    assert "NOW: the model in force, the shipped one" in shown and "that is little to judge by" in shown and "text.bin is written, nothing is changed at the server" in shown
    assert json.loads(cli("kb", "model", "show", "--json").stdout) == {"own": False} and (tmp_path / "text.bin").stat().st_size > 1000

    before = site.ok("GET", f"/api/v1/attempts/{attempts[0]}")["diagnosis"]["kb"]
    told = json.loads(cli("kb", "train", "--only", "--folds", "2", "--set", "--json", timeout=900).stdout)
    people = told["kinds"]["feedback"]
    assert told["set"] is True and "file" not in told and "shipped" not in told["kinds"] and (people["cases"], people["texts"], people["now"]["first"]) == (7, 5, 0), told
    shown = json.loads(cli("kb", "model", "show", "--json").stdout)
    assert shown["own"] is True and shown["cases"] == 7 and shown["made_by"] == "Cora" and "model" not in shown
    history = cli("kb", "history", "text model").stdout
    assert "text model  add by Cora" in history and shown["sha256"] in history
    wait_for("the audit log", lambda: any(a["action"] == "kb.model.set" and a["object"] == "text model" for a in site.ok("GET", "/api/v1/audit?limit=10")["items"]))

    # Its effect is seen: a failure that nobody said anything of, in another project, by the server itself.
    site.project("weir", PIPELINE.format(), {"said.txt": "RuntimeError: at the weir the quern stays unmoved, the sluice being dry\n"})
    after = wait_for("the new model in force", lambda: (lambda d: d if d["kb"] != before else None)(site.ok("GET", f"/api/v1/attempts/{site.again('weir')}")["diagnosis"]), 300)
    assert after["ranked"][0]["id"] == TRAINED, after["ranked"][:3]
    cli("kb", "model", "reset")
    assert "text model  retire by Cora" in cli("kb", "history", "text model").stdout
    back = wait_for("the shipped model in force", lambda: (lambda d: d if d["kb"] == before else None)(site.ok("GET", f"/api/v1/attempts/{site.again('weir')}")["diagnosis"]), 300)
    assert back["ranked"][0]["id"] != TRAINED, back["ranked"][:3]
