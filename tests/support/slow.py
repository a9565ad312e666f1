"""What a slow build changes for tests: longer deadlines, and reports of sanitizers that a test would not look at."""
from __future__ import annotations

import os
import re

# The one knob: CMake's PTL_PATIENCE, which the presets with sanitizers set.
PATIENCE = float(os.environ.get("PTL_PATIENCE") or 1)
SANITIZED = "log_exe_name" in os.environ.get("ASAN_OPTIONS", "")  # by sanitized.sh
REPORT = re.compile(r"runtime error: |(?:Address|Leak|Thread|Memory)Sanitizer")


def patient(seconds: float) -> float:
    """A deadline for this build."""
    return seconds * PATIENCE


def no_report(text: str, whose: str) -> None:
    """UBSan beside another sanitizer writes to standard error whatever it is told."""
    found = REPORT.search(text)
    assert not found, f"{whose}: a sanitizer reports\n{text[max(0, found.start() - 500):found.start() + 4000]}"
