import pytest

from standin import Cli, Standin


@pytest.fixture
def server():
    s = Standin()
    yield s
    s.close()


@pytest.fixture
def cli(tmp_path, server):
    return Cli(tmp_path, server.url)


@pytest.fixture
def alone(tmp_path):
    """Without any server."""
    return Cli(tmp_path)
