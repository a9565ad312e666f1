"""Fixtures of the forge's end-to-end tests."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from forge import Forge  # noqa: E402
from portolan import Site  # noqa: E402


@pytest.fixture(scope="module")
def site():
    """A daemon and one agent for bare commands, shared by a module."""
    s = Site(**{"public-url": "https://portolan.example"})
    try:
        s.start_daemon()
        s.start_agent("server-1", slots="2")
        yield s
    finally:
        s.close()


@pytest.fixture
def own_site():
    """A daemon of its own for tests that kill it."""
    s = Site(**{"public-url": "https://portolan.example"})
    try:
        yield s
    finally:
        s.close()


@pytest.fixture
def peer():
    with Forge() as f:
        yield f
