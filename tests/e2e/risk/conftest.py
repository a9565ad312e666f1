"""Fixtures of the tests of risk, board and notifications."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from portolan import Site  # noqa: E402


@pytest.fixture(scope="module")
def site():
    s = Site()
    try:
        s.start_daemon()
        s.start_agent("server-1", slots="2")
        yield s
    finally:
        s.close()


@pytest.fixture(scope="module")
def tokens(site):
    """Tokens by name: a manager, members, a viewer."""
    made = {}
    for name, role in (("mona", "manager"), ("ada", "member"), ("grace", "member"), ("vic", "viewer")):
        made[name] = site.ok("POST", "/api/v1/tokens", {"name": name, "role": role})["token"]
    return made
