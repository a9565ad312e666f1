"""agents/toolchains/prepare, with small toolchains of its own in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLCHAINS = Path(__file__).resolve().parents[3] / "agents/toolchains"


class House:
    def __init__(self, root: Path) -> None:
        self.root, self.folder = root / "installed", root / "toolchains"
        self.folder.mkdir()
        for name in ("prepare", "common.sh"):
            shutil.copy(TOOLCHAINS / name, self.folder / name)

    def add(self, name: str, body: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        (folder / "toolchain.yml").write_text(f"name: {name}\nsummary: only for a test\ndebian:\n  - dpkg  # always there\n")
        (folder / "install").write_text(f"#!/bin/sh\nset -eu\n. \"$(dirname \"$0\")/../common.sh\"\n{body}\n")
        (folder / "install").chmod(0o755)
        return folder

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PORTOLAN_TOOLCHAINS": str(self.root)}
        environment.pop("PORTOLAN_DOWNLOADS", None)
        return subprocess.Popen([self.folder / "prepare", *words], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.strip(), err


GOOD = 'ptl_begin "$1" 1; ptl_step "the only one"; echo once >> "$(dirname "$0")/../../times"; echo x > "$partial/x"; ptl_finish "{\\"a\\": \\"1\\"}"'


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_install_then_nothing_to_do(house: House) -> None:
    house.add("one", GOOD)
    code, path, _ = house.run("--path", "one")
    assert code == 0 and Path(path).parent == house.root and not Path(path).exists()
    assert house.run("--check", "one")[0] == 1
    assert house.run("--list")[1].split("\t") == ["one", "absent", path, "only for a test"]
    code, out, err = house.run("one")
    assert (code, out) == (0, path) and "step 1/1: the only one" in err
    assert (Path(path) / "versions.json").is_file() and (Path(path) / "x").is_file()
    assert house.run("one")[:2] == (0, path) and house.run("--check", "one")[0] == 0
    assert house.run("--list")[1].split("\t")[1] == "ready"
    assert (house.root.parent / "times").read_text() == "once\n"


def test_another_lock_file_is_another_directory(house: House) -> None:
    folder = house.add("one", GOOD)
    before = house.run("one")[1]
    (folder / "requirements.lock").write_text("x==1\n")
    after = house.run("--path", "one")[1]
    assert before != after and house.run("--check", "one")[0] == 1 and Path(before).is_dir()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").write_text("")
    assert house.run("--path", "one")[1] == after


def test_a_failed_install_leaves_nothing_and_says_so(house: House) -> None:
    house.add("bad", 'ptl_begin "$1" 1; ptl_step "breaks"; touch "$partial/half"; ptl_die "the server said no"')
    code, out, err = house.run("bad")
    assert code == 1 and out == "" and "install: the server said no" in err and "bad: install failed" in err
    assert not Path(house.run("--path", "bad")[1]).exists()
    house.add("silent", "exit 0")
    code, _, err = house.run("silent")
    assert code == 1 and "wrote no" in err


def test_two_at_once_install_once(house: House) -> None:
    """The first holds the lock until the second says that it waits."""
    fifo = house.root.parent / "go"
    os.mkfifo(fifo)
    house.add("slow", f'ptl_begin "$1" 1; read word < {fifo}; echo once >> "$(dirname "$0")/../../times"; ptl_finish "{{}}"')
    first = house.start("slow")
    for line in first.stderr:
        if "installing into" in line:
            break
    second = house.start("slow")
    assert "waiting" in second.stderr.readline()
    fifo.write_text("go\n")
    outs = [p.communicate(timeout=60)[0].strip() for p in (first, second)]
    assert outs[0] == outs[1] != "" and (first.returncode, second.returncode) == (0, 0)
    assert (house.root.parent / "times").read_text() == "once\n"


def test_wrong_names(house: House) -> None:
    house.add("one", GOOD)
    code, _, err = house.run("two")
    assert code == 1 and "no toolchain \"two\"" in err and "there are: one" in err
    assert house.run("../one")[0] == 1 and house.run()[0] == 2 and house.run("--wrong")[0] == 1
