"""The disk of the blobs is full while a log and an artifact arrive: the log goes on, the artifact waits, and nothing is lost when there is room again."""
from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from conftest import STEPS
from portolan import wait_for

# A small disk of the daemon's own, in a mount name space of its own: it goes with the daemon.
SMALL = 'mount -t tmpfs -o size=6m,mode=0700 tmpfs "$0" && mkdir "$0/blobs" "$0/uploads" "$0/tmp" && exec "$@"'


def may_mount() -> bool:
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0


@pytest.fixture
def small(own_site):
    if not may_mount():
        pytest.skip("only root may mount a small disk")
    site, disk = own_site, own_site.dir / "disk"
    state = site.dir / "state"
    disk.mkdir()
    state.mkdir(mode=0o755)
    for name in ("blobs", "uploads", "tmp"):
        (state / name).symlink_to(disk / name)
    site.wrap = ["unshare", "-m", "--propagation", "private", "sh", "-c", SMALL, str(disk)]
    process = site.start_daemon()
    site.disk = pathlib.Path(f"/proc/{process.pid}/root{disk}")
    return site


def fill(disk: pathlib.Path) -> pathlib.Path:
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as f:
        with pytest.raises(OSError) as error:
            while True:
                f.write(b"\0" * 65536)
        assert error.value.errno == 28
    return filler


def test_blobs_have_no_room_while_a_log_arrives(small):
    site = small
    run = site.one_run()
    filler = fill(site.disk)
    before = site.attempt_log(site.export["attempt_id"]).count("\n")
    wait_for("the log to go on", lambda: site.attempt_log(site.export["attempt_id"]).count("\n") > before + 5)
    site.let_go()
    wait_for("the agent to be told", lambda: "No space left on device" in site.log("agent-one"))
    stage = site.stage(run, "export")
    assert stage["state"] == "running" and site.call("GET", "/readyz", token="").status == 200
    filler.unlink()
    site.whole(run)
    assert not list((site.disk / "uploads").iterdir()), "nothing half-sent is left"


def test_a_run_that_cannot_be_prepared_says_that_the_disk_is_full_and_waits(small):
    site = small
    site.project("wide", STEPS, {"weights.txt": os.urandom(40000).hex()})
    filler = fill(site.disk)
    run = site.run("wide")
    got = wait_for("the trouble to be told", lambda: (lambda r: r if r["message"] else None)(site.get(run)))
    assert got["state"] == "preparing" and "No space left on device" in got["message"], got
    assert not list((site.disk / "tmp").iterdir()), "the half snapshot is gone"
    filler.unlink()
    assert site.until(run, "running", "invalid")["state"] == "running"
