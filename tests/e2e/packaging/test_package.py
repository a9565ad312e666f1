"""The Debian package: built by CPack, looked into, unpacked into a scratch root, and its programs run from there."""
from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("PTL_BUILD", TOP / "build" / "dev"))
pytestmark = pytest.mark.skipif(not (BUILD / "CPackConfig.cmake").exists(), reason="a sanitized build makes no package")


def run(*words, **more) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def deb(tmp_path_factory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("deb")
    run("cpack", "-G", "DEB", "-B", out, "--config", BUILD / "CPackConfig.cmake", cwd=BUILD, timeout=280)
    found = list(out.glob("*.deb"))
    assert len(found) == 1 and re.fullmatch(r"portolan_[0-9.]+_[a-z0-9]+\.deb", found[0].name), found
    return found[0]


@pytest.fixture(scope="module")
def root(deb: pathlib.Path, tmp_path_factory) -> pathlib.Path:
    scratch = tmp_path_factory.mktemp("root")
    run("dpkg-deb", "-x", deb, scratch)
    return scratch


def test_what_is_in_it(deb: pathlib.Path):
    listed = {line.split(None, 5)[5].lstrip("."): line.split()[0] for line in run("dpkg-deb", "-c", deb).splitlines()}
    for path, mode in {"/usr/bin/portoland": "-rwxr-xr-x", "/usr/bin/portolan-agent": "-rwxr-xr-x", "/usr/bin/portolan": "-rwxr-xr-x", "/usr/libexec/portolan/portolan-init": "-rwxr-xr-x",
                       "/usr/share/man/man1/portolan.1": "-rw-r--r--", "/usr/include/portolan/base.h": "-rw-r--r--", "/usr/share/portolan/recipes/tensorflow/tflite/recipe.yml": "-rw-r--r--",
                       "/usr/share/portolan/toolchains/prepare": "-rwxr-xr-x", "/usr/share/portolan/portolan.schema.json": "-rw-r--r--", "/etc/portolan/portoland.conf": "-rw-r--r--",
                       "/etc/portolan/portolan-agent.conf": "-rw-r--r--", "/lib/systemd/system/portoland.service": "-rw-r--r--", "/lib/systemd/system/portolan-agent@.service": "-rw-r--r--",
                       "/usr/lib/sysusers.d/portolan.conf": "-rw-r--r--"}.items():
        assert listed.get(path) == mode, f"{path}: {listed.get(path)}"
    assert any(p.endswith("/libportolan.a") for p in listed), "the library"
    recipes = {str(p.relative_to(TOP / "agents" / "recipes").parent) for p in (TOP / "agents" / "recipes").rglob("recipe.yml")}
    assert {p.removeprefix("/usr/share/portolan/recipes/").removesuffix("/recipe.yml") for p in listed if p.startswith("/usr/share/portolan/recipes/") and p.endswith("/recipe.yml")} == recipes
    assert not [p for p in listed if "__pycache__" in p or "/tests/" in p or str(TOP) in p]


def test_what_it_says_of_itself(deb: pathlib.Path, tmp_path: pathlib.Path):
    fields = run("dpkg-deb", "-f", deb)
    depends = re.search(r"^Depends: (.*)$", fields, re.M)[1]
    for library in ("libpq5", "libgit2", "libevent", "libcurl4", "libjansson4", "bubblewrap"):
        assert library in depends, depends
    run("dpkg-deb", "-e", deb, tmp_path)
    assert set((tmp_path / "conffiles").read_text().split()) == {"/etc/portolan/portoland.conf", "/etc/portolan/portolan-agent.conf"}
    for script in ("postinst", "prerm", "postrm"):
        run("sh", "-n", tmp_path / script)
        assert os.access(tmp_path / script, os.X_OK)


def test_its_programs_run_from_where_it_is_unpacked(root: pathlib.Path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PORTOLAN_")}
    version = re.search(r"VERSION ([0-9.]+)", (TOP / "CMakeLists.txt").read_text().split("project(")[1])[1]
    for program in ("portoland", "portolan-agent", "portolan"):
        assert run(root / "usr/bin" / program, "--version", env=clean).strip() == f"{program} {version}"
    assert "tensorflow/tflite" in run(root / "usr/bin/portolan-agent", "recipe", "list", env=clean), "the recipes beside it are found"
    assert str(root) in run(root / "usr/bin/portolan-agent", "toolchain", "list", env={**clean, "PORTOLAN_TOOLCHAINS": str(root / "none")})
    run(root / "usr/bin/portoland", "--config", root / "etc/portolan/portoland.conf", "version", env=clean)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_the_units_hold_what_systemd_asks(root: pathlib.Path):
    units = root / "lib/systemd/system"
    for target in ("network-online.target", "multi-user.target", "sysinit.target", "basic.target", "shutdown.target", "system.slice", "-.slice", "-.mount", "umount.target"):
        (units / target).write_text("[Unit]\nDescription=stand-in\n") if not target.endswith(".mount") else None
    (units / "portolan-agent@server.service").write_text((units / "portolan-agent@.service").read_text())
    for unit in ("portoland.service", "portolan-agent@server.service"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", unit], capture_output=True, text=True, timeout=60)
        complaints = [line for line in done.stderr.splitlines() if "portolan" in line]
        assert done.returncode == 0 and not complaints, done.stderr
    score = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--root={root}", "--no-pager", "portoland.service"], capture_output=True, text=True, timeout=60).stdout
    exposure = float(re.search(r"Overall exposure level for portoland.service: ([0-9.]+)", score)[1])
    assert exposure < 2.5, score
