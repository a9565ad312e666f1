"""The agent's own drivers with real processes: an engine written for the tests, started in a real sandbox."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from agent_process import AGENT, RECIPES  # noqa: E402


def pytest_sessionstart(session):
    probe = subprocess.run([str(AGENT), "inventory", "--recipes", str(RECIPES)], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.exit(f"SKIP: no sandbox on this host: {probe.stderr}", returncode=77)
