"""The runner on the phone: feeds golden inputs to a model and measures; a backend knows one runtime's API.

    python3.11 portolan_phone.py job.json backend.py OUT

Runs on the device (needs numpy and the backend's package only, no network, no writable place but OUT). job.json is written by
the mobile driver; OUT/manifest.json is written last, so its presence says that everything before it worked. The runtime's own
exceptions are printed as they are and end with status 1: their words are what people search for.

A backend has: NAME, version(), open(path, threads) -> model, and errors are simply raised. A model has
    inputs, outputs   lists of Tensor, in the model's own order
    aliases           {"inputs": {other name: own name}, "outputs": {...}}: names of the model's own signature
    run(arrays)       list of arrays in the order of inputs -> list of arrays in the order of outputs
    backend_name      what computes, for the report ("xnnpack", "CPUExecutionProvider")
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import resource
import sys
import time

import numpy as np

MAX_LATENCIES = 1000
MIN_LATENCIES = 20


@dataclasses.dataclass
class Tensor:
    name: str
    dtype: str
    shape: list  # -1: free
    scale: float = 0.0  # 0: not quantized
    zero_point: int = 0


def say(text):
    print(text, flush=True)


def warn(text):
    print("warning: " + text, file=sys.stderr, flush=True)


class Refused(Exception):
    """Something about the model or the golden set that no runtime need be asked about."""


def load_backend(path):
    spec = importlib.util.spec_from_file_location("backend", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["portolan_phone"] = sys.modules[__name__]
    spec.loader.exec_module(module)
    return module


def check_files(files):
    """What arrived is what was sent: adb itself has no checksum over the whole file."""
    for entry in files:
        digest = hashlib.sha256()
        with open(entry["path"], "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != entry["sha256"]:
            raise Refused("%s has other bytes on the device than on the host" % entry["path"])


def plain(name):
    """serving_default_image:0 and image are the same input to a person."""
    return re.sub(r"(:\d+)$", "", re.sub(r"^serving_default_", "", name))


def match(kind, golden, tensors, signature, aliases):
    """Which golden tensor belongs to which of the model's: {own name: golden name}, and how it was found."""
    names = [t.name for t in tensors]
    by_tensor = {e["name"]: e.get("tensor", e["name"]) for e in (signature or {}).get(kind, [])}
    ways = [
        ("signature.json", lambda g: by_tensor.get(g)),
        ("the model's signature", lambda g: aliases.get(kind, {}).get(g)),
        ("name", lambda g: g),
        ("name", lambda g: next((n for n in names if plain(n) == plain(g)), None)),
    ]
    found, how = {}, set()
    for name in golden:
        for way, look in ways:
            own = look(name)
            if own in names and own not in found:
                found[own] = name
                how.add(way)
                break
    if len(found) == len(golden):
        return found, ", ".join(sorted(how))
    if not found and len(golden) == len(names):
        warn("no golden %s name is one of the model's (golden: %s; model: %s): matched by position"
             % (kind[:-1], ", ".join(golden), ", ".join(names)))
        return dict(zip(names, golden)), "position"
    return found, ", ".join(sorted(how))


def quantized(array, tensor):
    info = np.iinfo(tensor.dtype)
    # float64: float32 would round values near a half step to the other side.
    return np.clip(np.round(array.astype(np.float64) / tensor.scale) + tensor.zero_point, info.min, info.max).astype(tensor.dtype)


def to_model(array, tensor):
    """Real numbers for an integer input are quantized by its own scale. Nothing else is converted: a wrong type is the
    runtime's to refuse, as it would refuse the app."""
    if tensor.scale and array.dtype.kind == "f" and np.dtype(tensor.dtype).kind in "iu":
        return quantized(array, tensor)
    return array


def from_model(array, tensor, wanted):
    if tensor.scale and array.dtype.kind in "iu" and np.dtype(wanted).kind == "f":
        return ((array.astype(np.float64) - tensor.zero_point) * tensor.scale).astype(wanted)
    return array


class Golden:
    """The golden inputs, in the order the model wants them."""

    def __init__(self, job, model):
        entries = job["inputs"]
        matched, self.how = match("inputs", [e["name"] for e in entries], model.inputs, job.get("signature"), model.aliases)
        files = {e["name"]: os.path.join("golden", e["file"]) for e in entries}
        unused = [e["name"] for e in entries if e["name"] not in matched.values()]
        missing = [t.name for t in model.inputs if t.name not in matched]
        if unused or missing:
            raise Refused("input names do not fit: the model wants %s; the golden set has %s"
                          % (", ".join(t.name for t in model.inputs), ", ".join(e["name"] for e in entries)))
        self.tensors = model.inputs
        self.arrays = [np.load(files[matched[t.name]], allow_pickle=False, mmap_mode="r") for t in model.inputs]
        self.samples = len(self.arrays[0]) if self.arrays and self.arrays[0].ndim else 0
        if self.samples == 0 or any(a.ndim == 0 or len(a) != self.samples for a in self.arrays):
            raise Refused("the golden inputs have different numbers of samples, or none: %s" % [a.shape for a in self.arrays])

    def batch(self, model, wanted):
        """Samples per run: what the model fixes, else what was asked (0: all)."""
        fixed = {t.shape[0] for t in model.inputs if t.shape and t.shape[0] > 0}
        if len(fixed) == 1:
            return fixed.pop()
        return min(wanted, self.samples) if wanted > 0 else self.samples

    def piece(self, start, size):
        """`size` samples from `start`; the last piece of a fixed batch repeats its last sample."""
        found = []
        for array, tensor in zip(self.arrays, self.tensors):
            part = np.ascontiguousarray(array[start:start + size])
            if len(part) < size:
                part = np.concatenate([part] + [part[-1:]] * (size - len(part)))
            found.append(to_model(part, tensor))
        return found


def timed(model, arrays):
    began = time.perf_counter()
    outputs = model.run(arrays)
    return outputs, (time.perf_counter() - began) * 1e3


def infer_all(model, golden, size, latencies):
    """Every golden sample once; one list of pieces for each output."""
    pieces = [[] for _ in model.outputs]
    for start in range(0, golden.samples, size):
        outputs, ms = timed(model, golden.piece(start, size))
        latencies.append(ms)
        keep = min(size, golden.samples - start)
        for i, array in enumerate(outputs):
            # An output without a batch axis (a scalar, a table) counts once per run.
            batched = array.ndim > 0 and len(array) == size
            pieces[i].append(np.array(array[:keep]) if batched else np.array(array)[None])
    return [np.concatenate(p) for p in pieces]


def measure(job, model, golden):
    size = golden.batch(model, int(job.get("batch", 1)))
    first = golden.piece(0, size)
    _, first_ms = timed(model, first)
    for _ in range(max(int(job.get("warmup", 2)) - 1, 0)):
        timed(model, first)
    latencies = []
    outputs = infer_all(model, golden, size, latencies)
    wanted = min(max(int(job.get("repeats", 30)), MIN_LATENCIES), MAX_LATENCIES)
    while len(latencies) < wanted:
        latencies.append(timed(model, golden.piece(len(latencies) * size % golden.samples, size))[1])
    return outputs, {"first_ms": first_ms, "latency_ms": [round(v, 4) for v in latencies[:MAX_LATENCIES]]}, size


def save_outputs(job, model, arrays, out):
    golden = {e["name"]: e for e in job["outputs"]}
    matched, how = match("outputs", list(golden), model.outputs, job.get("signature"), model.aliases)
    entries = []
    for index, (tensor, array) in enumerate(zip(model.outputs, arrays)):
        name = matched.get(tensor.name, tensor.name)
        array = from_model(array, tensor, golden.get(name, {}).get("dtype", "float32") if name in golden else "float32")
        file = "%d-%s.npy" % (index, re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:80])
        path = os.path.join(out, file)
        np.save(path, np.ascontiguousarray(array), allow_pickle=False)
        with open(path, "rb") as written:
            digest = hashlib.sha256(written.read()).hexdigest()
        entries.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "file": file, "sha256": digest})
    return entries, how


def run(job_path, backend_path, out):
    with open(job_path) as file:
        job = json.load(file)
    check_files(job["files"])
    backend = load_backend(backend_path)
    began = time.perf_counter()
    model = backend.open(job["model"], int(job.get("threads", 1)))
    load_ms = (time.perf_counter() - began) * 1e3
    say("%s %s: %s loaded in %.1f ms" % (backend.NAME, backend.version(), job["model"], load_ms))
    golden = Golden(job, model)
    arrays, metrics, size = measure(job, model, golden)
    metrics["load_ms"] = round(load_ms, 3)
    metrics["first_ms"] = round(metrics["first_ms"], 3)
    metrics["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    entries, how = save_outputs(job, model, arrays, out)
    say("%d samples in runs of %d, inputs matched by %s, outputs by %s; median %.3f ms"
        % (golden.samples, size, golden.how, how or "nothing", sorted(metrics["latency_ms"])[len(metrics["latency_ms"]) // 2]))
    manifest = {"version": 1, "outputs": entries, "metrics": metrics,
                "runtime": {"version": backend.version(), "backend": model.backend_name, "batch": size}}
    path = os.path.join(out, "manifest.json")
    with open(path + ".tmp", "w") as file:
        json.dump(manifest, file)
    os.replace(path + ".tmp", path)


if __name__ == "__main__":
    try:
        run(*sys.argv[1:4])
    except Refused as reason:
        print("error: %s" % reason, file=sys.stderr)
        sys.exit(1)
