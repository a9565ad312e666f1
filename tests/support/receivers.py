"""Real receivers of what is told: an SMTP server (aiosmtpd of the distribution) and an HTTP server, both on loopback, both can be told to refuse."""
from __future__ import annotations

import email
import email.policy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class AnyPort(Controller):
    """Port 0: the one that the system gave is known once it listens."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """An SMTP server that keeps what it gets. `refuse` is asked for each recipient: a reply to refuse with, or None. `tls`: None, "starttls" (and nothing before it) or "tls" (from the first
    byte), with the certificate of `context`."""

    def __init__(self, user: str | None = None, password: str | None = None, tls: str | None = None, context=None, host: str = "127.0.0.1"):
        self.mails: list[email.message.EmailMessage] = []
        self.refuse = lambda address: None
        self.logins: list[str] = []

        def authenticate(server, session, envelope, mechanism, data):
            good = data.login.decode() == user and data.password.decode() == password
            self.logins.append(data.login.decode())
            return AuthResult(success=good, handled=good)  # else it is left to the server to say so
        more = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": tls == "starttls"} if user else {}
        if tls == "starttls":
            more |= {"tls_context": context, "require_starttls": True}
        elif tls:
            more |= {"ssl_context": context}
        self.secure: list[str | None] = []
        self.controller = AnyPort(self, hostname=host, port=0, **more)
        self.controller.start()
        self.port = self.controller.port

    async def handle_RCPT(self, server, session, envelope, address, options):
        said = self.refuse(address)
        if said:
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail.rcpt = list(envelope.rcpt_tos)
        mail.sender = envelope.mail_from
        tls = server.transport.get_extra_info("ssl_object")
        self.secure.append(tls.version() if tls else None)
        self.mails.append(mail)
        return "250 kept"

    def to(self, address: str) -> list:
        return [m for m in list(self.mails) if address in m.rcpt]

    def close(self) -> None:
        self.controller.stop()


class Hooks:
    """An HTTP server that keeps what is posted; `status` is asked for each path."""

    def __init__(self):
        self.got: list[dict] = []
        self.status = lambda path: 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = outer.status(self.path)
                outer.got.append({"path": self.path, "headers": dict(self.headers), "raw": body, "json": json.loads(body), "status": status})
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"no" if status >= 300 else b"ok")

            def log_message(self, *args):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def at(self, path: str) -> list[dict]:
        return [g for g in list(self.got) if g["path"] == path]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
