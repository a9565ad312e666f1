"""What works without a server: help, completion, manual page, lint, init, schema, and what the configuration file may be."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import standin

GOOD = """version: 1
model: digits
export: {run: ["./export.sh"]}
targets:
  server:
    host: server
    verify: {run: ["./verify.sh"]}
"""


def test_version_and_help(alone):
    assert alone("--version").ok().out.startswith("portolan 0.")
    text = alone("help").ok().out
    for word in ("run watch RUN", "--token-file", "Exit codes:", "5  it exists already"):
        assert word in text
    assert "--exit-status" in alone("run", "watch", "--help").ok().out
    assert "project secret set" in alone("help", "project").ok().out
    assert alone().failed(2, "usage: portolan").out == ""
    alone("run").failed(2, "run start")
    alone("help", "rnu").failed(2, "did you mean 'run'?")


def test_usage_errors(alone):
    alone("runs", "list").failed(2, "did you mean 'run'?")
    alone("run", "list", "--limitt", "3").failed(2, "did you mean '--limit'?")
    alone("run", "show").failed(2, "RUN is missing")
    alone("run", "show", "x").failed(2, "names no run")
    alone("whoami").failed(2, "no server is known", "portolan login")
    alone("whoami", "--server", "http://10.0.0.1").failed(2, "use https")


def test_manual_page(alone, tmp_path):
    page = alone("help", "--man").ok().out
    assert page.startswith(".TH PORTOLAN 1") and ".SH \"EXIT STATUS\"" in page
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page.encode(), capture_output=True)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
        assert b"portolan run watch" in re.sub(rb"\x1b\[[0-9;]*m|.\x08", b"", done.stdout)


def bash_completes(alone, tmp_path, line):
    script = tmp_path / "complete.bash"
    script.write_text(alone("completion", "bash").ok().out)
    words = line.split(" ")
    quoted = " ".join("'%s'" % w for w in words)
    done = subprocess.run(["bash", "--norc", "-c", f'. "{script}"; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _portolan; printf "%s\\n" "${{COMPREPLY[@]}}"'],
                          capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == "", done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("line,some,not_there", [
    ("portolan ", ["run", "project", "lint"], ["list"]),
    ("portolan ru", ["run"], ["project"]),
    ("portolan run ", ["start", "watch", "rerun"], ["add"]),
    ("portolan project ", ["add", "secret", "hook"], ["install"]),
    ("portolan project secret ", ["set", "list", "remove"], ["add"]),
    ("portolan run list --", ["--state", "--json", "--server"], ["--watch"]),
    ("portolan run list --state ", ["green", "red", "invalid"], ["run"]),
    ("portolan --server https://x run list --state gr", ["green"], ["red"]),
    ("portolan completion ", ["bash", "zsh", "fish"], []),
])
def test_bash_completion(alone, tmp_path, line, some, not_there):
    words = bash_completes(alone, tmp_path, line)
    assert set(some) <= set(words) and not set(not_there) & set(words), words


def test_bash_completes_files(alone, tmp_path):
    (tmp_path / "pipeline.yml").write_text("")
    assert "pipeline.yml" in bash_completes(alone, tmp_path, "portolan lint pipe")
    assert "pipeline.yml" in bash_completes(alone, tmp_path, "portolan whoami --ca-file pipe")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(alone, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(alone("completion", shell).ok().out)
    done = subprocess.run([shell, "-n" if shell == "zsh" else "--no-execute", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_fish_completes(alone, tmp_path):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    script = tmp_path / "script.fish"
    script.write_text(alone("completion", "fish").ok().out)
    for line, word in (("portolan ru", "run"), ("portolan project secret ", "remove"), ("portolan run list --st", "--state"), ("portolan run list --state gr", "green")):
        done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"], capture_output=True, text=True, env=alone.env)
        assert word in done.stdout, (line, done)


def test_zsh_completes(alone, tmp_path):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    (tmp_path / "_portolan").write_text(alone("completion", "zsh").ok().out)
    done = subprocess.run(["zsh", "-f", "-c", f"fpath=({tmp_path} $fpath); autoload -Uz compinit && compinit -u -d {tmp_path}/dump && whence -w _portolan && print ${{_comps[portolan]}}"],
                          capture_output=True, text=True, env=alone.env)
    assert done.stdout.split() == ["_portolan:", "function", "_portolan"], done


def test_lint(alone, tmp_path):
    file = tmp_path / ".portolan.yml"
    alone("lint").failed(4, "portolan init")
    file.write_text(GOOD)
    assert "2 stages" in alone("lint").ok().out
    assert "2 stages" in alone("lint", tmp_path).ok().out
    assert alone("lint", "-", input=GOOD).ok().out.startswith("-")
    file.write_text(GOOD.replace("verify:", "verfy:"))
    done = alone("lint")
    assert done.code == 1 and re.search(r"portolan.yml:7:5: targets.server.verfy: .*did you mean 'verify'", done.out), done
    found = alone("lint", "--json")
    assert found.code == 1 and found.json["ok"] is False and found.json["findings"][0]["line"] == 7


def test_lint_with_recipes(alone, tmp_path):
    recipe = tmp_path / "recipes" / "my" / "export"
    recipe.mkdir(parents=True)
    (recipe / "recipe.yml").write_text("name: my/export\nsummary: s\nkind: export\nhost: server\nparameters: {size: {type: integer, default: 1}}\n")
    text = GOOD.replace('{run: ["./export.sh"]}', "{uses: my/export, with: {%s}}")
    args = ("lint", "-", "--recipes", tmp_path / "recipes")
    alone(*args, input=text % "size: 3").ok()
    done = alone(*args, input=text % "sise: 3")
    assert done.code == 1 and "did you mean 'size'" in done.out
    done = alone(*args, input=(text % "").replace("my/export", "my/exprt"))
    assert done.code == 1 and "did you mean 'my/export'" in done.out
    alone("lint", "-", "--recipes", tmp_path / "config", input=GOOD).failed(1)


def test_init_and_schema(alone, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "train.py").write_text("import tensorflow as tf\nmodel = tf.keras.Sequential()\n")
    printed = alone("init", repo, "--print").ok().out
    assert not (repo / ".portolan.yml").exists()
    alone("init", repo).ok()
    assert (repo / ".portolan.yml").read_text() == printed
    alone("lint", repo).ok()
    (repo / ".portolan.yml").write_text("mine")
    alone("init", repo).failed(5, "is there already", "--print")
    assert (repo / ".portolan.yml").read_text() == "mine"
    alone("init", tmp_path / "none").failed(4)
    assert alone("schema").ok().json["$schema"].startswith("https://json-schema.org/")


def test_config_is_private(alone, tmp_path):
    folder = pathlib.Path(alone.env["XDG_CONFIG_HOME"]) / "portolan"
    folder.mkdir(parents=True)
    config, token = folder / "config", folder / "token"
    config.write_text(f"server = http://127.0.0.1:1\ntoken-file = {token}\n")
    token.write_text("t\n")
    config.chmod(0o644)
    token.chmod(0o600)
    alone("whoami").failed(1, "others may read or write it", "chmod 600")
    config.chmod(0o600)
    alone("whoami").failed(3, "127.0.0.1:1", "Is portoland running")
    token.chmod(0o640)
    alone("whoami").failed(1, "chmod 600", str(token))
    token.chmod(0o600)
    token.write_text("two\nlines\n")
    alone("whoami").failed(2, "expected one token")
    config.write_text("servr = x\n")
    alone("whoami").failed(1, "servr")


def test_output_that_cannot_be_written(alone):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([standin.CLI, "schema"], stdout=full, stderr=subprocess.PIPE, env=alone.env)
    assert done.returncode == 1 and b"could not be written" in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([standin.CLI, "schema"], stdout=writer, stderr=subprocess.PIPE, env=alone.env)
    os.close(writer)
    assert done.returncode == 0 and done.stderr == b"" # a reader such as head may leave


