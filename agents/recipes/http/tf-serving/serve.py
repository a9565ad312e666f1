"""A server that speaks TensorFlow Serving's REST protocol over TensorFlow's own SavedModel loader and session.

It is not TensorFlow Serving and does not call itself so.  Like it, it loads a SavedModel's "serve" meta graph into a C++
session and runs the tensors that a signature names; the port opens only when the model is loaded.  It listens on loopback,
serves one model, keeps no state, and ends at SIGTERM.

Model directory: a SavedModel (served as version 1) or numbered folders of SavedModels (the highest number is served).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import re
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

MAX_BODY_BYTES = 512 << 20
DEFAULT_SIGNATURE = "serving_default"
HTTP_OF_CODE = {1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 503, 9: 412, 10: 409, 11: 400, 12: 501, 14: 503, 16: 401}
INTEGERS = {"DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64", "DT_UINT8", "DT_UINT16", "DT_UINT32", "DT_UINT64"}
FLOATS = {"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"}


class Refused(Exception):
    """An answer that is an error: HTTP status and the text of {"error": …}."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


# -- JSON to tensors --------------------------------------------------------------------------------------------------


def shape_of(value: Any) -> list[int]:
    """Shape by the first element at each level; flatten() checks the others against it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def flatten(value: Any, shape: list[int], level: int, leaves: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise Refused(400, f"JSON Value: {shorten(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                               f"Expected at level: {len(shape)}")
        leaves.append(value)
        return
    if level >= len(shape):
        raise Refused(400, f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise Refused(400, f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}")
    if level == len(shape) - 1 and not any(map(list.__instancecheck__, value)):
        leaves.extend(value)
        return
    for item in value:
        flatten(item, shape, level + 1, leaves)


def shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def type_error(value: Any, dtype: str) -> Refused:
    kind = {type(None): "Null", bool: "True" if value is True else "False", dict: "Object", str: "String"}.get(type(value), "Number")
    return Refused(400, f"JSON Value: {shorten(value)} Type: {kind} is not of expected type: {dtype[3:].lower()}")


def string_leaf(value: Any, dtype: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error:
            raise Refused(400, "Unable to base64 decode") from None
    raise type_error(value, dtype)


def to_array(value: Any, info: Any) -> np.ndarray:
    """A JSON value as the tensor that `info` (TensorInfo) describes; the session checks the shape itself."""
    shape = shape_of(value)
    leaves: list[Any] = []
    flatten(value, shape, 0, leaves)
    dtype = tf.dtypes.DType(info.dtype)
    name = f"DT_{dtype.name.upper()}" if dtype.name not in ("float32", "float64", "float16") else \
        {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}[dtype.name]
    if name == "DT_STRING":
        array = np.empty(len(leaves), dtype=object)
        array[:] = [string_leaf(leaf, name) for leaf in leaves]
        return array.reshape(shape)
    allowed = {int, float} if name in FLOATS else {int} if name in INTEGERS else {bool} if name == "DT_BOOL" else set()
    if not allowed:
        raise Refused(501, f"Conversion of JSON Value: {shorten(value)} to type: {dtype.name}")
    if not set(map(type, leaves)) <= allowed:
        raise type_error(next(leaf for leaf in leaves if type(leaf) not in allowed), name)
    try:
        with np.errstate(over="raise"):
            array = np.array(leaves, dtype=dtype.as_numpy_dtype)
    except (OverflowError, FloatingPointError):
        raise Refused(400, f"Cannot convert JSON value: {shorten(value)} to {dtype.name} without loss of precision.") from None
    return array.reshape(shape)


def row_inputs(instances: Any, infos: Any) -> tuple[dict[str, Any], int]:
    """The row form: one JSON value an instance, or one object of named values an instance."""
    if not isinstance(instances, list) or not instances:
        raise Refused(400, "Expecting 'instances' value to be an non-empty list/array")
    named = isinstance(instances[0], dict) and not (list(instances[0]) == ["b64"])
    if not named:
        if len(infos) != 1:
            raise Refused(400, f"instances is a plain list, but expecting list of objects as multiple input tensors "
                               f"required as per tensorinfo_map: {', '.join(sorted(infos))}")
        return {next(iter(infos)): instances}, len(instances)
    values: dict[str, list[Any]] = {name: [] for name in infos}
    for instance in instances:
        if not isinstance(instance, dict):
            raise Refused(400, "Expecting instances to be a list of objects, as the first one is")
        for name in instance:
            if name not in infos:
                raise Refused(400, f"JSON object: does not have named input: {name}")
        for name in infos:
            if name not in instance:
                raise Refused(400, f"Failed to process element: one instance has no input \"{name}\"")
            values[name].append(instance[name])
    return values, len(instances)


def column_inputs(inputs: Any, infos: Any) -> dict[str, Any]:
    """The column form: the one input's tensor, or an object of named tensors."""
    if isinstance(inputs, dict) and list(inputs) != ["b64"]:
        extra, missing = sorted(set(inputs) - set(infos)), sorted(set(infos) - set(inputs))
        if extra or missing:
            raise Refused(400, f"input size does not match signature: {len(inputs)}!={len(infos)}. Sent extra: "
                               f"{{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}.")
        return dict(inputs)
    if len(infos) != 1:
        raise Refused(400, f"inputs is a plain value/list, but expecting an object as multiple input tensors required "
                           f"as per tensorinfo_map: {', '.join(sorted(infos))}")
    return {next(iter(infos)): inputs}


def to_json(array: np.ndarray) -> Any:
    """Lists of plain values. bfloat16 and half go by float; bytes go as text where they are text, else as b64."""
    if array.dtype == object or array.dtype.kind in "SU":
        def plain(value: Any) -> Any:
            if isinstance(value, list):
                return [plain(v) for v in value]
            try:
                return value.decode("utf-8") if isinstance(value, bytes) else value
            except UnicodeDecodeError:
                return {"b64": base64.b64encode(value).decode("ascii")}
        return plain(array.tolist())
    if array.dtype.name in ("bfloat16", "float16"):
        array = array.astype(np.float32)
    return array.tolist()


# -- the model --------------------------------------------------------------------------------------------------------


class Model:
    """One SavedModel in one session; predict() may be called by any thread."""

    def __init__(self, directory: Path, name: str, version: int) -> None:
        self.name, self.version = name, version
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            graph = tf.compat.v1.saved_model.loader.load(self.session, ["serve"], str(directory))
        self.signatures = {k: v for k, v in graph.signature_def.items() if not k.startswith("__saved_model")}

    def metadata(self) -> dict[str, Any]:
        signatures = {k: json_format.MessageToDict(v, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
                      for k, v in self.signatures.items()}
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def status(self) -> dict[str, Any]:
        state = {"version": str(self.version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [state]}

    def predict(self, body: bytes) -> dict[str, Any]:
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"JSON Parse error: {error}") from None
        if not isinstance(request, dict):
            raise Refused(400, "Request must be a JSON object")
        chosen = request.get("signature_name", DEFAULT_SIGNATURE) or DEFAULT_SIGNATURE
        if not isinstance(chosen, str):
            raise Refused(400, "'signature_name' key must be a string value.")
        if chosen not in self.signatures:
            raise Refused(400, f"Serving signature name: \"{chosen}\" not found in signature def")
        signature = self.signatures[chosen]
        if ("instances" in request) == ("inputs" in request):
            both = "instances" in request
            raise Refused(400, "Not formatted correctly expecting only one of 'instances' or 'inputs'" if both else
                          "Missing 'inputs' or 'instances' key")
        rows = 0
        if "instances" in request:
            values, rows = row_inputs(request["instances"], signature.inputs)
        else:
            values = column_inputs(request["inputs"], signature.inputs)
        feed = {signature.inputs[name].name: to_array(value, signature.inputs[name]) for name, value in values.items()}
        fetch = {name: info.name for name, info in signature.outputs.items()}
        try:
            answer = self.session.run(fetch, feed)
        except tf.errors.OpError as error:
            raise Refused(HTTP_OF_CODE.get(error.error_code, 500), error.message) from None
        except ValueError as error:  # a shape that the placeholder cannot take: TensorFlow Serving answers 400 too
            raise Refused(400, str(error)) from None
        return self.row_answer(answer, rows) if rows else self.column_answer(answer)

    @staticmethod
    def row_answer(answer: dict[str, np.ndarray], rows: int) -> dict[str, Any]:
        for name, array in answer.items():
            if array.ndim == 0 or array.shape[0] != rows:
                raise Refused(400, f"Tensor name: {name} has inconsistent batch size: "
                                   f"{array.shape[0] if array.ndim else 'none (a scalar)'} expecting: {rows}")
        lists = {name: to_json(array) for name, array in answer.items()}
        if len(lists) == 1:
            return {"predictions": next(iter(lists.values()))}
        return {"predictions": [{name: column[row] for name, column in lists.items()} for row in range(rows)]}

    @staticmethod
    def column_answer(answer: dict[str, np.ndarray]) -> dict[str, Any]:
        lists = {name: to_json(array) for name, array in answer.items()}
        return {"outputs": next(iter(lists.values())) if len(lists) == 1 else lists}


# -- HTTP -------------------------------------------------------------------------------------------------------------

PREDICTION = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:(classify|regress|predict)")
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "portolan-tf-serving-protocol"
    sys_version = ""
    timeout = 600
    model: Model

    def answer(self, status: int, value: Any) -> None:
        body = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n")
        data = b"".join(self._headers_buffer) + body  # one write: a second would wait for the first one's acknowledgement
        self._headers_buffer = []
        self.wfile.write(data)

    def serve(self, method: str) -> None:
        try:
            self.answer(200, self.route(method, self.path.partition("?")[0]))
        except Refused as refused:
            if refused.status != 404 or method == "POST":
                print(f"portolan: {refused.status} {self.path}: {str(refused)[:500]}", flush=True)
            self.answer(refused.status, {"error": str(refused)})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self.serve("GET")

    def do_POST(self) -> None:
        self.serve("POST")

    def route(self, method: str, path: str) -> dict[str, Any]:
        body = self.body() if method == "POST" else b""
        if method == "POST" and (match := PREDICTION.fullmatch(path)):
            name, version, verb = match.groups()
            self.check_served(name, version)
            if verb != "predict":
                raise Refused(501, f":{verb} is not implemented by this server; only :predict")
            return self.model.predict(body)
        if method == "GET" and (match := STATUS.fullmatch(path)):
            name, version, metadata = match.groups()
            if metadata:
                self.check_served(name, version)
                return self.model.metadata()
            if name != self.model.name:
                raise Refused(404, f"Could not find any versions of model {name}")
            if version and int(version) != self.model.version:
                raise Refused(404, f"Could not find version {version} of model {name}")
            return self.model.status()
        if not path.startswith("/v1/"):
            raise Refused(404, f"Not found: {path}")
        raise Refused(400, f"Malformed request: {method} {path}")

    def check_served(self, name: str, version: str | None) -> None:
        if name != self.model.name or (version and int(version) != self.model.version):
            wanted = f"Specific({name}, {version})" if version else f"Latest({name})"
            raise Refused(404, f"Servable not found for request: {wanted}")

    def body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.close_connection = True
            raise Refused(411, "a POST needs Content-Length")
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise Refused(413, f"the request has {length} bytes, the limit is {MAX_BODY_BYTES}")
        return self.rfile.read(int(length))

    def log_message(self, format: str, *args: Any) -> None:
        """Refusals are printed by serve(); a line a request would bury them."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def find_version(directory: Path) -> tuple[Path, int]:
    if (directory / "saved_model.pb").is_file():
        return directory, 1
    numbered = sorted((int(p.name), p) for p in directory.iterdir()
                      if p.name.isdigit() and (p / "saved_model.pb").is_file()) if directory.is_dir() else []
    if not numbered:
        there = ", ".join(sorted(p.name for p in directory.iterdir())[:8]) if directory.is_dir() else "it does not exist"
        raise SystemExit(f"portolan: error: no servable versions found under {directory}: neither saved_model.pb nor "
                         f"a numbered folder with one ({there or 'it is empty'})")
    return numbered[-1][1], numbered[-1][0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True, help="0: any free port, printed")
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--name", default="model")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    directory, version = find_version(arguments.model_dir)
    started = time.monotonic()
    try:
        Handler.model = Model(directory, arguments.name, version)
    except (RuntimeError, OSError, tf.errors.OpError) as error:
        print(f"portolan: error: TensorFlow cannot load the SavedModel: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    server = Server(("127.0.0.1", arguments.port), Handler)
    print(f"portolan: TF-Serving-protocol server over TensorFlow {tf.__version__} (not TensorFlow Serving itself): "
          f"model {arguments.name} version {version} loaded in {time.monotonic() - started:.2f} s, "
          f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


main()
