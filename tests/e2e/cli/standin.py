"""A scripted stand-in for the daemon: answers what a test told it to, remembers what it was asked. Standard library only."""
import http.server
import json
import os
import re
import ssl
import subprocess
import threading

CLI = os.environ.get("PTL_CLI", "")
PATIENCE = float(os.environ.get("PTL_PATIENCE") or 1)
TOKEN = "ptl_user_standin"


class Asked:
    def __init__(self, method, path, query, headers, body):
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.method} {self.path}?{self.query} {self.body[:200]!r}"


class Standin:
    """server.on("GET", "/api/v1/runs/12", {...}) : JSON 200. A tuple is (status, body[, headers]); bytes are sent as they
    are; a callable gets the Asked and returns any of these, or streams by itself: a generator of bytes. A list of answers
    that is marked with `then` is given one after the other, the last one for ever."""

    def __init__(self, tls=None, token=TOKEN):
        self.routes, self.asked, self.token = [], [], token
        self.lock = threading.Lock()
        standin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, path, query, self.headers, body)
                with standin.lock:
                    standin.asked.append(asked)
                standin.respond(self, asked)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[0], tls[1])
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.httpd.server_address[1]}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()

    def on(self, method, path, *answers):
        self.routes.insert(0, (method, re.compile(path.replace("+", r"\+") + r"\Z"), list(answers)))

    def respond(self, handler, asked):
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            self.send(handler, (401, problem("Unauthorized", "no valid token")))
            return
        for method, pattern, answers in self.routes:
            if method == asked.method and pattern.match(asked.path):
                with self.lock:
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send(handler, answer(asked) if callable(answer) else answer)
                return
        self.send(handler, (404, problem("Not Found", f"nothing is scripted for {asked.method} {asked.path}")))

    def send(self, handler, answer):
        headers = {}
        status = 200
        if isinstance(answer, tuple):
            status, answer, *rest = answer
            headers = rest[0] if rest else {}
        if hasattr(answer, "__next__"):
            handler.close_connection = True
            handler.send_response(status)
            handler.send_header("Content-Type", "text/event-stream")
            handler.send_header("Connection", "close")
            handler.end_headers()
            try:
                for piece in answer:
                    handler.wfile.write(piece)
                    handler.wfile.flush()
            except OSError:
                pass
            return
        if not isinstance(answer, bytes):
            kind = "application/problem+json" if status >= 400 else "application/json"
            headers.setdefault("Content-Type", kind)
            answer = json.dumps(answer).encode()
        handler.send_response(status)
        for k, v in headers.items():
            handler.send_header(k, v)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer)

    def of(self, method, path):
        with self.lock:
            return [a for a in self.asked if a.method == method and a.path == path]

    def last(self):
        with self.lock:
            return self.asked[-1]


def problem(title, detail):
    return {"type": "about:blank", "title": title, "detail": detail}


def event(kind, data, id=None):
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def items(*rows, next=None):
    return {"items": list(rows), "next": next}


class Cli:
    """Runs the command in a home of its own."""

    def __init__(self, home, server=None):
        self.home = home
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "TZ": "UTC", "LANG": "C.UTF-8", "TMPDIR": str(home)}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        if server:
            self.env.update(PORTOLAN_SERVER=server, PORTOLAN_TOKEN=TOKEN)

    def __call__(self, *args, input=b"", cwd=None, env=None, timeout=60):
        if isinstance(input, str):
            input = input.encode()
        done = subprocess.run([CLI, *map(str, args)], input=input, capture_output=True, cwd=cwd or self.home, env={**self.env, **(env or {})}, timeout=timeout * PATIENCE)
        return Done(args, done)


class Done:
    def __init__(self, args, done):
        self.args, self.code, self.raw = args, done.returncode, done.stdout
        self.out, self.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def ok(self):
        assert self.code == 0, self
        return self

    def failed(self, code, *said):
        assert self.code == code, self
        for text in said:
            assert text in self.err, (text, self)
        return self

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"portolan {' '.join(map(str, self.args))}: exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
