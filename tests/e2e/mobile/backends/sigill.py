"""A backend whose inference is one arm64 instruction: sdot (dotprod extension), which a Cortex-A53 does not have."""

import ctypes
import mmap

import numpy as np
import portolan_phone as phone

NAME = "sigill"


def version():
    return "1"


class Model:
    backend_name = "sdot"
    aliases = {}
    inputs = [phone.Tensor("image", "float32", [-1, 8, 8, 1])]
    outputs = [phone.Tensor("probabilities", "float32", [-1, 10])]

    def __init__(self):
        self.page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.page.write(bytes.fromhex("0094824ec0035fd6"))  # sdot v0.4s, v0.16b, v2.16b; ret
        self.code = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(self.page)))

    def run(self, arrays):
        self.code()
        return [np.zeros((len(arrays[0]), 10), np.float32)]


def open(path, threads):  # noqa: A001
    return Model()
