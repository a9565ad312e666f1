"""A daemon with two projects that failed: in one a widget refused, in the other the disk was full, too."""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "support"))
from portolan import BUILD, Site, patient, wait_for  # noqa: E402

PIPELINE = """
version: 1
model: toy
export: {{run: ["cat said.txt", "exit 1"]}}
targets:
  server: {{host: server, verify: {{run: ["true"]}}}}
"""
SAID = {"hall": "loading\nWIDGET-77 refuses models today\ngiving up\n", "attic": "loading\nWIDGET-77 refuses graphs today\nOSError: [Errno 28] No space left on device: 'model.bin'\n"}


def failed(site, project):
    """Runs it once more; the attempt that failed, diagnosed."""
    run = site.run(project)
    site.until(run, "red")
    return wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] in ("done", "failed") else None)(site.stage(run, "export")), 60)["attempt_id"]


@pytest.fixture(scope="module")
def site():
    s = Site()
    try:
        s.start_daemon()
        s.start_agent("server-1", slots="2")
        s.attempts = {}
        for name, said in SAID.items():
            s.project(name, PIPELINE.format(), {"said.txt": said})
            s.attempts[name] = failed(s, name)
        s.again = lambda project: failed(s, project)
        s.curator = s.ok("POST", "/api/v1/tokens", {"name": "Cora", "role": "curator"})["token"]
        s.viewer = s.ok("POST", "/api/v1/tokens", {"name": "Vera", "role": "viewer"})["token"]
        yield s
    finally:
        s.close()


class Cli:
    """The command against the real daemon, in a home of its own."""

    def __init__(self, home, site, token):
        self.home = home
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "TZ": "UTC", "LANG": "C.UTF-8", "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": token}

    def __call__(self, *args, input="", code=0, env=None, timeout=120):
        done = subprocess.run([str(BUILD / "cli" / "portolan"), *map(str, args)], input=input, capture_output=True, text=True, cwd=self.home, env={**self.env, **(env or {})}, timeout=patient(timeout))
        assert done.returncode == code, f"portolan {' '.join(map(str, args))}: exit {done.returncode}\n--- out\n{done.stdout}\n--- err\n{done.stderr}"
        return done


@pytest.fixture
def cli(site, tmp_path):
    return Cli(tmp_path, site, site.curator)
