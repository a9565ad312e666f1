"""A serving engine for tests: answers y = 2x + 1 (and z = x summed) by either protocol, and misbehaves when told to.

usage: engine.py PROTOCOL PORT NAME MODE
"""
import json
import math
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote

protocol, port, name, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
asked = 0
begun = time.monotonic()


def flat(values):
    return [x for v in values for x in flat(v)] if isinstance(values, list) else [values]


def compute(row):
    return [2 * x + 1 for x in flat(row)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.path = unquote(self.path)
        if mode == "never-ready" or (mode == "slow" and time.monotonic() - begun < 0.5):
            return self.answer(503, {"error": "still loading the model"})
        if protocol == "oip":
            if self.path == f"/v2/models/{name}/ready":
                return self.answer(200, b"")
            if self.path == "/v2":
                return self.answer(200, {"name": "test-engine", "version": "1.2", "extensions": []})
            if self.path == f"/v2/models/{name}" and mode != "no-metadata":
                batch = 4 if mode == "fixed-batch" else -1
                feed = "in_tensor:0" if mode == "signature" else "somewhere" if mode == "position" else "x"
                return self.answer(200, {"name": name, "inputs": [{"name": feed, "datatype": "FP32", "shape": [batch, 3]}],
                                         "outputs": [{"name": "y", "datatype": "FP32", "shape": [batch, 3]}]})
        else:
            if self.path == f"/v1/models/{name}":
                state = "LOADING" if mode == "loading" and time.monotonic() - begun < 0.5 else "AVAILABLE"
                return self.answer(200, {"model_version_status": [{"version": "1", "state": state}]})
            if self.path == f"/v1/models/{name}/metadata" and mode != "no-metadata":
                dims = {"dim": [{"size": "-1"}, {"size": "3"}]}
                return self.answer(200, {"metadata": {"signature_def": {"signature_def": {"serving_default": {
                    "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": dims}},
                    "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": dims}}}}}}})
        return self.answer(404, {"error": "not found: " + self.path})

    def do_POST(self):
        global asked
        asked += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if mode == "refuse" and asked == 3:
            return self.answer(400, {"error": "input rank 2 is not\n what I want"})
        if mode == "die-later" and asked == 3:
            print("engine: about to crash", flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if mode == "hang" and asked == 3:
            time.sleep(1000)
        if mode == "rubbish":
            return self.answer(200, b"<html>hello</html>")
        if protocol == "oip":
            tensor = body["inputs"][0]
            assert tensor["datatype"] == "FP32", tensor
            if mode == "signature":
                assert tensor["name"] == "in_tensor:0", tensor["name"]
            if mode == "fixed-batch":
                assert tensor["shape"][0] == 4, tensor["shape"]
            values = compute(tensor["data"])
            if mode == "nan" and asked == 2:
                values[0] = math.nan
            if mode == "wrong":
                values[1] += 0.5
            output = "out_tensor:0" if mode == "signature" else "y"
            shape = tensor["shape"]
            if mode == "no-batch-axis":
                shape = shape[1:]
            return self.answer(200, {"model_name": name, "id": body["id"],
                                     "outputs": [{"name": output, "shape": shape, "datatype": "FP32", "data": values}]})
        if mode == "column":
            return self.answer(200, {"outputs": {"y": [compute(row) for row in body["inputs"]]}})
        return self.answer(200, {"predictions": [compute(row) for row in body["instances"]]})


print(f"engine: {protocol} on {port}, pid {os.getpid()}", flush=True)
if mode == "die":
    print("engine: ImportError: no module named weights", flush=True)
    sys.exit(3)
if mode == "oom":
    hog = bytearray(400 << 20)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
