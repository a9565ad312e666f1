"""The shipped model repositories say the truth about themselves."""

from __future__ import annotations

import pytest
from conftest import EXAMPLES, Bench


@pytest.mark.parametrize("name", ["digits-keras", "unsupported-op"])
def test_accuracy_in_the_readme_is_measured(bench: Bench, name: str) -> None:
    assert "held-out images right" in bench.python("check.py", cwd=EXAMPLES / name)
