"""Files in deploy/ that nobody runs here every day, held to what they speak of."""
from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[2]
BUILD = pathlib.Path(os.environ.get("PTL_BUILD", TOP / "build" / "dev"))
sys.path.insert(0, str(HERE))
import sample_conf  # noqa: E402

PROGRAMS = {"portoland": ([BUILD / "daemon" / "portoland", "--help"], "portoland.conf"), "portolan-agent": ([BUILD / "agents" / "portolan-agent", "help"], "portolan-agent.conf")}


def help_of(program: str) -> str:
    return subprocess.run([str(w) for w in PROGRAMS[program][0]], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_sample_configuration_is_the_table_of_settings(program: str):
    shipped = (TOP / "deploy" / PROGRAMS[program][1]).read_text()
    assert len(sample_conf.settings(help_of(program))) > 15
    assert shipped == sample_conf.render(program, help_of(program)), f"deploy/{PROGRAMS[program][1]} is out of step; tests/e2e/packaging/sample_conf.py says how to make it anew"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_default_is_one_that_the_program_takes(program: str, tmp_path: pathlib.Path):
    """The samples with every default made effective, and a misspelt name to see that the file was read."""
    text = (TOP / "deploy" / PROGRAMS[program][1]).read_text()
    effective = re.sub(r"^#([a-z0-9-]+ = .+)$", r"\1", text, flags=re.M).replace("/var/lib/portolan", str(tmp_path))
    file = tmp_path / "all.conf"
    words = {"portoland": ["--config", str(file), "version"], "portolan-agent": ["inventory", "--config", str(file)]}[program]
    for extra, fine in (("", True), ("lese = 3s\n", False)):
        file.write_text(effective + extra)
        done = subprocess.run([str(PROGRAMS[program][0][0]), *words], capture_output=True, text=True, timeout=60, env={k: v for k, v in os.environ.items() if not k.startswith("PORTOLAN_")})
        assert (done.returncode == 0) == fine, done.stderr
        if not fine:
            assert f"{file.name}:" in done.stderr and "lese" in done.stderr


def test_the_daemon_and_its_agents_meet_by_default():
    daemon = dict((n, d) for n, _, d in sample_conf.settings(help_of("portoland")))
    agent = dict((n, d) for n, _, d in sample_conf.settings(help_of("portolan-agent")))
    assert agent["server"] == f"http://{daemon['listen-address']}"


def test_the_units_name_settings_that_exist():
    known = {f"PORTOLAN_{n.upper().replace('-', '_')}" for n, _, _ in sample_conf.settings(help_of("portolan-agent"))}
    unit = (TOP / "deploy" / "systemd" / "portolan-agent@.service").read_text()
    assert set(re.findall(r"\bPORTOLAN_[A-Z_]+(?==)", unit)) <= known
    daemon = (TOP / "deploy" / "systemd" / "portoland.service").read_text()
    assert "Type=notify" in daemon and re.search(r"^WatchdogSec=", daemon, re.M)


def container_stages() -> dict[str, list[list[str]]]:
    """Instructions of each stage of the container file, as words."""
    text = re.sub(r"^\s*#.*\n", "", (TOP / "deploy" / "container" / "Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    stages: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["FROM"]:
            assert words[2] == "AS"
            stages[words[3]] = current = []
        elif words:
            current.append(words)
    return stages


def test_the_container_file_copies_and_installs_what_exists():
    stages = container_stages()
    assert list(stages) == ["build", "daemon", "agent"]
    named = set((TOP / "deploy" / "packages").read_text().split()) | {"libc6-dev", "dpkg-dev", "python3-venv"}
    for file in (TOP / "agents" / "toolchains").glob("*/toolchain.yml"):
        named |= set(re.findall(r"[a-z0-9][a-z0-9.+-]+", file.read_text()))
    for stage, instructions in stages.items():
        for words in instructions:
            if words[0] == "COPY":
                origin = [w for w in words[1:-1] if not w.startswith("--from=")]
                made = {w for i in stages["build"] if i[0] == "RUN" for w in i}
                for path in origin:
                    assert path in made if any(w.startswith("--from=") for w in words) else (TOP / path).exists(), f"{stage}: COPY {path}"
            for listed in re.findall(r"apt-get install -y --no-install-recommends (.*?)&&", " ".join(words)):
                unknown = [p for p in listed.split() if not p.startswith("/") and p not in named]
                assert not unknown, f"{stage}: {unknown} are named in no list of the project"


def test_the_nightly_drills_are_a_command_that_the_program_takes():
    """The unit's command line, with --help behind it: names of options that are not there are refused."""
    unit = (TOP / "deploy" / "systemd" / "portolan-drills.service").read_text()
    words = re.search(r"^ExecStart=/usr/bin/portolan (.*)$", unit, re.M).group(1).split()
    done = subprocess.run([str(BUILD / "cli" / "portolan"), *words, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "drill run" in done.stdout, done.stderr
    refused = subprocess.run([str(BUILD / "cli" / "portolan"), *words, "--nightly", "--help"], capture_output=True, text=True)
    assert refused.returncode == 2
