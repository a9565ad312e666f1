"""An agent against a stand-in daemon that misbehaves. No network but loopback; a real sandbox."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from agent_daemon import Daemon  # noqa: E402
from agent_process import AGENT, RECIPES, Agent  # noqa: E402


def pytest_sessionstart(session):
    probe = subprocess.run([str(AGENT), "inventory", "--recipes", str(RECIPES)], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.exit(f"SKIP: no sandbox on this host: {probe.stderr}", returncode=77)


@pytest.fixture
def daemon():
    d = Daemon()
    d.start()
    yield d
    d.stop()


@pytest.fixture
def make_agent(daemon):
    agents = []

    def make(**settings) -> Agent:
        agents.append(Agent(daemon, **settings))
        return agents[-1].start()

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture
def agent(make_agent):
    return make_agent()
