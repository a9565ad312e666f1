"""A backend that never answers."""

import signal

NAME = "sleeper"


def version():
    return "1"


def open(path, threads):  # noqa: A001
    print("sleeping", flush=True)
    while True:
        signal.pause()
