"""A backend that ends the whole program with status 0 and nothing written: what a crash handler or a runtime may do."""

import os

NAME = "silent"


def version():
    return "1"


def open(path, threads):  # noqa: A001
    os._exit(0)
