"""Real git servers on loopback for tests: `git http-backend` behind HTTP, `git daemon`, sshd, and a Git LFS server.

Everything here is a context manager that owns what it starts and ends it by its own pid. Ports are chosen by the
kernel. The HTTP server also misbehaves on request (slow, silent, garbage, redirects), by path:

    /ok/<repo>.git/…          git http-backend, anonymous read; push with any credentials that match `users`
    /auth/<repo>.git/…        the same, but every request needs basic auth (users) or a bearer token (tokens)
    /html/…                   200 and a web page            /status/<n>/…     that HTTP status
    /busy/<n>/<repo>.git/…    503 to the first n requests, then as /ok/
    /stall/…                  headers, then silence         /silent/…         accepts, answers nothing
    /stall-pack/<repo>.git    refs as usual, pack: half of it, then silence
    /cut-pack/<repo>.git      refs as usual, pack: half of it, then end of connection
    /garbage/…                git content type, bytes that are no protocol      /flood/…  refs without end
    /moved/<repo>.git         301 to /ok/…                  /to/<quoted url>  302 to that URL with the rest of the path
"""

import base64
import gzip
import hashlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

GIT_ENV = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada Author",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:06Z",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
}


def git(*args, cwd=None, input=None, env=None, check=True):
    """Runs git without any configuration of this account; returns stdout as bytes, stripped."""
    p = subprocess.run(["git", "-c", "safe.directory=*", "-c", "protocol.file.allow=always", "-c", "gc.auto=0", *args],
                       cwd=cwd, input=input, env={**GIT_ENV, **(env or {})}, capture_output=True, timeout=300)
    if check and p.returncode:
        raise RuntimeError(f"git {' '.join(map(str, args))}: {p.returncode}\n{p.stderr.decode(errors='replace')}")
    return p.stdout.strip()


class HttpGit:
    """HTTP(S) server over a directory of bare repositories; keeps what it was asked in `requests`."""

    def __init__(self, root, users=None, tokens=(), tls=None, lfs_store=None):
        self.root, self.users, self.tokens = Path(root), users or {}, tokens
        self.lfs_store = Path(lfs_store) if lfs_store else None
        self.lfs_hooks = {}  # "wrong-bytes", "no-action", "error", "too-long", "href": callable(oid, href) -> href
        self.requests = []
        self.busy = 0  # requests that /busy/ refused
        self.release = threading.Event()  # ends the stalling handlers
        owner = self

        class Handler(_Handler):
            server_owner = owner

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.port = self.httpd.server_address[1]
        self.scheme = "http"
        if tls:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(tls.cert, tls.key)
            self.httpd.socket = ctx.wrap_socket(self.httpd.socket, server_side=True)
            self.scheme = "https"
        self.base = f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.release.set()
        self.httpd.shutdown()
        self.httpd.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_owner = None

    def log_message(self, *args):
        pass

    # -- bodies --

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, body=b"", kind="text/plain", headers=()):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status, value):
        self.answer(status, json.dumps(value).encode(), "application/vnd.git-lfs+json")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    # -- who --

    def authorised(self):
        o = self.server_owner
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind.lower() == "bearer":
            return value in o.tokens
        if kind.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            return o.users.get(user) == password or password in o.tokens
        return False

    # -- routes --

    def do_GET(self):
        self.route()

    def do_POST(self):
        self.route()

    def do_PUT(self):
        self.route()

    def route(self):
        o = self.server_owner
        path, _, query = self.path.partition("?")
        o.requests.append({"method": self.command, "path": path, "query": query, "headers": dict(self.headers)})
        parts = path.lstrip("/").split("/", 1)
        where, rest = parts[0], "/" + (parts[1] if len(parts) > 1 else "")
        try:
            getattr(self, "at_" + where.replace("-", "_"), self.at_unknown)(rest, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def at_unknown(self, rest, query):
        self.answer(404, b"no such place")

    def at_ok(self, rest, query):
        write = "git-receive-pack" in rest or "git-receive-pack" in query
        if write and not self.authorised():
            self.body()
            return self.need_auth()
        self.repository(rest, query)

    def at_auth(self, rest, query):
        if not self.authorised():
            self.body()
            return self.need_auth()
        self.repository(rest, query)

    def need_auth(self):
        self.answer(401, b"who are you", headers=[("WWW-Authenticate", 'Basic realm="git"')])

    def at_html(self, rest, query):
        self.answer(200, b"<html>please log in</html>", "text/html")

    def at_status(self, rest, query):
        self.answer(int(rest.split("/")[1]), b"so it is")

    def at_busy(self, rest, query):
        n, _, repo = rest[1:].partition("/")
        if self.server_owner.busy < int(n):
            self.server_owner.busy += 1
            self.body()
            return self.answer(503, b"in a moment")
        self.repository("/" + repo, query)

    def at_silent(self, rest, query):
        self.server_owner.release.wait(60)
        self.close_connection = True

    def at_stall(self, rest, query):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b"001e# service=git-upload-pack\n")
        self.wfile.flush()
        self.server_owner.release.wait(60)
        self.close_connection = True

    def at_garbage(self, rest, query):
        self.answer(200, b"zzzz this is not a pkt-line" * 50, "application/x-git-upload-pack-advertisement")

    def at_flood(self, rest, query):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b"001e# service=git-upload-pack\n0000")
        sha = "1" * 40
        n = 0
        while not self.server_owner.release.is_set():
            block = b""
            for _ in range(2000):
                n += 1
                caps = "\0ofs-delta" if n == 1 else ""
                line = f"{sha} refs/heads/b{n:09d}{caps}\n"
                block += f"{len(line) + 4:04x}{line}".encode()
            self.chunk(block)

    def at_moved(self, rest, query):
        self.answer(301, headers=[("Location", f"/ok{rest}?{query}")])

    def at_to(self, rest, query):
        target, _, tail = rest[1:].partition("/")
        self.answer(302, headers=[("Location", urllib.parse.unquote(target) + "/" + tail + "?" + query)])

    def at_loop(self, rest, query):
        self.answer(302, headers=[("Location", f"/loop{rest}?{query}")])

    def at_stall_pack(self, rest, query):
        self.half_pack(rest, query, stall=True)

    def at_cut_pack(self, rest, query):
        self.half_pack(rest, query, stall=False)

    def half_pack(self, rest, query, stall):
        if self.command == "GET":
            return self.repository(rest, query)
        headers, out = self.cgi(rest, query, self.body())
        self.send_response(200)
        self.send_header("Content-Type", headers["content-type"])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(out[: len(out) // 2])
        self.wfile.flush()
        if stall:
            self.server_owner.release.wait(60)
        self.close_connection = True

    # -- git --

    def cgi(self, rest, query, body):
        o = self.server_owner
        env = {
            **GIT_ENV, "GIT_PROJECT_ROOT": str(o.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": rest,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_USER": "someone" if self.authorised() else "",
            "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "http.receivepack", "GIT_CONFIG_VALUE_1": "true",
        }
        p = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, timeout=120)
        head, _, out = p.stdout.partition(b"\r\n\r\n")
        headers = {}
        for line in head.split(b"\r\n"):
            k, _, v = line.decode().partition(":")
            headers[k.strip().lower()] = v.strip()
        return headers, out

    def repository(self, rest, query):
        if "/info/lfs/" in rest:
            return self.lfs(rest, query)
        headers, out = self.cgi(rest, query, self.body())
        status = int(headers.pop("status", "200").split()[0])
        keep = [(k.title(), v) for k, v in headers.items() if k not in ("content-type", "content-length")]
        kind = headers.get("content-type", "text/plain")
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            out = gzip.compress(out, 1)
            keep.append(("Content-Encoding", "gzip"))
        self.send_response(status)
        for k, v in keep:
            self.send_header(k, v)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")  # in odd pieces: nobody may count on borders
        self.end_headers()
        for i in range(0, len(out), 7919):
            self.chunk(out[i : i + 7919])
        self.wfile.write(b"0\r\n\r\n")

    # -- lfs: batch API with the basic transfer, as git-lfs itself uses it --

    def lfs(self, rest, query):
        o = self.server_owner
        repo, _, what = rest.partition("/info/lfs/")
        place = self.path.partition("?")[0].partition("/info/lfs/")[0]
        body = self.body() if what != "verify" or self.command == "POST" else b""
        if not o.lfs_store:
            return self.answer_json(404, {"message": "no LFS here"})
        if what == "objects/batch" and self.command == "POST":
            return self.lfs_batch(json.loads(body), f"{o.base}{place}/info/lfs")
        if what == "verify":
            return self.answer_json(200, {})
        if what.startswith("locks"):
            return self.answer_json(404, {"message": "no locks here"})
        oid = what.rpartition("/")[2]
        path = o.lfs_store / oid
        if what.startswith("object/") and self.command == "PUT":
            if not self.authorised() or hashlib.sha256(body).hexdigest() != oid:
                return self.answer_json(403, {"message": "no"})
            path.write_bytes(body)
            return self.answer(200)
        if what.startswith("object/") and self.command == "GET" and path.exists():
            data = path.read_bytes()
            if "wrong-bytes" in o.lfs_hooks:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if "too-long" in o.lfs_hooks:
                data += b"more"
            return self.answer(200, data, "application/octet-stream")
        self.answer_json(404, {"message": "no such object"})

    def lfs_batch(self, ask, base):
        o = self.server_owner
        upload = ask["operation"] == "upload"
        if upload and not self.authorised():
            return self.need_auth()
        objects = []
        for ob in ask["objects"]:
            oid, have = ob["oid"], (o.lfs_store / ob["oid"]).exists()
            entry = {"oid": oid, "size": ob["size"], "authenticated": True}
            href = f"{base}/object/{oid}"
            if "href" in o.lfs_hooks:
                href = o.lfs_hooks["href"](oid, href)
            headers = {"X-Portolan-Test": "kept"}
            if "no-header" not in o.lfs_hooks and self.headers.get("Authorization"):
                headers["Authorization"] = self.headers["Authorization"]
            if upload and not have:
                entry["actions"] = {"upload": {"href": href, "header": headers},
                                    "verify": {"href": f"{base}/verify", "header": headers}}
            elif not upload and have and "no-action" not in o.lfs_hooks:
                entry["actions"] = {"download": {"href": href, "header": headers, "expires_in": 60}}
            elif not upload and not have:
                entry["error"] = {"code": 404, "message": "Object does not exist"}
            objects.append(entry)
        if "forget" in o.lfs_hooks:
            objects = objects[1:]
        self.answer_json(200, {"transfer": o.lfs_hooks.get("transfer", "basic"), "objects": objects})


class SelfSigned:
    """A certificate for 127.0.0.1 in a temporary directory."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="ptl-tls-")
        self.cert, self.key = f"{self.dir}/cert.pem", f"{self.dir}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.dir)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, deadline_s=20):
    """Until something accepts on the port; raises when the process ends first."""
    import time

    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
    raise RuntimeError(f"nothing listens on port {port}")


class _Process:
    process = None

    def __exit__(self, *exc):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class GitDaemon(_Process):
    def __init__(self, root):
        self.root, self.port = root, free_port()
        self.base = f"git://127.0.0.1:{self.port}"

    def __enter__(self):
        daemon = os.path.join(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-daemon")
        env = {**GIT_ENV, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        self.process = subprocess.Popen([daemon, "--export-all", f"--base-path={self.root}", "--listen=127.0.0.1",
                                         f"--port={self.port}", "--reuseaddr", "--informative-errors", str(self.root)],
                                        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_port(self.port, self.process)
        return self


class Sshd(_Process):
    """sshd for this very account, with one key; None from `find()` when openssh-server is not installed."""

    @staticmethod
    def find():
        return shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")

    def __init__(self, key_type="ed25519", extra=""):
        import pwd

        self.dir = Path(tempfile.mkdtemp(prefix="ptl-sshd-"))
        self.port, self.user = free_port(), pwd.getpwuid(os.getuid()).pw_name
        for name, kind in (("host", "ed25519"), ("client", key_type), ("stranger", "ed25519")):
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(self.dir / name)], check=True)
        shutil.copy(self.dir / "client.pub", self.dir / "authorized_keys")
        host = (self.dir / "host.pub").read_text().split()
        self.known_hosts = self.dir / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host[0]} {host[1]}\n")
        self.wrong_hosts = self.dir / "wrong_hosts"
        stranger = (self.dir / "stranger.pub").read_text().split()
        self.wrong_hosts.write_text(f"[127.0.0.1]:{self.port} {stranger[0]} {stranger[1]}\n")
        (self.dir / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.dir}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n{extra}\n")
        self.base = f"ssh://{self.user}@127.0.0.1:{self.port}"

    def __enter__(self):
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.process = subprocess.Popen([self.find(), "-D", "-e", "-f", str(self.dir / "config")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.dir / "log", "w"))
        wait_port(self.port, self.process)
        return self

    def __exit__(self, *exc):
        super().__exit__(*exc)
        shutil.rmtree(self.dir)


class SilentTcp:
    """Accepts connections and never says a word."""

    def __enter__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(16)
        self.port = self.sock.getsockname()[1]
        return self

    def __exit__(self, *exc):
        self.sock.close()
