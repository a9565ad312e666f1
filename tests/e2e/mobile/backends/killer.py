"""A backend that kills the device's adbd in the middle of an inference: what a phone's cable or its own memory killer does."""

import os
import signal

NAME = "killer"


def version():
    return "1"


def open(path, threads):  # noqa: A001
    print("about to lose the device", flush=True)
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == 1:
            continue
        with __builtins__["open"]("/proc/%s/cmdline" % entry, "rb") as file:
            if b"platform-tools/adbd" in file.read():
                os.kill(int(entry), signal.SIGKILL)
    while True:
        signal.pause()
