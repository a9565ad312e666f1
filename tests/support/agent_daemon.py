"""A stand-in for the daemon's agent side, on loopback, that can be told to misbehave.

Holds what a real daemon would keep in its database (fences, logs, blobs, results) in memory, keeps them over stop() and
start() as a real one would over a restart, and asks `faults` before and after each request. No timing: tests wait for
conditions with a deadline (`wait_for`).
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
import struct
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from slow import patient

TOKEN = "ptl_agent_0123456789abcdef"
ENROL = "ptl_enrol_once"


class Drop(Exception):
    """Raised by a fault: the connection breaks without an answer."""


def wait_for(condition, what: str, seconds: float = 60.0):
    seconds = patient(seconds)
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def snapshot(files: dict[str, str]) -> bytes:
    """An uncompressed tar, paths in byte order. A value that starts with #! is executable."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            data = files[name].encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    daemon: "Daemon"

    def log_message(self, *args):
        pass

    def answer(self, status: int, body=None, headers: dict[str, str] | None = None, raw: bytes | None = None):
        data = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/octet-stream" if raw is not None else "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def problem(self, status: int, title: str):
        self.answer(status, {"title": title, "status": status})

    def handle_any(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        try:
            self.daemon.serve(self, self.command, url.path, query, body)
        except Drop:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_HEAD = handle_any


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *args):
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


class Daemon:
    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.blobs: dict[str, bytes] = {}
        self.partial: dict[str, bytes] = {}
        self.queue: list[dict] = []
        self.fences: dict[int, int] = {}
        self.logs: dict[int, bytearray] = {}
        self.results: dict[int, list[dict]] = {}
        self.started: list[tuple[int, int]] = []
        self.beats: list[dict] = []
        self.cancel: set[int] = set()
        self.inventories: list[dict] = []
        self.requests: list[tuple[str, str, dict]] = []
        self.enrolled = 0
        self.lease_ms = int(patient(3000))
        # name -> function(daemon, handler, request) called before ("claim") or after ("claim:after") the state changed;
        # may raise Drop, or answer and return True
        self.faults: dict[str, object] = {}
        self.server: Server | None = None
        self.port = 0

    # ---- life

    def start(self):
        handler = type("BoundHandler", (Handler,), {"daemon": self})
        self.server = Server(("127.0.0.1", self.port), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Away: nothing listens, open connections break."""
        server, self.server = self.server, None
        if not server:
            return
        server.shutdown()
        server.server_close()
        for sock in list(server.open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        with self.lock:
            self.changed.notify_all()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ---- for tests

    def blob(self, data: bytes) -> dict:
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return {"sha256": name, "size_bytes": len(data)}

    def job(self, attempt: int, files: dict[str, str], fence: int = 1, **members) -> dict:
        job = {
            "attempt_id": attempt, "fence": fence, "stage_id": attempt, "run_id": 1, "run_number": 1, "project": "p",
            "kind": "export", "target": None, "name": "export", "host": "server", "commit": "0" * 40,
            "ref": "refs/heads/main", "source": self.blob(snapshot(files)), "with": {}, "env": {}, "secrets": {},
            "network": False, "model": None, "golden": None, "outputs": [], "expect": {}, "precision": "fp32",
            "baseline": None, "timeout_ms": 120000, "grace_ms": 2000, "lease_ms": self.lease_ms,
            "limits": {"memory_bytes": 0, "log_bytes": 1 << 24},
        }
        job.update(members)
        return job

    def offer(self, job: dict):
        with self.lock:
            self.fences[job["attempt_id"]] = job["fence"]
            self.logs.setdefault(job["attempt_id"], bytearray())
            self.queue.append(job)
            self.changed.notify_all()

    def result(self, attempt: int, seconds: float = 60.0) -> dict:
        return wait_for(lambda: self.results.get(attempt), f"result of attempt {attempt}", seconds)[-1]

    def count(self, method: str, part: str) -> int:
        with self.lock:
            return sum(1 for m, p, _ in self.requests if m == method and part in p)

    # ---- serving

    def fault(self, name: str, handler: Handler, request: dict) -> bool:
        function = self.faults.get(name)
        return bool(function and function(self, handler, request))

    def serve(self, handler: Handler, method: str, path: str, query: dict, body: bytes):
        with self.lock:
            self.requests.append((method, path, dict(handler.headers.items())))
        parts = path.strip("/").split("/")
        if parts[:3] == ["api", "v1", "blobs"] and len(parts) == 4:
            return self.serve_blob(handler, method, parts[3], body)
        if parts[:3] != ["api", "v1", "agent"]:
            return handler.problem(404, "no such path")
        if parts[3] == "enroll":
            return self.serve_enroll(handler, json.loads(body))
        if handler.headers.get("Authorization") != f"Bearer {TOKEN}":
            return handler.problem(401, "unknown token")
        if parts[3] == "claim":
            return self.serve_claim(handler, json.loads(body))
        if parts[3] == "heartbeat":
            return self.serve_beat(handler, json.loads(body))
        attempt, verb = int(parts[4]), parts[5]
        request = {"attempt": attempt, "query": query, "body": body}
        if self.fault(verb, handler, request):
            return None
        fence = int(query["fence"]) if verb == "log" else json.loads(body)["fence"]
        if self.fences.get(attempt) != fence:
            return handler.problem(409, "stale fence")
        return getattr(self, "serve_" + verb)(handler, attempt, request)

    def serve_enroll(self, handler: Handler, body: dict):
        if body["token"] != ENROL or self.enrolled:
            return handler.problem(403, "this token is spent or unknown")
        self.enrolled += 1
        self.inventories.append(body["inventory"])
        return handler.answer(201, {"agent_id": 7, "token": TOKEN})

    def serve_claim(self, handler: Handler, body: dict):
        if self.fault("claim", handler, body):
            return None
        deadline = time.monotonic() + body["wait_ms"] / 1000
        with self.changed:
            self.inventories.append(body["inventory"])
            while not self.queue and self.server and time.monotonic() < deadline:
                self.changed.wait(0.1)
            take, self.queue = self.queue[:body["free_slots"]], self.queue[body["free_slots"]:]
        try:
            return handler.answer(200, {"claims": take})
        except OSError:
            with self.lock:
                self.queue = take + self.queue
            raise

    def serve_beat(self, handler: Handler, body: dict):
        if self.fault("heartbeat", handler, body):
            return None
        with self.lock:
            self.beats.append(body)
            ids = {a["attempt_id"]: a["fence"] for a in body["attempts"]}
            lost = [i for i, fence in ids.items() if self.fences.get(i) != fence]
            cancel = [i for i in ids if i in self.cancel]
        return handler.answer(200, {"cancel": cancel, "lost": lost, "lease_ms": self.lease_ms})

    def serve_start(self, handler: Handler, attempt: int, request: dict):
        with self.lock:
            self.started.append((attempt, self.fences[attempt]))
        return handler.answer(200, {})

    def serve_log(self, handler: Handler, attempt: int, request: dict):
        with self.lock:
            log, offset, data = self.logs[attempt], int(request["query"]["offset"]), request["body"]
            if offset <= len(log) < offset + len(data):
                log += data[len(log) - offset:]
            following = len(log)
        if self.fault("log:after", handler, request):
            return None
        return handler.answer(200, {"next_offset": following})

    def serve_finish(self, handler: Handler, attempt: int, request: dict):
        result = json.loads(request["body"])
        with self.lock:
            self.results.setdefault(attempt, []).append(result)
        if self.fault("finish:after", handler, request):
            return None
        return handler.answer(200, {})

    def serve_blob(self, handler: Handler, method: str, name: str, body: bytes):
        request = {"sha256": name, "body": body, "method": method}
        if self.fault("blob:" + method, handler, request):
            return None
        if method == "HEAD":
            if name in self.blobs:
                handler.send_response(200)
                handler.send_header("Content-Length", str(len(self.blobs[name])))
                return handler.end_headers()
            kept = self.partial.get(name)
            return handler.answer(404, headers={"X-Portolan-Offset": str(len(kept))} if kept else {})
        if method == "GET":
            data = self.blobs.get(name)
            if data is None:
                return handler.problem(404, "no such blob")
            wanted = handler.headers.get("Range")
            if not wanted:
                return handler.answer(200, raw=data)
            first = int(wanted.removeprefix("bytes=").split("-")[0])
            if first >= len(data):
                return handler.problem(416, "beyond the end")
            return handler.answer(206, raw=data[first:],
                                  headers={"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"})
        content_range = handler.headers.get("Content-Range")
        first, total = 0, len(body)
        if content_range:
            span, total_text = content_range.removeprefix("bytes ").split("/")
            first, total = int(span.split("-")[0]), int(total_text)
        with self.lock:
            kept = self.partial.get(name, b"")
            if first > len(kept):
                return handler.answer(202, {"next_offset": len(kept)})
            kept = kept[:first] + body
            self.partial[name] = kept
            if len(kept) < total:
                return handler.answer(202, {"next_offset": len(kept)})
            del self.partial[name]
            if hashlib.sha256(kept).hexdigest() != name:
                return handler.problem(409, "hash mismatch")
            self.blobs[name] = kept
        return handler.answer(201, {})
